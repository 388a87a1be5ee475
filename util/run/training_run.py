"""What surrounds the training loop: where it starts, what follows a step and an epoch, when and what it saves."""

import math
import re
import time
from pathlib import Path

import torch

from util import distributed
from util.errors import UserError, warn
from util.files import BESIDE
from util.json_lines import read
from util.metrics.names import at_this_size, plotted_scores
from util.metrics.records import summary, summary_line
from util.run import checkpoints, starts
from util.run.interruption import Interruption
from util.run.losses import Losses
from util.run.progress import Position, Progress
from util.run.run_summary import print_end, print_start
from util.run.state import rank_state, schedule_from
from util.run.undisturbed import undisturbed
from util.run.votes import Vote
from util.words import plural

RETRY_SECONDS = 60  # after a save that failed
PATIENCE_SECONDS = 3600  # with the last one


class TrainingRun:
    """``progress``: where training goes on; ``resumed_at``: the same for a resumed run, None for a new one."""

    def __init__(self, opt, model, dataset):
        self.opt, self.model, self.dataset = opt, model, dataset
        self.folder = Path(opt.checkpoints_dir) / opt.name
        self.folder.mkdir(parents=True, exist_ok=True)
        if opt.rank == 0:
            for leftover in self.folder.glob(f"{BESIDE}*"):  # of a run that was killed while it saved
                leftover.unlink(missing_ok=True)
        self.begun = self.saved_at = time.monotonic()
        self.save_failed = False
        self.on_disk: Position | None = None  # where the saved state stands
        self.save_vote = Vote(self._save_is_late)
        self.losses = Losses(opt, model, self.folder)
        self.pretrained = ""  # where weights come from
        dataset.set_epoch(opt.epoch_count)
        model.see_first_batch(dataset)
        model.setup(opt)
        position = self._resume() if opt.continue_train else self._new()
        last_epoch = opt.n_epochs + opt.n_epochs_decay
        self.progress = Progress(**vars(position), step_images=0, epoch_size=len(dataset), last_epoch=last_epoch)
        distributed.share_weights(model.networks().values())
        distributed.check_weights(model.networks())  # every rank has read its files before rank 0 writes
        aside = None if opt.continue_train or opt.rank else checkpoints.set_aside(self.folder)
        if aside:
            self._say(checkpoints.where_it_went(opt.name, aside))
        self.resumed_at = self.on_disk = position if opt.continue_train else None
        self.start_record: dict | None = None  # to be recorded once a step is done

    def _new(self) -> Position:
        if self.opt.pretrained_name:
            self.pretrained = self._load_pretrained(Path(self.opt.checkpoints_dir) / self.opt.pretrained_name)
        return Position(self.opt.epoch_count)

    def _load_pretrained(self, folder: Path) -> str:
        """Take the weights that there are; says which, and which networks start new."""
        if not folder.is_dir():
            raise UserError(f"--pretrained_name {self.opt.pretrained_name}: there is no folder {folder}")
        new = self.model.load_networks(self.opt.epoch, folder, may_miss=True)
        taken = [name for name in self.model.networks() if name not in new]
        return f"{', '.join(taken)} from {folder}, epoch {self.opt.epoch}" + (f"; new: {', '.join(new)}" if new else "")

    def _resume(self) -> Position:
        opt = self.opt
        if opt.epoch != "latest":
            return self._resume_from_weights()
        position = checkpoints.load_state(self.model, opt)
        if position is None and not any(self.folder.glob("*_net_*.pth")):
            self._say(f"{self.folder} holds no checkpoint yet: training starts at its beginning")
            return self._new()
        if position and opt.epoch_count not in (1, position.epoch):
            self._say(f"--epoch_count {opt.epoch_count} is left out: the state goes on in epoch {position.epoch}")
        return position or self._resume_from_weights()

    def _resume_from_weights(self) -> Position:
        """Checkpoints of the official code hold weights alone."""
        self.model.load_networks(self.opt.epoch)
        epoch, how = self._epoch_of_weights()
        schedule_from(self.model, epoch)
        self._say(
            f"{self.folder} has weights but no {checkpoints.STATE} for --epoch {self.opt.epoch}: optimizers and random "
            f"numbers start anew at epoch {epoch} ({how})"
        )
        return Position(epoch, total_images=(epoch - 1) * len(self.dataset))

    def _epoch_of_weights(self) -> tuple[int, str]:
        """The epoch to go on with, and how it was found."""
        if self.opt.epoch_count > 1:
            return self.opt.epoch_count, "from --epoch_count"
        if self.opt.epoch.isdigit():
            return int(self.opt.epoch) + 1, "from --epoch"
        found = [(row["epoch"], "from losses.jsonl") for row in read(self.folder / "losses.jsonl")[-1:]]
        log = self.folder / "loss_log.txt"
        lines = log.read_text(errors="replace") if log.exists() else ""
        found += [(int(epoch), "from loss_log.txt") for epoch in re.findall(r"^\(epoch: (\d+),", lines, re.M)[-1:]]
        saved = checkpoints.numbered_epochs(self.folder, "G*")[-1:]
        found += [(epoch + 1, "from the newest numbered checkpoint") for epoch in saved]
        return max(found, default=(1, "no record of it was found; --epoch_count says otherwise"))

    def is_finished(self) -> bool:
        """Whether a resumed run has no epoch left to train, which is then said; nothing is to be written."""
        if self.progress.is_finished:
            self._say(
                f"all {plural(self.progress.last_epoch, 'epoch')} of {self.folder} are trained, nothing is changed; "
                f"--continue_train --n_epochs {self.opt.n_epochs + 100} trains 100 more"
            )
        return self.progress.is_finished

    def describe_start(self, data: dict) -> None:
        """``data``: what was found in each split of the data set."""
        if self.opt.rank == 0:
            self.start_record = starts.describe(self.opt, self.model, data, self.progress.total_images)

    def images_in(self, batch: dict) -> int:
        """Images of the translated side in this step, over all ranks."""
        return len(next(v for v in batch.values() if isinstance(v, torch.Tensor))) * self.opt.world_size

    def after_step(self, progress: Progress, loggers) -> None:
        """The one place that decides what a step is followed by: losses, pictures, a save."""
        opt = self.opt
        distributed.ThisRank.job = None  # the first step, which may compile, is done
        if self.start_record:
            loggers.log_start(self.start_record)
            self.start_record = None
        loggers.step(progress)
        if progress.due(opt.display_freq) or progress.due(opt.update_html_freq):
            loggers.log_images(progress, self.visuals())
        if progress.due(opt.print_freq):
            loggers.log_losses(progress, self.losses.checked())
        elif loggers.wants_losses():
            loggers.show_losses(progress, self.losses.newest())
        if self._save_is_due(progress):
            self.save_latest(progress)

    def visuals(self) -> dict[str, torch.Tensor]:
        with undisturbed(self.model):
            self.model.compute_visuals()
        return self.model.get_current_visuals()

    def _save_is_due(self, progress: Progress) -> bool:
        late = self.save_vote.passed()
        return late or progress.passed(self.opt.save_latest_freq)

    def _save_is_late(self) -> bool:
        every = self.opt.save_latest_every or math.inf
        if self.save_failed:
            every = min(every, RETRY_SECONDS)
        return time.monotonic() - self.saved_at >= every

    def save_latest(self, progress: Progress) -> None:
        """``latest_state.pt`` and ``latest_net_*.pth``, and ``iter_N_net_*.pth`` with --save_by_iter."""
        self.losses.checked()
        distributed.check_weights(self.model.networks())
        self._try_to_save("latest", *([f"iter_{progress.total_images}"] if self.opt.save_by_iter else []), at=progress)
        self.saved_at = time.monotonic()

    def save_last(self, progress: Progress, interruption: Interruption) -> None:
        """As ``save_latest``, but nothing comes after it: one that fails is tried again for an hour, unless training
        was told to stop. ``UserError`` where it failed for good."""
        self.save_latest(progress)
        for _ in range(PATIENCE_SECONDS):
            if not distributed.any_rank(self.save_failed):
                return
            if interruption.requested():
                break
            time.sleep(1)
            if self.save_vote.passed():  # a minute after one that failed, as while training
                self.save_latest(progress)
        distributed.by_first(self._refuse_the_end)

    def _refuse_the_end(self) -> None:
        at = self.on_disk
        there = f"the state there is of epoch {at.epoch}, image {at.epoch_images}" if at else "nothing is saved there"
        raise UserError(
            f"the last save to {self.folder} failed, {there}; make room and train what is missing with --continue_train"
        )

    def end_epoch(self, progress: Progress, loggers, validation=None) -> None:
        """Step the schedules; evaluate and save where ``--eval_freq`` and ``--save_epoch_freq`` say so."""
        opt, epoch = self.opt, progress.epoch
        self.model.update_learning_rate()
        if validation and (epoch % opt.eval_freq == 0 or epoch == progress.last_epoch):
            with distributed.long_job("scores"):
                found = validation.run(self.model)
            if found := distributed.broadcast(found):
                scores, samples = found
                loggers.log_scores(progress, scores)
                loggers.log_samples(progress, samples)
                self._follow_best(epoch, scores)
        if epoch % opt.save_epoch_freq == 0:
            self._try_to_save(epoch)
            self.save_latest(progress.next_epoch())

    def _follow_best(self, epoch: int, scores: dict) -> None:
        """Keep the weights of the best epoch so far as ``best_net_*.pth``."""
        metric = self._metric(scores)
        if metric not in scores:  # of another size than Validation.check_metric has seen
            raise UserError(f"--eval_metric {metric} is not among the scores: {', '.join(plotted_scores(scores))}")
        self.model.metric = scores[metric]  # for --lr_policy plateau
        found = summary(self.folder / "metrics.jsonl", metric)
        if found:
            if found["evaluations"] == 1 and found["not_compared"]:
                self._say(
                    f"best begins anew with {metric}, size {scores.get('size')}: evaluations of other sizes or numbers "
                    f"of images are not compared with it ({found['not_compared']} before)"
                )
            if not self.opt.quiet:
                print(summary_line(found))
            if found["best_epoch"] == epoch:
                self._try_to_save("best")

    def _metric(self, scores: dict) -> str:
        """The score that ``best`` follows: by default the first, a Frechet distance."""
        return at_this_size(self.opt.eval_metric, scores) if self.opt.eval_metric else next(iter(scores))

    def _last_and_best(self) -> dict | None:
        """Of the record, which may be that of an earlier process."""
        rows = read(self.folder / "metrics.jsonl")
        return summary(self.folder / "metrics.jsonl", self._metric(rows[-1]["scores"])) if rows else None

    def _try_to_save(self, *names: str | int, at: Position | None = None) -> None:
        """The weights under each name, and the state ``at`` a position. A full disk or a folder that cannot be written
        to must not end the run."""
        ranks = distributed.gather(rank_state(self.model)) if at else None
        if self.opt.rank > 0:
            return
        try:
            with distributed.long_job("saving"):
                self._save(names, ranks, at)
            self.save_failed, self.on_disk = False, at or self.on_disk
        except OSError as error:
            self.save_failed = True
            warn(f"SAVING TO {self.folder} FAILED: {error}. Training goes on, the save is tried again within a minute")

    def _save(self, names: tuple[str | int, ...], ranks: list[dict] | None, at: Position | None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if at:
            checkpoints.save_state(self.model, ranks, at, self.opt)
        for name in names:
            self.model.save_networks(name)
        checkpoints.rotate(self.folder, self.opt.keep_checkpoints)

    def _say(self, message: str) -> None:
        if self.opt.rank == 0:
            print(message)

    def announce(self, loggers, validation) -> None:
        """What is about to happen, on one screen."""
        if not self.opt.quiet:
            start = f"goes on at epoch {self.progress.epoch}, image {self.progress.epoch_images}"
            start = start if self.opt.continue_train else "new"
            start += f", weights of {self.pretrained}" if self.pretrained else ""
            print_start(self.opt, self.model, start, len(self.dataset), loggers.where_to_watch(), bool(validation))

    def summary(self, progress: Progress, interrupted: str | None) -> None:
        """How long it took, the scores, and the next command."""
        if self.opt.quiet:
            return
        found = self._last_and_best()
        seconds = time.monotonic() - self.begun
        images = progress.total_images - self.progress.total_images
        print_end(self.opt, images, seconds, summary_line(found) if found else "", interrupted)
