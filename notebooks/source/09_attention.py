# %% [markdown]
# # 09 · Attention or decoration?
#
# Notebooks 03 to 07 built three kinds of middle for a block: groups, gates, and attention. Each comes with pictures that
# are easy to love: a head that looks at the eye of a bird, a gate that opens for stripes. This notebook asks what such a
# picture is worth, and answers with numbers. Afterwards you can
#
# - read a HaloNet's attention, its padding included, and say how sharply a head looks;
# - write a ResNeXt's prediction as a sum over its cardinal groups, and test that sum by taking a group away;
# - split what a ResNeSt's gates do into a fixed average and the rest;
# - tell an explanation from a decoration: by intervention, by a net with random weights, by pixels that are known to matter;
# - find five mistakes from public code that no shape and no parameter count gives away, and accuracy hardly.
#
# *About an hour and a half. You need to know what a bottleneck is; everything else is imported.*
#
# ### How this notebook asks
#
# Before an experiment there is a question with a few answers. Choose one; it is kept at once, and until the answer has
# been shown you can change your mind. A guess counts only if it came first. If you do not guess, everything runs all the
# same. At the end `calibration()` says how good your guesses are, in this notebook and in the others.
#
# Everything runs offline, on nets that were trained on the toy world: pictures of which the cause of every label is known.
#
# Here are the first two questions. They are about a picture of two equal shapes, side by side and far apart, and a small
# HaloNet. Its first attention layer has a map of 16×16 keys, in four blocks of 8×8, and every second pixel asks. Every
# window is a block and a halo of three, 14×14 keys, and 38 % of those lie outside the map, where there is nothing but zeros.

# %%
import torch
from IPython.display import display

import netwright as nw
from netwright.lessons import attention as lesson
from netwright.lessons import (  # noqa: F401  hint is for you to call
    calibration,
    check,
    exercise,
    hint,
    predict,
    progress,
    reveal,
    theirs_or_ours,
)

halonet, resnext, resnest = (lesson.toy_net(name) for name in ("toy_halonet", "toy_resnext", "toy_resnest"))
PICTURE = 5  # of the toy world's test pictures, in all that follows
look = lesson.toy_probe(halonet, PICTURE)

less, alike, more = "less than 20 %", "20 to 40 %, about as if all keys were alike", "more than 40 %"
question = "The first layer, mean over heads and queries: how much of the attention goes to the zeros outside the map?"
display(predict("attention.padding", question, (less, alike, more)))
most, some, none = "all but one column of it", "less than half of it", "none of it"
question = "One step to the right takes a query over the border of its block. How much of its window does it keep?"
predict("attention.jump", question, (most, some, none))

# %% [markdown]
# ## Is attention an explanation?
#
# **The case against.** Attention says how the values are *mixed*, not what became of the mixture. The weights may be large
# where the values are small; a later layer may throw all of it away; and other weights may give the same answer. Jain and
# Wallace 2019 ("Attention is not Explanation", arXiv:1902.10186) found such other weights for texts.
#
# **The case for.** Those were made up for one text at a time, and no net had learnt them (Wiegreffe and Pinter 2019,
# "Attention is not not Explanation", arXiv:1908.04626). And what changes an answer when it is changed is a cause of it,
# whatever one calls it.
#
# So look first; then intervene; and do both again in a net that has learnt nothing.
#
# First, look. Below is the whole attention of the small HaloNet for one picture. Click a query, or take the arrow keys
# (with Shift, a block at a time); `[` and `]` change the head. The badge at the top says that the weights shown rebuild
# what the layer put out. Then
#
# 1. walk to the right over a block border, and watch the window;
# 2. switch *Show* to *position* and then to *value-weighted*: which of the bright spots are still bright?
# 3. under *Take something from this layer* take away halo, padding, position, content or a head (*Measure all* tries them
#    one by one), and read what it does to the logit, here and in the **random twin**, a net of the same make with random
#    weights.

# %%
from netwright.views import HaloExplorer

explorer = HaloExplorer(look)
explorer

