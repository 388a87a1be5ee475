"""Write a trained generator as an ONNX or TorchScript file, for programs without this repository.

    python scripts/export_onnx.py --name h2z --out h2z.onnx
    python scripts/export_onnx.py --weights latest_net_G.pth --out h2z.pt

Input and output are float32 (batch, channels, height, width) in [-1, 1], all three sizes free; height and width should
be multiples of 4 (of 128 or 256 for a U-Net). The file is compared with the network on several sizes before it is kept.
Batch norm and dropout are exported in evaluation mode, as test.py --eval has them; StyleGAN2's noise is left out.
"""

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import repository  # noqa: F401
import torch
from torch import Tensor

from models.inference import trained
from models.inference.translator import Translator
from util.errors import UserError, run
from util.files import replacing
from util.flag_types import positive_int

TOLERANCE = 1e-3  # of values in [-1, 1]: an eighth of an 8-bit level
NAMES = ["image", "translation"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    trained.add_flags(add)
    add("--out", required=True, type=Path, help="the file to write: .onnx, or .pt for TorchScript")
    add("--opset", type=positive_int, default=17, help="version of ONNX's operators")
    args = parser.parse_args()
    source, epoch, net = trained.chosen(args)
    if args.out.suffix not in (".onnx", ".pt"):
        raise UserError(f"--out {args.out} must end in .onnx, or in .pt for TorchScript")
    translator = Translator(source, epoch, net, device="cpu", precision="fp32", evaluate=True)
    off = export(translator, args.out, args.opset)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, differs from the network by at most {off:.1e}")
    print(f"sizes: multiples of {translator.stride}; values: -1 to 1")


def export(translator: Translator, path: Path, opset: int = 17) -> float:
    """Write and check the file; returns the largest difference from the network."""
    # Channels last, instance norm takes another way, on which the tracer fixes the batch.
    net = translator.net.to(memory_format=torch.contiguous_format)
    if hasattr(net, "set_noise_source"):
        net.set_noise_source(lambda signal: torch.zeros_like(signal[:, :1]))
    example = torch.zeros(1, translator.input_nc, *[max(64, translator.stride)] * 2)
    try:
        with replacing(path) as beside, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer's, about sizes that are constants to it: compared below
            if path.suffix == ".onnx":
                sizes = {0: "batch", 2: "height", 3: "width"}
                axes = dict.fromkeys(NAMES, sizes)
                torch.onnx.export(net, (example,), str(beside), input_names=NAMES[:1], output_names=NAMES[1:],
                    dynamic_axes=axes, opset_version=opset, dynamo=False)  # fmt: skip
                call = onnx_runner(beside)
            else:
                torch.jit.trace(net, example).save(str(beside))
                call = torchscript_runner(beside)
            return compare(net, call, translator)
    except OSError as error:
        raise UserError(f"--out {path} cannot be written ({error})") from error


def onnx_runner(path: Path) -> Callable[[Tensor], np.ndarray]:
    try:
        import onnxruntime
    except ImportError:
        raise UserError("checking the file needs onnxruntime: pip install onnx onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {NAMES[0]: x.numpy()})[0]


def torchscript_runner(path: Path) -> Callable[[Tensor], np.ndarray]:
    module = torch.jit.load(str(path))
    return lambda x: module(x).numpy()


def compare(net: torch.nn.Module, call: Callable[[Tensor], np.ndarray], translator: Translator) -> float:
    """Largest difference over several sizes and batches; ``UserError`` above the tolerance."""
    stride, worst = translator.stride, 0.0
    generator = torch.Generator().manual_seed(0)
    for batch, rows, columns in ((1, 1, 1), (2, 1, 2), (1, 3, 2), (3, 2, 1)):
        height, width = (max(32 // stride, 1) * stride * n for n in (rows, columns))
        x = torch.rand(batch, translator.input_nc, height, width, generator=generator) * 2 - 1
        with torch.inference_mode():
            wanted, found = net(x).numpy(), call(x)
        if wanted.shape != found.shape:
            raise UserError(f"the exported file gives {found.shape} for {tuple(x.shape)}, not {wanted.shape}: not kept")
        worst = max(worst, float(np.abs(wanted - found).max()))
    if worst > TOLERANCE:
        raise UserError(f"the exported file differs from the network by {worst:.1e}: not kept; try another --opset")
    return worst


if __name__ == "__main__":
    run(main)
