"""Pictures made to excite a channel: the climb climbs, the record is true, and the view says so."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import netwright as nw
from netwright import paths
from netwright.explain.optimising import excitement, optimise
from netwright.nets.toy import CONFIGS
from netwright.probing.capture import hooks_in
from netwright.views.pictures.optimised import RECORD, OptimisedFeatures
from netwright.views.view import CheckFailed, NotInThisNet

NAMES = list(CONFIGS)
MEAN, STD = torch.zeros(3), torch.ones(3)


class OneColour(nn.Module):
    """A net whose channel is how much redder than green a picture is: what excites it most is known."""

    def __init__(self):
        super().__init__()
        self.map = nn.Conv2d(3, 2, 1, bias=False)
        self.map.weight.data = torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, -1.0]])[..., None, None]

    def forward(self, x):
        return self.map(x).relu_().mean((2, 3))


def test_the_climb_finds_the_picture_that_is_known_to_excite_most():
    made = optimise(OneColour(), "map", [0, 1], size=16, mean=MEAN, std=STD)
    assert made.shape == (2, 3, 16, 16)
    red, green, _ = made[0].mean((1, 2))
    assert red > 0.9 and green < 0.1
    assert made[1, 2].mean() < 0.1  # the second channel wants no blue


def test_a_channel_that_is_silent_at_first_is_woken_up():
    net = nw.create_model("toy_resnet", pretrained=True)
    silent = excitement(net, ["stages.3.0"], torch.zeros(1, 3, 64, 64))["stages.3.0"][0].argmin().item()
    made = optimise(net, "stages.3.0", [silent], size=64, mean=MEAN, std=STD, steps=40)
    assert excitement(net, ["stages.3.0"], made)["stages.3.0"][0, silent] > 0.1
    assert hooks_in(net) == 0 and net.training


def test_the_same_seed_makes_the_same_picture_and_another_seed_another():
    net = nw.create_model("toy_resnext", pretrained=True)
    one, same, other = (
        optimise(net, "stages.0.1", [3], size=32, mean=MEAN, std=STD, steps=5, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(one, same) and not torch.allclose(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_the_net_is_excited_by_the_recorded_pictures_as_recorded(name):
    view = OptimisedFeatures(name)
    assert view.check().startswith("these pictures excite it as recorded")
    assert view.twin.check()
    assert view.data["optimised"].shape == (4, 8, 64, 64, 3)
    assert (view.data["excited"] > view.data["best_excited"][..., 0]).mean() > 0.9  # which is what they were made for


def test_the_best_real_pictures_are_the_best_there_are():
    view = OptimisedFeatures("toy_resnest")
    net = nw.create_model("toy_resnest", pretrained=True).eval()
    transform = nw.transform_for(net)
    images = nw.ToyWorld("val").batch(range(view.data["of"]))["image"]
    inputs = torch.stack([transform(image) for image in images])
    with torch.no_grad():
        map_ = net.stages[0](net.stem(inputs)).mean((2, 3))[:, view.data["channels"][0]]
    assert np.array_equal(map_.argmax(0).numpy(), view.data["best"][0, :, 0])
    assert np.allclose(map_.max(0).values.numpy(), view.data["best_excited"][0, :, 0], rtol=1e-3)


def test_a_record_that_is_not_true_is_noticed(monkeypatch):
    view = OptimisedFeatures("toy_resnet")
    view.data["excited"][2, 3] *= 1.5
    with pytest.raises(CheckFailed, match="excite it as recorded"):
        view.check()


def test_the_description_has_the_numbers_and_an_unknown_net_is_answered_with_those_there_are():
    view = OptimisedFeatures("toy_halonet")
    times = np.median(view.data["excited"] / view.data["best_excited"][..., 0], axis=1)
    assert f"stages.0.1 {times[0]:.1f} times" in view.alt
    with pytest.raises(NotInThisNet, match="toy_resnet, toy_resnext"):
        OptimisedFeatures("resnet50")


def test_the_record_says_where_it_comes_from():
    record = json.loads(paths.data(RECORD).read_text(encoding="utf-8"))
    assert {"date", "device", "torch", "seed", "steps"} <= set(record) and list(record["nets"]) == NAMES
