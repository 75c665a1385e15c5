"""Asks a model again while it is busy, as long as the attempt and the process have time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from chalicelib.domain.errors import TaskError
from chalicelib.engine.task import HandOn, Task
from chalicelib.workers.agent.model import Provider, ProviderBusy, Question, Turn

#: Seconds that one answer may take; a Lambda function lives three times as long.
MODEL_SECONDS = 300.0
#: Seconds before the process ends in which no model is waited for, so that what is recorded is recorded whole.
RESERVE_S = 15.0
#: Times one question is asked.
MAX_TRIES = 6
#: Seconds of the first wait without a Retry-After, and of the longest.
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long this attempt may wait for a model."""

    task: Task
    pause: Callable[[float], None]

    def ask(self, provider: Provider, question: Question) -> Turn:
        """The model's turn.

        Raises TaskError `ModelUnavailable`, retryable, when it stays busy; HandOn when the process has too little
        time left to wait for it, but the attempt has.
        """
        for number in range(1, MAX_TRIES + 1):
            seconds = min(MODEL_SECONDS, self._left_s())
            try:
                return provider.ask(question, seconds)
            except ProviderBusy as busy:
                if number == MAX_TRIES:
                    raise _unavailable(f"it was asked {number} times; at last: {busy.reason}") from busy
                self._wait(busy, number)
        raise AssertionError("unreachable")

    def _left_s(self) -> float:
        """Seconds until the attempt's deadline or the process's end. Raises TaskError, HandOn where there are none."""
        deadline = self._until_deadline_s()
        if deadline <= 0:
            raise _unavailable("the attempt's deadline has come")
        process = self.task.time_left_s() - RESERVE_S
        if process <= 0:
            raise HandOn
        return min(deadline, process)

    def _until_deadline_s(self) -> float:
        task = self.task
        return float("inf") if task.deadline is None else (task.deadline - task.clock.now_ms()) / 1000

    def _wait(self, busy: ProviderBusy, number: int) -> None:
        wait = busy.retry_after_s
        if wait is None:
            wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (number - 1)) * (0.5 + self._share(number) / 2)
        if wait >= self._until_deadline_s():
            raise _unavailable(f"{busy.reason}; it asks to wait {wait:.0f} s, past the attempt's deadline") from busy
        if wait >= self.task.time_left_s() - RESERVE_S:
            if wait > MODEL_SECONDS or number > 1:
                raise _unavailable(f"{busy.reason}; it asks to wait {wait:.0f} s, longer than agents wait") from busy
            raise HandOn
        self.pause(wait)

    def _share(self, number: int) -> float:
        """A number in [0, 1) of this job and try: agents that were refused together do not come back together."""
        digest = hashlib.sha256(f"{self.task.job_id}\0{number}".encode()).digest()
        return digest[0] / 256


def _unavailable(why: str) -> TaskError:
    return TaskError("ModelUnavailable", f"The model did not answer: {why}.")
