# %% [markdown]
# # 04 · Split attention
#
# ResNeXt has many branches and adds them up. ResNeSt ([Zhang et al. 2020](https://arxiv.org/abs/2004.08955)) asks, for
# every picture anew, *how much of which branch*. In this notebook you build the layer that does so. Afterwards you can
#
# - say what its gates see, and what they cannot see;
# - cut, pool, weigh and sum branches in the layout that the published weights are kept in;
# - name the two limits of the layer: a plain mean, and squeeze-and-excitation;
# - prove your layer inside two published architectures;
# - write a test that finds a mistake which most tests cannot find.
#
# *About 75 minutes. You need to know what a grouped convolution is (03 has it); the rest is here.*
#
# ### Before you begin: a prediction
#
# Somebody writes this layer and forgets one transpose, in the function that makes the gates. They put it into two
# published nets, `resnest50d` and `resnest50d_4s2x40d`, and try four things. Write down yes or no for each.
#
# 1. Do the published weights load, strictly?
# 2. Does `resnest50d` still give the right answer?
# 3. Does `resnest50d_4s2x40d` still give the right answer?
# 4. Does a net with the mistake learn worse than one without?

# %% [markdown]
# ## A gate over branches, not over pixels
#
# A 3×3 convolution makes $R$ versions of a map, the *splits*: $R$ is the **radix**. They are added up and averaged over
# all pixels. What is left of the picture is one number a channel, and from these numbers two small layers work out how
# much of each split goes into the output:
#
# $$V_c = \sum_{r=1}^{R} a_r(c)\, U_{r,c} \qquad a_r(c) = \frac{\exp g_{r,c}(s)}{\sum_j \exp g_{j,c}(s)} \qquad
# s_c = \frac{1}{HW} \sum_{h,w} \sum_r U_{r,c}(h, w)$$
#
# (section 3.1 of the paper, for one cardinal group). Read the indices of the gate $a$: a split $r$, a channel $c$, and no
# pixel. "Attention" here does not look *somewhere*. It turns whole maps up and down. A picture of a gate as a heat map
# over the photograph would be a picture of something that does not exist.
#
# The figure is drawn from a layer while it ran. Below, there are no pixels any more.

# %%
import torch

import netwright as nw
from netwright.lessons import check, exercise, hint, solution, theirs_or_ours
from netwright.lessons import splat as lesson

lesson.draw_layer(channels=64, radix=2, cardinality=1, side=56)

# %% [markdown]
# ## Part by part
#
# As in a ResNeXt, the channels also fall into $K$ **cardinal groups**, and each group has its own $R$ splits and its own
# gates. So there are $R \cdot K$ groups of feature maps, and somebody must decide in which order they lie in memory.
#
# ### Exercise 1: which channels are split r?
#
# The equations of section 3.1 count group by group: first all splits of group 0, then all splits of group 1. The
# published code does not. It is *radix-major* (the paper's part on the radix-major implementation): the first $1/R$ of
# the channels is split 0, of **all** cardinal groups, the next is split 1. The weights are kept so, and so do we.
#
# Write `splits(x, radix, cardinality)`: from the convolution's output `(batch, radix * channels, height, width)` to
# `(batch, radix, channels, height, width)`. Within a split the cardinal groups follow each other, and the channels of a
# group lie side by side. You are given three numbers. How many do you need?
#
# If you are stuck: `hint("splat.splits")` in a cell of its own.
#
# *5 minutes · easy · one line*


# %%
@exercise("splat.splits")
def splits(x, radix, cardinality):
    """(batch, radix * channels, height, width) to (batch, radix, channels, height, width)."""
    ### BEGIN SOLUTION
    return x.unflatten(1, (radix, -1))
    ### END SOLUTION


check("splat.splits", splits)

# %% [markdown]
# ### Exercise 2: the descriptor, in two orders
#
# What the gates see is $s$: the splits summed, then averaged over the pixels. The mean of a sum is the sum of the means, so
# one may just as well average first, and then sum a handful of numbers. On paper that is nothing. In memory it is: the
# sum of the splits is a whole map, written and read again. When we measured where timm's ResNeSt-50 spends its time on a
# CPU, its sums over splits came second, after the convolutions.
#
# Write `pooled(parts)`, from `(batch, radix, channels, height, width)` to a pair `(sum_first, pool_first)`: the
# descriptor computed in the one order and in the other, `(batch, channels)` each. (The check compares values, so only you
# know whether you kept to the orders.)
#
# *5 minutes · easy · two lines*


