"""Exercises `evaluate.wilson` and `evaluate.paired`: how sure a share is, and which of two nets is better.

Imports the engine.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from netwright.lessons.engine import Check
from netwright.lessons.evaluate.counting import named

# How sure --------------------------------------------------------------------------------------------------------


def wilson(count: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """(low, high) of the interval for a share of which `count` of `of` were counted; (0, 1) where nothing was."""
    if of == 0:
        return 0.0, 1.0
    p, spread = count / of, z**2 / of
    centre = (p + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (p * (1 - p) + spread / 4)) / (1 + spread)
    return centre - half, centre + half


def wald(count: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of the first chapter of most books: the share, give or take z standard errors."""
    p = count / of
    half = z * math.sqrt(p * (1 - p) / of)
    return p - half, p + half


def _measure_wilson(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for count, of, z in ((45, 50, 1.96), (1, 12, 1.96), (390, 400, 2.576), (7, 10, 1.0), (20, 20, 1.96), (0, 8, 1.645)):
        yield f"the interval (low, high) of {count} of {of} with z = {z:g}", _ends(theirs(count, of, z))
    yield "the interval (low, high) of no picture at all", _ends(theirs(0, 0, 1.96))


def _ends(found: Any) -> Any:
    """(low, high) as one tensor, so that an error is measured by the larger of the two."""
    try:
        low, high = found
        return torch.tensor([float(low), float(high)])
    except (TypeError, ValueError):
        return found


def _interval(centre: Callable, half: Callable) -> Callable:
    """An interval from the formulas (p, n, z) of its centre and of half its width."""

    def wrong(count, of, z=1.96):
        if of == 0:
            return 0.0, 1.0
        p = count / of
        return centre(p, of, z) - half(p, of, z), centre(p, of, z) + half(p, of, z)

    return wrong


def _centre(p: float, n: int, z: float) -> float:
    return (p + z**2 / (2 * n)) / (1 + z**2 / n)


def _half(p: float, n: int, z: float) -> float:
    return z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)


def _wald_half(p: float, n: int, z: float) -> float:
    return z * math.sqrt(p * (1 - p) / n)


def _clipped(count, of, z=1.96):
    low, high = wald(count, of, z) if of else (0.0, 1.0)
    return max(0.0, low), min(1.0, high)


def _agresti_coull_half(p: float, n: int, z: float) -> float:
    centre = _centre(p, n, z)
    return z * math.sqrt(centre * (1 - centre) / (n + z**2))


def _centre_and_half(count, of, z=1.96):
    low, high = wilson(count, of, z)
    return (low + high) / 2, (high - low) / 2


def _needs_pictures(count, of, z=1.96):
    if of == 0:
        raise ZeroDivisionError("division by zero")
    return wilson(count, of, z)


WILSON_MISTAKES = {
    "that is Wald's, the share give or take z standard errors: of 20 right in 20 it says that no error is possible": (
        _interval(lambda p, n, z: p, _wald_half)
    ),
    "that is Wald's, the share give or take z standard errors, and divides by zero for a class without pictures": wald,
    "that is Wald's, cut off at 0 and at 1": _clipped,
    "that is as wide as Wilson's and centred on the share itself": _interval(lambda p, n, z: p, _half),
    "that has Wilson's centre and Wald's width": _interval(_centre, _wald_half),
    "that is Agresti and Coull's: nearly the same, and a little wider near 0 and 1": _interval(
        _centre, _agresti_coull_half
    ),
    "without the last division, by 1 + z² / n": _interval(
        lambda p, n, z: p + z**2 / (2 * n), lambda p, n, z: z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    ),
    "without the term z² / 4n² under the root": _interval(
        _centre, lambda p, n, z: _wald_half(p, n, z) / (1 + z**2 / n)
    ),
    "that takes the spread of single pictures and not of their mean: p (1 - p) is not divided by n": _interval(
        _centre, lambda p, n, z: z * math.sqrt(p * (1 - p) + z**2 / (4 * n**2)) / (1 + z**2 / n)
    ),
    "that does not listen to z and always takes 1.96": lambda count, of, z: wilson(count, of),
    "that returns the centre and half the width, and not the two ends": _centre_and_half,
    "that divides by zero for a class without pictures": _needs_pictures,
}

# Which is better -------------------------------------------------------------------------------------------------


def paired(right_a: Tensor, right_b: Tensor) -> tuple[float, float]:
    """(a's accuracy less b's, McNemar's exact p), from what each got right on the same pictures: bool (n,) both."""
    only_a = (right_a & ~right_b).sum().item()
    only_b = (right_b & ~right_a).sum().item()
    differ = only_a + only_b
    # As probable as so few heads, or so few tails, in as many throws of a fair coin.
    tail = sum(math.comb(differ, k) for k in range(min(only_a, only_b) + 1))
    return (only_a - only_b) / len(right_a), min(1.0, 2 * tail / 2**differ)


