"""Merges the like branches of wide fan-outs, so that a huge workflow gives a picture one can look at."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from infra.draw.picture import Box, Line, Picture

#: Boxes up to which every node is drawn on its own.
FULL = 500
#: Rounds of comparing boxes by their neighbours: branches up to this long are told apart.
ROUNDS = 8


def collapse(picture: Picture) -> Picture:
    """A picture in which boxes of the same column, look and neighbours are one, saying how many it stands for."""
    if len(picture.boxes) <= FULL:
        return picture
    groups = _groups(picture)
    first: dict[int, int] = {}
    boxes: list[Box] = []
    for place, group in enumerate(groups):
        if group in first:
            boxes[first[group]].count += 1
        else:
            first[group] = len(boxes)
            boxes.append(picture.boxes[place])
    for box in boxes:
        if box.count > 1:
            box.title = f"{box.title} × {box.count:,}"
    at = [first[group] for group in groups]
    return Picture(picture.title, picture.status, picture.run_id, boxes, _merge(picture.lines, at))


def _merge(lines: Sequence[Line], at: Sequence[int]) -> list[Line]:
    merged: dict[Hashable, Line] = {}
    for line in lines:
        source, target = at[line.source], at[line.target]
        like = (source, target, line.kind, line.label, line.backward)
        if like in merged:
            merged[like].count += 1
        else:
            merged[like] = Line(line.key, source, target, line.kind, line.label, line.mark, 1, line.backward)
    return list(merged.values())


def _groups(picture: Picture) -> list[int]:
    """A number per box, equal for boxes that look alike and whose neighbours do, to a depth of ROUNDS."""
    colours = _numbered([(b.layer, b.type, b.detail, b.status, b.mark, b.badges) for b in picture.boxes])
    count = len(set(colours))
    for _ in range(ROUNDS):
        seen: list[set[Hashable]] = [set() for _ in picture.boxes]
        for line in picture.lines:
            seen[line.source].add((0, line.kind, line.label, colours[line.target]))
            seen[line.target].add((1, line.kind, line.label, colours[line.source]))
        colours = _numbered([(own, frozenset(near)) for own, near in zip(colours, seen, strict=True)])
        if len(set(colours)) == count:
            break
        count = len(set(colours))
    return colours


def _numbered(values: Sequence[Hashable]) -> list[int]:
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(value, len(numbers)) for value in values]
