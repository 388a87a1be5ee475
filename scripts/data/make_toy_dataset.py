"""Draw a small unpaired dataset whose right translation is known.

    python scripts/data/make_toy_dataset.py datasets/toy --size 64 --train 200 --test 24

    trainA  trainB               scenes with plain shapes; other scenes with striped shapes
    testA   testB                the same, for testing
    testA_truth  testA_mask      the very scenes of testA with striped shapes; where the shapes are (white)
    toy.json                     how it was drawn

A scene is one to three lit shapes (circle, ellipse, rounded square or triangle) that cover 30 to 50% of a
textured ground. Both domains draw ground, shapes and light from the same distributions; only the shapes' skin
differs: a warm plain colour in A, black and white stripes in B. Outside the mask, truth and source are equal.

Stripes are counted downwards from the shape's upper edge, black first, eight to the picture's height. So what
A shows near by decides the translation, and error to the truth means something. Stripes at a fixed phase of the
image would not do: a convolutional translator hardly knows where in the image it is, finds stripes of any phase,
and ends further from the truth than the copied input does. Black comes first, and shapes have dark rims, because
training otherwise tends to settle on stripes of the opposite phase. Ground colours vary little between images:
instance norm removes an image's mean colour, and no translator could give it back.

A drawing depends on (seed, split, index) alone, so more images or another size keep the scenes.
"""

import colorsys
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import repository  # noqa: F401
from PIL import Image
from scipy.interpolate import BSpline

from util.errors import UserError, run
from util.files import new_folder
from util.flag_types import ScriptParser, non_negative_int, positive_int

PERIOD = 1 / 8  # of the stripes, in picture heights
SAMPLES = 4  # per pixel and axis, for the edges
SPLITS = ("trainA", "trainB", "testA", "testB")
FOLDERS = (*SPLITS, "testA_truth", "testA_mask")
SIZES = (32, 2048)  # below, stripes are under 4 pixels wide; above, drawing takes gigabytes

# Rounded regular polygons: sides, and which part of the inradius is core (the rest is corner); 0 is a circle.
OUTLINES = {"circle": (4, 0.0), "ellipse": (4, 0.0), "square": (4, 0.62), "triangle": (3, 0.5)}


@dataclass(frozen=True)
class Shape:
    """One shape; lengths in picture heights, angles in radians, y downwards."""

    kind: str
    x: float
    y: float
    radius: float
    turn: float
    stretch: float
    hue: float

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Signed distance to the outline, negative inside (approximate for ellipses)."""
        x, y = x - self.x, y - self.y
        u = (x * math.cos(self.turn) + y * math.sin(self.turn)) / self.stretch
        v = (y * math.cos(self.turn) - x * math.sin(self.turn)) * self.stretch
        sides, core = OUTLINES[self.kind]
        core *= self.radius
        sector = math.pi / sides  # fold the plane so that the nearest side is upright at u = core
        fold = (np.arctan2(v, u) + sector) % (2 * sector) - sector
        rho = np.hypot(u, v)
        u, v = rho * np.cos(fold) - core, rho * np.abs(np.sin(fold)) - core * math.tan(sector)
        return np.where(u > 0, np.hypot(u, np.maximum(v, 0)), u) - (self.radius - core)


def radius_for(kind: str, area: float) -> float:
    """Inradius of a shape of this area: core polygon, a border of the corner's width, and the corners."""
    sides, core = OUTLINES[kind]
    corner, tangent = 1 - core, sides * math.tan(math.pi / sides)
    return math.sqrt(area / (tangent * core**2 + 2 * tangent * core * corner + math.pi * corner**2))


