"""Scripts touch what they declare and nothing else; headers, keys and arguments are bound by name."""

from __future__ import annotations

import pytest
import redis

from chalicelib.adapters.redis.keys import run_key
from chalicelib.adapters.redis.scripts import load
from chalicelib.engine.ports import RUN_HASHES
from infra.local.redis_server import RedisServer
from tests.lua.boards import SCRIPTS, Board, begin, script_keys, undeclared
from tests.lua.conftest import Monitor


def watched(server: RedisServer, client: redis.Redis, source: str, *words: object) -> list[str]:
    monitor = Monitor(server.port)
    client.eval(source, *words)
    return undeclared(monitor.lines())


CHEATS = {
    "another key": "redis.call('HSET', 'graft:{r1}:meta', 'a', 'b')",
    "a key made up": "redis.call('HSET', KEYS[1] .. 'x', 'a', 'b')",
    "a scan": "redis.call('KEYS', '*')",
    "a second key": "redis.call('DEL', KEYS[1], 'graft:{r1}:tok')",
}


@pytest.mark.parametrize("source", CHEATS.values(), ids=CHEATS)
def test_the_watch_sees_a_script_that_cheats(source: str) -> None:
    with RedisServer() as other, redis.Redis(port=other.port, decode_responses=True) as client:
        assert len(watched(other, client, source, 1, "graft:{r1}:done")) == 1


def test_the_watch_lets_an_honest_script_pass_and_sees_its_commands(server: RedisServer, client: redis.Redis) -> None:
    monitor = Monitor(server.port)
    client.eval("redis.call('HSET', KEYS[1], 'a', 'b')", 1, "graft:{r1}:done")
    lines = monitor.lines()
    assert sum(" lua]" in line for line in lines) == 1
    assert undeclared(lines) == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_server_itself_finds_the_declared_keys_enough(script: str, client: redis.Redis, board: Board) -> None:
    """Run as a user who may touch these keys only: the server refuses any other, whatever the path through the code."""
    begin(board, "a")
    patterns = [f"%RW~{key}" for key in script_keys(script, "r1")]
    client.execute_command("ACL", "SETUSER", "narrow", "reset", "on", "nopass", "+@all", *patterns)
    try:
        narrow = redis.Redis(
            port=client.connection_pool.connection_kwargs["port"], username="narrow", password="", decode_responses=True
        )
        arguments = {
            "commit": {
                "body": board.call(board_draft()).body,
                "control": '{"owner":"o","now":1,"acks":[],"created":0}',
            },
            "acknowledge": {"ack": '[2,"c2"]', "sent": "[]"},
            "hold": {"tokens": '["a@#0.1"]', "at": 1},
            "install": {"state": '{"meta":["no","9"]}', "replaces": "2|c2"},
            "read": {
                "call": '{"as_of":9,"nodes":[],"vars":["v"],"edges":["e"],"meta":[],"tokens":["t"],"joins":["j"],'
                '"box":["b"]}'
            },
            "unwritten": {"owner": "o", "now": 1},
            "look": {"look": "1|2"},
        }
        loaded = load(script)
        with narrow:
            assert narrow.eval(loaded.source, *loaded.words("r1", arguments[script]))[0] == "OK"
            with pytest.raises(redis.exceptions.NoPermissionError):
                narrow.eval(loaded.source, *loaded.words("r2", arguments[script]))
    finally:
        client.execute_command("ACL", "DELUSER", "narrow")


def board_draft():
    from chalicelib.domain.commit import Draft, Event

    return Draft(events=[Event("run_paused")])


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_begins_with_the_mark_that_keeps_it_in_one_slot(script: str) -> None:
    loaded = load(script)
    assert loaded.source.startswith("#!lua\n")
    assert "--include" not in loaded.source
    assert set(loaded.keys) <= set(RUN_HASHES)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_wrong_argument_name_fails_before_anything_is_sent(script: str) -> None:
    loaded = load(script)
    right = dict.fromkeys(loaded.args, "")
    assert loaded.words("r1", right)[0] == len(loaded.keys)
    for wrong in ({}, {**right, "more": ""}, {**dict.fromkeys(loaded.args[1:], ""), "typo": ""}):
        with pytest.raises(KeyError, match=f"{script}.lua takes"):
            loaded.words("r1", wrong)


def test_all_keys_of_a_run_share_a_slot_and_no_run_shares_a_key_with_another(client: redis.Redis) -> None:
    for name in RUN_HASHES:
        assert client.execute_command("CLUSTER", "KEYSLOT", run_key("r1", name)) == client.execute_command(
            "CLUSTER", "KEYSLOT", "r1"
        )
    assert run_key("r1", "meta") != run_key("r11", "meta")


def test_a_live_runs_keys_never_expire(board: Board, client: redis.Redis) -> None:
    begin(board, "a")
    assert {client.ttl(key) for key in client.scan_iter("*")} == {-1}
