"""How the API is found, and what is said when it is not there."""

import json

import pytest

from infra.cli.connect import connect
from infra.cli.errors import CliError
from tests.cli.server import problem, serving


def state(folder, url="http://127.0.0.1:1", token="secret"):
    (folder / ".graft").mkdir(exist_ok=True)
    (folder / ".graft" / "local.json").write_text(json.dumps({"api_url": url, "token": token}))


def test_options_come_before_the_environment_before_the_state_file(nowhere, monkeypatch):
    state(nowhere, "http://127.0.0.1:1")
    assert connect(None, None).url == "http://127.0.0.1:1"
    monkeypatch.setenv("GRAFT_URL", "http://127.0.0.1:2/")
    monkeypatch.setenv("GRAFT_TOKEN", "t")
    assert connect(None, None).url == "http://127.0.0.1:2"
    assert connect("http://127.0.0.1:3/api/v1", None).url == "http://127.0.0.1:3"


def test_the_state_file_is_found_from_a_folder_below(nowhere, monkeypatch):
    state(nowhere)
    (nowhere / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(nowhere / "deep" / "er")
    assert connect(None, None).url == "http://127.0.0.1:1"


def test_the_local_token_is_never_sent_to_another_address(nowhere):
    state(nowhere)
    with pytest.raises(CliError, match="no token for https://elsewhere"):
        connect("https://elsewhere.example", None)
    assert connect("http://127.0.0.1:1/", None).url == "http://127.0.0.1:1"


def test_without_any_api_the_way_out_is_named(graft):
    code, _, err = graft("runs", "list")
    assert code == 2
    assert "graft local up" in err and "--url" in err


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"api_url": 3, "token": "x"}', "\x00"])
def test_a_broken_state_file_is_named(nowhere, graft, text):
    state(nowhere)
    (nowhere / ".graft" / "local.json").write_text(text)
    code, _, err = graft("runs", "list")
    assert code == 2
    assert "local.json" in err


def test_a_stack_that_is_gone_is_a_server_error_with_the_way_out(nowhere, graft):
    with serving(lambda *_: (200, {})) as server:
        url = server.url
    state(nowhere, url)
    code, _, err = graft("runs", "list")
    assert code == 3
    assert "refused" in err and "graft local up" in err


@pytest.mark.parametrize("url", ["127.0.0.1:1", "file:///etc/passwd", "ftp://x"])
def test_an_address_that_is_no_api_is_refused(graft, url):
    code, _, err = graft("runs", "list", "--url", url, "--token", "t")
    assert code == 2
    assert "no address of an API" in err


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (problem(422, "It breaks a rule.", [{"code": "x", "path": "/a/b", "message": "Mend it."}]), 2, "/a/b"),
        (problem(404, "There is no such run."), 2, "There is no such run."),
        (problem(401, "No credential."), 2, "graft token create"),
        (problem(429, "Too many."), 3, "Too many."),
        (problem(503, "Not now."), 3, "Not now."),
        ((500, b"<html>oops"), 3, "status 500"),
        ((302, b""), 3, "status 302"),
        ((200, b"<html>hello"), 3, "not JSON"),
        ((404, [1]), 2, "status 404"),
        ((422, {"detail": "\x1b[2J", "errors": "x"}), 2, "\N{REPLACEMENT CHARACTER}"),
        (None, 3, "does not answer"),
    ],
)
def test_what_the_server_says_is_shown_and_decides_the_exit_code(graft, answer, code, said):
    with serving(lambda *_: answer) as server:
        found, _, err = graft("runs", "list", "--url", server.url, "--token", "t")
    assert (found, said in err, "\x1b" in err) == (code, True, False)


def test_errors_as_json_carry_the_problems(graft):
    errors = [{"code": "x", "path": "/a", "message": "m"}]
    with serving(lambda *_: problem(422, "No.", errors)) as server:
        code, out, err = graft("runs", "list", "--url", server.url, "--token", "t", "--json")
    assert (code, out) == (2, "")
    assert json.loads(err) == {"error": "No.", "errors": errors, "status": 422}


def test_a_post_is_repeated_once_under_the_same_key_when_the_connection_breaks(graft, tmp_path):
    (tmp_path / "w.json").write_text('{"nodes": []}')
    answers = iter([None, (202, {"run_id": "r1", "status": "PENDING"})])
    with serving(lambda *_: next(answers)) as server:
        code, out, _ = graft("run", tmp_path / "w.json", "--url", server.url, "--token", "t")
    assert (code, "r1" in out) == (0, True)
    keys = {headers["Idempotency-Key"] for *_, headers in server.asked}
    assert len(server.asked) == 2 and len(keys) == 1
    assert server.asked[0][4]["Authorization"] == "Bearer t"
