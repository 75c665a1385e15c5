"""What tasks of racing documents read of others (drawn._share), held against the journal up to their creation."""

from __future__ import annotations

import json
import re
from typing import Any

from chalicelib.domain.ids import parse_job_id, parse_token
from chalicelib.domain.journal import parse_item
from chalicelib.engine.ports import JournalItem
from tests.simulation.invariants import require

Json = Any


def without(config: Json) -> Json:
    """The config as it was before the reads were added: what engine and reference agree on."""
    params = config.get("params")
    return {**config, "params": params["was"]} if isinstance(params, dict) and "was" in params else config


def judge(items: list[JournalItem], tasks: list[dict[str, Json]], document: dict[str, Json], secret: bytes) -> None:
    """Raises Violation where a task saw less or more than the commits up to the one that created it."""
    shared: list[tuple[int, Json]] = []
    completed: dict[str, int] = {}
    for item in (parse_item(item.text) for item in items):
        shared += [(item.no, json.loads(text)) for name, text in item.body.get("vars", []) if name == "shared"]
        token, status, _ = item.body.get("settle") or ("$none@#0.0", "", "")
        if status == "COMPLETED" and "[" not in token:
            completed.setdefault(parse_token(token).node, item.no)
    configs = {node["id"]: json.dumps(node.get("config")) for node in document["nodes"]}
    for task in tasks:
        params, created = task["config"].get("params"), parse_job_id(task["job_id"], secret).no
        if not isinstance(params, dict) or "was" not in params:
            continue
        wanted = {"v": [value for no, value in shared if no <= created][-1]}
        if "done" in params:
            name = re.findall(r'ctx\[\\"(.*?)\\"\]', configs[task["node_id"]])[-1]
            wanted["done"] = completed.get(name, created + 1) <= created
        seen = {key: params[key] for key in wanted}
        require(seen == wanted, f"{task['node_id']}, created by commit {created}, saw {seen} instead of {wanted}")
