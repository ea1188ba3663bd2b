"""Exercise `resnet.batchnorm`: a BatchNorm that remembers. Imports the engine and trying."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from netwright.lessons.engine import Check
from netwright.lessons.trying import buffers, fill, numbers


class BatchNorm2d(nn.Module):
    """Each channel with mean 0 and variance 1 over the batch, then scaled and shifted (Ioffe and Szegedy 2015).

    In training mode the batch's own mean and biased variance normalise; running averages of the mean and of the
    unbiased variance are kept, and normalise in evaluation mode. Shapes: (batch, channels, height, width), kept.
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        if self.training:
            var, mean = torch.var_mean(x, (0, 2, 3), correction=0)  # (channels,) each
            count = x.numel() / len(mean)  # of the values that each mean is a mean of
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * count / (count - 1), self.momentum)
                self.num_batches_tracked += 1
        scale = self.weight / (var + self.eps).sqrt()
        shift = self.bias - mean * scale
        return x * scale[:, None, None] + shift[:, None, None]


def _measure(theirs: type[nn.Module]) -> Iterator[tuple[str, Any]]:
    layer = theirs(3)
    yield "the list of parameters of a layer for 3 channels", {k: tuple(p.shape) for k, p in layer.named_parameters()}
    yield "the list of buffers of a layer for 3 channels", {k: tuple(b.shape) for k, b in layer.named_buffers()}
    yield "what a fresh layer begins with", {k: t.detach().clone() for k, t in layer.state_dict().items()}
    for step, shape in (("first", (4, 3, 5, 7)), ("second", (2, 3, 3, 2))):
        x = 2 * numbers(*shape, of=step) + torch.tensor([3.0, -1.0, 0.5])[:, None, None]
        seen = x.clone()
        yield f"the output in training mode at the {step} step", layer.train()(seen).detach().clone()
        yield f"the list of buffers after the {step} step", buffers(layer)
        yield f"the input of the {step} step, once the layer has run,", seen
    yield "the output in evaluation mode after two steps", layer.eval()(x).detach().clone()
    yield "the list of buffers after an evaluation", buffers(layer)

    layer = theirs(5, eps=0.3, momentum=0.25)  # no number left at its default
    fill(layer)
    where = "of a layer with eps=0.3, momentum=0.25 and a scale and shift of its own"
    x = numbers(3, 5, 4, 3, of="third")
    yield f"the output in training mode {where}", layer.train()(x).detach().clone()
    yield f"the list of buffers after a step {where}", buffers(layer)
    yield f"the output in evaluation mode {where}", layer.eval()(x[:1]).detach().clone()
    weights = numbers(*x.shape, of="weights")
    for mode in ("training", "evaluation"):
        leaf = x.clone().requires_grad_()
        output = layer.train(mode == "training")(leaf)
        wanted = {"the input": leaf, **{f"the {key}": p for key, p in layer.named_parameters()}}
        gradients = torch.autograd.grad((output * weights).sum(), list(wanted.values()))
        yield f"the list of gradients in {mode} mode {where}", dict(zip(wanted, gradients, strict=True))
        asks = any(b.requires_grad for b in layer.buffers())
        yield f"whether a buffer asks for a gradient after a step in {mode} mode", asks
    x = numbers(2, 5, 1, 1, of="pixels")
    yield "the output in training mode of two pictures of one pixel", layer.train()(x).detach()
    yield "the list of buffers after two pictures of one pixel", buffers(layer)
    layer.float()
    yield "the type of the output, where layer and input are float32,", str(layer(x.float()).dtype)


# Known mistakes ----------------------------------------------------------------------------------------------------


