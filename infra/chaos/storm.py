"""One storm: runs are started and followed by their clients while a seeded killer is at work."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from infra.chaos.cases import Case, Control, all_cases, called, mix
from infra.chaos.client import Answers, Client, NotAnswered
from infra.chaos.killer import Kill, Killer
from infra.chaos.sight import Sight
from infra.cli import demo_data
from infra.local.running import Running, running_stack

Json = Any
ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})
#: The part of the storm in which runs are started; the rest is for their ends.
STARTING = 0.9
#: Runs started at the same moment: their steps overlap, and so do kills and commits.
AT_ONCE = 8
#: Seconds after the storm in which every run must have ended.
SETTLE_S = 120.0
#: Seconds for which a storm that has hit no commit goes on while runs live.
EXTRA_S = 20.0
#: Seconds between two looks of a client at its run.
LOOK_S = 0.4
#: Feeds followed at a time, and seconds of their long polls.
FEEDS, POLL_S = 3, 5


@dataclass(frozen=True, slots=True)
class Plan:
    """How a storm is made."""

    runs: int = 200
    seconds: float = 120.0
    seed: int = 1
    #: Mean seconds between two kills.
    every_s: float = 1.5


@dataclass(slots=True)
class Started:
    """A run and what became of it; its client's thread alone writes it."""

    case: Case
    run_id: str = ""
    #: The run as the API showed it at its end.
    ended: Json = None
    verified: Json = None
    #: What its client could not do, in sentences.
    trouble: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Storm:
    """Everything that a storm came to."""

    plan: Plan
    runs: list[Started]
    answers: Answers
    kills: list[Kill] = field(default_factory=list)
    #: (run id, seq) -> the event as a feed showed it.
    seen: dict[tuple[str, int], Json] = field(default_factory=dict)
    took_s: float = 0.0

    def live(self) -> list[str]:
        """Ids of the runs that have not ended."""
        return [run.run_id for run in self.runs if run.run_id and run.ended is None]


#: A short grace, a quick sweep: what takes an hour on AWS takes seconds here. Everything else is as it is.
SETTINGS = {
    "GRAFT_GRACE_MS": "5000",
    "GRAFT_SWEEP_MS": "200",
    "GRAFT_LOCAL_SCHEDULE_S": "0.2",
    "GRAFT_LOCAL_VISIBILITY_S": "2",
}


@dataclass(slots=True)
class Scene:
    """A running stack and the cases that it is loaded with."""

    stack: Running
    cases: list[Case]
    #: Runs that were made in peace.
    calm: int = 0

    def client(self, answers: Answers) -> Client:
        """A client of the stack's API."""
        return Client(self.stack.ready["api_url"], self.stack.ready["token"], answers)


def calm(scene: Scene) -> list[str]:
    """Run in peace, once, the cases of which no file says what they must give. Returns what was wrong."""
    runs = [Started(case) for case in scene.cases if not case.run and not case.error]
    answers = Answers()
    for document in called():
        body = {"name": document["name"], "workflow": document}
        scene.client(answers).patient("POST", "/workflows", body)
    with ThreadPoolExecutor(len(runs)) as pool:
        list(pool.map(lambda run: _live(scene, run, answers, f"calm-{id(run)}", SETTLE_S), runs))
    wrong = [f"undisturbed, {run.case.name}: {text}" for run in runs for text in _wrong(run)] + answers.breaches
    if not wrong:
        given = {id(run.case): {"output": run.ended["output"]} for run in runs}
        scene.cases = [replace(case, run=given.get(id(case), case.run)) for case in scene.cases]
        scene.calm = len(runs)
    return wrong


def _wrong(run: Started) -> list[str]:
    return run.trouble or run.case.wrong(run.ended)


