"""The command that translates files, folders and patterns."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from ranks import run_ranks

import options
from models import networks
from models.inference import films, note
from models.inference.translator import Translator
from scripts import translate
from util.errors import UserError

ROOT = Path(__file__).parents[2]


def draw(path, size=(20, 16), mode="RGB", seed=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "net_G.pth"
    torch.save(networks.define_G(3, 3, 2, "resnet_4blocks", "instance", init_type="kaiming").state_dict(), path)
    return path


def written(out):
    return sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file() and p.name != note.NAME)


@pytest.fixture
def command(weights, monkeypatch):
    def call(*argv, out):
        argv = ["--weights", weights, "--gpu_ids", "-1", "--quiet", *argv, "--out", out]
        monkeypatch.setattr(sys, "argv", ["translate.py", *map(str, argv)])
        translate.main()
        return written(out)

    return call


def array(image):
    return np.asarray(image).astype(int)


def test_files_folders_and_patterns(command, tmp_path):
    inputs = [draw(tmp_path / "one.jpg"), tmp_path / "folder", tmp_path / "more" / "*.png"]
    draw(tmp_path / "folder" / "a.png")
    draw(tmp_path / "folder" / "deep" / "b.webp", size=(7, 31))
    (tmp_path / "folder" / "notes.txt").write_text("no image")
    draw(tmp_path / "more" / "c.png")
    made = command(*inputs, out=tmp_path / "out")
    assert made == ["a.png", "c.png", "deep/b.png", "one.png"]
    assert Image.open(tmp_path / "out/deep/b.png").size == (7, 31)


def test_equal_names_are_kept_apart(command, tmp_path):
    inputs = [draw(tmp_path / f"{folder}/x.{ending}") for folder in "ab" for ending in ("png", "jpg")]
    assert command(*inputs, out=tmp_path / "out") == ["x.png", "x_2.png", "x_3.png", "x_4.png"]


@pytest.mark.parametrize("batch_size", [1, 2, 10])
def test_batches_of_mixed_sizes(command, weights, batch_size, tmp_path):
    sizes = [(20, 16), (20, 16), (24, 16), (20, 16), (20, 16), (20, 16)]
    inputs = [draw(tmp_path / f"{i}.png", size, seed=i) for i, size in enumerate(sizes)]
    command(*inputs, "--batch_size", batch_size, out=tmp_path / "out")
    translator = Translator(weights, device="cpu")
    for path in inputs:
        output = Image.open(tmp_path / "out" / path.name)
        assert np.abs(array(output) - array(translator(Image.open(path)))).max() <= 1


def test_formats(command, tmp_path):
    inputs = [draw(tmp_path / name) for name in ("a.png", "b.jpg", "c.webp", "d.tif")]
    assert command(*inputs, out=tmp_path / "png") == ["a.png", "b.png", "c.png", "d.png"]
    assert command(*inputs, "--format", "jpg", out=tmp_path / "jpg") == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    made = command(*inputs, "--format", "same", "--quality", "50", out=tmp_path / "same")
    assert made == ["a.png", "b.jpg", "c.webp", "d.png"]
    assert (tmp_path / "same/b.jpg").stat().st_size < (tmp_path / "jpg/b.jpg").stat().st_size


@pytest.mark.parametrize("quality", ["0", "101"])
def test_a_quality_that_is_none(command, tmp_path, quality):
    with pytest.raises(UserError, match=f"--quality: must be a whole number from 1 to 100, not '{quality}'"):
        command(draw(tmp_path / "a.png"), "--format", "webp", "--quality", quality, out=tmp_path / "out")


def test_transparency(command, tmp_path):
    path = draw(tmp_path / "a.png", mode="RGBA")
    image = Image.open(path)
    alpha = np.zeros((16, 20), np.uint8)
    alpha[:, 10:] = 255
    image.putalpha(Image.fromarray(alpha))
    image.save(path)
    command(path, out=tmp_path / "png")
    command(path, "--format", "jpg", out=tmp_path / "jpg")
    assert np.array_equal(array(Image.open(tmp_path / "png/a.png").getchannel("A")), alpha)
    assert array(Image.open(tmp_path / "jpg/a.jpg"))[:, :4].min() > 240  # JPEG has none: white


def test_a_profile_in_gives_a_profile_out(command, tmp_path):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    paths = [draw(tmp_path / "a.png", icc_profile=profile), draw(tmp_path / "b.png")]
    command(*paths, out=tmp_path / "out")
    assert Image.open(tmp_path / "out/a.png").info["icc_profile"]
    assert "icc_profile" not in Image.open(tmp_path / "out/b.png").info


def test_a_value_range_given_or_the_runs(command, weights, tmp_path, monkeypatch, capsys):
    stored = np.random.default_rng(0).integers(0, 4096, (16, 20), dtype=np.uint16)
    Image.fromarray(stored).save(tmp_path / "a.png")
    Image.fromarray(np.rint(stored / 4095 * 255).astype(np.uint8)).save(tmp_path / "wanted.png")
    command(tmp_path / "wanted.png", out=tmp_path / "wanted")
    capsys.readouterr()
    command(tmp_path / "a.png", "--value_range", "0", "4095", out=tmp_path / "typed")
    assert "0 becomes black and 4095 white" in capsys.readouterr().err
    command(tmp_path / "a.png", out=tmp_path / "without")
    assert "less than a quarter of their range" in capsys.readouterr().err
    (tmp_path / "h2z").mkdir()
    shutil.copy(weights, tmp_path / "h2z" / "latest_net_G.pth")
    saved = "--input_nc 3 --output_nc 3 --ngf 2 --netG resnet_4blocks --model cut --value_range 0 4095".split()
    opt = options.parse(["--dataroot", str(tmp_path), "--name", "h2z", "--gpu_ids", "-1", *saved])
    options.save_options(opt, tmp_path / "h2z")
    run = ["translate.py", "--name", "h2z", "--checkpoints_dir", tmp_path, tmp_path / "a.png", "--gpu_ids", "-1"]
    monkeypatch.setattr(sys, "argv", [*map(str, run), "--out", str(tmp_path / "run")])
    translate.main()
    wanted = array(Image.open(tmp_path / "wanted/wanted.png"))
    for folder in ("typed", "run"):
        assert np.array_equal(array(Image.open(tmp_path / folder / "a.png")), wanted)
    assert not np.array_equal(array(Image.open(tmp_path / "without/a.png")), wanted)


def test_pages_bands_and_other_files_are_told(command, cases, tmp_path, capsys):
    command(cases / "rgb_nir/testA", cases / "six_pages/testA", cases / "endings/testA", out=tmp_path / "out")
    said = capsys.readouterr()
    assert "3 of 10 images have 4 bands, of which 3 are used" in said.err
    assert "3 of 10 images have 6 pages or frames, of which the first is used" in said.err
    assert "left out: " in said.out and "1 .gif" in said.out


@pytest.mark.slow
def test_a_film(command, weights, tmp_path, monkeypatch):
    """Each frame is the translation of the source's; interrupted, the same command goes on, to the same bytes."""
    from drawn_films import draw as draw_film

    av = pytest.importorskip("av")

    source = draw_film(tmp_path / "clip.mp4", sound=True)
    assert command(source, "--batch_size", "5", out=tmp_path / "out") == ["clip.mp4"]
    before, after = ([frame.to_ndarray(format="rgb24").astype(int) for frame in av.open(str(path)).decode(video=0)]
                     for path in (source, tmp_path / "out/clip.mp4"))  # fmt: skip
    translator = Translator(weights, device="cpu")
    for one, other in zip(before, after, strict=True):
        wanted = array(translator(Image.fromarray(one.astype(np.uint8))))
        assert np.abs(other[8:-8, 8:-8] - wanted[8:-8, 8:-8]).mean() < 12  # colour has half the resolution in a film
    with av.open(str(tmp_path / "out/clip.mp4")) as film:
        assert film.streams.audio

    translate_images, calls = Translator.translate, []

    def then_stop(translator, images):
        calls.append(len(images))
        if sum(calls) == 8:
            raise KeyboardInterrupt
        return translate_images(translator, images)

    monkeypatch.setattr(Translator, "translate", then_stop)
    monkeypatch.setattr(films, "SEGMENT", 4)
    with pytest.raises(KeyboardInterrupt):
        command(source, out=tmp_path / "again")
    assert not (tmp_path / "again/clip.mp4").exists() and sum(calls) == 8
    assert command(source, out=tmp_path / "again") == ["clip.mp4"]
    assert sum(calls) == 8 + 12 - 4
    command(source, out=tmp_path / "at_once")
    assert (tmp_path / "again/clip.mp4").read_bytes() == (tmp_path / "at_once/clip.mp4").read_bytes()


