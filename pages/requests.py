"""What the console's own routes read of a request."""

from starlette.requests import Request

from pages.services import services
from pages.sign_in import cookie_name


def secret_of(request: Request) -> str | None:
    """Return what the browser's session is known by; None where it sends nothing."""
    return request.cookies.get(cookie_name(is_secure=services().settings.is_https))


async def body_of(request: Request, *, at_most: int) -> bytes | None:
    """Return the request's body; None as soon as it has more bytes than that."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > at_most:
            return None
    return body
