"""How each node of a live run stands in its open scope instance, as the rules of patching see it (HAZARDS 25)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.domain.ids import ARM, START, Scope, Token, parse_token
from chalicelib.domain.ir import Plan
from chalicelib.domain.node_kinds import armed
from chalicelib.domain.records import parse_began

State = Mapping[str, Mapping[str, str]]
#: Hashes of a run that a board reads.
BOARD_HASHES = ("meta", "tok", "st", "done", "jn", "ed")
#: (hash, field, value or "" for none): what a patch relied on.
Expectation = tuple[str, str, str]
#: What no longer changes by itself.
SETTLED = frozenset({"COMPLETED", "FAILED", "SKIPPED", "CANCELLED"})


@dataclass(frozen=True, slots=True)
class Standing:
    """One node in its open instance. `token` is its newest execution, None while PENDING."""

    status: str
    scope: Scope
    token: Token | None = None

    @property
    def begun(self) -> bool:
        """Whether it was started, skipped or cancelled: its way in is history."""
        return self.status != "PENDING"

    @property
    def settled(self) -> bool:
        """Whether its outgoing edges have been resolved."""
        return self.status in SETTLED


class Board:
    """A run's state as the rules see it. `plan` is the graph that the state was made by."""

    def __init__(self, plan: Plan, state: State) -> None:
        self.plan, self.state = plan, state
        self._newest: dict[tuple[Scope, str], int] = {}
        self._indexed: set[tuple[str, Scope]] = set()
        for instance in state["st"]:
            self._note(instance)
        #: Loop nodes of which an earlier iteration has something outstanding.
        self.late = {loop for text in state["tok"] for loop in self._older(parse_token(text).scope)}
        #: Edges, and nodes of the coordinator's own lists, that a pending fan-out is about to follow.
        self.fanned_edges: set[str] = set()
        self.fanned_nodes: set[str] = set()
        for text, record in state["tok"].items():
            if text.startswith("$fan:"):
                self._read_fan(record)
        self.started = Token(START).text in state["done"]

    def _note(self, instance: str) -> None:
        token = parse_token(f"{instance}#0.0")
        for depth, (loop, count) in enumerate(token.scope):
            key = (token.scope[:depth], loop)
            self._newest[key] = max(count, self._newest.get(key, 1))
        if token.index is not None:
            self._indexed.add((token.node, token.scope))

    def _read_fan(self, record: str) -> None:
        data = parse_began(record).data
        self.fanned_edges |= set(data.get("edges", ()))
        self.fanned_nodes |= set(data.get("nodes", ()))

    def _older(self, scope: Scope) -> list[str]:
        return [
            loop for depth, (loop, count) in enumerate(scope) if count < self._newest.get((scope[:depth], loop), count)
        ]

    def open_scope(self, loops: tuple[str, ...]) -> Scope:
        """The instance that is open now, of a node within these loops."""
        scope: Scope = ()
        for loop in loops:
            scope = (*scope, (loop, self._newest.get((scope, loop), 1)))
        return scope

    def standing(self, name: str) -> Standing:
        """How a node of the old plan stands."""
        scope = self.open_scope(self.plan.nodes[name].loops)
        instance = Token(name, scope).instance
        text = self._newest_text(instance)
        if text is None:
            begun = (name, scope) in self._indexed or name in self.fanned_nodes
            return Standing("RUNNING" if begun else "PENDING", scope)
        token = parse_token(text)
        real = Token(name, scope, token.index, token.epoch, token.attempt)
        return Standing(self._status(text, instance, token), scope, real)

    def _newest_text(self, instance: str) -> str | None:
        own, arm = self.state["st"].get(instance), self.state["st"].get(f"{ARM}{instance}")
        if own is None or arm is None:
            return own or arm
        return arm if parse_token(arm).epoch > parse_token(own).epoch else own

    def _status(self, text: str, instance: str, token: Token) -> str:
        end = self.state["done"].get(text)
        if end is None:
            return "RUNNING" if token.attempt else "SKIPPING"
        status = end.split("|", 4)[3]
        if status == "RETRIED":
            retry = self.state["done"].get(self.state["st"].get(f"$retry:{instance}", ""), "")
            return "CANCELLED" if "|CANCELLED|" in retry else "RETRYING"
        if text.startswith(ARM) and status == "COMPLETED":
            return "RUNNING"
        return status

    def evidence(self, name: str) -> list[Expectation]:
        """All that a decision about this node rests on; where any of it differs, the decision does not hold."""
        node, standing = self.plan.nodes[name], self.standing(name)
        instance = Token(name, standing.scope).instance
        fields = [("st", instance), ("jn", instance)]
        if armed(node):
            fields.append(("st", f"{ARM}{instance}"))
        text = self._newest_text(instance)
        if text is not None:
            fields.append(("done", text))
        for depth, (loop, count) in enumerate(standing.scope):
            fields += [("st", instance) for instance in self._next_entry(standing.scope[:depth], loop, count)]
        return [(hash_, field, self.state[hash_].get(field, "")) for hash_, field in fields]

    def _next_entry(self, outer: Scope, loop: str, count: int) -> list[str]:
        """Instances of which one appears as soon as the loop begins its next iteration."""
        node = self.plan.nodes[loop]
        assert node.loop is not None
        back = self.plan.nodes[node.loop.back_to]
        inner = tuple((name, 1) for name in back.loops[len(outer) + 1 :])
        instance = Token(back.id, (*outer, (loop, count + 1), *inner)).instance
        return [instance, f"{ARM}{instance}"] if armed(back) else [instance]

    def resolved(self, name: str) -> dict[str, int]:
        """Resolved incoming edges of a counted node in its open instance: key -> 0 not taken, 1 taken, 2 veto."""
        instance = Token(name, self.open_scope(self.plan.nodes[name].loops)).instance
        found: dict[str, int] = {}
        for key in self.plan.nodes[name].in_edges:
            record = self.state["ed"].get(f"{instance}|{key}")
            if record is not None:
                found[key] = int(record.split(":", 1)[0])
        return found
