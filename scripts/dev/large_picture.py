"""Peak memory and time of translating a large PNG beside those of one of 1024 x 1024 pixels, with a tiny network.

    python scripts/dev/large_picture.py --side 13500 --photo datasets/horse2zebra/testA/n02381460_20.jpg

Each is a run of scripts/translate.py on the CPU.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import repository  # noqa: F401
import torch
from PIL import Image

from models import networks
from util.errors import UserError, run
from util.flag_types import ScriptParser, positive_int
from util.pictures import Reader

TRANSLATE = Path(__file__).parents[1] / "translate.py"


class Measured(NamedTuple):
    bytes: int  # of memory at most
    seconds: float


def main(argv: list[str] | None = None) -> None:
    parser = ScriptParser(__doc__)
    add = parser.add_argument
    add("--side", type=positive_int, default=13500, help="pixels of the large picture's sides")
    add("--photo", help="the picture is this one, scaled; without it a drawn one")
    args = parser.parse_args(argv)
    small, large = measure([1024, args.side], photo=args.photo)
    for side, (peak, seconds) in ((1024, small), (args.side, large)):
        print(f"{side} x {side}: {peak / 2**20:.0f} MiB, {seconds:.0f} s")
    print(f"{bytes_a_pixel(1024, small, args.side, large):.1f} bytes a pixel")


def measure(sides: list[int], *flags: str, photo: str | None = None) -> list[Measured]:
    """Of translate.py with ``flags``, for a picture of each size."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "tiny_net_G.pth")
        torch.save(networks.define_G(3, 3, 4, "resnet_4blocks", "instance").state_dict(), weights)
        found = []
        for side in sides:
            picture = Reader().open(photo).resize((side, side)) if photo else draw(side)
            picture.save(Path(folder, f"{side}.png"), compress_level=1)
            command = [sys.executable, str(TRANSLATE), "--weights", str(weights), f"{folder}/{side}.png"]
            command += ["--out", f"{folder}/out", "--device", "cpu", "--quiet", *flags]
            start = time.perf_counter()
            child = os.posix_spawn(sys.executable, command, os.environ)
            _, status, usage = os.wait4(child, 0)
            found.append(
                Measured(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), time.perf_counter() - start)
            )
            if status:
                raise UserError(f"translate.py ended with status {os.waitstatus_to_exitcode(status)}")
    return found


def bytes_a_pixel(side: int, small: Measured, large_side: int, large: Measured) -> float:
    return (large.bytes - small.bytes) / (large_side**2 - side**2)


def draw(side: int) -> Image.Image:
    """Gradients and a pattern."""
    x = np.arange(side, dtype=np.uint32)
    planes = []
    for plane in (
        lambda y: y * 255 // side + 0 * x,
        lambda y: 0 * y + x * 255 // side,
        lambda y: y // 8 * x // 8 & 255,
    ):
        rows = np.empty((side, side), np.uint8)
        for y in range(0, side, 256):
            rows[y : y + 256] = plane(x[y : y + 256, None])
        planes.append(Image.fromarray(rows))
    return Image.merge("RGB", planes)


if __name__ == "__main__":
    run(main)
