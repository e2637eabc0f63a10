"""What the console's own routes read of a request, the session's cookie above all."""

import re

from starlette.requests import Request

from pages.services import services

_MOST_DIGITS = 9


def cookie_name(*, is_secure: bool) -> str:
    """Return the session cookie's name; over https the ``__Host-`` prefix pins it to this host (RFC 6265bis)."""
    return "__Host-signoff" if is_secure else "signoff"


def session_cookie() -> str:
    """Return the name of the session's cookie here."""
    return cookie_name(is_secure=services().settings.is_https)


def secret_of(request: Request) -> str | None:
    """Return what the browser's session is known by; None where it sends nothing."""
    return request.cookies.get(session_cookie())


def number_of(request: Request, name: str) -> int | None:
    """Return the number in this segment of the path; None where it is none, or has more digits than any that we give.

    Starlette's own ``{name:int}`` fails at numbers that Python does not read for their length.
    """
    text: str = request.path_params[name]
    return int(text) if re.fullmatch(f"[0-9]{{1,{_MOST_DIGITS}}}", text) else None


async def body_of(request: Request, *, at_most: int) -> bytes | None:
    """Return the request's body; None as soon as it has more bytes than that."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > at_most:
            return None
    return body
