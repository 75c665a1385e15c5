"""Routes that patch a run: patch, list patches, revert (SPEC 11)."""

from __future__ import annotations

from typing import Any, Final

from chalice.app import Blueprint

from chalicelib.api.call import Call, check_count, refused
from chalicelib.api.endpoint import operation
from chalicelib.api.idempotency import key_of
from chalicelib.api.problems import Answer
from chalicelib.domain.errors import InvalidInput, NotFound, Problem
from chalicelib.engine import patches
from chalicelib.engine.patch_history import list_patches as page_of
from chalicelib.engine.patch_terms import Change
from chalicelib.engine.patches import PatchRequest
from chalicelib.engine.run_reader import read_state

Json = Any
blueprint = Blueprint(__name__)
#: Characters of a patch's reason.
MAX_DESCRIPTION: Final = 4096
#: Revisions above this are no revisions.
MAX_REVISION: Final = 10**9


@operation(blueprint)
def patch_run(call: Call) -> Answer:
    """Patch the run by operations with a reason."""
    body = call.members("description", "base_revision", "dry_run", required=("operations",))
    operations = body["operations"]
    change = _change(call, operations, body.get("description"))
    base = body.get("base_revision")
    revisions = None if base is None else (_revision(base),)
    return _patched(call, change, _both(revisions, call.if_match()), _flag(body.get("dry_run")))


@operation(blueprint)
def patch_run_document(call: Call) -> Answer:
    """Patch the run by a plain JSON Patch document."""
    change = _change(call, call.json(), call.query.get("description"))
    return _patched(call, change, call.if_match(), False)


@operation(blueprint)
def patch_run_operations(call: Call) -> Answer:
    """As patch_run_document, on the path that POST has as well."""
    return patch_run_document(call)


@operation(blueprint)
def list_patches(call: Call) -> Answer:
    """A page of the run's patches, the first one first."""
    run_id, cursor = call.params["run_id"], call.query.get("cursor") or "0"
    limit = call.whole("limit", 50, 1, 200)
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10):
        raise refused("cursor", "Send the next_cursor of an earlier page.")
    meta = read_state(call.services, call.tenant, run_id)["meta"]
    records, more = page_of(call.services, run_id, meta, int(cursor), limit)
    items = [record.view() for record in records]
    return Answer({"items": items, "next_cursor": None if more is None else str(more)})


@operation(blueprint)
def revert_patch(call: Call) -> Answer:
    """Take a patch back by a new one."""
    body = call.members("description", "base_revision", "dry_run")
    number = call.params["n"]
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise NotFound(f"There is no patch {number[:40]}.")
    base = body.get("base_revision")
    revisions = _both(None if base is None else (_revision(base),), call.if_match())
    # The operations are worked out from the graph that the run has then.
    change = _change(call, [], body.get("description"))
    request = _request(call, change, revisions, _flag(body.get("dry_run")))
    answer = patches.revert_patch(call.services, request, int(number))
    return Answer(answer, headers=_etag(answer))


def _patched(call: Call, change: Change, revisions: tuple[int, ...] | None, dry_run: bool) -> Answer:
    answer = patches.patch_run(call.services, _request(call, change, revisions, dry_run))
    return Answer(answer, headers=_etag(answer))


def _request(call: Call, change: Change, revisions: tuple[int, ...] | None, dry_run: bool) -> PatchRequest:
    run_id, key = call.params["run_id"], key_of(call)
    read_state(call.services, call.tenant, run_id)
    once = None if key is None else f"{call.route.method} {call.path} {key}"
    return PatchRequest(call.tenant, call.actor, run_id, change, revisions, dry_run, once)


def _etag(answer: dict[str, Json]) -> dict[str, str]:
    return {"ETag": f'"{answer["revision"]}"'}


def _change(call: Call, operations: Json, description: Json) -> Change:
    """What the caller asks for, within its credential. A token made for a node counts as that node's own patch."""
    claims = call.claims
    assert claims is not None, "a patch route has claims"
    node = claims.sub.removeprefix("node:") if claims.run_id is not None and claims.sub.startswith("node:") else None
    text = _description(description)
    return Change(lambda plan: operations, text, caps=claims.caps, author=node, attempt=claims.attempt)


def _both(one: tuple[int, ...] | None, other: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Revisions that suit both conditions."""
    if one is None or other is None:
        return one if other is None else other
    return tuple(revision for revision in one if revision in other)


def _revision(value: Json) -> int:
    if value == 0 and not isinstance(value, bool | float):
        return 0
    return check_count(value, "/base_revision", MAX_REVISION)


def _flag(value: Json) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    raise InvalidInput("dry_run is not a flag.", (Problem("wrong_type", "/dry_run", "Send true or false."),))


def _description(value: Json) -> str:
    if value is None:
        return ""
    if isinstance(value, str) and len(value) <= MAX_DESCRIPTION:
        return value
    problem = Problem("bad_description", "/description", f"Send a text of at most {MAX_DESCRIPTION} characters.")
    raise InvalidInput("description is not such a text.", (problem,))
