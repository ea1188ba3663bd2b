# %% [markdown]
# # 00 · Bench
#
# Welcome. In this workbook you build four families of image nets, ResNet, ResNeXt, ResNeSt and HaloNet, from their
# papers; you load the weights that their authors published into what you built; you prove that it is right; and you look
# inside. This first notebook is the workbench. At its end you will
#
# - know what your machine can do here, and what it cannot do yet;
# - have seen the four nets as one skeleton with four different middles;
# - know the four answers that a check can give, and what each is worth;
# - have repaired a broken net with nothing but its diagnosis.
#
# *About 20 minutes. You need some Python; a net you need only have heard of.*

# %% [markdown]
# ## Why a workbook that proves itself
#
# Public lessons on these nets are often beautiful, and quietly wrong. Three that anyone can look up:
#
# - A well-known collection of annotated papers has a ResNet whose stride is the wrong way round, so that the maps shrink
#   once and then never again. Its comment says the opposite, and readers keep reporting it
#   ([labml, issues 83, 136 and 205](https://github.com/labmlai/annotated_deep_learning_paper_implementations/issues/205)).
# - A widely used textbook divides by the number of groups in its ResNeXt block, where the layer does so already. The
#   example in the book asks for many groups and gets a few, with several times the weights
#   ([d2l, pull request 2730](https://github.com/d2l-ai/d2l-en/pull/2730)).
# - A course's exercise on max pooling accepts average pooling, because only the size of the answer is looked at
#   (Kaggle, `learntools/computer_vision/ex3.py`).
#
# All three run without an error, and nothing that they print gives them away. So here the rule is: every block, weight,
# picture and number is compared with something independent of it, and you see the comparison.
#
# ### A question before you begin
#
# Someone hands you a residual net. Its output has the right shape. It has the right number of parameters, under the right
# names. A published weight file loads into it without a complaint. When you train it, the loss goes down.
#
# **How sure are you that it is right?** Write a number from 0 to 100 on a piece of paper. Below, you will meet such a net.

# %% [markdown]
# ## The machine
#
# Two imports are all the set-up there is, in every notebook. Then the doctor looks at the machine.

# %%
import torch

import netwright as nw
from netwright import doctor

doctor.report()

# %% [markdown]
# The last line names the **tier** this session runs in. Every notebook runs in each of the three, and says in which.
#
# | tier | what it needs | what you see |
# |---|---|---|
# | toy | nothing | structure and arithmetic on nets of every size, and what training does on four small trained nets |
# | published weights | a network, once | the same nets with the numbers their authors trained, on your own photographs |
# | GPU | CUDA or Apple's MPS | training and evaluation at full size |
#
# To be plain about the first: the full-size nets have **no trained numbers** without a network. Theirs come from a seed.
# That is enough to *prove* that a net computes what it should, since a wrong net goes wrong on any numbers. It shows
# *nothing* about what nets see. For that, four small nets ship with the workbook, one of each family, trained on pictures
# that a program paints. So of every picture it is known which pixels make it what it is: a texture, an outline, or how two
# parts stand to each other. Below is one picture of each class, its cause enclosed by a line, and what the small HaloNet
# says of it. Twenty pictures are no measurement; how one trains such a net, and how one measures what it is worth, is the
# subject of notebooks [10](10_finetune.ipynb) and [11](11_evaluate.ipynb).

# %%
from netwright.lessons import pictures

pictures.draw_answers(nw.create_model("toy_halonet", pretrained=True), nw.ToyWorld("test"))

# %% [markdown]
# ## One skeleton, four middles
#
# All four families are made of the same block, the *bottleneck*: narrow the map with a 1×1 convolution, do something in
# the middle that looks around, widen it again, add what came in. They differ in the middle. The figure is drawn from
# four nets while they run: each shape is what came out of a layer, channels × height × width, and a bar is as wide as
# its map has channels.

# %%
seen = pictures.watch_bottlenecks()
pictures.draw_skeletons(seen)

# %% [markdown]
# What does a middle look at? Change one number that goes in, and see which numbers that come out change: that is what a
# gradient measures. The upper row asks which *pixels* reach one output pixel, the one with the frame. The lower row asks
# which *channels* reach which.

# %%
pictures.draw_reaches(seen)

# %% [markdown]
# Where it is grey there is exactly nothing, whatever the weights: this is the structure of the nets.
#
# - **ResNet** sees the pixels next door, in all channels.
# - **ResNeXt** sees the same pixels, but each channel only those of its own group: the paper's *cardinality*, as a
#   staircase.
# - **ResNeSt** sees its neighbours strongly, and the whole picture faintly: the gates of its split attention are read off
#   the mean over all pixels. The two halves of its lower picture are its two splits.
# - **HaloNet** sees a window: the square block that the pixel lies in, and a halo around that block. So the pixel need not
#   be at the centre of what it sees, and all pixels of one block see the same.
#
# Each gets its own notebook. For now, keep the picture.

