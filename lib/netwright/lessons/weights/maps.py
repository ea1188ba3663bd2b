"""The four key maps as exercises: one function a layout, a published key in, our name out.

Imports the engine, the golden weights of probe and, as the judge, the library's own tables in weights.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial

from netwright.lessons.engine import Check
from netwright.probe.golden import golden_shapes, golden_state
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
    shapes, published = golden_shapes(architecture), _published(architecture, layout)
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


_ASKED = {  # kind of fault -> what the judge says of it, of the net {net}
    "not in the net": "the list of keys whose new name {net} does not have",
    "given twice": "the list of keys of {net} whose new name another key has too",
    "left empty": "the list of names of {net} that no key gets",
    "of another shape": "the list of keys of {net} whose tensor does not fit where it goes",
}


def _measure(layout: str, theirs: KeyMap) -> Iterator[tuple[str, object]]:
    """Every key gets a name; the map is one-to-one; every tensor receives its own numbers."""
    for architecture in PROVEN_ON[layout]:
        for key in _published(architecture, layout):
            yield f"whether {key} gets a name", isinstance(theirs(key), str)
        found = audit(theirs, architecture, layout)
        for kind, what in _ASKED.items():
            keys = found[kind]
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            yield what.format(net=architecture), f"{keys[0]}{more}" if keys else "empty"

    architecture = PROVEN_ON[layout][0]
    means = _means(architecture)
    received = {theirs(key): means[name] for key, name in _published(architecture, layout).items()}
    for name in means:
        yield f"the mean of what {name} receives from the file", received.get(name)


@cache
def _published(architecture: str, layout: str) -> dict[str, str]:
    """Published key -> our name by the library's own tables, in the order of the net."""
    return {key: name for name, key in rename_back(golden_shapes(architecture), layout).items()}


@cache
def _means(architecture: str) -> dict[str, float]:
    return {name: tensor.double().mean().item() for name, tensor in golden_state(architecture).items()}


# Known mistakes ------------------------------------------------------------------------------------------------


def _exchanged(ours: KeyMap, one: str, other: str) -> KeyMap:
    """`ours` with two parts of names exchanged."""

    def wrong(key: str) -> str:
        name = ours(key)
        here, there = (one, other) if one in name else (other, one)
        return name.replace(here, there)

    return wrong


def _counting_from(first: int, ours: KeyMap) -> KeyMap:
    return lambda key: re.sub(r"^stages\.(\d)", lambda stage: f"stages.{int(stage[1]) + first}", ours(key))


def _kept(ours: KeyMap, part: str) -> KeyMap:
    """`ours`, but keys that hold `part` keep their published name."""
    return lambda key: key if part in key else ours(key)


def _one_digit(key: str) -> str:
    return re.sub(r"^(stages\.\d\.\d)\d+", r"\1", torchvision(key))


def _attends(key: str) -> bool:
    """Whether a key of halonet26t or halonet50ts lies in a block with attention."""
    block = re.match(r"stages\.\d\.\d\.", key)
    known = (*_published("halonet26t", "byobnet"), *_published("halonet50ts", "byobnet"))
    return bool(block) and f"{block[0]}post_attn.weight" in known


SILENT = "which loads without a word, because every shape fits"

