"""Maps of what mattered to an answer, each the published formula and nothing else: no smoothing, no rescaling.

Every function takes (probe, target) and returns an array in the map's own resolution: (height, width) in pixels of the
input, or (rows, columns) in cells; `removal.enlarge` makes pixels of cells. target: a class, its name, or None for the
likeliest. All raise ProbeError where the net lacks what they read.

There is no Guided Backpropagation here: with random weights it draws almost the same picture (Adebayo et al. 2018,
"Sanity checks for saliency maps", section 4), because it restores the edges of the input whatever the net has learnt
(Nie et al. 2018). `methods.edges` is that picture at an honest price.
Imports removal and probing.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netwright.explain.removal import answered, batch_for, channels_last, filled
from netwright.probing.capture import HEAD, Probe, ProbeError, evaluating

Target = int | str | None


# From the maps inside ------------------------------------------------------------------------------------------------


def class_map(probe: Probe, target: Target = None) -> np.ndarray:
    """What each cell of the last map gives to the logit: signed, in logits, (rows, columns). Exact.

    Mean pooling and a linear classifier make logit = bias + sum over cells of the map (Zhou et al. 2016, "Learning deep
    features for discriminative localization", equation 2). Needs a net that ends so.
    """
    if not probe.steps or not isinstance(probe.net.classifier, nn.Linear):
        raise ProbeError(
            f"A class map needs a net that ends in a mean over space and one linear classifier, and has its parts "
            f"named as ours: {type(probe.net).__name__} has not. Gradients and occlusion work for any net."
        )
    last = probe[f">{HEAD}"][0]  # (channels, rows, columns)
    weight = probe.net.classifier.weight[probe.target(target)].detach()
    return to_array(torch.einsum("k,krc->rc", weight, last) / last[0].numel())


def grad_cam(probe: Probe, target: Target = None, *, place: str | None = None, relu: bool = True) -> np.ndarray:
    """Channels of the map at `place`, each weighted by its mean gradient, (rows, columns) (Selvaraju et al. 2017, eq. 1, 2).

    place: a module's name; None is the end of the stage before the last, a fixed choice. relu: as in the paper; False
    keeps what speaks against the class. Exact at the last map, where it equals `class_map`; elsewhere an approximation
    that can light up cells which the net does not use there (Draelos and Carin 2020).
    """
    maps, slopes = _map_and_gradient(probe, target, place)
    heat = (maps * slopes.mean((1, 2), keepdim=True)).sum(0)
    return to_array(heat.relu() if relu else heat)


def hires_cam(probe: Probe, target: Target = None, *, place: str | None = None) -> np.ndarray:
    """Map times gradient, summed over channels, cell by cell: signed, in logits, (rows, columns).

    HiResCAM (Draelos and Carin 2020, arXiv:2011.08891, section 3.2): first-order, but never lit where the gradient is
    zero. `place` as for `grad_cam`.
    """
    maps, slopes = _map_and_gradient(probe, target, place)
    return to_array((maps * slopes).sum(0))


def usual_place(probe: Probe) -> str:
    """The end of the stage before the last: fixed, so that no layer is chosen by its looks."""
    stages = [name.split(".")[:2] + [name] for name in probe.steps if name.startswith("stages.")]
    numbers = sorted({int(stage[1]) for stage in stages})
    if not numbers:
        raise ProbeError(
            f"{type(probe.net).__name__} does not name its stages as ours do: say place=, a module whose output is a map."
        )
    wanted = numbers[-2] if len(numbers) > 1 else numbers[-1]
    return [name for _, stage, name in stages if int(stage) == wanted][-1]


def _map_and_gradient(probe: Probe, target: Target, place: str | None) -> tuple[Tensor, Tensor]:
    place = place or usual_place(probe)
    maps = probe[place]
    if maps.ndim != 4:
        raise ProbeError(f"{place!r} puts out {tuple(maps.shape)}, which is no map (1, channels, rows, columns).")
    return maps[0], probe.gradient(place, probe.target(target))[0]


def halo_look(probe: Probe, target: Target = None) -> np.ndarray:
    """Where the last halo layer looked: the share of attention that each key gets, mean over heads and queries.

    (rows, columns) of that layer's input. Sums to 1 less what goes to padding. **No explanation**: it knows neither the
    class nor the values that were fetched, nor what later layers did with them (Jain and Wallace 2019).
    """
    layer = halo_layer(probe.net)
    if layer is None:
        raise ProbeError(f"{type(probe.net).__name__} has no halo attention: toy_halonet and the halonets have.")
    name, module = layer
    seen = probe.look((f"{name}.query", f"{name}.key_value"))
    query, key_value = seen[f"{name}.query"], seen[f"{name}.key_value"]
    heads, block, halo, key_dim = module.heads, module.block_size, module.halo, module.key_dim
    height, width = key_value.shape[2:]
    rows, columns, window = height // block, width // block, block + 2 * halo
    side = query.shape[2] // rows
    q = (
        query[0].view(heads, key_dim, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1)
    )  # (heads, rows, columns, y, x, d)
    keys = key_value[0].view(heads, -1, height, width)[:, :key_dim]
    keys = F.pad(keys, (halo,) * 4).unfold(2, window, block).unfold(3, window, block)  # (heads, d, rows, columns, u, v)
    offset = torch.arange(window, device=q.device) - torch.arange(side, device=q.device)[:, None] + window - 1  # (y, u)
    logits = torch.einsum("nrcyxd,ndrcuv->nrcyxuv", q, keys) * key_dim**-0.5
    logits = logits + torch.einsum("nrcyxd,yud->nrcyxu", q, module.height_table.detach()[offset])[..., None]
    logits = logits + torch.einsum("nrcyxd,xvd->nrcyxv", q, module.width_table.detach()[offset])[..., None, :]
    shares = logits.flatten(5).softmax(-1).mean((0, 3, 4)) / (rows * columns)  # (rows, columns, window²)
    spread = shares.view(1, rows * columns, window**2).transpose(1, 2)
    padded = F.fold(spread, (height + 2 * halo, width + 2 * halo), window, stride=block)[0, 0]
    return to_array(padded[halo : halo + height, halo : halo + width])


def halo_layer(net: nn.Module) -> tuple[str, nn.Module] | None:
    """Name and module of the last layer that is made like our halo attention, or None."""
    parts = ("query", "key_value", "height_table", "width_table", "block_size", "halo")
    found = [(name, module) for name, module in net.named_modules() if all(hasattr(module, part) for part in parts)]
    return found[-1] if found else None


# From gradients at the picture -----------------------------------------------------------------------------------------


def gradient_input(probe: Probe, target: Target = None) -> np.ndarray:
    """Gradient times input, summed over channels: signed, in logits, (height, width) (Shrikumar et al. 2016).

    First-order, and its zero is the input's zero: the mean colour of the set that the net was normalised by.
    """
    return to_array((gradients(probe, probe.input, target) * probe.input)[0].sum(0))


def saliency(probe: Probe, target: Target = None) -> np.ndarray:
    """The largest size of the gradient over the channels, (height, width) (Simonyan et al. 2013, section 3.1).

    How much a small change of a pixel would matter, which is not how much the pixel does matter. No signs.
    """
    return to_array(gradients(probe, probe.input, target)[0].abs().amax(0))


def smooth_grad(
    probe: Probe, target: Target = None, *, copies: int = 16, noise: float = 0.15, seed: int = 0
) -> np.ndarray:
    """`saliency` of the mean gradient of `copies` noisy pictures, (height, width) (Smilkov et al. 2017, section 3).

    noise: standard deviation as a share of the input's range, drawn from `seed`.
    """
    x = probe.input
    random = torch.Generator().manual_seed(seed)  # on the CPU: the same noise on every device
    drawn = torch.randn((copies, *x.shape[1:]), generator=random).to(x)
    slopes = gradients(probe, x + noise * (x.max() - x.min()) * drawn, target)
    return to_array(slopes.mean(0).abs().amax(0))


def integrated_gradients(probe: Probe, target: Target = None, *, baseline: str = "blur", steps: int = 32) -> np.ndarray:
    """(input - baseline) times the mean gradient on the straight way between them: signed, in logits, (height, width).

    Sundararajan et al. 2017, equation 1, by the midpoint rule. Its sum is the logit's rise from the baseline to the
    picture, up to the rule's error: `completeness_gap`. baseline: "blur" or "mean", see `removal.filled`; the map
    speaks of the difference from it, and another baseline gives another map.
    """
    start = filled(probe.input, baseline)
    way = (torch.arange(steps, device=start.device, dtype=start.dtype) + 0.5) / steps
    slopes = gradients(probe, start + way.view(-1, 1, 1, 1) * (probe.input - start), target)
    return to_array(((probe.input - start)[0] * slopes.mean(0)).sum(0))


def completeness_gap(probe: Probe, heat: np.ndarray, target: Target = None, *, baseline: str = "blur") -> float:
    """How far the sum of an integrated map is from the rise of the logit, as a share of all it hands out, signs aside.

    Of the rise alone it would say little where much that speaks for a class cancels with what speaks against it. What
    is handed out counts as at least a thousandth of the logit: in a picture of one colour it is but rounding.
    """
    start, end = probe.answer(torch.cat([filled(probe.input, baseline), probe.input]))[:, probe.target(target)].tolist()
    off = abs(float(heat.sum(dtype=np.float64)) - (end - start))
    return off / max(float(np.abs(heat).sum(dtype=np.float64)), 1e-3 * abs(end), 1e-12)


def gradients(probe: Probe, pictures: Tensor, target: Target = None) -> Tensor:
    """The gradient of the class's logit at each of some pictures (n, channels, height, width), in their shape."""
    which = probe.target(target)

    def slopes(some: Tensor) -> Tensor:
        leaf = some.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        return torch.autograd.grad(probe.net(leaf)[:, which].sum(), leaf)[0]

    with evaluating(probe.net), torch.enable_grad():
        return torch.cat([channels_last(slopes, some) for some in pictures.split(max(1, batch_for(pictures) // 2))])


# From asking again -----------------------------------------------------------------------------------------------------


def occlusion(
    probe: Probe,
    target: Target = None,
    *,
    patch: int | None = None,
    stride: int | None = None,
    baseline: str = "blur",
) -> np.ndarray:
    """How much the logit falls when a patch is filled: signed, in logits, (rows, columns) (Zeiler and Fergus 2014).

    The picture is cut into cells of `stride` pixels (default: an eighth of its shorter side); around the middle of each
    a square of `patch` pixels (default: the cell itself) is filled with `baseline`, "blur" or "mean". Works for any net.
    """
    *_, heat = occlusion_by_batch(probe, target, patch=patch, stride=stride, baseline=baseline)
    return heat


def occlusion_by_batch(
    probe: Probe,
    target: Target = None,
    *,
    patch: int | None = None,
    stride: int | None = None,
    baseline: str = "blur",
    batch: int | None = None,
) -> Iterator[np.ndarray]:
    """`occlusion` as it grows: the map after each `batch` of patches, row by row, NaN where none has been filled yet."""
    which, x, filling = probe.target(target), probe.input, filled(probe.input, baseline)
    height, width = x.shape[2:]
    stride = stride or max(1, round(min(height, width) / 8))
    patch = patch or stride
    cells = np.full((math.ceil(height / stride), math.ceil(width / stride)), np.nan, np.float32)

    def span(at: int, size: int) -> slice:
        start = at * stride + (stride - patch) // 2
        return slice(max(0, start), min(size, start + patch))

    def pictures() -> Iterator[Tensor]:
        for row, column in np.ndindex(cells.shape):
            changed, at = x.clone(), (..., span(row, height), span(column, width))
            changed[at] = filling[at]
            yield changed

    done = 0
    for logits in answered(probe, pictures(), batch):
        cells.ravel()[done : done + len(logits)] = to_array(probe.logits[which] - logits[:, which])
        done += len(logits)
        yield cells.copy()


def to_array(heat: Tensor) -> np.ndarray:
    return heat.detach().float().cpu().numpy()
