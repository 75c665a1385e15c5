"""Rules on the graph as a whole: cycles, entries, reachability, join counts, and edges that are never taken."""

from __future__ import annotations

from collections import deque

from chalicelib.domain.graph import Graph, Link
from chalicelib.domain.problem_list import ProblemList, shorten


def check_graph(graph: Graph, problems: ProblemList, warnings: ProblemList) -> None:
    """Add a problem for each cycle, unreachable node and bad join, and a warning for each edge that cannot be taken."""
    if len(graph.order) < len(graph.ids):
        _check_cycles(graph, problems)
        _check_reached(graph, problems)
    for node in range(len(graph.ids)):
        _check_join(graph, node, problems)
        _check_dead_edges(graph, node, warnings)


def _check_cycles(graph: Graph, problems: ProblemList) -> None:
    group = _components(graph)
    reported: set[int] = set()
    for node in range(len(graph.ids)):
        if group[node] in reported:
            continue
        cycle = _shortest_cycle(graph, node, group)
        if cycle:
            reported.add(group[node])
            names = " → ".join(graph.ids[link.source] for link in cycle[:12])
            more = " → …" if len(cycle) > 12 else ""
            text = (
                f"The edges form a cycle without a loop: {names}{more} → {graph.ids[node]}. "
                "Remove this edge, or give its source a loop block whose loop_back_to names its target."
            )
            problems.add("cycle", cycle[-1].path, text)


def _components(graph: Graph) -> list[int]:
    """Strongly connected components by Kosaraju's two passes: one number per node, equal on common cycles."""
    finished: list[int] = []
    seen = [False] * len(graph.ids)
    for start in range(len(graph.ids)):
        stack = [(start, 0)]
        while stack:
            node, number = stack.pop()
            if number == 0 and seen[node]:
                continue
            seen[node] = True
            if number < len(graph.outs[node]):
                stack.append((node, number + 1))
                stack.append((graph.outs[node][number].target, 0))
            else:
                finished.append(node)
    group = [-1] * len(graph.ids)
    for start in reversed(finished):
        pending = [start]
        while pending:
            node = pending.pop()
            if group[node] < 0:
                group[node] = start
                pending.extend(link.source for link in graph.ins[node])
    return group


def _shortest_cycle(graph: Graph, start: int, group: list[int]) -> list[Link]:
    came: dict[int, Link] = {}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for link in graph.outs[node]:
            if group[link.target] != group[start] or link.target in came:
                continue
            came[link.target] = link
            if link.target == start:
                return _walk_back(came, start)
            queue.append(link.target)
    return []


def _walk_back(came: dict[int, Link], start: int) -> list[Link]:
    links = [came[start]]
    while links[-1].source != start:
        links.append(came[links[-1].source])
    return links[::-1]


def _check_reached(graph: Graph, problems: ProblemList) -> None:
    stack = [node for node, links in enumerate(graph.ins) if not links]
    if not stack:
        text = "Every node has an incoming edge, so no node can start; remove the edge into the first one."
        problems.add("no_entry", "/nodes", text)
        return
    reached = set(stack)
    while stack:
        for link in graph.outs[stack.pop()]:
            if link.target not in reached:
                reached.add(link.target)
                stack.append(link.target)
    for node, name in enumerate(graph.ids):
        if node not in reached:
            text = f'No path leads from an entry node to "{shorten(name)}"; add an edge to it, or remove it.'
            problems.add("unreachable_node", graph.path(node), text)


def _check_join(graph: Graph, node: int, problems: ProblemList) -> None:
    join = graph.raws[node].get("join")
    count = join.get("count") if isinstance(join, dict) else None
    if not isinstance(count, int) or isinstance(count, bool):
        return
    edges = len(graph.ins[node])
    if not 1 <= count <= edges:
        text = f"The join waits for {count} edges, but {edges} lead here; name a count from 1 to {max(edges, 1)}."
        if not edges:
            text = "The join waits for edges, but none leads here; add edges, or remove the join."
        problems.add("bad_join", graph.path(node, "join", "count"), text)


def _check_dead_edges(graph: Graph, node: int, warnings: ProblemList) -> None:
    kind, loop = graph.raws[node].get("type"), graph.raws[node].get("loop")
    ends = kind in ("fail", "succeed")
    breaks = isinstance(loop, dict) and isinstance(loop.get("break_path"), list)
    paths = [loop.get("break_path"), loop.get("timeout_path")] if breaks and isinstance(loop, dict) else []
    for link in graph.outs[node] if ends or breaks else ():
        if link.on != "success":
            continue
        if ends:
            text = f"This edge is never taken: its source ends the run ({kind}). Remove it."
            warnings.add("edge_never_taken", link.path, text)
        elif not any(isinstance(names, list) and graph.ids[link.target] in names for names in paths):
            text = "This edge is never taken: its source takes its break_path and only that. Add the target there."
            warnings.add("edge_never_taken", link.path, text)
