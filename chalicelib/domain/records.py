"""The text records that the store keeps of tokens, read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.ids import Job

Json = Any


@dataclass(frozen=True, slots=True)
class Began:
    """What is known of a token from the commit that created it: a record of the hashes `tok` and `dis`."""

    no: int
    commit: str
    at_ms: int
    #: As in state.KIND_STATUS.
    kind: str
    #: Graph, generation and revision from that commit on: part of the token's job id, which never changes.
    graph: str
    gen: str
    rev: int
    #: What settling or dispatching it needs; {} in `dis`.
    data: dict[str, Json]

    def job(self, run_id: str, token: str) -> Job:
        """The token's job, the same however often it is asked for."""
        return Job(run_id, token, self.no, self.commit, self.gen, self.rev, self.graph)


def parse_began(record: str) -> Began:
    """Read `no|commit|at|kind|graph|gen|rev|data`."""
    no, commit, at, kind, graph, gen, rev, data = record.split("|", 7)
    return Began(int(no), commit, int(at), kind, graph, gen, int(rev), json.loads(data) if data else {})
