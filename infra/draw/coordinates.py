"""Gives every box and way point its pixels: columns side by side, places near what they are joined to."""

from __future__ import annotations

from collections.abc import Sequence

from infra.draw.layers import Grid
from infra.draw.picture import Picture

#: Pixels: box height, a further row in it, space between places of a column, height of a way point, margins, header.
BOX_H, ROW_H, SPACE, WAY_H, MARGIN, HEADER = 52.0, 14.0, 26.0, 8.0, 36.0, 52.0
#: Pixels between columns without labels, and around a label.
GAP, AROUND_LABEL = 46.0, 34.0
#: Pixels per character of the rows of a box, and of a label.
TITLE_W, DETAIL_W, BADGE_W, LABEL_W = 8.8, 5.8, 5.2, 6.2
#: Pixels beside the text of a box; a box's least and greatest width.
ICON_W, NARROW, WIDE = 58.0, 104.0, 240.0
#: How much harder a way point pulls to its wish than a box: long lines run straight.
WAY_PULL = 4.0
#: Times that all columns are aligned with their neighbours.
ALIGNMENTS = 10


def place(picture: Picture, grid: Grid) -> list[tuple[float, float, float]]:
    """Set x, y, w, h of all boxes; the answer has, per place, its column's left and right, and its middle y."""
    for box in picture.boxes:
        rows = ((box.title, TITLE_W), (box.detail, DETAIL_W), (" · ".join(box.badges), BADGE_W))
        widest = max(len(text) * width for text, width in rows)
        box.w = round(min(WIDE, max(NARROW, widest + ICON_W)), 1)
        box.h = BOX_H + (ROW_H if box.badges else 0.0)
    middles = _middles(picture, grid)
    spans = _columns(picture, grid)
    places = [(0.0, 0.0, 0.0)] * len(grid.before)
    for column, (left, width) in zip(grid.columns, spans, strict=True):
        for item in column:
            places[item] = (left, left + width, middles[item])
            if item < len(picture.boxes):
                box = picture.boxes[item]
                box.x, box.y = round(left + (width - box.w) / 2, 1), round(middles[item] - box.h / 2, 1)
    return places


def label_width(label: str) -> float:
    """Pixels that a label takes."""
    return len(label) * LABEL_W + 10.0 if label else 0.0


def _columns(picture: Picture, grid: Grid) -> list[tuple[float, float]]:
    """(left, width) of each column; the gap behind a column has room for the labels in it."""
    gaps = [GAP] * len(grid.columns)
    for line in picture.lines:
        if not line.backward and line.label:
            layer = picture.boxes[line.source].layer
            gaps[layer] = max(gaps[layer], label_width(line.label) + AROUND_LABEL)
    least = [0.0] * len(grid.columns)
    for line in picture.lines:
        if line.source == line.target:
            layer = picture.boxes[line.source].layer
            least[layer] = max(least[layer], label_width(line.label))
    found, left = [], MARGIN
    for layer, column in enumerate(grid.columns):
        width = max((picture.boxes[item].w for item in column if item < len(picture.boxes)), default=0.0)
        width = max(width, least[layer])
        found.append((left, width))
        left += width + gaps[layer]
    return found


def _middles(picture: Picture, grid: Grid) -> list[float]:
    ways = len(grid.before) - len(picture.boxes)
    heights = [box.h for box in picture.boxes] + [WAY_H] * ways
    pulls = [1.0] * len(picture.boxes) + [WAY_PULL] * ways
    middles = [0.0] * len(heights)
    for column in grid.columns:
        _settle(column, [0.0] * len(column), pulls, heights, middles)
    for turn in range(ALIGNMENTS):
        there = turn % 2 == 0
        near = grid.before if there else grid.after
        for column in grid.columns if there else reversed(grid.columns):
            _settle(column, [_wish(item, near[item], middles) for item in column], pulls, heights, middles)
    top = min((middles[item] - heights[item] / 2 for column in grid.columns for item in column), default=0.0)
    return [round(middle - top + MARGIN / 2 + HEADER, 1) for middle in middles]


def _wish(item: int, near: Sequence[int], middles: Sequence[float]) -> float:
    return sum(middles[other] for other in near) / len(near) if near else middles[item]


def _settle(
    column: Sequence[int],
    wishes: Sequence[float],
    pulls: Sequence[float],
    heights: Sequence[float],
    middles: list[float],
) -> None:
    """Least squares from the wishes, in order and without overlap: pooled adjacent violators."""
    blocks: list[tuple[float, float, int]] = []
    offset, offsets = 0.0, []
    for number, item in enumerate(column):
        if number:
            offset += (heights[column[number - 1]] + heights[item]) / 2 + SPACE
        offsets.append(offset)
        block = (wishes[number] - offset, pulls[item], 1)
        while blocks and blocks[-1][0] > block[0]:
            mean, pull, size = blocks.pop()
            total = pull + block[1]
            block = ((mean * pull + block[0] * block[1]) / total, total, size + block[2])
        blocks.append(block)
    flat = [mean for mean, _, size in blocks for _ in range(size)]
    for item, base, shift in zip(column, flat, offsets, strict=True):
        middles[item] = base + shift
