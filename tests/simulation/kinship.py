"""What must hold between a run and its children after every event, as their journals tell it."""

from __future__ import annotations

import json
from typing import Any

from chalicelib.domain.children import parent_job
from chalicelib.domain.ids import parse_token
from chalicelib.domain.journal import Item

Json = Any
#: A run, and the token of one of its calls.
Waiting = tuple[str, str]


class Kinship:
    """Watches the journals of one world: who called whom, and what became of it."""

    def __init__(self) -> None:
        #: What calls that wait were called with, and their children.
        self.calls: dict[Waiting, Json] = {}
        self.children: dict[Waiting, str] = {}
        #: Child -> the call that it is of; its ends: more than one only where it was redriven.
        self.parents: dict[str, Waiting] = {}
        self.ends: dict[str, list[dict[str, str]]] = {}
        #: Tokens that each run has used so far, those of its children included, and by its last end.
        self.used: dict[str, int] = {}
        self.used_by_end: dict[str, int] = {}

    def appended(self, run_id: str, item: Item) -> str:
        """A journal item that is new. Returns what is wrong with it, or nothing."""
        meta = item.body.get("meta", {})
        self.used[run_id] = self.used.get(run_id, 0) + int(item.body.get("add", {}).get("tokens", 0))
        wrong = self._born(run_id, meta) if item.no == 1 and "parent" in meta else ""
        for token, _, kind, data, _ in item.opened():
            if kind == "h" and data and "workflow" in (called := json.loads(data)):
                self.calls[(run_id, token)] = called
        if "settle" in item.body:
            token, status, _ = item.body["settle"]
            if (run_id, token) in self.calls:
                wrong = wrong or self._settled(run_id, token, status, item)
        if item.body.get("final"):
            self.ends.setdefault(run_id, []).append(meta)
            self.used_by_end[run_id] = self.used[run_id]
            told = f"run {run_id} ends with {item.used[0]} tokens used, and its journal counts {self.used[run_id]}"
            wrong = wrong or ("" if item.used[0] == self.used[run_id] else told)
        return wrong

    def _born(self, run_id: str, meta: dict[str, str]) -> str:
        """A call that is in its run's journal has one child, and that gets what the call says."""
        job = parent_job(meta["parent"])
        waiting = (job.run_id, job.token)
        called = self.calls.get(waiting)
        if called is None:
            return f"run {run_id} is the child of {waiting}, which is in no journal"
        if waiting in self.children:
            return f"run {run_id} is a second child of {waiting}, beside {self.children[waiting]}"
        self.children[waiting], self.parents[run_id] = run_id, waiting
        given = [meta["workflow"], meta["version"], json.loads(meta["input"]), meta["depth_left"]]
        wanted = [called["workflow"], str(called["version"]), called["input"], str(called["left"])]
        return "" if given == wanted else f"run {run_id} was given {given} where its call says {wanted}"

    def _settled(self, run_id: str, token: str, status: str, item: Item) -> str:
        """A call completes as its child did, and fails as its child did where it names it."""
        events = json.loads(item.body.get("ev") or "[]")
        said = next((event.get("d") or {} for event in events if event.get("k") == token), {})
        if said.get("metadata", {}).get("skipped_by"):
            return ""
        error = said.get("error") or {}
        if status != "COMPLETED" and "child_run_id" not in error:
            return ""
        child = self.children.get((run_id, token))
        end = self.ends.get(child or "", [{}])[-1]
        place = f"commit {item.no} of run {run_id} settles {token}"
        counted, spent = int(item.body.get("add", {}).get("tokens", 0)), self.used_by_end.get(child or "", 0)
        if counted != spent:
            return f"{place} with {counted} tokens used, and its child {child} has used {spent}"
        if status != "COMPLETED":
            as_it_did = error["child_run_id"] == child and end.get("status") in ("FAILED", "TIMED_OUT", "CANCELLED")
            return "" if as_it_did else f"{place} by {error}, and its child {child} has ended {end.get('status')}"
        if end.get("status") != "COMPLETED":
            return f"{place} as COMPLETED, and its child {child} has ended {end.get('status')}"
        wanted = json.loads(end["output"])
        given = json.loads(dict(item.body["val"])[parse_token(token).value_key])["o"]
        return "" if given == wanted else f"{place} with {given}, and its child {child} gave {wanted}"
