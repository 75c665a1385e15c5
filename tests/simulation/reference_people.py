"""What becomes of nodes that wait for people or events, in the most naive way: by counting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from tests.simulation.opinions import payload, votes
from tests.simulation.reference_state import Outcome, Unit

Json = Any
#: Gives the end of an attempt of a human or event node: (node, the attempt).
Outside = Callable[[dict[str, Json], Unit], Outcome]


class Foreseen:
    """The end that depends on no order: everybody says what they will say, each execution takes the next event."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def __call__(self, node: dict[str, Json], unit: Unit) -> Outcome:
        if node["type"] == "human":
            return by_votes(unit.config, votes(node, unit.scope, unit.attempt).values())
        name, mail = unit.config["name"], node["metadata"]["sim"]["mail"]
        if mail["most"] is not None and self._taken[name] >= mail["most"]:
            return Outcome("failed", None, "Timeout")
        self._taken[name] += 1
        return Outcome(output=payload(name, self._taken[name], mail["same"]))


def by_votes(config: dict[str, Json], cast: Iterable[bool]) -> Outcome:
    """What these votes come to, in their order; what the end of the time comes to where they decide nothing."""
    approved = verdict(config, list(cast))
    if approved is None and config.get("on_timeout", "fail") == "fail":
        return Outcome("failed", None, "Timeout")
    if approved is None:
        approved = config["on_timeout"] == "approve"
    if not approved and config.get("on_reject", "fail") == "fail":
        return Outcome("failed", None, "Rejected", False)
    return Outcome(output={"approved": approved})


def verdict(config: dict[str, Json], cast: list[bool]) -> bool | None:
    """Whether it is approved, as soon as that is sure; None as long as it is open."""
    people, quorum = config.get("approvers"), config.get("quorum", 1)
    for count in range(len(cast) + 1):
        yes = sum(cast[:count])
        if yes >= quorum:
            return True
        if yes + len(people) - count < quorum if people else yes < count:
            return False
    return None


def without_people(value: Json) -> Json:
    """The value, of what people decided only whether they approved: who came first is chance."""
    if isinstance(value, list):
        return [without_people(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"approved", "by", "comment", "data", "decisions"}:
        return {"approved": value["approved"]}
    return {name: without_people(item) for name, item in value.items()}
