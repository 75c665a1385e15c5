"""Asks models behind any endpoint that speaks OpenAI's chat completions."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any

from chalicelib.domain.errors import TaskError
from chalicelib.engine.ports import Clock
from chalicelib.engine.work_result import as_json, canonical
from chalicelib.workers.agent.model import (
    Message,
    ProviderBusy,
    Question,
    ToolCall,
    Turn,
    bad_answer,
    estimated_tokens,
    refused,
)
from chalicelib.workers.http_client import HttpClient, Request, Response
from chalicelib.workers.retry_after import retry_after_s
from chalicelib.workers.url import parse_url

Json = Any
NAME = "openai"
#: Statuses after which the same question may be asked again.
_BUSY = frozenset({408, 409, 425, 429})
_MAX_EXCERPT = 500


class OpenAiProvider:
    """One endpoint. `key` gives the API key, "" for none; it is asked for once per question."""

    def __init__(self, base_url: str, key: Callable[[], str], client: HttpClient, clock: Clock) -> None:
        self._base_url, self._key, self._client, self._clock = base_url.rstrip("/"), key, client, clock

    def ask(self, question: Question, seconds: float) -> Turn:
        """See Provider."""
        key = self._key()
        headers = {"content-type": "application/json", "accept": "application/json", "user-agent": "graft"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        body = canonical(as_json(_body(question)))
        url = parse_url(f"{self._base_url}/chat/completions", where="GRAFT_OPENAI_BASE_URL")
        try:
            response = self._client.send(Request("POST", url, headers, body), seconds, lambda status: True)
        except TaskError as error:
            raise _not_reached(error) from error
        if response.status != 200:
            raise self._refusal(response, key)
        return _turn(_read(response), question)

    def _refusal(self, response: Response, key: str) -> Exception:
        text = response.body[:4096].decode("utf-8", "replace")
        said = (text.replace(key, "[key]") if key else text).strip()[:_MAX_EXCERPT]
        reason = f"status {response.status}" + (f": {said}" if said else "")
        if response.status in _BUSY or response.status >= 500:
            return ProviderBusy(reason, retry_after_s(response.headers.get("retry-after"), self._clock.now_ms()))
        return refused(NAME, reason)


def _not_reached(error: TaskError) -> Exception:
    if isinstance(error.__cause__, http.client.IncompleteRead):
        return bad_answer(NAME, "the body ended too early")
    return ProviderBusy(error.message) if error.retryable else refused(NAME, error.message)


def _body(question: Question) -> dict[str, Json]:
    messages: list[Json] = [{"role": "system", "content": question.system}]
    for message in question.messages:
        messages += _messages(message)
    body: dict[str, Json] = {"model": question.model, "messages": messages}
    if question.tools:
        body["tools"] = [
            {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.schema}}
            for t in question.tools
        ]
    return body


def _messages(message: Message) -> list[Json]:
    if message.role == "tool":
        return [{"role": "tool", "tool_call_id": result[0], "content": result[2]} for result in message.results]
    shown: dict[str, Json] = {"role": message.role, "content": message.text}
    if message.calls:
        shown["content"] = message.text or None
        shown["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": json.dumps(c.arguments)}}
            for c in message.calls
        ]
    return [shown]


def _read(response: Response) -> dict[str, Json]:
    try:
        answer = json.loads(response.body)
    except (ValueError, RecursionError):
        raise bad_answer(NAME, "it is not JSON") from None
    if not isinstance(answer, dict):
        raise bad_answer(NAME, "it is not a JSON object")
    return answer


def _turn(answer: dict[str, Json], question: Question) -> Turn:
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise bad_answer(NAME, "it has no choices[0].message")
    _check_end(choice.get("finish_reason"))
    if isinstance(message.get("refusal"), str) and message["refusal"]:
        raise refused(NAME, f"the model refuses: {message['refusal'][:_MAX_EXCERPT]}")
    text = _text(message.get("content"))
    raw = message.get("tool_calls") or []
    if not isinstance(raw, list):
        raise bad_answer(NAME, "tool_calls is no list")
    calls = tuple(_call(one, question.number, position) for position, one in enumerate(raw, 1))
    asked, said = _usage(answer.get("usage"))
    if asked is None:
        asked = estimated_tokens(question.system + "".join(str(m.as_json()) for m in question.messages))
    if said is None:
        said = estimated_tokens(text + json.dumps(raw))
    return Turn(text, calls, asked, said)


def _check_end(reason: Json) -> None:
    if reason == "length":
        raise bad_answer(NAME, "it was cut off at the model's limit of tokens (finish_reason length)")
    if reason == "content_filter":
        raise refused(NAME, "the answer was withheld by a content filter.")


def _text(content: Json) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    raise bad_answer(NAME, "the message's content is neither text nor a list of parts")


def _call(raw: Json, turn: int, position: int) -> ToolCall:
    function = raw.get("function") if isinstance(raw, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise bad_answer(NAME, "a tool call names no function")
    call_id = raw.get("id") if isinstance(raw.get("id"), str) and raw["id"] else f"call-{turn}-{position}"
    text = function.get("arguments")
    if isinstance(text, dict):
        return ToolCall(call_id, function["name"], text)
    try:
        arguments = json.loads(text) if text else {}
    except (ValueError, TypeError, RecursionError):
        return ToolCall(call_id, function["name"], {}, "The arguments are not JSON; send an object.")
    return ToolCall(call_id, function["name"], arguments)


def _usage(raw: Json) -> tuple[int | None, int | None]:
    usage = raw if isinstance(raw, dict) else {}
    asked, said = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return _count(asked), _count(said)


def _count(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
