"""The one place where routes get their services from; tests and tools may bring their own."""

from __future__ import annotations

from chalicelib.engine.services import Services

_brought: list[Services] = []


def services() -> Services:
    """What `use` brought, else this process's own. Raises ConfigurationError."""
    if _brought:
        return _brought[-1]
    # Imported when needed: whoever brings services of their own needs no settings and no AWS client.
    from chalicelib.wiring import services as wired  # noqa: PLC0415

    return wired()


def use(replacement: Services | None) -> None:
    """Serve with these from now on; None goes back to the process's own."""
    _brought[:] = [] if replacement is None else [replacement]
