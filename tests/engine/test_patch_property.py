"""Random workflows, patched at random moments: what is refused changes nothing, what is applied ends as it should."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import redis

from chalicelib.domain.errors import GraftError
from chalicelib.domain.patch_diff import diff_plans
from chalicelib.engine.executions import standings
from tests.engine.harness import Harness
from tests.engine.patching import add_edge, add_node, dump, function, patch, remove, replace
from tests.simulation import reference
from tests.simulation.agreement import differences, found
from tests.simulation.generate import behaviour, run_input, workflow
from tests.simulation.reference_state import Outcome

Json = Any
ADDING = ("node", "edge", "node")
ALL = (*ADDING, "entry", "remove", "remove", "unlink", "thin", "thin", "thin", "join", "config")


class Run:
    """One run of a random workflow whose worker and patcher are driven by one seed."""

    def __init__(self, client: redis.Redis, seed: int, kinds: tuple[str, ...]) -> None:
        self.rng = rng = random.Random(f"patch {seed}")
        self.kinds = kinds
        self.document = workflow(rng, size=rng.randrange(3, 16), confluent=True)
        self.input = run_input(rng)
        own, self._made = behaviour(rng, self.document), {node["id"] for node in self.document["nodes"]}
        self.behave = lambda name, scope, attempt: (
            own(name, scope, attempt) if name in self._made else Outcome(output={"n": 1, "node": name})
        )
        self.harness = Harness(client, seed=seed)
        self.run_id = self.harness.start(self.document, self.input)
        self.waiting: list[Json] = []
        self.count, self.applied, self.refused = 0, 0, 0
        self.first = self.plan()
        self.before_failure = True

    def plan(self) -> Any:
        return self.harness.services.plans.load(self.harness.meta(self.run_id)["graph"])

    def play(self) -> None:
        left = self.rng.randrange(1, 5)
        for _ in range(3000):
            if left and self.rng.random() < 0.2:
                left -= 1
                self.patch()
            elif not self.step():
                return
        raise AssertionError("the run does not come to an end")

    def step(self) -> bool:
        dice = self.rng.random()
        if dice < 0.5 and self.harness.settle_batch():
            return True
        if self.waiting and dice < 0.9:
            self.answer(self.waiting.pop(self.rng.randrange(len(self.waiting))))
            return True
        if self.take() or self.harness.settle_batch() or self.waiting:
            return True
        return self.harness.wait_for_timers()

    def take(self) -> bool:
        before = len(self.waiting)
        for queue in ("tasks-function", "tasks-http"):
            for message in self.harness.queues.receive(queue):
                self.waiting.append(json.loads(message.body))
                self.harness.tasks.append(self.waiting[-1])
                self.harness.queues.delete(queue, message.receipt)
        return len(self.waiting) > before

    def answer(self, task: Json) -> None:
        outcome = self.behave(task["node_id"], tuple(task["loops"].items()), task["attempt"])
        body: Json = {"status": "completed", "result": outcome.output}
        if outcome.status != "completed":
            error = {"type": outcome.error, "message": outcome.error, "retryable": outcome.retryable}
            body = {"status": "failed", "error": error}
        self.harness.answer(task, body)

    def patch(self) -> None:
        operations = [op for _ in range(self.rng.choice([1, 1, 1, 2, 3])) for op in self.operations()]
        before = dump(self.harness)
        self.before_failure = self.before_failure and "error" not in self.harness.meta(self.run_id)
        try:
            answer = patch(self.harness, self.run_id, *operations)
            self.applied += bool(answer["added"] or answer["removed"] or answer["edges_added"] or answer["changed"])
        except GraftError:
            self.refused += 1
            assert dump(self.harness) == before

    def operations(self) -> list[Json]:
        rng, plan = self.rng, self.plan()
        kind = rng.choice(self.kinds)
        names = list(plan.nodes)
        one, other = rng.choice(names), rng.choice(names)
        if kind in ("node", "entry"):
            self.count += 1
            new = f"new{self.count}"
            sources = [] if kind == "entry" else rng.sample(names, k=min(len(names), rng.choice([1, 1, 2])))
            on = rng.choice(["", "", "", ":always", ":failure"])
            more = [add_edge(f"{source}>{new}{on}") for source in sources]
            more += [add_edge(f"{new}>{other}")] if rng.random() < 0.3 else []
            return [add_node(function(new, {"p": self.count})), *more]
        if kind == "edge":
            return [add_edge(f"{one}>{other}{rng.choice(['', '', ':always'])}")]
        if kind == "remove":
            return [remove(f"/nodes/{one}")]
        if kind == "unlink":
            edges = plan.document["edges"]
            return [remove(f"/edges/{rng.randrange(len(edges))}")] if edges else []
        if kind == "thin":
            return self.thinned(plan)
        if kind == "join":
            join = rng.choice(["any", "all", {"count": 2}, {"any": True, "cancel_losers": True}])
            return [{"op": "add", "path": f"/nodes/{one}/join", "value": join}]
        return [replace(f"/nodes/{one}/metadata", {"x": 1})] if "metadata" in plan.document["nodes"][0] else []

    def thinned(self, plan: Any) -> list[Json]:
        """One way less into a join, if possible one that has been reached already."""
        joins = [name for name, node in plan.nodes.items() if node.counted]
        reached = [name for name in joins if f"{name}@" in self.harness.store.snapshot(self.run_id)["jn"]]
        if not joins:
            return []
        key = self.rng.choice(plan.nodes[self.rng.choice(reached or joins)].in_edges)
        source = plan.edges[key].source
        return [remove(f"/nodes/{source}") if self.rng.random() < 0.5 else remove(f"/edges/{key}")]

    def check(self) -> None:
        self.harness.assert_fold_equals_store(self.run_id)
        state, plan = self.harness.store.snapshot(self.run_id), self.plan()
        meta = state["meta"]
        assert meta["status"] in ("COMPLETED", "FAILED"), meta["status"]
        assert not state["tok"]
        jobs = [task["job_id"] for task in self.harness.tasks]
        assert len(jobs) == len(set(jobs)), "a task was sent twice"
        keys = ("node_id", "attempt", "compensation")
        tokens = [(tuple(t["loops"].items()), *(t.get(key) for key in keys)) for t in self.harness.tasks]
        assert len(tokens) == len(set(tokens)), "an attempt ran twice"
        cut = meta.get("result") or (plan.on_failure != "finish_branches" and meta["status"] == "FAILED")
        if not cut and "fail" not in {node.type for node in plan.nodes.values()}:
            left = set(plan.nodes) - set(standings(state))
            assert not left, f"{left} were left behind"

    def compare(self) -> bool:
        """Whether the run can be compared with one of the final graph, which it then agrees with."""
        plan, diff = self.plan(), diff_plans(self.first, self.plan())
        touched = {plan.edges[key].source for key in diff.edges_added} | {
            plan.edges[k].target for k in diff.edges_added
        }
        races = any(node.join.need for node in plan.nodes.values())
        if races or not self.before_failure or any(plan.nodes[name].loops for name in (*diff.added, *touched)):
            return False
        wanted = reference.run(plan.document, self.input, self.behave)
        if wanted.cut_short:
            return False
        state = self.harness.store.snapshot(self.run_id)
        lines = differences(found(state, self.harness.tasks, plan.document), wanted, plan.document)
        assert not lines, "\n".join(lines)
        return True


@pytest.mark.parametrize("block", range(2))
def test_any_patch_at_any_moment_leaves_a_run_that_ends_well(client: redis.Redis, block: int) -> None:
    applied = refused = 0
    for seed in range(block * 25, block * 25 + 25):
        client.flushall()
        run = Run(client, seed, ALL)
        try:
            run.play()
            run.check()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        applied, refused = applied + run.applied, refused + run.refused
    assert applied > 3
    assert refused > 5


@pytest.mark.parametrize("block", range(2))
def test_a_graph_grown_while_it_runs_ends_as_if_it_had_been_so_from_the_start(client: redis.Redis, block: int) -> None:
    compared = 0
    for seed in range(10_000 + block * 40, 10_000 + block * 40 + 40):
        client.flushall()
        run = Run(client, seed, ADDING)
        try:
            run.play()
            run.check()
            compared += bool(run.applied and run.compare())
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    assert compared > 3
