"""Short films whose frames can be told from each other."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

av = pytest.importorskip("av", reason="PyAV is not installed")
UNEVEN = [0, 3, 4, 9, 10, 11, 15, 22, 23, 24, 31, 40]  # time stamps in 30ths of a second


def picture(i: int, size=(48, 32)) -> Image.Image:
    """A grey level that tells the frame's number, and a bright corner that tells which way is up."""
    array = np.full((size[1], size[0], 3), 20 + 10 * i, np.uint8)
    array[:8, :8] = 255
    return Image.fromarray(array)


def draw(path: Path, size=(48, 32), codec="libx264", format="yuv420p", times=UNEVEN, sound=False, alpha=None) -> Path:
    """A short film; with ``sound`` a tone of a second and a half."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=30, options={} if codec == "qtrle" else {"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = *size, format
        stream.codec_context.time_base = Fraction(1, 30)
        tone = out.add_stream("aac", rate=44100, layout="mono") if sound else None
        if alpha is not None and path.suffix == ".webm":
            stream.metadata["alpha_mode"] = "1"
        for i, time in enumerate(times):
            image = picture(i, size)
            if alpha is not None:
                image.putalpha(alpha)
            name = "rgba" if alpha is not None else "rgb24"
            frame = av.VideoFrame.from_ndarray(np.asarray(image), name)
            frame.pts, frame.time_base = time, Fraction(1, 30)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if tone is not None:
            wave = np.sin(np.arange(66150, dtype=np.float32) / 20)[None]
            for start in range(0, wave.shape[1], 1024):
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[:, start : start + 1024]), "fltp", "mono")
                frame.sample_rate, frame.pts = 44100, start
                out.mux(tone.encode(frame))
            out.mux(tone.encode(None))
    return path


def negative(images: list[Image.Image]) -> list[Image.Image]:
    """What stands for a network here: its frames can be told from the source's and from each other."""
    results = [ImageOps.invert(image.convert("RGB")) for image in images]
    for image, result in zip(images, results, strict=True):
        if image.mode == "RGBA":
            result.putalpha(image.getchannel("A"))
    return results
