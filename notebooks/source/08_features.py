# %% [markdown]
# # 08 · Features
#
# What does a net see? The numbers are all there: every layer puts out some thousands of them. With a colour map they
# become a picture, and a picture convinces, whether or not it is right. In this notebook four nets look at one
# picture, and you look into them; and for each way of looking you write the arithmetic that holds it to account.
# Afterwards you can
#
# - draw the maps of a layer so that bright means large, in all of them;
# - write a logit as an exact sum over the places of a picture, and say what is exact in Grad-CAM and what is not;
# - compute which pixels a unit can see, and measure which it does;
# - score an explanation by removing what it points at, and say what that score depends on;
# - find a picture's neighbours in the space itself, and say what a map of points leaves out;
# - ask of every picture what a net with random weights would have shown.
#
# *An hour and a half. Notebooks 01 to 07 built these nets; you need not have read them. No network is needed.*
#
# ### Guess first
#
# Four times a question comes before its experiment. Choose an answer: it is kept, and compared with what was
# measured. If you choose none, the notebook goes on all the same; you only lose the surprise.

# %%
import torch
from IPython.display import display

import netwright as nw
from netwright.lessons import (  # noqa: F401  hint is for you to call
    calibration,
    check,
    exercise,
    hint,
    predict,
    reveal,
    theirs_or_ours,
)
from netwright.lessons import features as lesson

picture = nw.ToyWorld("test")[3]["image"]
nets = lesson.four_nets()
probes = {name: nw.probe(each, picture) for name, each in nets.items()}
net, probe = nets["toy_resnet"], probes["toy_resnet"]  # the one that hesitates most
lesson.draw_answers(probes)

# %% [markdown]
# ## Maps, stage by stage
#
# It is a flower, and all four say so. But two of them also think of a heart. Why?
#
# `nw.probe` has run each net once, and keeps what was inside. `probe["stages.1.1"]` is what that block put out: (1,
# channels, height, width). Below are such maps, at the end of the stem and of each of the four stages, whose names count
# from 0: `stages.1.1` ends the second. Choose one of them, then a channel; the arrow keys work too. What you see are the
# numbers themselves: no smoothing, and one colour scale for all channels of the layer unless you choose another.
#
# Follow the size. From stage to stage there are more channels, of fewer cells, and in the last stage a channel has four:
# two by two. That is all this net knows about *where*, and whatever is drawn from it has four numbers in it, not
# more.

# %%
from netwright.views import StageBrowser

StageBrowser(probe, lesson.STAGES)

# %% [markdown]
# ## Whose maps are they?
#
# A picture of maps needs something to be compared with. What would a net show that has learnt nothing? `probe.twin()`
# is the same make with random weights, and its normalisations are measured anew, so that the signal comes through.
# Adebayo et al. 2018 ("Sanity checks for saliency maps", arXiv:1810.03292) asked this of heat maps, and found famous
# ones that look much the same with and without training.
#
# Below are eight channels of the third stage, `stages.2.1`, from each of the two nets, taken at equal distances, so that
# nobody chose them. Each is stretched from its own smallest to its own largest value, as many tools do without asking.

# %%
twin = probe.twin()
blind = lesson.blind(probe, twin, "stages.2.1")
display(lesson.draw_rows(blind.rows, numbers=False))
predict("features.row", "Which row comes from the trained net?", tuple(blind.rows))

# %% [markdown]
# ### Exercise 1: one scale
#
# If you hesitated, it was not your fault: stretching has thrown away the one thing that was there to be compared.
# Write `scale(maps, signed)`. It gets a list of tensors of any shapes, and returns a list of tensors of the same
# shapes, which say where on the colour bar each value lies, from 0 (one end) to 1 (the other).
#
# - All maps share one bar.
# - Magnitudes (`signed=False`): 0 lies at 0, and the largest value of all maps at 1.
# - Signed values (`signed=True`): 0 lies in the middle, at 0.5, and the largest *absolute* value of all maps at an
#   end.
# - Where all is zero, everything lies where zero lies.
#
# Whether a quantity can be negative is known before it is measured. So it is an argument, and not looked up in the
# data. If you are stuck, run `hint("features.scale")` in a cell of your own: every exercise has three, folded into
# each other.
#
# *5 minutes · easy · four lines*


