"""Exercise `attention.knock_out`: what a cardinal group is worth to each logit. Imports the engine, trying and nets."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from netwright.lessons.engine import Check
from netwright.lessons.trying import Numbers, fill
from netwright.nets.layers import ConvNormAct


def knock_out(tail: Callable[[Tensor], Tensor], middle: Tensor, others: Tensor, cardinality: int) -> Tensor:
    """How the logits change when one cardinal group no longer says anything about this picture.

    tail: the rest of the net, (n, channels, height, width) to logits (n, classes); middle: (channels, height, width),
    what came out of the grouped convolution for a picture; others: (pictures, channels, height, width), for some others.
    Each group in turn is replaced, channel by channel, by its mean over the others and over their pixels. Returns
    (cardinality, classes): the logits then, less the logits as they were.
    """
    mean = others.mean((0, 2, 3))[:, None, None].expand_as(middle)  # (channels, height, width)
    variants = torch.stack([middle] * (cardinality + 1))  # the last is left as it was
    width = len(middle) // cardinality
    for group in range(cardinality):
        own = slice(group * width, (group + 1) * width)
        variants[group, own] = mean[own]
    logits = tail(variants)
    return logits[:-1] - logits[-1]


# channels, cardinality, height, width, classes, other pictures
NETS = ((6, 3, 2, 3, 4, 5), (8, 2, 3, 1, 3, 2), (4, 4, 2, 2, 5, 3), (9, 3, 4, 3, 2, 4))


def _measure_knock_out(theirs: Callable) -> Iterator[tuple[str, Any]]:
    numbers = Numbers()
    for channels, cardinality, height, width, classes, pictures in NETS:
        tail = _Tail(channels, classes)
        middle = numbers(channels, height, width).relu()
        others = numbers(pictures, channels, height, width).relu() + 0.3
        seen = middle.clone(), others.clone()
        where = f"of {cardinality} groups of {channels // cardinality} channels, and maps of {height}×{width}"
        yield f"the change of the logits {where}", theirs(tail, *seen, cardinality).detach().clone()
        yield f"the answer to whether the tail ran at most twice, {where},", tail.calls <= 2
        gaps = [(a - b).abs().max() for a, b in zip(seen, (middle, others), strict=True)]
        yield f"the change of the maps, once your function has seen them, {where}", gaps


class _Tail(nn.Module):
    """The rest of a net, small, and not linear; counts how often it runs."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.expand, self.classifier, self.calls = ConvNormAct(channels, 7, 3, act="relu"), nn.Linear(7, classes), 0
        fill(self)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.classifier(self.expand(x).mean((2, 3)))


def _without(
    *,
    mean: Callable = lambda middle, others: others.mean((0, 2, 3))[:, None, None].expand_as(middle),
    chosen: Callable | None = None,
    change: Callable = lambda logits: logits[:-1] - logits[-1],
    adding_up: bool = False,
) -> Callable:
    """`knock_out` with one step exchanged. chosen: (channels, cardinality, group) -> which channels are replaced."""

    def own(channels, cardinality, group):
        return torch.arange(channels) // (channels // cardinality) == group

    def wrong(tail, middle, others, cardinality):
        stand_in = mean(middle, others)
        variants = torch.stack([middle] * (cardinality + 1))
        for group in range(cardinality):
            for later in range(group, cardinality) if adding_up else (group,):
                which = (chosen or own)(len(middle), cardinality, group)
                variants[later, which] = stand_in[which]
        return change(tail(variants))

    return wrong


def _group_means(middle: Tensor, others: Tensor, cardinality: int) -> Tensor:
    by_group = others.mean((0, 2, 3)).unflatten(0, (cardinality, -1)).mean(1, keepdim=True)
    return by_group.expand(-1, len(middle) // cardinality).flatten()[:, None, None].expand_as(middle)


def _one_number_a_group(tail, middle, others, cardinality):
    return _without(mean=lambda middle, others: _group_means(middle, others, cardinality))(
        tail, middle, others, cardinality
    )


def _one_at_a_time(tail, middle, others, cardinality):
    return torch.cat([knock_out(tail, middle, others, cardinality)[g : g + 1] for g in range(cardinality)])


def _overwrites(tail, middle, others, cardinality):
    before, mean, found = tail(middle[None])[0], others.mean((0, 2, 3))[:, None, None], []
    variants, width = [], len(middle) // cardinality
    for group in range(cardinality):
        own = slice(group * width, (group + 1) * width)
        middle[own] = mean[own].expand_as(middle[own])
        variants.append(middle)
    found = tail(torch.stack(variants))
    return found - before


CHECKS = (
    Check(
        id="attention.knock_out",
        minutes=8,
        difficulty="medium",
        ours=knock_out,
        measure=_measure_knock_out,
        mistakes={
            "that puts zeros in the group's place": _without(mean=lambda middle, others: torch.zeros_like(middle)),
            "that puts the picture's own mean in its place": _without(
                mean=lambda middle, others: middle.mean((1, 2))[:, None, None].expand_as(middle)
            ),
            "that keeps the places apart, and takes the mean over the pictures alone": _without(
                mean=lambda middle, others: others.mean(0)
            ),
            "that puts the first of the others in its place": _without(mean=lambda middle, others: others[0]),
            "that takes the median of the others": _without(
                mean=lambda middle, others: (
                    others.transpose(0, 1).flatten(1).median(1).values[:, None, None].expand_as(middle)
                )
            ),
            "that takes one number for all the channels of a group": _one_number_a_group,
            "that removes everything but the group": _without(
                chosen=lambda channels, cardinality, group: torch.arange(channels) // (channels // cardinality) != group
            ),
            "in which the groups are interleaved": _without(
                chosen=lambda channels, cardinality, group: torch.arange(channels) % cardinality == group
            ),
            "that removes a single channel": _without(
                chosen=lambda channels, cardinality, group: torch.arange(channels) == group
            ),
            "that leaves out one group after the other, and puts none back": _without(adding_up=True),
            "with the sign the other way round": _without(change=lambda logits: logits[-1] - logits[:-1]),
            "that returns the logits, not their change": _without(change=lambda logits: logits[:-1]),
            "that measures the change of the probabilities": _without(
                change=lambda logits: logits.softmax(-1)[:-1] - logits.softmax(-1)[-1]
            ),
            "that runs the tail once for every group": _one_at_a_time,
            "that overwrites the map, so that every variant is the last": _overwrites,
        },
        hints=(
            "What would a group say about a picture of which it knows nothing?",
            (
                "One batch holds all variants: the map, copied once for each group and once more for the answer as it was. In copy "
                "g the channels of group g get their mean over the other pictures and all pixels."
            ),
            (
                "variants = torch.stack([middle] * (cardinality + 1)); own = slice(g * width, (g + 1) * width); variants[g, own] = "
                "others.mean((0, 2, 3))[own, None, None]; then logits = tail(variants) and logits[:-1] - logits[-1]."
            ),
        ),
    ),
)
