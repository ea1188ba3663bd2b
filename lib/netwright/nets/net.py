"""The skeleton that all nets share: stem, four stages of blocks, classifier. Imports the architectures' files."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from netwright.nets.config import (
    Block,
    Bot,
    EfficientChannelAttention,
    Halo,
    Lambda,
    NetConfig,
    Split,
    SqueezeExcite,
)
from netwright.nets.halonet import AttentionMiddle, HaloAttention
from netwright.nets.hybrids import BotAttention, InvertedBottleneck, LambdaLayer, identity_or_none
from netwright.nets.layers import ConvNormAct, EfficientChannelGate, SqueezeExciteGate
from netwright.nets.resnest import ResNeStMiddle, pooled_projection
from netwright.nets.resnet import BasicBlock, Bottleneck, StemLayers, projection


class ResidualNet(nn.Module):
    """A net made from its `config`: pictures (batch, in_chans, height, width) to logits (batch, num_classes).

    num_classes 0 leaves the classifier out: the net then returns the pooled features (batch, num_features).
    drop_rate is the dropout before the classifier; drop_path_rate the stochastic depth of the last block, growing
    linearly from 0 at the first (Huang et al. 2016). output_stride 8 or 16 keeps the later stages at that
    resolution and dilates their convolutions instead.
    """

    def __init__(
        self,
        config: NetConfig,
        *,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        output_stride: int = 32,
    ):
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride={output_stride} is not possible: choose 8, 16 or 32.")
        for name, rate in (("drop_rate", drop_rate), ("drop_path_rate", drop_path_rate)):
            if not 0 <= rate < 1:
                raise ValueError(f"{name}={rate} is no probability of dropping: choose a number from 0 to below 1.")
        self.config = config
        self.num_features = config.num_features
        self.drop_rate = drop_rate
        self.grad_checkpointing = False
        self.weights = None  # the catalogue entry of the weights inside, once some have been loaded
        self.preprocessing = None  # how a picture becomes an input, where that is not the weights' own way

        norm, act = config.norm, config.activation
        self.stem = StemLayers(config.stem, in_chans, norm, act)

        channels, stride = config.stem.channels[-1], self.stem.stride
        self.feature_info = [{"channels": config.stem.channels[self.stem.half_layer], "stride": 2}]
        dilation = previous_dilation = 1
        depth = sum(len(stage.blocks) for stage in config.stages)
        drop_paths = iter(drop_path_rate * i / max(depth - 1, 1) for i in range(depth))

        self.stages = nn.ModuleList()
        for stage in config.stages:
            stage_stride = stage.stride
            if stride * stage_stride > output_stride:
                dilation, stage_stride = dilation * stage_stride, 1
            stride *= stage_stride
            blocks = nn.Sequential()
            for i, block in enumerate(stage.blocks):
                blocks.append(
                    make_block(
                        block,
                        channels,
                        block.mid_channels or stage.mid_channels,
                        stage.out_channels,
                        config,
                        stride=stage_stride if i == 0 else 1,
                        dilation=previous_dilation,
                        stage_dilation=dilation,
                        drop_path=next(drop_paths),
                    )
                )
                channels, previous_dilation = stage.out_channels, dilation
            self.stages.append(blocks)
            self.feature_info.append({"channels": channels, "stride": stride})

        self.final_conv = nn.Identity()
        if config.final_channels:
            self.final_conv = ConvNormAct(channels, config.final_channels, norm=norm, act=act)
            self.feature_info[-1]["channels"] = config.final_channels
        self.reset_classifier(num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """Pictures to the last feature map (batch, num_features, height / stride, width / stride)."""
        x = self.stem(x)
        for stage in self.stages:
            x = self.forward_stage(stage, x)
        return self.final_conv(x)

    def forward_maps(self, x: Tensor) -> list[Tensor]:
        """Pictures to one feature map a resolution: before the stem's pool, then after each stage.

        At output_stride 32 the strides are 2, 4, 8, 16 and 32; `feature_info` has channels and stride of each.
        """
        half, x = self.stem.forward_with_half(x)
        maps = [half]
        for stage in self.stages:
            x = self.forward_stage(stage, x)
            maps.append(x)
        maps[-1] = self.final_conv(x)
        return maps

    def forward_stage(self, stage: nn.Sequential, x: Tensor) -> Tensor:
        """One of `stages`, forgetting what is inside its blocks when gradient checkpointing is on."""
        if not (self.grad_checkpointing and torch.is_grad_enabled()):
            return stage(x)
        for block in stage:
            x = checkpoint(block, x, use_reentrant=False)
        return x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """The last feature map to logits, or with pre_logits to the pooled features (batch, num_features)."""
        x = x.mean((2, 3))
        x = F.dropout(x, self.drop_rate, self.training)
        return x if pre_logits else self.classifier(x)

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the classifier by an untrained one of `num_classes` classes, or by none (0)."""
        if num_classes < 0:
            raise ValueError(f"num_classes={num_classes} is not possible: choose 0 for embeddings, or a number above.")
        old = next(self.parameters())
        self.num_classes = num_classes
        self.classifier = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        self.classifier.to(device=old.device, dtype=old.dtype)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory while training: forget what is inside a block, compute it again going backward."""
        self.grad_checkpointing = enable


class FeatureNet(nn.Module):
    """A net without its classifier, that returns feature maps: a list of (batch, channels, height, width).

    `out_indices` chooses among the five maps (strides 2, 4, 8, 16, 32); negative numbers count from the end. Stages
    that no chosen map needs are left out. `feature_info` has channels and stride of each returned map.
    """

    def __init__(self, net: ResidualNet, out_indices: tuple[int, ...] = (0, 1, 2, 3, 4)):
        super().__init__()
        count = len(net.feature_info)
        if not out_indices or not all(-count <= i < count for i in out_indices):
            raise ValueError(f"out_indices={out_indices} does not fit: the net has {count} maps, 0 to {count - 1}.")
        self.out_indices = tuple(i % count for i in out_indices)
        self.feature_info = [net.feature_info[i] for i in self.out_indices]
        self.net = net
        net.reset_classifier(0)
        net.stages = net.stages[: max(self.out_indices)]
        if max(self.out_indices) < count - 1:
            net.final_conv = nn.Identity()

    @property
    def weights(self):
        """The catalogue entry of the weights inside, or None."""
        return self.net.weights

    @property
    def preprocessing(self):
        """How a picture becomes an input, or None where that is the weights' own way."""
        return self.net.preprocessing

    @property
    def config(self) -> NetConfig:
        """What the whole net was made from."""
        return self.net.config

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = self.net.forward_maps(x)
        return [maps[i] for i in self.out_indices]


