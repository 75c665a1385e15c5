"""What the compiler learns about an expression, and what it refuses."""

import pytest
from celpy.celparser import CELParser

from chalicelib.domain.cel_syntax import parse
from chalicelib.domain.errors import InvalidDocument


def codes(source: str) -> list[str]:
    with pytest.raises(InvalidDocument) as caught:
        parse(source)
    assert all(problem.path == "" for problem in caught.value.problems)
    return [problem.code for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("source", "paths"),
    [
        ("output.score >= 80", {("output", "score")}),
        (
            'ctx["my-node"].output.x && ctx.b.status == "FAILED"',
            {("ctx", "my-node", "output", "x"), ("ctx", "b", "status")},
        ),
        ("has(ctx.a.output.x)", {("ctx", "a", "output", "x")}),
        ("output[0].x + output.y", {("output",)}),
        ("output[input.key]", {("output",), ("input", "key")}),
        ("[1, 2].map(x, x + item)", {("item",)}),
        ("[1].map(ctx, ctx.a + output)", {("output",)}),
        ("input.rows.filter(r, r.n == vars.n).size() > iteration", {("input", "rows"), ("vars", "n"), ("iteration",)}),
        ('get(ctx, "a.output.0.x", run.id)', {("ctx", "a", "output"), ("run", "id")}),
        ('"output.x // not read" + error.message // output.y', {("error", "message")}),
        (".index == 1", {("index",)}),
        ("type(1) == int", set()),
        ("{'a': output.b}.a", {("output", "b")}),
    ],
)
def test_reads_are_found(source: str, paths: set[tuple[str, ...]]) -> None:
    found = parse(source)
    assert set(found.paths) == paths
    assert found.names == tuple(sorted({path[0] for path in paths}))
    assert found.nodes == tuple(sorted({path[1] for path in paths if path[0] == "ctx"}))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", ["cel_syntax"]),
        ("1 +", ["cel_syntax"]),
        ("output.?a", ["cel_syntax"]),
        ("\0", ["cel_syntax"]),
        ("'\ud800'", ["cel_syntax"]),
        ("9223372036854775808", ["cel_syntax"]),
        ("'" + "x" * 4096 + "'", ["cel_too_long"]),
        ("é" * 2049, ["cel_too_long"]),
        ("(" * 40 + "1" + ")" * 40, ["cel_too_deep"]),
        ("[" * 2000 + "]" * 2000, ["cel_too_deep"]),
        ("+".join("1" * 40), ["cel_too_deep"]),
        ("output" + ".a" * 40, ["cel_too_deep"]),
        ("[1].map(a, [1].map(b, [1].map(c, c)))", ["cel_comprehension_depth"]),
        ("foo + bar.baz", ["cel_unknown_name", "cel_unknown_name"]),
        ("true || nothing", ["cel_unknown_name"]),
        ("[1].map(x, x) == x", ["cel_unknown_name"]),
        ("Thing{a: 1}", ["cel_unknown_name"]),
        ("nothing()", ["cel_unknown_function"]),
        ("output.explode()", ["cel_unknown_function"]),
        ("sum(1, 'a', 'b')", ["cel_unknown_function"]),
        ("[output].join('x')", ["cel_unknown_function"]),
        ("ctx[output.name].status", ["cel_dynamic_ctx"]),
        ("size(ctx) > foo", ["cel_dynamic_ctx", "cel_unknown_name"]),
    ],
)
def test_what_cannot_run_is_refused_with_every_problem(source: str, expected: list[str]) -> None:
    assert codes(source) == expected


def test_comprehensions_in_a_row_do_not_nest() -> None:
    assert parse("[1].map(a, a).filter(b, b > 0).map(c, [c].map(d, d))").names == ()


@pytest.mark.parametrize(
    "source",
    ["output.a + ctx.b.c", "input.x ? item : vars.y", "[output, {'k': error.type}]", "!(run.id == 'x') && -index < 3"],
)
def test_another_parser_finds_the_same_variables(source: str) -> None:
    """cel-python parses on its own; both must agree on which variables stand in an expression."""
    idents = {tree.children[0].value for tree in CELParser().parse(source).find_data("ident")}
    assert set(parse(source).names) == idents
