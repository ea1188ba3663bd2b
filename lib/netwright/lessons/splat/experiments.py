"""What notebook 04 tries out: a net with somebody's layer in it, its cost, its gates, and whose logit a gate is made of.

Imports nets, the toy world, toy_training's way to feed a picture, and tables.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from netwright.lessons.tables import Table, table
from netwright.lessons.toy_training import normalised
from netwright.nets.config import Block, NetConfig, Split, Stage, Stem
from netwright.nets.net import ResidualNet, initialise
from netwright.nets.resnest import ResNeStMiddle, SplitAttention, radix_softmax
from netwright.nets.zoo import CONFIGS
from netwright.toys import CLASSES, ToyWorld

Layer = Callable[[int, int, int], nn.Module]  # channels, radix, cardinality -> split attention

_BLOCK = Block(cardinality=2, channel_attention=Split(radix=2))
# A toy net at half the width and a third of the depth of nets/toy.py, and with two cardinal groups.
TOY = NetConfig(
    stem=Stem((8, 8, 16), kernel_size=3),
    stages=(Stage((_BLOCK,), 16, 32, stride=1), Stage((_BLOCK,), 32, 64), Stage((_BLOCK,), 64, 128)),
    shortcut="pool",
    input_size=64,
)


def net_of(layer: Layer, architecture: str | NetConfig = TOY, *, seed: int = 0, **options) -> ResidualNet:
    """A ResNeSt with each of its split attentions made by layer(channels, radix, cardinality), seeded.

    architecture: a name such as "resnest50d_4s2x40d", or a config; options as `ResidualNet`'s.
    """
    config = CONFIGS[architecture] if isinstance(architecture, str) else architecture
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = ResidualNet(config, **options)
        for middle in _middles(net):
            old = middle.attention
            middle.attention = layer(old.conv.in_channels, old.radix, old.cardinality)
        initialise(net)  # the new layers too, so that two kinds of layer start from the same numbers
    return net


def _middles(net: nn.Module) -> Iterator[ResNeStMiddle]:
    return (module for module in net.modules() if isinstance(module, ResNeStMiddle))


# Gates -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gates:
    """The gates of one layer for some pictures: (pictures, radix, channels), and the pictures' classes (pictures,)."""

    layer: str
    values: Tensor
    labels: Tensor

    @property
    def by_class(self) -> Tensor:
        """The mean gate of each class: (classes, radix, channels)."""
        return torch.stack([self.values[self.labels == label].mean(0) for label in self.labels.unique()])

    @property
    def told_by_class(self) -> Tensor:
        """The share of each channel's variance over the pictures that lies between the classes: (radix, channels)."""
        means = self.by_class[torch.searchsorted(self.labels.unique(), self.labels)]  # (pictures, radix, channels)
        return means.var(0, unbiased=False) / self.values.var(0, unbiased=False).clamp(min=1e-12)

    @property
    def spread(self) -> Tensor:
        """How much a gate varies over the pictures, as a standard deviation: (radix, channels)."""
        return self.values.std(0)


def toy_gates(net: ResidualNet, *, pictures: int = 400) -> dict[str, Gates]:
    """Block ("2.1") -> the gates of its split attention for `pictures` test pictures of the toy world, all classes."""
    world = ToyWorld("test", length=pictures)
    batch = world.batch(range(pictures))
    kept: dict[str, list[Tensor]] = {}
    with _watching(net, kept), torch.inference_mode():
        for images in batch["image"].split(50):
            net.eval()(normalised(images))
    return {name: Gates(name, torch.cat(parts), batch["label"]) for name, parts in kept.items()}


@contextmanager
def _watching(net: nn.Module, kept: dict[str, list[Tensor]]):
    """Keep the gates of every split attention of `net` while it runs."""

    def keep(name: str, layer: SplitAttention) -> Callable:
        return lambda module, inputs, logits: kept.setdefault(name, []).append(
            radix_softmax(logits.flatten(1), layer.radix, layer.cardinality)
        )

    handles = [
        layer.fc2.register_forward_hook(keep(name.removeprefix("stages.").removesuffix(".middle.attention"), layer))
        for name, layer in net.named_modules()
        if isinstance(layer, SplitAttention)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def class_names() -> tuple[str, ...]:
    """The classes of the toy world, in the order of their numbers."""
    return tuple(one.name for one in CLASSES)


# Whose logit? ----------------------------------------------------------------------------------------------------


def owners(rsoftmax: Callable, radix: int, cardinality: int, per_group: int = 2) -> list[int]:
    """For each gate, in the order of the splits, the number of the logit that raises it. Found by gradients.

    A logit raises its own gate and lowers those of its rivals, so of a gate's gradient just one entry is positive.
    """
    logits = torch.zeros(1, radix * cardinality * per_group, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: rsoftmax(x, radix, cardinality).flatten(), logits)
    return jacobian[:, 0].argmax(1).tolist()  # (gates, logits) -> one logit a gate


def meant(radix: int, cardinality: int, per_group: int = 2) -> list[int]:
    """For each channel of the splits, in their order, the number of the logit that is meant for it."""
    return [(k * radix + r) * per_group + c for r in range(radix) for k in range(cardinality) for c in range(per_group)]


# Cost ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """What a layer costs: parameters, and multiplications with an addition ("MACs") for one picture."""

    parameters: int
    macs: int


def cost(layer: nn.Module, channels: int, side: int) -> dict[str, Cost]:
    """The cost of a layer's convolutions on a map of side x side pixels: name of the convolution -> Cost. Measured."""
    found: dict[str, Cost] = {}

    def count(name: str) -> Callable:
        def hook(module, inputs, output):
            per_value = module.weight[0].numel()  # multiplications for one value of the output
            found[name] = Cost(sum(p.numel() for p in module.parameters()), output[0].numel() * per_value)

        return hook

    handles = [m.register_forward_hook(count(n)) for n, m in layer.named_modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        layer.eval()(torch.zeros(1, channels, side, side))
    for handle in handles:
        handle.remove()
    return found


def cost_table(layer: Layer, stages: Iterable[tuple[int, int]], radices: Iterable[int]) -> Table:
    """Split attention beside a plain 3x3 convolution of the same width: a row for each (channels, side) and radix."""
    rows, radices = [], tuple(radices)
    for channels, side in stages:
        plain = nn.Sequential()
        plain.add_module("conv", nn.Conv2d(channels, channels, 3, padding=1, bias=False))
        whole = cost(plain, channels, side)["conv"]
        rows.append(
            (channels, f"{side}×{side}", "plain 3×3", f"{whole.parameters:,}", "", f"{whole.macs / 1e6:.1f}", "")
        )
        for radix in radices:
            parts = cost(layer(channels, radix, 1), channels, side)
            conv = parts["conv"]
            gates = Cost(
                sum(part.parameters for name, part in parts.items() if name != "conv"),
                sum(part.macs for name, part in parts.items() if name != "conv"),
            )
            rows.append(
                (
                    channels,
                    f"{side}×{side}",
                    f"radix {radix}",
                    f"{conv.parameters:,}",
                    f"+ {gates.parameters:,} ({gates.parameters / whole.parameters:.0%})",
                    f"{conv.macs / 1e6:.1f}",
                    f"+ {gates.macs / 1e6:.2f} ({gates.macs / whole.macs:.2%})",
                )
            )
    heads = (
        "channels",
        "map",
        "layer",
        "parameters of the 3×3",
        "of the gates",
        "MACs of the 3×3, million",
        "of the gates",
    )
    return table(heads, rows)
