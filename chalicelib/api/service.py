"""Routes about the service itself: health, the document's schema, the OpenAPI description."""

from __future__ import annotations

from chalice.app import Blueprint

from chalicelib.api.call import Call
from chalicelib.api.endpoint import operation
from chalicelib.api.openapi import describe
from chalicelib.api.problems import Answer
from chalicelib.domain.errors import Unavailable
from chalicelib.domain.schema import WorkflowPart

blueprint = Blueprint(__name__)


@operation(blueprint)
def get_health(call: Call) -> Answer:
    """200 when the run store answers, else 503."""
    if not call.services.store.ping():
        raise Unavailable("The run store does not answer.")
    return Answer({"status": "ok", "stage": call.services.stage})


@operation(blueprint)
def get_schema(call: Call) -> Answer:
    """The JSON Schema of a workflow document."""
    schema = WorkflowPart.model_json_schema(by_alias=True)
    return Answer({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


@operation(blueprint)
def get_openapi(call: Call) -> Answer:
    """The OpenAPI description of this API."""
    return Answer(describe(call.services.public_url))
