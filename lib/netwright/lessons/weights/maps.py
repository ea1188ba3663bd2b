"""The four key maps: one function a layout, a published key in, our name out; and what is wrong with a map.

Imports the golden weights of probing and, as the judge, the library's own tables in weights.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache

from netwright.probing.golden import golden_shapes
from netwright.weights.keymaps import rename_back

KeyMap = Callable[[str], str]

# The first is judged by names and numbers, the others by names alone: what they add is stages with blocks beyond
# the ninth, or another family of the same layout.
PROVEN_ON = {
    "torchvision": ("resnext50_32x4d", "resnext101_32x8d"),
    "openmmlab": ("resnext50_32x4d", "resnext152_32x4d"),
    "resnest": ("resnest50d_4s2x40d", "resnest101e"),
    "byobnet": ("halonet26t", "halonet50ts"),
}


# The solutions -------------------------------------------------------------------------------------------------


def torchvision(key: str) -> str:
    """A key as torchvision and Facebook write it to our name."""
    trunk = {"conv1": "stem.0.conv", "bn1": "stem.0.norm", "fc": "classifier"}
    block = {
        "conv1": "reduce.conv",
        "bn1": "reduce.norm",
        "conv2": "middle.conv",
        "bn2": "middle.norm",
        "conv3": "expand.conv",
        "bn3": "expand.norm",
        "downsample.0": "shortcut.conv",
        "downsample.1": "shortcut.norm",
    }
    module, _, ending = key.rpartition(".")
    if not module.startswith("layer"):
        return f"{trunk[module]}.{ending}"
    stage, number, inside = module.removeprefix("layer").split(".", 2)
    return f"stages.{int(stage) - 1}.{number}.{block[inside]}.{ending}"


def openmmlab(key: str) -> str:
    """A key as OpenMMLab writes it to our name: torchvision's names in two halves, the backbone and the head."""
    return torchvision(key.removeprefix("backbone.").removeprefix("head."))


def resnest(key: str) -> str:
    """A key as the authors of ResNeSt write it to our name."""
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
        "downsample.1": "shortcut.conv",  # downsample.0 is the average pool
        "downsample.2": "shortcut.norm",
    }
    return rename_key(key, trunk, block)


def byobnet(key: str) -> str:
    """A key as timm's ByobNet writes it for a HaloNet to our name."""
    trunk = {f"stem.conv{i + 1}.{theirs}": f"stem.{i}.{ours}" for i in range(3) for theirs, ours in PAIR.items()}
    trunk |= {"head.fc": "classifier"}
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
    return rename_key(key, trunk, block, stage="stages.", first=0)


PAIR = {"conv": "conv", "bn": "norm"}


def rename_key(
    key: str, trunk: Mapping[str, str], block: Mapping[str, str], stage: str = "layer", first: int = 1
) -> str:
    """One key through two tables: `block` for what lies in a residual block, `trunk` for the rest.

    Both map a module's name to ours, and the ending (weight, running_mean, …) rides along; a whole key in the table
    comes first. stage: what stands before a stage's number; first: the number of the first.
    Raises KeyError for a name that is in neither table.
    """
    in_block = re.fullmatch(rf"{re.escape(stage)}(\d+)\.(\d+)\.(.+)", key)
    prefix = f"stages.{int(in_block[1]) - first}.{in_block[2]}." if in_block else ""
    table, rest = (block, in_block[3]) if in_block else (trunk, key)
    if rest in table:
        return prefix + table[rest]
    module, _, ending = rest.rpartition(".")
    return f"{prefix}{table[module]}.{ending}"


# The judge -----------------------------------------------------------------------------------------------------


def audit(theirs: KeyMap, architecture: str, layout: str) -> dict[str, list[str]]:
    """What keeps a map from being one-to-one onto the net, by kind: the keys of the published file concerned.

    "not in the net": their new names are of no tensor of the net. "given twice": another key has the same new name.
    "left empty": here our names, those that no key gets. "of another shape": the tensor does not fit where it goes.
    "of another tensor": it fits and belongs elsewhere, which no loader can see.
    """
    shapes, published = golden_shapes(architecture), published_names(architecture, layout)
    given = {key: theirs(key) for key in published}
    times = Counter(given.values())
    fits = {key: name in shapes and shapes[name] == shapes[published[key]] for key, name in given.items()}
    return {
        "not in the net": [key for key, name in given.items() if name not in shapes],
        "given twice": [key for key, name in given.items() if times[name] > 1],
        "left empty": [name for name in shapes if name not in times],
        "of another shape": [key for key, name in given.items() if name in shapes and not fits[key]],
        "of another tensor": [key for key, name in given.items() if fits[key] and name != published[key]],
    }


@cache
def published_names(architecture: str, layout: str) -> dict[str, str]:
    """Published key -> our name by the library's own tables, in the order of the net."""
    return {key: name for name, key in rename_back(golden_shapes(architecture), layout).items()}
