"""What is crashed: every example that needs no network, and a chain under each action of the API."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chalicelib.domain.errors import Conflict, InvalidInput
from chalicelib.engine.approvals import Decision, decide
from chalicelib.engine.controls import cancel_run, pause_run, resume_run
from chalicelib.engine.patch_terms import Change
from chalicelib.engine.patches import PatchRequest, patch_run
from chalicelib.engine.redo import redrive_run, skip_node
from chalicelib.engine.run_events import send_event
from chalicelib.engine.services import Services
from chalicelib.engine.work import WorkPorts, work
from chalicelib.workers.function import FunctionWorker
from infra.cli.documents import read_document
from tests.doubles.artifacts import MemoryArtifacts
from tests.doubles.clock import ManualClock
from tests.simulation.crash_pages import Pages
from tests.simulation.crash_world import Act, Scenario

Json = Any
EXAMPLES = Path(__file__).parents[2] / "examples"


def workers() -> Callable[[Json], Json]:
    """The real function worker with the registered functions, the demo's pages, and what the worker in Node.js says."""
    found = {"function": FunctionWorker(), "http": Pages()}
    ports = WorkPorts(ManualClock(), MemoryArtifacts())

    def answer(task: Json) -> Json:
        if task["type"] == "queue":
            return {"status": "completed", "result": _measured(task["config"]["payload"]["text"])}
        said = work({**task, "deadline": None}, found, ports)
        assert said is not None
        return {name: said[name] for name in ("status", "result", "error", "patch") if name in said}

    return answer


def _measured(text: str) -> Json:
    """As examples/node_worker/worker.mjs."""
    words = re.findall(r"[^\W\d_]+", text)
    return {"words": len(words), "longest": max(words, key=len, default=""), "reversed": text[::-1]}


def examples() -> dict[str, Scenario]:
    """By name and case; the self-editing one is also patched as its story tells."""
    found: dict[str, Scenario] = {}
    for folder in sorted(path for path in EXAMPLES.iterdir() if list(path.glob("workflow.*"))):
        document = read_document(str(next(folder.glob("workflow.*"))))
        expected = folder / "expected.json"
        called = {one["name"]: one for one in map(read_document, map(str, sorted(folder.glob("called-*"))))}
        cases = json.loads(expected.read_text())["cases"] if expected.exists() else [CASES[folder.name]]
        for number, case in enumerate(cases):
            steps = tuple(_told(at, step) for at, step in enumerate(case.get("steps", [])))
            found[f"{folder.name}-{number}"] = Scenario(document, case["input"], workers(), idle=steps, called=called)
    analyst = json.loads((EXAMPLES / "self_editing" / "analyst.json").read_text())
    given = json.loads((EXAMPLES / "self_editing" / "input.json").read_text())
    found["analyst"] = Scenario(analyst, given, workers())
    return found


def _told(at: int, step: Json) -> Act:
    """What people and other programs say in an example, under a key; what is refused there is refused here."""
    path, body, once = step["post"].split("/"), step["body"], f"step {at}"

    def tell(services: Services, run: str) -> None:
        if path[0] == "signals":
            send_event(services, run, path[1], body, "shop", once)
        else:
            decide(
                services,
                Decision(run, path[1], "ann", body["approved"], body.get("comment"), body.get("data"), once=once),
            )

    def acts(services: Services, run: str) -> None:
        if "refused" not in step:
            return tell(services, run)
        with contextlib.suppress(InvalidInput):
            tell(services, run)
            raise AssertionError(f"{step} was not refused")
        return None

    return acts


#: The case of each example that has no expected.json.
CASES: dict[str, Json] = {
    # Its agent adds a node that a person has to approve.
    "demo": {
        "input": {"url": "http://demo.invalid/penguins", "page_size": 120},
        "steps": [{"post": "nodes/publish/decision", "body": {"approved": True}}],
    },
    "node_worker": {"input": {"text": "to be or not to be, that is the question"}},
}


def function(name: str, handler: str = "echo", params: Json = None, **more: Json) -> Json:
    """A function node."""
    return {"id": name, "type": "function", "config": {"handler": handler, "params": params or {"by": name}}, **more}


CHAIN = {
    "nodes": [function("a"), function("b"), {"id": "t", "type": "transform", "config": {"value": "${ctx.b.output.by}"}},
              function("c", params={"t": "${ctx.t.output}"})],
    "edges": [{"from": "a", "to": "b"}, {"from": "b", "to": "t"}, {"from": "t", "to": "c"}],
}  # fmt: skip
#: It fails once, and goes well when it is run again.
FAILING = {
    "nodes": [
        function("a"),
        function("b", "flaky", {"failures": 1, "type": "Boom", "retryable": False}),
        function("c"),
    ],
    "edges": [{"from": "a", "to": "b"}, {"from": "b", "to": "c"}],
}
#: `a` fails while `b` waits; `tidy` cleans up, `meet` waits for it and for `b`, `once` for `b` and `c` alone.
CUT = {
    "nodes": [
        function("c"),
        function("a", "flaky", {"failures": 1, "type": "Boom", "retryable": False}),
        {"id": "b", "type": "wait", "config": {"seconds": 86_400}},
        function("tidy"), function("meet", params={"b": "${ctx.b.status}"}), function("once"),
        {"id": "last", "type": "pass"},
    ],
    "edges": [
        {"from": "c", "to": "a"}, {"from": "c", "to": "b"},
        {"from": "a", "to": "tidy", "on": "always"}, {"from": "tidy", "to": "meet"}, {"from": "b", "to": "meet"},
        {"from": "c", "to": "once"}, {"from": "b", "to": "once"},
        {"from": "meet", "to": "last"}, {"from": "once", "to": "last"},
    ],
}  # fmt: skip
SILENT = {
    "nodes": [function("a", timeout_ms=60_000), function("b")],
    "edges": [{"from": "a", "to": "b", "on": "failure"}],
}
WAITING = {
    "nodes": [function("a"), {"id": "w", "type": "wait", "config": {"seconds": 2000}}, function("b")],
    "edges": [{"from": "a", "to": "w"}, {"from": "w", "to": "b"}],
}


