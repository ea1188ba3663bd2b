"""What the notebook measures: designs at one budget side by side, which channels meet, and what a wrong block hides.

Imports bench and nets.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from netwright.bench import Ratio, interleave, ratio


@dataclass(frozen=True)
class Design:
    """A bottleneck at a budget, counted and timed.

    weights: of its convolutions; multiply_adds: for one picture, as PyTorch counts them; slower: its time as a multiple
    of that of the first design it was measured with, the median and the quartiles of neighbouring runs.
    """

    cardinality: int
    group_width: int
    weights: int
    multiply_adds: int
    slower: Ratio

    @property
    def name(self) -> str:
        """As in the paper: 32x4d."""
        return f"{self.cardinality}x{self.group_width}d"


def measure_designs(
    block: Callable[..., nn.Module],
    group_widths: Mapping[int, int],
    *,
    channels: int = 256,
    size: tuple[int, int] = (56, 56),
    runs: int = 8,
) -> list[Design]:
    """Build, count and time one block of each cardinality; the runs take turns, see `netwright.bench`.

    block(in, mid, out, stride, cardinality); group_widths: cardinality -> width of a group.
    """
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        x = torch.randn(1, channels, *size)
        blocks = {n: block(channels, n * width, channels, 1, n).eval() for n, width in group_widths.items()}
        seconds = interleave({str(n): (lambda b=b: b(x)) for n, b in blocks.items()}, runs)
    first = next(iter(seconds.values()))
    return [
        Design(n, group_widths[n], weights_of(b), multiply_adds_of(b, x), ratio(seconds[str(n)], first))
        for n, b in blocks.items()
    ]


def weights_of(module: nn.Module) -> int:
    """How many weights the convolutions of a module have; normalisation is left out."""
    return sum(part.weight.numel() for part in module.modules() if isinstance(part, nn.Conv2d))


def multiply_adds_of(module: nn.Module, x: Tensor) -> int:
    """How many multiplications with addition `module` needs for `x`, counted by PyTorch while it runs."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(x)
    return counter.get_total_flops() // 2  # it counts a multiplication and its addition as two


# Who meets whom ----------------------------------------------------------------------------------------------------


def reach(layers: nn.Module, channels: int, side: int = 7) -> Tensor:
    """(out, in): how much each output channel changes with each input channel, over a map of side x side pixels.

    It is the size of a gradient, so that a pair of channels that never meet is exactly zero.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        x = torch.randn(1, channels, side, side)
        weigh = torch.randn(side, side)  # of both signs, so that the sum over pixels does not cancel

    def summed(x: Tensor) -> Tensor:
        return (layers(x)[0] * weigh).sum((1, 2))  # (out,)

    jacobian = torch.autograd.functional.jacobian(summed, x)  # (out, 1, in, side, side)
    return jacobian[:, 0].abs().sum((2, 3))


def share_that_meet(reached: Tensor) -> float:
    """The share of pairs of an output and an input channel that depend on each other."""
    return (reached > 0).double().mean().item()


# Wrong nets --------------------------------------------------------------------------------------------------------


def with_blocks(net: nn.Module, block: Callable[..., nn.Module]) -> nn.Module:
    """A copy of `net` in which each block of its stages is made anew by block(in, mid, out, stride, cardinality).

    What fits keeps its numbers. The sizes are read off the old blocks, which have a reduce, a middle and an expand.
    """
    net = copy.deepcopy(net)
    for stage in net.stages:
        for i, old in enumerate(stage):
            middle = old.middle.conv
            sizes = old.reduce.conv.in_channels, middle.out_channels, old.expand.conv.out_channels
            stage[i] = block(*sizes, middle.stride[0], middle.groups)
            shapes = {key: tensor.shape for key, tensor in stage[i].state_dict().items()}
            kept = {key: tensor for key, tensor in old.state_dict().items() if shapes.get(key) == tensor.shape}
            stage[i].load_state_dict(kept, strict=False)
    return net.train(net.training)
