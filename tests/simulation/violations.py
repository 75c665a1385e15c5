"""The error of all invariants, and the one way to raise it."""

from __future__ import annotations


class Violation(AssertionError):
    """An invariant does not hold."""


def require(holds: bool, sentence: str) -> None:
    """Raises Violation with this sentence."""
    if not holds:
        raise Violation(sentence)
