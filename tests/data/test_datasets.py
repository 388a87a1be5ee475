import argparse
import shutil

import numpy as np
import pytest
import torch
from drawn import FOR_TESTING, draw, draw_folder, draw_unpaired, make_opt
from PIL import Image

import data
from data.base_dataset import to_tensor
from data.colorization_dataset import rgb_to_lab
from util.errors import UserError
from util.pictures import Reader

PLAIN = {"preprocess": "none", "no_flip": True, "serial_batches": True}


def items(loader, epoch=1):
    loader.set_epoch(epoch)
    return list(loader)


def names(batches, key):
    return [path.rsplit("/", 2)[-2:] for batch in batches for path in batch[key]]


def test_unaligned_pairs_each_source_with_a_random_image_of_the_other_side(tmp_path):
    loader = data.create_dataset(make_opt(draw_unpaired(tmp_path, a=6, b=4)))
    assert len(loader) == 6
    partners = set()
    for epoch in range(1, 9):
        batches = items(loader, epoch)
        assert sorted(names(batches, "A_paths")) == [["trainA", f"00{i}.png"] for i in range(6)]
        partners |= {(a[1], b[1]) for a, b in zip(names(batches, "A_paths"), names(batches, "B_paths"), strict=True)}
        assert all(batch[key].shape == (1, 3, 16, 16) for batch in batches for key in "AB")
    assert len(partners) > 15  # of 24


def test_unaligned_with_fewer_sources_than_targets(tmp_path):
    loader = data.create_dataset(make_opt(draw_unpaired(tmp_path, a=2, b=5), serial_batches=True))
    batches = items(loader)
    assert [name[1] for name in names(batches, "A_paths")] == ["000.png", "001.png"] * 2 + ["000.png"]
    assert [name[1] for name in names(batches, "B_paths")] == [f"00{i}.png" for i in range(5)]


def test_unaligned_images_are_those_of_the_files(tmp_path):
    draw_unpaired(tmp_path, a=2, b=2, width=24, height=16)
    batches = items(data.create_dataset(make_opt(tmp_path, **PLAIN)))
    assert torch.equal(batches[1]["A"][0], to_tensor(draw(24, 16, seed=1)))
    assert torch.equal(batches[1]["B"][0], to_tensor(draw(24, 16, seed=101)))


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_channels_follow_the_direction(tmp_path, direction):
    draw_unpaired(tmp_path)
    draw_folder(tmp_path / "train", 1, width=48)
    for mode in ("unaligned", "aligned"):
        opt = make_opt(tmp_path, dataset_mode=mode, input_nc=1, output_nc=3, direction=direction)
        item = items(data.create_dataset(opt))[0]
        source, target = ("A", "B") if direction == "AtoB" else ("B", "A")
        assert item[source].shape[1] == 1 and item[target].shape[1] == 3


def test_other_channel_numbers_are_refused(tmp_path):
    with pytest.raises(UserError, match="1 or 3 channels, not 4.*--input_nc"):
        data.create_dataset(make_opt(draw_unpaired(tmp_path), input_nc=4))


def test_jitter_stops_after_n_epochs(tmp_path):
    draw_unpaired(tmp_path, a=1, b=1)
    loader = data.create_dataset(make_opt(tmp_path, n_epochs=2, no_flip=True, load_size=40, num_threads=1))
    whole = to_tensor(draw(24, 18).resize((16, 16), Image.BICUBIC))
    for epoch, stopped in ((1, False), (2, False), (3, True), (4, True)):
        assert torch.equal(items(loader, epoch)[0]["A"][0], whole) == stopped
    assert loader.dataset.opt.load_size == 40


@pytest.mark.parametrize("direction, source, other", [("AtoB", "A", "B"), ("BtoA", "B", "A")])
def test_one_sided_testing(tmp_path, direction, source, other):
    draw_unpaired(tmp_path, a=4, b=4, phase="test")
    shutil.rmtree(tmp_path / f"test{other}")
    opt = make_opt(tmp_path, **{**FOR_TESTING, "direction": direction})
    batches = items(data.create_dataset(opt))
    assert names(batches, f"{source}_paths") == [[f"test{source}", f"00{i}.png"] for i in range(4)]
    assert all(other not in batch for batch in batches)
    (tmp_path / f"test{other}").mkdir()  # an empty folder is as good as none
    assert len(items(data.create_dataset(opt))) == 4
    opt.direction = {"AtoB": "BtoA", "BtoA": "AtoB"}[direction]
    with pytest.raises(UserError, match=f"test{other}"):
        data.create_dataset(opt)


