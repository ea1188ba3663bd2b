"""Exercise `evaluate.ece`: whether a net that says 80 % is right in four cases of five. Imports the engine."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from netwright.lessons.engine import Check
from netwright.lessons.evaluate.counting import number


def calibration_error(probabilities: Tensor, targets: Tensor, bins: int = 15) -> float:
    """The expected calibration error of probabilities (n, classes), in 0 to 1 (Guo et al. 2017, equation 3)."""
    confidence, answers = probabilities.max(dim=1)
    right = (answers == targets).double()
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1  # 0 to bins - 1
    error = 0.0
    for one in place.unique():  # so a bin that holds no picture is never asked for its mean
        inside = place == one
        gap = (right[inside].mean() - confidence[inside].mean()).abs()
        error += (gap * inside.double().mean()).item()
    return error


def _measure(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for n, classes, bins, sharp in (
        (400, 5, 15, 2.0),
        (400, 5, 10, 6.0),
        (90, 3, 4, 1.0),
        (60, 20, 15, 1.5),
        (200, 8, 20, 3.0),
    ):
        logits = sharp * torch.randn(n, classes)
        targets = (logits / sharp + 0.8 * torch.randn(n, classes)).argmax(dim=1)
        value = theirs(logits.softmax(dim=1), targets, bins)
        yield f"the error of {n} answers among {classes} classes in {bins} bins", number(value)
    # Sure is sure: a confidence of exactly 1 has a bin too, the last.
    probabilities = torch.tensor([[1.0, 0.0]] * 6 + [[0.3, 0.7]] * 4)
    for wrong in (1, 3):
        targets = torch.tensor([1] * wrong + [0] * (6 - wrong) + [1, 1, 0, 1])
        value = theirs(probabilities.clone(), targets, 15)
        yield f"the error of 6 answers given with certainty, of which {wrong} are wrong, and 4 others", number(value)
    spread = torch.tensor([[0.93, 0.07]] * 8 + [[0.33, 0.67]] * 2)
    for bins in (5, 15, 1):
        value = theirs(spread.clone(), torch.tensor([0] * 6 + [1] * 2 + [1, 0]), bins)
        yield f"the error of answers that leave all but a few of the {bins} bin{'s' * (bins > 1)} empty", number(value)


def _ece(
    *,
    weight: Callable = lambda count, n, filled, bins: count / n,
    gap: Callable = lambda accuracy, confidence: abs(accuracy - confidence),
    of: str = "answer",
    together: Callable = sum,
    place: Callable = lambda confidence, bins: (confidence * bins).ceil().long().clamp(1, bins) - 1,
    said: str = "mean",
    empty: str = "skip",
) -> Callable:
    """`calibration_error` with one thing wrong in it."""

    def wrong(probabilities, targets, bins=15):
        confidence, answers = probabilities.max(dim=1)
        right = (answers == targets).double()
        if of == "right class":
            confidence = probabilities.gather(1, targets[:, None])[:, 0]
        elif of == "every class":
            right = torch.nn.functional.one_hot(targets, probabilities.shape[1]).double().flatten()
            confidence = probabilities.flatten()
        where = place(confidence, bins)
        parts = []
        for b in range(bins):
            inside = where == b
            if not inside.any() and empty == "skip":
                continue
            spoken = (b + 0.5) / bins if said == "middle" else confidence[inside].mean().item()
            share = weight(inside.sum().item(), len(right), len(where.unique()), bins)
            parts.append(share * gap(right[inside].mean().item(), spoken))
        return together(parts)

    return wrong


def _equal_counts(confidence: Tensor, bins: int) -> Tensor:
    """As many pictures in every bin."""
    return confidence.argsort(stable=True).argsort(stable=True) * bins // len(confidence)


MISTAKES = {
    "that lets every bin weigh the same, however few pictures it holds": _ece(
        weight=lambda count, n, filled, bins: 1 / filled
    ),
    "that divides by all bins, the empty ones included": _ece(weight=lambda count, n, filled, bins: 1 / bins),
    "that lets too sure in one bin make up for too modest in another: the gaps have lost their abs()": _ece(
        gap=lambda accuracy, confidence: confidence - accuracy
    ),
    "that squares the gaps": _ece(gap=lambda accuracy, confidence: (accuracy - confidence) ** 2),
    "that tells the largest gap, not the mean (MCE)": _ece(
        weight=lambda count, n, filled, bins: 1.0, together=lambda parts: max(parts)
    ),
    "that compares the mean confidence with the accuracy once, without bins": _ece(
        place=lambda confidence, bins: torch.zeros_like(confidence, dtype=torch.int64)
    ),
    "that takes the probability of the right class, where that of the answer is meant": _ece(of="right class"),
    "that bins the probabilities of all classes, not those of the answers": _ece(of="every class"),
    "that takes the middle of a bin for the confidence of the pictures in it": _ece(said="middle"),
    "that puts equally many pictures into each bin, where bins of equal width were asked for": _ece(
        place=_equal_counts
    ),
    "that asks an empty bin for its mean, which is not a number": _ece(empty="ask"),
    "that loses the answers of confidence 1, whose bin would be one behind the last": _ece(
        place=lambda confidence, bins: (confidence * bins).floor().long()
    ),
}

CHECKS = (
    Check(
        id="evaluate.ece",
        minutes=10,
        difficulty="medium",
        ours=calibration_error,
        measure=_measure,
        mistakes=MISTAKES,
        hints=(
            (
                "Two numbers a picture: its confidence, which is the largest of its probabilities, and whether that answer "
                "was right. Sort the pictures by confidence into bins of equal width."
            ),
            (
                "In each bin that holds pictures: the gap between the share of right answers and the mean confidence, without "
                "its sign, times the share of all pictures that lie in this bin. Add these up."
            ),
            (
                "(confidence * bins).ceil().long().clamp(1, bins) - 1 is the number of the bin, also for a confidence of "
                "exactly 1. Skip a bin where inside.any() is False."
            ),
        ),
    ),
)
