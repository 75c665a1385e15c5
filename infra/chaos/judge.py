"""Judges a storm: what must hold after it, from the journal, the API, the queues and Redis, and the figures of it."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.ids import parse_token
from chalicelib.domain.journal import Item, parse_item
from infra.chaos.client import Client, NotAnswered
from infra.chaos.sight import Sight
from infra.chaos.storm import Scene, Started, Storm

Json = Any
#: Seconds in which queues must be empty after the last run's end.
QUIET_S = 30.0
#: Seconds in which Redis must be as empty as before: the grace, a round of the sweep, and room.
KEYS_S = 40.0
#: Seconds before a kill in which a commit counts as near it.
NEAR_S = 1.0
_AGAIN = re.compile(r"(\d+) of \d+ messages of \S+ come again")


@dataclass(slots=True)
class Verdict:
    """The figures of a storm, and every breach in a sentence."""

    storm: Storm
    breaches: list[str] = field(default_factory=list)
    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    rebuilds: int = 0
    redeliveries: int = 0
    #: (seconds from a loss of Redis until a run was back, its id and case), one for each time that a run was rebuilt.
    recoveries: list[tuple[float, str]] = field(default_factory=list)
    #: Per kill: runs with a commit in the second before it.
    near: list[int] = field(default_factory=list)
    compared: int = 0


def judge(scene: Scene, storm: Storm, wrong: list[str]) -> Verdict:
    """Look at everything. Call it while the stack stands."""
    verdict = Verdict(storm, list(wrong))
    sight = Sight(scene.stack.ready)
    journals = {
        run.run_id: [parse_item(item.text) for item in sight.items(run.run_id)] for run in storm.runs if run.run_id
    }
    for run in storm.runs:
        _run(verdict, run, journals.get(run.run_id, []))
    _feeds(verdict, journals)
    _kills(verdict, journals)
    _recoveries(verdict, journals)
    _answers(verdict, scene)
    _emptied(verdict, sight)
    verdict.redeliveries = sum(int(n) for text in scene.stack.logs().values() for n in _AGAIN.findall(text))
    sight.close()
    return verdict


def _run(verdict: Verdict, run: Started, items: list[Item]) -> None:
    """It ended as it must, its nodes were settled once, and it verifies."""
    say = verdict.breaches.append
    name = f"run {run.run_id or '(not started)'} of {run.case.name}"
    for text in run.trouble:
        say(f"{name}: {text}")
    if run.ended is None:
        return
    verdict.ended[run.case.name, run.ended["status"]] += 1
    for text in run.case.wrong(run.ended):
        say(f"{name}: {text}")
    if not run.verified["ok"]:
        say(f"{name} does not verify: {run.verified['differences'][:3]}")
    verdict.compared += run.verified["store"] == "compared"
    for (node, scope, epoch), count in settlements(items).items():
        if count != 1:
            say(f"{name}: {node} in {scope or 'its only scope'}, epoch {epoch}, was settled {count} times")
    ends = sum(1 for item in items if item.body.get("final"))
    if ends != 1:
        say(f"{name} has {ends} ends")


def settlements(items: Iterable[Item]) -> Counter[tuple[str, str, int]]:
    """How often each execution (node, scope with index, epoch) was settled for good: attempts that are retried are
    not, the coordinator's own tokens are nobody's nodes."""
    found: Counter[tuple[str, str, int]] = Counter()
    for item in items:
        text, status = item.body["settle"][:2] if "settle" in item.body else ("", "")
        if text and status != "RETRIED" and not text.startswith("$"):
            token = parse_token(text)
            found[token.node, text.split("@", 1)[1].split("#", 1)[0], token.epoch] += 1
    return found


def _feeds(verdict: Verdict, journals: dict[str, list[Item]]) -> None:
    """What a feed showed is in the journal, at the same place and of the same moment."""
    spans = {run_id: [(i.seq, i.seq + i.events, i.body["at"]) for i in items] for run_id, items in journals.items()}
    for (run_id, seq), event in verdict.storm.seen.items():
        at = next((at for first, end, at in spans.get(run_id, ()) if first <= seq < end), None)
        if at is None or event["at"][-5:-1] != f".{at % 1000:03d}":
            verdict.breaches.append(f"the feed of {run_id} showed an event {seq} that was taken back")


def _kills(verdict: Verdict, journals: dict[str, list[Item]]) -> None:
    for kill in verdict.storm.kills:
        until = 1000 * kill.at
        near = [
            run_id
            for run_id, items in journals.items()
            if any(until - 1000 * NEAR_S <= item.body["at"] <= until for item in items)
        ]
        verdict.near.append(len(near))
    if not any(kill.cut for kill in verdict.storm.kills):
        verdict.breaches.append("the storm did not hit a commit: no kill met a run with an unfinished one")


def _recoveries(verdict: Verdict, journals: dict[str, list[Item]]) -> None:
    losses = [1000 * kill.at for kill in verdict.storm.kills if kill.name == "redis"]
    names = {run.run_id: run.case.name for run in verdict.storm.runs}
    for run_id, items in journals.items():
        for item in items:
            if '"run_rebuilt"' not in item.body.get("ev", ""):
                continue
            verdict.rebuilds += 1
            before = [at for at in losses if at <= item.body["at"]]
            if before:
                verdict.recoveries.append(((item.body["at"] - before[-1]) / 1000, f"{run_id} {names[run_id]}"))


def _answers(verdict: Verdict, scene: Scene) -> None:
    """No answer that nobody may get, no run twice, no dead letters."""
    storm = verdict.storm
    verdict.breaches += storm.answers.breaches
    verdict.breaches += storm.answers.unexcused([kill.at for kill in storm.kills if kill.name == "api"])
    client = scene.client(storm.answers)
    try:
        letters = client.patient("GET", "/dead-letters")["items"]
        listed = _listed(client)
    except NotAnswered as error:
        verdict.breaches.append(str(error))
        return
    if letters:
        verdict.breaches.append(f"{len(letters)} dead letters, the first {letters[0]}")
    expected = len(storm.runs) + scene.calm
    if len(listed) != expected:
        verdict.breaches.append(f"{len(listed)} runs are listed, {expected} were started")


def _listed(client: Client) -> list[Json]:
    found: list[Json] = []
    cursor = ""
    while True:
        page = client.patient("GET", f"/runs?limit=100{cursor}")
        found += [item for item in page["items"] if not item["parent"]]
        if not page["next_cursor"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def _emptied(verdict: Verdict, sight: Sight) -> None:
    """Queues and Redis are as before the first run."""
    depths = _until_empty(sight.depths, QUIET_S)
    if depths:
        verdict.breaches.append(f"messages are left: {depths}")
    keys = _until_empty(sight.keys, KEYS_S)
    if keys:
        verdict.breaches.append(f"{len(keys)} keys are left in Redis, such as {sorted(keys)[:3]}")
    lasting = sight.lasting_plans()
    if lasting:
        verdict.breaches.append(f"{len(lasting)} cached plans would never go, such as {lasting[0]}")


def _until_empty(look: Callable[[], Any], seconds: float) -> Any:  # noqa: ANN401 - what `look` gives
    deadline = time.monotonic() + seconds
    while (found := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found
