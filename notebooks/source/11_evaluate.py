# %% [markdown]
# # 11 · Evaluate
#
# Notebook 10 ended as every training does, with a number. Somebody will use it: to choose a net, to publish, to put a
# machine on the road. This notebook is about numbers that one can defend. At its end you can
#
# - write an evaluation that counts every picture once, and leaves the net as it was;
# - say how sure a number is, for a whole test and for a class of a few pictures;
# - decide which of two nets is better, or that you cannot tell;
# - see that a figure was measured on the wrong labels, the wrong pixels or the wrong day;
# - tell what a net knows of its own errors, and what an answer costs;
# - do all of this with one command.
#
# *About two hours. You have been through 00; no GPU is needed.*
#
# ### Before you begin: a prediction
#
# Here are nine ways to evaluate a good net wrongly.
#
# 1. It stays in training mode; the pictures come shuffled.
# 2. It stays in training mode; the pictures come class after class, as folders are read.
# 3. The accuracy is the mean over batches, the last of which is smaller.
# 4. The colours come in the order blue, green, red.
# 5. The pictures are not normalised.
# 6. They are enlarged by a seventh and their border is cut off, as is usual for photographs.
# 7. They are turned by random quarter turns, “since the objects stay the same”.
# 8. The classes are numbered in the alphabetical order of their folders.
# 9. Twenty variants are tried on the test pictures, and the best is told.
#
# **How many of the nine raise an error? In how many would somebody who sees only the wrong number notice nothing, or
# even be pleased?** Write two numbers down. The last figure has the answer.
#
# ## Four nets and a test
#
# The nets are the four that ship with the workbook: ResNet, ResNeXt, ResNeSt and HaloNet of half a million parameters
# each, trained on the toy world. Its classes are told apart by texture (framed blue), by shape (orange) or by how two parts
# stand to each other (green). No net has seen the test pictures, and they had no say in any training.

# %%
import copy
import math
import tempfile
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from IPython.display import display
from PIL import Image
from torch.nn import functional as F

import netwright as nw
from netwright import paths
from netwright.datasets import ToyPictures
from netwright.evaluate import compare, measure, predict
from netwright.lessons import check, exercise, hint, theirs_or_ours
from netwright.lessons import evaluate as lesson
from netwright.toys import CLASSES, GROUPS, ToyWorld, groups, ledger

threads = torch.get_num_threads()
torch.set_num_threads(1)  # on a busy machine, threads wait for each other longer than they work on nets so small
nets = {name: nw.create_model(name, pretrained=True).eval() for name in nw.list_models("toy_*")}
test = lesson.AtHand(ToyPictures(ToyWorld("test", length=2000)))
answers = {name: predict(net, test) for name, net in nets.items()}  # the logits of every picture, once
lesson.draw_world(test)

# %% [markdown]
# ### Exercise 1: right among the first k
#
# Top-1 counts a picture as right where the likeliest class is the right one; top-5, where the right one is among the five
# likeliest. That leaves two questions, and they decide numbers. What if there are fewer classes than k? And what if two
# classes are equally likely? Here: then all of them count, and the class with the smaller number comes first. So a net
# that says the same of every class scores as chance does.
#
# *5 minutes · easy · two lines. Below each check, three hints are folded up; `solution("evaluate.topk")` is the last resort.*


# %%
@exercise("evaluate.topk")
def topk_accuracy(logits, targets, k):
    """The share of pictures whose right class is among the k likeliest. logits: (n, classes); targets: (n,)."""
    ### BEGIN SOLUTION
    order = logits.sort(dim=1, descending=True, stable=True).indices
    return (order[:, :k] == targets[:, None]).any(dim=1).double().mean().item()
    ### END SOLUTION


display(check("evaluate.topk", topk_accuracy), hint("evaluate.topk"))

# %% [markdown]
# ### Exercise 2: the loop
#
# The logits above came from the library's `predict`. Write what it does: over batches of (images, targets), the top-1 and
# the mean loss. Mind three things. The last batch is smaller. A net in training mode normalises every picture by its
# neighbours in the batch, and *learns their statistics* while you only look. And afterwards the net must be as it was,
# module by module: what somebody has frozen, as you did in notebook 10, must not thaw.
#
# *10 minutes · medium · a dozen lines*


