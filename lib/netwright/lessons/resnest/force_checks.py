"""Exercise `resnest.force`: how it is judged. Imports the engine, nets and, of this room, force and whole."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from netwright.lessons.engine import Check
from netwright.lessons.resnest.force import Change, another_picture, batch_mean, even, force_gates
from netwright.lessons.resnest.whole import ResNeSt
from netwright.lessons.trying import fill
from netwright.nets.resnest import SplitAttention, radix_softmax

Force = Callable[[nn.Module, Tensor, Change], Tensor]


def _measure(force: Force) -> Iterator[tuple[str, Any]]:
    own_gates = SplitAttention.gates
    try:
        for (of, net, x), (_, other, _) in zip(_nets(), _nets(), strict=True):
            yield from _try_changes(force, net, x, of)
            yield "what another net of the same class answers after that", other.eval()(x).detach()
            for what, fed, change in (
                ("the function of gates raises", x, _raising_in_the_last_layer(net)),
                ("the net raises", torch.randn(1, 4, 17, 12), even),
            ):
                yield from _try_raising(force, net, fed, x, change, what)
    finally:
        SplitAttention.gates = own_gates  # should somebody have changed the class


def _nets() -> Iterator[tuple[str, nn.Module, Tensor]]:
    """Two small nets and what they are fed; the second stands inside another module. Parts of them are in another mode."""
    plain = ResNeSt((3,), (4,), stem_width=3, num_classes=5)  # layers of one shape: what is mixed up computes
    options = {"radix": 4, "cardinality": 2, "average_down": "before"}
    nested = nn.Sequential(nn.Identity(), ResNeSt((1, 1), (8, 16), stem_width=2, num_classes=3, **options))
    for of, net, training, odd in (
        ("of a net with radix 2", plain, True, "stages.0.0.reduce"),
        ("of a net with radix 4, inside another module,", nested, False, "1.stem"),
    ):
        fill(net)
        net.train(training).get_submodule(odd).train(not training)
        x = torch.randn(3, 3, 17, 12, generator=torch.Generator().manual_seed(0))
        yield of, net, x


def _try_changes(force: Force, net: nn.Module, x: Tensor, of: str) -> Iterator[tuple[str, Any]]:
    yield f"the logits {of} with every gate at 0.3", force(net, x, lambda gates: torch.full_like(gates, 0.3))
    yield "the list of modes of its modules after that (True is training)", _modes(net)
    yield "the list of its buffers after that", {name: buffer.clone() for name, buffer in net.named_buffers()}
    learning = sum(parameter.requires_grad for parameter in net.parameters())
    yield "the number of its parameters that can learn after that", learning if torch.is_grad_enabled() else 0
    yield f"the logits {of} with the gates as they are", force(net, x, lambda gates: gates)
    yield f"the logits {of} with the mean gates of the batch", force(net, x, batch_mean)
    yield f"the logits {of} with the gates of another picture", force(net, x, another_picture)
    yield "the input after that", x
    shapes = []

    def look(gates: Tensor) -> Tensor:
        shapes.append(tuple(gates.shape))
        return gates

    force(net, x, look)
    yield "the list of shapes that the function of gates was handed", tuple(shapes)


def _try_raising(
    force: Force, net: nn.Module, fed: Tensor, x: Tensor, change: Change, what: str
) -> Iterator[tuple[str, Any]]:
    fired = []
    handle = net.register_forward_hook(lambda *call: fired.append(1))  # somebody else's
    try:
        came = type(force(net, fed, change)).__name__
    except Exception as error:  # noqa: BLE001  whatever it raises is the answer
        came = type(error).__name__
    yield f"what comes out where {what}", came
    modes = _modes(net)
    yield f"the list of modes after {what} (True is training)", modes
    fired.clear()
    with torch.no_grad():
        yield f"what the net answers by itself after {what}", net.eval()(x)
    yield f"how often a hook that was there before fires after {what}", len(fired)
    hooks = (len(module._forward_hooks) + len(module._forward_pre_hooks) for module in net.modules())
    yield f"the number of hooks in the net after {what}", sum(hooks)
    handle.remove()
    for name, module in net.named_modules(prefix="net"):
        module.training = modes[name]


def _modes(net: nn.Module) -> dict[str, bool]:
    """Module -> whether it is in training mode."""
    return {name: module.training for name, module in net.named_modules(prefix="net")}


def _raising_in_the_last_layer(net: nn.Module) -> Change:
    layers, calls = sum(isinstance(module, SplitAttention) for module in net.modules()), []

    def change(gates: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) == layers:
            raise ZeroDivisionError
        return torch.zeros_like(gates)

    return change


# Known mistakes ------------------------------------------------------------------------------------------------


def _force(
    *,
    choose: Callable[[nn.Module], list] = lambda net: [m for m in net.modules() if isinstance(m, SplitAttention)],
    restore_always: bool = True,
    restore: bool = True,
    late: bool = False,
    evaluate: bool = True,
    modes: Callable[[nn.Module, dict], None] | None = None,
    swallow: bool = False,
    before_softmax: bool = False,
    clear_hooks: bool = False,
) -> Callable:
    """`force_gates` with one thing wrong in it."""

    def changed(layer, change):
        if before_softmax:
            return lambda pooled: radix_softmax(
                change(layer.fc2(layer.act(layer.fc_norm(layer.fc1(pooled)))).flatten(1).unflatten(1, (layer.radix, -1)))
                .flatten(1), layer.radix, layer.cardinality,
            )  # fmt: skip
        own = layer.gates
        return lambda pooled: change(own(pooled))

    def give_back(net, layers, before):
        for layer in layers if restore else ():
            vars(layer).pop("gates", None)
        if clear_hooks:
            for module in net.modules():
                module._forward_hooks.clear()
        if modes:
            modes(net, before)
            return
        for module, training in before.items():
            module.training = training

    def wrong(net, x, change):
        before, layers = {module: module.training for module in net.modules()}, choose(net)
        if evaluate:
            net.eval()
        own = {layer: type(layer).gates.__get__(layer) for layer in layers}
        for layer in layers:
            layer.gates = (lambda pooled: change(own[layer](pooled))) if late else changed(layer, change)  # noqa: B023
        try:
            with torch.no_grad():
                logits = net(x)
        except Exception:
            if restore_always:
                give_back(net, layers, before)
            if swallow:
                return None
            raise
        give_back(net, layers, before)
        return logits

    return wrong


def _root_mode(net: nn.Module, before: dict) -> None:
    net.train(before[net])


CHECKS = (
    Check(
        id="resnest.force",
        minutes=10,
        difficulty="hard",
        ours=force_gates,
        measure=_measure,
        mistakes={
            "that leaves the forced gates in the net": _force(restore=False),
            "that gives nothing back where something raises": _force(restore_always=False),
            "whose layers all get the gates of the last, since they look the name up too late": _force(late=True),
            "that forces the first layer only": _force(
                choose=lambda net: [m for m in net.modules() if isinstance(m, SplitAttention)][:1]
            ),
            "that looks for split attention in the net's own children only": _force(
                choose=lambda net: [m for m in net.children() if isinstance(m, SplitAttention)]
            ),
            "that changes the numbers before the softmax, not the gates": _force(before_softmax=True),
            "that leaves the net in evaluation mode": _force(modes=lambda net, before: None),
            "that leaves the net in training mode, whatever it was in": _force(modes=lambda net, before: net.train()),
            "that puts the whole net into the mode of its outermost module": _force(modes=_root_mode),
            "that runs in the mode the net is in, and so moves its statistics": _force(evaluate=False),
            "that swallows the exception": _force(swallow=True),
            "that takes out everybody's hooks": _force(clear_hooks=True),
        },
        hints=(
            (
                "A layer calls self.gates(pooled). Python looks for gates on the object before it looks in the class: "
                "what happens if you put a function of your own there?"
            ),
            (
                "Remember module.training of every module, then net.eval(). For every SplitAttention in net.modules() set "
                "layer.gates to a function that calls the layer's own gates and then change. Undo all of it in a finally."
            ),
            (
                "Make the new function in a helper that takes the layer, own = layer.gates; return lambda pooled: "
                "change(own(pooled)), or every layer uses the last one's. In finally: del layer.gates (or "
                "vars(layer).pop('gates', None)), and module.training = what it was."
            ),
        ),
    ),
)
