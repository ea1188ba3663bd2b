"""The toy world as a dataset: endless pictures by index, in splits that share nothing.

Imports classes, factors and render; sheet, and with it matplotlib, when a sheet is asked for.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from netwright.toys.classes import CLASSES, GROUPS
from netwright.toys.factors import HOLD_OUTS, Draw, draw_factors, draw_labels
from netwright.toys.render import SMALLEST, render

SPLITS = {"train": 40_000, "val": 4_000, "test": 8_000, "novel": 8_000}  # pictures, unless the caller says otherwise
GROUP_OF = np.array([GROUPS.index(it.group) for it in CLASSES])


class ToyWorld(Dataset):
    """Pictures whose causes are known: ``ToyWorld("train")[0]["image"]``.

    Picture i depends on the split, the seed and i alone: any process may paint any part, in any order.
    hold_out names a nuisance in HOLD_OUTS (hue, place, scale, ground, light). "train", "val" and "test" then never
    show one stretch of it, and "novel", which needs a hold_out, shows nothing else: does the net generalise?
    Raises ValueError for a split, hold_out, size or length that does not exist.
    """

    classes = tuple(it.name for it in CLASSES)

    def __init__(
        self,
        split: str = "train",
        *,
        size: int = 64,
        length: int | None = None,
        seed: int = 0,
        hold_out: str | None = None,
    ):
        if split not in SPLITS:
            raise ValueError(f"split={split!r} is none of {', '.join(SPLITS)}.")
        if hold_out is not None and hold_out not in HOLD_OUTS:
            raise ValueError(f"hold_out={hold_out!r} cannot be held out; these can: {', '.join(HOLD_OUTS)}.")
        if split == "novel" and hold_out is None:
            raise ValueError(
                f"'novel' shows what the other splits hold out: choose hold_out from {', '.join(HOLD_OUTS)}."
            )
        if size < SMALLEST:
            raise ValueError(f"size={size} is too small to show a texture: choose {SMALLEST} pixels or more.")
        if length is not None and length < 1:
            raise ValueError(f"length={length} leaves no picture: choose 1 or more.")
        self.split, self.size, self.seed, self.hold_out = split, size, seed, hold_out
        self.length = SPLITS[split] if length is None else length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int | list[int]) -> dict[str, Tensor | dict[str, Tensor]]:
        """Picture `index`, as `batch` gives it but without the first dimension; for a list of indices, their batch.

        So a DataLoader with batch_size=None and a BatchSampler as its sampler paints whole batches at once.
        Raises IndexError outside the split.
        """
        if isinstance(index, list):
            return self.batch(index)
        sample = self.batch([index])
        factors = {name: values[0] for name, values in sample.pop("factors").items()}
        return {name: values[0] for name, values in sample.items()} | {"factors": factors}

    def batch(self, indices: Iterable[int]) -> dict[str, Tensor | dict[str, Tensor]]:
        """The pictures `indices`, in their order.

        image (n, 3, size, size) uint8, label and group (n,) int64 (in `classes` and GROUPS), mask (n, size, size) bool:
        the pixels that cause the label, figures (n, size, size) uint8 and factors, a dict of tensors (n,): see
        `render` and `draw_factors`. Raises IndexError outside the split.
        """
        factors = self.factors(indices)
        tensors = {name: torch.from_numpy(values) for name, values in render(factors, self.size).items()}
        tensors["label"] = torch.from_numpy(factors["label"])
        tensors["group"] = torch.from_numpy(GROUP_OF[factors["label"]])
        return tensors | {"factors": {name: torch.from_numpy(values) for name, values in factors.items()}}

    def factors(self, indices: Iterable[int]) -> dict[str, np.ndarray]:
        """What the pictures are made of, without painting them; change an array and give it to `render`."""
        held_out = None if self.hold_out is None else (self.hold_out, self.split == "novel")
        return draw_factors(self._checked(indices), self.seed, self.split, held_out)

    def labels(self, indices: Iterable[int] | None = None) -> np.ndarray:
        """Labels (n,) int64 of the pictures `indices`, or of all, without painting them."""
        indices = np.arange(self.length) if indices is None else indices
        return draw_labels(Draw(self._checked(indices), self.seed, self.split))

    def sheet(self, columns: int = 8, *, outlined: int = 2):
        """A contact sheet, as a netwright.figures.Picture: a row of `columns` pictures for every class.

        In the last `outlined` pictures of a row lines enclose the pixels that cause the label.
        """
        from netwright.toys.sheet import contact_sheet

        return contact_sheet(self, columns, outlined)

    def _checked(self, indices: Iterable[int]) -> np.ndarray:
        indices = np.asarray(indices if isinstance(indices, np.ndarray) else list(indices), dtype=np.int64)
        outside = indices[(indices < 0) | (indices >= self.length)]
        if len(outside):
            raise IndexError(f"Picture {outside[0]} is outside {self.split!r}, which holds 0 to {self.length - 1}.")
        return indices
