"""Both real clients against servers that speak their wire formats: turns, tools, refusals, limits, broken answers."""

from __future__ import annotations

import json
import time
from email.utils import formatdate

import pytest

from chalicelib.engine.task import HandOn
from chalicelib.workers.agent import asking
from chalicelib.workers.retry_after import retry_after_s
from tests.agents.models import Wire
from tests.agents.parts import Rig, graft_api
from tests.workers.servers import JSON, serving

CONFIG = {"model": "some.model-v1:0", "tools": ["get_workflow", "call_function"], "allow": {"functions": ["double"]}}
HANDLERS = {"double": lambda params, ctx: params * 2}


@pytest.fixture(params=["openai", "bedrock"])
def wire(request, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    return Wire(request.param)


@pytest.fixture
def asked(wire):
    """A function that runs an agent against a model whose answers are scripted: (signal, requests, rig)."""
    rigs = []

    def run(*answers, config=None, on=None, **more):
        script = iter(answers)

        def answer(h):
            step = next(script)
            step(h) if callable(step) else h.reply(200, step, Content_Type=JSON)

        with serving(graft_api()) as api, serving(answer) as model:
            rig = Rig(
                api,
                handlers=HANDLERS,
                prices={f"{wire.name}/{CONFIG['model']}": (2.0, 8.0)},
                **wire.settings(model.url),
            )
            rigs.append(rig)
            given = {**CONFIG, "provider": wire.name, **(config or {})}
            return rig.run(given, on, **more), model.seen, rig

    yield run


def test_an_answer_is_the_output_and_its_tokens_are_counted(asked, wire):
    signal, seen, _ = asked(wire.turn("Hello.", tokens=(1000, 100)))
    assert (signal["status"], signal["result"]) == ("completed", "Hello.")
    assert signal["metadata"]["tokens_used"] == 1100
    assert signal["metadata"]["usd"] == pytest.approx(0.0028)
    [(method, path, headers, body)] = seen
    assert method == "POST"
    if wire.openai:
        assert (path, headers["authorization"]) == ("/v1/chat/completions", "Bearer sk-key")
        assert json.loads(body)["model"] == CONFIG["model"]
    else:
        assert path == "/model/some.model-v1%3A0/converse"
        assert "bedrock/aws4_request" in headers["authorization"]


def test_the_model_is_told_where_it_is_its_task_its_graph_and_its_tools(asked, wire):
    _, [(_, _, _, body)], _ = asked(wire.turn("Hello."))
    assert 'the agent node "boss" of run run-1' in wire.system(body)
    assert wire.first(body).startswith("Task:\nDo it.")
    assert '"id":"boss"' in wire.first(body)
    assert wire.tools(body) == ["get_workflow", "call_function"]


def test_several_calls_of_a_turn_go_back_under_their_ids_in_their_order(asked, wire):
    made = tuple((f"id-{n}", "call_function", {"name": "double", "params": n}) for n in range(3))
    signal, seen, _ = asked(wire.turn("Let me see.", made), wire.turn("Done."))
    assert signal["result"] == "Done."
    results = wire.results(seen[1][3])
    assert [call_id for call_id, _ in results] == ["id-0", "id-1", "id-2"]
    assert ["\n0\n" in results[0][1], "\n2\n" in results[1][1], "\n4\n" in results[2][1]] == [True] * 3


def test_a_failed_call_goes_back_as_an_error(asked, wire):
    signal, seen, _ = asked(wire.turn("", (("a", "call_function", {"name": "other"}),)), wire.turn("Done."))
    assert signal["result"] == "Done."
    [(call_id, content)] = wire.results(seen[1][3])
    assert call_id == "a"
    assert "BadArguments" in content
    if not wire.openai:
        assert b'"status": "error"' in seen[1][3]


def test_a_rate_limit_is_waited_for_as_long_as_it_says_and_asked_again(asked, wire):
    def limited(h):
        wire.error(h, 429, "slow down", Retry_After="7")

    signal, seen, rig = asked(limited, limited, wire.turn("Hello."))
    assert signal["result"] == "Hello."
    assert rig.waits == [7.0, 7.0]
    assert len({body for _, _, _, body in seen}) == 1


def test_a_rate_limit_without_a_time_is_waited_for_longer_and_longer(asked, wire):
    def limited(h):
        wire.error(h, 429, "slow down")

    _, _, rig = asked(limited, limited, limited, wire.turn("Hello."))
    assert len(rig.waits) == 3
    for number, wait in enumerate(rig.waits):
        assert 0.5 * 2**number <= wait <= 2**number


def test_a_rate_limit_past_the_attempt_s_deadline_fails_at_once_and_may_be_retried(asked, wire):
    def limited(h):
        wire.error(h, 429, "slow down", Retry_After="60")

    signal, seen, rig = asked(limited, deadline=1_030_000)
    assert (signal["error"]["type"], signal["error"]["retryable"]) == ("ModelUnavailable", True)
    assert "deadline" in signal["error"]["message"]
    assert len(seen) == 1
    assert rig.waits == []


def test_a_model_that_stays_busy_fails_the_attempt_after_some_tries(asked, wire):
    def broken(h):
        wire.error(h, 500, "sorry")

    signal, seen, _ = asked(*[broken] * asking.MAX_TRIES)
    assert (signal["error"]["type"], signal["error"]["retryable"]) == ("ModelUnavailable", True)
    assert "sorry" in signal["error"]["message"]
    assert len(seen) == asking.MAX_TRIES


def test_a_wait_past_the_process_s_end_is_another_process_s(asked, wire):
    def limited(h):
        wire.error(h, 429, "slow down", Retry_After="120")

    with pytest.raises(HandOn):
        asked(limited, on={"time_left_s": lambda: 100.0})


def test_a_model_that_does_not_answer_in_time_is_asked_again(asked, wire, monkeypatch):
    monkeypatch.setattr(asking, "MODEL_SECONDS", 1.0)
    signal, seen, _ = asked(lambda h: time.sleep(2.5), wire.turn("Hello."))
    assert signal["result"] == "Hello."
    assert len(seen) == 2


def test_a_model_that_never_answers_ends_by_the_attempt_s_deadline(asked, wire, monkeypatch):
    monkeypatch.setattr(asking, "MODEL_SECONDS", 1.0)
    monkeypatch.setattr(asking, "MAX_TRIES", 2)
    signal, _, _ = asked(*[lambda h: time.sleep(2.5)] * 2)
    assert (signal["error"]["type"], signal["error"]["retryable"]) == ("ModelUnavailable", True)


@pytest.mark.parametrize("status", [400, 403])
def test_a_refusal_fails_for_good_with_the_service_s_words_and_is_not_repeated(asked, wire, status):
    signal, seen, _ = asked(lambda h: wire.error(h, status, "not with this sk-key"))
    assert (signal["error"]["type"], signal["error"]["retryable"]) == ("ModelRefused", False)
    assert "not with this" in signal["error"]["message"]
    assert not wire.openai or "sk-key" not in json.dumps(signal)
    assert len(seen) == 1


def cut(h):
    """Half of the body that was announced."""
    h.send_response(200)
    h.send_header("Content-Type", JSON)
    h.send_header("Content-Length", "1000")
    h.end_headers()
    h.wfile.write(b'{"output": {"mess')
    h.wfile.flush()
    h.close_connection = True


@pytest.mark.parametrize(
    "answer", [b"<html>no JSON</html>", b'{"half": ', b"[]", b"{}", b'{"choices": [], "output": {}}', cut]
)
def test_an_answer_that_cannot_be_read_fails_clearly_and_may_be_retried(asked, wire, answer):
    signal, _, _ = asked(answer)
    assert (signal["status"], signal["error"]["type"], signal["error"]["retryable"]) == ("failed", "BadAnswer", True)
    assert wire.name in signal["error"]["message"]


def test_an_answer_that_the_model_cut_off_is_no_answer(asked, wire):
    signal, _, _ = asked(wire.turn("and then", end=wire.cut_off))
    assert signal["error"]["type"] == "BadAnswer"
    assert "cut off" in signal["error"]["message"]


def test_an_answer_that_was_withheld_fails_for_good(asked, wire):
    signal, _, _ = asked(wire.turn("", end=wire.withheld))
    assert (signal["error"]["type"], signal["error"]["retryable"]) == ("ModelRefused", False)


def test_nobody_at_the_address_is_asked_again_and_then_fails_retryable(wire):
    with serving(graft_api()) as api:
        rig = Rig(api, **wire.settings("http://127.0.0.1:9"))
        signal = rig.run({**CONFIG, "provider": wire.name})
    assert (signal["error"]["type"], signal["error"]["retryable"]) == ("ModelUnavailable", True)
    assert len(rig.waits) == asking.MAX_TRIES - 1


def test_a_failure_keeps_the_transcript_and_what_was_used(asked, wire):
    call = (("a", "call_function", {"name": "double", "params": 2}),)
    signal, _, rig = asked(wire.turn("", call, tokens=(30, 3)), b"no JSON")
    assert signal["metadata"]["tokens_used"] == 33
    transcript = rig.transcript(signal)
    assert transcript["error"]["type"] == "BadAnswer"
    assert [message["role"] for message in transcript["messages"]] == ["user", "assistant", "tool"]


def test_arguments_of_openai_that_are_no_json_go_back_as_an_error(asked, wire):
    if not wire.openai:
        pytest.skip("Bedrock sends arguments as JSON, not as text")
    signal, seen, _ = asked(wire.turn("", (("a", "call_function", '{"name": '),)), wire.turn("Done."))
    assert signal["result"] == "Done."
    assert "not JSON" in wire.results(seen[1][3])[0][1]


def test_tokens_are_estimated_where_an_endpoint_does_not_count_them(asked, wire):
    if not wire.openai:
        pytest.skip("Bedrock always counts tokens")
    answer = json.dumps({"choices": [{"message": {"content": "x" * 400}, "finish_reason": "stop"}]}).encode()
    signal, _, _ = asked(answer)
    assert signal["metadata"]["tokens_used"] > 100


NOW = 1_800_000_000_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3", 3), ("0.5", 0.5), ("-1", 0), (formatdate(NOW / 1000 + 90, usegmt=True), 90), ("soon", None), ("", None),
     (None, None), ("nan", None), ("inf", None), (formatdate(NOW / 1000 - 90, usegmt=True), 0)],
)  # fmt: skip
def test_retry_after_is_a_number_of_seconds_or_a_date(text, seconds):
    assert retry_after_s(text, NOW) == seconds
