# %% [markdown]
# # 01 · ResNet-50
#
# In 2015 nets had got deeper every year, and then it stopped working: a net of 56 layers was worse than one of 20, not on
# new pictures only but on those it was trained on ([He et al. 2015](https://arxiv.org/abs/1512.03385), figure 1). The
# remedy is one addition. A block no longer computes what the map shall become, but what shall be *added* to it:
# `x + branch(x)`. All nets of this workbook are built on that, and so you build this one from its smallest part to its
# last. At the end you have
#
# - written BatchNorm, with the memory that most who use it have never looked at,
# - a bottleneck, a stage and a ResNet-50 of your own, proven against numbers that an independent net has made,
# - counted its parameters and multiply-adds before it existed, and been right,
# - seen what the shortcut does to the gradient, and what a trained net does without it.
#
# *About 90 minutes. You have been through 00.*
#
# ### Before you begin: four predictions
#
# 1. Fifty bottlenecks in a row, normalised everywhere, **without** shortcuts, nothing trained yet. The gradient at the
#    first block, compared with that at the last: is it **much smaller, about the same, or much larger**?
# 2. ResNet-50 has four stages. **Which has the most parameters, and which the most multiply-adds?**
# 3. From a trained ResNet you cut out **one block's branch**: three convolutions and their normalisations, gone. How many
#    of its answers are still right? And if you cut its **shortcut** instead?
# 4. Somebody's BatchNorm keeps a variance that is slightly wrong. You compare it with torch's in training mode, and in
#    evaluation mode when it is fresh. **In which of the two do you find out?**

# %%
from collections import OrderedDict

import torch
from IPython.display import display
from torch import nn

import netwright as nw
from netwright.lessons import check, exercise, hint, theirs_or_ours
from netwright.lessons import resnet as lesson

torch.set_num_threads(1)  # in nets this small, two threads mostly wait for each other

# %% [markdown]
# ## A layer that remembers
#
# BatchNorm ([Ioffe and Szegedy 2015](https://arxiv.org/abs/1502.03167)) is two layers under one name. **In training mode**
# it gives each channel mean 0 and variance 1 over the pictures and pixels of the batch, and then a scale and a shift that
# are learned. **In evaluation mode** there may be one picture only, so it uses averages that it has kept while it was
# trained. What it keeps is where most people have never looked.
#
# ### Exercise 1: BatchNorm
#
# Write it, without `nn.BatchNorm2d` and `F.batch_norm`. `BatchNorm2d(channels, eps=1e-5, momentum=0.1)` has
#
# - two parameters, `weight` and `bias`, one number a channel, that begin at 1 and 0;
# - three buffers: `running_mean` and `running_var`, that begin at 0 and 1, and `num_batches_tracked`, the whole number 0
#   as a tensor without dimensions. Buffers are saved and moved with a net, and no optimiser touches them.
#
# In training mode it normalises with the batch's mean and its **biased** variance, which divides by the number of values
# (Ioffe and Szegedy, algorithm 1). It then moves its averages by a share `momentum` towards the batch's mean and its
# **unbiased** variance, which divides by one less (algorithm 2), and counts the batch. In evaluation mode it
# normalises with the averages and changes nothing. `eps` is added to the variance before the root is taken.
#
# *12 minutes · medium · a dozen lines*


# %%
@exercise("resnet.batchnorm")
class BatchNorm2d(nn.Module):
    """(batch, channels, height, width) to the same shape: each channel normalised, scaled and shifted."""

    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        ### BEGIN SOLUTION
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        mean, var = self.running_mean, self.running_var
        if self.training:
            var, mean = torch.var_mean(x, (0, 2, 3), correction=0)  # (channels,) each
            count = x.numel() / len(mean)  # of the values that each mean is a mean of
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * count / (count - 1), self.momentum)
                self.num_batches_tracked += 1
        scale = self.weight / (var + self.eps).sqrt()
        shift = self.bias - mean * scale
        return x * scale[:, None, None] + shift[:, None, None]
        ### END SOLUTION


display(check("resnet.batchnorm", BatchNorm2d))
hint("resnet.batchnorm")  # three, folded into each other; every exercise has them

