"""The same answers sooner: a net rewritten for inference. Imports nets.

What training needs and answering does not is folded away. Each BatchNorm goes into the convolution before it. On a
CPU each convolution also takes over the activation and the addition that follow it, so that a feature map is written
once instead of three or four times; that is what oneDNN, the library under PyTorch's CPU convolutions, is built for.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from netwright.nets.halonet import HaloAttention
from netwright.nets.layers import ConvNormAct
from netwright.nets.net import FeatureNet, ResidualNet
from netwright.nets.resnest import SplitAttention
from netwright.nets.resnet import BasicBlock, Bottleneck

# What oneDNN calls the activations that it can apply while it writes a convolution's output.
_ONEDNN_NAME = {nn.ReLU: "relu", nn.SiLU: "swish"}


def optimize(net: ResidualNet | FeatureNet, *, compile: bool = False) -> "Optimized":
    """A copy of `net` that answers the same to rounding (about 1e-5 relative in float32) and cannot be trained.

    compile: instead of fusing by hand, let `torch.compile` generate code for the machine at hand. The first call then
    takes from half a minute to two, and so does the first with another size of input: worth it for many pictures.
    Nets with another normalisation than "batch" are copied, but have less to fold.
    """
    folded = copy.deepcopy(net).eval().requires_grad_(False)
    fold_normalisations(folded)
    return Optimized(folded, compile)


class Optimized(nn.Module):
    """What `optimize` returns: call it as the net it was made from. It stays in evaluation mode.

    Takes float32 pictures of any memory format on the device of its weights (`.to(device)` works).
    """

    def __init__(self, net: ResidualNet | FeatureNet, compile: bool):
        super().__init__()
        if not compile:
            fuse_convolutions(net)
        self.net = net
        self.answer = compile_frozen(net) if compile else net.__call__
        self.eval()

    def train(self, mode: bool = True) -> "Optimized":
        """Stays in evaluation mode: there is nothing left to train."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        return self.answer(x.to(memory_format=torch.channels_last))

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:  # num_classes, weights, feature_info, config, class_names …
            return getattr(super().__getattr__("net"), name)


def compile_frozen(net: nn.Module) -> Callable[[Tensor], Tensor]:
    """`net` compiled by inductor with its weights as constants, for calls without gradients.

    Constants may be laid out anew for the kernels, once, and operations fused into them: inductor calls that freezing.
    It has to be switched on where the compilation happens, in the first call, for dynamo to see it as well.
    """
    compiled = torch.compile(net)

    def answer(x: Tensor) -> Tensor:
        with torch._inductor.config.patch(freezing=True):
            return compiled(x)

    return answer


def fold_normalisations(net: nn.Module) -> None:
    """Fold every BatchNorm that directly follows a convolution into it, in place. The net must be in eval mode."""
    for module in net.modules():
        pairs = [("conv", "norm")] if hasattr(module, "conv") and hasattr(module, "norm") else []
        if isinstance(module, SplitAttention):
            pairs.append(("fc1", "fc_norm"))
        for conv, norm in pairs:
            if isinstance(getattr(module, norm), nn.BatchNorm2d):
                setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
                setattr(module, norm, nn.Identity())


def fuse_convolutions(net: nn.Module) -> None:
    """Let every convolution apply what follows it: activation, addition of the shortcut. In place, after folding."""
    for module in net.modules():
        if isinstance(module, ConvNormAct | SplitAttention) and isinstance(module.norm, nn.Identity):
            module.conv = FusedConv(module.conv, getattr(module, "act", None))
            if isinstance(module, ConvNormAct):
                module.act = nn.Identity()
        elif isinstance(module, HaloAttention):
            module.query, module.key_value = FusedConv(module.query), FusedConv(module.key_value)
        elif isinstance(module, nn.Sequential) and isinstance(getattr(module, "conv", None), nn.Conv2d):
            module.conv = FusedConv(module.conv)  # the pooled shortcut
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, Bottleneck) and isinstance(child.expand.norm, nn.Identity):
                setattr(module, name, FusedBlock((child.reduce, child.middle, child.gate), child.expand, child))
            elif isinstance(child, BasicBlock) and isinstance(child.conv2.norm, nn.Identity):
                setattr(module, name, FusedBlock((child.conv1,), child.conv2, child))


class FusedBlock(nn.Module):
    """A residual block whose last convolution adds the shortcut and applies the activation itself."""

    def __init__(self, layers: tuple[nn.Module, ...], last: ConvNormAct, block: Bottleneck | BasicBlock):
        super().__init__()
        self.layers = nn.Sequential(*(layer for layer in layers if not isinstance(layer, nn.Identity)))
        self.last = FusedConv(last.conv.conv, block.act)
        self.shortcut = block.shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layers(x), self.shortcut(x))


class FusedConv(nn.Module):
    """act(conv(x) + residual) in one pass over memory, where oneDNN can: float32 on a CPU. Elsewhere step by step.

    The weights are laid out for the size of input that comes, and laid out again when another size comes.
    """

    def __init__(self, conv: nn.Conv2d, act: nn.Module | None = None):
        super().__init__()
        self.conv, self.act = conv, act
        self.packed, self.packed_for = None, None

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        if not (x.device.type == "cpu" and x.dtype == torch.float32 and torch.backends.mkldnn.is_available()):
            x = self.conv(x)
            x = x if residual is None else x.add_(residual)
            return x if self.act is None else self.act(x)

        conv = self.conv
        geometry = (conv.padding, conv.stride, conv.dilation, conv.groups)
        if self.packed_for != x.shape:
            self.packed = torch._C._nn.mkldnn_reorder_conv2d_weight(conv.weight.to_mkldnn(), *geometry, x.shape)
            self.packed_for = x.shape
        act = "none" if self.act is None else _ONEDNN_NAME[type(self.act)]
        convolution = torch.ops.mkldnn._convolution_pointwise
        if residual is None:
            return convolution(x, self.packed, conv.bias, *geometry, act, [], "")
        # After a sum, oneDNN applies ReLU or nothing.
        then = "relu" if act == "relu" else None
        y = convolution.binary(x, residual, self.packed, conv.bias, *geometry, "add", 1.0, then, [], None)
        return y if self.act is None or then else self.act(y)

    def __deepcopy__(self, memo) -> "FusedConv":  # what is packed cannot be copied, and need not be
        return FusedConv(copy.deepcopy(self.conv, memo), copy.deepcopy(self.act, memo))
