"""Which processor a flag names, on machines with other GPUs than this one."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from util.devices import get_device, parse_gpu_ids
from util.errors import UserError


@pytest.fixture
def gpus(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    return lambda count: monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    "count, text, asked_for, ids",
    [
        (0, "-1", True, []),
        (0, "-1", False, []),
        (2, "-1", True, []),
        (0, "0", False, []),  # the default on a machine without GPU
        (1, "0", False, [0]),
        (1, "0", True, [0]),
        (4, "3", True, [3]),
        (4, " 2 ", True, [2]),
        (1, "-1,0", True, [0]),
    ],
)
def test_ids(count, text, asked_for, ids, gpus):
    gpus(count)
    assert parse_gpu_ids(text, asked_for) == ids


@pytest.mark.parametrize(
    "count, text, says",
    [
        (0, "0", "GPU 0 is not there (this machine has none); use -1 for the CPU"),
        (1, "1", "GPU 1 is not there (this machine has 1, numbered from 0)"),
        (2, "0,5", "GPU 5 is not there (this machine has 2, numbered from 0)"),
        (2, "0,1", "one process uses one GPU; for several start `torchrun --nproc_per_node=2 train.py ...`"),
        (2, "", "must be a GPU's number, or -1 for the CPU, not ''"),
        (2, "cpu", "must be a GPU's number, or -1 for the CPU, not 'cpu'"),
        (2, "0;1", "must be a GPU's number, or -1 for the CPU, not '0;1'"),
        (2, "0,", "must be a GPU's number"),
    ],
)
def test_what_cannot_be_used(count, text, says, gpus):
    gpus(count)
    with pytest.raises(UserError) as error:
        parse_gpu_ids(text, asked_for=True)
    assert says in str(error.value) and str(error.value).startswith("--gpu_ids") and "\n" not in str(error.value)


@given(st.integers(0, 63))
def test_device(number):
    assert get_device([]) == torch.device("cpu")
    assert get_device([number]) == torch.device("cuda", number)
