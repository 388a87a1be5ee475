"""Images of one domain, all those below ``--dataroot``: for translating a folder without the other side."""

from data.base_dataset import BaseDataset
from data.domain import Domain, find_images
from util.pictures import reader_for, source_side


class SingleDataset(BaseDataset):
    """The images are what the generator takes in, whatever the direction.

    They are called A, as ``--model test`` wants them, and with ``--direction BtoA`` B as well.
    """

    def __init__(self, opt):
        super().__init__(opt)
        reader = reader_for(opt, source_side(opt))
        self.images = Domain(opt, find_images(opt, opt.dataroot, reader), opt.input_nc, reader)

    def __getitem__(self, index: int) -> dict:
        image, path = self.images.tensor(index, self.opt), self.images.paths[index]
        item = {"A": image, "A_paths": path}
        if self.opt.direction == "BtoA":
            item |= {"B": image, "B_paths": path}
        return item

    def __len__(self) -> int:
        return len(self.images)
