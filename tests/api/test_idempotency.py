from __future__ import annotations

import pytest

from chalicelib.api.idempotency import DAY_MS
from tests.api.client import Api
from tests.api.documents import ONE, version

KEY = {"Idempotency_Key": "k-1"}


def test_a_repeated_start_is_the_same_run_and_answered_the_same(api: Api) -> None:
    body = {"workflow": ONE, "input": {"n": 1}}
    first = api.post("runs", body, **KEY)
    api.drain()
    again = api.post("runs", body, **KEY)
    assert (again.status, again.text, again.headers["Location"]) == (202, first.text, first.headers["Location"])
    assert len(api.journal.runs) == 1


def test_the_order_of_keys_is_no_other_body(api: Api) -> None:
    first = api.post("runs", b'{"workflow": %s, "input": 1}' % b'{"nodes":[{"id":"a","type":"pass"}]}', **KEY)
    again = api.post("runs", b'{"input": 1, "workflow": %s}' % b'{"nodes":[{"type":"pass","id":"a"}]}', **KEY)
    assert first.text == again.text


def test_another_body_under_the_same_key_is_a_conflict(api: Api) -> None:
    api.post("runs", {"workflow": ONE, "input": {"n": 1}}, **KEY)
    for _ in range(2):
        assert api.post("runs", {"workflow": ONE, "input": {"n": 2}}, **KEY).status == 409


def test_keys_are_kept_per_tenant_and_path(api: Api) -> None:
    api.post("workflows", {"name": "one", "workflow": ONE})
    runs = [
        api.post("runs", {"workflow": "one"}, **KEY),
        api.post("runs", {"workflow": ONE}, token=api.token(tenant="other"), **KEY),
        api.post("workflows/one/runs", {}, **KEY),
    ]
    assert [run.status for run in runs] == [202, 202, 202]
    assert len({run.json["run_id"] for run in runs}) == 3


def test_a_repeat_stays_with_the_version_of_the_first_try(api: Api) -> None:
    """The first try dies after the start; a newer version is saved; the repeat must find its run, not a conflict."""
    api.post("workflows", {"name": "w", "workflow": version(1)})
    body = {"input": {"n": 1}}
    send, api.queues.send = api.queues.send, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        api.post("workflows/w/runs", body, **KEY)
    api.queues.send = send
    api.post("workflows", {"name": "w", "workflow": version(2)})
    again = api.post("workflows/w/runs", body, **KEY)
    assert again.status == 202, again.text
    assert len(api.journal.runs) == 1
    assert api.get(f"runs/{again.json['run_id']}").json["workflow"] == {"name": "w", "version": 1}


def test_a_refused_request_frees_its_key(api: Api) -> None:
    assert api.post("runs", {"workflow": "nothing"}, **KEY).status == 404
    assert api.post("runs", {"workflow": ONE}, **KEY).status == 202


def test_a_key_is_forgotten_after_a_day(api: Api) -> None:
    api.post("workflows", {"name": "w", "workflow": version(1)}, **KEY)
    api.clock.now += DAY_MS
    assert api.post("workflows", {"name": "w", "workflow": version(2)}, **KEY).json["version"] == 2


def test_a_start_under_a_forgotten_key_is_another_run(api: Api) -> None:
    runs = set()
    for _ in range(2):
        runs.add(api.post("runs", {"workflow": ONE, "input": {"n": 1}}, **KEY).json["run_id"])
        api.clock.now += DAY_MS
    assert len(runs) == 2


def test_a_save_is_answered_as_the_first_time(api: Api) -> None:
    first = api.post("workflows", {"name": "w", "workflow": version(1)}, **KEY)
    api.clock.now += 5000
    again = api.post("workflows", {"name": "w", "workflow": version(1)}, **KEY)
    assert (again.status, again.text) == (201, first.text)


@pytest.mark.parametrize("key", ["", "é", "a" * 256, "a\tb"])
def test_a_key_that_is_none_is_refused(api: Api, key: str) -> None:
    assert api.post("runs", {"workflow": ONE}, Idempotency_Key=key).status == 422
