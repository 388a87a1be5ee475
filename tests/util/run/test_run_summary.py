"""What is printed at the start and the end of a run: one screen, whatever the options."""

from types import SimpleNamespace

import pytest
import torch

import options
from util.run import run_summary


def opt_of(tmp_path, *flags):
    where = ["--dataroot", str(tmp_path), "--checkpoints_dir", str(tmp_path / "c"), "--name", "run"]
    return options.parse([*where, "--model", "negcut", "--gpu_ids", "-1", *flags])


def start(opt, capsys) -> list[str]:
    model = SimpleNamespace(device=torch.device("cpu"), precision="fp32", notes=list, print_networks=print)
    model.layout = torch.preserve_format
    model.networks = lambda: {"G": torch.nn.Linear(10, 10)}
    run_summary.print_start(opt, model, "new", 7, ["one", "two"], True)
    return capsys.readouterr().out.splitlines()


def test_defaults_are_left_out_and_changes_kept_together(tmp_path, capsys):
    flags = "--netF_nc 64 --ngf 16 --ndf 16 --lr 0.001 --n_epochs 3 --n_epochs_decay 4 --num_patches 64".split()
    lines = start(opt_of(tmp_path, *flags), capsys)
    assert len(lines) <= 24
    for change in ("netF_nc 64 (256)", "lr 0.001 (0.0002)", "num_patches 64 (256)"):
        assert any(change in line for line in lines)
    assert not any("nce_T" in line for line in lines)
    assert "run       new, 7 epochs of 7 images" in lines
    assert lines[-2:] == ["watch     one", "          two"]


def test_verbose_prints_all(tmp_path, capsys):
    opt = opt_of(tmp_path, "--verbose")
    assert start(opt, capsys)[: len(opt.message.splitlines())] == opt.message.splitlines()


def test_images_are_counted_where_they_lie(tmp_path):
    for name in ("trainA/1.png", "trainA/more/2.JPG", "trainA/.hidden.png", "trainA/notes.txt", "trainB/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert run_summary.count(str(tmp_path), "train") == "2 trainA, 1 trainB (left out: 1 .txt)"
    assert run_summary.count(str(tmp_path), "test") == ""


@pytest.mark.parametrize("words, said", [("none", ""), ("crop", "cropped to 256 pixels, "), ("trim", "cropped to 256")])
def test_sizes_follow_preprocess(tmp_path, words, said):
    assert run_summary.sizes(opt_of(tmp_path, "--preprocess", words)).startswith(said or "mirrored")


def test_the_next_command_is_whole(tmp_path, capsys):
    opt = opt_of(tmp_path)
    run_summary.print_end(opt, 1200, 240.0, "FID: last 2, best 1", None)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "done      1200 images in 4.0 minutes: 5 images/s, with scores and saves"
    assert lines[-1] == f"next      python test.py --name run --checkpoints_dir {tmp_path / 'c'}"
    run_summary.print_end(opt, 0, 1.0, "", "SIGTERM")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "done      0 images in 1 seconds"
    assert lines[-1].startswith("interrupted (SIGTERM); go on with: python train.py --name run --checkpoints_dir")


def test_the_papers_sizes_without_a_gpu(tmp_path, capsys):
    told = "without a GPU these sizes take days; smaller: --load_size 143"
    assert any(told in line for line in start(opt_of(tmp_path), capsys))
    assert not any(told in line for line in start(opt_of(tmp_path, "--ngf=32"), capsys))
