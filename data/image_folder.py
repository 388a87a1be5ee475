"""Finding the images of a folder and opening one of them as 8-bit RGB or grayscale."""

import os
from concurrent.futures import ThreadPoolExecutor

from PIL import Image, UnidentifiedImageError

from util.decode import to_8_bit
from util.errors import UserError

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".tif", ".tiff", ".webp")


def is_image_file(name: str) -> bool:
    return name.lower().endswith(IMAGE_ENDINGS)


def make_dataset(dir: str, max_dataset_size: float = float("inf")) -> list[str]:
    """Sorted paths of the first ``max_dataset_size`` images in ``dir`` and the folders below it.

    Links to folders are followed, each folder is read once (a loop of links ends). Names that start with a
    dot are left out: ``.ipynb_checkpoints`` holds copies, ``._x.jpg`` of macOS archives is no image.
    """
    if not os.path.isdir(dir):
        raise UserError(f"the folder {dir!r} does not exist; mend --dataroot or make it")
    paths, seen = [], set()
    for root, folders, names in os.walk(dir, followlinks=True, onerror=_refuse_folder):
        status = os.stat(root)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths += [os.path.join(root, name) for name in names if is_image_file(name) and not name.startswith(".")]
    return sorted(paths)[: int(min(max_dataset_size, len(paths)))]


def _refuse_folder(error: OSError):
    raise UserError(f"the folder {error.filename!r} cannot be read: {error.strerror}") from error


def open_image(path: str, channels: int = 3) -> Image.Image:
    """The image at ``path`` as a viewer shows it: "RGB" for 3 channels, "L" for 1.

    Turned as its EXIF orientation says; colours taken from its ICC profile to sRGB; transparent parts laid on
    white (the colour stored under full transparency is arbitrary); 16-bit grayscale scaled linearly, 65535 to
    255, the same for every image. Raises ``UserError`` with the path for anything that cannot be read.
    """
    try:
        with Image.open(path) as image:
            return to_8_bit(image, "L" if channels == 1 else "RGB")
    except Exception as error:  # Pillow's decoders raise nearly everything when a file is damaged
        raise _unreadable(path, error) from error


def check_images(paths: list[str]) -> list[tuple[int, int]]:
    """(width, height) of every image, upright; raises one ``UserError`` that names the first unreadable ones.

    Cost: a JPEG that ends as it should is opened only (about 0.2 ms), a PNG is read and its checksums
    compared, without decompression; everything else is decoded. Damage in the middle of a JPEG shows as wrong
    pixels, not as an error.
    """
    with ThreadPoolExecutor(4) as pool:  # most of the time goes into waiting for the disk
        checked = list(pool.map(_check_image, paths))
    bad = [str(result) for result in checked if isinstance(result, UserError)]
    if bad:
        more = f"; and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise UserError(f"mend or remove {len(bad)} of {len(paths)} images: {'; '.join(bad[:3])}{more}")
    return checked


def _check_image(path: str) -> tuple[int, int] | UserError:
    try:
        with Image.open(path) as image:
            on_its_side = "exif" in image.info and image.getexif().get(0x0112, 1) >= 5
            size = image.size[::-1] if on_its_side else image.size
            if image.format == "PNG":
                image.verify()
                return size
            if image.format == "JPEG" and _ends_as_jpeg(path):
                return size
        return open_image(path).size
    except UserError as error:
        return error
    except Exception as error:
        return _unreadable(path, error)


def _ends_as_jpeg(path: str) -> bool:
    """The end-of-image marker stands in the last bytes (a few may follow it)."""
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - 64))
        return b"\xff\xd9" in file.read()


def _unreadable(path: str, error: Exception) -> UserError:
    if isinstance(error, FileNotFoundError):
        reason = "does not exist"
    elif isinstance(error, UnidentifiedImageError):
        reason = "is no image" if os.path.getsize(path) else "is empty (0 bytes)"
    else:
        reason = f"cannot be read as an image ({' '.join(str(error).split()) or type(error).__name__})"
    return UserError(f"{path!r} {reason}")
