"""Writes the picture of a workflow as SVG text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from typing import Any

from infra.draw import palette
from infra.draw.collapse import collapse
from infra.draw.coordinates import label_width, place
from infra.draw.layers import build_grid, set_layers
from infra.draw.picture import Box, Picture, read
from infra.draw.routes import LABEL_H, Route, Router

Json = Any

#: What XML cannot hold, not even escaped, and what turns the direction of text.
_NOT_XML = re.compile("[\u202a-\u202e\u2066-\u2069]|[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: Pixels that the heading needs.
MIN_WIDTH = 360.0
_STATUS_W = 6.6


def draw(
    document: Mapping[str, Json], run: Mapping[str, Json] | None = None, *, diff: Mapping[str, Json] | None = None
) -> str:
    """An SVG picture of a workflow document, left to right.

    `run` is a run as `GET /runs/{id}` answers it: its node states colour the boxes. `diff` has lists of node ids and
    edge keys under `added`, `changed` and `removed`: they are marked. Documents that do not compile are drawn as far as
    they make sense; above 500 nodes, like branches are drawn once with their number.
    """
    picture = read(document, run, diff)
    set_layers(picture)
    picture = collapse(picture)
    grid = build_grid(picture)
    router = Router(picture, grid, place(picture, grid))
    routes = router.routes()
    return "\n".join(_svg(picture, routes, router.size())) + "\n"


def _svg(picture: Picture, routes: list[Route], size: tuple[float, float]) -> Iterator[str]:
    width, height = max(size[0], MIN_WIDTH), max(size[1], 120.0)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.1f} {height:.1f}" role="img" aria-labelledby="title desc" '
        'font-family="ui-sans-serif, system-ui, sans-serif">'
    )
    yield f'<title id="title">{_escape(picture.title)}</title>'
    yield f'<desc id="desc">{_escape(_description(picture))}</desc>'
    yield (
        f'<rect x="0.5" y="0.5" width="{width - 1:.1f}" height="{height - 1:.1f}" rx="14" '
        f'fill="{palette.PAGE}" stroke="{palette.OUTLINE}"/>'
    )
    yield from _heading(picture)
    dimmed = {number for number, box in enumerate(picture.boxes) if box.status == "SKIPPED"}
    for route in routes:
        yield from _edge(picture, route, faint=bool({route.line.source, route.line.target} & dimmed))
    for box in picture.boxes:
        yield from _node(box)
    for route in routes:
        if route.line.label:
            yield from _label(route)
    yield "</svg>"


def _description(picture: Picture) -> str:
    nodes = sum(box.count for box in picture.boxes)
    said = f"Workflow with {nodes} nodes and {sum(line.count for line in picture.lines)} edges."
    return f"{said} Run {picture.run_id} is {picture.status}." if picture.status else said


def _heading(picture: Picture) -> Iterator[str]:
    yield f'<text x="28" y="38" font-size="17" font-weight="700" fill="{palette.INK}">{_escape(picture.title)}</text>'
    if picture.status:
        x = 28 + len(picture.title) * 9.6 + 16
        yield from _pill(x, 26.0, picture.status, palette.STATES.get(picture.status, (palette.UNKNOWN, ""))[0])


def _pill(x: float, y: float, text: str, colour: str) -> Iterator[str]:
    width = len(text) * _STATUS_W + 16
    yield f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="16" rx="8" fill="{colour}"/>'
    yield (
        f'<text x="{x + width / 2:.1f}" y="{y + 11.5:.1f}" font-size="9.5" font-weight="700" letter-spacing="0.4" '
        f'text-anchor="middle" fill="#ffffff">{_escape(text)}</text>'
    )


def _edge(picture: Picture, route: Route, *, faint: bool) -> Iterator[str]:
    line = route.line
    colour, dashes = palette.EDGES.get(line.kind, palette.EDGES["success"])
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    weight = 3.0 if line.count > 1 else 1.6
    ends = f"{picture.boxes[line.source].id} to {picture.boxes[line.target].id}"
    yield f'<g class="edge {line.kind}" data-key="{_escape(line.key)}"{" opacity=" + repr(".4") if faint else ""}>'
    yield f"<title>{_escape(f'{ends}: {line.label or line.kind}')}</title>"
    if line.mark in palette.MARKS:
        yield f'<path d="{route.path}" fill="none" stroke="{palette.MARKS[line.mark]}" stroke-width="6" opacity=".25"/>'
    yield (
        f'<path d="{route.path}" fill="none" stroke="{colour}" stroke-width="{weight}"{dash}/>'
        f'<path d="{route.head}" fill="{colour}"/></g>'
    )


def _label(route: Route) -> Iterator[str]:
    (x, y), text = route.label, route.line.label
    width = label_width(text)
    colour = palette.EDGES.get(route.line.kind, palette.EDGES["success"])[0]
    ink = palette.DIM if colour == palette.EDGE else colour
    yield (
        f'<rect class="label" x="{x - width / 2:.1f}" y="{y - LABEL_H / 2:.1f}" width="{width:.1f}" '
        f'height="{LABEL_H:.1f}" rx="5" fill="{palette.PAGE}" stroke="{palette.OUTLINE}" stroke-width="0.8"/>'
    )
    yield (
        f'<text x="{x:.1f}" y="{y + 3.5:.1f}" font-size="10" font-family="ui-monospace, monospace" '
        f'text-anchor="middle" fill="{ink}">{_escape(text)}</text>'
    )


def _node(box: Box) -> Iterator[str]:
    colour = palette.TYPES.get(box.type, palette.UNKNOWN)
    strong, pale = palette.STATES.get(box.status, (palette.OUTLINE, palette.PAPER))
    faint = ' opacity=".6"' if box.status == "SKIPPED" else ""
    yield f'<g class="node" data-id="{_escape(box.id)}" data-status="{_escape(box.status)}"{faint}>'
    yield f"<title>{_escape(f'{box.id} ({box.detail}) {box.status}'.strip())}</title>"
    if box.count > 1:
        yield _rect(box, 5.0, palette.PAPER, palette.OUTLINE, 1.2)
    yield _rect(box, 0.0, pale, strong, 1.8 if box.status else 1.2, kind="box")
    if box.mark in palette.MARKS:
        yield (
            f'<rect x="{box.x - 5:.1f}" y="{box.y - 5:.1f}" width="{box.w + 10:.1f}" height="{box.h + 10:.1f}" rx="15" '
            f'fill="none" stroke="{palette.MARKS[box.mark]}" stroke-width="2" stroke-dasharray="5 3"/>'
        )
    yield (
        f'<rect x="{box.x + 10:.1f}" y="{box.y + box.h / 2 - 15:.1f}" width="30" height="30" rx="9" fill="{colour}"/>'
        f'<path transform="translate({box.x + 17:.1f} {box.y + box.h / 2 - 8:.1f})" d="'
        f'{palette.ICONS.get(box.type, palette.UNKNOWN_ICON)}" fill="none" stroke="#ffffff" stroke-width="1.5" '
        'stroke-linecap="round" stroke-linejoin="round"/>'
    )
    yield _text(box.x + 48, box.y + 23, 13.5, palette.INK, box.title, ' font-weight="600"')
    yield _text(box.x + 48, box.y + 39.5, 10.5, palette.DIM, box.detail)
    yield from _marks(box, strong)
    yield "</g>"


def _rect(box: Box, shift: float, fill: str, stroke: str, weight: float, kind: str = "behind") -> str:
    return (
        f'<rect class="{kind}" x="{box.x + shift:.1f}" y="{box.y + shift:.1f}" width="{box.w:.1f}" '
        f'height="{box.h:.1f}" rx="11" fill="{fill}" stroke="{stroke}" stroke-width="{weight}"/>'
    )


def _marks(box: Box, strong: str) -> Iterator[str]:
    """The badges in a row of their own, and the status on the box's upper right edge."""
    if box.status and box.status != "PENDING":
        width = len(box.status) * _STATUS_W + 16
        yield from _pill(box.x + box.w - width - 8, box.y - 9, box.status, strong)
    text = " · ".join(box.badges)
    if text:
        yield _text(box.x + 48, box.y + 54, 9.5, palette.DIM, text)


def _text(x: float, y: float, size: float, colour: str, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}"{more}>{_escape(text)}</text>'


def _escape(text: str) -> str:
    return html.escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))