@pytest.mark.parametrize("a, b", [(4, 2), (2, 4)])
def test_testing_takes_each_source_once_and_in_order(tmp_path, a, b):
    draw_unpaired(tmp_path, a=a, b=b, phase="test")
    loader = data.create_dataset(make_opt(tmp_path, **FOR_TESTING))
    batches = items(loader)
    assert len(loader) == a
    assert [name[1] for name in names(batches, "A_paths")] == [f"00{i}.png" for i in range(a)]
    assert [name[1] for name in names(batches, "B_paths")] == [f"00{i % b}.png" for i in range(a)]
    for i, batch in enumerate(batches):  # neither cropped nor mirrored
        assert torch.equal(batch["A"][0], to_tensor(draw(seed=i).resize((16, 16), Image.BICUBIC)))


def test_val_stands_in_for_test(tmp_path):
    draw_unpaired(tmp_path, phase="val")
    assert names(items(data.create_dataset(make_opt(tmp_path, **FOR_TESTING))), "B_paths")[0][0] == "valB"
    draw_unpaired(tmp_path, phase="test")
    assert names(items(data.create_dataset(make_opt(tmp_path, **FOR_TESTING))), "B_paths")[0][0] == "testB"


def test_missing_and_empty_folders(tmp_path):
    def refused(match, **changes):
        with pytest.raises(UserError, match=match) as error:
            data.create_dataset(make_opt(**{"dataroot": tmp_path, **changes}))
        assert "\n" not in str(error.value)

    refused("--dataroot.*nowhere.*does not exist", dataroot=tmp_path / "nowhere")
    draw_folder(tmp_path / "trainB", 1)
    refused("no folder 'trainA'.*unaligned.*'trainB'")
    (tmp_path / "trainA").mkdir()
    refused("trainA' holds no images")
    draw_folder(tmp_path / "trainA", 1)
    (tmp_path / "trainB" / "bad.jpg").write_bytes(b"")
    refused("1 of 2 images.*bad.jpg.*0 bytes")
    for mode, folder in (("aligned", "train"), ("colorization", "train"), ("singleimage", "trainA")):
        shutil.rmtree(tmp_path / "trainA", ignore_errors=True)
        refused(
            f"no folder '{folder}'.*{mode}",
            dataset_mode=mode,
            **({"input_nc": 1, "output_nc": 2} if mode == "colorization" else {}),
        )
    (tmp_path / "empty").mkdir()
    refused("empty' holds no images", dataset_mode="single", dataroot=tmp_path / "empty")
    refused("does not exist", dataset_mode="single", dataroot=tmp_path / "nowhere")


@pytest.mark.parametrize("words", ["crop", "patch", "scale_width_and_crop"])
def test_images_smaller_than_the_crop_are_refused_at_the_start(tmp_path, words):
    draw_unpaired(tmp_path, width=40, height=40)
    draw(12, 40).save(tmp_path / "trainB" / "small.png")
    opt = make_opt(tmp_path, preprocess=words, load_size=14)
    with pytest.raises(UserError, match="--crop_size 16") as error:
        data.create_dataset(opt)
    assert words == "scale_width_and_crop" or "small.png" in str(error.value)


@pytest.mark.parametrize("words", ["none", "scale_width", "scale_shortside", "trim"])
def test_ragged_batches_are_refused_at_the_start(tmp_path, words):
    draw_unpaired(tmp_path)
    assert items(data.create_dataset(make_opt(tmp_path, preprocess=words, batch_size=2)))
    draw(11, 60).save(tmp_path / "trainB" / "tall.png")
    with pytest.raises(UserError, match="--batch_size 2.*--preprocess.*tall.png"):
        data.create_dataset(make_opt(tmp_path, preprocess=words, batch_size=2))
    data.create_dataset(make_opt(tmp_path, preprocess=words))


def test_sizes_count_after_rounding_to_multiples_of_4(tmp_path):
    draw_unpaired(tmp_path, a=1, b=1, width=24, height=16)
    for side in "AB":
        draw(25, 17).save(tmp_path / f"train{side}" / "x.png")
    batch = items(data.create_dataset(make_opt(tmp_path, batch_size=2, preprocess="none")))[0]
    assert batch["A"].shape == (2, 3, 16, 24)


def test_sizes_of_pairs_are_those_of_their_halves(tmp_path):
    draw_folder(tmp_path / "train", 1, width=30)
    with pytest.raises(UserError, match="--crop_size 16"):
        data.create_dataset(make_opt(tmp_path, dataset_mode="aligned", preprocess="crop"))


