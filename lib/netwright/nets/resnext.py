"""ResNeXt (Xie et al. 2016, arXiv:1611.05431): many narrow paths in place of one wide one. Imports config, resnet.

The paper draws a block as `cardinality` bottlenecks side by side, summed. Its figure 3 shows that one bottleneck
with a grouped 3x3 convolution computes the same, and that is how it is built: the middle of the block becomes a
block-diagonal convolution, and nothing else changes.
"""

from netwright.nets.config import Block, NetConfig, Stage, Stem
from netwright.nets.resnet import PLANES


def aggregated_width(planes: int, cardinality: int, base_width: int) -> int:
    """Channels of the grouped convolution: `cardinality` groups of base_width * planes / 64 channels each.

    `base_width` is the width of one group in the first stage, where planes is 64: 32x4d has 32 groups of 4.
    """
    return planes * base_width // 64 * cardinality


def resnext(depths: tuple[int, ...], cardinality: int, base_width: int) -> NetConfig:
    """ResNeXt with `depths` blocks a stage; "50 32x4d" is (3, 4, 6, 3), 32, 4 (table 1 of the paper)."""
    return NetConfig(
        stem=Stem(),
        stages=tuple(
            Stage(
                blocks=(Block(cardinality=cardinality),) * depth,
                mid_channels=aggregated_width(planes, cardinality, base_width),
                out_channels=4 * planes,
                stride=stride,
            )
            for depth, planes, stride in zip(depths, PLANES, (1, 2, 2, 2), strict=True)
        ),
    )


CONFIGS = {
    "resnext50_32x4d": resnext((3, 4, 6, 3), cardinality=32, base_width=4),
    "resnext101_32x4d": resnext((3, 4, 23, 3), cardinality=32, base_width=4),
    "resnext101_32x8d": resnext((3, 4, 23, 3), cardinality=32, base_width=8),
    "resnext101_32x16d": resnext((3, 4, 23, 3), cardinality=32, base_width=16),
    "resnext101_64x4d": resnext((3, 4, 23, 3), cardinality=64, base_width=4),
    "resnext152_32x4d": resnext((3, 8, 36, 3), cardinality=32, base_width=4),
}
