"""The Visdom logger against real servers: nothing is lost, nothing is drawn twice, training never waits."""

import errno
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from util.errors import UserError
from util.loggers import Loggers
from util.loggers.grid import CAPTION, GAP, enlarge, sheet
from util.loggers.jsonl import JsonlLogger
from util.loggers.smoothing import Smoothing
from util.loggers.visdom_page import MAX_POINTS, WHOLE_WIDTH, Plot
from util.pages.plots import FEW
from util.run.progress import Position, Progress

ROOT = Path(__file__).resolve().parents[3]
visdom = pytest.importorskip("visdom")

import start_visdom  # noqa: E402
from free_port import free_port  # noqa: E402
from tiny_run import CONTRASTIVE, Run, draw_images  # noqa: E402

from util.loggers.visdom_logger import VisdomLogger, connect  # noqa: E402


class Server:
    """A Visdom server of its own process; the page's files are of no concern to it."""

    def __init__(self, port, env_path):
        code = f"import start_visdom as s; s.serve({port}, '127.0.0.1', s.Path({str(env_path)!r}))"
        environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
        command, quiet = [sys.executable, "-c", code], subprocess.DEVNULL
        self.process = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet)
        end = time.monotonic() + 300
        while time.monotonic() < end and self.process.poll() is None:
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("the server did not start")

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    port = free_port()
    server = Server(port, tmp_path_factory.mktemp("env"))
    yield port
    server.stop()


def options(folder, port, name="run", **more):
    defaults = {"checkpoints_dir": str(folder), "name": name, "display_id": None, "display_env": "main"}
    defaults |= {"display_server": "http://localhost", "display_port": port, "display_freq": 100}
    return SimpleNamespace(**defaults | {"display_ncols": 4, "display_winsize": 64} | more)


def train(loggers, first, last):
    for i in range(first, last + 1):
        progress = Progress(1, 100 * i, 100 * i, 100, learning_rates={"G": 2e-4}, seconds_per_image=0.1)
        loggers.log_losses(progress, {"G_GAN": i / 10, "NCE": 1 / i, "N": -1 / i})
        loggers.log_images(progress, {"real_A": np.full((32, 48, 3), i, np.uint8)})


def on_server(opt) -> dict:
    """window -> curve -> [(x, y)]"""
    windows = json.loads(connect(opt).get_window_data())
    plots = {title: each["content"]["data"] for title, each in windows.items() if each["type"] == "plot"}
    return {
        title: {trace["name"]: list(zip(trace["x"], trace["y"], strict=True)) for trace in traces}
        for title, traces in plots.items()
    }


def expect_points(opt, count):
    plots = on_server(opt)
    assert plots["contrastive losses"]["NCE (raw)"] == [(100 * i, 1 / i) for i in range(1, count + 1)]
    assert {len(curve) for window in plots.values() for curve in window.values()} == {count}
    assert set(plots) >= {"adversarial losses", "negatives", "learning rates", "images per second"}


def wait_until(condition) -> None:
    end = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def wait_until_drawn(logger, count):
    """The curves; and the newest picture is in the thread's hands, where another one can't take its place."""
    wait_until(lambda: logger.page.plots.get("peak memory (GB)", Plot("")).sent >= count and not logger.images)


class FakeServer:
    """Keeps what a Plot sends, as the real one does."""

    def __init__(self):
        self.x = self.opts = None

    def win_exists(self, window):
        return self.x is not None

    def line(self, y, x, win, update, opts):
        assert y.shape == x.shape and len(opts["legend"]) == y.shape[1]
        self.x = self.x + x[:, 0].tolist() if update == "append" else x[:, 0].tolist()
        self.opts = self.opts if update else opts


