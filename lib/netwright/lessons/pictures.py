"""Figures that a lesson draws from nets while they run: the bottleneck's four middles, what they reach, feature maps,
and what a toy net says.

Imports nets, models, toys and figures.
"""

from dataclasses import dataclass, replace

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from torch import Tensor, nn

from netwright import figures
from netwright.models import transform_for
from netwright.nets.halonet import AttentionMiddle
from netwright.nets.net import ResidualNet
from netwright.nets.resnest import ResNeStMiddle
from netwright.nets.zoo import CONFIGS
from netwright.toys import ToyWorld

FAMILIES = {"ResNet": "resnet50", "ResNeXt": "resnext50_32x4d", "ResNeSt": "resnest50d", "HaloNet": "halonet50ts"}
BLOCK, SIDE = "stages.1.3", 256  # a block that all four have, and that is attention in HaloNet
FAINTEST = -6  # decimal exponent: the weakest influence that a colour still tells apart


@dataclass(frozen=True)
class Seen:
    """One bottleneck, caught while its net ran. The shapes are (channels, height, width), in the order of the data."""

    family: str
    architecture: str
    block: nn.Module
    shapes: dict[str, tuple[int, ...]]

    @property
    def middle_in_words(self) -> str:
        """What the block's middle is, read off the module."""
        middle = self.block.middle
        if isinstance(middle, AttentionMiddle):
            layer = middle.attention
            return f"halo attention\n{layer.heads} heads\nblock {layer.block_size}, halo {layer.halo}"
        if isinstance(middle, ResNeStMiddle):
            return f"split attention\n3×3, radix {middle.attention.radix}\ngated by the mean"
        size, groups = middle.conv.kernel_size[0], middle.conv.groups
        return f"{size}×{size} convolution\n" + (f"in {groups} groups" if groups > 1 else "all channels")

    @property
    def middle_parameters(self) -> int:
        """How many numbers the middle learns."""
        return sum(parameter.numel() for parameter in self.block.middle.parameters())


def watch_bottlenecks() -> list[Seen]:
    """The same bottleneck (`BLOCK`) of the four families' nets, seeded and untrained, run on a picture of `SIDE`.

    The nets end after the stage of that block: what follows cannot change it, and costs seconds to fill with numbers.
    """
    seen, stages = [], int(BLOCK.split(".")[1]) + 1
    for family, architecture in FAMILIES.items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            config = CONFIGS[architecture]
            net = ResidualNet(replace(config, stages=config.stages[:stages]), num_classes=0).eval()
            picture = torch.rand(1, 3, SIDE, SIDE)
        block, shapes = net.get_submodule(BLOCK), {}

        def keep(name, shapes=shapes):
            return lambda module, inputs, output: shapes.__setitem__(name, tuple(output.shape[1:]))

        handles = [getattr(block, part).register_forward_hook(keep(part)) for part in ("reduce", "middle", "expand")]
        handles.append(block.register_forward_hook(keep("block")))
        try:
            with torch.no_grad():
                net(picture)
        finally:
            for handle in handles:
                handle.remove()
        seen.append(Seen(family, architecture, block, shapes))
    return seen


# The skeleton --------------------------------------------------------------------------------------------------


def draw_skeletons(seen: list[Seen]) -> figures.Picture:
    """The bottlenecks side by side: maps as bars as wide as their channels, layers as boxes, the middle in colour."""
    figure, axes = figures.subplots(1, len(seen), figsize=(10, 6.6), sharey=True)
    widest = max(one.block.reduce.conv.in_channels for one in seen)
    for axis, one, colour in zip(axes, seen, figures.CYCLE, strict=False):
        axis.set_xlim(-0.55 * widest, 0.75 * widest)
        axis.set_ylim(-1.4, 10.3)
        axis.axis("off")
        axis.set_title(one.family, fontweight="bold", color=colour, x=0.55 / 1.3)
        axis.text(0, 10.2, one.architecture, ha="center", va="center", fontsize=10)

        came_in = (one.block.reduce.conv.in_channels, *one.shapes["reduce"][1:])
        heights = {9.3: came_in, 6.8: one.shapes["reduce"], 3.9: one.shapes["middle"], 1.4: one.shapes["expand"]}
        _hourglass(axis, heights, colour)
        for y, shape in (heights | {-0.3: one.shapes["block"]}).items():
            _bar(axis, y, shape, colour)

        width = 0.9 * widest
        _box(axis, 8.05, 0.75, width, _in_words(one.block.reduce.conv), "0.93", "black")
        ink = "white" if colour == figures.CYCLE[0] else "black"  # whichever stands out more against the colour
        _box(axis, 5.35, 1.75, width, one.middle_in_words, colour, ink)
        _box(axis, 2.65, 0.75, width, _in_words(one.block.expand.conv), "0.93", "black")
        axis.text(0, 0.8, "+", ha="center", va="center", fontsize=16, fontweight="bold")
        axis.text(-0.09 * widest, 0.8, f"then {type(one.block.act).__name__}", ha="right", va="center", fontsize=9)

        right = 0.66 * widest
        axis.plot([0.5 * widest, right, right], [9.3, 9.3, 0.8], color="0.45", linewidth=1.5)
        way = {"arrowstyle": "-|>", "mutation_scale": 12, "color": "0.45", "linewidth": 1.5}
        axis.add_patch(FancyArrowPatch((right, 0.8), (0.08 * widest, 0.8), **way))
        above = {"rotation": 270, "ha": "center", "va": "center", "backgroundcolor": "white"}
        axis.text(right, 5.35, "shortcut", fontsize=9, color="0.3", **above)
        axis.text(0, -0.75, f"middle: {one.middle_parameters:,}\nparameters", ha="center", va="top", fontsize=10)
    middles = "; ".join(f"{one.family}: {one.middle_in_words.replace(chr(10), ', ')}" for one in seen)
    alt = (
        f"The bottleneck {BLOCK} of four nets, side by side, as it ran on a picture of {SIDE}×{SIDE} pixels. All four have "
        f"a 1×1 convolution, a middle, a 1×1 convolution and a shortcut that is added. The middles differ. {middles}."
    )
    return figures.show(figure, alt)


