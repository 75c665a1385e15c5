"""Sorts boxes into columns and orders each column so that few lines cross."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from infra.draw.picture import Line, Picture

#: Way points of long lines in one drawing; beyond, long lines run straight, so that work stays bounded.
MAX_WAYPOINTS = 20_000
#: Times that all columns are put in order, there and back.
SWEEPS = 6


@dataclass(slots=True)
class Grid:
    """Columns of places. Places 0..n-1 are the boxes; the others are way points of lines that cross a column."""

    columns: list[list[int]]
    #: Neighbours of each place in earlier and in later columns.
    before: list[list[int]]
    after: list[list[int]]
    #: Way points of each line, by its position in `Picture.lines`.
    ways: dict[int, list[int]] = field(default_factory=dict)


def set_layers(picture: Picture) -> None:
    """Give each box its column: one after the last of those that lead to it. Lines that close a cycle turn backward."""
    boxes, outs = picture.boxes, _outgoing(picture)
    waiting = [0] * len(boxes)
    for lines in outs:
        for line in lines:
            waiting[line.target] += 1
    ready = deque(place for place, count in enumerate(waiting) if not count)
    done = [False] * len(boxes)
    fresh = iter(range(len(boxes)))
    for _ in boxes:
        place = ready.popleft() if ready else next(item for item in fresh if not done[item])
        done[place] = True
        for line in outs[place]:
            _pass_on(picture, line, done, waiting, ready)


def _pass_on(picture: Picture, line: Line, done: list[bool], waiting: list[int], ready: deque[int]) -> None:
    if done[line.target]:
        line.backward, line.kind = True, "cycle"
        return
    target = picture.boxes[line.target]
    target.layer = max(target.layer, picture.boxes[line.source].layer + 1)
    waiting[line.target] -= 1
    if not waiting[line.target]:
        ready.append(line.target)


def _outgoing(picture: Picture) -> list[list[Line]]:
    outs: list[list[Line]] = [[] for _ in picture.boxes]
    for line in picture.lines:
        if not line.backward:
            outs[line.source].append(line)
    return outs


def build_grid(picture: Picture) -> Grid:
    """The columns of a picture whose boxes have layers, in an order with few crossings."""
    last = max((box.layer for box in picture.boxes), default=0)
    grid = Grid([[] for _ in range(last + 1)], [], [])
    for place, box in enumerate(picture.boxes):
        grid.columns[box.layer].append(place)
        grid.before.append([])
        grid.after.append([])
    forward = [(number, line) for number, line in enumerate(picture.lines) if not line.backward]
    spans = sum(picture.boxes[line.target].layer - picture.boxes[line.source].layer - 1 for _, line in forward)
    for number, line in forward:
        _thread(picture, grid, number, line, with_ways=spans <= MAX_WAYPOINTS)
    _order(grid)
    return grid


def _thread(picture: Picture, grid: Grid, number: int, line: Line, *, with_ways: bool) -> None:
    place = line.source
    ways: list[int] = []
    layers = range(picture.boxes[line.source].layer + 1, picture.boxes[line.target].layer)
    for layer in layers if with_ways else ():
        way = len(grid.before)
        grid.before.append([place])
        grid.after.append([])
        grid.after[place].append(way)
        grid.columns[layer].append(way)
        ways.append(way)
        place = way
    grid.after[place].append(line.target)
    grid.before[line.target].append(place)
    grid.ways[number] = ways


def _order(grid: Grid) -> None:
    """Barycentre sweeps; the best order seen is kept."""
    rank = [0.0] * len(grid.before)
    for column in grid.columns:
        _number(column, rank)
    best, fewest = [list(column) for column in grid.columns], _crossings(grid, rank)
    for sweep in range(SWEEPS if fewest else 0):
        there = sweep % 2 == 0
        near = grid.before if there else grid.after
        for column in grid.columns if there else reversed(grid.columns):
            column.sort(key=lambda place: _mean([rank[item] for item in near[place]], rank[place]))
            _number(column, rank)
        crossings = _crossings(grid, rank)
        if crossings < fewest:
            best, fewest = [list(column) for column in grid.columns], crossings
    grid.columns = best


def _number(column: Sequence[int], rank: list[float]) -> None:
    size = max(1, len(column) - 1)
    for position, place in enumerate(column):
        rank[place] = position / size if len(column) > 1 else 0.5


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _crossings(grid: Grid, rank: list[float]) -> int:
    """Crossings of lines between neighbouring columns, counted with a Fenwick tree: n log n."""
    total = 0
    for column in grid.columns[:-1]:
        ends = [end for place in column for end in sorted(grid.after[place], key=lambda item: rank[item])]
        total += _inversions([rank[end] for end in ends])
    return total


def _inversions(values: Sequence[float]) -> int:
    index = {value: number for number, value in enumerate(sorted(set(values)), 1)}
    tree = [0] * (len(index) + 1)
    total = 0
    for seen, value in enumerate(values):
        at = index[value]
        smaller, walk = 0, at
        while walk:
            smaller += tree[walk]
            walk &= walk - 1
        total += seen - smaller
        walk = at
        while walk < len(tree):
            tree[walk] += 1
            walk += walk & -walk
    return total
