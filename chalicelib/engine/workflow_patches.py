"""Compiles what a JSON Patch makes of a saved workflow."""

from __future__ import annotations

from typing import Any

from chalicelib.domain.compiler import compile_workflow
from chalicelib.domain.errors import InvalidDocument
from chalicelib.domain.ir import Plan
from chalicelib.domain.patch_blame import blamed
from chalicelib.domain.patch_operations import apply_operations
from chalicelib.engine.services import Services

Json = Any


def patched_plan(services: Services, plan: Plan, operations: Json) -> Plan:
    """The plan of the patched document; the old one is left as it is.

    Raises InvalidInput for operations that cannot be applied, InvalidDocument naming operations where the result does
    not compile.
    """
    applied = apply_operations(plan.document, operations, services.limits.document_bytes)
    try:
        return compile_workflow(
            applied.document, limits=services.limits, handlers=services.has_handler, queues=services.has_queue
        )
    except InvalidDocument as error:
        raise InvalidDocument(error.detail, blamed(error.problems, applied)) from None
