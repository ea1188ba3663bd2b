"""Where a net first departs from the golden trace of its architecture: the proof of a net, offline.

Imports the rest of this room, the zoo and the key maps.
"""

import copy
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from netwright.nets.zoo import CONFIGS
from netwright.probing.golden import golden_input, golden_picture, golden_shapes, golden_state, golden_trace
from netwright.probing.hints import explain
from netwright.probing.points import Observed, Reading, module_at, observe, places
from netwright.probing.result import Difference, Row
from netwright.weights.keymaps import detect_layout, rename
from netwright.weights.read import CheckpointError


def first_difference(
    net: nn.Module,
    architecture: str | None = None,
    *,
    names: Mapping[str, str | None] | Callable[[str], str | None] | None = None,
    state: Mapping[str, Tensor] | str | None = "golden",
    input: Tensor | Callable | None = None,
    tolerance: float = 1e-4,
) -> Difference:
    """Compare `net` with the golden trace of `architecture`, point by point, and say where the two first part.

    A copy of the net, in float64 and evaluation mode, is given seeded weights and a seeded picture, and what it makes
    of them is compared with what timm's net made of them. The net itself stays as it is. A net that names its
    parameters as we, torchvision, OpenMMLab, the authors of ResNeSt or timm do needs nothing more.

    architecture: may be left out for our nets and for timm's.
    names: trace point ("stages.0.1.reduce", see `golden_trace`) -> path of the module whose output it is in this net,
        or ">path" for what goes into that module; None where it cannot be seen. Needed for a net with names of its own.
    state: "golden" loads the seeded weights; None takes those that the net has, which shows what a wrong key map does
        (load `golden_checkpoint` through it first); a mapping is loaded under the net's own names.
    input: None takes `golden_input`; a tensor (1, 3, side, side) or (3, side, side); or a function that makes one from
        `golden_picture`, to test a preprocessing.
    tolerance: the relative error that still counts as equal (see `Row.error`).

    Whatever does not fit, a parameter or a missing module or an exception while the net runs, is no error but part of
    the answer. Raises ValueError if the architecture is unknown or has no trace, CheckpointError if the parameters are
    named in no known way, KeyError if `names` leads to a module that is not there.
    """
    architecture = architecture or _guess(net)
    trace = golden_trace(architecture)
    twin = copy.deepcopy(net).to("cpu", torch.float64).eval()  # on the CPU because not every device has float64
    ours = _our_names(twin, required=names is None or state == "golden")  # key of the net -> our name

    misfits: dict[str, str] = {}
    if isinstance(state, Mapping):
        known = {key: ours.get(key, key) for key in (*twin.state_dict(), *state)}
        misfits = _load(twin, {known[key]: tensor for key, tensor in state.items()}, known)
    elif state == "golden":
        misfits = _load(twin, golden_state(architecture), ours)
    elif state is not None:
        raise ValueError(f"state={state!r} is not possible: choose 'golden', None or a mapping of tensors.")

    where = _where(twin, trace, names, ours)
    picture = _picture(architecture, input)
    seen = _observe(twin, where, picture)
    raised_at = _raised_at(trace, where, seen)
    absent = set(golden_shapes(architecture)) - set(ours.values()) if ours else set()

    rows = []
    for point, expected in trace.items():
        status, error, note = _compare(point, expected, seen, where, raised_at, absent, tolerance)
        found = seen.readings.get(point)
        rows.append(Row(point, status, error, where.get(point, ""), expected, found, note))
    first = _first(rows)
    found = ()
    if first:
        own = {ours[key]: (key, tensor) for key, tensor in twin.state_dict().items() if key in ours}
        found = explain(architecture, rows, first, own, misfits, picture, weights_checked=state is None)
    return Difference(architecture, tuple(rows), tolerance, first, found)


def _guess(net: nn.Module) -> str:
    config = getattr(net, "config", None)
    described = getattr(net, "pretrained_cfg", None) or {}  # timm
    for name, known in CONFIGS.items():
        if known == config or name == described.get("architecture"):
            return name
    raise ValueError(
        f"Which architecture {type(net).__name__} is meant to be cannot be seen from it. Name it: "
        f"first_difference(net, architecture=…), one of {', '.join(CONFIGS)}."
    )


def _our_names(net: nn.Module, required: bool) -> dict[str, str]:
    keys = list(net.state_dict())
    try:
        return rename(keys, detect_layout(keys))
    except CheckpointError as error:
        if not required:
            return {}
        raise CheckpointError(
            f"{error} For a net with names of its own pass state=, the golden_state of the architecture under its "
            "names (or None, if it has been loaded), and names=, where its trace points lie."
        ) from error


