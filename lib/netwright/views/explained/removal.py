"""What a map is worth: take away what it ranks first and watch the answer. Imports explain, probing, figures and the frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image

from netwright import figures
from netwright.explain import removal
from netwright.explain.attributions import completeness_gap, occlusion_by_batch
from netwright.explain.methods import METHODS, methods_for
from netwright.explain.removal import Curves
from netwright.probing.capture import Probe
from netwright.views.frame.assembling import Half
from netwright.views.view import Identity, NotInThisNet, View, relative

SMALL = 128  # pixels a side: up to here everything is computed at once
COARSE_CELLS, COARSE_STEPS, STEPS = 4, 3, 8
ANSWER = 2  # pictures of a full-size net that one answer to the browser runs, about 0.1 s
KINDS = ("deletion", "insertion")


class Removal(View):
    """Deletion and insertion curves of maps of what mattered: ``Removal(probe, "heart")``.

    Cells are taken away in a map's order and replaced by a filling (deletion), or put back into the filling
    (insertion); p(class) is drawn over the share that is gone or back. Beside every curve stand ten random orders in
    cells of the same size and the order from the centre outwards (Petsiuk et al. 2018, arXiv:1806.07421).

    maps: names in explain.methods.METHODS, or a dict from a title to an array (rows, columns) of your own. None: all
    that a small net allows; for pictures above 128 pixels a side a coarse occlusion, while the rest is computed when it
    is asked for. fill: "blur" or "mean", see explain.removal.filled. steps: of a curve.

    data: target, class, probability, logit, fill; first, the map shown first; methods: name → title, unit, signed, kind, heat (rows, columns), order
    (rows, columns) int32, and deletion, insertion, deletion_logit, insertion_logit (points,); controls: "8 × 8" →
    counts, fractions (points,), centre (as a method's), random with curves (10, points); picture, filling.
    Raises NotInThisNet for a map that the net has not, ProbeError for a class that is not there.
    """

    script = "removal"
    asks = True
    title = "What happens when it is removed"
    height = 700

    def __init__(
        self,
        probe: Probe,
        target: int | str | None = None,
        maps: Sequence[str] | Mapping[str, np.ndarray] | None = None,
        *,
        fill: str = "blur",
        steps: int | None = None,
    ):
        if probe.logits is None:
            raise NotInThisNet(f"{type(probe.net).__name__} gives no logits; removal needs a net that classifies.")
        self.probe, self.target, self.fill = probe, probe.target(target), fill
        self.small = max(probe.input.shape[2:]) <= SMALL
        self.steps = steps or (STEPS if self.small else COARSE_STEPS)
        self.allowed = methods_for(probe) + ([] if self.small else ["occlusion_fine"])
        given = maps if isinstance(maps, Mapping) else {}
        self.own = {name: np.asarray(heat, np.float32) for name, heat in given.items()}
        explaining = [name for name in methods_for(probe) if METHODS[name].kind != "control"]
        self.wanted = list(maps or (explaining if self.small else ["occlusion"]))
        if missing := [name for name in self.wanted if name not in (*self.own, *self.allowed)]:
            kind = type(probe.net).__name__
            raise NotInThisNet(f"{', '.join(missing)}: not in {kind}, which allows {', '.join(self.allowed)}.")
        self.first = "occlusion" if "occlusion" in self.wanted else self.wanted[0]  # what is shown first
        self.filling = removal.filled(probe.input, fill)
        self.ends = removal.answers(probe, torch.cat([probe.input, self.filling]))
        self._methods, self._controls = {}, {}  # as in data
        self._under_way: dict[str, Iterator[dict]] = {}

    # Work, in pieces that a browser can wait for ---------------------------------------------------------------------

    def work(self, name: str, batch: int | None = None) -> Iterator[dict[str, Any]]:
        """Compute a map, its curves and its controls piece by piece; says after each how much is done."""
        if name in self.own:
            heat = self.own[name]
        elif name.startswith("occlusion") and not self.small:
            side = min(self.probe.input.shape[2:])
            stride = max(1, round(side / (8 if name == "occlusion_fine" else COARSE_CELLS)))
            for heat in occlusion_by_batch(self.probe, self.target, stride=stride, baseline=self.fill, batch=batch):
                yield {"share": float(np.isfinite(heat).mean()) / 2}
        elif name == "occlusion":
            *_, heat = occlusion_by_batch(self.probe, self.target, baseline=self.fill)
        else:
            heat = METHODS[name].run(self.probe, self.target)
        heat = np.asarray(heat, np.float32)
        order, size = removal.order_of(heat), _size(heat.shape)
        yield {"share": 0.5}
        curves = yield from self._both(order, 0.55)
        if size not in self._controls:
            yield from self._control(heat.shape, size, batch)
        described = dict(zip(("title", "unit", "signed", "kind"), _described(name), strict=True))
        self._methods[name] = described | {"size": size, "heat": heat, "order": order, **curves}
        yield {"share": 1.0}

    def _control(self, shape: tuple[int, int], size: str, batch: int | None) -> Iterator[dict[str, Any]]:
        orders, centre = removal.random_orders(shape), removal.centre_order(shape)
        found: list[Curves] = []
        some = 1 if batch and not self.small else len(orders)
        for at in range(0, len(orders), some):
            found.append(self._remove(orders[at : at + some]))
            yield {"share": 0.6 + 0.35 * at / len(orders)}
        # Insertion by lot costs nothing: it is the deletion of the reversed orders, read backwards.
        both = (np.concatenate([getattr(it, of) for it in found]) for of in ("probability", "logit"))
        by_lot = Curves(found[0].fractions, *both)
        back, counts = by_lot.backwards(), removal.counts_of(orders[0].size, self.steps)
        middle = yield from self._both(centre, 0.95)
        self._controls[size] = {
            "counts": counts,
            "fractions": by_lot.fractions,
            "centre": {"order": centre, **middle},
            "random": {
                "order": orders[0], "deletion": by_lot.probability, "insertion": back.probability,
                "deletion_logit": by_lot.logit, "insertion_logit": back.logit,
            },
        }  # fmt: skip

    def _remove(self, orders: np.ndarray, insertion: bool = False) -> Curves:
        options = {"fill": self.fill, "steps": self.steps, "ends": self.ends, "insertion": insertion}
        return removal.remove(self.probe, orders, self.target, **options)

    def _both(self, order: np.ndarray, share: float) -> Iterator[dict[str, Any]]:
        found = {}
        for kind in KINDS:
            curves = self._remove(order[None], kind == "insertion")
            found |= {kind: curves.probability[0], f"{kind}_logit": curves.logit[0]}
            yield {"share": share}
        return found

    @property
    def data(self) -> dict[str, Any]:
        for name in self.wanted:
            if name not in self._methods:
                list(self.work(name))  # at once
        said = self.probe.logits.cpu().double()
        return {
            "target": self.target,
            "class": self.probe.class_names[self.target],
            "probability": float(said.softmax(0)[self.target]),
            "logit": float(said[self.target]),
            "fill": removal.FILLS[self.fill],
            "first": self.first,
            "methods": self._methods,
            "controls": self._controls,
            "picture": self._pictures[0],
            "filling": self._pictures[1],
            "pixels": tuple(self.probe.input.shape[2:]),
        }

    @cached_property
    def _pictures(self) -> tuple[Image.Image, Image.Image]:
        """The picture as the net received it, and the filling, in 8 bits."""
        shown = self.probe.picture
        pixels = torch.from_numpy(np.array(shown)).permute(2, 0, 1)[None].float()
        filling = removal.filled(pixels, self.fill)[0].permute(1, 2, 0)  # filling is linear, as is taking colours back
        return shown, Image.fromarray(filling.round().clamp(0, 255).byte().numpy())

    # What is said of it ----------------------------------------------------------------------------------------------

    def identities(self) -> list[Identity]:
        """Curves begin and end at the net's own answers; every order names each cell once; maps add up that claim to."""
        data, probe = self.data, self.probe
        own = probe.logits.cpu().double().softmax(0)[self.target]
        empty = probe.answer(self.filling).cpu().double().softmax(1)[0, self.target]
        curves = [
            *data["methods"].values(),
            *(it[of] for it in data["controls"].values() for of in ("centre", "random")),
        ]
        off = []
        for it in curves:
            deleted, inserted = (np.atleast_2d(it[kind])[0] for kind in KINDS)
            off += [deleted[0] - own, inserted[-1] - own, deleted[-1] - empty, inserted[0] - empty]
        whole = max(float(np.abs(np.sort(it["order"].ravel()) - np.arange(it["order"].size)).max()) for it in curves)
        found = [
            Identity("curves begin and end at the net's answers", max(abs(float(it)) for it in off)),
            Identity("each cell once", whole, 0.0),
        ]
        if "occlusion" in data["methods"] and "occlusion" not in self.own:
            found.append(Identity("first step as occluded", self._first_step(data["methods"]["occlusion"])))
        if "class_map" in data["methods"] and "class_map" not in self.own:
            bias = probe.net.classifier.bias
            total = data["methods"]["class_map"]["heat"].sum(dtype=np.float64) + (
                0 if bias is None else float(bias[self.target].detach())
            )
            found.append(Identity("class map sums to the logit", relative(total, data["logit"])))
        if "integrated" in data["methods"] and "integrated" not in self.own:
            gap = completeness_gap(probe, data["methods"]["integrated"]["heat"], self.target)
            found.append(Identity("integrated gradients sum to the rise", gap, 0.03))
        return found

    def _first_step(self, method: dict[str, Any]) -> float:
        """The fall of the logit when the first cell of the order goes, beside what occlusion says of that cell.

        As a share of the largest logit: where nothing falls, as in a picture of one colour, both are but its rounding.
        """
        once = removal.swapped(self.probe.input, self.filling, method["order"], 1)
        fall = self.probe.logits[self.target] - removal.answers(self.probe, once)[0, self.target]
        return abs(float(method["heat"].max()) - float(fall)) / max(float(self.probe.logits.abs().max()), 1e-12)

    def areas(self, name: str, kind: str = "deletion") -> tuple[float, np.ndarray, float]:
        """Area under p(class): of a map's order, of the ten random orders (10,), of the order from the centre."""
        method = self.data["methods"][name]
        control = self.data["controls"][method["size"]]
        return tuple(
            removal.area(control["fractions"], it)
            for it in (method[kind], control["random"][kind], control["centre"][kind])
        )

    @property
    def alt(self) -> str:
        """What the first map's order does to the answer, beside random orders and the centre."""
        first = self.first
        own, by_lot, centre = self.areas(first)
        method, many = self.data["methods"][first], len(self.data["methods"])
        back, lot_back, _ = self.areas(first, "insertion")
        ranking = sorted(self.data["methods"], key=lambda name: self.areas(name)[0] / self.areas(name)[1].mean())
        best = f" Of {many} maps {self.data['methods'][ranking[0]]['title']} deletes best." if many > 1 else ""
        return (
            f"Deletion and insertion for {self.data['class']} (p = {self.data['probability']:.0%}), filled with "
            f"{self.data['fill']}. {method['title']}: area under p while its cells go {own:.2f}, random orders "
            f"{by_lot.mean():.2f} ({by_lot.min():.2f} to {by_lot.max():.2f}), from the centre {centre:.2f}; while they come "
            f"back {back:.2f}, random orders {lot_back.mean():.2f}.{best}"
        )

    def random_twin(self) -> Removal:
        """The same picture, class and maps in a net with random weights."""
        return Removal(self.probe.twin(), self.target, self.own or self.wanted, fill=self.fill, steps=self.steps)

    def figure(self) -> figures.Picture:
        from netwright.views.explained.removal_figure import draw

        return draw(self)

    # What a browser gets ---------------------------------------------------------------------------------------------

    def payload(self) -> dict[str, Any]:
        known = self.data["methods"]
        more = [] if self.own else [name for name in self.allowed if name not in known and not _is_control(name)]
        return self.data | {
            "methods": {name: _packed(method) for name, method in known.items()},
            "controls": {size: _packed_control(it) for size, it in self._controls.items()},
            "more": [[name, _described(name)[0]] for name in more],
        }

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """{"method": name}: do the next piece of that map's work; {"share"}, and at the end method and control.

        Raises ValueError for another question, or a map that the net has not.
        """
        name = question.get("method")
        if name not in self.allowed:
            return super().answer(question)
        if name not in self._methods:
            work = self._under_way.pop(name, None) or self.work(name, ANSWER)
            piece = next(work)
            if name not in self._methods:
                self._under_way[name] = work
                return piece
        method = self._methods[name]
        return {"share": 1.0, "method": _packed(method), "control": _packed_control(self._controls[method["size"]])}


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[0]} × {shape[1]}"


def _packed(method: dict[str, Any]) -> dict[str, Any]:
    """A method or an order as it travels: few bytes where there are many cells."""
    packed = {**method, "order": method["order"].astype(np.int16 if method["order"].size < 1 << 15 else np.int32)}
    return packed | ({"heat": Half(method["heat"])} if "heat" in method and method["heat"].size > 1024 else {})


def _packed_control(control: dict[str, Any]) -> dict[str, Any]:
    return control | {of: _packed(control[of]) for of in ("centre", "random")}


def _is_control(name: str) -> bool:
    return name in METHODS and METHODS[name].kind == "control"


def _described(name: str) -> tuple[str, str, bool, str]:
    """Title, unit, whether signed, and kind of a map."""
    if name == "occlusion_fine":
        return "Occlusion, 8 × 8 cells", "logits", True, "explains"
    if name not in METHODS:
        return name, "as given", True, "given"
    return METHODS[name].title, METHODS[name].unit, METHODS[name].signed, METHODS[name].kind
