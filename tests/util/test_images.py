"""Tensors to 8-bit pictures and files, and the names of the files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from util.images import result_name, save_image, tensor2im


@pytest.mark.parametrize("channels", [1, 3])
def test_all_256_values_come_back(channels):
    """An image that was loaded and not changed is the image."""
    pixels = torch.arange(256).view(1, 16, 16).expand(channels, -1, -1)
    picture = tensor2im(pixels.float() / 255 * 2 - 1)
    assert picture.dtype == np.uint8 and picture.shape == (16, 16, 3)
    assert all(np.array_equal(picture[..., i], pixels[0].numpy()) for i in range(3))


@settings(max_examples=50)
@given(values=st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=20))
def test_values_are_rounded_and_cut_off(values):
    picture = tensor2im(torch.tensor(values).view(1, 1, -1).expand(3, -1, -1))
    for value, pixel in zip(values, picture[0, :, 0], strict=True):
        exact = (min(1, max(-1, value)) + 1) * 127.5
        assert abs(int(pixel) - exact) <= 0.5 + 1e-4


def test_axes_and_the_first_of_a_batch():
    batch = torch.full((2, 3, 4, 5), -1.0)
    batch[0, 1, 2, 3] = 1
    batch[1] = 1
    picture = tensor2im(batch)
    assert picture.shape == (4, 5, 3)
    assert picture[2, 3].tolist() == [0, 255, 0] and picture.sum() == 255
    assert np.array_equal(picture, tensor2im(batch[0]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types_and_graphs(dtype):
    image = torch.zeros(3, 2, 2, dtype=dtype, requires_grad=True)
    picture = tensor2im(image * 1)
    assert (picture == 128).all() and picture.flags["C_CONTIGUOUS"]
    assert not image.any()


@pytest.mark.parametrize("ending, exact", [("png", True), ("bmp", True), ("jpg", False)])
def test_files(ending, exact, tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    path = tmp_path / f"a.{ending}"
    save_image(array, path)
    image = Image.open(path)
    assert image.size == (9, 6)
    assert np.array_equal(np.array(image), array) == exact
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_grey_files(tmp_path):
    save_image(np.full((4, 4), 7, np.uint8), str(tmp_path / "a.png"))
    assert Image.open(tmp_path / "a.png").mode == "L"


@pytest.mark.parametrize("ratio, size", [(1.0, (8, 6)), (2.0, (16, 6)), (0.5, (4, 6)), (0.01, (1, 6))])
def test_aspect_ratio_is_width_over_height(ratio, size, tmp_path):
    save_image(np.zeros((6, 8, 3), np.uint8), tmp_path / "a.png", ratio)
    assert Image.open(tmp_path / "a.png").size == size


def test_names_of_equal_files_in_other_folders():
    used: set[str] = set()
    paths = ["x/a.png", "x/b.png", "y/a.png", "z/y/a.png", "y/a.jpg", "x/a.tif"]
    assert [result_name(path, used) for path in paths] == ["a", "b", "y_a", "y_a_2", "y_a_3", "x_a"]
    assert used == {"a", "b", "y_a", "y_a_2", "y_a_3", "x_a"}


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.sampled_from(["", "a", "b", "a/b", "b_a"]), st.sampled_from(["a", "b", "a_b", "b_2", "a_b_2"])),
        max_size=30,
    )
)
def test_no_name_is_given_twice(parts):
    used: set[str] = set()
    names = [result_name(str(Path(folder) / f"{stem}.png"), used) for folder, stem in parts]
    assert len(set(names)) == len(names) == len(used)
    assert all("/" not in name for name in names)
