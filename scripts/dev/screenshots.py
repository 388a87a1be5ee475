"""Take the screenshots of the README and the docs from a real run.

    python scripts/dev/screenshots.py --name horse2zebra --out docs/images

Writes training_page.png, training_losses.png (its curves), visdom.png and, where results_dir/NAME holds pages of
test.py, result_page.png and result_viewer.png. Needs Chromium. Visdom gets a server of its own for the moment.
"""

import io
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image
from repository import ROOT

from scripts.dev.browser import chromium_page
from scripts.start_visdom import complete_installed, own_server
from util.errors import UserError, run
from util.files import write_atomic
from util.flag_types import ScriptParser

MAX_BYTES = 300 * 1024


def training_page(browser, page: Path, out: Path) -> None:
    browser.goto(page.resolve().as_uri())
    browser.wait_for_function("document.querySelectorAll('.plot path').length")
    settle(browser)
    save(browser, out / "training_page.png")
    browser.evaluate("$('#losses').scrollIntoView()")
    settle(browser)
    save(browser, out / "training_losses.png")


def result_page(browser, page: Path, out: Path) -> None:
    browser.goto(page.resolve().as_uri())
    settle(browser)
    save(browser, out / "result_page.png")
    browser.evaluate("view(0)")
    browser.wait_for_function("$('.pair img') && $('.pair').offsetWidth > 1")
    settle(browser)
    save(browser, out / "result_viewer.png")


def visdom_page(browser, opt, out: Path) -> None:
    complete_installed()
    with own_server() as port:
        replay = [sys.executable, ROOT / "scripts/replay_visdom.py", "--name", opt.name]
        replay += ["--checkpoints_dir", opt.checkpoints_dir, "--display_port", str(port)]
        url = subprocess.run(replay, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]
        browser.goto(url)
        browser.wait_for_function("document.querySelectorAll('.js-plotly-plot .scatterlayer path').length")
        settle(browser)
        save(browser, out / "visdom.png")


def save(browser, path: Path) -> None:
    """As a PNG; where it is larger than MAX_BYTES, in coarser colours: the last bits hardly compress."""
    with Image.open(io.BytesIO(browser.screenshot())) as picture:
        picture = picture.convert("RGB")
    for step in (1, 2, 4, 6, 8, 9, 10, 12, 16):
        coarser = [min(255, round(value / step) * step) for value in range(256)]
        file = io.BytesIO()
        picture.point(coarser * 3).save(file, "PNG", optimize=True)
        if file.tell() <= MAX_BYTES:
            break
    write_atomic(path, file.getvalue())


def settle(browser) -> None:
    """Until the pictures in the window are loaded and the plots have stopped moving."""
    browser.wait_for_function("[...document.images].every(image => image.complete || image.loading === 'lazy')")
    time.sleep(1)


def main() -> None:
    parser = ScriptParser(__doc__)
    parser.add_argument("--name", required=True, help="the run")
    parser.add_argument("--checkpoints_dir", default="./checkpoints", help="default: ./checkpoints")
    parser.add_argument("--results_dir", default="./results", help="default: ./results")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images", help="default: docs/images")
    parser.add_argument("--width", type=int, default=1280, help="of the window, in pixels; default: 1280")
    parser.add_argument("--height", type=int, default=860, help="of the window, in pixels; default: 860")
    parser.add_argument("--dark", action="store_true", help="the dark colours")
    opt = parser.parse_args()
    page = Path(opt.checkpoints_dir) / opt.name / "web/index.html"
    if not page.is_file():
        raise UserError(f"no training page at {page}: --name and --checkpoints_dir must name a run (without --no_html)")
    results = sorted(Path(opt.results_dir, opt.name).glob("*/index.html"), key=lambda path: path.stat().st_mtime)
    opt.out.mkdir(parents=True, exist_ok=True)
    with chromium_page(opt.width, opt.height, opt.dark) as browser:
        training_page(browser, page, opt.out)
        if results:
            result_page(browser, results[-1], opt.out)
        visdom_page(browser, opt, opt.out)
    print("\n".join(str(path) for path in sorted(opt.out.glob("*.png"))))


if __name__ == "__main__":
    run(main)
