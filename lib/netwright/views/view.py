"""What every view is: arrays, a check of its own arithmetic, a description, a picture, and a page. Imports figures."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from netwright.figures import Picture
from netwright.files import replace_file
from netwright.views.frame import assembling

TWIN_FITS = 200_000  # characters of a page in a saved notebook: a larger one leaves its twin to the kernel


class CheckFailed(AssertionError):
    """The identity of a view does not hold for this net: what is drawn is not what the net computes."""


class NotInThisNet(ValueError):
    """A view that this net has nothing to show in; the message says what it would need."""


@dataclass(frozen=True)
class Identity:
    """Something that must hold if the view shows what the net does: `text` ("rebuilds the layer's output").

    error: how far it is off, in the unit of what is compared, relative to its largest value; within: how far it may
    be. An identity with an error of None is none, but a warning: "first-order only".
    """

    text: str
    error: float | None = None
    within: float = 1e-4

    @property
    def holds(self) -> bool:
        """Whether the error is small enough; NaN is not."""
        return self.error is None or self.error <= self.within

    def __str__(self) -> str:
        if self.error is None:
            return self.text
        return f"{self.text}, {f'{self.error:.0e}' if self.error else 'exactly'}"


def relative(found, expected) -> float:
    """The largest difference of two arrays or tensors, relative to the largest value of `expected`."""
    found, expected = (np.asarray(_array(it), dtype=np.float64) for it in (found, expected))
    if found.shape != expected.shape:
        return math.inf
    error = np.abs(found - expected).max(initial=0) / max(np.abs(expected).max(initial=0), 1e-12)
    return math.inf if math.isnan(error) else float(error)


class View(ABC):
    """One look into a net. It holds arrays; drawing is the last step, so that tests need no picture.

    A subclass gives `title`, `data`, `identities`, `alt` and `draw`; for a view that can be clicked also `script` (its
    ES module, beside the view's own file) and, where it asks the kernel, `answer`. In a notebook a view shows itself: live where
    there is a kernel, as a page of its own where there is none.
    """

    script: ClassVar[str | None] = None  # "halo" for halo.js, which lies beside the view
    asks: ClassVar[bool] = False  # whether it has questions that only the kernel can answer
    height: ClassVar[int] = 560  # pixels that its page is given before it has measured itself

    title: str

    @property
    @abstractmethod
    def data(self) -> dict[str, Any]:
        """What the view shows, by name: arrays, and plain values. The class's docstring gives shapes and units."""

    @abstractmethod
    def identities(self) -> Sequence[Identity]:
        """What has to hold, measured now."""

    @property
    @abstractmethod
    def alt(self) -> str:
        """What is seen, in a sentence or two, with numbers from the data."""

    @abstractmethod
    def figure(self) -> Picture:
        """The view as a still picture."""

    def check(self) -> str:
        """The badge, if every identity holds. Raises CheckFailed, naming the one that does not and by how much."""
        for identity in self.identities():
            if not identity.holds:
                raise CheckFailed(
                    f"{self.title}: “{identity.text}” does not hold: off by {identity.error:.2g} of the largest value, "
                    f"where {identity.within:.0e} is allowed. What is drawn is not what this net computes."
                )
        return self.badge["text"]

    @cached_property
    def badge(self) -> dict[str, str]:
        """What stands on the picture: "text", and "state": holds, approximate or fails."""
        identities = self.identities()
        failing = [it for it in identities if not it.holds]
        state = "fails" if failing else "approximate" if all(it.error is None for it in identities) else "holds"
        return {"text": " · ".join(map(str, failing or identities)), "state": state}

    # Another net -------------------------------------------------------------------------------------------------

    def random_twin(self) -> View | None:
        """The same view of the same picture in a net with random weights, or None where that means nothing."""
        return None

    @cached_property
    def twin(self) -> View | None:
        """`random_twin`, made once."""
        return self.random_twin()

    # What a browser gets -----------------------------------------------------------------------------------------

    def payload(self) -> dict[str, Any]:
        """What the ES module gets as `ui.data`: plain values, arrays, and `Half` for arrays that two bytes serve."""
        return self.data

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """The kernel's answer to what the ES module asks (`ui.ask`). Raises ValueError for a question it has not."""
        raise ValueError(f"{type(self).__name__} has no answer to {question}.")

    def message(self, *, live: bool = False, twin: bool = False) -> dict[str, Any]:
        """Everything that the frame of a view needs. twin: whether the random twin comes with it."""
        return {
            "title": self.title,
            "badge": self.badge,
            "live": live,
            "twins": type(self).random_twin is not View.random_twin,
            "data": self.payload(),
            "twin": self.twin.message() if twin and self.twin is not None else None,
        }

    def to_html(self, *, twin: bool = True) -> str:
        """One page that needs no kernel, no network and no other file; it can be clicked as in the notebook.

        twin: whether the random twin is in it, which doubles its size.
        """
        if self.script is None:
            return assembling.still_page(self.title, self.badge, self.figure())
        return assembling.page(self.title, [(self.script, self.message(twin=twin))])

    def save(self, path: str | Path, *, twin: bool = True) -> Path:
        """Write the page of `to_html` to a file; returns its path. Raises OSError."""
        path = Path(path)
        replace_file(path, self.to_html(twin=twin))
        return path

    @cached_property
    def live(self):
        """The anywidget that shows this view and asks this kernel."""
        from netwright.views.frame.live import widget

        return widget(self)

    def _repr_mimebundle_(self, include=None, exclude=None):
        figure = self.figure()
        if self.script is None:
            still = figure._repr_mimebundle_()["text/html"]
            return {"text/html": f"{assembling.badge_html(self.badge)}{still}", "text/plain": self.alt}
        bundle = self.live._repr_mimebundle_() or {}
        data = dict(bundle[0] if isinstance(bundle, tuple) else bundle)
        page = self.to_html(twin=False)
        if not self.asks and len(page) < TWIN_FITS:
            page = self.to_html()
        still = figure.in_few_colours()._repr_mimebundle_()["text/html"]
        return data | {"text/html": assembling.frame(self.title, page, self.height, still), "text/plain": self.alt}


def _array(value):
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value
