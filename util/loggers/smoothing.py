"""The bold curves of Visdom and of the training page; training_page.js has the same formula."""

SHARE = 0.05  # of the points so far that an average is about as wide as
WIDEST = 100  # points


class Smoothing:
    """An average over the newest points, weighted towards the last one. Its width grows with the number of points, from
    a single one, so that it neither begins with a bias nor lags behind a short curve."""

    def __init__(self):
        self.count, self.mean = 0, 0.0

    def add(self, value: float) -> float:
        """The average with ``value`` as its newest point."""
        self.count += 1
        width = max(1.0, min(self.count * SHARE, WIDEST))
        self.mean += (value - self.mean) / width
        return self.mean
