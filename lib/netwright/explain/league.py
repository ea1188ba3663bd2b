"""The league table of explanations: every method on every toy net, marked against the pixels that cause the label.

The toy world knows its causes (`ToyWorld.batch()["mask"]`), so a map can be right or wrong there. Imports paths,
models, probing and toys.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from torch import nn

from netwright import paths
from netwright.explain import scores
from netwright.explain.methods import METHODS, methods_for, random_map
from netwright.explain.removal import RANDOM_ORDERS, order_of, random_orders, remove
from netwright.explain.scores import Score
from netwright.models import create_model
from netwright.nets.zoo import TOYS
from netwright.probing.capture import Probe
from netwright.toys import CLASSES, GROUPS, ToyWorld
from netwright.toys import groups as classes_of

FILE = "toy/explanations.json"
PICTURES = 50  # of each group
STEPS = 8  # of a deletion curve
SCORES = {
    "pointing": "pointing game: share of pictures whose largest number lies in the cause",
    "mass": "share of the positive mass that lies in the cause",
    "lift": "that share, divided by the cause's share of the picture",
    "deletion": "area under p(class) while cells go in the map's order, divided by that of random orders",
}
ALL = "all"  # the three groups together


@dataclass
class Marks:
    """What pictures gave one method: an array (pictures,) each. deletion and random_deletion are areas."""

    pointing: list[float] = field(default_factory=list)
    mass: list[float] = field(default_factory=list)
    lift: list[float] = field(default_factory=list)
    deletion: list[float] = field(default_factory=list)
    random_deletion: list[float] = field(default_factory=list)

    def scores(self, which: np.ndarray | slice = slice(None)) -> dict[str, Score]:
        """The SCORES over pictures, or over some of them; "deletion" only where there are curves."""
        column = {
            name: np.array(getattr(self, name))[which] for name in self.__dataclass_fields__ if getattr(self, name)
        }
        found = {
            "pointing": scores.hit_rate(column["pointing"]),
            "mass": scores.mean_of(column["mass"]),
            "lift": scores.mean_of(column["lift"]),
        }
        if "deletion" in column:
            found["deletion"] = scores.mean_of(column["deletion"], column["random_deletion"])
        return found


@dataclass
class Graded:
    """What `grade_net` found on some pictures, in their order: marks by method, and those of its random twin.

    areas (pictures,): the cause's share of each picture, which is chance for pointing and mass. agreement: by method,
    Spearman's correlation of a map with its twin's.
    """

    methods: dict[str, Marks]
    twins: dict[str, Marks]
    agreement: dict[str, list[float]]
    areas: np.ndarray


def pictures_of(net: nn.Module, group: str, count: int = PICTURES) -> list[int]:
    """The first `count` pictures of the test split that are of a group and that the net gets right, by index.

    A map that explains a wrong answer may rightly lie elsewhere. Raises ValueError where there are not so many.
    """
    world = ToyWorld("test")
    wanted = np.flatnonzero(np.isin(world.labels(), classes_of()[group]))
    found: list[int] = []
    for start in range(0, len(wanted), count):
        some = wanted[start : start + count].tolist()
        right = [i for i in some if _answer(net, world, i) == CLASSES[world.labels([i])[0]].name]
        found += right
        if len(found) >= count:
            return found[:count]
    raise ValueError(f"The net gets only {len(found)} pictures of {group!r} right, and {count} are wanted.")


def _answer(net: nn.Module, world: ToyWorld, index: int) -> str:
    probe = Probe(net, world[index]["image"])
    return probe.class_names[probe.target()]


def grade_net(
    net: nn.Module,
    indices: Sequence[int],
    methods: Iterable[str] | None = None,
    *,
    twins: bool = True,
    deletion: bool = True,
    steps: int = STEPS,
) -> Graded:
    """Marks of `methods` (None: all that the net allows) on pictures of the test split, for the label's class.

    The twin of a picture has weights drawn from its index (`Probe.twin`); its map is removed in front of the trained
    net, which shows whether a map that knows no training says anything about the trained net's answer. Controls have
    no twin. Random maps and orders are drawn from the index as well; ten random maps point, and share their marks.
    """
    sample = ToyWorld("test").batch(indices)
    masks = sample["mask"].numpy()
    graded = Graded({}, {}, {}, masks.mean((1, 2)))
    for index, image, label, mask in zip(indices, sample["image"], sample["label"].tolist(), masks, strict=True):
        probe = Probe(net, image)
        target = probe.target(CLASSES[label].name)
        names = graded_methods(probe) if methods is None else list(methods)
        learnt = [name for name in names if METHODS[name].kind != "control"] if twins else []
        twin = probe.twin(index) if learnt else None
        maps = {name: _map(name, probe, target, index) for name in names}
        twin_maps = {name: METHODS[name].run(twin, target) for name in learnt}
        both = [(graded.methods, name, heat) for name, heat in maps.items()]
        both += [(graded.twins, name, heat) for name, heat in twin_maps.items()]
        areas = _areas(probe, target, [heat for *_, heat in both], index, steps) if deletion else {}
        for at, (found, name, heat) in enumerate(both):
            marks = found.setdefault(name, Marks())
            # One random map would say more of its own luck than of chance.
            drawn = [random_map(probe, seed=(index, k)) for k in range(RANDOM_ORDERS)] if name == "random" else [heat]
            marks.pointing.append(float(np.mean([scores.pointing(it, mask) for it in drawn])))
            marks.mass.append(float(np.mean([scores.mass(it, mask) for it in drawn])))
            marks.lift.append(marks.mass[-1] / mask.mean())
            if deletion:
                marks.deletion.append(areas[at][0])
                marks.random_deletion.append(areas[at][1])
        for name in learnt:
            graded.agreement.setdefault(name, []).append(scores.agreement(maps[name], twin_maps[name]))
    return graded


def graded_methods(probe: Probe) -> list[str]:
    """All methods that the net allows, but Grad-CAM without ReLU: where it is positive, it is the same map."""
    return [name for name in methods_for(probe) if name != "grad_cam_signed"]


def _map(name: str, probe: Probe, target: int, index: int) -> np.ndarray:
    return random_map(probe, target, seed=index) if name == "random" else METHODS[name].run(probe, target)


def _areas(probe: Probe, target: int, maps: list[np.ndarray], seed: int, steps: int) -> dict[int, tuple[float, float]]:
    """For each map the area of its own deletion curve, and the mean area of ten random orders in cells of its size."""
    found = {}
    for shape in {heat.shape for heat in maps}:
        some = [at for at, heat in enumerate(maps) if heat.shape == shape]
        own = np.stack([order_of(maps[at], seed) for at in some])
        areas = remove(probe, np.concatenate([own, random_orders(shape, seed=seed)]), target, steps=steps).areas
        by_lot = float(areas[len(some) :].mean())
        found |= {at: (float(value), by_lot) for at, value in zip(some, areas, strict=False)}
    return found


# The table -----------------------------------------------------------------------------------------------------------


def grade(names: Iterable[str] = tuple(TOYS), *, pictures: int = PICTURES, methods=None, tell=None) -> dict:
    """The whole table: nets by name × groups × methods, as plain values. About a minute a net on one thread.

    `["rows"]`: net, group ("all": the three together), method, of (pictures), and each of SCORES as [value, low, high];
    "twin" has the same for random weights, and "agreement", the mean rank correlation of the two maps; None for a
    control. `["chance"][net][group]`: the cause's mean share of a picture. tell: called with a word after each net.
    """
    rows, chance = [], {}
    for name in names:
        net = create_model(name, pretrained=True).eval()
        indices = {group: pictures_of(net, group, pictures) for group in GROUPS}
        graded = grade_net(net, [i for group in GROUPS for i in indices[group]], methods)
        chance[name] = {}
        for at, group in enumerate((*GROUPS, ALL)):
            which = slice(None) if group == ALL else slice(at * pictures, (at + 1) * pictures)
            chance[name][group] = round(float(graded.areas[which].mean()), 5)
            rows += [_row(name, group, method, graded, which) for method in graded.methods]
        if tell:
            tell(name)
    return {"split": "test", "pictures": pictures, "steps": STEPS, "chance": chance, "rows": rows}


def _row(net: str, group: str, method: str, graded: Graded, which: slice) -> dict:
    row = {"net": net, "group": group, "method": method, **_plain(graded.methods[method].scores(which)), "twin": None}
    if method in graded.twins:
        agreement = scores.mean_of(np.array(graded.agreement[method])[which])
        row["twin"] = _plain({**graded.twins[method].scores(which), "agreement": agreement})
    return row


def _plain(found: dict[str, Score]) -> dict:
    of = next(iter(found.values())).of
    return {"of": of, **{name: [round(it.value, 4), round(it.low, 4), round(it.high, 4)] for name, it in found.items()}}


@cache
def results() -> dict:
    """The recorded table, data/toy/explanations.json, with how, where and when it was made. Raises FileNotFoundError."""
    return json.loads(paths.data(FILE).read_text(encoding="utf-8"))
