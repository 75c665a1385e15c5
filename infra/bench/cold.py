"""Times the imports of a cold start, each in a fresh interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from infra.bench.results import Section
from infra.bench.sizes import Sizes
from infra.local.aws import ROOT

#: What a coordinator does without: the library that parses CEL, and the one that the compiler checks documents with.
SPARED = (("cel-python", "celpy"), ("pydantic", "pydantic"))
#: What Lambda imports for the coordinator, for a worker, and for the API.
MODULES = (
    ("coordinator", "chalicelib.handlers.coordinator"),
    ("workers", "chalicelib.handlers.workers"),
    ("API", "app"),
)
_PROGRAM = (
    "import json, sys, time; c, w = time.process_time(), time.perf_counter(); import {module}; "
    "print(json.dumps([time.perf_counter() - w, time.process_time() - c, list(sys.modules)]))"
)


def measure(sizes: Sizes) -> Section:
    """Milliseconds and modules of each import. The compiled files are there already, as in a package."""
    section = Section("cold", "`import` of each handler's module in a new Python, its .pyc files written before.")
    for name, module in MODULES:
        _import(module)
        found = [_import(module) for _ in range(sizes.repeats)]
        section.times(f"{name}: import", [1000 * wall for wall, _, _ in found], "ms")
        section.times(f"{name}: import, CPU", [1000 * cpu for _, cpu, _ in found], "ms")
        loaded = found[0][2]
        section.count(f"{name}: modules", len(loaded), "modules")
        for library, package in SPARED:
            mark = 0 if name == "coordinator" else None
            section.count(f"{name}: imports {library}", float(package in loaded), "modules", mark)
    return section


def _import(module: str) -> tuple[float, float, list[str]]:
    """(seconds, CPU seconds, names of the modules that were loaded)."""
    argv = [sys.executable, "-c", _PROGRAM.format(module=module)]
    done = subprocess.run(argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=True)
    wall, cpu, loaded = json.loads(done.stdout.decode().splitlines()[-1])
    return wall, cpu, loaded
