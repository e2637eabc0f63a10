"""Who may make a browser act on the console: our own pages alone. Streamlit's side doors are shut to everybody."""

from itertools import pairwise
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITE = frozenset({"same-origin", "none"})
_DEFAULT_PORTS = {"http": 80, "https": 443}
# What follows `/_stcore/` in addresses that are nobody's here, wherever in a path it stands: Streamlit looks for its
# agents' door in the folders of pages, too.
_SHUT = frozenset({"agent", "metrics", "script-health-check"})


class OwnOrigin:
    """ASGI middleware that refuses what another site makes a browser send: forms, and sockets with our cookie.

    ``Sec-Fetch-Site`` decides where there is one. Else it is ``Origin``, which browsers send with every POST and every
    socket; who sends neither is no browser, and carries no cookie that somebody else could use.
    """

    def __init__(self, app: ASGIApp, origins: frozenset[str]) -> None:
        self._app = app
        self._origins = frozenset(_normal(origin) for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what our own pages send, and what only reads."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif _is_shut(scope["path"]):
            await _refuse(scope, receive, send, status=404, why="Not Found")
        elif self._may_act(scope):
            await self._app(scope, receive, send)
        else:
            await _refuse(scope, receive, send, status=403, why="Another site asked for this.")

    def _may_act(self, scope: Scope) -> bool:
        if scope["type"] == "http" and scope["method"] in _READING:
            return True
        headers = Headers(scope=scope)
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site is not None:
            return site in _OWN_SITE
        return origin is None or _normal(origin) in self._origins


def _is_shut(path: str) -> bool:
    steps = [step for step in path.lower().split("/") if step]
    return any(one == "_stcore" and other in _SHUT for one, other in pairwise(steps))


def _normal(origin: str) -> str:
    try:
        parts = urlsplit(origin)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname}:{port}" if parts.hostname else ""


async def _refuse(scope: Scope, receive: Receive, send: Send, *, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    await PlainTextResponse(why, status_code=status)(scope, receive, send)