# %%
@exercise("evaluate.loop")
def evaluate(net, batches):
    """(top-1, mean loss) of net over batches of (images, targets); afterwards the net is as it was before."""
    ### BEGIN SOLUTION
    training = [module for module in net.modules() if module.training]
    net.eval()
    right, loss, count = 0, 0.0, 0
    with torch.no_grad():
        for images, targets in batches:
            logits = net(images)
            right += (logits.argmax(dim=1) == targets).sum().item()
            loss += F.cross_entropy(logits, targets, reduction="sum").item()
            count += len(targets)
    for module in training:
        module.training = True
    return right / count, loss / count
    ### END SOLUTION


display(check("evaluate.loop", evaluate), hint("evaluate.loop"))

# %%
topk_accuracy, evaluate = theirs_or_ours("evaluate.topk", topk_accuracy), theirs_or_ours("evaluate.loop", evaluate)
net, thousand = nets["toy_halonet"], lesson.AtHand(ToyPictures(ToyWorld("test", length=1000)))  # half of the test
right, transform = predict(net, thousand), nw.transform_for(net)
targets, inputs = right.targets, torch.stack([transform(thousand.picture(i)) for i in range(1000)])
top1, loss = evaluate(net, zip(inputs.split(64), targets.split(64), strict=True))
print(f"\nyour loop  top-1 {top1:.2%}, loss {loss:.4f}")
print(f"predict    top-1 {topk_accuracy(right.logits, targets, 1):.2%}, loss {measure(right).loss:.4f}\n")


def in_training_mode(order):
    """What the net says when nobody has called eval(); and that net, as it is afterwards."""
    forgotten, logits = copy.deepcopy(net).train(), torch.empty_like(right.logits)
    with torch.no_grad():
        for some in order.split(64):
            logits[some] = forgotten(inputs[some])
    return replace(right, logits=logits), forgotten


by_class = targets.argsort(stable=True)
shuffled, _ = in_training_mode(torch.arange(len(targets)))
in_order, looked_at = in_training_mode(by_class)
batches = [(right.answers == targets)[some].double().mean() for some in by_class.split(64)]
changes = {
    "training mode, shuffled": lesson.points(compare(shuffled, right)),
    "training mode, class by class": lesson.points(compare(in_order, right)),
    "mean over batches": (100 * (np.mean(batches) - top1),) * 3,
}
for fault, (change, *_) in changes.items():
    print(f"{fault:30} top-1 {top1 + change / 100:.2%}")
print(f"{'that net afterwards, in eval()':30} top-1 {measure(predict(looked_at, thousand)).top1.value:.2%}")

# %% [markdown]
# The first three faults of the prediction, on the HaloNet. The first two are one mistake. Shuffled, every batch is a fair
# sample of the world, and its statistics are nearly those of the training. Class after class, the same line of code ruins
# everything; and the last line shows that it has ruined the *net*, whose statistics were overwritten while you looked.
# The third is small because the batches are many and alike. It grows with the smallness of the last one.
#
# ## How sure is a number?
#
# You have counted so many right of so many. Other pictures of the same world would have given another count. Which true
# accuracies go with what you saw? Most books answer with **Wald's interval**: your share p, give or take z times
# √(p (1 − p) / n), where z is 1.96 for 95 %. Try it in your head for a class of a hundred pictures, all of which were
# answered right. It says that no error is possible.
#
# ### Exercise 3: Wilson's interval
#
# Wilson turned the question round, in 1927. Take any true accuracy p. The shares that tests of n pictures give spread
# around it by √(p (1 − p) / n). Keep all those p from which your share is no further away than z of *their* spreads.
# Solved for p:
#
# $$\text{centre} = \frac{\hat p + z^2/2n}{1 + z^2/n} \qquad
# \text{half} = \frac{z}{1 + z^2/n} \sqrt{\frac{\hat p\,(1-\hat p)}{n} + \frac{z^2}{4n^2}}$$
#
# with $\hat p$ what you have counted. Return the two ends. Of no picture at all, anything is possible: 0 to 1.
#
# *5 minutes · easy · four lines*


