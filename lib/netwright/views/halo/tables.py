"""The relative tables of a halo layer against what is really that far away, and which rows nobody reads.

Imports probing, the house of the views, halo, parts and still.
"""

from __future__ import annotations

import copy
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright.figures import Picture
from netwright.probing.capture import Probe, evaluating
from netwright.views.halo import parts
from netwright.views.halo.explorer import HaloExplorer
from netwright.views.view import Identity, NotInThisNet, View, relative

LOUD = 1e4  # a logit beside which all others are silent
AXES = ("height", "width")


class RelativeTables(View):
    """What a layer has learnt of where things are: its two tables, drawn against true offsets.

    probe, layer: as for HaloExplorer. Raises NotInThisNet.

    data: "layer"; "height_table", "width_table" (rows, key_dim), rows = 2 * window - 1; for query y of a block

    - "offsets" (side, rows): how far below (to the right of) query y the key lies for which it reads a row, in keys;
    - "read" (side, rows): whether query y reads it at all; "never_read" (rows,): whether no query does;
    - "zero_rows" (side,): the row of the query's own place, window - 1 + halo for the first, and not the centre,
      window - 1; at stride 2 it moves with the query, since u - y is counted in keys and in queries at once;
    - "mean_logits", (2, heads, rows): the position logit that each row of each table gives, averaged over the queries
      that read it (0 where none does). A logit depends on its query; only the average is a prior;
    - "measured", (2, side, rows): the offsets again, as the layer itself reads a table that is 0 but for one row (NaN
      where it never does).
    """

    def __init__(self, probe: Probe, layer: str | int | None = None):
        self._explorer = HaloExplorer(probe, layer)
        self.probe, self.layer = probe, self._explorer.layer

    @property
    def title(self) -> str:
        return f"Relative positions of {self.layer}"

    @cached_property
    def data(self) -> dict[str, Any]:
        it = self._explorer.layers[self.layer]
        y, row = np.arange(it.side)[:, None], np.arange(2 * it.window - 1)[None, :]
        u = row - (it.window - 1) + y  # the row of the window that query y reads it for
        read = (u >= 0) & (u < it.window)
        tables = [table.cpu().numpy() for table in (it.height_table, it.width_table)]
        return {
            "layer": self.layer, "block_size": it.block_size, "halo": it.halo, "stride": it.stride, "window": it.window,
            "pixels": it.pixels, "height_table": tables[0], "width_table": tables[1],
            "offsets": u - it.halo - it.stride * y, "read": read, "never_read": ~read.any(0),
            "zero_rows": it.window - 1 + it.halo + (it.stride - 1) * np.arange(it.side),
            "mean_logits": np.stack([_mean_logits(it, table, read, axis) for axis, table in enumerate(tables)]),
            "measured": self._measured["offsets"],
        }  # fmt: skip

    @cached_property
    def _measured(self) -> dict[str, Any]:
        return read_by_the_layer(self.probe.net.get_submodule(self.layer), self._explorer.layers[self.layer])

    def identities(self) -> list[Identity]:
        """That the layer reads each row where it is drawn, and none of those that are greyed."""
        data, measured = self.data, self.data["measured"]
        drawn = np.broadcast_to(np.where(data["read"], data["offsets"], 0), measured.shape)
        found = np.where(np.broadcast_to(data["read"], measured.shape), measured, 0)
        return [
            Identity("reads each row at the offset drawn", relative(found, drawn)),
            Identity("grey rows change nothing", self._measured["of never read"]),
        ]

    @property
    def alt(self) -> str:
        data = self.data
        rows, zero = len(data["never_read"]), data["zero_rows"]
        own = f"Row {zero[0]}" if len(set(zero)) == 1 else f"Rows {zero[0]} to {zero[-1]}, by query,"
        dead = np.flatnonzero(data["never_read"])
        never = f"rows {dead[0]} to {dead[-1]} are never read" if len(dead) else "every row is read"
        strongest = []
        for axis, logits in zip(AXES, data["mean_logits"], strict=True):
            head, row = np.unravel_index(np.abs(logits).argmax(), logits.shape)
            where = f"offset {data['offsets'][0, row]} of the first query"
            strongest.append(
                f"strongest of the {axis} table on average, head {head} at {where}: {logits[head, row]:+.2f}"
            )
        return (
            f"The relative tables of {self.layer}, {rows} rows each. {own} of each belong{'s' if len(set(zero)) == 1 else ''} "
            f"to the query's own place, not the centre, {data['window'] - 1}; {never}. {'; '.join(strongest)}."
        )

    def figure(self) -> Picture:
        from netwright.views.halo.still import draw_tables

        return draw_tables(self)

    def random_twin(self) -> RelativeTables:
        return RelativeTables(self.probe.twin(), self.layer)


