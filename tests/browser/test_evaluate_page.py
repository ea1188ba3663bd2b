"""The report of an evaluation in a real browser: it opens from a file, draws everything, and complains of nothing."""

from pathlib import Path

from netwright.cli.main import main

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"


def test_the_report_of_an_evaluation_opens_without_a_complaint(browser, tmp_path, capsys):
    ask = (
        "toy --model resnet18 --weights none --size 32 --crop-pct 1 --limit 25 --sweep 32 --corrupt 3 --speed --batch 2"
    )
    report = tmp_path / "report.html"
    assert main(["evaluate", *ask.split(), "--html", str(report)]) == 0
    page, problems = browser.new_page(viewport={"width": 1200, "height": 1000}), []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(report.as_uri())
    headings = page.locator("h2").all_inner_texts()
    assert headings == ["Summary", "resnet18", "What was run"]
    # A confusion matrix, a reliability diagram, a sweep, a map of corruptions, and the gallery.
    assert page.locator("figure.drawn img").count() == 4 and page.locator(".gallery img").count() == 24
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "evaluate.png", full_page=True)
    assert problems == []
    page.close()
