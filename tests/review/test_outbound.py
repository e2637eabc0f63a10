"""What is posted outside reaches the address that was configured, and no other."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from review.errors import ReviewError
from review.outbound import MAX_BODY_BYTES, AddressRefusedError, DeliveryError, Outbound
from tests.outside import Host, a_certificate, a_host, a_port

WITHIN = Outbound(allows_loopback=True)


@pytest.fixture
def host() -> Iterator[Host]:
    with a_host() as serving:
        yield serving


def post(url: str, body: bytes = b"a note\n", outbound: Outbound = WITHIN) -> None:
    asyncio.run(outbound.post(url, body, headers={"Content-Type": "text/plain; charset=utf-8"}))


def test_the_body_is_posted_as_it_is(host: Host) -> None:
    post(f"http://desk:secret@127.0.0.1:{host.port}/notes?of=us", "— a note\n".encode())

    (arrived,) = host.arrived
    assert (arrived.path, arrived.body) == ("/notes?of=us", "— a note\n".encode())
    assert arrived.headers["Host"] == f"127.0.0.1:{host.port}"
    assert arrived.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert arrived.headers["Authorization"] == "Basic ZGVzazpzZWNyZXQ="


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://desk.example/", "only https is, except to this machine"),
        ("http://10.0.0.7/", "only https is, except to this machine"),
        ("ftp://desk.example/", "it is no https address"),
        ("file:///etc/passwd", "it is no https address"),
        ("https://", "it is no https address"),
        ("https://[::1", "it is no address"),
    ],
)
def test_an_address_of_another_form_is_refused(url: str, why: str) -> None:
    with pytest.raises(AddressRefusedError, match=why):
        WITHIN.checked(url)


def test_this_machine_is_reached_only_where_it_may_be_and_is_named(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AddressRefusedError):
        post(host.url, outbound=Outbound())
    with pytest.raises(AddressRefusedError):
        Outbound().resolved("localhost", host.port)
    found = socket.getaddrinfo("127.0.0.1", host.port, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    with pytest.raises(AddressRefusedError, match=r"Nothing is sent to rebound\.example: its address is not public"):
        post(f"https://rebound.example:{host.port}/")

    assert host.arrived == []


ALWAYS_REFUSED = (
    *("0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255", "127.0.0.2", "::", "::1", "fe80::1", "ff02::1"),  # noqa: S104 -- refused is what they are to be
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"),
    # Ways of writing an IPv4 address that a network may translate, and sites' own: none of them is private to Python.
    *("64:ff9b:1::a00:7", "64:ff9b:1::a9fe:a9fe", "::ffff:0:a00:7", "::7f00:1", "fec0::1", "4000::1"),
)
OF_THIS_MACHINE = ("127.0.0.2", "::1", "::ffff:127.0.0.1", "2002:7f00:1::")
PRIVATE = (
    *("10.0.0.7", "172.16.1.1", "192.168.1.7", "100.64.0.1", "fd00::1", "::ffff:10.0.0.7", "64:ff9b::a00:7"),
    "2002:a00:7::",
)
PUBLIC = ("93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822")


@pytest.mark.parametrize("address", [*ALWAYS_REFUSED, *PRIVATE, *PUBLIC])
def test_an_address_is_reached_by_where_it_leads(address: str) -> None:
    reached = []

    for outbound in (Outbound(), Outbound(allows_private=True)):
        try:
            reached.append(outbound.resolved(address, 443) == [ip_address(address)])
        except AddressRefusedError:
            reached.append(False)

    assert reached == [address in PUBLIC, address not in ALWAYS_REFUSED]


@pytest.mark.parametrize("address", [*ALWAYS_REFUSED, *PRIVATE, *PUBLIC])
def test_a_host_that_is_named_may_be_this_machine_or_of_a_private_network(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = socket.getaddrinfo(address, 443, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    outbound = Outbound(private_hosts=["Id.example"])
    reached = []

    for host in ("id.example", "other.example"):
        try:
            reached.append(outbound.resolved(host, 443) == [ip_address(address)])
        except AddressRefusedError:
            reached.append(False)

    assert reached == [address not in ALWAYS_REFUSED or address in OF_THIS_MACHINE, address in PUBLIC]


@pytest.mark.parametrize(
    ("host", "is_reached"),
    [
        ("id.example", True),
        ("ID.example", True),
        ("inner.example", True),
        ("other.example", False),
        ("evil-id.example", False),
        ("id.example.evil.example", False),
    ],
)
def test_where_hosts_are_listed_no_other_is_reached(host: str, *, is_reached: bool) -> None:
    outbound = Outbound(hosts=["id.example"], private_hosts=["inner.example"])

    try:
        outbound.checked(f"https://{host}/")
        was_reached = True
    except AddressRefusedError:
        was_reached = False

    assert was_reached == is_reached


def test_a_host_that_is_not_listed_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    # Looked up, it would be public.
    found = socket.getaddrinfo("93.184.216.34", 443, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    outbound = Outbound(hosts=["id.example"])

    with pytest.raises(AddressRefusedError, match="none of the hosts"):
        outbound.resolved("other.example", 443)

    assert outbound.resolved("id.example", 443) == [ip_address("93.184.216.34")]


def test_a_name_with_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [*socket.getaddrinfo("93.184.216.34", 443), *socket.getaddrinfo("10.0.0.7", 443)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    with pytest.raises(AddressRefusedError):
        Outbound().resolved("mixed.example", 443)


def test_a_redirect_is_not_followed(host: Host) -> None:
    with a_host() as elsewhere:
        host.answer, host.location = 307, elsewhere.url

        with pytest.raises(DeliveryError, match="it answered with status 307") as refused:
            post(host.url)

    assert (refused.value.answered, elsewhere.arrived) == (307, [])


def test_an_address_is_not_written_into_the_log(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        post(f"{host.url}/token-in-the-path")

    assert len(host.arrived) == 1
    assert "token" not in caplog.text


def test_proxies_of_the_environment_are_not_used(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    post(host.url)

    assert len(host.arrived) == 1


def test_a_host_that_does_not_answer_is_given_up(host: Host) -> None:
    host.stays_silent = True

    with pytest.raises(DeliveryError, match="it did not answer within 0 seconds"):
        post(host.url, outbound=Outbound(allows_loopback=True, timeout_s=0.2))


def test_a_host_that_is_not_there_is_told_without_the_rest_of_its_address() -> None:
    with a_port() as port, pytest.raises(ReviewError) as failed:
        post(f"http://desk:secret@127.0.0.1:{port}/token-in-the-path")

    assert str(failed.value) == "127.0.0.1 did not take it: the connection failed (ConnectError)."


def test_a_body_that_is_too_large_is_not_sent(host: Host) -> None:
    post(host.url, b"x" * MAX_BODY_BYTES)

    with pytest.raises(DeliveryError, match="it has more than 256 KiB"):
        post(host.url, b"x" * (MAX_BODY_BYTES + 1))

    assert len(host.arrived) == 1


@pytest.mark.parametrize(("named", "count"), [("localhost", 1), ("another.example", 0)])
def test_the_certificate_must_be_the_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, count: int
) -> None:
    path = a_certificate(tmp_path, named)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(path)
    failed = []

    with a_host(tls) as secure:
        try:
            post(f"https://localhost:{secure.port}/")
        except DeliveryError as error:
            failed.append(str(error))
        arrived = len(secure.arrived)

    assert (arrived, failed) == (
        count,
        [] if count else ["localhost did not take it: the connection failed (ConnectError)."],
    )
