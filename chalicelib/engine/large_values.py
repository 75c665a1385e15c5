"""Keeps large values out of commits: what a node, a variable or the run gives is stored apart and referred to."""

from __future__ import annotations

from chalicelib.domain.commit import Draft, Kept, compact
from chalicelib.domain.ids import Token
from chalicelib.engine.services import Services
from chalicelib.engine.signals import INLINE_BYTES


def keep_apart(services: Services, draft: Draft) -> None:
    """Replace what is over 64 KiB in the draft by references, so that its journal item stays small (HAZARDS 36).

    Raises Unavailable.
    """
    for token, record in draft.values:
        if "o" in record and len(text := compact(record["o"])) > INLINE_BYTES:
            record["r"] = services.artifacts.put(text.encode())
            del record["o"]
            _refer(draft, "node_completed", record["r"], token)
    for name, value in draft.vars.items():
        if not isinstance(value, Kept) and len(text := compact(value)) > INLINE_BYTES:
            draft.vars[name] = Kept(services.artifacts.put(text.encode()))
    if len(text := draft.once.get("result", "")) > INLINE_BYTES:
        draft.once["result_ref"] = services.artifacts.put(text.encode())
        del draft.once["result"]
    if len(text := draft.meta.get("output", "")) > INLINE_BYTES:
        draft.meta["output_ref"] = services.artifacts.put(text.encode())
        del draft.meta["output"]
        _refer(draft, "run_completed", draft.meta["output_ref"], None)


def _refer(draft: Draft, kind: str, ref: str, token: Token | None) -> None:
    """Let the event that tells of the value say where it is."""
    for event in draft.events:
        if event.type == kind and event.token == token:
            event.data.pop("output", None)
            event.data["output_ref"] = ref
