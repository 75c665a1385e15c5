"""The heart: (plan, token, outcome, values) -> the Draft of its commit. No I/O, no clock, no chance inside."""

from __future__ import annotations

from typing import Any

from chalicelib.domain.commit import Draft, Event
from chalicelib.domain.errors import TemplateError
from chalicelib.domain.failing import fail
from chalicelib.domain.ids import Token
from chalicelib.domain.ir import Condition, Node, Plan
from chalicelib.domain.map_items import settle_item
from chalicelib.domain.outcome import Moment, Outcome, event_data, holds_or_note, value_record, with_own
from chalicelib.domain.routing import Router, loop_back_scope
from chalicelib.domain.templates import render

Json = Any


def settle(plan: Plan, token: Token, outcome: Outcome, moment: Moment) -> Draft:
    """Decide a finished attempt: retry, fail or complete it, and route on."""
    if token.index is not None:
        return settle_item(plan, token, outcome, moment)
    node = plan.nodes[token.node]
    if outcome.error is not None:
        draft = fail(plan, node, token, outcome, moment)
    else:
        draft = _Completion(plan, node, token, outcome, moment).draft()
    if node.type == "map":
        draft.cancel_within = f"{token.instance}["
    return draft


class _Completion:
    """Decides one completed node: its variables, its loop, its edges."""

    def __init__(self, plan: Plan, node: Node, token: Token, outcome: Outcome, moment: Moment) -> None:
        self._plan, self._node, self._token, self._outcome, self._moment = plan, node, token, outcome, moment
        values = with_own(moment.values, token, "COMPLETED", outcome)
        self._values = {**values, "output": outcome.output, "iteration": token.iteration}
        self._draft = Draft(settle=token)

    def draft(self) -> Draft:
        """The whole decision; a failing `set` template or a loop at its limit turns it into a failure."""
        draft, node, token = self._draft, self._node, self._token
        try:
            draft.vars = {name: render(t, self._values, f"/set/{name}") for name, t in node.sets.items()}
        except TemplateError as error:
            return self._fail("TemplateError", error.detail)
        self._values["vars"] = {**self._values.get("vars", {}), **draft.vars}
        names = self._chosen_by_agent()
        if isinstance(names, str):
            return self._fail("TaskFailed", names)
        draft.values.append((token, value_record("COMPLETED", self._token, self._outcome)))
        draft.events.append(Event("node_completed", token, event_data(self._outcome), self._outcome.job))
        router = Router(self._plan, draft, self._moment.epoch)
        verdict = self._loop_verdict() if node.loop else "none"
        if verdict == "limit":
            return self._fail("LoopLimit", f"Loop {node.id} reached max_iterations with its condition still true.")
        if verdict == "again":
            draft.events.append(Event("loop_continued", token, {"next": token.iteration + 1}))
            assert node.loop is not None
            router.start(node.loop.back_to, loop_back_scope(self._plan, token))
            return draft
        self._route(router, verdict, names)
        return draft

    def _fail(self, kind: str, message: str) -> Draft:
        error = {"type": kind, "message": message, "retryable": False}
        failed = Outcome(error=error, job=self._outcome.job)
        draft = fail(self._plan, self._node, self._token, failed, self._moment)
        draft.events[:0] = [event for event in self._draft.events if event.type == "condition_failed"]
        return draft

    def _loop_verdict(self) -> str:
        loop = self._node.loop
        assert loop is not None
        if not self._holds(loop.condition, "loop"):
            return "break"
        if self._token.iteration < loop.max_iterations:
            return "again"
        return "timeout" if loop.has_timeout else "limit"

    def _route(self, router: Router, verdict: str, names: list[str]) -> None:
        node, scope = self._node, self._token.scope
        edges = dict.fromkeys(node.out_edges, 0)
        for key in self._taken(verdict, names):
            edges[key] = 1
        ended = node.id if node.loop else None
        if ended:
            data = {"reason": verdict, "iterations": self._token.iteration}
            self._draft.events.append(Event("loop_ended", self._token, data))
        router.resolve(edges, scope, ended_loop=ended)
        if ended:
            router.end_loop(ended, scope)

    def _taken(self, verdict: str, names: list[str]) -> list[str]:
        node = self._node
        if node.loop and verdict == "timeout":
            return list(node.loop.timeout_edges)
        if node.loop and node.loop.has_break:
            return list(node.loop.break_edges)
        chosen = [key for key in node.out_edges if self._plain(key)]
        if node.branch:
            chosen += names if node.branch.mode == "agent_driven" else self._branch()
        return chosen

    def _plain(self, key: str) -> bool:
        edge = self._plan.edges[key]
        if edge.kind != "plain" or edge.on == "failure":
            return False
        return edge.condition is None or self._holds(edge.condition, f"edge {key}")

    def _branch(self) -> list[str]:
        branch = self._node.branch
        assert branch is not None
        chosen: list[str] = []
        matched: list[int] = []
        for number, rule in enumerate(branch.rules):
            if self._holds(rule.condition, f"branch rule {number}"):
                chosen += rule.edges
                matched.append(number)
                if branch.mode == "first":
                    break
        chosen = list(chosen if matched else branch.default)
        data = {"rules": matched, "next_nodes": [self._plan.edges[key].target for key in chosen]}
        self._draft.events.append(Event("branch_decided", self._token, data))
        return chosen

    def _chosen_by_agent(self) -> list[str] | str:
        """Edge keys of an agent_driven branch, or a sentence saying what is wrong with the node's choice."""
        branch, output = self._node.branch, self._outcome.output
        if branch is None or branch.mode != "agent_driven":
            return []
        names = output.get("next_nodes") if isinstance(output, dict) else None
        if branch.default and (names is None or names == []):
            return list(branch.default)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return "An agent_driven branch needs an output with a list of node ids under next_nodes."
        outside = [name for name in names if name not in branch.available]
        if outside:
            return f"next_nodes names {', '.join(outside)}, not among {', '.join(branch.available)}."
        return [branch.available[name] for name in names]

    def _holds(self, condition: Condition, what: str) -> bool:
        return holds_or_note(condition, self._values, self._draft, self._token, what)
