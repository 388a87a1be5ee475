"""One lister and one reader: whoever looks at a folder of pictures sees the same files and the same pixels."""

import numpy as np
import pytest
from odd_pictures import write_png, write_tiff
from PIL import Image

import options
from data import create_dataset
from util.errors import UserError
from util.images import tensor2im
from util.metrics.evaluator import Evaluator
from util.metrics.images import read_image
from util.metrics.structure import read_pair, structure_scores
from util.pictures import Reader, counted, find_images, list_folder, list_images, natural
from util.run.saved_options import readers_of_run

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (96, 96, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (96, 96, 3), dtype=np.uint16)


def as_trained(dataroot, tmp_path, *flags) -> dict[str, np.ndarray]:
    """Path -> the pixels that training takes in before any scaling and cropping."""
    fixed = "--model cut --preprocess none --no_flip --gpu_ids -1 --num_threads 0 --serial_batches".split()
    opt = options.parse(["--dataroot", str(dataroot), "--checkpoints_dir", str(tmp_path), *fixed, *flags])
    seen = {}
    for batch in create_dataset(opt):
        seen |= {batch[f"{side}_paths"][0]: tensor2im(batch[side]) for side in "AB"}
    return seen


def write_dataset(root, picture) -> None:
    """One picture for each side: ``picture(path without ending)`` writes it."""
    for side in "AB":
        (root / f"train{side}").mkdir(parents=True)
        picture(root / f"train{side}" / "p")


WRITTEN = {
    "palette": lambda p: Image.fromarray(RGB).convert("P", palette=Image.ADAPTIVE).save(p.with_suffix(".png")),
    "cmyk": lambda p: Image.fromarray(RGB).convert("CMYK").save(p.with_suffix(".jpg")),
    "one_bit": lambda p: Image.fromarray(RGB).convert("1").save(p.with_suffix(".png")),
    "grey_with_alpha": lambda p: Image.fromarray(RGB).convert("LA").save(p.with_suffix(".png")),
    "rgb_16_png": lambda p: write_png(p.with_suffix(".png"), DEEP),
    "rgb_16_tiff": lambda p: write_tiff(p.with_suffix(".tif"), DEEP),
    "grey_16": lambda p: Image.fromarray(DEEP[..., 0]).save(p.with_suffix(".png")),
}


SIGNED = (DEEP[..., 0] >> 5).astype(np.int16) - 999
DEEP_ONES = {  # kind -> (--value_range, how it is written)
    "float_tiff": ((-0.5, 2), lambda p: write_tiff(p.with_suffix(".tif"), DEEP[..., 0].astype(np.float32) / 40000)),
    "signed_tiff": ((-1000, 2000), lambda p: write_tiff(p.with_suffix(".tif"), SIGNED)),
    "rgb_16_png_in_a_range": ((100, 5000), WRITTEN["rgb_16_png"]),
}


@pytest.mark.parametrize("kind", [*WRITTEN, *DEEP_ONES])
def test_scores_see_what_training_sees(kind, tmp_path):
    value_range, write = DEEP_ONES.get(kind) or (None, WRITTEN[kind])
    write_dataset(tmp_path / "data", write)
    trained = as_trained(tmp_path / "data", tmp_path, *flags_of(value_range))
    assert set(trained) == {str(path) for path in list_images(tmp_path / "data")}
    for path, pixels in trained.items():
        assert np.array_equal(read_image(path, Reader(value_range)), pixels), path


def flags_of(value_range) -> list[str]:
    return ["--value_range", *map(str, value_range)] if value_range else []


CASES = ["exif", "exif_upright", "alpha", "alpha_on_white", "twelve_bit", "rgb_nir", "six_pages", "endings", "links"]
CASES += ["frames", "signed_16_bit", "dark", "panning", "xray"]


@pytest.mark.parametrize("case", CASES)
def test_scores_see_what_training_sees_of_odd_files(case, cases, tmp_path):
    value_range, root = (-1000, 2000) if case == "signed_16_bit" else None, cases / case
    if not (root / "trainA").exists():  # two plain folders
        root = tmp_path / "data"
        root.mkdir()
        for side in "AB":
            (root / f"train{side}").symlink_to(cases / case / side)
    trained = as_trained(root, tmp_path, *flags_of(value_range))
    assert set(trained) == {str(path) for side in "AB" for path in list_images(root / f"train{side}")}
    for path, pixels in trained.items():
        assert np.array_equal(read_image(path, Reader(value_range)), pixels), path


