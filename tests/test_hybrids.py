"""What the comparison of the hybrid nets with timm (test_nets) does not show: their layers written in loops, and limits."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netwright.inference import optimize
from netwright.nets.config import Block, Bot, Halo, Lambda, NetConfig, SqueezeExcite, Stage, Stem
from netwright.nets.halo_fast import fast_halo_attention
from netwright.nets.halonet import HaloAttention, halo_attention
from netwright.nets.hybrids import BotAttention, InvertedBottleneck, LambdaLayer
from netwright.nets.net import ResidualNet
from netwright.nets.zoo import CONFIGS, build
from parity import picture, relative_error, twins


def randomised(module: nn.Module) -> nn.Module:
    """The module in float64 and evaluation mode, with random parameters and statistics."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.5, generator=generator)
        for name, buffer in module.named_buffers():
            if name.endswith(("mean", "var")):
                buffer.uniform_(0.5, 2, generator=generator)
    return module.double().eval()


def random_map(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


# --- the layers, one pixel at a time ---------------------------------------------------------------------------------


def bot_in_loops(layer: BotAttention, x: torch.Tensor) -> torch.Tensor:
    query, key, value = layer.qkv(x).chunk(3, dim=1)
    side, dim, out = layer.map_size, layer.head_dim, torch.zeros_like(value)
    pixels = [(row, column) for row in range(side) for column in range(side)]
    for b in range(len(x)):
        for head in range(layer.heads):
            mine = slice(head * dim, (head + 1) * dim)
            for y, x_ in pixels:
                q = query[b, mine, y, x_]
                logits = [
                    q @ key[b, mine, v, u] / math.sqrt(dim)
                    + q @ layer.height_table[v - y + side - 1]
                    + q @ layer.width_table[u - x_ + side - 1]
                    for v, u in pixels
                ]
                weights = torch.stack(logits).softmax(0)
                out[b, mine, y, x_] = sum(w * value[b, mine, v, u] for w, (v, u) in zip(weights, pixels, strict=True))
    return out


@pytest.mark.parametrize("attend", (fast_halo_attention, halo_attention))
def test_bot_attention_is_every_pixel_looking_at_every_pixel(attend):
    layer, x = randomised(BotAttention(6, Bot(heads=2, map_size=4))), random_map(2, 6, 4, 4)
    layer.attend = attend
    with torch.no_grad():
        expected = bot_in_loops(layer, x)
        assert relative_error(layer(x), expected) <= 1e-12
        layer.pool = BotAttention(6, Bot(heads=2, map_size=4), stride=2).pool
        assert relative_error(layer(x), F.avg_pool2d(expected, 2)) <= 1e-12


def lambda_in_loops(layer: LambdaLayer, x: torch.Tensor) -> torch.Tensor:
    heads, k, v = layer.heads, layer.key_dim, layer.value_dim
    query, key, value = layer.qkv(x).split((heads * k, k, v), dim=1)
    query, value = layer.query_norm(query), layer.value_norm(value)
    batch, _, height, width = x.shape
    weight, reach = layer.position.weight, layer.position.weight.shape[2] // 2
    out = x.new_zeros(batch, heads * v, height, width)
    for b in range(batch):
        share = key[b].exp() / key[b].exp().sum((1, 2), keepdim=True)  # each key channel: over all pixels
        content = sum(torch.outer(share[:, i, j], value[b, :, i, j]) for i in range(height) for j in range(width))
        for row in range(height):
            for column in range(width):
                own = content + layer.position.bias[:, None]
                for i in range(max(row - reach, 0), min(row + reach + 1, height)):
                    for j in range(max(column - reach, 0), min(column + reach + 1, width)):
                        place = weight[:, 0, i - row + reach, j - column + reach, 0]
                        own = own + torch.outer(place, value[b, :, i, j])
                for head in range(heads):
                    mine = query[b, head * k : (head + 1) * k, row, column]
                    out[b, head * v : (head + 1) * v, row, column] = mine @ own
    return out


@pytest.mark.parametrize("scope", (1, 3, 7))
def test_a_lambda_layer_multiplies_each_query_by_its_pixels_own_matrix(scope):
    layer = randomised(LambdaLayer(8, Lambda(heads=2, key_dim=3, scope=scope)))
    x = random_map(2, 8, 6, 4)
    with torch.no_grad():
        expected = lambda_in_loops(layer, x)
        assert relative_error(layer(x), expected) <= 1e-12
        layer.pool = LambdaLayer(8, Lambda(heads=2), stride=2).pool
        assert relative_error(layer(x), F.avg_pool2d(expected, 2)) <= 1e-12


@pytest.mark.parametrize("stride", (1, 2))
def test_blocks_of_seven_have_the_same_fast_form_forward_and_backward(stride):
    layer = randomised(HaloAttention(12, Halo(heads=2, block_size=7, halo=2, key_dim=4), stride=stride))
    x = random_map(2, 12, 14, 21)
    results = []
    for attend in (halo_attention, fast_halo_attention):
        layer.attend = attend
        out = layer(x)
        results.append([out, *torch.autograd.grad(out.square().sum(), list(layer.parameters()))])
    assert results[0][0].shape == (2, 12, 14 // stride, 21 // stride)
    for readable, fast in zip(*results, strict=True):
        assert relative_error(fast, readable) <= 1e-10


# --- the inverted block ----------------------------------------------------------------------------------------------


def inverted_blocks(net: ResidualNet) -> list[InvertedBottleneck]:
    return [module for module in net.modules() if isinstance(module, InvertedBottleneck)]


def test_an_inverted_block_has_a_shortcut_only_where_the_shape_stays():
    blocks = inverted_blocks(build("haloregnetz_b", drop_path_rate=0.2))
    assert len(blocks) == 2 + 6 + 12 + 2
    changing = [block for block in blocks if block.shortcut is None]
    assert [block.expand.conv.out_channels for block in changing] == [48, 96, 192, 288]
    # Dropping a branch that has nothing beside it would erase the picture.
    assert [block.drop_path.rate for block in changing] == [0] * 4
    assert all(block.drop_path.rate > 0 for block in blocks if block.shortcut is not None)


def test_a_fresh_inverted_block_is_the_identity_even_for_negative_numbers_and_never_silent():
    staying = next(block for block in inverted_blocks(build("haloregnetz_b").eval()) if block.shortcut is not None)
    x = torch.randn(1, 48, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(staying(x), x) and x.min() < 0
    changing = inverted_blocks(build("haloregnetz_b").eval())[2]
    assert changing.shortcut is None and changing(x).std() > 0.01


def test_a_dilated_haloregnetz_equals_timm():
    theirs, mine = twins("haloregnetz_b", output_stride=16)
    x = picture("haloregnetz_b")
    with torch.no_grad():
        assert mine.forward_features(x).shape[-1] == 224 // 16
        assert relative_error(mine(x), theirs(x)) <= 1e-9


# --- what a reader composes, and what is refused -----------------------------------------------------------------------

KINDS = (
    Block(spatial_attention=Bot(heads=2, map_size=16)),
    Block(spatial_attention=Lambda(heads=2, key_dim=8, scope=5)),
    Block("inverted", cardinality=4, channel_attention=SqueezeExcite(4), mid_channels=48),
    Block("inverted", spatial_attention=Halo(heads=2, block_size=4, halo=1)),
    Block("inverted", spatial_attention=Lambda(heads=2, scope=3)),
    Block("inverted", spatial_attention=Bot(heads=4, map_size=16), mid_channels=32),
    Block(mid_channels=40),
)


def composed(norm: str = "batch") -> NetConfig:
    """Every kind inside a stage, and the attentions as first blocks, where they change width and stride."""
    later = Block(spatial_attention=Bot(map_size=8)), Block("inverted", spatial_attention=Bot(map_size=4))
    return NetConfig(
        stem=Stem((16,), kernel_size=3, pool=False),
        stages=(
            Stage(KINDS, mid_channels=16, out_channels=24, stride=1),
            Stage((KINDS[0], later[0]), mid_channels=16, out_channels=32),
            Stage((Block(spatial_attention=Lambda(scope=3)), later[1]), mid_channels=16, out_channels=32),
            Stage((Block("inverted", cardinality=2),), mid_channels=16, out_channels=32),  # changes the stride alone
        ),
        activation="silu",
        norm=norm,
    )


def composed_net(x: torch.Tensor, norm: str = "batch") -> ResidualNet:
    """Random weights, with the statistics of x: a lambda layer is of second degree, and without them numbers explode."""
    torch.manual_seed(0)
    net = ResidualNet(composed(norm), num_classes=5)
    for parameter in net.parameters():  # a residual branch starts at zero, and then nothing inside it has a gradient
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.5)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1
    net(x)
    return net.eval()


@pytest.mark.parametrize("norm", ("batch", "group"))
def test_any_hybrid_block_at_any_place_composes_to_a_net_that_trains(norm):
    x = random_map(2, 3, 32, 32).float()
    net = composed_net(x, norm)
    assert any(isinstance(module, nn.BatchNorm2d) for module in net.modules()) == (norm == "batch")
    net(x).square().sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


def test_an_optimised_net_of_hybrid_blocks_answers_the_same():
    x = random_map(2, 3, 32, 32).float()
    net = composed_net(x)
    with torch.no_grad():
        assert relative_error(optimize(net)(x), net(x)) <= 1e-5


@pytest.mark.parametrize(
    ("architecture", "side", "output_stride", "message"),
    (
        ("halo2botnet50ts_256", 512, 32, "positions of a map of 8x8, and this one is 16x16.*input_size"),
        ("lamhalobotnet50ts_256", 256, 16, "positions of a map of 8x8, and this one is 16x16.*output_stride 32"),
        ("halo2botnet50ts_256", 224, 32, "blocks of 8x8, and a map of 28x28"),
        ("haloregnetz_b", 256, 32, "blocks of 7x7, and a map of 16x16"),
    ),
)
def test_a_picture_of_the_wrong_size_is_refused_with_a_way_out(architecture, side, output_stride, message):
    net = build(architecture, output_stride=output_stride).eval()
    with pytest.raises(ValueError, match=message), torch.no_grad():
        net(torch.zeros(1, 3, side, side))


def test_a_botnet_for_another_size_is_one_number_away():
    config = CONFIGS["halo2botnet50ts_256"]
    *before, last = config.stages
    conv, _, _ = last.blocks
    larger = replace(last, blocks=(conv, Block(spatial_attention=Bot(map_size=16)), conv))
    net = ResidualNet(replace(config, stages=(*before, larger), input_size=512)).eval()
    with torch.no_grad():
        assert net(torch.zeros(1, 3, 512, 512)).shape == (1, 1000)


@pytest.mark.parametrize(
    ("make", "message"),
    (
        (lambda: Lambda(scope=4), "scope=4 has no pixel in its middle: choose an odd"),
        (lambda: Block("basic", mid_channels=8), "no middle to replace"),
        (lambda: Block("inverted", cardinality=2, spatial_attention=Bot()), "mixes space twice"),
        (lambda: Stage((Block("inverted", cardinality=16, mid_channels=40),), 64, 64), "mid_channels=40 .* 16 equal"),
        (lambda: Stage((Block(spatial_attention=Bot(heads=3)),), 64, 256), "mid_channels=64 .* 3 equal parts .heads"),
    ),
)
def test_a_hybrid_that_cannot_be_says_why(make, message):
    with pytest.raises(ValueError, match=message):
        make()