# %% [markdown]
# ## The word that these nets are written in
#
# Convolution, normalisation, ReLU: from here on always together, so the three get one name. This one is given. Its
# convolution has no bias, since the normalisation would subtract it again and brings one of its own; and it is padded so
# that only a stride makes a map smaller.
#
# ### Exercise 2: the shortcut
#
# Where a block keeps the shape of its map, the shortcut is the identity and costs nothing. Where the channels change, or
# the stride is not 1, `x` no longer fits what the branch made of it, and has to be *projected*: a 1×1 convolution with
# the block's stride, and its normalisation, no ReLU (section 3.3, option B).
#
# Write `projection(in_channels, out_channels, stride)`, which returns the one or the other: a module without parameters,
# or one whose parameters are called `conv.weight`, `norm.weight`, … as in a `ConvNormAct`.
#
# *4 minutes · easy · three lines*


# %%
BatchNorm2d = theirs_or_ours("resnet.batchnorm", BatchNorm2d)


class ConvNormAct(nn.Sequential):
    """A convolution, its norm and, with act="relu", a ReLU. Its parameters are called conv.weight, norm.weight, …"""

    def __init__(self, in_channels, out_channels, kernel_size=1, *, stride=1, act=None):
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)
        parts = OrderedDict(conv=conv, norm=BatchNorm2d(out_channels))
        if act == "relu":
            parts["act"] = nn.ReLU()
        super().__init__(parts)


@exercise("resnet.projection")
def projection(in_channels, out_channels, stride):
    """The shortcut of a block: the identity where the shape stays, else a strided 1x1 convolution with its norm."""
    ### BEGIN SOLUTION
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return ConvNormAct(in_channels, out_channels, stride=stride)
    ### END SOLUTION


display(check("resnet.projection", projection))
hint("resnet.projection")

# %% [markdown]
# ### Exercise 3: the bottleneck
#
# A 3×3 convolution over many channels is dear. So a 1×1 first makes them few, and another makes them many again
# (figure 5, right). `Bottleneck(in_channels, mid_channels, out_channels, stride=1)` has four parts:
#
# - `reduce`: 1×1 to `mid_channels`, normalised, ReLU
# - `middle`: 3×3, normalised, ReLU. **The stride is here**, as in all published weights that this workbook loads. The
#   authors' own nets had it in `reduce`; the parameters are the same, so no loader can tell.
# - `expand`: 1×1 to `out_channels`, normalised
# - `shortcut`: your projection
#
# Branch and shortcut are added, and the ReLU comes after the addition (figure 2). Leave `x` as it was: somebody else
# may still need it.
#
# *8 minutes · medium · ten lines*


# %%
projection = theirs_or_ours("resnet.projection", projection)


@exercise("resnet.bottleneck")
class Bottleneck(nn.Module):
    """(batch, in_channels, height, width) to (batch, out_channels, height / stride, width / stride)."""

    def __init__(self, in_channels, mid_channels, out_channels, stride=1):
        super().__init__()
        ### BEGIN SOLUTION
        self.reduce = ConvNormAct(in_channels, mid_channels, act="relu")
        self.middle = ConvNormAct(mid_channels, mid_channels, 3, stride=stride, act="relu")
        self.expand = ConvNormAct(mid_channels, out_channels)
        self.shortcut = projection(in_channels, out_channels, stride)
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        y = self.reduce(x)
        y = self.middle(y)
        y = self.expand(y)
        return (y + self.shortcut(x)).relu()
        ### END SOLUTION


display(check("resnet.bottleneck", Bottleneck))
hint("resnet.bottleneck")

# %% [markdown]
# ## Why the identity helps
#
# Your block, fifty times in a row. Once as it is; once with zeros in place of its shortcut; once as it is, but with the
# last normalisation of each branch starting at zero instead of one. Same random numbers, same input, no step trained. The
# curves show the gradient at each block, on a scale of powers of ten: how loudly the loss speaks there.

# %%
Bottleneck = theirs_or_ours("resnet.bottleneck", Bottleneck)
curves = {
    "without shortcut": lesson.gradients_by_depth(Bottleneck, shortcut=False),
    "with shortcut": lesson.gradients_by_depth(Bottleneck),
    "with shortcut, last normalisation at zero": lesson.gradients_by_depth(Bottleneck, last=0.0),
}
grown = curves["without shortcut"][0] ** (1 / (3 * len(curves["without shortcut"])))
print(
    f"Without shortcuts the gradient grows by a factor of {grown:.2f} at every convolution, on its way to the picture."
)
lesson.draw_gradients(curves)

