"""What an attempt used, as its metadata says: added to the run by the commit that settles the attempt.

Of a call it is what the whole child run used, its own children included, as the child's last commit found it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from chalicelib.domain.commit import Draft
from chalicelib.domain.ids import Token

Json = Any
#: Meta fields: tokens, and billionths of a USD, since whole numbers add up to the same whatever the order.
TOKENS, NANO_USD = "tokens", "nano_usd"
#: Above these a worker's claim is not believed.
MAX_TOKENS, MAX_USD = 10**12, 10**3
_REF = re.compile(r"artifact://sha256/[0-9a-f]{64}")


def used(draft: Draft, token: Token, metadata: Mapping[str, Json], *, counted: bool = False) -> Draft:
    """`draft` with what the attempt used, and where its transcript is, failed or not.

    `counted`: the metadata is the engine's own (`run_metadata`), and is taken as it is.
    """
    tokens, usd = metadata.get("tokens_used"), metadata.get("usd")
    most = (math.inf, math.inf) if counted else (MAX_TOKENS, MAX_USD)
    draft.add |= {TOKENS: int(_believed(tokens, most[0])), NANO_USD: round(_believed(usd, most[1]) * 1e9)}
    transcript = metadata.get("transcript")
    if isinstance(transcript, str) and _REF.fullmatch(transcript):
        draft.put.append(("box", transcript_field(token), transcript))
    return draft


def transcript_field(token: Token) -> str:
    """Where the run's `box` has the id of an attempt's transcript."""
    return f"transcript|{token.text}"


def run_metadata(tokens: int, nano_usd: int) -> dict[str, Json]:
    """What a whole run used, in the form in which attempts say it; {} where it used nothing."""
    return {"tokens_used": tokens, "usd": nano_usd / 1e9} if tokens or nano_usd else {}


def usage(meta: Mapping[str, str]) -> dict[str, Json]:
    """A run's usage as it is shown."""
    return {"tokens": int(meta.get(TOKENS) or 0), "usd": int(meta.get(NANO_USD) or 0) / 1e9}


def _believed(value: Json, most: float) -> float:
    """`value` where it is a number from 0 to `most`, else 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return value if 0 < value <= most else 0
