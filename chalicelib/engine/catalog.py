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
from chalicelib.domain.names import NAME_PATTERN
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
    #: Whether the workflow has had a limit of runs: its starts look it up, those of others need not.
    limited: bool = False


@dataclass(frozen=True, slots=True)
class Catalog:
    """A tenant's workflows."""

    directory: Directory
    tenant: str

    def save(self, name: str, plan_hash: str, *, by: str, at: int, after: int | None = None) -> Version:
        """The version of this content: the one it has already, or the next number. The plan is saved before.

        With `after` new content gets the number behind that one and no other. Raises Conflict where it is taken, with
        the `version` that is the latest by now; Unavailable.
        """
        for _ in range(_TRIES):
            head = self._head(name)
            known = self.directory.get(keys.content_key(self.tenant, name, plan_hash))
            if known is not None:
                version = self.version(name, known["version"])
                if head is None or head["latest"] < version.version:
                    self._complete(head, version)
                return version
            number = 1 if head is None else head["latest"] + 1
            if after is not None and number != after + 1:
                text = f"The latest version of workflow {name} is {number - 1} by now. Read it again, and patch that."
                raise Conflict(text, version=number - 1)
            record = {"version": number, "hash": plan_hash, "created_at": at, "created_by": by}
            taken = self.directory.put_new(keys.version_key(self.tenant, name, number), record)
            version = _version(name, taken or record)
            self._complete(head, version)
            if version.hash == plan_hash:
                return version
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
            if there is None:
                if self.directory.put_new(key, record) is None:
                    return
                continue
            # What the tag was goes into its history before it is written over; others who move it write the same.
            self.directory.put(keys.tag_move_key(self.tenant, name, tag, there["moves"]), there)
            if self.directory.replace(key, record, {"moves": there["moves"]}):
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
            version = self.tagged(name, tag)["version"]
        if version is None:
            version = self._latest(name)
        return self.version(name, version)

    def named(self, reference: str) -> Version:
        """The version of `name`, `name@3` or `name@tag`. Raises NotFound."""
        name, _, rest = reference.partition("@")
        return self.chosen(name, rest) if rest else self.find(name)

    def chosen(self, name: str, text: str) -> Version:
        """The version that a number or a tag names. Raises NotFound."""
        if text.isascii() and text.isdigit() and len(text) <= 8:
            return self.find(name, version=int(text))
        return self.find(name, tag=text)

    def version(self, name: str, number: int) -> Version:
        """One version by number. Raises NotFound."""
        record = self.directory.get(keys.version_key(self.tenant, name, number))
        if record is None:
            if self._head(name) is None:
                raise NotFound(f"There is no workflow {name}.")
            raise NotFound(f"Workflow {name} has no version {number}.")
        return _version(name, record)

    def versions(self, name: str, limit: int, before: int | None = None) -> list[Version]:
        """Versions, the newest first, older than `before`. Raises NotFound."""
        start = None if before is None else keys.version_key(self.tenant, name, before)[1]
        partition = keys.workflow(self.tenant, name)
        found = self.directory.query(partition, prefix="v#", start=start, descending=True, limit=limit)
        if not found:
            self._latest(name)
        return [_version(name, record) for _, record in found]

    def tagged(self, name: str, tag: str) -> Mapping[str, Json]:
        """Where a tag points: `{tag, version, at, by, moves}`. Raises NotFound."""
        there = self.directory.get(keys.tag_key(self.tenant, name, tag)) if _NAME.fullmatch(tag) else None
        if there is None:
            raise NotFound(f"Workflow {name} has no tag {tag[:64]}.")
        return there

    def moves(self, name: str, tag: str, limit: int, before: int | None = None) -> list[Mapping[str, Json]]:
        """The moves of a tag as `tagged` gives them, the newest first, with numbers below `before`. Raises NotFound."""
        now = self.tagged(name, tag)
        top = now["moves"] if before is None else min(before, now["moves"])
        partition, start = keys.tag_move_key(self.tenant, name, tag, top)
        prefix = start.rpartition("#")[0] + "#"
        earlier = self.directory.query(partition, prefix=prefix, start=start, descending=True, limit=limit)
        newest = [now] if before is None or before > now["moves"] else []
        return [*newest, *(record for _, record in earlier)][:limit]

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

    def limit(self, name: str) -> int | None:
        """How many runs of the workflow may go at a time; None where that is not limited."""
        record = self.directory.get(keys.settings_key(self.tenant, name))
        return None if record is None else record["max_running"]

    def set_limit(self, name: str, max_running: int | None, *, by: str, at: int) -> None:
        """Limit how many runs of the workflow go at a time; None lifts it. Raises NotFound.

        The setting is written before the versions are marked, and looked up after a version is made: none is missed.
        """
        self._latest(name)
        record = {"max_running": max_running, "at": at, "by": by}
        self.directory.put(keys.settings_key(self.tenant, name), record)
        before: int | None = None
        while max_running is not None:
            page = self.versions(name, 200, before) if before != 1 else []
            for version in page:
                if not version.limited:
                    self._mark(name, version.version)
            if not page or page[-1].version == 1:
                return
            before = page[-1].version

    def _mark(self, name: str, number: int) -> None:
        """Let the version's starts look up the limit."""
        key = keys.version_key(self.tenant, name, number)
        record = self.directory.get(key)
        if record is not None and not record.get("limited"):
            self.directory.replace(key, {**record, "limited": True}, {"hash": record["hash"]})

    def _latest(self, name: str) -> int:
        head = self._head(name)
        if head is None:
            raise NotFound(f"There is no workflow {name}.")
        return int(head["latest"])

    def _head(self, name: str) -> Mapping[str, Json] | None:
        return self.directory.get((keys.workflows(self.tenant), name))

    def _complete(self, head: Mapping[str, Json] | None, version: Version) -> None:
        """Make a version findable by content, then raise the head to it unless another did so."""
        name = version.name
        if self.limit(name) is not None:
            self._mark(name, version.version)
        self.directory.put_new(keys.content_key(self.tenant, name, version.hash), {"version": version.version})
        new = {
            "name": name,
            "latest": version.version,
            "hash": version.hash,
            "updated_at": version.created_at,
            "updated_by": version.created_by,
        }
        key = (keys.workflows(self.tenant), name)
        if head is None:
            self.directory.put_new(key, new)
        else:
            self.directory.replace(key, new, {"latest": head["latest"]})


def _version(name: str, record: Mapping[str, Json]) -> Version:
    return Version(
        name,
        record["version"],
        record["hash"],
        record["created_at"],
        record["created_by"],
        record.get("limited", False),
    )
