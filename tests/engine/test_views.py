from __future__ import annotations

import pytest

from chalicelib.domain.compiler import compile_workflow
from chalicelib.domain.limits import Limits
from chalicelib.engine import views
from chalicelib.engine.execution_input import execution_input
from chalicelib.engine.executions import standings
from chalicelib.engine.views import node_view, run_view

HASHES = ("meta", "tok", "dis", "done", "st", "val", "last", "jn", "ed", "vars", "box")
META = {"status": "RUNNING", "gen": "g", "graph": "h", "rev": "2", "created_at": "1000", "tenant": "acme"}


def plan(*nodes: dict):
    return compile_workflow({"nodes": list(nodes)}, limits=Limits())


def state(**hashes: dict) -> dict:
    return {name: {} for name in HASHES} | {"meta": META} | hashes


def begun(*tokens: str, kind: str = "t", outstanding: bool = True) -> dict:
    """Tokens that began at commit 2, 3, …, the newest per instance last."""
    records = {token: f"{no}|c{no}|{no}000|{kind}|h|g|2|" for no, token in enumerate(tokens, 2)}
    made = {"dis": records, "st": {token.split("#")[0]: token for token in tokens}}
    return {**made, "tok": records if outstanding else {}}


def shown(current: dict) -> tuple[str, int, int]:
    standing = standings(current)["n"]
    return standing.status, standing.token.attempt, standing.token.iteration


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        (begun("n@#0.1"), ("RUNNING", 1, 1)),
        (begun("n@#0.1", kind="w"), ("WAITING", 1, 1)),
        (begun("$arm:n@#0.1", kind="i"), ("RUNNING", 1, 1)),
        (begun("n@#0.0", kind="i"), ("PENDING", 0, 1)),
        ({**begun("n@#0.1", "$retry:n@#0.2", kind="r"), "done": {"n@#0.1": "3|c|3000|RETRIED|{}"}}, ("RETRYING", 1, 1)),
        (
            {
                **begun("n@#0.1", "$retry:n@#0.2", kind="r"),
                "done": {"n@#0.1": "3|c|3000|RETRIED|{}", "$retry:n@#0.2": "4|c|4000|CANCELLED|"},
            },
            ("CANCELLED", 1, 1),
        ),
        (begun("n@l=1#0.1", "n@l=12#0.1", "n@l=3#0.1"), ("RUNNING", 1, 12)),
        ({**begun("n@l=2#0.4", "n@l=1#1.1"), "done": {"n@l=2#0.4": "3|c|3000|FAILED|{}"}}, ("RUNNING", 1, 1)),
        ({"st": {"n@": "n@#0.0"}, "done": {"n@#0.0": "3|c|3000|SKIPPED|"}}, ("SKIPPED", 0, 1)),
    ],
)
def test_a_node_shows_its_newest_execution(current: dict, expected: tuple) -> None:
    assert shown(state(**current)) == expected


def test_the_coordinator_s_own_tokens_are_no_nodes() -> None:
    current = begun("$start@#0.1", "$fan:n:0@#0.1", "$losers:n@#0.1", "$end@#4.0", kind="i")
    assert standings(state(**current)) == {}


def test_values_that_are_artifacts_show_as_references() -> None:
    current = state()
    current["meta"] = META | {"input_ref": "artifact://sha256/1", "output_ref": "artifact://sha256/2"}
    view = run_view("r", current, plan({"id": "n", "type": "pass"}), "https://x")
    assert view["input"] == {"$artifact": "artifact://sha256/1"}
    assert view["output"] == {"$artifact": "artifact://sha256/2"}
    assert view["nodes"]["n"]["status"] == "PENDING"
    assert view["links"]["self"] == "https://x/api/v1/runs/r"


def executions(current: dict, **more: object) -> dict:
    made = plan({"id": "n", "type": "pass"})
    return node_view("r", current, made, "n", lambda job: job.token, lambda token: None)[0]


