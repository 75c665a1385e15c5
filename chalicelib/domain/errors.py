"""Every error Graft raises on purpose, as one tree.

GraftError
├── InvalidDocument      the workflow does not compile; carries every problem
├── InvalidInput         a request value breaks a rule (422)
├── NotFound             no such thing, or not this tenant's (404)
├── Conflict             the state does not allow it, or a stale revision (409)
├── TooLarge             a body or value past its limit (413)
├── Forbidden            the credential does not allow it (403)
├── Unauthorized         no valid credential (401)
├── Throttled            too many (429)
├── Unavailable          a part that Graft needs did not answer (503)
│   └── JournalRefused   the journal went on without what the store holds: the run is rebuilt
├── BadSignal            a queue message that can never be processed: to the dead letters
├── EvaluationError      an expression failed on these values
├── TemplateError        a template failed; names pointer and expression
├── TaskError            a worker failed the task (the error of SPEC 9)
└── ConfigurationError   the process refuses to start
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

Json = Any


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: a stable `code`, the JSON Pointer `path` it is at, and a sentence that says how to mend it."""

    code: str
    path: str
    message: str

    def as_json(self) -> dict[str, str]:
        """The wire form of SPEC 8: `{code, path, message}`."""
        return asdict(self)


class GraftError(Exception):
    """Base of all of them. `detail` is a sentence for the caller; `problems` are the precise findings."""

    def __init__(self, detail: str, problems: tuple[Problem, ...] = (), **extra: Json) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problems = problems
        #: Further members of the problem document, such as the current `revision`.
        self.extra = extra


class InvalidDocument(GraftError):
    """The workflow document does not compile."""


class InvalidInput(GraftError):
    """A request is well-formed JSON but breaks a rule."""


class NotFound(GraftError):
    """There is no such thing for this tenant."""


class Conflict(GraftError):
    """The present state refuses the request."""


class TooLarge(GraftError):
    """A body or value is past its limit."""


class Forbidden(GraftError):
    """The credential lacks the scope, or is bound to something else."""


class Unauthorized(GraftError):
    """No credential, or one that does not verify."""


class Throttled(GraftError):
    """A per-tenant cap is reached; try again later."""


class Unavailable(GraftError):
    """A store or queue did not answer; the same request may be sent again."""


class JournalRefused(Unavailable):
    """The journal holds another commit where the store's was to go: the store fell behind and moved on."""


class BadSignal(GraftError):
    """A message that no repetition can make processable."""


class EvaluationError(GraftError):
    """A CEL, JSONPath or schema condition failed on the values at hand."""


class TemplateError(GraftError):
    """A template failed; `problems[0]` names the pointer and the expression."""


class TaskError(GraftError):
    """A task failed. `type` is the error type retries match on; `retryable` False stops them."""

    def __init__(self, type: str, message: str, retryable: bool = True) -> None:
        super().__init__(message)
        self.type = type
        self.message = message
        self.retryable = retryable


class ConfigurationError(GraftError):
    """The deployment's settings are missing or wrong."""
