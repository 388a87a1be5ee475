"""Models by name: ``--model negcut`` is the class ``NEGCUTModel`` (any case) in ``models/negcut_model.py``."""

from __future__ import annotations

import random
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from util.errors import UserError, import_file
from util.words import did_you_mean

if TYPE_CHECKING:
    from models.base_model import BaseModel


def names() -> list[str]:
    """What ``--model`` can be."""
    files = Path(__file__).parent.glob("*_model.py")
    return sorted(path.stem.removesuffix("_model") for path in files if path.stem != "base_model")


def check_name(name: str) -> None:
    """``UserError`` where no model goes by it. Needs no torch, whose import takes seconds."""
    if name not in names():
        raise UserError(
            f"--model {name}: there is no models/{name}_model.py; choose from {', '.join(names())}"
            f"{did_you_mean(name, names())}"
        )


def find_model_using_name(name: str) -> type[BaseModel]:
    """The model class of ``models/NAME_model.py``."""
    from models.base_model import BaseModel

    check_name(name)
    module = import_file(f"--model {name}", f"models.{name}_model")
    wanted = name.replace("_", "") + "model"
    for attribute, cls in vars(module).items():
        if attribute.lower() == wanted and isinstance(cls, type) and issubclass(cls, BaseModel):
            return cls
    raise UserError(f"models/{name}_model.py must define a subclass of BaseModel called {wanted} (in any case)")


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
