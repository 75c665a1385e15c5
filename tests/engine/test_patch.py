from __future__ import annotations

import json

import pytest

from chalicelib.domain.errors import Conflict, InvalidDocument, InvalidInput, NotFound
from tests.engine.harness import Harness
from tests.engine.patching import (
    Held,
    add_edge,
    add_node,
    edges,
    function,
    patch,
    problem,
    refused,
    remove,
    replace,
    revert,
    status,
)

CHAIN = {"nodes": [function("a", 1), function("b", 2), function("c", 3)], "edges": edges("a>b b>c")}


def begin(harness: Harness, document: object, *done: str) -> tuple[str, Held]:
    held = Held(harness)
    run_id = harness.start(document)
    held.settle()
    for node in done:
        held.done(node)
    return run_id, held


def finish(harness: Harness, run_id: str, held: Held) -> dict:
    while held.waiting:
        held.done(next(iter(held.waiting)))
    harness.drain()
    harness.assert_fold_equals_store(run_id)
    return harness.meta(run_id)


def test_a_node_added_behind_a_finished_one_starts_at_once(harness: Harness) -> None:
    run_id, held = begin(harness, CHAIN, "a")
    answer = patch(harness, run_id, add_node(function("n", "${ctx.a.output + 9}")), add_edge("a>n"))
    assert answer["dispatched"] == ["n"]
    assert (answer["revision"], answer["added"], answer["edges_added"]) == (1, ["n"], ["a:n:success"])
    held.settle()
    assert set(held.waiting) == {"b", "n"}
    run = finish(harness, run_id, held)
    assert json.loads(run["output"]) == {"c": 3, "n": 10}


def test_a_new_node_without_incoming_edges_starts_at_once(harness: Harness) -> None:
    run_id, held = begin(harness, CHAIN)
    assert patch(harness, run_id, add_node(function("n")))["dispatched"] == ["n"]
    held.settle()
    assert set(held.waiting) == {"a", "n"}
    assert finish(harness, run_id, held)["status"] == "COMPLETED"


def test_a_node_added_before_the_run_begins_starts_once(harness: Harness) -> None:
    held = Held(harness)
    run_id = harness.start(CHAIN)
    assert patch(harness, run_id, add_node(function("n")))["dispatched"] == []
    held.settle()
    assert sorted(task["node_id"] for task in harness.tasks) == ["a", "n"]
    assert finish(harness, run_id, held)["status"] == "COMPLETED"


def test_a_node_not_yet_started_is_removed_with_its_edges(harness: Harness) -> None:
    run_id, held = begin(harness, CHAIN)
    answer = patch(harness, run_id, remove("/nodes/b"), add_edge("a>c"))
    assert (answer["removed"], answer["edges_removed"]) == (["b"], ["a:b:success", "b:c:success"])
    assert json.loads(finish(harness, run_id, held)["output"]) == {"c": 3}


def test_a_started_node_is_not_removed(harness: Harness) -> None:
    run_id, _ = begin(harness, CHAIN, "a")
    error = refused(harness, run_id, remove("/nodes/b"), add_edge("a>c"))
    assert error.problems[0].code == "node_started"
    assert error.problems[0].path == "/operations/0/path"
    assert '"b" is running' in error.problems[0].message


def test_a_finished_nodes_type_join_and_incoming_edges_stay(harness: Harness) -> None:
    run_id, _ = begin(harness, CHAIN, "a")
    error = refused(harness, run_id, replace("/nodes/a", {"id": "a", "type": "pass"}))
    assert problem(error) == ("node_started", "/operations/0/path")
    error = refused(harness, run_id, add_node(function("n")), add_edge("n>a"))
    assert problem(error) == ("node_started", "/operations/1/path")
    error = refused(harness, run_id, {"op": "add", "path": "/nodes/a/join", "value": "any"})
    assert problem(error) == ("node_started", "/operations/0/path")


def test_a_started_nodes_config_holds_from_its_next_attempt(harness: Harness) -> None:
    document = {"nodes": [function("a", 1, retry={"max_attempts": 2, "backoff_ms": 0})], "edges": []}
    run_id, held = begin(harness, document)
    answer = patch(harness, run_id, replace("/nodes/a/config/params", 2))
    assert [warning["code"] for warning in answer["warnings"]] == ["already_started"]
    task = held.waiting.pop("a")
    assert task["config"]["params"] == 1
    harness.answer(task, {"status": "failed", "error": {"type": "Boom", "message": "no"}})
    harness.drain()
    assert [task["config"]["params"] for task in harness.tasks] == [1, 2]
    assert json.loads(harness.meta(run_id)["output"]) == {"a": 2}


