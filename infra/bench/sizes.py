"""How much each benchmark does: the numbers of a full run, and tiny ones that only show that everything works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of one run of the benchmarks."""

    #: Repetitions of which median, lowest and highest are told.
    repeats: int = 5
    #: Nodes of the chains whose hops are measured.
    chain: int = 22
    #: Nodes of the documents that are compiled.
    compiled: tuple[int, ...] = (10, 1_000, 10_000)
    #: Nodes of the runs over which the cost of a hop must stay flat.
    run_nodes: tuple[int, ...] = (10, 100, 1_000, 10_000)
    #: Widths of the joins over which the cost of a hop must stay flat.
    widths: tuple[int, ...] = (10, 100, 1_000, 5_000)
    #: Nodes of the live runs that are patched.
    patched: tuple[int, ...] = (10, 1_000, 10_000)
    #: Hops of the counted kinds of work.
    counted: int = 1_000
    #: Evaluations of one expression per repetition.
    evaluations: int = 20_000
    #: On the local stack: nodes of the chain whose hops are timed, runs at once, joins, and the large graph's nodes.
    stack_chain: int = 40
    stack_runs: int = 10
    joins: tuple[int, ...] = (200, 2_000)
    large: int = 10_000
    #: Runs that live when Redis is lost, and nodes of the long run that is brought back alone.
    live_runs: int = 1_000
    long_run: int = 4_000


FULL = Sizes()
TINY = Sizes(
    repeats=1,
    chain=4,
    compiled=(10, 50),
    run_nodes=(10, 30),
    widths=(5, 12),
    patched=(10, 30),
    counted=20,
    evaluations=50,
    stack_chain=4,
    stack_runs=2,
    joins=(4,),
    large=30,
    live_runs=8,
    long_run=60,
)
