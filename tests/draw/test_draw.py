"""The picture is parsed as XML and compared with the document it was made of."""

import itertools
import json
import random
import time
import xml.etree.ElementTree as ET
from collections import Counter

import pytest

from infra.cli.demo_data import FOLDER
from infra.cli.documents import read_document
from infra.draw import draw

SVG = "{http://www.w3.org/2000/svg}"
EXAMPLES = sorted(path for path in FOLDER.parent.glob("*/workflow.*"))


def parse(svg):
    return ET.fromstring(svg)


def groups(root, kind):
    return [group for group in root.iter(f"{SVG}g") if group.get("class", "").split()[0] == kind]


def boxes(root):
    """id -> (left, top, right, bottom) of each node's box."""
    found = {}
    for group in groups(root, "node"):
        rect = next(r for r in group.iter(f"{SVG}rect") if r.get("class") == "box")
        x, y, w, h = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
        found[group.get("data-id")] = (x, y, x + w, y + h)
    return found


def overlaps(root):
    places = sorted(boxes(root).items(), key=lambda item: item[1])
    return [
        (a, b)
        for (a, (ax, ay, ar, ab)), (b, (bx, by, br, bb)) in itertools.combinations(places, 2)
        if ax < br and bx < ar and ay < bb and by < ab
    ]


def keys_of(document):
    """Every edge of a document, written down independently of the drawing."""
    keys = [f"{e['from']}:{e['to']}:{e.get('on', 'success')}" for e in document.get("edges", [])]
    for node in document["nodes"]:
        branch, loop = node.get("branch", {}), node.get("loop", {})
        named = [name for rule in branch.get("rules", []) for name in rule["next_nodes"]] + branch.get("default", [])
        named += loop.get("break_path", []) + loop.get("timeout_path", [])
        keys += [f"{node['id']}:{name}:success" for name in named]
        keys += [f"{node['id']}:{loop['loop_back_to']}:loop"] if loop else []
    return Counter(dict.fromkeys(keys, 1))


def random_document(seed, size=40):
    rng = random.Random(seed)
    names = [f"n{number}" for number in range(size)]
    pairs = [(a, b) for a, b in itertools.combinations(names, 2) if rng.random() < 0.06]
    nodes = [{"id": name, "type": rng.choice(["function", "http", "pass", "wait"])} for name in names]
    edges = [{"from": a, "to": b, "on": rng.choice(["success", "failure", "always"])} for a, b in pairs]
    return {"name": f"random-{seed}", "nodes": nodes, "edges": edges}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_each_example_is_drawn_with_every_node_and_edge_once(path):
    document = read_document(str(path))
    root = parse(draw(document))
    assert Counter(g.get("data-id") for g in groups(root, "node")) == Counter(n["id"] for n in document["nodes"])
    assert Counter(g.get("data-key") for g in groups(root, "edge")) == keys_of(document)
    assert overlaps(root) == []


@pytest.mark.parametrize("seed", range(12))
def test_random_graphs_have_no_overlapping_boxes_and_all_inside_the_picture(seed):
    document = random_document(seed)
    root = parse(draw(document))
    assert overlaps(root) == []
    assert Counter(g.get("data-key") for g in groups(root, "edge")) == keys_of(document)
    width, height = float(root.get("width")), float(root.get("height"))
    for left, top, right, bottom in boxes(root).values():
        assert 0 < left < right < width
        assert 0 < top < bottom < height + 1


def test_every_edge_leads_to_the_right_except_the_ways_back():
    document = read_document(str(FOLDER / "workflow.json"))
    root = parse(draw(document))
    places = boxes(root)
    for group in groups(root, "edge"):
        source, target, on = group.get("data-key").split(":")
        if on != "loop":
            assert places[source][2] < places[target][0]


def test_the_same_document_gives_the_same_picture():
    document = random_document(3)
    assert draw(document) == draw(json.loads(json.dumps(document)))


