"""The toy world is what it says: reproducible, balanced, told apart by its causes alone, and these lie in the masks."""

import ast
import hashlib
import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, SequentialSampler

from netwright.toys import CLASSES, GROUPS, HOLD_OUTS, ToyWorld, label_of, render
from netwright.toys import classes as names
from netwright.toys.factors import PIXEL, TURN, pair_of_parts
from netwright.toys.light import WAVES
from netwright.toys.outlines import OUTLINES
from netwright.toys.textures import TEXTURES

TOYS = Path(names.__file__).parent
ROUND = len(CLASSES)  # so many pictures show every class once


def first(world: ToyWorld, group: str, count: int) -> np.ndarray:
    """The first `count` indices of pictures of a group."""
    members = [label for label, it in enumerate(CLASSES) if it.group == group]
    return np.flatnonzero(np.isin(world.labels(), members))[:count]


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """The masks (n, H, W), so many pixels larger to every side."""
    return torch.nn.functional.max_pool2d(torch.from_numpy(mask).float(), 2 * pixels + 1, 1, pixels).numpy() > 0


# What it is


def test_at_least_twelve_classes_stand_in_three_groups_and_every_round_shows_each_once():
    world = ToyWorld()
    assert len(world.classes) == len(set(world.classes)) >= 12
    assert [group for group, _ in itertools.groupby(it.group for it in CLASSES)] == list(GROUPS)
    rounds = np.sort(world.labels().reshape(-1, ROUND), axis=1)
    assert (rounds == np.arange(ROUND)).all()


def test_a_batch_has_the_promised_names_shapes_and_types():
    batch = ToyWorld(size=48).batch([5, 3])
    assert {name: (tuple(value.shape), value.dtype) for name, value in batch.items() if name != "factors"} == {
        "image": ((2, 3, 48, 48), torch.uint8),
        "mask": ((2, 48, 48), torch.bool),
        "figures": ((2, 48, 48), torch.uint8),
        "label": ((2,), torch.int64),
        "group": ((2,), torch.int64),
    }
    assert {values.dtype for values in batch["factors"].values()} == {torch.int64, torch.float32}
    assert [GROUPS[i] for i in batch["group"]] == [CLASSES[i].group for i in batch["label"]]


@pytest.mark.parametrize("hold_out", [None, *HOLD_OUTS])
def test_every_label_follows_from_the_causes_alone(hold_out):
    world = ToyWorld("val", hold_out=hold_out)
    factors = world.factors(range(2_000))
    assert (label_of(factors) == factors["label"]).all()
    assert (world.labels(range(2_000)) == factors["label"]).all()


# The same pictures everywhere


def test_the_pictures_are_the_same_to_the_last_bit_on_every_machine():
    def digest(size, indices):
        batch = ToyWorld("train", size=size).batch(indices)
        parts = (batch[name].numpy().tobytes() for name in ("image", "mask", "figures"))
        return hashlib.sha256(b"".join(parts)).hexdigest()[:16]

    assert digest(64, range(5 * ROUND)) == "0e8b632a72f8ce1a"
    assert digest(33, range(ROUND)) == "062ff8460f999836"
    assert digest(224, range(ROUND)) == "98e3f343424d6aa1"


def test_pixels_meet_no_arithmetic_that_differs_between_machines():
    """IEEE 754 fixes these operations to the last bit. Not so sines, powers, products of matrices, sums over pixels."""
    exact = {"abs", "clip", "floor", "maximum", "minimum", "sqrt", "subtract", "where"}
    storage = {"arange", "array", "broadcast_shapes", "diff", "empty", "empty_like", "flatnonzero", "lexsort"}
    storage |= {"moveaxis", "stack", "zeros", "float32", "int8", "int64", "ndarray", "uint8", "uint64"}
    constants = {"cos", "pi", "random", "round", "sin"}  # WAVES and GRAIN
    used = {}
    for file in ("outlines", "textures", "palette", "light", "render"):
        tree = ast.parse((TOYS / f"{file}.py").read_text(encoding="utf-8"))
        assert not any(isinstance(node, ast.Pow | ast.MatMult) for node in ast.walk(tree) if file != "light"), file
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        assert {node.attr for node in nodes} & {"sum", "mean", "std", "prod", "cumsum", "dot"} == set(), file
        used[file] = {node.attr for node in nodes if isinstance(node.value, ast.Name) and node.value.id == "np"}
    assert set().union(*used.values()) - exact - storage == constants
    assert all(used[file] & constants == set() for file in used if file != "light")


