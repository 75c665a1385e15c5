"""Lets `function` nodes call the Lambda functions that the deployment allows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

Json = Any


class LambdaInvoker(Protocol):
    """Calls a Lambda function and waits for its answer."""

    def invoke(self, name: str, payload: Json) -> Json:
        """The function's JSON answer. Raises TaskError when it fails, is missing or does not answer."""
        ...


class AllowedLambdas:
    """The Lambda functions a deployment lets workflows call, each by the name or ARN that its settings write."""

    def __init__(self, names: Collection[str] = (), invoker: LambdaInvoker | None = None) -> None:
        self._names = frozenset(names)
        self._invoker = invoker

    def __contains__(self, name: object) -> bool:
        return self._invoker is not None and name in self._names

    def invoke(self, name: str, params: Json, context: Json) -> Json:
        """The answer of an allowed function to `{params, context}`. Raises TaskError; KeyError if not allowed."""
        if self._invoker is None or name not in self._names:
            raise KeyError(name)
        return self._invoker.invoke(name, {"params": params, "context": context})
