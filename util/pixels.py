"""A picture's pixels as 8 bits, as a viewer shows them: upright, in sRGB, transparent parts white, deep values scaled.

All of it but turning works on one pixel at a time, so that large pictures are worked on in strips: the memory is that
of the picture before and after.
"""

from collections.abc import Iterator
from functools import lru_cache
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageOps

STRIP = 2**22  # pixels that are worked on at a time
ICC_SPACES = {"RGB": "RGB", "CMYK": "CMYK", "GRAY": "L"}  # a profile's colour space -> the mode it describes
COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # TIFF's PhotometricInterpretation -> bands that it takes
FULL_RANGE = (0, 65535)  # of unsigned 16 bits; signed, 32-bit and float values have no range that all agree on
Range = tuple[float, float]


class NotTaken(ValueError):
    """Pixels that cannot be read for a reason that the user can mend."""


class Picture(NamedTuple):
    """A picture as Pillow reads it; of one with 16 bits a colour the high bytes, and their low ones."""

    image: Image.Image
    low: Image.Image | None = None

    def to_8_bit(self, mode: str, value_range: Range | None = None) -> Image.Image:
        """The picture in ``mode`` "RGB" or "L".

        value_range: what becomes 0 and 255 in pictures of more than 8 bits, in between linearly; None: 0 and 65535 for
        unsigned 16 bits. ``NotTaken`` for values whose range is not known.
        """
        if self.is_deep and value_range is None:
            if self.kind != "16-bit":
                raise NotTaken(no_range(self.kind, *self.span()))
            value_range = FULL_RANGE
        turned = Picture(upright(self.image), self.low and upright(self.low))
        image = turned.image
        profile, transparent = image.info.get("icc_profile"), has_transparency(image)

        def flatten(picture: Picture) -> Image.Image:
            part = picture.scaled(value_range) if picture.is_deep else picture.image
            if transparent:
                part = Image.alpha_composite(Image.new("RGBA", part.size, "white"), with_alpha(part)).convert("RGB")
            elif part.mode not in ICC_SPACES.values():
                part = part.convert("RGB")
            transform = _to_srgb(profile, part.mode) if profile else None
            if transform is not None:
                part = ImageCms.applyTransform(part, transform)
            return part if part.mode == mode else part.convert(mode)

        if image.mode == mode and not turned.is_deep and not (profile and _to_srgb(profile, mode)):
            image.load()
            return image
        result = Image.new(mode, image.size)
        for box, part in turned.strips():
            result.paste(flatten(part), box)
        if profile and mode == "RGB":
            result.info["icc_profile"] = srgb_profile()
        return result

    def strips(self) -> Iterator[tuple[tuple[int, int, int, int], "Picture"]]:
        """(box, the picture's part in it) from top to bottom."""
        self.image.load()
        width, height = self.image.size
        rows = max(1, STRIP // width)
        for y in range(0, height, rows):
            box = (0, y, width, min(y + rows, height))
            yield box, self if rows >= height else Picture(self.image.crop(box), self.low and self.low.crop(box))

    @property
    def is_deep(self) -> bool:
        """More than 8 bits a band."""
        return self.low is not None or self.image.mode.startswith(("I", "F"))

    @property
    def kind(self) -> str:
        """Of a deep picture's values: ``16-bit``, ``signed 16-bit``, ``32-bit`` or ``float``."""
        image, mode = self.image, self.image.mode
        if self.low is not None or mode.startswith("I;16") or (mode == "I" and image.format in ("PNG", "PPM")):
            return "16-bit"
        if mode == "F":
            return "float"
        return "signed 16-bit" if getattr(image, "tag_v2", {}).get(258) == (16,) else "32-bit"

    def values(self) -> np.ndarray:
        """The values of a deep picture, (H, W); those of 16 bits in colours (H, W, 3), or 4 with transparency."""
        if self.low is None:
            return np.asarray(self.image)
        return np.asarray(self.image).astype(np.uint16) << 8 | np.asarray(self.low)

    def span(self) -> Range:
        """The smallest and the largest value of a deep picture, transparency aside."""
        parts = (part.values()[..., :3] if part.low else part.values() for _, part in self.strips())
        ends = [(np.nanmin(part).item(), np.nanmax(part).item()) for part in parts]
        return min(smallest for smallest, _ in ends), max(largest for _, largest in ends)

    def scaled(self, value_range: Range) -> Image.Image:
        """The values' linear image in 0 to 255; what is outside of ``value_range`` is cut off."""
        array, (lowest, highest) = self.values(), value_range
        new = (array.astype(np.float32) - lowest) * np.float32(255 / (highest - lowest))
        if self.low and array.shape[2] == 4:
            new[..., 3] = array[..., 3] / np.float32(257)
        if np.isnan(new).any():
            raise NotTaken("holds values that are no number (NaN)")
        return Image.fromarray(np.rint(new).clip(0, 255).astype(np.uint8))


def transparency(image: Image.Image) -> Image.Image | None:
    """How opaque each pixel is, upright, in mode "L"; None where all are."""
    if not has_transparency(image):
        return None
    image = upright(image)
    result = Image.new("L", image.size)
    for box, part in Picture(image).strips():
        result.paste(with_alpha(part.image).getchannel("A"), box)
    return result


def upright(image: Image.Image) -> Image.Image:
    turned = "exif" in image.info and image.getexif().get(0x0112, 1) != 1
    return ImageOps.exif_transpose(image) if turned else image


def no_range(kind: str, smallest: float, largest: float) -> str:
    """The sentence for values whose range has to be told."""
    negative = ", negative ones among them" if smallest < 0 else ""
    return (
        f"holds {kind} values, {smallest:g} to {largest:g}{negative}: --value_range LOW HIGH must say which are black "
        "and white in all pictures"
    )


def tiff_bands(image: Image.Image) -> tuple[int, int, bool] | None:
    """(bands, bands of colour, whether the next is marked as transparency) as a TIFF's tags say; None for others."""
    if image.format != "TIFF":
        return None
    bands, extra = image.tag_v2.get(277, 1), image.tag_v2.get(338, ())
    extra = extra if isinstance(extra, tuple) else (extra,)
    return bands, min(bands, COLOURS.get(image.tag_v2.get(262), bands)), extra[:1] in ((1,), (2,))


def has_transparency(image: Image.Image) -> bool:
    """Only where the file says so: a fourth band may be anything, such as near infrared."""
    bands = tiff_bands(image)
    return image.has_transparency_data and (bands is None or bands[2])


def with_alpha(image: Image.Image) -> Image.Image:
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@lru_cache(maxsize=64)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None where nothing is to be done: the profile is sRGB, damaged, or not made for this mode."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return None
        if ICC_SPACES.get(source.profile.xcolor_space.strip()) != mode:
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError):
        return None
