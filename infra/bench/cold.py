"""Times the imports of a cold start, each in a fresh interpreter."""

from __future__ import annotations

import os
import subprocess
import sys

from infra.bench.results import Section
from infra.bench.sizes import Sizes
from infra.local.aws import ROOT

#: What Lambda imports for the coordinator, for a worker, and for the API.
MODULES = (
    ("coordinator", "chalicelib.handlers.coordinator"),
    ("workers", "chalicelib.handlers.workers"),
    ("API", "app"),
)
_PROGRAM = (
    "import sys, time; c, w = time.process_time(), time.perf_counter(); import {module}; "
    "print(time.perf_counter() - w, time.process_time() - c, len(sys.modules), 'celpy' in sys.modules)"
)


def measure(sizes: Sizes) -> Section:
    """Milliseconds and modules of each import. The compiled files are there already, as in a package."""
    section = Section("cold", "`import` of each handler's module in a new Python, its .pyc files written before.")
    for name, module in MODULES:
        _import(module)
        found = [_import(module) for _ in range(sizes.repeats)]
        section.times(f"{name}: import", [1000 * wall for wall, _, _, _ in found], "ms")
        section.times(f"{name}: import, CPU", [1000 * cpu for _, cpu, _, _ in found], "ms")
        section.count(f"{name}: modules", found[0][2], "modules")
        section.count(
            f"{name}: imports cel-python", float(found[0][3]), "modules", 0 if name == "coordinator" else None
        )
    return section


def _import(module: str) -> tuple[float, float, int, bool]:
    """(seconds, CPU seconds, modules, whether cel-python came along)."""
    argv = [sys.executable, "-c", _PROGRAM.format(module=module)]
    done = subprocess.run(argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=True)
    wall, cpu, modules, celpy = done.stdout.decode().split()[-4:]
    return float(wall), float(cpu), int(modules), celpy == "True"
