"""The options that train.py keeps in a run's folder: what test.py, --continue_train and the translator go by."""

import json
from argparse import Namespace
from pathlib import Path

from util.errors import UserError
from util.pictures import Reader, reader_for, source_side, target_side


def read_options(folder: Path, otherwise: str) -> dict | None:
    """Option -> value, and ``sources``, where each came from; None of a run of official code, which keeps none.
    ``UserError`` for a damaged file: to restore it, or to do ``otherwise``."""
    path = folder / "train_opt.json"
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text())
        if not (isinstance(values, dict) and isinstance(values.get("sources", {}), dict)):
            raise ValueError("no options")
    except (OSError, ValueError):
        raise UserError(f"{path} is not a readable JSON file of options; restore it, or {otherwise}") from None
    return {"sources": _guessed_sources(values)} | values


def readers_of_run(folder: Path | None, value_range: list[float] | None, max_pixels: float) -> tuple[Reader, Reader]:
    """Those of the pictures that a run translates and of those that they shall look like; without a ``value_range`` the
    one that the run in ``folder`` was trained with. Four numbers are here, too, those of A, then B."""
    saved = Namespace(value_range=None, direction="AtoB")
    try:
        vars(saved).update((folder and read_options(folder, "restore it")) or {})
    except UserError:  # a damaged file is reported where it is needed
        pass
    opt = Namespace(value_range=value_range or saved.value_range, max_pixels=max_pixels)
    return reader_for(opt, source_side(saved)), reader_for(opt, target_side(saved))


def _guessed_sources(values: dict) -> dict[str, str]:
    """Of a run from before they were saved. With --fast, fp32 was asked for (or it was a CPU without fast bf16)."""
    by_fast = {"channels_last", "compile"} | ({"precision"} if values.get("precision") != "fp32" else set())
    sources = dict.fromkeys(by_fast, "--fast") if values.get("fast") else {}
    return sources | ({"lr_N": "default"} if values.get("lr_N") == values.get("lr") else {})
