"""Which task messages say whose secrets they ask for."""

from __future__ import annotations

from tests.engine.harness import Harness
from tests.engine.test_step import edges, function


def test_a_message_names_the_tenant_of_its_run_where_its_config_has_secrets(harness: Harness) -> None:
    document = {
        "nodes": [function("a", {"k": "${secret.KEY}"}), function("b", "${output}"), function("c", ["${secret.A_B}"])],
        "edges": edges("a:b", "b:c"),
    }
    harness.run(document, {"tenant": "other"})
    told = [(task["node_id"], task.get("tenant"), task["secrets"]) for task in harness.tasks]
    assert told == [("a", "acme", ["/params/k"]), ("b", None, []), ("c", "acme", ["/params/0"])]


def test_a_message_sent_again_after_a_wipe_names_the_same_tenant(harness: Harness) -> None:
    run_id = harness.start({"nodes": [function("a", "${secret.KEY}", retry={"max_attempts": 2})]}, "x" * 20_000)
    harness.settle_batch()
    harness.client.flushall()
    harness.drain()
    assert {task["tenant"] for task in harness.tasks} == {"acme"}
    assert harness.meta(run_id)["status"] == "COMPLETED"
