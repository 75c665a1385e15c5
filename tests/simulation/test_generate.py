"""The workflow generator: what it makes, and that confluent documents end the same under every schedule."""

from __future__ import annotations

import functools
import json
import random
from collections import Counter
from typing import Any

import pytest

from tests.simulation.generate import behaviour, run_input, workflow
from tests.simulation.reference import run
from tests.simulation.reference_graph import Graph
from tests.simulation.reference_state import Result

SEEDS = range(300)
SCHEDULES = 20


@functools.cache
def made(seed: int, *, confluent: bool, size: int = 15) -> tuple[dict[str, Any], dict[str, Any], Any]:
    rng = random.Random(seed)
    document = workflow(rng, size=size, confluent=confluent)
    return document, run_input(rng), behaviour(rng, document)


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_a_confluent_document_ends_the_same_under_every_schedule(first):
    for seed in SEEDS[first : first + 20]:
        document, given, behave = made(seed, confluent=True)
        wanted = run(document, given, behave).agreed()
        for schedule in range(SCHEDULES):
            found = run(document, given, behave, random.Random(schedule)).agreed()
            assert found == wanted, f"seed {seed}, schedule {schedule}"


def test_any_document_ends_with_every_execution_settled_once():
    for seed in SEEDS:
        document, given, behave = made(seed, confluent=False)
        for schedule in range(2):
            result = run(document, given, behave, random.Random(schedule))
            assert result.status in ("COMPLETED", "FAILED"), f"seed {seed}, schedule {schedule}"
            assert "RUNNING" not in result.nodes.values(), f"seed {seed}, schedule {schedule}"
            assert settled_twice(result) == [], f"seed {seed}, schedule {schedule}"


def settled_twice(result: Result) -> list[Any]:
    """Attempts with two ends, and nodes that completed twice in one scope."""
    attempts = Counter((node, scope, attempt) for node, scope, attempt, _ in result.executions.elements())
    completed = Counter((e[0], e[1]) for e in result.executions.elements() if e[3] == "COMPLETED")
    return [key for key, count in (attempts + completed).items() if count > 1]


def test_some_documents_outside_the_confluent_ones_do_depend_on_the_schedule():
    differing = 0
    for seed in range(100):
        document, given, behave = made(seed, confluent=False)
        ends = [run(document, given, behave, random.Random(schedule)).agreed() for schedule in range(5)]
        differing += any(end != ends[0] for end in ends)
    assert differing > 10


def test_the_same_seed_makes_the_same_document_input_and_answers():
    for confluent in (True, False):
        one, two = made(7, confluent=confluent), made.__wrapped__(7, confluent=confluent)
        assert one[:2] == two[:2]
        names = [node["id"] for node in one[0]["nodes"]]
        scope = (("L", 2),)
        assert [one[2](name, scope, 1) for name in names] == [two[2](name, scope, 1) for name in names]


def test_size_sets_about_how_many_nodes_there_are():
    for size in (5, 15, 40):
        counts = [len(made(seed, confluent=True, size=size)[0]["nodes"]) for seed in range(60)]
        assert max(counts) < size + 30
        assert sum(counts) / len(counts) > size * 0.6


def test_documents_are_json_with_unique_edges_and_ids_and_joins_that_can_be_reached():
    for seed in SEEDS:
        for confluent in (True, False):
            document = made(seed, confluent=confluent)[0]
            assert json.loads(json.dumps(document)) == document
            ids = Counter(node["id"] for node in document["nodes"])
            edges = Counter((edge["from"], edge["to"], edge.get("on", "success")) for edge in document["edges"])
            assert {*ids.values(), *edges.values()} <= {1}, f"seed {seed}"
            graph = Graph(document)
            for name, node in graph.nodes.items():
                join = node.get("join", {})
                need = join.get("count", 1) if isinstance(join, dict) else 1
                assert need <= max(1, len(graph.into[name])), f"seed {seed}, node {name}"


def test_loop_bodies_have_one_entry_and_only_failures_leave_them_early():
    for seed in SEEDS:
        graph = Graph(made(seed, confluent=False)[0])
        for edge in graph.edges.values():
            for loop in set(graph.left_by(edge)) - {edge.source}:
                assert edge.on == "failure", f"seed {seed}, loop {loop}"
            for loop in graph.loops[edge.target][graph.shared(edge) :]:
                assert edge.target == graph.nodes[loop]["loop"]["loop_back_to"], f"seed {seed}, loop {loop}"


