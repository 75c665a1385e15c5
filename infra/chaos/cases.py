"""The runs of a storm: every example that runs offline, with what must come out of it."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.cli import demo_data
from infra.cli.documents import read_document

Json = Any
#: Examples that are no part of a storm: this one's worker is a Node.js program of its own.
LEFT_OUT = frozenset({"node_worker"})
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
#: How often an example is drawn; the others have the usual weight.
WEIGHTS = {"fan_out_200": 2, "demo": 3}
USUAL_WEIGHT = 4
#: Seconds for which some runs wait, so that a loss of Redis meets runs that no message will name for a while.
WAITING_S = 7
#: Milliseconds that a task of nobody's interest takes: longer than its deadline, however late that is found.
ENDLESS_MS = 15_000


@dataclass(frozen=True, slots=True)
class Control:
    """One POST that a run's client sends below it: at once, or as soon as the node `waits` waits."""

    what: str
    body: Json
    waits: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One workflow with one input, and what its run must say at its end: members of the run, members of its nodes."""

    name: str
    document: Json
    input: Json
    status: str
    run: Mapping[str, Json] = field(default_factory=dict)
    error: Mapping[str, Json] = field(default_factory=dict)
    nodes: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    #: What its client sends to the run once it is started, in order.
    controls: tuple[Control, ...] = ()

    @property
    def weight(self) -> int:
        """How often it is drawn."""
        return WEIGHTS.get(self.name, USUAL_WEIGHT)

    def wrong(self, run: Json) -> list[str]:
        """What is not as it must be, one sentence each."""
        found = _differs("", {"status": self.status, **self.run}, run)
        if self.error:
            found += _differs("error/", self.error, run["error"] or {})
        for name, expected in self.nodes.items():
            found += _differs(f"nodes/{name}/", expected, run["nodes"].get(name, {}))
        return found


def _differs(where: str, expected: Mapping[str, Json], found: Mapping[str, Json]) -> list[str]:
    return [
        f"{where}{name} is {_short(found.get(name))} and must be {_short(value)}"
        for name, value in expected.items()
        if found.get(name) != value
    ]


def _short(value: Json) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:200] + "…"


def all_cases(data_port: int) -> list[Case]:
    """Every case; the demo fetches its data from this loopback port."""
    cases = [case for path in sorted(EXAMPLES.glob("*/expected.json")) for case in _of_folder(path)]
    return [*cases, *_analyst(), _waiting(), _patched(), _late_attempt(), _late_run(), _demo(data_port)]


def _of_folder(path: Path) -> list[Case]:
    document = read_document(str(next(path.parent.glob("workflow.*"))))
    return [_case(path.parent.name, document, one) for one in json.loads(path.read_text())["cases"]]


def _case(name: str, document: Json, one: Json) -> Case:
    run = {"output": one["output"]} if "output" in one else {}
    steps = [step for step in one.get("steps", ()) if "refused" not in step]
    controls = tuple(Control(step["post"], step["body"], step.get("waits", "")) for step in steps)
    told = (run, one.get("error", {}), one.get("nodes", {}), controls)
    return Case(name, document, one["input"], one["status"], *told)


def called() -> list[Json]:
    """The workflows that the examples call, to be saved before any run."""
    return [read_document(str(path)) for path in sorted(EXAMPLES.glob("*/called-*"))]


def _analyst() -> list[Case]:
    """Runs that a function of their own patches."""
    folder = EXAMPLES / "self_editing"
    document = read_document(str(folder / "analyst.json"))
    return [
        Case("analyst", document, one["input"], "COMPLETED", {"output": one["output"], "revision": one["revision"]})
        for one in json.loads((folder / "expected.json").read_text())["analyst"]
    ]


def _waiting() -> Case:
    """The self-editing example's run, which waits until its shop closes."""
    case = _of_folder(EXAMPLES / "self_editing" / "expected.json")[0]
    return Case("waiting", case.document, {**case.input, "open_s": WAITING_S}, case.status, case.run)


def _patched() -> Case:
    """A run that its client pauses, patches and lets go on, whatever is down meanwhile."""
    first = {"id": "first", "type": "wait", "config": {"seconds": WAITING_S}}
    echo = {"type": "function", "config": {"handler": "echo", "params": {"n": 2}}}
    document = {"nodes": [first, {"id": "second", **echo}], "edges": [{"from": "first", "to": "second"}]}
    added = {"id": "third", "type": "transform", "config": {"value": "${ctx.second.output.n + 1}"}}
    operations = [
        {"op": "add", "path": "/nodes/-", "value": added},
        {"op": "add", "path": "/edges/-", "value": {"from": "second", "to": "third"}},
    ]
    patch = {"operations": operations, "description": "one more"}
    controls = (Control("pause", {}), Control("patch", patch), Control("resume", {}))
    run = {"output": {"third": 3}, "revision": 1}
    return Case("patched", document, {}, "COMPLETED", run, controls=controls)


def _late_attempt() -> Case:
    """An attempt that times out, also where Redis has forgotten its deadline; a failure edge handles it."""
    slow = {"id": "slow", "type": "function", "config": {"handler": "sleep", "params": {"ms": ENDLESS_MS}}}
    mended = {"id": "mended", "type": "transform", "config": {"value": "${ctx.slow.error.type}"}}
    edges = [{"from": "slow", "to": "mended", "on": "failure"}]
    document = {"nodes": [{**slow, "timeout_ms": 2000}, mended], "edges": edges}
    return Case("late_attempt", document, {}, "COMPLETED", {"output": {"mended": "Timeout"}})


def _late_run() -> Case:
    """A run that times out as a whole while all of it waits."""
    document = {"nodes": [{"id": "long", "type": "wait", "config": {"seconds": 15}}], "timeout_ms": 3000}
    return Case("late_run", document, {}, "TIMED_OUT", {"output": None}, {"type": "Timeout"})


def _demo(port: int) -> Case:
    """HTTP requests page by page, and an agent's patch. What must come out is what an undisturbed run gives.

    It has no deadlines here: a killed worker's time counts against its attempt, which would rightly fail. The agent
    alone keeps its heartbeat. Nobody decides here: the question that the agent adds is approved by a second of silence.
    """
    document = read_document(str(demo_data.WORKFLOW))
    for node in document["nodes"]:
        node.pop("timeout_ms", None)
        node["config"].get("body", {}).pop("timeout_ms", None)
        for turn in node["config"].get("turns", ()):
            _unattended(turn)
    given = {"url": f"http://{demo_data.HOST}:{port}/penguins", "page_size": 60}
    return Case("demo", document, given, "COMPLETED", {"revision": 1})


def _unattended(turn: Json) -> None:
    """Let the questions that this turn's patches add answer themselves."""
    for call in turn.get("calls", ()):
        for operation in call["arguments"].get("operations", ()):
            value = operation["value"]
            if value.get("type") == "human":
                value["timeout_ms"] = 1000
                value["config"]["on_timeout"] = "approve"


def mix(cases: Sequence[Case], count: int, rng: random.Random) -> list[Case]:
    """`count` of them in random order: each at least once where there is room, the rest by weight."""
    drawn = list(cases)[:count]
    drawn += rng.choices(list(cases), [case.weight for case in cases], k=count - len(drawn))
    rng.shuffle(drawn)
    return drawn
