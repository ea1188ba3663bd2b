"""Static pictures: one house style, and a matplotlib figure whose description reaches the page as alt text.

Imports nothing of the project.
"""

import base64
import html
import io

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from matplotlib.text import Text

# Okabe and Ito's colours, which stay apart in the three common kinds of colour blindness ("Color universal design",
# 2008). Their yellow is left out: on white it is too faint for a line.
CYCLE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
SEQUENTIAL = "viridis"  # magnitudes, from zero up
DIVERGING = "RdBu_r"  # signed quantities, centred on zero

# Width and height in inches at 100 pixels an inch: half and whole width of a notebook on a laptop and on a projector.
HALF, WIDE, TALL = (5.0, 3.2), (9.0, 3.2), (9.0, 6.0)

STYLE = {
    "figure.figsize": WIDE,
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    # A dark notebook theme shows through a transparent figure and swallows its black text.
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.prop_cycle": mpl.cycler(color=CYCLE),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 13,
    "axes.labelsize": 12,
    "font.size": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "image.cmap": SEQUENTIAL,
    "image.interpolation": "nearest",
}


def subplots(rows: int = 1, columns: int = 1, *, figsize: tuple[float, float] = WIDE, **options):
    """``plt.subplots`` in the house style; ``figsize`` is one of HALF, WIDE and TALL, or (width, height) in inches."""
    # Set for good, because plot, imshow and legend read their defaults when they are called, after this returns.
    mpl.rcParams.update(STYLE)
    return plt.subplots(rows, columns, figsize=figsize, **options)


class Picture:
    """A finished figure as a PNG with its description, shown by a notebook as ``<img alt=...>``.

    Notebook front ends and their HTML exports drop the description of an ``image/png`` output, so the picture
    travels as ``text/html`` instead. ``png`` holds the bytes, ``alt`` the description.
    """

    def __init__(self, png: bytes, alt: str):
        self.png = png
        self.alt = alt

    def in_few_colours(self) -> "Picture":
        """The same in 256 colours and a third of the bytes, for a picture that only stands in for something better."""
        from PIL import Image

        buffer = io.BytesIO()
        with Image.open(io.BytesIO(self.png)) as picture:
            picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        return Picture(buffer.getvalue(), self.alt)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        data = base64.b64encode(self.png).decode()
        alt = html.escape(self.alt, quote=True)
        image = f'<img alt="{alt}" style="max-width: 100%" src="data:image/png;base64,{data}">'
        return {"text/html": image, "text/plain": self.alt}


def show(figure: Figure, alt: str, *, dpi: int | None = None) -> Picture:
    """Turn a matplotlib figure into a Picture and close it, so that no second copy of it is drawn.

    ``alt`` says in a sentence what the figure shows, for those who cannot see it. Raises ValueError when it is empty.
    ``dpi``: None for the house style's; 200 on a page that is printed (`pages` shows it at the same size, sharper).
    """
    if not alt.strip():
        raise ValueError("A figure needs a description: show(figure, alt='what one sees, in a sentence').")
    for text in figure.findobj(Text):
        if not all(map(_is_formula, text.get_text().splitlines())):
            text.set_parse_math(False)
    buffer = io.BytesIO()
    # Without the version of matplotlib in its metadata the same figure is the same bytes.
    figure.savefig(buffer, format="png", dpi=dpi or "figure", metadata={"Software": None, "Description": alt})
    plt.close(figure)
    return Picture(buffer.getvalue(), alt)


def _is_formula(line: str) -> bool:
    """Whether matplotlib can set what stands between dollars; a class may be called anything, and be no formula."""
    if line.count("$") > 1:
        try:
            MathTextParser("path").parse(line)
        except ValueError:
            return False
    return True