def test_an_animated_gif_and_a_folder_of_frames(command, tmp_path, capsys):
    frames = [Image.new("RGB", (20, 16), (40 * i, 0, 0)) for i in range(5)]
    (tmp_path / "frames").mkdir()
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=[40, 60, 40, 60, 80], loop=0)
    frames[0].save(tmp_path / "still.gif")
    for i, frame in enumerate(frames):
        frame.save(tmp_path / "frames" / f"{i}.png")
    assert command(tmp_path / "*.gif", out=tmp_path / "out") == ["a.gif"]
    assert "left out: 1 .gif" in capsys.readouterr().out
    made = command(tmp_path / "frames", "--batch_size", "3", out=tmp_path / "out/frames")
    assert made == [f"{i}.png" for i in range(5)]
    with Image.open(tmp_path / "out/a.gif") as film:
        assert film.n_frames == 5 and film.info["loop"] == 0
        durations = []
        for i in range(5):
            film.seek(i)
            durations.append(film.info["duration"])
            still = array(Image.open(tmp_path / "out/frames" / f"{i}.png"))
            assert np.abs(array(film.convert("RGB")) - still).mean() < 8  # 256 colours
        assert durations == [40, 60, 40, 60, 80]


def test_films_that_cannot_be_read(command, tmp_path, monkeypatch):
    (tmp_path / "clip.mp4").write_bytes(b"no film" * 100)
    good = draw(tmp_path / "a.png")
    with pytest.raises(UserError, match="1 of 2 files could not be read: .*clip.mp4 is no film"):
        command(good, tmp_path / "clip.mp4", out=tmp_path / "out")
    assert written(tmp_path / "out") == ["a.png"]
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match="clip.mp4: films need PyAV: pip install av"):
        command(good, tmp_path / "clip.mp4", out=tmp_path / "without")
    assert not (tmp_path / "without").exists()


