# %% [markdown]
# # 10 · Finetune
#
# Somebody has trained a net for days. You have a folder of pictures, and want it to tell *your* classes apart. This
# notebook brings the two together, part by part and all of it checked, and then asks how far you may trust the number
# that comes out. At its end you can
#
# - read a training recipe, and write every part of the step that it describes;
# - hold a part of a net still, so that it really is still;
# - finetune on a folder in three ways, and say which was better, or that you cannot tell;
# - kill a training and have it end with the same numbers, to the last bit;
# - name the ways in which a fine number is wrong.
#
# *About 90 minutes. You have been through 00; no GPU is needed.*
#
# ### Before you begin: four predictions
#
# Write four answers down.
#
# 1. All but the classifier of a net gets `requires_grad = False`, and the classifier is trained for twenty steps. **How
#    many of the other layers' numbers have changed?**
# 2. You only *look* at a net, over some hundred pictures, and have forgotten `net.eval()`. **Is it afterwards the net
#    that it was?**
# 3. A training is killed in the middle of an epoch and started again. **How close will its end be** to that of a
#    training that nobody killed?
# 4. You keep the best of 30 epochs, judged on 60 pictures. **By how many points is that accuracy too high?**
#
# ## A folder, and a net
#
# What people have is a folder with a folder for each class. The next cell makes one with the painter of the toy world:
# six kinds of signs, and few of each. `train` is to learn from and `val` to choose by. `test` stays shut until the end;
# it is larger than most people can afford, so that we shall see what is true.
#
# The net to start from is the toy ResNet that ships with the workbook. It has never seen a sign. The cell asks it all
# the same, about those in `val`: what does it say, in the words that it has learned?

# %%
import tempfile
from collections import Counter
from pathlib import Path

import torch

import netwright as nw
from netwright.lessons import finetune as lesson

torch.set_num_threads(1)  # in nets this small, two threads mostly wait for each other
work = Path(tempfile.mkdtemp())
signs = lesson.write_signs(work / "signs")
for name, pictures in signs.splits.items():
    print(f"{name:6}{len(pictures):4} pictures of {len(pictures.class_names)} classes")

start = nw.create_model("toy_resnet", pretrained=True).eval()
inputs, classes = lesson.inputs_of(signs.split("val"), start)  # (pictures, 3, height, width), (pictures,)
with torch.inference_mode():
    answers = start(inputs).argmax(1)

print(f"\nA net of {sum(p.numel() for p in start.parameters()):,} parameters and {start.num_classes} classes calls a")
for number, name in enumerate(signs.class_names):
    said = Counter(start.class_names[i] for i in answers[classes == number].tolist()).most_common(3)
    print(f"  {name:12}", ", ".join(f"{word} ({count})" for word, count in said))
lesson.draw_pictures(signs.split("train"))

# %% [markdown]
# It knows a moon when it sees one, and has no word for the way in which it hangs: in all the pictures that it was
# trained on, a moon could stand at any angle and was a moon. Your question is another one. So it is with ImageNet's
# nets and your own pictures: much of what you need is in there, and some of it they were taught to overlook.
#
# ## A recipe is data
#
# How to train is written down in a *recipe*. netwright has those that are published for the nets of this workbook, and
# three for finetuning, `head_only`, `full` and `layerwise`. They are tables in a file, and every value says where it
# comes from, or that nobody has published it.

# %%
from netwright.tune import recipes

lesson.table(lesson.recipes.HEADS, lesson.recipes.rows(recipes()))

# %% [markdown]
# Two things to notice. A rate without its batch means nothing: with half as many pictures in a step, the recipe's rate
# has to change as well, and `finetune` does that. And the published recipes are written for a million pictures and rooms
# full of GPUs, not for a folder like ours.
#
# In what follows you write, one after the other, all the parts that the table's first three lines are made of.
#
# ### Exercise 1: one step
#
# Everything happens in here, thousands of times. Eight things, in an order that matters: training mode · the rate of
# every group of parameters, which is `rate` times the group's own `lr_scale` · the loss · its gradient · the gradient
# clipped to the norm `clip_norm` · the optimiser's step · the gradients cleared · the average told, `ema.update(net)`.
# Return the loss that the net had before the step.
#
# *10 minutes · medium · about ten lines. Below the check are three hints, folded into each other; every exercise has them, by its
# name.*

