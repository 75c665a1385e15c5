"""TLS: the name of the URL is what the certificate must carry, whatever address is connected to."""

import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from chalicelib.domain.errors import TaskError
from chalicelib.workers.address_guard import AddressGuard
from chalicelib.workers.http import HttpWorker
from chalicelib.workers.http_client import HttpClient
from tests.workers.servers import Server, request, serving
from tests.workers.test_address_guard import answering


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for shop.example that signs itself, as a file with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "shop.example")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("shop.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return str(path)


def encrypt(server: Server, certificate: str) -> list[str | None]:
    """Make the server speak TLS; returns the list of names that clients ask for."""
    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda sock, name, _: asked.append(name)
    # Per connection, in the handler's thread: a refused handshake must not stop the server from accepting.
    finish = server.finish_request

    def finish_request(sock, address):
        try:
            with context.wrap_socket(sock, server_side=True) as wrapped:
                finish(wrapped, address)
        except OSError:
            pass

    server.finish_request = finish_request
    return asked


def worker(server, tls):
    doors = [f"{name}:{server.server_port}" for name in ("shop.example", "other.example")]
    return HttpWorker(HttpClient(AddressGuard(doors, answering(["127.0.0.1"])), tls))


def test_the_name_of_the_url_is_asked_for_and_verified(certificate):
    with serving(lambda h: h.reply(200, b"[1]", Content_Type="application/json")) as server:
        asked = encrypt(server, certificate)
        trusting = ssl.create_default_context(cafile=certificate)
        url = f"https://shop.example:{server.server_port}/x"
        assert request(worker(server, trusting), {"url": url})["body"] == [1]
        assert asked == ["shop.example"]
        assert server.seen[0][2]["host"] == f"shop.example:{server.server_port}"


@pytest.mark.parametrize(("host", "trusted"), [("other.example", True), ("shop.example", False)])
def test_a_certificate_of_another_name_or_an_unknown_signer_is_refused_for_good(certificate, host, trusted):
    with serving(lambda h: h.reply(200)) as server:
        encrypt(server, certificate)
        tls = ssl.create_default_context(cafile=certificate) if trusted else None
        with pytest.raises(TaskError, match="certificate refused") as caught:
            request(worker(server, tls), {"url": f"https://{host}:{server.server_port}/"})
        assert (caught.value.type, caught.value.retryable) == ("HttpError", False)
        assert server.seen == []


def test_plain_http_on_a_tls_url_is_a_network_error(certificate):
    with serving(lambda h: h.reply(200)) as server, pytest.raises(TaskError) as caught:
        request(worker(server, None), {"url": f"https://shop.example:{server.server_port}/"})
    assert (caught.value.type, caught.value.retryable) == ("HttpError", True)
