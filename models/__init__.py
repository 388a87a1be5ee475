"""Models by name: ``--model negcut`` is the class ``NEGCUTModel`` (any case) in ``models/negcut_model.py``."""

from __future__ import annotations

import random
from argparse import Namespace
from typing import TYPE_CHECKING

from util.by_name import FilesByName
from util.errors import UserError

if TYPE_CHECKING:
    from models.base_model import BaseModel

FILES = FilesByName("--model", "models", "model")


def find_model_using_name(name: str) -> type[BaseModel]:
    """The model class of ``models/NAME_model.py``."""
    from models.base_model import BaseModel

    return FILES.find(name, BaseModel)


def get_option_setter(name: str):
    """``modify_commandline_options`` of the model's class."""
    return find_model_using_name(name).modify_commandline_options


def create_model(opt: Namespace) -> BaseModel:
    """The model that ``opt.model`` names, with every network, optimizer and scheduler it will ever have."""
    _seed(opt.seed)
    try:
        model = find_model_using_name(opt.model)(opt)
    except AttributeError as error:
        if error.obj is not opt:
            raise
        raise UserError(  # forks keep flags of their own in options/
            f"--model {opt.model} asks for opt.{error.name}, which no flag sets: add --{error.name} in the "
            f"modify_commandline_options of models/{opt.model}_model.py"
        ) from error
    if opt.rank:  # equal weights on every rank, but dropout of its own
        _seed(opt.seed + opt.rank)
    return model


def _seed(seed: int) -> None:
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
