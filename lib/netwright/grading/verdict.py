"""The mark of an answer, made of what it did: the engine's own judgement, in a process where no student's code has run.

Imports the engine of lessons, parcels, marks and session.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch

from netwright.grading.parcels import pack, unpack
from netwright.grading.session import FAULTS, Found
from netwright.lessons import engine
from netwright.lessons.laboratory import Tape, each_case, laboratory


class _Recorded:
    """An answer that ran elsewhere: what it did there, case by case, and the exception that ended it."""

    def __init__(self, called: str, cases: list, fault: dict | None, whats: list[str] = (), leans: bool = False):
        self.__name__ = called
        self.cases, self.fault, self.whats, self.leans = cases, fault, whats, leans


def _recorded(content: dict, parts: list[bytes]) -> _Recorded:
    fault = content["fault"]
    if fault:
        fault = {key: str(fault[key]) for key in ("kind", "name", "text")}
        if fault["kind"] not in FAULTS:
            raise ValueError(f"{fault['kind']} is no way to end")
    return _Recorded(
        str(content["called"]), [unpack(case, parts) for case in content["cases"]], fault, leans=content["leans"]
    )


class Judge:
    """Gives marks. It keeps what the library's versions and the known mistakes do, so that it is computed once."""

    def __init__(self):
        self._known: dict[tuple[str, int], _Recorded] = {}

    def outcome(self, exercise: str, found: Found) -> tuple[str, str | None, str]:
        """(outcome, the known mistake that it equals, message)."""
        content = found.content
        if found.outcome:
            return found.outcome, None, found.message
        if content.get("altered"):
            names = list(content["altered"])
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            return "tampered", None, f"The notebook altered {names[0]}{more}, so its answers cannot be judged."
        if content.get("open"):
            return "not attempted", None, "There is still an open place (...) where the code goes."
        try:
            answer = _recorded(content, found.parts)
        except Exception as error:  # noqa: BLE001  no worker sends such a thing; a student's code might
            return "crashed", None, f"What was measured of it cannot be read: {type(error).__name__}: {error}"
        return self._judged(exercise, answer)

    def _judged(self, exercise: str, answer: _Recorded) -> tuple[str, str | None, str]:
        fault = answer.fault
        if fault and fault["kind"] != "crashed":
            took = (
                "its time was over" if fault["kind"] == "out of time" else "it asked for more memory than it may take"
            )
            return fault["kind"], None, f"{answer.__name__} was measured, and {took}."
        check = engine.find(exercise)
        self._done(check, check.ours)  # before the engine looks at the clock
        replayed = dataclasses.replace(check, measure=lambda version: self._replay(check, version))
        outcome = engine.judge(replayed, answer)
        message = outcome.message
        if outcome.mistake:
            message = message.partition("\n")[2]  # the first line names the mistake, which has a column of its own
        if outcome.status == "crashed" and fault:
            message = f"{answer.__name__} raised {fault['text']}"
        if answer.leans:
            message = f"{answer.__name__} uses the library's own version. {message}"
        return outcome.status, outcome.mistake, message

    def _replay(self, check: engine.Check, version: Any) -> Iterator[tuple[str, Any]]:
        ours = self._done(check, check.ours)
        did = version if isinstance(version, _Recorded) else self._done(check, version)
        for i, case in enumerate(did.cases):
            yield ours.whats[i] if i < len(ours.whats) else "one case more", case
        if did.fault:
            raise _exception(did.fault["name"])

    def _done(self, check: engine.Check, version: Any) -> _Recorded:
        """What a version of ours does, by the same road as a student's: packed and unpacked."""
        key = (check.id, id(version))
        if key not in self._known:
            whats, cases, fault = [], [], None
            # In the laboratory, but without its time limit: ours come to an end, however busy this machine is.
            with _one_thread(), laboratory(Tape()):
                try:
                    for what, value in each_case(check.measure, version):
                        parts: list[bytes] = []
                        whats.append(what)
                        cases.append(unpack(pack(value, parts), parts))
                except Exception as error:  # noqa: BLE001  some known mistakes crash
                    fault = {"name": type(error).__qualname__}
            self._known[key] = _Recorded("ours", cases, fault, whats)
        return self._known[key]


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """As in a student's process: then equal sums are equal to the last digit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _exception(name: str) -> Exception:
    return _kind(name)()


@cache
def _kind(name: str) -> type[Exception]:
    """One class for each name, so that two exceptions of the same name are of the same class."""
    return type(name, (Exception,), {})
