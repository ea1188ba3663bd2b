"""The pictures of notebook 02: what is in a file, where its tensors go, what wrong pixels do, where patients depart.

Imports figures, transforms and probing's Difference.
"""

import json
import pickletools
import zipfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path as Curve
from torch import Tensor

from netwright import figures
from netwright.probing.result import DEEPEST, Difference
from netwright.transforms import Transform

# What is in a file ---------------------------------------------------------------------------------------------

PROGRAM, DATA, NUMBERS, REST = "names, as a program (pickle)", "names, as data (JSON)", "numbers", "bookkeeping"
KINDS = {PROGRAM: "#d55e00", DATA: "#009e73", NUMBERS: "#0072b2", REST: "#d9d9d9"}


def anatomy(path: str | Path) -> list[tuple[str, int, int]]:
    """The parts of a checkpoint file in order: (kind, first byte, byte after the last), kinds as in KINDS."""
    path = Path(path)
    with open(path, "rb") as file:
        start = file.read(9)
    if start[:2] == b"PK":
        parts = _zip_parts(path)
    elif start[8:9] == b"{":
        parts = _safetensors_parts(path)
    else:
        parts = _legacy_parts(path)
    whole, at = [], 0
    for kind, first, end in [
        *sorted(parts, key=lambda part: part[1]),
        (REST, path.stat().st_size, path.stat().st_size),
    ]:
        if first > at:
            whole.append((REST, at, first))  # lengths, paddings, directories
        if end > first:
            whole.append((kind, first, end))
        at = end
    return whole


def _zip_parts(path: Path) -> list[tuple[str, int, int]]:
    parts = []
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        for member in archive.infolist():
            _, _, name = member.filename.partition("/")
            file.seek(member.header_offset + 26)  # where a member's own header says how long its name and padding are
            lengths = file.read(4)
            first = member.header_offset + 30 + sum(int.from_bytes(lengths[i : i + 2], "little") for i in (0, 2))
            kind = PROGRAM if name == "data.pkl" else NUMBERS if name.startswith("data/") else REST
            parts.append((kind, first, first + member.file_size))
    return parts


def _safetensors_parts(path: Path) -> list[tuple[str, int, int]]:
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    entries = json.loads(content[8:end])
    offsets = [entry["data_offsets"] for name, entry in entries.items() if name != "__metadata__"]
    return [(DATA, 8, end), *((NUMBERS, end + first, end + last) for first, last in offsets)]


def _legacy_parts(path: Path) -> list[tuple[str, int, int]]:
    """Five pickles (mark, version, sizes of types, the dictionary, the order of its storages), then the numbers."""
    with open(path, "rb") as file:
        ends = [0]
        for _ in range(5):
            for _ in pickletools.genops(file):
                pass
            ends.append(file.tell())
        file.seek(ends[4])
        storages = sum(opcode.name.endswith("UNICODE") for opcode, *_ in pickletools.genops(file))
    lengths = 8 * storages  # one before each storage; here they are taken together, ahead of all numbers
    return [(PROGRAM, ends[3], ends[4]), (NUMBERS, ends[5] + lengths, path.stat().st_size)]


def draw_anatomy(files: Mapping[str, Path]) -> figures.Picture:
    """One bar a file, byte by byte from left to right, coloured by what the bytes are."""
    figure, axis = figures.subplots(figsize=(9, 0.62 * len(files) + 1.3))
    shares = []
    for row, (name, path) in enumerate(files.items()):
        parts = anatomy(path)
        for kind, first, end in parts:
            axis.barh(row, end - first, left=first, color=KINDS[kind], height=0.6)
        size = path.stat().st_size
        axis.text(size, row, f"  {size:,} bytes", va="center", fontsize=10)
        numbers = sum(end - first for kind, first, end in parts if kind == NUMBERS)
        shares.append(f"{name}, {size:,} bytes, of which {numbers:,} are numbers")
    axis.set_yticks(range(len(files)), files)
    axis.invert_yaxis()
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.tick_params(length=0)
    axis.set_xticks([])
    axis.set_xlim(0, 1.17 * max(path.stat().st_size for path in files.values()))
    handles = [Patch(color=colour, label=kind) for kind, colour in KINDS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=10)
    return figures.show(figure, f"One bar a file, coloured by what its bytes are. {'; '.join(shares)}.")


# Where the tensors go ------------------------------------------------------------------------------------------

PARTS = {
    "stem": "#e69f00",
    "reduce": "#56b4e9",
    "middle": "#0072b2",
    "expand": "#009e73",
    "shortcut": "#cc79a7",
    "classifier": "#d55e00",
}