# %%
@exercise("features.scale")
def scale(maps, signed):
    """-> a list of tensors with values from 0 to 1, in the shapes of the maps"""
    ### BEGIN SOLUTION
    largest = max(float(one.abs().max()) for one in maps) or 1.0
    if signed:
        return [0.5 + one / (2 * largest) for one in maps]
    return [one / largest for one in maps]
    ### END SOLUTION


check("features.scale", scale)

# %%
from netwright.lessons.sliders import At, explore

scale = theirs_or_ours("features.scale", scale)
trained, random = blind.rows[blind.trained], blind.rows[blind.random]
words = f"Over all its channels the random net reaches {random.max():.2f}, the trained one {trained.max():.2f}."
display(reveal("features.row", blind.trained, words))


def draw(place, bar):
    rows = {"trained": probe[place][0], "random": twin[place][0]}
    return lesson.draw_rows(rows, scale if bar == "one for all" else None)


explore(draw, place=At(lesson.STAGES, "stages.2.1"), bar=("one for all", "each its own"))

# %% [markdown]
# Move `bar` to and fro at each `place`. A bar of its own makes a map that hardly responds as bright as any. And it hides
# what training did here: in the third stage most channels of the trained net answer more weakly to this flower than those
# of the random net, where hardly one keeps quiet.
#
# ## A map that adds up
#
# All four nets end alike: the mean over the places $p$ of the last map $A$, which are its cells, and then one linear
# layer. Both are sums, and their order does not matter:
#
# $$\text{logit}_c = b_c + \sum_k w_{ck}\,\frac1Z\sum_p A_k(p) = b_c + \sum_p \underbrace{\frac1Z\sum_k w_{ck}\,A_k(p)}_{M_c(p)}$$
#
# So each of the Z places adds a number of its own, $M_c(p)$, to the logit: that is the class activation map of Zhou
# et al. 2016 (arXiv:1512.04150, section 2), with the division left in. Nothing in it is estimated.
#
# ### Exercise 2: the class map
#
# Write `class_map(features, weight, bias, target, against=None)`, which returns $M$ of the class `target`: (height,
# width), signed, in units of the logit.
#
# - `features`: (channels, height, width), the last map; `weight`: (classes, channels); `bias`: (classes,)
# - The sum of the map and `bias[target]` is the logit. The bias comes from no place, and so it is not in the map.
# - With `against`, another class: what each place adds to the *difference* of the two logits, target less against.
#
# *7 minutes · medium · three lines*


# %%
@exercise("features.class_map")
def class_map(features, weight, bias, target, against=None):
    """-> (height, width), of which the sum and the bias are the logit"""
    ### BEGIN SOLUTION
    channels, height, width = features.shape
    row = weight[target] if against is None else weight[target] - weight[against]
    return (row.view(channels, 1, 1) * features).sum(dim=0) / (height * width)
    ### END SOLUTION


check("features.class_map", class_map)

# %%
from netwright.views import ClassMap

class_map = theirs_or_ours("features.class_map", class_map)
flower, rows = probe.target("flower"), []
for name, seen in probes.items():
    weight, bias = nets[name].classifier.weight.detach(), nets[name].classifier.bias.detach()
    total = (class_map(seen["stages.3.0"][0], weight, bias, flower).sum() + bias[flower]).item()
    logit = seen.logits[flower].item()
    rows.append((name, f"{total:.4f}", f"{logit:.4f}", f"{abs(total - logit):.0e}"))
display(lesson.table(("net", "your map's sum and the bias", "the net's logit of flower", "apart"), rows))

ClassMap(probe, "flower", against="heart")

# %% [markdown]
# In the view you see what speaks for a flower *rather than* a heart, place by place. Take the contrast away (*against*:
# no other class), choose other classes, and read the sum below the map each time.
#
# The answer to our question is in it. The quarter in which most of the flower lies says most; but about half of what it
# says for a flower, it says for a heart as well. The two quarters on the right speak for the heart, and so does the
# bias, which looks at nothing. A map of one class alone does not tell that.
#
# ### Grad-CAM is the same, once
#
# Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) weighs the channels of *any* map by the mean of the logit's
# derivative. At the last map that derivative is $w_{ck}/Z$ everywhere, and Grad-CAM, before its ReLU, is the class
# map. At an earlier map the derivative differs from place to place, the mean forgets where, and what lies between is
# not linear. Then the map sums to nothing in particular. Draelos and Carin 2020 (arXiv:2011.08891) show that it can
# point at places that the net did not use.

