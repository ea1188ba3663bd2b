"""The figures of notebook 06. Imports figures, nets and, of this room, experiments and limits."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from matplotlib.patches import Rectangle
from PIL import Image

from netwright import figures
from netwright.lessons.halo.experiments import Watched, layer_arguments, peak_bytes
from netwright.nets.halonet import halo_attention

BLUE, ORANGE, GREEN = figures.CYCLE[:3]
HEADS, DIM = 4, 32  # of the layers whose memory is drawn: those of HaloNet-50's second stage


def square(photo: Image.Image, side: int = 256) -> np.ndarray:
    """The largest square of a picture that touches its upper edge, (side, side, 3), from 0 to 1."""
    edge = min(photo.size)
    left = (photo.width - edge) // 2
    return np.asarray(photo.crop((left, 0, left + edge, edge)).resize((side, side), Image.Resampling.LANCZOS)) / 255


# Blocks and halos ----------------------------------------------------------------------------------------------


def draw_blocks(photo: np.ndarray, *, block_size: int = 8, halo: int = 3, map_size: int = 32) -> figures.Picture:
    """The blocks of a map laid over the picture, and the windows of a block in the middle and of one at the corner."""
    figure, axes = figures.subplots(1, 2, figsize=(9, 4.7))
    count = map_size // block_size
    shares = []
    for axis, (row, column), where in zip(axes, ((count // 2, count // 2), (0, 0)), ("middle", "corner"), strict=True):
        outside = _window_on(axis, photo, map_size, block_size, halo, row, column)
        axis.set_title(f"a block in the {where}: {_in_words(block_size, halo, outside)}", fontsize=11)
        shares.append(
            f"of the block in the {where}, {outside} of {(block_size + 2 * halo) ** 2} keys lie outside the map"
        )
    return figures.show(
        figure,
        f"A photograph as a map of {map_size}×{map_size} pixels, cut into blocks of {block_size}×{block_size}, twice. "
        f"Around one block a halo of {halo} pixels is marked: {'; '.join(shares)}.",
    )


def draw_memory(
    photo: np.ndarray, memory: Callable, *, block_size: int, halo: int, block: int, map_size: int = 32
) -> figures.Picture:
    """One block with its window, and beside it what the layer holds: windows and logits as estimated, and measured.

    memory: the reader's estimate, as in the exercise. block: a number along the diagonal of blocks, from the corner.
    """
    figure, axes = figures.subplots(1, 2, figsize=(9, 4.4), width_ratios=(1, 1.15))
    place = min(block, map_size // block_size - 1)
    outside = _window_on(axes[0], photo, map_size, block_size, halo, place, place)
    axes[0].set_title(_in_words(block_size, halo, outside), fontsize=11)

    windows, logits = memory(1, map_size, map_size, **layer_sizes(block_size, halo))
    _, whole = memory(1, map_size, map_size, **layer_sizes(map_size, 0))
    bars = {
        "windows, estimated": windows,
        "logits, estimated": logits,
        "all at its peak, measured": _peak(map_size, block_size, halo),
        "one block, no halo: logits": whole,
        "one block, no halo: peak": _peak(map_size, map_size, 0),
    }
    megabytes = [size / 1e6 for size in bars.values()]
    axes[1].barh(range(len(bars)), megabytes, color=(BLUE, BLUE, ORANGE, "#bbbbbb", "#bbbbbb"))
    axes[1].set_yticks(range(len(bars)), bars, fontsize=10)
    axes[1].invert_yaxis()
    for i, size in enumerate(megabytes):
        axes[1].text(size, i, f" {size:.2f}", va="center", fontsize=10)
    axes[1].set(xlabel="MB", xlim=(0, 1.2 * max(megabytes)))
    axes[1].set_title(f"{HEADS} heads of {DIM}, one picture", fontsize=11)
    spoken = ", ".join(f"{name} {size:.2f} MB" for name, size in zip(bars, megabytes, strict=True))
    return figures.show(
        figure,
        f"A map of {map_size}×{map_size} pixels in blocks of {block_size} with a halo of {halo}; {outside} keys of the "
        f"marked block lie outside the map. Memory: {spoken}.",
    )


@cache
def _peak(side: int, block_size: int, halo: int) -> int:
    """The bytes alive at the peak of the readable form, on a map of side x side pixels."""
    arguments, sizes = layer_arguments(side, side, heads=HEADS, dim=DIM, block_size=block_size, halo=halo)
    return peak_bytes(halo_attention, *arguments, **sizes)


def _window_on(axis, photo: np.ndarray, map_size: int, block_size: int, halo: int, row: int, column: int) -> int:
    """Draws the map, its blocks and one window; returns how many of that window's keys are outside the map."""
    margin = max(halo, 1)
    axis.set_facecolor("#222222")
    axis.imshow(photo, extent=(0, map_size, map_size, 0), interpolation="antialiased")
    for place in range(0, map_size + 1, block_size):
        for line in (axis.axhline, axis.axvline):
            line(
                place,
                margin / (map_size + 2 * margin),
                1 - margin / (map_size + 2 * margin),
                color="white",
                linewidth=0.8,
            )
    window = block_size + 2 * halo
    top, left = row * block_size - halo, column * block_size - halo
    axis.add_patch(Rectangle((left, top), window, window, facecolor="#56b4e955", edgecolor="#56b4e9", linewidth=2.5))
    corner = (column * block_size, row * block_size)
    axis.add_patch(Rectangle(corner, block_size, block_size, facecolor="#e69f0055", edgecolor="#e69f00", linewidth=2.5))
    axis.set(xlim=(-margin, map_size + margin), ylim=(map_size + margin, -margin))
    axis.set_xticks([])
    axis.set_yticks([])
    rows, columns = (min(start + window, map_size) - max(start, 0) for start in (top, left))
    return window**2 - rows * columns


