from __future__ import annotations

import json

from tests.api.client import Api
from tests.api.documents import ONE


def dispatched(api: Api) -> tuple[str, str]:
    """A run whose node is at work: (run id, callback URL)."""
    run_id = api.post("runs", {"workflow": ONE, "input": {"n": 1}}).json["run_id"]
    api.settle_batch()
    (message,) = api.queues.receive("tasks-function")
    return run_id, json.loads(message.body)["callback"]["url"].removeprefix("https://graft.test")


def test_a_worker_completes_its_task_by_callback(api: Api) -> None:
    run_id, url = dispatched(api)
    for _ in range(2):
        assert (
            api.post(f"{url}/complete", {"result": {"ok": 1}, "metadata": {"tokens_used": 3}}, token=None).status == 202
        )
    api.settle_batch()
    run = api.get(f"runs/{run_id}").json
    assert (run["status"], run["output"]) == ("COMPLETED", {"a": {"ok": 1}})


def test_12_a_worker_asks_whether_its_attempt_is_still_waited_for(api: Api) -> None:
    run_id, url = dispatched(api)
    asked = api.get(url, token=None)
    assert asked.status == 200
    assert asked.json == {"run_id": run_id, "node_id": "a", "attempt": 1, "outstanding": True}
    api.post(f"runs/{run_id}/cancel")
    assert api.get(url, token=None).json["outstanding"] is False
    assert api.get(url[:-2], token=None).status == 401
    assert api.get("tasks/x", token=None).status == 401


def test_a_worker_fails_its_task_by_callback(api: Api) -> None:
    run_id, url = dispatched(api)
    error = {"type": "Broken", "message": "it is", "retryable": False}
    assert api.post(f"{url}/fail", {"error": error}, token=None).status == 202
    api.settle_batch()
    assert api.get(f"runs/{run_id}").json["error"] == {"type": "Broken", "message": "it is", "node_id": "a"}


def test_a_large_result_travels_as_an_artifact(api: Api) -> None:
    run_id, url = dispatched(api)
    assert api.post(f"{url}/complete", {"result": "x" * 100_000}, token=None).status == 202
    (body,) = api.queues.bodies("completion-signals")
    assert len(body) < 2000
    api.settle_batch()
    assert api.get(f"runs/{run_id}/nodes/a").json["executions"][0]["output"]["$artifact"].startswith("artifact://")


def test_a_token_that_is_forged_expired_or_for_another_use_is_refused(api: Api) -> None:
    _, url = dispatched(api)
    late = api.services.callback_token("job", "r", "a", 1, api.clock.now_ms())
    head = url.rsplit("/", 1)[0]
    for target in (url[:-2], f"{head}/{late}", f"{head}/{api.token()}", f"{head}/x"):
        reply = api.post(f"{target}/complete", {}, token=None)
        assert reply.status == 401
    assert api.get("runs", token=url.rsplit("/", 1)[1]).status == 401, "a callback token is no credential"
    assert not api.queues.bodies("completion-signals")


def test_what_a_signal_cannot_carry_is_refused(api: Api) -> None:
    _, url = dispatched(api)
    for route, body in (
        ("complete", {"result_ref": "artifact://sha256/" + "0" * 64}),
        ("complete", {"result_ref": 7}),
        ("complete", {"result": 1, "result_ref": "artifact://sha256/" + "0" * 64}),
        ("complete", {"patch": []}),
        ("complete", {"metadata": {"x": "y" * 200_000}}),
        ("complete", {"job_id": "another"}),
        ("fail", {}),
        ("fail", {"error": "text"}),
    ):
        assert api.post(f"{url}/{route}", body, token=None).status == 422, body
    assert not api.queues.bodies("completion-signals")


def test_artifacts_are_announced_uploaded_and_read(api: Api) -> None:
    import hashlib

    sha256 = hashlib.sha256(b"abc").hexdigest()
    reply = api.post("artifacts", {"sha256": sha256, "size": 3})
    assert reply.status == 201
    assert reply.json["artifact"] == f"artifact://sha256/{sha256}"
    assert api.get(f"artifacts/{sha256}").status == 404, "not uploaded yet"
    api.artifacts.upload(reply.json["upload_url"], b"abc")
    assert api.get(f"artifacts/{sha256}").status == 303
    assert api.get("artifacts/xyz").status == 404
    for body in ({"sha256": "x", "size": 1}, {"sha256": sha256, "size": 0}, {"sha256": sha256, "size": True}):
        assert api.post("artifacts", body).status == 422
    assert api.post("artifacts", {"sha256": sha256, "size": 200 << 20}).status == 413
