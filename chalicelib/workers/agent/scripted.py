"""Plays a model whose turns the node's config gives: for examples and tests that call nobody."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from chalicelib.domain.errors import TaskError
from chalicelib.workers.agent.model import ProviderBusy, Question, ToolCall, Turn, estimated_tokens

Json = Any


class ScriptedProvider:
    """Gives turn n of `turns` as the n-th answer.

    A turn is `{text?, output?, calls?: [{tool, arguments?}], usage?: {input_tokens?, output_tokens?}, delay_ms?}`;
    `output` is a JSON value, given as text.
    """

    def __init__(self, turns: Sequence[Json], pause: Callable[[float], None]) -> None:
        self._turns, self._pause = turns, pause

    def ask(self, question: Question, seconds: float) -> Turn:
        """See Provider. Raises TaskError, not retryable, past the last turn."""
        if question.number > len(self._turns):
            text = f"/config/turns has {len(self._turns)} turns, and turn {question.number} is asked for: add it"
            raise TaskError("TaskFailed", text, retryable=False)
        turn = self._turns[question.number - 1]
        delay = turn.get("delay_ms", 0) / 1000
        self._pause(min(delay, seconds))
        if delay > seconds:
            raise ProviderBusy("the model did not answer in time")
        text = turn["text"] if "text" in turn else json.dumps(turn["output"]) if "output" in turn else ""
        calls = tuple(
            ToolCall(f"call-{question.number}-{number}", call["tool"], call.get("arguments", {}))
            for number, call in enumerate(turn.get("calls", ()), 1)
        )
        usage = turn.get("usage", {})
        said = estimated_tokens(text) + sum(estimated_tokens(json.dumps(call.arguments)) for call in calls)
        return Turn(text, calls, usage.get("input_tokens", 0), usage.get("output_tokens", said))
