"""Starts local stacks for tests, and makes sure that they leave nothing."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import pytest
import redis

from infra.local.aws import ROOT

FAKE = ("--app", "tests.e2e.fake_app:app", "--issuer", "tests.e2e.fake_app:issue_token")
PREFIX = "graft-local-"


def eventually(look, timeout=15.0, what="it"):
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + timeout
    while not (answer := look()):
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout} s"
        time.sleep(0.02)
    return answer


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not _is_zombie(pid)


def _is_zombie(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False


@dataclass
class Stack:
    """A running `python -m infra.local` and ways to reach its parts."""

    process: subprocess.Popen
    state: Path
    temp: Path
    ready: dict
    ready_s: float
    _clients: dict = field(default_factory=dict)

    @property
    def pids(self):
        return json.loads(self.state.read_text())["processes"]

    @property
    def port(self):
        return int(self.ready["api_url"].rpartition(":")[2])

    @property
    def redis(self):
        return self._clients.setdefault("redis", redis.Redis.from_url(self.ready["redis_url"]))

    def aws(self, service):
        if service not in self._clients:
            url = self.ready["aws_endpoint_url"]
            self._clients[service] = boto3.client(
                service,
                endpoint_url=url,
                region_name="us-east-1",
                aws_access_key_id="test",
                aws_secret_access_key="test",
            )
        return self._clients[service]

    def queue_url(self, name):
        return self.aws("sqs").get_queue_url(QueueName=PREFIX + name)["QueueUrl"]

    def send(self, name, *bodies):
        entries = [{"Id": str(i), "MessageBody": json.dumps(body)} for i, body in enumerate(bodies)]
        self.aws("sqs").send_message_batch(QueueUrl=self.queue_url(name), Entries=entries)

    def noted(self, key):
        return [json.loads(item) for item in self.redis.lrange(key, 0, -1)]

    def call(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def stop(self, number=signal.SIGTERM):
        for client in self._clients.values():
            client.close()
        self.process.send_signal(number)
        try:
            return self.process.wait(20)
        finally:
            self.process.stdout.close()
            self.process.stderr.close()


@pytest.fixture(scope="session")
def start_stack(tmp_path_factory):
    """A function that starts a stack; what a test leaves running is killed at the end."""
    started = []

    def start(*arguments, **environment):
        home = tmp_path_factory.mktemp("stack")
        env = {k: v for k, v in os.environ.items() if not k.startswith(("GRAFT_", "AWS_", "LOCALSTACK_", "REDIS_"))}
        env |= {"TMPDIR": str(home), "GRAFT_LOCAL_VISIBILITY_S": "2", **environment}
        state = home / "state" / "local.json"
        argv = [sys.executable, "-m", "infra.local", "--state", str(state), *(arguments or FAKE)]
        begun = time.monotonic()
        pipe = subprocess.PIPE
        process = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=pipe, stderr=pipe, text=True)
        started.append(process)
        line = process.stdout.readline()
        assert line, f"the stack did not start: {process.stderr.read()}"
        return Stack(process, state, home, json.loads(line), time.monotonic() - begun)

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
        process.stderr.close()


@pytest.fixture(scope="session")
def fake_stack(start_stack):
    """One stack with the tiny app, for all tests that do not end it."""
    stack = start_stack(GRAFT_LOCAL_RETRY_S="0", GRAFT_LOCAL_HANDLER_TIMEOUT_S="3")
    yield stack
    assert stack.stop() == 0
