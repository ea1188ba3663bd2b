"""The class map: how much every cell of the last map adds to a logit, to the last digit.

Imports probing, figures, places and the frame.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch

from netwright import figures
from netwright.probing.capture import Probe, evaluating, hooked
from netwright.views.frame.assembling import Half
from netwright.views.maps.places import find_head, stage_places
from netwright.views.view import Identity, View, relative

FEW = 20  # classes of which every Grad-CAM is made at once
LIKELIEST = 4  # of more classes; the rest are made when they are asked for


class ClassMap(View):
    """Where in the picture a logit comes from, exactly: ``ClassMap(probe, "dots", against="stripes")``.

    Of a net that ends in a mean over space and one linear layer, the logit of class c is
    bias_c + Σ_p M_c(p) with M_c(p) = (1 / cells) Σ_k w_ck A_k(p), where A is the last map (Zhou et al. 2016,
    arXiv:1512.04150). M_c is signed and in the unit of a logit. What speaks for c rather than d is M_c - M_d.

    Beside it stands Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2), here before its ReLU:
    Σ_k α_k A_k(p), where α_k is the mean over the map of the logit's derivative. At the last map that is M_c itself,
    because there the derivative is w_ck / cells everywhere; at an earlier map it is a first-order approximation
    that sums to nothing.

    data: maps (classes, height, width), float32, logit; sums, bias and logits (classes,), logit; classes, their
    names; order, the classes from the likeliest on; target and against, numbers of classes, or None; places, of the
    maps that Grad-CAM is shown at; cam_classes (n,), and cams, for each place (n, height, width), logit, first-order;
    picture, as the net received it, and its size (height, width) in pixels.

    Raises NotInThisNet for a net without such a head, ProbeError for a class that is not there, ValueError where
    `target` and `against` are the same.
    """

    script = "class_map"
    asks = True
    title = "Class map"
    height = 760

    def __init__(self, probe: Probe, target: int | str | None = None, against: int | str | None = None):
        self.probe = probe
        self.head = find_head(probe)
        self.target = probe.target(target)
        self.against = None if against is None else probe.target(against)
        if self.against == self.target:
            raise ValueError(f"{self._name(self.target)!r} against itself is zero everywhere: choose another class.")
        linear = probe.net.get_submodule(self.head.linear)
        # Sums in double precision, on the CPU as not every device has it: what is left over is then the net's own
        # rounding, not ours.
        features = self.head.features.cpu().double()  # (channels, height, width)
        weight, bias = linear.weight.detach().cpu().double(), linear.bias
        maps = torch.einsum("ck,khw->chw", weight, features) / features[0].numel()
        self.maps = maps.numpy()  # (classes, height, width)
        self.bias = np.zeros(len(self.maps)) if bias is None else bias.detach().cpu().double().numpy()
        self.logits = probe.logits.cpu().double().numpy()

    def _name(self, number: int) -> str:
        return self.probe.class_names[number]

    @cached_property
    def places(self) -> list[str]:
        """The maps that Grad-CAM is shown at: the last of each resolution, and the one that the class map is of."""
        last = tuple(self.head.features.shape[1:])
        earlier = stage_places(self.probe).items()
        return [place for place, size in earlier if size != last and place != self.head.place] + [self.head.place]

    @cached_property
    def _graph(self) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """One pass with its history: the logits, and the maps at `places`. Every Grad-CAM is one pass back."""
        net, kept = self.probe.net, {}

        def keep(place):
            def look(_, given, out):
                kept[place] = out
                return out.clone()  # what follows may write in place

            return look

        hooks = [(lambda at=place: net.get_submodule(at).register_forward_hook(keep(at))) for place in self.places]
        with evaluating(net), hooked(hooks), torch.enable_grad():
            logits = net(self.probe.input.clone().requires_grad_())
        return logits[0], [kept[place] for place in self.places]

    def grad_cam(self, number: int, at: slice = slice(None)) -> list[np.ndarray]:
        """Grad-CAM before its ReLU of a class, for each of `places[at]` (height, width): Σ_k α_k A_k."""
        logits, maps = self._graph[0], self._graph[1][at]
        slopes = torch.autograd.grad(logits[number], maps, retain_graph=True)
        pairs = zip(slopes, maps, strict=True)
        return [(slope.mean((2, 3), keepdim=True) * it.detach()).sum((0, 1)).cpu().numpy() for slope, it in pairs]

    @cached_property
    def data(self) -> dict[str, Any]:
        order = np.argsort(-self.logits, kind="stable")
        wanted = order if len(order) <= FEW else order[:LIKELIEST]
        chosen = [self.target] + ([] if self.against is None else [self.against])
        cam_classes = list(dict.fromkeys([*chosen, *wanted.tolist()]))
        by_class = [self.grad_cam(number) for number in cam_classes]
        return {
            "maps": self.maps.astype(np.float32),
            "sums": self.maps.sum((1, 2)).astype(np.float32),
            "bias": self.bias.astype(np.float32),
            "logits": self.logits.astype(np.float32),
            "classes": list(self.probe.class_names),
            "order": order.astype(np.int32),
            "target": self.target,
            "against": self.against,
            "places": self.places,
            "cam_classes": np.array(cam_classes, dtype=np.int32),
            "cams": [np.stack(cams) for cams in zip(*by_class, strict=True)],
            "picture": self.probe.picture,
            "size": tuple(self.probe.input.shape[2:]),
        }

    def identities(self) -> list[Identity]:
        """The maps of all classes sum to their logits; Grad-CAM, by autograd, is the class map at the last map."""
        data = self.data
        sums = data["maps"].astype(np.float64).sum((1, 2)) + data["bias"]
        chosen = data["cam_classes"]
        same = relative(data["cams"][-1], data["maps"][chosen])
        return [
            Identity("cells and bias sum to the logit", relative(sums, self.logits)),
            Identity("Grad-CAM before its ReLU is the same map here", same),
        ]

    @property
    def shown(self) -> np.ndarray:
        """The map of the target, or of the target less the other class: (height, width), logit."""
        shown = self.maps[self.target]
        return shown if self.against is None else shown - self.maps[self.against]

    @property
    def ledger(self) -> tuple[float, float, float]:
        """Of what is shown: the sum of the cells, the bias, and the logit that they are to add up to."""
        bias, logit = (0.0, 0.0) if self.against is None else (self.bias[self.against], self.logits[self.against])
        return self.shown.sum(), self.bias[self.target] - bias, self.logits[self.target] - logit

    @property
    def alt(self) -> str:
        """The sum, and the cells that add and take most."""
        rows, columns = self.shown.shape
        total, bias, logit = self.ledger
        what = f"“{self._name(self.target)}”"
        if self.against is not None:
            what += f" rather than “{self._name(self.against)}”"
        most, least = (divmod(int(at), columns) for at in (self.shown.argmax(), self.shown.argmin()))
        return (
            f"Class map for {what}, {rows} × {columns} cells over the picture: they sum to {total:+.3f}, and with the "
            f"bias, {bias:+.3f}, to {'the logit' if self.against is None else 'the difference of the logits'}, "
            f"{logit:+.3f}. Row {most[0]}, column {most[1]} adds most, {self.shown[most]:+.3f}; row {least[0]}, column "
            f"{least[1]} least, {self.shown[least]:+.3f}."
        ).replace("-", "−")

    def figure(self) -> figures.Picture:
        """The picture, the class map, the class map over the picture, and Grad-CAM at the map before the last."""
        data, last = self.data, self.places[-1]
        before = max(0, len(self.places) - 2)

        def cam(at: int) -> np.ndarray:
            maps = dict(zip(data["cam_classes"].tolist(), data["cams"][at], strict=True))
            return maps[self.target] - (0 if self.against is None else maps[self.against])

        figure, axes = figures.subplots(1, 4, figsize=(9.0, 3.1))
        picture = np.asarray(data["picture"])
        height, width = picture.shape[:2]
        whole = (0, width, height, 0)
        reach = float(np.abs(self.shown).max()) or 1.0
        for axis in axes:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        axes[0].imshow(picture, extent=whole)
        axes[0].set_title("what the net received", fontsize=10)
        scale = {"cmap": figures.DIVERGING, "vmin": -reach, "vmax": reach, "extent": whole}
        drawn = axes[1].imshow(self.shown, **scale)
        rows, columns = self.shown.shape
        if columns <= 4:  # numbers that can be read
            for row, column in np.ndindex(rows, columns):
                value = self.shown[row, column]
                ink = "white" if abs(value) > 0.6 * reach else "black"
                at = (column + 0.5) * width / columns, (row + 0.5) * height / rows
                text = f"{value:+.2f}".replace("-", "−")
                axes[1].text(*at, text, ha="center", va="center", fontsize=10, color=ink)
        total, bias, logit = self.ledger
        name = "logit" if self.against is None else "difference"
        axes[1].set_title(f"class map, {rows} × {columns}", fontsize=10)
        axes[1].set_xlabel(f"{total:+.2f} {bias:+.2f} (bias)\n= {name} {logit:+.2f}".replace("-", "−"), fontsize=10)
        axes[2].imshow(np.asarray(data["picture"].convert("L")), cmap="gray", vmin=0, vmax=255, extent=whole)
        axes[2].imshow(self.shown, alpha=0.6, **scale)
        axes[2].set_title("over the picture", fontsize=10)
        approximate = cam(before)
        own = float(np.abs(approximate).max()) or 1.0
        other = axes[3].imshow(approximate, cmap=figures.DIVERGING, vmin=-own, vmax=own, extent=whole)
        exact = self.places[before] == last
        axes[3].set_title(f"Grad-CAM, {self.places[before]}", fontsize=10)
        axes[3].set_xlabel("the same map" if exact else "first-order only,\nits sum is no logit", fontsize=10)
        for axis, image in ((axes[1], drawn), (axes[3], other)):
            bar = figure.colorbar(image, ax=axis, location="bottom", shrink=0.9, pad=0.03)
            bar.set_label("logit", fontsize=10)
            bar.ax.tick_params(labelsize=9)
        whom = self._name(self.target) + ("" if self.against is None else f" rather than {self._name(self.against)}")
        figure.suptitle(whom, fontsize=12)
        return figures.show(figure, self.alt)

    def random_twin(self) -> ClassMap:
        """The map of the same class in the net with random weights."""
        return ClassMap(self.probe.twin(), self.target, self.against)

    def payload(self) -> dict[str, Any]:
        """`data`; of many classes the maps in two bytes a number, which three digits are enough for."""
        many = len(self.maps) > FEW
        return self.data | ({"maps": Half(self.data["maps"])} if many else {})

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """{"cam": class, "place": number}: its Grad-CAM at one of `places`; the later the map, the sooner."""
        if "cam" not in question:
            return super().answer(question)
        at = int(question["place"])
        return {"cam": self.grad_cam(self.probe.target(int(question["cam"])), slice(at, at + 1))[0]}
