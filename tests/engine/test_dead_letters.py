from __future__ import annotations

import json

import pytest

from chalicelib.domain.errors import Conflict, NotFound, Unavailable
from chalicelib.engine.dead_letters import GIVE_UP_MS, Arrived, take_in
from chalicelib.engine.letter_records import KEPT_CHARS, Letter, record, redrive
from chalicelib.engine.ports import Outgoing
from tests.engine.dead import letters, spend_receives, take_in_all
from tests.engine.harness import Harness
from tests.engine.test_step import edges, function

CHAIN = {"nodes": [function("a", {"n": 1}), function("b", {"n": 2})], "edges": edges("a:b")}


def settle_all(harness: Harness) -> None:
    while harness.settle_batch():
        pass


def fail_with(error: BaseException):
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_a_signal_whose_steps_all_failed_for_an_outage_is_settled_once_it_is_over(harness: Harness) -> None:
    run_id = harness.start(CHAIN)
    append = harness.journal.append
    harness.journal.append = fail_with(Unavailable("The table is throttled."))
    for _ in range(7):
        for message in harness.queues.receive("completion-signals"):
            with pytest.raises(Unavailable):
                harness.coordinator.handle([message.body])
        harness.clock.now += 31_000
    assert harness.queues.depth("completion-signals") == 0
    assert take_in_all(harness) == 1
    harness.clock.now += 31_000
    harness.journal.append = append
    assert take_in_all(harness) == 0
    harness.drain()
    assert harness.meta(run_id)["status"] == "COMPLETED"
    assert letters(harness) == []
    harness.assert_fold_equals_store(run_id)


def test_a_step_that_committed_and_never_dispatched_is_finished_from_the_dead_letters(harness: Harness) -> None:
    run_id = harness.start(CHAIN)
    send = harness.queues.send
    harness.queues.send = fail_with(Unavailable("SQS does not answer."))
    for _ in range(7):
        for message in harness.queues.receive("completion-signals"):
            assert harness.coordinator.handle([message.body]) == {0}
        harness.clock.now += 31_000
    harness.queues.send = send
    assert [harness.queues.depth(q) for q in ("completion-signals", "completion-signals-dlq")] == [0, 1]
    assert take_in_all(harness) == 0
    harness.drain()
    assert harness.meta(run_id)["status"] == "COMPLETED"
    assert [task["node_id"] for task in harness.tasks] == ["a", "b"]


def test_a_task_that_no_worker_finished_fails_its_token_as_undeliverable(harness: Harness) -> None:
    node = function("a", {"n": 1}, retry={"max_attempts": 5, "backoff_ms": 0})
    run_id = harness.start({"nodes": [node]})
    settle_all(harness)
    spend_receives(harness, "tasks-function")
    assert take_in_all(harness) == 0
    harness.drain()
    error = json.loads(harness.meta(run_id)["error"])
    assert (harness.meta(run_id)["status"], error["type"], error["node_id"]) == ("FAILED", "Undeliverable", "a")
    [letter] = letters(harness)
    assert letter["queue"] == "tasks-function"
    assert letter["origin"] == {"run_id": run_id, "node_id": "a", "attempt": 1}
    assert "no worker finished it" in letter["reason"] and "callback" not in letter["message"]


def test_an_undeliverable_token_takes_its_failure_edge(harness: Harness) -> None:
    document = {"nodes": [function("a"), function("b", {"saved": True})], "edges": edges("a:b:failure")}
    run_id = harness.start(document)
    settle_all(harness)
    spend_receives(harness, "tasks-function")
    take_in_all(harness)
    harness.drain()
    assert harness.output(run_id) == {"b": {"saved": True}}


