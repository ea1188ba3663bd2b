"""Judging answers to exercises in the tests of a room of lessons."""

from netwright.lessons import check


def judging(room: str):
    """Two functions (name, answer) for the exercises of a room: the answer passes; it is refused."""

    def passes(name, theirs):
        outcome = check(f"{room}.{name}", theirs)
        assert outcome.status == "passed", outcome
        return True

    def refused(name, theirs):
        """It fails, and as none of the known mistakes: the check itself finds it."""
        outcome = check(f"{room}.{name}", theirs)
        assert outcome.status in ("failed", "crashed"), outcome
        assert outcome.mistake is None, outcome
        return True

    return passes, refused
