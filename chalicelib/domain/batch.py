"""The workflow of a batch: one map that calls a saved workflow for each of many inputs."""

from __future__ import annotations

from typing import Any

Json = Any
#: The one node of a batch.
NODE = "batch"


def batch_document(name: str, version: int, *, max_concurrency: Json = None, tolerate_failures: Json = None) -> Json:
    """The document whose run starts `name@version` for each item of its input, a list or an artifact's id.

    Every input is tried, whatever becomes of the others, unless `tolerate_failures` says how many may fail.
    """
    config: dict[str, Json] = {"items": "${input}", "workflow": f"{name}@{version}"}
    config["tolerate_failures"] = "100%" if tolerate_failures is None else tolerate_failures
    if max_concurrency is not None:
        config["max_concurrency"] = max_concurrency
    return {
        "nodes": [{"id": NODE, "type": "map", "config": config}],
        "output": f"${{ctx.{NODE}.output}}",
        "metadata": {"batch_of": f"{name}@{version}"},
    }
