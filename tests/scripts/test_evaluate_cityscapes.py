"""Cityscapes from the downloads to the scores, on drawn photographs and label maps."""

import numpy as np
import pytest
import torch
from PIL import Image

from scripts import evaluate_cityscapes
from scripts.data import prepare_cityscapes
from util.errors import UserError
from util.json_lines import read
from util.metrics.cityscapes import COLOURS, IDS
from util.metrics.drn import DRNSegmentation

NAMES = {
    "train": ["aachen_000000_000019", "bochum_000001_000019", "zurich_000002_000019"],
    "val": ["frankfurt_000000_000294", "lindau_000000_000019"],
}


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    """gtFine and leftImg8bit with three training and two validation pairs of 64 x 128, classes as blocks."""
    root = tmp_path_factory.mktemp("downloads")
    rng = np.random.default_rng(0)
    palette = np.array([tuple(bytes.fromhex(c)) for c in COLOURS], dtype=np.uint8)
    for split, names in NAMES.items():
        for name in names:
            city = name.split("_")[0]
            for kind in ("gtFine", "leftImg8bit"):
                (root / kind / split / city).mkdir(parents=True, exist_ok=True)
            classes = rng.integers(0, 19, (4, 8)).repeat(16, 0).repeat(16, 1)
            label = root / "gtFine" / split / city / f"{name}_gtFine_"
            Image.fromarray(np.array(IDS, dtype=np.uint8)[classes]).save(f"{label}labelIds.png")
            Image.fromarray(palette[classes]).convert("RGBA").save(f"{label}color.png")
            noise = rng.integers(-30, 31, (64, 128, 3))
            photo = np.clip(palette[classes].astype(int) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(photo).save(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png")
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "drn_d_22.pth"
    torch.save(DRNSegmentation().state_dict(), path)
    return path


def prepare(downloads, output, *extra):
    folders = ["--gtFine_dir", str(downloads / "gtFine"), "--leftImg8bit_dir", str(downloads / "leftImg8bit")]
    prepare_cityscapes.main([*folders, "--output_dir", str(output), *extra])


def test_an_output_folder_that_is_a_file(downloads, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--output_dir .*file cannot be written to"):
        prepare(downloads, tmp_path / "file")


def test_prepare(downloads, tmp_path, capsys):
    prepare(downloads, tmp_path)
    for phase, split in (("train", "train"), ("test", "val")):
        for side in ("A", "B"):
            files = sorted((tmp_path / f"{phase}{side}").iterdir())
            assert [f.stem for f in files] == NAMES[split]
            assert {Image.open(f).size for f in files} == {(256, 256)} and files[0].suffix == ".jpg"
    assert "photographs bicubic, label maps nearest" in capsys.readouterr().out
    assert not (tmp_path / "train").exists()


def test_filters_are_those_named(downloads, tmp_path):
    extra = ["--format", "png", "--size", "32", "--photo_filter", "box", "--label_filter", "lanczos", "--aligned"]
    prepare(downloads, tmp_path, *extra)
    name = NAMES["val"][0]
    source = Image.open(downloads / "leftImg8bit" / "val" / "frankfurt" / f"{name}_leftImg8bit.png")
    expected = np.asarray(source.resize((32, 32), Image.Resampling.BOX))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "testA" / f"{name}.png")), expected)
    label = Image.open(downloads / "gtFine" / "val" / "frankfurt" / f"{name}_gtFine_color.png").convert("RGB")
    expected = np.asarray(label.resize((32, 32), Image.Resampling.LANCZOS))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "testB" / f"{name}.png")), expected)
    both = np.asarray(Image.open(tmp_path / "test" / f"{name}.png"))
    assert np.array_equal(both[:, 32:], expected) and both.shape == (32, 64, 3)


