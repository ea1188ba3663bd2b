"""The curves of a training: loss, accuracy and rate, at its end or while it goes on. Imports figures and, of this room,
history and progress.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netwright.tune.history import History
from netwright.tune.progress import in_notebook

if TYPE_CHECKING:  # matplotlib takes half a second to import, also in every process that only prepares pictures
    from netwright.figures import Picture

TRAIN, VAL, EMA = 0, 1, 2  # colours of the cycle
HEIGHT = 320  # pixels of the figure


def curves(history: History, *, dpi: int | None = None) -> Picture:
    """Loss in training and validation, top-1 on the validation split, and the learning rate, over the epochs.

    The averaged net's curves are there where the recipe has one. The x axis is as long as the training is to be.
    Raises ValueError where no step has been made yet.
    """
    from netwright import figures

    if not history.steps and not history.epochs:
        raise ValueError("There is nothing to draw yet: the log holds no step.")
    figure, (losses, accuracies, rates) = figures.subplots(1, 3, figsize=figures.WIDE)
    _draw_losses(losses, history, figures.CYCLE)
    _draw_accuracies(accuracies, history, figures.CYCLE)
    rates.plot(*_points(history, history.steps, "rate"), color="0.3")
    rates.set_title("learning rate")
    rates.set_ylim(bottom=0)
    rates.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    end = _end(history)
    for axis in (losses, accuracies, rates):
        axis.set_xlabel("epoch")
        axis.set_xlim(0, 1.03 * end)  # room for the last dots
        axis.xaxis.get_major_locator().set_params(integer=True, nbins=5)
        axis.grid(axis="y", color="0.9", linewidth=0.8)
        axis.set_axisbelow(True)
    return figures.show(figure, curves_in_words(history), dpi=dpi)


def _draw_losses(axis, history: History, colours) -> None:
    dots = "o" if len(history.epochs) <= 30 else None
    axis.plot(*_points(history, history.steps, "loss"), color=colours[TRAIN], linewidth=1.2, alpha=0.85, label="train")
    axis.plot(*_points(history, history.epochs, "val_loss"), color=colours[VAL], marker=dots, ms=4, label="val")
    if _has(history, "ema_val_loss"):
        points = _points(history, history.epochs, "ema_val_loss")
        axis.plot(*points, color=colours[EMA], marker=dots, ms=4, label="val, averaged")
    axis.set_title("loss")
    # The first steps from random numbers, and an average that has not forgotten them, would flatten all the rest.
    low, high = _middle(history)
    axis.set_ylim(max(0, low - 0.08 * (high - low)), high + 0.08 * (high - low))
    axis.legend(loc="best")


def _draw_accuracies(axis, history: History, colours) -> None:
    dots = "o" if len(history.epochs) <= 30 else None
    for name, colour, label in (("val_top1", VAL, "val"), ("ema_val_top1", EMA, "val, averaged")):
        if _has(history, name):
            x, y = _points(history, history.epochs, name)
            axis.plot(x, [100 * value for value in y], color=colours[colour], marker=dots, ms=4, label=label)
    best = best_epoch(history)
    if best is not None:
        x, y = _epochs_done(history, best), 100 * kept(best, "top1")
        axis.plot(
            [x], [y], marker="o", ms=10, mfc="none", mec="black", mew=1.2, linestyle="none", label=f"best: {y:.1f}"
        )
    axis.set_title("top-1 on val, %")
    low, high = axis.get_ylim()
    axis.set_ylim(
        min(low, high - 5), high + 0.03 * (high - low)
    )  # smaller steps than that are noise, and are to look like it
    if history.epochs:
        axis.legend(loc="best")


# What the curves say ---------------------------------------------------------------------------------------------


def best_epoch(history: History) -> dict | None:
    """The line of the epoch whose weights are kept: the last that was the best so far. None before the first."""
    return next((line for line in reversed(history.epochs) if line.get("best")), None)


def kept(line: dict, measure: str) -> float | None:
    """`measure` ("top1", "top5", "loss") of the net that is kept of an epoch: the averaged one, where there is one."""
    averaged = line.get(f"ema_val_{measure}")
    return averaged if averaged is not None else line.get(f"val_{measure}")


def curves_in_words(history: History) -> str:
    """What the curves show, for those who do not see them."""
    words = [f"Curves over {_epochs_in_words(history)}."]
    for lines, name, label in (
        (history.steps, "loss", "Training loss"),
        (history.epochs, "val_loss", "Validation loss"),
        (history.epochs, "ema_val_loss", "Validation loss of the averaged net"),
    ):
        values = [line[name] for line in lines if line.get(name) is not None]
        if values:
            words.append(f"{label}: from {values[0]:.3f} to {values[-1]:.3f}, lowest {min(values):.3f}.")
    for name, label in (("val_top1", "Top-1"), ("ema_val_top1", "Top-1 of the averaged net")):
        values = [line[name] for line in history.epochs if line.get(name) is not None]
        if values:
            words.append(f"{label}: from {values[0]:.1%} to {values[-1]:.1%}, highest {max(values):.1%}.")
    best = best_epoch(history)
    if best is not None:
        words.append(f"Best epoch: {best['epoch'] + 1}, with a top-1 of {kept(best, 'top1'):.1%}.")
    rates = [line["rate"] for line in history.steps if line.get("rate") is not None]
    if rates:
        words.append(f"Learning rate: from {rates[0]:.2g} over at most {max(rates):.2g} to {rates[-1]:.2g}.")
    return " ".join(words)


def _epochs_in_words(history: History) -> str:
    done, planned = len(history.epochs), (history.start or {}).get("epochs")
    return f"{done} epoch{'s' * (done != 1)}" if planned in (None, done) else f"{done} of {planned} epochs"


# Small helpers -------------------------------------------------------------------------------------------------


def _epochs_done(history: History, line: dict) -> float:
    """Where a line is on the x axis: how many epochs were done."""
    steps = (history.start or {}).get("steps_per_epoch")
    return line["step"] / steps if steps else line["epoch"] + 1


def _end(history: History) -> float:
    planned = (history.start or {}).get("epochs") or 0
    return max(planned, *(_epochs_done(history, line) for line in history.steps[-1:] + history.epochs[-1:]), 1e-9)


def _points(history: History, lines: list[dict], name: str) -> tuple[list[float], list[float]]:
    found = [line for line in lines if line.get(name) is not None]
    return [_epochs_done(history, line) for line in found], [line[name] for line in found]


def _has(history: History, name: str) -> bool:
    return any(line.get(name) is not None for line in history.epochs)


def _middle(history: History) -> tuple[float, float]:
    """The lowest loss, and the highest that is not among the first tenth of the training."""
    names = ("loss", "val_loss", "ema_val_loss")
    lines = sorted(history.steps + history.epochs, key=lambda line: line["step"])
    values = [[line[name] for name in names if line.get(name) is not None] for line in lines]
    later = [value for some in values[len(values) // 10 :] for value in some]
    if not later:
        return 0.0, 1.0
    return min(later), max(max(later), min(later) + 1e-6)


# Live ------------------------------------------------------------------------------------------------------------


class LiveCurves:
    """One figure in a notebook that is drawn anew after each epoch: `live.update(journal.history)`.

    It takes the place of the one before, so a saved notebook holds the last, with its description. Outside of a
    notebook nothing happens.
    """

    def __init__(self):
        self._handle = None

    def update(self, history: History) -> None:
        """Draw the curves of `history`; nothing, while there are none."""
        if not in_notebook() or not (history.steps or history.epochs):
            return
        from IPython.display import display

        picture = _Steady(curves(history))
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)


class _Steady:
    """A picture in a place of its height, so that what is below does not jump while one replaces another."""

    def __init__(self, picture: Picture):
        self.picture = picture

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        bundle = self.picture._repr_mimebundle_()
        place = f'<div style="min-height: min({HEIGHT}px, 35vw)">{bundle["text/html"]}</div>'
        return bundle | {"text/html": place}
