"""Events sent to runs over HTTP."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.api.client import Api
from tests.api.people import dying, run, started
from tests.api.test_approvals import POINTS


def waits(name: str = "${input.name}", **node: object) -> dict:
    event = {"id": "e", "type": "event", "config": {"name": name}, **node}
    ship = {"id": "ship", "type": "function", "config": {"handler": "echo", "params": {"got": "${output}"}}}
    return {"nodes": [event, ship], "edges": [{"from": "e", "to": "ship"}]}


def begun(api: Api, name: str) -> str:
    run_id = api.post("runs", {"workflow": waits(), "input": {"name": name}}).json["run_id"]
    api.drain()
    return str(run_id)


NAMES = [
    "paid",
    "a|b",
    "a|000000000001",
    "a b",
    "ä/ö",
    "..",
    "%2F",
    "{x}",
    "🦊",
    "'\"<",
    "x" * 256,
    "\x00\x1f",
    "events|a",
]


@pytest.mark.parametrize("name", NAMES)
def test_an_event_of_any_name_wakes_the_node_that_waits_for_it(api: Api, name: str) -> None:
    run_id = begun(api, name)
    reply = api.post(f"runs/{run_id}/signals/{quote(name, safe='')}", {"eur": 5})
    assert (reply.status, reply.json) == (202, {"run_id": run_id, "name": name, "number": 1})
    api.drain()
    assert run(api, run_id)["output"] == {"ship": {"got": {"eur": 5}}}
    api.assert_fold_equals_store(run_id)


PAYLOADS = [b"null", b"0", b'""', b"[]", b"{}", b"false", b'"\\u0000"', b"12345678901234567", b"1.5", b'{"a":[{}]}']


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_payload_is_any_json_and_comes_out_as_it_went_in(api: Api, payload: bytes) -> None:
    import json

    run_id = begun(api, "e")
    assert api.post(f"runs/{run_id}/signals/e", payload).status == 202
    api.drain()
    assert run(api, run_id)["output"] == {"ship": {"got": json.loads(payload)}}


def test_no_body_is_null_and_a_large_one_an_artifact(api: Api) -> None:
    run_id = begun(api, "e")
    assert api.post(f"runs/{run_id}/signals/e").status == 202
    api.drain()
    assert run(api, run_id)["output"] == {"ship": {"got": None}}
    run_id = begun(api, "e")
    assert api.post(f"runs/{run_id}/signals/e", "x" * 1_000_000).status == 202
    api.drain()
    assert run(api, run_id)["status"] == "COMPLETED"


def test_what_is_no_event_is_refused(api: Api) -> None:
    run_id = begun(api, "e")
    assert api.post(f"runs/{run_id}/signals/{'x' * 257}", {}).status == 422
    assert api.post(f"runs/{run_id}/signals/e", b"{").status == 400
    assert api.post("runs/none/signals/e", {}).status == 404
    assert api.post(f"runs/{run_id}/signals/e", {}, token=api.token(tenant="other")).status == 404
    assert api.post(f"runs/{run_id}/signals/e", {}, token=api.token(["approvals"])).status == 403
    api.post(f"runs/{run_id}/cancel")
    assert api.post(f"runs/{run_id}/signals/e", {}).status == 409


@pytest.mark.parametrize("wipe", [False, True], ids=["", "and the store is lost"])
@pytest.mark.parametrize(("port", "name", "after"), POINTS)
def test_a_repeat_of_an_event_that_died_is_that_event(api: Api, port: str, name: str, after: bool, wipe: bool) -> None:
    """The run takes two events: were the repeat a second one, it would end."""
    document = {
        "nodes": [
            {
                "id": "e",
                "type": "event",
                "config": {"name": "e"},
                "loop": {"condition": "iteration < 2", "loop_back_to": "e"},
                "set": {"seen": "${vars.seen + [output]}"},
            }
        ],
        "vars": {"seen": []},
        "output": "${vars.seen}",
    }
    run_id = started(api, document)

    def send(payload: int, key: str) -> int:
        reply = api.post(f"runs/{run_id}/signals/e", payload, Idempotency_Key=key)
        assert reply.status == 202, reply.text
        return int(reply.json["number"])

    dying(api, port, name, lambda: send(1, "k"), after=after)
    if wipe:
        api.client.flushall()
    assert [send(1, "k"), send(1, "k")] == [1, 1]
    api.client.flushall()
    api.drain()
    assert run(api, run_id)["status"] == "RUNNING"
    assert send(2, "other") == 2
    api.drain()
    assert run(api, run_id)["output"] == [1, 2]
