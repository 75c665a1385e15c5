"""Reads an http or https URL strictly: what is connected to is what was read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from chalicelib.domain.errors import TaskError
from chalicelib.workers.address_guard import normal_host

_PORTS = {"http": 80, "https": 443}
#: Characters; longer ones are refused by most servers.
MAX_URL = 16_384
#: Parsers disagree on these, and a disagreement is a way around the address check.
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
_NETLOC = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]@]+)(?::([0-9]{0,5}))?")


@dataclass(frozen=True, slots=True)
class Url:
    """An absolute URL, taken apart."""

    scheme: str
    #: As `normal_host` gives it.
    host: str
    port: int
    #: Path and query as sent in the request line.
    target: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: credentials never leave it."""
        return (self.scheme, self.host, self.port)

    @property
    def site(self) -> str:
        """The origin as text, for messages: without path and query, which may hold private values."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")

    def join(self, location: str) -> Url:
        """The URL that a redirect from here leads to. Raises TaskError when it is no http or https URL."""
        where = f"the Location that {self.site} redirects to"
        try:
            return parse_url(urljoin(self.site + self.target, location), where=where)
        except ValueError as error:
            raise _bad_url(where, "is no URL") from error


def parse_url(text: str, query: str = "", where: str = "/config/url") -> Url:
    """Read a URL and add `query` (already encoded) to its own; `where` begins the error messages.

    Raises TaskError, not retryable: `HttpError` for what is no plain http(s) URL, `AddressRefused` for its host.
    """
    if not text or len(text) > MAX_URL or _UNSAFE.search(text):
        raise _bad_url(
            where, f"must be a URL of 1 to {MAX_URL} characters without blanks, control characters and backslashes"
        )
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise _bad_url(where, "is no URL") from error
    if parts.scheme not in _PORTS:
        raise _bad_url(where, "must start with http:// or https://")
    if "@" in parts.netloc:
        raise _bad_url(where, "must not hold a user or password: use the config's auth")
    match = _NETLOC.fullmatch(parts.netloc)
    port = int((match and match[2]) or _PORTS[parts.scheme])
    if match is None or not 0 < port < 65536:
        raise _bad_url(where, "must name a host, and a port from 1 to 65535 if any")
    return Url(parts.scheme, normal_host(match[1]), port, _target(parts, query))


def _bad_url(where: str, why: str) -> TaskError:
    return TaskError("HttpError", f"{where} {why}", retryable=False)


def _target(parts: SplitResult, query: str) -> str:
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~-._", errors="replace") or "/"
    own = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?", errors="replace")
    whole = "&".join(part for part in (own, query) if part)
    return f"{path}?{whole}" if whole else path
