"""Pipeline steps give what SQLite gives for the same tables and the same question."""

import json
import math
import sqlite3

from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.domain.pipeline import run_pipeline

INTS = st.none() | st.integers(-5, 5)
TEXTS = st.none() | st.sampled_from(["", "a", "ab", "b", "B", "é", "z\U0001f600", "\uffff"])
REALS = st.none() | st.sampled_from([-2.5, -1.0, 0.0, 0.1, 0.25, 3.0, 1e9])
ROWS = st.lists(st.fixed_dictionaries({"i": INTS, "t": TEXTS, "x": REALS}), max_size=12)
OTHERS = st.lists(st.fixed_dictionaries({"i": INTS, "t": TEXTS, "y": INTS}), max_size=12)
OPS = {"==": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
CHECKED = settings(max_examples=80, deadline=None)


def ask(sql, rows, others=()):
    """The answer of SQLite; `pos` is the place of a row in its table."""
    base = sqlite3.connect(":memory:")
    base.row_factory = sqlite3.Row
    base.execute("create table a (pos integer, i integer, t text, x real)")
    base.execute("create table b (pos integer, i integer, t text, y integer)")
    base.executemany("insert into a values (?, ?, ?, ?)", [(n, r["i"], r["t"], r["x"]) for n, r in enumerate(rows)])
    base.executemany("insert into b values (?, ?, ?, ?)", [(n, r["i"], r["t"], r["y"]) for n, r in enumerate(others)])
    found = [dict(row) for row in base.execute(sql)]
    base.close()
    return found


def run(step, rows):
    return run_pipeline([step], rows, http=None, fetch=None)


def keys_of(sorts, *, falling=False):
    """(the keys of a step, the ORDER BY of SQL)"""
    keys = [{"column": c, "desc": desc, "nulls": "first" if first else "last"} for c, desc, first in sorts]
    sql = [f"{c} {'desc' if desc else 'asc'} nulls {'first' if first else 'last'}" for c, desc, first in sorts]
    return keys, ", ".join([*sql, "pos"])


SORTS = st.lists(st.tuples(st.sampled_from("itx"), st.booleans(), st.booleans()), min_size=1, max_size=3)


@CHECKED
@given(rows=ROWS, sorts=SORTS)
def test_a_sort_orders_as_order_by_does(rows, sorts):
    keys, order = keys_of(sorts)
    assert run({"step": "table_sort", "by": keys}, rows) == ask(f"select i, t, x from a order by {order}", rows)


@CHECKED
@given(rows=ROWS, sorts=SORTS, k=st.integers(1, 6))
def test_top_k_is_order_by_with_a_limit(rows, sorts, k):
    keys, order = keys_of(sorts)
    expected = ask(f"select i, t, x from a order by {order} limit {k}", rows)
    assert run({"step": "top_k", "k": k, "by": keys}, rows) == expected


@CHECKED
@given(rows=ROWS, k=st.integers(1, 6), column=st.sampled_from("ix"))
def test_top_k_by_a_name_alone_takes_the_greatest(rows, k, column):
    expected = ask(f"select i, t, x from a order by {column} desc nulls last, pos limit {k}", rows)
    assert run({"step": "top_k", "k": k, "by": column}, rows) == expected


@CHECKED
@given(rows=ROWS, data=st.data(), op=st.sampled_from(sorted(OPS)), column=st.sampled_from("itx"))
def test_a_comparison_keeps_what_where_keeps(rows, data, op, column):
    value = data.draw({"i": INTS, "t": TEXTS, "x": REALS}[column].filter(lambda v: v is not None))
    shown = "'" + value + "'" if isinstance(value, str) else repr(value)
    kept = run({"step": "table_filter", "where": {"column": column, "op": op, "value": value}}, rows)
    assert kept == ask(f"select i, t, x from a where {column} {OPS[op]} {shown} order by pos", rows)


@CHECKED
@given(rows=ROWS)
def test_an_expression_filters_and_computes_as_sql_does(rows):
    kept = run({"step": "table_filter", "where": "row.i != null && row.t != null && row.i * 2 > 3"}, rows)
    assert kept == ask("select i, t, x from a where i is not null and t is not null and i * 2 > 3 order by pos", rows)
    columns = ["t", {"column": "i", "as": "n"}, {"cel": "row.i == null ? 0 : row.i * row.i", "as": "square"}]
    chosen = run({"step": "table_select", "columns": columns}, rows) if rows else []
    assert chosen == ask("select t, i as n, coalesce(i * i, 0) as square from a order by pos", rows)


@CHECKED
@given(rows=ROWS, others=OTHERS, on=st.sampled_from(["i", "t", "it"]), how=st.sampled_from(["inner", "left"]))
def test_inner_and_left_joins_are_those_of_sql(rows, others, on, how):
    joined = run({"step": "table_join", "with": others, "on": list(on), "how": how}, rows) if rows and others else []
    equal = " and ".join(f"a.{name} = b.{name}" for name in on)
    second = {"i": ", b.t as t_right", "t": ", b.i as i_right", "it": ""}[on]
    sql = f"select a.i, a.t, a.x{second}, b.y from a {how} join b on {equal} order by a.pos, b.pos"
    if rows and others:
        assert joined == ask(sql, rows, others)


@CHECKED
@given(rows=ROWS, others=OTHERS)
def test_an_outer_join_is_the_left_join_and_what_is_left_over_on_the_right(rows, others):
    if not rows or not others:
        return
    joined = run({"step": "table_join", "with": others, "on": "i", "how": "outer"}, rows)
    left = ask(
        "select a.i, a.t, a.x, b.t as t_right, b.y from a left join b on a.i = b.i order by a.pos, b.pos", rows, others
    )
    rest = ask(
        "select b.i, null as t, null as x, b.t as t_right, b.y from b"
        " where not exists (select 1 from a where a.i = b.i) order by b.pos",
        rows,
        others,
    )
    assert joined == left + rest


@CHECKED
@given(rows=ROWS, by=st.sampled_from(["i", "t", "it"]))
def test_groups_and_aggregates_are_those_of_group_by(rows, by):
    ops = {"n": ("count", None), "c": ("count", "x"), "lo": ("min", "x"), "hi": ("max", "i"), "first_t": ("min", "t")}
    ops |= {"s": ("sum", "i"), "m": ("avg", "x"), "sx": ("sum", "x")}
    aggregates = {name: {"op": op, **({"column": column} if column else {})} for name, (op, column) in ops.items()}
    aggregates = {f"z_{name}": aggregate for name, aggregate in aggregates.items()}
    aggregates["z_all"] = {"op": "collect", "column": "i"}
    grouped = run({"step": "table_group", "by": list(by), "aggregates": aggregates}, rows)
    chosen = ", ".join(f"{op}({column or '*'}) as z_{name}" for name, (op, column) in ops.items())
    names = ", ".join(by)
    every = f"json_group_array(i) as z_all from (select * from a order by pos) group by {names} order by min(pos)"
    expected = ask(f"select {names}, {chosen}, {every}", rows)
    assert len(grouped) == len(expected)
    for got, want in zip(grouped, expected, strict=True):
        want["z_all"] = json.loads(want["z_all"])
        for name in ("z_m", "z_sx"):
            a, b = got.pop(name), want.pop(name)
            assert a == b or math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-9)
        assert got == want
