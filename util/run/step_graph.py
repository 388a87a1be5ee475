"""A training step as one CUDA graph (``--cuda_graph``): Python goes through it once, the GPU repeats it.

A graph repeats the same kernels on the same memory, and while it is recorded nothing may be drawn, copied from the
host or waited for. What differs from step to step therefore lies in fixed tensors, filled before the recording and
before each repetition: the images, and what the model's ``draw_`` methods draw. The last ordinary step
notes which draws there are; inside, the methods hand out the fixed tensors in the same order. Learning rates are
constants of a graph, so it is recorded anew when they change.
"""

from contextlib import contextmanager

import torch
from torch import Tensor

from util import devices, distributed
from util.errors import warn
from util.random_state import rng_state
from util.run.guarded_updates import GuardedUpdates, Update
from util.run.state import load_rank_state, rank_state

WARM_UP = 3  # ordinary steps first: libraries choose algorithms, optimizers make their state
DRAWS = ("draw_patch_ids", "draw_noise")
OWN = ("patches", "noise")  # the generators that they draw from


def obstacle(model) -> str:
    """Why the model's step cannot be repeated by a GPU, or nothing."""
    if not devices.kind_of(model.device).graphs:
        return f"it needs an NVIDIA or AMD GPU, not {model.device.type}"
    if distributed.is_distributed():
        return "it works in one process alone"
    if "repeatable" not in vars(type(model)) | vars(model):
        return f"{type(model).__name__} does not say that its step is repeatable (docs/extending.md)"
    if not model.repeatable:
        return f"--model {model.opt.model} with these flags decides on the host during a step"
    return ""


class StepGraph:
    """To be called in place of ``model.step``. What cannot be repeated, such as a smaller last batch, runs as usual."""

    def __init__(self, model):
        self.model = model
        self.steps = 0
        self.learning_rates = None  # those of the recorded step
        self.inputs: list[str] = []  # what the model takes of a batch, by attribute
        self.images: dict[str, Tensor] = {}  # the graph reads these
        self.draws: list[tuple] = []  # (method, its arguments, the tensor that the graph reads)
        self.obstacle = obstacle(model)
        self.stream = None if self.obstacle else torch.cuda.Stream()  # a recording wants one of its own
        if self.obstacle:
            warn(f"--cuda_graph is left out: {self.obstacle}")

    def __call__(self, batch: dict) -> None:
        model = self.model
        self.steps += 1
        if self.obstacle:
            return model.step(batch)
        before = dict(vars(model))
        model.set_input(batch)
        if self.steps == 1:
            taken = {k: v for k, v in vars(model).items() if v is not before.get(k)}
            self.inputs = [name for name, value in taken.items() if isinstance(value, Tensor)]
        images = {name: getattr(model, name) for name in self.inputs}
        if self.steps < WARM_UP:
            return self.warm_up(model.run_step)
        if not self.images:
            return self.warm_up(lambda: self.note_draws(images))
        if any(images[name].shape != fixed.shape for name, fixed in self.images.items()):
            return model.run_step()
        random_state = rank_state(model) if self.learning_rates != model.learning_rates() else None
        for name, fixed in self.images.items():
            fixed.copy_(images[name])
        for name, arguments, fixed in self.draws:
            fixed.copy_(getattr(model, name)(*arguments))
        if random_state and not self._try_to_record():
            load_rank_state(model, random_state)
            return model.run_step()
        self.graph.replay()
        vars(model).update(self.results)
        model.statistics = dict(self.statistics)
        # Copies: the next repetition overwrites the graph's own.
        for phase, _, left_out, bad_here in self.updates:
            model.updates.pending.append(Update(phase, model.image_paths, left_out.clone(), bad_here.clone()))

    def warm_up(self, step) -> None:
        """An ordinary step on the stream that will be recorded."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            step()
        torch.cuda.current_stream().wait_stream(self.stream)

    def note_draws(self, images: dict[str, Tensor]) -> None:
        """An ordinary step that shows what the step draws."""

        def noting(name, draw):
            def noted(*arguments):
                drawn = draw(*arguments)
                self.draws.append((name, arguments, drawn.clone()))
                return drawn

            return noted

        self.images = {name: image.clone() for name, image in images.items()}
        before = drawn_from(self.model)
        with replaced(self.model, noting):
            self.model.run_step()
        after = drawn_from(self.model)
        if any(after[name] != before[name] for name in after if name not in OWN):
            self.give_up("the step draws other random numbers than by its draw_ methods, such as dropout")

    def _try_to_record(self) -> bool:
        """Recording runs no kernels: the step itself comes with the first repetition."""
        model, updates, before = self.model, self.model.updates, drawn_from(self.model)
        images = {name: getattr(model, name) for name in self.images}
        vars(model).update(self.images)
        model.updates, draws = GuardedUpdates(), iter(self.draws)

        def handing_out(name, draw):
            def handed_out(*arguments):
                noted, known, fixed = next(draws, (None, None, None))
                if (noted, known) != (name, arguments):
                    raise RuntimeError(f"{name}{arguments} is no draw of the step before")
                return fixed

            return handed_out

        try:
            with replaced(model, handing_out):
                self.record()
            if next(draws, None) or drawn_from(model) != before:
                raise RuntimeError("it draws other numbers than the step before")
        except RuntimeError as error:
            self.give_up(f"recording the step failed ({str(error).splitlines()[0]})")
            return False
        finally:
            self.updates, model.updates = model.updates.pending, updates
            vars(model).update(images)
        self.learning_rates = model.learning_rates()
        names = {"loss_" + name for name in model.loss_names} | set(model.visual_names) - set(images)
        self.results = {name: getattr(model, name) for name in names if hasattr(model, name)}
        self.statistics = dict(getattr(model, "statistics", {}))  # CUT's
        return True

    def record(self) -> None:
        groups = [group for optimizer in self.model.optimizers for group in optimizer.param_groups]
        devices.synchronize(self.model.device)
        self.graph = torch.cuda.CUDAGraph()
        try:
            for group in groups:
                group["capturable"] = True  # only now: a saved state has to load on a CPU as well
            # thread_local: the loader's thread may pin memory meanwhile
            with torch.cuda.graph(self.graph, stream=self.stream, capture_error_mode="thread_local"):
                self.model.run_step()
        finally:
            for group in groups:
                group["capturable"] = False

    def give_up(self, reason: str) -> None:
        self.obstacle = reason
        warn(f"--cuda_graph is left out from now on: {reason}")


@contextmanager
def replaced(model, other):
    """Each ``draw_`` method of ``model`` is ``other(its name, the method)`` meanwhile."""
    try:
        for name in DRAWS:
            if hasattr(model, name):
                setattr(model, name, other(name, getattr(model, name)))
        yield
    finally:
        for name in DRAWS:
            vars(model).pop(name, None)


def drawn_from(model) -> dict:
    """The state of every random generator, to be compared."""
    return torch.utils._pytree.tree_map(lambda x: x.tolist() if isinstance(x, Tensor) else x, rng_state(model))
