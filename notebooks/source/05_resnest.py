# %% [markdown]
# # 05 · ResNeSt-50
#
# Split attention is what ResNeSt is known for, and it is half of the story. Around it the authors changed three more
# things: how a picture comes in, how a map shrinks in the branch, and how it shrinks in the shortcut. Two of the three have
# no parameter at all, and each can be built wrong in a way that nothing but its numbers betrays. In this notebook you
# build them, put them together with the layer of notebook 04, and prove the whole. Afterwards you can
#
# - say what a strided convolution throws away, and show it with a gradient;
# - place every pool of a ResNeSt, with its padding, on maps of any size;
# - count a block's parameters on paper, the attention's small net included;
# - load the published ResNeSt-50 into your own net, and look at what its gates are for by forcing them.
#
# *About an hour. You need the bottleneck of ResNet; split attention itself is imported.*
#
# ### Before you begin: a prediction
#
# Five nets, each of them a ResNeSt-50 but for one place.
#
# 1. The stem has its stride in the third convolution, not in the first.
# 2. The shortcut strides its 1×1 convolution and does not pool.
# 3. The shortcut pools 3×3 with padding, not 2×2.
# 4. The branch pools *before* its split attention, not after it.
# 5. The branch's pool does not count the zeros of its padding.
#
# **How many of the five does a strict loader refuse? Which of them costs a trained net most of its accuracy, and which
# costs next to nothing?** Write it down; near the end you will see.

# %%
import torch
from torch import nn

import netwright as nw
from netwright.lessons import check, exercise, hint, progress, solution, theirs_or_ours
from netwright.lessons import resnest as lesson
from netwright.nets.layers import ConvNormAct  # .conv without bias, .norm, and .act where one is asked for
from netwright.nets.resnest import SplitAttention  # the layer of notebook 04

lesson.draw_stems()

# %% [markdown]
# ## How a picture comes in
#
# ResNet begins with one large convolution, 7×7 with stride 2. He et al. 2018 ("Bag of tricks", arXiv:1812.01187,
# section 4.2) replace it by three of 3×3; the idea is older, from Inception-v2, and they call the result ResNet-C. The
# figure above is drawn with gradients: it shows how many ways lead from each pixel of the picture to one pixel of the map.
# The 7×7 reads a square, all of it alike. The three small ones read a larger one, and mostly its middle; with two more
# ReLUs on the way, they can say more than a weighted sum.
#
# The ResNeSt paper (Zhang et al. 2020, arXiv:2004.08955, section 4.1) says that the two have "the same receptive field
# size with a similar computation cost". You have just seen that the first is not so, and you will count the second.
#
# ### Exercise 1: the deep stem
#
# Write a function `deep_stem(in_chans, width)` that returns a sequence of four layers: three `ConvNormAct` of 3×3 with
# ReLU, and the 3×3 max pool that ResNet has too. The first convolution has stride 2, and so has the pool. The widths are
# `width`, `width` and `2 * width`. Its parameters are then called `0.conv.weight`, `0.norm.weight` … `2.norm.bias`.
#
# *5 minutes · easy · five lines*


# %%
@exercise("resnest.stem")
def deep_stem(in_chans, width):
    """(batch, in_chans, height, width) to (batch, 2 * width, height / 4, width / 4), halves rounded up."""
    ### BEGIN SOLUTION
    return nn.Sequential(
        ConvNormAct(in_chans, width, 3, stride=2, act="relu"),
        ConvNormAct(width, width, 3, act="relu"),
        ConvNormAct(width, 2 * width, 3, act="relu"),
        nn.MaxPool2d(3, stride=2, padding=1),
    )
    ### END SOLUTION


check("resnest.stem", deep_stem)

# %%
from IPython.display import display

display(hint("resnest.stem"))  # folded, as is the library's solution below it; every exercise has both
solution("resnest.stem")

# %% [markdown]
# ## What a stride throws away
#
# Where a ResNet halves its map, the shortcut is a 1×1 convolution of stride 2. It looks at one pixel, moves on by two,
# and looks at one pixel. So of four pixels it sees one. The others do not come through faintly; they do not come through.
# He et al. 2018 noticed it, and call what they put in its place ResNet-D: average four pixels first, then convolve with
# stride 1.
#
# Below, every number is a gradient: how much that input pixel adds to the halved map, if all weights are one, and if a
# fair share is 1.

