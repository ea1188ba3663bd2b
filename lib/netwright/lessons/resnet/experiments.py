"""What notebook 01 measures: gradients by depth, what flows and what it costs, and nets with a part cut out.

Imports toys, the models' transform and, of this room, starting.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from netwright.lessons.resnet.starting import initialise
from netwright.models import transform_for
from netwright.toys import CLASSES, ToyWorld

PARTS = ("reduce", "middle", "expand", "shortcut")


class Nothing(nn.Module):
    """Zeros where the input was: in place of a shortcut, it leaves the block its branch alone."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


# Gradients by depth ------------------------------------------------------------------------------------------------


def gradients_by_depth(
    block: Callable[[int, int, int], nn.Module], *, depth: int = 50, shortcut: bool = True, last: float = 1.0
) -> list[float]:
    """The norm of the gradient at the input of each of `depth` fresh blocks in a row, over that behind the last.

    block: block(in, mid, out) with parts called reduce, middle, expand and shortcut; every one keeps 32 channels.
    shortcut: whether it stays. last: the scale with which the last normalisation of each branch starts. The loss is
    a seeded sum of what comes out; the numbers are in training mode, as a net is on the first step of its training.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        blocks = nn.Sequential(*(block(32, 8, 32) for _ in range(depth)))
        initialise(blocks)
        for one in blocks:
            nn.init.constant_(one.expand.norm.weight, last)
            if not shortcut:
                one.shortcut = Nothing()
        maps = [torch.randn(8, 32, 10, 10).relu().requires_grad_()]
        for one in blocks.train():
            maps.append(one(maps[-1]))
        gradients = torch.autograd.grad((maps[-1] * torch.randn(maps[-1].shape)).sum(), maps)
    norms = [gradient.norm().item() for gradient in gradients]
    return [norm / norms[-1] for norm in norms[:-1]]


# What flows, and what it costs -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Flow:
    """What one picture's way through a net showed: module -> the shape behind it (channels, height, width), and the
    multiply-adds of its convolutions and linear layers. `came_in` has the shape before each."""

    shapes: dict[str, tuple[int, ...]]
    came_in: dict[str, tuple[int, ...]]
    macs: dict[str, int]


def watch(net: nn.Module, size: int = 224) -> Flow:
    """Run `net` on one picture of size x size pixels, and write down every module's shapes and multiply-adds."""
    shapes, came_in, macs, handles = {}, {}, {}, []

    def keep(name):
        def hook(module, inputs, output):
            shapes[name], came_in[name] = tuple(output.shape[1:]), tuple(inputs[0].shape[1:])
            if isinstance(module, nn.Conv2d | nn.Linear):
                own = output[0].numel() * module.weight[0].numel()  # every output is a sum of so many products
                path = name.split(".")
                for end in range(len(path) + 1):
                    above = ".".join(path[:end])
                    macs[above] = macs.get(above, 0) + own

        return hook

    for name, module in net.named_modules():
        handles.append(module.register_forward_hook(keep(name)))
    mode = net.training
    try:
        with torch.inference_mode():
            net.eval()(torch.zeros(1, 3, size, size))
    finally:
        net.train(mode)
        for handle in handles:
            handle.remove()
    return Flow(shapes, came_in, macs)


def learned(module: nn.Module) -> int:
    """How many numbers a module learns."""
    return sum(parameter.numel() for parameter in module.parameters())


# Lesions -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lesions:
    """What a net says of some pictures, whole and with one part of one block cut out.

    whole: logits (pictures, classes); cut: (block, "shortcut" or "branch") -> logits; labels and groups: (pictures,).
    """

    whole: Tensor
    cut: dict[tuple[str, str], Tensor]
    labels: Tensor
    groups: Tensor

    @property
    def blocks(self) -> list[str]:
        """The blocks, in the order in which they run."""
        return list(dict.fromkeys(block for block, _ in self.cut))

    def accuracy(self, logits: Tensor, group: int | None = None) -> float:
        """The share of pictures (of one group, or all) of which these logits are right."""
        right = logits.argmax(1) == self.labels
        return (right if group is None else right[self.groups == group]).double().mean().item()

    def moved(self, logits: Tensor) -> float:
        """How far the logits are from the whole net's, in standard deviations of those."""
        return ((logits - self.whole).square().mean().sqrt() / self.whole.std()).item()


@torch.inference_mode()
def cut_everything(net: nn.Module, pictures: int = 200) -> Lesions:
    """Every shortcut and every branch of a toy net cut, one at a time; the net is whole again afterwards."""
    world = ToyWorld("test")
    batch = world.batch(range(pictures))
    transform = transform_for(net)
    x = torch.stack([transform(image) for image in batch["image"]])
    net.eval()
    cut = {}
    for stage, blocks in enumerate(net.stages):
        for place, block in enumerate(blocks):
            for part, module in (("shortcut", block.shortcut), ("branch", block.expand)):
                with silenced(module):
                    cut[f"stages.{stage}.{place}", part] = net(x)
    return Lesions(net(x), cut, batch["label"], batch["group"])


@contextmanager
def silenced(module: nn.Module) -> Iterator[None]:
    """Inside the block, zeros come out of `module`."""
    handle = module.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    try:
        yield
    finally:
        handle.remove()


CHANCE = 1 / len(CLASSES)