# %%
@exercise("splat.pooled")
def pooled(parts):
    """(batch, radix, channels, height, width) to two descriptors (batch, channels), which are equal."""
    ### BEGIN SOLUTION
    sum_first = parts.sum(1).mean((2, 3))
    pool_first = parts.mean((3, 4)).sum(1)
    return sum_first, pool_first
    ### END SOLUTION


check("splat.pooled", pooled)

# %%
splits = theirs_or_ours("splat.splits", splits)
pooled = theirs_or_ours("splat.pooled", pooled)

torch.manual_seed(0)
maps = torch.randn(2, 4 * 80, 28, 28, dtype=torch.float64)
sum_first, pool_first = pooled(splits(maps, radix=4, cardinality=2))
print(f"Sum first and pool first differ by at most {(sum_first - pool_first).abs().max():.0e}.")

shuffled = maps.flatten(2)[:, :, torch.randperm(28 * 28)].view_as(maps)  # the same pixels, each somewhere else
_, of_shuffled = pooled(splits(shuffled, radix=4, cardinality=2))
print(f"Shuffling all pixels changes the descriptor by at most {(of_shuffled - pool_first).abs().max():.0e}.")

# %% [markdown]
# Rounding, both times. The second line is what "not over pixels" means: cut the map into its pixels, throw them about, and
# every gate stays as it was. The gates know *what* is in the picture, and not where.
#
# ### Exercise 3: how wide is the layer between?
#
# From the descriptor to the logits there are two 1×1 convolutions, `fc1` and `fc2`, with a narrower layer between them.
# How narrow is a choice. The published nets were trained with the choice of the authors' code (`splat.py`): a quarter of
# all the splits' channels, `channels * radix / 4`, rounded down; but never fewer than 32. If you choose otherwise, the
# weights do not load.
#
# Write `inner_width(channels, radix)`, a whole number.
#
# *3 minutes · easy · one line*


