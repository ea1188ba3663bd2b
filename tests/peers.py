"""The independent implementations that the tests compare with. Development only: nothing under lib/ imports them."""

import importlib.util
import warnings
from pathlib import Path

import torch


def _compiled_operators_load() -> bool:
    folder = Path(importlib.util.find_spec("torchvision").origin).parent
    try:
        for library in folder.glob("_C.*"):
            torch.ops.load_library(library)
    except OSError:
        return False
    return hasattr(torch.ops.torchvision, "nms")


# torchvision's compiled operators do not load beside a CPU build of PyTorch, and its Python side then fails on
# import because the operators it describes are unknown. Declaring their schemas is enough: no test calls them.
if not _compiled_operators_load():
    _LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
    for _schema in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    ):
        _LIBRARY.define(_schema)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import timm
    import timm.data
    import torchvision
    import torchvision.transforms

__all__ = ["timm", "torchvision"]
