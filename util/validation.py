"""The test split during training: scores, and the same few pictures every time."""

from pathlib import Path

import torch

from util.errors import UserError
from util.images import result_name, tensor2im

SAMPLES = 8  # pictures on the training page


class Validation:
    """Scores are those of scripts/evaluate.py on the files of test.py: the same images, as 8-bit pictures."""

    def __init__(self, opt, dataset, references: list[Path], device):
        from util.metrics.evaluator import Evaluator  # here: it takes seconds to import

        self.dataset = dataset
        self.source = "A" if opt.direction == "AtoB" else "B"
        self.count = int(min(opt.eval_num, len(dataset)))
        self.evaluator = Evaluator(
            references,
            opt.feature_space,
            device=device,
            inception_weights=opt.inception_weights,
            target_class=opt.target_class,
        )

    def run(self, model) -> tuple[dict[str, float], dict[str, dict]]:
        """(scores by name, samples: image name -> pictures by label); those of the averaged generator end in _ema."""
        nets = {"": model.generator()} | ({"_ema": model.netG_ema} if model.netG_ema else {})
        translations = {ending: [] for ending in nets}
        samples, names = {}, set()
        for batch in self.dataset:
            if len(names) == self.count:
                break
            real = batch[self.source].to(model.device)
            name = result_name(batch[self.source + "_paths"][0], names)
            pictures = {"input": tensor2im(real)}
            for ending, net in nets.items():
                with torch.inference_mode(), model.autocast():
                    pictures["output" + ending] = tensor2im(net(real))
                translations[ending].append(pictures["output" + ending])
            if len(samples) < SAMPLES:
                samples[name] = pictures
        scores = {}
        for ending, images in translations.items():
            found = self.evaluator.score(images)
            scores |= {k + ending if isinstance(v, float) else k: v for k, v in found.items()}
        return scores, samples


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
    from util.metrics.images import find_images

    references = find_images(folders[1 if opt.direction == "AtoB" else 0])
    dataset = create_dataset(test_opt)
    if min(len(references), len(dataset), opt.eval_num) < 2:
        raise UserError("--eval_freq needs at least 2 images in testA and in testB; 0 trains without scores")
    return Validation(opt, dataset, references, device)
