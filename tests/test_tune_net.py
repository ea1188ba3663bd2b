"""What training does to a net besides gradients: averaging, DropBlock, freezing."""

import copy
from importlib import import_module

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from netwright.nets.config import Block, Halo, NetConfig, Split, Stage, Stem
from netwright.nets.net import ResidualNet
from netwright.nets.zoo import build
from netwright.tune.ema import Ema
from netwright.tune.freeze import freeze, is_frozen, parts_to_freeze, thaw
from netwright.tune.regularise import DropBlock, block_mask, drop_block, drop_points
from peers import timm

ModelEmaV3 = import_module(f"{timm.__name__}.utils").ModelEmaV3

TINY = NetConfig(
    Stem((8,), 3),
    (
        Stage((Block("basic"),), 8, 8, stride=1),
        Stage((Block(),), 4, 16),
        Stage((Block(channel_attention=Split(2)),), 8, 32),
        Stage((Block(spatial_attention=Halo(2, 2, 1)), Block()), 8, 32, stride=1),
    ),
    shortcut="pool",
    final_channels=24,
)


def tiny(seed: int = 0, **options) -> ResidualNet:
    """An untrained net, except that its residual branches do not start at zero: else nothing in them would show."""
    torch.manual_seed(seed)
    net = ResidualNet(TINY, num_classes=3, **options)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return net


def train(net: nn.Module, steps: int = 3) -> None:
    """With weight decay and momentum, which move a parameter that has no gradient of its own, if it is let."""
    trained = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.1, momentum=0.9, weight_decay=0.1)
    net.train()
    for step in range(steps):
        x = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        F.cross_entropy(net(x), torch.tensor([0, 1, 2] * 2)).backward()
        optimiser.step()


def moved(net: nn.Module, before: dict) -> set[str]:
    return {name for name, tensor in net.state_dict().items() if not tensor.equal(before[name])}


def kept(net: nn.Module) -> dict:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


# --- frozen ------------------------------------------------------------------------------------------------------


def test_frozen_means_frozen_buffers_too():
    net = tiny(drop_path_rate=0.3)
    freeze(net)
    before = kept(net)
    train(net)
    assert moved(net, before) == {"classifier.weight", "classifier.bias"}
    assert net.training and not any(module.training for module in net.stages.modules() if is_frozen(module))


def test_without_a_gradient_alone_the_buffers_move():
    """The trap that `freeze` is there for."""
    net = tiny()
    for part in parts_to_freeze(net, "body"):
        part.requires_grad_(False)
    before = kept(net)
    train(net)
    buffers = {name for name, _ in net.named_buffers()}
    assert len(buffers) > 20 and moved(net, before) == buffers | {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize("through, frozen", (("stem", ("stem.",)), ("stages.1", ("stem.", "stages.0.", "stages.1."))))
def test_a_net_is_frozen_up_to_a_part(through, frozen):
    net = tiny()
    freeze(net, through)
    before = kept(net)
    train(net)
    changed = moved(net, before)
    assert not [name for name in changed if name.startswith(frozen)]
    assert {"stages.2.0.middle.attention.norm.running_mean", "classifier.weight"} <= changed


def test_a_frozen_part_is_a_fixed_function_and_a_copy_of_it_too():
    net = tiny(drop_path_rate=0.5)
    freeze(net)
    x = torch.randn(4, 3, 32, 32)
    expected = net.eval().forward_features(x)
    twin = copy.deepcopy(net).train()
    assert net.train().forward_features(x).equal(expected) and twin.forward_features(x).equal(expected)
    thaw(twin)
    assert not twin.forward_features(x).equal(expected) and net.forward_features(x).equal(expected)


def test_thawing_undoes_freezing():
    net = tiny()
    freeze(net)
    net.train()
    thaw(net)
    assert all(p.requires_grad for p in net.parameters()) and all(m.training for m in net.modules())
    assert not any(map(is_frozen, net.modules()))
    net.eval()
    assert not any(module.training for module in net.modules())


def test_an_unknown_part_is_refused_by_name():
    with pytest.raises(ValueError, match="stages.3 or body"):
        freeze(tiny(), "layer1")


# --- averaged ----------------------------------------------------------------------------------------------------


def walk(net: nn.Module):
    """A net in training, as it is after each of some steps."""
    for seed in range(6):
        torch.manual_seed(seed)
        for p in net.parameters():
            p.data.add_(0.1 * torch.randn_like(p))
        net.train()(torch.randn(4, 3, 32, 32))
        yield net


@pytest.mark.parametrize("warmup", (False, True))
def test_an_average_is_that_of_timm(warmup):
    net = tiny()
    mine = Ema(net, 0.7, warmup=warmup)
    theirs = ModelEmaV3(net, 0.7, use_warmup=warmup)
    for step, now in enumerate(walk(net)):
        mine.update(now)
        theirs.update(now, step=step + 1 if warmup else None)
        for name, tensor in theirs.module.state_dict().items():
            assert torch.allclose(mine.net.state_dict()[name], tensor, rtol=0, atol=1e-7), name
    assert moved(net, mine.net.state_dict()) >= {"stem.0.conv.weight", "stem.0.norm.running_var"}


def test_an_average_is_that_of_torch():
    net = tiny()
    mine = Ema(net, 0.8)
    theirs = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.8), use_buffers=True)
    theirs.n_averaged += 1  # torch counts the first update as the beginning, and copies it
    for now in walk(net):
        mine.update(now)
        theirs.update_parameters(now)
    for name, tensor in theirs.module.state_dict().items():
        if tensor.is_floating_point():  # torch averages what counts, too
            assert torch.allclose(mine.net.state_dict()[name], tensor, rtol=0, atol=1e-7), name


