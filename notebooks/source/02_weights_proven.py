# %% [markdown]
# # 02 · Weights, proven
#
# A file of published weights, a net of your own, one call, no error. Does the net now compute what its publisher's net
# computes? *Loading is a claim.* In this notebook you learn to prove it.
#
# Afterwards you can
#
# - say what is in a weight file, and what a file can do to you when it is opened,
# - write the map from any publisher's names to your own, and prove that it is one-to-one,
# - prove a loaded net against numbers that an independent net has made, block by block,
# - find a fault that loads without an error, in a net or in front of it.
#
# About an hour. Nothing is downloaded unless there is a network, and then one file.
#
# ### Before you begin: a prediction
#
# Here are five faults. Each is planted in a net or in what feeds it, and then the weights are loaded strictly: every
# tensor must have its place and its shape.
#
# 1. The stride of 2 sits in the first 1×1 convolution of a block, not in its 3×3.
# 2. Two tensors of equal shape are exchanged.
# 3. The gates of ResNeSt's r-softmax are not transposed.
# 4. HaloNet's attention masks the zeros around the picture.
# 5. The picture's colours come in the order blue, green, red.
#
# **How many of the five raise an error? How many still give a confident answer?** Write your two numbers down.

# %% [markdown]
# ## What is in a weight file
#
# Names and numbers. That is all a net needs, and there are four common ways to put them into a file: the stream that
# PyTorch wrote until 2020, the zip archive that it writes today, the envelope of a training framework, which is a zip
# with notes about the run in it, and safetensors.
#
# Here is one small layer, written in all four ways.

# %%
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

import netwright as nw
from netwright.lessons import weights
from netwright.weights.read import CheckpointError, read_checkpoint

torch.manual_seed(2)
layer = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, bias=False), torch.nn.BatchNorm2d(8)).state_dict()
notes = {"epoch": 100, "time": "Thu Apr 29 03:12:45 2021", "CLASSES": ("tench", "goldfish")}

folder = Path(tempfile.mkdtemp())
files = {name: folder / f"{name}.file" for name in ("stream", "zip", "envelope", "safetensors")}
torch.save(layer, files["stream"], _use_new_zipfile_serialization=False)
torch.save(layer, files["zip"])
torch.save({"meta": notes, "state_dict": layer}, files["envelope"])
save_file(layer, files["safetensors"])

assert all(torch.equal(read_checkpoint(file)["0.weight"], layer["0.weight"]) for file in files.values())
weights.draw_anatomy(files)

# %% [markdown]
# The blue bytes are the same everywhere. What differs is how the names are kept: safetensors has them as data, the
# three others as a *pickle*, and a pickle is a program. It may call any function of your Python, with any arguments, at
# the moment when the file is opened.


# %%
class Postcard:
    def __reduce__(self):  # what pickle shall call to rebuild this object
        return print, ("You read this line because a file was opened. It could have been any other line of Python.",)


postcard = folder / "postcard.pth"
torch.save({"conv1.weight": torch.zeros(8, 3, 3, 3), "greeting": Postcard()}, postcard)
torch.load(postcard, weights_only=False)

try:
    read_checkpoint(postcard)
except CheckpointError as refusal:
    print("\nRefused:", str(refusal).replace(str(postcard), postcard.name))

# %% [markdown]
# So every file in this workbook is opened with `weights_only=True`: tensors and plain containers are allowed, anything
# else is refused by name before it runs.
#
# That protects you. It does not protect the numbers: let one bit of the safetensors file flip, as on a bad disk.

# %%
import hashlib

healthy = files["safetensors"]
damaged = bytearray(healthy.read_bytes())
damaged[-3] ^= 0b0100_0000
(folder / "damaged.file").write_bytes(damaged)

one, other = read_checkpoint(healthy), read_checkpoint(folder / "damaged.file")
changed = [name for name in one if not torch.equal(one[name], other[name])]
print(f"It loads. Changed, in silence: {', '.join(changed)}.")
for name, content in (("healthy", healthy.read_bytes()), ("damaged", damaged)):
    print(f"sha256 of the {name} file: {hashlib.sha256(content).hexdigest()[:16]}…")

# %% [markdown]
# A hash notices. Publishers write the first eight digits of the file's SHA-256 into its name, and **verified** means in
# this workbook: the bytes on your disk have that hash. A file that does not is kept aside and never loaded.
#
# Two words of caution, both in the table below. For some publishers the digits being a SHA-256 is *stated* by the tools
# that named the files, for others it is a *convention* that nobody has written down. And a licence comes with the
# numbers: some of these weights may not be used commercially.

