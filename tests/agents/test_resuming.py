"""A delivery that dies anywhere is gone on with by the next one: nothing that was finished is done again."""

from __future__ import annotations

import json

import pytest

from chalicelib.domain.errors import Unavailable
from chalicelib.engine.task import HandOn
from chalicelib.workers.agent.scripted import ScriptedProvider
from tests.agents.parts import ADD, Rig, calls, graft_api, patch, script
from tests.doubles import MemoryNotes
from tests.workers.servers import ok, serving

NAMES = ["one", "two"]


class Died(BaseException):
    """The process is gone."""


def turns_of(names=NAMES):
    both = calls(*(("call_function", {"name": name, "params": name}) for name in names), patch(ADD))
    return script(both, calls(patch(ADD)), {"text": "done"}, allow={"functions": list(names)})


@pytest.fixture
def api():
    with serving(graft_api()) as server:
        yield server


def counting(seen):
    return {name: lambda params, ctx: seen.append((params, ctx.job_id)) or params for name in NAMES}


def finish(rig, config, limit=60):
    """Deliver the job until it is answered; how many deliveries that took."""
    for number in range(1, limit):
        try:
            return rig.run(config), number
        except (Died, Unavailable, HandOn):
            continue
    raise AssertionError("never answered")


def steps_of(api):
    """The names of all port calls of a run that nothing interrupts."""
    rig, steps = Rig(api, handlers=counting([])), []
    rig.notes._fault = steps.append
    rig.run(turns_of())
    return steps


def test_a_job_killed_before_and_after_each_record_ends_the_same(api):
    """Every point at which something is recorded, in turn."""
    whole = Rig(api, handlers=counting([]))
    wanted = whole.run(turns_of())
    names = set(whole.notes.bodies)
    total = len(steps_of(api))
    assert total > 20
    for point in range(total):
        seen, count = [], [0]

        def fault(_, point=point, count=count):
            count[0] += 1
            if count[0] == point + 1:
                raise Died

        rig = Rig(api, handlers=counting(seen))
        rig.notes._fault = fault
        signal, deliveries = finish(rig, turns_of())
        assert deliveries == 2, point
        assert signal["result"] == wanted["result"]
        assert set(rig.notes.bodies) == names
        # A call whose record was not made may be repeated, under the same key; one that was recorded never is.
        assert len({key for _, key in seen}) == 2
        assert len(seen) <= 3


def test_a_finished_call_is_not_repeated_and_an_unfinished_one_keeps_its_key(api):
    seen = []
    rig = Rig(api, handlers={**counting(seen), "two": lambda params, ctx: seen.append((params, ctx.job_id)) or die()})
    tries = [0]

    def die():
        tries[0] += 1
        if tries[0] == 1:
            raise Died

    signal, deliveries = finish(rig, turns_of())
    assert (signal["status"], deliveries) == ("completed", 2)
    ones, twos = ([key for params, key in seen if params == name] for name in NAMES)
    assert len(ones) == 1
    assert len(twos) == 2
    assert len(set(twos)) == 1


def test_a_patch_whose_answer_was_lost_is_sent_again_under_the_same_key(api):
    rig, tries = Rig(api, handlers=counting([])), [0]

    def fault(name):
        if name == "notes.create.before" and api.seen and api.seen[-1][0] == "POST" and not tries[0]:
            tries[0] = 1
            raise Died

    rig.notes._fault = fault
    finish(rig, script(calls(patch(ADD)), {"text": "done"}))
    keys = [headers["idempotency-key"] for method, _, headers, _ in api.seen if method == "POST"]
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_two_deliveries_at_once_agree_on_one_history(api):
    """The second one works while the first waits for its model; whoever records first decides the turn."""
    rig = Rig(api, handlers=counting([]))
    first = rig.run(script({"text": "first"}))
    notes = MemoryNotes()
    notes.bodies = {name: body for name, body in rig.notes.bodies.items() if name.endswith("turn-0001")}
    late = Rig(api, handlers=counting([]))
    late.notes.bodies = notes.bodies
    # It does not see what the other one began, and asks; but the answer is recorded already.
    second = late.run(script({"text": "second"}))
    assert (first["result"], second["result"]) == ("first", "first")


