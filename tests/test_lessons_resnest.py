"""The exercises of notebook 05: right answers of any form pass, wrong ones fail, and what the notebook tells is so."""

import copy
from unittest import mock

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netwright.lessons import check, resnest, trying
from netwright.lessons.resnest import counting, gates, impostors, pictures
from netwright.lessons.resnest.block import ResNeStBlock
from netwright.lessons.resnest.cost import parameters
from netwright.lessons.resnest.downsample import AveragedMiddle
from netwright.lessons.resnest.force import another_picture, batch_mean, even, force_gates, towards
from netwright.lessons.resnest.shortcut import pooled_shortcut
from netwright.lessons.resnest.stages import make_stage
from netwright.lessons.resnest.stem import deep_stem
from netwright.lessons.resnest.whole import ResNeSt
from netwright.models import create_model, list_weights
from netwright.nets.config import Split, Stem
from netwright.nets.layers import ConvNormAct
from netwright.nets.net import ResidualNet, make_block
from netwright.nets.resnest import CONFIGS, ResNeStMiddle, SplitAttention, pooled_projection
from netwright.nets.resnest import resnest as resnest_config
from netwright.nets.resnet import StemLayers
from netwright.probing.difference import first_difference
from netwright.probing.golden import golden_checkpoint, golden_state
from netwright.weights.keymaps import rename

BY_ID = {each.id: each for each in resnest.CHECKS}
NETS = {
    "resnest14d": ((1, 1, 1, 1), {}),
    "resnest50d": ((3, 4, 6, 3), {}),
    "resnest50d_1s4x24d": (
        (3, 4, 6, 3),
        {"radix": 1, "cardinality": 4, "base_width": 24, "average_down": "before"},
    ),
    "resnest50d_4s2x40d": (
        (3, 4, 6, 3),
        {"radix": 4, "cardinality": 2, "base_width": 40, "average_down": "before"},
    ),
}


def assert_passes(name, theirs):
    outcome = check(name, theirs)
    assert outcome.status == "passed", outcome


def assert_fails(name, theirs):
    outcome = check(name, theirs)
    assert outcome.status in ("failed", "crashed"), outcome
    return outcome


# Right answers in other forms ------------------------------------------------------------------------------------


class StemByHand(nn.Module):
    """Names by add_module, the pool as a function on a padded map, the ReLU by clamp."""

    def __init__(self, in_chans, width):
        super().__init__()
        for i, (here, there) in enumerate(((in_chans, width), (width, width), (width, 2 * width))):
            conv = nn.Conv2d(here, there, 3, stride=1 + (i == 0), padding=1, bias=False)
            part = nn.Module()
            part.conv, part.norm = conv, nn.BatchNorm2d(there)
            self.add_module(str(i), part)

    def forward(self, x):
        for part in self.children():
            x = part.norm(part.conv(x)).clamp(min=0)
        x = F.pad(x, (1, 1, 1, 1), value=float("-inf"))
        return x.unfold(2, 3, 2).unfold(3, 3, 2).amax((-1, -2))


def stem_of_the_library(in_chans, width):
    return StemLayers(Stem((width, width, 2 * width), kernel_size=3), in_chans, "batch", "relu")


def stem_grown(in_chans, width):
    stem = nn.Sequential()
    for i, out in enumerate((width, width, 2 * width)):
        stem.append(ConvNormAct(in_chans, out, 3, stride=2 - min(i, 1), act="relu"))
        in_chans = out
    return stem.append(nn.MaxPool2d((3, 3), (2, 2), 1))


class ShortcutByEinsum(nn.Module):
    """The mean over windows cut by hand, the 1x1 convolution as a product."""

    def __init__(self, in_channels, out_channels, stride):
        super().__init__()
        self.stride = stride
        self.changes = stride != 1 or in_channels != out_channels
        if self.changes:
            self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
            self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x):
        if not self.changes:
            return x
        if self.stride == 2:
            rows = [x[:, :, i : i + 2].mean(2) for i in range(0, x.shape[2], 2)]
            x = torch.stack(rows, 2)
            x = torch.stack([x[:, :, :, i : i + 2].mean(3) for i in range(0, x.shape[3], 2)], 3)
        return self.norm(torch.einsum("oi,bihw->bohw", self.conv.weight[:, :, 0, 0], x))


