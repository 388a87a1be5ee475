"""Films by way of PyAV: read upright in RGB, written with the source's time stamps, sound and transparency."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from util.errors import UserError, warn

CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
BT709, LIMITED = 1, 1  # the code of the matrix, the primaries and the curve of HD (H.273), and FFmpeg's of 16 to 235
HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics (ITU-T H.273)
AUDIO_OF = {".webm": ("opus", "vorbis"), ".mkv": None}  # containers that take few or all kinds of sound


def find_av(source: Path):
    """PyAV; ``UserError`` without it."""
    try:
        import av
    except ImportError:
        raise UserError(f"{source}: films need PyAV: pip install av") from None
    return av


class Video:
    """A film by way of PyAV. Written as H.264 (.mp4, .mov, .mkv) or VP9 (.webm); with transparency as VP9 (.webm) or
    QuickTime Animation (.mov), which keep it."""

    def __init__(self, source: Path, target: Path, quality: int):
        av = find_av(source)
        self.av, self.source, self.ending, self.quality = av, source, target.suffix, quality
        try:
            self.container = av.open(str(source))
            self.stream = self.container.streams.video[0]
        except (av.FFmpegError, IndexError, OSError) as error:
            raise UserError(f"{source} is no film that can be read ({error})") from None
        context = self.stream.codec_context
        transparent = {k.lower(): v for k, v in self.stream.metadata.items()}.get("alpha_mode") == "1"
        if transparent:  # FFmpeg's own decoder of VP8 and VP9 leaves transparency out
            decoder = av.CodecContext.create("libvpx-vp9" if context.name == "vp9" else "libvpx", "r")
            decoder.extradata = context.extradata
            self.decoder = decoder
        else:
            self.decoder = context
            self.stream.thread_type = "AUTO"
        format = av.VideoFormat(context.pix_fmt)
        transparent |= any(component.is_alpha for component in format.components)
        bits = max(component.bits for component in format.components)
        curve = HDR.get(context.color_trc)
        if curve or bits > 8:
            warn(f"{source}: {bits} bits{f' ({curve}, high dynamic range)' if curve else ''} are taken to 8")
        self.on_its_side = False  # until a frame tells
        self.transparent = transparent and self.ending in (".webm", ".mov")
        if transparent and not self.transparent:
            warn(f"{source}: {self.ending} keeps no transparency; it is left out")

    def frames(self) -> Iterator[tuple[Image.Image, tuple[Fraction, Fraction]]]:
        """(picture, (time, length) in seconds) of each frame, upright."""
        time, base, rate = -1, self.stream.time_base, self.stream.average_rate or 25
        try:
            for packet in self.container.demux(self.stream):
                for frame in self.decoder.decode(packet):
                    time = frame.pts if frame.pts is not None else time + max(1, round(1 / (rate * base)))
                    pixels = frame.to_ndarray(format="rgba" if self.transparent else "rgb24")
                    turns = round(frame.rotation / 90)
                    self.on_its_side = bool(turns % 2)
                    pixels = np.ascontiguousarray(np.rot90(pixels, turns))
                    yield Image.fromarray(pixels), (time * base, frame.duration * base)
        except self.av.FFmpegError as error:
            raise UserError(f"{self.source} is damaged ({error})") from None

    def count(self) -> int | None:
        """Of frames, as the file tells or by its length; None where it doesn't."""
        length, rate = self.container.duration, self.stream.average_rate
        return self.stream.frames or (round(length / self.av.time_base * rate) if length and rate else None)

    def segment(self, path: Path) -> "Segment":
        return Segment(self, path)

    def join(self, segments: list[Path], path: Path) -> None:
        """The segments' packets one after the other, and the source's sound, as it is where the container takes it."""
        av = self.av
        with self.create(path) as out:
            with av.open(str(segments[0])) as first:
                video = out.add_stream_from_template(first.streams.video[0])
            if self.transparent:
                video.metadata["alpha_mode"] = "1"
            sound = next(iter(self.container.streams.audio), None)
            if sound is not None:  # all streams are there before the first packet
                kind, taken = sound.codec_context.name, AUDIO_OF.get(self.ending, ("aac", "mp3", "ac3", "alac"))
                is_taken = taken is None or kind in taken
                if is_taken:
                    audio = out.add_stream_from_template(sound)
                else:
                    audio = out.add_stream("libopus" if self.ending == ".webm" else "aac", rate=48000)
                    warn(f"{self.source}: its sound ({kind}) is encoded anew for {self.ending}")
            for segment in segments:
                with av.open(str(segment)) as part:
                    copy(part.demux(video=0), video, out)
            if sound is None:
                return
            self.container.seek(0)
            packets = self.container.demux(sound)
            if is_taken:
                copy(packets, audio, out)
                return
            for packet in packets:
                for frame in packet.decode():
                    frame.pts = None
                    out.mux(audio.encode(frame))
            out.mux(audio.encode(None))

    def create(self, path: Path):
        """An empty film of the target's kind."""
        options = {}
        if self.ending in (".mp4", ".mov"):  # a start that is not 0 is kept in these units
            options["movie_timescale"] = str(self.stream.time_base.denominator)
        return self.av.open(str(path), "w", format=CONTAINERS[self.ending], options=options)

    def close(self) -> None:
        self.container.close()


