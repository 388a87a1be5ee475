"""Flags of CycleGAN's code and of older code of the family, as the flags that they are called today."""

from util.errors import UserError

RENAMED = {
    "niter": "n_epochs", "niter_decay": "n_epochs_decay", "which_epoch": "epoch", "which_direction": "direction",
    "which_model_netG": "netG", "which_model_netD": "netD", "loadSize": "load_size", "fineSize": "crop_size",
    "resize_or_crop": "preprocess", "batchSize": "batch_size", "nThreads": "num_threads", "ntest": "num_test",
    "how_many": "num_test", "identity": "lambda_identity", "display_single_pane_ncols": "display_ncols",
}  # fmt: skip
RENAMINGS = ", ".join(f"--{old} for --{new}" for old, new in RENAMED.items())
HELP = (
    "From CycleGAN's and older code these work too: --norm X for --normG X --normD X; --load_iter N for "
    f"--epoch iter_N; --no_lsgan for --gan_mode vanilla; {RENAMINGS}."
)


def in_todays_words(argv: list[str], taken: dict) -> list[str]:
    """The command line with today's flags, put in front, so that one given in its own words wins. ``taken``: flags that
    there are, among them those of a model file; they stay what they are."""
    front, rest = [], []
    words = iter(argv)
    for word in words:
        flag, equals, value = word.partition("=")
        name = flag.removeprefix("--")
        if flag in taken or flag == name or name not in ("norm", "no_lsgan", "load_iter", *RENAMED):
            rest.append(word)
        elif name == "no_lsgan":
            front += ["--gan_mode", "vanilla"]
        else:
            value = value if equals else next(words, None)
            if value is None:
                raise UserError(f"{flag} needs a value")
            front += _meaning(name, value)
    return front + rest


def _meaning(name: str, value: str) -> list[str]:
    if name == "norm":
        return ["--normG", value, "--normD", value]
    if name == "load_iter":
        if not value.isdecimal():
            raise UserError(f"--load_iter {value}: it is the number in iter_NUMBER_net_G.pth; 0 means --epoch")
        return ["--epoch", f"iter_{value}"] if int(value) else []
    return [f"--{RENAMED[name]}", value]
