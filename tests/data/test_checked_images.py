"""What a run has checked is kept: the next start reads only what has changed."""

import json
import os

import numpy as np
import pytest
from drawn import FOR_TESTING, draw, draw_folder, draw_unpaired, make_opt
from odd_pictures import write_tiff

import data
from data import checked_images
from data.checked_images import CheckedImages, splits
from util.errors import UserError
from util.pictures import Reader, list_images


@pytest.fixture
def looked_at(monkeypatch):
    """The files that were opened to check them."""
    opened, check = [], Reader._check
    monkeypatch.setattr(Reader, "_check", lambda self, path: opened.append(os.path.basename(path)) or check(self, path))
    return opened


def start(tmp_path, root, **options):
    """What a process does: no memory of an earlier one but the run's files."""
    checked_images._of_run.cache_clear()
    (tmp_path / "run").mkdir(exist_ok=True)
    loader = data.create_dataset(make_opt(root, checkpoints_dir=str(tmp_path), name="run", **options))
    loader.save_checks()
    return loader


def test_only_what_changed_is_checked_again(tmp_path, looked_at):
    root = draw_unpaired(tmp_path / "data", a=3, b=2)
    start(tmp_path, root)
    assert len(looked_at) == 5
    looked_at.clear()
    first = (tmp_path / "run" / "checked_images.json").read_text()
    start(tmp_path, root)
    assert not looked_at and (tmp_path / "run" / "checked_images.json").read_text() == first
    draw(seed=9).save(root / "trainA" / "new.png")
    draw(30, 20, seed=8).save(root / "trainA" / "001.png")
    (root / "trainB" / "000.png").unlink()
    start(tmp_path, root)
    assert sorted(looked_at) == ["001.png", "new.png"]
    entries = json.loads((tmp_path / "run" / "checked_images.json").read_text())["files"]
    assert sorted(entries) == [f"trainA/{name}.png" for name in ("000", "001", "002", "new")] + ["trainB/001.png"]
    assert (entries["trainA/001.png"]["width"], entries["trainA/001.png"]["height"]) == (30, 20)
    assert entries["trainA/new.png"]["bytes"] == (root / "trainA" / "new.png").stat().st_size


def test_a_file_that_was_good_and_is_damaged_now(tmp_path):
    root = draw_unpaired(tmp_path / "data", a=2, b=2)
    start(tmp_path, root)
    (root / "trainA" / "001.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"1 of 2 images.*001\.png"):
        start(tmp_path, root)
    (root / "trainA" / "001.png").unlink()
    os.symlink("nowhere.png", root / "trainA" / "001.png")
    with pytest.raises(UserError, match="does not exist"):
        start(tmp_path, root)


def test_what_is_told_of_pictures_is_told_by_every_start(tmp_path, capsys):
    root = draw_unpaired(tmp_path / "data", a=2, b=2)
    write_tiff(root / "trainA" / "x.tif", np.zeros((24, 24, 4), np.uint8))
    for _ in range(2):
        start(tmp_path, root)
        assert "1 of 3 images have 4 bands, of which 3 are used" in capsys.readouterr().err


def test_values_without_a_range_are_refused_however_often_they_were_checked(tmp_path):
    write_tiff(tmp_path / "x.tif", np.arange(576).reshape(24, 24).astype(np.float32))
    paths, checked = list(map(str, list_images(tmp_path))), CheckedImages(None)
    assert checked.check(str(tmp_path), paths, Reader((0, 575)))[0].deep == ("float", 0, 575)
    for reader in (Reader(), Reader((0, 1), max_pixels=575)):
        with pytest.raises(UserError, match="--value_range|--max_pixels"):
            checked.check(str(tmp_path), paths, reader)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": 3}', '{"other": {}}'])
def test_a_damaged_list_costs_a_check_and_no_run(tmp_path, content, looked_at):
    root = draw_unpaired(tmp_path / "data", a=2, b=2)
    start(tmp_path, root)
    (tmp_path / "run" / "checked_images.json").write_text(content)
    start(tmp_path, root)
    assert len(looked_at) == 8


def test_single_pictures_are_no_pairs(tmp_path):
    root = tmp_path / "data"
    draw_folder(root / "train", 3, width=48, height=24)
    start(tmp_path, root, dataset_mode="aligned")
    draw_folder(tmp_path / "photos" / "test", 2, width=40, height=24)
    with pytest.raises(UserError, match=r"2 of 2 files.*40 x 24.*2 times as wide.*--dataroot .*photos/test"):
        start(tmp_path, tmp_path / "photos", dataset_mode="aligned", **FOR_TESTING)
    draw_folder(tmp_path / "wide" / "test", 2, width=44, height=24)  # within the tolerance
    draw_folder(tmp_path / "wide" / "test" / "more", 2, width=96, height=24)
    assert len(start(tmp_path, tmp_path / "wide", dataset_mode="aligned", **FOR_TESTING)) == 4
    (tmp_path / "run" / "checked_images.json").unlink()  # a run of an earlier version: nothing to measure by
    assert len(start(tmp_path, tmp_path / "photos", dataset_mode="aligned", **FOR_TESTING)) == 2


def test_counts_and_a_fingerprint_of_each_split(tmp_path):
    root = draw_unpaired(tmp_path / "data", a=3, b=2)
    loader = start(tmp_path, root)
    first = splits(loader.opt)
    assert {name: split["images"] for name, split in first.items()} == {"trainA": 3, "trainB": 2}
    os.utime(root / "trainA" / "000.png", (1, 1))  # a copy of the data set is the same one
    assert splits(start(tmp_path, root).opt) == first
    (root / "trainA" / "000.png").rename(root / "trainA" / "x.png")
    second = splits(start(tmp_path, root).opt)
    assert second["trainA"] != first["trainA"] and second["trainB"] == first["trainB"]
    draw(9, 9).save(root / "trainB" / "001.png")
    third = splits(start(tmp_path, root).opt)
    assert third["trainA"] == second["trainA"] and third["trainB"]["fingerprint"] != first["trainB"]["fingerprint"]
