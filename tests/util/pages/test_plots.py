"""util/pages/plots.py: well-formed SVG whatever the numbers, round ticks, escaped names."""

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
from dominate import tags
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from util import html
from util.pages.plots import Curve, markdown, picture, plot, table, ticks

SVG = "{http://www.w3.org/2000/svg}"
floats = st.floats(-1e6, 1e6)


def drawn(*args, **kwargs) -> ElementTree.Element:
    return ElementTree.fromstring(plot(*args, **kwargs).render(pretty=False))


def circles(figure: ElementTree.Element) -> list[tuple[float, float]]:
    return [(float(mark.get("cx")), float(mark.get("cy"))) for mark in figure.iter(f"{SVG}circle")]


@given(st.floats(-100, 100), st.floats(1e-3, 1e6), st.integers(2, 8))
def test_ticks_are_round_and_inside(spans, span, count):
    low = spans * span
    values = ticks(low, low + span, count)
    step = span / count
    assert all(low - step * 1e-6 <= v <= low + span + step * 1e-6 for v in values)
    assert len(values) <= count + 1
    for a, b in zip(values, values[1:], strict=False):
        mantissa = (b - a) / 10 ** np.floor(np.log10(b - a) + 1e-9)
        assert min(abs(mantissa - each) for each in (1, 2, 5)) < 1e-2
        assert b - a >= step * (1 - 1e-6)


@given(st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=20))
@example([0.0, 5e-324])
def test_any_numbers_give_well_formed_svg(values):
    curves = [Curve("<b>", range(len(values)), values, values, values, dots=True)]
    if np.isnan(values).all():
        assert plot("", curves) is None
        return
    figure = drawn("<title> & 'more'", curves, "x", "y")
    words = [value for element in figure.iter() for value in element.attrib.values()]
    assert not re.search("nan|inf", " ".join(words))
    assert figure.find("figcaption/b").text == "<title> & 'more'"
    assert len(circles(figure)) == np.isfinite(values).sum()


def test_points_lie_where_the_axes_say():
    figure = drawn("", [Curve("a", [0, 5, 10], [0, 1, 0], dots=True)], x_range=(0, 10), y_range=(0, 1))
    (x0, y0), (x1, y1), (x2, y2) = circles(figure)
    assert x1 - x0 == x2 - x1 > 0 and y1 < y0 == y2  # y grows upwards


def test_a_gap_interrupts_the_line():
    figure = drawn("", [Curve("a", range(5), [0, 1, float("nan"), 1, 0])])
    assert figure.find(f".//{SVG}path").get("d").count("M") == 2


def test_a_picture_holds_its_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    data = re.search(r"base64,(.*)", picture(pixels, "").src)[1]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), pixels)


def test_tables():
    assert markdown(["a", "b"], [["1", "<"]]) == "| a | b |\n| --- | --- |\n| 1 | < |\n"
    assert "<td>&lt;</td>" in table(["a", "b"], [["1", "<"]]).render()


def test_a_table_that_scrolls_shows_it(browser, tmp_path):
    wide = table([f"a column of some width {i}" for i in range(30)], [["0"] * 30])
    (tmp_path / "index.html").write_text(html.page(("plots", "report"), "a", [], [tags.main(wide)]))
    browser.goto((tmp_path / "index.html").as_uri())
    box = browser.locator(".scroll").bounding_box()

    def edges() -> list[float]:
        """Brightness at the left and the right edge, inside the border."""
        image = Image.open(io.BytesIO(browser.screenshot())).convert("L")
        y = int(box["y"] + 4)
        return [image.getpixel((int(x), y)) for x in (box["x"] + 3, box["x"] + box["width"] - 3)]

    assert edges()[0] > edges()[1] + 20  # a shadow where there is more
    browser.evaluate("$('.scroll').scrollLeft = 1e6")
    assert edges()[1] > edges()[0] + 20
