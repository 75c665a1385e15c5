"""A run's hashes as the JSON shapes of SPEC 8: the whole run, and one node with its executions."""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from chalicelib.domain.breakpoints import breakpoints_of
from chalicelib.domain.children import calls, child_run_id, parent_view
from chalicelib.domain.compensation import PHASE, compensating
from chalicelib.domain.ids import UNDO, Job, Token
from chalicelib.domain.ir import Plan
from chalicelib.domain.journal import timestamp
from chalicelib.domain.map_items import parse_progress, progress_field
from chalicelib.domain.records import parse_began
from chalicelib.domain.usage import transcript_field, usage
from chalicelib.engine.executions import (
    Standing,
    attempt_status,
    attempts,
    began,
    settled,
    standings,
)
from chalicelib.engine.ports import RunState

Json = Any
#: Executions of one node that an answer holds, and the bytes of JSON they may take together.
MAX_EXECUTIONS = 1000
MAX_BYTES = 4 << 20
API = "/api/v1"


def run_links(public_url: str, run_id: str, parent: Mapping[str, str] | None = None) -> dict[str, str]:
    """Where to go on from a run; also to the run that called it, where there is one."""
    runs = f"{public_url}{API}/runs"
    here = f"{runs}/{run_id}"
    links = {"self": here, "workflow": f"{here}/workflow", "events": f"{here}/events"}
    return links if parent is None else {**links, "parent": f"{runs}/{parent['run_id']}"}


def run_view(run_id: str, state: RunState, plan: Plan, public_url: str) -> dict[str, Json]:
    """`GET /runs/{id}`."""
    meta = state["meta"]
    nodes = _nodes(plan, standings(state))
    version, parent = meta.get("version"), parent_view(meta)
    return {
        "run_id": run_id,
        "workflow": {"name": meta.get("workflow") or None, "version": int(version) if version else None},
        "status": meta["status"],
        "phase": PHASE if compensating(meta) else None,
        "rollback": meta.get("rollback"),
        "revision": int(meta["rev"]),
        "created_at": _time(meta.get("created_at")),
        "started_at": _time(meta.get("started_at")),
        "finished_at": _time(meta.get("finished_at")),
        "input": _value(meta, "input"),
        "output": _value(meta, "output"),
        "error": run_error(meta.get("error")),
        "counts": dict(Counter(node["status"] for node in nodes.values())),
        "nodes": nodes,
        "usage": usage(meta),
        "breakpoints": breakpoints_of(plan),
        "parent": parent,
        "links": run_links(public_url, run_id, parent),
    }


def run_error(text: str | None) -> Json:
    """A run's error as it is shown, from its JSON text."""
    if not text:
        return None
    error = json.loads(text)
    return {"type": error.get("type"), "message": error.get("message"), "node_id": error.get("node_id")}


def artifact_refs(meta: Mapping[str, str]) -> list[str]:
    """Artifacts that a view of the run shows."""
    return [meta[name] for name in ("input_ref", "output_ref") if meta.get(name)]


def node_view(
    run_id: str,
    state: RunState,
    plan: Plan,
    node_id: str,
    make_job_id: Callable[[Job], str],
    input_of: Callable[[Token], Json],
) -> tuple[dict[str, Json], list[str]]:
    """(`GET /runs/{id}/nodes/{node}`, artifacts it shows); the newest executions, in the order they began."""
    node = _nodes(plan, standings(state), only=node_id)[node_id]
    executions = _Listing(run_id, state, plan, make_job_id, input_of)
    executions.add(attempts(state, node_id))
    view = {"id": node_id, **node, **_items(state, plan, node_id), "executions": executions.entries}
    undone = _Listing(run_id, state, plan, make_job_id, input_of)
    undone.add(attempts(state, UNDO + node_id))
    if undone.entries:
        view["compensations"] = undone.entries
    return {**view, "truncated": executions.truncated or undone.truncated}, executions.refs + undone.refs


