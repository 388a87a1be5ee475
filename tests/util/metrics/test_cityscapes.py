"""Label maps, confusion matrix and scores against a slow oracle, segmentation networks by name."""

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from util.errors import UserError
from util.metrics.cityscapes import (
    CLASSES,
    COLOURS,
    IDS,
    Segmenter,
    class_ious,
    confusion_matrix,
    read_label,
    segmentation_scores,
)
from util.metrics.drn import DRNSegmentation


def slow_scores(truths: list[np.ndarray], answers: list[np.ndarray], classes: int = 19) -> dict[str, float]:
    """Pixel by pixel, class by class, with sets."""
    pixels = [
        (int(t), int(a))
        for truth, answer in zip(truths, answers, strict=True)
        for t, a in zip(truth.ravel(), answer.ravel(), strict=True)
        if t < classes
    ]
    ious, accuracies = [], []
    for c in range(classes):
        true = {i for i, (t, _) in enumerate(pixels) if t == c}
        found = {i for i, (_, a) in enumerate(pixels) if a == c}
        if true | found:
            ious.append(len(true & found) / len(true | found))
        if true:
            accuracies.append(len(true & found) / len(true))
    return {
        "mean_iou": sum(ious) / len(ious),
        "pixel_accuracy": sum(t == a for t, a in pixels) / len(pixels),
        "class_accuracy": sum(accuracies) / len(accuracies),
    }


label_maps = arrays(np.uint8, (2, 5, 6), elements=st.sampled_from([0, 1, 2, 7, 18, 255]))
answer_maps = arrays(np.uint8, (2, 5, 6), elements=st.sampled_from([0, 1, 3, 7, 18]))


@settings(max_examples=60)
@given(label_maps, answer_maps)
def test_scores_equal_the_oracle(truths, answers):
    confusion = sum(confusion_matrix(t, a) for t, a in zip(truths, answers, strict=True))
    if (truths == 255).all():
        with pytest.raises(UserError, match="--labels"):
            segmentation_scores(confusion)
    else:
        assert segmentation_scores(confusion) == pytest.approx(slow_scores(list(truths), list(answers)))


def test_rows_are_true_and_columns_predicted():
    confusion = confusion_matrix(np.array([[0, 0, 1, 255]]), np.array([[0, 2, 1, 1]]), classes=3)
    assert confusion.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert class_ious(confusion).tolist() == [0.5, 1.0, 0.0]
    assert np.isnan(class_ious(confusion_matrix(np.array([[0]]), np.array([[0]]), classes=2))[1])


def test_tables():
    assert len(CLASSES) == len(IDS) == len(COLOURS) == 19
    table = {name: (i, colour) for name, i, colour in zip(CLASSES, IDS, COLOURS, strict=True)}
    assert table["road"] == (7, "804080") and table["car"] == (26, "00008e") and table["bicycle"] == (33, "770b20")
    assert table["sky"] == (23, "4682b4") and table["train"] == (31, "005064") and table["person"] == (24, "dc143c")


@pytest.mark.parametrize("kind", ["ids", "train_ids", "color"])
def test_label_maps_of_every_kind(tmp_path, kind):
    """All 19 classes and two that are not scored, each a block of 4 x 4 pixels, read at half the size."""
    colours = [*(tuple(bytes.fromhex(c)) for c in COLOURS), (0, 0, 0), (111, 74, 0)]
    values = {"ids": [*IDS, 0, 5], "train_ids": [*range(19), 255, 255], "color": colours}[kind]
    blocks = np.array(values, dtype=np.uint8).reshape(3, 7, *([3] if kind == "color" else []))
    Image.fromarray(blocks.repeat(4, 0).repeat(4, 1)).save(tmp_path / "label.png")
    found = read_label(tmp_path / "label.png", kind, (6, 14))
    assert found.dtype == np.uint8
    expected = np.array([*range(19), 255, 255]).reshape(3, 7).repeat(2, 0).repeat(2, 1)
    assert np.array_equal(found, expected)


def test_colours_of_a_jpeg_go_to_the_nearest(tmp_path):
    colours = np.array([tuple(bytes.fromhex(c)) for c in COLOURS[:6]], dtype=np.uint8).reshape(1, 6, 3)
    Image.fromarray(colours.repeat(16, 0).repeat(16, 1)).save(tmp_path / "label.jpg", quality=95, subsampling=0)
    found = read_label(tmp_path / "label.jpg", "color", (16, 96))
    assert np.array_equal(found, np.arange(6).repeat(16)[None].repeat(16, 0))


def test_coloured_maps_are_not_taken_for_numbers(tmp_path):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "label.png")
    with pytest.raises(UserError, match="--label_kind color"):
        read_label(tmp_path / "label.png", "ids", (4, 4))


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in s.items()}}]
)
def test_drn_of_a_checkpoint(tmp_path, photo, wrap):
    torch.manual_seed(0)
    net = DRNSegmentation().eval()
    torch.save(wrap(net.state_dict()), tmp_path / "drn.pth")
    segment = Segmenter("drn_d_22", tmp_path / "drn.pth", (16, 32), "bilinear", "cpu")
    seen = []
    segment.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    found = segment(photo)
    pixels = np.asarray(Image.fromarray(photo).resize((32, 16), Image.Resampling.BILINEAR))
    mean, std = torch.tensor([0.2901, 0.3281, 0.2870]), torch.tensor([0.1830, 0.1866, 0.1845])
    x = ((torch.tensor(pixels) / 255 - mean) / std).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = net(seen[0])[0].argmax(0).numpy()
    torch.testing.assert_close(seen[0], x, rtol=1e-3, atol=1e-3)  # mean and deviation are rounded here
    assert found.dtype == np.uint8 and np.array_equal(found, expected)


def test_torchvision_networks(tmp_path, photo):
    torch.manual_seed(0)
    name = "lraspp_mobilenet_v3_large"
    net = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=19)
    torch.save(net.state_dict(), tmp_path / "lraspp.pth")
    found = Segmenter(name, tmp_path / "lraspp.pth", (32, 64), "bilinear", "cpu")(photo)
    assert found.shape == (32, 64)
    with pytest.raises(UserError, match="lraspp.pth are not those of drn_d_22 with 19 classes"):
        Segmenter("drn_d_22", tmp_path / "lraspp.pth", (32, 64), "bilinear", "cpu")


def test_unreadable_weights_are_named(tmp_path):
    (tmp_path / "none.pth").write_bytes(b"nothing")
    for path in (tmp_path / "none.pth", tmp_path / "nowhere.pth"):
        with pytest.raises(UserError, match=f"--weights .*{path.name}"):
            Segmenter("drn_d_22", path, (16, 32), "bilinear", "cpu")
