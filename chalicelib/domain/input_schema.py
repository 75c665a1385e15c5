"""Checks a run's input against the input_schema of its workflow."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from chalicelib.domain.errors import EvaluationError, Problem
from chalicelib.domain.problem_list import pointer, shorten

if TYPE_CHECKING:
    from chalicelib.domain.schema_conditions import Validator

Json = Any

#: Places named in one answer.
MAX_FOUND = 50


def input_problems(schema: Json, value: Json, name: str = "input") -> tuple[Problem, ...]:
    """The first places where `value` breaks the schema, in order of their JSON Pointers under `/<name>`."""

    # Here, since a coordinator that meets no schema does without the time its library takes to load.
    from chalicelib.domain.schema_conditions import checked  # noqa: PLC0415

    def find(validator: Validator) -> list[Problem]:
        return [
            Problem(f"invalid_{name}", pointer(name, *error.absolute_path), f"{shorten(error.message, 300)}.")
            for error in islice(validator.iter_errors(value), MAX_FOUND)
        ]

    try:
        return tuple(sorted(checked(schema, find), key=lambda problem: problem.path))
    except EvaluationError as error:
        return (Problem(f"invalid_{name}", pointer(name), error.detail),)
