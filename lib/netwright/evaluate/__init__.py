"""Evaluation: what a net answers on a set of pictures, and figures of it that can be defended."""

from netwright.evaluate.labelmaps import EvaluationError, LabelMap, label_map
from netwright.evaluate.metrics import Comparison, Measures, Share, compare, measure, share
from netwright.evaluate.predictions import Predictions, predict

__all__ = [
    "Comparison",
    "EvaluationError",
    "LabelMap",
    "Measures",
    "Predictions",
    "Share",
    "compare",
    "label_map",
    "measure",
    "predict",
    "share",
]
