"""The reference interpreter's rule for child runs, against families whose end is known by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulation.generate_calls import CAUGHT, ECHO, PICKY, SELF
from tests.simulation.reference import run
from tests.simulation.reference_calls import Calls
from tests.simulation.small import doc, nodes_of, runs_of, workers

LIMITS = {"limits": {"child_depth": 2}}


def call(workflow: str = "sub", **more: Any) -> dict[str, Any]:
    """What makes a node a call with the run's own input."""
    return {"type": "workflow", "config": {"workflow": workflow, "input": "${input}"}, **more}


SAVED = {
    "sub": doc("w", output={"n": "${ctx.w.output.n}", "x": "${input.x}"}),
    "bad": doc("w", output="${ctx.none.output}"),
    "middle": doc("c", {"c": call()}),
    "echo": ECHO,
    "picky": PICKY,
    "self": {**SELF, **LIMITS},
    "caught": {**CAUGHT, **LIMITS},
}
RETRY = {"retry": {"max_attempts": 3}}

# (rule, document, failing attempts of the child's `w` by the attempt that calls, nodes at the end, further members)
CASES: list[tuple[str, dict[str, Any], int, str, dict[str, Any]]] = [
    ("its output is the node's", doc("c", {"c": call()}), 0, "c:C", {"output": {"c": {"n": 0, "x": 2}}}),
    ("two levels", doc("c", {"c": call("middle")}), 0, "c:C", {"output": {"c": {"c": {"n": 0, "x": 2}}}}),
    ("what reached it, without input", doc("a>c", {"c": {"type": "workflow", "config": {"workflow": "echo"}}}), 0,
     "c:C", {"output": {"c": {"same": {"n": 0}}}}),
    ("its failure is the node's", doc("c", {"c": call()}), 1, "c:F",
     {"status": "FAILED", "error": {"type": "Boom", "node_id": "c"}, "c": "#1:F"}),
    ("each attempt is another child", doc("c", {"c": call(**RETRY)}), 2, "c:C", {"c": "#1:F #2:F #3:C"}),
    ("a failure edge", doc("c!h", {"c": call()}), 1, "c:F h:C", {"status": "COMPLETED"}),
    ("an output that fails", doc("c", {"c": call("bad", **RETRY)}), 0, "c:F", {"c": "#1:F",
     "error": {"type": "TemplateError", "node_id": "c"}}),
    ("nothing of that name", doc("c!h", {"c": call("none", **RETRY)}), 0, "c:F h:C", {"c": "#1:F"}),
    ("an input that is refused", doc("c", {"c": call("picky", **RETRY)}), 0, "c:F",
     {"c": "#1:F", "error": {"type": "InvalidInput", "node_id": "c"}}),
    ("as deep as is allowed", doc("c", {"c": call("self", **RETRY)}), 0, "c:F",
     {"c": "#1:F", "error": {"type": "LimitExceeded", "node_id": "c"}}),
    ("a limit that is met and handled", doc("c", {"c": call("caught")}), 0, "c:C",
     {"output": {"c": {"n": 2, "below": {"n": 3, "below": {"n": 4, "below": None}}}}}),
    ("a limit above", doc("c", {"c": call("caught")}, limits={"child_depth": 1}), 0, "c:C",
     {"output": {"c": {"n": 2, "below": None}}}),
]  # fmt: skip


@pytest.mark.parametrize(("document", "failing", "nodes", "more"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_small_family_ends_as_worked_out_by_hand(document, failing, nodes, more):
    calls = Calls(SAVED.get, lambda child, path: workers({"w": 1 if path[-1][2] <= failing else 0}))
    result = run(document, {"x": 2}, workers(), calls=calls)
    wanted = nodes_of(nodes)
    assert {name: result.nodes[name] for name in wanted} == wanted
    for name, value in more.items():
        assert (runs_of(result, name) if name in result.nodes else getattr(result, name)) == value, name


def test_the_calls_that_were_made_are_known_with_their_inputs():
    calls = Calls(SAVED.get, lambda child, path: workers())
    loop = {"loop": {"condition": "iteration < 2", "loop_back_to": "c", "max_iterations": 5}}
    document = doc("c", {"c": call(**loop), "gone": call("none")}, on_failure="finish_branches")
    run(document, {"x": 2}, workers(), calls=calls)
    assert calls.made == {("c", (("c", 1),), 1): {"x": 2}, ("c", (("c", 2),), 1): {"x": 2}}
