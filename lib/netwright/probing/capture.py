"""What one picture does inside a net, and what the net would answer if something inside were different.

Imports twin, inference, models and transforms.
"""

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Self

import torch
from PIL import Image
from torch import Tensor, nn

from netwright.inference import Optimized
from netwright.models import class_names, preprocessing_of, transform_for
from netwright.probing.twin import random_twin, turned
from netwright.transforms import Transform

Edit = Callable[[Tensor, Tensor], Tensor]  # (what the module puts out, what went into it) -> what it is to put out
HEAD = "head"  # the step after the last map: mean over space, then the classifier


class ProbeError(ValueError):
    """Something that cannot be seen in this net; the message names it and what can be seen."""


def probe(net: nn.Module, image, *, transform: Transform | None = None) -> "Probe":
    """Look into `net` while it looks at `image`: ``with nw.probe(net, image) as p: p["stages.2.1"]``.

    image: a path, URL, PIL image, array or tensor (3, height, width) as for `classify`, which goes through
    `transform` (default: that of the net's weights); or a ready input (1, channels, height, width), taken as it is.
    Works with the taught nets, nets that name their parts as these do, and any other module that takes a picture.
    Raises what opening a picture raises, ValueError for a net that does not say what its pictures look like, and
    ProbeError for an input that the net does not take, for logits that are not finite, and for what `nw.optimize` made.
    """
    return Probe(net, image, transform=transform)


