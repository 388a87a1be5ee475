"""Pictures of any size and mode through a trained generator."""

import json
import tracemalloc
import weakref

import numpy as np
import pytest
import torch
from drawn_family import draw_pair, options_of
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

import options
from models import create_model, networks
from models.inference.translator import load_file
from util.errors import UserError
from util.images import tensor2im
from util.translator import Translator

TINY = ["--netG", "resnet_4blocks", "--ngf", "2", "--ndf", "2", "--init_type", "kaiming"]


def save_run(folder, name, *flags):
    """An experiment with weights as training would leave it."""
    opt = options_of(folder, "--name", name, *TINY, *flags)
    model = create_model(opt)
    model.setup(opt)
    model.save_networks("latest")
    options.save_options(opt, folder / name)
    return model


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    models = {"cut": save_run(folder, "cut", "--model", "cut", "--ema_decay", "0.9")}
    models["cycle"] = save_run(folder, "cycle", "--model", "cycle_gan", "--ema_decay", "0.9")
    models["gray"] = save_run(folder, "gray", "--model", "pix2pix", "--input_nc", "1", "--no_dropout")
    return folder, models


@pytest.fixture(scope="module")
def translator(runs):
    return Translator(runs[0] / "cut", device="cpu")


def photo(width=20, height=16, mode="RGB"):
    return Image.fromarray(draw_pair(3, 64)[1][:height, :width]).convert(mode)


def array(image):
    return np.asarray(image).astype(int)


def test_it_does_what_the_model_does(runs, translator):
    image = photo(36, 28)
    x = torch.from_numpy(np.asarray(image).transpose(2, 0, 1)[None] / 127.5 - 1).float()
    wanted = tensor2im(runs[1]["cut"].netG(x))
    assert np.abs(array(translator(image)) - wanted).max() <= 1
    assert wanted.std() > 10


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from(["RGB", "L", "RGBA", "LA", "P", "CMYK", "I;16", "1"]))
def test_every_size_and_mode_is_kept(translator, width, height, mode):
    image = photo(width, height, "L" if mode in ("I;16",) else "RGB")
    image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    output = translator(image)
    assert output.size == (width, height)
    assert output.mode == ("RGBA" if mode in ("RGBA", "LA") else "RGB")


def test_padding_changes_only_the_border(translator):
    """A side that is no multiple of 4 is filled up by reflection and cut back."""
    image = photo(41, 31)
    padded = Image.fromarray(np.pad(np.asarray(image), ((0, 1), (0, 3), (0, 0)), "reflect"))
    assert np.array_equal(array(translator(image)), array(translator(padded))[:31, :41])


def test_transparency_is_kept(translator):
    image = photo(40, 24, "RGBA")
    alpha = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40), dtype=np.uint8))
    image.putalpha(alpha)
    output = translator(image)
    assert output.mode == "RGBA" and np.array_equal(array(output.getchannel("A")), array(alpha))
    white = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    assert np.array_equal(array(output.convert("RGB")), array(translator(white)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(translator, orientation, tmp_path):
    image = photo(24, 16)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "x.png", exif=exif)
    loaded = Image.open(tmp_path / "x.png")
    output = translator(loaded)
    assert output.size == ((16, 24) if orientation > 4 else (24, 16))
    assert output.getexif().get(0x0112, 1) == 1
    turned = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}[orientation]  # Image.Transpose
    upright = image if turned is None else image.transpose(turned)
    assert np.array_equal(array(output), array(translator(upright)))
    assert loaded.size == (24, 16)  # the caller's picture stays as it was


def test_16_bits_are_scaled(translator):
    gray = np.asarray(photo(20, 16, "L"))
    deep = Image.fromarray(gray.astype(np.uint16) * 257)
    assert deep.mode == "I;16"
    assert np.array_equal(array(translator(deep)), array(translator(Image.fromarray(gray))))


