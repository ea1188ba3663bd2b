"""One picture through several nets: their maps at each stride, and their answers. Imports nets, probing, stage_maps."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch

from netwright import figures
from netwright.nets.net import ResidualNet
from netwright.probing.capture import Probe, evaluating
from netwright.views.architecture.measuring import name_of
from netwright.views.frame.assembling import Half
from netwright.views.maps.stage_maps import map_shapes, one_whole_pass
from netwright.views.view import Identity, NotInThisNet, View, relative


class SideBySide(View):
    """Nets in columns, strides in rows; each cell is the root mean square over the channels of the net's last map there.

    probes: at least two, of one picture. Their pictures may be cut differently, as each net wants it.

    data: `nets` (names), `strides` (all that any net has), `places` and `maps` (net by net, stride by stride; None for
    a stride that a net has not: the map's module, and (height, width), in the net's own unit), `channels` and `top`
    (net by net the five likeliest (class, probability)), `pictures` (what each net received).
    Units differ between nets, so that colours are compared within a stride only as a reader's choice: the scale is
    one for each net and stride, each stride, or each net.
    """

    script = "side_by_side"
    height = 900

    def __init__(self, probes):
        self.probes: list[Probe] = list(probes)
        if len(self.probes) < 2:
            raise NotInThisNet("Side by side takes at least two probes of one picture: [nw.probe(net, picture) for …].")
        self._ends = [_last_of_each_stride(probe) for probe in self.probes]
        for probe, ends in zip(self.probes, self._ends, strict=True):
            if not ends or probe.logits is None:
                raise NotInThisNet(f"{name_of(probe.net)} puts out no maps or no logits to stand beside another net.")
        self.title = f"One picture through {len(self.probes)} nets"

    @cached_property
    def data(self) -> dict[str, Any]:
        strides = sorted({stride for ends in self._ends for stride in ends})
        places = [[ends.get(stride) for stride in strides] for ends in self._ends]
        seen = [probe.look(ends.values()) for probe, ends in zip(self.probes, self._ends, strict=True)]
        return {
            "nets": _different([name_of(probe.net) for probe in self.probes]),
            "strides": strides,
            "places": places,
            "maps": [
                [None if it is None else _rms(of[it]) for it in row] for of, row in zip(seen, places, strict=True)
            ],
            "channels": [
                [None if it is None else of[it].shape[1] for it in row] for of, row in zip(seen, places, strict=True)
            ],
            "top": [[(p.class_names[i], float(p.probabilities[i])) for i in p.top(5)] for p in self.probes],
            "pictures": [probe.picture for probe in self.probes],
        }

    def identities(self) -> list[Identity]:
        errors, softmax = [], []
        for probe, places, maps, top in zip(
            self.probes, self.data["places"], self.data["maps"], self.data["top"], strict=True
        ):
            mine = [it for it in maps if it is not None]
            theirs = _five_maps(probe) if isinstance(probe.net, ResidualNet) else None
            if theirs is None or len(theirs) != len(mine):
                independent = one_whole_pass(probe, [place for place in places if place is not None])
                theirs = [_rms(torch.from_numpy(it).unsqueeze(0)) for it in independent.values()]
            errors += [relative(m, t) for m, t in zip(mine, theirs, strict=True)]
            logits = probe.answer(probe.input)[0].cpu().double().numpy()
            exponentials = np.exp(logits - logits.max())
            expected = np.sort(exponentials / exponentials.sum())[::-1][: len(top)]
            softmax.append(relative([p for _, p in top], expected))
        return [
            Identity("the maps are those that the nets give out", max(errors)),
            Identity("probabilities are the softmax of its logits", max(softmax)),
        ]

    @property
    def alt(self) -> str:
        likeliest = [
            f"{net}: {top[0][0]} {top[0][1]:.0%}" for net, top in zip(self.data["nets"], self.data["top"], strict=True)
        ]
        return f"{self.title}, at strides {', '.join(map(str, self.data['strides']))}. {'; '.join(likeliest)}."

    def random_twin(self) -> SideBySide:
        return SideBySide([probe.twin() for probe in self.probes])

    def payload(self) -> dict[str, Any]:
        data = self.data
        return data | {"maps": [[None if it is None else Half(it) for it in row] for row in data["maps"]]}

    def figure(self) -> figures.Picture:
        """Nets in columns, strides in rows, each stride on one scale; under them the likeliest classes."""
        data, count = self.data, len(self.probes)
        rows = len(data["strides"])
        figure, axes = figures.subplots(rows + 1, count, figsize=(9.0, 1.55 * rows + 1.5), squeeze=False)
        for k, stride in enumerate(data["strides"]):
            maps = [row[k] for row in data["maps"]]
            high = max(float(it.max()) for it in maps if it is not None)
            for axis, it in zip(axes[k], maps, strict=True):
                axis.axis("off")
                if it is None:
                    axis.text(0.5, 0.5, "no such map", ha="center", va="center", fontsize=9)
                    continue
                image = axis.imshow(it, cmap=figures.SEQUENTIAL, vmin=0, vmax=high or 1)
                axis.set_title(f"{it.shape[0]} × {it.shape[1]}", fontsize=9, pad=2)
            bar = figure.colorbar(image, ax=list(axes[k]), fraction=0.02, pad=0.01, aspect=12)
            bar.set_label(f"stride {stride}\nroot mean square", fontsize=8.5)
            bar.ax.tick_params(labelsize=8)
        for axis, top in zip(axes[rows], data["top"], strict=True):
            names = [name if len(name) < 19 else f"{name[:18]}…" for name, _ in top]
            bars = axis.barh(range(len(top)), [p for _, p in top], color=figures.CYCLE[0], alpha=0.35, height=0.9)
            axis.bar_label(bars, [f" {name} {p:.0%}" for name, (_, p) in zip(names, top, strict=True)], fontsize=8.5,
                           label_type="edge", padding=-0.5)  # fmt: skip
            for bar, text in zip(bars, axis.texts, strict=True):
                text.set(x=0, ha="left")
                text.xy = (0, bar.get_y() + bar.get_height() / 2)
            axis.invert_yaxis()
            axis.set(xlim=(0, 1), xticks=[], yticks=[])
            axis.spines["left"].set_visible(False)
            axis.spines["bottom"].set_visible(False)
        for axis, net in zip(axes[0], data["nets"], strict=True):
            axis.set_title(f"{net}\n{axis.get_title()}", fontsize=10, pad=3)
        return figures.show(figure, self.alt)


def _last_of_each_stride(probe: Probe) -> dict[int, str]:
    """Stride -> the module whose map is the last at it: of our nets the five that `forward_maps` gives."""
    shapes = map_shapes(probe)
    if isinstance(probe.net, ResidualNet):
        final = ["final_conv"] if "final_conv" in shapes else []
        ends = [f"stem.{probe.net.stem.half_layer}"]
        ends += [f"stages.{i}.{len(stage) - 1}" for i, stage in enumerate(probe.net.stages)]
        shapes = {place: shapes[place] for place in [*ends, *final] if place in shapes}
    side = probe.input.shape[-1]
    return dict(sorted({max(1, round(side / shape[-1])): place for place, shape in shapes.items()}.items()))


def _five_maps(probe: Probe) -> list[np.ndarray]:
    with evaluating(probe.net), torch.no_grad():
        return [_rms(it) for it in probe.net.forward_maps(probe.input)]


def _rms(maps: torch.Tensor) -> np.ndarray:
    """(1, channels, height, width) to (height, width)."""
    return maps[0].float().square().mean(0).sqrt().cpu().numpy()


def _different(names: list[str]) -> list[str]:
    """Two nets of one make are told apart by their place."""
    return [name if names.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(names)]
