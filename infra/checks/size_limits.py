"""Refuses source files that are longer than they should be."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Limit:
    """Files under `folder` that end in `suffix` have at most `lines` lines."""

    folder: str
    suffix: str
    lines: int


#: The first that fits a file holds for it.
LIMITS = (
    Limit("chalicelib/domain", ".py", 200),
    Limit("chalicelib", ".lua", 120),
    Limit("chalicelib", ".py", 300),
    Limit("infra", ".py", 300),
)

#: Files that may be longer, with their length: this list only shrinks, and so do the numbers in it.
EXCEPTIONS: dict[str, int] = {}


def findings(root: Path = ROOT, exceptions: dict[str, int] | None = None) -> Iterator[str]:
    """A sentence for each file over its limit, and for each exception that is not needed any more."""
    allowed = EXCEPTIONS if exceptions is None else exceptions
    seen: set[Path] = set()
    for limit in LIMITS:
        for path in sorted((root / limit.folder).rglob(f"*{limit.suffix}")):
            if path in seen:
                continue
            seen.add(path)
            name = path.relative_to(root).as_posix()
            length = len(path.read_text(encoding="utf-8").splitlines())
            if length > max(limit.lines, allowed.get(name, 0)):
                yield f"{name} has {length} lines; at most {allowed.get(name, limit.lines)}. Split it by subject."
            elif name in allowed and length < allowed[name]:
                yield f"{name} has {length} lines now; lower or remove its exception of {allowed[name]}."
    for name in sorted(allowed):
        if root / name not in seen:
            yield f"{name} is not there any more; remove its exception."


def main() -> int:
    """Print the findings; 1 when there are any."""
    found = list(findings())
    for sentence in found:
        print(sentence)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
