"""What a net is made of and what each part costs, read off one pass of zeros: the tree behind the architecture view.

Imports nets and probing.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from netwright.nets.halo_fast import fast_halo_attention
from netwright.nets.halonet import halo_attention
from netwright.nets.zoo import ALL
from netwright.probing.capture import evaluating, hooked
from netwright.views.view import NotInThisNet

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)  # each weight is used once for each place of the output
# The one form of scaled_dot_product_attention that torch's own counter does not know.
FUSED_ON_A_CPU = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def _attention_operations(query, key, value, *_, out_shape=None, **__) -> int:
    """Twice the multiply-adds of query (…, queries, dim) by key (…, keys, dim), and of the weights by value."""
    *batch, queries, dim = query
    return 2 * math.prod(batch) * queries * key[-2] * (dim + value[-1])


class Run:
    """What one pass of zeros showed of every module: shapes, calls, and the multiply-adds of its own operators."""

    def __init__(self, net: nn.Module, shape: tuple[int, ...]):
        self.shape: dict[nn.Module, tuple[list | None, list | None]] = {}  # what went in, what came out
        self.calls: dict[nn.Module, int] = {}
        self.own: dict[nn.Module, int] = {}  # without those of the modules that it calls
        self.total = 0
        self.weighted = [0, 0]
        counter = FlopCounterMode(display=False, custom_mapping={FUSED_ON_A_CPU: _attention_operations})
        open_calls: list[list[int]] = []  # for each module that is running: count at its start, of its inner modules

        def count() -> int:
            return counter.get_total_flops() // 2  # torch counts a multiply-add as two operations

        def before(module, given):
            open_calls.append([count(), 0])

        def after(module, given, out):
            started, inner = open_calls.pop()
            inside = count() - started
            if open_calls:
                open_calls[-1][1] += inside
            self.own[module] = self.own.get(module, 0) + inside - inner
            self.calls[module] = self.calls.get(module, 0) + 1
            found = _tensor(out)
            self.shape.setdefault(module, (_sizes(_tensor(given)), _sizes(found)))  # of its first call
            if isinstance(module, WEIGHTED) and found is not None:
                self.weighted[0] += inside - inner
                channels = module.out_features if isinstance(module, nn.Linear) else module.out_channels
                self.weighted[1] += module.weight.numel() * (found.numel() // channels)

        weight = next(net.parameters(), torch.empty(0))
        zeros = torch.zeros(1, *shape, device=weight.device, dtype=weight.dtype)
        hooks = [lambda m=m: m.register_forward_pre_hook(before) for m in net.modules()]
        hooks += [lambda m=m: m.register_forward_hook(after) for m in net.modules()]
        with evaluating(net), readable_attention(net), hooked(hooks), torch.no_grad():
            try:
                with counter:
                    net(zeros)
            except Exception as error:
                raise NotInThisNet(
                    f"{type(net).__name__} does not take an input of {times(shape)} ({error}): give the architecture "
                    "view the size that it takes, input_size=(height, width) or (channels, height, width)."
                ) from error
        self.total = count()


@contextmanager
def readable_attention(net: nn.Module):
    """Attention in its readable form, of which every product is an operator of torch; then as it was."""
    fast = [module for module in net.modules() if getattr(module, "attend", None) is fast_halo_attention]
    for module in fast:
        module.attend = halo_attention
    try:
        yield
    finally:
        for module in fast:
            module.attend = fast_halo_attention


def input_shape(net: nn.Module, size) -> tuple[int, ...]:
    if size is None:
        config, card = getattr(net, "config", None), getattr(net, "default_cfg", None) or {}
        size = getattr(config, "input_size", None) or card.get("input_size")
        if size is None:
            raise NotInThisNet(
                f"A {type(net).__name__} does not say how large its input is: Architecture(net, input_size=224), or "
                "its shape without the batch, such as (3, 64, 64)."
            )
    size = (size, size) if isinstance(size, int) else tuple(size)
    if len(size) != 2:
        return size
    first = next((m for m in net.modules() if isinstance(m, nn.Conv2d)), None)
    return (first.in_channels if first else 3, *size)


# The tree -----------------------------------------------------------------------------------------------------------


def tree(net: nn.Module, run: Run, name: str) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    place_of: dict[int, str] = {}  # a tensor or module that stands in two places is counted at its first

    def add(name, label, what, kind, level, parent, **more) -> int:
        given = {"shape_in": None, "shape": None, "stride": None, "parameters": 0, "macs": 0, "runs": 0} | more
        parts.append(
            {"name": name, "label": label, "what": what, "kind": kind, "level": level, "parent": parent} | given
        )
        return len(parts) - 1

    def walk(module: nn.Module, name: str, label: str, level: int, parent: int | None) -> None:
        shape_in, shape = run.shape.get(module, (None, None))
        what = describe(module)
        shared = place_of.setdefault(id(module), name) != name
        if shared:
            what += f", the same as {place_of[id(module)]}"
        runs = run.calls.get(module, 0)
        me = add(name, label, what, "module", level, parent, shape_in=shape_in, shape=shape, runs=runs)
        if is_map(shape) and len(run.shape[net][0] or ()) == 3 and shape[-1] > 1:
            parts[me]["stride"] = run.shape[net][0][-1] / shape[-1]
        if shared:
            return
        own = run.own.get(module, 0)
        for child_name, child in children(module, name):
            walk(child, child_name, child_name[len(name) + 1 :] if name else child_name, level + 1, me)
        if own and level > 0 and not isinstance(module, WEIGHTED):
            add(name, "its own matrix products", _products(module), "products", level + 1, me, macs=own, runs=runs)
        for tensor_name, tensor in module.named_parameters(recurse=False):
            full = f"{name}.{tensor_name}" if name else tensor_name
            first = place_of.setdefault(id(tensor), full)
            count = tensor.numel() if first == full else 0
            what = "parameter" if count else f"the same as {first}"
            add(full, tensor_name, what, "parameter", level + 1, me, shape=list(tensor.shape), parameters=count,
                macs=own if isinstance(module, WEIGHTED) and tensor_name == "weight" else 0)  # fmt: skip
        for tensor_name, tensor in module.named_buffers(recurse=False):
            full = f"{name}.{tensor_name}" if name else tensor_name
            add(full, tensor_name, "buffer, not learnt", "buffer", level + 1, me, shape=list(tensor.shape))
        for part in parts[me + 1 :]:
            if part["parent"] == me:
                parts[me]["parameters"] += part["parameters"]
                parts[me]["macs"] += part["macs"]

    def children(module: nn.Module, name: str):
        """The parts of a module; a list of modules, which never runs itself, gives way to what is in it."""
        for child_name, child in module._modules.items():  # named_children would leave out what stands there twice
            full = f"{name}.{child_name}" if name else child_name
            if child is None or isinstance(child, nn.Identity):
                continue
            runs_inside = any(m in run.calls for m in child.modules())
            if child not in run.calls and runs_inside and not list(child.parameters(recurse=False)):
                yield from children(child, full)
            else:
                yield full, child

    walk(net, "", name, 1, None)
    return parts


# Words --------------------------------------------------------------------------------------------------------------


def name_of(net: nn.Module) -> str:
    """What a net is called: by its weights, its configuration, its card (timm), else by its class."""
    weights, config, card = (getattr(net, it, None) for it in ("weights", "config", "default_cfg"))
    if hasattr(weights, "architecture"):
        return weights.architecture
    known = next((name for name, it in ALL.items() if it == config), None)
    return known or (card or {}).get("architecture") or type(net).__name__


FACTS = {
    "heads": "{} heads",
    "block_size": "blocks of {}",
    "halo": "halo {}",
    "radix": "radix {}",
    "cardinality": "cardinality {}",
}


def describe(module: nn.Module) -> str:
    """A module in a few words: its class, and what sets it apart."""
    words = [type(module).__name__]
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        words[0] += f" {'×'.join(map(str, module.kernel_size))}"
        words += [f"stride {module.stride[0]}"] if max(module.stride) > 1 else []
        words += [f"dilation {module.dilation[0]}"] if max(module.dilation) > 1 else []
        words += [f"{module.groups} groups"] if module.groups > 1 else []
    elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        words[0] += f" {_one(module.kernel_size)}×{_one(module.kernel_size)}"
        words.append(f"stride {_one(module.stride)}")
    else:
        found = {it: getattr(module, it, None) for it in FACTS}
        words += [FACTS[it].format(value) for it, value in found.items() if isinstance(value, int)]
    return ", ".join(words)


def _products(module: nn.Module) -> str:
    return "query × key, query × position, weight × value" if hasattr(module, "height_table") else "matrix products"


def times(shape) -> str:
    """A shape as people write it: 3 × 224 × 224."""
    return " × ".join(map(str, shape)) or "one number"


def is_map(shape) -> bool:
    return shape is not None and len(shape) == 3


def _one(value) -> int:
    return value[0] if isinstance(value, tuple) else value


def _tensor(value) -> Tensor | None:
    """The first tensor of what a module takes or gives."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return next((found for it in value if (found := _tensor(it)) is not None), None)
    return value if isinstance(value, Tensor) else None


def _sizes(tensor: Tensor | None) -> list[int] | None:
    return None if tensor is None else list(tensor.shape[1:])
