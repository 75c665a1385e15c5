"""Every benchmark runs, with numbers far too small to measure anything, and counts right what it counts."""

from __future__ import annotations

import json

import pytest

from infra.bench import documents, suite
from infra.bench.results import Row, Section, percentile
from infra.bench.rig import Rig, aws_rig, quick_rig
from infra.bench.sizes import TINY
from infra.cli.main import main


@pytest.fixture(scope="module")
def sections() -> dict[str, Section]:
    """All but the local stack, which the tests of the stack start often enough."""
    names = [name for name in suite.PARTS if name != "stack"]
    return {section.name: section for section in suite.run(TINY, names)}


def value(section: Section, what: str) -> float:
    (row,) = [row for row in section.rows if row.what == what]
    return row.value


def test_every_benchmark_gives_rows_with_ordered_numbers(sections: dict[str, Section]) -> None:
    assert set(sections) == set(suite.PARTS) - {"stack"}
    for section in sections.values():
        assert section.rows and section.note, section.name
        for row in section.rows:
            assert row.value >= 0, row
            if row.low is not None and row.high is not None:
                assert row.low <= row.value <= row.high, row


def test_a_plain_hop_counts_one_call_of_each_kind_per_batch(sections: dict[str, Section]) -> None:
    calls = sections["calls"]
    for key in ("redis round trips", "dynamodb calls", "sqs calls"):
        assert value(calls, f"plain, ten runs a batch: {key}") == 100
        assert value(calls, f"plain, one signal a batch: {key}") == 1000


def test_what_is_read_from_the_store_counts_as_a_round_trip(sections: dict[str, Section]) -> None:
    for kind in ("branch reads ctx", "config reads ctx"):
        trips = value(sections["calls"], f"{kind}, ten runs a batch: redis round trips")
        assert 100 < trips <= 200


def test_no_counted_mark_is_missed(sections: dict[str, Section]) -> None:
    """Counts are the same on every machine; times are told, not tested."""
    counted = [row for section in sections.values() for row in section.rows if row.low is None]
    assert [row for row in counted if row.met is False] == []


def test_the_bare_calls_are_as_many_as_the_engines(sections: dict[str, Section]) -> None:
    assert value(sections["bare"], "calls of the engine a batch") == 3
    assert value(sections["bare"], "bare calls a batch") == 3


def test_a_plain_hop_in_a_patched_run_counts_one_round_trip_after_the_first(sections: dict[str, Section]) -> None:
    patch = sections["patch"]
    assert value(patch, "first hop after a patch: redis round trips") == 3
    assert value(patch, "later hops of the patched run: redis round trips of 1,000 hops") == 1000


def test_a_lost_run_comes_back_in_counted_calls(sections: dict[str, Section]) -> None:
    """The sweep asks each slice once. A lost run takes at most eleven round trips, one of them for
    deadlines that the index may have lost, a read and a write. A step that misses
    a run asks first whether it has ended."""
    recovery, runs = sections["recovery"], TINY.live_runs // 2
    slices = 15 / runs
    assert value(recovery, f"{runs} waiting runs: redis round trips of a run") <= 11
    assert value(recovery, f"{runs} waiting runs: dynamodb calls of a run") <= 2 + slices
    assert value(recovery, f"{runs} waiting runs: sqs calls of a run") == 1
    assert value(recovery, f"{runs} runs with a signal on its way: dynamodb calls of a run") <= 3 + 1 / runs


def test_a_patch_counts_the_same_round_trips_whatever_the_size_of_its_run(sections: dict[str, Section]) -> None:
    trips = {value(sections["patch"], f"{nodes} nodes: redis round trips of a patch") for nodes in TINY.patched}
    assert trips == {5}


def test_the_coordinator_starts_without_the_compiler(sections: dict[str, Section]) -> None:
    """It compiles only what a task's signal asks to patch: most of its processes never do."""
    assert value(sections["cold"], "coordinator: imports pydantic") == 0
    assert value(sections["cold"], "API: imports pydantic") == 1


def test_the_meter_counts_a_pipeline_as_one_round_trip_and_a_command_as_another() -> None:
    with quick_rig() as rig:
        rig.redis.ping()
        before = rig.meter.counts.copy()
        pipe = rig.redis.pipeline(transaction=False)
        for number in range(5):
            pipe.set(f"k{number}", "v")
        pipe.execute()
        rig.redis.get("k1")
        since = rig.meter.since(before)
    assert since["redis round trips"] == 2
    assert since["redis bytes"] == 5 * len("*3\r\n$3\r\nSET\r\n$2\r\nk0\r\n$1\r\nv\r\n") + len(
        "*2\r\n$3\r\nGET\r\n$2\r\nk1\r\n"
    )


@pytest.mark.parametrize("make", [quick_rig, aws_rig])
@pytest.mark.parametrize(
    "document",
    [documents.chain(3), documents.reading_chain(3), documents.branches(4), documents.join(12), documents.lanes(22)],
    ids=["chain", "reading chain", "branches", "join", "lanes"],
)
def test_the_measured_workflows_run_to_their_end(make, document: dict) -> None:
    with make() as rig:
        run_id = rig.start(document)[0]
        hops = tasks_settled(rig)
        assert rig.status(run_id) == "COMPLETED"
    assert hops == len(document["nodes"])


def tasks_settled(rig: Rig) -> int:
    settled = 0
    while rig.pending:
        settled += sum("node_id" in json.loads(text) for text in list(rig.pending)[:10])
        rig.step(10)
    return settled


def test_percentiles_are_values_that_were_found() -> None:
    found = [float(n) for n in range(1, 101)]
    assert percentile(found, 0.5) == 50
    assert percentile(found, 0.99) == 99
    assert percentile([7.0], 0.99) == 7


def test_a_row_says_whether_its_mark_is_kept() -> None:
    assert Row("x", 2, "ms", mark=2).met is True
    assert Row("x", 3, "ms", mark=2).met is False
    assert Row("x", 3, "1/s", mark=2, at_least=True).met is True
    assert Row("x", 3, "ms").met is None


def test_the_command_prints_json_and_refuses_an_unknown_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "cel", "--quick", "--json"]) == 0
    (section,) = json.loads(capsys.readouterr().out)["sections"]
    assert section["name"] == "cel"
    assert section["rows"][0]["unit"] == "µs"
    assert main(["bench", "sel", "--json"]) == 2
    assert "compile" in capsys.readouterr().err


def test_the_command_prints_a_line_a_row_with_its_mark(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "compile", "--quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "compile"
    assert [line for line in lines if line.strip().startswith("50 nodes: compile ") and line.rstrip().endswith("ms")]


@pytest.mark.stack
def test_the_local_stack_is_measured_from_outside() -> None:
    (section,) = suite.run(TINY, ["stack"])
    found = {row.what: row for row in section.rows}
    assert found["hop latency p50, one run"].value > 0
    assert found["join of 4: start to end"].value > 0
    (slowest,) = [row for what, row in found.items() if what.endswith("slowest answer")]
    assert slowest.met
