"""Notebook 03: its solutions against independent ones, other right answers pass, other wrong ones fail, figures are true.

That every exercise's stub, solution and known mistakes are told apart is in test_lessons.py, for all notebooks at once.
"""

import math
import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netwright import lessons, notebooks
from netwright.lessons import check, engine
from netwright.lessons import resnext as room
from netwright.lessons.resnext import blocks, costs, forms, grouping, net, width
from netwright.nets.config import Block, NetConfig, Stem
from netwright.nets.layers import ConvNormAct
from netwright.nets.net import make_block
from netwright.nets.zoo import CONFIGS, build
from netwright.probing.difference import first_difference
from netwright.probing.golden import golden_checkpoint, golden_input
from netwright.weights.keymaps import rename
from peers import timm, torchvision

NAMES = [each.id for each in room.CHECKS]
BY_ID = {each.id: each for each in room.CHECKS}
SOURCE = next(path for path in notebooks.sources() if path.stem == "03_resnext")


def outcome_of(name, theirs):
    return check(f"resnext.{name}", theirs)


# Notebook, checks and the teacher's file keep in step ----------------------------------------------------------------


def test_the_notebook_asks_for_the_nine_exercises_in_the_order_of_the_checks():
    source = SOURCE.read_text(encoding="utf-8")
    places = [source.index(f'@exercise("{name}")') for name in NAMES]
    assert len(NAMES) == 9 and places == sorted(places)


def test_every_statement_says_the_minutes_and_the_difficulty_of_its_check():
    cells = notebooks.read_source(SOURCE).cells
    for asked, code in pairwise(cells):
        for name in re.findall(r'@exercise\("([\w.]+)"\)', code.source):
            told = re.search(r"^\*(\d+) minutes · (\w+) · .+\*$", asked.source, re.MULTILINE)
            assert told and (int(told[1]), told[2]) == (BY_ID[name].minutes, BY_ID[name].difficulty), name


def test_the_teacher_is_told_of_every_mistake_of_every_exercise():
    file = Path(lessons.__file__).parent / "teaching" / "03_resnext.toml"
    told = tomllib.loads(file.read_text(encoding="utf-8"))["exercises"]
    assert {name: set(mistakes) for name, mistakes in told.items()} == {
        each.id: set(each.mistakes) for each in room.CHECKS
    }
    assert all(len(text) > 30 for mistakes in told.values() for text in mistakes.values())


