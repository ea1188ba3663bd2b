"""The figures of notebook 01. Imports figures, toys and, of this room, experiments."""

from collections.abc import Mapping

from matplotlib.patches import FancyArrowPatch, Rectangle

from netwright import figures
from netwright.lessons.resnet.experiments import CHANCE, PARTS, Flow, Lesions
from netwright.toys import GROUPS

BLUE, ORANGE, GREEN = figures.CYCLE[:3]


def draw_gradients(curves: Mapping[str, list[float]]) -> figures.Picture:
    """The size of the gradient at each block of a tower, over that behind the last, on a scale of powers of ten."""
    figure, axis = figures.subplots(figsize=(9, 3.6))
    for name, norms in curves.items():
        axis.semilogy(range(1, len(norms) + 1), norms, label=name)
    axis.axhline(1, color="0.6", linewidth=1, linestyle=":")
    axis.set(xlabel="block, counted from the picture", ylabel="gradient, relative\nto that behind the last")
    axis.legend(loc="upper right")
    words = "; ".join(f"{name}: {norms[0]:.2g} times at the first block" for name, norms in curves.items())
    return figures.show(figure, f"The gradient's norm at each block, relative to that behind the last. {words}.")


# A block in its net ------------------------------------------------------------------------------------------------


def draw_flow(flow: Flow, block: str) -> figures.Picture:
    """What one picture is on its way through a block: boxes as high as the map and as wide as it has channels."""
    projects = f"{block}.shortcut" in flow.macs
    branch = {part: flow.shapes[f"{block}.{part}"] for part in PARTS[:3]}
    maps = {"in": flow.came_in[block], **branch, "out": flow.shapes[block]}
    widest, highest = max(shape[0] for shape in maps.values()), max(shape[1] for shape in maps.values())
    figure, axis = figures.subplots(figsize=(9.6, 4.2))
    axis.set(xlim=(-1.1, 13.6), ylim=(-2.1, 4.4))
    axis.axis("off")

    places = dict(zip(maps, (0, 3.1, 6.2, 9.3, 12.5), strict=True))
    for name, shape in maps.items():
        colour = BLUE if name in PARTS else "0.45"
        _map(axis, places[name], 0, shape, colour, widest, highest)
    labels = {part: _label(flow, f"{block}.{part}", part) for part in PARTS[: 3 + projects]}
    for start, end in zip(list(maps)[:3], list(maps)[1:4], strict=True):
        middle = (places[start] + places[end]) / 2
        _arrow(axis, (middle - 0.42, 0), (middle + 0.42, 0))
        axis.text(middle, 0.22, labels[end], ha="center", va="bottom", fontsize=9, linespacing=1.25)
    plus = (places["expand"] + places["out"]) / 2
    axis.text(plus, 0, "+", ha="center", va="center", fontsize=20, fontweight="bold")
    axis.text(plus + 0.1, -0.42, "ReLU", ha="center", va="top", fontsize=9)

    axis.plot([0, 0, places["reduce"] + 0.3], [1.2, 3.3, 3.3], color="0.45", linewidth=1.5)
    axis.plot([places["middle"] + 1.0, plus], [3.3, 3.3], color="0.45", linewidth=1.5)
    _arrow(axis, (plus, 3.3), (plus, 0.45))
    shortcut = places["middle"] - 0.7
    if projects:
        _map(axis, places["middle"], 3.3, flow.shapes[f"{block}.shortcut"], ORANGE, widest, highest, below=False)
        axis.text(
            places["reduce"] + 0.45, 3.3, labels["shortcut"], ha="left", va="center", fontsize=9, linespacing=1.25
        )
    else:
        axis.text(shortcut, 3.3, "shortcut: the identity,\nfor nothing", ha="center", va="center", fontsize=9)
    axis.set_title(f"{block}: {flow.macs[block] / 1e6:,.0f} million multiply-adds", fontsize=12)
    told = "; ".join(f"{name} {' × '.join(map(str, shape))}" for name, shape in maps.items())
    costs = ", ".join(f"{part} {flow.macs.get(f'{block}.{part}', 0) / 1e6:,.0f}" for part in PARTS)
    words = f"The block {block}, maps as channels × height × width: {told}. Million multiply-adds: {costs}."
    return figures.show(figure, words)


