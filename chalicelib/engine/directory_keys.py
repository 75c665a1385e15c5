"""Keys of the directory's records: the runs list, the workflow catalog, idempotency keys, artifact grants."""

from __future__ import annotations

import hashlib
import zlib
from datetime import UTC, datetime

Key = tuple[str, str]

#: Partitions of one tenant's runs of one day: a partition takes about 1,000 writes/s (HAZARDS 41).
RUN_SHARDS = 4
#: Digits of a time in milliseconds; fixed, so that texts sort as numbers do.
TIME_DIGITS = 15
#: A sort key of this text is after every name.
AFTER = "~"


def day_of(ms: int) -> str:
    """The UTC day of a time in milliseconds, as `YYYYMMDD`."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y%m%d")


def run_position(created_ms: int, run_id: str) -> str:
    """Where a run stands among all runs of its tenant: sorts by time, then by id."""
    return f"{created_ms:0{TIME_DIGITS}d}#{run_id}"


def run_list_key(tenant: str, created_ms: int, run_id: str) -> Key:
    """A run's entry in the runs list."""
    shard = zlib.crc32(run_id.encode()) % RUN_SHARDS
    return run_partition(tenant, day_of(created_ms), shard), run_position(created_ms, run_id)


def run_partition(tenant: str, day: str, shard: int) -> str:
    """One partition of the runs that a tenant started on a day."""
    return f"runs#{tenant}#{day}#{shard}"


def run_days(tenant: str) -> str:
    """The partition whose sort keys are the days on which the tenant started runs."""
    return f"rundays#{tenant}"


#: Slices of the live runs: the sweep looks at one a minute, so at each run at least once in 15 (HAZARDS 15).
LIVE_SHARDS = 15


def live_key(run_id: str) -> Key:
    """A run's entry among the live ones: written with its first and last commit, removed some time after its end."""
    return live_partition(zlib.crc32(run_id.encode()) % LIVE_SHARDS), run_id


def live_partition(slice_: int) -> str:
    """One slice of the live runs of all tenants."""
    return f"live#{slice_}"


def run_head_key(run_id: str) -> Key:
    """What is known of a run whatever its state: whose it is, and where its list entry is."""
    return f"head#{run_id}", "head"


def late_partition(run_id: str) -> str:
    """The partition of late signals of an ended run whose journal was looked into: once each."""
    return f"late#{run_id}"


def late_key(run_id: str, token: str) -> Key:
    """One of them, by its token; hashed, since a token's text may be longer than a sort key."""
    return late_partition(run_id), hashlib.sha256(token.encode()).hexdigest()


def snapshot_key(run_id: str) -> Key:
    """What is noted of a run's newest snapshot."""
    return f"snapshot#{run_id}", "newest"


def children(parent: str) -> str:
    """The partition of the runs that a run has called."""
    return f"children#{parent}"


def child_key(parent: str, created_ms: int, run_id: str) -> Key:
    """A child's entry among those of its parent, in the order in which they were created."""
    return children(parent), run_position(created_ms, run_id)


def workflows(tenant: str) -> str:
    """The partition of a tenant's workflows: one record per name, with its latest version."""
    return f"workflows#{tenant}"


def workflow(tenant: str, name: str) -> str:
    """The partition of one workflow: versions, versions by content, tags."""
    return f"workflow#{tenant}#{name}"


def version_key(tenant: str, name: str, version: int) -> Key:
    """One version of a workflow, by number."""
    return workflow(tenant, name), f"v#{version:08d}"


def content_key(tenant: str, name: str, plan_hash: str) -> Key:
    """The version that holds this content."""
    return workflow(tenant, name), f"h#{plan_hash}"


def tag_key(tenant: str, name: str, tag: str) -> Key:
    """Where a tag points now."""
    return workflow(tenant, name), f"t#{tag}"


def tag_move_key(tenant: str, name: str, tag: str, number: int) -> Key:
    """One move of a tag; `number` counts from 1."""
    return workflow(tenant, name), f"m#{tag}#{number:08d}"


def idempotency_key(scope: str, method: str, path: str, key: str) -> Key:
    """What a POST under an Idempotency-Key was answered. `scope` is the tenant, or the run of a callback."""
    digest = hashlib.sha256(f"{method} {path}\0{key}".encode()).hexdigest()
    return f"idem#{scope}", digest


def artifact_key(tenant: str, sha256: str) -> Key:
    """Says that the tenant may read the artifact."""
    return f"artifacts#{tenant}", sha256


def approvals(tenant: str) -> str:
    """The partition of a tenant's human nodes that wait."""
    return f"approvals#{tenant}"


def approval_key(tenant: str, since_ms: int, run_id: str, token: str) -> Key:
    """One human node that waits; sorts by when it began to."""
    return approvals(tenant), approval_position(since_ms, run_id, token)


def approval_position(since_ms: int, run_id: str, token: str) -> str:
    """Where a human node that waits stands among those of its tenant."""
    return f"{since_ms:0{TIME_DIGITS}d}#{run_id}#{token}"


def schedule_key(tenant: str, name: str, schedule: str) -> Key:
    """One schedule of a workflow."""
    return workflow(tenant, name), f"s#{schedule}"


#: Partitions of the schedules that are due at some time; a pass reads all of them.
DUE_SHARDS = 4


def due_key(tenant: str, name: str, schedule: str, wake_at: int, generation: str) -> Key:
    """When one state of a schedule is to be looked at. `generation` is that state's own, so no other has this key."""
    shard = zlib.crc32(f"{tenant}#{name}#{schedule}".encode()) % DUE_SHARDS
    return due_partition(shard), f"{wake_at:0{TIME_DIGITS}d}#{generation}"


def due_partition(shard: int) -> str:
    """One partition of the times at which schedules of all tenants are due, sorted by time."""
    return f"due#{shard}"


def settings_key(tenant: str, name: str) -> Key:
    """What a workflow is set to, whatever its version."""
    return workflow(tenant, name), "settings"


def places(tenant: str, name: str) -> str:
    """The partition of a limited workflow's places, and of the runs that wait for one."""
    return f"places#{tenant}#{name}"


def place_key(tenant: str, name: str, number: int) -> Key:
    """One place: whose run has it."""
    return places(tenant, name), f"p#{number:06d}"


def waiting_key(tenant: str, name: str, priority: int, created_ms: int, run_id: str) -> Key:
    """One run that waits for a place; sorts by priority (-100 to 100, the highest first), then by age."""
    return places(tenant, name), f"w#{100 - priority:03d}#{run_position(created_ms, run_id)}"
