"""create_model, its lists, transform_for and classify: every name, every kind of weights, every option, every refusal."""

import pkgutil
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F

import netwright as nw
from netwright import models
from netwright.imagenet import labels
from netwright.models import UnknownModel
from netwright.nets.config import Block, NetConfig, Stage, Stem
from netwright.nets.net import FeatureNet
from netwright.nets.zoo import CONFIGS, TOYS
from netwright.transforms import Transform
from netwright.weights import cache, catalogue
from netwright.weights.catalogue import UnknownWeights
from netwright.weights.load import CheckpointMismatch
from parity import picture, relative_error, timm_net
from peers import timm
from published import empty_machine, place
from publisher_files import write_like
from publisher_server import install

SSL, GLUON, HALO = "resnet18.fb_ssl_yfcc100m_ft_in1k", "resnest14d.gluon_in1k", "halonet26t.a1h_in1k"
NAMES = [
    (name, weights)
    for weights in catalogue.catalogue()
    for name in dict.fromkeys((weights.name, *weights.aliases, weights.files[0].filename))
]
SMALL = NetConfig(stem=Stem((8,), pool=False), stages=(Stage((Block(),), 8, 16), Stage((Block(),), 8, 24)))


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """A machine without a network on which three published files lie; gives timm's nets that are in them."""
    with empty_machine(tmp_path_factory.mktemp("machine")) as patch:
        patch.setenv("NETWRIGHT_OFFLINE", "1")
        nets = {name: timm_net(name.split(".")[0]).eval() for name in (SSL, GLUON, HALO)}
        for name, net in nets.items():
            place(patch, name, net)
        yield nets


@pytest.fixture
def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (240, 300, 3), dtype=np.uint8))


def same(net, theirs, x=None) -> bool:
    """Whether both answer the same, to float32's rounding, in evaluation mode."""
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(7)) if x is None else x
    with torch.inference_mode():
        return relative_error(net.eval()(x), theirs.eval()(x)) <= 1e-5


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "weights"), NAMES, ids=[name for name, _ in NAMES])
def test_every_publishers_name_means_its_weights(name, weights, monkeypatch):
    class Asked(Exception):
        pass

    def fetch(entry, progress):
        raise Asked(entry.name)

    monkeypatch.setattr(models, "fetch", fetch)
    for options in ({"pretrained": True}, {"weights": weights.name}, {"weights": weights.tag}, {"weights": weights}):
        with pytest.raises(Asked) as asked:
            nw.create_model(name, **options)
        assert asked.value.args == (weights.name if name not in CONFIGS or "weights" in options else by_default(name),)


def by_default(architecture: str) -> str:
    return catalogue.default_for(architecture).name


@pytest.mark.parametrize("weights", catalogue.catalogue(), ids=lambda weights: weights.name)
def test_without_pretrained_a_publishers_name_gives_the_untrained_architecture(weights):
    with torch.device("meta"):  # shapes only: the largest of these nets have 194 million numbers
        nets = [nw.create_model(name) for name in (weights.name, *weights.aliases)]
    assert {net.config for net in nets} == {CONFIGS[weights.architecture]}
    assert all(net.weights is None for net in nets)
    assert {sum(p.numel() for p in net.parameters()) for net in nets} == {weights.parameters}


def test_every_architecture_has_default_weights_and_every_weights_an_architecture():
    assert (
        {weights.architecture for weights in catalogue.catalogue()} == set(CONFIGS) == set(nw.list_models()) - set(TOYS)
    )
    assert all(catalogue.default_for(architecture) for architecture in CONFIGS)


def test_an_untrained_net_is_random_and_in_training_mode():
    first, second = nw.create_model("resnet18"), nw.create_model("resnet18")
    assert first.training and not torch.equal(first.stem[0].conv.weight, second.stem[0].conv.weight)


def test_a_configuration_of_ones_own_is_a_name_too(nets):
    net = nw.create_model(SMALL, num_classes=5).eval()
    assert net(torch.zeros(1, 3, 64, 64)).shape == (1, 5) and net.config is SMALL
    assert same(nw.create_model(CONFIGS["resnet18"], weights=SSL), nets[SSL])
    with pytest.raises(UnknownWeights, match="a net of your own"):
        nw.create_model(SMALL, pretrained=True)
    with pytest.raises(UnknownWeights, match="called 'in1k'"):
        nw.create_model(SMALL, weights="in1k")
    with pytest.raises(CheckpointMismatch):
        nw.create_model(SMALL, weights=SSL)


