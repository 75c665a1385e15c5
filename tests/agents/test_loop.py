"""The loop: turns, tool calls, results, output, limits."""

from __future__ import annotations

import json
import threading
import time

import pytest

from tests.agents.parts import ADD, Rig, calls, graft_api, patch, script
from tests.workers.servers import JSON, ok, serving


@pytest.fixture
def api():
    with serving(graft_api()) as server:
        yield server


@pytest.fixture
def rig(api):
    return Rig(api)


def test_an_agent_that_only_answers_gives_its_text(rig):
    signal = rig.run(script({"text": "Done."}))
    assert (signal["status"], signal["result"]) == ("completed", "Done.")
    assert (signal["metadata"]["turns"], signal["metadata"]["tool_calls"]) == (1, [])


def test_results_of_one_turn_come_back_in_the_order_of_its_calls(api):
    """The first call ends last."""
    second = threading.Event()
    handlers = {
        "slow": lambda params, ctx: second.wait(5) and "slow",
        "quick": lambda params, ctx: second.set() or "quick",
    }
    rig = Rig(api, handlers=handlers)
    turn = calls(("call_function", {"name": "slow"}), ("call_function", {"name": "quick"}))
    signal = rig.run(script(turn, {"text": "ok"}, allow={"functions": ["slow", "quick"]}))
    results = rig.transcript(signal)["messages"][2]["results"]
    assert ["slow" in results[0]["content"], "quick" in results[1]["content"]] == [True, True]
    assert [result["failed"] for result in results] == [False, False]


def test_patches_of_one_turn_are_sent_one_after_the_other_in_their_order(api):
    busy, seen = threading.Lock(), []

    def patched(body):
        assert busy.acquire(blocking=False), "two patches at once"
        time.sleep(0.05)
        seen.append(body["description"])
        busy.release()
        return 200, {"revision": len(seen)}

    api.answer = graft_api(patched)
    rig = Rig(api)
    turn = calls(*(patch(ADD, description=str(n)) for n in range(5)))
    assert rig.run(script(turn, {"text": "ok"}))["status"] == "completed"
    assert seen == ["0", "1", "2", "3", "4"]


def test_a_refused_patch_goes_back_to_the_model_with_every_problem_and_it_may_try_again(api):
    problems = [{"code": "unknown_type", "path": "/nodes/1/type", "message": "no such type"}]
    refuse = {"type": "x", "title": "t", "status": 422, "detail": "It does not compile.", "errors": problems}
    answers = iter([(422, refuse), (200, {"revision": 1, "added": ["new"]})])
    api.answer = graft_api(lambda body: next(answers))
    rig = Rig(api)
    signal = rig.run(script(calls(patch(ADD)), calls(patch(ADD)), {"text": "ok"}))
    shown = rig.transcript(signal)["messages"]
    first, second = shown[2]["results"][0], shown[4]["results"][0]
    assert first["failed"]
    assert "unknown_type" in first["content"]
    assert "It does not compile." in first["content"]
    assert not second["failed"]
    assert [call["ok"] for call in signal["metadata"]["tool_calls"]] == [False, True]


def test_patches_carry_the_credential_and_a_key_of_their_own(api, rig):
    rig.run(script(calls(patch(ADD), patch(ADD)), {"text": "ok"}))
    sent = [headers for method, _, headers, _ in api.seen if method == "POST"]
    assert {headers["authorization"] for headers in sent} == {"Bearer agent-token"}
    assert len({headers["idempotency-key"] for headers in sent}) == 2
    assert {path for method, path, _, _ in api.seen if method == "POST"} == {"/api/v1/runs/run-1/patch"}


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("no_such_tool", {}), "UnknownTool"),
        (("http_request", {}), "BadArguments"),
        (("http_request", {"url": 5}), "BadArguments"),
        (("http_request", {"url": "https://x.example", "auth": "x"}), "BadArguments"),
        (("http_request", "text"), "BadArguments"),
        (("http_request", {"url": "http://127.0.0.1:1/"}), "AddressRefused"),
        (("http_request", {"url": "http://169.254.169.254/latest/meta-data"}), "AddressRefused"),
        (("call_function", {"name": "secret_one"}), "NotAllowed"),
        (("call_function", {"name": "breaks"}), "KeyError"),
        (("call_function", {"name": "refuses"}), "Odd"),
        (("patch_workflow", {"operations": []}), "BadArguments"),
        (("execute_pipeline", {"steps": [{}], "artifact": "x"}), "BadArguments"),
    ],
)
def test_a_call_that_fails_is_told_to_the_model_and_the_agent_goes_on(api, call, told):
    from chalicelib.domain.errors import TaskError

    def refuses(params, ctx):
        raise TaskError("Odd", "no luck")

    handlers = {"breaks": lambda params, ctx: {}["x"], "refuses": refuses, "secret_one": lambda params, ctx: 1}
    rig = Rig(api, handlers=handlers)
    allow = {"functions": ["breaks", "refuses"]}
    if call == ("call_function", {"name": "secret_one"}):
        allow = {"functions": []}
    signal = rig.run(script(calls(call), {"text": "went on"}, allow=allow))
    assert signal["result"] == "went on"
    [result] = rig.transcript(signal)["messages"][2]["results"]
    assert result["failed"]
    assert f'"type":"{told}"' in result["content"]


