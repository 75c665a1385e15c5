from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.ir import Retry
from chalicelib.domain.retry import FINAL_TYPES, MAX_BACKOFF_MS, backoff_ms, wants_retry


def error(kind: str = "Boom", **more: object) -> dict:
    return {"type": kind, **more}


WANTS = [
    (Retry(), 1, error(), False),
    (Retry(max_attempts=3), 1, error(), True),
    (Retry(max_attempts=3), 2, error(), True),
    (Retry(max_attempts=3), 3, error(), False),
    (Retry(max_attempts=3), 4, error(), False),
    (Retry(max_attempts=3), 1, error(retryable=False), False),
    (Retry(max_attempts=3), 1, error(retryable=True), True),
    (Retry(max_attempts=3), 1, error(retryable=None), True),
    (Retry(max_attempts=3, retry_on=("Boom",)), 1, error(), True),
    (Retry(max_attempts=3, retry_on=("Other",)), 1, error(), False),
    (Retry(max_attempts=3, retry_on=()), 1, error(), False),
    (Retry(max_attempts=3, no_retry_on=("Boom",)), 1, error(), False),
    (Retry(max_attempts=3, no_retry_on=("Other",)), 1, error(), True),
    (Retry(max_attempts=3, retry_on=("Boom",), no_retry_on=("Boom",)), 1, error(), False),
    (Retry(max_attempts=3, retry_on=("TaskFailed",)), 1, {}, True),
    (Retry(max_attempts=3), 1, error("Timeout"), True),
    (Retry(max_attempts=3, retry_on=("Boom",)), 1, error("boom"), False),
]


@pytest.mark.parametrize(("policy", "attempt", "given", "wanted"), WANTS)
def test_whether_an_attempt_is_followed_by_another(policy: Retry, attempt: int, given: dict, wanted: bool) -> None:
    assert wants_retry(policy, attempt, given) is wanted


@pytest.mark.parametrize("kind", sorted(FINAL_TYPES))
def test_errors_that_trying_again_cannot_mend_are_final_whatever_the_policy_says(kind: str) -> None:
    assert not wants_retry(Retry(max_attempts=9, retry_on=(kind,)), 1, error(kind, retryable=True))


BACKOFF = [
    (Retry(), [1000, 2000, 4000, 8000]),
    (Retry(backoff_ms=100, backoff_multiplier=1.0), [100, 100, 100]),
    (Retry(backoff_ms=100, backoff_multiplier=1.5), [100, 150, 225, 337]),
    (Retry(backoff_ms=100, backoff_multiplier=3, max_backoff_ms=500), [100, 300, 500, 500]),
    (Retry(backoff_ms=0), [0, 0, 0]),
    (Retry(backoff_ms=1000, max_backoff_ms=0), [0, 0]),
    (Retry(backoff_ms=10**12), [MAX_BACKOFF_MS]),
    (Retry(max_backoff_ms=10**15, backoff_ms=10**15), [MAX_BACKOFF_MS]),
]


@pytest.mark.parametrize(("policy", "delays"), BACKOFF)
def test_how_long_each_attempt_waits(policy: Retry, delays: list[int]) -> None:
    assert [backoff_ms(policy, attempt, 0.999) for attempt in range(1, len(delays) + 1)] == delays


@pytest.mark.parametrize("attempt", [100, 1025, 100_000])
@pytest.mark.parametrize("multiplier", [2, 2.0, 10.0, 1e300])
def test_a_growth_past_all_numbers_ends_at_the_cap(attempt: int, multiplier: float) -> None:
    policy = Retry(max_attempts=10**6, backoff_multiplier=multiplier, max_backoff_ms=60_000)
    assert backoff_ms(policy, attempt, 0.5) == 60_000


@pytest.mark.parametrize("attempt", [1, 2, 5000])
def test_no_backoff_stays_none_however_fast_it_grows(attempt: int) -> None:
    assert backoff_ms(Retry(backoff_ms=0, backoff_multiplier=10.0), attempt, 0.5) == 0


def test_full_jitter_spreads_over_all_of_the_delay() -> None:
    policy = Retry(backoff_ms=1000, jitter="full")
    assert [backoff_ms(policy, 3, chance) for chance in (0.0, 0.25, 0.5, 0.999)] == [0, 1000, 2000, 3996]
    capped = Retry(backoff_ms=1000, jitter="full", max_backoff_ms=2000)
    assert backoff_ms(capped, 9, 0.5) == 1000


POLICIES = st.builds(
    Retry,
    max_attempts=st.integers(1, 1000),
    backoff_ms=st.integers(0, 10**9),
    backoff_multiplier=st.floats(1, 1e6),
    max_backoff_ms=st.none() | st.integers(0, 10**12),
    jitter=st.sampled_from(["none", "full"]),
)


@given(POLICIES, st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_a_backoff_is_a_whole_number_within_its_bounds(policy: Retry, attempt: int, chance: float) -> None:
    delay = backoff_ms(policy, attempt, chance)
    cap = MAX_BACKOFF_MS if policy.max_backoff_ms is None else min(policy.max_backoff_ms, MAX_BACKOFF_MS)
    assert isinstance(delay, int)
    assert 0 <= delay <= cap
    if policy.jitter == "none":
        assert delay == backoff_ms(policy, attempt, 0.0)
        assert delay <= backoff_ms(policy, attempt + 1, 0.0)
