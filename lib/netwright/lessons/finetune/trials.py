"""What the checks of notebook 10 try answers on: a small net in double precision, and some numbers for it.

Imports nets.
"""

import torch
from torch import Tensor, nn

from netwright.nets.config import Block, NetConfig, Stage, Stem
from netwright.nets.net import ResidualNet

CLASSES = 4
SMALL = NetConfig(
    Stem((4,), 3, pool=False),
    (Stage((Block("basic"),), 4, 4, stride=1), Stage((Block(), Block()), 4, 8)),
    input_size=16,
)


def small_net(seed: int = 1, **options) -> ResidualNet:
    """A net of two stages, in which no number is 0 or 1 by accident, and in training mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = ResidualNet(SMALL, num_classes=CLASSES, **options)
        with torch.no_grad():
            for name, tensor in net.state_dict().items():
                if name.endswith(("norm.weight", "running_var")):
                    tensor.uniform_(0.5, 1.5)
                elif name.endswith(("bias", "running_mean")):
                    tensor.normal_(std=0.3)
                elif name.endswith("num_batches_tracked"):
                    tensor.fill_(7)
    return net


def plain_net(seed: int = 1) -> nn.Module:
    """A net without normalisation: what it says of a picture does not depend on the pictures beside it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 36, CLASSES))


def pictures(count: int, side: int = 16, seed: int = 2) -> tuple[Tensor, Tensor]:
    """images (count, 3, side, side) and targets (count,), of which no two neighbours are equal."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, side, side, generator=generator, dtype=torch.get_default_dtype())
    return images, torch.arange(count) % CLASSES


def numbers(module: nn.Module, *parts: str) -> dict[str, Tensor]:
    """A copy of the state dict, of all or of the names that begin with one of `parts`."""
    kept = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    return {name: tensor for name, tensor in kept.items() if not parts or name.startswith(parts)}


def number(value) -> float | None:
    """A loss as a float, whether it came as one or as a tensor; None where nothing came."""
    return float(value) if isinstance(value, float | int | Tensor) else value
