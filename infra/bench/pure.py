"""Times what needs no store: the machine itself, compiling documents, reading plans, evaluating an expression."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

from chalicelib.domain.cel_syntax import parse
from chalicelib.domain.compiler import compile_workflow
from chalicelib.domain.conditions import evaluate
from chalicelib.domain.limits import Limits
from chalicelib.domain.plan_codec import decode, encode
from infra.bench import documents
from infra.bench.results import Section
from infra.bench.sizes import Sizes

Json = Any
#: Seconds in which 10,000 nodes are compiled; microseconds of one evaluation.
COMPILE_S, EVALUATE_US = 2.0, 10.0


def machine(sizes: Sizes) -> Section:
    """What the numbers were got on: cores, load, and a fixed piece of work, by CPU and by the clock."""
    section = Section("machine", "The same piece of JSON work each time. Where these two differ, others were at work.")
    section.count("cores", os.cpu_count() or 0, "cores")
    section.count("load before", os.getloadavg()[0], "processes")
    value = {f"key{i}": [i, str(i), {"deep": i / 7}] for i in range(2_000)}

    def work() -> None:
        for _ in range(5):
            json.loads(json.dumps(value))

    begun = time.perf_counter()
    found = _times(work, max(3, sizes.repeats))
    clock = 1000 * (time.perf_counter() - begun) / len(found)
    section.times("fixed work, CPU", found, "ms")
    section.times("fixed work, by the clock", [clock], "ms")
    return section


def compiling(sizes: Sizes) -> Section:
    """Seconds to compile a document, and to write and read its plan."""
    section = Section("compile", "Chains of function nodes side by side; the plan's text is what warm processes share.")
    for nodes in sizes.compiled:
        document = documents.lanes(nodes, 100 if nodes > 1000 else 10)
        plan = compile_workflow(document, limits=Limits())
        text = encode(plan)
        mark = COMPILE_S * 1000 if nodes == 10_000 else None
        compiled = _times(lambda d=document: compile_workflow(d, limits=Limits()), sizes.repeats)  # type: ignore[misc]
        section.times(f"{nodes:,} nodes: compile", compiled, "ms", mark)
        section.times(f"{nodes:,} nodes: write the plan", _times(lambda p=plan: encode(p), sizes.repeats), "ms")  # type: ignore[misc]
        section.times(f"{nodes:,} nodes: read the plan", _times(lambda t=text: decode(t), sizes.repeats), "ms")  # type: ignore[misc]
        section.count(f"{nodes:,} nodes: the plan's text", len(text) / 1024, "KiB")
    return section


def expressions(sizes: Sizes) -> Section:
    """Microseconds of one evaluation of a branch's rule."""
    section = Section("cel", f"`{documents.EXPRESSION}`, compiled once, {sizes.evaluations:,} evaluations a run.")
    expression = parse(documents.EXPRESSION)
    values: dict[str, Json] = {
        "output": {"score": 91, "notes": "x" * 200},
        "ctx": {"enrich": {"output": {"revenue": 250_000, "rows": list(range(100))}, "status": "COMPLETED"}},
    }
    assert evaluate(expression, values) is True

    def many() -> None:
        for _ in range(sizes.evaluations):
            evaluate(expression, values)

    each = [1000 * took / sizes.evaluations for took in _times(many, sizes.repeats)]
    section.times("one evaluation", each, "µs", EVALUATE_US)
    return section


def _times(work: Callable[[], object], repeats: int) -> list[float]:
    """Milliseconds of CPU of each repetition: what others do on the machine meanwhile counts less than by the clock."""
    found = []
    for _ in range(repeats):
        begun = time.process_time()
        work()
        found.append(1000 * (time.process_time() - begun))
    return found
