"""Notebook 07: its checks accept what is right however it is written, refuse what is wrong, and its nets are the published ones."""

import copy
import dataclasses
import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from netwright import notebooks
from netwright.lessons import check, engine
from netwright.lessons import halonet as lesson
from netwright.lessons.halonet import costing, fitting, parts, pictures, placing, scoring, trials
from netwright.models import create_model
from netwright.nets import halonet
from netwright.nets.config import Block, Halo, NetConfig, Stage, Stem
from netwright.nets.halonet import HaloAttention, halo_attention
from netwright.nets.layers import ConvNormAct
from netwright.nets.net import ResidualNet, make_block
from netwright.nets.toy import CONFIGS as TOYS
from netwright.nets.zoo import build
from netwright.probing.difference import first_difference
from netwright.probing.golden import golden_checkpoint, golden_state
from netwright.toys import ToyWorld
from netwright.weights.keymaps import rename
from peers import timm

WHOLE = ("halonet26t", "halonet50ts")  # the published nets without channel attention


def refuses(name, wrong):
    """Whether a check refuses a wrong version, and not because of one that is known."""
    outcome = check(name, wrong)
    return outcome.status in ("failed", "crashed") and outcome.mistake is None


# Right, and written differently ----------------------------------------------------------------------------------


def interleave_by_loop(depth, every, conv, attention):
    blocks = []
    while len(blocks) < depth:
        blocks += [conv] * every + [attention]
    blocks = blocks[:depth]
    if every >= depth:
        blocks[-1] = attention
    return blocks


def interleave_by_remainder(depth, every, conv, attention):
    return tuple(
        attention if (i + 1) % (every + 1) == 0 or (every >= depth and i == depth - 1) else conv for i in range(depth)
    )


def interleave_by_slice(depth, every, conv, attention):
    blocks = [conv] * depth
    blocks[every :: every + 1] = [attention] * len(blocks[every :: every + 1])
    return blocks if attention in blocks else [*blocks[:-1], attention]


def logits_by_loop(query, key, position):
    keys = []
    for j in range(key.shape[-2]):
        content = (query * key[..., j : j + 1, :]).sum(-1) / math.sqrt(query.shape[-1])
        keys.append(content + (query * position[:, j]).sum(-1))
    return torch.stack(keys, dim=-1)


def logits_by_broadcast(query, key, position):
    vectors = key.unsqueeze(-3) / query.shape[-1] ** 0.5 + position  # for each query its own keys
    return (query.unsqueeze(-2) * vectors).sum(-1)


def logits_by_einsum_in_place(query, key, position):
    out = torch.einsum("...qd,...kd->...qk", query, key)
    out *= query.shape[-1] ** -0.5
    out += (query.unsqueeze(-2) @ position.transpose(-1, -2)).squeeze(-2)
    return out


class PlainBottleneck(nn.Module):
    """The block from torch's own layers, without a module for an activation."""

    def __init__(self, inside, mid, out, stride=1, halo=None, act="silu"):
        super().__init__()
        self.function = {"silu": F.silu, "relu": F.relu}[act]
        self.reduce, self.middle, self.expand, self.shortcut = (nn.Module() for _ in range(4))
        self._add(self.reduce, inside, mid)
        if halo:
            self.middle.attention = HaloAttention(mid, halo, stride)
            self.middle.norm = nn.BatchNorm2d(mid)
        else:
            self._add(self.middle, mid, mid, 3, stride=stride, padding=1)
        self._add(self.expand, mid, out)
        self.projects = stride > 1 or inside != out
        if self.projects:
            self._add(self.shortcut, inside, out, stride=stride)

    @staticmethod
    def _add(module, inside, out, size=1, **options):
        module.conv, module.norm = nn.Conv2d(inside, out, size, bias=False, **options), nn.BatchNorm2d(out)

    @staticmethod
    def _run(module, x):
        return module.norm((module.attention if hasattr(module, "attention") else module.conv)(x))

    def forward(self, x):
        y = self.function(self._run(self.reduce, x))
        y = self.function(self._run(self.middle, y))
        y = self._run(self.expand, y)
        y += self._run(self.shortcut, x) if self.projects else x
        return self.function(y)


class ListedBottleneck(parts.Bottleneck):
    def forward(self, x):
        y = x
        for part in (self.reduce, self.middle, self.expand):
            y = part(y)
        return self.act(torch.add(self.shortcut(x), y))