def arrange(rng: np.random.Generator) -> list[Shape]:
    """One to three shapes that fit the picture with gaps between them."""
    grid = pixel_centres(28)
    count = rng.integers(1, 4)
    while True:  # until all of them fit
        covered = rng.uniform(0.32, 0.44)
        shares = np.sort(rng.uniform(1, 1.7, count))[::-1]
        shapes, taken = [], np.zeros(grid[0].shape, bool)
        for share in covered * shares / shares.sum():
            for _ in range(30):
                kind = list(OUTLINES)[rng.integers(len(OUTLINES))]
                radius = radius_for(kind, share)
                x, y = rng.uniform(radius, 1 - radius, 2)
                if any(math.hypot(x - s.x, y - s.y) < radius + s.radius for s in shapes):
                    continue  # cheaper than asking the grid
                turn = rng.uniform(0, 2 * math.pi)
                stretch = rng.uniform(1.15, 1.35) if kind == "ellipse" else 1.0
                shape = Shape(kind, x, y, radius, turn, stretch, rng.uniform(-0.01, 0.09))
                distance = shape.distance(*grid)
                frame = np.concatenate([distance[[0, -1]], distance[:, [0, -1]].T])
                if frame.min() > 0.01 and not (taken & (distance < 0)).any():
                    shapes.append(shape)
                    taken |= distance < 0.04
                    break
        if len(shapes) == count:
            return shapes


