"""Random choices that belong to a picture or a step, not to a process: resuming and sharing work cannot change them.

Imports numpy.
"""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What numbers are drawn for: two purposes never share a stream, whatever else is equal. Never renumber."""

    AUGMENTATION = 1
    MIXING = 2
    DROPPING = 3


def generator(seed: int, purpose: Purpose, *key: int) -> np.random.Generator:
    """A fresh generator for one thing that is to be done, named by `key` (an epoch and an index, or a step).

    It depends on its arguments only. So there is no state to save: whoever computes the same thing, an hour later,
    in another worker or on another machine, draws the same numbers. A generator that is handed along from picture to
    picture would give each worker its own pictures, and a resumed run other ones.
    Raises ValueError for a negative number.
    """
    if min(seed, *key) < 0:
        raise ValueError(f"A seed and its key are numbers from 0 up, not {(seed, *key)}.")
    return np.random.default_rng((seed, purpose, *key))
