"""How much of a training's time Visdom takes, measured on real steps with a real server.

    python scripts/dev/visdom_cost.py --images 800 --dataroot datasets/toy --model negcut [any flag of train.py]

Counted are, at the frequencies that the flags say: all that the training thread does for Visdom (making the pictures
and handing over), and all processor time of the thread that draws, as if none of it ran beside the training.
"""

import sys
import tempfile
import time

import repository  # noqa: F401

import train
from scripts.start_visdom import own_server
from util.errors import run
from util.flag_types import ScriptParser
from util.loggers import Loggers, visdom_logger
from util.run.training_run import TrainingRun

steps: list[float] = []  # when each ended
spent = {"training thread": 0.0, "drawing thread": 0.0}  # seconds


def timed(method, thread: str, clock):
    def call(*arguments):
        begun = clock()
        try:
            return method(*arguments)
        finally:
            spent[thread] += clock() - begun

    return call


def main() -> None:
    parser = ScriptParser(__doc__, allow_abbrev=False)
    parser.add_argument("--images", type=int, default=800, help="to train on, about; default: 800")
    opt, flags = parser.parse_known_args()
    logger = visdom_logger.VisdomLogger
    for name in ("log_losses", "show_losses", "log_images", "log_scores"):
        setattr(logger, name, timed(getattr(logger, name), "training thread", time.perf_counter))
    TrainingRun.visuals = timed(TrainingRun.visuals, "training thread", time.perf_counter)
    Loggers._arrays = timed(Loggers._arrays, "training thread", time.perf_counter)
    logger._run = timed(logger._run, "drawing thread", time.thread_time)
    Loggers.step = lambda *_: steps.append(time.perf_counter())
    with own_server() as port, tempfile.TemporaryDirectory() as checkpoints:
        flags += ["--checkpoints_dir", checkpoints, "--name", "visdom_cost", "--display_port", str(port)]
        flags += ["--no_html", "--eval_freq", "0", "--quiet", "--max_dataset_size", str(opt.images)]
        images_an_epoch = len(train.create_dataset(train.options.parse(flags)))
        epochs = -(-opt.images // images_an_epoch)
        sys.argv = ["train.py", *flags, "--n_epochs", str(epochs), "--n_epochs_decay", "0"]
        try:
            train.main()
        except SystemExit as end:
            if end.code:
                raise
    seconds = steps[-1] - steps[0]
    print(f"{len(steps)} steps in {seconds:.1f} seconds, {seconds / (len(steps) - 1):.3f} each")
    for thread, cost in spent.items():
        print(f"{thread:<16} {cost:6.3f} seconds, {100 * cost / seconds:.2f}%")
    print(f"{'Visdom':<16} {sum(spent.values()):6.3f} seconds, {100 * sum(spent.values()) / seconds:.2f}%")


if __name__ == "__main__":
    run(main)
