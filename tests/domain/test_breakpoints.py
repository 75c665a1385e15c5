from __future__ import annotations

from dataclasses import replace

from chalicelib.domain.breakpoints import at_breakpoints, breakpoints_of, keep_breakpoints, stop_field, with_breakpoints
from chalicelib.domain.compiler import compile_workflow
from chalicelib.domain.ids import Token
from chalicelib.domain.ir import Plan
from chalicelib.domain.lifecycle import retry_draft
from chalicelib.domain.limits import Limits
from chalicelib.domain.node_kinds import beginning
from chalicelib.domain.plan_codec import decode, encode

NODES = [
    {"id": "a", "type": "function", "config": {"handler": "echo"}, "retry": {"max_attempts": 2}},
    {"id": "w", "type": "wait", "config": {"seconds": 1}},
    {"id": "m", "type": "map", "config": {"items": [1], "body": {"type": "function", "config": {"handler": "echo"}}}},
]


def plan(*names: str, nodes: list[dict] = NODES) -> Plan:
    return with_breakpoints(compile_workflow({"nodes": nodes}, limits=Limits()), names)


def test_a_plan_without_breakpoints_is_the_plan_itself() -> None:
    plain = plan()
    assert with_breakpoints(plain, []) is plain
    assert "breakpoint" not in encode(plain) and plain.hash == plan().hash


def test_breakpoints_are_part_of_the_plan_and_its_hash_and_not_of_its_document() -> None:
    plain, two = plan(), plan("w", "a", "w")
    assert breakpoints_of(two) == ["a", "w"] and two.document == plain.document
    assert two == plan("a", "w") and len({plain.hash, two.hash, plan("a").hash}) == 3
    assert decode(encode(two)) == two
    assert replace(two, hash=plain.hash, nodes={n: replace(v, breakpoint=False) for n, v in two.nodes.items()}) == plain


def test_a_patched_plan_keeps_those_of_nodes_that_were_there() -> None:
    old = plan("a", "w")
    new = plan(nodes=[NODES[0], {"id": "n", "type": "pass"}])
    assert breakpoints_of(keep_breakpoints(old, new)) == ["a"]
    assert keep_breakpoints(old, plan()) == old and keep_breakpoints(plan(), new) is new


def test_only_a_first_attempt_stops() -> None:
    """A task begins at once when it is retried, and a node that waits is armed again, unmarked."""
    nodes = plan("a", "w", "m").nodes
    first = [beginning(nodes[name], Token(name)) for name in ("a", "w", "m")]
    assert [(emit.token.text, emit.kind, emit.data) for emit in first] == [
        (f"$arm:{name}@#0.1", "i", {"breakpoint": 1}) for name in ("a", "w", "m")
    ]
    again = [retry_draft(plan("a", "w"), Token(f"$retry:{name}", attempt=2)).emits[0] for name in ("a", "w")]
    assert [(emit.token.text, emit.kind, emit.data) for emit in again] == [
        ("a@#0.2", "t", {}),
        ("$arm:w@#0.2", "i", {}),
    ]


def test_the_items_of_a_map_have_none() -> None:
    body = plan("m").nodes["m"].body
    assert body is not None and beginning(body, Token("m", index=3)).token.text == "m@[3]#0.1"


def test_what_has_stopped_comes_before_what_has_not() -> None:
    def record(data: str) -> str:
        return f"1|c|1|i|g|c|0|{data}"

    tok = {"$arm:w@#0.1": record(""), "$arm:b@#0.1": record('{"breakpoint":1}'), "a@#0.1": record("")}
    tok["$arm:c@#0.1"] = record('{"breakpoint":1}')
    state = {"tok": tok, "box": {stop_field("$arm:c@#0.1"): "1"}}
    assert at_breakpoints(state) == ["$arm:c@#0.1", "$arm:b@#0.1"]
