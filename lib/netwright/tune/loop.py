"""The training itself: steps, epochs, validation, checkpoints; killed at any moment, it goes on where it stood.

Imports tune, datasets, evaluate.
"""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path

import torch
from torch import nn

from netwright.datasets import Batch
from netwright.evaluate.metrics import measure
from netwright.evaluate.predictions import Predictions
from netwright.ranks import gathered, ranks, summed
from netwright.tune import checkpoint
from netwright.tune.checkpoint import CheckpointError
from netwright.tune.journal import Journal
from netwright.tune.meter import Meter
from netwright.tune.samplers import TrainBatches
from netwright.tune.step import Taken, TrainingStep

LAST = "last.checkpoint"
LINES_PER_EPOCH = 20


class TrainingStopped(RuntimeError):
    """The training ended before its time; the message says why, and what to do."""


class Training:
    """A run in its folder: `go()` trains from wherever the folder's checkpoint stands to the end.

    step: how a batch moves the net. batches: what this rank is shown, and open_loader: a data loader on them.
    validate: a net's answers on the validation split, the same on every rank. save_best: called on the first rank
    with the net to be kept and its line of the log, whenever an epoch is the best so far. save_epoch: the same after
    every epoch, before its checkpoint, if anybody wants them all. start_line: the fields of
    the log's first line. identity: plain data that a checkpoint has to agree on, or it is another training's.
    listeners: called after each epoch.
    """

    def __init__(
        self,
        folder: Path,
        step: TrainingStep,
        batches: TrainBatches,
        open_loader: Callable[[TrainBatches], Iterable[Batch]],
        validate: Callable[[nn.Module], Predictions],
        *,
        journal: Journal,
        start_line: dict,
        save_best: Callable[[nn.Module, dict], None],
        identity: dict,
        checkpoint_minutes: float = 10.0,
        save_epoch: Callable[[nn.Module, dict], None] | None = None,
        listeners: tuple[Callable[[], None], ...] = (),
    ):
        self.folder, self.step, self.batches = folder, step, batches
        self.open_loader, self.validate = open_loader, validate
        self.save_best, self.save_epoch = save_best, save_epoch
        self.journal, self.start_line, self.identity, self.listeners = journal, start_line, identity, listeners
        self.checkpoint_seconds = 60 * checkpoint_minutes
        self.done = 0  # optimiser steps
        self.loss_sum = 0.0  # of this epoch's steps up to the last line of the log, over all ranks
        self.since_line = torch.zeros((), device=step.device)  # what has come to it since, on this rank
        self.line_at = 0  # the step of that line
        self.best: dict | None = None  # the line of the best epoch
        self.bad: dict[int, str] = {}  # training pictures that could not be opened, and why
        self.stop_asked = False
        self.seconds_before = 0.0  # spent on this training up to the checkpoint
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Spent on this training, over all its resumptions; what a kill undid is not counted."""
        return self.seconds_before + time.monotonic() - self.began

    @property
    def steps_per_epoch(self) -> int:
        return self.batches.steps_per_epoch

    def go(self) -> None:
        """Train to the end. Raises TrainingStopped, CheckpointError."""
        self.resume()
        self.batches.start_at(self.done)
        with self._signals(), self._out_of_memory():
            stream = iter(self.open_loader(self.batches))
            while self.done < self.batches.epochs * self.steps_per_epoch:
                self.epoch(stream)
                self._perhaps_save_or_stop()

    def epoch(self, stream: Iterator[Batch]) -> None:
        """What is left of the epoch that the training stands in; then its validation and a checkpoint."""
        epoch, first = divmod(self.done, self.steps_per_epoch)
        started = self.saved_at = time.monotonic()
        whole, since_line = Meter(self.step.device), Meter(self.step.device)
        for _ in range(first, self.steps_per_epoch):
            with whole.waiting(), since_line.waiting():
                parts = list(islice(stream, self.batches.accumulate))
            self.bad.update(entry for part in parts for entry in part.bad)
            if not all(len(part.targets) for part in parts):
                raise TrainingStopped(
                    f"No picture of a batch could be opened, nor any other of its classes, such as: {parts[0].bad[0][1]} "
                    f"Mend or remove them. {self._what_is_kept()}"
                )
            taken = self.step(self.done, parts)
            self.since_line += taken.loss
            self.done += 1
            for meter in (whole, since_line):
                meter.pictures += self.batches.batch
            self.journal.advance(self.batches.batch)
            # Ranks agree on what to do next at the lines only: each exchange makes them wait for each other.
            at_line = self._line_is_due()
            if at_line:
                self._write_line(epoch, taken, since_line)
            # An epoch's last step is followed by its validation and belongs into one checkpoint with it.
            if (at_line or ranks().world == 1) and self.done % self.steps_per_epoch:
                self._perhaps_save_or_stop()
        self._finish_epoch(epoch, whole, time.monotonic() - started)

    def _finish_epoch(self, epoch: int, meter: Meter, seconds: float) -> None:
        speed = meter.read()
        line = {"epoch": epoch, "step": self.done, "train_loss": self.loss_sum / self.steps_per_epoch}
        judged, ema = self.step.net, self.step.parts.ema
        line |= self._judge(self.step.net, "val_")
        if ema:
            line |= self._judge(ema.net, "ema_val_")
            judged = ema.net
        score, before = _score(line), _score(self.best)
        line |= {"seconds": seconds, **speed, "best": score > before}
        if score > before:
            self.best = line
            if ranks().first:
                self.save_best(judged, line)
        if self.save_epoch and ranks().first:
            self.save_epoch(judged, line)
        self.loss_sum = 0.0
        self.bad = dict(entry for part in gathered(list(self.bad.items())) for entry in part)
        self.journal.write("epoch", **line)
        self.save()
        for listener in self.listeners:
            listener()

    def _judge(self, net: nn.Module, prefix: str) -> dict[str, float | None]:
        measures = measure(self.validate(net))
        top5 = measures.top5.value if measures.top5 else None
        return {f"{prefix}loss": measures.loss, f"{prefix}top1": measures.top1.value, f"{prefix}top5": top5}

    # --- the log -------------------------------------------------------------------------------------------------

    def _line_is_due(self) -> bool:
        """About LINES_PER_EPOCH times an epoch and at its end: by steps, so that every run of it logs the same."""
        done = (self.done - 1) % self.steps_per_epoch + 1
        return done % math.ceil(self.steps_per_epoch / LINES_PER_EPOCH) == 0 or done == self.steps_per_epoch

    def _write_line(self, epoch: int, taken: Taken, meter: Meter) -> None:
        loss = summed(self.since_line).item()
        mean = loss / (self.done - self.line_at)
        if not math.isfinite(loss):
            raise TrainingStopped(
                f"The loss is no longer a number in epoch {epoch + 1}, at step {self.done} of all: the steps are too large, or a "
                f"picture holds such a value. Try a lower rate (--lr {taken.rate / 3:.2g}), clipping (--set "
                f"optimiser.clip_norm=1) or --precision fp32, in a new folder. {self._what_is_kept()}"
            )
        self.loss_sum += loss
        self.since_line.zero_()
        self.line_at = self.done
        self.journal.write(
            "step",
            epoch=epoch,
            step=self.done,
            loss=mean,
            rate=taken.rate,
            grad_norm=taken.grad_norm,
            **meter.read(),
        )
        meter.reset()

    # --- checkpoints ---------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Take up the folder's checkpoint, if there is one; else begin a log. Raises CheckpointError for one of another training."""
        path = self.folder / LAST
        if not path.exists():
            self.journal.write("start", **self.start_line)
            return
        state = checkpoint.load(path)
        ensure_same(path, state["identity"], self.identity)
        self.step.load_state_dict(state["step"])
        self.done, self.loss_sum, self.best, self.bad = (state[key] for key in ("done", "loss_sum", "best", "bad"))
        self.since_line.copy_(state["since_line"])
        self.line_at, self.seconds_before = state["line_at"], state["seconds"]
        self.journal.resume_at(self.done)
        epoch = self.done // self.steps_per_epoch
        self.journal.write("resume", time=now(), epoch=epoch, step=self.done, command=self.start_line["command"])

    def save(self) -> None:
        """Write the checkpoint. The first rank does; the others hold the same."""
        if ranks().first:
            state = {
                "identity": self.identity,
                "step": self.step.state_dict(),
                "done": self.done,
                "loss_sum": self.loss_sum,
                "since_line": self.since_line,
                "line_at": self.line_at,
                "best": self.best,
                "bad": self.bad,
                "seconds": self.seconds,
            }
            checkpoint.save(self.folder / LAST, state)
        self.saved_at = time.monotonic()

    def _perhaps_save_or_stop(self) -> None:
        wishes = torch.tensor([self.stop_asked, time.monotonic() - self.saved_at > self.checkpoint_seconds])
        stop, save = summed(wishes.to(self.step.device, torch.int32)).bool().tolist()
        if save or stop:
            self.save()
        if stop:
            raise TrainingStopped(f"Stopped as asked. {self._what_is_kept()}")

    def _what_is_kept(self) -> str:
        epoch, step = divmod(self.done, self.steps_per_epoch)
        if not (self.folder / LAST).exists():
            return "There is no checkpoint yet."
        return f"The same command goes on from {self.folder / LAST} (now: {epoch} epochs and {step} steps)."

    # --- what may come from outside ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C, and the signal with which clusters end a job, ask for a checkpoint first; a second Ctrl-C does not."""
        if threading.current_thread() is not threading.main_thread():  # where Python allows no handlers
            yield
            return

        def ask(number, frame):
            self.stop_asked = True
            signal.signal(signal.SIGINT, signal.default_int_handler)

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def _out_of_memory(self) -> Iterator[None]:
        try:
            yield
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not _means_no_memory(error):
                raise
            accumulate = self.batches.accumulate * 2
            at_once = -(-self.batches.batch // (accumulate * self.batches.world))
            raise TrainingStopped(
                f"The memory of {self.step.device} does not hold {2 * at_once} pictures at once. --accumulate "
                f"{accumulate} works off the same batch of {self.batches.batch} in parts of {at_once}: the recipe stays "
                "what it is (only BatchNorm sees fewer pictures at a time). --checkpoint-gradients, or --precision bf16 "
                f"on a GPU, need less as well. {self._what_is_kept()}"
            ) from error


def now() -> str:
    """The date and the time of day here, as ISO 8601 has it."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _score(line: dict | None) -> tuple[float, float]:
    """By which epochs are compared: top-1, then loss; of the average, where there is one."""
    if line is None:
        return (-1.0, 0.0)
    prefix = "ema_val_" if "ema_val_top1" in line else "val_"
    return line[f"{prefix}top1"], -line[f"{prefix}loss"]


def ensure_same(path: Path, saved: dict, wanted: dict) -> None:
    """Raises CheckpointError where what `path` holds is not the training that is `wanted`, and says in what it differs."""
    differ = [name for name in wanted if saved.get(name) != wanted[name]]
    if differ:
        lines = "".join(f"\n  {name}: {saved.get(name)!r} there, {wanted[name]!r} asked for" for name in differ[:8])
        raise CheckpointError(
            f"{path} holds another training, and is left as it is. Ask for the same to go on with it, or name another "
            f"folder with --out.{lines}"
        )


def _means_no_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error) or "out of memory" in str(error)
