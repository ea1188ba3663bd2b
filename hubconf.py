"""Entry points of torch.hub: torch.hub.load(folder, "resnext50_32x4d_ssl", source="local"), made from the catalogue.

Every architecture and every publisher's name of some weights that Python accepts as a name is one.
"""

import sys as _sys
from pathlib import Path as _Path

# At the front, so that this checkout is used even beside an installed netwright; it stays there, because processes that
# load data or train together import the net's classes anew.
_LIBRARY = str(_Path(__file__).resolve().parent / "lib")
if _LIBRARY not in _sys.path:
    _sys.path.insert(0, _LIBRARY)

from netwright import create_model as _create_model
from netwright import list_weights as _list_weights

dependencies = ["torch", "numpy", "PIL", "safetensors", "filelock", "httpx", "huggingface_hub", "tqdm"]

# Facebook's own hub has names that end so, and gives them pretrained; everybody else's wait to be asked.
_PRETRAINED = ("_ssl", "_swsl")


def _entry_point(name: str, weights):
    default = name.endswith(_PRETRAINED)

    def entry_point(pretrained: bool = default, *, progress: bool = True, **options):
        return _create_model(name, pretrained, progress=progress, **options)

    entry_point.__name__ = entry_point.__qualname__ = name
    entry_point.__doc__ = _help(name, weights, default)
    return entry_point


def _help(name: str, weights, default: bool) -> str:
    file = weights.files[0]
    licence = f"{weights.licence} (non-commercial)" if weights.noncommercial else weights.licence
    return f"""{weights.architecture}; its weights: {weights.name}, published by {weights.publisher}

    {file.filename}, {file.size_text}, ImageNet top-1 {weights.top1:.2f} %, licence {licence}.
    pretrained: load them ({default} unless you say otherwise). progress: show the download.
    Everything else goes to netwright.create_model: weights=, num_classes=, in_chans=, features_only=, out_indices=,
    drop_rate=, drop_path_rate=, output_stride=.
    """


def _entry_points() -> dict:
    known = {weights.architecture: weights for weights in _list_weights() if weights.default}
    for weights in _list_weights():
        known |= {name: weights for name in weights.aliases if name.isidentifier() and name not in known}
    return {name: _entry_point(name, weights) for name, weights in known.items()}


globals().update(_entry_points())
