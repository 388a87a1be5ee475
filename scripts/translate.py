"""Translate pictures with a trained model.

    python scripts/translate.py --name h2z horse.jpg holiday/ "more/*.png" --out zebras
    python scripts/translate.py --weights latest_net_G.pth horse.jpg --out zebras     # or a name in the repository
    python scripts/translate.py --name h2z clip.mp4 --out zebras                      # a film, needs: pip install av

Files, folders (with those below them) and patterns; any size. The size is kept: sides that are no multiple of 4 are
padded and cut back, large pictures are translated in tiles that fit together (models/inference/tiling.py).
Transparency is kept, EXIF orientation applied, colours are taken to sRGB, 16 bits to 8.

Films (.mp4 .m4v .mov .mkv .webm .avi, animated .gif) by name or pattern: frame by frame, with their times and sound. A
film that was interrupted goes on where it was with the same command.

Many pictures: --resume leaves out what is finished; processes of torchrun share the work, as jobs with --part I/N do.

    torchrun --nproc_per_node=4 scripts/translate.py --name h2z photos/ --out zebras --resume
"""

import argparse
import glob
from collections import Counter
from contextlib import closing
from pathlib import Path

import repository  # noqa: F401
from tqdm.auto import tqdm

from models.inference import note, trained
from models.inference.files import translate_files
from models.inference.films import check_installed, film_ending, is_film, open_film, translate_film
from models.inference.translator import Translator, add_flags, fingerprint, with_flags
from util import distributed
from util.errors import UserError, run
from util.files import free_name, keep_inputs, writing_to
from util.flag_types import ScriptParser, part, percent, positive_int
from util.pictures import counted, ending_of, is_image_file, list_folder, natural
from util.words import plural

ENDINGS = {"png": ".png", "jpg": ".jpg", "webp": ".webp"}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = ScriptParser(__doc__)
    add = parser.add_argument
    add("inputs", nargs="+", help="image files, folders of them, films, or quoted patterns")
    add("--out", required=True, type=Path, help="folder for the translations")
    trained.add_flags(add)
    add("--format", choices=["same", *ENDINGS], default="png", help="of pictures; same: the input's where it can be")
    add("--quality", type=percent, default=95, help="of JPEG, WebP and films, 1 to 100")
    add("--batch_size", type=positive_int, default=1, help="pictures or frames at a time; those of one size: one pass")
    add_flags(add)
    add("--resume", action="store_true", help="leave out what the same command has finished in --out")
    add("--part", type=part, default="1/1", metavar="I/N", help="the Ith of N jobs that share the files")
    add("--quiet", action="store_true", help="no progress bar")
    return parser.parse_args(argv)


def main() -> None:
    args = arguments()
    rank, ranks = distributed.start_sharing(again=distributed.AGAIN.format("--resume"))
    args.quiet |= rank > 0
    chosen = trained.chosen(args)
    jobs = find_jobs(args.inputs, args.out, args.format, tells=rank == 0)
    part, parts = args.part
    jobs = dict(list(jobs.items())[part - 1 :: parts][rank::ranks])
    for path in filter(is_film, jobs):
        check_installed(path)
    translator = with_flags(args, *chosen)
    settings = {"weights": fingerprint(translator.net), "precision": translator.precision, "tile": args.tile}
    settings |= {"eval": args.eval, "quality": args.quality, "format": args.format}
    settings |= {"value_range": translator.reader.value_range, "device": translator.device.type}
    bad, since = {}, distributed.by_first(lambda: begin(args.out, settings, args.resume))
    todo = {path: target for path, target in jobs.items() if not (args.resume and note.is_made(target, since))}
    films = {path: todo.pop(path) for path in list(todo) if is_film(path)}
    if todo:
        bad |= translate_pictures(translator, todo, args, f"share 1 of {ranks}" if ranks > 1 else None)
    for path, target in films.items():
        bad |= translate_one_film(translator, path, target, args, settings)
    report(args.out, distributed.gather((len(jobs), len(jobs) - len(todo) - len(films), bad)))


