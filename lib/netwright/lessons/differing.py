"""A wrong tensor beside the right one, as a small picture. Imports figures."""

import torch
from torch import Tensor

from netwright import figures

LEAST = 3  # numbers in a row, below which the sentence says as much as a picture


def worth_drawing(found: Tensor, expected: Tensor) -> bool:
    """Whether a picture shows more than a sentence: same shape, numbers, and enough of them in the last dimensions."""
    return found.shape == expected.shape and expected.dim() > 0 and expected.shape[-1] >= LEAST


def first_place(found: Tensor, expected: Tensor, tolerance: float) -> tuple[int, ...]:
    """Where, in reading order, the two first differ by more than tolerance times the largest expected number."""
    bound = tolerance * expected.abs().nan_to_num().max()
    wrong = ~((found == expected) | ((found - expected).abs() <= bound))
    return tuple(int(i) for i in wrong.nonzero()[0])


def draw_difference(found: Tensor, expected: Tensor, place: tuple[int, ...]) -> figures.Picture:
    """The last two dimensions around `place`: what was found, what was expected, and how far they are apart.

    found and expected have one shape (…, rows, columns) or (columns,). The first two share a colour scale.
    """
    slices = [_sheet(tensor, place) for tensor in (found, expected)]
    slices.append((slices[0] - slices[1]).abs())
    top = max(sheet.abs().nan_to_num(posinf=0, neginf=0).max().item() for sheet in slices[:2]) or 1.0
    signed = any((sheet < 0).any() for sheet in slices[:2])
    figure, axes = figures.subplots(1, 3, figsize=(6.4, 2.3))
    for axis, sheet, title in zip(axes, slices, ("yours", "expected", "difference"), strict=True):
        both = title != "difference"
        image = axis.imshow(
            sheet.numpy(),
            cmap=figures.DIVERGING if both and signed else figures.SEQUENTIAL,
            vmin=-top if both and signed else 0,
            vmax=top if both else None,
            aspect="auto",
        )
        axis.set_title(title, fontsize=10)
        axis.set(xticks=[], yticks=[])
        figure.colorbar(image, ax=axis, shrink=0.8).ax.tick_params(labelsize=8)
    row, column = (0, *place)[-2:]
    axes[2].plot(column, row, marker="s", markersize=9, fillstyle="none", color=figures.CYCLE[1], markeredgewidth=2)
    where = f"[{', '.join([*map(str, place[:-2]), ':', ':'])}]" if len(place) > 2 else "all of it"
    figure.supxlabel(f"{where}; the frame is the first place that differs", fontsize=9)
    share = (slices[2] > 0).double().mean().item()
    words = (
        f"What your answer gave and what was expected, {where}, side by side, and their difference: "
        f"{share:.0%} of the {slices[2].numel()} numbers shown differ, by {slices[2].max():.2g} at most; "
        f"the first is row {row}, column {column}."
    )
    return figures.show(figure, words, dpi=80)


def _sheet(tensor: Tensor, place: tuple[int, ...]) -> Tensor:
    tensor = tensor.reshape(1, -1) if tensor.dim() == 1 else tensor[place[:-2]]
    return tensor.detach().to("cpu", torch.float64)
