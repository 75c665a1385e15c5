"""What the loop and the providers of models say to one another: conversations, turns, tool calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chalicelib.domain.errors import TaskError
from chalicelib.engine.work_result import as_json

Json = Any


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call of a turn. `problem` says why its arguments could not be read, "" where they could."""

    id: str
    name: str
    arguments: Json
    problem: str = ""

    def as_json(self) -> dict[str, Json]:
        """The recorded form."""
        return {"id": self.id, "name": self.name, "arguments": self.arguments, "problem": self.problem}


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer of a model: text, tool calls, or both; and the tokens that it took."""

    text: str
    calls: tuple[ToolCall, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Tokens read and written."""
        return self.input_tokens + self.output_tokens

    def as_json(self) -> dict[str, Json]:
        """The recorded form."""
        usage = {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens}
        return {"text": self.text, "calls": [call.as_json() for call in self.calls], **usage}

    @classmethod
    def from_json(cls, raw: dict[str, Json]) -> Turn:
        """The turn that was recorded."""
        calls = tuple(ToolCall(**call) for call in raw["calls"])
        return cls(raw["text"], calls, raw["input_tokens"], raw["output_tokens"])


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation: of the `user`, of the `assistant`, or the results of tools (`tool`)."""

    role: str
    text: str = ""
    #: assistant: what it called.
    calls: tuple[ToolCall, ...] = ()
    #: tool: (call id, tool, content, whether it failed), in the order of the calls.
    results: tuple[tuple[str, str, str, bool], ...] = ()

    def as_json(self) -> dict[str, Json]:
        """As the transcript shows it."""
        shown: dict[str, Json] = {"role": self.role}
        if self.text:
            shown["text"] = self.text
        if self.calls:
            shown["calls"] = [call.as_json() for call in self.calls]
        if self.results:
            names = ("id", "tool", "content", "failed")
            shown["results"] = [dict(zip(names, result, strict=True)) for result in self.results]
        return shown


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model is told of it; `schema` is the JSON Schema of its arguments."""

    name: str
    description: str
    schema: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked: the whole conversation so far."""

    model: str
    system: str
    messages: Sequence[Message]
    tools: Sequence[ToolSpec]
    #: 1 for the first turn of an attempt.
    number: int


class Provider(Protocol):
    """Asks a model."""

    def ask(self, question: Question, seconds: float) -> Turn:
        """The model's next turn, within `seconds`.

        Raises ProviderBusy where the same question may be asked again, TaskError where it must fail.
        """
        ...


class ProviderBusy(Exception):
    """The model gave no answer for now: a rate limit, a timeout, a failure of the service."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        #: Seconds that the service asked to wait.
        self.retry_after_s = retry_after_s


def readable(turn: Turn, provider: str) -> Turn:
    """`turn` as JSON that every other part can read; half characters are replaced. Raises TaskError `BadAnswer`."""
    try:
        return Turn.from_json(as_json(whole(turn.as_json())))
    except (TaskError, RecursionError) as error:
        raise bad_answer(provider, f"its arguments are no proper JSON ({error})") from error


def whole(value: Json) -> Json:
    """A copy of a JSON value whose texts hold no half of a surrogate pair."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {whole(key): whole(item) for key, item in value.items()}
    return [whole(item) for item in value] if isinstance(value, list) else value


def bad_answer(provider: str, why: str) -> TaskError:
    """The error for an answer that cannot be read; another attempt may get a better one."""
    return TaskError("BadAnswer", f"The model's answer through {provider} cannot be used: {why}.")


def refused(provider: str, why: str) -> TaskError:
    """The error for a question that the service will never answer as it stands."""
    return TaskError("ModelRefused", f"{provider} refused the request: {why}", retryable=False)


def estimated_tokens(text: str) -> int:
    """Tokens of a text where the service does not count them: four characters each."""
    return -(-len(text) // 4)
