"""Which nodes a patch starts at once, told before the store has counted its arrivals: for answers and dry runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chalicelib.domain.commit import Draft
from chalicelib.domain.ids import ARM, Token
from chalicelib.domain.ir import Plan

#: (node, instance, taken 1 / not 0 / veto 2, edges needed or 0 for all, edges in all)
_Arrival = tuple[str, str, int, int, int]


def starting(plan: Plan, draft: Draft, joins: Mapping[str, str]) -> list[str]:
    """Ids of the nodes that start by this draft, in its order; `joins` are the store's counts, by instance."""
    found: dict[str, None] = {}
    for emit in draft.emits:
        if "nodes" in emit.data:
            found |= dict.fromkeys(emit.data["nodes"])
        elif "edges" in emit.data:
            taken = [plan.edges[key].target for key, how in emit.data["edges"].items() if how]
            found |= dict.fromkeys(name for name in taken if not plan.nodes[name].counted)
        elif emit.token.attempt > 0:
            found[emit.token.node.removeprefix(ARM)] = None
    counts = _counts(draft, joins)
    for node, instance, how, need, total in _arrivals(plan, draft):
        before = counts.setdefault(instance, [0, 0, 0])
        before[{1: 0, 0: 1, 2: 2}[how]] += 1
        if fires(before, need, total):
            found[node] = None
    return list(found)


def fires(counts: list[int], need: int, total: int) -> bool:
    """Whether a join that was still waiting runs with these edges taken, not taken, vetoed; as the store decides it."""
    taken, left, vetoed = counts[0], total - sum(counts), counts[2]
    if vetoed and (left == 0 or need > 0):
        return False
    return taken >= need if need > 0 else left == 0 and taken > 0


def _counts(draft: Draft, joins: Mapping[str, str]) -> dict[str, list[int]]:
    texts = dict(joins)
    for name, instance in draft.drop:
        if name == "jn":
            texts.pop(instance, None)
    texts |= {instance: text for name, instance, text in draft.put if name == "jn"}
    return {instance: [int(part) for part in text.split("|")[:3]] for instance, text in texts.items()}


def _arrivals(plan: Plan, draft: Draft) -> Iterator[_Arrival]:
    for arrival in draft.arrivals:
        yield arrival.fire.token.node.removeprefix(ARM), arrival.instance, arrival.how, arrival.need, arrival.total
    for emit in draft.emits:
        for key, how in emit.data.get("edges", {}).items():
            target = plan.nodes[plan.edges[key].target]
            if target.counted:
                # Fans follow edges of one scope; a loop entered on the way has not begun.
                common = emit.token.scope[: len(target.loops)]
                instance = Token(target.id, (*common, *((loop, 1) for loop in target.loops[len(common) :]))).instance
                yield target.id, instance, how, target.join.need, len(target.in_edges)
