import math

import pytest

from chalicelib.domain.errors import BadSignal, TaskError
from chalicelib.engine.work import work
from chalicelib.workers.registry import WorkerParts, build_workers
from tests.workers.doubles import StepClock, call, done, message, ports
from tests.workers.servers import serving


def raising(error):
    def handler(params, ctx):
        raise error

    return handler


def returning(value):
    return lambda params, ctx: value


def test_a_completed_task_gives_the_signal_of_the_contract():
    assert done(message("echo", {"a": [1, "é", None]}, trace={"id": "t-1"}, unknown=1)) == {
        "version": "1.0",
        "job_id": "job-1",
        "run_id": "run-1",
        "node_id": "score",
        "status": "completed",
        "result": {"a": [1, "é", None]},
        "metadata": {"duration_ms": 7},
        "trace": {"id": "t-1"},
    }


def test_a_task_without_params_gets_an_empty_object():
    task = message()
    del task["config"]["params"]
    assert done(task)["result"] == {}


@pytest.mark.parametrize("version", ["2.0", "1", 1.0, None])
def test_an_unknown_version_is_refused(version):
    with pytest.raises(BadSignal, match="version") as caught:
        done(message(version=version))
    assert caught.value.problems[0].path == "/version"


@pytest.mark.parametrize("body", [None, [], "x", 1])
def test_what_is_no_object_is_refused(body):
    with pytest.raises(BadSignal):
        done(body)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("job_id", ""),
        ("job_id", None),
        ("run_id", 1),
        ("node_id", "x" * 2000),
        ("type", None),
        ("attempt", 0),
        ("attempt", True),
        ("attempt", "1"),
        ("iteration", -1),
        ("index", 1.5),
        ("deadline", "2026-01-01"),
        ("deadline", "2026-13-01T00:00:00Z"),
        ("deadline", 1.5),
        ("config_ref", 7),
        ("secrets", "x"),
        ("secrets", [1]),
    ],
)
def test_a_wrong_member_is_refused_and_named(name, value):
    with pytest.raises(BadSignal) as caught:
        done(message(**{name: value}))
    assert [p.path for p in caught.value.problems] == [f"/{name}"]


def test_a_task_past_its_deadline_is_dropped_before_any_work():
    ran = []
    on = ports(clock=StepClock(1000, 0))
    assert call(lambda p, c: ran.append(1), on=on, deadline=1000) is None
    assert ran == []
    assert call(lambda p, c: ran.append(1), on=on, deadline=1001)["status"] == "completed"


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:20:00.250Z", 1_200_250),
        ("1970-01-01T01:20:00+01:00", 1_200_000),
        ("1970-01-01t00:20:00z", 1_200_000),
    ],
)
def test_a_deadline_may_be_an_rfc_3339_time(text, ms):
    on = ports(clock=StepClock(ms - 1, 0))
    assert call(lambda p, c: c.deadline, on=on, deadline=text)["result"] == ms
    assert call(lambda p, c: 1, on=ports(clock=StepClock(ms, 0)), deadline=text) is None


def test_a_type_without_a_worker_fails_for_good():
    error = done(message(type="agent"))["error"]
    assert error["type"] == "TaskFailed"
    assert error["retryable"] is False
    assert "'agent'" in error["message"]


@pytest.mark.parametrize("config", [None, [], {}, {"handler": 1}, "x"])
def test_a_config_without_a_handler_fails_for_good(config):
    error = done(message(config=config))["error"]
    assert "/config/handler" in error["message"]
    assert error["retryable"] is False


def test_an_unknown_function_fails_for_good_and_says_where_it_was_looked_for():
    error = done(message("no_such"))["error"]
    assert "'no_such'" in error["message"]
    assert "allowlist" in error["message"]
    assert error["retryable"] is False


# --- context ---


def test_a_function_sees_whose_task_it_works_on():
    def look(params, ctx):
        return [ctx.run_id, ctx.node_id, ctx.job_id, ctx.attempt, ctx.iteration, ctx.index, ctx.deadline]

    assert call(look, attempt=3, iteration=2, index=4, deadline=9_999_999)["result"] == [
        "run-1", "score", "job-1", 3, 2, 4, 9_999_999
    ]  # fmt: skip


def test_the_context_cannot_be_changed():
    def meddle(params, ctx):
        ctx.attempt = 7

    assert call(meddle)["error"]["type"] == "FrozenInstanceError"


