"""Which output of a net answers for which class of a data set: by name or by synset, never by a folder's position.

Sorted folders and a net's outputs are two orders. They agree by luck, and where they do not, a good net scores like a
random one. Imports datasets, imagenet.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from netwright.datasets import PictureSet
from netwright.imagenet import labels

SYNSET = re.compile(r"n\d{8}")


class EvaluationError(ValueError):
    """A net and a data set that do not fit, or a figure that cannot be computed; the message says what would do."""


@dataclass(frozen=True)
class LabelMap:
    """The answers that count, and the one that is right for each class of a data set.

    columns: the net's output behind each answer, int64 (answers,). targets: for each class of the set the number of
    its answer, int64 (classes,). class_names: of the answers. outputs: how many the net has. how: in words.
    """

    columns: Tensor
    targets: Tensor
    class_names: tuple[str, ...]
    outputs: int
    how: str

    def answers(self, logits: Tensor) -> Tensor:
        """Of the net's logits (n, outputs) those that count, (n, answers)."""
        return logits[:, self.columns.to(logits.device)]


def label_map(
    net: nn.Module, pictures: PictureSet, *, subset_of: str | None = None, keep: Literal["subset", "all"] = "subset"
) -> LabelMap:
    """How the answers of `net` are to be read on `pictures`.

    A net that knows its `class_names` is matched with the set by name, or by synset where its names are synsets. One
    that does not is taken at the set's word if it has as many classes. subset_of="imagenet": the net has ImageNet's
    1000 classes and the set some of them, matched by synset; the other logits are left out (keep="subset", the figure
    usual for such sets, and an easier task) or stay (keep="all": an answer outside of the set is wrong).
    Raises EvaluationError where classes do not fit.
    """
    outputs = getattr(net, "num_classes", 0)
    if not outputs:
        raise EvaluationError("This net has no classifier: make it with num_classes other than 0.")
    if keep not in ("subset", "all"):
        raise EvaluationError(f"keep={keep!r} is neither 'subset' nor 'all'.")
    if subset_of is not None:
        return _subset_of_imagenet(net, outputs, pictures, subset_of, keep)
    names = getattr(net, "class_names", None)
    if names is not None:
        return _by_name(tuple(names), outputs, pictures)
    if outputs != len(pictures.class_names):
        raise EvaluationError(_does_not_fit(outputs, pictures))
    if outputs == len(labels()) and (synsets := synsets_of(pictures)):
        return _subset_of_imagenet(net, outputs, pictures, "imagenet", "all", synsets)
    everyone = torch.arange(outputs)
    return LabelMap(everyone, everyone, pictures.class_names, outputs, "by number: the net has no class names")


def synsets_of(pictures: PictureSet) -> tuple[str, ...] | None:
    """The WordNet id of each class, where the set has them or its classes are called by them."""
    if pictures.synsets:
        return tuple(pictures.synsets)
    return pictures.class_names if all(SYNSET.fullmatch(name) for name in pictures.class_names) else None


def _by_name(names: tuple[str, ...], outputs: int, pictures: PictureSet) -> LabelMap:
    if len(names) != outputs or len(set(names)) != outputs:
        raise EvaluationError(
            f"The net has {outputs} classes and {len(set(names))} different names of classes: set net.class_names anew."
        )
    for kind, wanted in (("name", pictures.class_names), ("synset", synsets_of(pictures) or ())):
        if wanted and set(wanted) <= set(names):
            targets = torch.tensor([names.index(name) for name in wanted])
            moved = int((targets != torch.arange(len(targets))).sum())
            order = f", {moved} of them at another place" if moved else ", in the same order"
            return LabelMap(torch.arange(outputs), targets, names, outputs, f"by {kind}{order}")
    strange = [name for name in pictures.class_names if name not in names]
    raise EvaluationError(
        f"The net was trained for other classes than those of {pictures.name}: {_few(strange)} are unknown to it. Its "
        f"classes are {_few(names)}."
    )


def _subset_of_imagenet(net, outputs: int, pictures: PictureSet, whole: str, keep: str, synsets=None) -> LabelMap:
    if whole != "imagenet":
        raise EvaluationError(f"subset_of={whole!r} is unknown: 'imagenet' is the one that there is.")
    if outputs != len(labels()):
        raise EvaluationError(
            f"A subset of ImageNet is asked of a net with ImageNet's 1000 classes, and this one has {outputs}."
        )
    synsets = synsets or synsets_of(pictures)
    if not synsets:
        raise EvaluationError(
            f"{pictures.name} does not say which ImageNet classes its own are, and names are not proof. Name its "
            "folders by synset (n02102040), as ImageNet and Imagenette do."
        )
    places = {label.synset: label.index for label in labels()}
    if unknown := [synset for synset in synsets if synset not in places]:
        raise EvaluationError(f"{_few(unknown)} of {pictures.name} are not among ImageNet's 1000 classes.")
    if len(set(synsets)) != len(synsets):
        raise EvaluationError(f"{pictures.name} has two classes with one synset.")
    found = torch.tensor([places[synset] for synset in synsets])
    if keep == "all":
        names = tuple(label.name for label in labels())
        return LabelMap(torch.arange(outputs), found, names, outputs, f"by synset, among all {outputs} answers")
    how = f"by synset, among the {len(synsets)} answers that occur"
    return LabelMap(found, torch.arange(len(found)), pictures.class_names, outputs, how)


def _does_not_fit(outputs: int, pictures: PictureSet) -> str:
    sentence = f"The net has {outputs} classes, and {pictures.name} has {len(pictures.class_names)}."
    if outputs == len(labels()) and synsets_of(pictures):
        return f"{sentence} If they are some of ImageNet's, say --subset-of imagenet (subset_of='imagenet')."
    return f"{sentence} A net is measured on the classes it was trained for: finetune it on this set first."


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:4])) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
