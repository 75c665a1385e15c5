import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.errors import ConfigurationError, TaskError
from chalicelib.workers.address_guard import AddressGuard, inner, is_public, normal_host
from tests.workers.hostile_hosts import HOSTILE
from tests.workers.servers import http_worker, request, serving


@pytest.fixture
def no_connect(monkeypatch):
    tried = []

    def connect(self, address):
        tried.append(address)
        raise AssertionError(f"connected to {address}")

    monkeypatch.setattr(socket.socket, "connect", connect)
    return tried


def test_the_table_of_hostile_hosts_is_long():
    assert len(set(HOSTILE)) >= 90


@pytest.mark.parametrize("host", HOSTILE)
def test_a_hostile_host_is_refused_without_a_connection_attempt(host, no_connect):
    with pytest.raises(TaskError) as caught:
        request(http_worker(), {"url": f"http://{host}/latest/meta-data"})
    assert caught.value.type in {"AddressRefused", "HttpError"}
    assert caught.value.retryable is False
    assert no_connect == []


@pytest.mark.parametrize("scheme", ["file", "ftp", "gopher", "unix", "javascript", "data", "", "httpx", "http+unix"])
def test_only_http_and_https_are_spoken(scheme, no_connect):
    with pytest.raises(TaskError, match="http:// or https://"):
        request(http_worker(), {"url": f"{scheme}://example.com/"})
    assert no_connect == []


def answering(*answers):
    rest = list(answers)

    def resolve(host, port, **_):
        batch = rest.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in batch]

    resolve.rest = rest
    return resolve


@pytest.mark.parametrize("bad", ["10.0.0.5", "127.0.0.1", "169.254.169.254", "::1", "fd00::1", "fe80::1%2", "bogus"])
def test_a_name_with_one_private_answer_among_public_ones_is_refused(bad, no_connect):
    guard = AddressGuard(resolver=answering(["93.184.216.34", bad]))
    with pytest.raises(TaskError) as caught:
        guard.resolve("rebind.example", 80)
    assert caught.value.type == "AddressRefused"
    assert no_connect == []


def test_a_name_is_resolved_once_so_that_a_second_answer_cannot_lead_elsewhere(monkeypatch):
    """DNS rebinding: the check saw a public address, the connection got a private one."""
    resolve, tried = answering(["93.184.216.34"], ["127.0.0.1"]), []

    def connect(self, address):
        tried.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(TaskError, match="Connection refused") as caught:
        request(http_worker(resolver=resolve), {"url": "http://rebind.example/"})
    assert caught.value.retryable is True
    assert tried == [("93.184.216.34", 80)]
    assert len(resolve.rest) == 1


def test_the_second_address_is_tried_when_the_first_does_not_answer(monkeypatch):
    with serving(lambda h: h.reply(200, b"hi", Content_Type="text/plain")) as server:
        real, tried = socket.socket.connect, []

        def connect(self, address):
            tried.append(address[0])
            if address[0] != "127.0.0.1":
                raise OSError(113, "No route to host")
            real(self, address)

        monkeypatch.setattr(socket.socket, "connect", connect)
        worker = http_worker(server, resolver=answering(["93.184.216.34", "127.0.0.1"]))
        out = request(worker, {"url": f"http://two.example:{server.server_port}/"})
        assert out["body"] == "hi"
        assert tried == ["93.184.216.34", "127.0.0.1"]
        assert server.seen[0][2]["host"] == f"two.example:{server.server_port}"


