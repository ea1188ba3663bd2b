"""first_difference finds the place and the cause of faults that run, and stays out of the net that it looks at."""

import copy
import math

import pytest
import torch
from torch import nn

from netwright.nets import resnest
from netwright.nets.halonet import HaloAttention, halo_attention
from netwright.nets.resnet import Bottleneck
from netwright.nets.zoo import build
from netwright.probing.difference import first_difference
from netwright.probing.golden import golden_checkpoint, golden_picture, golden_state
from netwright.probing.points import observe
from netwright.transforms import Transform
from netwright.weights.catalogue import default_for
from netwright.weights.keymaps import to_netwright
from netwright.weights.read import CheckpointError
from peers import timm

# --- five faults that load without an error -------------------------------------------------------------------------


def test_a_stride_in_the_wrong_convolution_shows_in_the_first_strided_block():
    net = build("resnext50_32x4d")
    for block in net.modules():
        if isinstance(block, Bottleneck):
            block.reduce.conv.stride, block.middle.conv.stride = block.middle.conv.stride, block.reduce.conv.stride
    difference = first_difference(net)
    assert difference.first.point == "stages.1.0.reduce" and difference.first.status == "shape"
    assert difference.agreed.point == "stages.0.2"
    assert "stride of 2" in str(difference)


def test_two_swapped_tensors_of_equal_shape_are_named():
    state = to_netwright(golden_checkpoint("resnet50", "torchvision"))
    one, other = "stages.2.1.reduce.conv.weight", "stages.2.2.reduce.conv.weight"
    state[one], state[other] = state[other], state[one]
    net = build("resnet50")
    net.load_state_dict(state)
    difference = first_difference(net, state=None)
    assert difference.first.point == "stages.2.1.reduce" and difference.agreed.point == "stages.2.0"
    assert f"{one} does not hold its own numbers but those of {other}" in str(difference)
    assert first_difference(net).ok  # with golden weights of its own it has nothing wrong


def test_radix_softmax_needs_two_cardinal_groups_to_expose_a_transpose(monkeypatch):
    def untransposed(logits, radix, cardinality):
        return logits.unflatten(1, (cardinality, radix, -1)).softmax(dim=2).flatten(1).unflatten(1, (radix, -1))

    monkeypatch.setattr(resnest, "radix_softmax", untransposed)
    assert first_difference(build("resnest14d")).ok
    difference = first_difference(build("resnest50d_4s2x40d"))
    assert difference.first.point == "stages.0.0.middle" and difference.agreed.point == "stages.0.0.reduce"


def test_a_masked_halo_shows_in_the_first_attention():
    def masked(query, key_value, height_table, width_table, **sizes):
        # Keys in the padding have value 0, so they only take weight away: divide by what is left for the others.
        ones = key_value.unflatten(1, (sizes["heads"], -1)).clone()
        ones[:, :, sizes["key_dim"] :] = 1
        kept = halo_attention(query, ones.flatten(1, 2), height_table, width_table, **sizes)
        return halo_attention(query, key_value, height_table, width_table, **sizes) / kept

    net = build("halonet26t")
    for module in net.modules():
        if isinstance(module, HaloAttention):
            module.attend = masked
    difference = first_difference(net)
    assert difference.first.point == "stages.2.1.middle" and difference.first.status == "differs"
    assert difference.agreed.point == "stages.2.1.reduce"


def preprocessing_faults():
    published = default_for("resnet18").preprocessing
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (published.mean, published.std))
    right = Transform(published, input_size=72)
    return {
        "values go from 0 to 1": lambda picture: right(picture) * std + mean,
        "values go from 0 to 255": lambda picture: (right(picture) * std + mean) * 255,
        "mean and standard deviation of 0.5": lambda picture: (right(picture) * std + mean) * 2 - 1,
        "standard deviation was not divided by": lambda picture: right(picture) * std,
        "blue, green, red": lambda picture: ((right(picture) * std + mean).flip(0) - mean) / std,
        "blue, green, red, after normalising": lambda picture: right(picture).flip(0),
        "height and width exchanged": lambda picture: right(picture).transpose(1, 2),
        "cropped to 100.0%": Transform(published, input_size=72, crop_pct=1.0),
        "squashed": lambda picture: Transform(published, input_size=72, crop_pct=1.0)(picture.resize((72, 72))),
    }


