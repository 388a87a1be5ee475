"""argparse that knows where each value comes from, with named groups and errors of one sentence."""

import argparse
from contextlib import contextmanager

from options.family_flags import HELP, in_todays_words
from util.errors import UserError
from util.flag_types import METAVARS, HelpFormatter

# A run that was trained with --fast goes on with it: it chooses anew for this machine, but not over what the run was
# told by flags of their own.
RUNS_FAST = "--fast of the run"
# Where a value can come from; a later one wins.
SOURCES = ("default", RUNS_FAST, "saved", "--fast", "preset", "weights", "typed")


# What most people need, in this order: the first group of --help.
ESSENTIAL = ["dataroot", "name", "model", "direction", "netG", "n_epochs", "n_epochs_decay", "batch_size", "load_size"]
ESSENTIAL += ["crop_size", "preprocess", "lr", "fast", "gpu_ids", "continue_train", "time_budget", "ema_decay"]
ESSENTIAL += ["eval_freq", "seed", "epoch", "num_test", "results_dir", "checkpoints_dir", "help", "help_all"]


def _metavar(name: str) -> str:
    """FOLDER of --results_dir, SERVER of --display_server."""
    return "FOLDER" if name.endswith(("_dir", "root")) else name.split("_")[-1].upper()


@contextmanager
def _as_saved(advice: str = ""):
    try:
        yield
    except argparse.ArgumentError as error:
        raise UserError(f"train_opt.json holds a wrong value: {error}{advice}") from None


class OptionParser(argparse.ArgumentParser):
    """``source`` names where each option's value comes from; ``plain`` holds the values of "default" and "preset"
    alone, with which the table compares."""

    def __init__(self, argv: list[str], is_train: bool = True):
        self.argv = argv
        self.source: dict[str, str] = {}
        self.plain: dict[str, object] = {}
        self._saved: dict[str, object] = {}
        self._group: argparse._ArgumentGroup | None = None
        self._preset = "preset"
        usage = f"python {'train.py --dataroot FOLDER' if is_train else 'test.py'} --name NAME [--model MODEL] [flags]"
        super().__init__(usage=usage, add_help=False, allow_abbrev=False, formatter_class=HelpFormatter, epilog=HELP)

    @contextmanager
    def group(self, title: str, is_chosen: bool = True):
        """Flags added inside this block are listed under ``title`` in the help. ``is_chosen``: the model or dataset is
        not the one that the saved options are of, so the defaults that it sets win over those."""
        self._group, self._preset = self.add_argument_group(title), "preset" if is_chosen else "default"
        yield self
        self._group, self._preset = None, "preset"

    def add_argument(self, *args, **kwargs):
        action = (self._group or super()).add_argument(*args, **kwargs)
        if action.nargs != 0 and not action.choices and action.metavar is None:
            action.metavar = METAVARS.get(action.type) or _metavar(action.dest)
        self.source[action.dest], self.plain[action.dest] = "default", action.default
        if action.dest in self.typed():
            self.source[action.dest] = "typed"
        if self._saved.get(action.dest) is not None:
            self._take_saved(action)
        return action

    def format_essentials(self) -> str:
        """The help of those flags that most people need, and of the model's and the dataset's; of others the names."""
        formatter, flags = self._get_formatter(), {action.dest: action for action in self._actions}
        formatter.add_usage(self.usage, [], [])
        formatter.start_section("essentials")
        formatter.add_arguments([flags[name] for name in ESSENTIAL if name in flags])
        formatter.end_section()
        for group in self._action_groups:
            actions = [action for action in group._group_actions if action.dest not in ESSENTIAL]
            if actions and group.title.startswith(("model ", "dataset ")):
                formatter.start_section(group.title)
                formatter.add_arguments(actions)
                formatter.end_section()
            elif actions:
                formatter.add_text(f"{group.title}: {' '.join(action.option_strings[0] for action in actions)}")
        formatter.add_text("--help-all explains every flag; --help with --model NAME lists those of a model")
        return formatter.format_help()

    def set_defaults(self, **values):
        """What a model or a dataset changes: its preset. CycleGAN's files say ``norm`` for both networks'."""
        if "norm" in values:
            values = {"normG": values["norm"], "normD": values["norm"]} | values
        for action in self._actions:
            value = values.get(action.dest)
            if action.choices and value is not None and value not in action.choices:
                action.choices = [*action.choices, value]  # a network of the model's own
        self.plain.update(values)
        self.take(self._preset, values)

    def take(self, source: str, values: dict) -> None:
        """``values`` hold where they come from no weaker a source than the present ones."""
        for key, value in values.items():
            if SOURCES.index(source) >= SOURCES.index(self.source.get(key, "default")):
                super().set_defaults(**{key: value})
                self.source[key] = source

    def take_saved(self, values: dict) -> None:
        """The options of a run, for the flags that there are and those that a model will add."""
        self._saved = values
        for action in self._actions:
            if values.get(action.dest) is not None:  # None is the default of then: today's may be another
                self._take_saved(action)

    def _take_saved(self, action) -> None:
        value = self._saved[action.dest]
        if action.nargs in (None, "?"):
            with _as_saved():
                value = self._get_value(action, str(value))
        self.take("saved", {action.dest: value})

    def check_saved(self) -> None:
        """As if they were typed, for the file may have been edited; once the model is known, whose own network is a
        choice."""
        model, trained = self.parse_known_args()[0].model, self._saved.get("model", "")
        own = f"; it may be --model {trained}'s own: leave out --model {model}" if trained not in ("", model) else ""
        for action in self._actions:
            if self.source.get(action.dest) == "saved" and action.nargs in (None, "?"):
                with _as_saved(own):
                    self._check_value(action, self.get_default(action.dest))

    def typed(self) -> set[str]:
        """Names of the options that the user typed."""
        words = in_todays_words(self.argv, self._option_string_actions)
        actions = (self._option_string_actions.get(a.split("=")[0]) for a in words)
        return {action.dest for action in actions if action}

    def parse_known_args(self, args=None, namespace=None):
        # Official model files call this without arguments to look at the flags so far.
        args = self.argv if args is None else args
        return super().parse_known_args(in_todays_words(args, self._option_string_actions), namespace)

    def error(self, message: str):
        raise UserError(message)
