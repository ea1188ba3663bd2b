"""Known wrong stems, middles and blocks of notebook 07. Imports its parts and nets."""

from torch import nn
from torch.nn import functional as F

from netwright.lessons.halonet.parts import AttentionMiddle, Bottleneck, tiered_stem
from netwright.nets.halonet import HaloAttention
from netwright.nets.layers import ConvNormAct, activation

# The stem --------------------------------------------------------------------------------------------------------


def _stem(*, strides=(2, 1, 1), kernels=(3, 3, 3), acts=(True, True, True), last=None, pool_layer=None, named=None):
    """`tiered_stem` with one thing wrong in it; `last` is the stride of the third convolution where there is no pool."""

    def wrong(channels, act, pool):
        widths = (3, *channels)
        steps = strides if pool else (*strides[:2], last or 2)
        layers = [
            ConvNormAct(widths[i], widths[i + 1], kernels[i], stride=steps[i], act=(named or act) if acts[i] else None)
            for i in range(3)
        ]
        if pool:
            layers.append(pool_layer or nn.MaxPool2d(3, stride=2, padding=1))
        return nn.Sequential(*layers)

    return wrong


def _always_pools(channels, act, pool):
    return tiered_stem(channels, act, pool=True)


def _never_pools(channels, act, pool):
    return tiered_stem(channels, act, pool=False)


def _pools_too(channels, act, pool):
    return nn.Sequential(*tiered_stem(channels, act, pool=False), *([nn.MaxPool2d(3, 2, 1)] if pool else []))


def _reversed(channels, act, pool):
    return tiered_stem(channels[::-1], act, pool)


STEM_MISTAKES = {
    "whose second convolution strides, not its first": _stem(strides=(1, 2, 1)),
    "whose last convolution strides even before a pool: an eighth of the picture is left": _pools_too,
    "that halves once where there is no pool": _stem(last=1),
    "that always pools": _always_pools,
    "that never pools, and strides instead": _never_pools,
    "with a 2x2 max pool": _stem(pool_layer=nn.MaxPool2d(2)),
    "whose max pool has no padding and rounds up (Caffe's)": _stem(pool_layer=nn.MaxPool2d(3, 2, ceil_mode=True)),
    "with an average pool": _stem(pool_layer=nn.AvgPool2d(3, 2, 1)),
    "whose first convolution is 7x7": _stem(kernels=(7, 3, 3)),
    "without an activation after the last convolution": _stem(acts=(True, True, False)),
    "with ReLU, whatever is asked for": _stem(named="relu"),
    "whose three widths come in the reverse order": _reversed,
}

# The middle ------------------------------------------------------------------------------------------------------


class _ActFirst(AttentionMiddle):
    def forward(self, x):
        return self.norm(self.act(self.attention(x)))


class _NoAct(AttentionMiddle):
    def forward(self, x):
        return self.norm(self.attention(x))


class _NormFirst(AttentionMiddle):
    def forward(self, x):
        return self.act(self.attention(self.norm(x)))


class _NormActFirst(AttentionMiddle):
    def forward(self, x):
        return self.attention(self.act(self.norm(x)))


class _Residual(AttentionMiddle):
    def forward(self, x):
        y = self.act(self.norm(self.attention(x)))
        return y + F.interpolate(x, y.shape[2:])


class _LayerNorm(AttentionMiddle):
    def __init__(self, attention, channels, act="silu"):
        super().__init__(attention, channels, act)
        self.norm = nn.GroupNorm(1, channels)


class _NoNorm(AttentionMiddle):
    def __init__(self, attention, channels, act="silu"):
        super().__init__(attention, channels, act)
        self.norm = nn.Identity()


class _Projects(AttentionMiddle):
    def __init__(self, attention, channels, act="silu"):
        super().__init__(attention, channels, act)
        self.projection = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x):
        return self.act(self.norm(self.projection(self.attention(x))))


class _TensorFlowNorm(AttentionMiddle):
    def __init__(self, attention, channels, act="silu"):
        super().__init__(attention, channels, act)
        self.norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def _always(name):
    return lambda attention, channels, act="silu": AttentionMiddle(attention, channels, name)


MIDDLE_MISTAKES = {
    "where the activation comes before the normalisation": _ActFirst,
    "without an activation": _NoAct,
    "without a normalisation": _NoNorm,
    "that normalises what goes into the attention, as many transformers do": _NormFirst,
    "where normalisation and activation come before the attention": _NormActFirst,
    "with a shortcut of its own": _Residual,
    "with a normalisation over the channels of one picture in place of BatchNorm": _LayerNorm,
    "with a 1x1 convolution after the attention, as a transformer has": _Projects,
    "whose BatchNorm has TensorFlow's eps and momentum": _TensorFlowNorm,
    "with ReLU, whatever is asked for": _always("relu"),
    "with SiLU, whatever is asked for": _always("silu"),
}

