"""The training page: whole at any moment, no repeats after a resume, linear cost, and what a browser shows of it."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from util.loggers import Loggers
from util.loggers.jsonl import JsonlLogger
from util.loggers.smoothing import Smoothing
from util.loggers.training_page import CHUNK_ROWS, TrainingPage
from util.metrics.names import higher_is_better
from util.pages import other_pages
from util.pages.result_page import ResultPage
from util.run.progress import Position, Progress

NASTY = "a<b>&\"'#?%20 </script><img src=x onerror=alert(1)>"


START = {
    "time": "2026-01-02 03:04:05+0100",
    "total_images": 0,
    "command": f"python train.py --dataroot {NASTY}",
    "versions": {"torch": "2.14.1"},
    "commit": "0123456789abcdef",
    "changed": True,
    "device": "cpu, 1 thread",
    "dataroot": NASTY,
    "data": {"trainA": {"images": 1200, "fingerprint": "0a1b"}},
}


GREY = np.full((8, 9, 3), 128, np.uint8)


def options(folder, **more):
    defaults = {"checkpoints_dir": str(folder), "name": "run", "model": "negcut", "dataroot": "data"}
    return SimpleNamespace(**defaults | {"update_html_freq": 100} | more)


def train(loggers, first, last, name="horse", images=True):
    """Step i sees 50 images; an epoch has 4 steps."""
    for i in range(first, last + 1):
        epoch = (i - 1) // 4 + 1
        progress = Progress(epoch, 50 * ((i - 1) % 4 + 1), 50 * i, 50, 200, 9, learning_rates={"G": 2e-4})
        loggers.log_losses(progress, {"G_GAN": 1 / i, "NCE": float("nan") if i == 2 else 2 / i})
        if images:
            loggers.log_images(progress, {"real_A": np.full((8, 9, 3), i % 256, np.uint8)})
        if i % 4 == 0:
            loggers.log_samples(progress, {name: {"fake_B": np.full((8, 9, 3), i % 256, np.uint8)}})
            loggers.log_scores(progress, {"FID": abs(50.0 - i), "FID_se": 0.25, "images": 120})


def read_page(web):
    """What the page would load: its state, and its rows by kind."""
    state = json.loads((web / "data/state.js").read_text()[len("state(") : -len(");\n")])
    rows = {"losses": [], "scores": [], "images": [], "samples": []}
    for index in range(state["chunks"]):
        for row in json.loads((web / f"data/{index:05}.js").read_text()[len("add(") : -len(");\n")]):
            rows[row["kind"]].append(row)
    return state, rows


def test_it_holds_everything_and_the_pictures_are_there(tmp_path):
    with Loggers([TrainingPage(options(tmp_path))]) as loggers:
        train(loggers, 1, 8)
    web = tmp_path / "run/web"
    state, rows = read_page(web)
    assert [row["total_images"] for row in rows["losses"]] == [50 * i for i in range(1, 9)]
    assert [row["total_images"] for row in rows["images"]] == [50, 100, 200, 300, 400]  # the first, --update_html_freq
    assert [row["scores"]["FID"] for row in rows["scores"]] == [46.0, 42.0]
    assert rows["losses"][1]["losses"]["NCE"] is None
    assert state["groups"] == {"G_GAN": "adversarial", "NCE": "contrastive"}
    assert state["scores"] == {"FID": "lower"}
    links = [link for row in rows["images"] for link in row["images"].values()]
    links += [link for row in rows["samples"] for images in row["samples"].values() for link in images.values()]
    assert len(links) == 7 and all((web / link).is_file() for link in links)
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", (web / "index.html").read_text())


def test_it_is_whole_after_every_step_so_a_kill_breaks_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("util.loggers.training_page.CHUNK_ROWS", 3)
    monkeypatch.setattr("util.loggers.training_page.FLUSH_SECONDS", -1)
    loggers = Loggers([TrainingPage(options(tmp_path))])
    for i in range(1, 9):
        train(loggers, i, i)
        _, rows = read_page(tmp_path / "run/web")
        assert len(rows["losses"]) == i and len(rows["images"]) == 1 + i // 2 and len(rows["samples"]) == i // 4


def test_a_resumed_page_equals_an_uninterrupted_one(tmp_path):
    def content(folder):
        state, rows = read_page(folder / "run/web")
        for row in [*rows["losses"], *rows["scores"]]:
            for changing in ("time", "memory_gb", "images_per_second", "data_share", "learning_rates"):
                row.pop(changing, None)
        return {kind: sorted(map(str, part)) for kind, part in rows.items()}, state["scores"], state["groups"]

    def run(folder, first, last, resume=None):
        with Loggers([JsonlLogger(options(folder), resume), TrainingPage(options(folder), resume)]) as loggers:
            loggers.log_start(START)
            train(loggers, first, last)

    run(tmp_path / "whole", 1, 10)
    run(tmp_path / "resumed", 1, 7)
    run(tmp_path / "resumed", 6, 10, resume=Position(2, 50, 250))
    starts = [read_page(folder / "run/web")[0]["starts"] for folder in (tmp_path / "whole", tmp_path / "resumed")]
    assert starts == [[START], [START, START]]
    whole, resumed = content(tmp_path / "whole"), content(tmp_path / "resumed")
    assert [len(part) for part in resumed[0].values()] == [10, 2, 6, 2]
    assert resumed[0]["images"] == whole[0]["images"] and resumed[0]["samples"] == whole[0]["samples"]
    assert resumed[1:] == whole[1:]


def test_the_cost_is_linear_finished_files_are_never_touched_again(tmp_path):
    web = tmp_path / "run/web"
    loggers = Loggers([TrainingPage(options(tmp_path))])
    train(loggers, 1, 2 * CHUNK_ROWS, images=False)
    kept = [web / "index.html", web / "data/00000.js", web / "data/00001.js"]
    before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in kept]
    train(loggers, 2 * CHUNK_ROWS + 1, 3 * CHUNK_ROWS, images=False)
    loggers.close()
    assert [(path.stat().st_ino, path.stat().st_mtime_ns) for path in kept] == before
    assert len(read_page(web)[1]["losses"]) == 3 * CHUNK_ROWS


def test_checkpoints_are_linked(tmp_path):
    with Loggers([TrainingPage(options(tmp_path))]) as loggers:
        (tmp_path / "run/latest net_G.pth").touch()
        train(loggers, 1, 2)
    state, _ = read_page(tmp_path / "run/web")
    assert state["checkpoints"] == [["latest net_G.pth", "../latest%20net_G.pth"]]


def test_its_state_tells_how_the_run_ended(tmp_path):
    opt, state = options(tmp_path), lambda: read_page(tmp_path / "run/web")[0]
    with Loggers([TrainingPage(opt)]) as loggers:
        loggers.step(Progress(9, 150, 1750, 50, 200, 9))
    assert state()["ended"] == "interrupted"
    with Loggers([TrainingPage(opt, Position(9, 150, 1750))]) as loggers:
        assert "ended" not in state()
        loggers.step(Progress(9, 200, 1800, 50, 200, 9))
    assert state()["ended"] == "finished"


@pytest.mark.parametrize("names", [("a/b", "a_b"), ("é", "è"), ("x" * 300, "x" * 301), ("..", ".")])
def test_names_that_no_file_may_have_stay_apart(tmp_path, names):
    page = TrainingPage(options(tmp_path))
    image = {"fake_B": np.zeros((4, 4, 3), np.uint8)}
    page.log_samples(Progress(1, 1, 1), dict.fromkeys(names, image))
    page.close()
    (row,) = read_page(tmp_path / "run/web")[1]["samples"]
    links = [row["samples"][name]["fake_B"] for name in names]
    assert len(set(links)) == 2
    assert len(list((tmp_path / "run/web/samples").rglob("*.png"))) == 2


def test_which_way_a_score_is_better():
    assert not any(map(higher_is_better, ("FID", "KID", "LPIPS", "error to the truth")))
    assert not any(map(higher_is_better, ("accumulated error", "mapped_distance", "previous_FID", "class_error")))
    assert all(
        map(higher_is_better, ("SSIM", "pixAcc", "mean IoU", "Precision", "mIoU_ema", "mAP50", "class_340_real"))
    )
    assert all(map(higher_is_better, ("pixel_accuracy", "class_accuracy", "stripes_ema", "edge_similarity", "MS-SSIM")))


def test_in_the_browser(tmp_path, browser):
    opt = options(tmp_path, name=NASTY.replace("/", "|"), dataroot=NASTY)
    with Loggers([TrainingPage(opt)]) as loggers:
        loggers.log_start(START)
        loggers.log_scores(Progress(1, 50, 50), {"FID-128px": 1.0})  # before another --crop_size
        train(loggers, 1, 20, name=NASTY)
    browser.log.clear()
    browser.goto((tmp_path / opt.name / "web/index.html").as_uri())
    browser.wait_for_function("document.querySelectorAll('#epochs .epoch').length === 5")
    browser.wait_for_function("document.querySelectorAll('.plot path').length >= 7")
    assert browser.evaluate("$('h1').textContent") == opt.name
    text = "[...document.querySelectorAll('SELECTOR')].map(x => x.textContent)"
    cards = browser.evaluate(text.replace("SELECTOR", "#scores small"))
    assert cards == ["last, epoch 5, ± 0.25", "best, epoch 5, ± 0.25", "last, epoch 1", "best, epoch 1"]
    summaries = browser.evaluate(text.replace("SELECTOR", ".epoch summary"))
    assert [summary.split("FID")[0] for summary in summaries] == [f"epoch {i}" for i in (5, 4, 3, 2, 1)]
    assert not browser.evaluate("document.head.querySelectorAll('script').length")  # of a page left open for days
    assert "NCE 1.056" in summaries[-1]  # mean of 2/1, 2/3, 2/4: the NaN is left out
    opened = browser.evaluate("[...document.querySelectorAll('.epoch')].map(x => x.open)")
    assert opened == [True, True, False, False, False]
    assert browser.evaluate("document.querySelectorAll('.epoch img').length") == 4
    browser.evaluate("$('#open').click()")
    browser.wait_for_function("document.querySelectorAll('.epoch img').length === 11")

    assert browser.evaluate("$('#samples b').textContent") == NASTY
    source = "$('#samples img').getAttribute('src')"
    last = browser.evaluate(source)
    browser.evaluate("$('#step').value = 0; $('#step').oninput()")
    assert browser.evaluate(source) != last and "epoch0001" in browser.evaluate(source)
    assert browser.evaluate("$('#at').textContent") == "epoch 1, image 200  (1 of 5)"
    browser.wait_for_function("$('#samples img').naturalWidth === 9")
    foot = browser.evaluate("$('#starts').innerText")
    for part in (NASTY, "0123456789, changed", "cpu, 1 thread", "torch 2.14.1", "trainA 1,200 images, 0a1b"):
        assert part in foot
    assert browser.log == []


def test_pictures_enlarge_in_the_viewer(tmp_path, browser):
    with Loggers([TrainingPage(options(tmp_path))]) as loggers:
        train(loggers, 1, 4, name="a")
        loggers.log_samples(Progress(2, 50, 450, 50, 200, 9), {name: {"input": GREY, "output": GREY} for name in "ab"})
    browser.log.clear()
    browser.goto((tmp_path / "run/web/index.html").as_uri())
    seen = "[$('#viewer').open, $('#name').textContent, $('#note').textContent, $('#where').textContent]"
    browser.locator("#samples img >> visible=true").last.click()
    assert browser.evaluate(seen) == [True, "b", "epoch 2, image 450", "2 / 2"]
    assert browser.evaluate("[...document.querySelectorAll('.pair em')].map(x => x.textContent)") == ["input", "output"]
    browser.keyboard.press("ArrowLeft")
    assert browser.evaluate("$('#name').textContent") == "a"
    browser.keyboard.press("Escape")
    browser.locator("#epochs img").first.click()
    assert browser.evaluate(seen) == [True, "epoch 1, image 200", "", "3 / 3"]
    assert browser.log == []


def test_the_pages_of_a_run_link_to_each_other(tmp_path, browser):
    TrainingPage(options(tmp_path)).close()
    training, results = tmp_path / "run/web/index.html", tmp_path / "more results/run"

    def save(name):
        return ResultPage(results / name, name, {}, tmp_path / "run").save()

    def links(page):
        browser.goto(page.as_uri())
        browser.wait_for_selector("nav.terms a")
        return browser.evaluate("[...document.querySelectorAll('nav.terms a')].map(a => [a.textContent, a.href])")

    first = save("test_1")
    other_pages.write(training.parent, {"test_1": "../../more%20results/run/test_1/index.html"})  # of earlier versions
    first, second = save("test_1"), save("test_2")
    of_first, of_second = ["result page: test_1", first.as_uri()], ["result page: test_2", second.as_uri()]
    assert links(training) == [of_first, of_second]
    assert links(second) == [["training page", training.as_uri()], of_first]
    first.unlink()
    save("test_2")
    assert links(training) == [of_second]
    TrainingPage(options(tmp_path), Position(1)).close()  # the run goes on
    assert "test_2" in (tmp_path / "run/web/data/pages.js").read_text()


def test_it_tells_what_it_waits_for_then_progress_and_time_left(tmp_path, browser):
    loggers = Loggers([TrainingPage(options(tmp_path))])

    def head():
        browser.goto((tmp_path / "run/web/index.html").as_uri())
        browser.wait_for_function("$('#state').textContent")
        return browser.evaluate("$('#state').innerText")

    assert "waits for the first step" in head()
    for images, seconds in ((50, 0.0), (100, 2.0), (130, 2.0)):
        progress = Progress(1, images, images, 50, 200, 9, seconds_per_image=seconds)
        loggers.step(progress)
        if images == 50:
            loggers.log_losses(progress, {"NCE": 1.0})
    assert "epoch 1 of 9" in head() and "left" not in head()
    assert browser.evaluate("rows.losses.map(row => row.total_images)") == [50]  # the first record is there at once
    loggers.show_losses(progress, {"NCE": 0.5, "late": 1.0})
    assert "epoch 1 of 9 progress 7% left 0:55:40 images 130 images/s 0.5 updated" in " ".join(head().split())
    assert browser.evaluate("rows.losses.map(row => row.total_images)") == [50, 130]
    assert not browser.is_visible("#go_on")
    loggers.close()
    assert "training interrupted epoch 1 of 9 progress 7% images 130" in " ".join(head().split())
    go_on = f"go on with python train.py --name run --checkpoints_dir {tmp_path} --continue_train"
    assert browser.inner_text("#go_on") == go_on
    assert [row["total_images"] for row in read_page(tmp_path / "run/web")[1]["losses"]] == [50]  # shown, not recorded


def test_visdom_and_the_page_smooth_alike(tmp_path, browser):
    TrainingPage(options(tmp_path)).close()
    browser.goto((tmp_path / "run/web/index.html").as_uri())
    values = np.random.default_rng(0).normal(3, 1, size=3000).tolist()
    drawn = browser.evaluate(
        "values => smooth(values.map((y, x) => [x, y, {}]), +$('#smoothing').value).map(point => point[1])", values
    )
    smoothing = Smoothing()
    assert drawn == pytest.approx([smoothing.add(value) for value in values], rel=1e-12)
    assert drawn[0] == values[0] and np.std(drawn[-1000:]) < 0.1


def test_similarities_have_a_colour_a_layer(tmp_path, browser):
    values = {f"similarity_{kind}_{layer}": layer / 20 for layer in (0, 4, 8) for kind in ("positive", "negative")}
    with Loggers([TrainingPage(options(tmp_path))]) as loggers:
        loggers.log_losses(Progress(1, 50, 50, 50, 200, 9), values)
    browser.goto((tmp_path / "run/web/index.html").as_uri())
    plot = "[...document.querySelectorAll('.plot')].find(plot => plot.innerText.startsWith('similarity'))"
    browser.wait_for_function(f"{plot}?.querySelectorAll('path:not(.raw)').length === 6")
    assert browser.evaluate(f"[...{plot}.querySelectorAll('button')].map(x => x.innerText)") == [
        "layer 0",
        "layer 4",
        "layer 8",
    ]
    look = "path => [path.getAttribute('stroke'), path.getAttribute('stroke-dasharray')]"
    curves = browser.evaluate(f"[...{plot}.querySelectorAll('path:not(.raw)')].map({look})")
    assert [dash is not None for _, dash in curves] == [True, False] * 3
    assert [curves[i][0] for i in (0, 2, 4)] == [curves[i][0] for i in (1, 3, 5)]
    assert len({colour for colour, _ in curves}) == 3
    words = browser.evaluate(f"{plot}.innerText + [...{plot}.querySelectorAll('text')].map(x => x.textContent)")
    assert all(part in words for part in ("dashed: positives, solid: negatives", "images", "mean cosine"))
    assert browser.evaluate(f"{plot}.querySelectorAll('circle').length") == 6  # one point draws no line
    assert browser.evaluate(f"[...{plot}.querySelectorAll('text')].map(x => x.textContent)")[-4:-2] == ["50", "51"]
    hint = browser.locator("#losses summary")
    assert "Negatives near 1" in hint.get_attribute("title")
    hint.press("Enter")  # without a mouse
    assert "Negatives near 1" in browser.inner_text("#losses details")
