"""A publisher's file ends as the same net, bit for bit where it came from; what does not fit is listed, not loaded."""

import functools
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from netwright.nets.zoo import build
from netwright.weights.keymaps import to_netwright, to_published
from netwright.weights.load import CheckpointMismatch, Loaded, adapt_input, load_into, load_state
from netwright.weights.read import CheckpointError
from peers import timm, torchvision
from publisher_files import with_metadata, write_like


def randomised(net: nn.Module, seed: int = 0) -> nn.Module:
    """Normalisation that is not the identity, so that no two of its tensors can be exchanged unseen."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.1, generator=generator)
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.num_batches_tracked.fill_(7)
    return net.eval()


@functools.cache
def peer(architecture: str) -> nn.Module:
    torch.manual_seed(0)
    if architecture == "resnext50_32x4d":
        return randomised(torchvision.models.resnext50_32x4d())
    return randomised(timm.create_model(architecture))


def on_meta(architecture: str, **options) -> nn.Module:
    with torch.device("meta"):
        return build(architecture, **options).eval()


def photo(side: int = 64, channels: int = 3) -> torch.Tensor:
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(1))


def small_net(**options) -> nn.Module:
    return build("resnet18", **options).eval()


def small_state() -> dict:
    return to_netwright(peer("resnet18").state_dict())


# --- the whole way: published file to logits -------------------------------------------------------------------------

WAYS = [
    ("resnet18", "facebook"),
    ("resnext50_32x4d", "facebook"),
    ("resnext50_32x4d", "torchvision_v1"),
    ("resnext50_32x4d", "torchvision_v2"),
    ("resnext50_32x4d", "openmmlab"),
    ("resnext50_32x4d", "openmmlab_numpy"),
    ("resnext50_32x4d", "timm"),
    ("resnext50_32x4d", "safetensors"),
    ("resnest14d", "resnest"),
    ("resnest50d_4s2x40d", "resnest"),
    ("halonet26t", "timm"),
    ("sehalonet33ts", "safetensors"),
]


@pytest.mark.parametrize(("architecture", "publisher"), WAYS)
def test_a_file_as_its_publisher_writes_it_gives_the_publishers_logits(architecture, publisher, tmp_path):
    theirs, net = peer(architecture), on_meta(architecture)
    path = write_like(publisher, theirs.state_dict(), tmp_path / "weights")
    loaded = load_into(net, path)
    counters = sum(isinstance(module, nn.BatchNorm2d) for module in theirs.modules())
    assert loaded == Loaded(counters_filled=counters if publisher == "facebook" else 0)
    picture = photo(256 if "halo" in architecture else 64)
    with torch.inference_mode():
        expected, logits = theirs(picture), net(picture)
    assert (logits - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize(
    ("publisher", "size"),
    [("facebook", 100_428_550), ("torchvision_v1", 100_441_675)],
)
def test_the_files_of_these_tests_have_the_published_sizes(publisher, size, tmp_path):
    """Published sizes of semi_supervised_resnext50_32x4-ddb3e555.pth and resnext50_32x4d-7cdf4587.pth: this container,
    with these entries, is what the publishers have."""
    state = torchvision.models.resnext50_32x4d().state_dict()
    assert write_like(publisher, state, tmp_path / "weights.pth").stat().st_size == size


# --- counters, precision, ownership ----------------------------------------------------------------------------------


@pytest.mark.parametrize("metadata", [True, False])
def test_missing_counters_become_zero_with_metadata_or_without(metadata):
    """torch itself reports them as missing once _metadata says that BatchNorm is of version 2."""
    state = {name: tensor for name, tensor in small_state().items() if not name.endswith("num_batches_tracked")}
    net = randomised(small_net())  # its counters are 7
    loaded = load_state(net, with_metadata(state) if metadata else state)
    assert loaded.counters_filled == 20
    assert net.stem[0].norm.num_batches_tracked == 0 and net.stem[0].norm.num_batches_tracked.dtype == torch.long


def test_half_precision_becomes_the_nets_precision_and_is_reported():
    state = {name: t.half() if t.is_floating_point() else t for name, t in small_state().items()}
    net = small_net()
    loaded = load_state(net, state, assign=True)
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}
    assert torch.equal(net.classifier.weight, state["classifier.weight"].float())
    assert len(loaded.converted) == sum(t.is_floating_point() for t in state.values())


def test_assigned_tensors_are_the_nets_own_and_copied_ones_are_not():
    state = small_state()
    assigned, copied = small_net(), small_net()
    load_state(assigned, state, assign=True)
    load_state(copied, state)
    weight = state["classifier.weight"]
    assert assigned.classifier.weight.data_ptr() == weight.data_ptr()
    assert copied.classifier.weight.data_ptr() != weight.data_ptr()
    assert torch.equal(copied.classifier.weight, weight) and assigned.classifier.weight.requires_grad


def test_a_view_becomes_a_tensor_of_its_own_that_can_be_trained():
    state = small_state()
    state["classifier.bias"] = torch.ones(1).expand(1000)
    net = small_net()
    load_state(net, state, assign=True)
    net.classifier.bias.data[0] = 5
    assert net.classifier.bias.sum() == 1004


def test_a_net_from_a_mapped_file_can_be_trained_and_the_file_stays_as_it_was(tmp_path):
    path = write_like("torchvision_v2", peer("resnet18").state_dict(), tmp_path / "a.pth")
    before, net = path.read_bytes(), on_meta("resnet18").train()
    load_into(net, path)
    net(photo()).square().mean().backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    assert not torch.equal(net.classifier.weight, peer("resnet18").fc.weight)
    assert path.read_bytes() == before


def test_a_state_dict_loads_like_the_file_it_came_from_under_any_publishers_names():
    published, net = peer("resnet18").state_dict(), small_net()
    assert load_into(net, published) == Loaded()
    assert torch.equal(net.classifier.weight, published["fc.weight"])
    assert net.classifier.weight.data_ptr() != published["fc.weight"].data_ptr()
    with pytest.raises(CheckpointMismatch, match="in the reader's own dict do not fit"):
        load_into(small_net(num_classes=37), published, source="the reader's own dict")


def test_a_net_on_meta_takes_the_tensors_of_a_state_dict_and_draws_what_it_lacks():
    state, net = small_state(), on_meta("resnet18", num_classes=37)
    assert load_into(net, state, new_classifier=True).left_out == ("classifier.bias", "classifier.weight")
    assert net.stem[0].conv.weight.data_ptr() == state["stem.0.conv.weight"].data_ptr()
    out = net(photo())
    assert out.shape == (2, 37) and out.isfinite().all()


# --- another classifier, another input -------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [small_net, functools.partial(on_meta, "resnet18")], ids=["cpu", "meta"])
@pytest.mark.parametrize("num_classes", [37, 0])
def test_a_new_classifier_is_kept_and_the_files_own_is_reported(make, num_classes, tmp_path):
    path = write_like("timm", peer("resnet18").state_dict(), tmp_path / "a.pth")
    net = make(num_classes=num_classes)
    kept = net.classifier.weight.clone() if num_classes else None
    torch.manual_seed(3)
    loaded = load_into(net, path, new_classifier=True)
    assert loaded.left_out == ("classifier.bias", "classifier.weight")
    assert torch.equal(net.stem[0].conv.weight, peer("resnet18").conv1.weight)
    assert not any(tensor.is_meta for tensor in net.state_dict().values())
    if num_classes and kept.is_meta:  # drawn as torch draws for a new layer, not what happened to be in memory
        torch.manual_seed(3)
        kept = nn.Linear(512, num_classes).weight
    if num_classes:
        assert torch.equal(net.classifier.weight, kept)
    out = net(photo())
    assert out.shape == (2, num_classes or 512) and out.isfinite().all()


def test_a_classifier_that_fits_is_loaded_though_a_new_one_was_allowed():
    net = small_net()
    assert load_state(net, small_state(), new_classifier=True) == Loaded()
    assert torch.equal(net.classifier.weight, peer("resnet18").fc.weight)


@pytest.mark.parametrize("in_chans", [1, 2, 3, 4, 6, 7])
def test_the_first_convolution_is_adapted_as_timm_adapts_it(in_chans):
    weight = torch.randn(8, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    expected = timm.models.adapt_input_conv(in_chans, weight.clone())
    assert adapt_input(weight, in_chans).shape == expected.shape
    assert torch.allclose(adapt_input(weight, in_chans), expected, rtol=1e-6, atol=1e-7)
    net = small_net(in_chans=in_chans)
    loaded = load_state(net, small_state(), new_input=True)
    assert loaded.adapted == (() if in_chans == 3 else ("stem.0.conv.weight",))


def test_a_grey_picture_gives_the_logits_of_its_three_equal_colours():
    grey = photo(channels=1)
    net = small_net(in_chans=1)
    load_state(net, small_state(), new_input=True)
    with torch.inference_mode():
        assert torch.allclose(net(grey), peer("resnet18")(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)


# --- what does not fit -----------------------------------------------------------------------------------------------


def test_all_that_does_not_fit_is_in_one_table_with_the_likely_partner_and_nothing_is_loaded():
    state = small_state()
    state["stages.0.0.conv1.convolution.weight"] = state.pop("stages.0.0.conv1.conv.weight")
    state["stages.1.0.conv1.norm.bias"] = torch.zeros(3)
    state["stem.0.norm.num_batches_tracked"] = torch.tensor(0.0)
    net = small_net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(CheckpointMismatch) as mismatch:
        load_state(net, state, source="mine.pth")
    error = mismatch.value
    assert error.missing == ["stages.0.0.conv1.conv.weight"]
    assert error.unexpected == ["stages.0.0.conv1.convolution.weight"]
    assert error.misfits == ["stem.0.norm.num_batches_tracked", "stages.1.0.conv1.norm.bias"]
    text = str(error)
    assert "in mine.pth do not fit this net: 1 missing, 1 unexpected, 2 of another shape or type" in text
    assert "(64, 64, 3, 3); perhaps stages.0.0.conv1.convolution.weight" in text
    assert "net (128,), file (3,)" in text
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("name", ["stem.0.norm.running_mean", "classifier.bias", "stages.3.1.conv2.norm.weight"])
def test_only_counters_may_be_missing(name):
    state = small_state()
    del state[name]
    with pytest.raises(CheckpointMismatch, match=name):
        load_state(small_net(), state)


def test_another_number_of_classes_is_refused_unless_it_is_said():
    with pytest.raises(CheckpointMismatch, match="new_classifier=True"):
        load_state(small_net(num_classes=37), small_state())
    with pytest.raises(CheckpointMismatch, match="new_classifier=True"):
        load_state(small_net(num_classes=0), small_state())
    with pytest.raises(CheckpointMismatch, match="new_input=True"):
        load_state(small_net(in_chans=1), small_state(), new_classifier=True)


def test_the_file_of_another_architecture_is_a_short_table():
    with pytest.raises(CheckpointMismatch) as mismatch:
        load_state(small_net(), to_netwright(peer("resnext50_32x4d").state_dict()))
    assert len(mismatch.value.missing) > 50 and len(mismatch.value.unexpected) > 200
    assert len(str(mismatch.value).splitlines()) <= 32


def test_numbers_that_no_file_holds_are_not_left_without_memory(tmp_path):
    path = write_like("timm", peer("resnet18").state_dict(), tmp_path / "a.pth")
    net = on_meta("resnet18")
    net.stages[0].register_buffer("offsets", torch.zeros(3, device="meta"), persistent=False)
    with pytest.raises(CheckpointError, match=r"stages\.0 keeps numbers that no file holds"):
        load_into(net, path)


# --- memory ----------------------------------------------------------------------------------------------------------

# Resident memory of a process of its own (Linux counts in VmHWM its peak, since it began), from before the net is built
# until every number has been used, so that mapped pages count as well; over the size of the file.
MEASURE = """
import os, sys, torch
from netwright.nets.zoo import build
from netwright.weights.load import load_into

