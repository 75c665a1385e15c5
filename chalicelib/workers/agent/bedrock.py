"""Asks models of Amazon Bedrock through its Converse API."""

from __future__ import annotations

import threading
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, ReadTimeoutError
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from chalicelib.engine.ports import Clock
from chalicelib.engine.work_result import as_json
from chalicelib.workers.agent.model import Message, ProviderBusy, Question, ToolCall, Turn, bad_answer, refused
from chalicelib.workers.retry_after import retry_after_s

Json = Any
#: botocore makes its clients while running: they have no static type.
BedrockClient = Any
NAME = "bedrock"
#: Errors after which the same question may be asked again.
_BUSY = frozenset(
    {
        "InternalServerException",
        "ModelNotReadyException",
        "ModelTimeoutException",
        "ServiceQuotaExceededException",
        "ServiceUnavailableException",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
#: Seconds; timeouts are rounded up to these, so that few clients are made.
_STEP_S = 30
_CONNECT_S = 5
_MAX_EXCERPT = 500


class BedrockProvider:
    """One region. An empty `region` is the process's own; `endpoint_url` replaces AWS's own address.

    `credentials` are access key id, secret access key and session token; an empty id means the process's own.
    """

    def __init__(
        self, region: str, endpoint_url: str, clock: Clock, credentials: tuple[str, str, str] = ("", "", "")
    ) -> None:
        self._region, self._endpoint_url, self._clock = region, endpoint_url, clock
        self._credentials = credentials if credentials[0] else ("", "", "")
        self._clients: dict[int, BedrockClient] = {}
        self._lock = threading.Lock()

    def ask(self, question: Question, seconds: float) -> Turn:
        """See Provider."""
        client, request = self._client(seconds), _request(question)
        try:
            answer = client.converse(**request)
        except ClientError as error:
            raise self._refusal(error) from error
        except ReadTimeoutError as error:
            raise ProviderBusy("the model did not answer in time") from error
        except (ResponseParserError, AttributeError, TypeError) as error:
            # The last two are botocore's, of JSON in another shape than Converse has.
            raise bad_answer(NAME, "it is not JSON, or not in the shape of Converse") from error
        except (HTTPClientError, BotoConnectionError) as error:
            if "IncompleteRead" in str(error) or "Connection broken" in str(error):
                raise bad_answer(NAME, "the body ended too early") from error
            raise ProviderBusy(f"the service was not reached ({type(error).__name__})") from error
        except BotoCoreError as error:
            # No credentials, no region, a request that the client refuses: asking again changes nothing.
            raise refused(NAME, str(error)[:_MAX_EXCERPT]) from error
        return _turn(answer)

    def _client(self, seconds: float) -> BedrockClient:
        timeout = max(1, int(seconds)) if seconds < _STEP_S else int(seconds // _STEP_S) * _STEP_S
        with self._lock:
            if timeout not in self._clients:
                # The loop asks again by itself, as long as the attempt's deadline allows.
                retries = {"mode": "standard", "total_max_attempts": 1}
                config = Config(connect_timeout=_CONNECT_S, read_timeout=timeout, retries=retries)
                key_id, secret, token = (text or None for text in self._credentials)
                session = boto3.session.Session(key_id, secret, token)
                self._clients[timeout] = session.client(
                    "bedrock-runtime",
                    region_name=self._region or None,
                    endpoint_url=self._endpoint_url or None,
                    config=config,
                )
            return self._clients[timeout]

    def _refusal(self, error: ClientError) -> Exception:
        found = error.response.get("Error", {})
        code, meta = str(found.get("Code", "")), error.response.get("ResponseMetadata", {})
        reason = f"{code}: {str(found.get('Message', ''))[:_MAX_EXCERPT]}"
        if code in _BUSY or meta.get("HTTPStatusCode", 0) >= 500 or meta.get("HTTPStatusCode") == 429:
            wait = retry_after_s(meta.get("HTTPHeaders", {}).get("retry-after"), self._clock.now_ms())
            return ProviderBusy(reason, wait)
        return refused(NAME, reason)


def _request(question: Question) -> dict[str, Json]:
    request: dict[str, Json] = {
        "modelId": question.model,
        "system": [{"text": question.system}],
        "messages": [_message(message) for message in question.messages],
    }
    if question.tools:
        request["toolConfig"] = {
            "tools": [
                {"toolSpec": {"name": t.name, "description": t.description, "inputSchema": {"json": t.schema}}}
                for t in question.tools
            ]
        }
    return request


def _message(message: Message) -> dict[str, Json]:
    if message.role == "tool":
        content: list[Json] = [
            {"toolResult": {"toolUseId": i, "content": [{"text": text}], "status": "error" if failed else "success"}}
            for i, _, text, failed in message.results
        ]
        return {"role": "user", "content": content}
    # Blank texts are refused.
    content = [{"text": message.text}] if message.text.strip() else []
    content += [
        {"toolUse": {"toolUseId": c.id, "name": c.name, "input": c.arguments if isinstance(c.arguments, dict) else {}}}
        for c in message.calls
    ]
    return {"role": message.role, "content": content or [{"text": "(no text)"}]}


def _turn(answer: dict[str, Json]) -> Turn:
    reason = answer.get("stopReason")
    if reason in ("max_tokens", "model_context_window_exceeded"):
        raise bad_answer(NAME, f"it was cut off at the model's limit of tokens (stopReason {reason})")
    if reason in ("guardrail_intervened", "content_filtered"):
        raise refused(NAME, f"the answer was withheld (stopReason {reason}).")
    message = (answer.get("output") or {}).get("message")
    if not message or not isinstance(message.get("content"), list):
        raise bad_answer(NAME, "it has no output.message")
    parts = message["content"]
    text = "".join(part["text"] for part in parts if "text" in part)
    calls = tuple(_call(part["toolUse"]) for part in parts if "toolUse" in part)
    usage = answer.get("usage") or {}
    return Turn(text, calls, int(usage.get("inputTokens") or 0), int(usage.get("outputTokens") or 0))


def _call(raw: dict[str, Json]) -> ToolCall:
    if not raw.get("toolUseId") or not raw.get("name"):
        raise bad_answer(NAME, "a tool call has no id or no name")
    return ToolCall(raw["toolUseId"], raw["name"], as_json(raw.get("input") or {}))
