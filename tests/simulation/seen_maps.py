"""What became of maps and their items in a world, in words: a check that the worlds meet what maps have to bear."""

from __future__ import annotations

from collections.abc import Iterator

from chalicelib.domain.ids import UNDO
from chalicelib.domain.journal import Item, parse_item
from tests.simulation.world import World

#: What some hundred worlds have to show. Rarer are: map timed out, map skipped, item undone, wide map.
WANTED = {
    "map COMPLETED", "map FAILED", "map CANCELLED", "map begun again", "window",
    "item COMPLETED", "item FAILED", "item RETRIED", "item CANCELLED", "item skipped",
}  # fmt: skip


def seen(world: World) -> set[str]:
    """The words that hold for this world."""
    words: set[str] = set()
    for chain in world.audit.chains.values():
        maps = chain.maps.begun
        words |= {"wide map" for data in maps.values() if data["items"] > 100}
        words |= {"window" for data in maps.values() if data["items"] > data["window"]}
        words |= {"map begun again" for key in maps if not key.endswith("#0")}
        for item in chain.items:
            words.update(_of_commit(parse_item(item.text), set(maps)))
    return words


def _of_commit(item: Item, maps: set[str]) -> Iterator[str]:
    text, status, error = item.body.get("settle") or ("", "", "")
    ends = [(text, status)] + [(token, "CANCELLED") for token in (*item.cancelled, *item.lost)]
    for token, how in ends:
        kind = "map" if token.rsplit(".", 1)[0] in maps else "item" if "[" in token and token[0] != "$" else ""
        yield f"{kind} {how}"
        if token == text and "skipped_by" in item.body.get("ev", ""):
            yield f"{kind} skipped"
        if token == text and '"Timeout"' in error:
            yield f"{kind} timed out"
    if any(UNDO in emit[0] and "[" in emit[0] for emit in item.body.get("emits", ())):
        yield "item undone"
