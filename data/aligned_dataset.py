"""Paired images: a file in ``--dataroot``/PHASE (train, test...) holds A in its left half, B in its right."""

import functools

from data.base_dataset import BaseDataset, get_params, get_transform, without_scaling
from data.checked_images import checked_images
from data.domain import Domain, channels_of, find_images
from util.errors import UserError
from util.pictures import Reader, phase_folder, reader_for

TOLERANCE = 1.1  # of pairs a little narrower than all of the training


class AlignedDataset(BaseDataset):
    """Both halves are cropped and mirrored alike."""

    def __init__(self, opt):
        super().__init__(opt)
        reader = reader_for(opt)
        if reader != reader_for(opt, "B"):
            raise UserError("--value_range takes two numbers with --dataset_mode aligned: a file holds both sides")
        paths = find_images(opt, phase_folder(opt), reader, columns=2)
        if not opt.isTrain:
            check_shapes(opt, paths, reader)
        self.halves = {
            side: Domain(opt, paths, channels, reader, part=("AB".index(side), 2))
            for side, channels in channels_of(opt).items()
        }
        self.AB_paths = paths

    def __getitem__(self, index: int) -> dict:
        path = self.AB_paths[index]
        # The file is decoded once for both halves, and not at all where the cache holds them.
        read = functools.cache(self.halves["A"].reader.open)
        images = {side: half.scaled(index, self.opt, read) for side, half in self.halves.items()}
        rest = without_scaling(self.opt)
        transform = get_transform(rest, get_params(rest, images["A"].size))
        item = {side: transform(image) for side, image in images.items()}
        return {**item, "A_paths": path, "B_paths": path}

    def __len__(self) -> int:
        return len(self.AB_paths)


def check_shapes(opt, paths: list[str], reader: Reader) -> None:
    """Refuse files that are too narrow to hold two pictures, measured by those of the run's training."""
    checked = checked_images(opt)
    trained = [entry["width"] / entry["height"] for entry in checked.pairs_of_training()]
    sizes = [facts.size for facts in checked.check(opt.dataroot, paths, reader)]
    narrow = [i for i, (width, height) in enumerate(sizes) if trained and width / height < min(trained) / TOLERANCE]
    if narrow:
        width, height = sizes[narrow[0]]
        raise UserError(
            f"{len(narrow)} of {len(paths)} files hold no pair side by side, first {paths[narrow[0]]!r} with "
            f"{width} x {height} pixels: in training they were at least {min(trained):.3g} times as wide as high; "
            f"translate single pictures with --model test --dataroot {phase_folder(opt)}, or by scripts/translate.py"
        )
