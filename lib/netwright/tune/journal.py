"""What happens in a training, line by line: the log that curves and reports read, mirrored to TensorBoard.

Imports files, ranks and, of this room, history and progress.
"""

import contextlib
import errno
import json
import math
import os
import warnings
from pathlib import Path
from typing import Any, Self

from netwright.files import replace_bytes
from netwright.ranks import ranks
from netwright.tune.history import LOG, History, JournalError, parse
from netwright.tune.progress import Progress

BOARD = "tensorboard"  # folder beside the log

# What TensorBoard shows of a line: its name there, by the line's kind and field.
TAGS = {
    "step": {
        "loss": "loss/train_steps",
        "rate": "training/rate",
        "grad_norm": "training/grad_norm",
        "pictures_per_second": "machine/pictures_per_second",
        "waiting": "machine/waiting",
        "memory": "machine/memory",
    },
    "epoch": {
        "train_loss": "loss/train",
        "val_loss": "loss/val",
        "ema_val_loss": "loss/ema_val",
        "val_top1": "accuracy/val_top1",
        "val_top5": "accuracy/val_top5",
        "ema_val_top1": "accuracy/ema_val_top1",
        "seconds": "machine/seconds",
    },
}


class Journal:
    """Keeps the log of a training in `folder`, mirrors it to TensorBoard and shows how far it has come.

    with Journal(folder) as journal:
        journal.write("start", epochs=…, steps_per_epoch=…, …)      # or journal.resume_at(step); …write("resume", …)
        journal.advance(128)                                        # after each optimiser step: so many pictures
        journal.write("step", epoch=e, step=t, loss=…, …)           # now and then
        journal.write("epoch", epoch=e, step=t, val_top1=…, …)      # e counts from 0; t: optimiser steps done so far

    `history` is the log so far. Only the first rank writes and shows; on the others every call does nothing. A line
    is in the file, whole, when `write` returns. If it cannot be (a full disk) there is one warning, and the training
    goes on: the line is kept in memory and written before the next one, when there may be room again.

    A line of step t must be written before the checkpoint of step t is saved: `resume_at` relies on it.
    Raises JournalError where a log cannot be begun, before any computing has been done for nothing.
    """

    def __init__(self, folder: str | Path, *, tensorboard: bool = True, progress: bool = True):
        self.folder, self.path = Path(folder), Path(folder) / LOG
        self.history = History()
        self._first = ranks().first
        self._tensorboard, self._board = tensorboard and self._first, None
        self._shown = Progress() if progress and self._first else None
        self._purge: int | None = None  # TensorBoard is to forget from this step on
        self._unwritten: list[dict[str, Any]] = []
        self._warned = False
        self._stream = None
        if self._first:
            with self._told("begun"):
                self.folder.mkdir(parents=True, exist_ok=True)
                self._open(self._found())

    def write(self, kind: str, **fields: Any) -> None:
        """Add a line {"kind": kind, **fields}. Numbers may be tensors of one element; what is not finite becomes null.

        "start" begins a new log. Raises JournalError where the log of a training that got through an epoch is in its
        place.
        """
        if not self._first:
            return
        line = _plain({"kind": kind, **fields})
        if kind == "start":
            self._begin()
        self.history.add(line)
        self._unwritten.append(line)
        self._write_down()
        if self._shown:
            self._shown.tell(line, self.history)

    def advance(self, pictures: int) -> None:
        """Move the progress bar by one optimiser step, of so many pictures."""
        if self._shown:
            self._shown.advance(pictures)

    def resume_at(self, step: int) -> None:
        """Forget what came after optimiser step `step`, of which a checkpoint is gone on from, here and in TensorBoard.

        So the log of a training that was killed and resumed holds the lines of one that never was, and a "resume".
        """
        if not self._first:
            return
        with self._told("gone on with"):
            self._open([line for line in self._found() if line["kind"] != "end" and line.get("step", 0) <= step])
        self._purge, self._unwritten = step + 1, []
        if self._shown:
            self._shown.begin(self.history, step)

    def close(self) -> None:
        """Close the files and the progress bar. What could not be written until now is tried once more."""
        if self._stream is None:
            return
        self._write_down()
        with contextlib.suppress(OSError):
            self._stream.close()
        self._stream = None
        if self._board is not None:
            with contextlib.suppress(OSError):
                self._board.close()
        if self._shown:
            self._shown.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    # The file --------------------------------------------------------------------------------------------------

    def _found(self) -> list[dict[str, Any]]:
        return parse(self.path.read_bytes())[0] if self.path.exists() else []

    def _open(self, lines: list[dict[str, Any]]) -> None:
        """Go on behind `lines`, which become the whole log."""
        if self._stream is not None:
            self._stream.close()
        content = b"".join(map(_as_bytes, lines))
        if not self.path.exists() or self.path.read_bytes() != content:
            replace_bytes(self.path, content)
        self.history = History()
        for line in lines:
            self.history.add(line)
        # Nothing waits in a buffer: a killed process has written what it wrote.
        self._stream = open(self.path, "ab", buffering=0)  # noqa: SIM115  open as long as the training lasts
        self._whole = len(content)

    def _begin(self) -> None:
        if self.history.epochs:
            raise JournalError(
                f"{self.path} is the log of a training that got through {len(self.history.epochs)} epochs. "
                "Choose another folder for a new one, or delete this one."
            )
        with self._told("begun"):
            self._open([])
        self._purge = 0

    def _write_down(self) -> None:
        if not self._unwritten:
            return
        try:
            content = b"".join(map(_as_bytes, self._unwritten))
            written = self._stream.write(content)
            if written != len(content):  # so says a disk that has just become full
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            with contextlib.suppress(OSError):  # half a line is none
                self._stream.truncate(self._whole)
            self._warn(f"The log {self.path} cannot be written now ({error.strerror or error}). The training goes on")
            return
        self._whole += len(content)
        lines, self._unwritten = self._unwritten, []
        for line in lines:
            self._mirror(line)

    def _warn(self, sentence: str) -> None:
        if not self._warned:
            warnings.warn(f"{sentence}; lines are kept in memory and written when it works again.", stacklevel=4)
        self._warned = True

    @contextlib.contextmanager
    def _told(self, what: str):
        try:
            yield
        except JournalError:
            raise
        except OSError as error:
            raise JournalError(
                f"A log cannot be {what} at {self.path}: {error.strerror or error}. "
                "Choose another folder for the run, or make this one writable."
            ) from error

    # TensorBoard -----------------------------------------------------------------------------------------------

    def _mirror(self, line: dict[str, Any]) -> None:
        """Show a line, once it is in the log, in TensorBoard too. It is not worth a training: if it fails it stops."""
        if not self._tensorboard:
            return
        try:
            board = self._open_board()
            if line["kind"] == "start":
                board.add_text("command", str(line.get("command", "")), 0)
            for name, tag in TAGS.get(line["kind"], {}).items():
                if line.get(name) is not None:
                    board.add_scalar(tag, line[name], line["step"])
            board.flush()  # else a kill would take the newest lines
        except Exception as error:  # noqa: BLE001  whatever it is, the training goes on
            self._tensorboard = False
            warnings.warn(f"TensorBoard is told nothing more: {error}. The log {self.path} goes on.", stacklevel=4)

    def _open_board(self):
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter  # takes a second to import

            self._board = SummaryWriter(str(self.folder / BOARD), purge_step=self._purge)
        return self._board


def _plain(thing: Any) -> Any:
    """As JSON has it: tensors and numpy's numbers as numbers, paths as text, what is not finite as null."""
    if isinstance(thing, dict):
        return {str(key): _plain(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [_plain(value) for value in thing]
    if hasattr(thing, "item"):
        thing = thing.item()
    if isinstance(thing, float) and not math.isfinite(thing):
        return None
    return thing if thing is None or isinstance(thing, (bool, int, float, str)) else str(thing)


def _as_bytes(line: dict[str, Any]) -> bytes:
    # Escaped, so that names of files that are no text (surrogates) survive as well.
    return json.dumps(line, ensure_ascii=True, allow_nan=False).encode() + b"\n"