def make_block(
    block: Block,
    in_channels: int,
    mid_channels: int,
    out_channels: int,
    config: NetConfig,
    *,
    stride: int,
    dilation: int,
    stage_dilation: int,
    drop_path: float,
) -> nn.Module:
    """The module that `block` describes.

    dilation is that of the block's first 3x3 convolution, stage_dilation that of the stage: they differ in the first
    block of a dilated stage, which still sees the resolution of the stage before.
    """
    norm, act = config.norm, config.activation
    if block.kind == "inverted":
        shortcut = identity_or_none(in_channels, out_channels, stride)
    elif config.shortcut == "conv":
        shortcut = projection(in_channels, out_channels, stride, norm)
    else:
        shortcut = pooled_projection(in_channels, out_channels, stride, stage_dilation > 1, norm)
    common = {"shortcut": shortcut, "norm": norm, "act": act, "drop_path": drop_path}
    if block.kind == "basic":
        dilations = (dilation, stage_dilation)
        return BasicBlock(in_channels, out_channels, stride=stride, dilations=dilations, **common)

    gate = None
    match block.channel_attention, block.spatial_attention:
        case _, Halo() as halo:
            middle = AttentionMiddle(HaloAttention(mid_channels, halo, stride), mid_channels, norm, act)
        case _, Bot() as bot:
            middle = AttentionMiddle(BotAttention(mid_channels, bot, stride), mid_channels, norm, act)
        case _, Lambda() as lambdas:
            middle = AttentionMiddle(LambdaLayer(mid_channels, lambdas, stride, norm), mid_channels, norm, act)
        case Split() as split, _:
            middle = ResNeStMiddle(mid_channels, split, block.cardinality, stride, dilation, norm, act)
        case channel_attention, _:
            middle = ConvNormAct(
                mid_channels,
                mid_channels,
                3,
                stride=stride,
                dilation=dilation,
                groups=block.cardinality,
                norm=norm,
                act=act,
            )
            if channel_attention:
                gate = GATES[type(channel_attention)](mid_channels, channel_attention)
    block_type = InvertedBottleneck if block.kind == "inverted" else Bottleneck
    return block_type(in_channels, mid_channels, out_channels, middle=middle, gate=gate, **common)


GATES = {SqueezeExcite: SqueezeExciteGate, EfficientChannelAttention: EfficientChannelGate}


def initialise(net: nn.Module) -> None:
    """Random weights to train from: He et al. 2015 ("Delving deep") for convolutions.

    The last normalisation of every residual branch starts at zero, so that each block starts as the identity
    (Goyal et al. 2017, section 5.1).
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    for module in net.modules():
        if isinstance(module, HaloAttention | BotAttention | LambdaLayer):
            module.reset_parameters()
        elif isinstance(module, Bottleneck | InvertedBottleneck) and module.shortcut is not None:
            nn.init.zeros_(module.expand.norm.weight)
        elif isinstance(module, BasicBlock):
            nn.init.zeros_(module.conv2.norm.weight)
