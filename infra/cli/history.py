"""Reads the patches of a run, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from infra.cli.client import Api, segment

Json = Any


def patches_of(api: Api, run_id: str) -> Iterator[Json]:
    """Every patch of the run, the first one first. Raises CliError."""
    cursor: str | None = None
    while True:
        page = api.get(f"/runs/{segment(run_id)}/patches", limit=200, cursor=cursor)
        yield from page["items"]
        cursor = page.get("next_cursor")
        if not cursor:
            return
