"""The config of `workflow` nodes."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from chalicelib.domain.names import REFERENCE_PATTERN
from chalicelib.domain.schema import Part


def _reference(value: str) -> str:
    """A text with `${` is refused elsewhere, for what it is."""
    if "${" not in value and not re.fullmatch(REFERENCE_PATTERN, value):
        raise PydanticCustomError("bad_value", "A saved workflow is named as name, name@3 or name@tag")
    return value


Reference = Annotated[str, AfterValidator(_reference)]


class WorkflowConfig(Part):
    """Config of `workflow`."""

    workflow: Reference
    input: Any = None
