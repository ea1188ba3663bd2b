"""Whether the library is still what it was when the first cell of a notebook ran.

Imports nothing of the project: it looks at whatever of it is loaded.
"""

import builtins
import inspect
import sys
from types import FunctionType, ModuleType
from typing import Any

PACKAGE = "netwright"
_OF_EVERY_MODULE = {"__name__", "__doc__", "__package__", "__loader__", "__spec__", "__build_class__", "__import__"}


def remember() -> dict[str, tuple]:
    """Name -> what stands there: what the library's modules, classes and checks are made of, as far as it is code."""
    found: dict[str, tuple] = {}
    for name, module in _modules().items():
        inside = dict(vars(module))
        found[f"the module {name}"] = (module, *sorted(inside.keys() & vars(builtins).keys() - _OF_EVERY_MODULE))
        for key, value in inside.items():
            if inspect.isclass(value) and value.__module__ == name:
                own = {part: it for part, it in dict(vars(value)).items() if _is_code(it)}
                found |= {f"{name}.{key}.{part}": _what(it) for part, it in own.items()}
                found[f"{name}.{key}"] = (value, *own)  # a method more may stand in the way of an inherited one
            elif _is_code(value):
                found[f"{name}.{key}"] = _what(value)
            elif key == "CHECKS":
                for each in value:
                    found[f"the check {each.id}"] = (each.ours, each.measure, each.tolerance, each.mistakes)
    return found


def altered(before: dict[str, tuple]) -> list[str]:
    """The names at which something else stands now. A new function beside the others is no alteration."""
    now = remember()
    return [name for name, what in before.items() if not _same(what, now.get(name, ()))]


def _same(what: tuple, other: tuple) -> bool:
    return len(what) == len(other) and all(
        one is two or (isinstance(one, str) and one == two) for one, two in zip(what, other, strict=True)
    )


def _modules() -> dict[str, ModuleType]:
    return {
        name: module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == PACKAGE and not name.startswith(f"{PACKAGE}.grading")
    }


def _is_code(value: Any) -> bool:
    return callable(value) or isinstance(value, staticmethod | classmethod | property | ModuleType)


def _what(value: Any) -> tuple:
    """A thing and, since a function can be given another code, what it runs."""
    inner = inspect.unwrap(value) if isinstance(value, FunctionType) or hasattr(value, "__wrapped__") else value
    inner = getattr(inner, "__func__", inner)
    if not isinstance(inner, FunctionType):
        return (value,)
    return (value, inner.__code__, inner.__defaults__, inner.__kwdefaults__)