# %%
@exercise("splat.inner_width")
def inner_width(channels, radix):
    """Channels between fc1 and fc2."""
    ### BEGIN SOLUTION
    return max(channels * radix // 4, 32)
    ### END SOLUTION


check("splat.inner_width", inner_width)

# %% [markdown]
# ### Exercise 4: the r-softmax
#
# Now the heart of it, and the place of the mistake in the prediction. `fc2` puts out one logit for each channel of each
# split. Of these the gates are made, by a softmax **over the radix, within a cardinal group**: of each channel there are
# $R$ versions, and they share a weight of 1.
#
# In which order do the logits come? `fc1` and `fc2` are grouped, in `cardinality` groups, because every cardinal group has
# its own gates. A grouped layer keeps its groups together. So the logits are nested as
#
# $$\text{(cardinality, radix, channels of a group)}$$
#
# and the maps that they shall weigh, by exercise 1, as (radix, cardinality, channels of a group). *Group outside* comes
# in; *split outside* must go out.
#
# With radix 1 a softmax would be over a single number, and always 1. The paper (section 3.1) has another rule there: the
# gate is a sigmoid.
#
# Write `rsoftmax(logits, radix, cardinality)`: logits `(batch, radix * channels)` of any size, a thousand too, to gates
# `(batch, radix, channels)`. Gradients must find their way back through it.
#
# *10 minutes · medium · four lines*


# %%
@exercise("splat.rsoftmax")
def rsoftmax(logits, radix, cardinality):
    """(batch, radix * channels) to gates (batch, radix, channels)."""
    ### BEGIN SOLUTION
    if radix == 1:
        return logits.sigmoid().unsqueeze(1)
    nested = logits.unflatten(1, (cardinality, radix, -1))  # (batch, cardinality, radix, channels per group)
    gates = nested.softmax(2)
    return gates.transpose(1, 2).flatten(2)  # (batch, radix, cardinality * channels per group)
    ### END SOLUTION


check("splat.rsoftmax", rsoftmax)

# %%
from IPython.display import display

display(hint("splat.rsoftmax"))  # folded, as is the solution below it
solution("splat.rsoftmax")

# %% [markdown]
# ## Which channel goes where
#
# Here is what your function does, not what it says. Each cell of the upper row is one logit, with its number. Each cell of
# the middle row is a gate, and carries the number of the logit *that raises it*, found by asking your function for its
# gradients. The lower row is the channels of the maps, each in the colour of the logit that was meant for it. **Where the
# lower two rows have equal colours, every gate meets its own map.** A colour is a cardinal group, a shade a split.
#
# Move the sliders. In which of the nine cases do no two lines cross? And what would happen, there, without the
# transpose? Set the last slider and see whether you were right: a × marks a gate that meets somebody else's map.

# %%
from netwright.lessons.sliders import At, explore

rsoftmax = theirs_or_ours("splat.rsoftmax", rsoftmax)
functions = {"yours": rsoftmax, "without the transpose": lesson.untransposed}

explore(
    lambda radix, cardinality, function: lesson.draw_layout(radix, cardinality, functions[function]),
    radix=At((1, 2, 4), 2),
    cardinality=At((1, 2, 4), 2),
    function=tuple(functions),
)

# %% [markdown]
# With radix 1, or with cardinality 1, both orders are the same order, and the transpose moves nothing. It takes two of
# each. Keep that in mind until exercise 8.
#
# ### Exercise 5: weigh and sum
#
# One line is missing for the way out: every channel of every split times its gate, and the sum over the splits. Write
# `combine(parts, gates)`, from `(batch, radix, channels, height, width)` and `(batch, radix, channels)` to
# `(batch, channels, height, width)`.
#
# *3 minutes · easy · one line*


# %%
@exercise("splat.combine")
def combine(parts, gates):
    """Maps and their gates to one map."""
    ### BEGIN SOLUTION
    return (parts * gates[..., None, None]).sum(1)
    ### END SOLUTION


check("splat.combine", combine)

# %% [markdown]
# ### Exercise 6: the whole layer
#
# Put it together, as a module `SplitAttention(channels, radix, cardinality)` that keeps its shape. Its five parts have
# the names that our nets have, so that published weights find their places:
#
# | name | what it is |
# |---|---|
# | `conv` | 3×3 convolution, `channels` to `radix * channels`, padding 1, in `radix * cardinality` groups, no bias |
# | `norm` | `BatchNorm2d` for that; a ReLU follows |
# | `fc1` | 1×1 convolution from `channels` to the inner width, in `cardinality` groups, with bias |
# | `fc_norm` | `BatchNorm2d` for that; a ReLU follows |
# | `fc2` | 1×1 convolution from there to `radix * channels`, in `cardinality` groups, with bias |
#
# Look at the number of groups of `conv`. Each split sees *its own slice* of the input channels, not all of them: that is
# how $R$ splits come at the price of one.
#
# *15 minutes · hard · a dozen lines*

# %%
inner_width = theirs_or_ours("splat.inner_width", inner_width)
combine = theirs_or_ours("splat.combine", combine)


@exercise("splat.attention")
class SplitAttention(torch.nn.Module):
    """(batch, channels, height, width) to the same."""

    def __init__(self, channels, radix, cardinality):
        super().__init__()
        ### BEGIN SOLUTION
        self.radix, self.cardinality = radix, cardinality
        hidden = inner_width(channels, radix)
        groups = radix * cardinality
        self.conv = torch.nn.Conv2d(channels, radix * channels, 3, padding=1, groups=groups, bias=False)
        self.norm = torch.nn.BatchNorm2d(radix * channels)
        self.fc1 = torch.nn.Conv2d(channels, hidden, 1, groups=cardinality)
        self.fc_norm = torch.nn.BatchNorm2d(hidden)
        self.fc2 = torch.nn.Conv2d(hidden, radix * channels, 1, groups=cardinality)
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        x = self.norm(self.conv(x)).relu()
        parts = splits(x, self.radix, self.cardinality)  # (batch, radix, channels, height, width)
        _, descriptor = pooled(parts)  # (batch, channels)
        hidden = self.fc_norm(self.fc1(descriptor[..., None, None])).relu()  # (batch, hidden, 1, 1)
        gates = rsoftmax(self.fc2(hidden).flatten(1), self.radix, self.cardinality)
        return combine(parts, gates)
        ### END SOLUTION


check("splat.attention", SplitAttention)

# %% [markdown]
# ## Two limits
#
# A layer is understood when one knows what it becomes at its ends. **Equal logits:** if `fc2` has nothing to say, every
# gate is $1/R$, and the layer is the plain mean of its splits. Here is a fresh layer, whose `fc2` says something random,
# and the same layer with its `fc2` silenced.

# %%
SplitAttention = theirs_or_ours("splat.attention", SplitAttention)

torch.manual_seed(1)
layer = SplitAttention(channels=16, radix=4, cardinality=2).eval()
x = torch.randn(2, 16, 9, 7)
with torch.no_grad():
    parts = splits(layer.norm(layer.conv(x)).relu(), 4, 2)
    print(f"fresh:    {(layer(x) - parts.mean(1)).abs().max():.2g} away from the mean of its splits, at most")
    for tensor in (layer.fc2.weight, layer.fc2.bias):
        tensor.zero_()
    print(f"silenced: {(layer(x) - parts.mean(1)).abs().max():.2g}")

# %% [markdown]
# ### Exercise 7: one split
#
# **Radix 1:** nothing to cut, nothing to compete with. Write directly what is then left. `radix_one(layer, x)` gets the
# five parts of a layer of radix 1 (`layer.conv`, `layer.norm`, `layer.fc1`, `layer.fc_norm`, `layer.fc2`) and a map, and
# returns what the whole layer would make of it. You need neither `splits` nor `rsoftmax` nor `combine`; and calling
# `layer(x)` does not help, since in the check it is a box of parts without a `forward`.
#
# *5 minutes · medium · four lines*


# %%
@exercise("splat.radix_one")
def radix_one(layer, x):
    """What a split attention of radix 1 makes of x (batch, channels, height, width)."""
    ### BEGIN SOLUTION
    y = layer.norm(layer.conv(x)).relu()
    descriptor = y.mean((2, 3), keepdim=True)  # (batch, channels, 1, 1)
    gate = layer.fc2(layer.fc_norm(layer.fc1(descriptor)).relu()).sigmoid()
    return y * gate
    ### END SOLUTION


check("splat.radix_one", radix_one)

# %% [markdown]
# If that looks familiar: it is nearly **squeeze-and-excitation**
# ([Hu et al. 2018](https://arxiv.org/abs/1709.01507), section 3), two years older. What separates them is the
# normalisation between the two small layers, and the groups. Take those away, hand the numbers over, and compare with the
# library's `SqueezeExciteGate`.

# %%
from netwright.nets.config import SqueezeExcite
from netwright.nets.layers import SqueezeExciteGate

radix_one = theirs_or_ours("splat.radix_one", radix_one)
layer = SplitAttention(channels=512, radix=1, cardinality=1).eval()
layer.fc_norm = torch.nn.Identity()
gate = SqueezeExciteGate(512, SqueezeExcite(reduction=4)).eval()
gate.load_state_dict({f"{name}.{kind}": getattr(layer, name).state_dict()[kind]
                      for name in ("fc1", "fc2") for kind in ("weight", "bias")})  # fmt: skip

x = torch.randn(2, 512, 7, 5)
with torch.no_grad():
    excited = gate(layer.norm(layer.conv(x)).relu())
    print(f"{(layer(x) - excited).abs().max():.1g} between the layer of radix 1 and convolution, then squeeze-excite;")
    print(f"{(radix_one(layer, x) - excited).abs().max():.1g} between that and your function.")

# %% [markdown]
# The other parent is **SKNet** ([Li et al. 2019](https://arxiv.org/abs/1903.06586), section 3.1): there, two branches with
# kernels of two sizes are summed, pooled, and weighed by a softmax, each channel for itself. Radix 2 is that, with two
# differences: both branches have 3×3 kernels, and each sees its own slice of the input
# ([the authors say so](https://github.com/zhanghang1989/ResNeSt/issues/74)).
#
# ## What it costs
#
# That slice is why radix costs so little. Widths and map sizes are those of ResNet-50's first and last stage; every number
# is counted in layers that ran, and a percentage is of the plain 3×3.

# %%
lesson.cost_table(SplitAttention, stages=((64, 56), (512, 7)), radices=(1, 2, 4))

# %% [markdown]
# The 3×3 itself costs the same at every radix: $R$ times the outputs, each from $1/R$ of the inputs. The gates cost
# *parameters*, more with every split, and next to no multiplications, because they work on one pixel. Neither column is a
# time: several maps are also written and read.
#
# ## The whole net, proven
#
# Your layer now takes its place in ResNeSt-50, in all sixteen blocks. (What else is new in that net, the stem and the
# pools, is the subject of 05.) `nw.first_difference` gives the net seeded weights and compares it, block by block, with
# what timm's net made of the same numbers. The third net is loaded from a file in the layout of ResNeSt's authors, through
# the library's key map: names, shapes, and again the trace.

# %%
from netwright.weights.keymaps import rename

for architecture in ("resnest50d", "resnest50d_1s4x24d"):
    print(nw.first_difference(lesson.net_of(SplitAttention, architecture), architecture))

file = nw.golden_checkpoint("resnest50d_4s2x40d", "resnest")  # as its authors would name the numbers
state = {name: file[key] for key, name in rename(file, "resnest").items()}
net = lesson.net_of(SplitAttention, "resnest50d_4s2x40d")
print("\nfrom the authors' layout:", net.load_state_dict(state))
nw.first_difference(net, "resnest50d_4s2x40d", state=None)

# %%
from matplotlib import cbook

from netwright.weights.fetch import WeightsUnavailable, fetch
from netwright.weights.read import read_checkpoint

published = nw.list_weights("resnest50d_4s2x40d*")[0]
try:
    weights = read_checkpoint(fetch(published))
    net.load_state_dict({name: weights[key] for key, name in rename(weights, "resnest").items()})
    library = nw.create_model("resnest50d_4s2x40d", pretrained=True).eval()
    photo = nw.transform_for(library)(nw.open_image(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    with torch.inference_mode():
        gap = (net.eval()(photo.unsqueeze(0)) - library(photo.unsqueeze(0))).abs().max()
    print(f"{published.name} is in your net. Largest difference to the library's own logits: {gap:.1g}.")
except WeightsUnavailable:
    wanted = published.files[0]
    print(f"Offline: {wanted.filename} ({wanted.size_text}) is not on this machine, so this part waits for a network.")

# %% [markdown]
# ## What would fool you
#
# Is anybody likely to forget that transpose? A reader of the authors' code asked what it was for, and proposed to do
# without ([ResNeSt, issue 41](https://github.com/zhanghang1989/ResNeSt/issues/41)); a reviewer at OpenMMLab asked whether
# it was necessary ([mmsegmentation, pull request 47](https://github.com/open-mmlab/mmsegmentation/pull/47)). Good
# questions, both. A test should have the answer.
#
# ### Exercise 8: the test that sees it
#
# Write `is_right(candidate)`. It gets somebody's r-softmax, with the arguments of exercise 4, and returns True if it is
# right and False if it is wrong, at whatever radix and cardinality, radix 1 included. The check tries your test on right
# implementations, which may round otherwise than yours, and on wrong ones. You may use your own `rsoftmax`.
#
# What is the smallest case in which nothing can hide? Most first attempts are fooled; the answer then tells you by what.
#
# *10 minutes · medium · half a dozen lines*


# %%
@exercise("splat.expose")
def is_right(candidate):
    """Whether candidate(logits, radix, cardinality) is an r-softmax."""
    ### BEGIN SOLUTION
    for radix in (1, 2):
        logits = torch.randn(3, radix * 2 * 3)  # two cardinal groups of three channels, and all logits different
        if not torch.allclose(candidate(logits, radix, 2), rsoftmax(logits, radix, 2), atol=1e-6):
            return False
    return True
    ### END SOLUTION


check("splat.expose", is_right)

# %% [markdown]
# Now the four things of the prediction. `lesson.layer_with` makes split attention around any r-softmax, here around one
# whose transpose was taken out. Its parameters have the same names and shapes, so a file loads strictly into either.

# %%
is_right = theirs_or_ours("splat.expose", is_right)
Untransposed = lesson.layer_with(lesson.untransposed)
print(f"Your test: {is_right(rsoftmax)} of the r-softmax, {is_right(lesson.untransposed)} without its transpose.\n")

broken = lesson.net_of(Untransposed, "resnest50d_4s2x40d")
print("the published layout:", broken.load_state_dict(state))
print(nw.first_difference(lesson.net_of(Untransposed, "resnest50d"), "resnest50d"))
found = nw.first_difference(broken, "resnest50d_4s2x40d", state=None)
print(found)
found.figure()

# %% [markdown]
# The first two answers are *yes*: the weights load, and `resnest50d`, of cardinality 1, is right, as exactly as with the
# transpose. Who proves the code on that net alone proves nothing about the transpose. `resnest50d_4s2x40d`, with four
# splits and two cardinal groups, departs in its very first block.
#
# And the fourth? Here is a small net of three blocks with radix 2 and cardinality 2. It learns to tell six textures of the
# toy world apart, once with your layer and once without the transpose; same first weights, same pictures.

# %%
from torchinfo import summary

from netwright.lessons.toy_training import draw_learning, learn_toys

net = lesson.net_of(SplitAttention, num_classes=6)
print(summary(net, (2, 3, 64, 64), depth=2, verbose=0, col_width=18, row_settings=("var_names",)))

learned = {
    "with the transpose": learn_toys(net, group="texture"),
    "without": learn_toys(lesson.net_of(Untransposed, num_classes=6), group="texture"),
}
right, wrong = learned.values()
gap = 100 * (right.accuracy - wrong.accuracy)
p, n = (right.accuracy + wrong.accuracy) / 2, len(right.labels)
print(
    f"\n{abs(gap):.1f} points {'lost' if gap > 0 else 'won'} without the transpose. Two nets of equal worth, tried on {n}"
)
print(f"pictures, differ by more than {200 * (2 * p * (1 - p) / n) ** 0.5:.0f} points in one case out of twenty.")
draw_learning(learned)

# %% [markdown]
# Without the transpose a gate weighs the map of another group. That is another net, and not a useless one: everything
# that follows learns to live with it. So a falling loss, a good accuracy and a strict load all say *yes* to a layer that is
# not the published one, and with published weights it would have been wrong from the first block on. Your test said no.
#
# ## What the gates of a trained net do
#
# `toy_resnest`, which ships with the workbook, was trained on all twenty classes of the toy world. Here are its gates for
# test pictures: a row for each class, a column for each channel. ½ is the plain mean of the two splits; blue takes more of
# split 1, red more of split 0. On the right: how much of a gate's variance over the pictures goes with the class, beside
# the same net before it learnt anything, and beside classes drawn by lot.

# %%
torch.manual_seed(0)
nets = {
    "trained": lesson.toy_gates(nw.create_model("toy_resnest", pretrained=True)),
    "untrained": lesson.toy_gates(nw.create_model("toy_resnest")),
}
blocks = tuple(nets["trained"])
explore(lambda block, net: lesson.draw_gates(nets, net, block), block=At(blocks, blocks[-2]), net=tuple(nets))

# %% [markdown]
# A column of one colour from top to bottom is a habit of its channel, whatever the picture. A column that changes goes
# with the class, and by the right-hand panel a good part of how these gates vary does; before training it was little more
# than by lot. Four cautions:
#
# - *It says what a gate goes with, not what it is for.* A gate that follows the class may be of no use to the answer. To
#   know, one has to take hold of it and turn: 05 does.
# - *Going with the class is not knowing the class.* The lines part three groups, textures, shapes and relations. Pictures
#   of a relation show two figures, the others one: a gate that only goes with how much of the picture is figure would look
#   the same in this panel.
# - *It is the mean of a class.* Single pictures scatter about it; the right-hand panel says how much.
# - *It is no map.* There is nothing here that could be laid over a picture.
#
# ## Paper versus published code
#
# | | the paper | published code, which the weights need | here |
# |---|---|---|---|
# | order of the groups | group by group (section 3.1) | radix-major, and a transpose in the r-softmax | code |
# | what a split sees | its own feature-map group | a 1/(R·K) slice of the channels: one grouped convolution | the same |
# | gate at radix 1 | sigmoid (section 3.1) | sigmoid | the same |
# | inner width | | `max(channels * radix // 4, 32)` | authors' code |
# | rounding of it | | timm: to a multiple of 8; equal for all published nets | authors' code |
# | memory | | the sum of the splits is written | never written |
#
# Both orders of the groups compute the same, with the channels renumbered. Only weights tell which one is meant.
#
# ## Recap
#
# - Split attention weighs *branches*, channel by channel, by what is in the whole picture. It has no idea where.
# - Its 3×3 costs what a plain one costs, since every split sees a slice. The gates cost parameters, and hardly any
#   arithmetic.
# - Equal logits: the plain mean of the splits. Radix 1: a sigmoid gate, squeeze-and-excitation but for a normalisation.
# - The logits come group by group, the maps split by split. The transpose between them shows only where radix *and*
#   cardinality are two or more.
# - So the answers were yes, yes, no, and no, within what such a test can tell. A test is worth what its case can show.
#
# **Where next.** 05 · ResNeSt-50 builds the rest of the net around your layer, and takes its gates by the hand.
#
# What was checked in this session, and what the exercises were estimated at:

# %%
from netwright.lessons import progress

minutes = {each.id: each.minutes for each in lesson.CHECKS}
print(
    f"{len(minutes)} exercises, about {sum(minutes.values())} minutes; the longest is {max(minutes, key=minutes.get)}."
)
progress()
