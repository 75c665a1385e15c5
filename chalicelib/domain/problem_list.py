"""A bounded list of compile problems, each at a JSON Pointer."""

from __future__ import annotations

from collections.abc import Iterable

from chalicelib.domain.errors import Problem

#: Problems reported in one answer; more would only hide the first ones.
MAX_PROBLEMS = 200


def pointer(*segments: str | int) -> str:
    """The JSON Pointer (RFC 6901) of these keys and indexes, escaped."""
    return "".join(f"/{segment}" if isinstance(segment, int) else f"/{escape(segment)}" for segment in segments)


def escape(segment: str) -> str:
    """One key as a segment of a JSON Pointer."""
    return segment.replace("~", "~0").replace("/", "~1")


def shorten(value: object, length: int = 60) -> str:
    """A value as text for a message, cut to about `length` characters."""
    text = str(value)
    return text if len(text) <= length else text[: length - 1] + "…"


class ProblemList:
    """Collects problems in the order found, and keeps the first `MAX_PROBLEMS`."""

    def __init__(self) -> None:
        self._kept: dict[Problem, None] = {}
        #: True once a problem had to be left out: looking for more changes nothing.
        self.overfull = False

    def add(self, code: str, path: str, message: str) -> None:
        """Add one problem. An equal one is kept once."""
        self.extend((Problem(code, path, message),))

    def extend(self, problems: Iterable[Problem]) -> None:
        """Add several."""
        for problem in problems:
            if problem in self._kept:
                continue
            if len(self._kept) == MAX_PROBLEMS:
                self.overfull = True
                return
            self._kept[problem] = None

    def __bool__(self) -> bool:
        return bool(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def listed(self, code: str = "too_many_problems") -> list[Problem]:
        """The problems kept, and one more of `code` at the document if some were left out."""
        if not self.overfull:
            return list(self._kept)
        text = f"There are more than these {MAX_PROBLEMS}; mend them and compile again."
        return [*self._kept, Problem(code, "", text)]
