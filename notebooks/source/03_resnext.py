# %% [markdown]
# # 03 · ResNeXt
#
# A block of ResNet looks at its map once, broadly. A block of ResNeXt looks at it many times, narrowly, and adds up
# what it saw. How many times, the paper calls the block's **cardinality**: a third thing to choose, next to depth and
# width ([Xie et al. 2016](https://arxiv.org/abs/1611.05431), section 3.3). In code, all of that turns out to be one
# argument of one layer. Why that is the same, and what it buys, is what this notebook is about.
#
# Afterwards you can
#
# - write a convolution in groups by hand, and say which dense convolution it is;
# - show with numbers that the paper's three drawings of a block are one block;
# - read a name like *32x4d*, and design a block for a given budget;
# - build ResNeXt-50, prove it, and load two publishers' files into it;
# - recognise the mistake that a well-known textbook makes here.
#
# *About an hour and a quarter. Nothing is downloaded unless there is a network, and then one file.*

# %% [markdown]
# ### Before you begin: three predictions
#
# 1. A 3×3 convolution from 128 to 128 channels is cut into 32 groups. **What share of its weights is left?**
# 2. A block with 32 groups of 4 channels has as many weights as ResNet's block with one group of 64, and needs as many
#    multiplications. **Which of the two is faster on your machine?**
# 3. Somebody hands the layer a wrong number of groups, and trains the net. **Will the training show it?**
#
# Write your three answers down. The run will answer them.
#
# ## Groups
#
# In an ordinary convolution every output channel reads every input channel. In a *grouped* one the channels are cut
# into equal groups, and an output reads the inputs of its own group. Krizhevsky et al. did so in 2012, because AlexNet
# did not fit on one GPU. Xie et al. do so because it is better at equal cost.
#
# ### Exercise 1: a convolution in groups
#
# Do it by hand: cut the channels of `x` into groups, cut the filters likewise, run one ordinary convolution for each
# group, and put the answers side by side. `F.conv2d` knows an argument `groups` that does all this; leave it alone for
# now.
#
# Mind the shape of `weight`, (out, in / groups, height, width): its second dimension is that of *one* group already.
# Groups are neighbours: the first so many input channels, and the first so many filters, are group 0.
#
# *6 minutes · easy · three lines*

# %%
import torch
from torch.nn import functional as F

import netwright as nw
from netwright.lessons import check, exercise, hint, solution, theirs_or_ours
from netwright.lessons import resnext as lesson


@exercise("resnext.grouped")
def grouped_conv(x, weight, groups, stride=1, padding=0):
    """x (batch, in, height, width) and weight (out, in / groups, …) -> (batch, out, new height, new width)."""
    ### BEGIN SOLUTION
    parts = zip(x.chunk(groups, dim=1), weight.chunk(groups), strict=True)
    return torch.cat([F.conv2d(part, filters, stride=stride, padding=padding) for part, filters in parts], dim=1)
    ### END SOLUTION


check("resnext.grouped", grouped_conv)

# %%
from IPython.display import display

display(hint("resnext.grouped"))  # three, each inside the one before; every exercise has them
solution("resnext.grouped")

# %% [markdown]
# ### Exercise 2: the same as one dense convolution
#
# Whatever groups can do, a dense convolution can do as well: it has a weight for every pair of channels, and those of
# strangers can be zero. Write down that weight: (out, in, height, width), zeros everywhere but in one block for each
# group. It should have the type of the grouped weight, and a gradient should find its way back through it.
#
# *7 minutes · medium · five lines*


# %%
@exercise("resnext.dense")
def dense_weight(weight, groups):
    """A grouped weight (out, in / groups, height, width) -> the dense one, (out, in, height, width)."""
    ### BEGIN SOLUTION
    rows, columns = len(weight) // groups, weight.shape[1]  # of a block: the outputs and the inputs of one group
    dense = weight.new_zeros(len(weight), groups * columns, *weight.shape[2:])
    for i in range(groups):
        block = slice(i * rows, (i + 1) * rows)
        dense[block, i * columns : (i + 1) * columns] = weight[block]
    return dense
    ### END SOLUTION


