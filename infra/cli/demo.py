"""`graft demo`: a whole local stack, real data, one run watched live, and its result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.cli import demo_data, show
from infra.cli.client import Api
from infra.cli.documents import read_document
from infra.cli.errors import SERVER_ERROR, CliError
from infra.cli.files import document_in, write
from infra.cli.options import AsJson
from infra.cli.runs import result
from infra.cli.watch import exit_code, follow
from infra.draw import draw

Json = Any

ROOT = Path(__file__).resolve().parents[2]
PAGE_SIZE = 60
PICTURE = Path(".graft/demo.svg")
#: Seconds the stack is given to stop before it is killed.
STOP_S = 15.0


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the run's picture goes.")] = PICTURE,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a workflow over real data on a local stack: pages over HTTP, parallel branches, a verdict."""
    begun = time.monotonic()
    with demo_data.serve() as address, _stack(address, keep=keep) as ready:
        api = Api(ready["api_url"], ready["token"])
        if not as_json:
            show.say(f"Graft runs on {ready['api_url']} (ready in {time.monotonic() - begun:.1f} s).", "dim")
        given = {"url": f"http://{address}/penguins", "page_size": PAGE_SIZE}
        started = api.post("/runs", {"workflow": read_document(str(demo_data.WORKFLOW)), "input": given})
        ended = follow(api, started["run_id"], name="penguins", quiet=as_json)
        graph = document_in(api.get(f"/runs/{started['run_id']}/workflow"))
        output.parent.mkdir(parents=True, exist_ok=True)
        write(output, draw(graph, ended))
        if as_json:
            show.print_json(ended)
        else:
            _tell(ended, output)
        if keep:
            _stay(ready, started["run_id"])
        api.close()
    raise typer.Exit(exit_code(ended))


def _tell(ended: dict[str, Json], output: Path) -> None:
    found = ended.get("output")
    if ended.get("status") != "COMPLETED" or not isinstance(found, dict):
        result(ended)
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
    show.say("")
    show.say(f"The run's picture is {output}; its workflow is {_near(demo_data.WORKFLOW)}.", "dim")
    show.say(
        "`graft demo --keep` leaves the API running, for `graft runs show RUN` and `graft draw RUN -o run.svg`.", "dim"
    )


def _near(path: Path) -> str:
    with suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def _stay(ready: dict[str, Json], run_id: str) -> None:
    show.say(f"The API stays on {ready['api_url']}: `graft runs show {run_id}`. Ctrl-C stops everything.")
    with suppress(KeyboardInterrupt):
        signal.pause()


@contextmanager
def _stack(data_address: str, *, keep: bool) -> Iterator[dict[str, Json]]:
    """A local stack whose http nodes may reach the data server; yields its ready line. Raises CliError."""
    with tempfile.TemporaryDirectory(prefix="graft-demo-") as folder:
        state = Path(".graft/local.json") if keep else Path(folder) / "local.json"
        allowed = ",".join(filter(None, [os.environ.get("GRAFT_HTTP_ALLOWLIST", ""), data_address]))
        log = Path(folder) / "stack.log"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "infra.local", "--state", str(state.resolve())],
                cwd=ROOT,
                env={**os.environ, "GRAFT_HTTP_ALLOWLIST": allowed},
                stdout=subprocess.PIPE,
                stderr=errors,
                # A session of its own: Ctrl-C reaches the demo alone, which then stops the stack in order.
                start_new_session=True,
            )
        try:
            yield _ready(process, log)
        finally:
            _stop(process)


def _ready(process: subprocess.Popen[bytes], log: Path) -> dict[str, Json]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        text = log.read_text(errors="replace").strip()[-2000:]
        raise CliError(f"The local stack did not start. {text}", SERVER_ERROR)
    ready: dict[str, Json] = json.loads(line)
    return ready


def _stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
