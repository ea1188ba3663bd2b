"""From a view's parts to what a browser runs: its ES module, its message, its page. Imports figures.

Nothing is fetched: the views' scripts, the colour maps and the arrays are all in the text that is made.
"""

from __future__ import annotations

import base64
import html
import io
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from netwright.figures import CYCLE, DIVERGING, SEQUENTIAL

if TYPE_CHECKING:
    from netwright.figures import Picture

HERE = Path(__file__).parent
VIEWS = HERE.parent
DTYPES = {"float16": "f2", "float32": "f4", "float64": "f4", "int64": "i4", "int32": "i4", "int16": "i2"}
DTYPES |= {"uint8": "u1", "int8": "i1", "bool": "u1"}


@dataclass(frozen=True)
class Half:
    """An array that travels in two bytes a number: three digits of the largest are enough to be looked at.

    One whose largest number two bytes cannot hold to that, because it is too large or too small, travels in four.
    """

    array: Any

    def numbers(self) -> np.ndarray:
        array, limits = np.asarray(_numpy(self.array)), np.finfo(np.float16)
        largest = float(np.abs(array).max(initial=0))
        fits = largest == 0 or float(limits.smallest_normal) <= largest <= float(limits.max)
        return array.astype(np.float16 if fits else np.float32)


def encode(value: Any) -> Any:
    """Arrays, tensors and pictures as text in plain JSON values; everything else as it is.

    float64 travels as float32, int64 as int32; a picture as a PNG in a data address. Raises TypeError.
    """
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, Half):
        return _array(value.numbers())
    if isinstance(value, Image.Image):
        return png(value)
    if isinstance(value, np.generic):
        return value.item()
    if hasattr(value, "detach") or isinstance(value, np.ndarray):
        return _array(_numpy(value))
    return value


def _numpy(value) -> np.ndarray:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


def _array(array: np.ndarray) -> dict[str, Any]:
    if array.dtype.name not in DTYPES:
        raise TypeError(f"An array of {array.dtype} cannot be sent to a browser: make it a number or a list of words.")
    code = DTYPES[array.dtype.name]
    little = np.ascontiguousarray(array, dtype=np.dtype(code).newbyteorder("<"))
    return {"dtype": code, "shape": list(array.shape), "base64": base64.b64encode(little.tobytes()).decode()}


def png(picture: Image.Image) -> str:
    """A picture as the address of an <img>."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def jpeg(picture: Image.Image) -> str:
    """The same in a fraction of the bytes, for pictures that are looked at and not measured."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def dumps(message: dict[str, Any]) -> str:
    """A message as JSON in which nothing can end a script element. Raises ValueError for infinities and NaN."""
    plain = encode(message)
    try:
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise ValueError(
            f"{message.get('title', 'What was asked')}: its numbers are not all finite (NaN or infinity), and a page "
            "cannot show these. Find the first part of the net that puts them out: probe[place].isfinite().all()."
        ) from error
    return text.replace("</", "<\\/").replace("<!--", "<\\u0021--")


# Scripts -----------------------------------------------------------------------------------------------------------


@cache
def common() -> str:
    """What all views use: the house colours, paint.js and kit.js."""
    from matplotlib import colormaps

    tables = {
        name: (np.asarray(colormaps[colours](range(256)))[:, :3] * 255).round().astype(np.uint8)
        for name, colours in (("sequential", SEQUENTIAL), ("diverging", DIVERGING))
    }
    maps = {name: base64.b64encode(table.tobytes()).decode() for name, table in tables.items()}
    constants = (
        f"const CYCLE = {json.dumps(CYCLE)};\n"
        f"const MAPS = Object.fromEntries(Object.entries({json.dumps(maps)}).map(([name, text]) =>\n"
        "  [name, Uint8Array.from(atob(text), (c) => c.charCodeAt(0))]));\n"
    )
    return "\n".join([constants, _read("paint.js"), _read("kit.js")])


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _script(name: str) -> str:
    """The ES module of a view, which lies beside its Python."""
    return next(VIEWS.rglob(f"{name}.js")).read_text(encoding="utf-8")


@cache
def styles() -> str:
    """The style sheet of all views."""
    return _read("kit.css")


@cache
def module(script: str) -> str:
    """The ES module of one view, as anywidget runs it."""
    render = "export default { render: ({ model, el }) => mount(view, model, el) };"
    return "\n".join([common(), _script(script), render])


# Pages -------------------------------------------------------------------------------------------------------------


def page(title: str, views: list[tuple[str, dict[str, Any]]], *, lead: str = "") -> str:
    """One HTML page with some views, each a script's name and its message: no request leaves it."""
    rooms = "\n".join(
        f"views[{json.dumps(name)}] = (() => {{\n{_script(name)}\nreturn view;\n}})();"
        for name in dict.fromkeys(name for name, _ in views)
    )
    stored = "\n".join(
        f'<script type="application/json" class="nw-data" data-script="{html.escape(name)}">{dumps(message)}</script>'
        for name, message in views
    )
    places = "\n".join("<div class='nw-place'></div>" for _ in views)
    script = "\n".join([common(), "const views = {};", rooms, _read("page.js")])
    lead = f"<p>{html.escape(lead)}</p>\n" if lead else ""
    # Without indentation a third smaller, which counts where a notebook holds ten pages. No text in them depends on it.
    script = re.sub(r"^[ ]+", "", script, flags=re.MULTILINE)
    return _document(title, f"{lead}{places}", f'{stored}\n<script type="module">\n{script}\n</script>')


def still_page(title: str, badge: dict[str, str], picture: Picture) -> str:
    """A page of a view that is a picture."""
    still = f"{badge_html(badge)}\n{picture._repr_mimebundle_()['text/html']}"
    return _document(title, f'<section class="nw-view" aria-label="{html.escape(title, quote=True)}">{still}</section>')


def _document(title: str, inside: str, behind: str = "") -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>
{styles()}
{_read("page.css")}
</style>
</head>
<body class="nw-page">
<main>
<h1>{html.escape(title)}</h1>
{inside}
</main>
{behind}
</body>
</html>
"""


def badge_html(badge: dict[str, str]) -> str:
    """The badge where there is no script to draw it: the sign, and what was measured."""
    sign = {"holds": "✓", "approximate": "≈", "fails": "✗"}[badge["state"]]
    return f'<p style="font: 13px system-ui, sans-serif; margin: 4px 0">{sign} {html.escape(badge["text"])}</p>'


def frame(title: str, document: str, height: int, still: str) -> str:
    """A page inside of a notebook's output; where scripts do not run, the still picture takes its place."""
    # Between single quotes, because scripts and data are full of double ones, which would each take six characters.
    document = html.escape(document, quote=False).replace("'", "&#39;")
    return (
        f'<iframe title="{html.escape(title, quote=True)}" '
        f"srcdoc='{document}' "
        f'style="width: 100%; height: {height}px; border: 0" loading="lazy" class="nw-frame"></iframe>'
        f'<div class="nw-still">{still}</div>'
    )
