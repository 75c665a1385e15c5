"""Saved workflows: versions by content hash, numbered per name, with tags that move between them.

A version record is written first and decides its number; the record by content and the workflow's head follow. Whoever
finds a version whose writer died before that completes it, so the same content never gets two numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.errors import Conflict, InvalidInput, NotFound, Problem, Unavailable
from chalicelib.domain.schema import NAME_PATTERN
from chalicelib.engine import directory_keys as keys
from chalicelib.engine.ports import Directory

Json = Any
_NAME = re.compile(NAME_PATTERN)
#: Tries to take a number while others take theirs.
_TRIES = 50


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a saved workflow; its plan is in the PlanStore under `hash`."""

    name: str
    version: int
    hash: str
    created_at: int
    created_by: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """A tenant's workflows."""

    directory: Directory
    tenant: str

    def save(self, name: str, plan_hash: str, *, by: str, at: int) -> Version:
        """The version of this content: the one it has already, or the next number. The plan is saved before."""
        for _ in range(_TRIES):
            head = self._head(name)
            known = self.directory.get(keys.content_key(self.tenant, name, plan_hash))
            if known is not None:
                return self.version(name, known["version"])
            number = 1 if head is None else head["latest"] + 1
            record = {"version": number, "hash": plan_hash, "created_at": at, "created_by": by}
            taken = self.directory.put_new(keys.version_key(self.tenant, name, number), record)
            self._complete(name, head, taken or record)
            if taken is None or taken["hash"] == plan_hash:
                return _version(name, taken or record)
        raise Unavailable(f"Workflow {name} is being saved by others too often just now. Send the request again.")

    def tag(self, name: str, tag: str, version: int, *, by: str, at: int) -> None:
        """Point `tag` at a version. Raises NotFound for a version that is not there."""
        self.version(name, version)
        key = keys.tag_key(self.tenant, name, tag)
        for _ in range(_TRIES):
            there = self.directory.get(key)
            if there is not None and there["version"] == version:
                return
            moves = 1 if there is None else there["moves"] + 1
            record = {"tag": tag, "version": version, "at": at, "by": by, "moves": moves}
            # The history first: a move that is seen is in it.
            self.directory.put(keys.tag_move_key(self.tenant, name, tag, moves), record)
            if there is None:
                if self.directory.put_new(key, record) is None:
                    return
            elif self.directory.replace(key, record, {"moves": there["moves"]}):
                return
        raise Conflict(f"Tag {tag} of workflow {name} is being moved by others just now. Send the request again.")

    def find(self, name: str, *, version: int | None = None, tag: str | None = None) -> Version:
        """A version by number or tag, else the latest. Raises NotFound; InvalidInput when both are given."""
        if version is not None and tag is not None:
            problem = Problem("both_given", "/tag", "Leave out one of version and tag.")
            raise InvalidInput("A version is chosen by version or by tag, not by both.", (problem,))
        if not _NAME.fullmatch(name):
            raise NotFound(f"There is no workflow {name[:64]}.")
        if tag is not None:
            there = self.directory.get(keys.tag_key(self.tenant, name, tag)) if _NAME.fullmatch(tag) else None
            if there is None:
                raise NotFound(f"Workflow {name} has no tag {tag[:64]}.")
            version = there["version"]
        if version is None:
            version = self._latest(name)
        return self.version(name, version)

    def named(self, reference: str) -> Version:
        """The version of `name`, `name@3` or `name@tag`. Raises NotFound."""
        name, _, rest = reference.partition("@")
        if not rest:
            return self.find(name)
        if rest.isascii() and rest.isdigit() and len(rest) <= 8:
            return self.find(name, version=int(rest))
        return self.find(name, tag=rest)

    def version(self, name: str, number: int) -> Version:
        """One version by number. Raises NotFound."""
        record = self.directory.get(keys.version_key(self.tenant, name, number))
        if record is None:
            if self._head(name) is None:
                raise NotFound(f"There is no workflow {name}.")
            raise NotFound(f"Workflow {name} has no version {number}.")
        return _version(name, record)

    def page(self, limit: int, after: str | None) -> list[Mapping[str, Json]]:
        """Workflows by name, after the name `after`: `{name, latest, hash, updated_at, updated_by}` each.

        Raises InvalidInput where `after` is no name.
        """
        if after is not None and not _NAME.fullmatch(after):
            problem = Problem("bad_cursor", "/cursor", "Send a next_cursor as it was given, or none.")
            raise InvalidInput("cursor is not one that this list gave out.", (problem,))
        return [record for _, record in self.directory.query(keys.workflows(self.tenant), start=after, limit=limit)]

    def tags(self, name: str) -> dict[str, int]:
        """Every tag of a workflow and the version it points at (the first 1,000)."""
        found = self.directory.query(keys.workflow(self.tenant, name), prefix="t#", limit=1000)
        return {record["tag"]: record["version"] for _, record in found}

    def _latest(self, name: str) -> int:
        head = self._head(name)
        if head is None:
            raise NotFound(f"There is no workflow {name}.")
        return int(head["latest"])

    def _head(self, name: str) -> Mapping[str, Json] | None:
        return self.directory.get((keys.workflows(self.tenant), name))

    def _complete(self, name: str, head: Mapping[str, Json] | None, record: Mapping[str, Json]) -> None:
        """Make a version findable by content, then raise the head to it unless another did so."""
        self.directory.put_new(keys.content_key(self.tenant, name, record["hash"]), {"version": record["version"]})
        new = {
            "name": name,
            "latest": record["version"],
            "hash": record["hash"],
            "updated_at": record["created_at"],
            "updated_by": record["created_by"],
        }
        key = (keys.workflows(self.tenant), name)
        if head is None:
            self.directory.put_new(key, new)
        else:
            self.directory.replace(key, new, {"latest": head["latest"]})


def _version(name: str, record: Mapping[str, Json]) -> Version:
    return Version(name, record["version"], record["hash"], record["created_at"], record["created_by"])
