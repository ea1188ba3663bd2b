"""Receptive fields: which pixels a cell of a map can see, and which it does see.

Imports probing, figures, places, box, figure and the frame.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.figures import Picture
from netwright.probing.capture import Probe, ProbeError, evaluating, hooked
from netwright.views.frame.assembling import Half
from netwright.views.maps.places import stage_places
from netwright.views.receptive.box import UPPER_BOUND, Boxes, Reached, boxes
from netwright.views.receptive.figure import SHARES, contour, field_figure
from netwright.views.view import Identity, View

SIDE = 64  # squares at most along a side of an energy map
UNITS = 4, 3  # cells along a side that an exported page holds: of the chosen map; of others, and of large pictures
BATCH = 32_768  # pixels that go through a net at once: 8 pictures of 64x64
SMALL = 96  # pixels: the side of a picture up to which all maps' cells are stored
WHOLE, LOCAL = "whole", "local"


class ReceptiveField(View):
    """What one cell of a map sees of the picture: ``ReceptiveField(probe, "stages.1", at=(4, 4))``.

    The box is what the cell can see at all, by kernels, strides, padding and windows of attention (box). The
    energy is what it does see (Luo et al. 2016, arXiv:1701.04128): E(pixel) is the mean over v of
    Σ_colours (∂(v·F(cell)) / ∂pixel)², where v ~ N(0, I) weighs the channels F. That is the squared Jacobian summed
    over channels, so that channels cannot cancel out; with few draws of v it is a noisy estimate of it.

    In a net with gates read off the whole map (split attention, squeeze and excite) a cell sees everything. Two fields
    are then shown: of the whole net, and of the local path, where the gates are held at what they are.

    place: a module that puts out a map; default: the second stage. at: (row, column) in that map; default: its middle.
    draws: of v, at least; default 16 for pictures up to 96 pixels, 2 for larger ones. pictures: ready inputs
    (n, channels, height, width) to average over, instead of the probe's alone.

    data: place; at; places, {place: (height, width)}; picture; bin, the side in pixels of one square of an energy map;
    energy and local_energy (height / bin, width / bin), float64, summed over each square, in squared units of the map
    per squared unit of the normalised input (local_energy None without gates); box and extent, first row, last row,
    first column, last column in pixels, all inside, of the local path and of what the gates read (or None); status,
    EXACT, UPPER BOUND or GLOBAL; draws.

    Raises ProbeError for a place that holds no map or a cell outside of it, NotInThisNet for a net without maps.
    """

    script = "receptive"
    asks = True
    title = "Receptive field"
    height = 760

    def __init__(
        self,
        probe: Probe,
        place: str | None = None,
        at: tuple[int, int] | None = None,
        *,
        draws: int | None = None,
        pictures: Tensor | None = None,
    ):
        self.probe = probe
        self.places = stage_places(probe)
        self.place = place or list(self.places)[min(1, len(self.places) - 1)]
        self.inputs = probe.input if pictures is None else pictures.to(probe.input)
        height, width = self.size = tuple(probe.input.shape[2:])
        self.bin = math.ceil(max(height, width) / SIDE)
        self.draws = draws or (16 if max(height, width) <= SMALL else 2)
        wanted = dict.fromkeys([*self.places, self.place])
        self.boxes: dict[str, Boxes] = boxes(probe.net, probe.input, list(wanted))
        if self.place not in self.places:
            self.places[self.place] = len(self._box.rows), len(self._box.columns)
        rows, columns = self.places[self.place]
        self.at = (rows // 2, columns // 2) if at is None else tuple(at)
        if not (0 <= self.at[0] < rows and 0 <= self.at[1] < columns):
            raise ProbeError(
                f"{self.place} has no cell {self.at}: its map has {rows} rows and {columns} columns, from 0."
            )
        self._passes: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}

    @property
    def _box(self) -> Boxes:
        return self.boxes[self.place]

    # The field that is -----------------------------------------------------------------------------------------------

    @property
    def _at_once(self) -> int:
        """Draws of v in one pass."""
        return max(1, min(8, BATCH // (self.size[0] * self.size[1])) // len(self.inputs))

    def _pass(self, place: str, path: str) -> tuple[Tensor, Tensor]:
        """Inputs and the map at `place`, with the history between them; path: LOCAL holds the gates. Two are kept."""
        if (place, path) not in self._passes:
            leaf = self.inputs.repeat(self._at_once, 1, 1, 1).requires_grad_()
            gates = {} if path == WHOLE else {name: lambda given: given.detach() for name in self.boxes[place].gates}
            with torch.enable_grad():
                out = self._run(leaf, place, gates)
            while len(self._passes) > 1:
                self._passes.pop(next(iter(self._passes)))
            self._passes[place, path] = leaf, out
        return self._passes[place, path]

    def _run(self, inputs: Tensor, place: str, gates: dict) -> Tensor:
        """The map at `place`, and no step further; gates: module -> function of what goes into it."""
        made: list[Tensor] = []

        def stop(_, given, out):
            made.append(out)
            raise Reached

        def through(change):
            return lambda _, given: (change(given[0]), *given[1:])

        part = self.probe.net.get_submodule
        hooks = [(lambda n=n, f=f: part(n).register_forward_pre_hook(through(f))) for n, f in gates.items()]
        with evaluating(self.probe.net), hooked([*hooks, lambda: part(place).register_forward_hook(stop)]):
            try:
                self.probe.net(inputs)
            except Reached:
                pass
        return made[0]

    def energy(
        self, place: str, at: tuple[int, int], path: str = WHOLE, *, draws: int = 1, start: int = 0
    ) -> np.ndarray:
        """E (height, width) over the pixels, averaged over at least `draws` draws of v, and over the pictures.

        start: the number of the first draw; the same numbers are the same v, whatever the place's cell and the path.
        """
        leaf, out = self._pass(place, path)
        each = self._at_once
        total = torch.zeros(self.size, dtype=torch.float64)
        rounds = range(start // each, start // each + math.ceil(draws / each))
        for number in rounds:
            made = torch.Generator().manual_seed(number)
            v = torch.randn(len(out), out.shape[1], generator=made).to(out)
            score = (out[:, :, at[0], at[1]] * v).sum()
            slope = torch.autograd.grad(score, leaf, retain_graph=True)[
                0
            ]  # (draws x pictures, channels, height, width)
            total += slope.cpu().double().square().sum((0, 1))
        return (total / (len(rounds) * len(leaf))).numpy()

    def _binned(self, energy: np.ndarray) -> np.ndarray:
        """Summed over squares of bin x bin pixels."""
        height, width = (-(-side // self.bin) for side in self.size)
        padded = np.zeros((height * self.bin, width * self.bin))
        padded[: self.size[0], : self.size[1]] = energy
        return padded.reshape(height, self.bin, width, self.bin).sum((1, 3))

    @cached_property
    def _fields(self) -> dict[str, np.ndarray]:
        paths = (WHOLE, LOCAL) if self._box.extent else (WHOLE,)
        return {path: self.energy(self.place, self.at, path, draws=self.draws) for path in paths}

    @cached_property
    def data(self) -> dict[str, Any]:
        return {
            "place": self.place,
            "at": self.at,
            "places": self.places,
            "picture": self.probe.picture,
            "bin": self.bin,
            "energy": self._binned(self._fields[WHOLE]),
            "local_energy": self._binned(self._fields[LOCAL]) if LOCAL in self._fields else None,
            "box": self._box.local(*self.at),
            "extent": self._box.extent,
            "status": self._box.status,
            "draws": self.draws,
        }

    # The check -------------------------------------------------------------------------------------------------------

    def identities(self) -> list[Identity]:
        """The gradient keeps inside the box; no pixel outside of it is read, and each of its four edges is."""
        local = self._fields[LOCAL if self.data["extent"] else WHOLE]
        y0, y1, x0, x1 = self.data["box"]
        outside = local.copy()
        outside[y0 : y1 + 1, x0 : x1 + 1] = 0
        path = ", gates held" if self.data["extent"] else ""
        found = [
            Identity(f"gradient inside the box{path}", float(np.sqrt(outside.max() / max(local.max(), 1e-300))), 1e-6)
        ]
        wrong = self.misread(self.data["box"])
        edges = wrong[1:] if self.data["status"] != UPPER_BOUND else ()
        if self.data["status"] == UPPER_BOUND:
            found.append(Identity("the box is an upper bound: some operation is not known"))
        return [
            *found,
            Identity("tight, by pixels of NaN" if edges else "nothing else read", float(wrong[0] + sum(edges)), 0),
        ]

    @torch.no_grad()
    def misread(self, box: tuple[int, int, int, int]) -> list[bool]:
        """Whether the cell reads anything outside of `box`; whether it does not read the top, bottom, left, right edge.

        NaN spreads to whatever reads it, whatever the weights are. Gates are held at what they are for the picture.
        """
        y0, y1, x0, x1 = box
        gates = list(self.boxes[self.place].gates)
        held = self.probe.look([f">{name}" for name in gates]) if gates else {}
        spoilt = self.probe.input.repeat(5, 1, 1, 1)
        inside = torch.zeros(self.size, dtype=torch.bool, device=spoilt.device)
        inside[y0 : y1 + 1, x0 : x1 + 1] = True
        spoilt[0, :, ~inside] = math.nan
        spoilt[1, :, y0, x0 : x1 + 1] = spoilt[2, :, y1, x0 : x1 + 1] = math.nan
        spoilt[3, :, y0 : y1 + 1, x0] = spoilt[4, :, y0 : y1 + 1, x1] = math.nan
        clean = {name: lambda given, name=name: held[f">{name}"].expand_as(given) for name in gates}
        with torch.backends.cudnn.flags(enabled=False):  # whose fast convolutions read more than they need
            cell = self._run(spoilt, self.place, clean)[:, :, self.at[0], self.at[1]]
        reads = cell.isnan().any(1).tolist()
        return [reads[0], *(not it for it in reads[1:])]

    # What is seen ----------------------------------------------------------------------------------------------------

    def pixels_for(self, energy: np.ndarray, share: float) -> int:
        """The fewest pixels, in whole squares, that hold `share` of the energy."""
        return int(contour(energy, share).sum()) * self.bin**2

    @property
    def alt(self) -> str:
        """The box, and how few pixels hold half and nine tenths of the energy."""
        data = self.data
        y0, y1, x0, x1 = data["box"]
        area = (y1 - y0 + 1) * (x1 - x0 + 1)
        field = data["energy"] if data["local_energy"] is None else data["local_energy"]
        half, most = (self.pixels_for(field, share) for share in SHARES)
        text = (
            f"Receptive field of the cell in row {self.at[0]}, column {self.at[1]} of {self.place}. Its box has "
            f"{y1 - y0 + 1} × {x1 - x0 + 1} pixels, rows {y0} to {y1}, columns {x0} to {x1}. Half of the energy lies "
            f"in {half} pixels, {half / area:.0%} of the box, and 90 % in {most}."
        )
        if data["local_energy"] is not None:
            text += (
                f" That is the local path. Through its gates the cell sees all rows {data['extent'][0]} to "
                f"{data['extent'][1]}; {self.outside:.1%} of the whole net's energy lies outside of the box."
            )
        return text

    @property
    def outside(self) -> float:
        """The share of the whole net's energy that lies outside of the box of the local path."""
        y0, y1, x0, x1 = self.data["box"]
        whole = self._fields[WHOLE]
        return 1 - float(whole[y0 : y1 + 1, x0 : x1 + 1].sum() / max(whole.sum(), 1e-300))

    def figure(self) -> Picture:
        """The picture with the box and the contours, and beside it the energy of each path."""
        return field_figure(self)

    def random_twin(self) -> ReceptiveField:
        """The field of the same cell in the net with random weights."""
        pictures = None if self.inputs is self.probe.input else self.inputs
        return ReceptiveField(self.probe.twin(), self.place, self.at, draws=self.draws, pictures=pictures)

    # What a browser gets ---------------------------------------------------------------------------------------------

    def payload(self) -> dict[str, Any]:
        """Boxes of all maps, and the fields of the chosen cell."""
        by_place = [
            {
                "name": name,
                "shape": self.places[name],
                "rows": it.rows,
                "columns": it.columns,
                "extent": it.extent,
                "status": it.status,
            }
            for name, it in self.boxes.items()
        ]
        data = self.data
        chosen = {"place": list(self.boxes).index(self.place), "row": self.at[0], "column": self.at[1]}
        chosen |= {"whole": data["energy"], "local": data["local_energy"]}
        return {
            "picture": data["picture"],
            "size": self.size,
            "bin": self.bin,
            "places": by_place,
            "first": chosen,
            "draws": self.draws,
            "pictures": len(self.inputs),
        }

    @cached_property
    def stored(self) -> list[dict[str, Any]]:
        """The fields of some cells of each map (of a large picture: of the chosen map), for a page without a kernel.

        As roots of shares of the energy, of which two bytes keep the small ones too, beside the sums.
        """
        cells = []
        for number, (name, it) in enumerate(self.boxes.items()):
            if name != self.place and max(self.size) > SMALL:
                continue
            side = UNITS[name != self.place or max(self.size) > SMALL]
            rows, columns = (spread(count, side) for count in self.places[name])
            for path in (WHOLE, LOCAL) if it.extent else (WHOLE,):
                fields = [self._binned(self.energy(name, (r, c), path)) for r in rows for c in columns]
                sums = [float(field.sum()) for field in fields]
                roots = np.stack(
                    [np.sqrt(field / max(total, 1e-300)) for field, total in zip(fields, sums, strict=True)]
                )
                cells.append(
                    {
                        "place": number,
                        "draws": self._at_once,
                        "path": path,
                        "rows": rows,
                        "columns": columns,
                        "roots": Half(roots),
                        "sums": sums,
                    }
                )
        return cells

    def message(self, *, live: bool = False, twin: bool = False) -> dict[str, Any]:
        """A page without a kernel gets the fields of some cells; live, they are asked for."""
        message = super().message(live=live, twin=twin)
        return message if live else message | {"data": message["data"] | {"stored": self.stored}}

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """{"place": number, "row", "column", "start"}: energies of the next draws, from number `start` on."""
        if "start" not in question:
            return super().answer(question)
        name = list(self.boxes)[int(question["place"])]
        at, start = (int(question["row"]), int(question["column"])), int(question["start"])
        paths = (WHOLE, LOCAL) if self.boxes[name].extent else (WHOLE,)
        found = {path: self._binned(self.energy(name, at, path, start=start)) for path in paths}
        return {**found, "draws": self._at_once}


def spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` cells along a side, each in the middle of its part."""
    parts = min(count, most)
    return [int((i + 0.5) * count / parts) for i in range(parts)]
