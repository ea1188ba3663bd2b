"""Toy nets: small siblings of the four architectures, with one skeleton, for pictures of 64x64. Imports config.

Each has the stem, the four stages and the bottlenecks of its big sibling at a quarter of the width or less, and half
a million parameters for the 20 classes of the toy world: one budget, so that a difference between two of them is a
difference of their middles. What ResNeSt changed around its middle, the deep stem and the pooled shortcut, all four
have, or the comparison would be about that instead.

At 64x64 the five maps are 32, 16, 8, 4 and 2 pixels wide. The stem is narrow but sees every pixel: textures are told
apart there. The last map is so small that a 3x3 convolution sees all of it: how two parts stand is told there.
"""

from netwright.nets.config import Block, Halo, NetConfig, Split, Stage, Stem

CHANNELS = (64, 128, 256, 384)  # of the map that each stage puts out, the same for all four nets


def toy(mid_channels: tuple[int, ...], *stages: tuple[Block, ...]) -> NetConfig:
    """The skeleton, with these blocks in its four stages and these widths of their middles."""
    return NetConfig(
        stem=Stem((16, 16, 32), kernel_size=3),
        stages=tuple(
            Stage(blocks, width, channels, stride)
            for blocks, width, channels, stride in zip(stages, mid_channels, CHANNELS, (1, 2, 2, 2), strict=True)
        ),
        shortcut="pool",
        input_size=64,
    )


def _resnet() -> NetConfig:
    """Middles a quarter as wide as the block. A last stage of 128 and 512 would take three quarters of the budget."""
    conv = Block()
    return toy((16, 32, 64, 104), (conv, conv), (conv, conv), (conv, conv), (conv,))


def _resnext() -> NetConfig:
    """Middles twice as wide, in 8 groups: of 4, 8, 16 channels, as in the 32 groups of ResNeXt-50 32x4d."""
    grouped = Block(cardinality=8)
    return toy((32, 64, 128, 168), (grouped, grouped), (grouped, grouped), (grouped, grouped), (grouped,))


def _resnest() -> NetConfig:
    """ResNet's widths, less in the last stage for what the gates take: two splits, one cardinal group."""
    split = Block(channel_attention=Split(radix=2))
    return toy((16, 32, 64, 88), (split, split), (split, split), (split, split), (split,))


def _halonet() -> NetConfig:
    """Attention where a map shrinks, of 16x16 and of 8x8 pixels: early enough to see parts, late enough to be cheap.

    A picture of 64x64 is cut into two blocks a side on either map, and a query sees about two thirds of each side.
    Every second pixel asks. Any multiple of 32 pixels can be cut so; the last two maps are left to convolutions.
    """
    conv = Block()
    early = Block(spatial_attention=Halo(heads=4, block_size=8, halo=3))
    late = Block(spatial_attention=Halo(heads=8, block_size=4, halo=2))
    return toy((16, 32, 64, 120), (conv, conv), (early, conv), (late, conv), (conv,))


CONFIGS = {
    "toy_resnet": _resnet(),
    "toy_resnext": _resnext(),
    "toy_resnest": _resnest(),
    "toy_halonet": _halonet(),
}
