"""A journal item as text, and the events that people see of it (SPEC 8)."""

from __future__ import annotations

import json
import re

import pytest

from chalicelib.domain.commit import Arrival, Draft, Emit, Event, body, compact
from chalicelib.domain.ids import Job, Token
from chalicelib.domain.journal import compose, expand, parse_item, timestamp

AT = 1_800_000_000_007
#: What every event has.
COMMON = {"seq", "type", "at", "actor", "data"}
OF_A_NODE = {"node_id", "iteration", "attempt", "loops"}


def item(draft: Draft, events: int, **outcome: object) -> str:
    """The text of commit 7, whose first event is number 40."""
    text = body(draft, commit_id="c7", at=AT, gen="g", graph="h", rev=3, actor="ann")
    return compose(f'"no":7,"id":"c7","seq":40,"n":{events},"prev":[38,"c6"],"out":{compact(outcome)}', text)


def shown(draft: Draft, **outcome: object) -> list[dict]:
    events = expand(item(draft, 0, **outcome), "r1", name)
    assert all(event.keys() >= COMMON for event in events)
    assert [event["seq"] for event in events] == list(range(40, 40 + len(events)))
    return events


def name(job: Job) -> str:
    return f"{job.run_id}/{job.token}/{job.no}/{job.commit}/{job.gen}/{job.rev}/{job.graph}"


def arrival(node: str, kind: str = "t") -> Arrival:
    token = Token(node)
    return Arrival(token.instance, "e", 1, 0, 2, Emit(token, kind), Emit(Token(node, attempt=0), "i", {"skip": 1}))


def test_an_item_is_read_as_it_was_composed() -> None:
    draft = Draft(
        settle=Token("a"), arrivals=[arrival("j"), arrival("k")], events=[Event("node_completed", Token("a"))]
    )
    text = item(draft, 2, f=[2], s=[1], c=["x@#0.1"], k=["y@#0.0"], h=[], l=["z@#0.1"], e="$end@#7.0")
    read = parse_item(text)
    assert (read.no, read.id, read.seq, read.events, read.prev_seq, read.prev_id) == (7, "c7", 40, 2, 38, "c6")
    assert (read.fired, read.skipped, read.cancelled, read.dropped, read.lost) == (
        (1,),
        (0,),
        ("x@#0.1",),
        ("y@#0.0",),
        ("z@#0.1",),
    )
    assert read.end == "$end@#7.0"
    assert json.loads(text)["c"] == read.body
    opened = [emit[0] for emit in read.opened()]
    assert opened == ["j@#0.0", "k@#0.1", "$beaten:z@#0.1", "y@#0.0", "$end@#7.0"]


@pytest.mark.parametrize("empty", [{}, {"f": {}, "s": {}, "c": {}, "k": {}, "h": {}, "l": {}, "e": ""}])
def test_empty_lists_come_from_the_store_as_objects(empty: dict) -> None:
    read = parse_item(item(Draft(events=[Event("run_paused")]), 1, **empty))
    assert (read.fired, read.skipped, read.cancelled, read.dropped, read.held, read.end) == ((), (), (), (), (), "")
    assert list(read.opened()) == []


def test_a_completion_shows_its_node_scope_and_output() -> None:
    token = Token("a", (("outer", 2), ("inner", 5)), None, 0, 3)
    draft = Draft(settle=token, values=[(token, {"s": "COMPLETED", "o": {"n": 1}, "i": 5, "a": 3})])
    draft.events = [Event("node_completed", token, {"metadata": {"t": 1}}, "job")]
    (event,) = shown(draft)
    assert event == {
        "seq": 40,
        "type": "node_completed",
        "at": "2027-01-15T08:00:00.007Z",
        "actor": "ann",
        "node_id": "a",
        "iteration": 5,
        "attempt": 3,
        "loops": {"outer": 2, "inner": 5},
        "job_id": "job",
        "data": {"output": {"n": 1}, "metadata": {"t": 1}},
    }


def test_an_output_that_is_an_artifact_is_shown_by_its_reference() -> None:
    token = Token("a")
    draft = Draft(values=[(token, {"s": "COMPLETED", "r": "artifact://x", "i": 1, "a": 1})])
    draft.events = [Event("node_completed", token, {"output_ref": "artifact://x"})]
    assert shown(draft)[0]["data"] == {"output_ref": "artifact://x"}


@pytest.mark.parametrize("output", [None, False, 0, "", [], {}])
def test_outputs_that_are_empty_are_shown_too(output: object) -> None:
    draft = Draft(values=[(Token("a"), {"s": "COMPLETED", "o": output})], events=[Event("node_completed", Token("a"))])
    assert shown(draft)[0]["data"] == {"output": output}


def test_a_map_item_shows_its_index_and_others_have_none() -> None:
    draft = Draft(events=[Event("node_failed", Token("m", (), 0), {"error": {}}), Event("node_failed", Token("a"))])
    first, second = shown(draft)
    assert first["index"] == 0
    assert "index" not in second
    assert first.keys() == COMMON | OF_A_NODE | {"index"}