def pixel_centres(n: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y, each (n, n), of an n x n grid over the unit square."""
    t = ((np.arange(n) + 0.5) / n).astype(np.float32)
    return np.meshgrid(t, t)


def smooth_noise(rng: np.random.Generator, size: int, cells: int, channels: int) -> np.ndarray:
    """(size, size, channels) about [-0.6, 0.6]: uniform noise on a lattice under cubic B-splines."""
    lattice = rng.uniform(-1, 1, (cells + 3, cells + 3, channels))
    places = (np.arange(size) + 0.5) / size * cells
    weights = BSpline.design_matrix(places, np.arange(-3, cells + 4), 3).toarray()
    return np.einsum("yi,xj,ijc->yxc", weights, weights, lattice, optimize=True)


def colour(hue: float, saturation: float, value: float) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value))


def stripes(inside: np.ndarray) -> np.ndarray:
    """0 black, 1 white, for a shape (n, n) bool: lines below the upper edge, none steeper than 45 degrees."""
    n = len(inside)
    top = np.where(inside.any(0), inside.argmax(0), 2 * n).astype(np.float32)
    columns = np.arange(n, dtype=np.float32)
    top = (top[None] + np.abs(columns[:, None] - columns[None])).min(1)
    depth = (columns[:, None] - top[None]) / (PERIOD * n)
    return 0.5 - 0.5 * np.tanh(3 * np.sin(2 * math.pi * depth))


def draw(seed: int, split: str, index: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One scene: plain and striped (size, size, 3) uint8; the mask (size, size) uint8, 255 on the shapes."""
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    x, y = pixel_centres(size)
    fine = pixel_centres(size * SAMPLES)

    def average(samples: np.ndarray) -> np.ndarray:
        return samples.reshape(size, SAMPLES, size, SAMPLES).mean((1, 3))[..., None]

    moss, teal = colour(0.38 + rng.uniform(-0.02, 0.02), 0.4, 0.66), colour(0.48, 0.42, 0.6)
    blend = np.clip(0.5 + 1.2 * smooth_noise(rng, size, 3, 1), 0, 1)
    ground = moss * (1 - blend) + teal * blend
    for cells, strength, channels in (9, 0.18, 1), (21, 0.18, 1), (15, 0.04, 3):
        ground = ground + strength * smooth_noise(rng, size, cells, channels)

    shapes = arrange(rng)
    shadow = np.max([1 / (1 + np.exp(s.distance(x - 0.025, y - 0.035) / 0.018)) for s in shapes], 0)
    plain = striped = ground * (1 - 0.4 * shadow[..., None])
    mask = np.zeros((size, size), bool)
    for shape in shapes:
        inside = shape.distance(*fine) < 0
        cover = average(inside)
        white = average(stripes(inside) * inside) / np.maximum(cover, 1e-6)
        right, down = (x - shape.x) / shape.radius, (y - shape.y) / shape.radius
        rim = 1 - 0.4 * np.exp(-np.maximum(-shape.distance(x, y), 0) / 0.02)
        light = (rim * (0.84 - 0.24 * (0.6 * right + 0.8 * down)))[..., None]
        gloss = 0.3 * np.exp(-((right + 0.33) ** 2 + (down + 0.42) ** 2) / 0.06)[..., None]
        plain = plain * (1 - cover) + cover * (colour(shape.hue, 0.7, 0.9) * light + 0.6 * gloss)
        striped = striped * (1 - cover) + cover * ((0.07 + 0.86 * white) * light + 0.1 * gloss)
        mask |= cover[..., 0] > 0
    return to_uint8(plain), to_uint8(striped), np.where(mask, 255, 0).astype(np.uint8)


def to_uint8(image: np.ndarray) -> np.ndarray:
    return (np.clip(image, 0, 1) * 255).round().astype(np.uint8)


def image_names(train: int, test: int) -> dict[str, list[str]]:
    """Folder -> file names."""
    counts = {folder: train if folder.startswith("train") else test for folder in FOLDERS}
    return {folder: [f"{i:04d}.png" for i in range(count)] for folder, count in counts.items()}


def check_replaceable(folder: Path) -> None:
    """UserError unless ``folder`` is absent, empty, or holds what an earlier call drew and no more."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; name a new folder for the dataset")
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}
    if not files:
        return
    try:
        settings = json.loads((folder / "toy.json").read_text())
        names = image_names(settings["train"], settings["test"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder} holds files that this script did not draw; name a new folder") from None
    strange = sorted(files - {"toy.json"} - {f"{f}/{n}" for f in names for n in names[f]})
    if strange:
        raise UserError(f"{folder} holds {strange[0]}, which is not of this dataset; name a new folder")


def make_dataset(folder: Path, size: int = 64, train: int = 200, test: int = 24, seed: int = 0) -> None:
    """Draw the whole dataset into ``folder``, which is new or was drawn by an earlier call."""
    folder = Path(folder).resolve()
    check_replaceable(folder)
    names = image_names(train, test)
    with new_folder("the folder", folder) as new:
        for name in names:
            (new / name).mkdir(parents=True)
        for split in SPLITS:
            for index, name in enumerate(names[split]):
                plain, striped, mask = draw(seed, split, index, size)
                Image.fromarray(plain if split.endswith("A") else striped).save(new / split / name)
                if split == "testA":
                    Image.fromarray(striped).save(new / "testA_truth" / name)
                    Image.fromarray(mask).save(new / "testA_mask" / name)
        settings = {"size": size, "train": train, "test": test, "seed": seed}
        (new / "toy.json").write_text(json.dumps(settings) + "\n")


def main(arguments: list[str] | None = None) -> None:
    parser = ScriptParser(__doc__, allow_abbrev=False)
    parser.add_argument("out", type=Path, help="new folder, or one that this script drew (it is replaced)")
    parser.add_argument("--size", type=int, default=64, help="height and width in pixels")
    parser.add_argument("--train", type=positive_int, default=200, help="images in trainA and in trainB")
    parser.add_argument("--test", type=positive_int, default=24, help="images in testA and in testB")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="another seed, other scenes")
    options = parser.parse_args(arguments)
    if not SIZES[0] <= options.size <= SIZES[1]:
        raise UserError(f"--size {options.size}: give pixels from {SIZES[0]} to {SIZES[1]}")
    make_dataset(options.out, options.size, options.train, options.test, options.seed)
    print(
        f"drew {options.out}: trainA, trainB {options.train} images each, testA, testB {options.test}, "
        f"{options.size} x {options.size}, with testA_truth and testA_mask"
    )


if __name__ == "__main__":
    run(main)