def test_an_edge_out_of_a_finished_node_is_evaluated_against_its_output(harness: Harness) -> None:
    run_id, held = begin(harness, CHAIN, "a")
    nodes = [add_node(function(name)) for name in ("yes", "no", "after", "failed")]
    answer = patch(
        harness, run_id, *nodes, add_edge("a>yes", condition="output == 1"), add_edge("a>no", condition="output > 1"),
        add_edge("no>after"), add_edge("a>failed:failure"),
    )  # fmt: skip
    assert answer["dispatched"] == ["yes"]
    held.settle()
    found = [status(harness, run_id, name) for name in ("yes", "no", "after", "failed")]
    assert found == ["RUNNING", "SKIPPED", "SKIPPED", "SKIPPED"]
    assert finish(harness, run_id, held)["status"] == "COMPLETED"


def test_a_condition_that_fails_is_recorded_and_not_taken(harness: Harness) -> None:
    run_id, held = begin(harness, CHAIN, "a")
    patch(harness, run_id, add_node(function("n")), add_edge("a>n", condition="output.zz > 1"))
    assert status(harness, run_id, "n") == "SKIPPED"
    assert finish(harness, run_id, held)["status"] == "COMPLETED"
    assert "condition_failed" in "".join(item.text for item in harness.journal.read(run_id))


def test_a_skipped_source_takes_no_new_edge(harness: Harness) -> None:
    document = {"nodes": [function("a"), function("b"), function("w")], "edges": [*edges("a>b")]}
    document["edges"][0]["condition"] = "false"
    run_id, held = begin(harness, document, "a")
    patch(harness, run_id, add_node(function("n")), add_edge("b>n:always"))
    assert status(harness, run_id, "n") == "SKIPPED"
    error = refused(harness, run_id, add_edge("w>b"))
    assert problem(error) == ("node_started", "/operations/0/path")
    assert finish(harness, run_id, held)["status"] == "COMPLETED"


JOIN = {"nodes": [function(n) for n in "abcj"], "edges": edges("a>j b>j c>j")}


def test_a_pending_join_whose_missing_edge_is_removed_fires(harness: Harness) -> None:
    run_id, held = begin(harness, JOIN, "a", "b")
    assert patch(harness, run_id, remove("/edges/c:j"))["dispatched"] == ["j"]
    held.settle()
    assert set(held.waiting) == {"c", "j"}
    run = finish(harness, run_id, held)
    assert json.loads(run["output"]) == {"c": None, "j": None}


def test_a_join_left_with_one_resolved_edge_fires_and_one_unresolved_waits(harness: Harness) -> None:
    run_id, held = begin(harness, JOIN, "a")
    assert patch(harness, run_id, remove("/edges/a:j"), remove("/edges/b:j"))["dispatched"] == []
    held.done("b")
    assert "j" not in held.waiting
    held.done("c")
    assert "j" in held.waiting
    assert finish(harness, run_id, held)["status"] == "COMPLETED"
    run_id, held = begin(harness, JOIN, "a")
    assert patch(harness, run_id, remove("/edges/b:j"), remove("/edges/c:j"))["dispatched"] == ["j"]
    assert finish(harness, run_id, held)["status"] == "COMPLETED"


def test_a_join_that_gets_an_edge_waits_for_it(harness: Harness) -> None:
    run_id, held = begin(harness, JOIN, "a", "b")
    patch(harness, run_id, add_node(function("n")), add_edge("n>j"))
    held.settle()
    held.done("c")
    assert "j" not in held.waiting
    held.done("n")
    assert "j" in held.waiting
    assert finish(harness, run_id, held)["status"] == "COMPLETED"


def test_a_single_edge_node_becomes_a_join_and_back(harness: Harness) -> None:
    run_id, held = begin(harness, CHAIN, "a")
    patch(harness, run_id, add_edge("a>c"))
    assert "c" not in held.waiting
    patch(harness, run_id, remove("/edges/a:c"))
    assert "c" not in held.waiting
    held.done("b")
    assert "c" in held.waiting
    assert json.loads(finish(harness, run_id, held)["output"]) == {"c": 3}


