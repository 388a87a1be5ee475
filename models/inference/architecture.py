"""What network a checkpoint holds, read from the names and shapes of its weights."""

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from util.errors import UserError
from util.run.checkpoints import not_finite, read_weights

# Filters are fixed, and old instance norms kept statistics: files may hold these or lack them.
NO_WEIGHTS = (".filt", ".kernel", ".running_mean", ".running_var", ".num_batches_tracked")
MAY_LACK = (".filt", ".kernel", ".num_batches_tracked")


@dataclass
class Network:
    """``flags``: option -> value, as train.py takes them; ``notes``: what the weights do not tell."""

    kind: str  # generator, discriminator, patch projector (F), negative generator (N)
    flags: dict = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def command_line(self) -> str:
        """``--netG resnet_9blocks --ngf 64 ...``"""
        shown = {name: value for name, value in self.flags.items() if value is not False or name == "no_dropout"}
        return " ".join(f"--{k}" if v is True else f"--{k} {str(v).lower()}" for k, v in shown.items())


def guess_network(state: dict[str, Tensor]) -> Network | None:
    """The network with these weights (any ``module.`` in front of the names taken off), None for an unknown one."""
    guesses = {
        "model.1.weight": _resnet,
        "model.model.0.weight": _unet,
        "encoder.convs.1.0.weight": _stylegan2,
        "final_linear.1.weight": _stylegan2_discriminator,
        "net.0.weight": _pixel_discriminator,
        "model.0.weight": _patch_discriminator,
        "conv_0.0.weight": _negative_generator,
        "mlp_0.0.weight": _mlps,
        "neg_sample": _negative_table,
    }
    guess = next((guess for key, guess in guesses.items() if key in state), lambda _: None)
    try:
        return guess(state)
    except (KeyError, IndexError, ValueError):  # the same name in an unknown network
        return None


def load_weights(net: nn.Module, path: str | Path, flags: str, flag: str = "--epoch") -> None:
    """Load a network's weights; a mismatch names the first keys and the flags of the file's own architecture, or the
    ``flags`` that decide it where the file tells nothing."""
    state = read_weights(path, flag)
    guess = guess_network(state)
    wanted = net.state_dict()
    state = {k: v for k, v in state.items() if k in wanted or not k.endswith(NO_WEIGHTS)}
    state |= {k: v for k, v in wanted.items() if k not in state and k.endswith(MAY_LACK)}
    wrong = sorted(wanted.keys() ^ state.keys())
    wrong += [k for k in wanted if k in state and state[k].shape != wanted[k].shape]
    if wrong:
        raise UserError(
            f"{path} is of another architecture: {len(wrong)} weights differ ({', '.join(wrong[:3])}, ...); "
            f"give the flags it was trained with ({guess.command_line() if guess else flags})"
        )
    if broken := not_finite(state):
        raise UserError(f"{path} has NaN or Inf in {len(broken)} weights, first {broken[0]}; take another {flag}")
    net.load_state_dict(state)


def _norm(state: dict, conv: str, norm_flag: str) -> dict:
    """From a convolution that a norm follows: only in front of instance norm it has a bias."""
    batch = any(value.dim() == 1 and key.endswith(".weight") for key, value in state.items())
    return {norm_flag: "batch" if batch else "instance" if f"{conv}.bias" in state else "none"}


def _resnet(state: dict) -> Network:
    flat = {key: value for key, value in state.items() if key.count(".") == 2}
    convs = {int(key.split(".")[1]): value for key, value in flat.items() if _is_conv(key, value)}
    blocks = sorted({int(key.split(".")[1]) for key in state if ".conv_block." in key})
    first, last = min(convs), max(convs)
    after = [index for index in convs if index > blocks[-1]]
    flags = {"netG": f"resnet_{len(blocks)}blocks", "ngf": len(convs[first])}
    flags |= {"input_nc": convs[first].shape[1], "output_nc": len(convs[last])}
    flags |= _norm(state, f"model.{first}", "normG")
    flags["no_dropout"] = f"model.{blocks[0]}.conv_block.5.weight" in state
    flags["no_antialias"] = 7 in convs  # otherwise the blur stands there
    flags["no_antialias_up"] = min(after) == blocks[-1] + 1
    return Network("generator", flags)


