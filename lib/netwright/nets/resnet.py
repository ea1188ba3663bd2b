"""ResNet (He et al. 2015, arXiv:1512.03385): a block learns what to add to its input. Imports config and layers.

The bottleneck below is the skeleton of every net in this workbook. The other files replace its middle.
"""

from torch import Tensor, nn

from netwright.nets.config import Block, NetConfig, Stage, Stem
from netwright.nets.layers import ConvNormAct, DropPath, activation


class Bottleneck(nn.Module):
    """1x1 down to `mid_channels`, a middle that looks around, 1x1 up to `out_channels`, plus the input.

    The stride sits in the middle, not in the first 1x1 as in the 2015 paper: all published weights that the
    workbook loads were trained so ("v1.5"). The other placement has the same parameters, loads without an error,
    and is wrong.
    Shapes: (batch, in_channels, height, width) to (batch, out_channels, height / stride, width / stride).
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        *,
        middle: nn.Module,
        gate: nn.Module | None,
        shortcut: nn.Module,
        norm: str,
        act: str,
        drop_path: float,
    ):
        super().__init__()
        self.reduce = ConvNormAct(in_channels, mid_channels, norm=norm, act=act)
        self.middle = middle
        self.gate = gate or nn.Identity()
        self.expand = ConvNormAct(mid_channels, out_channels, norm=norm)
        self.drop_path = DropPath(drop_path)
        self.shortcut = shortcut
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(x)
        y = self.middle(y)
        y = self.gate(y)
        y = self.expand(y)
        y = self.drop_path(y)
        y += self.shortcut(x)
        return self.act(y)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions plus the input: the block of ResNet-18 and ResNet-34.

    Shapes as for `Bottleneck`; the first convolution carries the stride.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        dilations: tuple[int, int],
        shortcut: nn.Module,
        norm: str,
        act: str,
        drop_path: float,
    ):
        super().__init__()
        self.conv1 = ConvNormAct(in_channels, out_channels, 3, stride=stride, dilation=dilations[0], norm=norm, act=act)
        self.conv2 = ConvNormAct(out_channels, out_channels, 3, dilation=dilations[1], norm=norm)
        self.drop_path = DropPath(drop_path)
        self.shortcut = shortcut
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x)
        y = self.conv2(y)
        y = self.drop_path(y)
        y += self.shortcut(x)
        return self.act(y)


def projection(in_channels: int, out_channels: int, stride: int, norm: str) -> nn.Module:
    """The shortcut of a block that changes the shape: a strided 1x1 convolution. Otherwise the identity.

    He et al. 2015, section 3.3, option B.
    """
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return ConvNormAct(in_channels, out_channels, stride=stride, norm=norm)


class StemLayers(nn.Sequential):
    """The stem of `config`: convolutions, then the max pool, as layers of one sequence.

    Shapes: (batch, in_chans, height, width) to (batch, channels, height / 4, width / 4).
    """

    def __init__(self, config: Stem, in_chans: int, norm: str, act: str):
        layers = []
        last = len(config.channels) - 1
        for i, channels in enumerate(config.channels):
            stride = 2 if i == 0 or (i == last and not config.pool) else 1
            layers.append(ConvNormAct(in_chans, channels, config.kernel_size, stride=stride, norm=norm, act=act))
            in_chans = channels
        if config.pool:
            layers.append(nn.MaxPool2d(3, stride=2, padding=1))
        super().__init__(*layers)
        self.stride = 4 if len(layers) > 1 else 2
        # The second stride is the last layer's, so the map before it is the last at half resolution.
        self.half_layer = max(0, len(layers) - 2)

    def forward_with_half(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The last map at half the input's resolution, and the stem's output."""
        for i, layer in enumerate(self):
            x = layer(x)
            if i == self.half_layer:
                half = x
        return half, x


PLANES = (64, 128, 256, 512)  # the width of each stage before the bottleneck's expansion by 4


def resnet(depths: tuple[int, ...], kind: str = "bottleneck") -> NetConfig:
    """ResNet with `depths` blocks a stage: (3, 4, 6, 3) of bottlenecks is ResNet-50 (table 1 of the paper)."""
    expansion = 4 if kind == "bottleneck" else 1
    return NetConfig(
        stem=Stem(),
        stages=tuple(
            Stage((Block(kind),) * depth, mid_channels=planes, out_channels=expansion * planes, stride=stride)
            for depth, planes, stride in zip(depths, PLANES, (1, 2, 2, 2), strict=True)
        ),
    )


CONFIGS = {
    "resnet18": resnet((2, 2, 2, 2), kind="basic"),
    "resnet50": resnet((3, 4, 6, 3)),
}