@pytest.mark.parametrize("case, sentence", [("six_bands", "a TIFF of 6 bands"), ("thin", "200 x 6 pixels.*needs 24")])
def test_cases_that_are_refused(case, sentence, cases, tmp_path):
    with pytest.raises(UserError, match=sentence):
        as_trained(cases / case, tmp_path)
    if case == "six_bands":
        with pytest.raises(UserError, match=sentence):
            Reader().find(cases / case / "trainA")


def test_turned_and_transparent_pictures_are_those_beside_them(cases):
    for one, other in (("exif", "exif_upright"), ("alpha", "alpha_on_white")):
        pairs = list(zip(find_images(cases / one), find_images(cases / other), strict=True))
        assert len(pairs) == 14
        for a, b in pairs:
            a, b = read_image(a).astype(int), read_image(b).astype(int)
            assert a.shape == b.shape and np.abs(a - b).mean() < (3 if one == "exif" else 0.01)


def test_16_bit_colours_are_rounded_as_grey_ones(tmp_path):
    for path in (write_png(tmp_path / "x.png", DEEP), write_tiff(tmp_path / "x.tif", DEEP)):
        assert np.array_equal(Reader().array(path), np.rint(DEEP / 257))
    with_alpha = np.dstack([DEEP, np.full((96, 96), 65535, np.uint16)])
    with_alpha[:9, :, 3] = 0
    for path in (write_png(tmp_path / "a.png", with_alpha), write_tiff(tmp_path / "a.tif", with_alpha, extra=(2,))):
        pixels = Reader().array(path)
        assert np.array_equal(pixels[9:], np.rint(DEEP[9:] / 257)) and (pixels[:9] == 255).all()


def test_a_value_range_uses_all_levels(cases, tmp_path):
    twelve = next((cases / "twelve_bit" / "trainA").iterdir())
    stored = np.asarray(Image.open(twelve)).astype(float)
    assert len(np.unique(Reader().array(twelve))) <= 17
    assert np.array_equal(Reader((0, 4095)).array(twelve)[..., 0], np.rint(stored / 4095 * 255))
    signed = next((cases / "signed_16_bit" / "trainA").iterdir())
    stored = np.asarray(Image.open(signed)).astype(float)
    assert np.array_equal(Reader((-1000, 2000)).array(signed)[..., 0], np.rint((stored + 1000) / 3000 * 255))
    assert Reader((0, 1000)).array(signed).min() == 0 and Reader((0, 1000)).array(signed).max() == 255  # cut off
    colours = write_png(tmp_path / "x.png", (DEEP >> 4))
    assert np.array_equal(Reader((0, 4095)).array(colours), np.rint((DEEP >> 4) / 4095 * 255))


def test_a_value_range_from_training_to_scores(cases, tmp_path, capsys):
    folder = cases / "twelve_bit"
    as_trained(folder, tmp_path)
    assert "trainA: 4 of 4 images have 16-bit values" in capsys.readouterr().err
    trained = as_trained(folder, tmp_path, "--value_range", "0", "4095")
    assert "0 becomes black and 4095 white (--value_range)" in capsys.readouterr().err
    for path, pixels in trained.items():
        assert np.array_equal(read_image(path, Reader((0, 4095))), pixels)
        assert len(np.unique(pixels)) > 60
    with pytest.raises(UserError, match="signed 16-bit values.*negative ones"):
        as_trained(cases / "signed_16_bit", tmp_path)
    assert len(as_trained(cases / "signed_16_bit", tmp_path, "--value_range", "-1000", "2000")) == 8


def test_sides_with_ranges_of_their_own(cases, tmp_path):
    for side, case in zip("AB", ("twelve_bit", "signed_16_bit"), strict=True):
        (tmp_path / f"train{side}").symlink_to(cases / case / f"train{side}")
    numbers = ["0", "4095", "-1000", "2000"]
    for path, pixels in as_trained(tmp_path, tmp_path, "--value_range", *numbers).items():
        reader = Reader((0, 4095) if "trainA" in path else (-1000, 2000))
        assert np.array_equal(reader.array(path), pixels)
    run = tmp_path / "run"
    run.mkdir()
    (run / "train_opt.json").write_text('{"value_range": [0, 4095, -1000, 2000], "direction": "BtoA"}')
    source, target = readers_of_run(run, None, 1e9)
    assert source.value_range == (-1000, 2000) and target.value_range == (0, 4095)
    assert readers_of_run(run, [1, 2], 1e9)[0].value_range == (1, 2)
    assert readers_of_run(None, None, 1e9) == (Reader(), Reader(max_pixels=1e9))


