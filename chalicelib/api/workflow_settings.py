"""Routes of a saved workflow's settings, which hold for all of its versions."""

from __future__ import annotations

from chalice.app import Blueprint

from chalicelib.api.call import Call, check_count
from chalicelib.api.endpoint import operation
from chalicelib.api.problems import Answer
from chalicelib.api.workflows import catalog_of
from chalicelib.engine.places import MAX_PLACES, admit, usage

blueprint = Blueprint(__name__)


@operation(blueprint)
def set_settings(call: Call) -> Answer:
    """Limit the workflow's runs, and let begin what a higher limit leaves room for."""
    name, given = call.name("name"), call.members(required=("max_running",))["max_running"]
    limit = None if given is None else check_count(given, "/max_running", MAX_PLACES)
    catalog_of(call).set_limit(name, limit, by=call.actor, at=call.services.clock.now_ms())
    admit(call.services, call.tenant, name)
    return _view(call, name)


@operation(blueprint)
def get_settings(call: Call) -> Answer:
    """The limit, and the runs that it holds."""
    name = call.name("name")
    catalog_of(call).find(name)
    return _view(call, name)


def _view(call: Call, name: str) -> Answer:
    running, waiting = usage(call.services.directory, call.tenant, name)
    limit = catalog_of(call).limit(name)
    return Answer({"name": name, "max_running": limit, "running": running, "waiting": waiting})