# %%
@exercise("evaluate.wilson")
def wilson(count, of, z=1.96):
    """(low, high) of the interval for a share of which `count` of `of` were counted."""
    ### BEGIN SOLUTION
    if of == 0:
        return 0.0, 1.0
    p = count / of
    centre = (p + z**2 / (2 * of)) / (1 + z**2 / of)
    half = z * (p * (1 - p) / of + z**2 / (4 * of**2)) ** 0.5 / (1 + z**2 / of)
    return centre - half, centre + half
    ### END SOLUTION


display(check("evaluate.wilson", wilson), hint("evaluate.wilson"))

# %%
wilson = theirs_or_ours("evaluate.wilson", wilson)
measures = {name: measure(its, groups=groups()) for name, its in answers.items()}
rows = []
for name, its in measures.items():
    ends = ["{:.2%} to {:.2%}".format(*kind(its.top1.count, its.top1.of)) for kind in (lesson.wald, wilson)]
    rows.append((name, f"{its.top1.count:,} of {its.top1.of:,}", *ends))
display(lesson.table(("net", "right", "Wald's interval", "Wilson's interval"), rows))

of, truths = 100, np.linspace(0.6, 0.999, 400)
kept = {
    "Wald's": lesson.kept_promise(lesson.wald, truths, of),
    "Wilson's": lesson.kept_promise(wilson, truths, of),
}
lesson.draw_promise(lesson.drawn_intervals(wilson, 0.95, of, times=100), 0.95, of, kept, truths)

# %% [markdown]
# An interval is a promise: *of all the intervals that are worked out in this way, 95 % hold the truth.* So it can be
# tested. On the left, a net whose true accuracy we know takes a hundred tests, and the orange ones miss it. On the right, how
# often the promise is kept, exactly, for every true accuracy. Neither keeps it to the letter, because a count is a whole
# number. But Wilson's stays near it, and Wald's breaks it just where good nets live.
#
# What no interval over pictures covers: another kind of picture, another training, a wrong label.
#
# ## Which net is better?
#
# The usual way is to print two numbers with their intervals, and to look whether these overlap. A better way uses that
# both nets saw the *same* pictures. Where both are right, or both wrong, nothing tells them apart. What counts are the
# pictures on which they differ; and if the nets are equally good, each of those is a throw of a fair coin.
#
# ### Exercise 4: in pairs
#
# McNemar's exact test, of 1947. Of the pictures on which the two differ, a alone is right on some and b alone on the
# rest. How probable is a split at least as uneven, to either side, with a fair coin? That is p. Return the difference of the
# two accuracies, and p.
#
# *10 minutes · hard · five lines, with `math.comb`*


# %%
@exercise("evaluate.paired")
def paired(right_a, right_b):
    """(a's accuracy less b's, McNemar's exact p), from what each got right on the same pictures: bool (n,) both."""
    ### BEGIN SOLUTION
    only_a = (right_a & ~right_b).sum().item()
    only_b = (right_b & ~right_a).sum().item()
    differ = only_a + only_b
    tail = sum(math.comb(differ, k) for k in range(min(only_a, only_b) + 1))
    return (only_a - only_b) / len(right_a), min(1.0, 2 * tail / 2**differ)
    ### END SOLUTION


display(check("evaluate.paired", paired), hint("evaluate.paired"))

# %%
paired = theirs_or_ours("evaluate.paired", paired)
pairs = {(a, b): compare(answers[a], answers[b]) for a, b in combinations(nets, 2)}
rows = []
for (a, b), its in pairs.items():
    difference, p = paired(*(answers[name].answers == answers[name].targets for name in (a, b)))
    apart = "overlap" if lesson.overlaps(measures[a].top1, measures[b].top1) else "are apart"
    verdict = f"{a if difference > 0 else b} is better" if p < 0.05 else "one cannot tell"
    rows.append((a, b, its.only_a, its.only_b, f"{p:.2g}", apart, verdict))
display(lesson.draw_pairs({name: its.top1 for name, its in measures.items()}, pairs))
lesson.table(("a", "b", "a alone right", "b alone right", "p", "their intervals", "in pairs"), rows)

# %% [markdown]
# In the figure on the right, orange means a p below 0.05. Look for a row of the table in which the intervals overlap and the
# pairs decide: nets stumble over the same hard pictures, and a comparison of two intervals lets what they have in common
# drown the difference.
#
# Two cautions. Of twenty comparisons of equal nets, one falls below 0.05 by chance. And what have you compared? Not
# *ResNet* with *HaloNet*. Two files.
#
# ### One seed
#
# Train the same recipe with another seed, and you get another file. The workbook's nets were trained five times each, and
# what came out is written down in `data/toy/ledger.json`. In the figure each dot is one training, and the pale bars are
# 95 % intervals for the mean *over seeds*.

