"""The ledger: a prediction written as a sum over cardinal groups, splits or heads; and what happens without one.

Imports summing, parts, figure, view, assembling and probing.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.figures import Picture
from netwright.probing.capture import Probe
from netwright.views.frame.assembling import Half
from netwright.views.ledger.figure import draw
from netwright.views.ledger.parts import branch_of
from netwright.views.ledger.summing import Sum, Summing
from netwright.views.ledger.terms import last_block
from netwright.views.view import Identity, View, relative

MAP_NUMBERS = 400_000  # in the page's maps of one way; beyond, only the first classes have maps
FEW = 12  # terms of which all pairs are knocked out beforehand


class Ledger(Summing, View):
    """A block's share of the logits, term by term (Xie et al. 2016, section 3: a block aggregates transformations).

    Ledger(probe, block=None, target=None, dataset_mean=None): block is "stages.2.1", by default the last one; target a
    class by number or name, by default the likeliest; dataset_mean an array from `mean_sources`, a third thing that can
    be put in a term's place. Raises NotInThisNet, and ProbeError for a class or a part that is not there.

    In the last block the sum is exact at this picture: the activation is frozen as act(z) / z, number by number, and
    nothing but a mean and the classifier follows. Elsewhere a term is gradient x term: first-order only.

    data: "classes" (n,) numbers of the classes, the target first; "names"; "logits" (n,); "extras" (n, e) logit units,
    with "extra_labels": what is in no term; "extra_maps" (m, those with a place, height, width); "channels" (sources,
    channels) each channel's share of the target's logit; "ways": for each way to cut the middle a dict of "name",
    "note", "labels", "terms" (n, terms) logit units, "maps" (m, terms, height, width) logit units a position, which sum
    to the terms, "predicted" {baseline: (n, terms)} the change of the logits by the ledger when a term gives way to its
    mean over the picture, or to zero; and where it was made beforehand "rerun", the same by running the net again, "top"
    {baseline: names} of the likeliest class then, and "pairs" {baseline: (n, terms, terms)} with two terms out.
    m is n, or fewer where maps are large.
    """

    script = "ledger"
    asks = True
    height = 760

    def __init__(self, probe: Probe, block: str | None = None, target: int | str | None = None, *, dataset_mean=None):
        super().__init__(probe, block, target, dataset_mean=dataset_mean)
        of = "" if self.exact else ", to first order"
        self.title = f"Ledger of {self.block}: the logit of “{probe.class_names[self.target]}” as a sum{of}"

    # As arrays ----------------------------------------------------------------------------------------------------

    @cached_property
    def data(self) -> dict[str, Any]:
        return self._arrays(self.sum) | {"channels": _array(self.channels)}

    def _arrays(self, total: Sum) -> dict[str, Any]:
        names = self.probe.class_names
        mapped = max(1, min(len(total.classes), MAP_NUMBERS // total.maps[0][0].numel()))
        return {
            "classes": np.array(total.classes),
            "names": [names[c] for c in total.classes],
            "logits": _array(self.probe.logits[total.classes]),
            "extra_labels": self.extra_labels,
            "extras": _array(total.extras),
            "extra_maps": _array(total.extra_maps[:mapped]),
            "ways": [self._way_arrays(number, total, mapped) for number in range(len(self.ways))],
        }

    def _way_arrays(self, number: int, total: Sum, mapped: int) -> dict[str, Any]:
        way, names = self.ways[number], self.probe.class_names
        arrays = {
            "name": way.name,
            "note": way.note,
            "labels": list(way.labels),
            "terms": _array(total.maps[number].sum((2, 3))),
            "maps": _array(total.maps[number][:mapped]),
            "predicted": {it: _array(self.predicted(number, it, total)) for it in self.baselines},
            "rerun": None,
            "pairs": None,
        }
        if self.beforehand:
            arrays["rerun"] = {it: _array(self.rerun(number, it, total.classes)) for it in self.baselines}
            arrays["top"] = {
                it: [names[c] for c in self.knocked(number, it).argmax(1).tolist()] for it in self.baselines
            }
            if 1 < len(way.labels) <= FEW:
                tables = {it: self._pairs(number, it)[:, :, total.classes] for it in self.baselines}
                arrays["pairs"] = {it: _array(table.permute(2, 0, 1)) for it, table in tables.items()}
        return arrays

    def _pairs(self, number: int, baseline: str) -> Tensor:
        """(terms, terms, all classes): the change with two terms out; on the diagonal with one."""
        key = number, f"{baseline}, pairs"
        if key not in self._knocked:
            alone = self.knocked(number, baseline) - self.probe.logits.float()
            pairs = list(combinations(range(len(alone)), 2))
            change = self.run_without(pairs, number, baseline) - self.probe.logits.float()
            table = torch.diag_embed(alone.T).permute(1, 2, 0).contiguous()
            for (a, b), logits in zip(pairs, change, strict=True):
                table[a, b] = table[b, a] = logits
            self._knocked[key] = table
        return self._knocked[key]

    # What holds ---------------------------------------------------------------------------------------------------

    def identities(self) -> list[Identity]:
        branch, total = self.branch, self.sum
        summed, logits = total.maps[0].sum((1, 2, 3)) + total.extras.sum(1), self.probe.logits.float()[total.classes]
        if self.exact:
            found = [Identity("terms sum to the logit", relative(summed, logits))]
        else:
            gap = float(total.extras[0, -1])
            without = float(logits[0]) - gap
            found = [
                Identity(f"first-order only: sums to {_signed(without)} of {_signed(logits[0])}, gap {_signed(gap)}")
            ]
        found.append(Identity("rebuilds the block", relative(branch.output(), self.probe[self.block][0])))
        if branch.kind in ("splits", "gates") or branch.slope is not None:
            seen = self.probe[branch.place][0]
            found.append(
                Identity(
                    f"parts rebuild the {'attention' if branch.slope is not None else 'middle'}",
                    relative(branch.sources.sum(0), seen),
                )
            )
        return found

    @cached_property
    def badge(self) -> dict[str, str]:
        """As of any view, but a sum to first order says so even where all that can be checked holds."""
        badge = dict(super().badge)
        if not self.exact and badge["state"] == "holds":
            badge["state"] = "approximate"
        return badge

    def random_twin(self) -> Ledger:
        return Ledger(self.probe.twin(), self.block, self.target)

    # In words, as a picture, in a browser -------------------------------------------------------------------------

    @property
    def agreement(self) -> tuple[float, float]:
        """Mean absolute gap and correlation between predicted and re-run change, means in the terms' place."""
        predicted, rerun = (_array(it[0]).astype(float) for it in (self.predicted(), self.rerun()))
        alike = np.corrcoef(predicted, rerun)[0, 1] if min(predicted.std(), rerun.std()) > 0 else 0.0
        return float(np.abs(predicted - rerun).mean()), float(alike)

    @property
    def alt(self) -> str:
        way, terms = self.ways[0], _array(self.sum.maps[0][0].sum((1, 2)))
        order = np.argsort(-np.abs(terms), kind="stable")[:3]
        largest = ", ".join(f"{way.labels[j]} {_signed(terms[j])}" for j in order)
        rest = ", ".join(
            f"{w} {_signed(v)}" for w, v in zip(self.extra_labels, self.sum.extras[0].tolist(), strict=True)
        )
        name, logit = self.probe.class_names[self.target], float(self.probe.logits[self.target])
        how = "" if self.exact else " to first order"
        text = (
            f"Bars: the logit {_signed(logit)} of “{name}” as a sum{how} in {self.block}: {len(terms)} terms "
            f"({way.name}), together {_signed(terms.sum())}; {rest}. Largest: {largest}."
        )
        if self.beforehand:
            gap, alike = self.agreement
            flips = int((self.knocked().argmax(1) != self.probe.top(1)[0]).sum())
            text += (
                f" Each term replaced by its mean: predicted and re-run change differ by {gap:.2g} on average "
                f"(correlation {alike:.2f}); {flips} of {len(terms)} change the likeliest class."
            )
        return text

    def payload(self) -> dict[str, Any]:
        data = {name: value for name, value in self.data.items() if name != "channels"}
        return _halved(data) | {
            "block": self.block,
            "exact": self.exact,
            "picture": self.probe.picture,
            "top1": self.probe.class_names[self.probe.top(1)[0]],
            "baselines": list(self.baselines),
        }

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """{"ask": "class", "name"}: the sum of any class, as in `payload` with one class more. {"ask": "out", "way",
        "terms", "baseline", "classes"}: the net run again without these terms: "change" (n,) and "top", a name.
        {"ask": "names"}: "names" of all classes.
        """
        match question:
            case {"ask": "class", "name": name}:
                return _halved(self._arrays(self.summed([self.probe.target(name)])))
            case {"ask": "out", "way": way, "terms": terms, "baseline": baseline, "classes": classes}:
                logits = self.run_without([terms], way, baseline)[0]
                change = (logits - self.probe.logits.float())[classes]
                return {"change": _array(change), "top": self.probe.class_names[int(logits.argmax())]}
            case {"ask": "names"}:
                return {"names": list(self.probe.class_names)}
        return super().answer(question)

    def figure(self) -> Picture:
        return draw(self)


def mean_sources(probes: Iterable[Probe], block: str | None = None) -> np.ndarray:
    """(sources, channels): the means, over pictures and positions, of what a block's terms are made of.

    For `Ledger(…, dataset_mean=…)`: a term is then replaced by what it is on average over these pictures.
    """
    found = [branch_of(probe, block or last_block(probe)).sources.mean((2, 3)) for probe in probes]
    return _array(torch.stack(found).mean(0))


def _halved(data: dict[str, Any]) -> dict[str, Any]:
    """Maps travel in two bytes a number."""
    ways = [way | {"maps": Half(way["maps"])} for way in data["ways"]]
    return data | {"ways": ways, "extra_maps": Half(data["extra_maps"])}


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()


def _signed(value) -> str:
    return f"{float(value):+.2f}".replace("-", "\u2212")
