"""Makes HTTP requests that reach only allowed addresses, within bounds of time and size."""

from __future__ import annotations

import http.client
import socket
import ssl
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

from chalicelib.domain.errors import TaskError
from chalicelib.workers.address_guard import Address, AddressGuard
from chalicelib.workers.http_body import unpack
from chalicelib.workers.timed_socket import Budget, TimedSocket, TooMuchData
from chalicelib.workers.url import Url

#: Bytes of a response body, packed and unpacked.
MAX_BODY = 10 * 1024 * 1024
MAX_REDIRECTS = 5
#: Seconds for one address before the next is tried.
CONNECT_SECONDS = 10.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Headers that a redirect to another origin never gets, whatever their values.
_CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie"})


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Header names are in lower case."""

    method: str
    url: Url
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    #: Further headers that hold credentials.
    private: frozenset[str] = frozenset()
    #: Whether the body holds a secret, and so must not follow a redirect to another origin.
    private_body: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """One response, its body unpacked. Header names are in lower case, repeated ones joined by a comma."""

    status: int
    headers: dict[str, str]
    body: bytes


class HttpClient:
    """A client without cookies, proxies, pools or environment: each request connects anew to a checked address."""

    def __init__(self, guard: AddressGuard, tls: ssl.SSLContext | None = None, max_body: int = MAX_BODY) -> None:
        self._guard = guard
        self._tls = tls
        self._max_body = max_body

    def send(self, request: Request, seconds: float, final: Callable[[int], bool] = lambda status: False) -> Response:
        """The response at the end of at most 5 redirects; a status that `final` accepts is not followed.

        Raises TaskError: `AddressRefused`, or `HttpError` (retryable where the network was to blame).
        """
        budget = Budget(seconds)
        for _ in range(MAX_REDIRECTS + 1):
            response = self._exchange(request, budget)
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or not location or final(response.status):
                return response
            request = _redirected(request, response.status, location)
        raise TaskError("HttpError", f"{request.url.site}: more than {MAX_REDIRECTS} redirects", retryable=False)

    def _exchange(self, request: Request, budget: Budget) -> Response:
        site = f"{request.method} {request.url.site}"
        try:
            return self._ask(request, budget)
        except TooMuchData as error:
            raise TaskError("HttpError", f"{site}: more than {self._max_body} bytes came back", False) from error
        except ssl.SSLCertVerificationError as error:
            raise TaskError("HttpError", f"{site}: certificate refused: {error.verify_message}", False) from error
        except TimeoutError as error:
            raise TaskError("HttpError", f"{site}: timed out") from error
        except (OSError, http.client.HTTPException, zlib.error, ValueError) as error:
            raise TaskError("HttpError", f"{site}: {_reason(error)}") from error

    def _ask(self, request: Request, budget: Budget) -> Response:
        connection = _Connection(request.url, lambda: self._open(request.url, budget))
        try:
            connection.request(request.method, request.url.target, request.body, request.headers)
            with connection.getresponse() as answer:
                body = _read(answer, self._max_body)
                headers = _headers(answer)
                body = unpack(body, headers.get("content-encoding", ""), self._max_body)
                return Response(answer.status, headers, body)
        finally:
            connection.close()

    def _open(self, url: Url, budget: Budget) -> TimedSocket:
        sock = _connect(self._guard.resolve(url.host, url.port), url.port, budget)
        try:
            if url.scheme == "https":
                self._tls = self._tls or ssl.create_default_context()
                sock.settimeout(budget.left())
                sock = self._tls.wrap_socket(sock, server_hostname=url.host)
        except BaseException:
            sock.close()
            raise
        # Twice the body leaves room for headers and chunk sizes, and bounds a server that sends nothing else.
        return TimedSocket(sock, budget, 2 * self._max_body + 65536)


class _Connection(http.client.HTTPConnection):
    """Connects where it is told to; the name only goes into the Host header."""

    def __init__(self, url: Url, connect: Callable[[], TimedSocket]) -> None:
        super().__init__(url.host, url.port)
        # Instances override the class's 80, so that Host carries a port only where it must.
        self.default_port = 443 if url.scheme == "https" else 80
        self._connect_checked = connect

    def connect(self) -> None:
        self.sock = cast(Any, self._connect_checked())


def _connect(addresses: tuple[Address, ...], port: int, budget: Budget) -> socket.socket:
    last: OSError = OSError("no address")
    for address in addresses:
        sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
        try:
            sock.settimeout(min(CONNECT_SECONDS, budget.left()))
            sock.connect((str(address), port))
        except OSError as error:
            sock.close()
            last = error
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise last


def _read(answer: http.client.HTTPResponse, max_body: int) -> bytes:
    parts, size = [], 0
    while part := answer.read(65536):
        parts.append(part)
        size += len(part)
        if size > max_body:
            raise TooMuchData
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)
    return b"".join(parts)


def _headers(answer: http.client.HTTPResponse) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in answer.getheaders():
        key, text = name.lower(), " ".join(value.split())
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _redirected(request: Request, status: int, location: str) -> Request:
    url = request.url.join(location)
    drop: set[str] = set()
    if url.origin != request.url.origin:
        drop |= _CREDENTIALS | request.private
    to_get = (status == 303 and request.method != "HEAD") or (status in {301, 302} and request.method == "POST")
    if to_get:
        drop |= {name for name in request.headers if name.startswith("content-")}
    elif request.private_body and url.origin != request.url.origin:
        raise TaskError("HttpError", f"{url.site}: a body with a secret does not follow a redirect there", False)
    kept = {name: value for name, value in request.headers.items() if name not in drop}
    if to_get:
        return replace(request, method="GET", url=url, headers=kept, body=None, private_body=False)
    return replace(request, url=url, headers=kept)


def _reason(error: Exception) -> str:
    """What went wrong, in words that quote nothing a server sent."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return {"RemoteDisconnected": "the server hung up", "IncompleteRead": "the body ended too early"}.get(
        type(error).__name__, f"no proper HTTP answer ({type(error).__name__})"
    )
