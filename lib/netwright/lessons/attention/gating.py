"""Exercise `attention.split`: what split attention adds to a fixed average of its two splits. Imports the engine, trying."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from netwright.lessons.engine import Check
from netwright.lessons.trying import Numbers

PARTS = ("fixed", "adaptive", "share")


def split(splits: Tensor, gates: Tensor) -> dict[str, Tensor]:
    """The output of split attention with radix 2 as two parts: one that would be there without any gate, and the rest.

    splits: (batch, 2, channels, height, width); gates: (batch, 2, channels), which sum to 1 over the two. Returns "fixed"
    and "adaptive", each (batch, channels, height, width), which sum to the layer's output, and "share" (batch,): the
    length of "adaptive" over that of the output, the whole of a picture as one vector.
    """
    first, second = splits.unbind(1)
    d = (gates[:, 0] - gates[:, 1])[..., None, None] / 2  # (batch, channels, 1, 1), from −½ to ½
    fixed, adaptive = (first + second) / 2, d * (first - second)
    share = adaptive.flatten(1).norm(dim=1) / (fixed + adaptive).flatten(1).norm(dim=1)
    return {"fixed": fixed, "adaptive": adaptive, "share": share}


def _measure(theirs: Callable) -> Iterator[tuple[str, Any]]:
    numbers = Numbers()
    for batch, channels, height, width in ((2, 3, 2, 4), (1, 5, 3, 3), (3, 2, 1, 5), (4, 1, 2, 2)):
        splits = numbers(batch, 2, channels, height, width).relu() + 0.1
        gates = (1.5 * numbers(batch, 2, channels)).softmax(1)
        seen = splits.clone(), gates.clone()
        where = f"of {batch} pictures with {channels} channels of {height}×{width}"
        found = theirs(*seen)
        yield f"the list of names {where}", sorted(found)
        for name in PARTS:
            yield f"the tensor {name!r} {where}", found[name]
        gaps = [(a - b).abs().max() for a, b in zip(seen, (splits, gates), strict=True)]
        yield f"the change of splits and gates, once your function has seen them, {where}", gaps


def _length(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1)


def _parts(
    *,
    fixed: Callable = lambda first, second, gates: (first + second) / 2,
    d: Callable = lambda gates: (gates[:, 0] - gates[:, 1]) / 2,
    difference: Callable = lambda first, second: first - second,
    share: Callable = lambda fixed, adaptive: _length(adaptive) / _length(fixed + adaptive),
) -> Callable:
    """`split` with one step exchanged."""

    def wrong(splits, gates):
        first, second = splits.unbind(1)
        kept, rest = fixed(first, second, gates), d(gates)[..., None, None] * difference(first, second)
        return {"fixed": kept, "adaptive": rest, "share": share(kept, rest)}

    return wrong


def _by_hand(splits: Tensor, gates: Tensor) -> dict[str, Tensor]:
    """The adaptive part as all that the gates touch: the sum is right, and nothing is fixed."""
    out = (splits * gates[..., None, None]).sum(1)
    return {"fixed": torch.zeros_like(out), "adaptive": out, "share": torch.ones(len(out))}


CHECKS = (
    Check(
        id="attention.split",
        minutes=6,
        difficulty="easy",
        ours=split,
        measure=_measure,
        mistakes={
            "that does not halve the difference of the gates": _parts(d=lambda gates: gates[:, 0] - gates[:, 1]),
            "that takes the first gate for the difference": _parts(d=lambda gates: gates[:, 0]),
            "whose gates are the wrong way round": _parts(d=lambda gates: (gates[:, 1] - gates[:, 0]) / 2),
            "that loses the sign of the difference": _parts(d=lambda gates: (gates[:, 0] - gates[:, 1]).abs() / 2),
            "whose fixed part is the sum of the splits, not their mean": _parts(
                fixed=lambda first, second, gates: first + second
            ),
            "whose fixed part is the first split": _parts(fixed=lambda first, second, gates: first),
            "whose adaptive part weighs the sum of the splits, not their difference": _parts(
                difference=lambda first, second: first + second
            ),
            "with one number for all channels of a picture": _parts(
                d=lambda gates: ((gates[:, 0] - gates[:, 1]) / 2).mean(1, keepdim=True).expand(-1, gates.shape[2])
            ),
            "whose gates are the mean of the batch": _parts(
                d=lambda gates: ((gates[:, 0] - gates[:, 1]) / 2).mean(0, keepdim=True).expand(len(gates), -1)
            ),
            "that calls everything adaptive that a gate touches": _by_hand,
            "whose share is of the fixed part": _parts(
                share=lambda fixed, adaptive: _length(adaptive) / _length(fixed)
            ),
            "whose share is of the two lengths' sum": _parts(
                share=lambda fixed, adaptive: _length(adaptive) / (_length(fixed) + _length(adaptive))
            ),
            "whose share is of squared lengths": _parts(
                share=lambda fixed, adaptive: _length(adaptive) ** 2 / _length(fixed + adaptive) ** 2
            ),
            "whose share is of sums of absolute values": _parts(
                share=lambda fixed, adaptive: (
                    adaptive.flatten(1).abs().sum(1) / (fixed + adaptive).flatten(1).abs().sum(1)
                )
            ),
            "that takes the whole batch for one picture": _parts(
                share=lambda fixed, adaptive: (adaptive.norm() / (fixed + adaptive).norm()).expand(len(fixed))
            ),
        },
        hints=(
            "Write each gate as ½ plus or minus something. What is the something, if the two gates sum to 1?",
            (
                "With d = (a₀ − a₁) / 2 the gates are ½ + d and ½ − d, so a₀U₀ + a₁U₁ = ½(U₀ + U₁) + d (U₀ − U₁). One d for each "
                "picture and channel."
            ),
            (
                "d = (gates[:, 0] - gates[:, 1])[..., None, None] / 2; fixed = (splits[:, 0] + splits[:, 1]) / 2; adaptive = d * "
                "(splits[:, 0] - splits[:, 1]); share = adaptive.flatten(1).norm(dim=1) / (fixed + adaptive).flatten(1).norm(dim=1)."
            ),
        ),
    ),
)
