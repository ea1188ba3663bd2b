"""The catalogue of published weights: complete, well-formed, findable under every name, and in agreement with timm."""

import dataclasses
import json
import math
import re
from importlib.resources import files

import pytest

from netwright.weights import catalogue as room
from netwright.weights.catalogue import UnknownWeights, catalogue, default_for, find, names
from peers import timm

ARCHITECTURES = {
    *("resnet18", "resnet50", "resnext50_32x4d", "resnext101_32x4d", "resnext101_32x8d", "resnext101_32x16d"),
    *("resnext101_64x4d", "resnext152_32x4d", "resnest14d", "resnest26d", "resnest50d", "resnest101e", "resnest200e"),
    *("resnest269e", "resnest50d_1s4x24d", "resnest50d_4s2x40d", "halonet50ts", "halonet26t", "sehalonet33ts"),
    *("eca_halonext26ts", "halo2botnet50ts_256", "haloregnetz_b", "lamhalobotnet50ts_256"),
}
ALL = pytest.mark.parametrize("weights", catalogue(), ids=lambda w: w.name)
HEX8, HEX64 = r"[0-9a-f]{8}", r"[0-9a-f]{64}"


def raw_entry(weights):
    text = files("netwright.weights").joinpath("catalogue.json").read_text("utf-8")
    return json.loads(text)["weights"][weights.row - 1]


def test_rows_1_to_38_are_there_once_each_and_cover_every_architecture():
    assert [w.row for w in catalogue()] == list(range(1, 39))
    assert {w.architecture for w in catalogue()} == ARCHITECTURES


@ALL
def test_an_entry_has_every_field_of_the_schema_and_no_other(weights):
    entry = raw_entry(weights)
    own = {f.name for f in dataclasses.fields(weights)} - {"architecture", "tag"}
    from_publisher = {"repository", "licence", "licence_note", "noncommercial"}
    assert set(entry) <= own - from_publisher
    assert own - from_publisher - {"defects", "notes"} <= set(entry)


@ALL
def test_numbers_are_plausible_and_typed(weights):
    assert isinstance(weights.parameters, int) and 10_000_000 < weights.parameters < 200_000_000
    assert isinstance(weights.gmacs, float) and 1 < weights.gmacs < 80
    for source, value in weights.gmacs_published:
        assert source in room.sources() and value == pytest.approx(weights.gmacs, rel=0.012)
    assert weights.metrics, "no published figure"
    for metric in weights.metrics:
        assert metric.source in room.sources()
        assert metric.size in (176, 224, 256, 288, 320, 416)
        assert 1 < metric.top1 < 100 and (metric.top5 is None or metric.top1 < metric.top5 < 100)


@ALL
def test_every_file_has_an_address_a_hash_of_its_name_a_container_and_a_layout(weights):
    first, *others = weights.files
    assert first.role == "publisher"
    assert [f.role for f in others] == sorted((f.role for f in others), key=["mirror", "huggingface"].index)
    for file in weights.files:
        assert re.fullmatch(r"https://[\w./-]+", file.url) and file.url.endswith("/" + file.filename)
        assert file.container in {"legacy", "zip", "safetensors", "envelope", "unknown"} and file.container_basis
        assert file.layout in {"torchvision", "resnest", "openmmlab", "byobnet"}
        assert file.sha256 is None or re.fullmatch(HEX64, file.sha256) and file.sha256.startswith(file.sha256_prefix)
        assert file.suffix_hash in {"stated", "convention"}
        if file.role == "huggingface":
            assert file.repository == f"timm/{weights.name}"
            assert file.revision is None or re.fullmatch(r"[0-9a-f]{7}|[0-9a-f]{40}", file.revision)
            assert f"/resolve/{file.pin or 'main'}/" in file.url
        else:
            suffix = re.search(rf"-({HEX8})\.pth$", file.filename)
            assert suffix and suffix[1] == file.sha256_prefix
            assert file.filename == first.filename, "a mirror serves the publisher's file"


@ALL
def test_a_size_is_stated_or_predicted_never_both_and_fits_the_parameters(weights):
    for file in weights.files:
        assert not (file.bytes and file.bytes_predicted)
        if file.size:
            assert 4 * weights.parameters < file.size < 4 * weights.parameters * 1.02 + 200_000
    assert weights.files[0].size, "the message about a missing file needs a size"


@ALL
def test_the_resize_is_the_one_that_the_crop_fraction_gives(weights):
    p = weights.preprocessing
    assert p.resize == math.floor(p.input_size[0] / p.crop_pct)
    assert p.interpolation in {"bilinear", "bicubic"} and p.crop_mode == "center"
    assert p.pipeline == {"PyTorch (torchvision)": "torchvision", "OpenMMLab": "openmmlab"}.get(
        weights.publisher, "timm"
    )


# Where the catalogue knowingly differs from timm's configuration: it keeps the publisher's own evaluation.
TORCHVISION_V2 = {"resnext50_32x4d.tv2_in1k", "resnext101_32x8d.tv2_in1k"}  # timm: train size 176, test size 224
RESIZE_232 = {"resnext101_64x4d.tv_in1k"}  # timm evaluates with resize 256, torchvision publishes 232


