"""Runs the tool calls of one turn, several at a time, each recorded before its effect."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.errors import TaskError
from chalicelib.engine.ports import Artifacts
from chalicelib.engine.secret_refs import Vault
from chalicelib.engine.work_result import as_json, canonical
from chalicelib.workers.agent.checkpoints import Checkpoints
from chalicelib.workers.agent.fence import Fence
from chalicelib.workers.agent.model import Message, ToolCall, ToolSpec, whole
from chalicelib.workers.agent.tool_specs import problems_of
from chalicelib.workers.agent.tools import Toolbox, ToolFailed

Json = Any
#: Calls of one turn that are run; further ones are refused.
MAX_CALLS = 32
#: Calls at a time.
AT_ONCE = 8
#: Bytes of a result that a model is shown; a larger one becomes an artifact with the beginning shown.
MAX_SHOWN, PREVIEW = 32 * 1024, 4 * 1024
#: Bytes of arguments that an event carries.
MAX_IN_EVENT = 1024
#: Characters of a failure's message that an event carries.
MAX_FAILURE = 300


def tool_pool() -> Executor:
    """Threads for the calls of one turn."""
    return ThreadPoolExecutor(AT_ONCE, "agent tool")


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a call: `{ok, content}` as it is recorded, and its key."""

    call: ToolCall
    key: str
    record: dict[str, Json]

    def as_event(self, turn: int) -> dict[str, Json]:
        """The `tool_called` event."""
        arguments = self.call.arguments
        if len(json.dumps(arguments)) > MAX_IN_EVENT:
            arguments = {"cut": json.dumps(arguments)[:MAX_IN_EVENT]}
        data: dict[str, Json] = {"turn": turn, "tool": self.call.name, "key": self.key, "ok": self.record["ok"]}
        if not self.record["ok"]:
            error = self.record["error"]
            data["error"] = {"type": error["type"], "message": error.get("message", "")[:MAX_FAILURE]}
        return {"type": "tool_called", "data": {**data, "arguments": arguments}}


@dataclass(frozen=True, slots=True)
class Caller:
    """Runs calls with the tools of a node."""

    toolbox: Toolbox
    specs: dict[str, ToolSpec]
    log: Checkpoints
    vault: Vault
    artifacts: Artifacts
    fence: Fence
    #: Makes the pool that runs the calls of one turn.
    pool: Callable[[], Executor]

    def run(self, turn: int, calls: Sequence[ToolCall]) -> list[Done]:
        """Results in the order of the calls. Patches go one after the other, all else at the same time.

        Raises Unavailable, HandOn and TaskError `ApiUnavailable`, after all calls have ended.
        """
        patches = [number for number, call in enumerate(calls) if call.name == "patch_workflow"]
        lanes = [[number] for number in range(len(calls)) if number not in patches]
        lanes += [patches] if patches else []
        found: dict[int, Done] = {}

        def work(lane: list[int]) -> None:
            for number in lane:
                found[number] = self._one(turn, number + 1, calls[number])

        if len(lanes) == 1:
            work(lanes[0])
        else:
            with self.pool() as pool:
                futures = [pool.submit(work, lane) for lane in lanes]
            for future in futures:
                future.result()
        return [found[number] for number in range(len(calls))]

    def message(self, done: Sequence[Done]) -> Message:
        """The results as the model is shown them: data, whatever they say."""
        results = tuple(
            (one.call.id, one.call.name, self.fence.around(one.record["content"]), not one.record["ok"]) for one in done
        )
        return Message("tool", results=results)

    def _one(self, turn: int, number: int, call: ToolCall) -> Done:
        name = f"turn-{turn:04d}-call-{number:02d}"
        key = f"{self.log.digest}-{turn}-{number}"
        if number > MAX_CALLS:
            text = f"One turn may make {MAX_CALLS} calls; make the others in later turns."
            return Done(call, key, self._failed(ToolFailed("TooMany", text)))
        recorded = self.log.find(name)
        if recorded is None:
            recorded = self.log.begin(name, {"key": key, "tool": call.name})
        if recorded is None:
            recorded = self.log.once(name, self._outcome(call, key))
        return Done(call, key, recorded)

    def _outcome(self, call: ToolCall, key: str) -> dict[str, Json]:
        try:
            self._check(call)
            result = self.toolbox.run(call.name, call.arguments, key)
            return {"ok": True, "content": self._shown(result)}
        except ToolFailed as failed:
            return self._failed(failed)

    def _failed(self, failed: ToolFailed) -> dict[str, Json]:
        error = {"type": failed.kind, "message": failed.message, "errors": failed.errors}
        error = self.vault.redact_json(whole({name: value for name, value in error.items() if value}))
        return {"ok": False, "error": error, "content": canonical(as_json({"error": error})).decode()}

    def _check(self, call: ToolCall) -> None:
        spec = self.specs.get(call.name)
        if spec is None:
            raise ToolFailed("UnknownTool", f"There is no tool {call.name!r} here; there are {', '.join(self.specs)}.")
        if call.problem:
            raise ToolFailed("BadArguments", call.problem)
        problems = problems_of(spec.schema, call.arguments)
        if problems:
            raise ToolFailed("BadArguments", f"The arguments of {call.name} break its schema.", problems)

    def _shown(self, result: Json) -> str:
        try:
            body = canonical(self.vault.redact_json(as_json(result)))
        except TaskError as error:
            raise ToolFailed(error.type, error.message) from error
        if len(body) <= MAX_SHOWN:
            return body.decode()
        start = body[:PREVIEW].decode("utf-8", "ignore")
        return canonical({"artifact": self.artifacts.put(body), "bytes": len(body), "begins": start}).decode()
