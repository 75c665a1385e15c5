"""What CEL expressions give, as Google's cel-spec and SPEC 4 say."""

import gc
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from chalicelib.domain.cel_syntax import parse
from chalicelib.domain.conditions import evaluate, evaluator
from chalicelib.domain.errors import EvaluationError

VALUES = {"output": {"a": None, "n": 3, "d": 2.0, "rows": [1, 2, 3], "t": "2024-01-01T00:00:00Z"}, "input": {"x-y": 1}}


def value_of(source: str, values: Mapping[str, Any] = VALUES) -> Any:
    return evaluate(parse(source), values)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1.0 == 1", True),
        ("1 < 1.5", True),
        ("1u == 1", True),
        ("1 == '1'", False),
        ("output.n == 3.0", True),
        ("1 in [1.0]", True),
        ("7 / 2", 3),
        ("-7 % 3", -1),
        ("double(output.n) + 1.5", 4.5),
        ("has(output.a)", True),
        ("has(output.zz)", False),
        ("output.a == null", True),
        ("error == null", True),
        ("output.nothing == 1 || true", True),
        ("output.rows.exists(x, x > 2)", True),
        ("output.rows.all(x, x > 2)", False),
        ("output.rows.exists_one(x, x > 2)", True),
        ("output.rows.map(x, x * 2)", [2, 4, 6]),
        ("output.rows.map(x, x > 1, x * 2)", [4, 6]),
        ("output.rows.filter(x, x != 2)", [1, 3]),
        ("output.rows.map(output, output + 1)", [2, 3, 4]),
        ('input["x-y"]', 1),
        ("'abc'.startsWith('a') && 'abc'.endsWith('c') && 'abc'.contains('b')", True),
        ("'abc'.matches('^a.c$')", True),
        ("'é'.size()", 1),
        ("'A,b'.lowerAscii().split(',')", ["a", "b"]),
        (r"'\u00e9\n' + r'\n'", "é\n\\n"),
        ("timestamp(output.t) + duration('90m') == timestamp('2024-01-01T01:30:00Z')", True),
        ("timestamp(output.t)", "2024-01-01T00:00:00Z"),
        ("timestamp('2024-05-06T07:08:09.5Z').getMonth()", 4),
        ("duration('90m') - duration('1ms')", "5399.999s"),
        ("duration('-1500ms')", "-1.5s"),
        ("b'abc'", "YWJj"),
        ("type(1)", "int"),
        ("type(output.rows) == list", True),
        ("{2: 'b', 1: 'a', false: null}", {"1": "a", "2": "b", "false": None}),
        ("true ? 'yes' : 1 / 0", "yes"),
    ],
)
def test_cel_gives_what_the_specification_says(source: str, expected: Any) -> None:
    result = value_of(source)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 + 1.5", "No matching overloads"),
        ("output.n + 0.5", "No matching overloads"),
        ("9223372036854775807 + 1", "overflow"),
        ("1 / 0", "divide by zero"),
        ("1 % 0", "modulus by zero"),
        ("output.zz", "has no key 'zz'"),
        ("output.a.b", "is null"),
        ("output.n.b == 1", "SELECT"),
        ("output.rows[9]", "index=9 size=3"),
        ("'a'.matches('(')", "invalid regular expression"),
        ("int('x')", "cannot convert"),
        ("0.0 / 0.0", "nan"),
        ("[1.0 / 0.0]", "inf"),
        ("timestamp('soon')", "Timestamp"),
    ],
)
def test_a_failing_expression_says_why(source: str, message: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        value_of(source)
    assert message.lower() in caught.value.detail.lower()


ROWS = [{"k": 1, "n": "a"}, {"k": 3.5, "n": "b"}, {"k": None, "n": "a"}, {"n": "c"}]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('sum(output, "k")', 4.5),
        ("sum([1, 2])", 3),
        ("sum([])", 0),
        ("[avg([]), min([]), max([])]", [None, None, None]),
        ('avg(output, "k")', 2.25),
        ('[min(output, "k"), max(output, "k")]', [1, 3.5]),
        ("max(['a', 'c', 'b'])", "c"),
        ("count(output)", 4),
        ('distinct(output, "n")', ["a", "b", "c"]),
        ("distinct([1, 1.0, true, '1', [1], [1.0]])", [1, True, "1", [1]]),
        ('sort_by(output, "k", "desc").map(r, r.n)', ["b", "a", "a", "c"]),
        ('sort_by(output, "k").map(r, r.n)', ["a", "b", "a", "c"]),
        ('group_by(output, "n").a', [{"k": 1, "n": "a"}, {"k": None, "n": "a"}]),
        ('top(output, 1, "k")', [{"k": 3.5, "n": "b"}]),
        ('get(output, "1.k", 0)', 3.5),
        ('get(output, "2.k", 7)', 7),
        ('get(null, "a.b", "none")', "none"),
        ('get(ctx, "some-node.output.x", input.fallback)', 5),
    ],
)
def test_list_functions(source: str, expected: Any) -> None:
    result = value_of(source, {"output": ROWS, "input": {"fallback": 5}})
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("sum(['a'])", "sum needs numbers, not a string"),
        ("sum([true])", "sum needs numbers, not a bool"),
        ("sum(3)", "sum needs a list, not a number"),
        ("sum([9223372036854775807, 1])", "overflow"),
        ("sum([1], 2)", "sum needs a string as its key"),
        ("sort_by([{'k': 1}, {'k': 'a'}], 'k')", "only numbers or only strings"),
        ("sort_by([{'k': 1}], 'k', 'down')", "asc"),
        ("top([{'k': 1}], -1, 'k')", "count of 0 or more"),
        ("group_by([{'k': [1]}], 'k')", "under 'k'"),
        ("distinct([1], 'k')", "rows read by 'k' must be maps"),
    ],
)
def test_a_misused_list_function_says_what_it_needs(source: str, message: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        value_of(source)
    assert message in caught.value.detail


def test_json_integers_past_int64_are_doubles() -> None:
    assert value_of("[type(output) == double, output > 1]", {"output": 2**70}) == [True, True]
    assert value_of("[type(output) == int]", {"output": 2**63 - 1}) == [True]
    assert value_of("[type(output) == double]", {"output": 2**63}) == [True]


def test_whole_doubles_stay_floats() -> None:
    assert type(value_of("[output.d]")[0]) is float
    assert type(value_of("output.d")) is float


def test_a_plain_read_keeps_the_order_of_keys_and_is_a_copy() -> None:
    given = {"z": [1], "a": {"y": "\0", "b": 2**63}}
    result = value_of("input.body", {"input": {"body": given}})
    assert list(result) == ["z", "a"]
    assert result == {"z": [1], "a": {"y": "\0", "b": float(2**63)}}
    result["z"].append(2)
    assert given["z"] == [1]


@pytest.mark.parametrize("bad", ["a\0b", "\ud800", {"k": ["\0"]}, {"a\0": 1}, 10**400, (1,), {1: 2}])
def test_values_that_cel_cannot_hold_are_refused_rather_than_changed(bad: Any) -> None:
    with pytest.raises(EvaluationError):
        value_of("size([output]) == 1", {"output": bad})


def test_deep_values_are_refused() -> None:
    deep: Any = 1
    for _ in range(50_000):
        deep = [deep]
    for source in ("output", "size(output)"):
        with pytest.raises(EvaluationError, match="nests more than"):
            value_of(source, {"output": deep})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("output.exists(x, output.exists(y, x + y == -1))", "iterations"),
        ("output.exists(x, sum(output) == x)", "rows"),
        ("output.exists(x, sum(output) == x) || true", "rows"),
        ("output.exists(x, input + input == '')", "too long"),
        ("output.exists(x, input.matches('z$'))", "too long"),
        ("output.exists(x, size(input.split('')) == x)", "too long"),
        ("output.exists(x, size([x] + output) == 0)", "too long"),
        ("output.all(x, output == output)", "too long"),
        ("output.all(x, x in output)", "too long"),
        ("output.map(x, x + 1)", "4000 items"),
    ],
)
def test_work_that_multiplies_is_cut_off(source: str, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        value_of(source, {"output": list(range(9000)), "input": "y" * 200_000})


def test_long_lists_are_no_problem_in_themselves() -> None:
    rows = [{"a": n, "b": 1, "name": f"row {n}"} for n in range(3000)]
    assert value_of("output.exists(r, r.a + r.b == 3000)", {"output": rows}) is True
    assert value_of("output.filter(r, r.name + '!' == 'row 7!').map(r, r.a)", {"output": rows}) == [7]


def test_only_what_an_expression_reads_is_converted() -> None:
    unread = {"score": 9, "unread": "\0", "list": [object()]}
    assert value_of("output.score + 1 == 10", {"output": unread, "input": object()}) is True


def test_nulls_in_results_do_not_end_the_process() -> None:
    """Unmended, the binding gives up references to None that it never had, until the interpreter aborts."""
    code = (
        "from chalicelib.domain.cel_syntax import parse\n"
        "from chalicelib.domain.conditions import evaluate\n"
        "e = parse('[null, null, null, null, get(null, \"a\", null)]')\n"
        "for _ in range(5000): evaluate(e, {})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_functions_do_not_keep_what_they_were_given() -> None:
    expression = parse('sort_by(output, "k")[0].k + size(get(input, "t", ""))')
    values = {"output": [{"k": i} for i in range(50)], "input": {"t": "text"}}
    evaluate(expression, values)
    gc.collect()
    before = sum(isinstance(item, dict) and item.keys() == {"k"} for item in gc.get_objects())
    for _ in range(50):
        evaluate(expression, values)
    gc.collect()
    after = sum(isinstance(item, dict) and item.keys() == {"k"} for item in gc.get_objects())
    assert after <= before


def test_the_evaluator_names_its_version() -> None:
    name, version = evaluator().split()
    assert name == "cel-expr-python"
    assert version[0].isdigit()


def test_without_the_evaluator_the_process_refuses_to_start() -> None:
    code = (
        "import sys\n"
        "sys.modules['cel_expr_python'] = None\n"
        "from chalicelib.domain.errors import ConfigurationError\n"
        "try:\n    import chalicelib.domain.conditions\n"
        "except ConfigurationError as error:\n    print(error.detail)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "cel-expr-python" in done.stdout