@pytest.mark.parametrize("weights", [w for w in catalogue() if w.tag != "mm_in1k"], ids=lambda w: w.name)
def test_preprocessing_licence_and_addresses_equal_timms(weights):
    cfg, p = timm.get_pretrained_cfg(weights.name), weights.preprocessing
    assert (p.mean, p.std, p.interpolation, p.crop_mode) == (cfg.mean, cfg.std, cfg.interpolation, cfg.crop_mode)
    if weights.name in TORCHVISION_V2:
        assert p.input_size == cfg.test_input_size[1:] and p.crop_pct == pytest.approx(cfg.test_crop_pct, abs=6e-4)
    elif weights.name in RESIZE_232:
        assert p.input_size == cfg.input_size[1:] and (cfg.crop_pct, p.resize) == (0.875, 232)
    else:
        assert (p.input_size, p.crop_pct) == (cfg.input_size[1:], cfg.crop_pct)
        assert p.test_input_size == (cfg.test_input_size and cfg.test_input_size[1:])
        assert p.test_crop_pct == cfg.test_crop_pct
    assert weights.licence.lower() == cfg.license
    assert {f.repository for f in weights.files if f.role == "huggingface"} == {cfg.hf_hub_id}
    if cfg.url:  # timm 1.0 names only the hub for ResNeSt
        assert cfg.url in [f.url for f in weights.files]


def test_openmmlabs_four_have_no_twin_and_say_that_their_host_is_unreliable():
    four = [w for w in catalogue() if w.tag == "mm_in1k"]
    assert [w.row for w in four] == [21, 22, 23, 24]
    for weights in four:
        assert len(weights.files) == 1 and weights.files[0].container == "envelope"
        assert "unreliable" in weights.defects[0]


def test_the_known_defects_are_on_record():
    bad = find("swsl_resnext101_32x16d")
    assert bad.known_bad and "83.34" in bad.defects[0] and bad.top1 == 83.34
    assert [w.name for w in catalogue() if w.known_bad] == [bad.name]
    resnest200 = find("resnest200e.in1k")
    assert "resnest101" in resnest200.defects[0]
    assert all(f.filename == "resnest200-75117900.pth" for f in resnest200.files if f.role != "huggingface")


def test_exactly_facebooks_weights_are_non_commercial_and_have_suffixes_by_convention_only():
    assert [w.row for w in catalogue() if w.noncommercial] == list(range(1, 13))
    assert [w.row for w in catalogue() if w.files[0].suffix_hash == "convention"] == list(range(1, 13))
    assert {w.licence for w in catalogue() if w.noncommercial} == {"CC-BY-NC-4.0"}
    assert not any("-NC-" in w.licence for w in catalogue() if not w.noncommercial)


@pytest.mark.parametrize(
    ("name", "row"),
    {
        "ssl_resnext101_32x16d": 6,
        "resnext101_32x16d_ssl": 6,
        "resnext101_32x16d_swsl": 12,
        "swsl_resnext50_32x4d": 9,
        "resnext50-32x4d_8xb32_in1k": 21,
        "resnext50_32x4d_b32x8_imagenet": 21,
        "resnext152_32x4d.mm_in1k": 24,
        "resnest50": 15,
        "resnest50d": 15,
        "resnest50_fast_4s2x40d": 20,
        "resnest50d_4s2x40d": 20,
        "halonet50ts": 25,
        "timm/halonet50ts.a1h_in1k": 25,
        "hf-hub:timm/halonet50ts.a1h_in1k": 25,
        "resnext50_32x4d IMAGENET1K_V1": 32,
        "ResNeXt50_32X4D_Weights.IMAGENET1K_V2": 33,
        "tv_resnext50_32x4d": 32,
        "resnext101_64x4d.tv_in1k": 36,
        "resnext50_32x4d_a1h-0146ab0a.pth": 37,
    }.items(),
)
def test_every_publishers_name_finds_its_weights(name, row):
    assert find(name).row == row


def test_no_name_means_two_things():
    taken = {}
    for weights in catalogue():
        for name in (weights.name, *weights.aliases, weights.files[0].filename):
            assert taken.setdefault(name.casefold(), weights.name) == weights.name


def test_an_architectures_bare_name_is_an_alias_only_where_it_can_mean_one_thing():
    for weights in catalogue():
        if weights.architecture in weights.aliases:
            assert names(weights.architecture) == [weights.name]
    with pytest.raises(UnknownWeights, match="is an architecture; its weights are .*tv2_in1k"):
        find("resnext50_32x4d")


def test_timms_old_names_lead_to_the_same_weights_as_in_timm():
    from timm.models._registry import _deprecated_models

    ours = {old: new for old, new in _deprecated_models.items() if new in names()}
    assert len(ours) >= 13
    for old, new in ours.items():
        assert find(old).name == new


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(KeyError, match="'halonet50t'.*halonet50ts"):
        find("halonet50t")
    assert not str(pytest.raises(KeyError, find, "zzz").value).startswith('"')


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_each_architecture_has_one_default_timms_where_the_catalogue_has_it(architecture):
    defaults = [w for w in catalogue() if w.architecture == architecture and w.default]
    assert len(defaults) == 1 and default_for(architecture) == defaults[0]
    cfg = timm.get_pretrained_cfg(architecture) if architecture != "resnext152_32x4d" else None
    choices = [w for w in catalogue() if w.architecture == architecture and not w.known_bad]
    if cfg and f"{architecture}.{cfg.tag}" in names():
        assert defaults[0].tag == cfg.tag
    else:
        assert defaults[0] == max(choices, key=lambda w: w.top1)


def test_no_default_exists_for_what_nobody_has_published():
    assert default_for("resnet9000") is None