# %% [markdown]
# ### Exercise 1: three masses
#
# The weights of a query sum to 1. Part of that falls into its own block, part into the halo, and part outside the map. A
# picture that is cut off at the edge of the map hides the third part: what it shows no longer sums to 1, and it does not
# say so.
#
# `masses(weights, block_size, halo)` gets the weights of a layer, (heads, rows, columns, queries, window, window), for a
# map of rows × columns blocks. It returns a dict of `"own"`, `"halo"` and `"padding"`, each (heads, rows, columns,
# queries). What counts as `"halo"` is the part of the halo that lies *on* the map. A halo may be 0, or wider than a block.
#
# Below the exercise stand the first two answers, and your masses for both layers. Under each layer is what they would be if
# a query looked at all its keys alike: that is geometry, and has nothing to do with learning. If you are stuck, run
# `hint("attention.masses")` in a cell of your own: it has three hints, folded into each other. So has every exercise.
#
# *8 minutes · medium · half a dozen lines*


# %%
@exercise("attention.masses")
def masses(weights, block_size, halo):
    """-> {"own": …, "halo": …, "padding": …}, each (heads, rows, columns, queries); they sum to 1."""
    ### BEGIN SOLUTION
    rows, columns, _, window, _ = weights.shape[1:]
    y = torch.arange(rows)[:, None] * block_size - halo + torch.arange(window)  # (rows, window), on the map
    x = torch.arange(columns)[:, None] * block_size - halo + torch.arange(window)
    inside_y, inside_x = (y >= 0) & (y < rows * block_size), (x >= 0) & (x < columns * block_size)
    inside = inside_y[:, None, None, :, None] & inside_x[None, :, None, None, :]  # (rows, columns, 1, window, window)
    own = weights[..., halo : halo + block_size, halo : halo + block_size].sum((-2, -1))
    padding = (weights * ~inside).sum((-2, -1))
    return {"own": own, "halo": 1 - own - padding, "padding": padding}
    ### END SOLUTION


check("attention.masses", masses)

# %%
masses = theirs_or_ours("attention.masses", masses)
first = explorer.layers["stages.1.0.middle.attention"]
weights = explorer.attended(first.name).weights.flatten(3, 4)  # (heads, rows, columns, queries, window, window)
share = masses(weights, first.block_size, first.halo)["padding"].mean().item()
outside = explorer.data[first.name]["padding_share"].mean()
truth = less if share < 0.2 else alike if share <= 0.4 else more
display(reveal("attention.padding", truth, f"It is {share:.0%}; of the keys {outside:.0%} lie outside."))
kept = max(0, first.window - first.block_size) / first.window
words = f"It jumps by a block, {first.block_size} keys, and keeps {kept:.0%}. Within a block it does not move at all."
display(reveal("attention.jump", none if kept == 0 else some if kept < 0.5 else most, words))
lesson.draw_masses(masses, explorer)

# %% [markdown]
# Two heads of the second layer keep away from the padding, and one of the first gives it somewhat less than its share. The
# others do with it about what geometry says.
#
# ### Exercise 2: effective keys
#
# How sharply does a head look? The entropy of its weights tells, and *e* to its power says it in a unit that one can
# picture, **effective keys**: with equal weights on *n* keys and none on the others it is *n*; with all weight on one key
# it is 1.
#
# `effective_keys(weights, inside)` gets weights (…, keys) that sum to 1, and `inside`, bool, which keys lie on the map; it
# broadcasts against the weights. Leave out what lies outside, and make the rest sum to 1 before you count. Weights may be
# exactly 0. A query that looks at nothing inside gets 0.
#
# *5 minutes · easy · four lines*


# %%
@exercise("attention.effective_keys")
def effective_keys(weights, inside):
    """(…, keys) -> (…): e to the power of the entropy over the keys inside."""
    ### BEGIN SOLUTION
    kept = weights * inside
    total = kept.sum(-1, keepdim=True)
    kept = kept / total.where(total > 0, 1.0)
    entropy = -torch.special.xlogy(kept, kept).sum(-1)  # 0 log 0 is 0
    return entropy.exp() * (total.squeeze(-1) > 0)
    ### END SOLUTION


