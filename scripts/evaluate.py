"""Score translations against real images of the target domain, and against their inputs.

python scripts/evaluate.py datasets/horse2zebra/testB results/NAME/test_latest/images/fake_B
python scripts/evaluate.py datasets/horse2zebra/testB results/NAME/test_200/images/fake_B \\
    --inputs datasets/horse2zebra/testA --target_class 340 --name NAME --epoch 200
python scripts/evaluate.py results/NAME/test_latest/images/real_B results/NAME/test_latest/images/fake_B --paired
python scripts/evaluate.py testB translated --protocol horse2zebra --feature_space inception
torchrun --nproc_per_node=4 scripts/evaluate.py testB translated        # processes share the images
"""

import argparse
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import repository  # noqa: F401

from util import distributed, pictures
from util.device_kinds import add_flags
from util.devices import choose_device
from util.errors import UserError, run, warn
from util.flag_types import ScriptParser, positive_int
from util.json_lines import read
from util.metrics.evaluator import Evaluator
from util.metrics.features import resolve
from util.metrics.images import RESIZES, pair_by_name, read_image
from util.metrics.pairs import pair_scores
from util.metrics.protocols import PROTOCOLS
from util.metrics.records import append_scores, format_score, summary, summary_line
from util.metrics.structure import outside_scores, read_pair, structure_scores
from util.pages.result_page import add_scores, disagreement, translations_within
from util.pictures import Reader, find_images
from util.run.saved_options import readers_of_run


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = ScriptParser(__doc__)
    add = parser.add_argument
    add("real", type=Path, help="folder of real images of the target domain")
    add("generated", type=Path, help="folder of translations")
    add("--inputs", type=Path, help="folder of the translated images, by the same names: adds structure similarity")
    add("--paired", action="store_true", help="real holds each translation's answer, by the same names: PSNR and SSIM")
    add("--mask_dir", type=Path, help="folder of masks (white: the object), by the same names; needs --inputs")
    add("--target_class", type=int, metavar="N", help="share of images of this ImageNet class (zebra 340)")
    add("--feature_space", default="auto", metavar="NAME",
        help="auto, inception, effnet_lite0, or torch-fidelity's names")  # fmt: skip
    add("--inception_weights", type=Path, metavar="FILE",
        help="weights-inception-2015-12-05-6726825d.pth, kept elsewhere")  # fmt: skip
    add("--resize", choices=RESIZES,
        help="how images reach the network's size; " + "; ".join(map(": ".join, RESIZES.items())))  # fmt: skip
    add("--size", type=positive_int, metavar="PIXELS",
        help="bring all images to this width and height first (Pillow bicubic)")  # fmt: skip
    add("--protocol", choices=PROTOCOLS,
        help="the papers' evaluation: checks the counts, size 256, legacy and clean resize")  # fmt: skip
    add("--batch_size", type=positive_int, help="images at once (default: 4 on a CPU, else 32)")
    add_flags(add)
    pictures.add_flags(add)
    add("--cache_dir", default="auto", help="where features of real images are kept, by content; none: nowhere")
    add("--name", help="experiment: append the scores to checkpoints_dir/NAME/metrics.jsonl; needs a numbered epoch")
    add("--checkpoints_dir", type=Path, default=Path("./checkpoints"), help="folder of all experiments")
    add("--out", type=Path, metavar="FILE", help="append the scores to this .jsonl file")
    add("--epoch", type=int, help="epoch of the weights; without it the number in a folder like test_200")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    opt = parse(argv)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
        evaluate(opt)


def evaluate(opt: argparse.Namespace) -> None:
    if opt.mask_dir and not opt.inputs:
        raise UserError("--mask_dir needs --inputs, the images that were translated")
    rank, _ = distributed.start_sharing(again="start the same command again")
    device = choose_device(opt.gpu_ids, opt.device)
    records, epoch = _records(opt)
    run_folder = opt.checkpoints_dir / opt.name if opt.name else None
    reader_of_inputs, reader = readers_of_run(run_folder, opt.value_range, opt.max_pixels)
    translations, real = distributed.by_first(lambda: [_pictures(reader, f) for f in (opt.generated, opt.real)])
    differs = disagreement(opt.generated, translations)
    if differs and rank == 0:
        warn(f"{opt.generated} and the page above it disagree: {differs}; all in the folder are scored")
    inputs = pair_by_name(opt.generated, opt.inputs, "--inputs") if opt.inputs else []
    if rank == 0 and inputs and (unused := len(find_images(opt.inputs)) - len({source for _, source in inputs})):
        warn(f"--inputs: {unused} of the images in {opt.inputs} have no translation in {opt.generated}")
    masks = pair_by_name(opt.generated, opt.mask_dir, "--mask_dir") if opt.mask_dir else []
    answers = pair_by_name(opt.generated, opt.real, "--paired") if opt.paired else []

    rows, content = {}, {}  # by resize; the scores against inputs and answers, which no resize changes
    size = PROTOCOLS[opt.protocol].size if opt.protocol else opt.size
    how = {"inception_weights": opt.inception_weights, "target_class": opt.target_class, "batch_size": opt.batch_size}
    how |= {"cache_dir": None if opt.cache_dir == "none" else opt.cache_dir, "reader": reader, "shared": True}
    for resize in _resizes(opt, len(translations)):
        evaluator = Evaluator(real, opt.feature_space, size, device, resize=resize, **how)
        rows[resize] = evaluator.score(translations)
        if inputs and len(rows) == 1:
            content = _against_inputs(evaluator, inputs, masks, opt.generated, reader_of_inputs)
    if answers:
        content |= _of_images(opt.generated, answers, reader, pair_scores)
    if rank > 0:
        return
    for scores in rows.values():
        scores.update(content)

    print_table(opt, list(rows.values()))
    for path in records:
        for scores in rows.values():
            append_scores(path, scores, epoch, _total_images(path, epoch))
        for metric in (name for scores in rows.values() for name in scores if name.startswith("F")):
            print(summary_line(summary(path, metric)))


