"""Films: time stamps, sound, sides, transparency and order stay; a killed translation goes on where it was."""

import os
import signal
import struct
import subprocess
import sys
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from drawn_films import UNEVEN, av, draw, negative, picture
from PIL import Image

from models.inference import films, video
from util.errors import UserError

ROOT = Path(__file__).parents[3]


def read(path: Path) -> tuple[list[np.ndarray], list[float]]:
    film = video.Video(path, path, 95)
    frames = list(film.frames())
    film.close()
    return [np.asarray(image) for image, _ in frames], [float(time) for _, (time, _) in frames]


def go_through(function, source: Path, target: Path, settings: dict, batch_size: int = 1) -> None:
    with closing(films.open_film(source, target)) as film:
        films.translate_film(film, target, function, settings, batch_size)


def translate(source: Path, folder: Path, **settings) -> Path:
    folder.mkdir(exist_ok=True)
    target = (folder / source.name).with_suffix(films.film_ending(source))
    go_through(negative, source, target, settings, batch_size=5)
    assert not list(folder.glob(".*")), "segments are left"
    return target


@pytest.fixture(autouse=True)
def short_segments(monkeypatch):
    monkeypatch.setattr(films, "SEGMENT", 5)


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv"])
def test_frames_in_order_at_their_times(tmp_path, ending):
    source = draw(tmp_path / f"film{ending}", sound=True)
    pixels, times = read(translate(source, tmp_path / "out"))
    assert times == pytest.approx([time / 30 for time in UNEVEN], abs=1e-3)
    for i, frame in enumerate(pixels):
        assert frame[20, 30].mean() == pytest.approx(255 - 20 - 10 * i, abs=4), i


def test_the_sound_is_the_source_s(tmp_path):
    source = draw(tmp_path / "film.mp4", sound=True)

    def packets(path):
        with av.open(str(path)) as film:
            return [bytes(packet) for packet in film.demux(audio=0) if packet.size]

    assert packets(translate(source, tmp_path / "out")) == packets(source)


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_the_frame_rate_is_the_source_s(tmp_path, ending):
    source = draw(tmp_path / f"film{ending}", times=range(0, 24, 2))
    with av.open(str(source)) as film, av.open(str(translate(source, tmp_path / "out"))) as result:
        assert result.streams.video[0].average_rate == film.streams.video[0].average_rate
        assert result.duration == film.duration


def test_odd_sides_stay(tmp_path):
    source = draw(tmp_path / "film.mp4", size=(49, 33), format="yuv444p")
    pixels, _ = read(translate(source, tmp_path / "out"))
    assert {frame.shape for frame in pixels} == {(33, 49, 3)}
    assert pixels[0][-1, -1].mean() == pytest.approx(235, abs=4)


def test_colours_look_as_before(tmp_path):
    """Whatever the source's way of coding colours, and to a player that goes by what the file says."""
    for name, matrix, told in (("hd", 1, 1), ("sd", 5, 6), ("untold", 5, 2)):
        source = tmp_path / f"{name}.mp4"
        with av.open(str(source), "w") as out:
            stream = out.add_stream("libx264", rate=30, options={"crf": "1"})
            stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
            stream.codec_context.colorspace = told
            frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), (200, 40, 90), np.uint8), "rgb24")
            out.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=matrix)))
            out.mux(stream.encode(None))
        target = tmp_path / f"{name}_out.mp4"
        go_through(lambda images: images, source, target, {})
        assert np.abs(read(target)[0][0][16, 24].astype(int) - (200, 40, 90)).max() <= 4, name
        with av.open(str(target)) as film:
            assert film.streams.video[0].codec_context.colorspace == 1


def test_pixels_that_are_no_squares(tmp_path):
    source = tmp_path / "film.mp4"
    with av.open(str(source), "w") as out:
        stream = out.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        out.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(picture(0)), "rgb24")))
        out.mux(stream.encode(None))
    with av.open(str(translate(source, tmp_path / "out"))) as film:
        assert film.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


