"""Compiled plans by content hash: this process's memory, then the store's cache, then the artifacts for good."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Protocol

from chalicelib.domain.errors import NotFound
from chalicelib.domain.ir import Plan
from chalicelib.domain.plan_codec import decode, encode
from chalicelib.engine.ports import Artifacts, Directory


class PlanCache(Protocol):
    """The part of the run store that caches plan texts; it may forget them."""

    def get_plan(self, hash: str) -> str | None:
        """The text, if it is there."""
        ...

    def put_plan(self, hash: str, text: str) -> None:
        """Keep the text for a while."""
        ...


#: Nodes kept in memory over all plans: about 100 MB at 2 KB a node.
MEMORY_NODES = 50_000


class PlanStore:
    """Saves and loads plans. A plan never changes under its hash, so every copy is as good as another."""

    def __init__(self, artifacts: Artifacts, directory: Directory, cache: PlanCache) -> None:
        self._artifacts, self._directory, self._cache = artifacts, directory, cache
        self._memory: OrderedDict[str, Plan] = OrderedDict()
        #: Held while `_memory` is used: the local stack works in several threads of one process.
        self._lock = threading.Lock()

    def save(self, plan: Plan) -> None:
        """Make the plan loadable by every process. Cheap when this process knows it already."""
        if plan.hash in self._memory:
            return
        text = encode(plan)
        ref = self._artifacts.put(text.encode())
        self._directory.put((f"plan#{plan.hash}", "plan"), {"ref": ref})
        self._cache.put_plan(plan.hash, text)
        self._remember(plan)

    def known(self, hash: str) -> Plan | None:
        """The plan if this process has it in memory."""
        with self._lock:
            plan = self._memory.get(hash)
            if plan is not None:
                self._memory.move_to_end(hash)
            return plan

    def load(self, hash: str) -> Plan:
        """The plan of this hash. Raises NotFound, Unavailable."""
        plan = self.known(hash)
        if plan is None:
            plan = decode(self._cache.get_plan(hash) or self._stored(hash))
            self._remember(plan)
        return plan

    def _stored(self, hash: str) -> str:
        record = self._directory.get((f"plan#{hash}", "plan"))
        if record is None:
            raise NotFound(f"There is no plan {hash}.")
        text = self._artifacts.get(record["ref"]).decode()
        self._cache.put_plan(hash, text)
        return text

    def _remember(self, plan: Plan) -> None:
        with self._lock:
            self._memory[plan.hash] = plan
            while len(self._memory) > 1 and sum(len(p.nodes) for p in self._memory.values()) > MEMORY_NODES:
                self._memory.popitem(last=False)
