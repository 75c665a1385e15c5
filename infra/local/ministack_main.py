"""Runs ministack, in its own virtual environment, with the two things quickened that a busy stack waits for.

Long polls wake on the send instead of every 100 ms, and a query by a range of keys does not parse its condition anew
for every item. It is started by path with that environment's Python, so it imports nothing of Graft. Only SQS's table
of actions and DynamoDB's evaluation of conditions are wrapped; a ministack without them is run as it is, only slower.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from importlib import import_module
from types import ModuleType
from typing import Any

Answer = Any
Action = Callable[[dict[str, Any], str], Answer]

#: What ministack takes a condition for where its caller does not say.
_ANY_SLOT = "ConditionExpression"
#: The condition of every range query of Graft.
_RANGE = re.compile(r"pk = (:\w+) AND sk BETWEEN (:\w+) AND (:\w+)")
#: Seconds between looks at a queue that nobody sends to: delayed messages and ended visibility give no sign.
LOOK_EVERY_S = 0.1


class Waiters:
    """Who waits for a message, by queue name; all calls come from the server's one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = defaultdict(deque)

    def wake(self, name: str, count: int) -> None:
        """Let up to `count` waiters of the queue look again, the longest waiting first."""
        waiting = self._waiting[name]
        while waiting and count > 0:
            future = waiting.popleft()
            if not future.done():
                future.set_result(None)
                count -= 1

    async def wait(self, name: str, seconds: float) -> None:
        """Return after a wake or after `seconds`."""
        future = asyncio.get_running_loop().create_future()
        self._waiting[name].append(future)
        await asyncio.wait([future], timeout=seconds)
        if not future.done():
            future.cancel()
            self._waiting[name].remove(future)


def long_poll(receive: Action, queue: Callable[[str], Any], waiters: Waiters) -> Action:
    """ReceiveMessage made of short polls and waits, in place of ministack's own fixed sleeps."""

    async def poll(data: dict[str, Any], url: str) -> Answer:
        record = queue(data.get("QueueUrl", url))
        wait = data.get("WaitTimeSeconds")
        wait = record["attributes"].get("ReceiveMessageWaitTimeSeconds", "0") if wait is None else wait
        deadline = time.monotonic() + int(wait)
        while True:
            answer = receive({**data, "WaitTimeSeconds": 0}, url)
            answer = await answer if isinstance(answer, Awaitable) else answer
            left = deadline - time.monotonic()
            if answer.get("Messages") or left <= 0:
                return answer
            await waiters.wait(record["name"], min(left, LOOK_EVERY_S))

    return poll


def waking(send: Action, queue: Callable[[str], Any], waiters: Waiters) -> Action:
    """A send action that wakes one waiter for each message."""

    def sent(data: dict[str, Any], url: str) -> Answer:
        answer = send(data, url)
        count = len(answer["Successful"]) if "Successful" in answer else 1
        waiters.wake(queue(data.get("QueueUrl", url))["name"], count)
        return answer

    return sent


def install(sqs: ModuleType) -> bool:
    """Wrap the actions of ministack's `sqs` module; False when it has no such table."""
    table, queue = getattr(sqs, "_HANDLERS", {}), getattr(sqs, "_get_q", None)
    if queue is None or not {"ReceiveMessage", "SendMessage", "SendMessageBatch"} <= set(table):
        return False
    waiters = Waiters()
    table["ReceiveMessage"] = long_poll(table["ReceiveMessage"], queue, waiters)
    for name in ("SendMessage", "SendMessageBatch"):
        table[name] = waking(table[name], queue, waiters)
    return True


def quick_ranges(evaluate: Callable[..., Answer]) -> Callable[..., Answer]:
    """Evaluation of a condition on one item, at once where the condition is a range of text keys."""

    def evaluated(
        expression: str, item: dict[str, Any], values: dict[str, Any], aliases: Answer = None, slot: str = _ANY_SLOT
    ) -> Answer:
        names = _RANGE.fullmatch(expression or "")
        if names:
            wanted, low, high = (values.get(name, {}).get("S") for name in names.groups())
            pk, sk = item.get("pk", {}).get("S"), item.get("sk", {}).get("S")
            if None not in (wanted, low, high, pk, sk) and low <= high:
                return bool(pk == wanted and low <= sk <= high)
        return evaluate(expression, item, values, aliases, slot)

    return evaluated


def install_ranges(dynamodb: ModuleType) -> bool:
    """Wrap the evaluation of ministack's `dynamodb` module; False when it has none of that name."""
    evaluate = getattr(dynamodb, "_evaluate_condition", None)
    if evaluate is None:
        return False
    dynamodb._evaluate_condition = quick_ranges(evaluate)  # type: ignore[attr-defined]
    return True


def main() -> None:
    """Serve until stopped; where and how comes from ministack's own environment variables."""
    install(import_module("ministack.services.sqs"))
    install_ranges(import_module("ministack.services.dynamodb"))
    import_module("ministack.app").main()


if __name__ == "__main__":
    main()
