"""A museum of real bugs: published mistakes as variants of our own layers, each with the thread that found it.

Every exhibit has the shapes, the parameters and the weights of the right thing, and answers with finite numbers.
Imports nets, models, toys, of this room guards and, of other rooms, splat and outcome.
"""

import copy
import html
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netwright.lessons import outcome
from netwright.lessons.attention import guards
from netwright.lessons.splat.attending import SplitAttention, layer_with
from netwright.lessons.splat.experiments import net_of
from netwright.lessons.splat.gating import rsoftmax, untransposed
from netwright.models import create_model
from netwright.nets.config import Block, NetConfig, Split, Stage, Stem
from netwright.nets.halonet import HaloAttention, halo_attention
from netwright.toys import CLASSES

# Halo attention ------------------------------------------------------------------------------------------------


def attention_with(
    *, scaled: bool = True, origin: int = 0, masked: str = "nothing", content: bool = True, position: bool = True,
    rings: int | None = None,
) -> Callable[..., Tensor]:  # fmt: skip
    """`halo_attention` of nets/halonet.py with something changed; nothing is, as long as no argument is given.

    scaled: whether content is divided by √key_dim. origin: rows of the tables by which positions are off, in halos.
    masked: which keys get no weight, "nothing", "padding" or "valid". content, position: whether the logit has them.
    rings: of the halo that are seen; None is all.
    """

    def attend(query, key_value, height_table, width_table, *, heads, block_size, halo, key_dim, value_dim):
        batch, _, height, width = key_value.shape
        rows, columns = height // block_size, width // block_size
        side, window = query.shape[2] // rows, block_size + 2 * halo
        q = query.reshape(batch, heads, key_dim, rows, side, columns, side).permute(0, 1, 3, 5, 4, 6, 2)
        k, v = windows_of(key_value, heads, block_size, halo).split((key_dim, value_dim), -1)

        logits = q.new_zeros(*q.shape[:-1], window, window)  # (batch, heads, rows, columns, y, x, u, v)
        if content:
            logits = logits + torch.einsum("bnrcyxd,bnrcuvd->bnrcyxuv", q, k) * (key_dim**-0.5 if scaled else 1)
        if position:
            offset = torch.arange(window) - torch.arange(side)[:, None] + window - 1  # (y, u), a row of the tables
            offset = (offset - origin * halo).clamp(min=0)
            by_row = torch.einsum("bnrcyxd,yud->bnrcyxu", q, height_table[offset])
            by_column = torch.einsum("bnrcyxd,xvd->bnrcyxv", q, width_table[offset])
            logits = logits + by_row[..., :, None] + by_column[..., None, :]

        valid = windows_of(torch.ones_like(key_value[:1, :1]), 1, block_size, halo)[0, 0, :, :, None, None, ..., 0] > 0
        if masked != "nothing":
            hidden = valid if masked == "valid" else ~valid
            logits = logits.masked_fill(hidden, -torch.finfo(logits.dtype).max)  # finite, as the port has it
        if rings is not None:
            near = torch.arange(window)
            near = (near >= halo - rings) & (near < halo + block_size + rings)
            logits = logits.masked_fill(~(near[:, None] & near), -torch.finfo(logits.dtype).max)
        weights = logits.flatten(-2).softmax(-1).view_as(logits)
        out = torch.einsum("bnrcyxuv,bnrcuvd->bndrycx", weights, v)
        return out.reshape(batch, heads * value_dim, rows * side, columns * side)

    return attend


def windows_of(maps: Tensor, heads: int, block_size: int, halo: int) -> Tensor:
    """(batch, heads * dim, height, width) to (batch, heads, rows, columns, window, window, dim), zeros around the map."""
    window = block_size + 2 * halo
    cut = F.pad(maps, (halo,) * 4).unfold(2, window, block_size).unfold(3, window, block_size)
    return cut.unflatten(1, (heads, -1)).permute(0, 1, 3, 4, 5, 6, 2)


