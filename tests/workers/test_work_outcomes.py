import enum
import json
import logging
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.errors import TaskError, Unavailable
from chalicelib.engine.work import MAX_INLINE_RESULT
from tests.workers.doubles import MemoryArtifacts, call, done, message, ports


def raising(error):
    def handler(params, ctx):
        raise error

    return handler


def returning(value):
    return lambda params, ctx: value


# --- errors ---


def test_a_task_error_carries_its_type_message_and_whether_to_try_again():
    signal = call(raising(TaskError("Sold", "none left", retryable=False)))
    assert signal["status"] == "failed"
    assert signal["error"] == {"type": "Sold", "message": "none left", "retryable": False}
    assert "result" not in signal


class OrderTooBig(Exception):
    pass


class Broken(Exception):
    def __str__(self):
        raise RuntimeError("even this")


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (OrderTooBig("9 > 3"), "OrderTooBig", "9 > 3"),
        (KeyError("x"), "KeyError", "'x'"),
        (ValueError(), "ValueError", "ValueError"),
        (Broken(), "Broken", "Broken"),
        (RecursionError("deep"), "RecursionError", "deep"),
        (Unavailable("of the user's own"), "Unavailable", "of the user's own"),
        (ValueError("\ud800"), "ValueError", "?"),
        (TaskError(7, None, 0), "7", "None"),
    ],
)
def test_any_other_exception_fails_under_its_class_name(error, kind, text):
    found = call(raising(error))["error"]
    assert (found["type"], found["message"]) == (kind, text)
    assert found["retryable"] is not isinstance(error, TaskError)
    json.dumps(found, ensure_ascii=False).encode()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_stops_the_process_passes_through(error):
    with pytest.raises(error):
        call(raising(error()))


def test_a_long_error_message_is_cut_at_4_kib_without_splitting_a_character():
    message = call(raising(ValueError("é" * 9000)))["error"]["message"]
    assert len(message.encode()) <= 4096
    assert message.startswith("éééé")
    assert message.endswith("…")


def test_a_worker_error_is_logged_with_its_place_but_not_its_words(caplog):
    with caplog.at_level(logging.DEBUG):
        call(raising(ValueError("card 4111")), {"card": "4111"})
    record = next(r for r in caplog.records if r.name == "graft.work")
    assert record.job_id == "job-1"
    assert "in handler" in record.stack
    assert "4111" not in json.dumps(vars(record), default=str)


# --- results ---


class Color(str, enum.Enum):  # noqa: UP042 - the older kind, whose str() is not its value
    RED = "red"


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def cyclic():
    value = {}
    value["self"] = value
    return value


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (math.nan, "the result is nan"),
        ({"a": [1, math.inf]}, "/a/1 is inf"),
        ({"a": {1: 2}}, "/a has a key of type int"),
        ({None: 2}, "the result has a key of type NoneType"),
        ({"a/b~": {1}}, "/a~1b~0 is a set"),
        ([b"x"], "/0 is a bytes"),
        (object(), "the result is a object"),
        ({"a": "\ud800"}, "/a holds half of a surrogate"),
        ({"\udfff": 1}, "surrogate"),
        (nested(200), "deep"),
        (nested(100_000), "deep"),
        (cyclic(), "holds itself"),
        ({"n": 10**5000}, "/n is an integer of more than"),
        ((x for x in [1]), "is a generator"),
    ],
)
def test_a_result_that_is_no_json_fails_for_good_naming_the_place(value, place):
    error = call(returning(value))["error"]
    assert (error["type"], error["retryable"]) == ("TaskFailed", False)
    assert place in error["message"]


@pytest.mark.parametrize(
    ("value", "result"),
    [(None, None), ((1, (2,)), [1, [2]]), (Color.RED, "red"), (True, True), (-0.0, -0.0), (2**63, 2**63), ("", "")],
)
def test_what_json_can_say_arrives_as_json(value, result):
    got = call(returning(value))["result"]
    assert got == result
    assert type(got) is type(result)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_every_json_value_passes_through_echo_unchanged(value):
    assert done(message("echo", value))["result"] == value


def test_a_result_over_64_kib_travels_as_an_artifact():
    on = ports()
    fits, over = "x" * (MAX_INLINE_RESULT - 2), "x" * (MAX_INLINE_RESULT - 1)
    assert done(message("echo", fits), on=on)["result"] == fits
    signal = done(message("echo", over), on=on)
    assert "result" not in signal
    assert json.loads(on.artifacts.held[signal["result_ref"]]) == over


def test_the_same_large_result_has_the_same_artifact_id_whatever_its_key_order():
    big = "x" * 70_000
    refs = {call(returning(v))["result_ref"] for v in ({"a": 1, "b": big}, {"b": big, "a": 1})}
    assert len(refs) == 1


def test_a_result_past_the_artifact_limit_fails_for_good(monkeypatch):
    monkeypatch.setattr("chalicelib.engine.work.MAX_RESULT", 1000)
    error = call(returning("x" * 1000))["error"]
    assert (error["type"], error["retryable"]) == ("LimitExceeded", False)


def test_a_store_that_does_not_answer_leaves_the_task_to_be_delivered_again():
    artifacts = MemoryArtifacts()
    artifacts.down = True
    with pytest.raises(Unavailable):
        done(message("echo", "x" * 70_000), on=ports(artifacts=artifacts))
    with pytest.raises(Unavailable):
        done(message(config_ref="artifact://sha256/00"), on=ports(artifacts=artifacts))


def test_a_config_that_was_too_large_for_the_message_is_read_from_its_artifact():
    on = ports()
    ref = on.artifacts.put(b'{"handler": "echo", "params": {"from": "store"}}')
    assert done(message(config=None, config_ref=ref), on=on)["result"] == {"from": "store"}


def test_a_config_artifact_that_is_missing_or_no_json_fails_for_good():
    on = ports()
    for ref in ("artifact://sha256/00", on.artifacts.put(b"{"), on.artifacts.put(b"\xff")):
        error = done(message(config_ref=ref), on=on)["error"]
        assert ref in error["message"]
        assert error["retryable"] is False
