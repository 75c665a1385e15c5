"""Writes workflow.json: 200 functions side by side, one join. Run it again after changing WIDTH."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WIDTH = 200


def document(width: int = WIDTH) -> dict[str, Any]:
    """The workflow with `width` parallel functions."""
    names = [f"work_{number:03}" for number in range(width)]
    work = [
        {"id": name, "type": "function", "config": {"handler": "echo", "params": {"n": number}}}
        for number, name in enumerate(names)
    ]
    total = "${sum(ctx.gather.output.map(name, ctx.gather.output[name].n))}"
    count = "${size(ctx.gather.output)}"
    return {
        "name": "fan-out-200",
        "nodes": [
            {"id": "start", "type": "pass"},
            *work,
            {"id": "gather", "type": "pass"},
            {"id": "total", "type": "transform", "config": {"value": {"count": count, "sum": total}}},
        ],
        "edges": [
            *({"from": "start", "to": name} for name in names),
            *({"from": name, "to": "gather"} for name in names),
            {"from": "gather", "to": "total"},
        ],
    }


if __name__ == "__main__":
    path = Path(__file__).with_name("workflow.json")
    path.write_text(json.dumps(document(), indent=1) + "\n", encoding="utf-8")