def test_labels_do_not_cover_each_other_or_a_box():
    rules = [{"condition": f"output.kind == {number}", "next_nodes": [f"t{number}"]} for number in range(8)]
    nodes = [{"id": "choose", "type": "branch", "branch": {"rules": rules, "default": ["other"]}}]
    nodes += [{"id": f"t{number}", "type": "pass"} for number in range(8)] + [{"id": "other", "type": "pass"}]
    root = parse(draw({"nodes": nodes, "edges": []}))
    rects = [r for r in root.iter(f"{SVG}rect") if r.get("class") == "label"]
    labels = [tuple(float(r.get(name)) for name in ("x", "y", "width", "height")) for r in rects]
    assert len(labels) == 9
    areas = [(x, y, x + w, y + h) for x, y, w, h in labels] + list(boxes(root).values())
    for (ax, ay, ar, ab), (bx, by, br, bb) in itertools.combinations(areas, 2):
        assert not (ax < br and bx < ar and ay < bb and by < ab)


def test_branches_loops_and_failures_are_told_apart_and_labelled():
    document = {
        "nodes": [
            {"id": "a", "type": "function", "loop": {"condition": "output < 3", "loop_back_to": "a",
             "max_iterations": 7, "break_path": ["b"], "timeout_path": ["late"]}},
            {"id": "b", "type": "branch", "branch": {"rules": [{"condition": "input.x", "next_nodes": ["c"]}],
             "default": ["d"]}},
            *({"id": name, "type": "pass"} for name in ("c", "d", "late", "oops")),
        ],
        "edges": [{"from": "a", "to": "oops", "on": "failure"}],
    }  # fmt: skip
    root = parse(draw(document))
    classes = {g.get("data-key"): g.get("class").split()[1] for g in groups(root, "edge")}
    assert classes == {
        "a:b:success": "break",
        "a:late:success": "timeout",
        "a:oops:failure": "failure",
        "a:a:loop": "loop",
        "b:c:success": "branch",
        "b:d:success": "default",
    }
    texts = {text.text for text in root.iter(f"{SVG}text")}
    assert {"break", "timeout", "failure", "default", "input.x", "while output < 3 · ≤ 7"} <= texts
    failure = next(g for g in groups(root, "edge") if "failure" in g.get("class"))
    assert failure.find(f"{SVG}path").get("stroke-dasharray")


HOSTILE = [
    '"><script>alert(1)</script>',
    "a&b<c>'d'",
    "nul\x00 esc\x1b[31m",
    "\ud800 half",
    "x" * 5000,
    "\u202ertl",
    "",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_and_ids_stay_text(name):
    document = {
        "name": name,
        "nodes": [
            {"id": name, "type": name, "name": name, "config": {"url": name}},
            {"id": "b", "type": "http", "config": {"url": "http://[" + name}},
        ],
        "edges": [{"from": name, "to": "b", "condition": name}],
    }
    svg = draw(document, {"status": name, "run_id": name, "nodes": {name: {"status": name}}}, diff={"added": [name]})
    root = parse(svg.encode("utf-8"))
    assert not list(root.iter(f"{SVG}script"))
    assert len(groups(root, "node")) == 2


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"nodes": []},
        {"nodes": None, "edges": 3},
        {"nodes": [1, {"id": 2}, {"id": "a"}, {"id": "a"}], "edges": [{"from": "a", "to": "zz"}, None]},
        {"nodes": [{"id": "a", "config": [], "branch": {"rules": [3, {"next_nodes": "b"}]}, "loop": {"condition": 1}}]},
        {"nodes": [{"id": "a", "join": {"count": []}, "retry": {"max_attempts": "x"}, "config": {"handler": {}}}]},
    ],
)
def test_documents_that_do_not_compile_are_drawn_as_far_as_they_go(document):
    assert parse(draw(document, {"nodes": []}, diff={"added": 3})).tag == f"{SVG}svg"


def test_a_cycle_is_drawn_with_the_edge_that_closes_it_below():
    nodes = [{"id": name, "type": "pass"} for name in "abc"]
    edges = [{"from": a, "to": b} for a, b in ("ab", "bc", "ca")]
    root = parse(draw({"nodes": nodes, "edges": edges}))
    assert [g.get("data-key") for g in groups(root, "edge") if "cycle" in g.get("class")] == ["c:a:success"]


