"""What the gates of a trained toy net say: recorded, and forced while its accuracy is watched. Imports toys and models."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from netwright.lessons.resnest.force import another_picture, batch_mean, even, towards
from netwright.models import transform_for
from netwright.toys import CLASSES, ToyWorld, groups

Force = Callable[[nn.Module, Tensor, Callable[[Tensor], Tensor]], Tensor]

TARGETS = {"1/radix": even, "mean of the batch": batch_mean, "another picture's": another_picture}
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the way from the net's own gates to those of the target


@dataclass(frozen=True)
class Pictures:
    """Toy pictures as a net is fed them: inputs (pictures, 3, side, side), labels (pictures,), their classes' names."""

    inputs: Tensor
    labels: Tensor
    names: tuple[str, ...]


def toy_pictures(net: nn.Module, each: int = 10) -> Pictures:
    """The first `each` test pictures of every class, shuffled the same way every time, prepared for `net`."""
    world = ToyWorld("test")
    labels = world.labels()
    chosen = np.concatenate([np.flatnonzero(labels == number)[:each] for number in range(len(CLASSES))])
    chosen = np.random.RandomState(0).permutation(chosen)  # so that the next picture is seldom of the same class
    batch, transform = world.batch(chosen), transform_for(net)
    return Pictures(torch.stack([transform(image) for image in batch["image"]]), batch["label"], world.classes)


def record_gates(force: Force, net: nn.Module, pictures: Pictures) -> list[Tensor]:
    """The gates (pictures, radix, channels) of every split attention of `net`, from the first to the last."""
    seen = []

    def look(gates: Tensor) -> Tensor:
        seen.append(gates.clone())
        return gates

    force(net, pictures.inputs, look)
    return seen


def explained(gates: Tensor, labels: Tensor) -> float:
    """The share of the gates' variance over pictures that lies between classes, the mean over the channels.

    gates: (pictures, radix, channels). By chance it is about (classes - 1) / (pictures - 1).
    """
    first = gates[:, 0].double()  # (pictures, channels)
    centred = first - first.mean(0)
    between = torch.zeros_like(centred)
    for label in labels.unique():
        between[labels == label] = centred[labels == label].mean(0)
    total = centred.square().sum(0)
    alive = total > 1e-12  # a channel whose gate never moves has nothing to explain
    return (between.square().sum(0)[alive] / total[alive]).mean().item()


@dataclass(frozen=True)
class Forced:
    """Accuracies of a net with forced gates. answers: (target, share) -> whether each picture was named rightly."""

    answers: Mapping[tuple[str, float], Tensor]
    labels: Tensor

    def accuracy(self, target: str, share: float, group: str | None = None) -> float:
        """The share of pictures, of one group or of all, that are named rightly."""
        right = self.answers[target, share]
        if group is not None:
            right = right[torch.isin(self.labels, torch.tensor(groups()[group]))]
        return right.double().mean().item()


def watch_forced(force: Force, net: nn.Module, pictures: Pictures) -> Forced:
    """Force the gates towards each of TARGETS by each of SHARES, and ask the net for the pictures' names."""
    own = None
    answers = {}
    for target, change in TARGETS.items():
        for share in SHARES:
            if share == 0 and own is not None:
                answers[target, share] = own
                continue
            logits = force(net, pictures.inputs, towards(change, share))
            answers[target, share] = logits.argmax(1) == pictures.labels
            own = answers[target, share] if share == 0 else own
    return Forced(answers, pictures.labels)
