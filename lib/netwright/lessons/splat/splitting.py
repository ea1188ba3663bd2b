"""Exercises `splat.splits`, `splat.pooled` and `splat.combine`: branches cut out of a map, read, and put together.

Imports the engine.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from netwright.lessons.engine import Check

SIZES = ((2, 1, 3), (1, 2, 2), (2, 2, 3), (3, 2, 2), (2, 3, 2), (4, 2, 1))  # radix, cardinality, channels per group


def generator() -> torch.Generator:
    """Random numbers of the check's own: what an answer draws for itself does not change them."""
    return torch.Generator().manual_seed(4)


def numbered(radix: int, cardinality: int, per_group: int, *, batch: int = 2, size: tuple[int, int] = (3, 2)) -> Tensor:
    """A map as the convolution puts it out, in which every channel holds its own number, and every pixel a fraction."""
    channels = radix * cardinality * per_group
    number = torch.arange(float(channels)).view(1, channels, 1, 1)
    return (
        number + torch.rand(batch, channels, *size, generator=generator()) / 2
    )  # (batch, radix * channels, height, width)


# The splits ----------------------------------------------------------------------------------------------------


def splits(x: Tensor, radix: int, cardinality: int) -> Tensor:
    """The branches of the convolution's output, one after the other (Zhang et al. 2020, "radix-major").

    x: (batch, radix * channels, height, width), to (batch, radix, channels, height, width). Within a split the
    cardinal groups follow each other, so that their number does not matter here.
    """
    return x.unflatten(1, (radix, -1))


