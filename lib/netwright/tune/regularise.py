"""DropBlock, hung on a net from outside: it drops squares of a map where dropout would drop single pixels. Imports nets.

Dropout before the classifier and stochastic depth are options of the net: `create_model(drop_rate=, drop_path_rate=)`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netwright.nets.resnest import ResNeStMiddle
from netwright.nets.resnet import BasicBlock


def block_mask(seeds: Tensor, block_size: int) -> Tensor:
    """1 where a value is kept, 0 in every square of side `block_size` around a seed; seeds: (batch, channels, h, w).

    A square is no larger than the map. One of even side has its centre right of and below the middle.
    """
    height, width = (min(block_size, side) for side in seeds.shape[2:])
    dropped = F.max_pool2d(seeds.float(), (height, width), stride=1, padding=(height // 2, width // 2))
    return 1 - dropped[..., 1 - height % 2 :, 1 - width % 2 :]  # an even square pads one row and column too many


def drop_block(x: Tensor, rate: float, block_size: int) -> Tensor:
    """DropBlock (Ghiasi et al. 2018, arXiv:1810.12890, algorithm 1): `rate` of the values of `x`, about, dropped.

    x: (batch, channels, height, width); every channel of every picture has squares of its own. What is kept is
    scaled up so that the sum over the batch expects what it had. Neighbouring pixels say much the same, so that a
    net reads single dropped ones off their neighbours; a whole square it has to do without.
    """
    height, width = x.shape[2:]
    block_height, block_width = min(block_size, height), min(block_size, width)
    fitting = (height - block_height + 1) * (width - block_width + 1)  # places where a whole square fits
    seed_rate = rate * height * width / (block_height * block_width * fitting)
    keep = block_mask(torch.rand(x.shape, device=x.device) < seed_rate, block_size)
    return x * (keep * (keep.numel() / keep.sum().clamp(min=1))).to(x.dtype)


class DropBlock:
    """Hangs `drop_block` into the last stages of a net in training; `remove()` gives the net back as it was.

    As in the published training of ResNeSt (gluon code of the authors, resnest/gluon/resnet.py and dropblock.py):
    squares of 3, in the two last stages, three times in each block (after the first normalisation, after the middle,
    after the last normalisation), at a rate that grows linearly over the training, from 0 to `final_rate`.

    It acts through hooks and adds nothing to the net's state dict. Frozen blocks, which are in evaluation mode, are
    left alone. Its random numbers are torch's own (as those of dropout), so a checkpoint that keeps torch's random
    state keeps them.
    """

    def __init__(self, net: nn.Module, final_rate: float, *, block_size: int = 3, stages: tuple[int, ...] = (-2, -1)):
        if not 0 <= final_rate < 1:
            raise ValueError(f"A DropBlock rate of {final_rate} is no share of a map: choose 0 to below 1.")
        self.final_rate, self.block_size, self.rate = final_rate, block_size, 0.0
        blocks = [block for stage in stages for block in net.stages[stage]]
        self.hooks = [m.register_forward_hook(self._drop) for block in blocks for m in drop_points(block)]

    def set_epoch(self, epoch: int, epochs: int) -> None:
        """The rate for `epoch`, from 0 up, of a training of `epochs`."""
        self.rate = self.final_rate * min(1.0, (epoch + 1) / epochs)

    def _drop(self, module: nn.Module, inputs, output: Tensor) -> Tensor:
        return drop_block(output, self.rate, self.block_size) if module.training and self.rate else output

    def remove(self) -> None:
        for hook in self.hooks:
            hook.remove()
        self.hooks = []


def drop_points(block: nn.Module) -> list[nn.Module]:
    """The modules of a residual block whose outputs are dropped from."""
    if isinstance(block, BasicBlock):
        return [block.conv1.norm, block.conv2.norm]
    # Split attention ends with no normalisation: its whole output is dropped from, before the pool.
    middle = block.middle.attention if isinstance(block.middle, ResNeStMiddle) else block.middle.norm
    return [block.reduce.norm, middle, block.expand.norm]
