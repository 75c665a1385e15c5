"""Reads what the engine made of a run, in the shape of the reference's `Result.agreed()`, and compares the two."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from chalicelib.domain.ids import UNDO, Token, parse_token
from chalicelib.engine.ports import RunState
from tests.simulation.reference_agents import added_by_agents
from tests.simulation.reference_people import without_people
from tests.simulation.reference_state import Result, named, node_of, work_of
from tests.simulation.shared_reads import without
from tests.simulation.waiting_room import WaitingRoom

Json = Any
Found = dict[str, Any]
#: States of nodes that have not begun.
IDLE = {"PENDING", "SKIPPED", "IDLE"}


def found(state: RunState, tasks: list[dict[str, Json]], document: dict[str, Json]) -> Found:
    """How the engine's run ended, from its hashes and the task messages that were sent."""
    meta = state["meta"]
    error = json.loads(meta["error"]) if "error" in meta and meta["status"] == "FAILED" else None
    return {
        "status": meta["status"],
        "error": error and {"type": error["type"], "node_id": error.get("node_id")},
        "output": without_people(json.loads(meta["output"])) if "output" in meta else None,
        "nodes": {node["id"]: _node_status(state, node["id"]) for node in document["nodes"]},
        "executions": _executions(state),
        "vars": {name: json.loads(text.split("|", 2)[2]) for name, text in state["vars"].items() if "#" not in name},
        "tasks": {
            _place(t): without_people(without(t["config"]))
            for t in tasks
            if t["attempt"] == 1 and "compensation" not in t
        },
        "undone": _undone(state, {_place(t): t["config"] for t in tasks if "compensation" in t}, document),
    }


def _place(task: dict[str, Json]) -> tuple[str, tuple[Any, ...]]:
    return named(task["node_id"], task.get("index")), tuple(task["loops"].items())


def _undone(state: RunState, configs: dict[Any, Json], document: dict[str, Json]) -> dict[Any, Any]:
    """How each undo ended, and its config: of a task as it was sent, of inline work as what it gave."""
    inline = {node["id"] for node in document["nodes"] if node.get("compensate", {}).get("type") == "transform"}
    undone = {}
    for text, record in state["done"].items():
        token, status = parse_token(text), record.split("|")[3]
        if text.startswith(UNDO) and status != "RETRIED":
            node = token.node.removeprefix(UNDO)
            key = (named(node, token.index), token.scope)
            value = json.loads(state["val"][token.value_key].split("|", 1)[1])
            given = {"value": value["o"]} if node in inline and "o" in value else configs.get(key)
            undone[key] = (status, without_people(given))
    return undone


def _ends(state: RunState) -> list[tuple[Token, str]]:
    """(token, status) of all that was settled; a cancelled timer stands for the attempt it would have begun."""
    ends = []
    for text, record in state["done"].items():
        token, status = parse_token(text), record.split("|")[3]
        kind, _, node = token.node.partition(":")
        if kind in ("$retry", "$arm") and status in ("CANCELLED", "FAILED"):
            token = Token(node, token.scope, token.index, token.epoch, token.attempt)
        if token.attempt == 0 and status == "CANCELLED":
            status = "SKIPPED"  # the node never started: a skip that was under way when the run was cut short
        if not token.node.startswith("$"):
            ends.append((token, status))
    return ends


def _executions(state: RunState) -> Counter[tuple[Any, ...]]:
    shown = {"RETRIED": "FAILED"}
    ends = ((named(token.node, token.index), token, status) for token, status in _ends(state))
    return Counter((name, token.scope, token.attempt, shown.get(status, status)) for name, token, status in ends)


def _node_status(state: RunState, node: str) -> str:
    """The newest scope instance's newest attempt."""
    settled = [
        (tuple(n for _, n in t.scope), t.attempt, status)
        for t, status in _ends(state)
        if (t.node, t.index) == (node, None)
    ]
    return max(settled)[2] if settled else "PENDING"


def differences(engine: Found, result: Result, document: dict[str, Json], *, in_order: bool = False) -> list[str]:
    """What engine and reference do not agree on, one sentence each; `in_order` if both settled in the same order."""
    wanted = result.agreed(in_order=in_order)
    engine |= {} if in_order else result.without_loose_items(engine)
    if result.cut_short:
        _blur(engine, wanted)
    _forget_unmade(engine, wanted, document)
    _unbegun_losers(engine, wanted, document)
    if wanted["error"] is None and len(result.failures) > 1:
        engine["error"] = None
    sent, wanted["tasks"] = engine.pop("tasks"), _function_tasks(wanted["tasks"], document)
    nodes, executions = engine.pop("nodes"), engine.pop("executions")
    both = executions | wanted["executions"]
    wanted["executions"] = {e: n for e, n in wanted["executions"].items() if e in executions or not _unbegun_item(e)}
    undone = engine.pop("undone")
    lines = _difference(engine, wanted) + _mapping("undone", undone, wanted["undone"])
    lines += _mapping("nodes", nodes, wanted["nodes"]) + _mapping("executions", executions, wanted["executions"])
    cancelled = {(node, scope) for node, scope, attempt, s in both if s == "CANCELLED" and attempt == 1}
    for key in cancelled - set(sent):  # begun and cancelled at once: it may never have been sent
        wanted["tasks"].pop(key, None)
    return lines + _mapping("tasks", sent, wanted["tasks"])