# %%
from IPython.display import display

from netwright.lessons import check, exercise, hint, progress, theirs_or_ours


@exercise("finetune.step")
def step(net, optimiser, loss, images, targets, *, rate, clip_norm, ema):
    """One optimiser step of the training; returns the loss before it, a number."""
    ### BEGIN SOLUTION
    net.train()
    for group in optimiser.param_groups:
        group["lr"] = rate * group["lr_scale"]
    value = loss(net(images), targets)
    value.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), clip_norm)
    optimiser.step()
    optimiser.zero_grad()
    ema.update(net)
    return value.item()
    ### END SOLUTION


display(check("finetune.step", step))
hint("finetune.step")

# %% [markdown]
# ## The mode is part of the net
#
# Why does training mode belong into every step, and evaluation mode before every look? Because of BatchNorm. In
# evaluation mode it normalises by statistics that it keeps. In training mode it normalises by the pictures that happen
# to be in the same batch, and moves what it keeps towards them.
#
# Here the toy ResNet answers some hundred pictures of the world that it was trained for, twenty at a time: shuffled, and
# class after class, which is how a folder is read. No optimiser, no gradient, only looks.

# %%
import copy

from netwright.datasets import ToyPictures

x, y = lesson.inputs_of(ToyPictures(nw.ToyWorld("val", length=400)), start)
orders = {"shuffled": torch.randperm(len(y), generator=torch.Generator().manual_seed(0)), "class by class": y.argsort()}


def right(net, order):
    """The share of right answers in whichever mode the net is, twenty pictures at a time."""
    with torch.inference_mode():
        said = torch.cat([net(x[some]).argmax(1) for some in order.split(20)])
    return (said == y[order]).double().mean().item()


looked_at = copy.deepcopy(start)
for mode in ("eval", "train", "eval"):
    for words, order in orders.items():
        getattr(looked_at, mode)()
        print(f"net.{mode + '()':10}{words:18}{right(looked_at, order):6.1%} right")
moved = [not torch.equal(*pair) for pair in zip(start.buffers(), looked_at.buffers(), strict=True)]
print(f"\n{sum(moved)} of the {len(moved)} buffers are not what they were.")

# %% [markdown]
# In evaluation mode the order of the pictures is nobody's business. In training mode a picture is judged by the
# company it is in. The last lines are your second prediction: **the looks alone have changed the net**. There was no
# optimiser and no gradient, and in evaluation mode again it answers otherwise than before.
#
# ## Frozen?
#
# The commonest way to finetune is to freeze everything but a new classifier. `requires_grad = False`, says many a
# tutorial, and the other layers are frozen. Let us count. Afterwards the old classifier is put back, to see what twenty
# steps have done to what the net could do before.

# %%
train_x, train_y = lesson.inputs_of(signs.split("train"), start)


def after_twenty_steps(hold):
    """A copy of the net that `hold` has frozen and on which a new classifier was trained for twenty steps."""
    net = copy.deepcopy(start)
    torch.manual_seed(0)
    net.reset_classifier(len(signs.class_names))
    hold(net)
    lesson.train_classifier(net, train_x, train_y, steps=20)
    return net


def without_gradients(net):
    for part in (net.stem, net.stages):
        part.requires_grad_(False)


tutorial = after_twenty_steps(without_gradients)
before, after = start.state_dict(), tutorial.state_dict()
for what, tensors in (("parameters", start.named_parameters()), ("buffers", start.named_buffers())):
    names = [name for name, _ in tensors if not name.startswith("classifier")]
    changed = sum(not torch.equal(before[name], after[name]) for name in names)
    print(f"{changed:3} of {len(names):3} {what} of the frozen body have changed")

