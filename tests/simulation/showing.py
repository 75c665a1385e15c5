"""Plays worlds until they have shown what they are to show: draws shift, and what is rare must not hang on one seed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import redis

from tests.simulation.check import check
from tests.simulation.world import World


def play(
    client: redis.Redis, seeds: Iterable[int], further: Iterable[int], missing: Callable[[World], set[str]]
) -> tuple[list[World], set[str]]:
    """All worlds of `seeds`, and of `further` those up to the one that shows the last of what was missing.

    `missing` says what one world leaves unseen. Returns the worlds, and what none of them has shown. Raises Failed.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # the engine logs each failure that a world throws at it
    try:
        worlds = [check(client, seed) for seed in seeds]
        left = set.intersection(*map(missing, worlds))
        for seed in further:
            if not left:
                break
            worlds.append(check(client, seed))
            left &= missing(worlds[-1])
    finally:
        logging.disable(disabled)
    return worlds, left
