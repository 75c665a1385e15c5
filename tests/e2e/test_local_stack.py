"""The local stack: its processes, and what it does to an app's queue handlers."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.local.aws import ROOT
from infra.local.ports import free_port
from tests.e2e.conftest import FAKE, alive, eventually

pytestmark = pytest.mark.stack


def test_the_ready_line_names_every_part_and_the_state_file_repeats_it(fake_stack):
    ready = fake_stack.ready
    assert list(ready) == ["api_url", "token", "redis_url", "aws_endpoint_url", "console_url", "processes"]
    assert {"redis", "aws", "api", "pollers", "workers", "schedules"} <= set(ready["processes"])
    assert all(alive(pid) for pid in ready["processes"].values())
    assert json.loads(fake_stack.state.read_text())["token"] == ready["token"] == "local.local.7.2592000.64"
    assert fake_stack.state.stat().st_mode & 0o777 == 0o600


def test_children_get_the_stacks_settings(fake_stack):
    status, _, body = fake_stack.call("GET", "/api/v1/settings")
    settings = json.loads(body)
    assert status == 200
    assert settings["GRAFT_STAGE"] == "local"
    assert settings["GRAFT_PARTIAL_BATCHES"] == "1"
    assert settings["GRAFT_PUBLIC_URL"] == fake_stack.ready["api_url"]
    assert settings["REDIS_URL"] == fake_stack.ready["redis_url"]
    assert settings["AWS_ENDPOINT_URL"] == fake_stack.ready["aws_endpoint_url"]


def test_everything_a_stage_needs_is_there(fake_stack):
    sqs = fake_stack.aws("sqs")
    for name in ("completion-signals", "tasks-function", "tasks-http", "tasks-agent"):
        found = sqs.get_queue_attributes(QueueUrl=fake_stack.queue_url(name), AttributeNames=["All"])["Attributes"]
        redrive = json.loads(found["RedrivePolicy"])
        assert redrive["deadLetterTargetArn"].endswith(f"{name}-dlq")
        assert redrive["maxReceiveCount"] == 5
        assert found["MessageRetentionPeriod"] == str(14 * 24 * 3600)
        assert int(found["VisibilityTimeout"]) == 6 * 3
    table = fake_stack.aws("dynamodb").describe_table(TableName="graft-local")["Table"]
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["pk", "sk"]
    assert fake_stack.aws("s3").list_objects_v2(Bucket="graft-local-artifacts")["KeyCount"] == 0
    assert fake_stack.aws("scheduler").get_schedule_group(Name="graft-local")["State"] == "ACTIVE"


def test_every_server_listens_on_loopback_alone(fake_stack):
    listening = subprocess.run([sys.executable, "-c", _LISTENING], capture_output=True, text=True, check=True).stdout
    mine = [line for line in listening.splitlines() if int(line.split()[1]) in _ports(fake_stack.ready)]
    assert len(mine) == 3
    assert {line.split()[0] for line in mine} == {"0100007F"}


_LISTENING = """
for line in open("/proc/net/tcp").readlines()[1:]:
    address, state = line.split()[1], line.split()[3]
    if state == "0A":
        print(address.split(":")[0], int(address.split(":")[1], 16))
