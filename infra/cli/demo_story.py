"""Plays the person in the demo who approves what waits, and tells how the run went."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from infra.cli import show
from infra.cli.client import Api, segment
from infra.cli.demo_data import WORKFLOW
from infra.cli.errors import CliError
from infra.cli.history import patches_of
from infra.cli.runs import result
from infra.cli.watch import Say

Json = Any
COMMENT = "Approved by the demo."
#: Seconds that a question stands on the screen before it is answered.
THINK_S = 1.0
#: What the report has, unless a patch changed even that.
_PARTS = frozenset({"verdict", "percent", "species", "islands", "overall"})


class Approver:
    """Approves, with the demo's own credential, what the run asks people."""

    def __init__(self, api: Api, run_id: str, think_s: float = THINK_S) -> None:
        self._api, self._run_id, self._think_s = api, run_id, think_s

    def look(self, events: Sequence[dict[str, Json]], say: Say) -> None:
        """Answer the questions that began among these events. Raises CliError where one person's yes is not enough."""
        for event in events:
            data = event.get("data")
            if event.get("type") == "node_waiting" and isinstance(data, dict) and "message" in data:
                self._answer(str(event.get("node_id")), str(data["message"]), say)

    def _answer(self, node_id: str, question: str, say: Say) -> None:
        say(f"{node_id} asks: {question}")
        say(f"A person would type: graft approvals approve {self._run_id} {node_id}")
        time.sleep(self._think_s)
        path = f"/runs/{segment(self._run_id)}/nodes/{segment(node_id)}/decision"
        try:
            answer = self._api.post(path, {"approved": True, "comment": COMMENT})
        except CliError as error:
            if error.status == 409:  # somebody else has decided meanwhile
                return
            raise CliError(f"The demo cannot approve {node_id}: {error.message}", error.code) from None
        if not answer.get("decided"):
            raise CliError(f"{node_id} needs more people than the demo has; start it again.")


def tell(api: Api, ended: dict[str, Json], picture: Path) -> None:
    """Print the verdict, the tables, what was added and who approved; or what went wrong."""
    found = ended.get("output")
    if ended.get("status") != "COMPLETED" or not isinstance(found, dict) or not found.keys() >= _PARTS:
        result(ended)
        _tell_changes(api, ended, None)
        return
    show.say("")
    show.say("Can a penguin's species be told from its bill and flipper?", "bold")
    show.say(f"{found['verdict']} ({found['percent']} %)", "green")
    show.say("")
    rows = [
        (one["species"], one["count"], f"{one['mean_mass_g']:,.1f} g", f"± {one['spread_mass_g']:,.1f} g")
        for one in found["species"]
    ]
    show.table(("species", "measured", "mean body mass", "spread"), rows)
    overall = found["overall"]
    islands = ", ".join(f"{island['island']} {island['penguins']}" for island in found["islands"])
    heaviest = ", ".join(f"{one['body_mass_g']:,} g ({one['species']})" for one in overall["heaviest"])
    show.say("")
    show.say(f"All {overall['penguins']} penguins: {islands}.")
    show.say(f"The heaviest: {heaviest}.")
    _tell_changes(api, ended, found.get("finding"))
    show.say("")
    show.say(f"The run's picture, with what was added marked, is {picture}; its workflow is {_near(WORKFLOW)}.", "dim")
    show.say(
        "`graft demo --keep` leaves the API running, for `graft runs show RUN` and `graft draw RUN -o run.svg`.", "dim"
    )


def _tell_changes(api: Api, ended: dict[str, Json], finding: Json) -> None:
    for patch in patches_of(api, ended["run_id"]):
        nodes = ", ".join(_typed(ended, name) for name in patch["added"]) or "no node"
        show.say("")
        show.say(f"Added by {patch['author']} while the run went on: {nodes}.", "bold magenta")
        show.say(f"Its reason: {patch['description']}")
    for name, by in _approvals(api, ended):
        show.say(f"Approved at {name} by {by}.")
    rows = finding.get("rows") if isinstance(finding, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        if finding is not None:
            show.value("finding", finding)
        return
    columns = list(dict.fromkeys(name for row in rows for name in row))
    show.say("")
    show.say(str(finding.get("title") or "Finding"), "bold")
    show.table(columns, [[_cell(row.get(name)) for name in columns] for row in rows])


def _typed(ended: dict[str, Json], name: str) -> str:
    """A node with its type, unless a later patch removed it."""
    node = ended["nodes"].get(name)
    return f"{name} ({node['type']})" if node else name


def _approvals(api: Api, ended: dict[str, Json]) -> list[tuple[str, str]]:
    """(node, person) of each approval of the run."""
    people = [name for name, node in ended["nodes"].items() if node["type"] == "human"]
    path = f"/runs/{segment(ended['run_id'])}/nodes"
    executions = [(name, one) for name in people for one in api.get(f"{path}/{segment(name)}")["executions"]]
    outputs = [(name, one["output"]) for name, one in executions if isinstance(one.get("output"), dict)]
    return [(name, str(output.get("by") or "nobody in time")) for name, output in outputs if output.get("approved")]


def _cell(value: Json) -> Json:
    return f"{value:,.1f}" if isinstance(value, float) else value


def _near(path: Path) -> str:
    with suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
