"""Pipelines: what each step gives, what it says when it cannot, and that no input crashes or outgrows it."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.domain import pipeline_tables
from chalicelib.domain.errors import TaskError
from chalicelib.domain.pipeline import run_pipeline
from tests.domain.documents import found, workflow

ORDERS = [
    {"id": 1, "country": "nl", "total": 40.5, "lines": [{"sku": "a"}, {"sku": "b"}]},
    {"id": 2, "country": "de", "total": None, "lines": []},
    {"id": 3, "country": "nl", "total": 9, "lines": [{"sku": "a"}]},
    {"id": 4, "country": None, "total": 9.0},
]
COUNTRIES = [{"code": "nl", "name": "Netherlands"}, {"code": "de", "name": "Germany"}, {"code": "fr", "name": "France"}]


def nowhere(ref):
    raise AssertionError(f"nothing was to be fetched: {ref}")


def run(*steps, data=ORDERS, http=None, fetch=nowhere):
    return run_pipeline(list(steps), data, http=http, fetch=fetch)


def refused(*steps, **keys):
    with pytest.raises(TaskError) as error:
        run(*steps, **keys)
    return error.value


def ids(rows):
    return [row["id"] for row in rows]


def where(column, op, *value):
    return {"step": "table_filter", "where": {"column": column, "op": op, **({"value": value[0]} if value else {})}}


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        (where("country", "==", "nl"), [1, 3]),
        (where("country", "!=", "nl"), [2]),
        (where("country", "==", None), [4]),
        (where("country", "!=", None), [1, 2, 3]),
        (where("total", "==", 9), [3, 4]),
        (where("total", "<", 10), [3, 4]),
        (where("total", ">", "10"), []),
        (where("total", "in", [9, "nl", None]), [3, 4]),
        (where("total", "not_in", [9]), [1]),
        (where("total", "is_null"), [2]),
        (where("lines", "not_null"), [1, 2, 3]),
        (where("lines", "contains", {"sku": "b"}), [1]),
        (where("country", "contains", "l"), [1, 3]),
        ({"step": "table_filter", "where": 'row.id > 2 && row.country == "nl"'}, [3]),
        ({"step": "table_filter", "where": 'get(row, "lines.0.sku", "") == "a"'}, [1, 3]),
        ({"step": "table_filter", "where": [where("id", ">", 1)["where"], where("id", "<", 4)["where"]]}, [2, 3]),
    ],
    ids=json.dumps,
)
def test_a_filter_keeps_the_rows_that_its_condition_holds_for(step, kept):
    assert ids(run(step)) == kept


@pytest.mark.parametrize(
    ("by", "order"),
    [
        ("total", [3, 4, 1, 2]),
        ({"column": "total", "desc": True}, [1, 3, 4, 2]),
        ({"column": "total", "nulls": "first"}, [2, 3, 4, 1]),
        ({"column": "total", "desc": True, "nulls": "first"}, [2, 1, 3, 4]),
        (["country", {"column": "id", "desc": True}], [2, 3, 1, 4]),
        ([{"column": "country", "desc": True}, "total"], [3, 1, 2, 4]),
    ],
)
def test_a_sort_is_stable_and_puts_nulls_last_in_both_directions_unless_told(by, order):
    assert ids(run({"step": "table_sort", "by": by})) == order


def test_values_of_different_types_have_one_order():
    rows = [{"v": v} for v in ({"a": 1}, "b", 2, None, True, "a", 1.5, [1], False)]
    random.Random(7).shuffle(rows)
    ordered = run({"step": "table_sort", "by": "v"}, data=rows)
    assert [row["v"] for row in ordered] == [False, True, 1.5, 2, "a", "b", [1], {"a": 1}, None]


def test_top_k_takes_the_greatest_and_of_equal_ones_the_first():
    assert ids(run({"step": "top_k", "k": 2, "by": "total"})) == [1, 3]
    assert ids(run({"step": "top_k", "k": 3, "by": {"column": "total", "desc": False}})) == [3, 4, 1]
    equal = [{"id": n, "v": 1} for n in range(50)]
    assert ids(run({"step": "top_k", "k": 3, "by": "v"}, data=equal)) == [0, 1, 2]
    assert ids(run({"step": "top_k", "k": 3, "by": {"column": "v", "desc": False}}, data=equal)) == [0, 1, 2]


def test_a_selection_keeps_renames_and_computes_columns_in_the_order_given():
    columns = ["id", {"column": "country", "as": "land"}, {"cel": 'size(get(row, "lines", []))', "as": "n"}]
    rows = run({"step": "table_select", "columns": columns})
    assert rows[0] == {"id": 1, "land": "nl", "n": 2}
    assert [list(row) for row in rows] == [["id", "land", "n"]] * 4
    assert rows[3] == {"id": 4, "land": None, "n": 0}


def test_a_join_matches_equal_columns_and_nulls_match_nothing():
    on = [{"left": "country", "right": "code"}]
    data = {"orders": ORDERS, "countries": COUNTRIES}
    step = {"step": "table_join", "from": "orders", "with": "countries", "on": on}
    inner = run(step, data=data)
    assert [(row["id"], row["name"]) for row in inner] == [(1, "Netherlands"), (2, "Germany"), (3, "Netherlands")]
    left = run({**step, "how": "left"}, data=data)
    assert left[3] == {"id": 4, "country": None, "total": 9.0, "lines": None, "code": None, "name": None}
    outer = run({**step, "how": "outer"}, data=data)
    assert outer[:4] == left
    assert outer[4:] == [{"id": None, "country": None, "total": None, "lines": None, "code": "fr", "name": "France"}]


def test_a_join_on_one_name_has_that_column_once_and_other_names_get_a_suffix():
    left, right = [{"k": 1, "v": "l"}], [{"k": 1, "v": "r"}, {"k": 2, "v": "s"}]
    step = {"step": "table_join", "with": right, "on": "k", "how": "outer"}
    assert run(step, data=left) == [{"k": 1, "v": "l", "v_right": "r"}, {"k": 2, "v": None, "v_right": "s"}]
    assert run({**step, "suffix": "2"}, data=left)[0] == {"k": 1, "v": "l", "v2": "r"}
    assert "both sides have a column" in refused(step, data=[{"k": 1, "v": 1, "v_right": 2}]).message


def test_groups_stand_in_order_of_appearance_and_null_is_one():
    aggregates = {
        "sum": {"op": "sum", "column": "total"},
        "avg": {"op": "avg", "column": "total"},
        "min": {"op": "min", "column": "id"},
        "max": {"op": "max", "column": "id"},
        "rows": {"op": "count"},
        "known": {"op": "count", "column": "total"},
        "first": {"op": "first", "column": "id"},
        "last": {"op": "last", "column": "id"},
        "all": {"op": "collect", "column": "total"},
    }
    assert run({"step": "table_group", "by": "country", "aggregates": aggregates}) == [
        {"country": "nl", "sum": 49.5, "avg": 24.75, "min": 1, "max": 3, "rows": 2, "known": 2, "first": 1, "last": 3,
         "all": [40.5, 9]},
        {"country": "de", "sum": None, "avg": None, "min": 2, "max": 2, "rows": 1, "known": 0, "first": 2, "last": 2,
         "all": [None]},
        {"country": None, "sum": 9.0, "avg": 9.0, "min": 4, "max": 4, "rows": 1, "known": 1, "first": 4, "last": 4,
         "all": [9.0]},
    ]  # fmt: skip
    whole = {"step": "table_group", "by": [], "aggregates": {"n": {"op": "count"}, "sum": {"op": "sum", "column": "x"}}}
    assert run(whole, data=[]) == [{"n": 0, "sum": None}]


def test_true_and_one_are_two_groups_and_one_and_one_point_zero_are_one():
    rows = [{"v": v} for v in (True, 1, 1.0, "1")]
    grouped = run({"step": "table_group", "by": "v", "aggregates": {"n": {"op": "count"}}}, data=rows)
    assert [row["n"] for row in grouped] == [1, 2, 1]


def test_named_tables_can_be_read_later():
    steps = [
        {"step": "table_group", "by": "country", "aggregates": {"most": {"op": "max", "column": "id"}}, "as": "newest"},
        {"step": "table_filter", "from": "orders", "where": "row.id < 4"},
        {"step": "table_join", "with": "newest", "on": "country"},
    ]
    rows = run({"from": "orders", **steps[0]}, *steps[1:], data={"orders": ORDERS})
    assert [(row["id"], row["most"]) for row in rows] == [(1, 3), (2, 2), (3, 3)]


def test_a_request_gives_the_list_that_its_pointer_names():
    asked = []

    def http(config):
        asked.append(config)
        return {"status": 200, "headers": {}, "body": {"data": {"items": COUNTRIES}}}

    step = {"step": "http_request", "url": "https://x.example/c", "query": {"a": 1}, "rows": "/data/items"}
    assert run(step, {"step": "top_k", "k": 1, "by": "code"}, data=None, http=http) == [COUNTRIES[0]]
    assert asked == [{"url": "https://x.example/c", "query": {"a": 1}}]
    error = refused({**step, "rows": "/data"}, data=None, http=http)
    assert error.message.startswith("/pipeline/0/rows: found an object with items; point rows at the list")
    assert 'has no "rows"' in refused({**step, "rows": "/data/rows"}, data=None, http=http).message


def test_an_error_of_the_request_keeps_its_type_and_says_which_step_it_was():
    def http(config):
        raise TaskError("HttpError", "GET x answered 503", retryable=True)

    error = refused({"step": "http_request", "url": "https://x.example"}, data=None, http=http)
    assert (error.type, error.message, error.retryable) == ("HttpError", "/pipeline/0: GET x answered 503", True)


def test_an_artifact_is_fetched_once_wherever_a_table_may_stand():
    fetched = []
    ref = "artifact://sha256/" + "a" * 64

    def fetch(asked):
        fetched.append(asked)
        return COUNTRIES

    step = {"step": "table_join", "with": ref, "on": "code"}
    assert len(run(step, {**step, "suffix": "_again"}, data=ref, fetch=fetch)) == 3
    assert fetched == [ref]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"step": "table_sort", "by": "totl"}, '/pipeline/0/by: no row has a column "totl"; there are id, country'),
        ({"step": "table_sort", "by": {"column": "id", "order": 1}}, '/pipeline/0/by/order: "order" is not'),
        ({"step": "table_sort", "from": "x", "by": "id"}, '/pipeline/0/from: No step before this one names'),
        ({"step": "table_sort", "from": [7], "by": "id"}, "/pipeline/0/from: row 0 is a number; each row is an object"),
        ({"step": "table_filter", "where": "row.id"}, "/pipeline/0/where: row 0: the condition gave a number"),
        ({"step": "table_filter", "where": "row.x > 1"}, "/pipeline/0/where: row 0: "),
        ({"step": "table_filter", "where": "vars.x > 1"}, "/pipeline/0/where: Nothing is called 'vars'"),
        (where("id", "in", 7), "/pipeline/0/where: in takes a list"),
        (where("id", "=="), "/pipeline/0/where: == needs a value"),
        ({"step": "table_select", "columns": ["id", "id"]}, '/pipeline/0/columns/1: there are two columns "id"'),
        ({"step": "table_select", "columns": {"cel": "1"}}, "/pipeline/0/columns: A computed column needs a name"),
        ({"step": "top_k", "k": 0, "by": "id"}, "/pipeline/0/k: "),
        ({"step": "top_k", "by": "id"}, '/pipeline/0/k: "k" is missing here; add it.'),
        ({"step": "table_group", "by": "id", "aggregates": {"s": {"op": "sum", "column": "country"}}},
         '/pipeline/0/aggregates/s: found the text "nl"; sum adds up numbers only'),
        ({"step": "table_group", "by": "id", "aggregates": {"id": {"op": "count"}}}, "/pipeline/0/aggregates: "),
        ({"step": "table_sort", "by": "id", "as": "no name"}, "/pipeline/0/as: "),
        ({"step": "http_request", "url": "https://x.example"}, "/pipeline/0: http_request cannot be used here"),
        ({"step": "tabel_sort"}, "/pipeline/0/step: Each step names one of http_request, table_filter"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_step_that_cannot_be_done_says_where_what_was_found_and_the_way_out(step, message):
    error = refused(step)
    assert (error.type, error.retryable) == ("PipelineError", False)
    assert error.message.startswith(message)


def test_the_pointer_of_an_error_counts_the_steps():
    sort = {"step": "table_sort", "by": "id"}
    assert refused(sort, sort, {"step": "table_sort", "by": "x"}).message.startswith("/pipeline/2/by: ")


def test_sums_of_whole_numbers_are_exact_and_those_beyond_all_numbers_are_refused():
    sums = {"step": "table_group", "by": [], "aggregates": {"s": {"op": "sum", "column": "v"}}}
    assert run(sums, data=[{"v": 2**60}, {"v": 1}])[0]["s"] == 2**60 + 1
    assert run(sums, data=[{"v": 0.1}] * 10)[0]["s"] == 1.0
    assert "beyond the range" in refused(sums, data=[{"v": 1e308}] * 2).message
    assert "beyond the range" in refused(sums, data=[{"v": 10**400}, {"v": 0.5}]).message


MANY = {f"a{n}": {"op": "count"} for n in range(99)}
SELF_JOIN = {"step": "table_join", "with": "all", "on": "k"}


@pytest.mark.parametrize(
    ("steps", "data", "what"),
    [
        ([{"from": "all", "step": "table_group", "by": "k", "aggregates": MANY}] * 50,
         {"all": [{"k": 1}] * 10_000}, "5000000 values"),
        ([{"from": "all", "step": "table_filter", "where": [{"column": "t", "op": "contains", "value": 1}] * 90}] * 50,
         {"all": [{"t": [0] * 500}] * 80}, "5000000 values"),
        ([{"step": "table_sort", "by": "k"}], [{"k": 1}] * 50_001, "50000 rows"),
        ([{"from": "all", **SELF_JOIN}], {"all": [{"k": 1}] * 1_000}, "50000 rows"),
        ([{"from": "all", **SELF_JOIN}], {"all": [{"k": 1, "t": "x" * 90_000, "n": n} for n in range(40)]}, "bytes"),
        ([{"step": "table_sort", "by": "k"}], [{"k": 1, "t": "x" * 300_000}], "262144 bytes"),
        ([{"step": "table_sort", "by": "k"}] * 50, [{"k": n, "v": n} for n in range(20_000)], "1000000 cells"),
        ([{"step": "table_filter", "where": "row.k == 1"}] * 3, [{"k": 1}] * 40_000, "100000 evaluations"),
        ([{"step": "table_filter", "where": f"[{', '.join('1' * 90)}].all(a, [{', '.join('1' * 90)}].all(b, a == b))"}],
         [{"k": 1}] * 400, "100000 evaluations"),
        ([{"step": "table_select", "columns": {"cel": "row.t + row.t", "as": "t"}}] * 50, [{"t": "x" * 999}], "bytes"),
        ([{"step": "table_sort", "by": "k"}] * 51, [{"k": 1}], "at most 50"),
    ],
    ids=["looks", "searches", "rows", "joined rows",
         "joined bytes", "a row", "cells", "evaluations", "iterations", "growth", "steps"],
)  # fmt: skip
def test_what_outgrows_a_bound_is_refused_by_its_name(steps, data, what):
    assert what in refused(*steps, data=data).message


def test_the_bounds_hold_a_coordinator_to_seconds():
    """The numbers that the reference names."""
    bounds = pipeline_tables.MAX_STEPS, pipeline_tables.MAX_ROWS, pipeline_tables.MAX_CELLS, pipeline_tables.MAX_BYTES
    assert bounds == (50, 50_000, 1_000_000, 10 * 1024 * 1024)


NAMES = st.sampled_from(["a", "b", "id", "t", "x y", "a_right"])
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
ROWS = st.lists(st.dictionaries(NAMES, VALUES, max_size=4), max_size=8)
KEYS = st.one_of(NAMES, st.fixed_dictionaries({"column": NAMES}, optional={"desc": st.booleans(), "nulls": VALUES}))
CEL = st.sampled_from(
    ["row.a > 1", "row.a == row.b", "size(row.t) > 1", "has(row.id)", "row", "1 / 0", 'get(row, "a.0", 1)']
)
SOURCES = {
    "from": st.sampled_from(["t", "u", "artifact://sha256/x"]) | ROWS | VALUES,
    "as": st.sampled_from(["t", "u", "v"]),
}
STEPS = st.one_of(
    st.fixed_dictionaries({"step": st.just("table_filter"), "where": CEL | st.fixed_dictionaries(
        {"column": NAMES, "op": st.sampled_from(["==", "<", "in", "contains", "is_null"])},
        optional={"value": VALUES})}, optional=SOURCES),
    st.fixed_dictionaries({"step": st.just("table_sort"), "by": KEYS | st.lists(KEYS, max_size=3)}, optional=SOURCES),
    st.fixed_dictionaries({"step": st.just("top_k"), "by": KEYS, "k": st.integers(-1, 9) | VALUES}, optional=SOURCES),
    st.fixed_dictionaries({"step": st.just("table_select"), "columns": st.lists(NAMES | st.fixed_dictionaries(
        {"cel": CEL, "as": NAMES}), max_size=3)}, optional=SOURCES),
    st.fixed_dictionaries({"step": st.just("table_join"), "on": NAMES, "with": SOURCES["from"]},
        optional={**SOURCES, "how": st.sampled_from(["inner", "left", "outer", "cross"])}),
    st.fixed_dictionaries({"step": st.just("table_group"), "by": NAMES | st.lists(NAMES, max_size=2),
        "aggregates": st.dictionaries(NAMES, st.fixed_dictionaries({"op": st.sampled_from(
            ["sum", "avg", "min", "max", "count", "first", "last", "collect"])},
            optional={"column": NAMES}), max_size=3)}, optional=SOURCES),
    st.fixed_dictionaries({"step": st.just("http_request"), "url": st.just("https://x.example")},
        optional={"rows": st.sampled_from(["/a", "/a/0", "a", "", "/"]), "as": SOURCES["as"]}),
    VALUES,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEPS, max_size=4) | VALUES, data=ROWS | VALUES, body=VALUES | ROWS)
def test_whatever_json_comes_in_a_table_of_json_rows_or_an_error_of_the_task_comes_out(steps, data, body):
    before = json.dumps([steps, data])
    try:
        rows = run_pipeline(steps, data, http=lambda _: {"body": body}, fetch=lambda _: body)
    except TaskError as error:
        assert error.type == "PipelineError"
        assert error.message.startswith("/pipeline")
    else:
        assert all(isinstance(row, dict) for row in rows)
        json.dumps(rows, allow_nan=False)
    assert json.dumps([steps, data]) == before


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(STEPS, max_size=4) | VALUES, data=ROWS)
def test_what_compiles_is_never_refused_for_its_form_when_it_runs(steps, data):
    config = {"pipeline": steps, "data": data}
    problems = found(workflow([{"id": "n", "type": "transform", "config": config}]))
    if problems:
        return
    try:
        run_pipeline(steps, data, http=lambda _: {"body": []}, fetch=lambda _: [])
    except TaskError as error:
        assert "is not a known key" not in error.message
        assert "is missing here" not in error.message
        assert "correct it" not in error.message
