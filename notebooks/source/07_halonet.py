# %% [markdown]
# # 07 · HaloNet
#
# In the last notebook you built halo attention, a layer. Now it becomes a net: a ResNet in which some of the 3×3
# convolutions are replaced by it. Afterwards you can
#
# - say which blocks of which stage attend, why those, and what each of them costs;
# - build halonet26t and halonet50ts from their parts, and prove them;
# - tell from a net's configuration which pictures it can take, and what to do with all others;
# - name the places where the published nets and the paper of
#   [Vaswani et al. 2021](https://arxiv.org/abs/2103.12731) part.
#
# About an hour. Everything runs without a network.
#
# ### Before you begin: a prediction
#
# `halonet50ts` is a ResNet-50 in which five of sixteen 3×3 convolutions are replaced by attention over windows of 14×14
# pixels. Take one such layer and the convolution whose place it takes, in the second stage: 128 channels, a map of 32×32.
#
# 1. Has the attention **more or fewer parameters**?
# 2. Does it do **more or fewer multiplications**?
# 3. Is it **faster or slower**?
# 4. And the whole net: which of these pictures does it take, **224, 250, 256, 320** pixels square?
#
# Write four answers down.

# %% [markdown]
# ## Where to attend
#
# An attention layer makes three projections of its map, queries, keys and values, each by a 1×1 convolution. Then each
# query is compared with the keys of its window, and weighs the values there. The first part costs as much as a third of
# a 3×3 convolution, wherever it stands. The second depends on how many pixels ask, and how many each of them sees.
#
# ### Exercise 1: what it costs
#
# Write `cost(channels, height, width, halo)`, which returns
# `{"convolution": (parameters, multiply_adds), "attention": (parameters, multiply_adds)}` of two middles that keep a map of
# `channels × height × width` as it is: a 3×3 convolution without a bias, and halo attention. `halo` has `heads`,
# `block_size`, `halo` and `key_dim`; where `key_dim` is `None`, a key is as wide as a value, `channels // heads`.
#
# The parameters of attention are those of the projections (no biases) and of two position tables, one for rows and one for
# columns, which all heads share. A table has a row of `key_dim` numbers for every distance that occurs inside a window, up
# and down. Count a multiply-add for each multiplication in the products: the projections; each query with each key of its
# window, padding included; each query with the `window` table rows for the rows and the `window` for the columns of its
# window; the weighing of the values. The softmax is not counted.
#
# *8 minutes · medium · a dozen lines*

# %%
import torch
from IPython.display import display
from torch import nn

import netwright as nw
from netwright.lessons import check, exercise, hint, theirs_or_ours
from netwright.nets.config import Halo


@exercise("halonet.cost")
def cost(channels, height, width, halo):
    """{"convolution": (parameters, multiply-adds), "attention": (parameters, multiply-adds)} on such a map."""
    ### BEGIN SOLUTION
    pixels = height * width
    value_dim = channels // halo.heads
    key_dim = halo.key_dim or value_dim
    window = halo.block_size + 2 * halo.halo

    projections = channels * halo.heads * (2 * key_dim + value_dim)
    tables = 2 * (2 * window - 1) * key_dim
    a_query = window**2 * (key_dim + value_dim) + 2 * window * key_dim
    return {
        "convolution": (9 * channels**2, 9 * channels**2 * pixels),
        "attention": (projections + tables, projections * pixels + a_query * halo.heads * pixels),
    }
    ### END SOLUTION


display(hint("halonet.cost"))  # three, one inside the other
check("halonet.cost", cost)

# %% [markdown]
# (Hints for the other exercises are a call away: `hint("halonet.interleave")`.)
#
# Now use it. A ResNet doubles its channels wherever it halves its map, so that a convolution costs the same in every
# stage. Attention does not: its projections do, but the part that grows with the window **halves** from stage to stage.
# Move the two sliders, and look for settings in which attention is cheaper than the convolution in every stage. The grey
# number is the price if each pixel looked at the whole map.

# %%
from functools import partial

from netwright.lessons import halonet as lesson
from netwright.lessons.sliders import At, explore

cost = theirs_or_ours("halonet.cost", cost)
explore(partial(lesson.draw_costs, cost), block_size=At((4, 8, 16), 8), halo=At((0, 1, 2, 3, 4), 3))

