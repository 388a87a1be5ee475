"""Train a model: python train.py --dataroot ./datasets/horse2zebra --name h2z --model negcut

Goes on with --continue_train alone; Ctrl-C, SIGTERM, SIGUSR1 and --time_budget save first and exit with status 75.
--help has the flags that most need, --help-all every one; see options/
"""

import sys

import options
from util.errors import run

if __name__ == "__main__":
    run(options.look_ahead)  # --help and wrong values are answered before torch is imported

from data import create_dataset
from data.checked_images import splits
from models import create_model
from util import distributed
from util.loggers import create_loggers
from util.run.interruption import EXIT_CODE, Interruption
from util.run.lock import locked
from util.run.rank_watch import watched
from util.run.step_graph import StepGraph
from util.run.stopwatch import Stopwatch
from util.run.training_run import TrainingRun
from util.run.validation import create_validation


def main() -> None:
    opt = options.parse()
    with locked(opt):
        train(opt)


def train(opt) -> None:
    distributed.start(opt)
    dataset = create_dataset(opt)
    model = create_model(opt)
    training = TrainingRun(opt, model, dataset)  # checkpoints, and where a resumed run goes on
    if training.is_finished():
        sys.exit(0)
    validation = create_validation(opt, create_dataset, options.for_testing(opt), model.device)
    options.save_options(opt, training.folder)
    dataset.save_checks()  # of its pictures, which the next start need not open
    training.describe_start(splits(opt))  # for starts.jsonl, at the first step
    step = StepGraph(model) if opt.cuda_graph else model.step
    stopwatch = Stopwatch()

    loggers = create_loggers(opt, training.resumed_at)
    with loggers, Interruption(opt.time_budget) as interruption, watched(opt):
        training.announce(loggers, validation)
        progress = training.progress
        while not progress.is_finished and not interruption.requested():
            dataset.set_epoch(progress.epoch, skip_images=progress.epoch_images)
            model.set_epoch(progress.epoch)
            for batch in stopwatch.watch(dataset, count=training.images_in):
                step(batch)
                model.update_ema()
                speed = dict(seconds_per_image=stopwatch.seconds_per_image, data_share=stopwatch.data_share)
                progress = progress.after(training.images_in(batch), **speed, learning_rates=model.learning_rates())
                training.after_step(progress, loggers)
                if interruption.requested():
                    break
            else:
                training.end_epoch(progress, loggers, validation)
                progress = progress.next_epoch()
        training.save_last(progress, interruption)
    training.summary(progress, None if progress.is_finished else interruption.reason)
    sys.exit(0 if progress.is_finished else EXIT_CODE)


if __name__ == "__main__":
    run(main)
