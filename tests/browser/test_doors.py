"""What the served console answers: the headers on everything, and a refusal to whatever another site sends."""

import http.client
from collections.abc import Mapping
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from pages.headers import HEADERS
from tests.browser.house import House
from tests.waiting import PATIENCE_SECONDS

FOREIGN = "https://elsewhere.example"


def answer(
    house: House, method: str, path: str, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(urlsplit(house.url).netloc, timeout=PATIENCE_SECONDS)
    try:
        connection.request(method, path, headers=dict(headers or {}))
        response = connection.getresponse()
        told = {name.lower(): value for name, value in response.getheaders()}
        return response.status, told, response.read()
    finally:
        connection.close()


EVERYTHING = [
    *(("GET", path, 200) for path in ("/", "/audit", "/healthz", "/readyz", "/metrics", "/_stcore/health")),
    *(("GET", path, 200) for path in ("/_stcore/host-config", "/download/verify.py", "/sign-in/no-such-link")),
    *(("GET", path, 200) for path in ("/api/v1/docs", "/api/v1/openapi.json", "/api/v1/.well-known/jwks.json")),
    ("GET", "/download/audit.csv", 401),
    ("GET", "/download/people.csv", 404),
    ("GET", "/api/v1/actions", 401),
    ("GET", "/api/v1/nothing", 404),
    ("POST", "/audit", 405),
    ("POST", "/sign-in/no-such-link", 403),
    ("POST", "/sign-out", 303),
    ("GET", "/media/no-such-picture.png", 404),
    ("GET", "/static/no-such-script.js", 200),
    ("GET", "//elsewhere.example/", 400),
    ("GET", "/..%2f..%2fetc/passwd", 400),
    ("GET", "/component/no.such/index.html", 404),
]


@pytest.mark.parametrize(("method", "path", "status"), EVERYTHING)
def test_every_answer_carries_every_header(house: House, method: str, path: str, status: int) -> None:
    answered, told, _ = answer(house, method, path)

    assert answered == status
    assert {name: told.get(name.lower()) for name in HEADERS} == HEADERS
    assert "server" not in told


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize(
    "path",
    [
        *("/_stcore/agent/interact", "/_stcore/agent/openapi.json", "/_stcore/agent/mcp", "/_stcore/agent/mcp/"),
        *("/_stcore/agent", "/audit/_stcore/agent/mcp", "/_stcore/Agent/mcp", "/_stcore/%61gent/mcp"),
        *("/_stcore/metrics", "/_stcore//metrics", "/_stcore/script-health-check"),
    ],
)
def test_streamlits_side_doors_are_nobodys(house: House, method: str, path: str) -> None:
    status, _, body = answer(house, method, path, {"Authorization": "Bearer x", "Content-Type": "application/json"})

    assert (status, body) == (404, b"Not Found")


FROM_ELSEWHERE = [
    {"Sec-Fetch-Site": "cross-site", "Origin": FOREIGN},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "{own}"},
    {"Origin": FOREIGN},
    {"Origin": "null"},
    {"Origin": "{own}.elsewhere.example"},
    {"Origin": "{own}0"},
    {"Origin": "https://{host}"},
    {"Origin": ""},
]
FROM_HERE = [{}, {"Origin": "{own}"}, {"Sec-Fetch-Site": "same-origin", "Origin": "null"}, {"Sec-Fetch-Site": "none"}]


def filled(headers: Mapping[str, str], house: House) -> dict[str, str]:
    own = {"own": house.url, "host": urlsplit(house.url).netloc}
    return {name: value.format(**own) for name, value in headers.items()}


@pytest.mark.parametrize("path", ["/sign-out", "/sign-in/no-such-link", "/_stcore/upload_file/a/b", "/sittings/nobody"])
@pytest.mark.parametrize("headers", FROM_ELSEWHERE)
def test_another_sites_form_is_refused(house: House, headers: dict[str, str], path: str) -> None:
    status, _, body = answer(house, "POST", path, filled(headers, house))

    assert (status, body) == (403, b"Another site asked for this.")


@pytest.mark.parametrize("headers", FROM_HERE)
def test_our_own_form_is_taken(house: House, headers: dict[str, str]) -> None:
    assert answer(house, "POST", "/sign-out", filled(headers, house))[0] == 303


@pytest.mark.parametrize("headers", FROM_ELSEWHERE)
def test_another_sites_socket_is_refused(house: House, headers: dict[str, str]) -> None:
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(
            f"ws{house.url.removeprefix('http')}/_stcore/stream",
            additional_headers=filled(headers, house),
            subprotocols=["streamlit"],  # type: ignore[list-item]
            open_timeout=PATIENCE_SECONDS,
        ),
    ):
        pass

    assert refused.value.response.status_code == 403


def test_our_own_socket_is_taken(house: House) -> None:
    address = f"ws{house.url.removeprefix('http')}/_stcore/stream"

    with connect(
        address,
        additional_headers={"Origin": house.url},
        subprotocols=["streamlit"],  # type: ignore[list-item]
        open_timeout=PATIENCE_SECONDS,
    ) as socket:
        assert socket.protocol.handshake_exc is None