def test_sizes_count_upright(tmp_path):
    """Two photographs that look alike, one of them stored on its side."""
    draw_unpaired(tmp_path, a=1, b=1, width=24, height=16)
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(16, 24).save(tmp_path / "trainA" / "turned.jpg", exif=exif)
    batch = items(data.create_dataset(make_opt(tmp_path, batch_size=2, preprocess="none")))[0]
    assert batch["A"].shape == (2, 3, 16, 24)


def test_aligned_halves_share_crop_and_flip(tmp_path):
    folder = tmp_path / "train"
    folder.mkdir()
    pair = Image.new("RGB", (48, 18))
    pair.paste(draw(), (0, 0))
    pair.paste(draw(), (24, 0))  # the same image twice: A and B must stay equal
    for i in range(3):
        pair.save(folder / f"{i}.png")
    for cache in ("none", "ram"):
        loader = data.create_dataset(make_opt(tmp_path, dataset_mode="aligned", cache=cache))
        seen = [batch for epoch in range(4) for batch in items(loader, epoch)]
        assert all(torch.equal(batch["A"], batch["B"]) for batch in seen)
        assert len({batch["A"].numpy().tobytes() for batch in seen}) > 6
        assert seen[0]["A_paths"] == seen[0]["B_paths"]


def test_aligned_left_is_a(tmp_path):
    (tmp_path / "train").mkdir()
    pair = Image.new("RGB", (48, 16), "red")
    pair.paste("blue", (24, 0, 48, 16))
    pair.save(tmp_path / "train" / "x.png")
    item = items(data.create_dataset(make_opt(tmp_path, dataset_mode="aligned", **PLAIN)))[0]
    assert item["A"][0, :, 8, 8].tolist() == [1, -1, -1] and item["B"][0, :, 8, 8].tolist() == [-1, -1, 1]


def test_aligned_file_is_decoded_once(tmp_path, monkeypatch):
    draw_folder(tmp_path / "train", 1, width=48)
    loader = data.create_dataset(make_opt(tmp_path, dataset_mode="aligned"))
    opened = []
    read = Reader.open
    monkeypatch.setattr(Reader, "open", lambda *args: opened.append(args) or read(*args))
    items(loader)
    assert len(opened) == 1


def test_single(tmp_path):
    draw_folder(tmp_path / "any" / "where", 3)
    opt = make_opt(tmp_path, dataset_mode="single", input_nc=1, **FOR_TESTING)
    batches = items(data.create_dataset(opt))
    assert len(batches) == 3 and set(batches[0]) == {"A", "A_paths"}
    assert batches[0]["A"].shape == (1, 1, 16, 16)
    opt.direction = "BtoA"
    batch = items(data.create_dataset(opt))[0]
    assert torch.equal(batch["A"], batch["B"]) and batch["A"].shape[1] == 1


def single_image_opt(root, **changes):
    draw_folder(root / "trainA", 1, width=70, height=60)
    draw_folder(root / "trainB", 1, width=64, height=80, first_seed=5)
    return make_opt(root, **{"dataset_mode": "singleimage", "preprocess": "zoom_and_patch", **changes})


def zooms_of(loader, monkeypatch, batches):
    """The zoom levels and patch numbers of the first batches, in the order A, B, A, B..."""
    from data import singleimage_dataset

    seen = []
    plain = singleimage_dataset.get_transform

    def spy(opt, params, method):
        assert method == Image.BILINEAR
        seen.append((tuple(params["scale_factor"]), params["patch_index"]))
        return plain(opt, params, method=method)

    monkeypatch.setattr(singleimage_dataset, "get_transform", spy)
    loader.set_epoch(1)
    taken = [batch for batch, _ in zip(loader, range(batches), strict=False)]
    assert all(batch["A"].shape == batch["B"].shape == (4, 3, 16, 16) for batch in taken)
    return seen[::2][: 4 * batches], seen[1::2][: 4 * batches]


def test_single_image_zoom_is_one_per_batch(tmp_path, monkeypatch):
    loader = data.create_dataset(single_image_opt(tmp_path, batch_size=4))
    assert len(loader) == 100_000
    zooms_a, zooms_b = zooms_of(loader, monkeypatch, batches=6)
    for zooms in (zooms_a, zooms_b):
        levels = [{zoom for zoom, _ in zooms[i : i + 4]} for i in range(0, 24, 4)]
        assert all(len(level) == 1 for level in levels)
        assert len(set.union(*levels)) == 6
        assert all(1 / 3 <= side <= 1 for level in levels for zoom in level for side in zoom)
        assert len({patch for _, patch in zooms}) == 24
    assert zooms_a != zooms_b


