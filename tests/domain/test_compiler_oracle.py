"""Random small graphs: what the compiler computes in one pass, against walking every path."""

import random
from itertools import combinations, pairwise

import pytest

from chalicelib.domain.compiler import check
from chalicelib.domain.graph import read_graph
from chalicelib.domain.limits import Limits
from chalicelib.domain.problem_list import ProblemList
from chalicelib.domain.reachability import Reachability
from tests.domain.documents import edge, loop, node, workflow


def random_dag(rng, size, **keys):
    names = [f"n{i}" for i in range(size)]
    pairs = [(a, b) for j, b in enumerate(names) for a in names[:j] if rng.random() < 0.35]
    edges = [edge(a, b, on=rng.choice(["success"] * 4 + ["failure"])) for a, b in pairs]
    return names, edges, workflow(names, edges, **keys)


def random_line(rng, size):
    """A chain with some shortcuts and ways out, mostly on failure: loops over it are often well-formed."""
    names = [f"n{i}" for i in range(size)]
    edges = [edge(a, b, on="success") for a, b in pairwise(names)]
    for a, b in combinations(names, 2):
        if rng.random() < 0.1:
            edges.append(edge(a, b, on="failure" if rng.random() < 0.8 else "always"))
    return names, edges, workflow(names, edges)


def paths(edges, start):
    """Every path from `start` to a node without edges, as lists of names."""
    targets = {e["to"] for e in edges if e["from"] == start}
    if not targets:
        return [[start]]
    return [[start, *rest] for target in sorted(targets) for rest in paths(edges, target)]


def reached(edges, start):
    return {name for path in paths(edges, start) for name in path}


@pytest.mark.parametrize("seed", range(60))
def test_descendants_and_dominators_agree_with_all_paths(seed):
    rng = random.Random(seed)
    names, edges, document = random_dag(rng, 7)
    for raw in document["nodes"]:
        raw["join"] = "any"
    graph = read_graph(document, ProblemList())
    order = Reachability(graph)
    entries = [name for name in names if not any(e["to"] == name for e in edges)]
    for a in names:
        for b in names:
            if a == b:
                continue
            assert order.leads_to(graph.at[a], graph.at[b]) == (b in reached(edges, a))
            to_b = [path[: path.index(b)] for entry in entries for path in paths(edges, entry) if b in path]
            assert order.always_before(graph.at[a], graph.at[b]) == all(a in path for path in to_b)


@pytest.mark.parametrize("seed", range(60))
def test_losers_are_the_nodes_whose_every_path_enters_the_join(seed):
    rng = random.Random(seed)
    names, edges, document = random_dag(rng, 8)
    joined = rng.choice(names[3:])
    document["nodes"][names.index(joined)]["join"] = {"any": True, "cancel_losers": True}
    plan, problems, _ = check(document, limits=Limits())
    assert problems == []
    expected = tuple(n for n in names if n != joined and all(joined in path for path in paths(edges, n)))
    assert plan.nodes[joined].join.losers == expected


@pytest.mark.parametrize("seed", range(150))
def test_loop_bodies_and_their_rules_agree_with_all_paths(seed):
    rng = random.Random(seed)
    names, edges, document = random_line(rng, 8)
    backs = {}
    for i in rng.sample(range(8), 2):
        backs[names[i]] = names[rng.randrange(i + 1)]
        document["nodes"][i] = node(names[i], loop=loop(backs[names[i]]))
    plan, problems, _ = check(document, limits=Limits())
    bodies, broken = {}, False
    for end, start in backs.items():
        body = {n for n in names if n in reached(edges, start) and end in reached(edges, n)}
        bodies[end] = body
        broken |= not body
        for e in edges:
            inside = (e["from"] in body, e["to"] in body)
            broken |= inside == (False, True) and e["to"] != start
            broken |= inside == (True, False) and e["from"] != end and e["on"] != "failure"
    one, other = bodies.values()
    broken |= bool(one & other) and not (one <= other or other <= one)
    assert bool(problems) == broken
    if plan is not None:
        for name in names:
            around = [end for end, body in sorted(bodies.items(), key=lambda item: -len(item[1])) if name in body]
            assert plan.nodes[name].loops == tuple(around)
        leaves = [
            (e["from"], e["to"], end)
            for e in edges
            if e["on"] == "failure"
            for end, body in bodies.items()
            if e["from"] in body and e["to"] not in body and e["from"] != end
        ]
        left = {f"{source}:{target}:failure" for source, target, _ in leaves}
        vetoes = {(found.source, found.target) for found in plan.edges.values() if found.kind == "veto"}
        assert vetoes == {(source, end) for source, _, end in leaves}
        plain = {key for keys in plan.leaving.values() for key in keys if not key.endswith(":veto")}
        assert plain == left


@pytest.mark.parametrize("seed", range(40))
def test_every_plan_is_consistent_with_itself(seed):
    _, _, document = random_dag(random.Random(seed), 9)
    plan, _, _ = check(document, limits=Limits())
    for key, found in plan.edges.items():
        assert (
            key == found.key and key in plan.nodes[found.source].out_edges and key in plan.nodes[found.target].in_edges
        )
    assert sum(len(n.in_edges) for n in plan.nodes.values()) == len(plan.edges)
    assert set(plan.entries) == {n.id for n in plan.nodes.values() if not n.in_edges}
    assert all(n.counted == (len(n.in_edges) > 1) for n in plan.nodes.values())
