"""The figures of notebook 07: where nets attend, what that costs, and where heads look. Imports figures, nets and this room."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from matplotlib.patches import Patch, Rectangle
from torch import Tensor, nn

from netwright import figures
from netwright.lessons.halonet.costing import Cost, cost
from netwright.lessons.halonet.scoring import attention_weights
from netwright.nets.config import Halo, NetConfig
from netwright.nets.resnet import PLANES

CONV, ATTENTION = figures.CYCLE[0], figures.CYCLE[1]
FAINT = "#d9d9d9"

# Which blocks attend -----------------------------------------------------------------------------------------------


def stage_sides(config: NetConfig) -> list[int]:
    """The side of each stage's map, in pixels, for a picture of the size that the net is meant for."""
    sides, side = [], config.input_size // 4
    for stage in config.stages:
        side //= stage.stride
        sides.append(side)
    return sides


def draw_strips(configs: Mapping[str, NetConfig]) -> figures.Picture:
    """One strip a net, one cell a block, in the order in which they run; attention with its number of heads."""
    deepest = [max(len(config.stages[i].blocks) for config in configs.values()) for i in range(4)]
    starts = [sum(deepest[:i]) + 0.8 * i for i in range(4)]
    figure, axis = figures.subplots(figsize=(9, 0.72 * len(configs) + 1.2))
    spoken = []
    for row, (name, config) in enumerate(configs.items()):
        found = []
        for number, (stage, side) in enumerate(zip(config.stages, stage_sides(config), strict=True)):
            for i, block in enumerate(stage.blocks):
                halo, left = block.spatial_attention, starts[number] + i
                axis.add_patch(Rectangle((left + 0.05, row - 0.3), 0.9, 0.6, color=ATTENTION if halo else CONV))
                if halo:
                    axis.text(left + 0.5, row, halo.heads, ha="center", va="center", color="white", fontsize=11)
                    found.append(f"{number}.{i}")
            axis.text(starts[number] + 0.05, row + 0.34, f"{side}×{side}", va="top", fontsize=9, color="#555555")
        spoken.append(f"{name} at {', '.join(found)}")
    for number, start in enumerate(starts):
        axis.text(start + 0.05, -0.55, f"stage {number}", fontsize=11, va="bottom")
    axis.set(xlim=(-0.1, starts[-1] + deepest[-1] + 0.1), ylim=(len(configs) - 0.3, -0.9))
    axis.set_yticks(range(len(configs)), configs)
    axis.tick_params(length=0)
    axis.set_xticks([])
    axis.spines[:].set_visible(False)
    handles = [
        Patch(color=CONV, label="3×3 convolution"),
        Patch(color=ATTENTION, label="halo attention, with its heads"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figures.show(
        figure, f"Which blocks of which stage attend, counted from 0: {'; '.join(spoken)}. All others are convolutions."
    )


# What it costs -----------------------------------------------------------------------------------------------------

STAGES = tuple((planes, 64 // 2**i) for i, planes in enumerate(PLANES))  # (channels of a middle, side) at 256 pixels
HIGHEST = 470e6  # multiply-adds, of every setting of the sliders


def draw_costs(count: Callable[..., Cost] = cost, *, block_size: int = 8, halo: int = 3) -> figures.Picture:
    """A middle of each stage of ResNet-50 at 256 pixels: multiply-adds and parameters, as convolution and as attention.

    count: as `cost`, the reader's own. 8 heads. The grey number is what it would be if each pixel saw the whole map.
    """
    figure, (work, size) = figures.subplots(1, 2, figsize=(9, 3.8), width_ratios=(1.9, 1))
    spoken = []
    for i, (channels, side) in enumerate(STAGES):
        layer, fits = Halo(8, block_size, halo), side % block_size == 0
        costs = count(channels, side, side, layer)
        (conv_parameters, conv), (parameters, attention) = costs["convolution"], costs["attention"]
        everywhere = count(channels, side, side, Halo(8, side, 0))["attention"][1]
        work.bar(i - 0.2, conv, 0.36, color=CONV)
        size.bar(i - 0.2, conv_parameters, 0.36, color=CONV)
        size.bar(i + 0.2, parameters, 0.36, color=ATTENTION)
        work.text(
            i,
            HIGHEST * 0.98,
            f"whole map\n{everywhere / 1e6:,.0f} M",
            ha="center",
            va="top",
            fontsize=9,
            color="#777777",
        )
        if not fits:
            work.text(i + 0.2, HIGHEST * 0.02, "does not fit", rotation=90, ha="center", va="bottom", fontsize=9)
            spoken.append(f"stage {i}: {conv / 1e6:.0f} M, blocks do not fit")
            continue
        projections = 3 * channels**2 * side**2
        work.bar(i + 0.2, projections, 0.36, color=ATTENTION)
        work.bar(i + 0.2, attention - projections, 0.36, bottom=projections, color="#f3b183")
        spoken.append(f"stage {i}: {conv / 1e6:.0f} M and {attention / 1e6:.0f} M")
    labels = [f"stage {i}\n{channels} ch., {side}×{side}" for i, (channels, side) in enumerate(STAGES)]
    work.set(title="multiply-adds, in millions", ylim=(0, HIGHEST), xlim=(-0.6, 3.6))
    work.set_yticks([0, 100e6, 200e6, 300e6], [0, 100, 200, 300])
    work.set_xticks(range(4), labels, fontsize=9)
    size.set(title="parameters", yscale="log", ylim=(1e4, 4e6), xlabel="stage")
    size.set_xticks(range(4), range(4))
    handles = [
        Patch(color=CONV, label="3×3 convolution"),
        Patch(color=ATTENTION, label="attention: projections"),
        Patch(color="#f3b183", label=f"its window of {block_size + 2 * halo}×{block_size + 2 * halo}"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=10)
    return figures.show(
        figure,
        f"Multiply-adds of a 3×3 convolution and of halo attention with block {block_size}, halo {halo}: {'; '.join(spoken)}. "
        "Attention has about a third of the parameters.",
    )


# Where heads look --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """What one attention layer made of one picture: computed once, drawn for any query.

    picture: (height, width, 3), 0 to 1; weights: (heads, rows, columns, queries, keys), rows and columns of blocks.
    block_size and halo are in pixels of the layer's map, of which each is `pixel` pixels of the picture wide.
    error: how far weights times values are from what the layer put out, relative.
    """

    picture: Tensor
    weights: Tensor = field(repr=False)
    block_size: int
    halo: int
    pixel: int
    error: float

    @property
    def side(self) -> int:
        """Queries of the map, from left to right and from top to bottom."""
        return round(self.weights.shape[3] ** 0.5) * self.weights.shape[1]


@torch.inference_mode()
def look(net: nn.Module, layer: str, x: Tensor, picture: Tensor) -> Look:
    """Run `net` on one normalised picture x (1, 3, side, side) and keep the attention weights of the module `layer`.

    picture: what x was made from, (3, side, side) from 0 to 1. Raises ValueError if the weights do not give back what the
    layer put out.
    """
    seen = {}
    attention = net.get_submodule(layer)
    hook = attention.register_forward_hook(lambda module, inputs, output: seen.update(x=inputs[0], out=output))
    try:
        net(x)
    finally:
        hook.remove()
    weights, values = attention_weights(attention, seen["x"])
    queries = round(weights.shape[4] ** 0.5)
    out = (weights @ values).unflatten(4, (queries, queries)).permute(0, 1, 6, 2, 4, 3, 5)
    out = attention.pool(out.flatten(5, 6).flatten(3, 4).flatten(1, 2))
    error = ((out - seen["out"]).abs().max() / seen["out"].abs().max()).item()
    if error > 1e-4:
        raise ValueError(f"The weights of {layer} do not give back its output: they are off by {error:.2g}.")
    pixel = x.shape[-1] // seen["x"].shape[-1]
    return Look(picture.permute(1, 2, 0), weights[0], attention.block_size, attention.halo, pixel, error)


def masses(look: Look, row: int, column: int) -> list[tuple[float, float, float]]:
    """For each head, how much of a query's weight lies in its own block, in the halo, and outside of the picture."""
    _, maps, _, _, (top, left) = _of_query(look, row, column)
    halo, block, blocks = look.halo, look.block_size, look.weights.shape[1:3]
    inside = torch.zeros_like(maps[0], dtype=torch.bool)
    inside[halo : halo + block, halo : halo + block] = True
    rows, columns = (torch.arange(maps.shape[-1]) + start for start in (top, left))
    real = ((rows >= 0) & (rows < blocks[0] * block))[:, None] & ((columns >= 0) & (columns < blocks[1] * block))
    return [(one[inside].sum().item(), one[~inside & real].sum().item(), one[~real].sum().item()) for one in maps]


def draw_look(look: Look, row: int, column: int) -> figures.Picture:
    """One query, and for each head how much weight it gives to each key of its window, on one scale for all heads."""
    asks, maps, block, window, _ = _of_query(look, row, column)
    heads, size = len(maps), look.picture.shape[0]
    margin = look.halo * look.pixel
    figure, axes = figures.subplots(1, heads + 1, figsize=(9, 3.0))
    axes[0].imshow(look.picture.numpy(), extent=(0, size, size, 0))
    axes[0].set_title("the picture", fontsize=10)
    shown = None
    shares = masses(look, row, column)
    for i, (axis, one, share) in enumerate(zip(axes[1:], maps, shares, strict=True)):
        left, top, width, _ = window
        shown = axis.imshow(one.numpy(), vmin=0, vmax=maps.max().item(), extent=(left, left + width, top + width, top))
        axis.set_title(f"head {i + 1}\noutside {share[2]:.0%}", fontsize=10)
        axis.add_patch(Rectangle((0, 0), size, size, fill=False, edgecolor="#555555", linewidth=1))
    for i, axis in enumerate(axes):
        dark = "black" if i == 0 else "white"
        axis.add_patch(
            Rectangle(window[:2], *window[2:], fill=False, edgecolor=figures.CYCLE[4], linewidth=1.5, linestyle="--")
        )
        axis.add_patch(Rectangle(block[:2], *block[2:], fill=False, edgecolor=figures.CYCLE[5], linewidth=1.5))
        axis.add_patch(Rectangle(asks[:2], *asks[2:], fill=False, edgecolor=dark, linewidth=1.5))
        axis.set(xlim=(-margin - 1, size + margin + 1), ylim=(size + margin + 1, -margin - 1), aspect="equal")
        axis.axis("off")
    bar = figure.colorbar(shown, ax=axes[1:], location="bottom", shrink=0.5, aspect=40)
    bar.set_label("weight of a key", fontsize=9)
    bar.ax.tick_params(labelsize=9)
    spoken = "; ".join(f"head {i + 1}: {a:.0%}, {b:.0%}, {c:.0%}" for i, (a, b, c) in enumerate(shares))
    return figures.show(
        figure,
        f"The query in row {row}, column {column}, its block and the window around it. Weight in its own block, in the halo "
        f"and outside of the picture: {spoken}.",
    )


def _of_query(look: Look, row: int, column: int):
    """(query, its map of weights by head, block, window, first row and column): rectangles are x, y, width, height."""
    queries = round(look.weights.shape[3] ** 0.5)  # of a block, along its side
    (block_row, y), (block_column, x) = divmod(row, queries), divmod(column, queries)
    size = look.block_size + 2 * look.halo
    maps = look.weights[:, block_row, block_column, y * queries + x].unflatten(1, (size, size))
    top, left = (place * look.block_size - look.halo for place in (block_row, block_column))
    stride = look.block_size // queries
    asks = (column * stride * look.pixel, row * stride * look.pixel, look.pixel, look.pixel)
    block = (
        *(place * look.block_size * look.pixel for place in (block_column, block_row)),
        *[look.block_size * look.pixel] * 2,
    )
    window = (left * look.pixel, top * look.pixel, size * look.pixel, size * look.pixel)
    return asks, maps, block, window, (top, left)