class ShortcutConvolvesFirst(nn.Module):
    """The convolution before the mean: they commute, so this is right, and dear."""

    def __init__(self, in_channels, out_channels, stride):
        super().__init__()
        self.stride = stride
        if stride != 1 or in_channels != out_channels:
            self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
            self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x):
        if not hasattr(self, "conv"):
            return x
        y = self.conv(x)
        if self.stride == 2:
            y = F.avg_pool2d(y, 2, ceil_mode=True)
        return self.norm(y)


def shortcut_of_the_library(in_channels, out_channels, stride):
    return pooled_projection(in_channels, out_channels, stride, False, "batch")


class MiddleByConvolution(AveragedMiddle):
    """The 3x3 mean as a convolution of ninths."""

    def __init__(self, channels, stride=1, **options):
        super().__init__(channels, stride, **options)
        self.stride = stride

    def shrink(self, x):
        if self.stride == 1:
            return x
        ninths = torch.full((x.shape[1], 1, 3, 3), 1 / 9, dtype=x.dtype)
        return F.conv2d(x, ninths, stride=2, padding=1, groups=x.shape[1])

    def forward(self, x):
        return self.attention(self.shrink(x)) if self.average_down == "before" else self.shrink(self.attention(x))


class MiddleByUnfold(MiddleByConvolution):
    def shrink(self, x):
        if self.stride == 1:
            return x
        padded = F.pad(x, (1, 1, 1, 1))
        return padded.unfold(2, 3, 2).unfold(3, 3, 2).sum((-1, -2)) / 9


def middle_of_the_library(channels, stride=1, *, radix=2, cardinality=1, average_down="after"):
    return ResNeStMiddle(channels, Split(radix, average_down), cardinality, stride, 1, "batch", "relu")


class BlockInPlace(ResNeStBlock):
    def forward(self, x):
        out = self.expand(self.middle(self.reduce(x)))
        out += self.shortcut(x)
        return F.relu_(out)


def block_of_the_library(in_channels, mid_channels, out_channels, stride=1, *, radix, cardinality, average_down):
    config = resnest_config((1, 1, 1, 1), radix=radix, cardinality=cardinality, average_down=average_down)
    return make_block(
        config.stages[0].blocks[0], in_channels, mid_channels, out_channels, config,
        stride=stride, dilation=1, stage_dilation=1, drop_path=0.0,
    )  # fmt: skip


def stage_by_comprehension(depth, in_channels, mid_channels, out_channels, stride, **options):
    shapes = [(in_channels, stride)] + [(out_channels, 1)] * (depth - 1)
    return nn.Sequential(*(ResNeStBlock(came, mid_channels, out_channels, s, **options) for came, s in shapes))


def stage_as_a_list(*sizes, **options):
    class Stage(nn.ModuleList):
        def forward(self, x):
            for block in self:
                x = block(x)
            return x

    return Stage(make_stage(*sizes, **options))


def count_what_is_built(stem_width, in_channels, mid_channels, out_channels, stride, *, radix, cardinality):
    def learnt(module):
        return sum(parameter.numel() for parameter in module.parameters())

    block = ResNeStBlock(in_channels, mid_channels, out_channels, stride, radix=radix, cardinality=cardinality)
    layer = block.middle.attention
    return {
        "7x7 stem": learnt(StemLayers(Stem((2 * stem_width,)), 3, "batch", "relu")),
        "deep stem": learnt(deep_stem(3, stem_width)),
        "reduce": learnt(block.reduce),
        "splits": learnt(layer.conv) + learnt(layer.norm),
        "gates": learnt(layer.fc1) + learnt(layer.fc_norm) + learnt(layer.fc2),
        "expand": learnt(block.expand),
        "shortcut": learnt(block.shortcut),
    }


def count_with_floats_and_tensors(*sizes, **options):
    counted = parameters(*sizes, **options)
    return {name: torch.tensor(number) if i % 2 else float(number) for i, (name, number) in enumerate(counted.items())}


def count_in_another_order(*sizes, **options):
    return dict(reversed(parameters(*sizes, **options).items()))


class NetByLoop(ResNeSt):
    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            for block in stage:
                x = block(x)
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return F.linear(x, self.classifier.weight, self.classifier.bias)


