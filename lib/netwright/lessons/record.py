"""Where the reader stands: the last outcome of every exercise, kept as files in their own folder. Imports files.

`make lab` makes a folder `progress` beside the reader's notebooks. A session that runs beside such a folder writes
there; any other, such as one that builds the published notebooks, remembers nothing beyond itself.
"""

import contextlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from netwright.files import replace_file

FOLDER = "progress"


@dataclass(frozen=True)
class Entry:
    """What is known of one exercise. last, passed: date and time, of the last check and the first that passed."""

    exercise: str
    status: str
    mistake: str | None
    checks: int
    last: str
    passed: str | None


def folder() -> Path | None:
    """The reader's record, if the session runs beside one."""
    here = Path(FOLDER)
    return here if here.is_dir() else None


def remember(exercise: str, status: str, mistake: str | None) -> None:
    """Keep an outcome, beside a record; what passed once stays passed. An open place is no check, and is not kept."""
    place = folder()
    if place is None or status == "not attempted":
        return
    before = entry(exercise)
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    passed = before.passed if before and before.passed else (now if status == "passed" else None)
    after = Entry(exercise, status, mistake, before.checks + 1 if before else 1, now, passed)
    with contextlib.suppress(OSError):  # a folder that cannot be written to is no reason to withhold the answer
        replace_file(place / f"{exercise}.json", json.dumps(asdict(after), indent=1) + "\n")


def entry(exercise: str) -> Entry | None:
    """What the record says of an exercise; None where there is nothing, or nothing that can be read."""
    place = folder()
    if place is None:
        return None
    try:
        return Entry(**json.loads((place / f"{exercise}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
