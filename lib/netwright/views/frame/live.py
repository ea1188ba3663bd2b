"""Views that talk with the kernel: one anywidget a kind of view. Imports assembling.

Everything travels as text, because Colab's widget manager does not carry binary messages.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from netwright.views.frame import assembling

if TYPE_CHECKING:
    from netwright.views.view import View


class Live(anywidget.AnyWidget):
    """A view in a notebook. `chosen` is what is chosen in it now, as a dict."""

    payload = traitlets.Unicode().tag(sync=True)
    question = traitlets.Unicode().tag(sync=True)
    answer = traitlets.Unicode("{}").tag(sync=True)
    choice = traitlets.Unicode("{}").tag(sync=True)

    def __init__(self, view: View):
        self.view = view
        super().__init__(payload=assembling.dumps(view.message(live=True)))
        self.observe(self._answer, "question")

    @property
    def chosen(self) -> dict[str, Any]:
        """What is chosen in the browser now, such as {"row": 3, "column": 5}."""
        return json.loads(self.choice)

    def choose(self, **choice) -> None:
        """Choose from Python what could be clicked."""
        self.choice = json.dumps(self.chosen | choice)

    def _answer(self, change) -> None:
        question = json.loads(change["new"])
        number = question.pop("id")
        try:
            answer = assembling.dumps({**self._reply(question), "id": number})
        except Exception as error:  # noqa: BLE001  the reader sees it in the view; a traceback nobody would see
            answer = assembling.dumps({"error": f"{type(error).__name__}: {error}", "id": number})
        self.answer = answer

    def _reply(self, question: dict[str, Any]) -> dict[str, Any]:
        if question.get("ask") == "twin":
            return {"payload": self.view.twin.message(live=True)}
        view = self.view.twin if question.pop("twin", False) else self.view
        return view.answer(question)


@cache
def _class_of(script: str) -> type[Live]:
    """anywidget takes a class's script, so each kind of view has a class."""
    return type(f"Live_{script}", (Live,), {"_esm": assembling.module(script), "_css": assembling.styles()})


def widget(view: View) -> Live:
    """The live form of a view that has a script."""
    return _class_of(view.script)(view)
