"""The architecture view counts what a net has and does: against torchinfo, the published counts, and by hand."""

import copy
import math

import pytest
import torch
import torchinfo
from torch import nn
from torch.nn import functional as F

import netwright as nw
from netwright.nets.halonet import HaloAttention
from netwright.nets.hybrids import BotAttention, LambdaLayer
from netwright.nets.zoo import ALL, CONFIGS, TOYS, build
from netwright.probing.capture import hooks_in
from netwright.views.architecture.architecture import Architecture
from netwright.views.view import CheckFailed, NotInThisNet
from netwright.weights.catalogue import default_for
from peers import timm

SERVED = (*TOYS, "resnet50", "resnext50_32x4d", "resnest50d", "halonet50ts", "sehalonet33ts")
OTHERS = ("resnet18", "resnest50d_4s2x40d", "halonet26t", "eca_halonext26ts", "lamhalobotnet50ts_256", "haloregnetz_b")


def part(view, name: str) -> dict:
    (found,) = [it for it in view.data["parts"] if it["name"] == name and it["kind"] != "products"]
    return found


@pytest.fixture(scope="module")
def halonet():
    return Architecture(build("halonet50ts"))


@pytest.mark.parametrize("name", (*SERVED, *OTHERS))
def test_the_check_holds_and_parameters_and_multiply_adds_are_the_catalogues(name):
    net = build(name)
    view = Architecture(net)
    assert view.check() == view.badge["text"] and view.badge["text"].count("exactly") == 3
    assert view.data["parameters"] == sum(p.numel() for p in net.parameters())
    assert hooks_in(net) == 0 and net.training and net.stages[0].training
    if name in CONFIGS:
        published = default_for(name)
        assert view.data["parameters"] == published.parameters
        more = sum(_more_in_timm(module, view, place) for place, module in net.named_modules())
        assert view.data["macs"] / 1e9 + more / 1e9 == pytest.approx(published.gmacs, abs=1e-4)


def _more_in_timm(module: nn.Module, view, place: str) -> int:
    """timm, which the catalogue's counts were made with, multiplies a query with all 2 * window - 1 rows of a position
    table and keeps the window's; and with both lambdas, where ours adds these first. The formulas ask for neither.
    """
    if isinstance(module, LambdaLayer):
        return module.heads * module.key_dim * module.value_dim * math.prod(part(view, f"{place}.qkv")["shape"][1:])
    if isinstance(module, HaloAttention):
        window, dim = module.block_size + 2 * module.halo, module.key_dim
        queries = part(view, f"{place}.query")["shape"]
    elif isinstance(module, BotAttention):
        window, dim = module.map_size, module.head_dim
        queries = part(view, f"{place}.qkv")["shape"]
    else:
        return 0
    return module.heads * queries[1] * queries[2] * dim * 2 * (window - 1)


@pytest.mark.parametrize("name", ("resnext50_32x4d", "resnest50d", "toy_halonet"))
def test_every_convolution_and_linear_layer_counts_as_in_torchinfo(name):
    net = build(name)
    view = Architecture(net)
    summary = torchinfo.summary(build(name), input_size=(1, *view.input_shape), verbose=0, depth=9, device="cpu")
    theirs = {}
    for info in summary.summary_list:
        if isinstance(info.module, nn.Conv2d | nn.Linear):
            names, at = [info.var_name], info.parent_info
            while at is not None and at.parent_info is not None:
                names, at = [at.var_name, *names], at.parent_info
            bias = 0 if info.module.bias is None else info.module.bias.numel()
            positions = 1 if isinstance(info.module, nn.Linear) else info.output_size[2] * info.output_size[3]
            theirs[".".join(names)] = info.macs - bias * positions  # torchinfo counts biases as products
    mine = {it["name"]: it["macs"] for it in view.data["parts"] if it["name"] in theirs and it["kind"] == "module"}
    assert mine == theirs and len(mine) > 20
    assert summary.total_params == view.data["parameters"]


@pytest.mark.parametrize("place", ("stages.1.3.middle.attention", "stages.3.1.middle.attention"))
def test_attentions_own_products_are_those_of_its_formula(halonet, place):
    attention = halonet.net.get_submodule(place)
    window = attention.block_size + 2 * attention.halo
    _, height, width = part(halonet, place)["shape"]
    a_query = window**2 * (attention.key_dim + attention.value_dim) + 2 * window * attention.key_dim
    (products,) = [it for it in halonet.data["parts"] if it["kind"] == "products" and it["name"] == place]
    assert products["macs"] == attention.heads * height * width * a_query > 0
    projections = part(halonet, f"{place}.query")["macs"] + part(halonet, f"{place}.key_value")["macs"]
    assert part(halonet, place)["macs"] == products["macs"] + projections


