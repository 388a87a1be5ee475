"""Several ranks without torchrun: processes forked from a server that has imported torch once."""

import multiprocessing
import os
import pickle
import sys
import traceback

from free_port import free_port

FORK = "forkserver" in multiprocessing.get_all_start_methods()  # Windows has none
context = multiprocessing.get_context("forkserver" if FORK else "spawn")
if FORK:
    context.set_forkserver_preload(["train", "torch._dynamo", "scipy"])


def run_ranks(size: int, function, *args) -> list:
    """``function(rank, *args)`` on ``size`` ranks at a time; what each returned, or its traceback."""
    pipes = [context.Pipe(duplex=False) for _ in range(size)]
    processes = start_ranks(size, function, *args, pipes=[send for _, send in pipes])
    for _, send in pipes:
        send.close()
    try:
        results = [pickle.loads(receive.recv_bytes()) for receive, _ in pipes]
    except EOFError:  # a rank that ended without a word: the others would be waited for
        for process in processes:
            process.kill()
        raise
    for process in processes:
        process.join()
    return results


def start_ranks(size: int, function, *args, pipes: list | None = None) -> list:
    """The processes; what each returned goes into its pipe."""
    port = free_port()
    pipes = pipes or [None] * size
    processes = [
        context.Process(target=_rank, args=(rank, size, port, pipes[rank], function, args)) for rank in range(size)
    ]
    for process in processes:
        process.start()
    return processes


def _rank(rank: int, size: int, port: int, pipe, function, args) -> None:
    import torch

    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # of loader processes, as where no server is around
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update(where | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)})
    try:
        result = function(rank, *args)
    except BaseException:
        result = traceback.format_exc()
    sys.stdout.flush()
    if pipe:
        pipe.send_bytes(pickle.dumps(result))  # not send: tensors would go by files of this process, which ends
