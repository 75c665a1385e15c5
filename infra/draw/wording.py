"""The short texts beside boxes and lines: conditions, details, badges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from chalicelib.domain.graph import Link

Json = Any

#: Characters of a condition on a line, and of a box's second row.
LABEL, DETAIL = 30, 26
#: Node type -> the config key that says most about it.
_TELLING = {
    "function": "handler",
    "transform": "value",
    "event": "name",
    "queue": "queue",
    "human": "message",
    "agent": "task",
    "workflow": "workflow",
    "map": "items",
}


def shorten(text: str, length: int) -> str:
    """`text` on one line, cut in the end to `length` characters."""
    line = " ".join(text[: length * 4].split())
    return line if len(line) <= length else line[: length - 1] + "…"


def condition_text(condition: Json) -> str:
    """A condition in a few words."""
    if isinstance(condition, str):
        return shorten(condition, LABEL)
    if not isinstance(condition, Mapping):
        return "always" if condition is None else "?"
    if condition.get("type") == "jsonpath":
        parts = (condition.get("query"), condition.get("operator"), condition.get("value"))
        return shorten(" ".join(str(part) for part in parts if part is not None), LABEL)
    if condition.get("type") == "schema":
        return "does not match schema" if condition.get("invert") else "matches schema"
    return shorten(str(condition.get("expression", "?")), LABEL)


def line_label(link: Link, source: Mapping[str, Json], target: str) -> tuple[str, str]:
    """(kind, label) of an edge; the kind is a key of the palette's EDGES."""
    if link.kind == "branch":
        return _branch_label(source["branch"], target)
    if link.kind in ("break", "timeout"):
        return link.kind, link.kind
    condition = "" if link.condition is None else condition_text(link.condition)
    if link.on == "success":
        return "success", condition
    return link.on, f"{link.on}: {condition}" if condition else link.on


def _branch_label(branch: Mapping[str, Json], target: str) -> tuple[str, str]:
    rules = branch.get("rules")
    texts = [
        condition_text(rule.get("condition"))
        for rule in (rules if isinstance(rules, list) else ())
        if isinstance(rule, Mapping) and _names(rule.get("next_nodes"), target)
    ]
    if texts:
        return "branch", texts[0] + (f" (+{len(texts) - 1})" if len(texts) > 1 else "")
    return ("default", "default") if _names(branch.get("default"), target) else ("branch", "chosen")


def _names(value: Json, target: str) -> bool:
    return isinstance(value, list) and target in value


def detail(kind: str, raw: Mapping[str, Json]) -> str:
    """The second row of a box: what the node does."""
    given = raw.get("config")
    config: Mapping[str, Json] = given if isinstance(given, Mapping) else {}
    if kind == "http":
        text = f"{config.get('method', 'GET')} {_place(config.get('url'))}"
    elif kind == "wait":
        text = f"{config['seconds']} s" if "seconds" in config else f"until {config.get('until')}"
    else:
        said = config.get(_TELLING.get(kind, ""))
        text = said if isinstance(said, str) else "" if said is None else "{…}" if isinstance(said, Mapping) else "[…]"
    return shorten(f"{kind} · {text}" if text else kind or "no type", DETAIL)


def _place(url: Json) -> str:
    if not isinstance(url, str):
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    return url if "${" in url or not parts.netloc else parts.netloc + parts.path


def badges(raw: Mapping[str, Json], state: Mapping[str, Json]) -> tuple[str, ...]:
    """Small marks on a box: its join, its retries, and how often it ran."""
    found = [_join(raw.get("join")), _retries(raw.get("retry"))]
    for key, word in (("iteration", "iteration"), ("attempts", "attempt")):
        value = state.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 1:
            found.append(f"{word} {value}")
    return tuple(text for text in found if text)


def _join(join: Json) -> str:
    if isinstance(join, Mapping):
        return "join any" if join.get("any") else f"join {join.get('count')}"
    return "join any" if join == "any" else ""


def _retries(retry: Json) -> str:
    most = retry.get("max_attempts") if isinstance(retry, Mapping) else None
    return f"≤ {most} attempts" if isinstance(most, int) and most > 1 else ""