# %% [markdown]
# That answers the first two questions. The third needs a clock. In each stage the convolution and the attention that could
# take its place now run in turn on the same map, so that whatever else this machine does falls on both. The last column
# is the time of the convolution divided by that of the attention: median, and the quartiles of the runs.

# %%
lesson.table(
    ("where", "attention has fewer multiply-adds by", "attention is faster by"),
    ((where, f"{fewer:.2f}", str(faster)) for where, fewer, faster in lesson.race()),
)

# %% [markdown]
# Below 1 means slower. A multiplication is not a second: a convolution is what this processor is best at, while attention
# moves its keys and values about, once for every window that they lie in. This is the plain reason why the published nets
# attend where they do: **late, where maps are small**. Here are their configurations, block by block, as they run in the
# library, and that of the small net that ships with the workbook. The grey numbers are the sides of the maps at the size
# that each net is meant for.

# %%
from netwright.nets.halonet import CONFIGS
from netwright.nets.toy import CONFIGS as TOYS

lesson.draw_strips({**CONFIGS, "toy_halonet": TOYS["toy_halonet"]})

# %% [markdown]
# ### Exercise 2: interleaving
#
# halonet50ts alternates: in its stages 2 and 3, counted from 0, one convolution and then one attention block; in stage 1
# the rule is "four convolutions, then attention", in a stage that has only four blocks.
#
# Write `interleave(depth, every, conv, attention)`, which returns `depth` blocks as a tuple: `every` convolutions, one
# attention, `every` convolutions, one attention, and so on, cut off at `depth`. A stage too short for that gets one attention
# block, its last. `conv` and `attention` may be anything; put them where they belong.
#
# *4 minutes · easy · two lines*


# %%
@exercise("halonet.interleave")
def interleave(depth, every, conv, attention):
    """A tuple of `depth` blocks: with every=1, (conv, attention, conv, attention, …)."""
    ### BEGIN SOLUTION
    places = range(every, depth, every + 1) or (depth - 1,)
    return tuple(attention if i in places else conv for i in range(depth))
    ### END SOLUTION


check("halonet.interleave", interleave)

# %% [markdown]
# ## The parts
#
# `ConvNormAct(in, out, kernel_size, stride=…, act=…)` is the library's convolution with its normalisation and, if `act` is
# given, an activation: `"relu"` or `"silu"`. Its two parts are called `conv` and `norm`.
#
# ### Exercise 3: the stem
#
# The `t` in the names means *tiered*: instead of one 7×7 convolution, three of 3×3, here with 24, 32 and 64 channels.
# Write `tiered_stem(channels, act, pool)`, which returns an `nn.Sequential`. Its parts 0, 1 and 2 are `ConvNormAct`s from 3
# to `channels[0]`, `channels[1]`, `channels[2]`, each 3×3. The first has stride 2. With `pool`, a 3×3 max pool of stride 2 and
# padding 1 follows as part 3. Without it, as in sehalonet33ts, the last convolution has stride 2 in its place.
#
# *4 minutes · easy · eight lines*

# %%
from netwright.nets.layers import ConvNormAct


@exercise("halonet.stem")
def tiered_stem(channels=(24, 32, 64), act="relu", pool=True):
    """Pictures (batch, 3, height, width) to (batch, channels[2], height / 4, width / 4)."""
    ### BEGIN SOLUTION
    first, second, third = channels
    layers = [
        ConvNormAct(3, first, 3, stride=2, act=act),
        ConvNormAct(first, second, 3, act=act),
        ConvNormAct(second, third, 3, stride=1 if pool else 2, act=act),
    ]
    if pool:
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    return nn.Sequential(*layers)
    ### END SOLUTION


check("halonet.stem", tiered_stem)

# %% [markdown]
# ### Exercise 4: attention in the place of a convolution
#
# In a bottleneck, the 3×3 convolution is followed by a normalisation and an activation. The attention that replaces it
# keeps both. Transformers do it differently, with a normalisation before and a shortcut around each attention; here the
# shortcut is the block's.
#
# Write `AttentionMiddle(attention, channels, act)`. It keeps the layer that it is given as `attention`, makes a `BatchNorm2d`
# called `norm`, and an activation: `activation(act)` of the library makes one from its name.
#
# *2 minutes · easy · four lines*

