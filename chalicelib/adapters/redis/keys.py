"""Names, types and lifetimes of all Redis keys; one function each, the run's hash tag inside.

Every key of a run is a HASH under the tag `{run_id}`, so that one script may touch them all in a cluster.
Live runs have no TTL: ElastiCache Serverless evicts keys that have one first (DESIGN 2).
"""

from __future__ import annotations


def run_key(run_id: str, name: str) -> str:
    """One of a run's hashes; `name` from engine.ports.RUN_HASHES. HASH, no TTL while the run lives."""
    return f"graft:{{{run_id}}}:{name}"


def plan_key(hash_: str) -> str:
    """A cached plan's text. STRING, an hour; the artifact store has it for good."""
    return f"graft:plan:{hash_}"


#: Seconds a cached plan is kept.
PLAN_TTL_S = 3600
