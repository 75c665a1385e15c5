"""Finds the way of every line: curves from column to column, arcs below for what leads back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from infra.draw.coordinates import MARGIN, label_width
from infra.draw.layers import Grid
from infra.draw.picture import Box, Line, Picture

#: Pixels: what an arrowhead takes, distance of two lines between the same boxes, of arcs, height of a label, roundness.
HEAD, APART, LANE, LABEL_H, ROUND = 7.0, 16.0, 30.0, 16.0, 10.0
#: Where along its curve a label may stand, best first.
ALONG = (0.5, 0.38, 0.62, 0.28, 0.72)

Place = tuple[float, float, float]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Route:
    """A line's SVG path data, its arrowhead's, and the middle of its label."""

    line: Line
    path: str
    head: str
    label: Point


class Router:
    """Routes all lines of one picture."""

    def __init__(self, picture: Picture, grid: Grid, places: Sequence[Place]) -> None:
        self._picture, self._grid, self._places = picture, grid, places
        #: Label rectangles taken so far, by column: (left, right, middle y).
        self._taken: dict[int, list[tuple[float, float, float]]] = {}
        self._bottoms = [max((self._bottom(item) for item in column), default=0.0) for column in grid.columns]
        self._shifts = _shifts(picture.lines)

    def routes(self) -> list[Route]:
        """One per line, in the picture's order of lines."""
        found: dict[int, Route] = {}
        for number, line in enumerate(self._picture.lines):
            if not line.backward:
                found[number] = self._forward(number, line)
        back = [number for number, line in enumerate(self._picture.lines) if line.backward]
        for number in sorted(back, key=self._span):
            found[number] = self._backward(self._picture.lines[number])
        return [found[number] for number in range(len(self._picture.lines))]

    def size(self) -> tuple[float, float]:
        """Width and height in pixels of what has been routed, margins included."""
        right = max((right for _, right, _ in self._places), default=0.0)
        bottom = max(self._bottoms, default=0.0)
        arcs = any(line.backward for line in self._picture.lines)
        return right + MARGIN, bottom + (LABEL_H if arcs else 0.0) + MARGIN / 2

    def _bottom(self, item: int) -> float:
        boxes = self._picture.boxes
        return self._places[item][2] + (boxes[item].h / 2 if item < len(boxes) else 4.0)

    def _span(self, number: int) -> tuple[int, int]:
        line, boxes = self._picture.lines[number], self._picture.boxes
        return boxes[line.source].layer - boxes[line.target].layer, number

    def _forward(self, number: int, line: Line) -> Route:
        source, target = self._picture.boxes[line.source], self._picture.boxes[line.target]
        shift = self._shifts[number]
        stops = [self._places[item] for item in (line.source, *self._grid.ways[number], line.target)]
        stops[0] = (stops[0][0], stops[0][1], stops[0][2] + shift)
        stops[-1] = (stops[-1][0], stops[-1][1], stops[-1][2] + shift)
        parts = [f"M{source.x + source.w:.1f} {stops[0][2]:.1f}"]
        for (_, x0, y0), (x1, _, y1) in pairwise(stops):
            middle = (x0 + x1) / 2
            parts.append(f"H{x0:.1f}C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}")
        parts.append(f"H{target.x - HEAD:.1f}")
        label = self._label_place(line, source.layer, stops[0], stops[1])
        return Route(line, "".join(parts), _pointing_right(target.x, stops[-1][2]), label)

    def _label_place(self, line: Line, layer: int, start: Place, end: Place) -> Point:
        """The first spot on the first curve that no other label holds; the middle if there is none."""
        if not line.label:
            return 0.0, 0.0
        taken, half = self._taken.setdefault(layer, []), label_width(line.label) / 2
        spots = [_on_curve(along, (start[1], start[2]), (end[0], end[2])) for along in ALONG]
        spots = [(min(max(x, start[1] + half + 4), end[0] - half - 10), y) for x, y in spots]
        free = (spot for spot in spots if not any(_meet(spot, half, other) for other in taken[-200:]))
        x, y = next(free, spots[0])
        taken.append((x - half, x + half, y))
        return x, y

    def _backward(self, line: Line) -> Route:
        """Down, back below everything in between, and up again."""
        source, target = self._picture.boxes[line.source], self._picture.boxes[line.target]
        first, last = sorted((target.layer, source.layer))
        lane = max(self._bottoms[first : last + 1]) + LANE
        down, up = self._leg(line.source, source, right=True), self._leg(line.target, target, right=False)
        self._bottoms[first : last + 1] = [lane + LABEL_H / 2] * (last - first + 1)
        points = [*down, (down[-1][0], lane), (up[-1][0], lane), *reversed(up)]
        foot = target.y + target.h
        head = _pointing_up(up[0][0], foot) if len(up) == 1 else _pointing_right(target.x, up[0][1])
        return Route(line, rounded(points), head, ((down[-1][0] + up[-1][0]) / 2, lane))

    def _leg(self, item: int, box: Box, *, right: bool) -> list[Point]:
        """Where an arc leaves or enters a box: at its bottom, or beside its column when something lies below."""
        left_x, right_x, middle = self._places[item]
        foot = box.y + box.h
        if self._bottoms[box.layer] <= foot + 1:
            inset = min(26.0, box.w / 4)
            return [(box.x + box.w - inset if right else box.x + inset, foot + (0.0 if right else HEAD))]
        if right:
            return [(box.x + box.w, middle + 14.0), (right_x + 14.0, middle + 14.0)]
        return [(box.x - HEAD, middle + 14.0), (left_x - 20.0, middle + 14.0)]


