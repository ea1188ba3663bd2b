"""What training minimises: cross-entropy, or one yes-or-no question a class. Imports torch.

Targets are class numbers (batch,) or, softened or mixed, probabilities (batch, classes). Losses are computed in float32.
"""

from torch import Tensor
from torch.nn import functional as F


def soft_targets(target: Tensor, num_classes: int, smoothing: float = 0.0) -> Tensor:
    """Class numbers (batch,) to probabilities (batch, num_classes), float32, that sum to 1.

    Label smoothing (Szegedy et al. 2016, section 7) takes `smoothing` from the true class and shares it among all
    classes, the true one included.
    """
    _check(smoothing)
    return F.one_hot(target, num_classes).float() * (1 - smoothing) + smoothing / num_classes


def cross_entropy(logits: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Mean over the batch of -sum over classes of target * log softmax(logits), logits being (batch, classes).

    `smoothing` acts on class numbers only: who hands over probabilities has softened them already (`Mixing` does).
    """
    if target.ndim == 1:
        target = soft_targets(target, logits.shape[1], smoothing)
    return -(target * F.log_softmax(logits.float(), dim=1)).sum(1).mean()


def binary_cross_entropy(
    logits: Tensor, target: Tensor, *, smoothing: float = 0.0, threshold: float | None = None
) -> Tensor:
    """Every class asked for on its own, by a sigmoid: the mean over batch and classes (Wightman et al. 2021, 2.2).

    A mixed picture shows two things, and to this loss both may be wholly there. `threshold` says so: targets above
    it count as 1, others as 0, which also undoes smoothing. `smoothing` acts on class numbers only.
    """
    if target.ndim == 1:
        target = soft_targets(target, logits.shape[1], smoothing)
    if threshold is not None:
        target = (target > threshold).float()
    return F.binary_cross_entropy_with_logits(logits.float(), target)


def _check(smoothing: float) -> None:
    if not 0 <= smoothing < 1:
        raise ValueError(f"Label smoothing of {smoothing} is no share of a probability: choose 0 to below 1.")
