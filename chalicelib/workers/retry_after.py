"""Reads a Retry-After header."""

from __future__ import annotations

import math
from email.utils import parsedate_to_datetime


def retry_after_s(text: str | None, now_ms: int) -> float | None:
    """Seconds to wait from `now_ms`: a number of seconds or a date; None for neither."""
    if not text:
        return None
    try:
        seconds = float(text)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_ms / 1000)
    except (ValueError, TypeError, OverflowError):
        return None