class Probe:
    """One picture in one net. Made by `probe`; views and notebooks read it.

    net: left as it was, with its mode, its weights and no hook, after every method and at the end of a ``with``.
    input: (1, channels, height, width), what the net received. logits: (classes,), or None for a net that answers with
    something else, such as an embedding. steps: the parts that follow one another ("stem", "stages.0.0", …,
    "final_conv", "head"), of which the inputs are kept, so that a change inside one of them runs only what comes after;
    empty for a net without logits or of another make, which is always run whole.
    """

    def __init__(self, net: nn.Module, image, *, transform: Transform | None = None):
        if isinstance(net, Optimized):
            raise ProbeError(
                "This net was made by nw.optimize: its layers are folded into one another and it keeps no gradients, "
                "so there is little to see. Probe the net that it was made from, which answers the same to rounding."
            )
        self.net = net
        weight = next(net.parameters(), torch.empty(0))
        if weight.dtype in (torch.float16, torch.bfloat16):
            raise ProbeError(
                f"This {type(net).__name__} computes in {weight.dtype}, of which three digits hold, and what a view "
                "shows is checked to four: probe net.float(), or a copy of it."
            )
        if isinstance(image, Tensor) and image.ndim == 4:
            if len(image) != 1:
                raise ValueError(f"A probe looks at one picture, and this batch holds {len(image)}: give batch[:1].")
            self._transform, ready = transform, image
        else:
            self._transform = transform or transform_for(net)
            ready = self._transform(image).unsqueeze(0)
        self.input = ready.detach().to(weight.device, weight.dtype)
        self._seen: dict[str, Tensor] = {}  # place -> what was there
        self._inputs: dict[str, Tensor] = {}  # step -> what went into it
        self.steps: tuple[str, ...] = ()

        with evaluating(net), torch.no_grad():
            try:
                answer = net(self.input)
            except RuntimeError as error:
                raise ProbeError(
                    f"{type(net).__name__} does not take an input of shape {tuple(self.input.shape)} ({error}): give "
                    "the probe a ready input of the shape that it takes, (1, channels, height, width)."
                ) from error
            classifies = isinstance(answer, Tensor) and answer.ndim == 2 and getattr(net, "num_classes", None) != 0
            self.logits = answer[0] if classifies else None
            if classifies and not self.logits.isfinite().all():
                raise ProbeError(_where_not_finite(net, self.input))
            self._keep_steps()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        """Nothing is left to give back: every pass gives back its own hooks. What was captured stays readable."""

    def _keep_steps(self) -> None:
        """Run the net step by step, if it is made like ours, and believe it only if the same logits come out."""
        steps = _steps(self.net)
        if not steps or self.logits is None:
            return
        x = self.input
        for step in steps:
            self._inputs[step] = x.clone()  # a reader's block may write into its input
            x = self._run_step(step, x)
        if x.shape == (1, *self.logits.shape) and torch.allclose(x[0], self.logits, rtol=1e-4, atol=1e-5):
            self.steps = steps
        else:
            self._inputs.clear()

    def _run_step(self, step: str, x: Tensor) -> Tensor:
        if step == HEAD:
            return self.net.classifier(x.mean((2, 3)))
        return self.net.get_submodule(step)(x)

    # What was seen ------------------------------------------------------------------------------------------------

    @cached_property
    def transform(self) -> Transform:
        """How a picture becomes an input of this net."""
        return self._transform or Transform(preprocessing_of(self.net))

    @cached_property
    def picture(self) -> Image.Image:
        """The picture as the net received it: resized and cut, its colours put back (8 bits).

        Of a net that does not say how colours become its input, or takes other channels than three: the mean of the
        channels in grey, from its least value to its largest.
        """
        try:
            return self.transform.inverse(self.input[0])
        except ValueError:
            grey = self.input[0].float().mean(0).nan_to_num()
            grey = (grey - grey.min()) / (grey.max() - grey.min()).clamp(min=1e-12)
            return Image.fromarray((grey * 255).round().byte().cpu().numpy()).convert("RGB")

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """A name for each logit."""
        return class_names(self.net, len(self.logits))

    @property
    def probabilities(self) -> Tensor:
        """(classes,): the softmax of the logits."""
        return self.logits.float().softmax(0)

    def top(self, k: int = 5) -> list[int]:
        """The `k` likeliest classes, likeliest first."""
        return self.logits.float().topk(min(k, len(self.logits))).indices.tolist()

    def target(self, which: int | str | None = None) -> int:
        """The number of a class: None is the likeliest, a name or a number is that one. Raises ProbeError."""
        if self.logits is None:
            raise ProbeError(f"{type(self.net).__name__} gives no logits, so there is no class to explain.")
        if which is None:
            return self.top(1)[0]
        if isinstance(which, str):
            if which not in self.class_names:
                raise ProbeError(
                    f"No class is called {which!r}; the likeliest here are {', '.join(self._top_names())}."
                )
            return self.class_names.index(which)
        if not 0 <= which < len(self.logits):
            raise ProbeError(f"There is no class {which}: this net has {len(self.logits)}, counted from 0.")
        return int(which)

    def _top_names(self) -> list[str]:
        return [self.class_names[i] for i in self.top(3)]

    def __getitem__(self, place: str) -> Tensor:
        """What the module `place` ("stages.2.1.middle") put out, or with ">" before its name what went into it.

        On the net's device, without history; in the shape that the module gives it, (1, channels, height, width) for a
        map. A copy: later layers that write in place do not reach it; of a module that runs more than once, from its
        last time. Raises ProbeError.
        """
        if place not in self._seen:
            if place.startswith(">") and place[1:] in self._inputs:
                self._seen[place] = self._inputs[place[1:]]
            else:
                self.look((place,))
        return self._seen[place]

    def look(self, places) -> dict[str, Tensor]:
        """What is at several `places`, in one pass through the part of the net that holds them; as `probe[place]`."""
        missing = [place for place in places if place not in self._seen]
        if missing:
            found: dict[str, Tensor] = {}

            def keep(place: str, tensor) -> None:
                if isinstance(tensor, Tensor):
                    found[place] = tensor.detach().clone()

            hooks = [self._hook(place, keep) for place in missing]
            with evaluating(self.net), hooked(hooks), torch.no_grad():
                self._forward_over([place.removeprefix(">") for place in missing])
            for place in missing:
                if place not in found:
                    raise ProbeError(f"{place!r} holds no tensor: it is never run with this picture, or gives several.")
            self._seen |= found
        return {place: self._seen[place] for place in places}

    def _module(self, place: str) -> nn.Module:
        name = place.removeprefix(">")
        try:
            return self.net.get_submodule(name)
        except AttributeError:
            known = ", ".join(name for name, _ in list(self.net.named_children())[:8])
            raise ProbeError(
                f"{type(self.net).__name__} has no part {name!r}. Its parts begin with {known}; "
                "net.named_modules() lists them all."
            ) from None

    def _hook(self, place: str, keep: Callable[[str, Tensor], None]):
        module = self._module(place)
        if place.startswith(">"):
            return lambda: module.register_forward_pre_hook(lambda _, given: keep(place, given[0]))
        return lambda: module.register_forward_hook(lambda _, given, out: keep(place, out))

    def step_of(self, place: str) -> str | None:
        """The step that holds the module `place`, or None where the net is run whole."""
        name = place.removeprefix(">")
        if name == "classifier":
            return HEAD if self.steps else None
        return next((step for step in self.steps if name == step or name.startswith(f"{step}.")), None)

    def _forward_over(self, names: list[str]) -> None:
        """Run what holds all of `names`, and no more than needed."""
        held = [self.step_of(name) for name in names]
        if None in held:  # a net of another make, or a part that spans several steps, such as a stage
            self.net(self.input)
            return
        for step in dict.fromkeys(held):
            self._run_step(step, self._inputs[step])

    # What would be, if ---------------------------------------------------------------------------------------------

    def rerun(self, edits: Mapping[str, Edit], *, copies: int = 1, grad: bool = False) -> Tensor:
        """Logits (copies, classes) of the same picture, with the outputs of some modules replaced by `edits`.

        edits: place -> function of (output, input) of the module there, both with `copies` pictures, that returns
        what it is to put out instead, in the same shape; each copy may be changed differently, so that many knock-outs
        cost one pass. Only the steps from the first edited one on are run. grad: keep the history for autograd.
        Raises ProbeError for a place that is not there or is never run.
        """
        steps = [self.step_of(place) for place in edits]
        done = set()

        def register(place: str, edit: Edit):
            module = self._module(place)

            def replace(_, given, out):
                done.add(place)
                return edit(out, given[0])

            return lambda: module.register_forward_hook(replace)

        hooks = [register(place, edit) for place, edit in edits.items()]
        with evaluating(self.net), hooked(hooks), torch.set_grad_enabled(grad):
            if None in steps or not steps:
                logits = self.net(self.input.expand(copies, -1, -1, -1))
            else:
                start = min(self.steps.index(step) for step in steps)
                logits = self._tail(start, self._inputs[self.steps[start]].expand(copies, -1, -1, -1))
        if unused := set(edits) - done:
            raise ProbeError(f"{', '.join(sorted(unused))}: never run with this picture, so nothing was changed there.")
        return logits

    def resume(self, place: str, x: Tensor, *, grad: bool = False) -> Tensor:
        """Logits (n, classes) if maps `x` (n, channels, height, width) went into the step `place` instead of its own.

        Raises ProbeError for a place that is no step.
        """
        if place not in self.steps:
            raise ProbeError(
                f"The net cannot be taken up at {place!r}; its steps are {', '.join(self.steps) or 'unknown'}."
            )
        with evaluating(self.net), torch.set_grad_enabled(grad):
            return self._tail(self.steps.index(place), x)

    def answer(self, inputs: Tensor) -> Tensor:
        """Logits (n, classes) of other inputs (n, channels, height, width), such as this one with a part removed."""
        with evaluating(self.net), torch.no_grad():
            return self.net(inputs.to(self.input))

    def _tail(self, start: int, x: Tensor) -> Tensor:
        for step in self.steps[start:]:
            x = self._run_step(step, x)
        return x

    def gradient(self, place: str, score: Callable[[Tensor], Tensor] | int) -> Tensor:
        """The derivative of a score with respect to what is at `place` ("input" for the picture), in its shape.

        score: a class, for its logit; or a function of the logits (1, classes) to a number. Of a module that runs more
        than once, the last time is meant, as it is in what `probe[place]` holds.
        """
        pick = score if callable(score) else (lambda logits: logits[0, score])
        if place == "input":
            with evaluating(self.net), torch.enable_grad():
                leaf = self.input.clone().requires_grad_()
                return torch.autograd.grad(pick(self.net(leaf)), leaf)[0]
        leaves = []

        def through_leaf(out: Tensor, _) -> Tensor:
            leaves.append(out.detach().clone().requires_grad_())
            return leaves[-1] * 1  # what follows may write in place, which a leaf does not allow

        value = pick(self.rerun({place: through_leaf}, grad=True))
        return torch.autograd.grad(value, leaves[-1])[0]

    # Others to compare with ---------------------------------------------------------------------------------------

    def twin(self, seed: int = 0, others: Tensor | None = None) -> "Probe":
        """The same picture in a net of the same make with random weights: what the make alone does (Adebayo 2018).

        Every part is initialised anew from `seed`, and its normalisations are measured on this picture, turned and
        mirrored. others: inputs (n, channels, height, width) on which they are measured too, for a twin that is to be
        shown more than one picture.
        """
        views = turned(self.input)
        if others is not None:
            views = torch.cat([self.input, others.to(self.input)])
        return Probe(random_twin(self.net, views, seed), self.input, transform=self._transform)


