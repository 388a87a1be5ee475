"""A device that is not the CPU, for machines without one: its tensors hold CPU tensors, so it computes real numbers,
and it is as strict as a GPU. It refuses tensors of two devices in an operation, and while ``strict`` whatever waits for
the device, also copies from the host's unpinned memory. For a process of its own: it becomes torch's accelerator."""

from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from util import devices

NAME = "madeup"
aten = torch.ops.aten


class OnDevice(Tensor):
    @staticmethod
    def __new__(cls, raw: Tensor):
        where = dict(strides=raw.stride(), storage_offset=raw.storage_offset(), dtype=raw.dtype, device=f"{NAME}:0")
        self = Tensor._make_wrapper_subclass(cls, raw.size(), **where)
        self.raw = raw
        return self

    @property
    def data(self):
        return Tensor.data.__get__(self)

    @data.setter
    def data(self, value):
        Tensor.data.__set__(self, value)
        self.raw = value.raw

    def tolist(self):
        if Device.now.strict:
            raise RuntimeError("tolist: waits for the device")
        return self.raw.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return Device.now.run(func, args, kwargs or {})


class Device(TorchDispatchMode):
    """While it is entered, tensors can be made on the device."""

    now: "Device"

    def __init__(self):
        super().__init__()
        Device.now, self.strict, self.pinned = self, False, set()
        self.under_way = []  # copies to the host: (from, to), there once an event says so

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return self.run(func, args, kwargs or {})

    @contextmanager
    def strictly(self):
        self.strict = True
        yield
        self.strict = False

    def run(self, func, args, kwargs):
        given = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
        ours = [x for x in given if isinstance(x, OnDevice)]
        asked = kwargs.get("device")
        target = (asked.type if isinstance(asked, torch.device) else str(asked).split(":")[0]) if asked else None
        if func in (aten.is_pinned.default, aten._pin_memory.default):
            return self.pin(func, *given)
        if not ours and target != NAME:
            return func(*args, **kwargs)
        if func is aten.copy_.default and len(args) == 3 and args[2] and self.is_pinned(args[0]):
            self.under_way.append((args[1].raw.clone(), args[0]))
            return args[0]
        self.check(func, given, ours, target)
        here = target == NAME or target is None and (func is not aten.copy_.default or isinstance(given[0], OnDevice))
        args, kwargs = tree_map(lambda x: x.raw if isinstance(x, OnDevice) else x, (args, kwargs))
        if target == NAME:
            kwargs = kwargs | {"device": torch.device("cpu")}
        result = func(*args, **kwargs)
        if any(a.alias_info and a.alias_info.is_write for a in func._schema.arguments):
            return self.inputs_again(given, result) if func._schema.returns else None
        if func is aten._to_copy.default and here and not ours:
            result = result.clone()  # memory of its own
        return tree_map(lambda x: OnDevice(x) if isinstance(x, Tensor) else x, result) if here else result

    def inputs_again(self, given, result):
        """An operation in place returns what it was given."""
        known = {id(x.raw if isinstance(x, OnDevice) else x): x for x in given}
        return tree_map(lambda x: known.get(id(x), OnDevice(x)) if isinstance(x, Tensor) else x, result)

    def pin(self, func, tensor):
        if func is aten.is_pinned.default:
            return self.is_pinned(tensor)
        copy = tensor.clone()
        self.pinned.add(copy.untyped_storage().data_ptr())
        return copy

    def is_pinned(self, tensor):
        return not isinstance(tensor, OnDevice) and tensor.untyped_storage().data_ptr() in self.pinned

    def check(self, func, given, ours, target):
        from_host = [x for x in given if not isinstance(x, OnDevice)]
        copies = func in (aten._to_copy.default, aten.copy_.default)
        if not copies and any(x.dim() for x in from_host):
            raise RuntimeError(f"{func}: tensors of two devices")
        if not self.strict:
            return
        back = copies and ours and (target == "cpu" or not isinstance(given[0], OnDevice))
        if back or func in (aten._local_scalar_dense.default, aten.nonzero.default, aten.equal.default):
            raise RuntimeError(f"{func}: waits for the device")
        if copies and from_host and not self.is_pinned(from_host[-1]):
            raise RuntimeError(f"{func}: a copy from unpinned memory")


class Module:
    """What ``torch.madeup`` would be."""

    def is_initialized(self):
        return True

    is_available = is_initialized

    def current_device(self):
        return 0

    def set_device(self, device):
        pass

    def device_count(self):
        return 1

    def _is_in_bad_fork(self):
        return False

    def manual_seed_all(self, seed):
        pass

    def get_amp_supported_dtype(self):
        return [torch.bfloat16]

    def get_rng_state(self):
        return torch.get_rng_state()

    def set_rng_state(self, state):
        torch.set_rng_state(state)


class Event:
    """Copies that were under way when it was recorded have arrived once it says so, the second time it is asked."""

    def __init__(self, device):
        assert torch.device(device).type == NAME
        self.asked = 0

    def record(self):
        self.copies = list(Device.now.under_way)

    def query(self):
        self.asked += 1
        if self.asked == 2:
            for source, target in self.copies:
                target.numpy()[...] = source.numpy()
        return self.asked >= 2


class Generator(torch.Generator):
    def __new__(cls, device="cpu"):
        return super().__new__(cls, "cpu" if torch.device(device).type == NAME else device)


def start() -> Device:
    """Tell torch of it. A generator of the device is the CPU's, so that it draws the same numbers."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(NAME, backend_module=Module())
    devices.KINDS[NAME] = replace(devices.KINDS["cuda"], tf32=False, graphs=False, bf16=False)
    torch.Generator, torch.Event = Generator, Event
    return Device()
