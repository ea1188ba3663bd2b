"""Weights into a net, strictly: every tensor has its place and its shape, or one table says what does not fit.
May import read and keymaps; takes any torch module, so it imports no net."""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from netwright.weights.keymaps import Layout, to_netwright
from netwright.weights.read import CheckpointError, read_checkpoint

FIRST_CONVOLUTION = "stem.0.conv.weight"
CLASSIFIER = "classifier."
ROWS = 8  # of each kind, in the table of an error


@dataclass(frozen=True)
class Loaded:
    """What was done beyond copying equal names and shapes: all empty for a file that fits as it is."""

    counters_filled: int = 0  # num_batches_tracked that the file did not have; 0 is filled in
    left_out: tuple[str, ...] = ()  # the file's classifier, where the net keeps its own
    adapted: tuple[str, ...] = ()  # the first convolution, made to fit another number of input channels
    converted: tuple[str, ...] = ()  # tensors of another precision than the net's


class CheckpointMismatch(CheckpointError):
    """The weights do not fit the net; `missing`, `unexpected` and `misfits` name every entry, the message the first."""

    def __init__(self, message: str, missing: list[str], unexpected: list[str], misfits: list[str]):
        super().__init__(message)
        self.missing, self.unexpected, self.misfits = missing, unexpected, misfits


def load_into(
    net: nn.Module,
    weights: str | os.PathLike | Mapping[str, Tensor],
    *,
    layout: str | Layout | None = None,
    new_classifier: bool = False,
    new_input: bool = False,
    mmap: bool = True,
    source: str = "",
) -> Loaded:
    """Load `weights` into `net`: a checkpoint file, whatever its container, or a state dict; with any publisher's names.

    A net that was built on the meta device (`with torch.device("meta")`) has no memory of its own: it takes the
    tensors as they are, on the CPU, and nothing is held twice. Any other net gets a copy and stays where it is.
    Options as in `load_state`, `layout` as in `keymaps.to_netwright`, `mmap` as in `read.read_checkpoint`; `source`,
    the name that a message uses, is the file's unless it is given.
    Raises CheckpointError if the file cannot be read, CheckpointMismatch if it does not fit.
    """
    if not isinstance(weights, Mapping):
        weights, source = read_checkpoint(weights, mmap=mmap), source or str(weights)
    state = to_netwright(weights, layout)
    assign = any(tensor.is_meta for tensor in net.state_dict().values())
    loaded = load_state(net, state, assign=assign, new_classifier=new_classifier, new_input=new_input, source=source)
    for name, module in net.named_modules():  # what the weights had nothing for still needs memory and random numbers
        if any(tensor.is_meta for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False))):
            if not f"{name}.".startswith(CLASSIFIER):
                raise CheckpointError(f"{name} keeps numbers that no file holds: do not build this net on meta.")
            module.to_empty(device="cpu").reset_parameters()
    return loaded


def load_state(
    net: nn.Module,
    state: Mapping[str, Tensor],
    *,
    assign: bool = False,
    new_classifier: bool = False,
    new_input: bool = False,
    source: str = "",
) -> Loaded:
    """Give `net` the weights of `state`, which has our names (see `keymaps.to_netwright`).

    Only the counters `*.num_batches_tracked` may be missing; they become 0. Numbers of another precision become the
    net's. assign: the net takes the tensors themselves instead of a copy. new_classifier: where the file's classifier
    does not fit, leave it out and let the net keep its own. new_input: where the first convolution sees another number
    of channels, adapt it (see `adapt_input`). source: the file's name, for the message.

    Raises CheckpointMismatch, before anything has been changed, listing all that is missing, unexpected or misshapen.
    """
    wanted = net.state_dict()
    state = dict(state)
    counters = [name for name in wanted if name.endswith(".num_batches_tracked") and name not in state]
    left_out, adapted, converted = [], [], []

    if new_classifier:
        named = {name for name in (*state, *wanted) if name.startswith(CLASSIFIER)}
        if any(_misfit(state.get(name), wanted.get(name)) for name in named):
            left_out = sorted(named & set(state))
            state |= {name: wanted[name] for name in named & set(wanted)}
            state = {name: tensor for name, tensor in state.items() if name not in named or name in wanted}
    if new_input and FIRST_CONVOLUTION in state and FIRST_CONVOLUTION in wanted:
        weight, in_chans = state[FIRST_CONVOLUTION], wanted[FIRST_CONVOLUTION].shape[1]
        if weight.ndim == 4 and weight.shape[1] != in_chans:
            state[FIRST_CONVOLUTION] = adapt_input(weight, in_chans)
            adapted = [FIRST_CONVOLUTION]
    state |= {name: torch.zeros((), dtype=torch.long) for name in counters}

    _check(state, wanted, source)
    for name, target in wanted.items():
        if state[name].dtype != target.dtype:
            converted.append(name)
        state[name] = state[name].to(target.dtype).contiguous()
    net.load_state_dict(state, strict=True, assign=assign)
    return Loaded(len(counters), tuple(left_out), tuple(adapted), tuple(converted))