@settings(max_examples=50)
@given(st.lists(st.sampled_from(["point", "new curve", "draw", "restart"]), max_size=40))
def test_whatever_happens_the_server_has_every_point_once(events):
    plot, server, added = Plot("losses", smooth=True), FakeServer(), 0
    for event in [*events, "draw"]:
        if event == "restart":
            server.x = None
        elif event == "draw":
            if not plot.draw(server, "window"):
                plot.sent = 0
                assert plot.draw(server, "window")
            assert (server.x or []) == [float(i) for i in range(1, added + 1)]
        else:
            added += 1
            others = {f"gap{added}": None, f"more{added}": 2.0} if event == "new curve" else {}
            plot.add(added, {"NCE": 1.0} | others)


def test_long_runs_are_thinned():
    plot, server = Plot("losses"), FakeServer()
    for i in range(1, 10 * MAX_POINTS + 1):
        plot.add(i, {"NCE": 1.0})
    assert plot.draw(server, "window")
    assert MAX_POINTS <= len(server.x) <= 2 * MAX_POINTS and server.x[-1] == 10 * MAX_POINTS
    assert len(set(server.x)) == len(server.x)


def test_smoothing_skips_gaps_and_neither_lags_nor_jumps():
    plot = Plot("losses", smooth=True)
    for value in (2.0, float("nan"), 1.0):
        plot.add(1, {"NCE": value})
    assert [values.get("NCE") for _, values in plot.points] == [2.0, None, 1.0]
    falling = Smoothing()
    drawn = [falling.add(3.0 * 0.95**i) for i in range(60)]
    assert drawn[-1] < 1.15 * 3.0 * 0.95**59  # a fixed average of 0.9 is at 1.8 times the curve
    noisy, rng = Smoothing(), np.random.default_rng(0)
    drawn = [noisy.add(x) for x in rng.normal(size=2000)]
    assert np.std(drawn[-1000:]) < 0.15 and abs(np.mean(drawn[-1000:])) < 0.05


def test_points_have_markers_while_they_are_few():
    plot, server = Plot("losses", smooth=True), FakeServer()
    for i in range(1, FEW + 2):
        plot.add(i, {"NCE": 1.0})
        assert plot.draw(server, "window") and server.x == [float(x) for x in range(1, i + 1)]
        looks = server.opts["traceopts"]["plotly"]
        assert looks["NCE"]["mode"] == ("lines+markers" if i <= FEW else "lines")  # one point alone draws no line
        assert looks["NCE (raw)"]["mode"] == "lines"