class NetOfLists(nn.Module):
    def __init__(
        self, depths, planes=(64, 128, 256, 512), *, stem_width=32, cardinality=1, base_width=64, num_classes=1000,
        radix=2, average_down="after",
    ):  # fmt: skip
        super().__init__()
        self.stem = deep_stem(3, stem_width)
        came = [2 * stem_width, *(4 * width for width in planes)]
        stages = [
            make_stage(
                depth, came[i], int(width * (base_width / 64)) * cardinality, 4 * width, min(i, 1) + 1,
                radix=radix, cardinality=cardinality, average_down=average_down,
            )
            for i, (depth, width) in enumerate(zip(depths, planes, strict=True))
        ]  # fmt: skip
        self.stages = nn.ModuleList(stages)
        self.classifier = nn.Linear(came[len(planes)], num_classes)

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.classifier(x.flatten(2).mean(2))


def force_a_copy(net, x, change):
    twin = copy.deepcopy(net).eval()
    for layer in twin.modules():
        if isinstance(layer, SplitAttention):
            layer.gates = lambda pooled, own=layer.gates: change(own(pooled))
    return twin(x)


def force_the_class(net, x, change):
    own = SplitAttention.gates
    before = {module: module.training for module in net.modules()}
    with mock.patch.object(SplitAttention, "gates", lambda layer, pooled: change(own(layer, pooled))):
        try:
            return net.eval()(x).detach()
        finally:
            for module, mode in before.items():
                module.training = mode


def force_by_hooks(net, x, change):
    """Each layer's output made anew behind it, from its input."""

    def anew(layer, args, output):
        splits = layer.act(layer.norm(layer.conv(args[0]))).unflatten(1, (layer.radix, -1))
        own = layer.gates(splits.sum(1).mean((2, 3), keepdim=True))
        return torch.einsum("brchw,brc->bchw", splits, change(own))

    before = [module.training for module in net.modules()]
    handles = [m.register_forward_hook(anew) for m in net.modules() if isinstance(m, SplitAttention)]
    try:
        with torch.inference_mode():
            return net.eval()(x).clone()
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in zip(net.modules(), before, strict=True):
            module.training = mode


RIGHT = {
    "resnest.stem": (StemByHand, stem_of_the_library, stem_grown),
    "resnest.shortcut": (ShortcutByEinsum, ShortcutConvolvesFirst, shortcut_of_the_library),
    "resnest.downsample": (MiddleByConvolution, MiddleByUnfold, middle_of_the_library),
    "resnest.block": (BlockInPlace, block_of_the_library),
    "resnest.stages": (stage_by_comprehension, stage_as_a_list),
    "resnest.cost": (count_what_is_built, count_with_floats_and_tensors, count_in_another_order),
    "resnest.net": (NetByLoop, NetOfLists),
    "resnest.force": (force_a_copy, force_the_class, force_by_hooks),
}


@pytest.mark.parametrize(("name", "theirs"), [(n, t) for n, some in RIGHT.items() for t in some])
def test_a_right_answer_of_another_form_passes(name, theirs):
    assert_passes(name, theirs)


# Wrong answers that are in no catalogue ----------------------------------------------------------------------------


def changed(make, change):
    """What `make` builds, with `change` done to it."""

    def wrong(*sizes, **options):
        built = make(*sizes, **options)
        change(built)
        return built

    return wrong


def norms(module):
    return [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]


def other_eps(module):
    for norm in norms(module):
        norm.eps = 1e-3


def other_momentum(module):
    for norm in norms(module)[-1:]:
        norm.momentum = 0.01


def always_evaluates(module):
    for norm in norms(module)[-1:]:
        norm.forward = lambda x, norm=norm: F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)


def leaky(module):
    for part in module.modules():
        if isinstance(part, nn.ReLU):
            part.forward = lambda x: F.leaky_relu(x, 0.01)


def stem_with_ceiling(in_chans, width):
    return nn.Sequential(*deep_stem(in_chans, width)[:3], nn.MaxPool2d(3, 2, 1, ceil_mode=True))


