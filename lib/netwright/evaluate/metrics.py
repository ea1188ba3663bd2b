"""Figures that can be defended: shares with their intervals, calibration, and two nets compared picture by picture.

Imports, of this room, labelmaps and predictions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from netwright.evaluate.labelmaps import EvaluationError
from netwright.evaluate.predictions import Predictions

Z95 = 1.959963984540054  # of a normal variable, 95 % lie within so many standard deviations
BINS = 15  # of confidence, as in Guo et al. 2017
COLDEST, HOTTEST = 0.01, 100.0  # temperatures beyond which none is looked for


@dataclass(frozen=True)
class Share:
    """`count` of `of`, as value = count / of, with the interval from `low` to `high` that holds the true share in 95 %.

    The interval is Wilson's (1927, J. Am. Stat. Assoc. 22, 209): the p for which |value - p| is at most z times
    sqrt(p (1 - p) / n). It stays within 0 to 1 and is honest for small n and for shares near 0 and 1, where the usual
    value ± z sqrt(value (1 - value) / n) is not (Brown, Cai and DasGupta 2001, Statistical Science 16, 101). It speaks
    of pictures drawn as these were; another kind of picture is another question. Of no picture: nan, from 0 to 1.
    """

    value: float
    low: float
    high: float
    count: int
    of: int

    def __str__(self) -> str:
        return f"{self.value:.2%} ({self.low:.2%} to {self.high:.2%})" if self.of else "of no picture"


def share(count: int, of: int) -> Share:
    """The share count / of with its Wilson interval. Raises ValueError where it is none."""
    if not 0 <= count <= of:
        raise ValueError(f"{count} of {of} is no share.")
    if not of:
        return Share(math.nan, 0.0, 1.0, 0, 0)
    p, spread = count / of, Z95**2 / of
    centre = (p + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (p * (1 - p) + spread / 4)) / (1 + spread)
    # Rounding must not keep 0 and 1 out of the intervals that end there.
    low, high = 0.0 if count == 0 else centre - half, 1.0 if count == of else centre + half
    return Share(p, low, high, count, of)


@dataclass(frozen=True)
class Bin:
    """Pictures whose confidence is above `low` and at most `high`: how many, how many right, how confident on average."""

    low: float
    high: float
    count: int
    accuracy: float
    confidence: float


@dataclass(frozen=True)
class Calibration:
    """ece: the mean gap between confidence and accuracy, weighted by pictures, over `bins` of equal width.

    Guo et al. 2017, "On calibration of modern neural networks", equations 2 and 3. A confidence is the probability of
    the answer that was given. Few pictures make it too large: an ECE is compared at equal n.
    """

    ece: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class Measures:
    """All figures of one net on one set.

    top5 is None for five classes or fewer, where it would be 100 % whatever the net says. loss: mean negative
    log-likelihood in nats. mean_class: mean of the classes' accuracies, each class alike. per_class: by name, of the
    classes that have pictures. confusion: int64 (answers, answers), [right answer, given answer]. not_finite: pictures
    on which the net gave NaN or infinity; they count as wrong, and leave the loss, the calibration and the confusion.
    """

    pictures: int
    top1: Share
    top5: Share | None
    loss: float
    mean_class: float
    per_class: dict[str, Share]
    per_group: dict[str, Share]
    confusion: np.ndarray
    calibration: Calibration
    not_finite: int


def measure(predictions: Predictions, *, groups: Mapping[str, Sequence[int]] | None = None) -> Measures:
    """The figures of `predictions`. groups: name → numbers of the classes of whose pictures it consists.

    Of equal logits the class with the smaller number counts as likelier, so a net that says nothing gets no more than
    chance. Raises EvaluationError where there is no picture.
    """
    if not len(predictions):
        raise EvaluationError(f"No picture of {predictions.name} could be opened: there is nothing to measure.")
    logits, targets = predictions.logits, predictions.targets
    finite = logits.isfinite().all(dim=1)
    place = ranks_of_targets(predictions)
    right = place == 0
    answers = logits.shape[1]

    normaliser = logits.logsumexp(dim=1)
    loss = (normaliser - _own(logits, targets))[finite].double().mean().item()
    confidence = (logits.amax(dim=1) - normaliser).exp()

    classes = predictions.class_names
    counts = torch.bincount(targets, minlength=answers).tolist()
    hits = torch.bincount(targets[right], minlength=answers).tolist()
    per_class = {name: share(hits[i], counts[i]) for i, name in enumerate(classes) if counts[i]}
    return Measures(
        pictures=len(targets),
        top1=share(int(right.sum()), len(targets)),
        top5=share(int((place < 5).sum()), len(targets)) if answers > 5 else None,
        loss=loss,
        mean_class=float(np.mean([it.value for it in per_class.values()])),
        per_class=per_class,
        per_group={
            name: share(sum(hits[i] for i in members), sum(counts[i] for i in members))
            for name, members in (groups or {}).items()
        },
        confusion=_confusion(targets[finite], predictions.answers[finite], answers),
        calibration=calibration(confidence[finite], right[finite]),
        not_finite=int((~finite).sum()),
    )


def ranks_of_targets(predictions: Predictions) -> Tensor:
    """How many answers the net found likelier than the right one, int64 (n,); all of them where logits are not finite.

    Below k: right among the top k.
    """
    logits, targets = predictions.logits, predictions.targets
    own = _own(logits, targets)[:, None]
    earlier = torch.arange(logits.shape[1]) < targets[:, None]
    place = (logits > own).sum(dim=1) + ((logits == own) & earlier).sum(dim=1)
    return torch.where(logits.isfinite().all(dim=1), place, logits.shape[1])


def correct(predictions: Predictions) -> Tensor:
    """Whether the first answer is the right one, bool (n,)."""
    return ranks_of_targets(predictions) == 0


def calibration(confidence: Tensor, right: Tensor, bins: int = BINS) -> Calibration:
    """Expected calibration error of confidences in 0 to 1, (n,), for answers that are right or not, bool (n,)."""
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    confidence, right = confidence.double(), right.double()
    # A confidence on an edge belongs to the bin below, and 0 to the first.
    where = (torch.bucketize(confidence, edges) - 1).clamp(0, bins - 1)
    count = torch.bincount(where, minlength=bins)
    filled = count.clamp(min=1)
    accuracy = torch.bincount(where, weights=right, minlength=bins) / filled
    mean = torch.bincount(where, weights=confidence, minlength=bins) / filled
    ece = ((accuracy - mean).abs() * count).sum() / max(1, len(confidence))
    rows = zip(edges[:-1].tolist(), edges[1:].tolist(), count.tolist(), accuracy.tolist(), mean.tolist(), strict=True)
    return Calibration(ece.item(), tuple(Bin(*row) for row in rows))


def temperature(predictions: Predictions) -> float:
    """The T for which logits / T have the smallest negative log-likelihood (Guo et al. 2017, section 4.2).

    Above 1 the net is too sure, below 1 too modest; no answer changes. To be fitted on other pictures than those on
    which it is used. Found by bisection, as the derivative with respect to 1 / T only rises, from COLDEST to HOTTEST.
    """
    finite = predictions.logits.isfinite().all(dim=1)
    logits, targets = predictions.logits[finite], predictions.targets[finite]
    own = _own(logits, targets).double().mean().item()

    def excess(log_scale: float) -> float:
        """Mean logit that the scaled net expects, less that of the right answer."""
        expected = 0.0
        for part in logits.split(4096):  # what fits into a processor's cache is quicker
            chances = (part * math.exp(log_scale)).softmax(dim=1)
            expected += (chances * part).sum(dim=1).double().sum().item()
        return expected / len(logits) - own

    low, high = -math.log(HOTTEST), -math.log(COLDEST)
    for _ in range(20):  # to 1e-5 relative
        middle = (low + high) / 2
        low, high = (low, middle) if excess(middle) > 0 else (middle, high)
    return math.exp(-(low + high) / 2)


def _own(logits: Tensor, targets: Tensor) -> Tensor:
    """The logit of the right answer, (n,)."""
    return logits.gather(1, targets[:, None])[:, 0]


def _confusion(targets: Tensor, answers: Tensor, size: int) -> np.ndarray:
    return torch.bincount(targets * size + answers, minlength=size * size).view(size, size).numpy()


# --- two nets on the same pictures -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """Two nets, a and b, on the same pictures.

    both, only_a, only_b, neither: pictures by who was right. difference: top-1 of a less that of b, from `low` to
    `high` in 95 %. p: how probable so uneven a split of the pictures on which they differ is, if both nets are equal.
    """

    both: int
    only_a: int
    only_b: int
    neither: int
    difference: float
    low: float
    high: float
    p: float

    @property
    def pictures(self) -> int:
        return self.both + self.only_a + self.only_b + self.neither

    def __str__(self) -> str:
        points = f"{100 * self.difference:+.2f} points ({100 * self.low:+.2f} to {100 * self.high:+.2f})"
        told = f"p = {self.p:.2g}" if self.p >= 1e-4 else "p < 0.0001"
        return f"{points}, {told}, on {self.pictures:,} pictures"


def compare(a: Predictions, b: Predictions) -> Comparison:
    """Is a better than b? On the pictures that both have seen, counted in pairs.

    Nets fail on the same hard pictures, so two intervals that overlap do not mean that the nets are equal; only the
    pictures on which they differ tell. p is McNemar's exact test (1947, Psychometrika 12, 153), two-sided; the
    interval is Agresti and Min's (2005, Statistics in Medicine 24, 729): Wald's, with half a picture added to each
    cell. One training run each says nothing of the recipe: other seeds differ too.
    Raises EvaluationError where a and b are not of the same pictures.
    """
    in_a, in_b = torch.isin(a.indices, b.indices), torch.isin(b.indices, a.indices)
    names_a = [a.class_names[i] for i in a.targets[in_a].tolist()]
    names_b = [b.class_names[i] for i in b.targets[in_b].tolist()]
    if a.name != b.name or not names_a or (names_a != names_b and a.class_names == b.class_names):
        raise EvaluationError(f"{a.name} and {b.name} are not the same pictures: only the same can be compared.")
    right_a, right_b = correct(a)[in_a], correct(b)[in_b]
    both, only_a = int((right_a & right_b).sum()), int((right_a & ~right_b).sum())
    only_b, neither = int((~right_a & right_b).sum()), int((~right_a & ~right_b).sum())

    n, x, y = len(right_a) + 2, only_a + 0.5, only_b + 0.5
    centre = (x - y) / n
    half = Z95 * math.sqrt(x + y - (x - y) ** 2 / n) / n
    difference = (only_a - only_b) / len(right_a)
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    return Comparison(both, only_a, only_b, neither, difference, low, high, mcnemar(only_a, only_b))


def mcnemar(x: int, y: int) -> float:
    """Two-sided p of x heads and y tails from a fair coin, exact."""
    n, term, total = x + y, 1, 0
    for k in range(min(x, y) + 1):  # term is "n over k"
        total += term
        term = term * (n - k) // (k + 1)
    return min(1.0, 2 * total / 2**n)