# %%
deep_stem = theirs_or_ours("resnest.stem", deep_stem)
lesson.draw_reach()

# %% [markdown]
# A 3×3 convolution of stride 2, in the third panel, reads every pixel, but some four times as often as others. ResNeSt
# takes the stride out of it too, and lets a 3×3 mean follow, in the fourth. It is no perfect answer: look at the edges,
# where the padding's zeros are averaged in. We come to that.
#
# ### Exercise 2: the shortcut that pools
#
# Write `pooled_shortcut(in_channels, out_channels, stride)`. It returns
#
# - where nothing changes, `nn.Identity()`;
# - where only the channels change, a 1×1 convolution and its normalisation, no ReLU, called `conv` and `norm`;
# - where `stride` is 2, the same two after an average over 2×2 pixels, *their* stride being 1.
#
# Odd maps are where it gets interesting. A map of 7 pixels must become one of 4, as it does in the branch. The authors
# let the last window hang over the edge (`ceil_mode`), and average the pixels that it has; nothing is filled up.
#
# *6 minutes · medium · half a dozen lines*


# %%
@exercise("resnest.shortcut")
def pooled_shortcut(in_channels, out_channels, stride):
    """A module: (batch, in_channels, height, width) to (batch, out_channels, height / stride, width / stride)."""
    ### BEGIN SOLUTION
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    layers = ConvNormAct(in_channels, out_channels)
    if stride == 1:
        return layers
    shortcut = nn.Sequential()
    shortcut.add_module("pool", nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False))
    shortcut.add_module("conv", layers.conv)
    shortcut.add_module("norm", layers.norm)
    return shortcut
    ### END SOLUTION


check("resnest.shortcut", pooled_shortcut)

# %% [markdown]
# Two remarks. A mean and a 1×1 convolution can change places and compute the same, since one mixes pixels and the other
# channels; after the mean, the convolution has a quarter of the work. The normalisation cannot: it may stand before the
# mean in evaluation, but in training it would measure the statistics of another map. And `count_include_pad=False`,
# which stands in the authors' code, decides nothing here: without padding there is nothing to count.
#
# ### Why means at all?
#
# Zhang 2019 ("Making convolutional networks shift-invariant again", arXiv:1904.11486) gives the reason that signal
# processing has known for long: a map of half the size cannot hold patterns finer than two of *its* pixels, and if they
# are not blurred away first, they come back as other, coarser patterns. Below, a map of rings that grow ever finer.

# %%
pooled_shortcut = theirs_or_ours("resnest.shortcut", pooled_shortcut)
lesson.draw_rings()

# %% [markdown]
# There is one set of rings in the map. Whoever takes every second pixel sees nine. A mean over 2×2 pixels leaves the
# false ones faint, over 3×3 fainter; neither is a good filter (a good one would be longer), and both are far better than
# none.
#
# ### Exercise 3: average down
#
# Now the branch. The split attention always has stride 1. Where the block has stride 2, a 3×3 average pool with stride 2
# and a padding of 1 stands *after* the attention, or *before* it in the variants that the authors call "fast". Both
# orders have the same parameters and the same shapes. After is what ResNeSt-50 does; before makes the 3×3 convolution
# four times cheaper, and reads the gates off another map.
#
# This pool counts its zeros. Of a map full of ones it makes 4/9 in the corner and 2/3 along the top and the left edge. The
# paper chose pools because the zeros of strided convolutions are "suboptimal" at boundaries (section 4.1); its code
# leaves `count_include_pad` at PyTorch's default. You build the code, for its weights were trained so.
#
# Write `AveragedMiddle(channels, stride=1, *, radix, cardinality, average_down)`, a module with the layer under the name
# `attention`: `SplitAttention(channels, radix=…, cardinality=…, dilation=1, norm="batch", act="relu")`.
#
# *7 minutes · medium · half a dozen lines*


