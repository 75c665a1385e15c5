"""`graft approvals` and `graft runs signal` against a scripted server; what `watch` and `explain` say of people."""

from __future__ import annotations

import json

import pytest

from infra.cli.watch import Board, event_line
from tests.cli.server import ask, problem, serving

AT = "2030-01-31T12:00:00.000Z"
ITEM = {
    "run_id": "r1", "node_id": "ask", "loops": {"l": 2}, "message": "Ship\x1b[31m it?", "quorum": 2, "since": AT,
    "approvers": ["ann", "bob"], "decisions": [{"by": "bob", "approved": True}], "expires_at": None,
}  # fmt: skip
ANSWER = {"run_id": "r1", "node_id": "ask", "approved": True, "decided": False, "decisions": []}
PATH = "/api/v1/runs/r1/nodes/a%2Fb"
CASES = {
    "approve": (("approvals", "approve", "r1", "a/b"), f"{PATH}/decision", {"approved": True}),
    "approve with all": (
        ("approvals", "approve", "r1", "a/b", "--comment", "ok", "--data", '{"n": 1}', "--job-id", "j"),
        f"{PATH}/decision",
        {"approved": True, "comment": "ok", "data": {"n": 1}, "job_id": "j"},
    ),
    "reject": (
        ("approvals", "reject", "r1", "a/b", "--comment", "no"),
        f"{PATH}/decision",
        {"approved": False, "comment": "no"},
    ),
    "link": (("approvals", "link", "r1", "a/b"), f"{PATH}/links", {}),
    "link for another": (
        ("approvals", "link", "r1", "a/b", "--for", "cy", "--ttl-s", "60"),
        f"{PATH}/links",
        {"for": "cy", "ttl_s": 60},
    ),
    "signal": (("runs", "signal", "r1", "a|b ä", "--payload", "[1]"), "/api/v1/runs/r1/signals/a%7Cb%20%C3%A4", [1]),
    "signal with nothing": (("runs", "signal", "r1", "e"), "/api/v1/runs/r1/signals/e", None),
}


@pytest.mark.parametrize("case", CASES)
def test_a_verb_posts_what_it_was_told(graft, case):
    words, path, body = CASES[case]
    with serving(lambda *_: (200, ANSWER)) as server:
        code, _, err = ask(graft, server, *words)
        assert code == 0, err
        assert json.loads(ask(graft, server, *words, "--json")[1]) == ANSWER
    assert server.asked[0][:2] == ("POST", path) and server.asked[0][3] == body


def test_the_list_shows_who_is_asked_what(graft):
    page = {"items": [ITEM], "next_cursor": "c#1"}
    with serving(lambda *_: (200, page)) as server:
        code, out, _ = ask(graft, server, "approvals", "list", "--mine")
        assert code == 0 and "\x1b[31m it" not in out
        for text in ("r1", "ask (l 2)", "1 of 2", "ann, bob", "--cursor 'c#1'"):
            assert text in out
        assert json.loads(ask(graft, server, "approvals", "list", "--json")[1]) == page
    assert [item[2] for item in server.asked] == [{"limit": "50", "mine": "true"}, {"limit": "50"}]


def test_the_answer_says_whether_others_have_to_decide(graft):
    for decided, said in ((False, "others have to decide"), (True, "the run goes on")):
        with serving(lambda *_, decided=decided: (200, {**ANSWER, "decided": decided})) as server:
            assert said in ask(graft, server, "approvals", "approve", "r1", "ask")[1]


def test_links_are_printed_whole(graft):
    made = {"approve": "https://x/" + "a" * 500, "reject": "https://x/r", "expires_at": AT, "for": "ann"}
    with serving(lambda *_: (201, made)) as server:
        out = ask(graft, server, "approvals", "link", "r1", "ask")[1]
    assert f"approve: {made['approve']}\nreject: https://x/r\n" in out and "For ann, until 2030" in out


def test_what_is_refused_or_makes_no_sense_is_the_caller_s_error(graft):
    with serving(lambda *_: problem(409, "ann has decided before.")) as server:
        code, _, err = ask(graft, server, "approvals", "approve", "r1", "ask")
        assert code == 2 and "ann has decided before." in err
        server.asked.clear()
        wrong = [("approvals", "approve", "r1", "ask", "--data", "{"), ("runs", "signal", "r1", "e", "--payload", "x")]
        for words in wrong:
            code, _, err = ask(graft, server, *words)
            assert code == 2 and words[-2] in err
        assert server.asked == []


WAITING = [
    ({"message": "Ship?", "quorum": 1}, "waits for a decision by anybody: Ship?"),
    ({"message": "Ship?", "approvers": ["ann", "bob"]}, "waits for a decision by ann, bob: Ship?"),
    ({"decision": {"by": "ann", "approved": True}}, "approved by ann"),
    ({"decision": {"by": "ann", "approved": False}}, "rejected by ann"),
    ({"event": "paid"}, "event paid is awaited"),
    ({"event": "paid", "number": 2}, "event paid number 2 is kept"),
    ({"due": 1}, ""),
]


@pytest.mark.parametrize(("data", "said"), WAITING)
def test_watch_says_what_a_node_waits_for(data, said):
    event = {"seq": 1, "type": "node_waiting", "at": AT, "node_id": "ask", "data": data}
    assert event_line(event) == "  ".join(part for part in ("12:00:00.000", "node_waiting", "ask", said) if part)


def test_the_live_table_tells_decisions_from_timers():
    from rich.console import Console

    board = Board("r1", "w")
    nodes = {name: {"type": name, "status": "WAITING", "started_at": AT} for name in ("human", "event", "wait")}
    board.update([], {"run_id": "r1", "status": "RUNNING", "nodes": nodes})
    console = Console(width=120)
    with console.capture() as shown:
        console.print(board.render())
    text = shown.get()
    assert "WAITING for a decision" in text and "WAITING for its event" in text and text.count(" for ") == 2
