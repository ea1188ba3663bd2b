"""Are cardinal groups more than a way to save weights? What groups have in common, and how they are wired.

Imports groups_figure, parts, terms, view, assembling, probing, nets, toys and models.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netwright.figures import Picture
from netwright.models import transform_for
from netwright.nets.zoo import TOYS
from netwright.probing.capture import Probe, evaluating, hooked
from netwright.toys.world import ToyWorld
from netwright.views.frame.assembling import Half
from netwright.views.ledger.groups_figure import draw
from netwright.views.ledger.parts import CHUNKS
from netwright.views.ledger.terms import affine, last_block
from netwright.views.view import Identity, NotInThisNet, View, relative

PARTITIONS = 200  # random ones, to compare the groups with
TOY_PICTURES = 32
CELLS = 128  # rows and columns of the drawn weight, at most


class GroupStructure(View):
    """Groups of one block over many pictures and positions: likeness, rank, wiring (Xie et al. 2016, section 3.3).

    GroupStructure(probe_or_net, block=None, pictures=None): block "stages.2.1", by default the last one of the stage
    before the last; pictures a batch of ready inputs (n, channels, height, width), by default pictures of the toy world
    for a toy net, else eight crops and reflections of the probe's picture. Groups are the cardinal groups of a grouped
    convolution, the splits of split attention or the heads of attention; a dense convolution has none and is cut into
    equal runs, which must look like any random cut. Raises NotInThisNet, and ValueError without pictures.

    data: "labels" (groups,); "cka" (groups, groups), 0 to 1, linear CKA (Kornblith et al. 2019, equation 3); "order",
    the groups along its leading direction; "participation" (groups,), how many directions a group uses, 1 to its
    channels; "score", mean |correlation| of channels within groups minus between; "random" (200,) the same for random
    cuts into as large groups; "percentile" of the score among these, 0 to 100; "samples", pictures x positions;
    "profile" (groups, 3, 3) shares of the squared 3x3 weights, or None; "cells" (rows, columns) squared weights of the
    convolution in blocks of channels, or None; "wires" {"inputs", "outputs", "groups", "dense", "grouped"}: channels,
    and weights without and with groups; "between" (groups of the next block, groups), or None.
    """

    script = "groups"
    height = 900

    def __init__(self, probe_or_net: Probe | nn.Module, block: str | None = None, pictures: Tensor | None = None):
        given = probe_or_net if isinstance(probe_or_net, Probe) else None
        net = probe_or_net if given is None else given.net
        self.pictures = _pictures(net, given) if pictures is None else pictures.detach()
        self.probe = given or Probe(net, self.pictures[:1])
        last = last_block(self.probe)
        blocks = [step for step in self.probe.steps if step.startswith("stages.")]
        earlier = [step for step in blocks if step.split(".")[1] != last.split(".")[1]]
        self.block = block or (earlier or blocks)[-1]
        if self.block not in blocks:
            raise NotInThisNet(f"{self.block!r} is no block of this net; its blocks have names such as {last!r}.")
        self.next = blocks[blocks.index(self.block) + 1] if self.block != last else None
        self.kind, self.labels, place, self.conv = _groups_of(self.probe, self.block)
        self._place = place
        self.title = f"Groups of {self.block}: {len(self.labels)} {self.kind}"

    @cached_property
    def seen(self) -> Tensor:
        """(pictures x positions, channels): what the groups put out, centred."""
        found = []
        name, act = self._place
        module = self.probe.net.get_submodule(name)
        keep = module.register_forward_hook
        with evaluating(self.probe.net), torch.no_grad():
            for x in self.pictures.to(self.probe.input).split(8):
                with hooked([lambda: keep(lambda _, given, out: found.append(out.detach().float().clone()))]):
                    for step in self.probe.steps[: self.probe.steps.index(self.block) + 1]:
                        x = self.probe.net.get_submodule(step)(x)
        maps = torch.cat(found)  # (pictures, channels, height, width)
        maps = maps if act is None else act(maps)
        rows = maps.permute(0, 2, 3, 1).flatten(0, 2)
        return rows - rows.mean(0)

    @cached_property
    def data(self) -> dict[str, Any]:
        products = (self.seen.T @ self.seen).cpu().double().numpy()  # (channels, channels)
        count = len(self.labels)
        cka = likeness(products, count)
        score, random = against_random_cuts(products, count)
        weight = None if self.conv is None else self.conv.weight.detach().float().cpu()
        return {
            "labels": list(self.labels),
            "kind": self.kind,
            "cka": cka,
            "order": along_leading_direction(cka),
            "participation": participation(products, count),
            "channels": products.shape[0] // count,
            "score": score,
            "random": random,
            "percentile": float(100 * (random < score).mean()),
            "samples": len(self.seen),
            "pictures": len(self.pictures),
            "profile": None if weight is None else _profile(weight, count),
            "cells": None if weight is None else _cells(weight, self.conv.groups),
            "wires": None if weight is None else self._wires(),
            "between": self._between(),
            "next": self.next,
        }

    def _wires(self) -> dict[str, int]:
        conv = self.conv
        area = conv.kernel_size[0] * conv.kernel_size[1]
        dense = conv.in_channels * conv.out_channels * area
        return {
            "inputs": conv.in_channels, "outputs": conv.out_channels, "groups": conv.groups, "dense": dense,
            "grouped": dense // conv.groups,
        }  # fmt: skip

    def _between(self) -> np.ndarray | None:
        """(groups of the next block, groups of this): ||W1[g', :] diag(s) W3[:, g]||, a path's weights multiplied out.

        It ignores the activation between the blocks and what the shortcut brings.
        """
        if self.next is None:
            return None
        net = self.probe.net
        reduce, expand = (dict(net.get_submodule(f"{name}").named_children()) for name in (self.next, self.block))
        here = _grouped_conv(expand.get("middle"))
        there = _grouped_conv(reduce.get("middle"))
        if here is None or there is None or "reduce" not in reduce or "expand" not in expand:
            return None
        # Behind split attention the splits are added up: only its cardinal groups keep their channels apart.
        split = getattr(expand["middle"], "attention", None)
        columns, rows = (here.groups if split is None else split.cardinality), there.groups
        if columns == 1:
            return None
        first = next(it for it in reduce["reduce"].modules() if isinstance(it, nn.Conv2d)).weight.detach().float()
        last = next(it for it in expand["expand"].modules() if isinstance(it, nn.Conv2d)).weight.detach().float()
        norm = next((it for it in expand["expand"].modules() if isinstance(it, nn.BatchNorm2d | nn.GroupNorm)), None)
        name = next(name for name, it in expand["expand"].named_children() if isinstance(it, nn.Conv2d))
        scale, _ = affine(norm, lambda: self.probe[f"{self.block}.expand.{name}"])
        product = first[:, :, 0, 0] @ (scale[:, None] * last[:, :, 0, 0])  # (next middle, middle)
        blocks = product.square().unflatten(1, (columns, -1)).unflatten(0, (rows, -1)).sum((1, 3)).sqrt()
        return blocks.cpu().numpy()

    def identities(self) -> list[Identity]:
        cka = self.data["cka"]
        alive = self.data["participation"] > 0
        found = [Identity("each group is wholly like itself", relative(np.diag(cka)[alive], np.ones(alive.sum())))]
        if self.conv is not None:
            found.append(Identity("groups alone rebuild the convolution", self._rebuilt()))
        return found

    def _rebuilt(self) -> float:
        """How far the layer is from its groups run one by one, each on the channels that the wiring gives it."""
        conv, groups = self.conv, self.conv.groups
        name = next(name for name, module in self.probe.net.named_modules() if module is conv)
        given, out = self.probe[f">{name}"].float(), self.probe[name]
        weight = conv.weight.detach().float()
        reads, makes = conv.in_channels // groups, conv.out_channels // groups
        how = conv.stride, conv.padding, conv.dilation
        alone = [
            F.conv2d(given[:, g * reads : (g + 1) * reads], weight[g * makes : (g + 1) * makes], None, *how)
            for g in range(groups)
        ]
        together = torch.cat(alone, 1) + (0 if conv.bias is None else conv.bias.detach()[:, None, None])
        return relative(together, out)

    def random_twin(self) -> GroupStructure:
        return GroupStructure(self.probe.twin(), self.block, self.pictures)

    @property
    def alt(self) -> str:
        data = self.data
        off = data["cka"][~np.eye(len(self.labels), dtype=bool)]
        most = np.unravel_index(np.argmax(np.triu(data["cka"], 1)), data["cka"].shape)
        text = (
            f"{len(self.labels)} {self.kind} of {self.block} over {data['samples']} positions of {data['pictures']} "
            f"pictures: mean likeness (CKA) {off.mean() if len(off) else 1:.2f}, most {data['cka'][most]:.2f} between "
            f"{self.labels[most[0]]} and {self.labels[most[1]]}. Correlation within minus between groups "
            f"{data['score']:.3f}, at percentile {data['percentile']:.0f} of {len(data['random'])} random cuts. "
            f"A group uses {np.median(data['participation']):.1f} of its {data['channels']} directions (median)."
        )
        if data["wires"]:
            wires = data["wires"]
            text += f" The convolution has {wires['grouped']:,} weights in {wires['groups']} groups; dense {wires['dense']:,}."
        return text

    def payload(self) -> dict[str, Any]:
        return self.data | {
            "cells": None if self.data["cells"] is None else Half(self.data["cells"]),
            "block": self.block,
        }

    def figure(self) -> Picture:
        return draw(self)


# The numbers -------------------------------------------------------------------------------------------------------


def likeness(products: np.ndarray, groups: int) -> np.ndarray:
    """Linear CKA between equal runs of channels, (groups, groups); products: (channels, channels), Y^T Y centred.

    ||Y_g^T Y_h||^2 / (||Y_g^T Y_g|| ||Y_h^T Y_h||), Frobenius. A group that never varies is like nothing: 0.
    """
    size = len(products) // groups
    shared = (products**2).reshape(groups, size, groups, size).sum((1, 3))
    own = np.sqrt(np.diag(shared))
    return shared / np.maximum(np.outer(own, own), 1e-30)


def participation(products: np.ndarray, groups: int) -> np.ndarray:
    """(sum of eigenvalues)^2 / sum of their squares, of each group's covariance: how many directions it uses."""
    parts = products.reshape(groups, len(products) // groups, groups, -1)
    own = np.stack([parts[g, :, g] for g in range(groups)])
    return np.trace(own, axis1=1, axis2=2) ** 2 / np.maximum((own**2).sum((1, 2)), 1e-30)


def against_random_cuts(products: np.ndarray, groups: int, count: int = PARTITIONS) -> tuple[float, np.ndarray]:
    """Mean |correlation| of two channels of one group minus of two groups; and the same for `count` random cuts."""
    deviation = np.sqrt(np.maximum(np.diag(products), 1e-30))
    alike = np.abs(products) / np.outer(deviation, deviation)
    np.fill_diagonal(alike, 0)
    channels, size, total = len(alike), len(alike) // groups, alike.sum()

    def score(order: np.ndarray) -> float:
        runs = order.reshape(groups, size)
        within = alike[runs[:, :, None], runs[:, None, :]].sum()
        pairs = groups * size * (size - 1)
        return within / max(pairs, 1) - (total - within) / max(channels * (channels - 1) - pairs, 1)

    rng = np.random.default_rng(0)
    return float(score(np.arange(channels))), np.array([score(rng.permutation(channels)) for _ in range(count)])


def along_leading_direction(alike: np.ndarray) -> np.ndarray:
    """An order that puts like beside like: along the leading eigenvector of the matrix, its rows' means taken off."""
    centred = alike - alike.mean(0) - alike.mean(1)[:, None] + alike.mean()
    _, vectors = np.linalg.eigh(centred)
    leading = vectors[:, -1] * (1 if vectors[np.abs(vectors[:, -1]).argmax(), -1] > 0 else -1)
    return np.argsort(leading, kind="stable")


def _profile(weight: Tensor, groups: int) -> np.ndarray:
    """(groups, height, width): the share of a group's squared weights at each place of the kernel."""
    energy = weight.square().unflatten(0, (groups, -1)).sum((1, 2))
    return (energy / energy.sum((1, 2), keepdim=True).clamp_min(1e-30)).numpy()


def _cells(weight: Tensor, groups: int) -> np.ndarray:
    """Squared weights, summed over the kernel and over blocks of channels, (rows, columns) of outputs and inputs."""
    energy = weight.square().sum((2, 3))  # (outputs, inputs of a group)
    outputs, reads = len(energy), energy.shape[1]
    rows, columns = (_block(n, m) for n, m in ((outputs // groups, outputs), (reads, reads * groups)))
    small = energy.reshape(outputs // rows, rows, reads // columns, columns).sum((1, 3)).numpy()
    cells = np.zeros((outputs // rows, reads * groups // columns), np.float32)
    high, wide = len(small) // groups, small.shape[1]
    for g in range(groups):
        cells[g * high : (g + 1) * high, g * wide : (g + 1) * wide] = small[g * high : (g + 1) * high]
    return cells


def _block(of_group: int, of_all: int) -> int:
    """How many channels are drawn as one: a divisor of a group's, so that at most CELLS are drawn where that can be."""
    return next((n for n in range(1, of_group + 1) if of_group % n == 0 and of_all // n <= CELLS), of_group)


def _grouped_conv(middle: nn.Module | None) -> nn.Conv2d | None:
    convs = [] if middle is None else [it for it in middle.modules() if isinstance(it, nn.Conv2d)]
    return next((it for it in convs if it.kernel_size != (1, 1) and it.groups > 1), None)


def _groups_of(probe: Probe, block: str):
    """Kind, labels, (place, what is done to it there) and convolution of the groups of a block."""
    middle = getattr(probe.net.get_submodule(block), "middle", None)
    if middle is None:
        raise NotInThisNet(f"{block} is no bottleneck with a `middle`: there is nothing that groups could be in.")
    attention = getattr(middle, "attention", None)
    if hasattr(attention, "radix"):
        splits = [f"split {r}" for r in range(attention.radix)] if attention.radix > 1 else []
        groups = [f"group {k}" for k in range(attention.cardinality)] if attention.cardinality > 1 else []
        labels = [f"{it}, {k}" for it in splits for k in groups] or splits or groups or ["group 0"]
        kind = "splits" if splits else "cardinal groups"
        return kind, labels, (f"{block}.middle.attention.norm", attention.act), attention.conv
    if hasattr(attention, "heads"):
        return "heads", [f"head {n}" for n in range(attention.heads)], (f"{block}.middle.attention", None), None
    conv = _grouped_conv(middle)
    if conv is not None:
        return "cardinal groups", [f"group {g}" for g in range(conv.groups)], (f"{block}.middle", None), conv
    conv = next((it for it in middle.modules() if isinstance(it, nn.Conv2d)), None)
    if conv is None:
        raise NotInThisNet(f"The middle of {block} is neither a convolution nor attention: it has no groups.")
    count = next(n for n in range(min(CHUNKS, conv.out_channels), 0, -1) if conv.out_channels % n == 0)
    return "arbitrary chunks", [f"chunk {i}" for i in range(count)], (f"{block}.middle", None), conv


def _pictures(net: nn.Module, probe: Probe | None) -> Tensor:
    """A fixed set: of the toy world for a toy net that takes its colours, else crops and reflections of the picture."""
    in_colour = probe is None or probe.input.shape[1] == 3
    if in_colour and getattr(net, "config", None) in TOYS.values():
        world, transform = ToyWorld("test"), transform_for(net)
        return torch.stack([transform(world[i]["image"]) for i in range(TOY_PICTURES)])
    if probe is None:
        raise ValueError(
            "Over which pictures? Give pictures=, a batch of ready inputs, or a probe in place of the net."
        )
    height, width = probe.input.shape[2:]
    cuts = [(0, 0, 1.0), (0, 0, 0.8), (0.2, 0.2, 0.8), (0.1, 0.1, 0.8)]
    views = []
    for down, across, share in cuts:
        top, left = int(down * height), int(across * width)
        cut = probe.input[:, :, top : top + int(share * height), left : left + int(share * width)]
        views.append(F.interpolate(cut, size=(height, width), mode="bilinear", antialias=True, align_corners=False))
    return torch.cat([*views, *(it.flip(3) for it in views)])