def test_the_tree_has_stages_blocks_parts_and_tensors_with_their_shapes(halonet):
    at = {level: [it["name"] for it in halonet.data["parts"] if it["level"] == level] for level in (1, 2, 3)}
    assert at[1] == [""]
    assert at[2] == ["stem", "stages.0", "stages.1", "stages.2", "stages.3", "classifier"]
    assert at[3][4:11] == [f"stages.{i}.{j}" for i, j in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (1, 3))]
    block = part(halonet, "stages.2.0")
    assert (block["shape_in"], block["shape"], block["stride"]) == ([512, 32, 32], [1024, 16, 16], 16)
    weight = part(halonet, "stages.2.0.middle.conv.weight")
    assert (weight["kind"], weight["shape"], weight["parameters"]) == ("parameter", [256, 256, 3, 3], 9 * 256**2)
    assert part(halonet, "stages.2.0.middle.norm.running_mean")["kind"] == "buffer"
    sizes = dict(halonet.net.named_parameters())
    listed = {it["name"]: it["parameters"] for it in halonet.data["parts"] if it["kind"] == "parameter"}
    assert listed == {name: tensor.numel() for name, tensor in sizes.items()}
    units = [halonet.data["parts"][i]["name"] for i in halonet.data["units"]]
    assert units[0] == "stem" and units[-1] == "classifier" and len(units) == 18


def test_a_final_convolution_stands_among_the_parts():
    view = Architecture(build("sehalonet33ts"))
    assert part(view, "final_conv")["shape"] == [1280, 8, 8]
    assert "final_conv" in [view.data["parts"][i]["name"] for i in view.data["units"]]


def test_a_plain_sequential_by_hand():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 7 * 7, 5))
    view = Architecture(net, input_size=15)
    assert view.check()
    assert [it["macs"] for it in view.data["parts"] if it["level"] == 2] == [8 * 3 * 9 * 49, 0, 0, 392 * 5]
    assert view.data["parameters"] == 8 * 27 + 392 * 5 + 5
    assert "Linear" in part(view, "3")["what"] and "stride 2" in part(view, "0")["what"]


def test_a_net_of_timm_with_attention_counts_its_products():
    net = timm.create_model("vit_tiny_patch16_224")
    view = Architecture(net)
    tokens, width = 197, 192
    (products,) = {
        it["macs"] for it in view.data["parts"] if it["kind"] == "products" and it["name"].startswith("blocks")
    }
    assert view.check() and products == 2 * tokens**2 * width  # query by key, weight by value
    assert "blocks.11" in [view.data["parts"][i]["name"] for i in view.data["units"]]


def test_what_stands_in_two_places_is_counted_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.unused = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 9)
            self.second.weight = self.first.weight
            self.again = self.first

        def forward(self, x):
            return self.again(self.second(self.first(x)))

    view = Architecture(Tied(), input_size=(4,))
    assert view.check() and view.data["parameters"] == 16 + 4 + 4 + 45
    assert view.data["macs"] == 48 and part(view, "first")["runs"] == 2
    assert "the same as first" in part(view, "again")["what"]
    assert part(view, "unused")["runs"] == 0 and part(view, "unused")["parameters"] == 45


def test_the_net_is_left_as_it_was():
    net = build("toy_halonet")
    net.stages[0].eval()
    state, attend = copy.deepcopy(net.state_dict()), net.stages[1][0].middle.attention.attend
    Architecture(net)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert net.stages[1][0].middle.attention.attend is attend
    assert net.training and not net.stages[0].training and hooks_in(net) == 0


def test_the_checks_fail_where_a_part_is_left_out_or_a_product_is_not_counted():
    view = Architecture(build("toy_resnet"))
    part(view, "stages.1.0.expand.norm.bias")["parameters"] = 0
    with pytest.raises(CheckFailed, match="parameters sum"):
        view.check()

    view = Architecture(build("toy_halonet"))
    products = next(it for it in view.data["parts"] if it["kind"] == "products")
    products["macs"] -= 1
    with pytest.raises(CheckFailed, match="multiply-adds"):
        view.check()

    class Masked(nn.Conv2d):
        def forward(self, x):  # half of the weights are not used: what ran is less than weights x places
            return F.conv2d(x, self.weight[:4], self.bias[:4]).repeat(1, 2, 1, 1)

    with pytest.raises(CheckFailed, match="weights × places"):
        Architecture(nn.Sequential(Masked(3, 8, 1)), input_size=8).check()


def test_a_net_that_cannot_be_run_says_what_it_needs():
    with pytest.raises(NotInThisNet, match="input_size=224"):
        Architecture(nn.Sequential(nn.Conv2d(3, 8, 3)))
    net = build("toy_halonet")
    with pytest.raises(NotInThisNet, match="does not take an input of 3 × 40 × 40"):
        Architecture(net, input_size=40)
    assert hooks_in(net) == 0 and net.training


def test_the_description_has_the_numbers_and_there_is_no_twin(halonet):
    assert f"{default_for('halonet50ts').parameters:,} parameters" in halonet.alt
    assert "5.26 GMACs" in halonet.alt and "stages.3.0 (27%)" in halonet.alt
    assert halonet.twin is None and not halonet.message()["twins"]
    assert halonet.figure().png[:4] == b"\x89PNG" and halonet.figure().alt == halonet.alt
    assert len(halonet.to_html().encode()) < 400_000


def test_a_config_of_ones_own_has_a_name_and_a_published_one_its_own():
    assert Architecture(nw.create_model("toy_resnext")).title == "Architecture of toy_resnext"
    assert ALL["toy_resnext"] == nw.create_model("toy_resnext").config
