"""Looking back through a training: the record is what the nets make of the picture, and any run can be looked through."""

import json

import numpy as np
import pytest
import torch

import netwright as nw
from netwright import paths
from netwright.nets.toy import CONFIGS
from netwright.probing.capture import hooks_in
from netwright.trained import NotTrainedHere
from netwright.tune.finetune import finetune
from netwright.views.halo.explorer import HaloExplorer
from netwright.views.training.scrubber import RECORD, Scrubber
from netwright.views.training.summary import summarise
from netwright.views.view import CheckFailed, NotInThisNet
from tiny_training import tiny_net, write_folder

NAMES = list(CONFIGS)


def toy_probe(name: str):
    return nw.probe(nw.create_model(name, pretrained=True), nw.ToyWorld("test")[3]["image"])


@pytest.mark.parametrize("name", NAMES)
def test_every_recorded_epoch_holds_its_sums(name):
    view = Scrubber.recorded(name)
    assert view.check().startswith("class map and bias sum to the logit")
    epochs = view.data["epochs"]
    assert [it["epoch"] for it in epochs] == list(range(1, 21))
    assert epochs[-1]["top1"] > epochs[0]["top1"] + 0.5  # it has learnt meanwhile
    assert f"{epochs[-1]['top1']:.1%}" in view.alt


@pytest.mark.parametrize("name", NAMES)
def test_a_summary_says_what_the_net_says(name):
    probe = toy_probe(name)
    summary = summarise(probe, "flower")
    target = probe.target("flower")
    assert summary["logit"] == pytest.approx(probe.logits[target].item(), rel=1e-4)
    assert np.sum(summary["class_map"]) + summary["bias"] == pytest.approx(summary["logit"], rel=1e-4)
    assert summary["top"][0][0] == probe.class_names[probe.top(1)[0]]
    energy = probe["stages.1.1"][0].square().mean(0).sqrt().numpy()
    assert np.allclose(summary["energy"]["stages.1.1"], energy, rtol=1e-2, atol=1e-3)
    assert hooks_in(probe.net) == 0
    json.dumps(summary)


def test_the_masses_of_a_summary_are_those_of_the_explorer():
    probe = toy_probe("toy_halonet")
    measures = summarise(probe, "flower")["measures"]
    explorer = HaloExplorer(probe)
    name = "stages.1.0.middle.attention"
    weights = explorer.attended(name).weights
    layer = explorer.layers[name]
    window = torch.arange(layer.window) - layer.halo
    own = ((window >= 0) & (window < layer.block_size)).float()
    share = (weights * own[:, None] * own).sum((-2, -1)).mean().item()
    assert measures["stages.1.0: own block"] == pytest.approx(share, rel=1e-4)


def test_a_record_that_does_not_add_up_is_noticed():
    view = Scrubber.recorded("toy_halonet")
    view.data["epochs"][4]["class_map"][0][0] += 1
    with pytest.raises(CheckFailed, match="sum to the logit"):
        view.check()
    view = Scrubber.recorded("toy_halonet")
    view.data["epochs"][7]["measures"]["stages.1.0: padding"] += 0.1
    with pytest.raises(CheckFailed, match="masses sum to 1"):
        view.check()


def test_a_training_of_ones_own_is_looked_back_through(tmp_path):
    folder = write_folder(tmp_path / "pictures")
    options = {"weights": "none", "size": 32, "epochs": 3, "batch": 6, "workers": 0, "tensorboard": False}
    with tiny_net() as model:
        kept = finetune(folder, model=model, out=str(tmp_path / "kept"), keep_epochs=True, progress=False, **options)
        picture = next((folder / "class 1").iterdir())
        view = Scrubber.of_run(kept.folder, picture, "class 1")
        assert view.check() and [it["epoch"] for it in view.data["epochs"]] == [1, 2, 3]
        names = set(view.data["epochs"][0]["measures"])
        assert {"stages.3.0: padding", "stages.2.0: mean |d|"} <= names
        assert [it["top1"] for it in view.data["epochs"]] == [
            line["ema_val_top1"] if line.get("ema_val_top1") is not None else line["val_top1"]
            for line in kept.history.epochs
        ]
        plain = finetune(folder, model=model, out=str(tmp_path / "plain"), progress=False, **options)
        with pytest.raises(NotTrainedHere, match="--keep-epochs"):
            Scrubber.of_run(plain.folder, picture)


def test_an_unknown_net_is_answered_with_those_there_are_and_the_record_says_where_it_comes_from():
    with pytest.raises(NotInThisNet, match="toy_resnet, toy_resnext"):
        Scrubber.recorded("resnet50")
    record = json.loads(paths.data(RECORD).read_text(encoding="utf-8"))
    assert {"date", "device", "torch", "split"} <= set(record) and list(record["nets"]) == NAMES
    assert all("--keep-epochs" in net["command"] for net in record["nets"].values())
