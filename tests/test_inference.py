"""`nw.optimize` changes how fast a net answers, and nothing else."""

import pytest
import torch
from torch import nn

from netwright.inference import FusedConv, Optimized, fold_normalisations, optimize
from netwright.nets.config import Block, NetConfig, Split, Stage, Stem
from netwright.nets.halonet import AttentionMiddle
from netwright.nets.net import FeatureNet, ResidualNet
from parity import picture, relative_error, twins

ONE_OF_EACH = ("resnet18", "resnext50_32x4d", "resnest50d_4s2x40d", "halonet26t", "sehalonet33ts", "haloregnetz_b")


@pytest.mark.parametrize("architecture", ONE_OF_EACH)
def test_an_optimised_net_answers_as_the_peer_does(architecture):
    theirs, mine = twins(architecture, torch.float32)
    x = picture(architecture, torch.float32, batch=2)
    fast = optimize(mine)
    with torch.no_grad():
        expected = theirs(x)
    assert relative_error(fast(x), expected) <= 1e-4
    assert relative_error(fast(x.to(memory_format=torch.channels_last)), expected) <= 1e-4
    # Only where no convolution comes before, after halo attention, has a BatchNorm nothing to be folded into.
    left = sum(isinstance(module, nn.BatchNorm2d) for module in fast.modules())
    assert left == sum(isinstance(module, AttentionMiddle) for module in mine.modules())


def test_another_size_of_input_and_then_the_first_again_are_right():
    theirs, mine = twins("resnext50_32x4d", torch.float32)
    fast = optimize(mine)
    for side, batch in ((64, 1), (97, 3), (64, 1)):
        x = picture("resnext50_32x4d", torch.float32, batch, side)
        with torch.no_grad():
            assert relative_error(fast(x), theirs(x)) <= 1e-4


def test_feature_maps_are_not_overwritten_by_what_comes_after_them():
    _, mine = twins("resnest50d", torch.float32)
    x = picture("resnest50d", torch.float32)
    with torch.no_grad():
        expected = mine.forward_maps(x)
    fast = optimize(FeatureNet(mine))
    for found, wanted in zip(fast(x), expected, strict=True):
        assert relative_error(found, wanted) <= 1e-4
    assert [info["stride"] for info in fast.feature_info] == [2, 4, 8, 16, 32]


def test_the_net_itself_stays_as_it_was():
    _, mine = twins("resnet18", torch.float32)
    before = {name: tensor.clone() for name, tensor in mine.state_dict().items()}
    mine.train()
    optimize(mine)
    assert mine.training and all(parameter.requires_grad for parameter in mine.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in mine.state_dict().items())


def test_an_optimised_net_stays_in_evaluation_mode_and_knows_what_the_net_knew():
    fast = optimize(ResidualNet(NetConfig(Stem((8,), 3), (Stage((Block(),), 8, 8),)), num_classes=5))
    assert isinstance(fast, Optimized) and not fast.train().training and not fast.net.training
    assert fast.num_classes == 5 and fast.weights is None
    with pytest.raises(AttributeError):
        fast.no_such_thing  # noqa: B018


def test_group_normalisation_is_left_alone():
    config = NetConfig(
        Stem((16,), 3), (Stage((Block(), Block(channel_attention=Split())), 16, 32),), norm="group", activation="silu"
    )
    torch.manual_seed(0)
    net = ResidualNet(config, num_classes=3).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert relative_error(optimize(net)(x), net(x)) <= 1e-5


def test_folding_alone_is_exact_to_rounding_in_float64():
    _, mine = twins("resnest50d", torch.float64)
    x = picture("resnest50d")
    with torch.no_grad():
        expected = mine(x)
        fold_normalisations(mine)
        assert relative_error(mine(x), expected) <= 1e-9
        assert relative_error(optimize(mine)(x), expected) <= 1e-9  # float64: fused step by step


def test_a_fused_convolution_is_the_convolution_the_sum_and_the_activation():
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=4)
    x, residual = torch.randn(2, 8, 9, 9), torch.randn(2, 12, 5, 5)
    for act in (None, nn.ReLU(), nn.SiLU()):
        fused = FusedConv(conv, act)
        with torch.no_grad():
            for added in (None, residual):
                expected = conv(x) if added is None else conv(x) + added
                expected = expected if act is None else act(expected)
                assert relative_error(fused(x, None if added is None else added.clone()), expected) <= 1e-5


def test_compiled_and_frozen_gives_the_same_answers():
    config = NetConfig(
        Stem((8, 8, 16), 3), (Stage((Block(cardinality=4), Block(channel_attention=Split())), 16, 32),), shortcut="pool"
    )
    torch.manual_seed(0)
    net = ResidualNet(config, num_classes=3).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert relative_error(optimize(net, compile=True)(x), net(x)) <= 1e-4
    torch.compiler.reset()
