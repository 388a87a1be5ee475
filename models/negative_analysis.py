"""What the negatives of a trained CUT or NEGCUT are like: how near to the queries, and near to which image regions."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.cut_model import Branch, CUTModel
from models.inference.architecture import load_weights
from models.losses import OWN, patch_similarities
from util.metrics.contrast import Layer, Place, Query

CANDIDATES = 4096  # positions of an image and layer among which the region nearest to a negative is looked for


@dataclass
class Translated:
    """A source image and its translation (1, C, H, W), their features, and the negatives of each layer."""

    source: Tensor
    output: Tensor
    branch: Branch
    negatives: list[Tensor | None]


def load_contrastive(model: CUTModel, folder: Path, epoch: str) -> None:
    """The networks that make translations, queries, keys and negatives; D may be missing."""
    for name, net in model.networks().items():
        if name in ("G", "F", "N", "F_"):
            load_weights(net, folder / f"{epoch}_net_{name}.pth", model.architecture_flags, "--epochs")


@torch.no_grad()
def measure(model: CUTModel, images: list[Tensor]) -> list[Layer]:
    """Each layer as the G step meets it, over sources (1, C, H, W), ``--num_patches`` random positions of each."""
    by_image = []
    for image in images:
        translated = translate(model, image)
        queries, keys = model.queries_and_keys("G", 0, translated.branch)
        by_image.append([cosines(model, *x) for x in zip(queries, keys, translated.negatives, strict=True)])
    return [joined(layers) for layers in zip(*by_image, strict=True)]


def cosines(model: CUTModel, query: Tensor, key: Tensor, negatives: Tensor | None) -> Layer:
    """Of one image, (1, n, C); None stands for CUT's negatives."""
    positive, other = patch_similarities(query, key, None)
    other = other[other != OWN].reshape(query.shape[1], -1)
    negative = other if negatives is None else patch_similarities(query, key, negatives)[1][0]
    loss = model.contrast(query, key, negatives, model.opt.nce_T).item()
    return Layer(loss, *(x.float().cpu().numpy() for x in (positive[0, :, 0], negative, other)))


def joined(layers: tuple[Layer, ...]) -> Layer:
    """One layer's of all images."""
    loss, *cosines_of_images = zip(*(vars(layer).values() for layer in layers), strict=True)
    return Layer(float(np.mean(loss)), *map(np.concatenate, cosines_of_images))


@torch.no_grad()
def translate(model: CUTModel, source: Tensor) -> Translated:
    """As the G step does it with an image of its own (1, C, H, W)."""
    (output,), branches = model.encode([model.on_device(source)], mirrored=False)
    model.summarize(branches)
    return Translated(source, output, branches[0], model.negatives("G", 0, branches[0]))


@torch.no_grad()
def candidate_keys(model: CUTModel, images: list[Tensor]) -> list[tuple[Tensor, list[int], list[Place]]]:
    """Of each layer: keys (n, nc) at up to 4,096 evenly spread positions of each source; whose they are and where."""
    keys, owners, pixels = ([[] for _ in model.nce_layers] for _ in range(3))
    for index, image in enumerate(images):
        source, ids = translate(model, image).branch.source, []
        for layer, feature in enumerate(source):
            rows, columns = grid(model, feature)
            step = math.ceil(math.sqrt(rows * columns / CANDIDATES))
            cells = [(i, j) for i in range(step // 2, rows, step) for j in range(step // 2, columns, step)]
            ids.append(torch.tensor([i * columns + j for i, j in cells], device=model.device))
            owners[layer] += [index] * len(cells)
            pixels[layer] += [center(i, j, (rows, columns), image.shape[2:]) for i, j in cells]
        for list_, key in zip(keys, model.netF.project(source, ids), strict=True):
            list_.append(key[0])
    return list(zip(map(torch.cat, keys), owners, pixels, strict=True))


@torch.no_grad()
def nearest_regions(
    model: CUTModel, translated: Translated, index: int, at: tuple[float, float], candidates: list, count: int
) -> list[Query]:
    """For the query at a fraction (x, y) of a source, the ``index``-th of the candidates': at each layer its ``count``
    hardest negatives and the regions nearest to them."""
    branch, size = translated.branch, translated.source.shape[2:]
    grids = [grid(model, feature) for feature in branch.source]
    cells = [(int(at[1] * rows), int(at[0] * columns)) for rows, columns in grids]
    ids = [torch.tensor([i * g[1] + j], device=model.device) for (i, j), g in zip(cells, grids, strict=True)]
    found = []
    for layer, query in enumerate(model.netF.project(branch.translation, ids)):
        keys, owners, pixels = candidates[layer]
        place = center(*cells[layer], grids[layer], size)
        negatives = translated.negatives[layer]
        if negatives is None:  # CUT's: the other positions of the image
            own = zip(owners, pixels, strict=True)
            negatives = keys[[i for i, (owner, there) in enumerate(own) if owner == index and there != place]][None]
        cosine, hardest = (negatives[0] @ query[0, 0]).topk(min(count, negatives.shape[1]))
        nearness, nearest = (negatives[0, hardest] @ keys.T).max(dim=1)
        nearest = nearest.tolist()
        regions = [owners[i] for i in nearest], [pixels[i] for i in nearest]
        found.append(Query(place, cosine.tolist(), *regions, nearness.tolist()))
    return found


def grid(model: CUTModel, feature: Tensor) -> tuple[int, int]:
    """Rows and columns of the positions that F chooses from, of a layer's feature (1, C, H, W)."""
    rows, columns = feature.shape[2:]
    count = model.netF.positions(feature)
    return (rows, columns) if count == rows * columns else (math.isqrt(count),) * 2  # --netF reshape pools


def center(i: int, j: int, cells: tuple[int, int], size: tuple[int, int]) -> Place:
    """Pixel (x, y) of a layer's row i, column j. Layer 0 is the image with a padded border."""
    (height, width), (rows, columns) = size, cells
    if rows > height:
        return j + 0.5 - (columns - width) / 2, i + 0.5 - (rows - height) / 2
    return (j + 0.5) * width / columns, (i + 0.5) * height / rows
