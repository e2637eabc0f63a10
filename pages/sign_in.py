"""The sign-in routes: a single-use link opens a session, its cookie opaque and out of scripts' reach."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from pages.doorstep import door_page
from pages.rendering import element
from pages.services import services
from review.errors import LinkRefusedError
from review.sessions import ABSOLUTE_LIMIT


def cookie_name(*, is_secure: bool) -> str:
    """Return the session cookie's name; over https the ``__Host-`` prefix pins it to this host (RFC 6265bis)."""
    return "__Host-signoff" if is_secure else "signoff"


async def _offer_sign_in(_: Request) -> Response:
    """Ask for a press before the link is used up, so that a link preview or a prefetch does not spend it."""
    return door_page(
        "Sign in",
        element("p", "Continue to the review desk on this device. The link works once."),
        element("form", element("button", "Sign in"), method="post"),
    )


async def _sign_in(request: Request) -> Response:
    try:
        secret = await run_in_threadpool(services().sessions.sign_in, request.path_params["secret"])
    except LinkRefusedError as error:
        return door_page("This link does not work any more", element("p", str(error)), status=error.status)
    answer = RedirectResponse("/", status_code=303, headers={"Cache-Control": "no-store"})
    is_secure = services().settings.is_https
    answer.set_cookie(
        cookie_name(is_secure=is_secure),
        secret,
        max_age=int(ABSOLUTE_LIMIT.total_seconds()),
        path="/",
        secure=is_secure,
        httponly=True,
        samesite="lax",
    )
    return answer


async def _sign_out(request: Request) -> Response:
    name = cookie_name(is_secure=services().settings.is_https)
    secret = request.cookies.get(name)
    if secret:
        await run_in_threadpool(services().sessions.sign_out, secret)
    answer = RedirectResponse("/", status_code=303)
    answer.delete_cookie(name, path="/", secure=services().settings.is_https, httponly=True, samesite="lax")
    return answer


def routes() -> list[Route]:
    """Return the routes to mount beside the console."""
    return [
        Route("/sign-in/{secret}", _offer_sign_in, methods=["GET"]),
        Route("/sign-in/{secret}", _sign_in, methods=["POST"]),
        Route("/sign-out", _sign_out, methods=["POST"]),
    ]