# %%
results = ledger.results()
rows = [
    (*it.short, f"{it.difference:+.2f}", f"{it.p:.2g}", f"{it.upsets} of {it.of}", f"{it.sure} of {it.of}")
    for it in lesson.duels(results, "relation")
]
display(lesson.draw_seeds(results))
heads = ("a", "b", "a less b on relations, means of the seeds (points)", "p over seeds", "upsets", "called different")
display(lesson.table(heads, rows))
for group in GROUPS:
    spreads = {name: ledger.over_seeds(name, group, results) for name in nets}
    widest = max(spreads, key=lambda name: max(spreads[name]) - min(spreads[name]))
    better = "; ".join(f"{a} above {b}" for a, b in ledger.told_apart(group, results)) or "no net above another"
    print(f"{group:9} {better}. Widest: {widest}, {min(spreads[widest]):.1%} to {max(spreads[widest]):.1%}")

# %% [markdown]
# In the table every seed of a net fights every seed of another on the relations, as if each had been trained once, which
# is how most comparisons are made. An *upset* is a duel won by the net with the lower mean. *Called different* are those
# in which the intervals over pictures would have named a winner, upset or not. *p over seeds* asks what these intervals do
# not: how often would so large a difference of the means come about if the ten trainings were dealt out to the two nets at
# random? Where that is not small, no call of a single duel can be trusted, however small its own p.
#
# The lines below the table say which family is better at what, as far as five seeds can tell (at 5 % for all six pairs
# together), and whose seeds lie furthest apart. Hold them against the small p of the pairs above. An interval over
# pictures defends a **file**. What defends a **recipe**, or a family of nets, are seeds. They answer different questions,
# and the second costs five trainings.
#
# ## Are they the right labels?
#
# All of this took for granted that output 7 means class 7. Folders are read in alphabetical order; a net has its outputs in
# the order in which it was taught. For ImageNet's thousand folders the two agree. For some of them, such as Imagenette's
# ten, they do not, and a course's published notebook has a parachute where the goldfish is (Neuromatch, `W2D3_Tutorial1`).
#
# ### Exercise 5: whose output is it?
#
# Match by name, never by place. WordNet's synsets are names that cannot be mistaken, `n01440764` for a tench, which is
# why ImageNet's folders are called so. For each folder return the number of the output that answers for it. A folder
# that the net was never taught is an error: what else could be right?
#
# *5 minutes · medium · four lines*


# %%
@exercise("evaluate.labels")
def outputs_of(folders, net_synsets):
    """For each class folder the number of the output that answers for it; neither list need be sorted."""
    ### BEGIN SOLUTION
    place = {synset: output for output, synset in enumerate(net_synsets)}
    unknown = [folder for folder in folders if folder not in place]
    if unknown:
        raise ValueError(f"The net was never taught {', '.join(unknown)}.")
    return [place[folder] for folder in folders]
    ### END SOLUTION


display(check("evaluate.labels", outputs_of), hint("evaluate.labels"))

# %%
outputs_of = theirs_or_ours("evaluate.labels", outputs_of)
imagenet, imagenette = [label.synset for label in nw.labels()], lesson.IMAGENETTE
rows = [
    (folder, nw.labels()[output].name, output, place, nw.labels()[place].name)
    for place, (folder, output) in enumerate(zip(imagenette, outputs_of(imagenette, imagenet), strict=True))
]
display(lesson.table(("folder", "shows", "output, by synset", "by place", "where the net has"), rows))

alphabet = sorted(test.class_names)  # the order in which a program lists the toy world's class folders
by_place = replace(right, logits=right.logits[:, outputs_of(test.class_names, alphabet)])
changes["classes by alphabet"] = lesson.points(compare(by_place, right))
print(f"toy world, matched by name         {measure(right).top1}")
print(f"toy world, numbered by alphabet    {measure(by_place).top1}")