# %% [markdown]
# Your first prediction. Most people say *smaller*, because "vanishing gradients" is what one has heard. With BatchNorm it
# is the other way round: without shortcuts the gradient **explodes**. For fully-connected nets it is proven that no size of
# the random weights prevents it ([Yang et al. 2019](https://arxiv.org/abs/1902.08129)). He et al. themselves thought
# vanishing gradients *unlikely* to be the reason why their plain nets fail (section 4.1).
#
# Look at the formula: `x + branch(x)` has the derivative 1 + branch′(x), and that 1 is there at every depth. A product
# of fifty matrices becomes a sum of paths, one of which meets no weight on its way. And with the last normalisation at
# zero each block *begins* as the identity: a net of any depth starts as a shallow one, and grows as deep as it needs.
#
# ### Exercise 4: a stage
#
# Blocks that share one resolution. The **first** block goes from `in_channels` to `out_channels` and carries the stride;
# the others keep the shape. `stage(in_channels, mid_channels, out_channels, depth, stride)` returns an `nn.Sequential` of
# `depth` blocks, so that their names are `0`, `1`, …
#
# *4 minutes · easy · three lines*


# %%
@exercise("resnet.stage")
def stage(in_channels, mid_channels, out_channels, depth, stride):
    """`depth` bottlenecks in a row, of which the first changes the shape."""
    ### BEGIN SOLUTION
    blocks = [Bottleneck(in_channels, mid_channels, out_channels, stride)]
    blocks += [Bottleneck(out_channels, mid_channels, out_channels) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)
    ### END SOLUTION


display(check("resnet.stage", stage))
hint("resnet.stage")

# %% [markdown]
# ## Predict, then build
#
# Whoever can count a net has understood it. Before ResNet-50 exists, you say how large it is and what it costs, from a
# few numbers: four stages of 3, 4, 6 and 3 bottlenecks, with 64, 128, 256 and 512 channels in their middles, and four
# times as many behind them. The stem is a 7×7 convolution from 3 to 64 channels.
#
# ### Exercise 5: parameters
#
# `parameters(depths, widths, num_classes=1000)` returns a list of whole numbers: what the stem learns, what each stage
# learns, what the classifier learns. Use formulas, build nothing. The stem has `widths[0]` channels; the first block of
# every stage has a projection, since the channels change; the classifier has a bias, no convolution has. A normalisation
# learns a scale and a shift. Its running averages are kept, not learned, and do not count.
#
# *8 minutes · medium · a dozen lines*


# %%
@exercise("resnet.parameters")
def parameters(depths, widths, num_classes=1000):
    """[stem, one count for each stage, classifier] of a ResNet of bottlenecks."""
    ### BEGIN SOLUTION

    def conv(in_channels, out_channels, kernel_size=1):
        return kernel_size**2 * in_channels * out_channels + 2 * out_channels  # no bias; the norm's scale and shift

    counts = [conv(3, widths[0], 7)]
    channels = widths[0]
    for depth, width in zip(depths, widths, strict=True):
        count = conv(channels, 4 * width)  # the first block's shortcut
        for _ in range(depth):
            count += conv(channels, width) + conv(width, width, 3) + conv(width, 4 * width)
            channels = 4 * width
        counts.append(count)
    return [*counts, (channels + 1) * num_classes]
    ### END SOLUTION


display(check("resnet.parameters", parameters))
hint("resnet.parameters")

# %% [markdown]
# ### Exercise 6: multiply-adds
#
# What a block costs is counted in multiply-adds (MACs): each number that a convolution puts out is a sum of products, as
# many as its kernel has places, times the channels that it reads.
#
# `macs(in_channels, mid_channels, out_channels, height, width, stride=1)` returns those of your bottleneck for one map of
# `height` × `width`, as a dictionary with the keys `"reduce"`, `"middle"`, `"expand"` and `"shortcut"`. An identity costs 0.
# Normalisations, ReLUs and the addition are left out, as everybody does. Mind odd sizes: padded as ours are, a stride of
# 2 makes 4 of 7.
#
# *8 minutes · medium · ten lines*


