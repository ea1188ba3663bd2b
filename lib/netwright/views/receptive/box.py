"""Which pixels a cell of a map can see at all: its box, read off the operations that make the map. Imports probing.

Every operation of one forward pass is watched, and for each tensor is kept what each of its rows and each of its
columns has read. Windows are rectangles, so a cell's box is its row's stretch times its column's: the smallest
rectangle that holds all that the cell reads, along branches and shortcuts alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from netwright.probing.capture import ProbeError, evaluating, hooked

NOTHING = (1 << 30, -1)  # first and last of what padding has read
EXACT, UPPER_BOUND, GLOBAL = "EXACT", "UPPER BOUND", "GLOBAL"

Extent = tuple[int, int, int, int]  # first row, last row, first column, last column; all of them inside


@dataclass(frozen=True)
class Boxes:
    """The boxes of all cells of a map, in pixels of the input, first and last pixel inside.

    rows: (height, 2), first and last pixel row that each row of the map reads; columns: (width, 2) likewise. Gates are
    left out: what a channel's gate has read off the whole map reaches every cell alike. extent: what is read through
    them, or None where there is no gate. status: EXACT: no smaller box would do, for weights that are not zero;
    UPPER BOUND: an operation was met that is not known here, and was taken to read everything; GLOBAL: through a gate
    the cell sees all of `extent`, and `rows` and `columns` are its local path. gates: the modules that read the means.
    """

    rows: np.ndarray
    columns: np.ndarray
    extent: Extent | None
    status: str
    gates: tuple[str, ...]

    def local(self, row: int, column: int) -> Extent:
        """The box of a cell along the local path."""
        return (*map(int, self.rows[row]), *map(int, self.columns[column]))

    def whole(self, row: int, column: int) -> Extent:
        """The box of a cell, gates included."""
        return self.local(row, column) if self.extent is None else _both(self.local(row, column), self.extent)


@dataclass(frozen=True)
class _Reach:
    """What a tensor has read. rows, columns: for each place along its last two axes, or None where it has no places."""

    rows: np.ndarray | None
    columns: np.ndarray | None
    everywhere: Extent | None = None  # what every place has read through gates; without places: all that was read
    gate: bool = True  # without places: whether that is a mean over the map, and not something unknown
    exact: bool = True

    @property
    def all(self) -> Extent:
        if self.rows is None:
            return self.everywhere
        stretch = (self.rows[:, 0].min(), self.rows[:, 1].max(), self.columns[:, 0].min(), self.columns[:, 1].max())
        return _both(tuple(map(int, stretch)), self.everywhere)


class Reached(Exception):
    """Ends a forward pass: the place that was asked for has been made."""


def boxes(net: nn.Module, picture: Tensor, places: Sequence[str]) -> dict[str, Boxes]:
    """The boxes of the cells of the maps that the modules `places` put out for `picture` (1, channels, height, width).

    One forward pass, no further than the last place; the net is left as it was. Raises ProbeError where a place is
    never run or holds no map.
    """
    trace = _Trace(picture)
    found: dict[str, Boxes] = {}

    def look(place: str):
        def keep(_, given, out):
            found[place] = _boxes(place, out, trace)
            if len(found) == len(places):
                raise Reached

        return keep

    hooks = []
    for name, module in net.named_modules():
        if name and isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            hooks.append(lambda m=module, n=name: m.register_forward_pre_hook(lambda _, given: trace.meet(n, given[0])))
        if rule := _rule_of(module):
            hooks.append(lambda m=module: m.register_forward_pre_hook(lambda _, given: trace.enter()))
            hooks.append(
                lambda m=module, r=rule: m.register_forward_hook(lambda _, given, out: trace.leave(given[0], out, m, r))
            )
    # Hooks run in this order: a part's rule has spoken before its output is looked at.
    hooks += [lambda p=place: net.get_submodule(p).register_forward_hook(look(p)) for place in places]
    with evaluating(net), hooked(hooks), torch.no_grad(), trace:
        try:
            net(picture)
        except Reached:
            pass
    if missing := set(places) - set(found):
        raise ProbeError(f"{', '.join(sorted(missing))}: never run with this picture, so there is no map to stand in.")
    return found


def _boxes(place: str, out, trace: _Trace) -> Boxes:
    reach = trace.of(out)
    if reach is None or out.ndim != 4:
        raise ProbeError(
            f"{place!r} makes no map of the picture (batch, channels, height, width): its cells have no box."
        )
    if reach.rows is None:
        y0, y1, x0, x1 = reach.everywhere
        rows, columns = _alike(out.shape[2], y0, y1), _alike(out.shape[3], x0, x1)
        reach = replace(reach, rows=rows, columns=columns, everywhere=None, exact=False)
    status = GLOBAL if reach.everywhere is not None else EXACT if reach.exact else UPPER_BOUND
    return Boxes(reach.rows, reach.columns, reach.everywhere, status, tuple(trace.gates))


# The rules -----------------------------------------------------------------------------------------------------------


def window(reach: np.ndarray, count: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> np.ndarray:
    """What `count` windows of a convolution or a pool read along one axis, each of the cells having read `reach`."""
    taps = np.arange(count)[:, None] * stride - padding + np.arange(kernel)[None, :] * dilation
    inside = (taps >= 0) & (taps < len(reach))
    taps = taps.clip(0, len(reach) - 1)
    first = np.where(inside, reach[taps, 0], NOTHING[0]).min(1)
    last = np.where(inside, reach[taps, 1], NOTHING[1]).max(1)
    return np.stack((first, last), 1)


def halo_window(reach: np.ndarray, module: nn.Module) -> np.ndarray:
    """What the queries of halo attention read along one axis: the block that they are in, and the halo around it."""
    size, halo, stride = module.block_size, module.halo, module.query.stride[0]
    by_block = window(reach, len(reach) // size, size + 2 * halo, size, halo)
    queries = np.repeat(by_block, size // stride, axis=0)
    pooled = isinstance(module.pool, nn.AvgPool2d)
    return window(queries, len(queries) // 2, 2, 2, 0) if pooled else queries


def _halo(reach: _Reach, module: nn.Module, out: Tensor) -> _Reach:
    return replace(reach, rows=halo_window(reach.rows, module), columns=halo_window(reach.columns, module))


def _mixing(reach: _Reach, module: nn.Module, out: Tensor) -> _Reach:
    """Attention over the whole map: every cell reads what all cells have read."""
    y0, y1, x0, x1 = reach.all
    return replace(reach, rows=_alike(out.shape[2], y0, y1), columns=_alike(out.shape[3], x0, x1))


def _rule_of(module: nn.Module):
    """Parts that are known as a whole, by what they are made of, so that a reader's own are known too."""
    if all(hasattr(module, name) for name in ("block_size", "halo", "query", "key_value", "pool")):
        return _halo
    if all(hasattr(module, name) for name in ("qkv", "heads", "pool")):  # BoT attention and lambda layers
        return _mixing
    return _mixing if isinstance(module, nn.GroupNorm) else None


