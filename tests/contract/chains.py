"""Chains of journal items for the contract tests."""

from __future__ import annotations

from chalicelib.engine.ports import JournalItem


def item(
    run: str = "r",
    no: int = 1,
    id: str = "",
    seq: int = 1,
    events: int = 1,
    prev: tuple[int, str] = (0, ""),
    text: str = "",
) -> JournalItem:
    """One item, with a text that names it."""
    id = id or f"c{no}"
    return JournalItem(run, no, id, seq, events, prev[0], prev[1], text or f'{{"commit":"{id}"}}')


def chain(
    run: str, *events: int, after: JournalItem | None = None, tag: str = "c", text: str = ""
) -> list[JournalItem]:
    """Items with so many events each, the first of the run or following `after`."""
    made: list[JournalItem] = []
    last = after
    for count in events:
        if last is None:
            last = item(run, 1, f"{tag}1", 1, count, text=text)
        else:
            no, seq = last.no + 1, last.seq + last.events
            last = item(run, no, f"{tag}{no}", seq, count, (last.seq, last.id), text=text)
        made.append(last)
    return made