def _measure_splits(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for radix, cardinality, per_group in SIZES:
        where = f"for radix {radix}, cardinality {cardinality} and {per_group} channels a group"
        x = numbered(radix, cardinality, per_group)
        before = x.clone()
        found = theirs(x, radix, cardinality)
        yield f"the list of channel numbers in each split {where}", _channel_numbers(found)
        yield f"the splits {where}", found
        yield f"the input {where}, once your function has seen it,", x
        yield f"the difference of the input {where} to what it was", (x - before).abs().max()


def _channel_numbers(found: Any) -> Any:
    """Which channels lie in each split, as text: what the first pixel of the first picture says of itself."""
    if not isinstance(found, Tensor) or found.dim() != 5:
        return found
    return "; ".join(
        f"split {r}: " + " ".join(str(int(n)) for n in split) for r, split in enumerate(found[0, :, :, 0, 0])
    )


def _group_major(x, radix, cardinality):
    return x.unflatten(1, (cardinality, radix, -1)).transpose(1, 2).flatten(2, 3)


def _every_rth(x, radix, cardinality):
    return x.unflatten(1, (-1, radix)).transpose(1, 2)


def _split_last(x, radix, cardinality):
    return x.unflatten(1, (radix, -1)).transpose(1, 2)


def _interleaved_groups(x, radix, cardinality):
    return x.unflatten(1, (radix, cardinality, -1)).transpose(2, 3).flatten(2, 3)


def _groups_for_splits(x, radix, cardinality):
    return x.unflatten(1, (cardinality, -1))


def _two(x, radix, cardinality):
    return x.unflatten(1, (2, -1))


def _nested(x, radix, cardinality):
    return x.unflatten(1, (radix, cardinality, -1))


def _backwards(x, radix, cardinality):
    return x.unflatten(1, (radix, -1)).flip(1)


def _groups_within_turned(x, radix, cardinality):
    return (
        x.unflatten(1, (cardinality, radix, -1)).flatten(2, 3).transpose(1, 2).unflatten(1, (radix, -1)).flatten(2, 3)
    )


# Pooling -------------------------------------------------------------------------------------------------------


def pooled(parts: Tensor) -> tuple[Tensor, Tensor]:
    """What the gates are read off: the splits' sum, averaged over the pixels, in both orders (section 3.1, s^k).

    parts: (batch, radix, channels, height, width). Both results are (batch, channels), and equal: the mean of a sum
    is the sum of the means. The second never writes the sum of the maps.
    """
    sum_first = parts.sum(1).mean((2, 3))  # a whole map, then its mean
    pool_first = parts.mean((3, 4)).sum(1)  # (batch, radix, channels), then the sum of few numbers
    return sum_first, pool_first


def _measure_pooled(theirs: Callable) -> Iterator[tuple[str, Any]]:
    ours = {"generator": generator()}
    for radix, channels, size in ((2, 4, (3, 5)), (1, 3, (4, 2)), (3, 2, (1, 7)), (4, 5, (5, 3))):
        where = (
            f"of {radix} {'splits' if radix > 1 else 'split'} with {channels} channels of {size[0]}x{size[1]} pixels"
        )
        parts = torch.randn(3, radix, channels, *size, **ours) + torch.randn(3, radix, channels, 1, 1, **ours)
        before = parts.clone()
        found = theirs(parts)
        yield f"the number of descriptors {where}", len(found) if isinstance(found, tuple | list) else found
        yield f"the descriptor {where}, summed first,", found[0]
        yield f"the descriptor {where}, pooled first,", found[1]
        yield f"the input {where}, once your function has seen it,", parts
        yield f"the difference of the input {where} to what it was", (parts - before).abs().max()


def _pooled(one: Callable[[Tensor], Tensor], other: Callable[[Tensor], Tensor] | None = None) -> Callable:
    """`pooled` with one thing wrong in it: in both orders, or in the second only."""
    return lambda parts: (one(parts), (other or one)(parts))


def _summed_first(parts: Tensor) -> Tensor:
    return parts.sum(1).mean((2, 3))


def _in_place(parts: Tensor) -> tuple[Tensor, Tensor]:
    for split in parts.unbind(1)[1:]:
        parts[:, 0] += split
    found = parts[:, 0].mean((2, 3))
    return found, found


# Putting together ----------------------------------------------------------------------------------------------


def combine(parts: Tensor, gates: Tensor) -> Tensor:
    """The layer's output: each channel of each split weighed by its gate, and the splits summed (section 3.1, V^k).

    parts: (batch, radix, channels, height, width), gates: (batch, radix, channels), to (batch, channels, height, width).
    """
    return (parts * gates[..., None, None]).sum(1)


def _measure_combine(theirs: Callable) -> Iterator[tuple[str, Any]]:
    ours = {"generator": generator()}
    for radix, channels, size in ((2, 4, (3, 5)), (1, 3, (4, 2)), (3, 3, (3, 3)), (4, 2, (2, 6))):
        where = f"of {radix} {'splits' if radix > 1 else 'split'} with {channels} channels"
        parts, gates = torch.randn(3, radix, channels, *size, **ours), torch.rand(3, radix, channels, **ours)
        before = parts.clone(), gates.clone()
        yield f"the sum {where}", theirs(parts, gates)
        yield f"the splits {where}, once your function has seen them,", parts
        changed = max((parts - before[0]).abs().max().item(), (gates - before[1]).abs().max().item())
        yield f"the difference of the inputs {where} to what they were", changed


def _combined(*, parts=lambda p: p, gates=lambda g: g, end=lambda weighed: weighed.sum(1)) -> Callable:
    """`combine` with one thing wrong in it."""
    return lambda p, g: end(parts(p) * gates(g)[..., None, None])


def _overwrites(parts: Tensor, gates: Tensor) -> Tensor:
    return parts.mul_(gates[..., None, None]).sum(1)


CHECKS = (
    Check(
        id="splat.splits",
        minutes=5,
        difficulty="easy",
        ours=splits,
        measure=_measure_splits,
        mistakes={
            "that takes the cardinal groups for the outer order, as the paper's equations number them": _group_major,
            "that deals the channels out in turn, as if the radix were the innermost number": _every_rth,
            "that puts the splits behind the channels": _split_last,
            "that mixes the cardinal groups within a split, one channel of each in turn": _interleaved_groups,
            "that cuts into as many parts as there are cardinal groups": _groups_for_splits,
            "that cuts into two, whatever the radix": _two,
            "that leaves the cardinal groups as a dimension of their own": _nested,
            "that has the splits backwards": _backwards,
            "that transposes whole cardinal groups against single channels": _groups_within_turned,
            "that gives back a list of maps, not one tensor": lambda x, radix, cardinality: list(x.chunk(radix, 1)),
        },
        hints=(
            "The convolution has radix · cardinality groups. Which channels of its output lie next to each other?",
            (
                "In the published layout the first radix-th of the channels, all cardinal groups of it, is split 0; the "
                "next is split 1. One of the three arguments is not needed for that."
            ),
            "x.unflatten(1, (radix, -1)), or reshape: split r is the slice x[:, r * channels : (r + 1) * channels].",
        ),
    ),
    Check(
        id="splat.pooled",
        minutes=5,
        difficulty="easy",
        ours=pooled,
        measure=_measure_pooled,
        mistakes={
            "that averages over the splits where it should sum them": _pooled(lambda p: p.mean((1, 3, 4))),
            "that sums over the pixels where it should average": _pooled(lambda p: p.sum((1, 3, 4))),
            "that takes the maximum over the pixels": _pooled(lambda p: p.sum(1).amax((2, 3))),
            "that reads the first split only": _pooled(lambda p: p[:, 0].mean((2, 3))),
            "that takes the larger of the splits": _pooled(lambda p: p.amax(1).mean((2, 3))),
            "that averages over the height only and then takes the largest of the columns": _pooled(
                lambda p: p.sum(1).mean(2).amax(2)
            ),
            "that averages over the batch as well": _pooled(
                lambda p: p.sum(1).mean((2, 3)).mean(0, keepdim=True).expand(len(p), -1)
            ),
            "that keeps the pixels as dimensions of size 1": _pooled(lambda p: p.sum(1).mean((2, 3), keepdim=True)),
            "in which pooling first forgets to sum the splits": _pooled(_summed_first, lambda p: p.mean((3, 4))),
            "in which pooling first averages the splits": _pooled(_summed_first, lambda p: p.mean((3, 4)).mean(1)),
            "that gives one descriptor back, not two": _summed_first,
            "that adds the splits up in place, and so overwrites them": _in_place,
        },
        hints=(
            "Five dimensions come in: batch, radix, channels, height, width. Which three disappear, and how each?",
            "The splits are summed, the pixels are averaged. Sum over dimension 1 first, and count the dimensions anew.",
            "parts.sum(1).mean((2, 3)) is one order, parts.mean((3, 4)).sum(1) the other: return both, in this order.",
        ),
    ),
    Check(
        id="splat.combine",
        minutes=3,
        difficulty="easy",
        ours=combine,
        measure=_measure_combine,
        mistakes={
            "that forgets the gates": lambda parts, gates: parts.sum(1),
            "that averages the weighed splits": _combined(end=lambda weighed: weighed.mean(1)),
            "that keeps the splits apart": _combined(end=lambda weighed: weighed),
            "that puts the splits beside each other as channels": _combined(end=lambda weighed: weighed.flatten(1, 2)),
            "that gives each split the gates of the next": _combined(gates=lambda g: g.roll(1, 1)),
            "with one gate for all the channels of a split": _combined(
                gates=lambda g: g.mean(2, keepdim=True).expand_as(g)
            ),
            "that keeps only the split with the largest gate": _combined(
                gates=lambda g: g * (g == g.amax(1, keepdim=True))
            ),
            "that divides the gates by their sum, though they need not sum to 1 (radix 1)": _combined(
                gates=lambda g: g / g.sum(1, keepdim=True)
            ),
            "that adds the plain sum of the splits, as a shortcut would": _combined(gates=lambda g: g + 1),
            "that takes the product of the splits": _combined(end=lambda weighed: weighed.prod(1)),
            "that weighs the splits in place, and so overwrites them": _overwrites,
        },
        hints=(
            "A gate has no height and no width: one number weighs a whole map. How does a tensor get two more dimensions?",
            "gates[..., None, None] is (batch, radix, channels, 1, 1), and broadcasts over the pixels.",
            "(parts * gates[..., None, None]).sum(1)",
        ),
    ),
)
