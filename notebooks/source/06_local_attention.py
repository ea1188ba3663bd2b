# %% [markdown]
# # 06 · Local attention
#
# A 3×3 convolution gives every neighbour a fixed weight, learnt once and the same for all pictures. Attention lets each
# pixel *ask*: it compares itself with the others and decides, for this picture, whom to listen to. In this notebook you
# build the form of it that HaloNet uses ([Vaswani et al. 2021](https://arxiv.org/abs/2103.12731), section 2.2).
#
# Afterwards you can
#
# - cut a map into blocks with halos, and say what each step costs in memory;
# - write attention with relative positions, first in loops, then without, and know that they are equal;
# - say exactly what a pixel sees, and what happens when it crosses a block border;
# - put your layer into a published net, and into a small one that you train;
# - name three mistakes in such a layer that the usual tests do not see.
#
# *Notebook 07 assembles the whole net; you need not have read 03 to 05.*
#
# ### Before you begin: a prediction
#
# A small HaloNet has been trained to tell toy pictures apart. Then its layer is changed, and it is not trained again:
# (a) positions are scaled as the content is, (b) the zeros around the map are hidden from it, (c) heights and widths of
# the positions are exchanged. **How many points of accuracy does each cost?** Write three numbers down.
#
# ## Why local
#
# If every pixel asks every pixel, a map of 32×32 has a million pairs, for each head; twice the side, sixteen times the
# pairs. The paper's way out: cut the map into square **blocks** that do not overlap. All pixels of a block share one
# **window** of keys: the block and a **halo** of some pixels around it. Below, a map of 32×32 pixels is laid over a
# photograph of Grace Hopper (public domain, from matplotlib's samples). Yellow asks, blue is looked at.

# %%
import torch
from matplotlib import cbook

import netwright as nw
from netwright.lessons import check, exercise, hint, theirs_or_ours  # noqa: F401  hint is for you to call
from netwright.lessons import halo as lesson

