"""A picture's pixels as 8 bits, as a viewer shows them: upright, in sRGB, transparent parts white, deep values scaled.

All of it but turning works on one pixel at a time, so that large pictures are worked on in strips: the memory is that
of the picture before and after.
"""

from collections.abc import Iterator
from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms, ImageOps

STRIP = 2**22  # pixels that are worked on at a time
ICC_SPACES = {"RGB": "RGB", "CMYK": "CMYK", "GRAY": "L"}  # a profile's colour space -> the mode it describes
COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # TIFF's PhotometricInterpretation -> bands that it takes
FULL_RANGE = (0, 65535)  # of unsigned 16 bits; signed, 32-bit and float values have no range that all agree on
Range = tuple[float, float]


class NotTaken(ValueError):
    """Pixels that cannot be read for a reason that the user can mend."""


def to_8_bit(
    image: Image.Image, mode: str, value_range: Range | None = None, low: Image.Image | None = None
) -> Image.Image:
    """``image`` in ``mode`` "RGB" or "L".

    value_range: what becomes 0 and 255 in pictures of more than 8 bits, in between linearly; None: 0 and 65535 for
    unsigned 16 bits. low: the low bytes of a 16-bit picture in colours, of which ``image`` holds the high ones.
    ``NotTaken`` for values whose range is not known.
    """
    if is_deep(image, low) and value_range is None:
        if kind_of(image, low) != "16-bit":
            raise NotTaken(no_range(kind_of(image), *span(image)))
        value_range = FULL_RANGE
    image, low = upright(image), low and upright(low)
    profile, transparent = image.info.get("icc_profile"), has_transparency(image)

    def flatten(part: Image.Image, low_part: Image.Image | None) -> Image.Image:
        if is_deep(part, low_part):
            part = scaled(part, low_part, value_range)
        if transparent:
            part = Image.alpha_composite(Image.new("RGBA", part.size, "white"), with_alpha(part)).convert("RGB")
        elif part.mode not in ICC_SPACES.values():
            part = part.convert("RGB")
        transform = _to_srgb(profile, part.mode) if profile else None
        if transform is not None:
            part = ImageCms.applyTransform(part, transform)
        return part if part.mode == mode else part.convert(mode)

    if image.mode == mode and not is_deep(image, low) and not (profile and _to_srgb(profile, mode)):
        image.load()
        return image
    result = Image.new(mode, image.size)
    for box, *parts in strips(image, low):
        result.paste(flatten(*parts), box)
    if profile and mode == "RGB":
        result.info["icc_profile"] = srgb_profile()
    return result


def transparency(image: Image.Image) -> Image.Image | None:
    """How opaque each pixel is, upright, in mode "L"; None where all are."""
    if not has_transparency(image):
        return None
    image = upright(image)
    result = Image.new("L", image.size)
    for box, part, _ in strips(image):
        result.paste(with_alpha(part).getchannel("A"), box)
    return result


def strips(image: Image.Image, low: Image.Image | None = None) -> Iterator[tuple]:
    """(box, the part of ``image``, the part of ``low``) from top to bottom."""
    image.load()
    width, height = image.size
    rows = max(1, STRIP // width)
    for y in range(0, height, rows):
        box = (0, y, width, min(y + rows, height))
        yield box, *(picture and (picture if rows >= height else picture.crop(box)) for picture in (image, low))


def upright(image: Image.Image) -> Image.Image:
    turned = "exif" in image.info and image.getexif().get(0x0112, 1) != 1
    return ImageOps.exif_transpose(image) if turned else image


def is_deep(image: Image.Image, low: Image.Image | None = None) -> bool:
    """More than 8 bits a band."""
    return low is not None or image.mode.startswith(("I", "F"))


def values(image: Image.Image, low: Image.Image | None = None) -> np.ndarray:
    """The values of a deep picture, (H, W); those of 16 bits in colours (H, W, 3), or 4 with transparency."""
    if low is None:
        return np.asarray(image)
    return np.asarray(image).astype(np.uint16) << 8 | np.asarray(low)


def span(image: Image.Image, low: Image.Image | None = None) -> Range:
    """The smallest and the largest value of a deep picture, transparency aside."""
    parts = (values(*parts)[..., :3] if low else values(*parts) for _, *parts in strips(image, low))
    ends = [(np.nanmin(part).item(), np.nanmax(part).item()) for part in parts]
    return min(smallest for smallest, _ in ends), max(largest for _, largest in ends)


def kind_of(image: Image.Image, low: Image.Image | None = None) -> str:
    """Of a deep picture's values: ``16-bit``, ``signed 16-bit``, ``32-bit`` or ``float``."""
    if low is not None or image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return "16-bit"
    if image.mode == "F":
        return "float"
    return "signed 16-bit" if getattr(image, "tag_v2", {}).get(258) == (16,) else "32-bit"


def no_range(kind: str, smallest: float, largest: float) -> str:
    """The sentence for values whose range has to be told."""
    negative = ", negative ones among them" if smallest < 0 else ""
    return (
        f"holds {kind} values, {smallest:g} to {largest:g}{negative}: --value_range LOW HIGH must say which are black "
        "and white in all pictures"
    )


def scaled(image: Image.Image, low: Image.Image | None, value_range: Range) -> Image.Image:
    """The values' linear image in 0 to 255; what is outside of ``value_range`` is cut off."""
    array, (lowest, highest) = values(image, low), value_range
    new = (array.astype(np.float32) - lowest) * np.float32(255 / (highest - lowest))
    if low and array.shape[2] == 4:
        new[..., 3] = array[..., 3] / np.float32(257)
    if np.isnan(new).any():
        raise NotTaken("holds values that are no number (NaN)")
    return Image.fromarray(np.rint(new).clip(0, 255).astype(np.uint8))


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
