"""Ports that live in memory, for tests of one task."""

from __future__ import annotations

import hashlib

from chalicelib.domain.errors import NotFound, Unavailable
from chalicelib.engine.work import WorkPorts, work
from chalicelib.workers.function import FunctionWorker


class StepClock:
    """Goes on by `step` milliseconds at every look."""

    def __init__(self, now=1_000_000, step=7):
        self.now, self.step = now, step

    def now_ms(self):
        self.now += self.step
        return self.now


class MemoryArtifacts:
    def __init__(self):
        self.held, self.down = {}, False

    def put(self, body, content_type="application/json"):
        if self.down:
            raise Unavailable("the artifact store did not answer")
        ref = "artifact://sha256/" + hashlib.sha256(body).hexdigest()
        self.held[ref] = body
        return ref

    def get(self, ref):
        if self.down:
            raise Unavailable("the artifact store did not answer")
        if ref not in self.held:
            raise NotFound(ref)
        return self.held[ref]

    def exists(self, ref):
        return ref in self.held

    def upload_url(self, sha256, size):
        return "https://store.example/" + sha256

    def download_url(self, sha256):
        return "https://store.example/" + sha256


def message(handler="echo", params=None, **more):
    return {
        "version": "1.0",
        "job_id": "job-1",
        "run_id": "run-1",
        "node_id": "score",
        "type": "function",
        "attempt": 1,
        "iteration": 1,
        "config": {"handler": handler, "params": params},
        "tenant": "acme",
        "deadline": None,
        "callback": {"url": "http://127.0.0.1:1/x", "token": "t"},
        **more,
    }


def ports(secrets=None, **more):
    """Ports; `secrets` are those of the tenant acme by name."""
    if secrets is not None:
        more["secrets"] = {"acme": secrets}.__getitem__
    return WorkPorts(**{"clock": StepClock(), "artifacts": MemoryArtifacts(), **more})


def done(task, handlers=None, on=None):
    """The signal of one function task."""
    worker = FunctionWorker() if handlers is None else FunctionWorker(handlers=handlers)
    return work(task, {"function": worker}, on or ports())


def call(handler, params=None, on=None, **more):
    """The signal of a task that runs `handler`."""
    return done(message("h", params, **more), {"h": handler}, on)