"""


def _ports(ready):
    urls = (ready["api_url"], ready["redis_url"].removesuffix("/0"), ready["aws_endpoint_url"])
    return {int(url.rpartition(":")[2]) for url in urls}


def test_only_the_failed_message_of_a_batch_comes_again_and_ends_in_the_dead_letters(fake_stack):
    fake_stack.send("completion-signals", {"do": "ok", "n": "a1"}, {"do": "fail", "n": "a2"}, {"do": "ok", "n": "a3"})
    dead = fake_stack.queue_url("completion-signals-dlq")
    found = eventually(lambda: _receive(fake_stack, dead), what="the dead letter")
    assert [json.loads(message["Body"])["n"] for message in found] == ["a2"]
    seen = _seen(fake_stack, "a")
    assert seen["a1"] == seen["a3"] == [1]
    assert seen["a2"] == [1, 2, 3, 4, 5]


def test_an_exception_brings_the_whole_batch_again(fake_stack):
    fake_stack.send("completion-signals", {"do": "ok", "n": "b1"}, {"do": "raise", "n": "b2"})
    dead = fake_stack.queue_url("completion-signals-dlq")
    eventually(lambda: _receive(fake_stack, dead), what="the dead letter")
    seen = _seen(fake_stack, "b")
    together = next(note for note in fake_stack.noted("signals") if note["n"] == "b2")["batch"]
    assert together == 1 or len(seen["b1"]) > 1
    assert seen["b2"] == [1, 2, 3, 4, 5]


def test_an_answer_that_names_an_unknown_message_fails_the_batch(fake_stack):
    fake_stack.send("completion-signals", {"do": "garbage", "n": "c1"})
    eventually(lambda: _receive(fake_stack, fake_stack.queue_url("completion-signals-dlq")), what="the dead letter")
    assert _seen(fake_stack, "c")["c1"] == [1, 2, 3, 4, 5]


def _receive(stack, url):
    answer = stack.aws("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    for message in answer.get("Messages", ()):
        stack.aws("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return answer.get("Messages")


def _seen(stack, letter):
    """The receive counts at which each message was delivered."""
    seen = {}
    for note in stack.noted("signals"):
        if note.get("n", "").startswith(letter):
            seen.setdefault(note["n"], []).append(note["count"])
    return seen


def test_a_slow_task_does_not_hold_up_the_others(fake_stack):
    fake_stack.send("tasks-function", *[{"n": "slow", "sleep_s": 1.5} for _ in range(2)])
    begun = time.monotonic()
    fake_stack.send("tasks-function", {"n": "quick"})
    eventually(lambda: any(note["n"] == "quick" for note in fake_stack.noted("tasks")), what="the quick task")
    assert time.monotonic() - begun < 1.4


def test_a_handler_past_its_deadline_is_given_up_and_its_message_comes_again(fake_stack):
    fake_stack.send("tasks-function", {"n": "hung", "sleep_s": 5})
    dead = fake_stack.queue_url("tasks-function-dlq")
    attributes = {"QueueUrl": fake_stack.queue_url("tasks-function"), "AttributeNames": ["All"]}

    def in_flight():
        found = fake_stack.aws("sqs").get_queue_attributes(**attributes)["Attributes"]
        return found["ApproximateNumberOfMessagesNotVisible"] == "1"

    eventually(in_flight, what="the first receive")
    eventually(lambda: [n for n in fake_stack.noted("tasks") if n["n"] == "hung"][1:], what="a second delivery")
    assert not _receive(fake_stack, dead)


def test_schedules_fire_every_second_instead_of_every_minute(fake_stack):
    before = len(fake_stack.noted("ticks"))
    eventually(lambda: len(fake_stack.noted("ticks")) >= before + 2, timeout=8, what="two ticks")
    assert set(fake_stack.noted("ticks")) == {"Scheduled Event"}


def test_a_message_reaches_its_handler_without_waiting_for_the_next_poll(fake_stack):
    hops = []
    for number in range(20):
        sent = time.time()
        fake_stack.send("completion-signals", {"do": "ok", "n": f"h{number}", "sent": sent})
        hop = eventually(lambda n=number: [s for s in fake_stack.noted("signals") if s.get("n") == f"h{n}"])[0]
        hops.append(hop["at"] - sent)
    assert statistics.median(hops) < 0.05


def test_two_stacks_run_beside_each_other(fake_stack, start_stack):
    other = start_stack()
    try:
        assert not _ports(other.ready) & _ports(fake_stack.ready)
        other.send("tasks-function", {"n": "other"})
        eventually(lambda: other.noted("tasks"), what="the task")
        assert not [note for note in fake_stack.noted("tasks") if note["n"] == "other"]
    finally:
        assert other.stop() == 0


@pytest.fixture
def own_stack(start_stack):
    stack = start_stack()
    yield stack
    if stack.process.poll() is None:
        stack.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_stop_leaves_nothing(own_stack, number):
    pids = own_stack.pids
    assert own_stack.stop(number) == 0
    assert not [name for name, pid in pids.items() if alive(pid)]
    assert not own_stack.state.exists()
    assert sorted(path.name for path in own_stack.temp.iterdir()) == ["state"]


def test_children_do_not_outlive_a_killed_supervisor(own_stack):
    pids = own_stack.pids
    own_stack.stop(signal.SIGKILL)
    eventually(lambda: not [name for name, pid in pids.items() if alive(pid)], what="the children's end")


def test_a_killed_child_comes_back_and_works(own_stack):
    own_stack.redis.set("kept", "no")
    before = own_stack.pids
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not set(own_stack.pids.values()) & set(before.values()), what="new processes")
    eventually(lambda: _works(own_stack), what="work")
    assert own_stack.redis.get("kept") is None
    assert own_stack.call("GET", "/api/v1/echo/fixed")[0] == 200


def _works(stack):
    try:
        if not stack.noted("tasks"):
            stack.send("tasks-function", {"n": "again"})
        return stack.noted("tasks")
    except Exception:
        return False


def test_requests_wait_while_the_api_restarts(own_stack):
    os.kill(own_stack.pids["api"], signal.SIGKILL)
    assert own_stack.call("GET", "/api/v1/echo/fixed")[0] == 200


def test_the_message_of_a_killed_poller_comes_again(own_stack):
    own_stack.send("tasks-function", {"n": "dropped", "sleep_s": 1})
    time.sleep(0.3)
    for name in ("workers", "workers-2"):
        os.kill(own_stack.pids[name], signal.SIGKILL)
    assert not own_stack.noted("tasks")
    eventually(lambda: own_stack.noted("tasks"), what="the second delivery")


def test_a_stack_on_parts_that_are_there_starts_only_the_others(fake_stack, start_stack):
    ready = fake_stack.ready
    other = start_stack(
        REDIS_URL=ready["redis_url"].removesuffix("0") + "1",
        AWS_ENDPOINT_URL=ready["aws_endpoint_url"],
        GRAFT_QUEUE_PREFIX="other-",
        GRAFT_TABLE="other",
    )
    try:
        assert not {"redis", "aws"} & set(other.ready["processes"])
        assert other.ready["aws_endpoint_url"] == ready["aws_endpoint_url"]
        assert fake_stack.aws("dynamodb").describe_table(TableName="other")["Table"]["TableStatus"] == "ACTIVE"
        url = fake_stack.aws("sqs").get_queue_url(QueueName="other-tasks-function")["QueueUrl"]
        fake_stack.aws("sqs").send_message(QueueUrl=url, MessageBody='{"n": "there"}')
        eventually(lambda: other.noted("tasks"), what="the task")
    finally:
        assert other.stop() == 0
    assert fake_stack.redis.ping()


def _run(*arguments, **environment):
    argv = [sys.executable, "-m", "infra.local", *arguments]
    env = {**os.environ, **environment}
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=30, check=False)


def test_a_taken_port_is_refused_in_one_sentence(fake_stack, tmp_path):
    done = _run(*FAKE, "--port", str(fake_stack.port), "--state", str(tmp_path / "s.json"))
    assert done.returncode == 2
    assert "Choose another --port" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_stand_in_says_how_to_get_it(tmp_path):
    done = _run(*FAKE, "--state", str(tmp_path / "s.json"), GRAFT_AWS_VENV=str(tmp_path), TMPDIR=str(tmp_path))
    assert done.returncode == 2
    assert "make setup" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("module", "reason"), [("tests.e2e.no_such_app", "No module named"), ("json", "Chalice app")])
def test_an_app_that_cannot_be_loaded_is_named(tmp_path, module, reason):
    issuer = ("--issuer", "tests.e2e.fake_app:issue_token")
    done = _run("--app", f"{module}:app", *issuer, "--state", str(tmp_path / "s.json"), TMPDIR=str(tmp_path))
    assert done.returncode == 2
    assert module in done.stderr
    assert reason in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_failed_start_tells_why_and_where_the_logs_are(tmp_path):
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\necho no room >&2\nexit 1\n")
    python.chmod(0o755)
    done = _run(*FAKE, "--state", str(tmp_path / "s.json"), GRAFT_AWS_VENV=str(tmp_path), TMPDIR=str(tmp_path))
    assert done.returncode == 3
    assert "no room" in done.stderr
    logs = done.stderr.splitlines()[-1].removeprefix("The logs are in ").removesuffix(".")
    assert "no room" in (Path(logs) / "aws.log").read_text()


def test_a_localstack_that_is_named_is_used(fake_stack, start_stack):
    host = fake_stack.ready["aws_endpoint_url"].removeprefix("http://")
    other = start_stack(
        LOCALSTACK_HOST=host, GRAFT_QUEUE_PREFIX="ls-", GRAFT_TABLE="named", GRAFT_BUCKET="ls-artifacts"
    )
    try:
        assert "aws" not in other.ready["processes"]
        assert other.ready["aws_endpoint_url"] == fake_stack.ready["aws_endpoint_url"]
        url = fake_stack.aws("sqs").get_queue_url(QueueName="ls-tasks-function")["QueueUrl"]
        fake_stack.aws("sqs").send_message(QueueUrl=url, MessageBody='{"n": "named"}')
        eventually(lambda: other.noted("tasks"), what="the task")
    finally:
        assert other.stop() == 0


def test_moto_stands_in_too_on_a_chosen_port(start_stack):
    port = free_port()
    stack = start_stack(*FAKE, "--aws", "moto", "--port", str(port))
    try:
        assert stack.ready["api_url"] == f"http://127.0.0.1:{port}"
        stack.send("tasks-function", {"n": "moto"})
        eventually(lambda: stack.noted("tasks"), what="the task")
    finally:
        assert stack.stop() == 0


def test_an_aws_that_refuses_or_is_not_there_ends_the_start_with_one_sentence(fake_stack, tmp_path):
    there = {"AWS_ENDPOINT_URL": fake_stack.ready["aws_endpoint_url"], "REDIS_URL": fake_stack.ready["redis_url"]}
    nowhere = there | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    for environment in (there | {"GRAFT_TABLE": "t", "GRAFT_QUEUE_PREFIX": "refused-"}, nowhere):
        done = _run(*FAKE, "--state", str(tmp_path / "s.json"), TMPDIR=str(tmp_path), **environment)
        assert done.returncode == 3
        assert done.stderr.startswith("Cannot create the queues, the table and the bucket: ")
        assert "Traceback" not in done.stderr