def test_a_run_shows_its_states_and_counts():
    document = read_document(str(FOLDER / "workflow.json"))
    run = {
        "run_id": "r1",
        "status": "FAILED",
        "nodes": {
            "fetch": {"status": "COMPLETED", "iteration": 6, "attempts": 2},
            "score": {"status": "FAILED", "attempts": 3},
        },
    }
    root = parse(draw(document, run))
    states = {g.get("data-id"): g.get("data-status") for g in groups(root, "node")}
    assert (states["fetch"], states["score"], states["report"]) == ("COMPLETED", "FAILED", "")
    texts = " ".join(text.text or "" for text in root.iter(f"{SVG}text"))
    assert "iteration 6" in texts and "attempt 3" in texts
    assert "Run r1 is FAILED" in root.find(f"{SVG}desc").text


def test_a_diff_marks_what_a_patch_touched():
    document = {"nodes": [{"id": n, "type": "pass"} for n in "abc"], "edges": [{"from": "a", "to": "b"}]}
    plain = draw(document)
    marked = draw(document, diff={"added": ["b", "a:b"], "changed": ["/nodes/c/config"], "removed": ["gone"]})
    assert marked.count('stroke-dasharray="5 3"') == plain.count('stroke-dasharray="5 3"') + 2
    assert marked.count('stroke-width="6"') == 1


def test_the_picture_has_a_title_and_a_description_for_screen_readers():
    root = parse(draw({"name": "order", "nodes": [{"id": "a", "type": "pass"}]}))
    assert root.get("role") == "img"
    ids = root.get("aria-labelledby").split()
    assert [root.find(f".//*[@id='{name}']").text[:8] for name in ids] == ["order", "Workflow"]


def fan_out(width, length):
    nodes = [{"id": "start", "type": "pass"}, {"id": "end", "type": "pass"}]
    edges = []
    for branch in range(width):
        before = "start"
        for step in range(length):
            name = f"b{branch}_{step}"
            nodes.append({"id": name, "type": "function", "config": {"handler": f"step{step}"}})
            edges.append({"from": before, "to": name})
            before = name
        edges.append({"from": before, "to": "end"})
    return {"nodes": nodes, "edges": edges}


def test_a_wide_fan_out_becomes_one_box_per_step_with_its_number():
    root = parse(draw(fan_out(3333, 3)))
    titles = [text.text for text in root.iter(f"{SVG}text")]
    assert len(groups(root, "node")) == 5
    assert [title for title in titles if "×" in title] == [f"b0_{step} × 3,333" for step in range(3)]
    assert "10001 nodes" in root.find(f"{SVG}desc").text


def test_up_to_500_nodes_every_one_is_drawn():
    document = fan_out(249, 2)
    assert len(document["nodes"]) == 500
    root = parse(draw(document))
    assert len(groups(root, "node")) == 500
    assert overlaps(root) == []


def test_branches_in_different_states_are_not_drawn_as_one():
    states = {"b0_0": {"status": "FAILED"}, "b1_0": {"status": "COMPLETED"}}
    root = parse(draw(fan_out(600, 1), {"status": "RUNNING", "nodes": states}))
    assert {g.get("data-status") for g in groups(root, "node")} == {"", "FAILED", "COMPLETED"}
    assert len(groups(root, "node")) == 5


def chain(size):
    nodes = [{"id": f"n{number}", "type": "pass"} for number in range(size)]
    return {"nodes": nodes, "edges": [{"from": f"n{i}", "to": f"n{i + 1}"} for i in range(size - 1)]}


def tangle(size, edges):
    rng = random.Random(7)
    nodes = [{"id": f"n{number}", "type": "function", "config": {"handler": f"h{number}"}} for number in range(size)]
    pairs = {tuple(sorted(rng.sample(range(size), 2))) for _ in range(edges)}
    return {"nodes": nodes, "edges": [{"from": f"n{a}", "to": f"n{b}"} for a, b in sorted(pairs)]}


@pytest.mark.parametrize(
    "document", [chain(10_000), fan_out(5000, 2), tangle(10_000, 50_000)], ids=["chain", "fan", "tangle"]
)
def test_ten_thousand_nodes_do_not_hang(document):
    begun = time.process_time()
    parse(draw(document))
    assert time.process_time() - begun < 30
