"""What people say to human nodes and what events carry: functions of the document, of node, scope, attempt and number.

A node's `metadata.sim` says how: `people` is {"seed", "yes": share of approved executions, "unsaid": share of those
that too few decide, "mixed": true where opinions may differ although one rejection is enough}; `mail` is {"most":
events ever sent, null for as many as are waited for, "same": true where all carry the same, "loose": it may fail}.
"""

from __future__ import annotations

import random
import zlib
from typing import Any

from tests.simulation.reference_graph import Scope

Json = Any
#: Who may decide where a node names nobody.
PEOPLE = ("ann", "bob", "cy", "dee")
#: Who may decide where a node names others, and tries to.
OUTSIDER = "eve"


def votes(node: dict[str, Json], scope: Scope, attempt: int) -> dict[str, bool]:
    """What each person would say to this execution; persons that are not named never decide.

    Enough decide it, whatever the order, unless it is one of those that stay undecided.
    """
    plan, config = node["metadata"]["sim"]["people"], node["config"]
    chance = random.Random(f"{plan['seed']} {node['id']} {scope} {attempt}")
    named, quorum = config.get("approvers"), config.get("quorum", 1)
    voters = list(named or PEOPLE)
    chance.shuffle(voters)
    #: Rejections that decide nothing yet.
    spare = len(voters) - quorum if named else 0
    free = len(voters) if plan.get("mixed") else spare
    if chance.random() < plan.get("unsaid", 0):
        yes, no = chance.randrange(quorum), chance.randrange(spare + 1)
    elif chance.random() < plan["yes"]:
        yes = chance.randrange(quorum, len(voters) + 1)
        no = chance.randrange(min(free, len(voters) - yes) + 1)
    else:
        no = chance.randrange(spare + 1, len(voters) + 1)
        yes = chance.randrange(len(voters) - no + 1) if named or plan.get("mixed") else 0
    return {person: at < yes for at, person in enumerate(voters[: yes + no])}


def event_name(node: dict[str, Json], input: Json) -> str:
    """The name that this node waits for in a run with this input."""
    return str(node["config"]["name"]).replace("${input.x}", str(input["x"]))


def payload(name: str, number: int, same: bool = False) -> dict[str, Json]:
    """What the event of this name and number carries."""
    return {"n": zlib.crc32(f"{name} {0 if same else number}".encode()) % 5, "event": name, "by": 0 if same else number}
