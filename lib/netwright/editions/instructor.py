"""The teacher's cells of a notebook: how to hold the session, and behind each exercise what each mistake reveals.

Imports the teaching files of lessons, its engine and, of this room, places.
"""

import copy

import nbformat

from netwright.editions.places import last_places, places
from netwright.lessons.engine import find
from netwright.lessons.teaching import Teaching, TeachingError

TAG = "instructor"  # of every cell that is the teacher's alone


def annotated(notebook, teaching: Teaching):
    """A copy with the teacher's cells in it.

    Raises TeachingError where the teaching file and the notebook do not name the same exercises, or the teaching file
    and the Checks not the same mistakes.
    """
    where = last_places(notebook)
    if odd := set(where) ^ set(teaching.exercises):
        raise TeachingError(
            f"{teaching.name}: the notebook and its teaching file do not name the same exercises: "
            f"{', '.join(sorted(odd))}."
        )
    if faults := teaching.faults():
        raise TeachingError("\n".join(faults))
    annotated = copy.deepcopy(notebook)
    for exercise, cell in sorted(where.items(), key=lambda place: -place[1]):  # from the end, so that numbers stay true
        annotated.cells.insert(cell + 1, _cell(_reveals(exercise, teaching), f"reveals-{exercise.replace('.', '-')}"))
    annotated.cells.insert(1, _cell(_opening(notebook, teaching), "for-the-teacher"))
    return annotated


def _cell(text: str, name: str):
    return nbformat.v4.new_markdown_cell(text, id=name[:64], metadata={"tags": [TAG]})


def _opening(notebook, teaching: Teaching) -> str:
    lines = ["## For the teacher", "", f"*{teaching.minutes} minutes in class, estimated.*", "", teaching.opening, ""]
    lines += ["| exercise | where | minutes | difficulty | known mistakes |", "|---|---|---:|---|---:|"]
    set_as = {place.exercise: place.title for place in places(notebook)}
    total = 0
    for name in teaching.exercises:
        known = find(name)
        total += known.minutes
        words = set_as.get(name, "shown, not set")
        lines.append(
            f"| `{name}` | {_in_table(words)} | {known.minutes} | {known.difficulty} | {len(known.mistakes)} |"
        )
    lines += [f"| **all exercises** | | **{total}** | | |", "", "### What learners believe", ""]
    for pair in teaching.misconceptions:
        lines += [f"- **{pair.said}** {pair.answer}"]
    lines += ["", "### Questions for the board", ""]
    for number, pair in enumerate(teaching.questions, start=1):
        lines += [f"{number}. {pair.said}", "", f"   <details><summary>An answer</summary>{pair.answer}</details>", ""]
    return "\n".join(lines).rstrip()


def _reveals(exercise: str, teaching: Teaching) -> str:
    """What each known mistake of an exercise says about who makes it, as a table."""
    lines = [
        f"**For the teacher: what an answer to `{exercise}` reveals**",
        "",
        "| it equals one … | what it says, and what to ask |",
        "|---|---|",
    ]
    told = teaching.exercises[exercise]
    lines += [f"| {_in_table(clause)} | {_in_table(told[clause])} |" for clause in find(exercise).mistakes]
    return "\n".join(lines)


def _in_table(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