def test_a_refused_signal_of_a_genuine_job_fails_its_token_with_the_reason(harness: Harness) -> None:
    run_id = harness.start(CHAIN)
    settle_all(harness)
    task = json.loads(harness.queues.receive("tasks-function")[0].body)
    harness.queues.send([Outgoing("completion-signals", json.dumps({"version": "7.0", "job_id": task["job_id"]}))])
    settle_all(harness)
    assert take_in_all(harness) == 0
    settle_all(harness)
    error = json.loads(harness.meta(run_id)["error"])
    assert error["type"] == "Undeliverable" and "'7.0'" in error["message"]
    [letter] = letters(harness)
    assert letter["origin"]["run_id"] == run_id
    assert letters(harness, "other") == []


@pytest.mark.parametrize("body", ["nonsense", "[]", '{"version": "1.0", "job_id": "forged.mac"}', '{"job_id": 7}'])
def test_a_message_of_no_run_is_listed_to_all_admins_without_its_text(harness: Harness, body: str) -> None:
    harness.queues.send([Outgoing("completion-signals", body)])
    settle_all(harness)
    assert take_in_all(harness) == 0
    for tenant in ("acme", "other"):
        [letter] = letters(harness, tenant)
        assert letter["reason"] and letter["message"] is None
        assert letter["origin"] == {"run_id": None, "node_id": None, "attempt": None}


def test_a_token_settled_meanwhile_is_not_failed_by_its_dead_letter(harness: Harness) -> None:
    run_id = harness.start(CHAIN)
    settle_all(harness)
    spent = harness.queues.receive("tasks-function")[0]
    harness.answer(json.loads(spent.body), {"status": "completed", "result": {"n": 1}})
    settle_all(harness)
    letter = Arrived("m9", "tasks-function", spent.body, harness.clock.now_ms(), 6)
    assert take_in(harness.services, harness.coordinator.handle, letter)
    harness.queues.delete("tasks-function", spent.receipt)
    harness.drain()
    assert harness.meta(run_id)["status"] == "COMPLETED"


def test_a_signal_that_crashes_its_step_fails_its_token_and_spoils_no_neighbour(harness: Harness, monkeypatch) -> None:
    runs = [harness.start(CHAIN), harness.start(CHAIN)]
    settle_all(harness)
    harness.work_batch()
    real = harness.coordinator._loader.decide

    def decide(work):
        if work.job.run_id == runs[0] and work.kind == "signal" and work.outcome.error is None:
            raise KeyError("a bug")
        return real(work)

    monkeypatch.setattr(harness.coordinator._loader, "decide", decide)
    for _ in range(7):
        if batch := harness.queues.receive("completion-signals"):
            with pytest.raises(KeyError):
                harness.coordinator.handle([message.body for message in batch])
        harness.clock.now += 31_000
    assert take_in_all(harness) == 0
    harness.drain()
    assert [harness.meta(run_id)["status"] for run_id in runs] == ["FAILED", "COMPLETED"]
    [letter] = letters(harness)
    assert "KeyError" in letter["reason"]
    for run_id in runs:
        harness.assert_fold_equals_store(run_id)


def test_a_token_that_can_be_settled_in_no_way_ends_its_run(harness: Harness, monkeypatch) -> None:
    run_id = harness.start({"nodes": [function("a", {"n": 1}), function("b")]})
    settle_all(harness)
    harness.work_batch()
    monkeypatch.setattr(harness.coordinator._loader, "decide", fail_with(KeyError("a bug")))
    for _ in range(2):  # the signal itself, then the one that fails its token
        for _ in range(7):
            for message in harness.queues.receive("completion-signals"):
                with pytest.raises(KeyError):
                    harness.coordinator.handle([message.body])
            harness.clock.now += 31_000
        assert take_in_all(harness) == 0
    meta = harness.meta(run_id)
    assert (meta["status"], meta["out"]) == ("FAILED", "0")
    assert json.loads(meta["error"])["type"] == "Undeliverable"
    assert harness.directory.get((f"head#{run_id}", "head"))["status"] == "FAILED"
    harness.assert_fold_equals_store(run_id)