# %% [markdown]
# A fault of labels is easy to see where all classes move, and hard where two of a thousand do.
#
# Then there is a choice that is no fault. On Imagenette a net of a thousand classes may answer with any of them, or be
# held to the ten that occur. Both figures are right, and they answer different questions; below you will see how far apart
# they can be. A figure that does not say which it is can be compared with nothing, so `evaluate` prints it with every number.
#
# ## Are they the right pixels?
#
# How a picture becomes an input belongs to the weights. Here are a thousand test pictures in other ways: two of them as the
# HaloNet then sees them, and by how many points each group of classes moves, on a scale on which a point and a hundred
# points both can be seen. To the right of it the change of the whole, in pairs, and how sure the net says it is.

# %%
mirrored, turned = lesson.AtHand(thousand, thousand.kept.flip(3)), lesson.quarter_turns(thousand)


def from_0_to_1(picture):
    return transform(picture) * transform.std + transform.mean


shown_as = {
    "saved as JPEG": (thousand, lambda picture: transform(lesson.as_jpeg(picture))),
    "mirrored": (mirrored, transform),
    "blue, green, red": (thousand, lambda picture: transform(Image.merge("RGB", picture.split()[::-1]))),
    "enlarged, cropped": (thousand, nw.transform_for(net, crop_pct=0.875)),
    "quarter turns": (turned, transform),
    "not normalised": (thousand, from_0_to_1),
    "not divided by 255": (thousand, lambda picture: (255 * from_0_to_1(picture) - transform.mean) / transform.std),
}
samples = [int((targets == test.class_names.index(name)).nonzero()[0]) for name in ("dots", "same beside near")]
ways = lesson.ask_in_ways(net, shown_as, right, samples)
for way in ("blue, green, red", "not normalised", "enlarged, cropped", "quarter turns"):
    changes[way] = lesson.points(ways[way].change)
display(lesson.draw_ways(ways, measure(right, groups=groups()), transform))

pictures, make = shown_as["blue, green, red"]
for name, its in nets.items():
    print(f"{name:12} blue, green, red: {compare(predict(its, pictures, transform=make), answers[name])}")
both = replace(right, logits=(right.probabilities + ways["mirrored"].answers.probabilities).log())
print(f"\ntoy_halonet, mean of a picture and its mirror image: {compare(both, right)}")

# %% [markdown]
# Some faults shout. One whispers: no label of the toy world depends on a colour, and so a net need not mind when red and
# blue change places. How much it does mind depends on what it happens to have learned, and the four do not agree. On
# photographs it costs a few points, and a few points look like a somewhat worse training.
#
# **Turns are a claim about labels.** A mirror changes no class of this world, so asking for the mirror image as well is
# fair (whether it helps, the last line says). A quarter turn changes no texture and no shape, which is why it looked
# harmless; but it makes *beside* into *above*. With one such pair of classes in a thousand, nobody would have noticed. Look
# at your classes before you flip: left and right hands, arrows, 6 and 9.
#
# **Confidence is no alarm.** Where the pixels were not divided by 255, the net is hardly ever right and hardly ever in
# doubt. The alarm is a known figure: evaluate weights whose accuracy is published, in your own pipeline, before you
# believe it about any others.
#
# ## Is it the right day?
#
# A test is drawn from one world. What if pictures come at another resolution, or grainy, as from a phone at night? First
# the size of the *input* and the crop, then three corruptions in the manner of ImageNet-C; severity 0 is none.

# %%
from netwright.evaluate.sweep import sweep

some = ToyPictures(ToyWorld("test", length=250))
swept = sweep(net, lesson.AtHand(some), sizes=(32, 48, 64, 80, 96), crops=(0.875, 1.0))
display(swept.figure("toy_halonet, its input at other sizes"))
print(*swept.impossible(), sep="\n")
resnext = [w for w in nw.list_weights("resnext*") if len({metric.size for metric in w.metrics}) > 1]
rows = [(w.name, m.size, m.top1) for w in resnext for m in w.metrics if m.dataset == "ImageNet" and m.source == "timm"]
display(lesson.table(("published on ImageNet (timm)", "input size", "top-1 %"), rows))

kinds = ("gaussian_noise", "gaussian_blur", "brightness")
lesson.draw_weather(lesson.in_weather(nets, some, transform, kinds, severities=(0, 2, 4)))