# %%
wanted = (probe.logits[flower] - net.classifier.bias[flower]).item()
rows = [
    (cam.place, cam.map.numel(), lesson.signed(cam.map.sum()), lesson.signed(wanted), f"{cam.against:.0%}")
    for cam in lesson.grad_cams(probe, flower)
]
lesson.table(("Grad-CAM at", "cells", "sums to", "the logit less its bias", "a ReLU would hide"), rows)

# %% [markdown]
# Look at the last column: which share of all that the map holds speaks against the class. Grad-CAM's ReLU cuts that
# off, and whoever draws it usually stretches the rest from 0 to 1 and smooths it. Look at the third stage, where the map
# says *no* to a flower, in sum. After the ReLU, nobody would know.
#
# ## What a unit can see
#
# The cell at the bottom left of the last map has said most about the flower. It covers a quarter of the picture. Does
# it see that quarter? A **unit**, which is all channels of one cell, sees what the layers before it brought together,
# and that can be computed without running anything.
#
# ### Exercise 3: the box
#
# Write `box(layers)` for a chain of layers, the first layer first, each a triple (kernel, stride, padding). Return
# `(start, size, jump)`, along one axis, in pixels of the picture: unit 0 of the last map sees the pixels from `start`
# to `start + size - 1`, and unit i the same, moved by `i * jump`.
#
# `start` may be negative: those pixels are padding. Where a stride steps over pixels the gaps count, since size goes
# from the first pixel to the last. No layer at all is `(0, 1, 1)`: a pixel sees itself.
#
# *7 minutes · medium · five lines*


# %%
@exercise("features.box")
def box(layers):
    """-> (start, size, jump), in pixels of the picture"""
    ### BEGIN SOLUTION
    start, size, jump = 0, 1, 1
    for kernel, stride, padding in layers:
        start -= padding * jump
        size += (kernel - 1) * jump
        jump *= stride
    return start, size, jump
    ### END SOLUTION


check("features.box", box)

# %%
box = theirs_or_ours("features.box", box)
rows = []
for place in lesson.STAGES:
    layers = list(lesson.chain(net, place).values())  # (kernel, stride, padding) each, past the shortcuts
    start, size, jump = box(layers)
    rows.append((place, len(layers), start, size, jump))
display(lesson.table(("toy_resnet, up to", "layers", "start", "size", "jump"), rows))
in_which = ("in the trained net", "in the net with random weights", "about as many in both")
question = "Half of what moves a unit of stages.1.1 comes from a few pixels of its box. Where are they fewest?"
predict("features.field", question, in_which)

# %% [markdown]
# The picture has 64 pixels a side. From the third stage on a unit's box is larger than the picture, and in the last
# stage every box holds all of it. So there, every unit sees everything, and `jump` says only how far apart the boxes of
# two neighbours are. On paper.
#
# ### Exercise 4: the effective field
#
# Luo et al. 2016 ("Understanding the effective receptive field", arXiv:1701.04128) measured how *much* each pixel
# moves a unit. A unit has many channels, and their derivatives may cancel if one adds them up. So take a random
# direction v of the channels, and derive one number, v · F(unit). The square of the derivative is called **energy**.
#
# Write `effective(net, x, unit, v)`, which returns (height, width): at each pixel the square of that derivative,
# summed over the colours, and averaged over the directions.
#
# - `net`: a function from pictures (1, colours, height, width) to a map (1, channels, rows, columns)
# - `x`: one such picture; `unit`: (row, column) on the map; `v`: (directions, channels)
# - Leave what you are given as it was: no gradients in the weights, and none asked of `x`. `torch.autograd.grad` does
#   that.
#
# *10 minutes · hard · seven lines*


# %%
@exercise("features.effective")
def effective(net, x, unit, v):
    """-> (height, width): mean over v of the sum over colours of (d(v · F(unit)) / d pixel)²"""
    ### BEGIN SOLUTION
    leaf = x.detach().clone().requires_grad_()
    row, column = unit
    seen = net(leaf)[0, :, row, column]  # (channels,)
    energy = torch.zeros(x.shape[2:], dtype=x.dtype)
    for direction in v:
        (gradient,) = torch.autograd.grad(direction @ seen, leaf, retain_graph=True)
        energy += (gradient[0] ** 2).sum(dim=0)
    return energy / len(v)
    ### END SOLUTION


