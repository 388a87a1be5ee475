"""What a score's name tells."""

import re
from collections.abc import Iterable

# At the end of a word, as in pixAcc and mIoU: "accumulated", "previous" and "mapped" say something else.
HIGHER = re.compile(
    r"(ssim|psnr|acc|accuracy|iou|map|precision|recall|density|coverage|inception score"
    r"|self_similarity|edge_similarity|stripes)(?![a-z])|class_\d"
)
PAPERS = (256, 256)  # height and width at which distances are published
SIZE = re.compile(r"-(\d+(x\d+)?px|mixed)(?=_|$)")


def higher_is_better(score: str) -> bool:
    """Whether larger is better (accuracies, IoU, SSIM, ...); FID, KID, errors and distances are better when small."""
    return bool(HIGHER.search(score.lower()))


def plotted_scores(scores: dict) -> dict[str, float]:
    """The scores among what an evaluation found: no counts, no notes and no standard errors (NAME_se, NAME_se_ema)."""
    return {name: x for name, x in scores.items() if isinstance(x, float) and not re.search("_se(_ema)?$", name)}


def size_suffix(sizes: Iterable[tuple[int, int]]) -> str:
    """Of a distance between images of these sizes (height, width): "" at the papers' 256 x 256, else ``-96px``,
    ``-512x256px`` (width x height), or ``-mixed``: the size itself enters the distance."""
    sizes = set(sizes)
    if sizes == {PAPERS}:
        return ""
    if len(sizes) > 1:
        return "-mixed"
    ((height, width),) = sizes
    return f"-{width}px" if width == height else f"-{width}x{height}px"


def in_words(sizes: Iterable[tuple[int, int]]) -> str:
    """``96x96`` (width x height), or ``of 7 sizes``."""
    sizes = set(sizes)
    return "x".join(map(str, min(sizes)[::-1])) if len(sizes) == 1 else f"of {len(sizes)} sizes"


def without_size(score: str) -> str:
    """``FD-effnet_lite0-96px_ema`` -> ``FD-effnet_lite0_ema``"""
    return SIZE.sub("", score)


def at_this_size(score: str, scores: Iterable[str]) -> str:
    """``score``, or the one of ``scores`` that is called so but for the size."""
    scores = list(scores)
    return score if score in scores else next((name for name in scores if without_size(name) == score), score)
