"""The arithmetic of the ledger: the sum for any class, and the net run again without some of its terms.

Imports terms, parts, probing and view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from netwright.probing.capture import Probe
from netwright.views.ledger.parts import Way, branch_of, gates_and_groups
from netwright.views.ledger.terms import is_exact, last_block, secant
from netwright.views.view import NotInThisNet

SHOWN = 10  # classes whose sums are made at first
SLOW = 4  # of them where each costs a pass backward through most of a large net
AT_ONCE = 36  # copies of the picture in one pass
SMALL_PICTURE = 128  # pixels: with such a picture every block's knock-outs are quick enough to be made beforehand


@dataclass(frozen=True)
class Sum:
    """The sum for some classes. All tensors have the classes first; logit units.

    pulled: (n, channels, height, width), what one unit of what the middle puts out adds. maps: one a way, (n, terms,
    height, width). extra_maps: (n, e, height, width). extras: (n, e and those without a place).
    """

    classes: list[int]
    pulled: Tensor
    maps: list[Tensor]
    extra_maps: Tensor
    extras: Tensor


class Summing:
    """A block's terms and what they add to the logits. `Ledger` shows it, and says what the arguments are."""

    def __init__(self, probe: Probe, block: str | None = None, target: int | str | None = None, *, dataset_mean=None):
        if probe.logits is None:
            raise NotInThisNet(f"{type(probe.net).__name__} gives no logits; a ledger needs a net that classifies.")
        self.probe = probe
        self.block = block or last_block(probe)
        if self.block not in probe.steps or not self.block.startswith("stages."):
            last = last_block(probe)  # a net without blocks is refused here
            raise NotInThisNet(f"{self.block!r} is no block of this net; its blocks have names such as {last!r}.")
        self.target = probe.target(target)
        shown = SHOWN if self.beforehand else SLOW
        self.classes = [self.target, *(it for it in probe.top(shown) if it != self.target)][:shown]
        self.exact = is_exact(probe, self.block)
        self.branch = branch_of(probe, self.block)
        self.ways: tuple[Way, ...] = self.branch.ways
        self.sum = self.summed(self.classes)
        self.channels = torch.einsum("chw,fchw->fc", self.sum.pulled[0], self.branch.sources)
        if self.branch.kind == "gates":
            groups = self.ways[0]
            self.ways = (gates_and_groups(groups.takes, groups.labels, self.channels[0]), groups)
            self.sum = self.summed(self.classes)
        self.means = self._means(dataset_mean)
        self._knocked: dict[tuple[int, str], Tensor] = {}  # (way, baseline) -> logits (terms, all classes)

    # The sum ------------------------------------------------------------------------------------------------------

    def summed(self, classes: Sequence[int]) -> Sum:
        """The sum for any classes, by number."""
        branch, weights = self.branch, self._weights(classes)  # (n, out, height, width)
        back = branch.pulled_back(weights)  # (n, channels, height, width)
        pulled = branch.through(back)
        maps = [
            torch.stack([torch.einsum("jfc,fchw->jhw", way.takes, branch.sources * one) for one in pulled])
            for way in self.ways
        ]
        placed = [(weights * branch.shortcut).sum(1), (weights * branch.shift[:, None, None]).sum(1)]
        if branch.middle_shift is not None:
            placed.append((back * branch.middle_shift).sum(1))
        extra_maps = torch.stack(placed, 1)
        logits = self.probe.logits.float()[list(classes)]
        bias = getattr(self.probe.net.classifier, "bias", None)
        bias = torch.zeros_like(logits) if bias is None else bias.detach().float()[list(classes)]
        extras = torch.cat([extra_maps.sum((2, 3)), bias[:, None]], 1)
        if not self.exact:
            rest = logits - extras.sum(1) - maps[0].sum((1, 2, 3))
            extras = torch.cat([extras, rest[:, None]], 1)
        return Sum(list(classes), pulled, maps, extra_maps, extras)

    @property
    def extra_labels(self) -> list[str]:
        """What is in the sum beside the terms; the first ones have a place in the picture."""
        middle = ["shift in the middle"] if self.branch.middle_shift is not None else []
        later = [] if self.exact else ["later layers"]
        return ["shortcut", "BatchNorm shift", *middle, "classifier bias", *later]

    def _weights(self, classes: Sequence[int]) -> Tensor:
        """(n, out, height, width): what one unit of the block's sum at a position adds to each class's logit."""
        if self.exact:
            total = self.branch.total
            frozen = secant(self.branch.act, total) / total[0].numel()  # the head takes the mean over positions
            return self.probe.net.classifier.weight.detach().float()[list(classes), :, None, None] * frozen
        leaves = []

        def through_leaf(out: Tensor, _) -> Tensor:
            leaves.append(out.detach().clone().requires_grad_())
            return leaves[0] * 1  # the block adds its shortcut in place, which a leaf does not allow

        logits = self.probe.rerun({self.branch.last: through_leaf}, grad=True)[0]
        slopes = [torch.autograd.grad(logits[c], leaves[0], retain_graph=True)[0][0] for c in classes]
        return torch.stack(slopes).float()

    # Without a term -----------------------------------------------------------------------------------------------

    @property
    def baselines(self) -> tuple[str, ...]:
        """What can be put in a term's place."""
        return ("mean", "zero") if self.means is None else ("mean", "zero", "dataset")

    def _means(self, given) -> Tensor | None:
        if given is None:
            return None
        wanted = tuple(self.branch.sources.shape[:2])
        means = torch.as_tensor(np.asarray(given), dtype=torch.float32, device=self.branch.sources.device)
        means = means[None] if means.ndim == 1 else means
        if tuple(means.shape) != wanted:
            raise ValueError(
                f"dataset_mean has the shape {tuple(means.shape)}; {self.block} needs {wanted}, sources and channels, "
                "as mean_sources(probes, block) gives them."
            )
        return means

    def _instead(self, way: Way, baseline: str) -> Tensor:
        """(terms, channels): what takes the terms' place at every position."""
        if baseline not in self.baselines:
            raise ValueError(f"A term can give way to {', '.join(self.baselines)}, not to {baseline!r}.")
        if baseline == "zero":
            return self.branch.sources.new_zeros(way.takes.shape[0], way.takes.shape[2])
        means = self.branch.sources.mean((2, 3)) if baseline == "mean" else self.means
        return torch.einsum("jfc,fc->jc", way.takes, means)

    def predicted(self, way: int | str = 0, baseline: str = "mean", total: Sum | None = None) -> Tensor:
        """(n, terms): the change of the logits, by the ledger, when each term alone gives way to the baseline."""
        number, total = self.way_number(way), total or self.sum
        stays = torch.einsum("nc,jc->nj", total.pulled.sum((2, 3)), self._instead(self.ways[number], baseline))
        return stays - total.maps[number].sum((2, 3))

    def run_without(self, sets: Sequence[Sequence[int]], way: int | str = 0, baseline: str = "mean") -> Tensor:
        """Logits (sets, all classes) of the net run again, each time with one set of terms replaced."""
        taken = self.ways[self.way_number(way)]
        instead, found = self._instead(taken, baseline), []
        for start in range(0, len(sets), AT_ONCE):
            some = [list(one) for one in sets[start : start + AT_ONCE]]
            takes = torch.stack([taken.takes[one].sum(0) for one in some])
            change = torch.stack([instead[one].sum(0) for one in some])[..., None, None]
            change = change - torch.einsum("jfc,fchw->jchw", takes, self.branch.sources)
            edit = {self.branch.place: lambda out, _, change=change: out + change.to(out.dtype)}
            found.append(self.probe.rerun(edit, copies=len(some)).float())
        return torch.cat(found)

    def knocked(self, way: int | str = 0, baseline: str = "mean") -> Tensor:
        """Logits (terms, all classes) of the net run again without each term alone; kept."""
        key = self.way_number(way), baseline
        if key not in self._knocked:
            terms = len(self.ways[key[0]].labels)
            self._knocked[key] = self.run_without([[j] for j in range(terms)], *key)
        return self._knocked[key]

    def rerun(self, way: int | str = 0, baseline: str = "mean", classes: Sequence[int] | None = None) -> Tensor:
        """(n, terms): the change of the logits by running the net again, beside `predicted`."""
        change = self.knocked(way, baseline) - self.probe.logits.float()
        return change[:, list(classes or self.classes)].T

    def pair(self, first: int, second: int, way: int | str = 0, baseline: str = "mean") -> dict[str, float]:
        """Two terms taken out together: "both", "first", "second" (changes of the target's logit) and "interaction".

        interaction = both - first - second: what the two do only together (0 if the rest of the net were linear).
        """
        logits = self.run_without([[first, second], [first], [second]], way, baseline)[:, self.target]
        both, one, other = (logits - self.probe.logits.float()[self.target]).tolist()
        return {"both": both, "first": one, "second": other, "interaction": both - one - other}

    def way_number(self, way: int | str) -> int:
        """The number of a way, by number or name. Raises ValueError."""
        names = [it.name for it in self.ways]
        if way in names:
            return names.index(way)
        if isinstance(way, int) and 0 <= way < len(names):
            return way
        raise ValueError(f"The middle of {self.block} is cut by {' or by '.join(names)}, not by {way!r}.")

    @property
    def beforehand(self) -> bool:
        """Whether the knock-outs are made before anyone asks: where they take a moment only."""
        last = self.block.split(".")[1] == last_block(self.probe).split(".")[1]
        return last or max(self.probe.input.shape[2:]) <= SMALL_PICTURE
