"""Keeps the folded state of a long run now and then, so that nobody has to fold its journal from the start."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.commit import compact
from chalicelib.domain.errors import NotFound
from chalicelib.domain.fold import State, fold
from chalicelib.domain.journal import Item
from chalicelib.engine.directory_keys import snapshot_key
from chalicelib.engine.services import Services

Json = Any
log = logging.getLogger("graft.snapshots")

#: Commits from one snapshot to the next, at least.
EVERY = 1000
#: A snapshot of more bytes is followed by as many more commits: what a commit costs does not grow with its run.
BYTES_PER_COMMIT = 4096
#: How a snapshot is written and what a fold means; one of another form is as good as none.
FORM = 1
CONTENT_TYPE = "application/zlib"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state after one commit, which the journal has at `seq`."""

    no: int
    id: str
    seq: int
    state: State
    #: As it is stored.
    size: int = 0

    @property
    def spacing(self) -> int:
        """Commits until the next one is due."""
        return spacing_of(self.size)


def spacing_of(size: int) -> int:
    """Commits from a snapshot of `size` bytes to the next."""
    return max(EVERY, size // BYTES_PER_COMMIT)


def newest(services: Services, run_id: str) -> Snapshot | None:
    """The run's newest snapshot; None where there is none, or none that can be read. Raises Unavailable."""
    record = services.directory.get(snapshot_key(run_id))
    if record is None:
        return None
    try:
        return _read(services, record)
    except (NotFound, ValueError, KeyError, TypeError, zlib.error):
        log.exception("a snapshot cannot be read; the whole journal is folded", extra={"run_id": run_id})
        return None


def recorded(services: Services, run_id: str) -> Mapping[str, Json] | None:
    """What is noted of the newest snapshot: `{form, no, id, seq, ref, size, at}`. Raises Unavailable."""
    return services.directory.get(snapshot_key(run_id))


def keep(services: Services, run_id: str, item: Item, state: State) -> None:
    """Store the state after this journaled item, then name it: whoever dies in between leaves the one before.

    Raises Unavailable, TooLarge.
    """
    body = zlib.compress(compact(state).encode(), 3)
    ref = services.artifacts.put(body, CONTENT_TYPE)
    named = {"form": FORM, "no": item.no, "id": item.id, "seq": item.seq}
    services.directory.put(
        snapshot_key(run_id), {**named, "ref": ref, "size": len(body), "at": services.clock.now_ms()}
    )


def _read(services: Services, record: Mapping[str, Json]) -> Snapshot:
    """Raises NotFound for a snapshot that is gone or has other bytes, ValueError for one that says something else."""
    if record["form"] != FORM:
        raise ValueError(f"a snapshot of form {record['form']}")
    loaded = json.loads(zlib.decompress(services.artifacts.get(record["ref"])))
    state: State = {**fold(()), **loaded}
    if (state["meta"]["no"], state["meta"]["cid"]) != (str(record["no"]), record["id"]):
        raise ValueError(f"a snapshot of commit {state['meta']['no']}, not {record['no']}")
    return Snapshot(record["no"], record["id"], record["seq"], state, record["size"])