def test_a_pending_joins_rule_may_change_and_is_tested_at_once(harness: Harness) -> None:
    run_id, held = begin(harness, JOIN, "a", "b")
    answer = patch(harness, run_id, {"op": "add", "path": "/nodes/j/join", "value": {"count": 2}})
    assert answer["dispatched"] == ["j"]
    assert finish(harness, run_id, held)["status"] == "COMPLETED"
    assert [task["node_id"] for task in harness.tasks].count("j") == 1


def test_a_join_that_can_no_longer_fire_is_skipped_by_the_patch(harness: Harness) -> None:
    document = {**JOIN, "nodes": [function("a"), function("b"), function("c"), function("j", join={"count": 2})]}
    document["edges"] = [*edges("a>j b>j c>j")]
    document["edges"][0]["condition"] = document["edges"][1]["condition"] = "false"
    document["nodes"].append(function("d"))
    document["edges"] += edges("d>j")
    run_id, held = begin(harness, document, "a", "b")
    assert status(harness, run_id, "j") == "PENDING"
    error = refused(harness, run_id, replace("/nodes/j/join", {"count": 5}))
    assert isinstance(error, InvalidDocument)
    assert patch(harness, run_id, replace("/nodes/j/join", {"count": 3}))["dispatched"] == []
    held.settle()
    assert status(harness, run_id, "j") == "SKIPPED"
    assert finish(harness, run_id, held)["status"] == "COMPLETED"


def test_an_old_node_keeps_a_way_in(harness: Harness) -> None:
    run_id, _ = begin(harness, CHAIN)
    assert problem(refused(harness, run_id, remove("/edges/b:c"))) == ("last_edge", "/operations/0/path")
    assert patch(harness, run_id, remove("/edges/b:c"), remove("/nodes/c"))["removed"] == ["c"]


def test_a_fired_join_takes_no_new_edge(harness: Harness) -> None:
    document = {
        "nodes": [function("a"), function("b"), function("j", join="any"), function("k")],
        "edges": edges("a>j b>j j>k"),
    }
    run_id, held = begin(harness, document, "a")
    error = refused(harness, run_id, add_node(function("n")), add_edge("n>j"))
    assert problem(error) == ("node_started", "/operations/1/path")
    assert finish(harness, run_id, held)["status"] == "COMPLETED"


BRANCH = {
    "nodes": [
        function("a", 1),
        {"id": "r", "type": "branch", "branch": {
            "rules": [{"condition": "output > 0", "next_nodes": ["x"]}], "default": ["y"]}},
        function("x"), function("y"),
    ],
    "edges": edges("a>r"),
}  # fmt: skip


def test_a_node_that_a_block_still_names_is_not_removed(harness: Harness) -> None:
    run_id, held = begin(harness, BRANCH)
    error = refused(harness, run_id, remove("/nodes/y"))
    assert problem(error) == ("still_named", "/operations/0/path")
    assert 'branch block of node "r"' in error.problems[0].message
    patch(harness, run_id, remove("/nodes/y"), remove("/nodes/r/branch/default"))
    assert finish(harness, run_id, held)["status"] == "COMPLETED"


def test_a_branch_that_has_decided_keeps_its_targets(harness: Harness) -> None:
    run_id, held = begin(harness, BRANCH, "a")
    error = refused(
        harness, run_id, add_node(function("z")), {"op": "add", "path": "/nodes/r/branch/default/-", "value": "z"}
    )
    assert problem(error) == ("block_decided", "/operations/1/path")
    answer = patch(harness, run_id, add_node(function("z")), add_edge("r>z"))
    assert answer["dispatched"] == ["z"]
    assert finish(harness, run_id, held)["status"] == "COMPLETED"


FAILING = {
    "on_failure": "finish_branches",
    "nodes": [function("a"), function("b"), function("c")],
    "edges": edges("a>c"),
}


def test_a_failure_edge_handles_the_failure_of_a_run_that_goes_on(harness: Harness) -> None:
    run_id, held = begin(harness, FAILING)
    held.fail("a")
    answer = patch(harness, run_id, add_node(function("fix", "${ctx.a.error.type}")), add_edge("a>fix:failure"))
    assert answer["dispatched"] == ["fix"]
    run = finish(harness, run_id, held)
    assert run["status"] == "COMPLETED"
    assert json.loads(run["output"]) == {"b": None, "fix": "Boom"}