check("attention.effective_keys", effective_keys)

# %%
sharp, late, early = "one of the two sharp heads", "another head of the second layer", "a head of the first layer"
question = (
    "Two heads of the second layer look at few of their keys, all others at most of theirs. Each head in turn now says "
    "everywhere what it says on average. Without which one do the logits move most?"
)
predict("attention.sharp", question, (sharp, late, early))

# %%
effective_keys = theirs_or_ours("attention.effective_keys", effective_keys)
heads = lesson.heads_that_matter(halonet, effective_keys)
most_moved = max(heads, key=lambda head: head.moved.value)
truth = sharp if most_moved.keys < 0.3 else early if most_moved.layer.startswith("stages.1") else late
words = (
    f"Head {most_moved.number} of {most_moved.layer}: the logits move by {most_moved.moved.value:.1%} of their length "
    f"({most_moved.moved.low:.1%} to {most_moved.moved.high:.1%} over {most_moved.moved.of} pictures). "
    f"It looks at {most_moved.keys:.0%} of its keys."
)
display(reveal("attention.sharp", truth, words))
lesson.draw_heads(heads)

# %% [markdown]
# Within the second layer the sharp heads are indeed the ones that count. But the head that counts most is in the first, and
# its picture is one that nobody would print: almost the same weight everywhere. A mean over a neighbourhood is a fine thing
# to compute. *Sharp* and *important* are two properties, and only one of them can be seen.
#
# ## ResNeXt: a sum over groups
#
# A block of ResNeXt is a sum of paths (Xie et al. 2016, section 3), one for each **cardinal group** of its 3×3 convolution.
# After the 3×3, the 1×1 and its normalisation are linear but for a shift. In the *last* block only a ReLU, a mean and the
# classifier follow. The ReLU lets a number through or not; at a given picture that is a mask. So a logit is, exactly, a
# sum: the bias, what the shortcut brings, what the normalisation's shift brings, and one number for each cardinal group.
#
# ### Exercise 3: the ledger
#
# `ledger(middle, shortcut, expand, classifier, target, cardinality)` gets, for the last block,
#
# - `middle` (batch, mid_channels, height, width), what the grouped 3×3 gave, behind its ReLU, its channels group by group;
# - `shortcut` (batch, channels, height, width), what is added to the branch;
# - the modules `expand` (with `.conv`, 1×1 without bias, and `.norm`, in evaluation mode) and `classifier`;
# - `target`, the number of a class.
#
# The block puts out relu(expand(middle) + shortcut), and the logit is the classifier's, of its mean over the pixels.
#
# Return a dict of `"bias"`, `"shortcut"` and `"shift"`, each (batch,) or a number, and `"groups"` (batch, cardinality), that
# sum to the logit. The shift is the constant that the normalisation adds to each channel; it belongs to no group.
#
# *12 minutes · hard · a dozen lines*


# %%
@exercise("attention.ledger")
def ledger(middle, shortcut, expand, classifier, target, cardinality):
    """-> {"bias": …, "shortcut": …, "shift": …, "groups": …}, which sum to the logit of class `target`."""
    ### BEGIN SOLUTION
    norm, weight = expand.norm, classifier.weight[target]
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = norm.bias - norm.running_mean * scale
    matrix = scale[:, None] * expand.conv.weight[:, :, 0, 0]  # (channels, mid_channels)

    branch = torch.einsum("km,bmyx->bkyx", matrix, middle) + shift[:, None, None]
    mask = (branch + shortcut > 0).to(middle.dtype)
    price = weight[:, None, None] * mask / mask[0, 0].numel()  # of one unit of a channel at a pixel
    by_channel = torch.einsum("bkyx,km,bmyx->bm", price, matrix, middle)
    return {
        "bias": classifier.bias[target],
        "shortcut": (price * shortcut).sum((1, 2, 3)),
        "shift": (price * shift[:, None, None]).sum((1, 2, 3)),
        "groups": by_channel.unflatten(1, (cardinality, -1)).sum(2),
    }
    ### END SOLUTION


