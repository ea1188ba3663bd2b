"""The log of a training as it is read: what curves and reports are made from. Imports nothing of the project."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOG = "log.jsonl"  # in the folder of the run


class JournalError(OSError):
    """A log that cannot be kept or read; the message names the file and the way out."""


@dataclass
class History:
    """A log as it was read: the lines of each kind, oldest first, as `Journal.write` was given them.

    start and end are None in a run that has not got so far. damaged: how many lines were no JSON objects.
    """

    start: dict[str, Any] | None = None
    resumes: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] | None = None
    damaged: int = 0

    def add(self, line: dict[str, Any]) -> None:
        """Take in one line; of a kind that it does not know, nothing."""
        kind = line["kind"]
        if kind in ("start", "end"):
            setattr(self, kind, line)
        elif kind in ("resume", "step", "epoch"):
            getattr(self, f"{kind}s").append(line)


def read_log(folder: str | Path) -> History:
    """The history of the run in `folder`, also while it goes on.

    A half line at the end, as a kill leaves it, is passed over. Raises JournalError where there is no run.
    """
    path = Path(folder) / LOG
    try:
        lines, damaged = parse(path.read_bytes())
    except FileNotFoundError:
        raise JournalError(f"{folder} is not the folder of a run: there is no {LOG} in it.") from None
    except OSError as error:
        raise JournalError(f"The log {path} cannot be read: {error.strerror}.") from error
    if damaged and not lines:
        raise JournalError(f"{path} is not the log of a run: none of its lines is a JSON object with a kind.")
    history = History(damaged=damaged)
    for line in lines:
        history.add(line)
    return history


def parse(content: bytes) -> tuple[list[dict[str, Any]], int]:
    """The lines of a log that are whole, and how many are damaged. A last one that has no end counts as neither."""
    lines, damaged = [], 0
    for text in content.split(b"\n")[:-1]:
        try:
            line = json.loads(text)
            line["kind"]
        except (ValueError, KeyError, TypeError):
            damaged += 1
        else:
            lines.append(line)
    return lines, damaged
