"""The class map: its cells and the bias are the logit, in nets of any make that end in a mean and a linear layer."""

import numpy as np
import pytest
import torch

import netwright as nw
from netwright.models import preprocessing_of
from netwright.probing.capture import ProbeError, hooks_in
from netwright.probing.golden import golden_picture, golden_state
from netwright.views.frame.assembling import Half
from netwright.views.maps import class_map
from netwright.views.maps.class_map import ClassMap
from netwright.views.maps.places import find_head, stage_places
from netwright.views.view import CheckFailed, NotInThisNet
from peers import timm, torchvision

TOYS = ("toy_resnet", "toy_resnext", "toy_resnest", "toy_halonet")
FULL = ("resnet50", "resnext50_32x4d", "resnest50d", "halonet50ts")


@pytest.fixture(scope="module")
def picture():
    return nw.ToyWorld("test")[3]["image"]


@pytest.fixture(scope="module")
def toys():
    return {name: nw.create_model(name, pretrained=True).eval() for name in TOYS}


@pytest.fixture
def view(toys, picture):
    return ClassMap(nw.probe(toys["toy_halonet"], picture))


def foreign(net):
    """A net of another make, told what its pictures look like."""
    net.preprocessing = preprocessing_of(nw.create_model("toy_resnet"))
    return net.eval()


def golden(name):
    net = nw.create_model(name)
    net.load_state_dict(golden_state(name))
    return nw.probe(net, golden_picture())


@pytest.mark.parametrize("name", TOYS)
def test_cells_and_bias_sum_to_every_logit_of_the_toy_nets(toys, picture, name):
    view = ClassMap(nw.probe(toys[name], picture))
    assert view.check().startswith("cells and bias sum to the logit")
    assert view.data["maps"].shape == (20, 2, 2)
    assert np.allclose(view.data["sums"] + view.data["bias"], view.data["logits"], atol=1e-4)


@pytest.mark.parametrize("name", FULL)
def test_cells_and_bias_sum_to_every_logit_of_the_full_size_nets(name):
    probe = golden(name)
    view = ClassMap(probe)
    assert view.check()
    side = probe.net.config.input_size // 32
    assert view.data["maps"].shape == (1000, side, side)
    assert view.data["logits"][view.target] == pytest.approx(float(probe.logits.max()), rel=1e-5)
    # A thousand classes travel in two bytes a number, and only the likeliest have their Grad-CAM made ahead.
    assert isinstance(view.payload()["maps"], Half)
    assert len(view.data["cam_classes"]) == class_map.LIKELIEST
    assert len(view.to_html(twin=False)) < 600_000


@pytest.mark.parametrize(
    "make", [timm.create_model, lambda name: getattr(torchvision.models, name)()], ids=["timm", "torchvision"]
)
def test_nets_of_other_makes_are_understood_by_what_their_layers_read(make):
    torch.manual_seed(0)
    probe = nw.probe(foreign(make("resnet18")), torch.randn(1, 3, 96, 96))
    head = find_head(probe)
    assert (head.place, head.linear) == ("layer4", "fc")
    view = ClassMap(probe, target=7)
    assert view.check()
    assert view.places == ["layer1", "layer2", "layer3", "layer4"]


def test_stages_are_found_by_the_size_of_their_maps(toys, picture):
    assert stage_places(nw.probe(toys["toy_resnet"], picture)) == {
        "stages.0": (16, 16), "stages.1": (8, 8), "stages.2": (4, 4), "stages.3": (2, 2),
    }  # fmt: skip


def test_a_cell_is_what_the_formula_says_term_by_term(toys, picture, view):
    probe = nw.probe(toys["toy_halonet"], picture)
    features, weight = probe["stages.3"][0], toys["toy_halonet"].classifier.weight
    for number, row, column in ((0, 0, 0), (7, 1, 0), (19, 1, 1)):
        term = (
            sum(float(weight[number, k].detach()) * float(features[k, row, column]) for k in range(len(features))) / 4
        )
        assert view.data["maps"][number, row, column] == pytest.approx(term, abs=1e-4)


def test_grad_cam_is_the_mean_slope_times_the_map_at_every_stage(toys, picture, view):
    probe = nw.probe(toys["toy_halonet"], picture)
    for at, place in enumerate(("stages.0", "stages.1", "stages.2", "stages.3")):
        assert view.places[at] == place
        slope = probe.gradient(place, view.target)
        by_hand = (slope.mean((2, 3))[0][:, None, None] * probe[place][0]).sum(0)
        found = view.data["cams"][at][list(view.data["cam_classes"]).index(view.target)]
        assert np.allclose(found, by_hand.numpy(), atol=1e-5)