# %% [markdown]
# The toy net is at its best where it was trained; any other size costs it. Nets that were trained on random crops of
# photographs see objects larger in training than in a centre crop, and *gain* from a larger test
# ([Touvron et al. 2019](https://arxiv.org/abs/1906.06423)): the table has published figures of nets at two sizes, and each
# is better at the larger. Size and crop belong to the number, and whoever chooses them on the test is peeking.
#
# And the weather. On the plain test the four could hardly be told apart. In noise they are far apart, and not in the same
# order: a test that everybody passes says nothing of a day that is not on it. (It says so of these four *files*. What of
# it is the family's and what the seed's would take the five trainings again.)
#
# ### Exercise 6: what is taken for what
#
# In noise there are enough mistakes to look at. Count them: the row is the class that it is, the column the class that was
# said.
#
# *5 minutes · easy · one to four lines*


# %%
@exercise("evaluate.confusion")
def confusion(targets, answers, classes):
    """How often each class (row) was answered with each class (column): int64 (classes, classes)."""
    ### BEGIN SOLUTION
    return torch.bincount(targets * classes + answers, minlength=classes**2).view(classes, classes)
    ### END SOLUTION


display(check("evaluate.confusion", confusion), hint("evaluate.confusion"))

# %%
from netwright.evaluate.figures import confusion as draw_confusion

confusion = theirs_or_ours("evaluate.confusion", confusion)
grainy = lesson.grainy(thousand, transform, severity=2)
in_noise = {name: predict(its, grainy) for name, its in nets.items()}
noisy = {name: measure(its, groups=groups()) for name, its in in_noise.items()}
worst = min(noisy, key=lambda name: noisy[name].top1.value)
matrix = confusion(in_noise[worst].targets, in_noise[worst].answers, len(CLASSES))
display(lesson.draw_classes(noisy))
four = ("stripes", "heart", "same beside near", "different above far")
for name, its in in_noise.items():
    free, held = lesson.held_to(its, four)
    print(f"{name:12} on four classes: {free:.1%} with any answer, {held:.1%} with these four only")
print(f"\n{worst}, in noise of severity 2:")
draw_confusion(replace(noisy[worst], confusion=matrix.numpy()), test.class_names)

# %% [markdown]
# The upper figure is why one number is not enough: each net has its own classes on which it gives up, and a mean hides
# them. The lines below it are the choice from above, four classes of twenty with and without the other sixteen answers.
# Whoever wants a high figure holds the net to the classes that occur.
#
# In the matrix, the diagonal of a *row* is the accuracy of that class. A *column* tells what an answer is worth: where it
# has many entries, the net says that class when it does not know.
#
# ## Does the net know what it knows?
#
# With each answer a net says a probability, its confidence. If it is **calibrated**, four in five of the answers given
# with 80 % are right. One can look: put the answers into bins by confidence, and see which share of each bin is right.
#
# ### Exercise 7: the expected calibration error
#
# It is the gap between confidence and accuracy, bin by bin and weighted by pictures
# ([Guo et al. 2017](https://arxiv.org/abs/1706.04599)):
#
# $$\text{ECE} = \sum_{b} \frac{n_b}{n} \left|\,\text{accuracy}_b - \text{confidence}_b\,\right|$$
#
# over bins of equal width, with the confidence of the answer that was given, be it right or wrong.
#
# *10 minutes · medium · eight lines*


# %%
@exercise("evaluate.ece")
def calibration_error(probabilities, targets, bins=15):
    """The expected calibration error of probabilities (n, classes), in 0 to 1."""
    ### BEGIN SOLUTION
    confidence, answers = probabilities.max(dim=1)
    right = (answers == targets).double()
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    error = 0.0
    for one in place.unique():
        inside = place == one
        gap = (right[inside].mean() - confidence[inside].mean()).abs()
        error += (gap * inside.double().mean()).item()
    return error
    ### END SOLUTION


display(check("evaluate.ece", calibration_error), hint("evaluate.ece"))

# %%
from netwright.evaluate.metrics import temperature

calibration_error = theirs_or_ours("evaluate.ece", calibration_error)
warmth = temperature(predict(net, ToyPictures(ToyWorld("val", length=1000))))
graining = in_noise["toy_halonet"]
shown = {
    "test": right,
    f"test, T = {warmth:.2f}": replace(right, logits=right.logits / warmth),
    "in noise": graining,
    f"in noise, T = {warmth:.2f}": replace(graining, logits=graining.logits / warmth),
}
display(lesson.draw_calibration({name: measure(its).calibration for name, its in shown.items()}))

