"""Which object of a notebook is the answer to an exercise. Imports submissions and, within functions, lessons."""

from types import CodeType, FunctionType, ModuleType
from typing import Any

from netwright.grading.submissions import Asked


class Answers:
    """Remembers what a notebook marks as an answer and what it hands to checks, in the order in which it does."""

    def __init__(self):
        from netwright import lessons
        from netwright.lessons import engine

        self.find, self.is_open = engine.find, engine.is_open
        self.marked: dict[str, Any] = {}
        self.handed: dict[str, Any] = {}
        mark, check = engine.exercise, engine.check

        def exercise(name: str):
            marking = mark(name)

            def remember(theirs):
                self.marked[name] = marking(theirs)
                return theirs

            return remember

        def checking(name: str, theirs: Any):
            self.handed[name] = theirs
            return check(name, theirs)

        for place in (engine, lessons):
            place.exercise, place.check = exercise, checking

    def answer(self, asked: Asked, namespace: dict) -> tuple[Any, bool]:
        """The answer and whether it is still open; (None, True) where there is none.

        The last that was marked; where that is open, or a value that takes no mark, the one by the published name
        or the last that was handed to a check. What the library defines is nobody's answer.
        """
        found = [self.marked.get(asked.exercise), namespace.get(asked.name), self.handed.get(asked.exercise)]
        found = [one for one in found if one is not None and not _is_the_librarys(one)]
        opened = [self.is_open(one) for one in found]
        for one, is_open in zip(found, opened, strict=True):
            if not is_open:
                return one, False
        return (found[0], True) if found else (None, True)


def _is_the_librarys(answer: Any) -> bool:
    return (
        isinstance(answer, type | FunctionType)
        and str(getattr(answer, "__module__", "")).partition(".")[0] == "netwright"
    )


def leans_on(theirs: Any, ours: Any) -> bool:
    """Whether an answer is made of the library's own version, as far as can be seen: inherits from it, or names it."""
    if isinstance(theirs, type):
        functions = [getattr(part, "__func__", part) for part in vars(theirs).values()]
        if ours in theirs.__mro__:
            return True
    else:
        functions = [theirs]
    return any(_names(it.__code__, it.__globals__, ours) for it in functions if isinstance(it, FunctionType))


def _names(code: CodeType, namespace: dict, ours: Any) -> bool:
    modules = [it for name in code.co_names if isinstance(it := namespace.get(name), ModuleType)]
    places = [namespace, *(vars(module) for module in modules)]
    if any(place.get(name) is ours for place in places for name in code.co_names):
        return True
    return any(_names(inner, namespace, ours) for inner in code.co_consts if isinstance(inner, CodeType))
