"""The figures of what stems, strides and pools see, and of the shapes on the way through a net. Imports figures and nets."""

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from netwright import figures
from netwright.nets.config import Stem
from netwright.nets.resnet import StemLayers

MAP = 6  # pixels a side of the map in draw_reach: small enough to print a number into every pixel


# What a layer reads --------------------------------------------------------------------------------------------


def draw_stems() -> figures.Picture:
    """How often each pixel of the picture is read for one pixel of the map before the pool, by two stems."""
    stems = {"one 7×7 convolution": Stem(), "three 3×3 convolutions": Stem((32, 32, 64), kernel_size=3)}
    figure, axes = figures.subplots(1, 2, figsize=(7, 3.4))
    told = []
    for axis, (name, config) in zip(axes, stems.items(), strict=True):
        convolutions = nn.Sequential(*list(StemLayers(config, 3, "batch", "relu"))[:-1])
        ways = reach(convolutions, torch.ones(1, 3, 24, 24), pixel=(6, 6))
        share = np.where(ways > 0, ways / ways.max(), np.nan)
        side = int((ways.sum(0) > 0).sum())
        axis.imshow(share, vmin=0, vmax=1, cmap=mpl.colormaps[figures.SEQUENTIAL].with_extremes(bad="0.9"))
        axis.set_title(f"{name}\nreads {side}×{side} pixels")
        axis.set(xticks=[], yticks=[])
        told.append(f"{name}: {side}×{side} pixels")
    bar = figure.colorbar(axes[1].images[0], ax=axes, shrink=0.8)
    bar.set_label("ways from a pixel to the map\n(share of the most; grey: none)", fontsize=10)
    words = "Which pixels of a picture one pixel of the stem's map reads, before the max pool, all weights being one. "
    return figures.show(figure, f"{words}{'; '.join(told)}. The 7×7 reads all alike, the three 3×3 mostly the middle.")


def reach(layer: nn.Module, x: Tensor, pixel: tuple[int, int] | None = None) -> np.ndarray:
    """(height, width): how much each pixel of x adds to the output of `layer` (at one pixel, or to all of it).

    Every convolution's weights become one and every normalisation does nothing, so that what is left is the layout.
    """
    layer = layer.eval()
    for module in layer.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.ones_(module.weight)
    x = x.clone().requires_grad_()
    y = layer(x)
    (gradient,) = torch.autograd.grad(y.sum() if pixel is None else y[..., pixel[0], pixel[1]].sum(), x)
    return gradient[0].sum(0).numpy()


def strides() -> dict[str, nn.Module]:
    """Four ways to halve a map of one channel."""
    return {
        "1×1 convolution, stride 2\nResNet's shortcut": nn.Conv2d(1, 1, 1, stride=2, bias=False),
        "2×2 mean, then 1×1\nResNeSt's shortcut": nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(1, 1, 1, bias=False)),
        "3×3 convolution, stride 2\nResNet's branch": nn.Conv2d(1, 1, 3, stride=2, padding=1, bias=False),
        "3×3, then 3×3 mean\nResNeSt's branch": nn.Sequential(
            nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.AvgPool2d(3, 2, padding=1)
        ),
    }


def draw_reach() -> figures.Picture:
    """What every pixel of a small map adds to the halved map, in four ways to halve it; 1 is its fair share."""
    figure, axes = figures.subplots(1, 4, figsize=(10.5, 3.5))
    told = []
    for axis, (name, layer) in zip(axes, strides().items(), strict=True):
        counted = reach(layer, torch.ones(1, 1, MAP, MAP))
        share = counted / counted.mean()
        shown = np.where(counted > 0, share, np.nan)
        axis.imshow(shown, vmin=0, vmax=4, cmap=mpl.colormaps[figures.SEQUENTIAL].with_extremes(bad="0.9"))
        for (y, x), value in np.ndenumerate(share):
            ink = "black" if value == 0 or value > 2 else "white"
            axis.text(x, y, f"{value:.1f}" if value else "0", ha="center", va="center", fontsize=8.5, color=ink)
        part = (counted > 0).mean()
        axis.set_title(f"{name}\nreads {part:.0%} of the pixels", fontsize=10.5)
        axis.set(xticks=[], yticks=[])
        told.append(f"{name.replace(chr(10), ', ')}: {part:.0%}, from {share.min():.1f} to {share.max():.1f}")
    words = (
        "How much each pixel of a map adds to the halved map, all weights being one, where 1 is its fair share. What "
    )
    return figures.show(figure, f"{words}part of the pixels is read, and with which shares: {'; '.join(told)}.")


# What comes back as another pattern ------------------------------------------------------------------------------


