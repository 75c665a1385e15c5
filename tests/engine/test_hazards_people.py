"""Deaths, losses, repeats and races around decisions and events, one interleaving each (HAZARDS 2, 8, 15, 18)."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from chalicelib.adapters.redis.keys import run_key
from chalicelib.domain.errors import Conflict, GraftError, Unavailable
from chalicelib.domain.ids import job_id
from chalicelib.domain.records import parse_began
from chalicelib.engine import run_events
from chalicelib.engine.approvals import Decision, decide
from chalicelib.engine.controls import cancel_run
from chalicelib.engine.ports import Outgoing
from chalicelib.engine.run_events import send_event
from chalicelib.engine.signals import continue_text
from chalicelib.engine.supervise import detect_timeouts, sweep
from infra.local.redis_server import RedisServer
from tests.engine.harness import Harness
from tests.engine.hazards import another, count, fall_back, lost, lost_reply, recover
from tests.engine.people import begin, ended, event, human, pass_time, send, vote, waiting

Json = Any
#: Two people decide, then two events are taken, each step by a node of its own.
QUORUM = {"nodes": [human(config={"quorum": 2})], "output": "${ctx.ask.output.decisions.map(d, d.by)}"}
EVENTS = {
    "nodes": [event(loop={"condition": "iteration < 2", "loop_back_to": "e"}, set={"seen": "${vars.seen + [output]}"})],
    "vars": {"seen": []},
    "output": "${vars.seen}",
}


class Dies(BaseException):
    """The process is gone: nothing catches it."""


class Deaths:
    """Counts the effects of a harness's ports, and dies at one of them, before or after it happens."""

    PORTS = ("store", "journal", "queues", "directory")

    def __init__(self, harness: Harness) -> None:
        self.calls = 0
        #: Number of the call to die at, 0 for none; and whether its effect happens.
        self.at, self.after = 0, False
        for name in self.PORTS:
            port = getattr(harness, name)
            for method in ("commit", "acknowledge", "append", "send", "put", "put_due"):
                if hasattr(port, method):
                    setattr(port, method, self._around(getattr(port, method)))

    def _around(self, call: Callable[..., Json]) -> Callable[..., Json]:
        def counted(*given: Json, **named: Json) -> Json:
            self.calls += 1
            if self.calls != self.at:
                return call(*given, **named)
            self.at = 0
            if self.after:
                call(*given, **named)
            raise Dies

        return counted


def settle_until_quiet(harness: Harness) -> None:
    """Deliver what is there; a step that dies comes again, as SQS does it."""
    for _ in range(50):
        try:
            harness.drain()
        except Dies:
            harness.coordinator = another(harness)
            harness.clock.now += 31_000
        else:
            return
    raise AssertionError("it never becomes quiet")


def persist(action: Callable[[], Json]) -> Json:
    """A client that repeats its request under the same key until it is answered."""
    for _ in range(5):
        with contextlib.suppress(Dies, Unavailable):
            return action()
    raise AssertionError("never answered")


def two_votes(harness: Harness, run_id: str) -> None:
    for by in ("ann", "bob"):
        answer = persist(lambda by=by: decide(harness.services, Decision(run_id, "ask", by, True, once=f"key of {by}")))
        assert by in [one["by"] for one in answer["decisions"]]
        settle_until_quiet(harness)


def two_events(harness: Harness, run_id: str) -> None:
    for number in (1, 2):
        key = f"key {number}"
        answer = persist(lambda n=number, k=key: send_event(harness.services, run_id, "e", n, "shop", k))
        assert answer["number"] == number
        settle_until_quiet(harness)


STORIES = {"decisions": (QUORUM, two_votes, ["ann", "bob"]), "events": (EVENTS, two_events, [1, 2])}


def calls_of(client: redis.Redis, story: str) -> int:
    document, play, _ = STORIES[story]
    harness = Harness(client)
    run_id = begin(harness, document)
    deaths = Deaths(harness)
    play(harness, run_id)
    client.flushall()
    return deaths.calls


#: Story, whether the effect happens before the death, whether the store is lost with it.
DEATHS = [
    ("decisions", False, False),
    ("decisions", True, False),
    ("decisions", False, True),
    ("decisions", True, True),
    ("events", True, False),
    ("events", False, True),
]


