"""How much a film flickers: a window that moves over a photograph by a pixel a frame, translated frame by frame.

    python scripts/dev/flicker.py datasets/horse2zebra/testA --name h2z

Nothing in such a film changes but its place, so consecutive translations, laid over each other, should be equal.
Printed is how far apart they are on average, in grey levels of 255: frame by frame, as scripts/translate.py does it,
and with the norms' statistics fixed to their mean over all frames, which is what averaging them over time could reach
at best.
"""

from pathlib import Path

import numpy as np
import repository  # noqa: F401
from PIL import Image

from models.inference import trained
from models.inference.tiling import SharedStatistics
from models.inference.translate import translate_pixels
from models.inference.translator import Translator
from util.errors import UserError, run
from util.flag_types import ScriptParser, positive_int
from util.pictures import find_images


def main() -> None:
    parser = ScriptParser(__doc__)
    add = parser.add_argument
    add("photos", type=Path, help="a folder of photographs")
    trained.add_flags(add)
    add("--num", type=positive_int, default=5, help="photographs to use, the first ones")
    add("--frames", type=positive_int, default=16, help="of each film")
    add("--step", type=positive_int, default=1, help="pixels that the window moves a frame")
    add("--side", type=positive_int, default=128, help="of the window, in pixels")
    args = parser.parse_args()
    source, epoch, net = trained.chosen(args)
    translator = Translator(source, epoch, net, tile=0)
    found = []
    for path in find_images(args.photos)[: args.num]:
        film = moving_window(translator.reader.open(path), args.frames, args.step, args.side)
        made = translate(translator, film), with_mean_statistics(translator, film)
        found.append([flicker(translations, args.step) for translations in made])
        print(f"{path.name}: {found[-1][0]:.2f}, with mean statistics {found[-1][1]:.2f}", flush=True)
    plain, fixed = np.mean(found, axis=0)
    print(f"mean of {len(found)}: {plain:.2f} grey levels between frames, {fixed:.2f} with mean statistics")


def moving_window(image: Image.Image, frames: int, step: int, side: int) -> list[np.ndarray]:
    """``frames`` cuts of (side, side, 3), each ``step`` pixels to the right of the one before."""
    wanted = side + step * (frames - 1)
    pixels = np.asarray(image)
    if pixels.shape[1] < wanted or pixels.shape[0] < side:
        raise UserError(f"a photograph of {image.width} x {image.height} pixels is too small; give a smaller --side")
    return [pixels[:side, step * i : step * i + side] for i in range(frames)]


def translate(translator: Translator, film: list[np.ndarray]) -> list[np.ndarray]:
    return [translate_pixels(translator.net, [frame])[0] for frame in film]


def with_mean_statistics(translator: Translator, film: list[np.ndarray]) -> list[np.ndarray]:
    with SharedStatistics(translator.net) as shared:
        for frame in film:
            shared.measure(lambda frame=frame: translate_pixels(translator.net, [frame]))
        return translate(translator, film)


def flicker(translations: list[np.ndarray], step: int) -> float:
    """Mean difference of consecutive frames where they show the same, in grey levels."""
    pairs = zip(translations[:-1], translations[1:], strict=True)
    return float(np.mean([np.abs(inner(a[:, step:]).astype(int) - inner(b[:, :-step])).mean() for a, b in pairs]))


def inner(pixels: np.ndarray, border: int = 16) -> np.ndarray:
    """Without the border, where what lies outside is made up."""
    return pixels[border:-border, border:-border]


if __name__ == "__main__":
    run(main)
