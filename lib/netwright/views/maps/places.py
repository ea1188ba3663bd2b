"""Where in a net there is something to see: the map that every resolution ends with, and the head that sums one up.

Imports probing and view.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from netwright.probing.capture import Probe, evaluating, hooked
from netwright.views.view import NotInThisNet


@dataclass(frozen=True)
class Head:
    """The end of a net: `linear`, a layer that reads the mean over space of the map that `place` puts out.

    features: that map for the probe's picture, (channels, height, width), on the net's device.
    """

    place: str
    linear: str
    features: Tensor


def find_head(probe: Probe) -> Head:
    """The last map of a net whose logits are a linear layer of its mean, by looking at what the layers got and gave.

    Found by value, not by name, so that nets of any make have one. Raises NotInThisNet.
    """
    layers = {name: module for name, module in probe.net.named_modules() if isinstance(module, nn.Linear)}
    read: dict[str, tuple[Tensor, Tensor]] = {}  # layer -> what it read and what it put out
    widths = {layer.in_features for layer in layers.values()}
    maps: list[tuple[str, Tensor]] = []  # the last one of each width and size, in the order in which they were made

    def keep_layer(name: str):
        def keep(_, given, out):
            read[name] = given[0].detach(), out.detach()

        return keep

    def keep_map(name: str):
        def keep(_, given, out):
            if isinstance(out, Tensor) and out.ndim == 4 and out.shape[1] in widths and out.shape[2] * out.shape[3] > 1:
                maps[:] = [it for it in maps if it[1].shape != out.shape] + [(name, out.detach().clone())]

        return keep

    hooks = [
        (
            lambda module=module, name=name: module.register_forward_hook(
                (keep_layer if name in layers else keep_map)(name)
            )
        )
        for name, module in probe.net.named_modules()
        if name and not isinstance(module, nn.Identity)
    ]
    with evaluating(probe.net), hooked(hooks), torch.no_grad():
        probe.net(probe.input)

    def close(a: Tensor, b: Tensor) -> bool:
        return a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))

    for linear, (given, out) in reversed(read.items()):
        if probe.logits is None or not close(out, probe.logits[None]):
            continue
        for place, features in reversed(maps):
            if close(features.mean((2, 3)), given):
                return Head(place, linear, features[0])
    raise NotInThisNet(
        f"A class map needs a net that ends in a mean over space and one linear layer, as the four taught nets do, and "
        f"{type(probe.net).__name__} does not: no linear layer that makes its logits reads the mean of a map."
    )


def stage_places(probe: Probe) -> dict[str, tuple[int, int]]:
    """The parts that end a resolution, first to last, with height and width of their maps: at most the last four.

    For nets made like ours the stages, the last with the convolution after it; for others the outermost part with a
    map of each size. Raises NotInThisNet for a net without maps.
    """
    net = probe.net
    sizes: dict[str, tuple[int, int]] = {}  # in the order of the pass

    def keep(name: str):
        def look(_, given, out):
            if isinstance(out, Tensor) and out.ndim == 4 and len(out) == 1 and out.shape[2] * out.shape[3] > 1:
                sizes.pop(name, None)
                sizes[name] = tuple(out.shape[2:])

        return look

    known = [f"stages.{i}" for i in range(len(net.stages))] if probe.steps else [n for n, _ in net.named_modules() if n]
    if probe.steps and not isinstance(getattr(net, "final_conv", nn.Identity()), nn.Identity):
        known[-1:] = ["final_conv"]
    hooks = [(lambda name=name: net.get_submodule(name).register_forward_hook(keep(name))) for name in known]
    with evaluating(net), hooked(hooks), torch.no_grad():
        net(probe.input)
    last: dict[tuple[int, int], str] = {}
    for name, size in sizes.items():
        if size not in last or name.count(".") <= last[size].count(".") or probe.steps:
            last.pop(size, None)
            last[size] = name
    if not last:
        raise NotInThisNet(
            f"{type(net).__name__} makes no maps (batch, channels, height, width) that could be looked at."
        )
    order = list(sizes)
    return {name: sizes[name] for name in sorted(last.values(), key=order.index)[-4:]}
