"""Exercises `splat.attention` and `splat.radix_one`: the whole layer, and what is left of it with a single split.

Imports the engine, trying, nets and, of this room, splitting and gating.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from netwright.lessons.engine import Check
from netwright.lessons.splat import gating
from netwright.lessons.splat.gating import inner_width, rsoftmax
from netwright.lessons.splat.splitting import combine, generator, pooled, splits
from netwright.lessons.trying import behaviour, fill


class SplitAttention(nn.Module):
    """Split attention (Zhang et al. 2020, section 3.1; radix-major, as the authors' code has it).

    Shapes: (batch, channels, height, width) to the same. Names of the parts as in nets/resnest.py.
    """

    def __init__(self, channels: int, radix: int, cardinality: int):
        super().__init__()
        self.radix, self.cardinality = radix, cardinality
        hidden = inner_width(channels, radix)
        self.conv = nn.Conv2d(channels, radix * channels, 3, padding=1, groups=radix * cardinality, bias=False)
        self.norm = nn.BatchNorm2d(radix * channels)
        self.fc1 = nn.Conv2d(channels, hidden, 1, groups=cardinality)
        self.fc_norm = nn.BatchNorm2d(hidden)
        self.fc2 = nn.Conv2d(hidden, radix * channels, 1, groups=cardinality)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x)).relu()
        parts = splits(x, self.radix, self.cardinality)  # (batch, radix, channels, height, width)
        _, descriptor = pooled(parts)  # (batch, channels)
        hidden = self.fc_norm(self.fc1(descriptor[..., None, None])).relu()  # (batch, hidden, 1, 1)
        gates = rsoftmax(self.fc2(hidden).flatten(1), self.radix, self.cardinality)  # (batch, radix, channels)
        return combine(parts, gates)


# Channels, radix, cardinality, height, width: the last is wide enough for the hidden layer to be wider than 32.
LAYERS = ((8, 2, 2, 5, 7), (6, 2, 1, 4, 3), (4, 1, 2, 3, 5), (12, 3, 2, 5, 3), (80, 2, 2, 3, 2))


def _measure_attention(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for channels, radix, cardinality, height, width in LAYERS:
        where = f"of a layer with {channels} channels, radix {radix} and cardinality {cardinality}"
        layer = theirs(channels, radix, cardinality)
        yield from behaviour(layer, (4, channels, height, width), where)
    yield (
        "the type of the output for a picture in float32",
        str(layer.float()(torch.zeros(2, channels, height, width).float()).dtype),
    )


# The parts of the mistakes: each layer below differs from SplitAttention in one thing.


class _Reading(SplitAttention):
    """The layer with one step of `forward` exchanged."""

    activate = staticmethod(torch.relu)
    inner_activate = staticmethod(torch.relu)
    cut = staticmethod(splits)
    gate = staticmethod(rsoftmax)
    put = staticmethod(combine)

    def read(self, x, y, parts):
        return pooled(parts)[1]

    def forward(self, x):
        y = self.activate(self.norm(self.conv(x)))
        parts = self.cut(y, self.radix, self.cardinality)
        descriptor = self.read(x, y, parts)
        hidden = self.inner_activate(self.fc_norm(self.fc1(descriptor[..., None, None])))
        return self.put(parts, self.gate(self.fc2(hidden).flatten(1), self.radix, self.cardinality))


def _with(**steps: Callable) -> type[nn.Module]:
    """The layer with these steps exchanged."""
    kept = {name: step if name == "read" else staticmethod(step) for name, step in steps.items()}
    return type("_Wrong", (_Reading,), kept)


def layer_with(rsoftmax: Callable) -> type[nn.Module]:
    """Split attention whose gates are made by another function: a class like `SplitAttention`, with the same parts.

    rsoftmax: logits (batch, radix * channels), radix, cardinality -> gates (batch, radix, channels).
    """
    return _with(gate=rsoftmax)


def _built(change: Callable[[nn.Module], None]) -> type[nn.Module]:
    """The layer with its parts changed once it has been made."""

    class Wrong(SplitAttention):
        def __init__(self, channels, radix, cardinality):
            super().__init__(channels, radix, cardinality)
            change(self)

    return Wrong


def _all_input(layer: nn.Module) -> None:
    old = layer.conv
    layer.conv = nn.Conv2d(
        old.in_channels, old.out_channels, 3, padding=1, groups=layer.cardinality if layer.radix > 1 else 1, bias=False
    )


def _conv_bias(layer: nn.Module) -> None:
    old = layer.conv
    layer.conv = nn.Conv2d(old.in_channels, old.out_channels, 3, padding=1, groups=old.groups)


def _no_fc_bias(layer: nn.Module) -> None:
    for name in ("fc1", "fc2"):
        old = getattr(layer, name)
        setattr(layer, name, nn.Conv2d(old.in_channels, old.out_channels, 1, groups=old.groups, bias=False))


def _ungrouped_fc(layer: nn.Module) -> None:
    for name in ("fc1", "fc2"):
        old = getattr(layer, name)
        setattr(layer, name, nn.Conv2d(old.in_channels, old.out_channels, 1))


def _fixed_hidden(layer: nn.Module) -> None:
    groups = layer.cardinality
    layer.fc1 = nn.Conv2d(layer.fc1.in_channels, 32, 1, groups=groups)
    layer.fc_norm = nn.BatchNorm2d(32)
    layer.fc2 = nn.Conv2d(32, layer.fc2.out_channels, 1, groups=groups)


def _no_fc_norm(layer: nn.Module) -> None:
    layer.fc_norm = nn.Identity()


def _group_major(x: Tensor, radix: int, cardinality: int) -> Tensor:
    return x.unflatten(1, (cardinality, radix, -1)).transpose(1, 2).flatten(2, 3)


# One split -----------------------------------------------------------------------------------------------------


def radix_one(layer: nn.Module, x: Tensor) -> Tensor:
    """What a split-attention layer of radix 1 computes, without splits, r-softmax and sum: a gated map.

    layer: with conv, norm, fc1, fc_norm and fc2; x: (batch, channels, height, width), to the same.
    """
    y = layer.norm(layer.conv(x)).relu()
    descriptor = y.mean((2, 3), keepdim=True)  # squeeze: (batch, channels, 1, 1)
    gate = layer.fc2(layer.fc_norm(layer.fc1(descriptor)).relu()).sigmoid()  # excite: (batch, channels, 1, 1)
    return y * gate


class Parts(nn.Module):
    """The five parts of a layer of radix 1, and no `forward`: whoever would call it has to write it."""

    def __init__(self, channels: int, cardinality: int):
        super().__init__()
        for name, part in SplitAttention(channels, 1, cardinality).named_children():
            self.add_module(name, part)


def _measure_radix_one(theirs: Callable) -> Iterator[tuple[str, Any]]:
    ours = generator()
    for channels, cardinality, height, width in ((6, 1, 4, 5), (8, 2, 3, 4), (12, 4, 5, 2)):
        where = f"of {channels} channels in {cardinality} cardinal group{'s' if cardinality > 1 else ''}"
        layer = Parts(channels, cardinality)
        fill(layer)
        x = torch.randn(4, channels, height, width, generator=ours)
        before = x.clone()
        yield f"the output in evaluation mode {where}", theirs(layer.eval(), x).detach()
        yield f"the output in training mode {where}", theirs(layer.train(), x).detach()
        yield f"the list of buffers {where}, after a training step,", {k: b.clone() for k, b in layer.named_buffers()}
        yield f"the change of the input {where}, once your function has seen it,", (x - before).abs().max()


def _one(
    *,
    pool=lambda x, y: y.mean((2, 3), keepdim=True),
    inner=lambda layer, z: layer.fc_norm(layer.fc1(z)).relu(),
    end=torch.sigmoid,
    put=lambda x, y, gate: y * gate,
) -> Callable:
    """`radix_one` with one thing wrong in it."""

    def wrong(layer, x):
        y = layer.norm(layer.conv(x)).relu()
        return put(x, y, end(layer.fc2(inner(layer, pool(x, y)))))

    return wrong


def _no_relu(layer: nn.Module, x: Tensor) -> Tensor:
    y = layer.norm(layer.conv(x))
    return y * layer.fc2(layer.fc_norm(layer.fc1(y.mean((2, 3), keepdim=True))).relu()).sigmoid()


CHECKS = (
    Check(
        id="splat.attention",
        minutes=15,
        difficulty="hard",
        ours=SplitAttention,
        measure=_measure_attention,
        mistakes={
            "whose r-softmax forgets the transpose": layer_with(gating.untransposed),
            "whose r-softmax reads the logits radix first": layer_with(gating.read_radix_first),
            "with no sigmoid at radix 1": layer_with(gating.softmax_at_radix_1),
            "that takes the cardinal groups of the convolution's output for the outer order": _with(cut=_group_major),
            "without a ReLU between the first normalisation and the splits": _with(activate=lambda y: y),
            "without a ReLU between fc_norm and fc2": _with(inner_activate=lambda z: z),
            "that reads its gates off the layer's input": _with(read=lambda self, x, y, parts: x.mean((2, 3))),
            "that reads its gates off the mean of the splits": _with(
                read=lambda self, x, y, parts: parts.mean((1, 3, 4))
            ),
            "that forgets the gates and sums the splits": _with(
                put=lambda parts, gates: parts.sum(1) + 0 * gates.sum()
            ),
            "whose splits each see all input channels of their cardinal group, as in SKNet": _built(_all_input),
            "with a bias in its 3x3 convolution": _built(_conv_bias),
            "without biases in fc1 and fc2": _built(_no_fc_bias),
            "whose fc1 and fc2 are not grouped": _built(_ungrouped_fc),
            "whose hidden layer is 32 wide at any number of channels": _built(_fixed_hidden),
            "without the normalisation between fc1 and fc2": _built(_no_fc_norm),
        },
        hints=(
            (
                "You have written splits, pooled, inner_width, rsoftmax and combine. Which layers have to stand between them, "
                "and how many channels does each take and make?"
            ),
            (
                "conv makes radix * channels of channels, in radix * cardinality groups, padding 1, no bias. fc1 goes from "
                "channels to the inner width, fc2 from there to radix * channels, both 1x1 in cardinality groups, with bias. "
                "A ReLU stands after norm and after fc_norm."
            ),
            (
                "y = norm(conv(x)).relu(); parts = splits(y, …); descriptor = pooled(parts)[1][..., None, None]; "
                "hidden = fc_norm(fc1(descriptor)).relu(); gates = rsoftmax(fc2(hidden).flatten(1), …); combine(parts, gates)."
            ),
        ),
    ),
    Check(
        id="splat.radix_one",
        minutes=5,
        difficulty="medium",
        ours=radix_one,
        measure=_measure_radix_one,
        mistakes={
            "whose gate is a softmax over one split, which is always 1": _one(end=torch.ones_like),
            "whose gate is a softmax over the channels": _one(end=lambda logits: logits.softmax(1)),
            "whose gate is a tanh": _one(end=torch.tanh),
            "without a sigmoid": _one(end=lambda logits: logits),
            "without the ReLU of the hidden layer": _one(inner=lambda layer, z: layer.fc_norm(layer.fc1(z))),
            "that leaves out fc_norm, as squeeze-and-excitation has none": _one(
                inner=lambda layer, z: layer.fc1(z).relu()
            ),
            "with the ReLU before fc_norm": _one(inner=lambda layer, z: layer.fc_norm(layer.fc1(z).relu())),
            "that gates the layer's input": _one(put=lambda x, y, gate: x * gate),
            "that reads the gate off the layer's input": _one(pool=lambda x, y: x.mean((2, 3), keepdim=True)),
            "that pools by the maximum": _one(pool=lambda x, y: y.amax((2, 3), keepdim=True)),
            "that adds the map to the gated map": _one(put=lambda x, y, gate: y + y * gate),
            "without the ReLU of the map": _no_relu,
            "that calls the layer, where it should do without": lambda layer, x: layer(x),
        },
        hints=(
            "With one split there is nothing to sum and nothing to weigh against. Which steps of the layer are left?",
            "Convolve, normalise, ReLU; average over the pixels; fc1, fc_norm, ReLU, fc2; sigmoid; multiply.",
            (
                "y = layer.norm(layer.conv(x)).relu(), then y * layer.fc2(layer.fc_norm(layer.fc1(y.mean((2, 3), "
                "keepdim=True))).relu()).sigmoid()"
            ),
        ),
    ),
)
