"""The test split during training: scores, and the same few pictures every time."""

import copy
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from util import distributed
from util.errors import UserError, warn
from util.images import result_name, tensor2im
from util.pictures import source_side
from util.run.undisturbed import undisturbed

SAMPLES = 8  # pictures on the training page


class Validation:
    """Scores are those of scripts/evaluate.py on the files of test.py: the same images, as 8-bit pictures, translations
    and real images at one size."""

    def __init__(self, opt, dataset, references: "TargetImages", device):
        from util.metrics.evaluator import Evaluator  # here: it takes seconds to import

        self.dataset = dataset
        self.source = source_side(opt)
        self.count = int(min(opt.eval_num, len(dataset)))
        self.world_size = opt.world_size
        self.told: set[str] = set()
        if opt.rank == 0:
            self.evaluator = Evaluator(
                references,
                opt.feature_space,
                device=device,
                inception_weights=opt.inception_weights,
                target_class=opt.target_class,
            )

    def run(self, model) -> tuple[dict[str, float], dict[str, dict]] | None:
        """(scores by name, samples: image name -> pictures by label); those of the averaged generator end in _ema.
        Ranks share the translating; rank 0 scores, the others return None."""
        nets = {"": model.generator()} | ({"_ema": model.netG_ema} if model.netG_ema else {})
        with undisturbed(model):
            share = [(path, self.translate(model, nets, real)) for path, real in self.images()]
        shares = distributed.gather(share)
        if shares is None:
            return None
        turns = zip(*shares, strict=True)  # rank r holds every image whose number is r modulo the ranks
        translated = [item for turn in turns for item in turn][: self.count]
        scores = {}
        for ending in nets:
            found = self.score([pictures["output" + ending] for _, pictures in translated])
            scores |= {k + ending if isinstance(v, float) else k: v for k, v in found.items()}
        names: set[str] = set()
        return scores, {result_name(path, names): pictures for path, pictures in translated[:SAMPLES]}

    def score(self, translations: list) -> dict:
        """The evaluator's scores; what it warns about is told once a run."""
        with warnings.catch_warnings(record=True) as caught:
            found = self.evaluator.score(translations)
        for message in {str(warning.message) for warning in caught} - self.told:
            warn(message)
            self.told.add(message)
        return found

    def images(self):
        """(path, image) of this rank's share."""
        for number, batch in enumerate(self.dataset):
            if number * self.world_size >= self.count:
                return
            yield batch[self.source + "_paths"][0], batch[self.source]

    def translate(self, model, nets: dict, real: torch.Tensor) -> dict:
        """Pictures by label."""
        pictures = {"input": tensor2im(real)}
        for ending, net in nets.items():
            pictures["output" + ending] = tensor2im(model.translate(real, net))
        return pictures


class TargetImages:
    """All images of the target side as test.py writes ``real_B``: uint8 (H, W, 3)."""

    def __init__(self, create_dataset, test_opt, folder: Path):
        opt = copy.copy(test_opt)
        opt.dataset_mode, opt.dataroot, opt.input_nc = "single", str(folder), opt.output_nc
        opt.direction = "BtoA" if opt.direction == "AtoB" else "AtoB"  # --value_range: that of the target side
        opt.world_size = 1  # rank 0 goes through them all
        self.images = create_dataset(opt)

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (tensor2im(image) for batch in self.images for image in batch["A"])


def create_validation(opt, create_dataset, test_opt, device) -> Validation | None:
    """None with ``--eval_freq 0``, or where there is no test split to evaluate."""
    if not opt.eval_freq:
        return None
    folders = [Path(opt.dataroot) / f"test{side}" for side in "AB"]
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        if not opt.quiet:
            print(f"no scores during training: {' and '.join(missing)} missing")
        return None
    try:
        references = TargetImages(create_dataset, test_opt, folders[1 if opt.direction == "AtoB" else 0])
        dataset = create_dataset(test_opt)
    except UserError as error:
        raise UserError(f"{error}; or --eval_freq 0 trains without scores") from None
    if min(len(references), len(dataset), opt.eval_num) < 2:
        raise UserError("--eval_freq needs at least 2 images in testA and in testB; 0 trains without scores")
    return Validation(opt, dataset, references, device)