class _Variant(BatchNorm2d):
    """`BatchNorm2d` taken apart, so that each mistake changes one part."""

    def batch(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The mean and the variance that normalise in training mode; any shape that x can be combined with."""
        return x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)

    def remember(self, x: Tensor) -> None:
        self.blend(self.running_mean, x.mean((0, 2, 3)))
        self.blend(self.running_var, x.var((0, 2, 3)))
        self.num_batches_tracked += 1

    def blend(self, old: Tensor, new: Tensor) -> None:
        old.copy_((1 - self.momentum) * old + self.momentum * new)

    def which(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.batch(x) if self.training else (self.running_mean, self.running_var)

    def apply_to(self, x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        return (x - mean) / (var + self.eps).sqrt() * self.weight[:, None, None] + self.bias[:, None, None]

    def forward(self, x):
        if self.training:
            with torch.no_grad():
                self.remember(x)
        mean, var = (s if s.ndim > 1 else s[:, None, None] for s in self.which(x))
        return self.apply_to(x, mean, var)


class _BiasedMemory(_Variant):
    def remember(self, x):
        self.blend(self.running_mean, x.mean((0, 2, 3)))
        self.blend(self.running_var, x.var((0, 2, 3), correction=0))
        self.num_batches_tracked += 1


class _UnbiasedAll(_Variant):
    def batch(self, x):
        return x.mean((0, 2, 3)), x.var((0, 2, 3))


class _MomentumReversed(_Variant):
    def blend(self, old, new):
        old.copy_(self.momentum * old + (1 - self.momentum) * new)


class _MomentumIgnored(_Variant):
    def blend(self, old, new):
        old.copy_(0.9 * old + 0.1 * new)


class _LastBatchOnly(_Variant):
    def blend(self, old, new):
        old.copy_(new)


class _Adds(_Variant):
    def blend(self, old, new):
        old.add_(self.momentum * new)


class _EpsOutside(_Variant):
    def apply_to(self, x, mean, var):
        return (x - mean) / (var.sqrt() + self.eps) * self.weight[:, None, None] + self.bias[:, None, None]


class _EpsIgnored(_Variant):
    def apply_to(self, x, mean, var):
        return (x - mean) / (var + 1e-5).sqrt() * self.weight[:, None, None] + self.bias[:, None, None]


class _DividesByVariance(_Variant):
    def apply_to(self, x, mean, var):
        return (x - mean) / (var + self.eps) * self.weight[:, None, None] + self.bias[:, None, None]


class _NoAffine(_Variant):
    def apply_to(self, x, mean, var):
        return (x - mean) / (var + self.eps).sqrt()


class _AlwaysBatch(_Variant):
    def which(self, x):
        return self.batch(x)


class _AlwaysRunning(_Variant):
    def which(self, x):
        return self.running_mean, self.running_var


class _RemembersInEvaluation(_Variant):
    def forward(self, x):
        with torch.no_grad():
            self.remember(x)
        mean, var = (s[:, None, None] for s in self.which(x))
        return self.apply_to(x, mean, var)


class _PerPicture(_Variant):
    def batch(self, x):
        return x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)


class _VarianceForgotten(_Variant):
    def remember(self, x):
        self.blend(self.running_mean, x.mean((0, 2, 3)))
        self.num_batches_tracked += 1


class _RemembersDeviation(_Variant):
    def remember(self, x):
        self.blend(self.running_mean, x.mean((0, 2, 3)))
        self.blend(self.running_var, x.std((0, 2, 3)))
        self.num_batches_tracked += 1


class _CountsPictures(_Variant):
    def remember(self, x):
        self.blend(self.running_mean, x.mean((0, 2, 3)))
        self.blend(self.running_var, x.var((0, 2, 3), correction=0) * len(x) / (len(x) - 1))
        self.num_batches_tracked += 1


class _NotCounted(_Variant):
    def remember(self, x):
        self.blend(self.running_mean, x.mean((0, 2, 3)))
        self.blend(self.running_var, x.var((0, 2, 3)))


class _StatisticsAreConstants(_Variant):
    def batch(self, x):
        return super().batch(x.detach())


class _DragsTheGraph(_Variant):
    def forward(self, x):
        if self.training:
            self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * x.mean((0, 2, 3))
            self.running_var = (1 - self.momentum) * self.running_var + self.momentum * x.var((0, 2, 3))
            self.num_batches_tracked += 1
        mean, var = (s[:, None, None] for s in self.which(x))
        return self.apply_to(x, mean, var)


class _PlainTensors(_Variant):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__(channels, eps, momentum)
        for name, tensor in list(self.named_buffers()):
            delattr(self, name)
            setattr(self, name, tensor)


class _StartsAtZero(_Variant):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__(channels, eps, momentum)
        self.running_var.zero_()


class _OverwritesInput(_Variant):
    def apply_to(self, x, mean, var):
        with torch.no_grad():
            x.sub_(mean)
        return x / (var + self.eps).sqrt() * self.weight[:, None, None] + self.bias[:, None, None]


MISTAKES = {
    "that remembers the biased variance": _BiasedMemory,
    "that normalises with the unbiased variance": _UnbiasedAll,
    "in which momentum is the share of the old, so that a step forgets nearly everything": _MomentumReversed,
    "that moves its averages by a tenth, whatever the momentum": _MomentumIgnored,
    "that remembers the last batch only": _LastBatchOnly,
    "that adds the new to the running averages and never fades the old": _Adds,
    "that adds eps to the deviation, outside of the root": _EpsOutside,
    "that uses 1e-5, whatever eps": _EpsIgnored,
    "that divides by the variance instead of its root": _DividesByVariance,
    "without scale and shift": _NoAffine,
    "that normalises by the batch in evaluation mode too": _AlwaysBatch,
    "that normalises by its running averages in training mode too": _AlwaysRunning,
    "that goes on remembering in evaluation mode": _RemembersInEvaluation,
    "that normalises every picture by itself": _PerPicture,
    "that never moves running_var": _VarianceForgotten,
    "that keeps the deviation in running_var": _RemembersDeviation,
    "that takes the number of pictures for the number of values when it corrects the variance": _CountsPictures,
    "that does not count its batches": _NotCounted,
    "that takes the batch's mean and variance for constants when it goes backward": _StatisticsAreConstants,
    "whose running averages drag the graph of every batch along": _DragsTheGraph,
    "whose averages are plain attributes, which no weight file holds and no net.to() moves": _PlainTensors,
    "whose running_var begins at 0": _StartsAtZero,
    "that overwrites its input": _OverwritesInput,
}

CHECKS = (
    Check(
        id="resnet.batchnorm",
        minutes=12,
        difficulty="medium",
        ours=BatchNorm2d,
        measure=_measure,
        mistakes=MISTAKES,
        hints=(
            (
                "Five tensors of one number a channel, or of one number. Which two does the optimiser move, and which three "
                "does the layer move by itself? And over which three of the four dimensions is a channel's mean taken?"
            ),
            (
                "What learns is an nn.Parameter; what is only kept goes through self.register_buffer, so that it is saved, "
                "loaded and moved with the net. In training mode use the batch's mean and x.var((0, 2, 3), correction=0); "
                "for running_var take x.var((0, 2, 3)), which divides by one less."
            ),
            (
                "with torch.no_grad(): self.running_mean.lerp_(mean, self.momentum), the same for the variance, and "
                "self.num_batches_tracked += 1. Then (x - mean) / (var + self.eps).sqrt() * weight + bias, each of the four "
                "as [:, None, None], so that it meets the channels."
            ),
        ),
    ),
)
