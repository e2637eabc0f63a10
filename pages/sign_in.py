"""The sign-in routes: a single-use link opens a session, its cookie opaque and out of scripts' reach."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from pages.services import services
from review.errors import LinkRefusedError
from review.sessions import ABSOLUTE_LIMIT

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Signoff</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:16px/1.5 system-ui,sans-serif;display:grid;place-items:center;min-height:100vh;margin:0;
background:#f7f6f3;color:#1d1d1b}}main{{max-width:26rem;padding:2rem}}h1{{font-size:1.25rem}}
button{{font:inherit;padding:.6rem 1.2rem;border:0;border-radius:.5rem;background:#1f4d3f;color:#fff;cursor:pointer}}
@media(prefers-color-scheme:dark){{body{{background:#161715;color:#ecebe6}}button{{background:#7cc4a8;color:#10201a}}}}
</style></head><body><main><h1>{title}</h1>{body}</main></body></html>"""


def cookie_name(*, is_secure: bool) -> str:
    """Return the session cookie's name; over https the ``__Host-`` prefix pins it to this host (RFC 6265bis)."""
    return "__Host-signoff" if is_secure else "signoff"


async def _offer_sign_in(_: Request) -> Response:
    """Ask for a press before the link is used up, so that a link preview or a prefetch does not spend it."""
    body = '<p>Continue to the review desk on this device.</p><form method="post"><button>Sign in</button></form>'
    return HTMLResponse(_PAGE.format(title="Sign in to Signoff", body=body), headers={"Cache-Control": "no-store"})


async def _sign_in(request: Request) -> Response:
    try:
        secret = await run_in_threadpool(services().sessions.sign_in, request.path_params["secret"])
    except LinkRefusedError as error:
        page = _PAGE.format(title="This link does not work any more", body=f"<p>{error}</p>")
        return HTMLResponse(page, status_code=error.status, headers={"Cache-Control": "no-store"})
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
