import io
import json
import logging
import time

import pytest

from chalicelib.adapters.lambda_invoker import BotoLambdaInvoker, lambda_client
from chalicelib.domain.errors import ConfigurationError
from chalicelib.engine.work import work
from chalicelib.functions import HANDLERS, Context, TaskError, function
from chalicelib.workers.registry import WORKERS, WorkerParts, build_workers
from tests.workers.doubles import done, message, ports


@pytest.fixture
def own_registry(monkeypatch):
    """Names registered by a test are forgotten after it."""
    monkeypatch.setattr("chalicelib.functions.registry._HANDLERS", dict(HANDLERS))


def test_a_decorated_function_is_found_by_its_name_and_stays_callable(own_registry):
    from chalicelib.functions import registry

    @function("score.order-1")
    def score(params, ctx):
        return params["n"] * ctx.attempt

    assert registry._HANDLERS["score.order-1"] is score
    assert score({"n": 2}, Context("r", "n", "j", attempt=3)) == 6


def test_a_name_can_be_registered_once_only():
    with pytest.raises(ConfigurationError, match=r"already registered by chalicelib\.functions\.builtin\.echo"):
        function("echo")(lambda params, ctx: None)
    assert HANDLERS["echo"].__name__ == "echo"


@pytest.mark.parametrize("name", ["", "1st", "a b", "a/b", "é", "x" * 65, None, lambda params, ctx: None])
def test_a_malformed_name_is_refused(name):
    with pytest.raises(ConfigurationError, match="no function name"):
        function(name)


def test_a_function_that_cannot_be_called_with_params_and_ctx_is_refused():
    async def coroutine(params, ctx):
        return None

    for handler, why in ((lambda: 1, "params, ctx"), (lambda params: 1, "params, ctx"), (coroutine, "coroutine")):
        with pytest.raises(ConfigurationError, match=why):
            function("never_registered")(handler)
    assert "never_registered" not in HANDLERS


def test_every_module_of_the_package_is_imported(tmp_path, monkeypatch, own_registry):
    import importlib

    import chalicelib.functions as package

    (tmp_path / "added_by_user.py").write_text(
        "from chalicelib.functions import TaskError, function\n\n"
        "@function('added_by_user')\ndef added(params, ctx):\n    return 'here'\n"
    )
    monkeypatch.setattr(package, "__path__", [str(tmp_path)])
    imported = package.import_all()
    assert imported == ["chalicelib.functions.added_by_user"]
    from chalicelib.functions import registry

    assert registry._HANDLERS["added_by_user"](None, None) == "here"
    import sys

    monkeypatch.delitem(sys.modules, "chalicelib.functions.added_by_user")
    importlib.invalidate_caches()


def test_the_functions_that_come_with_graft_are_registered():
    assert {"echo", "sleep", "flaky", "send_email"} <= HANDLERS.keys()


@pytest.mark.parametrize(("attempt", "fails"), [(1, True), (2, True), (3, False)])
def test_flaky_fails_its_first_attempts_and_then_returns_its_params(attempt, fails):
    params = {"failures": 2, "type": "Busy", "retryable": False, "x": 1}
    signal = done(message("flaky", params, attempt=attempt))
    if fails:
        assert (signal["error"]["type"], signal["error"]["retryable"]) == ("Busy", False)
    else:
        assert signal["result"] == params


def test_flaky_is_retryable_and_taskfailed_unless_told_otherwise():
    error = done(message("flaky", {"failures": 1}))["error"]
    assert (error["type"], error["retryable"]) == ("TaskFailed", True)


def test_sleep_waits_and_returns_its_params():
    began = time.monotonic()
    assert done(message("sleep", {"ms": 60, "x": 1}))["result"] == {"ms": 60, "x": 1}
    assert time.monotonic() - began >= 0.06


def test_sleep_ends_at_the_deadline_as_a_timeout():
    began = time.monotonic()
    deadline = int(time.time() * 1000) + 100
    error = done(message("sleep", {"ms": 60_000}, deadline=deadline))["error"]
    assert error["type"] == "Timeout"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("handler", "params"),
    [
        ("sleep", {"ms": -1}),
        ("sleep", {"ms": "1"}),
        ("sleep", {"ms": True}),
        ("sleep", {"ms": 1e300}),
        ("sleep", None),
        ("flaky", {"failures": "x"}),
        ("flaky", {"type": 1}),
        ("flaky", {"retryable": "no"}),
        ("flaky", [1]),
        ("send_email", "x"),
    ],
)
def test_wrong_params_of_the_built_in_functions_fail_for_good(handler, params):
    error = done(message(handler, params))["error"]
    assert "/config/params" in error["message"]
    assert error["retryable"] is False


