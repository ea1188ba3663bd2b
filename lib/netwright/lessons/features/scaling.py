"""Exercise `features.scale`: several maps on one colour scale. Imports the engine, trying and, of this room, answers."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from netwright.lessons.engine import Check
from netwright.lessons.features.answers import tensor
from netwright.lessons.trying import numbers


def scale(maps: Sequence[Tensor], signed: bool) -> list[Tensor]:
    """Where on its colour bar each value of several maps lies, from 0 (one end) to 1 (the other), in the same shapes.

    All maps share one bar. Of magnitudes, 0 lies at 0 and the largest value of all maps at 1. Of signed values, 0 lies
    in the middle, at 0.5, and the largest absolute value of all maps at an end. Where all is zero, all lies where
    zero lies.
    """
    largest = max(float(one.abs().max()) for one in maps) or 1.0
    if signed:
        return [0.5 + one / (2 * largest) for one in maps]
    return [one / largest for one in maps]


def _measure(theirs: Callable) -> Iterator[tuple[str, Any]]:
    shapes = (3, 4), (2, 2), (5, 1)
    mixed = [size * numbers(*shape, of="scale") for size, shape in zip((1.0, 9.0, 0.1), shapes, strict=True)]
    mixed[1] = mixed[1] - 20  # its largest absolute value is one below zero
    positive = [one.abs() + 0.5 for one in mixed]
    cases = (
        ("three maps of magnitudes, of which the second is the brightest", positive, False),
        ("three signed maps, of which the second goes deepest below zero", mixed, True),
        ("three maps of a signed quantity that is nowhere negative", positive, True),
        (
            "two maps of magnitudes, of which the first is flat",
            [torch.full((2, 3), 2.0), torch.full((3, 2), 8.0)],
            False,
        ),
        ("a map of nothing but zeros, where magnitudes are meant", [torch.zeros(2, 3)], False),
        ("two maps of nothing but zeros, where signed values are meant", [torch.zeros(2, 3), torch.zeros(1, 1)], True),
        ("one map of magnitudes", [numbers(4, 4, of="one").abs()], False),
    )
    for what, maps, signed in cases:
        before = [one.clone() for one in maps]
        found = theirs(maps, signed)
        yield f"the answer for {what}", [_worded(one) for one in found] if isinstance(found, list | tuple) else found
        changed = max(float((old - new).abs().max()) for old, new in zip(before, maps, strict=True))
        yield f"the change of the values themselves, in {what},", changed


def _worded(value: Any) -> Any:
    """A map as a tensor; in words where it holds what is no number, so that a mistake that does so can be recognised."""
    value = tensor(value)
    return "not a number (NaN)" if isinstance(value, Tensor) and bool(value.isnan().any()) else value


def _span(maps: Sequence[Tensor]) -> tuple[float, float]:
    return min(float(one.min()) for one in maps), max(float(one.max()) for one in maps)


def _min_max_each(maps, signed):
    return [(one - one.min()) / (one.max() - one.min()) for one in maps]


def _min_max_each_with_eps(maps, signed):
    return [(one - one.min()) / (one.max() - one.min() + 1e-8) for one in maps]


def _each_by_itself(maps, signed):
    return [scale([one], signed)[0] for one in maps]


def _min_max(maps, signed):
    low, high = _span(maps)
    return [(one - low) / ((high - low) or 1.0) for one in maps]


def _not_centred(maps, signed):
    return _min_max(maps, signed) if signed else scale(maps, signed)


def _largest_not_absolute(maps, signed):
    largest = _span(maps)[1] or 1.0
    return [0.5 + one / (2 * largest) for one in maps] if signed else scale(maps, signed)


def _cut_at_zero(maps, signed):
    return scale([one.clamp(min=0) for one in maps], signed=False)


def _absolute(maps, signed):
    return scale([one.abs() for one in maps], signed=False)


def _always_centred(maps, signed):
    return scale(maps, signed=True)


def _signed_if_seen(maps, signed):
    return scale(maps, signed=_span(maps)[0] < 0)


def _first_only(maps, signed):
    largest = float(maps[0].abs().max()) or 1.0
    return [0.5 + one / (2 * largest) if signed else one / largest for one in maps]


def _clipped(maps, signed):
    largest = float(torch.cat([one.abs().flatten() for one in maps]).quantile(0.9)) or 1.0
    return [(0.5 + one / (2 * largest) if signed else one / largest).clamp(0, 1) for one in maps]


def _root(maps, signed):
    if signed:
        return scale(maps, signed)
    return [one.sqrt() for one in scale(maps, signed)]


def _no_zeros(maps, signed):
    largest = max(one.abs().max() for one in maps)
    return [0.5 + one / (2 * largest) if signed else one / largest for one in maps]


def _from_minus_one(maps, signed):
    return [2 * one - 1 for one in scale(maps, signed)] if signed else scale(maps, signed)


CHECKS = (
    Check(
        id="features.scale",
        minutes=5,
        difficulty="easy",
        ours=scale,
        measure=_measure,
        mistakes={
            "that stretches each map from its own smallest to its own largest value": _min_max_each,
            "that stretches each map from its own smallest to its own largest value, with a small number against division "
            "by zero": _min_max_each_with_eps,
            "that has the right kind of bar, but one of its own for each map": _each_by_itself,
            "that stretches the shared bar from the smallest to the largest value, so that no colour means zero": _min_max,
            "that stretches the bar of signed values from smallest to largest: white, and it is not zero": _not_centred,
            "that measures a signed bar by its largest value, and leaves it where negative values reach further": (
                _largest_not_absolute
            ),
            "that throws away what is below zero": _cut_at_zero,
            "that shows absolute values, so that for and against have one colour": _absolute,
            "that puts zero in the middle for magnitudes too, and wastes half of the bar": _always_centred,
            "that takes a quantity for signed only where it finds a negative value": _signed_if_seen,
            "that makes the bar for the first map and uses it for all": _first_only,
            "that cuts off the brightest tenth, and says so nowhere": _clipped,
            "that takes the root of magnitudes, which makes the faint ones look strong": _root,
            "that divides zeros by zero": _no_zeros,
            "whose signed bar goes from -1 to 1 where 0 to 1 is asked for": _from_minus_one,
        },
        hints=(
            "Two maps, one twice as bright as the other. After your function, is it still twice as bright?",
            "Find one number first: the largest absolute value of all maps together. It is the only thing that the bar "
            + "needs to know. Then each map is divided by it; signed values are halved and moved, so that 0 comes to 0.5.",
            "largest = max(float(m.abs().max()) for m in maps) or 1.0 is that number, and 1 where there is nothing but zeros. "
            + "Signed: 0.5 + m / (2 * largest). Else: m / largest.",
        ),
    ),
)
