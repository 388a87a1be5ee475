"""Picture files that Pillow reads and cannot write: TIFFs of any bands and types, PNGs of 16 bits a colour."""

import struct
import zlib
from pathlib import Path

import numpy as np


def write_tiff(path: Path, array: np.ndarray, extra: tuple[int, ...] = (), photometric: int | None = None) -> Path:
    """(H, W) or (H, W, bands) of any unsigned, signed or float type, uncompressed. extra: TIFF's ExtraSamples."""
    height, width = array.shape[:2]
    bands = 1 if array.ndim == 2 else array.shape[2]
    photometric = (2 if bands > 2 else 1) if photometric is None else photometric
    kind, bits = {"u": 1, "i": 2, "f": 3}[array.dtype.kind], array.dtype.itemsize * 8
    data = array.astype(array.dtype.newbyteorder("<")).tobytes()
    data += bytes(len(data) % 2)
    tags = {256: [width], 257: [height], 258: [bits] * bands, 259: [1], 262: [photometric], 273: [8], 277: [bands]}
    tags |= {278: [height], 279: [len(data)], 339: [kind] * bands}
    tags |= {338: list(extra)} if extra else {}
    start = 8 + len(data)
    entries, far, far_from = b"", b"", start + 6 + 12 * len(tags)
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(packed) > 4:
            far, packed = far + packed, struct.pack("<I", far_from + len(far))
        entries += struct.pack("<HHI", tag, 4, len(values)) + packed
    path.parent.mkdir(parents=True, exist_ok=True)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4) + far
    path.write_bytes(b"II*\0" + struct.pack("<I", start) + data + directory)
    return path


def write_png(path: Path, array: np.ndarray) -> Path:
    """(H, W, 3) or (H, W, 4) of 16 bits, or of 8."""
    height, width, bands = array.shape
    lines = b"".join(b"\0" + row.astype(array.dtype.newbyteorder(">")).tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, array.dtype.itemsize * 8, {3: 2, 4: 6}[bands], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ))  # fmt: skip
    return path
