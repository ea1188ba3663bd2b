"""The golden weights, picture and traces: the same everywhere, published by name, made by timm, met by our nets."""

import itertools
import zlib

import pytest
import torch

import make_golden_traces
from netwright import paths
from netwright.nets.zoo import CONFIGS, build
from netwright.probing import golden
from netwright.probing.difference import first_difference
from netwright.probing.points import trace_points
from peers import timm

EXACT = 1e-9  # relative, in float64
PICTURE, STATE = 51722853, 3313868763  # crc32 of the golden picture and of resnet18's golden weights


def bare(architecture: str):
    """The net with whatever lies in memory: it costs no time, and whoever forgets to load weights is found out."""
    with torch.device("meta"):
        net = build(architecture)
    return net.to_empty(device="cpu")


@pytest.mark.parametrize("architecture", CONFIGS)
def test_net_equals_its_golden_trace_at_every_point(architecture):
    net = bare(architecture)
    difference = first_difference(net, tolerance=EXACT)
    assert difference.ok, difference
    assert {row.status for row in difference.rows} == {"ok"}
    assert [row.point for row in difference.rows] == trace_points(net)


@pytest.mark.parametrize("architecture", ["resnet18", "resnest14d", "sehalonet33ts"])
def test_the_generator_makes_the_stored_trace_again(architecture):
    made, stored = make_golden_traces.make_trace(architecture), golden.golden_trace(architecture)
    assert list(made) == list(stored)
    for point, reading in made.items():
        assert reading.shape == stored[point].shape
        assert reading.mean == pytest.approx(stored[point].mean, rel=EXACT, abs=EXACT)
        assert reading.std == pytest.approx(stored[point].std, rel=EXACT)
        assert reading.samples == pytest.approx(stored[point].samples, rel=EXACT, abs=EXACT)


def test_the_traces_are_small_and_say_where_they_come_from():
    assert paths.data(golden.TRACES).stat().st_size < 1_000_000
    provenance = golden.provenance()
    assert "timm" in provenance["nets"] and "float64" in provenance["nets"]
    assert (paths.data().parent / provenance["made_by"]).is_file()
    assert provenance["date"] >= "2026-11-23"


def test_activations_stay_of_order_one_through_the_deepest_net():
    # Where a signal dies or explodes, a fault behind it would be rounded away.
    for architecture in CONFIGS:
        deviations = [reading.std for reading in golden.golden_trace(architecture).values()]
        assert 0.05 < min(deviations) and max(deviations) < 20, architecture


def test_golden_numbers_are_frozen():
    # If one of these changes, every stored trace is void.
    assert zlib.crc32(golden.golden_picture().tobytes()) == PICTURE
    state = golden.golden_state("resnet18")
    assert zlib.crc32(b"".join(tensor.numpy().tobytes() for tensor in state.values())) == STATE


def test_golden_weights_make_faults_visible():
    for architecture in ("resnet18", "resnest14d", "halonet26t", "sehalonet33ts", "eca_halonext26ts"):
        state = golden.golden_state(architecture)
        for name, tensor in state.items():
            if name.endswith("num_batches_tracked"):
                assert tensor == 0
            else:  # zeros and ones would hide a buffer or a table that is never read
                assert tensor.dtype == torch.float32
                some = tensor.flatten()[:1000]
                assert some.unique().numel() > 0.9 * some.numel() and (some != 0).all(), name
        variances = [tensor for name, tensor in state.items() if name.endswith("running_var")]
        assert all(0.5 <= tensor.min() and tensor.max() <= 1.5 for tensor in variances)
        tensors = [tensor for tensor in state.values() if tensor.is_floating_point()]
        for one, other in itertools.pairwise(sorted(tensors, key=lambda tensor: tensor.shape)):
            assert one.shape != other.shape or not torch.equal(one, other)  # or a swap would not show


@pytest.mark.parametrize(
    "architecture, layout",
    [("resnet18", "torchvision"), ("resnet50", "openmmlab"), ("resnest14d", "resnest"), ("halonet26t", "byobnet")],
)
def test_golden_checkpoint_has_the_publishers_keys(architecture, layout):
    with torch.device("meta"):
        published = timm.create_model(architecture).state_dict()
    checkpoint = golden.golden_checkpoint(architecture, layout)
    if layout == "openmmlab":  # the same names, below the two halves of its classifier
        checkpoint = {key.removeprefix("backbone.").removeprefix("head."): tensor for key, tensor in checkpoint.items()}
    assert {key: tensor.shape for key, tensor in checkpoint.items()} == {
        key: tensor.shape for key, tensor in published.items()
    }


def test_golden_checkpoint_takes_the_layout_of_the_default_weights():
    assert "layer4.0.conv2.bn0.weight" in golden.golden_checkpoint("resnest14d")
    assert "stages.3.1.self_attn.pos_embed.height_rel" in golden.golden_checkpoint("halonet26t")


@pytest.mark.parametrize("architecture, side", [("resnext50_32x4d", 72), ("resnest50d", 72), ("halonet50ts", 256)])
def test_golden_input_is_small_where_attention_allows(architecture, side):
    assert golden.golden_input(architecture).shape == (1, 3, side, side)


@pytest.mark.parametrize("ask", [golden.golden_state, golden.golden_input, golden.golden_trace])
def test_unknown_architectures_are_told_the_known_ones(ask):
    with pytest.raises(ValueError, match="resnext51.*resnext50_32x4d"):
        ask("resnext51")
