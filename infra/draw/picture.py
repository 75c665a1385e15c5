"""What is drawn: the boxes and lines that a workflow document, and a run of it, give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.graph import Graph, Link, read_graph
from chalicelib.domain.problem_list import ProblemList
from infra.draw.wording import badges, condition_text, detail, line_label, shorten

Json = Any


@dataclass(slots=True)
class Box:
    """One node, or several of the same shape."""

    id: str
    type: str
    title: str
    detail: str
    badges: tuple[str, ...] = ()
    status: str = ""
    #: What a patch did to it: "", added, changed or removed.
    mark: str = ""
    #: How many nodes it stands for.
    count: int = 1
    layer: int = 0
    #: Left, top, width and height in pixels.
    x: float = 0.0
    y: float = 0.0
    w: float = 0.0
    h: float = 0.0


@dataclass(slots=True)
class Line:
    """One edge between two boxes, given by their positions in `Picture.boxes`."""

    key: str
    source: int
    target: int
    #: A key of `palette.EDGES`.
    kind: str
    label: str = ""
    mark: str = ""
    count: int = 1
    #: Drawn as an arc below: a loop's way back, or an edge that closes a cycle.
    backward: bool = False


@dataclass(slots=True)
class Picture:
    """Everything the drawing shows."""

    title: str
    status: str = ""
    run_id: str = ""
    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)


def read(document: Mapping[str, Json], run: Mapping[str, Json] | None, diff: Mapping[str, Json] | None) -> Picture:
    """The picture of a document as far as it makes sense: what a compiler refuses is drawn or left out, never fatal."""
    graph = read_graph(dict(document), ProblemList())
    states = _object((run or {}).get("nodes"))
    marks = _marks(diff)
    picture = Picture(_title(document, run), _text((run or {}).get("status")), _text((run or {}).get("run_id")))
    for name, raw in zip(graph.ids, graph.raws, strict=True):
        picture.boxes.append(_box(name, raw, _object(states.get(name)), marks.get(name, "")))
    for link in graph.links.values():
        picture.lines.append(_line(graph, link, marks))
    for source, target in graph.back.items():
        loop = graph.raws[source]["loop"]
        label = f"while {condition_text(loop.get('condition'))}" + _limit(loop.get("max_iterations"))
        key = f"{graph.ids[source]}:{graph.ids[target]}:loop"
        picture.lines.append(Line(key, source, target, "loop", label, backward=True))
    return picture


def _box(name: str, raw: dict[str, Json], state: Mapping[str, Json], mark: str) -> Box:
    kind = _text(raw.get("type"))
    title = _text(raw.get("name")) or name
    status = _text(state.get("status"))
    return Box(name, kind, shorten(title, 26), detail(kind, raw), badges(raw, state), status, mark)


def _line(graph: Graph, link: Link, marks: Mapping[str, str]) -> Line:
    kind, label = line_label(link, graph.raws[link.source], graph.ids[link.target])
    mark = marks.get(link.key, marks.get(link.key.rpartition(":")[0], ""))
    return Line(link.key, link.source, link.target, kind, label, mark)


def _marks(diff: Mapping[str, Json] | None) -> dict[str, str]:
    """Node id or edge key -> what happened to it. Entries are ids and keys, or pointers /nodes/<id>, /edges/<key>."""
    found: dict[str, str] = {}
    for what in ("removed", "changed", "added"):
        listed: Json = (diff or {}).get(what)
        for entry in map(str, listed if isinstance(listed, list) else []):
            parts = entry.split("/")
            found[parts[2] if len(parts) > 2 else entry] = what
    return found


def _title(document: Mapping[str, Json], run: Mapping[str, Json] | None) -> str:
    saved = _object((run or {}).get("workflow")).get("name")
    return shorten(_text(document.get("name")) or _text(saved) or "workflow", 60)


def _limit(value: Json) -> str:
    return f" · ≤ {value}" if isinstance(value, int) else ""


def _object(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""