def test_lists_take_shell_patterns():
    assert nw.list_models("resnext50*") == ["resnext50_32x4d"]
    assert set(nw.list_models("*halo*")) >= {"halonet26t", "halonet50ts", "sehalonet33ts", "eca_halonext26ts"}
    assert nw.list_models("*vit*") == [] == nw.list_weights("*vit*")
    assert [weights.row for weights in nw.list_weights()] == list(range(1, 39))
    assert [weights.row for weights in nw.list_weights("swsl_*")] == [
        7,
        8,
        9,
        10,
        11,
        12,
    ]  # timm's and Facebook's names
    assert [weights.row for weights in nw.list_weights("*_swsl")] == [7, 8, 9, 10, 11, 12]
    assert {weights.publisher for weights in nw.list_weights("*8xb32*")} == {"OpenMMLab"}


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnext50_32x4", "resnext50_32x4d"),
        ("halonet50", "halonet50ts"),
        ("ssl_resnext101_32x16", "ssl_resnext101_32x16d"),
    ],
)
def test_an_unknown_name_gets_the_nearest_ones(name, near):
    with pytest.raises(UnknownModel, match=f"No net is called '{name}'. The nearest names: .*{near}"):
        nw.create_model(name)


def test_a_name_near_to_none_gets_the_way_to_the_list():
    with pytest.raises(UnknownModel, match=r"list_models\(\) shows all"):
        nw.create_model("ünbekannt!")


def test_an_unknown_tag_gets_the_nearest_ones_and_a_missing_file_is_called_so(tmp_path):
    with pytest.raises(
        UnknownWeights, match="resnext50_32x4d has no published weights called .*; it has .*fb_ssl_yfcc100m_ft_in1k"
    ):
        nw.create_model("resnext50_32x4d", weights="fb_ssl_yfcc100m")
    for path in (tmp_path / "mine.pth", "mine.safetensors", "folder/mine"):
        with pytest.raises(FileNotFoundError, match="no weight file .*mine"):
            nw.create_model("resnext50_32x4d", weights=path)


# --- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [SSL, GLUON, HALO])
def test_published_weights_give_timms_logits_in_both_ways_of_asking(nets, name):
    architecture, tag = name.split(".")
    x = picture(architecture, torch.float32)
    for net in (nw.create_model(name, pretrained=True), nw.create_model(architecture, weights=tag)):
        assert net.training and net.weights.name == name
        assert same(net, nets[name], x)


def test_a_weights_object_of_the_list_is_as_good_as_its_name(nets):
    (entry,) = nw.list_weights(SSL)
    assert same(nw.create_model("resnet18", weights=entry), nets[SSL])


@pytest.mark.parametrize(
    "writer", ["timm", "torchvision_v2", "safetensors", "openmmlab", "openmmlab_numpy", "facebook"]
)
@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
def test_a_file_of_ones_own_in_any_container(nets, writer, kind, tmp_path):
    path = write_like(writer, nets[SSL].state_dict(), tmp_path / "mine.weights")
    net = nw.create_model("resnet18", weights=kind(path))
    assert net.weights is None
    assert same(net, nets[SSL])


def test_a_file_saved_from_our_own_net_loads_again(nets, tmp_path):
    net = nw.create_model(GLUON, pretrained=True, num_classes=37)
    save_file(net.state_dict(), tmp_path / "mine.safetensors")
    torch.save({"epoch": 3, "state_dict": net.state_dict()}, tmp_path / "mine.pth")
    for file in ("mine.safetensors", "mine.pth"):
        assert same(nw.create_model("resnest14d", weights=tmp_path / file), net)


def test_a_state_dict_is_copied_whoever_named_its_tensors(nets):
    for state in (nets[SSL].state_dict(), nw.create_model(SSL, pretrained=True).state_dict()):
        net = nw.create_model("resnet18", weights=state)
        assert same(net, nets[SSL]) and net.weights is None
        addresses = {tensor.data_ptr() for tensor in state.values()}
        assert addresses.isdisjoint(tensor.data_ptr() for tensor in net.state_dict().values())