def test_grad_cam_is_the_class_map_at_the_last_map_only(view):
    target = list(view.data["cam_classes"]).index(view.target)
    assert np.allclose(view.data["cams"][-1][target], view.data["maps"][view.target], atol=1e-5)
    assert abs(view.data["cams"][2][target].sum() + view.bias[view.target] - view.logits[view.target]) > 1


def test_what_speaks_for_one_class_rather_than_another_sums_to_their_difference(toys, picture):
    view = ClassMap(nw.probe(toys["toy_resnest"], picture), "dots", against="star")
    classes = view.data["classes"]
    one, other = classes.index("dots"), classes.index("star")
    assert (view.target, view.against) == (one, other)
    expected = view.logits[one] - view.logits[other] - view.bias[one] + view.bias[other]
    assert view.shown.sum() == pytest.approx(expected, abs=1e-4)
    with pytest.raises(ValueError, match="against itself is zero everywhere"):
        ClassMap(nw.probe(toys["toy_resnest"], picture), "dots", against="dots")
    with pytest.raises(ProbeError, match="No class is called 'dog'"):
        ClassMap(nw.probe(toys["toy_resnest"], picture), "dog")


def test_the_check_sees_cells_that_are_off_by_a_thousandth(view):
    view.data["maps"] *= 1.001
    with pytest.raises(CheckFailed, match="cells and bias sum to the logit"):
        view.check()


def test_the_check_sees_a_forgotten_bias(toys, picture, view):
    view.data["bias"] *= 0
    with pytest.raises(CheckFailed, match="cells and bias sum to the logit"):
        view.check()


def test_the_check_sees_slopes_that_are_summed_where_they_are_to_be_averaged(view, monkeypatch):
    right = ClassMap.grad_cam
    monkeypatch.setattr(ClassMap, "grad_cam", lambda self, *args: [4 * cam for cam in right(self, *args)])
    with pytest.raises(CheckFailed, match="Grad-CAM before its ReLU"):
        view.check()


def test_nothing_is_left_in_the_net(toys, picture):
    net = toys["toy_resnext"]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.train()
    net.stages[0].eval()
    view = ClassMap(nw.probe(net, picture))
    view.check()
    view.answer({"cam": 3, "place": 1})
    assert hooks_in(net) == 0
    assert net.training and not net.stages[0].training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    net.eval()


def test_a_net_without_a_mean_and_a_linear_layer_is_named():
    net = timm.create_model("vit_tiny_patch16_224").eval()
    with pytest.raises(NotInThisNet, match="VisionTransformer does not"):
        ClassMap(nw.probe(net, torch.randn(1, 3, 224, 224)))
    with pytest.raises(NotInThisNet, match="mean over space and one linear layer"):
        ClassMap(nw.probe(nw.create_model("toy_resnet", num_classes=0), torch.randn(1, 3, 64, 64)))


def test_the_description_has_the_numbers_of_the_map(view):
    assert f"{view.logits[view.target]:+.3f}" in view.alt
    assert f"{view.shown.max():+.3f}" in view.alt
    assert view.figure().alt == view.alt


def test_the_kernel_answers_with_the_grad_cam_of_any_class(view):
    answer = view.answer({"cam": 5, "place": 2})["cam"]
    assert np.allclose(answer, view.data["cams"][2][list(view.data["cam_classes"]).index(5)])
    with pytest.raises(ValueError, match="has no answer"):
        view.answer({"ask": "nothing"})


def test_random_weights_give_another_map_that_sums_as_well(view):
    twin = view.random_twin()
    assert twin.target == view.target
    assert twin.check()
    assert not np.allclose(twin.shown, view.shown, atol=0.1)


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("name", [r"$\frac{ costs$ \foo", "</script><b>\"'", "🐕" * 100])
def test_a_class_may_be_called_anything(picture, name):
    net = nw.create_model("toy_resnet", pretrained=True, num_classes=3)
    net.class_names = (name, "a", "b")
    view = ClassMap(nw.probe(net, picture), name)
    assert view.figure().alt == view.alt and name in view.alt
    assert "</script><b>" not in view.to_html(twin=False)