def test_unreadable_images_are_reported_after_the_others(command, tmp_path):
    good = [draw(tmp_path / "a.png"), draw(tmp_path / "z.png")]
    (tmp_path / "m.png").write_bytes(good[0].read_bytes()[:200])
    (tmp_path / "n.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"2 of 4 images could not be read.*m\.png.*n\.png"):
        command(tmp_path, out=tmp_path / "out")
    assert written(tmp_path / "out") == ["a.png", "z.png"]


def test_inputs_are_never_overwritten(command, tmp_path):
    path = draw(tmp_path / "a.png")
    before = path.read_bytes()
    with pytest.raises(UserError, match="would be overwritten"):
        command(path, out=tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("missing", ["missing.png", "*.jpg", "empty"])
def test_inputs_that_are_not_there(command, missing, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=missing.replace("*", r"\*")):
        command(tmp_path / missing, out=tmp_path / "out")


def test_a_folder_that_cannot_be_written_to(command, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        command(draw(tmp_path / "a.png"), out=tmp_path / "out" / "below")


@pytest.fixture
def experiment(weights, tmp_path):
    """A folder of checkpoints that holds the averaged weights of the best epoch alone, and a picture."""
    folder = tmp_path / "checkpoints" / "h2z"
    folder.mkdir(parents=True)
    (folder / "best_net_G_ema.pth").write_bytes(weights.read_bytes())
    draw(tmp_path / "a.png")
    return "--name h2z --ema a.png --out out --gpu_ids -1".split()


def test_an_epoch_that_was_not_saved(experiment, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["translate.py", *experiment, "--epoch", "3"])
    with pytest.raises(UserError, match="3_net_G_ema.pth does not exist.*best"):
        translate.main()
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_from_anywhere(experiment, tmp_path):
    command = [sys.executable, str(ROOT / "scripts/translate.py"), *experiment, "--epoch", "best"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/a.png").exists()


def test_one_limit_on_pixels(command, tmp_path, monkeypatch):
    """--max_pixels alone: Pillow's own for all of a process holds nowhere."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    inputs = [draw(tmp_path / "in" / "small.png", (20, 16)), draw(tmp_path / "in" / "large.png", (24, 20))]
    assert command(*inputs, out=tmp_path / "all") == ["large.png", "small.png"]
    with pytest.raises(UserError, match=r"1 of 2 images could not be read: .*large\.png' has 24 x 20 pixels, more"):
        command(*inputs, "--max_pixels", "320", out=tmp_path / "some")
    assert written(tmp_path / "some") == ["small.png"]


def share(rank, argv):
    """Translate as one of several ranks."""
    sys.argv = ["translate.py", *map(str, argv)]
    translate.main()


def bytes_in(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}


def test_two_ranks_and_two_jobs_write_what_one_process_does(command, weights, tmp_path, capsys):
    """Names too: those that are given out before the files are shared."""
    for i in range(5):
        draw(tmp_path / "in" / f"{i}.png", seed=i)
    draw(tmp_path / "in" / "0.jpg", seed=9)
    command(tmp_path / "in", out=tmp_path / "one")
    wanted = bytes_in(tmp_path / "one")
    assert len(wanted) == 6 and "0_2.png" in wanted

    argv = ["--weights", weights, "--gpu_ids", "-1", tmp_path / "in", "--out", tmp_path / "ranks"]
    (tmp_path / "in" / "9.png").write_bytes(b"")
    first, second = run_ranks(2, share, argv)
    assert "UserError: 1 of 7 images could not be read" in first and second is None
    assert bytes_in(tmp_path / "ranks") == wanted
    (tmp_path / "in" / "9.png").unlink()

    for part, count in (("1/2", 3), ("2/2", 6)):
        assert len(command(tmp_path / "in", "--part", part, "--resume", out=tmp_path / "jobs")) == count
    assert bytes_in(tmp_path / "jobs") == wanted


def test_resume_leaves_out_what_is_finished_and_refuses_other_weights_and_flags(command, weights, tmp_path, capsys):
    from drawn_films import draw as draw_film

    for i in range(3):
        draw(tmp_path / "in" / f"{i}.png", seed=i)
    inputs = [tmp_path / "in", draw_film(tmp_path / "clip.mp4", times=[0, 1])]
    out = tmp_path / "out"
    for name in ("0.png", "2.png"):  # of some other program, earlier than a clock's tick
        os.utime(draw(out / name), (1e9, 1e9))
    command(*inputs, "--resume", out=out)
    assert "nothing in" in capsys.readouterr().out
    wanted = bytes_in(out)
    (out / "1.png").unlink()
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.*")}
    command(*inputs, "--resume", out=out)
    assert "4 translations in" in (said := capsys.readouterr().out) and "3 of them from before" in said
    assert bytes_in(out) == wanted
    assert {path.name for path in out.glob("*.*") if path.stat().st_mtime_ns != before.get(path.name)} == {"1.png"}

    other = tmp_path / "other.pth"
    torch.save({name: value * 2 for name, value in torch.load(weights).items()}, other)
    flags = "--eval --format jpg --precision bf16 --quality 90 --tile 64 --value_range 0 200".split()
    named = " and ".join([flag for flag in flags if flag.startswith("--")])
    with pytest.raises(UserError, match=f"--resume: .*out was begun with other {named} and weights; give the same"):
        command(*inputs, "--resume", *flags, "--weights", other, out=out)
    assert bytes_in(out) == wanted
    command(tmp_path / "in" / "0.png", "--weights", other, out=out)  # without the flag it is made anew; the rest is old
    assert "\n1 translation in " in f"\n{capsys.readouterr().out}"
    command(*inputs, "--resume", "--weights", other, out=out)
    assert "1 of them from before" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b"])
def test_a_part_that_is_none(command, tmp_path, text):
    with pytest.raises(UserError, match="must be I/N with I from 1 to N, like 3/8"):
        command(tmp_path, "--part", text, out=tmp_path / "out")
