"""What the notebook measures: bytes that are alive, the reader's layer in whole nets, the padding's share, wrong layers.

Imports nets, models, toys and, of this room, attending, cutting, positions and whole.
"""

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from netwright.lessons.halo.attending import attend, padding_mass
from netwright.lessons.halo.cutting import Blocks, windows
from netwright.lessons.halo.positions import relative_shift
from netwright.lessons.halo.whole import masked_padding, scaled_positions, swapped_tables
from netwright.models import transform_for
from netwright.nets.config import Block, Halo, NetConfig
from netwright.nets.halonet import HaloAttention, halo_attention
from netwright.nets.net import ResidualNet
from netwright.nets.toy import toy
from netwright.toys import ToyWorld

WRONG = {
    "as published": halo_attention,
    "position scaled": scaled_positions,
    "padding masked": masked_padding,
    "tables swapped": swapped_tables,
}


def silent(*tensors: Tensor, **sizes: int) -> Tensor:
    """Halo attention that answers zeros."""
    return torch.zeros_like(halo_attention(*tensors, **sizes))


# Memory --------------------------------------------------------------------------------------------------------


class _Living(TorchDispatchMode):
    """Counts the bytes of all storages that operators make, from their making until nobody holds them."""

    def __init__(self):
        super().__init__()
        self.alive = self.peak = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        known = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        out = operator(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            storage = tensor.untyped_storage() if isinstance(tensor, Tensor) else None
            if storage is not None and storage._cdata not in known:  # a view has the storage of what it views
                known.add(storage._cdata)
                self._add(storage.nbytes())
                weakref.finalize(storage, self._add, -storage.nbytes())
        return out

    def _add(self, size: int) -> None:
        self.alive += size
        self.peak = max(self.peak, self.alive)


def peak_bytes(function: Callable, *arguments: Any, **options: Any) -> int:
    """The most bytes that tensors made by one call of `function` hold at one time; its arguments do not count.

    It counts what operators return, in Python, so it is the same number on every machine. What an operator uses
    inside itself it does not see.
    """
    with torch.no_grad(), _Living() as living:
        result = function(*arguments, **options)
        del result
    return living.peak


def layer_arguments(
    height: int,
    width: int,
    *,
    heads: int = 4,
    block_size: int = 8,
    halo: int = 3,
    dim: int = 32,
    dtype: torch.dtype = torch.float32,
) -> tuple[list[Tensor], dict[str, int]]:
    """Seeded arguments of `halo_attention` for one picture: (query, key_value, height_table, width_table), and the sizes."""
    generator = torch.Generator().manual_seed(0)
    table = 2 * (block_size + 2 * halo) - 1
    shapes = (1, heads * dim, height, width), (1, 2 * heads * dim, height, width), (table, dim), (table, dim)
    sizes = {"heads": heads, "block_size": block_size, "halo": halo, "key_dim": dim, "value_dim": dim}
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes], sizes


# The reader's layer in whole nets ------------------------------------------------------------------------------


def with_layer(net: nn.Module, layer: Callable[[int, Halo, int], nn.Module]) -> nn.Module:
    """`net` with each of its halo attentions replaced by layer(channels, config, stride), with the same numbers."""
    for module in list(net.modules()):
        for name, old in list(module.named_children()):
            if isinstance(old, HaloAttention):
                key_dim = None if old.key_dim == old.value_dim else old.key_dim
                config = Halo(old.heads, old.block_size, old.halo, key_dim)
                stride = 2 if old.query.stride[0] == 2 or isinstance(old.pool, nn.AvgPool2d) else 1
                new = layer(old.query.in_channels, config, stride).to(old.query.weight)
                new.load_state_dict(old.state_dict())
                setattr(module, name, new.train(old.training))
    return net


