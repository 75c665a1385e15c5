"""The error that ends a command, and the exit codes of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Json = Any

OK, FAILED_RUN, USAGE, SERVER_ERROR = 0, 1, 2, 3
#: As shells count it: 128 and the number of SIGINT.
INTERRUPTED = 130


class CliError(Exception):
    """Ends the command: a sentence with the way out, the precise findings, and the exit code."""

    def __init__(
        self, message: str, code: int = USAGE, *, problems: Sequence[Mapping[str, Json]] = (), status: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        #: Each with `code`, `path` and `message`, as in SPEC 8.
        self.problems = tuple(problems)
        #: HTTP status, where a server said so.
        self.status = status

    def as_json(self) -> dict[str, Json]:
        """The error as `--json` prints it."""
        found: dict[str, Json] = {"error": self.message, "errors": list(self.problems)}
        return found if self.status is None else {**found, "status": self.status}
