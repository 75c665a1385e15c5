"""Routes of a saved workflow's versions: patch the latest, list them, compare two, move a tag."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chalice.app import Blueprint

from chalicelib.api.call import Call, check_count, check_name, refused
from chalicelib.api.endpoint import operation
from chalicelib.api.idempotency import pinned
from chalicelib.api.problems import Answer
from chalicelib.api.workflows import catalog_of, saved_answer, version_view
from chalicelib.domain.errors import Conflict
from chalicelib.domain.journal import timestamp
from chalicelib.domain.workflow_diff import workflow_diff
from chalicelib.engine.catalog import Version
from chalicelib.engine.workflow_patches import patched_plan

Json = Any
blueprint = Blueprint(__name__)
#: The largest number that a version or a move of a tag has.
MAX_NUMBER: Final = 99_999_999


@operation(blueprint)
def patch_workflow(call: Call) -> Answer:
    """Save what a JSON Patch makes of the latest version."""
    name, services, catalog = call.name("name"), call.services, catalog_of(call)
    body = call.json()
    operations = body if isinstance(body, list) else call.members(required=("operations",))["operations"]
    wanted = call.if_match()
    # A repeat is a patch of the version that the first try has seen.
    base = catalog.version(name, pinned(call, call.scope, "base", catalog.find(name).version))
    if wanted is not None and base.version not in wanted:
        text = f"The latest version of workflow {name} is {base.version} by now. Read it again, and patch that."
        raise Conflict(text, version=base.version)
    plan = patched_plan(services, services.plans.load(base.hash), operations)
    services.plans.save(plan)
    saved = catalog.save(name, plan.hash, by=call.actor, at=services.clock.now_ms(), after=base.version)
    return saved_answer(call, saved, plan)


@operation(blueprint)
def list_versions(call: Call) -> Answer:
    """A page of versions, the newest first, each with its tags."""
    name, catalog, limit = call.name("name"), catalog_of(call), call.whole("limit", 50, 1, 200)
    found = catalog.versions(name, limit + 1, _before(call))
    tags: dict[int, list[str]] = {}
    for tag, number in catalog.tags(name).items():
        tags.setdefault(number, []).append(tag)
    items = [{**version_view(version), "tags": tags.get(version.version, [])} for version in found[:limit]]
    return Answer({"items": items, "next_cursor": str(items[-1]["version"]) if len(found) > limit else None})


@operation(blueprint)
def diff_versions(call: Call) -> Answer:
    """What leads from one version to another, the latest if none is named."""
    old, new = _version(call, "from"), _version(call, "to")
    plans = call.services.plans
    view = {"name": old.name, "from": old.version, "to": new.version}
    return Answer({**view, **workflow_diff(plans.load(old.hash), plans.load(new.hash))})


@operation(blueprint)
def move_tag(call: Call) -> Answer:
    """Point a tag at a version: it is made, moved on, or moved back."""
    name, tag = call.name("name"), check_name(call.params["tag"], "/tag")
    body = call.members(required=("version",))
    catalog, number = catalog_of(call), check_count(body["version"], "/version", MAX_NUMBER)
    catalog.tag(name, tag, number, by=call.actor, at=call.services.clock.now_ms())
    return Answer({"name": name, "tag": tag, **_move(catalog.tagged(name, tag))})


@operation(blueprint)
def get_tag(call: Call) -> Answer:
    """Where a tag points, and where it has pointed, the newest first."""
    name, tag, limit = call.name("name"), call.name("tag"), call.whole("limit", 50, 1, 200)
    catalog = catalog_of(call)
    found = catalog.moves(name, tag, limit + 1, _before(call))
    items = [_move(record) for record in found[:limit]]
    cursor = str(found[limit - 1]["moves"]) if len(found) > limit else None
    return Answer(
        {"name": name, "tag": tag, **_move(catalog.tagged(name, tag)), "history": items, "next_cursor": cursor}
    )


def _version(call: Call, parameter: str) -> Version:
    """The version that a query parameter names by number or tag."""
    text, name, catalog = call.query.get(parameter), call.name("name"), catalog_of(call)
    if text:
        return catalog.chosen(name, text)
    if parameter == "to":
        return catalog.find(name)
    raise refused(parameter, "Name the version to compare with, by number or tag.")


def _before(call: Call) -> int | None:
    """The cursor: the number of the last item of an earlier page."""
    return call.whole("cursor", 0, 1, MAX_NUMBER) or None


def _move(record: Mapping[str, Json]) -> dict[str, Json]:
    return {"version": record["version"], "at": timestamp(record["at"]), "by": record["by"]}
