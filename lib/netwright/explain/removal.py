"""Parts of a picture taken away in the order of a map, and what the net says on the way (Petsiuk et al. 2018, RISE).

A map is worth something if its order does more than a random one: so ten random orders, in cells as large as the map's
own, and one from the centre outwards always come with it. Imports probing.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from netwright.probing.capture import Probe, ProbeError

RANDOM_ORDERS = 10
BLUR = 1 / 8  # standard deviation of the blur, as a share of the picture's shorter side
FILLS = {"blur": "a blur of the picture (a Gaussian of an eighth of its side)", "mean": "the picture's mean colour"}


def filled(x: Tensor, fill: str = "blur") -> Tensor:
    """What takes the place of removed pixels: pictures like `x` (n, channels, height, width), after normalisation.

    "blur": a Gaussian blur, standard deviation an eighth of the shorter side, mirrored at the border: large forms and
    colours stay. "mean": the picture's mean colour. Neither is what the net was trained on: no filling is neutral.
    Raises ProbeError for another name.
    """
    if fill == "mean":
        return x.mean((2, 3), keepdim=True).expand_as(x).contiguous()
    if fill != "blur":
        raise ProbeError(f"Nothing is filled with {fill!r}: choose {' or '.join(map(repr, FILLS))}.")
    sigma = BLUR * min(x.shape[2:])
    for axis in (2, 3):
        reach = min(round(3 * sigma), x.shape[axis] - 1)
        ticks = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
        bell = torch.exp(-0.5 * (ticks / max(sigma, 1e-6)) ** 2)
        bell = (bell / bell.sum()).view(1, 1, *((-1, 1) if axis == 2 else (1, -1)))
        padding = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        channels = x.shape[1]
        x = F.conv2d(F.pad(x, padding, mode="reflect"), bell.expand(channels, 1, -1, -1), groups=channels)
    return x


def enlarge(cells: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cells (…, rows, columns) to pixels (…, height, width): each pixel has the number of the cell that it lies in."""
    rows = np.arange(height) * cells.shape[-2] // height
    columns = np.arange(width) * cells.shape[-1] // width
    return cells[..., rows[:, None], columns]


# Orders ------------------------------------------------------------------------------------------------------------
# An order is an integer array (rows, columns): 0 for the cell that goes first.


def order_of(heat: np.ndarray, seed: int = 0) -> np.ndarray:
    """The order of a map (rows, columns): the largest number first; equal ones in a random order drawn from `seed`."""
    lots = np.random.default_rng(seed).permutation(heat.size)
    order = np.empty(heat.size, np.int32)
    order[np.lexsort((lots, -heat.ravel()))] = np.arange(heat.size)
    return order.reshape(heat.shape)


def random_orders(shape: tuple[int, int], count: int = RANDOM_ORDERS, seed: int = 0) -> np.ndarray:
    """`count` random orders (count, rows, columns)."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(shape[0] * shape[1]).astype(np.int32).reshape(shape) for _ in range(count)])


def nearness(shape: tuple[int, int]) -> np.ndarray:
    """How near each cell (rows, columns) is to the middle: 1 in the middle, 0 in the corners."""
    y, x = (np.abs((np.arange(size) + 0.5) / size - 0.5) for size in shape)
    return 1 - np.hypot(y[:, None], x[None, :]) / np.hypot(0.5, 0.5)


def centre_order(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """From the middle outwards: what one would do knowing that pictures are taken of what stands in their middle."""
    return order_of(np.round(nearness(shape), 9), seed)


# Curves ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curves:
    """What the net says of one class while cells change places with the filling, one curve an order.

    fractions (points,): the share of cells that are removed (deletion) or put back (insertion), from 0 to 1.
    probability, logit (orders, points): of the class. areas: (orders,), under the probability.
    """

    fractions: np.ndarray
    probability: np.ndarray
    logit: np.ndarray

    @property
    def areas(self) -> np.ndarray:
        return area(self.fractions, self.probability)

    def backwards(self) -> "Curves":
        """The insertion curves of the reversed orders, if these are deletion curves: the same pictures, last one first."""
        return Curves(self.fractions, self.probability[:, ::-1], self.logit[:, ::-1])


def area(fractions: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The area under values (…, points) over fractions (points,), by trapezia."""
    middle = (values[..., 1:] + values[..., :-1]) / 2
    return (middle * np.diff(fractions)).sum(-1)