# %% [markdown]
# ## A photograph goes in
#
# This is Grace Hopper, who wrote one of the first compilers. The photograph, in the public domain, comes with matplotlib, so it
# is on your machine already. `transform_for` makes of it what a net expects: resized, cropped at the centre, and with
# its colours scaled, exactly as the net's weights were evaluated. Below it are four channels of each of the five
# resolutions through which the net passes it.

# %%
from matplotlib import cbook

photo = nw.open_image(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
torch.manual_seed(0)
net = nw.create_model("resnet50", features_only=True).eval()
transform = nw.transform_for(net)
x = transform(photo)  # (channels, height, width)

figure, axes = nw.subplots(1, 2, figsize=(7, 3.6))
axes[0].imshow(photo)
axes[0].set_title(f"{photo.width} × {photo.height} pixels")
axes[1].imshow(transform.inverse(x))
axes[1].set_title(f"tensor {tuple(x.shape)}\nfrom {x.min():.2f} to {x.max():.2f}")
for axis in axes:
    axis.axis("off")
nw.show(figure, "Grace Hopper in uniform: the photograph as it is, and the square at its centre that a net gets.")

# %%
with torch.inference_mode():
    maps = net(x.unsqueeze(0))
pictures.draw_maps(maps, [info["stride"] for info in net.feature_info])

# %% [markdown]
# You can make out a face in the first three, and it would be easy to write a caption about edges, textures and parts.
# Resist: **this net has never been trained**. Even random filters keep a picture recognisable, so a picture of maps alone
# is no evidence that a net has learnt anything. Neither is an answer:

# %%
torch.manual_seed(1)
untrained = nw.create_model("resnet50")
for label, probability in nw.classify(untrained, photo, k=3):
    print(f"{probability:8.2%}  {label}")

# %% [markdown]
# Names and probabilities, in order, that sum to one with those of the other classes. It looks like an answer and is a
# throw of dice.
#
# For a true answer you need numbers that somebody trained. The next cell asks for the smallest net in the catalogue whose
# licence permits any use. Its file is downloaded once, its hash is checked, and from then on it is on your machine. If it
# cannot be had, you are told, and everything goes on.

# %%
from netwright.weights.fetch import WeightsUnavailable

weights = min((w for w in nw.list_weights() if not w.noncommercial), key=lambda w: w.parameters)
try:
    trained = nw.create_model(weights.name, pretrained=True)
except WeightsUnavailable:
    size = f"{4 * weights.parameters / 1e6:.0f} MB"  # four bytes a parameter
    print(f"{weights.name} ({size}, {weights.licence}) is not on this machine and cannot be fetched now.")
    print("Nothing below needs it: run this cell again when there is a network.")
else:
    for label, probability in nw.classify(trained, photo):
        print(f"{probability:8.2%}  {label}")

# %% [markdown]
# ## How a check answers
#
# An exercise has a name, and you mark your answer with it. `check` then runs your code beside the library's own, on the
# same numbers in double precision, and compares every value. It can say four things, and the next four cells make it
# say each.
#
# 1. **not attempted**: there is still an open place.
# 2. **failed**: some value differs. A check also knows a list of plausible mistakes, runs those too, and if your code
#    computes the same as one of them, it tells you which.
# 3. **crashed**: your code raised an exception. You get the line that it came from, and the notebook goes on.
# 4. **passed**: with how much was compared, and how closely it agrees.

# %%
from netwright.lessons import check, exercise, hint, progress, solution, theirs_or_ours


@exercise("bench.relu")  # x where it is positive, else 0
def positive_part(x): ...  # your code here


check("bench.relu", positive_part)


# %%
@exercise("bench.relu")
def positive_part(x):
    return x.abs()


check("bench.relu", positive_part)


# %%
@exercise("bench.relu")
def positive_part(x):
    return torch.maximum(x, 0)


check("bench.relu", positive_part)


# %%
@exercise("bench.relu")
def positive_part(x):
    return torch.where(x > 0, x, 0)


check("bench.relu", positive_part)

# %% [markdown]
# ## A broken block
#
# Now the net from the question above. Here is its block, written out in full. It is the bottleneck of ResNet-50, with one
# mistake in it. Read it once; if you do not see the mistake, so much the better.

# %%
from netwright.nets.layers import ConvNormAct


class BrokenBlock(torch.nn.Module):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1):
        super().__init__()
        self.reduce = ConvNormAct(in_channels, mid_channels, 1, act="relu")
        self.middle = ConvNormAct(mid_channels, mid_channels, 3, stride=stride, act="relu")
        self.expand = ConvNormAct(mid_channels, out_channels, 1)
        self.shortcut = torch.nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = ConvNormAct(in_channels, out_channels, 1, stride=stride)

    def forward(self, x):
        y = self.reduce(x)
        y = self.middle(y)
        y = self.expand(y).relu()
        return y + self.shortcut(x)


# %% [markdown]
# `bench.net_of` puts a block of yours into all the places of a ResNet-50. `first_difference` gives the net seeded weights and a
# seeded picture, runs it, and compares what happens inside with a **golden trace**: what an independent net, that of the
# `timm` library, computed from the same numbers, recorded and shipped with the workbook. It reports where the two first
# part.

# %%
from netwright.lessons import bench