def test_prepare_names_mistakes(downloads, tmp_path):
    with pytest.raises(UserError, match="--leftImg8bit_dir .*holds no image in train"):
        prepare_cityscapes.main(["--gtFine_dir", str(downloads / "gtFine"), "--leftImg8bit_dir", str(tmp_path)])
    half = tmp_path / "half"
    for split, names in NAMES.items():
        for name in names[1:]:
            folder = half / split / name.split("_")[0]
            folder.mkdir(parents=True)
            (folder / f"{name}_leftImg8bit.png").touch()
    arguments = ["--gtFine_dir", str(downloads / "gtFine"), "--leftImg8bit_dir", str(half)]
    with pytest.raises(UserError, match=f"train: {NAMES['train'][0]} has no photograph or no label map"):
        prepare_cityscapes.main([*arguments, "--output_dir", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def oracle(downloads, weights, photos) -> float:
    """Pixel accuracy of the network's answers, with no line of the code under test but the network."""
    net = DRNSegmentation().eval()
    net.load_state_dict(torch.load(weights, weights_only=True))
    mean = torch.tensor((0.29010095, 0.32808144, 0.28696394)).view(3, 1, 1)
    std = torch.tensor((0.18295405, 0.18656561, 0.18447509)).view(3, 1, 1)
    right = total = 0
    for name in NAMES["val"]:
        photo = Image.open(photos / f"{name}.jpg").resize((256, 128), Image.Resampling.BILINEAR)
        x = (torch.tensor(np.asarray(photo)).permute(2, 0, 1) / 255 - mean) / std
        with torch.no_grad():
            answer = net(x[None])[0].argmax(0).numpy()
        city = name.split("_")[0]
        label = Image.open(downloads / "gtFine" / "val" / city / f"{name}_gtFine_labelIds.png")
        truth = np.asarray(label.resize((256, 128), Image.Resampling.NEAREST))
        right += sum(IDS[a] == t for a, t in zip(answer.ravel(), truth.ravel(), strict=True))
        total += truth.size
    return right / total


def test_evaluate(downloads, weights, tmp_path, capsys):
    prepare(downloads, tmp_path / "city")
    labels = str(downloads / "gtFine" / "val")
    photos = tmp_path / "city" / "testA"
    out = tmp_path / "metrics.jsonl"
    common = ["--labels", labels, "--weights", str(weights), "--out", str(out)]
    evaluate_cityscapes.main([str(photos), *common, "--epoch", "7"])
    row = read(out)[0]
    assert row["epoch"] == 7 and row["scores"]["images"] == 2
    assert row["scores"]["pixel_accuracy"] == pytest.approx(oracle(downloads, weights, photos))
    printed = capsys.readouterr().out
    assert "IoU bicycle" in printed and f"{100 * row['scores']['mean_iou']:.2f}" in printed


def test_kinds_of_labels_and_names(downloads, weights, tmp_path):
    """Label numbers, coloured maps, and names that are positions give the same scores."""
    prepare(downloads, tmp_path / "city")
    photos = tmp_path / "city" / "testA"
    out = tmp_path / "metrics.jsonl"
    common = ["--labels", str(downloads / "gtFine" / "val"), "--weights", str(weights), "--out", str(out)]
    common += ["--size", "32", "64"]
    evaluate_cityscapes.main([str(photos), *common])
    evaluate_cityscapes.main([str(photos), *common, "--label_kind", "color"])
    numbered = tmp_path / "numbered"
    numbered.mkdir()
    for i, name in enumerate(NAMES["val"]):
        (numbered / f"{i + 1}_A.jpg").write_bytes((photos / f"{name}.jpg").read_bytes())
    evaluate_cityscapes.main([str(numbered), *common, "--numbered", "1"])
    by_number, by_colour, by_position = (row["scores"] for row in read(out))
    assert by_number == by_colour == by_position
    with pytest.raises(UserError, match="no label map for 1_A.jpg; for numbered names give --numbered"):
        evaluate_cityscapes.main([str(numbered), *common])
    with pytest.raises(UserError, match="no label map for 2_A.jpg"):
        evaluate_cityscapes.main([str(numbered), *common, "--numbered", "0"])
    with pytest.raises(UserError, match="multiples of 8"):
        evaluate_cityscapes.main([str(photos), *common, "--size", "100", "256"])
