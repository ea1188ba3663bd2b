"""Exercise `attention.masses`: where a query looks. Imports the engine and trying."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from netwright.lessons.engine import Check
from netwright.lessons.trying import Numbers

PLACES = ("own", "halo", "padding")


def masses(weights: Tensor, block_size: int, halo: int) -> dict[str, Tensor]:
    """How much of each query's attention falls into its own block, into the halo around it, and outside the map.

    weights: (heads, rows, columns, queries, window, window), of a map of rows x columns blocks; the last two axes are
    the window's, window = block_size + 2 * halo, and sum to 1. Returns "own", "halo" and "padding", each (heads, rows,
    columns, queries); the three sum to 1. The halo is only the part of it that lies on the map.
    """
    rows, columns, _, window, _ = weights.shape[1:]

    def on_the_map(blocks: int) -> Tensor:  # (blocks, window), along one side
        place = torch.arange(blocks)[:, None] * block_size - halo + torch.arange(window)
        return (place >= 0) & (place < blocks * block_size)

    inside = on_the_map(rows)[:, None, None, :, None] & on_the_map(columns)[None, :, None, None, :]
    own = weights[..., halo : halo + block_size, halo : halo + block_size].sum((-2, -1))
    padding = (weights * ~inside).sum((-2, -1))  # inside is (rows, columns, 1, window, window)
    return {"own": own, "halo": 1 - own - padding, "padding": padding}


# heads, rows, columns, block_size, halo, queries along a side: a halo wider than a block, stride 2, no halo
MAPS = (
    (2, 2, 3, 2, 1, 2),
    (1, 3, 1, 3, 2, 3),
    (2, 1, 4, 2, 3, 2),
    (1, 3, 4, 4, 1, 2),
    (3, 1, 1, 4, 2, 2),
    (1, 2, 2, 3, 0, 3),
)


def _measure_masses(theirs: Callable) -> Iterator[tuple[str, Any]]:
    numbers = Numbers()
    for heads, rows, columns, block_size, halo, side in MAPS:
        window = block_size + 2 * halo
        weights = (2 * numbers(heads, rows, columns, side**2, window**2)).softmax(-1).unflatten(-1, (window, window))
        before = weights.clone()
        where = f"of {rows}×{columns} blocks of {block_size}×{block_size} with a halo of {halo}"
        found = theirs(weights, block_size, halo)
        yield f"the list of names {where}", sorted(found)
        # As one tensor: a mass that is 0 may come out as a rounding error of a sum that is 1.
        yield f"the tensor of masses (own block, halo, padding) {where}", torch.stack([found[name] for name in PLACES])
        yield f"the change of the weights, once your function has seen them, {where}", (weights - before).abs().max()


def _reading(
    *,
    own: Callable | None = None,
    outside: Callable | None = None,
    weighed: Callable = lambda weights: weights,
    names: tuple[str, str, str] = PLACES,
    put: Callable = lambda own, padding: (own, 1 - own - padding, padding),
) -> Callable:
    """`masses` with one step exchanged. own, outside: of (weights, block_size, halo) to a mask that broadcasts."""

    def ours_own(weights, block_size, halo):
        place = torch.arange(weights.shape[-1])
        near = (place >= halo) & (place < halo + block_size)
        return near[:, None] & near

    def wrong(weights, block_size, halo):
        looked = weighed(weights)
        sums = [
            (looked * mask).sum((-2, -1))
            for mask in (
                (own or ours_own)(weights, block_size, halo),
                (outside or _edges())(weights, block_size, halo),
            )
        ]
        return dict(zip(names, put(*sums), strict=True))

    return wrong


def _block_at(start: Callable) -> Callable:
    """Where the own block is taken to begin in the window, as a function of the halo."""

    def own(weights, block_size, halo):
        place = torch.arange(weights.shape[-1])
        near = (place >= start(halo)) & (place < start(halo) + block_size)
        return near[:, None] & near

    return own


def _cross(weights: Tensor, block_size: int, halo: int) -> Tensor:
    place = torch.arange(weights.shape[-1])
    near = (place >= halo) & (place < halo + block_size)
    return near[:, None] | near


def _edges(
    *, rows: bool = True, columns: bool = True, both: bool = False, late: int = 0, swapped: bool = False
) -> Callable:
    """Keys that are taken for padding. late: so many pixels beyond the edge still count as map."""

    def outside(weights, block_size, halo):
        down, across = weights.shape[1:3]
        if swapped:
            down, across = across, down

        def along(blocks):
            place = torch.arange(blocks)[:, None] * block_size - halo + torch.arange(weights.shape[-1])
            return (place < -late) | (place >= blocks * block_size + late)

        above, beside = along(down)[:, None, None, :, None], along(across)[None, :, None, None, :]
        if both:
            found = above & beside
        elif rows and columns:
            found = above | beside
        else:
            found = (above if rows else beside) | torch.zeros_like(above | beside)
        if swapped:  # the blocks of the turned map, in the order of their numbers
            found = found.flatten(0, 1).unflatten(0, (across, down))
        return found

    return outside


def _whole_halo(weights: Tensor, block_size: int, halo: int) -> Tensor:
    place = torch.arange(weights.shape[-1])
    near = (place >= halo) & (place < halo + block_size)
    return ~(near[:, None] & near)


def _strongest(weights: Tensor) -> Tensor:
    flat = weights.flatten(-2)
    return torch.zeros_like(flat).scatter(-1, flat.argmax(-1, keepdim=True), 1.0).view(weights.shape)


CHECKS = (
    Check(
        id="attention.masses",
        minutes=8,
        difficulty="medium",
        ours=masses,
        measure=_measure_masses,
        mistakes={
            "whose own block begins at the corner of the window": _reading(own=_block_at(lambda halo: 0)),
            "whose own block begins one pixel too late": _reading(own=_block_at(lambda halo: halo + 1)),
            "that takes the block's whole rows and columns for the block": _reading(own=_cross),
            "that takes the whole halo for padding": _reading(outside=_whole_halo),
            "that looks for padding above and below, not at the sides": _reading(outside=_edges(columns=False)),
            "that looks for padding at the sides, not above and below": _reading(outside=_edges(rows=False)),
            "that finds padding only where both the row and the column lie outside": _reading(
                outside=_edges(both=True)
            ),
            "that takes the first pixel beyond the edge for a part of the map": _reading(outside=_edges(late=1)),
            "that takes the last pixel of the map for padding": _reading(outside=_edges(late=-1)),
            "that numbers the blocks column by column": _reading(outside=_edges(swapped=True)),
            "that counts padding twice, as halo too": _reading(put=lambda own, padding: (own, 1 - own, padding)),
            "that shares out what is left without the padding, so that block and halo sum to 1": _reading(
                put=lambda own, padding: (own / (1 - padding), 1 - own / (1 - padding), padding)
            ),
            "that asks where the strongest key lies": _reading(weighed=_strongest),
            "that counts keys and does not weigh them": _reading(
                weighed=lambda weights: torch.ones_like(weights) / weights.shape[-1] ** 2
            ),
            "that answers with the halo and the padding exchanged": _reading(names=("own", "padding", "halo")),
        },
        hints=(
            (
                "Of a window's rows, which belong to the block? And for the block in row r of blocks, which map row is window "
                "row u?"
            ),
            (
                "The block is rows and columns halo to halo + block_size of the window. Window row u of block row r is map row r * "
                "block_size - halo + u, and lies outside if that is negative or not below rows * block_size; columns alike. A key "
                "is padding if its row or its column lies outside."
            ),
            (
                "down = torch.arange(rows)[:, None] * block_size - halo + torch.arange(window) is (rows, window). With out_y and "
                "out_x such masks, outside = out_y[:, None, None, :, None] | out_x[None, :, None, None, :]. The halo is what is "
                "left of 1."
            ),
        ),
    ),
)
