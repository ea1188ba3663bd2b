"""What a departure looks like: sentences that name the likely cause, each one found by comparing numbers.

Imports golden, points, result and transforms.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from netwright.nets.zoo import CONFIGS
from netwright.probing.golden import golden_input, golden_picture, golden_state
from netwright.probing.result import Row
from netwright.transforms import Transform
from netwright.weights.catalogue import default_for

MOST = 4  # sentences of one kind
LOWEST = {"relu": 0.0, "silu": -0.2785}  # what the activations give at least
LINEAR_PARTS = ("conv2", "expand", "shortcut")  # they end before the activation


def explain(
    architecture: str,
    rows: Sequence[Row],
    first: Row,
    own: Mapping[str, tuple[str, Tensor]],
    misfits: Mapping[str, str],
    picture: Tensor,
    *,
    weights_checked: bool,
) -> tuple[str, ...]:
    """Sentences on why the net departs at `first`.

    own: our name -> the net's name and its tensor; misfits: our name -> what did not load; picture: the input
    (1, 3, height, width); weights_checked: whether the net ran with its own weights, so that they may be the cause.
    """
    if first.point == "input":
        return tuple(_about_the_picture(architecture, picture))
    suspects = _suspects(rows, first)
    found = _at_most([text for name, text in misfits.items() if _owner(name, rows) in suspects])
    if weights_checked and own:
        found += _about_the_weights(architecture, rows, suspects, own)
    if first.found is not None:
        found += _about_the_numbers(architecture, first)
    return tuple(found)


def _at_most(texts: list[str]) -> list[str]:
    return texts[:MOST] + [f"… and {len(texts) - MOST} more of the kind."] * (len(texts) > MOST)


def _suspects(rows: Sequence[Row], first: Row) -> set[str]:
    """The points after the last one that agreed, up to the first departure."""
    end = rows.index(first)
    start = max((i for i in range(end) if rows[i].status == "ok"), default=-1)
    return {row.point for row in rows[start + 1 : end + 1]}


def _owner(name: str, rows: Sequence[Row]) -> str | None:
    """The point that a parameter belongs to; a part of a block stands before its block among the rows."""
    if name.startswith("classifier."):
        return "logits"
    return next((row.point for row in rows if name.startswith(f"{row.point}.")), None)


def _about_the_weights(architecture: str, rows: Sequence[Row], suspects: set[str], own: Mapping) -> list[str]:
    golden = {name: tensor for name, tensor in golden_state(architecture).items() if tensor.is_floating_point()}
    shared = [name for name in own if name in golden]
    wrong = [name for name in shared if not _same(own[name][1], golden[name])]
    if len(wrong) == len(shared):
        return ["No tensor of the net holds its golden numbers: load golden_checkpoint first, or leave state out."]
    texts = []
    for name in wrong:
        if _owner(name, rows) in suspects:
            key, tensor = own[name]
            origin = next((other for other in golden if _same(tensor, golden[other])), None)
            source = f"those of {own[origin][0] if origin in own else origin}" if origin else "those of no other tensor"
            texts.append(f"{key} does not hold its own numbers but {source}.")
    if not texts:
        return ["The weights up to here are the golden ones: the fault is in what the net does with them."]
    return _at_most(texts)


def _same(tensor: Tensor, golden: Tensor) -> bool:
    if tensor.shape != golden.shape:
        return False
    # Nearly every tensor is equal in every bit, which is seen in a seventh of the time that closeness takes.
    return torch.equal(tensor.float(), golden) or torch.allclose(tensor.float(), golden, rtol=1e-3, atol=1e-6)


def _about_the_numbers(architecture: str, first: Row) -> Iterator[str]:
    expected, found = first.expected, first.found
    if found.shape != expected.shape:
        if len(found.shape) == len(expected.shape) == 4:
            (*_, height, width), (*_, wanted_height, wanted_width) = found.shape, expected.shape
            if (height, width) == (-(-wanted_height // 2), -(-wanted_width // 2)):
                yield "Half the height and width: there is a stride of 2 that the published net has later, or not at all."
            elif (wanted_height, wanted_width) == (-(-height // 2), -(-width // 2)):
                yield "Twice the height and width: a stride of 2 is missing, at this point or before it."
        return
    largest = abs(expected.samples).argmax()
    factor = found.samples[largest] / expected.samples[largest]
    if abs(found.samples - factor * expected.samples).max() < 1e-6 * abs(found.samples).max():
        yield f"Every value is {factor:.6g} times the published one."
        return
    # A few samples below the activation's lowest value are no accident.
    lowest = LOWEST[CONFIGS[architecture].activation]
    below, wanted_below = ((reading.samples < lowest - 1e-9).sum() for reading in (found, expected))
    linear = first.point.rpartition(".")[2] in LINEAR_PARTS
    if not linear and first.point != "logits" and below >= 3 and wanted_below == 0:
        yield f"There are values below {lowest:g}, where the published net has none: an activation is missing."
    if linear and wanted_below >= 4 and below == 0:
        yield f"No value is below {lowest:g}, where the published net has many: an activation too many."


def _about_the_picture(architecture: str, picture: Tensor) -> Iterator[str]:
    golden = golden_input(architecture).double()
    if picture.shape != golden.shape:
        yield f"The golden picture has to come out as {tuple(golden.shape)}, not {tuple(picture.shape)}."
        return
    for text, variant in _wrong_pictures(architecture, golden):
        if abs(picture - variant).max() < 0.02 * variant.std():
            yield f"The input equals that of a picture {text}."
            return


def _wrong_pictures(architecture: str, golden: Tensor) -> Iterator[tuple[str, Tensor]]:
    """What goes wrong in preprocessing, and the golden input after it."""
    published = default_for(architecture).preprocessing
    side, picture = golden.shape[-1], golden_picture()
    mean, std = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (published.mean, published.std))
    pixels = golden * std + mean  # from 0 to 1
    yield "whose values go from 0 to 1, without mean and standard deviation taken off", pixels
    yield "whose values go from 0 to 255, not normalised at all", 255 * pixels
    yield "whose standard deviation was not divided by", pixels - mean
    yield "normalised with a mean and standard deviation of 0.5", 2 * pixels - 1
    yield "with its colours in the order blue, green, red", (pixels.flip(1) - mean) / std
    yield "with its colours in the order blue, green, red, after normalising", golden.flip(1)
    yield "with height and width exchanged", golden.transpose(2, 3)
    other = "bilinear" if published.interpolation == "bicubic" else "bicubic"
    resized = Transform(replace(published, interpolation=other), input_size=side)
    yield f"resized {other} instead of {published.interpolation}", resized(picture).double().unsqueeze(0)
    for share in {0.875, 0.95, 1.0} - {published.crop_pct}:
        cropped = Transform(published, input_size=side, crop_pct=share)
        text = f"cropped to {share:.1%} of the short side instead of {published.crop_pct:.1%}"
        yield text, cropped(picture).double().unsqueeze(0)
    squashed = Transform(published, input_size=side, crop_pct=1.0)(picture.resize((side, side)))
    yield "squashed into a square instead of cropped", squashed.double().unsqueeze(0)