# %%
from netwright.nets.layers import activation


@exercise("halonet.middle")
class AttentionMiddle(nn.Module):
    """Attention with the normalisation and activation that a convolution in its place would have."""

    def __init__(self, attention, channels, act="silu"):
        super().__init__()
        ### BEGIN SOLUTION
        self.attention = attention
        self.norm = nn.BatchNorm2d(channels)
        self.act = activation(act)
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        return self.act(self.norm(self.attention(x)))
        ### END SOLUTION


check("halonet.middle", AttentionMiddle)

# %% [markdown]
# ### Exercise 5: the block
#
# One bottleneck for both kinds. `reduce`, a `ConvNormAct` of 1×1 with activation; `middle`, which is a 3×3 `ConvNormAct`
# if `halo` is `None`, else an `AttentionMiddle` around the library's `HaloAttention(mid_channels, halo, stride)`; `expand`, a
# `ConvNormAct` of 1×1 without activation; and `shortcut`, an `nn.Identity()`, or where stride or channels change a strided 1×1
# `ConvNormAct` without activation. Then the sum, and the activation. The stride is the middle's and the shortcut's.
#
# How an attention layer strides is its own affair: every second pixel asks, or, if a block cannot be halved, all ask and
# a mean of 2×2 follows.
#
# *7 minutes · medium · a dozen lines*

# %%
from netwright.nets.halonet import HaloAttention

AttentionMiddle = theirs_or_ours("halonet.middle", AttentionMiddle)


@exercise("halonet.block")
class Bottleneck(nn.Module):
    """(batch, in_channels, height, width) to (batch, out_channels, height / stride, width / stride)."""

    def __init__(self, in_channels, mid_channels, out_channels, *, stride=1, halo=None, act="silu"):
        super().__init__()
        ### BEGIN SOLUTION
        self.reduce = ConvNormAct(in_channels, mid_channels, 1, act=act)
        if halo is None:
            self.middle = ConvNormAct(mid_channels, mid_channels, 3, stride=stride, act=act)
        else:
            self.middle = AttentionMiddle(HaloAttention(mid_channels, halo, stride), mid_channels, act)
        self.expand = ConvNormAct(mid_channels, out_channels, 1)
        self.shortcut = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = ConvNormAct(in_channels, out_channels, 1, stride=stride)
        self.act = activation(act)
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        y = self.expand(self.middle(self.reduce(x)))
        return self.act(y + self.shortcut(x))
        ### END SOLUTION


check("halonet.block", Bottleneck)

# %% [markdown]
# ### Exercise 6: the net
#
# A net is described by plain data, and your class reads it: `config.stem` has `channels` and `pool`; `config.stages` is a tuple
# of stages, each with `blocks`, `mid_channels`, `out_channels` and `stride`; a block has `spatial_attention`, a `Halo` or `None`;
# `config.activation` is used everywhere.
#
# Write `HaloNet(config, num_classes)` with a `stem`; `stages`, an `nn.ModuleList` with one `nn.Sequential` of your blocks for each
# stage, of which the first has the stage's stride; and a `classifier`, an `nn.Linear` that reads the mean over the last map.
#
# *7 minutes · medium · fifteen lines*

# %%
tiered_stem = theirs_or_ours("halonet.stem", tiered_stem)
Bottleneck = theirs_or_ours("halonet.block", Bottleneck)


@exercise("halonet.net")
class HaloNet(nn.Module):
    """The net that `config` describes: pictures (batch, 3, height, width) to logits (batch, num_classes)."""

    def __init__(self, config, num_classes=1000):
        super().__init__()
        ### BEGIN SOLUTION
        act, channels = config.activation, config.stem.channels[-1]
        self.stem = tiered_stem(config.stem.channels, act, config.stem.pool)
        self.stages = nn.ModuleList()
        for stage in config.stages:
            blocks = nn.Sequential()
            for i, block in enumerate(stage.blocks):
                widths = channels, stage.mid_channels, stage.out_channels
                stride = stage.stride if i == 0 else 1
                blocks.append(Bottleneck(*widths, stride=stride, halo=block.spatial_attention, act=act))
                channels = stage.out_channels
            self.stages.append(blocks)
        self.classifier = nn.Linear(channels, num_classes)
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.classifier(x.mean((2, 3)))
        ### END SOLUTION