def test_a_colour_profile_is_followed(translator):
    """sRGB's with the entries of red and green exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace("sRGB".encode("utf-16-be"), "xRGB".encode("utf-16-be"))
    table = profile[128:400].replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    red, green, blue = photo().split()
    image = Image.merge("RGB", (green, red, blue))
    image.info["icc_profile"] = profile[:128] + table + profile[400:]
    assert np.abs(array(translator(image)) - array(translator(photo()))).mean() < 4
    assert np.abs(array(translator(Image.merge("RGB", (green, red, blue)))) - array(translator(photo()))).mean() > 8


def test_a_batch_equals_single_pictures(translator):
    images = [photo(24, 16), photo(20, 16), photo(24, 16).rotate(180), photo(16, 24, "L")]
    for one, output in zip(images, translator.translate(images), strict=True):
        assert np.abs(array(output) - array(translator(one))).max() <= 1


def test_batch_norm_does_not_mix_pictures(runs):
    gray = Translator(runs[0] / "gray", device="cpu")
    images = [photo(24, 16), photo(24, 16).rotate(180)]
    for one, output in zip(images, gray.translate(images), strict=True):
        assert np.array_equal(array(output), array(gray(one)))
    assert gray(images[0]).mode == "RGB"
    evaluated = Translator(runs[0] / "gray", device="cpu", evaluate=True)
    assert not np.array_equal(array(evaluated(images[0])), array(gray(images[0])))


def test_large_pictures_go_in_tiles(runs, translator):
    image = Image.fromarray(draw_pair(3, 600)[1][:, :420])
    tiled = Translator(runs[0] / "cut", device="cpu", tile=256)
    assert tiled(image).size == (420, 600)
    assert np.abs(array(tiled(image)) - array(translator(image))).mean() < 4
    assert not np.array_equal(array(tiled(image)), array(translator(image)))


@pytest.mark.parametrize("net", ["G_A", "G_B"])
def test_networks_by_name(runs, net):
    folder, models = runs
    named = Translator(folder / "cycle", net=net, device="cpu")
    file = Translator(folder / "cycle" / f"latest_net_{net}.pth", device="cpu")
    assert np.array_equal(array(named(photo())), array(file(photo())))
    weights = getattr(models["cycle"], "net" + net).state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in named.net.state_dict().items())


def test_by_default_the_network_of_the_trained_direction(runs):
    net = Translator(runs[0] / "cycle", device="cpu").net
    assert torch.equal(net.model[1].weight, runs[1]["cycle"].netG_A.model[1].weight)


@pytest.mark.parametrize("name", ["cut", "cycle"])
def test_averaged_weights_and_other_epochs(name, runs):
    folder, models = runs
    models[name].netG_ema.model[1].weight.data.mul_(-1)
    models[name].save_networks("best")
    ema = Translator(folder / name, epoch="best", net="G_ema", device="cpu")
    assert torch.equal(ema.net.model[1].weight, -Translator(folder / name, device="cpu").net.model[1].weight)


def test_an_official_folder_has_weights_alone(runs, tmp_path, translator):
    (tmp_path / "pretrained").mkdir()
    state = torch.load(runs[0] / "cut" / "latest_net_G.pth", weights_only=True)
    torch.save({"module." + key: value for key, value in state.items()}, tmp_path / "pretrained" / "latest_net_G.pth")
    official = Translator(tmp_path / "pretrained", device="cpu")
    assert np.array_equal(array(official(photo())), array(translator(photo())))


def test_stylegan2_gives_the_same_picture_twice(tmp_path):
    model = save_run(tmp_path, "sin", "--model", "sincut", "--netG", "stylegan2", "--crop_size", "32", "--ngf", "1")
    torch.nn.init.constant_(model.netG.decoder.convs[-2].noise.weight, 1.0)
    model.save_networks("latest")
    sin = Translator(tmp_path / "sin", device="cpu")
    assert np.array_equal(array(sin(photo(33, 21))), array(sin(photo(33, 21))))
    file = Translator(tmp_path / "sin" / "latest_net_G.pth", device="cpu")
    assert np.array_equal(array(sin(photo(33, 21))), array(file(photo(33, 21))))


def test_bfloat16_is_close(runs, translator):
    half = Translator(runs[0] / "cut", device="cpu", precision="bf16")
    assert np.abs(array(half(photo(40, 40))) - array(translator(photo(40, 40)))).mean() < 4


def test_what_cannot_be_loaded(runs, tmp_path):
    folder = runs[0]
    with pytest.raises(UserError, match="no such file"):
        Translator(tmp_path / "missing")
    with pytest.raises(UserError, match="--epoch.*latest"):
        Translator(folder / "cut", epoch=7)
    with pytest.raises(UserError, match="no network G_X.*G_A, G_B"):
        Translator(folder / "cycle", net="G_X")
    with pytest.raises(UserError, match="patch projector"):
        Translator(folder / "cut" / "latest_net_F.pth")
    (tmp_path / "train_opt.json").write_text("{")
    with pytest.raises(UserError, match="train_opt.json"):
        Translator(tmp_path)
    torch.save({"a": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="unknown"):
        load_file(tmp_path / "x.pth")


@pytest.mark.parametrize("change", [{"ngf": None}, {"crop_size": None}, {"ngf": -1}, {"netG": [5]}])
def test_options_that_describe_no_network(change, runs, tmp_path):
    """None stands for one that is left out."""
    values = json.loads((runs[0] / "cut" / "train_opt.json").read_text()) | change
    values = {key: value for key, value in values.items() if value is not None}
    (tmp_path / "train_opt.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match="train_opt.json describes no network .*name the generator's .pth file"):
        Translator(tmp_path, device="cpu")


def test_channels_that_no_picture_has(tmp_path):
    save_run(tmp_path, "two", "--model", "template", "--input_nc", "2")
    with pytest.raises(UserError, match="2 channels"):
        Translator(tmp_path / "two")
    save_run(tmp_path, "two", "--model", "template", "--output_nc", "2")
    with pytest.raises(UserError, match="2 channels"):
        Translator(tmp_path / "two", device="cpu")(photo())


def test_a_network_that_gives_features_beside_its_picture(runs, monkeypatch):
    translator = Translator(runs[0] / "cut", device="cpu")
    monkeypatch.setattr(translator.net, "forward", lambda x: (x, x))
    with pytest.raises(UserError, match="gives a tuple instead of pictures: use test.py"):
        translator(photo())


def test_options_of_an_older_version(runs, tmp_path):
    """A flag that did not exist when the model was trained."""
    folder = runs[0] / "cut"
    values = json.loads((folder / "train_opt.json").read_text())
    for key in ("precision", "channels_last", "fast", "compile"):
        values.pop(key, None)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "train_opt.json").write_text(json.dumps(values))
    (tmp_path / "old" / "latest_net_G.pth").write_bytes((folder / "latest_net_G.pth").read_bytes())
    assert Translator(tmp_path / "old", device="cpu")(photo()).size == (20, 16)


def test_a_large_picture_is_held_once(tmp_path):
    """At most 12 bytes a pixel: arrays of up to 8, and 4 of the result's image; the input's has been let go."""
    side = 1024
    torch.manual_seed(0)
    torch.save(networks.define_G(3, 3, 1, "resnet_4blocks", "none").state_dict(), tmp_path / "x_net_G.pth")
    translator = Translator(tmp_path / "x_net_G.pth", device="cpu", tile=256)
    inputs, alive = [], []

    def read():
        image = Image.effect_mandelbrot((side, side), (-2, -1, 1, 1), 50).convert("RGB")
        inputs.append(weakref.ref(image))
        yield image, None
        del image

    translator.net.register_forward_pre_hook(lambda *_: alive.append(inputs[0]() is not None))
    tracemalloc.start()
    try:
        (translation,) = translator.translate_read(read())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert translation.size == (side, side) and alive and not any(alive)
    assert 6 * side**2 < peak < 8 * side**2
