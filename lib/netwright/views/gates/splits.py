"""The splits of one ResNeSt layer, channel by channel. Imports figures, probing and, of this room, parts."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch

from netwright import figures
from netwright.probing.capture import Probe
from netwright.views.frame.assembling import Half
from netwright.views.gates import parts
from netwright.views.view import Identity, View, relative

MOST = 400_000  # numbers that travel: 1 MB in a page


class SplitBrowser(View):
    """What each split of one split attention sees, how they differ, and how gates make the output of them.

    block: "stages.1.0", the block whose layer is shown; default the first one of the last stage but one.
    Raises NotInThisNet for a net without split attention, ValueError for a block without.

    data: block; radix, cardinality, in_channels, groups (of the convolution that makes the splits); channels (C,) of a
    split, ordered by what attention adds to them, the most first; splits (C, radix, h, w) in that order; gates
    (C, radix); fixed, added and out (C, h, w), the fixed average, what attention adds and their sum; adds (C,), the
    root mean square of added; reads (C, radix, 2), the first and last input channel that a split's channel is made of.
    """

    script = "splits"
    asks = True
    height = 640

    def __init__(self, probe: Probe, block: str | None = None):
        self.probe = probe
        self.layers = parts.split_layers(probe.net)
        self.layer = parts.layer_called(probe.net, block) if block else self.layers[len(self.layers) // 2]
        self.title = f"The splits of {self.layer.name}"
        self._others: dict[str, SplitBrowser] = {}

    @cached_property
    @torch.no_grad()
    def data(self) -> dict[str, Any]:
        layer, place = self.layer, self.layer.place
        seen = self.probe.look((f"{place}.norm", f"{place}.fc2", place))
        splits = layer.splits(seen[f"{place}.norm"])  # (1, radix, channels, h, w)
        gates = layer.gates(seen[f"{place}.fc2"])
        fixed, added = parts.fixed_and_added(splits, gates)
        adds = added[0].square().mean((1, 2)).sqrt()  # (channels,)
        order = adds.argsort(descending=True, stable=True)

        def numbers(tensor):
            return tensor[order].float().cpu().numpy()

        channels = order.tolist()
        return {
            "block": layer.name,
            "radix": layer.radix,
            "cardinality": layer.cardinality,
            "in_channels": layer.module.conv.in_channels,
            "groups": layer.module.conv.groups,
            "channels": np.array(channels),
            "splits": numbers(splits[0].transpose(0, 1)),
            "gates": numbers(gates[0].T),
            "fixed": numbers(fixed[0]),
            "added": numbers(added[0]),
            "out": numbers(seen[place][0]),
            "adds": numbers(adds),
            "reads": np.array([layer.reads(channel) for channel in channels]),
        }

    def identities(self) -> list[Identity]:
        data = self.data
        rebuilt = (data["splits"] * data["gates"][..., None, None]).sum(1)
        found = [
            Identity("gates and splits rebuild the layer's output", relative(rebuilt, data["out"])),
            Identity(
                "fixed average + what attention adds = output", relative(data["fixed"] + data["added"], data["out"])
            ),
        ]
        if data["radix"] > 1:
            off = float(np.abs(data["gates"].sum(1) - 1).max())
            found.append(Identity("gates of the splits sum to 1", off, within=1e-5))
        return found

    @property
    def alt(self) -> str:
        data = self.data
        first = data["reads"][0]
        read = "; ".join(f"split {r} from input channels {a} to {b}" for r, (a, b) in enumerate(first))
        gates = ", ".join(f"{gate:.2f}" for gate in data["gates"][0])
        return (
            f"Splits of {data['block']}: {len(data['channels'])} channels of {data['splits'].shape[2]} × "
            f"{data['splits'].shape[3]} places, radix {data['radix']}, cardinality {data['cardinality']}. Attention "
            f"adds most to channel {data['channels'][0]}, {data['adds'][0]:.3g} (root mean square), gates {gates}; "
            f"its values are made from {data['in_channels']} input channels: {read}."
        )

    def figure(self) -> figures.Picture:
        """The three channels to which attention adds most, on one scale."""
        data, rows = self.data, min(3, len(self.data["channels"]))
        radix = data["radix"]
        columns = [(f"U{_SUB[r]}", data["splits"][:, r]) for r in range(radix)]
        if radix == 2:
            columns.append(("U₀ − U₁", data["splits"][:, 0] - data["splits"][:, 1]))
            formulas = ("½(U₀ + U₁)", "d(U₀ − U₁)")
        else:
            formulas = ("½U", "(a − ½)U") if radix == 1 else (f"ΣU / {radix}", f"Σ(a − 1/{radix})U")
        columns += [(formulas[0], data["fixed"]), (formulas[1], data["added"]), ("output", data["out"])]
        reach = max(float(np.abs(maps[:rows]).max()) for _, maps in columns) or 1.0
        figure, axes = figures.subplots(
            rows, len(columns), figsize=(9.4, 0.4 + rows * (8.2 / len(columns) + 0.1)), squeeze=False
        )
        for i in range(rows):
            for axis, (name, maps) in zip(axes[i], columns, strict=True):
                image = axis.imshow(maps[i], cmap=figures.DIVERGING, vmin=-reach, vmax=reach)
                axis.set(xticks=[], yticks=[])
                if i == 0:
                    axis.set_title(name, fontsize=11)
            gates = ", ".join(f"{gate:.2f}" for gate in data["gates"][i])
            axes[i, 0].set_ylabel(
                f"channel {data['channels'][i]}\ngates {gates}" if radix < 3 else f"channel {data['channels'][i]}",
                fontsize=9,
            )
        bar = figure.colorbar(image, ax=axes, pad=0.01, shrink=0.9)
        bar.set_label("activation", fontsize=10)
        bar.ax.tick_params(labelsize=9)
        return figures.show(figure, self.alt)

    def random_twin(self) -> SplitBrowser:
        return SplitBrowser(self.probe.twin(), self.layer.name)

    def payload(self) -> dict[str, Any]:
        data = self.data
        kept = max(1, min(len(data["channels"]), MOST // data["splits"][0].size))
        everything = [np.abs(data[name]).max() for name in ("splits", "fixed", "added", "out")]
        if data["radix"] == 2:
            everything.append(np.abs(data["splits"][:, 0] - data["splits"][:, 1]).max())
        return {
            **{name: data[name] for name in ("block", "radix", "cardinality", "in_channels", "groups")},
            "channels": data["channels"][:kept],
            "all": len(data["channels"]),
            "splits": Half(data["splits"][:kept]),
            "gates": data["gates"][:kept],
            "adds": data["adds"][:kept],
            "reads": data["reads"][:kept],
            "reach": float(max(everything)),
            "blocks": [layer.name for layer in self.layers],
            "picture": self.probe.picture,
        }

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """{"block": name}: the payload of another layer."""
        if "block" not in question:
            return super().answer(question)
        name = question["block"]
        if name not in self._others:
            self._others[name] = SplitBrowser(self.probe, name)
        return {"layer": {key: value for key, value in self._others[name].payload().items() if key != "picture"}}


_SUB = "₀₁₂₃₄₅₆₇₈₉"
