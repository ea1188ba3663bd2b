"""Which notebook asks the exercises of which room, in the order of the book. Imports nothing of the project."""

import re

BOOK = {
    "00_bench": "bench",
    "01_resnet": "resnet",
    "02_weights_proven": "weights",
    "03_resnext": "resnext",
    "04_split_attention": "splat",
    "05_resnest": "resnest",
    "06_local_attention": "halo",
    "07_halonet": "halonet",
    "08_features": "features",
    "09_attention": "attention",
    "10_finetune": "finetune",
    "11_evaluate": "evaluate",
}

_NAMED = re.compile(r"\b(?:exercise|check)\(\s*[\"']([\w.]+)[\"']")


def exercises_in(code: str) -> list[str]:
    """The exercises that code names, in exercise("…") or check("…"), each once, whether or not it is correct Python."""
    return list(dict.fromkeys(_NAMED.findall(code)))


def notebook_of(exercise: str) -> str:
    """The notebook in which an exercise stands: "weights.resnest" in "02_weights_proven". Raises KeyError."""
    room = exercise.partition(".")[0]
    return next(notebook for notebook, asked in BOOK.items() if asked == room)
