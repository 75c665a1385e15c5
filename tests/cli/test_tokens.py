"""`graft token create`."""

import json
import time

import jwt
import pytest

SECRET = "s" * 40


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


def test_a_token_carries_who_whose_what_and_how_long(graft, monkeypatch):
    monkeypatch.setenv("GRAFT_SIGNING_SECRET", SECRET)
    code, out, _ = graft("token", "create", "--sub", "ann", "--tenant", "acme", "--scope", "runs:read", "--scope",
                         "runs:start", "--ttl", "2h", "--json")  # fmt: skip
    found = claims(json.loads(out)["token"])
    assert code == 0
    assert (found["sub"], found["tenant"], found["scopes"]) == ("ann", "acme", ["runs:read", "runs:start"])
    assert abs(found["exp"] - time.time() - 7200) < 60


@pytest.mark.parametrize(
    "more", [["--scope", "root"], ["--ttl", "0"], ["--ttl", "1y"], ["--ttl", "9999999d"], ["--sub", ""]]
)
def test_wrong_options_are_refused(graft, monkeypatch, more):
    monkeypatch.setenv("GRAFT_SIGNING_SECRET", SECRET)
    code, out, err = graft("token", "create", "--sub", "ann", "--tenant", "acme", *more)
    assert (code, out) == (2, "")
    assert "Error" in err


def test_without_a_secret_only_the_local_stacks_token_can_be_had(graft, nowhere):
    assert graft("token", "create")[0] == 2
    (nowhere / ".graft").mkdir()
    (nowhere / ".graft" / "local.json").write_text('{"api_url": "http://127.0.0.1:1", "token": "local-token"}')
    assert graft("token", "create")[:2] == (0, "local-token\n")
    code, _, err = graft("token", "create", "--sub", "ann")
    assert code == 2 and "GRAFT_SIGNING_SECRET" in err
