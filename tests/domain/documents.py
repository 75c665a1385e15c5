"""Small workflow documents for the compiler's tests."""

from itertools import pairwise

from chalicelib.domain.compiler import check
from chalicelib.domain.limits import Limits


def node(id, type="pass", **keys):
    return {"id": id, "type": type, **keys}


def edge(source, target, **keys):
    return {"from": source, "to": target, **keys}


def workflow(nodes, edges=(), **keys):
    return {"nodes": [node(n) if isinstance(n, str) else n for n in nodes], "edges": [*edges], **keys}


def chain(*names):
    return [edge(a, b) for a, b in pairwise(names)]


def loop(back_to, **keys):
    return {"condition": "true", "loop_back_to": back_to, **keys}


def compiled(document, **limits):
    plan, problems, _ = check(document, limits=Limits(**limits))
    assert problems == []
    return plan


def found(document, handlers=None, **limits):
    """(code, path) of every problem."""
    plan, problems, _ = check(document, limits=Limits(**limits), handlers=handlers)
    assert (plan is None) == bool(problems)
    return [(problem.code, problem.path) for problem in problems]


def warned(document):
    plan, problems, warnings = check(document, limits=Limits())
    assert problems == [] and plan is not None
    return [(warning.code, warning.path) for warning in warnings]


ORDER_TRIAGE = {
    "name": "order-triage",
    "nodes": [
        {
            "id": "fetch",
            "type": "http",
            "config": {"url": "${input.url}"},
            "retry": {"max_attempts": 3},
            "timeout_ms": 5000,
        },
        {
            "id": "score",
            "type": "function",
            "config": {"handler": "score_order", "params": {"order": "${ctx.fetch.output.body}"}},
            "loop": {
                "condition": {"type": "cel", "expression": "output.score < 80"},
                "max_iterations": 5,
                "loop_back_to": "fetch",
            },
        },
        {
            "id": "route",
            "type": "branch",
            "branch": {
                "rules": [
                    {
                        "condition": {"type": "cel", "expression": "ctx.score.output.score >= 95"},
                        "next_nodes": ["ship"],
                    }
                ],
                "default": ["review"],
            },
        },
        {"id": "review", "type": "function", "config": {"handler": "ask"}, "timeout_ms": 86400000},
        {"id": "ship", "type": "function", "config": {"handler": "ship_order"}},
    ],
    "edges": [{"from": "fetch", "to": "score"}, {"from": "score", "to": "route"}, {"from": "review", "to": "ship"}],
}