def test_a_published_file_that_lies_elsewhere_counts_as_published_if_its_hash_proves_it(nets, tmp_path):
    path = cache.folder() / catalogue.find(SSL).files[0].filename
    elsewhere = tmp_path / path.name
    shutil.copy(path, elsewhere)
    assert nw.create_model("resnet18", weights=elsewhere).weights.name == SSL
    with pytest.raises(ValueError, match=f"{SSL} are weights of resnet18, not of resnet50"):
        nw.create_model("resnet50", weights=elsewhere)
    renamed = tmp_path / "mine.pth"
    shutil.copy(path, renamed)
    assert nw.create_model("resnet18", weights=renamed).weights is None
    write_like("timm", timm_net("resnet18", seed=5).state_dict(), elsewhere)  # finetuned, and saved under its old name
    assert nw.create_model("resnet18", weights=elsewhere).weights is None


def test_weights_of_another_architecture_are_refused_before_anything_is_fetched(tmp_path, nets):
    for weights in (GLUON, "resnest14", catalogue.find(GLUON)):
        with pytest.raises(ValueError, match=f"{GLUON} are weights of resnest14d, not of resnet18"):
            nw.create_model("resnet18", weights=weights)
    path = write_like("timm", nets[GLUON].state_dict(), tmp_path / "mine.pth")
    with pytest.raises(CheckpointMismatch, match=r"in .*mine\.pth do not fit this net"):
        nw.create_model("resnet18", weights=path)


# --- what is said where they are loaded ------------------------------------------------------------------------------


@pytest.fixture
def silence(monkeypatch):
    """Nothing has been said yet in this session."""
    monkeypatch.setattr(models, "_told", set())


def test_a_non_commercial_licence_is_printed_once_and_others_are_not(nets, silence, capsys):
    nw.create_model(GLUON, pretrained=True)
    nw.create_model("resnet18_ssl")
    assert capsys.readouterr() == ("", "")
    nw.create_model("resnet18_ssl", pretrained=True)
    out, err = capsys.readouterr()
    assert out == "" and err.count("CC-BY-NC-4.0, non-commercial use only") == 1 and err.count("\n") == 1
    nw.create_model("ssl_resnet18", pretrained=True)
    assert capsys.readouterr() == ("", "")


def test_weights_known_to_be_bad_say_so_once(silence, capsys, tmp_path, monkeypatch):
    """The published SWSL ResNeXt-101 32x16d is 777 MB; here it is a small net of that name."""
    monkeypatch.setitem(CONFIGS, "resnext101_32x16d", SMALL)
    monkeypatch.setattr(models, "fetch", lambda entry, progress: tmp_path / "small.safetensors")
    save_file(nw.create_model(SMALL).state_dict(), tmp_path / "small.safetensors")
    for _ in range(2):
        nw.create_model("resnext101_32x16d_swsl", pretrained=True)
    err = capsys.readouterr().err
    assert err.count("resnext101_32x16d.fb_swsl_ig1b_ft_in1k: The file was saved wrongly") == 1
    assert err.count("non-commercial") == 1
    install(monkeypatch, replace(catalogue.find("resnext101_32x16d_ssl"), defects=("Its docs have a wrong address.",)))
    nw.create_model("resnext101_32x16d_ssl", pretrained=True)  # a defect, but not of the numbers
    assert capsys.readouterr().err == ""


# --- classes, channels, rates, strides -------------------------------------------------------------------------------


@pytest.mark.parametrize("num_classes", [37, 1])
def test_another_number_of_classes_makes_a_new_classifier_and_loads_the_rest(nets, num_classes):
    net = nw.create_model(GLUON, pretrained=True, num_classes=num_classes)
    assert net.num_classes == num_classes and net.classifier.weight.shape == (num_classes, 2048)
    assert net.classifier.weight.std() > 0 and net.classifier.weight.abs().max() < 1
    pooled = nw.create_model(GLUON, pretrained=True, num_classes=0)
    assert torch.equal(net.stages[3][0].expand.conv.weight, nets[GLUON].layer4[0].conv3.weight)
    x = picture("resnest14d", torch.float32)
    with torch.inference_mode():
        assert relative_error(pooled.eval()(x), nets[GLUON].forward_head(nets[GLUON].forward_features(x), True)) <= 1e-5


