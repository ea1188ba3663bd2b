"""Exercises `evaluate.topk` and `evaluate.confusion`: counting what was right, and what was taken for what.

Imports the engine.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from netwright.lessons.engine import Check


def number(value: Any) -> Any:
    """An answer as a plain number, whether it came as a float, an int or a tensor of one value; NaN in words."""
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, bool) or not hasattr(value, "__float__") or isinstance(value, Tensor):
        return value
    value = float(value)
    return "not a number (NaN)" if math.isnan(value) else value


def named(found: Any, *names: str) -> Any:
    """A tuple of numbers as a mapping by these names; whatever it is instead, as it is."""
    if not isinstance(found, tuple | list) or len(found) != len(names):
        return found
    return {name: number(value) for name, value in zip(names, found, strict=True)}


# Among the k likeliest -------------------------------------------------------------------------------------------


def topk_accuracy(logits: Tensor, targets: Tensor, k: int) -> float:
    """The share of pictures whose right class is among the k likeliest. logits: (n, classes); targets: (n,)."""
    # stable: of equal logits, the class with the smaller number stays in front.
    order = logits.sort(dim=1, descending=True, stable=True).indices  # (n, classes)
    return (order[:, :k] == targets[:, None]).any(dim=1).double().mean().item()


def _measure_topk(theirs: Callable) -> Iterator[tuple[str, Any]]:
    logits, targets = torch.randn(40, 7), torch.randint(7, (40,))
    logits[torch.arange(40), targets] += 0.7  # better than chance, far from perfect
    before = logits.clone()
    for k in (1, 2, 3, 5):
        yield f"the top-{k} accuracy on 40 pictures of 7 classes", number(theirs(logits, targets, k))
    yield "the tensor of logits, once your function has seen it,", logits.clone()
    for k in (3, 5, 9):
        yield f"the top-{k} accuracy among 3 classes", number(theirs(before[:, :3].clone(), targets % 3, k))
    for k in (1, 2):
        yield (
            f"the top-{k} accuracy, on a picture of each of 4 classes, of a net that says the same of all",
            number(theirs(torch.zeros(4, 4), torch.arange(4), k)),
        )


def _places(logits: Tensor, targets: Tensor) -> Tensor:
    """The place of the right class, 0 for the likeliest: (n,)."""
    order = logits.sort(dim=1, descending=True, stable=True).indices
    return (order == targets[:, None]).int().argmax(dim=1)


def _share(right: Tensor) -> float:
    return right.double().mean().item()


def _own(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.gather(1, targets[:, None])


TOPK_MISTAKES = {
    "that looks at the k-th place only": lambda logits, targets, k: _share(_places(logits, targets) == k - 1),
    "that takes one place too many": lambda logits, targets, k: _share(_places(logits, targets) <= k),
    "that looks among the k least likely": lambda logits, targets, k: _share(_places(-logits, targets) < k),
    "that returns how many are right, and not which share": lambda logits, targets, k: float(
        (_places(logits, targets) < k).sum()
    ),
    "that returns a percentage where a share from 0 to 1 is asked for": lambda logits, targets, k: (
        100 * _share(_places(logits, targets) < k)
    ),
    "that averages over the k places as well, so that a perfect top-5 is a fifth": lambda logits, targets, k: _share(
        logits.sort(dim=1, descending=True, stable=True).indices[:, :k] == targets[:, None]
    ),
    "that takes a softmax over the pictures, where the classes are meant (dim=0)": lambda logits, targets, k: _share(
        _places(logits.softmax(dim=0), targets) < k
    ),
    "that cannot be asked for more places than there are classes": lambda logits, targets, k: _share(
        (logits.topk(k, dim=1).indices == targets[:, None]).any(dim=1)
    ),
    "that lets the right class win every tie, so that a net which says nothing is never wrong": (
        lambda logits, targets, k: _share((logits > _own(logits, targets)).sum(dim=1) < k)
    ),
    "that lets the right class lose every tie": lambda logits, targets, k: _share(
        (logits >= _own(logits, targets)).sum(dim=1) <= k
    ),
    "that overwrites the logits": lambda logits, targets, k: _share(
        _places(logits.copy_(logits.softmax(dim=1)), targets) < k
    ),
}


# What is taken for what ------------------------------------------------------------------------------------------


def confusion(targets: Tensor, answers: Tensor, classes: int) -> Tensor:
    """How often each class (row) was answered with each class (column): int64 (classes, classes)."""
    return torch.bincount(targets * classes + answers, minlength=classes**2).view(classes, classes)


def _measure_confusion(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for n, classes, used in ((3, 3, 2), (60, 5, 4), (200, 12, 12)):
        targets = torch.randint(used, (n,))
        answers = torch.where(torch.rand(n) < 0.6, targets, (targets + torch.randint(1, 3, (n,))) % used)
        if n == 3:  # small enough to follow with a finger
            targets, answers = torch.tensor([0, 0, 0]), torch.tensor([1, 1, 0])
        found = theirs(targets.clone(), answers.clone(), classes)
        yield f"the matrix of {n} answers in {classes} classes, of which {used} occur,", _tensor(found)
    yield "the sum of all its numbers", number(_tensor(found).sum())


def _tensor(value: Any) -> Any:
    """Lists and arrays as tensors; anything else as it is."""
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        return value


def _by_index(targets: Tensor, answers: Tensor, classes: int) -> Tensor:
    matrix = torch.zeros(classes, classes, dtype=torch.int64)
    matrix[targets, answers] += 1
    return matrix


def _no_diagonal(targets: Tensor, answers: Tensor, classes: int) -> Tensor:
    return confusion(targets, answers, classes).fill_diagonal_(0)


def _normalised(dim: int) -> Callable:
    def wrong(targets, answers, classes):
        matrix = confusion(targets, answers, classes).double()
        return matrix / matrix.sum(dim=dim, keepdim=True).clamp(min=1)

    return wrong


def _only_used(targets: Tensor, answers: Tensor, classes: int) -> Tensor:
    return confusion(targets, answers, 1 + int(max(targets.max(), answers.max())))


CONFUSION_MISTAKES = {
    "with the answers in the rows and the right classes in the columns": lambda targets, answers, classes: confusion(
        answers, targets, classes
    ),
    "where a pair that comes twice counts once: matrix[targets, answers] += 1 adds to each place one time": _by_index,
    "without the right answers on its diagonal": _no_diagonal,
    "of the right answers only": lambda targets, answers, classes: confusion(targets, answers, classes).diag().diag(),
    "of shares of each row, where counts are asked for": _normalised(1),
    "of shares of each column, where counts are asked for": _normalised(0),
    "that leaves out the classes behind the last one that occurs, and so changes its shape with the pictures": _only_used,
    "that adds up both directions, and no longer tells which class was taken for which": lambda t, a, c: (
        confusion(t, a, c) + confusion(a, t, c)
    ),
}

CHECKS = (
    Check(
        id="evaluate.topk",
        minutes=5,
        difficulty="easy",
        ours=topk_accuracy,
        measure=_measure_topk,
        mistakes=TOPK_MISTAKES,
        hints=(
            (
                "Sort the classes of each picture from the likeliest down. The first k of that list are allowed; is the right "
                "class among them? The mean over the pictures of yes (1) and no (0) is the share."
            ),
            (
                "logits.sort(dim=1, descending=True, stable=True).indices has, for each picture, the numbers of the classes "
                "in that order. stable keeps the smaller number in front where two are equal, which torch.topk does not promise."
            ),
            (
                "order[:, :k] == targets[:, None] compares every place with the right class, and .any(dim=1) asks for one "
                "of them. A slice may ask for more than there is."
            ),
        ),
    ),
    Check(
        id="evaluate.confusion",
        minutes=5,
        difficulty="easy",
        ours=confusion,
        measure=_measure_confusion,
        mistakes=CONFUSION_MISTAKES,
        hints=(
            (
                "Row: the class that it is. Column: the class that was said. Every picture adds 1 in one place, and so the "
                "sum of a row is how many pictures of that class there are."
            ),
            (
                "A loop over zip(targets.tolist(), answers.tolist()) is enough. Beware of matrix[targets, answers] += 1: it "
                "reads, adds and writes back, all at once, and pictures that meet in one place overwrite each other."
            ),
            (
                "Without a loop: number the places of the matrix in reading order, targets * classes + answers, let "
                "torch.bincount(…, minlength=classes**2) count them, and give the result its shape by .view(classes, classes)."
            ),
        ),
    ),
)
