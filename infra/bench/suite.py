"""The benchmarks by name, and how all of them or some are run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from infra.bench import bare, cold, growth, hops, patching, pure, recovery, stack
from infra.bench.results import Section
from infra.bench.sizes import Sizes

#: In the order in which they run: counts first, the machine's whole attention last.
PARTS: dict[str, Callable[[Sizes], Section]] = {
    "machine": pure.machine,
    "calls": hops.calls,
    "bare": bare.measure,
    "settlements": hops.settlements,
    "growth": growth.measure,
    "patch": patching.measure,
    "compile": pure.compiling,
    "cel": pure.expressions,
    "cold": cold.measure,
    "recovery": recovery.measure,
    "stack": stack.measure,
}


def run(sizes: Sizes, names: Sequence[str] = ()) -> Iterator[Section]:
    """Run these benchmarks (all, where none is named), each when it is asked for. Raises KeyError for a wrong name."""
    for name in names or PARTS:
        yield PARTS[name](sizes)
