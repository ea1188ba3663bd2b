"""What a net mistakes for what: the confusion matrix as a figure, the pairs of classes, the surest wrong answers.

Imports figures and, of this room, metrics and predictions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np

from netwright import figures
from netwright.evaluate.metrics import Measures, correct
from netwright.evaluate.predictions import Predictions

MOST_CLASSES = 200  # in one confusion matrix: more are finer than a page can show
MOST_NAMES, MOST_WORDS = 50, 20  # up to how many classes have their names beside it, and numbers in their fields


@dataclass(frozen=True)
class Pair:
    """`count` of the `of` pictures of class `right` were answered with class `said`."""

    right: str
    said: str
    count: int
    of: int

    @property
    def share(self) -> float:
        return self.count / self.of


@dataclass(frozen=True)
class Mistake:
    """Picture number `index` of its set. confidence: the probability of the wrong answer; of_right: of the right one."""

    index: int
    right: str
    said: str
    confidence: float
    of_right: float


def worst_pairs(measures: Measures, class_names: Sequence[str], most: int = 15) -> list[Pair]:
    """The confusions that cost the most pictures, at most so many; of equally many, the larger share first."""
    wrong = measures.confusion.copy()
    np.fill_diagonal(wrong, 0)
    of = measures.confusion.sum(axis=1)
    pairs = [Pair(class_names[i], class_names[j], int(wrong[i, j]), int(of[i])) for i, j in np.argwhere(wrong)]
    return sorted(pairs, key=lambda pair: (-pair.count, -pair.share))[:most]


def worst_mistakes(predictions: Predictions, most: int = 24) -> list[Mistake]:
    """The wrong answers of which the net was surest, surest first; without pictures whose logits are not finite."""
    chances = predictions.probabilities
    wrong = ~correct(predictions) & predictions.logits.isfinite().all(dim=1)
    numbers = wrong.nonzero()[:, 0]
    surest = chances.amax(dim=1)[numbers].argsort(descending=True, stable=True)[:most]
    return [_mistake(predictions, chances, n) for n in numbers[surest].tolist()]


def _mistake(predictions: Predictions, chances, n: int) -> Mistake:
    right, said = int(predictions.targets[n]), int(predictions.answers[n])
    names = predictions.class_names
    confidences = chances[n, said].item(), chances[n, right].item()
    return Mistake(int(predictions.indices[n]), names[right], names[said], *confidences)


# The confusion matrix --------------------------------------------------------------------------------------------


def confusion(measures: Measures, class_names: Sequence[str], *, dpi: int | None = None) -> figures.Picture:
    """Right classes in rows, answers in columns, as shares of the row; fields in which no picture fell are pale.

    Classes that have no picture and were never answered are left out. More than MOST_NAMES have their numbers beside
    it, from 0, instead of their names. Raises ValueError for more than MOST_CLASSES; see `worst_pairs` for those.
    """
    counts = measures.confusion
    used = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    if len(used) > MOST_CLASSES:
        raise ValueError(f"A confusion matrix of {len(used)} classes is finer than a page. See worst_pairs instead.")
    counts, names = counts[np.ix_(used, used)], [class_names[i] for i in used]
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)

    named = len(names) <= MOST_NAMES
    side = min(8.0, max(3.4, 0.42 * len(names))) if named else 7.0
    margin = min(3.0, 0.5 + 0.085 * min(30, max(map(len, names)))) if named else 0.8
    figure, axis = figures.subplots(figsize=(side + margin + 1.0, side + margin))
    # The more pictures, the darker: what is rare is as pale as it is unimportant. By the square root, so that 1 % can
    # be told from 3 %, and both from a right answer.
    norm = mpl.colors.PowerNorm(0.5, vmin=0, vmax=1)
    colours = mpl.colormaps[f"{figures.SEQUENTIAL}_r"].with_extremes(bad="0.96")
    image = axis.imshow(np.ma.masked_equal(shares, 0), cmap=colours, norm=norm)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    axis.set_ylabel("right class")
    axis.set_xlabel("answer")
    if named:
        _write_names(axis, names, side)
    else:
        every = range(0, len(used), 10 if len(used) <= 100 else 20)
        axis.set_xticks(every, used[:: every.step])
        axis.set_yticks(every, used[:: every.step])
    if len(names) <= MOST_WORDS:
        _write_shares(axis, shares, side)
    bar = figure.colorbar(image, ax=axis, shrink=0.8, aspect=30, pad=0.02, ticks=[0.01, 0.05, 0.2, 0.5, 1])
    bar.ax.set_yticklabels(["1", "5", "20", "50", "100"])
    bar.set_label("% of the pictures of the class")
    bar.outline.set_visible(False)
    return figures.show(figure, confusion_in_words(measures, class_names), dpi=dpi)


def confusion_in_words(measures: Measures, class_names: Sequence[str]) -> str:
    """What the matrix shows, for those who do not see it."""
    per_class = sorted(measures.per_class.items(), key=lambda item: item[1].value)
    (worst, low), (best, high) = per_class[0], per_class[-1]
    pairs = worst_pairs(measures, class_names, most=5)
    told = "; ".join(f"{p.right} taken for {p.said}, {p.count} of {p.of}" for p in pairs)
    return (
        f"Confusion matrix of {len(per_class)} classes. Right answers, on the diagonal, from {low.value:.0%} "
        f"({worst}) to {high.value:.0%} ({best}). " + (f"Most frequent mistakes: {told}." if told else "No mistakes.")
    )


def _write_names(axis, names: list[str], side: float) -> None:
    size = max(5.0, min(11.0, 0.62 * 72 * side / len(names)))
    short = [name if len(name) <= 30 else f"{name[:28]}…" for name in names]
    axis.set_xticks(range(len(names)), short, rotation=90 if len(names) > 3 else 0, fontsize=size)
    axis.set_yticks(range(len(names)), short, fontsize=size)


def _write_shares(axis, shares: np.ndarray, side: float) -> None:
    size = max(6.0, min(11.0, 0.3 * 72 * side / len(shares)))
    for (i, j), share in np.ndenumerate(shares):
        if share:
            ink = "white" if share > 0.2 else "black"
            axis.text(
                j, i, f"{100 * share:.0f}" if share >= 0.005 else "<1", ha="center", va="center", color=ink, size=size
            )
