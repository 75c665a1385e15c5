"""Draws before.svg, after.svg and analyst.svg: `python -m examples.self_editing.make`, after changing a file here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chalicelib.domain.compiler import compile_workflow
from chalicelib.domain.ir import Plan
from chalicelib.domain.limits import Limits
from chalicelib.domain.patch_diff import diff_plans
from chalicelib.domain.patch_operations import apply_operations
from chalicelib.functions import HANDLERS
from chalicelib.functions.self_editing import analysis
from infra.draw import draw

Json = Any
HERE = Path(__file__).parent
#: The fourth patch is reverted, so the graph is left as these make it.
KEPT = ("patch-1.json", "patch-2.json", "patch-3.json")


def load(name: str) -> Json:
    """The content of a JSON file beside this one."""
    return json.loads((HERE / name).read_text(encoding="utf-8"))


def patched(document: Json, operations: Json) -> Json:
    """A workflow after a patch."""
    return apply_operations(document, operations, Limits().document_bytes).document


def pictures() -> dict[str, str]:
    """The pictures by file name. The node states are those that expected.json has, which the tests hold a run to."""
    before, expected, analyst = load("workflow.json"), load("expected.json"), load("analyst.json")
    after = before
    for name in KEPT:
        after = patched(after, load(name)["operations"])
    edited = patched(analyst, analysis("look", "send_report"))
    return {
        "before.svg": draw(before, _run(expected["before"])),
        "after.svg": draw(after, _run(expected["after"]), diff=_difference(before, after)),
        "analyst.svg": draw(edited, _completed(edited), diff=_difference(analyst, edited)),
    }


def _difference(old: Json, new: Json) -> dict[str, list[str]]:
    view = diff_plans(_plan(old), _plan(new)).view(_plan(new), _plan(old))
    return {what: [*view[what], *view[f"edges_{what}"]] for what in ("added", "changed", "removed")}


def _plan(document: Json) -> Plan:
    return compile_workflow(document, limits=Limits(), handlers=HANDLERS.__contains__)


def _completed(document: Json) -> Json:
    return _run({"status": "COMPLETED", "nodes": {node["id"]: {"status": "COMPLETED"} for node in document["nodes"]}})


def _run(states: Json) -> Json:
    return {"run_id": "RUN", **states}


if __name__ == "__main__":
    for file, picture in pictures().items():
        (HERE / file).write_text(picture, encoding="utf-8")