# The block -------------------------------------------------------------------------------------------------------


def _branch(block, x):
    return block.expand(block.middle(block.reduce(x)))


class _ActBeforeAddition(Bottleneck):
    def forward(self, x):
        return self.act(_branch(self, x)) + self.shortcut(x)


class _NoLastAct(Bottleneck):
    def forward(self, x):
        return _branch(self, x) + self.shortcut(x)


class _NoShortcut(Bottleneck):
    def forward(self, x):
        return self.act(_branch(self, x))


class _OverwritesInput(Bottleneck):
    def forward(self, x):
        y = _branch(self, x)
        return self.act(self.shortcut(x).add_(y))


class _LastActIsRelu(Bottleneck):
    def forward(self, x):
        return (_branch(self, x) + self.shortcut(x)).relu()


def _block(change):
    """`Bottleneck` with parts exchanged by change(block, in, mid, out, stride, halo, act)."""

    class Wrong(Bottleneck):
        def __init__(self, in_channels, mid_channels, out_channels, *, stride=1, halo=None, act="silu"):
            super().__init__(in_channels, mid_channels, out_channels, stride=stride, halo=halo, act=act)
            change(self, in_channels, mid_channels, out_channels, stride, halo, act)

    return Wrong


def _stride_in_reduce(block, inside, mid, out, stride, halo, act):
    block.reduce = ConvNormAct(inside, mid, stride=stride, act=act)
    if halo:
        block.middle = AttentionMiddle(HaloAttention(mid, halo), mid, act)
    else:
        block.middle = ConvNormAct(mid, mid, 3, act=act)


def _bare_attention(block, inside, mid, out, stride, halo, act):
    if halo:
        block.middle = HaloAttention(mid, halo, stride)


def _attention_after_convolution(block, inside, mid, out, stride, halo, act):
    if halo:
        block.middle = nn.Sequential(
            ConvNormAct(mid, mid, 3, stride=stride, act=act), AttentionMiddle(HaloAttention(mid, halo), mid, act)
        )


def _pools_after(block, inside, mid, out, stride, halo, act):
    if halo and stride == 2:
        attention = nn.Sequential(HaloAttention(mid, halo), nn.AvgPool2d(2))
        attention[0].pool = attention[1]
        block.middle = AttentionMiddle(attention[0], mid, act)


def _pools_the_shortcut(block, inside, mid, out, stride, halo, act):
    if stride == 2:
        block.shortcut = nn.Sequential()
        block.shortcut.conv = nn.Conv2d(inside, out, 1, bias=False)
        block.shortcut.norm = nn.BatchNorm2d(out)
        block.shortcut.register_forward_pre_hook(
            lambda module, inputs: F.avg_pool2d(inputs[0], 2, ceil_mode=True, count_include_pad=False)
        )


def _always_projects(block, inside, mid, out, stride, halo, act):
    block.shortcut = ConvNormAct(inside, out, stride=stride)


def _projects_by_channels_only(block, inside, mid, out, stride, halo, act):
    if inside == out:
        block.shortcut = nn.AvgPool2d(1, stride) if stride > 1 else nn.Identity()


def _shortcut_acts(block, inside, mid, out, stride, halo, act):
    if not isinstance(block.shortcut, nn.Identity):
        block.shortcut.add_module("act", activation(act))


def _expand_acts(block, inside, mid, out, stride, halo, act):
    block.expand.add_module("act", activation(act))


def _other_halo(block, inside, mid, out, stride, halo, act):
    if halo:
        wide = type(halo)(halo.heads, halo.block_size, halo.halo)
        block.middle = AttentionMiddle(HaloAttention(mid, wide, stride), mid, act)


BLOCK_MISTAKES = {
    "where the activation comes before the addition, and none after it": _ActBeforeAddition,
    "without an activation after the addition": _NoLastAct,
    "without its shortcut": _NoShortcut,
    "that adds into its input, and so overwrites it": _OverwritesInput,
    "whose last activation is a ReLU, whatever is asked for": _LastActIsRelu,
    "with the stride in the first 1x1 convolution": _block(_stride_in_reduce),
    "whose attention has no normalisation and no activation": _block(_bare_attention),
    "that keeps the 3x3 convolution, and attends after it": _block(_attention_after_convolution),
    "in which all pixels ask, and a mean of 2x2 follows, even where every second could ask": _block(_pools_after),
    "whose shortcut averages before its convolution, as ResNeSt's does": _block(_pools_the_shortcut),
    "whose shortcut is a convolution even where the shape stays": _block(_always_projects),
    "whose shortcut skips pixels, without a convolution, where only the stride changes the shape": _block(
        _projects_by_channels_only
    ),
    "with an activation in its shortcut": _block(_shortcut_acts),
    "with an activation after the last 1x1 convolution, and another after the addition": _block(_expand_acts),
    "that drops key_dim on the way to the attention": _block(_other_halo),
}