def test_a_function_gets_the_call_s_key_as_its_job_id_and_patches_by_no_way_of_its_own(api):
    seen = []

    def spy(params, ctx):
        seen.append((params, ctx.job_id, ctx.node_id))
        ctx.patch([ADD], "by the back door")

    rig = Rig(api, handlers={"spy": spy})
    call = ("call_function", {"name": "spy", "params": {"a": 1}})
    signal = rig.run(script(calls(call, call), {"text": "ok"}, allow={"functions": ["spy"]}))
    assert [s[0] for s in seen] == [{"a": 1}] * 2
    assert len({s[1] for s in seen}) == 2
    assert "patch" not in signal
    assert "patch_workflow only" in json.dumps(rig.transcript(signal))


def test_a_large_result_becomes_an_artifact_with_its_beginning_shown(api):
    rig = Rig(api, handlers={"big": lambda params, ctx: ["x" * 1000] * 100})
    signal = rig.run(script(calls(("call_function", {"name": "big"})), {"text": "ok"}, allow={"functions": ["big"]}))
    [result] = rig.transcript(signal)["messages"][2]["results"]
    shown = json.loads(result["content"].split("\n")[1])
    assert json.loads(rig.artifacts.get(shown["artifact"])) == ["x" * 1000] * 100
    assert len(result["content"]) < 6000


def test_requests_that_change_something_carry_the_call_s_key_whatever_the_model_sends(api):
    with serving(ok) as site:
        rig = Rig(api, site)
        post = ("http_request", {"url": site.url, "method": "POST", "headers": {"idempotency-key": "mine"}, "body": {}})
        rig.run(script(calls(post, ("http_request", {"url": site.url})), {"text": "ok"}))
        keys = {method: headers.get("idempotency-key") for method, _, headers, _ in site.seen}
    assert keys["GET"] is None
    assert keys["POST"] != "mine"
    assert len(keys["POST"]) > 40


def test_an_output_that_breaks_its_schema_is_asked_for_once_more(rig):
    schema = {"type": "object", "required": ["score"], "properties": {"score": {"type": "integer"}}}
    signal = rig.run(script({"text": "no JSON"}, {"output": {"score": 5}}, output_schema=schema))
    assert signal["result"] == {"score": 5}
    signal = rig.run(script({"output": {"score": "x"}}, {"output": {}}, output_schema=schema), job_id="job-2")
    assert signal["status"] == "failed"
    assert signal["error"]["type"] == "OutputInvalid"
    assert "score" in signal["error"]["message"]


def test_json_inside_a_code_fence_is_read_as_json(rig):
    text = '```json\n{"a": 1}\n```'
    assert rig.run(script({"text": text}, output_schema={"type": "object"}))["result"] == {"a": 1}


def test_without_a_schema_the_output_is_text(rig):
    assert rig.run(script({"text": '{"a": 1}'}))["result"] == '{"a": 1}'


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"max_turns": 2}, "/config/max_turns"),
        ({"budget": {"tokens": 100}}, "/config/budget/tokens"),
        ({"budget": {"usd": 0.0001}}, "/config/budget/usd"),
    ],
)
def test_an_agent_past_a_limit_fails_for_good_and_says_what_it_used(api, more, told):
    rig = Rig(api, prices={"scripted/m": (1.0, 10.0)})
    turn = calls(("get_workflow", {}), usage={"input_tokens": 60, "output_tokens": 10})
    signal = rig.run(script(turn, turn, turn, turn, model="m", **more))
    assert (signal["error"]["type"], signal["error"]["retryable"]) == ("BudgetExceeded", False)
    assert told in signal["error"]["message"]
    assert signal["metadata"]["tokens_used"] >= 70
    assert signal["metadata"]["usd"] == pytest.approx(signal["metadata"]["tokens_used"] / 70 * 160e-6)
    assert rig.transcript(signal)["error"]["type"] == "BudgetExceeded"


