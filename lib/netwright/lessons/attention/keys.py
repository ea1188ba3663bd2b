"""Exercise `attention.effective_keys`: at how many keys a query looks. Imports the engine and trying."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from netwright.lessons.engine import Check
from netwright.lessons.trying import Numbers


def effective_keys(weights: Tensor, inside: Tensor) -> Tensor:
    """At how many keys of the map a query looks, as if it looked at so many alike: e to the power of the entropy.

    weights: (…, keys), which sum to 1; inside: bool, whether a key lies on the map, broadcast against them. What falls
    outside is left out and the rest made to sum to 1. Returns (…): from 1 to the number of keys inside, or 0 for a query
    that looks at nothing inside.
    """
    kept = weights * inside
    total = kept.sum(-1, keepdim=True)
    kept = kept / total.where(total > 0, 1.0)
    entropy = -torch.special.xlogy(kept, kept).sum(-1)  # where 0 log 0 is 0
    return entropy.exp() * (total.squeeze(-1) > 0)


def _measure_keys(theirs: Callable) -> Iterator[tuple[str, Any]]:
    numbers = Numbers()
    for shape, sharpness in (((5,), 1.0), ((2, 3, 9), 2.0), ((2, 2, 3, 16), 0.5), ((4, 25), 6.0)):
        weights = (sharpness * numbers(*shape)).softmax(-1)
        inside = numbers(*shape[:-2], 1, shape[-1])[..., 0, :] > -0.6 if len(shape) == 1 else numbers(*shape) > -0.6
        inside[..., 0] = True
        before = weights.clone()
        where = f"of weights {tuple(shape)}"
        keys = theirs(weights, inside)
        yield f"the answer to whether the numbers of effective keys {where} are numbers", bool(keys.isfinite().all())
        yield f"the number of effective keys {where}", keys.nan_to_num()
        yield f"the change of the weights, once your function has seen them, {where}", (weights - before).abs().max()
    weights = numbers(3, 2, 4, 12).softmax(-1)
    inside = torch.ones(2, 1, 12, dtype=torch.bool)
    inside[0, :, 7:] = False
    yield "the number of effective keys of blocks that share a mask", theirs(weights, inside).nan_to_num()
    even = torch.full((2, 8), 1 / 8)
    inside = torch.tensor([[True] * 8, [True] * 6 + [False] * 2])
    yield (
        "the number of effective keys of equal weights, with 8 and with 6 keys on the map",
        theirs(even, inside).nan_to_num(),
    )
    some = torch.tensor([[0.0, 0.5, 0.0, 0.5], [1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.5, 0.0]])
    whole = torch.ones(3, 4, dtype=torch.bool)
    yield "the number of effective keys where some weights are exactly 0", theirs(some, whole).nan_to_num()
    whole[1, 0] = False
    yield "the number of effective keys of a query that looks at padding only", theirs(some, whole).nan_to_num()


def _of(
    count: Callable,
    *,
    kept: Callable = lambda weights, inside: weights * inside,
    normalised: bool = True,
) -> Callable:
    """`effective_keys` with another count (kept) -> (…), another choice of keys, or without a sum of 1."""

    def wrong(weights, inside):
        p = kept(weights, inside)
        total = p.sum(-1, keepdim=True)
        p = p / total.where(total > 0, 1.0) if normalised else p
        return count(p) * (total.squeeze(-1) > 0)

    return wrong


def _entropy(p: Tensor) -> Tensor:
    return -torch.special.xlogy(p, p).sum(-1)


CHECKS = (
    Check(
        id="attention.effective_keys",
        minutes=5,
        difficulty="easy",
        ours=effective_keys,
        measure=_measure_keys,
        mistakes={
            "that returns the entropy itself, not e to its power": _of(_entropy),
            "that takes 2 to the power of an entropy in nats": _of(lambda p: 2 ** _entropy(p)),
            "that takes e to the power of an entropy in bits": _of(
                lambda p: (_entropy(p) / torch.log(torch.tensor(2.0))).exp()
            ),
            "that has the sign of the entropy wrong": _of(lambda p: (-_entropy(p)).exp()),
            "that counts padding among the keys": _of(
                lambda p: _entropy(p).exp(), kept=lambda w, inside: w * torch.ones_like(inside)
            ),
            "that counts only padding, the mask the wrong way round": _of(
                lambda p: _entropy(p).exp(), kept=lambda w, inside: w * ~inside
            ),
            "whose weights no longer sum to 1 once padding is left out": _of(
                lambda p: _entropy(p).exp(), normalised=False
            ),
            "that takes a softmax of the weights, which have had theirs": _of(
                lambda p: _entropy(p).exp(),
                kept=lambda w, inside: w.masked_fill(~inside, -torch.inf).softmax(-1).nan_to_num(),
            ),
            "that is not a number where a weight is 0": lambda weights, inside: _of(
                lambda p: (-(p * p.log()).sum(-1)).exp()
            )(weights, inside),
            "that adds a small number to every weight inside the logarithm": _of(
                lambda p: (-(p * (p + 1e-6).log()).sum(-1)).exp()
            ),
            "that takes one over the sum of squares, another way to count": _of(
                lambda p: 1 / p.square().sum(-1).clamp(min=1e-12)
            ),
            "that counts the keys with more than an equal share": _of(
                lambda p: (p > 1 / p.shape[-1]).sum(-1).to(p.dtype)
            ),
            "that divides by the number of keys on the map": lambda weights, inside: (
                effective_keys(weights, inside) / inside.sum(-1)
            ),
            "that says 1 for a query that looks at padding only": lambda weights, inside: effective_keys(
                weights, inside
            ).clamp(min=1),
        },
        hints=(
            "Equal weights on n keys should give n. What is their entropy, and what undoes a logarithm?",
            (
                "Leave the padding out, divide by what is left so that it sums to 1, take the entropy −Σ p log p in nats with 0 log "
                "0 = 0, and e to its power. Where nothing is left, the answer is 0."
            ),
            (
                "p = weights * inside; p = p / p.sum(-1, keepdim=True).clamp(min=1e-300); keys = (-torch.special.xlogy(p, "
                "p).sum(-1)).exp(); return keys * (p.sum(-1) > 0)."
            ),
        ),
    ),
)
