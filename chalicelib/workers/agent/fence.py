"""Marks text that came from outside as data, between tags that the text itself cannot hold."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

_TAG = re.compile(r"<(/?)(data-[0-9a-f]{12})")


@dataclass(frozen=True, slots=True)
class Fence:
    """The tags of one job; `name` cannot be known to whoever wrote the text."""

    name: str

    def around(self, text: str) -> str:
        """The text as data. What looks like these tags in it is broken."""
        return f"<{self.name}>\n{_broken(text)}\n</{self.name}>"

    def spans(self, text: str, spans: Sequence[Sequence[int]]) -> str:
        """`text` with the parts from `start` to `end` of each span as data."""
        out, at = [], 0
        for start, end in spans:
            out += [text[at:start], self.around(text[start:end])]
            at = end
        return "".join([*out, text[at:]])


def _broken(text: str) -> str:
    return _TAG.sub(r"‹\1\2", text)


def fence_of(job_id: str) -> Fence:
    """The fence of a job, the same for each of its deliveries. Job ids carry a MAC, so nobody can guess it."""
    return Fence("data-" + hashlib.sha256(f"fence\0{job_id}".encode()).hexdigest()[:12])