check("resnext.dense", dense_weight)

# %% [markdown]
# Now look at it. Below, your function unfolds the 3×3 convolutions of three nets: the small ResNet and the small
# ResNeXt that ship with the workbook, both trained on the toy pictures, and one the size of ResNeXt-50's first, not
# trained. Each point is one pair of channels. Grey is not small: grey is *nothing*, and no training can change it.

# %%
grouped_conv = theirs_or_ours("resnext.grouped", grouped_conv)
dense_weight = theirs_or_ours("resnext.dense", dense_weight)

torch.manual_seed(0)
layers = {
    name: nw.create_model(name, pretrained=True).stages[1][1].middle.conv for name in ("toy_resnet", "toy_resnext")
}
layers["as in ResNeXt-50"] = torch.nn.Conv2d(128, 128, 3, padding=1, groups=32, bias=False)
unfolded = {
    f"{name}, {layer.groups} group{'s' * (layer.groups > 1)}": dense_weight(layer.weight, layer.groups)
    for name, layer in layers.items()
}
layer = layers["as in ResNeXt-50"].double()
x = torch.randn(2, 128, 14, 14, dtype=torch.float64)
answers = [
    layer(x),
    grouped_conv(x, layer.weight, 32, padding=1),
    F.conv2d(x, dense_weight(layer.weight, 32), padding=1),
]
for name, answer in zip(("yours, group by group", "your dense weight"), answers[1:], strict=True):
    print(f"{name:22} largest difference to PyTorch's groups=32: {(answer - answers[0]).abs().max():.1g}")
share = layer.weight.numel() / dense_weight(layer.weight, 32).numel()
print(f"Prediction 1: of the dense weights, 1 in {1 / share:.0f} is left ({share:.1%}).")
lesson.draw_blocks(unfolded)

# %% [markdown]
# So **cardinality is a block-diagonal weight**. In groups the net stores, and multiplies by, nothing but the blocks.
#
# ## One block, three drawings
#
# The paper does not begin with groups. It begins with a sum (equation 2): a block adds up what `cardinality` small
# paths make of its input, F(x) = T₁(x) + … + T_C(x), each a narrow bottleneck of its own. Its figure 3 draws that in
# three ways:
#
# ```text
# (a)  1×1 → 3×3 → 1×1 ┐              (b)  1×1 → 3×3 ┐                          (c)
#      1×1 → 3×3 → 1×1 ┼ added up          1×1 → 3×3 ┼ side by side → 1×1           1×1 → 3×3 in groups → 1×1
#      1×1 → 3×3 → 1×1 ┘                   1×1 → 3×3 ┘
# ```
#
# and says that they are the same. You will check it. All three take the weights of (c): `reduce` (mid, in, 1, 1),
# `middle` (mid, mid / cardinality, 3, 3) and `expand` (out, mid, 1, 1). A ReLU follows the first and the second
# convolution of each; normalisation and shortcut come later.
#
# ### Exercise 3: the paths, added up
#
# Form (a). Each path gets its share of the weights: which rows of `reduce`, which filters of `middle`, which *columns*
# of `expand`? Every path reads the whole `x`. The 3×3 convolution has a padding of 1 and the stride. Return the list
# of what the paths give, in their order, and its sum.
#
# *8 minutes · medium · seven lines*


# %%
@exercise("resnext.aggregated")
def aggregated(x, reduce, middle, expand, cardinality, stride=1):
    """Form (a) -> the list of what each path gives, (batch, out, height / stride, width / stride), and their sum."""
    ### BEGIN SOLUTION
    shares = zip(reduce.chunk(cardinality), middle.chunk(cardinality), expand.chunk(cardinality, dim=1), strict=True)
    paths = []
    for first, second, third in shares:
        y = F.conv2d(x, first).relu()  # (batch, mid / cardinality, height, width): a path sees the whole input
        y = F.conv2d(y, second, stride=stride, padding=1).relu()
        paths.append(F.conv2d(y, third))
    return paths, sum(paths)
    ### END SOLUTION


