"""Split attention taken apart: its layers, its splits and gates, and other gates forced on it. Imports probing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from netwright.probing.capture import Probe, evaluating, hooked
from netwright.views.view import NotInThisNet

PARTS = ("conv", "norm", "fc1", "fc_norm", "fc2", "radix", "cardinality")  # by these a split attention is known
BATCH = 50  # pictures that run at once when a set of them is watched
LEAST = 1e-30  # a gate below this is taken for it, so that it has a logarithm


@dataclass(frozen=True)
class SplitLayer:
    """One split attention of a net. place: its name in the net ("stages.0.0.middle.attention")."""

    place: str
    module: nn.Module

    @property
    def name(self) -> str:
        """The block that holds it: "stages.0.0"."""
        return self.place.removesuffix(".attention").removesuffix(".middle")

    @property
    def radix(self) -> int:
        return int(self.module.radix)

    @property
    def cardinality(self) -> int:
        return int(self.module.cardinality)

    @property
    def channels(self) -> int:
        """Channels of one split, which are the gates that it has."""
        return self.module.conv.out_channels // self.radix

    def splits(self, normed: Tensor) -> Tensor:
        """What the layer's norm put out, (n, radix * channels, h, w), to the splits (n, radix, channels, h, w).

        The activation in between is the layer's own `act`, and a ReLU where it has no such part.
        """
        act = getattr(self.module, "act", None)
        x = act(normed.clone()) if callable(act) else normed.relu()
        return x.unflatten(1, (self.radix, -1))

    def gates(self, logits: Tensor) -> Tensor:
        """What its fc2 put out to the gates (n, radix, channels)."""
        return rsoftmax(logits.flatten(1), self.radix, self.cardinality)

    def reads(self, channel: int) -> list[tuple[int, int]]:
        """For every split the first and the last input channel that its `channel` is made from."""
        conv = self.module.conv
        width, made = conv.in_channels // conv.groups, conv.out_channels // conv.groups
        groups = [(split * self.channels + channel) // made for split in range(self.radix)]
        return [(group * width, (group + 1) * width - 1) for group in groups]


def split_layers(net: nn.Module) -> list[SplitLayer]:
    """Every split attention of a net, from the first to the last; known by the names of its parts.

    Raises NotInThisNet.
    """
    found = [
        SplitLayer(name, module) for name, module in net.named_modules() if all(hasattr(module, part) for part in PARTS)
    ]
    if not found:
        raise NotInThisNet(
            "No split attention is in this net, so it has no gates to show. The ResNeSts have it (toy_resnest, "
            f"resnest50d, …), and so has a net whose own layer has the parts {', '.join(PARTS)}."
        )
    return found


def layer_called(net: nn.Module, block: str | None) -> SplitLayer:
    """The split attention of a block, such as "stages.1.0"; None is the last. Raises NotInThisNet, ValueError."""
    layers = split_layers(net)
    if block is None:
        return layers[-1]
    for layer in layers:
        if block in (layer.name, layer.place) or layer.place.startswith(f"{block}."):
            return layer
    raise ValueError(f"No split attention is in {block!r}; they are in {', '.join(layer.name for layer in layers)}.")


# Gates -----------------------------------------------------------------------------------------------------------


def rsoftmax(logits: Tensor, radix: int, cardinality: int) -> Tensor:
    """Gates (n, radix, channels) of logits (n, cardinality * radix * channels per group), nested in that order.

    A softmax over the splits, per channel; with radix 1 a sigmoid. The splits are nested radix first, hence the
    transpose (ResNeSt, section 3.1 and appendix; written apart from the nets' own, which it is checked against).
    """
    nested = logits.unflatten(1, (cardinality, radix, -1))  # (n, cardinality, radix, channels per group)
    gates = nested.sigmoid() if radix == 1 else nested.softmax(2)
    return gates.transpose(1, 2).flatten(2)


def inverse_rsoftmax(gates: Tensor, radix: int, cardinality: int) -> Tensor:
    """Logits (n, cardinality * radix * channels per group) that the r-softmax turns into gates (n, radix, channels).

    Logarithms, since softmax(log a) = a where the gates sum to 1; with radix 1 log(a / (1 - a)).
    """
    nested = gates.unflatten(2, (cardinality, -1)).transpose(1, 2)  # (n, cardinality, radix, channels per group)
    logits = nested.logit(eps=6e-8) if radix == 1 else nested.clamp(min=LEAST).log()
    return logits.flatten(1)


def even(radix: int) -> float:
    """The gate that prefers no split: 1 / radix; and with radix 1, where nothing is weighed, one half."""
    return 1 / max(radix, 2)


def deviation(gates: Tensor) -> Tensor:
    """(n, radix, channels): how far every gate is from even. With radix 2 that is d and -d, d = (a0 - a1) / 2."""
    return gates - even(gates.shape[1])


def shown_gates(gates: Tensor) -> Tensor:
    """What the strip shows of gates (n, radix, channels): (n, 1, channels) d at radix 2, else the gates themselves."""
    return (gates[:, :1] - gates[:, 1:]) / 2 if gates.shape[1] == 2 else gates


def fixed_and_added(splits: Tensor, gates: Tensor) -> tuple[Tensor, Tensor]:
    """The output as two maps (n, channels, h, w): a fixed average of the splits, and what attention adds to it.

    With radix 2 these are (U0 + U1) / 2 and d (U0 - U1); in general the sums over the splits of U / radix and of
    (a - 1 / radix) U; with radix 1 they are U / 2 and (a - 1/2) U.
    """
    fixed = even(gates.shape[1]) * splits.sum(1)
    if gates.shape[1] == 2:
        d = (gates[:, 0] - gates[:, 1]) / 2  # (n, channels)
        return fixed, d[..., None, None] * (splits[:, 0] - splits[:, 1])
    return fixed, (deviation(gates)[..., None, None] * splits).sum(1)


def share_added(splits: Tensor, gates: Tensor) -> Tensor:
    """rho (n,): the length of what attention adds, as a share of the length of the output."""
    fixed, added = fixed_and_added(splits, gates)
    return added.flatten(1).norm(dim=1) / (fixed + added).flatten(1).norm(dim=1).clamp(min=1e-12)


def negated(gates: Tensor) -> Tensor:
    """The gates of the negated logits: -d instead of d, 1 - a at radix 1; at higher radix the order turned round."""
    if gates.shape[1] == 1:
        return 1 - gates
    return (-gates.clamp(min=LEAST).log()).softmax(1)


# Pictures, and other gates ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Watched:
    """What split attentions did with n pictures. gates: of each layer (n, radix, channels); rho: (n, layers)."""

    gates: list[Tensor]
    rho: Tensor
    logits: Tensor


def watch(net: nn.Module, layers: Sequence[SplitLayer], inputs: Tensor) -> Watched:
    """Run a net over inputs (n, 3, h, w), some at a time, and keep its gates, rho and logits."""
    weight = next(net.parameters())
    gates: list[list[Tensor]] = [[] for _ in layers]
    rho: list[list[Tensor]] = [[] for _ in layers]
    now: dict[int, Tensor] = {}

    def keep_splits(i: int):
        return lambda _, given, out: now.__setitem__(i, layers[i].splits(out))

    def keep_gates(i: int):
        def keep(_, given, out):
            gates[i].append(layers[i].gates(out))
            rho[i].append(share_added(now.pop(i), gates[i][-1]))

        return keep

    hooks = [_hook(layer.module.norm, keep_splits(i)) for i, layer in enumerate(layers)]
    hooks += [_hook(layer.module.fc2, keep_gates(i)) for i, layer in enumerate(layers)]
    with evaluating(net), hooked(hooks), torch.no_grad():
        logits = torch.cat([net(part.to(weight)) for part in inputs.split(BATCH)])
    return Watched([torch.cat(it) for it in gates], torch.stack([torch.cat(it) for it in rho], 1), logits)


def force(probe: Probe, layers: Sequence[SplitLayer], gates: Mapping[str, Tensor]) -> Tensor:
    """Logits (copies, classes) of the probe's picture with other gates, place -> (copies, radix, channels).

    The layer's fc2 is made to put out the logits of these gates, so that the module itself does the rest.
    """
    known = {layer.place: layer for layer in layers}

    def edit(place: str):
        layer = known[place]
        logits = inverse_rsoftmax(gates[place], layer.radix, layer.cardinality)
        return lambda out, given: logits.to(out).view_as(out)

    copies = len(next(iter(gates.values())))
    return probe.rerun({f"{place}.fc2": edit(place) for place in gates}, copies=copies)


def force_all(net: nn.Module, layers: Sequence[SplitLayer], inputs: Tensor, gates: Sequence[Tensor]) -> Tensor:
    """Logits of many pictures, every one with gates of its own: of each layer (n, radix, channels)."""
    weight = next(net.parameters())
    found = []
    for start in range(0, len(inputs), BATCH):
        part = slice(start, start + BATCH)
        hooks = [
            _hook(layer.module.fc2, _put_out(inverse_rsoftmax(own[part], layer.radix, layer.cardinality)))
            for layer, own in zip(layers, gates, strict=True)
        ]
        with evaluating(net), hooked(hooks), torch.no_grad():
            found.append(net(inputs[part].to(weight)))
    return torch.cat(found)


def _hook(module: nn.Module, hook: Callable):
    return lambda: module.register_forward_hook(hook)


def _put_out(tensor: Tensor) -> Callable:
    """A hook that makes a module put out this instead, in its own shape and type."""
    return lambda module, given, out: tensor.to(out).view_as(out)


def effect(probe: Probe, logits: Tensor) -> dict[str, Any]:
    """What other logits (classes,) change in a probe's answer, in plain values.

    logit and change: of the class that was the likeliest. relative: the length of the change of all logits, as a share
    of their own (both about their means). first, flips: the likeliest class now, whether it is another. kept: how many
    of the five likeliest still are. five: names and logits of the five likeliest now.
    """
    was, now, names = probe.logits.float(), logits.float(), probe.class_names
    own, five = probe.top(5), now.topk(min(5, len(now))).indices.tolist()
    centred = was - was.mean()
    return {
        "logit": now[own[0]].item(),
        "change": (now[own[0]] - was[own[0]]).item(),
        "relative": ((now - now.mean() - centred).norm() / centred.norm().clamp(min=1e-12)).item(),
        "first": names[five[0]],
        "flips": five[0] != own[0],
        "kept": len(set(five) & set(own)),
        "five": [[names[i], now[i].item()] for i in five],
    }
