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
from models import create_model
from util import distributed
from util.loggers import Progress, create_loggers
from util.run.checkpoints import Position
from util.run.interruption import EXIT_CODE, Interruption
from util.run.lock import locked
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
    training = TrainingRun(opt, model, dataset)  # checkpoints, and the position that a resumed run goes on from
    if training.is_finished():
        sys.exit(0)
    validation = create_validation(opt, create_dataset, options.for_testing(opt), model.device)
    options.save_options(opt, training.folder)
    last_epoch = opt.n_epochs + opt.n_epochs_decay
    epoch, done, total = training.start.epoch, training.start.epoch_images, training.start.total_images
    step = StepGraph(model) if opt.cuda_graph else model.step
    stopwatch = Stopwatch()

    with create_loggers(opt, training.resumed_at) as loggers, Interruption(opt.time_budget) as interruption:
        training.announce(loggers)
        while epoch <= last_epoch and not interruption.requested():
            dataset.set_epoch(epoch, skip_images=done)
            progress = Progress(epoch, done, total, 0, len(dataset), last_epoch)
            for batch in stopwatch.watch(dataset, count=training.images_in):
                step(batch)
                model.update_ema()

                images = training.images_in(batch)
                done, total = done + images, total + images
                speed = stopwatch.seconds_per_image, stopwatch.data_share, model.learning_rates()
                progress = Progress(epoch, done, total, images, len(dataset), last_epoch, *speed)
                loggers.step(progress)
                if progress.passed(opt.print_freq):
                    loggers.log_losses(progress, training.checked_losses())
                if progress.passed(opt.display_freq) or progress.passed(opt.update_html_freq):
                    loggers.log_images(progress, training.visuals())
                if training.save_is_due(progress):
                    training.save_latest(Position(epoch, done, total))
                if interruption.requested():
                    break
            else:
                model.update_learning_rate()
                training.end_epoch(progress, loggers, validation)
                epoch, done = epoch + 1, 0
        finished = epoch > last_epoch
        training.save_latest(Position(epoch, done, total))
    training.summary(total, None if finished else interruption.reason)
    sys.exit(0 if finished else EXIT_CODE)


if __name__ == "__main__":
    run(main)