def test_none_takes_as_many_classes_as_the_file_has(tmp_path):
    theirs = timm_net("resnet18", num_classes=37)
    path = write_like("timm", theirs.state_dict(), tmp_path / "pets.pth")
    assert same(nw.create_model("resnet18", weights=path), theirs)
    assert same(nw.create_model("resnet18", weights=path, num_classes=37), theirs)
    assert nw.create_model("resnet18", weights=path, num_classes=10).classifier.weight.shape == (10, 512)
    headless = {name: tensor for name, tensor in theirs.state_dict().items() if not name.startswith("fc.")}
    assert nw.create_model("resnet18", weights=headless).num_classes == 0
    assert nw.create_model("resnet18", weights=headless, num_classes=5).num_classes == 5


@pytest.mark.parametrize("in_chans", [1, 4])
@pytest.mark.parametrize("name", [SSL, GLUON, HALO])
def test_the_first_convolution_is_adapted_as_timm_adapts_it(nets, name, in_chans, tmp_path):
    architecture = name.split(".")[0]
    path = write_like("safetensors", nets[name].state_dict(), tmp_path / "weights.safetensors")
    theirs = timm.create_model(
        architecture, pretrained=True, in_chans=in_chans, pretrained_cfg_overlay={"file": str(path)}
    )
    x = picture(architecture, torch.float32).mean(1, keepdim=True).repeat(1, in_chans, 1, 1)
    x += torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    assert same(nw.create_model(name, pretrained=True, in_chans=in_chans), theirs, x)


@pytest.mark.parametrize("name", [SSL, GLUON, HALO])
def test_feature_maps_of_published_weights_are_timms(nets, name):
    architecture = name.split(".")[0]
    net = nw.create_model(name, pretrained=True, features_only=True, out_indices=(1, 4)).eval()
    theirs = timm.create_model(architecture, features_only=True, out_indices=(1, 4)).eval()
    # timm's feature nets have no classifier, and name the parts that they took out of the stem and the stages anew.
    state = {re.sub(r"^(stem|stages)\.", r"\1_", key): tensor for key, tensor in nets[name].state_dict().items()}
    assert not theirs.load_state_dict(state, strict=False).missing_keys
    x = picture(architecture, torch.float32)
    with torch.inference_mode():
        for found, expected in zip(net(x), theirs(x), strict=True):
            assert relative_error(found, expected) <= 1e-5
    assert isinstance(net, FeatureNet) and net.weights.name == name
    assert [info["stride"] for info in net.feature_info] == [4, 32]


@pytest.mark.parametrize("name", [SSL, GLUON])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_a_dilated_net_takes_the_same_weights(nets, name, output_stride):
    theirs = timm_net(name.split(".")[0], output_stride=output_stride)
    theirs.load_state_dict(nets[name].state_dict())
    net = nw.create_model(name, pretrained=True, output_stride=output_stride)
    assert same(net, theirs)
    assert net.forward_features(torch.zeros(1, 3, 64, 64)).shape[-1] == 64 // output_stride


def test_drop_rates_reach_the_net_and_act_only_in_training(nets):
    x = picture("resnet18", torch.float32, batch=2)
    for rates in ({"drop_rate": 0.5}, {"drop_path_rate": 0.5}):
        net = nw.create_model(SSL, pretrained=True, **rates)
        assert same(net, nets[SSL])
        for module in net.train().modules():  # normalisation as in evaluation, so that only dropping is random
            module.training = module.training and not isinstance(module, torch.nn.BatchNorm2d)
        torch.manual_seed(0)
        with torch.no_grad():
            assert not torch.equal(net(x), net(x))


# --- transform_for ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [SSL, GLUON, HALO])
def test_the_transform_is_the_published_one(nets, photo, name):
    net = nw.create_model(name, pretrained=True)
    assert torch.equal(nw.transform_for(net)(photo), Transform(catalogue.find(name).preprocessing)(photo))
    features = nw.create_model(name, pretrained=True, features_only=True)
    assert torch.equal(nw.transform_for(features)(photo), nw.transform_for(net)(photo))
    side = catalogue.find(name).preprocessing.input_size[0]
    assert nw.transform_for(net)(photo).shape == (3, side, side)


@pytest.mark.parametrize(("name", "side"), [("resnet18", 224), ("halonet50ts", 256), (CONFIGS["resnest269e"], 416)])
def test_an_untrained_net_gets_its_own_size_and_imagenets_mean(name, side):
    with torch.device("meta"):
        net = nw.create_model(name)
    transform = nw.transform_for(net)
    assert transform.input_size == (side, side) and transform.resize == (int(side / 0.875),) * 2
    grey = Image.new("RGB", (500, 500), (124, 116, 104))  # ImageNet's mean colour
    assert transform(grey).abs().max() < 0.01


