"""Whether images come out of --preprocess with sizes that a batch and the networks can take."""

from data.base_dataset import has_scaling, scaled_size, to_multiple
from util.errors import UserError
from util.sides import side_multiple, smallest_side


def check_sizes(opt, paths: list[str], files: list[tuple[int, int]]) -> None:
    """Refuse at the start what would fail at one image in the middle of a run. ``files``: (width, height) of each."""
    words, crop = opt.preprocess, opt.crop_size
    if "fixsize" in words:  # each item brings its own size
        return
    sizes = [scaled_size(words, opt.load_size, crop, size) for size in files]
    if "zoom" in words:  # enlarges what is smaller than a patch
        sizes = [(max(crop, width), max(crop, height)) for width, height in sizes]
    if "crop" in words or "patch" in words:
        small = [i for i, size in enumerate(sizes) if min(size) < crop]
        if small:
            after = f" after scaling to --load_size {opt.load_size}" if has_scaling(words) else ""
            raise UserError(
                f"{len(small)} of {len(paths)} images are smaller than --crop_size {crop}{after}, first "
                f"{paths[small[0]]!r} {sizes[small[0]]}; make it smaller or use --preprocess resize_and_crop"
            )
        return
    if "trim" in words:
        sizes = [(min(width, crop), min(height, crop)) for width, height in sizes]
    sizes = [to_multiple(size, 4) for size in sizes]
    if hasattr(opt, "netG"):
        check_networks(opt, paths, files, sizes)
    other = next((i for i, size in enumerate(sizes) if size != sizes[0]), None)
    if opt.batch_size > 1 and "zoom" not in words and other is not None:
        raise UserError(
            f"--batch_size {opt.batch_size} with --preprocess {words} needs images of one size, but "
            f"{paths[0]!r} has (scaled) {sizes[0]} and {paths[other]!r} {sizes[other]}; "
            "use --batch_size 1 or a --preprocess with crop"
        )


def check_networks(opt, paths: list[str], files: list[tuple[int, int]], sizes: list[tuple[int, int]]) -> None:
    """``sizes``: what ``opt.preprocess`` makes of the ``files``'."""

    def described(i: int) -> str:
        made = "" if files[i] == sizes[i] else f" ({times(sizes[i])} after --preprocess {opt.preprocess})"
        return f"{paths[i]!r} with {times(files[i])} pixels{made}"

    smallest, multiple = smallest_side(opt), side_multiple(opt)
    small = [i for i, size in enumerate(sizes) if min(size) < smallest]
    if small:
        raise UserError(
            f"{len(small)} of {len(paths)} images are too small for the networks, first {described(small[0])}; each "
            f"side needs {smallest} at least: leave them out, or scale them by --preprocess resize_and_crop"
        )
    odd = next((i for i, size in enumerate(sizes) if size[0] % multiple or size[1] % multiple), None)
    if odd is not None:
        raise UserError(
            f"--netG {opt.netG} takes sides that are multiples of {multiple}, not {described(odd)}; "
            "use --preprocess resize_and_crop, or scripts/translate.py, which fills them up"
        )


def times(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
