"""Films: every frame translated by itself, in order.

Animated GIFs (gif.py) and what PyAV reads (video.py). The result is written in segments, each finished one at once in
its place below ``.NAME.parts``, and joined without encoding anything again at the end: a killed call goes on with the
segment that it was in.
"""

import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from PIL import Image

from models.inference import note
from models.inference.gif import Gif
from models.inference.video import Video, find_av
from util.errors import UserError, warn
from util.files import replacing

ENDINGS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
SEGMENT = 48  # frames: what a kill can cost

Translate = Callable[[list[Image.Image]], list[Image.Image]]


def is_film(path: Path) -> bool:
    """A video by its ending, or a GIF of more than one frame."""
    if path.suffix.lower() != ".gif":
        return path.suffix.lower() in ENDINGS
    try:
        with Image.open(path) as image:
            return getattr(image, "n_frames", 1) > 1
    except OSError:
        return False


def film_ending(source: Path) -> str:
    """The ending with which ``source``'s translation is written: its own, .mp4 for .avi and .m4v."""
    ending = source.suffix.lower()
    return ".mp4" if ending in (".avi", ".m4v") else ending


def check_installed(source: Path) -> None:
    """``UserError`` where reading this film needs what is not installed."""
    if source.suffix.lower() != ".gif":
        find_av(source)


def open_film(source: Path, target: Path, quality: int = 95) -> Gif | Video:
    """To be translated and written to ``target``. ``quality``: 1 to 100, as of JPEG. ``UserError`` for no film."""
    return Gif(source) if source.suffix.lower() == ".gif" else Video(source, target, quality)


def translate_film(
    film: Gif | Video,
    target: Path,
    translate: Translate,
    settings: dict,
    batch_size: int = 1,
    tick: Callable[[int], object] = lambda frames: None,
) -> None:
    """Write ``target``, with ``tick(n)`` after every n frames.

    ``settings``: what the result depends on (weights, flags): segments of a former call are used where they and the
    source are the same, otherwise made anew, which a line says. ``UserError`` for a damaged film.
    """
    parts = target.with_name(f".{target.name}.parts")
    prepare(parts, film.source, settings)
    try:
        segments = sorted(parts.glob(f"[0-9]*{film.ending}"))
        frames = film.frames()
        tick(sum(1 for _ in islice(frames, len(segments) * SEGMENT)))
        while batch := list(islice(frames, min(batch_size, SEGMENT))):
            segments.append(parts / f"{len(segments):06d}{film.ending}")
            room = SEGMENT
            with replacing(segments[-1]) as beside, film.segment(beside) as write:
                while batch:
                    for (image, time), result in zip(batch, translate([image for image, _ in batch]), strict=True):
                        write(result, time, image)
                    tick(len(batch))
                    room -= len(batch)
                    batch = list(islice(frames, min(batch_size, room)))
        if not segments:
            raise UserError(f"{film.source} holds no frames")
        with replacing(target) as beside:
            film.join(segments, beside)
    except UserError:  # the source's fault, next time as well
        shutil.rmtree(parts)
        raise
    shutil.rmtree(parts)


def prepare(parts: Path, source: Path, settings: dict) -> None:
    """The folder of segments, emptied where it belongs to other weights, flags or another source."""
    status = source.stat()
    key = {"source": source.name, "size": status.st_size, "changed": status.st_mtime_ns, "segment": SEGMENT} | settings
    if parts.is_dir() and note.differences(parts, key) != []:
        warn(f"{parts} holds segments made with other weights, flags or another source: they are made anew")
        shutil.rmtree(parts)
    parts.mkdir(parents=True, exist_ok=True)
    note.keep(parts, key)