def halved(x: Tensor) -> dict[str, Tensor]:
    """x (batch, channels, height, width) at half the size, in three ways."""
    return {
        "every second pixel": x[:, :, ::2, ::2],
        "2×2 mean": nn.functional.avg_pool2d(x, 2),
        "3×3 mean": nn.functional.avg_pool2d(x, 3, 2, padding=1, count_include_pad=False),
    }


def draw_rings(side: int = 160) -> figures.Picture:
    """Rings that grow ever finer, halved in three ways, and how much of stripes of every fineness is left."""
    figure, axes = figures.subplots(1, 5, figsize=(11.5, 3.4), width_ratios=(1, 1, 1, 1, 1.5))
    maps = {"the map": rings(side), **halved(rings(side))}
    for axis, (name, one) in zip(axes, maps.items(), strict=False):
        axis.imshow(one[0, 0].numpy(), cmap="gray", vmin=-1, vmax=1)
        axis.set_title(f"{name}\n{one.shape[-1]}×{one.shape[-1]}", fontsize=10.5)
        axis.set(xticks=[], yticks=[])
    finenesses = np.linspace(0, 0.5, 41)
    told = []
    for name in halved(rings(8)):
        left = [contrast_left(name, fineness) for fineness in finenesses]
        axes[4].plot(finenesses, left, label=name)
        told.append(f"{name}: {contrast_left(name, 0.375):.0%}")
    axes[4].axvspan(0.25, 0.5, color="0.9", linewidth=0)
    axes[4].text(0.375, 0.83, "comes back as\nanother pattern", ha="center", va="center", fontsize=8.5)
    axes[4].set(xlabel="periods a pixel", ylabel="contrast left", ylim=(0, 1.7), xlim=(0, 0.5), yticks=(0, 0.5, 1))
    axes[4].legend(fontsize=9, loc="upper left", handlelength=1)
    words = "Fine rings, halved by taking every second pixel, by 2×2 means and by 3×3 means. Taking every second pixel "
    words += (
        "shows whole sets of rings that are not there; the means leave them faint. Of stripes with 0.375 periods a "
    )
    return figures.show(
        figure, f"{words}pixel, too fine for the halved map, this much contrast is left: {', '.join(told)}."
    )


def rings(side: int) -> Tensor:
    """(1, 1, side, side) from -1 to 1: rings around the centre, at the middle of each edge half a period a pixel."""
    at = torch.arange(side) - (side - 1) / 2
    return (torch.pi / side * (at**2 + at[:, None] ** 2)).cos().view(1, 1, side, side)


def contrast_left(way: str, fineness: float, phases: int = 8) -> float:
    """Of stripes with `fineness` periods a pixel and a deviation of 1: the deviation after halving them in this way."""
    phase = torch.arange(phases)[:, None] * torch.pi / phases
    stripes = 2**0.5 * (2 * torch.pi * fineness * torch.arange(400) + phase).sin()  # (phases, 400)
    x = stripes[:, None, None, :].expand(-1, 1, 8, -1)
    return halved(x)[way][:, :, 1:-1, 1:-1].square().mean().sqrt().item()


# The way through a net -------------------------------------------------------------------------------------------


def draw_shapes(net: nn.Module, side: int = 224) -> figures.Picture:
    """The maps of a net with `stem` and `stages` as it runs: each as high as it is, and as thick as it has channels."""
    shapes = {"picture": (3, side, side)}

    def keep(name: str):
        return lambda module, args, out: shapes.__setitem__(name, tuple(out.shape[1:]))

    handles = [net.stem.register_forward_hook(keep("stem"))]
    handles += [stage.register_forward_hook(keep(f"stages.{i}")) for i, stage in enumerate(net.stages)]
    try:
        with torch.no_grad():
            net.eval()(torch.zeros(1, 3, side, side))
    finally:
        for handle in handles:
            handle.remove()

    figure, axis = figures.subplots(1, 1, figsize=(9, 2.9))
    left, gap, most = 0.0, 0.75, max(channels for channels, *_ in shapes.values())
    for (name, (channels, height, width)), colour in zip(shapes.items(), figures.CYCLE, strict=False):
        thick = 1.6 * channels / most + 0.04
        high = height / side
        axis.add_patch(Rectangle((left, -high / 2), thick, high, color=colour, linewidth=0))
        middle = left + thick / 2
        axis.text(middle, 0.54, name, ha="center", va="bottom", fontsize=10.5)
        axis.text(middle, -0.55, f"{channels}\n{height}×{width}", ha="center", va="top", fontsize=10.5)
        left += thick + gap
    axis.set(xlim=(-0.4, left - gap + 0.4), ylim=(-0.9, 0.7))
    axis.axis("off")
    told = ", ".join(f"{name} {c} × {h} × {w}" for name, (c, h, w) in shapes.items())
    return figures.show(figure, f"The maps on the way through the net, as channels × height × width: {told}.")
