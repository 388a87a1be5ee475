"""Training and testing scripts in the style of the official ones, beside our packages: CUT's (networks after the first
batch), CycleGAN's of 2021 (no epochs told, rates stepped first) and of 2025 (a device from outside)."""

import json
import subprocess
import sys

import pytest
import torch
from program_copy import copy_program, draw_images, run_in

TRAIN = {
    "cut": """
import torch
from options.train_options import TrainOptions
from data import create_dataset
from models import create_model
from util.visualizer import Visualizer

if __name__ == '__main__':
    opt = TrainOptions().parse()
    dataset = create_dataset(opt)
    dataset_size = len(dataset)
    model = create_model(opt)
    visualizer = Visualizer(opt)
    opt.visualizer = visualizer
    total_iters = 0
    for epoch in range(opt.epoch_count, opt.n_epochs + opt.n_epochs_decay + 1):
        epoch_iter = 0
        visualizer.reset()
        dataset.set_epoch(epoch)
        for i, data in enumerate(dataset):
            total_iters += data["A"].size(0)
            epoch_iter += data["A"].size(0)
            if len(opt.gpu_ids) > 0:
                torch.cuda.synchronize()
            if epoch == opt.epoch_count and i == 0:
                model.data_dependent_initialize(data)
                model.setup(opt)
                model.parallelize()
            model.set_input(data)
            model.optimize_parameters()
            if total_iters % opt.display_freq == 0:
                save_result = total_iters % opt.update_html_freq == 0
                model.compute_visuals()
                visualizer.display_current_results(model.get_current_visuals(), epoch, save_result)
            if total_iters % opt.print_freq == 0:
                losses = model.get_current_losses()
                visualizer.print_current_losses(epoch, epoch_iter, losses, 0.2, 0.1)
                if opt.display_id is None or opt.display_id > 0:
                    visualizer.plot_current_losses(epoch, float(epoch_iter) / dataset_size, losses)
        if epoch % opt.save_epoch_freq == 0:
            model.save_networks('latest')
            model.save_networks(epoch)
        print('rate', model.optimizers[0].param_groups[0]['lr'], 'epoch of the model', model.current_epoch)
        model.update_learning_rate()
""",
    "2021": """
from options.train_options import TrainOptions
from data import create_dataset
from models import create_model
from util.visualizer import Visualizer

if __name__ == '__main__':
    opt = TrainOptions().parse()
    dataset = create_dataset(opt)
    dataset_size = len(dataset)
    model = create_model(opt)
    model.setup(opt)
    visualizer = Visualizer(opt)
    total_iters = 0
    for epoch in range(opt.epoch_count, opt.n_epochs + opt.n_epochs_decay + 1):
        epoch_iter = 0
        visualizer.reset()
        model.update_learning_rate()
        seen = []
        for i, data in enumerate(dataset):
            total_iters += opt.batch_size
            epoch_iter += opt.batch_size
            model.set_input(data)
            model.optimize_parameters()
            seen += model.get_image_paths()
            if total_iters % opt.display_freq == 0:
                save_result = total_iters % opt.update_html_freq == 0
                model.compute_visuals()
                visualizer.display_current_results(model.get_current_visuals(), epoch, save_result)
            if total_iters % opt.print_freq == 0:
                losses = model.get_current_losses()
                visualizer.print_current_losses(epoch, epoch_iter, losses, 0.2, 0.1)
                if opt.display_id > 0:
                    visualizer.plot_current_losses(epoch, float(epoch_iter) / dataset_size, losses)
        print('epoch of the model', model.current_epoch, 'order', *seen)
        if epoch % opt.save_epoch_freq == 0:
            model.save_networks('latest')
            model.save_networks(epoch)
""",
    "2025": """
from options.train_options import TrainOptions
from data import create_dataset
from models import create_model
from util.visualizer import Visualizer
from util.util import init_ddp, cleanup_ddp

if __name__ == "__main__":
    opt = TrainOptions().parse()
    opt.device = init_ddp()
    dataset = create_dataset(opt)
    dataset_size = len(dataset)
    model = create_model(opt)
    model.setup(opt)
    visualizer = Visualizer(opt)
    visualizer.set_dataset_size(dataset_size)
    total_iters = 0
    for epoch in range(opt.epoch_count, opt.n_epochs + opt.n_epochs_decay + 1):
        epoch_iter = 0
        visualizer.reset()
        if hasattr(dataset, "set_epoch"):
            dataset.set_epoch(epoch)
        for i, data in enumerate(dataset):
            total_iters += opt.batch_size
            epoch_iter += opt.batch_size
            model.set_input(data)
            model.optimize_parameters()
            if total_iters % opt.display_freq == 0:
                save_result = total_iters % opt.update_html_freq == 0
                model.compute_visuals()
                visualizer.display_current_results(model.get_current_visuals(), epoch, total_iters, save_result)
            if total_iters % opt.print_freq == 0:
                losses = model.get_current_losses()
                visualizer.print_current_losses(epoch, epoch_iter, losses, 0.2, 0.1)
                visualizer.plot_current_losses(total_iters, losses)
        model.update_learning_rate()
        if epoch % opt.save_epoch_freq == 0:
            model.save_networks("latest")
            model.save_networks(epoch)
    cleanup_ddp()
""",
}