def test_another_failure_is_still_the_runs_error(harness: Harness) -> None:
    document = {**FAILING, "nodes": [*FAILING["nodes"], function("d")]}
    run_id, held = begin(harness, document)
    held.fail("a")
    held.fail("b")
    patch(harness, run_id, add_node(function("fix")), add_edge("a>fix:failure"))
    run = finish(harness, run_id, held)
    assert run["status"] == "FAILED"
    assert json.loads(run["error"])["node_id"] == "b"


def test_an_always_edge_is_taken_but_does_not_handle_the_failure(harness: Harness) -> None:
    run_id, held = begin(harness, FAILING)
    held.fail("a")
    assert patch(harness, run_id, add_node(function("n")), add_edge("a>n:always"))["dispatched"] == ["n"]
    assert finish(harness, run_id, held)["status"] == "FAILED"


def test_a_finished_run_and_a_stale_revision_conflict(harness: Harness) -> None:
    run_id, held = begin(harness, CHAIN)
    patch(harness, run_id, add_node(function("n")), revisions=(0,))
    error = refused(harness, run_id, add_node(function("m")), revisions=(0,))
    assert isinstance(error, Conflict)
    assert error.extra == {"revision": 1}
    finish(harness, run_id, held)
    error = refused(harness, run_id, add_node(function("m")))
    assert isinstance(error, Conflict)
    assert error.extra == {"revision": 1}
    with pytest.raises(NotFound):
        patch(harness, "nobody", add_node(function("m")))


def test_a_dry_run_answers_the_same_and_changes_nothing(harness: Harness) -> None:
    run_id, held = begin(harness, JOIN, "a", "b")
    operations = [remove("/edges/c:j"), add_node(function("n")), add_edge("a>n")]
    before = harness.store.snapshot(run_id)
    dry = patch(harness, run_id, *operations, dry_run=True)
    assert harness.store.snapshot(run_id) == before
    assert dry == patch(harness, run_id, *operations)
    assert sorted(dry["dispatched"]) == ["j", "n"]
    assert finish(harness, run_id, held)["status"] == "COMPLETED"


def test_a_repeat_under_a_key_is_answered_as_the_first_time(harness: Harness) -> None:
    run_id, held = begin(harness, CHAIN)
    first = patch(harness, run_id, add_node(function("n")), once="k", revisions=(0,))
    assert patch(harness, run_id, add_node(function("n")), once="k", revisions=(0,)) == first
    assert finish(harness, run_id, held)["rev"] == "1"
    assert patch(harness, run_id, add_node(function("n")), once="k") == first
    assert [task["node_id"] for task in harness.tasks].count("n") == 1


def test_a_patch_that_changes_nothing_makes_no_revision(harness: Harness) -> None:
    run_id, _ = begin(harness, CHAIN)
    assert patch(harness, run_id, {"op": "test", "path": "/nodes/a/config/params", "value": 1})["revision"] == 0


def test_the_run_does_not_end_before_what_a_patch_adds(harness: Harness) -> None:
    """The last signal has left `$end` outstanding; the patch takes it back."""
    run_id, held = begin(harness, {"nodes": [function("a")], "edges": []})
    task = held.waiting.pop("a")
    harness.answer(task, {"status": "completed", "result": 1})
    batch = harness.queues.receive("completion-signals")
    harness.coordinator._round(_works(harness, batch), _step(harness))
    assert harness.meta(run_id)["end"]
    patch(harness, run_id, replace("/nodes/a/config/params", 5))
    assert harness.meta(run_id)["end"], "a patch that starts nothing leaves $end where it is"
    patch(harness, run_id, add_node(function("n")), add_edge("a>n"))
    assert not harness.meta(run_id)["end"]
    held.settle()
    assert finish(harness, run_id, held)["status"] == "COMPLETED"
    assert json.loads(harness.meta(run_id)["output"]) == {"n": None}


def _works(harness: Harness, batch: list) -> list:
    from chalicelib.engine.signals import parse

    return parse(batch[0].body, 0, harness.services.secret)


