"""Maps: one token per item, counted in the run's `box`, which lets the next item begin (HAZARDS 32).

`map|<node>@scope#epoch` holds `next|done|failed|items|tolerated|first failed|pages`: the next item to begin, counts of
those that settled, and the artifact that lists the pages of the items.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.domain.commit import Draft, Emit, Event, SettledItem
from chalicelib.domain.failing import note_timeout, retried
from chalicelib.domain.ids import Token, bare
from chalicelib.domain.ir import Node, Plan
from chalicelib.domain.node_kinds import beginning
from chalicelib.domain.outcome import Moment, Outcome, event_data, value_record

Json = Any
#: Items that are outstanding at a time where the map does not say.
DEFAULT_OPEN = 1000
#: Most items outstanding at a time: each is a token, and what looks at all tokens of a run stays quick.
MAX_OPEN = 5000
#: Items that one commit begins; more are begun by `$fan` tokens.
PART = 100
#: No item has failed yet.
NONE = -1
_PERCENT = re.compile(r"(100|[0-9]{1,2})%")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a map is."""

    next: int
    done: int
    failed: int
    items: int
    tolerated: int
    first_failed: int
    pages: str

    @property
    def text(self) -> str:
        """As it is kept."""
        numbers = (self.next, self.done, self.failed, self.items, self.tolerated, self.first_failed)
        return "|".join((*map(str, numbers), self.pages))

    @property
    def over(self) -> bool:
        """Whether the map has nothing more to wait for: all items are settled, or too many have failed."""
        return self.failed > self.tolerated or self.done + self.failed >= self.items


def parse_progress(text: str) -> Progress:
    """Read what is kept of a map."""
    begun, done, failed, items, bearable, first, pages = text.split("|", 6)
    return Progress(int(begun), int(done), int(failed), int(items), int(bearable), int(first), pages)


def map_token(token: Token) -> Token:
    """The map's own token, from an item's or a timer's. A map is not retried: its attempt is the first."""
    return replace(token, node=bare(token.node), index=None, attempt=1)


def progress_field(token: Token) -> str:
    """Where the progress of a map is kept, from its token or an item's."""
    return f"map|{map_token(token).value_key}"


def tolerated(value: Json, items: int) -> int:
    """Failures that a map of so many items bears: a count, or a share such as "10%". Raises ValueError."""
    if value is None:
        return 0
    share = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if share:
        return items * int(share[1]) // 100
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError(f'tolerate_failures is {value!r}; it must be a number of items, or a share such as "10%".')


def window(value: Json) -> int:
    """Items that may be outstanding at a time. Raises ValueError."""
    if value is None:
        return DEFAULT_OPEN
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"max_concurrency is {value!r}; it must be a number of at least 1.")
    return min(value, MAX_OPEN)


def begin_draft(node: Node, token: Token, data: dict[str, Json]) -> Draft:
    """Settle `$arm:<map>`: the map waits for its items, and the first of them begin.

    `data` is {"items": how many, "pages": artifact, "window": at a time, "tolerated": failures}.
    """
    attempt = map_token(token)
    first = min(data["window"], data["items"])
    state = Progress(first, 0, 0, data["items"], data["tolerated"], NONE, data["pages"])
    draft = Draft(settle=token, emits=[Emit(attempt, "h", data)])
    draft.put.append(("box", progress_field(attempt), state.text))
    if first <= PART:
        draft.emits += [item_emit(node, attempt, index) for index in range(first)]
        return draft
    for start in range(0, first, PART):
        fan = replace(attempt, node=f"$fan:{node.id}", index=start)  # named as an item is: it ends with its map
        draft.emits.append(Emit(fan, "i", {"map": node.id, "from": start, "to": min(start + PART, first)}))
    return draft


def item_emit(node: Node, token: Token, index: int) -> Emit:
    """The token of one item's first attempt. `token` is of the map."""
    assert node.body is not None
    return beginning(node.body, Token(node.id, token.scope, index, token.epoch))


def settle_item(plan: Plan, token: Token, outcome: Outcome, moment: Moment) -> Draft:
    """Decide a finished attempt at one item: try it again, or count it."""
    node = plan.nodes[token.node]
    assert node.body is not None
    error = outcome.error
    if error is not None:
        again = retried(node.body, token, outcome, moment)
        if again is not None:
            return note_timeout(again, token, outcome)
    status = "COMPLETED" if error is None else "FAILED"
    draft = Draft(settle=token, status=status, error=error)
    draft.values.append((token, value_record(status, token, outcome)))
    data = event_data(outcome) if error is None else {"error": error}
    draft.events.append(Event("node_completed" if error is None else "node_failed", token, data, outcome.job))
    first = item_emit(node, token, 0)
    draft.settled_items.append(
        SettledItem(progress_field(token), error is None, map_token(token), first, token.index or 0)
    )
    return note_timeout(draft, token, outcome)
