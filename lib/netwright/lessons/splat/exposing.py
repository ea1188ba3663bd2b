"""Exercise `splat.expose`: a test of the r-softmax, tried on right implementations and on wrong ones.

Imports the engine and, of this room, gating.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from netwright.lessons.engine import Check
from netwright.lessons.splat import gating
from netwright.lessons.splat.gating import rsoftmax


def _looping(logits: Tensor, radix: int, cardinality: int) -> Tensor:
    """`rsoftmax`, one gate at a time, in plain numbers."""
    batch, count = logits.shape
    channels = count // radix
    per_group = channels // cardinality
    gates = torch.zeros(batch, radix, channels, dtype=logits.dtype)
    for k in range(cardinality):
        for c in range(per_group):
            own = [logits[:, (k * radix + r) * per_group + c] for r in range(radix)]
            weights = [(one - torch.stack(own).amax(0)).exp() for one in own]
            for r in range(radix):
                one = weights[r] / sum(weights) if radix > 1 else own[0].sigmoid()
                gates[:, r, k * per_group + c] = one
    return gates


def _by_groups(logits: Tensor, radix: int, cardinality: int) -> Tensor:
    """`rsoftmax`, a cardinal group at a time, by logarithms."""
    if radix == 1:
        return 1 / (1 + (-logits).exp()).unsqueeze(1)
    groups = [group.unflatten(1, (radix, -1)) for group in logits.chunk(cardinality, 1)]
    return torch.cat([(group - group.logsumexp(1, keepdim=True)).exp() for group in groups], 2)


RIGHT = {"the library's": rsoftmax, "a loop": _looping, "one group at a time": _by_groups}
WRONG = {
    "one that forgets the transpose": gating.untransposed,
    "one that reads the logits radix first": gating.read_radix_first,
    "one that interleaves the cardinal groups on the way out": gating.channels_outside,
    "one that reads the radix as the innermost number": gating.radix_innermost,
    "one with the softmax over the cardinal groups": gating.over(1),
    "one with the softmax over the channels": gating.over(3),
    "one with one softmax over everything": gating.over((1, 2, 3)),
    "one with sigmoids at every radix": gating.sigmoids,
    "one with a softmax at radix 1": gating.softmax_at_radix_1,
    "one that forgets the softmax, and the sigmoid": lambda logits, radix, cardinality: (
        logits.unflatten(1, (cardinality, radix, -1)).transpose(1, 2).flatten(2)
    ),
    "one that always answers with equal gates": lambda logits, radix, cardinality: torch.full(
        (len(logits), radix, logits.shape[1] // radix), 1 / radix if radix > 1 else 0.5, dtype=logits.dtype
    ),
}


def is_right(candidate: Callable) -> bool:
    """Whether `candidate`, an r-softmax, is right: each gate computed by hand, where every mistake can be seen.

    candidate: logits (batch, radix * channels), radix, cardinality -> gates (batch, radix, channels). It takes two
    cardinal groups and two splits, or the two orders are one; two channels a group, or channels cannot be confused;
    logits that all differ; and radix 1, where the rule is another.
    """
    logits = torch.tensor([[0.3, -1.0, 2.0, 0.5, -0.7, 1.1, 0.2, -2.0]])
    for radix, cardinality in ((2, 2), (1, 2)):
        gates = candidate(logits, radix, cardinality)
        channels = logits.shape[1] // radix
        width = channels // cardinality  # of a group, in channels
        for r in range(radix):
            for channel in range(channels):
                k, c = divmod(channel, width)
                rivals = torch.stack([logits[0, (k * radix + s) * width + c] for s in range(radix)])
                expected = rivals.softmax(0)[r] if radix > 1 else rivals[0].sigmoid()
                if (gates[0, r, channel] - expected).abs() > 1e-6:
                    return False
    return True


def _measure(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for name, candidate in RIGHT.items():
        yield f"the verdict on a right r-softmax ({name})", bool(theirs(candidate))
    for name, candidate in WRONG.items():
        yield f"the verdict on {name}", bool(theirs(candidate))


# Tests that are fooled -------------------------------------------------------------------------------------------


def _agrees(*sizes: tuple[int, int, int], exactly: bool = False, equal_logits: bool = False) -> Callable:
    """The test that compares with `rsoftmax` at these (radix, cardinality, channels a group)."""

    def test(candidate: Callable) -> bool:
        generator = torch.Generator().manual_seed(1)
        for radix, cardinality, per_group in sizes:
            shape = (2, radix * cardinality * per_group)
            logits = torch.randn(shape, generator=generator) * (0 if equal_logits else 1)
            found, wanted = candidate(logits, radix, cardinality), rsoftmax(logits, radix, cardinality)
            if not (torch.equal(found, wanted) if exactly else torch.allclose(found, wanted)):
                return False
        return True

    return test


def _gates(candidate: Callable, radix: int, cardinality: int) -> tuple[Tensor, Tensor]:
    logits = torch.randn(2, radix * cardinality * 3, generator=torch.Generator().manual_seed(1))
    return logits, candidate(logits, radix, cardinality)


def _has_its_shape(candidate):
    return all(_gates(candidate, r, k)[1].shape == (2, r, 3 * k) for r, k in ((2, 2), (1, 2), (4, 1)))


def _sums_to_one(candidate):
    return torch.allclose(_gates(candidate, 2, 2)[1].sum(1), torch.ones(2, 6))


def _sums_to_one_and_half(candidate):
    """The sums at radix 2, and the sigmoid at radix 1."""
    logits, gates = _gates(candidate, 1, 2)
    return _sums_to_one(candidate) and torch.allclose(gates[:, 0], logits.sigmoid())


def _lies_between_0_and_1(candidate):
    gates = _gates(candidate, 2, 2)[1]
    return bool(((gates > 0) & (gates < 1)).all())


def _sorted_values(candidate):
    logits, gates = _gates(candidate, 2, 2)
    return torch.allclose(gates.flatten().sort()[0], rsoftmax(logits, 2, 2).flatten().sort()[0])


CHECKS = (
    Check(
        id="splat.expose",
        minutes=10,
        difficulty="medium",
        ours=is_right,
        measure=_measure,
        mistakes={
            "that looks at cardinality 1 only, where both orders are one": _agrees((2, 1, 3), (4, 1, 3), (1, 1, 3)),
            "that looks at radix 1 only": _agrees((1, 1, 3), (1, 2, 3)),
            "that has cardinality 2, and radix 2, but not both at once": _agrees((1, 2, 3), (2, 1, 3)),
            "that never looks at radix 1": _agrees((2, 2, 3), (4, 2, 3)),
            "with one channel in a group, so that channels cannot be confused": _agrees((2, 2, 1), (1, 2, 1)),
            "whose logits are all equal": _agrees((2, 2, 3), (1, 2, 3), equal_logits=True),
            "that demands equality to the last bit, and refuses right ones that round otherwise": _agrees(
                (2, 2, 3), (1, 2, 3), exactly=True
            ),
            "that only looks at the shape": _has_its_shape,
            "that only looks whether the gates lie between 0 and 1": _lies_between_0_and_1,
            "that only looks whether the gates sum to 1 over the splits": _sums_to_one,
            "that looks at the sums, and at radix 1": _sums_to_one_and_half,
            "that compares the gates without regard to their places": _sorted_values,
            "that answers the other way round": lambda candidate: not is_right(candidate),
        },
        hints=(
            (
                "Where are the orders (cardinality, radix, channel) and (radix, cardinality, channel) different? Choose the "
                "smallest case in which each of the three numbers is at least two."
            ),
            (
                "Take random logits with radix 2, cardinality 2 and two or three channels a group, and compare with gates "
                "that you trust: your own r-softmax if it passed, or a loop. Then once more with radix 1. Use allclose."
            ),
            (
                "for radix in (1, 2): logits = torch.randn(2, radix * 2 * 3); if not torch.allclose(candidate(logits, radix, 2), "
                "rsoftmax(logits, radix, 2)): return False. And return True at the end."
            ),
        ),
    ),
)