@pytest.mark.parametrize("numbers", ["0", "0 1 2", "5 5", "0 nan", "1 0 0 1"])
def test_ranges_that_are_none(numbers, tmp_path):
    with pytest.raises(UserError, match="--value_range.*LOW HIGH"):
        options.parse(["--dataroot", str(tmp_path), "--value_range", *numbers.split()])


def test_test_images_come_in_natural_order_and_training_keeps_its_own(cases, tmp_path):
    flags = [
        "--dataroot",
        str(cases / "frames"),
        "--checkpoints_dir",
        str(tmp_path),
        *"--model cut --gpu_ids -1".split(),
    ]
    train = options.parse([*flags, "--num_threads", "0"])
    assert [path.rsplit("/")[-1] for path in create_dataset(train).dataset.domains["A"].paths[:4]] == [
        "1.png", "10.png", "11.png", "12.png",
    ]  # fmt: skip
    test = options.for_testing(train)
    assert [path.rsplit("/")[-1] for path in create_dataset(test).dataset.domains["A"].paths] == [
        f"{number}.png" for number in range(1, 13)
    ]


def test_a_perfect_translation_of_turned_and_of_transparent_pictures_scores_0(cases):
    for one, other in (("exif", "exif_upright"), ("alpha", "alpha_on_white")):
        pairs = list(zip(find_images(cases / one / "testA"), find_images(cases / other / "testA"), strict=True))
        evaluator = Evaluator([real for real, _ in pairs], "effnet_lite0", cache_dir=None)
        scores = evaluator.score([made for _, made in pairs])
        distance = next(value for name, value in scores.items() if name.startswith("FD-effnet_lite0"))
        assert distance < (15 if one == "exif" else 1e-6)  # turned files are compressed apart; on their side: 199
        structure = structure_scores(read_pair(*pair) for pair in pairs)
        assert min(map(min, structure.values())) > (0.97 if one == "exif" else 0.9999)


@pytest.mark.parametrize(
    "array, sentence",
    [
        (np.linspace(-0.25, 1.5, 64).reshape(8, 8).astype(np.float32), "float values, -0.25 to 1.5, negative ones"),
        (np.arange(64).reshape(8, 8).astype(np.int16) - 9, "signed 16-bit values, -9 to 54, negative ones"),
        (np.arange(64).reshape(8, 8).astype(np.uint32) * 5000, "32-bit values, 0 to 315000:"),
    ],
)
def test_values_without_a_known_range_are_refused_by_their_name(tmp_path, array, sentence):
    path = write_tiff(tmp_path / "x.tif", array)
    for look in (Reader().open, lambda path: Reader().check([path])):
        with pytest.raises(UserError, match=rf"x\.tif' holds {sentence}.*--value_range LOW HIGH"):
            look(path)
    pixels = Reader((array.min(), array.max())).array(path)
    assert pixels.min() == 0 and pixels.max() == 255


def test_values_that_are_no_number(tmp_path):
    array = np.zeros((8, 8), np.float32)
    array[3, 3] = np.nan
    with pytest.raises(UserError, match="no number"):
        Reader((0, 1)).open(write_tiff(tmp_path / "x.tif", array))


def told(capsys, folder, reader=None) -> str:
    paths, reader = list_images(folder), reader or Reader()
    reader.tell(dict(zip(paths, reader.check(paths), strict=True)), folder.name)
    return capsys.readouterr().err


def test_what_is_used_in_part_is_told_once(cases, capsys):
    for case, words in (
        ("rgb_nir", "4 of 4 images have 4 bands, of which 3 are used"),
        ("six_pages", "4 of 4 images have 6 pages or frames, of which the first is used"),
        ("twelve_bit", r"4 of 4 images have 16-bit values, 0 to 4"),
    ):
        lines = told(capsys, cases / case / "trainA").splitlines()
        assert len(lines) == 1 and words in lines[0], (case, lines)
        assert ("--value_range" in lines[0]) == (case == "twelve_bit")
    lines = told(capsys, cases / "twelve_bit" / "trainA", Reader((0, 4095))).splitlines()
    assert len(lines) == 1 and "0 becomes black and 4095 white" in lines[0]
    assert not told(capsys, cases / "alpha" / "trainA")


