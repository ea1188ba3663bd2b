"""Which pictures a net finds alike: nearest neighbours in the space that its classifier reads.

Imports nearest, probing, toys, models, transforms, figures and the frame.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from netwright import figures
from netwright.models import transform_for
from netwright.probing.capture import Probe, evaluating, hooked
from netwright.toys import ToyWorld
from netwright.transforms import Transform
from netwright.views.pictures.nearest import agreement, brute_force, chance, nearest, nearest_in, principal
from netwright.views.view import Identity, NotInThisNet, View, relative

EACH = 12  # pictures of every class of the toy world
SHOWN = 10  # neighbours
THUMB = 32  # pixels, the side of a thumbnail
SMALL = 96  # pixels: the side of a picture up to which all of the toy set is looked at
FEW = 40  # pictures of the toy set that a full-size net is shown: more take longer than one waits
CHUNK = 32  # pictures that go through the net at once
COLUMNS = 24  # of the sheet of thumbnails


class Neighbours(View):
    """The pictures that a net finds nearest to each: ``Neighbours(net)``, of toy pictures that are always the same.

    Two pictures are as near as the angle between what the classifier reads of them: the distance is 1 - cosine in that
    space, all its dimensions, from 0 (the same direction) over 1 (nothing in common) to 2. Beside it stand the
    neighbours of the same net with random weights. A map in two dimensions (the first two principal components of the
    vectors at unit length) can be had; it is told how much of the neighbourhoods it keeps, and it is not where the
    neighbours come from.

    pictures: some images (whatever `classify` takes, or a ready batch (n, channels, height, width)) or None for the
    toy world's: the first 12 test pictures of every class, of which a full-size net is shown 40. labels: a class number
    for each, or None; class_names: their names. transform: as for `probe`. query: an image of the reader's own, which
    joins the others.

    data: vectors (n, dimensions), float64; neighbours (n, k), int, nearest first, and distances (n, k), without the
    picture itself; labels (n,), -1 where unknown; names of the classes; agreement, the share of the k nearest that have
    the picture's class, with a 95 % interval (bootstrap over pictures), or None without labels; chance, what that share
    is for neighbours drawn at random; map (n, 2); kept_variance, the share of the variance that the map has;
    kept_neighbours, the share of the k nearest that are still among the k nearest in the map; query, a number.

    Raises NotInThisNet for a net without vectors; ValueError for fewer than three pictures or labels that do not fit.
    """

    script = "neighbours"
    title = "Nearest neighbours"
    height = 700

    def __init__(
        self,
        net: nn.Module,
        pictures: Sequence[Any] | Tensor | None = None,
        *,
        labels: Sequence[int] | None = None,
        class_names: Sequence[str] | None = None,
        query: Any = None,
        k: int = SHOWN,
        transform: Transform | None = None,
    ):
        self.net, self.k = net, k
        self.transform = transform or transform_for(net)
        if pictures is None:
            world = ToyWorld("test")
            chosen = toy_indices(EACH if max(self.transform.input_size) <= SMALL else FEW // len(world.classes))
            pictures, labels, class_names = list(world.batch(chosen)["image"]), world.labels(chosen), world.classes
        inputs, thumbs = self._opened(pictures)
        if query is not None:
            more, own = self._opened([query])
            inputs, thumbs = torch.cat((inputs, more)), thumbs + own
        self.own = query is not None
        self._set(inputs, thumbs, labels, class_names)

    def _opened(self, pictures) -> tuple[Tensor, list[Image.Image]]:
        """Inputs of the net, and what it is that they show."""
        if isinstance(pictures, Tensor):
            inputs = pictures
        else:
            inputs = torch.stack([self.transform(picture) for picture in pictures])
        return inputs, [self.transform.inverse(it).resize((THUMB, THUMB), Image.Resampling.BOX) for it in inputs]

    def _set(self, inputs: Tensor, thumbs: list[Image.Image], labels, class_names) -> None:
        count = len(inputs)
        if count < 3:
            raise ValueError(f"Of {count} pictures none has neighbours to compare: give three or more.")
        if labels is None:
            labels = [-1] * (count - self.own)
        if len(labels) != count - self.own:
            raise ValueError(f"{len(labels)} labels do not fit {count - self.own} pictures: give one for each.")
        self.inputs, self.thumbs = inputs, thumbs
        self.labels = np.array([*map(int, labels), *([-1] if self.own else [])])
        known = class_names or [str(number) for number in range(max(0, self.labels.max()) + 1)]
        self.class_names = tuple(map(str, known))
        self.k = min(self.k, count - 1)
        self.vectors, self._read_error = vectors_of(self.net, inputs)

    @cached_property
    def data(self) -> dict[str, Any]:
        order, distances = nearest(self.vectors, self.k)
        flat, variance = principal(self.vectors)
        near = nearest_in(flat, self.k)
        kept = np.mean([len(set(a) & set(b)) / self.k for a, b in zip(order.tolist(), near.tolist(), strict=True)])
        return {
            "vectors": self.vectors,
            "neighbours": order,
            "distances": distances,
            "labels": self.labels,
            "names": list(self.class_names),
            "agreement": agreement(order, self.labels),
            "chance": chance(self.labels),
            "map": flat,
            "kept_variance": variance,
            "kept_neighbours": float(kept),
            "query": len(self.labels) - 1 if self.own else 0,
        }

    def identities(self) -> list[Identity]:
        """The neighbours are those of comparing every two pictures; the classifier does read the vectors."""
        brute = brute_force(self.data["vectors"], self.k)
        unit = self.vectors / np.linalg.norm(self.vectors, axis=1, keepdims=True)
        listed = 1 - np.einsum("id,ikd->ik", unit, unit[self.data["neighbours"]])
        error = max(relative(self.data["distances"], brute), relative(listed, brute))
        found = [Identity("neighbours as by comparing every two", error, 1e-6)]
        if self._read_error is not None:
            found.append(Identity("the logits follow from the vectors", self._read_error))
        return found

    @property
    def alt(self) -> str:
        """Who is nearest to the query, and how often neighbours share a class, trained and random."""
        data, query = self.data, self.data["query"]
        nearest_one = int(data["neighbours"][query, 0])
        text = (
            f"{len(self.labels)} pictures in the {self.vectors.shape[1]} dimensions that the classifier reads. Nearest "
            f"to picture {query}{self._called(query)} is picture {nearest_one}{self._called(nearest_one)}, at "
            f"{data['distances'][query, 0]:.3f} (1 − cosine); number {self.k} is at {data['distances'][query, -1]:.3f}."
        )
        if data["agreement"]:
            share, low, high = data["agreement"]
            other = self.twin.data["agreement"]
            text += (
                f" Of the {self.k} nearest {share:.1%} share the picture's class ({low:.1%} to {high:.1%}); with "
                f"random weights {other[0]:.1%} ({other[1]:.1%} to {other[2]:.1%}), by chance {data['chance']:.1%}."
            )
        return text + (
            f" In two dimensions {data['kept_neighbours']:.0%} of the neighbours would still be neighbours, with "
            f"{data['kept_variance']:.0%} of the variance."
        )

    def _called(self, number: int) -> str:
        label = self.labels[number]
        return (
            " (your own)"
            if self.own and number == len(self.labels) - 1
            else f" ({self.class_names[label]})"
            if label >= 0
            else ""
        )

    def figure(self) -> figures.Picture:
        """The query's neighbours, trained and random, with their distances, and the map with what it keeps."""
        data, query, shown = self.data, self.data["query"], min(self.k, 6)
        figure = figures.subplots(1, 1, figsize=(9.0, 3.9))[0]
        figure.clear()
        strips, flat = figure.subfigures(1, 2, width_ratios=(1.75, 1))
        axes = strips.subplots(2, shown + 1)
        for row, (name, view) in enumerate((("trained", self), ("random weights", self.twin))):
            order, distances = view.data["neighbours"][query], view.data["distances"][query]
            for column, axis in enumerate(axes[row]):
                number = query if column == 0 else int(order[column - 1])
                axis.imshow(np.asarray(self.thumbs[number]))
                axis.set(xticks=[], yticks=[])
                label = self.labels[number]
                same = column == 0 or (label >= 0 and label == self.labels[query])
                for spine in axis.spines.values():
                    spine.set(visible=True, linewidth=2.5 if same else 0.8, color="#009e73" if same else "#999999")
                words = self._called(number).strip(" ()").replace(" ", "\n") or str(number)
                axis.set_xlabel(f"{words}" if column == 0 else f"{distances[column - 1]:.3f}\n{words}", fontsize=8)
            share = view.data["agreement"]
            note = f": {share[0]:.1%} share the class ({share[1]:.1%} to {share[2]:.1%})" if share else ""
            # Left out of the layout, which would widen the first column for it.
            heading = axes[row, 0].text(0, 1.1, f"{name}{note}", transform=axes[row, 0].transAxes, fontsize=10)
            heading.set_in_layout(False)
        axis = flat.subplots()
        points = data["map"]
        axis.scatter(points[:, 0], points[:, 1], s=9, c="#999999", linewidths=0)
        for number in data["neighbours"][query]:
            axis.plot(*points[[query, number]].T, color="#0072b2", linewidth=0.8)
        axis.scatter(*points[query], s=45, c="#d55e00", zorder=3)
        axis.set_title(
            f"two principal components keep\n{data['kept_variance']:.0%} of the variance,\n"
            f"{data['kept_neighbours']:.0%} of the neighbours",
            fontsize=10,
        )
        axis.set_xlabel(f"lines: the query's true {self.k} nearest", fontsize=10)
        axis.tick_params(labelsize=9)
        return figures.show(figure, self.alt)

    def random_twin(self) -> Neighbours:
        """The same pictures in the net with random weights, its normalisations measured on these pictures."""
        twin = copy.copy(self)
        for name in ("data", "badge", "twin", "live"):
            twin.__dict__.pop(name, None)
        others = self.inputs[:: max(1, len(self.inputs) // CHUNK)][:CHUNK]
        twin.net = Probe(self.net, self.inputs[:1], transform=self.transform).twin(others=others).net
        twin.vectors, twin._read_error = vectors_of(twin.net, self.inputs)
        return twin

    def payload(self) -> dict[str, Any]:
        """The neighbours of all pictures, trained and random, and one sheet with all thumbnails."""
        sheet = Image.new("RGB", (COLUMNS * THUMB, -(-len(self.thumbs) // COLUMNS) * THUMB))
        for number, thumb in enumerate(self.thumbs):
            sheet.paste(thumb, (number % COLUMNS * THUMB, number // COLUMNS * THUMB))

        def sent(view: Neighbours) -> dict[str, Any]:
            data = view.data
            kept = ("distances", "map", "agreement", "kept_variance", "kept_neighbours")
            return {name: data[name] for name in kept} | {"neighbours": data["neighbours"].astype(np.int16)}

        return {
            "sheet": sheet,
            "columns": COLUMNS,
            "thumb": THUMB,
            "dimensions": self.vectors.shape[1],
            "labels": self.labels.astype(np.int16),
            "names": list(self.class_names),
            "called": [self._called(number) for number in range(len(self.labels))],
            "query": self.data["query"],
            "chance": self.data["chance"],
            "trained": sent(self),
            "random": sent(self.twin),
        }

    def message(self, *, live: bool = False, twin: bool = False) -> dict[str, Any]:
        """Both nets are in one payload, side by side: there is no switch between them."""
        return super().message(live=live, twin=False) | {"twins": False}


# Vectors -------------------------------------------------------------------------------------------------------------


def vectors_of(net: nn.Module, inputs: Tensor) -> tuple[np.ndarray, float | None]:
    """What the last linear layer reads of each input, (n, dimensions), and how far its logits are from the net's own.

    Of a net without a linear layer, what it puts out, and None. Raises NotInThisNet where that is no vector.
    """
    weight = next(net.parameters())
    layers = [module for module in net.modules() if isinstance(module, nn.Linear)]
    read: list[tuple[nn.Module, Tensor]] = []  # in the order in which the layers are run
    hooks = [
        lambda m=layer: m.register_forward_hook(lambda m, given, out: read.append((m, given[0].detach())))
        for layer in layers
    ]
    found, errors = [], []
    with evaluating(net), torch.no_grad(), hooked(hooks):
        for chunk in inputs.split(CHUNK):
            out = net(chunk.to(weight.device, weight.dtype))
            layer, vectors = read[-1] if read else (None, out)
            if not isinstance(vectors, Tensor) or vectors.ndim != 2:
                raise NotInThisNet(
                    f"Neighbours need one vector a picture, and {type(net).__name__} gives none: use a net that ends "
                    "in a linear layer, or one made with num_classes=0."
                )
            if layer is not None:
                errors.append(relative(layer(vectors), out))
            read.clear()
            found.append(vectors.cpu().double().numpy())
    return np.concatenate(found), max(errors) if errors else None


def toy_indices(each: int) -> list[int]:
    """The first `each` test pictures of every class of the toy world, class after class."""
    labels = ToyWorld("test").labels(range(1000))
    return [int(i) for label in range(len(ToyWorld.classes)) for i in np.flatnonzero(labels == label)[:each]]
