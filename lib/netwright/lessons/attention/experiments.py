"""What notebook 09 tries out: toy pictures for a net, and what other attention changes in its answers.

Imports tables, explain, models, toys, probing, views and, of this room and resnest's, museum, keys, knocking and force.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from netwright.explain.scores import Score, hit_rate, mean_of
from netwright.lessons.attention import museum
from netwright.lessons.attention.keys import effective_keys
from netwright.lessons.attention.knocking import knock_out
from netwright.lessons.resnest.force import another_picture, batch_mean, even, force_gates
from netwright.lessons.tables import Table, table
from netwright.models import create_model, transform_for
from netwright.probing.capture import Probe, probe
from netwright.toys import ToyWorld
from netwright.views.halo import parts
from netwright.views.halo.explorer import HaloExplorer

PICTURES = 40


def toy_net(name: str) -> nn.Module:
    """A trained toy net in evaluation mode."""
    return create_model(name, pretrained=True).eval()


def toy_probe(net: nn.Module, index: int) -> Probe:
    """A probe of a net at one test picture of the toy world."""
    return probe(net, ToyWorld("test")[index]["image"])


def toy_inputs(net: nn.Module, count: int = PICTURES) -> tuple[Tensor, Tensor]:
    """The first `count` test pictures as `net` is fed them, (count, 3, 64, 64), and their labels (count,)."""
    batch, transform = ToyWorld("test").batch(range(count)), transform_for(net)
    return torch.stack([transform(image) for image in batch["image"]]), batch["label"]


# Do they matter? -----------------------------------------------------------------------------------------------


Answer = Callable[[nn.Module, Tensor], Tensor]  # a net and inputs (n, 3, h, w) to logits (variants, n, classes)


@contextmanager
def attending(net: nn.Module, attend: Callable[..., Tensor]) -> Iterator[None]:
    """Every halo attention of `net` attends so, inside of the ``with``; then as before."""
    layers = list(museum.halo_layers(net).values())
    before = [layer.attend for layer in layers]
    try:
        for layer in layers:
            layer.attend = attend
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            layer.attend = own


def _attention(**change) -> Answer:
    def answer(net, inputs):
        with attending(net, museum.attention_with(**change)), torch.inference_mode():
            return net(inputs)[None]

    return answer


def _mute(net: nn.Module, inputs: Tensor) -> Tensor:
    """Every head says the same everywhere: what it says on average over the map."""

    def attend(*tensors, **sizes):
        out = museum.attention_with()(*tensors, **sizes)
        return out.mean((2, 3), keepdim=True).expand_as(out)

    with attending(net, attend), torch.inference_mode():
        return net(inputs)[None]


def _gates(change: Callable[[Tensor], Tensor]) -> Answer:
    return lambda net, inputs: force_gates(net, inputs, change)[None]


def _one_group(net: nn.Module, inputs: Tensor) -> Tensor:
    """Each group of the last block in turn at its mean over all the pictures."""
    block, kept = net.stages[-1][-1], {}

    def keep(_, given, out):
        kept["block"], kept["middle"] = given[0], out

    handles = [block.register_forward_pre_hook(lambda _, given: kept.update(given=given[0]))]
    handles.append(block.middle.register_forward_hook(keep))
    try:
        with torch.inference_mode():
            own = net(inputs)
    finally:
        for handle in handles:
            handle.remove()
    cardinality = block.middle.conv.groups
    with torch.inference_mode():
        shortcut = block.shortcut(kept["given"])  # (n, channels, height, width)
        changes = []
        for picture, middle in enumerate(kept["middle"]):

            def tail(x, picture=picture):
                return net.forward_head(block.act(block.expand(x) + shortcut[picture]))

            changes.append(knock_out(tail, middle, kept["middle"], cardinality))
    return own + torch.stack(changes, 1)  # (groups, n, classes)


# What is changed: net, in words, how.
CHANGES: tuple[tuple[str, str, Answer], ...] = (
    ("toy_halonet", "every head says its mean", _mute),
    ("toy_halonet", "no halo", _attention(rings=0)),
    ("toy_halonet", "padding hidden", _attention(masked="padding")),
    ("toy_halonet", "no position", _attention(position=False)),
    ("toy_halonet", "no content", _attention(content=False)),
    ("toy_resnest", "gates one half", _gates(even)),
    ("toy_resnest", "gates the mean of all", _gates(batch_mean)),
    ("toy_resnest", "gates of another picture", _gates(another_picture)),
    ("toy_resnext", "one group at its mean", _one_group),
)


@dataclass(frozen=True)
class Effect:
    """What a change does to a net's answers. moved: by how much the logits move, relative to how far apart they are (a
    mean over pictures); flips: the share of pictures whose likeliest class is another then. twin: with random weights."""

    net: str
    change: str
    moved: Score
    flips: Score
    twin: "Effect | None" = None


def do_they_matter(count: int = PICTURES) -> list[Effect]:
    """Every change of CHANGES over the same toy pictures, in the trained nets and in their random twins."""
    found = []
    for name in dict.fromkeys(net for net, *_ in CHANGES):
        net = toy_net(name)
        inputs, _ = toy_inputs(net, count)
        pair = net, random_twin(net, inputs)
        for _, words, answer in (change for change in CHANGES if change[0] == name):
            of_net, of_twin = (_effect(one, inputs, answer) for one in pair)
            found.append(Effect(name, words, *of_net, Effect(name, words, *of_twin)))
    return found


def _effect(net: nn.Module, inputs: Tensor, answer: Answer) -> tuple[Score, Score]:
    with torch.inference_mode():
        before = net(inputs)
    after = answer(net, inputs)  # (variants, n, classes)
    centred = before - before.mean(1, keepdim=True)
    step = (after - after.mean(2, keepdim=True) - centred).norm(dim=2).mean(0)  # (n,)
    flips = (after.argmax(2) != before.argmax(1)).double().mean(0)
    return mean_of(step.numpy(), centred.norm(dim=1).numpy()), hit_rate(flips.numpy())


def random_twin(net: nn.Module, inputs: Tensor) -> nn.Module:
    """`net` with random weights, as `Probe.twin` makes it, and its normalisations measured on all of `inputs`."""
    twin = probe(net, inputs[:1]).twin().net
    norms = [module for module in twin.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        twin.train()(inputs)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    return twin.eval()


def effects_table(effects: list[Effect]) -> Table:
    """The effects as rows, intervals of 95 %."""

    def share(score: Score) -> str:
        return f"{score.value:.0%} ({score.low:.0%} to {score.high:.0%})"

    rows = [
        (one.net, one.change, share(one.moved), share(one.twin.moved), share(one.flips), share(one.twin.flips))
        for one in effects
    ]
    heads = ("net", "changed", "logits move, trained", "random weights", "another answer, trained", "random weights")
    return table(heads, rows)


# Heads ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Head:
    """One head. keys: the share of the keys on the map at which it looks, in effective keys; moved: as in `Effect`, if
    it says everywhere what it says on average over the map; twin_keys, twin: the same with random weights."""

    layer: str
    number: int
    keys: float
    moved: Score
    twin_keys: float
    twin: Score


def heads_that_matter(net: nn.Module, effective_keys: Callable = effective_keys, count: int = PICTURES) -> list[Head]:
    """Every head of a halo net: how sharply it looks, and how much the answers depend on it. Over `count` toy pictures.

    effective_keys: the reader's, as in the exercise.
    """
    inputs, _ = toy_inputs(net, count)
    twin = random_twin(net, inputs)
    found = []
    for name, layer in museum.halo_layers(net).items():
        shares = [_share_of_keys(one, inputs[:8], name, effective_keys) for one in (net, twin)]
        for head in range(layer.heads):
            of_net, of_twin = (_effect(one, inputs, _without_head(name, head))[0] for one in (net, twin))
            found.append(Head(name, head, shares[0][head], of_net, shares[1][head], of_twin))
    return found


def _share_of_keys(net: nn.Module, inputs: Tensor, name: str, effective_keys: Callable) -> list[float]:
    """By head, effective keys over keys on the map: the mean over pictures and queries."""
    explored = [HaloExplorer(probe(net, one[None]), name) for one in inputs]
    valid = parts.inside(explored[0].layers[name])[:, :, None].flatten(-2)  # (rows, columns, 1, keys)
    weights = torch.stack([one.attended(name).weights for one in explored])
    weights = weights.flatten(-2).flatten(4, 5)  # (pictures, heads, rows, columns, queries, keys)
    return (effective_keys(weights, valid) / valid.sum(-1)).mean((0, 2, 3, 4)).tolist()


def _without_head(name: str, head: int) -> Answer:
    def answer(net, inputs):
        layer = museum.halo_layers(net)[name]
        own = layer.attend

        def attend(*tensors, **sizes):
            by_head = own(*tensors, **sizes).unflatten(1, (sizes["heads"], -1)).clone()
            by_head[:, head] = by_head[:, head].mean((-2, -1), keepdim=True)
            return by_head.flatten(1, 2)

        layer.attend = attend
        try:
            with torch.inference_mode():
                return net(inputs)[None]
        finally:
            layer.attend = own

    return answer
