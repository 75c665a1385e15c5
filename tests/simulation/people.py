"""People who decide and programs that send events: each says one thing, and asks again until it hears an answer."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

from chalicelib.domain.errors import Conflict, Forbidden, GraftError, Unavailable
from chalicelib.domain.ids import job_id, parse_token
from chalicelib.domain.journal import Item
from chalicelib.domain.state import ENDED
from chalicelib.engine.approvals import Decision, decide
from chalicelib.engine.run_events import send_event
from chalicelib.engine.services import Services
from tests.simulation.drawn import SimulatedRun
from tests.simulation.invariants import Audit, require
from tests.simulation.opinions import OUTSIDER, event_name, payload, votes
from tests.simulation.strands import Killed, Strand
from tests.simulation.waiting_room import Ask, WaitingRoom

Json = Any
#: Shares of people who decide a second time, otherwise than before, and of what was answered and is sent once more.
CONTRARY, REPEATED = 0.2, 0.15


@dataclass(frozen=True)
class Errand:
    """One thing that one person or program says, under an Idempotency-Key of its own."""

    run_id: str
    key: str
    #: The waiting token, who decides on it and how; or the event's name and payload.
    token: str = ""
    node: str = ""
    job: str = ""
    by: str = ""
    approved: bool = False
    name: str = ""
    payload: Json = None
    #: It has to be refused: the person may not decide, or not any more.
    vain: bool = False
    #: What it was answered when it was said before.
    before: Json = None

    def act(self, services: Services) -> dict[str, Json]:
        """Say it. Raises what the engine raises."""
        if self.name:
            return send_event(services, self.run_id, self.name, self.payload, "program", self.key)
        said = Decision(self.run_id, self.node, self.by, self.approved, job=self.job, once=self.key)
        return decide(services, replace(said, comment=f"says {self.by}", data={"by": self.by}))


@dataclass
class Post:
    """The events of one name in one run: how many are sent, how many of them were answered or refused."""

    name: str
    #: How many are ever sent (None: as many as are waited for), how many before anybody waits, how many at once.
    most: int | None
    early: int
    at_once: int
    same: bool
    sent: int = 0
    done: int = 0

    def wants(self, room: WaitingRoom) -> bool:
        """Whether another one is sent now."""
        flying = self.sent - self.done
        if flying >= self.at_once:
            return False
        if self.most is not None:
            return self.sent < self.most
        return self.sent < self.early or len(room.line(self.name)) > len(room.ready(self.name)) + flying


@dataclass
class People:
    """Everybody who says something to the runs of one world."""

    seed: int
    secret: bytes
    audit: Audit
    #: True where the order of what is said is chance, too.
    racing: bool
    rooms: dict[str, WaitingRoom] = field(default_factory=lambda: defaultdict(WaitingRoom))
    open: list[Errand] = field(default_factory=list)
    #: What was heard: with the answer, or with the name of the refusal.
    answered: list[tuple[Errand, dict[str, Json]]] = field(default_factory=list)
    refused: list[tuple[Errand, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(f"people {self.seed}")
        #: Chance weight of somebody saying something: the slow ones leave many waiting at the same time.
        self.weight = self.rng.choice([1, 0.3, 0.03])
        self.audit.followers.append(self._follow)
        self._posts: dict[str, list[Post]] = {}
        self._known: set[tuple[str, str]] = set()

    def _follow(self, run_id: str, item: Item, place: str) -> None:
        self.rooms[run_id].take(run_id, item, place)

    def ready(self, runs: dict[str, SimulatedRun]) -> list[Errand]:
        """What somebody could say now: on what the journal shows to wait, and events for it."""
        for run_id, room in self.rooms.items():
            if self.audit.chains[run_id].status in ENDED:
                continue
            for token in [text for text in room.open if (run_id, text) not in self._known]:
                self._known.add((run_id, token))
                self._asked(runs[run_id], token, room.open[token])
            for post in self._post(runs[run_id]):
                while post.wants(room):
                    post.sent += 1
                    key = f"{post.name} {post.sent}"
                    what = payload(post.name, post.sent, post.same)
                    self.open.append(Errand(run_id, key, name=post.name, payload=what))
        return self.open

    def asked_of(self, run_id: str) -> list[str]:
        """Nodes of a run that wait for people or events; now and then none."""
        open_ = self.rooms[run_id].open if run_id in self.rooms else {}
        found = sorted({parse_token(text).node for text in open_})
        return found if found and self.rng.random() < 0.5 else []

    def take(self, errand: Errand) -> Errand:
        """Somebody begins to say it."""
        self.open.remove(errand)
        return errand

    def heard(self, errand: Errand, strand: Strand) -> None:
        """An answer came, or it is said again."""
        error = strand.error
        if isinstance(error, Killed | Unavailable):
            self.open.append(errand)
            return
        if error is not None and not isinstance(error, GraftError):
            raise error
        for post in self._posts.get(errand.run_id, []):
            post.done += post.name == errand.name and errand.before is None
        if error is None:
            self._answered(errand, strand.result)
        else:
            self._refused(errand, error)

    def judge(self) -> None:
        """What was answered is in the journal, as it was answered."""
        for errand, answer in self.answered:
            first = self.rooms[errand.run_id].keys.get(errand.key)
            wanted = str(answer["number"]) if errand.name else errand.token
            require(first == wanted, f"{errand} was answered {answer} and is in the journal as {first}")

    def _asked(self, run: SimulatedRun, token: str, ask: Ask) -> None:
        """An execution waits for people: everybody who will ever decide on it."""
        parsed = parse_token(token)
        node = next((node for node in run.document["nodes"] if node["id"] == parsed.node), None)
        if node is None or "quorum" not in ask.data:
            return
        said = votes(node, parsed.scope, parsed.attempt)
        errand = Errand(run.run_id, "", token, parsed.node, job_id(ask.job, self.secret))
        self.open += [self._by(errand, by, approved) for by, approved in said.items()]
        if "approvers" in ask.data and self.rng.random() < CONTRARY:
            self.open.append(replace(self._by(errand, OUTSIDER, True), vain=True))

    def _by(self, errand: Errand, by: str, approved: bool) -> Errand:
        return replace(errand, key=f"{by} on {errand.token}", by=by, approved=approved)

    def _post(self, run: SimulatedRun) -> list[Post]:
        """Who sends events to the run: one program for each name that a node of its document waits for."""
        if run.run_id not in self._posts:
            found: dict[str, Post] = {}
            for node in run.document["nodes"]:
                if node["type"] == "event":
                    name, mail = event_name(node, run.input), node["metadata"]["sim"]["mail"]
                    at_once = self.rng.choice([1, 3]) if self.racing or mail["same"] else 1
                    early = self.rng.choice([0, 0, 1, 2, 3])
                    post = Post(name, mail["most"], early, at_once, mail["same"])
                    if found.setdefault(name, post).most is not None and post.most is None:
                        found[name] = post  # somebody waits for it without end
            self._posts[run.run_id] = list(found.values())
        return self._posts[run.run_id]

    def _answered(self, errand: Errand, answer: dict[str, Json]) -> None:
        require(not errand.vain, f"{errand} was answered {answer}")
        if errand.before is not None:
            same = [name for name in ("number", "job_id", "approved") if errand.before.get(name) != answer.get(name)]
            require(not same, f"{errand} is answered {answer} when it is said again")
            return
        if not errand.name:
            mine = [vote["approved"] for vote in answer["decisions"] if vote["by"] == errand.by]
            over = self.rooms[errand.run_id].over.get(errand.token)
            # An execution that came to something else than its votes does not keep them.
            kept = over is None or over.end in ("", "Rejected") or (over.end == "COMPLETED" and not over.skipped)
            require(mine == [errand.approved] or not (mine or kept), f"{errand} was answered {answer}")
        self.answered.append((errand, answer))
        if self.rng.random() < REPEATED:
            self.open.append(replace(errand, before=answer))
        if not errand.name and self.rng.random() < CONTRARY:
            other = replace(errand, key=f"{errand.key} again", approved=not errand.approved, vain=True)
            self.open.append(other)

    def _refused(self, errand: Errand, error: GraftError) -> None:
        """Whoever may not decide is told so; all others only where nothing waits any more."""
        name, room = type(error).__name__, self.rooms[errand.run_id]
        require(isinstance(error, Conflict | Forbidden), f"{errand} was refused: {error!r}")
        require(errand.vain or isinstance(error, Conflict), f"{errand} was refused: {error!r}")
        require(errand.before is None, f"{errand} was refused when it was said again: {error!r}")
        self.refused.append((errand, name))
        if errand.vain:
            return
        live = self.audit.chains[errand.run_id].status not in ENDED
        waits = live if errand.name else errand.token in room.open and room.undecided(errand.token)
        require(not waits, f"{errand} was refused though it could count: {error!r}")
