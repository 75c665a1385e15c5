"""Links by which one person decides once, in a browser or by a program."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest

from app import app
from chalicelib.engine.credentials import issue_callback_token, issue_link_token, verify_link_token
from infra.local.gateway import Gateway, HttpRequest
from tests.api.client import SECRET, Api, Reply
from tests.api.people import FORM, approvals, asks, decide, path_of, run, started

BROWSER = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
TYPED = {**BROWSER, "Content_Type": "application/x-www-form-urlencoded"}


def links(api: Api, run_id: str, by: str = "ann", scopes: Any = ("approvals",), **body: Any) -> Reply:
    return api.post(f"runs/{run_id}/nodes/ask/links", body, token=api.token(list(scopes), sub=by))


def follow(api: Api, link: str, method: str = "GET", body: Any = None, **headers: str) -> Reply:
    return api.call(method, path_of(link), body, token=None, **headers)


def test_a_link_decides_for_its_person_once(api: Api) -> None:
    run_id = started(api, asks({"quorum": 2}))
    made = links(api, run_id)
    assert made.status == 201, made.text
    assert (made.json["for"], made.json["expires_at"]) == ("ann", "2027-01-22T08:00:00.000Z")
    answer = follow(api, made.json["approve"], "POST", {"comment": "fine"})
    assert (answer.status, answer.json["decided"]) == (200, False), answer.text
    assert [(vote["by"], vote["comment"]) for vote in answer.json["decisions"]] == [("ann", "fine")]
    for link in (made.json["approve"], made.json["reject"]):
        for method in ("GET", "POST"):
            again = follow(api, link, method)
            assert again.status == 409 and "ann has decided" in again.json["detail"]
    bob = links(api, run_id, "bob").json
    assert follow(api, bob["reject"], "POST").json["decided"] is True
    api.drain()
    assert run(api, run_id)["error"]["type"] == "Rejected"


def test_following_a_link_decides_nothing(api: Api) -> None:
    """Scanners of mail follow every link, and some send HEAD first."""
    run_id = started(api, asks())
    made = links(api, run_id).json
    for name in ("approve", "reject"):
        for method in ("GET", "HEAD", "GET"):
            assert follow(api, made[name], method, **BROWSER).status == 200
    shown = follow(api, made["reject"])
    assert (shown.json["message"], shown.json["approved"], shown.json["for"]) == ("Ship 7?", False, "ann")
    assert approvals(api)[0]["decisions"] == []
    assert follow(api, made["approve"], "POST").status == 200


def test_the_page_is_whole_in_itself_and_escapes_what_others_wrote(api: Api) -> None:
    evil = "</p><script>alert(1)</script><img src=x onerror=alert(1)> & \" '"
    run_id = started(api, asks({"message": evil.replace("$", ""), "form": {"title": "</pre><script>"}}))
    page = follow(api, links(api, run_id, 'a"><script>').json["approve"], **BROWSER)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<script" not in page.text and "<img" not in page.text and "&lt;script&gt;alert(1)" in page.text
    policy = page.headers["Content-Security-Policy"]
    style = re.search(r"<style>(.*)</style>", page.text)[1]
    assert f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" in policy
    for part in ("default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert part in policy
    assert "unsafe" not in policy
    assert page.headers["Referrer-Policy"] == "no-referrer" and page.headers["Cache-Control"] == "no-store"
    assert page.text.count("<form method=post>") == 1 and "style=" not in page.text and "http" not in style


def test_the_page_s_button_decides_and_says_so(api: Api) -> None:
    run_id = started(api, asks({"form": FORM}))
    link = links(api, run_id).json["approve"]
    for data in ("", "{", '{"n": "x"}'):
        refused = follow(api, link, "POST", urlencode({"comment": "", "data": data}).encode(), **TYPED)
        assert (refused.status, refused.headers["Content-Type"]) == (422, "text/html; charset=utf-8")
    body = urlencode({"comment": "ja, ä & <b>", "data": '{"n": 3}'}).encode()
    thanks = follow(api, link, "POST", body, **TYPED)
    assert thanks.status == 200 and "You have approved" in thanks.text, thanks.text
    again = follow(api, link, "POST", body, **TYPED)
    assert again.status == 409 and "ann has decided" in again.text
    api.drain()
    output = run(api, run_id)["output"]["ship"]
    assert (output["comment"], output["data"]) == ("ja, ä & <b>", {"n": 3})
    assert follow(api, link, **BROWSER).status == 409


def test_json_is_taken_under_a_form_s_type_too(api: Api) -> None:
    link = links(api, started(api, asks())).json["approve"]
    kind = {"Content_Type": "application/x-www-form-urlencoded"}
    assert follow(api, link, "POST", {"comment": "curl -d"}, **kind).json["decisions"][0]["comment"] == "curl -d"


def test_a_link_ends(api: Api) -> None:
    run_id = started(api, asks({"quorum": 3}))
    short = links(api, run_id, ttl_s=60).json
    assert short["expires_at"] == "2027-01-15T08:01:00.000Z"
    api.clock.now = api.clock.now // 60_000 * 60_000 + 59_999
    assert follow(api, short["approve"]).status == 200
    api.clock.now += 1
    for method in ("GET", "POST"):
        expired = follow(api, short["approve"], method)
        assert expired.status == 401 and "expired" in expired.json["detail"]
    assert "expired" in follow(api, short["approve"], **BROWSER).text
    decided = links(api, run_id, "bob").json
    for by in ("x", "y", "z"):
        decide(api, run_id, by)
    assert follow(api, decided["approve"], "POST").status == 409
    api.drain()
    assert follow(api, decided["approve"]).status == follow(api, decided["approve"], "POST").status == 409
    api.clock.now += 3_600_000
    api.retire(run_id)
    assert follow(api, decided["approve"], "POST").status == 409


def test_who_may_have_links(api: Api) -> None:
    run_id = started(api, asks({"approvers": ["bob", "cy"], "quorum": 2}))
    assert links(api, run_id, "ann").status == 403
    assert links(api, run_id, "bob").status == 201
    assert links(api, run_id, "bob", **{"for": "cy"}).status == 403
    made = links(api, run_id, "root", ["admin"], **{"for": "cy"})
    assert (made.status, made.json["for"]) == (201, "cy")
    assert links(api, run_id, "root", ["admin"], **{"for": "eve"}).status == 403
    follow(api, made.json["approve"], "POST")
    assert links(api, run_id, "cy").status == 409
    assert api.post(f"runs/{run_id}/nodes/ship/links").status == 409
    assert api.post(f"runs/{run_id}/nodes/none/links").status == 404
    assert api.post("runs/none/nodes/ask/links").status == 404
    api.post(f"runs/{run_id}/cancel")
    assert links(api, run_id, "bob").status == 409


BAD = [
    *(({"ttl_s": value}, "/ttl_s") for value in (59, 2_592_001, True, "60")),
    *(({"for": value}, "/for") for value in ("", 1, "x" * 257)),
    ({"job_id": 1}, "/job_id"),
    ({"x": 1}, "/x"),
]


@pytest.mark.parametrize(("body", "path"), BAD)
def test_links_that_make_no_sense_are_refused(api: Api, body: dict, path: str) -> None:
    reply = api.post(f"runs/{started(api, asks())}/nodes/ask/links", body)
    assert (reply.status, reply.json["errors"][0]["path"]) == (422, path)


def test_no_other_token_is_a_link_and_a_link_is_no_other_token(api: Api) -> None:
    run_id = started(api, asks())
    job = approvals(api)[0]["job_id"]
    link = links(api, run_id).json["approve"]
    token = link.rsplit("/", 1)[1]
    claims = verify_link_token(SECRET, token, api.clock.now_ms())
    later = api.clock.now_ms() + 60_000
    wrong = {
        "a bearer token": api.token(),
        "a callback token": issue_callback_token(SECRET, job, run_id, "ask", 1, later),
        "another deployment's": issue_link_token(b"x" * 32, claims),
        "changed": token[:-2] + ("aa" if token[-2:] != "aa" else "bb"),
        "nonsense": "a.b.c",
    }
    for name, other in wrong.items():
        for method in ("GET", "POST"):
            assert api.call(method, f"decisions/{other}", token=None).status == 401, name
    assert api.get("runs", token=token).status == 401
    assert api.post(f"tasks/{token}/complete", {"result": 1}, token=None).status == 401
    for changed in ({"tenant": "other"}, {"run_id": "none"}):
        forged = issue_link_token(SECRET, replace(claims, **changed))
        assert api.post(f"decisions/{forged}", token=None).status == 404
    assert approvals(api)[0]["decisions"] == []


def test_a_link_is_for_one_execution_of_its_node(api: Api) -> None:
    loop = {"condition": "iteration < 2", "loop_back_to": "ask"}
    run_id = started(api, asks(loop=loop))
    link = links(api, run_id).json["approve"]
    assert decide(api, run_id, "bob").status == 200
    api.drain()
    assert approvals(api)[0]["iteration"] == 2
    assert follow(api, link, "POST").status == 409
    assert approvals(api)[0]["decisions"] == []


def test_links_repeat_under_a_key(api: Api) -> None:
    run_id = started(api, asks())
    first = api.post(f"runs/{run_id}/nodes/ask/links", {}, Idempotency_Key="k")
    api.clock.now += 5000
    assert api.post(f"runs/{run_id}/nodes/ask/links", {}, Idempotency_Key="k").text == first.text
    link = first.json["approve"]
    used = [follow(api, link, "POST", {}, Idempotency_Key="d").text for _ in range(2)]
    assert used[0] == used[1]


def test_a_page_goes_through_the_local_gateway_as_it_is(api: Api) -> None:
    link = path_of(links(api, started(api, asks())).json["approve"])
    headers = [("Accept", "text/html"), ("Content-Type", "application/x-www-form-urlencoded")]
    page = Gateway(app).answer(HttpRequest("GET", link, headers))
    shown = dict(page.headers)
    assert (page.status, shown["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page.body.startswith(b"<!doctype html>") and "Content-Security-Policy" in shown
    done = Gateway(app).answer(HttpRequest("POST", link, headers, b"comment=gr%C3%BC%C3%9Fe"))
    assert done.status == 200 and b"Thank you" in done.body
    assert Gateway(app).answer(HttpRequest("POST", link, headers, b"comment=x")).status == 409
