"""The flags of test.py."""

from options.base_options import BaseOptions
from util.flag_types import count_or_inf, positive


def add_test_options(parser) -> None:
    add = parser.add_argument
    if any(word.startswith("--model_suffix") for word in parser.argv):
        parser.set_defaults(model="test")  # the one model that has it; CycleGAN's test.py takes it by default
    with parser.group("test"):
        add("--results_dir", default="./results/", help="folder of all results")
        add("--phase", default="test", help="train, val or test: the start of the subfolders' names")
        add("--num_test", type=count_or_inf, default=float("inf"), help="images to translate at most")
        add("--eval", action="store_true", help="networks in evaluation mode (batch norm and dropout)")
        add("--aspect_ratio", type=positive, default=1.0, help="width over height of the result images")
        add("--quiet", action="store_true", help="no progress bar, no option table")


class TestOptions(BaseOptions):
    is_train = False
