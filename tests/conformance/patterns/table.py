"""All 43 patterns in order."""

from __future__ import annotations

from tests.conformance.patterns import branching, instances, merging, states
from tests.conformance.patterns.model import Pattern

TABLE: list[Pattern] = sorted(
    [*branching.PATTERNS, *merging.PATTERNS, *instances.PATTERNS, *states.PATTERNS], key=lambda pattern: pattern.number
)
