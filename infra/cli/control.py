"""`graft runs cancel|pause|resume|explain|verify`: control a run, and find out what it is at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from infra.cli import show
from infra.cli.client import Api, segment
from infra.cli.connect import connect
from infra.cli.errors import FAILED_RUN, CliError
from infra.cli.options import AsJson, Token, Url
from infra.cli.runs import RunId

Json = Any
#: Runs asked for at a time.
_PAGE = 200


def cancel(run_id: RunId, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """End a run; what is outstanding is cancelled."""
    _control(connect(url, token), run_id, "cancel", as_json)


def pause(run_id: RunId, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Hold what becomes ready; results of what is at work are kept."""
    _control(connect(url, token), run_id, "pause", as_json)


def resume(run_id: RunId, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Go on with a paused run."""
    _control(connect(url, token), run_id, "resume", as_json)


def _control(api: Api, run_id: str, what: str, as_json: bool) -> None:
    run = api.post(f"/runs/{segment(run_id)}/{what}", {})
    if as_json:
        show.print_json(run)
    else:
        show.say(f"Run {run_id} is {run.get('status')}.")


def explain(run_id: RunId, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Say why a run is not moving: what it waits for, since when, and what would move it."""
    found = connect(url, token).get(f"/runs/{segment(run_id)}/explain")
    if as_json:
        show.print_json(found)
        return
    show.say(str(found["summary"]))
    error = found.get("error")
    if isinstance(error, dict):
        show.say(f"{error.get('type')}: {error.get('message')}", "red")
    rows = [
        (entry.get("node_id"), entry.get("waits_for"), show.moment(entry.get("since")), _until(entry), _mover(entry))
        for entry in found["waiting"]
    ]
    if rows:
        show.table(("node", "waits for", "since", "until", "moved by"), rows)
    if found.get("waiting_total", 0) > len(rows):
        show.say(f"There are {found['waiting_total']} in all.", "dim")
    for problem in found["problems"]:
        where = f"{problem['node_id']}: " if problem.get("node_id") else ""
        show.say(f"{problem['code']}: {where}{problem['message']}", "yellow")


def _until(entry: dict[str, Json]) -> str:
    return show.moment(entry.get("deadline") or entry.get("due_at"))


def _mover(entry: dict[str, Json]) -> str:
    queue = f" ({entry['queue']}, {entry['queued']} waiting)" if entry.get("queue") else ""
    asked = f"{entry['message']} " if entry.get("waits_for") == "decision" else ""
    return f"{asked}{entry.get('moved_by', '')}{queue}"


def verify(
    run_ids: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs to verify.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Verify all runs.")] = False,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Prove that folding the journal of a run gives its state. Exits with 1 if it does not for some run."""
    if every == bool(run_ids):
        raise CliError("Name runs to verify, or pass --all.")
    api = connect(url, token)
    answers = []
    for run_id in run_ids or _every(api):
        answer = api.get(f"/runs/{segment(run_id)}/verify")
        answers.append(answer)
        if not as_json:
            _report(answer)
    wrong = [answer["run_id"] for answer in answers if not answer["ok"]]
    if as_json:
        show.print_json({"ok": not wrong, "runs": answers})
    else:
        show.say(f"{len(answers) - len(wrong)} of {len(answers)} runs verified.")
    if wrong:
        raise typer.Exit(FAILED_RUN)


def _report(answer: dict[str, Json]) -> None:
    verdict = "verified" if answer["ok"] else "DIFFERS"
    line = f"{answer['run_id']}  {verdict}  {answer['commits']} commits, {answer['events']} events"
    show.say(line, "green" if answer["ok"] else "red")
    for finding in answer["differences"]:
        rest = {name: value for name, value in finding.items() if name not in ("code", "where")}
        show.say(f"  {finding['code']} at {finding['where']} {rest or ''}", "red")


def _every(api: Api) -> Iterator[str]:
    cursor: str | None = None
    while True:
        page = api.get("/runs", limit=_PAGE, cursor=cursor)
        yield from (str(item["run_id"]) for item in page["items"])
        cursor = page.get("next_cursor")
        if cursor is None:
            return
