"""Exercise `halo.layer`: the module, with its projections and tables. Imports the engine, trying, nets and, of this room, whole."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netwright.lessons.engine import Check
from netwright.lessons.halo.whole import masked_padding, scaled_positions, swapped_tables, wrong_attention
from netwright.lessons.trying import Numbers, fill
from netwright.nets.config import Halo
from netwright.nets.halo_fast import fast_halo_attention
from netwright.nets.halonet import HaloAttention, halo_attention

#   channels, config, stride, height, width
CASES = (
    (8, Halo(heads=2, block_size=4, halo=1), 1, 4, 8),
    (6, Halo(heads=2, block_size=2, halo=2, key_dim=2), 1, 6, 4),
    (8, Halo(heads=4, block_size=4, halo=2, key_dim=3), 2, 8, 4),
    (6, Halo(heads=3, block_size=3, halo=1), 2, 6, 12),
)


def _measure(theirs: Callable) -> Iterator[tuple[str, Any]]:
    numbers = Numbers()
    for channels, config, stride, height, width in CASES:
        layer = theirs(channels, config, stride) if height > 4 else theirs(channels, config)  # 1 is the default
        where = f"of a layer of {channels} channels, {config}, with stride {stride}"
        yield f"the list of parameters {where}", {key: tuple(t.shape) for key, t in layer.state_dict().items()}
        trained = {key for key, parameter in layer.named_parameters() if parameter.requires_grad}
        yield f"the number of tensors that learn {where}", len(trained)
        fill(layer)
        if getattr(layer, "attend", None) is fast_halo_attention:
            layer.attend = halo_attention  # the same numbers: the fast form's first call takes a second to be set up
        x = numbers(2, channels, height, width)
        before = x.clone()
        yield f"the output {where}", layer.eval()(x).detach().clone()
        yield f"the change of the input {where}", (x - before).abs().max()
        yield f"the output in training mode {where}", layer.train()(x).detach().clone()
        variables = [before.requires_grad_(), *(p for _, p in sorted(layer.named_parameters()))]
        gradients = torch.autograd.grad(layer(before).square().sum(), variables)
        for name, gradient in zip(("input", *sorted(trained)), gradients, strict=True):
            yield f"the gradient of {name} {where}", gradient
    for height, width in ((5, 8), (8, 6)):
        refused = _refuses(theirs, numbers(1, 4, height, width))
        yield f"the answer to whether a map of {height}x{width} in blocks of 4x4 is refused", refused


def _refuses(theirs: Callable, x: Tensor) -> bool:
    layer = theirs(4, Halo(heads=2, block_size=4, halo=1))
    fill(layer)
    try:
        layer(x)
    except Exception:  # noqa: BLE001  any refusal will do
        return True
    return False


def _attends_with(attend: Callable) -> type[nn.Module]:
    class Wrong(HaloAttention):
        def __init__(self, channels, config, stride=1):
            super().__init__(channels, config, stride)
            self.attend = attend

    return Wrong


class _Biases(HaloAttention):
    def __init__(self, channels, config, stride=1):
        super().__init__(channels, config, stride)
        self.query = nn.Conv2d(channels, self.query.out_channels, 1, stride=self.query.stride)
        self.key_value = nn.Conv2d(channels, self.key_value.out_channels, 1)


class _NoKeyDim(HaloAttention):
    def __init__(self, channels, config, stride=1):
        super().__init__(channels, Halo(config.heads, config.block_size, config.halo), stride)


class _ThreeProjections(HaloAttention):
    def __init__(self, channels, config, stride=1):
        super().__init__(channels, config, stride)
        self.key = nn.Conv2d(channels, self.heads * self.key_dim, 1, bias=False)
        self.value = nn.Conv2d(channels, channels, 1, bias=False)
        del self.key_value


class _TableForEachHead(HaloAttention):
    def __init__(self, channels, config, stride=1):
        super().__init__(channels, config, stride)
        self.height_table = nn.Parameter(torch.empty(self.heads, *self.height_table.shape))
        self.width_table = nn.Parameter(torch.empty(self.heads, *self.width_table.shape))


class _ShortTables(HaloAttention):
    def __init__(self, channels, config, stride=1):
        super().__init__(channels, config, stride)
        window = config.block_size + 2 * config.halo
        self.height_table = nn.Parameter(torch.empty(window, self.key_dim))
        self.width_table = nn.Parameter(torch.empty(window, self.key_dim))


class _FixedTables(HaloAttention):
    def __init__(self, channels, config, stride=1):
        super().__init__(channels, config, stride)
        self.height_table.requires_grad_(False)
        self.width_table.requires_grad_(False)


class _AlwaysPools(HaloAttention):
    def __init__(self, channels, config, stride=1):
        super().__init__(channels, config, stride)
        if stride == 2:
            self.query.stride, self.pool = (1, 1), nn.AvgPool2d(2)


class _NeverPools(HaloAttention):
    def forward(self, x):
        pool, self.pool = self.pool, nn.Identity()
        out = super().forward(x)
        self.pool = pool
        return out if isinstance(pool, nn.Identity) else out[:, :, ::2, ::2]


class _Shortcut(HaloAttention):
    def forward(self, x):
        out = super().forward(x)
        return out + x if out.shape == x.shape else out


class _Pads(HaloAttention):
    def forward(self, x):
        bottom, right = (-size % self.block_size for size in x.shape[2:])
        return super().forward(F.pad(x, (0, right, 0, bottom)))


CHECKS = (
    Check(
        id="halo.layer",
        minutes=10,
        difficulty="medium",
        ours=HaloAttention,
        measure=_measure,
        mistakes={
            "whose projections have biases": _Biases,
            "that does not look at key_dim: its keys are as wide as its values": _NoKeyDim,
            "with a projection for the keys and another for the values": _ThreeProjections,
            "with tables of its own for each head": _TableForEachHead,
            "whose tables have a row for each place in the window, not for each offset": _ShortTables,
            "whose tables do not learn": _FixedTables,
            "that lets all pixels ask at stride 2, and takes means, whatever the block size": _AlwaysPools,
            "that keeps every second answer where a 2x2 mean was asked for": _NeverPools,
            "that adds its input to its output: the shortcut is the block's, not the layer's": _Shortcut,
            "that pads a map which cannot be cut into blocks": _Pads,
            "that scales the position along with the content": _attends_with(scaled_positions),
            "that masks the padding": _attends_with(masked_padding),
            "that swaps the tables of height and width": _attends_with(swapped_tables),
            "that takes all keys first and then all values": _attends_with(wrong_attention(together=True)),
        },
        hints=(
            "Which numbers does halo attention learn? Two projections and two tables. How many channels has each, and how many rows?",
            "value_dim is channels / heads; key_dim is config.key_dim, or as wide where that is None. The query projection makes "
            + "heads * key_dim channels, key_value makes heads * (key_dim + value_dim), and the tables have 2 * window - 1 rows.",
            "In forward: refuse a map that blocks do not tile; then attention (stride 1) or strided (stride 2) of self.query(x) "
            + "and self.key_value(x), with the tables and the five sizes by name.",
        ),
    ),
)
