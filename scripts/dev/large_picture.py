"""Peak memory and time of translating a large PNG beside those of one of 1024 x 1024 pixels, with a tiny network.

    python scripts/dev/large_picture.py --side 13500 --photo datasets/horse2zebra/testA/n02381460_20.jpg

Each is a run of scripts/translate.py on the CPU.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import repository  # noqa: F401
import torch
from PIL import Image

from models import networks
from util.errors import UserError, run
from util.flag_types import ScriptParser, positive_int
from util.pictures import Reader

TRANSLATE = Path(__file__).parents[1] / "translate.py"


def main(argv: list[str] | None = None) -> None:
    parser = ScriptParser(__doc__)
    add = parser.add_argument
    add("--side", type=positive_int, default=13500, help="pixels of the large picture's sides")
    add("--photo", help="the picture is this one, scaled; without it a drawn one")
    args = parser.parse_args(argv)
    sides, peaks = (1024, args.side), []
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "tiny_net_G.pth")
        torch.save(networks.define_G(3, 3, 4, "resnet_4blocks", "instance").state_dict(), weights)
        for side in sides:
            picture = Reader().open(args.photo).resize((side, side)) if args.photo else draw(side)
            picture.save(Path(folder, f"{side}.png"), compress_level=1)
            command = [sys.executable, str(TRANSLATE), "--weights", str(weights), f"{folder}/{side}.png"]
            begun = time.perf_counter()
            peaks.append(peak_memory([*command, "--out", f"{folder}/out", "--device", "cpu", "--quiet"]))
            print(f"{side} x {side}: {peaks[-1] / 2**20:.0f} MiB, {time.perf_counter() - begun:.0f} s")
    print(f"{(peaks[1] - peaks[0]) / (sides[1] ** 2 - sides[0] ** 2):.1f} bytes a pixel")


def peak_memory(command: list[str]) -> int:
    """Bytes that a run of translate.py takes at most."""
    _, status, usage = os.wait4(os.posix_spawn(sys.executable, command, os.environ), 0)
    if status:
        raise UserError(f"translate.py ended with status {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def draw(side: int) -> Image.Image:
    """A gradient of its own in each colour."""
    down = Image.linear_gradient("L")
    return Image.merge("RGB", (down, down.rotate(90), Image.radial_gradient("L"))).resize((side, side))


if __name__ == "__main__":
    run(main)