check("halonet.net", HaloNet)

# %% [markdown]
# ## The proof
#
# `golden_checkpoint` has the names and shapes of a published file, filled with seeded numbers. `rename` gives its keys our
# names, as you did by hand in [notebook 02](02_weights_proven.ipynb). Then `first_difference` compares what your net makes of
# a seeded picture, block by block, with what timm's HaloNet made of it: the configuration is the published one, the
# classes are yours.
#
# The cell after it loads the publisher's own file into your net, if it is on this machine or can be fetched, and prints a
# summary of the smaller net: see how its parameters gather where the maps are small.

# %%
from netwright.weights.keymaps import rename

HaloNet = theirs_or_ours("halonet.net", HaloNet)
nets = {}
for name in ("halonet26t", "halonet50ts"):
    file = nw.golden_checkpoint(name, "byobnet")
    names = rename(file, "byobnet")
    nets[name] = HaloNet(CONFIGS[name]).eval()
    nets[name].load_state_dict({names[key]: tensor for key, tensor in file.items()}, strict=True)
    proof = nw.first_difference(nets[name], name, state=None)
    print(proof)
proof.figure()

# %%
from torchinfo import summary

from netwright.weights.fetch import WeightsUnavailable, fetch
from netwright.weights.read import read_checkpoint

published = nw.list_weights("halonet26t*")[0]
try:
    state = read_checkpoint(fetch(published))
    real = HaloNet(CONFIGS["halonet26t"]).eval()
    names = rename(state, "byobnet")
    real.load_state_dict({names[key]: tensor for key, tensor in state.items()}, strict=True)
    library = nw.create_model("halonet26t", pretrained=True).eval()
    x = torch.randn(1, 3, 256, 256)
    with torch.inference_mode():
        print(f"{published.name}: largest difference to the library's net {(real(x) - library(x)).abs().max():.1g}.")
except WeightsUnavailable:
    size = published.files[0].size_text
    print(f"Offline: {published.name} ({size}) is not on this machine, so its numbers wait for a network.")
columns = ("output_size", "num_params", "params_percent")
print(
    summary(
        nets["halonet26t"],
        (1, 3, 256, 256),
        col_names=columns,
        depth=2,
        col_width=18,
        row_settings=["var_names"],
        verbose=0,
    )
)

# %% [markdown]
# ### It learns
#
# A net of your classes, small enough for a laptop, composed with your `interleave`. `fresh` fills it with numbers to start
# from. It then sees some thousand pictures of the toy world, in each of which a texture is the cause of the label, and is
# asked about pictures that it has not seen.

# %%
from netwright.lessons.toy_training import draw_learning, learn_toys
from netwright.nets.config import Block, NetConfig, Stage, Stem

interleave = theirs_or_ours("halonet.interleave", interleave)
conv, attention = Block(), Block(spatial_attention=Halo(heads=4, block_size=4, halo=2))
small = NetConfig(
    Stem((16, 16, 32), kernel_size=3),
    (
        Stage(interleave(2, 4, conv, conv), mid_channels=16, out_channels=64, stride=1),
        Stage(interleave(2, 1, conv, attention), mid_channels=32, out_channels=128),
    ),
    activation="silu",
    input_size=64,
)
torch.manual_seed(0)
learner = lesson.fresh(HaloNet(small, num_classes=6))
draw_learning({"your HaloNet": learn_toys(learner, group="texture")})

# %% [markdown]
# ## What the formula leaves open
#
# The paper's equation (section 2.1) says: softmax of *q·k + q·r*, the query with the key and the query with the position
# of that key. It says nothing of the factor 1/√key_dim, by which nearly every attention keeps its logits small. Does it go
# before the first term, before both, or nowhere? Ports differ. The published weights were trained with one of these.
#
# ### Exercise 7: the scaling order
#
# Write `logits(query, key, position)` as the published weights want it: **the content is divided by the square root of
# `key_dim`, the position is compared with the query as it is**.
#
# `query` is `(…, queries, key_dim)`, `key` is `(…, keys, key_dim)`, with any number of dimensions in front. `position` is
# `(queries, keys, key_dim)`: a vector for each pair. The answer is `(…, queries, keys)`. The inputs stay as they are.
#
# *4 minutes · medium · two lines*


