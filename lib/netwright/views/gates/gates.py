"""What ResNeSt's gates prefer, how much that matters, and what they know. Imports figures, probing and, of this room,
parts, picture_set, knowing and picture.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright import figures
from netwright.probing.capture import Probe
from netwright.views.frame.assembling import Half
from netwright.views.gates import parts
from netwright.views.gates.knowing import knowledge
from netwright.views.gates.picture import draw_gates
from netwright.views.gates.picture_set import PictureSet, picture_set
from netwright.views.view import Identity, NotInThisNet, View, relative

ALL = "all layers"
MANY_LAYERS = 8  # above, whole stages are forced beforehand instead of single layers
SMALL = 128 * 128  # pixels of an input up to which everything is computed at once, the random twin too


class Gates(View):
    """Every split attention's gates for one picture, what they add to the output, and the answer with other gates.

    With radix 2 the output is (U0 + U1) / 2 + d (U0 - U1) with d = (a0 - a1) / 2: a fixed average of the two splits,
    and what attention adds. A gate is one number for a channel, the same at every place of the map.

    pictures: what is compared with, a list of pictures or ready inputs (n, 3, h, w); default for a net of the toy
    world ten test pictures of each class, for others five views of its own picture. labels: their class numbers.
    Raises NotInThisNet for a net without split attention, or without logits.

    data: layers, names (L); radix, cardinality, channels (L,); gates and mean_gates, of each layer (radix, channels),
    the latter over the set; set_gates (n, radix, channels); strip and mean_strip (rows, channels), d in [-1/2, 1/2]
    where the radix is 2 and the gates in [0, 1] elsewhere; rho (L,) and set_rho (n, L), the share of the output's
    length that attention adds (above 1 where it cancels a part of the average); logits (classes,); changes, what the
    gates of all layers at once were set to (V), and forced_logits (V, classes), the answers; neighbours (k,), numbers
    in the set, and distances (k,), the root mean square differences of their gates. With labels of two classes or
    more also eta2, of each layer (rows, channels), NaN where a gate never moves; eta2_layers and eta2_shuffled (L,),
    its means over the channels; class_strips, class -> of each layer (rows, channels), its mean; flips, change ->
    share of the set's pictures that get another answer; agree and agree_shuffled, the share whose nearest neighbour
    in gate space has their class.
    """

    script = "gates"
    asks = True
    height = 760

    def __init__(self, probe: Probe, pictures=None, labels=None):
        self.probe = probe
        self.layers = parts.split_layers(probe.net)
        if probe.logits is None:
            raise NotInThisNet(
                f"{type(probe.net).__name__} gives no logits that other gates could change; SplitBrowser needs none."
            )
        self.set: PictureSet = picture_set(probe, pictures, labels)
        self.title = "What the gates prefer"
        self._of_twin = False
        with torch.no_grad():
            self._look()
        self._forced: dict[tuple[int, ...], Tensor] = {}

    def _look(self) -> None:
        """One pass for what the gates are made of, one for the set."""
        wanted = [f"{layer.place}{part}" for layer in self.layers for part in (".norm", ".fc2", "")]
        seen = self.probe.look(wanted)
        self._gates, self._errors, rho = [], [], []
        for layer in self.layers:
            splits = layer.splits(seen[f"{layer.place}.norm"])  # (1, radix, channels, h, w)
            gates = layer.gates(seen[f"{layer.place}.fc2"])  # (1, radix, channels)
            fixed, added = parts.fixed_and_added(splits, gates)
            made = seen[layer.place]
            self._gates.append(gates)
            self._errors.append(
                {
                    "rebuilt": relative((gates[..., None, None] * splits).sum(1), made),
                    "decomposed": relative(fixed + added, made),
                    "sums": float(parts.deviation(gates).sum(1).abs().max()),
                }
            )
            rho.append(float(parts.share_added(splits, gates)))
        self._rho = np.array(rho)
        self._set = parts.watch(self.probe.net, self.layers, self.set.inputs)

    # Other gates -------------------------------------------------------------------------------------------------

    @property
    def changes(self) -> list[tuple[str, str]]:
        """What the gates can be set to: an id, and its name in words."""
        radices = {layer.radix for layer in self.layers}
        alike = "one half" if max(radices) <= 2 else "1/radix"
        donors = [(f"from {i}", f"those of: {self.set.names[i]}") for i in self.set.donors]
        return [("even", alike), ("mean", "mean of the set"), ("negated", "negated"), *donors]

    def _target(self, number: int, change: str) -> Tensor:
        """The gates (1, radix, channels) that a change gives to layer `number`."""
        own, others = self._gates[number], self._set.gates[number]
        if change == "even":
            return torch.full_like(own, parts.even(own.shape[1]))
        if change == "mean":
            return others.mean(0, keepdim=True)
        if change == "negated":
            return parts.negated(own)
        which = int(change.removeprefix("from "))
        return others[which : which + 1]

    def force(self, layers: list[int], change: str, share: float = 1.0) -> Tensor:
        """Logits (classes,) with the gates of some layers set to `change`, or `share` of the way to it.

        layers: their numbers, from 0. Raises ValueError for a change that there is not.
        """
        if change not in dict(self.changes):
            raise ValueError(f"Gates cannot be set to {change!r}; choose one of {', '.join(dict(self.changes))}.")
        gates = {
            self.layers[i].place: torch.lerp(self._gates[i], self._target(i, change).to(self._gates[i]), share)
            for i in layers
        }
        return parts.force(self.probe, self.layers, gates)[0]

    def force_every_change(self, layers: list[int]) -> Tensor:
        """Logits (changes + 1, classes): first with the layers' own gates forced on them, then with each change."""
        key = tuple(layers)
        if key not in self._forced:
            names = [change for change, _ in self.changes]
            gates = {
                self.layers[i].place: torch.cat([self._gates[i], *(self._target(i, name) for name in names)])
                for i in layers
            }
            self._forced[key] = parts.force(self.probe, self.layers, gates)
        return self._forced[key]

    @cached_property
    def scopes(self) -> dict[str, list[int]]:
        """Which layers are forced together beforehand: all, and each alone, or in a deep net those of each stage."""
        scopes = {ALL: list(range(len(self.layers)))}
        for i, layer in enumerate(self.layers):
            name = layer.name
            if len(self.layers) > MANY_LAYERS:
                name = ".".join(name.split(".")[:2])
            scopes.setdefault(name, []).append(i)
        return scopes

    def effects(self, *, every: bool = False) -> dict[str, list[dict[str, Any]]]:
        """Scope -> for each change what it does to the answer. every: all scopes, not only all layers at once."""
        return {
            name: [parts.effect(self.probe, row) for row in self.force_every_change(layers)[1:]]
            for name, layers in self.scopes.items()
            if every or self.small or len(layers) == len(self.layers)
        }

    @cached_property
    def flips(self) -> dict[str, float]:
        """Change -> share of the set's pictures whose likeliest class it changes, all layers forced at once."""
        gates = self._set.gates
        targets = {
            "even": [torch.full_like(own, parts.even(own.shape[1])) for own in gates],
            "mean": [own.mean(0, keepdim=True).expand_as(own) for own in gates],
            "negated": [parts.negated(own) for own in gates],
            "another": [own.roll(len(own) // 2, 0) for own in gates],  # the set is in the order of its classes
        }
        first = self._set.logits.argmax(1)
        return {
            change: (parts.force_all(self.probe.net, self.layers, self.set.inputs, target).argmax(1) != first)
            .float()
            .mean()
            .item()
            for change, target in targets.items()
        }

    @cached_property
    def _knowledge(self) -> dict[str, Any]:
        own, others = ([_numpy(parts.shown_gates(it)) for it in gates] for gates in (self._gates, self._set.gates))
        found = knowledge(own, others, self.set.labels)
        if "eta2" not in found:
            return found
        labels = self.set.labels
        classes = {
            self.probe.class_names[label]: [gates[labels == label].mean(0) for gates in others]
            for label in np.unique(labels)
        }
        return found | {"flips": self.flips, "class_strips": classes}

    # What a view gives -------------------------------------------------------------------------------------------

    @cached_property
    def data(self) -> dict[str, Any]:
        means = [gates.mean(0, keepdim=True) for gates in self._set.gates]
        return {
            "layers": [layer.name for layer in self.layers],
            "radix": np.array([layer.radix for layer in self.layers]),
            "cardinality": np.array([layer.cardinality for layer in self.layers]),
            "channels": np.array([layer.channels for layer in self.layers]),
            "gates": [_numpy(gates[0]) for gates in self._gates],
            "mean_gates": [_numpy(gates[0]) for gates in means],
            "set_gates": [_numpy(gates) for gates in self._set.gates],
            "strip": [_numpy(parts.shown_gates(gates)[0]) for gates in self._gates],
            "mean_strip": [_numpy(parts.shown_gates(gates)[0]) for gates in means],
            "rho": self._rho,
            "set_rho": _numpy(self._set.rho),
            "changes": [change for change, _ in self.changes],
            "forced_logits": _numpy(self.force_every_change(self.scopes[ALL])[1:]),
            "logits": _numpy(self.probe.logits),
            **self._knowledge,
        }

    def identities(self) -> list[Identity]:
        worst = {name: max(error[name] for error in self._errors) for name in self._errors[0]}
        all_layers = self.force_every_change(self.scopes[ALL])
        found = [
            Identity("gates and splits rebuild every layer's output", worst["rebuilt"]),
            Identity("fixed average + what attention adds = output", worst["decomposed"]),
            Identity("own gates, forced, change no logit", relative(all_layers[0], self.probe.logits), within=1e-5),
        ]
        sums = [e["sums"] for e, layer in zip(self._errors, self.layers, strict=True) if layer.radix > 1]
        return [*found, Identity("gates of the splits sum to 1", max(sums), within=1e-5)] if sums else found

    @property
    def alt(self) -> str:
        rho, layers = self._rho, [layer.name for layer in self.layers]
        low, high = int(rho.argmin()), int(rho.argmax())
        own = self.probe.top(1)[0]
        told = ", ".join(
            f"{name} {_signed(effect['change'])}" + (f" (now {effect['first']})" if effect["flips"] else "")
            for (_, name), effect in zip(self.changes[:3], self.effects()[ALL][:3], strict=True)
        )
        text = (
            f"Gates of {len(layers)} layers of {self._make}. What attention adds is {rho[low]:.0%} (in {layers[low]}) "
            f"to {rho[high]:.0%} (in {layers[high]}) of the output's length. Change of the logit of "
            f"{self.probe.class_names[own]}, {self.probe.logits[own]:.2f}, with all gates set to other values: {told}."
        )
        if "eta2_layers" in self._knowledge:
            know = self._knowledge
            text += (
                f" Of the gates' variance over {self.set.said}, {know['eta2_layers'].min():.0%} to "
                f"{know['eta2_layers'].max():.0%} lies between classes, a layer; with shuffled labels "
                f"{know['eta2_shuffled'].mean():.0%}."
            )
        return text

    @property
    def _make(self) -> str:
        """ "radix 2, cardinality 1": of all layers, or of the first where they differ."""
        return f"radix {self.layers[0].radix}, cardinality {self.layers[0].cardinality}"

    def figure(self) -> figures.Picture:
        return draw_gates(self)

    def random_twin(self) -> Gates:
        """The gates of a net with random weights, whose normalisations are measured on the set too, from four on.

        Measured on turned views of one picture alone, the gates of any other picture would be out of all bounds.
        """
        others = None
        if len(self.set.inputs) >= 4:
            others = self.set.inputs[:: -(-len(self.set.inputs) // parts.BATCH)]
        probe = self.probe.twin(others=others)
        twin = Gates(probe, self.set)
        twin._of_twin = True
        return twin

    @property
    def small(self) -> bool:
        """Whether the net's input is so small that nothing has to wait."""
        return self.probe.input.shape[-1] * self.probe.input.shape[-2] <= SMALL

    def message(self, *, live: bool = False, twin: bool = False) -> dict[str, Any]:
        message = super().message(live=live, twin=twin)
        if twin and not live:  # a page that nobody answers: it takes along what a kernel would be asked for
            message["data"]["effects"] = self.effects(every=True)
        if not self._of_twin and (twin or self.small):
            message["data"]["twin_effects"] = self.twin.effects(every=twin)
        return message

    def payload(self) -> dict[str, Any]:
        data, know = self.data, self._knowledge
        donors = [
            [Half(_numpy(parts.shown_gates(gates[i : i + 1])[0])) for gates in self._set.gates] for i in self.set.donors
        ]
        labels = self.set.labels
        return {
            **{name: data[name] for name in ("layers", "radix", "cardinality", "channels", "rho")},
            "strip": [Half(it) for it in data["strip"]],
            "mean": [Half(it) for it in data["mean_strip"]],
            "donors": donors,
            "classes": {name: [Half(it) for it in strips] for name, strips in know.get("class_strips", {}).items()},
            "set_rho": {"low": data["set_rho"].min(0), "mean": data["set_rho"].mean(0), "high": data["set_rho"].max(0)},
            "changes": self.changes,
            "scopes": self.scopes,
            "effects": self.effects(),
            "twin_effects": None,
            "own": parts.effect(self.probe, self.probe.logits),
            "said": self.set.said,
            "picture": self._thumbs(None),
            "donor_pictures": self._thumbs(self.set.donors),
            "eta2": None if "eta2" not in know else [Half(np.nan_to_num(it, nan=-1)) for it in know["eta2"]],
            "eta2_layers": know.get("eta2_layers"),
            "eta2_shuffled": know.get("eta2_shuffled"),
            "flips": know.get("flips"),
            "agree": know.get("agree"),
            "agree_shuffled": know.get("agree_shuffled"),
            "neighbours": [
                {"name": self.set.names[i], "distance": float(far), "label": None if labels is None else int(labels[i])}
                for i, far in zip(know["neighbours"], know["distances"], strict=True)
            ],
            "near_pictures": self._thumbs(know["neighbours"]),
        }

    def _thumbs(self, which) -> Any:
        """Small pictures of the set, or the probe's own for None; none for a net that cannot undo its normalisation."""
        try:
            if which is None:
                return self.probe.picture.resize((96, 96)) if max(self.probe.picture.size) > 96 else self.probe.picture
            return self.set.thumbs(self.probe.net, which)
        except ValueError:
            return None

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """{"gates": change, "layers": numbers, "share": 0 to 1}: its effect. {"gates": "twin"}: all of the twin's."""
        match question:
            case {"gates": "twin"}:
                return {"effects": self.twin.effects()}
            case {"gates": change, "layers": layers, **rest}:
                return {
                    "effect": parts.effect(self.probe, self.force(list(layers), change, float(rest.get("share", 1.0))))
                }
        return super().answer(question)


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()


def _signed(x: float) -> str:
    return f"{x:+.2f}".replace("-", "\u2212")
