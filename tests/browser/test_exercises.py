"""An exercise of every notebook, done in JupyterLab as a reader does it: typed, checked wrong, corrected and passed."""

import ast
import json
import re

import nbformat
import pytest

from driver import open_page, rewrite, run_above, run_cell
from netwright import notebooks
from netwright.lessons.book import BOOK

RETURN = re.compile(r"^( +)return (.+)$", re.MULTILINE)


def first_exercise(name: str) -> tuple[int, str, str, str]:
    """Of a notebook: the number of a code cell with an exercise, its name, a solved and a wrong version of the cell."""
    cells = nbformat.read(notebooks.ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
    for number, cell in enumerate(cell for cell in cells if cell.cell_type == "code"):
        marked = re.search(r'@exercise\("([\w.]+)"\)', cell.source)
        solved = re.search(r"### BEGIN SOLUTION.*?### END SOLUTION", cell.source, re.DOTALL)
        returns = [found for found in RETURN.findall(solved[0]) if _is_whole(found[1])] if marked and solved else []
        if returns:
            indent, value = returns[-1]
            wrong = cell.source.replace(f"{indent}return {value}", f"{indent}return [{value}]")
            return number, marked[1], cell.source, wrong
    raise AssertionError(f"{name} has no exercise that ends with a value")


def _is_whole(value: str) -> bool:
    """Whether what follows a `return` ends on its line."""
    try:
        ast.parse(value)
    except SyntaxError:
        return False
    return True


@pytest.mark.parametrize("name", BOOK)
def test_an_exercise_is_typed_checked_wrong_corrected_and_passed(page, lab, name):
    number, exercise, right, wrong = first_exercise(name)
    open_page(page, lab, f"workbook/{name}.ipynb")
    run_above(page, number)
    run_cell(page, number)
    answer = page.locator(".jp-CodeCell").nth(number).locator(".jp-OutputArea-output")
    answer.get_by_text(f"{exercise}: not attempted").first.wait_for(timeout=60_000)
    for source, outcome in ((wrong, "(failed|crashed)"), (right, "passed")):
        rewrite(page, number, source)
        run_cell(page, number)
        answer.get_by_text(re.compile(f"{re.escape(exercise)}: {outcome}")).first.wait_for(timeout=60_000)
    kept = json.loads((lab.folder / "workbook" / "progress" / f"{exercise}.json").read_text())
    assert (kept["status"], kept["checks"], bool(kept["passed"])) == ("passed", 2, True)
    assert page.problems == []