@pytest.mark.parametrize(("story", "after", "wipe"), DEATHS)
def test_18_a_death_at_any_call_of_a_decision_or_event_changes_nothing(
    client: redis.Redis, story: str, after: bool, wipe: bool
) -> None:
    document, play, output = STORIES[story]
    for at in range(1, calls_of(client, story) + 1):
        client.flushall()
        harness = Harness(client)
        run_id = begin(harness, document)
        deaths = Deaths(harness)
        deaths.at, deaths.after = at, after
        play(harness, run_id)
        if wipe:
            client.flushall()
        recover(harness)
        assert ended(harness, run_id) == output, f"died {'after' if after else 'before'} call {at}"


@pytest.mark.parametrize("story", STORIES)
def test_18_a_wipe_between_each_pair_of_steps_loses_nothing(client: redis.Redis, story: str) -> None:
    document, _, output = STORIES[story]
    harness = Harness(client)
    run_id = begin(harness, document)
    for number in (1, 2):
        client.flushall()
        if story == "events":
            assert send_event(harness.services, run_id, "e", number, "shop", f"k{number}")["number"] == number
        else:
            decide(harness.services, Decision(run_id, "ask", ("ann", "bob")[number - 1], True))
        client.flushall()
        while harness.settle_batch():
            client.flushall()
        recover(harness)
    client.flushall()
    recover(harness)
    meta = harness.services.store.snapshot(run_id, ("meta",))
    assert meta is None, "an ended run is not installed again"
    assert count(harness, run_id, "run_completed") == 1
    [last] = [one for one in harness.events(run_id) if one["type"] == "run_completed"]
    assert last["data"]["output"] == output


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_18_a_vote_that_only_the_store_holds_is_journaled_before_its_repeat_is_answered(
    harness: Harness, after: bool
) -> None:
    run_id = begin(harness, QUORUM)
    append = harness.journal.append
    harness.journal.append = lost_reply(append) if after else lost
    with pytest.raises(Unavailable):
        decide(harness.services, Decision(run_id, "ask", "ann", True, once="k"))
    harness.journal.append = append
    assert [one["by"] for one in decide(harness.services, Decision(run_id, "ask", "ann", True, once="k"))["decisions"]]
    harness.client.flushall()
    vote(harness, run_id, "bob")
    assert ended(harness, run_id) == ["ann", "bob"]


def test_18_an_event_that_only_the_store_holds_is_journaled_before_its_repeat_is_answered(harness: Harness) -> None:
    run_id = begin(harness, EVENTS)
    append, harness.journal.append = harness.journal.append, lost
    with pytest.raises(Unavailable):
        send_event(harness.services, run_id, "e", 1, "shop", "k")
    harness.journal.append = append
    send_event(harness.services, run_id, "e", 1, "shop", "k")
    harness.client.flushall()
    assert send(harness, run_id, 2) == 2
    assert ended(harness, run_id) == [1, 2]


def test_1_a_vote_on_a_store_that_fell_back_is_made_again_on_what_the_journal_says(harness: Harness) -> None:
    run_id = begin(harness, QUORUM)
    old = harness.store.snapshot(run_id)
    vote(harness, run_id, "ann")
    fall_back(harness, run_id, old)
    with contextlib.suppress(Unavailable):
        decide(harness.services, Decision(run_id, "ask", "bob", True, once="k"))
    recover(harness)
    persist(lambda: decide(harness.services, Decision(run_id, "ask", "bob", True, once="k")))
    recover(harness)
    assert ended(harness, run_id) == ["ann", "bob"]


def test_10_repeats_of_a_look_change_nothing(harness: Harness) -> None:
    """`continue` messages for a waiting token: before the vote, after it, twice at once, and long after."""
    run_id = begin(harness, QUORUM)
    [text] = waiting(harness, run_id)
    record = harness.store.snapshot(run_id)["tok"][text]
    look = continue_text([job_id(parse_began(record).job(run_id, text), harness.services.secret)])
    before = harness.store.snapshot(run_id)
    for _ in range(3):
        assert harness.coordinator.handle([look, look]) == set()
    assert harness.store.snapshot(run_id) == before
    vote(harness, run_id, "ann")
    decide(harness.services, Decision(run_id, "ask", "bob", True))
    harness.queues.send([Outgoing("completion-signals", look)] * 25)
    harness.drain()
    after = len(harness.events(run_id))
    assert another(harness).handle([look] * 10) == set()
    assert len(harness.events(run_id)) == after and count(harness, run_id, "node_completed") == 1
    assert ended(harness, run_id) == ["ann", "bob"]