# %%
@exercise("resnest.downsample")
class AveragedMiddle(nn.Module):
    def __init__(self, channels, stride=1, *, radix=2, cardinality=1, average_down="after"):
        super().__init__()
        self.average_down = average_down  # "before" or "after"
        ### BEGIN SOLUTION
        options = {"dilation": 1, "norm": "batch", "act": "relu"}
        self.attention = SplitAttention(channels, radix=radix, cardinality=cardinality, **options)
        self.pool = nn.AvgPool2d(3, stride, padding=1) if stride > 1 else nn.Identity()
        ### END SOLUTION

    def forward(self, x):
        """(batch, channels, height, width) to (batch, channels, height / stride, width / stride), rounded up."""
        ### BEGIN SOLUTION
        if self.average_down == "before":
            return self.attention(self.pool(x))
        return self.pool(self.attention(x))
        ### END SOLUTION


check("resnest.downsample", AveragedMiddle)

# %% [markdown]
# ### Exercise 4: the block
#
# A bottleneck as you know it: `reduce`, a 1×1 convolution with normalisation and ReLU down to `mid_channels`; `middle`,
# yours; `expand`, a 1×1 convolution with normalisation up to `out_channels`; `shortcut`, yours; a sum, and a ReLU. There is
# no normalisation behind the middle, where ResNet has its second: split attention brings its own.
#
# Write `ResNeStBlock(in_channels, mid_channels, out_channels, stride=1, **options)` with the four parts under these names.
# `options` are `radix`, `cardinality` and `average_down`.
#
# *6 minutes · easy · half a dozen lines*


# %%
AveragedMiddle = theirs_or_ours("resnest.downsample", AveragedMiddle)


@exercise("resnest.block")
class ResNeStBlock(nn.Module):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1, **options):
        super().__init__()
        ### BEGIN SOLUTION
        self.reduce = ConvNormAct(in_channels, mid_channels, act="relu")
        self.middle = AveragedMiddle(mid_channels, stride, **options)
        self.expand = ConvNormAct(mid_channels, out_channels)
        self.shortcut = pooled_shortcut(in_channels, out_channels, stride)
        ### END SOLUTION

    def forward(self, x):
        """(batch, in_channels, height, width) to (batch, out_channels, height / stride, width / stride), rounded up."""
        ### BEGIN SOLUTION
        y = self.reduce(x)
        y = self.middle(y)
        y = self.expand(y)
        return (y + self.shortcut(x)).relu()
        ### END SOLUTION


check("resnest.block", ResNeStBlock)

# %% [markdown]
# ### Exercise 5: a stage
#
# A stage is `depth` blocks in a row. One of them changes the channels and carries the stride; after it, all blocks keep
# the shape, and their shortcuts are identities. Write `make_stage(depth, in_channels, mid_channels, out_channels, stride,
# **options)`, which returns the blocks as a sequence, so that they are called `0`, `1` and so on.
#
# (Nets for segmentation dilate their last stages instead of striding. None of the eight published ResNeSts does, so
# there is no dilation here; `nw.create_model("resnest50d", output_stride=8)` has it.)
#
# *4 minutes · easy · a loop*


# %%
ResNeStBlock = theirs_or_ours("resnest.block", ResNeStBlock)


@exercise("resnest.stages")
def make_stage(depth, in_channels, mid_channels, out_channels, stride, **options):
    """A module: (batch, in_channels, height, width) to (batch, out_channels, height / stride, width / stride)."""
    ### BEGIN SOLUTION
    blocks = []
    for i in range(depth):
        blocks.append(ResNeStBlock(in_channels, mid_channels, out_channels, stride if i == 0 else 1, **options))
        in_channels = out_channels
    return nn.Sequential(*blocks)
    ### END SOLUTION


check("resnest.stages", make_stage)

# %% [markdown]
# ### Exercise 6: what it costs
#
# Before the net, the bill. Write `parameters(...)`, which counts the learnt numbers of two stems and of the five parts of
# a block by formula, without building anything. It returns whole numbers under these names:
#
# | name | what is counted |
# |---|---|
# | `"7x7 stem"` | ResNet's: one 7×7 convolution of 3 colours to `2 * stem_width` channels, and its normalisation |
# | `"deep stem"` | yours, for 3 colours |
# | `"reduce"`, `"expand"` | the 1×1 convolutions and their normalisations |
# | `"splits"` | the 3×3 convolution of the split attention, in `radix * cardinality` groups, and its normalisation |
# | `"gates"` | its small net: two 1×1 convolutions with biases in `cardinality` groups, and the normalisation between |
# | `"shortcut"` | 0 where it is the identity |
#
# A normalisation learns a scale and a shift a channel. The hidden layer of the small net has
# `max(32, mid_channels * radix // 4)` channels.
#
# *8 minutes · medium · a dozen lines*


