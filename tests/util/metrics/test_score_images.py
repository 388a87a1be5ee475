"""Finding, reading, resizing and pairing the images that are scored."""

import numpy as np
import pytest
import torch
from PIL import Image

from util.errors import UserError
from util.metrics.images import content_key, pair_by_name, read_image, resize_image, to_network_size
from util.pictures import find_images

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_images_are_found_below_in_order_without_hidden_ones(tmp_path):
    for name in ("b.png", "a.JPG", "sub/c.png", ".hidden.png", ".folder/d.png", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    assert [str(p.relative_to(tmp_path)) for p in find_images(tmp_path)] == ["a.JPG", "b.png", "sub/c.png"]


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "I;16"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    grey = IMAGE[:, :, 0]
    if mode == "I;16":
        image, expected = Image.fromarray(grey.astype(np.uint16) * 257), np.stack([grey] * 3, 2)
    else:
        image = Image.fromarray(IMAGE).convert(mode)
        expected = np.asarray(image.convert("RGB"))
    image.save(tmp_path / "x.png")
    assert np.array_equal(read_image(tmp_path / "x.png"), expected)


def test_arrays_are_checked():
    assert read_image(IMAGE) is IMAGE
    assert read_image(IMAGE[:, :, 0]).shape == read_image(IMAGE[:, :, :1]).shape == IMAGE.shape
    with pytest.raises(TypeError, match="uint8"):
        read_image(IMAGE.astype(np.float32))


def test_broken_files_are_named(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG and nothing")
    with pytest.raises(UserError, match="broken.png.* is a damaged PNG file"):
        read_image(tmp_path / "broken.png")


def test_resizes():
    """Halving: antialiased filters average a checkerboard, unfiltered sampling can't tell it from flat
    colour."""
    checks = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    stripes = np.stack([(np.arange(96) % 3 == 1).astype(np.uint8) * 255] * 96)
    for resize in ("pillow", "clean"):
        flat = to_network_size(np.stack([checks] * 3, 2), 32, resize).float()
        assert flat[:, 4:-4, 4:-4].std() < 3 and abs(flat.mean() - 127.5) < 3
    sampled = to_network_size(np.stack([stripes] * 3, 2), 32, "legacy")
    assert sampled.min() > 250  # every third column, at its very centre
    assert to_network_size(np.stack([stripes] * 3, 2), 32, "clean").mean() == pytest.approx(85, abs=3)

    assert to_network_size(IMAGE, 16, "pillow").dtype == torch.uint8
    pillow = np.asarray(Image.fromarray(IMAGE).resize((16, 16), Image.Resampling.BICUBIC))
    assert np.array_equal(to_network_size(IMAGE, 16, "pillow").permute(1, 2, 0).numpy(), pillow)
    clean = to_network_size(IMAGE, 16, "clean")
    assert clean.min() >= 0 and clean.max() <= 255
    assert np.abs(clean.permute(1, 2, 0).numpy() - pillow).max() <= 1  # the same but for rounding
    assert to_network_size(IMAGE, 16, "fidelity").shape == (3, 20, 30)


def test_resize_image_names_height_first():
    assert resize_image(IMAGE, (10, 15)).shape == (10, 15, 3)
    assert resize_image(IMAGE, (20, 30)) is IMAGE
    nearest = resize_image(IMAGE[:, :, 0], (40, 60), "nearest")
    assert np.array_equal(nearest, IMAGE[:, :, 0].repeat(2, 0).repeat(2, 1))


def test_content_key(tmp_path):
    for name, content in (("a", b"1"), ("b", b"2"), ("c", b"1"), ("d", b"3")):
        (tmp_path / name).write_bytes(content)
    a, b, c, d = (tmp_path / name for name in "abcd")
    assert content_key([a, b]) == content_key([b, c])
    assert len({content_key(paths) for paths in ([a], [a, b], [a, d], [a, c], [b, b])}) == 5


def test_pairs_are_made_by_name(tmp_path):
    for name in ("in/1.jpg", "in/sub/2.png", "in/3.png", "out/1.png", "out/sub/2.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    pairs = pair_by_name(tmp_path / "out", tmp_path / "in", "--inputs")
    assert [(a.name, b.name) for a, b in pairs] == [("1.png", "1.jpg"), ("2.png", "2.png")]
    with pytest.raises(UserError, match="--inputs .*out holds no image named 3"):
        pair_by_name(tmp_path / "in", tmp_path / "out", "--inputs")
