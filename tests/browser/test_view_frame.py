"""The frame of all views in Chromium: arrays, choices, the twin, the table, questions that overtake each other."""

import json

import numpy as np
import pytest

from conftest import serious_faults
from demo_view import Demo, with_demo
from netwright.views.frame import assembling

# Stands in for anywidget: a kernel that takes its time, and the messages that were sent to it.
KERNEL = """
([code, payload, answers]) => {
  window.sent = [];
  const state = { payload, choice: "{}", answer: "{}" }, heard = {};
  const model = {
    get: (name) => state[name],
    set: (name, value) => { state[name] = value; if (name === "question") {
      const question = JSON.parse(value); window.sent.push(question);
      setTimeout(() => { state.answer = JSON.stringify({ twice: 2 * question.x, id: question.id }); heard["change:answer"]?.forEach((f) => f()); }, 80);
    } },
    on: (event, f) => (heard[event] ??= []).push(f), off: () => {}, save_changes: () => {},
  };
  window.choosePython = (choice) => { state.choice = JSON.stringify(choice); heard["change:choice"].forEach((f) => f()); };
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  return import(url).then((module) => { document.body.innerHTML = "<main><h1>Live</h1></main>"; module.default.render({ model, el: document.querySelector("main") }); });
}
"""


@pytest.fixture(autouse=True)
def demo(monkeypatch):
    with_demo(monkeypatch)
    assembling.module.cache_clear()
    yield
    assembling.module.cache_clear()


def said(number: float) -> str:
    return f"{number:+.3g}".replace("-", "−")


def words(page) -> str:
    return page.locator(".nw-words").inner_text()


def test_numbers_arrive_whole_and_are_read_out_by_click_and_by_key(page_of):
    view = Demo()
    page = page_of(view)
    cells = page.locator("canvas.nw-pick")
    assert f"Row 0, column 0: {said(view.numbers[0, 0])}." in words(page)
    cells.click(position={"x": 50, "y": 30})
    assert f"Row 1, column 2: {said(view.numbers[1, 2])}." in words(page)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowRight")
    assert f"Row 1, column 3: {said(view.numbers[1, 3])}." in words(page)
    page.keyboard.press("ArrowRight")  # the edge holds
    assert f"Row 1, column 3: {said(view.numbers[1, 3])}." in words(page)
    halves = page.locator(".nw-bar-value").all_inner_texts()
    assert halves == [said(float(np.float16(value))) for value in view.numbers.flatten()]


def test_the_table_the_twin_and_the_order_of_bars(page_of):
    view = Demo()
    page = page_of(view)
    page.get_by_role("button", name="Show as table").click()
    rows = [line.split("\t") for line in page.locator(".nw-table tbody").inner_text().splitlines()]
    assert [row[1] for row in rows] == [f"{value:.3g}".replace("-", "−") for value in view.numbers[:, 0]]
    page.get_by_role("button", name="random twin").click()
    assert said(view.twin.numbers[0, 0]) in words(page)
    page.get_by_role("button", name="trained").click()
    page.get_by_role("button", name="largest first").click()
    labels = page.locator(".nw-bar-label").all_inner_texts()
    assert labels == [f"bar {i}" for i in np.argsort(-view.numbers.flatten().astype(np.float16), kind="stable")]
    page.locator(".nw-bar").first.focus()
    page.keyboard.press("ArrowDown")
    assert page.locator(".nw-bar").nth(1).get_attribute("aria-pressed") == "true"


def test_without_a_kernel_nothing_is_asked(page_of):
    page = page_of(Demo())
    page.get_by_role("button", name="Ask").click()
    assert words(page) == "no kernel"


def test_of_questions_that_overtake_each_other_the_first_and_the_last_are_asked(page_of):
    page = page_of(Demo())
    page.evaluate(KERNEL, [assembling.module("demo"), assembling.dumps(Demo().message(live=True)), None])
    page.get_by_role("button", name="Ask").click()
    page.wait_for_function("document.querySelector('.nw-words').innerText === 'twice 3 is 6'")
    assert [question["x"] for question in page.evaluate("window.sent")] == [1, 3]


def test_what_python_chooses_is_drawn(page_of):
    view = Demo()
    page = page_of(view)
    page.evaluate(KERNEL, [assembling.module("demo"), assembling.dumps(view.message(live=True)), None])
    page.evaluate("window.choosePython({ row: 1, column: 1 })")
    assert f"Row 1, column 1: {said(view.numbers[1, 1])}." in words(page)
    assert json.loads(page.locator(".nw-view").get_attribute("data-choice")) == {"row": 1, "column": 1}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("error", [1e-7, None, 1.0])
def test_the_frame_has_no_serious_fault_whatever_its_badge_says(page_of, theme, error):
    page = page_of(Demo(error=error), theme=theme)
    state = {1e-7: "holds", None: "approximate", 1.0: "fails"}[error]
    assert page.locator(".nw-badge").get_attribute("data-state") == state
    assert serious_faults(page) == []


def test_a_name_cannot_become_markup(page_of):
    page = page_of(Demo(words="<img src=x onerror=alert(1)></script>"))
    assert "<img src=x onerror=alert(1)></script>" in words(page)