tutorial.classifier = start.classifier
print(f"\nwith its old classifier: {right(start, orders['shuffled']):.1%} right before,", end=" ")
print(f"{right(tutorial.eval(), orders['shuffled']):.1%} after")

# %% [markdown]
# Not one parameter, and every buffer: your first prediction. The optimiser could not touch the body. `net.train()`,
# which the loop calls for the sake of the new classifier, could.
#
# ### Exercise 2: frozen means frozen
#
# Write `freeze(net)`. Afterwards nothing but `net.classifier` changes, bit for bit, even though every training loop
# calls `net.train()` again and again. (The parts: `net.stem`, `net.stages`, `net.classifier`. And mind that there is
# more in a body that behaves differently in training: stochastic depth leaves out whole blocks.)
#
# *10 minutes · medium · about six lines*

# %%
import types


@exercise("finetune.freeze")
def freeze(net):
    """Hold everything but the classifier still, whatever net.train() says afterwards."""
    ### BEGIN SOLUTION
    for part in (net.stem, net.stages):
        part.requires_grad_(False)
        part.eval()
        for module in part.modules():
            module.train = types.MethodType(lambda self, mode=True: self, module)
    ### END SOLUTION


display(check("finetune.freeze", freeze))

freeze = theirs_or_ours("finetune.freeze", freeze)
ways = {"requires_grad = False": after, "freeze": after_twenty_steps(freeze).state_dict()}
lesson.draw_drift({name: lesson.drift(before, state) for name, state in ways.items()})

# %% [markdown]
# ## Who learns how fast
#
# Between frozen and free there is a third way. The first layers of a net see what all pictures have in common, the last
# ones what its classes need. So let the rate fall from layer to layer on the way down: the classifier learns at the full
# rate, the layer below at three quarters of it, the next at three quarters of that. That is *layer-wise rate decay*
# ([BEiT](https://arxiv.org/abs/2106.08254) made it usual for finetuning).
#
# *Weight decay* pulls weights towards zero. For the scale and the shift of a normalisation zero means nothing of the
# kind, so vectors are spared.
#
# ### Exercise 3: groups of parameters
#
# Write `groups(net, weight_decay, layer_decay)`: a list of dictionaries with `params` (a list), `weight_decay` and
# `lr_scale`. Every parameter that wants a gradient is in exactly one. `layer_numbers(net)` gives the depth of each by
# its name, 0 for the stem and the highest for the classifier.
#
# *8 minutes · medium · about ten lines*

# %%
from netwright.tune.optimisers import layer_numbers


@exercise("finetune.groups")
def groups(net, weight_decay, layer_decay):
    """Parameter groups for an optimiser, each with its weight_decay and its share of the rate, lr_scale."""
    ### BEGIN SOLUTION
    layers = layer_numbers(net)
    top = max(layers.values())
    return [
        {
            "params": [parameter],
            "weight_decay": 0.0 if parameter.ndim <= 1 else weight_decay,
            "lr_scale": layer_decay ** (top - layers[name]),
        }
        for name, parameter in net.named_parameters()
        if parameter.requires_grad
    ]
    ### END SOLUTION


display(check("finetune.groups", groups))

groups = theirs_or_ours("finetune.groups", groups)
lesson.draw_groups(start, groups(start, weight_decay=0.05, layer_decay=0.75))

# %% [markdown]
# ### Exercise 4: the rate over time
#
# A new classifier starts from random numbers, and its first gradients are as large as they are wrong. A *warm-up* keeps
# them from shaking the layers below: the rate rises in a straight line from 0, at step 0, to `peak`, at step `warmup`.
# From there it falls along half a cosine to `last`, at step `steps`, and stays there.
#
# *5 minutes · easy · three or four lines*

# %%
import math


@exercise("finetune.rate")
def rate(step, *, steps, warmup, peak, last):
    """The learning rate of a step, counted from 0."""
    ### BEGIN SOLUTION
    if step < warmup:
        return peak * step / warmup
    share = min(1.0, (step - warmup) / (steps - warmup))
    return last + (peak - last) * (1 + math.cos(math.pi * share)) / 2
    ### END SOLUTION