def test_no_sine_lies_where_the_last_bit_could_turn_its_rounding():
    angles = 2 * np.pi / TURN * np.arange(TURN)
    scaled = np.stack([np.cos(angles), np.sin(angles)]) * 2**20
    assert np.abs(np.abs(scaled - np.floor(scaled)) - 0.5).min() > 1e-6  # libraries differ by about 1e-10 here
    assert np.array_equal(WAVES * 2.0**20, np.round(scaled))


def test_a_picture_does_not_depend_on_its_neighbours_or_their_order():
    world = ToyWorld()
    whole = world.batch(range(100))
    order = np.random.RandomState(0).permutation(100)
    shuffled = world.batch(order)
    some = world.batch([7, 7, 61])
    for name in ("image", "mask", "figures", "label"):
        assert torch.equal(shuffled[name], whole[name][order])
        assert torch.equal(some[name], whole[name][[7, 7, 61]])
        assert all(torch.equal(world[i][name], whole[name][i]) for i in range(0, 100, 9))
    assert len(world.batch([])["image"]) == 0
    assert torch.equal(world.batch(torch.tensor([3, 1]))["image"], whole["image"][[3, 1]])
    assert world[61]["factors"] == {name: values[61] for name, values in whole["factors"].items()}


def test_loaders_and_ranks_see_every_picture_once_and_the_same():
    world = pickle.loads(pickle.dumps(ToyWorld("test", length=50, size=32)))
    whole = world.batch(range(50))["image"]
    loader = DataLoader(world, batch_size=None, sampler=BatchSampler(SequentialSampler(world), 16, drop_last=False))
    assert torch.equal(torch.cat([batch["image"] for batch in loader]), whole)
    assert torch.equal(torch.cat([batch["image"] for batch in DataLoader(world, batch_size=7)]), whole)
    ranks = [list(DistributedSampler(world, num_replicas=2, rank=rank, shuffle=False)) for rank in (0, 1)]
    assert torch.equal(torch.stack([world.batch(rank)["image"] for rank in ranks], dim=1).flatten(0, 1), whole)


def test_splits_and_seeds_share_no_picture():
    worlds = [ToyWorld("train"), ToyWorld("val"), ToyWorld("test"), ToyWorld("train", seed=1)]
    seen = [{image.numpy().tobytes() for image in world.batch(range(300))["image"]} for world in worlds]
    assert len(set().union(*seen)) == sum(map(len, seen)) == 1200


def test_a_picture_is_the_same_scene_at_every_size():
    small, large = (ToyWorld(size=size).batch(range(2 * ROUND)) for size in (64, 192))
    shrunk = torch.nn.functional.avg_pool2d(large["image"].float(), 3)
    assert (shrunk - small["image"].float()).abs().mean() < 4  # of 255: edges that fall differently, and the grain
    shrunk = torch.nn.functional.avg_pool2d(large["mask"].float(), 3) > 0.5
    assert (shrunk != small["mask"]).float().mean() < 0.005


# Held out


