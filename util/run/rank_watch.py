"""A rank that hangs ends all of them within minutes, with its name; the collectives alone would wait for hours.

Two threads of each rank: one tells all others how far it has come and hears how far they are, one judges. A rank hangs
if nothing is heard of it any more (its process is stopped, its machine gone), or if all wait and it is the one that has
joined the fewest collectives, unless it has marked a long job (``distributed.long_job``).
"""

import json
import os
import sys
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import torch.distributed as dist

from util import distributed
from util.distributed import ThisRank

INTERVAL, PATIENCE = 30.0, 600.0  # seconds: between two reports, and without any going on


@contextmanager
def watched(opt, interval: float = INTERVAL, patience: float = PATIENCE):
    """Watch the ranks inside; does nothing where there is one."""
    if not distributed.is_distributed():
        yield
        return
    watch = Watch(opt.rank, opt.world_size, common_store(opt.rank, patience), interval, patience)
    watch.start()
    try:
        yield
    finally:
        watch.ended.set()


def common_store(rank: int, patience: float) -> dist.TCPStore:
    """Where the ranks leave their reports, kept by rank 0; beside the collectives, in which they may be waiting."""
    where = dict(host_name=os.environ.get("MASTER_ADDR", "localhost"), timeout=timedelta(seconds=patience))
    store = dist.TCPStore(port=0, is_master=True, wait_for_workers=False, **where) if rank == 0 else None
    port = distributed.broadcast(store and store.port)
    return store or dist.TCPStore(port=port, is_master=False, wait_for_workers=False, **where)


class Watch:
    """``heard``: each rank's newest report and when it came; ``moved``: when each joined its newest collective."""

    def __init__(self, rank: int, world_size: int, store: dist.Store, interval: float, patience: float):
        self.rank, self.ranks, self.store = rank, range(world_size), store
        self.interval, self.patience = interval, patience
        self.ended = threading.Event()
        self.reports = {r: {"beat": 0, "joined": -1, "job": None} for r in self.ranks}
        self._restart()

    def start(self) -> None:
        for work in (self._talk, self._judge):
            threading.Thread(target=work, daemon=True, name=f"rank_watch{work.__name__}").start()

    def _restart(self) -> None:
        now = time.monotonic()
        self.heard, self.moved = dict.fromkeys(self.ranks, now), dict.fromkeys(self.ranks, now)

    def _talk(self) -> None:
        beat = 0
        while not self.ended.is_set():
            beat += 1
            try:
                report = {"beat": beat, "joined": ThisRank.joined, "job": ThisRank.job}
                self.store.set(str(self.rank), json.dumps(report))
                for rank in self.ranks:
                    self._hear(rank, json.loads(self.store.get(str(rank))))
            except RuntimeError:  # rank 0 is gone: the training's own collectives say so, or the judge does
                return
            self.ended.wait(self.interval)

    def _hear(self, rank: int, report: dict) -> None:
        now, before = time.monotonic(), self.reports[rank]
        if report["beat"] != before["beat"]:
            self.heard[rank] = now
        if report["joined"] != before["joined"] or report["job"]:
            self.moved[rank] = now
        self.reports[rank] = report

    def _judge(self) -> None:
        before = time.monotonic()
        while not self.ended.wait(self.interval):
            now = time.monotonic()
            if now - before > self.interval + self.patience / 2:
                self._restart()  # this process itself stood still, perhaps with all others (Ctrl-Z)
            elif hanging := self.hanging(now):
                self._end(hanging)
            before = now

    def hanging(self, now: float) -> list[int]:
        """The ranks to name; none while all goes well."""
        silent = [rank for rank in self.ranks if now - self.heard[rank] > self.patience]
        if self.rank in silent:
            return [0]  # who keeps the reports
        if silent:
            return silent
        fewest = min(report["joined"] for report in self.reports.values())
        behind = [rank for rank in self.ranks if self.reports[rank]["joined"] == fewest]
        return behind if all(now - self.moved[rank] > self.patience for rank in behind) else []

    def _end(self, hanging: list[int]) -> None:
        who = ("rank " if len(hanging) == 1 else "ranks ") + ", ".join(map(str, hanging))
        print(
            f"error: {who} stood still for {self.patience / 60:g} minutes, so all end; start the same torchrun command "
            "with --continue_train to go on from the last checkpoint",
            file=sys.stderr,
            flush=True,
        )
        sys.stdout.flush()
        os._exit(2)  # the main thread waits inside a collective and hears no exception