photo = lesson.square(nw.open_image(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
lesson.draw_blocks(photo, block_size=8, halo=3)

# %% [markdown]
# A block in the corner has no neighbours on two sides. There the map is padded with **zeros**, and they are keys like any
# others. Remember them; they come back at the end.
#
# ### Exercise 1: blocks
#
# The pixels that ask. Write `cut` and its way back, `join`. Blocks are numbered row by row, and so are the pixels within
# a block. The channels belong to the heads one after the other: the first `dim` to head 0, the next to head 1.
#
# - `cut(x)`: (batch, heads × dim, height, width) → (batch, heads, blocks, block_size², dim)
# - `join(blocks, height, width)`: and back, for a map of that height and width
#
# Maps need not be square. If you are stuck, run `hint("halo.blocks")` in a cell of your own: it has three, folded into
# each other. So has every exercise.
#
# *8 minutes · medium · five lines each*


# %%
@exercise("halo.blocks")
class Blocks:
    """A map in blocks, and back."""

    def __init__(self, heads, block_size):
        self.heads, self.block_size = heads, block_size

    def cut(self, x):
        ### BEGIN SOLUTION
        batch, channels, height, width = x.shape
        b = self.block_size
        x = x.reshape(batch, self.heads, channels // self.heads, height // b, b, width // b, b)
        x = x.permute(0, 1, 3, 5, 4, 6, 2)  # (batch, heads, rows, columns, y, x, dim)
        return x.flatten(4, 5).flatten(2, 3)
        ### END SOLUTION

    def join(self, blocks, height, width):
        ### BEGIN SOLUTION
        b = self.block_size
        x = blocks.unflatten(3, (b, b)).unflatten(2, (height // b, width // b))
        x = x.permute(0, 1, 6, 2, 4, 3, 5)  # (batch, heads, dim, rows, y, columns, x)
        return x.reshape(len(blocks), -1, height, width)
        ### END SOLUTION


check("halo.blocks", Blocks)

# %% [markdown]
# ### Exercise 2: windows
#
# The pixels that are looked at. `windows(x, heads, block_size, halo)` returns every block with its halo, in the order of
# the blocks: (batch, heads × dim, height, width) → (batch, heads, blocks, window², dim), where the window is
# `block_size + 2 * halo` pixels wide. Outside the map there are zeros.
#
# Windows overlap, so a pixel near a border is in several of them. `x.unfold(axis, size, step)` makes overlapping pieces
# along one axis. A halo may be 0, and it may be wider than a block.
#
# *8 minutes · medium · five lines*


# %%
@exercise("halo.windows")
def windows(x, heads, block_size, halo):
    """(batch, heads * dim, height, width) -> (batch, heads, blocks, window², dim)"""
    ### BEGIN SOLUTION
    window = block_size + 2 * halo
    x = torch.nn.functional.pad(x, (halo, halo, halo, halo))
    x = x.unfold(2, window, block_size).unfold(3, window, block_size)  # (batch, channels, rows, columns, u, v)
    x = x.unflatten(1, (heads, -1)).permute(0, 1, 3, 4, 5, 6, 2)  # (batch, heads, rows, columns, u, v, dim)
    return x.flatten(4, 5).flatten(2, 3)
    ### END SOLUTION


check("halo.windows", windows)

# %% [markdown]
# ### Exercise 3: what it costs
#
# Two tensors grow: the windows, since overlapping pixels are written more than once, and the **logits**, one number for
# each query, each key of its window, and each head. `memory` returns the bytes of both, `(windows, logits)`, in float32,
# for `batch` maps of height × width. Each head has keys of `key_dim` and values of `value_dim` channels, and a window
# holds both.
#
# *4 minutes · easy · four lines*


# %%
@exercise("halo.memory")
def memory(batch, height, width, *, heads, block_size, halo, key_dim, value_dim):
    """-> (bytes of all windows, bytes of all logits)"""
    ### BEGIN SOLUTION
    blocks = (height // block_size) * (width // block_size)
    queries, keys = block_size**2, (block_size + 2 * halo) ** 2
    numbers = batch * heads * blocks * keys
    return 4 * numbers * (key_dim + value_dim), 4 * numbers * queries
    ### END SOLUTION


check("halo.memory", memory)

# %% [markdown]
# Lines are your estimate, crosses are measured: all bytes that are alive at once while the layer runs, counted tensor by
# tensor, so that every machine gets the same. The measured peak is several times the estimate: padded, permuted and
# scaled copies, and the logits before and after the softmax, live side by side for a moment. What the estimate gets right
# is the **slope**: with blocks, twice the side costs four times as much, not sixteen.
#
# Under it, one layer to play with. Find the setting at which blocks no longer save anything. What does a larger halo cost
# when the blocks are small, and why so much?

# %%
from IPython.display import display

from netwright.lessons.sliders import At, explore

memory = theirs_or_ours("halo.memory", memory)
display(lesson.draw_cost(memory))


def draw(block_size, halo, block):
    return lesson.draw_memory(photo, memory, block_size=block_size, halo=halo, block=block)


explore(draw, block_size=At((4, 8, 16, 32), 8), halo=At((0, 1, 2, 3, 4), 3), block=At((0, 1, 2, 3), 1))

# %% [markdown]
# ### Exercise 4: attend
#
# Now the question itself. Every query is compared with every key of its window by a dot product, which is larger the more
# alike the two are, and also the more channels they have: hence the division by √dim. A term for the **position** is
# added as it is, *not* divided. A softmax over the keys makes weights of that, and the answer is the mean of the values
# with these weights:
#
# $$\text{weights} = \text{softmax}\Big(\frac{q\,k^\top}{\sqrt{\text{dim}}} + \text{position}\Big),\qquad \text{out} = \text{weights}\; v$$
#
# `attend(q, k, v, position)` gets q (…, queries, dim), k (…, keys, dim), v (…, keys, value_dim) and position (…, queries,
# keys), with any axes in front, and returns `(out, weights)`.
#
# *5 minutes · easy · three lines*


# %%
@exercise("halo.attend")
def attend(q, k, v, position):
    """-> (out (…, queries, value_dim), weights (…, queries, keys))"""
    ### BEGIN SOLUTION
    content = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    weights = (content + position).softmax(dim=-1)
    return weights @ v, weights
    ### END SOLUTION


check("halo.attend", attend)

# %%
lesson.draw_index(block_size=4, halo=1)

# %% [markdown]
# ### Exercise 5: positions, in loops
#
# Content alone does not know where a key is. So the layer learns two tables of vectors, one for how far *down* a key is
# from the query and one for how far to the *right*, and the query is multiplied with the two that fit (section 2.1 of the
# paper; the idea is that of [Shaw et al. 2018](https://arxiv.org/abs/1803.02155)).
#
# Above is which row of a table that is. Query row y is counted from the corner of its block, key row u from the corner of
# the window, both from 0, and the row is **u − y + window − 1**. The white lines enclose the block itself. Look at where a
# query meets its own row: y = 0 at u = 1, in row 6. So "no distance" is not in the middle of the table but one halo
# further on. The tables are learnt, so it does not matter where they start; it does matter that you start where the
# published weights do.
#
# Write it for one block of one head, with a loop for every axis: q (side, side, dim), tables (2 × window − 1, dim) →
# logits (side, side, window, window), by query row, query column, key row, key column. Two products are added: q with the
# row of `height_table` for u − y, and with the row of `width_table` for v − x. The window follows from the length of a
# table.
#
# *8 minutes · medium · eight lines*


# %%
@exercise("halo.relative_loop")
def relative_loop(q, height_table, width_table):
    """q (side, side, dim) -> (side, side, window, window)"""
    ### BEGIN SOLUTION
    side, window = len(q), (len(height_table) + 1) // 2
    logits = q.new_zeros(side, side, window, window)
    for y in range(side):
        for x in range(side):
            for u in range(window):
                for v in range(window):
                    position = height_table[u - y + window - 1] + width_table[v - x + window - 1]
                    logits[y, x, u, v] = q[y, x] @ position
    return logits
    ### END SOLUTION


check("halo.relative_loop", relative_loop)

# %% [markdown]
# ### Exercise 6: positions, without loops
#
# The loop computes the same product again and again: what a query makes of "two rows down" is the same for every column.
# Compute each once, and put the two together by broadcasting. There are two common ways. One *gathers* the rows of the
# table with a matrix of indices, the one in the figure. The other multiplies q with the *whole* table and *shifts* every
# query's line by one place, with a pad and two reshapes; it is older, and easy to get wrong by one.
#
# Now for all blocks at once: q (batch, heads, blocks, side², dim) → (batch, heads, blocks, side², window²), pixels row by
# row as before. The check also counts operators: a loop over pixels is found out.
#
# *10 minutes · hard · six lines*


# %%
@exercise("halo.relative_shift")
def relative_shift(q, height_table, width_table):
    """q (batch, heads, blocks, side², dim) -> (batch, heads, blocks, side², window²)"""
    ### BEGIN SOLUTION
    side, window = int(q.shape[3] ** 0.5), (len(height_table) + 1) // 2
    row = torch.arange(window) - torch.arange(side)[:, None] + window - 1  # (y, u)
    q = q.unflatten(3, (side, side))
    by_height = torch.einsum("bncyxd,yud->bncyxu", q, height_table[row])
    by_width = torch.einsum("bncyxd,xvd->bncyxv", q, width_table[row])
    logits = by_height[..., :, None] + by_width[..., None, :]  # (batch, heads, blocks, y, x, u, v)
    return logits.flatten(5, 6).flatten(3, 4)
    ### END SOLUTION


check("halo.relative_shift", relative_shift)

# %% [markdown]
# ### Exercise 7: halo attention
#
# All parts are there. `query` is (batch, heads × key_dim, height, width). `key_value` is (batch, heads × (key_dim +
# value_dim), height, width), and in it **each head has its keys and then its values**, before the next head begins: what
# one 1×1 convolution of the published nets puts out. The answer is (batch, heads × value_dim, height, width).
#
# One more thing about the order. The convolution comes first, the padding after it. So outside the map key and value are
# exactly 0, whatever the layer has learnt.
#
# *8 minutes · medium · four lines*

# %%
Blocks = theirs_or_ours("halo.blocks", Blocks)
windows = theirs_or_ours("halo.windows", windows)
attend = theirs_or_ours("halo.attend", attend)
relative_shift = theirs_or_ours("halo.relative_shift", relative_shift)


@exercise("halo.attention")
def attention(query, key_value, height_table, width_table, *, heads, block_size, halo, key_dim, value_dim):
    """Halo attention of stride 1 -> (batch, heads * value_dim, height, width)"""
    ### BEGIN SOLUTION
    blocks = Blocks(heads, block_size)
    q = blocks.cut(query)
    k, v = windows(key_value, heads, block_size, halo).split((key_dim, value_dim), dim=-1)
    out, _ = attend(q, k, v, relative_shift(q, height_table, width_table))
    return blocks.join(out, *query.shape[2:])
    ### END SOLUTION


check("halo.attention", attention)

# %% [markdown]
# ### One at a time, in tensors, in pieces
#
# Three ways to the same numbers, on a map of 12×8 pixels. The first takes one head and one block at a time, looks up every
# key by itself, and gets its positions from your loop: slow, and nothing in it can hide. The second is yours. The third is
# what the library's nets run: it never writes the windows down, gives all padding of a row one stand-in key, and works in
# pieces that fit the processor's cache (`netwright/nets/halo_fast.py` says how). Rounding is all that differs.

# %%
from netwright.nets.halo_fast import fast_halo_attention

attention = theirs_or_ours("halo.attention", attention)
relative_loop = theirs_or_ours("halo.relative_loop", relative_loop)
small = {"heads": 2, "dim": 3, "dtype": torch.double}
(query, key_value, *tables), sizes = lesson.layer_arguments(12, 8, block_size=4, halo=2, **small)


def one_at_a_time(query, key_value, height_table, width_table, *, heads, block_size, halo, key_dim, value_dim):
    out = torch.zeros(1, heads * value_dim, *query.shape[2:]).double()
    for head in range(heads):
        q = query[0].unflatten(0, (heads, -1))[head]  # (key_dim, height, width)
        content = key_value[0].unflatten(0, (heads, -1))[head]  # (key_dim + value_dim, height, width)
        for top in range(0, query.shape[2], block_size):
            for left in range(0, query.shape[3], block_size):
                asked = q[:, top : top + block_size, left : left + block_size].permute(1, 2, 0)
                position = relative_loop(asked, height_table, width_table).flatten(2)  # (y, x, keys)
                seen = torch.zeros(key_dim + value_dim, *[block_size + 2 * halo] * 2).double()
                for u in range(block_size + 2 * halo):
                    for v in range(block_size + 2 * halo):
                        row, column = top - halo + u, left - halo + v
                        if 0 <= row < query.shape[2] and 0 <= column < query.shape[3]:
                            seen[:, u, v] = content[:, row, column]
                keys, values = seen.flatten(1).split((key_dim, value_dim))
                weights = (asked @ keys / key_dim**0.5 + position).softmax(-1)
                answer = (weights @ values.T).permute(2, 0, 1)
                mine = slice(head * value_dim, (head + 1) * value_dim)
                out[0, mine, top : top + block_size, left : left + block_size] = answer
    return out


forms = {"one at a time": one_at_a_time, "yours": attention, "in pieces": fast_halo_attention}
answers = {name: form(query, key_value, *tables, **sizes) for name, form in forms.items()}
for name, answer in answers.items():
    gap = (answer - answers["yours"]).abs().max().item()
    print(f"{name:>14}: largest difference to yours {gap:.1e}, within 1e-12: {gap < 1e-12}")

# %% [markdown]
# ### What a pixel sees
#
# A pixel need not be at the centre of what it sees. All pixels of a block share one window, so the one at its right edge
# sees only the halo to its right, and far to its left. Its right neighbour, across the border, sees the opposite. On the
# left is a convolution, for comparison; the orange line is the query itself. What your layer sees was found by gradients.
#
# The third panel asks what this does to shifts. A convolution does not care where in the map something is. This layer
# does: only a shift by whole blocks moves the answer along. On the random map used here, any other shift makes quite
# another answer. The paper calls it *relaxing translational equivariance*, and pays that price for speed and memory
# (section 2.2). A mask could give every pixel a centred window again; the paper reports that the form without one is even
# more accurate (section 4.3).

# %%
lesson.draw_reach(attention, block_size=8, halo=3)

# %% [markdown]
# ### Exercise 8: the limits
#
# A good test of a construction is where it becomes something simpler. Without a halo, each block is a picture of its own.
# And with one block as large as the map, there is nothing local left: every pixel asks every pixel, as in
# [BoTNet](https://arxiv.org/abs/2101.11605). Write that last case plainly, without blocks, windows or padding, and for
# any height and width: `global_attention` gets query and key_value as before, a `height_table` of 2 × height − 1 rows and
# a `width_table` of 2 × width − 1. The row for a key in row u and a query in row y is u − y + height − 1; for the columns
# alike, with the width.
#
# *8 minutes · medium · ten lines*


# %%
@exercise("halo.limits")
def global_attention(query, key_value, height_table, width_table, *, heads, key_dim, value_dim):
    """Every pixel asks every pixel -> (batch, heads * value_dim, height, width)"""
    ### BEGIN SOLUTION
    height, width = query.shape[2:]
    q = query.unflatten(1, (heads, -1))  # (batch, heads, key_dim, y, x)
    k, v = key_value.unflatten(1, (heads, -1)).split((key_dim, value_dim), dim=2)
    down = torch.arange(height) - torch.arange(height)[:, None] + height - 1  # (y, u)
    right = torch.arange(width) - torch.arange(width)[:, None] + width - 1  # (x, v)
    logits = torch.einsum("bndyx,bnduv->bnyxuv", q, k) / key_dim**0.5
    logits = logits + torch.einsum("bndyx,yud->bnyxu", q, height_table[down])[..., :, None]
    logits = logits + torch.einsum("bndyx,xvd->bnyxv", q, width_table[right])[..., None, :]
    weights = logits.flatten(4).softmax(-1)  # (batch, heads, y, x, height * width)
    return torch.einsum("bnyxk,bndk->bndyx", weights, v.flatten(3)).flatten(1, 2)
    ### END SOLUTION


check("halo.limits", global_attention)

# %%
global_attention = theirs_or_ours("halo.limits", global_attention)
dims = {"heads": 2, "key_dim": 3, "value_dim": 3}
(query, key_value, *tables), sizes = lesson.layer_arguments(8, 8, block_size=8, halo=0, **small)
whole_map = attention(query, key_value, *tables, **sizes) - global_attention(query, key_value, *tables, **dims)
print(f"one block as large as the map: largest difference {whole_map.abs().max():.0e}")

(query, key_value, *tables), sizes = lesson.layer_arguments(8, 12, block_size=4, halo=0, **small)
no_halo = attention(query, key_value, *tables, **sizes)
for top, left in ((0, 0), (4, 4), (0, 8)):
    part = (..., slice(top, top + 4), slice(left, left + 4))
    alone = global_attention(query[part], key_value[part], *tables, **dims)
    print(f"no halo, the block at {top}, {left} alone: largest difference {(no_halo[part] - alone).abs().max():.0e}")

# %% [markdown]
# ### Exercise 9: stride 2
#
# A net has to make its maps smaller somewhere. The paper's way is to ask less: queries from every second pixel, while
# keys and values stay as they are (its figure 3). A block of 8×8 pixels then holds 4×4 queries, and still has one window.
#
# Here the paper leaves details open, and the published nets decide. First, the offsets count *queries*: the second query
# row has y = 1, though it is the third row of pixels. Second, a block of odd size cannot be halved. There all pixels ask,
# and a 2×2 mean follows.
#
# `strided` gets what `attention` gets, with the query map of *all* pixels, and returns a map of half the height and width.
#
# *7 minutes · medium · eight lines*


# %%
@exercise("halo.strided")
def strided(query, key_value, height_table, width_table, *, heads, block_size, halo, key_dim, value_dim):
    """Halo attention of stride 2 -> (batch, heads * value_dim, height / 2, width / 2)"""
    ### BEGIN SOLUTION
    tables = height_table, width_table
    if block_size % 2:
        sizes = {"heads": heads, "block_size": block_size, "halo": halo, "key_dim": key_dim, "value_dim": value_dim}
        return torch.nn.functional.avg_pool2d(attention(query, key_value, *tables, **sizes), 2)
    asking = query[:, :, ::2, ::2]
    blocks = Blocks(heads, block_size // 2)
    q = blocks.cut(asking)
    k, v = windows(key_value, heads, block_size, halo).split((key_dim, value_dim), dim=-1)
    out, _ = attend(q, k, v, relative_shift(q, *tables))
    return blocks.join(out, *asking.shape[2:])
    ### END SOLUTION


check("halo.strided", strided)

# %% [markdown]
# ### Exercise 10: the layer
#
# Two projections and two tables are all that a halo attention learns. `Layer(channels, config, stride=1)` maps (batch,
# channels, height, width) to the same number of channels, at half the side if the stride is 2. `config` has `heads`,
# `block_size`, `halo` and `key_dim`; where `key_dim` is None, keys are as wide as values, and those are channels / heads.
#
# The names that are compared: `query` and `key_value` are 1×1 convolutions without bias; `height_table` and
# `width_table` are parameters of (2 × window − 1, key_dim), shared by all heads. A map that blocks do not tile is
# *refused*, with an error of any kind, not cropped or padded. Only numbers that the check fills in are compared, so
# initialise the tables as you like.
#
# Below the check it goes into a published architecture. HaloNet-26t has three halo attentions: one of stride 1 in its
# third stage, and in its fourth one of stride 2 and one of stride 1. `lesson.with_layer` puts yours in their places, with
# their names and numbers, and `first_difference` compares the whole net with the **golden trace**: what timm's HaloNet
# computed from the same seeded weights, recorded and shipped. Then one of your layers
# in numbers. `torchinfo` counts modules; the attention lies between them, and its arithmetic is not in the sum.
#
# *10 minutes · medium · a dozen lines*

# %%
strided = theirs_or_ours("halo.strided", strided)


@exercise("halo.layer")
class Layer(torch.nn.Module):
    """Halo attention with its projections and position tables."""

    def __init__(self, channels, config, stride=1):
        super().__init__()
        ### BEGIN SOLUTION
        self.stride = stride
        value_dim = channels // config.heads
        key_dim = config.key_dim or value_dim
        self.sizes = {"heads": config.heads, "block_size": config.block_size, "halo": config.halo}
        self.sizes |= {"key_dim": key_dim, "value_dim": value_dim}
        self.query = torch.nn.Conv2d(channels, config.heads * key_dim, 1, bias=False)
        self.key_value = torch.nn.Conv2d(channels, config.heads * (key_dim + value_dim), 1, bias=False)
        rows = 2 * (config.block_size + 2 * config.halo) - 1
        self.height_table = torch.nn.Parameter(torch.randn(rows, key_dim) * key_dim**-0.5)
        self.width_table = torch.nn.Parameter(torch.randn(rows, key_dim) * key_dim**-0.5)
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        if any(size % self.sizes["block_size"] for size in x.shape[2:]):
            raise ValueError(f"A map of {tuple(x.shape[2:])} cannot be cut into blocks of {self.sizes['block_size']}.")
        form = strided if self.stride == 2 else attention
        return form(self.query(x), self.key_value(x), self.height_table, self.width_table, **self.sizes)
        ### END SOLUTION


check("halo.layer", Layer)

# %%
import torchinfo

Layer = theirs_or_ours("halo.layer", Layer)
net = lesson.with_layer(nw.create_model("halonet26t"), Layer)
whole = nw.first_difference(net, "halonet26t")
print(whole)
display(whole.figure())

one = net.stages[2][1].middle
columns = ("output_size", "num_params", "mult_adds")
print(torchinfo.summary(one, (1, 256, 16, 16), col_names=columns, col_width=18, device="cpu", verbose=0))

# %% [markdown]
# ### Exercise 11: how much goes to nobody
#
# The zeros outside the map are not masked. A softmax over zeros is not nothing: a key of 0 has content 0, which is more
# than many a real key has, and it has a position. So it gets weight, and gives back 0. In the last stage of HaloNet-50
# one block of 8×8 has a window of 14×14, and two thirds of its keys are padding.
#
# How much of its attention does a query spend there? `padding_mass(weights, rows, columns, halo)` gets the weights
# (batch, heads, blocks, queries, keys) of a map of rows × columns blocks, and returns the share that falls outside the
# map, for each query of each head: (batch, heads, blocks, queries). A function you have written already knows where the
# padding is.
#
# Below the exercise, the same measured in the trained toy HaloNet, over 40 test pictures, each pixel a query. The first
# picture of a row is what the share would be if a query looked at all its keys alike: learning is what lies between.
#
# *6 minutes · medium · four lines*


# %%
@exercise("halo.padding_mass")
def padding_mass(weights, rows, columns, halo):
    """(batch, heads, blocks, queries, keys) -> (batch, heads, blocks, queries)"""
    ### BEGIN SOLUTION
    block_size = int(weights.shape[-1] ** 0.5) - 2 * halo
    ones = torch.ones(1, 1, rows * block_size, columns * block_size, dtype=weights.dtype)
    outside = 1 - windows(ones, 1, block_size, halo)  # (1, 1, blocks, keys, 1)
    return (weights @ outside).squeeze(-1)
    ### END SOLUTION


check("halo.padding_mass", padding_mass)

# %%
padding_mass = theirs_or_ours("halo.padding_mass", padding_mass)
trained = nw.create_model("toy_halonet", pretrained=True).eval()
toys = nw.ToyWorld("test").batch(range(40))["image"]
transform = nw.transform_for(trained)
watched = lesson.watch_attention(trained, torch.stack([transform(toy) for toy in toys]), padding_mass)
lesson.draw_padding(watched)

# %% [markdown]
# Most heads stay near what equal weights would give, and a few have learnt to look inside. For a head that finds nothing
# of interest, padding may even be of use: a place to look at that adds nothing. Whoever masks it takes that place away.
#
# ## It learns
#
# A small net for pictures of 64×64, with the skeleton of the library's toy nets and one attention: yours, with four heads,
# blocks of 4, a halo of 2 and stride 2. For a quarter of a minute or so it learns to tell textures apart. This is a look,
# not a measurement; notebook 10 is about training.

# %%
from netwright.lessons.toy_training import draw_learning, learn_toys
from netwright.toys import groups

toy_net = lesson.small_net(Layer, classes=len(groups()["texture"]))
learning = learn_toys(toy_net, group="texture")
draw_learning({"with your attention": learning})

# %% [markdown]
# ## What would fool you
#
# Here are four layers: the published one, and the three of the prediction. First, four tests that one might write. The
# number is the largest difference to the right answer, relative to its largest value.
#
# Then the trained toy net, with each of them put in for the layer it was trained with, on test pictures; and last a layer
# that answers nothing but zeros, to see whether the net needs its attention at all. Compare with your three numbers.

# %%
found = lesson.deceptions()
rows = ((test, *(f"{gap:.1g}" for gap in gaps.values())) for test, gaps in found.items())
display(lesson.table(("test", *lesson.WRONG), rows))

accuracy = {name: lesson.accuracy_with(trained, version) for name, version in lesson.WRONG.items()}
accuracy["zeros for an answer"] = lesson.accuracy_with(trained, lesson.silent)
rows = ((name, f"{share:.1%}") for name, share in accuracy.items())
lesson.table(("the trained toy net with", "right, of 200 test pictures"), rows)

# %% [markdown]
# Each of the first three tests is blind for a mistake or two: it sees 0, or nothing but rounding.
#
# - **Tables of zeros** hide how positions are scaled, and which table is which. A fresh net may well start so.
# - **A block in the middle** has no padding, so a mask changes nothing there.
# - **A symmetric picture**, and a mean over the map at the end, cannot tell height from width.
#
# And accuracy hardly moves. Not because attention did nothing here: without its answer the net gets many more pictures
# wrong. It needs the layer, and does not notice that the layer is another one. "It still predicts the right class" is no
# proof. Numbers, at every layer, on inputs that are neither zero nor symmetric: that is one.
#
# ## Paper versus published code
#
# The weights that exist are timm's, trained with timm's layer, whose file says: "there is no official ref impl and some
# details in paper weren't clear to me" (`timm/layers/halo_attn.py`). We follow it, because the weights want it so.
#
# | | the paper | published code and weights |
# |---|---|---|
# | scale | not in the formula of section 2.1 | content is divided by √dim, position is not |
# | padding | does not say what the zeros do in the softmax | keys like any other, no mask; another port masks, and [for years masked the wrong ones](https://github.com/lucidrains/halonet-pytorch/pull/6) |
# | stride 2 | queries are subsampled (figure 3) | the same, and offsets count queries; odd blocks: a 2×2 mean |
# | tables | relative positions | two tables of 2 × window − 1 rows, shared by all heads; the first rows are never used |
#
# ## Recap
#
# Blocks ask, windows answer, and both are reshapes. Content is scaled, position is not. The cost grows with the number of
# pixels, not its square, and the price is that a border between blocks is a border for what a pixel sees.
#
# **Next:** 07 · HaloNet, in which this layer takes the 3×3's place in a whole net. What you have done here, and the time
# that was estimated for it:

# %%
from netwright.lessons import progress

minutes = [each.minutes for each in lesson.CHECKS]
print(f"{len(minutes)} exercises, about {sum(minutes)} minutes (estimated) without the reading.")
progress()
