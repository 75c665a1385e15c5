"""Stores the items of a map when it begins, and puts their outputs together when it is over."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from chalicelib.domain.commit import compact
from chalicelib.domain.errors import NotFound
from chalicelib.domain.ids import Token
from chalicelib.domain.limits import Limits, lowered
from chalicelib.domain.map_items import Progress, tolerated, window
from chalicelib.domain.outcome import Outcome
from chalicelib.engine.item_pages import store_items
from chalicelib.engine.services import Services
from chalicelib.engine.signals import INLINE_BYTES

Json = Any
_REF = re.compile(r"artifact://sha256/[0-9a-f]{64}")
#: Items whose results are read at a time.
PART = 1000
#: Results read from the artifact store at a time; each waits some 10 ms.
READERS = 16


class TooManyItems(ValueError):
    """A map was given more items than its run may have."""


def begin(services: Services, document: Json, config: dict[str, Json], fetch: Callable[[str], Json]) -> dict[str, Json]:
    """What a map's token keeps, with its items stored. `config` is resolved.

    Raises ValueError saying what is wrong with the config, TooManyItems, NotFound, Unavailable.
    """
    items = config["items"]
    if isinstance(items, str) and _REF.fullmatch(items):
        items = fetch(items)
    if not isinstance(items, list):
        raise ValueError(f"items is {compact(items)[:80]}; it must be a list, or the id of an artifact that holds one.")
    most = _limits(services, document).map_items
    if len(items) > most:
        raise TooManyItems(f"The map has {len(items)} items; limits.map_items allows {most}.")
    data = {"items": len(items), "window": window(config.get("max_concurrency"))}
    data["tolerated"] = tolerated(config.get("tolerate_failures"), len(items))
    return {**data, "pages": store_items(services.artifacts, items)}


def _limits(services: Services, document: Json) -> Limits:
    return lowered(services.limits, document)


def gather(services: Services, run_id: str, token: Token, progress: Progress) -> Outcome:
    """The map's outcome: its items' outputs in their order, or the first error where too many have failed.

    Raises NotFound, Unavailable.
    """
    if progress.failed > progress.tolerated:
        return Outcome(error=_first_error(services, run_id, token, progress))
    texts = [text for part in _parts(services, run_id, token, progress.items) for text in part]
    whole = f"[{','.join(texts)}]"
    if len(whole) > INLINE_BYTES:
        return Outcome(ref=services.artifacts.put(whole.encode()))
    return Outcome(output=json.loads(whole))


def _first_error(services: Services, run_id: str, token: Token, progress: Progress) -> dict[str, Json]:
    place = replace(token, index=progress.first_failed)
    record = services.store.fields(run_id, "val", [place.value_key])[0]
    if record is None:
        raise NotFound(f"Item {progress.first_failed} of {token.node} has left no record.")
    error: dict[str, Json] = json.loads(record.split("|", 1)[1])["e"]
    borne = f" ({progress.failed} items failed)" if progress.failed > 1 else ""
    message = f"Item {progress.first_failed}: {error.get('message')}{borne}"
    return {"type": error.get("type"), "message": message[:4096], "retryable": False}


def _parts(services: Services, run_id: str, token: Token, items: int) -> Iterator[list[str]]:
    """JSON texts of the outputs, in order; null where a tolerated item failed."""
    for start in range(0, items, PART):
        keys = [replace(token, index=index).value_key for index in range(start, min(start + PART, items))]
        outcomes = [_outcome(record) for record in services.store.fields(run_id, "val", keys)]
        apart = _fetch_all(services, [outcome["r"] for outcome in outcomes if "r" in outcome])
        yield [apart[outcome["r"]] if "r" in outcome else compact(outcome.get("o")) for outcome in outcomes]


def _outcome(record: str | None) -> dict[str, Json]:
    outcome: dict[str, Json] = json.loads(record.split("|", 1)[1]) if record else {}
    return outcome


def _fetch_all(services: Services, refs: list[str]) -> dict[str, str]:
    """The texts of these artifacts; several at a time where there are many."""
    wanted = list(dict.fromkeys(refs))
    if len(wanted) <= READERS:
        return {ref: services.artifacts.get(ref).decode() for ref in wanted}
    with ThreadPoolExecutor(READERS) as readers:
        found = list(readers.map(services.artifacts.get, wanted))
    return {ref: body.decode() for ref, body in zip(wanted, found, strict=True)}