nw.first_difference(bench.net_of(BrokenBlock), "resnet50")

# %% [markdown]
# Read it from left to right, from the input to the answer. Dark is agreement to as many digits as the computer has. Then
# the strip turns bright and stays so, for what goes wrong early spoils all that follows; which is why the *first*
# departure is the one to look at. The table shows the places about it: in `stages.0.0`, the first block, `expand` and
# `shortcut` still agree, and the block as a whole does not. So the mistake is in what happens *after* these two, and the
# sentence above the strip says what the result lacks.
#
# ### Exercise: repair it
#
# *5 minutes · easy · three lines*
#
# Write `forward` anew. The parts that `__init__` made are all right; use them as they are. If you add
# what that sentence misses and the check still fails, read its answer closely: it knows that mistake as well.


# %%
@exercise("bench.block")
class RepairedBlock(BrokenBlock):
    def forward(self, x):
        ### BEGIN SOLUTION
        y = self.reduce(x)
        y = self.middle(y)
        y = self.expand(y)
        return (y + self.shortcut(x)).relu()
        ### END SOLUTION


check("bench.block", RepairedBlock)

# %%
from IPython.display import display

display(hint("bench.block"))  # folded, as is the solution below it
solution("bench.block")

# %% [markdown]
# A check on small blocks is one thing, the whole net another. If yours passed, what follows uses it; if not, the
# library's, so that you can read on either way.

# %%
Block = theirs_or_ours("bench.block", RepairedBlock)
whole = nw.first_difference(bench.net_of(Block), "resnet50")
print(whole)
whole.figure()

# %% [markdown]
# ## What would fool you
#
# Back to your number on the paper. Here is the broken net beside the right one, under the four usual tests.

# %%
right, broken = bench.net_of(Block).eval(), bench.net_of(BrokenBlock).eval()
names = [[(name, tuple(tensor.shape)) for name, tensor in net.state_dict().items()] for net in (right, broken)]
sizes = [sum(parameter.numel() for parameter in net.parameters()) for net in (right, broken)]
weights_file = nw.golden_checkpoint("resnet50", "netwright")
loaded = [str(net.load_state_dict(weights_file, strict=True)) for net in (right, broken)]
with torch.inference_mode():
    answers = [net(x.unsqueeze(0)) for net in (right, broken)]

print("names and shapes of the parameters equal:", names[0] == names[1])
print("number of parameters equal:              ", sizes[0] == sizes[1], f"({sizes[0]:,})")
print("the same weights load:                   ", loaded[0] == loaded[1], loaded[1])
print("shape of the answer equal:               ", answers[0].shape == answers[1].shape, tuple(answers[1].shape))
print("answer equal:                            ", torch.allclose(*answers))

# %% [markdown]
# Four tests passed, and the answer is another. But surely a broken net does not learn? Here is a small task: from a
# random piece of the photograph, say which quarter of the picture it was cut from. Two small nets, one of each block,
# start from the same numbers and see the same pieces.

# %%
curves = {name: bench.train_briefly(block, x) for name, block in (("right", Block), ("broken", BrokenBlock))}

figure, axis = nw.subplots()
for name, losses in curves.items():
    axis.plot(losses, label=name)
axis.set(xlabel="step", ylabel="loss", ylim=(0, None))
axis.legend()
ends = {name: f"from {losses[0]:.2f} to {sum(losses[-5:]) / 5:.2f}" for name, losses in curves.items()}
nw.show(figure, f"Two loss curves that fall alike: the right net's {ends['right']}, the broken one's {ends['broken']}.")

# %% [markdown]
# Both learn. A falling loss says that gradients flow, not that the net is the one in the paper.
#
# So compare values? Even that can fool you. A fresh net by common practice starts with the last normalisation of every
# branch at zero, so that each block begins as the identity
# ([Goyal et al. 2017](https://arxiv.org/abs/1706.02677), section 5.1). Two blocks like that, side by side, on a map
# that comes out of a ReLU:

# %%
fresh = [Block(64, 16, 64).eval(), BrokenBlock(64, 16, 64).eval()]
for block in fresh:
    torch.nn.init.zeros_(block.expand.norm.weight)
block_input = torch.randn(1, 64, 14, 14).relu()
print("largest difference:", (fresh[0](block_input) - fresh[1](block_input)).abs().max().item())

# %% [markdown]
# None at all, and the block is still broken: the branch in which the mistake sits was multiplied by zero. This is why the
# checks here fill *every* tensor with numbers of its own, the statistics of the normalisations included, before they
# compare anything.
#
# ## Recap
#
# - Shapes, parameter counts, a clean load and a falling loss are necessary, and prove nothing.
# - What proves a net is its values, at every block, on numbers chosen to tell mistakes apart, against something
#   independent.
# - The first departure is the place to look; all that comes after it is echo.
# - Without trained numbers, everything here about structure is proven, and nothing is known about what nets see.
#
# **Next:** [01 · ResNet-50](01_resnet.ipynb), in which you build that net from its parts, down to the normalisation, and
# prove it as you have seen it proven here.
#
# What was checked:

# %%
progress()