def _step(harness: Harness) -> object:
    from chalicelib.engine.effects import Effects
    from chalicelib.engine.step import Step

    return Step(Effects("owner"), harness.clock.now)


LOOP = {
    "nodes": [
        function("a", "${iteration}"), function("b"),
        {"id": "l", "type": "loop", "loop": {"condition": "iteration < 3", "max_iterations": 5, "loop_back_to": "a"}},
        function("z"),
    ],
    "edges": edges("a>b b>l l>z"),
}  # fmt: skip


def test_a_body_node_not_started_in_the_open_iteration_may_change(harness: Harness) -> None:
    run_id, held = begin(harness, LOOP, "a", "b")
    assert held.waiting["a"]["loops"] == {"l": 2}
    patch(
        harness, run_id, add_node(function("n")), add_edge("a>n"), add_edge("n>l"), replace("/nodes/b/config/params", 7)
    )
    for _ in range(2):
        held.done("a")
        assert set(held.waiting) == {"b", "n"}
        assert held.waiting["b"]["config"]["params"] == 7
        held.done("n")
        held.done("b")
    assert set(held.waiting) == {"z"}
    assert finish(harness, run_id, held)["status"] == "COMPLETED"


def test_a_body_node_started_in_the_open_iteration_stays(harness: Harness) -> None:
    run_id, held = begin(harness, LOOP, "a", "b", "a")
    error = refused(harness, run_id, remove("/nodes/b"), add_edge("a>l"))
    assert problem(error) == ("node_started", "/operations/0/path")
    answer = patch(harness, run_id, add_node(function("n")), add_edge("a>n"), add_edge("n>l"))
    assert answer["dispatched"] == ["n"], "a has finished in the open iteration"
    assert finish(harness, run_id, held)["status"] == "COMPLETED"
    assert [task["loops"] for task in harness.tasks if task["node_id"] == "n"] == [{"l": 2}, {"l": 3}]


def test_a_body_node_is_removed_between_iterations(harness: Harness) -> None:
    run_id, held = begin(harness, LOOP, "a", "b")
    patch(harness, run_id, remove("/nodes/b"), add_edge("a>l"))
    run = finish(harness, run_id, held)
    assert run["status"] == "COMPLETED"
    assert [task["node_id"] for task in harness.tasks] == ["a", "b", "a", "a", "z"]


def test_an_earlier_iteration_at_work_keeps_the_joins_of_its_loop(harness: Harness) -> None:
    document = {
        "nodes": [
            function("a"), function("p"), function("q"), function("j", join="any"), function("k"),
            {"id": "l", "type": "loop", "loop": {
                "condition": "iteration < 2", "max_iterations": 5, "loop_back_to": "a"}},
        ],
        "edges": edges("a>p a>q p>j q>j j>k k>l"),
    }  # fmt: skip
    run_id, held = begin(harness, document, "a")
    late = held.waiting.pop("q")
    for node in ("p", "j", "k"):
        held.done(node)
    assert held.waiting["a"]["loops"] == {"l": 2}
    error = refused(harness, run_id, remove("/edges/p:j"), add_node(function("p2")), add_edge("p>p2"), add_edge("p2>j"))
    assert problem(error)[0] == "iteration_at_work"
    held.waiting["late"] = late
    held.done("late")
    patch(harness, run_id, remove("/edges/p:j"), add_node(function("p2")), add_edge("p>p2"), add_edge("p2>j"))
    assert finish(harness, run_id, held)["status"] == "COMPLETED"


def test_a_patch_is_reverted_until_what_it_added_has_started(harness: Harness) -> None:
    run_id, held = begin(harness, CHAIN)
    document = harness.services.plans.load(harness.meta(run_id)["graph"]).document
    patch(harness, run_id, remove("/nodes/b"), add_node(function("n")), add_edge("a>n"), add_edge("n>c"),
          replace("/nodes/c/config/params", 4), {"op": "add", "path": "/metadata", "value": {"x": 1}})  # fmt: skip
    answer = revert(harness, run_id, 1)
    assert (answer["revision"], answer["added"], answer["removed"], answer["changed"]) == (2, ["b"], ["n"], ["c"])
    again = harness.services.plans.load(harness.meta(run_id)["graph"]).document
    assert {n["id"]: n for n in again["nodes"]} == {n["id"]: n for n in document["nodes"]}
    assert sorted(map(str, again["edges"])) == sorted(map(str, document["edges"]))
    assert again.get("metadata") is None
    patch(harness, run_id, add_node(function("m")))
    with pytest.raises(InvalidInput) as caught:
        revert(harness, run_id, 3)
    assert caught.value.problems[0].code == "node_started"
    assert finish(harness, run_id, held)["status"] == "COMPLETED"


