"""In-memory models of the engine's ports, with the semantics of the AWS services and a hook that makes them fail.

Every effect calls `fault("<port>.<operation>.before")`, happens, then calls `fault("<port>.<operation>.after")`; every
read calls `fault("<port>.<operation>")`. A hook that raises in `.after` is the lost reply: done, but the caller saw an
error. They are single-threaded and hold no clock or chance of their own.
"""

from tests.doubles.artifacts import MemoryArtifacts
from tests.doubles.clock import ManualClock, SeededIds
from tests.doubles.directory import MemoryDirectory
from tests.doubles.faults import Fault
from tests.doubles.journal import MemoryJournal
from tests.doubles.notes import MemoryNotes
from tests.doubles.queues import MemoryQueues, Received
from tests.doubles.schedules import MemorySchedules

__all__ = [
    "Fault",
    "ManualClock",
    "MemoryArtifacts",
    "MemoryDirectory",
    "MemoryJournal",
    "MemoryNotes",
    "MemoryQueues",
    "MemorySchedules",
    "Received",
    "SeededIds",
]
