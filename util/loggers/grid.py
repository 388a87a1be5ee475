"""Several pictures as one, each under its label."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from util.loggers.base import Images

GAP, CAPTION = 6, 20  # pixels


def grid(images: Images, columns: int) -> np.ndarray:
    """label -> (H, W, 3) uint8, in rows of ``columns`` -> (H', W', 3) uint8; pixels are kept."""
    rows = [list(images.items())[i : i + columns] for i in range(0, len(images), columns)]
    width = max(picture.shape[1] for picture in images.values()) + GAP
    heights = [max(picture.shape[0] for _, picture in row) + CAPTION + GAP for row in rows]
    sheet = Image.new("RGB", (width * max(map(len, rows)) + GAP, sum(heights)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    y = 0
    for row, height in zip(rows, heights, strict=True):
        for i, (label, picture) in enumerate(row):
            x = GAP + i * width
            draw.text((x, y + 1), label, fill="black", font=font)
            sheet.paste(Image.fromarray(picture), (x, y + CAPTION))
        y += height
    return np.asarray(sheet)


def sheet(images: Images, columns: int, width: int, size: int = 0) -> np.ndarray:
    """label -> (H, W, 3) uint8, each as wide as a column, as one picture about ``width`` pixels wide; wider where its
    columns would be narrower than ``size`` pixels or the widest picture. Twice enlarged or more, pixels stay sharp."""
    columns = min(columns, len(images))
    each = max((width - GAP) // columns - GAP, size, *(image.shape[1] for image in images.values()))
    scaled = {}
    for label, image in images.items():
        height = max(1, round(image.shape[0] * each / image.shape[1]))
        how = Image.Resampling.NEAREST if each >= 2 * image.shape[1] else Image.Resampling.BICUBIC
        scaled[label] = np.asarray(Image.fromarray(image).resize((each, height), how))
    return grid(scaled, columns)


def enlarge(image: np.ndarray, size: int) -> np.ndarray:
    """Repeat pixels so that the longer side comes as near to ``size`` as it can from below."""
    factor = max(1, size // max(image.shape[:2]))
    return image.repeat(factor, 0).repeat(factor, 1)
