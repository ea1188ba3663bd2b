"""Nets that differ from a ResNeSt in one place, load its weights strictly, and are wrong. Imports nets."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from netwright.nets.config import NetConfig
from netwright.nets.net import ResidualNet
from netwright.nets.resnest import ResNeStMiddle

Fault = Callable[[ResidualNet], None]  # changes a net where it stands


def _each_shortcut(net: ResidualNet, change: Callable[[nn.Sequential], None]) -> None:
    for stage in net.stages:
        if hasattr(stage[0].shortcut, "pool"):
            change(stage[0].shortcut)


def _middles(net: ResidualNet) -> list[ResNeStMiddle]:
    return [module for module in net.modules() if isinstance(module, ResNeStMiddle)]


def stride_in_the_third(net: ResidualNet) -> None:
    """The stem strides in its last convolution, not in its first."""
    net.stem[0].conv.stride, net.stem[2].conv.stride = (1, 1), (2, 2)


def strided_shortcut(net: ResidualNet) -> None:
    """The shortcut strides its 1x1 convolution and pools nothing, as ResNet's does."""

    def change(shortcut: nn.Sequential) -> None:
        shortcut.pool, shortcut.conv.stride = nn.Identity(), (2, 2)

    _each_shortcut(net, change)


def wide_shortcut_pool(net: ResidualNet) -> None:
    """The shortcut pools 3x3 with a padding of 1, where it should pool 2x2 with none."""

    def change(shortcut: nn.Sequential) -> None:
        shortcut.pool = nn.AvgPool2d(3, 2, padding=1)

    _each_shortcut(net, change)


def other_place(net: ResidualNet) -> None:
    """The branch's pool stands before the attention where it belongs after it, or the other way round."""
    for middle in _middles(net):
        middle.pool_before, middle.pool_after = middle.pool_after, middle.pool_before


def uncounted_zeros(net: ResidualNet) -> None:
    """The branch's pool does not count the zeros of its padding."""
    for middle in _middles(net):
        for pool in (middle.pool_before, middle.pool_after):
            if isinstance(pool, nn.AvgPool2d):
                pool.count_include_pad = False


FAULTS: dict[str, Fault] = {
    "stem: the stride in the third convolution": stride_in_the_third,
    "shortcut: a strided 1×1 convolution": strided_shortcut,
    "shortcut: the pool 3×3 with padding": wide_shortcut_pool,
    "branch: the pool at its other place": other_place,
    "branch: the padding's zeros not counted": uncounted_zeros,
}


def impostor(config: NetConfig, state: Mapping[str, Tensor], fault: Fault | None = None) -> ResidualNet:
    """A net of `config` with one fault (None: without), `state` loaded strictly, in evaluation mode."""
    num_classes = len(state["classifier.bias"])
    net = ResidualNet(config, num_classes=num_classes)
    if fault is not None:
        fault(net)
    net.load_state_dict(state, strict=True)
    return net.eval()


def shapes_at_blocks(net: ResidualNet, x: Tensor) -> list[tuple[int, ...]]:
    """The shape of what leaves the stem, every part of every block and the net, for the input x."""
    shapes = []
    parts = [net.stem, *(part for stage in net.stages for block in stage for part in (*block.children(), block)), net]
    handles = [part.register_forward_hook(lambda m, args, out: shapes.append(tuple(out.shape))) for part in parts]
    try:
        with torch.no_grad():
            net(x)
    finally:
        for handle in handles:
            handle.remove()
    return shapes
