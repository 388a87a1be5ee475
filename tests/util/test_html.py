"""The official page of rows of images, for testing scripts of others."""

import re

import numpy as np
from PIL import Image

from util.html import HTML


def test_headers_and_rows_of_images(tmp_path):
    page = HTML(str(tmp_path / "test_latest"), "Experiment = x, Phase = test", refresh=5)
    assert page.get_image_dir() == str(tmp_path / "test_latest" / "images")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "test_latest" / "images" / "a b&c.png")
    page.add_header("first <one>")
    page.add_images(["a b&c.png"], ["real"], ["a b&c.png"], width=128)
    page.save()
    html = (tmp_path / "test_latest" / "index.html").read_text()
    for part in ("Experiment = x", "first &lt;one&gt;", "real", "128"):
        assert part in html
    assert re.search(r"<meta(?=[^>]*refresh)[^>]*5", html)
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert sources == ["images/a%20b%26c.png"] * 2


def test_an_empty_page_can_be_saved(tmp_path):
    HTML(tmp_path, "nothing").save()
    assert "nothing" in (tmp_path / "index.html").read_text()
