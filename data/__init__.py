"""Folders to tensors. ``--dataset_mode X`` is the class XDataset in ``data/X_dataset.py``."""

import pkgutil
from collections.abc import Callable

from data.base_dataset import BaseDataset
from data.loader import Loader
from util.errors import UserError, import_file
from util.words import did_you_mean

SUFFIX = "_dataset"


def names() -> list[str]:
    """What ``--dataset_mode`` can be."""
    files = [module.name for module in pkgutil.iter_modules(__path__) if module.name.endswith(SUFFIX)]
    return sorted(name.removesuffix(SUFFIX) for name in files if name != "base_dataset")


def find_dataset_using_name(dataset_name: str) -> type[BaseDataset]:
    """The dataset class of ``--dataset_mode dataset_name``."""
    if dataset_name not in names():
        raise UserError(
            f"--dataset_mode {dataset_name!r} does not exist; choose one of {', '.join(names())}"
            f"{did_you_mean(dataset_name, names())}"
        )
    module = import_file(f"--dataset_mode {dataset_name}", f"data.{dataset_name}{SUFFIX}")
    wanted = dataset_name.replace("_", "") + "dataset"
    for name, value in vars(module).items():
        if name.lower() == wanted and isinstance(value, type) and issubclass(value, BaseDataset):
            return value
    raise UserError(f"{module.__file__} must hold a BaseDataset whose name in lower case is {wanted}")


def get_option_setter(dataset_name: str) -> Callable:
    """The dataset's ``modify_commandline_options(parser, is_train)``."""
    return find_dataset_using_name(dataset_name).modify_commandline_options


def create_dataset(opt) -> Loader:
    """The images that ``opt`` names, checked, as batches: ``{"A", "B", "A_paths", "B_paths"}``."""
    return Loader(find_dataset_using_name(opt.dataset_mode)(opt), opt)
