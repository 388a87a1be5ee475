"""The test split during training: scores, and the same few pictures every time."""

import copy
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from util import distributed
from util.errors import UserError, warn
from util.images import result_name, tensor2im
from util.metrics.names import plotted_scores, without_size
from util.pictures import phase_folder, source_side, target_side
from util.run.undisturbed import undisturbed

SAMPLES = 8  # pictures on the training page


class NoPictures(Exception):
    """Of a model of others, whose generator takes or gives more than pictures."""


def endings(opt) -> list[str]:
    """What the scores' and pictures' names end in: of the generator, and with --ema_decay of its average."""
    return ["", "_ema"] if opt.ema_decay else [""]


class Validation:
    """Scores are those of scripts/evaluate.py on the files of test.py: the same images, as 8-bit pictures, translations
    and real images at one size."""

    def __init__(self, opt, dataset, references: "TargetImages", device, answers: bool = False):
        from util.metrics.evaluator import Evaluator  # here: it takes seconds to import

        self.dataset = dataset
        self.source = source_side(opt)
        self.answer = target_side(opt) if answers else None
        self.count = int(min(opt.eval_num, len(dataset)))
        self.world_size = opt.world_size
        self.told: set[str] = set()
        self.references = references
        if opt.rank == 0:
            self.evaluator = Evaluator(
                references,  # type: ignore[arg-type]  # a collection that is only gone through
                opt.feature_space,
                device=device,
                inception_weights=opt.inception_weights,
                target_class=opt.target_class,
            )

    def run(self, model) -> tuple[dict[str, float], dict[str, dict]] | None:
        """(scores by name, samples: image name -> pictures by label); those of the averaged generator end in _ema.
        Ranks share the translating; rank 0 scores, the others return None; all do for a model of others whose
        generator alone makes no pictures."""
        try:
            with undisturbed(model):
                share = [(path, self.translate(model, batch)) for path, batch in self.images()]
        except NoPictures as error:
            if model.opt.rank == 0:
                self.tell(f"no scores: the generator of --model {model.opt.model} alone makes no pictures ({error})")
            return None
        translated = distributed.gather_in_turns(share)
        if translated is None:
            return None
        translated = translated[: self.count]  # the loader gives all ranks equally many
        scores = {}
        for ending in endings(model.opt):
            found = self.score([(pictures.get("target"), pictures["output" + ending]) for _, pictures in translated])
            scores |= {k + ending if isinstance(v, float) else k: v for k, v in found.items()}
        names: set[str] = set()
        return scores, {result_name(path, names): pictures for path, pictures in translated[:SAMPLES]}

    def score(self, pairs: list) -> dict:
        """The evaluator's scores of (answer or None, translation); what it warns about is told once a run."""
        with warnings.catch_warnings(record=True) as caught:
            found = self._score(pairs)
        for warning in caught:
            self.tell(str(warning.message))
        return found

    def _score(self, pairs: list) -> dict:
        found = self.evaluator.score([translation for _, translation in pairs])
        if self.answer:
            from util.metrics.pairs import pair_scores  # here: it imports SciPy

            found |= {name: float(np.mean(values)) for name, values in pair_scores(pairs).items()}
        return found

    def check_metric(self, opt) -> None:
        """``UserError`` for an ``--eval_metric`` that no evaluation gives, known by the scores of two real images."""
        two = list(islice(self.references, 2))
        with warnings.catch_warnings(action="ignore"):
            found = plotted_scores(self._score([(image, image) for image in two]))
        self.evaluator.warned.clear()
        names = [name + ending for ending in endings(opt) for name in found]
        if without_size(opt.eval_metric) not in map(without_size, names):
            raise UserError(f"--eval_metric {opt.eval_metric} is not among the scores: {', '.join(names)}")

    def tell(self, message: str) -> None:
        """Once a run."""
        if message not in self.told:
            warn(message)
        self.told.add(message)

    def images(self):
        """(path, batch) of this rank's share."""
        for number, batch in enumerate(self.dataset):
            if number * self.world_size >= self.count:
                return
            yield batch[self.source + "_paths"][0], batch

    def translate(self, model, batch: dict) -> dict:
        """Pictures by label."""
        real = batch[self.source]
        pictures = {"input": tensor2im(real)}
        for ending in endings(model.opt):
            try:
                output = model.translate(real, model.netG_ema if ending else model.generator())
                channels = output.shape[1]
            except (AttributeError, TypeError, UserError) as error:
                raise NoPictures(error) from error
            if channels != model.opt.output_nc:
                raise NoPictures(f"{channels} channels")
            pictures["output" + ending] = tensor2im(output)
        return pictures | ({"target": tensor2im(batch[self.answer])} if self.answer else {})


class TargetImages:
    """All images of the target side as test.py writes ``real_B``: uint8 (H, W, 3)."""

    def __init__(self, images, side: str):
        self.images, self.side = images, side

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (tensor2im(image) for batch in self.images for image in batch[self.side])


def target_images(create_dataset, test_opt, folder: Path, paired: bool) -> TargetImages:
    opt = copy.copy(test_opt)
    opt.world_size = 1  # rank 0 goes through them all
    if paired:
        return TargetImages(create_dataset(opt), target_side(opt))
    opt.dataset_mode, opt.dataroot, opt.input_nc = "single", str(folder), opt.output_nc
    opt.direction = "BtoA" if opt.direction == "AtoB" else "AtoB"  # --value_range: that of the target side
    return TargetImages(create_dataset(opt), "A")


def create_validation(opt, create_dataset, test_opt, device) -> Validation | None:
    """None with ``--eval_freq 0``, or where there is no test split to evaluate."""
    if not opt.eval_freq:
        return None
    paired = opt.dataset_mode == "aligned"
    sides = [""] if paired else [source_side(opt), target_side(opt)]
    folders = [Path(phase_folder(test_opt, side)) for side in sides]
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        if not opt.quiet:
            print(f"no scores during training: {' and '.join(missing)} missing; --epoch best will not exist")
        return None
    try:
        references = target_images(create_dataset, test_opt, folders[-1], paired)
        dataset = create_dataset(test_opt)
    except UserError as error:
        raise UserError(f"{error}; or --eval_freq 0 trains without scores") from None
    if min(len(references), len(dataset), opt.eval_num) < 2:
        where = " and in ".join(folder.name for folder in folders)
        raise UserError(f"--eval_freq needs at least 2 images in {where}; 0 trains without scores")
    validation = Validation(opt, dataset, references, device, answers=paired)
    if opt.eval_metric:
        distributed.by_first(lambda: validation.check_metric(opt))
    return validation
