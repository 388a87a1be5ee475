"""Several pictures as one, each under its label."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from util.loggers.base import Images

GAP, CAPTION = 6, 20  # pixels


def sheet(images: Images, columns: int, width: int, size: int = 0) -> np.ndarray:
    """label -> (H, W, 3) uint8, in rows of ``columns``, each as wide as a column, as one picture (H', W', 3) about
    ``width`` pixels wide; wider where its columns would be narrower than ``size`` pixels or the widest picture. Twice
    enlarged or more, pixels stay sharp."""
    columns = min(columns, len(images))
    each = max((width - GAP) // columns - GAP, size, *(image.shape[1] for image in images.values()))
    pictures = [(label, _as_wide(Image.fromarray(image), each)) for label, image in images.items()]
    rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
    heights = [max(picture.height for _, picture in row) + CAPTION + GAP for row in rows]
    found = Image.new("RGB", (columns * (each + GAP) + GAP, sum(heights)), "white")
    draw, font = ImageDraw.Draw(found), ImageFont.load_default(14)
    for number, row in enumerate(rows):
        y = sum(heights[:number])
        for i, (label, picture) in enumerate(row):
            x = GAP + i * (each + GAP)
            draw.text((x, y + 1), label, fill="black", font=font)
            found.paste(picture, (x, y + CAPTION))
    return np.asarray(found)


def _as_wide(image: Image.Image, width: int) -> Image.Image:
    how = Image.Resampling.NEAREST if width >= 2 * image.width else Image.Resampling.BICUBIC
    return image.resize((width, max(1, round(image.height * width / image.width))), how)


def enlarge(image: np.ndarray, size: int) -> np.ndarray:
    """Repeat pixels so that the longer side comes as near to ``size`` as it can from below."""
    factor = max(1, size // max(image.shape[:2]))
    return image.repeat(factor, 0).repeat(factor, 1)