def draw_map(names: Mapping[str, str], state: Mapping[str, Tensor], block: str) -> figures.Picture:
    """A key map drawn from its data: the whole file as ribbons, and one block of it name by name.

    names: published key -> our name; state: published key -> tensor; block: the prefix of the block to show closely, as
    the publisher writes it ("layer1.0."). The left column is in alphabetical order, the right one in that of our net.
    """
    figure, (whole, close) = figures.subplots(1, 2, figsize=(9, 5.2), width_ratios=(1, 1.75))
    _draw_ribbons(whole, names, state)
    inside = list(dict.fromkeys((_module(key, block), _module(name)) for key, name in names.items() if block in key))
    _draw_lines(close, inside)
    close.set_title(f"one block, {block.rstrip('.')}", fontsize=11, pad=10)
    handles = [Patch(color=colour, label=part) for part, colour in PARTS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, fontsize=10, handlelength=1.2)
    pairs = ", ".join(f"{one} to {other}" for one, other in inside)
    return figures.show(
        figure,
        f"Two columns joined by ribbons: {len(names)} tensors of the file on the left, those of our net on the right, as "
        f"high as they have numbers. Every tensor has one partner. Closely, the block {block}: {pairs}.",
    )


def _module(key: str, block: str = "") -> str:
    """A key without the prefix of its block and without its ending."""
    rest = key.partition(block)[2] if block else key.split(".", 3)[3]
    return rest if rest.endswith(("_rel", "_table")) else rest.rpartition(".")[0]


def _part(name: str) -> str:
    return next((part for part in PARTS if part in name.split(".")), "middle")


def _draw_ribbons(axis, names: Mapping[str, str], state: Mapping[str, Tensor]) -> None:
    places = []
    for column in (sorted(names), names):
        tops = np.cumsum([0, *(state[key].numel() for key in column)]) / sum(t.numel() for t in state.values())
        places.append(dict(zip(column, pairwise(tops), strict=True)))
    for key, name in names.items():
        (top, bottom), (our_top, our_bottom) = (column[key] for column in places)
        corners = [(0, top), (0.45, top), (0.55, our_top), (1, our_top)]
        corners += [(1, our_bottom), (0.55, our_bottom), (0.45, bottom), (0, bottom), (0, top)]
        steps = [Curve.MOVETO, *[Curve.CURVE4] * 3, Curve.LINETO, *[Curve.CURVE4] * 3, Curve.CLOSEPOLY]
        axis.add_patch(PathPatch(Curve(corners, steps), facecolor=PARTS[_part(name)], edgecolor="white", linewidth=0.2))
    for x, column, label in ((0, places[0], _file_group), (1, places[1], lambda key: _net_group(names[key]))):
        spans = {}
        for key, (top, bottom) in column.items():
            first, last = spans.get(label(key), (top, bottom))
            spans[label(key)] = min(first, top), max(last, bottom)
        for group, (top, bottom) in spans.items():
            if bottom - top > 0.03:
                side = {"ha": "right", "x": -0.04} if x == 0 else {"ha": "left", "x": 1.04}
                axis.text(side["x"], (top + bottom) / 2, group, ha=side["ha"], va="center", fontsize=10)
    axis.set(xlim=(-0.02, 1.02), ylim=(1, 0))
    axis.set_title("the whole file → the net", fontsize=11, pad=10)
    axis.axis("off")


def _file_group(key: str) -> str:
    words = key.removeprefix("backbone.").split(".")
    return ".".join(words[:2]) if words[0] in ("stages", "head") else words[0]


def _net_group(name: str) -> str:
    return ".".join(name.split(".")[:2]) if name.startswith("stages") else name.split(".")[0]


def _draw_lines(axis, pairs: list[tuple[str, str]]) -> None:
    left = sorted(theirs for theirs, _ in pairs)
    right = [ours for _, ours in pairs]
    for theirs, ours in pairs:
        ends = left.index(theirs), right.index(ours)
        axis.plot((0, 1), ends, color=PARTS[_part(ours)], linewidth=2.5, solid_capstyle="round")
        axis.text(-0.04, ends[0], theirs, ha="right", va="center", fontsize=8.5, family="monospace")
        axis.text(1.04, ends[1], ours, ha="left", va="center", fontsize=8.5, family="monospace")
    axis.set(xlim=(-1.9, 2.75), ylim=(len(pairs) - 0.5, -0.5))
    axis.axis("off")


# What wrong pixels do ------------------------------------------------------------------------------------------


