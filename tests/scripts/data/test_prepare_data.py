"""prepare_cat2dog.py, make_aligned.py and prepare_images.py: from folders of pictures to data sets."""

import io

import numpy as np
import pytest
from PIL import Image

import options
from data import create_dataset
from scripts.data import make_aligned, prepare_cat2dog, prepare_images
from util.copies import find_copies, is_copy, thumbnail
from util.errors import UserError


def picture(seed=0, size=(40, 30)):
    """Smooth blobs of its own for each seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.BICUBIC)


def draw(path, seed=0, size=(40, 30), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed, size).save(path, **options)
    return path


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# prepare_cat2dog.py


@pytest.fixture
def afhq(tmp_path):
    for i, name in enumerate(["train/cat/1", "train/cat/2", "train/dog/3", "train/wild/4", "val/cat/5", "val/dog/6"]):
        draw(tmp_path / "afhq" / f"{name}.jpg", i)
    return tmp_path / "afhq"


@pytest.mark.parametrize("copy", [[], ["--copy"]])
def test_cat2dog(afhq, copy, tmp_path):
    out = tmp_path / "cat2dog"
    prepare_cat2dog.main(["--afhq", str(afhq), "--out", str(out), *copy])
    assert tree(out) == ["testA/5.jpg", "testB/6.jpg", "trainA/1.jpg", "trainA/2.jpg", "trainB/3.jpg"]
    source, target = afhq / "train/cat/1.jpg", out / "trainA/1.jpg"
    assert target.read_bytes() == source.read_bytes()
    assert target.samefile(source) == (not copy)
    with pytest.raises(UserError, match="exists already"):
        prepare_cat2dog.main(["--afhq", str(afhq), "--out", str(out)])


def test_cat2dog_of_the_second_version_and_of_other_classes(afhq, tmp_path):
    (afhq / "val").rename(afhq / "test")
    prepare_cat2dog.main(["--afhq", str(afhq.parent), "--out", str(tmp_path / "x")])  # the folder around it
    assert len(tree(tmp_path / "x")) == 5
    with pytest.raises(UserError, match="--A wild.*test/wild holds no images"):
        prepare_cat2dog.main(["--afhq", str(afhq), "--out", str(tmp_path / "y"), "--A", "wild"])
    with pytest.raises(UserError, match="must hold the folders"):
        prepare_cat2dog.main(["--afhq", str(tmp_path / "x"), "--out", str(tmp_path / "y")])
    assert not (tmp_path / "y").exists()


# make_aligned.py


def align(tmp_path, *flags):
    folders = ["--fold_A", tmp_path / "A", "--fold_B", tmp_path / "B", "--fold_AB", tmp_path / "AB"]
    make_aligned.main([*map(str, folders), *flags])
    return tree(tmp_path / "AB")


def test_pairs(tmp_path):
    for i in range(3):
        draw(tmp_path / f"A/train/{i}.png", i)
        draw(tmp_path / f"B/train/{i}.jpg", 10 + i, quality=100)
    draw(tmp_path / "A/test/0.png", 5)
    draw(tmp_path / "B/test/0.png", 15)
    assert align(tmp_path) == ["test/0.png", "train/0.png", "train/1.png", "train/2.png"]
    both = np.asarray(Image.open(tmp_path / "AB/test/0.png"))
    assert np.array_equal(both[:, :40], np.asarray(picture(5))) and np.array_equal(
        both[:, 40:], np.asarray(picture(15))
    )


def test_pairs_with_ranges_of_their_own(tmp_path, capsys):
    for side, highest in (("A", 4095), ("B", 1023)):
        values = np.linspace(0, highest, 1200).reshape(30, 40).astype(np.uint16)
        (tmp_path / side).mkdir()
        Image.fromarray(values).save(tmp_path / side / "0.png")
    align(tmp_path)
    assert capsys.readouterr().err.count("--value_range") == 2
    align(tmp_path, "--value_range", "0", "4095", "0", "1023")
    both = np.asarray(Image.open(tmp_path / "AB/0.png")).astype(int)
    assert np.abs(both[:, :40] - both[:, 40:]).max() <= 1 and both.max() == 255


def test_the_aligned_dataset_reads_them(tmp_path):
    draw(tmp_path / "A/train/0.png", 0)
    draw(tmp_path / "B/train/0.png", 1)
    align(tmp_path, "--size", "24")
    flags = "--model template --load_size 24 --crop_size 24 --no_flip --gpu_ids -1 --num_threads 0".split()
    opt = options.parse(["--dataroot", str(tmp_path / "AB"), "--checkpoints_dir", str(tmp_path), *flags])
    (batch,) = list(create_dataset(opt))
    wanted = np.asarray(picture(1).resize((24, 24), Image.BICUBIC)).astype(int)
    found = ((batch["B"][0].permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(int)
    assert np.array_equal(found, wanted)


def test_pictures_are_never_overwritten(tmp_path):
    before = draw(tmp_path / "A/0.png", 0).read_bytes()
    draw(tmp_path / "B/0.png", 1)
    with pytest.raises(UserError, match="--fold_AB .*A/0.png is an input and would be overwritten"):
        make_aligned.main([*(f"--fold_{side}={tmp_path / side}" for side in "AB"), f"--fold_AB={tmp_path / 'A'}"])
    assert (tmp_path / "A/0.png").read_bytes() == before


def test_names_that_end_in_the_side(tmp_path):
    draw(tmp_path / "A/x_A.png", 0)
    draw(tmp_path / "B/x_B.png", 1)
    assert align(tmp_path, "--use_AB", "--format", "jpg") == ["x.jpg"]


def test_a_number_of_pairs_of_each_folder(tmp_path):
    for name in ("train/0", "train/1", "test/0", "test/1"):
        draw(tmp_path / f"A/{name}.png", 0)
        draw(tmp_path / f"B/{name}.png", 1)
    assert align(tmp_path, "--num_imgs", "1") == ["test/0.png", "train/0.png"]


def test_pairs_that_do_not_fit(tmp_path):
    draw(tmp_path / "A/0.png", 0)
    draw(tmp_path / "B/0.png", 1, size=(44, 30))
    with pytest.raises(UserError, match="--size"):
        align(tmp_path)
    assert not (tmp_path / "AB").exists()
    assert align(tmp_path, "--size", "24") == ["0.png"]
    assert Image.open(tmp_path / "AB/0.png").size == (48, 24)
    draw(tmp_path / "A/1.png", 0)
    with pytest.raises(UserError, match="no partner: .*B has no 1"):
        align(tmp_path)
    draw(tmp_path / "A/1.jpg", 0)
    with pytest.raises(UserError, match="one name"):
        align(tmp_path)
    with pytest.raises(UserError, match="does not end in _A"):
        align(tmp_path, "--use_AB")


# prepare_images.py


def prepare(tmp_path, *flags, out="out"):
    prepare_images.main([str(tmp_path / "A"), str(tmp_path / "B"), "--out", str(tmp_path / out), *flags])
    return tree(tmp_path / out)


@pytest.fixture
def two_folders(tmp_path):
    for i in range(20):
        draw(tmp_path / f"A/{i:02}.png", i, size=(64, 40))
        if i < 10:
            draw(tmp_path / f"B/{i:02}.jpg", 100 + i, size=(30, 90), quality=95)
    return tmp_path


def test_split_and_size(two_folders):
    files = prepare(two_folders, "--size", "20", "--test_share", "0.2")
    assert [sum(f.startswith(name) for f in files) for name in ("trainA", "testA", "trainB", "testB")] == [16, 4, 8, 2]
    sizes = {Image.open(two_folders / "out" / f).size for f in files}
    assert sizes == {(32, 20), (20, 60)}
    assert prepare(two_folders, "--size", "20", "--test_share", "0.2", out="again") == files
    assert prepare(two_folders, "--size", "20", "--test_share", "0.2", "--seed", "1", out="other") != files


def test_small_pictures_stay_and_squares_are_cut(two_folders):
    files = prepare(two_folders, "--size", "50", "--square", "--format", "png", "--test_share", "0")
    assert {Image.open(two_folders / "out" / f).size for f in files} == {(40, 40), (30, 30)}
    assert not any(f.startswith("test") for f in files)


@pytest.mark.parametrize("other", ["A", "link"])
def test_one_folder_for_both_sides(two_folders, other):
    (two_folders / "link").symlink_to("A")
    with pytest.raises(UserError, match=f"A .*A and B .*{other} are the same folder; B must hold"):
        prepare_images.main([str(two_folders / "A"), str(two_folders / other), f"--out={two_folders / 'out'}"])


def test_copies_are_found(two_folders, capsys):
    """Of other size, other format and in the other folder."""
    picture(3, (64, 40)).save(two_folders / "A" / "z_again.jpg", quality=60)
    picture(4, (64, 40)).resize((50, 30), Image.LANCZOS).save(two_folders / "A" / "deep.png")
    picture(5, (64, 40)).save(two_folders / "B" / "same.png")
    files = prepare(two_folders)
    said = capsys.readouterr().out
    assert "3 duplicates of other pictures, left out" in said
    assert all(name in said for name in ("z_again.jpg", "deep.png", "same.png"))
    assert len(files) == 30
    assert len(prepare(two_folders, "--duplicates", "keep", out="kept")) == 33


def test_pictures_that_are_alike_are_no_copies(tmp_path):
    """A small change that a person sees: another object in a corner."""
    image = picture(0, (64, 64))
    draw(tmp_path / "A/0.png", 0, size=(64, 64))
    image.paste((255, 0, 0), (0, 0, 20, 20))
    image.save(tmp_path / "A/1.png")
    draw(tmp_path / "B/0.png", 1)
    draw(tmp_path / "B/1.png", 2)
    assert len(prepare(tmp_path)) == 4


@pytest.mark.parametrize("case, wanted", [("dark", 18), ("panning", 24), ("xray", 20)])
def test_different_pictures_of_little_contrast_or_movement_are_all_kept(case, wanted, cases, tmp_path, capsys):
    sides = [str(cases / case / side) for side in "AB"]
    prepare_images.main([*sides, "--out", str(tmp_path / "out")])
    assert len(tree(tmp_path / "out")) == wanted and "copies" not in capsys.readouterr().out


def test_many_copies_are_a_question(two_folders, capsys):
    for i in range(6):  # 6 of 26 in A
        picture(i, (64, 40)).save(two_folders / "A" / f"z{i}.jpg", quality=90)
    with pytest.raises(UserError, match="6 of 26 pictures of A seem to be copies.*--duplicates drop or "):
        prepare(two_folders)
    assert not (two_folders / "out").exists() and "z5.jpg" in capsys.readouterr().out
    assert len(prepare(two_folders, "--duplicates", "drop", out="dropped")) == 30
    assert len(prepare(two_folders, "--duplicates", "keep", out="kept")) == 36


def test_a_side_without_test_pictures_is_a_question(tmp_path):
    for i in range(6):
        draw(tmp_path / f"A/{i}.png", i)
    draw(tmp_path / "B/0.png", 6)
    draw(tmp_path / "B/1.png", 0)  # of A
    with pytest.raises(UserError, match="1 of 2 pictures of B.*leaves 1 and none to test with"):
        prepare(tmp_path)


def test_broken_pictures_and_other_files(two_folders, capsys):
    (two_folders / "A" / "bad.png").write_bytes(b"")
    (two_folders / "A" / "x.gif").write_bytes(b"")
    with pytest.raises(UserError, match=r"1 of 21 images, or leave them out by --skip_broken.*bad\.png' is empty"):
        prepare(two_folders)
    assert len(prepare(two_folders, "--skip_broken")) == 30
    said = capsys.readouterr().out
    assert "bad.png' is empty" in said and "left out: 1 .gif" in said


def test_deep_pictures_are_read_in_their_range(cases, tmp_path, capsys):
    sides = [str(cases / case / side) for case, side in (("twelve_bit", "trainA"), ("signed_16_bit", "trainB"))]
    with pytest.raises(UserError, match="signed 16-bit values.*--value_range"):
        prepare_images.main([*sides, "--out", str(tmp_path / "out")])
    numbers = ["0", "4095", "-1000", "2000"]
    prepare_images.main([*sides, "--out", str(tmp_path / "out"), "--format", "png", "--value_range", *numbers])
    assert capsys.readouterr().err.count("becomes black") == 2
    for path in (tmp_path / "out").rglob("*.png"):
        assert len(np.unique(np.asarray(Image.open(path)))) > 60


def test_what_was_copied_is_found_by_contrast(data_dir):
    """Photographs compressed, scaled and darkened; moved by a pixel they are others."""
    for path in sorted((data_dir / "horse2zebra" / "trainA").iterdir())[:3]:
        photo = Image.open(path).convert("RGB")
        half = photo.resize((128, 128), Image.LANCZOS)
        dark = photo.point(lambda value: value // 20)
        assert is_copy(photo, half) and is_copy(photo, recompressed(half, 75)) and is_copy(dark, dark.copy())
        assert not is_copy(photo.crop((0, 0, 240, 256)), photo.crop((1, 0, 241, 256)))
        spot = dark.copy()
        spot.paste((12, 12, 12), (100, 100, 112, 112))
        assert not is_copy(dark, spot)


def recompressed(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def test_more_pictures_than_one_block():
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(2500)]
    pictures[2400] = np.minimum(pictures[7], 254) + 1
    pictures[1500] = pictures[7]

    def open_picture(i):
        return Image.fromarray(pictures[i])

    thumbnails = np.stack([thumbnail(open_picture(i)) for i in range(2500)])
    assert find_copies(thumbnails, open_picture) == [[7, 1500, 2400]]


def test_equal_names_in_subfolders(tmp_path):
    for i, name in enumerate(["A/a/x.png", "A/b/x.png", "B/x.png", "B/y.png"]):
        draw(tmp_path / name, i)
    assert len(prepare(tmp_path)) == 4


def test_folders_that_cannot_be_used(two_folders):
    (two_folders / "A" / "bad.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"bad\.png"):
        prepare(two_folders)
    assert not (two_folders / "out").exists()
    (two_folders / "A" / "bad.png").unlink()
    (two_folders / "empty").mkdir()
    with pytest.raises(UserError, match="empty' holds no images"):
        prepare_images.main([str(two_folders / "A"), str(two_folders / "empty"), "--out", str(two_folders / "x")])
    (two_folders / "out").mkdir()
    with pytest.raises(UserError, match="exists already"):
        prepare(two_folders)


@pytest.mark.parametrize("count, share, wanted", [(2, 0.01, 1), (2, 0.99, 1), (1, 0.5, 0), (10, 0, 0), (10, 1, 10)])
def test_how_many_are_for_testing(count, share, wanted):
    jobs = prepare_images.split({"A": list(range(count)), "B": list(range(9))}, share, seed=0)
    assert len(jobs.get("testA", [])) == wanted
    assert sorted(jobs.get("trainA", []) + jobs.get("testA", [])) == list(range(count))
