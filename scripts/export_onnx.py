"""Write a trained generator as an ONNX or TorchScript file, for programs without this repository, or as a page.

    python scripts/export_onnx.py --name h2z --out h2z.onnx
    python scripts/export_onnx.py --weights latest_net_G.pth --out h2z.pt
    python scripts/export_onnx.py --name h2z --page h2z.html

Input and output are float32 (batch, channels, height, width) in [-1, 1], all three sizes free; height and width should
be multiples of 4 (of 128 or 256 for a U-Net). The file is compared with the network on several sizes before it is kept.
Batch norm and dropout are exported in evaluation mode, as test.py --eval has them; StyleGAN2's noise is left out.

The page is one file: it holds the model, weights in float16 and computed in float32, and onnxruntime-web, opens from
the file system and translates photos in the browser.
"""

import tempfile
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import repository  # noqa: F401
import torch
from torch import Tensor

from models.inference import trained
from models.inference.translate import SMALLEST, only_pictures
from models.inference.translator import Translator
from util.errors import UserError, run
from util.files import replacing, write_atomic, writing_to
from util.flag_types import ScriptParser, positive_int
from util.pages.translator_page import runtime, translator_page
from util.precision import to_half

TOLERANCE = 1e-3  # of values in [-1, 1]: an eighth of an 8-bit level
NAMES = ["image", "translation"]


def main() -> None:
    parser = ScriptParser(__doc__)
    add = parser.add_argument
    trained.add_flags(add)
    add("--out", type=Path, help="the file to write: .onnx, or .pt for TorchScript")
    add("--page", type=Path, metavar="HTML", help="the page to write")
    add("--assets", type=Path, metavar="DIR", help="of --page, without network: folder of onnxruntime-web's package")
    add("--opset", type=positive_int, default=17, help="version of ONNX's operators")
    args = parser.parse_args()
    if args.out is None and args.page is None:
        raise UserError("give --out, a file for programs, or --page, a page for people")
    for flag, path, endings in (("--out", args.out, (".onnx", ".pt")), ("--page", args.page, (".html",))):
        if path and path.suffix not in endings:
            raise UserError(f"{flag} {path} must end in {' or '.join(endings)}")
    if (args.page or args.out.suffix == ".onnx") and not (find_spec("onnx") and find_spec("onnxruntime")):
        raise UserError("writing and checking ONNX needs two packages: pip install onnx onnxruntime")
    source, epoch, net = trained.chosen(args)
    files = runtime(args.assets) if args.page else None  # what can't be had is said before anything is written
    translator = Translator(source, epoch, net, device="cpu", precision="fp32", evaluate=True)
    if args.out:
        off = export(translator, args.out, args.opset)
        print(f"{args.out}: {size(args.out)}, differs from the network by at most {off:.1e}")
        print(f"sizes: multiples of {translator.stride}; values: -1 to 1")
    if args.page:
        title, about = args.name or trained.heading(source), trained.sentences(source, "photos", "licence")
        content = page(translator, files, title, about, args.opset)
        with writing_to("--page", args.page):
            write_atomic(args.page, content)
        print(f"{args.page}: {size(args.page)}, opens in a browser")


def size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


def page(translator: Translator, files: dict[str, bytes], title: str, about: str, opset: int) -> str:
    """Of the network, whose weights are rounded to float16."""
    for name, values in translator.net.state_dict().items():
        values.copy_(to_half(name, values))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(translator, path, opset, half=True)
        image = {"channels": translator.input_nc, "stride": translator.stride, "smallest": SMALLEST}
        return translator_page(path.read_bytes(), files, title, about, **image)


def export(translator: Translator, path: Path, opset: int = 17, half: bool = False) -> float:
    """Write and check the file; returns the largest difference from the network. ``half``: ``store_as_half``."""
    # Channels last, instance norm takes another way, on which the tracer fixes the batch.
    net = translator.net.to(memory_format=torch.contiguous_format)
    if hasattr(net, "set_noise_source"):
        net.set_noise_source(lambda signal: torch.zeros_like(signal[:, :1]))
    example = torch.zeros(1, translator.input_nc, *[max(64, translator.stride)] * 2)
    with torch.inference_mode():
        only_pictures(net(example))
    with writing_to("--out", path), replacing(path) as beside, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, about sizes that are constants to it: compared below
        if path.suffix == ".onnx":
            sizes = {0: "batch", 2: "height", 3: "width"}
            torch.onnx.export(net, (example,), str(beside), input_names=NAMES[:1], output_names=NAMES[1:],
                dynamic_axes=dict.fromkeys(NAMES, sizes), opset_version=opset, dynamo=False)  # fmt: skip
            if half:
                store_as_half(beside)
            call = onnx_runner(beside)
        else:
            torch.jit.trace(net, example).save(str(beside))
            call = torchscript_runner(beside)
        return compare(net, call, translator)


def store_as_half(path: Path) -> None:
    """In an ONNX file: weights that float16 holds exactly become float16, and are cast to float32 where it is run."""
    import onnx

    model = onnx.load(path)
    for weights in model.graph.initializer:
        values = onnx.numpy_helper.to_array(weights)
        with np.errstate(over="ignore"):
            smaller = values.astype(np.float16)
        if values.dtype == np.float32 and np.array_equal(smaller, values):
            name = weights.name
            weights.CopyFrom(onnx.numpy_helper.from_array(smaller, f"{name}_half"))
            cast = onnx.helper.make_node("Cast", [weights.name], [name], to=onnx.TensorProto.FLOAT)
            model.graph.node.insert(0, cast)
    onnx.save(model, path)


def onnx_runner(path: Path) -> Callable[[Tensor], np.ndarray]:
    import onnxruntime

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