def _alike(count: int, first: int, last: int) -> np.ndarray:
    return np.tile(np.array([first, last]), (count, 1))


def _both(a: Extent, b: Extent | None) -> Extent:
    return a if b is None else (min(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), max(a[3], b[3]))


NORMS = {"native_batch_norm", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit", "cudnn_batch_norm"}
NORMS |= {"_batch_norm_no_update", "batch_norm", "miopen_batch_norm"}
POOLS = {"max_pool2d_with_indices", "max_pool2d", "avg_pool2d", "mkldnn_max_pool2d"}
VIEWED = {"view", "_unsafe_view", "_reshape_alias", "unsqueeze", "squeeze", "expand", "split", "split_with_sizes"}
VIEWED |= {"unbind", "select", "slice", "detach", "alias", "lift_fresh"}
COPIED = {"cat", "clone", "_to_copy", "copy_", "native_dropout"}
REDUCED = {"mean", "sum", "amax", "amin"}


class _Trace(TorchDispatchMode):
    """Watches the operations of a forward pass and keeps what each tensor has read of the picture."""

    def __init__(self, picture: Tensor):
        super().__init__()
        height, width = picture.shape[2:]
        pixels = _Reach(np.arange(height)[:, None].repeat(2, 1), np.arange(width)[:, None].repeat(2, 1))
        self.known: dict[int, tuple[Tensor, _Reach]] = {id(picture): (picture, pixels)}  # tensors held: ids stay theirs
        self.inside = 0  # how deep in parts that are known as a whole
        self.gates: dict[str, None] = {}

    def of(self, tensor) -> _Reach | None:
        return self.known[id(tensor)][1] if id(tensor) in self.known else None

    def keep(self, tensor: Tensor, reach: _Reach | None) -> None:
        if isinstance(tensor, Tensor) and reach is not None:
            self.known[id(tensor)] = (tensor, reach)

    def meet(self, name: str, given: Tensor) -> None:
        reach = self.of(given)
        if not self.inside and reach is not None and reach.rows is None and reach.gate:
            self.gates[name] = None

    def enter(self) -> None:
        self.inside += 1

    def leave(self, given: Tensor, out: Tensor, module: nn.Module, rule) -> None:
        self.inside -= 1
        reach = self.of(given)
        if not self.inside and reach is not None:
            self.keep(out, reach if reach.rows is None else rule(reach, module, out))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if self.inside:
            return out
        leaves = [leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, Tensor)]
        read = [(leaf, self.of(leaf)) for leaf in leaves if self.of(leaf) is not None]
        if read:
            for tensor in tree_leaves(out):
                if isinstance(tensor, Tensor):
                    self.keep(tensor, _after(func, args, read, tensor))
        return out