def test_a_budget_in_usd_needs_a_price(rig):
    signal = rig.run({"provider": "openai", "model": "m", "budget": {"usd": 1}})
    assert (signal["error"]["type"], signal["error"]["retryable"]) == ("TaskFailed", False)
    assert "GRAFT_MODEL_PRICES" in signal["error"]["message"]


def test_each_turn_and_each_call_is_told_under_a_key_of_its_own(rig):
    rig.run(script(calls(("get_workflow", {}), ("get_workflow", {})), {"text": "ok"}))
    assert [signal["key"] for signal in rig.told] == ["turn-1", "calls-1", "turn-2"]
    assert [event["turn"] for event in rig.events("agent_turn")] == [1, 2]
    assert len({event["key"] for event in rig.events("tool_called")}) == 2
    assert {signal["kind"] for signal in rig.told} == {"progress"}


def test_the_answer_says_the_newest_of_what_was_told_again(rig):
    signal = rig.run(script(*[calls(("get_workflow", {}))] * 5, {"text": "ok"}))
    assert [one["key"] for one in signal["progress"]] == [one["key"] for one in rig.told[-8:]]
    assert signal["progress"][-1] == {name: rig.told[-1][name] for name in ("key", "events")}
    big = calls(*[("http_request", {"url": "x" * 1000, "method": "NONE"})] * 32)
    signal = rig.run(script(big, big, {"text": "ok"}), job_id="job-2")
    assert len(json.dumps(signal["progress"])) < 40_000
    assert signal["progress"][-1]["key"] == "turn-3"


def test_an_attempt_that_fails_says_it_too(rig):
    signal = rig.run(script(calls(("get_workflow", {})), {"text": "ok"}, max_turns=1))
    assert signal["status"] == "failed"
    assert [one["key"] for one in signal["progress"]] == ["turn-1", "calls-1"]


def test_heartbeats_go_on_while_a_tool_takes_its_time(api):
    rig = Rig(api, handlers={"wait": lambda params, ctx: time.sleep(0.4)})
    config = script(calls(("call_function", {"name": "wait"})), {"text": "ok"}, allow={"functions": ["wait"]})
    rig.run(config, agent={"heartbeat_ms": 200})
    assert len(rig.beats) >= 4


def test_secrets_of_the_config_reach_no_transcript_no_event_no_result_and_no_note(api):
    with serving(lambda h: h.reply(200, b'"s3cr3t-value"', Content_Type=JSON)) as site:
        rig = Rig(api, site)
        config = script(calls(("http_request", {"url": site.url})), {"text": "it is s3cr3t-value"})
        config["task"] = "${secret.KEY}"
        signal = rig.run(config, {"secrets": lambda tenant: lambda name: "s3cr3t-value"}, secrets=["/task"])
    assert signal["result"] == "it is [secret KEY]"
    everything = json.dumps([signal, rig.told]) + str(rig.notes.bodies) + str(rig.artifacts.held)
    assert "s3cr3t-value" not in everything
    assert "agent-token" not in everything


def test_an_unknown_provider_fails_for_good(rig):
    signal = rig.run({"provider": "oracle"})
    assert (signal["error"]["type"], signal["error"]["retryable"]) == ("TaskFailed", False)
    assert "bedrock, openai, scripted" in signal["error"]["message"]


def test_a_script_that_ends_too_early_says_so(rig):
    signal = rig.run(script(calls(("get_workflow", {}))))
    assert "/config/turns has 1 turns" in signal["error"]["message"]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"budget": {"tokens": "many"}}, "/config/budget/tokens"),
        ({"budget": {"tokens": "literally ${x}"}}, "/config/budget/tokens"),
        ({"max_turns": 0}, "/config/max_turns"),
        ({"max_turns": "$${n}"}, "/config/max_turns"),
        ({"turns": [{"delay_ms": "soon"}]}, "/config/turns/0/delay_ms"),
        ({"task": None, "turns": None}, "/config"),
    ],
)
def test_a_config_that_templates_made_wrong_fails_for_good_and_names_the_place(rig, change, where):
    signal = rig.run({**script({"text": "x"}), **change})
    assert (signal["error"]["type"], signal["error"]["retryable"]) == ("TaskFailed", False)
    assert where in signal["error"]["message"]


