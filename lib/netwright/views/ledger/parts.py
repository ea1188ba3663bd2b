"""What the middle of each family is a sum of: cardinal groups, splits and their gates, heads and their halos.

Imports terms, nets, probing and view.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netwright.nets.resnest import radix_softmax
from netwright.probing.capture import Probe
from netwright.views.ledger.terms import Branch, Way, affine, secant
from netwright.views.view import NotInThisNet

CHUNKS = 8  # equal parts of a middle that has none of its own
GATES = 16  # of a middle with sigmoid gates, the strongest of which have a term each


def branch_of(probe: Probe, block: str) -> Branch:
    """Take `block` apart at the picture of `probe`. Raises NotInThisNet where it is not made as such a block."""
    module = probe.net.get_submodule(block)
    parts = dict(module.named_children())
    last = next((name for name in ("expand", "conv2") if name in parts), None)
    layers = dict(parts[last].named_children()) if last else {}
    conv = next((name for name, it in layers.items() if isinstance(it, nn.Conv2d)), None)
    before = next((name for name in ("gate", "middle", "conv1") if name in parts), None)
    if conv is None or before is None:
        raise NotInThisNet(
            f"{block} is a {type(module).__name__} without a middle and an `expand` that begins with a convolution: "
            "a ledger needs a bottleneck of reduce, middle, expand and shortcut, as in every net of nw.list_models()."
        )
    norm = next((it for it in layers.values() if isinstance(it, nn.BatchNorm2d | nn.GroupNorm)), None)
    last_conv, place = layers[conv], f"{block}.{before}"
    seen = probe.look([place, f"{block}.{last}", block, f"{block}.{last}.{conv}"])

    scale, shift = affine(norm, lambda: seen[f"{block}.{last}.{conv}"])
    if last_conv.bias is not None:
        shift = shift + scale * last_conv.bias.detach().float()
    added = seen[f"{block}.{last}"][0].float()
    shortcut = probe[f"{block}.shortcut"][0].float() if parts.get("shortcut") is not None else torch.zeros_like(added)
    kind, place, sources, ways, slope, middle_shift = _middle(probe, block, parts, place)
    ways = tuple(replace(way, takes=way.takes.to(added)) for way in ways)
    return Branch(
        block, place, f"{block}.{last}", kind, sources, ways, slope, middle_shift, last_conv, scale, shift,
        shortcut, added + shortcut, parts.get("act"),
    )  # fmt: skip


def _middle(probe: Probe, block: str, parts: dict[str, nn.Module], place: str):
    """Kind, place, sources, ways, slope and shift of what stands before the last convolution."""
    middle = parts.get("middle")
    attention = getattr(middle, "attention", None)
    ungated = isinstance(parts.get("gate", nn.Identity()), nn.Identity)
    if _has(attention, "radix", "cardinality", "norm", "act", "fc2") and ungated:
        return _splits(probe, f"{block}.middle", middle, place)
    looks = ("heads", "block_size", "halo", "query", "key_value", "height_table", "width_table", "key_dim", "value_dim")
    if _has(attention, *looks) and _has(middle, "norm", "act") and ungated:
        return _heads_and_halo(probe, f"{block}.middle", middle)

    h = probe[place].float()  # (1, channels, height, width): one source
    channels = h.shape[1]
    if _has(attention, "heads"):
        way = chunks(channels, attention.heads, "head", "heads", "Each head's channels, behind norm and activation.")
        return "heads", place, h, (way,), None, None
    groups = next((it.groups for it in _convs(middle) if it.kernel_size != (1, 1)), 1)
    if groups > 1 and channels % groups == 0:
        gated = "" if ungated else " The block's channel gate is held as it is."
        note = f"Each of the {groups} groups of the 3x3 convolution, through its columns of the last 1x1.{gated}"
        return "cardinal groups", place, h, (chunks(channels, groups, "group", "cardinal groups", note),), None, None
    count = next(n for n in range(min(CHUNKS, channels), 0, -1) if channels % n == 0)
    note = f"This middle has no parts of its own: its {channels} channels are cut into {count} equal runs, arbitrarily."
    return "channels", place, h, (chunks(channels, count, "channels", "arbitrary chunks", note),), None, None


def chunks(channels: int, count: int, word: str, name: str, note: str, sources: int = 1) -> Way:
    """`channels` in `count` runs of equal length, whatever the source."""
    size = channels // count
    takes = torch.eye(count).repeat_interleave(size, dim=1)[:, None].expand(-1, sources, -1)
    labels = tuple(f"{word} {i}" for i in range(count))
    if word == "channels":
        labels = tuple(f"{word} {i * size}\u2013{(i + 1) * size - 1}" for i in range(count))
    return Way(name, note, labels, takes)


def gates_and_groups(takes: Tensor, labels: tuple[str, ...], contributions: Tensor) -> Way:
    """The channels with the largest contributions (channels,), one gate and one term each; the rest by group."""
    first = contributions.abs().topk(min(GATES, contributions.numel())).indices.sort().values
    alone = F.one_hot(first, contributions.numel()).to(takes)[:, None]  # (gates, 1, channels)
    rest = takes * (1 - alone.sum(0))
    names = tuple(f"gate {i}" for i in first.tolist()) + tuple(f"rest of {label}" for label in labels)
    note = f"The {len(first)} gates (one a channel) that matter most for the target, one by one; the rest by group."
    return Way("single gates", note, names, torch.cat([alone, rest]))


def _splits(probe: Probe, name: str, middle: nn.Module, place: str):
    """Split attention: per split its fixed average, U / radix, and what the gates add, (a - 1 / radix) * U."""
    attention = middle.attention
    radix, cardinality = attention.radix, attention.cardinality
    seen = probe.look([f"{name}.attention.norm", f"{name}.attention.fc2"])
    maps = attention.act(seen[f"{name}.attention.norm"].float().clone()).unflatten(1, (radix, -1))[
        0
    ]  # (radix, channels, h, w)
    gates = radix_softmax(seen[f"{name}.attention.fc2"].float().flatten(1), radix, cardinality)[0]  # (radix, channels)
    pool = getattr(middle, "pool_after", nn.Identity())
    channels = maps.shape[1]
    if radix == 1:
        sources = pool(maps * gates[..., None, None])
        note = f"Radix 1: a sigmoid gate a channel, which sums to nothing. The {cardinality} cardinal groups, gated."
        groups = chunks(channels, cardinality, "group", "cardinal groups", note)
        return "gates", place, sources, (groups,), None, None

    fixed, added = pool(maps / radix), pool(maps * (gates - 1 / radix)[..., None, None])
    sources = torch.cat([fixed, added])  # (2 * radix, channels, height, width): all fixed halves, then all additions
    of_group = torch.eye(cardinality).repeat_interleave(channels // cardinality, dim=1)  # (groups, channels)
    of_source = torch.eye(2 * radix)

    def way(title: str, note: str, by_source: Tensor, words: list[str], by_group: bool) -> Way:
        rows = of_group if by_group else torch.ones(1, channels)
        takes = torch.einsum("af,gc->agfc", by_source, rows).flatten(0, 1)
        labels = [f"{word}, group {g}" if len(rows) > 1 else word for word in words for g in range(len(rows))]
        return Way(title, note, tuple(labels), takes)

    half = f"1/{radix}"
    in_order = torch.stack([of_source[:radix], of_source[radix:]], 1).flatten(0, 1)  # split 0 fixed, split 0 added, …
    both = of_source[:radix] + of_source[radix:]
    per_group = cardinality > 1
    finest = way(
        "fixed and attention",
        f"Each split's fixed average ({half} of it) and what its gates change, a \u2212 {half}, one number a channel.",
        in_order,
        [f"split {r}, {what}" for r in range(radix) for what in ("average", "gates")],
        per_group,
    )
    words = [f"split {r}" for r in range(radix)]
    ways = [
        finest,
        way("gated splits", "Each split times its gates, as the block adds them up.", both, words, per_group),
    ]
    if per_group:
        ways.append(way("splits only", "Each gated split, its cardinal groups together.", both, words, False))
        note = "The cardinal groups, their splits together."
        ways.append(chunks(channels, cardinality, "group", "cardinal groups", note, 2 * radix))
    return "splits", place, sources, tuple(ways), None, None


def _heads_and_halo(probe: Probe, name: str, middle: nn.Module):
    """Halo attention: per head what its block and what its halo brings; norm and activation behind it frozen."""
    attention = middle.attention
    seen = probe.look([f"{name}.attention.query", f"{name}.attention.key_value", f"{name}.attention", f"{name}.norm"])
    sources = halo_parts(
        seen[f"{name}.attention.query"].float(), seen[f"{name}.attention.key_value"].float(), attention
    )  # (2, channels, height, width)
    scale, shift = affine(middle.norm, lambda: seen[f"{name}.attention"])
    frozen = secant(middle.act, seen[f"{name}.norm"][0].float())
    channels, heads = sources.shape[1], attention.heads
    of_head = torch.eye(heads).repeat_interleave(channels // heads, dim=1)
    takes = torch.einsum("nc,pf->npfc", of_head, torch.eye(2)).flatten(0, 1)
    labels = tuple(f"head {n}, {part}" for n in range(heads) for part in ("block", "halo"))
    note = (
        "What each head brings from the query's own block and from the halo around it. Attention weights, and the "
        "norm and activation behind them, are frozen at this picture."
    )
    ways = (Way("block and halo", note, labels, takes), chunks(channels, heads, "head", "heads", note, 2))
    return "heads", f"{name}.attention", sources, ways, frozen * scale[:, None, None], frozen * shift[:, None, None]


def halo_parts(query: Tensor, key_value: Tensor, layer: nn.Module) -> Tensor:
    """(2, channels, height, width): what a halo attention layer brings out of the blocks, and out of the halos.

    The same numbers as `netwright.nets.halonet.halo_attention`, with the values of the window's middle or of its rim
    set to 0. What lies outside the map has values of 0 and brings nothing; it is in the halo's share of the weights.
    """
    block_size, halo, heads, key_dim = layer.block_size, layer.halo, layer.heads, layer.key_dim
    rows, columns = key_value.shape[2] // block_size, key_value.shape[3] // block_size
    side, window = query.shape[2] // rows, block_size + 2 * halo
    q = query.reshape(heads, key_dim, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1)
    windows = F.pad(key_value, (halo,) * 4).unfold(2, window, block_size).unfold(3, window, block_size)
    windows = windows.reshape(heads, -1, rows, columns, window, window).permute(0, 2, 3, 4, 5, 1)
    k, v = windows.split((key_dim, layer.value_dim), dim=-1)  # (heads, rows, columns, u, v, key_dim or value_dim)

    offset = torch.arange(window)[None] - torch.arange(side)[:, None] + window - 1  # (y, u)
    logits = torch.einsum("nrcyxd,nrcuvd->nrcyxuv", q * key_dim**-0.5, k)
    logits = logits + torch.einsum("nrcyxd,yud->nrcyxu", q, layer.height_table.detach().float()[offset])[..., None]
    logits = logits + torch.einsum("nrcyxd,xvd->nrcyxv", q, layer.width_table.detach().float()[offset])[..., None, :]
    weights = logits.flatten(-2).softmax(-1).view_as(logits)

    own = torch.zeros(window, window, device=query.device)
    own[halo : halo + block_size, halo : halo + block_size] = 1
    shares = torch.stack([weights * own, weights * (1 - own)])
    out = torch.einsum("pnrcyxuv,nrcuvd->pndrycx", shares, v)  # (2, heads, value_dim, rows, y, columns, x)
    return getattr(layer, "pool", nn.Identity())(out.reshape(2, -1, rows * side, columns * side))


def _has(module: nn.Module | None, *names: str) -> bool:
    return module is not None and all(hasattr(module, name) for name in names)


def _convs(module: nn.Module | None) -> list[nn.Conv2d]:
    return [] if module is None else [it for it in module.modules() if isinstance(it, nn.Conv2d)]
