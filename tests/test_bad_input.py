"""Bad flags, folders, images and checkpoints: one sentence, a non-zero exit, and nothing written.

Each row of a table spoils a good training (or test) in one way. Most run in this process; the last test runs commands.
"""

import io
import json
import os
import pickle
import subprocess
import sys
import zlib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_run import CONTRASTIVE, FLAGS, draw_images

import options
import train
from models import create_model
from util.errors import UserError
from util.run.checkpoints import save_state
from util.run.progress import Position
from util.run.state import rank_state

ROOT = Path(__file__).parents[1]
spec = spec_from_file_location("test_command", ROOT / "test.py")
translate = module_from_spec(spec)
spec.loader.exec_module(translate)

GOOD = ["--dataroot=images", "--name=new", "--model=negcut", *FLAGS, *CONTRASTIVE, "--eval_freq=0"]
RESUME = ["--name=run", "--continue_train", "--gpu_ids=-1", "--quiet"]
TEST = ["--name=run", "--dataroot=images", "--gpu_ids=-1", "--quiet"]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A folder with good images and the checkpoint of a run."""
    folder = tmp_path_factory.mktemp("good")
    draw_images(folder / "images")
    draw_images(folder / "images", 2, 2)
    for side in "AB":
        (folder / f"images/test{side}").mkdir()
        Image.new("RGB", (20, 20)).save(folder / f"images/test{side}/0.png")
    opt = options.parse([*GOOD, "--name=run", f"--checkpoints_dir={folder}/checkpoints", f"--dataroot={folder}/images"])
    model = create_model(opt)
    model.setup(opt)
    opt.dataroot, opt.checkpoints_dir = "images", "./checkpoints"
    run = folder / "checkpoints/run"
    model.save_networks("latest")
    options.save_options(opt, run)
    opt.checkpoints_dir = str(folder / "checkpoints")
    save_state(model, [rank_state(model)], Position(2, 1, 5), opt)
    (run / "losses.jsonl").write_text(
        json.dumps({"epoch": 2, "epoch_images": 1, "total_images": 5, "losses": {}}) + "\n"
    )
    return folder


@pytest.fixture
def place(template, tmp_path, monkeypatch):
    """A copy of it, which is the current folder."""
    for path in template.rglob("*"):
        copy = tmp_path / path.relative_to(template)
        copy.mkdir(exist_ok=True) if path.is_dir() else copy.write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tree(folder: Path) -> dict:
    files = [p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()]
    return {p.relative_to(folder): p.read_bytes() for p in files if p.parts[-2:] != ("run", ".lock")}


def sentence(main, argv: list[str], monkeypatch) -> str:
    """The message of the one ``UserError``; nothing may have been written."""
    before = tree(Path.cwd())
    monkeypatch.setattr(sys, "argv", ["command", *argv])
    with pytest.raises(UserError) as caught:
        main()
    message = str(caught.value)
    assert "\n" not in message and "\r" not in message and len(message) < 700, message
    assert "Traceback" not in message and "<class" not in message
    after = tree(Path.cwd())
    assert after.keys() == before.keys() and after == before
    assert not (Path.cwd() / "results").exists()
    return message


FLAG_ROWS = [
    ("--batch_siz=2", "unrecognized arguments: --batch_siz=2"),
    ("--dataroot=placeholder", "--dataroot must name the folder"),
    ("--dataroot=nowhere", "'nowhere' does not exist"),
    ("--dataroot=images/trainA/0.png", "--dataroot"),
    ("--dataroot=", "--dataroot"),
    ("--phase=valid", "no folder 'validA'"),
    ("--batch_size=0", "--batch_size: must be a whole number of at least 1"),
    ("--batch_size=many", "--batch_size: must be a whole number"),
    ("--batch_size=99999999999999999999", "--batch_size"),
    ("--lr=nan", "--lr: must be a number above 0"),
    ("--lr_N=0", "--lr_N: must be a number above 0"),
    ("--beta2=1", "--beta1 and --beta2 must be below 1"),
    ("--n_epochs=0 --n_epochs_decay=0", "nothing to train"),
    ("--crop_size=21", "--crop_size 21 is larger than --load_size 20"),
    ("--crop_size=3 --load_size=3", "--crop_size"),
    ("--preprocess=resise", "--preprocess resise"),
    ("--preprocess=", "--preprocess"),
    ("--netG=resnet", "--netG: invalid choice: 'resnet'"),
    ("--netD=none", "--netD: invalid choice"),
    ("--netF=mlp", "--netF: invalid choice"),
    ("--netN=negative", "--netN: invalid choice"),
    ("--normG=layer", "--normG: invalid choice"),
    ("--NEGCUT_mode=NEG", "--NEGCUT_mode: invalid choice"),
    ("--gan_mode=hinge", "--gan_mode: invalid choice"),
    ("--lr_policy=onecycle", "--lr_policy: invalid choice"),
    ("--init_type=he", "--init_type: invalid choice"),
    ("--direction=AtoC", "--direction: invalid choice"),
    ("--model=gan", "--model gan: there is no models/gan_model.py"),
    ("--model=../train", "--model ../train"),
    ("--dataset_mode=video", "--dataset_mode video: there is no data/video_dataset.py"),
    ("--dataset_mode=aligned", "no folder 'train'"),
    ("--gpu_ids=first", "--gpu_ids must be a GPU's number"),
    ("--gpu_ids=512", "GPU 512 is not there"),
    ("--name=../elsewhere", "--name must be a folder's name"),
    ("--name=", "--name must be a folder's name"),
    ("--name=" + "n" * 256, "--name"),
    ("--name=a\0b", "--name"),
    ("--name=caf\udce9", r"--name 'caf\udce9' is not UTF-8"),
    ("--suffix={nothing}", "--suffix {nothing}"),
    ("--checkpoints_dir=images/trainA/0.png", "--checkpoints_dir images/trainA/0.png cannot be written to"),
    ("--name=images/trainA/0.png --checkpoints_dir=.", "--checkpoints_dir . cannot be written to"),
    ("--name=images/trainA/0.png/run --checkpoints_dir=.", "trainA/0.png; name a folder that can"),
    ("--nce_layers=0,four", "--nce_layers: must be different layer indices"),
    ("--nce_layers=0,99", "--nce_layers"),
    ("--num_patches=1", "--num_patches 1"),
    ("--num_patches=-1", "--num_patches: must be a whole number"),
    ("--nce_T=0", "--nce_T: must be a number above 0"),
    ("--nce_idt=perhaps", "--nce_idt: must be true or false"),
    ("--input_nc=1", "--nce_idt"),
    ("--input_nc=1 --nce_idt=false", "give both the same value"),
    ("--epoch_count=401", "nothing to train"),
    ("--input_nc=4 --output_nc=4", "loads 1 or 3 channels, not 4"),
    ("--time_budget=5d", "--time_budget"),
    ("--save_latest_every=-1m", "--save_latest_every"),
    ("--keep_checkpoints=0", "--keep_checkpoints: must be a whole number of at least 1"),
    ("--max_dataset_size=0", "--max_dataset_size"),
    ("--num_threads=-1", "--num_threads"),
    ("--seed=-1", "--seed: must be a whole number of at least 0"),
    ("--seed=99999999999999999999999", "--seed"),
    ("--display_port=99999", "--display_port"),
    ("--precision=tf32", "--precision tf32"),
    ("--precision=fp64", "--precision: invalid choice"),
    ("--pretrained_name=nothing", "nothing"),
    ("--pretrained_name=run --ngf=3", "latest_net_G.pth is of another architecture"),
    ("--name=nothing --continue_train", "--name nothing: there is no folder"),
    ("--name=run --continue_train --epoch=77", "77_net_G.pth does not exist; --epoch must name"),
    ("--name=run --continue_train --netG=resnet_6blocks", "--netG resnet_6blocks: the run in"),
    ("--name=run --continue_train --NEGCUT_mode=FastNEGCUT", "--NEGCUT_mode FastNEGCUT: the run in"),
    ("--eval_freq=1", "--eval_freq needs at least 2 images"),
]


@pytest.mark.parametrize(("flags", "says"), FLAG_ROWS, ids=[row[0][:40].replace("\0", "0") for row in FLAG_ROWS])
def test_flags(place, monkeypatch, flags, says):
    assert says in sentence(train.main, [*GOOD, *flags.split(" ")], monkeypatch)


TEST_ROWS = [
    ("--epoch=3", "3_net_G.pth does not exist; --epoch must name a checkpoint that was saved, such as latest"),
    ("--epoch=../run/latest", "--epoch"),
    ("--name=nothing", "--name nothing: there is no folder"),
    ("--phase=holiday", "no folder 'holidayA'"),
    ("--num_test=0", "--num_test"),
    ("--aspect_ratio=0", "--aspect_ratio: must be a number above 0"),
    ("--results_dir=images/trainA/0.png", "--results_dir"),
    ("--ngf=3", "latest_net_G.pth is of another architecture"),
    ("--netG=unet_128", "latest_net_G.pth is of another architecture"),
    ("--lr=1", "unrecognized arguments: --lr=1"),
]


@pytest.mark.parametrize(("flags", "says"), TEST_ROWS, ids=[row[0] for row in TEST_ROWS])
def test_flags_of_the_test(place, monkeypatch, flags, says):
    assert says in sentence(translate.main, [*TEST, *flags.split(" ")], monkeypatch)


def bytes_of(kind: str) -> bytes:
    """A picture of that format."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)).save(file, kind)
    return file.getvalue()