# %%
@exercise("resnet.macs")
def macs(in_channels, mid_channels, out_channels, height, width, stride=1):
    """Multiply-adds of each convolution of a bottleneck, by the name of its part."""
    ### BEGIN SOLUTION
    inside = height * width
    outside = -(-height // stride) * -(-width // stride)  # rounded up
    projects = stride != 1 or in_channels != out_channels
    return {
        "reduce": in_channels * mid_channels * inside,
        "middle": 9 * mid_channels * mid_channels * outside,
        "expand": mid_channels * out_channels * outside,
        "shortcut": in_channels * out_channels * outside if projects else 0,
    }
    ### END SOLUTION


display(check("resnet.macs", macs))
hint("resnet.macs")

# %% [markdown]
# Now the prediction, for a picture of 224×224 pixels. The stem halves it twice, so the first stage sees 56×56.

# %%
parameters, macs = theirs_or_ours("resnet.parameters", parameters), theirs_or_ours("resnet.macs", macs)
DEPTHS, WIDTHS, STRIDES = (3, 4, 6, 3), (64, 128, 256, 512), (1, 2, 2, 2)


def by_stage(macs):
    """The shape behind each stage, and the multiply-adds in it, where `macs` counts a block."""
    found, channels, side = [], 64, 56
    for depth, width, stride in zip(DEPTHS, WIDTHS, STRIDES, strict=True):
        total = sum(macs(channels, width, 4 * width, side, side, stride).values())
        channels, side = 4 * width, side // stride
        total += (depth - 1) * sum(macs(channels, width, channels, side, side).values())
        found.append(((channels, side, side), total))
    return found


names = ["stem", *(f"stages.{i}" for i in range(4)), "classifier"]
learned = dict(zip(names, parameters(DEPTHS, WIDTHS), strict=True))
shapes, costs = zip(((64, 56, 56), 64 * 147 * 112**2), *by_stage(macs), ((1000,), 2048 * 1000), strict=True)
lesson.table(
    ("part", "shape behind it", "parameters", "million multiply-adds"),
    (
        (name, " × ".join(map(str, shape)), f"{learned[name]:,}", f"{cost / 1e6:,.1f}")
        for name, shape, cost in zip(names, shapes, costs, strict=True)
    ),
)

# %% [markdown]
# Your second prediction is in this table: most of the parameters sit in the last stage, where a map has hardly any
# pixels left, and most of the arithmetic in the third. Parameters and cost are two different things.
#
# ### Exercise 7: where training begins
#
# `initialise(net)` overwrites the random numbers that torch put in, and returns nothing:
#
# - a convolution's weights are drawn from a normal distribution with mean 0 and variance 2 / fan_out, where fan_out is the
#   output channels times the kernel's area ([He et al. 2015b](https://arxiv.org/abs/1502.01852), section 2.2);
# - a normalisation starts with scale 1 and shift 0; but the last one of each branch, `expand.norm`, with scale **0**
#   ([Goyal et al. 2017](https://arxiv.org/abs/1706.02677), section 5.1), for the reason that you saw above;
# - the classifier stays as torch made it.
#
# Tell normalisations by their **names** (`….norm.weight`, `….norm.bias`), not by their class: the net may be made of
# classes that this function has never heard of, your own BatchNorm for one. Convolutions are always `nn.Conv2d`.
#
# *8 minutes · medium · eight lines*


# %%
@exercise("resnet.init")
def initialise(net):
    """Random numbers to train from, for any net whose norms are called `norm` and whose branches end in `expand`."""
    ### BEGIN SOLUTION
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    for name, parameter in net.named_parameters():
        if name.endswith("norm.weight"):
            nn.init.constant_(parameter, 0 if name.endswith("expand.norm.weight") else 1)
        elif name.endswith("norm.bias"):
            nn.init.zeros_(parameter)
    ### END SOLUTION


display(check("resnet.init", initialise))
hint("resnet.init")

# %% [markdown]
# ### Exercise 8: the head
#
# Behind the last stage each channel is averaged over all of its pixels, whatever the size of the picture, and a linear
# layer makes logits of the averages. `head(num_features, num_classes)` returns these two modules, the pool and the
# classifier: the first makes (batch, num_features) of a map, the second (batch, num_classes) of that. With
# `num_classes=0` there is nothing to classify: the second hands on what it gets, and the net returns *embeddings*.
#
# The classifier's parameters are called `weight` and `bias`, and the pool has none.
#
# *4 minutes · easy · two lines*


# %%
@exercise("resnet.head")
def head(num_features, num_classes):
    """The pool, maps (batch, num_features, height, width) to (batch, num_features), and the classifier."""
    ### BEGIN SOLUTION
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier = nn.Linear(num_features, num_classes) if num_classes else nn.Identity()
    return pool, classifier
    ### END SOLUTION


display(check("resnet.head", head))
hint("resnet.head")

# %% [markdown]
# ### Exercise 9: the net
#
# Everything together. `ResNet(depths, widths, num_classes=1000)` has four parts:
#
# - `stem`: an `nn.Sequential` of a 7×7 `ConvNormAct` with stride 2 and ReLU, from 3 to `widths[0]` channels, and a 3×3 max
#   pool with stride 2 and padding 1
# - `stages`: an `nn.ModuleList` of stages with `depths[i]` blocks, `widths[i]` channels in their middles, four times as
#   many behind them. The first has stride 1, because the pool has just strided; all others 2
# - `pool` and `classifier`: your head
#
# and calls `initialise(self)` when it is complete.
#
# *10 minutes · medium · fifteen lines*


# %%
stage, head = theirs_or_ours("resnet.stage", stage), theirs_or_ours("resnet.head", head)
initialise = theirs_or_ours("resnet.init", initialise)


@exercise("resnet.net")
class ResNet(nn.Module):
    """Pictures (batch, 3, height, width) to logits (batch, num_classes), or to embeddings where num_classes is 0."""

    def __init__(self, depths, widths, num_classes=1000):
        super().__init__()
        ### BEGIN SOLUTION
        channels = widths[0]
        self.stem = nn.Sequential(
            ConvNormAct(3, channels, 7, stride=2, act="relu"),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.stages = nn.ModuleList()
        for i, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            self.stages.append(stage(channels, width, 4 * width, depth, stride=1 if i == 0 else 2))
            channels = 4 * width
        self.pool, self.classifier = head(channels, num_classes)
        initialise(self)
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        x = self.stem(x)
        for blocks in self.stages:
            x = blocks(x)
        return self.classifier(self.pool(x))
        ### END SOLUTION


display(check("resnet.net", ResNet))
hint("resnet.net")

# %% [markdown]
# ## ResNet-50
#
# One line builds it. The summary is torchinfo's, for a batch of one picture; its multiply-adds are a trifle larger, since it
# counts the normalisations' numbers as well. Then count what really runs: `lesson.watch` hangs a hook on every module,
# sends one picture through, and writes down shapes and multiply-adds; beside them is your prediction, number by number.
# At the end one block at a time: the height of a box is that of the map, its width the
# number of channels, both relative to the largest in the picture. Move the slider through the sixteen blocks, and watch
# pixels turn into channels.

# %%
import torchinfo

from netwright.lessons.sliders import At, explore

ResNet = theirs_or_ours("resnet.net", ResNet)
torch.manual_seed(0)
net = ResNet(DEPTHS, WIDTHS).eval()

columns = ("output_size", "num_params", "mult_adds")
print(
    torchinfo.summary(
        net, (1, 3, 224, 224), depth=2, col_names=columns, col_width=20, row_settings=("var_names",), verbose=0
    )
)

flow = lesson.watch(net)
for name, shape, cost in zip(names, shapes, costs, strict=True):
    counted = (flow.shapes[name], lesson.learned(net.get_submodule(name)), flow.macs[name])
    print(f"{name:12}", "as predicted" if counted == (shape, learned[name], cost) else f"is {counted}")

first = lesson.first_placement(macs)  # the same formula, with the stride in `reduce`
paper = sum(cost for _, cost in by_stage(first)) + costs[0] + costs[-1]
print(f"\n{lesson.learned(net):,} parameters and {flow.macs[''] / 1e9:.2f} billion multiply-adds.")
print(f"With the stride in the first 1×1 convolution it would be {paper / 1e9:.2f} billion.")

blocks = [f"stages.{i}.{j}" for i, depth in enumerate(DEPTHS) for j in range(depth)]
explore(lambda block: lesson.draw_flow(flow, block), block=At(blocks, "stages.1.0"))

# %% [markdown]
# The paper's table 1 says 3.8 billion, and now you know why others say 4.1: it is the stride that has moved.
#
# ## Proof
#
# A count proves nothing about values. The golden trace does: timm's ResNet-50 was given seeded weights and a seeded
# picture, and what it computed at every block is recorded. Here is the same in your net, which is made of your own
# classes down to the BatchNorm.

# %%
trace = nw.first_difference(net, "resnet50")
print(trace)
trace.figure()

# %% [markdown]
# ## Real weights
#
# The names of its parts are the library's, so what you built also takes the files that others have published. First, for
# this needs no network, a file in a publisher's key layout with golden numbers in it; the key maps are the subject of
# notebook 02. Then the real one, if it is at hand: ResNet-50, first trained on a hundred million pictures without labels
# by Facebook's researchers (Yalniz et al. 2019). Its licence forbids commercial use.

# %%
from matplotlib import cbook

from netwright.weights.fetch import WeightsUnavailable, fetch
from netwright.weights.load import load_into

for layout in ("torchvision", "openmmlab"):
    load_into(net, nw.golden_checkpoint("resnet50", layout))
    print(f"{layout:12} loads, strictly. {nw.first_difference(net, 'resnet50', state=None)}")

published = nw.list_weights("resnet50.*")[0]
try:
    load_into(net, fetch(published))
    library = nw.create_model(published.name, pretrained=True).eval()
    picture = nw.open_image(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    x = nw.transform_for(library)(picture).unsqueeze(0)
    with torch.inference_mode():
        logits = net(x)
    print(f"{published.name} ({published.licence}) loads. To the library: {(logits - library(x)).abs().max():.1g}")
    for i in logits[0].topk(3).indices.tolist():
        print(f"{logits[0].softmax(0)[i]:6.1%}  {nw.labels()[i]}")
except WeightsUnavailable:
    file = published.files[0]
    print(f"{published.name}: {file.filename} ({file.size_text}) is not on this machine, so this waits for a network.")

# %% [markdown]
# ## Cut it
#
# What is a shortcut worth in a net that has been trained? The toy ResNet, which ships with the workbook, has seven of
# these blocks and knows the twenty classes of the toy world. Each of its branches and each of its shortcuts has been cut
# once, that is, replaced by zeros, and the net asked about the same test pictures. (Where the shape changes, its shortcut
# averages before it projects, as in notebook 05.)

# %%
lesions = lesson.cut_everything(nw.create_model("toy_resnet", pretrained=True))
explore(lambda block, cut: lesson.draw_lesion(lesions, block, cut), block=lesions.blocks, cut=("branch", "shortcut"))

# %% [markdown]
# Your third prediction. Without a branch the net still works, and some blocks are hardly missed; without a shortcut, at any
# place, it does little better than guess. A plain net has no such choice: cut any layer of a chain, and nothing arrives. He et al. describe
# branches as small corrections to what flows past them (section 3.1), and
# [Veit et al. 2016](https://arxiv.org/abs/1605.06431) first cut trained ResNets like this.
#
# ## It learns
#
# Your classes, at toy size, from random numbers to a visible result, in some seconds: a texture is to be told from five
# others. Nothing seems to happen at first: every block begins as the identity, and a ResNet is made for larger pictures. Its
# stem and its projections pass over three pixels of four, just where a fine texture is. Notebook 05 repairs both.

# %%
from netwright.lessons.toy_training import draw_learning, learn_toys


def small(kind):
    """A small net for the six textures; the same numbers to start from, every time."""
    torch.manual_seed(0)
    return kind((2, 2, 1), (16, 32, 64), num_classes=6)


mine = learn_toys(small(ResNet), steps=600)
draw_learning({"my ResNet": mine})

# %% [markdown]
# ## What would fool you
#
# **A BatchNorm that remembers the biased variance.** One factor, n / (n − 1), is missing in what it keeps; a course that
# many have learned from shipped it in its solution
# ([ARENA, issue 415](https://github.com/callummcdougall/ARENA_3.0/issues/415)). Here it is beside torch's own layer.

# %%
from netwright.lessons.engine import find

Biased = find("resnet.batchnorm").mistakes["that remembers the biased variance"]


def gap(shape, steps, training):
    """The largest difference to torch's layer, on one more batch of this shape after some steps of training."""
    torch.manual_seed(0)
    layers, batches = (nn.BatchNorm2d(shape[1]), Biased(shape[1])), torch.randn(steps + 1, *shape)
    for batch in batches[:-1]:
        for layer in layers:
            layer.train()(batch)
    one, other = (layer.train(training)(batches[-1]) for layer in layers)
    return f"{(one - other).abs().max():.1g}"


lesson.table(
    ("how you test it", "batch", "largest difference"),
    (
        ("fresh, in evaluation mode", (8, 4, 7, 7), gap((8, 4, 7, 7), 0, training=False)),
        ("fresh, in training mode", (8, 4, 7, 7), gap((8, 4, 7, 7), 0, training=True)),
        ("trained, in training mode", (8, 4, 7, 7), gap((8, 4, 7, 7), 50, training=True)),
        ("trained on large maps, in evaluation mode", (32, 4, 56, 56), gap((32, 4, 56, 56), 20, training=False)),
        ("trained on small maps, in evaluation mode", (8, 4, 7, 7), gap((8, 4, 7, 7), 50, training=False)),
        ("trained on single pixels, in evaluation mode", (4, 4, 1, 1), gap((4, 4, 1, 1), 50, training=False)),
    ),
)

# %% [markdown]
# The fourth prediction: in **neither**. Fresh, both hold the same 0 and 1, and in training mode nobody looks at what they
# keep. It shows only where both modes meet, and on large maps it hides in the rounding. So a check has to train a step,
# compare the *buffers*, and choose a small batch.
#
# **A ResNet that shrinks its maps once, and then never again.** A well-known collection of annotated papers has
# published one for years ([labml, issues 83, 136 and 205](https://github.com/labmlai/annotated_deep_learning_paper_implementations/issues/205)).
# Here is a net like it, at the size of yours.

# %%
OnceOnly = find("resnet.net").mistakes["that shrinks its maps in the first stage and then never again"]
right, wrong = small(ResNet), small(OnceOnly)
print("the same weights load:   ", wrong.load_state_dict(right.state_dict(), strict=True))
print("parameters:              ", *(f"{lesson.learned(net):,}" for net in (right, wrong)))
flows = [lesson.watch(net, 64) for net in (right, wrong)]
print("shape of the answer:     ", *(flow.shapes["classifier"] for flow in flows))
print("maps behind the stages:  ", *([flow.shapes[f"stages.{i}"][1] for i in range(3)] for flow in flows))
print("million multiply-adds:   ", *(f"{flow.macs[''] / 1e6:.1f}" for flow in flows))

draw_learning({"my ResNet": mine, "shrinks once": learn_toys(wrong, steps=600)})

# %% [markdown]
# It loads, it answers, and it learns. Whoever has only its own curve to look at sees a ResNet that could do with a little
# more training: a loss does not know what you meant to build. What tells the two apart is one line that prints shapes, or
# a check of values.
#
# ## The paper and the published code
#
# | | He et al. 2015 | the weights that you load | here |
# |---|---|---|---|
# | stride of a block | first 1×1 in the authors' Caffe nets; table 1 names the block only | 3×3, "v1.5"; half a point more top-1, 5 % slower, says [NVIDIA](https://pytorch.org/hub/nvidia_deeplearningexamples_resnet50/) | 3×3 |
# | last normalisation of a branch | starts at 1 | torchvision's default 1; timm's 0, after Goyal et al. 2017 | 0 |
# | random weights | "as in" He et al. 2015b, which derives fan_in and fan_out and finds both fit (section 2.2) | fan_out | fan_out |
# | biases | left out of the formulas (section 3.2) | none in convolutions; a classifier has one | the same |
# | `momentum` of BatchNorm | does not say | PyTorch: 0.1, the share of the *new*; Keras: 0.99, the share of the *old* | 0.1 |
# | what BatchNorm keeps | unbiased variance (Ioffe and Szegedy, algorithm 2), of many batches at the end | PyTorch: unbiased, a running average | the same |
# | shortcut where the shape changes | A, B or C; B for the deep nets (section 4.1) | B | B |
# | multiply-adds | 3.8 · 10⁹ (table 1, which calls them FLOPs) | 4.1 · 10⁹ | counted above |
#
# ## Recap
#
# - A block computes what is *added*. The derivative has a 1 in it at every depth, and a branch can be cut.
# - BatchNorm is two layers and a memory. Test both modes, and the memory between them.
# - Where the shape changes, the shortcut has weights; elsewhere it is free.
# - The place of the stride changes neither names nor shapes nor parameters, only the answer and the cost.
# - Count before you build: parameters live where maps are small, arithmetic where they are not.
#
# **Next:** [02 · Weights, proven](02_weights_proven.ipynb), about the names under which others keep these numbers; and 03,
# which puts many narrow 3×3 convolutions in the place of the wide one.

# %%
from netwright.lessons import progress

minutes = sum(each.minutes for each in lesson.CHECKS)
print(f"{len(lesson.CHECKS)} exercises, estimated at {minutes} minutes; the rest is for reading, looking and asking.")
progress()
