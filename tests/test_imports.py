"""Imports go one way: train.py, test.py, scripts -> options, models, data -> util. No circles."""

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("options", "models", "data", "util", "scripts")
FILES = [*ROOT.glob("*.py"), *(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


@cache
def imports(module: str) -> frozenset[str]:
    """Our modules that ``module`` imports anywhere in it, the packages above them included: they run first."""
    path, found = MODULES[module], set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    found |= {name.rsplit(".", i)[0] for name in found for i in range(1, name.count(".") + 1)}
    return frozenset(found & MODULES.keys() - {module})


@cache
def needed_at_import(module: str) -> frozenset[str]:
    """``imports``, without those inside functions, and without the packages that ``module`` itself lies in: those are
    being imported already."""
    tree, found = ast.parse(MODULES[module].read_text()), set()
    todo = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            todo += ast.iter_child_nodes(node)
    return frozenset(name for name in found & MODULES.keys() - {module} if not f"{module}.".startswith(f"{name}."))


def package_of(module: str) -> str:
    return module.split(".")[0] if module.split(".")[0] in PACKAGES else "entry"


MAY_IMPORT = {
    "util": {"util"},
    "data": {"data", "util"},
    "models": {"models", "util"},
    "options": {"options", "models", "data", "util"},
    "entry": {"options", "models", "data", "util"},
    "scripts": {"scripts", "options", "models", "data", "util", "entry"},
}


# A second name for notebooks, resolved when it is used.
EXCEPT = {"util.translator": {"models", "models.inference", "models.inference.translator"}}


def test_the_walk_sees_the_files():
    assert {"train", "test", "util", "util.files", "models.networks.blocks", "scripts.evaluate"} <= MODULES.keys()
    assert {"options", "data", "models", "util.run.training_run"} <= imports("train")
    assert "util.metrics.evaluator" in imports("util.run.validation") - needed_at_import("util.run.validation")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_one_way(module):
    wrong = {name for name in imports(module) if package_of(name) not in MAY_IMPORT[package_of(module)]}
    wrong -= EXCEPT.get(module, set()) - needed_at_import(module)
    assert not wrong, f"{module} may not import {', '.join(sorted(wrong))}"


ROOMS = ("util", "util.metrics", "util.run", "util.pages", "util.loggers")  # from the ground up


def room_of(module: str) -> int:
    return max((i for i, room in enumerate(ROOMS) if f"{module}.".startswith(f"{room}.")), default=-1)


def test_rooms_of_util_stand_on_each_other():
    """The files that lie in util itself know no room, but for the official face of the loggers."""
    ours = {module for module in MODULES if package_of(module) == "util"} - {"util.visualizer"}
    above = {f"{module} -> {name}" for module in ours for name in imports(module) if room_of(name) > room_of(module)}
    assert not above


def circle(start: str) -> list[str] | None:
    """A way from ``start`` back to it."""
    todo, seen = [[name] for name in needed_at_import(start)], set()
    while todo:
        way = todo.pop()
        if way[-1] == start:
            return [start, *way]
        if way[-1] not in seen:
            seen.add(way[-1])
            todo += [[*way, name] for name in needed_at_import(way[-1])]
    return None


def test_no_circles():
    circles = {" -> ".join(way) for module in MODULES if (way := circle(module))}
    assert not circles


def test_within_models():
    """*_model.py -> networks, losses, base_model; networks know no model."""
    for module in MODULES:
        if module.startswith("models.networks"):
            wrong = {name for name in imports(module) if name.startswith("models.") and name.endswith("_model")}
            assert not wrong, module
    basics = {"models.losses", "models.schedulers", "models.networks.blocks"}
    for module in basics:
        assert not {name for name in imports(module) if name.endswith("_model")}, module


FIRST = """
import importlib, os, sys, traceback
sys.path[:0] = [root, root + "/scripts", root + "/scripts/data", root + "/scripts/dev"]
import numpy, PIL.Image, scipy.stats, torch, torch.utils.checkpoint, torchvision  # once
for module in modules:
    if os.fork() == 0:
        try:
            importlib.import_module(module)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.wait()[1]:
        sys.exit(module + " cannot be imported first")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_every_module_can_be_imported_first():
    """In a process of its own: a hidden circle shows only in some orders."""
    code = f"root, modules = {str(ROOT)!r}, {list(MODULES)!r}\n{FIRST}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_program_starts_without_what_few_need():
    """Dashboards, metrics and exporters are imported when they are used."""
    code = "import sys; sys.path.insert(0, {root!r}); import train; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code.format(root=str(ROOT))], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for heavy in ("visdom", "tensorboard", "torch_fidelity", "onnx", "scipy", "matplotlib", "torch._dynamo"):
        assert heavy not in done.stdout.split(), heavy


AT_TORCH = """
import os, sys
class AtTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("PYTORCH_ENABLE_MPS_FALLBACK"))
            os._exit(sys.stdout.flush() or 0)
sys.meta_path.insert(0, AtTorch())
sys.path[:0] = [root, f"{root}/{folder}"]
__import__(module)
"""


@pytest.mark.parametrize(
    ("folder", "module"),
    [("", "train"), ("", "util.translator"), ("scripts", "translate"), ("scripts/dev", "benchmark")],
)
def test_torch_is_told_of_the_way_out_on_apples_devices_before_it_is_imported(folder, module):
    environment = {key: value for key, value in os.environ.items() if key != "PYTORCH_ENABLE_MPS_FALLBACK"}
    code = f"root, folder, module = {str(ROOT)!r}, {folder!r}, {module!r}\n{AT_TORCH}"
    if module == "util.translator":  # imports on demand
        code += "import util.translator; util.translator.Translator"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["1"], done.stderr
