"""The probe: what it captures is what the net computes, a change runs only what comes after, and nothing stays behind."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import netwright as nw
from netwright.probing.capture import ProbeError, hooks_in
from netwright.probing.golden import golden_state
from peers import torchvision

TOYS = ("toy_resnet", "toy_resnext", "toy_resnest", "toy_halonet")
FULL = ("resnet50", "resnext50_32x4d", "resnest50d", "halonet50ts", "sehalonet33ts")


def toy(name: str = "toy_resnext") -> nn.Module:
    return nw.create_model(name, pretrained=True)


def picture(index: int = 3):
    return nw.ToyWorld("test")[index]["image"]


def full(name: str) -> nn.Module:
    net = nw.create_model(name)
    net.load_state_dict(golden_state(name))
    return net


def an_input(side: int = 128) -> torch.Tensor:
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))


class OfAnotherMake(nn.Module):
    """A net with names of its own, whose last layer writes into its input."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3, stride=2))
        self.answer = nn.Linear(8, 5)

    def forward(self, x):
        return self.answer(self.body(x).mean((2, 3)))


@pytest.mark.parametrize("name", TOYS)
def test_a_toy_net_answers_through_the_probe_as_by_itself(name):
    net = toy(name).eval()
    with nw.probe(net, picture()) as p, torch.no_grad():
        assert torch.equal(p.logits, net(p.input)[0])
        assert p.steps[0] == "stem" and p.steps[-1] == "head" and len(p.steps) == 9
        assert p.class_names[p.top(1)[0]] == nw.ToyWorld.classes[nw.ToyWorld("test")[3]["label"]]


@pytest.mark.parametrize("name", FULL)
def test_every_part_is_captured_as_an_independent_hook_sees_it(name):
    net = full(name).eval()
    p = nw.probe(net, an_input(256 if "halo" in name else 96))
    places = [place for place, module in net.named_modules() if isinstance(module, nn.Conv2d)][::7]
    seen = {}
    hooks = [
        net.get_submodule(place).register_forward_hook(lambda _, x, out, place=place: seen.update({place: out.clone()}))
        for place in places
    ]
    with torch.no_grad():
        net(p.input)
    for hook in hooks:
        hook.remove()
    for place in places:
        assert torch.allclose(p[place], seen[place], rtol=1e-5, atol=1e-6), place


def test_what_a_later_layer_overwrites_is_captured_as_it_was():
    net = toy("toy_resnet").eval()
    p = nw.probe(net, picture())
    block = net.stages[1][1]
    with torch.no_grad():
        x = p[">stages.1.1"]
        expected = block.expand(block.gate(block.middle(block.reduce(x))))  # the block adds its input to this in place
    assert torch.allclose(p["stages.1.1.expand"], expected, atol=1e-6)


@pytest.mark.parametrize("name", TOYS)
def test_a_rerun_equals_a_net_that_was_changed_by_hand(name):
    net = toy(name).eval()
    p = nw.probe(net, picture())
    halved = copy.deepcopy(net)
    halved.stages[2][0].expand.norm.weight.data *= 0.5
    halved.stages[2][0].expand.norm.bias.data *= 0.5
    with torch.no_grad():
        expected = halved(p.input)
    assert torch.allclose(p.rerun({"stages.2.0.expand": lambda y, x: y * 0.5}), expected, atol=1e-5)
    assert not torch.allclose(expected[0], p.logits, atol=1e-3)


def test_many_variants_in_one_pass_equal_one_pass_each():
    p = nw.probe(toy(), picture())
    keep = torch.rand(5, 168, 1, 1, generator=torch.Generator().manual_seed(0))
    together = p.rerun({"stages.3.0.middle": lambda y, x: y * keep}, copies=5)
    for i in range(5):
        alone = p.rerun({"stages.3.0.middle": lambda y, x, i=i: y * keep[i]})
        assert torch.allclose(together[i], alone[0], atol=1e-5)


def test_a_change_late_in_the_net_runs_nothing_before_it():
    net = toy()
    p = nw.probe(net, picture())
    ran = []
    for place in ("stem", "stages.2.1", "stages.3.0"):
        net.get_submodule(place).register_forward_hook(lambda *_, place=place: ran.append(place))
    p.rerun({"stages.3.0.middle": lambda y, x: y})
    p["stages.3.0.reduce"]
    assert ran == ["stages.3.0"] * 2