CHECKS = (
    Check(
        id="weights.torchvision",
        ours=torchvision,
        measure=partial(_measure, "torchvision"),
        mistakes={
            "where the stages still count from 1": _counting_from(1, torchvision),
            f"where bn1 and bn2 of a block are exchanged, {SILENT}": _exchanged(
                torchvision, ".reduce.norm.", ".middle.norm."
            ),
            f"where the weight and the bias of a normalisation are exchanged, {SILENT}": _exchanged(
                torchvision, ".norm.weight", ".norm.bias"
            ),
            f"where running_mean and running_var are exchanged, {SILENT}": _exchanged(
                torchvision, ".running_mean", ".running_var"
            ),
            "where conv1 and conv3 are exchanged": _exchanged(torchvision, ".reduce.conv", ".expand.conv"),
            "where the shortcut's convolution and its normalisation are exchanged": _exchanged(
                torchvision, ".shortcut.conv", ".shortcut.norm"
            ),
            "that leaves fc as it is": _kept(torchvision, "fc."),
            "that reads only one digit of a block's number": _one_digit,
        },
        hints=(
            (
                "A key is a module's name and an ending, and only the module's name changes: "
                "key.rpartition('.') parts the two."
            ),
            (
                "Outside the blocks there are three modules: conv1, bn1 and fc. A small dictionary names them. Inside, "
                "'layer3.10.conv2' is stage 3 (ours is 2), block 10, module conv2: split at the first two dots."
            ),
            (
                "Eight modules in a block: conv1, bn1 are reduce; conv2, bn2 middle; conv3, bn3 expand; downsample.0 and "
                "downsample.1 are the shortcut's conv and norm. Then f'stages.{stage - 1}.{block}.{table[module]}.{ending}'."
            ),
        ),
    ),
    Check(
        id="weights.openmmlab",
        ours=openmmlab,
        measure=partial(_measure, "openmmlab"),
        mistakes={
            "that leaves head. in front": lambda key: (
                key if key.startswith("head.") else torchvision(key.removeprefix("backbone."))
            ),
            "that leaves backbone. in front": lambda key: (
                key if key.startswith("backbone.") else torchvision(key.removeprefix("head."))
            ),
            "that takes the prefix off with lstrip, which strips letters, not a word": lambda key: torchvision(
                key.lstrip("backbone.").lstrip("head.")  # noqa: B005  the mistake itself
            ),
            "that takes the prefix off and leaves the rest as it is": lambda key: key.partition(".")[2],
            "where the stages still count from 1": _counting_from(1, openmmlab),
            f"where bn1 and bn2 of a block are exchanged, {SILENT}": _exchanged(
                openmmlab, ".reduce.norm.", ".middle.norm."
            ),
        },
        hints=(
            "Print a few keys beside torchvision's: the same words, each with one more in front.",
            "The two halves of an OpenMMLab classifier are called backbone and head; fc belongs to the head.",
            (
                "key.removeprefix('backbone.').removeprefix('head.') is a key of torchvision's, and for those you have a "
                "function. (lstrip takes away single letters, in any order: 'backbone.conv1' would come out as 'v1'.)"
            ),
        ),
    ),
    Check(
        id="weights.resnest",
        ours=resnest,
        measure=partial(_measure, "resnest"),
        mistakes={
            "where the trunk's bn1 belongs to the first convolution of the stem": lambda key: resnest(key).replace(
                *("stem.2.norm", "stem.0.norm") if key.startswith("bn1.") else ("", "")
            ),
            f"where conv1.1 and conv1.4 of the stem are exchanged, {SILENT}": _exchanged(
                resnest, "stem.0.norm", "stem.1.norm"
            ),
            f"where the block's bn1 and the bn1 inside conv2 are exchanged, {SILENT}": _exchanged(
                resnest, ".reduce.norm.", ".middle.attention.fc_norm."
            ),
            "where bn0 and bn1 inside conv2 are exchanged": _exchanged(
                resnest, ".attention.norm", ".attention.fc_norm"
            ),
            "where fc1 and fc2 are exchanged": _exchanged(resnest, ".fc1.", ".fc2."),
            "where conv2.conv is the middle itself, as in a ResNet": lambda key: resnest(key).replace(
                ".middle.attention.conv", ".middle.conv"
            ),
            "that leaves fc as it is": lambda key: key if key.startswith("fc.") else resnest(key),
            "where the stages still count from 1": _counting_from(1, resnest),
        },
        hints=(
            (
                "The numbers in conv1.0, conv1.1, conv1.3 … are places in a Sequential: 2 and 5 are ReLUs, which have "
                "no parameters. The stem's last normalisation stands outside of it, as bn1."
            ),
            (
                "Inside a block there is no bn2: split attention brings its own. Its conv and bn0 make the splits, fc1, "
                "bn1 and fc2 weigh them; ours are called attention.conv, attention.norm, attention.fc1, "
                "attention.fc_norm and attention.fc2, all under middle."
            ),
            (
                "The shortcut starts at downsample.1, because downsample.0 is an average pool: 1 is shortcut.conv, 2 is "
                "shortcut.norm. Eleven entries in the block's table, seven in the trunk's."
            ),
        ),
    ),
    Check(
        id="weights.byobnet",
        ours=byobnet,
        measure=partial(_measure, "byobnet"),
        mistakes={
            f"where post_attn and the bn of conv1_1x1 are exchanged, {SILENT}": lambda key: (
                _exchanged(byobnet, ".reduce.norm", ".middle.norm")(key) if _attends(key) else byobnet(key)
            ),
            "where post_attn belongs to the attention": lambda key: (
                byobnet(key).replace("middle.norm", "middle.attention.norm") if "post_attn" in key else byobnet(key)
            ),
            f"where height_rel and width_rel are exchanged, {SILENT}": _exchanged(
                byobnet, ".height_table", ".width_table"
            ),
            "where q and kv are exchanged": _exchanged(byobnet, ".attention.query.", ".attention.key_value."),
            "that leaves head.fc as it is": _kept(byobnet, "head.fc."),
            "that takes the stages to count from 1": _counting_from(-1, byobnet),
            "where the stem's convolutions count from 1": lambda key: re.sub(
                r"^stem\.(\d)", lambda number: f"stem.{int(number[1]) + 1}", byobnet(key)
            ),
            "where the last normalisation and the shortcut's are exchanged": _exchanged(
                byobnet, ".expand.norm", ".shortcut.norm"
            ),
        },
        hints=(
            (
                "Convolution and normalisation lie together, as in our nets: <module>.conv and <module>.bn. And the "
                "stages count from 0 already."
            ),
            (
                "A block with attention has no conv2_kxk. Its middle is self_attn (q, kv and two tables of positions), "
                "and post_attn is the normalisation that follows, where a convolution would have its bn."
            ),
            (
                "The tables are parameters, not modules, so name the whole key: 'self_attn.pos_embed.height_rel' is "
                "'middle.attention.height_table'. In the trunk: stem.conv1 is stem.0, and head.fc is classifier."
            ),
        ),
    ),
)
