"""Exercises `finetune.groups` and `finetune.rate`: which parameter learns how fast, and when.

Imports the engine, tune.optimisers and, of this room, trials.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from netwright.lessons.engine import Check
from netwright.lessons.finetune.trials import small_net
from netwright.tune.optimisers import layer_numbers

# Which parameter -----------------------------------------------------------------------------------------------------


def groups(net: nn.Module, weight_decay: float, layer_decay: float) -> list[dict]:
    """Parameter groups for an optimiser: every trained parameter once, with its weight_decay and its lr_scale."""
    layers = layer_numbers(net)
    top = max(layers.values())
    return [
        {
            "params": [parameter],
            "weight_decay": 0.0 if parameter.ndim <= 1 else weight_decay,
            "lr_scale": layer_decay ** (top - layers[name]),
        }
        for name, parameter in net.named_parameters()
        if parameter.requires_grad
    ]


def _measure_groups(theirs: Callable) -> Iterator[tuple[str, Any]]:
    """How the groups treat each parameter, however they are cut."""
    for frozen in ((), ("stem",)):
        net = small_net()
        for part in frozen:
            net.get_submodule(part).requires_grad_(False)
        where = "where the stem is frozen" if frozen else "where all is trained"
        found = _by_name(net, theirs(net, 0.05, 0.75))
        yield f"the number of groups that a parameter is in, {where},", {name: len(its) for name, its in found.items()}
        for what in ("lr_scale", "weight_decay"):
            its = {name: groups[0].get(what) for name, groups in found.items() if groups}
            its = {name: value if value is None else float(value) for name, value in its.items()}
            yield f"the {what} of the parameters, {where},", its


def _by_name(net: nn.Module, theirs: list[dict]) -> dict[str, list[dict]]:
    """The groups that each parameter is in, by its name."""
    found = {name: [] for name, _ in net.named_parameters()}
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    for group in theirs:
        some = group["params"]
        for parameter in [some] if isinstance(some, nn.Parameter) else some:
            found[names[id(parameter)]].append(group)
    return found


def _groups(
    *,
    scale=lambda layer, top, decay: decay ** (top - layer),
    decay=lambda name, parameter, scale: parameter.ndim > 1,
    skip=lambda name, parameter: not parameter.requires_grad,
    layers=layer_numbers,
    twice=lambda parameter: False,
):
    """`groups` with one thing wrong in it."""

    def wrong(net, weight_decay, layer_decay):
        numbers, made = layers(net), []
        top = max(numbers.values())
        for name, parameter in net.named_parameters():
            if skip(name, parameter):
                continue
            its = scale(numbers[name], top, layer_decay)
            share = float(decay(name, parameter, its))
            group = {"params": [parameter], "weight_decay": weight_decay * share, "lr_scale": its}
            made += [group, group | {"weight_decay": 0.0}] if twice(parameter) else [group]
        return made

    return wrong


def _stages(net: nn.Module) -> dict[str, int]:
    """Depth by stages, not by blocks."""
    order = {"stem": 0, "stages": 1, "classifier": len(net.stages) + 1}
    return {
        name: order[name.split(".")[0]] + (int(name.split(".")[1]) if name.startswith("stages") else 0)
        for name, _ in net.named_parameters()
    }


GROUPS_MISTAKES = {
    "where the first layers learn fastest and the classifier slowest": _groups(
        scale=lambda layer, top, decay: decay**layer
    ),
    "where the classifier is slowed down as well: the count starts one too deep": _groups(
        scale=lambda layer, top, decay: decay ** (top + 1 - layer)
    ),
    "where the rate falls by the same amount from layer to layer, not by the same factor": _groups(
        scale=lambda layer, top, decay: 1 - (1 - decay) * (top - layer)
    ),
    "where all layers learn alike": _groups(scale=lambda layer, top, decay: 1.0),
    "that counts stages, so that all blocks of a stage learn alike": _groups(layers=_stages),
    "where weight decay pulls at scales, shifts and biases too": _groups(decay=lambda name, parameter, scale: True),
    "that spares what is called bias, and still pulls at the scales of the normalisations": _groups(
        decay=lambda name, parameter, scale: not name.endswith("bias")
    ),
    "where weight decay pulls at the vectors and spares the rest": _groups(
        decay=lambda name, parameter, scale: parameter.ndim <= 1
    ),
    "in which weight decay shrinks with the rate, layer by layer": _groups(
        decay=lambda name, parameter, scale: scale if parameter.ndim > 1 else 0
    ),
    "that hands frozen parameters to the optimiser": _groups(skip=lambda name, parameter: False),
    "that forgets the classifier, the one part that knows nothing yet": _groups(
        skip=lambda name, parameter: not parameter.requires_grad or name.startswith("classifier")
    ),
    "in which vectors stand twice, once with weight decay and once without": _groups(
        decay=lambda name, parameter, scale: True, twice=lambda parameter: parameter.ndim <= 1
    ),
}

# When ----------------------------------------------------------------------------------------------------------------


def rate(step: int, *, steps: int, warmup: int, peak: float, last: float) -> float:
    """The learning rate of a step: in a straight line from 0 up to `peak`, then along half a cosine down to `last`."""
    if step < warmup:
        return peak * step / warmup
    share = min(1.0, (step - warmup) / (steps - warmup))
    return last + (peak - last) * (1 + math.cos(math.pi * share)) / 2


def _measure_rate(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for steps, warmup, peak, last in ((40, 8, 0.5, 0.02), (30, 0, 0.1, 0.0)):
        where = f"with {steps} steps, of which {warmup} are warm-up, a peak of {peak} and {last} at the end"
        for step in (0, 1, warmup // 2, warmup, warmup + 1, (warmup + steps) // 2, steps - 1, steps, steps + 9):
            told = theirs(step, steps=steps, warmup=warmup, peak=peak, last=last)
            yield f"the rate of step {step} {where}", float(told)


def _cosine(share: float, peak: float, last: float) -> float:
    return last + (peak - last) * (1 + math.cos(math.pi * share)) / 2


def _rate(warm=lambda step, warmup, peak: peak * step / warmup, fall=None, share=None):
    """`rate` with another warm-up, another fall, or another share of the way down."""

    def wrong(step, *, steps, warmup, peak, last):
        if step < warmup:
            return warm(step, warmup, peak)
        way = (step - warmup) / (steps - warmup) if share is None else share(step, steps, warmup)
        return (fall or _cosine)(min(1.0, way), peak, last)

    return wrong


def _no_end(step, *, steps, warmup, peak, last):
    if step < warmup:
        return peak * step / warmup
    return _cosine((step - warmup) / (steps - warmup), peak, last)


def _no_warmup(step, *, steps, warmup, peak, last):
    return _cosine(min(1.0, step / steps), peak, last)


RATE_MISTAKES = {
    "without a warm-up: it begins at the peak": _no_warmup,
    "whose warm-up counts from 1, so that it is one step ahead": _rate(
        warm=lambda step, warmup, peak: peak * (step + 1) / warmup
    ),
    "whose warm-up rises along a curve, not in a straight line": _rate(
        warm=lambda step, warmup, peak: peak * (1 - math.cos(math.pi * step / warmup)) / 2
    ),
    "that jumps to the peak after standing at 0": _rate(warm=lambda step, warmup, peak: 0.0),
    "whose cosine has been running unseen since step 0, and takes over in mid-fall (timm's way, by default)": _rate(
        share=lambda step, steps, warmup: step / steps
    ),
    "whose cosine starts after the warm-up and is as long as the whole training": _rate(
        share=lambda step, steps, warmup: (step - warmup) / steps
    ),
    "that goes on along the cosine after the end, and rises again": _no_end,
    "that falls in a straight line": _rate(fall=lambda share, peak, last: peak + (last - peak) * share),
    "that falls along a quarter of a cosine, steeply at the end": _rate(
        fall=lambda share, peak, last: last + (peak - last) * math.cos(math.pi / 2 * share)
    ),
    "that falls along a whole cosine, down and up again": _rate(
        fall=lambda share, peak, last: last + (peak - last) * (1 + math.cos(2 * math.pi * share)) / 2
    ),
    "that falls to 0 and forgets where it should end": _rate(
        fall=lambda share, peak, last: peak * (1 + math.cos(math.pi * share)) / 2
    ),
    "that adds the last rate to the whole curve": _rate(
        fall=lambda share, peak, last: last + peak * (1 + math.cos(math.pi * share)) / 2
    ),
}

CHECKS = (
    Check(
        id="finetune.groups",
        minutes=8,
        difficulty="medium",
        ours=groups,
        measure=_measure_groups,
        mistakes=GROUPS_MISTAKES,
        hints=(
            (
                "One group a parameter is enough: a list of dictionaries with params, weight_decay and lr_scale. Go through "
                "net.named_parameters(), and leave out those whose requires_grad is False."
            ),
            (
                "layer_numbers(net)[name] is 0 for the stem and largest for the classifier, whose lr_scale is 1. One layer "
                "below it is layer_decay, two layers below layer_decay times layer_decay."
            ),
            (
                "lr_scale is layer_decay ** (top - layer), with top = max(layer_numbers(net).values()). What is spared are "
                "the vectors, parameter.ndim <= 1: by name you would miss the scales, which are called weight."
            ),
        ),
    ),
    Check(
        id="finetune.rate",
        minutes=5,
        difficulty="easy",
        ours=rate,
        measure=_measure_rate,
        mistakes=RATE_MISTAKES,
        hints=(
            (
                "Two cases: step < warmup, and the rest. In the first, which share of the way up has been gone at step 0, and "
                "at step warmup?"
            ),
            (
                "In the second, share = (step - warmup) / (steps - warmup) goes from 0 to 1. Half a cosine goes from 1 to -1 "
                "while share goes from 0 to 1: cos(pi * share). Move and squeeze it to go from peak to last."
            ),
            (
                "last + (peak - last) * (1 + cos(pi * share)) / 2, with min(1, share), since after the end the rate is that of "
                "the end."
            ),
        ),
    ),
)
