"""The whole of a grading run: submissions in, marks out. Imports the other files of this room."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from netwright.grading.marks import OUTCOMES, Mark
from netwright.grading.session import Found, Limits, Session
from netwright.grading.submissions import (
    Asked,
    Submission,
    Unreadable,
    asked_of,
    code_cells,
    find_submissions,
    published_asks,
)
from netwright.grading.verdict import Judge

MOST_TEXT = 2_000  # characters of a message


def grade(
    place: str | Path,
    limits: Limits | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Mark]:
    """Run and judge every notebook below `place`; see `find_submissions` for how it may be laid out.

    jobs: submissions at once; default: half as many as there are processors. progress: called with how many are done
    and how many there are. A mark a student and exercise; where a student handed a notebook in twice, or in parts, the
    best counts. Raises ValueError where there is nothing to grade.
    """
    submissions = find_submissions(Path(place))
    published_asks()  # or there is nothing to compare with
    limits, stop, judge = limits or Limits(), threading.Event(), Judge()
    marks: list[list[Mark]] = [[] for _ in submissions]
    with ThreadPoolExecutor(jobs or max(1, (os.cpu_count() or 2) // 2)) as pool:
        try:
            running = {pool.submit(_examine, each, limits, stop): i for i, each in enumerate(submissions)}
            for done, future in enumerate(as_completed(running), start=1):
                i = running[future]
                marks[i] = _marks(submissions[i], *future.result(), judge)
                progress(done, len(submissions))
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return _best(mark for of_one in marks for mark in of_one)


def _examine(
    submission: Submission, limits: Limits, stop: threading.Event
) -> tuple[list[Asked], dict[str, Found] | str]:
    """What a notebook was asked, and what was found of each answer or why it could not be read."""
    if submission.file is None:
        return [], "There is no notebook in the student's folder."
    try:
        cells = code_cells(submission.file)
        asked = asked_of(submission.file, cells)
    except Unreadable as error:
        return [], str(error)
    return asked, Session(cells, asked, limits, stop).run()


def _marks(submission: Submission, asked: list[Asked], found: dict[str, Found] | str, judge: Judge) -> list[Mark]:
    student = _line(submission.student)
    if isinstance(found, str):
        if submission.file is None:
            return [Mark(student, "", "", "missing", "", found)]
        return [Mark(student, _line(submission.file.name), "", "unreadable", "", _line(found))]
    marks = []
    for each in asked:
        outcome, mistake, message = judge.outcome(each.exercise, found[each.exercise])
        seconds = found[each.exercise].content.get("seconds")
        seconds = seconds if isinstance(seconds, float) else 0.0
        marks.append(Mark(student, each.notebook, each.exercise, outcome, mistake or "", _line(message), seconds))
    return marks


def _line(text: str) -> str:
    """One line, of characters that can be shown: a student's message may hold any."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in " ".join(text.split())
    )


def _best(marks) -> list[Mark]:
    """One mark a student and exercise, in the order of the students and of the book."""
    best: dict[tuple, Mark] = {}
    for mark in marks:
        # A file that could not be read has no exercise: each such file keeps its row.
        key = (mark.student, mark.notebook, mark.exercise)
        if key not in best or OUTCOMES.index(mark.outcome) < OUTCOMES.index(best[key].outcome):
            best[key] = mark
    return list(best.values())
