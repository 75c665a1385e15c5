"""What a run's journal and its children's have to agree on with the reference, once all have ended."""

from __future__ import annotations

from typing import Any

from chalicelib.domain.ids import parse_token
from tests.simulation.drawn import SimulatedRun
from tests.simulation.invariants import require
from tests.simulation.reference_calls import Calls
from tests.simulation.reference_state import named
from tests.simulation.world import World

Json = Any
#: Of `ways`, those that many worlds show.
COMMON = {
    "call COMPLETED, child COMPLETED", "call FAILED, child FAILED", "call FAILED, child CANCELLED",
    "call RETRIED, child FAILED", "call CANCELLED", "2 levels down", "3 levels down", "in a loop", "called again",
    "under a run that was rolled back",
}  # fmt: skip


def given_up(world: World, run: SimulatedRun) -> bool:
    """Whether a child was ended from above, so that no reference says how. Raises Violation where nobody could."""
    waiting = world.audit.kinship.parents.get(run.run_id)
    status = world.state(run.run_id)["meta"]["status"]
    if waiting is None or status not in ("CANCELLED", "TIMED_OUT"):
        return False
    if status == "TIMED_OUT":
        require("timeout_ms" in run.document, f"run {run.run_id} is TIMED_OUT without a timeout")
        return True
    record = world.state(waiting[0])["done"].get(waiting[1], "")
    closed = "|CANCELLED|" in record or '"Timeout"' in record
    require(closed, f"run {run.run_id} is CANCELLED and its call {waiting} was settled as {record}")
    return True


def judge(world: World, run: SimulatedRun, calls: Calls) -> None:
    """Raises Violation where the run made other calls than the reference, or gave its children other inputs."""
    done, kinship, made = world.state(run.run_id)["done"], world.audit.kinship, {}
    for text in [text for run_id, text in kinship.calls if run_id == run.run_id and "|CANCELLED|" not in done[text]]:
        token, waiting = parse_token(text), (run.run_id, text)
        require(waiting in kinship.children, f"run {run.run_id} settled {text}, and no child was started")
        call = (named(token.node, token.index), token.scope, token.attempt)
        require(call not in made, f"run {run.run_id} has made call {call} twice")
        made[call] = kinship.calls[waiting]["input"]
    require(made == calls.made, f"run {run.run_id} called {made}, the reference {calls.made}")


def ways(world: World) -> set[str]:
    """What happened between runs and their children, in a few words each."""
    found: set[str] = set()
    for child, (parent, text) in world.audit.kinship.parents.items():
        state, caller, token = world.state(child), world.state(parent), parse_token(text)
        settled = caller["done"].get(text, "||||").split("|")[3]
        found |= {f"call {settled}", f"call {settled}, child {state['meta']['status']}"}
        found.add(f"{len(world.runs[child].path) - 1} levels down")
        found |= {"in a loop"} if token.scope else set()
        found |= {"called again"} if token.attempt > 1 else set()
        found |= {"after a redrive"} if token.epoch else set()
        found |= {"refused before it began"} if len(world.audit.chains[child].items) == 1 else set()
        found |= {"redriven on its own"} if "detached" in state["meta"] else set()
        found |= {"under a run that was rolled back"} if "rollback" in caller["meta"] else set()
    return found
