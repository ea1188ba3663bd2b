"""How each parameter is trained: groups for weight decay and layer-wise rates, and LAMB; SGD and AdamW are torch's.

Imports torch.
"""

import inspect
from collections.abc import Iterable
from itertools import accumulate

import torch
from torch import Tensor, nn

EXEMPTIONS = ("vectors", "tables")
TABLES = ("height_table", "width_table")  # the relative positions of attention: two-dimensional, but no projection


def layer_numbers(net: nn.Module) -> dict[str, int]:
    """How deep each parameter of a `ResidualNet` lies, by name: 0 for the stem, then one number a block.

    A final convolution counts with the last block, the classifier is one above. So timm groups these nets.
    """
    starts = list(accumulate((len(stage) for stage in net.stages), initial=1))  # of each stage, in blocks
    last_block = starts[-1] - 1

    def layer(name: str) -> int:
        match name.split("."):
            case ["stem", *_]:
                return 0
            case ["stages", stage, block, *_]:
                return starts[int(stage)] + int(block)
            case ["final_conv", *_]:
                return last_block
            case ["classifier", *_]:
                return last_block + 1
        raise ValueError(f"{name} is no parameter of a netwright net: its groups are stem, stages, classifier.")

    return {name: layer(name) for name, _ in net.named_parameters()}


def param_groups(
    net: nn.Module, weight_decay: float, *, exempt: Iterable[str] = EXEMPTIONS, layer_decay: float | None = None
) -> list[dict]:
    """Parameter groups for any optimiser: what is trained, with which weight decay and which share of the rate.

    Weight decay pulls weights to zero, which regularises a projection; for the scale of a normalisation or a
    position zero means nothing of the kind. `exempt` names what is spared: "vectors" (scales, shifts, biases: all of
    one dimension), "tables" (relative positions). `layer_decay` below 1 makes earlier layers learn more slowly: each
    group has `lr_scale`, layer_decay ** (layers above it), which `Schedule.apply` multiplies the rate by.
    Frozen parameters (requires_grad False) are in no group. Raises ValueError where nothing is left to train.
    """
    if unknown := set(exempt) - set(EXEMPTIONS):
        raise ValueError(f"Weight decay can spare {', '.join(EXEMPTIONS)}; {sorted(unknown)} is unknown.")
    layers = layer_numbers(net)
    top = max(layers.values())
    groups: dict[tuple, dict] = {}
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        spared = ("vectors" in exempt and parameter.ndim <= 1) or ("tables" in exempt and name.endswith(TABLES))
        layer = None if layer_decay is None else layers[name]
        group = groups.setdefault(
            (layer, spared),
            {
                "params": [],
                "name": f"{'all layers' if layer is None else f'layer {layer}'}, {'no decay' if spared else 'decay'}",
                "weight_decay": 0.0 if spared else weight_decay,
                "lr_scale": 1.0 if layer is None else layer_decay ** (top - layer),
            },
        )
        group["params"].append(parameter)
    if not groups:
        raise ValueError("Every parameter of this net is frozen, so there is nothing to train. Thaw some of it.")
    return list(groups.values())


class Lamb(torch.optim.Optimizer):
    """LAMB (You et al. 2020, arXiv:1904.00962, algorithm 2): Adam, its step rescaled layer by layer.

    Adam makes steps of one size for all parameters. In large batches that is too much for some layers; LAMB
    multiplies the step of a tensor by |weights| / |step|, so that every layer moves by the same share of itself.

    As in timm's Lamb, with which the A1 nets were trained, and unlike the paper: the gradient of the whole net is
    first clipped to the norm `max_grad_norm` (None: not), and tensors without weight decay keep Adam's plain step.
    Groups may set their own lr and weight_decay.
    """

    def __init__(
        self,
        params,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        max_grad_norm: float | None = 1.0,
    ):
        for name, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            if not value >= 0:
                raise ValueError(f"{name}={value} makes no step of LAMB: choose a number from 0 up.")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas={betas} are shares of a running mean: choose numbers from 0 to below 1.")
        self.max_grad_norm = max_grad_norm
        super().__init__(params, {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "step": 0})

    @torch.no_grad()
    def step(self, closure=None):
        """One update; returns what `closure` does, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        if gradients:
            shrink = None
            if self.max_grad_norm is not None:
                norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
                shrink = (norm / self.max_grad_norm).clamp(min=1.0)
            for group in self.param_groups:
                self._step(group, shrink)
        return loss

    def _step(self, group: dict, shrink: Tensor | None) -> None:
        group["step"] += 1
        weights = [p for p in group["params"] if p.grad is not None]
        for p in weights:
            if not self.state[p]:
                self.state[p] = {"mean": torch.zeros_like(p), "mean_square": torch.zeros_like(p)}
        for some in self._portions(weights):
            self._move(some, group, shrink)

    @staticmethod
    def _portions(weights: list[Tensor]) -> list[list[Tensor]]:
        """On a GPU everything at once, so that each line of `_move` is one launch instead of hundreds.

        On a CPU tensor by tensor: what one line has written is still in the cache for the next.
        """
        return [weights] if weights and weights[0].is_cuda else [[p] for p in weights]

    def _move(self, weights: list[Tensor], group: dict, shrink: Tensor | None) -> None:
        means = [self.state[p]["mean"] for p in weights]
        mean_squares = [self.state[p]["mean_square"] for p in weights]
        gradients = [p.grad for p in weights]  # they stay as they are: the caller may want to look at them
        if shrink is not None:
            gradients = torch._foreach_div(gradients, shrink)

        beta1, beta2 = group["betas"]
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(mean_squares, beta2)
        torch._foreach_addcmul_(mean_squares, gradients, gradients, value=1 - beta2)

        # Both running means start at zero; dividing by these undoes the bias of the first steps.
        root = torch._foreach_sqrt(mean_squares)
        torch._foreach_div_(root, (1 - beta2 ** group["step"]) ** 0.5)
        torch._foreach_add_(root, group["eps"])
        steps = torch._foreach_div(means, 1 - beta1 ** group["step"])
        torch._foreach_div_(steps, root)

        if group["weight_decay"] != 0:
            torch._foreach_add_(steps, weights, alpha=group["weight_decay"])
            weight_norms = torch.stack(torch._foreach_norm(weights))
            step_norms = torch.stack(torch._foreach_norm(steps))
            # Where either is zero the ratio says nothing, and the step is Adam's.
            trust = torch.where((weight_norms > 0) & (step_norms > 0), weight_norms / step_norms, 1.0)
            torch._foreach_mul_(steps, trust.unbind())
        torch._foreach_add_(weights, steps, alpha=-group["lr"])


OPTIMISERS = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW, "lamb": Lamb}


def make_optimiser(name: str, groups: list[dict], lr: float, **options) -> torch.optim.Optimizer:
    """The optimiser called `name` ("sgd", "adamw", "lamb") over `groups`, which bring their own weight decay.

    options: momentum and nesterov for SGD, betas and eps for the others; one that is None keeps its default.
    """
    if name not in OPTIMISERS:
        raise ValueError(f"No optimiser is called {name!r}: choose one of {', '.join(OPTIMISERS)}.")
    given = {key: value for key, value in options.items() if value is not None}
    if foreign := sorted(set(given) - set(inspect.signature(OPTIMISERS[name].__init__).parameters)):
        unset = " ".join(f"--set optimiser.{key}=" for key in foreign)
        raise ValueError(f"The optimiser {name} has no {' and no '.join(foreign)}. Leave it out: {unset}")
    return OPTIMISERS[name](groups, lr=lr, **given)