def _after(func, args, read: list[tuple[Tensor, _Reach]], out: Tensor) -> _Reach:
    """What an operation's output has read, its tensors having read `read`; all that they have where it is unknown."""
    name = func._schema.name.removeprefix("aten::")
    placed = [(tensor, reach) for tensor, reach in read if reach.rows is not None]
    if not placed:  # means and what is made of them belong to no place
        return _nowhere(read, all(reach.gate for _, reach in read))
    tensor, reach = placed[0]
    if name == "convolution" and args[1].ndim == 4 and not args[6] and tensor is args[0] and len(read) == 1:
        return _windows(reach, out, args[1].shape[2:], args[3], args[4], args[5])
    if name in POOLS:
        kernel, rest = args[1], list(args[2:])
        stride = rest[0] if rest and rest[0] else kernel
        padding = rest[1] if len(rest) > 1 else 0
        dilation = rest[2] if len(rest) > 2 and name != "avg_pool2d" else 1
        return _windows(reach, out, kernel, stride, padding, dilation)
    if name in NORMS and len(read) == 1:
        return reach if out.shape == tensor.shape else _nowhere(read, False)
    if name in REDUCED and len(args) > 1 and args[1] is not None:
        over = {axis % tensor.ndim for axis in _listed(args[1])}
        spatial = {tensor.ndim - 2, tensor.ndim - 1}
        if spatial <= over:
            return _nowhere(read, True)
        if not spatial & over and out.shape[-2:] == tensor.shape[-2:]:
            return reach
    if name == "_adaptive_avg_pool2d" and out.shape[2:] == (1, 1):
        return _nowhere(read, True)
    if name == "constant_pad_nd" and len(args[1]) <= 4:
        x0, _, y0, _ = (*args[1], 0, 0, 0, 0)[:4]
        return _windows(reach, out, 1, 1, (y0, x0), 1)
    if name == "slice" and len(args) > 1 and args[1] % tensor.ndim >= tensor.ndim - 2:
        kept = slice(*args[2:])
        last = args[1] % tensor.ndim == tensor.ndim - 1
        return replace(reach, columns=reach.columns[kept]) if last else replace(reach, rows=reach.rows[kept])
    if torch.Tag.pointwise in func.tags or name in COPIED or (name in VIEWED and _keeps_places(tensor, out)):
        return _together(read, tensor.shape[-2:], out)
    return _nowhere(read, False)


def _windows(reach: _Reach, out: Tensor, kernel, stride, padding, dilation) -> _Reach:
    (ky, kx), (sy, sx), (py, px), (dy, dx) = (_pair(it) for it in (kernel, stride, padding, dilation))
    rows = window(reach.rows, out.shape[-2], ky, sy, py, dy)
    return replace(reach, rows=rows, columns=window(reach.columns, out.shape[-1], kx, sx, px, dx))


def _together(read: list[tuple[Tensor, _Reach]], size, out: Tensor) -> _Reach:
    """An operation place by place: what the maps have read there, and what the gates have read anywhere."""
    if out.shape[-2:] != size or any(reach.rows is not None and t.shape[-2:] != size for t, reach in read):
        return _nowhere(read, False)
    rows, columns, everywhere, exact = None, None, None, True
    for _, reach in read:
        exact &= reach.exact
        if reach.rows is None and reach.gate:
            everywhere = _both(reach.everywhere, everywhere)
            continue
        if reach.everywhere is not None and reach.rows is not None:
            everywhere = _both(reach.everywhere, everywhere)
        y, x = reach.rows, reach.columns
        if y is None:
            y0, y1, x0, x1 = reach.everywhere
            y, x, exact = _alike(size[0], y0, y1), _alike(size[1], x0, x1), False
        rows, columns = (y, x) if rows is None else (_union(rows, y), _union(columns, x))
    return _Reach(rows, columns, everywhere, exact=exact)


def _union(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.stack((np.minimum(a[:, 0], b[:, 0]), np.maximum(a[:, 1], b[:, 1])), 1)


def _nowhere(read: list[tuple[Tensor, _Reach]], gate: bool) -> _Reach:
    extent = None
    for _, reach in read:
        extent = _both(reach.all, extent)
    return _Reach(None, None, extent, gate=gate, exact=gate and all(reach.exact for _, reach in read))


def _keeps_places(tensor: Tensor, out: Tensor) -> bool:
    """Whether a view of a tensor has the same last two axes; by their strides too, as sizes can agree by chance."""
    return out.ndim >= 2 and out.shape[-2:] == tensor.shape[-2:] and out.stride()[-2:] == tensor.stride()[-2:]


def _pair(value) -> tuple[int, int]:
    values = _listed(value)
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])


def _listed(value) -> list[int]:
    return list(value) if isinstance(value, list | tuple | torch.Size) else [value]