def _steps(net: nn.Module) -> tuple[str, ...]:
    """The steps of a net made like ours: stem, stages of blocks, perhaps final_conv, classifier. Else nothing."""
    parts = dict(net.named_children())
    stages = parts.get("stages")
    if not {"stem", "classifier"} <= set(parts) or not isinstance(stages, nn.ModuleList | nn.Sequential):
        return ()
    blocks = tuple(
        f"stages.{i}.{j}"
        for i, stage in stages.named_children()
        for j, _ in stage.named_children()
        if isinstance(stage, nn.Sequential | nn.ModuleList)
    )
    final = ("final_conv",) if not isinstance(parts.get("final_conv"), nn.Identity | None) else ()
    return ("stem", *blocks, *final, HEAD)


def _where_not_finite(net: nn.Module, x: Tensor) -> str:
    """A sentence that names the first part which puts out NaN or an infinity; the logits hold some."""
    if not x.isfinite().all():
        return "The probe's input holds NaN or infinities, and so do the logits: look at how the input is made."
    found: list[str] = []

    def looking(name: str, module: nn.Module):
        def look(_, given, out):
            if isinstance(out, Tensor) and not out.isfinite().all():
                found.append(name or "the net itself")

        return lambda: module.register_forward_hook(look)

    with hooked([looking(name, module) for name, module in net.named_modules()]):
        net(x)
    return (
        f"The logits of this {type(net).__name__} are not all finite (NaN or infinity), so nothing can be said of "
        f"them. The first part that puts such numbers out is {found[0]!r}: look at its weights and at what goes in."
    )


@contextmanager
def evaluating(net: nn.Module):
    """`net` in evaluation mode, and every part of it back in its own afterwards: a net may be frozen in part."""
    training = [module for module in net.modules() if module.training]
    net.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def hooked(registering: list[Callable]):
    """Hooks that exist only inside of the ``with``; each entry registers one and returns its handle."""
    handles = []
    try:
        for register in registering:
            handles.append(register())
        yield
    finally:
        for handle in handles:
            handle.remove()


def hooks_in(net: nn.Module) -> int:
    """How many forward and backward hooks are in `net`."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in net.modules() for kind in kinds)