# %%
weights.table(
    ("weights", "publisher", "licence", "layout", "file", "size", "digits are", "top-1 %"),
    (
        (w.name, w.publisher, w.licence, f.layout, f.filename, f.size_text, f.suffix_hash, w.top1)
        for w in nw.list_weights()
        for f in w.files[:1]
    ),
    scroll=True,
)

# %% [markdown]
# ## The same tensors, other names
#
# Nobody agrees on what to call a layer. The catalogue knows four layouts, and our nets speak a fifth, in which the
# names are those of the parts: `reduce`, `middle`, `expand`, `shortcut`. A **key map** renames, and does nothing else:
# no tensor is changed on the way.
#
# To work offline, we take `nw.golden_checkpoint`: a published file's names and shapes, filled with seeded numbers. Here
# are the first block of ResNeXt-50 as torchvision and Facebook name it, and the same block of our net.


# %%
def modules(keys, start):
    """The names of modules that begin with `start`, without weight, bias and the like."""
    return list(dict.fromkeys(key.rpartition(".")[0] for key in keys if key.startswith(start)))


resnext = nw.golden_checkpoint("resnext50_32x4d", "torchvision")
ours = nw.create_model("resnext50_32x4d").state_dict()
weights.table(
    ("in the file", "in our net"),
    zip(
        [*modules(resnext, ("conv1", "bn1", "layer1.0.")), *modules(resnext, "fc")],
        [*modules(ours, ("stem", "stages.0.0.")), *modules(ours, "classifier")],
        strict=True,
    ),
)

# %% [markdown]
# ### Exercise 1: torchvision's names
#
# Write a function that takes one key of the file and returns our name. It must work for every block of every stage:
# theirs count from `layer1`, ours from `stages.0`, and `layer3` has blocks beyond the ninth in deeper nets. The last
# word of a key (`weight`, `running_mean`, …) stays as it is.
#
# *10 minutes · medium · a dozen lines*


# %%
from netwright.lessons import check, exercise, hint, theirs_or_ours


@exercise("weights.torchvision")
def torchvision(key):
    """A key such as "layer1.0.conv2.weight" -> our name, "stages.0.0.middle.conv.weight"."""
    ### BEGIN SOLUTION
    trunk = {"conv1": "stem.0.conv", "bn1": "stem.0.norm", "fc": "classifier"}
    block = {f"conv{i}": f"{part}.conv" for i, part in enumerate(("reduce", "middle", "expand"), start=1)}
    block |= {f"bn{i}": f"{part}.norm" for i, part in enumerate(("reduce", "middle", "expand"), start=1)}
    block |= {"downsample.0": "shortcut.conv", "downsample.1": "shortcut.norm"}

    module, _, ending = key.rpartition(".")
    if not module.startswith("layer"):
        return f"{trunk[module]}.{ending}"
    stage, number, inside = module.removeprefix("layer").split(".", 2)
    return f"stages.{int(stage) - 1}.{number}.{block[inside]}.{ending}"
    ### END SOLUTION


check("weights.torchvision", torchvision)

# %%
hint("weights.torchvision")

# %% [markdown]
# ### What "one-to-one" is worth, and what it is not
#
# A map is one-to-one when every key gets a name, no two get the same, no name of the net stays empty, and every shape
# fits. That is all that a strict loader can see. Below is a map that passes all of it, and is wrong.
#
# What finds it is the **golden trace**: timm's net was given the same seeded weights and a seeded picture, and a few
# numbers of every block were written down. `nw.first_difference` runs your net on that picture, offline and in double
# precision, and says where it first departs. Read the strip from left to right: dark is equal to the last digits,
# bright is wrong, the triangle marks the first point that departs.

# %%
torchvision = theirs_or_ours("weights.torchvision", torchvision)


def careless(key):
    """torchvision's names with bn1 and bn2 of every block exchanged."""
    name = torchvision(key)
    here, there = (".reduce.norm", ".middle.norm") if ".reduce." in name else (".middle.norm", ".reduce.norm")
    return name.replace(here, there)


