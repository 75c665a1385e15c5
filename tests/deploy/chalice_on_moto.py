"""Runs Chalice's command line against moto, whose ImportRestApi wants more than Chalice sends and AWS needs.

It takes OpenAPI 3 only, asks for `info.description`, and for a uri and a method on MOCK integrations.
"""

from __future__ import annotations

import sys
from typing import Any

from chalice.awsclient import TypedAWSClient
from chalice.cli import main

Json = Any
INTEGRATION = "x-amazon-apigateway-integration"


def for_moto(document: Json) -> Json:
    """The same routes and integrations, in the words that moto reads."""
    rest = {name: value for name, value in document.items() if name not in ("swagger", "schemes", "definitions")}
    return {
        **rest,
        "openapi": "3.0.1",
        "info": {**document["info"], "description": "-"},
        "paths": {
            path: {method: {**made, INTEGRATION: whole(made[INTEGRATION])} for method, made in methods.items()}
            for path, methods in document["paths"].items()
        },
    }


def whole(integration: Json) -> Json:
    return integration if integration["type"] != "mock" else {"uri": "mock", "httpMethod": "POST", **integration}


def install() -> None:
    original = TypedAWSClient.import_rest_api

    def import_rest_api(self: TypedAWSClient, swagger_document: Json, endpoint_type: str) -> str:
        return original(self, for_moto(swagger_document), endpoint_type)

    TypedAWSClient.import_rest_api = import_rest_api


if __name__ == "__main__":
    install()
    sys.exit(main())
