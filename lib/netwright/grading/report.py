"""A grading run as a page in one file: how each exercise went, which mistakes were made, where each student stands.

Imports pages and marks.
"""

from collections import Counter
from collections.abc import Sequence

from netwright.grading.marks import OUTCOMES, Mark, item_rows
from netwright.pages import Bar, Number, Page


def seen(marks: Sequence[Mark]) -> list[str]:
    """The outcomes that occur, in the order of OUTCOMES."""
    return [outcome for outcome in OUTCOMES if any(mark.outcome == outcome for mark in marks)]


def exercise_rows(marks: Sequence[Mark]) -> tuple[list[str], list[tuple]]:
    """(head, rows): an exercise a row, with how many students had each outcome."""
    outcomes = seen([mark for mark in marks if mark.exercise])
    counts: dict[tuple[str, str], Counter] = {}
    for notebook, exercise, outcome, _, students in item_rows(marks):
        counts.setdefault((notebook, exercise), Counter())[outcome] += students
    return ["exercise", "notebook", *outcomes], [
        (exercise, notebook, *(counted[outcome] or "" for outcome in outcomes))
        for (notebook, exercise), counted in counts.items()
    ]


def mistake_rows(marks: Sequence[Mark]) -> tuple[list[str], list[tuple]]:
    """(head, rows): a known mistake a row with how many students made it, and how many went wrong in another way."""
    rows = []
    for _, exercise, outcome, mistake, students in item_rows(marks):
        if mistake:
            rows.append((exercise, f"one {mistake}", students))
        elif outcome in ("failed", "crashed"):
            rows.append((exercise, f"{outcome}, and equals no known mistake", students))
    return ["exercise", "the answer equals", "students"], rows


def student_rows(marks: Sequence[Mark]) -> tuple[list[str], list[tuple]]:
    """(head, rows): a student a row: how many passed, of how many asked, and what the rest came to."""
    rows = []
    for student in dict.fromkeys(mark.student for mark in marks):
        own = [mark for mark in marks if mark.student == student]
        counted = Counter(mark.outcome for mark in own)
        rest = ", ".join(f"{counted[it]} {it}" for it in OUTCOMES if it != "passed" and counted[it])
        rows.append((student, counted["passed"], sum(1 for mark in own if mark.exercise), rest))
    return ["student", "passed", "of", "the rest"], rows


def page_of(marks: Sequence[Mark]) -> Page:
    """The page. Raises nothing for what the marks hold: names and messages are shown as text."""
    answers = [mark for mark in marks if mark.exercise]
    passed = sum(mark.outcome == "passed" for mark in answers)
    page = Page("Marks", "What the answers to the workbook's exercises came to, and what is behind those that failed.")
    page.numbers(
        [
            Number("students", str(len({mark.student for mark in marks}))),
            Number("answers asked for", f"{len(answers):,}"),
            Number("passed", f"{passed:,}", f"{passed / len(answers):.0%}" if answers else ""),
        ]
    )
    page.heading("Exercises")
    head, rows = exercise_rows(marks)
    totals = Counter((mark.exercise, mark.notebook) for mark in answers)
    shares = [int(row[2] or 0) / totals[row[:2]] if "passed" in head else 0.0 for row in rows]
    shown = [(row[0], row[1], Bar(share), *row[2:]) for row, share in zip(rows, shares, strict=True)]
    page.table([*head[:2], "share passed", *head[2:]], shown, right=range(3, len(head) + 1))

    page.heading("Mistakes")
    head, rows = mistake_rows(marks)
    if rows:
        page.text("An answer that equals a known wrong version is wrong in exactly its way, on every number compared.")
        page.table(head, rows, right=(2,))
    else:
        page.text("No answer failed.")

    page.heading("Students")
    head, rows = student_rows(marks)
    page.table(head, rows, right=(1, 2))
    wrong = [mark for mark in marks if mark.outcome != "passed"]
    with page.folded(f"Every answer that did not pass ({len(wrong)})"):
        page.table(
            ["student", "exercise", "outcome", "message"],
            [(mark.student, mark.exercise or mark.notebook, mark.outcome, _whole(mark)) for mark in wrong],
        )
    return page


def _whole(mark: Mark) -> str:
    return f"It equals one {mark.mistake}. {mark.message}" if mark.mistake else mark.message