maps = {"torchvision": torchvision, "careless": careless}
audits = {name: weights.audit(one, "resnext50_32x4d", "torchvision") for name, one in maps.items()}
kinds = audits["careless"]
rows = ((kind, *(len(audits[name][kind]) for name in maps)) for kind in kinds)
print(weights.table(("keys that are …", *maps), rows), end="\n\n")

traces = {}
for name, one in maps.items():
    net = nw.create_model("resnext50_32x4d", weights={one(key): tensor for key, tensor in resnext.items()})
    traces[name] = nw.first_difference(net, state=None)
print("torchvision:", traces["torchvision"])
traces["careless"]

# %% [markdown]
# ### Exercise 2: OpenMMLab's names
#
# OpenMMLab's classifiers have two halves, and their keys say in which one a layer lies. The rest you know.
#
# *3 minutes · easy · one line*

# %%
openmm = nw.golden_checkpoint("resnext50_32x4d", "openmmlab")
print(*modules(openmm, ("backbone.conv1", "backbone.bn1", "backbone.layer1.0.", "head")), sep="\n")


@exercise("weights.openmmlab")
def openmmlab(key):
    """A key such as "backbone.layer1.0.conv2.weight" -> our name."""
    ### BEGIN SOLUTION
    return torchvision(key.removeprefix("backbone.").removeprefix("head."))
    ### END SOLUTION


check("weights.openmmlab", openmmlab)

# %% [markdown]
# ### Exercise 3: the names of ResNeSt's authors
#
# The walk through a key is always the same, so from here on the library does it: `weights.rename_key(key, trunk,
# block)` looks a module up in one of two tables, `block` for what lies in a residual block and `trunk` for the rest.
# You write the tables.
#
# Three things to notice: the stem has three convolutions now, and the last of its normalisations stands outside; inside
# `conv2` a second small net decides how the branches are weighed; and the shortcut does not start at 0. Why not?
#
# *10 minutes · medium · two tables*

# %%
resnest_file = nw.golden_checkpoint("resnest50d_4s2x40d", "resnest")
ours = nw.create_model("resnest50d_4s2x40d").state_dict()
weights.table(
    ("in the file, in alphabetical order", "in our net, in the order in which they run"),
    zip(
        sorted(modules(resnest_file, ("conv1", "bn1", "layer1.0."))),
        modules(ours, ("stem", "stages.0.0.")),
        strict=True,
    ),
)


# %%
@exercise("weights.resnest")
def resnest(key):
    """A key such as "layer1.0.conv2.fc1.weight" -> our name, "stages.0.0.middle.attention.fc1.weight"."""
    ### BEGIN SOLUTION
    trunk = {
        "conv1.0": "stem.0.conv",
        "conv1.1": "stem.0.norm",
        "conv1.3": "stem.1.conv",
        "conv1.4": "stem.1.norm",
        "conv1.6": "stem.2.conv",
        "bn1": "stem.2.norm",
        "fc": "classifier",
    }
    block = {
        "conv1": "reduce.conv",
        "bn1": "reduce.norm",
        "conv2.conv": "middle.attention.conv",
        "conv2.bn0": "middle.attention.norm",
        "conv2.fc1": "middle.attention.fc1",
        "conv2.bn1": "middle.attention.fc_norm",
        "conv2.fc2": "middle.attention.fc2",
        "conv3": "expand.conv",
        "bn3": "expand.norm",
        "downsample.1": "shortcut.conv",  # 0 is the average pool, which has no numbers
        "downsample.2": "shortcut.norm",
    }
    return weights.rename_key(key, trunk, block)
    ### END SOLUTION


check("weights.resnest", resnest)

# %% [markdown]
# ### Exercise 4: timm's names of a HaloNet
#
# timm builds its HaloNets with a class called ByobNet, which keeps a convolution and its normalisation together, as our
# nets do. New are the names inside an attention: queries, keys and values, and two tables of positions. The tables are
# parameters, not modules, so name the whole key; `rename_key` looks for whole keys first.
#
# The stages already count from 0: `weights.rename_key(key, trunk, block, stage="stages.", first=0)`.
#
# *10 minutes · medium · two tables*

# %%
halonet_file = nw.golden_checkpoint("halonet26t", "byobnet")
print(*modules(halonet_file, ("stem", "stages.1.0", "head")), sep="\n", end="\n\n")
statistics = ("running_mean", "running_var", "num_batches_tracked")
print(*(key for key in halonet_file if key.startswith("stages.3.0") and not key.endswith(statistics)), sep="\n")


