"""A page in a headless Chromium, by way of Playwright, for screenshots and for the tests of pages.

It is the Chromium on the PATH; Playwright's own download is never used.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from util.errors import UserError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find_chromium() -> str | None:
    return next((path for path in map(shutil.which, NAMES) if path), None)


@contextmanager
def chromium_page(width: int = 1440, height: int = 900, dark: bool = False) -> Iterator:
    """Playwright's Page. ``page.log`` holds what the pages reported: exceptions, console messages, failed loads.

    ``UserError`` without Playwright or a Chromium.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise UserError("pages need Playwright: pip install playwright") from None
    program = find_chromium()
    if program is None:
        raise UserError(f"no Chromium found on PATH; looked for {', '.join(NAMES)}")
    # Chromium's sandbox refuses to run for root
    sandbox = not (hasattr(os, "geteuid") and os.geteuid() == 0)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=program, chromium_sandbox=sandbox, args=["--no-proxy-server", "--disable-quic"]
        )
        page = chromium.new_page(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", accept_downloads=True
        )
        page.log = []
        page.on("pageerror", lambda error: page.log.append(str(error)))
        page.on("console", lambda message: page.log.append(message.text))
        yield page
        chromium.close()
