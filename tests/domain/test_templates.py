"""`${…}` in JSON values: found once, filled once."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.errors import TemplateError
from chalicelib.domain.templates import compile_template, render

VALUES = {
    "output": {"n": 3, "d": 2.0, "s": "text", "list": [1, {"a": None}], "evil": "${output.n}"},
    "ctx": {"my-node": {"output": "dash"}},
    "input": {"id": 7},
}


def rendered(value: Any, values: dict[str, Any] = VALUES) -> Any:
    template, problems = compile_template(value, "")
    assert problems == []
    return render(template, values)


def found(value: Any, **options: bool) -> list[tuple[str, str]]:
    _, problems = compile_template(value, "/config", **options)
    return [(problem.code, problem.path) for problem in problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${output.n}", 3),
        ("${ output.d }", 2.0),
        ("${output.list}", [1, {"a": None}]),
        ("${null}", None),
        ("n=${output.n}", "n=3"),
        ("${output.n}${output.d}", "32.0"),
        ("<${output.s}>", "<text>"),
        ("<${output.list}>", '<[1,{"a":null}]>'),
        ("<${null} ${true}>", "<null true>"),
        ('${ctx["my-node"].output}!', "dash!"),
        ("${{'a': {'b': 1}}.a.b}", 1),
        ("${'}'}", "}"),
        ("${'it\\'s }' + \"}\"}", "it's }}"),
        ("${r'}' + '''}'}''' + \"\"\"}\"\"\"}", "}}'}}"),
        ("${output.n // }\n + 1}", 4),
        ("$${output.n}", "${output.n}"),
        ("$${a} ${output.n} $${", "${a} 3 ${"),
        ("$$${output.n}", "$${output.n}"),
        ("$ {x} $x }{", "$ {x} $x }{"),
        ("${output.evil}", "${output.n}"),
        ("<${output.evil}>", "<${output.n}>"),
    ],
)
def test_a_string_is_filled(text: str, expected: Any) -> None:
    result = rendered(text)
    assert result == expected
    assert type(result) is type(expected)


def test_values_are_filled_at_any_depth_and_keys_never() -> None:
    value = {"${output.n}": [{"a": "${input.id}"}, "x"], "plain": 1}
    template, problems = compile_template(value, "")
    assert problems == []
    assert template.names == ("input",)
    assert render(template, VALUES) == {"${output.n}": [{"a": 7}, "x"], "plain": 1}
    assert value["${output.n}"][0] == {"a": "${input.id}"}


def test_rendering_gives_a_new_value_each_time() -> None:
    template, _ = compile_template({"fixed": [1], "read": "${output.list}"}, "")
    first = render(template, VALUES)
    first["fixed"].append(2)
    first["read"].append(2)
    assert render(template, VALUES) == {"fixed": [1], "read": [1, {"a": None}]}


def test_a_template_knows_what_it_reads() -> None:
    template, _ = compile_template(["${ctx.a.output + ctx.b.output}", "${vars.x}${ctx.a.status}"], "")
    assert template.names == ("ctx", "vars")
    assert template.nodes == ("a", "b")
    assert [slot.path for slot in template.slots] == [(0,), (1,)]


@pytest.mark.parametrize(
    ("value", "problems"),
    [
        ({"a/b": ["${"]}, [("template_unterminated", "/config/a~1b/0")]),
        ("${'}", [("template_unterminated", "/config")]),
        ("${{}", [("template_unterminated", "/config")]),
        ("${}", [("cel_syntax", "/config")]),
        (
            ["${foo}", "a ${1 +} ${bar}"],
            [("cel_unknown_name", "/config/0"), ("cel_syntax", "/config/1"), ("cel_unknown_name", "/config/1")],
        ),
        ("${secret.KEY}", [("secret_not_allowed", "/config")]),
        ("${'${input.id}'}", []),
    ],
)
def test_every_problem_is_named_with_its_place(value: Any, problems: list[tuple[str, str]]) -> None:
    assert found(value) == problems


def test_a_secret_alone_stays_for_the_worker() -> None:
    value = {"headers": {"auth": "${secret.API_KEY-1}"}}
    template, problems = compile_template(value, "", allow_secrets=True)
    assert problems == []
    assert template.names == ()
    assert render(template, VALUES) == value


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Bearer ${secret.KEY}", "secret_not_alone"),
        ("${secret.KEY}${output.n}", "secret_not_alone"),
        ("${secret.9}", "secret_name"),
        ("${secret.a + 'x'}", "secret_name"),
        ("${'x' + secret.a}", "cel_unknown_name"),
    ],
)
def test_a_secret_elsewhere_is_a_problem(text: str, code: str) -> None:
    assert found(text, allow_secrets=True) == [(code, "/config")]


def test_an_escaped_secret_is_only_text() -> None:
    assert rendered("$${secret.KEY}") == "${secret.KEY}"


def test_a_failure_names_pointer_and_expression() -> None:
    template, _ = compile_template({"a~b": ["${output.zz.y}"]}, "")
    with pytest.raises(TemplateError) as caught:
        render(template, VALUES, "/nodes/0/config")
    problem = caught.value.problems[0]
    assert problem.path == "/nodes/0/config/a~0b/0"
    assert "${output.zz.y}" in problem.message
    assert "zz" in problem.message


def test_a_value_that_nests_too_deeply_is_a_problem() -> None:
    deep: Any = "${output.n}"
    for _ in range(5000):
        deep = [deep]
    assert found(deep) == [("too_deep", "/config")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def has_slot(value: Any) -> bool:
    return "${" in json.dumps(value)


@given(JSON.filter(lambda value: not has_slot(value)))
def test_values_without_slots_are_unchanged(value: Any) -> None:
    template, problems = compile_template(value, "")
    assert problems == []
    assert template.slots == ()
    assert render(template, {}) == value


@given(st.text(alphabet="${}a '\"\\"))
def test_escaped_text_comes_back_as_it_was(text: str) -> None:
    """Writing `$${` for each `${` is all that is needed to say any text, unless a `$` stands before it."""
    if "$${" in text:
        return
    assert rendered(text.replace("${", "$${")) == text


@given(st.text(alphabet="${}a '\"\\/r\n", max_size=60))
def test_any_text_is_either_split_or_refused(text: str) -> None:
    template, problems = compile_template(text, "/p")
    assert all(problem.path == "/p" for problem in problems)
    assert "${" in text or (problems == [] and template.slots == ())


@given(JSON)
def test_a_lone_slot_keeps_the_value(value: Any) -> None:
    result = rendered("${input.v}", {"input": {"v": value}})

    def as_doubles(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: as_doubles(below) for key, below in item.items()}
        if isinstance(item, list):
            return [as_doubles(below) for below in item]
        big = isinstance(item, int) and not isinstance(item, bool) and not -(2**63) <= item < 2**63
        return float(item) if big else item

    assert json.dumps(result) == json.dumps(as_doubles(value))