# %%
@exercise("weights.byobnet")
def byobnet(key):
    """A key such as "stages.3.0.self_attn.q.weight" -> our name, "stages.3.0.middle.attention.query.weight"."""
    ### BEGIN SOLUTION
    trunk = {"head.fc": "classifier"}
    for i in range(3):
        trunk |= {f"stem.conv{i + 1}.conv": f"stem.{i}.conv", f"stem.conv{i + 1}.bn": f"stem.{i}.norm"}
    block = {
        "conv1_1x1.conv": "reduce.conv",
        "conv1_1x1.bn": "reduce.norm",
        "conv2_kxk.conv": "middle.conv",
        "conv2_kxk.bn": "middle.norm",
        "self_attn.q": "middle.attention.query",
        "self_attn.kv": "middle.attention.key_value",
        "self_attn.pos_embed.height_rel": "middle.attention.height_table",
        "self_attn.pos_embed.width_rel": "middle.attention.width_table",
        "post_attn": "middle.norm",
        "conv3_1x1.conv": "expand.conv",
        "conv3_1x1.bn": "expand.norm",
        "shortcut.conv": "shortcut.conv",
        "shortcut.bn": "shortcut.norm",
    }
    return weights.rename_key(key, trunk, block, stage="stages.", first=0)
    ### END SOLUTION


check("weights.byobnet", byobnet)

# %% [markdown]
# The net with these names equals timm's, says the first line below. And a map is data, so it can be drawn: on the left
# the file in alphabetical order, on the right our net in the order in which it runs, every tensor as high as it has
# numbers; and one block from close by. Look where the numbers are: the early stages, which see the largest maps, hardly
# have any.

# %%
byobnet = theirs_or_ours("weights.byobnet", byobnet)
names = {key: byobnet(key) for key in halonet_file}
net = nw.create_model("halonet26t", weights={names[key]: tensor for key, tensor in halonet_file.items()}).eval()
print(nw.first_difference(net, state=None))
weights.draw_map(names, halonet_file, block="stages.3.0.")

# %% [markdown]
# ## The published file
#
# Names and architecture are proven now, on numbers of our own. What remains is to put the publisher's numbers through
# the same map. Without a network and without the file, this cell says so, and nothing after it needs them.

# %%
from matplotlib import cbook

from netwright.weights.fetch import WeightsUnavailable, fetch