def small_net(layer: Callable[[int, Halo, int], nn.Module], classes: int = 8) -> ResidualNet:
    """A net for pictures of 64x64 with one attention, on the map of 16x16 pixels, made by `layer`; seeded."""
    conv, attention = Block(), Block(spatial_attention=Halo(heads=4, block_size=4, halo=2))
    config = toy((16, 32, 32, 32), (conv,), (attention,), (conv,), (conv,))
    stages = tuple(
        replace(stage, out_channels=width) for stage, width in zip(config.stages, (32, 64, 96, 128), strict=True)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return with_layer(
            ResidualNet(NetConfig(config.stem, stages, shortcut="pool", input_size=64), num_classes=classes), layer
        )


# The padding's share -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Watched:
    """One halo attention, while its net ran.

    weights: (batch, heads, blocks, queries, keys); mass: (batch, heads, height, width), by query, how much of its
    attention fell outside the map; even: (height, width), how much would if a query looked at all keys alike.
    """

    name: str
    layer: HaloAttention
    weights: Tensor
    mass: Tensor
    even: Tensor


def watch_attention(net: nn.Module, images: Tensor, padding_mass: Callable = padding_mass) -> list[Watched]:
    """The weights of all halo attentions of `net` while it sees `images`, (batch, 3, height, width), normalised.

    padding_mass: the reader's, as in the exercise.
    """
    inputs: dict[str, Tensor] = {}
    layers = {name: module for name, module in net.named_modules() if isinstance(module, HaloAttention)}
    handles = [
        layer.register_forward_pre_hook(lambda _, args, name=name: inputs.__setitem__(name, args[0].detach().clone()))
        for name, layer in layers.items()
    ]
    try:
        with torch.no_grad():
            net(images)
    finally:
        for handle in handles:
            handle.remove()
    return [_watched(name, layer, inputs[name], padding_mass) for name, layer in layers.items()]


def _watched(name: str, layer: HaloAttention, x: Tensor, padding_mass: Callable) -> Watched:
    height, width = x.shape[2:]
    rows, columns = height // layer.block_size, width // layer.block_size
    with torch.no_grad():
        weights = attention_weights(layer, x)
    side = int(weights.shape[3] ** 0.5)

    def as_map(shares: Tensor) -> Tensor:  # (…, blocks, queries) to (…, rows * side, columns * side)
        shares = shares.unflatten(-1, (side, side)).unflatten(-3, (rows, columns))
        return shares.transpose(-3, -2).flatten(-2).flatten(-3, -2)

    even = torch.full_like(weights[:1, :1], 1 / weights.shape[-1])
    shares = (padding_mass(w, rows, columns, layer.halo) for w in (weights, even))
    mass, even_mass = map(as_map, shares)
    return Watched(name, layer, weights, mass, even_mass[0, 0])


def attention_weights(layer: HaloAttention, x: Tensor) -> Tensor:
    """The weights (batch, heads, blocks, queries, keys) with which `layer` looks at its input x."""
    query, key_value = layer.query(x), layer.key_value(x)
    side = query.shape[2] * layer.block_size // x.shape[2]
    q = Blocks(layer.heads, side).cut(query)
    k, v = windows(key_value, layer.heads, layer.block_size, layer.halo).split((layer.key_dim, layer.value_dim), dim=-1)
    return attend(q, k, v, relative_shift(q, layer.height_table, layer.width_table))[1]


# Wrong layers --------------------------------------------------------------------------------------------------


def deceptions() -> dict[str, dict[str, float]]:
    """How far each version of `WRONG` is from the right one, by test: largest difference over largest right value.

    Three of the tests are blind for one of the versions; "all of it" is not.
    """
    generator = torch.Generator().manual_seed(0)
    heads, dim, block_size, halo, side = 2, 4, 4, 1, 12
    sizes = {"heads": heads, "block_size": block_size, "halo": halo, "key_dim": dim, "value_dim": dim}
    shapes = (heads * dim, side, side), (2 * heads * dim, side, side), (11, dim), (11, dim)
    query, key_value, *tables = (torch.randn(1, *shape, generator=generator, dtype=torch.float64) for shape in shapes)
    tables = [table[0] for table in tables]
    random = query, key_value, *tables
    symmetric = query + query.transpose(2, 3), key_value + key_value.transpose(2, 3), *tables
    centre = slice(block_size, 2 * block_size)  # the one block whose halo does not leave the map
    tests = {
        "tables of zeros, as some fresh nets have": ((query, key_value, *(0 * table for table in tables)), lambda y: y),
        "a block in the middle of the map": (random, lambda y: y[:, :, centre, centre]),
        "a picture symmetric about its diagonal, pooled": (symmetric, lambda y: y.mean((2, 3))),
        "all of it, on any numbers": (random, lambda y: y),
    }
    found: dict[str, dict[str, float]] = {}
    for test, (tensors, look) in tests.items():
        right = look(halo_attention(*tensors, **sizes))
        found[test] = {
            name: ((look(version(*tensors, **sizes)) - right).abs().max() / right.abs().max()).item()
            for name, version in WRONG.items()
        }
    return found


def accuracy_with(net: nn.Module, version: Callable, count: int = 200) -> float:
    """The share of `count` toy test pictures that `net` names rightly with `version` in its halo attentions."""
    world = ToyWorld("test")
    batch, transform = world.batch(range(count)), transform_for(net)
    images = torch.stack([transform(image) for image in batch["image"]])
    layers = [module for module in net.modules() if isinstance(module, HaloAttention)]
    kept = [layer.attend for layer in layers]
    try:
        for layer in layers:
            layer.attend = version
        with torch.inference_mode():
            answers = torch.cat([net.eval()(some).argmax(1) for some in images.split(50)])
    finally:
        for layer, attend_as_before in zip(layers, kept, strict=True):
            layer.attend = attend_as_before
    return (answers == batch["label"]).double().mean().item()
