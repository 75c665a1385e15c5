"""Whatever JSON comes in: a plan, or problems that each point into the document."""

import copy

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.domain import plan_codec
from chalicelib.domain.compiler import check
from chalicelib.domain.limits import Limits
from tests.domain.documents import ORDER_TRIAGE, chain, edge, loop, node, workflow

WORD_TEXT = """
id type config name join branch loop retry nodes edges from to on condition set vars limits output any count all
success failure always a b c fetch score handler params url seconds until rules next_nodes default loop_back_to
break_path timeout_path max_iterations function http pass wait transform agent_driven available_next_nodes $ref
schema cel expression cancel_losers input_schema metadata on_failure value pipeline ${ctx.a.output} ${ 1+
step by where columns aggregates table_sort
"""
WORDS = st.sampled_from(WORD_TEXT.split())
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=5),
    max_leaves=20,
)

LOOPED = workflow(
    [
        "a",
        node(
            "b", "function", config={"handler": "echo", "params": {"x": "${ctx.a.output}"}}, retry={"retry_on": ["X"]}
        ),
        node("c", loop=loop("a", break_path=["d"], timeout_path=["h"]), set={"n": "${vars.n + 1}"}),
        node("d", "wait", config={"seconds": 1}, join={"count": 1, "cancel_losers": True}),
        node("h", "http", config={"url": "http://x/${input.y}", "expect_status": [404]}),
        node(
            "t",
            "transform",
            config={
                "pipeline": [
                    {"step": "http_request", "url": "http://x", "as": "all"},
                    {"step": "table_filter", "where": {"column": "n", "op": ">", "value": "${input.n}"}},
                    {"step": "table_join", "with": "all", "on": ["n"]},
                    {"step": "table_group", "by": "n", "aggregates": {"c": {"op": "count"}}},
                ]
            },
        ),
        node("p", branch={"type": "agent_driven", "available_next_nodes": ["d", "h"]}),
    ],
    [
        *chain("a", "b", "c"),
        edge("b", "h", on="failure"),
        edge("h", "d", condition={"type": "cel", "expression": "true"}),
    ],
    vars={"n": 0},
    output="${ctx.d.output}",
    input_schema={"type": "object", "properties": {"y": {"$ref": "#/$defs/y"}}, "$defs": {"y": {"type": "string"}}},
    limits={"hops": 10},
)


def places(value, at=()):
    """Every path in a document."""
    yield at
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from places(inner, (*at, key))


@st.composite
def mutations(draw):
    document = copy.deepcopy(draw(st.sampled_from([ORDER_TRIAGE, LOOPED])))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([path for path in places(document) if path] or [None]))
        if path is None:
            break
        parent = document
        for key in path[:-1]:
            parent = parent[key]
        what = draw(st.sampled_from(["replace", "remove", "copy", "add"]))
        if what == "remove":
            del parent[path[-1]]
        elif what == "replace":
            parent[path[-1]] = draw(VALUES)
        elif isinstance(parent, list):
            parent.append(copy.deepcopy(parent[path[-1]]) if what == "copy" else draw(VALUES))
        else:
            parent[draw(WORDS)] = copy.deepcopy(parent[path[-1]]) if what == "copy" else draw(VALUES)
    return document


def resolves(document, path):
    """Whether a JSON Pointer names something in the document, or something missing from an object or list in it."""
    if not path:
        return True
    assert path.startswith("/")
    steps = [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]
    for number, step in enumerate(steps):
        if isinstance(document, list) and step.isdigit() and int(step) < len(document):
            document = document[int(step)]
        elif isinstance(document, dict) and step in document:
            document = document[step]
        else:
            return isinstance(document, dict) and number == len(steps) - 1
    return True


def holds_for(document):
    before = copy.deepcopy(document)
    plan, problems, warnings = check(document, limits=Limits())
    assert repr(document) == repr(before)
    assert (plan is None) == bool(problems)
    for problem in (*problems, *warnings):
        assert problem.code and problem.message
        assert resolves(document, problem.path), problem
    if plan is not None:
        text = plan_codec.encode(plan)
        assert plan_codec.decode(text) == plan
        assert plan_codec.encode(plan_codec.decode(text)) == text


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(VALUES | st.builds(lambda nodes, edges: {"nodes": nodes, "edges": edges}, st.lists(VALUES), st.lists(VALUES)))
def test_any_json_gives_a_plan_or_problems(document):
    holds_for(document)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(mutations())
def test_any_change_of_a_valid_document_gives_a_plan_or_problems(document):
    holds_for(document)


def test_the_documents_that_are_changed_are_valid():
    for document in (ORDER_TRIAGE, LOOPED):
        assert check(document, limits=Limits())[1] == []
