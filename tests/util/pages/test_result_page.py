"""The result page: escaping, what it holds, and that it works in a browser with 5,000 images."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from util import html
from util.images import save_image
from util.json_lines import to_line
from util.pages.result_page import ResultPage, add_scores

NASTY = "a<b>&\"'#1?%20 </script><img src=x onerror=alert(1)>.png"


STARTS = [  # of the run
    {"time": "2026-01-02 03:04:05+0100", "total_images": 0, "command": f"python train.py --dataroot {NASTY}"}
    | {"versions": {"torch": "2"}, "commit": commit, "changed": changed, "device": "cpu", "dataroot": NASTY, "data": {}}
    for commit, changed in (("0123456789abcdef", True), (None, None))
]


def fill(folder, names, scores=False):
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run/starts.jsonl").write_text("".join(map(to_line, STARTS)))
    page = ResultPage(folder, f"run {NASTY}", {"epoch": "latest", "options": {"dataroot": NASTY}}, folder / "run")
    for i, name in enumerate(names):
        images = {}
        for j, label in enumerate(("real_A", "fake_B", "real_B")):
            path = f"images/{label}/{name.replace('/', '_')}.png"
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            save_image(np.full((12, 16, 3), 80 * j + i % 80, np.uint8), folder / path)
            images[label] = path
        page.add(name, images, {"LPIPS": float(-i)} if scores else None)
    return page


@given(st.text(max_size=60))
def test_no_text_can_leave_its_place(value):
    dumped = html.script_json({"x": [value, float("nan")]})
    assert "<" not in dumped and ">" not in dumped
    assert json.loads(dumped) == {"x": [value, None]}
    assert not re.search(r"[<>\"'#?\s]", html.url(value))


def test_the_page_stands_alone(tmp_path):
    page = fill(tmp_path, ["one", NASTY])
    text = page.save().read_text()
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
    assert "<img src=x" not in text and "</script><img" not in text
    assert "&lt;img src=x" in text  # in the options' table
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_empty_page_can_be_saved(tmp_path):
    assert "run" in ResultPage(tmp_path / "new", "run", {}).save().read_text()


def test_scores_come_to_the_page_later(tmp_path):
    images = tmp_path / "images/fake_B"
    assert add_scores(images, {"error": {"one": 1.0}}) is None and not list(tmp_path.iterdir())
    fill(tmp_path, ["one", NASTY], scores=True).save()
    assert add_scores(images, {"error": {"one": float("nan"), NASTY: 2.0}}) == tmp_path / "index.html"
    add_scores(images, {"error": {"one": 3.0}})
    text = (tmp_path / "scores.js").read_text()
    assert json.loads(text[len("scores = ") : -2]) == {"LPIPS": {"one": 0.0, NASTY: -1.0}, "error": {"one": 3.0}}
    assert "<" not in text
    fill(tmp_path, ["one"]).save()  # other images
    assert (tmp_path / "scores.js").read_text() == "scores = {};\n"


def test_missing_label_and_score(tmp_path):
    page = fill(tmp_path, ["one"])
    page.add("two", {"fake_B": "images/fake_B/one.png"}, {"LPIPS": 0.5})
    data = json.loads(re.search(r"const PAGE = (.*);\n", page.save().read_text())[1])
    assert data["labels"] == ["real_A", "fake_B", "real_B"]
    assert data["rows"][1][1] == [None, "images/fake_B/one.png", None]
    assert (tmp_path / "scores.js").read_text() == 'scores = {"LPIPS":{"two":0.5}};\n'


@pytest.fixture(scope="module")
def shown(browser, tmp_path_factory):
    """A page of six images, opened from the file system."""
    page = fill(tmp_path_factory.mktemp("page"), ["b10", "b9", NASTY, "a/x", "a/y", "c"], scores=True).save()

    def reload():
        browser.log.clear()
        browser.goto(page.as_uri())
        return browser

    return reload


def names(browser):
    return texts(browser, ".card .name span:first-child")


def texts(browser, selector):
    return browser.evaluate(f"[...document.querySelectorAll('{selector}')].map(x => x.textContent)")


def test_images_load_and_names_are_shown_as_they_are(shown):
    browser = shown()
    assert browser.evaluate("document.images.length") == 18
    browser.wait_for_function("[...document.images].every(image => image.naturalWidth === 16)")
    assert names(browser)[2] == NASTY
    first, second = texts(browser, "#starts section")
    assert f"--dataroot {NASTY}" in first and "commit 0123456789, changed" in first and "commit unknown" in second
    assert browser.log == []


def test_sort_filter_and_labels(shown):
    browser = shown()
    browser.evaluate("$('#sort').value = 'name'; $('#sort').onchange()")
    assert names(browser)[-3:] == ["b9", "b10", "c"]
    browser.evaluate("$('#sort').value = 0; $('#sort').onchange()")
    assert names(browser)[0] == "c"
    browser.evaluate("$('#order').click()")
    assert names(browser)[0] == "b10"
    browser.evaluate("$('#filter').value = 'Y a'; $('#filter').oninput()")
    assert names(browser) == ["a/y"] and browser.evaluate("$('#count').textContent") == "1 of 6 images"
    browser.evaluate("document.querySelector('#labels button').click()")
    assert browser.evaluate("document.querySelectorAll('.card img').length") == 2


def test_the_contact_sheet_has_heads_and_names_and_follows_the_filter(shown):
    browser = shown()
    browser.evaluate("$('#filter').value = 'b'; $('#filter').oninput(); $('#order').click()")
    browser.evaluate("document.querySelectorAll('#labels button')[2].click()")
    browser.locator("#as_sheet").click()
    heads, found = ["image", "real_A", "fake_B"], [NASTY, "b9", "b10"]
    assert texts(browser, "#sheet thead th") == heads * 3
    assert texts(browser, "#sheet tbody th") == found and texts(browser, "#sheet caption") == ["3 of 6 images"]
    alts = browser.evaluate("[...document.querySelectorAll('#sheet img')].map(image => image.alt)")
    assert alts == [f"{name}: {label}" for name in found for label in ("real_A", "fake_B")]
    browser.evaluate("$('#filter').value = '10'; $('#filter').oninput()")
    assert texts(browser, "#sheet tbody th") == ["b10"] and texts(browser, "#sheet thead th") == heads
    assert not names(browser) and not browser.locator("#grid").is_visible()
    browser.locator("#as_sheet").click()
    assert names(browser) == ["b10"] and not browser.locator("#sheet").is_visible()


def test_on_a_phone(shown):
    page = shown()
    phone = page.context.browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    with phone.new_page() as browser:
        browser.goto(page.url)
        browser.evaluate(
            "PAGE.scores.push('a_score_of_a_long_name', 'another'); PAGE.rows.forEach(row => row[2].push(1, 2))"
        )
        browser.evaluate("redraw()")
        assert browser.evaluate("document.documentElement.scrollWidth") == 390
        name = browser.locator(".card .name span").first.bounding_box()
        assert name["width"] > 20 and browser.locator(".card").first.bounding_box()["width"] > 330
        browser.locator(".card").first.tap()
        boxes = [button.bounding_box() for button in browser.locator("#buttons button").all()]
        assert len({box["y"] for box in boxes}) == 1 and max(box["x"] + box["width"] for box in boxes) <= 390
        assert not browser.locator("#viewer > p").is_visible()
    phone.close()


def test_viewer_compares_zooms_and_obeys_the_keyboard(shown):
    browser = shown()
    for key in ("ArrowRight", "ArrowRight", "Enter"):
        browser.keyboard.press(key)
    assert browser.evaluate("$('#viewer').open && $('#name').textContent") == "b9"
    browser.keyboard.press("Escape")
    browser.locator("#order").press("Enter")  # a button that has the focus is pressed, and nothing else happens
    browser.locator("#order").press("Enter")
    assert not browser.evaluate("$('#viewer').open")
    browser.locator(".card").nth(1).press("Space")
    assert browser.evaluate("$('#viewer').open && $('#name').textContent") == "b9"
    browser.wait_for_function("document.querySelectorAll('.pair img').length === 2 && $('.pair').offsetWidth > 16")
    assert texts(browser, ".pair em") == ["real_A", "fake_B"]
    browser.keyboard.press("1")
    assert browser.evaluate("$('.pair img').width") == 16
    browser.keyboard.press("+")
    assert browser.evaluate("$('.pair img').width") == 32
    browser.keyboard.press("0")
    box = browser.evaluate("$('.pair').getBoundingClientRect().toJSON()")
    y = box["y"] + box["height"] / 2
    browser.mouse.move(box["x"] + box["width"] / 2, y)
    browser.mouse.down()
    browser.mouse.move(box["x"] + box["width"] / 4, y)
    browser.mouse.up()
    assert abs(browser.evaluate("parseFloat($('.pair').style.getPropertyValue('--split'))") - 25) < 1
    browser.keyboard.press("s")
    assert browser.evaluate("document.querySelectorAll('#stage img').length") == 3
    browser.keyboard.press("ArrowRight")
    assert browser.evaluate("$('#name').textContent") == NASTY
    browser.keyboard.press("Escape")
    browser.wait_for_function("!$('#viewer').open && document.activeElement === $('#grid').children[2]")
    assert browser.log == []


def test_five_thousand_images(browser, tmp_path):
    few = fill(tmp_path, [f"n{i:02}" for i in range(10)])
    page = ResultPage(tmp_path, "many", {})
    for i in range(5000):
        page.add(f"image_{i:05}", few.rows[i % 10][1], {"LPIPS": i / 5000})
    path = page.save()
    assert path.stat().st_size < 2_000_000
    browser.goto(path.as_uri())
    assert browser.evaluate("$('#count').textContent") == "5000 images"
    drawn = browser.evaluate("document.querySelectorAll('.card').length")
    assert 0 < drawn < 500  # the rest comes when the reader scrolls
    browser.evaluate("scrollTo(0, document.body.scrollHeight)")
    browser.wait_for_function(f"document.querySelectorAll('.card').length > {drawn}")
    browser.evaluate("view(4999)")
    assert browser.evaluate("$('#name').textContent") == "image_04999"
    browser.keyboard.press("Escape")
    browser.wait_for_function("document.activeElement === $('#grid').children[4999]")
