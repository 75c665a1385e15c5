"""Puts secret values in place of `${secret.NAME}` for one task, keeping them out of all that leaves it."""

from __future__ import annotations

import base64
import json
import logging
import re
import traceback
from collections.abc import Callable, Collection, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus

from chalicelib.domain.errors import TaskError, Unavailable

Json = Any
#: Name of a secret -> its value. Raises any error when it cannot be had.
Secrets = Callable[[str], str]
_REFERENCE = re.compile(r"\$\{\s*secret\.([A-Za-z0-9_][A-Za-z0-9_./-]{0,255})\s*\}")
#: Members of JSON secrets that are hidden by themselves.
_PRIVATE = re.compile(r"pass|secret|token|key|cred|pwd|auth", re.IGNORECASE)
#: Shorter values are hidden only where they are the whole text: elsewhere they would blot out ordinary words.
_SHORT = 4


@dataclass(slots=True)
class Vault:
    """The secret values of one task, under the names they were asked for."""

    resolver: Secrets | None
    _values: dict[str, str] = field(default_factory=dict, repr=False)
    #: What to look for -> what to show in its place, longest first.
    _hidden: dict[str, str] = field(default_factory=dict, repr=False)

    def fill(self, value: Json, places: Collection[str] | None, path: str = "") -> Json:
        """A copy of `value` with its references replaced: those at the JSON Pointers `places`, or with None all.

        Raises TaskError `SecretUnavailable`, not retryable.
        """
        if isinstance(value, dict):
            return {k: self.fill(v, places, f"{path}/{_token(k)}") for k, v in value.items()}
        if isinstance(value, list):
            return [self.fill(v, places, f"{path}/{i}") for i, v in enumerate(value)]
        if isinstance(value, str) and (places is None or path in places) and (match := _REFERENCE.fullmatch(value)):
            return self._read(match[1], path)
        return value

    def hide_also(self, text: str, name: str) -> None:
        """Hide `text` from now on: something made of a secret, such as an encoded credential."""
        if text:
            self._hidden[text] = f"[secret {name}]"
            self._hidden = dict(sorted(self._hidden.items(), key=lambda item: -len(item[0])))

    def holds(self, text: str) -> bool:
        """Whether `text` contains a secret value."""
        return self.redact(text) != text

    def redact(self, text: str) -> str:
        """`text` with every secret value replaced by `[secret NAME]`."""
        for value, shown in self._hidden.items():
            if value == text or len(value) >= _SHORT:
                text = text.replace(value, shown)
        return text

    def redact_json(self, value: Json) -> Json:
        """A copy of a JSON value with its texts and keys redacted."""
        if not self._hidden:
            return value
        if isinstance(value, dict):
            return {self.redact(k): self.redact_json(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.redact_json(v) for v in value]
        return self.redact(value) if isinstance(value, str) else value

    def _read(self, name: str, path: str) -> str:
        if name not in self._values:
            self._values[name] = value = self._ask(name, path)
            for text in (value, *_inner(value)):
                for form in _forms(text):
                    self.hide_also(form, name)
        return self._values[name]

    def _ask(self, name: str, path: str) -> str:
        where = f"secret {name!r} at /config{path}"
        if self.resolver is None:
            raise _unavailable(f"{where}: this deployment has no secrets configured")
        try:
            value = self.resolver(name)
        except Unavailable:
            # Not an answer: the task is delivered again.
            raise
        except Exception as error:
            # The cause's text may hold what the store answered: only its class is told.
            raise _unavailable(f"{where} could not be read ({type(error).__name__})") from None
        if not isinstance(value, str):
            raise _unavailable(f"{where} is no text")
        return value


def _forms(value: str) -> set[str]:
    """A secret as texts carry it: as it is, in URLs, in JSON, in base64."""
    escaped = json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]
    encoded = base64.b64encode(value.encode("utf-8", "replace")).decode()
    urls = quote(value, errors="replace"), quote(value, safe="", errors="replace"), quote_plus(value, errors="replace")
    return {value, value.strip(), encoded, *urls, *escaped}


def _inner(value: str) -> list[str]:
    """The secret parts of a secret that is a JSON object, such as a database's user and password: whoever gets the
    object takes it apart. Names of hosts and engines are words that other texts may hold."""
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return []
    members = parsed.items() if isinstance(parsed, dict) else ()
    return [text for key, text in members if isinstance(text, str) and len(text) >= _SHORT and _PRIVATE.search(key)]


class RedactingLog(logging.LoggerAdapter[logging.Logger]):
    """A logger that says whose task it is, and writes texts and tracebacks without secret values."""

    def __init__(self, logger: logging.Logger, extra: dict[str, object], vault: Vault) -> None:
        super().__init__(logger, extra)
        self._vault = vault

    def log(self, level: int, msg: object, *args: object, **kwargs: Json) -> None:
        """Format, redact, hand on. A message that does not fit its arguments is logged as it is."""
        if not self.isEnabledFor(level):
            return
        try:
            text = str(msg) % args if args else str(msg)
        except (TypeError, ValueError, KeyError):
            text = str(msg)
        kwargs.setdefault("stacklevel", 2)
        super().log(level, "%s", self._vault.redact(text + _trace(kwargs)), **kwargs)

    def process(self, msg: Json, kwargs: MutableMapping[str, Json]) -> tuple[Json, MutableMapping[str, Json]]:
        """Add the task's ids to the caller's own `extra`, redacted."""
        own = {k: self._vault.redact_json(v) for k, v in (kwargs.get("extra") or {}).items()}
        kwargs["extra"] = {**own, **(self.extra or {})}
        return msg, kwargs


def _trace(kwargs: dict[str, Json]) -> str:
    info = kwargs.pop("exc_info", None)
    if not info:
        return ""
    return "\n" + (
        "".join(traceback.format_exception(info)) if isinstance(info, BaseException) else traceback.format_exc()
    )


def _unavailable(message: str) -> TaskError:
    return TaskError("SecretUnavailable", message, retryable=False)


def _token(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