def _measure_paired(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for both, only_a, only_b, neither in (
        (80, 10, 3, 7),
        (60, 2, 11, 27),
        (900, 30, 31, 39),
        (40, 5, 5, 0),
        (10, 1, 0, 0),
        (30, 0, 0, 10),
        (500, 60, 40, 30),
    ):
        counts = torch.tensor([both, only_a, only_b, neither])
        right_a = torch.tensor([True, True, False, False]).repeat_interleave(counts)
        right_b = torch.tensor([True, False, True, False]).repeat_interleave(counts)
        order = torch.randperm(len(right_a))
        where = (
            f"where {both} pictures are right in both, {only_a} in a alone, {only_b} in b alone, {neither} in neither"
        )
        yield f"the pair of numbers {where},", named(theirs(right_a[order], right_b[order]), "difference", "p")


def _paired(*, p: Callable, difference: Callable = lambda x, y, n: (x - y) / n) -> Callable:
    """`paired` with other formulas: of (only a, only b, right a, right b, n) for p, of (only a, only b, n) for the rest."""

    def wrong(right_a, right_b):
        x, y, n = (right_a & ~right_b).sum().item(), (right_b & ~right_a).sum().item(), len(right_a)
        return difference(x, y, n), p(x, y, right_a.sum().item(), right_b.sum().item(), n)

    return wrong


def _tail(x: int, y: int) -> float:
    return sum(math.comb(x + y, k) for k in range(min(x, y) + 1)) / 2 ** (x + y)


def _exact(x, y, a, b, n):
    return min(1.0, 2 * _tail(x, y))


def _chi2(corrected: float) -> Callable:
    def p(x, y, a, b, n):
        return math.erfc(math.sqrt(max(0.0, abs(x - y) - corrected) ** 2 / (2 * (x + y)))) if x + y else 1.0

    return p


def _unpaired(x, y, a, b, n):
    """Two shares of different pictures: the usual z test with a pooled share."""
    pooled = (a + b) / (2 * n)
    error = math.sqrt(pooled * (1 - pooled) * 2 / n)
    return math.erfc(abs(a - b) / n / error / math.sqrt(2)) if error else 1.0


def _mid(x, y, a, b, n):
    return min(1.0, 2 * _tail(x, y) - math.comb(x + y, min(x, y)) / 2 ** (x + y))


PAIRED_MISTAKES = {
    "that takes b's accuracy less a's": _paired(p=_exact, difference=lambda x, y, n: (y - x) / n),
    "that divides by the pictures on which the two differ, and not by all": _paired(
        p=_exact, difference=lambda x, y, n: (x - y) / max(1, x + y)
    ),
    "that treats the two as if they had seen different pictures (two independent shares)": _paired(p=_unpaired),
    "that looks at one tail only: half the p": _paired(p=lambda x, y, a, b, n: _tail(x, y)),
    "that counts the middle twice where the two are even, so that p exceeds 1": _paired(
        p=lambda x, y, a, b, n: 2 * _tail(x, y)
    ),
    "that leaves the outcome itself out of the tail": _paired(
        p=lambda x, y, a, b, n: min(1.0, 2 * (_tail(x, y) - math.comb(x + y, min(x, y)) / 2 ** (x + y)))
    ),
    "that counts half of the outcome itself (mid-p), where the exact test was asked for": _paired(p=_mid),
    "that takes McNemar's approximation by χ², which is for large counts": _paired(p=_chi2(0)),
    "that takes McNemar's approximation by χ² with a correction, which is for large counts": _paired(p=_chi2(1)),
    "that lets the pictures on which both are right, or both wrong, count as throws of the coin": _paired(
        p=lambda x, y, a, b, n: min(1.0, 2 * _tail(x + (n - x - y) // 2, y + (n - x - y) // 2))
    ),
}

CHECKS = (
    Check(
        id="evaluate.wilson",
        minutes=5,
        difficulty="easy",
        ours=wilson,
        measure=_measure_wilson,
        mistakes=WILSON_MISTAKES,
        hints=(
            (
                "Work out three numbers in this order: p = count / of, then the centre, then half the width. And before any "
                "of them: what can be said where of is 0?"
            ),
            "centre = (p + z² / 2n) / (1 + z² / n). half = z · √(p (1 - p) / n + z² / 4n²) / (1 + z² / n).",
            (
                "centre = (p + z**2 / (2 * of)) / (1 + z**2 / of), half = z * math.sqrt(p * (1 - p) / of + z**2 / "
                "(4 * of**2)) / (1 + z**2 / of); return centre - half, centre + half."
            ),
        ),
    ),
    Check(
        id="evaluate.paired",
        minutes=10,
        difficulty="hard",
        ours=paired,
        measure=_measure_paired,
        mistakes=PAIRED_MISTAKES,
        hints=(
            (
                "Only two counts matter: the pictures that a alone got right, right_a & ~right_b, and those that b alone did. "
                "The difference of the accuracies is their difference, over all pictures."
            ),
            (
                "If the nets are equally good, each picture on which they differ is a throw of a fair coin. Of n throws, k are "
                "heads with probability math.comb(n, k) / 2**n. How probable is a split as uneven as yours, or more, to either side?"
            ),
            (
                "tail = sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1)) / 2**n, and p is twice that; but where "
                "both counts are equal the middle would count twice, so never more than 1."
            ),
        ),
    ),
)
