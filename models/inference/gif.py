"""Animated GIFs: durations, loop and transparency are kept."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence


class Gif:
    """What ``translate_film`` needs of a kind of film. A segment is one file of frames."""

    ending = ".npz"

    def __init__(self, source: Path):
        self.source, self.image = source, Image.open(source)

    def count(self) -> int:
        """Of frames."""
        return self.image.n_frames

    def frames(self) -> Iterator[tuple[Image.Image, int]]:
        """(picture, milliseconds until the next) of each frame."""
        for frame in ImageSequence.Iterator(self.image):
            yield frame.convert("RGBA"), frame.info.get("duration", 100)

    def segment(self, path: Path) -> "GifSegment":
        return GifSegment(path)

    def join(self, segments: list[Path], path: Path) -> None:
        images: list[Image.Image] = []
        durations: list[int] = []
        for segment in segments:
            with np.load(segment) as held:
                images += map(Image.fromarray, held["frames"])
                durations += held["durations"].tolist()
        loop = {"loop": self.image.info["loop"]} if "loop" in self.image.info else {}
        images[0].save(path, "GIF", save_all=True, append_images=images[1:], duration=durations, disposal=2, **loop)

    def close(self) -> None:
        self.image.close()


class GifSegment:
    def __init__(self, path: Path):
        self.path, self.frames, self.durations = path, [], []

    def __enter__(self):
        return self.write

    def write(self, image: Image.Image, duration: int, source: Image.Image) -> None:
        image = image.convert("RGBA")
        image.putalpha(source.getchannel("A"))
        self.frames.append(np.asarray(image))
        self.durations.append(duration)

    def __exit__(self, kind, *_):
        if kind is None:
            with open(self.path, "wb") as file:
                np.savez_compressed(file, frames=np.stack(self.frames), durations=np.array(self.durations))
