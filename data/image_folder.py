"""Official names for dataset files written for CUT or CycleGAN, over the one lister and reader in util/pictures.py."""

from collections.abc import Callable

from PIL import Image
from torch.utils.data import Dataset

from util.errors import UserError
from util.pictures import Facts, Reader, is_image_file, list_folder

__all__ = ["ImageFolder", "check_images", "default_loader", "is_image_file", "make_dataset", "open_image"]


def make_dataset(dir: str, max_dataset_size: float = float("inf")) -> list[str]:
    """Paths of the first ``max_dataset_size`` images in ``dir`` and the folders below it, sorted by code point."""
    paths = list(map(str, list_folder(dir, order=str).paths))
    return paths[: int(min(max_dataset_size, len(paths)))]


def open_image(path: str, channels: int = 3) -> Image.Image:
    """The image at ``path`` as a viewer shows it: "RGB" for 3 channels, "L" for 1 (``Reader.open``)."""
    return Reader().open(path, channels)


default_loader = open_image


def check_images(paths: list[str]) -> list[Facts]:
    """What checking every image has shown; one ``UserError`` for those that cannot be read (``Reader.check``)."""
    return Reader().check(paths)


class ImageFolder(Dataset):
    """The images of a folder, read by ``loader`` and changed by ``transform``; with ``return_paths`` (image, path)."""

    def __init__(
        self, root: str, transform: Callable | None = None, return_paths: bool = False, loader: Callable = open_image
    ):
        self.root, self.transform, self.return_paths, self.loader = root, transform, return_paths, loader
        self.imgs = make_dataset(root)
        if not self.imgs:
            raise UserError(f"the folder {root!r} holds no images")

    def __getitem__(self, index: int):
        path = self.imgs[index]
        image = self.loader(path)
        image = self.transform(image) if self.transform else image
        return (image, path) if self.return_paths else image

    def __len__(self) -> int:
        return len(self.imgs)
