"""What every logger receives (``Progress``) and does (``Logger``)."""

import numpy as np

from util.run.progress import Position, Progress

Images = dict[str, np.ndarray]  # label -> (H, W, 3) uint8


class Logger:
    """Base of all loggers: each overrides what it shows. An error in one never stops a run."""

    watch = ""  # where people look at it: an address or a file

    def __init__(self, opt=None, resume: Position | None = None):
        """``resume``: where a resumed training goes on; None in a new one."""
        self.opt = opt

    def log_start(self, start: dict) -> None:
        """What a start of the run is told apart by, once it has trained a step: see ``util/run/starts.py``."""

    def step(self, progress: Progress) -> None:
        """After every step: must cost next to nothing."""

    def log_losses(self, progress: Progress, losses: dict[str, float]) -> None:
        """The first step, every ``--print_freq`` images, and the last step: what is recorded."""

    def show_losses(self, progress: Progress, losses: dict[str, float]) -> None:
        """The newest losses in between, every half minute at most: shown, never recorded."""

    def log_images(self, progress: Progress, images: Images) -> None:
        """The pictures of the first step, of the last, and in between every ``--display_freq`` or
        ``--update_html_freq`` images."""

    def log_samples(self, progress: Progress, samples: dict[str, Images]) -> None:
        """The same test images at each call: name -> pictures by label (input, output, ...)."""

    def log_scores(self, progress: Progress, scores: dict[str, float | int | str]) -> None:
        """An evaluation: floats are scores; integers (counts), strings and NAME_se are notes to them."""

    def close(self) -> None:
        """Training ended, in whatever way."""


GROUPS = {  # of losses, with the titles of their plots
    "adversarial": "adversarial losses",
    "contrastive": "contrastive losses",
    "negatives": "negatives",
    "similarity": "similarity to the query",
    "other": "other losses",
}

HINTS = {
    "similarity": "Mean cosine of queries with their positives (dashed) and with their negatives (solid), a colour a "
    "layer of --nce_layers. Negatives near 1 are hard; far below their positives they teach nothing.",
    "contrastive": "How well a patch of the translation is told from the negatives: zero means that nothing ties "
    "translations to their sources.",
    "adversarial": "G_GAN: how far D is from calling translations real; D_real, D_fake: how far D is from being right.",
}


def loss_group(name: str) -> str:
    """Which plot a loss belongs to: one of ``GROUPS``."""
    low = name.lower()
    if low.startswith("similarity"):
        return "similarity"
    if low == "n" or low.startswith(("n_", "diversity", "negative")):
        return "negatives"
    if "nce" in low:
        return "contrastive"
    if low.startswith(("g_gan", "d_", "r1", "gan")) or low == "d":
        return "adversarial"
    return "other"
