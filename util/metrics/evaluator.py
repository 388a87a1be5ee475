"""Scores of a set of translations against a set of real images."""

import hashlib
import io
import warnings
import zipfile
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from util import distributed
from util.errors import UserError
from util.files import user_cache, write_atomic
from util.metrics import effnet
from util.metrics.distances import frechet_distance, kernel_distance
from util.metrics.features import FeatureSpace, resolve
from util.metrics.images import content_key, read_image, resize_image
from util.metrics.names import in_words, size_suffix
from util.pictures import Reader, find_images

Image = np.ndarray | str | Path
READING = "upright, sRGB, on white"  # how files become pixels: part of what tells features of real images apart


class Evaluator:
    """Fréchet and kernel distance of image sets to one set of real images, and their share of a class.

    references:      a folder of real images, or files or uint8 arrays (H, W, 3), which are gone through twice
    feature_space:   auto, inception, effnet_lite0 or a torch-fidelity extractor (see ``features.resolve``)
    size:            pixels (a number, or height and width) that all images are brought to first, by Pillow's
                     bicubic filter on 8 bits; None: as they are
    resize:          how they are then brought to the network's size, one of ``images.RESIZES``; None: the
                     feature space's default
    target_class:    number of an ImageNet class (zebra 340), told by EfficientNet-Lite0; None: no class
    batch_size:      images at once; None: 4 on a CPU, where more is slower, else 32
    reader:          how files become pixels, with the run's --value_range
    cache_dir:       keeps the real images' features by content; "auto": in the user's cache folder; None: no
    shared:          ranks take turns with the batches; they all call the same, and others than the first get None
    """

    def __init__(
        self,
        references: str | Path | Collection[Image],
        feature_space: str = "auto",
        size: int | tuple[int, int] | None = None,
        device: str | torch.device = "cpu",
        *,
        resize: str | None = None,
        inception_weights: str | Path | None = None,
        target_class: int | None = None,
        batch_size: int | None = None,
        cache_dir: str | Path | None = "auto",
        reader: Reader | None = None,
        shared: bool = False,
    ):
        if target_class is not None and not 0 <= target_class < 1000:
            raise UserError(f"--target_class {target_class}: ImageNet's classes are numbered 0 to 999")
        references = find_images(references) if isinstance(references, str | Path) else references
        if len(references) < 2:
            raise UserError(f"scores need at least 2 real images, not {len(references)}")
        self.size = (size, size) if isinstance(size, int) else size
        self.target_class = target_class
        self.reader, self.shared = reader or Reader(), shared
        self.batch_size = batch_size or (4 if torch.device(device).type == "cpu" else 32)
        self.cache_dir = user_cache() if cache_dir == "auto" else Path(cache_dir) if cache_dir else None

        # One pass gives features and classes where both come from EfficientNet-Lite0 on the same pixels.
        name = resolve(feature_space, inception_weights)
        one_pass = target_class is not None and name == effnet.NAME and resize in (None, "pillow")
        self.space = FeatureSpace(name, device, resize, inception_weights, layers=("logits",) if one_pass else ())
        self.classifier = None
        if target_class is not None:
            self.classifier = self.space if one_pass else FeatureSpace(effnet.NAME, device, layers=("logits",))
        self.references = self._cached_features(references)
        self.warned: set[str] = set()

    def score(self, images: Iterable[Image]) -> dict[str, float | int | str] | None:
        """uint8 arrays (H, W, 3) or files -> a flat dict: floats are scores, the rest are notes on them.

        FID, KID, KID_se (or FD-NAME, KD-NAME, KD-NAME_se), with the images' size where it isn't the papers' (see
        ``names.size_suffix``), and with a target class ``class_N`` and ``class_N_real``, shares in [0, 1]; ``images``
        and ``references`` (counts), ``feature_space``, ``resize``, ``size`` ("96x96", "of 7 sizes"). Arrays and the PNG
        files made of them score the same.
        """
        features = self._features(images)
        if features is None:
            return None
        x, y = features["features"], self.references["features"]
        if len(x) < 2:
            raise UserError(f"scores need at least 2 translations, not {len(x)}")
        made, real = ({tuple(size) for size in found["sizes"].tolist()} for found in (features, self.references))
        self._warn_of_few(len(x), *y.shape)
        self._warn_of_sizes(made, real)
        kernel, error = kernel_distance(x, y)
        suffix = size_suffix(made | real)
        kernel_name = self.space.metric_name("K") + suffix
        scores = {self.space.metric_name("F") + suffix: frechet_distance(x, y), kernel_name: kernel}
        scores[f"{kernel_name}_se"] = error
        if self.target_class is not None:
            scores[f"class_{self.target_class}"] = self._share(features)
            scores[f"class_{self.target_class}_real"] = self._share(self.references)
        counts = {"images": len(x), "references": len(y)}
        size = in_words(made | real)
        return scores | counts | {"feature_space": self.space.name, "resize": self.space.resize, "size": size}

    def class_share(self, images: Iterable[Image], reader: Reader | None = None) -> float | None:
        """Share of ``images`` that the classifier calls the target class."""
        features = self._features(images, reader)
        return None if features is None else self._share(features)

    def _share(self, features: dict[str, torch.Tensor]) -> float:
        return (features["classes"] == self.target_class).cpu().double().mean().item()

    def _features(self, images: Iterable[Image], reader: Reader | None = None) -> dict[str, torch.Tensor] | None:
        """features (N, d) float32, sizes (N, 2): height and width; with a target class, classes (N,) int64."""
        rank, ranks = distributed.environment() if self.shared else (0, 1)
        own = islice(_batches(images, self.batch_size), rank, None, ranks)
        found = [self._features_of(batch, reader or self.reader) for batch in own]
        if self.shared:
            found = distributed.gather_in_turns(found)
        if found is None:
            return None
        empty = {"features": torch.zeros(0, 0), "sizes": torch.zeros(0, 2, dtype=torch.int64)}
        return {name: torch.cat([part[name] for part in found]) for name in found[0]} if found else empty

    def _features_of(self, batch: list[Image], reader: Reader) -> dict[str, torch.Tensor]:
        arrays = [read_image(image, reader) for image in batch]
        arrays = [resize_image(array, self.size) for array in arrays] if self.size else arrays
        found = self.space(arrays)
        sizes = torch.tensor([array.shape[:2] for array in arrays], dtype=torch.int64)
        features = {"features": found[self.space.layer], "sizes": sizes}
        if self.classifier is not None:
            found = found if self.classifier is self.space else self.classifier(arrays)
            features["classes"] = found["logits"].argmax(1)
        return features

    def _cached_features(self, images: Collection[Image]) -> dict[str, torch.Tensor] | None:
        if self.cache_dir is None:
            return self._features(images)
        first = not self.shared or distributed.environment()[0] == 0
        path = self._cache_path(images) if first else None
        known = self._read(path) if first else None
        there = distributed.broadcast(known is not None) if self.shared else known is not None
        if there:
            return known
        features = self._features(images)
        if features is not None:
            self._keep(features, path)
        return features

    def _cache_path(self, images: Collection[Image]) -> Path:
        parts = [
            content_key(images),
            "with sizes",
            f"{READING} {self.reader.value_range}",
            self.space.identity,
            self.space.layer,
            str(self.size),
            str(self.classifier is not None),
        ]
        return self.cache_dir / "features" / (hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32] + ".npz")

    def _read(self, path: Path) -> dict[str, torch.Tensor] | None:
        try:
            with np.load(path) as file:
                return {name: torch.from_numpy(file[name]) for name in file.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):  # not there, or damaged
            return None

    def _keep(self, features: dict[str, torch.Tensor], path: Path) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, **{name: value.numpy() for name, value in features.items()})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, buffer.getvalue())
        except OSError as error:
            warnings.warn(f"features of the real images could not be kept in {path.parent}: {error}", stacklevel=4)

    def _warn_of_few(self, images: int, references: int, dims: int) -> None:
        if min(images, references) < dims:
            self._warn_once(
                f"{self.space.metric_name('F')} of {images} translations and {references} real images, fewer "
                f"than its {dims} features: it is too high, and to be compared at equal counts only; "
                f"{self.space.metric_name('K')} has no such bias"
            )

    def _warn_of_sizes(self, made: set, real: set) -> None:
        if len(made | real) > 1:
            side = min(min(size) for size in made)
            self._warn_once(
                f"translations are {in_words(made)}, real images {in_words(real)}: the size itself enters the "
                f"distance; --size {side} brings all to {side}x{side} first"
            )

    def _warn_once(self, message: str) -> None:
        if message not in self.warned:
            self.warned.add(message)
            warnings.warn(message, stacklevel=4)


def _batches(images: Iterable[Image], size: int) -> Iterator[list[Image]]:
    images = iter(images)
    while batch := list(islice(images, size)):
        yield batch