print(f"your ECE on the test: {calibration_error(right.probabilities, targets):.2%}")
for n in (1000, 100):
    errors = [calibration_error(*lesson.calibrated(graining, n, seed)) for seed in range(20)]
    print(f"ECE of a net that is calibrated by making, on {n:5,} pictures: {np.mean(errors):.2%} on average")

# %% [markdown]
# The usual cure is in the figure too. All logits are divided by one number, the *temperature* T, which makes a net less
# sure (above 1) or surer (below 1) and changes no answer. It was fitted on `val`. On the test it does what it should; in
# noise the net is far too sure, and that T is for another day.
#
# The last lines are a warning about the measure. For them labels were drawn from the net's own probabilities, so that it
# is calibrated perfectly, and yet its ECE is not zero, and the larger the fewer the pictures. Compare it at equal n.
#
# ### Where the world looks new
#
# `ToyWorld("novel", hold_out=…)` shows only what its other splits hold out: a test of generalisation, for nets that were
# *trained with* that hold-out. Ours have seen it all, and on the left you see how little “novel” says by itself. On the
# right is what no training picture had: shapes that are smaller or larger than ever. Solid, how often two of the nets are
# right; dashed, how sure they are.

# %%
slices = {}
for nuisance in ("hue", "place", "scale", "ground", "light"):
    novel = ToyPictures(ToyWorld("novel", hold_out=nuisance, length=250))
    slices[nuisance] = measure(predict(net, novel)).top1
radii, curves = (6, 8, 10, 12, 14, 16, 18, 20, 22), {}
sized = [lesson.shapes_of_size(radius, 100) for radius in radii]
for name in ("toy_resnet", "toy_halonet"):
    found = [predict(nets[name], pictures) for pictures in sized]
    curves[name] = [measure(its).top1 for its in found], [its.probabilities.amax(1).mean().item() for its in found]
lesson.draw_new(slices, measures["toy_halonet"].top1, radii, curves)

# %% [markdown]
# Within what training showed, all is well. Beyond it accuracy falls off a cliff, and confidence takes the stairs. To train
# a net that has never seen a blue figure, and to test it on blue ones: `python -m netwright finetune toy:hue …`, then
# `python -m netwright evaluate toy:hue --split novel …`.
#
# ## What does an answer cost?
#
# Times drift with whatever else a machine does. So nets are timed in turn, in one process, and what is told is how many
# times as fast one is as another, with quartiles. Peak memory is what a fresh process grows by.

# %%
rows = [
    (name, f"{sum(parameter.numel() for parameter in nets[name].parameters()):,}", *its.values())
    for name, its in lesson.faster(nets).items()
]
display(lesson.table(("net", "parameters", "speed, 1 picture (ResNet: 1)", "speed, 32 pictures"), rows))
for name, peak in lesson.peaks({name: nets[name] for name in ("toy_resnet", "toy_halonet")}).items():
    print(f"{name}, peak memory for 32 pictures: {f'{peak / 1e6:.0f} MB' if peak else 'not measured on this system'}")
lesson.throughput(("resnest50d", "halonet50ts"))

# %% [markdown]
# One budget of parameters is not one budget of time, and not one of memory. And one picture at a time is another race
# than thirty-two: latency the first, throughput the second. Whoever tells the one where the other was asked for can choose
# the winner.
#
# ## All of it in one command
#
# What you have built is what `python -m netwright evaluate` does; `%run -m` is the same from inside a notebook.

# %%
report = paths.home() / "reports" / "evaluation.html"
# %run -m netwright evaluate toy --split test --limit 500 --model toy_resnet toy_halonet --html {report}

# %% [markdown]
# The report is one file for the browser, with every class, the confusions, the reliability diagram and the surest mistakes
# as pictures. `--corrupt`, `--sweep` and `--speed` add the rest, and `--json` writes all of it for machines.
#
# ## Published weights, your pictures
#
# Set `IMAGENET` to the folder of ImageNet's validation pictures, in any of the usual layouts. (Or have Imagenette:
# `python -m netwright finetune imagenette-320 …` fetches it.) Then the next cell measures published weights on them, and
# says whether they do what their publisher says. Without, it says what is missing. The published figures it shows anyway.

