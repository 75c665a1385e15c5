"""Messages of every kind that nobody should send: none is lost, none hurts its neighbours, none raises."""

from __future__ import annotations

import json
import random

import pytest

from chalicelib.domain.ids import Job, Token, job_id, parse_job_id
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.signals import continue_text, wake_text
from tests.engine.harness import SECRET, Harness
from tests.engine.test_step import edges, function

DLQ = "completion-signals-dlq"
SIGNALS = "completion-signals"


def settle(harness: Harness) -> None:
    while harness.settle_batch():
        pass


def begin(harness: Harness, *more: dict, **document: object) -> dict:
    """A run whose only task is at its worker; its task message."""
    harness.start({"nodes": [function("a"), *more], **document})
    settle(harness)
    (message,) = harness.queues.receive("tasks-function")
    harness.queues.delete("tasks-function", message.receipt)
    return json.loads(message.body)


def signal(task: dict, **members: object) -> dict:
    names = {name: task[name] for name in ("job_id", "run_id", "node_id")}
    return {"version": "1.0", **names, "status": "completed", "result": None, **members}


def text(task: dict, **members: object) -> str:
    return json.dumps(signal(task, **members))


def letters(harness: Harness) -> list[dict]:
    return [json.loads(body) for body in harness.queues.bodies(DLQ)]


def forged(task: dict, secret: bytes = b"another deployment", **fields: object) -> str:
    job = parse_job_id(task["job_id"], SECRET)
    known = {name: getattr(job, name) for name in Job.__slots__}
    return job_id(Job(**{**known, **fields}), secret)


def tampered(task: dict) -> str:
    body, _, mac = task["job_id"].rpartition(".")
    return f"{body[:-2]}AA.{mac}"


