"""The four key maps as exercises: how they are judged, what goes wrong with them, and the hints.

Imports the engine, maps and the golden weights of probing.
"""

import re
from collections.abc import Iterator
from functools import cache, partial

from netwright.lessons.engine import Check
from netwright.lessons.weights.maps import (
    PROVEN_ON,
    KeyMap,
    audit,
    byobnet,
    openmmlab,
    published_names,
    resnest,
    torchvision,
)
from netwright.probing.golden import golden_state

_ASKED = {  # kind of fault -> what the judge says of it, of the net {net}
    "not in the net": "the list of keys whose new name {net} does not have",
    "given twice": "the list of keys of {net} whose new name another key has too",
    "left empty": "the list of names of {net} that no key gets",
    "of another shape": "the list of keys of {net} whose tensor does not fit where it goes",
}


def _measure(layout: str, theirs: KeyMap) -> Iterator[tuple[str, object]]:
    """Every key gets a name; the map is one-to-one; every tensor receives its own numbers."""
    for architecture in PROVEN_ON[layout]:
        for key in published_names(architecture, layout):
            yield f"whether {key} gets a name", isinstance(theirs(key), str)
        found = audit(theirs, architecture, layout)
        for kind, what in _ASKED.items():
            keys = found[kind]
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            yield what.format(net=architecture), f"{keys[0]}{more}" if keys else "empty"

    architecture = PROVEN_ON[layout][0]
    means = _means(architecture)
    received = {theirs(key): means[name] for key, name in published_names(architecture, layout).items()}
    for name in means:
        yield f"the mean of what {name} receives from the file", received.get(name)


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
    known = (*published_names("halonet26t", "byobnet"), *published_names("halonet50ts", "byobnet"))
    return bool(block) and f"{block[0]}post_attn.weight" in known


SILENT = "which loads without a word, because every shape fits"

CHECKS = (
    Check(
        id="weights.torchvision",
        minutes=10,
        difficulty="medium",
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
        minutes=3,
        difficulty="easy",
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
        minutes=10,
        difficulty="medium",
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
        minutes=10,
        difficulty="medium",
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
