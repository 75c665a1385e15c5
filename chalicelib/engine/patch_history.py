"""A run's patches as its journal holds them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.errors import NotFound, Unavailable
from chalicelib.domain.journal import parse_item, timestamp
from chalicelib.engine.flush import flush_run
from chalicelib.engine.ports import JournalItem
from chalicelib.engine.services import Services

Json = Any
#: Journal items of one read while looking for a patch; it is among the first.
_PAGE = 20
_KINDS = ("patch_applied", "patch_reverted")


@dataclass(frozen=True, slots=True)
class PatchRecord:
    """One patch. `data` is its event's data, `detail` its operations and answer."""

    actor: str
    at_ms: int
    data: dict[str, Json]
    detail: dict[str, Json]

    @property
    def answer(self) -> dict[str, Json]:
        """What the patch was answered."""
        found: dict[str, Json] = self.detail["answer"]
        return found

    @property
    def graph_before(self) -> str:
        """Hash of the graph that it changed."""
        return str(self.data["graph_before"])

    @property
    def graph_after(self) -> str:
        """Hash of the graph that it made."""
        return str(self.data["graph_after"])

    def view(self) -> dict[str, Json]:
        """Its item in `GET /runs/{id}/patches`."""
        answer = {name: value for name, value in self.answer.items() if name != "run_id"}
        return {
            **answer,
            "author": self.actor,
            "at": timestamp(self.at_ms),
            "description": self.data["description"],
            "reverts": self.data.get("reverts"),
            "operations": self.detail["operations"],
            "graph_before": self.graph_before,
            "graph_after": self.graph_after,
        }


def number_of(meta: Mapping[str, str], mark: str) -> int | None:
    """The number of the patch that was made by a commit whose id begins so, if it is there."""
    for name, place in meta.items():
        if name.startswith("patch:") and place.startswith(mark):
            return int(name.removeprefix("patch:"))
    return None


def find_patch(services: Services, run_id: str, meta: Mapping[str, str], number: int) -> PatchRecord:
    """Patch `number` of the run with this meta. Raises NotFound, Unavailable."""
    place = meta.get(f"patch:{number}")
    if place is None:
        raise NotFound(f"Run {run_id} has no patch {number}.")
    commit_id, after = place.split("|", 1)
    record = _look(services, run_id, commit_id, int(after))
    if record is None:
        flush_run(services, run_id)
        record = _look(services, run_id, commit_id, int(after))
    if record is None:
        raise Unavailable(f"Patch {number} of run {run_id} is not in the journal yet; ask again.")
    return record


def graph_at(services: Services, run_id: str, meta: Mapping[str, str], revision: int) -> str:
    """Hash of the run's graph as it was at a revision: what the next patch found. Raises NotFound, Unavailable."""
    if revision == int(meta["rev"]):
        return meta["graph"]
    if revision > int(meta["rev"]):
        raise NotFound(f"Run {run_id} has no revision {revision}; it is at {meta['rev']}.")
    return find_patch(services, run_id, meta, revision + 1).graph_before


def list_patches(
    services: Services, run_id: str, meta: Mapping[str, str], after: int, limit: int
) -> tuple[list[PatchRecord], int | None]:
    """(patches after number `after`, oldest first; the number to go on after, or None at the end)."""
    numbers = sorted(int(name.removeprefix("patch:")) for name in meta if name.startswith("patch:"))
    wanted = [number for number in numbers if number > after]
    page = wanted[:limit]
    records = [find_patch(services, run_id, meta, number) for number in page]
    return records, page[-1] if len(wanted) > limit else None


def _look(services: Services, run_id: str, commit_id: str, after: int) -> PatchRecord | None:
    while items := services.journal.read(run_id, after, _PAGE):
        for item in items:
            if item.id == commit_id:
                return _record(services, item)
            after = item.seq + item.events - 1
    return None


def _record(services: Services, item: JournalItem) -> PatchRecord:
    body = parse_item(item.text).body
    data = next(event["d"] for event in json.loads(body["ev"]) if event["t"] in _KINDS)
    detail = json.loads(services.artifacts.get(data["detail_ref"])) if "detail_ref" in data else data
    return PatchRecord(body["actor"], body["at"], data, detail)
