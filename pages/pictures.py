"""Pictures from items' contexts, served from our own origin to whoever may see the item."""

from uuid import UUID

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from agents.protocol import ContextEntry
from pages.item_view import picture
from pages.requests import number_of, secret_of
from pages.services import services
from review.errors import ReviewError

# What intake makes of every picture that it lets in.
_MEDIA_TYPES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
_NONE = PlainTextResponse("There is no such picture.", status_code=404)


async def _picture(request: Request) -> Response:
    number = number_of(request, "number")
    return await run_in_threadpool(_found, secret_of(request), request.path_params["item"], number)


def _found(secret: str | None, item_id: UUID, number: int | None) -> Response:
    person = services().sessions.glance(secret)
    if person is None:
        return PlainTextResponse("Sign in first.", status_code=401)
    try:
        context = services().desk.whole(person, item_id).item.request.context
    except ReviewError as error:
        return PlainTextResponse(str(error), status_code=error.status)
    entry: ContextEntry | None = context[number] if number is not None and number < len(context) else None
    shown = picture(entry) if entry else None
    if entry is None or shown is None or entry.media_type not in _MEDIA_TYPES:
        return _NONE
    # A picture never changes; but once its item is erased, or the person signed out, no cache may show it for long.
    return Response(shown, media_type=entry.media_type, headers={"Cache-Control": "private, max-age=300"})


def routes() -> list[Route]:
    """Return the route to mount beside the console."""
    return [Route("/pictures/{item:uuid}/{number}", _picture, methods=["GET"])]
