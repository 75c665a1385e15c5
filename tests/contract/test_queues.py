"""What every Queues implementation does."""

from __future__ import annotations

import json

from chalicelib.engine.ports import Outgoing
from tests.contract.conftest import World


def test_every_message_arrives_on_its_queue(world: World):
    messages = [Outgoing("tasks-function", f'"f{n}"') for n in range(23)] + [Outgoing("tasks-http", '"h"')]
    world.queues.send(messages)
    assert world.queues.depth("tasks-function") == 23
    assert sorted(world.drain("tasks-function")) == sorted(f'"f{n}"' for n in range(23))
    assert world.drain("tasks-http") == ['"h"']
    assert world.drain("completion-signals") == []


def test_nothing_to_send_is_fine(world: World):
    world.queues.send([])
    assert world.queues.depth("tasks-http") == 0


def test_a_delayed_message_counts_but_does_not_arrive_yet(world: World):
    world.queues.send([Outgoing("tasks-http", '"later"', 900), Outgoing("tasks-http", '"now"')])
    assert world.queues.depth("tasks-http") == 2
    assert world.drain("tasks-http") == ['"now"']


def test_large_messages_go_in_several_calls(world: World):
    bodies = [json.dumps(str(n) * 400_000) for n in range(5)]
    world.queues.send([Outgoing("tasks-http", body) for body in bodies])
    assert sorted(world.drain("tasks-http")) == sorted(bodies)


def test_json_that_sqs_cannot_carry_as_it_is_arrives_with_the_same_meaning(world: World):
    value = {"text": "\x7f ä 😀 \ufffe \uffff \ud800"}
    world.queues.send([Outgoing("tasks-http", json.dumps(value, ensure_ascii=False))])
    [body] = world.drain("tasks-http")
    assert json.loads(body) == value
