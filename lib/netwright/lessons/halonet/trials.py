"""The experiments of notebook 07: a race, sizes that go through, pictures of another size, keys read in the wrong order.

Imports bench, models, nets, toys and of this room costing and pictures.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netwright import bench
from netwright.lessons.halonet.costing import cost
from netwright.lessons.halonet.pictures import STAGES
from netwright.models import transform_for
from netwright.nets.config import Halo, NetConfig
from netwright.nets.halo_fast import fast_halo_attention
from netwright.nets.halonet import HaloAttention
from netwright.nets.net import initialise
from netwright.toys import ToyWorld


@torch.inference_mode()
def race(halo: Halo = Halo(), batch: int = 2, runs: int = 5) -> list[tuple[str, float, bench.Ratio]]:  # noqa: B008  frozen
    """For each stage of ResNet-50: its name, how many times fewer multiply-adds attention has, how many times faster it is.

    The 3x3 convolution and the layer that takes its place run in turn on the same map, in this process.
    """
    rows = []
    for i, (channels, side) in enumerate(STAGES):
        x = torch.randn(batch, channels, side, side)
        convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        attention = HaloAttention(channels, halo)
        attention.reset_parameters()
        seconds = bench.interleave(
            {"convolution": lambda c=convolution, x=x: c(x), "attention": lambda a=attention, x=x: a(x)}, runs
        )
        counted = cost(channels, side, side, halo)
        fewer = counted["convolution"][1] / counted["attention"][1]
        rows.append((f"stage {i}: {channels} channels, {side}×{side}", fewer, bench.ratio(*seconds.values())))
    return rows


@torch.inference_mode()
def goes_through(net: nn.Module, side: int) -> bool:
    """Whether a net takes a picture of side x side."""
    try:
        net(torch.zeros(1, 3, side, side))
    except ValueError:
        return False
    return True


def attended_sides(config: NetConfig, side: int) -> list[tuple[str, int, int]]:
    """For each attention block its name, the side of the map that it sees, and that of its blocks.

    A strided layer rounds up: of 5 pixels, every second are 3. So these are the sides for pictures of any size.
    """
    seen, at = [], math.ceil(math.ceil(side / 2) / 2)  # after the stem
    for number, stage in enumerate(config.stages):
        for i, block in enumerate(stage.blocks):
            if block.spatial_attention:
                seen.append((f"stages.{number}.{i}", at, block.spatial_attention.block_size))
            if i == 0:
                at = math.ceil(at / stage.stride)
    return seen


def fresh(net: nn.Module) -> nn.Module:
    """`net` with numbers to train from: as the library's nets start, each block as the identity. Returns `net`.

    He et al. 2015 for convolutions; Goyal et al. 2017, section 5.1, for the last normalisation of a block.
    """
    initialise(net)
    for name, module in net.named_modules():
        if name.endswith("expand.norm"):
            nn.init.zeros_(module.weight)
    return net


def keys_then_values(
    query: Tensor, key_value: Tensor, *tables: Tensor, heads: int, key_dim: int, **sizes: int
) -> Tensor:
    """Halo attention that takes the channels for all heads' keys, then all heads' values.

    The published weights have them head by head: the keys of the first, its values, the keys of the second, and so on.
    """
    keys, values = key_value.split((heads * key_dim, key_value.shape[1] - heads * key_dim), dim=1)
    of_head = [part.unflatten(1, (heads, -1)) for part in (keys, values)]
    by_head = torch.cat(of_head, dim=2).flatten(1, 2)
    return fast_halo_attention(query, by_head, *tables, heads=heads, key_dim=key_dim, **sizes)


def toy_pictures(net: nn.Module, size: int, count: int = 200) -> tuple[Tensor, Tensor]:
    """Test pictures of the toy world in another size, normalised as `net` wants them, and their labels."""
    batch = ToyWorld("test", size=size).batch(range(count))
    transform = transform_for(net)
    return (batch["image"] / 255 - transform.mean) / transform.std, batch["label"]


@torch.inference_mode()
def answers(net: nn.Module, pictures: Tensor, way: Callable[[Tensor], Tensor]) -> Tensor:
    """The classes that a net names: way(pictures) is the last map, its mean goes to the classifier."""
    return torch.cat([net.forward_head(way(some)).argmax(1) for some in pictures.split(50)])


def resized(pictures: Tensor, side: int) -> Tensor:
    """Pictures stretched or shrunk to side x side."""
    return F.interpolate(pictures, (side, side), mode="bilinear", antialias=True)
