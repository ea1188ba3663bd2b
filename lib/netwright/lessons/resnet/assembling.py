"""Exercises `resnet.head` and `resnet.net`: from the last map to an answer, and the whole net.

Imports the engine, trying, nets and, of this room, counting, stages and starting.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from netwright.lessons.engine import Check
from netwright.lessons.resnet.counting import EXPANSION
from netwright.lessons.resnet.stages import stage
from netwright.lessons.resnet.starting import initialise
from netwright.lessons.trying import behaviour, numbers
from netwright.nets.layers import ConvNormAct

# The head ----------------------------------------------------------------------------------------------------------


class GlobalAverage(nn.Module):
    """The mean of each channel: (batch, channels, height, width) to (batch, channels)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def head(num_features: int, num_classes: int) -> tuple[nn.Module, nn.Module]:
    """The two last modules of a net: the pool, maps to (batch, num_features), and the classifier, to logits.

    With 0 classes the classifier hands on what it gets, so that the net returns embeddings.
    """
    classifier = nn.Linear(num_features, num_classes) if num_classes else nn.Identity()
    return GlobalAverage(), classifier


# The net -----------------------------------------------------------------------------------------------------------


class ResNet(nn.Module):
    """Stem, stages of bottlenecks, head: pictures (batch, 3, height, width) to logits (batch, num_classes).

    depths: blocks of each stage; widths: channels in their middles, a quarter of what they put out. ResNet-50 is
    (3, 4, 6, 3) and (64, 128, 256, 512), in He et al. 2015, table 1.
    """

    def __init__(self, depths: Sequence[int], widths: Sequence[int], num_classes: int = 1000):
        super().__init__()
        channels = widths[0]
        self.stem = nn.Sequential(
            ConvNormAct(3, channels, 7, stride=2, act="relu"),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.stages = nn.ModuleList()
        for i, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            stride = 1 if i == 0 else 2
            self.stages.append(stage(channels, width, EXPANSION * width, depth, stride))
            channels = EXPANSION * width
        self.pool, self.classifier = head(channels, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for blocks in self.stages:
            x = blocks(x)
        return self.classifier(self.pool(x))


# How they are tried ------------------------------------------------------------------------------------------------


def _measure_head(theirs) -> Iterator[tuple[str, Any]]:
    for num_features, num_classes, shape in ((6, 5, (2, 6, 3, 5)), (4, 1, (1, 4, 1, 1)), (4, 0, (3, 4, 7, 7))):
        classes = "1 class" if num_classes == 1 else f"{num_classes} classes"
        where = f"of a head for {num_features} features, {classes} and {shape[2]}x{shape[3]} maps"
        pool, classifier = theirs(num_features, num_classes)
        x = numbers(*shape, of=where) + 0.5
        before = x.clone()
        yield f"what comes out of the pool {where}", pool(x)
        yield f"the input {where}, once pooled,", x
        yield f"the list of what the pool learns {where}", {name: tuple(p.shape) for name, p in pool.named_parameters()}
        both = nn.ModuleDict({"pool": pool, "classifier": classifier})
        both.forward = lambda maps, both=both: both["classifier"](both["pool"](maps))
        yield from behaviour(both, shape, where)
        yield f"what the classifier makes of the pooled features {where}", classifier(before.mean((2, 3))).detach()


SMALL = (  # depths, widths, classes, and the sides of the picture: the pool sees odd and even maps
    ((2,), (4,), 5, (21, 19)),
    ((1, 2), (4, 6), 0, (33, 26)),
    ((1, 1, 2, 1), (4, 3, 5, 4), 3, (70, 45)),
)


def _measure_net(theirs) -> Iterator[tuple[str, Any]]:
    for depths, widths, num_classes, sides in SMALL:
        where = f"of a net with depths {depths}, widths {widths} and {num_classes} classes"
        net = theirs(depths, widths, num_classes)
        state = net.state_dict()
        yield f"the list of parameters {where}", {name: tuple(p.shape) for name, p in net.named_parameters()}
        scales = {name: tensor.clone() for name, tensor in state.items() if name.endswith("norm.weight")}
        yield f"the list of scales with which the normalisations start {where}", scales
        seen = []
        handles = [net.stem.register_forward_hook(lambda m, i, out, seen=seen: seen.append(tuple(out.shape)))]
        for blocks in net.stages:
            handles.append(blocks.register_forward_hook(lambda m, i, out, seen=seen: seen.append(tuple(out.shape))))
        net.eval()(numbers(2, 3, *sides, of="the way"))
        for handle in handles:
            handle.remove()
        for place, shape in enumerate(seen):
            yield f"the shape behind {f'stage {place - 1}' if place else 'the stem'} {where}", shape
        yield from behaviour(net, (2, 3, *sides), where)
    net = theirs((1, 1), (2, 2))
    yield "the number of logits of a net to which no number of classes was given", net.classifier.out_features


# Known mistakes: head ----------------------------------------------------------------------------------------------


class _Pool(nn.Module):
    """A pool that is made otherwise."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def _head(pool=None, classifier=None, *, none=lambda features: nn.Identity()):
    """`head` with another pool or classifier."""

    def wrong(num_features, num_classes):
        _, last = head(num_features, num_classes)
        if num_classes == 0:
            last = none(num_features)
        elif classifier:
            last = classifier(num_features, num_classes)
        return _Pool(pool) if pool else GlobalAverage(), last

    return wrong


def _no_classes(num_features: int) -> nn.Linear:
    """A linear layer to no outputs, without torch's warning of it."""
    linear = nn.Linear(num_features, 1)
    linear.weight, linear.bias = nn.Parameter(linear.weight[:0]), nn.Parameter(linear.bias[:0])
    return linear


HEAD_MISTAKES = {
    "that takes the maximum of each channel": _head(lambda x: x.amax((2, 3))),
    "that takes the sum of each channel": _head(lambda x: x.sum((2, 3))),
    "that drops every dimension of size 1, a batch of one picture included": _head(
        lambda x: x.mean((2, 3), keepdim=True).squeeze()
    ),
    "whose pool leaves height and width in place": _head(lambda x: x.mean((2, 3), keepdim=True)),
    "whose pool is 7x7, as maps are for pictures of 224 pixels only": _head(
        lambda x: nn.functional.avg_pool2d(x, 7).flatten(1)
    ),
    "that takes the mean over the height only, and then the first column": _head(lambda x: x.mean(2)[:, :, 0]),
    "that averages over the channels as well": _head(lambda x: x.mean((1, 2, 3))[:, None].expand(-1, x.shape[1])),
    "that cuts off what is below zero in the mean": _head(lambda x: x.mean((2, 3)).relu()),
    "that returns probabilities, where the loss wants logits": _head(
        classifier=lambda i, o: _named_linear(nn.Linear(i, o), lambda y: y.softmax(1))
    ),
    "whose classifier has no bias": _head(classifier=lambda i, o: nn.Linear(i, o, bias=False)),
    "that makes a classifier of 0 classes": _head(none=_no_classes),
    "that projects the embeddings once more where there are no classes": _head(
        none=lambda features: nn.Linear(features, features)
    ),
}


def _named_linear(linear: nn.Linear, then) -> nn.Linear:
    """`linear` with something after it, under the same names."""
    linear.register_forward_hook(lambda module, inputs, output: then(output))
    return linear


# Known mistakes: net -----------------------------------------------------------------------------------------------


def _net(
    *,
    stem=lambda channels: nn.Sequential(
        ConvNormAct(3, channels, 7, stride=2, act="relu"), nn.MaxPool2d(3, stride=2, padding=1)
    ),
    stride=lambda place, count: 1 if place == 0 else 2,
    start=initialise,
    stem_width=lambda widths: widths[0],
    mid_width=lambda width: width,
    out_width=lambda width: 4 * width,
):
    """`ResNet` with one part made otherwise."""

    class Wrong(ResNet):
        def __init__(self, depths, widths, num_classes=1000):
            nn.Module.__init__(self)
            channels = stem_width(widths)
            self.stem, self.stages = stem(channels), nn.ModuleList()
            for place, (depth, width) in enumerate(zip(depths, widths, strict=True)):
                self.stages.append(
                    stage(channels, mid_width(width), out_width(width), depth, stride(place, len(depths)))
                )
                channels = out_width(width)
            self.pool, self.classifier = head(channels, num_classes)
            start(self)

    return Wrong


def _stem(*layers):
    """A stem of which some layers are made otherwise; each takes the channels."""
    return lambda channels: nn.Sequential(*(layer(channels) for layer in layers))


def _stem_conv(channels, size=7, stride=2, act="relu"):
    return ConvNormAct(3, channels, size, stride=stride, act=act)


def _biased_stem(channels):
    layer = _stem_conv(channels)
    layer.conv = nn.Conv2d(3, channels, 7, stride=2, padding=3)
    return layer


def _unpadded_stem(channels):
    layer = _stem_conv(channels)
    layer.conv = nn.Conv2d(3, channels, 7, stride=2, bias=False)
    return layer


def _max_pool(channels):
    return nn.MaxPool2d(3, stride=2, padding=1)


NET_MISTAKES = {
    "that shrinks its maps in the first stage and then never again": _net(
        stride=lambda place, count: 2 if place == 0 else 1
    ),
    "whose first stage strides too": _net(stride=lambda place, count: 2),
    "whose last stage does not stride": _net(stride=lambda place, count: 2 if 0 < place < count - 1 else 1),
    "without the max pool": _net(stem=_stem(_stem_conv)),
    "whose max pool has no padding": _net(stem=_stem(_stem_conv, lambda channels: nn.MaxPool2d(3, stride=2))),
    "whose max pool is 2x2": _net(stem=_stem(_stem_conv, lambda channels: nn.MaxPool2d(2, ceil_mode=True))),
    "with an average pool behind its first convolution": _net(
        stem=_stem(_stem_conv, lambda channels: nn.AvgPool2d(3, stride=2, padding=1))
    ),
    "whose stem has a 3x3 convolution": _net(stem=_stem(lambda channels: _stem_conv(channels, 3), _max_pool)),
    "whose stem does not stride before it pools": _net(
        stem=_stem(lambda channels: _stem_conv(channels, stride=1), _max_pool)
    ),
    "whose first convolution has a bias": _net(stem=_stem(_biased_stem, _max_pool)),
    "whose first convolution has no padding": _net(stem=_stem(_unpadded_stem, _max_pool)),
    "without a ReLU in its stem": _net(stem=_stem(lambda channels: _stem_conv(channels, act=None), _max_pool)),
    "whose stem has 64 channels, whatever the widths": _net(stem_width=lambda widths: 64),
    "that forgets to call initialise": _net(start=lambda net: None),
    "that takes the widths for what the stages put out": _net(
        mid_width=lambda width: max(1, width // 4), out_width=lambda width: width
    ),
    "whose stages put out as many channels as their middles have": _net(out_width=lambda width: width),
}

CHECKS = (
    Check(
        id="resnet.head",
        minutes=4,
        difficulty="easy",
        ours=head,
        measure=_measure_head,
        mistakes=HEAD_MISTAKES,
        hints=(
            "What should the pool make of a single picture with a 1x1 map? Its batch is still a batch, of one.",
            (
                "A mean over height and width, dimensions 2 and 3, and over nothing else. torch has modules for it, or write "
                "a small one of your own. With 0 classes there is nothing to learn, and a module that hands on is nn.Identity."
            ),
            (
                "nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()) is a pool; so is a class whose forward returns "
                "x.mean((2, 3)). The classifier: nn.Linear(num_features, num_classes) if num_classes else nn.Identity()."
            ),
        ),
    ),
    Check(
        id="resnet.net",
        minutes=10,
        difficulty="medium",
        ours=ResNet,
        measure=_measure_net,
        mistakes=NET_MISTAKES,
        hints=(
            "How many channels enter the first stage, and the second? Which of the stages stride?",
            (
                "Keep a variable channels: widths[0] behind the stem, 4 * width behind a stage. The max pool has shrunk the map "
                "already, so the first stage has stride 1, all later ones 2. And the padding is such that only strides shrink: "
                "3 for a 7x7, 1 for a 3x3."
            ),
            (
                "self.stages.append(stage(channels, width, 4 * width, depth, stride=1 if i == 0 else 2)) in a loop over "
                "enumerate(zip(depths, widths)); then self.pool, self.classifier = head(channels, num_classes), and "
                "initialise(self) at the very end."
            ),
        ),
    ),
)
