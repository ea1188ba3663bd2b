"""What `first_difference` answers: the rows, a sentence, a table and a heat strip.

Imports points and, when a picture is asked for, figures.
"""

import html
from dataclasses import dataclass

import numpy as np

from netwright.probing.points import Reading

DEEPEST = -16  # of the heat strip: float64 knows about 16 digits


@dataclass(frozen=True, eq=False)
class Row:
    """One trace point.

    status: "ok"; "differs" in value or in "shape"; "raised" an exception here, and what comes after was "not reached";
        "missing": the net has neither a module nor parameters for it; "unused": it has the module and never runs it;
        "not visible": no module of the net begins or ends here.
    error: the largest difference of mean, standard deviation and samples, in standard deviations of the expected
        tensor; None where nothing could be compared.
    place: the module whose output was read, or with ">" before it, whose input.
    """

    point: str
    status: str
    error: float | None
    place: str
    expected: Reading
    found: Reading | None
    note: str


@dataclass(frozen=True, eq=False)
class Difference:
    """A net beside the golden trace of `architecture`: `ok`, or `first`, the row where they part, with `hints`."""

    architecture: str
    rows: tuple[Row, ...]
    tolerance: float
    first: Row | None
    hints: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether everything that could be compared is equal."""
        return self.first is None

    def __bool__(self) -> bool:
        # "if first_difference(net)" reads as "if there is a difference", "assert first_difference(net)" as the opposite.
        raise TypeError("A Difference is neither true nor false: ask for .ok, or for .first, which is None when equal.")

    @property
    def agreed(self) -> Row | None:
        """The last point before the first departure that was compared and equal, or None."""
        before = self.rows[: self.rows.index(self.first)] if self.first else self.rows
        return next((row for row in reversed(before) if row.status == "ok"), None)

    @property
    def sentence(self) -> str:
        """The answer in words, without the hints."""
        trace = f"the golden trace of {self.architecture}"
        compared = [row.error for row in self.rows if row.error is not None]
        if self.first is None:
            count = "all" if len(compared) == len(self.rows) else f"{len(compared)} of"
            return (
                f"Equal to {trace} at {count} {len(self.rows)} points, the largest relative error {max(compared):.1g}."
            )
        departs = f"first departs at {self.first.point}: {self.first.note}"
        if hidden := self._hidden():
            departs += f" (or before it, where nothing can be seen: {', '.join(hidden)})"
        start = f"Equal to {trace} up to {self.agreed.point}; " if self.agreed else f"Nothing equals {trace}; "
        return f"{start}{departs}."

    def _hidden(self) -> list[str]:
        """The points between the last that agreed and the first departure, which nobody saw."""
        rows, start = self.rows, self.rows.index(self.agreed) + 1 if self.agreed else 0
        return [row.point for row in rows[start : rows.index(self.first)] if row.status == "not visible"]

    def __str__(self) -> str:
        return "\n".join([self.sentence, *(f"  {hint}" for hint in self.hints)])

    @property
    def alt(self) -> str:
        """The description of the figure."""
        return (
            f"Heat strip: the relative error at the {len(self.rows)} points of {self.architecture} from the input to "
            f"the logits, on a logarithmic scale from 1e{DEEPEST} to 1. {self.sentence}"
        )

    def figure(self):
        """The relative error along the depth as a strip of colours, the first departure marked: a `figures.Picture`."""
        import matplotlib as mpl

        from netwright import figures

        colours = mpl.colormaps[figures.SEQUENTIAL].with_extremes(bad="0.8")
        figure, axis = figures.subplots(figsize=(9, 2.2))
        strip = np.ma.masked_invalid([self._brightness(row) for row in self.rows])[None]  # (1, points)
        image = axis.imshow(strip, cmap=colours, vmin=DEEPEST, vmax=0, aspect="auto")
        axis.set_yticks([])
        axis.spines[:].set_visible(False)

        stages = {}  # "stages.0" -> the numbers of its points
        for i, row in enumerate(self.rows):
            if row.point.startswith("stages."):
                stages.setdefault(row.point[: len("stages.0")], []).append(i)
        axis.vlines([points[0] - 0.5 for points in stages.values()], -0.5, 0.5, color="white", linewidth=1.5)
        axis.set_xticks([sum(points) / len(points) for points in stages.values()], stages, fontsize=10)
        axis.tick_params(length=0)
        bar = figure.colorbar(image, ax=axis, ticks=[0, -4, -8, -12, DEEPEST], pad=0.02)
        bar.ax.set_yticklabels(["≥ 1", "1e-4", "1e-8", "1e-12", f"≤ 1e{DEEPEST}"], fontsize=9)
        bar.set_label("relative error", fontsize=10)

        title = f"{self.architecture}: equal to the golden trace"
        if self.first:
            title = f"{self.architecture}: first departs at {self.first.point}"
            at, above = self.rows.index(self.first), axis.get_xaxis_transform()
            axis.plot(at, 1.06, "v", color="#d55e00", markersize=11, clip_on=False, transform=above)
        if np.ma.is_masked(strip):
            title += "  (grey: nothing to compare)"
        axis.set_title(title, loc="left", fontsize=11, pad=20)
        return figures.show(figure, self.alt)

    def _brightness(self, row: Row) -> float:
        if row.error is not None:
            return float(np.clip(np.log10(max(row.error, 1e-300)), DEEPEST, 0))
        return 0.0 if row.status in ("shape", "raised") or row is self.first else np.nan

    def table(self, around: int = 2) -> str:
        """The rows about the first departure as an HTML table; all rows, if there is none."""
        at = self.rows.index(self.first) if self.first else 0
        rows = self.rows[max(0, at - around) : at + around + 1] if self.first else self.rows
        heads = ("point", "read at", "status", "error", "expected: mean ± std, samples", "found")
        lines = ["".join(f"<th>{head}</th>" for head in heads)]
        for row in rows:
            whole_net = "the net's input" if row.point == "input" else "the net's output"
            place = f"into {row.place[1:]}" if row.place.startswith(">") else row.place or whole_net
            error = "" if row.error is None else f"{row.error:.1g}"
            values = (row.point, place, row.status, error, _numbers(row.expected), _numbers(row.found))
            style = ' style="font-weight: bold"' if row is self.first else ""
            lines.append("".join(f"<td{style}>{html.escape(value)}</td>" for value in values))
        return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        picture = self.figure()._repr_mimebundle_()["text/html"]
        words = "".join(f"<p>{html.escape(line)}</p>" for line in (self.sentence, *self.hints))
        return {"text/html": words + picture + (self.table() if self.first else ""), "text/plain": str(self)}


def _numbers(reading: Reading | None) -> str:
    if reading is None:
        return ""
    samples = " ".join(f"{value:.3g}" for value in reading.samples[:3])
    return f"{reading.mean:.3g} ± {reading.std:.3g}, {samples} …"
