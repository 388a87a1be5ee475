"""Models by name: ``--model negcut`` is the class ``NEGCUTModel`` (any case) in ``models/negcut_model.py``."""

import importlib
import random
from pathlib import Path

import numpy as np
import torch

from models.base_model import BaseModel
from util.errors import UserError


def find_model_using_name(name: str) -> type[BaseModel]:
    """The model class of ``models/NAME_model.py``."""
    folder = Path(__file__).parent
    if not (folder / f"{name}_model.py").exists():
        there = sorted(
            path.name[: -len("_model.py")] for path in folder.glob("*_model.py") if path.stem != "base_model"
        )
        raise UserError(f"--model {name}: there is no models/{name}_model.py; choose from {', '.join(there)}")
    module = importlib.import_module(f"models.{name}_model")
    wanted = name.replace("_", "") + "model"
    for attribute, cls in vars(module).items():
        if attribute.lower() == wanted and isinstance(cls, type) and issubclass(cls, BaseModel):
            return cls
    raise UserError(f"models/{name}_model.py must define a subclass of BaseModel called {wanted} (in any case)")


def get_option_setter(name: str):
    """``modify_commandline_options`` of the model's class."""
    return find_model_using_name(name).modify_commandline_options


def create_model(opt) -> BaseModel:
    """The model that ``opt.model`` names, with every network, optimizer and scheduler it will ever have."""
    random.seed(opt.seed)
    np.random.seed(opt.seed)
    torch.manual_seed(opt.seed)
    return find_model_using_name(opt.model)(opt)
