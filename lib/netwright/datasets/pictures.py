"""What a data set is here: pictures by number, each with a class; and the toy world as one. Imports images, toys."""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from netwright.toys import ToyWorld


class PictureSet:
    """Pictures with classes: one split of one data set. Data sets derive from it.

    name: what people call it, "imagenette/val". class_names: in the order of class numbers. targets: the class number
    of every picture, int64 (n,). synsets: the WordNet id of each class ("n01440764"), where they are known, else None.
    """

    name: str
    class_names: tuple[str, ...]
    targets: np.ndarray
    synsets: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def picture(self, index: int) -> Image.Image:
        """Picture `index` as 8-bit RGB. Raises `netwright.images.ImageError`, which names the file, if it is broken."""
        raise NotImplementedError

    def where(self, index: int) -> str:
        """What a person is to look for: the path of a file, or how the picture is made again."""
        raise NotImplementedError

    def pixels(self, indices: Sequence[int]) -> Tensor | None:
        """These pictures at once, uint8 (n, 3, height, width), where that is quicker than one by one; else None."""
        return None


class ToyPictures(PictureSet):
    """A split of the toy world (see `ToyWorld`) at `size` pixels; groups and factors are those of its `world`."""

    def __init__(self, world: ToyWorld):
        self.world = world
        self.name = f"toy/{world.split}" + (f", {world.hold_out} held out" if world.hold_out else "")
        self.class_names = world.classes
        self.targets = world.labels()

    def picture(self, index: int) -> Image.Image:
        return Image.fromarray(self.pixels([index])[0].permute(1, 2, 0).numpy())

    def where(self, index: int) -> str:
        world = self.world
        held_out = f", hold_out={world.hold_out!r}" if world.hold_out else ""
        return f"ToyWorld({world.split!r}, size={world.size}, seed={world.seed}{held_out})[{index}]"

    def pixels(self, indices: Sequence[int]) -> Tensor:
        return self.world.batch(indices)["image"]
