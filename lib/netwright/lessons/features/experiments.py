"""What the notebook measures: fields of trained and random nets, deletion in four orders, neighbours, flat maps.

Imports models, probing and toys.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netwright.models import create_model, transform_for
from netwright.probing.capture import Probe
from netwright.toys import ToyWorld

NAMES = ("toy_resnet", "toy_resnext", "toy_resnest", "toy_halonet")
STAGES = ("stem", "stages.0.1", "stages.1.1", "stages.2.1", "stages.3.0")  # of a toy net: where each map is done


def four_nets() -> dict[str, nn.Module]:
    """The trained toy nets by name."""
    return {name: create_model(name, pretrained=True).eval() for name in NAMES}


def toys(net: nn.Module, indices: Sequence[int], split: str = "test") -> tuple[Tensor, Tensor]:
    """Pictures of the toy world as `net` receives them (n, 3, 64, 64), and their classes (n,)."""
    batch, transform = ToyWorld(split).batch(indices), transform_for(net)
    return torch.stack([transform(image) for image in batch["image"]]), batch["label"]


# Whose maps ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Blind:
    """Maps of a trained net and of its random twin under two letters. rows: letter -> (channels, height, width);
    trained: the letter of the trained net's.
    """

    rows: Mapping[str, Tensor]
    trained: str

    @property
    def random(self) -> str:
        """The letter of the random twin's."""
        return next(name for name in self.rows if name != self.trained)


def blind(probe: Probe, twin: Probe, place: str) -> Blind:
    """The maps of two nets at `place`, and nobody is told which are whose: the place's name draws the lot."""
    maps = [probe[place][0], twin[place][0]]
    letters = ("row A", "row B") if zlib.crc32(place.encode()) % 2 else ("row B", "row A")
    rows = dict(zip(letters, maps, strict=True))
    return Blind(dict(sorted(rows.items())), letters[0])


# Grad-CAM --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cam:
    """Grad-CAM of one class at one place, before its ReLU: map (height, width), in units of the logit."""

    place: str
    map: Tensor

    @property
    def against(self) -> float:
        """What a ReLU would hide: the share of all that the map holds, for or against, that is against."""
        return float(self.map.clamp(max=0).abs().sum() / self.map.abs().sum().clamp(min=1e-12))


def grad_cams(probe: Probe, target: int, places: Sequence[str] = STAGES[1:]) -> list[Cam]:
    """Grad-CAM at several places: Σ_k (mean over places of d logit / d A_k) A_k.

    Source: Selvaraju et al. 2017, equations 1 and 2, without the ReLU.
    """
    cams = []
    for place in places:
        slope, features = probe.gradient(place, target)[0], probe[place][0]
        cams.append(Cam(place, (slope.mean((1, 2), keepdim=True) * features).sum(0).cpu()))
    return cams


# Receptive fields -------------------------------------------------------------------------------------------------


def chain(net: nn.Module, place: str) -> dict[str, tuple[int, int, int]]:
    """The layers on the longest way to the module `place`, by name: (kernel, stride, padding) of each.

    Convolutions and pools, in the order in which they stand in a net like ours, past all shortcuts: what is on a shortcut
    sees no farther than the branch beside it. Not for attention, which is no such layer.
    """
    layers = {}
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) and ".shortcut" not in name:
            sizes = module.kernel_size, module.stride, module.padding
            layers[name] = tuple(size[0] if isinstance(size, tuple) else size for size in sizes)
    last = max(i for i, name in enumerate(layers) if name == place or name.startswith(f"{place}."))
    return dict(list(layers.items())[: last + 1])


def up_to(probe: Probe, place: str) -> Callable[[Tensor], Tensor]:
    """The net of `probe` as a function of a picture (1, 3, height, width), ending with the map of the step `place`."""
    steps = probe.steps[: probe.steps.index(place) + 1]

    def run(x: Tensor) -> Tensor:
        for step in steps:
            x = probe.net.get_submodule(step)(x)
        return x

    return run


def mean_field(
    probe: Probe, place: str, unit: tuple[int, int], pictures: Tensor, effective: Callable, *, directions: int = 4
) -> Tensor:
    """The effective receptive field of a unit, over several pictures (n, 3, height, width): (height, width), sum 1.

    effective: as in the exercise. Each picture counts alike, whatever the size of its gradients.
    """
    net, total = up_to(probe, place), torch.zeros(pictures.shape[2:])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        channels = net(pictures[:1]).shape[1]
    for picture in pictures:
        v = torch.randn(directions, channels, generator=generator)
        energy = torch.as_tensor(effective(net, picture[None], unit, v)).detach().float()
        total += energy / energy.sum()
    return total / len(pictures)


def pixels_with(field: Tensor, share: float) -> int:
    """How many pixels, the strongest first, hold `share` of all the energy."""
    strongest = field.flatten().sort(descending=True).values.cumsum(0) / field.sum()
    return int((strongest < share).sum()) + 1


# Deletion ---------------------------------------------------------------------------------------------------------


def fillings(x: Tensor) -> dict[str, Tensor]:
    """What a removed pixel may get, each (colours, height, width): a blurred picture, its mean colour, zeros."""
    return {
        "blurred": blurred(x),
        "its mean colour": x.mean((1, 2), keepdim=True).expand_as(x).contiguous(),
        "zeros": torch.zeros_like(x),
    }


