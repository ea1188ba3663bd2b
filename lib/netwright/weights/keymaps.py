"""Four published ways to name the same tensors, and the way from each to ours and back: pure renamings.
Tables first, then the two functions that apply them. May import the error class of read.py only."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netwright.weights.read import CheckpointError

# A key is a module's name and one of these, and a map renames modules, so the ending rides along.
ENDINGS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class Layout:
    """One publisher's names, each beside ours.

    block: how a residual block's prefix is written, with {stage} and {block} for its numbers
    first_stage: the number that the first stage has there (ours is 0)
    trunk: names outside the blocks -> ours
    kinds: one table for each kind of block, names inside the block -> ours; a block is of the first kind that knows all
        of its keys
    stems: names that belong to the trunk but differ from net to net, one table for each way; chosen in the same manner
    """

    block: str
    first_stage: int
    trunk: Mapping[str, str]
    kinds: tuple[Mapping[str, str], ...]
    stems: tuple[Mapping[str, str], ...] = ({},)


PLAIN_SHORTCUT = {"downsample.0": "shortcut.conv", "downsample.1": "shortcut.norm"}
POOLED_SHORTCUT = {"downsample.1": "shortcut.conv", "downsample.2": "shortcut.norm"}  # 0 is the average pool

BASIC = {
    "conv1": "conv1.conv",
    "bn1": "conv1.norm",
    "conv2": "conv2.conv",
    "bn2": "conv2.norm",
    **PLAIN_SHORTCUT,
}
BOTTLENECK = {
    "conv1": "reduce.conv",
    "bn1": "reduce.norm",
    "conv2": "middle.conv",
    "bn2": "middle.norm",
    "conv3": "expand.conv",
    "bn3": "expand.norm",
    **PLAIN_SHORTCUT,
}
SPLIT_ATTENTION = {
    "conv1": "reduce.conv",
    "bn1": "reduce.norm",
    "conv2.conv": "middle.attention.conv",
    "conv2.bn0": "middle.attention.norm",
    "conv2.fc1": "middle.attention.fc1",
    "conv2.bn1": "middle.attention.fc_norm",
    "conv2.fc2": "middle.attention.fc2",
    "conv3": "expand.conv",
    "bn3": "expand.norm",
    **POOLED_SHORTCUT,
}

# timm's ByobNet: every convolution and its normalisation lie together in one module, as ours do.
AROUND_THE_MIDDLE = {
    "conv1_1x1.conv": "reduce.conv",
    "conv1_1x1.bn": "reduce.norm",
    "conv3_1x1.conv": "expand.conv",
    "conv3_1x1.bn": "expand.norm",
    "shortcut.conv": "shortcut.conv",
    "shortcut.bn": "shortcut.norm",
}
CONVOLUTION = {
    **AROUND_THE_MIDDLE,
    "conv2_kxk.conv": "middle.conv",
    "conv2_kxk.bn": "middle.norm",
    "attn.fc1": "gate.fc1",  # squeeze and excitation
    "attn.fc2": "gate.fc2",
    "attn.conv": "gate.conv",  # ECA
}
RELATIVE_POSITIONS = {  # these two are parameters themselves, not modules: the whole key is named
    "self_attn.pos_embed.height_rel": "middle.attention.height_table",
    "self_attn.pos_embed.width_rel": "middle.attention.width_table",
}
SELF_ATTENTION = {
    **AROUND_THE_MIDDLE,
    **RELATIVE_POSITIONS,
    "self_attn.q": "middle.attention.query",
    "self_attn.kv": "middle.attention.key_value",
    "self_attn.qkv": "middle.attention.qkv",  # BoT and lambda layers
    "self_attn.norm_q": "middle.attention.query_norm",
    "self_attn.norm_v": "middle.attention.value_norm",
    "self_attn.conv_lambda": "middle.attention.position",
    "post_attn": "middle.norm",
}
SINGLE_STEM = {"stem.conv": "stem.0.conv", "stem.bn": "stem.0.norm"}
TIERED_STEM = {
    "stem.conv1.conv": "stem.0.conv",
    "stem.conv1.bn": "stem.0.norm",
    "stem.conv2.conv": "stem.1.conv",
    "stem.conv2.bn": "stem.1.norm",
    "stem.conv3.conv": "stem.2.conv",
    "stem.conv3.bn": "stem.2.norm",
}

LAYOUTS = {
    # Facebook, torchvision, timm's own training
    "torchvision": Layout(
        block="layer{stage}.{block}",
        first_stage=1,
        trunk={"conv1": "stem.0.conv", "bn1": "stem.0.norm", "fc": "classifier"},
        kinds=(BASIC, BOTTLENECK),
    ),
    # mmcls and mmpretrain
    "openmmlab": Layout(
        block="backbone.layer{stage}.{block}",
        first_stage=1,
        trunk={"backbone.conv1": "stem.0.conv", "backbone.bn1": "stem.0.norm", "head.fc": "classifier"},
        kinds=(BASIC, BOTTLENECK),
    ),
    # the authors of ResNeSt, GluonCV's converted files, timm
    "resnest": Layout(
        block="layer{stage}.{block}",
        first_stage=1,
        trunk={
            "conv1.0": "stem.0.conv",
            "conv1.1": "stem.0.norm",
            "conv1.3": "stem.1.conv",
            "conv1.4": "stem.1.norm",
            "conv1.6": "stem.2.conv",
            "bn1": "stem.2.norm",
            "fc": "classifier",
        },
        kinds=(SPLIT_ATTENTION,),
    ),
    # timm's HaloNets
    "byobnet": Layout(
        block="stages.{stage}.{block}",
        first_stage=0,
        trunk={"final_conv.conv": "final_conv.conv", "final_conv.bn": "final_conv.norm", "head.fc": "classifier"},
        kinds=(CONVOLUTION, SELF_ATTENTION),
        stems=(SINGLE_STEM, TIERED_STEM),
    ),
}
OURS = "stages.{stage}.{block}"


# --- applying them ---------------------------------------------------------------------------------------------------


def rename(keys: Iterable[str], layout: str | Layout) -> dict[str, str]:
    """Published key -> ours, one to one. `layout` is a name in LAYOUTS, "netwright" (nothing to do) or a Layout.

    Raises CheckpointError if a key has no rule or if two keys would get the same name.
    """
    keys = list(keys)
    if layout == "netwright":
        return {key: key for key in keys}
    renamed, unknown = _apply(keys, _named(layout))
    return _one_to_one(renamed, unknown, layout)


def rename_back(keys: Iterable[str], layout: str | Layout) -> dict[str, str]:
    """Our key -> the one that the publisher of `layout` uses. Raises as `rename` does."""
    keys = list(keys)
    if layout == "netwright":
        return {key: key for key in keys}
    renamed, unknown = _apply(keys, _named(layout), back=True)
    return _one_to_one(renamed, unknown, layout)


def detect_layout(keys: Iterable[str]) -> str:
    """The layout in which most of the keys have a rule. Raises CheckpointError if that is none of them."""
    keys = list(keys)
    if "stem.0.conv.weight" in keys or "classifier.weight" in keys:  # no publisher has these
        return "netwright"
    known = {name: len(_apply(keys, layout)[0]) for name, layout in LAYOUTS.items()}
    best = max(known, key=known.get)
    if known[best] == 0:
        seen = ", ".join(keys[:3]) or "none"
        raise CheckpointError(
            f"These keys are of no layout that is known ({', '.join(LAYOUTS)}): {seen} … "
            "Is it the file of another architecture?"
        )
    return best


def to_netwright(state: Mapping, layout: str | Layout | None = None) -> dict:
    """The same tensors under our names; the layout is detected from the keys unless it is given."""
    names = rename(state, layout or detect_layout(state))
    return {names[key]: value for key, value in state.items()}


def to_published(state: Mapping, layout: str | Layout) -> dict:
    """The same tensors under the publisher's names: the inverse of `to_netwright`."""
    names = rename_back(state, layout)
    return {names[key]: value for key, value in state.items()}