display(check("finetune.rate", rate))

rate = theirs_or_ours("finetune.rate", rate)
curves = {"yours": [rate(t, steps=1000, warmup=100, peak=1.0, last=0.0) for t in range(1000)]}
curves |= {f"recipe {name}": lesson.recipes.rates_of(recipes()[name]) for name in ("ssl", "a1")}
lesson.draw_rates(curves)

# %% [markdown]
# ## Harder pictures, softer targets
#
# A net that has seen a picture twenty times knows it by heart. *Mixup* ([2018](https://arxiv.org/abs/1710.09412)) shows
# it blends of two pictures and asks for both classes, each by its share. *Label smoothing* never asks for certainty: it
# takes a little from the true class and gives every class, the true one included, an equal part of it.
#
# ### Exercise 5: mixup
#
# Blend each picture with its mirror image *in the batch*: the first with the last, the second with the last but one.
# Pictures and targets get `share` of their own and the rest of the partner's. Targets come as class numbers; make them
# probabilities, smooth them, then mix them.
#
# *5 minutes · easy · two or three lines*

# %%
from torch.nn import functional as F

from netwright.tune.mixing import Draw, Mixing


@exercise("finetune.mix")
def mix(images, targets, *, share, classes, smoothing):
    """images (batch, channels, height, width), class numbers (batch,) -> blends, probabilities (batch, classes)."""
    ### BEGIN SOLUTION
    soft = F.one_hot(targets, classes) * (1 - smoothing) + smoothing / classes
    return share * images + (1 - share) * images.flip(0), share * soft + (1 - share) * soft.flip(0)
    ### END SOLUTION


display(check("finetune.mix", mix))

mix = theirs_or_ours("finetune.mix", mix)
count = len(signs.class_names)
each = len(train_y) // count  # pictures of a class
batch = train_x[2::each], train_y[2::each]
mixed = {
    "mixup": mix(*batch, share=0.6, classes=count, smoothing=0.0),
    "CutMix": Mixing(count, cutmix=1.0).apply(*batch, Draw(1 - 36 * 36 / 64 / 64, (14, 50, 14, 50))),
}
lesson.draw_mixed(*batch, mixed, nw.transform_for(start), signs.class_names)

# %% [markdown]
# The last row is *CutMix* ([2019](https://arxiv.org/abs/1905.04899)), which pastes a box instead. Its targets go by area,
# whatever is in the box: now and then a picture counts as something that nobody can see in it.
#
# ### Exercise 6: the average
#
# While it is trained, a net wanders about what it should be. The *exponential moving average* of its weights wanders
# less. (The curves further down show both, so that you can see which was better.) Write the update: with `keep = min(decay, 1 - (1 + updates) ** (-2 / 3))`, every
# number of `average` becomes `keep` of itself and `1 - keep` of the net's. So the first updates keep next to nothing of
# the untrained beginning. Change `average` in place. Whole numbers, which count batches, are copied.
#
# *5 minutes · medium · about six lines*


# %%
@exercise("finetune.average")
def update(average, net, *, decay, updates):
    """Let `average` take in `net`; `updates` says how many times it has done so before."""
    ### BEGIN SOLUTION
    keep = min(decay, 1 - (1 + updates) ** (-2 / 3))
    new = net.state_dict()
    with torch.no_grad():
        for name, mean in average.state_dict().items():
            if mean.is_floating_point():
                mean.mul_(keep).add_(new[name], alpha=1 - keep)
            else:
                mean.copy_(new[name])
    ### END SOLUTION


check("finetune.average", update)

# %% [markdown]
# ## Your loop is the library's loop
#
# Step, groups, rate, mixup, average: that is a training. Below it runs twice over the same two epochs of augmented
# signs, once with your parts and once with the library's own, which was not told about yours. If both are right they
# end at the same net, up to the last digits of float32.
#
# From there on the library drives. In the cell after that, one call does all the rest: it reads the folder, augments,
# validates after every epoch, keeps the best, writes checkpoints, a log and a report. Its curves are drawn anew after
# each epoch.

