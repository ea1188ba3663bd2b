"""Where one place of a ResNeSt's map looks: through its convolutions, and through its gates. Imports figures, probing
and, of this room, parts.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright import figures
from netwright.probing.capture import Probe, evaluating, hooked
from netwright.views.frame.assembling import Half
from netwright.views.gates import parts
from netwright.views.view import Identity, NotInThisNet, View, relative

FINEST = 112  # cells a side of the maps that travel: the energies of neighbouring pixels are added up to these
FAINTEST = 1e-12  # of the largest energy; what is below is drawn as nothing
NAMES = ("gates kept: whole", "gates held: local path", "difference: gate path")


class GatePaths(View):
    """The receptive field of one place of a block's map, with its gates as they are and with its gates held fast.

    The pool in every gate lets a place feel the whole picture, from the first block on. Energy of the gradient at a
    pixel p: E_v of the sum over the colours of (d v·F(at) / d x_p)², where v weighs the channels of F(at) at random
    (independent normal numbers), so that no channel cancels another (the squared length of the Jacobian's column).
    "whole" is the gradient with everything kept; "local" that with all gates held at their values; "gate" their
    difference, which is what goes through the gates, with the same v.

    block: "stages.1.1", the block at whose output one asks; default the first that has gates. at: (row, column) of its
    map; default the middle. projections: how many v; default 8, and 1 for inputs above 128 × 128, to answer at once.
    Raises NotInThisNet for a net without split attention in or before the block, ValueError for a place outside.

    data: block, at; map (h, w); energies (3, H, W) of whole, local and gate, for each input pixel; box (top, left,
    bottom, right), the pixels that the kernels on the local path reach, the last two not included; beyond (H, W), which
    pixels are outside of it; outside (3,), the share of each energy there; reached (3,), the share
    of all pixels with any energy at all; box_share, the box's share of the picture.
    """

    script = "gate_paths"
    asks = True
    height = 640

    def __init__(self, probe: Probe, block: str | None = None, at=None, *, projections: int | None = None):
        self.probe = probe
        layers = parts.split_layers(probe.net)
        self.block = block or layers[0].name
        names = [name for name, _ in probe.net.named_modules()]
        if self.block not in names:
            raise ValueError(
                f"There is no block {self.block!r}; split attention is in {', '.join(l.name for l in layers)}."
            )
        here = names.index(self.block)
        self.layers = [
            it for it in layers if names.index(it.place) < here or f"{it.place}.".startswith(f"{self.block}.")
        ]
        if not self.layers:
            raise NotInThisNet(f"No gate comes before {self.block}: choose a block from {layers[0].name} on.")
        side = max(probe.input.shape[2:])
        self.projections = projections or (8 if side <= 128 else 1)
        self._known: dict[tuple[int, int], dict[str, Any]] = {}
        self._run()
        self.map = tuple(self._features.shape[2:])
        self.at = self._place(at or (self.map[0] // 2, self.map[1] // 2))
        self.title = f"Local path and gate path to {self.block}"

    def _place(self, at) -> tuple[int, int]:
        row, column = (int(i) for i in at)
        if not (0 <= row < self.map[0] and 0 <= column < self.map[1]):
            raise ValueError(
                f"{at} is outside the map of {self.block}: rows 0 to {self.map[0] - 1}, columns 0 to {self.map[1] - 1}."
            )
        return row, column

    def _run(self) -> None:
        """The map of the block, with its history: the first half of the batch with its gates, the second without.

        The same picture `2 * projections` times, so that one pass backward serves all v and both kinds of gates.
        """
        n = self.projections
        found: list[Tensor] = []

        def hold(_, given, out: Tensor) -> Tensor:
            return torch.cat([out[:n], out[n:].detach()])

        def stop(_, given, out: Tensor) -> None:
            found.append(out)
            raise _Reached

        net = self.probe.net
        hooks = [lambda m=layer.module.fc2: m.register_forward_hook(hold) for layer in self.layers]
        hooks.append(lambda: net.get_submodule(self.block).register_forward_hook(stop))
        self._leaf = self.probe.input.detach().repeat(2 * n, 1, 1, 1).requires_grad_()
        with evaluating(net), hooked(hooks), torch.enable_grad():
            try:
                net(self._leaf)
            except _Reached:
                pass
        self._features = found[0]  # (2 n, channels, h, w)
        draw = torch.Generator().manual_seed(0)
        self._v = torch.randn(n, self._features.shape[1], generator=draw).to(self._features)

    def look(self, at: tuple[int, int]) -> dict[str, Any]:
        """Energies, box and shares of one place, as in `data`. Raises ValueError for a place outside the map."""
        at = self._place(at)
        if at not in self._known:
            n = self.projections
            score = (self._features[:, :, at[0], at[1]] * self._v.repeat(2, 1)).sum()
            gradient = torch.autograd.grad(score, self._leaf, retain_graph=True)[0]  # (2 n, 3, H, W)
            whole, local = gradient[:n], gradient[n:]
            energies = torch.stack([_energy(it) for it in (whole, local, whole - local)]).cpu().double().numpy()
            box = local_box(self.probe.net, self.block, at, self._leaf.shape[2:])
            beyond = np.ones(energies.shape[1:], dtype=bool)
            beyond[box[0] : box[2], box[1] : box[3]] = False
            total = energies.sum((1, 2))
            self._known[at] = {
                "energies": energies,
                "box": box,
                "outside": np.divide(energies[:, beyond].sum(1), total, out=np.zeros(3), where=total > 0),
                "beyond": beyond,
                "reached": (energies > FAINTEST * energies.max()).mean((1, 2)),
                "box_share": (box[2] - box[0]) * (box[3] - box[1]) / energies[0].size,
            }
        return self._known[at]

    @property
    def data(self) -> dict[str, Any]:
        return {"block": self.block, "at": self.at, "map": self.map, **self.look(self.at)}

    def identities(self) -> list[Identity]:
        found, n = self.look(self.at), self.projections
        local = found["energies"][1]
        left = local[found["beyond"]].max(initial=0)
        here = self._features[:, :, self.at[0], self.at[1]].detach()
        return [
            Identity(
                "with gates held, no gradient leaves the box", float(left / max(local.max(), 1e-300)), within=1e-10
            ),
            Identity("holding the gates changes no value", relative(here[n:], here[:n]), within=1e-5),
            Identity("the map is the net's own", relative(self._features[:1].detach(), self.probe[self.block])),
        ]

    @property
    def alt(self) -> str:
        data = self.data
        top, left, bottom, right = data["box"]
        whole, _, gate = data["outside"]
        return (
            f"Row {self.at[0]}, column {self.at[1]} of the {self.map[0]} × {self.map[1]} map of {self.block}: its "
            f"convolutions and pools reach rows {top} to {bottom - 1} and columns {left} to {right - 1} of the "
            f"picture, {data['box_share']:.1%} of it. With gates it feels {data['reached'][0]:.1%} of all pixels; "
            f"{_percent(whole)} of the gradient's energy lies outside of the box, of the gate path's own "
            f"{_percent(gate)}. With gates held nothing does."
        )

    def figure(self) -> figures.Picture:
        """The three energies on one scale of six decades, or of twelve where the gate path is faint; the box dashed."""
        data = self.data
        most = max(data["energies"].max(), 1e-300)
        decades = 6 if data["energies"][2].max() > 1e-4 * most else 12
        figure, axes = figures.subplots(1, 3, figsize=(9.4, 3.5))
        for axis, name, energy, outside in zip(axes, NAMES, data["energies"], data["outside"], strict=True):
            shown = np.log10(np.maximum(energy / most, 10.0**-decades))
            image = axis.imshow(shown, vmin=-decades, vmax=0, cmap=figures.SEQUENTIAL)
            top, left, bottom, right = data["box"]
            axis.add_patch(_rectangle(left, top, right - left, bottom - top))
            axis.set(xticks=[], yticks=[])
            axis.set_title(f"{name}\n{_percent(outside)} outside the box", fontsize=11)
        bar = figure.colorbar(image, ax=axes, pad=0.01, ticks=np.linspace(-decades, 0, 4))
        bar.ax.set_yticklabels(
            ["≤ 10⁻⁶", "10⁻⁴", "10⁻²", "1"] if decades == 6 else ["≤ 10⁻¹²", "10⁻⁸", "10⁻⁴", "1"], fontsize=9
        )
        bar.set_label("energy of the gradient,\nshare of the largest", fontsize=10)
        return figures.show(figure, self.alt)

    def random_twin(self) -> GatePaths:
        return GatePaths(self.probe.twin(), self.block, self.at, projections=self.projections)

    # For the browser ---------------------------------------------------------------------------------------------

    def places(self) -> list[tuple[int, int]]:
        """The places that an exported page knows: all of a small map, else corners, edges and middles."""
        height, width = self.map
        if height * width <= 16:
            found = [(y, x) for y in range(height) for x in range(width)]
        elif max(self._leaf.shape[2:]) <= 128:
            found = [(y, x) for y in (0, height // 2, height - 1) for x in (0, width // 2, width - 1)]
        else:
            found = [(0, 0), (height // 2, width // 2), (height - 1, width - 1)]
        return list(dict.fromkeys([self.at, *found]))

    def _sent(self, at: tuple[int, int]) -> dict[str, Any]:
        """One place for the browser: energies as logarithms of their share of the largest, of coarser cells."""
        found = self.look(at)
        energies = _coarser(found["energies"], FINEST)
        most = max(energies.max(), 1e-300)
        logs = np.log10(np.maximum(energies / most, FAINTEST))
        return {
            "at": list(at),
            "logs": Half(logs),
            "most": float(most),
            **{name: found[name] for name in ("outside", "reached", "box_share")},
            "box": list(found["box"]),
        }

    def payload(self, *, places=None) -> dict[str, Any]:
        return {
            "block": self.block,
            "map": list(self.map),
            "size": list(self._leaf.shape[2:]),
            "at": list(self.at),
            "places": [self._sent(at) for at in (places or [self.at])],
            "picture": self.probe.picture,
            "projections": self.projections,
        }

    def message(self, *, live: bool = False, twin: bool = False) -> dict[str, Any]:
        message = super().message(live=live, twin=twin)
        if not live:  # a page that nobody answers takes along more places than the one asked for
            message["data"] = self.payload(places=self.places())
        return message

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """{"at": (row, column)}: that place, as in the payload's "places"."""
        if "at" not in question:
            return super().answer(question)
        return {"place": self._sent(tuple(question["at"]))}


class _Reached(Exception):
    """The forward pass has come as far as it is needed."""


def local_box(net: nn.Module, block: str, at: tuple[int, int], size) -> tuple[int, int, int, int]:
    """The input pixels (top, left, bottom, right; the last two not included) that the local path to a place reaches.

    Worked back from the place through kernels, strides, paddings and dilations of all convolutions and pools, in the
    order in which they stand in the net; beside it the shortcut of every block, and the wider of both counts. What
    works on the pooled map, fc1 and fc2 of a split attention, is left out: it is the gate path. Cut at the picture's
    edges. A group normalisation reads the whole map, and so does all behind it. Holds for a net whose parts stand in
    the order in which they are run, with shortcuts called "shortcut".
    """
    gates = {part for layer in parts.split_layers(net) for part in (layer.module.fc1, layer.module.fc2)}
    names = [name for name, _ in net.named_modules()]
    last = max(i for i, name in enumerate(names) if name == block or name.startswith(f"{block}."))
    if any(isinstance(module, nn.GroupNorm) for module in list(net.modules())[: last + 1]):
        return 0, 0, *size
    blocks = {name.rsplit(".", 1)[0] for name in names if name.endswith(".shortcut")}
    windows = [
        (next((it for it in blocks if name.startswith(f"{it}.")), None), name, module)
        for name, module in list(net.named_modules())[: last + 1]
        if isinstance(module, WINDOWS) and module not in gates
    ]
    found = []
    for axis in (0, 1):
        reach = (at[axis], at[axis])
        for owner, group in groupby(reversed(windows), key=lambda window: window[0]):
            branches = {False: reach, True: reach}  # whether it is the shortcut -> the first and last line it reaches
            for _, name, module in group:
                shortcut = owner is not None and name.startswith(f"{owner}.shortcut")
                branches[shortcut] = _before(module, *branches[shortcut], axis)
            low, high = zip(*(branches.values() if owner else [branches[False]]), strict=True)
            reach = (min(low), max(high))
        found.append((max(0, reach[0]), min(size[axis], reach[1] + 1)))
    (top, bottom), (left, right) = found
    return top, left, bottom, right


WINDOWS = (nn.Conv2d, nn.AvgPool2d, nn.MaxPool2d, nn.ZeroPad2d)


def _before(module: nn.Module, low: int, high: int, axis: int) -> tuple[int, int]:
    """The lines low to high of what a window puts out, as the lines of its input that they are made from."""
    if isinstance(module, nn.ZeroPad2d):
        before = module.padding[2 - 2 * axis]  # padding is (left, right, top, bottom)
        return low - before, high - before

    def of(name: str, otherwise: int = 1) -> int:
        value = getattr(module, name, otherwise)
        return value[axis] if isinstance(value, tuple) else value

    start = low * of("stride") - of("padding")
    return start, start + (high - low) * of("stride") + of("dilation") * (of("kernel_size") - 1)


def _energy(gradient: Tensor) -> Tensor:
    """(n, 3, H, W) to (H, W): the sum of squares over the colours, the mean over the projections."""
    return gradient.square().sum(1).mean(0)


def _coarser(energies: np.ndarray, most: int) -> np.ndarray:
    """(k, H, W) with neighbouring cells added up, until no side is longer than `most`."""
    step = -(-max(energies.shape[1:]) // most)
    if step == 1:
        return energies
    height, width = (-(-side // step) * step for side in energies.shape[1:])
    padded = np.zeros((len(energies), height, width))
    padded[:, : energies.shape[1], : energies.shape[2]] = energies
    return padded.reshape(len(energies), height // step, step, width // step, step).sum((2, 4))


def _rectangle(x: float, y: float, width: float, height: float):
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor="white", linestyle="--", linewidth=1.8)


def _percent(share: float) -> str:
    """Small shares with two digits: none, and a few in a million, are not the same."""
    return "0 %" if share == 0 else f"{100 * share:.2g} %" if share < 0.001 else f"{100 * share:.1f} %"
