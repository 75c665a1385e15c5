"""Says why a run is not moving: what every outstanding token waits for, since when, and what would move it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.domain.children import child_run_id
from chalicelib.domain.explain_facts import Facts
from chalicelib.domain.explain_held import held_problems, held_wait, paused_wait
from chalicelib.domain.explain_joins import waiting_joins
from chalicelib.domain.explain_summary import ended, sentence
from chalicelib.domain.ids import START, UNDO, Token, bare, parse_token
from chalicelib.domain.journal import timestamp
from chalicelib.domain.node_kinds import node_at
from chalicelib.domain.pauses import paused_at
from chalicelib.domain.records import Began, parse_began
from chalicelib.domain.state import ENDED

Json = Any
#: Entries of one answer; what is over is counted.
MOST = 200
#: Milliseconds after which a token that no message names counts as forgotten, and one past its deadline as missed.
LATE_MS = 60_000
#: A task without a deadline is odd after this many milliseconds, and this many times its node's longest attempt.
LONG_MS, LONGER = 600_000, 10
#: Messages on a task queue from which on its workers seem too few.
DEEP = 1000


def explain(facts: Facts) -> dict[str, Json]:
    """`GET /runs/{id}/explain`."""
    meta = facts.state["meta"]
    if meta["status"] in ENDED:
        return {**_head(facts, ended(meta)), "waiting": [], "waiting_total": 0, "problems": []}
    tokens = sorted(facts.state["tok"].items(), key=lambda item: parse_began(item[1]).no)
    usual = _longest(facts.state)
    entries = waiting_joins(facts.plan, facts.state)
    entries += [_entry(facts, parse_token(name), parse_began(record), usual) for name, record in tokens]
    problems = _problems(facts, entries)
    shown = [{key: value for key, value in entry.items() if key != "problems"} for entry in entries[:MOST]]
    text = sentence(meta, entries)
    return {**_head(facts, text), "waiting": shown, "waiting_total": len(entries), "problems": problems}


def _head(facts: Facts, text: str) -> dict[str, Json]:
    meta = facts.state["meta"]
    since = paused_at(meta) or int(meta.get("finished_at") or 0) or None
    return {
        "run_id": facts.run_id,
        "status": meta["status"],
        "since": None if since is None else timestamp(since),
        "summary": text,
    }


def _entry(facts: Facts, token: Token, began: Began, usual: Mapping[str, int]) -> dict[str, Json]:
    """One outstanding token."""
    node = bare(token.node)
    own = node.startswith("$")
    entry: dict[str, Json] = {
        "node_id": None if own else node,
        "iteration": token.iteration,
        "loops": token.loops,
        "attempt": token.attempt,
        "job_id": facts.make_job_id(began.job(facts.run_id, token.text)),
        "since": timestamp(began.at_ms),
    }
    if token.index is not None and not own:
        entry["index"] = token.index
    if UNDO in token.node:
        entry["compensation"] = True
    problems = _token_problems(facts, node, token, began, usual.get(node, 0))
    return {**entry, **_wait(facts, node, token, began), "problems": problems}


def _wait(facts: Facts, node: str, token: Token, began: Began) -> dict[str, Json]:
    """What the token waits for and what would move it."""
    if facts.holds(token, began):
        return paused_wait(facts.state["box"], token.text, node)
    if token.node == START and "limited" in facts.state["meta"]:
        return {"waits_for": "place", "moved_by": "The end of another run of its workflow, or a higher max_running."}
    if began.kind == "t":
        return _task(facts, node, token, began)
    if began.kind == "i":
        return {"waits_for": "coordinator", "moved_by": "The coordinator's next step; the sweep sends it again."}
    due = began.data.get("due")
    at: dict[str, Json] = {"due_at": timestamp(int(due))} if due else {}
    if began.kind == "r" or token.node.startswith("$retry:"):
        return {"waits_for": "retry", "moved_by": "The time of its next attempt.", **at}
    if began.kind == "h":
        kind = node_at(facts.plan, token).type if node in facts.plan.nodes else ""
        deadline = facts.deadline(token, began)
        return {
            **held_wait(facts.state["box"], token.text, began, kind),
            **_child(facts, token, began, kind),
            "deadline": None if deadline is None else timestamp(deadline),
        }
    return {"waits_for": "timer", "moved_by": "The time it waits for.", **at}


def _child(facts: Facts, token: Token, began: Began, kind: str) -> dict[str, Json]:
    """The child run that a call waits for."""
    if kind != "workflow":
        return {}
    child = child_run_id(began.job(facts.run_id, token.text))
    return {"child_run_id": child, "child_status": facts.children.get(token.text)}


def _task(facts: Facts, node: str, token: Token, began: Began) -> dict[str, Json]:
    deadline = facts.deadline(token, began)
    queue = node_at(facts.plan, token).queue or None if node in facts.plan.nodes else None
    return {
        "waits_for": "task",
        "queue": queue,
        "queued": facts.depths.get(queue or ""),
        "deadline": None if deadline is None else timestamp(deadline),
        "moved_by": "The worker's signal, or the deadline if there is one.",
    }


def _token_problems(facts: Facts, node: str, token: Token, began: Began, usual: int) -> list[tuple[str, str]]:
    """(code, message) of what looks wrong with one token. `usual`: milliseconds of its node's longest attempt."""
    found, held = [], facts.holds(token, began)
    due = facts.deadline(token, began) if began.kind in ("t", "h") else began.data.get("due")
    if due is not None and not held and facts.now_ms > int(due) + LATE_MS:
        found.append(("overdue", f"It was due at {timestamp(int(due))}: are timers and the timeout detector running?"))
    marked = facts.state["ready"].get(token.text, "")
    in_line = token.node == START and "limited" in facts.state["meta"]
    if not (held or in_line) and marked.startswith("r") and facts.now_ms > int(marked[1:]) + LATE_MS:
        found.append(("unsent", "Nobody sent it for over a minute: is the sweep running?"))
    if began.kind == "h":
        found += held_problems(facts.state["box"], began)
    if began.kind == "t" and due is None and not held and facts.now_ms - began.at_ms > max(LONG_MS, LONGER * usual):
        found.append(("no_answer", "It has no timeout_ms and takes unusually long: its worker may have lost it."))
    return found


def _longest(state: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    """Milliseconds of each node's longest attempt that was settled."""
    longest: dict[str, int] = {}
    for name, record in state["done"].items():
        start = state["dis"].get(name)
        if start is not None:
            node = name.split("@", 1)[0]
            took = int(record.split("|", 3)[2]) - int(start.split("|", 3)[2])
            longest[node] = max(longest.get(node, 0), took)
    return longest


def _problems(facts: Facts, entries: list[dict[str, Json]]) -> list[dict[str, Json]]:
    found = [
        {"code": code, "node_id": entry["node_id"], "message": text}
        for entry in entries
        for code, text in entry["problems"]
    ]
    for queue, depth in facts.depths.items():
        if depth is not None and depth >= DEEP:
            text = f"{queue} holds {depth} messages: its workers are too few, or they fail."
            found.append({"code": "queue_deep", "node_id": None, "message": text})
    if facts.state["meta"]["status"] == "PAUSED":
        text = "The run is paused; only what is at work goes on."
        found.append({"code": "paused", "node_id": None, "message": text})
    if not facts.state["tok"]:
        text = "Nothing is outstanding, so nothing will ever move the run."
        found.append({"code": "nothing_outstanding", "node_id": None, "message": text})
    return found[:MOST]