check("attention.ledger", ledger)

# %%
nearly, half, little = "nearly all of it", "about half", "less than a fifth"
question = "The toy ResNeXt gets the same picture right. How much of its logit do the 8 groups of its last block add?"
display(predict("attention.groups", question, (nearly, half, little)))
whole, part, not_at_all = "it falls by all that the group adds", "it falls, but by less", "it does not fall"
question = "The group that adds most is replaced by its mean over other pictures. What does the logit do?"
predict("attention.out", question, (whole, part, not_at_all))

# %%
from netwright.views import Ledger

ledger = theirs_or_ours("attention.ledger", ledger)
looked = lesson.toy_probe(resnext, PICTURE)
target, block = looked.target(), resnext.stages[-1][-1]
middle, shortcut = looked["stages.3.0.middle"], looked["stages.3.0.shortcut"]
with torch.no_grad():
    terms = ledger(middle, shortcut, block.expand, resnext.classifier, target, cardinality=8)
total = sum(one.sum().item() for one in terms.values())
print(f"your terms sum to {total:.5f}, the logit is {looked.logits[target]:.5f}")
share = (terms["groups"].sum() / looked.logits[target]).item()
truth = nearly if share > 0.8 else little if share < 0.2 else half
words = f"The groups add {terms['groups'].sum():+.2f}, the shortcut {terms['shortcut'].sum():+.2f}."
display(reveal("attention.groups", truth, words))
Ledger(looked)

# %% [markdown]
# So the branch of this block is close to decoration for this picture: what decides comes in through the shortcut. Choose
# another class in the view, or take out a second group beside the first.
#
# `Ledger(looked, "stages.2.0")`, in a cell of your own, does the same for an earlier block. There more than a mean and a
# linear layer follows, so its terms are a first-order estimate; the badge says so, and by how much they miss the logit.
# Whether the groups are groups of anything is a question of its own: `GroupStructure(looked)`, from `netwright.views`,
# compares them with groups that are dealt out at random.
#
# ### Exercise 4: knock-out
#
# A ledger is arithmetic. What happens *without* a group is an experiment, and it needs a choice: what stands in the group's
# place? Zeros are something that the rest of the net has never met. What the group says on average, over other pictures, is
# the better "nothing".
#
# `knock_out(tail, middle, others, cardinality)` gets the rest of the net, `tail`, which maps (n, channels, height, width) to
# logits (n, classes); `middle` (channels, height, width) of one picture; and `others` (pictures, channels, height, width).
#
# In each variant one group's channels are replaced, channel by channel, by their mean over the other pictures and all
# pixels. Return the change of the logits, (cardinality, classes): as they are then, less as they were. All variants go
# through the tail as **one batch**: the check counts its calls, and allows two.
#
# *8 minutes · medium · half a dozen lines*


# %%
@exercise("attention.knock_out")
def knock_out(tail, middle, others, cardinality):
    """-> (cardinality, classes), the change of the logits without each group."""
    ### BEGIN SOLUTION
    mean = others.mean((0, 2, 3))[:, None, None].expand_as(middle)
    variants = torch.stack([middle] * (cardinality + 1))  # the last stays as it is
    width = len(middle) // cardinality
    for group in range(cardinality):
        own = slice(group * width, (group + 1) * width)
        variants[group, own] = mean[own]
    logits = tail(variants)
    return logits[:-1] - logits[-1]
    ### END SOLUTION


check("attention.knock_out", knock_out)

# %%
knock_out = theirs_or_ours("attention.knock_out", knock_out)
others = torch.cat([lesson.toy_probe(resnext, i)["stages.3.0.middle"] for i in range(40) if i != PICTURE])


def tail(x):
    return resnext.forward_head(block.act(block.expand(x) + shortcut))


with torch.no_grad():
    change = knock_out(tail, middle[0], others, cardinality=8)[:, target]