def rage(scene: Scene, plan: Plan) -> Storm:
    """Load the stack and kill, then wait until every run has ended or SETTLE_S is over."""
    rng = random.Random(plan.seed)  # noqa: S311 - a seed is what is wanted
    storm = Storm(plan, [Started(case) for case in mix(scene.cases, plan.runs, rng)], Answers())
    sight, stopping, over = Sight(scene.stack.ready), threading.Event(), threading.Event()
    killer = Killer(scene.stack, sight, rng, storm.live, plan.every_s, storm.kills)
    begun = time.monotonic()
    hands = [threading.Thread(target=killer.storm, args=(stopping,))]
    hands += [threading.Thread(target=_follow, args=(scene, storm, over, number)) for number in range(FEEDS)]
    for hand in hands:
        hand.start()
    with ThreadPoolExecutor(len(storm.runs)) as pool:
        delays = [STARTING * plan.seconds * (i - i % AT_ONCE) / len(storm.runs) for i in range(len(storm.runs))]
        left = [plan.seconds - delay + SETTLE_S for delay in delays]
        work = [
            pool.submit(_later, delay, scene, run, storm.answers, f"{plan.seed}-{i}", within)
            for i, (delay, run, within) in enumerate(zip(delays, storm.runs, left, strict=True))
        ]
        time.sleep(max(0.0, plan.seconds - (time.monotonic() - begun)))
        while not killer.hit and storm.live() and time.monotonic() - begun < plan.seconds + EXTRA_S:
            time.sleep(LOOK_S)
        stopping.set()
        hands[0].join()
        for one in work:
            one.result()
    over.set()
    for hand in hands[1:]:
        hand.join()
    storm.took_s = time.monotonic() - begun
    sight.close()
    return storm


def _later(delay: float, scene: Scene, run: Started, answers: Answers, key: str, within_s: float) -> None:
    time.sleep(delay)
    _live(scene, run, answers, key, within_s)


def _live(scene: Scene, run: Started, answers: Answers, key: str, within_s: float) -> None:
    """Start a run, repeated under one key until it is answered; look until it ends; verify it."""
    client, deadline = scene.client(answers), time.monotonic() + within_s
    body = {"workflow": run.case.document, "input": run.case.input}
    try:
        run.run_id = client.patient("POST", "/runs", body, key)["run_id"]
        for number, control in enumerate(run.case.controls):
            _await(client, run.run_id, control, deadline)
            client.patient("POST", f"/runs/{run.run_id}/{control.what}", control.body, f"{key}-{number}")
        while (now := client.patient("GET", f"/runs/{run.run_id}"))["status"] not in ENDED:
            if time.monotonic() > deadline:
                why = client.patient("GET", f"/runs/{run.run_id}/explain")
                run.trouble.append(f"it has not ended: {now['status']}, {str(why)[:1500]}")
                return
            time.sleep(LOOK_S)
        run.verified = client.patient("GET", f"/runs/{run.run_id}/verify")
        run.ended = now
    except NotAnswered as error:
        run.trouble.append(str(error))


def _await(client: Client, run_id: str, control: Control, deadline: float) -> None:
    """Return once the node that the control is for waits, or the time is over: then the run's end tells."""
    while control.waits and time.monotonic() < deadline:
        run = client.patient("GET", f"/runs/{run_id}")
        if run["status"] in ENDED or run["nodes"][control.waits]["status"] == "WAITING":
            return
        time.sleep(LOOK_S)


def _follow(scene: Scene, storm: Storm, over: threading.Event, number: int) -> None:
    """Follow the feed of one run after another, as a live view does, and keep what it showed."""
    rng = random.Random(1000 * storm.plan.seed + number)  # noqa: S311 - a seed is what is wanted
    client = scene.client(storm.answers)
    while not over.is_set():
        live = storm.live()
        if not live:
            time.sleep(LOOK_S)
            continue
        run_id, after, done = rng.choice(sorted(live)), 0, False
        while not done and not over.is_set():
            answer = client.once("GET", f"/runs/{run_id}/events?after={after}&limit=100&wait={POLL_S}")
            if answer is None or answer[0] != 200:
                time.sleep(LOOK_S)
                continue
            _keep(storm, run_id, after, answer[1]["events"])
            after, done = answer[1]["next"], answer[1]["done"]


def _keep(storm: Storm, run_id: str, after: int, events: Sequence[Json]) -> None:
    for position, event in enumerate(events, after + 1):
        if event["seq"] != position:
            storm.answers.breaches.append(f"the feed of {run_id} has a gap before event {event['seq']}")
        before = storm.seen.setdefault((run_id, event["seq"]), event)
        if before != event:
            storm.answers.breaches.append(f"the feed of {run_id} showed two events {event['seq']}")


def run_storm(plan: Plan, judge: Any) -> Any:  # noqa: ANN401 - what `judge` gives
    """Start a stack, run in peace what has to be, rage; what `judge(scene, storm, wrong)` says while it stands."""
    with demo_data.listen() as server, demo_data.serving(server):
        allowed = {"GRAFT_HTTP_ALLOWLIST": f"{demo_data.HOST}:{server.server_port}"}
        with running_stack({**SETTINGS, **allowed}) as stack:
            scene = Scene(stack, all_cases(server.server_port))
            wrong = calm(scene)
            return judge(scene, rage(scene, plan), wrong)
