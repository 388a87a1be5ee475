"""prepare_cat2dog.py, make_aligned.py and prepare_images.py: from folders of pictures to data sets."""

import numpy as np
import pytest
from PIL import Image

import options
from data import create_dataset
from scripts.data import make_aligned, prepare_cat2dog, prepare_images
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


def test_copies_are_found(two_folders, capsys):
    """Of other size, other format and in the other folder."""
    picture(3, (64, 40)).save(two_folders / "A" / "z_again.jpg", quality=60)
    picture(4, (64, 40)).resize((50, 30), Image.LANCZOS).save(two_folders / "A" / "deep.png")
    picture(5, (64, 40)).save(two_folders / "B" / "same.png")
    files = prepare(two_folders)
    said = capsys.readouterr().out
    assert "3 copies of other pictures, left out" in said
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


def test_more_pictures_than_one_block():
    rng = np.random.default_rng(0)
    thumbnails = rng.integers(0, 256, (2500, 256)).astype(np.float32)
    thumbnails[2400] = thumbnails[7] + 1
    thumbnails[1500] = thumbnails[7]
    assert prepare_images.find_copies(list(range(2500)), thumbnails) == [[7, 1500, 2400]]


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