def features(document: dict[str, Any]) -> set[str]:
    """What a document makes use of, by name."""
    graph, text = Graph(document), json.dumps(document)
    found = {f"on_failure {document.get('on_failure')}", f"entries {min(2, len(graph.entries))}"}
    found |= {
        word
        for word in ("vars.", "iteration", "input.items", " ? ", "&&", "||", "!(", "missing", "$${")
        if word in text
    }
    found |= {f"ctx{mark}" for mark in (".", "[") if f"ctx{mark}" in text}
    found |= {"output template"} if "output" in document else set()
    for edge in document["edges"]:
        found.add(f"on {edge.get('on', 'success')}" + (" if" if "condition" in edge else ""))
    for name, node in graph.nodes.items():
        found |= {
            f"type {node['type']}",
            f"depth {len(graph.loops[name])}",
            *(node.keys() & {"retry", "set", "compensate"}),
        }
        found |= {f"join {json.dumps(node['join'])}"} if "join" in node else set()
        branch, loop = node.get("branch", {}), node.get("loop", {})
        if branch:
            found |= {
                "default" if "default" in branch else "no default",
                f"branch {branch.get('mode', branch.get('type'))}",
            }
        found |= {key for key in ("break_path", "timeout_path") if key in loop}
        found |= {"two targets" for rule in branch.get("rules", []) if len(rule["next_nodes"]) > 1}
        found |= {"loop on itself"} if loop.get("loop_back_to") == name else set()
        found |= {"block edge listed too" for edge in graph.out[name] if edge.roles and listed(document, edge)}
        found |= {"edge beside a branch" for edge in graph.out[name] if branch and not edge.roles}
        found |= {f"leaves {len(graph.left_by(edge))}" for edge in graph.out[name] if edge.on == "failure"}
    return found


def listed(document: dict[str, Any], edge: Any) -> bool:
    return any((each["from"], each["to"]) == (edge.source, edge.target) for each in document["edges"])


ALWAYS_SEEN = {
    "on_failure None", "on_failure fail_fast", "on_failure finish_branches",
    "on_failure compensate", "compensate", "entries 1", "entries 2", "vars.",
    "iteration", "input.items", " ? ", "&&", "||", "!(", "missing", "$${", "ctx.", "ctx[", "output template",
    "on success",
    "on success if", "on failure", "on failure if", "on always", "type function", "type transform", "type pass",
    "type branch", "type loop", "type fail", "type succeed", "depth 0", "depth 1", "depth 2", "retry", "set",
    'join "any"', 'join "all"', 'join {"count": 1}', 'join {"count": 2}', 'join {"any": true}', "default", "no default",
    "branch all", "branch first", "branch agent_driven", "branch None", "break_path", "timeout_path", "two targets",
    "loop on itself", "block edge listed too", "edge beside a branch", "leaves 0", "leaves 1", "leaves 2",
}  # fmt: skip
SEEN_IN_RACES = {'join {"any": true, "cancel_losers": true}', 'join {"count": 1, "cancel_losers": true}'}
NOTES = {
    "loop back", "loop break", "loop over", "loop timeout", "loop limit", "join fired", "skip", "branch matched",
    "branch default", "failure handled", "failure unhandled", "failure unhandled, always taken", "retry", "fail",
    "undo COMPLETED", "undo FAILED", "undo without config",
    "succeed", "condition_failed", "late arrival", "skipped by a failure that left the loop", "join out of reach",
}  # fmt: skip
RACE_NOTES = {"cancelled", "loser never started", "failure without consequence"}


@pytest.mark.parametrize(
    ("confluent", "wanted"), [(True, ALWAYS_SEEN), (False, ALWAYS_SEEN | SEEN_IN_RACES)], ids=["confluent", "any"]
)
def test_every_feature_turns_up(confluent, wanted):
    found = Counter(name for seed in SEEDS for name in features(made(seed, confluent=confluent)[0]))
    assert wanted - found.keys() == set()


@pytest.mark.parametrize(
    ("confluent", "wanted"), [(True, NOTES), (False, NOTES | RACE_NOTES)], ids=["confluent", "any"]
)
def test_every_rule_of_the_interpreter_comes_into_play(confluent, wanted):
    found: Counter[str] = Counter()
    for seed in SEEDS:
        found += run(*made(seed, confluent=confluent)).notes
    assert wanted - found.keys() == set()