def draw_preprocessing(
    transform: Transform, seen: Mapping[str, Tensor], logits: Mapping[str, Tensor]
) -> figures.Picture:
    """What the net sees of one photograph, prepared in several ways, above the logits of each against the first's.

    seen: way -> input (3, height, width), shown as the weights of `transform` understand it; logits: way -> (classes,).
    """
    figure, axes = figures.subplots(2, len(seen), figsize=(9, 5.0), height_ratios=(1, 1.05))
    right = next(iter(logits.values()))
    low, high = (extreme(float(extreme(some)) for some in logits.values()) for extreme in (min, max))
    words = []
    for (way, picture), top, bottom in zip(seen.items(), *axes, strict=True):
        top.imshow(transform.inverse(picture))
        top.set_title(way, fontsize=11)
        top.axis("off")
        moved = ((logits[way] - right).std() / right.std()).item()
        bottom.plot((low, high), (low, high), color="0.7", linewidth=1)
        bottom.scatter(right, logits[way], s=4, alpha=0.5, color=figures.CYCLE[0], edgecolors="none")
        bottom.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        bottom.set_xlabel("right logit", fontsize=10)
        winner = "same" if logits[way].argmax() == right.argmax() else "another"
        bottom.set_title(f"moved by {moved:.2f} σ, {winner} winner", fontsize=11)
        bottom.tick_params(labelsize=9)
        words.append(f"{way}: {moved:.2f}, {winner} winner")
    axes[1, 0].set_ylabel("logit", fontsize=10)
    return figures.show(
        figure,
        "One photograph as the net sees it, prepared in several ways, above a scatter of the logits against those of "
        f"the right way. How far they move, in standard deviations of the right logits, and who wins: {'; '.join(words)}.",
    )


# Where the patients depart -------------------------------------------------------------------------------------


def draw_strips(differences: Mapping[str, Difference], faults: Mapping[str, str] | None = None) -> figures.Picture:
    """The heat strips of several nets under each other on one scale, the first departures marked.

    faults: what each of them has, where that is known, for its line.
    """
    faults = faults or {}
    figure, axes = figures.subplots(len(differences), 1, figsize=(9, 1.05 * len(differences) + 0.6))
    colours = mpl.colormaps[figures.SEQUENTIAL].with_extremes(bad="0.8")
    words = []
    for axis, (letter, difference) in zip(np.atleast_1d(axes), differences.items(), strict=True):
        image = axis.imshow(_heat(difference)[None], cmap=colours, vmin=DEEPEST, vmax=0, aspect="auto")
        starts = _stage_starts(difference)
        axis.vlines([start - 0.5 for start in starts.values()], -0.5, 0.5, color="white", linewidth=1.2)
        axis.set_xticks([start - 0.3 for start in starts.values()], starts, fontsize=8, ha="left", color="0.35")
        axis.tick_params(length=0, pad=2)
        axis.set_yticks([0], [letter], fontsize=15, fontweight="bold")
        axis.spines[:].set_visible(False)
        at = difference.rows.index(difference.first) if difference.first else None
        if at is not None:
            axis.plot(at, -0.28, "v", color="#d55e00", markeredgecolor="white", markersize=12)
        place = f"departs at {difference.first.point}" if difference.first else "equal everywhere"
        line = f"{difference.architecture}, {place}"
        if letter in faults:
            line += f": {faults[letter]}"
        axis.set_title(line, loc="left", fontsize=10, pad=5)
        words.append(f"{letter}: {line}")
    bar = figure.colorbar(image, ax=axes, ticks=[0, -4, -8, -12, DEEPEST], pad=0.015, aspect=35)
    bar.ax.set_yticklabels(["≥ 1", "1e-4", "1e-8", "1e-12", f"≤ 1e{DEEPEST}"], fontsize=9)
    bar.set_label("relative error", fontsize=10)
    return figures.show(
        figure,
        f"{len(differences)} heat strips under each other, each from the input on the left to the logits on the right, "
        f"dark where a net equals the golden trace and bright where it does not. {'; '.join(words)}.",
    )


def _heat(difference: Difference) -> np.ndarray:
    """The logarithm of the relative error at each point; masked where there was nothing to compare."""
    errors = [
        row.error if row.error is not None else 1.0 if row.status in ("shape", "raised") else np.nan
        for row in difference.rows
    ]
    return np.ma.masked_invalid(np.log10(np.clip(errors, 10.0**DEEPEST, 1)))


def _stage_starts(difference: Difference) -> dict[str, int]:
    starts = {}
    for i, row in enumerate(difference.rows):
        if row.point.startswith("stages."):
            starts.setdefault(row.point[: len("stages.0")], i)
    return starts