def test_changes_at_two_places_are_both_made():
    p = nw.probe(toy(), picture())
    first = p.rerun({"stages.1.0.middle": lambda y, x: 0 * y})
    both = p.rerun({"stages.3.0.middle": lambda y, x: 0 * y, "stages.1.0.middle": lambda y, x: 0 * y})
    assert not torch.allclose(first, both, atol=1e-3)


@pytest.mark.parametrize("name", TOYS)
def test_a_gradient_is_what_a_small_step_along_it_gains(name):
    p = nw.probe(toy(name).double(), picture())
    target = p.top(1)[0]
    for place in ("stages.2.0", "stages.1.0.middle"):
        slope = p.gradient(place, target)
        step = 1e-6 / slope.norm()
        gained = p.rerun({place: lambda y, x, slope=slope, step=step: y + step * slope})[0, target] - p.logits[target]
        assert gained.item() == pytest.approx((step * slope.pow(2).sum()).item(), rel=1e-3)
    slope = p.gradient("input", target)
    step = 1e-6 / slope.norm()
    gained = p.answer(p.input + step * slope)[0, target] - p.logits[target]
    assert gained.item() == pytest.approx((step * slope.pow(2).sum()).item(), rel=1e-3)


def test_going_on_from_a_map_of_ones_own_is_the_rest_of_the_net():
    p = nw.probe(toy(), picture())
    assert torch.allclose(p.resume("stages.2.0", p[">stages.2.0"])[0], p.logits, atol=1e-5)
    with pytest.raises(ProbeError, match="cannot be taken up at 'stages.2'"):
        p.resume("stages.2", p[">stages.2.0"])


@pytest.mark.parametrize("make", [lambda: toy("toy_halonet"), lambda: full("resnest50d"), OfAnotherMake])
def test_nothing_of_the_probe_stays_in_the_net(make):
    net = make().train()
    frozen = next(iter(net.children())).eval()
    state = copy.deepcopy(net.state_dict())
    p = nw.probe(net, an_input(64))
    place = next(name for name, module in net.named_modules() if isinstance(module, nn.Conv2d))
    p[place], p[f">{place}"]
    p.rerun({place: lambda y, x: y * 2})
    p.gradient(place, 0)
    p.answer(p.input)
    p.twin()
    with pytest.raises(RuntimeError, match="on purpose"):
        p.rerun({place: lambda y, x: (_ for _ in ()).throw(RuntimeError("on purpose"))})
    assert hooks_in(net) == 0
    assert net.training and not frozen.training
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_net_of_another_make_is_run_whole_and_gives_the_same_answers():
    net = OfAnotherMake().eval()
    p = nw.probe(net, an_input(16))
    assert p.steps == ()
    with torch.no_grad():
        assert torch.equal(p["body.0"], net.body[0](p.input))  # before the ReLU that overwrites it
        halved = net.answer(0.5 * net.body(p.input).mean((2, 3)))
    assert torch.allclose(p.rerun({"body": lambda y, x: 0.5 * y}), halved, atol=1e-6)
    assert p.gradient("body.2", 1).shape == p["body.2"].shape


def test_a_net_of_torchvision_can_be_probed():
    net = torchvision.models.resnet18(num_classes=7).eval()
    p = nw.probe(net, an_input(64))
    with torch.no_grad():
        assert torch.equal(p.logits, net(p.input)[0])
    changed = p.rerun({"layer4.1.bn2": lambda y, x: torch.zeros_like(y)})
    assert p["layer4"].shape == (1, 512, 2, 2) and not torch.allclose(changed[0], p.logits)


def test_a_net_that_only_looks_like_ours_is_not_believed():
    net = toy()
    forward = type(net).forward
    net.forward = lambda x: 2 * forward(net, x)
    assert nw.probe(net, picture()).steps == ()


def test_the_twin_has_other_weights_of_the_same_make_and_a_signal_that_does_not_grow():
    for name in ("toy_halonet", "resnest50d"):
        net = toy(name) if name.startswith("toy") else full(name)
        p = nw.probe(net, an_input(64))
        twin, again, other = p.twin(), p.twin(), p.twin(seed=1)
        assert torch.equal(twin.logits, again.logits) and not torch.equal(twin.logits, other.logits)
        for (key, mine), theirs in zip(p.net.named_parameters(), twin.net.parameters(), strict=True):
            assert "norm" in key or mine.numel() == 1 or not torch.equal(mine, theirs), key
        for step in twin.steps[1:]:
            assert 0.05 < twin[f">{step}"].std() < 20, (name, step)


