"""The net as a map that unfolds from stages to tensors, with what each costs. Imports figures, measuring and view."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from matplotlib.patches import Patch, Rectangle
from torch import nn

from netwright import figures
from netwright.views.architecture.measuring import Run, input_shape, is_map, name_of, times, tree
from netwright.views.view import Identity, View

COUNTED = (
    "Counted: a multiply-add for every weight at every place of convolutions and linear layers, and for attention's "
    "own matrix products (query by key, query by position table, weight by value, keys in the padding included). "
    "Not counted: normalisation, activation, pooling, sums."
)


class Architecture(View):
    """A net's parts as a tree, measured while a picture of zeros runs through it once. Works for any module.

    input_size: a side in pixels, (height, width), or the input's shape without its batch; None for what the net says.

    data: `net` (its name), `input` (its shape), `parts` (a list in the order of the tree), `units` (numbers of the
    parts that stand for stem, blocks and head), `parameters` and `macs` (the whole net's, counted apart from the
    parts), `weighted` (the multiply-adds of convolutions and linear layers, counted twice: by the operators that ran,
    and as weights x places).
    Each part: `name`, `label` (its name inside its parent), `what`, `kind` ("module", "parameter", "buffer" or
    "products", a module's own matrix products), `level` (1 for the net), `parent` (number, or None), `shape_in` and
    `shape` (without the batch, or None), `stride` (side of the input / side of the map, or None), `parameters`,
    `macs` (multiply-adds for one picture, its parts' included), `runs` (how often it was called).

    A random twin would be the same map, since nothing here depends on the weights' values; so there is none.
    Raises NotInThisNet where the net cannot be run, or does not say how large its input is.
    """

    script = "architecture"
    height = 860

    def __init__(self, net: nn.Module, input_size=None):
        self.net = net
        self.input_shape = input_shape(net, input_size)
        self.title = f"Architecture of {name_of(net)}"
        self._run = Run(net, self.input_shape)

    @cached_property
    def data(self) -> dict[str, Any]:
        parts = tree(self.net, self._run, name_of(self.net))
        return {
            "net": name_of(self.net),
            "input": list(self.input_shape),
            "parts": parts,
            "units": _units(self.net, parts),
            "parameters": sum(p.numel() for p in self.net.parameters()),
            "macs": self._run.total,
            "weighted": list(self._run.weighted),
            "counted": COUNTED,
        }

    def identities(self) -> list[Identity]:
        data = self.data
        inner = {part["parent"] for part in data["parts"]}
        leaves = [part for i, part in enumerate(data["parts"]) if i not in inner]

        def off(found: int, expected: int) -> float:
            return abs(found - expected) / max(expected, 1)

        found = {key: sum(leaf[key] for leaf in leaves) for key in ("parameters", "macs")}
        by_operators, by_weights = data["weighted"]
        return [
            Identity("the parts' parameters sum to the net's", off(found["parameters"], data["parameters"]), 0.0),
            Identity("their multiply-adds to its total", off(found["macs"], data["macs"]), 0.0),
            Identity("weights × places count the same", off(by_weights, by_operators), 0.0),
        ]

    @property
    def alt(self) -> str:
        data = self.data
        units = [data["parts"][i] for i in data["units"]]
        heaviest, busiest = (max(units, key=lambda part, key=key: part[key]) for key in ("parameters", "macs"))
        return (
            f"{data['net']} for an input of {times(data['input'])}: {data['parameters']:,} parameters and "
            f"{data['macs'] / 1e9:.3g} GMACs in {len(units)} blocks and single parts. Most parameters: "
            f"{heaviest['name']} ({heaviest['parameters'] / max(data['parameters'], 1):.0%}); most multiply-adds: "
            f"{busiest['name']} ({busiest['macs'] / max(data['macs'], 1):.0%})."
        )

    def payload(self) -> dict[str, Any]:
        sorts = {i: self._sort_of(i) for i in self.data["units"]}
        return {**self.data, "sorts": [sorts[i] for i in self.data["units"]]}

    def _sort_of(self, number: int) -> str:
        """What kind of mixing a unit does, for its colour."""
        part = self.data["parts"][number]
        return _mixing(self.net.get_submodule(part["name"])) if part["kind"] == "module" else part["what"]

    def figure(self) -> figures.Picture:
        """The units from left to right: size of their maps, share of the parameters, share of the multiply-adds."""
        data = self.data
        units = [data["parts"][i] for i in data["units"]]
        sorts = [self._sort_of(i) for i in data["units"]]
        inks = {sort: figures.CYCLE[i % len(figures.CYCLE)] for i, sort in enumerate(dict.fromkeys(sorts))}
        figure, (top, middle, bottom) = figures.subplots(
            3, 1, figsize=(9.0, 6.6), sharex=True, gridspec_kw={"height_ratios": [1.7, 1, 1.15]}
        )
        sides = [part["shape"][-1] if is_map(part["shape"]) else 0 for part in units]
        highest = max([*sides, 1])
        for x, (part, side, sort) in enumerate(zip(units, sides, sorts, strict=True)):
            tall = max(side, 0.02 * highest) ** 0.5
            top.add_patch(Rectangle((x - 0.42, 0), 0.84, tall, facecolor=inks[sort], alpha=0.85, edgecolor="white"))
            shape, last = part["shape"], units[x - 1]["shape"] if x else None
            if shape and (not last or shape[0] != last[0] or len(shape) != len(last)):
                top.text(x - 0.42, tall + 0.03 * highest**0.5, shape[0], fontsize=9, va="bottom")
            if is_map(shape) and (not is_map(last) or shape[1:] != last[1:]) and tall > 0.3 * highest**0.5:
                words = f"{shape[1]}×{shape[2]}"
                top.text(
                    x, 0.04 * highest**0.5, words, fontsize=9, color="white", rotation=90, ha="center", va="bottom"
                )
        top.set(ylim=(0, 1.2 * highest**0.5), yticks=[])
        top.set_ylabel("side of the map,\nchannels above", fontsize=10)
        top.set_title(f"{data['net']}, input {times(data['input'])}")
        top.spines["left"].set_visible(False)
        top.legend(
            handles=[Patch(color=ink, alpha=0.85, label=sort) for sort, ink in inks.items()],
            loc="upper right", fontsize=9, ncols=1 + (len(inks) > 3),
        )  # fmt: skip
        for axis, key, words in (
            (middle, "parameters", f"% of {data['parameters'] / 1e6:.3g} M\nparameters"),
            (bottom, "macs", f"% of {data['macs'] / 1e9:.3g} G\nmultiply-adds"),
        ):
            shares = [100 * part[key] / max(data[key], 1) for part in units]
            bars = axis.bar(range(len(units)), shares, width=0.84, color=[inks[sort] for sort in sorts], alpha=0.85)
            if len(units) <= 40:
                axis.bar_label(bars, [f"{share:.0f}" if share >= 0.5 else "" for share in shares], fontsize=8)
            axis.set_ylabel(words, fontsize=10)
            axis.margins(x=0.01, y=0.15)
        step = 1 + len(units) // 45
        ticks = range(0, len(units), step)
        bottom.set_xticks(ticks, [units[i]["name"] for i in ticks], rotation=60, ha="right", fontsize=8.5)
        for label in bottom.get_xticklabels():
            label.set_rotation_mode("anchor")
        return figures.show(figure, self.alt)


def _units(net: nn.Module, parts: list[dict[str, Any]]) -> list[int]:
    """The parts that a picture of the whole net shows: what stands side by side in it, stages by their blocks."""
    inside: dict[int, list[int]] = {i: [] for i in range(len(parts))}
    for i, part in enumerate(parts):
        if part["parent"] is not None and part["kind"] in ("module", "products"):
            inside[part["parent"]].append(i)

    def is_row(number: int) -> bool:
        """Whether a part only puts blocks, or rows of blocks, behind one another."""
        module = net.get_submodule(parts[number]["name"])
        return isinstance(module, nn.Sequential) and inside[number] and all(map(is_block_or_row, inside[number]))

    def is_block_or_row(number: int) -> bool:
        module = net.get_submodule(parts[number]["name"])
        return is_row(number) if isinstance(module, nn.Sequential) else any(True for _ in module.children())

    def unfold(numbers: list[int]):
        for number in numbers:
            if parts[number]["kind"] == "module" and is_row(number):
                yield from unfold(inside[number])
            else:
                yield number

    used = [i for i in unfold(inside[0]) if parts[i]["parameters"] or parts[i]["macs"] or is_map(parts[i]["shape"])]
    return used or [0]


def _mixing(module: nn.Module) -> str:
    """How a part mixes places: its most particular layer."""
    found = {type(m).__name__ for m in module.modules()}
    for kind, words in (
        ("HaloAttention", "halo attention"), ("BotAttention", "global attention"), ("LambdaLayer", "lambda layer"),
        ("SplitAttention", "split attention"), ("HaloAttn", "halo attention"), ("SplitAttn", "split attention"),
    ):  # fmt: skip
        if kind in found:
            return words
    if any("attention" in kind.lower() or kind.lower().endswith("attn") for kind in found):
        return "attention"
    convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    if any(1 < m.groups for m in convolutions):
        return "grouped convolution"
    return "convolution" if convolutions else "linear layer" if "Linear" in found else "no weights"
