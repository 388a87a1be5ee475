"""The losses of a step as loggers get them, and what they warn of: NaN and Inf, a contrastive term that is gone."""

from util import distributed
from util.errors import UserError, warn

COLLAPSE_STEPS = 200


class Losses:
    def __init__(self, opt, model, folder):
        self.opt, self.model, self.folder = opt, model, folder
        self.bad_in_a_row: dict[str, int] = {}  # by phase: the others may be fine
        self.collapse_told = False

    def checked(self) -> dict[str, float]:
        """The current losses, their mean over all ranks; ``UserError`` after ``--max_bad_steps`` updates in a row with
        NaN or Inf."""
        for phase, paths, bad in self.model.updates.read():
            self.bad_in_a_row[phase] = self.bad_in_a_row.get(phase, 0) + 1 if bad else 0
            if bad and paths:
                warn(f"the {phase} step had a NaN or Inf and was left out; images: {', '.join(map(repr, paths))}")
            if self.bad_in_a_row[phase] >= self.opt.max_bad_steps:
                raise UserError(
                    f"--max_bad_steps {self.opt.max_bad_steps}: as many {phase} steps in a row had NaN or Inf; "
                    f"the last good checkpoint is kept in {self.folder}, a smaller --lr or --precision fp32 may help"
                )
        losses = distributed.average(self.model.get_current_losses())
        statistics = self.model.get_current_statistics()
        if statistics.pop("steps_without_contrast", 0) >= COLLAPSE_STEPS and not self.collapse_told:
            self.collapse_told = True
            warn(
                f"the contrastive loss has been practically zero for {COLLAPSE_STEPS} steps: nothing ties translations "
                "to their sources now; docs/training.md says what to try"
            )
        return losses | statistics

    def newest(self) -> dict[str, float]:
        """Those of this rank, to be shown in between: the others needn't take part, and nothing is counted."""
        statistics = self.model.get_current_statistics()
        statistics.pop("steps_without_contrast", None)
        return self.model.get_current_losses() | statistics
