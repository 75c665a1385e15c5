"""The small CEL evaluator: values, precedence, strictness, and templates."""

from __future__ import annotations

import pytest

from tests.simulation.reference_cel import CelError, evaluate, render

ENV = {"output": {"n": 2, "s": "ab"}, "input": {"x": 3, "items": [5, 6]}, "ctx": {"my-node": {"output": None}}}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("1 + 2 == 3", True),
        ("1 + 2 - 4", -1),
        ("-output.n + 1", -1),
        ("output.n < input.x && !(output.n == 3)", True),
        ("false || true && false", False),
        ("output.n > 1 ? 'yes' : 'no'", "yes"),
        ("false ? 1 : true ? 2 : 3", 2),
        ("size(input.items) + size(output.s)", 4),
        ("input.items[1]", 6),
        ('ctx["my-node"].output == null', True),
        ("1 == '1'", False),
        ("true == 1", False),
        ("false < true", True),
        ("'a' + \"b\" != output.s", False),
        ("output.missing > 1 || true", True),
        ("false && output.missing > 1", False),
        ("output.missing > 1 && false", False),
    ],
)
def test_expressions_have_the_value_that_cel_gives_them(source, value):
    found = evaluate(source, ENV)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "source",
    ["output.missing", "nothing", "1 < 'a'", "true + 1", "1 ? 2 : 3", "!1", "output.missing > 1 || false", "size(1)",
     'ctx["my-node"].output.n', "input.items[9]", "input.items['a']", "1 +", "(1", "1 2", "§", "x.1"],
)  # fmt: skip
def test_what_has_no_value_is_an_error(source):
    with pytest.raises(CelError):
        evaluate(source, ENV)


def test_templates_keep_types_alone_and_become_text_inside_text():
    value = {
        "alone": "${input.items}",
        "text": "n=${output.n} l=${input.items} $${x}",
        "deep": [1, "${output.s}"],
        "$": "$x",
    }
    wanted = {"alone": [5, 6], "text": "n=2 l=[5,6] ${x}", "deep": [1, "ab"], "$": "$x"}
    assert render(value, ENV) == wanted