# %%
@exercise("halonet.scale")
def logits(query, key, position):
    """How strongly each query asks for each key, before the softmax: (…, queries, keys)."""
    ### BEGIN SOLUTION
    content = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    return content + torch.einsum("...qd,qkd->...qk", query, position)
    ### END SOLUTION


check("halonet.scale", logits)

# %% [markdown]
# And now the decision, by running it. `with_logits` makes every attention layer of a net ask your function, or another.
# Three readings of one equation, in your halonet26t, against the golden trace:

# %%
logits = theirs_or_ours("halonet.scale", logits)


def both_scaled(query, key, position):
    return logits(query, key, position * query.shape[-1] ** -0.5)


def none_scaled(query, key, position):
    return logits(query, key * query.shape[-1] ** 0.5, position)


for reading, function in {"content": logits, "both": both_scaled, "neither": none_scaled}.items():
    net = lesson.with_logits(HaloNet(CONFIGS["halonet26t"]), function)
    print(f"{reading} scaled: {nw.first_difference(net, 'halonet26t')}\n")

# %% [markdown]
# Note how quiet this is. All three have the same parameters under the same names. And all three can learn the same things:
# what one computes with some keys and tables, another computes with the same keys and tables times constants. So a
# training from the start will not tell you which one you wrote. Published weights will, if you compare numbers. (With tables full of zeros the
# first two agree to the last digit: a test on such a net would pass.)
#
# ## Which pictures it takes
#
# Blocks must tile the map. Where a layer sees a map of stride 16, its blocks of 8 pixels are 128 pixels of the picture
# wide; at stride 32, they are 256. All the published HaloNets were trained and are evaluated at 256×256, as the table below
# says; ResNets are mostly at 224, which no halonet50ts can take.
#
# ### Exercise 8: of what the sides must be multiples
#
# Write `sides(config, wanted)`, which returns two numbers, in pixels: the `multiple`, the smallest number of which both sides
# of a picture may be any multiple, so that at every attention block the map is whole blocks; and the `nearest` such side to
# `wanted`: the larger one at a tie, and at least one multiple. Every stem divides by 4. A stage's stride is its first block's,
# and **an attention block that strides still cuts the map that comes in**. A net without attention takes any picture: its
# multiple is 1.
#
# *7 minutes · medium · eight lines*

# %%
import math