def test_10_repeats_of_a_look_take_one_event(harness: Harness) -> None:
    run_id = begin(harness, EVENTS)
    for number in (1, 2):
        send_event(harness.services, run_id, "e", number, "shop")
    messages = [message.body for message in harness.queues.receive("completion-signals", 100)]
    for body in messages * 3:
        assert another(harness).handle([body, body]) == set()
    recover(harness)
    assert ended(harness, run_id) == [1, 2]


def test_15_what_nobody_was_told_of_is_found_by_the_sweep(harness: Harness) -> None:
    run_id = begin(harness, {"nodes": [event("a"), event("b"), human()]})
    for number in (1, 2):
        send_event(harness.services, run_id, "e", number, "shop")
    decide(harness.services, Decision(run_id, "ask", "ann", True))
    for message in harness.queues.receive("completion-signals", 100):
        harness.queues.delete("completion-signals", message.receipt)
    for tick in range(15):
        sweep(harness.services, tick)
    harness.drain()
    output = ended(harness, run_id)
    assert {output["a"], output["b"]} == {1, 2}


#: Threads of one race, as many as a busy hour has clients.
THREADS = 16


class OneAtATime:
    """A double that many threads may call."""

    def __init__(self, whole: Any, lock: Any) -> None:
        self._whole, self._lock = whole, lock

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._whole, name)

        def locked(*given: Json, **named: Json) -> Json:
            with self._lock:
                return call(*given, **named)

        return locked if callable(call) else call


class Ticking:
    """A clock that goes on by itself: threads wait for one another's leases."""

    def __init__(self, start_ms: int) -> None:
        self._start_ms, self._zero = start_ms, time.monotonic()

    def now_ms(self) -> int:
        return self._start_ms + int((time.monotonic() - self._zero) * 1000)


def race(redis_server: RedisServer, harness: Harness, act: Callable[[Harness, int], None]) -> list[BaseException]:
    """Let as many processes as threads act on the run at the same moment; what was raised that is no refusal."""
    barrier, wrong, lock = threading.Barrier(THREADS), [], threading.RLock()
    shared = [OneAtATime(getattr(harness, name), lock) for name in ("journal", "queues", "directory", "artifacts")]
    ticking = Ticking(harness.clock.now)

    def one(number: int) -> None:
        own = Harness(redis.Redis(port=redis_server.port, decode_responses=True), seed=number)
        own.journal, own.queues, own.directory, own.artifacts = shared
        own.ids._count = itertools.count(10_000_000 * (number + 1))
        ports = {"journal": own.journal, "queues": own.queues, "directory": own.directory, "artifacts": own.artifacts}
        own.services = replace(own.services, clock=ticking, pause=time.sleep, **ports)
        own.coordinator = another(own)
        barrier.wait()
        try:
            act(own, number)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    harness.clock.now = ticking.now_ms()
    return wrong


def settle(harness: Harness) -> None:
    """A coordinator of its own that works what is there, as one of many."""
    with contextlib.suppress(GraftError):
        while harness.settle_batch():
            pass


def test_a_quorum_of_many_voters_at_once_is_exact(redis_server: RedisServer, harness: Harness) -> None:
    quorum = 9
    run_id = begin(harness, {"nodes": [human(config={"quorum": quorum})]})
    taken: list[str] = []

    def act(own: Harness, number: int) -> None:
        try:
            decide(own.services, Decision(run_id, "ask", f"p{number}", True))
            taken.append(f"p{number}")
        except Conflict:
            pass
        settle(own)

    assert race(redis_server, harness, act) == []
    recover(harness)
    decisions = [one["by"] for one in ended(harness, run_id)["ask"]["decisions"]]
    assert sorted(decisions) == sorted(taken) and len(decisions) == quorum
    assert count(harness, run_id, "node_completed") == 1


def test_one_person_s_many_requests_at_once_are_one_vote(redis_server: RedisServer, harness: Harness) -> None:
    run_id = begin(harness, QUORUM)
    answers: list[int] = []

    def act(own: Harness, number: int) -> None:
        try:
            answers.append(
                len(decide(own.services, Decision(run_id, "ask", "ann", True, once=str(number)))["decisions"])
            )
        except Conflict:
            answers.append(0)

    assert race(redis_server, harness, act) == []
    assert sorted(answers) == [0] * (THREADS - 1) + [1]
    vote(harness, run_id, "bob")
    assert ended(harness, run_id) == ["ann", "bob"]


