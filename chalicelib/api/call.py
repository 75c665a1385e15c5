"""One request as a route sees it: who asks, for what, with which body."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qsl

from chalicelib.api.json_body import read_json
from chalicelib.api.problems import Malformed
from chalicelib.api.table import Route
from chalicelib.domain.errors import InvalidInput, NotFound, Problem, TooLarge
from chalicelib.domain.names import NAME_PATTERN
from chalicelib.engine.credentials import Claims, LinkClaims, TaskClaims
from chalicelib.engine.services import Services

Json = Any
#: What browsers send forms as.
FORM_TYPE: Final = "application/x-www-form-urlencoded"
_NAME = re.compile(NAME_PATTERN)
_UNREAD: Json = object()
_TAG = re.compile(r'(?:W/)?"(\d{1,9})"|(\d{1,9})')


@dataclass(slots=True)
class Call:
    """A request that may use its route. `claims` is None on public and callback routes."""

    services: Services
    route: Route
    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw: bytes
    claims: Claims | None
    #: On callback routes: the attempt that the token in the path may settle.
    task: TaskClaims | None
    path: str
    #: On decision links: whose decision the token in the path is.
    link: LinkClaims | None = None
    #: Under an Idempotency-Key: `at`, when it was first used (milliseconds), and what else the first try pinned.
    pins: dict[str, Json] = field(default_factory=dict)
    _body: Json = _UNREAD

    @property
    def tenant(self) -> str:
        """Whose data the call is about."""
        if self.link is not None:
            return self.link.tenant
        assert self.claims is not None, "a route without claims has no tenant"
        return self.claims.tenant

    @property
    def actor(self) -> str:
        """The person or program that asks."""
        assert self.claims is not None, "a route without claims has no actor"
        return self.claims.sub

    @property
    def scope(self) -> str:
        """Whose Idempotency-Keys these are: the tenant's, or the task's run's."""
        return self.tenant if self.task is None else f"task#{self.task.run_id}"

    def json(self) -> Json:
        """The body. No body counts as an empty object or null where the route allows it. Raises Malformed, TooLarge."""
        if self._body is _UNREAD:
            self._body = self._read()
        return self._body

    @property
    def page(self) -> bool:
        """Whether a browser asks for a page to show, rather than a program for JSON."""
        return wants_page(self.route, self.headers)

    @property
    def form(self) -> dict[str, str] | None:
        """The fields of an HTML form, on routes that have pages; None for other bodies. Raises Malformed."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not self.route.html or kind != FORM_TYPE or self.raw.lstrip().startswith(b"{"):
            return None  # programs may send JSON under any type
        try:
            return dict(parse_qsl(self.raw.decode(), keep_blank_values=True, max_num_fields=20, errors="replace"))
        except ValueError as error:
            raise Malformed(f"The form cannot be read: {error}.") from None

    def _read(self) -> Json:
        limit = self.services.limits.body_bytes
        if len(self.raw) > limit:
            raise TooLarge(f"The body has {len(self.raw)} bytes; at most {limit} are allowed.")
        if self.form is not None:
            return self.form
        if not self.raw and (self.route.body_optional or self.route.any_body):
            return None if self.route.any_body else {}
        if not self.raw:
            raise Malformed("The body is empty; send JSON.")
        return read_json(self.raw)

    def members(self, *allowed: str, required: tuple[str, ...] = ()) -> dict[str, Json]:
        """The body as an object of these members. Raises InvalidInput naming every unknown and missing one."""
        body = self.json()
        if not isinstance(body, dict):
            problem = Problem("wrong_type", "", f"Send an object with {', '.join((*required, *allowed))}.")
            raise InvalidInput("The body must be a JSON object.", (problem,))
        known = (*required, *allowed)
        unknown = [name for name in body if name not in known]
        problems = [
            Problem("unknown_member", _pointer(n), f"Leave it out; known are {', '.join(known)}.") for n in unknown
        ]
        problems += [Problem("missing", _pointer(n), "Send this member.") for n in required if n not in body]
        if problems:
            raise InvalidInput("The body does not have the members that this route takes.", tuple(problems[:50]))
        return body

    def name(self, parameter: str) -> str:
        """A path parameter that is a name. Raises NotFound: nothing else can be there."""
        value = self.params[parameter]
        if not _NAME.fullmatch(value) or value == "validate":
            raise NotFound(f"There is nothing called {value[:64]}.")
        return value

    def if_match(self) -> tuple[int, ...] | None:
        """Numbers that If-Match names, quoted or bare; None where it is absent or `*`. Raises InvalidInput."""
        text = self.headers.get("if-match", "").strip()
        if text in ("", "*"):
            return None
        found = [_TAG.fullmatch(part.strip()) for part in text.split(",")]
        if not all(found):
            raise refused("If-Match", 'Send the ETag of what you have read, such as "3", or *.')
        return tuple(int(match[1] or match[2]) for match in found if match)

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number of the query. Raises InvalidInput."""
        text = self.query.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 16 and low <= int(text) <= high):
            raise refused(name, f"Send a whole number from {low} to {high}.")
        return int(text)

    def time(self, name: str) -> int:
        """An RFC 3339 time of the query in milliseconds, 0 where it is absent. Raises InvalidInput."""
        text = self.query.get(name)
        if text is None:
            return 0
        try:
            # A plus sign that was not escaped arrives as a space.
            moment = datetime.fromisoformat(text.replace(" ", "+"))
            return max(int(moment.timestamp() * 1000), 0) if moment.tzinfo else _no_zone()
        except (ValueError, OverflowError):
            raise refused(name, "Send an RFC 3339 time with its zone, such as 2026-01-31T00:00:00Z.") from None


def wants_page(route: Route, headers: Mapping[str, str]) -> bool:
    """Whether the request comes from a browser that is to show the answer."""
    return route.html and "text/html" in headers.get("accept", "").lower()


def check_name(value: Json, path: str) -> str:
    """A member that must be a name. Raises InvalidInput."""
    if not isinstance(value, str) or not _NAME.fullmatch(value) or value == "validate":
        text = "A name is a letter or digit, then at most 63 letters, digits, _ . or -, and not the word validate."
        raise InvalidInput(f"{path} is not a name.", (Problem("bad_name", path, text),))
    return value


def check_count(value: Json, path: str, high: int) -> int:
    """A member that must be a whole number from 1. Raises InvalidInput."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= high:
        problem = Problem("bad_number", path, f"Send a whole number from 1 to {high}.")
        raise InvalidInput(f"{path} is not such a number.", (problem,))
    return value


def refused(name: str, text: str) -> InvalidInput:
    """A query parameter that breaks its rule."""
    return InvalidInput(f"The query parameter {name} is wrong.", (Problem("bad_query", _pointer(name), text),))


def _no_zone() -> int:
    raise ValueError("a time without its zone")


def _pointer(name: str) -> str:
    return "/" + name[:80].replace("~", "~0").replace("/", "~1")
