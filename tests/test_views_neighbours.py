"""Nearest neighbours: the distances, the agreement and what a map in two dimensions keeps, against loops by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import netwright as nw
from netwright.models import preprocessing_of
from netwright.probing.capture import hooks_in
from netwright.probing.golden import golden_state
from netwright.views.pictures import neighbours
from netwright.views.pictures.nearest import agreement, chance, nearest, principal
from netwright.views.pictures.neighbours import Neighbours, toy_indices
from netwright.views.view import CheckFailed, NotInThisNet
from peers import timm

TOYS = ("toy_resnet", "toy_resnext", "toy_resnest", "toy_halonet")
FULL = ("resnet50", "resnext50_32x4d", "resnest50d", "halonet50ts")


@pytest.fixture(scope="module")
def views():
    """Of each toy net, five pictures of each class."""
    indices = toy_indices(5)
    world = nw.ToyWorld("test")
    pictures, labels = list(world.batch(indices)["image"]), world.labels(indices)
    nets = {name: nw.create_model(name, pretrained=True) for name in TOYS}
    return {
        name: Neighbours(net, pictures, labels=labels, class_names=world.classes, k=4) for name, net in nets.items()
    }


@pytest.mark.parametrize("name", TOYS)
def test_the_neighbours_are_those_of_comparing_every_two(views, name):
    view = views[name]
    assert view.check().startswith("neighbours as by comparing every two")
    for i in (0, 37, 99):
        a = view.vectors[i]
        far = []
        for j, b in enumerate(view.vectors):
            if j != i:
                cosine = sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))
                far.append((1 - cosine, j))
        expected = sorted(far)[:4]
        assert view.data["neighbours"][i].tolist() == [j for _, j in expected]
        assert np.allclose(view.data["distances"][i], [d for d, _ in expected], atol=1e-9)


@pytest.mark.parametrize("name", FULL)
def test_full_size_nets_are_served(name):
    net = nw.create_model(name)
    net.load_state_dict(golden_state(name))
    side = 256 if name == "halonet50ts" else 96
    view = Neighbours(net, torch.randn(4, 3, side, side), k=2)
    assert view.check()
    assert view.vectors.shape == (4, 2048)
    assert view.data["agreement"] is None and view.data["chance"] is None


def test_the_vectors_are_what_the_classifier_reads(views):
    net = views["toy_halonet"].net
    with torch.no_grad():
        expected = net.eval().forward_head(net.forward_features(views["toy_halonet"].inputs[:3]), pre_logits=True)
    assert np.allclose(views["toy_halonet"].vectors[:3], expected.numpy(), atol=1e-5)
    assert hooks_in(net) == 0


def test_nets_without_a_classifier_and_of_other_makes_are_served():
    torch.manual_seed(0)
    bare = nw.create_model("toy_resnet", num_classes=0)
    view = Neighbours(bare, torch.randn(4, 3, 64, 64), k=2)
    assert view.check() and len(view.identities()) == 1
    other = timm.create_model("resnet18")
    other.preprocessing = preprocessing_of(bare)
    assert Neighbours(other, torch.randn(4, 3, 64, 64), k=2).vectors.shape == (4, 512)


def test_the_toy_pictures_are_always_the_same_and_every_class_has_as_many():
    labels = nw.ToyWorld("test").labels(toy_indices(12))
    assert np.bincount(labels).tolist() == [12] * 20
    assert toy_indices(2)[:4] == toy_indices(12)[:2] + toy_indices(12)[12:14]


def test_the_check_sees_distances_along_the_length_of_the_vectors(views, monkeypatch):
    def by_length(vectors, k):
        distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
        np.fill_diagonal(distances, np.inf)
        order = np.argsort(distances, 1)[:, :k]
        return order, np.take_along_axis(distances, order, 1)

    expect_the_check_to_fail(views, monkeypatch, by_length)


def test_the_check_sees_a_picture_that_is_its_own_neighbour(views, monkeypatch):
    def with_itself(vectors, k):
        order, distances = nearest(vectors, k)
        return np.c_[np.arange(len(order)), order[:, :-1]], np.c_[np.zeros(len(order)), distances[:, :-1]]

    expect_the_check_to_fail(views, monkeypatch, with_itself)


def test_the_check_sees_neighbours_of_a_map_in_two_dimensions(views, monkeypatch):
    expect_the_check_to_fail(views, monkeypatch, lambda vectors, k: nearest(principal(vectors)[0], k))


def expect_the_check_to_fail(views, monkeypatch, wrong):
    view = views["toy_resnet"]
    broken = Neighbours(view.net, view.inputs, labels=view.labels, k=4)
    monkeypatch.setattr(neighbours, "nearest", wrong)
    with pytest.raises(CheckFailed, match="comparing every two"):
        broken.check()


def test_the_check_sees_vectors_that_the_logits_do_not_come_from(views, monkeypatch):
    right = neighbours.relative
    monkeypatch.setattr(neighbours, "relative", lambda found, expected: right(found * 1.01, expected))
    view = views["toy_resnet"]
    with pytest.raises(CheckFailed):
        Neighbours(view.net, view.inputs, k=4).check()


def test_trained_nets_find_their_classes_and_random_ones_hardly(views):
    for view in views.values():
        share, low, high = view.data["agreement"]
        assert 0.7 < low < share < high
        random = view.twin.data["agreement"]
        assert random[2] < 0.25
        assert view.data["chance"] == pytest.approx(4 / 99)


def test_agreement_is_counted_as_by_a_loop():
    order, labels = np.array([[1, 2], [0, 3], [3, 0], [2, 4], [0, 1]]), np.array([0, 0, 1, 1, -1])
    shares = [[labels[j] == labels[i] for j in order[i]] for i in range(4)]
    share, low, high = agreement(order, labels)
    assert share == np.mean(shares) and low <= share <= high
    assert agreement(order, labels) == (share, low, high)
    pairs = [labels[i] == labels[j] for i in range(4) for j in range(5) if i != j]
    assert chance(labels) == pytest.approx(np.mean(pairs))
    assert agreement(order, np.full(5, -1)) is None


def test_an_interval_covers_what_it_is_of_in_nineteen_cases_of_twenty():
    rng = np.random.RandomState(1)
    covered = 0
    for _ in range(100):
        labels = np.zeros(80, dtype=int)
        labels[0::2] = 1
        order = rng.randint(0, 80, (80, 6))
        _, low, high = agreement(order, labels)
        covered += low <= 0.5 <= high
    assert 88 <= covered <= 100


def test_what_the_map_keeps_is_counted_as_by_a_loop(views):
    view = views["toy_resnext"]
    flat, unit = view.data["map"], view.vectors / np.linalg.norm(view.vectors, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(np.cov(unit.T))
    assert view.data["kept_variance"] == pytest.approx(values[-2:].sum() / values.sum())
    kept = 0
    for i in range(100):
        far = sorted((math.dist(flat[i], flat[j]), j) for j in range(100) if j != i)
        kept += len({j for _, j in far[:4]} & set(view.data["neighbours"][i].tolist())) / 4
    assert view.data["kept_neighbours"] == pytest.approx(kept / 100)
    assert view.data["kept_neighbours"] < 0.9


def test_a_picture_of_ones_own_joins_the_others(views):
    view = views["toy_halonet"]
    picture = nw.ToyWorld("test")[toy_indices(5)[42]]["image"]
    own = Neighbours(view.net, view.inputs, labels=view.labels, class_names=view.class_names, query=picture, k=3)
    assert own.data["query"] == 100 and own.labels[-1] == -1
    assert own.data["neighbours"][100, 0] == 42
    assert own.data["distances"][100, 0] == pytest.approx(0, abs=1e-6)
    assert "(your own)" in own.alt and own.check()


def test_the_random_twin_is_another_net_and_the_first_is_left_alone(views):
    view = views["toy_resnest"]
    before = {name: value.clone() for name, value in view.net.state_dict().items()}
    twin = view.random_twin()
    assert twin.net is not view.net and twin.check()
    assert not np.allclose(twin.vectors, view.vectors)
    assert all(torch.equal(value, before[name]) for name, value in view.net.state_dict().items())
    assert hooks_in(view.net) == hooks_in(twin.net) == 0


def test_the_page_of_240_toy_pictures_is_small(views):
    view = Neighbours(views["toy_resnext"].net)
    assert len(view.inputs) == 240 and view.k == 10
    assert len(view.to_html()) < 1_500_000
    payload = view.payload()
    assert payload["trained"]["neighbours"].shape == payload["random"]["neighbours"].shape == (240, 10)


def test_the_description_has_the_numbers(views):
    view = views["toy_halonet"]
    share, low, high = view.data["agreement"]
    assert f"{share:.1%} share the picture's class ({low:.1%} to {high:.1%})" in view.alt
    assert f"at {view.data['distances'][0, 0]:.3f}" in view.alt
    assert view.figure().alt == view.alt


def test_what_cannot_be_compared_is_named(views):
    net = views["toy_resnet"].net
    with pytest.raises(ValueError, match="Of 2 pictures none"):
        Neighbours(net, torch.randn(2, 3, 64, 64))
    with pytest.raises(ValueError, match="3 labels do not fit 4 pictures"):
        Neighbours(net, torch.randn(4, 3, 64, 64), labels=[0, 1, 2])
    maps = nn.Sequential(nn.Conv2d(3, 4, 3))
    maps.preprocessing = preprocessing_of(net)
    with pytest.raises(NotInThisNet, match="one vector a picture"):
        Neighbours(maps, torch.randn(4, 3, 64, 64))