def _label(flow: Flow, name: str, part: str) -> str:
    """Its name and what it costs; and whether the map shrinks here."""
    shrinks = flow.shapes[name][1] < flow.came_in[name][1]
    return f"{part}\n{flow.macs.get(name, 0) / 1e6:,.0f} M" + ("\nstride 2" if shrinks else "")


def _map(axis, x: float, y: float, shape, colour: str, widest: int, highest: int, below: bool = True) -> None:
    channels, height, width = shape
    w, h = 1.6 * channels / widest, 2.2 * height / highest
    axis.add_patch(Rectangle((x - w / 2, y - h / 2), w, h, facecolor=colour, alpha=0.75, linewidth=0))
    text = f"{channels}\n× {height} × {width}"
    at, va = (y - 1.2, "top") if below else (y - h / 2 - 0.1, "top")
    axis.text(x, at, text, ha="center", va=va, fontsize=10)


def _arrow(axis, start: tuple[float, float], end: tuple[float, float]) -> None:
    style = {"arrowstyle": "-|>", "mutation_scale": 12, "color": "0.3", "linewidth": 1.5, "shrinkA": 0, "shrinkB": 0}
    axis.add_patch(FancyArrowPatch(start, end, **style))


# Lesions -----------------------------------------------------------------------------------------------------------


def draw_lesion(lesions: Lesions, block: str, cut: str) -> figures.Picture:
    """The accuracy with each part of each block cut out, one of them in full colour, and that one by groups of classes."""
    logits = lesions.cut[block, cut]
    whole, left = lesions.accuracy(lesions.whole), lesions.accuracy(logits)
    figure, axes = figures.subplots(1, 2, figsize=(9, 3.6), width_ratios=(1.6, 1))
    for shift, part, colour in ((-0.2, "branch", BLUE), (0.2, "shortcut", ORANGE)):
        for place, name in enumerate(lesions.blocks):
            chosen = (name, part) == (block, cut)
            share = lesions.accuracy(lesions.cut[name, part])
            axes[0].bar(place + shift, share, width=0.38, color=colour, alpha=1 if chosen else 0.35)
            if chosen:
                axes[0].text(place + shift, share + 0.03, f"{share:.0%}", ha="center", va="bottom", fontsize=10)
        axes[0].bar(0, 0, color=colour, label=f"{part} cut")
    axes[0].axhline(whole, color="0.3", linewidth=1.5, label="whole net")
    axes[0].axhline(CHANCE, color="0.6", linewidth=1, linestyle=":", label="guessing")
    axes[0].set(xlabel="block", ylabel="right answers", ylim=(0, 1.6), yticks=(0, 0.25, 0.5, 0.75, 1))
    axes[0].set_xticks(range(len(lesions.blocks)), [name.removeprefix("stages.") for name in lesions.blocks])
    axes[0].legend(loc="upper center", ncols=2, fontsize=10)
    for place in range(len(GROUPS)):
        axes[1].bar(place - 0.2, lesions.accuracy(lesions.whole, place), width=0.38, color="0.6")
        axes[1].bar(place + 0.2, lesions.accuracy(logits, place), width=0.38, color=BLUE if cut == "branch" else ORANGE)
    axes[1].set_xticks(range(len(GROUPS)), GROUPS)
    axes[1].set(
        ylim=(0, 1.05), title=f"{block}: {cut} cut (grey: whole)\nlogits moved by {lesions.moved(logits):.1f} σ"
    )
    axes[1].title.set_fontsize(11)
    words = (
        f"With the {cut} of {block} cut, the net is right about {left:.0%} of {len(lesions.labels)} pictures instead of "
        f"{whole:.0%}; its logits have moved by {lesions.moved(logits):.1f} of their standard deviations."
    )
    return figures.show(figure, words)
