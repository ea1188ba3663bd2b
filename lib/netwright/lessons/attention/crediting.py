"""Exercise `attention.ledger`: what each cardinal group adds to a logit. Imports the engine, trying and nets."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from netwright.lessons.engine import Check
from netwright.lessons.trying import Numbers, buffers, fill
from netwright.nets.layers import ConvNormAct

TERMS = ("bias", "shortcut", "shift", "groups")


def ledger(
    middle: Tensor, shortcut: Tensor, expand: ConvNormAct, classifier: nn.Linear, target: int, cardinality: int
) -> dict[str, Tensor]:
    """What a logit is made of, behind the last block of a net: a sum, exact at the ReLU mask of this input.

    middle: (batch, mid_channels, height, width), what the block's grouped convolution gave, its channels group by group;
    shortcut: (batch, channels, height, width), what is added to the branch; expand: the 1x1 convolution and normalisation
    between, in evaluation mode. Then come a ReLU, the mean over the map, and the classifier.
    Returns "bias" (batch,), the classifier's; "shortcut" (batch,); "shift" (batch,), of the normalisation; and "groups"
    (batch, cardinality). They sum to the logit of class `target`.
    """
    norm, weight = expand.norm, classifier.weight[target]  # (channels,)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()  # (channels,)
    shift = norm.bias - norm.running_mean * scale
    matrix = scale[:, None] * expand.conv.weight[:, :, 0, 0]  # (channels, mid_channels): convolution and scale in one

    branch = torch.einsum("km,bmyx->bkyx", matrix, middle) + shift[:, None, None]
    mask = (branch + shortcut > 0).to(middle.dtype)  # the ReLU lets these through, as they are
    # A pixel's share of the logit, per unit of channel k there: weight times mask over the number of pixels.
    price = weight[:, None, None] * mask / mask[0, 0].numel()  # (batch, channels, height, width)
    by_channel = torch.einsum("bkyx,km,bmyx->bm", price, matrix, middle)  # (batch, mid_channels)
    return {
        "bias": classifier.bias[target].expand(len(middle)),
        "shortcut": (price * shortcut).sum((1, 2, 3)),
        "shift": (price * shift[:, None, None]).sum((1, 2, 3)),
        "groups": by_channel.unflatten(1, (cardinality, -1)).sum(2),
    }


# batch, mid_channels, channels, classes, cardinality, height, width
BLOCKS = ((2, 6, 5, 4, 3, 3, 2), (1, 8, 7, 3, 2, 2, 5), (3, 8, 6, 5, 4, 1, 3), (2, 4, 9, 3, 1, 4, 3))


def _measure_ledger(theirs: Callable) -> Iterator[tuple[str, Any]]:
    numbers = Numbers()
    for batch, mid, channels, classes, cardinality, height, width in BLOCKS:
        expand, classifier = ConvNormAct(mid, channels).eval(), nn.Linear(channels, classes)
        fill(expand)
        fill(classifier)
        middle = numbers(batch, mid, height, width).relu()
        shortcut = numbers(batch, channels, height, width) / 2
        seen, state = (middle.clone(), shortcut.clone()), buffers(expand)
        target = classes - 2
        where = f"of a block with {cardinality} groups of {mid // cardinality} channels, and maps of {height}×{width}"
        found = theirs(*seen, expand, classifier, target, cardinality)
        yield f"the list of terms {where}", sorted(found)
        for name in TERMS:
            shape = (batch, cardinality) if name == "groups" else (batch,)
            yield f"the term {name!r} {where}", _as(found[name], shape)
        gaps = [(a - b).abs().max() for a, b in zip(seen, (middle, shortcut), strict=True)]
        yield f"the change of the maps, once your function has seen them, {where}", gaps
        after = buffers(expand)
        yield (
            f"the change of the normalisation, once your function has seen it, {where}",
            [(after[name] - state[name]).abs().max() for name in state],
        )
        yield f"the mode of the normalisation afterwards {where}", expand.norm.training


def _as(found: Any, shape: tuple[int, ...]) -> Any:
    """A number for all pictures is one for each."""
    try:
        return torch.as_tensor(found, dtype=torch.get_default_dtype()).expand(shape)
    except (TypeError, ValueError, RuntimeError):
        return found


def _crediting(
    *,
    mask: Callable = lambda branch, shortcut: branch + shortcut > 0,
    scale: Callable = lambda norm: norm.weight / (norm.running_var + norm.eps).sqrt(),
    shift: Callable = lambda norm, scale: norm.bias - norm.running_mean * scale,
    row: Callable = lambda target: target,
    per_pixel: bool = True,
    interleaved: bool = False,
    apart: bool = False,
    put: Callable = lambda terms: terms,
) -> Callable:
    """`ledger` with one step exchanged. apart: the means of mask and map are multiplied, not the mean of their product."""

    def wrong(middle, shortcut, expand, classifier, target, cardinality):
        norm, weight = expand.norm, classifier.weight[row(target)]
        s = scale(norm)
        t = shift(norm, s)
        matrix = s[:, None] * expand.conv.weight[:, :, 0, 0]
        branch = torch.einsum("km,bmyx->bkyx", matrix, middle) + t[:, None, None]
        let = mask(branch, shortcut).to(middle.dtype)
        pixels = let[0, 0].numel() if per_pixel else 1
        if apart:
            let = let.mean((2, 3), keepdim=True).expand_as(let)
        price = weight[:, None, None] * let / pixels
        by_channel = torch.einsum("bkyx,km,bmyx->bm", price, matrix, middle)
        nested = by_channel.unflatten(1, (-1, cardinality) if interleaved else (cardinality, -1))
        return put(
            {
                "bias": classifier.bias[row(target)].expand(len(middle)),
                "shortcut": (price * shortcut).sum((1, 2, 3)),
                "shift": (price * t[:, None, None]).sum((1, 2, 3)),
                "groups": nested.sum(1 if interleaved else 2),
            }
        )

    return wrong


def _shared_out(name: str) -> Callable:
    """A term that belongs to no group, shared out among all: the sum stays what it is."""

    def put(terms):
        groups = terms["groups"]
        return terms | {"groups": groups + terms[name][:, None] / groups.shape[1], name: torch.zeros_like(terms[name])}

    return put


def _rectified(middle, shortcut, expand, classifier, target, cardinality):
    """A ReLU for every term by itself."""
    norm, weight = expand.norm, classifier.weight[target]
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = norm.bias - norm.running_mean * scale
    matrix = (scale[:, None] * expand.conv.weight[:, :, 0, 0]).unflatten(1, (cardinality, -1))
    groups = torch.einsum("kgm,bgmyx->bgkyx", matrix, middle.unflatten(1, (cardinality, -1))).relu()
    return {
        "bias": classifier.bias[target].expand(len(middle)),
        "shortcut": torch.einsum("k,bk->b", weight, shortcut.relu().mean((2, 3))),
        "shift": (weight @ shift.relu()).expand(len(middle)),
        "groups": torch.einsum("k,bgk->bg", weight, groups.mean((3, 4))),
    }


CHECKS = (
    Check(
        id="attention.ledger",
        minutes=12,
        difficulty="hard",
        ours=ledger,
        measure=_measure_ledger,
        mistakes={
            "that forgets the ReLU, and lets everything through": _crediting(
                mask=lambda branch, shortcut: torch.ones_like(branch)
            ),
            "whose mask looks at the branch alone, before the shortcut is added": _crediting(
                mask=lambda branch, shortcut: branch > 0
            ),
            "whose mask looks at the shortcut alone": _crediting(mask=lambda branch, shortcut: shortcut > 0),
            "that puts a ReLU on every term by itself": _rectified,
            "that multiplies the mean of the mask with the mean of the map": _crediting(apart=True),
            "that sums over the pixels, and takes no mean": _crediting(per_pixel=False),
            "in which the groups are interleaved": _crediting(interleaved=True),
            "that shares the normalisation's shift out among the groups": _crediting(put=_shared_out("shift")),
            "that shares the bias out among the groups": _crediting(put=_shared_out("bias")),
            "that shares the shortcut out among the groups": _crediting(put=_shared_out("shortcut")),
            "that divides by the variance, not by its root": _crediting(
                scale=lambda norm: norm.weight / (norm.running_var + norm.eps)
            ),
            "that forgets the normalisation's eps": _crediting(
                scale=lambda norm: norm.weight / norm.running_var.sqrt()
            ),
            "that forgets the normalisation's scale": _crediting(
                scale=lambda norm: 1 / (norm.running_var + norm.eps).sqrt()
            ),
            "whose shift forgets the running mean": _crediting(shift=lambda norm, scale: norm.bias),
            "that explains another class": _crediting(row=lambda target: target - 1),
            "that keeps only what speaks for the class": _crediting(
                put=lambda terms: terms | {"groups": terms["groups"].clamp(min=0)}
            ),
        },
        hints=(
            "Up to the ReLU everything behind the middle is a sum. What does the ReLU do to a number that it lets through?",
            (
                "In evaluation mode the normalisation multiplies channel k by s = weight / √(running_var + eps) and adds t = bias − "
                "running_mean · s. Fold s into the 1×1 convolution. The mask is where branch + shortcut > 0; a term's part of the "
                "logit is the mean over the pixels of mask · term, times the classifier's weight, summed over the channels."
            ),
            (
                "price = classifier.weight[target][:, None, None] * mask / pixels, (batch, channels, height, width). Then "
                "(price * shortcut).sum((1, 2, 3)), the same with t, and for the groups torch.einsum('bkyx,km,bmyx->bm', price, "
                "matrix, middle).unflatten(1, (cardinality, -1)).sum(2)."
            ),
        ),
    ),
)