def _unet(state: dict) -> Network:
    downs = 1 + sum(key.endswith("model.1.weight") and _is_conv(key, value) for key, value in state.items())
    first, last = state["model.model.0.weight"], state["model.model.3.weight"]
    flags = {"netG": f"unet_{2**downs}", "ngf": len(first), "input_nc": first.shape[1], "output_nc": last.shape[1]}
    flags |= _norm(state, "model.model.1.model.1", "normG")
    note = "whether it has dropout the weights do not tell: --no_dropout false for pix2pix's, no flag for CUT's"
    return Network("generator", flags, [note])


def _stylegan2(state: dict) -> Network:
    downs = len({key.split(".")[2] for key in state if key.startswith("encoder.convs.") and ".skip." in key})
    kept = len({key.split(".")[2] for key in state if key.startswith("encoder.convs.")}) - 1 - downs
    first = state["encoder.convs.1.0.weight"]
    convs = [key for key in state if key.startswith("decoder.convs.") and _is_conv(key, state[key])]
    last = max(convs, key=lambda key: int(key.split(".")[2]))
    flags = {"netG": "stylegan2" if kept == 3 else "smallstylegan2", "stylegan2_G_num_downsampling": downs}
    flags |= {"input_nc": first.shape[1], "output_nc": len(state[last])}
    flags |= {"ngf": len(first) // 8, "load_size": 64, "crop_size": 64}
    note = f"its widths are those of --ngf {len(first) // 8} at --crop_size 64 and of --ngf {len(first) // 2} at 256"
    return Network("generator", flags, [f"{note}, among others"])


def _stylegan2_discriminator(state: dict) -> Network:
    size = 2 ** (2 + len({key.split(".")[1] for key in state if key.startswith("convs.") and ".skip." in key}))
    first = state["convs.0.0.weight"]
    flags = {"netD": "stylegan2", "ndf": round(len(first) * 64 * size / 16384), "input_nc": first.shape[1]}
    return Network("discriminator", flags | {"crop_size": size}, ["tilestylegan2 has the same weights"])


def _patch_discriminator(state: dict) -> Network:
    convs = {int(key.split(".")[1]): value for key, value in state.items() if _is_conv(key, value)}
    layers = len(convs) - 2
    flags = {"netD": "basic"} if layers == 3 else {"netD": "n_layers", "n_layers_D": layers}
    flags |= {"ndf": len(convs[0]), "input_nc": convs[0].shape[1], "no_antialias": 2 in convs}
    flags |= _norm(state, f"model.{sorted(convs)[1]}", "normD")
    return Network("discriminator", flags, ["--netD patch has the same weights"] if layers == 2 else [])


def _pixel_discriminator(state: dict) -> Network:
    first = state["net.0.weight"]
    flags = {"netD": "pixel", "ndf": len(first), "input_nc": first.shape[1]} | _norm(state, "net.2", "normD")
    return Network("discriminator", flags)


def _mlps(state: dict) -> Network:
    """F's first layer takes a feature's channels, N's what F gives and 64 of noise."""
    inputs = [value.shape[1] for key, value in state.items() if key.endswith(".0.weight")]
    width = len(state["mlp_0.0.weight"])
    note = f"{len(inputs)} layers in --nce_layers"
    if set(inputs) == {width + 64}:
        flags = {"netN": "neg_gen_momentum", "netF_nc": width}
        return Network("negative generator (N)", flags, [note, "--netN neg_gen_al has the same weights"])
    note += f", of {', '.join(map(str, inputs))} channels"
    return Network("patch projector (F)", {"netF": "mlp_sample", "netF_nc": width}, [note])


def _negative_generator(state: dict) -> Network:
    layers = len({key.split(".")[0] for key in state if key.startswith("conv_")})
    flags = {"netN": "neg_gen", "netF_nc": len(state["conv_0.0.weight"])}
    return Network("negative generator (N)", flags, [f"{layers} layers in --nce_layers"])


def _negative_table(state: dict) -> Network:
    layers, _, patches, width = state["neg_sample"].shape
    flags = {"netN": "neg_param", "num_patches": patches, "netF_nc": width}
    return Network("negative generator (N)", flags, [f"{layers} layers in --nce_layers"])


def _is_conv(key: str, value: Tensor) -> bool:
    return value.dim() == 4 and key.endswith(".weight")