def _in_words(block_size: int, halo: int, outside: int) -> str:
    window = (block_size + 2 * halo) ** 2
    return f"{block_size**2} queries, {window} keys,\n{outside or 'none'} of them padding"


def draw_cost(
    memory: Callable, *, sides: Sequence[int] = (8, 16, 32, 64, 128, 256), measured_to: int = 32
) -> figures.Picture:
    """The bytes of all logits against the side of the map, in blocks of 8 with a halo of 3 and without blocks.

    memory: the reader's estimate. Crosses: all that is alive at the peak of a run, windows and copies included.
    """
    figure, axis = figures.subplots(1, 1, figsize=(7, 3.8))
    few = [side for side in sides if side <= measured_to]
    spoken = []
    for name, kind, colour in (("every pixel asks every pixel", None, ORANGE), ("blocks of 8, halo 3", (8, 3), BLUE)):
        sizes = {side: layer_sizes(*(kind or (side, 0))) for side in sides}
        logits = [memory(1, side, side, **sizes[side])[1] for side in sides]
        axis.plot(sides, logits, color=colour, label=f"{name}: logits, estimated", marker="o", markersize=4)
        measured = [_peak(side, *(kind or (side, 0))) for side in few]
        axis.plot(few, measured, "x", color=colour, markersize=9, label=f"{name}: all at its peak, measured")
        spoken.append(f"{name}, from {_bytes(logits[0])} to {_bytes(logits[-1])}")
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xticks(sides, [f"{side}" for side in sides])
    ticks = [10**power for power in (5, 6, 7, 8, 9, 10, 11)]
    axis.set_yticks(ticks, [_bytes(tick) for tick in ticks])
    axis.set(xlabel="side of the map, in pixels", ylabel="bytes")
    axis.legend(fontsize=9)
    return figures.show(
        figure,
        f"The memory of the logits of one layer for maps of side {sides[0]} to {sides[-1]}: {'; '.join(spoken)}.",
    )


