from __future__ import annotations

import pytest

from chalicelib.api import events
from tests.api.client import Api
from tests.api.documents import LOOP, ONE


def start(api: Api, document: object = ONE) -> str:
    return api.post("runs", {"workflow": document, "input": {"n": 1}}).json["run_id"]


def test_pages_of_events_are_gapless_whatever_their_size(api: Api) -> None:
    run_id = start(api, LOOP)
    api.drain()
    whole = api.get(f"runs/{run_id}/events?limit=1000").json
    assert whole["done"] is True
    assert [event["seq"] for event in whole["events"]] == list(range(1, whole["next"] + 1))
    assert whole["events"][0]["type"] == "run_created"
    assert whole["events"][-1]["type"] == "run_completed"
    assert {"seq", "type", "at", "actor", "node_id", "iteration", "attempt", "job_id", "loops", "data"} <= set(
        next(event for event in whole["events"] if event["type"] == "node_dispatched")
    )
    for limit in (1, 2, 7):
        found, after, done = [], 0, False
        while not done:
            page = api.get(f"runs/{run_id}/events?after={after}&limit={limit}").json
            assert len(page["events"]) <= limit
            found, after, done = found + page["events"], page["next"], page["done"]
        assert found == whole["events"]


def test_after_the_end_there_is_nothing_and_it_is_done(api: Api) -> None:
    run_id = start(api)
    api.drain()
    last = api.get(f"runs/{run_id}/events").json["next"]
    assert api.get(f"runs/{run_id}/events?after={last}&wait=25").json == {"events": [], "next": last, "done": True}


def test_a_long_poll_ends_with_the_first_event(api: Api) -> None:
    run_id = start(api)
    last = api.get(f"runs/{run_id}/events").json["next"]
    pause, looks = api.services.pause, []

    def working_meanwhile(seconds: float) -> None:
        looks.append(seconds)
        pause(seconds)
        if len(looks) == 3:
            api.settle_batch()

    object.__setattr__(api.services, "pause", working_meanwhile)
    page = api.get(f"runs/{run_id}/events?after={last}&wait=20").json
    assert page["events"][0]["type"] == "run_started"
    assert looks[:3] == [0.1, 0.1, 0.1]


def test_a_long_poll_without_events_ends_in_time_and_looks_less_often(api: Api) -> None:
    run_id = start(api)
    last = api.get(f"runs/{run_id}/events").json["next"]
    before = api.clock.now
    assert api.get(f"runs/{run_id}/events?after={last}&wait=10").json == {"events": [], "next": last, "done": False}
    assert 10_000 <= api.clock.now - before < 10_300


def test_long_polls_are_capped_per_tenant(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = start(api)
    monkeypatch.setattr(events, "MAX_POLLS", 0)
    last = api.get(f"runs/{run_id}/events").json["next"]
    reply = api.get(f"runs/{run_id}/events?after={last}&wait=1")
    assert reply.status == 429
    assert reply.headers["Retry-After"] == "25"
    assert api.get(f"runs/{run_id}/events?after={last}").status == 200
    assert not events._polls


def test_a_page_of_large_events_ends_before_the_answer_is_too_large(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_BYTES", 500)
    run_id = start(api, LOOP)
    api.drain()
    page = api.get(f"runs/{run_id}/events?limit=1000").json
    assert 0 < len(page["events"]) < 10
    assert page["done"] is False
    assert page["next"] == page["events"][-1]["seq"]


@pytest.mark.parametrize("query", ["after=-1", "limit=0", "limit=1001", "wait=26", "wait=-1", "wait=nan", "wait=x"])
def test_odd_parameters_are_refused(api: Api, query: str) -> None:
    assert api.get(f"runs/{start(api)}/events?{query}").status == 422
