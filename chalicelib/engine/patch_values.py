"""Reads what the new edges out of settled nodes need, and says which of them are taken."""

from __future__ import annotations

import json
from typing import Any

from chalicelib.domain.commit import Draft
from chalicelib.domain.errors import Unavailable
from chalicelib.domain.ids import Token
from chalicelib.domain.patch_board import Standing
from chalicelib.domain.patch_effects import settled_sources
from chalicelib.domain.patch_late_edges import conditions_of, late_edges
from chalicelib.domain.patch_rules import Proposal
from chalicelib.engine.needs import NOW, Needs, run_info, values
from chalicelib.engine.services import Services
from chalicelib.engine.store_calls import ReadAnswer

Json = Any


def resolve_new_edges(
    services: Services, run_id: str, proposal: Proposal, revision: int, draft: Draft
) -> dict[str, dict[str, int]]:
    """Source -> its new edges, taken (1) or not (0), for sources that have settled. One read, if any.

    Conditions see the values of now, as `run.revision` the patch's. Raises Unavailable.
    """
    sources = settled_sources(proposal)
    wanted = {name: needs for name, (at, keys) in sources.items() if (needs := _needs(proposal, name, at, keys))}
    calls = [needs.call(run_id, NOW) for needs in wanted.values()]
    answers = dict(zip(wanted, services.store.read(calls) if calls else [], strict=True))
    found: dict[str, dict[str, int]] = {}
    for name, (standing, keys) in sources.items():
        token = standing.token or Token(name, standing.scope)
        loaded: dict[str, Json] = {}
        if name in wanted:
            loaded = _loaded(services, run_id, wanted[name], answers[name], revision, standing)
        found[name] = late_edges(proposal.new, token, standing.status, keys, loaded, draft)
    return found


def _needs(proposal: Proposal, name: str, standing: Standing, keys: list[str]) -> Needs | None:
    conditions = conditions_of(proposal.new, standing.status, keys)
    if not conditions:
        return None
    needs = Needs(proposal.new, Token(name, standing.scope), nodes={name})
    for condition in conditions:
        needs.names |= set(condition.expression.names)
        needs.nodes |= set(condition.expression.nodes)
    return needs


def _loaded(
    services: Services, run_id: str, needs: Needs, answer: ReadAnswer, revision: int, standing: Standing
) -> dict[str, Json]:
    def fetch(ref: str) -> Json:
        return json.loads(services.artifacts.get(ref))

    if not answer.found:
        raise Unavailable(f"Run {run_id} is being rebuilt; send the patch again.")
    found = values(needs, answer, run_info(answer, fetch), revision, run_id, fetch, NOW, {})
    own = found["ctx"][needs.token.node]
    failed = standing.status == "FAILED"
    return {**found, "output": None if failed else own["output"], **({"error": own["error"]} if failed else {})}
