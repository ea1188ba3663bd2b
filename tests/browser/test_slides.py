"""Slides in a real Chromium, from a file alone: keys, fit, contrast, paper. And a reader's menus stay as they were."""

import re
from pathlib import Path

import pytest

from driver import CONNECTED
from netwright import editions
from netwright.notebooks import ROOT
from test_reports import LEAST_CONTRAST

SCREENSHOTS = ROOT / "build" / "screenshots"
NAMES = ("00_bench", "11_evaluate")  # the shortest, and one with formulas and long exercises
OVERFLOW = """() => slides.map((slide, i) => {
    show(i);
    return [i + 1, slide.scrollHeight - slide.clientHeight, slide.scrollWidth - slide.clientWidth];
}).filter(([, down, across]) => down > 1 || across > 1)"""
SHOWN = "() => slides.filter(slide => slide.offsetHeight > 0).map(slide => slides.indexOf(slide) + 1)"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("slides")
    return {path.stem: path for path in editions.build(NAMES, only=["slides"], out=out)}


@pytest.fixture(params=NAMES)
def deck(request, browser, made):
    """The slides of a notebook in a window of their own; what they asked for and complained of is kept."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, reduced_motion="reduce")
    page = context.new_page()
    page.asked, page.problems, page.name = [], [], request.param
    page.on("request", lambda sent: page.asked.append(sent.url))
    page.on("console", lambda message: page.problems.append(message.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto(made[request.param].as_uri())
    yield page
    context.close()


def test_keys_and_buttons_go_through_the_slides_one_at_a_time(deck):
    count = deck.evaluate("slides.length")
    for key, wanted in (
        ("ArrowRight", 2),
        ("PageDown", 3),
        ("ArrowLeft", 2),
        ("PageUp", 1),
        ("ArrowLeft", 1),
        ("End", count),
        ("ArrowRight", count),
        ("Home", 1),
    ):
        deck.keyboard.press(key)
        assert deck.evaluate(SHOWN) == [wanted]
        assert deck.locator("output").inner_text() == f"{wanted} / {count}"
    deck.get_by_role("button", name="The next slide").click()
    assert deck.evaluate(SHOWN) == [2] and deck.url.endswith("#2")
    deck.get_by_role("button", name="The slide before").click()
    assert deck.evaluate("document.activeElement === slides[0]")
    assert deck.problems == []


def test_a_slide_is_found_again_by_its_number(deck, made):
    deck.goto(made[deck.name].as_uri() + "#5")
    assert deck.evaluate(SHOWN) == [5]


def test_notes_are_shown_when_they_are_asked_for(deck):
    notes = deck.locator("section:not([hidden]) .notes")
    assert not notes.is_visible()
    deck.keyboard.press("n")
    assert notes.is_visible() and "minutes in class" in notes.inner_text()
    deck.keyboard.press("n")
    assert not notes.is_visible()


@pytest.mark.parametrize("size", [(1280, 720), (1024, 768), (1920, 1080)])
def test_every_slide_fits_into_the_window(deck, size):
    deck.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
    assert deck.evaluate(OVERFLOW) == []
    smallest = deck.evaluate("() => Math.min(...slides.map(slide => parseFloat(getComputedStyle(slide).fontSize)))")
    assert smallest >= 14  # of 1280 pixels: read from the last row
    if size == (1280, 720):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        for number in (1, deck.evaluate("slides.findIndex(slide => slide.querySelector('.time'))") + 1):
            deck.evaluate(f"show({number - 1})")
            deck.screenshot(path=SCREENSHOTS / f"slides-{deck.name}-{number}.png")


def test_every_text_stands_out_and_every_picture_is_drawn_and_described(deck):
    deck.evaluate("() => { document.body.classList.remove('deck'); slides.forEach(slide => (slide.hidden = false)); }")
    deck.evaluate("() => document.querySelectorAll('.notes').forEach(notes => (notes.hidden = false))")
    deck.evaluate("() => { document.documentElement.style.backgroundColor = 'white'; }")
    contrast, text = deck.evaluate(LEAST_CONTRAST)
    assert contrast >= 4.5, text
    images = deck.evaluate("() => [...document.images].map(image => [image.naturalWidth, image.alt])")
    assert images and all(width and alt for width, alt in images)
    assert [url for url in deck.asked if not url.startswith(("data:", "file:"))] == []
    assert deck.problems == []


def test_without_its_script_the_page_is_all_slides_one_below_the_other(browser, made):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(made["00_bench"].as_uri())
    shown = page.locator("section")
    assert shown.count() > 20 and shown.first.is_visible() and shown.last.is_visible()
    assert not page.get_by_role("button", name="The next slide").is_visible()
    context.close()


def test_on_paper_each_slide_is_a_page(deck):
    paper = deck.pdf(prefer_css_page_size=True, print_background=True)
    assert len(re.findall(rb"/Type /Page\b", paper)) == deck.evaluate("slides.length")


def test_what_comes_along_for_grading_does_not_show_in_a_readers_jupyterlab(page, lab):
    page.goto(f"{lab.url}/lab/tree/notebooks/00_bench.ipynb?reset&token={lab.token}")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    page.wait_for_function(CONNECTED, timeout=60_000)  # a kernel that is ended while it starts holds up the server
    menus = ["File", "Edit", "View", "Run", "Kernel", "Tabs", "Settings", "Help"]
    assert page.locator(".lm-MenuBar-itemLabel").all_inner_texts() == menus
    assert "nbgrader" not in (lab.folder / "lab.log").read_text().replace("nbgrader.server_extensions", "")
