"""What compiles as an agent, and what its credential may do by it."""

from __future__ import annotations

import pytest

from chalicelib.domain.agent_tools import TOOLS, capabilities, may_add
from chalicelib.domain.compiler import check
from chalicelib.domain.limits import Limits
from chalicelib.domain.templates import compile_template, data_spans, render

GOOD = {"task": "Do it.", "provider": "openai", "model": "m"}
TURNS = [{"text": "ok"}]


def problems(**config):
    document = {"nodes": [{"id": "a", "type": "agent", "config": config}]}
    _, found, _ = check(document, limits=Limits(), handlers={"echo"}.__contains__)
    return {(problem.code, problem.path) for problem in found}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"tools": list(TOOLS), "allow": {"functions": ["echo"]}},
        {"max_turns": "${input.n}", "budget": {"tokens": "${input.n}", "usd": 0.5}},
        {"output_schema": True},
        {"output_schema": {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {}}}},
        {"provider": "scripted", "turns": TURNS, "model": None},
        {"provider": "bedrock", "model": "arn:aws:bedrock:eu-central-1::foundation-model/m"},
    ],
)
def test_a_good_config_compiles(more):
    assert problems(**{**GOOD, **more}) == set()


@pytest.mark.parametrize(
    ("change", "code", "path"),
    [
        ({"provider": "oracle"}, "bad_value", "/provider"),
        ({"provider": "${input.p}"}, "bad_value", "/provider"),
        ({"model": "${input.m}"}, "bad_value", "/model"),
        ({"model": None}, "bad_value", ""),
        ({"turns": TURNS}, "bad_value", ""),
        ({"provider": "scripted"}, "bad_value", ""),
        ({"task": " "}, "bad_value", "/task"),
        ({"tools": ["rm"]}, "bad_value", "/tools/0"),
        ({"tools": ["${input.t}"]}, "bad_value", "/tools/0"),
        ({"allow": {"functions": ["${input.f}"]}}, "bad_value", "/allow/functions/0"),
        ({"allow": {"functions": ["nobody"]}}, "unknown_handler", "/allow/functions/0"),
        ({"allow": {"hosts": []}}, "unknown_key", "/allow/hosts"),
        ({"budget": {"tokens": 0}}, "bad_value", "/budget/tokens"),
        ({"budget": {"usd": 0}}, "bad_value", "/budget/usd"),
        ({"budget": {"eur": 1}}, "unknown_key", "/budget/eur"),
        ({"max_turns": 0}, "bad_value", "/max_turns"),
        ({"output_schema": {"type": "thing"}}, "bad_value", "/output_schema"),
        ({"output_schema": {"$ref": "https://x.example/schema"}}, "bad_value", "/output_schema"),
        ({"temperature": 1}, "unknown_key", "/temperature"),
    ],
)
def test_a_wrong_config_is_refused_at_its_place(change, code, path):
    config = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    assert (code, f"/nodes/0/config{path}") in problems(**config)


def test_what_an_agent_may_do_follows_from_its_config_in_one_order():
    allow = {"node_types": ["pass", "http", "pass"], "functions": ["b", "a"], "secrets": None}
    caps = {"node_types": ["http", "pass"], "functions": ["a", "b"], "secrets": [], "budget": {"tokens": 5, "usd": 1}}
    assert capabilities({"allow": allow, "budget": {"usd": 1, "tokens": 5}}) == caps
    assert capabilities({}) == {"secrets": []}
    assert may_add({"allow": allow}) == ["http", "pass"]
    assert "function" in may_add({})


def test_the_parts_of_a_text_that_expressions_give_are_found():
    task = "Ä ${input.a}, $${no} and ${input.b}${input.a}."
    template, found = compile_template({"task": task, "other": "${input.a}"}, "/config")
    assert not found
    values = {"input": {"a": "😀 x", "b": {"k": [1]}}}
    text = render(template, values)["task"]
    assert [text[start:end] for start, end in data_spans(template, ("task",), values)] == ["😀 x", '{"k":[1]}', "😀 x"]
    assert text == 'Ä 😀 x, ${no} and {"k":[1]}😀 x.'
