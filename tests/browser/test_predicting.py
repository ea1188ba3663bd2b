"""A prediction in JupyterLab, as a reader makes one: asked, clicked, kept, answered, and there again in the next session."""

import json
from pathlib import Path

import nbformat

from driver import open_page, run_cell
from netwright.notebooks import METADATA

QUESTION = "Which way does the logit move, and is a long answer such as this one shown to its very end?"
CELLS = (
    (
        "from netwright.lessons.predicting import calibration, predict, reveal\n"
        f'predict("attention.browser", {QUESTION!r}, ("it falls by all that the group adds", "it rises"))'
    ),
    'reveal("attention.browser", "it rises", "By 0.25.")',
    "calibration()",
)


def test_a_guess_is_clicked_kept_answered_and_remembered(page, lab):
    folder = lab.folder / "workbook"
    notebook = nbformat.v4.new_notebook(metadata=METADATA, cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    nbformat.write(notebook, folder / "guess.ipynb")
    open_page(page, lab, "workbook/guess.ipynb")
    outputs = page.locator(".jp-CodeCell .jp-OutputArea")
    run_cell(page, 0)
    asked = outputs.nth(0)
    asked.get_by_text(QUESTION).wait_for(timeout=30_000)
    radios = asked.get_by_role("radio")
    assert radios.count() == 2 and not any(radio.is_checked() for radio in radios.all())
    assert faults(page) == []
    radios.nth(1).focus()
    page.keyboard.press("Space")
    asked.get_by_text("You guessed “it rises”").wait_for(timeout=30_000)
    file = folder / "progress" / "predictions" / "attention.browser.json"
    assert json.loads(file.read_text())["choice"] == "it rises"
    assert asked.get_by_text("it falls by all that the group adds").evaluate(
        "it => it.scrollWidth <= it.clientWidth + 1"
    )

    run_cell(page, 1)
    outputs.nth(1).get_by_text("You guessed “it rises”, and so it is.").wait_for(timeout=30_000)
    asked.get_by_text("the answer has been shown").wait_for(timeout=30_000)
    assert all(radio.is_disabled() for radio in radios.all())
    run_cell(page, 2)
    outputs.nth(2).get_by_text("1 right, where blind guessing would give 0.5").wait_for(timeout=30_000)

    lab.end_kernels()
    open_page(page, lab, "workbook/guess.ipynb")
    run_cell(page, 0)
    asked.get_by_text("the answer has been shown").wait_for(timeout=30_000)
    assert radios.nth(1).is_checked()
    assert page.problems == []


def faults(page) -> list[str]:
    """What axe-core finds in the output of the first cell that it calls serious or critical."""
    import axe_playwright_python

    script = Path(axe_playwright_python.__file__).parent / "axe.min.js"
    page.evaluate(script.read_text(encoding="utf-8") + ";0")
    found = page.evaluate(
        "async () => (await axe.run('.jp-CodeCell .jp-OutputArea .jupyter-widgets',"
        " {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']})).violations"
    )
    return [f"{it['id']}: {it['nodes'][0]['html'][:200]}" for it in found if it["impact"] in ("serious", "critical")]
