"""Five patients: nets and pipelines that load without an error, each with one fault planted in it.

Imports the engine, nets, weights, transforms and the golden weights of probing.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MethodType

import torch
from PIL import Image
from torch import Tensor, nn

from netwright.lessons.engine import Check
from netwright.nets.halonet import HaloAttention, halo_attention
from netwright.nets.resnest import SplitAttention
from netwright.nets.resnet import Bottleneck
from netwright.nets.zoo import build
from netwright.probing.golden import golden_size, golden_state
from netwright.transforms import Transform
from netwright.weights.catalogue import default_for
from netwright.weights.load import load_into

FAULTS = {
    "stride": "the stride of 2 sits in the first 1x1 convolution of a block, not in its middle",
    "swap": "two tensors of equal shape are exchanged",
    "softmax": "the gates of the r-softmax are not transposed",
    "padding": "the zeros around the picture are masked out of the attention",
    "preprocessing": "the picture is prepared in another way than the weights expect",
}
SEED = 2  # of the order in which the faults go to the letters


@dataclass(frozen=True, eq=False)
class Patient:
    """A net with the golden weights of `architecture`, and the `transform` that prepares its pictures."""

    letter: str
    architecture: str
    net: nn.Module
    transform: Callable[[Image.Image], Tensor]

    def __repr__(self) -> str:
        return f"Patient {self.letter}: {self.architecture}"


def make_patients(seed: int = SEED) -> dict[str, Patient]:
    """Letter -> patient, A to E. Each has one of FAULTS; another seed deals them out in another order.

    The weights went through the strict loader, so that none of the five has a tensor missing, left over or misshapen.
    """
    return {letter: _MAKERS[fault](letter) for letter, fault in _dealt(seed).items()}


def _dealt(seed: int) -> dict[str, str]:
    faults = list(FAULTS)
    random.Random(seed).shuffle(faults)
    return dict(zip("ABCDE", faults, strict=True))


# The faults ----------------------------------------------------------------------------------------------------


def _stride(letter: str) -> Patient:
    patient = _healthy(letter, "resnext50_32x4d")
    for block in patient.net.modules():
        if isinstance(block, Bottleneck):
            block.reduce.conv.stride, block.middle.conv.stride = block.middle.conv.stride, block.reduce.conv.stride
    return patient


def _swap(letter: str) -> Patient:
    state = dict(_state("halonet26t"))
    one, other = (f"stages.3.0.middle.attention.{name}_table" for name in ("height", "width"))
    state[one], state[other] = state[other], state[one]
    return _healthy(letter, "halonet26t", state)


def _softmax(letter: str) -> Patient:
    patient = _healthy(letter, "resnest50d_4s2x40d")
    for module in patient.net.modules():
        if isinstance(module, SplitAttention):
            module.gates = MethodType(_untransposed_gates, module)
    return patient


def _untransposed_gates(self: SplitAttention, pooled: Tensor) -> Tensor:
    hidden = self.act(self.fc_norm(self.fc1(pooled)))  # (batch, hidden, 1, 1)
    nested = self.fc2(hidden).flatten(1).unflatten(1, (self.cardinality, self.radix, -1))
    return nested.softmax(dim=2).flatten(1).unflatten(1, (self.radix, -1))  # cardinality and radix keep their order


def _padding(letter: str) -> Patient:
    patient = _healthy(letter, "halonet26t")
    for module in patient.net.modules():
        if isinstance(module, HaloAttention):
            module.attend = _masked_attention
    return patient


def _masked_attention(query: Tensor, key_value: Tensor, *tables: Tensor, **sizes: int) -> Tensor:
    # Keys in the padding have value 0, so all they do is take weight: attending to ones says how much is left.
    ones = key_value.unflatten(1, (sizes["heads"], -1)).clone()
    ones[:, :, sizes["key_dim"] :] = 1
    kept = halo_attention(query, ones.flatten(1, 2), *tables, **sizes)
    return halo_attention(query, key_value, *tables, **sizes) / kept


def _preprocessing(letter: str) -> Patient:
    patient = _healthy(letter, "resnest50d_4s2x40d")
    right = patient.transform
    swapped = lambda picture: right(Image.merge("RGB", picture.convert("RGB").split()[::-1]))
    return Patient(letter, patient.architecture, patient.net, swapped)


_MAKERS = {
    "stride": _stride,
    "swap": _swap,
    "softmax": _softmax,
    "padding": _padding,
    "preprocessing": _preprocessing,
}


def _healthy(letter: str, architecture: str, state: Mapping[str, Tensor] | None = None) -> Patient:
    with torch.device("meta"):  # so that the net takes the tensors as they are: three sets of them serve all five
        net = build(architecture)
    load_into(net, state or _state(architecture))
    transform = Transform(default_for(architecture).preprocessing, input_size=golden_size(architecture))
    return Patient(letter, architecture, net.eval(), transform)


@cache
def _state(architecture: str) -> dict[str, Tensor]:
    return golden_state(architecture)


# The exercise --------------------------------------------------------------------------------------------------


def diagnosis() -> dict[str, str]:
    """Letter -> the fault that this patient has, for the order in which the notebook meets them."""
    return _dealt(SEED)


def _measure(theirs) -> Iterator[tuple[str, str | None]]:
    """`theirs` is a dictionary, or as in the library's version a function that returns one."""
    answers = theirs() if callable(theirs) else theirs
    for letter in _dealt(SEED):
        fault = answers.get(letter)
        yield f"whether the answer for patient {letter} is one of {', '.join(FAULTS)}", fault in FAULTS
    named = len({answers.get(letter) for letter in _dealt(SEED)})
    yield "the number of different faults, one for each of the five patients,", named
    right = [letter for letter, fault in _dealt(SEED).items() if answers.get(letter) == fault]
    yield "the number of right answers", len(right)
    for letter in _dealt(SEED):  # after the number, so that a message never gives an answer away
        yield f"the fault of patient {letter}", answers.get(letter)


def _confused(one: str, other: str) -> dict[str, str]:
    return {letter: {one: other, other: one}.get(fault, fault) for letter, fault in _dealt(SEED).items()}


CHECKS = (
    Check(
        id="weights.patients",
        minutes=10,
        difficulty="medium",
        ours=diagnosis,
        measure=_measure,
        mistakes={
            f"where {one} and {other} are taken for each other: {why}": _confused(one, other)
            for one, other, why in (
                ("padding", "swap", "both show in an attention, but in one of them a tensor holds foreign numbers"),
                ("softmax", "preprocessing", "one of them departs at the input, before any layer has run"),
                ("stride", "softmax", "a stride changes the height and width of a map, a gate does not"),
                ("stride", "preprocessing", "one of them departs at the input, before any layer has run"),
                ("stride", "swap", "a stride changes the height and width of a map, foreign numbers do not"),
                (
                    "softmax",
                    "padding",
                    "the architecture decides: only a ResNeSt has the one, only a HaloNet the other",
                ),
                ("padding", "preprocessing", "one of them departs at the input, before any layer has run"),
            )
        },
        hints=(
            (
                "Look first at the point where a patient departs: the input, the first 1x1 of a block (reduce), or its "
                "middle. That alone parts the five into three groups."
            ),
            (
                "The sentences under the first one are found by comparing numbers. 'Does not hold its own numbers' is an "
                "exchange. 'The weights up to here are the golden ones' clears the weights: then the code is at fault."
            ),
            (
                "Departs at the input: preprocessing. At a reduce, with half the height and width: stride. In the middle "
                "of a ResNeSt with golden weights: softmax. Of the two HaloNets the one with golden weights is padding."
            ),
        ),
    ),
)
