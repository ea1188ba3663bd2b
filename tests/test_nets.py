"""The nets are the published ones: the same numbers as timm's, block by block, in every way they can be asked."""

import re

import pytest
import torch
from torch import nn

from netwright.nets.config import Block, EfficientChannelAttention, Halo, NetConfig, Split, SqueezeExcite, Stage, Stem
from netwright.nets.net import FeatureNet, ResidualNet
from netwright.nets.resnest import radix_softmax
from netwright.nets.resnext import aggregated_width
from netwright.nets.zoo import CONFIGS, build
from netwright.weights.catalogue import catalogue
from netwright.weights.keymaps import to_netwright
from parity import block_outputs, picture, relative_error, timm_net, twins
from peers import timm

FAMILIES = (
    "resnet50",
    "resnext50_32x4d",
    "resnest50d_4s2x40d",
    "halonet26t",
    "lamhalobotnet50ts_256",
    "haloregnetz_b",
)


@pytest.fixture(autouse=True)
def one_thread():
    """Two test processes share the cores; more threads than that only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("architecture", CONFIGS)
def test_logits_every_block_and_five_maps_equal_timm_in_float64_and_float32(architecture):
    theirs, mine = twins(architecture)
    x = picture(architecture)
    expected, found = block_outputs(theirs, x), block_outputs(mine, x)
    assert len(found) == sum(len(stage.blocks) for stage in CONFIGS[architecture].stages)
    assert [name for name in expected if not relative_error(found[name], expected[name]) <= 1e-9] == []
    with torch.no_grad():
        assert relative_error(mine(x), theirs(x)) <= 1e-9
        maps = theirs.forward_intermediates(x, intermediates_only=True)
        errors = [relative_error(m, e) for m, e in zip(mine.forward_maps(x), maps, strict=True)]
        assert len(errors) == 5 and max(errors) <= 1e-9
        error = relative_error(mine.float()(x.float()), theirs.float()(x.float()))
    assert error <= 1e-4


@pytest.mark.parametrize("weights", catalogue(), ids=lambda weights: weights.name)
def test_parameter_count_is_the_published_one(weights):
    with torch.device("meta"):
        net = build(weights.architecture)
    assert sum(p.numel() for p in net.parameters()) == weights.parameters


@pytest.mark.parametrize("architecture", sorted({weights.architecture for weights in catalogue()}))
def test_every_architecture_of_the_catalogue_can_be_built(architecture):
    assert architecture in CONFIGS


@pytest.mark.parametrize(
    "architecture",
    (*FAMILIES, "resnet18", "resnest50d", "sehalonet33ts", "eca_halonext26ts", "halo2botnet50ts_256"),
)
def test_five_feature_maps_equal_timm(architecture):
    theirs, mine = twins(architecture)
    peer = timm.create_model(architecture, features_only=True).double().eval()
    # timm's feature extractor flattens the first level of names: "stages.0.1" becomes "stages_0.1"
    state = theirs.state_dict()
    peer.load_state_dict({key: state[re.sub("^(stem|stages)_", r"\1.", key)] for key in peer.state_dict()})
    maps = FeatureNet(mine)(picture(architecture))
    expected = peer(picture(architecture))
    assert [relative_error(m, e) <= 1e-9 for m, e in zip(maps, expected, strict=True)] == [True] * 5


def test_halonet50ts_features_have_the_shapes_that_its_card_prints():
    net = FeatureNet(build("halonet50ts")).eval()
    with torch.no_grad():
        shapes = [tuple(m.shape) for m in net(torch.zeros(1, 3, 256, 256))]
    assert shapes == [(1, 64, 128, 128), (1, 256, 64, 64), (1, 512, 32, 32), (1, 1024, 16, 16), (1, 2048, 8, 8)]


@pytest.mark.parametrize("architecture", FAMILIES)
def test_gradients_of_every_parameter_and_the_buffers_after_a_training_step_equal_timm(architecture):
    theirs, mine = twins(architecture)
    theirs.train(), mine.train()
    # Four pictures: split attention normalises one number a picture, and the gradient through a normalisation of two
    # numbers divides by how little they differ, which magnifies rounding a thousandfold.
    x = picture(architecture, batch=4)
    target = torch.tensor([3, 700, 25, 512])
    for net in (theirs, mine):
        nn.functional.cross_entropy(net(x), target).backward()
    gradients = to_netwright({name: p.grad for name, p in theirs.named_parameters()})
    largest = max(gradient.abs().max() for gradient in gradients.values())
    for name, parameter in mine.named_parameters():  # a bias in front of a normalisation has a gradient of zero
        assert torch.allclose(parameter.grad, gradients[name], rtol=1e-8, atol=1e-11 * largest), name
    buffers = to_netwright(theirs.state_dict())
    for name, buffer in mine.named_buffers():
        assert torch.allclose(buffer, buffers[name], rtol=1e-10, atol=1e-12), name


@pytest.mark.parametrize("architecture", ("resnet18", "resnext50_32x4d", "resnest50d", "resnest50d_4s2x40d"))
@pytest.mark.parametrize("output_stride", (8, 16))
def test_dilated_nets_equal_timm(architecture, output_stride):
    theirs, mine = twins(architecture, output_stride=output_stride)
    x = picture(architecture, side=96)
    with torch.no_grad():
        assert mine.forward_features(x).shape[-1] == 96 // output_stride
        assert relative_error(mine(x), theirs(x)) <= 1e-9


def test_a_dilated_halonet_equals_timm():
    theirs, mine = twins("halonet26t", output_stride=16)
    x = picture("halonet26t")
    with torch.no_grad():
        assert relative_error(mine(x), theirs(x)) <= 1e-9


def test_a_change_of_one_weight_anywhere_changes_the_logits():
    """The comparison above would pass on a net that ignores part of its weights, if timm did too: ours does not."""
    net = build("resnest14d").double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
        x = picture("resnest14d")
        before = net(x)
        for name, parameter in net.named_parameters():
            keep = parameter.clone()
            parameter.mul_(1.5)
            assert not torch.equal(net(x), before), name
            parameter.copy_(keep)


@pytest.mark.parametrize(("cardinality", "radix"), ((1, 2), (2, 2), (2, 4), (3, 2)))
def test_radix_softmax_needs_two_cardinal_groups_to_expose_a_missing_transpose(cardinality, radix):
    channels = 6
    logits = torch.randn(2, cardinality * radix * channels, generator=torch.Generator().manual_seed(0))
    gates = radix_softmax(logits, radix, cardinality)
    assert gates.shape == (2, radix, cardinality * channels)
    assert torch.allclose(gates.sum(1), torch.ones(2, cardinality * channels))
    for k in range(cardinality):  # the definition, group by group
        group = logits[:, k * radix * channels : (k + 1) * radix * channels].reshape(2, radix, channels)
        assert torch.allclose(gates[:, :, k * channels : (k + 1) * channels], group.softmax(1))
    untransposed = logits.unflatten(1, (cardinality, radix, channels)).softmax(2).reshape(gates.shape)
    assert torch.equal(untransposed, gates) == (cardinality == 1)


def test_radix_one_is_a_sigmoid_gate():
    logits = torch.randn(2, 12, generator=torch.Generator().manual_seed(0))
    assert torch.equal(radix_softmax(logits, 1, 4), logits.sigmoid()[:, None])


@pytest.mark.parametrize(
    ("cardinality", "base_width", "widths"),
    (
        (32, 4, (128, 256, 512, 1024)),
        (32, 16, (512, 1024, 2048, 4096)),
        (64, 4, (256, 512, 1024, 2048)),
        (4, 24, (96, 192, 384, 768)),
        (1, 64, (64, 128, 256, 512)),
    ),
)
def test_aggregated_width_gives_the_published_widths(cardinality, base_width, widths):
    assert tuple(aggregated_width(planes, cardinality, base_width) for planes in (64, 128, 256, 512)) == widths


# --- what a reader composes ------------------------------------------------------------------------------------------

EVERY_KIND = (
    Block(),
    Block(cardinality=4),
    Block(channel_attention=SqueezeExcite()),
    Block(channel_attention=EfficientChannelAttention()),
    Block(cardinality=2, channel_attention=Split(radix=2, average_down="before")),
    Block(channel_attention=Split(radix=1)),
    Block(spatial_attention=Halo(heads=2, block_size=4, halo=1)),
    Block(spatial_attention=Halo(heads=4, block_size=2, halo=2, key_dim=8)),
)


@pytest.mark.parametrize("norm", ("batch", "group"))
@pytest.mark.parametrize("activation", ("relu", "silu"))
@pytest.mark.parametrize("shortcut", ("conv", "pool"))
def test_any_block_at_any_place_composes_to_a_net_that_trains(norm, activation, shortcut):
    config = NetConfig(
        stem=Stem((8, 8, 16), kernel_size=3, pool=False),
        stages=(
            Stage(EVERY_KIND, mid_channels=16, out_channels=32, stride=1),
            *(Stage((block, EVERY_KIND[0]), mid_channels=16, out_channels=32) for block in EVERY_KIND[4:7]),
        ),
        activation=activation,
        norm=norm,
        shortcut=shortcut,
        final_channels=24,
    )
    torch.manual_seed(0)
    net = ResidualNet(config, num_classes=5, drop_rate=0.1, drop_path_rate=0.2)
    for parameter in net.parameters():  # a residual branch starts at zero, and then nothing inside it has a gradient
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.5)
    net.eval()
    net(torch.randn(2, 3, 128, 128)).square().sum().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    # A bias in front of a normalisation over each picture and group alone may cancel; nothing else may.
    assert [name for name in without if not (norm == "group" and name.endswith("fc1.bias"))] == []


@pytest.mark.parametrize(
    ("make", "message"),
    (
        (lambda: Block(kind="bottlneck"), "choose 'basic', 'bottleneck' or 'inverted'"),
        (lambda: Block(cardinality=2, spatial_attention=Halo()), "mixes space twice"),
        (lambda: Block(kind="basic", cardinality=2), "no middle to replace"),
        (lambda: Stage((), 64, 256), "at least one block"),
        (lambda: Stage((Block(),), 64, 256, stride=3), "stride 1 or 2"),
        (lambda: Stage((Block(cardinality=32),), 60, 256), "nearest width that can is 64"),
        (lambda: Stage((Block(spatial_attention=Halo(heads=3)),), 64, 256), "heads"),
        (lambda: build("resnet18", output_stride=4), "choose 8, 16 or 32"),
        (lambda: build("resnet18", drop_path_rate=1.0), "drop_path_rate"),
        (lambda: build("resnet18", num_classes=-1), "choose 0 for embeddings"),
        (lambda: ResidualNet(NetConfig(Stem(), (Stage((Block(),), 8, 8),), norm="layer")), "'batch' or 'group'"),
        (lambda: ResidualNet(NetConfig(Stem(), (Stage((Block(),), 8, 8),), activation="tanh")), "relu, silu"),
    ),
)
def test_a_configuration_that_cannot_be_says_why_and_what_can(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_halo_attention_refuses_a_map_that_blocks_do_not_divide():
    with pytest.raises(ValueError, match="blocks of 8x8, and a map of 14x14"):
        build("halonet26t").eval()(torch.zeros(1, 3, 224, 224))


# --- the ways to ask -------------------------------------------------------------------------------------------------


def test_embeddings_are_the_same_in_all_three_ways():
    theirs, mine = twins("resnest14d")
    x = picture("resnest14d", batch=2)
    headless = build("resnest14d", num_classes=0).double().eval()
    headless.load_state_dict({k: v for k, v in mine.state_dict().items() if not k.startswith("classifier")})
    with torch.no_grad():
        maps = mine.forward_features(x)
        embedding = mine.forward_head(maps, pre_logits=True)
        assert torch.equal(headless(x), embedding)
        assert torch.equal(mine.classifier(embedding), mine(x))
        mine.reset_classifier(0)
        assert torch.equal(mine(x), embedding)
        assert relative_error(embedding, theirs.forward_head(theirs.forward_features(x), pre_logits=True)) <= 1e-9


def test_out_indices_leave_out_the_stages_that_no_map_needs():
    whole = FeatureNet(build("resnet18").eval())
    part = FeatureNet(build("resnet18").eval(), out_indices=(2, -4))
    assert [info["stride"] for info in part.feature_info] == [8, 4]
    assert len(part.net.stages) == 2
    missing, unexpected = part.load_state_dict(whole.state_dict(), strict=False)
    assert not missing and all(name.startswith("net.stages.") for name in unexpected)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(part(x)[0], whole(x)[2]) and torch.equal(part(x)[1], whole(x)[1])
    with pytest.raises(ValueError, match="0 to 4"):
        FeatureNet(build("resnet18"), out_indices=(5,))


def test_gradient_checkpointing_changes_no_gradient():
    torch.manual_seed(0)
    net = build("resnest14d", num_classes=3).double().train()
    x = picture("resnest14d", batch=2)
    gradients = []
    for enable in (False, True):
        net.set_grad_checkpointing(enable)
        net.zero_grad()
        net(x).square().sum().backward()
        gradients.append([p.grad.clone() for p in net.parameters()])
    assert all(torch.allclose(a, b, rtol=1e-10) for a, b in zip(*gradients, strict=True))


def test_reset_classifier_keeps_precision_and_features():
    _, net = twins("resnet18")
    x = picture("resnet18")
    with torch.no_grad():
        before = net.forward_features(x)
        net.reset_classifier(37)
        assert net.classifier.weight.shape == (37, 512) and net.classifier.weight.dtype == torch.float64
        assert before.abs().max() > 0 and torch.equal(net.forward_features(x), before)
        assert net(x).shape == (1, 37)


def test_drop_path_drops_whole_pictures_keeps_the_expectation_and_grows_with_depth():
    torch.manual_seed(0)
    net = build("resnet50", drop_path_rate=0.3)
    rates = [block.drop_path.rate for stage in net.stages for block in stage]
    peer = timm_net("resnet50", drop_path_rate=0.3)
    expected = [getattr(m.drop_path, "drop_prob", 0.0) for m in peer.modules() if hasattr(m, "drop_path")]
    assert rates == pytest.approx(expected) and rates[-1] == pytest.approx(0.3)
    last = net.stages[-1][-1].drop_path
    x = torch.ones(4000, 2, 2, 2)
    dropped = last.train()(x).flatten(1)
    assert bool((dropped == dropped[:, :1]).all())
    assert sorted(set(dropped[:, 0].tolist())) == pytest.approx([0, 1 / 0.7])
    assert dropped.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(last.eval()(x), x)


def test_a_fresh_net_starts_as_the_identity_in_every_block():
    net = build("halonet26t").eval()
    block = net.stages[0][1]
    x = torch.randn(1, 256, 8, 8).relu()
    assert torch.equal(block(x), net.stages[0][1].act(x.clone()))