def test_events_of_many_senders_keep_their_order_and_are_taken_once(
    redis_server: RedisServer, harness: Harness
) -> None:
    """Each sender's events come out in the order in which it sent them, and all in the order of their numbers."""
    each, total = 4, 4 * THREADS
    loop = {"condition": f"iteration < {total}", "loop_back_to": "e", "max_iterations": total}
    run_id = begin(harness, {**EVENTS, "nodes": [{**EVENTS["nodes"][0], "loop": loop}]})
    numbers: dict[int, list[int]] = {number: [] for number in range(THREADS)}

    def act(own: Harness, number: int) -> None:
        for turn in range(each):
            answer = send_event(own.services, run_id, "e", [number, turn], "shop", f"{number} {turn}")
            numbers[number].append(answer["number"])
            settle(own)

    assert race(redis_server, harness, act) == []
    recover(harness)
    seen = ended(harness, run_id)
    wanted = sorted((numbers[n][turn], [n, turn]) for n in range(THREADS) for turn in range(each))
    assert [number for number, _ in wanted] == list(range(1, total + 1))
    assert seen == [payload for _, payload in wanted]
    assert [field for field in harness.store.snapshot(run_id)["box"] if field.startswith("event|")] == []


def test_as_many_waiters_as_events_at_once_take_one_each(redis_server: RedisServer, harness: Harness) -> None:
    names = [f"w{number:02}" for number in range(THREADS)]
    run_id = begin(harness, {"nodes": [event(name) for name in names]})

    def act(own: Harness, number: int) -> None:
        send_event(own.services, run_id, "e", number, "shop")
        settle(own)

    assert race(redis_server, harness, act) == []
    recover(harness)
    assert sorted(ended(harness, run_id).values()) == list(range(THREADS))


def test_1_an_event_does_not_call_a_node_whose_commit_is_not_in_the_journal(harness: Harness) -> None:
    """The message would acknowledge that commit: its item was forgotten, and the journal refused all that followed."""
    run_id = harness.start({"nodes": [event(), human()]})
    append, harness.journal.append = harness.journal.append, lost
    with contextlib.suppress(Unavailable):
        while harness.settle_batch():
            pass  # the nodes wait in the store alone
    assert waiting(harness, run_id)
    harness.journal.append = append
    harness.clock.now += 3000
    act = run_events.act
    try:
        # The event itself is journaled; what made the node wait is on its way.
        run_events.act = lambda *_, **__: True
        send_event(harness.services, run_id, "e", 1, "shop")
    finally:
        run_events.act = act
    meta = harness.meta(run_id)
    assert int(meta["mark"]) == int(meta["no"]), "what is called is in the journal"
    send(harness, run_id, 1)
    recover(harness)
    vote(harness, run_id)
    assert ended(harness, run_id)["e"] == 1


def test_18_a_refused_decision_does_not_rest_on_a_vote_that_only_the_store_holds(harness: Harness) -> None:
    """Bob was told that it is decided; then the store lost Ann's vote, and nobody would have voted any more."""
    run_id = begin(harness, {"nodes": [human()]})
    append, harness.journal.append = harness.journal.append, lost
    with pytest.raises(Unavailable):
        decide(harness.services, Decision(run_id, "ask", "ann", True, once="a"))
    harness.clock.now += 10_000
    with pytest.raises(Unavailable):
        decide(harness.services, Decision(run_id, "ask", "bob", True, once="b"))
    harness.journal.append = append
    harness.clock.now += 10_000
    with pytest.raises(Conflict):  # now it is in the journal
        decide(harness.services, Decision(run_id, "ask", "bob", True, once="b"))
    harness.client.flushall()
    recover(harness)
    assert ended(harness, run_id)["ask"]["by"] == "ann"


def test_1_a_refused_decision_does_not_rest_on_a_store_that_fell_behind(harness: Harness) -> None:
    """The store did not know yet that the node waits: the person was refused, and the run waited for ever."""
    run_id = harness.start({"nodes": [human()]})
    old = harness.store.snapshot(run_id)
    harness.drain()
    fall_back(harness, run_id, old)
    answer = decide(harness.services, Decision(run_id, "ask", "ann", True))
    assert answer["decided"]
    recover(harness)
    assert ended(harness, run_id)["ask"]["by"] == "ann"


