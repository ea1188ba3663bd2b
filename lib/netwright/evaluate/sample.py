"""A part of a set, drawn at random: the first pictures of a sorted folder are all of one class. Imports datasets."""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from netwright.datasets import PictureSet
from netwright.evaluate.labelmaps import EvaluationError


class Sample(PictureSet):
    """`count` pictures of `pictures`, drawn by `seed` without repetition, in their order; all, if there are no more."""

    def __init__(self, pictures: PictureSet, count: int, seed: int = 0):
        if count < 1:
            raise EvaluationError(f"A sample of {count} pictures shows nothing: choose 1 or more.")
        drawn = np.random.default_rng(seed).permutation(len(pictures))[:count]
        self.pictures, self.numbers = pictures, np.sort(drawn)
        self.name = f"{pictures.name}, {len(drawn):,} of {len(pictures):,}"
        self.class_names, self.synsets = pictures.class_names, pictures.synsets
        self.targets = pictures.targets[self.numbers]

    def picture(self, index: int) -> Image.Image:
        return self.pictures.picture(int(self.numbers[index]))

    def where(self, index: int) -> str:
        return self.pictures.where(int(self.numbers[index]))

    def pixels(self, indices: Sequence[int]) -> Tensor | None:
        return self.pictures.pixels([int(self.numbers[index]) for index in indices])