def resident(kind):
    line = next(line for line in open("/proc/self/status") if line.startswith(kind))
    return int(line.split()[1]) * 1024

with torch.device("meta"):
    build("resnet18")
torch.ones(1000).sum()
before = resident("VmRSS")
with torch.device("meta"):
    net = build(sys.argv[1])
load_into(net, sys.argv[2])
for tensor in net.state_dict().values():
    tensor.sum()
print((resident("VmHWM") - before) / os.path.getsize(sys.argv[2]))
"""


def peak_over_size(architecture: str, path) -> float:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEASURE, architecture, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads its peak memory from /proc")


@linux_only
@pytest.mark.parametrize("publisher", ["facebook", "torchvision_v2", "safetensors"])
def test_loading_holds_the_weights_once(publisher, tmp_path):
    path = write_like(publisher, peer("resnext50_32x4d").state_dict(), tmp_path / "weights.pth")
    assert peak_over_size("resnext50_32x4d", path) <= 1.3


@linux_only
@pytest.mark.heavy  # writes 777 MB
def test_loading_the_largest_file_peaks_at_less_than_a_fifth_above_its_size(tmp_path):
    with torch.device("meta"):
        names = to_published(build("resnext101_32x16d").state_dict(), "torchvision")
    state = {key: torch.ones(tensor.shape, dtype=tensor.dtype) for key, tensor in names.items()}
    path = write_like("facebook", state, tmp_path / "semi_supervised_resnext101_32x16-15fffa57.pth")
    assert path.stat().st_size == 777_518_664  # as published
    ratio = peak_over_size("resnext101_32x16d", path)
    print(f"peak memory {ratio:.3f} times the size of the file")
    assert ratio <= 1.2