def test_1_an_event_is_not_refused_for_an_end_that_only_the_store_holds(harness: Harness) -> None:
    run_id = begin(harness, {"nodes": [event()]})
    append, harness.journal.append = harness.journal.append, lost
    with pytest.raises(Unavailable):
        cancel_run(harness.services, run_id, "ops")
    harness.clock.now += 10_000
    with pytest.raises(Unavailable):
        send_event(harness.services, run_id, "e", 1, "shop", "k")
    harness.journal.append = append
    harness.client.flushall()
    assert send(harness, run_id, 1, once="k") == 1
    recover(harness)
    assert ended(harness, run_id) == {"e": 1}


def losing_messages(harness: Harness) -> None:
    """What the coordinator was to be told is lost: nobody has looked yet."""
    for message in harness.queues.receive("completion-signals", 100):
        harness.queues.delete("completion-signals", message.receipt)


LATE = {"timeout_ms": 1000}


@pytest.mark.parametrize("policy", ["fail", "reject"])
def test_18_a_decision_that_was_answered_holds_though_the_time_is_up_before_anybody_looked(
    harness: Harness, policy: str
) -> None:
    run_id = begin(harness, {"nodes": [human(config={"on_timeout": policy}, **LATE)]})
    assert decide(harness.services, Decision(run_id, "ask", "ann", True))["decided"]
    losing_messages(harness)
    pass_time(harness, 1000)
    assert ended(harness, run_id)["ask"]["approved"] is True


def test_18_an_event_that_came_in_time_is_taken_though_the_time_is_up_before_anybody_looked(harness: Harness) -> None:
    run_id = begin(harness, {"nodes": [event(**LATE)]})
    send_event(harness.services, run_id, "e", 1, "shop")
    losing_messages(harness)
    pass_time(harness, 1000)
    assert ended(harness, run_id) == {"e": 1}


@pytest.mark.parametrize("kind", ["decision", "event"])
def test_18_what_comes_between_a_timeout_s_look_and_its_commit_counts(harness: Harness, kind: str) -> None:
    """The timeout was decided on what the box held a moment before."""
    run_id = begin(harness, {"nodes": [human(**LATE) if kind == "decision" else event(**LATE)]})
    commit, begun = harness.store.commit, []

    def meanwhile(calls: Json) -> Json:
        if not begun:
            begun.append(1)
            if kind == "decision":
                assert decide(harness.services, Decision(run_id, "ask", "ann", True))["decided"]
            else:
                send_event(harness.services, run_id, "e", 1, "shop")
        return commit(calls)

    harness.clock.now += 1000
    detect_timeouts(harness.services)
    harness.store.commit = meanwhile
    harness.drain()
    assert begun
    output = ended(harness, run_id)
    assert output == {"e": 1} if kind == "event" else output["ask"]["approved"]


def test_10_a_timeout_that_finds_its_event_taken_meanwhile_is_a_timeout_still(harness: Harness) -> None:
    """Two nodes wait; the first one's event goes to it only by its timeout, and is gone when that is committed."""
    run_id = begin(harness, {"nodes": [event(**LATE)], "on_failure": "finish_branches"})
    send_event(harness.services, run_id, "e", 1, "shop")
    losing_messages(harness)
    state = harness.store.snapshot(run_id)
    [letter] = [field for field in state["box"] if field.startswith("event|")]
    commit, begun = harness.store.commit, []

    def meanwhile(calls: Json) -> Json:
        if not begun:
            begun.append(1)
            harness.client.hdel(run_key(run_id, "box"), letter)
        return commit(calls)

    harness.clock.now += 1000
    detect_timeouts(harness.services)
    harness.store.commit = meanwhile
    harness.drain()
    assert begun and harness.meta(run_id)["status"] == "FAILED"
    assert json.loads(harness.meta(run_id)["error"])["type"] == "Timeout"


def test_18_a_repeated_decision_on_what_was_cancelled_meanwhile_shows_its_votes(harness: Harness) -> None:
    """The repeat was answered as decided, by nobody."""
    run_id = begin(harness, QUORUM)
    first = decide(harness.services, Decision(run_id, "ask", "ann", True, once="k"))
    cancel_run(harness.services, run_id, "ops")
    recover(harness)
    assert decide(harness.services, Decision(run_id, "ask", "ann", True, once="k")) == first
