"""LAMB makes timm's steps, and parameter groups are timm's groups, on nets with every kind of part."""

import copy
from importlib import import_module

import pytest
import torch
from torch import nn

from netwright.nets.zoo import build
from netwright.tune.optimisers import Lamb, layer_numbers, make_optimiser, param_groups
from netwright.weights.keymaps import to_netwright
from peers import timm

optim = import_module("timm.optim")


def small_net(dtype=torch.float64, seed: int = 0) -> nn.Module:
    """No bias before BatchNorm: its gradient would be rounding alone, which LAMB blows up to a step like any other."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)).to(dtype)


def train(net: nn.Module, optimiser: torch.optim.Optimizer, steps: range, scale: float = 1.0) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(8, 6, generator=generator, dtype=torch.float64).to(net[0].weight.dtype)
        optimiser.zero_grad()
        (scale * net(x).square().mean()).backward()
        optimiser.step()


def split(net: nn.Module, weight_decay: float) -> list[dict]:
    return [
        {"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in net.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]


def difference(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


# The gradient is clipped where its norm is above 1: once with a tiny loss, once with a huge one.
@pytest.mark.parametrize("scale", (1e-2, 1e3))
@pytest.mark.parametrize("options", ({}, {"betas": (0.8, 0.95), "eps": 1e-3}, {"max_grad_norm": None}))
def test_lamb_makes_the_steps_of_timm(scale, options):
    mine, theirs = small_net(), small_net()
    train(mine, Lamb(split(mine, 0.02), lr=5e-2, **options), range(12), scale)
    train(theirs, optim.Lamb(split(theirs, 0.02), lr=5e-2, **options), range(12), scale)
    assert difference(mine, small_net()) > 1e-2  # it has moved
    assert difference(mine, theirs) < 1e-14


@pytest.mark.parametrize("at_once", (False, True))
def test_lamb_makes_the_same_steps_in_whatever_portions(monkeypatch, at_once):
    if at_once:
        monkeypatch.setattr(Lamb, "_portions", staticmethod(lambda weights: [weights] if weights else []))
    mine, theirs = small_net(), small_net()
    train(mine, Lamb(split(mine, 0.02), lr=5e-2), range(8))
    train(theirs, optim.Lamb(split(theirs, 0.02), lr=5e-2, foreach=not at_once), range(8))
    assert difference(mine, theirs) < 1e-14


@pytest.mark.gpu
def test_lamb_on_a_gpu_makes_the_steps_it_makes_on_a_cpu():
    nets = [build("resnest14d", num_classes=3).double() for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    nets[1].cuda()
    optimisers = [Lamb(param_groups(net, 0.01), lr=1e-2) for net in nets]
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        for ours, gpu in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
            ours.grad = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
            gpu.grad = ours.grad.cuda()
        for optimiser in optimisers:
            optimiser.step()
    assert difference(nets[0], nets[1].cpu()) < 1e-12


def test_lamb_moves_a_layer_by_its_own_size():
    """Algorithm 2 of the paper by hand, first step: m / (1 - b1) is the gradient, sqrt(v / (1 - b2)) its size."""
    weight = nn.Parameter(torch.tensor([[3.0, 4.0]], dtype=torch.float64))
    weight.grad = torch.tensor([[0.1, -0.2]], dtype=torch.float64)
    Lamb([weight], lr=0.1, weight_decay=0.5, eps=0.0).step()
    step = torch.tensor([[1.0, -1.0]]) + 0.5 * torch.tensor([[3.0, 4.0]])
    expected = torch.tensor([[3.0, 4.0]]) - 0.1 * 5 * step / step.norm()
    assert torch.allclose(weight.detach().float(), expected, atol=1e-6)


def test_lamb_passes_over_what_has_no_gradient_and_what_is_zero():
    idle, zero = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.zeros(2, 2))
    zero.grad = torch.ones(2, 2)
    Lamb([{"params": [idle]}, {"params": [zero]}], lr=0.1).step()
    assert idle.equal(torch.ones(2, 2))
    assert torch.allclose(zero, torch.full((2, 2), -0.1), atol=1e-5)  # Adam's step: no ratio can be formed


@pytest.mark.parametrize("name, options", (("lamb", {}), ("adamw", {"eps": 1e-6}), ("sgd", {"momentum": 0.9})))
def test_an_optimiser_that_is_saved_and_loaded_goes_on_bit_for_bit(name, options):
    mine = small_net(torch.float32)
    optimiser = make_optimiser(name, split(mine, 0.1), 0.05, **options)
    train(mine, optimiser, range(5))
    again, state = copy.deepcopy(mine), copy.deepcopy(optimiser.state_dict())
    train(mine, optimiser, range(5, 9))
    resumed = make_optimiser(name, split(again, 0.1), 0.05, **options)
    resumed.load_state_dict(state)
    train(again, resumed, range(5, 9))
    assert difference(mine, again) == 0.0


@pytest.mark.parametrize("decay", (None, 0.75))
@pytest.mark.parametrize(
    "architecture", ("resnet18", "resnext50_32x4d", "resnest14d", "sehalonet33ts", "haloregnetz_b")
)
def test_groups_are_those_of_timm(architecture, decay):
    theirs, mine = timm.create_model(architecture), build(architecture)
    make = optim.param_groups_layer_decay if decay else optim.param_groups_weight_decay
    expected = {}
    for group in make(theirs, weight_decay=0.05, **({"layer_decay": decay} if decay else {})):
        for p in group["params"]:
            expected[id(p)] = (group["weight_decay"], group.get("lr_scale", 1.0))
    theirs_by_our_name = to_netwright(dict(theirs.named_parameters()) | dict(theirs.named_buffers()))
    found = {}
    for group in param_groups(mine, 0.05, exempt=("vectors",), layer_decay=decay):
        for p in group["params"]:
            found[id(p)] = (group["weight_decay"], group["lr_scale"])
    names = [name for name, _ in mine.named_parameters()]
    assert len(found) == len(expected) == len(names)
    for name, p in mine.named_parameters():
        assert found[id(p)] == pytest.approx(expected[id(theirs_by_our_name[name])], abs=1e-15), name
    assert len({*found.values()}) > (8 if decay else 1)


def test_relative_tables_can_be_spared_and_frozen_parameters_are_in_no_group():
    net = build("halonet26t", num_classes=3)
    net.stem.requires_grad_(False)
    names = {id(p): name for name, p in net.named_parameters()}
    groups = param_groups(net, 0.1)
    spared = {names[id(p)] for g in groups if g["weight_decay"] == 0 for p in g["params"]}
    decayed = {names[id(p)] for g in groups if g["weight_decay"] == 0.1 for p in g["params"]}
    assert {n for n in spared if n.endswith("_table")} and not {n for n in decayed if n.endswith("_table")}
    assert spared | decayed == {n for n in names.values() if not n.startswith("stem.")}
    assert all(p.ndim > 1 for g in groups if g["weight_decay"] for p in g["params"])


def test_layers_count_from_the_stem_to_the_classifier():
    layers = layer_numbers(build("sehalonet33ts", num_classes=2))
    assert (layers["stem.0.conv.weight"], layers["stages.0.0.reduce.conv.weight"]) == (0, 1)
    assert layers["final_conv.conv.weight"] == layers["stages.3.1.expand.conv.weight"] == 10
    assert layers["classifier.bias"] == 11


@pytest.mark.parametrize(
    "make, words",
    (
        (lambda net: make_optimiser("adagrad", net.parameters(), 0.1), "sgd, adamw, lamb"),
        (lambda net: Lamb(net.parameters(), lr=-1), "lr=-1"),
        (lambda net: Lamb(net.parameters(), betas=(0.9, 1.0)), "betas"),
        (lambda net: param_groups(build("resnest14d"), 0.1, exempt=("biases",)), "biases"),
        (lambda net: param_groups(build("resnest14d").requires_grad_(False), 0.1), "nothing to train"),
        (lambda net: layer_numbers(with_stages()), "no parameter"),
    ),
)
def test_errors_name_the_way_out(make, words):
    with pytest.raises(ValueError, match=words):
        make(small_net())


def with_stages() -> nn.Module:
    """A net of somebody else's, which happens to have stages."""
    net = nn.Module()
    net.stages, net.head = nn.ModuleList([nn.Sequential(nn.Linear(2, 2))]), nn.Linear(2, 2)
    return net
