import random
import tempfile
from pathlib import Path

import pytest
import torch
from drawn import draw, draw_unpaired, make_opt
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import data
from data import cache as cache_file
from data.cache import ImageCache, create_cache
from data.deferred_crop import Uncropped
from util.errors import UserError


@given(
    width=st.integers(1, 50),
    height=st.integers(1, 50),
    load_size=st.integers(1, 24),
    crop_size=st.integers(1, 24),
    input_nc=st.sampled_from([1, 3]),
    output_nc=st.sampled_from([1, 3]),
    mode=st.sampled_from(["unaligned", "aligned"]),
    words=st.sampled_from(["resize_and_crop", "resize", "resize_zoom_crop", "resize_trim"]),
    no_flip=st.booleans(),
)
@settings(max_examples=60)
def test_cached_images_are_bit_equal(width, height, load_size, crop_size, mode, words, **changes):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for i, name in enumerate(["trainA", "trainB", "train"]):
            (root / name).mkdir()
            draw(max(2, width), height, seed=i).save(root / name / "x.png")
        changes |= {"load_size": max(load_size, crop_size), "crop_size": crop_size, "n_epochs": 2}
        changes |= {"dataset_mode": mode, "preprocess": words}
        plain = data.create_dataset(make_opt(root, **changes))
        cached = data.create_dataset(make_opt(root, cache="ram", **changes))
        for epoch in (1, 2, 3):  # filled; read; without jitter at another size
            plain.set_epoch(epoch)
            cached.set_epoch(epoch)
            for item, cached_item in zip(plain, cached, strict=True):
                assert torch.equal(item["A"], cached_item["A"]) and torch.equal(item["B"], cached_item["B"])


@pytest.mark.parametrize("num_threads", [0, 2])
def test_files_are_read_once(tmp_path, num_threads):
    loader = data.create_dataset(make_opt(draw_unpaired(tmp_path, b=5), cache="ram", num_threads=num_threads))
    before = {path: image for batch in loader for path, image in zip(batch["A_paths"], batch["A"], strict=True)}
    held = loader.dataset.domains["A"].cache.held
    assert held.tolist() == [20] * 5
    for path in (tmp_path / "trainA").iterdir():
        path.unlink()
    loader.set_epoch(0)
    again = {path: image for batch in loader for path, image in zip(batch["A_paths"], batch["A"], strict=True)}
    assert all(torch.equal(before[path], again[path]) for path in before)


def test_a_slot_serves_both_sizes():
    cache = ImageCache(2, side=8, channels=3, shared=False)
    makes = []

    def at(side):
        return cache.get(1, side, lambda: makes.append(side) or draw(side, side))

    for side, expected_makes in ((8, [8]), (8, [8]), (4, [8, 4]), (4, [8, 4]), (8, [8, 4, 8])):
        assert at(side).tobytes() == draw(side, side).tobytes()
        assert makes == expected_makes
    assert cache.held.tolist() == [0, 8]


def test_a_failed_read_leaves_the_slot_empty():
    cache = ImageCache(1, side=8, channels=1, shared=False)

    def fail():
        raise UserError("damaged")

    with pytest.raises(UserError):
        cache.get(0, 8, fail)
    gray = Image.new("L", (8, 8), 77)
    assert cache.get(0, 8, lambda: gray).tobytes() == cache.get(0, 8, fail).tobytes() == gray.tobytes()


@pytest.mark.parametrize(
    "changes, cached",
    [
        ({}, True),
        ({"cache": "auto"}, True),
        ({"cache": "none"}, False),
        ({"isTrain": False}, False),
        ({"preprocess": "scale_width_and_crop"}, False),
        ({"preprocess": "crop"}, False),
        ({"preprocess": "none"}, False),
    ],
)
def test_what_is_cached(changes, cached):
    assert (create_cache(make_opt("", **{"cache": "ram", **changes}), 5, 3) is not None) == cached


def test_why_there_is_no_cache_is_said_once(tmp_path, capsys):
    cache_file._say_once.cache_clear()
    opt = make_opt(draw_unpaired(tmp_path), cache="ram", preprocess="scale_width", load_size=16)
    data.create_dataset(opt)
    assert capsys.readouterr().out.count("no image cache: --preprocess scale_width") == 1
    opt.rank, opt.preprocess = 1, "scale_shortside"
    data.create_dataset(opt)
    assert capsys.readouterr().out == ""


def test_too_little_memory(monkeypatch, capsys):
    cache_file._say_once.cache_clear()
    needed = 5 * 20 * 20 * 3
    monkeypatch.setattr(cache_file, "_free_bytes", lambda shared: needed)
    assert create_cache(make_opt("", cache="ram"), 5, 3) is not None
    assert create_cache(make_opt("", cache="auto"), 5, 3) is None  # takes half of what is free at most
    assert "no image cache: 5 images need" in capsys.readouterr().out
    with pytest.raises(UserError, match="--cache ram needs .*--cache none"):
        create_cache(make_opt("", cache="ram", world_size=2), 5, 3)  # one for each process
    monkeypatch.setattr(cache_file, "_free_bytes", lambda shared: 2**40)
    monkeypatch.setattr(cache_file, "AUTO_LIMIT", needed - 1)
    assert create_cache(make_opt("", cache="auto"), 5, 3) is None


def test_the_cache_draws_no_random_numbers(tmp_path):
    loader = data.create_dataset(make_opt(draw_unpaired(tmp_path), cache="ram"))
    domain = loader.dataset.domains["A"]
    state = random.getstate()
    domain.scaled(0, loader.dataset.opt)
    assert random.getstate() == state


def test_free_memory_is_found():
    assert cache_file._free_bytes(shared=False) > 2**20
    assert cache_file._free_bytes(shared=True) > 0


@pytest.mark.parametrize("num_threads", [0, 2])
@pytest.mark.parametrize("words, load_size", [("resize_and_crop", 24), ("resize", 20)])
@pytest.mark.parametrize("batch", [1, 2])
def test_what_the_loader_leaves_to_the_device_is_bit_equal(tmp_path, words, load_size, num_threads, batch):
    root = draw_unpaired(tmp_path, b=5)
    changes = dict(preprocess=words, load_size=load_size, crop_size=16, batch_size=batch, num_threads=num_threads)
    cached = data.create_dataset(make_opt(root, cache="ram", **changes))
    assert isinstance(cached.dataset[0]["A"], Uncropped) and cached.dataset[0]["A"].pixels.dtype == torch.uint8
    for batch, expected in zip(cached, data.create_dataset(make_opt(root, **changes)), strict=True):
        assert torch.equal(batch["A"], expected["A"]) and torch.equal(batch["B"], expected["B"])
        assert batch["A"].is_contiguous()  # as it comes from a file: convolutions choose their way by strides


@pytest.mark.parametrize(
    "words, crop_size", [("resize_and_crop", 18), ("resize_trim", 16), ("scale_width_and_crop", 16)]
)
def test_what_needs_pillow_does_not_wait(tmp_path, words, crop_size):
    cached = data.create_dataset(
        make_opt(draw_unpaired(tmp_path), cache="ram", preprocess=words, crop_size=crop_size, load_size=20)
    )
    assert isinstance(cached.dataset[0]["A"], torch.Tensor)