def _shifts(lines: Sequence[Line]) -> list[float]:
    """Distances from the middle that keep lines between the same two boxes apart."""
    same: dict[tuple[int, int], list[int]] = {}
    for number, line in enumerate(lines):
        if not line.backward:
            same.setdefault((line.source, line.target), []).append(number)
    shifts = [0.0] * len(lines)
    for numbers in same.values():
        for position, number in enumerate(numbers):
            shifts[number] = (position - (len(numbers) - 1) / 2) * APART
    return shifts


def _pointing_right(x: float, y: float) -> str:
    return f"M{x - HEAD:.1f} {y - 3.5:.1f}L{x:.1f} {y:.1f}L{x - HEAD:.1f} {y + 3.5:.1f}z"


def _pointing_up(x: float, y: float) -> str:
    return f"M{x - 3.5:.1f} {y + HEAD:.1f}L{x:.1f} {y:.1f}L{x + 3.5:.1f} {y + HEAD:.1f}z"


def _on_curve(along: float, start: Point, end: Point) -> Point:
    rest = 1 - along
    ease = 3 * rest * along * along + along**3
    x = start[0] + (end[0] - start[0]) * (1.5 * rest * rest * along + 1.5 * rest * along * along + along**3)
    return x, start[1] + (end[1] - start[1]) * ease


def _meet(spot: Point, half: float, other: tuple[float, float, float]) -> bool:
    return abs(spot[1] - other[2]) < LABEL_H and spot[0] - half < other[1] and spot[0] + half > other[0]


def rounded(points: Sequence[Point]) -> str:
    """Path data of a line through points, its corners rounded."""
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for before, corner, after in zip(points[:-2], points[1:-1], points[2:], strict=True):
        (x0, y0), (x1, y1) = _towards(corner, before), _towards(corner, after)
        parts.append(f"L{x0:.1f} {y0:.1f}Q{corner[0]:.1f} {corner[1]:.1f} {x1:.1f} {y1:.1f}")
    parts.append(f"L{points[-1][0]:.1f} {points[-1][1]:.1f}")
    return "".join(parts)


def _towards(corner: Point, other: Point) -> Point:
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = max(1e-6, (dx * dx + dy * dy) ** 0.5)
    reach = min(ROUND, length / 2) / length
    return corner[0] + dx * reach, corner[1] + dy * reach