def _load(net: nn.Module, state: Mapping[str, Tensor], ours: Mapping[str, str]) -> dict[str, str]:
    """Copy what fits; what does not is described, by the name in `state`, so that the run can show where it matters."""
    misfits = {}
    own = net.state_dict()
    placed = {name: key for key, name in ours.items()}
    with torch.no_grad():
        for name, tensor in state.items():
            target = own.get(placed.get(name))
            if target is None:
                misfits[name] = f"The net has no place for {name} {tuple(tensor.shape)}."
            elif target.shape != tensor.shape:
                shapes = f"{tuple(target.shape)} in the net and {tuple(tensor.shape)} in the weights"
                misfits[name] = f"{placed[name]} is {shapes}."
            else:
                target.copy_(tensor)
    counters = {name for name in ours.values() if name.endswith("num_batches_tracked")}
    for name in set(ours.values()) - set(state) - counters:
        misfits[name] = f"There are no weights for {placed[name]} {tuple(own[placed[name]].shape)}."
    return misfits


def _where(net: nn.Module, trace, names, ours: Mapping[str, str]) -> dict[str, str]:
    """Trace point -> place, for the points that can be seen in `net`."""
    if names is None:
        layout = detect_layout(ours)
        candidates = {point: places(point, layout) for point in trace}
        found = {point: next((p for p in some if module_at(net, p)), None) for point, some in candidates.items()}
    else:
        find = names if callable(names) else names.get
        found = {point: find(point) for point in trace if point != "input"}
        found["logits"] = found["logits"] or ""  # what the net itself returns
        for point, place in found.items():
            if place and module_at(net, place) is None:
                raise KeyError(f"names leads from {point} to {place!r}, and {type(net).__name__} has no module there.")
    return {point: place for point, place in found.items() if place is not None}


def _picture(architecture: str, given) -> Tensor:
    picture = golden_input(architecture) if given is None else given
    if not isinstance(picture, Tensor):
        picture = picture(golden_picture())
    return (picture if picture.ndim == 4 else picture.unsqueeze(0)).to("cpu", torch.float64)


def _observe(net: nn.Module, where: Mapping[str, str], picture: Tensor) -> Observed:
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # a net that makes its own constants makes them so
    try:
        return observe(net, {"input": ">", **where}, picture)
    finally:
        torch.set_default_dtype(default)


def _raised_at(trace: Mapping, where: Mapping[str, str], seen: Observed) -> str | None:
    """The point at which the net raised: the part that had begun, else the first that was not reached."""
    if seen.error is None:
        return None
    unread = [point for point in trace if point in where and point not in seen.readings]
    blocks = {point.rpartition(".")[0] for point in trace} | {"logits"}  # these begin long before they raise
    return next((point for point in unread if point in seen.begun and point not in blocks), unread[0])


def _compare(
    point: str,
    expected: Reading,
    seen: Observed,
    where: Mapping[str, str],
    raised_at: str | None,
    absent: set[str],
    tolerance: float,
) -> tuple[str, float | None, str]:
    """Status, relative error and note of one point (see `Row`)."""
    found = seen.readings.get(point)
    if found is not None and found.shape != expected.shape:
        return "shape", None, f"shape {found.shape} instead of {expected.shape}"
    if found is not None:
        error = _relative_error(expected, found)
        return ("ok" if error <= tolerance else "differs"), error, f"relative error {error:.2g}"
    if point == raised_at:
        return "raised", None, f"{type(seen.error).__name__}: {seen.error}"
    if point not in where:
        if any(name.startswith(f"{point}.") for name in absent):
            return "missing", None, "the net has neither a module nor parameters for it"
        return "not visible", None, "no module of the net begins or ends here"
    if seen.error:
        return "not reached", None, f"the net raised at {raised_at}"
    return "unused", None, f"the net has {where[point].removeprefix('>')!r} and never runs it"


def _relative_error(expected: Reading, found: Reading) -> float:
    """The largest departure of mean, deviation and samples, in standard deviations of the expected tensor."""
    gaps = [*abs(found.samples - expected.samples), abs(found.mean - expected.mean), abs(found.std - expected.std)]
    return math.inf if any(map(math.isnan, gaps)) else float(max(gaps)) / expected.std


def _first(rows: list[Row]) -> Row | None:
    """The first row that departs, or None.

    A part that is missing or unused departs if the next visible row does; else it only has another form here.
    """
    pending = None
    for row in rows:
        if row.status in ("missing", "unused"):
            pending = pending or row
        elif row.status in ("differs", "shape", "raised"):
            return pending or row
        elif row.status == "ok":
            pending = None
    return None
