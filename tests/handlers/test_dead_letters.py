from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from chalicelib.engine.letter_records import listed
from chalicelib.handlers import batches, dead_letters
from tests.engine.conftest import client, redis_server  # noqa: F401 - fixtures
from tests.engine.harness import Harness
from tests.engine.test_dead_letters import CHAIN, fail_with


@pytest.fixture
def harness(client, monkeypatch) -> Harness:  # noqa: F811
    made = Harness(client)
    monkeypatch.setattr(dead_letters, "services", lambda: made.services)
    monkeypatch.setattr(dead_letters, "coordinator", lambda: made.coordinator)
    monkeypatch.setattr(batches, "settings", lambda: SimpleNamespace(partial_batches=True))
    return made


def event(*bodies: str, sent: int = 1_800_000_000_000) -> dict:
    records = [
        {
            "messageId": f"m{number}",
            "receiptHandle": f"r{number}",
            "body": body,
            "attributes": {"SentTimestamp": str(sent), "ApproximateReceiveCount": "6"},
            "eventSourceARN": "arn:aws:sqs:x:1:graft-dev-completion-signals-dlq",
        }
        for number, body in enumerate(bodies)
    ]
    return {"Records": records}


def test_a_batch_names_only_what_must_stay_in_the_queue(harness: Harness) -> None:
    harness.start(CHAIN)
    start = harness.queues.receive("completion-signals")[0].body
    read = harness.store.read
    harness.store.read = fail_with(OSError("Redis is away."))
    answer = dead_letters.dead_signals(event("nonsense", start), None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    harness.store.read = read
    assert dead_letters.dead_signals(event("nonsense", start), None) == {"batchItemFailures": []}


def test_a_letter_keeps_what_the_queue_says_of_it(harness: Harness) -> None:
    assert dead_letters.dead_http_tasks(event("{}"), None) == {"batchItemFailures": []}
    [letter] = listed(harness.services, "acme", 10, None)[0]
    assert (letter["queue"], letter["receives"]) == ("tasks-http", 6)
    assert letter["id"].startswith("001800000000000-")


def test_a_letter_that_cannot_be_recorded_comes_again(harness: Harness) -> None:
    harness.directory.put = fail_with(OSError("The table is away."))
    letter = json.dumps({"reason": "It is odd.", "message": "odd"})
    assert dead_letters.dead_function_tasks(event(letter), None) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert dead_letters.dead_agent_tasks({"Records": []}, None) == {"batchItemFailures": []}