def adapt_input(weight: Tensor, in_chans: int) -> Tensor:
    """The first convolution (out, channels, height, width) for pictures of `in_chans` channels, as timm does it.

    One channel: the sum over the colours, so that a grey picture gives what its three equal colours gave. More: the
    colours repeated in turn and scaled by channels / in_chans, so that the response keeps its size.
    """
    channels = weight.shape[1]
    if in_chans == 1:
        return weight.sum(dim=1, keepdim=True)
    turns = -(-in_chans // channels)
    return weight.repeat(1, turns, 1, 1)[:, :in_chans] * (channels / in_chans)


# --- the table -------------------------------------------------------------------------------------------------------


def _misfit(tensor: Tensor | None, target: Tensor | None) -> bool:
    if tensor is None or target is None:
        return True
    return tensor.shape != target.shape or tensor.is_floating_point() != target.is_floating_point()


def _check(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str) -> None:
    missing = [name for name in wanted if name not in state]
    unexpected = [name for name in state if name not in wanted]
    misfits = [name for name in wanted if name in state and _misfit(state[name], wanted[name])]
    if not (missing or unexpected or misfits):
        return
    rows = []
    rows += _rows("missing", missing, lambda name: _nearest(name, wanted[name], unexpected, state))
    rows += _rows("unexpected", unexpected, lambda name: _nearest(name, state[name], missing, wanted))
    rows += _rows("misfit", misfits, lambda name: f"net {_form(wanted[name])}, file {_form(state[name])}")
    hints = []
    if any(name.startswith(CLASSIFIER) for name in (*missing, *unexpected, *misfits)):
        hints.append("For another number of classes, pass new_classifier=True.")
    if FIRST_CONVOLUTION in misfits:
        hints.append("For another number of input channels, pass new_input=True.")
    counts = f"{len(missing)} missing, {len(unexpected)} unexpected, {len(misfits)} of another shape or type"
    start = f"The weights{' in ' + source if source else ''} do not fit this net: {counts}, of {len(wanted)}."
    raise CheckpointMismatch("\n".join([start, *rows, *hints]), missing, unexpected, misfits)


def _rows(kind: str, names: list[str], describe) -> list[str]:
    width = max((len(name) for name in names[:ROWS]), default=0)
    rows = [f"  {kind:<10}  {name:<{width}}  {describe(name)}".rstrip() for name in names[:ROWS]]
    return rows + [f"  {kind:<10}  … and {len(names) - ROWS} more"] * (len(names) > ROWS)


def _form(tensor: Tensor) -> str:
    kind = "" if tensor.is_floating_point() else f" {str(tensor.dtype).removeprefix('torch.')}"
    return f"{tuple(tensor.shape)}{kind}"


def _nearest(name: str, tensor: Tensor, others: list[str], where: Mapping[str, Tensor]) -> str:
    """The shape of what has no partner, and the likeliest one: of the same shape, with the most similar name."""
    same_shape = [other for other in others if where[other].shape == tensor.shape]
    close = difflib.get_close_matches(name, same_shape, n=1, cutoff=0.4)
    return f"{_form(tensor)}{f'; perhaps {close[0]}' if close else ''}"