def test_a_start_whose_step_crashes_ends_its_run(harness: Harness, monkeypatch) -> None:
    run_id = harness.start(CHAIN)
    body = harness.queues.receive("completion-signals")[0].body
    monkeypatch.setattr(harness.coordinator._loader, "decide", fail_with(ValueError("a bug")))
    letter = Arrived("m1", "completion-signals", body, harness.clock.now_ms(), 6)
    assert take_in(harness.services, harness.coordinator.handle, letter)
    assert harness.meta(run_id)["status"] == "FAILED"


def test_an_outage_of_thirteen_days_is_given_up_with_its_token(harness: Harness) -> None:
    run_id = harness.start(CHAIN)
    settle_all(harness)
    task = json.loads(harness.queues.receive("tasks-function")[0].body)
    body = json.dumps({"version": "1.0", "job_id": task["job_id"], "status": "completed", "result": 1})
    now = harness.clock.now_ms()
    out = fail_with(Unavailable("Redis did not answer."))
    assert not take_in(harness.services, out, Arrived("m1", "completion-signals", body, now, 6))
    assert take_in(harness.services, out, Arrived("m1", "completion-signals", body, now - GIVE_UP_MS, 6))
    settle_all(harness)
    assert harness.meta(run_id)["status"] == "FAILED"
    assert "for days" in letters(harness)[0]["reason"]


def test_taking_in_a_letter_again_records_it_once(harness: Harness) -> None:
    letter = Arrived("m1", "tasks-http", "{}", harness.clock.now_ms(), 6)
    for _ in range(3):
        assert take_in(harness.services, harness.coordinator.handle, letter)
    assert len(letters(harness)) == 1


def test_redrive_puts_a_message_back_as_it_was_and_forgets_it(harness: Harness) -> None:
    harness.queues.send([Outgoing("tasks-function", '{"odd": "task"}'), Outgoing("completion-signals", "nonsense")])
    spend_receives(harness, "tasks-function")
    settle_all(harness)
    take_in_all(harness)
    by_queue = {letter["queue"]: letter["id"] for letter in letters(harness)}
    redrive(harness.services, "acme", [by_queue["tasks-function"]])
    assert harness.queues.bodies("tasks-function") == ['{"odd": "task"}']
    assert [letter["queue"] for letter in letters(harness)] == ["completion-signals"]
    assert redrive(harness.services, "acme", None).done == [by_queue["completion-signals"]]
    assert harness.queues.bodies("completion-signals") == ["nonsense"]
    assert letters(harness) == []
    with pytest.raises(NotFound):
        redrive(harness.services, "acme", [by_queue["tasks-function"]])


def test_an_unknown_letter_keeps_the_others_where_they_are(harness: Harness) -> None:
    take_in(harness.services, harness.coordinator.handle, Arrived("m1", "tasks-http", "{}", 5, 6))
    [letter] = letters(harness)
    with pytest.raises(NotFound):
        redrive(harness.services, "acme", [letter["id"], "none"])
    assert letters(harness) == [letter] and harness.queues.depth("tasks-http") == 0


def test_a_message_kept_in_part_is_not_put_back(harness: Harness) -> None:
    record(harness.services, Letter("m1", "tasks-http", "too long", "x" * (KEPT_CHARS + 1), 5, 6, None))
    [letter] = letters(harness)
    assert letter["redrivable"] is False
    with pytest.raises(Conflict):
        redrive(harness.services, "acme", [letter["id"]])
    assert redrive(harness.services, "acme", None).kept == [letter["id"]]


def test_pages_of_letters_are_newest_first_and_complete(harness: Harness) -> None:
    from chalicelib.engine.letter_records import listed

    for number in range(7):
        record(harness.services, Letter(f"m{number}", "tasks-http", "why", "{}", 1000 + number, 6, None))
    seen, after = [], None
    while True:
        page, after = listed(harness.services, "acme", 3, after)
        seen += [letter["id"] for letter in page]
        if after is None:
            break
    assert len(seen) == 7 and seen == sorted(seen, reverse=True)