def test_sheet_is_as_wide_as_asked_or_as_its_pictures_need():
    small, wide = np.full((32, 48, 3), 7, np.uint8), np.full((60, 600, 3), 9, np.uint8)
    assert sheet({"a": small}, 4, 500).shape == (round(488 * 32 / 48) + CAPTION + GAP, 500, 3)
    assert sheet(dict.fromkeys("abc", small), 4, 500).shape[1] == 3 * ((500 - GAP) // 3) + GAP
    assert sheet(dict.fromkeys("abcd", small), 2, 500, size=400).shape[1] == 2 * (400 + GAP) + GAP
    assert sheet({"a": small, "b": wide}, 4, 500).shape[1] == 2 * (600 + GAP) + GAP


def test_sheet_keeps_pixels_and_enlarges_small_pictures():
    big, small = np.random.default_rng(0).integers(0, 256, (100, 120, 3), np.uint8), np.full((5, 10, 3), 200, np.uint8)
    found = sheet({"big": big, "small": small, "third": big}, 2, 0)
    assert found.shape == (2 * (100 + CAPTION + GAP), 2 * (120 + GAP) + GAP, 3)
    right, below = GAP + 120 + GAP, 100 + CAPTION + GAP
    assert (found[CAPTION : CAPTION + 100, GAP : GAP + 120] == big).all()
    assert (found[CAPTION : CAPTION + 60, right : right + 120] == 200).all()
    assert (found[CAPTION + 60 : 100, right:] == 255).all()
    assert (found[below + CAPTION : below + CAPTION + 100, GAP : GAP + 120] == big).all()
    assert enlarge(small, 64).shape == (30, 60, 3) and (enlarge(big, 64) == big).all()


def test_live_then_resumed_without_gap_or_repeat(tmp_path, port):
    opt = options(tmp_path, port)
    with Loggers([JsonlLogger(opt), VisdomLogger(opt)]) as loggers:
        train(loggers, 1, 5)
    expect_points(opt, 5)
    at = Position(1, 300, 300)
    with Loggers([JsonlLogger(opt, at), VisdomLogger(opt, at)]) as loggers:
        train(loggers, 4, 7)
    expect_points(opt, 7)
    assert json.loads(connect(opt).get_window_data("images"))["title"] == "epoch 1, image 700"


def test_curves_keep_their_names_and_speed_begins_where_it_is_known(tmp_path, port):
    opt = options(tmp_path, port, name="named")
    logger = VisdomLogger(opt)
    with Loggers([logger]) as loggers:
        for i, seconds in enumerate((0.0, 0.5, 0.5), 1):
            values = {f"similarity_{kind}_4": 0.5 for kind in ("positive", "negative")}
            loggers.log_losses(Progress(1, 100 * i, 100 * i, 100, seconds_per_image=seconds), values)
            wait_until_drawn(logger, i)
    assert list(on_server(opt)["similarity to the query"]) == ["layer 4", "positive_4 (raw)", "negative_4 (raw)"]
    assert on_server(opt)["images per second"] == {"images/s": [(200, 2.0), (300, 2.0)]}


def test_no_columns_gives_each_picture_its_window(tmp_path, port):
    opt = options(tmp_path, port, name="apart", display_ncols=0)
    with Loggers([VisdomLogger(opt)]) as loggers:
        train(loggers, 1, 1)
    window = json.loads(connect(opt).get_window_data("real_A"))
    assert window["type"] == "image" and window["title"] == "real_A, epoch 1, image 100"


def test_a_new_run_clears_what_an_earlier_one_of_its_name_left(tmp_path, port):
    opt = options(tmp_path, port, name="again")
    for scores in ({"FID": 40.0}, {}):
        with Loggers([VisdomLogger(opt)]) as loggers:
            train(loggers, 1, 2)
            loggers.log_scores(Progress(1, 200, 200), scores)
    assert "FID" not in on_server(opt)


def test_absent_server_one_warning_and_everything_shown_once_it_starts(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("util.loggers.visdom_logger.RETRY_SECONDS", 0.2)
    opt = options(tmp_path, free_port())
    loggers = Loggers([VisdomLogger(opt)])
    train(loggers, 1, 3)
    err = capsys.readouterr().err
    assert err.count("warning:") == 1
    assert f"python scripts/start_visdom.py --port {opt.display_port}" in err
    assert f"python scripts/replay_visdom.py --name run --checkpoints_dir {tmp_path}" in err
    server = Server(opt.display_port, tmp_path / "env")
    try:
        train(loggers, 4, 6)
        loggers.close()
        expect_points(opt, 6)
    finally:
        server.stop()
    assert capsys.readouterr().err == ""


def test_server_dies_and_comes_back(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("util.loggers.visdom_logger.RETRY_SECONDS", 0.2)
    opt = options(tmp_path, free_port())
    server = Server(opt.display_port, tmp_path / "env")
    try:
        logger = VisdomLogger(opt)
        loggers = Loggers([logger])
        train(loggers, 1, 2)
        wait_until_drawn(logger, 2)
        server.stop()
        train(loggers, 3, 4)
        server = Server(opt.display_port, tmp_path / "other")
        train(loggers, 5, 6)
        loggers.close()
        expect_points(opt, 6)
    finally:
        server.stop()
    assert capsys.readouterr().err.count("warning:") <= 1


def test_a_request_that_arrived_but_got_no_answer_is_not_drawn_twice(tmp_path, monkeypatch):
    class Flaky(FakeServer):
        requests = 0

        def line(self, y, x, win, update, opts):
            if win == "contrastive losses":
                super().line(y, x, win, update, opts)
                self.requests += 1
                if self.requests == 2:
                    raise ConnectionError("no answer")

        def image(self, *picture, **how):
            pass

        def get_env_list(self):
            return []

        def win_exists(self, window, env=None):
            return env is None and super().win_exists(window)

        def get_window_data(self):
            return "{}"

        close = save = text = image

    server = Flaky()
    monkeypatch.setattr("util.loggers.visdom_logger.answers", lambda opt: True)
    monkeypatch.setattr("util.loggers.visdom_logger.connect", lambda opt: server)
    monkeypatch.setattr("util.loggers.visdom_logger.RETRY_SECONDS", 0.1)
    logger = VisdomLogger(options(tmp_path, 1))
    for i in range(1, 5):
        train(Loggers([logger]), i, i)
        wait_until_drawn(logger, i)
    logger.close()
    assert server.requests > 2 and server.x == [100.0, 200.0, 300.0, 400.0]


def test_a_full_disk_takes_the_picture_of_later_and_nothing_else(tmp_path, port, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("util.loggers.visdom_logger.save_image", full)
    opt = options(tmp_path, port, name="full")
    logger = VisdomLogger(opt)
    with Loggers([logger]) as loggers:
        train(loggers, 1, 1)
        wait_until_drawn(logger, 1)
        train(loggers, 2, 2)
    expect_points(opt, 2)
    assert capsys.readouterr().err.count(f"{logger.folder}/last_images.png") == 2


def test_replay_shows_a_run_that_had_no_server(tmp_path, port):
    opt = options(tmp_path, free_port(), name="replayed")
    with Loggers([JsonlLogger(opt), VisdomLogger(opt)]) as loggers:
        train(loggers, 1, 4)
        loggers.log_scores(Progress(1, 400, 400), {"FID": 40.0, "images": 120})
    script = [sys.executable, str(ROOT / "scripts/replay_visdom.py"), "--checkpoints_dir", str(tmp_path)]
    done = subprocess.run([*script, "--name", "replayed", "--display_port", str(port)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"http://localhost:{port}/env/replayed" in done.stdout
    opt.display_port = port
    plots = on_server(opt)
    assert plots.pop("FID") == {"FID": [(400, 40.0)]}
    assert "images" not in plots  # a count is no score
    assert len(plots["contrastive losses"]["NCE (raw)"]) == 4
    assert json.loads(connect(opt).get_window_data("images"))["type"] == "image"
    done = subprocess.run([*script, "--name", "absent"], capture_output=True, text=True)
    assert done.returncode == 2 and "--name" in done.stderr


def test_the_server_listens_on_the_loopback_address_alone(port):
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", port), timeout=1)


def test_a_taken_port_is_named(port, tmp_path):
    with pytest.raises(UserError, match=f"{port}.*--display_port"):
        start_visdom.serve(port, "127.0.0.1", tmp_path)


@pytest.fixture(scope="module")
def whole_port(port):
    """A server whose page can be drawn."""
    try:
        start_visdom.complete_installed()
    except (UserError, OSError) as error:
        pytest.skip(f"the page's files can't be had: {error}")
    return port


@pytest.mark.slow
def test_the_page_draws_the_panes_and_follows_the_run(tmp_path, whole_port, browser):
    opt = options(tmp_path, whole_port, name="watched")
    logger = VisdomLogger(opt)
    loggers = Loggers([logger])
    train(loggers, 1, 3)
    wait_until_drawn(logger, 3)
    browser.goto(f"http://localhost:{whole_port}/env/watched")
    curves = "[...document.querySelectorAll('.js-plotly-plot')].map(plot => plot.data[0].x.length)"
    browser.wait_for_function(f"(all => all.length === 6 && all.every(count => count === 3))({curves})")
    browser.wait_for_function("document.querySelectorAll('.scatterlayer .js-line').length >= 9")
    # As wide as the window, or as one of 1280 pixels: Visdom lays out for that until it has measured its own.
    picture = """width => [...document.images].some(image => {
        const shown = image.getBoundingClientRect().width, pane = image.closest('.window')?.offsetWidth;
        return image.naturalWidth === width && pane > 1280 - 40 && Math.abs(shown - pane) < 0.05 * pane;
    })"""
    browser.wait_for_function(picture, arg=WHOLE_WIDTH)
    train(loggers, 4, 5)  # the open page follows over its websocket
    browser.wait_for_function(f"(all => all.length === 6 && all.every(count => count === 5))({curves})")
    browser.wait_for_function(picture, arg=WHOLE_WIDTH)
    loggers.close()


@pytest.mark.slow
def test_a_real_training_is_seen_in_the_browser(tmp_path, monkeypatch, whole_port, browser):
    data = draw_images(draw_images(tmp_path / "data", 2, 2), 2, 2, phase="test")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    flags = [f"--dataroot={data}", "--model=negcut", f"--display_port={whole_port}", "--display_id=1"]
    run = Run(tmp_path / "real", monkeypatch, *CONTRASTIVE, *flags, "--display_freq=1", "--eval_freq=3")
    assert run() == 0
    browser.goto(f"http://localhost:{whole_port}/env/real")
    plots = "[...document.querySelectorAll('.js-plotly-plot')]"
    browser.wait_for_function(
        f"{plots}.length >= 10 && {plots}.every(plot => plot.querySelector('.scatterlayer path'))"
    )
    expect_titles(browser, list(PANES))
    browser.wait_for_function("[...document.images].at(-1)?.naturalWidth")
    size = browser.evaluate("(image => [image.naturalWidth, image.naturalHeight])([...document.images].at(-1))")
    each = (WHOLE_WIDTH - GAP) // 4 - GAP
    assert size == [4 * (each + GAP) + GAP, each + CAPTION + GAP]  # real_A, fake_B, real_B, idt_B


PANES = (  # of a NEGCUT run, from top to bottom
    "epoch 3, image 6",
    "adversarial losses",
    "contrastive losses",
    "FD-effnet_lite0-16px",
    "KD-effnet_lite0-16px",
    "similarity to the query",
    "negatives",
    "other losses",
    "learning rates",
    "peak memory (GB)",
    "images per second",
)


def titles(browser) -> list[str]:
    """Of the panes as they are seen, row by row."""
    place = "(pane => [pane.getBoundingClientRect().top, pane.getBoundingClientRect().left, TITLE])"
    place = place.replace("TITLE", "pane.querySelector('.bar div.pull-right').innerText")
    return [
        title for _, _, title in sorted(browser.evaluate(f"[...document.querySelectorAll('.window')].map({place})"))
    ]


def expect_titles(browser, expected: list[str]) -> None:
    """Within a minute: panes glide to their places."""
    end = time.monotonic() + 60
    while titles(browser) != expected and time.monotonic() < end:
        time.sleep(0.1)
    assert titles(browser) == expected


@pytest.mark.slow
def test_an_open_page_gets_scores_between_the_others(tmp_path, whole_port, browser):
    opt = options(tmp_path, whole_port, name="ordered")
    logger = VisdomLogger(opt)
    wait_until(lambda: logger.page.pictures_sent)
    browser.goto(f"http://localhost:{whole_port}/env/ordered")  # before the first step
    browser.wait_for_selector("text=come after the first step")
    progress = Progress(1, 100, 100, 100, learning_rates={"G": 2e-4}, seconds_per_image=0.1)
    losses = {"identity": 1.0, "N": 1.0, "NCE": 1.0, "G_GAN": 1.0, "similarity_positive_0": 0.5}
    logger.log_images(progress, {"real_A": np.full((32, 48, 3), 7, np.uint8)})
    logger.log_losses(progress, losses)
    wait_until_drawn(logger, 1)
    browser.wait_for_function("document.querySelectorAll('.window').length === 9")
    logger.log_scores(progress, {"FID": 40.0})
    logger.log_losses(progress, losses)
    rest = ["learning rates", "peak memory (GB)", "images per second"]
    expected = ["epoch 1, image 100", "adversarial losses", "contrastive losses", "FID", "similarity to the query"]
    expected += ["negatives", "other losses", *rest]
    expect_titles(browser, expected)
    browser.reload()
    expect_titles(browser, expected)
    with Loggers([logger]), Loggers([VisdomLogger(opt, Position(1, 100, 100))]):
        pass  # a resumed run without a record of scores has no second set of windows
    assert len(json.loads(connect(opt).get_window_data())) == len(expected)


@pytest.mark.slow
def test_similarities_have_a_colour_a_layer_and_say_what_they_mean(tmp_path, whole_port, browser):
    opt = options(tmp_path, whole_port, name="similar")
    values = {
        f"similarity_{kind}_{layer}": layer / 20 for layer in (0, 4, 8, 12, 16) for kind in ("positive", "negative")
    }
    with Loggers([VisdomLogger(opt)]) as loggers:
        loggers.log_losses(Progress(1, 100, 100, 100), values)
    browser.goto(f"http://localhost:{whole_port}/env/similar")
    plot = "[...document.querySelectorAll('.window')].find(pane => pane.innerText.includes('similarity to the query'))"
    browser.wait_for_function(f"{plot} && {plot}.querySelectorAll('.legendtext').length")
    legend = browser.evaluate(f"[...{plot}.querySelectorAll('.legendtext')].map(text => text.textContent)")
    assert legend == [f"layer {layer}" for layer in (0, 4, 8, 12, 16)]
    curves = browser.evaluate(
        f"{plot}.querySelector('.js-plotly-plot').data.filter(curve => curve.line.width > 1)"
        ".map(curve => [curve.hovertemplate.split(':')[0], curve.line.dash, curve.line.color])"
    )
    dashes = {name: dash for name, dash, _ in curves}
    assert dashes == {name.removeprefix("similarity_"): "dash" if "pos" in name else "solid" for name in values}
    colours = {name: colour for name, _, colour in curves}
    assert all(colours[f"positive_{layer}"] == colours[f"negative_{layer}"] for layer in (0, 4, 8, 12, 16))
    assert len(set(colours.values())) == 5

    def explained():  # anew where the pane was still on its way to its place
        browser.mouse.move(0, 0)
        browser.hover(".annotation:has-text('?')")
        return browser.evaluate(f"{plot}.querySelector('.hoverlayer')?.textContent.includes('Negatives near 1')")

    wait_until(explained)


@pytest.mark.slow
def test_main_lists_the_runs_and_links_to_them(tmp_path, whole_port, browser):
    for name in ("older", "newer run/2"):
        with Loggers([VisdomLogger(options(tmp_path, whole_port, name=name))]) as loggers:
            train(loggers, 1, 1)
    with Loggers([VisdomLogger(options(tmp_path, whole_port, name="older"))]) as loggers:  # once more: the newest now
        train(loggers, 1, 1)
    browser.goto(f"http://localhost:{whole_port}")
    browser.wait_for_selector("a:text-is('older')")
    links = browser.evaluate("[...document.querySelectorAll('.window a')].map(link => link.innerText)")
    assert links[:2] == ["older", "newer run_2"] and len(set(links)) == len(links)
    assert "older, started 20" in browser.evaluate("document.querySelector('.window').innerText")
    browser.click("a:text-is('newer run_2')")
    browser.wait_for_function("document.querySelectorAll('.js-plotly-plot').length === 6")
    wait_until(lambda: "epoch 1, image 100" in titles(browser))