TEST = """
import os
from options.test_options import TestOptions
from data import create_dataset
from models import create_model
from util.visualizer import save_images
from util import html
import util.util as util

if __name__ == '__main__':
    opt = TestOptions().parse()
    opt.num_threads = 0
    opt.batch_size = 1
    opt.serial_batches = True
    opt.no_flip = True
    opt.display_id = -1
    dataset = create_dataset(opt)
    train_dataset = create_dataset(util.copyconf(opt, phase="train"))
    model = create_model(opt)
    web_dir = os.path.join(opt.results_dir, opt.name, '{}_{}'.format(opt.phase, opt.epoch))
    if opt.load_iter > 0:
        web_dir = '{:s}_iter{:d}'.format(web_dir, opt.load_iter)
    webpage = html.HTML(web_dir, 'Experiment = %s, Phase = %s, Epoch = %s' % (opt.name, opt.phase, opt.epoch))
    for i, data in enumerate(dataset):
        if i == 0:
            model.data_dependent_initialize(data)
            model.setup(opt)
            model.parallelize()
            if opt.eval:
                model.eval()
        if i >= opt.num_test:
            break
        model.set_input(data)
        model.test()
        save_images(webpage, model.get_current_visuals(), model.get_image_paths(), width=opt.display_winsize)
    webpage.save()
"""

RUN = """
import runpy, sys
sys.path.insert(0, "")
import torch
torch.set_num_threads(1)

def run(script, *flags):
    sys.argv = [script, "--gpu_ids", "-1", "--dataroot", "data_here", *flags]
    print("#", *sys.argv)
    runpy.run_path(script, run_name="__main__")

tiny = "--netG resnet_4blocks --ngf 2 --ndf 2 --load_size 36 --crop_size 32 --num_threads 0 --n_epochs_decay 1".split()
tiny += "--print_freq 2 --display_freq 2 --update_html_freq 4 --save_epoch_freq 1".split()
small = "--netF_nc 8 --num_patches 16".split()
go_on = ["--continue_train", "--epoch_count", "3"]
for name, model, own in (("cut", "negcut", small), ("2021", "cycle_gan", []), ("2025", "pix2pix", [])):
    where = ["--name", name, "--model", model, *own, "--display_id", "-1"]
    run(f"train_{name}.py", *where, *tiny, "--n_epochs", "1")
    run(f"train_{name}.py", *where, *tiny, "--n_epochs", "3", *go_on)
    run("test_theirs.py", "--name", name)
run("train_2021.py", *where, *tiny, "--n_epochs", "0", "--n_epochs_decay", "1")
"""
TRAINED = [("cut", "G"), ("2021", "G_A"), ("2025", "G")]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = copy_program(tmp_path_factory.mktemp("loops"))
    for name, script in TRAIN.items():
        (folder / f"train_{name}.py").write_text(script)
    (folder / "test_theirs.py").write_text(TEST)
    draw_images(folder / "data_here")
    (folder / "data_here/testA/more").mkdir()
    (folder / "data_here/testA/more/1.png").write_bytes((folder / "data_here/testA/0.png").read_bytes())
    (folder / "printed.txt").write_text(run_in(folder, RUN))
    return folder


