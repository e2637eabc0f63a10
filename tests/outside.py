"""What stands outside the house in tests: a real web server that notes what it is sent."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.waiting import PATIENCE_SECONDS


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request that arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Host:
    """A web server of this machine; ``answer`` is the status it gives, ``stays_silent`` keeps it from answering."""

    port: int = 0
    answer: int = 204
    location: str | None = None
    arrived: list[Arrived] = field(default_factory=list)
    stays_silent: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.port}/checkpoints"


@contextmanager
def a_host(tls: ssl.SSLContext | None = None, *, address: str = "127.0.0.1") -> Iterator[Host]:
    """Serve until the context ends, over TLS where a context for it is given."""
    host = Host()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            host.arrived.append(Arrived(self.path, dict(self.headers), body))
            if host.stays_silent:
                host.ended.wait(PATIENCE_SECONDS)
                return
            self.send_response(host.answer)
            if host.location:
                self.send_header("Location", host.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((address, 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    with serving(server) as host.port:
        try:
            yield host
        finally:
            host.ended.set()


@contextmanager
def a_port() -> Iterator[int]:
    """Keep a port on which nobody answers and which nobody else is given; the test itself may serve on it meanwhile."""
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # As servers do, which so can share it.
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[int]:
    """Serve until the context ends; give the port."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE_SECONDS)


def a_certificate(folder: Path, name: str) -> Path:
    """Write a certificate of this name alone, and its key, into one file."""
    key, now = generate_private_key(SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, SHA256())
    )
    path = folder / f"{name}.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return path