def declared_size(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is so large."""
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    body = b"IDAT" + zlib.compress(b"")
    chunks = [(13, header), (len(body) - 4, body), (0, b"IEND")]
    parts = [n.to_bytes(4, "big") + part + zlib.crc32(part).to_bytes(4, "big") for n, part in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def floats() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((20, 20), np.float32)).save(file, "TIFF")
    return file.getvalue()


IMAGE_ROWS = [
    ("empty.png", lambda: b"", "is empty (0 bytes)"),
    ("text.jpg", lambda: b"<html>404</html>", "is HTML or XML, such as a page"),
    ("half.png", lambda: bytes_of("PNG")[:-400], "cannot be read as an image"),
    ("half.jpg", lambda: bytes_of("JPEG")[:-200], "cannot be read as an image"),
    ("half.webp", lambda: bytes_of("WEBP")[:-200], "cannot be read as an image"),
    ("spoilt.png", lambda: bytes_of("PNG").replace(b"IDAT", b"IDAX"), "is a damaged PNG file"),
    ("bomb.png", lambda: declared_size(100_000, 100_000), "has 100000 x 100000 pixels, more than --max_pixels"),
    ("bomb2.png", lambda: declared_size(2**31 - 1, 2**31 - 1), "more than --max_pixels"),
    ("none.png", lambda: declared_size(0, 7), "is a damaged PNG file"),
    ("float.tif", floats, "holds float values, 0 to 0: --value_range LOW HIGH"),
    ("with space.png", lambda: b"", "'images/trainA/with space.png' is empty"),
    ("new\nline.png", lambda: b"", r"'images/trainA/new\nline.png' is empty"),
    ("return\r.png", lambda: b"", r"'images/trainA/return\r.png' is empty"),
    ("<img src=x onerror=alert(1)>.png", lambda: b"", "<img src=x onerror=alert(1)>.png' is empty"),
    ("зебра-馬-🦓.png", lambda: b"", "зебра-馬-🦓.png' is empty"),
    ("--rf.png", lambda: b"", "--rf.png' is empty"),
    ("n" * 251 + ".png", lambda: b"", "n.png' is empty"),
    ("\udcff.png", lambda: b"", r"\udcff.png' is empty"),
]


@pytest.mark.parametrize(("name", "content", "says"), IMAGE_ROWS, ids=[ascii(row[0])[:30] for row in IMAGE_ROWS])
def test_images(place, monkeypatch, name, content, says):
    try:
        (place / "images/trainA" / name).write_bytes(content())
    except (OSError, UnicodeError):
        pytest.skip("this file system does not take such a name")
    message = sentence(train.main, GOOD, monkeypatch)
    assert message.startswith("mend or remove 1 of 4 images: ") and says in message
    message.encode()  # it can be printed


def empty_folder(place):
    for path in (place / "images/trainB").iterdir():
        path.unlink()


def no_folder(place):
    empty_folder(place)
    (place / "images/trainB").rmdir()


def file_for_folder(place):
    no_folder(place)
    (place / "images/trainB").write_text("not a folder")


def only_text(place):
    empty_folder(place)
    (place / "images/trainB/readme.txt").write_text("images are elsewhere")


def only_hidden(place):
    empty_folder(place)
    (place / "images/trainB/.0.png").write_bytes(bytes_of("PNG"))


def broken_link(place):
    (place / "images/trainB/link.png").symlink_to("nowhere.png")


def link_to_itself(place):
    (place / "images/trainB/loop.png").symlink_to("loop.png")


def loop_of_folders(place):
    empty_folder(place)
    (place / "images/trainB/again").symlink_to("..")
    (place / "images/trainA").rename(place / "aside")


def folder_named_as_image(place):
    empty_folder(place)
    (place / "images/trainB/0.png").mkdir()


def small_image(place):
    Image.new("RGB", (9, 30)).save(place / "images/trainB/small.png")


def other_size(place):
    Image.new("RGB", (40, 30)).save(place / "images/trainB/other.png")


def two_folders_of_photos(place):
    for side in "AB":
        (place / f"images/train{side}").rename(place / f"images/{side}")


def photos_themselves(place):
    for path in list((place / "images/trainA").iterdir()):
        path.rename(place / "images" / path.name)
    (place / "images/trainA").rmdir()


FOLDER_ROWS = [
    (two_folders_of_photos, "", "'testA', 'testB'; python scripts/data/prepare_images.py A B --out FOLDER"),
    (photos_themselves, "", "it holds images itself: python scripts/data/prepare_images.py A B"),
    (
        empty_folder,
        "--dataroot=images/trainA",
        "has no folder 'trainA', which --dataset_mode unaligned needs; it is that",
    ),
    (empty_folder, "--phase=valid", "has no folder 'validA', which --dataset_mode unaligned needs with --phase valid"),
    (empty_folder, "", "'images/trainB' holds no images"),
    (no_folder, "", "has no folder 'trainB'"),
    (file_for_folder, "", "trainB"),
    (only_text, "", "'images/trainB' holds no images"),
    (only_hidden, "", "'images/trainB' holds no images"),
    (folder_named_as_image, "", "holds no images"),
    (broken_link, "", "'images/trainB/link.png' does not exist"),
    (link_to_itself, "", "loop.png"),
    (loop_of_folders, "", "trainA"),
    (small_image, "--preprocess=crop", "1 of 5 images are smaller than --crop_size 16"),
    (other_size, "--preprocess=none --batch_size=2", "--batch_size 2 with --preprocess none needs images of one size"),
]


@pytest.mark.parametrize(("spoil", "flags", "says"), FOLDER_ROWS, ids=[row[0].__name__ for row in FOLDER_ROWS])
def test_folders(place, monkeypatch, spoil, flags, says):
    spoil(place)
    assert says in sentence(train.main, [*GOOD, *flags.split()], monkeypatch)


class Bomb:
    """Unpickled, it makes a folder."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path):
    path.write_bytes(b"")


def noise(path):
    path.write_bytes(bytes(range(256)) * 8)


def code(path):
    path.write_bytes(pickle.dumps({"model.1.weight": Bomb()}))


def code_in_an_archive(path):
    torch.save({"model.1.weight": Bomb()}, path)


def whole_module(path):
    torch.save(torch.nn.Linear(1, 1), path)


def folder(path):
    path.unlink()
    path.mkdir()


def number(path):
    torch.save(7, path)


def nothing(path):
    torch.save({}, path)


def other_network(path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)


def not_tensors(path):
    torch.save({"epoch": 3, "weights": [1, 2]}, path)


def newer(path):
    torch.save(torch.load(path, weights_only=True) | {"version": 2}, path)


def without_version(path):
    torch.save({"model": {}}, path)


def change(path, **entries):
    torch.save(torch.load(path, weights_only=True) | entries, path)


def no_position(path):
    change(path, position=None)


def odd_position(path):
    change(path, position={"epoch": 1, "page": 3})


def odd_options(path):
    change(path, options=[1, 2])


def no_optimizers(path):
    change(path, model=torch.load(path, weights_only=True)["model"] | {"optimizers": []})


def odd_numbers(path):
    state = torch.load(path, weights_only=True)
    state["ranks"][0]["rng"]["torch"] = torch.zeros(3)
    torch.save(state, path)


def numbered_keys(path):
    torch.save({0: torch.zeros(3)}, path)


def sparse(path):
    torch.save({k: v.to_sparse() for k, v in torch.load(path, weights_only=True).items()}, path)


def without_data(path):
    torch.save({k: v.to("meta") for k, v in torch.load(path, weights_only=True).items()}, path)


def garbage(path):
    path.write_text("{'netG': ")


def a_list(path):
    path.write_text("[1, 2]")


def null_bytes(path):
    path.write_bytes(b"\0" * 100)


def wrong_values(path):
    edit(path, batch_size="many")


def edit(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def an_empty_list(path):
    path.write_text("[]")


def odd_sources(path):
    edit(path, sources=None)


def negative_size(path):
    edit(path, ngf=-4)


def number_for_text(path):
    edit(path, netG=5)


def list_for_number(path):
    edit(path, crop_size=[16])


CHECKPOINT_ROWS = [
    *[("latest_net_G.pth", spoil, TEST) for spoil in (truncated, emptied, noise, code, code_in_an_archive)],
    *[("latest_net_G.pth", spoil, TEST) for spoil in (whole_module, number, nothing, other_network, not_tensors)],
    *[("latest_net_G.pth", spoil, TEST) for spoil in (folder, numbered_keys, sparse, without_data)],
    *[("latest_state.pt", spoil, RESUME) for spoil in (truncated, emptied, noise, code, code_in_an_archive)],
    *[("latest_state.pt", spoil, RESUME) for spoil in (number, newer, without_version, no_position, odd_position)],
    *[("latest_state.pt", spoil, RESUME) for spoil in (odd_options, no_optimizers, odd_numbers, folder)],
    *[("train_opt.json", spoil, RESUME) for spoil in (garbage, a_list, null_bytes, wrong_values, folder)],
    *[("train_opt.json", spoil, RESUME) for spoil in (negative_size, number_for_text, list_for_number, odd_sources)],
    *[("train_opt.json", spoil, TEST) for spoil in (garbage, null_bytes, negative_size, list_for_number)],
    *[("train_opt.json", spoil, TEST) for spoil in (an_empty_list, odd_sources)],
]


@pytest.mark.parametrize(
    ("file", "spoil", "flags"), CHECKPOINT_ROWS, ids=[f"{row[0]}-{row[1].__name__}" for row in CHECKPOINT_ROWS]
)
def test_checkpoints(place, monkeypatch, file, spoil, flags):
    spoil(place / "checkpoints/run" / file)
    message = sentence(translate.main if flags is TEST else train.main, flags, monkeypatch)
    assert file in message
    assert not (place / "exploded").exists()


def test_weights_of_every_network_are_checked_on_resume_without_a_state(place, monkeypatch):
    (place / "checkpoints/run/latest_state.pt").unlink()
    truncated(place / "checkpoints/run/latest_net_N.pth")
    assert "latest_net_N.pth cannot be loaded" in sentence(train.main, RESUME, monkeypatch)


def test_the_good_training_is_good(place, monkeypatch):
    """Or else the rows above would show nothing."""
    monkeypatch.setattr(sys, "argv", ["train.py", *GOOD, "--time_budget=0.0001s"])
    with pytest.raises(SystemExit) as end:
        train.main()
    assert end.value.code == 75
    monkeypatch.setattr(sys, "argv", ["train.py", *RESUME, "--time_budget=0.0001s"])
    with pytest.raises(SystemExit) as end:
        train.main()
    assert end.value.code == 75
    monkeypatch.setattr(sys, "argv", ["test.py", *TEST])
    translate.main()
    assert len(list((place / "results/run/test_latest").rglob("*.png"))) > 1


NAMES = ["with space", "new\nline", "<img src=x onerror=alert(1)>", "зебра-馬-🦓", "--rf", "n" * 251, "100%"]
NAMES += ["\udcff", "a&b'c\"d"]


@pytest.mark.slow
def test_good_images_with_odd_names_are_trained_on_and_translated(place, monkeypatch):
    """Loops of links among them end; pages hold no name as it is."""
    for name in NAMES:
        for folder in ("trainA", "testA"):
            (place / "images" / folder / f"{name}.png").write_bytes(bytes_of("PNG"))
    (place / "images/trainA/again").symlink_to(".")
    flags = [*GOOD, "--n_epochs=1", "--n_epochs_decay=0", "--update_html_freq=1"]
    flags.remove("--no_html")
    monkeypatch.setattr(sys, "argv", ["train.py", *flags])
    with pytest.raises(SystemExit) as end:
        train.main()
    assert end.value.code == 0
    monkeypatch.setattr(sys, "argv", ["test.py", *TEST, "--name=new"])
    translate.main()
    results = place / "results/new/test_latest"
    assert len(list((results / "images/fake_B").iterdir())) == len(NAMES) + 1
    for page in (results / "index.html", place / "checkpoints/new/web/index.html"):
        assert "<img src=x onerror" not in page.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["train.py", *GOOD, "--netG=resnet"], "error: argument --netG: invalid choice: 'resnet'"),
        (["train.py", *GOOD, "--phase=valid"], "error: --dataroot 'images' has no folder 'validA'"),
        (["train.py", *GOOD, "--checkpoints_dir=images/trainA/0.png"], "error: --checkpoints_dir images/trainA"),
        (["train.py", *RESUME, "--epoch=77"], "error: checkpoints/run/77_net_G.pth does not exist"),
        (["test.py", *TEST, "--name=nothing"], "error: --name nothing: there is no folder"),
        (["test.py", *TEST, "--epoch=spoilt"], "error: checkpoints/run/spoilt_net_G.pth cannot be loaded"),
    ],
)
def test_commands(place, command, says):
    code(place / "checkpoints/run/spoilt_net_G.pth")
    before = tree(place)
    done = subprocess.run([sys.executable, ROOT / command[0], *command[1:]], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(says) and done.stderr.count("\n") == 1, done.stderr
    assert tree(place) == before and not (place / "exploded").exists()
