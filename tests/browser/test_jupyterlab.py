"""Every notebook in a real JupyterLab in Chromium, as a reader opens and runs it."""

from pathlib import Path

import nbformat
import pytest

from driver import move_slider, open_and_run, run_all
from netwright import notebooks

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
NAMES = [source.stem for source in notebooks.sources()]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_in_jupyterlab(page, lab, name):
    open_and_run(page, lab, f"notebooks/{name}.ipynb")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    # The notebook scrolls inside the page, so the page has to be as tall as the notebook.
    height = page.evaluate("() => document.querySelector('.jp-WindowedPanel-inner').scrollHeight")
    page.set_viewport_size({"width": 1200, "height": min(height + 100, 16000)})
    page.evaluate("() => document.querySelectorAll('.jp-WindowedPanel-outer').forEach(e => (e.scrollTop = 0))")
    page.screenshot(path=SCREENSHOTS / f"{name}.png")
    assert page.problems == []
    undescribed = page.locator(".jp-OutputArea-output img:not([alt]), .jp-OutputArea-output img[alt='']")
    assert undescribed.count() == 0
    if "explore(" in (notebooks.ROOT / "notebooks" / "source" / f"{name}.py").read_text(encoding="utf-8"):
        before, after = move_slider(page)
        assert before != after


@pytest.mark.skipif(not NAMES, reason="there is no notebook yet")
def test_make_lab_opens_the_readers_own_copy_of_the_first_notebook(page, lab):
    page.goto(f"{lab.url}/?token={lab.token}")
    tab = page.locator("#jp-main-dock-panel .lm-TabBar-tab.jp-mod-current")
    tab.wait_for(timeout=60_000)
    assert tab.inner_text().strip() == f"{NAMES[0]}.ipynb"
    assert f"/tree/workbook/{NAMES[0]}.ipynb" in page.url


def test_a_cell_that_fails_is_noticed(page, lab):
    cells = [nbformat.v4.new_code_cell(code) for code in ("1 / 0", "'never reached'")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=notebooks.METADATA), lab.folder / "failing.ipynb")
    page.goto(lab.address("failing.ipynb"))
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run_all(page)


def test_a_widget_that_cannot_be_drawn_is_noticed(page, lab):
    code = "import ipywidgets\nipywidgets.Image(value=b'', tooltip='breaks in the browser')"
    cells = [nbformat.v4.new_code_cell(code)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=notebooks.METADATA), lab.folder / "widget.ipynb")
    with pytest.raises(AssertionError, match="could not be drawn"):
        open_and_run(page, lab, "widget.ipynb")