@exercise("halonet.sides")
def sides(config, wanted):
    """(multiple, nearest): of what a picture's sides must be multiples, and the nearest such side to `wanted`."""
    ### BEGIN SOLUTION
    stride, multiple = 4, 1
    for stage in config.stages:
        for i, block in enumerate(stage.blocks):
            if block.spatial_attention:
                multiple = math.lcm(multiple, stride * block.spatial_attention.block_size)
            if i == 0:
                stride *= stage.stride
    nearest = max(1, (wanted + multiple // 2) // multiple) * multiple
    return multiple, nearest
    ### END SOLUTION


check("halonet.sides", sides)

# %%
sides = theirs_or_ours("halonet.sides", sides)
display(
    lesson.table(
        ("weights", "multiple of", "short side", "crop", "share", "interpolation"),
        (
            (
                w.name,
                sides(CONFIGS[w.architecture], 0)[0],
                p.resize,
                p.input_size[0],
                f"{p.crop_pct:.0%}",
                p.interpolation,
            )
            for w in nw.list_weights()
            if w.architecture in CONFIGS
            for p in [w.preprocessing]
        ),
    )
)
lesson.table(
    ("side of the picture", "maps that halonet50ts attends to", "multiple of 8", "goes through", "your nearest"),
    (
        (
            side,
            ", ".join(dict.fromkeys(str(at) for _, at, _ in lesson.attended_sides(CONFIGS["halonet50ts"], side))),
            all(at % block == 0 for _, at, block in lesson.attended_sides(CONFIGS["halonet50ts"], side)),
            lesson.goes_through(nets["halonet50ts"], side),
            sides(CONFIGS["halonet50ts"], side)[1],
        )
        for side in (224, 240, 250, 256, 320)
    ),
)

# %% [markdown]
# There is the answer to the fourth question, and a surprise in it: 250 goes through. Convolutions of stride 2 round up, so
# a side a little below the multiple ends in the same maps, of which the last row and column lie partly outside of the
# picture. Nobody has trained it so, and no error tells. The multiple is the rule to trust: it leaves nothing to rounding.
#
# ### Exercise 9: a picture that does not fit
#
# Two ways lead out: make the picture another size, or add a margin and cut it off again afterwards. The second keeps the
# scale, which is what you want for a map of features, for instance under a detector.
#
# Write `padded(features, pictures, multiple, stride)`. `features` is a function from pictures, `(batch, 3, height, width)`
# with sides that are multiples of `multiple`, to a map that is smaller by `stride`. Add **zeros at the right and at the
# bottom**, as few as needed, none where a side fits (the pictures are normalised: zero is the mean colour). Return the
# part of the map that shows the picture: height and width divided by `stride`, rounded up. The pictures stay as they are.
#
# The cell after it asks which way is the better one, of a net that has learnt something: the toy HaloNet, trained on
# pictures of 64×64, gets 200 test pictures of the same world painted at 80×80, which its blocks do not tile.
#
# *5 minutes · medium · three lines*

# %%
from torch.nn import functional as F


@exercise("halonet.padded")
def padded(features, pictures, multiple, stride):
    """The features of pictures of any size: (batch, channels, height / stride, width / stride), rounded up."""
    ### BEGIN SOLUTION
    height, width = pictures.shape[2:]
    larger = F.pad(pictures, (0, -width % multiple, 0, -height % multiple))
    return features(larger)[:, :, : -(-height // stride), : -(-width // stride)]
    ### END SOLUTION


check("halonet.padded", padded)

# %%
padded = theirs_or_ours("halonet.padded", padded)
trained = nw.create_model("toy_halonet", pretrained=True).eval()
trained_at, size = trained.config.input_size, 80
multiple, nearest = sides(trained.config, size)
pictures, labels = lesson.toy_pictures(trained, size=size)
ways = {
    f"shrunk to {trained_at}, as in training": lambda x: trained.forward_features(lesson.resized(x, trained_at)),
    f"stretched to {nearest}, the nearest multiple of {multiple}": lambda x: trained.forward_features(
        lesson.resized(x, nearest)
    ),
    f"padded to {nearest}": lambda x: padded(trained.forward_features, x, multiple, stride=32),
}
lesson.table(
    (f"pictures of {size}×{size}", "named rightly"),
    ((way, f"{(lesson.answers(trained, pictures, run) == labels).double().mean():.0%}") for way, run in ways.items()),
)

# %% [markdown]
# All three go through, and only one of them is any good. *Goes through* is a statement about shapes. For a **label**, bring
# the picture to the size at which the weights were trained, with `nw.transform_for(net)`. Pad when you need a **map** at
# the picture's own scale, and then expect to finetune.
#
# ## Where heads look
#
# Attention weights can be looked at, which is half of the charm of attention. Here is the toy net's first attention layer and one of its
# pictures: two crosses, far apart, and the net is to say that they are the same. A map of 16×16, blocks of 8 (blue), a halo
# of 3 (orange, dashed), every second pixel asks. Move the query (the small square) and watch three things: how the window
# **jumps** when the query crosses into another block; how much weight falls on the zeros outside of the picture; and
# which head, if any, cares what is in the picture.

# %%
sample = nw.ToyWorld("test")[5]
transform, picture = nw.transform_for(trained), sample["image"] / 255
x = ((picture - transform.mean) / transform.std).unsqueeze(0)  # (1, 3, 64, 64)
look = lesson.look(trained, "stages.1.0.middle.attention", x, picture)
window = (look.block_size + 2 * look.halo) ** 2
print(f"Class: {nw.ToyWorld.classes[sample['label']]}. These weights give back the layer's output to {look.error:.0e}.")
print(f"A head that spreads itself evenly gives each of {window} keys {1 / window:.4f}.")
explore(partial(lesson.draw_look, look), row=At(range(look.side), 3), column=At(range(look.side), 6))

# %% [markdown]
# It is tempting to say that a head *compares the two crosses*. All that the figure shows is where weight lies; whether the
# net would answer otherwise without it is another question, and notebook 09 asks it.
#
# ## What would fool you
#
# - **"The parameter count is right."** Put the attention of a stage into the other blocks: same count. Take the key-value
#   channels for *all keys, then all values*, as many ports have them, where the published file has them head by head: same
#   count, same names, and it loads.
# - **"It trains."** So does the second of these, and just as well: it is the right net with the rows of one matrix in
#   another order. Below, that order is put right, and the difference is gone.

# %%
import dataclasses

published_config = CONFIGS["halonet26t"]
stages = list(published_config.stages)
stages[2] = dataclasses.replace(stages[2], blocks=stages[2].blocks[::-1])
other_order = HaloNet(dataclasses.replace(published_config, stages=tuple(stages)))
mixed_up = HaloNet(published_config)
for layer in mixed_up.modules():
    if isinstance(layer, HaloAttention):
        layer.attend = lesson.keys_then_values

state = nets["halonet26t"].state_dict()
for name, net in {"published": nets["halonet26t"], "other order": other_order, "keys, then values": mixed_up}.items():
    count = sum(parameter.numel() for parameter in net.parameters())
    print(f"{name}: {count:,} parameters, {'loads' if net.state_dict().keys() == state.keys() else 'does not load'}")

sorted_rows = dict(state)
for key, weight in state.items():
    if key.endswith("key_value.weight"):
        keys, values = weight.unflatten(0, (8, -1)).chunk(2, dim=1)  # of each of the 8 heads
        sorted_rows[key] = torch.cat((keys.flatten(0, 1), values.flatten(0, 1)))
print("\nAs it loads:", nw.first_difference(mixed_up, "halonet26t", state=state))
print("\nWith its rows sorted:", nw.first_difference(mixed_up, "halonet26t", state=sorted_rows))

# %% [markdown]
# ## The paper and the published nets
#
# The weights that you can load are timm's. Their model card says that they "did not adhere to any specific paper
# configuration", and the numbers decide, so this notebook follows the published nets throughout.
#
# | | Vaswani et al. 2021 | published (timm) |
# |---|---|---|
# | which nets | H0 to H7, a family scaled in depth, width, block, halo and picture size | four nets on 26, 33 and 50 layers, and hybrids |
# | where attention stands | in the place of every 3×3 convolution, in all stages | in some blocks of the later stages; timm also describes an H1, untrained, with the remark that it runs very slowly |
# | block and halo | 8 and 3 in H0 to H2, others above | 8 and 3, or 8 and 2 |
# | picture | 256 (H0 to H2) up to 600 pixels (H7) | 256 |
# | stem | one 7×7 convolution and a pool, as in ResNet | three 3×3 (24-32-64) and a pool, or a second stride in its place |
# | activation | not compared here | ReLU in halonet26t, SiLU in the other three (the `s`) |
# | stride | every second pixel asks (attention downsampling) | the same if a block can be halved, else a 2×2 mean; halonet50ts needs neither, as each of its stages begins with a convolution |
# | scaling | none in the equation | content only |
# | zeros around the picture | left open | keys like any other: not masked |
# | extras | not compared here | squeeze-and-excitation or ECA in the convolutional blocks of two nets |
# | training | the authors' own | recipe A1 of [Wightman et al. 2021](https://arxiv.org/abs/2110.00476) with stronger regularisation (`a1h`): LAMB, binary cross-entropy, mixup and cutmix; the two others carry `ra2` and `c1` |
#
# ## Recap
#
# - Halo attention has a third of a 3×3 convolution's parameters, and where maps are small fewer multiplications; it is not
#   faster for that.
# - It takes the convolution's place with all that belongs there: normalisation, activation, stride.
# - The scaling, the order of keys and values and the interleaving cannot be seen in a count or a loss. The golden trace
#   sees them.
# - Sides are multiples of stride times block, at the map that a block *sees*. That it goes through does not mean that it
#   is read.
#
# **Next:** 08 · Features, where four nets look at one picture. What was checked in this session, and the time that the
# exercises are meant to take:

# %%
from netwright.lessons import progress

minutes = sum(each.minutes for each in lesson.CHECKS)
print(f"{len(lesson.CHECKS)} exercises, {minutes} minutes by estimate.")
progress()