def blurred(x: Tensor, sigma: float = 5.0) -> Tensor:
    """A picture (colours, height, width) through a Gaussian of `sigma` pixels, mirrored at its edges."""
    reach = int(3 * sigma)
    weights = torch.exp(-((torch.arange(-reach, reach + 1) / sigma) ** 2) / 2).to(x)
    weights = weights / weights.sum()
    x = F.conv2d(F.pad(x[:, None], (reach, reach, 0, 0), mode="reflect"), weights.view(1, 1, 1, -1))
    return F.conv2d(F.pad(x, (0, 0, reach, reach), mode="reflect"), weights.view(1, 1, -1, 1))[:, 0]


def orders(score: Tensor, mask: Tensor, *, seed: int = 0) -> dict[str, Tensor]:
    """Four orders in which the pixels of a picture may go, each (height * width,), the first removed first.

    score: (rows, columns), a map over the picture, of which each cell stands for the pixels under it; mask: (height,
    width), the pixels that cause the label. Of pixels that are alike, the order is drawn.
    """
    height, width = mask.shape
    drawn = torch.randperm(height * width, generator=torch.Generator().manual_seed(seed))
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    off_centre = (rows - (height - 1) / 2) ** 2 + (columns - (width - 1) / 2) ** 2
    over = score.repeat_interleave(height // len(score), 0).repeat_interleave(width // score.shape[1], 1)

    def first(values: Tensor) -> Tensor:
        return drawn[values.flatten()[drawn].argsort(descending=True, stable=True)]

    return {
        "the class map": first(over),
        "the pixels that cause the label": first(mask.float()),
        "the middle first": first(-off_centre),
        "by lot": drawn,
    }


def deletions(
    net: nn.Module, indices: Sequence[int], class_map: Callable, deletion: Callable, *, steps: int = 8
) -> Mapping[str, Mapping[str, Tensor]]:
    """filling -> order -> curves (pictures, steps + 1) of test pictures of the toy world, of the net's own answer."""
    batch, (pictures, _) = ToyWorld("test").batch(indices), toys(net, indices)
    weight, bias = net.classifier.weight.detach(), net.classifier.bias.detach()
    curves: dict[str, dict[str, list[Tensor]]] = {}
    for number, (picture, mask) in enumerate(zip(pictures, batch["mask"], strict=True)):
        with torch.no_grad():
            features = net.forward_features(picture[None])
            target = int(net.forward_head(features).argmax())
        score = torch.as_tensor(class_map(features[0], weight, bias, target)).detach().float()
        for filling, fill in fillings(picture).items():
            for name, order in orders(score, mask, seed=number).items():
                curve, _ = deletion(net, picture, target, order, fill, steps)
                curves.setdefault(filling, {}).setdefault(name, []).append(torch.as_tensor(curve).detach().float())
    return {filling: {name: torch.stack(some) for name, some in by.items()} for filling, by in curves.items()}


def as_good(found: Mapping[str, Mapping[str, Tensor]]) -> tuple[str, str]:
    """With which filling an order by lot does as well as the true one, and the gaps of their areas in words.

    As well: the mean gap over the pictures is less than twice its standard error. "none of them" where there is none.
    """
    gaps = {
        name: spread(areas(by["by lot"]) - areas(by["the pixels that cause the label"])) for name, by in found.items()
    }
    equal = [name for name, (gap, error) in gaps.items() if gap < 2 * error]
    words = "; ".join(f"{name}: {gap:+.2f} ± {error:.2f}" for name, (gap, error) in gaps.items()).replace("-", "−")
    return (equal[0] if len(equal) == 1 else "none of them"), words


def areas(curves: Tensor) -> Tensor:
    """The area under each curve (…, points), over a width of 1: (…)."""
    return (curves[..., 1:] + curves[..., :-1]).mean(-1) / 2


def spread(values: Tensor) -> tuple[float, float]:
    """The mean of some values, and how far off it may be: its standard error."""
    return float(values.mean()), float(values.std() / len(values) ** 0.5)


# Neighbours -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def embed(net: nn.Module, pictures: Tensor) -> Tensor:
    """The mean over space of the last map, (n, features): what the classifier reads."""
    return net.forward_features(pictures).mean((2, 3))


def share_of_class(find: Callable, vectors: Tensor, labels: Tensor, *, k: int = 5, queries: int = 100) -> float:
    """How many of the `k` nearest have the query's class, as a share, over the first `queries` of the pictures."""
    same = [
        float((labels[torch.as_tensor(find(vectors, query, k)[0])] == labels[query]).float().mean())
        for query in range(queries)
    ]
    return sum(same) / len(same)


def on_a_plane(vectors: Tensor) -> tuple[Tensor, float]:
    """The two main directions of a cloud of vectors: (n, 2), and the share of the variance that is left on them."""
    centred = vectors - vectors.mean(0)
    _, sizes, directions = torch.linalg.svd(centred, full_matrices=False)
    return centred @ directions[:2].T, float((sizes[:2] ** 2).sum() / (sizes**2).sum())


def nearest_on_plane(points: Tensor, query: int, k: int) -> list[int]:
    """The `k` nearest by distance on the plane, as the eye finds them."""
    distance = (points - points[query]).norm(dim=1)
    distance[query] = torch.inf
    return distance.sort(stable=True).indices[:k].tolist()


def agreement(find: Callable, vectors: Tensor, points: Tensor, *, k: int = 5, queries: int = 100) -> float:
    """The share of a query's `k` nearest that are among its `k` nearest on the plane too."""
    same = [
        len(set(map(int, find(vectors, query, k)[0])) & set(nearest_on_plane(points, query, k))) / k
        for query in range(queries)
    ]
    return sum(same) / len(same)
