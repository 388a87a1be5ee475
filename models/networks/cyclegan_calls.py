"""``define_G`` and ``define_D`` as CycleGAN's model files call them.

CUT put ``no_antialias`` and ``no_antialias_up`` in front of CycleGAN's last argument, ``gpu_ids``; the CycleGAN code of
2025 has no ``gpu_ids`` at all. A call that ends where CycleGAN's does means CycleGAN's networks, which know no
anti-aliasing.
"""

import functools
from collections.abc import Callable

from util import distributed

announced: set[str] = set()  # what a line was printed about


def as_cyclegan_calls(define: Callable, arguments: int, **without_antialias) -> Callable:
    """``define``, for which a call of exactly ``arguments`` positional values (up to ``init_gain``), or as many and a
    list of GPUs, and no keyword, is CycleGAN's; any other is CUT's."""

    @functools.wraps(define)
    def call(*args, **kwargs):
        gpu_ids = args[arguments:]
        if kwargs or len(args) < arguments or not (gpu_ids == () or len(gpu_ids) == 1 and isinstance(gpu_ids[0], list)):
            return define(*args, **kwargs)
        if not announced and not distributed.environment()[0]:
            print("networks without anti-aliasing, as CycleGAN's: the model's file calls define_G and define_D its way")
        announced.add(define.__name__)
        return define(*args[:arguments], gpu_ids=gpu_ids[0] if gpu_ids else (), **without_antialias)

    return call
