"""The toy nets keep their promises: one budget, one skeleton, middles of their own, pictures of several sizes."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from netwright.nets.config import Block, Halo, Split
from netwright.nets.halonet import HaloAttention
from netwright.nets.net import FeatureNet, ResidualNet
from netwright.nets.resnest import SplitAttention
from netwright.nets.toy import CONFIGS
from netwright.toys import ToyWorld

CLASSES = len(ToyWorld.classes)
WITHOUT_MIDDLE = Block()


def made(name: str) -> ResidualNet:
    torch.manual_seed(0)
    return ResidualNet(CONFIGS[name], num_classes=CLASSES)


def parameters(name: str) -> int:
    return sum(p.numel() for p in made(name).parameters())


def middles(net: ResidualNet) -> list[nn.Module]:
    return [block.middle for stage in net.stages for block in stage]


def test_there_are_four_and_each_has_half_a_million_parameters():
    counts = {name: parameters(name) for name in CONFIGS}
    assert list(counts) == ["toy_resnet", "toy_resnext", "toy_resnest", "toy_halonet"]
    assert all(abs(count - 500_000) <= 0.05 * 500_000 for count in counts.values()), counts
    assert max(counts.values()) <= 1.05 * min(counts.values()), counts


@pytest.mark.parametrize("name", CONFIGS)
def test_a_file_of_weights_stays_under_three_megabytes(name):
    assert sum(tensor.nbytes for tensor in made(name).state_dict().values()) < 2_900_000  # the header takes the rest


def test_they_differ_in_nothing_but_their_middles():
    def skeleton(config):
        stages = (
            replace(stage, blocks=(WITHOUT_MIDDLE,) * len(stage.blocks), mid_channels=1) for stage in config.stages
        )
        return replace(config, stages=tuple(stages))

    assert len({skeleton(config) for config in CONFIGS.values()}) == 1


def test_the_middles_are_what_their_names_say():
    kinds = {name: {block for stage in config.stages for block in stage.blocks} for name, config in CONFIGS.items()}
    assert kinds["toy_resnet"] == {Block()}
    assert kinds["toy_resnext"] == {Block(cardinality=8)}
    assert kinds["toy_resnest"] == {Block(channel_attention=Split(radix=2))}
    assert {block.spatial_attention for block in kinds["toy_halonet"]} == {
        None,
        Halo(heads=4, block_size=8, halo=3),
        Halo(heads=8, block_size=4, halo=2),
    }
    assert all(isinstance(middle.attention, SplitAttention) for middle in middles(made("toy_resnest")))
    groups = {middle.conv.groups for middle in middles(made("toy_resnext"))}
    assert groups == {8} and {middle.conv.groups for middle in middles(made("toy_resnet"))} == {1}
    narrow, wide = (CONFIGS[name].stages[:3] for name in ("toy_resnet", "toy_resnext"))
    assert [2 * stage.mid_channels for stage in narrow] == [stage.mid_channels for stage in wide]


def test_halo_attention_reads_maps_of_16_and_of_8_pixels():
    net, sides = made("toy_halonet"), {}
    for name, module in net.named_modules():
        if isinstance(module, HaloAttention):
            module.register_forward_hook(lambda _, x, out, name=name: sides.update({name: (x[0].shape, out.shape)}))
    net(torch.zeros(2, 3, 64, 64))
    assert sides == {
        "stages.1.0.middle.attention": ((2, 32, 16, 16), (2, 32, 8, 8)),
        "stages.2.0.middle.attention": ((2, 64, 8, 8), (2, 64, 4, 4)),
    }


@pytest.mark.parametrize("side", (64, 96, 128))
@pytest.mark.parametrize("name", CONFIGS)
def test_they_learn_at_any_multiple_of_32_pixels(name, side):
    net = made(name)
    generator = torch.Generator().manual_seed(1)
    logits = net(torch.randn(2, 3, side, side, generator=generator))
    assert logits.shape == (2, CLASSES)
    nn.functional.cross_entropy(logits, torch.tensor([0, 19])).backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("side", (64, 96, 128))
@pytest.mark.parametrize("name", CONFIGS)
def test_five_maps_at_strides_2_to_32(name, side):
    net = FeatureNet(made(name)).eval()
    with torch.no_grad():
        maps = net(torch.zeros(1, 3, side, side))
    channels_and_strides = ((32, 2), (64, 4), (128, 8), (256, 16), (384, 32))
    expected = [(1, channels, side // stride, side // stride) for channels, stride in channels_and_strides]
    assert [tuple(m.shape) for m in maps] == expected
    assert [info["stride"] for info in net.feature_info] == [2, 4, 8, 16, 32]
