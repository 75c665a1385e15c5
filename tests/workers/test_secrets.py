import base64
import json
import logging

import pytest

from chalicelib.domain.errors import BadSignal
from chalicelib.engine.work import work
from chalicelib.workers.registry import WorkerParts, build_workers
from tests.workers.doubles import call, done, message, ports
from tests.workers.servers import serving

VALUES = {"KEY": 'p"ss/word+1 é', "pin": "17", "team/db.url": "postgres://x"}


def on(values=VALUES, **more):
    return ports(secrets=values.__getitem__, **more)


def test_a_function_gets_the_value_and_its_result_shows_only_the_name():
    seen = []

    def handler(params, ctx):
        seen.append(params["key"])
        return {"echo": params, params["key"]: f"Bearer {params['key']}!"}

    result = call(handler, {"key": "${secret.KEY}"}, on())["result"]
    assert seen == [VALUES["KEY"]]
    assert result == {"echo": {"key": "[secret KEY]"}, "[secret KEY]": "Bearer [secret KEY]!"}


@pytest.mark.parametrize(
    "form",
    [
        lambda v: v,
        lambda v: json.dumps({"a": v}),
        lambda v: "https://x/?k=p%22ss%2Fword%2B1+%C3%A9",
        lambda v: "https://x/p%22ss/word%2B1%20%C3%A9",
        lambda v: base64.b64encode(v.encode()).decode(),
    ],
)
def test_encoded_forms_of_a_secret_are_hidden_too(form):
    text = call(lambda params, ctx: form(params), "${secret.KEY}", on())["result"]
    assert "[secret KEY]" in text
    assert "ss" not in text.replace("[secret KEY]", "")


def test_a_short_secret_is_hidden_as_a_whole_text_but_does_not_blot_out_others():
    result = call(lambda params, ctx: [params, "2017"], "${secret.pin}", on())["result"]
    assert result == ["[secret pin]", "2017"]


def test_an_error_and_a_patch_do_not_show_a_secret():
    def fail(params, ctx):
        raise ValueError(f"could not log in with {params}")

    def patch(params, ctx):
        ctx.patch([{"op": "add", "path": "/name", "value": params}], params)

    assert call(fail, "${secret.KEY}", on())["error"]["message"] == "could not log in with [secret KEY]"
    assert call(patch, "${secret.KEY}", on())["patch"] == {
        "operations": [{"op": "add", "path": "/name", "value": "[secret KEY]"}],
        "description": "[secret KEY]",
    }


def test_logs_of_a_function_do_not_show_a_secret_even_in_tracebacks(caplog):
    def handler(params, ctx):
        ctx.log.info("got %s and %d", params, 3, extra={"own": params})
        try:
            raise ValueError(params)
        except ValueError:
            ctx.log.exception("failed with %s", params)
        ctx.log.info("100% of %s", params)  # noqa: PLE1206

    with caplog.at_level(logging.INFO):
        call(handler, "${secret.KEY}", on())
    records = [r for r in caplog.records if r.name == "graft.function.h"]
    assert records[0].getMessage() == "got [secret KEY] and 3"
    assert (records[0].run_id, records[0].node_id, records[0].job_id) == ("run-1", "score", "job-1")
    assert records[0].own == "[secret KEY]"
    assert records[0].funcName == "handler"
    assert "ValueError: [secret KEY]" in records[1].getMessage()
    assert len(records) == 3
    assert "ss/word" not in json.dumps([vars(r) for r in records], default=str)


def test_the_words_for_a_task_and_its_context_hold_no_secret():
    shown = []
    call(lambda params, ctx: shown.append(repr(ctx) + repr(ctx.collect_patch)), {"key": "${secret.KEY}"}, on())
    assert "run-1" in shown[0]
    assert "ss/word" not in shown[0]


