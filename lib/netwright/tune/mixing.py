"""Two pictures in one: mixup blends them, CutMix pastes a box of one into the other. Imports torch, numpy, tune.losses.

What is drawn and what is done are apart, so that a step can be repeated, compared and explained.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from netwright.tune.losses import soft_targets


@dataclass(frozen=True)
class Draw:
    """What one batch gets: `share` of the picture itself, the rest of its partner, blended or (box) pasted.

    box: (top, bottom, left, right) in pixels, from 0, ends excluded; None for mixup.
    """

    share: float = 1.0
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Mixing:
    """Mixup (Zhang et al. 2018, arXiv:1710.09412) and CutMix (Yun et al. 2019, arXiv:1905.04899), batch by batch.

    mixup, cutmix: the alpha of a Beta(alpha, alpha) distribution that the share is drawn from; 0 leaves it out. A
    small alpha mostly gives shares near 0 or 1. probability: of mixing a batch at all. switch: of CutMix, where both
    are on. smoothing: see `soft_targets`; it is applied here, before two targets are mixed.
    """

    num_classes: int
    mixup: float = 0.0
    cutmix: float = 0.0
    probability: float = 1.0
    switch: float = 0.5
    smoothing: float = 0.0

    def __post_init__(self):
        if min(self.mixup, self.cutmix) < 0 or not 0 <= min(self.probability, self.switch):
            raise ValueError(f"{self} has a negative number; 0 leaves a part out.")
        if max(self.probability, self.switch) > 1:
            raise ValueError(f"{self}: probability and switch are probabilities, at most 1.")

    def draw(self, rng: np.random.Generator, height: int, width: int) -> Draw:
        """What the next batch, of pictures of height x width pixels, is to get.

        All its randomness comes from `rng`: two with the same state draw the same. Ranks that train together are to
        draw the same too; give each step its own, `generator(seed, Purpose.MIXING, step)`.
        """
        if not (self.mixup or self.cutmix) or rng.random() >= self.probability:
            return Draw()
        pastes = bool(self.cutmix) and (not self.mixup or rng.random() < self.switch)
        alpha = self.cutmix if pastes else self.mixup
        share = float(rng.beta(alpha, alpha))
        if not pastes:
            return Draw(share)
        # A box of the area 1 - share, of the picture's own shape, around any pixel; what sticks out is cut off, and
        # the share is what really stays.
        box_height, box_width = (int(side * (1 - share) ** 0.5) for side in (height, width))
        y, x = int(rng.integers(height)), int(rng.integers(width))
        top, bottom = max(y - box_height // 2, 0), min(y + (box_height + 1) // 2, height)
        left, right = max(x - box_width // 2, 0), min(x + (box_width + 1) // 2, width)
        return Draw(1 - (bottom - top) * (right - left) / (height * width), (top, bottom, left, right))

    def apply(self, images: Tensor, target: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Mixed (images, targets); images (batch, channels, height, width), class numbers (batch,), whole or mixed.

        The partner of a picture is its mirror image in the batch, the first's the last, so nothing is to be
        shuffled. Targets become probabilities (batch, num_classes) even where nothing is mixed. `images` is left as
        it was.
        """
        target = soft_targets(target, self.num_classes, self.smoothing)
        if draw.share == 1:
            return images, target
        partners = images.flip(0)
        if draw.box is None:
            mixed = images * draw.share + partners * (1 - draw.share)
        else:
            top, bottom, left, right = draw.box
            mixed = images.clone()
            mixed[..., top:bottom, left:right] = partners[..., top:bottom, left:right]
        return mixed, target * draw.share + target.flip(0) * (1 - draw.share)
