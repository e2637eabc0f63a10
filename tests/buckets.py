"""A store of buckets outside the house in tests: as much of S3 as anchors ask for, and strict in it.

It computes each signature anew from what arrived (AWS Signature Version 4, as Amazon documents it), takes no body whose
hash or digest is another, and refuses a conditional write where there is an object.
"""

import base64
import hashlib
import hmac
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from tests.outside import serving

REGION = "eu-west-1"
BUCKET = "audit"
_SIGNED_AT_LEAST = {"host", "x-amz-date", "x-amz-content-sha256"}


@dataclass(slots=True)
class Store:
    """A running store with one bucket; ``objects`` holds every version of each object."""

    endpoint: str = ""
    key: str = "AKIDESK"
    secret: str = "of the/desk+only="
    objects: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    @property
    def environment(self) -> dict[str, str]:
        """Return what AWS's own tools read to reach it."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
        }

    def held(self, prefix: str) -> Mapping[str, list[str]]:
        """Return every version of the objects below the prefix."""
        return {path.removeprefix(prefix): kept for path, kept in self.objects.items() if path.startswith(prefix)}

    def refusal(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str] | None:
        """Return with what status and word the request is refused; None where it is not."""
        if headers.get("x-amz-content-sha256") != hashlib.sha256(body).hexdigest():
            return 400, "XAmzContentSHA256Mismatch"
        if not hmac.compare_digest(headers.get("authorization", ""), self._authorization(method, target, headers)):
            return 403, "SignatureDoesNotMatch"
        digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        if method == "PUT" and headers.get("content-md5") != digest:
            return 400, "InvalidRequest"
        if unquote(target).split("/")[1] != BUCKET:
            return 404, "NoSuchBucket"
        return None

    def _authorization(self, method: str, target: str, headers: Mapping[str, str]) -> str:
        signed = headers.get("authorization", "").partition("SignedHeaders=")[2].partition(",")[0].split(";")
        if not set(signed) >= _SIGNED_AT_LEAST | ({"if-none-match"} & set(headers)):
            return "Too little is signed."
        parts, moment = urlsplit(target), headers["x-amz-date"]
        scope = f"{moment[:8]}/{REGION}/s3/aws4_request"
        lines = [method, quote(unquote(parts.path), safe="/-_.~"), parts.query]
        lines += [f"{name}:{' '.join(headers.get(name, '').split())}" for name in signed]
        asked = "\n".join([*lines, "", ";".join(signed), headers["x-amz-content-sha256"]])
        told = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(asked.encode()).hexdigest()])
        key = f"AWS4{self.secret}".encode()
        for step in (*scope.split("/"), told):
            key = hmac.digest(key, step.encode(), "sha256")
        return (
            f"AWS4-HMAC-SHA256 Credential={self.key}/{scope}, SignedHeaders={';'.join(signed)}, Signature={key.hex()}"
        )


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, store: Store, *of_the_server: Any) -> None:  # noqa: ANN401 -- http.server's own
        self._store = store
        super().__init__(*of_the_server)

    def do_GET(self) -> None:
        path = self._accepted(b"")
        if path is not None:
            kept = self._store.objects.get(path)
            self._answer(200, kept[-1]) if kept else self._refuse(404, "NoSuchKey")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self._accepted(body)
        if path is None:
            return
        with self._store.one_at_a_time:
            if self.headers.get("If-None-Match") == "*" and self._store.objects.get(path):
                self._refuse(412, "PreconditionFailed")
                return
            self._store.objects[path].append(body.decode())
        self._answer(200, "")

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _accepted(self, body: bytes) -> str | None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        refused = self._store.refusal(self.command, self.path, headers, body)
        if refused is not None:
            self._refuse(*refused)
            return None
        return unquote(self.path).removeprefix(f"/{BUCKET}/")

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>For no eyes.</Message></Error>")

    def _answer(self, status: int, content: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content.encode())))
        self.end_headers()
        self.wfile.write(content.encode())


@contextmanager
def a_store_of_buckets() -> Iterator[Store]:
    """Serve until the context ends."""
    store = Store()
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, store))) as port:
        store.endpoint = f"http://127.0.0.1:{port}"
        yield store
