"""The one place where routes get their services from; tests and tools may bring their own."""

from __future__ import annotations

from chalicelib import wiring
from chalicelib.engine.services import Services

_brought: list[Services] = []


def services() -> Services:
    """What `use` brought, else this process's own. Raises ConfigurationError."""
    return _brought[-1] if _brought else wiring.services()


def use(replacement: Services | None) -> None:
    """Serve with these from now on; None goes back to the process's own."""
    _brought[:] = [] if replacement is None else [replacement]