def bottleneck_of_the_library(inside, mid, out, *, stride=1, halo=None, act="silu"):
    config = NetConfig(Stem(), (), activation=act)
    sizes = {"stride": stride, "dilation": 1, "stage_dilation": 1, "drop_path": 0.0}
    return make_block(Block(spatial_attention=halo), inside, mid, out, config, **sizes)


def padded_by_new_tensor(features, pictures, multiple, stride):
    batch, channels, height, width = pictures.shape
    rows, columns = (math.ceil(side / multiple) * multiple for side in (height, width))
    larger = pictures.new_zeros(batch, channels, rows, columns)
    larger[:, :, :height, :width] = pictures
    return features(larger)[..., : math.ceil(height / stride), : math.ceil(width / stride)]


def padded_by_concatenation(features, pictures, multiple, stride):
    height, width = pictures.shape[2:]
    for dim, side in ((2, height), (3, width)):
        shape = list(pictures.shape)
        shape[dim] = (multiple - side % multiple) % multiple
        pictures = torch.cat((pictures, torch.zeros(shape)), dim)
    out = features(pictures)
    return out.narrow(2, 0, (height + stride - 1) // stride).narrow(3, 0, (width + stride - 1) // stride)


def padded_one_by_one(features, pictures, multiple, stride):
    return torch.cat([fitting.padded(features, one.unsqueeze(0), multiple, stride) for one in pictures])


class StemModule(nn.Module):
    """A stem that is no Sequential, with the same names."""

    def __init__(self, channels, act, pool):
        super().__init__()
        widths = (3, *channels)
        for i in range(3):
            stride = 2 if i == 0 or (i == 2 and not pool) else 1
            self.add_module(str(i), ConvNormAct(widths[i], widths[i + 1], 3, stride=stride, act=act))
        self.pool = pool

    def forward(self, x):
        for i in range(3):
            x = getattr(self, str(i))(x)
        return F.max_pool2d(x, 3, 2, 1) if self.pool else x


def stem_padded_by_hand(channels, act, pool):
    layers = list(parts.tiered_stem(channels, act, pool))
    if pool:  # after an activation that may go below zero
        layers[3:] = [nn.ConstantPad2d(1, -math.inf), nn.MaxPool2d(3, 2)]
    return nn.Sequential(*layers)


def net_of_the_library(config, num_classes):  # which draws other random numbers when it is made
    return ResidualNet(config, num_classes=num_classes)


class PooledNet(parts.HaloNet):
    def forward(self, x):
        for stage in (self.stem, *self.stages):
            x = stage(x)
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


class LateMean(parts.HaloNet):
    """The classifier on every pixel, then the mean: the same, since both are linear."""

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.classifier(x.movedim(1, -1)).mean((1, 2))


def sides_by_search(config, wanted):
    demands, at = [], 4
    for stage in config.stages:
        first, *rest = stage.blocks
        after = at * stage.stride
        demands += [b.spatial_attention.block_size * at for b in [first] if b.spatial_attention]
        demands += [b.spatial_attention.block_size * after for b in rest if b.spatial_attention]
        at = after
    multiple = next(n for n in range(1, 10**6) if all(n % demand == 0 for demand in demands))
    return multiple, min(range(multiple, wanted + 2 * multiple, multiple), key=lambda side: (abs(side - wanted), -side))


def middle_of_functions(attention, channels, act):
    class Middle(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.norm = attention, nn.BatchNorm2d(channels)

        def forward(self, x):
            return getattr(F, act)(self.norm(self.attention(x)))

    return Middle()


def middle_of_the_library(attention, channels, act):
    return halonet.AttentionMiddle(attention, channels, "batch", act)


def middle_as_sequence(attention, channels, act):
    middle = nn.Sequential()
    for name, part in (("attention", attention), ("norm", nn.BatchNorm2d(channels))):
        middle.add_module(name, part)
    middle.add_module("2", nn.SiLU() if act == "silu" else nn.ReLU())
    return middle


def cost_by_counting(channels, height, width, halo):
    layer = HaloAttention(channels, halo)
    convolution = nn.Conv2d(channels, channels, 3, bias=False)
    count = {"convolution": convolution, "attention": layer}
    numbers = {name: sum(p.numel() for p in module.parameters()) for name, module in count.items()}
    window = halo.block_size + 2 * halo.halo
    used = layer.query.weight.numel() + layer.key_value.weight.numel()
    for _ in range(halo.heads):
        used += window * window * layer.key_dim + window * window * layer.value_dim + window * layer.key_dim * 2
    return {
        "convolution": [numbers["convolution"], numbers["convolution"] * height * width],
        "attention": [numbers["attention"], float(used * height * width)],
    }


RIGHT = [
    ("interleave", interleave_by_loop),
    ("interleave", interleave_by_remainder),
    ("interleave", interleave_by_slice),
    ("scale", logits_by_loop),
    ("scale", logits_by_broadcast),
    ("scale", logits_by_einsum_in_place),
    ("block", PlainBottleneck),
    ("block", ListedBottleneck),
    ("block", bottleneck_of_the_library),
    ("padded", padded_by_new_tensor),
    ("padded", padded_by_concatenation),
    ("padded", padded_one_by_one),
    ("stem", StemModule),
    ("stem", stem_padded_by_hand),
    ("net", net_of_the_library),
    ("net", PooledNet),
    ("net", LateMean),
    ("sides", sides_by_search),
    ("middle", middle_of_functions),
    ("middle", middle_of_the_library),
    ("middle", middle_as_sequence),
    ("cost", cost_by_counting),
]


@pytest.mark.parametrize(("name", "right"), RIGHT)
def test_what_is_right_passes_however_it_is_written(name, right):
    outcome = check(f"halonet.{name}", right)
    assert outcome.status == "passed", outcome


# Wrong, and in no catalogue --------------------------------------------------------------------------------------


def changed(cost, what):
    """A `cost` whose answer goes through what(answer, channels, pixels, halo)."""

    def wrong(channels, height, width, halo):
        return what(dict(cost(channels, height, width, halo)), channels, height * width, halo)

    return wrong


def with_biases(answer, channels, pixels, halo):
    key_dim = halo.key_dim or channels // halo.heads
    parameters, work = answer["attention"]
    return answer | {"attention": (parameters + 2 * halo.heads * key_dim + channels, work)}


def exchanged(answer, channels, pixels, halo):
    return {"convolution": answer["attention"], "attention": answer["convolution"]}


def square(cost):
    return lambda channels, height, width, halo: cost(channels, height, height, halo)


def block(change):
    class Wrong(parts.Bottleneck):
        def __init__(self, *channels, stride=1, halo=None, act="silu"):
            super().__init__(*channels, stride=stride, halo=halo, act=act)
            change(self)

    return Wrong


def set_eps(module):
    module.expand.norm.eps = 1e-3


def set_momentum(module):
    module.reduce.norm.momentum = 0.01


def mix_up(module):
    if hasattr(module.middle, "attention"):
        module.middle.attention.attend = lesson.keys_then_values


class DroppedAtTheEnd(parts.HaloNet):
    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return F.dropout(self.classifier(x.mean((2, 3))), 0.2, self.training)


class SquareOnly(parts.HaloNet):
    def forward(self, x):
        return super().forward(x[..., : x.shape[2]])


class NoSum(nn.Module):
    def forward(self, query, key, position):
        return scoring.logits(query, key, position.mean(0, keepdim=True).expand_as(position))


def mixed_precision(query, key, position):
    return scoring.logits(query.float(), key.float(), position.float())


def loses_batch(features, pictures, multiple, stride):
    return fitting.padded(features, pictures[:1], multiple, stride)


def pads_features(features, pictures, multiple, stride):
    out = fitting.padded(features, pictures, multiple, stride)
    return F.pad(out, (0, 1))[..., 1:]


def tail_in_place(features, pictures, multiple, stride):
    out = fitting.padded(features, pictures, multiple, stride)
    pictures[..., -1] = 0
    return out


def sides_of(config, wanted):
    multiple, nearest = placing.sides(config, wanted)
    return multiple, min(nearest, max(multiple, wanted // multiple * multiple) + (0 if wanted > 300 else multiple))


class FlippedMiddle(parts.AttentionMiddle):
    def forward(self, x):
        return super().forward(x.flip(3))


class FrozenMiddle(parts.AttentionMiddle):
    def forward(self, x):
        self.norm.eval()
        return super().forward(x)


WRONG = [
    ("cost", changed(costing.cost, with_biases)),
    ("cost", changed(costing.cost, exchanged)),
    ("cost", square(costing.cost)),
    ("interleave", lambda depth, every, conv, attention: halonet.interleave(depth, 1, conv, attention)),
    ("interleave", lambda depth, every, conv, attention: halonet.interleave(depth + 1, every, conv, attention)[1:]),
    ("stem", lambda channels, act, pool: nn.Sequential(*parts.tiered_stem(channels, act, pool), nn.ReLU())),
    ("stem", lambda channels, act, pool: nn.Sequential(nn.AvgPool2d(1), *parts.tiered_stem(channels, act, pool))),
    ("middle", FlippedMiddle),
    ("middle", FrozenMiddle),
    ("block", block(set_eps)),
    ("block", block(set_momentum)),
    ("block", block(mix_up)),
    ("net", DroppedAtTheEnd),
    ("net", SquareOnly),
    ("net", lambda config, classes: parts.HaloNet(dataclasses.replace(config, stages=config.stages[:1]), classes)),
    ("scale", NoSum()),
    ("scale", mixed_precision),
    ("scale", lambda query, key, position: scoring.logits(query, key, position.flip(1))),
    ("sides", lambda config, wanted: (256, placing.sides(config, wanted)[1])),
    ("sides", lambda config, wanted: (placing.sides(config, wanted)[0], wanted)),
    ("sides", sides_of),
    ("padded", loses_batch),
    ("padded", pads_features),
    ("padded", tail_in_place),
]


@pytest.mark.parametrize(("name", "wrong"), WRONG)
def test_what_is_wrong_in_another_way_is_refused(name, wrong):
    assert refuses(f"halonet.{name}", wrong)


def test_every_exercise_is_tried_with_unknown_mistakes():
    assert {f"halonet.{name}" for name, _ in WRONG} == {each.id for each in lesson.CHECKS}


def test_an_order_of_f_pad_is_told_by_the_size():
    order = next(m for text, m in fitting.MISTAKES.items() if "F.pad gets the height first" in text)
    outcome = check("halonet.padded", order)
    assert "size in which the picture reached the features" in outcome.message


# Our own versions, proven ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("halo", [Halo(heads=4), Halo(2, 4, 1, key_dim=6), Halo(3, 2, 0)], ids=str)
def test_the_cost_is_what_the_readable_formula_multiplies(halo):
    channels, height, width = 24, 16, 8
    layer = HaloAttention(channels, halo)
    layer.attend = halo_attention
    layer.reset_parameters()
    convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    x = torch.randn(1, channels, height, width)
    counted = costing.cost(channels, height, width, halo)
    for name, module in {"convolution": convolution, "attention": layer}.items():
        with FlopCounterMode(display=False) as counter:
            module(x)
        parameters = sum(parameter.numel() for parameter in module.parameters())
        assert counted[name] == (parameters, counter.get_total_flops() // 2)


@pytest.mark.parametrize("architecture", WHOLE)
def test_the_published_strips_come_from_the_rule(architecture):
    for stage in halonet.CONFIGS[architecture].stages:
        depth, kinds = len(stage.blocks), [bool(block.spatial_attention) for block in stage.blocks]
        rules = [[False] * depth, [True] * depth, *(list(halonet.interleave(depth, n, False, True)) for n in (1, 4))]
        assert kinds in rules


@pytest.mark.parametrize(
    ("config", "multiple"),
    [*((halonet.CONFIGS[name], 256) for name in halonet.CONFIGS), (TOYS["toy_halonet"], 32)],
)
def test_the_sides_are_whole_blocks_everywhere_and_no_smaller_multiple_is(config, multiple):
    assert placing.sides(config, multiple) == (multiple, multiple)
    for times in (1, 2, 3):
        seen = trials.attended_sides(config, times * multiple)
        assert seen and all(at % block == 0 for _, at, block in seen)
    for smaller in (multiple // 2, multiple * 3 // 2):
        assert any(at % block for _, at, block in trials.attended_sides(config, smaller))


def test_what_is_said_of_a_size_is_what_the_net_does():
    conv, halo = Block(), Block(spatial_attention=Halo(2, 4, 1))
    config = NetConfig(
        Stem((2, 2, 4), 3), (Stage((conv,), 4, 4, 1), Stage((halo, conv), 4, 4), Stage((conv, halo), 4, 8))
    )
    net = parts.HaloNet(config, 3).eval()
    multiple = placing.sides(config, 0)[0]
    assert multiple == 64
    for side in range(multiple - 6, multiple + 4):
        fits = all(at % block == 0 for _, at, block in trials.attended_sides(config, side))
        assert lesson.goes_through(net, side) is fits
    assert lesson.goes_through(net, multiple - 2) and not lesson.goes_through(net, multiple + 1)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("halo", [Halo(2, 4, 1), Halo(3, 3, 2, key_dim=5)], ids=str)
def test_attention_with_our_logits_is_the_layer(halo, stride):
    torch.manual_seed(1)
    layer = HaloAttention(12, halo, stride).double()
    layer.reset_parameters()
    x = torch.randn(2, 12, 24, 12, dtype=torch.float64)
    expected = layer(x)
    holder = nn.Sequential(layer)
    assert torch.allclose(lesson.with_logits(holder, scoring.logits)(x), expected, atol=1e-12)
    assert not isinstance(holder[0], HaloAttention)


def test_padding_is_the_only_difference_between_a_picture_and_its_padded_self():
    features = nn.Conv2d(3, 4, 2, stride=2)  # whose outputs see nothing beyond their own pixels
    pictures = torch.randn(2, 3, 10, 14)
    found = fitting.padded(features, pictures, 8, 2)
    assert torch.equal(found, features(pictures))


# The whole net ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", WHOLE)
def test_the_lessons_net_has_the_librarys_names_and_takes_the_published_container(architecture):
    with torch.device("meta"):
        net, library = parts.HaloNet(halonet.CONFIGS[architecture]), build(architecture)
    shapes = {key: tensor.shape for key, tensor in net.state_dict().items()}
    assert shapes == {key: tensor.shape for key, tensor in library.state_dict().items()}
    file = golden_checkpoint(architecture, "byobnet")
    names = rename(file, "byobnet")
    assert {names[key]: tensor.shape for key, tensor in file.items()} == shapes


def test_the_lessons_net_reproduces_the_golden_trace():
    net = parts.HaloNet(halonet.CONFIGS["halonet26t"])
    assert first_difference(net, "halonet26t").ok


def test_the_lessons_net_is_timms():
    peer = timm.create_model("halonet26t").double().eval()
    net = parts.HaloNet(halonet.CONFIGS["halonet26t"]).double().eval()
    state = peer.state_dict()
    names = rename(state, "byobnet")
    net.load_state_dict({names[key]: tensor for key, tensor in state.items()}, strict=True)
    x = torch.randn(1, 3, 256, 256, dtype=torch.float64)
    with torch.inference_mode():
        assert torch.allclose(net(x), peer(x), atol=1e-9)


# What the notebook says ------------------------------------------------------------------------------------------


def test_only_one_reading_of_the_formula_is_the_published_one():
    both = next(m for text, m in scoring.MISTAKES.items() if "alike" in text)
    net = parts.HaloNet(halonet.CONFIGS["halonet26t"])
    assert first_difference(lesson.with_logits(net, both), "halonet26t").first.point == "stages.2.1.middle"


def test_readings_differ_by_a_constant_in_the_tables_only():
    query, key, position = torch.randn(2, 3, 8), torch.randn(2, 5, 8), torch.randn(3, 5, 8)
    both = next(m for text, m in scoring.MISTAKES.items() if "alike" in text)
    assert torch.allclose(both(query, key, position * 8**0.5), scoring.logits(query, key, position), atol=1e-5)
    assert torch.allclose(both(query, key, 0 * position), scoring.logits(query, key, 0 * position), atol=1e-6)


def test_keys_and_values_in_another_order_load_and_are_the_same_net_with_sorted_rows():
    net = parts.HaloNet(halonet.CONFIGS["halonet26t"])
    for layer in net.modules():
        if isinstance(layer, HaloAttention):
            layer.attend = lesson.keys_then_values
    state = golden_state("halonet26t")
    assert first_difference(net, "halonet26t", state=state).first.point == "stages.2.1.middle"
    for key, weight in state.items():
        if key.endswith("key_value.weight"):
            keys, values = weight.unflatten(0, (8, -1)).chunk(2, dim=1)
            state[key] = torch.cat((keys.flatten(0, 1), values.flatten(0, 1)))
    assert first_difference(net, "halonet26t", state=state).ok


def test_attention_gets_cheaper_from_stage_to_stage_and_the_convolution_does_not():
    costs = [costing.cost(channels, side, side, Halo()) for channels, side in pictures.STAGES]
    assert len({cost["convolution"][1] for cost in costs}) == 1
    work = [cost["attention"][1] for cost in costs]
    assert work == sorted(work, reverse=True)
    assert work[0] > costs[0]["convolution"][1] > work[1]
    windows = [w - 3 * channels**2 * side**2 for w, (channels, side) in zip(work, pictures.STAGES, strict=True)]
    assert all(1.9 < one / other < 2.1 for one, other in pairwise(windows))


def test_the_size_of_training_is_the_one_that_is_read():
    net = create_model("toy_halonet", pretrained=True).eval()
    x, labels = lesson.toy_pictures(net, size=80)
    features = net.forward_features
    shares = [
        (lesson.answers(net, x, way) == labels).double().mean()
        for way in (
            lambda x: features(lesson.resized(x, 64)),
            lambda x: features(lesson.resized(x, 96)),
            lambda x: fitting.padded(features, x, 32, 32),
        )
    ]
    assert shares[0] > 0.95 and shares[0] - 0.2 > shares[1] > shares[2] + 0.1


@pytest.fixture(scope="module")
def trained():
    return create_model("toy_halonet", pretrained=True).eval()


def seen_by(trained, layer):
    picture = ToyWorld("test")[5]["image"] / 255
    return lesson.look(trained, layer, ((picture - 0.45) / 0.22).unsqueeze(0), picture)


@pytest.mark.parametrize(("layer", "queries"), [("stages.1.0.middle.attention", 8), ("stages.2.0.middle.attention", 4)])
def test_the_weights_that_are_drawn_are_the_layers_own_and_sum_to_one(trained, layer, queries):
    look = seen_by(trained, layer)
    assert look.error < 1e-5 and look.side == queries
    for place in (0, 0), (queries - 1, 1), (1, queries - 1):
        shares = torch.tensor(pictures.masses(look, *place))
        assert torch.allclose(shares.sum(1), torch.ones(len(shares)), atol=1e-5) and (shares > 0).all()


def test_look_refuses_weights_that_are_not_the_layers(trained):
    wrong = copy.deepcopy(trained)
    wrong.stages[1][0].middle.attention.attend = lesson.keys_then_values
    with pytest.raises(ValueError, match="do not give back"):
        seen_by(wrong, "stages.1.0.middle.attention")


def test_the_window_jumps_with_the_block_and_not_with_the_query(trained):
    look = seen_by(trained, "stages.1.0.middle.attention")
    windows = [pictures._of_query(look, 2, column)[3] for column in range(8)]
    assert len(set(windows[:4])) == len(set(windows[4:])) == 1
    assert windows[4][0] - windows[3][0] == look.block_size * look.pixel


def test_the_pictures_say_in_words_what_they_show(trained):
    strips = lesson.draw_strips({**halonet.CONFIGS, "toy_halonet": TOYS["toy_halonet"]}).alt
    assert "halonet50ts at 1.3, 2.1, 2.3, 2.5, 3.1;" in strips and "toy_halonet at 1.0, 2.0" in strips
    assert "stage 1: 151 M and 105 M" in lesson.draw_costs().alt
    assert "stage 3: 151 M, blocks do not fit" in lesson.draw_costs(block_size=16).alt
    look = seen_by(trained, "stages.1.0.middle.attention")
    block, halo, outside = pictures.masses(look, 3, 6)[2]
    assert f"head 3: {block:.0%}, {halo:.0%}, {outside:.0%}" in lesson.draw_look(look, 3, 6).alt


def test_the_race_measures_both_on_every_stage():
    rows = lesson.race(batch=1, runs=2)
    assert len(rows) == 4 and all(row[2].median > 0 for row in rows)
    assert rows[0][1] < 1 < rows[1][1] < rows[2][1] < rows[3][1]


def test_minutes_and_difficulty_stand_in_the_notebook():
    source = (notebooks.ROOT / "notebooks" / "source" / "07_halonet.py").read_text(encoding="utf-8")
    for each in lesson.CHECKS:
        before = source[: source.index(f'@exercise("{each.id}")')]
        assert f"# *{each.minutes} minutes · {each.difficulty} · " in before[before.rindex("# ###") :]
    assert [each.id for each in lesson.CHECKS] == sorted((e.id for e in lesson.CHECKS), key=source.index)
    assert engine.find("halonet.net").ours is parts.HaloNet