predicted = Ledger(looked, dataset_mean=others.mean((0, 2, 3))).predicted(baseline="dataset")[0]
group = int(terms["groups"][0].argmax())
fall, term = -float(change[group]), float(terms["groups"][0, group])
truth = not_at_all if fall <= 0 else whole if fall > 0.95 * term else part
words = f"Group {group} adds {term:+.2f}; without it the logit changes by {-fall:+.2f}. Its mean says something, too."
display(reveal("attention.out", truth, words))
for number, (one, by_ledger, by_running) in enumerate(zip(terms["groups"][0], predicted, change, strict=True)):
    print(f"group {number}: adds {one:+.3f}; gone, by the ledger {by_ledger:+.3f}, by running again {by_running:+.3f}")

# %% [markdown]
# The two last columns are close, and not equal. The gap is what a linear story misses: once a group is gone, some numbers
# fall on the other side of the ReLU. Behind an earlier block there is more that a linear story can miss. Only the last
# column is a measurement.
#
# ## ResNeSt: a gate is not a heat map
#
# Split attention with radix 2 weighs two splits $U_0$ and $U_1$, channel by channel, with gates $a_0 + a_1 = 1$ (Zhang et
# al. 2020, section 3.1). A gate is *one number for a channel*, the same at every pixel. Whoever lays it over the picture,
# as some do, draws something that is not there.
#
# ### Exercise 5: fixed and adaptive
#
# With $d = (a_0 - a_1)/2$ the output is $\tfrac12(U_0+U_1) + d\,(U_0-U_1)$: an average that would be there without any
# attention, and what attention adds. `split(splits, gates)` gets splits (batch, 2, channels, height, width) and gates
# (batch, 2, channels), and returns a dict: `"fixed"` and `"adaptive"`, both (batch, channels, height, width), and
# `"share"` (batch,), the length of the adaptive part over the length of the output, each picture's numbers taken as one
# vector.
#
# *6 minutes · easy · five lines*


# %%
@exercise("attention.split")
def split(splits, gates):
    """-> {"fixed": …, "adaptive": …, "share": …}"""
    ### BEGIN SOLUTION
    d = (gates[:, 0] - gates[:, 1])[..., None, None] / 2
    fixed = (splits[:, 0] + splits[:, 1]) / 2
    adaptive = d * (splits[:, 0] - splits[:, 1])
    share = adaptive.flatten(1).norm(dim=1) / (fixed + adaptive).flatten(1).norm(dim=1)
    return {"fixed": fixed, "adaptive": adaptive, "share": share}
    ### END SOLUTION


check("attention.split", split)

# %%
few, middling, many = "fewer than one in ten", "between one in ten and one in two", "more than one in two"
question = (
    "All gates of the toy ResNeSt are set to one half, so that it only averages. Of 200 test pictures, how many get "
    "another answer?"
)
display(predict("attention.half", question, (few, middling, many)))
question = "And if each picture gets the gates of another picture, of another class: fewer than with one half, or more?"
predict("attention.transplant", question, ("fewer", "about as many", "more"))

# %%
from netwright.views import Gates

split = theirs_or_ours("attention.split", split)
gates = Gates(lesson.toy_probe(resnest, PICTURE))
flips = gates.flips
truth = few if flips["even"] < 0.1 else many if flips["even"] > 0.5 else middling
words = f"{flips['even']:.0%} do. With the mean of each gate over all pictures instead, {flips['mean']:.0%} do."
display(reveal("attention.half", truth, words))
gap = flips["another"] - flips["even"]
truth = "about as many" if abs(gap) < 0.05 else "more" if gap > 0 else "fewer"
words = f"{flips['another']:.0%}, where it was {flips['even']:.0%} with one half."
display(reveal("attention.transplant", truth, words))
for number, layer in enumerate(gates.layers):
    splits = layer.splits(gates.probe[f"{layer.place}.norm"])
    yours = split(splits, layer.gates(gates.probe[f"{layer.place}.fc2"]))["share"].item()
    print(f"{layer.name}: adaptive by your share {yours:.1%}, by the view's {gates.data['rho'][number]:.1%}")