def printed(folder, script):
    """What each call of it printed."""
    parts = (folder / "printed.txt").read_text().split("# ")
    return [part for part in parts if part.startswith(script)]


@pytest.mark.slow
@pytest.mark.parametrize("name, net", TRAINED)
def test_they_train_and_their_record_is_that_of_train_py(name, net, ran):
    run = ran / "checkpoints" / name
    run = run / "previous_1" if name == "2025" else run  # a third training set it aside
    rows = [json.loads(line) for line in (run / "losses.jsonl").read_text().splitlines()]
    assert [(row["epoch"], row["epoch_images"], row["total_images"]) for row in rows] == [
        (epoch, images, (epoch - 1) * 4 + images) for epoch in (1, 2, 3, 4) for images in (2, 4)
    ]
    assert (run / "train_opt.json").exists() and (run / "web/index.html").exists()
    pictures = [json.loads(line) for line in (run / "web/images.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in pictures] == [1, 1, 2, 2, 3, 3, 4, 4] and all(row["images"] for row in pictures)
    assert "time: 0.300, data: 0.100" in (run / "loss_log.txt").read_text()
    epochs = [torch.load(run / f"{epoch}_net_{net}.pth", weights_only=True) for epoch in (2, 3)]
    key = next(key for key in epochs[0] if key.endswith("weight"))
    assert not torch.equal(epochs[0][key], epochs[1][key])


@pytest.mark.slow
@pytest.mark.parametrize("name, visuals", [("cut", 3), ("2021", 6), ("2025", 3)])
def test_they_translate(name, visuals, ran):
    folder = ran / "results" / name / "test_latest"
    pictures = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    count = 2 if name == "2025" else 3  # pairs lie in a folder of their own
    assert len(pictures) == visuals * count, "equal names in two folders must not overwrite each other"
    page = (folder / "index.html").read_text()
    assert all(picture in page for picture in pictures)


@pytest.mark.slow
def test_going_on_loads_the_weights_and_says_what_it_does_not_load(ran):
    first, second = printed(ran, "train_cut.py")
    assert "weights of --epoch latest are loaded; optimizers start anew" in second and "start anew" not in first


@pytest.mark.slow
def test_epochs_reach_data_and_model_without_being_told(ran):
    first, _ = printed(ran, "train_2021.py")[:2]
    lines = [line for line in first.splitlines() if line.startswith("epoch of the model")]
    assert [line.split()[4] for line in lines] == ["1", "2"]
    orders = [line.split("order")[1] for line in lines]
    assert orders[0] != orders[1] and sorted(orders[0].split()) == sorted(orders[1].split())
    lines = [line for line in printed(ran, "train_cut.py")[1].splitlines() if line.startswith("rate")]
    assert [line.split()[-1] for line in lines] == ["3", "4"]


@pytest.mark.slow
def test_a_new_run_of_the_same_name_sets_the_files_of_the_earlier_aside(ran):
    said = printed(ran, "train_2021.py")[-1]
    assert "files of an earlier run are now in" in said and "/previous_1 --continue_train goes on with it" in said
    assert (ran / "checkpoints/2025/previous_1/3_net_G.pth").exists()
    assert not (ran / "checkpoints/2025/3_net_G.pth").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags, sentence",
    [
        (["--dataroot", "nowhere"], "'nowhere' does not exist"),
        (["--dataroot", "data_here", "--lr", "0"], "--lr: must be a number above 0"),
        (["--dataroot", "data_here", "--pool_siz", "3"], "--pool_siz"),
    ],
)
def test_a_mistake_is_one_sentence(flags, sentence, ran):
    done = subprocess.run(
        [sys.executable, "train_2025.py", "--name", "wrong", "--gpu_ids", "-1", *flags],
        cwd=ran, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr and done.stderr.count("\n") == 1