published = nw.list_weights("halonet26t*")[0]
picture = nw.open_image(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
try:
    state = read_checkpoint(fetch(published))
    print(f"{published.name} is here and verified. Keys as in our golden file: {set(state) == set(halonet_file)}.")
    real = nw.create_model("halonet26t", weights={byobnet(key): tensor for key, tensor in state.items()}).eval()
    library = nw.create_model("halonet26t", pretrained=True).eval()
    x = nw.transform_for(library)(picture).unsqueeze(0)
    with torch.inference_mode():
        print(f"Largest difference to the library's own loading: {(real(x) - library(x)).abs().max():.1g}.")
    for name, probability in nw.classify(library, picture):
        print(f"{probability:6.1%}  {name}")
    net = real  # from here on
except WeightsUnavailable:
    file = published.files[0]
    print(f"Offline: {file.filename} ({file.size_text}) is not on this machine, so this part waits for a network.")

# %% [markdown]
# ## The pictures are part of the weights
#
# A net learns from pictures that were resized, cropped and normalised in one particular way, and its numbers are worth
# nothing without it. That way belongs to the *weights*, not to the architecture: here is one architecture that was
# published again and again.

# %%
weights.table(
    ("weights", "short side", "crop", "share", "interpolation", "whose pipeline"),
    (
        (w.tag, p.resize, p.input_size[0], f"{p.crop_pct:.1%}", p.interpolation, p.pipeline)
        for w in nw.list_weights("resnext50_32x4d*")
        for p in [w.preprocessing]
    ),
)

# %% [markdown]
# `nw.transform_for(net)` returns the way that the net's weights were evaluated in. Here is one photograph (of Grace
# Hopper, in the public domain, from matplotlib's samples) prepared for our HaloNet, and in two ways that many scripts
# use instead: with the colours in OpenCV's order, and without subtracting the mean and dividing by the deviation.

# %%
from PIL import Image

from netwright.transforms import Transform

transform = Transform(published.preprocessing)
print(transform)
right = transform(picture)
seen = {
    "as published": right,
    "blue, green, red": transform(Image.merge("RGB", picture.split()[::-1])),
    "not normalised": right * transform.std + transform.mean,
}
with torch.inference_mode():
    logits = dict(zip(seen, net(torch.stack(list(seen.values()))), strict=True))
weights.draw_preprocessing(transform, seen, logits)

# %% [markdown]
# No error, again: shapes and types are right, and the logits have moved (σ is the spread of the right ones). With the
# seeded weights the middle column has nearly the right numbers and the right winner, and *nobody* finds that fault by
# looking at predictions. How much a net minds depends on what it has learned, and these weights have learned nothing
# about colour: with the published file at hand, this cell shows its numbers instead.
#
# ## Five patients
#
# Now the faults of the prediction, for real. The library has five patients, A to E: each is a net with the golden
# weights and the `transform` that prepares its pictures, and in each *one* of the five is wrong. First their vital
# signs, as a hurried doctor takes them.

# %%
patients = weights.make_patients()


def vital_signs(patient):
    """What most scripts check after loading."""
    with torch.inference_mode():
        probabilities = patient.net(patient.transform(picture).unsqueeze(0)).softmax(1)
    right_count = nw.list_weights(f"{patient.architecture}.*")[0].parameters
    count = sum(parameter.numel() for parameter in patient.net.parameters())
    shape, total, best = tuple(probabilities.shape), probabilities.sum().item(), probabilities.max().item()
    return patient.letter, patient.architecture, count == right_count, shape, f"{total:.4f}", f"{best:.0%}"


weights.table(
    ("patient", "architecture", "parameters as published", "output", "sum of probabilities", "the likeliest class has"),
    map(vital_signs, patients.values()),
)

# %% [markdown]
# There is the answer to the prediction: **none** has raised an error, or you would have seen it here, and each is sure of
# itself. Strict loading, shapes, parameter counts, probabilities that sum to one: five faults, not one found.
#
# So examine them properly: `state=None` leaves the patient's own weights in place, and `input=` hands over its own way to
# prepare pictures. Four of them in words, and patient A in full.


# %%
def examine(patient):
    return nw.first_difference(patient.net, state=None, input=patient.transform)


found = {letter: examine(patient) for letter, patient in patients.items()}
for letter in "BCDE":
    print(f"{letter}: {found[letter]}\n")
found["A"]

# %% [markdown]
# ### Exercise 5: the diagnosis
#
# Which patient has which fault? Each has one, and no two the same. The five are called
#
# `"stride"` · `"swap"` · `"softmax"` · `"padding"` · `"preprocessing"`
#
# in the order of the prediction. For each, ask: *where* does it first depart, and is what it holds there its own? (A dark
# stripe behind the triangle is a shortcut: it runs beside the fault, from what was still right.)
#
# *10 minutes · medium*

# %%
diagnosis = dict.fromkeys("ABCDE", ...)
### BEGIN SOLUTION
diagnosis |= {"A": "softmax", "B": "swap", "C": "padding", "D": "preprocessing", "E": "stride"}
### END SOLUTION
result = check("weights.patients", diagnosis)
result

# %%
weights.draw_strips(found, diagnosis if result else None)

# %% [markdown]
# ## What would fool you
#
# - **"It loaded."** Strict loading sees names and shapes. A swap, a stride, a mask and a transpose have neither.
# - **"It says *military uniform*."** A net with a fault in it often still gets the easy pictures right. Compare numbers,
#   not classes.
# - **"The last layer agrees."** To how many digits, on how many inputs? And with statistics of 0 and 1 in its
#   normalisations, as in a fresh net, an exchange of two of them changes nothing. The golden weights are never 0 or 1.
# - **"My test passes."** The fault in the r-softmax shows only with several splits *and* several cardinal groups, and of
#   the published ResNeSts only `resnest50d_4s2x40d` has both. Choose the case in which the mistake can be seen.
# - **"It is the net."** One of the five was not. Look at the input first.
#
# ## Recap
#
# A file is names and numbers; its hash says that they are the publisher's. A map is one-to-one or it is nothing, and
# even then only numbers prove it. The proof is local: the first point that departs is next to the fault. You will use
# `nw.first_difference` on every net that you build from here on.
#
# **Next:** [03 · ResNeXt](03_resnext.ipynb), where the groups of the 3×3 come from, in three forms that agree to the last digit.