check("features.effective", effective)

# %%
from netwright.views import ReceptiveField

effective = theirs_or_ours("features.effective", effective)
toys, labels = lesson.toys(net, range(300))
place, unit = "stages.1.1", (4, 4)
fields = {
    "trained": lesson.mean_field(probe, place, unit, toys[:8], effective),
    "random weights": lesson.mean_field(twin, place, unit, toys[:8], effective),
}
few, many = (lesson.pixels_with(field, 0.5) for field in fields.values())
truth = in_which[0] if few < 0.8 * many else in_which[1] if many < 0.8 * few else in_which[2]
display(reveal("features.field", truth, f"Half of the energy: {few} pixels trained, {many} with random weights."))
display(lesson.draw_fields(fields, box(list(lesson.chain(net, place).values())), unit, scale))

ReceptiveField(probes["toy_halonet"], place)

# %% [markdown]
# The box is a promise: half of what moves the unit comes from a small part of it, in the middle. Luo et al. saw the
# fields of *their* nets grow in training; here it is the other way round. That is why there is a random twin in nearly
# every view: what training does to a net is measured, not remembered.
#
# The view is of the HaloNet, at the same depth. Its box is larger than the ResNet's, for behind an attention a unit
# sees what its whole window has seen. Click other cells, choose another *Map*, and compare box and energy.
#
# ## Is the map right?
#
# A map says: this was important. Take it at its word, remove what it points at, and see whether the answer goes.
# Petsiuk et al. 2018 (RISE, arXiv:1806.07421) call it *deletion*: the smaller the area under the curve, the better the
# map is said to be.
#
# ### Exercise 5: deletion
#
# Write `deletion(net, x, target, order, fill, steps)`. It returns `(curve, area)`.
#
# - `net`: pictures (n, colours, height, width) → logits (n, classes); `x` and `fill`: (colours, height, width)
# - `order`: (height × width,), the numbers of the pixels, row by row; the first is removed first. A removed pixel
#   gets the colours that `fill` has at its place.
# - `curve`: (steps + 1,), the *probability* of the class `target`. At point s, from 0 to `steps`, the first
#   `s * pixels // steps` pixels of the order are gone: nothing at the first point, all at the last.
# - `area`: under the curve, by trapezia, over a width of 1.
#
# *9 minutes · medium · ten lines*


