"""Pictures that were made to excite a channel, beside the real ones that excite it most. Imports explain, toys, models.

Making them takes seconds a channel, so they come from a record, data/toy/optimised.json, and the view asks the net
again whether they do what the record says. tests/make_optimised.py makes it.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from netwright import figures, paths
from netwright.explain.optimising import excitement
from netwright.figures import Picture
from netwright.models import create_model, transform_for
from netwright.probing.capture import probe
from netwright.toys import ToyWorld
from netwright.views.frame.assembling import jpeg
from netwright.views.view import Identity, NotInThisNet, View, relative

RECORD = "toy/optimised.json"
SIDE = 64  # pixels of a picture of the toy world
SPLIT = "val"


def pictures_file(name: str) -> str:
    """Where the optimised pictures of a toy net are: a row for each place, the trained net's first, then its twin's."""
    return f"toy/optimised_{name}.jpg"


class OptimisedFeatures(View):
    """What excites a channel most, of anything at all and of the pictures that there are.

    data: places: names; channels (places, 8); optimised (places, 8, 64, 64, 3) uint8; excited (places, 8), the
    channel's mean over the map when the net sees it; best (places, 8, 3), indices in ToyWorld("val"), and best_excited
    (places, 8, 3), both of the first `of` pictures; usual (places, 8), the mean over these. Raises NotInThisNet.
    """

    script = "optimised"
    height = 640

    def __init__(self, name: str, *, random: bool = False):
        record = json.loads(paths.data(RECORD).read_text(encoding="utf-8"))
        if name not in record["nets"]:
            raise NotInThisNet(
                f"Pictures that excite the channels of {name!r} were not recorded; there are those of "
                f"{', '.join(record['nets'])}. netwright.explain.optimising.optimise makes them for any net."
            )
        self.name, self.random, self._about = name, random, record
        self._record = record["nets"][name]["random" if random else "trained"]
        self.title = f"What excites {name}{', with random weights' if random else ''}"

    @cached_property
    def data(self) -> dict[str, Any]:
        columns = {key: np.array([row[key] for row in self._record]) for key in ("channels", "excited", "usual")}
        best = {key: np.array([row[key] for row in self._record]) for key in ("best", "best_excited")}
        places = [row["place"] for row in self._record]
        return {"places": places, **columns, **best, "optimised": self._pictures(), "of": self._about["pictures"]}

    def _pictures(self) -> np.ndarray:
        with Image.open(paths.data(pictures_file(self.name))) as sheet:
            pixels = np.array(sheet.convert("RGB"))
        rows = len(self._record)
        pixels = pixels.reshape(2, rows, SIDE, -1, SIDE, 3)[int(self.random)]
        return pixels.swapaxes(1, 2)  # (places, channels, 64, 64, 3)

    def _net(self):
        net = create_model(self.name, pretrained=True)
        return probe(net, ToyWorld(SPLIT)[0]["image"]).twin().net if self.random else net

    def identities(self) -> list[Identity]:
        """The net is asked again, about the very pictures that are shown."""
        net = self._net()
        transform = transform_for(net)
        found = []
        for pictures, place, channels in zip(
            self.data["optimised"], self.data["places"], self.data["channels"], strict=True
        ):
            inputs = as_inputs(torch.from_numpy(pictures).permute(0, 3, 1, 2), transform)
            found.append(excitement(net, [place], inputs)[place][range(len(channels)), channels].numpy())
        return [Identity("these pictures excite it as recorded", relative(np.array(found), self.data["excited"]), 2e-2)]

    @property
    def alt(self) -> str:
        data = self.data
        times = np.median(data["excited"] / np.maximum(data["best_excited"][..., 0], 1e-6), axis=1)
        places = "; ".join(f"{place} {factor:.1f} times" for place, factor in zip(data["places"], times, strict=True))
        return (
            f"{self.title}: {data['channels'].shape[1]} channels of {len(data['places'])} blocks, each with a made picture "
            f"and the real ones that excite it most. How much more the made one excites than the best of {data['of']} real "
            f"ones, median over the channels: {places}."
        )

    def figure(self) -> Picture:
        """The first four channels of every block: what was made, and to its right the real one that excites most."""
        data, real, shown = self.data, self._real(), 4
        places = len(data["places"])
        figure, axes = figures.subplots(places, 2 * shown, figsize=(9.0, 1.45 * places))
        for row, place in enumerate(data["places"]):
            for channel in range(shown):
                made, found = axes[row][2 * channel : 2 * channel + 2]
                made.imshow(data["optimised"][row, channel])
                found.imshow(real[data["best"][row, channel, 0]])
                made.set_title(f"channel {data['channels'][row, channel]}", fontsize=9, loc="left")
                for axis, what, value in (
                    (made, "made", data["excited"]),
                    (found, "real", data["best_excited"][..., 0]),
                ):
                    axis.set_xlabel(f"{what} {value[row, channel]:.2g}", fontsize=9, labelpad=2)
                    axis.set_xticks([])
                    axis.set_yticks([])
            axes[row][0].set_ylabel(place, fontsize=9)
        return figures.show(figure, self.alt, dpi=80)  # pictures of noise, which take many bytes

    def payload(self) -> dict[str, Any]:
        data = self.data
        real = self._real()
        wanted = sorted({int(index) for index in data["best"].flatten()})
        sheet = np.concatenate([real[index] for index in wanted], axis=1)
        made = data["optimised"].swapaxes(1, 2).reshape(len(data["places"]) * SIDE, -1, 3)
        plain = {key: value for key, value in data.items() if key != "optimised"}
        places = {index: at for at, index in enumerate(wanted)}
        plain["best"] = [[[places[int(i)] for i in three] for three in row] for row in data["best"]]
        return plain | {"made": jpeg(Image.fromarray(made)), "real": jpeg(Image.fromarray(sheet)), "side": SIDE}

    def _real(self) -> dict[int, np.ndarray]:
        wanted = sorted({int(index) for index in self.data["best"].flatten()})
        images = ToyWorld(SPLIT).batch(wanted)["image"].permute(0, 2, 3, 1).numpy()
        return dict(zip(wanted, images, strict=True))

    def random_twin(self) -> OptimisedFeatures | None:
        return None if self.random else OptimisedFeatures(self.name, random=True)


def as_inputs(pixels: Tensor, transform) -> Tensor:
    """Pictures (n, 3, 64, 64) uint8 as inputs of a toy net."""
    return (pixels.float() / 255 - transform.mean) / transform.std