def test_an_average_that_is_saved_and_loaded_goes_on_bit_for_bit():
    net = tiny()
    whole, resumed = Ema(net, 0.99, warmup=True), None
    for step, now in enumerate(walk(net)):
        whole.update(now)
        if resumed:
            resumed.update(now)
        if step == 2:
            state = copy.deepcopy(whole.state_dict())
            resumed = Ema(tiny(5), 0.99, warmup=True)
            resumed.load_state_dict(state)
    assert moved(resumed.net, whole.net.state_dict()) == set()


def test_an_average_leaves_its_net_alone_and_refuses_another():
    net = tiny()
    before, mine = kept(net), Ema(net, 0.5)
    mine.update(net)
    assert moved(net, before) == set() and net.training and not mine.net.training
    with pytest.raises(ValueError, match="other names"):
        mine.update(build("resnest14d"))
    with pytest.raises(ValueError, match="decay=1"):
        Ema(net, 1.0)


# --- DropBlock ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_size", (1, 2, 3, 4, 5, 7))
@pytest.mark.parametrize("height, width", ((9, 12), (3, 3), (1, 6)))
def test_drop_block_is_that_of_timm_on_the_same_seeds(monkeypatch, block_size, height, width):
    x = torch.randn(3, 5, height, width, generator=torch.Generator().manual_seed(0))
    rates, noise = [], torch.rand(x.shape, generator=torch.Generator().manual_seed(1))

    def bernoulli(self, rate):
        rates.append(rate)
        return self.copy_(noise < rate)

    monkeypatch.setattr(torch.Tensor, "bernoulli_", bernoulli)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: noise)
    peer = timm.layers.drop.drop_block_2d
    for rate in (0.05, 0.3):
        expected = peer(x, rate, block_size, couple_channels=False)
        assert torch.allclose(drop_block(x, rate, block_size), expected, atol=1e-6)
    assert len(rates) == 2


def test_a_square_is_dropped_around_each_seed():
    seeds = torch.zeros(1, 1, 7, 8)
    seeds[0, 0, 3, 4] = seeds[0, 0, 0, 0] = 1
    expected = torch.ones(7, 8)
    expected[2:5, 3:6] = expected[0:2, 0:2] = 0
    assert block_mask(seeds, 3)[0, 0].equal(expected)


def test_about_the_rate_is_dropped_and_the_rest_scaled_up():
    torch.manual_seed(0)
    out = drop_block(torch.ones(8, 16, 28, 28), 0.1, 3)
    assert 0.08 < (out == 0).float().mean() < 0.12
    assert out.mean().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("architecture", ("resnet18", "resnext50_32x4d", "resnest14d", "halonet26t", "haloregnetz_b"))
def test_drop_block_finds_its_places_in_every_net(architecture):
    net = build(architecture, num_classes=2)
    blocks = [block for stage in net.stages[-2:] for block in stage]
    points = [point for block in blocks for point in drop_points(block)]
    assert len({id(point) for point in points}) == len(blocks) * (2 if architecture == "resnet18" else 3)
    assert len(DropBlock(net, 0.1).hooks) == len(points)


def test_drop_block_drops_in_training_only_and_leaves_no_trace():
    net, x = tiny(), torch.randn(2, 3, 32, 32)
    names, expected = list(net.state_dict()), net.eval()(x)
    drops = DropBlock(net, 0.4)
    drops.set_epoch(9, 10)
    assert net.eval()(x).equal(expected)

    def features():  # from the same BatchNorm batch, so that only dropping can make a difference
        return copy.deepcopy(net).train().forward_features(x)

    assert list(net.state_dict()) == names and not features().equal(features())
    torch.manual_seed(1)
    first = features()
    torch.manual_seed(1)
    assert features().equal(first)
    drops.set_epoch(-1, 10)  # nothing yet
    assert features().equal(features())
    drops.set_epoch(9, 10)
    drops.remove()
    assert features().equal(features())


def test_drop_block_leaves_a_frozen_part_alone():
    net, x = tiny(), torch.randn(2, 3, 32, 32)
    DropBlock(net, 0.4).set_epoch(9, 10)
    freeze(net)
    assert net.train().forward_features(x).equal(net.forward_features(x))


def test_the_rate_grows_over_the_training():
    drops = DropBlock(tiny(), 0.1)
    rates = []
    for epoch in range(5):
        drops.set_epoch(epoch, 4)
        rates.append(drops.rate)
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])
    with pytest.raises(ValueError, match="1.5"):
        DropBlock(tiny(), 1.5)
