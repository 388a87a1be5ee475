"""Kill trainings with SIGKILL at random moments, in saving too, and see that each goes on as if nothing had happened.

    python scripts/dev/drill.py --kills 30

Every training is killed and resumed until it ends; then its weights, optimizers, generators and losses.jsonl must be
those of one that was left alone, to the bit. After each kill every file must load. Tiny networks on drawn images; the
processes are forked, so that torch is imported once. Exit status 1 if anything was lost.

    python scripts/dev/drill.py --kills 3 --device cuda

A GPU's sums are not the same to the bit: there generators and positions must be, losses within 5%.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import repository  # noqa: F401
import torch
import torch._dynamo  # what a training would import on its way
import torch.utils.data
from PIL import Image

import train
from util.device_kinds import KINDS
from util.errors import run
from util.files import BESIDE
from util.flag_types import ScriptParser
from util.run import checkpoints

FLAGS = (
    "--model negcut --netG resnet_4blocks --ngf 2 --netD n_layers --n_layers_D 1 --ndf 2 --netF_nc 4 "
    "--num_patches 4 --nce_layers 0,4,8 --load_size 20 --crop_size 16 --num_threads 0 --batch_size 2 --n_epochs 4 "
    "--n_epochs_decay 4 --save_epoch_freq 1 --save_latest_freq 1 --keep_checkpoints 2 --print_freq 1 --display_id 0 "
    "--update_html_freq 4 --quiet --eval_freq 0"
).split()


def draw(root: Path) -> None:
    """6 images of noise on each side."""
    for side in "AB":
        (root / f"train{side}").mkdir(parents=True)
        for i in range(6):
            Image.effect_noise((20, 20), 64).convert("RGB").save(root / f"train{side}" / f"{i}.png")


def start(folder: Path, *flags: str) -> int:
    """Train in a forked process; its id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        torch.set_num_threads(1)
        log = os.open(f"{folder}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        sys.argv = ["train.py", f"--checkpoints_dir={folder.parent}", f"--name={folder.name}", *flags]
        run(train.main)
    except SystemExit as end:
        status = end.code
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)


def kill_in_a_save(pid: int, folder: Path, patience: float) -> bool:
    """Kill while one of its first files is being written; after ``patience`` seconds kill all the same."""
    begun, seen, number = time.monotonic(), set(), random.randrange(1, 12)
    while time.monotonic() - begun < patience and not ended(pid):
        seen |= {path.name for path in folder.glob(f"{BESIDE}*.pt*")}
        if len(seen) >= number:
            os.kill(pid, signal.SIGKILL)
            return any(folder.glob(f"{BESIDE}*.pt*"))
    os.kill(pid, signal.SIGKILL)
    return False


def ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def images_done(folder: Path) -> int:
    """Of the last checkpoint. Every file of the run has to load."""
    for path in folder.glob("*_net_*.pth"):
        checkpoints.load(path)
    state = folder / checkpoints.STATE
    return checkpoints.load(state)["position"]["total_images"] if state.exists() else -1


def result(folder: Path) -> tuple[dict, list[dict]]:
    """The final state, and the losses."""
    state = checkpoints.load(folder / checkpoints.STATE)
    rows = [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]
    return {k: state[k] for k in ("position", "model", "ranks")}, [(r["total_images"], r["losses"]) for r in rows]


def equal(a, b) -> bool:
    """Nested states, to the bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


def same(found: tuple[dict, list], alone: tuple[dict, list], device: str) -> bool:
    if device == "cpu":
        return equal(list(found), list(alone))
    (state, rows), (state_alone, rows_alone) = found, alone
    close = [
        images == other and all(abs(losses[k] - v) <= 0.05 * abs(v) + 1e-3 for k, v in wanted.items())
        for (images, losses), (other, wanted) in zip(rows, rows_alone, strict=False)
    ]
    drawn = all(equal(state[key], state_alone[key]) for key in ("position", "ranks"))
    return drawn and all(close) and len(rows) == len(rows_alone)


def drill(folder: Path, kills: int, device: str) -> list[str]:
    """What was lost, in sentences; empty if nothing was."""
    draw(folder / "images")
    flags = [*FLAGS, f"--dataroot={folder / 'images'}", f"--device={device}"]
    begun = time.monotonic()
    os.waitpid(start(folder / "alone", *flags), 0)
    duration = time.monotonic() - begun
    alone = result(folder / "alone")
    lost, done, in_saves, trainings = [], 0, 0, 0
    while done < kills and not lost:
        trainings += 1
        name = folder / f"killed_{trainings}"
        status, before = None, -1
        while status is None:
            begun = (name / "train_opt.json").exists()
            pid = start(name, *(["--continue_train", f"--device={device}", "--quiet"] if begun else flags))
            if done < kills:
                if random.random() < 0.5:
                    in_saves += kill_in_a_save(pid, name, duration)
                else:
                    time.sleep(random.uniform(0, duration / 2))
                    os.kill(pid, signal.SIGKILL)
            _, code = os.waitpid(pid, 0)
            if os.WIFSIGNALED(code):
                done += 1
                now = images_done(name)
                if now < before:
                    lost.append(f"{name} fell back from {before} to {now} images")
                print(f"kill {done}: after {now if now >= 0 else 'no'} images", flush=True)
                before = now
            else:
                status = os.WEXITSTATUS(code)
        if status:
            lost.append(f"{name} ended with status {status}; see {name}.log")
        elif not same(result(name), alone, device):
            lost.append(f"{name} differs from the training that was left alone")
    print(f"{done} kills, {in_saves} of them while a checkpoint was written, in {trainings} trainings")
    return lost


def main() -> None:
    parser = ScriptParser(__doc__)
    parser.add_argument("--kills", type=int, default=30, help="how many")
    parser.add_argument("--seed", type=int, default=None, help="of the moments; another one at each call if left out")
    parser.add_argument("--folder", type=Path, default=None, help="where the trainings go; a temporary one if left out")
    parser.add_argument("--device", choices=list(KINDS), default="cpu", help="where the trainings run (cpu)")
    args = parser.parse_args()
    random.seed(args.seed)
    with tempfile.TemporaryDirectory() as temporary:
        lost = drill(args.folder or Path(temporary), args.kills, args.device)
        print("\n".join(lost) or "none lost: each equals the training that was left alone")
    sys.exit(bool(lost))


if __name__ == "__main__":
    run(main)
