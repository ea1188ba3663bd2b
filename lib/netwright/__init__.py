"""netwright: build ResNet, ResNeXt, ResNeSt and HaloNet, load the published weights into them, prove them.

The names below are loaded when first used, so that importing netwright costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOME_OF = {
    "create_model": "models",
    "list_models": "models",
    "list_weights": "models",
    "transform_for": "models",
    "classify": "models",
    "load_run": "models",
    "optimize": "inference",
    "open_image": "images",
    "labels": "imagenet",
    "probe": "probing.capture",
    "first_difference": "probing.difference",
    "golden_checkpoint": "probing.golden",
    "golden_input": "probing.golden",
    "golden_picture": "probing.golden",
    "Block": "nets.config",
    "EfficientChannelAttention": "nets.config",
    "Halo": "nets.config",
    "NetConfig": "nets.config",
    "Split": "nets.config",
    "SqueezeExcite": "nets.config",
    "Stage": "nets.config",
    "Stem": "nets.config",
    "pick_device": "device",
    "show": "figures",
    "subplots": "figures",
    "ToyWorld": "toys.world",
    "open_data": "datasets.opening",
    "finetune": "tune.finetune",
    "LiveCurves": "tune.curves",
}

__all__ = list(_HOME_OF)

if TYPE_CHECKING:  # for editors, which do not run __getattr__
    from netwright.datasets.opening import open_data
    from netwright.device import pick_device
    from netwright.figures import show, subplots
    from netwright.imagenet import labels
    from netwright.images import open_image
    from netwright.inference import optimize
    from netwright.models import classify, create_model, list_models, list_weights, load_run, transform_for
    from netwright.nets.config import (
        Block,
        EfficientChannelAttention,
        Halo,
        NetConfig,
        Split,
        SqueezeExcite,
        Stage,
        Stem,
    )
    from netwright.probing.capture import probe
    from netwright.probing.difference import first_difference
    from netwright.probing.golden import golden_checkpoint, golden_input, golden_picture
    from netwright.toys.world import ToyWorld
    from netwright.tune.curves import LiveCurves
    from netwright.tune.finetune import finetune


def __getattr__(name: str):
    if name not in _HOME_OF:
        raise AttributeError(f"module 'netwright' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"netwright.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
