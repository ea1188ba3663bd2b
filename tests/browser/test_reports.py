"""A report in a real Chromium, in light, dark, on a phone and on paper; live curves in a real JupyterLab."""

from pathlib import Path

import nbformat
import pytest

from driver import open_and_run
from made_up_run import history, predictions
from netwright import notebooks
from netwright.datasets import ToyPictures
from netwright.toys import ToyWorld
from netwright.tune.curves import curves_in_words
from netwright.tune.report import write_report

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"

# The least contrast between a text and what is behind it, over all texts of the page, and that text (WCAG 2.2, 1.4.3).
LEAST_CONTRAST = """() => {
    const channels = colour => colour.match(/[\\d.]+/g).map(Number);
    const luminance = colour => {
        const [r, g, b] = channels(colour).slice(0, 3).map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = element => {
        for (; element; element = element.parentElement) {
            const colour = getComputedStyle(element).backgroundColor;
            if (channels(colour)[3] !== 0) return colour;
        }
    };
    let least = [21, ''];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const text = texts.currentNode, element = text.parentElement;
        if (!text.data.trim()) continue;
        const [a, b] = [luminance(getComputedStyle(element).color), luminance(ground(element))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < least[0]) least = [contrast, text.data];
    }
    return least;
}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    pictures = ToyPictures(ToyWorld("val", length=400))
    path = tmp_path_factory.mktemp("run") / "report.html"
    return write_report(path, history(12), predictions(pictures), pictures)


@pytest.fixture(params=["light", "dark", "phone", "paper"])
def shown(request, browser, report):
    """The report as one kind of reader sees it, everything unfolded; its screenshot is in build/screenshots."""
    width = {"phone": 390, "paper": 660}.get(request.param, 1100)  # paper: A4 without its margins
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if request.param == "dark" else "light"
    )
    page = context.new_page()
    page.asked, page.problems = [], []
    page.on("request", lambda sent: page.asked.append(sent.url))
    page.on("console", lambda message: page.problems.append(message.text))
    page.goto(report.as_uri())
    page.emulate_media(media="print" if request.param == "paper" else "screen")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"report-{request.param}.png", full_page=True)
    page.evaluate("() => document.querySelectorAll('details').forEach(part => (part.open = true))")
    yield page
    context.close()


def test_every_text_stands_out_from_its_ground(shown):
    contrast, text = shown.evaluate(LEAST_CONTRAST)
    assert contrast >= 4.5, text


def test_nothing_is_wider_than_the_window_but_tables_that_scroll(shown):
    wide = shown.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0


def test_the_page_asks_for_nothing_but_itself_and_complains_of_nothing(shown, report):
    assert [url for url in shown.asked if not url.startswith("data:")] == [report.as_uri()]
    assert shown.problems == []


def test_every_picture_is_drawn_and_described(shown):
    images = shown.evaluate("() => [...document.images].map(image => [image.naturalWidth, image.alt])")
    assert len(images) == 2 + 24
    assert all(width and alt for width, alt in images)


def test_in_the_dark_pictures_keep_their_white_ground(browser, report):
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(report.as_uri())
    grounds = (
        "() => [document.body, document.querySelector('.drawn img')].map(e => getComputedStyle(e).backgroundColor)"
    )
    assert page.evaluate(grounds) == ["rgb(20, 24, 28)", "rgb(255, 255, 255)"]
    context.close()


# The height of the output cell, at every frame, while the curves are drawn anew.
WATCH = """() => {
    window.heights = [];
    const look = () => {
        const image = document.querySelector('.jp-OutputArea-output img');
        if (image) window.heights.push(image.closest('.jp-OutputArea').clientHeight);
        requestAnimationFrame(look);
    };
    look();
}"""
LIVE = """
import sys, time
sys.path.insert(0, {tests!r})
from made_up_run import history
from netwright.tune.curves import LiveCurves
live = LiveCurves()
for epochs in range(1, 7):
    live.update(history(epochs, planned=6))
    time.sleep(0.2)
"""


def test_live_curves_are_one_picture_that_does_not_jump(page, lab):
    code = LIVE.format(tests=str(Path(__file__).parents[1]))
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)], metadata=notebooks.METADATA)
    nbformat.write(made, lab.folder / "live.ipynb")
    page.add_init_script(f"({WATCH})()")
    open_and_run(page, lab, "live.ipynb")
    images = page.locator(".jp-OutputArea-output img")
    assert [images.nth(i).get_attribute("alt") for i in range(images.count())] == [curves_in_words(history(6))]
    heights = page.evaluate("() => window.heights")
    assert len(heights) > 30 and max(heights) - min(heights) <= 8
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "live-curves.png")
