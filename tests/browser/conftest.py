"""A JupyterLab on loopback that serves a copy of the notebooks, and a page of a real Chromium."""

import shutil
from pathlib import Path

import pytest

from driver import CHROMIUM_FLAGS, find_chromium, jupyterlab

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items):
    # One JupyterLab and one browser for them all, in one worker.
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no Chromium on this machine: install it, or set CHROMIUM to its path")
    # No longer than the module: Playwright keeps an event loop running, which the notebook tests must not meet.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy(notebook, folder / "notebooks")
    with jupyterlab(folder) as running:
        yield running


@pytest.fixture
def page(browser, lab):
    """A page whose ``problems`` lists what its scripts raised."""
    context = browser.new_context(viewport={"width": 1200, "height": 1000})
    page = context.new_page()
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    yield page
    context.close()
    lab.end_kernels()
