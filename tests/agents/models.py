"""Servers on loopback that speak the wire formats of the providers, and the two real clients against them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.workers.servers import JSON, Handler


@dataclass(frozen=True)
class Wire:
    """One provider's wire format: what it answers, and how what it was asked is read."""

    name: str

    def turn(self, text: str = "", calls: tuple = (), tokens: tuple = (10, 5), end: str = "") -> bytes:
        """A model's turn; `calls` are (id, name, arguments)."""
        return json.dumps(
            self._openai(text, calls, tokens, end) if self.openai else self._bedrock(text, calls, tokens, end)
        ).encode()

    @property
    def openai(self) -> bool:
        return self.name == "openai"

    @property
    def cut_off(self) -> str:
        return "length" if self.openai else "max_tokens"

    @property
    def withheld(self) -> str:
        return "content_filter" if self.openai else "guardrail_intervened"

    def error(self, h: Handler, status: int, message: str, **headers: str) -> None:
        kinds = {429: "ThrottlingException", 400: "ValidationException", 403: "AccessDeniedException"}
        if self.openai:
            body: Any = {"error": {"message": message, "type": "error"}}
        else:
            body = {"message": message}
            headers["x-amzn-ErrorType"] = kinds.get(status, "InternalServerException")
        h.reply(status, json.dumps(body).encode(), Content_Type=JSON, **headers)

    def settings(self, url: str) -> dict:
        return {"openai_base_url": f"{url}/v1", "openai_key": lambda: "sk-key"} if self.openai else {
            "bedrock_region": "eu-central-1", "bedrock_endpoint_url": url
        }  # fmt: skip

    def results(self, body: bytes) -> list[tuple[str, str]]:
        """(call id, content) of the results of tools that the newest message holds."""
        messages = json.loads(body)["messages"]
        if self.openai:
            return [(m["tool_call_id"], m["content"]) for m in messages if m["role"] == "tool"]
        parts = [part["toolResult"] for m in messages for part in m["content"] if "toolResult" in part]
        return [(part["toolUseId"], part["content"][0]["text"]) for part in parts]

    def tools(self, body: bytes) -> list[str]:
        asked = json.loads(body)
        if self.openai:
            return [tool["function"]["name"] for tool in asked["tools"]]
        return [tool["toolSpec"]["name"] for tool in asked["toolConfig"]["tools"]]

    def system(self, body: bytes) -> str:
        asked = json.loads(body)
        return asked["messages"][0]["content"] if self.openai else asked["system"][0]["text"]

    def first(self, body: bytes) -> str:
        asked = json.loads(body)["messages"]
        return asked[1]["content"] if self.openai else asked[0]["content"][0]["text"]

    @staticmethod
    def _openai(text: str, calls: tuple, tokens: tuple, end: str) -> Any:
        message: dict = {"role": "assistant", "content": text or None}
        if calls:
            message["tool_calls"] = [
                {
                    "id": i,
                    "type": "function",
                    "function": {"name": name, "arguments": a if isinstance(a, str) else json.dumps(a)},
                }
                for i, name, a in calls
            ]
        choice = {"index": 0, "message": message, "finish_reason": end or ("tool_calls" if calls else "stop")}
        usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
        return {"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage}

    @staticmethod
    def _bedrock(text: str, calls: tuple, tokens: tuple, end: str) -> Any:
        content: list = [{"text": text}] if text else []
        content += [{"toolUse": {"toolUseId": i, "name": name, "input": arguments}} for i, name, arguments in calls]
        usage = {"inputTokens": tokens[0], "outputTokens": tokens[1], "totalTokens": sum(tokens)}
        message = {"role": "assistant", "content": content}
        stop = end or ("tool_use" if calls else "end_turn")
        return {"output": {"message": message}, "stopReason": stop, "usage": usage, "metrics": {"latencyMs": 1}}
