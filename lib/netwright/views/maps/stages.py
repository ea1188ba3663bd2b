"""The maps of a net, stage by stage: what a picture makes of every channel. Imports figures, probing and stage_maps."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch

from netwright import figures
from netwright.probing.capture import HEAD, Probe
from netwright.views.architecture.measuring import name_of
from netwright.views.maps.stage_maps import (
    SPLITS,
    TOP,
    channels_that_fit,
    grouping,
    in_two_bytes,
    map_shapes,
    one_whole_pass,
    order_of,
)
from netwright.views.view import Identity, NotInThisNet, View, relative

PARTS = ("reduce", "conv1", "middle", "conv2", "expand")  # of a block, in the order in which they run
BUDGET = 400_000  # numbers that an exported page holds, in two bytes each: 1.1 MB as text, twice that with the twin
PAGE = 64  # channels that the kernel sends at once
MANY = 60  # maps of another net's modules: above it, the layers inside of its parts are left out


class StageBrowser(View):
    """The feature maps of one picture at many places of a net. Works for any module that puts out maps.

    places: names of modules; None for the stem, every block and, inside the blocks, reduce, middle and expand (and
    ResNeSt's splits); in a net of another make the modules that put out a map.

    data: `picture` (what the net received), `places` (names), and by place `maps` (channels, height, width), in
    whatever unit the net computes in; `mean` and `energy` (channels,), over space: the mean, and the root of the mean
    square; `dead`, the share of channels with no value above 0; `groups`, a `Grouping` or None; `low` and `high`, the
    limits over all channels.
    Raises NotInThisNet where no module puts out a map, or a place does not.
    """

    script = "stages"
    asks = True
    height = 1010

    def __init__(self, probe: Probe, places=None):
        self.probe = probe
        self.title = f"Maps of {name_of(probe.net)}, stage by stage"
        self.modules = map_shapes(probe)  # name -> (channels, height, width), in the order in which they run
        if not self.modules:
            raise NotInThisNet(
                f"No module of {type(probe.net).__name__} puts out maps (1, channels, height, width), which a stage "
                "browser shows: the taught nets do, and any convolutional net."
            )
        given = tuple(places) if places is not None else _places(probe, self.modules)
        for place in given:
            if place not in self.modules:
                raise NotInThisNet(
                    f"{place!r} puts out no map once in a pass; {len(self.modules)} modules do, such as "
                    f"{', '.join(list(self.modules)[:6])}."
                )
        self.places = given
        self._seen: dict[str, dict[str, Any]] = {}

    @cached_property
    def data(self) -> dict[str, Any]:
        self.probe.look(self.places)  # all in one pass
        seen = {place: self._look(place) for place in self.places}
        columns = ("maps", "mean", "energy", "dead", "groups", "low", "high")
        by_place = {column: {place: it[column] for place, it in seen.items()} for column in columns}
        return {"picture": self.probe.picture, "places": list(self.places), **by_place}

    def _look(self, place: str) -> dict[str, Any]:
        if place not in self._seen:
            maps = self.probe[place][0].float()
            self._seen[place] = {
                "maps": maps.cpu().numpy(),
                "mean": maps.mean((1, 2)).cpu().numpy(),
                "energy": maps.square().mean((1, 2)).sqrt().cpu().numpy(),
                "dead": float((maps.amax((1, 2)) <= 0).float().mean()),
                "groups": grouping(self.probe.net, place, len(maps)),
                "low": float(maps.min()),
                "high": float(maps.max()),
            }
        return self._seen[place]

    # Checking ------------------------------------------------------------------------------------------------------

    def identities(self) -> list[Identity]:
        maps, probe = self.data["maps"], self.probe
        independent = one_whole_pass(probe, self.places)
        seen = max(_off(maps[place], independent[place]) for place in self.places)
        found = [Identity("equals what a hook sees", seen)]
        ends = _stage_ends([step for step in probe.steps if step in maps])
        if ends:
            errors = []
            for step in ends:
                x = torch.from_numpy(maps[step]).to(probe.input).unsqueeze(0)
                answer = probe.resume(probe.steps[probe.steps.index(step) + 1], x)
                errors.append(relative(answer[0].float().cpu(), probe.logits.float().cpu()))
            found.append(Identity("the rest of the net makes the logits of it", max(errors)))
        rounding = max(_rounding(maps[place][numbers]) for place, numbers in self._shown.items())
        found.append(Identity("rounded to half precision in the browser", rounding, 1e-3))
        return found

    @property
    def alt(self) -> str:
        data = self.data
        sentences = [
            f"{place}: {len(data['maps'][place])} maps of {_size(data['maps'][place])}, "
            f"{data['low'][place]:.3g} to {data['high'][place]:.3g}, {data['dead'][place]:.0%} of them dead"
            for place in self._overview
        ]
        return f"{self.title}. {'; '.join(sentences)}."

    def random_twin(self) -> StageBrowser:
        return StageBrowser(self.probe.twin(), self.places)

    # Drawing -------------------------------------------------------------------------------------------------------

    @property
    def _overview(self) -> list[str]:
        """At most six places for a still picture: the ends of the stages."""
        whole = [place for place in self.places if place in self.probe.steps] or list(self.places)
        ends = _stage_ends(whole) if self.probe.steps else whole
        return [ends[i] for i in sorted({round(k * (len(ends) - 1) / 5) for k in range(6)})] if len(ends) > 6 else ends

    def figure(self, channels: int = 8) -> figures.Picture:
        """The most active channels at the ends of the stages, each place on one scale."""
        data, places = self.data, self._overview
        figure, axes = figures.subplots(
            len(places), channels + 1, figsize=(9.2, 1.22 * len(places) + 0.5), squeeze=False
        )
        for row, place in zip(axes, places, strict=True):
            maps, low, high = data["maps"][place], data["low"][place], data["high"][place]
            strongest = np.argsort(-data["energy"][place], kind="stable")[:channels]
            reach = max(abs(low), abs(high)) or 1
            style = (
                {"cmap": figures.DIVERGING, "vmin": -reach, "vmax": reach}
                if low < 0
                else {"cmap": figures.SEQUENTIAL, "vmin": 0, "vmax": high or 1}
            )
            row[0].axis("off")
            row[0].text(1.0, 0.5, f"{place}\n{_size(maps)}\n{len(maps)} channels\n{data['dead'][place]:.0%} dead",
                        ha="right", va="center", fontsize=9, transform=row[0].transAxes)  # fmt: skip
            for axis, channel in zip(row[1:], strongest, strict=False):
                image = axis.imshow(maps[channel], **style)
                axis.set_xlabel(f"ch. {channel}", fontsize=8.5, labelpad=1)
            for axis in row[1:]:
                axis.set(xticks=[], yticks=[])
                for spine in axis.spines.values():
                    spine.set_visible(False)
            bar = figure.colorbar(image, ax=list(row), fraction=0.02, pad=0.01, aspect=9)
            bar.ax.tick_params(labelsize=8)
            bar.set_label("activation", fontsize=8)
        figure.suptitle(f"{self.title}: the {channels} channels of most energy, each row on its own scale", fontsize=11)
        return figures.show(figure, f"The {channels} channels of most energy at each place. {self.alt}")

    # For the browser -----------------------------------------------------------------------------------------------

    @cached_property
    def _shown(self) -> dict[str, list[int]]:
        """Place -> the channels that the page has."""
        inside = {place for place in self.places if _block_and_part(self.probe, place)[1]}
        shapes = {place: self.modules[place] for place in self.places}
        counts = channels_that_fit(shapes, self.data["groups"], inside, BUDGET)
        return {place: self._order(place)[: counts[place]] for place in self.places}

    def _order(self, place: str) -> list[int]:
        it = self._look(place)
        return order_of(it["mean"], it["energy"], it["groups"])

    def payload(self) -> dict[str, Any]:
        data = self.data
        entries = [self._entry(place, shown) for place, shown in self._shown.items()]
        start = [place for place in self.places if place in self.probe.steps] or list(self.places)
        return {
            "places": entries,
            "start": start[len(start) // 3],
            "picture": data["picture"],
            "low": min(data["low"].values()),
            "high": max(data["high"].values()),
            "modules": list(self.modules),
        }

    def _entry(self, place: str, shown: list[int]) -> dict[str, Any]:
        """What the browser needs of a place, with the channels `shown`."""
        it = self._look(place)
        block, part = _block_and_part(self.probe, place)
        rms = np.sqrt(np.square(it["maps"], dtype=np.float64).mean(0)) if not part else None
        return {
            "name": place,
            "block": block,
            "part": part,
            "shape": list(it["maps"].shape),
            "low": it["low"],
            "high": it["high"],
            "dead": it["dead"],
            "group": None if it["groups"] is None else {"kind": it["groups"].kind, "count": it["groups"].count},
            "top": [[int(channel), float(it["mean"][channel])] for channel in shown[:TOP]],
            "rms": None if rms is None else in_two_bytes(rms),
            "channels": self._channels(place, shown),
        }

    def _channels(self, place: str, numbers) -> dict[str, Any]:
        it = self._look(place)
        numbers = np.asarray(numbers, dtype=np.int32)
        return {
            "numbers": numbers,
            "maps": in_two_bytes(it["maps"][numbers]),
            "mean": it["mean"][numbers],
            "energy": it["energy"][numbers],
        }

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """{"ask": "more", "place": name, "have": n}: the next channels; {"ask": "place", …}: another module's maps."""
        ask, place = question.get("ask"), question.get("place")
        if ask not in ("more", "place") or place not in self.modules:
            return super().answer(question)
        if ask == "place":
            return {"entry": self._entry(place, self._order(place)[:PAGE])}
        have = int(question["have"])
        return {"place": place, "channels": self._channels(place, self._order(place)[have : have + PAGE])}


# Places -------------------------------------------------------------------------------------------------------------


def _places(probe: Probe, shapes: dict[str, Any]) -> tuple[str, ...]:
    if probe.steps:
        inside = [*PARTS[:2], SPLITS, *PARTS[2:]]
        wanted = [[*(f"{step}.{part}" for part in inside), step] for step in probe.steps if step != HEAD]
        return tuple(place for places in wanted for place in places if place in shapes)
    if len(shapes) <= MANY:
        return tuple(shapes)
    modules = dict(probe.net.named_modules())
    return tuple(name for name in shapes if "." not in name or any(True for _ in modules[name].children()))


def _block_and_part(probe: Probe, place: str) -> tuple[str, str]:
    step = probe.step_of(place)
    return (place, "") if step is None else (step, place[len(step) + 1 :])


def _stage_ends(steps: list[str]) -> list[str]:
    """Those after which another stage begins: "stem", "stages.0.2", …, the last."""
    return [step for i, step in enumerate(steps) if i + 1 == len(steps) or _stage(step) != _stage(steps[i + 1])]


def _stage(step: str) -> str:
    return step.rsplit(".", 1)[0]


def _rounding(array: np.ndarray) -> float:
    sent = in_two_bytes(array)
    return relative(sent["values"].array.astype(np.float16).astype(np.float64) * sent["unit"], array)


def _off(found: np.ndarray, expected: np.ndarray) -> float:
    return 0.0 if np.array_equal(found, expected) else relative(found, expected)


def _size(maps: np.ndarray) -> str:
    height, width = maps.shape[1:]
    return f"{height} × {width} = {height * width:,} numbers"
