"""scripts/analyze_negatives.py: the page of untrained runs, and what it says to mistakes."""

import re
from xml.etree import ElementTree

import pytest

from scripts.analyze_negatives import main
from util.errors import UserError


@pytest.mark.parametrize("model", ["cut", "negcut"])
def test_page(make_run, tmp_path, capsys, model):
    arguments = make_run(f"--model={model}", without=("latest_net_D.pth",))
    main([*arguments, "--queries", "0.5,0.5"])
    page = (tmp_path / "a" / "negatives.html").read_text()
    printed = capsys.readouterr().out
    assert re.findall(r"epoch (\w+): hard negatives", printed) == ["1", "2", "latest"]
    figures = re.findall(r"<figure.*?</figure>", page)
    assert all(ElementTree.fromstring(figure) is not None for figure in figures)
    assert len(figures) == 3 * 3 + (2 if model == "negcut" else 1)  # layers x epochs, hard shares
    assert ("generated negatives" in page) == (model == "negcut")
    assert page.count("<h3>image") == 1
    assert set(re.findall(r'(?:src|href)="(.{10})', page)) == {"data:image"}  # one file, nothing from elsewhere


@pytest.mark.parametrize("flag", ["--epochs", "--epoch"])
def test_chosen_checkpoints(make_run, capsys, tmp_path, flag):
    main([*make_run("--model=negcut"), flag, "2"])
    assert re.findall(r"epoch (\w+):", capsys.readouterr().out) == ["2"]
    assert "come to queries: epoch 2</h2>" in (tmp_path / "a" / "negatives.html").read_text()
    with pytest.raises(UserError, match="--epochs.*such as 1, 2, latest"):
        main([*make_run("--model=negcut"), "--epochs", "7"])


def test_images_are_those_that_test_py_takes(make_run, tmp_path):
    arguments = make_run("--model=cut", epochs=("latest",))
    (tmp_path / "images/valA").mkdir()
    (tmp_path / "images/trainA/0.png").rename(tmp_path / "images/valA/0.png")
    main([*arguments, "--queries", "0.5,0.5"])
    assert "on 1 image." in (tmp_path / "a" / "negatives.html").read_text()


def test_mistakes(make_run, tmp_path):
    with pytest.raises(UserError, match="no checkpoint"):
        main(make_run("--model=cut", epochs=()))
    with pytest.raises(UserError, match="no contrastive term"):
        main(make_run("--model=negcut", "--lambda_NCE=0"))
    with pytest.raises(UserError, match="there is no folder"):
        main(["--name=missing", f"--checkpoints_dir={tmp_path}"])


def test_more_mistakes(make_run, tmp_path):
    arguments = make_run("--model=cut")
    with pytest.raises(UserError, match="no contrastive term"):
        main([*arguments, "--epochs", "latest", "--model=cycle_gan"])
    with pytest.raises(UserError, match="--out: .*folder does not exist"):
        main([*arguments, f"--out={tmp_path / 'no/page.html'}"])
