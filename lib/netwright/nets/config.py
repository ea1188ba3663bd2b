"""What a net is, as plain data: a stem, stages of blocks, an activation, a normalisation.

Every taught and published net of the workbook is a value of `NetConfig`; so is any net that a reader composes.
Imports nothing of the project.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class SqueezeExcite:
    """Channel attention by a small two-layer net (Hu et al. 2018): one gate a channel, read off the pooled map."""

    reduction: int = 16


@dataclass(frozen=True)
class EfficientChannelAttention:
    """Channel attention by a 1-D convolution along the channels (Wang et al. 2020, "ECA-Net")."""


@dataclass(frozen=True)
class Split:
    """Split attention (Zhang et al. 2020, section 3): `radix` branches a cardinal group, gated against each other.

    A block of stride 2 averages its map down with a 3x3 pool, before or after the split attention.
    """

    radix: int = 2
    average_down: Literal["before", "after"] = "after"


@dataclass(frozen=True)
class Halo:
    """Local self-attention (Vaswani et al. 2021): queries in square blocks, keys from the block and a halo around it.

    `block_size` and `halo` are in pixels of the layer's input. `key_dim` is the width of a query and of a key;
    None makes it equal to the width of a value, channels / heads.
    """

    heads: int = 8
    block_size: int = 8
    halo: int = 3
    key_dim: int | None = None


@dataclass(frozen=True)
class Bot:
    """Global self-attention (Srinivas et al. 2021, "BoTNet"): every pixel looks at every pixel.

    Its positions are learnt for maps of map_size x map_size pixels, so a net with it takes pictures of one size.
    """

    heads: int = 4
    map_size: int = 8


@dataclass(frozen=True)
class Lambda:
    """A lambda layer (Bello 2021): attention's job without comparing pixels. `scope` is in pixels, across, and odd.

    All heads share one set of keys of width `key_dim` and one set of values of width channels / heads.
    """

    heads: int = 4
    key_dim: int = 16
    scope: int = 13

    def __post_init__(self):
        if self.scope % 2 == 0:
            raise ValueError(f"scope={self.scope} has no pixel in its middle: choose an odd number.")


ChannelAttention = SqueezeExcite | EfficientChannelAttention | Split
SpatialAttention = Halo | Bot | Lambda


@dataclass(frozen=True)
class Block:
    """One residual block.

    `basic` is two 3x3 convolutions (ResNet-18). `bottleneck` is 1x1, middle, 1x1, and the middle is what the four
    architectures differ in: a 3x3 convolution in `cardinality` groups (ResNet has 1, ResNeXt more), split attention
    (ResNeSt) or halo attention (HaloNet). A block that mixes space by attention has no use for channel attention:
    none of the published nets combines them. `inverted` is a bottleneck turned inside out, wide in its middle
    (RegNetZ, see hybrids). `mid_channels` is the block's own width where it differs from its stage's.
    """

    kind: Literal["basic", "bottleneck", "inverted"] = "bottleneck"
    cardinality: int = 1
    channel_attention: ChannelAttention | None = None
    spatial_attention: SpatialAttention | None = None
    mid_channels: int | None = None

    def __post_init__(self):
        if self.kind not in ("basic", "bottleneck", "inverted"):
            raise ValueError(f"Block kind {self.kind!r} is unknown: choose 'basic', 'bottleneck' or 'inverted'.")
        if self.spatial_attention and (self.channel_attention or self.cardinality != 1):
            raise ValueError(
                f"{self} mixes space twice: with spatial_attention the 3x3 convolution is gone, so leave "
                "cardinality at 1 and channel_attention at None, or put the two in blocks of their own."
            )
        middle = self.channel_attention or self.spatial_attention or self.mid_channels
        if self.kind == "basic" and (self.cardinality != 1 or middle):
            raise ValueError(f"{self}: a basic block has no middle to replace. Use kind='bottleneck'.")


@dataclass(frozen=True)
class Stage:
    """Blocks that share one resolution. The first block changes the width and carries the stride."""

    blocks: tuple[Block, ...]
    mid_channels: int
    out_channels: int
    stride: Literal[1, 2] = 2

    def __post_init__(self):
        if not self.blocks:
            raise ValueError("A stage needs at least one block: blocks=(Block(),) is the smallest.")
        if self.stride not in (1, 2):
            raise ValueError(f"A stage has stride 1 or 2, not {self.stride!r}.")
        for block in self.blocks:
            width = block.mid_channels or self.mid_channels
            radix = block.channel_attention.radix if isinstance(block.channel_attention, Split) else 1
            heads = block.spatial_attention.heads if block.spatial_attention else 1
            for what, parts in (("cardinality x radix", block.cardinality * radix), ("heads", heads)):
                if width % parts:
                    raise ValueError(
                        f"mid_channels={width} cannot be divided into {parts} equal parts ({what}). "
                        f"The nearest width that can is {max(1, round(width / parts)) * parts}."
                    )


@dataclass(frozen=True)
class Stem:
    """The first convolutions: `channels` has one entry for each. The first has stride 2.

    With `pool`, a 3x3 max pool of stride 2 follows; without it, the last of several convolutions has stride 2 as
    well, and a single one leaves the net at half resolution.
    """

    channels: tuple[int, ...] = (64,)
    kernel_size: int = 7
    pool: bool = True


@dataclass(frozen=True)
class NetConfig:
    """A whole net. `input_size` is the side, in pixels, at which it is meant to be evaluated.

    `shortcut` says how a block whose shape changes adapts its input: a strided 1x1 convolution ("conv"), or an
    average pool before a 1x1 convolution of stride 1 ("pool", the "d" nets); an inverted block does neither.
    `final_channels` adds a last 1x1 convolution before the classifier.
    """

    stem: Stem
    stages: tuple[Stage, ...]
    activation: Literal["relu", "silu"] = "relu"
    norm: Literal["batch", "group"] = "batch"
    shortcut: Literal["conv", "pool"] = "conv"
    final_channels: int | None = None
    input_size: int = 224

    @property
    def num_features(self) -> int:
        """Channels of the last feature map, which the classifier reads."""
        return self.final_channels or self.stages[-1].out_channels