class Stretches(nn.Module):
    """Halves by interpolation, which is a mean on even maps only."""

    def forward(self, x):
        size = (-(-x.shape[2] // 2), -(-x.shape[3] // 2))
        return F.interpolate(x, size, mode="bilinear", align_corners=False)


class Reflects(nn.Module):
    def forward(self, x):
        return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 2)


class Squares(nn.Module):
    """Right for square maps: it pools by the height alone."""

    def forward(self, x):
        return F.adaptive_avg_pool2d(F.avg_pool2d(x, 3, 2, padding=1), -(-x.shape[2] // 2))


def put(name, module):
    """Replaces the pool called `name`, where there is one."""

    def change(built):
        if isinstance(getattr(built, name, None), nn.AvgPool2d):
            setattr(built, name, module())

    return change


def dilates(built):
    built.attention.conv.dilation = built.attention.conv.padding = (2, 2)


class ReluOnTheInput(ResNeStBlock):
    def forward(self, x):
        return super().forward(x.relu_())


class HalvesTheBranch(ResNeStBlock):
    def forward(self, x):
        return (self.expand(self.middle(self.reduce(x))) / 2 + self.shortcut(x)).relu()


class CapsAtSix(ResNeStBlock):
    def forward(self, x):
        return super().forward(x).clamp(max=6)


class FloatBlock(ResNeStBlock):
    def forward(self, x):
        return super().forward(x.float().double())


def stage_reversed(*sizes, **options):
    stage = make_stage(*sizes, **options)
    order = [0, *range(len(stage) - 1, 0, -1)]
    stage.forward = lambda x: [x := stage[i](x) for i in order][-1]
    return stage


def stage_strides_where_channels_change(depth, in_channels, mid_channels, out_channels, stride, **options):
    stride = 2 if in_channels != out_channels else 1
    return make_stage(depth, in_channels, mid_channels, out_channels, stride, **options)


def stage_of_radix_two(*sizes, **options):
    return make_stage(*sizes, **{**options, "radix": 2})


def counted(**changes):
    def wrong(*sizes, **options):
        right = parameters(*sizes, **options)
        return right | {name.replace("_", " "): right[name.replace("_", " ")] + more for name, more in changes.items()}

    return wrong


def count_without_a_name(*sizes, **options):
    right = parameters(*sizes, **options)
    return {name: number for name, number in right.items() if name != "7x7 stem"}


class DropsWhileTraining(ResNeSt):
    def forward(self, x):
        x = self.stages(self.stem(x)).mean((2, 3))
        return self.classifier(F.dropout(x, 0.2, self.training))


class NormalisesFeatures(ResNeSt):
    def forward(self, x):
        return self.classifier(F.normalize(self.stages(self.stem(x)).mean((2, 3))))


class ForgetsAStage(ResNeSt):
    def forward(self, x):
        x = self.stem(x)
        for stage in list(self.stages)[:2]:
            x = stage(x)
        short = self.classifier.in_features - x.shape[1]
        return self.classifier(F.pad(x.mean((2, 3)), (0, max(short, 0)))[:, : self.classifier.in_features])


def force_then_soften(net, x, change):
    return force_gates(net, x, change).softmax(1)


def force_and_freeze(net, x, change):
    logits = force_gates(net, x, change)
    net.requires_grad_(False)
    return logits


def force_without_gradients_ever_after(net, x, change):
    torch.set_grad_enabled(False)
    return force_gates(net, x, change)


def force_the_first_picture(net, x, change):
    return force_gates(net, x, lambda own: torch.cat((change(own)[:1], own[1:])))


def force_normalised(net, x, change):
    """Makes the new gates sum to one, which nobody asked for."""
    return force_gates(net, x, lambda own: change(own) / change(own).sum(1, keepdim=True))


def force_and_catch(net, x, change):
    try:
        return force_gates(net, x, change)
    except Exception as error:
        raise RuntimeError("gates") from error


WRONG = {
    "resnest.stem": (
        changed(deep_stem, other_eps),
        changed(deep_stem, other_momentum),
        changed(deep_stem, leaky),
        stem_with_ceiling,
    ),
    "resnest.shortcut": (
        changed(pooled_shortcut, other_eps),
        changed(pooled_shortcut, always_evaluates),
        changed(pooled_shortcut, put("pool", Stretches)),
    ),
    "resnest.downsample": (
        changed(AveragedMiddle, put("pool", Reflects)),
        changed(AveragedMiddle, put("pool", Squares)),
        changed(AveragedMiddle, dilates),
        changed(AveragedMiddle, other_momentum),
    ),
    "resnest.block": (ReluOnTheInput, HalvesTheBranch, CapsAtSix, FloatBlock, changed(ResNeStBlock, other_eps)),
    "resnest.stages": (stage_reversed, stage_strides_where_channels_change, stage_of_radix_two),
    "resnest.cost": (counted(splits=1), counted(deep_stem=32), counted(expand=-64), count_without_a_name),
    "resnest.net": (DropsWhileTraining, NormalisesFeatures, ForgetsAStage, changed(ResNeSt, other_momentum)),
    "resnest.force": (
        force_then_soften,
        force_and_freeze,
        force_without_gradients_ever_after,
        force_the_first_picture,
        force_normalised,
        force_and_catch,
    ),
}


@pytest.mark.parametrize(("name", "theirs"), [(n, t) for n, some in WRONG.items() for t in some])
def test_a_wrong_answer_that_is_in_no_catalogue_fails(name, theirs):
    assert assert_fails(name, theirs).mistake is None


def test_the_wrong_shortcut_that_is_right_in_evaluation_is_told_so():
    mistakes = BY_ID["resnest.shortcut"].mistakes
    outcome = assert_fails("resnest.shortcut", next(v for m, v in mistakes.items() if "not while it learns" in m))
    assert "training mode" in outcome.message


def test_a_check_gives_the_class_back_that_an_answer_has_spoilt():
    own = SplitAttention.gates

    def spoils(net, x, change):
        SplitAttention.gates = lambda layer, pooled: change(own(layer, pooled))
        return net.eval()(x)

    assert_fails("resnest.force", spoils)
    assert SplitAttention.gates is own


# The library's versions ----------------------------------------------------------------------------------------------


def test_the_shortcuts_mean_is_that_of_the_pixels_which_are_there():
    x = torch.randn(1, 2, 5, 7, dtype=torch.float64)
    built = pooled_shortcut(2, 2, 2).double().eval()
    nn.init.eye_(built.conv.weight.data[:, :, 0, 0])
    built.conv.weight.data.copy_(torch.eye(2)[:, :, None, None])
    built.norm.eps = 0.0  # leaves the numbers as they are
    expected = torch.empty(1, 2, 3, 4, dtype=torch.float64)
    for i in range(3):
        for j in range(4):
            window = [x[:, :, y, z] for y in range(2 * i, min(2 * i + 2, 5)) for z in range(2 * j, min(2 * j + 2, 7))]
            expected[:, :, i, j] = sum(window) / len(window)
    torch.testing.assert_close(built(x), expected)


def test_count_include_pad_decides_nothing_without_padding():
    x = torch.randn(1, 1, 7, 5)
    pools = [nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=counts) for counts in (True, False)]
    assert torch.equal(pools[0](x), pools[1](x))


def test_the_pool_of_the_branch_counts_its_zeros_as_the_notebook_says():
    shrunk = AveragedMiddle(32, 2).pool(torch.ones(1, 32, 6, 6))[0, 0]
    assert shrunk[0, 0].item() == pytest.approx(4 / 9)
    assert shrunk[0, 1].item() == shrunk[1, 0].item() == pytest.approx(2 / 3)
    assert shrunk[1, 1].item() == shrunk[2, 2].item() == 1


@pytest.mark.parametrize(("sizes", "radix", "cardinality"), [((32, 64, 64, 256, 1), 2, 1), ((16, 64, 80, 64, 2), 4, 2)])
def test_the_formulas_count_what_is_there(sizes, radix, cardinality):
    options = {"radix": radix, "cardinality": cardinality}
    assert parameters(*sizes, **options) == count_what_is_built(*sizes, **options)


@pytest.mark.parametrize("architecture", NETS)
def test_a_whole_net_is_the_published_one(architecture):
    depths, options = NETS[architecture]
    net = ResNeSt(depths, **options)
    assert {k: tuple(t.shape) for k, t in net.state_dict().items()} == {
        k: tuple(t.shape) for k, t in golden_state(architecture).items()
    }
    assert first_difference(net, architecture).ok


@pytest.mark.parametrize("architecture", ["resnest50d", "resnest50d_4s2x40d"])
def test_a_whole_net_takes_the_authors_file(architecture):
    depths, options = NETS[architecture]
    net, state = ResNeSt(depths, **options), golden_checkpoint(architecture, "resnest")
    names = rename(state, "resnest")
    net.load_state_dict({names[key]: tensor for key, tensor in state.items()}, strict=True)
    assert first_difference(net, architecture, state=None).ok
    wrong = ResNeSt(
        depths, **{**options, "average_down": {"before": "after"}.get(options.get("average_down"), "before")}
    )
    wrong.load_state_dict(net.state_dict(), strict=True)
    assert first_difference(wrong, architecture, state=None).first.point == "stages.1.0.middle"


# Forcing -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def toy():
    return create_model("toy_resnest", pretrained=True).eval()


@pytest.fixture(scope="module")
def seen(toy):
    return gates.toy_pictures(toy, each=10)


@pytest.fixture(scope="module")
def forced(toy, seen):
    return gates.watch_forced(force_gates, toy, seen)


def test_the_targets_are_what_they_are_called():
    own = torch.rand(3, 4, 5)
    assert even(own).unique().item() == 0.25
    assert torch.equal(batch_mean(own)[2], own.mean(0))
    assert torch.equal(another_picture(own)[1], own[0])
    torch.testing.assert_close(towards(even, 0.5)(own), own / 2 + 0.125)
    assert torch.equal(towards(even, 0.0)(own), own)


def test_forcing_leaves_no_trace_when_a_picture_has_the_wrong_shape(toy):
    before = {name: vars(module).keys() for name, module in toy.named_modules()}
    with pytest.raises(RuntimeError):
        force_gates(toy, torch.zeros(1, 5, 64, 64), even)
    assert {name: vars(module).keys() for name, module in toy.named_modules()} == before


def test_the_recorded_gates_are_those_of_the_net(toy, seen):
    recorded = gates.record_gates(force_gates, toy, seen)
    assert [tuple(one.shape[1:]) for one in recorded] == [(2, w) for w in (16, 16, 32, 32, 64, 64, 88)]
    assert all(torch.allclose(one.sum(1), torch.ones_like(one[:, 0])) for one in recorded)
    assert torch.equal(force_gates(toy, seen.inputs[:4], lambda own: own), toy(seen.inputs[:4]).detach())


def test_the_deepest_gates_move_least_and_know_most_of_the_class(toy, seen):
    recorded = gates.record_gates(force_gates, toy, seen)
    moves = [one[:, 0].std(0).mean().item() for one in recorded]
    shares = [gates.explained(one, seen.labels) for one in recorded]
    assert min(moves) == moves[-1] and max(shares) == shares[-1]


def test_explained_is_one_where_the_class_decides_and_small_where_it_does_not():
    labels = torch.arange(5).repeat(40)
    told = labels[:, None, None].expand(-1, 2, 3).double()
    chance = torch.rand(200, 2, 3, generator=torch.Generator().manual_seed(0))
    assert gates.explained(told, labels) == pytest.approx(1)
    assert gates.explained(chance, labels) < 0.1


def test_forced_gates_cost_accuracy_and_relations_most(forced):
    for target in gates.TARGETS:
        assert forced.accuracy(target, 0.0) > 0.98 and forced.accuracy(target, 1.0) < 0.85
        by_group = [forced.accuracy(target, 1.0, group) for group in ("texture", "shape", "relation")]
        assert by_group[2] == min(by_group)
    assert forced.accuracy("mean of the batch", 1.0, "texture") > 0.95


def test_the_sliders_pictures_tell_the_numbers_that_were_measured(toy, seen, forced):
    picture = resnest.draw_forced(forced, "another picture's", 100)
    lost = forced.accuracy("another picture's", 1.0)
    assert f"another picture's {lost:.0%}" in picture.alt
    recorded = gates.record_gates(force_gates, toy, seen)
    assert "6 classes of shape" in resnest.draw_gates(recorded, seen, 1, "shape").alt


# What the notebook shows ---------------------------------------------------------------------------------------------


def test_a_strided_1x1_convolution_never_reads_three_quarters():
    shares = [(pictures.reach(layer, torch.ones(1, 1, 6, 6)) > 0).mean() for layer in pictures.strides().values()]
    assert shares == [0.25, 1, 1, 1]
    assert "25%" in pictures.draw_reach().alt


def test_the_two_stems_do_not_read_the_same_square():
    assert "7×7 pixels" in pictures.draw_stems().alt and "11×11 pixels" in pictures.draw_stems().alt


def test_a_mean_leaves_less_of_what_the_halved_map_cannot_hold():
    left = [pictures.contrast_left(way, 0.375) for way in ("every second pixel", "2×2 mean", "3×3 mean")]
    assert left[0] == pytest.approx(1, abs=0.02) and left[0] > 2 * left[1] > 2 * left[2]
    assert pictures.contrast_left("2×2 mean", 0.0) == pytest.approx(1)


def test_the_ladder_ends_at_the_published_nets():
    costs = {cost.name: cost for cost in counting.costs()}
    assert counting.ladder()["+ radix 2: ResNeSt-50"] == CONFIGS["resnest50d"]
    assert (
        counting.with_middle(counting.ladder()["+ average-pool shortcut: ResNet-50-D"], Split(2)).stages
        == CONFIGS["resnest50d"].stages
    )
    plain, stem, pooled, radix1, radix2, before, fast = costs.values()
    assert [c.parameters for c in (radix2, fast)] == [w.parameters for w in list_weights("resnest50d*")][::2]
    # timm's table has 5.4 and 4.4 G for the two.
    assert (round(radix2.macs / 1e9, 2), round(fast.macs / 1e9, 2)) == (5.37, 4.37)
    assert stem.macs > plain.macs and pooled.macs == stem.macs and pooled.parameters == stem.parameters
    assert radix1.macs - pooled.macs > 20 * (before.macs - pooled.macs) > 0  # the place of the pool, not the attention
    assert before.parameters == radix2.parameters


def test_multiplications_are_counted_as_by_hand():
    net = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.Flatten(), nn.Linear(6 * 25, 7))
    assert counting.macs(net, torch.zeros(1, 4, 5, 5)) == 25 * 6 * 2 * 9 + 6 * 25 * 7


def test_every_impostor_loads_has_all_shapes_and_is_found_by_the_trace(toy, seen):
    config, big = toy.config, CONFIGS["resnest50d"]
    state, golden = toy.state_dict(), golden_state("resnest50d")
    sound = impostors.impostor(config, state)
    shapes, few = impostors.shapes_at_blocks(sound, seen.inputs[:2]), seen.inputs[:2]
    departs = {}
    right = {}
    for name, fault in {"none": None, **impostors.FAULTS}.items():
        wrong = impostors.impostor(config, state, fault)
        assert impostors.shapes_at_blocks(wrong, few) == shapes
        assert {k: t.shape for k, t in wrong.state_dict().items()} == {k: t.shape for k, t in state.items()}
        with torch.inference_mode():
            right[name] = (wrong(seen.inputs).argmax(1) == seen.labels).double().mean().item()
        first = first_difference(impostors.impostor(big, golden, fault), state=None).first
        departs[name] = first and first.point
    assert list(departs.values()) == [
        None, "stem", "stages.1.0.shortcut", "stages.1.0.shortcut", "stages.1.0.middle", "stages.1.0.middle",
    ]  # fmt: skip
    # As the notebook says: one is as good as the right net, one loses half and more.
    assert right["none"] > 0.98 and right["branch: the padding's zeros not counted"] > 0.97
    assert min(right, key=right.get) == "shortcut: a strided 1×1 convolution" and min(right.values()) < 0.5


def test_the_faults_hide_on_even_maps_of_published_size():
    # 224 is halved five times without a remainder, so no window of a shortcut hangs over.
    wide, own = nn.AvgPool2d(2, 2), nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)
    for side in (56, 28, 14):
        x = torch.randn(1, 1, side, side)
        assert torch.equal(wide(x), own(x))


def test_the_shapes_on_the_way_are_those_of_the_figure():
    alt = pictures.draw_shapes(ResNeSt((1, 1), (8, 16), stem_width=4), side=64).alt
    assert "stem 8 × 16 × 16, stages.0 32 × 16 × 16, stages.1 64 × 8 × 8" in alt


def test_the_small_net_of_the_notebook_can_be_filled_and_asked():
    net = ResNeSt((1, 1, 1, 1), (8, 16, 32, 64), stem_width=8, num_classes=6)
    trying.fill(net)
    assert net.eval()(torch.randn(2, 3, 64, 64)).shape == (2, 6)
    assert ResidualNet(CONFIGS["resnest14d"]).state_dict().keys() == ResNeSt((1, 1, 1, 1)).state_dict().keys()
