"""A dataset to start from: copy it to ``data/MINE_dataset.py``, name the class ``MineDataset``, and run
``python train.py --dataset_mode mine``.

Draw random numbers from ``random``, ``numpy.random`` or ``torch``: the loader seeds them for each item, so
that a run can be repeated and resumed.
"""

import torch

from data.base_dataset import BaseDataset, get_params, get_transform
from data.image_folder import make_dataset
from util.pictures import reader_for


class TemplateDataset(BaseDataset):
    """Images below ``--dataroot``: B is the image in colour, A the same in gray with noise."""

    @staticmethod
    def modify_commandline_options(parser, is_train: bool):
        """Add flags of this dataset, or give other flags new defaults."""
        parser.add_argument("--template_noise", type=float, default=0.1, help="standard deviation of A's noise")
        parser.set_defaults(input_nc=1)
        return parser

    def __init__(self, opt):
        """Find the files; read what is small."""
        super().__init__(opt)
        self.image_paths = make_dataset(opt.dataroot, opt.max_dataset_size)
        self.reader = reader_for(opt)  # --value_range, --max_pixels; files that it can't take: read them your own way
        self.reader.check(self.image_paths)  # unreadable files are reported now, not in the middle of the run

    def __getitem__(self, index: int) -> dict:
        """Tensors (C, H, W) in [-1, 1] under the names that the model reads, and paths to name results by."""
        path = self.image_paths[index]
        image = self.reader.open(path)
        params = get_params(self.opt, image.size)  # one crop and one flip for both
        gray = get_transform(self.opt, params, grayscale=True)(image)
        color = get_transform(self.opt, params)(image)
        noisy = (gray + self.opt.template_noise * torch.randn_like(gray)).clamp(-1, 1)
        return {"A": noisy, "B": color, "A_paths": path, "B_paths": path}

    def __len__(self) -> int:
        return len(self.image_paths)
