"""Which tenants may read an artifact: those that announced it, and those whose runs showed it to them.

Artifacts are shared by content, so whoever knows a hash could ask for it; a tenant's grant is what keeps an artifact
from the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, cast

from chalicelib.engine.directory_keys import artifact_key
from chalicelib.engine.ports import Directory

PREFIX = "artifact://sha256/"


def grant(directory: Directory, tenant: str, refs: Iterable[str]) -> None:
    """Let the tenant read these artifacts from now on. Raises Unavailable."""
    for ref in refs:
        if ref.startswith(PREFIX):
            _grant(cast(Any, directory), tenant, ref.removeprefix(PREFIX))


def may_read(directory: Directory, tenant: str, sha256: str) -> bool:
    """Whether the artifact was granted to the tenant."""
    return directory.get(artifact_key(tenant, sha256)) is not None


@lru_cache(maxsize=10_000)
def _grant(directory: Directory, tenant: str, sha256: str) -> None:
    """Once per process is enough; a failure is not remembered."""
    directory.put(artifact_key(tenant, sha256), {})
