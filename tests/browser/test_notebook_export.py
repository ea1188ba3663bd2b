"""A saved notebook, exported by nbconvert with its defaults and opened with the network off: its views can be clicked."""

from pathlib import Path

import nbformat
import pytest

from netwright import notebooks

NOTEBOOKS = notebooks.ROOT / "notebooks"


def exported(name: str, folder: Path) -> Path:
    from nbconvert import HTMLExporter

    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    page, _ = HTMLExporter().from_notebook_node(notebook)
    path = folder / f"{name}.html"
    path.write_text(page, encoding="utf-8")
    return path


@pytest.fixture
def open_offline(browser):
    contexts = []

    def open_page(path: Path):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        contexts.append(context)
        context.set_offline(True)
        page = context.new_page()
        page.goto(path.as_uri(), wait_until="domcontentloaded")
        return page

    yield open_page
    for context in contexts:
        context.close()


def test_an_exported_query_explorer_answers_to_the_arrow_keys(open_offline, tmp_path):
    page = open_offline(exported("09_attention", tmp_path))
    frame = page.locator("iframe.nw-frame").first
    frame.scroll_into_view_if_needed()
    view = page.frame_locator("iframe.nw-frame").first
    words = view.locator(".nw-words")
    words.wait_for()
    before = words.inner_text()
    view.locator("canvas.nw-pick").first.focus()
    page.keyboard.press("ArrowRight")
    assert words.inner_text() != before and "own block" in words.inner_text()
    assert view.locator(".nw-badge").get_attribute("data-state") == "holds"
    # Where scripts run, the still picture makes room for the page; and the frame is as tall as what it holds.
    assert page.locator("iframe.nw-frame + .nw-still").first.is_hidden()
    assert frame.bounding_box()["height"] >= view.locator(".nw-view").bounding_box()["height"]


@pytest.mark.parametrize("name", ["08_features", "09_attention"])
def test_every_view_of_an_exported_notebook_draws_itself(open_offline, tmp_path, name):
    page = open_offline(exported(name, tmp_path))
    frames = page.locator("iframe.nw-frame")
    assert frames.count() >= 4
    for i in range(frames.count()):
        frames.nth(i).scroll_into_view_if_needed()
        inside = page.frame_locator("iframe.nw-frame").nth(i)
        inside.locator(".nw-badge").wait_for()
        assert len(inside.locator(".nw-words").inner_text()) > 20


def test_without_scripts_the_still_pictures_are_there(browser, tmp_path):
    path = exported("09_attention", tmp_path)
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(path.as_uri(), wait_until="domcontentloaded")
    stills = page.locator(".nw-still img")
    assert stills.count() >= 4 and stills.first.is_visible()
    assert all(len(stills.nth(i).get_attribute("alt")) > 40 for i in range(stills.count()))
    context.close()
