"""What stands outside the house in tests: a real web server that notes what it is sent."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


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
def a_host(tls: ssl.SSLContext | None = None) -> Iterator[Host]:
    """Serve until the context ends, over TLS where a context for it is given."""
    host = Host()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            host.arrived.append(Arrived(self.path, dict(self.headers), body))
            if host.stays_silent:
                host.ended.wait(30)
                return
            self.send_response(host.answer)
            if host.location:
                self.send_header("Location", host.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    host.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        host.ended.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