def _in_words(conv: nn.Conv2d) -> str:
    return f"{conv.kernel_size[0]}×{conv.kernel_size[1]} convolution"


def _hourglass(axis, heights: dict[float, tuple[int, ...]], colour: str) -> None:
    """The outline of a block: at each height as wide as the map there has channels."""
    halves = np.array([shape[0] / 2 for shape in heights.values()])
    axis.fill_betweenx(list(heights), -halves, halves, color=colour, alpha=0.13, linewidth=0)


def _bar(axis, y: float, shape: tuple[int, ...], colour: str) -> None:
    """A feature map: as wide as it has channels, its shape above it."""
    channels, height, width = shape
    axis.add_patch(Rectangle((-channels / 2, y - 0.07), channels, 0.14, color=colour, linewidth=0))
    axis.text(0, y + 0.12, f"{channels} × {height} × {width}", ha="center", va="bottom", fontsize=10)


def _box(axis, y: float, height: float, width: float, text: str, colour: str, ink: str) -> None:
    """A layer."""
    style = "round,pad=0,rounding_size=20"
    corner = (-width / 2, y - height / 2)
    axis.add_patch(
        FancyBboxPatch(corner, width, height, boxstyle=style, mutation_aspect=0.008, color=colour, linewidth=0)
    )
    axis.text(0, y, text, ha="center", va="center", fontsize=10, color=ink, linespacing=1.35)


# What a middle reaches -----------------------------------------------------------------------------------------


def draw_reaches(seen: list[Seen], pixel: tuple[int, int] = (12, 10)) -> figures.Picture:
    """Which of the middle's inputs an output depends on, found with gradients: pixels above, channels below."""
    figure, axes = figures.subplots(2, len(seen), figsize=(10, 5.6))
    colours = mpl.colormaps[figures.SEQUENTIAL].with_extremes(bad="0.85")
    words = []
    for column, one in zip(axes.T, seen, strict=True):
        space, channels = reach_in_space(one, pixel), reach_in_channels(one)
        for axis, influence in zip(column, (space, channels), strict=True):
            strength = np.log10(influence / influence.max(), where=influence > 0, out=np.full(influence.shape, np.nan))
            image = axis.imshow(
                strength, cmap=colours, vmin=FAINTEST, vmax=0, aspect="equal" if axis is column[0] else "auto"
            )
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        y, x = pixel
        column[0].add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor="#d55e00", linewidth=2))
        column[0].set_title(f"{one.family}\n{(space > 0).sum():,} of {space.size:,} pixels", fontsize=11)
        column[1].set_title(f"{share_reached(channels):.0%} of the channels", fontsize=11)
        words.append(f"{one.family}: {(space > 0).sum()} pixels and {share_reached(channels):.0%} of the channels")
    axes[0, 0].set_ylabel("pixels of the input")
    axes[1, 0].set_ylabel("output channel")
    for axis in axes[1]:
        axis.set_xlabel("input channel")
    bar = figure.colorbar(image, ax=axes, ticks=[0, -2, -4, FAINTEST], shrink=0.6, pad=0.02)
    bar.ax.set_yticklabels(["strongest", "1e-2", "1e-4", f"≤ 1e{FAINTEST}"], fontsize=10)
    bar.set_label("influence (grey: none at all)", fontsize=10)
    alt = (
        "What an output of the middle depends on. Upper row: the map of input pixels that reach one output pixel, which is "
        f"outlined. Lower row: input channels against output channels. {'; '.join(words)}."
    )
    return figures.show(figure, alt)