def test_only_a_reference_that_stands_alone_is_filled():
    params = [
        "x ${secret.KEY}",
        "${secret.KEY} ",
        "$${secret.KEY}",
        "${secret.}",
        "${ secret.pin }",
        {"${secret.pin}": 1},
    ]
    seen = []
    call(lambda p, ctx: seen.append(p), params, on())
    assert seen[0] == [*params[:4], "17", {"${secret.pin}": 1}]


def test_with_places_given_a_reference_that_came_in_as_data_stays_text():
    """A run's input saying ${secret.KEY} was resolved by the worker and came back to the caller."""
    seen = []
    params = {"mine": "${secret.KEY}", "from/input": "${secret.KEY}"}
    call(lambda p, ctx: seen.append(p), params, on(), secrets=["/params/mine"])
    call(lambda p, ctx: seen.append(p), params, on(), secrets=[])
    assert seen == [{"mine": VALUES["KEY"], "from/input": "${secret.KEY}"}, params]


def test_a_place_is_an_escaped_pointer_also_into_lists():
    seen = []
    call(lambda p, ctx: seen.append(p), {"a/b~": [0, "${secret.pin}"]}, on(), secrets=["/params/a~1b~0/1"])
    assert seen == [{"a/b~": [0, "17"]}]


@pytest.mark.parametrize("secrets", [None, {}.__getitem__, {"KEY": 7}.__getitem__])
def test_a_secret_that_cannot_be_had_fails_the_node_for_good(secrets):
    error = call(lambda p, ctx: p, {"k": "${secret.KEY}"}, ports(secrets=secrets))["error"]
    assert (error["type"], error["retryable"]) == ("SecretUnavailable", False)
    assert "'KEY' at /config/params/k" in error["message"]


def test_a_secret_is_asked_for_once_per_task():
    asked = []

    def resolve(name):
        asked.append(name)
        return "value"

    done(message("echo", ["${secret.A}", "${secret.A}", "${secret.team/db.url}"]), on=ports(secrets=resolve))
    assert asked == ["A", "team/db.url"]


def test_an_http_node_sends_the_secret_and_neither_output_nor_error_shows_it():
    """An echoing server sent the credential back, and the journal kept it."""

    def echo(h):
        status = 200 if h.path == "/ok" else 500
        h.reply(status, json.dumps(dict(h.headers)).encode(), Content_Type="application/json")

    with serving(echo) as server:
        workers = build_workers(WorkerParts(http_allowlist=[server.door]))
        auth = {"username": "me", "password": "${secret.KEY}"}
        headers = {"X-Key": "${secret.team/db.url}"}
        ok, bad = (
            work(
                message(type="http", config={"url": server.url + path, "auth": auth, "headers": headers}), workers, on()
            )
            for path in ("/ok", "/bad")
        )
    assert base64.b64decode(server.seen[0][2]["authorization"].removeprefix("Basic ")).decode() == "me:" + VALUES["KEY"]
    body = {k.lower(): v for k, v in ok["result"]["body"].items()}
    assert body["authorization"] == "Basic [secret auth]"
    assert body["x-key"] == "[secret team/db.url]"
    assert "[secret auth]" in bad["error"]["message"]
    assert "postgres" not in bad["error"]["message"]


def test_the_secret_members_of_a_json_secret_are_hidden_by_themselves():
    secret = '{"engine": "postgres", "username": "app", "password": "hunter2!", "api_key": "k-123", "port": 5432}'

    def handler(params, ctx):
        parts = json.loads(params)
        return [parts["password"], f"{parts['engine']}://{parts['username']}:{parts['password']}@db", parts["api_key"]]

    result = call(handler, "${secret.DB}", ports(secrets={"DB": secret}.__getitem__))["result"]
    assert result == ["[secret DB]", "postgres://app:[secret DB]@db", "[secret DB]"]


@pytest.mark.parametrize("tenant", ["a/b", "", 7, "../x"])
def test_a_tenant_that_is_no_name_is_no_task(tenant):
    with pytest.raises(BadSignal):
        call(lambda p, ctx: p, "${secret.KEY}", on(), tenant=tenant)