@pytest.mark.parametrize("fault", preprocessing_faults())
def test_a_wrong_preprocessing_shows_in_the_input_and_is_named(fault):
    difference = first_difference(build("resnet18"), input=preprocessing_faults()[fault])
    assert difference.first.point == "input" and difference.agreed is None
    assert fault in difference.hints[0]


def test_a_right_preprocessing_passes():
    transform = Transform(default_for("resnet18").preprocessing, input_size=72)
    assert first_difference(build("resnet18"), input=transform).ok
    assert first_difference(build("resnet18"), input=transform(golden_picture()).unsqueeze(0)).ok


def test_a_picture_of_another_size_is_told_the_right_one():
    difference = first_difference(build("resnet18"), input=torch.zeros(3, 224, 224))
    assert difference.first.point == "input" and "(1, 3, 72, 72)" in difference.hints[0]


# --- other faults ----------------------------------------------------------------------------------------------------


def test_an_exception_is_located_and_told():
    net = build("resnet50")
    net.stages[1][1].middle.norm = nn.BatchNorm2d(77)
    difference = first_difference(net)
    assert difference.first.point == "stages.1.1.middle" and difference.first.status == "raised"
    assert "RuntimeError" in difference.sentence and "77" in difference.sentence
    assert any("(77,) in the net and (128,) in the weights" in hint for hint in difference.hints)
    assert difference.rows[-1].status == "not reached"


def test_an_exception_in_a_shortcut_that_runs_first_is_not_blamed_on_the_branch():
    class ShortcutFirst(Bottleneck):
        def forward(self, x):
            shortcut = self.shortcut(x)
            return self.act(self.expand(self.gate(self.middle(self.reduce(x)))) + shortcut)

    net = build("resnet50")
    net.stages[1][0].__class__ = ShortcutFirst
    assert first_difference(net).ok
    net.stages[1][0].shortcut = nn.Conv2d(3, 512, 1)
    assert first_difference(net).first.point == "stages.1.0.shortcut"


def test_a_block_that_cannot_add_is_located_at_the_block():
    net = build("resnet18")
    net.stages[1][0].shortcut.conv.stride = (1, 1)
    assert first_difference(net).first.point == "stages.1.0.shortcut"
    net = timm.create_model("resnet18")
    net.layer2[0].downsample = None
    difference = first_difference(net)
    assert difference.first.point == "stages.1.0.shortcut" and difference.first.status == "missing"


class NoGate(Bottleneck):
    def forward(self, x):
        return self.act(self.expand(self.middle(self.reduce(x))) + self.shortcut(x))


class GateByHand(Bottleneck):
    def forward(self, x):
        y = self.gate.forward(self.middle(self.reduce(x)))  # past every hook
        return self.act(self.expand(y) + self.shortcut(x))


def test_a_part_that_the_net_does_not_have_is_missing():
    net = build("sehalonet33ts")
    net.stages[1][0].__class__ = NoGate
    del net.stages[1][0].gate
    difference = first_difference(net)
    assert difference.first.point == "stages.1.0.gate" and difference.first.status == "missing"
    assert "The net has no place for stages.1.0.gate.fc1.weight (8, 128, 1, 1)." in difference.hints

    net = build("resnet18")
    del net.stages[3][1]
    difference = first_difference(net)
    assert difference.first.point == "stages.3.1.conv1" and difference.first.status == "missing"


def test_a_module_that_never_runs_departs_only_if_that_matters():
    net = build("eca_halonext26ts")
    net.stages[0][1].__class__ = GateByHand
    difference = first_difference(net)
    assert difference.ok and [row.point for row in difference.rows if row.status == "unused"] == ["stages.0.1.gate"]
    net.stages[1][1].expand.norm.eps = 0.1
    assert first_difference(net).first.point == "stages.1.1.expand"  # and the unused gate before it has no part in it
    net.stages[0][1].__class__ = NoGate
    difference = first_difference(net)
    assert difference.first.point == "stages.0.1.gate" and difference.first.status == "unused"


@pytest.mark.parametrize(
    "break_it, point, hint",
    [
        (lambda net: setattr(net.stages[1][1].reduce, "act", nn.Identity()), "reduce", "activation is missing"),
        (lambda net: setattr(net.stages[1][1].expand, "act", nn.ReLU()), "expand", "activation too many"),
        (lambda net: setattr(net.stages[1][1].middle.norm, "eps", 1e-3), "middle", ""),
        (lambda net: setattr(net.stages[1][1].expand.norm, "momentum", 0.9), None, ""),
        (lambda net: net.stages[1][1].expand.add_module("scale", Twice()), "expand", "2 times the published"),
        (lambda net: net.stages[1][1].expand.add_module("order", Reversed()), "expand", ""),
        (lambda net: net.stages[1][1].expand.add_module("corner", Corner()), "expand", ""),
        (lambda net: setattr(net.stages[1][1].middle.conv, "stride", (2, 2)), "middle", "stride of 2"),
    ],
)
def test_small_faults_inside_a_block_are_located_and_named(break_it, point, hint):
    net = build("resnet50")
    break_it(net)
    difference = first_difference(net)
    assert difference.first is None if point is None else difference.first.point == f"stages.1.1.{point}"
    assert hint in str(difference)


