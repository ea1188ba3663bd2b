"""Feature visualisation: a picture that excites one channel, found by climbing its gradient. Imports probing."""

import torch
from torch import Tensor, nn

from netwright.probing.capture import evaluating, hooked

RATE = 0.02  # of Adam, on the spectrum
JITTER = 4  # pixels that the picture is moved about, so that no pattern depends on where it stands


def optimise(
    net: nn.Module,
    place: str,
    channels: list[int],
    *,
    size: int,
    mean: Tensor,
    std: Tensor,
    steps: int = 160,
    seed: int = 0,
) -> Tensor:
    """For each of `channels` of the map at `place` a picture (channels, 3, size, size), from 0 to 1, that excites it.

    What is made large is the channel's mean over the map, before the block's last activation. The picture is written as a spectrum whose high frequencies
    weigh less, which keeps the climb from making noise, and is moved by a few pixels at each step (Olah et al. 2017,
    "Feature visualization"). mean, std: (3,), of the net's inputs. `seed` chooses where the climb begins.
    """
    device = next(net.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    frequencies = (torch.fft.fftfreq(size)[:, None] ** 2 + torch.fft.rfftfreq(size)[None] ** 2).sqrt()
    weights = (1 / frequencies.clamp(min=1 / size)).to(device)  # (size, size // 2 + 1)
    start = 0.01 * torch.randn(len(channels), 3, *weights.shape, 2, generator=generator)
    spectrum = start.to(device).requires_grad_()
    optimiser = torch.optim.Adam([spectrum], RATE)
    mean, std = (values.to(device).view(3, 1, 1) for values in (mean, std))
    excited: list[Tensor] = []
    each = torch.arange(len(channels))

    def measure(map_: Tensor) -> None:  # at once, because the layer behind may write into the map
        excited.append(map_[each, channels].mean((1, 2)))

    with evaluating(net), hooked([_before_activation(net.get_submodule(place), measure)]), torch.enable_grad():
        for _ in range(steps):
            excited.clear()
            pixels = _pixels(spectrum, weights, size)
            moved = torch.randint(-JITTER, JITTER + 1, (2,), generator=generator).tolist()
            net((pixels.roll(moved, (2, 3)) - mean) / std)
            (spectrum.grad,) = torch.autograd.grad(-excited[0].sum(), spectrum)
            optimiser.step()
    return _pixels(spectrum, weights, size).detach().cpu()


def _before_activation(module: nn.Module, measure):
    """Where a block's sum has not met its ReLU yet: a channel that is silent has a slope there, and none behind it."""
    last = getattr(module, "act", None)
    if isinstance(last, nn.Module):
        return lambda: last.register_forward_pre_hook(lambda _, given: measure(given[0]))
    return lambda: module.register_forward_hook(lambda _, given, out: measure(out))


def _pixels(spectrum: Tensor, weights: Tensor, size: int) -> Tensor:
    """A spectrum (…, 2) to pictures (n, 3, size, size) from 0 to 1."""
    complex_spectrum = torch.view_as_complex(spectrum) * weights
    return torch.fft.irfft2(complex_spectrum, s=(size, size), norm="ortho").sigmoid()


@torch.no_grad()
def excitement(net: nn.Module, places: list[str], inputs: Tensor) -> dict[str, Tensor]:
    """For each place the mean over the map of every channel, (n, channels), when the net sees `inputs` (n, 3, h, w)."""
    found: dict[str, Tensor] = {}

    def register(place: str):
        module = net.get_submodule(place)

        def keep(_, given, out) -> None:  # a mean, because the layer behind may write into the map
            found[place] = out.mean((2, 3)).cpu()

        return lambda: module.register_forward_hook(keep)

    with evaluating(net), hooked([register(place) for place in places]):
        net(inputs)
    return found
