"""A training step as one CUDA graph (``--cuda_graph``): Python goes through it once, the GPU repeats it.

A graph repeats the same kernels on the same memory. What differs from step to step lies in fixed tensors that are
filled before each repetition: the images, and what the model's ``draw_`` methods draw, in the order in which an
ordinary step draws it. Learning rates are constants of a graph, so it is recorded anew when they change.
"""

import torch
from torch import Tensor

from util import distributed
from util.errors import warn
from util.run.guarded_updates import GuardedUpdates, Update
from util.run.state import load_rank_state, rank_state

WARM_UP = 3  # ordinary steps first: libraries choose algorithms, optimizers make their state
DRAWS = ("draw_patch_ids", "draw_noise")


def obstacle(model) -> str:
    """Why the model's step cannot be repeated by a GPU, or nothing."""
    if model.device.type != "cuda":
        return "it needs an NVIDIA GPU"
    if distributed.is_distributed():
        return "it works in one process alone"
    if not model.repeatable:
        return f"--model {model.opt.model} with these flags decides on the host during a step"
    return ""


class StepGraph:
    """To be called in place of ``model.step``. What cannot be repeated, such as a smaller last batch, runs as usual."""

    def __init__(self, model):
        self.model = model
        self.steps = 0
        self.learning_rates = None  # those of the recorded step
        self.images: dict[str, Tensor] = {}
        self.draws: list[tuple] = []  # (method, its arguments, the tensor that the graph reads)
        self.obstacle = obstacle(model)
        if self.obstacle:
            warn(f"--cuda_graph is left out: {self.obstacle}")

    def __call__(self, batch: dict) -> None:
        model = self.model
        self.steps += 1
        if self.obstacle or self.steps <= WARM_UP:
            return model.step(batch)
        model.set_input(batch)
        images = {"real_A": model.real_A, "real_B": model.real_B}
        if any(images[name].shape != fixed.shape for name, fixed in self.images.items()):
            return model.run_step()
        if self.learning_rates != model.learning_rates():
            if not self._try_to_record(images):
                return model.run_step()
        else:
            for name, fixed in self.images.items():
                fixed.copy_(images[name])
            for draw, arguments, fixed in self.draws:
                fixed.copy_(draw(*arguments))
        self.repeat()
        vars(model).update(self.results)
        model.statistics = dict(self.statistics)
        # Copies: the next repetition overwrites the graph's own.
        for phase, _, left_out, bad_here in self.updates:
            model.updates.pending.append(Update(phase, model.image_paths, left_out.clone(), bad_here.clone()))

    def _try_to_record(self, images: dict[str, Tensor]) -> bool:
        """Recording runs no kernels: the step itself comes with the first repetition."""
        model, updates, random_state = self.model, self.model.updates, rank_state(self.model)
        self.images = {name: image.clone() for name, image in images.items()}
        self.draws, model.updates = [], GuardedUpdates()
        for name in DRAWS:
            if hasattr(model, name):
                setattr(model, name, self._noting(getattr(model, name)))
        vars(model).update(self.images)
        try:
            self.record()
        except RuntimeError as error:
            self.obstacle = f"recording the step failed ({str(error).splitlines()[0]})"
            warn(f"--cuda_graph is left out: {self.obstacle}")
            load_rank_state(model, random_state)
            return False
        finally:
            self.updates, model.updates = model.updates.pending, updates
            for name in DRAWS:
                vars(model).pop(name, None)
            vars(model).update(images)
        self.learning_rates = model.learning_rates()
        names = {"loss_" + name for name in model.loss_names} | set(model.visual_names) - set(images)
        self.results = {name: getattr(model, name) for name in names}
        self.statistics = dict(model.statistics)
        return True

    def _noting(self, draw):
        def noted(*arguments):
            self.draws.append((draw, arguments, draw(*arguments)))
            return self.draws[-1][-1]

        return noted

    def record(self) -> None:
        groups = [group for optimizer in self.model.optimizers for group in optimizer.param_groups]
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        try:
            for group in groups:
                group["capturable"] = True  # only now: a saved state has to load on a CPU as well
            # thread_local: the loader's thread may pin memory meanwhile
            with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
                self.model.run_step()
        finally:
            for group in groups:
                group["capturable"] = False

    def repeat(self) -> None:
        self.graph.replay()
