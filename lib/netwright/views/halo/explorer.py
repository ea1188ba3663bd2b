"""Where each pixel of a HaloNet looks, how much of it is padding, and what the net answers without it.

Imports probing, the house of the views, and parts, ablations, page and still.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.figures import Picture
from netwright.probing.capture import Probe, ProbeError
from netwright.views.halo import ablations as leaving_out
from netwright.views.halo import page as packed
from netwright.views.halo import parts
from netwright.views.halo.parts import MASSES, STATISTICS, HaloLayer
from netwright.views.view import Identity, NotInThisNet, View, relative

MODES = ("attention", "content", "position", "value-weighted")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)  # of the queries; the last is how far the axis goes


@dataclass(frozen=True)
class Attended:
    """A layer's logits and weights for all its queries, (heads, rows, columns, y, x, u, v) each, and their statistics."""

    content: Tensor
    position: Tensor
    weights: Tensor
    statistics: dict[str, Tensor]


class HaloExplorer(View):
    """Pick a query of a halo attention layer; see what each head makes of its window.

    probe: of a net with halo attention, ours or a reader's own layers with the same parts (parts.PARTS). layer:
    the one that is shown first: its name, the name of a block that holds it, or its number; None is the first.
    Raises NotInThisNet.

    data: "layers", the names of all; "picture" (height, width, 3) uint8; "top", the five likeliest classes with their
    logits (none for a net without logits); and under each layer's name

    - "query" (heads, y, x, key_dim), "key" (heads, height, width, key_dim), "value_norm" (heads, height, width),
      "height_table", "width_table" (2 * window - 1, key_dim): what its weights are made of;
    - "block_size", "halo", "stride" (in keys), "window", "pixels" (of the picture, along a key's side);
    - "masses" (heads, y, x, 3), shares of the attention: own block, halo ring, padding;
    - "statistics", by the names in parts.STATISTICS, (heads, y, x) each; distances in pixels of the picture;
    - "padding_share" (rows, columns of blocks), of the window; "valid" (y, x), keys of it that lie in the picture;
    - "border", the test of its block borders (parts.border_test).

    `maps` gives the logits and weights of one query. Section 2.2 of Vaswani et al. 2021 (arXiv:2103.12731).
    """

    script = "halo"
    asks = True
    height = 1000

    def __init__(self, probe: Probe, layer: str | int | None = None):
        names = parts.halo_layers(probe.net)
        if not names:
            raise NotInThisNet(
                f"{type(probe.net).__name__} has no halo attention: no part of it has {', '.join(parts.PARTS)}. "
                "Nets that have it: toy_halonet, halonet50ts, halonet26t, sehalonet33ts, eca_halonext26ts."
            )
        self.probe = probe
        self.layer = _chosen(names, layer)
        self.bits = packed.BITS
        self.layers = _captured(probe, names)
        self._attended: dict[str, Attended] = {}
        self._changes: dict[tuple[str, str], dict[str, Any]] = {}
        self._is_twin = False
        self._answers = probe.logits is not None  # a net without logits is looked at only

    @property
    def title(self) -> str:
        return "HaloNet query explorer"

    # The arrays --------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def attended(self, name: str) -> Attended:
        """Logits, weights and statistics of one layer, for all queries; made once."""
        if name not in self._attended:
            layer = self.layers[name]
            content, position = parts.content_logits(layer), parts.position_logits(layer)
            weights = parts.attention_weights(content + position)
            statistics = parts.statistics(layer, content, position, weights)
            self._attended[name] = Attended(content, position, weights, statistics)
        return self._attended[name]

    def maps(self, row: int, column: int, mode: str = "attention", layer: str | int | None = None) -> np.ndarray:
        """What one query makes of its window, by head: (heads, window, window).

        mode: "attention" (weights), "content" or "position" (logits), "value-weighted" (weight times length of value).
        """
        name = self.layer if layer is None else _chosen(list(self.layers), layer)
        side = self.layers[name].side
        return _array(self._of_mode(name, mode)[:, row // side, column // side, row % side, column % side])

    def _of_mode(self, name: str, mode: str) -> Tensor:
        if mode not in MODES:
            raise ValueError(f"mode={mode!r} is none of {', '.join(MODES)}.")
        taken = self.attended(name)
        if mode == "value-weighted":
            return packed.value_weighted(self.layers[name], taken.weights)
        return {"attention": taken.weights, "content": taken.content, "position": taken.position}[mode]

    @cached_property
    def data(self) -> dict[str, Any]:
        top = self.probe.top(leaving_out.TOP) if self._answers else []
        return {
            "layers": list(self.layers),
            "picture": np.asarray(self.probe.picture),
            "top": [{"name": self.probe.class_names[i], "logit": float(self.probe.logits[i])} for i in top],
            **{name: self._layer_data(layer) for name, layer in self.layers.items()},
        }

    @torch.no_grad()
    def _layer_data(self, layer: HaloLayer) -> dict[str, Any]:
        taken = self.attended(layer.name)
        share = parts.padding_share(layer)
        valid = ((1 - share) * layer.window**2).round().int()
        return {
            "query": _array(layer.query), "key": _array(layer.key), "value_norm": _array(layer.value.norm(dim=-1)),
            "height_table": _array(layer.height_table), "width_table": _array(layer.width_table),
            "block_size": layer.block_size, "halo": layer.halo, "stride": layer.stride, "window": layer.window,
            "pixels": layer.pixels,
            "masses": _array(torch.stack([taken.statistics[name] for name in MASSES], -1)),
            "statistics": {name: _array(value) for name, value in taken.statistics.items()},
            "padding_share": _array(share),
            "valid": _array(valid.repeat_interleave(layer.side, 0).repeat_interleave(layer.side, 1)),
            "border": parts.border_test(layer, taken.weights),
        }  # fmt: skip

    # What must hold ----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def identities(self) -> list[Identity]:
        """Measured on all layers of the net, whichever is shown; the largest errors."""
        rebuilt, summed, padded, rounded = [], [], [], []
        for name, layer in self.layers.items():
            weights = self.attended(name).weights
            rebuilt.append(relative(parts.attended(layer, weights), layer.output))
            summed.append(float((parts.masses(layer, weights).sum(-1) - 1).abs().max()))
            share = 1 - parts.inside(layer).float().mean((-2, -1))
            padded.append(float((share - parts.padding_share(layer)).abs().max()))
            page = packed.as_in_page(layer, self.bits)
            there = parts.attention_weights(parts.content_logits(page) + parts.position_logits(page))
            rounded.append(float((there - weights).abs().max()))
        count = f"{len(self.layers)} halo layer{'s' if len(self.layers) > 1 else ''}"
        return [
            Identity(f"rebuilds {count}", max(rebuilt)),
            Identity("masses sum to 1", max(summed)),
            Identity("padding as its geometry", max(padded)),
            Identity(f"weights of the {self.bits}-bit copy", max(rounded), within=packed.WITHIN.get(self.bits, 1e-2)),
        ]

    @property
    def first_query(self) -> tuple[int, int]:
        """The query that is shown first: the last of its block before the middle, one step from a block border."""
        return tuple(max(0, size // 2 - 1) for size in self.layers[self.layer].query_size)

    @property
    def alt(self) -> str:
        row, column = self.first_query
        here = self.data[self.layer]
        lines = []
        for head, (own, ring, padding) in enumerate(here["masses"][:, row, column]):
            lines.append(f"head {head}: {own:.0%} own block, {ring:.0%} halo ring, {padding:.0%} padding")
        return (
            f"Attention of query row {row}, column {column} of {self.layer} over its window of {here['window']} by "
            f"{here['window']} keys, {here['valid'][row, column]} of them in the picture. {'; '.join(lines)}."
        )

    def figure(self) -> Picture:
        from netwright.views.halo.still import draw_explorer

        return draw_explorer(self)

    # Another net, and this one changed ------------------------------------------------------------------------------

    def random_twin(self) -> HaloExplorer:
        twin = HaloExplorer(self.probe.twin(), self.layer)
        twin.bits, twin._is_twin = packed.twin_bits(twin.layers.values()), True
        return twin

    def ablations(self, layer: str | int | None = None) -> list[dict[str, Any]]:
        """What the net answers without one thing of a layer at a time, first without nothing: see ablations.change.

        Each dict also has "label", and "twin": the same measured in the random twin (None in the twin itself).
        """
        name = self.layer if layer is None else _chosen(list(self.layers), layer)
        keys = [it.key for it in leaving_out.ablations(self.layers[name])]
        return self._ablated(name, keys, twin=not self._is_twin)

    @torch.no_grad()
    def _ablated(self, name: str, keys: list[str], *, twin: bool) -> list[dict[str, Any]]:
        layer, missing = self.layers[name], [key for key in keys if (name, key) not in self._changes]
        if missing:
            taken = self.attended(name)
            rows = leaving_out.change(self.probe, layer, taken.content, taken.position, taken.weights, missing)
            self._changes |= {(name, row["key"]): row for row in rows}
        twins = self.twin._ablated(name, keys, twin=False) if twin else [None] * len(keys)
        labels = {it.key: it.label for it in leaving_out.ablations(layer)}
        return [
            self._changes[name, key] | {"label": labels[key], "twin": other}
            for key, other in zip(keys, twins, strict=True)
        ]

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """{"ask": "ablate", "layer": number, "keys": […]} → {"rows": […]} as `ablations` gives them.

        With "beside": true the random twin is asked too, which takes twice as long, and longer when it is first made.
        """
        if question.get("ask") != "ablate":
            return super().answer(question)
        name = _chosen(list(self.layers), int(question["layer"]))
        return {
            "rows": self._ablated(name, list(question["keys"]), twin=bool(question.get("beside")) and not self._is_twin)
        }

    # What a browser gets -------------------------------------------------------------------------------------------

    @torch.no_grad()
    def payload(self) -> dict[str, Any]:
        layers = []
        for name, layer in self.layers.items():
            taken = self.attended(name)
            values = torch.stack([taken.statistics[it] for it in STATISTICS]).flatten(2)  # (statistics, heads, queries)
            levels = torch.tensor(QUANTILES, device=values.device)
            quantiles = values.quantile(levels, dim=-1).movedim(0, -1)
            ranges = {mode: [float(it) for it in self._of_mode(name, mode).aminmax()] for mode in MODES}
            sent = packed.layer_payload(layer, quantiles, ranges, self.bits)
            sent["ablations"] = [vars(it) for it in leaving_out.ablations(layer)] if self._answers else []
            sent["border"] = self.data[name]["border"]
            sent["changes"] = self._known(name)
            layers.append(sent)
        return {
            "picture": self.probe.picture,
            "layers": layers, "shown": list(self.layers).index(self.layer), "query": list(self.first_query),
            "statistics": list(STATISTICS), "top": self.data["top"],
        }  # fmt: skip

    def _known(self, name: str) -> list[dict[str, Any]]:
        """The ablations of a layer that have been measured already, with the twin's where it has been made."""
        keys = [key for layer, key in self._changes if layer == name]
        has_twin = "twin" in self.__dict__ and all((name, key) in self.twin._changes for key in keys)
        return self._ablated(name, keys, twin=has_twin and not self._is_twin)

    def message(self, *, live: bool = False, twin: bool = False) -> dict[str, Any]:
        """As every view's. A page has no kernel to ask, so what is taken away in it is measured before.

        With its twin all layers are measured, in both nets (seconds, for a net of full size); without, the layer that
        is shown first, in this net.
        """
        if not live and self._answers:
            for name in self.layers if twin or self._is_twin else [self.layer]:
                keys = [it.key for it in leaving_out.ablations(self.layers[name])]
                self._ablated(name, keys, twin=twin)
        message = super().message(live=live, twin=twin)
        if message["twin"]:
            message["twin"]["data"]["picture"] = None  # the same
        return message


def _chosen(names: list[str], layer: str | int | None) -> str:
    if layer is None:
        return names[0]
    if isinstance(layer, int):
        found = names[layer : layer + 1] if layer >= 0 else []
    else:
        found = [name for name in names if name == layer or name.startswith(f"{layer}.")]
    if not found:
        raise NotInThisNet(f"There is no halo attention at {layer!r}; this net has it at {', '.join(names)}.")
    return found[0]


@torch.no_grad()
def _captured(probe: Probe, names: list[str]) -> dict[str, HaloLayer]:
    try:
        seen = probe.look([place for name in names for place in parts.places(name)])
        height = probe.input.shape[2]
        layers = [parts.HaloLayer.from_captured(name, probe.net.get_submodule(name), seen, height) for name in names]
    except (ProbeError, ValueError) as error:
        raise NotInThisNet(f"The attention of this net cannot be read: {error}") from error
    return {layer.name: layer for layer in layers}


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