def test_a_patch_that_a_later_one_rests_on_is_not_reverted(harness: Harness) -> None:
    run_id, _ = begin(harness, CHAIN)
    patch(harness, run_id, add_node(function("n")), add_edge("b>n"))
    patch(harness, run_id, replace("/nodes/n/config/params", 8))
    with pytest.raises(Conflict) as caught:
        revert(harness, run_id, 1)
    assert [(p.code, p.path) for p in caught.value.problems] == [("changed_since", "/nodes/n")]
    revert(harness, run_id, 2)
    patch(harness, run_id, add_node(function("m")), add_edge("n>m"))
    with pytest.raises(Conflict) as caught:
        revert(harness, run_id, 1)
    assert [(p.code, p.path) for p in caught.value.problems] == [("changed_since", "/edges/n:m:success")]
    with pytest.raises(NotFound):
        revert(harness, run_id, 9)


def test_capabilities_bound_what_may_be_added(harness: Harness) -> None:
    run_id, _ = begin(harness, CHAIN)
    caps = {"node_types": ["function", "pass"], "functions": ["echo"]}
    patch(harness, run_id, add_node(function("n")), caps=caps)
    other = {**function("m"), "config": {"handler": "send_email"}}
    assert problem(refused(harness, run_id, add_node(other), caps=caps)) == ("not_allowed", "/operations/0/path")
    wait = {"id": "w", "type": "wait", "config": {"seconds": 1}}
    assert problem(refused(harness, run_id, add_node(wait), caps=caps)) == ("not_allowed", "/operations/0/path")


def test_new_variables_have_their_first_values(harness: Harness) -> None:
    run_id, held = begin(harness, CHAIN)
    patch(
        harness,
        run_id,
        {"op": "add", "path": "/vars", "value": {"v": 5}},
        replace("/nodes/c/config/params", "${vars.v}"),
    )
    assert json.loads(finish(harness, run_id, held)["output"]) == {"c": 5}


def test_a_wide_patch_starts_everything(harness: Harness) -> None:
    run_id, held = begin(harness, CHAIN, "a")
    new = [function(f"n{i}") for i in range(250)]
    ends = [{"from": "a", "to": f"n{i}"} for i in range(250)]
    answer = patch(harness, run_id, *map(add_node, new), *[{"op": "add", "path": "/edges/-", "value": e} for e in ends])
    assert len(answer["dispatched"]) == 250
    more = [function(f"m{i}") for i in range(150)]
    assert len(patch(harness, run_id, *map(add_node, more))["dispatched"]) == 150
    assert finish(harness, run_id, held)["status"] == "COMPLETED"
    harness.drain()
    assert len({task["node_id"] for task in harness.tasks}) == len(harness.tasks) == 403


def test_a_patch_of_a_paused_run_starts_when_it_is_resumed(harness: Harness) -> None:
    from chalicelib.engine.controls import pause_run, resume_run

    run_id, held = begin(harness, CHAIN)
    pause_run(harness.services, run_id, "ann")
    answer = patch(harness, run_id, add_node(function("n")))
    assert [warning["code"] for warning in answer["warnings"]] == ["run_paused"]
    held.settle()
    assert "n" not in held.waiting
    resume_run(harness.services, run_id, "ann")
    held.settle()
    assert "n" in held.waiting
    assert finish(harness, run_id, held)["status"] == "COMPLETED"


def test_a_timer_added_by_a_patch_waits_its_time(harness: Harness) -> None:
    run_id, held = begin(harness, CHAIN, "a")
    patch(harness, run_id, add_node({"id": "w", "type": "wait", "config": {"seconds": 30}}), add_edge("a>w"))
    held.settle()
    assert status(harness, run_id, "w") == "WAITING"
    before = harness.clock.now
    assert finish(harness, run_id, held)["status"] == "COMPLETED"
    assert harness.clock.now - before >= 30_000
