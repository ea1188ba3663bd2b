"""Exercise `halonet.net`: stem, stages and classifier become a net. Imports the engine, blocks, parts and nets."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from netwright.lessons.engine import Check
from netwright.lessons.halonet.parts import Bottleneck, HaloNet, tiered_stem
from netwright.lessons.trying import behaviour
from netwright.nets.config import Block, Halo, NetConfig, Stage, Stem

CONV = Block()


def _attends(heads: int, block_size: int, halo: int) -> Block:
    return Block(spatial_attention=Halo(heads, block_size, halo))


SMALL = {
    "with a pool and SiLU": (
        NetConfig(
            Stem((2, 3, 4), 3),
            (
                Stage((CONV, CONV), 3, 5, stride=1),
                Stage((CONV, _attends(2, 2, 1)), 4, 6),
                Stage((_attends(1, 2, 1), _attends(2, 1, 2), CONV), 4, 7),
            ),
            activation="silu",
        ),
        (32, 48),
    ),
    "without a pool, with ReLU,": (
        NetConfig(
            Stem((3, 2, 6), 3, pool=False),
            (Stage((_attends(3, 3, 1), CONV), 3, 6, stride=2), Stage((CONV,), 2, 5, stride=1)),
            activation="relu",
        ),
        (24, 48),
    ),
}


def _measure(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for what, (config, size) in SMALL.items():
        net = theirs(config, 3)
        where = f"of a small net {what}".rstrip(",")
        yield from behaviour(net, (2, 3, *size), where)


# Mistakes --------------------------------------------------------------------------------------------------------


def _stages(config, *, act=None, stride=None, halo=None, blocks=None, channels=None):
    """The stages of `HaloNet`, with a choice in it changed."""
    channels = channels or config.stem.channels[-1]
    act = act or (lambda config, i: config.activation)
    stride = stride or (lambda stage, i, number: stage.stride if i == 0 else 1)
    halo = halo or (lambda stage, i, block: block.spatial_attention)
    made = nn.ModuleList()
    for number, stage in enumerate(config.stages):
        row = nn.Sequential()
        for i, block in enumerate(blocks(stage) if blocks else stage.blocks):
            row.append(
                Bottleneck(
                    channels,
                    stage.mid_channels,
                    stage.out_channels,
                    stride=stride(stage, i, number),
                    halo=halo(stage, i, block),
                    act=act(config, i),
                )
            )
            channels = stage.out_channels
        made.append(row)
    return made


def _net(stages=_stages, stem=None, **changes):
    """`HaloNet` with its stages changed."""

    class Wrong(HaloNet):
        def __init__(self, config, num_classes=1000):
            super().__init__(config, num_classes)
            if stem:
                self.stem = stem(config)
            self.stages = stages(config, **changes)

    return Wrong


def _head(head):
    """`HaloNet` with another way from the last map to the logits: head(net, map)."""

    class Wrong(HaloNet):
        def forward(self, x):
            x = self.stem(x)
            for stage in self.stages:
                x = stage(x)
            return head(self, x)

    return Wrong


def _shared(config):
    """The second and later blocks of a stage are one."""
    made = _stages(config)
    for row in made:
        for i in range(2, len(row)):
            row[i] = row[1]
        if len(row) == 2 and row[0].state_dict().keys() == row[1].state_dict().keys():
            row[1] = row[0]
    return made


class _SkipsLast(HaloNet):
    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            for block in stage[: max(1, len(stage) - 1)]:
                x = block(x)
        return self.classifier(x.mean((2, 3)))


class _Bare(HaloNet):
    def __init__(self, config, num_classes=1000):
        super().__init__(config, num_classes)
        self.classifier = nn.Linear(self.classifier.in_features, num_classes, bias=False)


class _NormedHead(HaloNet):
    def __init__(self, config, num_classes=1000):
        super().__init__(config, num_classes)
        self.norm = nn.BatchNorm2d(self.classifier.in_features)

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.classifier(self.norm(x).mean((2, 3)))


MISTAKES = {
    "in which every block of a stage strides": _net(stride=lambda stage, i, number: stage.stride),
    "in which the last block of a stage strides, and not the first": _net(
        stride=lambda stage, i, number: stage.stride if i == len(stage.blocks) - 1 else 1
    ),
    "whose first stage never strides and whose others always do, whatever the configuration says": _net(
        stride=lambda stage, i, number: 2 if i == 0 and number > 0 else 1
    ),
    "in which a whole stage takes after its first block": _net(
        halo=lambda stage, i, block: stage.blocks[0].spatial_attention
    ),
    "in which a whole stage takes after its last block": _net(
        halo=lambda stage, i, block: stage.blocks[-1].spatial_attention
    ),
    "whose attention blocks all have the same heads, block and halo": _net(
        halo=lambda stage, i, block: block.spatial_attention and Halo(1, 2, 1)
    ),
    "whose stages run through their blocks backwards": _net(blocks=lambda stage: stage.blocks[::-1]),
    "whose blocks use SiLU, whatever the configuration says": _net(act=lambda config, i: "silu"),
    "whose blocks use ReLU, whatever the configuration says": _net(act=lambda config, i: "relu"),
    "whose stem uses ReLU, whatever the configuration says": _net(
        stem=lambda config: tiered_stem(config.stem.channels, "relu", config.stem.pool)
    ),
    "whose stem always pools": _net(stem=lambda config: tiered_stem(config.stem.channels, config.activation)),
    "without its attention: every middle is a convolution": _net(halo=lambda stage, i, block: None),
    "that uses one block again and again within a stage": _net(stages=_shared),
    "that leaves out the last block of each stage when it runs": _SkipsLast,
    "whose classifier reads the maximum over the map": _head(lambda net, x: net.classifier(x.amax((2, 3)))),
    "whose classifier reads the sum over the map": _head(lambda net, x: net.classifier(x.sum((2, 3)))),
    "whose classifier reads one corner of the map": _head(lambda net, x: net.classifier(x[:, :, 0, 0])),
    "that ends in a softmax": _head(lambda net, x: net.classifier(x.mean((2, 3))).softmax(1)),
    "whose classifier has no bias": _Bare,
    "with one more normalisation before the classifier": _NormedHead,
}

CHECKS = (
    Check(
        id="halonet.net",
        minutes=7,
        difficulty="medium",
        ours=HaloNet,
        measure=_measure,
        mistakes=MISTAKES,
        hints=(
            "What does a block need to know that the configuration does not say? How many channels come into it, and whether it is the first of its stage.",
            (
                "Keep a variable `channels`: after the stem it is config.stem.channels[-1], after any block stage.out_channels. "
                "The first block of a stage has stage.stride, the others 1. Collect the blocks of a stage in an "
                "nn.Sequential, and the stages in an nn.ModuleList."
            ),
            (
                "Bottleneck(channels, stage.mid_channels, stage.out_channels, stride=stage.stride if i == 0 else 1, "
                "halo=block.spatial_attention, act=config.activation); at the end self.classifier(x.mean((2, 3)))."
            ),
        ),
    ),
)