# %%
make_stage = theirs_or_ours("resnest.stages", make_stage)


@exercise("resnest.cost")
def parameters(stem_width, in_channels, mid_channels, out_channels, stride, *, radix, cardinality):
    """Name of a part -> the number of its parameters."""
    ### BEGIN SOLUTION
    splits = radix * mid_channels
    hidden = max(32, mid_channels * radix // 4)
    projects = stride > 1 or in_channels != out_channels
    return {
        "7x7 stem": 49 * 3 * 2 * stem_width + 2 * 2 * stem_width,
        "deep stem": 9 * (3 * stem_width + stem_width**2 + 2 * stem_width**2) + 2 * 4 * stem_width,
        "reduce": in_channels * mid_channels + 2 * mid_channels,
        "splits": 9 * (mid_channels // (radix * cardinality)) * splits + 2 * splits,
        "gates": (mid_channels // cardinality + 1) * hidden + 2 * hidden + (hidden // cardinality + 1) * splits,
        "expand": mid_channels * out_channels + 2 * out_channels,
        "shortcut": in_channels * out_channels + 2 * out_channels if projects else 0,
    }
    ### END SOLUTION


check("resnest.cost", parameters)

# %% [markdown]
# Look at the radix in `"splits"`: it multiplies the outputs and divides the inputs, so it cancels. Two splits cost the
# convolution nothing; what they cost is the small net, and the memory of a map twice as thick.
#
# Now each change by itself, from ResNet-50 to two published ResNeSts. Parameters and multiply-adds only: they are exact,
# and they say nothing about accuracy. For that, ask who trained both sides alike: He et al. 2018 (table 5) report 76.21 %
# for ResNet-50 and 77.16 % for ResNet-50-D in one and the same training, and that is a comparison. ResNeSt-50's published
# 81 % beside them would be none, for it was trained in a way of its own.

# %%
parameters = theirs_or_ours("resnest.cost", parameters)

count = parameters(32, 64, 64, 256, 1, radix=2, cardinality=1)
print(f"The first block with its stem: {count}\n")
total, channels = count["deep stem"] + (2048 + 1) * 1000, 64  # the classifier: 2048 features, a bias, 1000 classes
for depth, planes in ((3, 64), (4, 128), (6, 256), (3, 512)):
    for i in range(depth):
        stride = 2 if i == 0 and planes > 64 else 1
        part = parameters(32, channels, planes, 4 * planes, stride, radix=2, cardinality=1)
        total += sum(number for name, number in part.items() if "stem" not in name)
        channels = 4 * planes
entry = nw.list_weights("resnest50d.*")[0]
print(f"ResNeSt-50 by your formula: {total:,} parameters. {entry.name}, as published: {entry.parameters:,}.")

lesson.table(
    ("net", "parameters", "multiply-adds at 224×224"),
    ((cost.name, f"{cost.parameters:,}", f"{cost.macs / 1e9:.2f} G") for cost in lesson.costs(side=224)),
)

# %% [markdown]
# Read it step by step. The deep stem is *not* as cheap as the 7×7: it works on a map of 112×112 pixels, where everything is
# dear. The pooled shortcut is free. And of what split attention seems to cost, nearly all is not the attention but the
# place of the pool: its 3×3 convolutions now run on maps that have not been halved yet. With the pool before, that is gone.
#
# ### Exercise 7: the net
#
# Put it together: `stem`, then `stages`, each a stage of yours, then the mean over all pixels and a linear `classifier`.
# As arguments come `depths` and `planes`, one of each for every stage. A stage puts out `4 * planes` channels; its middles
# are as wide as ResNeXt's, `planes * base_width // 64 * cardinality`, rounded before it is multiplied. The first
# stage has stride 1, because the stem has shrunk the picture enough; every other has stride 2. `options` are `radix`
# and `average_down`, for every block; hand `cardinality` to the blocks as well.
#
# *8 minutes · medium · a dozen lines*


# %%
@exercise("resnest.net")
class ResNeSt(nn.Module):
    def __init__(
        self,
        depths,
        planes=(64, 128, 256, 512),
        *,
        stem_width=32,
        cardinality=1,
        base_width=64,
        num_classes=1000,
        **options,
    ):
        super().__init__()
        ### BEGIN SOLUTION
        self.stem = deep_stem(3, stem_width)
        self.stages = nn.Sequential()
        channels, stride = 2 * stem_width, 1
        for depth, width in zip(depths, planes, strict=True):
            middle = width * base_width // 64 * cardinality
            stage = make_stage(depth, channels, middle, 4 * width, stride, cardinality=cardinality, **options)
            self.stages.append(stage)
            channels, stride = 4 * width, 2
        self.classifier = nn.Linear(channels, num_classes)
        ### END SOLUTION

    def forward(self, x):
        """(batch, 3, height, width) to logits (batch, num_classes)."""
        ### BEGIN SOLUTION
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.classifier(x.mean((2, 3)))
        ### END SOLUTION


check("resnest.net", ResNeSt)

# %%
import torchinfo

ResNeSt = theirs_or_ours("resnest.net", ResNeSt)
resnest50 = ResNeSt((3, 4, 6, 3))
summary = torchinfo.summary(
    resnest50,
    (1, 3, 224, 224),
    depth=2,
    col_names=("output_size", "num_params", "mult_adds"),
    col_width=20,
    row_settings=("var_names",),
    verbose=0,
)
print(summary)
lesson.draw_shapes(resnest50)

# %% [markdown]
# ## Proof
#
# Small nets in a check are one thing. Here are two whole ones, made of your parts: ResNeSt-50, and the "fast" one with 4
# splits in 2 cardinal groups of base width 40, whose pools come first. Each is given golden weights and compared, at
# every part of every block, with what timm's net made of them: first by name, then through a file in the authors' own
# layout, whose keys have to find their places.

# %%
from netwright.weights.keymaps import rename


def load(net, state):
    """`state` in the layout of ResNeSt's authors, into a net of ours, strictly."""
    names = rename(state, "resnest")
    net.load_state_dict({names[key]: tensor for key, tensor in state.items()}, strict=True)
    return net.eval()


fast = ResNeSt((3, 4, 6, 3), radix=4, cardinality=2, base_width=40, average_down="before")
traces = []
for architecture, net in (("resnest50d", resnest50), ("resnest50d_4s2x40d", fast)):
    print(nw.first_difference(net, architecture))
    file = nw.golden_checkpoint(architecture, "resnest")
    traces.append(nw.first_difference(load(net, file), architecture, state=None))
    key = next(key for key in file if "conv2.fc1" in key)
    print(f"    through a file of {len(file)} keys such as {key!r}: {'equal' if traces[-1].ok else 'different'}")
traces[-1].figure()

# %% [markdown]
# ## The published weights
#
# What remains is the publisher's file, through the same map. Without a network and without the file, this cell says so;
# nothing after it needs them.

# %%
from matplotlib import cbook

from netwright.weights.fetch import WeightsUnavailable, fetch
from netwright.weights.read import read_checkpoint

try:
    mine = load(ResNeSt((3, 4, 6, 3)), read_checkpoint(fetch(entry)))
    library = nw.create_model("resnest50d", pretrained=True).eval()
    picture = nw.open_image(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    x = nw.transform_for(library)(picture).unsqueeze(0)
    with torch.inference_mode():
        print(f"Largest difference to the library's own loading: {(mine(x) - library(x)).abs().max():.1g}.")
    for name, probability in nw.classify(library, picture):
        print(f"{probability:6.1%}  {name}")
except WeightsUnavailable:
    file = entry.files[0]
    print(f"Offline: {file.filename} ({file.size_text}) is not on this machine, so this part waits for a network.")

# %% [markdown]
# ## It learns
#
# Your net, small, on the toy world's six textures. Beside it, a twin that differs in one word: its pools stand before
# the attention. For a toy either is a fair design, so imagine that the second is a slip. Would the curve tell?
#
# It is a look, not a measurement: one seed each, and some seconds of training.

# %%
from netwright.lessons.toy_training import draw_learning, learn_toys

learnings = {}
for name, place in (("mine", "after"), ("the slip", "before")):
    torch.manual_seed(0)
    small = ResNeSt((1, 1, 1, 1), (8, 16, 32, 64), stem_width=8, num_classes=6, average_down=place)
    learnings[name] = learn_toys(small)
draw_learning(learnings)

# %% [markdown]
# Both learn, as every net does whose gradients flow. From inside its own training, a misplaced pool cannot be seen: the
# net learns *around* it. It shows where weights come from somebody who placed it right.
#
# ## What are the gates for?
#
# A gate that is always one half might as well not be there. To find out what the gates of a trained net do, change
# them, and see what becomes of its answers. For that you need a tool that leaves nothing behind.
#
# ### Exercise 8: force the gates
#
# Every `SplitAttention` calls its own method `gates(pooled)`, which returns a tensor (batch, radix, channels). Write
# `force_gates(net, x, change)`, which returns the logits of `net` for `x` as they would be if every split attention in
# the net, however deep, used `change(gates)` for its gates. The net runs in evaluation mode.
#
# Afterwards the net is as it was before: it uses its own gates, each of its modules is in the mode it was in (some may
# have been frozen), its buffers have not moved, and hooks that somebody else had placed are still there. That holds
# also if `change` or the net raises, and then the exception comes out.
#
# *10 minutes · hard · a dozen lines*


# %%
@exercise("resnest.force")
def force_gates(net, x, change):
    """change: gates (batch, radix, channels) of one layer after another -> others of the same shape."""
    ### BEGIN SOLUTION
    modes = [(module, module.training) for module in net.modules()]
    layers = [module for module in net.modules() if isinstance(module, SplitAttention)]

    def changed(layer):
        own = layer.gates
        return lambda pooled: change(own(pooled))

    try:
        net.eval()
        for layer in layers:
            layer.gates = changed(layer)
        with torch.no_grad():
            return net(x)
    finally:
        for layer in layers:
            layer.__dict__.pop("gates", None)
        for module, mode in modes:
            module.training = mode
    ### END SOLUTION


check("resnest.force", force_gates)

# %% [markdown]
# ### By depth and class
#
# Force the gates to what they are, keep a copy on the way, and you have a recorder. Below, the toy ResNeSt that comes with
# the workbook, trained on twenty classes, and ten test pictures of each. A row is a class, a column a channel; red means
# that the channel takes the first split, blue the second. Move the sliders. Are the rows alike? Then the gate is a
# habit. Do they differ? Then it has something to do with the class.

# %%
from netwright.lessons.sliders import At, explore

force_gates = theirs_or_ours("resnest.force", force_gates)
toy = nw.create_model("toy_resnest", pretrained=True).eval()
seen = lesson.toy_pictures(toy, each=10)
gates = lesson.record_gates(force_gates, toy, seen)

habits = [(one[:, 0].mean(0) - 0.5).abs().mean().item() for one in gates]
spreads = [one[:, 0].std(0).mean().item() for one in gates]
for depth, (habit, spread) in enumerate(zip(habits, spreads, strict=True), start=1):
    print(
        f"layer {depth}: a channel's mean gate is {habit:.2f} from one half; from picture to picture it moves by {spread:.2f}"
    )


def draw(depth, group):
    return lesson.draw_gates(gates, seen, depth, group)


explore(draw, depth=At(range(1, len(gates) + 1), start=len(gates)), group=("texture", "shape", "relation"))

# %% [markdown]
# In this net the deepest gates move least from picture to picture, and what they move by has most to do with the class.
#
# ### By force
#
# A gate that differs between classes may still be a passenger. So push: a part of the way, or all of it, from the net's own
# gates to
#
# - **1/radix**, no preference at all;
# - **the mean of the batch**, every channel's habit, blind to the picture;
# - **another picture's**, well-formed gates for the wrong reason.

# %%
forced = lesson.watch_forced(force_gates, toy, seen)


def draw(forced_by, towards):
    return lesson.draw_forced(forced, towards, forced_by)


explore(
    draw,
    forced_by=At([round(100 * share) for share in lesson.SHARES], start=100),
    towards=At(lesson.TARGETS, "mean of the batch"),
)

# %% [markdown]
# The mean of the batch takes away only what the gates knew of *this* picture. What falls with it is what they were used
# for, and the bars say in which classes. (Two hundred pictures and one net: a difference of a few per cent is noise.
# And a net that was trained with its gates misses them more than one that never had any would; this is an intervention
# on one net, not a verdict on the design.)
#
# ## What would fool you
#
# Now the five nets of the prediction. First each with golden weights, where the trace says at which point it departs from
# ResNeSt-50. Then the same five faults in the toy net with its trained weights, on the pictures above.

# %%
configs = {name: nw.create_model(name).config for name in ("resnest50d", "toy_resnest")}
golden = nw.golden_checkpoint("resnest50d", "netwright")
sound = lesson.shapes_at_blocks(lesson.impostor(configs["toy_resnest"], toy.state_dict()), seen.inputs[:2])

rows = []
for name, fault in {"none": None, **lesson.FAULTS}.items():
    departs = nw.first_difference(lesson.impostor(configs["resnest50d"], golden, fault), state=None).first
    wrong = lesson.impostor(configs["toy_resnest"], toy.state_dict(), fault)
    misfits = wrong.load_state_dict(toy.state_dict(), strict=False)  # the keys that fit nowhere, or are missing
    with torch.inference_mode():
        right = (wrong(seen.inputs).argmax(1) == seen.labels).sum().item()
    same = lesson.shapes_at_blocks(wrong, seen.inputs[:2]) == sound
    rows.append(
        (
            name,
            "no" if any(misfits) else "yes",
            "yes" if same else "no",
            f"{right} of {len(seen.labels)}",
            departs.point if departs else "nowhere",
        )
    )
heads = ("fault", "loads strictly", "all shapes right", "toy pictures named rightly", "trace departs at")
lesson.table(heads, rows)

# %% [markdown]
# All five load, and all have the right shape at every part of every block. One costs more than half of the accuracy. One is
# as good as the right net, and nobody would ever find it by evaluating; the trace finds it at the first block in which it
# stands.
# How much a fault costs and how easily it is found have nothing to do with each other.
#
# Two more of the kind. `print(net)` shows modules in the order in which they were *made*: in the authors' net the pool is
# printed above the convolution and runs after it, and somebody who was porting it
# [asked about just that](https://github.com/zhanghang1989/ResNeSt/issues/43). And an error of padding hides on even
# maps: on a picture of 224 no shortcut window ever hangs over an edge. The checks here use odd sizes, and the golden
# picture is 72 pixels wide, so that its maps are 18, 9, 5 and 3.
#
# ## Paper and published code
#
# | | paper | code of the authors, and here |
# |---|---|---|
# | stem, receptive field | that of the 7×7 (section 4.1) | 11×11 before the max pool |
# | stem, cost | similar (section 4.1) | see the table above |
# | where the pool stands | before or after, by variant ("fast": before) | `avd_first`; a block of stride 1 has none, and so has the first stage |
# | zeros of that pool | not said | counted |
# | shortcut on odd maps | not said | rounds up, averages what is there |
# | what a split sees | `U_i = F_i(X)`, all channels (section 3.1); one of RK groups (section 3.2) | one of RK groups |
# | radix 1 | sigmoid (section 3.1) | the same |
#
# timm's nets are the authors', but for one thing in training: its stochastic depth drops the input of the shortcut
# instead of the branch. Ours drops the branch.
#
# ## Recap
#
# - A 1×1 convolution of stride 2 never sees three pixels of four. Average first: it costs nothing.
# - The stride of a ResNeSt is a pool with a padding of its own, and it has two possible places. Parameters and shapes do
#   not tell them apart; values do.
# - The radix is free in the convolution and is paid for in the small net that makes the gates.
# - Gates that vary are not yet gates that matter. Force them, and give everything back.
#
# **Next:** 06 · Local attention, where the middle of the block stops being a convolution at all.

# %%
from netwright.lessons.engine import find

minutes = [find(each.id).minutes for each in lesson.CHECKS]
print(f"{len(minutes)} exercises, estimated at {sum(minutes)} minutes for somebody who has read up to each.")
progress()