def _blur(engine: Found, wanted: Found) -> None:
    """In a run cut short nobody says how far skips have spread, and so which scope of a node is its newest, nor whether
    a join that waits for such a skip has begun before all was cancelled."""
    sure = [name for name, status in engine["nodes"].items() if not {status, wanted["nodes"][name]} & IDLE]
    for side in (engine, wanted):
        side["nodes"] = {name: side["nodes"][name] for name in sure}
    engine["executions"] = Counter({e: n for e, n in engine["executions"].items() if e[3] != "SKIPPED"})
    unbegun = {e for e in wanted["executions"].keys() - engine["executions"].keys() if e[2:] == (1, "CANCELLED")}
    wanted["executions"] = Counter({e: n for e, n in wanted["executions"].items() if e not in unbegun})
    wanted["tasks"] = {
        place: config for place, config in wanted["tasks"].items() if (*place, 1, "CANCELLED") not in unbegun
    }


def _forget_unmade(engine: Found, wanted: Found, document: dict[str, Json]) -> None:
    """What an agent never came to add is skipped in the reference, and unknown to the engine."""
    for name in added_by_agents(document):
        if {side["nodes"].get(name, "IDLE") for side in (engine, wanted)} <= IDLE:
            for side in (engine, wanted):
                side["nodes"].pop(name, None)
        for side in (engine, wanted):
            kept = {e: n for e, n in side["executions"].items() if (e[0], e[3]) != (name, "SKIPPED")}
            side["executions"] = Counter(kept)


def _unbegun_item(execution: tuple[Any, ...]) -> bool:
    """Whether this may be an item of a wide map that was cancelled before the part with it in it had begun."""
    return "[" in execution[0] and execution[2:] == (1, "CANCELLED")


def _unbegun_losers(engine: Found, wanted: Found, document: dict[str, Json]) -> None:
    """Nobody says how far skips have spread when a join cancels its losers: a join among them that only waited for
    such a skip may have begun, and is CANCELLED, or not, and is SKIPPED."""
    if "cancel_losers" not in json.dumps(document):
        return
    for node, scope, attempt, status in [e for e in wanted["executions"] if e[2:] == (1, "CANCELLED")]:
        skipped = (node, scope, 0, "SKIPPED")
        if skipped in engine["executions"] and (node, scope, attempt, status) not in engine["executions"]:
            del wanted["executions"][(node, scope, attempt, status)]
            wanted["executions"][skipped] = 1
            wanted["tasks"].pop((node, scope), None)
            wanted["nodes"][node] = engine["nodes"][node]


def _difference(engine: Found, wanted: Found) -> list[str]:
    return [
        f"{name}: the engine has {value!r}, the reference {wanted[name]!r}"
        for name, value in engine.items()
        if value != wanted[name]
    ]


def _function_tasks(tasks: dict[Any, Any], document: dict[str, Json]) -> dict[Any, Any]:
    maps = {node["id"] for node in document["nodes"] if node["type"] == "map"}
    sent = {node["id"] for node in document["nodes"] if work_of(node)["type"] in ("function", "http", "queue", "agent")}
    return {
        key: without(config)
        for key, config in tasks.items()
        if node_of(key[0]) in sent and (key[0] not in maps) and config is not None
    }


def _mapping(name: str, engine: dict[Any, Any], wanted: dict[Any, Any]) -> list[str]:
    keys = sorted(set(engine) | set(wanted), key=repr)
    return [
        f"{name} {key}: the engine has {engine.get(key)!r}, the reference {wanted.get(key)!r}"
        for key in keys
        if engine.get(key) != wanted.get(key)
    ]


def asked_otherwise(room: WaitingRoom, result: Result) -> list[str]:
    """What nodes waited for otherwise than their resolved config says."""
    lines = []
    for token, data in room.asked():
        config = result.tasks.get((token.node, token.scope))
        if config is None or token.attempt > 1:
            continue
        message = config.get("message")
        text = message if isinstance(message, str) else json.dumps(message, separators=(",", ":"))
        named = {"approvers": config["approvers"]} if "approvers" in config else {}
        asked = {"message": text, "quorum": config.get("quorum", 1), **named}
        wanted = {"event": config["name"]} if "name" in config else asked
        if data != wanted:
            lines.append(f"{token.text}: the engine waits for {data!r}, the reference for {wanted!r}")
    return lines