def counts_of(cells: int, steps: int) -> np.ndarray:
    """How many of `cells` are gone at each point of a curve of about `steps` equal steps, from 0 to all, symmetrically."""
    counts = np.round(np.linspace(0, cells, steps + 1)).astype(int)
    return np.unique(np.concatenate([counts, cells - counts]))


def swapped(x: Tensor, filling: Tensor, order: np.ndarray, count: int, *, insertion: bool = False) -> Tensor:
    """The picture `x` with the first `count` cells of `order` filled, or with `insertion` the filling with them back."""
    first = torch.from_numpy(enlarge(order, *x.shape[2:]) < count).to(x.device)
    return torch.where(first, *((x, filling) if insertion else (filling, x)))


def remove(
    probe: Probe,
    orders: np.ndarray,
    target: int | str | None = None,
    *,
    fill: str = "blur",
    steps: int = 8,
    insertion: bool = False,
    ends: Tensor | None = None,
) -> Curves:
    """The curves of orders (orders, rows, columns) for one class: deletion, or insertion into the filling.

    fill: see `filled`. steps: equal steps from nothing to everything, fewer where there are fewer cells. ends: logits
    (2, classes) of the picture and of the filling, where they are known already. Raises ProbeError.
    """
    which, (x, filling) = probe.target(target), (probe.input, filled(probe.input, fill))
    counts = counts_of(orders[0].size, steps)
    between = [(order, count) for order in orders for count in counts[1:-1]]
    pictures = (swapped(x, filling, order, count, insertion=insertion) for order, count in between)
    ends = answers(probe, torch.cat([x, filling])) if ends is None else ends  # all orders begin and end alike
    whole, nothing = ends[:1], ends[1:]
    logits = [nothing if insertion else whole, *answered(probe, pictures), whole if insertion else nothing]
    logits = torch.cat(logits).cpu().double()  # on the CPU, as not every device has float64
    said = torch.stack((logits.softmax(1)[:, which], logits[:, which])).numpy()  # (2, 2 + orders * inner points)
    inner = said[:, 1:-1].reshape(2, len(orders), len(counts) - 2)
    first, last = (np.broadcast_to(said[:, [at], None], (2, len(orders), 1)) for at in (0, -1))
    probability, logit = np.concatenate([first, inner, last], axis=2)
    return Curves(counts / counts[-1], probability, logit)


def answered(probe: Probe, pictures: Iterable[Tensor], batch: int | None = None) -> Iterator[Tensor]:
    """The logits of `pictures`, each (1, channels, height, width), a batch at a time (None: `batch_for`)."""
    waiting: list[Tensor] = []
    batch = batch or batch_for(probe.input)
    for picture in pictures:
        waiting.append(picture)
        if len(waiting) == batch:
            yield answers(probe, torch.cat(waiting))
            waiting.clear()
    if waiting:
        yield answers(probe, torch.cat(waiting))


def batch_for(x: Tensor) -> int:
    """How many pictures the net sees at once: 64 small ones, 20 of 224 pixels a side."""
    return max(1, min(64, 64 * 128**2 // (x.shape[2] * x.shape[3])))


def answers(probe: Probe, pictures: Tensor) -> Tensor:
    """Logits (n, classes) of pictures (n, channels, height, width)."""
    return channels_last(probe.answer, pictures)


def channels_last(run: Callable[[Tensor], Tensor], pictures: Tensor) -> Tensor:
    """`run(pictures)` with the channels last in memory, which is up to twice as fast on a CPU, where the net allows it."""
    try:
        return run(pictures.contiguous(memory_format=torch.channels_last))
    except RuntimeError:  # a reader's own layer may take a view that this order does not have
        return run(pictures.contiguous())


def areas_over_pictures(
    probes: list[Probe],
    method: Callable[[Probe, int], np.ndarray],
    *,
    fill: str = "blur",
    steps: int = 8,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Areas of several pictures, each (pictures,): "deletion", "insertion", and of random orders the means of both.

    The class is the likeliest. `scores.mean_of` makes an interval of each. A good map deletes in a smaller area than
    random orders and inserts in a larger one.
    """
    found: dict[str, list[float]] = {
        name: [] for name in ("deletion", "insertion", "random_deletion", "random_insertion")
    }
    for probe in probes:
        heat = method(probe, probe.target(None))
        orders = np.concatenate([order_of(heat, seed)[None], random_orders(heat.shape, seed=seed)])
        for name in ("deletion", "insertion"):
            areas = remove(probe, orders, fill=fill, steps=steps, insertion=name == "insertion").areas
            found[name].append(areas[0])
            found[f"random_{name}"].append(areas[1:].mean())
    return {name: np.array(values) for name, values in found.items()}
