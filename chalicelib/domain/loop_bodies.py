"""Which nodes each loop repeats, how loops nest, and which failure edges leave them (SPEC 3, HAZARDS 24)."""

from __future__ import annotations

from dataclasses import dataclass, field

from chalicelib.domain.graph import Graph, Link
from chalicelib.domain.problem_list import ProblemList

#: Loops around one node, on average; deeper nesting would make every scope path long.
MAX_NESTING = 16


@dataclass(slots=True)
class Bodies:
    """The loops of a graph."""

    #: Loop node -> nodes of its body, itself among them.
    nodes: dict[int, set[int]] = field(default_factory=dict)
    #: Per node its loops from the outside in; right only where there are no problems.
    nests: list[tuple[int, ...]] = field(default_factory=list)
    #: Implied edges that skip a loop node when a failure edge leaves its body.
    vetoes: list[Link] = field(default_factory=list)
    #: Loop node -> keys of failure edges whose outermost left loop it is.
    leaving: dict[int, list[str]] = field(default_factory=dict)

    def share_loop(self, one: int, other: int) -> bool:
        """Whether some loop repeats both nodes."""
        mine, theirs = self.nests[one], self.nests[other]
        return bool(mine and theirs) and mine[0] == theirs[0]


def find_bodies(graph: Graph, problems: ProblemList) -> Bodies:
    """The loop bodies of an acyclic graph; adds a problem for each that has a second entry or exit, or overlaps."""
    bodies = Bodies(nests=[()] * len(graph.ids))
    before = len(problems)
    budget = MAX_NESTING * max(len(graph.ids), 64)
    for loop, start in graph.back.items():
        visited = _backwards(graph, loop, start, budget)
        budget -= len(visited)
        if budget <= 0:
            text = f"Loops are nested too deep (over {MAX_NESTING} around the average node); use child workflows."
            problems.add("limit_exceeded", graph.path(loop, "loop"), text)
            return bodies
        _check_body(graph, loop, start, visited, bodies, problems)
    _nest(graph, bodies, problems)
    if len(problems) == before:
        _find_leaving(graph, bodies)
    return bodies


def _backwards(graph: Graph, loop: int, start: int, budget: int) -> set[int]:
    """Nodes from which `loop` can be reached without passing `start`; gives up past `budget`."""
    visited = {loop}
    stack = [loop]
    while stack and len(visited) <= budget:
        node = stack.pop()
        for link in graph.ins[node] if node != start else ():
            if link.source not in visited:
                visited.add(link.source)
                stack.append(link.source)
    return visited


def _check_body(graph: Graph, loop: int, start: int, visited: set[int], bodies: Bodies, problems: ProblemList) -> None:
    if start not in visited:
        text = f'No path leads from "{graph.ids[start]}" to "{graph.ids[loop]}"; loop back to a node before it.'
        problems.add("bad_loop_target", graph.path(loop, "loop", "loop_back_to"), text)
        return
    body = _forwards(graph, start, visited)
    bodies.nodes[loop] = body
    name = graph.ids[loop]
    for node in sorted(body):
        for link in graph.ins[node] if node != start else ():
            if link.source not in body:
                text = f'This edge enters the body of loop "{name}" beside its start; lead it to "{graph.ids[start]}".'
                problems.add("loop_second_entry", link.path, text)
        for link in graph.outs[node] if node != loop else ():
            if link.target not in body and link.on != "failure":
                text = f'This edge leaves the body of loop "{name}"; only "{name}" and failure edges may leave it.'
                problems.add("loop_second_exit", link.path, text)


def _forwards(graph: Graph, start: int, within: set[int]) -> set[int]:
    body = {start}
    stack = [start]
    while stack:
        for link in graph.outs[stack.pop()]:
            if link.target in within and link.target not in body:
                body.add(link.target)
                stack.append(link.target)
    return body


def _nest(graph: Graph, bodies: Bodies, problems: ProblemList) -> None:
    """From the largest body inwards; a body whose nodes lie in different loops overlaps one of them."""
    owner: list[int | None] = [None] * len(graph.ids)
    chains: dict[int | None, tuple[int, ...]] = {None: ()}
    for loop, body in sorted(bodies.nodes.items(), key=lambda item: -len(item[1])):
        owners = {owner[node] for node in body}
        outer = owner[loop]
        if len(owners) > 1:
            other = next(found for found in sorted(owners, key=str) if found is not None)
            text = f'The bodies of loops "{graph.ids[loop]}" and "{graph.ids[other]}" overlap; nest or separate them.'
            problems.add("loops_overlap", graph.path(loop, "loop", "loop_back_to"), text)
        chains[loop] = (*chains[outer], loop)
        for node in body:
            owner[node] = loop
    bodies.nests = [chains[found] for found in owner]


def _find_leaving(graph: Graph, bodies: Bodies) -> None:
    """Fill `leaving` and `vetoes`: a failure edge out of loops vetoes each of them, and waits for the outermost."""
    vetoed: set[tuple[int, int]] = set()
    for link in graph.links.values():
        left = _left(bodies, link) if link.on == "failure" and bodies.nests[link.source] else ()
        if not left:
            continue
        bodies.leaving.setdefault(left[0], []).append(link.key)
        for loop in left:
            if (link.source, loop) in vetoed:
                continue
            vetoed.add((link.source, loop))
            key = f"{graph.ids[link.source]}:{graph.ids[loop]}:veto"
            veto = Link(key, link.source, loop, "failure", "veto", link.path)
            bodies.vetoes.append(veto)
            inner = _left(bodies, veto)
            if inner:
                bodies.leaving.setdefault(inner[0], []).append(key)


def _left(bodies: Bodies, link: Link) -> tuple[int, ...]:
    """Loops from the outside in that the link leaves, but for the source's own."""
    source, target = bodies.nests[link.source], bodies.nests[link.target]
    common = 0
    while common < min(len(source), len(target)) and source[common] == target[common]:
        common += 1
    return tuple(loop for loop in source[common:] if loop != link.source)
