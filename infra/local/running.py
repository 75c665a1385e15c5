"""Runs a whole local stack as a child of this process, for tools that need one for a while."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chalicelib.domain.errors import Unavailable
from infra.local.aws import ROOT
from infra.local.children import ChildSpec, spawn, stop

Json = Any
#: Seconds the stack is given to start, and to stop before it is killed.
START_S, STOP_S = 60.0, 20.0


@dataclass(frozen=True, slots=True)
class Running:
    """A stack that serves."""

    #: What its ready line says.
    ready: dict[str, Json]
    _folder: Path

    def pids(self) -> dict[str, int]:
        """Process ids by name, as they are now."""
        found: dict[str, int] = json.loads(self._state.read_text())["processes"]
        return found

    def logs(self) -> dict[str, str]:
        """What each process has written so far, restarts included."""
        return {path.stem: _text(path) for path in self._folder.glob("graft-local-*/*.log")}

    @property
    def _state(self) -> Path:
        return self._folder / "local.json"


@contextmanager
def running_stack(settings: Mapping[str, str] | None = None) -> Iterator[Running]:
    """A stack of its own with these environment variables besides the caller's. Raises Unavailable.

    It ends with this process, however that ends, and leaves no file.
    """
    with tempfile.TemporaryDirectory(prefix="graft-stack-") as name:
        folder = Path(name)
        state = folder / "local.json"
        argv = (sys.executable, "-m", "infra.local", "--state", str(state))
        env = {**os.environ, **(settings or {}), "TMPDIR": name}
        child = spawn(ChildSpec("stack", argv=argv, env=env, ready=state.exists), folder / "stack.log", ROOT)
        try:
            deadline = time.monotonic() + START_S
            while not child.is_ready():
                if not child.running() or time.monotonic() > deadline:
                    raise Unavailable(f"The local stack did not start: {_text(child.log)[-2000:]}")
                time.sleep(0.02)
            yield Running(json.loads(_text(state)), folder)
        finally:
            stop([child], STOP_S)


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(errors="replace")
    return ""
