"""The agents' queue handler: the agent knows the time its process has left; what is handed on is the same task."""

from __future__ import annotations

import json

import pytest

from chalicelib.engine.task import HandOn
from chalicelib.handlers import workers as handlers
from tests.workers.doubles import message, ports

TASK = json.dumps(message(type="agent"), indent=1)


class Context:
    def get_remaining_time_in_millis(self):
        return 12_345


class Sent:
    def __init__(self):
        self.messages = []

    def send(self, messages):
        self.messages += messages


class Worker:
    def __init__(self, result):
        self.result, self.left = result, None

    def run(self, task):
        self.left = task.time_left_s()
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


@pytest.fixture
def handle(monkeypatch):
    """A function that has the handler work one task with this worker: (answer, messages sent)."""

    def run(worker, context=None):
        sent = Sent()
        monkeypatch.setattr(handlers, "queues", lambda: sent)
        monkeypatch.setattr(handlers, "workers", lambda: {"agent": worker})
        monkeypatch.setattr(handlers, "work_ports", ports)
        record = {"messageId": "m", "receiptHandle": "r", "body": TASK}
        return handlers.agent_worker({"Records": [record]}, context), sent.messages

    monkeypatch.setattr("chalicelib.handlers.batches.settings", lambda: type("S", (), {"partial_batches": True}))
    return run


def test_an_agent_that_is_handed_on_leaves_the_same_task_in_its_queue_and_is_acknowledged(handle):
    answer, sent = handle(Worker(HandOn()), Context())
    assert answer == {"batchItemFailures": []}
    assert [(one.queue, one.body, one.delay_s) for one in sent] == [("tasks-agent", TASK, 0)]


def test_the_agent_knows_how_long_its_process_lives(handle):
    worker = Worker("done")
    handle(worker, Context())
    assert worker.left == 12.345
    handle(worker)
    assert worker.left == float("inf")


def test_an_answer_is_a_signal(handle):
    _, [signal] = handle(Worker("done"))
    assert signal.queue == "completion-signals"
    assert json.loads(signal.body)["result"] == "done"