def report(out: Path, found: list | None) -> None:
    """What all ranks did, on the first: (files, how many of them were there, those that could not be read)."""
    if found is None:
        return
    count, there = (sum(each[i] for each in found) for i in (0, 1))
    bad = {path: reason for *_, reasons in found for path, reason in reasons.items()}
    print(f"{plural(count - len(bad), 'translation')} in {out}{f', {there} of them from before' if there else ''}")
    if bad:
        kind = "files" if any(map(is_film, bad)) else "images"
        raise UserError(f"{len(bad)} of {count} {kind} could not be read: {'; '.join(list(bad.values())[:3])}")


def begin(out: Path, settings: dict, resume: bool) -> int:
    """``note.keep`` of the folder that is written to."""
    others = note.differences(out, settings) if resume else None
    if others:
        names = " and ".join(name if name == "weights" else f"--{name}" for name in others)
        raise UserError(f"--resume: {out} was begun with other {names}; give the same, or another --out")
    if resume and others is None and out.exists():
        print(f"--resume: nothing in {out} tells what it was made with, so everything is translated")
    with writing_to("--out", out):
        out.mkdir(parents=True, exist_ok=True)
        return note.keep(out, settings)


def translate_pictures(
    translator: Translator, jobs: dict[Path, Path], args: argparse.Namespace, desc: str | None
) -> dict[Path, str]:
    """Write the targets; what could not be read comes back with the reason."""
    good, unreadable = translator.reader.check_each(jobs)
    bad = {path: str(error) for path, error in unreadable.items()}
    translator.reader.tell(good, "the inputs")
    paths = list(good)
    with tqdm(total=len(paths), unit=" images", desc=desc, disable=args.quiet or not paths or None) as bar:
        for start in range(0, len(paths), args.batch_size):
            batch = {jobs[path]: path for path in paths[start : start + args.batch_size]}
            bad |= translate_files(translator, batch, args.quality)
            bar.update(len(batch))
    return bad


def translate_one_film(
    translator: Translator, path: Path, target: Path, args: argparse.Namespace, settings: dict
) -> dict[Path, str]:
    """Write ``target``; ``path`` comes back with the reason where it could not be read to its end."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with closing(open_film(path, target, args.quality)) as film:
            with tqdm(total=film.count(), unit=" frames", desc=path.name, disable=args.quiet or None) as bar:
                translate_film(film, target, translator.translate, settings, args.batch_size, bar.update)
    except UserError as error:
        return {path: str(error)}
    except OSError as error:
        raise UserError(f"--out: {target} cannot be written ({error}); the same command goes on") from error
    return {}


def find_jobs(inputs: list[str], out: Path, format: str, tells: bool = True) -> dict[Path, Path]:
    """Each input file and the file to write: its own name, below its folder if that was the input."""
    relative: dict[Path, Path] = {}
    left_out: Counter = Counter()
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            found = list_folder(path)
            relative |= {p: p.relative_to(path) for p in found.paths}
            left_out += found.left_out
        elif path.exists():
            relative[path] = Path(path.name)
        else:
            found = [Path(p) for p in sorted(glob.glob(text, recursive=True), key=natural)]
            used = [p for p in found if is_image_file(p.name) or is_film(p)]
            relative |= {p: Path(p.name) for p in used}
            left_out.update(ending_of(p) for p in set(found) - set(used) if p.is_file())
            if not found:
                raise UserError(f"{text} is no file, no folder and no pattern that any file fits")
    if not relative:
        others = f", only {counted(left_out)}" if left_out else ""
        raise UserError(f"{', '.join(inputs)} holds no images{others}")
    if left_out and tells:
        print(f"left out: {counted(left_out)}")
    jobs: dict[Path, Path] = {}
    taken: set[Path] = set()
    for source, name in relative.items():  # a.jpg and a.png, or files of one name from two folders, get a number
        jobs[source] = free_name(out / name.with_suffix(ending_for(source, format)), taken.__contains__)
        taken.add(jobs[source])
    keep_inputs(f"--out {out}", jobs, jobs.values())
    return jobs


def ending_for(source: Path, format: str) -> str:
    if is_film(source):
        return film_ending(source)
    ending = source.suffix.lower() if format == "same" else ENDINGS[format]
    return ending if ending in (*ENDINGS.values(), ".jpeg") else ".png"


if __name__ == "__main__":
    run(main)