class Segment:
    """A short film that holds some frames: ``write(picture, (time, length), source)``. No frame refers to a later one,
    so that segments follow each other as they are."""

    def __init__(self, video: Video, path: Path):
        self.video, self.path = video, path
        self.stream: Any = None  # of PyAV, opened with the first frame
        self.lengths: dict[int, int] = {}  # of frames by their time stamps

    def __enter__(self):
        self.container = self.video.create(self.path)
        return self.write

    def write(self, image: Image.Image, when: tuple[Fraction, Fraction], _source: Image.Image) -> None:
        if self.stream is None:
            self.stream = self.open(image)
        mode = "RGBA" if self.video.transparent else "RGB"
        pixels = np.ascontiguousarray(image.convert(mode))
        frame = self.video.av.VideoFrame.from_ndarray(pixels, {"RGBA": "rgba", "RGB": "rgb24"}[mode])
        if self.stream.pix_fmt.startswith("yuv"):
            frame = frame.reformat(format=self.stream.pix_fmt, dst_colorspace=BT709, dst_color_range=LIMITED)
        frame.time_base = self.video.stream.time_base
        frame.pts, length = (round(seconds / frame.time_base) for seconds in when)
        self.lengths[frame.pts] = length
        self.mux(self.stream.encode(frame))

    def mux(self, packets: list) -> None:
        for packet in packets:
            packet.duration = self.lengths[packet.pts]  # the encoder's own guess is the mean
            self.container.mux(packet)

    def open(self, image: Image.Image):
        video = self.video
        if video.ending == ".webm":
            codec, options = "libvpx-vp9", {"crf": crf(video.quality, 63), "b": "0"}
            options |= {"auto-alt-ref": "0", "lag-in-frames": "0"}  # no frame refers to a later one
        elif video.transparent:
            codec, options = "qtrle", {}
        else:
            codec, options = "libx264", {"crf": crf(video.quality, 51), "bf": "0"}
            options["x264-params"] = "force-cfr=1"  # else it writes the unit of time as the frame rate
        stream = self.container.add_stream(codec, rate=video.stream.average_rate or 25, options=options)
        stream.width, stream.height = image.size
        stream.codec_context.time_base = video.stream.time_base
        self.describe_pixels(stream.codec_context)
        odd = image.width % 2 or image.height % 2
        if video.transparent:
            stream.pix_fmt = "yuva420p" if codec == "libvpx-vp9" else "argb"
        else:  # halved colour has no odd sides
            stream.pix_fmt = "yuv444p" if odd else "yuv420p"
        return stream

    def describe_pixels(self, context) -> None:
        """Said in the file, since players guess otherwise, each another way: how colours are coded, and that pixels are
        as wide as the source's."""
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED
        shape = self.video.stream.sample_aspect_ratio
        if shape:
            context.sample_aspect_ratio = 1 / shape if self.video.on_its_side else shape

    def __exit__(self, kind, *_):
        if self.stream is not None and kind is None:
            self.mux(self.stream.encode(None))
        self.container.close()


def copy(packets: Iterator, stream, out) -> None:
    """The packets as they are, into a stream of the film ``out``."""
    for packet in packets:
        if packet.dts is not None:
            packet.stream = stream
            out.mux(packet)


def crf(quality: int, worst: int) -> str:
    """The encoder's scale, 0 (lossless) to ``worst``, from 100 to 1: 95 is 12 of H.264's 51."""
    return str(round(worst * (1 - quality / 100) ** 0.5 * 1.05) if quality < 100 else 0)
