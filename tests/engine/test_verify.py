from __future__ import annotations

import dataclasses

import pytest

from chalicelib.adapters.redis.keys import run_key
from chalicelib.domain.errors import NotFound
from chalicelib.engine.controls import cancel_run
from chalicelib.engine.supervise import GRACE_MS
from chalicelib.engine.verify import verify_run
from tests.engine.harness import Harness
from tests.engine.test_step import edges, function
from tests.engine.test_supervise import settle_all, sweep_all

DIAMOND = {
    "nodes": [function("a", {"n": 1}), function("b"), function("c"), {"id": "j", "type": "pass"}],
    "edges": edges("a:b", "a:c", "b:j", "c:j"),
}


def codes(harness: Harness, run_id: str) -> list[str]:
    answer = verify_run(harness.services, "acme", run_id)
    assert answer["ok"] == (not answer["differences"])
    return [finding["code"] for finding in answer["differences"]]


def test_a_run_verifies_at_every_step_of_its_life(harness: Harness) -> None:
    run_id = harness.start(DIAMOND)
    steps = 0
    while True:
        assert codes(harness, run_id) == []
        if not (harness.settle_batch() or harness.work_batch()):
            break
        steps += 1
    answer = verify_run(harness.services, "acme", run_id)
    assert steps >= 5
    assert (answer["status"], answer["outstanding"], answer["store"]) == ("COMPLETED", 0, "compared")
    assert answer["events"] == len(harness.events(run_id))
    harness.clock.now += GRACE_MS
    sweep_all(harness)
    assert verify_run(harness.services, "acme", run_id) == {**answer, "store": "absent"}


def test_cancelled_and_looping_runs_verify(harness: Harness) -> None:
    loop = {"condition": "iteration < 3", "max_iterations": 5, "loop_back_to": "a"}
    run_id = harness.run({"nodes": [function("a"), function("b", loop=loop)], "edges": edges("a:b")})["run_id"]
    assert codes(harness, run_id) == []
    run_id = harness.start(DIAMOND)
    settle_all(harness)
    cancel_run(harness.services, run_id, "ann")
    assert codes(harness, run_id) == []


def test_a_store_that_differs_is_found_and_named(harness: Harness) -> None:
    run_id = harness.start(DIAMOND)
    settle_all(harness)
    harness.client.hset(run_key(run_id, "tok"), "ghost@#0.1", "1|c|1|t|g|n|0|")
    [finding] = verify_run(harness.services, "acme", run_id)["differences"]
    assert (finding["code"], finding["where"], finding["journal"]) == ("state_differs", "tok/ghost@#0.1", None)


@pytest.mark.parametrize("place", [1, 2, -2])
def test_a_lost_item_is_found(harness: Harness, place: int) -> None:
    run_id = harness.run(DIAMOND)["run_id"]
    del harness.journal._chains[run_id][place]
    assert "commit_missing" in codes(harness, run_id)


def test_a_forked_chain_is_found(harness: Harness) -> None:
    run_id = harness.run(DIAMOND)["run_id"]
    chain = harness.journal._chains[run_id]
    chain[3] = dataclasses.replace(chain[3], text=chain[3].text.replace(f'"id":"{chain[3].id}"', '"id":"another"'))
    assert "chain_broken" in codes(harness, run_id)


def test_a_token_settled_twice_is_found(harness: Harness) -> None:
    run_id = harness.run(DIAMOND)["run_id"]
    chain = harness.journal._chains[run_id]
    place = next(i for i, item in enumerate(chain) if '"settle":["b@#0.1"' in item.text)
    other = next(i for i, item in enumerate(chain) if '"settle":["c@#0.1"' in item.text)
    late = max(place, other)
    names = ("b@#0.1", "c@#0.1") if late == place else ("c@#0.1", "b@#0.1")
    text = chain[late].text.replace(f'"settle":["{names[0]}"', f'"settle":["{names[1]}"')
    chain[late] = dataclasses.replace(chain[late], text=text)
    assert "settled_twice" in codes(harness, run_id)


def test_another_tenant_cannot_verify_it(harness: Harness) -> None:
    run_id = harness.run(DIAMOND)["run_id"]
    with pytest.raises(NotFound):
        verify_run(harness.services, "other", run_id)
