"""Exercise `finetune.mix`: two pictures in one, and what their target is. Imports the engine and, of this room, trials."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from netwright.lessons.engine import Check
from netwright.lessons.finetune.trials import pictures


def mix(images: Tensor, targets: Tensor, *, share: float, classes: int, smoothing: float) -> tuple[Tensor, Tensor]:
    """Each picture blended with its mirror image in the batch, the first with the last; and the targets alike.

    images: (batch, channels, height, width); targets: class numbers (batch,), which become probabilities (batch, classes).
    """
    soft = F.one_hot(targets, classes) * (1 - smoothing) + smoothing / classes
    return share * images + (1 - share) * images.flip(0), share * soft + (1 - share) * soft.flip(0)


def _measure(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for count, share, smoothing in ((5, 0.7, 0.0), (6, 0.25, 0.1)):
        images, targets = pictures(count, side=4)
        before = images.clone()
        where = f"of {count} pictures with a share of {share} and a smoothing of {smoothing}"
        mixed, soft = theirs(images, targets, share=share, classes=7, smoothing=smoothing)
        yield f"the blend {where}", mixed
        yield f"the targets {where}", soft
        yield f"the input {where}, once your function has seen it,", images
        yield f"the difference of the input {where} to what it was", (images - before).abs().max()


def _soft(targets: Tensor, classes: int, smoothing: float) -> Tensor:
    return F.one_hot(targets, classes) * (1 - smoothing) + smoothing / classes


def _mix(
    *,
    pictures=lambda images, share: share * images + (1 - share) * images.flip(0),
    targets=lambda soft, share: share * soft + (1 - share) * soft.flip(0),
    soft=_soft,
):
    """`mix` with one thing wrong in it."""

    def wrong(images, numbers, *, share, classes, smoothing):
        return pictures(images, share), targets(soft(numbers, classes, smoothing), share)

    return wrong


def _next(x: Tensor, share: float) -> Tensor:
    return share * x + (1 - share) * x.roll(1, 0)


def _in_place(images: Tensor, share: float) -> Tensor:
    partners = images.flip(0)
    return images.mul_(share).add_(partners, alpha=1 - share)


def _others_only(targets: Tensor, classes: int, smoothing: float) -> Tensor:
    hard = F.one_hot(targets, classes)
    return hard * (1 - smoothing) + (1 - hard) * smoothing / (classes - 1)


def _sum_too_large(targets: Tensor, classes: int, smoothing: float) -> Tensor:
    return F.one_hot(targets, classes) + smoothing / classes


CHECKS = (
    Check(
        id="finetune.mix",
        minutes=5,
        difficulty="easy",
        ours=mix,
        measure=_measure,
        tolerance=1e-6,  # whoever makes targets float32, as losses want them, is right too
        mistakes={
            "that blends the pictures and leaves the targets as they were": _mix(targets=lambda soft, share: soft),
            "that names the picture of the larger share and forgets the other": _mix(
                targets=lambda soft, share: soft if share >= 0.5 else soft.flip(0)
            ),
            "in which the targets get each other's share": _mix(
                targets=lambda soft, share: (1 - share) * soft + share * soft.flip(0)
            ),
            "in which the pictures get each other's share": _mix(
                pictures=lambda images, share: (1 - share) * images + share * images.flip(0)
            ),
            "that gives the share to the partner, in pictures and targets": _mix(
                pictures=lambda images, share: (1 - share) * images + share * images.flip(0),
                targets=lambda soft, share: (1 - share) * soft + share * soft.flip(0),
            ),
            "that blends each picture with its own mirror image, left and right exchanged": _mix(
                pictures=lambda images, share: share * images + (1 - share) * images.flip(-1)
            ),
            "whose partner is the neighbour in the batch: cut into shares for two GPUs, it is another pair": _mix(
                pictures=_next, targets=_next
            ),
            "that overwrites the pictures it was given": _mix(pictures=_in_place),
            "without label smoothing": _mix(soft=lambda targets, classes, smoothing: _soft(targets, classes, 0.0)),
            "that shares the smoothing among the other classes only": _mix(soft=_others_only),
            "that adds the smoothing and takes nothing away: its targets sum to more than 1": _mix(soft=_sum_too_large),
            "whose targets are half and half, whatever the share": _mix(
                targets=lambda soft, share: (soft + soft.flip(0)) / 2
            ),
        },
        hints=(
            "The mirror image of a batch: images.flip(0). The 0 is the batch; -1 would turn every picture over.",
            (
                "A target is a picture's class as probabilities: F.one_hot(targets, classes), of which smoothing takes a "
                "little, and shares it among all classes, the true one included: it adds smoothing / classes to each."
            ),
            (
                "Pictures and targets get the same: share * x + (1 - share) * x.flip(0). Not in place, since the pictures are "
                "not yours."
            ),
        ),
    ),
)