REFUSED = {
    "nothing": lambda task: ("", "not JSON"),
    "no JSON": lambda task: ("{", "not JSON"),
    "two values": lambda task: (text(task) + text(task), "not JSON"),
    "too deep": lambda task: ("[" * 100_000, "not JSON"),
    "bytes that were replaced": lambda task: ("\ufffd\ufffd{\0}", "not JSON"),
    "a list": lambda task: ("[]", "not a JSON object"),
    "a text": lambda task: ('"1.0"', "not a JSON object"),
    "null": lambda task: ("null", "not a JSON object"),
    "no version": lambda task: ("{}", "version None is not known"),
    "a newer version": lambda task: (text(task, version="2.0"), "version '2.0' is not known"),
    "a version that is a number": lambda task: (text(task, version=1.0), "version 1.0 is not known"),
    "a version that is a list": lambda task: (text(task, version=["1.0"]), "is not known"),
    "no job id": lambda task: ('{"version":"1.0"}', "job_id"),
    "a job id that is null": lambda task: (text(task, job_id=None), "job_id is not an id"),
    "a job id that is a number": lambda task: (text(task, job_id=7), "job_id is not an id"),
    "a job id that is an object": lambda task: (text(task, job_id={}), "job_id is not an id"),
    "a job id of no base64": lambda task: (text(task, job_id="a.b"), "job_id"),
    "a job id that is not ASCII": lambda task: (text(task, job_id="ü.ü"), "job_id is not an id"),
    "a job id with half a surrogate pair": lambda task: (text(task, job_id="\ud800.x"), "job_id is not an id"),
    "a long job id": lambda task: (text(task, job_id="a" * 5000), "job_id is not an id"),
    "a forged MAC": lambda task: (text(task, job_id=task["job_id"][:-1] + "x"), "wrong MAC"),
    "no MAC": lambda task: (text(task, job_id=task["job_id"].rpartition(".")[0]), "MAC"),
    "tampered": lambda task: (text(task, job_id=tampered(task)), "wrong MAC"),
    "another deployment's secret": lambda task: (text(task, job_id=forged(task)), "wrong MAC"),
    "another run's id": lambda task: (text(task, run_id="another"), "run_id 'another' does not belong"),
    "another node's id": lambda task: (text(task, node_id="b"), "node_id 'b' does not belong"),
    "a run id that is a list": lambda task: (text(task, run_id=[]), "run_id [] does not belong"),
    "an inline token": lambda task: (
        text(task, job_id=forged(task, SECRET, token=Token("$start").text), node_id="$start"),
        "not a task's",
    ),
    "a skip": lambda task: (text(task, job_id=forged(task, SECRET, token="a@#0.0")), "not a task's"),
    "a token that is none": lambda task: (text(task, job_id=forged(task, SECRET, token="a")), "not a token key"),
    "no jobs to go on with": lambda task: ('{"version":"1.0","kind":"continue"}', "list of job ids"),
    "jobs that are none": lambda task: ('{"version":"1.0","kind":"continue","jobs":[1]}', "job_id is not an id"),
    "a wake-up of nobody": lambda task: ('{"version":"1.0","kind":"wake"}', "job_id"),
    "an expiry without a reason": lambda task: (text(task, kind="expired"), "reason None"),
    "an expiry of another reason": lambda task: (text(task, kind="expired", reason="Boredom"), "reason 'Boredom'"),
    "an expiry whose reason is a list": lambda task: (text(task, kind="expired", reason=[]), "reason []"),
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_a_message_that_can_never_be_processed_is_a_dead_letter_with_its_reason(make, harness: Harness) -> None:
    task = begin(harness, function("b"), edges=edges("a:b"))
    message, reason = make(task)
    assert harness.coordinator.handle([message]) == set()
    (letter,) = letters(harness)
    assert reason in letter["reason"]
    assert letter["message"] == message[:65536]
    harness.answer(task, {"status": "completed", "result": 1})
    harness.drain()
    assert harness.meta(task["run_id"])["status"] == "COMPLETED"


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_neighbours_of_a_refused_message_are_settled(make, harness: Harness) -> None:
    tasks = [begin(harness) for _ in range(2)]
    message, _ = make(tasks[0])
    assert harness.coordinator.handle([text(tasks[0], result=1), message, text(tasks[1], result=2)]) == set()
    assert len(letters(harness)) == 1
    assert [harness.output(task["run_id"]) for task in tasks] == [{"a": 1}, {"a": 2}]


NAN = '{"version":"1.0","job_id":"%s","status":"completed","result":%s}'
UNDELIVERABLE = {
    "an unknown status": (lambda t: text(t, status="done"), "'done' is neither"),
    "no status": (lambda t: text(t, status=None), "None is neither"),
    "a status that is a list": (lambda t: text(t, status=["completed"]), "is neither"),
    "NaN": (lambda t: NAN % (t["job_id"], "NaN"), "NaN"),
    "Infinity inside": (lambda t: NAN % (t["job_id"], '{"a":[-Infinity]}'), "Infinity"),
    "a number past all doubles": (lambda t: NAN % (t["job_id"], "1e999"), "Infinity"),
    "a reference to nothing stored": (
        lambda t: text(t, result_ref="artifact://sha256/" + "0" * 64),
        "0000 is not stored",
    ),
    "a reference of another kind": (lambda t: text(t, result_ref="s3://bucket/key"), "result_ref is not"),
    "a reference that is a number": (lambda t: text(t, result_ref=7), "result_ref is not"),
    "a reference with more behind it": (
        lambda t: text(t, result_ref="artifact://sha256/" + "0" * 64 + "\n"),
        "result_ref is not",
    ),
}


@pytest.mark.parametrize(("make", "reason"), UNDELIVERABLE.values(), ids=UNDELIVERABLE)
def test_a_signal_that_breaks_the_format_fails_its_token_as_undeliverable(make, reason, harness: Harness) -> None:
    task = begin(harness)
    neighbour = begin(harness)
    assert harness.coordinator.handle([make(task), text(neighbour, result=1)]) == set()
    meta = harness.meta(task["run_id"])
    assert meta["status"] == "FAILED"
    error = json.loads(meta["error"])
    assert (error["type"], error["retryable"], error["node_id"]) == ("Undeliverable", False, "a")
    assert reason in error["message"]
    assert harness.meta(neighbour["run_id"])["status"] == "COMPLETED"
    assert letters(harness) == []
    harness.assert_fold_equals_store(task["run_id"])


def test_an_undeliverable_result_is_handled_by_a_failure_edge_and_not_retried(harness: Harness) -> None:
    harness.start({"nodes": [function("a", retry={"max_attempts": 3}), function("b")], "edges": edges("a:b:failure")})
    settle(harness)
    (message,) = harness.queues.receive("tasks-function")
    task = json.loads(message.body)
    harness.queues.delete("tasks-function", message.receipt)
    harness.coordinator.handle([text(task, status="odd")])
    harness.drain()
    assert harness.meta(task["run_id"])["status"] == "COMPLETED"
    assert [task["node_id"] for task in harness.tasks] == ["b"]


ERRORS = {
    "none": (None, "TaskFailed", "The worker gave no reason.", True),
    "an object": ({"type": "Boom", "message": "no", "retryable": False}, "Boom", "no", False),
    "empty": ({}, "TaskFailed", "", True),
    "a text": ("it broke", "TaskFailed", "it broke", True),
    "a number": (7, "TaskFailed", "7", True),
    "a list": (["a"], "TaskFailed", "['a']", True),
    "members of other types": ({"type": 1, "message": {"a": 1}, "retryable": "no"}, "1", "{'a': 1}", True),
    "null members": ({"type": None, "message": None, "retryable": None}, "TaskFailed", "", True),
    "an empty type": ({"type": "", "message": "m"}, "TaskFailed", "m", True),
    "half a surrogate pair": ({"type": "\ud800", "message": "\udfff"}, "\ud800", "\udfff", True),
    "much text": ({"type": "T" * 5000, "message": "m" * 100_000}, "T" * 200, "m" * 4096, True),
}


@pytest.mark.parametrize(("given", "kind", "message", "retryable"), ERRORS.values(), ids=ERRORS)
def test_errors_of_any_shape_fail_the_node(given, kind, message, retryable, harness: Harness) -> None:
    task = begin(harness)
    assert harness.coordinator.handle([text(task, status="failed", error=given)]) == set()
    error = json.loads(harness.meta(task["run_id"])["error"])
    assert error == {"type": kind, "message": message, "retryable": retryable, "node_id": "a"}
    harness.assert_fold_equals_store(task["run_id"])


def nested(depth: int) -> object:
    value: object = 1
    for i in range(depth):
        value = [value] if i % 2 else {"a": value}
    return value


RESULTS = {
    "null": None,
    "half a surrogate pair": {"\ud800": "\udc00\ud800"},
    "a NUL": "a\0b",
    "replaced bytes": "\ufffd\ufffd",
    "a big integer": 1234567890123456789,
    "empty things": [[], {}, "", [[]]],
    "deep": nested(150),
    "many keys": {str(i): i for i in range(2000)},
    "64 KiB": "x" * (64 * 1024 - 2),
    "what looks like a template": "${secret.KEY} ${1/0}",
}


@pytest.mark.parametrize("value", RESULTS.values(), ids=RESULTS)
def test_a_result_of_any_json_reaches_the_next_node_as_it_was(value, harness: Harness) -> None:
    document = {"nodes": [function("a"), function("b", {"v": "${output}"})], "edges": edges("a:b")}
    harness.worker = lambda task: {
        "status": "completed",
        "result": value if task["node_id"] == "a" else task["config"]["params"]["v"],
    }
    run = harness.run(document)
    assert run["status"] == "COMPLETED", run.get("error")
    assert harness.output(run["run_id"]) == {"b": value}
    harness.assert_fold_equals_store(run["run_id"])


@pytest.mark.parametrize("depth", [199, 201, 900, 1200, 5000, 100_000])
def test_a_result_nested_past_reason_breaks_nothing(depth: int, harness: Harness) -> None:
    task, neighbour = begin(harness), begin(harness)
    message = NAN % (task["job_id"], "[" * depth + "]" * depth)
    assert harness.coordinator.handle([message, text(neighbour, result=1)]) == set()
    assert harness.meta(neighbour["run_id"])["status"] == "COMPLETED"
    meta = harness.meta(task["run_id"])
    if depth < 200:
        assert meta["status"] == "COMPLETED"
    else:
        assert "nests lists and objects" in meta.get("error", "") or len(letters(harness)) == 1


@pytest.mark.parametrize("digits", [5000, 100_000])
def test_an_integer_of_many_digits_breaks_nothing(digits: int, harness: Harness) -> None:
    task, neighbour = begin(harness), begin(harness)
    message = NAN % (task["job_id"], "9" * digits)
    assert harness.coordinator.handle([message, text(neighbour, result=1)]) == set()
    assert harness.meta(neighbour["run_id"])["status"] == "COMPLETED"
    assert len(letters(harness)) == 1 or harness.meta(task["run_id"])["status"] == "FAILED"


@pytest.mark.parametrize("value", ["x" * 65_535, {"a": "é" * 40_000}], ids=["text", "escaped"])
def test_a_result_past_the_inline_size_becomes_an_artifact(value, harness: Harness) -> None:
    document = {
        "nodes": [function("a"), function("b", {"n": "${size(string(output.a)) if false else 1}"})],
        "edges": edges("a:b"),
    }
    document["nodes"][1] = function("b", {"same": "${output == ctx.a.output}"})
    harness.worker = lambda task: {
        "status": "completed",
        "result": value if task["node_id"] == "a" else task["config"]["params"],
    }
    run = harness.run(document)
    assert json.loads(run["output"]) == {"b": {"same": True}}
    record = json.loads(harness.store.snapshot(run["run_id"])["val"]["a@#0"].split("|", 1)[1])
    assert "o" not in record
    assert json.loads(harness.artifacts.get(record["r"])) == value
    harness.assert_fold_equals_store(run["run_id"])


def test_a_stored_artifact_is_accepted_as_a_result_and_read_where_it_is_needed(harness: Harness) -> None:
    ref = harness.artifacts.put(b'{"n":41}')
    task = begin(harness, function("b", "${output.n + 1}"), edges=edges("a:b"))
    assert harness.coordinator.handle([json.dumps({**signal(task), "result_ref": ref})]) == set()
    harness.drain()
    assert harness.output(task["run_id"]) == {"b": 42}


@pytest.mark.parametrize("body", [b"", b"no JSON", b"\xff\xfe", b"NaN", b"[" * 100_000])
def test_an_artifact_that_is_no_json_hurts_its_own_run_alone(body: bytes, harness: Harness) -> None:
    ref = harness.artifacts.put(body)
    task = begin(harness, function("b", "${output.n}"), edges=edges("a:b"))
    neighbour = begin(harness)
    messages = [json.dumps({**signal(task), "result_ref": ref}), text(neighbour, result=1)]
    assert 1 not in harness.coordinator.handle(messages)
    assert harness.meta(neighbour["run_id"])["status"] == "COMPLETED"
    settle(harness)
    error = json.loads(harness.meta(task["run_id"])["error"])
    assert (error["type"], error["node_id"]) == ("TemplateError", "b")


def test_an_artifact_that_is_no_json_reads_as_its_text(harness: Harness) -> None:
    ref = harness.artifacts.put(b"id,name\n1,\xff")
    branch = {"rules": [{"condition": "output.startsWith('id')", "next_nodes": ["b"]}]}
    harness.start({"nodes": [function("a", branch=branch), function("b", "${ctx.a.output}")]})
    settle(harness)
    task = json.loads(harness.queues.receive("tasks-function")[0].body)
    assert harness.coordinator.handle([json.dumps({**signal(task), "result_ref": ref})]) == set()
    harness.drain()
    assert harness.output(task["run_id"]) == {"b": "id,name\n1,\ufffd"}


def test_what_is_said_about_a_result_by_reference_is_kept_where_it_is_read(harness: Harness) -> None:
    branch = {"rules": [{"condition": "output.n > 40", "next_nodes": ["b"]}]}
    harness.start({"nodes": [function("a", branch=branch), function("b")]})
    settle(harness)
    task = json.loads(harness.queues.receive("tasks-function")[0].body)
    ref = harness.artifacts.put(b'{"n":41}')
    harness.coordinator.handle([json.dumps({**signal(task), "result_ref": ref, "metadata": {"tokens_used": 9}})])
    (done,) = [event for event in harness.events(task["run_id"]) if event["type"] == "node_completed"]
    assert done["data"] == {"output_ref": ref, "metadata": {"tokens_used": 9}}


def test_an_artifact_that_is_gone_holds_up_its_own_signal_alone(harness: Harness) -> None:
    branch = {"rules": [{"condition": "ctx.a.output.n > 40", "next_nodes": ["c"]}]}
    task = begin(harness, function("b", branch=branch), function("c"), edges=edges("a:b"))
    ref = harness.artifacts.put(b'{"n":41}')
    harness.coordinator.handle([json.dumps({**signal(task), "result_ref": ref})])
    task = json.loads(harness.queues.receive("tasks-function")[0].body)
    body = harness.artifacts._bodies.pop(ref.rpartition("/")[2])
    neighbour = begin(harness)
    messages = [text(task), text(neighbour, result=1)]
    assert harness.coordinator.handle(messages) == {0}
    assert harness.meta(neighbour["run_id"])["status"] == "COMPLETED"
    harness.artifacts._bodies[ref.rpartition("/")[2]] = body
    assert harness.coordinator.handle(messages) == set()
    harness.drain()
    assert harness.meta(task["run_id"])["status"] == "COMPLETED"


@pytest.mark.parametrize(
    "metadata", [None, [], "text", 7, {"tokens_used": "many"}, {"a": nested(100)}, {"\ud800": 1}, {"a": float("nan")}]
)
def test_metadata_of_any_shape_is_taken_or_left(metadata, harness: Harness) -> None:
    task = begin(harness)
    assert harness.coordinator.handle([text(task, result=1, metadata=metadata)]) == set()
    assert harness.meta(task["run_id"])["status"] == "COMPLETED"


def test_unknown_members_are_no_error(harness: Harness) -> None:
    task = begin(harness)
    assert harness.coordinator.handle([text(task, result=1, more={"a": 1}, index=7, attempt=99)]) == set()
    assert harness.output(task["run_id"]) == {"a": 1}


def test_random_bytes_are_dead_letters_every_one(harness: Harness) -> None:
    rng = random.Random(7)
    task = begin(harness)
    good = text(task, result=1)
    broken = []
    for _ in range(60):
        at = rng.randrange(len(good))
        broken.append(good[:at] + rng.choice(["", "\0", '"', "}", "\udfff", "é", "[", "0"]) + good[at + 1 :])
    for start in range(0, 60, 10):
        assert harness.coordinator.handle(broken[start : start + 10]) <= set(range(10))
    harness.coordinator.handle([good])
    harness.drain()
    assert harness.meta(task["run_id"])["status"] in ("COMPLETED", "FAILED")
    harness.assert_fold_equals_store(task["run_id"])


DIAMOND = {
    "nodes": [
        function("a", {"v": 1}),
        function("b", {"v": "${output.v + 1}"}),
        function("c", {"v": "${output.v + 2}"}),
        function("d", {"b": "${ctx.b.output.v}", "c": "${ctx.c.output.v}"}),
    ],
    "edges": edges("a:b", "a:c", "b:d", "c:d"),
}


@pytest.mark.parametrize("seed", range(8))
def test_signals_late_repeated_and_out_of_order_change_nothing(seed: int, harness: Harness) -> None:
    rng = random.Random(seed)
    run_id = harness.start(DIAMOND)
    sent: list[str] = []
    while harness.meta(run_id)["status"] in ("PENDING", "RUNNING"):
        harness.work_batch()
        fresh = [(m.receipt, m.body) for m in harness.queues.receive(SIGNALS)]
        sent += [body for _, body in fresh]
        batch = [body for _, body in fresh] + [rng.choice(sent) for _ in range(3) if sent]
        rng.shuffle(batch)
        assert harness.coordinator.handle(batch) == set()
        for receipt, _ in fresh:
            harness.queues.delete(SIGNALS, receipt)
    before, events = harness.store.snapshot(run_id), harness.events(run_id)
    assert harness.output(run_id) == {"d": {"b": 2, "c": 3}}
    assert {task["job_id"] for task in harness.tasks} == {task["job_id"] for task in harness.tasks}
    assert len({task["job_id"] for task in harness.tasks}) == 4
    rng.shuffle(sent)
    assert harness.coordinator.handle(sent) == set()
    assert harness.store.snapshot(run_id) == before
    assert harness.events(run_id) == events
    completed = [event["node_id"] for event in events if event["type"] == "node_completed"]
    assert sorted(completed) == ["a", "b", "c", "d"]


def test_a_second_answer_of_another_kind_does_not_change_the_first(harness: Harness) -> None:
    task = begin(harness, function("b"), edges=edges("a:b"))
    first = text(task, result="first")
    second = text(task, status="failed", error={"type": "Boom"})
    assert harness.coordinator.handle([first, second, first]) == set()
    harness.drain()
    assert [event["type"] for event in harness.events(task["run_id"]) if event.get("node_id") == "a"] == [
        "node_dispatched",
        "node_completed",
    ]


def test_a_signal_of_an_attempt_that_was_given_up_is_ignored(harness: Harness) -> None:
    document = {"nodes": [function("a", retry={"max_attempts": 2, "backoff_ms": 0})]}
    harness.start(document)
    settle(harness)
    (message,) = harness.queues.receive("tasks-function")
    harness.queues.delete("tasks-function", message.receipt)
    old = json.loads(message.body)
    harness.coordinator.handle([text(old, status="failed", error={"type": "Boom"})])
    harness.coordinator.handle([text(old, result="late")])
    harness.drain()
    harness.coordinator.handle([text(old, result="later")])
    assert harness.output(old["run_id"]) == {"a": None}
    assert {task["attempt"] for task in harness.tasks} == {2}


def test_a_well_signed_job_that_never_was_changes_nothing(harness: Harness) -> None:
    """Only this deployment can sign; what a bug or a rollback signed must not start or end anything."""
    task = begin(harness)
    before = harness.store.snapshot(task["run_id"])
    never = [forged(task, SECRET, token="zz@#0.1"), forged(task, SECRET, token="a@#0.7", no=999)]
    for name in never:
        failed = harness.coordinator.handle([json.dumps({"version": "1.0", "job_id": name, "status": "completed"})])
        assert failed <= {0}
    after = harness.store.snapshot(task["run_id"])
    assert (after["tok"], after["done"], after["val"]) == (before["tok"], before["done"], before["val"])


def test_a_signal_of_a_run_that_never_was_is_done_with(harness: Harness) -> None:
    task = begin(harness)
    name = forged(task, SECRET, run_id="never")
    message = json.dumps({"version": "1.0", "job_id": name, "status": "completed"})
    assert harness.coordinator.handle([message]) == set()
    assert harness.store.snapshot("never") is None
    assert harness.journal.read("never") == []


def test_wakes_and_continues_that_come_again_change_nothing(harness: Harness) -> None:
    run_id = harness.start({"nodes": [{"id": "w", "type": "wait", "config": {"seconds": 60}}]})
    (start,) = harness.queues.bodies(SIGNALS)
    settle(harness)
    (wake,) = harness.queues.bodies(SIGNALS)
    assert harness.coordinator.handle([start, wake, start]) == set()
    assert harness.meta(run_id)["status"] == "RUNNING"
    harness.drain()
    assert harness.meta(run_id)["status"] == "COMPLETED"
    before = harness.store.snapshot(run_id)
    assert harness.coordinator.handle([wake, start, wake]) == set()
    assert harness.store.snapshot(run_id) == before


def test_a_signal_cannot_settle_a_timer_early(harness: Harness) -> None:
    run_id = harness.start({"nodes": [{"id": "w", "type": "wait", "config": {"seconds": 60}}]})
    settle(harness)
    (wake,) = harness.queues.bodies(SIGNALS)
    assert harness.coordinator.handle([wake, wake]) == set()
    assert harness.meta(run_id)["status"] == "RUNNING"
    assert wake == wake_text(json.loads(wake)["job_id"])


def test_a_continue_of_a_task_sends_the_task_again_and_settles_nothing(harness: Harness) -> None:
    task = begin(harness)
    assert harness.coordinator.handle([continue_text([task["job_id"]])]) == set()
    assert harness.meta(task["run_id"])["status"] == "RUNNING"
    (body,) = harness.queues.bodies("tasks-function")
    assert json.loads(body) == task


def test_a_heartbeat_of_nobody_or_of_a_node_without_one_is_harmless(harness: Harness) -> None:
    task = begin(harness)
    for name in (task["job_id"], forged(task, SECRET, run_id="never"), forged(task, SECRET, token="zz@#0.1")):
        assert (
            harness.coordinator.handle([json.dumps({"version": "1.0", "kind": "heartbeat", "job_id": name})]) == set()
        )
    unknown = forged(task, SECRET, graph="0" * 64)
    neighbour = text(task, result=1)
    failed = harness.coordinator.handle(
        [json.dumps({"version": "1.0", "kind": "heartbeat", "job_id": unknown}), neighbour]
    )
    assert 1 not in failed
    assert harness.meta(task["run_id"])["status"] == "COMPLETED"


def test_a_job_of_a_graph_that_is_gone_fails_alone(harness: Harness) -> None:
    task = begin(harness)
    unknown = forged(task, SECRET, graph="0" * 64)
    message = json.dumps({"version": "1.0", "job_id": unknown, "status": "completed"})
    failed = harness.coordinator.handle([message, text(task, result=1)])
    assert failed <= {0}
    assert harness.meta(task["run_id"])["status"] == "COMPLETED"


def test_a_message_goes_to_the_dead_letters_only_once_the_rest_of_its_batch_is_safe(harness: Harness) -> None:
    task = begin(harness)
    harness.queues.send([Outgoing(SIGNALS, "no JSON"), Outgoing(SIGNALS, text(task, result=1))])
    settle(harness)
    assert harness.queues.bodies(SIGNALS) == []
    assert len(letters(harness)) == 1
