"""Kills processes at random moments of a seed, and notes which commits each kill cut off."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from infra.chaos.sight import Commit, Sight
from infra.local.running import Running

#: How often each kind of process is killed in one round. The stand-in for AWS never is: AWS does not forget.
VICTIMS = {"pollers": 3, "workers": 2, "api": 2, "schedules": 1, "redis": 2}
#: What half of whose kills are aimed at an unfinished commit; the others fall where they fall.
AIMED = frozenset({"pollers", "redis"})
#: Seconds for which an aimed kill looks for a moment at which its victim has an unfinished commit.
AIM_S = 2.5
#: Milliseconds: a commit in Redis that is older has been journaled, mostly, and is not worth a look.
FRESH_MS = 20
#: Seconds after which a commit of a process that still lives would be in the journal.
WRITTEN_S = 0.25


@dataclass(frozen=True, slots=True)
class Kill:
    """One SIGKILL: when (seconds of the wall clock), whom, and what it cut off."""

    at: float
    name: str
    pid: int
    #: Runs with a commit in Redis that was not in the journal when the process was dead.
    cut: tuple[str, ...]
    #: Runs that were live.
    live: int


@dataclass(slots=True)
class Killer:
    """Kills until it is told to stop. `live` gives the ids of the runs that have not ended."""

    stack: Running
    sight: Sight
    rng: random.Random
    live: Callable[[], list[str]]
    #: Mean seconds between two kills.
    every_s: float
    kills: list[Kill] = field(default_factory=list)
    _round: list[str] = field(default_factory=list)
    #: Commits that an earlier kill cut off and nobody has written yet.
    _cut: set[str] = field(default_factory=set)

    def storm(self, stopping: threading.Event) -> None:
        """Kill one process after another until `stopping`."""
        while not stopping.wait(self.rng.uniform(0.5, 1.5) * self.every_s):
            kind = self._next_kind()
            half = self.rng.random() < 0.5
            aimed = kind in AIMED and (half or not self.hit)
            pids = {name: pid for name, pid in self.stack.pids().items() if name.startswith(kind)}
            name = self.rng.choice(sorted(pids))
            with suppress(ProcessLookupError):  # it is down already
                self._kill(name, pids[name], aimed)

    @property
    def hit(self) -> bool:
        """Whether some kill has cut off a commit."""
        return any(kill.cut for kill in self.kills)

    def _next_kind(self) -> str:
        if not self._round:
            self._round = [kind for kind, times in VICTIMS.items() for _ in range(times)]
            self.rng.shuffle(self._round)
        return self._round.pop()

    def _kill(self, name: str, pid: int, aimed: bool) -> None:
        live = self.live()
        look = self._look_at_redis if name == "redis" else self._freeze
        commits = look(pid, live)
        deadline = time.monotonic() + AIM_S
        while aimed and not commits and time.monotonic() < deadline:
            os.kill(pid, signal.SIGCONT)
            time.sleep(self.rng.uniform(0.001, 0.02))
            commits = look(pid, live)
        at = time.time()
        os.kill(pid, signal.SIGKILL)
        if name != "redis" and commits:
            time.sleep(WRITTEN_S)  # what others have in hand is written by then
        lost = [one for one in self.sight.unwritten(commits) if one.id not in self._cut]
        self._cut |= {one.id for one in lost}
        cut = tuple(sorted(one.run_id for one in lost))
        self.kills.append(Kill(at, name, pid, cut, len(live)))

    def _freeze(self, pid: int, live: list[str]) -> list[Commit]:
        """Stop the process where it is, as the kill will find it; then see what is unfinished."""
        os.kill(pid, signal.SIGSTOP)
        return self.sight.unwritten(self.sight.unmarked(live))

    def _look_at_redis(self, _: int, live: list[str]) -> list[Commit]:
        """The commits of the last moment; the kill follows at once."""
        return [one for one in self.sight.unmarked(live) if 1000 * time.time() - one.leased_ms <= FRESH_MS]
