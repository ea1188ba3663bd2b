"""What came out when the toy nets were trained, five seeds each: data/toy/ledger.json, and the cards made from it.

Imports paths and classes.
"""

import itertools
import json
import statistics
from functools import cache

from netwright import paths
from netwright.toys.classes import CLASSES, GROUPS

FILE = "toy/ledger.json"
# Student's t for the half width of a 95 % interval of a mean, by the number of values.
T95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}


@cache
def results() -> dict:
    """The ledger: how, where and when the toy nets were trained, and for every net and seed what came out.

    `["nets"][name]["runs"]` has a dict a seed: seconds; top1, groups and aspects of the test split, each as value, low,
    high (Wilson, 95 %) and of (pictures). `["nets"][name]["log"]` has the epochs of seed 0, whose weights ship.
    """
    return json.loads(paths.data(FILE).read_text(encoding="utf-8"))


def spread(values: list[float]) -> tuple[float, float, float]:
    """Mean of some seeds, and the interval that holds the mean of all seeds in 95 % (Student's t)."""
    mean, half = statistics.mean(values), T95[len(values)] * statistics.stdev(values) / len(values) ** 0.5
    return mean, mean - half, mean + half


def over_seeds(name: str, group: str, ledger: dict) -> list[float]:
    """The accuracies of a net on a group of classes ("all": on all of them), one a seed."""
    runs = ledger["nets"][name]["runs"]
    return [(run["top1"] if group == "all" else run["groups"][group])["value"] for run in runs]


def chance(one: list[float], other: list[float]) -> float:
    """How likely a difference of means at least this large is if the two differ in nothing: an exact permutation test.

    All ways of dealing the values out to two groups of these sizes are tried (Fisher 1935, The Design of Experiments).
    """
    values, wanted = one + other, abs(statistics.mean(one) - statistics.mean(other))
    splits = list(itertools.combinations(range(len(values)), len(one)))
    total = sum(values)
    larger = 0
    for chosen in splits:
        inside = sum(values[i] for i in chosen)
        larger += abs(inside / len(one) - (total - inside) / len(other)) >= wanted - 1e-12
    return larger / len(splits)


def told_apart(group: str, ledger: dict) -> list[tuple[str, str]]:
    """Pairs (better, worse) of nets that differ on a group of classes by more than their seeds do.

    At the level of 5 % for all pairs together (Bonferroni), so that trying many pairs wins nothing.
    """
    accuracies = {name: over_seeds(name, group, ledger) for name in ledger["nets"]}
    pairs = list(itertools.combinations(sorted(accuracies, key=lambda n: -statistics.mean(accuracies[n])), 2))
    return [(a, b) for a, b in pairs if chance(accuracies[a], accuracies[b]) * len(pairs) < 0.05]


def findings(ledger: dict) -> str:
    """Which family is better at what, as far as the seeds can tell: a Markdown list, an item a group."""
    lines = []
    for group in GROUPS:
        pairs = told_apart(group, ledger)
        words = "; ".join(f"`{a}` above `{b}`" for a, b in pairs) or "no net is told apart from another"
        lines.append(f"- *{group}*: {words}.")
    return "\n".join(lines)


def table(ledger: dict) -> str:
    """All nets and groups in Markdown: the mean over seeds, the worst and the best."""
    lines = ["| net | parameters | texture | shape | relation | all |", "|---|---|---|---|---|---|"]
    for name, net in ledger["nets"].items():
        cells = []
        for group in (*GROUPS, "all"):
            values = over_seeds(name, group, ledger)
            cells.append(f"{statistics.mean(values):.1%} ({min(values):.1%} to {max(values):.1%})")
        lines.append(f"| `{name}` | {net['parameters']:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def card(name: str, ledger: dict) -> str:
    """The card of a toy net, in Markdown: what it is, how it was made, what it can do and what it cannot."""
    net = ledger["nets"][name]
    shipped = net["runs"][0]
    rows = []
    for group in (*GROUPS, "all"):
        mine = shipped["top1"] if group == "all" else shipped["groups"][group]
        values = over_seeds(name, group, ledger)
        mean, low, high = spread(values)
        rows.append(
            f"| {group} | {mine['value']:.2%} ({mine['low']:.2%} to {mine['high']:.2%}) | {mean:.2%} "
            f"({max(low, 0):.2%} to {min(high, 1):.2%}) | {', '.join(f'{value:.1%}' for value in values)} |"
        )
    aspects = ", ".join(
        f"{aspect} {it['value']:.1%} ({it['low']:.1%} to {it['high']:.1%})" for aspect, it in shipped["aspects"].items()
    )
    seconds = [run["seconds"] for run in net["runs"]]
    lines = "\n".join(rows)
    return f"""# {name}

A net of {net["parameters"]:,} parameters for the toy world's {len(CLASSES)} classes, `nw.create_model("{name}",
pretrained=True)`. Inputs are 64×64 pixels, normalised by ImageNet's mean and standard deviation, nothing cut off. Its
configuration is in `lib/netwright/nets/toy.py`. Trained for this workbook on pictures that a program paints: no picture
of anybody, under the project's licence.

## How it was made

```
{net["command"]}
```

Recipe `{ledger["recipe"]}` (`python -m netwright recipes {ledger["recipe"]}`): {ledger["epochs"]} epochs, {ledger["pictures"]:,} pictures
in all, none seen twice, {ledger["batch"]} a step; from random weights, seed {shipped["seed"]}, in {ledger["precision"]} autocast
(weights in float32), on {ledger["device"]} ({ledger["threads"]} thread; no GPU was at hand), with PyTorch {ledger["torch"]}, {ledger["date"]}. The command took
{shipped["seconds"] / 60:.0f} minutes on a machine that had other work to do as well; {min(seconds) / 60:.0f} to {max(seconds) / 60:.0f} for the five seeds.

## What it can do

Top-1 on the {ledger["test_pictures"]:,} pictures of the test split, which had no say in anything.

| classes told apart by | these weights (95 %, over pictures) | mean of {len(net["runs"])} seeds (95 %, over seeds) | each seed |
|---|---|---|---|
{lines}

Of a relation's three aspects these weights see: {aspects}.

The first interval speaks of other pictures of the same world, the second of other seeds: a comparison of two nets needs
the second. The weights that ship are those of seed {shipped["seed"]}, not of the best seed. Trained again by the command above, on
another machine or with another version of PyTorch, the numbers differ in their last digits and the accuracy stays
within the interval of the seeds.

## What it cannot

It knows twenty classes of painted pictures and nothing else; on a photograph its answer means nothing. How it does
where the world looks new (`ToyWorld("novel", hold_out=…)`) was not part of its training.
"""
