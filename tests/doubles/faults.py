"""The hook by which a simulation makes a double fail, or dies, around an effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Called with the name of the operation; what it raises, the caller of the port sees.
Fault = Callable[[str], None]


def never(_: str) -> None:
    """The hook of a world without failures."""


@contextmanager
def effect(fault: Fault, operation: str) -> Iterator[None]:
    """Around one effect: `.before` it, and `.after` it when it happened."""
    fault(f"{operation}.before")
    yield
    fault(f"{operation}.after")
