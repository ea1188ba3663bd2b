"""The museum's tour: what the usual tests say of its exhibits, and what the instruments say.

Imports tables, models, probing, the views and, of this room, museum, keys and experiments.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from netwright.lessons.attention import museum
from netwright.lessons.attention.experiments import toy_inputs, toy_net, toy_probe
from netwright.lessons.attention.keys import effective_keys
from netwright.lessons.tables import Table, table
from netwright.models import create_model
from netwright.probing.capture import probe
from netwright.views.gates.gates import Gates
from netwright.views.halo.explorer import HaloExplorer
from netwright.views.halo.tables import RelativeTables
from netwright.views.view import View


def superficial(nets: Mapping[str, nn.Module], count: int = 60) -> Table:
    """What most tests look at: parameters, shapes, whether numbers are finite; and the accuracy on toy pictures."""
    rows = []
    inputs, labels = toy_inputs(create_model("toy_halonet"), count)
    for letter, net in nets.items():
        with torch.inference_mode():
            logits = net(inputs)
        parameters = sum(p.numel() for p in net.parameters())
        finite = "yes" if logits.isfinite().all() else "no"
        right = f"{(logits.argmax(1) == labels).double().mean():.0%}"
        rows.append((letter, f"{parameters:,}", "×".join(map(str, logits.shape)), finite, right))
    return table(("net", "parameters", "shape of the answer", "finite", f"right, of {count}"), rows)


def verdict(view: View) -> str:
    """What a view says of itself, in a few words."""
    failing = [it for it in view.identities() if not it.holds]
    return "holds" if not failing else f"FAILS: “{failing[0].text}”"


@dataclass(frozen=True)
class Seen:
    """A layer through the keyhole, over some pictures: shares and numbers of keys, means over queries and heads.

    padding: the share of the attention that is not on the map, measured; window: the share of the window that is not.
    keys: effective keys, of so many on the map (valid).
    """

    padding: float
    window: float
    keys: float
    valid: float


def through_the_keyhole(net: nn.Module, name: str, indices: range = range(8)) -> Seen:
    """What the layer `name` of a halo net does with some toy pictures, measured without knowing how it attends."""
    layer = museum.halo_layers(net)[name]
    padding, keys = [], []
    for index in indices:
        weights = museum.keyhole(layer, toy_probe(net, index)[f">{name}"]).flatten(-2)  # (heads, y, x, pixels)
        padding.append(1 - weights.sum(-1).mean())
        keys.append(effective_keys(weights, torch.tensor(True)).mean())
    explorer = HaloExplorer(toy_probe(net, indices[0]), name)
    here = explorer.data[name]
    return Seen(
        float(torch.stack(padding).mean()),
        float(np.mean(here["padding_share"])),
        float(torch.stack(keys).mean()),
        float(np.mean(here["valid"])),
    )


def tour(nets: Mapping[str, nn.Module], index: int = 0, layer: str = "stages.1.0.middle.attention") -> Table:
    """The museum's halo nets under the instruments: two views' own checks, and what is seen through the keyhole."""
    rows = []
    for letter, net in nets.items():
        looking = toy_probe(net, index)
        seen = through_the_keyhole(net, layer)
        padding = f"{seen.padding:.0%} (window {seen.window:.0%})"
        keys = f"{seen.keys:.0f} of {seen.valid:.0f}"
        first = looking.top(1)[0]
        logit = f"{looking.class_names[first]} {looking.logits[first]:+.2f}".replace("-", "−")
        badges = (verdict(HaloExplorer(looking)), verdict(RelativeTables(looking, layer)))
        rows.append((letter, *badges, padding, keys, logit))
    heads = ("net", "query explorer", "relative tables", "padding", "effective keys", "likeliest class, its logit")
    return table(heads, rows)


def gate_tour(nets: Mapping[str, nn.Module], index: int = 0) -> Table:
    """The museum's two ResNeSts: the view's check, and the sums of the gates that the layer itself uses."""
    rows = []
    for letter, net in nets.items():
        sums = []

        def watched(gates, sums=sums):
            sums.append(gates.sum(1).flatten())
            return gates

        inputs, _ = toy_inputs(create_model("toy_resnest"), index + 1)
        gates_in_use(net, inputs[index:], watched)
        every = torch.cat(sums)
        rows.append((letter, verdict(Gates(probe(net, inputs[index:]))), f"{every.min():.2f} to {every.max():.2f}"))
    return table(("net", "gates view", "sums of a channel's gates over the splits"), rows)


def gates_in_use(net: nn.Module, inputs: Tensor, look: Callable[[Tensor], Tensor]) -> Tensor:
    """Logits, while `look` is handed the gates (n, radix, channels) that each split attention multiplies with.

    Measured, as through the keyhole: a split attention is linear in its splits. With split r set to 1 and the others to
    0 it answers with the gates of split r. So it works with whatever the layer does between its logits and its sum.
    """
    layers = [module for module in net.modules() if hasattr(module, "fc2") and hasattr(module, "radix")]
    seen: dict[nn.Module, Tensor] = {}
    handles = [layer.fc2.register_forward_hook(lambda m, _, out, at=layer: seen.update({at: out})) for layer in layers]
    try:
        with torch.inference_mode():
            logits = net(inputs)
    finally:
        for handle in handles:
            handle.remove()
    for layer in layers:
        look(measured_gates(layer, seen[layer]))
    return logits


@torch.inference_mode()
def measured_gates(layer: nn.Module, logits: Tensor) -> Tensor:
    """The gates (n, radix, channels) that a split attention uses for these logits of its fc2, by trying its splits."""
    n, count = logits.shape[0], layer.conv.out_channels
    found = []
    for r in range(layer.radix):
        tried = torch.zeros(n, layer.radix, count // layer.radix, 1, 1)
        tried[:, r] = 1
        hooks = (
            layer.norm.register_forward_hook(lambda *_, tried=tried: tried.flatten(1, 2).clone()),
            layer.fc2.register_forward_hook(lambda *_: logits),
        )
        try:
            found.append(layer(torch.zeros(n, layer.conv.in_channels, 1, 1))[:, :, 0, 0])
        finally:
            for hook in hooks:
                hook.remove()
    return torch.stack(found, 1)


def museum_maps(index: int = 10) -> np.ndarray:
    """Three signed maps to colour, (3, height, width): evidence for a class in the trained net, a hundredth of noise, and
    a map that is the same everywhere but for one cell. In logits."""
    net = toy_net("toy_halonet")
    looking = toy_probe(net, index)
    features = looking[looking.steps[-2]][0]  # (channels, height, width)
    weight = net.classifier.weight[looking.target()].detach()
    evidence = torch.einsum("k,khw->hw", weight, features).numpy() / features[0].numel()
    noise = np.random.default_rng(0).normal(size=evidence.shape) * np.abs(evidence).max() / 100
    flat = np.full(evidence.shape, np.abs(evidence).max() / 50)
    flat[0, 0] *= 1.01
    return np.stack([evidence, noise, flat])