def test_half_a_character_of_a_model_is_replaced_and_kept_out_of_every_record(rig):
    turn = {"text": "\ud800 odd", "calls": [{"tool": "http_request", "arguments": {"url": "\udfff"}}]}
    signal = rig.run(script(turn, {"text": "fine \ud83d"}))
    assert signal["result"] == "fine ?"
    assert rig.transcript(signal)["messages"][1]["text"] == "? odd"


def test_arguments_that_no_json_can_say_are_no_answer(rig):
    signal = rig.run(script({"calls": [{"tool": "get_workflow", "arguments": {"n": float("nan")}}]}))
    assert (signal["error"]["type"], signal["error"]["retryable"]) == ("BadAnswer", True)
    assert rig.transcript(signal)["error"]["type"] == "BadAnswer"


def test_what_an_event_carries_is_bounded_however_much_a_turn_does(rig):
    from chalicelib.engine.progress import read_told

    big = {"url": "x" * 5000, "method": "NONE", "headers": {"h": "y" * 5000}}
    rig.run(script(calls(*[("http_request", big)] * 40), {"text": "z" * 10_000}))
    for signal in rig.told:
        read_told(signal, "job")
    assert len(rig.events("tool_called")) == 32


def test_a_turn_makes_so_many_calls_and_no_more(rig):
    signal = rig.run(script(calls(*[("get_workflow", {})] * 34), {"text": "ok"}))
    assert [call["ok"] for call in signal["metadata"]["tool_calls"]] == [True] * 32 + [False] * 2
    assert len([name for name in rig.notes.bodies if "-call-" in name]) == 64


def test_a_function_that_lives_too_short_for_any_turn_says_so_instead_of_being_handed_on_for_ever(rig):
    from chalicelib.engine.task import HandOn

    with pytest.raises(HandOn):
        rig.run(script({"text": "x"}), {"time_left_s": lambda: 10.0})
    signal = rig.run(script({"text": "x"}), {"time_left_s": lambda: 10.0})
    assert "lives too short" in signal["error"]["message"]


def test_a_pipeline_gets_rows_or_an_artifact_and_its_requests_have_a_key_each(api):
    seen = []

    def pipeline(steps, data=None, *, http, fetch):
        seen.append(fetch(data) if isinstance(data, str) else data)
        for step in steps:
            http(step)
        return [{"n": len(steps)}]

    with serving(ok) as site:
        rig = Rig(api, site, pipeline=pipeline)
        ref = rig.artifacts.put(b'[{"a": 1}]')
        step = {"url": site.url, "method": "POST", "body": {}}
        first = ("execute_pipeline", {"steps": [step, step], "data": [{"b": 2}]})
        second = ("execute_pipeline", {"steps": [step], "artifact": ref})
        gone = ("execute_pipeline", {"steps": [step], "artifact": f"artifact://sha256/{'0' * 64}"})
        signal = rig.run(script(calls(first), calls(second), calls(gone), {"text": "ok"}))
        keys = [headers["idempotency-key"] for _, _, headers, _ in site.seen]
    assert seen == [[{"b": 2}], [{"a": 1}]]
    assert len(keys) == len(set(keys)) == 3
    assert [call["ok"] for call in signal["metadata"]["tool_calls"]] == [True, True, False]


def test_real_pipelines_run_over_inline_rows_and_over_an_earlier_result_and_fail_to_the_model(api):
    from chalicelib.domain.pipeline import run_pipeline

    body = json.dumps({"rows": [{"n": 3}, {"n": 1}]}).encode()
    with serving(lambda h: h.reply(200, body, Content_Type=JSON)) as site:
        rig = Rig(api, site, pipeline=run_pipeline)
        ref = rig.artifacts.put(b'[{"n": 5}, {"n": 4}]')
        sort = {"step": "table_sort", "by": "n"}
        turn = calls(
            ("execute_pipeline", {"steps": [{"step": "http_request", "url": site.url, "rows": "/rows"}, sort]}),
            ("execute_pipeline", {"steps": [sort], "artifact": ref}),
            ("execute_pipeline", {"steps": [{"step": "table_shuffle"}], "data": []}),
            ("execute_pipeline", {"steps": [{"step": "http_request", "url": "http://127.0.0.1:1/"}]}),
        )
        signal = rig.run(script(turn, {"text": "ok"}))
    shown = [result["content"].split("\n")[1] for result in rig.transcript(signal)["messages"][2]["results"]]
    assert [json.loads(text) for text in shown[:2]] == [[{"n": 1}, {"n": 3}], [{"n": 4}, {"n": 5}]]
    assert "PipelineError" in shown[2]
    assert "AddressRefused" in shown[3]
