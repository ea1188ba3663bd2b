"""What a net answers when a halo attention layer lacks something: keys, padding, content, position, a head.

Imports probing and parts.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from netwright.probing.capture import Probe
from netwright.views.halo import parts
from netwright.views.halo.parts import HaloLayer

TOP = 5
AT_ONCE = 16  # copies of a picture in one pass: a layer of 8 heads and halo 3 has 15 ablations


@dataclass(frozen=True)
class Ablation:
    """One thing taken from a layer. key: for programs ("halo 1"); label: for people."""

    key: str
    label: str


def ablations(layer: HaloLayer) -> list[Ablation]:
    """All that can be taken from a layer, one at a time.

    Nothing: the rebuilt output in place of the layer's own, which shows how much of a change is rounding. A smaller halo and no padding: those keys are masked, and the others share their attention. No position, no content:
    the other logit alone. A head at its mean: what it puts out is replaced by its mean over the map.
    """
    cut = [Ablation(f"halo {h}", f"halo {h} instead of {layer.halo}") for h in range(layer.halo)]
    heads = [Ablation(f"head {n}", f"head {n} at its mean") for n in range(layer.heads)]
    return [
        Ablation("nothing", "nothing (rebuilt)"),
        *cut,
        Ablation("padding", "padding masked"),
        Ablation("position", "position off"),
        Ablation("content", "content off"),
        *heads,
    ]


def ablated(layer: HaloLayer, content: Tensor, position: Tensor, weights: Tensor, key: str) -> Tensor:
    """What the layer would put out, in the shape that its own output has. weights: those with nothing removed.

    Masked keys get no weight, and the others share it; a head that is replaced says the same everywhere. Raises
    ValueError for a key that is none of `ablations`.
    """
    kind, _, number = key.partition(" ")
    if key not in [it.key for it in ablations(layer)]:
        raise ValueError(
            f"{layer.name} has no ablation {key!r}; it has {', '.join(it.key for it in ablations(layer))}."
        )
    if kind == "halo":
        weights = parts.attention_weights(content + position, parts.own_block(layer, int(number)))
    elif kind == "padding":
        weights = parts.attention_weights(content + position, parts.inside(layer)[:, :, None, None])
    elif kind == "position":
        weights = parts.attention_weights(content)
    elif kind == "content":
        weights = parts.attention_weights(position)
    out = parts.attended(layer, weights)
    if kind == "head":
        by_head = out.unflatten(0, (layer.heads, -1)).clone()
        by_head[int(number)] = by_head[int(number)].mean((-2, -1), keepdim=True)
        out = by_head.flatten(0, 1)
    return out


def change(
    probe: Probe, layer: HaloLayer, content: Tensor, position: Tensor, weights: Tensor, keys: list[str]
) -> list[dict[str, Any]]:
    """What the net answers without what `keys` name, one at a time: a dict for each, from one pass through the tail.

    "key"; "logit": of the class that is likeliest with everything in place; "change": of that logit; "top": the
    numbers of the five likeliest classes now, "names" and "logits" theirs; "kept": how many of them were among the
    five likeliest before; "flipped": whether another class is the likeliest now.
    """
    before = probe.top(TOP)
    rows = []
    for start in range(0, len(keys), AT_ONCE):
        some = keys[start : start + AT_ONCE]
        outputs = torch.stack([ablated(layer, content, position, weights, key) for key in some])
        edit = {layer.name: lambda out, _, outputs=outputs: outputs.to(out)}
        for key, logits in zip(some, probe.rerun(edit, copies=len(some)).float(), strict=True):
            top = logits.topk(len(before))
            now = top.indices.tolist()
            rows.append({
                "key": key,
                "logit": float(logits[before[0]]),
                "change": float(logits[before[0]] - probe.logits[before[0]]),
                "top": now,
                "names": [probe.class_names[i] for i in now],
                "logits": top.values.tolist(),
                "kept": len(set(now) & set(before)),
                "flipped": now[0] != before[0],
            })  # fmt: skip
    return rows
