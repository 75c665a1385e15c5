"""A function that changes the run it works in: where orders stand out, it adds their analysis before the report."""

from __future__ import annotations

import statistics
from typing import Any

from chalicelib.functions import Context, TaskError, function

Json = Any
#: An order stands out when it is above so many times the median.
FACTOR = 3


@function("find_outliers")
def find_outliers(params: Json, ctx: Context) -> Json:
    """Return `{total, limit, outliers}` of `orders`; if any stand out, put their analysis before mail node `before`.

    The patch leaves with the completion: it is applied before the node's edges are decided. Raises TaskError
    `TaskFailed`, not retryable, for params that are no orders.
    """
    orders, before = _read(params)
    limit = FACTOR * statistics.median(order["amount"] for order in orders)
    outliers = [order for order in orders if order["amount"] > limit]
    if outliers:
        reason = f"{len(outliers)} of {len(orders)} orders are above {limit:g}: analyse them before the report"
        ctx.patch(analysis(ctx.node_id, before), reason)
    return {"total": sum(order["amount"] for order in orders), "limit": limit, "outliers": outliers}


def analysis(source: str, before: str) -> list[dict[str, Json]]:
    """The operations that put an analysis between node `source`, which found the outliers, and mail node `before`."""
    look = f'ctx["{source}"].output'
    return [
        _node("analyse_outliers", "transform", {"value": {
            "amount": f"${{sum({look}.outliers, 'amount')}}",
            "largest": f"${{top({look}.outliers, 1, 'amount')[0].id}}"}}),
        _node("ask_why", "function", {"handler": "send_email", "params": {
            "to": "sales@example.org",
            "subject": "Please look at ${ctx.analyse_outliers.output.largest} first"}}),
        {"op": "remove", "path": f"/edges/{source}:{before}"},
        _edge(source, "analyse_outliers"),
        _edge("analyse_outliers", "ask_why"),
        _edge("analyse_outliers", before),
        {"op": "replace", "path": f"/nodes/{before}/config/params/subject", "value":
            f"Sales of the day: ${{{look}.total}}, of which unusual: ${{ctx.analyse_outliers.output.amount}}"},
    ]  # fmt: skip


def _node(name: str, kind: str, config: Json) -> dict[str, Json]:
    return {"op": "add", "path": "/nodes/-", "value": {"id": name, "type": kind, "config": config}}


def _edge(source: str, target: str) -> dict[str, Json]:
    return {"op": "add", "path": "/edges/-", "value": {"from": source, "to": target}}


def _read(params: Json) -> tuple[list[dict[str, Json]], str]:
    given = params if isinstance(params, dict) else {}
    orders, before = given.get("orders"), given.get("before")
    if not isinstance(orders, list) or not orders or not all(map(_is_order, orders)):
        text = "/config/params/orders must be a list of at least one order with an id and an amount"
        raise TaskError("TaskFailed", text, retryable=False)
    if not isinstance(before, str):
        raise TaskError("TaskFailed", "/config/params/before must name the node that waits", retryable=False)
    return orders, before


def _is_order(order: Json) -> bool:
    amount = order.get("amount") if isinstance(order, dict) else None
    return isinstance(amount, int | float) and not isinstance(amount, bool) and isinstance(order.get("id"), str)