def _pictures(reader: Reader, folder: Path) -> list[Path]:
    if inside := translations_within(folder):
        where = " or ".join(map(str, inside[:2]))
        raise UserError(f"{folder} holds inputs and translations of test.py, not one kind of picture: name {where}")
    return reader.find(folder)


def _records(opt: argparse.Namespace) -> tuple[list[Path], int]:
    """The files to append to, and the epoch: checked before anything is computed."""
    records = [opt.out] if opt.out else []
    if opt.name:
        if not (opt.checkpoints_dir / opt.name).is_dir():
            raise UserError(f"--name {opt.name}: there is no folder {opt.checkpoints_dir / opt.name}")
        records.append(opt.checkpoints_dir / opt.name / "metrics.jsonl")
    epoch = opt.epoch
    if epoch is None:
        folders = [re.fullmatch(r"(?:train|val|test)_(\d+)(?:_single)?", part) for part in opt.generated.parts]
        epoch = next((int(found[1]) for found in reversed(folders) if found), None)
    if opt.name and epoch is None:
        raise UserError(f"--name {opt.name} needs --epoch N: the folder's name {opt.generated} does not tell it")
    return records, epoch or 0


def _resizes(opt: argparse.Namespace, translations: int) -> tuple[str | None, ...]:
    if not opt.protocol:
        return (opt.resize,)
    protocol = PROTOCOLS[opt.protocol]
    protocol.check(translations, len(find_images(opt.real)))
    if opt.size not in (None, protocol.size):
        raise UserError(f"--protocol {opt.protocol} sets --size {protocol.size}; leave --size out")
    if opt.resize:
        return (opt.resize,)
    name = resolve(opt.feature_space, opt.inception_weights)
    return protocol.resizes if name in ("inception", "effnet_lite0") else (None,)


def _against_inputs(evaluator: Evaluator, inputs: list, masks: list, generated: Path, reader: Reader) -> dict:
    """Structure, of each image on its result page too, class of the inputs, change outside the masks."""
    scores = _of_images(generated, inputs, reader, lambda pairs: structure_scores(pairs, evaluator.space.device))
    if evaluator.target_class is not None:
        share = evaluator.class_share([source for _, source in inputs], reader)
        scores[f"class_{evaluator.target_class}_inputs"] = share
    if masks and distributed.environment()[0] == 0:
        pairs = zip(inputs, masks, strict=True)
        scores |= outside_scores(
            (*read_pair(source, made, reader), read_image(mask)) for (made, source), (_, mask) in pairs
        )
    return scores


def _of_images(generated: Path, pairs: list, reader: Reader, score: Callable) -> dict[str, float]:
    """The mean of each score of the pairs, which ranks share; each image's own goes to its result page. On other ranks
    than the first nothing."""
    rank, ranks = distributed.environment()
    own = score(read_pair(source, made, reader) for made, source in pairs[rank::ranks])
    values = {name: distributed.gather_in_turns(each) for name, each in own.items()}
    if rank > 0:
        return {}
    names = [made.stem for made, _ in pairs]
    add_scores(generated, {name: dict(zip(names, each, strict=True)) for name, each in values.items()})
    return {name: float(np.mean(each)) for name, each in values.items()}


def _total_images(path: Path, epoch: int) -> int:
    """Training images up to the end of ``epoch``, from the record of its losses."""
    rows = read(path.with_name("losses.jsonl")) + read(path)
    return max((row["total_images"] for row in rows if row["epoch"] == epoch), default=0)


def print_table(opt: argparse.Namespace, rows: list[dict]) -> None:
    """One line a score, for people."""
    print(f"{opt.generated} ({rows[0]['images']}) against {opt.real} ({rows[0]['references']})")
    shown = set()
    for scores in rows:
        space, resize = scores["feature_space"], scores["resize"]
        for name, value in scores.items():
            if not isinstance(value, float) or name.endswith("_se") or name in shown:
                continue
            shown.add(name)
            note = ""
            if name[:2] in ("FI", "FD"):
                note = f"{space}; {RESIZES[resize]}"
            elif name[:2] in ("KI", "KD"):
                note = f"+- {scores[name + '_se']:.4f} standard error"
            text = f"{100 * value:.1f}%" if name.startswith("class_") else format_score(value)
            print(f"  {name:<32} {text:>10}  {note}".rstrip())


if __name__ == "__main__":
    run(main)