# The solutions against independent ones ------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_both_convolutions_equal_pytorchs_own_groups(groups):
    torch.manual_seed(0)
    x = torch.randn(2, 8, 7, 5, dtype=torch.float64)
    weight = torch.randn(12, 8 // groups, 3, 3, dtype=torch.float64)
    expected = F.conv2d(x, weight, stride=2, padding=1, groups=groups)
    torch.testing.assert_close(grouping.grouped_conv(x, weight, groups, 2, 1), expected)
    torch.testing.assert_close(F.conv2d(x, grouping.dense_weight(weight, groups), stride=2, padding=1), expected)


@pytest.mark.parametrize("form", [forms.aggregated, forms.early_concat])
def test_forms_a_and_b_equal_the_grouped_one(form):
    torch.manual_seed(0)
    shapes = (2, 8, 7, 6), (12, 8, 1, 1), (12, 3, 3, 3), (10, 12, 1, 1)
    x, reduce, middle, expand = (torch.randn(shape, dtype=torch.float64) for shape in shapes)
    y = F.conv2d(F.conv2d(x, reduce).relu(), middle, stride=2, padding=1, groups=4).relu()
    torch.testing.assert_close(form(x, reduce, middle, expand, 4, stride=2)[1], F.conv2d(y, expand))


def test_the_width_is_torchvisions():
    from torchvision.models.resnet import Bottleneck

    for planes, cardinality, base_width in width.WIDTH_CASES:
        theirs = Bottleneck(16, planes, groups=cardinality, base_width=base_width).conv2.out_channels
        assert BY_ID["resnext.width"].ours(planes, cardinality, base_width) == theirs


def test_the_block_is_that_of_the_library_and_of_timm():
    from timm.models.resnet import Bottleneck

    torch.manual_seed(0)
    mine = blocks.ResNeXtBlock(32, 24, 48, 2, 4).double()
    options = {"stride": 2, "dilation": 1, "stage_dilation": 1, "drop_path": 0.0}
    theirs = make_block(Block(cardinality=4), 32, 24, 48, NetConfig(Stem(), ()), **options).double()
    theirs.load_state_dict(mine.state_dict(), strict=True)
    x = torch.randn(2, 32, 9, 7, dtype=torch.float64)
    torch.testing.assert_close(mine.eval()(x), theirs.eval()(x))

    mine = blocks.ResNeXtBlock(64, 32, 64, 1, 4).double()
    peer = Bottleneck(64, 16, cardinality=4, base_width=32).double()  # 16 * 32 / 64 * 4 = 32
    keys = [key.replace("downsample", "shortcut") for key in peer.state_dict()]
    numbers = dict(zip(keys, mine.state_dict().values(), strict=True))
    peer.load_state_dict(numbers, strict=True)
    x = torch.randn(2, 64, 9, 7, dtype=torch.float64)
    torch.testing.assert_close(mine.eval()(x), peer.eval()(x))


@pytest.mark.parametrize("case", costs.COST_CASES)
def test_the_cost_is_what_pytorch_counts_in_a_block_that_runs(case):
    inside, mid, outside, cardinality, stride, size = case
    block = blocks.ResNeXtBlock(inside, mid, outside, stride, cardinality).eval()
    counted = room.weights_of(block), room.multiply_adds_of(block, torch.randn(1, inside, *size))
    assert costs.cost(*case) == counted


def test_the_budget_gives_table_2_of_the_paper_and_nothing_is_nearer():
    found = {n: costs.budget_width(n, costs.RESNET_BUDGET) for n in (1, 2, 4, 8, 32)}
    assert found == {1: 64, 2: 40, 4: 24, 8: 14, 32: 4}
    for cardinality, budget, channels in costs.BUDGET_CASES:
        weights = [cardinality * (2 * channels * d + 9 * d * d) for d in range(1, 500)]
        misses = [abs(some - budget) for some in weights]
        assert misses.count(min(misses)) == 1  # a tie would have two right answers
        assert costs.budget_width(cardinality, budget, channels) == 1 + misses.index(min(misses))


# The whole net -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def resnext50():
    torch.manual_seed(0)
    return net.ResNeXt((3, 4, 6, 3), cardinality=32, base_width=4).eval()


def test_the_net_has_the_librarys_names_and_equals_the_golden_trace(resnext50):
    shapes = {key: tensor.shape for key, tensor in build("resnext50_32x4d").state_dict().items()}
    assert {key: tensor.shape for key, tensor in resnext50.state_dict().items()} == shapes
    assert first_difference(resnext50, "resnext50_32x4d").ok


@pytest.mark.parametrize("layout", ["torchvision", "openmmlab"])
def test_the_published_layouts_load_and_give_the_librarys_logits(resnext50, layout):
    published = golden_checkpoint("resnext50_32x4d", layout)
    names = rename(published, layout)
    state = {names[key]: tensor for key, tensor in published.items()}
    library = build("resnext50_32x4d").eval()
    for model in (resnext50, library):
        model.load_state_dict(state, strict=True)
    with torch.inference_mode():
        logits = [model(golden_input("resnext50_32x4d")) for model in (resnext50, library)]
    torch.testing.assert_close(*logits)
    if layout == "torchvision":
        peer = torchvision.models.resnext50_32x4d(weights=None).eval()
        peer.load_state_dict(published, strict=True)
        with torch.inference_mode():
            torch.testing.assert_close(peer(golden_input("resnext50_32x4d")), logits[0], rtol=1e-4, atol=1e-4)


def test_the_deeper_and_wider_published_nets_are_the_same_class():
    depths = {"resnext101_32x8d": ((3, 4, 23, 3), 32, 8), "resnext101_64x4d": ((3, 4, 23, 3), 64, 4)}
    for name, arguments in depths.items():
        with torch.device("meta"):
            mine, theirs = net.ResNeXt(*arguments), build(name)
        assert {k: t.shape for k, t in mine.state_dict().items()} == {
            k: t.shape for k, t in theirs.state_dict().items()
        }
    assert timm.create_model("resnext101_64x4d").layer1[0].conv2.groups == 64


# Other right answers -------------------------------------------------------------------------------------------------


def grouped_by_slices(x, weight, groups, stride=1, padding=0):
    fan_in, fan_out = weight.shape[1], weight.shape[0] // groups
    answers = []
    for i in range(groups):
        channels = x[:, fan_in * i : fan_in * (i + 1)]
        answers.append(torch.conv2d(channels, weight[fan_out * i : fan_out * (i + 1)], None, stride, padding))
    return torch.cat(answers, 1)


def grouped_by_unfold(x, weight, groups, stride=1, padding=0):
    height, wide = ((n + 2 * padding - k) // stride + 1 for n, k in zip(x.shape[2:], weight.shape[2:], strict=True))
    patches = F.unfold(x, weight.shape[2:], padding=padding, stride=stride)  # (batch, in * kernel, places)
    patches = patches.unflatten(1, (groups, -1))
    y = torch.einsum("bgkp,gok->bgop", patches, weight.flatten(1).unflatten(0, (groups, -1)))
    return y.flatten(1, 2).unflatten(2, (height, wide))


def grouped_by_pytorch(x, weight, groups, stride=1, padding=0):
    return nn.functional.conv2d(x, weight, stride=stride, padding=padding, groups=groups)


def grouped_by_vmap_over_split(x, weight, groups, stride=1, padding=0):
    pieces = x.split(x.shape[1] // groups, 1), weight.split(weight.shape[0] // groups)
    y = torch.stack(
        [F.conv2d(F.pad(p, [padding] * 4), w, stride=(stride, stride)) for p, w in zip(*pieces, strict=True)]
    )
    return y.movedim(0, 1).reshape(len(x), -1, *y.shape[3:])


def dense_by_block_diag(weight, groups):
    out, inside, *kernel = weight.shape
    pixels = [torch.block_diag(*weight[..., i, j].chunk(groups)) for i in range(kernel[0]) for j in range(kernel[1])]
    return torch.stack(pixels, -1).view(out, inside * groups, *kernel)


def dense_by_einsum(weight, groups):
    blocks_ = weight.unflatten(0, (groups, -1))  # (groups, rows, columns, height, width)
    return torch.einsum("gochw,gk->gokchw", blocks_, torch.eye(groups, dtype=weight.dtype)).flatten(2, 3).flatten(0, 1)


def dense_by_mask(weight, groups):
    out, columns = weight.shape[:2]
    row = torch.arange(out) // (out // groups)
    column = torch.arange(columns * groups) // columns
    mask = (row[:, None] == column[None]).to(weight.dtype)
    return torch.cat([weight] * groups, 1) * mask[:, :, None, None]


def dense_by_padding(weight, groups):
    columns = weight.shape[1]
    rows = [F.pad(w, (0, 0, 0, 0, i * columns, (groups - 1 - i) * columns)) for i, w in enumerate(weight.chunk(groups))]
    return torch.vstack(rows)


def paths_by_grouped_convolution(x, reduce, middle, expand, cardinality, stride=1):
    y = F.conv2d(F.conv2d(x, reduce).relu(), middle, stride=stride, padding=1, groups=cardinality).relu_()
    paths = torch.einsum(
        "bcdhw,ocd->cbohw", y.unflatten(1, (cardinality, -1)), expand[..., 0, 0].unflatten(1, (cardinality, -1))
    )
    return paths, paths.sum(0)


def paths_by_slices_in_place(x, reduce, middle, expand, cardinality, stride=1):
    d = reduce.size(0) // cardinality
    total, paths = 0, []
    for i in range(cardinality):
        own = slice(i * d, i * d + d)
        y = torch.relu_(F.conv2d(x, reduce[own]))
        y = torch.relu_(F.conv2d(y, middle[own], None, stride, 1))
        paths.append(F.conv2d(y, expand[:, own]))
        total = total + paths[-1]
    return tuple(paths), total


def paths_by_einsum(x, reduce, middle, expand, cardinality, stride=1):
    paths = []
    for one, two, three in zip(
        *(w.tensor_split(cardinality, d) for w, d in ((reduce, 0), (middle, 0), (expand, 1))), strict=True
    ):
        y = torch.einsum("bihw,di->bdhw", x, one.flatten(1)).clamp(min=0)
        y = F.conv2d(F.pad(y, (1, 1, 1, 1)), two, stride=stride).clamp(min=0)
        paths.append(torch.einsum("bdhw,od->bohw", y, three.flatten(1)))
    return paths, torch.stack(paths).sum(0)


def joined_by_grouped_convolution(x, reduce, middle, expand, cardinality, stride=1):
    joined = F.relu(F.conv2d(F.relu(F.conv2d(x, reduce)), middle, stride=stride, padding=1, groups=cardinality))
    return [joined, F.conv2d(joined, expand)]


def joined_into_an_empty_map(x, reduce, middle, expand, cardinality, stride=1):
    d, joined = len(reduce) // cardinality, None
    for i in range(cardinality):
        own = slice(i * d, (i + 1) * d)
        y = F.conv2d(F.conv2d(x, reduce[own]).relu(), middle[own], stride=stride, padding=1).relu()
        if joined is None:
            joined = y.new_empty(len(x), len(reduce), *y.shape[2:])
        joined[:, own] = y
    return joined, torch.einsum("bdhw,od->bohw", joined, expand[:, :, 0, 0])


def joined_by_a_dense_weight(x, reduce, middle, expand, cardinality, stride=1):
    dense = dense_by_mask(middle, cardinality)
    joined = F.conv2d(F.conv2d(x, reduce).relu(), dense, stride=stride, padding=1).relu()
    return joined, F.conv2d(joined, expand)


def cost_by_a_table(in_channels, mid_channels, out_channels, cardinality, stride=1, size=(56, 56)):
    before = size[0] * size[1]
    after = torch.tensor(((size[0] - 1) // stride + 1) * ((size[1] - 1) // stride + 1))
    layers = [
        (mid_channels * in_channels, before),
        (9 * mid_channels**2 / cardinality, after),
        (out_channels * mid_channels, after),
    ]
    if (in_channels, 1) != (out_channels, stride):
        layers.append((out_channels * in_channels, after))
    return sum(n for n, _ in layers), sum(n * pixels for n, pixels in layers)


def cost_by_counting(in_channels, mid_channels, out_channels, cardinality, stride=1, size=(56, 56)):
    block = blocks.ResNeXtBlock(in_channels, mid_channels, out_channels, stride, cardinality).eval()
    return room.weights_of(block), room.multiply_adds_of(block, torch.zeros(1, in_channels, *size))


def cost_in_a_list(in_channels, mid_channels, out_channels, cardinality, stride=1, size=(56, 56)):
    h, w = size
    h2, w2 = (h + stride - 1) // stride, (w + stride - 1) // stride
    later = 9 * cardinality * (mid_channels // cardinality) ** 2 + mid_channels * out_channels
    if stride > 1 or in_channels - out_channels:
        later += in_channels * out_channels
    return [in_channels * mid_channels + later, in_channels * mid_channels * h * w + later * h2 * w2]


def budget_by_climbing(cardinality, budget, channels=256):
    def weights(d):
        return cardinality * d * (2 * channels + 9 * d)

    d = 1
    while abs(weights(d + 1) - budget) < abs(weights(d) - budget):
        d += 1
    return d


def budget_by_the_root(cardinality, budget, channels=256):
    root = (math.sqrt(channels**2 + 9 * budget / cardinality) - channels) / 9
    near = [max(1, math.floor(root)), max(1, math.ceil(root))]
    return min(near, key=lambda d: abs(cardinality * (2 * channels * d + 9 * d * d) - budget))


def budget_as_a_tensor(cardinality, budget, channels=256):
    d = torch.arange(1, 1000)
    return d[(cardinality * (2 * channels * d + 9 * d**2) - budget).abs().argmin()]


class BlockInOtherWords(nn.Module):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1, cardinality=1):
        super().__init__()
        needs_projection = not (stride == 1 and in_channels == out_channels)
        self.shortcut = ConvNormAct(in_channels, out_channels, stride=stride) if needs_projection else nn.Sequential()
        self.expand = ConvNormAct(mid_channels, out_channels)
        self.middle = ConvNormAct(mid_channels, mid_channels, 3, stride=stride, groups=cardinality)
        self.reduce = ConvNormAct(in_channels, mid_channels)

    def forward(self, x):
        branch = F.relu_(self.reduce(x))
        branch = F.relu(self.middle(branch))
        branch = self.expand(branch)
        branch += self.shortcut(x)
        return torch.relu_(branch)


def _unit(inside, outside, kernel=1, stride=1, groups=1):
    """Convolution and normalisation of PyTorch's own, under the names that the exercise says."""
    unit = nn.Sequential()
    unit.add_module("conv", nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=False))
    unit.add_module("norm", nn.BatchNorm2d(outside))
    return unit


class BlockOfPlainLayers(nn.Module):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1, cardinality=1):
        super().__init__()
        self.reduce = _unit(in_channels, mid_channels)
        self.middle = _unit(mid_channels, mid_channels, 3, stride, cardinality)
        self.expand = _unit(mid_channels, out_channels)
        if stride > 1 or in_channels != out_channels:
            self.shortcut = _unit(in_channels, out_channels, 1, stride)

    def forward(self, x):
        identity = self.shortcut(x) if hasattr(self, "shortcut") else x
        return (identity + self.expand(self.middle(self.reduce(x).relu()).relu())).relu()


class BlockByHand(BlockInOtherWords):
    def forward(self, x):
        y = F.relu(self.reduce(x))
        conv = self.middle.conv
        y = grouped_by_unfold(y, conv.weight, conv.groups, conv.stride[0], 1)
        return F.relu(self.expand(F.relu(self.middle.norm(y))) + self.shortcut(x))


class NetOfLists(nn.Module):
    def __init__(self, depths, cardinality, base_width, planes=(64, 128, 256, 512), num_classes=1000):
        super().__init__()
        self.stem = nn.ModuleList([ConvNormAct(3, planes[0], 7, stride=2, act="relu")])
        self.stages = nn.ModuleList()
        inside = planes[0]
        for s, (depth, p) in enumerate(zip(depths, planes, strict=True)):
            mid = int(p * (base_width / 64.0)) * cardinality
            first = BlockInOtherWords(inside, mid, inside := 4 * p, 1 + (s > 0), cardinality)
            rest = [BlockOfPlainLayers(4 * p, mid, 4 * p, 1, cardinality) for _ in range(1, depth)]
            self.stages.append(nn.ModuleList([first, *rest]))
        self.classifier = nn.Linear(inside, num_classes)

    def forward(self, x):
        x = F.max_pool2d(self.stem[0](x), 3, 2, 1)
        for stage in self.stages:
            for block in stage:
                x = block(x)
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


class NetOfSequentials(nn.Module):
    def __init__(self, depths, cardinality, base_width, planes=(64, 128, 256, 512), num_classes=1000):
        super().__init__()
        stem = [ConvNormAct(3, planes[0], 7, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        self.stem = nn.Sequential(*stem)
        widths = [planes[0], *(4 * p for p in planes)]
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    *(
                        BlockOfPlainLayers(
                            widths[s + (i > 0)],
                            cardinality * (p * base_width // 64),
                            4 * p,
                            2 if s and not i else 1,
                            cardinality,
                        )
                        for i in range(depths[s])
                    )
                )
                for s, p in enumerate(planes[: len(depths)])
            )
        )
        self.classifier = nn.Linear(widths[-1], num_classes)

    def forward(self, x):
        return self.classifier(self.stages(self.stem(x)).flatten(2).mean(-1))


class NetThatIsTheLibrarys(nn.Module):
    def __new__(cls, depths, cardinality, base_width, planes=(64, 128, 256, 512), num_classes=1000):
        from netwright.nets.config import Stage
        from netwright.nets.net import ResidualNet

        stages = tuple(
            Stage(
                (Block(cardinality=cardinality),) * depth, p * base_width // 64 * cardinality, 4 * p, 1 if s == 0 else 2
            )
            for s, (depth, p) in enumerate(zip(depths, planes, strict=False))
        )
        return ResidualNet(NetConfig(Stem((planes[0],)), stages), num_classes=num_classes)


RIGHT = {
    "grouped": (grouped_by_slices, grouped_by_unfold, grouped_by_pytorch, grouped_by_vmap_over_split),
    "dense": (dense_by_block_diag, dense_by_einsum, dense_by_mask, dense_by_padding),
    "aggregated": (paths_by_grouped_convolution, paths_by_slices_in_place, paths_by_einsum),
    "early_concat": (joined_by_grouped_convolution, joined_into_an_empty_map, joined_by_a_dense_weight),
    "width": (
        lambda planes, cardinality, base_width: int(planes * base_width / 64) * cardinality,
        lambda planes, cardinality, base_width: math.floor(planes * (base_width / 64.0)) * cardinality,
        lambda planes, cardinality, base_width: cardinality * ((planes * base_width) >> 6),
    ),
    "block": (BlockInOtherWords, BlockOfPlainLayers, BlockByHand),
    "cost": (cost_by_a_table, cost_by_counting, cost_in_a_list),
    "budget": (budget_by_climbing, budget_by_the_root, budget_as_a_tensor),
    "net": (NetOfLists, NetOfSequentials, NetThatIsTheLibrarys),
}


@pytest.mark.parametrize(("name", "theirs"), [(name, one) for name, some in RIGHT.items() for one in some])
def test_other_right_answers_pass(name, theirs):
    outcome = outcome_of(name, theirs)
    assert outcome.status == "passed", outcome


# Other wrong answers: not in the catalogue, and refused --------------------------------------------------------------


def grouped_of_the_first_picture(x, weight, groups, stride=1, padding=0):
    return grouped_by_pytorch(x[:1], weight, groups, stride, padding).expand(len(x), -1, -1, -1)


def grouped_that_changes_its_input(x, weight, groups, stride=1, padding=0):
    y = grouped_by_pytorch(x, weight, groups, stride, padding)
    x.data.relu_()
    return y


def grouped_without_gradient(x, weight, groups, stride=1, padding=0):
    return grouped_by_pytorch(x, weight.detach(), groups, stride, padding) + 0 * weight.sum()


def grouped_in_double(x, weight, groups, stride=1, padding=0):
    return grouped_by_pytorch(x.double(), weight.double(), groups, stride, padding)


def grouped_with_circular_padding(x, weight, groups, stride=1, padding=0):
    x = F.pad(x, [padding] * 4, mode="circular") if padding else x
    return F.conv2d(x, weight, stride=stride, groups=groups)


def grouped_with_padding_by_default(x, weight, groups, stride=1, padding=1):
    return grouped_by_pytorch(x, weight, groups, stride, padding)


def dense_transposed(weight, groups):
    return dense_by_mask(weight, groups).transpose(2, 3)


def dense_with_a_little_elsewhere(weight, groups):
    dense = dense_by_mask(weight, groups)
    return dense + 1e-6 * (dense == 0)


def dense_of_a_copy(weight, groups):
    return dense_by_mask(weight.detach().clone().requires_grad_(), groups) + 0 * weight.sum()


def dense_that_is_sorted(weight, groups):
    return dense_by_mask(torch.cat(weight.chunk(groups)[::-1]), groups)


def paths_in_the_reverse_order(*arguments, **options):
    paths, total = forms.aggregated(*arguments, **options)
    return paths[::-1], total


def paths_that_accumulate(*arguments, **options):
    paths, total = forms.aggregated(*arguments, **options)
    return [sum(paths[: i + 1]) for i in range(len(paths))], total


def paths_that_share_the_sum_out(*arguments, **options):
    paths, total = forms.aggregated(*arguments, **options)
    return [total / len(paths)] * len(paths), total


def paths_that_leak(x, reduce, middle, expand, cardinality, stride=1):
    paths = [
        F.conv2d(F.leaky_relu(F.conv2d(F.conv2d(x, a).relu(), b, stride=stride, padding=1)), c)
        for a, b, c in zip(
            reduce.chunk(cardinality), middle.chunk(cardinality), expand.chunk(cardinality, 1), strict=True
        )
    ]
    return paths, sum(paths)


def joined_and_summed_twice(*arguments, **options):
    joined, y = forms.early_concat(*arguments, **options)
    return joined, 2 * y


def joined_before_its_relu(x, reduce, middle, expand, cardinality, stride=1):
    joined = F.conv2d(F.conv2d(x, reduce).relu(), middle, stride=stride, padding=1, groups=cardinality)
    return joined, F.conv2d(joined.relu(), expand)


def joined_at_stride_two_only(x, reduce, middle, expand, cardinality, stride=2):
    return joined_by_grouped_convolution(x, reduce, middle, expand, cardinality, stride)


def _instead(**changed):
    """The library's block with something set after it was made."""

    class Changed(blocks.ResNeXtBlock):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            for norm in self.modules():
                if isinstance(norm, nn.BatchNorm2d):
                    for name, value in changed.items():
                        setattr(norm, name, value)

    return Changed


class BlockWithABias(blocks.ResNeXtBlock):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1, cardinality=1):
        super().__init__(in_channels, mid_channels, out_channels, stride, cardinality)
        self.expand.conv = nn.Conv2d(mid_channels, out_channels, 1)


class BlockForSquaresOnly(blocks.ResNeXtBlock):
    def forward(self, x):
        return super().forward(x.transpose(2, 3)).transpose(2, 3)


class BlockWithDropout(blocks.ResNeXtBlock):
    def forward(self, x):
        return F.dropout(super().forward(x), 0.1, self.training)


class BlockOfSmallerCardinality(blocks.ResNeXtBlock):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1, cardinality=1):
        super().__init__(in_channels, mid_channels, out_channels, stride, min(cardinality, 2))


def _with_activation(make):
    class Changed(blocks.ResNeXtBlock):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.reduce.act, self.middle.act = make(), make()

    return Changed


class NetThatTakesTheMedian(net.ResNeXt):
    def forward(self, x):
        return self.classifier(self.stages(self.stem(x)).flatten(2).median(-1).values)


class NetThatNormalises(net.ResNeXt):
    def forward(self, x):
        return super().forward((x - x.mean()) / x.std())


class NetWithoutABias(net.ResNeXt):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.classifier = nn.Linear(self.classifier.in_features, self.classifier.out_features, bias=False)


class NetWithDropout(net.ResNeXt):
    def forward(self, x):
        return self.classifier(F.dropout(self.stages(self.stem(x)).mean((2, 3)), 0.2, self.training))


class NetOfTenClasses(net.ResNeXt):
    def __init__(self, depths, cardinality, base_width, planes=(64, 128, 256, 512), num_classes=10):
        super().__init__(depths, cardinality, base_width, planes, num_classes)


WRONG = {
    "grouped": (
        grouped_of_the_first_picture,
        grouped_that_changes_its_input,
        grouped_without_gradient,
        grouped_in_double,
        grouped_with_circular_padding,
        grouped_with_padding_by_default,
    ),
    "dense": (dense_transposed, dense_with_a_little_elsewhere, dense_of_a_copy, dense_that_is_sorted),
    "aggregated": (
        paths_in_the_reverse_order,
        paths_that_accumulate,
        paths_that_share_the_sum_out,
        paths_that_leak,
    ),
    "early_concat": (joined_and_summed_twice, joined_before_its_relu, joined_at_stride_two_only),
    "width": (
        lambda planes, cardinality, base_width: planes * base_width // 63 * cardinality,
        lambda planes, cardinality, base_width: base_width // 64 * planes * cardinality,
        lambda planes, cardinality, base_width: max(planes * base_width // 64, 8) * cardinality,
        lambda planes, cardinality, base_width: 2 * (planes * base_width // 128) * cardinality,
    ),
    "block": (
        _instead(eps=1e-3),
        _instead(momentum=0.01),
        _instead(momentum=None),
        _with_activation(nn.ReLU6),
        _with_activation(nn.GELU),
        _with_activation(lambda: nn.LeakyReLU(0.001)),
        BlockWithABias,
        BlockForSquaresOnly,
        BlockWithDropout,
        BlockOfSmallerCardinality,
    ),
    "cost": (
        lambda i, m, o, n, stride=1, size=(56, 56): costs.cost(i, m, o, n, stride, size)[::-1],
        lambda i, m, o, n, stride=1, size=(56, 56): costs.cost(i, m, o, n, stride, (size[0], size[0])),
        lambda i, m, o, n, stride=1, size=(224, 224): costs.cost(i, m, o, n, stride, size),
        lambda i, m, o, n, stride=1, size=(56, 56): costs.cost(i, m, m * 4, n, stride, size),
    ),
    "budget": (
        lambda n, budget, channels=256: costs.budget_width(n, budget, 2 * channels),
        lambda n, budget, channels=256: min(64, costs.budget_width(n, budget, channels)),
        lambda n, budget, channels=256: costs.budget_width(n, budget, channels) + 0.2,
        lambda n, budget, channels=256: {1: 64, 2: 40, 4: 24, 8: 14, 32: 4}.get(n, 4),
    ),
    "net": (NetThatTakesTheMedian, NetThatNormalises, NetWithoutABias, NetWithDropout, NetOfTenClasses),
}


@pytest.mark.parametrize(("name", "theirs"), [(name, one) for name, some in WRONG.items() for one in some])
def test_wrong_answers_that_no_catalogue_foresees_are_refused(name, theirs):
    outcome = outcome_of(name, theirs)
    assert outcome.status in ("failed", "crashed") and outcome.mistake is None, outcome


def test_dividing_by_the_groups_twice_would_not_show_where_the_middle_is_their_square():
    twice = BY_ID["resnext.block"].mistakes[next(iter(blocks.BLOCK_MISTAKES))]
    assert (
        twice(8, 16, 8, 1, 4).middle.conv.groups == 4
    )  # the published nets have such stages: 1024 channels, 32 groups
    assert all(mid != cardinality**2 for _, mid, _, _, cardinality in blocks.BLOCK_CASES if cardinality > 1)
    assert "mid / cardinality" in outcome_of("block", twice).message


# What the notebook shows ---------------------------------------------------------------------------------------------


def test_the_block_figure_counts_what_is_not_zero():
    weight = torch.ones(6, 2, 3, 3)
    alt = room.draw_blocks({"three groups": grouping.dense_weight(weight, 3), "one": torch.ones(4, 4, 1, 1)}).alt
    assert "three groups: 33.3%, of 6 x 6 channels; one: 100.0%" in alt


def test_groups_never_meet_until_a_dense_1x1_introduces_them():
    torch.manual_seed(0)

    def conv(size, groups=1):
        return nn.Conv2d(12, 12, size, padding=size // 2, groups=groups, bias=False)

    alone = room.reach(nn.Sequential(*(conv(3, 4) for _ in range(5))), 12)
    of = torch.arange(12) // 3
    assert torch.equal(alone > 0, of[:, None] == of[None])
    assert room.share_that_meet(room.reach(nn.Sequential(conv(3, 4), conv(1)), 12)) == 1
    assert "alone: 25%" in room.draw_reach({"alone": alone}).alt


def test_designs_at_a_budget_are_counted_timed_and_drawn():
    found = room.measure_designs(blocks.ResNeXtBlock, {1: 16, 4: 6}, channels=32, size=(6, 5), runs=3)
    assert [design.name for design in found] == ["1x16d", "4x6d"]
    for design in found:
        mid = design.cardinality * design.group_width
        assert (design.weights, design.multiply_adds) == costs.cost(32, mid, 32, design.cardinality, 1, (6, 5))
    assert found[0].slower.median == 1 and found[1].slower.low > 0
    assert f"measured time {found[1].slower}" in room.draw_designs(found, 4).alt


def test_other_blocks_take_the_places_and_the_numbers_of_the_old():
    torch.manual_seed(0)
    mine = net.ResNeXt((1, 2), 4, 32, planes=(8, 16), num_classes=3)
    again = room.with_blocks(mine, blocks.ResNeXtBlock)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(again.eval()(x), mine.eval()(x)) and again.stages[0][0] is not mine.stages[0][0]

    twice = next(iter(blocks.BLOCK_MISTAKES.values()))
    wrong = room.with_blocks(mine, twice)
    assert [stage[0].middle.conv.groups for stage in wrong.stages] == [4, 8]  # 16 / 4 and 32 / 4
    assert torch.equal(wrong.stages[0][0].reduce.conv.weight, mine.stages[0][0].reduce.conv.weight)
    assert room.weights_of(room.with_blocks(mine, BY_ID["resnext.block"].ours)) == room.weights_of(mine)


def test_the_textbooks_groups_at_full_size_are_right_in_the_last_stage_alone(resnext50):
    wrong = room.with_blocks(resnext50, next(iter(blocks.BLOCK_MISTAKES.values())))
    assert [stage[0].middle.conv.groups for stage in wrong.stages] == [4, 8, 16, 32]
    assert room.weights_of(wrong) > room.weights_of(resnext50)
    assert first_difference(wrong, "resnext50_32x4d").first.point == "stages.0.0.middle"


def test_a_shuffle_before_the_middle_fits_every_file_and_only_values_show_it(resnext50):
    shuffled = room.with_blocks(
        resnext50, blocks.BLOCK_MISTAKES["that shuffles the channels before its middle, one of each group in turn"]
    )
    shapes = [{key: t.shape for key, t in one.state_dict().items()} for one in (resnext50, shuffled)]
    assert shapes[0] == shapes[1]
    difference = first_difference(shuffled, "resnext50_32x4d")
    assert difference.first.point == "stages.0.0.middle" and not difference.ok


def test_the_small_nets_that_learn_have_the_groups_of_the_textbooks_example():
    small = net.ResNeXt((2, 1), cardinality=16, base_width=4, planes=(32, 64), num_classes=6)
    wrong = room.with_blocks(small, next(iter(blocks.BLOCK_MISTAKES.values())))
    assert [stage[0].middle.conv.groups for stage in small.stages] == [16, 16]
    assert [stage[0].middle.conv.groups for stage in wrong.stages] == [2, 4]  # 32 channels, 16 groups asked for: 2
    assert room.weights_of(wrong) > room.weights_of(small)
    assert wrong(torch.randn(2, 3, 64, 64)).shape == small(torch.randn(2, 3, 64, 64)).shape == (2, 6)


def test_the_checks_are_fast():
    import time

    for name in NAMES:
        each = engine.find(name)
        for version in (each.ours, list(each.mistakes.values())[-1]):  # the last is compared with all before it
            start = time.process_time()
            check(name, version)
            assert time.process_time() - start < 2.0, name


def test_the_published_configuration_is_the_one_that_is_taught():
    stages = CONFIGS["resnext50_32x4d"].stages
    assert [stage.mid_channels for stage in stages] == [128, 256, 512, 1024]
    assert [width.aggregated_width(p, 32, 4) for p in (64, 128, 256, 512)] == [128, 256, 512, 1024]
