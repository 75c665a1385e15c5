"""What agents must have left behind: in the journal of one run, in its usage, and in the records of their attempts."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.journal import Item, parse_item
from chalicelib.workers.agent.checkpoints import Checkpoints
from tests.doubles.notes import MemoryNotes
from tests.simulation.invariants import Chain, require

Json = Any
#: Meta fields of a run's usage.
USED = ("tokens", "nano_usd")


@dataclass(frozen=True)
class Trail:
    """What the agents of one run said (token -> signal), and their patches (description -> whether it was accepted)."""

    run_id: str
    #: Their attempts. What else adds to the usage is not judged here.
    tokens: set[str]
    said: dict[str, Json]
    patches: dict[str, bool]

    def judge(self, chain: Chain, meta: dict[str, str]) -> None:
        """Raises Violation."""
        told: Counter[str] = Counter()
        used: Counter[str] = Counter()
        ended: set[str] = set()
        for item in (parse_item(one.text) for one in chain.items):
            place = f"commit {item.no} of run {self.run_id}"
            for event in json.loads(item.body.get("ev") or "[]"):
                self._event(event, told, ended, place)
            added = self._usage(item, place)
            used.update(added)
            if added and item.body["settle"][0] in self.tokens:
                self._whole(item.body["settle"][0], told, place)
            ended |= {(item.body.get("settle") or [""])[0], *item.cancelled, *item.lost}
        counted = {name: int(meta[name]) for name in USED if int(meta.get(name) or 0)}
        require(counted == dict(+used), f"run {self.run_id} has used {counted}, its attempts {dict(used)}")
        missing = [text for text, accepted in self.patches.items() if accepted and not told[f"patch {text}"]]
        require(not missing, f"run {self.run_id}: patches were accepted and are not in the journal: {missing}")

    def _event(self, event: Json, told: Counter[str], ended: set[str], place: str) -> None:
        key = _told(event)
        told[key] += key != ""
        require(told[key] <= 1, f"{place} says a second time: {key}")
        if key.startswith("patch "):
            text = key.removeprefix("patch ")
            require(text.partition(" turn ")[0] not in ended, f"{place} is a patch by an attempt that had ended: {key}")
            require(self.patches.get(text, True), f"{place} is a patch that its agent was refused: {key}")

    def _whole(self, token: str, told: Counter[str], place: str) -> None:
        """All that an attempt told is there once its own answer has settled it."""
        metadata = self.said[token]["metadata"]
        turns = [number for number in range(1, metadata["turns"] + 1) if not told[f"turn {number} of {token}"]]
        require(not turns, f"{place} settles {token}, and nothing is told of its turns {turns}")
        calls = sum(count for key, count in told.items() if key.startswith("call ") and key.endswith(f" of {token}"))
        wanted = len(metadata["tool_calls"])
        require(calls == wanted, f"{place} settles {token}, and of its {wanted} calls {calls} are told")

    def _usage(self, item: Item, place: str) -> dict[str, int]:
        """What the item adds to the usage; what its attempt said."""
        added = {name: int(count) for name, count in item.body.get("add", {}).items() if name in USED}
        token = (item.body.get("settle") or [""])[0]
        if added and token in self.tokens:
            require(token in self.said, f"{place} counts what nobody used: {added}")
            require(added == used_by(self.said[token]), f"{place} counts {added} for {self.said[token]}")
        return added


def patches_of(bodies: dict[str, bytes], job_id: str) -> dict[str, bool]:
    """The recorded patches of one attempt: description -> whether they were accepted."""
    folder, found = f"agents/{Checkpoints(MemoryNotes(), job_id).digest}", {}
    for number in range(1, 100):
        turn = bodies.get(f"{folder}/turn-{number:04d}")
        if turn is None:
            break
        for at, call in enumerate(json.loads(turn)["calls"], 1):
            record = bodies.get(f"{folder}/turn-{number:04d}-call-{at:02d}")
            if call["name"] == "patch_workflow" and record is not None:
                found[call["arguments"]["description"]] = json.loads(record)["ok"]
    return found


def _told(event: Json) -> str:
    """What an event tells of an agent, as text; "" for another event."""
    data = event.get("d", {})
    if event["t"] == "agent_turn":
        return f"turn {data['turn']} of {event['k']}"
    if event["t"] == "tool_called":
        return f"call {data['key']} of {event['k']}"
    by_agent = event["t"] == "patch_applied" and " turn " in data["description"]
    return f"patch {data['description']}" if by_agent else ""


def used_by(signal: Json) -> dict[str, int]:
    """What a signal says that its attempt used."""
    metadata = signal["metadata"]
    found = {"tokens": metadata.get("tokens_used", 0), "nano_usd": round(metadata.get("usd", 0) * 1e9)}
    return {name: count for name, count in found.items() if count}