# %%
from netwright.tune import build
from netwright.tune.options import Options, recipe_of
from netwright.tune.randomness import Purpose, generator
from netwright.tune.step import TrainingStep

settings = ("optimiser.lr=0.2", "optimiser.layer_decay=0.75", "mixing.mixup=0.2", "augmentation.flip=0")
recipe = recipe_of(Options(data="signs", model="toy_resnet", recipe="full", settings=settings))
torch.manual_seed(0)
fresh = copy.deepcopy(start)
fresh.reset_classifier(count)
batches = lesson.batches_of(recipe, signs.split("train"), fresh, batch=12, epochs=2)

theirs = copy.deepcopy(fresh)
parts = build(recipe, theirs, steps_per_epoch=len(batches) // 2, batch=12, epochs=2)
library = TrainingStep(theirs, parts, batch=12, epochs=2)
for t, its in enumerate(batches):
    library(t, [its])

step, update = theirs_or_ours("finetune.step", step), theirs_or_ours("finetune.average", update)
mine, how = copy.deepcopy(fresh), recipe.optimiser
optimiser = torch.optim.SGD(
    groups(mine, how.weight_decay, how.layer_decay), lr=0.1, momentum=how.momentum, nesterov=how.nesterov
)
average = lesson.Average(mine, update, recipe.ema.decay)
plan = {"steps": len(batches), "warmup": parts.schedule.warmup_epochs * len(batches) / 2, "last": 0.0}
losses = []
for t, its in enumerate(batches):
    share = parts.mixing.draw(generator(0, Purpose.MIXING, t), 64, 64).share
    images, targets = mix(its.images, its.targets, share=share, classes=count, smoothing=recipe.loss.smoothing)
    now = rate(t, **plan, peak=parts.schedule.lr)
    losses.append(
        step(mine, optimiser, F.cross_entropy, images, targets, rate=now, clip_norm=how.clip_norm, ema=average)
    )

print(f"\n{len(batches)} steps, loss from {losses[0]:.3f} to {losses[-1]:.3f}.")
print("Largest difference, as a share of how far the training has moved the net:")
print(f"  the nets      {lesson.largest_gap(mine, theirs, fresh):.1g}")
print(f"  the averages  {lesson.largest_gap(average.net, parts.ema.net, fresh):.1g}")

# %%
from netwright.tune.curves import LiveCurves
from netwright.tune.finetune import finetune

common = {"model": "toy_resnet", "epochs": 6, "batch": 12, "workers": 0, "tensorboard": False}
quiet = {"progress": False}  # the default is a bar that tells the time left
first = finetune(
    work / "signs", recipe="full", lr=0.02, out=str(work / "first"), listeners=(LiveCurves().update,), **common, **quiet
)

# %% [markdown]
# In a terminal the same training is
#
# ```
# python -m netwright finetune signs --model toy_resnet --recipe full --epochs 6 --batch 12 --lr 0.02
# ```
#
# It looks healthy: the loss falls and the accuracy rises, and then it seems that there is no more to be had from so few
# pictures. Do not believe it. Ask *which* pictures are wrong.

# %%
from netwright.evaluate import compare, measure, predict
from netwright.evaluate.figures import confusion, worst_pairs
from netwright.tune import augmentation_for, find

display(confusion(measure(predict(first.net, signs.split("val"), **quiet)), signs.class_names))
moon = int((train_y == signs.class_names.index("moon left")).nonzero()[0])
lesson.draw_shown(signs.split("train"), moon, augmentation_for(find("full"), nw.transform_for(start)))

# %% [markdown]
# All that is wrong is wrong between the two moons, and the second figure says why. Like nearly every recipe, this one
# shows half of the pictures mirrored. A cat is a cat from either side. A mirrored *moon left* is a *moon right*, under
# the wrong label, and so would be a traffic sign, a heart in an X-ray, or an *R*. No error, a falling loss, and a limit
# that looks like a lack of data.
#
# The setting is `augmentation.flip=0`. Now the three ways, on the same pictures; and for comparison the same net from
# random numbers, to see what the training of the toy world is worth here.
#
# Which way is best? Where two bars overlap widely, `val` does not know, and neither do you. `compare` counts only the
# pictures on which two nets differ, which is sharper. We choose by `val`, and then open `test`, once.

# %%
ways = {
    "head_only": {"recipe": "head_only"},
    "full": {"recipe": "full", "lr": 0.02},
    "layerwise": {"recipe": "layerwise", "lr": 0.002},
    "full, from random numbers": {"recipe": "full", "lr": 0.02, "weights": "none"},
}
no_flips = {"settings": ("augmentation.flip=0",), **common}
runs = {way: finetune(work / "signs", out=str(work / way), **how, **no_flips, **quiet) for way, how in ways.items()}
on_val = {way: predict(run.net, signs.split("val"), **quiet) for way, run in runs.items()}
for way in ("head_only", "layerwise"):
    print(f"full against {way + ',':11} on val:", compare(on_val["full"], on_val[way]))
tops = {way: [measure(its).top1] for way, its in on_val.items()}
display(lesson.draw_intervals(tops, 1 / count, "top-1 on val, %, with 95 % intervals"))

chosen = max(on_val, key=lambda way: (measure(on_val[way]).top1.value, -measure(on_val[way]).loss))
on_test = measure(predict(runs[chosen].net, signs.split("test"), **quiet)).top1
print(f"chosen by val: {chosen}, {measure(on_val[chosen]).top1}")
print(f"on test:       {on_test}")

print("\nhead_only has wrong on val:")
for pair in worst_pairs(measure(on_val["head_only"]), signs.class_names):
    print(f"  {pair.right} taken for {pair.said}, {pair.count} of {pair.of}")
report = runs[chosen].folder / "report.html"
print(f"\nIn {report.name} of the chosen one, a single file: {', '.join(lesson.contents(report))}")
# import webbrowser; webbrowser.open(report.as_uri())

# %% [markdown]
# `head_only` trains six rows of numbers, and what the frozen body still tells it has learned: no star is wrong, no flower.
# What it has wrong is how things hang, which is what this body was taught to overlook. Whether the quickest way is good
# enough depends on how near your question is to the one that the net was trained for.
#
# ## Your own pictures
#
# Everything above works as it is on a folder of yours. Put class folders into one folder (or `train`, `val` and `test`,
# with class folders in each), write its name below, and run the cell: published weights, your classes. The cell after it
# is for full size, on a GPU: where there is one it trains, and else it replays what was recorded.

# %%
from netwright.datasets import DataError
from netwright.device import cores
from netwright.weights.fetch import WeightsUnavailable

PHOTOS = None  # such as "~/pictures/birds"

weights = min((w for w in nw.list_weights() if not w.noncommercial), key=lambda w: w.parameters)
size = f"{4 * weights.parameters / 1e6:.0f} MB"  # four bytes a parameter
if PHOTOS is None:
    print(f"No folder is named in PHOTOS, so there is nothing to train on. With one, {weights.name} ({size},")
    print(f"{weights.licence}) is fetched once, and its classifier is replaced by one for your classes.")
else:
    torch.set_num_threads(cores())
    try:
        own = finetune(PHOTOS, model=weights.name, recipe="head_only", epochs=5, listeners=(LiveCurves().update,))
        print(f"Kept in {own.folder}, with report.html. Ask it: nw.classify(own.net, picture)")
    except (WeightsUnavailable, DataError) as missing:
        print(missing)

# %%
if torch.cuda.is_available():
    big = {"size": 224, "length": 20_000, "epochs": 2, "batch": 128, "workers": 8}
    shown = finetune("toy", model="resnest50d", recipe="toy", weights="none", out=str(work / "gpu"), **big).curves()
else:
    shown = lesson.replay()
shown

# %% [markdown]
# ## More pictures than fit
#
# A step of 128 pictures may be more than a GPU's memory holds. Then the batch is worked off in parts, and their
# gradients are added up before the optimiser makes its step: `--accumulate 4`. Several GPUs do the same, side by side.
#
# ### Exercise 7: accumulate
#
# Leave in the net's parameters the gradient of the mean loss over the whole batch, but never show the net more than one
# part of it at a time. `loss` is the mean over what it is given, and the last part may be smaller than the others.
# Return the loss of the whole batch.
#
# *6 minutes · hard · about six lines*


# %%
@exercise("finetune.accumulate")
def accumulate(net, loss, images, targets, parts):
    """The gradient of the whole batch, part by part; returns its loss, a number."""
    ### BEGIN SOLUTION
    total = 0.0
    for some, its in zip(images.chunk(parts), targets.chunk(parts), strict=True):
        value = loss(net(some), its) * len(some) / len(images)
        value.backward()
        total += value.item()
    return total
    ### END SOLUTION


display(check("finetune.accumulate", accumulate))
accumulate = theirs_or_ours("finetune.accumulate", accumulate)


def gradient(net, parts):
    """The gradient of a batch of signs, all of it as one vector, worked off in so many parts."""
    some = torch.randperm(len(train_y), generator=torch.Generator().manual_seed(0))[:32]
    net.zero_grad()
    accumulate(net, F.cross_entropy, train_x[some], train_y[some], parts)
    return torch.cat([p.grad.flatten() for p in net.parameters()])


print("\n32 pictures in 4 parts. Their gradient differs from that of the whole batch by")
for training, words in ((False, "BatchNorm by its kept statistics"), (True, "BatchNorm by the pictures it sees")):
    net = copy.deepcopy(fresh).train(training)
    whole = gradient(net, 1)
    print(f"  {(gradient(net, 4) - whole).norm() / whole.norm():8.2g} of its length, {words}")
ways = {"one process": (1, 1), "one, --accumulate 2": (1, 2), "two processes": (2, 1), "two, --accumulate 2": (2, 2)}
lesson.draw_shares(16, ways)

# %% [markdown]
# Your sum is exact, and *yet* a batch in parts is another training: BatchNorm sees a part at a time, and normalises by
# it. That cannot be mended on one GPU. On several it can, as each tells the others its sums; so a batch on eight GPUs is
# one batch, unless you ask for `--local-batchnorm`, which is quicker.
#
# The figure shows who works on what. A picture and its mirror image in the batch are always together, so mixup pairs the
# same two however many GPUs there are. The command stays the same, with `torchrun` in front:
#
# ```
# torchrun --nproc-per-node 8 -m netwright finetune signs --model toy_resnet --recipe full
# torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint first:29400 -m netwright finetune …
# ```
#
# ## What a training is made of
#
# A week of computing should survive a power cut. A checkpoint can, if it holds *everything* that decides what comes
# next; weights alone are not it.
#
# ### Exercise 8: resume
#
# `lesson.Training` is a small training: it has a `net`, an `optimiser` with momentum, an `ema`, a random generator
# `chance` that chooses the pictures, and two numbers, `done` and `best`. Write `state`, which returns all of it as plain
# data and tensors, and `go_on`, which puts it back. The check kills trainings and wants the very same numbers at their
# end.
#
# *8 minutes · hard · about ten lines*


# %%
@exercise("finetune.resume")
class Resumable(lesson.Training):
    def state(self):
        """All that makes this training what it is now."""
        ### BEGIN SOLUTION
        return {
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "ema": self.ema.state_dict(),
            "chance": self.chance.get_state(),
            "done": self.done,
            "best": self.best,
        }
        ### END SOLUTION

    def go_on(self, state):
        """Become the training that `state` was taken from."""
        ### BEGIN SOLUTION
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.ema.load_state_dict(state["ema"])
        self.chance.set_state(state["chance"])
        self.done, self.best = state["done"], state["best"]
        ### END SOLUTION


check("finetune.resume", Resumable)

# %%
again = {"recipe": "layerwise", "lr": 0.002, "out": str(work / "killed"), **no_flips}
killed_at = lesson.train_and_kill(work / "signs", after=25, checkpoint_minutes=0.001, **again)
total = len(runs["layerwise"].history.epochs) * runs["layerwise"].history.start["steps_per_epoch"]
print(f"A process of its own, killed when its log had come to step {killed_at} of {total}.")

resumed = finetune(work / "signs", **again, **quiet)
print(f"Asked for the same again, the training went on from step {resumed.history.resumes[0]['step']}.\n")
for what, (unequal, count_of) in lesson.differences(resumed, runs["layerwise"]).items():
    print(f"{what}: {unequal} of {count_of:,} numbers differ from the training that nobody killed")
progress()

# %% [markdown]
# Your third prediction. Not about the same: the same, mixup, augmentation, dropped blocks, average and all. It is
# possible because in netwright nothing random has a history. What a picture looks like in an epoch follows from the
# seed, the epoch and the picture's number, whoever computes it and whenever.
#
# ## What would fool you
#
# **A classifier that happens to fit.** You have twenty classes, and so has a net that somebody trained. It loads, no
# shape complains, nothing needs replacing. Say your folder even has the very same twenty classes: a folder is read in the
# order of the alphabet.

# %%
alphabet = sorted(start.class_names)
place = torch.tensor([alphabet.index(name) for name in start.class_names])  # where the folder has each class
with torch.inference_mode():
    logits = start(x)
for words, its in (("as the numbers are", logits), ("put in order by name", logits[:, place.argsort()])):
    share = (its.argmax(1) == place[y]).double().mean()
    print(f"{words:22} {share:6.1%} right, loss {F.cross_entropy(its, place[y]):.2f}")
print(f"\nA classifier that knows nothing has a loss of {math.log(len(alphabet)):.2f}.")

# %% [markdown]
# Sure of itself and wrong, which is worse than knowing nothing. `finetune` compares names, not numbers: if the classes
# are not the same ones in the same order, it starts with a fresh classifier.
#
# **Peeking.** The best of many epochs on some pictures was partly the luckiest on these. How much can be tried out: some
# hundred small trainings on the frozen net's features, each with pictures drawn anew, each keeping its best epoch.
#
# **Too few pictures.** The figure of the three ways looked as if it had a winner. Now that nothing is to be chosen any
# more, ask `test` too, which has several times as many.
#
# **One seed.** And if you compare two nets by one training each, you compare two throws of the dice.

# %%
features = lesson.features_of(start, signs.split("test"))  # (pictures, channels), (pictures,)
peeked = lesson.peek(*features, runs=400, epochs=30, train=48, judge=60)
display(lesson.draw_told_and_true(peeked))

for split in ("val", "test"):
    said = {way: predict(runs[way].net, signs.split(split), **quiet) for way in ("head_only", "full", "layerwise")}
    for one, other in (("full", "head_only"), ("full", "layerwise")):
        print(f"{split:4}: {one} against {other:9} {compare(said[one], said[other])}")

lesson.seeds("relation")

# %% [markdown]
# The first figure is your fourth prediction. `val` is for choosing; a number that you tell others comes from pictures
# that had no say, and from them once. In the second, each dot is a whole training of a toy net, and those in a row differ
# in nothing but the seed. Pick one dot from each row, as a comparison by one training each does: which net is best?
#
# Between them: where the interval of a difference holds 0, nothing has been shown. Not that the two are equal, either.
#
# And what else has fooled people, in this notebook alone: a frozen body that drifts · a validation in training mode ·
# flips where left is not right · a loss that falls all the while.
#
# ## Recap
#
# - A recipe is a table; each of its parts is a few lines, and you have written them.
# - Parameters are what an optimiser moves. Buffers move by themselves, unless the mode is held.
# - Look at *which* pictures are wrong before you ask for more of them.
# - What decides what comes next belongs in the checkpoint: net, optimiser, average, chance, counts.
# - A number needs an interval, pictures that had no say in it, and more than one seed.
#
# **Next:** [11 · Evaluate](11_evaluate.ipynb), in which a number is taken apart until it can be defended.
