"""scripts/evaluate.py: its table, its record, its protocols, and what it says to mistakes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ranks import run_ranks

from scripts import evaluate
from util.errors import UserError
from util.images import result_name
from util.json_lines import read
from util.metrics import protocols
from util.metrics.evaluator import Evaluator
from util.metrics.images import pair_by_name
from util.pages.result_page import ResultPage
from util.pictures import find_images

SCRIPT = Path(evaluate.__file__)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folders(tmp_path):
    """real (5 images), inputs, masks, and translations (4 each) in a folder that tells the epoch."""
    rng = np.random.default_rng(0)
    places = {
        "real": tmp_path / "real",
        "inputs": tmp_path / "inputs",
        "masks": tmp_path / "masks",
        "made": tmp_path / "results" / "run" / "test_30" / "images" / "fake_B",
    }
    for name, folder in places.items():
        folder.mkdir(parents=True)
        for i in range(5 if name == "real" else 4):
            coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
            coarse.resize((32, 32), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    for i in range(4):
        source = np.asarray(Image.open(places["inputs"] / f"{i}.png"))
        made = source.copy()
        made[:16] = 255 - made[:16]  # the object changes,
        made[16:] = np.where(source[16:] > 127, source[16:] - 6, source[16:] + 6)  # and all else a little
        Image.fromarray(made).save(places["made"] / f"{i}.png")
        mask = np.zeros((32, 32), np.uint8)
        mask[:16] = 255
        Image.fromarray(mask).save(places["masks"] / f"{i}.png")
    return {name: str(folder) for name, folder in places.items()}


def test_all_scores_in_table_and_record(folders, tmp_path, capsys):
    (tmp_path / "checkpoints" / "run").mkdir(parents=True)
    page = ResultPage(Path(folders["made"]).parents[1], "run", {})
    page.save()
    losses = tmp_path / "checkpoints" / "run" / "losses.jsonl"
    losses.write_text(json.dumps({"epoch": 30, "total_images": 1234}) + "\n")
    arguments = [folders["real"], folders["made"], "--inputs", folders["inputs"], "--mask_dir", folders["masks"]]
    arguments += ["--target_class", "340", "--feature_space", "effnet_lite0", "--out", str(tmp_path / "own.jsonl")]
    evaluate.main([*arguments, "--name", "run", "--checkpoints_dir", str(tmp_path / "checkpoints")])

    (row,) = read(tmp_path / "checkpoints" / "run" / "metrics.jsonl")
    scores = row["scores"]
    assert row["epoch"] == 30 and row["total_images"] == 1234
    assert read(tmp_path / "own.jsonl")[0]["scores"] == scores
    assert scores["change_outside"] == pytest.approx(6)
    assert (scores["images"], scores["references"], scores["masked_images"]) == (4, 5, 4)
    assert scores["class_340"] == scores["class_340_inputs"] == scores["class_340_real"] == 0
    assert 0 < scores["self_similarity"] < 1 and 0 < scores["edge_similarity"] <= 1

    on_page = json.loads((page.folder / "scores.js").read_text().removeprefix("scores = ").rstrip(";\n"))
    assert all(values.keys() == {"0", "1", "2", "3"} for values in on_page.values())
    assert sum(on_page["edge_similarity"].values()) / 4 == pytest.approx(scores["edge_similarity"])

    printed = capsys.readouterr()
    assert f"{scores['FD-effnet_lite0-32px']:.2f}" in printed.out
    for name in ("KD-effnet_lite0-32px", "class_340_real", "change_outside", "standard error", "best"):
        assert name in printed.out
    assert "FID" not in printed.out
    assert printed.err.count("fewer than its 1280 features") == 1


def test_equals_the_score_of_training(folders, tmp_path):
    """The translations as uint8 arrays score what their PNG files score."""
    evaluate.main(
        [folders["real"], folders["made"], "--out", str(tmp_path / "m.jsonl"), "--feature_space", "effnet_lite0"]
    )
    arrays = [np.asarray(Image.open(path)) for path in sorted(Path(folders["made"]).iterdir())]
    with pytest.warns(UserWarning):
        scores = Evaluator(folders["real"], "effnet_lite0").score(arrays)
    assert read(tmp_path / "m.jsonl")[0]["scores"] == scores


def twice(rank, arguments):
    """Two resizes, first without known features of the real images, then with them."""
    evaluate._resizes = lambda *_: ("pillow", "clean")
    for _ in range(2):
        evaluate.main(arguments)


def test_two_ranks_score_what_one_process_does(folders, tmp_path, monkeypatch):
    arguments = [folders["real"], folders["made"], "--inputs", folders["inputs"], "--mask_dir", folders["masks"]]
    arguments += ["--target_class=340", "--feature_space=effnet_lite0", "--batch_size=2", "--gpu_ids=-1"]
    monkeypatch.setattr(evaluate, "_resizes", evaluate._resizes)  # back again afterwards
    twice(0, [*arguments, f"--out={tmp_path}/1.jsonl", f"--cache_dir={tmp_path}/cache1"])
    shared = [*arguments, f"--out={tmp_path}/2.jsonl", f"--cache_dir={tmp_path}/cache2"]
    assert run_ranks(2, twice, shared) == [None, None]
    one, two = ([row["scores"] for row in read(tmp_path / f"{ranks}.jsonl")] for ranks in (1, 2))
    assert len(one) == 4 and one == two
    files = [sorted(path.name for path in (tmp_path / f"cache{ranks}").rglob("*.npz")) for ranks in (1, 2)]
    assert files[0] == files[1] and len(files[0]) == 2


def test_inputs_in_folders_are_those_that_test_py_made_the_results_of(tmp_path):
    """test.py writes ``0/1.png``, ``x/1.png`` and ``y/2.png`` to one folder: 1.png, x_1.png, 2.png."""
    inputs, made = tmp_path / "testA", tmp_path / "fake_B"
    made.mkdir()
    names: set[str] = set()
    for i, name in enumerate(("0/1.png", "1.png", "x/1.png", "y/2.png")):
        (inputs / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (i, 0, 0)).save(inputs / name)
    for path in find_images(inputs):
        Image.open(path).save(made / f"{result_name(str(path), names)}.png")
    pairs = pair_by_name(made, inputs, "--inputs")
    assert len(pairs) == 4
    assert all(Image.open(one).getpixel((0, 0)) == Image.open(other).getpixel((0, 0)) for one, other in pairs)
    # translate.py keeps the folders
    assert pair_by_name(inputs, inputs, "--inputs") == [(path, path) for path in find_images(inputs)]


def test_protocol_checks_the_counts_and_gives_both_resizes(folders, tmp_path, monkeypatch, capsys):
    arguments = [
        folders["real"],
        folders["made"],
        "--feature_space",
        "effnet_lite0",
        "--out",
        str(tmp_path / "m.jsonl"),
    ]
    with pytest.raises(UserError, match="140 real testB images, not 5"):
        evaluate.main([*arguments, "--protocol", "horse2zebra"])
    with pytest.raises(UserError, match="500 real testB images, not 5"):
        evaluate.main([*arguments, "--protocol", "cat2dog"])
    few = {name: protocols.Protocol(name, 4, 5, size=48) for name in protocols.PROTOCOLS}
    monkeypatch.setattr(evaluate, "PROTOCOLS", few)
    with pytest.raises(UserError, match="sets --size 48"):
        evaluate.main([*arguments, "--protocol", "horse2zebra", "--size", "256"])
    evaluate.main([*arguments, "--protocol", "horse2zebra"])
    legacy, clean = (row["scores"] for row in read(tmp_path / "m.jsonl"))
    assert legacy["FD-effnet_lite0-legacy-48px"] != clean["FD-effnet_lite0-clean-48px"]
    printed = capsys.readouterr().out
    assert "pytorch-fid's" in printed and "clean-fid's `clean`" in printed


def test_the_papers_protocols():
    assert [(p.translations, p.references, p.size) for p in protocols.PROTOCOLS.values()] == [
        (120, 140, 256),
        (500, 500, 256),
    ]
    assert protocols.PROTOCOLS["horse2zebra"].resizes == ("legacy", "clean")


@pytest.mark.parametrize(
    "extra, message",
    [
        (["--mask_dir", "masks"], "--mask_dir needs --inputs"),
        (["--inputs", "real_but_fewer"], "holds no image named"),
        (["--name", "nobody"], "--name nobody: there is no folder"),
        (["--batch_size", "0"], "--batch_size"),
        (["--feature_space", "resnet"], "--feature_space resnet is not known"),
    ],
)
def test_mistakes_are_named(folders, tmp_path, extra, message):
    (tmp_path / "real_but_fewer").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "real_but_fewer" / "0.png")
    extra = [str(tmp_path / word) if (tmp_path / word).exists() else word for word in extra]
    with pytest.raises(UserError, match=message):
        evaluate.main([folders["real"], folders["made"], *extra])


@pytest.mark.parametrize("above", [0, 1, 2])
def test_a_folder_of_results_is_refused_with_the_one_of_its_translations(folders, above):
    """images, the folder of the page and the one of the run: with inputs and former results in them."""
    made = Path(folders["made"])
    ResultPage(made.parents[1], "run", {}).save()
    (made.parent / "real_A").mkdir()
    with pytest.raises(UserError, match=f"{made.parents[above]} holds inputs and translations .* name {made}$"):
        evaluate.main([folders["real"], str(made.parents[above])])
    with pytest.raises(UserError, match=f"name {made}$"):
        evaluate.main([str(made.parents[above]), str(made)])


def test_inputs_without_translation_are_counted(folders, capsys):
    arguments = [folders["real"], folders["made"], "--inputs", folders["inputs"], "--device=cpu"]
    evaluate.main(arguments)
    assert "no translation" not in capsys.readouterr().err
    for name in ("more.png", "and_more.png"):
        Image.new("RGB", (32, 32)).save(f"{folders['inputs']}/{name}")
    evaluate.main(arguments)
    assert f"--inputs: 2 of the images in {folders['inputs']} have no translation" in capsys.readouterr().err


def test_a_name_needs_an_epoch(folders, tmp_path):
    (tmp_path / "checkpoints" / "run").mkdir(parents=True)
    arguments = [
        folders["real"],
        folders["inputs"],
        "--name",
        "run",
        "--checkpoints_dir",
        str(tmp_path / "checkpoints"),
    ]
    with pytest.raises(UserError, match="--name run needs --epoch N"):
        evaluate.main(arguments)


@pytest.mark.slow
def test_from_another_folder(folders, tmp_path):
    def command(*arguments):
        return subprocess.run([sys.executable, SCRIPT, *arguments], cwd=tmp_path, capture_output=True, text=True)

    assert "--target_class" in command("--help").stdout
    failed = command(folders["real"], "nowhere")
    assert failed.returncode == 2
    assert failed.stderr == "error: the folder 'nowhere' is not there or no folder; name one that holds images\n"


def test_large_pictures_and_one_limit(folders, monkeypatch):
    """Pillow's own limit for all of a process holds nowhere; --max_pixels is a sentence."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    arguments = [folders["real"], folders["made"], "--inputs", folders["inputs"], "--mask_dir", folders["masks"]]
    evaluate.main([*arguments, "--device", "cpu"])
    for folder in ("made", "real", "inputs"):
        Image.new("RGB", (40, 40)).save(f"{folders[folder]}/0.png")
        with pytest.raises(UserError, match=r"0\.png' has 40 x 40 pixels, more than --max_pixels 1500"):
            evaluate.main([*arguments, "--device", "cpu", "--max_pixels", "1500"])
        Image.new("RGB", (32, 32)).save(f"{folders[folder]}/0.png")
