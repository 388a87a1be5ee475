"""Folders to tensors. ``--dataset_mode X`` is the class XDataset in ``data/X_dataset.py``."""

from collections.abc import Callable

from data.base_dataset import BaseDataset
from data.loader import Loader
from util.by_name import FilesByName

FILES = FilesByName("--dataset_mode", "data", "dataset")


def find_dataset_using_name(dataset_name: str) -> type[BaseDataset]:
    """The dataset class of ``data/NAME_dataset.py``."""
    return FILES.find(dataset_name, BaseDataset)


def get_option_setter(dataset_name: str) -> Callable:
    """The dataset's ``modify_commandline_options(parser, is_train)``."""
    return find_dataset_using_name(dataset_name).modify_commandline_options


def create_dataset(opt) -> Loader:
    """The images that ``opt`` names, checked, as batches: ``{"A", "B", "A_paths", "B_paths"}``."""
    return Loader(find_dataset_using_name(opt.dataset_mode)(opt), opt)
