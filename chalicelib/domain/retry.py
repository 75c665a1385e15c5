"""Whether a failed attempt is tried again, and after how long."""

from __future__ import annotations

from typing import Any

from chalicelib.domain.ir import Retry

#: Never retried, whatever the policy says: trying again gives the same answer (SPEC 4, 9; HAZARDS 24, 27).
FINAL_TYPES = frozenset({"TemplateError", "LoopLimit", "PatchRefused", "BudgetExceeded", "LimitExceeded", "Cancelled"})
#: Longest backoff: a week, so that a large multiplier cannot overflow or outlive the journal.
MAX_BACKOFF_MS = 7 * 24 * 3600 * 1000


def wants_retry(policy: Retry, attempt: int, error: dict[str, Any]) -> bool:
    """True if `attempt` (from 1) failed with `error` and the policy leaves another one (SPEC 9)."""
    kind = error.get("type", "TaskFailed")
    if attempt >= policy.max_attempts or error.get("retryable") is False or kind in FINAL_TYPES:
        return False
    if kind in policy.no_retry_on:
        return False
    return policy.retry_on is None or kind in policy.retry_on


def backoff_ms(policy: Retry, attempt: int, chance: float) -> int:
    """Milliseconds before the attempt after `attempt`; `chance` in [0, 1) spreads it under full jitter."""
    cap = MAX_BACKOFF_MS if policy.max_backoff_ms is None else min(policy.max_backoff_ms, MAX_BACKOFF_MS)
    try:
        delay = policy.backoff_ms * policy.backoff_multiplier ** (attempt - 1)
    except OverflowError:
        delay = float(cap) if policy.backoff_ms else 0.0
    bounded = min(delay, cap)
    return int(bounded * chance) if policy.jitter == "full" else int(bounded)
