"""The one table from errors to HTTP answers, as RFC 9457 problem documents."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from chalicelib.domain.errors import (
    BadSignal,
    ConfigurationError,
    Conflict,
    EvaluationError,
    Forbidden,
    GraftError,
    InvalidDocument,
    InvalidInput,
    NotFound,
    TaskError,
    TemplateError,
    Throttled,
    TooLarge,
    Unauthorized,
    Unavailable,
)

Json = Any
CONTENT_TYPE: Final = "application/problem+json"


class Malformed(GraftError):
    """The body is not JSON (400)."""


class WrongMethod(GraftError):
    """The path exists, the method does not (405). `extra["allow"]` lists those that do."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How one class of errors is answered."""

    status: int
    slug: str
    title: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def type(self) -> str:
        """The URI that names the kind of problem."""
        return f"urn:graft:problem:{self.slug}"


KINDS: Final[dict[type[GraftError], Kind]] = {
    Malformed: Kind(400, "not-json", "The body is not JSON"),
    Unauthorized: Kind(401, "unauthorized", "A valid credential is needed", {"WWW-Authenticate": "Bearer"}),
    Forbidden: Kind(403, "forbidden", "The credential does not allow this"),
    NotFound: Kind(404, "not-found", "There is no such thing"),
    WrongMethod: Kind(405, "method-not-allowed", "The path does not take this method"),
    Conflict: Kind(409, "conflict", "The present state refuses this"),
    TooLarge: Kind(413, "too-large", "The body or a value is too large"),
    InvalidDocument: Kind(422, "invalid-workflow", "The workflow does not compile"),
    InvalidInput: Kind(422, "invalid-input", "The request breaks a rule"),
    BadSignal: Kind(422, "bad-signal", "The signal cannot be processed"),
    EvaluationError: Kind(422, "evaluation-failed", "An expression failed"),
    TemplateError: Kind(422, "template-failed", "A template failed"),
    TaskError: Kind(422, "task-failed", "The task failed"),
    Throttled: Kind(429, "throttled", "Too many at once", {"Retry-After": "1"}),
    Unavailable: Kind(503, "unavailable", "A part that Graft needs did not answer", {"Retry-After": "1"}),
    ConfigurationError: Kind(503, "misconfigured", "The deployment is not set up"),
}
INTERNAL: Final = Kind(500, "internal", "The request failed inside")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a route answers: JSON, or the HTML of `page`, or nothing where both are None."""

    body: Json = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    page: str | None = None

    @property
    def content_type(self) -> str:
        """Of the body."""
        if self.page is not None:
            return "text/html; charset=utf-8"
        return CONTENT_TYPE if self.status >= 400 else "application/json"


def kind_of(error: GraftError) -> Kind:
    """The row of the nearest class in the table."""
    for cls in type(error).__mro__:
        if cls in KINDS:
            return KINDS[cls]
    return INTERNAL


def refusal(error: GraftError) -> Answer:
    """The problem document of an error raised on purpose."""
    kind = kind_of(error)
    # A misconfigured deployment's details are for its log, not for its callers.
    detail = "See the log of the API." if isinstance(error, ConfigurationError) else error.detail
    headers = dict(kind.headers)
    extra = dict(error.extra)
    if "allow" in extra:
        headers["Allow"] = ", ".join(extra.pop("allow"))
    if "retry_after" in extra:
        headers["Retry-After"] = str(extra.pop("retry_after"))
    errors = [problem.as_json() for problem in error.problems]
    return Answer({**extra, **_document(kind, detail), "errors": errors}, kind.status, headers)


def failure(trace_id: str) -> Answer:
    """The problem document of an error nobody meant; the log has the rest under the trace id."""
    detail = f"The request failed inside. The log has the reason under the trace id {trace_id}."
    return Answer({**_document(INTERNAL, detail), "errors": [], "trace_id": trace_id}, INTERNAL.status)


def _document(kind: Kind, detail: str) -> dict[str, Json]:
    return {"type": kind.type, "title": kind.title, "status": kind.status, "detail": detail}