check("resnext.aggregated", aggregated)

# %% [markdown]
# ### Exercise 4: joined early
#
# Form (b). The paths end after their 3×3 convolution and its ReLU and are put side by side; one 1×1 convolution, with
# the whole of `expand`, reads them all. Return both: the map in which they stand side by side, and the output.
#
# *4 minutes · easy · six lines*


# %%
@exercise("resnext.early_concat")
def early_concat(x, reduce, middle, expand, cardinality, stride=1):
    """Form (b) -> the paths side by side, (batch, mid, height / stride, width / stride), and the output."""
    ### BEGIN SOLUTION
    maps = []
    for first, second in zip(reduce.chunk(cardinality), middle.chunk(cardinality), strict=True):
        y = F.conv2d(x, first).relu()
        maps.append(F.conv2d(y, second, stride=stride, padding=1).relu())
    joined = torch.cat(maps, dim=1)
    return joined, F.conv2d(joined, expand)
    ### END SOLUTION


check("resnext.early_concat", early_concat)

# %%
aggregated = theirs_or_ours("resnext.aggregated", aggregated)
early_concat = theirs_or_ours("resnext.early_concat", early_concat)


def in_groups(x, reduce, middle, expand, cardinality):
    """Form (c), with your own convolution in groups."""
    y = F.conv2d(x, reduce).relu()
    y = grouped_conv(y, middle, cardinality, padding=1).relu()
    return F.conv2d(y, expand)


torch.manual_seed(0)
shapes = (2, 256, 14, 14), (128, 256, 1, 1), (128, 4, 3, 3), (256, 128, 1, 1)  # ResNeXt-50's first stage, 32x4d
numbers = [torch.randn(shape, dtype=torch.float64) / shape[1] ** 0.5 for shape in shapes]
rows = []
for dtype in (torch.float64, torch.float32):
    block = [some.to(dtype) for some in numbers]
    a, b, c = aggregated(*block, 32)[1], early_concat(*block, 32)[1], in_groups(*block, 32)
    gaps = [((some - c).abs().max() / c.abs().max()).item() for some in (a, b)]
    rows.append((str(dtype).removeprefix("torch."), f"{c.std():.6f}", *(f"{gap:.1e}" for gap in gaps)))
lesson.table(("type", "spread of the output", "(a) differs from (c) by", "(b) differs from (c) by"), rows)

# %% [markdown]
# Equal to the last digits, in either precision; not always to the last bit, because the three add the same products up
# in another order. So one may *think* in (a), 32 experts that each see the whole input through a slit of four
# channels, and *compute* in (c), which is one call and not 96. The authors did so too (section 4).
#
# One footnote hides in "the same". With batch normalisation after the last 1×1, form (a) must normalise *after* the
# sum (section 4 says where): a normalisation in each path would see another variance, and the forms would part.
#
# ## Channels that never meet
#
# Look at the staircase again and ask what a net would be that had nothing else. Below, a gradient says which input
# channel reaches which output channel, through stacks of layers with 24 channels in 4 groups.


