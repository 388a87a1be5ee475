"""The drawn dataset: what it holds, that it is the same every time, and that its scores order as they should."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scripts.data import make_toy_dataset, score_toy
from scripts.data.make_toy_dataset import FOLDERS, SPLITS, draw, make_dataset, stripes
from scripts.data.score_toy import box_sum, score, score_folder, untrained
from util.errors import UserError

few = settings(max_examples=12)


def pixels(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "deep" / "toy"
    make_dataset(folder, size=48, train=5, test=3, seed=1)
    return folder


def test_layout_counts_and_modes(dataset):
    assert sorted(p.name for p in dataset.iterdir()) == sorted([*FOLDERS, "toy.json"])
    for folder in FOLDERS:
        images = [Image.open(p) for p in sorted((dataset / folder).iterdir())]
        assert len(images) == (5 if folder.startswith("train") else 3)
        assert {i.size for i in images} == {(48, 48)} and {i.format for i in images} == {"PNG"}
        assert {i.mode for i in images} == {"L" if folder == "testA_mask" else "RGB"}
    names = {f: sorted(p.name for p in (dataset / f).iterdir()) for f in FOLDERS}
    assert names["testA"] == names["testA_truth"] == names["testA_mask"] == ["0000.png", "0001.png", "0002.png"]
    assert json.loads((dataset / "toy.json").read_text()) == {"size": 48, "train": 5, "test": 3, "seed": 1}
    assert not list(dataset.parent.glob(".*"))


def test_same_arguments_same_files(dataset, tmp_path):
    make_dataset(tmp_path / "again", size=48, train=5, test=3, seed=1)
    assert contents(tmp_path / "again") == contents(dataset)


def test_more_images_keep_the_first_and_another_seed_has_none_of_them(dataset, tmp_path):
    make_dataset(tmp_path / "more", size=48, train=6, test=4, seed=1)
    make_dataset(tmp_path / "other", size=48, train=5, test=3, seed=2)
    old, more, other = (contents(f) for f in (dataset, tmp_path / "more", tmp_path / "other"))
    del old["toy.json"]
    assert all(more[name] == old[name] for name in old)
    assert not any(other[name] == old[name] for name in old)


@few
@given(
    seed=st.integers(0, 2**32), split=st.sampled_from(SPLITS), index=st.integers(0, 10**6), size=st.integers(32, 100)
)
def test_a_scene_and_its_truth(seed, split, index, size):
    plain, striped, mask = draw(seed, split, index, size)
    for image, again in zip((plain, striped, mask), draw(seed, split, index, size), strict=True):
        assert np.array_equal(image, again)
    assert plain.shape == striped.shape == (size, size, 3) and mask.shape == (size, size)
    assert plain.dtype == striped.dtype == mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 255}
    assert 0.3 < (mask > 0).mean() < 0.5 + 3 / size  # pixels that a shape only touches count too
    assert np.array_equal(plain[mask == 0], striped[mask == 0])
    assert (plain[mask > 0] != striped[mask > 0]).any(-1).mean() > 0.97
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    assert not border.any()


def test_plain_shapes_have_no_stripes_and_striped_ones_have_no_colour():
    plain, striped, mask = draw(0, "testA", 0, 64)
    inside = (mask > 0) & (np.ptp(striped.astype(int), axis=-1) < 6)  # the rest is antialiased edge
    assert inside.sum() > 0.85 * (mask > 0).sum()
    warm = plain[inside].astype(int)
    assert (warm[:, 0] > warm[:, 2] + 30).mean() > 0.95
    grey = striped[inside].mean(-1)
    assert (grey < 60).mean() > 0.3 and (grey > 120).mean() > 0.3


@pytest.mark.parametrize("index", range(3))
def test_another_size_keeps_the_scene(index):
    small, _, _ = draw(3, "trainA", index, 40)
    large, _, _ = draw(3, "trainA", index, 120)
    shrunk = large.reshape(40, 3, 40, 3, 3).mean((1, 3))
    assert np.abs(shrunk - small).mean() < 3


def test_no_scene_is_drawn_twice():
    masks = {s: [draw(0, s, i, 32)[2].tobytes() for i in range(10)] for s in SPLITS}
    assert len({m for split in masks.values() for m in split}) == 40


def test_both_domains_have_the_same_ground():
    grounds = []
    for split, which in ("trainA", 0), ("trainB", 1):
        scenes = [draw(0, split, i, 32) for i in range(40)]
        grounds.append(np.concatenate([s[which][s[2] == 0] for s in scenes]).astype(float))
    a, b = grounds
    assert np.abs(a.mean(0) - b.mean(0)).max() < 4
    assert np.abs(a.std(0) / b.std(0) - 1).max() < 0.1


def test_stripes_begin_black_at_the_upper_edge_and_count_downwards():
    inside = np.zeros((64, 64), bool)
    inside[10:50, 8:56] = True
    white = stripes(inside)
    assert np.ptp(white[10:50, 8:56], axis=1).max() < 1e-6
    column = white[10:50, 30] > 0.5
    rows = np.arange(40)
    sharp = rows % 4 != 0  # where the sign of the sine is not decided by rounding
    assert np.array_equal(column[sharp], ((rows // 4) % 2 == 1)[sharp])


def test_stripes_under_a_steep_edge_are_no_steeper_than_45_degrees():
    y, x = np.mgrid[:64, :64]
    inside = y > 4 + 5 * np.abs(x - 32)
    white = stripes(inside) > 0.5
    changes = [np.diff(w[i].astype(int)).astype(bool).sum() for w, i in zip(white, inside, strict=True)]
    assert max(changes) <= 6  # the widest row has 23 pixels: at 45 degrees, one and a half periods a side
    flat = stripes(y > 4 + 0.5 * x) > 0.5  # a gentle edge is followed
    assert np.array_equal(flat[10:40, 8], flat[14:44, 16])


@pytest.mark.parametrize("kind", ["stranger", "extra", "broken note", "file"])
def test_what_it_did_not_draw_is_left_alone(tmp_path, kind):
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        if kind == "extra":
            make_dataset(out, size=32, train=1, test=1)
            (out / "testA" / "mine.png").write_text("mine")
        if kind == "stranger":
            (out / "mine.txt").write_text("mine")
        if kind == "broken note":
            (out / "toy.json").write_text("[]")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="out"):
        make_dataset(out, size=32, train=1, test=1)
    assert contents(tmp_path) == before


def test_its_own_and_an_empty_folder_are_replaced(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    make_dataset(out, size=32, train=3, test=1)
    make_dataset(out, size=40, train=1, test=2)
    assert len(list((out / "trainA").iterdir())) == 1 and len(list((out / "testB").iterdir())) == 2
    assert pixels(out / "testA" / "0001.png").shape == (40, 40, 3)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("error, seen", [(OSError("disk full"), UserError), (KeyboardInterrupt(),) * 2])
def test_a_drawing_cut_short_leaves_the_old_one(tmp_path, monkeypatch, error, seen):
    out = tmp_path / "out"
    make_dataset(out, size=32, train=2, test=1)
    before = contents(tmp_path)

    def stop(seed, split, index, size):
        if split == "trainB":
            raise error
        return draw(seed, split, index, size)

    monkeypatch.setattr(make_toy_dataset, "draw", stop)
    with pytest.raises(seen if isinstance(seen, type) else type(seen)):
        make_dataset(out, size=32, train=3, test=1)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "flags, word",
    [
        (["--size", "8"], "--size 8"),
        (["--size", "5000"], "--size 5000"),
        (["--train", "0"], "--train: must be a whole number of at least 1, not '0'"),
        (["--test", "-1"], "--test: must be a whole number of at least 1, not '-1'"),
        (["--seed", "-3"], "--seed: must be a whole number of at least 0, not '-3'"),
    ],
)
def test_bad_flags(tmp_path, flags, word):
    with pytest.raises(UserError, match=word):
        make_toy_dataset.main([str(tmp_path / "out"), *flags])
    assert not list(tmp_path.iterdir())


# Scores


@few
@given(
    st.integers(1, 9).flatmap(lambda n: st.tuples(st.integers(n, 20), st.just(2 * (n // 2) + 1))), st.integers(0, 9999)
)
def test_box_sum_is_the_plain_sum(shape, seed):
    size, width = shape
    values = np.random.default_rng(seed).normal(size=(size, size))
    half = width // 2
    plain = [
        [values[max(0, i - half) : i + half + 1, max(0, j - half) : j + half + 1].sum() for j in range(size)]
        for i in range(size)
    ]
    assert np.allclose(box_sum(values, width), plain)


@few
@given(seed=st.integers(0, 10**6), size=st.integers(32, 80))
def test_truth_beats_blends_beat_copy(seed, size):
    source, truth, mask = draw(seed, "testA", 0, size)
    blends = [(source + share * (truth.astype(float) - source)).round() for share in (0, 0.25, 0.5, 0.75, 1)]
    scores = [score(b, source, truth, mask) for b in blends]
    assert scores[-1] == {"stripes": pytest.approx(1), "background": 0, "error": 0}
    assert scores[0]["stripes"] < 0.15 and scores[0]["background"] == 0
    for worse, better in zip(scores, scores[1:], strict=False):
        assert worse["stripes"] < better["stripes"] and worse["error"] > better["error"]


def test_what_is_not_the_truths_striping_scores_none():
    source, truth, mask = draw(0, "testA", 1, 64)
    noise = np.random.default_rng(0).integers(0, 256, truth.shape)
    assert score(255 - truth, source, truth, mask)["stripes"] == 0
    assert score(noise, source, truth, mask)["stripes"] < 0.1
    assert score(np.full_like(truth, 128), source, truth, mask)["stripes"] < 0.02
    down = np.roll(truth, 4, axis=0)  # half a period: white where black should be
    assert score(down, source, truth, mask)["stripes"] < 0.2
    assert score(np.roll(truth, 1, axis=0), source, truth, mask)["stripes"] > 0.5


def test_background_and_error_are_plain_means():
    source, truth, mask = draw(0, "testA", 2, 64)
    outside = (mask == 0)[..., None]
    changed = np.where(outside, truth.astype(float) - 10, truth)
    assert score(changed, source, truth, mask) == {
        "stripes": pytest.approx(1),
        "background": pytest.approx(10),
        "error": pytest.approx(10 * outside.mean()),
    }
    dimmed = np.where(outside, truth, truth.astype(float) + 7)
    assert score(dimmed, source, truth, mask)["background"] == 0
    assert score(dimmed, source, truth, mask)["error"] == pytest.approx(7 * (1 - outside.mean()))


def test_degenerate_masks_give_finite_scores():
    flat = np.full((32, 32, 3), 9, np.uint8)
    for mask in np.zeros((32, 32)), np.full((32, 32), 255):
        assert score(flat, flat, flat, mask) == {"stripes": 0, "background": 0, "error": 0}


def test_untrained_network_is_the_same_each_time_and_leaves_the_random_stream():
    images = [draw(0, "testA", i, 32)[0] for i in range(2)]
    torch.manual_seed(5)
    first, drawn = untrained(images), torch.rand(1)
    torch.manual_seed(5)
    assert torch.rand(1) == drawn
    for a, b in zip(first, untrained(images), strict=True):
        assert a.shape == (32, 32, 3) and a.dtype == np.uint8 and np.array_equal(a, b)


def test_translations_are_scored_beside_the_baselines(dataset, tmp_path, capsys):
    results = tmp_path / "results" / "run" / "test_latest" / "images" / "fake_B"
    results.mkdir(parents=True)
    for path in (dataset / "testA_truth").iterdir():
        Image.open(path).save(results / f"{path.stem}.bmp")  # matched by base name
    flags = ["--results_dir", str(tmp_path / "results"), "--name", "run", "--json", str(tmp_path / "s.json")]
    score_toy.main([str(dataset), *flags])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 3 + 3 and len({len(line) for line in lines}) == 1
    assert lines[4].split() == ["mean,", "translated", "1", "0", "0"]
    written = json.loads((tmp_path / "s.json").read_text())
    assert sorted(written["images"]) == ["0000", "0001", "0002"]
    assert written["images"] == score_folder(dataset, results)
    mean = written["mean"]
    copied, blank = mean["input copied"], mean["untrained network"]
    each = [i["input copied"]["error"] for i in written["images"].values()]
    assert copied["error"] == pytest.approx(sum(each) / 3)
    assert mean["translated"]["error"] < copied["error"] < blank["error"]
    assert mean["translated"]["stripes"] > 0.9 > 0.2 > max(copied["stripes"], blank["stripes"])
    assert copied["background"] == 0 < blank["background"]
    score_toy.main([str(dataset), str(results), "--summary"])
    assert len(capsys.readouterr().out.splitlines()) == 1 + 3


def test_what_cannot_be_scored(dataset, tmp_path):
    truth = dataset / "testA_truth"
    for arguments, words in [
        ([truth.parent], "either"),
        ([truth.parent, truth, "--name", "x"], "either"),
        ([truth.parent, tmp_path / "none"], "none"),
        ([truth.parent, "--name", "never", "--results_dir", tmp_path], "never"),
        ([tmp_path, truth], "testA_truth"),
        ([truth.parent, truth, "--json", tmp_path / "none" / "s.json"], "--json"),
    ]:
        with pytest.raises(UserError, match=words):
            score_toy.main([str(a) for a in arguments])

    folder = tmp_path / "fake_B"
    folder.mkdir()
    for name in "0000.png", "0002.png":
        Image.open(truth / name).save(folder / name)
    with pytest.raises(UserError, match="0001"):
        score_folder(dataset, folder)
    Image.open(truth / "0001.png").resize((96, 96)).save(folder / "0001.png")
    with pytest.raises(UserError, match="0001.png is 96 x 96.*--load_size 48"):
        score_folder(dataset, folder)
    (folder / "0001.png").write_text("no image")
    with pytest.raises(UserError, match="0001.png"):
        score_folder(dataset, folder)


@pytest.mark.slow
def test_commands_from_another_folder(tmp_path):
    def call(script, *arguments):
        command = [sys.executable, str(Path(script.__file__).resolve()), *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    drawn = call(make_toy_dataset, "toy", "--size", 32, "--train", 2, "--test", 2)
    assert drawn.returncode == 0 and "toy" in drawn.stdout and not drawn.stderr
    scored = call(score_toy, "toy", "toy/testA_truth", "--summary")
    assert scored.returncode == 0 and "mean" in scored.stdout
    (tmp_path / "toy" / "mine").write_text("")
    for failed in call(make_toy_dataset, "toy"), call(score_toy, "toy", "gone"):
        assert failed.returncode == 2
        assert failed.stderr.startswith("error: ") and failed.stderr.count("\n") == 1
