"""Sections of a report on what a net answered: figures, classes, confusion, mistakes, bad pictures.

Imports images, datasets, pages, toys and, of this room, figures, metrics and predictions.
"""

from collections.abc import Sequence
from pathlib import PurePath

from PIL import Image

from netwright.datasets import PictureSet, ToyPictures
from netwright.evaluate.figures import MOST_CLASSES, MOST_NAMES, Mistake, confusion, worst_mistakes, worst_pairs
from netwright.evaluate.metrics import Measures, Share
from netwright.evaluate.predictions import Predictions
from netwright.images import ImageError
from netwright.pages import Bar, Number, Page
from netwright.toys import groups

MOST_ROWS = 25  # of a table that is not folded
DPI = 200  # of figures on a page, which are printed


def add_numbers(page: Page, measures: Measures) -> None:
    """The figures that are to be seen first, with their intervals."""
    numbers = [_number("Top-1", measures.top1)]
    if measures.top5 is not None:
        numbers.append(_number("Top-5", measures.top5))
    numbers.append(Number("Mean of classes", f"{measures.mean_class:.1%}", "each class alike"))
    numbers.append(Number("Loss", f"{measures.loss:.3f}", "nats a picture"))
    numbers.append(Number("Calibration error", f"{measures.calibration.ece:.1%}", "ECE"))
    page.numbers(numbers)
    if measures.not_finite:
        page.note(
            f"On {measures.not_finite} pictures the net gave no numbers (NaN or infinity). They count as wrong; "
            "a lower precision than it was trained with is the usual reason."
        )


def add_classes(page: Page, measures: Measures) -> None:
    """A table of the groups of classes, where there are any, and one of the classes, the worst first."""
    if measures.per_group:
        _shares(page, "group", measures.per_group.items(), "By group of classes")
    ordered = sorted(measures.per_class.items(), key=lambda item: (item[1].value, item[0]))
    caption = "By class, the worst first; the line on a bar is the 95% interval"
    if len(ordered) <= MOST_ROWS:
        _shares(page, "class", ordered, caption)
        return
    worst = 10
    _shares(page, "class", ordered[:worst], f"The {worst} worst of {len(ordered)} classes, with 95% intervals")
    with page.folded(f"All {len(ordered)} classes"):
        _shares(page, "class", ordered, caption)


def add_confusion(page: Page, measures: Measures, class_names: Sequence[str]) -> None:
    """The confusion matrix, where it is not finer than a page, and the pairs that cost the most pictures."""
    pairs = worst_pairs(measures, class_names)
    if not pairs:
        page.text("There are no mistakes to be shown.")
        return
    if len(measures.per_class) <= MOST_CLASSES and len(class_names) <= MOST_CLASSES:
        caption = "Each row is a class, and adds up to 100%. The diagonal is what was answered right."
        if len(class_names) > MOST_NAMES:
            caption += " The numbers count the classes of the data set, from 0."
        page.picture(confusion(measures, class_names, dpi=DPI), caption)
    page.table(
        ("right class", "answer", "pictures", "share of the class"),
        [(pair.right, pair.said, f"{pair.count} of {pair.of}", f"{pair.share:.1%}") for pair in pairs],
        right=(2, 3),
        caption="The confusions that cost the most pictures",
    )


def add_mistakes(page: Page, predictions: Predictions, pictures: PictureSet, most: int = 24) -> None:
    """The pictures on which the net was surest and wrong."""
    shown = [_entry(mistake, pictures) for mistake in worst_mistakes(predictions, most)]
    if not shown:
        page.text("There is none.")
        return
    page.text(
        "The pictures on which the net was surest and wrong, each with the answer, the class that its label says, and "
        "the probability of either. Look for what they have in common, and for labels that are wrong themselves."
    )
    page.gallery([entry for entry in shown if entry is not None])


def add_bad(page: Page, bad: Sequence[tuple[str, str]]) -> None:
    """The pictures that could not be opened, by name, each with the reason."""
    rows = sorted({(str(where), str(reason)) for where, reason in bad})
    caption = f"{len(rows)} picture{'s' * (len(rows) != 1)} could not be opened, and {'were' if len(rows) != 1 else 'was'} left out"
    if len(rows) <= MOST_ROWS:
        page.table(("picture", "why"), rows, caption=caption)
        return
    page.text(f"{caption}.")
    with page.folded("Their names"):
        page.table(("picture", "why"), rows)


def groups_of(pictures: PictureSet) -> dict[str, list[int]] | None:
    """The numbers of the classes in each group, of the toy world; other sets have no groups."""
    if not isinstance(pictures, ToyPictures):
        return None
    return groups()


# Small helpers -------------------------------------------------------------------------------------------------


def percent(share: Share) -> tuple[str, str]:
    """A share and its interval as people write them: ("94.4%", "91.5 to 96.3")."""
    return f"{share.value:.1%}", f"{100 * share.low:.1f} to {100 * share.high:.1f}"


def _number(label: str, share: Share) -> Number:
    value, interval = percent(share)
    return Number(label, value, f"95%: {interval}")


def _shares(page: Page, what: str, shares, caption: str) -> None:
    rows = [
        (name, *percent(one), Bar(one.value, one.low, one.high), f"{one.count:,} of {one.of:,}")
        for name, one in shares
        if one.of
    ]
    page.table((what, "top-1", "interval", "from 0 to 100%", "right"), rows, right=(1, 2, 4), caption=caption)


def _entry(mistake: Mistake, pictures: PictureSet) -> tuple[Image.Image, str, str] | None:
    """A picture of the gallery; None where it can no longer be opened."""
    try:
        image = pictures.picture(mistake.index)
    except (ImageError, OSError):
        return None
    where = "/".join(PurePath(pictures.where(mistake.index)).parts[-2:])
    caption = f"{mistake.said}, {mistake.confidence:.1%}\nis {mistake.right}, {mistake.of_right:.1%}\n{where}"
    return image, caption, f"A picture of class {mistake.right}, taken for {mistake.said}."