# %%
def conv(kernel_size, groups=1):
    return torch.nn.Conv2d(24, 24, kernel_size, padding=kernel_size // 2, groups=groups, bias=False)


torch.manual_seed(0)
stacks = {
    "one 3×3\nin groups": [conv(3, 4)],
    "ten 3×3\nin groups": [conv(3, 4) for _ in range(10)],
    "1×1 in groups,\n3×3 in groups": [conv(1, 4), conv(3, 4)],
    "3×3 in groups,\nthen a dense 1×1": [conv(3, 4), conv(1)],
}
lesson.draw_reach({name: lesson.reach(torch.nn.Sequential(*stack), 24) for name, stack in stacks.items()})

# %% [markdown]
# Ten grouped layers are four small nets in one coat, which never speak to each other. One dense 1×1 is enough to
# introduce all to all. That is the division of labour in the block: the grouped 3×3 looks *around*, cheaply, and the
# 1×1 convolutions on either side mix *channels*. (If you want to put the 1×1 into groups as well, you must shuffle
# channels in between: that is ShuffleNet, Zhang et al. 2017, section 3.1.)
#
# ## How wide?
#
# A name like *ResNeXt-50 (32x4d)* says: 32 groups, 4 channels each, **in the first stage**. There, ResNet's middle is
# 64 planes wide. From stage to stage planes double, and a group with them, whereas the number of groups stays (section
# 3.1).
#
# ### Exercise 5: the width of a block
#
# `base_width` is the width of a group where planes is 64; elsewhere it grows in proportion. Return the channels of all
# groups together, as an `int`. Where the proportion does not come out even, round *one group* down, and multiply then:
# so do the authors' Lua code (`models/resnext.lua`) and torchvision. The paper, whose stages all come out even, does
# not say.
#
# *4 minutes · easy · one line*


# %%
@exercise("resnext.width")
def aggregated_width(planes, cardinality, base_width):
    """64 planes in 32 groups of base width 4 -> 128."""
    ### BEGIN SOLUTION
    return planes * base_width // 64 * cardinality
    ### END SOLUTION


check("resnext.width", aggregated_width)

# %% [markdown]
# ### Exercise 6: the block
#
# Form (c) with everything: `ConvNormAct` is convolution, batch normalisation and, if `act` is given, a ReLU; it takes
# `stride` and `groups` and pads a 3×3 by itself. The block has four parts, of these names: `reduce` (1×1, ReLU),
# `middle` (3×3, with the stride and the groups, ReLU), `expand` (1×1, no ReLU), and `shortcut`: `torch.nn.Identity()`
# where the shape stays, else a 1×1 `ConvNormAct` with the stride and no ReLU. A ReLU follows the addition.
#
# `mid_channels` is the width of all groups together. What came in must not be overwritten.
#
# *8 minutes · medium · a dozen lines*

# %%
from netwright.nets.layers import ConvNormAct


@exercise("resnext.block")
class Block(torch.nn.Module):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1, cardinality=1):
        super().__init__()
        ### BEGIN SOLUTION
        self.reduce = ConvNormAct(in_channels, mid_channels, 1, act="relu")
        self.middle = ConvNormAct(mid_channels, mid_channels, 3, stride=stride, groups=cardinality, act="relu")
        self.expand = ConvNormAct(mid_channels, out_channels, 1)
        self.shortcut = torch.nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = ConvNormAct(in_channels, out_channels, 1, stride=stride)
        ### END SOLUTION

    def forward(self, x):
        """(batch, in_channels, height, width) -> (batch, out_channels, height / stride, width / stride)."""
        ### BEGIN SOLUTION
        y = self.reduce(x)
        y = self.middle(y)
        y = self.expand(y)
        return (y + self.shortcut(x)).relu()
        ### END SOLUTION


check("resnext.block", Block)

# %% [markdown]
# ## What it costs
#
# ### Exercise 7: weights and multiply-adds
#
# Count, for a block as above, the weights of its convolutions (the shortcut's too, where it is one) and how many
# multiplications with addition they need for one picture, whose map comes in with `size` = (height, width) pixels.
# Normalisation is left out: it has under one weight in a hundred. A convolution of stride 2 with padding turns 15
# pixels into 8. Return both, weights first. The cell after the exercise then asks whether it is true: it builds some
# of your blocks, looks into them, and lets PyTorch count while they run.
#
# *10 minutes · medium · a dozen lines*

# %%
import math