gates

# %% [markdown]
# In the view above a row is a layer and a cell a channel: red prefers split 0, blue split 1. Below the strip, *other gates*
# sets the gates to something else and says what the answer is then, and *what gates know* says how much of a gate goes with
# the class.
#
# `netwright.views` has two more instruments for the same net. `SplitBrowser(gates.probe)` shows what each split makes of the
# picture. `GatePaths(gates.probe)` shows that through its gates every unit sees the whole picture, and how much comes that
# way.
#
# ## Do they matter?
#
# One picture is an anecdote. Below, the interventions of this notebook over 40 test pictures, with intervals of 95 %, and
# each also in a random twin: the same make, random weights, its normalisations measured on the same pictures. "How far the
# logits move" is the length of the change over the length of the logits (their mean taken off), so that nets with large and
# with small logits compare.

# %%
trained, random = "in the trained net", "in the random twin"
question = "Positions are switched off in the trained HaloNet and in its random twin. Where do logits move further?"
display(predict("attention.twins", question, (trained, random, "alike")))
later = "stages.2.0.middle.attention"
pair = [("net 1", HaloExplorer(look.twin(), later)), ("net 2", HaloExplorer(look, later))]
display(lesson.draw_looks(pair, row=1, column=1, head=1))
question = "One head's weights at one query, in two nets (solid: the block; dashed: the map). Which one is trained?"
predict("attention.blind", question, ("net 1", "net 2"))

# %%
effects = lesson.do_they_matter()
off = next(one for one in effects if one.change == "no position")
apart = off.moved.high < off.twin.moved.low or off.twin.moved.high < off.moved.low
truth = "alike" if not apart else trained if off.moved.value > off.twin.moved.value else random
words = f"By {off.moved.value:.0%} in the trained net, by {off.twin.moved.value:.0%} with random weights."
display(reveal("attention.twins", truth, words))
largest = [float(view.maps(1, 1)[1].max()) for _, view in pair]
words = f"The largest weight is {largest[0]:.2f} with random weights and {largest[1]:.2f} in the trained net."
display(reveal("attention.blind", "net 2", words))
display(lesson.draw_effects(effects))
lesson.effects_table(effects)

# %% [markdown]
# Three things to take home.
#
# - **Structure without learning looks like structure.** Most heads of the random HaloNet look more sharply than those of
#   the trained one, and its logits move further when something is taken away. "It changes the answer" is not yet "it has
#   learnt something".
# - **A trained net holds on to its answers.** The ResNeSt's logits move as far as its twin's, and yet fewer answers change.
#   What the trained HaloNet keeps needing, content far more than position, is what it has learnt to use.
# - **Part of a gate is not about the picture.** What is lost with *one half*, and not with *the mean of all*, static weights
#   could do as well. What is lost with the mean, too, is what adapting is for.
#
# ## Graded explanations
#
# A heat map that looks right proves that it looks right. In the toy world one can ask for more: the pixels that cause a
# label, the *cause*, are known. The *pointing game* (Zhang et al. 2016, arXiv:1608.00507) asks whether the largest number
# of a map lies among them.
#
# ### Exercise 6: the pointing game, with its interval
#
# `pointing(maps, masks)` gets maps (pictures, rows, columns), signed, and masks (pictures, height, width), bool.
#
# - A cell of a map stands for height / rows × width / columns pixels.
# - A map points at its **largest** value; where several cells share it, at all of their pixels alike.
# - A picture's score is the share of the pixels pointed at that lie in its mask. So a map that is flat scores what chance
#   scores.
#
# Return `(share, low, high)`: the mean score $p$ of the $n$ pictures and Wilson's interval for it with $z = 1.96$,
# $\big(p + \tfrac{z^2}{2n} \pm z\sqrt{\tfrac{p(1-p)}{n} + \tfrac{z^2}{4n^2}}\,\big) \big/ \big(1 + \tfrac{z^2}{n}\big)$.
#
# *8 minutes · medium · eight lines*