def test_a_delivery_that_the_other_one_overtakes_repeats_none_of_its_calls(api):
    """The first one stands before its first turn, and has found nothing recorded, while the second does it all."""
    seen, asked = [], []
    late, other = Rig(api, handlers=counting(seen)), Rig(api, handlers=counting(seen))
    late.notes.bodies = other.notes.bodies
    ask = ScriptedProvider.ask

    def fault(name):
        if name == "notes.create.before" and "start" in " ".join(late.notes.bodies) and not asked:
            asked.append("the other one")
            other.run(turns_of())

    def counted(self, question, seconds):
        asked.append(question.number)
        return ask(self, question, seconds)

    late.notes._fault = fault
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ScriptedProvider, "ask", counted)
        signal = late.run(turns_of())
    assert signal["status"] == "completed"
    assert len(seen) == 2
    assert asked == ["the other one", 1, 2, 3]


def test_a_retry_is_a_new_job_and_starts_anew(api):
    seen = []
    rig = Rig(api, handlers=counting(seen))
    rig.run(turns_of(["one"]))
    rig.run(turns_of(["one"]), job_id="job-2", attempt=2)
    assert len(seen) == 2
    assert len({key for _, key in seen}) == 2


def test_a_store_that_is_down_brings_the_task_back_and_fails_no_node(api):
    rig = Rig(api, handlers=counting([]))
    down = [True]

    def fault(name):
        if down[0]:
            raise Unavailable("down")

    rig.notes._fault = fault
    with pytest.raises(Unavailable):
        rig.run(turns_of())
    down[0] = False
    assert rig.run(turns_of())["status"] == "completed"


def test_an_agent_hands_itself_on_before_its_process_ends_and_another_goes_on(api):
    """One turn in each process, since each has less than the margin left."""
    seen = []
    rig = Rig(api, handlers=counting(seen))
    with pytest.raises(HandOn):
        rig.run(turns_of(), {"time_left_s": lambda: 50.0})
    before = dict(rig.notes.bodies)
    signal, deliveries = None, 0
    for _ in range(10):
        deliveries += 1
        try:
            signal = rig.run(turns_of(), {"time_left_s": lambda: 50.0})
            break
        except HandOn:
            continue
    assert signal["status"] == "completed"
    assert 1 < deliveries < 5
    assert before.items() <= rig.notes.bodies.items()
    assert len(seen) == 2
    assert rig.transcript(signal)["messages"][-1]["text"] == "done"


def test_a_process_with_time_enough_hands_nothing_on(api):
    rig = Rig(api, handlers=counting([]))
    assert rig.run(turns_of(), {"time_left_s": lambda: 800.0})["status"] == "completed"


def test_what_was_told_is_told_again_under_the_same_keys(api):
    rig = Rig(api, handlers=counting([]))
    rig.run(turns_of())
    first, rig.told[:] = list(rig.told), []
    rig.run(turns_of())
    assert rig.told == first


def test_a_redelivery_after_the_answer_gives_the_same_signal(api):
    rig = Rig(api, handlers=counting([]))
    one, other = rig.run(turns_of()), rig.run(turns_of())
    for signal in (one, other):
        signal["metadata"].pop("duration_ms")
    assert json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def test_requests_repeated_after_a_death_carry_the_same_key(api):
    with serving(ok) as site:
        rig, tries = Rig(api, site), [0]

        def fault(name):
            if name == "notes.create.before" and site.seen and not tries[0]:
                tries[0] = 1
                raise Died

        rig.notes._fault = fault
        post = ("http_request", {"url": site.url, "method": "POST", "body": {"a": 1}})
        finish(rig, script(calls(post), {"text": "done"}))
        keys = [headers["idempotency-key"] for _, _, headers, _ in site.seen]
    assert len(keys) == 2
    assert len(set(keys)) == 1