@exercise("resnext.cost")
def cost(in_channels, mid_channels, out_channels, cardinality, stride=1, size=(56, 56)):
    """-> the number of weights, the number of multiply-adds."""
    ### BEGIN SOLUTION
    height, width = size
    pixels_in, pixels_out = height * width, math.ceil(height / stride) * math.ceil(width / stride)
    reduce = in_channels * mid_channels
    middle = mid_channels * (mid_channels // cardinality) * 3 * 3  # each output reads the channels of its own group
    expand = mid_channels * out_channels
    shortcut = in_channels * out_channels if stride != 1 or in_channels != out_channels else 0

    parameters = reduce + middle + expand + shortcut
    multiply_adds = reduce * pixels_in + (middle + expand + shortcut) * pixels_out
    return parameters, multiply_adds
    ### END SOLUTION


check("resnext.cost", cost)

# %%
aggregated_width = theirs_or_ours("resnext.width", aggregated_width)
Block = theirs_or_ours("resnext.block", Block)
cost = theirs_or_ours("resnext.cost", cost)

rows = []
for sizes, stride, size in (((256, 64, 256, 1), 1, 56), ((256, 128, 256, 32), 1, 56), ((256, 256, 512, 32), 2, 55)):
    block = Block(*sizes[:3], stride, sizes[3]).eval()
    counted = lesson.weights_of(block), lesson.multiply_adds_of(block, torch.randn(1, 256, size, size))
    reckoned = cost(*sizes, stride, (size, size))
    rows.append((" → ".join(map(str, sizes[:3])), sizes[3], stride, *(f"{n:,}" for n in (*reckoned, *counted))))
lesson.table(
    ("block", "groups", "stride", "weights", "multiply-adds", "weights, counted", "multiply-adds, counted"), rows
)

# %% [markdown]
# ### Exercise 8: a design for a budget
#
# The paper's experiment is fair because it spends the same (section 3.4, equation 4): with C groups of width d, a
# block with 256 channels outside has C · (256 · d + 3 · 3 · d · d + d · 256) weights. Given the groups and a budget of
# weights, which whole `d`, at least 1, comes **nearest in weights**, above or below? Use `cost`; the block has
# `channels` at either end.
#
# The cell after the exercise takes ResNet's own block as the budget, which gives the paper's table 2, and puts beside
# it what came of each design: the top-1 error of 50 layers on ImageNet (its table 3). 16 and 64 groups are not in the
# paper's tables.
#
# *6 minutes · medium · three lines*


# %%
@exercise("resnext.budget")
def budget_width(cardinality, budget, channels=256):
    """-> the width of one group, an int."""

    ### BEGIN SOLUTION
    def misses(width):
        return abs(cost(channels, cardinality * width, channels, cardinality)[0] - budget)

    return min(range(1, budget // (2 * channels * cardinality) + 2), key=misses)
    ### END SOLUTION


check("resnext.budget", budget_width)

# %%
budget_width = theirs_or_ours("resnext.budget", budget_width)

CARDINALITIES = (1, 2, 4, 8, 16, 32, 64)
budgets = {times: times * cost(256, 64, 256, 1)[0] for times in (1, 2)}
widths = {times: {n: budget_width(n, budget) for n in CARDINALITIES} for times, budget in budgets.items()}
paper = {1: (64, 23.9), 2: (40, 23.0), 4: (24, 22.6), 8: (14, 22.3), 32: (4, 22.2)}  # d, and the error in %

rows = []
for n, d in widths[1].items():
    theirs = paper.get(n, ("", ""))
    rows.append((f"{n}x{d}d", n * d, f"{cost(256, n * d, 256, n)[0] / budgets[1]:.3f}", *theirs))
print(f"The budget: {budgets[1]:,} weights.")
lesson.table(("yours", "channels of the middle", "of the budget", "the paper's d", "the paper's top-1 error, %"), rows)

# %% [markdown]
# More groups make a *wider* middle for the same money, since blocks on a diagonal are cheap. And the error falls with
# every step, at equal cost: that is the paper's claim, and its reason to prefer cardinality.
#
# Equal cost on paper. Now measure. Each design is built from your block and run on a map of 56×56, the designs taking
# turns, so that what disturbs the machine disturbs all alike. Only ratios are worth anything, and on a machine that
# others use these waver too: the band is from quartile to quartile.

# %%
from netwright.lessons.sliders import At, explore

measured = {times: lesson.measure_designs(Block, its) for times, its in widths.items()}


def draw(cardinality, times_the_budget):
    return lesson.draw_designs(measured[times_the_budget], cardinality)


one, many = measured[1][0], next(design for design in measured[1] if design.cardinality == 32)
faster, slower = many.slower.high < 1, many.slower.low > 1
verdict = "faster" if faster else "slower" if slower else "neither faster nor slower, for all that this run can tell"
print(f"Prediction 2: with {many.weights / one.weights:.3f} times the weights and the multiply-adds of {one.name},")
print(f"{many.name} takes {many.slower} times as long here. It is {verdict}.")
explore(draw, cardinality=At(CARDINALITIES, 8), times_the_budget=(1, 2))

# %% [markdown]
# Move the sliders. On the left the middle to scale: the blue squares are all that it multiplies by. On the right,
# weights and multiply-adds lie on one line, since at stride 1 every weight is used once a pixel. The measured time
# does as it pleases: it hangs on how a library arranges small groups for your processor, and another processor draws
# another curve. **Multiply-adds are not milliseconds.**
#
# ## The whole net
#
# ### Exercise 9: ResNeXt
#
# Stem, stages, classifier, of these names:
#
# - `stem`: a `Sequential` of `ConvNormAct` (3 to `planes[0]` channels, 7×7, stride 2, ReLU) and a max pool (3×3,
#   stride 2, padding 1);
# - `stages`: for each stage a `Sequential` of `depth` blocks with `cardinality` groups. `planes` of the stage says how
#   wide their middle is, by `aggregated_width`; they put out 4 × planes channels. The first block of every stage *but
#   the first* has stride 2;
# - `classifier`: a `Linear`, on the mean over all pixels.
#
# *12 minutes · medium · a dozen lines*


# %%
@exercise("resnext.net")
class ResNeXt(torch.nn.Module):
    def __init__(self, depths, cardinality, base_width, planes=(64, 128, 256, 512), num_classes=1000):
        super().__init__()
        ### BEGIN SOLUTION
        channels = planes[0]
        self.stem = torch.nn.Sequential(
            ConvNormAct(3, channels, 7, stride=2, act="relu"), torch.nn.MaxPool2d(3, stride=2, padding=1)
        )
        self.stages = torch.nn.Sequential()
        for stage, (depth, width) in enumerate(zip(depths, planes, strict=True)):
            mid_channels = aggregated_width(width, cardinality, base_width)
            blocks = torch.nn.Sequential()
            for i in range(depth):
                stride = 2 if stage > 0 and i == 0 else 1  # the stem's pool has halved the first stage's map already
                blocks.append(Block(channels, mid_channels, 4 * width, stride, cardinality))
                channels = 4 * width
            self.stages.append(blocks)
        self.classifier = torch.nn.Linear(channels, num_classes)
        ### END SOLUTION

    def forward(self, x):
        """Pictures (batch, 3, height, width) -> logits (batch, num_classes)."""
        ### BEGIN SOLUTION
        x = self.stem(x)  # (batch, planes, height / 4, width / 4)
        x = self.stages(x)  # (batch, 4 * last planes, height / 32, width / 32)
        return self.classifier(x.mean((2, 3)))
        ### END SOLUTION


check("resnext.net", ResNeXt)

# %% [markdown]
# ResNeXt-50 (32x4d), then. Table 1 of the paper gives it 25.0 · 10⁶ parameters and 4.2 · 10⁹ multiply-adds, and
# ResNet-50 25.5 · 10⁶ and 4.1 · 10⁹; compare the totals below.
#
# Counts prove little, as you know from notebook 00. So your net gets the golden weights and the golden picture, and
# all its blocks are compared with what timm's net made of them. Then it takes in the two layouts in which ResNeXt-50
# is published.

# %%
from torchinfo import summary

from netwright.weights.keymaps import rename

ResNeXt = theirs_or_ours("resnext.net", ResNeXt)
torch.manual_seed(0)
net = ResNeXt((3, 4, 6, 3), cardinality=32, base_width=4).eval()
columns = ("output_size", "num_params", "mult_adds")
print(summary(net, (1, 3, 224, 224), depth=2, col_names=columns, col_width=20, row_settings=["var_names"], verbose=0))

print("\nYour net:", nw.first_difference(net, "resnext50_32x4d"))
library, golden = nw.create_model("resnext50_32x4d").eval(), nw.golden_input("resnext50_32x4d")
for layout in ("torchvision", "openmmlab"):
    published = nw.golden_checkpoint("resnext50_32x4d", layout)  # a publisher's names and shapes, seeded numbers
    names = rename(published, layout)
    for model in (net, library):
        model.load_state_dict({names[key]: tensor for key, tensor in published.items()}, strict=True)
    with torch.inference_mode():
        gap = (net(golden) - library(golden)).abs().max()
    key = next(key for key in names if names[key] == "stages.2.5.middle.conv.weight")
    print(
        f"{layout}: {len(names)} tensors loaded strictly, such as {key}; logits differ from the library's by {gap:.1g}."
    )

# %% [markdown]
# ## The published weights
#
# ResNeXt was published over and over: by those who trained it on ImageNet, and by Facebook, who had up to a billion
# more pictures from social media to train it with, *semi-supervised* (ssl) and *semi-weakly supervised* (swsl; both
# Yalniz et al. 2019). Theirs go by several names, and by a licence that you should read before you build on them: **CC
# BY-NC, not for commercial use**. The table says so, and so does the library wherever it loads them. One of these
# files is, by its publisher's own word, not the model that was announced: the last column marks it.


# %%
def remark(weights):
    return "not for commercial use" if weights.noncommercial else ""


lesson.table(
    ("weights", "also known as", "publisher", "licence", "", "top-1 %", "known to be faulty"),
    (
        (w.name, w.aliases[0], w.publisher, w.licence, remark(w), w.top1, "yes" if w.known_bad else "")
        for w in nw.list_weights("resnext*")
    ),
    scroll=True,
)

# %%
from matplotlib import cbook

from netwright.weights.fetch import WeightsUnavailable, fetch
from netwright.weights.read import read_checkpoint

(weights,) = nw.list_weights("resnext50_32x4d.tv_in1k")
photo = nw.open_image(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
try:
    state = read_checkpoint(fetch(weights))
except WeightsUnavailable:
    file = weights.files[0]
    print(f"Offline: {file.filename} ({file.size_text}, {weights.licence}) is not on this machine.")
    print("Nothing below needs it: run this cell again when there is a network.")
else:
    names = rename(state, "torchvision")
    net.load_state_dict({names[key]: tensor for key, tensor in state.items()}, strict=True)
    x = nw.transform_for(nw.create_model(weights.name, pretrained=True))(photo).unsqueeze(0)
    with torch.inference_mode():
        top = net(x).softmax(1).topk(3)
    for probability, label in zip(top.values[0], top.indices[0], strict=True):
        print(f"{probability:8.2%}  {nw.labels()[label]}")

# %% [markdown]
# ## What would fool you
#
# Here is a block that is wrong. The textbook of which notebook 00 spoke divides the channels by the number of groups
# and hands the quotient to the layer, which wants the number of groups itself ([d2l, pull request
# 2730](https://github.com/d2l-ai/d2l-en/pull/2730)). Ask it for 16 groups in 32 channels, as the book does, and you
# get 2.
#
# It runs. Shapes are right. Does training show it? Two small nets, your block and the textbook's, learn to tell six
# textures apart.


# %%
from netwright.lessons.toy_training import draw_learning, learn_toys


class TextbookBlock(Block):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1, cardinality=1):
        super().__init__(in_channels, mid_channels, out_channels, stride, cardinality)
        groups = mid_channels // cardinality
        self.middle = ConvNormAct(mid_channels, mid_channels, 3, stride=stride, groups=groups, act="relu")


torch.manual_seed(0)
small = ResNeXt((2, 1), cardinality=16, base_width=4, planes=(32, 64), num_classes=6)
nets = {"your block": small, "the textbook's": lesson.with_blocks(small, TextbookBlock)}
learnings = {name: learn_toys(one, group="texture") for name, one in nets.items()}

nets |= {"yours, 32x4d": net, "the textbook's, 32x4d": lesson.with_blocks(net, TextbookBlock)}
print(f"{'':24}groups of each stage's 3×3     weights of the convolutions")
for name, one in nets.items():
    groups = "".join(f"{stage[0].middle.conv.groups:6}" for stage in one.stages)
    print(f"{name:22}{groups:24}{lesson.weights_of(one):20,}")
draw_learning(learnings)

# %% [markdown]
# **Prediction 3**: both learn, and nothing in the figure says which of the two is the ResNeXt. That one curve ends
# lower means little, after one run of each from numbers of their own (notebook 11 says how much). What tells is the
# number of weights, or a published file, which does not fit.
#
# But look at the last column of the table. With 1024 channels and 32 groups, 1024 / 32 is 32: there the wrong block
# *is* the right one. A test on just such a layer passes, for ever. The check of exercise 6 takes no middle that is its
# cardinality squared.
#
# And a mistake that fits any file: let a group be every so many-th channel, not a run of neighbours. Not a name, not a
# shape, not a count is different.


# %%
class ShuffledBlock(Block):
    def forward(self, x):
        y = self.reduce(x)
        y = y.unflatten(1, (self.middle.conv.groups, -1)).transpose(1, 2).flatten(1, 2)  # one of each group in turn
        return (self.expand(self.middle(y)) + self.shortcut(x)).relu()


shuffled = lesson.with_blocks(net, ShuffledBlock)
listed = [{key: tensor.shape for key, tensor in one.state_dict().items()} for one in (net, shuffled)]
print("the same names and shapes:", listed[0] == listed[1])
print("a file loads strictly:    ", shuffled.load_state_dict(library.state_dict(), strict=True))
nw.first_difference(shuffled, "resnext50_32x4d")

# %% [markdown]
# Such a net would train from scratch as well as any: its channels have no order of their own. Only a file that
# somebody else trained minds, and only values show it.
#
# ## Paper and published code
#
# | | the paper | published code, and what we follow |
# |---|---|---|
# | stride | in the 3×3 of a stage's first block (section 4) | the same everywhere, so here. He et al. 2015 had it in the first 1×1 |
# | width of a group | doubles from stage to stage (section 3.1, table 1) | `floor(planes * base_width / 64)`, then times the groups: the authors' Lua, torchvision |
# | form | (a), (b), (c) are equivalent; trained as (c) (section 4) | the authors' Lua has (b) and (c), everybody else (c) |
# | normalisation | in form (a) after the sum (section 4) | in form (c) after each convolution: the same |
# | blocks for CIFAR | pre-activation (appendix A) | the authors' README: plain blocks, which did better |
# | error of ResNeXt-50 32x4d | 22.2 % top-1 (table 3) | every publisher trained anew: the table of weights above has its own number for each |
#
# ## Recap
#
# - A grouped convolution is a dense one whose weight is block-diagonal. Cardinality is the number of blocks.
# - The sum of narrow paths, the paths joined early and the grouped block are one function, to the last digits.
# - Grouped layers alone never mix groups. The 1×1 convolutions around them do.
# - `32x4d` is 32 groups of 4 channels in the first stage; at one budget, more groups make a wider middle.
# - Equal multiply-adds are not equal time. Equal shapes are not equal nets.
#
# **Next:** [04 · Split attention](04_split_attention.ipynb), where the branches get a vote on how much each counts.

# %%
from netwright.lessons import progress
from netwright.lessons.engine import find

minutes = {name: find(f"resnext.{name}").minutes for name in (each.id.split(".")[1] for each in lesson.CHECKS)}
print(f"The {len(minutes)} exercises are meant to take {sum(minutes.values())} minutes:")
print(", ".join(f"{name} {some}" for name, some in minutes.items()), end=".\n\n")
progress()
