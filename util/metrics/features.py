"""Feature spaces: which network looks at the images, with which weights and which resize.

All run as torch-fidelity's extractors: its Inception of FID, our EfficientNet-Lite0, or whatever else it
registers.
"""

import hashlib
import socket
from itertools import groupby
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import torch
import torch_fidelity
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY
from torch_fidelity.utils import create_feature_extractor

from util.errors import UserError
from util.metrics import effnet
from util.metrics.images import to_network_size
from util.precision import configured, no_autocast

INCEPTION = "inception-v3-compat"  # torch-fidelity's name for what we call inception
# The resizes of a feature space, its default first; others have torch-fidelity's alone.
OFFERED = {"inception": ("fidelity", "pillow", "clean", "legacy"), effnet.NAME: ("pillow", "clean", "legacy")}


class FeatureSpace:
    """Turns images into features: ``space(images)`` -> {layer: (N, ...) float32 on the CPU}.

    ``layer`` is the one that distances are taken in; ``identity`` tells apart whatever changes the features:
    network, weights, resize.
    """

    def __init__(
        self,
        name: str = "auto",
        device: str | torch.device = "cpu",
        resize: str | None = None,
        inception_weights: str | Path | None = None,
        layers: tuple[str, ...] = (),
    ):
        self.name = resolve(name, inception_weights)
        self.device = torch.device(device)
        registered = INCEPTION if self.name == "inception" else self.name
        extractor = FEATURE_EXTRACTORS_REGISTRY[registered]
        self.layer = extractor.get_default_feature_layer_for_metric("fid")
        self.layers = [self.layer, *layers]
        self.size = getattr(extractor, "INPUT_IMAGE_SIZE", None)
        offered = OFFERED.get(self.name, ("fidelity",))
        self.default_resize = offered[0]
        self.resize = resize or self.default_resize
        if self.resize not in offered:
            raise UserError(f"--resize {self.resize} is not offered for {self.name}; choose {' or '.join(offered)}")
        weights = _inception_file(inception_weights) if self.name == "inception" else None
        with torch.random.fork_rng(devices=[]):  # building a network draws weights: not from a run's seed
            self.extractor = _create(registered, self.layers, weights)
        weights_hash = _fingerprint(self.extractor)
        self.identity = f"{registered} {torch_fidelity.__version__} {weights_hash} {self.resize}"
        self.extractor.to(self.device)

    def metric_name(self, distance: str) -> str:
        """``F`` or ``K`` -> FID or KID, else FD-NAME or KD-NAME; plus the resize if it isn't the default."""
        name = f"{distance}ID" if self.name == "inception" else f"{distance}D-{self.name}"
        return name if self.resize == self.default_resize else f"{name}-{self.resize}"

    def __call__(self, images: list[np.ndarray]) -> dict[str, torch.Tensor]:
        """(H, W, 3) uint8 each, of any sizes."""
        inputs = (to_network_size(image, self.size, self.resize) for image in images)
        parts = []
        with torch.no_grad(), no_autocast(self.device), configured("fp32"):  # a training's would shift the scores
            for _, batch in groupby(inputs, key=lambda tensor: tensor.shape):
                parts.append([f.float().cpu() for f in self._forward(torch.stack(list(batch)).to(self.device))])
        return dict(zip(self.layers, map(torch.cat, zip(*parts, strict=True)), strict=True))

    def _forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if batch.dtype == torch.uint8 or self.name == effnet.NAME:
            return self.extractor(batch)
        # torch-fidelity's Inception takes 8-bit images only; clean and legacy resizes are not rounded to 8
        # bits, so they replace the input of its first convolution, scaled as clean-fid and pytorch-fid do.
        scaled = batch / 127.5 - 1 if self.resize == "legacy" else (batch - 128) / 128
        hook = self.extractor.Conv2d_1a_3x3.register_forward_pre_hook(lambda *_: (scaled,))
        try:
            return self.extractor(batch.to(torch.uint8))
        finally:
            hook.remove()


def resolve(name: str, inception_weights: str | Path | None = None) -> str:
    """The feature space that ``name`` stands for.

    ``auto`` is inception where its weights are on the disk, else effnet_lite0. It never asks the network, so
    that all scores of a run are in one space.
    """
    if name == "auto":
        return "inception" if inception_weights or inception_cache().exists() else effnet.NAME
    name = "inception" if name == INCEPTION else name
    if name != "inception" and name not in FEATURE_EXTRACTORS_REGISTRY:
        names = ["auto", "inception", *sorted(set(FEATURE_EXTRACTORS_REGISTRY) - {INCEPTION})]
        raise UserError(f"--feature_space {name} is not known; choose one of {', '.join(names)}")
    if inception_weights and name != "inception":
        raise UserError(f"--inception_weights goes with --feature_space inception, not {name}")
    return name


def inception_cache() -> Path:
    """Where torch-fidelity keeps the Inception weights once it has fetched them."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(URL_INCEPTION_V3).path).name


def _inception_file(named: str | Path | None) -> Path:
    path = Path(named) if named else inception_cache()
    if not named and not path.exists():
        _fetch(URL_INCEPTION_V3, path)
    try:
        # torch-fidelity unpickles the file without this guard, which refuses code.
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        flag = "--inception_weights " if named else ""
        raise UserError(f"{flag}{path} is not a readable file of Inception weights ({_line(error)})") from None
    return path


def _fetch(url: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rsplit("-", 1)[1], progress=False)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"--feature_space inception: the weights could not be fetched from {url} ({_line(error)}); put "
            f"that file at {path}, name it with --inception_weights, or use --feature_space {effnet.NAME}"
        ) from None
    finally:
        socket.setdefaulttimeout(patience)


def _create(name: str, layers: list[str], weights: Path | None) -> torch_fidelity.FeatureExtractorBase:
    path = str(weights) if weights else None
    try:
        return create_feature_extractor(name, layers, cuda=False, verbose=False, feature_extractor_weights_path=path)
    except UserError:
        raise
    except Exception as error:  # network, hub and pickle errors of every kind
        where = f"--inception_weights {weights}" if weights else f"--feature_space {name}"
        raise UserError(f"{where}: these weights could not be had ({_line(error)})") from None


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _fingerprint(network: torch.nn.Module) -> str:
    """Tells sets of weights apart."""
    digest = hashlib.sha256()
    for key, value in network.state_dict().items():
        digest.update(key.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
