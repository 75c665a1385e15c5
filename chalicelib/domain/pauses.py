"""What a pause holds: tokens that began in it are sent by what ends it, and count from there (SPEC 9).

The commit that begins a pause is noted in the run's meta, as `number|time`. The one that ends it puts its own time into
the records of all that began meanwhile and is outstanding. So the time is the journal's, the same for every send, and
each reader of a record has it.
"""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.domain.records import Began

State = dict[str, dict[str, str]]
#: The meta field; its text is `number of the commit|milliseconds`.
PAUSED = "paused"


def is_held(meta: Mapping[str, str | None], began: Began) -> bool:
    """Whether the token began in the pause that the run is in: nobody has sent it, and its time does not run yet."""
    noted = meta.get(PAUSED)
    return bool(noted) and began.no >= int(str(noted).split("|", 1)[0])


def paused_at(meta: Mapping[str, str]) -> int | None:
    """When the present pause began, in milliseconds; None for a run that is not paused."""
    return int(meta[PAUSED].split("|", 1)[1]) if PAUSED in meta else None


def note_pause(state: State, status: str | None, no: int, at_ms: int) -> None:
    """Begin or end a pause by commit `no`, which sets the run's status to `status`: as the commit script does."""
    meta = state["meta"]
    if status is None or (status == "PAUSED") == (PAUSED in meta):
        return
    if status == "PAUSED":
        meta[PAUSED] = f"{no}|{at_ms}"
        return
    since = int(meta.pop(PAUSED).split("|", 1)[0])
    for token, record in state["tok"].items():
        if int(record.split("|", 1)[0]) < since:
            continue
        for name in ("tok", "dis"):
            made, commit, _, rest = state[name][token].split("|", 3)
            state[name][token] = f"{made}|{commit}|{at_ms}|{rest}"
        state["ready"][token] = f"r{at_ms}"