def test_single_image_zoom_is_shared_by_ranks(tmp_path, monkeypatch):
    opt = single_image_opt(tmp_path, batch_size=4, world_size=2)
    seen = []
    for rank in range(2):
        opt.rank = rank
        with monkeypatch.context() as patch:
            seen.append(zooms_of(data.create_dataset(opt), patch, batches=2)[0])
    zooms = [[zoom for zoom, _ in of_rank] for of_rank in seen]
    assert zooms[0] == zooms[1] and [len(set(zooms[0][i : i + 4])) for i in (0, 4)] == [1, 1]
    assert not {patch for _, patch in seen[0]} & {patch for _, patch in seen[1]}


def test_single_image_patches_do_not_repeat_in_an_epoch(tmp_path):
    from data.singleimage_dataset import _patch_indices

    assert sorted(_patch_indices(0, 1, 0)) == list(range(100_000))
    assert not np.array_equal(_patch_indices(0, 1, 0), _patch_indices(0, 1, 1))
    assert not np.array_equal(_patch_indices(0, 1, 0), _patch_indices(0, 2, 0))


def test_single_image_is_whole_in_testing(tmp_path):
    opt = single_image_opt(tmp_path, **{**FOR_TESTING, "preprocess": "none"})
    batches = items(data.create_dataset(opt))
    assert len(batches) == 1
    assert torch.equal(batches[0]["A"][0], to_tensor(draw(70, 60)))
    shutil.rmtree(tmp_path / "trainB")
    assert set(items(data.create_dataset(opt))[0]) == {"A", "A_paths"}


def test_single_image_wants_exactly_one(tmp_path):
    opt = single_image_opt(tmp_path)
    draw_folder(tmp_path / "trainB", 2)
    with pytest.raises(UserError, match="one image in .*trainB.*not 2"):
        data.create_dataset(opt)


def test_single_image_grayscale(tmp_path):
    loader = data.create_dataset(single_image_opt(tmp_path, input_nc=1, max_dataset_size=2))
    assert len(loader) == 2
    assert items(loader)[0]["A"].shape == (1, 1, 16, 16)


def test_lab():
    """Published values of the primaries (D65)."""
    colors = {(255, 255, 255): (100, 0, 0), (0, 0, 0): (0, 0, 0), (255, 0, 0): (53.24, 80.09, 67.20)}
    colors |= {(0, 255, 0): (87.73, -86.18, 83.18), (0, 0, 255): (32.30, 79.19, -107.86)}
    colors |= {(119, 119, 119): (50.03, 0, 0)}
    for rgb, lab in colors.items():
        result = rgb_to_lab(Image.new("RGB", (1, 1), rgb))
        assert result.dtype == np.float32 and np.abs(result[0, 0] - lab).max() < 0.02


def test_colorization(tmp_path):
    parser = argparse.ArgumentParser()
    for name in ("--input_nc", "--output_nc", "--direction"):
        parser.add_argument(name)
    defaults = vars(data.get_option_setter("colorization")(parser, True).parse_args([]))
    draw_folder(tmp_path / "train", 2)
    for cache in ("none", "ram"):
        batch = items(data.create_dataset(make_opt(tmp_path, dataset_mode="colorization", cache=cache, **defaults)))[0]
        assert batch["A"].shape == (1, 1, 16, 16) and batch["B"].shape == (1, 2, 16, 16)
        assert batch["A"].min() >= -1 and batch["A"].max() <= 1 and batch["B"].abs().max() <= 1.1
    with pytest.raises(UserError, match="--input_nc 1 --output_nc 2"):
        data.create_dataset(make_opt(tmp_path, dataset_mode="colorization"))


def test_template(tmp_path):
    draw_folder(tmp_path, 2)
    parser = argparse.ArgumentParser()
    parser.add_argument("--input_nc")
    defaults = vars(data.get_option_setter("template")(parser, True).parse_args([]))
    loader = data.create_dataset(make_opt(tmp_path, dataset_mode="template", **defaults))
    first, second = items(loader), items(loader)
    assert first[0]["A"].shape == (1, 1, 16, 16) and first[0]["B"].shape == (1, 3, 16, 16)
    assert all(torch.equal(a["A"], b["A"]) for a, b in zip(first, second, strict=True))