# %%
@exercise("attention.pointing")
def pointing(maps, masks):
    """-> (share, low, high)"""
    ### BEGIN SOLUTION
    tied = (maps == maps.amax((1, 2), keepdim=True)).double()  # (pictures, rows, columns)
    cell = masks.shape[1] // maps.shape[1], masks.shape[2] // maps.shape[2]
    inside = torch.nn.functional.avg_pool2d(masks.double()[:, None], cell)[:, 0]  # of each cell, the share in the mask
    scores = (tied * inside).sum((1, 2)) / tied.sum((1, 2))
    p, n, z = scores.mean().item(), len(maps), 1.96
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    return p, centre - half, centre + half
    ### END SOLUTION


check("attention.pointing", pointing)

# %%
question = "Toy HaloNet, 40 test pictures: which of these maps points at the cause most often?"
predict("attention.league", question, tuple(lesson.CONTESTANTS.values()))

# %%
from netwright.views import League

pointing = theirs_or_ours("attention.pointing", pointing)
grades = lesson.grade(pointing)
words = f"{grades[0].trained[0]:.0%} of the time ({grades[0].trained[1]:.0%} to {grades[0].trained[2]:.0%})."
display(reveal("attention.league", lesson.CONTESTANTS[grades[0].method], words))
display(lesson.grades_table(grades))
League()

# %% [markdown]
# Above is first your own game with four maps, then the recorded table of all maps and all toy nets. Switch *Score*, *Net* and
# *What causes the label*, and look at the rows called *a control* first: the edges of the picture know nothing of any net,
# and whatever does not beat them may have explained the *picture*. Hollow marks are random weights: see how well the best
# rows do without having learnt anything.
#
# The class map adds up to the logit, so it is *true*, and does badly in this game all the same: with four cells it is too
# coarse to point. What a score rewards is part of its meaning.
#
# ## A museum of real bugs
#
# Every mistake below ran in somebody's public code, or was proposed for it. A, B, C and D are the toy HaloNet, with the
# same trained weights. One is as published. The others have one bug each, in the layer:
#
# - a mask that hides the *valid* keys, those on the map;
# - positions counted from the *wrong origin*;
# - a softmax that is *not scaled*.
#
# E and F are two small ResNeSts with two cardinal groups and the same random weights. One of them has an r-softmax *without
# its transpose* (notebook 04).
#
# The first two tables are what most test suites look at. The others are your instruments: the views' own checks; the share
# of the padding and the effective keys, measured *through the keyhole*, by setting values to 1 at one pixel and 0 elsewhere,
# so that it does not matter what is inside; and the sums of a channel's gates.

# %%
halls, wings = lesson.halo_nets(), lesson.split_nets()
display(lesson.superficial(halls), lesson.superficial(wings), lesson.tour(halls), lesson.gate_tour(wings))
asked = {
    "as published": ("attention.museum_sound", "Which HaloNet is as published?"),
    "inverted mask": ("attention.museum_mask", "Which one hides the valid keys?"),
    "wrong origin": ("attention.museum_origin", "Which one counts positions from the wrong origin?"),
    "unscaled softmax": ("attention.museum_scale", "Which one forgot to scale?"),
}
for name, question in asked.values():
    display(predict(name, question, tuple(halls)))
predict("attention.museum_gates", "Which ResNeSt lacks the transpose?", tuple(wings))

# %%
where = {bug: letter for letter, bug in (*lesson.WINGS.items(), *lesson.HALLS.items())}
for bug, (name, _) in asked.items():
    display(reveal(name, where[bug]))
    if bug != lesson.SOUND:
        display(lesson.PLAQUES[bug])
display(reveal("attention.museum_gates", where["untransposed"]))
lesson.PLAQUES["untransposed"]

