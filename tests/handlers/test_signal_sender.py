"""Signals leave at once, together where they can, and a task whose signal did not leave comes again."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from chalicelib.domain.errors import Unavailable
from chalicelib.engine.ports import Outgoing
from chalicelib.handlers.signal_sender import SignalSender


def signal(number: int) -> Outgoing:
    return Outgoing("completion-signals", f"s{number}")


class Line:
    """A `send` that can be held up, and that fails for some messages."""

    def __init__(self, fails: Sequence[str] = ()) -> None:
        self.calls: list[list[str]] = []
        self.fails = set(fails)
        self.free, self.busy = threading.Event(), threading.Event()
        self.free.set()

    def send(self, messages: Sequence[Outgoing]) -> None:
        self.busy.set()
        assert self.free.wait(5)
        bodies = [message.body for message in messages]
        if self.fails & set(bodies):
            raise Unavailable("not now")
        self.calls.append(bodies)


def test_what_ends_during_a_call_goes_together_with_the_next() -> None:
    line = Line()
    line.free.clear()
    sender = SignalSender(line.send)
    sender.put(0, signal(0))
    assert line.busy.wait(5)
    for number in range(1, 6):
        sender.put(number, signal(number))
    line.free.set()
    assert sender.close() == set()
    assert line.calls == [["s0"], ["s1", "s2", "s3", "s4", "s5"]]


def test_a_signal_leaves_while_the_next_task_still_runs() -> None:
    line = Line()
    sender = SignalSender(line.send)
    sender.put(0, signal(0))
    assert line.busy.wait(5), "the first signal waits for the end of the batch"
    assert sender.close() == set()
    assert line.calls == [["s0"]]


def test_the_positions_of_a_call_that_failed_are_told_and_others_are_sent() -> None:
    line = Line(fails=["s1"])
    line.free.clear()
    sender = SignalSender(line.send)
    sender.put(4, signal(0))
    assert line.busy.wait(5)
    sender.put(7, signal(1))
    line.free.set()
    assert sender.close() == {7}
    assert line.calls == [["s0"]]


def test_any_other_error_is_raised_in_the_handler() -> None:
    def send(messages: Sequence[Outgoing]) -> None:
        raise RuntimeError("wrong")

    sender = SignalSender(send)
    sender.put(0, signal(0))
    with pytest.raises(RuntimeError, match="wrong"):
        sender.close()


def test_nothing_to_send_is_no_call() -> None:
    line = Line()
    assert SignalSender(line.send).close() == set()
    assert line.calls == []