BUGS: Mapping[str, Callable[..., Tensor]] = {
    "inverted mask": attention_with(masked="valid"),
    "wrong origin": attention_with(origin=1),
    "unscaled softmax": attention_with(scaled=False),
}
SOUND = "as published"
# Which stands under which letter. No reader needs to look here: the notebook finds it out.
HALLS = {"A": "unscaled softmax", "B": SOUND, "C": "inverted mask", "D": "wrong origin"}
WINGS = {"E": "untransposed", "F": SOUND}


def halo_nets() -> dict[str, nn.Module]:
    """Four toy HaloNets, "A" to "D", with the same trained weights; in three of them the layer has a bug."""
    trained = create_model("toy_halonet", pretrained=True).eval()
    found = {}
    for letter, bug in HALLS.items():
        found[letter] = copy.deepcopy(trained)
        for layer in halo_layers(found[letter]).values():
            layer.attend = BUGS.get(bug, attention_with())
    return found


def halo_layers(net: nn.Module) -> dict[str, HaloAttention]:
    """The halo attentions of a net by name."""
    return {name: module for name, module in net.named_modules() if isinstance(module, HaloAttention)}


@torch.no_grad()
def keyhole(layer: HaloAttention, given: Tensor) -> Tensor:
    """Where a layer looks, whatever is inside: (heads, y, x, height, width), the weight of every pixel of its map.

    given: (1, channels, height, width), what goes into it. A layer's answer is a mean of values, so a layer whose values
    are 1 at one pixel and 0 elsewhere answers with that pixel's weight. What is missing from a sum of 1 is padding.
    """
    query, key_value = layer.query(given), layer.key_value(given)
    height, width = key_value.shape[2:]
    keys = key_value.unflatten(1, (layer.heads, -1))[:, :, : layer.key_dim]
    tries = -(-height * width // layer.value_dim)  # pixels are tried as many at once as there are channels of values
    values = F.pad(torch.eye(height * width), (0, 0, 0, tries * layer.value_dim - height * width))
    values = values.view(tries, 1, layer.value_dim, height, width).expand(-1, layer.heads, -1, -1, -1)
    tried = torch.cat((keys.expand(tries, -1, -1, -1, -1), values), 2).flatten(1, 2)
    sizes = {name: getattr(layer, name) for name in ("heads", "block_size", "halo", "key_dim", "value_dim")}
    out = layer.attend(query.expand(tries, -1, -1, -1), tried, layer.height_table, layer.width_table, **sizes)
    out = out.unflatten(1, (layer.heads, -1)).permute(1, 3, 4, 0, 2).flatten(3)[..., : height * width]
    return out.unflatten(3, (height, width))


# Split attention -----------------------------------------------------------------------------------------------


def split_nets() -> dict[str, nn.Module]:
    """Two small ResNeSts with two cardinal groups, "E" and "F": the same random weights, and in one of them the bug."""
    block = Block(cardinality=2, channel_attention=Split(radix=2))
    stages = tuple(Stage((block,), width, 2 * width, stride) for width, stride in ((16, 1), (32, 2), (64, 2)))
    config = NetConfig(Stem((8, 8, 16), kernel_size=3), stages, shortcut="pool", input_size=64)
    found = {}
    for letter, bug in WINGS.items():
        layer = layer_with(untransposed) if bug == "untransposed" else SplitAttention
        net = net_of(layer, config, num_classes=len(CLASSES))
        with torch.no_grad():
            for module in net.modules():
                if isinstance(module, SplitAttention):
                    module.fc2.weight.mul_(6)  # random gates are all but one half otherwise
        for number in range(len(stages)):
            nn.init.ones_(net.stages[number][0].expand.norm.weight)  # or every block is still the identity
        found[letter] = net.eval()
    return found


# Pictures of maps ----------------------------------------------------------------------------------------------


def on_one_scale(maps: np.ndarray) -> np.ndarray:
    """Signed maps (…, height, width) as colours, from 0 to 1 with 0 at one half: one scale for all of them."""
    return 0.5 + 0.5 * maps / max(np.abs(maps).max(), 1e-12)


def stretched(maps: np.ndarray) -> np.ndarray:
    """Maps as colours, each stretched from its own lowest to its own highest value (as is usual: see the plaque)."""
    low, high = maps.min((-2, -1), keepdims=True), maps.max((-2, -1), keepdims=True)
    return (maps - low) / np.maximum(high - low, 1e-12)


# Plaques -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plaque:
    """What stands beside an exhibit, once it has been found: which mistake it is, who found it, and what would have.

    guard: an assertion that `right` passes and `wrong` does not. Shows itself, with the guard's source.
    """

    name: str
    what: str
    thread: str
    url: str
    guard: Callable[[Any], None]
    right: Any
    wrong: Any

    @property
    def caught(self) -> str:
        """What the guard says of the exhibit. Raises AssertionError if it also objects to the right thing."""
        self.guard(self.right)
        try:
            self.guard(self.wrong)
        except AssertionError as error:
            return str(error)
        return "Nothing: it let the exhibit pass."

    def __str__(self) -> str:
        return (
            f"{self.name}. {self.what} {self.thread} ({self.url}). What catches it: {self.guard.__name__}, which says: "
            f"{self.caught}"
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        source = html.escape(textwrap.dedent(inspect.getsource(self.guard)))
        said = html.escape(self.caught)
        page = (
            f"<b>{html.escape(self.name)}</b><br>{html.escape(self.what)}<br>"
            f'Found in public: <a href="{self.url}">{html.escape(self.thread)}</a><br>'
            f"<details><summary>What catches it: <code>{self.guard.__name__}</code>, which says “{said}”</summary>"
            f"<pre>{source}</pre></details>"
        )
        return {"text/html": outcome.card(page, "#0072b2"), "text/plain": str(self)}


PLAQUES = {
    "inverted mask": Plaque(
        "The inverted mask",
        "The mask that was to hide the padding hides every key that is not padding.",
        "halonet-pytorch #6, “fix: invert attention padding mask”. It had been there since March 2021, and was merged in "
        "September 2026.",
        "https://github.com/lucidrains/halonet-pytorch/pull/6",
        guards.padding_follows_geometry,
        halo_attention,
        BUGS["inverted mask"],
    ),
    "wrong origin": Plaque(
        "The wrong origin",
        "Positions are counted from another place than the table's, so “no distance” is looked up in a wrong row.",
        "global-self-attention-network #2, “Two possible errors in the current implementation”: offsets were counted from 0, "
        "where they go from −(L − 1) to L − 1.",
        "https://github.com/lucidrains/global-self-attention-network/issues/2",
        guards.a_query_finds_itself,
        halo_attention,
        BUGS["wrong origin"],
    ),
    "unscaled softmax": Plaque(
        "The unscaled softmax",
        "Content is not divided by the root of its dimension, so the softmax is sharper than it was trained to be.",
        "mlc-llm #3426, “fix missing 1/sqrt(d) scaling in attention fallback path”.",
        "https://github.com/mlc-ai/mlc-llm/pull/3426",
        guards.content_is_divided_by_the_root,
        halo_attention,
        BUGS["unscaled softmax"],
    ),
    "untransposed": Plaque(
        "The missing transpose",
        "Gates are made group by group and used split by split, and nothing turns the one order into the other. With one "
        "cardinal group both are the same.",
        "ResNeSt #41, “Why permuting the dimension in rSoftMax?”, where leaving it out is proposed, and the authors answer.",
        "https://github.com/zhanghang1989/ResNeSt/issues/41",
        guards.gates_of_the_splits_sum_to_one,
        rsoftmax,
        untransposed,
    ),
    "rescaled maps": Plaque(
        "The map that is always full of colour",
        "Every map is stretched from its own lowest to its own highest value, so that noise looks like evidence.",
        "captum #1103, “Allow for unnormalized attribution heatmap”, open since January 2023.",
        "https://github.com/meta-pytorch/captum/issues/1103",
        guards.equal_numbers_look_equal,
        on_one_scale,
        stretched,
    ),
}
