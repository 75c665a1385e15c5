"""What one run's journal says of nodes that wait for people or events, and what must hold of it.

A person decides once on each execution, a request under a key counts once, what is decided ends the node so; each event
is used at most once, in the order sent, by the waiter that was the oldest.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.ids import Job, Token, parse_token
from chalicelib.domain.journal import Item
from tests.simulation.invariants import require
from tests.simulation.reference_people import by_votes, verdict
from tests.simulation.reference_state import Outcome, Unit

Json = Any


@dataclass(slots=True)
class Ask:
    """One execution that waits, or has waited: since which commit, for what, and what has come of it."""

    job: Job
    data: dict[str, Json]
    #: Person -> approved, in the journal's order.
    votes: dict[str, bool] = field(default_factory=dict)
    #: Events that were the next for it at some moment; the one it was given.
    due: set[str] = field(default_factory=set)
    letter: str | None = None
    #: Its status at the end, or the type of its error; none while it waits, or where it was cancelled.
    end: str = ""
    #: Whether a client gave it another output.
    skipped: bool = False


class WaitingRoom:
    """Follows the items of one run."""

    def __init__(self) -> None:
        self.open: dict[str, Ask] = {}
        self.over: dict[str, Ask] = {}
        #: Fields of the run's `box`: events that nobody has used, in the order sent, and all that there were.
        self.unused: list[str] = []
        self.letters: dict[str, Json] = {}
        #: Key of a request -> what its first try came to.
        self.keys: dict[str, str] = {}
        #: How many ever waited for one name at once, and how many events of one name.
        self.most_waiting, self.most_unused = 0, 0
        self._numbers: Counter[str] = Counter()

    def take(self, run_id: str, item: Item, place: str) -> None:
        """Go on by one item. Raises Violation."""
        body = item.body
        dropped = [name for hash_, name in body.get("drop", []) if hash_ == "box" and name.startswith("event|")]
        if "settle" in body:
            self._settle(body, dropped, place)
        require(not dropped, f"{place} throws {dropped} away")
        for token in (*item.cancelled, *item.lost):
            self._close(token)
        for hash_, name, text in body.get("put", []):
            if hash_ == "box":
                self._put(name, text, place)
        now = {**body, **body.get("meta", {})}
        for token, _, kind, data, _ in item.opened():
            found = json.loads(data) if kind == "h" and data else {}
            if found.keys() & {"quorum", "event"}:
                job = Job(run_id, token, item.no, item.id, now["gen"], int(now["rev"]), now["graph"])
                self.open[token] = Ask(job, found)
        self._line_up()

    def line(self, name: str) -> list[str]:
        """Who waits for an event of this name, the oldest first."""
        found = [(ask.job.no, token) for token, ask in self.open.items() if ask.data.get("event") == name]
        return [token for _, token in sorted(found)]

    def ready(self, name: str) -> list[str]:
        """The events of this name that nobody has used."""
        return [letter for letter in self.unused if letter.split("|")[1] == name]

    def undecided(self, token: str) -> bool:
        """Whether a vote on this waiting token would count."""
        return _verdict(self.open[token]) is None

    def told(self, node: dict[str, Json], unit: Unit) -> Outcome:
        """The end of an attempt, for the reference: by the votes that were cast, by the event that it was given."""
        ask = self.over[Token(unit.node, unit.scope, attempt=unit.attempt).text]
        if node["type"] == "human":
            return by_votes(unit.config, ask.votes.values())
        if ask.letter is None:
            return Outcome("failed", None, "Timeout")
        return Outcome(output=self.letters[ask.letter])

    def asked(self) -> Iterator[tuple[Token, dict[str, Json]]]:
        """All that waited once, and what for."""
        yield from ((parse_token(text), ask.data) for text, ask in (self.open | self.over).items())

    def _line_up(self) -> None:
        for name in {ask.data["event"] for ask in self.open.values() if "event" in ask.data}:
            line, ready = self.line(name), self.ready(name)
            self.most_waiting = max(self.most_waiting, len(line))
            self.most_unused = max(self.most_unused, len(ready))
            for token, letter in zip(line, ready, strict=False):
                self.open[token].due.add(letter)

    def _close(self, token: str) -> Ask | None:
        ask = self.open.pop(token, None)
        if ask is not None:
            self.over[token] = ask
        return ask

    def _put(self, name: str, text: str, place: str) -> None:
        kind, _, rest = name.partition("|")
        if kind == "said":
            require(rest not in self.keys, f"{place} counts the request {rest} a second time")
            self.keys[rest] = text
        if kind == "event":
            of, number = rest.rsplit("|", 1)
            self._numbers[of] += 1
            require(int(number) == self._numbers[of], f"{place} numbers an event {number}, not {self._numbers[of]}")
            self.unused.append(name)
            self.letters[name] = json.loads(text)["o"]
        if kind == "vote":
            self._vote(rest.rsplit("|", 1)[0], json.loads(text), place)

    def _vote(self, token: str, vote: dict[str, Json], place: str) -> None:
        ask, by = self.open.get(token), vote["by"]
        require(ask is not None, f"{place} has a vote on {token}, which does not wait")
        assert ask is not None
        require(by not in ask.votes, f"{place} has a second vote of {by} on {token}")
        require(by in (ask.data.get("approvers") or [by]), f"{place} has a vote of {by}, who may not decide on {token}")
        require(_verdict(ask) is None, f"{place} has a vote on {token}, which was decided")
        ask.votes[by] = vote["approved"]

    def _settle(self, body: dict[str, Json], dropped: list[str], place: str) -> None:
        text, status, error = body["settle"]
        ask = self._close(text)
        if ask is None:
            return
        value = {key: json.loads(record) for key, record in body.get("val", [])}.get(parse_token(text).value_key, {})
        failure = json.loads(error) if error else {"type": status}
        ask.end = failure["type"]
        ask.skipped = ask.end == "COMPLETED" and "quorum" in ask.data and "decisions" not in value.get("o", ())
        if "event" in ask.data:
            self._judge_event(ask, value, failure["type"], dropped, f"{place}, the end of {text},")
        else:
            _judge_votes(
                ask, value.get("o") if status == "COMPLETED" else None, failure, f"{place}, the end of {text},"
            )

    def _judge_event(self, ask: Ask, value: Json, kind: str, dropped: list[str], place: str) -> None:
        if not dropped:
            require(kind != "Timeout" or not ask.due & set(self.unused), f"{place} passes {ask.due} over")
            return
        letter = dropped.pop()
        require(letter in self.unused, f"{place} uses {letter}, which was used before")
        require(letter in ask.due, f"{place} uses {letter}, but it was never its turn")
        require(kind != "COMPLETED" or value["o"] == self.letters[letter], f"{place} gives {value}, not the event's")
        ask.letter = letter
        self.unused.remove(letter)


def _verdict(ask: Ask) -> bool | None:
    return verdict(ask.data, list(ask.votes.values()))


def _judge_votes(ask: Ask, output: Json, failure: dict[str, Json], place: str) -> None:
    """What was decided is what it comes to, and every vote is part of it. A node that is skipped has another output."""
    kind, decided = failure["type"], _verdict(ask)
    if kind not in ("COMPLETED", "Rejected", "Timeout") or ask.skipped:
        return
    came_to = output["approved"] if kind == "COMPLETED" else {"Rejected": False}.get(kind)
    require(decided is None or came_to == decided, f"{place} is {kind} {output}, although {ask.votes} decided it")
    if kind != "Timeout":
        listed = {vote["by"]: vote["approved"] for vote in (output or failure)["decisions"]}
        require(list(listed.items()) == list(ask.votes.items()), f"{place} lists {listed}, not {ask.votes}")
