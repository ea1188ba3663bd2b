"""Notebook 01: its solutions are what torch, timm and the library compute, other right answers pass, other wrong ones fail.

That every exercise's stub, solution and known mistakes are told apart is in test_lessons.py, for all notebooks at once.
"""

import math
import re
import time
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import netwright as nw
from netwright import notebooks
from netwright.lessons import check, engine, resnet
from netwright.lessons.resnet import assembling, blocks, counting, experiments, normalising, stages, starting
from netwright.lessons.teaching import teaching
from netwright.lessons.trying import fill
from netwright.nets.config import Block, NetConfig, Stage, Stem
from netwright.nets.layers import ConvNormAct
from netwright.nets.net import ResidualNet
from netwright.weights.catalogue import default_for
from netwright.weights.load import load_into
from peers import timm

NAMES = [each.id for each in resnet.CHECKS]
DEPTHS, WIDTHS = (3, 4, 6, 3), (64, 128, 256, 512)
SOURCE = notebooks.ROOT / "notebooks" / "source" / "01_resnet.py"


@pytest.fixture
def double():
    """Double precision as the default."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


# The notebook and its checks -----------------------------------------------------------------------------------------


def test_there_are_nine_exercises_and_the_notebook_asks_for_them_in_their_order_and_says_how_long_they_take():
    source = SOURCE.read_text(encoding="utf-8")
    asked = re.findall(
        r'^# \*(\d+) minutes · (easy|medium|hard) · .*?@exercise\("([\w.]+)"\)', source, re.MULTILINE | re.DOTALL
    )
    wanted = [(str(each.minutes), each.difficulty, each.id) for each in resnet.CHECKS]
    assert len(NAMES) == 9 and asked == wanted


@pytest.mark.parametrize("name", NAMES)
def test_a_check_and_its_diagnosis_are_quick(name):
    each = engine.find(name)
    for version in (each.ours, list(each.mistakes.values())[-1]):  # the last mistake is compared with all before it
        start = time.process_time()
        outcome = check(name, version)
        assert time.process_time() - start < 2.0, outcome


def test_a_teacher_is_told_what_every_mistake_reveals():
    told = teaching("01_resnet")
    assert told.faults() == [] and set(told.exercises) == set(NAMES)


# Other right answers -------------------------------------------------------------------------------------------------


class NormByMoments(nn.Module):
    """Sums and squares, buffers assigned anew, everything as (1, channels, 1, 1)."""

    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.weight = nn.Parameter(torch.full((channels,), 1.0))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.long))
        self.register_buffer("running_var", torch.ones_like(self.weight.detach()))
        self.register_buffer("running_mean", torch.zeros_like(self.bias.detach()))
        self.e, self.m = eps, momentum

    def forward(self, x):
        shape = (1, -1, 1, 1)
        if self.training:
            n = x.shape[0] * x.shape[2] * x.shape[3]
            mean = torch.einsum("nchw->c", x) / n
            var = torch.einsum("nchw,nchw->c", x, x) / n - mean**2
            self.running_mean = (1 - self.m) * self.running_mean + self.m * mean.detach()
            self.running_var = (1 - self.m) * self.running_var + self.m * var.detach() * n / (n - 1)
            self.num_batches_tracked = self.num_batches_tracked + 1
        else:
            mean, var = self.running_mean, self.running_var
        y = (x - mean.view(shape)) * torch.rsqrt(var.view(shape) + self.e)
        return torch.addcmul(self.bias.view(shape), y, self.weight.view(shape))


class NormByLoops(NormByMoments):
    """Channel by channel."""

    def forward(self, x):
        if self.training:
            self.num_batches_tracked.add_(1)
        channels = []
        for c in range(x.size(1)):
            values = x[:, c]
            mean, var = self.running_mean[c].clone(), self.running_var[c].clone()
            if self.training:
                mean, var = values.mean(), values.var(unbiased=False)
                self.running_mean[c] = mean.item() * self.m + self.running_mean[c].item() * (1 - self.m)
                self.running_var[c] = values.var().item() * self.m + self.running_var[c].item() * (1 - self.m)
            channels.append((values - mean) / (var + self.e) ** 0.5 * self.weight[c] + self.bias[c])
        return torch.stack(channels, dim=1)


class NormInPlace(NormByMoments):
    """In-place on a tensor of its own, channels last, and a subclass of nothing but nn.Module."""

    def forward(self, x):
        y = x.movedim(1, -1).clone()
        mean, var = self.running_mean.clone(), self.running_var.clone()
        if self.training:
            flat = y.reshape(-1, y.shape[-1])
            mean, var = flat.mean(0), ((flat - flat.mean(0)) ** 2).mean(0)
            self.num_batches_tracked += 1
            self.running_mean.mul_(1 - self.m).add_(self.m * mean.detach())
            self.running_var.data += self.m * (flat.detach().var(0) - self.running_var)
        y -= mean
        y /= (var + self.e).sqrt()
        return (y * self.weight + self.bias).movedim(-1, 1)


class Shortcut(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(i, o, 1, bias=False)
        self.norm = NormByMoments(o)

    def forward(self, x):
        return self.norm(self.conv(x[..., :: self.stride, :: self.stride]))


class Pass(nn.Module):
    def forward(self, x):
        return x


def projection_by_slices(in_channels, out_channels, stride):
    same = (in_channels, 1) == (out_channels, stride)
    return Pass() if same else Shortcut(in_channels, out_channels, stride)


def projection_by_torch(i, o, stride):
    if stride > 1 or i != o:
        parts = [("conv", nn.Conv2d(i, o, (1, 1), (stride, stride), bias=False)), ("norm", nn.BatchNorm2d(o))]
        return nn.Sequential(OrderedDict(parts))
    return nn.Sequential()


class Unit(nn.Module):
    def __init__(self, i, o, k=1, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(i, o, k, stride, k // 2, bias=False)
        self.norm = nn.BatchNorm2d(o)

    def forward(self, x):
        return self.norm(self.conv(x))


class BlockByHand(nn.Module):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1):
        super().__init__()
        self.shortcut = projection_by_slices(in_channels, out_channels, stride)
        self.reduce, self.expand = Unit(in_channels, mid_channels), Unit(mid_channels, out_channels)
        self.middle = Unit(mid_channels, mid_channels, 3, stride)

    def forward(self, x):
        y = F.relu(self.reduce(x), inplace=True)
        y = torch.clamp(self.middle(y), min=0)
        y = self.expand(y)
        y += self.shortcut(x)
        return F.relu_(y)


class BlockInALoop(blocks.Bottleneck):
    def forward(self, x):
        shortcut = self.shortcut(x)
        for part in (self.reduce, self.middle, self.expand):
            x = part(x)
        return torch.relu(torch.add(shortcut, x))


class BlockByFunctions(blocks.Bottleneck):
    def forward(self, x):
        y = x
        for i, unit in enumerate((self.reduce, self.middle, self.expand)):
            conv, norm = unit.conv, unit.norm
            y = F.conv2d(F.pad(y, (i % 2,) * 4), conv.weight, stride=conv.stride)
            y = norm(y)
            y = y if i == 2 else y * (y > 0)
        return (
            torch.where(y + self.shortcut(x) > 0, y + self.shortcut(x), 0.0)
            if not self.training
            else (torch.maximum(y + self.shortcut(x), torch.zeros_like(y)))
        )


class StageModule(nn.Module):
    def __init__(self, in_channels, mid_channels, out_channels, depth, stride):
        super().__init__()
        for i in range(depth):
            self.add_module(str(i), BlockByHand(in_channels, mid_channels, out_channels, stride))
            in_channels, stride = out_channels, 1

    def forward(self, x):
        for block in self.children():
            x = block(x)
        return x


def stage_by_append(in_channels, mid_channels, out_channels, depth, stride):
    row = nn.Sequential(blocks.Bottleneck(in_channels, mid_channels, out_channels, stride))
    while len(row) < depth:
        row.append(blocks.Bottleneck(out_channels, mid_channels, out_channels, 1))
    return row


def parameters_in_closed_form(depths, widths, num_classes=1000):
    inputs = (widths[0], *(4 * w for w in widths))
    counts = [3 * 49 * widths[0] + 2 * widths[0]]
    for depth, w, c in zip(depths, widths, inputs, strict=False):
        block = 17 * w * w + 12 * w  # from 4w over w to 4w
        counts.append(depth * block + (c - 4 * w) * w + 4 * w * c + 8 * w)
    return (*counts, torch.tensor(inputs[len(widths)] * num_classes + num_classes))


def parameters_of_a_built_net(depths, widths, num_classes=1000):
    with torch.device("meta"):
        net = assembling.ResNet(depths, widths, num_classes)
    parts = [net.stem, *net.stages, net.classifier]
    return [float(sum(math.prod(p.shape) for p in part.parameters())) for part in parts]


def macs_by_ceil(in_channels, mid_channels, out_channels, height, width, stride=1):
    h, w = math.ceil(height / stride), math.ceil(width / stride)
    found = {"middle": 3 * 3 * mid_channels**2 * h * w, "expand": mid_channels * out_channels * h * w}
    found["reduce"] = float(in_channels * mid_channels * height * width)
    found["shortcut"] = (in_channels * out_channels * h * w) * (stride > 1 or in_channels != out_channels)
    return found


def macs_by_padding(in_channels, mid_channels, out_channels, height, width, stride=1):
    out = [(side + 2 - 3) // stride + 1 for side in (height, width)]
    pixels = torch.tensor(out).prod()
    shortcut = 0 if in_channels == out_channels and stride == 1 else in_channels * out_channels * pixels
    reduce = in_channels * mid_channels * height * width
    middle, expand = 9 * mid_channels * mid_channels * pixels, mid_channels * out_channels * pixels
    return {"reduce": reduce, "middle": middle, "expand": expand, "shortcut": shortcut}


def initialise_by_names(net):
    for name, parameter in net.named_parameters():
        if parameter.dim() == 4:
            out, _, height, width = parameter.shape
            nn.init.normal_(parameter, 0.0, math.sqrt(2 / (out * height * width)))
        elif ".norm." in name:
            parameter.data.fill_(float(name.endswith("weight") and "expand" not in name))


def initialise_with_numpys_way(net):
    with torch.no_grad():
        for name, module in net.named_modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
                module.weight.copy_(torch.randn_like(module.weight) * (2 / fan_out) ** 0.5)
            if name.rpartition(".")[2] == "norm":
                module.bias.zero_()
                module.weight[:] = 0 if name.endswith("expand.norm") else 1


def initialise_with_new_parameters(net):
    for name, module in reversed(list(net.named_modules())):
        if name.endswith("norm"):
            module.weight = nn.Parameter(torch.ones_like(module.weight))
            module.bias = nn.Parameter(torch.zeros_like(module.bias))
        elif hasattr(module, "kernel_size"):
            nn.init.kaiming_normal_(module.weight.data, mode="fan_out")
    for name, parameter in net.named_parameters():
        if name.endswith("expand.norm.weight"):
            parameter.requires_grad_(False).mul_(0).requires_grad_(True)


def head_of_modules(num_features, num_classes):
    pool = nn.Sequential(nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten())
    return [pool, nn.Identity() if num_classes == 0 else nn.Linear(num_features, num_classes)]


class SumOverPixels(nn.Module):
    def forward(self, x):
        return torch.einsum("nchw->nc", x) / (x.shape[-1] * x.shape[-2])


def head_by_einsum(num_features, num_classes):
    return nn.Sequential(SumOverPixels(), nn.Linear(num_features, num_classes) if num_classes > 0 else Pass())


class FlatMean(nn.Module):
    def forward(self, x):
        return x.flatten(2).mean(dim=-1)


def head_by_flattening(num_features, num_classes):
    last = nn.Sequential() if not num_classes else nn.Linear(num_features, num_classes, True)
    return FlatMean(), last


class NetByHand(nn.Module):
    """Another order of making, own norms, one Sequential of stages, and the pool as a function."""

    def __init__(self, depths, widths, num_classes=1000):
        super().__init__()
        self.pool, self.classifier = head_by_flattening(4 * widths[-1], num_classes)
        first = nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(3, widths[0], 7, 2, 3, bias=False), norm=NormByMoments(widths[0]), act=nn.ReLU(True)
            )
        )
        self.stem = nn.ModuleList([first])
        self.stem.forward = lambda x: F.max_pool2d(first(x), 3, 2, 1)
        inputs = [widths[0]] + [4 * width for width in widths[:-1]]
        self.stages = nn.Sequential(
            *(StageModule(i, w, 4 * w, d, 1 + (n > 0)) for n, (i, w, d) in enumerate(zip(inputs, widths, depths)))  # noqa: B905
        )
        initialise_by_names(self)

    def forward(self, x):
        return self.classifier(self.pool(self.stages(self.stem(x))))


class NetPoolsBeforeTheRelu(assembling.ResNet):
    """A ReLU and a max pool may change places."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.stem[0].act = nn.MaxPool2d(3, 2, 1)
        self.stem[1] = nn.ReLU()


