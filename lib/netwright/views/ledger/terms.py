"""A residual block as a sum: what its last convolution makes of each part, and what an activation leaves of it.

A block ends in act(scale * conv(h) + shift + shortcut), and h is a sum of parts: cardinal groups, splits, heads. Up to
the activation everything is linear, so each part has a share of the sum, exactly. Imports probing and view.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netwright.probing.capture import HEAD, Probe
from netwright.views.view import NotInThisNet


@dataclass(frozen=True)
class Way:
    """One way of cutting what a middle made into terms. Several ways cut the same thing coarser and finer.

    name: "cardinal groups". note: what to know about it, in a sentence. labels: one a term. takes: (terms, sources,
    channels) of zeros and ones; each source's channel is in one term.
    """

    name: str
    note: str
    labels: tuple[str, ...]
    takes: Tensor


@dataclass(frozen=True)
class Branch:
    """A block at one picture, as numbers that its sum is made of. All tensors on the net's device, float32.

    place: the module that puts out the sum of `sources` (sources, channels, height, width). slope: (channels, height,
    width), what norm and activation between there and the last convolution do to each number at this picture, frozen;
    None where there is nothing between. middle_shift: the rest of that, or None. conv, scale, shift: the last
    convolution and what follows it, per output channel. shortcut, total: (out, height, width), the sum being `total`
    and what the block puts out act(total).
    """

    block: str
    place: str
    last: str
    kind: str
    sources: Tensor
    ways: tuple[Way, ...]
    slope: Tensor | None
    middle_shift: Tensor | None
    conv: nn.Conv2d
    scale: Tensor
    shift: Tensor
    shortcut: Tensor
    total: Tensor
    act: nn.Module | None

    @property
    def received(self) -> Tensor:
        """(channels, height, width): what the last convolution receives, put together again from the parts."""
        return self.through(self.sources.sum(0)) + (0 if self.middle_shift is None else self.middle_shift)

    def through(self, parts: Tensor) -> Tensor:
        """Parts (…, channels, height, width) as they reach the last convolution."""
        return parts if self.slope is None else parts * self.slope

    def output(self) -> Tensor:
        """(out, height, width): what the block puts out, put together again from the parts."""
        convolved = F.conv2d(self.received[None], self.conv.weight.detach().float(), None, *_how(self.conv))[0]
        total = convolved * self.scale[:, None, None] + self.shift[:, None, None] + self.shortcut
        return total if self.act is None else self.act(total)

    def pulled_back(self, weights: Tensor) -> Tensor:
        """Weights of the block's sum (n, out, height, width) as weights of what the last convolution receives.

        (n, channels, height, width): the transposed convolution. `through` makes them weights of the sources.
        """
        kernel = self.conv.weight.detach().float() * self.scale[:, None, None, None]
        if self.conv.kernel_size == (1, 1) and self.conv.stride == (1, 1) and self.conv.groups == 1:
            return torch.einsum("nkhw,kc->nchw", weights, kernel[:, :, 0, 0])
        return nn.grad.conv2d_input((len(weights), *self.sources.shape[1:]), kernel, weights, *_how(self.conv))


def _how(conv: nn.Conv2d) -> tuple:
    return conv.stride, conv.padding, conv.dilation, conv.groups


def last_block(probe: Probe) -> str:
    """The name of the block before the head. Raises NotInThisNet."""
    blocks = [step for step in probe.steps if step.startswith("stages.")]
    if not blocks:
        raise NotInThisNet(
            f"A ledger needs a net of a stem, stages of residual blocks and a classifier, under these names; a "
            f"{type(probe.net).__name__} is none. nw.list_models() lists nets that have them."
        )
    return blocks[-1]


def is_exact(probe: Probe, block: str) -> bool:
    """Whether nothing but the mean and a linear classifier follows `block`."""
    steps = probe.steps
    return steps[steps.index(block) + 1] == HEAD and isinstance(probe.net.classifier, nn.Linear)


def secant(act: nn.Module | None, z: Tensor) -> Tensor:
    """act(z) / z at each number: 0 or 1 for ReLU, sigmoid(z) for SiLU. What is frozen of an activation."""
    if act is None:
        return torch.ones_like(z)
    small, step = z.abs() < 1e-6, 1e-3
    ends = torch.tensor([-step, step], device=z.device)
    beside = act(ends.clone()).diff() / (2 * step)
    return torch.where(small, beside.expand_as(z), act(z.clone()) / torch.where(small, 1.0, z))


def affine(norm: nn.Module | None, given: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    """Scale and shift (channels,) of a normalisation in evaluation; given() is what went in, (1, channels, …).

    Batch statistics are stored; those of a GroupNorm are the picture's own and are frozen with it.
    """
    if norm is None or isinstance(norm, nn.Identity):
        x = given()
        return torch.ones(x.shape[1], device=x.device), torch.zeros(x.shape[1], device=x.device)
    if isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None:
        mean, variance = norm.running_mean.float(), norm.running_var.float()
    elif isinstance(norm, nn.GroupNorm):
        grouped = given().float().reshape(norm.num_groups, -1)
        size = norm.num_channels // norm.num_groups
        mean = grouped.mean(1).repeat_interleave(size)
        variance = grouped.var(1, correction=0).repeat_interleave(size)
    else:
        raise NotInThisNet(f"A ledger reads BatchNorm2d and GroupNorm; this block ends in a {type(norm).__name__}.")
    weight = torch.ones_like(mean) if norm.weight is None else norm.weight.float()
    bias = torch.zeros_like(mean) if norm.bias is None else norm.bias.float()
    scale = (weight / (variance + norm.eps).sqrt()).detach()
    return scale, (bias - mean * scale).detach()
