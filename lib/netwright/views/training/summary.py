"""What one net makes of one picture, in a few numbers: for looking at many nets in a row. Imports probing and views."""

import contextlib
from typing import Any

import torch

from netwright.probing.capture import Probe
from netwright.views.gates.parts import shown_gates, split_layers, watch
from netwright.views.halo.parts import (
    MASSES,
    HaloLayer,
    attention_weights,
    content_logits,
    halo_layers,
    masses,
    position_logits,
)
from netwright.views.halo.parts import places as halo_places
from netwright.views.ledger.ledger import Ledger
from netwright.views.maps.class_map import ClassMap
from netwright.views.view import NotInThisNet

DIGITS = 6
FEW = 3  # digits of what is only looked at


def summarise(probe: Probe, target: int | str) -> dict[str, Any]:
    """Plain data about a probe: its answer, its class map, how strong its maps are, and what its middles do.

    logit, bias, probability of the target; top: the three likeliest (name, probability); class_map (rows, columns) in
    logits, which with the bias sums to the logit; energy: for each stage the root mean square over the channels of its
    map (rows, columns); measures: by name a number, among them for every halo attention layer the mean attention on
    its own block, the halo ring and the padding, for every split attention the mean |d| (the distance from even
    gates), and how many of the last block's terms carry the logit, (sum |t|)^2 / sum t^2.
    """
    target = probe.target(target)
    view = ClassMap(probe, target)
    probabilities = probe.probabilities
    stages = _stages(probe)
    return {
        "logit": _short(probe.logits[target]),
        "bias": _short(view.bias[target]),
        "probability": _short(probabilities[target]),
        "top": [[probe.class_names[i], _short(probabilities[i])] for i in probe.top(3)],
        "class_map": _short(torch.as_tensor(view.maps[target])),
        "energy": {name: _short(probe[name][0].float().square().mean(0).sqrt(), FEW) for name in stages},
        "measures": {name: _short(value) for name, value in _measures(probe, target)},
    }


def _stages(probe: Probe) -> list[str]:
    """The last block of every stage."""
    last = {step.split(".")[1]: step for step in probe.steps if step.startswith("stages.")}
    return list(last.values())


def _measures(probe: Probe, target: int):
    for name in halo_layers(probe.net):
        layer = HaloLayer.from_captured(
            name, probe.net.get_submodule(name), probe.look(halo_places(name)), probe.input.shape[2]
        )
        weights = attention_weights(content_logits(layer) + position_logits(layer))
        for what, mass in zip(MASSES, masses(layer, weights).unbind(-1), strict=True):
            yield f"{name.removesuffix('.middle.attention')}: {what}", mass.mean()
    with contextlib.suppress(NotInThisNet):
        layers = split_layers(probe.net)
        for layer, gates in zip(layers, watch(probe.net, layers, probe.input).gates, strict=True):
            yield f"{layer.name}: mean |d|", shown_gates(gates).abs().mean()
    ledger = Ledger(probe, target=target)
    terms = ledger.data["ways"][0]
    values = torch.as_tensor(terms["terms"][0]).abs()
    yield f"{ledger.block}: terms that carry the logit, of {len(values)}", values.sum() ** 2 / values.square().sum()


def _short(value, digits: int = DIGITS) -> Any:
    """Numbers as plain data, rounded to what can be seen."""
    array = torch.as_tensor(value).detach().cpu().double()
    if array.ndim == 0:
        return float(f"{array.item():.{digits}g}")
    return [_short(row, digits) for row in array]
