"""The key maps are bijections on every net: onto ours exactly, and back to the publisher's keys."""

import pytest
import torch

from netwright.nets.zoo import CONFIGS, build
from netwright.weights.keymaps import BOTTLENECK, LAYOUTS, Layout, detect_layout, rename, to_netwright, to_published
from netwright.weights.read import CheckpointError
from peers import timm, torchvision
from publisher_files import openmmlab_keys

LAYOUT_OF = {"resnet": "torchvision", "resnext": "torchvision", "resnest": "resnest"}  # by the start of the name
NAMES = tuple(CONFIGS)


def layout_of(architecture: str) -> str:
    return next((layout for start, layout in LAYOUT_OF.items() if architecture.startswith(start)), "byobnet")


def peer_state(architecture: str) -> dict:
    """The published keys with tensors without memory, from the peer's own definition."""
    with torch.device("meta"):
        if architecture == "resnext152_32x4d":  # not in timm; mmpretrain has torchvision's keys under a prefix
            block = torchvision.models.resnet.Bottleneck
            return torchvision.models.ResNet(block, [3, 8, 36, 3], groups=32, width_per_group=4).state_dict()
        return timm.create_model(architecture).state_dict()


def our_state(architecture: str) -> dict:
    with torch.device("meta"):
        return build(architecture).state_dict()


@pytest.mark.parametrize("architecture", NAMES)
def test_published_names_and_ours_are_the_same_tensors_one_to_one(architecture):
    published, layout = peer_state(architecture), layout_of(architecture)
    assert detect_layout(published) == layout
    names = rename(published, layout)
    ours = our_state(architecture)
    assert list(names) == list(published)
    assert sorted(names.values()) == sorted(ours)  # a bijection: each of ours exactly once
    for key, name in names.items():
        assert published[key].shape == ours[name].shape, (key, name)


@pytest.mark.parametrize("architecture", NAMES)
def test_the_way_back_ends_at_the_very_tensor_it_started_from(architecture):
    published, layout = peer_state(architecture), layout_of(architecture)
    again = to_published(to_netwright(published), layout)
    assert list(again) == list(published)
    assert all(again[key] is tensor for key, tensor in published.items())


@pytest.mark.parametrize("architecture", [name for name in NAMES if name.startswith(("resnet", "resnext"))])
def test_openmmlabs_names_are_torchvisions_under_other_prefixes(architecture):
    published = peer_state(architecture)
    prefixed = openmmlab_keys(published)
    assert detect_layout(prefixed) == "openmmlab"
    assert list(rename(prefixed, "openmmlab").values()) == list(rename(published, "torchvision").values())
    assert list(to_published(to_netwright(prefixed), "openmmlab")) == list(prefixed)


@pytest.mark.parametrize("architecture", ["resnet18", "resnext50_32x4d", "resnest14d", "sehalonet33ts"])
def test_names_go_to_the_same_place_in_the_order_of_the_forward(architecture):
    """Shapes cannot tell one normalisation from the next; the order in which the layers are defined can."""
    published = peer_state(architecture)
    names = rename(published, layout_of(architecture))
    ours = list(our_state(architecture))
    # In ours the shortcut comes last in a block, and the tables before the projections.
    elsewhere = ("downsample", "shortcut", "pos_embed")
    places = [ours.index(names[key]) for key in published if not any(part in key for part in elsewhere)]
    assert places == sorted(places)


def test_the_two_position_tables_keep_their_axes():
    names = rename(peer_state("halonet26t"), "byobnet")
    for axis in ("height", "width"):
        assert names[f"stages.3.1.self_attn.pos_embed.{axis}_rel"] == f"stages.3.1.middle.attention.{axis}_table"


def test_names_of_our_own_stay_as_they_are():
    ours = our_state("halonet26t")
    assert detect_layout(ours) == "netwright"
    assert to_netwright(ours) == ours and to_published(ours, "netwright") == ours


def test_counters_need_not_be_there():
    published = {key: t for key, t in peer_state("resnext50_32x4d").items() if "num_batches" not in key}
    assert detect_layout(published) == "torchvision"
    assert len(to_netwright(published)) == len(published)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_within_a_layout_no_two_names_are_one(layout):
    known = LAYOUTS[layout]
    for table in (*({**known.trunk, **stem} for stem in known.stems), *known.kinds):
        assert len(set(table.values())) == len(table)


def test_a_key_without_a_rule_is_named():
    published = {**peer_state("resnet50"), "layer1.0.se.fc1.weight": None, "aux.weight": None}
    with pytest.raises(CheckpointError, match=r"2 of 322 keys .* layer1\.0\.se\.fc1\.weight, aux\.weight"):
        to_netwright(published)


def test_a_block_that_is_of_no_kind_is_refused():
    """A block with both a convolution and an attention would put two normalisations in one place."""
    block = {key: None for key in peer_state("halonet26t") if key.startswith(("stages.2.1.", "stem."))}
    block["stages.2.1.conv2_kxk.bn.weight"] = None
    with pytest.raises(CheckpointError, match=r"1 of .* stages\.2\.1\.conv2_kxk\.bn\.weight"):
        to_netwright(block)


def test_two_keys_that_become_one_are_both_named():
    faulty = Layout("layer{stage}.{block}", 1, {}, ({**BOTTLENECK, "bn2": "middle.norm", "bn3": "middle.norm"},))
    with pytest.raises(CheckpointError, match=r"layer1\.0\.bn2\.bias.*layer1\.0\.bn3\.bias.*middle\.norm\.bias"):
        rename(["layer1.0.bn2.bias", "layer1.0.bn3.bias"], faulty)


def test_keys_of_something_else_are_no_layout():
    with pytest.raises(CheckpointError, match="no layout that is known.*blocks.0.attn.qkv.weight"):
        detect_layout(["blocks.0.attn.qkv.weight", "patch_embed.proj.weight"])
    with pytest.raises(CheckpointError, match="no key layout 'keras'"):
        rename(["fc.weight"], "keras")
