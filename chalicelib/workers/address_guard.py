"""Decides which network addresses a workflow may reach, so that it cannot reach into the deployment's own network."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from chalicelib.domain.errors import ConfigurationError, TaskError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
#: `socket.getaddrinfo` or a stand-in: (host, port, type=…) -> [(family, type, proto, name, sockaddr), …].
Resolver = Callable[..., Sequence[tuple[Any, ...]]]

#: IPv4 that is no public host: this network, private, shared (CGNAT), loopback, link-local (metadata), protocol
#: assignments, documentation, 6to4 relays, benchmarks, multicast, reserved; and Azure's metadata and DNS address.
_CLOSED_V4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "168.63.129.16/32",
    )
)
#: The only IPv6 space given to public hosts; unique local, link-local, multicast and the rest lie outside.
_GLOBAL_V6 = IPv6Network("2000::/3")
#: What is special inside it: protocol assignments with Teredo, documentation (twice), 6to4.
_CLOSED_V6 = tuple(IPv6Network(block) for block in ("2001::/23", "2001:db8::/32", "3fff::/20", "2002::/16"))
#: IPv6 that a gateway or the host itself turns into the IPv4 address in its last 32 bits.
_CARRY_V4 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")


def inner(address: Address) -> Address:
    """The IPv4 address that an IPv4-mapped or NAT64 address leads to; any other address itself."""
    if isinstance(address, IPv6Address) and any(address in net for net in _CARRY_V4):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether this is the address of a public host, also through whatever IPv4 address it carries."""
    address = inner(address)
    if isinstance(address, IPv4Address):
        return not any(address in net for net in _CLOSED_V4)
    if address.scope_id is not None or address not in _GLOBAL_V6:
        return False
    return not any(address in net for net in _CLOSED_V6)


def normal_host(host: str) -> str:
    """A host in the one form it is compared, resolved and sent in: lower case ASCII, no final dot, no brackets.

    Raises TaskError `AddressRefused` for what is neither a DNS name nor a plain IP address: also for numbers such
    as `2130706433`, `0177.0.0.1` or `0x7f.1`, which some resolvers read as IPv4 addresses.
    """
    text = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        literal = ip_address(text)
    except ValueError:
        return _name(text)
    if isinstance(literal, IPv6Address) and literal.scope_id is not None:
        raise _refused(host, "carries a zone")
    return str(literal)


def _name(host: str) -> str:
    if len(host) > 253:
        raise _refused(host, "is too long for a DNS name")
    try:
        name = host.encode("idna").decode().lower().removesuffix(".")
    except UnicodeError:
        raise _refused(host, "is no DNS name") from None
    labels = name.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise _refused(host, "is no DNS name")
    if _NUMERIC.fullmatch(labels[-1]):
        return _dotted(host, name)
    return name


def _dotted(host: str, name: str) -> str:
    # `127.0.0.1.` and full-width digits become plain here; every looser form stays refused.
    try:
        return str(IPv4Address(name))
    except ValueError:
        raise _refused(host, "is a number, but not an IPv4 address of four decimal parts") from None


class AddressGuard:
    """Resolves hosts to the addresses that may be connected to.

    `allow` holds CIDR blocks, which open addresses at any port, and `host:port`: with an IP address, that address at
    that port; with a name, whatever it resolves to at that port. Raises ConfigurationError for anything else.
    """

    def __init__(self, allow: Iterable[str] = (), resolver: Resolver = socket.getaddrinfo) -> None:
        self._resolver = resolver
        self._networks: list[Network] = []
        self._doors: set[tuple[str, int]] = set()
        for entry in allow:
            self._open(entry)

    def resolve(self, host: str, port: int) -> tuple[Address, ...]:
        """All addresses of a normal host, each checked; connect to these, never to the name.

        Raises TaskError: `AddressRefused`, not retryable, when one of them is closed; `HttpError` when there is none.
        """
        try:
            answers = self._resolver(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise TaskError("HttpError", f"{host}: the name could not be resolved") from error
        addresses = tuple(dict.fromkeys(_address(host, answer) for answer in answers))
        if not addresses:
            raise TaskError("HttpError", f"{host}: the name has no address")
        for address in addresses:
            if not self._may_reach(host, port, address):
                raise _refused(host, f"leads to {address}, which is no public address")
        return addresses

    def _may_reach(self, host: str, port: int, address: Address) -> bool:
        if is_public(address) or (host, port) in self._doors:
            return True
        forms = {address, inner(address)}
        return any((str(form), port) in self._doors or any(form in net for net in self._networks) for form in forms)

    def _open(self, entry: str) -> None:
        try:
            self._networks.append(ip_network(entry))
            return
        except ValueError:
            host, _, port = entry.rpartition(":")
        try:
            if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
                raise ValueError
            self._doors.add((normal_host(host), int(port)))
        except (TaskError, ValueError):
            raise ConfigurationError(
                f"http allowlist: {entry!r} is neither a CIDR block such as 10.1.0.0/16 nor a host:port such as "
                "127.0.0.1:8080 or [::1]:8080"
            ) from None


def _address(host: str, answer: Sequence[Any]) -> Address:
    try:
        return ip_address(answer[4][0])
    except (ValueError, LookupError, TypeError):
        raise _refused(host, "resolves to something that is no IP address") from None


def _refused(host: str, why: str) -> TaskError:
    return TaskError(
        "AddressRefused",
        f"host {host[:260]!r} {why}: http nodes reach public addresses, and what the deployment's allowlist names",
        retryable=False,
    )