def test_the_picture_is_what_the_net_received():
    p = nw.probe(toy(), picture())
    assert p.picture.size == (64, 64)
    seen = torch.from_numpy(np.array(p.picture)).permute(2, 0, 1)
    assert torch.equal(seen, picture())


def test_errors_name_the_thing_and_the_way_out():
    net = toy()
    p = nw.probe(net, picture())
    with pytest.raises(ProbeError, match="no part 'stages.9'.*begin with stem"):
        p["stages.9"]
    with pytest.raises(ProbeError, match="No class is called 'dog'"):
        p.target("dog")
    with pytest.raises(ProbeError, match="There is no class 20: this net has 20"):
        p.target(20)
    with pytest.raises(ValueError, match="holds 2"):
        nw.probe(net, torch.zeros(2, 3, 64, 64))
    net.spare = nn.Linear(2, 2)
    with pytest.raises(ProbeError, match="never run"):
        p["spare"]
    with pytest.raises(ProbeError, match="spare: never run"):
        p.rerun({"spare": lambda y, x: y})


def test_a_net_without_a_classifier_has_no_logits_and_no_class_to_explain():
    p = nw.probe(nw.create_model("toy_resnet", num_classes=0), picture())
    assert p.logits is None and p["stages.3"].ndim == 4
    with pytest.raises(ProbeError, match="ResidualNet gives no logits, so there is no class to explain"):
        p.target()


def test_a_net_of_one_channel_shows_what_it_received_in_grey_and_refuses_colours():
    net = nw.create_model("toy_resnext", in_chans=1)
    with pytest.raises(ProbeError, match=r"ResidualNet does not take an input of shape \(1, 3, 64, 64\).*ready input"):
        nw.probe(net, picture())
    x = torch.linspace(-2, 2, 64 * 64).view(1, 1, 64, 64)
    shown = np.array(nw.probe(net, x).picture)
    assert shown.shape == (64, 64, 3) and (shown[0, 0].max(), shown[-1, -1].min()) == (0, 255)


def test_logits_that_are_not_finite_are_traced_to_the_first_part_that_makes_such_numbers():
    net = toy()
    net.stages[2][0].expand.norm.weight.data[3] = float("nan")
    with pytest.raises(ProbeError, match="not all finite.*first part.*'stages.2.0.expand.norm'"):
        nw.probe(net, picture())
    with pytest.raises(ProbeError, match="input holds NaN"):
        nw.probe(toy(), torch.full((1, 3, 64, 64), float("nan")))
    assert hooks_in(net) == 0


def test_nets_in_which_little_can_be_seen_are_refused_with_the_net_to_take_instead():
    with pytest.raises(ProbeError, match="made by nw.optimize.*Probe the net that it was made from"):
        nw.probe(nw.optimize(toy()), picture())
    with pytest.raises(ProbeError, match="computes in torch.bfloat16.*probe net.float()"):
        nw.probe(toy().bfloat16(), picture())


def test_a_gradient_at_a_part_that_runs_twice_is_that_of_its_last_time():
    net = OfAnotherMake()
    again = nn.Conv2d(8, 8, 3, padding=1)
    net.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), again, nn.ReLU(), again)
    p = nw.probe(net.double(), an_input(16))
    slope = p.gradient("body.1", lambda logits: logits[0, 2] ** 2)
    expected = 2 * p.logits[2] * net.answer.weight[2].detach() / 256
    assert torch.allclose(slope, expected.view(1, 8, 1, 1).expand_as(slope))


@pytest.mark.gpu
def test_the_probe_works_on_a_gpu():
    net = toy("toy_halonet").cuda()
    p = nw.probe(net, picture())
    cpu = nw.probe(toy("toy_halonet"), picture())
    assert p.logits.is_cuda and torch.allclose(p.logits.cpu(), cpu.logits, atol=1e-2)
    changed = p.rerun({"stages.3.0.middle": lambda y, x: 0 * y}, copies=2)
    assert changed.is_cuda and p.twin().logits.is_cuda and p.gradient("stages.2.0", 0).is_cuda