def test_patches_add_up_and_travel_with_the_completion():
    def patching(params, ctx):
        ctx.patch([{"op": "add", "path": "/nodes/-", "value": {"id": "x", "type": "pass"}}], "more work")
        ctx.patch(({"op": "remove", "path": "/nodes/y"},), "less work")
        return 1

    signal = call(patching)
    assert [op["op"] for op in signal["patch"]["operations"]] == ["add", "remove"]
    assert signal["patch"]["description"] == "more work; less work"
    assert signal["result"] == 1


def test_a_failed_task_sends_no_patch():
    def patching(params, ctx):
        ctx.patch([{"op": "remove", "path": "/nodes/y"}], "never")
        raise ValueError("after all not")

    assert "patch" not in call(patching)


@pytest.mark.parametrize("operations", ["x", {"op": "add"}, [1], None, [{"op": "add", "value": math.nan}]])
def test_a_malformed_patch_fails_the_task_for_good(operations):
    assert call(lambda p, ctx: ctx.patch(operations, "why"))["error"]["retryable"] is False


def test_a_patch_is_what_it_was_when_it_was_asked_for():
    def patching(params, ctx):
        operation = {"op": "test", "path": "/name", "value": ["a"]}
        ctx.patch([operation], "why")
        operation["value"].append("b")

    assert call(patching)["patch"]["operations"][0]["value"] == ["a"]


def test_a_patch_too_large_for_a_message_fails_for_good():
    error = call(lambda p, ctx: ctx.patch([{"op": "add", "path": "/name", "value": "x" * 200_000}], "big"))["error"]
    assert (error["type"], error["retryable"]) == ("LimitExceeded", False)


def test_heartbeats_go_out_and_a_lost_one_does_not_fail_the_work(caplog):
    beats = []

    def beat(task):
        beats.append(task["callback"]["token"])
        if len(beats) == 2:
            raise OSError("gone")

    def handler(params, ctx):
        for _ in range(3):
            ctx.heartbeat()

    assert call(handler, on=ports(heartbeat=beat))["status"] == "completed"
    assert beats == ["t", "t", "t"]
    assert "heartbeat was not sent" in caplog.text


def test_a_function_that_beats_needs_no_listener():
    assert call(lambda p, ctx: ctx.heartbeat())["status"] == "completed"


# --- every worker of the deployment ---


def test_an_http_task_ends_in_a_signal_with_the_response():
    with serving(lambda h: h.reply(200, b'{"n": 1}', Content_Type="application/json")) as server:
        workers = build_workers(WorkerParts(http_allowlist=[server.door]))
        signal = work(message(type="http", config={"url": server.url}, deadline=1_005_000), workers, ports())
    assert signal["status"] == "completed"
    assert signal["result"]["status"] == 200
    assert signal["result"]["body"] == {"n": 1}


def test_an_http_task_to_a_closed_address_fails_for_good():
    signal = work(message(type="http", config={"url": "http://127.0.0.1/"}), build_workers(WorkerParts()), ports())
    assert signal["error"]["type"] == "AddressRefused"
    assert signal["error"]["retryable"] is False


def test_12_a_task_that_is_waited_for_no_more_is_dropped_where_its_node_wants_it_checked():
    asked, ran = [], []
    task = message("h", check_before_start=True)
    handlers = {"h": lambda params, ctx: ran.append(1)}
    for wanted in (True, False):
        on = ports(wanted=lambda given, answer=wanted: asked.append(given) or answer)
        signal = done(task, handlers, on)
        assert (signal is not None) is wanted
    assert (asked, ran) == ([task, task], [1])


def test_12_nobody_is_asked_where_the_node_does_not_want_it():
    def refuse(given):
        raise AssertionError("it was asked")

    for flag in ({}, {"check_before_start": False}, {"check_before_start": None}):
        assert done(message(**flag), on=ports(wanted=refuse))["status"] == "completed"


def test_12_a_check_that_gets_no_answer_fails_the_attempt_before_the_work_begins():
    ran = []

    def silent(given):
        raise TaskError("ApiUnavailable", "it did not answer")

    for on in (ports(wanted=silent), ports()):
        signal = done(message("h", check_before_start=True), {"h": lambda params, ctx: ran.append(1)}, on)
        assert signal["status"] == "failed"
    assert ran == []
