"""How far a training has come, for the person who waits. Imports, of this room, history."""

import sys
from typing import Any

from netwright.tune.history import History


class Progress:
    """A progress bar in a terminal or a notebook, and one line for each epoch.

    Where there is neither (output goes to a file) the bar is left out; in a notebook, where curves tell it, the lines.
    """

    def __init__(self):
        self._bar = None
        self._done, self._epochs, self._steps_per_epoch = 0, 0, 0

    def begin(self, history: History, done: int) -> None:
        """The training of `history`, of which `done` optimiser steps are done. The bar appears with the next step."""
        self.close()
        start = history.start or {}
        self._done, self._epochs = done, start.get("epochs") or 0
        self._steps_per_epoch = start.get("steps_per_epoch") or 0

    def advance(self, pictures: int) -> None:
        """One optimiser step has been made, of so many pictures."""
        if self._bar is None:
            self._open(pictures)
        self._done += 1
        if self._bar is not None:
            self._bar.update(pictures)

    def tell(self, line: dict[str, Any], history: History) -> None:
        """A line of the log, which `history` already holds."""
        if line["kind"] == "start":
            self.begin(history, 0)
        elif line["kind"] == "step" and self._bar is not None:
            self._bar.set_description_str(self._epoch(line["step"] - 1), refresh=False)
            self._bar.set_postfix_str(", ".join(step_in_words(line)))
        elif line["kind"] == "epoch" and not in_notebook():
            self._say(epoch_in_words(line, history))
        elif line["kind"] == "end":
            self.close()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    def _open(self, pictures: int) -> None:
        total = self._epochs * self._steps_per_epoch * pictures
        if not total or not (in_notebook() or sys.stderr.isatty()):
            return
        from tqdm.auto import tqdm

        self._bar = tqdm(
            desc=self._epoch(self._done),
            total=total,
            initial=self._done * pictures,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {remaining} left{postfix}",
            # Time left by the mean over all that was done: the newest steps alone would not count validation.
            smoothing=0,
            dynamic_ncols=True,
        )

    def _epoch(self, done: int) -> str:
        return f"epoch {min(done // self._steps_per_epoch + 1, self._epochs)} of {self._epochs}"

    def _say(self, sentence: str) -> None:
        if self._bar is not None:
            self._bar.write(sentence, file=sys.stderr)
        else:
            print(sentence, file=sys.stderr, flush=True)


def step_in_words(line: dict[str, Any]) -> list[str]:
    """What the bar says beside itself."""
    words = []
    if line.get("pictures_per_second"):
        words.append(f"{line['pictures_per_second']:,.0f} pictures/s")
    words.append(f"loss {line['loss']:.3f}" if line.get("loss") is not None else "loss is not finite")
    if line.get("memory"):
        words.append(size_in_words(line["memory"]))
    if (line.get("waiting") or 0) >= 0.1:  # below that nothing would be won by more workers
        words.append(f"{line['waiting']:.0%} waiting for data")
    return words


def epoch_in_words(line: dict[str, Any], history: History) -> str:
    """One epoch's line as a sentence for people."""
    epochs = (history.start or {}).get("epochs")
    words = [f"epoch {line['epoch'] + 1}" + (f" of {epochs}" if epochs else "")]
    for name, label in (("train_loss", "loss"), ("val_loss", "val loss")):
        if line.get(name) is not None:
            words.append(f"{label} {line[name]:.3f}")
    for name, label in (("val_top1", "val top-1"), ("ema_val_top1", "averaged net")):
        if line.get(name) is not None:
            words.append(f"{label} {line[name]:.1%}")
    if line.get("pictures_per_second"):
        words.append(f"{line['pictures_per_second']:,.0f} pictures/s")
    return f"{words[0]}: {', '.join(words[1:])}{' (best so far)' if line.get('best') else ''}"


def size_in_words(count: float) -> str:
    """Bytes as people write them: 512 MB, 2.1 GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def in_notebook() -> bool:
    """Whether output goes to a notebook, in which pictures and widgets can be shown."""
    if "IPython" not in sys.modules:  # whoever is in a notebook has it
        return False
    shell = sys.modules["IPython"].get_ipython()
    return shell is not None and hasattr(shell, "kernel")