def reach_in_space(one: Seen, pixel: tuple[int, int]) -> np.ndarray:
    """(height, width): the size of the gradient of the middle's output at `pixel`, all channels, by input pixel."""
    x = _random(1, *one.shapes["reduce"]).requires_grad_()
    y = one.block.middle(x)[0, :, pixel[0], pixel[1]]
    (gradient,) = torch.autograd.grad((y * _random(len(y))).sum(), x)
    return gradient[0].abs().sum(0).numpy()


def reach_in_channels(one: Seen, rows: int = 64) -> np.ndarray:
    """(rows, channels): the size of the gradient of some output channels, over all pixels, by input channel.

    The same input stands in the batch once for each row, so that one backward pass finds all rows.
    """
    channels = one.shapes["reduce"][0]
    x = _random(1, channels, 8, 8).repeat(rows, 1, 1, 1).requires_grad_()  # 8: the least that halo attention takes
    y = one.block.middle(x)  # (rows, channels, 8, 8)
    chosen = y[torch.arange(rows), :: y.shape[1] // rows].diagonal(dim1=0, dim2=1)  # (8, 8, rows)
    (gradient,) = torch.autograd.grad((chosen * _random(*chosen.shape[:2], 1)).sum(), x)
    return gradient.abs().sum((2, 3)).numpy()


def _random(*shape: int) -> Tensor:
    """Seeded numbers of both signs: behind a ReLU that is off everywhere, or in a sum that cancels, nothing shows."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def share_reached(channels: np.ndarray) -> float:
    """The share of input channels that an output channel depends on, the mean over the output channels."""
    return float((channels > 0).mean())


# Feature maps --------------------------------------------------------------------------------------------------


def draw_maps(maps: list[Tensor], strides: list[int]) -> figures.Picture:
    """Four channels of each feature map (1, channels, height, width), every pixel as it is, one scale for a map."""
    figure, axes = figures.subplots(1, len(maps), figsize=(10, 2.4))
    for axis, feature_map, stride in zip(axes, maps, strides, strict=True):
        _, channels, height, width = feature_map.shape
        chosen = feature_map[0, :: channels // 4][:4].float()  # (4, height, width)
        tiles = torch.full((2 * height + height // 14 + 1, 2 * width + width // 14 + 1), float("nan"))
        for i, tile in enumerate(chosen):
            top, left = (i // 2) * (tiles.shape[0] - height), (i % 2) * (tiles.shape[1] - width)
            tiles[top : top + height, left : left + width] = tile
        axis.imshow(tiles.numpy(), vmin=min(0.0, chosen.min().item()), vmax=chosen.quantile(0.995).item())
        axis.set_title(f"stride {stride}\n{channels} × {height} × {width}", fontsize=11)
        axis.axis("off")
    shapes = ", ".join(f"{m.shape[1]} × {m.shape[2]} × {m.shape[3]}" for m in maps)
    alt = f"Four channels of each of {len(maps)} feature maps, ever coarser. Channels × height × width: {shapes}."
    return figures.show(figure, alt)


def draw_answers(net: nn.Module, world: ToyWorld, columns: int = 5) -> figures.Picture:
    """One toy picture of every class with its causes enclosed, what it is, and what `net` says of it."""
    count = len(world.classes)  # every run of so many pictures shows each class once
    batch = world.batch(range(count))
    transform = transform_for(net)
    inputs = torch.stack([transform(image) for image in batch["image"]])
    with torch.inference_mode():
        top = net.eval()(inputs).softmax(dim=1).max(dim=1)
    rows = -(-count // columns)
    figure, axes = figures.subplots(rows, columns, figsize=(9, 2.25 * rows))
    wrong = []
    for axis, i in zip(axes.flat, batch["label"].argsort().tolist(), strict=True):
        label, said, share = int(batch["label"][i]), int(top.indices[i]), float(top.values[i])
        axis.imshow(batch["image"][i].permute(1, 2, 0).numpy(), interpolation="lanczos")
        for colour, width in (("white", 2.2), ("black", 1.0)):  # seen on any ground
            axis.contour(batch["mask"][i].float().numpy(), levels=[0.5], colors=colour, linewidths=width)
        verdict = f"says so, {share:.0%}" if said == label else f"says {world.classes[said]}, {share:.0%}"
        axis.set_title(f"{world.classes[label]}\n{verdict}", fontsize=9, color="black" if said == label else "#b03000")
        axis.axis("off")
        if said != label:
            wrong.append(f"{world.classes[label]} taken for {world.classes[said]}")
    told = f"{count - len(wrong)} are named rightly" + (f"; wrong: {', '.join(wrong)}" if wrong else "")
    return figures.show(figure, f"{count} toy pictures, one of each class, their causes enclosed by a line: {told}.")
