"""The league table of explanations, with intervals, random twins and chance. Imports explain, figures and the frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netwright import figures
from netwright.explain import league
from netwright.explain.methods import METHODS
from netwright.views.view import Identity, View

# Some dozen intervals of 95 % are looked at together; 3.29 / 1.96 of a half width is that of 99.9 %.
WIDER = 1.68
WORDS = {
    "pointing": ("Pointing game", "share of pictures whose largest number lies in the cause"),
    "mass": ("Mass in the cause", "share of the positive mass that lies in the cause"),
    "lift": ("Mass over chance", "mass in the cause over the cause's share of the picture"),
    "deletion": ("Deletion", "area under p while cells go, over that of random orders: less is better"),
}


class League(View):
    """Every explanation marked against the pixels that cause the label: ``League()``.

    record: what `explain.league.grade` made; None is the recorded table, data/toy/explanations.json. The toy world
    knows which pixels make a picture what it is, so that a map can be wrong. Chance for the pointing game and the mass
    is the cause's share of the picture; what a method scores with random weights stands beside it, and is the bar that
    counts where a map is multiplied by the picture: that product knows the picture before it knows the net.

    data: rows, each net, group, method, of (pictures), and pointing, mass, lift, deletion as [value, low, high] (95 %,
    Wilson for pointing, else bootstrap), twin, the same and agreement (Spearman) for random weights, or None; chance:
    net → group → share; methods: name → title and kind; pictures (of each group) and how the record was made.
    """

    script = "league"
    title = "League table of explanations"
    height = 820

    def __init__(self, record: dict[str, Any] | None = None):
        self.record = league.results() if record is None else record
        self.recorded = record is None

    @property
    def data(self) -> dict[str, Any]:
        present = dict.fromkeys(row["method"] for row in self.record["rows"])
        return self.record | {
            "methods": {name: {"title": METHODS[name].title, "kind": METHODS[name].kind} for name in present},
            "words": WORDS,
            "best_is_low": ["deletion"],
            "recorded": self.recorded,
        }

    def rows(self, net: str | None = None, group: str = league.ALL, method: str | None = None) -> list[dict[str, Any]]:
        """The rows of a group, of a net (None: all nets) and a method (None: all)."""
        rows = [row for row in self.record["rows"] if row["group"] == group]
        return [row for row in rows if net in (None, row["net"]) and method in (None, row["method"])]

    def identities(self) -> Sequence[Identity]:
        """Shares are shares, intervals hold their means, no map knows nothing better than by lot, every twin is there."""
        rows = self.record["rows"]
        marked = [*rows, *(row["twin"] for row in rows if row["twin"])]
        shares = np.array([it[name] for it in marked for name in ("pointing", "mass")], dtype=float)
        triples = np.array([it[name] for it in marked for name in league.SCORES if name in it], dtype=float)
        inside = np.maximum(triples[:, 1] - triples[:, 0], triples[:, 0] - triples[:, 2]).max()
        wanted = [row for row in rows if METHODS[row["method"]].kind != "control"]
        found = [
            Identity("scores within 0 and 1", max(0.0, float(np.maximum(shares - 1, -shares).max())), 1e-9),
            Identity("intervals hold their means", max(0.0, float(inside)), 2e-4),
            Identity("every map has its twin", float(sum(row["twin"] is None for row in wanted)), 0.0),
        ]
        if off := self._random_off():
            found.append(Identity("random maps at chance, in half intervals", max(off), WIDER))
        return found

    def _random_off(self) -> list[float]:
        """For each net and score, how far the random map is from chance, in half widths of its interval."""
        off = []
        for row in self.rows(method="random"):
            area = self.record["chance"][row["net"]][league.ALL]
            for name, chance in {"pointing": area, "mass": area, "lift": 1.0, "deletion": 1.0}.items():
                if name in row:
                    value, low, high = row[name]
                    side = (value - low) if chance < value else (high - value)
                    off.append(abs(value - chance) / max(side, 1e-4))
        return off

    @property
    def alt(self) -> str:
        """The best and the worst explanation in the pointing game, with intervals, twins and chance."""
        rows = [row for row in self.rows() if METHODS[row["method"]].kind == "explains"]
        best, worst = (pick(rows, key=lambda row: row["pointing"][0]) for pick in (max, min))
        nets = list(dict.fromkeys(row["net"] for row in rows))
        areas = [self.record["chance"][net][league.ALL] for net in nets]
        edges = [row["pointing"][0] for row in self.rows(method="edges")]
        said = f"The picture's edges alone hit {np.mean(edges):.0%} on average. " if edges else ""
        return (
            f"League table of {len({row['method'] for row in self.record['rows']})} maps on {len(nets)} toy nets, "
            f"{self.record['pictures']} pictures a group. Pointing game, all groups: best {_told(best)}; worst "
            f"{_told(worst)}. {said}Chance is the cause's share of the picture, {np.mean(areas):.0%}."
        )

    def figure(self, group: str = league.ALL) -> figures.Picture:
        """A panel a score: a dot and interval for each method and net, hollow for its twin, chance as a line."""
        names = ("pointing", "lift", "deletion")
        nets = list(dict.fromkeys(row["net"] for row in self.record["rows"]))
        methods = list(dict.fromkeys(row["method"] for row in self.record["rows"]))
        mean = {it: np.mean([row["pointing"][0] for row in self.rows(None, group, it)]) for it in methods}
        methods.sort(key=lambda it: (METHODS[it].kind != "control", mean[it]))
        figure, axes = figures.subplots(1, 3, figsize=(9, 1.6 + 0.42 * len(methods)), sharey=True)
        for axis, score in zip(axes, names, strict=True):
            for row in self.rows(None, group):
                if score not in row:
                    continue
                at, ink = nets.index(row["net"]), figures.CYCLE[nets.index(row["net"])]
                y = methods.index(row["method"]) + 0.27 - 0.54 * at / max(len(nets) - 1, 1)
                for it, fill, thick in ((row["twin"], "white", 0.8), (row, ink, 1.6)):
                    if it:
                        value, low, high = it[score]
                        axis.plot([low, high], [y, y], color=ink, linewidth=thick, alpha=1 if it is row else 0.55)
                        axis.plot(value, y, "osD^v"[at % 5], color=ink, markerfacecolor=fill, markersize=4)
            chance = np.mean([self.record["chance"][net][group] for net in nets]) if score == "pointing" else 1.0
            axis.axvline(chance, color="0.3", linestyle="--", linewidth=1)
            axis.set_title(WORDS[score][0], fontsize=11)
            axis.set_xlabel(
                {"pointing": "share of pictures", "lift": "times chance", "deletion": "times random orders"}[score],
                fontsize=10,
            )
            axis.set_xlim(0, 1.02 if score == "pointing" else None)
            axis.grid(axis="y", color="0.92", linewidth=0.6)
            axis.tick_params(labelsize=9)
        axes[0].set_yticks(range(len(methods)), [METHODS[it].title.split(" (")[0] for it in methods], fontsize=10)
        for at, net in enumerate(nets):
            axes[0].plot([], [], marker="osD^v"[at % 5], color=figures.CYCLE[at], markersize=5, label=net)
        axes[0].plot([], [], "o", color="0.3", markerfacecolor="white", label="with random weights")
        axes[0].plot([], [], color="0.3", linestyle="--", linewidth=1, label="chance")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=9)
        return figures.show(figure, self.alt)


def _told(row: dict[str, Any]) -> str:
    value, low, high = row["pointing"]
    twin = f", {row['twin']['pointing'][0]:.0%} with random weights" if row["twin"] else ""
    return f"{METHODS[row['method']].title} on {row['net']}, {value:.0%} ({low:.0%} to {high:.0%}){twin}"
