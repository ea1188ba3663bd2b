"""Exercises `finetune.step` and `finetune.accumulate`: one optimiser step from its parts, and a batch in pieces.

Imports the engine and, of this room, trials; tune.ema.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from netwright.lessons.engine import Check
from netwright.lessons.finetune.trials import number, numbers, pictures, plain_net, small_net
from netwright.tune.ema import Ema

# One step ----------------------------------------------------------------------------------------------------------


def step(
    net: nn.Module,
    optimiser: Optimizer,
    loss: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    targets: Tensor,
    *,
    rate: float,
    clip_norm: float,
    ema: Ema,
) -> float:
    """One step of the training; returns the loss that the net had on this batch before it."""
    net.train()
    for group in optimiser.param_groups:
        group["lr"] = rate * group["lr_scale"]
    value = loss(net(images), targets)
    value.backward()
    nn.utils.clip_grad_norm_(net.parameters(), clip_norm)
    optimiser.step()
    optimiser.zero_grad()
    ema.update(net)
    return value.item()


RATES = (0.4, 0.1, 0.3)


def _measure_step(theirs: Callable) -> Iterator[tuple[str, Any]]:
    """Three steps at three rates, with a validation before each: it leaves the net in evaluation mode."""
    net = small_net()
    groups = [
        {"params": [p for name, p in net.named_parameters() if not name.startswith("classifier")], "lr_scale": 0.5},
        {"params": list(net.classifier.parameters()), "lr_scale": 1.0},
    ]
    optimiser = torch.optim.SGD(groups, lr=0.05, momentum=0.9)
    ema = Ema(net, 0.9)
    images, targets = pictures(12)
    for i, rate in enumerate(RATES):
        some = slice(4 * i, 4 * i + 4)
        net.eval()
        told = theirs(net, optimiser, F.cross_entropy, images[some], targets[some], rate=rate, clip_norm=0.1, ema=ema)
        where = ("the first step", "the second step", "the third step")[i]
        yield f"the loss that {where} returned", number(told)
        yield f"the net after {where}", numbers(net)
        yield f"the average after {where}", numbers(ema.net)


def _step(
    *,
    train=True,
    rate=True,
    before=None,
    clip=lambda net, norm: nn.utils.clip_grad_norm_(net.parameters(), norm),
    clear=True,
    average="after",
    told="before",
    logits=lambda x: x,
):
    """A step with one thing wrong in it."""

    def wrong(net, optimiser, loss, images, targets, *, clip_norm, ema, **options):
        if train:
            net.train()
        if rate is True:
            _set_rate(optimiser, options["rate"])
        elif rate == "alike":
            for group in optimiser.param_groups:
                group["lr"] = options["rate"]
        value = loss(logits(net(images)), targets)
        value.backward()
        if before == "clear":
            optimiser.zero_grad()
        clip(net, clip_norm)
        if average == "before":
            ema.update(net)
        optimiser.step()
        if clear:
            optimiser.zero_grad()
        if average == "after":
            ema.update(net)
        if rate == "late":
            _set_rate(optimiser, options["rate"])
        if told == "after":
            with torch.no_grad():
                return loss(net(images), targets).item()
        return None if told is None else value.item()

    return wrong


def _set_rate(optimiser: Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate * group["lr_scale"]


def _clip_each(net: nn.Module, norm: float) -> None:
    for parameter in net.parameters():
        nn.utils.clip_grad_norm_([parameter], norm)


STEP_MISTAKES = {
    "that leaves the net in evaluation mode, as the validation had left it": _step(train=False),
    "that never clears the gradients, so that each step repeats all those before it": _step(clear=False),
    "that clears the gradients before the optimiser has seen them, so that nothing is learned": _step(before="clear"),
    "whose clipping comes to nothing: there is none, or it comes before backward or after the optimiser's step": _step(
        clip=lambda net, norm: None
    ),
    "that clips the gradient of each tensor by itself, which turns the whole gradient": _step(clip=_clip_each),
    "that clips every number to the bound, which turns the whole gradient": _step(
        clip=lambda net, norm: nn.utils.clip_grad_value_(net.parameters(), norm)
    ),
    "that gives all groups the same rate and forgets their lr_scale": _step(rate="alike"),
    "that leaves the optimiser's rate as it was": _step(rate=None),
    "that sets the rate after the step, so that every step is made at the rate of the one before": _step(rate="late"),
    "that updates the average before the step, so that it always lags one behind": _step(average="before"),
    "that forgets the average": _step(average=None),
    "that hands the loss probabilities where it wants logits": _step(logits=lambda x: x.softmax(1)),
    "that tells the loss after the step": _step(told="after"),
    "that does not return the loss": _step(told=None),
}

# A batch in pieces -------------------------------------------------------------------------------------------------


def accumulate(
    net: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], images: Tensor, targets: Tensor, parts: int
) -> float:
    """Leave in `net` the gradient of the mean loss over the whole batch, worked off in parts; returns that loss."""
    total = 0.0
    for some, theirs in zip(images.chunk(parts), targets.chunk(parts), strict=True):
        value = loss(net(some), theirs) * (len(some) / len(images))
        value.backward()
        total += value.item()
    return total


def _measure_accumulate(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for count, parts in ((10, 3), (8, 4), (5, 1)):
        net = plain_net()
        seen, backwards = [], []
        net.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(len(inputs[0])))
        net[-1].bias.register_post_accumulate_grad_hook(lambda p, backwards=backwards: backwards.append(1))
        images, targets = pictures(count, side=8)
        told = theirs(net, F.cross_entropy, images, targets, parts)
        where = f"{count} pictures in {parts} part{'s' * (parts != 1)}"
        yield f"the gradient of {where}", {name: p.grad for name, p in net.named_parameters()}
        yield f"the loss of {where}", number(told)
        yield f"the largest number of pictures that the net held at once, of {where},", max(seen, default=0)
        yield f"the number of backward passes for {where}", len(backwards)


def _accumulate(*, weigh=lambda some, whole, parts: len(some) / len(whole), clear=False, last=False, first=False):
    """`accumulate` with one thing wrong in it."""

    def wrong(net, loss, images, targets, parts):
        total, pieces = 0.0, list(zip(images.chunk(parts), targets.chunk(parts), strict=True))
        if first and len(images) % parts:
            pieces = pieces[:-1]
        for place, (some, its) in enumerate(pieces):
            if clear:
                net.zero_grad()
            value = loss(net(some), its) * weigh(some, images, parts)
            total += value.item()
            if not last or place == len(pieces) - 1:
                value.backward()
        return total

    return wrong


def _all_at_once(net, loss, images, targets, parts):
    value = loss(net(images), targets)
    value.backward()
    return value.item()


def _one_backward(net, loss, images, targets, parts):
    pieces = zip(images.chunk(parts), targets.chunk(parts), strict=True)
    value = sum(loss(net(some), its) * (len(some) / len(images)) for some, its in pieces)
    value.backward()
    return value.item()


def _only_told(net, loss, images, targets, parts):
    total = 0.0
    for some, its in zip(images.chunk(parts), targets.chunk(parts), strict=True):
        value = loss(net(some), its)
        value.backward()
        total += value.item() * len(some) / len(images)
    return total


ACCUMULATE_MISTAKES = {
    "that adds the parts up as they are, so that the gradient is as many times too large as there are parts": (
        _accumulate(weigh=lambda some, whole, parts: 1)
    ),
    "that counts every part alike, so that a picture in a smaller part counts for more": _accumulate(
        weigh=lambda some, whole, parts: 1 / parts
    ),
    "that clears the gradients between the parts, so that only the last one is left": _accumulate(clear=True),
    "that goes backward for the last part only": _accumulate(last=True),
    "that leaves out the last part where it is not as large as the others": _accumulate(first=True),
    "that shows the net the whole batch at once, so that no memory is saved": _all_at_once,
    "that goes backward once, at the end, and holds all parts in memory until then": _one_backward,
    "that weighs the loss it tells but not the one it goes backward from": _only_told,
}

CHECKS = (
    Check(
        id="finetune.step",
        minutes=10,
        difficulty="medium",
        ours=step,
        measure=_measure_step,
        mistakes=STEP_MISTAKES,
        hints=(
            (
                "Eight things, each a line or two: mode, rates, forward and loss, backward, clipping, the optimiser's step, "
                "clearing the gradients, the average. Which of them must come before which?"
            ),
            (
                "backward adds to the gradients that are there. So they are cleared once a step: at the very beginning, or "
                "when the optimiser has used them. Clipping shortens the whole gradient, which has to be there and must not "
                "have been used yet: nn.utils.clip_grad_norm_(net.parameters(), clip_norm)."
            ),
            (
                'group["lr"] = rate * group["lr_scale"] for every group in optimiser.param_groups; net.train() first, '
                "because whoever validated has left the net in evaluation mode; ema.update(net) last, and value.item() is "
                "the loss as a number."
            ),
        ),
    ),
    Check(
        id="finetune.accumulate",
        minutes=6,
        difficulty="hard",
        ours=accumulate,
        measure=_measure_accumulate,
        mistakes=ACCUMULATE_MISTAKES,
        hints=(
            (
                "images.chunk(parts) cuts a batch; the last piece may be smaller. A loss is the mean over its own piece: how "
                "do you put means of pieces together to the mean of the whole?"
            ),
            (
                "A mean times the number of its pictures is a sum. So each piece's loss is weighed by its share of the "
                "pictures, len(piece) / len(images), before backward."
            ),
            (
                "backward inside the loop: gradients add up by themselves, and what a piece needed is freed. Clear nothing in "
                "between. The loss to be returned is the sum of the weighed ones."
            ),
        ),
    ),
)