def test_only_the_newest_executions_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    current = state(**begun(*(f"n@l={i}#0.1" for i in range(1, 31))))
    assert len(executions(current)["executions"]) == 30
    monkeypatch.setattr(views, "MAX_EXECUTIONS", 10)
    view = executions(current)
    assert view["truncated"] is True
    assert [e["iteration"] for e in view["executions"]] == list(range(21, 31))
    monkeypatch.setattr(views, "MAX_BYTES", 500)
    assert 0 < len(executions(current)["executions"]) < 10


def test_an_outcome_shows_on_the_attempt_that_gave_it() -> None:
    current = state(**begun("n@#0.1", "n@#0.2", outstanding=False))
    current["done"] = {"n@#0.1": '4|c|4000|RETRIED|{"type":"A|B"}', "n@#0.2": "5|c|5000|COMPLETED|"}
    current["val"] = {"n@#0": '5|{"s":"COMPLETED","o":"x|y","i":1,"a":2}'}
    first, second = executions(current)["executions"]
    assert (first["status"], first["output"], first["error"]) == ("FAILED", None, {"type": "A|B"})
    assert (second["status"], second["output"], second["error"]) == ("COMPLETED", "x|y", None)


def test_an_input_is_what_the_templates_came_to_when_the_execution_began() -> None:
    made = compile_workflow(
        {
            "nodes": [
                {"id": "m", "type": "pass", "set": {"v": "${1}"}},
                {"id": "n", "type": "http", "config": {
                    "url": "https://${input.host}/${ctx.m.output}", "body": "${vars.v}",
                    "headers": {"a": "${secret.KEY}"}}},
            ],
            "edges": [{"from": "m", "to": "n"}],
        },
        limits=Limits(),
    )  # fmt: skip
    current = state(**begun("n@#0.1"))
    current["meta"] = META | {"input": '{"host": "h"}'}
    current["last"] = {"m@": "0000000|m@#1"}
    current["val"] = {
        "m@#1": '9|{"s":"COMPLETED","o":"later","i":1,"a":1}',
        "m@#0": '2|{"s":"COMPLETED","o":"then","i":1,"a":1}',
    }
    current["vars"] = {"v": "9|1|99", "v#1": "1||7"}
    (token,) = [text for text in current["dis"]]
    from chalicelib.domain.ids import parse_token

    config = execution_input("r", current, lambda graph: made, parse_token(token), lambda token: {})
    assert config == {"url": "https://h/then", "body": 7, "headers": {"a": "${secret.KEY}"}}
    current["meta"] = META | {"input": "null"}
    assert execution_input("r", current, lambda graph: made, parse_token(token), lambda token: {}) is None


def test_an_outcome_of_an_earlier_iteration_is_read_where_the_newest_came_later() -> None:
    made = compile_workflow(
        {
            "nodes": [
                {"id": "w", "type": "pass"},
                {"id": "l", "type": "loop", "loop": {"condition": "true", "max_iterations": 3, "loop_back_to": "w"}},
                {"id": "n", "type": "function", "config": {"handler": "echo", "params": "${ctx.w.output}"}},
            ],
            "edges": [{"from": "w", "to": "l"}, {"from": "l", "to": "n"}],
        },
        limits=Limits(),
    )
    from chalicelib.domain.ids import parse_token

    current = state(dis={"n@#0.1": "5|c|5000|t|g|g1|0|"})
    current["meta"] = META | {"input": "null"}
    current["last"] = {"w@": "0000000.0000012|w@l=12#0"} | {f"w@l={i}": f"0|w@l={i}#0" for i in range(1, 13)}
    current["val"] = {f"w@l={i}#0": f'{i}|{{"s":"COMPLETED","o":{i},"i":{i},"a":1}}' for i in range(1, 13)}
    assert execution_input("r", current, lambda graph: made, parse_token("n@#0.1"), lambda token: {})["params"] == 5
