"""The small parts that every architecture shares. Imports only config."""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

from netwright.nets.config import EfficientChannelAttention, SqueezeExcite


def activation(name: str) -> nn.Module:
    """The nonlinearity called `name`. It overwrites its input, which saves a copy of every feature map."""
    activations = {"relu": nn.ReLU, "silu": nn.SiLU}
    if name not in activations:
        raise ValueError(f"Activation {name!r} is unknown: choose one of {', '.join(activations)}.")
    return activations[name](inplace=True)


def normalisation(name: str, channels: int) -> nn.Module:
    """The normalisation called `name` over `channels` channels.

    "group" puts about 16 channels in a group (Wu and He 2018, table 3), so that even the 1x1 maps inside split
    attention have something to be normalised with.
    """
    if name == "batch":
        return nn.BatchNorm2d(channels)
    if name == "group":
        groups = next(g for g in range(max(channels // 16, 1), 0, -1) if channels % g == 0)
        return nn.GroupNorm(groups, channels)
    raise ValueError(f"Normalisation {name!r} is unknown: choose 'batch' or 'group'.")


class ConvNormAct(nn.Sequential):
    """Convolution, normalisation, activation: the word that convolutional nets are written in.

    The convolution has no bias, because the normalisation brings one. An `act` of None leaves the activation out.
    Input (batch, in_channels, height, width); odd kernels keep height and width at stride 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        norm: str = "batch",
        act: str | None = None,
    ):
        conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=dilation * (kernel_size // 2),
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        parts = OrderedDict(conv=conv, norm=normalisation(norm, out_channels))
        if act is not None:
            parts["act"] = activation(act)
        super().__init__(parts)


class SqueezeExciteGate(nn.Module):
    """Scales each channel by a gate in (0, 1) read off all channels' means (Hu et al. 2018, section 3).

    The hidden width is channels / reduction, rounded to a multiple of 8 (a half: up) as the published nets have it.
    """

    def __init__(self, channels: int, config: SqueezeExcite):
        super().__init__()
        hidden = max(8, int(channels / config.reduction / 8 + 0.5) * 8)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3), keepdim=True)  # (batch, channels, 1, 1)
        gate = self.fc2(self.fc1(pooled).relu()).sigmoid()  # (batch, channels, 1, 1)
        return x * gate


class EfficientChannelGate(nn.Module):
    """Scales each channel by a gate read off its neighbours' means (Wang et al. 2020, section 3.2).

    The kernel grows with the logarithm of the width: the odd number at or above (log2(channels) + 1) / 2, rounded
    down first.
    """

    def __init__(self, channels: int, config: EfficientChannelAttention):
        super().__init__()
        kernel_size = int((math.log2(channels) + 1) / 2)
        kernel_size += kernel_size % 2 == 0
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3))  # (batch, channels)
        gate = self.conv(pooled.unsqueeze(1)).sigmoid()  # (batch, 1, channels)
        return x * gate.transpose(1, 2).unsqueeze(-1)  # the gate becomes (batch, channels, 1, 1)


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): drops the residual branch of whole pictures while training.

    What is kept is scaled by 1 / (1 - rate), so that the expectation stays the same and evaluation needs nothing.
    """

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        mask = torch.empty(len(x), 1, 1, 1, dtype=x.dtype, device=x.device).bernoulli_(keep)
        return x * (mask / keep)

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3f}"
