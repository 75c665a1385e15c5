"""Records what an attempt has done, under names of its own, so that another delivery of the job goes on from there."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from chalicelib.engine.notes import Notes
from chalicelib.engine.work_result import as_json, canonical

Json = Any


class Checkpoints:
    """The records of one job. Of two deliveries at once the first to record wins, and the other goes on from that."""

    def __init__(self, notes: Notes, job_id: str) -> None:
        self._notes = notes
        #: Names the job in keys and headers: as secret as the job id is, and shorter.
        self.digest = hashlib.sha256(f"agent\0{job_id}".encode()).hexdigest()[:40]
        #: How many records this delivery made.
        self.made = 0
        #: True once a record was not there: later ones are not there either.
        self._at_end = False

    def find(self, name: str) -> Json:
        """The record of this name, or None. Raises Unavailable."""
        return None if self._at_end else self._get(name)

    def past_the_end(self) -> None:
        """Say that nothing further is recorded; another delivery may still record at the same time."""
        self._at_end = True

    def begin(self, name: str, what: Json) -> Json:
        """Record that `what` begins, whose end is to be recorded as `name`.

        Returns that record where another delivery has begun and finished it meanwhile: then it is not done again. Else
        None. Raises Unavailable.
        """
        there = self._notes.create(self._path(f"{name}-begun"), canonical(as_json(what)))
        if there is None:
            self.made += 1
        return None if there is None else self._get(name)

    def once(self, name: str, value: Json) -> Json:
        """Record `value`, or return what is recorded there already. Raises Unavailable, TaskError for no JSON."""
        body = canonical(as_json(value))
        there = self._notes.create(self._path(name), body)
        if there is None:
            self.made += 1
        return json.loads(body if there is None else there)

    def _get(self, name: str) -> Json:
        body = self._notes.get(self._path(name))
        return None if body is None else json.loads(body)

    def _path(self, name: str) -> str:
        return f"agents/{self.digest}/{name}"
