"""The 1000 ImageNet classes: index, name and WordNet synset, read from ``data/imagenet_classes.csv``.

Imports `paths` of the project.
"""

import csv
import difflib
import operator
from dataclasses import dataclass
from functools import cache

from netwright.paths import data


@dataclass(frozen=True, slots=True)
class Label:
    """One class: its position among a net's 1000 logits, its English name, its WordNet 3.0 id (``n`` and 8 digits)."""

    index: int
    name: str
    synset: str

    def __str__(self) -> str:
        return self.name


@cache
def labels() -> tuple[Label, ...]:
    """All 1000 classes in the order of the logits, which is the order of their synsets."""
    with open(data("imagenet_classes.csv"), encoding="utf-8", newline="") as file:
        return tuple(Label(int(row["index"]), row["name"], row["synset"]) for row in csv.DictReader(file))


def find_label(key: int | str) -> Label:
    """The class of an index (258), a synset (``"n02111889"``) or a name (``"Samoyed"``).

    Capitals do not matter, but for one pair that only they tell apart: Cardigan is a dog, cardigan a garment.
    Raises KeyError, with the nearest names.
    """
    if not isinstance(key, str):
        index = operator.index(key)  # numpy's and torch's integers too
        if 0 <= index < len(labels()):
            return labels()[index]
        raise KeyError(f"There is no class {index}: ImageNet's are 0 to {len(labels()) - 1}.")
    table, key = _by_text(), key.strip()
    if key in table or key.lower() in table:
        return table.get(key) or table[key.lower()]
    near = {table[text] for text in difflib.get_close_matches(key.lower(), table, n=3)}
    names = ", ".join(f"{label.name} ({label.synset})" for label in sorted(near, key=lambda label: label.index))
    raise KeyError(f"No ImageNet class is called {key!r}. {f'Nearest: {names}.' if names else 'See labels().'}")


@cache
def _by_text() -> dict[str, Label]:
    lower_case = {label.name.lower(): label for label in labels()}
    return lower_case | {text: label for label in labels() for text in (label.synset, label.name)}