@pytest.mark.parametrize(
    ("name", "mine"),
    [
        ("resnet.batchnorm", NormByMoments),
        ("resnet.batchnorm", NormByLoops),
        ("resnet.batchnorm", NormInPlace),
        ("resnet.batchnorm", nn.BatchNorm2d),
        ("resnet.projection", projection_by_slices),
        ("resnet.projection", projection_by_torch),
        ("resnet.bottleneck", BlockByHand),
        ("resnet.bottleneck", BlockInALoop),
        ("resnet.bottleneck", BlockByFunctions),
        ("resnet.stage", StageModule),
        ("resnet.stage", stage_by_append),
        ("resnet.parameters", parameters_in_closed_form),
        ("resnet.parameters", parameters_of_a_built_net),
        ("resnet.macs", macs_by_ceil),
        ("resnet.macs", macs_by_padding),
        ("resnet.init", initialise_by_names),
        ("resnet.init", initialise_with_numpys_way),
        ("resnet.init", initialise_with_new_parameters),
        ("resnet.head", head_of_modules),
        ("resnet.head", head_by_einsum),
        ("resnet.head", head_by_flattening),
        ("resnet.net", NetByHand),
        ("resnet.net", NetPoolsBeforeTheRelu),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_an_answer_in_another_form_passes(name, mine):
    outcome = check(name, mine)
    assert outcome.status == "passed", outcome


def test_no_seed_makes_a_right_initialisation_fail():
    for seed in range(60):

        def mine(net, seed=seed):
            torch.manual_seed(seed)
            initialise_by_names(net)

        assert check("resnet.init", mine), seed


# Other wrong answers -------------------------------------------------------------------------------------------------


class NormWithoutBiasGradient(normalising.BatchNorm2d):
    def forward(self, x):
        return super().forward(x) - self.bias[:, None, None] + self.bias.detach()[:, None, None]


class NormInFloat32(normalising.BatchNorm2d):
    def forward(self, x):
        return super().forward(x.float()).to(x.dtype)


class NormForSquareMaps(normalising.BatchNorm2d):
    """Corrects the variance as if every map were as wide as it is high."""

    def forward(self, x):
        before = self.running_var.clone()
        y = super().forward(x)
        if self.training:
            count = len(x) * x.shape[2] ** 2
            new = x.detach().var((0, 2, 3), correction=0) * count / (count - 1)
            self.running_var.copy_(before.lerp(new, self.momentum))
        return y


class NormOfAllBatches(normalising.BatchNorm2d):
    """A momentum that grows smaller, as torch's momentum=None has it."""

    def forward(self, x):
        if self.training:
            self.momentum = 1 / (self.num_batches_tracked.item() + 1)
        return super().forward(x)


def projection_of_another_momentum(i, o, stride):
    made = blocks.projection(i, o, stride)
    if isinstance(made, nn.Sequential):
        made.norm.momentum = 0.01
    return made


def projection_of_the_odd_pixels(i, o, stride):
    made = Shortcut(i, o, stride)
    made.forward = lambda x: made.norm(made.conv(x[..., stride - 1 :: stride, stride - 1 :: stride]))
    return nn.Identity() if stride == 1 and i == o else made


class OtherEps(blocks.Bottleneck):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.expand.norm.eps = 1e-3


class MeanOfBoth(blocks.Bottleneck):
    def forward(self, x):
        return (0.5 * (self.expand(self.middle(self.reduce(x))) + self.shortcut(x))).relu()


class ReflectedEdges(blocks.Bottleneck):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.middle.conv.padding_mode = "replicate"


class EvaluatesItsShortcut(blocks.Bottleneck):
    def train(self, mode=True):
        super().train(mode)
        self.shortcut.eval()
        return self


def stage_with_dilation(*arguments):
    made = stages.stage(*arguments)
    made[-1].middle.conv.dilation, made[-1].middle.conv.padding = (2, 2), (2, 2)
    return made


def stage_with_a_last_norm(*arguments):
    made = stages.stage(*arguments)
    made.append(nn.BatchNorm2d(arguments[2], affine=False))
    return made


def parameters_in_millions(*arguments):
    return [count / 1e6 for count in counting.parameters(*arguments)]


def parameters_with_a_bare_stem(depths, widths, num_classes=1000):
    counts = counting.parameters(depths, widths, num_classes)
    return [counts[0] - 2 * widths[0], *counts[1:]]


def macs_with_a_bias(i, m, o, h, w, stride=1):
    outside = math.ceil(h / stride) * math.ceil(w / stride)
    found = counting.macs(i, m, o, h, w, stride)
    return found | {"middle": found["middle"] + m * outside}


def macs_without_edges(i, m, o, h, w, stride=1):
    found = counting.macs(i, m, o, h, w, stride)
    return found | {"middle": counting.macs(i, m, o, max(1, h - 2), max(1, w - 2), stride)["middle"]}


def initialise_truncated(net):
    starting.initialise(net)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            std = module.weight.std().item()
            nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)


def initialise_positive(net):
    starting.initialise(net)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.abs_()


def initialise_one_filter(net):
    starting.initialise(net)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data[:] = module.weight.data[:1].clone()


def initialise_and_freeze(net):
    starting.initialise(net)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_("norm" not in name)


def initialise_everything(net):
    starting.initialise(net)
    for name, tensor in net.state_dict().items():
        if "norm.running" in name:
            tensor.zero_()


class DropsHalf(assembling.GlobalAverage):
    def forward(self, x):
        return F.dropout(super().forward(x), 0.5, self.training)


class PoolsInPlace(nn.Module):
    def forward(self, x):
        return x.mul_(1 / (x.shape[2] * x.shape[3])).sum((2, 3))


def net_with(change):
    class Wrong(assembling.ResNet):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            change(self)

    return Wrong


def ceil_mode(net):
    net.stem[1] = nn.MaxPool2d(3, 2, padding=1, ceil_mode=True)


def padded_in_the_middle(net):
    net.stem[0].conv.padding = (2, 2)


def scaled(net):
    net.register_forward_pre_hook(lambda module, inputs: (inputs[0] / 2,))


WRONG = {
    "resnet.batchnorm": (NormWithoutBiasGradient, NormInFloat32, NormForSquareMaps, NormOfAllBatches),
    "resnet.projection": (projection_of_another_momentum, projection_of_the_odd_pixels),
    "resnet.bottleneck": (OtherEps, MeanOfBoth, ReflectedEdges, EvaluatesItsShortcut),
    "resnet.stage": (stage_with_dilation, stage_with_a_last_norm),
    "resnet.parameters": (parameters_in_millions, parameters_with_a_bare_stem),
    "resnet.macs": (macs_with_a_bias, macs_without_edges),
    "resnet.init": (
        initialise_truncated,
        initialise_positive,
        initialise_one_filter,
        initialise_and_freeze,
        initialise_everything,
    ),
    "resnet.head": (
        lambda features, classes: (DropsHalf(), assembling.head(features, classes)[1]),
        lambda features, classes: (PoolsInPlace(), assembling.head(features, classes)[1]),
        lambda features, classes: (assembling.GlobalAverage(), nn.Linear(features, max(classes, 2))),
    ),
    "resnet.net": (net_with(ceil_mode), net_with(padded_in_the_middle), net_with(scaled)),
}


@pytest.mark.parametrize(
    ("name", "theirs"),
    [pytest.param(name, theirs, id=f"{name}-{i}") for name, some in WRONG.items() for i, theirs in enumerate(some)],
)
def test_a_mistake_that_nobody_foresaw_fails_all_the_same(name, theirs):
    outcome = check(name, theirs)
    assert outcome.status in ("failed", "crashed") and outcome.mistake is None, outcome


def test_a_stride_in_the_last_convolution_is_told_apart_by_training_only():
    wrong = blocks.BOTTLENECK_MISTAKES["with the stride in the last 1x1 convolution"]
    assert "in training mode" in check("resnet.bottleneck", wrong).message


# The solutions are right ---------------------------------------------------------------------------------------------


def test_our_batchnorm_is_torchs(double):
    ours, torchs = normalising.BatchNorm2d(5, eps=1e-3, momentum=0.3), nn.BatchNorm2d(5, eps=1e-3, momentum=0.3)
    assert list(ours.state_dict()) == list(torchs.state_dict())
    for layer in (ours, torchs):
        fill(layer)
    for _ in range(3):
        x = torch.randn(4, 5, 6, 3) + 2
        torch.testing.assert_close(ours.train()(x), torchs.train()(x), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(ours.eval()(x), torchs.eval()(x), rtol=1e-12, atol=1e-12)
    for one, other in zip(ours.buffers(), torchs.buffers(), strict=True):
        torch.testing.assert_close(one, other)


def test_our_small_net_is_the_librarys(double):
    depths, widths = (1, 2, 1), (4, 6, 5)
    ours = assembling.ResNet(depths, widths, 7)
    config = NetConfig(
        Stem((4,)),
        tuple(
            Stage((Block(),) * depth, width, 4 * width, 2 if i else 1)
            for i, (depth, width) in enumerate(zip(depths, widths, strict=True))
        ),
    )
    library = ResidualNet(config, num_classes=7)
    assert list(ours.state_dict()) == list(library.state_dict())
    for net in (ours, library):
        fill(net)
    x = torch.randn(2, 3, 45, 38)
    for mode in (True, False):
        torch.testing.assert_close(ours.train(mode)(x), library.train(mode)(x), rtol=1e-9, atol=1e-9)


@pytest.fixture(scope="module")
def resnet50():
    """ResNet-50 of the solutions, with the BatchNorm of the solution in every place."""
    net = assembling.ResNet(DEPTHS, WIDTHS)
    for module in list(net.modules()):
        if isinstance(module, ConvNormAct):
            module.norm = normalising.BatchNorm2d(module.norm.num_features)
    return net.eval()


def test_our_resnet50_reproduces_the_golden_trace_and_the_published_layouts(resnet50):
    assert nw.first_difference(resnet50, "resnet50").ok
    for layout in ("torchvision", "openmmlab"):
        load_into(resnet50, nw.golden_checkpoint("resnet50", layout))
        assert nw.first_difference(resnet50, "resnet50", state=None).ok


def test_a_resnet50_with_a_fault_in_it_departs_from_the_trace():
    net = assembling.ResNet(DEPTHS, WIDTHS)
    net.stages[2][0] = blocks.StrideInFirst(512, 256, 1024, 2)
    assert nw.first_difference(net, "resnet50").first.point == "stages.2.0.reduce"


def test_the_counts_are_timms_and_the_catalogues(resnet50):
    counts = counting.parameters(DEPTHS, WIDTHS)
    published = default_for("resnet50")
    with torch.device("meta"):
        peer = timm.create_model("resnet50")
    assert sum(counts) == sum(p.numel() for p in peer.parameters()) == published.parameters
    flow = experiments.watch(resnet50)
    assert flow.macs[""] / 1e9 == pytest.approx(published.gmacs, abs=1e-4)
    assert flow.shapes["stages.3"] == (2048, 7, 7) and flow.shapes["stem"] == (64, 56, 56)
    block = counting.macs(256, 128, 512, 56, 56, 2)
    assert block == {part: flow.macs[f"stages.1.0.{part}"] for part in block}
    assert counts == [experiments.learned(part) for part in (resnet50.stem, *resnet50.stages, resnet50.classifier)]


def test_the_papers_count_is_that_of_the_stride_in_the_first_convolution():
    moved = counting.first_placement(counting.macs)
    here, there = (sum(count(256, 128, 512, 56, 56, 2).values()) for count in (counting.macs, moved))
    assert here - there == 256 * 128 * (56**2 - 28**2)
    assert moved(256, 128, 512, 28, 28) == counting.macs(256, 128, 512, 28, 28)


# What the notebook shows ---------------------------------------------------------------------------------------------


def test_the_gradient_explodes_without_shortcuts_and_is_even_with_a_last_scale_of_zero():
    plain, residual, fresh = (
        experiments.gradients_by_depth(blocks.Bottleneck, **options)
        for options in ({"shortcut": False}, {}, {"last": 0.0})
    )
    assert plain[0] > 1e8 and plain[0] > 1e4 * residual[0]
    assert max(fresh) == pytest.approx(min(fresh))
    assert all(one > other for one, other in zip(plain[:-10:10], plain[10::10], strict=True))


def test_a_cut_branch_leaves_a_net_and_a_cut_shortcut_leaves_none():
    net = nw.create_model("toy_resnet", pretrained=True)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    lesions = experiments.cut_everything(net, pictures=60)
    whole = lesions.accuracy(lesions.whole)
    assert whole > 0.9 and len(lesions.blocks) == 7
    for block in lesions.blocks:
        branch, shortcut = (lesions.accuracy(lesions.cut[block, part]) for part in ("branch", "shortcut"))
        assert shortcut < 0.35 and 0.5 < branch <= whole + 0.05
    assert lesions.moved(lesions.whole) == 0
    after = net.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    picture = resnet.draw_lesion(lesions, "stages.0.1", "shortcut")
    assert "With the shortcut of stages.0.1 cut" in picture.alt


def test_silence_ends_with_its_block():
    layer = nn.Linear(2, 2)
    x = torch.ones(1, 2)
    with experiments.silenced(layer):
        assert not layer(x).any()
    assert layer(x).any()


def test_the_figures_tell_what_they_show(resnet50):
    flow = experiments.watch(resnet50, 64)
    assert "shortcut 8" in resnet.draw_flow(flow, "stages.1.0").alt
    assert "shortcut 0" in resnet.draw_flow(flow, "stages.1.1").alt
    assert "one: 3 times at the first block" in resnet.draw_gradients({"one": [3.0, 1.0]}).alt


def test_a_batchnorm_with_a_biased_memory_passes_what_most_people_test():
    wrong = normalising.MISTAKES["that remembers the biased variance"](4)
    right, x = nn.BatchNorm2d(4), torch.randn(2, 4, 3, 3)
    assert torch.allclose(wrong.eval()(x), right.eval()(x), atol=1e-6)
    assert torch.allclose(wrong.train()(x), right.train()(x), atol=1e-6)
    assert not torch.allclose(wrong.eval()(x), right.eval()(x), atol=1e-4)


def test_a_net_that_shrinks_once_loads_and_answers_like_a_right_one():
    wrong = assembling.NET_MISTAKES["that shrinks its maps in the first stage and then never again"]
    nets = [kind((1, 1, 1), (4, 6, 8), 5) for kind in (assembling.ResNet, wrong)]
    nets[1].load_state_dict(nets[0].state_dict(), strict=True)
    flows = [experiments.watch(net, 64) for net in nets]
    assert [[flow.shapes[f"stages.{i}"][1] for i in range(3)] for flow in flows] == [[16, 8, 4], [8, 8, 8]]
    assert flows[0].shapes["classifier"] == flows[1].shapes["classifier"] == (5,)