#: Both begin in one commit.
BRANCHES = {
    "nodes": [function("a"), function("b"), {"id": "w", "type": "wait", "config": {"seconds": 5}}],
    "edges": [{"from": "a", "to": "b"}, {"from": "a", "to": "w"}],
}


def patching(*operations: Json) -> Act:
    """A client's patch, under an idempotency key."""
    change = Change(lambda plan: list(operations), "grown by a client")
    return lambda services, run: patch_run(services, PatchRequest("acme", "ann", run, change, once="key"))


def repeated(act: Callable[[Services, str, str], object]) -> Act:
    """An action without a key: where it died after it was done, the repeat is refused, and the client knows enough."""

    def acts(services: Services, run: str) -> None:
        with contextlib.suppress(Conflict):
            act(services, run, "ann")

    return acts


def _using(task: Json) -> Json:
    """A worker that says what it used, and fails the second item once."""
    broken = (task["node_id"], task["config"]["params"]) == ("count", {"item": 2})
    said = {"status": "failed", "error": {"type": "Boom", "message": "no"}} if broken else {"status": "completed"}
    return {**said, "result": 1, "metadata": {"tokens_used": 7, "usd": 0.5}}


def _silent(task: Json) -> Json | None:
    return None if task["node_id"] == "a" else workers()(task)


def _skip(services: Services, run: str, actor: str) -> None:
    skip_node(services, run, "b", {"by": "nobody"}, actor)


#: Children and theirs: one after the other, one for each item of a map, one of them failing twice.
FAMILY = {
    "nodes": [{"id": "call", "type": "workflow", "config": {"workflow": "middle", "input": {"item": 1}}},
              {"id": "each", "type": "map", "config": {
                  "items": [1, 2], "tolerate_failures": 1, "body": {
                      "type": "workflow", "config": {"workflow": "leaf", "input": {"item": "${item}"}},
                      "retry": {"max_attempts": 2, "backoff_ms": 10}}}}],
    "edges": [{"from": "call", "to": "each"}],
}  # fmt: skip
LEAF = {"nodes": [function("count", params={"item": "${input.item}"})]}
MIDDLE = {"nodes": [{"id": "below", "type": "workflow", "config": {"workflow": "leaf"}}]}


GROWN = (
    {"op": "add", "path": "/nodes/-", "value": function("late")},
    {"op": "add", "path": "/edges/-", "value": {"from": "a", "to": "late"}},
    {"op": "add", "path": "/edges/-", "value": {"from": "late", "to": "c"}},
)


def actions() -> dict[str, Scenario]:
    """Each action of the API at one moment of a small run."""
    pause, resume, cancel, redrive = (repeated(act) for act in (pause_run, resume_run, cancel_run, redrive_run))
    return {
        "pause and resume": Scenario(CHAIN, {}, workers(), {"b": (pause, resume)}),
        "resume once all has stopped": Scenario(CHAIN, {}, workers(), {"b": (pause,)}, (resume,)),
        "cancel": Scenario(CHAIN, {}, workers(), {"b": (cancel,)}),
        "redrive of a cancelled run": Scenario(CHAIN, {}, workers(), {"b": (cancel,)}, (redrive,)),
        "redrive of a failed run": Scenario(FAILING, {}, workers(), {}, (redrive,)),
        "patch": Scenario(CHAIN, {}, workers(), {"b": (patching(*GROWN),)}),
        "patch of a paused run": Scenario(CHAIN, {}, workers(), {"b": (pause, patching(*GROWN))}, (resume,)),
        "a failure amid other work": Scenario(CUT, {}, workers()),
        "redrive after a failure amid other work": Scenario(CUT, {}, workers(), {}, (redrive,)),
        "rollback after a failure amid other work": Scenario({**CUT, "on_failure": "compensate"}, {}, workers()),
        "skip of a failed node": Scenario(FAILING, {}, workers(), {}, (repeated(_skip),)),
        "skip of a waiting node": Scenario(CHAIN, {}, workers(), {"b": (repeated(_skip),)}),
        "an attempt that nobody answers": Scenario(SILENT, {}, _silent),
        "a long wait": Scenario(WAITING, {}, workers()),
        "children that use something": Scenario(FAMILY, {}, _using, called={"leaf": LEAF, "middle": MIDDLE}),
        "breakpoints": Scenario(CHAIN, {}, workers(), {}, 5 * (resume,), breakpoints=("a", "b", "t")),
        "two breakpoints at once": Scenario(BRANCHES, {}, workers(), {}, 4 * (resume,), breakpoints=("b", "w")),
        "patch at a breakpoint": Scenario(CHAIN, {}, workers(), {}, (patching(*GROWN), resume), breakpoints=("b",)),
        "skip at a breakpoint": Scenario(CHAIN, {}, workers(), {}, (repeated(_skip), resume), breakpoints=("b",)),
        # A redrive that died is finished by whoever comes next; then the run pauses once more.
        "cancel and redrive at a breakpoint": Scenario(
            CHAIN, {}, workers(), {}, (cancel, redrive, resume, resume), breakpoints=("b",)
        ),
    }  # fmt: skip