def _named(layout: str | Layout) -> Layout:
    if isinstance(layout, Layout):
        return layout
    if layout not in LAYOUTS:
        raise CheckpointError(f"There is no key layout {layout!r}; the known ones are {', '.join(LAYOUTS)}, netwright.")
    return LAYOUTS[layout]


def _apply(keys: list[str], layout: Layout, back: bool = False) -> tuple[dict[str, str], list[str]]:
    """The keys that have a rule, with their new names, in the given order; and those that have none."""
    here, there, shift = layout.block, OURS, -layout.first_stage
    trunks, kinds = [{**layout.trunk, **stem} for stem in layout.stems], layout.kinds
    if back:
        here, there, shift = there, here, -shift
        trunks, kinds = map(_inverse, trunks), [_inverse(kind) for kind in kinds]

    numbers = {"stage": r"(?P<stage>\d+)", "block": r"(?P<block>\d+)"}
    in_block = re.compile(re.escape(here).replace(r"\{", "{").replace(r"\}", "}").format(**numbers) + r"\.(?P<rest>.+)")
    blocks: dict[tuple[int, int], dict[str, str]] = {}  # (stage, block) -> {rest of the key: key}
    outside: dict[str, str] = {}
    for key in keys:
        if found := in_block.fullmatch(key):
            blocks.setdefault((int(found["stage"]), int(found["block"])), {})[key] = found["rest"]
        else:
            outside[key] = key
    new_names = _look_up_all(outside, trunks)
    for (stage, block), rest_of in blocks.items():
        prefix = there.format(stage=stage + shift, block=block)
        new_names |= {key: name and f"{prefix}.{name}" for key, name in _look_up_all(rest_of, kinds).items()}
    return {key: new_names[key] for key in keys if new_names[key]}, [key for key in keys if not new_names[key]]


def _look_up_all(rest_of: Mapping[str, str], tables: Iterable[Mapping[str, str]]) -> dict[str, str | None]:
    """Key -> its name in the first table that knows every key or, failing that, in the one that knows most."""
    found = [{key: _look_up(rest, table) for key, rest in rest_of.items()} for table in tables]
    return max(found, key=lambda names: sum(name is not None for name in names.values()))  # max: the first of equals


def _look_up(key: str, table: Mapping[str, str]) -> str | None:
    module, _, ending = key.rpartition(".")
    if ending in ENDINGS and module in table:
        return f"{table[module]}.{ending}"
    return table.get(key)


def _inverse(table: Mapping[str, str]) -> dict[str, str]:
    return {ours: theirs for theirs, ours in table.items()}


def _one_to_one(renamed: dict[str, str], unknown: list[str], layout) -> dict[str, str]:
    label = repr(layout) if isinstance(layout, str) else "given"
    if unknown:
        more = f" and {len(unknown) - 6} more" if len(unknown) > 6 else ""
        raise CheckpointError(
            f"{len(unknown)} of {len(unknown) + len(renamed)} keys have no rule in the {label} layout: "
            f"{', '.join(unknown[:6])}{more}."
        )
    origin: dict[str, str] = {}
    for key, name in renamed.items():
        if name in origin:
            raise CheckpointError(f"Both {origin[name]!r} and {key!r} become {name!r} in the {label} layout.")
        origin[name] = key
    return renamed
