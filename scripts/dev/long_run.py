"""See that memory and open files stay flat over thousands of steps, with the training page and Visdom on.

    python scripts/dev/long_run.py --steps 5000 --visdom

One process trains a tiny CUT on drawn images with train.py's own loop. Exit status 1 if, after the first fifth, its
memory grows by more than 5 MB or its open files, threads or child processes become more.
"""

import os
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import repository  # noqa: F401
import torch

import train
from scripts.dev.drill import draw
from scripts.start_visdom import own_server
from util.errors import UserError, run
from util.flag_types import ScriptParser
from util.loggers import Logger

FLAGS = (
    "--model cut --gpu_ids -1 --netG resnet_4blocks --ngf 2 --netD n_layers --n_layers_D 1 --ndf 2 --netF_nc 4 "
    "--num_patches 4 --nce_layers 0,4 --nce_idt false --load_size 20 --crop_size 16 --num_threads 1 --n_epochs_decay 0 "
    "--save_epoch_freq 50 --keep_checkpoints 2 --save_latest_freq 200 --print_freq 20 --display_freq 100 "
    "--update_html_freq 200 --quiet --eval_freq 0"
).split()
IMAGES = 6  # an epoch
MOST_GROWTH_MB = 5.0


class Watch(Logger):
    """Notes what the process holds, 20 times in the run."""

    def __init__(self, steps: int):
        self.every, self.rows = max(1, steps // 20), []

    def step(self, progress) -> None:
        if progress.total_images % self.every == 0:
            self.rows.append((progress.total_images, memory_mb(), *counts()))
            print("{:6} steps {:8.1f} MB {:4} files {:3} threads {:3} children".format(*self.rows[-1]), flush=True)

    def growth(self) -> list[str]:
        """What became more after the first fifth, in words."""
        start, end = self.rows[len(self.rows) // 5], self.rows[-1]
        grown = [f"memory by {end[1] - start[1]:.1f} MB"] if end[1] - start[1] > MOST_GROWTH_MB else []
        what = ("open files", "threads", "child processes")
        return grown + [f"{name} by {b - a}" for name, a, b in zip(what, start[2:], end[2:], strict=True) if b > a]


def memory_mb() -> float:
    """Resident, as Linux counts it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def counts() -> tuple[int, int, int]:
    """Open files, threads, children."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), len(children)


def main() -> None:
    parser = ScriptParser(__doc__)
    parser.add_argument("--steps", type=int, default=5000, help="of one image each")
    parser.add_argument("--visdom", action="store_true", help="start a server and show the run there")
    args = parser.parse_args()
    if not Path("/proc/self/statm").exists():
        raise UserError("scripts/dev/long_run.py reads /proc, which this system lacks")
    torch.set_num_threads(1)
    watch = Watch(args.steps)

    def create_loggers(opt, resume):
        loggers = original(opt, resume)
        loggers.loggers.append(watch)
        return loggers

    original, train.create_loggers = train.create_loggers, create_loggers
    visdom = own_server() if args.visdom else nullcontext()
    with tempfile.TemporaryDirectory() as folder, visdom as port:
        draw(Path(folder) / "images")
        where = [f"--dataroot={folder}/images", f"--checkpoints_dir={folder}", "--name=long"]
        shown = f"--display_port={port}" if port else "--display_id=0"
        sys.argv = ["train.py", *where, *FLAGS, shown, f"--n_epochs={-(-args.steps // IMAGES)}"]
        try:
            train.main()
        except SystemExit as end:
            status = end.code
    grown = watch.growth()
    print("; ".join(grown) or "flat", f"(training ended with status {status})" if status else "")
    sys.exit(bool(grown or status))


if __name__ == "__main__":
    run(main)