def test_send_email_logs_what_it_would_send(caplog):
    with caplog.at_level(logging.INFO):
        signal = done(message("send_email", {"to": "a@example.com", "subject": "Hi", "body": "There"}))
    assert signal["result"] == {"to": "a@example.com", "subject": "Hi", "logged": True}
    assert "to=a@example.com subject=Hi body=There" in caplog.text


# --- Lambda functions ---


class RecordingInvoker:
    def __init__(self, answer):
        self.answer, self.calls = answer, []

    def invoke(self, name, payload):
        self.calls.append((name, payload))
        return self.answer


def through_lambda(invoker, handler, allow):
    workers = build_workers(WorkerParts(lambda_allowlist=allow, lambda_invoker=invoker))
    return work(message(handler, {"a": 1}, index=2), workers, ports())


ARN = "arn:aws:lambda:eu-west-1:123456789012:function:score"


@pytest.mark.parametrize("handler", ["score", ARN])
def test_an_allowed_lambda_function_is_called_with_params_and_context(handler):
    invoker = RecordingInvoker({"score": 9})
    assert through_lambda(invoker, handler, ["score", ARN])["result"] == {"score": 9}
    context = {
        "run_id": "run-1",
        "node_id": "score",
        "job_id": "job-1",
        "attempt": 1,
        "iteration": 1,
        "index": 2,
        "deadline": None,
    }
    assert invoker.calls == [(handler, {"params": {"a": 1}, "context": context})]


def test_a_lambda_function_off_the_allowlist_is_not_called():
    invoker = RecordingInvoker(1)
    assert through_lambda(invoker, "score", [ARN])["error"]["type"] == "TaskFailed"
    assert invoker.calls == []


def test_a_registered_function_comes_before_a_lambda_function_of_its_name():
    invoker = RecordingInvoker(1)
    assert through_lambda(invoker, "echo", ["echo"])["result"] == {"a": 1}
    assert invoker.calls == []


def test_workers_exist_for_the_types_that_this_package_does():
    assert {"function", "http"} <= WORKERS.keys()


@pytest.fixture
def stubbed(monkeypatch):
    from botocore.stub import Stubber

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    client = lambda_client(region="eu-west-1")
    with Stubber(client) as stub:
        yield BotoLambdaInvoker(client), stub


def answer(body: bytes, **more):
    from botocore.response import StreamingBody

    return {"StatusCode": 200, "Payload": StreamingBody(io.BytesIO(body), len(body)), **more}


def test_the_boto3_adapter_sends_json_and_reads_json(stubbed):
    invoker, stub = stubbed
    expected = {"FunctionName": "score", "InvocationType": "RequestResponse", "Payload": b'{"params": 1}'}
    stub.add_response("invoke", answer(b'{"a": [1]}'), expected)
    assert invoker.invoke("score", {"params": 1}) == {"a": [1]}
    stub.add_response("invoke", answer(b""))
    assert invoker.invoke("score", None) is None


def test_a_failing_lambda_function_fails_under_its_own_error_type(stubbed):
    invoker, stub = stubbed
    body = json.dumps({"errorType": "SoldOut", "errorMessage": "none left"}).encode()
    stub.add_response("invoke", answer(body, FunctionError="Unhandled"))
    with pytest.raises(TaskError, match="none left") as caught:
        invoker.invoke("score", None)
    assert (caught.value.type, caught.value.retryable) == ("SoldOut", True)


def test_an_answer_that_is_no_json_fails_for_good(stubbed):
    invoker, stub = stubbed
    stub.add_response("invoke", answer(b"<html>"))
    with pytest.raises(TaskError, match="no JSON") as caught:
        invoker.invoke("score", None)
    assert caught.value.retryable is False


@pytest.mark.parametrize(
    ("code", "status", "retryable"),
    [
        ("TooManyRequestsException", 429, True),
        ("ServiceException", 500, True),
        ("ResourceNotFoundException", 404, False),
        ("AccessDeniedException", 403, False),
    ],
)
def test_an_error_of_the_lambda_service_tells_whether_to_try_again(stubbed, code, status, retryable):
    invoker, stub = stubbed
    stub.add_client_error("invoke", code, "private words", status)
    with pytest.raises(TaskError, match=code) as caught:
        invoker.invoke("score", None)
    assert caught.value.retryable is retryable


def test_a_lambda_service_out_of_reach_may_be_tried_again(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    client = lambda_client(region="eu-west-1", endpoint_url="http://127.0.0.1:1")
    with pytest.raises(TaskError, match="EndpointConnectionError") as caught:
        BotoLambdaInvoker(client).invoke("score", None)
    assert caught.value.retryable is True
