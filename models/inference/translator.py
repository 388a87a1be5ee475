"""A trained generator as a function from picture to picture, for notebooks and scripts/translate.py.

from util.translator import Translator
Translator("checkpoints/h2z")(Image.open("horse.jpg")).save("zebra.png")
"""

import hashlib
import math
from argparse import Namespace
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from models import find_model_using_name, networks
from models.inference.architecture import guess_network, load_weights
from models.inference.tiling import Tick, reach
from models.inference.trained import find
from models.inference.translate import translate_pixels
from models.networks.blocks import make_channels_last
from util import device_kinds, pictures
from util.device_kinds import PRECISIONS
from util.devices import choose_device, free_memory
from util.errors import UserError
from util.flag_types import non_negative_int
from util.pictures import MAX_PIXELS, MODES, Reader
from util.pixels import NotTaken, transparency
from util.precision import configured, fast_settings, run_networks_in, usable
from util.run import checkpoints
from util.run.saved_options import read_options, readers_of_run


class Translator:
    """``source``: an experiment's folder, a generator's ``.pth`` file (any of this family, official ones too), or the
    name of weights that the repository holds (models/inference/weights).

    epoch: latest, best or a number. net: the name of another network than the one that translates in the trained
    direction, such as G_B or G_ema. device: by default a GPU if there is one. precision: fp32, tf32 or bf16; None: the
    one that the experiment was trained in, of a file fp32.
    tile: pixels; pictures of more than tile x tile are translated in tiles (None: what surely fits, 0: never).
    evaluate: batch norm and dropout in evaluation mode, as with test.py --eval. reader: how pictures become pixels; by
    default as in the training.
    ``UserError`` for what cannot be loaded.
    """

    def __init__(
        self,
        source: str | Path,
        epoch: str | int = "latest",
        net: str | None = None,
        device: str | None = None,
        precision: str | None = None,
        tile: int | None = None,
        evaluate: bool = False,
        reader: Reader | None = None,
    ):
        self.device = choose_device(None, None) if device is None else torch.device(device)
        self.tile = pixels_at_once(self.device) if tile is None else tile
        source = find(source, "the source")
        self.reader = reader or readers_of_run(source, None, MAX_PIXELS)[0]
        if source.is_file():
            self.net, own_precision = load_file(source), "fp32"
        else:
            self.net, own_precision = load_experiment(source, epoch, net, self.device)
        self.precision = usable(precision or own_precision, self.device, asked_for=precision is not None)
        self.net.to(self.device).requires_grad_(False).train(not evaluate)
        make_channels_last(self.net)
        run_networks_in(self.precision, self.device, self.net)
        self.stride, self.radius = reach(self.net)
        self.input_nc = next(p for p in self.net.parameters() if p.dim() == 4).shape[1]
        if self.input_nc not in MODES:
            raise UserError(f"{source} takes images of {self.input_nc} channels; pictures have 1 or 3: use test.py")

    def __call__(self, image: Image.Image) -> Image.Image:
        """One picture of any size and mode -> the translation, of its size, upright, in sRGB, with its transparency."""
        return self.translate([image])[0]

    def translate(self, images: list[Image.Image]) -> list[Image.Image]:
        """Several pictures; those of one size are one batch."""
        try:
            return self.translate_read((self.reader.convert(im, self.input_nc), transparency(im)) for im in images)
        except NotTaken as error:
            raise UserError(f"a picture {error}") from error

    def translate_read(
        self, images: Iterable[tuple[Image.Image, Image.Image | None]], tick: Tick = lambda *_: None
    ) -> list[Image.Image]:
        """The same of pictures as ``Reader.open_with_transparency`` gives them; they are let go of one by one, as large
        ones have to be. ``tick(done, of)`` comes after each pass of those that go in tiles."""
        read = [(np.atleast_3d(np.asarray(image)), alpha) for image, alpha in images]
        pixels, alphas = {i: array for i, (array, _) in enumerate(read)}, [alpha for _, alpha in read]
        del read
        results: dict[int, Image.Image] = {}
        while pixels:
            shape = next(iter(pixels.values())).shape
            same = {i: pixels.pop(i) for i in [i for i, array in pixels.items() if array.shape == shape]}
            with configured(self.precision):
                translated = translate_pixels(self.net, list(same.values()), self.tile, tick)
            for i in same:
                results[i] = to_image(translated.pop(0))
        for i, alpha in enumerate(alphas):
            if alpha is not None:
                results[i].putalpha(alpha)
        return [results[i] for i in range(len(alphas))]


