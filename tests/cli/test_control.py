"""`graft runs cancel|pause|resume|explain|verify` and `graft dead-letters` against a scripted server."""

import json

import pytest

from tests.cli.server import ask, problem, serving

AT = "2030-01-31T12:00:00.000Z"
EXPLAINED = {
    "run_id": "r1",
    "status": "RUNNING",
    "since": None,
    "summary": "The run is RUNNING and waits for 1 task.",
    "waiting": [
        {"node_id": "a", "waits_for": "task", "since": AT, "queue": "tasks-http", "queued": 3, "moved_by": "A signal."}
    ],
    "waiting_total": 1,
    "problems": [{"code": "overdue", "node_id": "a", "message": "It was due."}],
    "error": None,
}


def verified(run_id, ok=True):
    found = [] if ok else [{"code": "seq_gap", "where": "7", "journal": 8}]
    return {"run_id": run_id, "ok": ok, "differences": found, "commits": 3, "events": 5}


def letter(number):
    origin = {"run_id": "r1", "node_id": "a", "attempt": 1}
    return {"id": f"l{number}", "reason": "It is odd.", "queue": "tasks-http", "origin": origin, "at": AT}


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume"])
def test_a_control_verb_posts_and_says_how_the_run_stands(graft, verb):
    with serving(lambda *_: (200, {"run_id": "r1", "status": "PAUSED"})) as server:
        code, out, _ = ask(graft, server, "runs", verb, "r1")
        assert (code, out) == (0, "Run r1 is PAUSED.\n")
        assert json.loads(ask(graft, server, "runs", verb, "r1", "--json")[1])["status"] == "PAUSED"
    assert [(item[0], item[1]) for item in server.asked] == [("POST", f"/api/v1/runs/r1/{verb}")] * 2


def test_a_refused_control_verb_is_the_callers_error(graft):
    with serving(lambda *_: problem(409, "Run r1 is FAILED.")) as server:
        code, _, err = ask(graft, server, "runs", "resume", "r1")
    assert code == 2 and "Run r1 is FAILED." in err


def test_explain_says_what_it_waits_for_and_what_is_wrong(graft):
    with serving(lambda *_: (200, EXPLAINED)) as server:
        code, out, _ = ask(graft, server, "runs", "explain", "r1")
        assert code == 0
        for text in ("waits for 1 task", "tasks-http, 3 waiting", "A signal.", "overdue: a: It was due."):
            assert text in out
        assert json.loads(ask(graft, server, "runs", "explain", "r1", "--json")[1]) == EXPLAINED


def test_verify_exits_with_1_where_a_run_differs(graft):
    def answer(method, path, query, body):
        return 200, verified(path.split("/")[2], ok="bad" not in path)

    with serving(answer) as server:
        assert ask(graft, server, "runs", "verify", "r1", "r2")[0] == 0
        code, out, _ = ask(graft, server, "runs", "verify", "r1", "bad")
        assert code == 1 and "seq_gap at 7" in out and "1 of 2 runs verified." in out
        code, out, _ = ask(graft, server, "runs", "verify", "bad", "--json")
    assert code == 1 and json.loads(out) == {"ok": False, "runs": [verified("bad", ok=False)]}


def test_verify_all_goes_through_every_page(graft):
    def answer(method, path, query, body):
        if path == "/runs":
            number = int(query.get("cursor", "0"))
            following = str(number + 1) if number < 2 else None
            return 200, {"items": [{"run_id": f"r{number}"}], "next_cursor": following}
        return 200, verified(path.split("/")[2])

    with serving(answer) as server:
        code, out, _ = ask(graft, server, "runs", "verify", "--all", "--json")
    assert code == 0 and [run["run_id"] for run in json.loads(out)["runs"]] == ["r0", "r1", "r2"]


@pytest.mark.parametrize("words", [("runs", "verify"), ("runs", "verify", "r1", "--all"), ("dead-letters", "redrive")])
def test_what_to_work_on_has_to_be_said(graft, words):
    code, _, err = graft(*words)
    assert code == 2 and "--all" in err


def test_dead_letters_are_listed_with_reason_and_origin(graft):
    page = {"items": [letter(1)], "next_cursor": "l1"}
    with serving(lambda *_: (200, page)) as server:
        code, out, _ = ask(graft, server, "dead-letters", "list", "--limit", "1")
        assert code == 0
        for text in ("l1", "tasks-http", "r1", "It is odd.", "--cursor l1"):
            assert text in out
        assert json.loads(ask(graft, server, "dead-letters", "list", "--json")[1]) == page


def test_redrive_puts_back_the_named_ones_or_all(graft):
    def answer(method, path, query, body):
        named = body.get("ids")
        return 200, {"redriven": named or ["l1", "l2"], "kept": [] if named else ["l9"], "more": not named}

    with serving(answer) as server:
        assert ask(graft, server, "dead-letters", "redrive", "l1")[1] == "1 put back.\n"
        code, out, _ = ask(graft, server, "dead-letters", "redrive", "--all", "--json")
        assert "say it again" in ask(graft, server, "dead-letters", "redrive", "--all")[1]
    assert (code, json.loads(out)) == (0, {"redriven": ["l1", "l2"], "kept": ["l9"], "more": True})
    assert [item[3] for item in server.asked] == [{"ids": ["l1"]}, {}, {}]