# %% [markdown]
# How to read the tables. The query explorer objects to A, C and D alike: their layers put out something else than the right
# weights would. Which bug it is, the other columns tell.
#
# - **C** spends everything on padding, looks at no key on the map, and is still right more often than not: the shortcuts
#   carry it.
# - **A** looks at fewer keys than B and D, as a softmax does that is too sharp.
# - **D** is the hard one: its masses and its effective keys are those of a healthy net. But the view of the relative tables
#   asks the layer itself at which offset it reads each row, and the answers are not where they should be.
# - **B** is the one that nothing objects to.
# - **E** has gates that do not sum to 1 over the splits of a channel.
#
# And look at the accuracies again: on so few pictures a net with a bug can come out *ahead* of the published one.
#
# Unfold "What catches it": each is a test of a few lines, and none of them needs trained weights or a picture.
#
# ### The last exhibit is a way to draw
#
# Three maps of four cells each: evidence for a class, noise of a hundredth of its strength, and nearly the same number
# everywhere, drawn in two ways. In which do you see at once that only one of the three has anything to say?

# %%
display(lesson.draw_museum_maps(lesson.museum_maps()))
lesson.PLAQUES["rescaled maps"]

# %% [markdown]
# ## Your photo, real weights
#
# The same three views on published nets and a photograph; put the path of one of yours in its place. Without a network, and
# without the files, the cell says what is missing. Try what you have learnt here: does padding get as much attention in a
# HaloNet that has seen ImageNet? Is the branch of a real ResNeXt's last block decoration?

# %%
from matplotlib import cbook

from netwright.weights.fetch import WeightsUnavailable

photo = lesson.square(nw.open_image(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
for name, view in (("halonet26t", HaloExplorer), ("resnext50_32x4d", Ledger), ("resnest50d", Gates)):
    try:
        real = nw.create_model(name, pretrained=True).eval()
    except WeightsUnavailable:
        print(f"Offline: the weights of {name} are not on this machine, so its {view.__name__} waits for a network.")
        continue
    display(view(nw.probe(real, photo)))

# %% [markdown]
# ## What would fool you
#
# - **One picture.** Below, all gates are set to one half for each of twelve pictures: had you looked only at the one that
#   moves most, or only at the one that moves least, you would tell another story.
# - **No twin.** Sharp attention, and logits that move: both come free with random weights.
# - **A score without its controls.** The picture's edges know no net, and do well in a pointing game.
# - **Zeros as "nothing".** To remove something is to put something in its place.
# - **A pretty scale.** If every map is full of colour, colour says nothing.

# %%
from netwright.lessons.resnest.force import even, force_gates

inputs, _ = lesson.toy_inputs(resnest, 12)
with torch.no_grad():
    before, after = resnest(inputs), force_gates(resnest, inputs, even)
own = before.argmax(1)
moves = (after - before)[torch.arange(len(own)), own]
for number in moves.argsort().tolist():
    said = lesson.toy_probe(resnest, number).class_names
    flip = "" if after[number].argmax() == own[number] else f", and the answer becomes {said[after[number].argmax()]}"
    print(f"gates one half, picture {number:2} ({said[own[number]]}): its logit moves by {moves[number]:+.2f}{flip}")

# %% [markdown]
# ## Recap
#
# A picture of attention is a question, not an answer. Ask it four times: does it add up (a sum that is a logit, masses that
# sum to 1)? Does the answer change if it is changed (a knock-out, beside what was predicted)? Is it different from what
# random weights show? And where the truth is known, does it point there? What survives all four is an explanation. The rest
# is decoration, and may still be pretty.
#
# | paper | here |
# |---|---|
# | HaloNet's zeros outside the map are not mentioned in its softmax (section 2.2) | keys like any other in the published weights: count their mass |
# | ResNeSt calls its gates attention (section 3.1) | a number for each channel, and none for a place |
# | ResNeXt's aggregated transformations (section 3) | exactly a sum in the last block, first order elsewhere |
#
# **Next:** 10 · Finetune. What you have guessed and done, and the time that was estimated for it:

# %%
minutes = [each.minutes for each in lesson.CHECKS]
print(f"{len(minutes)} exercises, about {sum(minutes)} minutes (estimated) without the reading.")
display(progress())
calibration()