class _Listing:
    """The newest of some attempts as an answer shows them, in the order they began."""

    def __init__(
        self,
        run_id: str,
        state: RunState,
        plan: Plan,
        make_job_id: Callable[[Job], str],
        input_of: Callable[[Token], Json],
    ) -> None:
        self._run_id, self._state, self._plan = run_id, state, plan
        self._make_job_id, self._input_of = make_job_id, input_of
        self.entries: list[dict[str, Json]] = []
        #: Artifacts that the entries show.
        self.refs: list[str] = []
        self.truncated = False

    def add(self, tokens: Iterable[Token]) -> None:
        """List them, as many as an answer holds."""
        keyed = [((start.no, token.text), token) for token in tokens if (start := began(self._state, token.text))]
        total = 0
        for _, token in heapq.nlargest(MAX_EXECUTIONS + 1, keyed, key=lambda item: item[0]):
            entry, shown = _execution(self._run_id, self._state, self._plan, token, self._make_job_id, self._input_of)
            total += len(json.dumps(entry))
            if len(self.entries) == MAX_EXECUTIONS or (total > MAX_BYTES and self.entries):
                self.truncated = True
                break
            self.entries.append(entry)
            self.refs += shown
        self.entries.reverse()


def _items(state: RunState, plan: Plan, node_id: str) -> dict[str, Json]:
    """How far a map is, in its newest scope."""
    standing = standings(state).get(node_id) if plan.nodes[node_id].type == "map" else None
    text = state["box"].get(progress_field(standing.token)) if standing else None
    if text is None:
        return {}
    progress = parse_progress(text)
    settled = progress.done + progress.failed
    counts = {"total": progress.items, "completed": progress.done, "failed": progress.failed}
    return {"items": {**counts, "outstanding": progress.next - settled}}


def _nodes(plan: Plan, found: Mapping[str, Standing], only: str | None = None) -> dict[str, dict[str, Json]]:
    nodes = plan.nodes if only is None else {only: plan.nodes[only]}
    return {node_id: {"type": node.type, **_standing(found.get(node_id))} for node_id, node in nodes.items()}


def _standing(standing: Standing | None) -> dict[str, Json]:
    if standing is None:
        return {"status": "PENDING", "attempts": 0, "iteration": 0, "started_at": None, "finished_at": None}
    return {
        "status": standing.status,
        "attempts": standing.token.attempt,
        "iteration": standing.token.iteration,
        "started_at": None if standing.started_at is None else timestamp(standing.started_at),
        "finished_at": None if standing.finished_at is None else timestamp(standing.finished_at),
    }


def _execution(
    run_id: str,
    state: RunState,
    plan: Plan,
    token: Token,
    make_job_id: Callable[[Job], str],
    input_of: Callable[[Token], Json],
) -> tuple[dict[str, Json], list[str]]:
    start, end = began(state, token.text), settled(state, token.text)
    assert start is not None
    job = parse_began(state["dis"][token.text]).job(run_id, token.text)
    outcome = _outcome(state, token)
    ref = outcome.get("r")
    view: dict[str, Json] = {"iteration": token.iteration, "loops": token.loops, "attempt": token.attempt}
    if token.index is not None:
        view["index"] = token.index
    view |= {
        "status": attempt_status(state, token.text),
        "job_id": make_job_id(job),
        "input": input_of(token),
        "output": {"$artifact": ref} if ref else outcome.get("o"),
        "error": json.loads(end.error) if end and end.error else None,
        "dispatched_at": timestamp(start.at),
        "settled_at": timestamp(end.at) if end else None,
    }
    if calls(plan, [token.text]):
        view["child_run_id"] = child_run_id(job)
    transcript = state["box"].get(transcript_field(token))
    if transcript:
        view["transcript"] = {"$artifact": transcript}
    return view, [one for one in (ref, transcript) if one]


def _outcome(state: RunState, token: Token) -> dict[str, Json]:
    """The stored outcome, if it is this attempt's."""
    record = state["val"].get(token.value_key)
    if record is None:
        return {}
    outcome: dict[str, Json] = json.loads(record.split("|", 1)[1])
    return outcome if outcome.get("a") == token.attempt else {}


def _value(meta: Mapping[str, str], name: str) -> Json:
    """An inline value, or a reference to the artifact that holds it."""
    ref = meta.get(f"{name}_ref")
    if ref:
        return {"$artifact": ref}
    text = meta.get(name)
    return json.loads(text) if text else None


def _time(ms: str | None) -> str | None:
    return timestamp(int(ms)) if ms else None
