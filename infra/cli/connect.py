"""Finds the API: from the options, the environment, or the state file of a running local stack."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra.cli.client import Api
from infra.cli.errors import CliError

Json = Any

STATE = Path(".graft/local.json")
_START = "Start a local stack with `graft local up`"


def connect(url: str | None, token: str | None) -> Api:
    """The API to speak to. The state file's token goes to the state file's address only. Raises CliError."""
    url, token = url or os.environ.get("GRAFT_URL"), token or os.environ.get("GRAFT_TOKEN")
    if url and urlsplit(url).scheme not in ("http", "https"):
        raise CliError(f"{url} is no address of an API; write it as http://host:port or https://host/stage.")
    path, state = find_state()
    if url:
        if not token and state.get("api_url") == url.rstrip("/"):
            token = state.get("token")
        if not token:
            raise CliError(f"There is no token for {url}: pass --token or set GRAFT_TOKEN (`graft token create`).")
        return Api(url, token)
    if not state:
        raise CliError(f"No API is known: {STATE} is not here. {_START}, or pass --url and --token.")
    hint = f"{path} names it, but its stack is gone: {_START[0].lower()}{_START[1:]}, or pass --url and --token."
    return Api(state["api_url"], token or state["token"], hint)


def find_state() -> tuple[Path, dict[str, Json]]:
    """The nearest state file, here or in a folder above, and what it says; {} where there is none.

    Raises CliError for a file that is no state file.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        path = folder / STATE
        if path.is_file():
            return path, _read(path)
    return here / STATE, {}


def _read(path: Path) -> dict[str, Json]:
    try:
        state = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CliError(f"{path} cannot be read ({error}): remove it, and start `graft local up` again.") from None
    if not isinstance(state, dict) or not all(isinstance(state.get(key), str) for key in ("api_url", "token")):
        raise CliError(f"{path} is no state file of a local stack: remove it, and start `graft local up` again.")
    return state