def layer_sizes(block_size: int, halo: int) -> dict[str, int]:
    """The sizes of a layer of HEADS heads of DIM, by name."""
    return {"heads": HEADS, "block_size": block_size, "halo": halo, "key_dim": DIM, "value_dim": DIM}


def _bytes(size: float) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:,.3g} {name}"
    return f"{size:.0f} bytes"


# Positions -----------------------------------------------------------------------------------------------------


def draw_index(block_size: int = 4, halo: int = 1) -> figures.Picture:
    """Which row of the height table a query in row y of its block uses for a key in row u of the window."""
    window = block_size + 2 * halo
    sides = {"stride 1": block_size, "stride 2: every second pixel asks": block_size // 2}
    figure, axes = figures.subplots(1, 2, figsize=(9, 3.7))
    spoken = []
    for axis, (name, side) in zip(axes, sides.items(), strict=True):
        row = torch.arange(window) - torch.arange(side)[:, None] + window - 1  # (y, u)
        axis.imshow(row.numpy(), vmin=0, vmax=2 * window - 2, cmap=figures.SEQUENTIAL, aspect="equal")
        for y in range(side):
            for u in range(window):
                number = int(row[y, u])
                axis.text(
                    u, y, number, ha="center", va="center", fontsize=11, color="white" if number < window else "black"
                )
        axis.axvline(halo - 0.5, color="white", linewidth=2)
        axis.axvline(halo + block_size - 0.5, color="white", linewidth=2)
        axis.set_xticks(range(window))
        axis.set_yticks(range(side))
        axis.set(xlabel="u: the key's row in the window", ylabel="y: the query's row")
        axis.set_title(name, fontsize=11)
        axis.spines[:].set_visible(False)
        unused = sorted(set(range(2 * window - 1)) - set(row.flatten().tolist()))
        spoken.append(
            f"{name}: rows {int(row.min())} to {int(row.max())} are used, {len(unused)} of {2 * window - 1} never"
        )
    return figures.show(
        figure,
        f"Tables of the row of the position table by query row and key row, for blocks of {block_size} with a halo of {halo}: "
        f"u - y + {window - 1}. {'; '.join(spoken)}.",
    )


# What a query sees ---------------------------------------------------------------------------------------------


def reach_in_a_row(attend: Callable, width: int = 32, block_size: int = 8, halo: int = 3) -> np.ndarray:
    """(queries, keys): whether the pixel in a column of the middle row reaches the answer in another, by gradients."""
    (query, key_value, *tables), sizes = layer_arguments(
        block_size, width, heads=1, dim=4, block_size=block_size, halo=halo
    )
    key_value.requires_grad_()
    out = attend(query, key_value, *tables, **sizes)[0, :, block_size // 2]  # (dim, width)
    reached = []
    for column in range(width):
        (gradient,) = torch.autograd.grad(out[:, column].sum(), key_value, retain_graph=True)
        reached.append(gradient[0].abs().sum((0, 1)) > 0)
    return torch.stack(reached).numpy()


def shift_error(attend: Callable, shifts: Sequence[int], block_size: int = 8, halo: int = 3) -> list[float]:
    """How much an answer differs when its input is shifted to the right and the answer shifted back.

    The largest difference over the largest value, in the middle of a map of 7 x 7 blocks, where no padding is seen.
    """
    side = 7 * block_size
    (query, key_value, *tables), sizes = layer_arguments(side, side, heads=2, dim=4, block_size=block_size, halo=halo)
    at_rest = attend(query, key_value, *tables, **sizes)
    errors = []
    for shift in shifts:
        moved = attend(query.roll(shift, 3), key_value.roll(shift, 3), *tables, **sizes).roll(-shift, 3)
        middle = slice(3 * block_size, 4 * block_size)
        a, b = at_rest[:, :, middle, middle], moved[:, :, middle, middle]
        errors.append(((a - b).abs().max() / a.abs().max()).item())
    return errors


def draw_reach(attend: Callable, block_size: int = 8, halo: int = 3, width: int = 32) -> figures.Picture:
    """Which columns a query sees, beside those of a convolution as wide; and what a shift of the input does."""
    window = block_size + 2 * halo
    columns = np.arange(width)
    convolution = np.abs(columns[:, None] - columns) <= window // 2
    attention = reach_in_a_row(attend, width, block_size, halo)
    figure, axes = figures.subplots(1, 3, figsize=(10, 3.7), width_ratios=(1, 1, 1.1))
    for axis, seen, name in (
        (axes[0], convolution, f"{window + 1}×{window + 1} convolution"),
        (axes[1], attention, "halo attention"),
    ):
        axis.imshow(np.where(seen, 1.0, 0.0), cmap="Blues", vmin=0, vmax=1.4)
        axis.plot(columns, columns, color=ORANGE, linewidth=1.5)
        axis.set_xticks(range(0, width + 1, block_size))
        axis.set_yticks(range(0, width + 1, block_size))
        axis.set(xlabel="column that it sees", title=name)
        axis.title.set_fontsize(11)
    axes[0].set_ylabel("column of the query")
    shifts = list(range(2 * block_size + 1))
    errors = shift_error(attend, shifts, block_size, halo)
    axes[2].bar(shifts, errors, color=BLUE)
    axes[2].set_xticks(range(0, 2 * block_size + 1, block_size // 2))
    axes[2].set(xlabel="shift of the input, in pixels", ylabel="change of the answer")
    axes[2].set_title("does the answer shift along?", fontsize=11)
    right = [int(np.flatnonzero(row).max()) - i for i, row in enumerate(attention)]
    border = block_size * (width // block_size // 2)
    none = ", ".join(str(shift) for shift, error in zip(shifts, errors, strict=True) if error < 1e-6)
    return figures.show(
        figure,
        f"Three panels. A convolution sees a band about the query; halo attention sees a staircase: the query in column "
        f"{border - 1} sees {right[border - 1]} columns to its right, its neighbour in column {border} sees {right[border]}. "
        f"Third, the change of the answer by the shift of its input: none at {none} pixels, "
        f"at most {max(errors):.2f} of the largest value in between.",
    )


# Padding -------------------------------------------------------------------------------------------------------


def draw_padding(watched: Sequence[Watched]) -> figures.Picture:
    """For each attention and head, how much of each query's attention falls outside the map; first, if keys were alike."""
    most = max(len(one.mass[0]) for one in watched)
    figure, axes = figures.subplots(len(watched), most + 1, figsize=(10, 1.75 * len(watched) + 0.5), squeeze=False)
    spoken = []
    for row, one in zip(axes, watched, strict=True):
        heads = one.mass.mean(0)  # (heads, height, width)
        for axis in row:
            axis.axis("off")
        height, width = one.even.shape
        names = (f"{height}×{width} all alike", *(f"head {i}" for i in range(len(heads))))
        for axis, share, name in zip(row, (one.even, *heads), names, strict=False):
            image = axis.imshow(share.numpy(), vmin=0, vmax=1)
            axis.set_title(f"{name}\n{share.mean():.0%}", fontsize=10)
        means = heads.mean((1, 2))
        spoken.append(
            f"{one.name}, {height}×{width} queries, {one.even.mean():.0%} if all keys were alike, and by head "
            f"{', '.join(f'{mean:.0%}' for mean in means)}"
        )
    bar = figure.colorbar(image, ax=axes, ticks=(0, 0.5, 1), shrink=0.8, pad=0.02)
    bar.ax.set_yticklabels(("none", "half", "all"), fontsize=10)
    return figures.show(figure, f"The share of attention that falls outside the map, by query: {'; '.join(spoken)}.")
