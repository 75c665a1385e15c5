"""What workers ask of the world to remember how far they got, as a Protocol."""

from __future__ import annotations

from typing import Protocol


class Notes(Protocol):
    """Small texts under names of their own, each written once (S3 `notes/<name>`). Every call may raise Unavailable."""

    def create(self, name: str, body: bytes) -> bytes | None:
        """Conditional create. Returns None when created, else what is there already."""
        ...

    def get(self, name: str) -> bytes | None:
        """What is there, consistent; None for nothing."""
        ...