def add_flags(add: Callable) -> None:
    """How pictures are translated, for ``with_flags``; ``add`` is a parser's ``add_argument``."""
    add("--precision", choices=PRECISIONS, help="arithmetic; without the flag that of the training, of a file fp32")
    add("--tile", type=non_negative_int, help="pixels: larger pictures than this squared go in tiles; 0: never")
    add("--eval", action="store_true", help="batch norm and dropout in evaluation mode")
    device_kinds.add_flags(add)
    pictures.add_flags(add)


def with_flags(args: Namespace, source: Path, epoch: str, net: str | None) -> Translator:
    reader, _ = readers_of_run(source, args.value_range, args.max_pixels)
    device = choose_device(args.gpu_ids, args.device)
    return Translator(source, epoch, net, device, args.precision, args.tile, args.eval, reader)


def fingerprint(net: nn.Module) -> str:
    """Of the weights: equal for equal ones."""
    digest = hashlib.sha256()
    for name, value in net.state_dict().items():
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def pixels_at_once(device: torch.device) -> int:
    """Side of a square that surely fits: a default generator in fp32 takes about 1.7 KB a pixel, 2.3 GB in all for the
    1024 that are chosen on a CPU."""
    free = free_memory(device)
    if free is None:
        return 1024
    return max(512, min(4096, math.isqrt(free // 4096) // 256 * 256))


def to_image(pixels: np.ndarray) -> Image.Image:
    channels = pixels.shape[2]
    if channels not in MODES:
        raise UserError(f"the network gives images of {channels} channels; pictures have 1 or 3: use test.py")
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if channels == 1 else pixels))


def load_experiment(folder: Path, epoch: str | int, name: str | None, device: torch.device) -> tuple[nn.Module, str]:
    """The generator of an experiment, by the options saved beside it, and the precision in which test.py would run it
    on ``device``."""
    saved = read_options(folder, "name the generator's .pth file")
    if saved is None:  # trained with an official code base
        return load_file(folder / f"{epoch}_net_{name or 'G'}.pth", "--epoch"), "fp32"
    opt = Namespace(**saved)
    by_fast = opt.sources.get("precision") == "--fast"  # which chooses anew, for this device
    own_precision = str(fast_settings(device)["precision"] if by_fast else saved.get("precision", "fp32"))
    opt.isTrain, opt.gpu_ids, opt.device = False, [], torch.device("cpu")
    opt.precision, opt.channels_last = "fp32", False  # are the caller's affair
    try:
        model = find_model_using_name(opt.model)(opt)
        model.see_first_batch([dummy_batch(opt)])
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:  # an option that is odd or missing
        raise UserError(
            f"{folder / 'train_opt.json'} describes no network ({' '.join(str(error).split())[:200]}); restore it, or "
            "name the generator's .pth file"
        ) from error
    own = name and name != "G_ema"  # the average is of what translates, which CycleGAN calls G_A
    net = getattr(model, "net" + name.removesuffix("_ema"), None) if own else model.generator()
    if not isinstance(net, nn.Module):
        raise UserError(f"{folder} has no network {name}; its networks are {', '.join(model.networks())}")
    name = name or next(key for key, value in model.networks().items() if value is net)
    load_weights(net, folder / f"{epoch}_net_{name}.pth", model.architecture_flags)
    return net, own_precision


def dummy_batch(opt: Namespace) -> dict:
    """For models that make networks in their first forward pass."""
    side = opt.crop_size
    A, B = torch.zeros(1, opt.input_nc, side, side), torch.zeros(1, opt.output_nc, side, side)
    if opt.direction == "BtoA":
        A, B = B, A
    return {"A": A, "B": B, "A_paths": [""], "B_paths": [""]}


def load_file(path: Path, flag: str = "--weights") -> nn.Module:
    """A generator of the architecture that its weights tell."""
    guess = guess_network(checkpoints.read_weights(path, flag))
    if guess is None or guess.kind != "generator":
        found = f"it is a {guess.kind}" if guess else "its architecture is unknown"
        raise UserError(f"{path} is no generator of this family ({found}); name one, such as latest_net_G.pth")
    flags = dict(normG="instance", no_dropout=True, no_antialias=False, no_antialias_up=False)
    net = networks.create_G(Namespace(init_type="xavier", init_gain=0.02, gpu_ids=[], **flags | guess.flags))
    load_weights(net, path, "", flag)
    return net
