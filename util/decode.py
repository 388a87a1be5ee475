"""Any image file's pixels as 8-bit RGB or grayscale, as a viewer shows them."""

from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms, ImageOps

ICC_SPACES = {"RGB": "RGB", "CMYK": "CMYK", "GRAY": "L"}  # a profile's colour space -> the mode it describes


def to_8_bit(image: Image.Image, mode: str) -> Image.Image:
    """``image`` in ``mode`` "RGB" or "L": upright, in sRGB, transparent parts on white, 16 bits scaled to 8.

    ``image`` may be changed in place. ``ValueError`` for pixels of 32 bits, whose range is not agreed on.
    """
    ImageOps.exif_transpose(image, in_place=True)
    profile = image.info.get("icc_profile")
    if image.mode.startswith(("I", "F")):
        image = _scale_16_bit(image)
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    elif image.mode not in ICC_SPACES.values():
        image = image.convert("RGB")
    transform = _to_srgb(profile, image.mode) if profile else None
    if transform is not None:
        image = ImageCms.applyTransform(image, transform)
    if image.mode != mode:
        return image.convert(mode)
    image.load()
    return image


def _scale_16_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.float32)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError("pixels of 32 bits have no agreed range; save it with 8 or 16 bits")
    return Image.fromarray(np.rint(values / 257).astype(np.uint8))


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