def test_an_event_of_the_run_names_no_node() -> None:
    (event,) = shown(Draft(events=[Event("run_paused")]))
    assert event.keys() == COMMON
    assert event["data"] == {}


def test_what_was_started_follows_with_the_job_ids_that_its_messages_carry() -> None:
    draft = Draft(settle=Token("a"), events=[Event("node_completed", Token("a"))])
    draft.emits = [
        Emit(Token("b"), "t"),
        Emit(Token("w"), "w", {"due": 5}),
        Emit(Token("p"), "i"),
        Emit(Token("$retry:x"), "r"),
    ]
    draft.arrivals = [arrival("j"), arrival("q", "i")]
    events = shown(draft, f=[1, 2])
    assert [(event["type"], event["node_id"]) for event in events] == [
        ("node_completed", "a"),
        ("node_dispatched", "b"),
        ("node_waiting", "w"),
        ("node_dispatched", "j"),
    ]
    assert [event.get("job_id") for event in events[1:]] == [f"r1/{token}@#0.1/7/c7/g/3/h" for token in "bwj"]
    assert events[2]["data"] == {"due": 5}


def test_a_commit_that_changes_the_graph_starts_jobs_of_the_new_one() -> None:
    draft = Draft(emits=[Emit(Token("b"), "t")], events=[Event("patch_applied")])
    draft.meta = {"gen": "c7", "graph": "new", "rev": "4"}
    assert shown(draft)[1]["job_id"] == "r1/b@#0.1/7/c7/c7/4/new"


def test_cancelled_tokens_are_shown_and_the_engines_own_are_not() -> None:
    draft = Draft(cancel_all=True, final=True, events=[Event("run_cancelled")])
    events = shown(draft, c=["a@l=2#0.1", "$end@#3.0", "$fan:a:0@#0.1", "b@#0.2"])
    assert [(event["type"], event.get("node_id"), event.get("attempt")) for event in events] == [
        ("run_cancelled", None, None),
        ("node_cancelled", "a", 1),
        ("node_cancelled", "b", 2),
    ]


def test_a_token_that_was_held_back_is_not_shown_as_started() -> None:
    draft = Draft(emits=[Emit(Token("a"), "t"), Emit(Token("b"), "t")], events=[Event("patch_applied")])
    assert [event.get("node_id") for event in shown(draft, h=[1])] == [None, "b"]


def test_an_item_without_anything_to_show_still_shows_something() -> None:
    (event,) = shown(Draft(emits=[Emit(Token("a"), "t")]), h=[1])
    assert (event["type"], event["seq"]) == ("signal_ignored", 40)


def test_events_are_counted_before_they_are_known() -> None:
    """The store numbers events from this count alone; a test of the store holds that they agree."""
    draft = Draft(emits=[Emit(Token("a"), "t"), Emit(Token("b"), "w"), Emit(Token("c"), "i"), Emit(Token("d"), "r")])
    draft.events = [Event("run_started"), Event("node_skipped", Token("e"))]
    text = body(draft, commit_id="c", at=AT, gen="g", graph="h", rev=0, actor="ann")
    assert json.loads(text)["n"] == 4
    assert len(shown(draft)) == 4


TIMES = {
    0: "1970-01-01T00:00:00.000Z",
    1: "1970-01-01T00:00:00.001Z",
    999: "1970-01-01T00:00:00.999Z",
    1_800_000_000_000: "2027-01-15T08:00:00.000Z",
    1_709_164_799_999: "2024-02-28T23:59:59.999Z",
    253_402_300_799_999: "9999-12-31T23:59:59.999Z",
}


@pytest.mark.parametrize(("ms", "text"), TIMES.items())
def test_times_are_rfc_3339_with_milliseconds(ms: int, text: str) -> None:
    assert timestamp(ms) == text


@pytest.mark.parametrize("ms", range(1_800_000_000_000, 1_800_000_001_000, 37))
def test_milliseconds_never_round_into_the_next_second(ms: int) -> None:
    found = re.fullmatch(r"2027-01-15T08:00:00\.(\d{3})Z", timestamp(ms))
    assert found is not None
    assert int(found[1]) == ms % 1000


VALUES = ["\ud800", "a\0b", "ü🎉", 12345678901234567, 1.0, [], {}, None]


@pytest.mark.parametrize("value", VALUES, ids=map(repr, VALUES))
def test_an_items_text_is_ascii_and_gives_values_back(value: object) -> None:
    draft = Draft(settle=Token("a"), vars={"v": value}, values=[(Token("a"), {"s": "COMPLETED", "o": value})])
    draft.events = [Event("node_completed", Token("a"))]
    text = item(draft, 1)
    assert text.isascii()
    assert shown(draft)[0]["data"]["output"] == value
    assert json.loads(parse_item(text).body["vars"][0][1]) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [-float("inf")]}])
def test_what_json_cannot_say_is_never_written(value: object) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        compact(value)
