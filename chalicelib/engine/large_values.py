"""Keeps large values out of commits: what a node, a variable or the run gives is stored apart and referred to."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from chalicelib.domain.commit import Draft, Event, Kept, compact
from chalicelib.domain.errors import TooLarge
from chalicelib.domain.ids import Token
from chalicelib.domain.limits import lowered
from chalicelib.domain.outcome import Outcome
from chalicelib.engine.services import Services
from chalicelib.engine.signals import INLINE_BYTES, Work, limit_exceeded

Json = Any
#: A text that a draft holds, and what puts a reference to it in its place.
Part = tuple[str, Callable[[str], None]]
#: Bytes of all values of one commit together that stay in it.
TOGETHER_BYTES = 2 * INLINE_BYTES
#: Bytes of a commit as the journal stores it, compressed; the table takes 400 KB, names and places included.
COMMIT_BYTES = 380_000


def keep_apart(services: Services, draft: Draft, graph: str) -> None:
    """Replace what is over 64 KiB in the draft, or too much together, by references (HAZARDS 36).

    Raises TooLarge for a value that is over the limit of artifacts, Unavailable.
    """
    parts = list(_parts(draft))
    left = sum(len(text) for text, _ in parts)
    if left <= INLINE_BYTES:
        return
    for text, refer in sorted(parts, key=lambda part: -len(part[0])):
        if len(text) <= INLINE_BYTES and left <= TOGETHER_BYTES:
            return
        refer(store_apart(services, text, graph))
        left -= len(text)


def store_apart(services: Services, text: str, graph: str) -> str:
    """The artifact of a value's JSON text. Raises TooLarge, naming the limit; Unavailable."""
    most = lowered(services.limits, services.plans.load(graph).document).artifact_bytes
    if len(text) > most:
        raise TooLarge(f"A value has {len(text)} bytes; limits.artifact_bytes allows {most}.")
    return services.artifacts.put(text.encode())


def bound_result(services: Services, work: Work) -> None:
    """What a worker handed in: past the inline size it becomes an artifact; a reference must name one that exists.

    Puts what is wrong with it into the work as its error. Raises Unavailable.
    """
    outcome = work.outcome
    if work.kind != "signal" or outcome.error is not None:
        return
    if outcome.ref is not None:
        if not services.artifacts.exists(outcome.ref):
            error = {"type": "Undeliverable", "message": f"{outcome.ref} is not stored.", "retryable": False}
            work.outcome = Outcome(error=error, job=outcome.job, metadata=outcome.metadata)
        return
    text = compact(outcome.output)
    if len(text) > INLINE_BYTES:
        try:
            work.outcome = replace(outcome, ref=store_apart(services, text, work.job.graph))
        except TooLarge as error:
            work.outcome = limit_exceeded(error.detail, outcome)


def check_commit(text: str) -> None:
    """Raises TooLarge for a commit that the journal could not hold: it must not be committed either."""
    if len(text) > COMMIT_BYTES and len(zlib.compress(text.encode(), 1)) > COMMIT_BYTES:
        raise TooLarge(f"What it sets and says comes to {len(text)} bytes in one commit; set fewer variables at once.")


def _parts(draft: Draft) -> Iterator[Part]:
    for token, record in draft.values:
        if "o" in record:
            yield compact(record["o"]), _of_value(draft, token, record)
    called = [(number, emit.data["input"]) for number, emit in enumerate(draft.emits) if "input" in emit.data]
    yield from ((compact(value), _of_input(draft, number)) for number, value in called)
    for name, value in draft.vars.items():
        if not isinstance(value, Kept):
            yield compact(value), _of_variable(draft, name)
    yield from _of_run(draft)
    for event in draft.events:
        if "metadata" in event.data:
            yield compact(event.data["metadata"]), _of_metadata(event)


def _of_run(draft: Draft) -> Iterator[Part]:
    if "result" in draft.once:
        yield draft.once["result"], _of_field(draft, draft.once, "result", "")
    if "output" in draft.meta:
        yield draft.meta["output"], _of_field(draft, draft.meta, "output", "run_completed")


def _of_value(draft: Draft, token: Token, record: dict[str, Json]) -> Callable[[str], None]:
    def refer(ref: str) -> None:
        del record["o"]
        record["r"] = ref
        _refer(draft, "node_completed", ref, token)

    return refer


def _of_variable(draft: Draft, name: str) -> Callable[[str], None]:
    def refer(ref: str) -> None:
        draft.vars[name] = Kept(ref)

    return refer


def _of_field(draft: Draft, fields: dict[str, str], name: str, event: str) -> Callable[[str], None]:
    def refer(ref: str) -> None:
        fields[f"{name}_ref"] = ref
        del fields[name]
        _refer(draft, event, ref, None)

    return refer


def _of_metadata(event: Event) -> Callable[[str], None]:
    """Numbers, such as the tokens used, stay."""

    def refer(ref: str) -> None:
        numbers = {name: value for name, value in event.data["metadata"].items() if isinstance(value, int | float)}
        event.data["metadata"] = {**dict(list(numbers.items())[:20]), "ref": ref}

    return refer


def _of_input(draft: Draft, number: int) -> Callable[[str], None]:
    """Of a call's token, which then refers to the input of its child."""

    def refer(ref: str) -> None:
        emit = draft.emits[number]
        data = {name: value for name, value in emit.data.items() if name != "input"}
        draft.emits[number] = replace(emit, data={**data, "input_ref": ref})

    return refer


def _refer(draft: Draft, kind: str, ref: str, token: Token | None) -> None:
    """Let the event that tells of the value say where it is."""
    for event in draft.events:
        if event.type == kind and event.token == token:
            event.data.pop("output", None)
            event.data["output_ref"] = ref
