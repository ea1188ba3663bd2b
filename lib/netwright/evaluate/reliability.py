"""The reliability diagram: does a net that says 80 % err in one of five cases? Imports figures and, of this room, metrics."""

from netwright.evaluate.metrics import Calibration, share
from netwright.figures import CYCLE, Picture, show, subplots


def reliability(calibration: Calibration, title: str = "", *, dpi: int = 100) -> Picture:
    """Accuracy over confidence (Guo et al. 2017, figure 1), with 95 % intervals, and how many pictures lie where.

    On the dashed line a net knows how often it is right; below, it is too sure.
    """
    figure, (curve, counts) = subplots(2, 1, figsize=(5.0, 4.6), sharex=True, height_ratios=(3, 1))
    figure.set_dpi(dpi)
    filled = [it for it in calibration.bins if it.count]
    shares = [share(round(it.accuracy * it.count), it.count) for it in filled]
    places, heights = [it.confidence for it in filled], [it.value for it in shares]
    spread = [[it.value - it.low for it in shares], [it.high - it.value for it in shares]]
    curve.plot([0, 1], [0, 1], "--", color="0.5", linewidth=1)
    curve.errorbar(places, heights, yerr=spread, fmt="o-", color=CYCLE[0], capsize=3, linewidth=1.5)
    curve.set(xlim=(0, 1), ylim=(0, 1), ylabel="share right", title=title or f"ECE {calibration.ece:.1%}")
    width = calibration.bins[0].high - calibration.bins[0].low
    counts.bar(
        [it.low for it in calibration.bins], [it.count for it in calibration.bins], width, align="edge", color="0.6"
    )
    counts.set(xlabel="confidence", ylabel="pictures")
    return show(figure, reliability_in_words(calibration))


def reliability_in_words(calibration: Calibration) -> str:
    """What the diagram shows, for those who do not see it."""
    total = sum(it.count for it in calibration.bins)
    if not total:
        return "Reliability diagram without any picture."
    sure = sum(it.count * it.confidence for it in calibration.bins) / total
    right = sum(it.count * it.accuracy for it in calibration.bins) / total
    manner = (
        "too sure of itself"
        if sure > right + 0.005
        else "too modest"
        if sure < right - 0.005
        else "about as sure as it is right"
    )
    return (
        f"Reliability diagram. On average the net says {sure:.1%} and is right in {right:.1%}, so it is {manner}; the "
        f"expected calibration error is {calibration.ece:.1%}."
    )
