"""Exercise `evaluate.labels`: which output of a net answers for which folder of a data set. Imports the engine."""

import bisect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from netwright.lessons.engine import Check


def outputs_of(folders: Sequence[str], net_synsets: Sequence[str]) -> list[int]:
    """For each class folder the number of the output that answers for it. Raises ValueError for an unknown folder."""
    place = {synset: output for output, synset in enumerate(net_synsets)}
    unknown = [folder for folder in folders if folder not in place]
    if unknown:
        raise ValueError(f"The net was never taught {', '.join(unknown)}.")
    return [place[folder] for folder in folders]


# ImageNet's first classes, Imagenette's, and some of Imagewoof's, by their WordNet ids.
FISH = ("n01440764", "n01443537", "n01484850", "n01491361", "n01494475", "n01496331")
IMAGENETTE = (
    "n01440764",
    "n02102040",
    "n02979186",
    "n03000684",
    "n03028079",
    "n03394916",
    "n03417042",
    "n03425413",
    "n03445777",
    "n03888257",
)
DOGS = ("n02086240", "n02087394", "n02088364", "n02089973")


def _measure(theirs: Callable) -> Iterator[tuple[str, Any]]:
    everything = sorted({*FISH, *IMAGENETTE, *DOGS})  # as ImageNet's own nets have them
    yield from _case(theirs, "of folders that are some of the net's classes", IMAGENETTE, everything)
    yield from _case(
        theirs, "of folders that a program has listed unsorted", (*DOGS[2:], *IMAGENETTE[::-2]), everything
    )
    taught = (*IMAGENETTE[3:], *DOGS[::-1], *IMAGENETTE[:3])  # a finetuned net keeps the order in which it was taught
    yield from _case(theirs, "of a net whose own classes are not sorted", sorted(IMAGENETTE), taught)
    yield from _case(theirs, "of as many folders as the net has outputs", sorted(taught), taught)
    for stranger, where in (("n02102041", "in the middle"), ("n09999999", "at the end")):
        yield (
            f"what becomes of a folder {stranger}, {where}, that the net was never taught,",
            _refusal(theirs, sorted((*IMAGENETTE, stranger)), everything, stranger),
        )


def _case(theirs: Callable, what: str, folders: Sequence[str], net: Sequence[str]) -> Iterator[tuple[str, Any]]:
    found = theirs(list(folders), list(net))
    if isinstance(found, torch.Tensor) or hasattr(found, "tolist"):
        found = found.tolist()
    yield f"the list of outputs {what}", list(found) if isinstance(found, tuple) else found


def _refusal(theirs: Callable, folders: Sequence[str], net: Sequence[str], stranger: str) -> str:
    """In words: whether an exception names the unknown folder."""
    try:
        found = theirs(list(folders), list(net))
    except Exception as error:  # noqa: BLE001  a KeyError names it as well
        return "an error that names it" if stranger in str(error) else "an error that does not name it"
    if len(found) != len(folders):
        return f"an answer of {len(found)} outputs for {len(folders)} folders"
    return f"output {found[list(folders).index(stranger)]}"


def _inverse(folders, net):
    """For each output the number of its folder, cut to the number of folders."""
    refuse(folders, net)
    return [folders.index(synset) if synset in folders else -1 for synset in net][: len(folders)]


def refuse(folders: Sequence[str], net: Sequence[str]) -> None:
    """Raises ValueError for the first folder that the net does not know."""
    for folder in folders:
        if folder not in net:
            raise ValueError(f"{folder} is unknown.")


def _by_position(folders, net):
    refuse(folders, net)
    return list(range(len(folders)))


def _sorts_the_folders(folders, net):
    return outputs_of(sorted(folders), net)


def _sorts_the_net(folders, net):
    return outputs_of(folders, sorted(net))


def _bisects(folders, net):
    """Looks the folders up in a sorted list, and takes what stands at that place."""
    return [min(bisect.bisect_left(net, folder), len(net) - 1) for folder in folders]


def _from_one(folders, net):
    return [output + 1 for output in outputs_of(folders, net)]


def _in_the_nets_order(folders, net):
    refuse(folders, net)
    return [output for output, synset in enumerate(net) if synset in folders]


def _unknown_is(value: int | None) -> Callable:
    def wrong(folders, net):
        place = {synset: output for output, synset in enumerate(net)}
        found = [place.get(folder, value) for folder in folders]
        return [output for output in found if output is not None]

    return wrong


MISTAKES = {
    "that numbers the folders as they come: the first is output 0, the second output 1": _by_position,
    "that gives each output its folder, where each folder was to get its output (the other direction)": _inverse,
    "that answers in the order of the sorted folders, and not of the folders it was given": _sorts_the_folders,
    "that answers in the order of the net's outputs, and not of the folders": _in_the_nets_order,
    "that takes the net's outputs to be in sorted order, which those of a finetuned net are not": _sorts_the_net,
    "that looks folders up in a sorted list and takes what stands there, be it the same synset or not": _bisects,
    "that counts outputs from 1, as the lists in ImageNet's devkit do": _from_one,
    "that gives a folder the net was never taught to output 0": _unknown_is(0),
    "that gives a folder the net was never taught to output -1, which Python takes for the last": _unknown_is(-1),
    "that leaves a folder the net was never taught out without a word": _unknown_is(None),
}

CHECKS = (
    Check(
        id="evaluate.labels",
        minutes=5,
        difficulty="medium",
        ours=outputs_of,
        measure=_measure,
        mistakes=MISTAKES,
        hints=(
            (
                "For every folder, in the order in which the folders come: at which place in net_synsets does the same "
                "synset stand? Neither list need be sorted."
            ),
            (
                "A dictionary from synset to place, {synset: output for output, synset in enumerate(net_synsets)}, answers that "
                "quickly. What does it say to a synset that is not in it, and what should it?"
            ),
            (
                "[place[folder] for folder in folders] raises a KeyError that names the unknown folder. A ValueError with a "
                "sentence that names all of them is kinder. Anything but an error is a wrong number that nobody will notice."
            ),
        ),
    ),
)
