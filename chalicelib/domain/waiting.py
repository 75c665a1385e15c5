"""What armed nodes wait for: the token that waits, made from the resolved config."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from chalicelib.domain.commit import Draft, Emit, compact
from chalicelib.domain.ids import Token

Json = Any
#: A year: the longest wait, in seconds.
MAX_WAIT_S = 366 * 24 * 3600
#: Bytes of what a waiting token keeps with it, such as a person's message and form.
MAX_DATA = 64 * 1024
#: Persons that one node may name.
MAX_APPROVERS = 1000


def waiting_emit(kind: str, token: Token, config: dict[str, Json], now_ms: int) -> Emit:
    """The token of a node of type `kind` that waits. `token` is its attempt.

    Raises ValueError, TypeError or OverflowError saying what is wrong with the config.
    """
    if kind == "wait":
        return Emit(token, "w", {"due": due(config, now_ms)})
    data = _human(config) if kind == "human" else _event(config)
    if len(compact(data)) > MAX_DATA:
        raise ValueError(f"what the node waits for takes over {MAX_DATA} bytes; put the large part into an artifact.")
    return Emit(token, "h", data)


def armed_draft(token: Token, emit: Emit) -> Draft:
    """Settle `$arm:<node>`: the node now waits."""
    return Draft(settle=token, emits=[emit])


def due(config: dict[str, Json], now_ms: int) -> int:
    """When a `wait` is over, in milliseconds."""
    if "seconds" in config:
        seconds = config["seconds"]
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= MAX_WAIT_S:
            raise ValueError(f"seconds is {seconds!r}; it must be a number from 0 to {MAX_WAIT_S}.")
        return now_ms + round(seconds * 1000)
    moment = datetime.fromisoformat(config["until"])
    if moment.tzinfo is None:
        raise ValueError(f"until {config['until']!r} has no time zone; write RFC 3339, such as 2030-01-01T00:00:00Z.")
    return max(now_ms, round(moment.timestamp() * 1000))


def _human(config: dict[str, Json]) -> dict[str, Json]:
    """What a person is asked: message, form, who may answer, and how many must approve."""
    message, approvers, quorum = config.get("message"), config.get("approvers"), config.get("quorum") or 1
    _check_form(config.get("form"))
    if approvers is not None:
        if not isinstance(approvers, list) or not approvers or not all(isinstance(one, str) for one in approvers):
            raise ValueError(f"approvers is {_short(approvers)}; it must be a list of names.")
        approvers = list(dict.fromkeys(approvers))
        if not quorum <= len(approvers) <= MAX_APPROVERS:
            raise ValueError(f"approvers names {len(approvers)} persons; a quorum of {quorum} needs as many, at most "
                             f"{MAX_APPROVERS}.")  # fmt: skip
    data = {"message": message if isinstance(message, str) else compact(message), "quorum": quorum}
    return data | {name: value for name, value in (("form", config.get("form")), ("approvers", approvers)) if value}


def _check_form(form: Json) -> None:
    """A form with templates in it shows only now whether it is a schema: one that is none could never be filled in."""
    if form is None:
        return
    # Few nodes have a form, and the library takes long to load.
    from chalicelib.domain.schema_conditions import schema_problems  # noqa: PLC0415

    found = schema_problems(form, "/form")
    if found:
        raise ValueError(f"form is no JSON Schema: {found[0].message}")


def _event(config: dict[str, Json]) -> dict[str, Json]:
    name = config["name"]
    if not isinstance(name, str) or not 0 < len(name) <= 256:
        raise ValueError(f"name is {_short(name)}; an event's name is a text of 1 to 256 characters.")
    return {"event": name}


def _short(value: Json) -> str:
    text = compact(value)
    return text if len(text) <= 80 else text[:79] + "…"
