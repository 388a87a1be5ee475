"""What nobody told test.py about a run of other code, which keeps no options: its weights tell the architecture."""

from argparse import Namespace
from pathlib import Path


def generator_flags(known: Namespace) -> dict:
    """The generator's flags by its file in the run's folder, which are printed; {} where no file tells any."""
    from models.inference.architecture import guess_network
    from models.networks.stylegan2 import resolution
    from util.run.checkpoints import read_weights

    folder = Path(known.checkpoints_dir) / known.name
    names = dict.fromkeys(("G" + getattr(known, "model_suffix", ""), "G", "G_A"))  # the last is CycleGAN's
    path = next((p for name in names if (p := folder / f"{known.epoch}_net_{name}.pth").is_file()), None)
    network = guess_network(read_weights(path)) if path else None
    if network is None or network.kind != "generator":
        return {}
    flags = network.flags
    if flags.pop("crop_size", None) and flags.pop("load_size"):  # StyleGAN2's, whose widths follow from the size
        size = Namespace(load_size=known.crop_size, crop_size=known.crop_size)
        flags["ngf"] = max(1, flags["ngf"] * resolution(size) // 64)
        network.notes.clear()
    if not known.quiet:
        notes = "".join(f"; {note}" for note in network.notes)
        print(f"{path} has no options beside it; where no flag says otherwise: {network.command_line()}{notes}")
    return flags
