"""Run the commands of the README and the docs as they stand there, and say which fail.

    python scripts/dev/check_docs.py
    python scripts/dev/check_docs.py docs/scores.md --list

They run in a temporary folder that holds drawn pictures under the names the docs use. Trainings get small networks and
an epoch of two images behind their own flags, comparisons one seed. What can't run here is listed with its reason.
Exit status 1 if a command failed. Takes some ten minutes on two cores.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import numpy as np
from PIL import Image
from repository import ROOT

from util.errors import run
from util.flag_types import ScriptParser

DOCS = ["README.md", "CONTRIBUTING.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`((?:python|torchrun|bash) [^`]+)`")
COMMAND = re.compile(r"(?:python|torchrun|bash) ")

TINY = "--num_threads 0 --max_dataset_size 2 --display_id 0 --device cpu --ngf 2 --ndf 2".split()
NETWORKS = "--netG resnet_4blocks --netD n_layers --n_layers_D 1".split()
SIZES = "--load_size 36 --crop_size 32".split()
CONTRASTIVE = "--netF_nc 4 --num_patches 4".split()
EPOCH = "--n_epochs 1 --n_epochs_decay 0 --save_epoch_freq 1 --ema_decay 0.5".split()
SHORTER = {  # by script: flags behind the command's own
    "train.py": EPOCH,
    "scripts/launch.py": EPOCH,
    "scripts/compare.py": ["--images", "2", "--seeds", "1"],
    "scripts/dev/benchmark.py": ["--rounds", "1", "--warmup", "0", "--sizes", "32"],
    "scripts/dev/drill.py": ["--kills", "1"],
    "scripts/dev/long_run.py": ["--steps", "40"],
    "scripts/dev/visdom_cost.py": ["--images", "2", "--dataroot", "datasets/horse2zebra"],
    "scripts/dev/large_picture.py": ["--side", "300"],
    "scripts/dev/flicker.py": ["--num", "1", "--frames", "2", "--side", "16"],
}
EXEMPT = {  # by a part of the command: why it does not run here
    "scripts/quickstart.sh": "installs; run by hand and by everybody's first minute",
    "scripts/test.sh": "runs all tests",
    "scripts/dev/check_docs.py": "is this script",
    "scripts/data/download_dataset.py": "needs the network; the folder it makes is drawn",
    "scripts/start_visdom.py": "goes on until it is stopped; its tests start it",
    "scripts/demo.py": "goes on until it is stopped; its tests start it",
    "--page": "fetches onnxruntime-web from the npm registry; its test makes the page",
    "scripts/replay_visdom.py": "needs a Visdom server; its tests start one",
    "scripts/dev/benchmark_gpu.sh": "needs a GPU",
    "scripts/dev/screenshots.py": "writes docs/images",
    "scripts/evaluate_cityscapes.py": "needs weights that its authors give out",
    "--feature_space inception": "needs weights that torch-fidelity fetches",
    "horse2zebra_pretrained": "needs weights that CycleGAN's authors give out",
    "python scripts/...": "stands for a name",
    "...": "stands for further flags",
}


def commands(text: str) -> list[str]:
    """Of a Markdown text, in its order: the lines of blocks without a language or in bash, and code within lines."""
    found = []
    for match in FENCED.finditer(text):
        if match[1] in ("", "bash", "sh"):
            lines = re.sub(r"\s*\\\n\s*", " ", match[2]).splitlines()
            lines = [re.sub(r"(\s*&)?(\s+#.*)?$", "", line).strip().removeprefix("srun ") for line in lines]
            found += [(match.start(), line) for line in lines if COMMAND.match(re.sub(r"^(\w+=\S+ )+", "", line))]
    plain = FENCED.sub(lambda match: " " * len(match[0]), text)
    found += [(match.start(), " ".join(match[1].split())) for match in INLINE.finditer(plain)]
    return list(dict.fromkeys(command for _, command in sorted(found, key=lambda item: item[0])))


def reason(command: str) -> str | None:
    """Why it does not run here."""
    return next((why for part, why in EXEMPT.items() if part in command), None)


def tiny(command: str, sizes: list[str] = SIZES) -> list[str]:
    """Flags of small networks and pictures, those that its model has."""
    if "sincut" in command:
        return TINY
    pairs_or_cycles = "pix2pix" in command or "cyclegan" in command
    return [*TINY, *NETWORKS, *sizes, *([] if pairs_or_cycles else CONTRASTIVE)]


def shortened(command: str) -> list[str]:
    """Its words, with this interpreter and the flags that make it short."""
    words = shlex.split(re.sub(r"^(\w+=\S+ )+", "", command).replace("$SLURM_ARRAY_TASK_ID", "1"))
    words = [word.replace("cuda", "cpu") for word in words]
    script = next(word for word in words if word.endswith((".py", ".sh")))
    if words[0] == "torchrun":
        words[:2] = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    elif words[0] == "python":
        words[0] = sys.executable
    if script == "scripts/compare.py" and "--flags" in words:
        words[words.index("--flags") + 1] += " " + shlex.join(tiny(command, sizes=[]))  # drawn ones are scored whole
    if script.endswith("benchmark.py"):
        words = [word for word in words if word not in ("--dataroot", "datasets/horse2zebra", "--loading")]
    if "--continue_train" in words or "--help-all" in words:
        return words
    trains = script in ("train.py", "scripts/launch.py", "scripts/dev/visdom_cost.py")
    return [*words, *(tiny(command) if trains else []), *SHORTER.get(script, [])]


def draw(folder: Path, height: int, width: int, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((width, height), 64).convert("RGB").save(folder / name)


def prepare(folder: Path) -> None:
    """The program's scripts and, under the docs' names, pictures, films and runs."""
    for name in ("train.py", "test.py", "scripts"):
        (folder / name).symlink_to(ROOT / name)
    sides = [f"{phase}{side}" for phase in ("train", "test") for side in "AB"]
    draw(folder / "datasets/horse2zebra", 48, 48, *(f"{side}/{i}.png" for side in sides for i in range(2)))
    draw(folder / "datasets/single_image_monet_etretat", 300, 320, "trainA/1.png", "trainB/1.png")
    draw(folder, 40, 48, "horse.jpg", "n02381460_1000.jpg", "holiday/1.jpg", "more/1.png", "dance.gif")
    draw(folder, 40, 48, *(f"{name}/{i}.png" for name in ("FOLDER", "FOLDER_OF_200") for i in range(2)))
    draw(folder, 40, 48, *(f"{side}/{i}.png" for side in "AB" for i in range(12)))
    for side in ("testA", "testB"):
        shutil.copytree(folder / f"datasets/horse2zebra/{side}", folder / f"datasets/NAME/{side}")
    for city in ("train/aachen_000000", "train/aachen_000001", "val/munster_000000", "val/munster_000001"):
        name = f"{city.split('_')[0]}/{city.split('/')[1]}_000019"
        draw(folder, 64, 128, f"gtFine/{name}_gtFine_color.png", f"leftImg8bit/{name}_leftImg8bit.png")
    film(folder / "clip.mp4")
    (folder / "clips").mkdir()
    shutil.copy(folder / "clip.mp4", folder / "clips/1.mov")
    for command in (
        "python train.py --dataroot ./datasets/horse2zebra --name h2z --model negcut --eval_freq 1",
        "python test.py --name h2z",
    ):
        if problem := check(folder, command):
            sys.exit(f"{command}: {problem}")
    for place in ("checkpoints", "results"):
        shutil.copytree(folder / place / "h2z", folder / place / "NAME")
    shutil.copy(folder / "checkpoints/h2z/latest_net_G.pth", folder)


def film(path: Path) -> None:
    import av  # optional, as for translate.py

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 40, "yuv420p"
        for level in (0, 128, 255):
            frame = av.VideoFrame.from_ndarray(np.full((40, 48, 3), level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def check(folder: Path, command: str) -> str | None:
    """Run it; the end of what it printed if it failed."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "WANDB_MODE": "offline"}
    environment["XDG_CACHE_HOME"] = str(folder / ".cache")
    done = subprocess.run(shortened(command), cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    return None if done.returncode == 0 else (done.stdout[-500:] + done.stderr[-1500:]).strip()


def main() -> None:
    parser = ScriptParser(__doc__)
    parser.add_argument("docs", nargs="*", default=DOCS, help="default: README.md, CONTRIBUTING.md, docs/*.md")
    parser.add_argument("--list", action="store_true", help="show the commands as they would run, and run none")
    args = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder)
        for doc in args.docs:
            print(doc)
            for command in commands((ROOT / doc).read_text()):
                why = reason(command)
                if why or args.list:
                    print(f"  {'not run, ' + why if why else shlex.join(shortened(command))}: {command}"[:200])
                    continue
                begun = time.monotonic()
                problem = check(folder, command)
                result, failed = ("FAILED", failed + 1) if problem else ("ok", failed)
                print(f"  {result} ({time.monotonic() - begun:.0f} s): {command}"[:200], flush=True)
                if problem:
                    print(textwrap.indent(problem, "    "), flush=True)
    print(f"{failed} failed" if failed else "all run")
    sys.exit(bool(failed))


if __name__ == "__main__":
    run(main)