def test_options_of_the_transform_pass_through():
    (entry,) = nw.list_weights("resnext50_32x4d.a1h_in1k")
    net = nw.create_model(SMALL)
    net.weights = entry
    assert nw.transform_for(net).input_size == (224, 224)
    assert nw.transform_for(net, use_test_size=True).input_size == (288, 288)
    assert nw.transform_for(net, input_size=96, crop_pct=1.0).resize == (96, 96)


# --- classify --------------------------------------------------------------------------------------------------------


def test_classify_gives_the_likeliest_classes_by_name_however_the_picture_comes(nets, photo, tmp_path):
    net = nw.create_model(SSL, pretrained=True)
    with torch.inference_mode():
        probabilities = F.softmax(nets[SSL](nw.transform_for(net)(photo).unsqueeze(0)), dim=1)[0]
    expected = probabilities.topk(3)
    photo.save(tmp_path / "photo.png")
    array = np.asarray(photo)
    for image in (
        photo,
        str(tmp_path / "photo.png"),
        tmp_path / "photo.png",
        array,
        torch.tensor(array).permute(2, 0, 1),
    ):
        found = nw.classify(net, image, k=3)
        assert [label for label, _ in found] == [labels()[i].name for i in expected.indices]
        assert torch.allclose(torch.tensor([p for _, p in found]), expected.values, atol=1e-6)
    assert len(nw.classify(net, photo)) == 5 and len(nw.classify(net, photo.convert("L"), k=1)) == 1


def test_classify_leaves_the_net_as_it_was_even_where_a_part_is_frozen(photo):
    net = nw.create_model(SMALL)
    net.stem.eval()
    modes = [module.training for module in net.modules()]
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert nw.classify(net, photo) == nw.classify(net, photo)
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    with pytest.raises(Exception, match="no file"):
        nw.classify(net, "no_such_file.jpg")
    assert [module.training for module in net.modules()] == modes


def test_classes_of_ones_own_have_the_readers_names_or_numbers(photo):
    net = nw.create_model(SMALL, num_classes=3)
    assert {label for label, _ in nw.classify(net, photo)} == {"0", "1", "2"}
    net.class_names = ["cat", "dog", "bird"]
    answer = nw.classify(net, photo, k=5)
    assert {label for label, _ in answer} == {"cat", "dog", "bird"}
    assert sum(p for _, p in answer) == pytest.approx(1)
    assert [p for _, p in answer] == sorted((p for _, p in answer), reverse=True)
    net.class_names = ["cat", "dog"]
    with pytest.raises(ValueError, match="2 names, and the net has 3 classes"):
        nw.classify(net, photo)


def test_a_net_of_ones_own_is_told_how_to_say_what_its_pictures_look_like():
    own = torch.nn.Conv2d(3, 1, 1)
    with pytest.raises(ValueError, match="A Conv2d does not say"):
        nw.transform_for(own)
    [own.weights] = nw.list_weights("resnest14d.gluon_in1k")
    assert nw.transform_for(own).input_size == (224, 224)


def test_classify_needs_a_classifier_and_three_channels(photo):
    for net in (nw.create_model(SMALL, num_classes=0), nw.create_model(SMALL, features_only=True, out_indices=(0,))):
        with pytest.raises(ValueError, match="has no classifier"):
            nw.classify(net, photo)
    with pytest.raises(ValueError, match="inputs of 1 channels"):
        nw.classify(nw.create_model(SMALL, in_chans=1), photo)


def test_classify_in_half_precision(photo):
    assert len(nw.classify(nw.create_model(SMALL).to(torch.bfloat16), photo)) == 5


def test_the_public_names_are_there_and_no_module_of_the_same_name_can_take_their_place():
    """Importing netwright.imagenet, by anyone, makes nw.labels that module."""
    for name in nw.__all__:
        assert callable(getattr(nw, name)) and name in dir(nw)
    assert {"create_model", "list_models", "list_weights", "transform_for", "classify", "optimize"} <= set(nw.__all__)
    assert set(nw.__all__).isdisjoint(module.name for module in pkgutil.iter_modules(nw.__path__))
    with pytest.raises(AttributeError, match="'netwright' has no attribute 'creat_model'"):
        nw.creat_model  # noqa: B018
