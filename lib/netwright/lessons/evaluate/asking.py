"""Exercise `evaluate.loop`: ask a net about every picture once, and leave it as it was found. Imports the engine."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netwright.lessons.engine import Check
from netwright.lessons.evaluate.counting import named


def evaluate(net: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """(top-1, mean loss) of `net` over batches of (images, targets); afterwards the net is as it was before."""
    training = [module for module in net.modules() if module.training]  # a net may be frozen in part
    net.eval()
    right, loss, count = 0, 0.0, 0
    with torch.no_grad():
        for images, targets in batches:
            logits = net(images)
            right += (logits.argmax(dim=1) == targets).sum().item()
            loss += F.cross_entropy(logits, targets, reduction="sum").item()
            count += len(targets)
    for module in training:
        module.training = True
    return right / count, loss / count


class Probe(nn.Module):
    """Passes its input on, and notes whether autograd is keeping a record of it."""

    def __init__(self):
        super().__init__()
        self.recorded = False

    def forward(self, x: Tensor) -> Tensor:
        self.recorded |= x.requires_grad
        return x


def small_net() -> nn.Sequential:
    """With what behaves in training as it does not afterwards: BatchNorm and dropout."""
    net = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), Probe(), nn.Dropout(0.5), nn.Linear(12, 4))
    norm = net[1]
    norm.running_mean.normal_(0.0, 0.5)
    norm.running_var.uniform_(0.2, 3.0)
    return net


def _measure(theirs: Callable) -> Iterator[tuple[str, Any]]:
    sizes = (8, 8, 3)
    images, targets = torch.randn(sum(sizes), 6), torch.randint(4, (sum(sizes),))
    batches = list(zip(images.split(sizes), targets.split(sizes), strict=True))
    for state in ("evaluation", "training"):
        net = small_net().train(state == "training")
        before = {name: buffer.clone() for name, buffer in net.named_buffers()}
        found = theirs(net, iter(batches))
        where = f"of a net that comes in {state} mode, over batches of 8, 8 and 3 pictures"
        yield f"the pair of figures {where},", named(found, "top-1", "mean loss")
        after = dict(net.named_buffers())
        if state == "training":
            yield (
                "how far BatchNorm's statistics have moved",
                max((after[name] - buffer).abs().max().item() for name, buffer in before.items()),
            )
            yield "whether the net is back in training mode", net.training and net[1].training and net[4].training
            yield "whether gradients were recorded while it was asked", net[3].recorded
        else:
            yield "whether the net is still in evaluation mode", not net.training
    net = small_net().train()
    net[1].eval()  # frozen, as in notebook 10
    theirs(net, iter(batches))
    frozen = [not net[1].training, net[4].training, net.training]
    yield (
        "the list of the frozen BatchNorm in evaluation mode, the dropout in training mode, the net in training mode",
        frozen,
    )


def _evaluate(
    *, mode="eval", restore="parts", record=False, top1="pictures", loss="pictures", drop_last=False, only_last=False
) -> Callable:
    """`evaluate` with one thing wrong in it."""

    def wrong(net, batches):
        training = [module for module in net.modules() if module.training]
        whole = net.training
        if mode == "eval":
            net.eval()
        hits, losses, sizes = [], [], []
        with torch.set_grad_enabled(record):
            for images, targets in batches:
                logits = net(images)
                hits.append((logits.argmax(dim=1) == targets).sum().item())
                losses.append(F.cross_entropy(logits, targets, reduction="sum").item())
                sizes.append(len(targets))
        if restore == "parts":
            for module in training:
                module.training = True
        elif restore == "whole":
            net.train(whole)
        elif restore == "train":
            net.train()
        if drop_last and sizes[-1] < sizes[0]:
            hits, losses, sizes = hits[:-1], losses[:-1], sizes[:-1]
        if only_last:
            hits, losses, sizes = hits[-1:], losses[-1:], sizes[-1:]
        return _mean(hits, sizes, top1), _mean(losses, sizes, loss)

    return wrong


def _mean(values: list[float], sizes: list[int], over: str) -> float:
    if over == "batches":
        return sum(value / size for value, size in zip(values, sizes, strict=True)) / len(sizes)
    if over == "equal batches":
        return sum(values) / (len(sizes) * sizes[0])
    if over == "sum":
        return sum(values)
    return sum(values) / sum(sizes)


CHECKS = (
    Check(
        id="evaluate.loop",
        minutes=10,
        difficulty="medium",
        ours=evaluate,
        measure=_measure,
        mistakes={
            "that takes the mean of the batches' means: three pictures in the last batch weigh as much as eight": _evaluate(
                top1="batches", loss="batches"
            ),
            "whose top-1 is right, and whose loss is the mean of the batches' means": _evaluate(loss="batches"),
            "whose loss is right, and whose top-1 is the mean of the batches' means": _evaluate(top1="batches"),
            "that takes every batch to be as large as the first": _evaluate(top1="equal batches", loss="equal batches"),
            "that leaves the last, smaller batch out": _evaluate(drop_last=True),
            "that tells the figures of the last batch": _evaluate(only_last=True),
            "that returns the sum of the losses, not their mean": _evaluate(loss="sum"),
            "that asks the net in the mode in which it comes: net.eval() is missing": _evaluate(mode="as it is"),
            "that leaves the net in evaluation mode": _evaluate(restore="never"),
            "that puts every net into training mode at its end, whatever it was before": _evaluate(restore="train"),
            "that puts the whole net back into training mode, parts that were frozen included": _evaluate(
                restore="whole"
            ),
            "that records gradients that nobody will use, which takes memory and time: torch.no_grad() is missing": (
                _evaluate(record=True)
            ),
        },
        hints=(
            (
                "Add up over the pictures, and divide once at the end. What a batch can give you: how many are right, the "
                'sum of its losses (F.cross_entropy(…, reduction="sum")), how many pictures it has.'
            ),
            (
                "Before the loop: note which modules are in training mode, then net.eval(). Around the loop: torch.no_grad(). "
                "After it: give those modules, and no others, their training mode back."
            ),
            (
                "training = [module for module in net.modules() if module.training]; at the end, module.training = True for "
                "each of them. net.train() would also thaw what somebody has frozen."
            ),
        ),
    ),
)