class Twice(nn.Module):
    def forward(self, x):
        return 2 * x


class Reversed(nn.Module):  # mean and deviation do not notice
    def forward(self, x):
        return x.flip(1)


class Corner(nn.Module):  # the samples do not notice
    def forward(self, x):
        corner = torch.zeros_like(x)
        corner[:, 0, -1, -1] = 10
        return x + corner


def test_a_nan_departs():
    net = build("resnet18")
    net.stages[2][0].conv1.add_module("nan", Nan())
    difference = first_difference(net)
    assert difference.first.point == "stages.2.0.conv1" and difference.first.error == float("inf")


class Nan(nn.Module):
    def forward(self, x):
        return x.index_fill(1, torch.tensor([0]), float("nan"))


def test_other_classes_show_at_the_logits_and_nowhere_before():
    difference = first_difference(build("resnet18", num_classes=10))
    assert difference.first.point == "logits" and difference.agreed.point == "pooled"
    assert "classifier.weight is (10, 512) in the net and (1000, 512) in the weights." in difference.hints


def test_weights_that_were_never_loaded_are_found_out():
    difference = first_difference(build("resnet18"), state=None)
    assert difference.first.point == "stem"
    assert "No tensor of the net holds its golden numbers" in str(difference)


def test_right_weights_in_a_wrong_net_blame_the_net():
    net = build("resnet18")
    net.load_state_dict(golden_state("resnet18"))
    assert first_difference(net, state=None).ok
    net.stages[0][1].act = nn.Identity()
    difference = first_difference(net, state=None)
    assert difference.first.point == "stages.0.1"
    assert "The weights up to here are the golden ones" in str(difference)


# --- nets of other people ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "architecture", ["resnet18", "resnext50_32x4d", "resnest14d", "resnest50d_4s2x40d", "halonet26t", "sehalonet33ts"]
)
def test_timm_nets_equal_the_trace_at_every_point_through_the_built_in_names(architecture):
    difference = first_difference(timm.create_model(architecture), tolerance=1e-9)
    assert difference.ok and {row.status for row in difference.rows} == {"ok"}, difference


def test_a_fault_in_a_net_with_torchvision_names_is_located_between_its_modules():
    net = timm.create_model("resnet50")
    net.layer3[1].bn2.eps = 1e-2
    difference = first_difference(net)
    assert difference.first.point == "stages.2.1.middle" and difference.first.place == ">layer3.1.conv3"


class Reader(nn.Module):
    """resnest14d under names that nobody else uses."""

    def __init__(self):
        super().__init__()
        net = build("resnest14d")
        self.entry, self.sections, self.head = net.stem, net.stages, net.classifier

    def forward(self, x):
        x = self.entry(x)
        for section in self.sections:
            x = section(x)
        return self.head(x.mean((2, 3)))

    @staticmethod
    def name(ours: str) -> str:
        for mine, yours in (("stem", "entry"), ("stages", "sections"), ("classifier", "head"), ("pooled", ">head")):
            ours = ours.replace(mine, yours)
        return "" if ours == "logits" else ours


def readers_state():
    return {Reader.name(name): tensor for name, tensor in golden_state("resnest14d").items()}


def test_a_net_with_names_of_its_own_is_proven_by_a_function_or_a_table():
    net, points = Reader(), [row.point for row in first_difference(build("resnest14d")).rows]
    for names in (Reader.name, {point: Reader.name(point) for point in points}):
        difference = first_difference(net, "resnest14d", names=names, state=readers_state())
        assert difference.ok and "all 24 points" in difference.sentence
    net.load_state_dict(readers_state())
    assert first_difference(net, "resnest14d", names=Reader.name, state=None).ok


