"""Exercises `splat.inner_width` and `splat.rsoftmax`: how wide the gates' little net is, and what makes gates of logits.

Imports the engine and, of this room, splitting.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from netwright.lessons.engine import Check
from netwright.lessons.splat.splitting import generator

# channels, radix: the widths of ResNeSt-50 and of 4s2x40d, then some for which it matters how one rounds and where
WIDTHS = (
    (64, 2),
    (128, 2),
    (256, 2),
    (512, 2),
    (80, 4),
    (96, 1),
    (192, 1),
    (24, 2),
    (66, 2),
    (67, 2),
    (35, 4),
    (90, 2),
)


def inner_width(channels: int, radix: int) -> int:
    """How wide the hidden layer between the pooled descriptor and the logits is: a quarter of all splits, at least 32.

    As in the authors' code: channels * radix / 4, rounded down. It does not depend on the cardinality.
    """
    return max(channels * radix // 4, 32)


def _measure_width(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for channels, radix in WIDTHS:
        found = theirs(channels, radix)
        yield f"the width for {channels} channels and radix {radix}", found


def _multiple_of_8(value: float) -> int:
    nearest = max(8, int(value + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * value else nearest + 8


# r-softmax -----------------------------------------------------------------------------------------------------

SIZES = ((2, 1, 3), (1, 2, 3), (2, 2, 1), (2, 2, 3), (4, 2, 2), (2, 3, 2), (3, 2, 4), (1, 1, 4))


def rsoftmax(logits: Tensor, radix: int, cardinality: int) -> Tensor:
    """Logits (batch, radix * channels) to gates (batch, radix, channels): softmax over the radix, sigmoid at radix 1.

    The logits are nested as (cardinality, radix, channels per group), since the grouped layer that makes them keeps
    each cardinal group together. The splits are nested as (radix, cardinality, channels per group): hence the transpose.
    """
    if radix == 1:
        return logits.sigmoid().unsqueeze(1)  # (batch, 1, channels)
    nested = logits.unflatten(1, (cardinality, radix, -1))  # (batch, cardinality, radix, channels per group)
    gates = nested.softmax(2)  # they sum to 1 over the radix, within each cardinal group
    return gates.transpose(1, 2).flatten(2)  # (batch, radix, cardinality * channels per group)


def _measure_rsoftmax(theirs: Callable) -> Iterator[tuple[str, Any]]:
    ours = generator()
    for radix, cardinality, per_group in SIZES:
        where = f"for radix {radix}, cardinality {cardinality} and {per_group} channels a group"
        logits = 2 * torch.randn(3, radix * cardinality * per_group, generator=ours)
        before = logits.clone()
        yield f"the tensor of gates {where}", theirs(logits, radix, cardinality)
        yield (
            f"the difference of the logits {where}, once your function has seen them, to what they were",
            ((logits - before).abs().max()),
        )
    for radix in (1, 2):  # the layers that make the logits must be able to learn
        logits = torch.randn(2, radix * 6, generator=ours).requires_grad_()
        weights = torch.randn(2, radix, 6, generator=ours)
        (gradient,) = torch.autograd.grad((theirs(logits, radix, 2) * weights).sum(), logits)
        yield f"the gradient of the logits for radix {radix} and cardinality 2", gradient
    large = torch.tensor([[1000.0, 999.0, -1000.0, 1001.0]])
    gates = theirs(large, 2, 1)
    yield "the answer to whether all gates for logits of about a thousand are finite", bool(gates.isfinite().all())
    yield "the tensor of gates for logits of about a thousand", gates.nan_to_num()
    single = theirs(torch.ones(1, 4, dtype=torch.float32), 2, 2)
    yield "the type of the gates for logits in float32", str(single.dtype) if isinstance(single, Tensor) else single


def untransposed(logits: Tensor, radix: int, cardinality: int) -> Tensor:
    """`rsoftmax` without its transpose: at radix 1 or cardinality 1 there is nothing to see, elsewhere gates are dealt wrong."""
    if radix == 1:
        return logits.sigmoid().unsqueeze(1)
    nested = logits.unflatten(1, (cardinality, radix, -1))
    return nested.softmax(2).flatten(1).unflatten(1, (radix, -1))


def read_radix_first(logits: Tensor, radix: int, cardinality: int) -> Tensor:
    """`rsoftmax` with the logits read as the splits are nested: each gate is right in form, and of another group."""
    if radix == 1:
        return logits.sigmoid().unsqueeze(1)
    return logits.unflatten(1, (radix, -1)).softmax(1)


def softmax_at_radix_1(logits: Tensor, radix: int, cardinality: int) -> Tensor:
    """`rsoftmax` with no exception for radix 1: a softmax over one number is 1, so there is no gate at all."""
    return logits.unflatten(1, (cardinality, radix, -1)).softmax(2).transpose(1, 2).flatten(2)


def sigmoids(logits: Tensor, radix: int, cardinality: int) -> Tensor:
    """A sigmoid for each logit at every radix: the splits do not compete."""
    return logits.unflatten(1, (cardinality, radix, -1)).sigmoid().transpose(1, 2).flatten(2)


def over(dimension: int | tuple[int, ...]) -> Callable:
    """`rsoftmax` with the softmax over another dimension of (batch, cardinality, radix, channels per group)."""

    def wrong(logits: Tensor, radix: int, cardinality: int) -> Tensor:
        if radix == 1:
            return logits.sigmoid().unsqueeze(1)
        nested = logits.unflatten(1, (cardinality, radix, -1))
        gates = nested.softmax(dimension) if isinstance(dimension, int) else logits.softmax(1).view_as(nested)
        return gates.transpose(1, 2).flatten(2)

    return wrong


def channels_outside(logits: Tensor, radix: int, cardinality: int) -> Tensor:
    """`rsoftmax` with the last transpose against the channels: its groups come out interleaved, at radix 1 too."""
    nested = logits.unflatten(1, (cardinality, radix, -1))
    gates = nested.sigmoid() if radix == 1 else nested.softmax(2)
    return gates.permute(0, 2, 3, 1).flatten(2)


def radix_innermost(logits: Tensor, radix: int, cardinality: int) -> Tensor:
    """`rsoftmax` with the radix read as the innermost of the three numbers."""
    if radix == 1:
        return logits.sigmoid().unsqueeze(1)
    return logits.unflatten(1, (-1, radix)).softmax(2).transpose(1, 2)


def _overflows(logits: Tensor, radix: int, cardinality: int) -> Tensor:
    if radix == 1:
        return logits.sigmoid().unsqueeze(1)
    weights = logits.unflatten(1, (cardinality, radix, -1)).exp()
    return (weights / weights.sum(2, keepdim=True)).transpose(1, 2).flatten(2)


def _flat(logits: Tensor, radix: int, cardinality: int) -> Tensor:
    return rsoftmax(logits, radix, cardinality).flatten(1)


def _group_first(logits: Tensor, radix: int, cardinality: int) -> Tensor:
    if radix == 1:
        return logits.sigmoid().unsqueeze(1)
    return logits.unflatten(1, (cardinality, radix, -1)).softmax(2)


CHECKS = (
    Check(
        id="splat.inner_width",
        minutes=3,
        difficulty="easy",
        ours=inner_width,
        measure=_measure_width,
        mistakes={
            "that never asks whether it is at least 32": lambda channels, radix: channels * radix // 4,
            "that takes the smaller of the two": lambda channels, radix: min(channels * radix // 4, 32),
            "that forgets the radix": lambda channels, radix: max(channels // 4, 32),
            "that divides before it multiplies, and so rounds too early": lambda channels, radix: max(
                channels // 4 * radix, 32
            ),
            "that divides by 16, as squeeze-and-excitation does": lambda channels, radix: max(
                channels * radix // 16, 32
            ),
            "that rounds up": lambda channels, radix: max(math.ceil(channels * radix / 4), 32),
            "that rounds to a multiple of 8, as timm does": lambda channels, radix: max(
                _multiple_of_8(channels * radix / 4), 32
            ),
            "that returns a float, of which no layer can be made": lambda channels, radix: max(
                channels * radix / 4, 32
            ),
            "that raises the width to at least 32 for each split": lambda channels, radix: max(
                channels * radix // 4, 32 * radix
            ),
            "that adds 32 where it should not fall below 32": lambda channels, radix: channels * radix // 4 + 32,
            "that divides by the radix as well": lambda channels, radix: max(channels // (4 * radix), 32),
        },
        hints=(
            "The splits have channels * radix channels between them. What share of it, and what if that is very little?",
            "A quarter, rounded down to a whole number, but not less than 32.",
            "max(channels * radix // 4, 32): two slashes, since a layer cannot be 22.5 channels wide.",
        ),
    ),
    Check(
        id="splat.rsoftmax",
        minutes=10,
        difficulty="medium",
        ours=rsoftmax,
        measure=_measure_rsoftmax,
        mistakes={
            "that forgets the transpose, so that gates meet the splits of another cardinal group": untransposed,
            "that reads the logits with the radix outside, though a grouped layer has the group outside": read_radix_first,
            "with a softmax at radix 1 too: over one number it is always 1": softmax_at_radix_1,
            "with a sigmoid at every radix, so that the splits do not compete": sigmoids,
            "with the softmax over the cardinal groups": over(1),
            "with the softmax over the channels": over(3),
            "with one softmax over all the logits": over((1, 2, 3)),
            "that interleaves the cardinal groups on the way out": channels_outside,
            "that reads the radix as the innermost of the three numbers": radix_innermost,
            "that leaves the gates in one row, as the published code does at first": _flat,
            "that leaves the cardinal groups as a dimension of their own, and outside": _group_first,
            "that overflows where a logit is large (exp, divided by the sum, without taking the largest off first)": _overflows,
        },
        hints=(
            "In which order does a layer with `groups=cardinality` put its output out: what is next to what?",
            (
                "Unflatten the logits to (batch, cardinality, radix, channels per group), softmax over the radix, and then ask "
                "in which order the splits are nested. With radix 1 there is only a sigmoid."
            ),
            (
                "logits.unflatten(1, (cardinality, radix, -1)).softmax(2).transpose(1, 2).flatten(2); at radix 1: "
                "logits.sigmoid().unsqueeze(1)."
            ),
        ),
    ),
)
