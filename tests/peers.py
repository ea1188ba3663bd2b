"""The independent implementations that the tests compare with. Development only: nothing under lib/ imports them."""

import warnings

import torch

# torchvision's compiled operators do not load beside a CPU build of PyTorch, and its Python side then fails on
# import because the operators it describes are unknown. Declaring their schemas is enough: no test calls them.
_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
for _schema in (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
):
    if not hasattr(torch.ops.torchvision, _schema.split("(")[0]):
        _LIBRARY.define(_schema)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import timm
    import timm.data
    import torchvision
    import torchvision.transforms

__all__ = ["timm", "torchvision"]
