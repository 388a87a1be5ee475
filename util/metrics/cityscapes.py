"""Cityscapes: its labels, the networks that segment generated photographs, the scores of their answers."""

from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image

from util.errors import UserError
from util.metrics.drn import DRNSegmentation
from util.metrics.images import FILTERS, read_image, resize_image

IGNORED = 255
CLASSES = (
    "road sidewalk building wall fence pole traffic_light traffic_sign vegetation terrain sky person rider "
    "car truck bus train motorcycle bicycle"
).split()
# Label ids of the 19 classes in training order, and their colours; all other ids (0..33, -1) are not scored.
IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
COLOURS = (
    "804080 f423e8 464646 66669c be9999 999999 faaa1e dcdc00 6b8e23 98fb98 4682b4 dc143c ff0000 00008e "
    "000046 003c64 005064 0000e6 770b20"
).split()
IGNORED_COLOURS = "000000 6f4a00 510051 faaaa0 e6968c b4a5b4 966464 96785a 00005a 00006e".split()
LABEL_ENDINGS = {"ids": "_gtFine_labelIds", "train_ids": "_gtFine_labelTrainIds", "color": "_gtFine_color"}

# Mean and standard deviation that each network's inputs are normalised with, for images in 0..1.
DRN_STATISTICS = ((0.29010095, 0.32808144, 0.28696394), (0.18295405, 0.18656561, 0.18447509))
IMAGENET_STATISTICS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
MODELS = ("drn_d_22", *torchvision.models.list_models(module=torchvision.models.segmentation))


def read_label(path: str | Path, kind: str, size: tuple[int, int]) -> np.ndarray:
    """A label map -> (height, width) uint8 of classes 0..18 and 255 (not scored), at ``size``, nearest pixel.

    ``kind``: ids, train_ids, or color: the nearest colour of the palette, for maps that were kept as JPEG.
    """
    if kind == "color":
        pixels = resize_image(read_image(path), size, "nearest").reshape(-1, 3).astype(np.int32)
        palette = np.array([tuple(bytes.fromhex(colour)) for colour in COLOURS + IGNORED_COLOURS])
        colours, where = np.unique(pixels, axis=0, return_inverse=True)
        nearest = np.square(colours[:, None] - palette).sum(2).argmin(1)
        classes = np.where(nearest < len(COLOURS), nearest, IGNORED)[where]
        return classes.reshape(size).astype(np.uint8)
    with Image.open(path) as file:
        label = np.asarray(file.resize(size[::-1], FILTERS["nearest"]))
    if label.ndim != 2:
        raise UserError(f"{path} holds colours, not label numbers; give --label_kind color")
    table = np.full(256, IGNORED, dtype=np.uint8)
    table[list(IDS) if kind == "ids" else range(len(CLASSES))] = range(len(CLASSES))
    return table[label.astype(np.int64) & 255]


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int = len(CLASSES)) -> np.ndarray:
    """Counts (classes, classes) of pixels: row the true class, column the predicted one; other true values
    don't count."""
    scored = truth < classes
    pairs = truth[scored].astype(np.int64) * classes + predicted[scored]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def segmentation_scores(confusion: np.ndarray) -> dict[str, float]:
    """``mean_iou`` (the papers' "mAP"), ``pixel_accuracy``, ``class_accuracy``, in 0..1, of one matrix for
    all images.

    A class that no pixel truly is has no accuracy, one that is neither true nor predicted has no IoU; means
    leave it out.
    """
    right, true = np.diag(confusion), confusion.sum(1)
    if not true.sum():
        raise UserError("no pixel of the label maps belongs to a class; check --labels and --label_kind")
    with np.errstate(invalid="ignore"):
        accuracy = right / true
    return {
        "mean_iou": float(np.nanmean(class_ious(confusion))),
        "pixel_accuracy": float(right.sum() / true.sum()),
        "class_accuracy": float(np.nanmean(accuracy)),
    }


def class_ious(confusion: np.ndarray) -> np.ndarray:
    """(classes,) IoU, NaN for a class that is neither true nor predicted anywhere."""
    right = np.diag(confusion)
    with np.errstate(invalid="ignore"):
        return right / (confusion.sum(1) + confusion.sum(0) - right)


class Segmenter:
    """A segmentation network with 19 Cityscapes classes: (H, W, 3) uint8 -> (height, width) uint8 classes."""

    def __init__(self, name: str, weights: str | Path, size: tuple[int, int], filter: str, device: str | torch.device):
        state = _read_weights(weights)
        if name == "drn_d_22":
            self.net, (mean, std) = DRNSegmentation(len(CLASSES)), DRN_STATISTICS
            self.answer = lambda output: output
        else:
            auxiliary = any(key.startswith("aux_classifier.") for key in state)
            options = {} if name.startswith("lraspp") else {"aux_loss": auxiliary}
            self.net = torchvision.models.get_model(
                name, weights=None, weights_backbone=None, num_classes=len(CLASSES), **options
            )
            mean, std = IMAGENET_STATISTICS
            self.answer = lambda output: output["out"]
        try:
            self.net.load_state_dict(state)
        except RuntimeError as error:
            first = str(error).strip().splitlines()[1:2]
            raise UserError(
                f"--weights {weights} are not those of {name} with {len(CLASSES)} classes:{''.join(first)}"
            ) from None
        self.net.eval().requires_grad_(False).to(device)
        self.mean, self.std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (mean, std))
        self.size, self.filter, self.device = size, filter, device

    @torch.no_grad()
    def __call__(self, image: np.ndarray) -> np.ndarray:
        image = resize_image(image, self.size, self.filter)
        x = torch.tensor(image, device=self.device).permute(2, 0, 1)[None].float() / 255
        return self.answer(self.net((x - self.mean) / self.std))[0].argmax(0).byte().cpu().numpy()


def _read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """A state dict, or a training checkpoint that holds one under ``state_dict`` or ``model``; "module." is
    dropped."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = next((state[key] for key in ("state_dict", "model") if key in state), state)
        return {key.removeprefix("module."): value for key, value in state.items()}
    except Exception as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"--weights {path} is not a readable file of weights ({line})") from None
