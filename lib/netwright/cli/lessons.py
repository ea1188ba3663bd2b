"""The verbs of `lessons`: list and grade. May import every floor below the command line."""

import dataclasses
import json
import sys
from pathlib import Path


def add(commands) -> None:
    """Add the verb to the command line's `commands`."""
    lessons = commands.add_parser("lessons", help="the exercises: list them, grade what was handed in")
    verbs = lessons.add_subparsers(dest="verb", required=True, metavar="verb")

    listing = verbs.add_parser("list", help="every exercise: notebook, minutes, difficulty, known mistakes")
    listing.add_argument("--json", action="store_true", help="for machines")
    listing.set_defaults(run=_list)

    grading = verbs.add_parser(
        "grade",
        help="run what students handed in, and judge every answer",
        description="Run notebooks that were handed in, each in a process of its own without a network, and judge every "
        "answer by checks that no notebook can reach. Broken, endless and hostile notebooks get a row like all others.",
    )
    grading.add_argument(
        "submissions", help="a folder with a folder for each student, or with files STUDENT_NN_name.ipynb"
    )
    grading.add_argument("--csv", metavar="FILE", help="the marks: one row a student and exercise")
    grading.add_argument("--items", metavar="FILE", help="how many made which mistake, as CSV")
    grading.add_argument("--html", metavar="FILE", help="a report in one file")
    grading.add_argument("--json", action="store_true", help="the marks on standard output, instead of tables")
    grading.add_argument(
        "--seconds",
        type=float,
        default=300,
        metavar="N",
        help="for one notebook; a statement gets a quarter (default 300)",
    )
    grading.add_argument(
        "--memory", type=float, default=4, metavar="GB", help="for one notebook, beside the library (default 4)"
    )
    grading.add_argument("--jobs", type=int, metavar="N", help="notebooks at once (default: half the processors)")
    grading.set_defaults(run=_grade)


def _list(options) -> int:
    from netwright.cli.published import table
    from netwright.grading.submissions import published_asks
    from netwright.lessons.engine import find

    head = ("exercise", "notebook", "minutes", "difficulty", "known mistakes")
    asked = [(asked, find(asked.exercise)) for asked in published_asks()]
    rows = [(it.id, where.notebook, it.minutes, it.difficulty, len(it.mistakes)) for where, it in asked]
    if options.json:
        print(json.dumps([dict(zip(head, row, strict=True)) for row in rows], indent=2))
        return 0
    print(table([head, *rows], right=(2, 4)))
    print(f"\n{len(rows)} exercises, about {sum(row[2] for row in rows)} minutes (estimated).")
    return 0


def _grade(options) -> int:
    from tqdm import tqdm

    from netwright.grading import ITEMS, Limits, grade, item_rows, page_of, write_items, write_marks

    for name in ("seconds", "memory", "jobs"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise ValueError(f"--{name} {value:g} is not possible: choose more than 0.")
    for flag, file in (("--csv", options.csv), ("--items", options.items), ("--html", options.html)):
        if file and Path(file).is_dir():
            raise ValueError(f"{flag} {file} is a folder: give the name of a file.")
        if file:  # before the run: after it, it would be a pity
            Path(file).parent.mkdir(parents=True, exist_ok=True)
    limits = Limits(seconds=options.seconds, memory=options.memory)
    with tqdm(unit="notebook", file=sys.stderr, dynamic_ncols=True) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        marks = grade(options.submissions, limits, options.jobs, progress)
    for path, write in ((options.csv, write_marks), (options.items, write_items)):
        if path:
            write(path, marks)
    if options.html:
        page_of(marks).write(options.html)
    if options.json:
        items = [dict(zip(ITEMS, row, strict=True)) for row in item_rows(marks)]
        print(json.dumps({"marks": [dataclasses.asdict(mark) for mark in marks], "items": items}, indent=2))
        return 0
    _print(marks)
    for path in filter(None, (options.csv, options.items, options.html)):
        print(f"written: {path}")
    return 0


def _print(marks) -> None:
    from netwright.cli.published import table
    from netwright.grading.report import exercise_rows, mistake_rows, student_rows

    for (head, rows), right in (
        (exercise_rows(marks), range(2, 12)),
        (mistake_rows(marks), (2,)),
        (student_rows(marks), (1, 2)),
    ):
        if rows:
            print(table([head, *rows], right=right), end="\n\n")
    unread = [(mark.student, mark.notebook, mark.message) for mark in marks if not mark.exercise]
    if unread:
        print(table([("student", "file", "why there is no answer"), *unread]), end="\n\n")