def test_rotation_is_applied(tmp_path):
    """The film's header says: turn by a quarter. The matrix stands at the end of the track's header box."""
    source = draw(tmp_path / "film.mp4")
    content = bytearray(source.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    one = 1 << 16
    assert struct.unpack(">iiiiiiiii", content[matrix : matrix + 36]) == (one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    content[matrix : matrix + 36] = struct.pack(">iiiiiiiii", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    source.write_bytes(content)
    pixels, _ = read(translate(source, tmp_path / "out"))
    assert pixels[0].shape == (48, 32, 3)
    corners = [pixels[0][y, x].mean() < 30 for y, x in ((3, 3), (3, -4), (-4, 3), (-4, -4))]
    assert corners == [False, True, False, False], "a quarter to the right: the bright corner is at the top right"


@pytest.mark.parametrize(
    ("name", "codec", "format"), [("a.webm", "libvpx-vp9", "yuva420p"), ("a.mov", "qtrle", "argb")]
)
def test_transparency_is_kept(tmp_path, name, codec, format):
    alpha = Image.fromarray(np.repeat(np.array([[40], [220]], np.uint8), 16, axis=0).repeat(48, axis=1))
    source = draw(tmp_path / name, codec=codec, format=format, alpha=alpha)
    pixels, _ = read(translate(source, tmp_path / "out"))
    assert {frame.shape for frame in pixels} == {(32, 48, 4)}
    top, bottom = int(pixels[3][4, 20, 3]), int(pixels[3][-4, 20, 3])
    assert top == pytest.approx(40, abs=6) and bottom == pytest.approx(220, abs=6)


def test_more_than_8_bits_is_said(tmp_path, capsys):
    translate(draw(tmp_path / "film.mkv", codec="libx264", format="yuv420p10le"), tmp_path / "out")
    assert "10 bits are taken to 8" in capsys.readouterr().err


def test_gif_durations_loop_and_transparency(tmp_path):
    frames = [Image.new("RGBA", (20, 16), (250, 0, 0, 255)) for _ in range(7)]
    for i, frame in enumerate(frames):
        frame.paste((0, 0, 0, 0), (2 * i, 0, 2 * i + 2, 16))
    source, durations = tmp_path / "film.gif", [50 + 10 * i for i in range(7)]
    frames[0].save(source, save_all=True, append_images=frames[1:], duration=durations, loop=3, disposal=2)
    assert films.is_film(source)
    with Image.open(translate(source, tmp_path / "out")) as result:
        assert result.n_frames == 7 and result.info["loop"] == 3
        for i in range(7):
            result.seek(i)
            shown = result.convert("RGBA")
            assert result.info["duration"] == durations[i]
            assert shown.getpixel((2 * i, 5))[3] == 0 and shown.getpixel((18, 5)) == (5, 255, 255, 255)


def test_a_still_gif_is_a_picture(tmp_path):
    Image.new("P", (8, 8)).save(tmp_path / "still.gif")
    assert not films.is_film(tmp_path / "still.gif")


def test_what_is_no_film_is_one_sentence(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"no film" * 100)
    with pytest.raises(UserError, match="film.mp4 is no film that can be read"):
        translate(tmp_path / "film.mp4", tmp_path / "out")


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}, {tests!r} + "/inference"]
from models.inference import films
films.SEGMENT = 5
calls = []
def translate(images):
    calls.append(len(images))
    if sum(calls) > 7:
        os.kill(os.getpid(), signal.SIGKILL)
    from drawn_films import negative
    return negative(images)
from test_films import go_through
go_through(translate, Path({source!r}), Path({target!r}), {{"weights": 1}}, batch_size=2)
"""


@pytest.mark.slow
def test_after_a_kill_finished_segments_are_not_made_again(tmp_path, capsys):
    source, out = draw(tmp_path / "film.mp4", sound=True), tmp_path / "out"
    out.mkdir()
    whole = translate(source, tmp_path / "whole", weights=1)
    code = KILLED.format(
        root=str(ROOT), tests=str(Path(__file__).parents[1]), source=str(source), target=str(out / "film.mp4")
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not (out / "film.mp4").exists() and os.listdir(out) == [".film.mp4.parts"]
    made = []

    def count(images):
        made.extend(images)
        return negative(images)

    go_through(count, source, out / "film.mp4", {"weights": 1}, batch_size=5)
    assert len(made) == len(UNEVEN) - 5
    assert (out / "film.mp4").read_bytes() == whole.read_bytes()


def test_segments_of_other_weights_are_not_used(tmp_path, capsys):
    source, out = draw(tmp_path / "film.mp4"), tmp_path / "out"
    out.mkdir()

    def stop(images):
        if stop.calls == 3:
            raise KeyboardInterrupt
        stop.calls += 1
        return negative(images)

    stop.calls = 0
    with pytest.raises(KeyboardInterrupt):
        go_through(stop, source, out / "film.mp4", {"weights": 1}, batch_size=2)
    stop.calls = -100
    go_through(stop, source, out / "film.mp4", {"weights": 2}, batch_size=2)
    assert "made with other weights" in capsys.readouterr().err
    assert stop.calls == -100 + 3 + 3 + 1