@pytest.mark.parametrize(
    "hold_out, factor, novel",
    [
        ("hue", "hue", lambda f: (f["hue"] // 2 == 2) & (f["hue2"] // 2 == 2)),
        ("place", "x", lambda f: (f["x"] <= 0) & (f["y"] <= 0)),
        ("scale", "radius", lambda f: f["radius"] >= PIXEL * (f["label"] < 6) * 18.5),
        ("ground", "ground", lambda f: f["ground"] == 3),
        ("light", "light", lambda f: f["light"] < TURN // 4),
    ],
)
def test_what_is_held_out_is_what_novel_shows_and_nothing_else(hold_out, factor, novel):
    def single(split):
        factors = ToyWorld(split, hold_out=hold_out).factors(range(4_000))
        return {name: values[factors["label"] < 6] for name, values in factors.items()}

    assert novel(single("novel")).all()
    for split in ("train", "val", "test"):
        assert not novel(single(split)).any()
    usual = ToyWorld("train").factors(range(4_000))
    held = ToyWorld("train", hold_out=hold_out).factors(range(4_000))
    assert not np.array_equal(usual[factor], held[factor])
    assert np.array_equal(usual["period"], held["period"]) and np.array_equal(usual["kind"], held["kind"])


def test_both_parts_of_a_pair_obey_a_held_out_colour():
    factors = ToyWorld("train", hold_out="hue").factors(range(4_000))
    assert set(factors["hue2"]) == set(factors["hue"]) == {0, 1, 2, 3, 6, 7}


# Nothing but the cause tells


def test_no_nuisance_depends_on_the_class():
    factors = ToyWorld().factors(range(20_000))
    label = factors["label"]
    causes = {"texture": "texture", "shape": "kind", "relation": None}  # the last is the cause of two factors together
    for group, cause in causes.items():
        members = np.isin(label, [i for i, it in enumerate(CLASSES) if it.group == group])
        for name in factors.keys() - {"label", cause}:
            values = factors[name][members].astype(float)
            for one in np.unique(label[members]):
                mine = values[label[members] == one]
                error = values.std() / np.sqrt(len(mine))
                assert abs(mine.mean() - values.mean()) <= 4.5 * error, (name, CLASSES[one].name)


class Every:
    """In place of the random draws of a pair: every combination of them, once."""

    def __init__(self):
        self.counts = {"part": 4, "part2": 3, "which": 2, "turned": 2, "across": 4}
        grid = np.indices(tuple(self.counts.values())).reshape(len(self.counts), -1)
        self.grid = dict(zip(self.counts, grid, strict=True))

    def whole(self, name, count):
        assert count == self.counts[name]
        return self.grid[name]

    def uniform(self, name, low, high):
        return np.zeros(len(self.grid["part"]))


@pytest.mark.parametrize("which", ["", "2"])
def test_one_part_alone_says_nothing_about_the_relation(which):
    """Not nearly: each outline on each of the sixteen places comes exactly as often in every class."""
    nothing = np.zeros(len(Every().grid["part"]))
    seen = []
    for label in range(names.FIRST_RELATION, ROUND):
        pair = pair_of_parts(Every(), np.full(len(nothing), label), nothing, nothing, nothing)
        alone = np.stack([pair[f"kind{which}"], pair[f"x{which}"], pair[f"y{which}"]], axis=1)
        seen.append(np.unique(alone, axis=0, return_counts=True))
        assert (label_of({**pair, "texture": pair["kind2"]}) == label).all()  # while both together say it
    assert len(seen[0][0]) == 4 * 16 and len(set(seen[0][1])) == 1
    assert all(np.array_equal(a, b) for other in seen[1:] for a, b in zip(seen[0], other, strict=True))


def test_outlines_cover_equal_areas_and_textures_equal_shares():
    ticks = (np.arange(1000, dtype=np.float32) + 0.5) / 250 - 2
    x, y = ticks[None, None], ticks[None, :, None]
    for name, it in OUTLINES.items():
        area = (np.broadcast_to(it.distance(x, y, np.full((1, 4, 1, 1), 0.5)), (1, 1000, 1000)) < 0).mean() * 16
        assert area / it.unit**2 == pytest.approx(np.pi, rel=0.01), name
    for name, it in TEXTURES.items():
        assert 0.42 < (np.broadcast_to(it.ink(4 * x, 4 * y), (1, 1000, 1000)) > 0).mean() < 0.58, name


def linear_accuracy(train, train_labels, test, test_labels) -> float:
    """Of one ridge regression onto the classes."""
    mean, std = train.mean(0), train.std(0) + 1e-9
    train, test = (np.c_[(part - mean) / std, np.ones(len(part))] for part in (train, test))
    targets = np.eye(train_labels.max() + 1)[train_labels]
    weights = np.linalg.solve(train.T @ train + np.eye(train.shape[1]), train.T @ targets)
    return ((test @ weights).argmax(1) == test_labels).mean()


def colours(batch) -> np.ndarray:
    """Mean, spread, quantiles and products of the three colours over a picture."""
    pixels = batch["image"].flatten(2).double() / 255  # (n, 3, pixels)
    quantiles = pixels.quantile(torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95], dtype=torch.float64), dim=2)
    products = pixels @ pixels.transpose(1, 2) / pixels.shape[2]
    return torch.cat([pixels.mean(2), pixels.std(2), *quantiles, products.flatten(1)], dim=1).numpy()


def repetition(batch) -> np.ndarray:
    """How alike a figure's inside is to itself when moved, by distance; quantiles over the directions, for no turn counts."""
    grey, inside = batch["image"].double().mean(1), batch["figures"] > 0
    mean = (grey * inside).sum((1, 2)) / inside.sum((1, 2))
    spectrum = torch.fft.rfft2((grey - mean[:, None, None]) * inside, s=(128, 128)).abs() ** 2
    alike = torch.fft.irfft2(spectrum).roll((64, 64), (1, 2)).numpy()  # (n, 128, 128), not moved at (64, 64)
    alike /= alike[:, 64:65, 64:65]
    y, x = np.mgrid[-64:64, -64:64]
    far = np.round(np.hypot(x, y)).astype(int)
    return np.concatenate([np.quantile(alike[:, far == r], [0, 0.3, 0.7, 1], axis=1).T for r in range(2, 16)], axis=1)


def silhouette(batch) -> np.ndarray:
    """How the figure's pixels spread around their middle: a histogram of distances that no turn changes."""
    rows = []
    for figure in batch["figures"].numpy() > 0:
        y, x = np.nonzero(figure)
        radius = np.hypot(x - x.mean(), y - y.mean()) / np.sqrt(len(x) / np.pi)
        rows.append(np.histogram(radius, np.linspace(0, 1.7, 18))[0] / len(x))
    return np.array(rows)


def accuracy(features, group: str, train: int = 900, test: int = 600) -> float:
    batches = [
        (world := ToyWorld(split)).batch(first(world, group, n)) for split, n in (("train", train), ("test", test))
    ]
    start = [it.group for it in CLASSES].index(group)
    return linear_accuracy(*(part for batch in batches for part in (features(batch), batch["label"].numpy() - start)))


@pytest.mark.parametrize("group, chance", [("texture", 1 / 6), ("shape", 1 / 6), ("relation", 1 / 8)])
def test_colours_tell_no_class(group, chance):
    assert accuracy(colours, group) < chance + 0.06  # four standard errors of 600 pictures


def test_repetition_tells_textures_and_the_outline_does_not():
    assert accuracy(repetition, "texture") > 0.9
    assert accuracy(silhouette, "texture") < 1 / 6 + 0.06


def test_the_outline_tells_shapes():
    assert accuracy(silhouette, "shape") > 0.97


# The masks hold the causes


def test_another_texture_changes_the_label_and_only_pixels_of_the_mask():
    world = ToyWorld("val")
    factors = world.factors(first(world, "texture", 60))
    other = factors | {"texture": (factors["texture"] + 1) % len(TEXTURES)}
    before, after = render(factors), render(other)
    changed = (before["image"] != after["image"]).any(1)
    assert (label_of(other) != factors["label"]).all()
    assert not (changed & ~grown(before["mask"], 1)).any()  # one pixel of soft edge
    assert (changed & before["mask"]).sum() > 0.3 * before["mask"].sum()


def test_another_texture_in_an_outline_changes_no_label_and_spares_the_ground():
    world = ToyWorld("val")
    factors = world.factors(first(world, "shape", 60))
    other = factors | {"texture": (factors["texture"] + 2) % (len(TEXTURES) + 1) - 1}
    before, after = render(factors), render(other)
    assert (label_of(other) == factors["label"]).all()
    assert (before["mask"] == after["mask"]).all()
    changed = (before["image"] != after["image"]).any(1)
    assert not (changed & ~grown(before["figures"] > 0, 2)).any()  # the soft edge of a thin tip


def test_the_band_of_an_outline_holds_its_border_and_leaves_its_middle_out():
    world = ToyWorld("val")
    batch = world.batch(first(world, "shape", 60))
    figure, mask = batch["figures"].numpy() > 0, batch["mask"].numpy()
    border = grown(figure, 1) & grown(~figure, 1)
    assert not (border & ~mask).any()
    assert not (mask & ~grown(border, 3)).any()
    assert ((figure & ~mask).sum((1, 2)) > 0).all()


def test_another_second_part_changes_the_label_and_pixels_of_both_or_their_shadow_only():
    world = ToyWorld("val")
    factors = world.factors(first(world, "relation", 80))
    disc, square = (names.OUTLINE_NAMES.index(name) for name in ("disc", "square"))
    another = np.where(factors["kind"] == disc, square, disc)
    other = factors | {"kind2": np.where(factors["kind2"] == factors["kind"], another, factors["kind"])}
    before, after = render(factors), render(other)
    assert (label_of(other) != factors["label"]).all()
    changed = (before["image"] != after["image"]).any(1)
    assert not (changed & ~grown((before["figures"] == 2) | (after["figures"] == 2), 8)).any()
    assert (before["mask"] == (before["figures"] > 0)).all()
    assert ((before["figures"] == 1).sum((1, 2)) > 25).all() and ((before["figures"] == 2).sum((1, 2)) > 25).all()


def test_figures_stand_out_by_lightness_so_no_class_needs_an_eye_for_colours():
    batch = ToyWorld().batch(range(20 * ROUND))
    luma = (batch["image"].double() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1).numpy()
    inside = batch["figures"].numpy() > 0
    outside = grown(inside, 5) & ~grown(inside, 1)
    contrast = [
        abs(np.median(light[a]) - np.median(light[b])) for light, a, b in zip(luma, inside, outside, strict=True)
    ]
    assert np.quantile(contrast, 0.01) > 50  # of 255


# Bad input


@pytest.mark.parametrize(
    "how, message",
    [
        ({"split": "dev"}, "split='dev' is none of train, val, test, novel"),
        ({"hold_out": "mood"}, "hold_out='mood' cannot be held out; these can: hue, place, scale, ground, light"),
        ({"split": "novel"}, "choose hold_out"),
        ({"size": 16}, "size=16 is too small"),
        ({"length": 0}, "length=0 leaves no picture"),
    ],
)
def test_a_world_that_cannot_be_is_refused_by_a_sentence(how, message):
    with pytest.raises(ValueError, match=message):
        ToyWorld(**how)


@pytest.mark.parametrize("index", [-1, 10])
def test_a_picture_outside_the_split_is_refused(index):
    with pytest.raises(IndexError, match=rf"Picture {index} is outside 'train', which holds 0 to 9\."):
        ToyWorld(length=10)[index]


def test_the_contact_sheet_names_every_class_to_those_who_cannot_see_it():
    sheet = ToyWorld("test", size=32, length=3 * ROUND).sheet(columns=3)
    assert sheet.png.startswith(b"\x89PNG")
    assert all(it.name in sheet.alt for it in CLASSES)
