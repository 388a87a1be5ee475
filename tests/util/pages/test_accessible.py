"""axe-core over every page, light and dark: names of controls, texts of pictures, contrast."""

from types import SimpleNamespace

import numpy as np
import pytest

from scripts import analyze_negatives
from util.images import save_image
from util.loggers import Loggers
from util.loggers.training_page import TrainingPage
from util.pages import comparison_page
from util.pages.comparison import Run
from util.pages.result_page import ResultPage
from util.run.progress import Progress

GREY = np.full((8, 9, 3), 128, np.uint8)


@pytest.fixture
def pages(tmp_path, make_run):
    """Each with what brings up what else it can show."""
    arguments = make_run("--model=negcut", epochs=("latest",))  # tmp_path/a
    opt = SimpleNamespace(checkpoints_dir=str(tmp_path), name="a", model="negcut", dataroot="x", update_html_freq=1)
    with Loggers([TrainingPage(opt)]) as loggers:
        at = Progress(1, 50, 50, 50, 200, 9)
        loggers.log_losses(at, {"G_GAN": 1.0, "NCE": 2.0, "NCE_Y": 2.0, "similarity_positive_4": 0.5})
        loggers.log_images(at, {"real_A": GREY})
        loggers.log_samples(at, {"horse": {"input": GREY, "output": GREY}})
        loggers.log_scores(at, {"FID": 5.0, "FID_se": 0.25})
    analyze_negatives.main([*arguments, "--queries", "0.5,0.5"])
    results = ResultPage(tmp_path / "results", "run", {"options": {"lr": 1}}, tmp_path / "a")
    for label in ("real_A", "fake_B"):
        (tmp_path / "results/images").mkdir(parents=True, exist_ok=True)
        save_image(GREY, tmp_path / f"results/images/{label}.png")
    results.add("horse", {label: f"images/{label}.png" for label in ("real_A", "fake_B")}, {"LPIPS": 0.5})
    runs = [Run(tmp_path, {}, [(i, {"NCE": i}) for i in (1, 2)], np.arange(1.0, 3), [(2, 1, {"FID": 1.0})])]
    comparison_page.write(tmp_path / "compared", "compared", {}, {"CUT": runs}, {"CUT": {"input": [GREY] * 2}})
    return {
        tmp_path / "a/web/index.html": ["$('#losses button').click()", "$('#samples a').click()"],
        results.save(): ["view(0)", "act.Escape(); $('#as_sheet').click()"],
        tmp_path / "a/negatives.html": ["document.querySelectorAll('details').forEach(each => each.open = true)"],
        tmp_path / "compared/index.html": [],
    }


def test_nobody_is_shut_out(pages, browser):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = {}
    for theme, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        browser.emulate_media(color_scheme=theme)
        for page, states in pages.items():
            browser.goto(page.as_uri())
            browser.wait_for_selector("main:visible img, main:visible svg")
            for state in ("", *states):
                browser.evaluate(f"() => {{ {state} }}")
                for wrong in axe.run(browser, options=rules | {"resultTypes": ["violations"]}).response["violations"]:
                    nodes = [node["html"] + node["failureSummary"] for node in wrong["nodes"]]
                    found[theme, page.parent.name, state, wrong["id"]] = nodes
    browser.emulate_media(color_scheme="light")
    assert not found