def test_a_fourth_band_is_transparency_only_where_the_file_says_so(tmp_path):
    bands = np.dstack([RGB, np.full((96, 96), 30, np.uint8)])
    for extra in ((), (0,)):
        path = write_tiff(tmp_path / "x.tif", bands, extra)
        assert np.array_equal(Reader().array(path), RGB)
        assert Reader().check([path])[0].notes == ("4 bands, of which 3 are used",)
    path = write_tiff(tmp_path / "y.tif", bands, (2,))
    assert Reader().array(path).min() > 200 and not Reader().check([path])[0].notes


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("x.png", b"<html>not found</html>", "HTML or XML"),
        ("x.jpg", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        ("x.jpg", b"\0\0\0\x18ftypheic\0\0", "of the kind HEIC"),
        ("x.jpg", b"\xff\xd8 and nothing", "a damaged JPEG file"),
        ("x.tif", b"", r"empty \(0 bytes\)"),
        ("x.bmp", b"something else", "begins with b'something el'"),
    ],
)
def test_what_cannot_be_read_is_called_what_it_is(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        Reader().open(tmp_path / name)
    with pytest.raises(UserError, match=words):
        Reader().check([tmp_path / name])


def test_tiffs_that_cannot_be_read_are_described(tmp_path, cases):
    with pytest.raises(UserError, match="a TIFF of 6 bands of 8 bits"):
        Reader().open(next((cases / "six_bands" / "trainA").iterdir()))
    path = write_tiff(tmp_path / "x.tif", np.zeros((4, 4, 3), np.float32))
    with pytest.raises(UserError, match="a TIFF of 3 bands of 32 float bits"):
        Reader().open(path)


def test_files_left_out_are_counted_by_ending(cases):
    found = list_folder(cases / "endings" / "trainA")
    assert {path.suffix for path in found.paths} == {".JPG", ".jfif", ".jpe", ".pgm"}
    assert found.left_out[".gif"] == found.left_out[".tga"] == 1 and "1 .gif" in counted(found.left_out)


def test_natural_order(tmp_path, cases):
    names = [path.stem for path in list_images(cases / "frames" / "trainA")]
    assert names == [str(number) for number in range(1, 13)]
    right = ["9/a", "10/a", "a/01", "a/1", "a/x2y9", "a/x2y10", "a/x10", "b/9", "b/10"]
    assert sorted(sorted(right), key=natural) == right != sorted(right)


def test_large_pictures_are_worked_on_in_strips(tmp_path, monkeypatch):
    """Bit for bit what the whole picture gives, for each kind of conversion."""
    monkeypatch.chdir(tmp_path)
    for kind, write in WRITTEN.items():
        write(tmp_path / kind)
    Image.fromarray(np.dstack([RGB, RGB[..., 0]])).save("rgba.png")
    whole = {path: Reader().open_with_transparency(path) for path in list_images(tmp_path)}
    monkeypatch.setattr("util.pixels.STRIP", 96 * 7)
    assert len(whole) == 8
    for path, expected in whole.items():
        for a, b in zip(Reader().open_with_transparency(path), expected, strict=True):
            assert (a is None) == (b is None) and (a is None or np.array_equal(np.asarray(a), np.asarray(b))), path


def test_one_limit_on_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's own, for all of a process
    Image.fromarray(RGB).save(tmp_path / "x.png")
    assert Reader().open(tmp_path / "x.png").size == (96, 96)
    assert read_image(tmp_path / "x.png").shape == (96, 96, 3)
    assert Image.MAX_IMAGE_PIXELS == 100
    for look in (Reader(max_pixels=9215).open, lambda path: Reader(max_pixels=9215).check([path])):
        with pytest.raises(UserError, match=r"x\.png' has 96 x 96 pixels, more than --max_pixels 9215"):
            look(tmp_path / "x.png")


def test_a_picture_in_memory_is_left_as_it_is():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGBA", (8, 4), (1, 2, 3, 0))
    image.info["exif"] = exif.tobytes()
    assert Reader().convert(image).size == (4, 8) and image.size == (8, 4) and image.mode == "RGBA"