def test_what_a_net_hides_is_not_blamed_but_said():
    def names(point):
        return None if point.endswith(".reduce") else Reader.name(point)

    net = Reader()
    difference = first_difference(net, "resnest14d", names=names, state=readers_state())
    assert difference.ok and "20 of 24 points" in difference.sentence
    net.sections[1][0].reduce.norm.eps = 0.1
    difference = first_difference(net, "resnest14d", names=names, state=readers_state())
    assert difference.first.point == "stages.1.0.middle"
    assert "or before it, where nothing can be seen: stages.1.0.reduce" in difference.sentence


def test_a_net_that_makes_constants_of_the_default_type_runs():
    class Constants(Bottleneck):
        def forward(self, x):
            y = super().forward(x)
            return y @ torch.eye(y.shape[-1])

    net = build("resnet50")
    net.stages[1][1].__class__ = Constants
    assert first_difference(net).ok and torch.get_default_dtype() == torch.float32


# --- manners ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [False, True])
def test_the_net_is_left_as_it_was(fault):
    net = build("resnet18").train()
    net.stages[0].eval()
    net.stem.requires_grad_(False)
    if fault:
        net.stages[1][1].conv1.norm = nn.BatchNorm2d(3)
    before = copy.deepcopy(net.state_dict())
    modes = [module.training for module in net.modules()]
    assert first_difference(net).ok is not fault
    for name, tensor in net.state_dict().items():
        assert tensor.dtype == before[name].dtype and torch.equal(tensor, before[name])
    assert [module.training for module in net.modules()] == modes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert [p.requires_grad for p in net.stem.parameters()] == [False] * 3


def test_observe_takes_its_hooks_out_even_after_an_exception():
    net = build("resnet18").eval()
    where = {"stem": "stem", "stages.0.0": ">stages.0.0", "logits": ""}
    assert observe(net, where, torch.zeros(1, 3, 72, 72)).readings.keys() == where.keys()
    assert isinstance(observe(net, where, torch.zeros(1, 5, 72, 72)).error, RuntimeError)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_a_module_that_runs_twice_is_read_the_first_time():
    net = build("resnet18").eval()
    with torch.no_grad():
        once = observe(net, {"stem": "stem"}, torch.ones(1, 3, 72, 72)).readings["stem"]
        twice = observe(Again(net), {"stem": "net.stem"}, torch.ones(1, 3, 72, 72)).readings["stem"]
    assert once.mean == twice.mean


class Again(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x) + self.net(2 * x)


@pytest.mark.parametrize("fault", [False, True])
def test_the_answer_shows_itself_with_a_description(fault):
    net = build("resnet18")
    if fault:
        net.stages[2][1].conv2.norm.eps = 1.0
    difference = first_difference(net)
    picture = difference.figure()
    assert picture.png.startswith(b"\x89PNG") and picture.alt == difference.alt
    assert difference.sentence in difference.alt
    shown = difference._repr_mimebundle_()
    assert shown["text/plain"] == str(difference) and "<img alt=" in shown["text/html"]
    assert ("stages.2.1.conv2" in str(difference)) is fault and ("<td" in shown["text/html"]) is fault


def test_the_strip_is_dark_where_equal_bright_where_different_and_grey_where_blind():
    net = build("resnet18")
    net.stages[2][1].conv2.norm.eps = 1.0
    difference = first_difference(net)
    at = difference.rows.index(difference.first)
    brightness = [difference._brightness(row) for row in difference.rows]
    assert max(brightness[:at]) < -9 < -4 < min(brightness[at : at + 2]) and max(brightness) <= 0
    del net.stages[2][1]
    difference = first_difference(net)
    assert difference.first.status == "missing" and difference._brightness(difference.first) == 0
    assert any(math.isnan(difference._brightness(row)) for row in difference.rows)


def test_a_difference_is_neither_true_nor_false():
    with pytest.raises(TypeError, match=".ok"):
        bool(first_difference(build("resnet18")))


def test_what_cannot_be_asked_is_told_in_a_sentence():
    net = build("resnet18")
    with pytest.raises(ValueError, match="Name it: .*resnet18, resnet50"):
        first_difference(nn.Linear(3, 3))
    with pytest.raises(ValueError, match="no golden trace of 'resnet19'; there is one of resnet18"):
        first_difference(net, "resnet19")
    with pytest.raises(ValueError, match="'silver'.*'golden'"):
        first_difference(net, state="silver")
    with pytest.raises(KeyError, match="names leads from stem to 'nowhere'"):
        first_difference(net, names={"stem": "nowhere"})
    with pytest.raises(CheckpointError, match="names of its own pass state="):
        first_difference(Reader(), "resnest14d")
