from __future__ import annotations

ONE = {
    "name": "one",
    "nodes": [{"id": "a", "type": "function", "config": {"handler": "echo", "params": {"n": "${input.n}"}}}],
}
LOOP = {
    "nodes": [
        {"id": "w", "type": "function", "config": {"handler": "echo", "params": {"i": "${iteration}"}}},
        {"id": "l", "type": "loop", "loop": {"condition": "iteration < 3", "max_iterations": 9, "loop_back_to": "w"}},
    ],
    "edges": [{"from": "w", "to": "l"}],
}


def version(number: int) -> dict:
    """A document that differs from the other versions'."""
    return {"nodes": [{"id": "a", "type": "transform", "config": {"value": number}}]}
