"""What a file is that cannot be read as a picture, in words."""

from pathlib import Path

from PIL import TiffImagePlugin, UnidentifiedImageError

from util.pixels import NotTaken

# First bytes -> what files that are called pictures turn out to be.
SIGNATURES = {
    b"\x89PNG": "a damaged PNG file",
    b"\xff\xd8": "a damaged JPEG file",
    b"<": "HTML or XML, such as a page that was downloaded in place of a picture",
    b"version https://git-lfs": "a pointer of Git LFS: `git lfs pull` fetches the picture",
    b"%PDF": "a PDF file",
    b"PK": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file",
    b"SIMPLE": "a FITS file",
}


def why_unreadable(path: str | Path, error: Exception) -> str:
    """What follows the file's name in the sentence about ``error``, raised by reading it."""
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(error, NotTaken):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return _what_it_is(path)
    return f"cannot be read as an image ({' '.join(str(error).split()) or type(error).__name__})"


def _what_it_is(path: str | Path) -> str:
    with open(path, "rb") as file:
        start = file.read(32)
        if not start:
            return "is empty (0 bytes)"
        if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return f"is {_tiff(file, start)}, which cannot be read here; a copy of data/template_dataset.py can read it"
    if start[4:8] == b"ftyp":
        kind = start[8:12].decode("latin-1").strip().upper()
        return f"is a file of the kind {kind} (HEIC, AVIF and videos are): save it as PNG or JPEG"
    known = next((what for begin, what in SIGNATURES.items() if start.lstrip().startswith(begin)), None)
    return f"is {known}" if known else f"is no picture that can be read here: it begins with {start[:12]!r}"


def _tiff(file, start: bytes) -> str:
    """``a TIFF of 6 bands of 8 bits``"""
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(start[:16] if 43 in start[2:4] else start[:8])
        file.seek(tags.next)
        tags.load(file)
        bits, bands = tags.get(258, (1,)), tags.get(277, 1)
        kind = {2: " signed", 3: " float"}.get(tags.get(339, (1,))[0], "")
        return f"a TIFF of {bands} band{'s' * (bands != 1)} of {bits[0]}{kind} bits"
    except Exception:  # damaged
        return "a TIFF whose tags are damaged"