def test_an_unknown_name_is_a_network_error_that_may_be_tried_again():
    def resolve(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(TaskError) as caught:
        AddressGuard(resolver=resolve).resolve("nowhere.example", 80)
    assert (caught.value.type, caught.value.retryable) == ("HttpError", True)


def test_a_name_without_any_address_is_an_error_not_a_connection():
    with pytest.raises(TaskError, match="no address"):
        AddressGuard(resolver=answering([])).resolve("empty.example", 80)


@pytest.mark.parametrize(
    ("entry", "host", "port", "answer", "allowed"),
    [
        ("10.1.0.0/16", "10.1.2.3", 5000, "10.1.2.3", True),
        ("10.1.0.0/16", "10.2.0.1", 5000, "10.2.0.1", False),
        ("10.1.0.0/16", "api.internal", 80, "10.1.0.9", True),
        ("10.1.0.0/16", "10.1.2.3", 80, "::ffff:10.1.2.3", True),
        ("127.0.0.1:8080", "127.0.0.1", 8080, "127.0.0.1", True),
        ("127.0.0.1:8080", "127.0.0.1", 8081, "127.0.0.1", False),
        ("127.0.0.1:8080", "localhost", 8080, "127.0.0.1", True),
        ("[::1]:8080", "::1", 8080, "::1", True),
        ("fd00::/8", "fd00::5", 80, "fd00::5", True),
        ("api.internal:443", "api.internal", 443, "10.9.9.9", True),
        ("API.internal.:443", "api.internal", 443, "10.9.9.9", True),
        ("api.internal:443", "api.internal", 80, "10.9.9.9", False),
        ("api.internal:443", "x.api.internal", 443, "10.9.9.9", False),
        ("169.254.169.254", "169.254.169.254", 80, "169.254.169.254", True),
    ],
)
def test_the_allowlist_opens_exactly_what_it_names(entry, host, port, answer, allowed):
    guard = AddressGuard([entry], resolver=answering([answer]))
    if allowed:
        assert [str(a) for a in guard.resolve(host, port)] == [str(ipaddress.ip_address(answer))]
    else:
        with pytest.raises(TaskError, match="no public address"):
            guard.resolve(host, port)


@pytest.mark.parametrize(
    "entry", ["", "10.0.0.1/8", "host", "host:", "host:0", "host:x", ":80", "0x7f.1:80", "h:65536", "a b:1"]
)
def test_a_malformed_allowlist_entry_stops_the_start(entry):
    with pytest.raises(ConfigurationError, match="neither a CIDR block"):
        AddressGuard([entry])


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_public(address):
    assert is_public(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_that_the_standard_library_calls_special_is_public(address):
    special = not address.is_global or address.is_multicast or address.is_reserved or address.is_link_local
    if special:
        assert not is_public(address)


@given(
    st.sampled_from(
        [
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "224.0.0.0/3",
        ]
    ),
    st.data(),
)
def test_no_address_of_a_closed_block_is_public_in_any_ipv6_dress(block, data):
    net = ipaddress.ip_network(block)
    v4 = int(data.draw(st.ip_addresses(v=4, network=block)))
    assert ipaddress.ip_address(v4) in net
    dresses = [v4, v4 | (0xFFFF << 32), v4 | (0x64FF9B << 96), (0x2002 << 112) | (v4 << 80), (0x20010000 << 96) | v4]
    assert not any(is_public(ipaddress.IPv6Address(dress)) for dress in dresses)
    assert not is_public(ipaddress.IPv4Address(v4))


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_that_the_standard_library_calls_special_is_public(address):
    if inner(address) is address and (not address.is_global or address.is_multicast or address.is_reserved):
        assert not is_public(address)


@given(st.ip_addresses())
def test_an_ip_address_in_any_spelling_of_the_library_is_its_own_normal_form(address):
    text = str(address)
    assert normal_host(text) == text
    if address.version == 6:
        assert normal_host(f"[{address.exploded}]") == text


@given(st.text(max_size=60))
def test_any_text_as_a_host_gives_a_plain_name_or_a_refusal(text):
    try:
        host = normal_host(text)
    except TaskError as error:
        assert error.type == "AddressRefused"
    else:
        assert host.isascii()
        assert not set(host) & set(" /\\@?#%\r\n\t[]")
        assert normal_host(host) == host
