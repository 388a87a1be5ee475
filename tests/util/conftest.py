import pytest

from util.browser import Browser, find_chromium


@pytest.fixture(scope="session")
def browser():
    if not find_chromium():
        pytest.skip("no Chromium on PATH")
    with Browser() as chromium:
        yield chromium