def _mean_logits(layer: parts.HaloLayer, table: np.ndarray, read: np.ndarray, axis: int) -> np.ndarray:
    """(heads, rows): query · row of one table, averaged over the queries that read that row."""
    q = parts.into_blocks(layer.query, layer.side).cpu().numpy()  # (heads, rows, columns, y, x, key_dim)
    by_place = q.mean((1, 2, 4 if axis == 0 else 3))  # (heads, y or x, key_dim)
    logits = np.einsum("nyd,rd->nyr", by_place, table)
    return np.where(read, logits, 0).sum(1) / np.maximum(1, read.sum(0))


class _Gives(nn.Module):
    """A projection that always puts out the same."""

    def __init__(self, out: Tensor):
        super().__init__()
        self.out = out

    def forward(self, x: Tensor) -> Tensor:
        return self.out.expand(len(x), -1, -1, -1)


@torch.no_grad()
def read_by_the_layer(module: nn.Module, layer: parts.HaloLayer) -> dict[str, Any]:
    """Where a layer reads each row of its tables, found by asking a copy of it.

    All keys are 0, all queries (1, 0, 0, …), and one row of one table is (10000, 0, …): each query then puts out the
    mean value of the keys for which it reads that row. The values are the keys' coordinates, and their squares: what is
    spread over the whole window was not read. Returns "offsets", as RelativeTables.data["measured"], and "of never
    read": by how much the answer changes, in keys, if all rows are loud that no query should read.
    """
    asked = copy.deepcopy(module)
    for name, child in list(asked.named_children()):
        if isinstance(child, nn.AvgPool2d):
            setattr(asked, name, nn.Identity())  # each query is asked by itself
    around = -(-layer.halo // layer.block_size)  # blocks, so that the window of the middle one is inside
    size, start = (1 + 2 * around) * layer.block_size, around * layer.side
    weight, value_dim = asked.height_table, layer.value.shape[-1]
    if value_dim < 2:
        raise NotInThisNet(f"{layer.name} has values of one number; two are needed to see which row it reads.")
    query = weight.new_zeros(1, layer.heads, layer.key_dim, size // layer.stride, size // layer.stride)
    query[:, :, 0] = 1
    asked.query = _Gives(query.flatten(1, 2))
    x = weight.new_zeros(1, len(layer.input), size, size)
    place = torch.arange(size, dtype=weight.dtype, device=weight.device)
    middle = slice(start, start + layer.side)
    own = layer.block_size * around + layer.stride * np.arange(layer.side)  # where the middle block's queries are

    tables = (asked.height_table, asked.width_table)
    offsets = np.full((2, layer.side, len(weight)), np.nan)
    unread = sorted(set(range(len(weight))) - set(parts.table_rows(layer).flatten().tolist()))
    of_unread = 0.0
    with evaluating(asked):
        for axis, table in enumerate(tables):
            values = weight.new_zeros(1, layer.heads, layer.key_dim + value_dim, size, size)
            values[:, :, layer.key_dim] = place[:, None] if axis == 0 else place[None, :]
            values[:, :, layer.key_dim + 1] = values[:, :, layer.key_dim] ** 2
            asked.key_value = _Gives(values.flatten(1, 2))

            def answered(rows: list[int], table=table, axis=axis) -> np.ndarray:
                """Mean and mean square of the coordinates that the middle block's queries read: (2, side)."""
                for other in tables:
                    other.zero_()
                table[rows, 0] = LOUD
                out = asked(x).unflatten(1, (layer.heads, value_dim))[0, 0, :2, middle, middle]
                return (out[:, :, 0] if axis == 0 else out[:, 0]).float().cpu().numpy()

            for row in range(len(table)):
                mean, square = answered([row])
                offsets[axis, :, row] = np.where(square - mean**2 < 0.1, mean - own, np.nan)
            of_unread = max(of_unread, float(np.abs(answered(unread) - answered([]))[0].max()))
    return {"offsets": offsets, "of never read": of_unread}
