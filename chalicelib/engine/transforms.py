"""What a transform node gives: its value, or the last table of its pipeline."""

from __future__ import annotations

import json
from typing import Any

from chalicelib.domain.errors import NotFound, TaskError
from chalicelib.domain.outcome import Outcome
from chalicelib.domain.problem_list import shorten
from chalicelib.engine.ports import Artifacts

Json = Any


def transformed(config: dict[str, Json], artifacts: Artifacts) -> Outcome:
    """The outcome of a transform that runs in the coordinator. Raises Unavailable."""
    if "pipeline" not in config:
        return Outcome(output=config["value"])
    # Loaded when a run first has a pipeline: most have none.
    from chalicelib.domain.pipeline import run_pipeline  # noqa: PLC0415

    try:
        table = run_pipeline(
            config["pipeline"], config.get("data"), http=None, fetch=lambda ref: stored_json(ref, artifacts)
        )
    except TaskError as error:
        failure = {"type": error.type, "message": error.message, "retryable": error.retryable}
        return Outcome(error=failure)
    return Outcome(output=table)


def stored_json(ref: str, artifacts: Artifacts) -> Json:
    """The JSON value of an artifact that a pipeline names. Raises TaskError, Unavailable."""
    try:
        return json.loads(artifacts.get(ref))
    except (NotFound, ValueError, RecursionError) as error:
        why = "is not in the store" if isinstance(error, NotFound) else "is no JSON"
        raise TaskError("PipelineError", f"the artifact {shorten(ref, 100)} {why}", retryable=False) from error