# %%
@exercise("features.deletion")
def deletion(net, x, target, order, fill, steps):
    """-> (curve (steps + 1,), area)"""
    ### BEGIN SOLUTION
    colours, pixels = len(x), len(order)
    pictures = []
    for step in range(steps + 1):
        picture = x.clone().view(colours, pixels)
        gone = order[: step * pixels // steps]
        picture[:, gone] = fill.view(colours, pixels)[:, gone]
        pictures.append(picture.view_as(x))
    with torch.no_grad():
        curve = net(torch.stack(pictures)).softmax(dim=1)[:, target]
    area = float((curve[1:] + curve[:-1]).mean() / 2)
    return curve, area
    ### END SOLUTION


check("features.deletion", deletion)

# %% [markdown]
# ### What to fill with
#
# The area depends on the map. It also depends on what is put in the place of a removed pixel, and that is a choice
# nobody sees in the result. In the toy world we can find out how much, because the pixels that *cause* the label are
# known. Three fillings: the picture blurred, the picture's mean colour, and zeros, which for these nets are a grey.
# Four orders: by your class map, by the true cause, the middle first, and an order drawn by lot, which knows nothing.

# %%
fillings = ("blurred", "its mean colour", "zeros")
question = "With which filling is an order drawn by lot as good as one that removes the true cause first?"
predict("features.filling", question, (*fillings, "none of them"))

# %%
from netwright.views import Removal

deletion = theirs_or_ours("features.deletion", deletion)
found = lesson.deletions(net, range(3, 19), class_map, deletion)
truth, gaps = lesson.as_good(found)
display(reveal("features.filling", truth, f"By how much the area by lot is larger: {gaps}."))
display(lesson.draw_deletions(found))

Removal(probe, "flower", maps=("class_map", "grad_cam", "occlusion"))

# %% [markdown]
# With zeros, the lot breaks the answer as fast as the truth does: a picture with grey specks all over it is, it seems,
# like nothing that the net has seen. *The middle first*, which looks at no picture at all, breaks it faster. So deletion
# measures what upsets the net, which is not the same as what it used. Report the filling, and always draw the lot and
# the middle beside your map. The view does, where they are called *random orders* and *centre first*; notebook 09 makes a
# league of such scores, with intervals.
#
# ## Neighbours
#
# Another way to ask what a net sees: which pictures does it take for alike? The mean over the last map is a vector,
# the one that the classifier reads. Two pictures are near if their vectors point the same way.
#
# ### Exercise 6: the nearest
#
# Write `neighbours(vectors, query, k)` for vectors (n, dimensions) and the number of one of them. Return
# `(numbers, cosines)` of the `k` others with the largest cosine to it, largest first.
#
# The query is not its own neighbour; a double of it is one. Where two are equally near, the smaller number comes
# first. Where there are fewer than `k` others, return all.
#
# *7 minutes · medium · four lines*


# %%
@exercise("features.neighbours")
def neighbours(vectors, query, k):
    """-> (numbers of the k nearest, their cosines), nearest first"""
    ### BEGIN SOLUTION
    lengths = (vectors**2).sum(dim=1).sqrt()
    cosines = (vectors @ vectors[query] / (lengths * lengths[query])).tolist()
    others = [i for i in range(len(vectors)) if i != query]
    nearest = sorted(others, key=lambda i: -cosines[i])[:k]  # leaves equal ones in their order
    return nearest, [cosines[i] for i in nearest]
    ### END SOLUTION


check("features.neighbours", neighbours)

# %%
how_many = ("hardly more than by lot", "about one half", "nearly all")
question = "A net with random weights: of a picture's 5 nearest among 300, how many are of its own class, one of 20?"
predict("features.nearest", question, how_many)

# %%
from netwright.views import Neighbours

neighbours = theirs_or_ours("features.neighbours", neighbours)
spaces = {"trained": lesson.embed(net, toys), "random weights": lesson.embed(twin.net, toys)}
spaces["the pixels themselves"] = toys.flatten(1)
shares = {name: lesson.share_of_class(neighbours, vectors, labels) for name, vectors in spaces.items()}
share = shares["random weights"]
truth = how_many[0] if share < 0.25 else how_many[1] if share < 0.75 else how_many[2]
words = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
display(reveal("features.nearest", truth, f"Of the same class among the 5 nearest: {words}; by lot {1 / 20:.0%}."))

Neighbours(net, toys[:60], labels=labels[:60].tolist(), class_names=probe.class_names, k=5)

# %% [markdown]
# The random net does no better than the pixels: what makes two flowers alike for a net was learnt. In the view,
# choose a picture and see its neighbours in the space itself, with their distances, 1 − cosine; below them are those
# of the random twin. Beside stands what is left of it all in two dimensions.
#
# ## The whole net, and all four of them
#
# So far you have looked into single layers. The first view below is a whole net, the small ResNeXt, that unfolds from
# stages to blocks, parts and tensors. It is drawn from the net itself, with the shape, the parameters and the
# multiply-adds of each part.
#
# The second puts the four nets side by side: one picture, and in each row maps of the same size on one scale. The four
# have one skeleton and nearly the same number of parameters, and differ in the middles of their blocks.

# %%
from netwright.views import Architecture

Architecture(nets["toy_resnext"])

# %%
from netwright.views import SideBySide

SideBySide(list(probes.values()))

# %% [markdown]
# ## What would excite a channel most?
#
# Start from noise and climb the derivative of a channel: after a hundred steps or two there is a picture that no one
# has seen (Olah et al. 2017, "Feature visualization", doi 10.23915/distill.00007). That takes its time, so these were
# made beforehand. The real pictures that excite the same channel most stand beside them, and the random twin is a
# click away. Look at the real ones first: a made picture shows what a channel *can* be driven to, not what it does all
# day.
#
# And when did it all come about? The second view goes through a training of the small HaloNet, epoch by epoch, with our
# flower in front of it: the answer, the class map, how strong each stage's map is, and where its attention goes, own
# block, halo or padding. Move the slider from the left, or press *Play*, and watch what comes first.
#
# This record stops early, before the net has found out what *same* and *different* mean, and the accuracy shows it. A
# training of your own that was started with `--keep-epochs` can be looked back through in the same way:
# `Scrubber.of_run(folder, photo)`.

# %%
from netwright.views import OptimisedFeatures, Scrubber

display(OptimisedFeatures("toy_resnet"))
Scrubber.recorded("toy_halonet")

# %% [markdown]
# ## Your own photograph
#
# Now the same with real weights. Give `nw.open_image` the path of a photograph of yours; as it stands it opens one of
# Grace Hopper (public domain, from matplotlib's samples). The last map of these nets has seven by seven cells or more.
#
# Without a network, and without the files, the photograph goes to the toy net instead, which knows twenty classes of
# toys and must choose one of them. Its class map still sums to the logit. So an exact explanation is one of an answer,
# and says nothing about whether the answer makes sense.

# %%
from matplotlib import cbook

from netwright.weights.fetch import WeightsUnavailable

photo = nw.open_image(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
published = ("resnext50_32x4d", "resnest50d", "halonet50ts")
try:
    seen = [nw.probe(nw.create_model(name, pretrained=True), photo) for name in published]
    display(SideBySide(seen))
except WeightsUnavailable:
    sizes = (nw.list_weights(f"{name}.*")[0].files[0].size_text for name in published)
    wanted = ", ".join(f"{name} ({size})" for name, size in zip(published, sizes, strict=True))
    print(f"Offline, and the weights are not on this machine: {wanted}.")
    seen = [nw.probe(net, photo)]

ClassMap(seen[0])

# %% [markdown]
# ## What would fool you
#
# **A bar for each map.** You have seen it: random weights look like structure, and a silent channel like a busy one.
#
# **Smoothing.** Below is the class map of our flower, four numbers; and the same as it is usually shown. The peak
# lies in a corner, beside the flower, and no number knows of it: the curve through four points has made it up.
#
# **A cell is not the patch under it.** The table says how much of a cell's energy comes from the pixels under it.
# Whoever cuts that patch out and says "this is what the net has looked at" is wrong about the rest.
#
# **A plane.** The last figure is the cloud of 300 pictures, on its two main directions. It looks as if one could see
# who is near to whom. Ask how many of the five nearest are the same as in the space itself. Methods that bend the
# plane (t-SNE, UMAP) make prettier islands, and distances between islands are still not to be trusted.

# %%
weight, bias = (it.detach() for it in net.classifier.parameters())
display(lesson.draw_smooth(class_map(probe["stages.3.0"][0], weight, bias, flower), probe.picture))

rows = []
for place in lesson.STAGES[1:]:
    places = probe[place].shape[2]
    middle, side = places // 2, 64 // places
    patch = (slice(middle * side, (middle + 1) * side),) * 2
    both = [
        lesson.mean_field(each, place, (middle, middle), toys[:8], effective)[patch].sum() for each in (probe, twin)
    ]
    rows.append((place, f"{side}×{side}", *(f"{share:.0%}" for share in both)))
display(lesson.table(("a cell of", "has a patch of", "from which comes, trained", "with random weights"), rows))

points, left = lesson.on_a_plane(spaces["trained"])
same = lesson.agreement(neighbours, spaces["trained"], points)
print(f"On the plane is {left:.0%} of the variance, and {same:.0%} of the five nearest are the same as in the space.")
nearest, _ = neighbours(spaces["trained"], 3, 5)
lesson.draw_plane(points, labels, 3, nearest, probe.class_names)

# %% [markdown]
# ## Recap
#
# A picture of numbers is a claim, and each has something to hold it to: maps share a scale, a class map sums to the
# logit, an effective field lies inside its box, a deletion stands beside the lot and the middle, neighbours are
# ranked in the space itself. And beside each of them stands a net that has learnt nothing.
#
# **Next:** 09 · Attention or decoration?, where heads, groups and splits are knocked out, and every explanation gets
# a grade.

# %%
from netwright.lessons import progress

minutes = [each.minutes for each in lesson.CHECKS]
print(f"{len(minutes)} exercises, about {sum(minutes)} minutes (estimated) without the reading.")
display(calibration())
progress()
