"""Follows a run until it ends: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from infra.cli import show
from infra.cli.client import Api, segment
from infra.cli.errors import FAILED_RUN, INTERRUPTED, OK, SERVER_ERROR, CliError

Json = Any

ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})
#: Seconds that one request waits for news; events it takes at once.
WAIT_S, BATCH = 20, 500
#: Times that a server may fail to answer in a row, and seconds between.
PATIENCE, PAUSE_S = 5, 1.0
#: Rows of a terminal that the table leaves free.
_FREE_ROWS = 12
#: Sentences that stay below the table.
_NOTES = 4
#: What nodes of a type wait for, in the table.
_WAITS = {"human": " for a decision", "event": " for its event"}
#: What is done beside watching: it gets the new events and a way to tell the watcher a sentence.
Say = Callable[[str], None]
Meanwhile = Callable[[list[dict[str, Json]], Say], None]
_PATCHES = frozenset({"patch_applied", "patch_reverted"})
_FIRST = {"FAILED": 0, "RETRYING": 1, "RUNNING": 2, "WAITING": 3, "COMPLETED": 4, "CANCELLED": 5, "SKIPPED": 6}


def follow(
    api: Api, run_id: str, *, name: str = "workflow", quiet: bool = False, meanwhile: Meanwhile | None = None
) -> dict[str, Json]:
    """Show a run's progress until it ends, and return the run. `quiet` shows nothing; `name` heads an unsaved one.

    `meanwhile` is called with the events of each look, once they are shown.

    Raises CliError when the server stays silent, or with the exit code for Ctrl-C, which leaves the run going.
    """
    try:
        beside = meanwhile or (lambda events, say: None)
        if quiet:
            return _until_ended(api, run_id, lambda events, run: beside(events, lambda text: None))
        return _live(api, run_id, name, beside) if sys.stdout.isatty() else _printed(api, run_id, beside)
    except KeyboardInterrupt:
        text = f"Stopped watching. The run goes on: `graft runs watch {run_id}` takes up again."
        raise CliError(text, INTERRUPTED) from None


def exit_code(run: Mapping[str, Json]) -> int:
    """The exit code that tells how a run ended."""
    return OK if run.get("status") == "COMPLETED" else FAILED_RUN


def _until_ended(
    api: Api, run_id: str, seen: Callable[[list[dict[str, Json]], dict[str, Json]], None]
) -> dict[str, Json]:
    """Poll events and the run; `seen` gets the new events, and the run as it is now."""
    path, after, silent = f"/runs/{segment(run_id)}", 0, 0
    while True:
        try:
            wait = WAIT_S if after else 0
            page = api.get(f"{path}/events", after=after, limit=BATCH, wait=wait)
            run: dict[str, Json] = api.get(path)
            silent = 0
        except CliError as error:
            silent += 1
            if error.code != SERVER_ERROR or silent >= PATIENCE:
                raise
            time.sleep(PAUSE_S)
            continue
        events = page.get("events") or []
        after = max([after, *(event["seq"] for event in events)])
        seen(events, run)
        if run.get("status") in ENDED and (page.get("done", True) or not events):
            return run


def _printed(api: Api, run_id: str, beside: Meanwhile) -> dict[str, Json]:
    def seen(events: list[dict[str, Json]], run: dict[str, Json]) -> None:
        for event in events:
            print(event_line(event), flush=True)
        beside(events, lambda text: print(show.clean(text).plain, flush=True))

    return _until_ended(api, run_id, seen)


def event_line(event: Mapping[str, Json]) -> str:
    """One event as a line of text: time, type, node, which attempt, and what went wrong."""
    parts = [str(event.get("at", ""))[11:23], str(event.get("type", "")), str(event.get("node_id") or "")]
    for key in ("iteration", "attempt"):
        count = event.get(key)
        if isinstance(count, int) and count > 1:
            parts.append(f"{key} {count}")
    index = event.get("index")
    if isinstance(index, int):
        parts.append(f"item {index}")
    data = event.get("data")
    if isinstance(data, dict) and data.get("compensation"):
        parts.append("compensation")
    error = data.get("error") if isinstance(data, dict) else None
    if isinstance(error, dict):
        parts.append(f"{error.get('type')}: {error.get('message')}")
    if event.get("type") == "node_waiting" and isinstance(data, dict):
        parts.append(_waiting(data))
    if event.get("type") in _PATCHES:
        parts.append(patch_line(event))
    return show.clean("  ".join(part for part in parts if part)).plain


def patch_line(event: Mapping[str, Json]) -> str:
    """Who changed the graph, to which revision, what became of it, and why."""
    data = event.get("data")
    given = data if isinstance(data, dict) else {}
    changes = _changes(given)
    made = f"revision {given.get('patch')} by {event.get('actor')}" + (f" ({changes})" if changes else "")
    return f"{made}: {given['description']}" if given.get("description") else made


def _changes(data: Mapping[str, Json]) -> str:
    """The nodes that a patch touched, with signs; nothing for one too large to stand in its event."""
    answer = data.get("answer")
    found = answer if isinstance(answer, dict) else {}
    signs = {"added": "+", "removed": "-", "changed": "~"}
    return " ".join(f"{sign}{name}" for what, sign in signs.items() for name in found.get(what) or [])


def _waiting(data: Mapping[str, Json]) -> str:
    """What a node began to wait for, or what came in for it."""
    decision = data.get("decision")
    if isinstance(decision, dict):
        return f"{'approved' if decision.get('approved') else 'rejected'} by {decision.get('by')}"
    if "message" in data:
        who = ", ".join(map(str, data.get("approvers") or ["anybody"]))
        return f"waits for a decision by {who}: {data['message']}"
    if "event" in data:
        return f"event {data['event']}" + (f" number {data['number']} is kept" if "number" in data else " is awaited")
    return ""


def _live(api: Api, run_id: str, name: str, beside: Meanwhile) -> dict[str, Json]:
    board = Board(run_id, name)
    console = show.out()

    def seen(events: list[dict[str, Json]], run: dict[str, Json]) -> None:
        board.update(events, run)
        beside(events, board.note)

    with Live(get_renderable=board.render, console=console, refresh_per_second=8, transient=False) as live:
        board.height = lambda: max(5, console.height - _FREE_ROWS)
        try:
            run = _until_ended(api, run_id, seen)
        finally:
            live.refresh()
    return run


class Board:
    """The live table of one run."""

    def __init__(self, run_id: str, name: str) -> None:
        self._name = name
        self._run: dict[str, Json] = {"run_id": run_id, "status": "PENDING", "nodes": {}}
        self._spinner = Spinner("dots", style="blue")
        self._ahead_s = 0.0
        #: Nodes that patches added, and sentences below the table.
        self._added: set[str] = set()
        self._notes: list[Text] = []
        #: How many rows there is room for.
        self.height: Callable[[], int] = lambda: 30

    def update(self, events: list[dict[str, Json]], run: dict[str, Json]) -> None:
        """Take over the run as it is now; the newest event tells the server's clock."""
        self._run = run
        newest = show.parse_time(events[-1].get("at")) if events else None
        if newest is not None:
            self._ahead_s = max(0.0, (newest - datetime.now(UTC)).total_seconds())
        for event in events:
            if event.get("type") in _PATCHES:
                self._patched(event)

    def _patched(self, event: Mapping[str, Json]) -> None:
        verb = "Patched" if event.get("type") == "patch_applied" else "Patch taken back"
        self.note(f"{verb}: {patch_line(event)}", "magenta")
        answer = (event.get("data") or {}).get("answer") or {}
        self._added = (self._added | set(answer.get("added") or [])) - set(answer.get("removed") or [])

    def note(self, text: str, style: str = "") -> None:
        """Show a sentence below the table; the newest few stay."""
        self._notes = [*self._notes[1 - _NOTES :], show.clean(text, style)]

    def render(self) -> RenderableType:
        """The table as it stands at this moment."""
        run = self._run
        nodes = [(name, node) for name, node in (run.get("nodes") or {}).items() if isinstance(node, dict)]
        room = self.height()
        shown = nodes if len(nodes) <= room else sorted(nodes, key=_interest)[:room]
        table = Table(box=None, header_style="bold dim", pad_edge=False, padding=(0, 3, 0, 0))
        for column in ("node", "type", "state"):
            table.add_column(column)
        for column in ("iterations", "attempts", "elapsed"):
            table.add_column(column, justify="right")
        for name, node in sorted(shown, key=_started):
            table.add_row(*self._row(name, node))
        parts: list[RenderableType] = [self._heading(), table]
        if len(shown) < len(nodes):
            parts.append(Text(f"… and {len(nodes) - len(shown):,} more nodes", style="dim"))
        parts += self._notes
        return Group(*parts)

    def _heading(self) -> RenderableType:
        run = self._run
        name = (run.get("workflow") or {}).get("name") or self._name
        done = run.get("status") in ENDED
        line = Text.assemble(
            show.clean(name, "bold"), "  ", show.clean(run.get("run_id"), "dim"), "  ", show.status(run.get("status"))
        )
        line.append(f"  {self._elapsed(run)}", "dim")
        if done:
            return Text("● ", style=show.STYLES.get(str(run.get("status")), "")) + line
        self._spinner.update(text=line)
        return self._spinner

    def _row(self, name: str, node: Mapping[str, Json]) -> list[RenderableType]:
        ran = node.get("status") != "SKIPPED"
        counts = [node.get("iteration"), node.get("attempts")]
        cells = [str(count) if isinstance(count, int) and count and ran else "" for count in counts]
        mark = {"COMPLETED": "✓ ", "FAILED": "✗ ", "RUNNING": "▸ ", "SKIPPED": "– "}.get(str(node.get("status")), "  ")
        state = Text(mark, style=show.STYLES.get(str(node.get("status")), "")) + show.status(node.get("status"))
        if node.get("status") == "WAITING":
            state.append(_WAITS.get(str(node.get("type")), ""), "dim")
        label = show.clean(name) + Text(" + by a patch" if name in self._added else "", style="magenta")
        return [label, show.clean(node.get("type"), "dim"), state, *cells, self._elapsed(node)]

    def _elapsed(self, timed: Mapping[str, Json]) -> str:
        begun, ended = show.parse_time(timed.get("started_at")), show.parse_time(timed.get("finished_at"))
        if begun is None:
            return ""
        seconds = ((ended or datetime.now(UTC)) - begun).total_seconds() + (0.0 if ended else self._ahead_s)
        return duration(max(0.0, seconds))


def duration(seconds: float) -> str:
    """A span of time in a few characters."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min {rest:02} s"


def _interest(item: tuple[str, Mapping[str, Json]]) -> tuple[int, str]:
    name, node = item
    return _FIRST.get(str(node.get("status")), 9), name


def _started(item: tuple[str, Mapping[str, Json]]) -> str:
    return str(item[1].get("started_at") or "9")
