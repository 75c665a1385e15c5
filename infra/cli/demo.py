"""`graft demo`: a whole local stack, and one run over real data that an agent patches and a person approves."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.cli import demo_data, show
from infra.cli.client import Api, segment
from infra.cli.demo_models import Cast, Real, cast
from infra.cli.demo_story import Approver, tell
from infra.cli.documents import read_document
from infra.cli.errors import INTERRUPTED, SERVER_ERROR, CliError
from infra.cli.files import document_in, marks, write
from infra.cli.options import AsJson
from infra.cli.watch import exit_code, follow
from infra.draw import draw
from infra.local.children import Child, ChildSpec, spawn, stop
from infra.local.supervisor import DEFAULT_STATE

Json = Any

ROOT = Path(__file__).resolve().parents[2]
PAGE_SIZE = 60
PICTURE = Path(".graft/demo.svg")
#: Seconds the stack is given to start, and to stop before it is killed.
START_S, STOP_S = 60.0, 15.0


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the run's picture goes.")] = PICTURE,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running until Ctrl-C.")] = False,
    real: Annotated[Real | None, typer.Option("--real", help="Ask a real model, with your own credentials.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Which one; needs --real.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a workflow over real data on a local stack, while an agent changes it and a person approves the change."""
    player = cast(real, model)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with (
            demo_data.listen() as server,
            _stack(server.server_port, player.settings, keep=keep) as ready,
            demo_data.serving(server),
        ):
            ended = _run(ready, server.server_port, player, output, as_json=as_json)
            if keep:
                _stay(ready, ended["run_id"])
    except (KeyboardInterrupt, CliError) as error:
        if isinstance(error, CliError) and error.code != INTERRUPTED:
            raise
        raise CliError("Interrupted; everything is stopped.", INTERRUPTED) from None
    raise typer.Exit(exit_code(ended))


def _run(ready: dict[str, Json], data_port: int, player: Cast, output: Path, *, as_json: bool) -> dict[str, Json]:
    """Start the run, watch it, approve what it asks, draw it, and tell what came out."""
    api = Api(ready["api_url"], ready["token"])
    if not as_json:
        show.say(f"Graft runs on {ready['api_url']}; the data is served in pages beside it.", "dim")
        show.say(player.sentence(), "dim")
    given = {"url": f"http://{demo_data.HOST}:{data_port}/penguins", "page_size": PAGE_SIZE}
    document = player.plays(read_document(str(demo_data.WORKFLOW)))
    run_id = api.post("/runs", {"workflow": document, "input": given})["run_id"]
    ended = follow(api, run_id, name="penguins", quiet=as_json, meanwhile=Approver(api, run_id).look)
    graph = document_in(api.get(f"/runs/{segment(run_id)}/workflow"))
    write(output, draw(graph, ended, diff=marks(api, run_id)))
    if as_json:
        show.print_json(ended)
    else:
        tell(api, ended, output)
    api.close()
    return ended


def _stay(ready: dict[str, Json], run_id: str) -> None:
    show.say(f"The API stays on {ready['api_url']}: `graft runs show {run_id}`. Ctrl-C stops everything.")
    with suppress(KeyboardInterrupt):
        signal.pause()


@contextmanager
def _stack(data_port: int, settings: Mapping[str, str], *, keep: bool) -> Iterator[dict[str, Json]]:
    """A local stack with these settings, whose http nodes may reach the data server; yields what its ready line says.

    It is a child of this process and ends with it, however that ends. Raises CliError.
    """
    with tempfile.TemporaryDirectory(prefix="graft-demo-") as folder:
        state = (DEFAULT_STATE if keep else Path(folder) / "local.json").resolve()
        before = _text(state)
        allowed = ",".join(filter(None, [os.environ.get("GRAFT_HTTP_ALLOWLIST"), f"{demo_data.HOST}:{data_port}"]))
        argv = (sys.executable, "-m", "infra.local", "--state", str(state))
        env = {**os.environ, **settings, "GRAFT_HTTP_ALLOWLIST": allowed}
        spec = ChildSpec("stack", argv=argv, env=env, ready=lambda: _text(state) not in ("", before))
        child = spawn(spec, Path(folder) / "stack.log", ROOT)
        try:
            _await(child)
            yield json.loads(_text(state))
        finally:
            stop([child], STOP_S)


def _await(child: Child) -> None:
    deadline = time.monotonic() + START_S
    while not child.is_ready():
        if not child.running() or time.monotonic() > deadline:
            raise CliError(f"The local stack did not start. {_text(child.log).strip()[-2000:]}", SERVER_ERROR)
        time.sleep(0.02)


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(errors="replace")
    return ""