# %%
IMAGENET = None  # such as "~/imagenet/val"

torch.set_num_threads(threads)
print(lesson.published_on(IMAGENET, model="halonet26t", limit=None if torch.cuda.is_available() else 200), "\n")
entries = lesson.published()
twice = [it for it in entries if len(it.imagenet) > 1]
print(f"Of {len(entries)} files, {len(twice)} were measured by several people. They agree, but for")
for it in twice:
    if not it.agree:
        print(f"  {it.name}: {', '.join(f'{share.value:.2%} ({source})' for source, share in it.imagenet.items())}")
print(f"\nRank correlation of ImageNet and ImageNetV2 over the nets: {lesson.rank_correlation(entries):.2f}")
lesson.draw_published(entries)

# %% [markdown]
# Look at the green dots. ImageNetV2 is ten thousand pictures that were collected years later, *in the same way*
# ([Recht et al. 2019](https://arxiv.org/abs/1902.10811)). Every net loses many times what its interval allows for. The
# order of the nets stays much the same. An interval speaks of pictures drawn as these were drawn, and of no others.
#
# ## What would fool you
#
# **The best of twenty.** Twenty variants, seeds or learning rates or input sizes, are all equally good. You test each of
# them, honestly, on the same test pictures, and tell the best.
#
# **A leak.** Some of the test pictures are in the training set. In the second half of the next cell a folder has such
# pictures, and the “net” does nothing but remember: it answers with the class of the nearest training picture.

# %%
of, variants, truth = len(test), 20, measures["toy_halonet"].top1.value
chosen = lesson.choose(truth, of)
flattery = 100 * (chosen.told[:, variants - 1] - truth)
changes["the best of twenty"] = (flattery.mean(), *np.quantile(flattery, (0.025, 0.975)))
display(lesson.draw_choice(chosen, truth, of, variants))

with tempfile.TemporaryDirectory() as folder:
    lesson.leaky_folder(Path(folder))
    leaky = nw.open_data(folder)
    memory = lesson.remember(leaky.split("train"), leaky.split("val"))
for what, some in (
    ("val", np.ones_like(memory.copy)),
    ("of which: the very file is in train", memory.copy),
    ("the same picture, saved again", memory.near & ~memory.copy),
    ("new pictures", ~memory.near),
):
    print(f"{what:36} {some.sum():4} pictures, {memory.right[some].mean():6.1%} right")

# %%
names = (
    "training mode, shuffled", "training mode, class by class", "mean over batches", "blue, green, red",
    "not normalised", "enlarged, cropped", "quarter turns", "classes by alphabet", "the best of twenty",
)  # fmt: skip
ordered = {f"{number}. {name}": changes[name] for number, name in enumerate(names, start=1)}
noise = 100 * (measures["toy_halonet"].top1.high - measures["toy_halonet"].top1.low) / 2
seen = [lesson.verdict(change, noise) for change in ordered.values()]
print("No error was raised. What somebody sees who has only the wrong number:")
for what in ("nothing", "a better net", "a worse net"):
    print(f"  {what:13} {seen.count(what)} of {len(seen)}")
lesson.draw_costs(ordered, noise)

# %% [markdown]
# The last figure is the prediction's answer. None of the nine raises an error, or you would have seen it. Grey is how far
# chance alone moves the figure, and the faults that throw a net to the floor are the kind ones.
#
# About the two others. Nobody cheated over the twenty variants, and the interval of the best is wrong all the same, since
# it was *chosen*: choose on `val`, and ask the test once. And `datasets.duplicates` finds files that are equal byte for
# byte; a picture that was saved again has other bytes, and slips through.
#
# ## Recap
#
# - Count pictures, not batches; in evaluation mode; and give the net back as it was.
# - A share without an interval is half a number. Wilson's is honest where good nets live.
# - The same pictures: compare in pairs. Another training: compare seeds.
# - Match classes by name. Say how the pixels were made, and which answers were allowed.
# - A known figure, reproduced, is an alarm that works. Confidence is none.
# - A test speaks of the world that it was drawn from. Choose on `val`, ask the test once, look for copies.
#
# **Next:** [12 · Capstone](12_capstone.ipynb), in which the block is yours, and so are its checks, its wrong variants, and
# the numbers that you will have to defend.
