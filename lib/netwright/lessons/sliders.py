"""A picture that is drawn anew when a slider moves. Imports figures."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from netwright.figures import Picture


def explore(draw: Callable[..., Picture], **choices: Sequence[Any]):
    """One slider for each argument of `draw`, and under them the picture that `draw` makes of their values.

    choices: argument -> the values that its slider passes through, in their order; an underscore in its name is shown
    as a space. The first value is shown first, unless the values are an `At`. Each picture is drawn once and kept.
    Returns an ipywidgets box; without a kernel, in a saved page, it shows the first picture.
    """
    import ipywidgets

    wide = {"description_width": "initial"}
    sliders = {
        name: ipywidgets.SelectionSlider(
            options=[(str(value), value) for value in values],
            value=values.start if isinstance(values, At) else values[0],
            description=name.replace("_", " "),
            style=wide,
            layout={"width": "32em"},
        )
        for name, values in choices.items()
    }
    page = ipywidgets.HTML()
    remembered = cache(lambda *values: draw(**dict(zip(sliders, values, strict=True)))._repr_mimebundle_()["text/html"])

    def redraw(_change=None) -> None:
        page.value = remembered(*(slider.value for slider in sliders.values()))

    for slider in sliders.values():
        slider.observe(redraw, "value")
    redraw()
    return ipywidgets.VBox([*sliders.values(), page])


class At(tuple):
    """The values of a slider, starting at one of them: `At((1, 2, 4, 8), start=4)`."""

    start: Any

    def __new__(cls, values: Sequence[Any], start: Any):
        self = super().__new__(cls, values)
        if start not in self:
            raise ValueError(f"The slider cannot start at {start!r}: its values are {', '.join(map(str, values))}.")
        self.start = start
        return self
