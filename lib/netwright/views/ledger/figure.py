"""The ledger as a still picture: bars, the strongest terms' maps, predicted against re-run change. Imports figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netwright.figures import CYCLE, DIVERGING, Picture, show, subplots

if TYPE_CHECKING:
    from netwright.views.ledger.ledger import Ledger

BARS = 14  # the largest terms; the others are one bar
MAPS = 4


def draw(ledger: Ledger) -> Picture:
    """Bars of the target's logit on the left; on the right maps above, and knock-outs below where they were made."""
    data, way = ledger.data, ledger.data["ways"][0]
    terms, labels = way["terms"][0], way["labels"]
    order = np.argsort(-np.abs(terms), kind="stable")
    figure, axis = subplots(figsize=(10.0, 6.2))
    axis.remove()
    left, right = figure.subfigures(1, 2, width_ratios=(3, 4))
    above, whole = left.subplots(2, 1, height_ratios=(min(len(terms), BARS + 1) + 3, len(data["extra_labels"]) + 4))
    upper, lower = right.subfigures(2, 1, height_ratios=(3, 4))

    extras = list(zip(data["extra_labels"], data["extras"][0], strict=True))
    shown = [(labels[j], terms[j]) for j in order[:BARS]]
    if len(terms) > BARS:
        shown.append((f"other {len(terms) - BARS} terms", terms[order[BARS:]].sum()))
    _bars(above, shown)
    above.set_title(f"{len(terms)} terms: {way['name']}", fontsize=10, loc="left")
    _bars(whole, [("terms together", terms.sum()), *extras])
    whole.set_title("the whole sum", fontsize=10, loc="left")
    whole.set_xlabel("share of the logit" + ("" if ledger.exact else ", to first order"), fontsize=10)

    picks = order[:MAPS]
    maps = way["maps"][0][picks]
    reach = float(np.abs(maps).max()) or 1.0
    panels = upper.subplots(1, len(picks), squeeze=False)[0]
    for axis, pick, values in zip(panels, picks, maps, strict=True):
        image = axis.imshow(values, cmap=DIVERGING, vmin=-reach, vmax=reach)
        axis.set_title(f"{labels[pick]}\n{_signed(terms[pick])}".replace(", ", ",\n", 1), fontsize=9)
        axis.set(xticks=[], yticks=[])
    bar = upper.colorbar(image, ax=panels, shrink=0.9, aspect=40, location="bottom")
    bar.set_label("logit units a position, one scale", fontsize=9)
    bar.ax.tick_params(labelsize=8)

    below = lower.subplots()
    if way["rerun"] is None:
        below.axis("off")
        below.text(0, 0.8, "Knock-outs of this block are made when asked for.", fontsize=10)
    else:
        for baseline, marker, ink in zip(ledger.baselines, "osD", CYCLE, strict=False):
            words = {"mean": "its mean over the picture", "zero": "zero", "dataset": "its mean over other pictures"}
            below.plot(
                way["predicted"][baseline][0], way["rerun"][baseline][0], marker, color=ink, markersize=5,
                alpha=0.8, label=words[baseline],
            )  # fmt: skip
        below.axline((0, 0), slope=1, color="#595959", linewidth=1, linestyle="--")
        below.set_xlabel("predicted change of the logit", fontsize=10)
        below.set_ylabel("change when run again", fontsize=10)
        below.tick_params(labelsize=9)
        below.set_title("each term replaced by", fontsize=10, loc="left")
        below.legend(fontsize=9, loc="upper left")
    badge = ledger.badge["text"].split(" · ")[0]
    figure.suptitle(f"{ledger.block}: {_short(data['names'][0])} {_signed(data['logits'][0])}   ({badge})", fontsize=12)
    return show(figure, alt=ledger.alt)


def _bars(axis, rows: list[tuple[str, float]]) -> None:
    """Bars from zero, each with its name and its number."""
    places, values = range(len(rows)), [value for _, value in rows]
    axis.barh(places, values, color=[CYCLE[0] if value >= 0 else CYCLE[1] for value in values])
    axis.set_yticks(places, [name for name, _ in rows], fontsize=9)
    axis.invert_yaxis()
    axis.axvline(0, color="black", linewidth=0.8)
    low, high = axis.get_xlim()
    room = 0.2 * (high - low)
    axis.set_xlim(low - room * (min(values) < 0), high + room * (max(values) > 0))
    axis.tick_params(axis="x", labelsize=9)
    for place, value in zip(places, values, strict=True):
        side = 1 if value >= 0 else -1
        axis.annotate(
            _signed(value), (value, place), xytext=(3 * side, 0), textcoords="offset points", fontsize=8,
            va="center", ha="left" if side > 0 else "right",
        )  # fmt: skip


def _signed(value) -> str:
    return f"{float(value):+.2f}".replace("-", "\u2212")


def _short(name: str, most: int = 40) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
