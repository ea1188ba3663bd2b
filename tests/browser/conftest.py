"""A JupyterLab on loopback that serves a copy of the notebooks, and a page of a real Chromium."""

import shutil
from pathlib import Path

import pytest

from driver import CHROMIUM_FLAGS, find_chromium, jupyterlab

SIZES = {"laptop": (1280, 720), "projector": (1920, 1080)}

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


@pytest.fixture
def page_of(browser, tmp_path):
    """Opens the exported page of a view with the network off: ``page = page_of(view)``, in `theme` and `size`.

    What its scripts raise, log as an error or ask the network for fails the test at its end.
    """
    contexts, problems = [], []

    def open_page(view, *, theme: str = "light", size: str = "laptop", twin: bool = True):
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, reduced_motion="reduce"
        )
        contexts.append(context)
        context.set_offline(True)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(f"raised: {error}"))
        page.on("console", lambda message: message.type == "error" and problems.append(f"logged: {message.text}"))
        page.on(
            "request",
            lambda request: (
                request.url.startswith(("file:", "data:", "blob:")) or problems.append(f"asked for {request.url}")
            ),
        )
        path = tmp_path / f"view_{len(contexts)}.html"
        path.write_text(view if isinstance(view, str) else view.to_html(twin=twin), encoding="utf-8")
        page.goto(path.as_uri())
        page.wait_for_selector(".nw-view")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def serious_faults(page) -> list[str]:
    """What axe-core finds in a page that it calls serious or critical (WCAG 2.1, levels A and AA)."""
    import axe_playwright_python

    script = Path(axe_playwright_python.__file__).parent / "axe.min.js"
    page.evaluate(script.read_text(encoding="utf-8") + ";0")
    found = page.evaluate(
        "async () => (await axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']})).violations"
    )
    return [
        f"{fault['id']}: {fault['help']} ({fault['nodes'][0]['html'][:160]})"
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ]
