"""The downloads: exports streamed in constant memory, to people who are signed in and may have them."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from uuid import UUID

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from pages.services import services
from pages.sign_in import cookie_name
from review import verify
from review.audit import EventFilter, EventKind
from review.errors import ReviewError
from review.exports import audit_csv, decisions_csv, labels_csv, labels_jsonl
from review.labels import training_archive
from review.people import Person

Export = Callable[[Person, EventFilter], Iterator[bytes]]


def _audit(person: Person, where: EventFilter) -> Iterator[bytes]:
    return audit_csv(services().records.audit_events(person, where))


def _decisions(person: Person, where: EventFilter) -> Iterator[bytes]:
    return decisions_csv(services().records.decisions(person, since=where.since, until=where.until))


def _labels_csv(person: Person, where: EventFilter) -> Iterator[bytes]:
    return labels_csv(services().records.labels(person, since=where.since, until=where.until))


def _labels_jsonl(person: Person, where: EventFilter) -> Iterator[bytes]:
    return labels_jsonl(services().records.labels(person, since=where.since, until=where.until))


def _labels_archive(person: Person, where: EventFilter) -> Iterator[bytes]:
    return training_archive(services().records.labels(person, since=where.since, until=where.until))


_EXPORTS: dict[str, tuple[Export, str]] = {
    "audit.csv": (_audit, "text/csv; charset=utf-8"),
    "decisions.csv": (_decisions, "text/csv; charset=utf-8"),
    "labels.csv": (_labels_csv, "text/csv; charset=utf-8"),
    "labels.jsonl": (_labels_jsonl, "application/x-ndjson"),
    "labels-hf.zip": (_labels_archive, "application/zip"),
}


async def _download(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _EXPORTS:
        return PlainTextResponse("There is no such export.", status_code=404)
    secret = request.cookies.get(cookie_name(is_secure=services().settings.is_https))
    person = await run_in_threadpool(services().sessions.person, secret)
    if person is None:
        return PlainTextResponse("Sign in first.", status_code=401)
    export, media_type = _EXPORTS[name]
    try:
        where = _filter(request)
        chunks = await run_in_threadpool(export, person, where)
    except ReviewError as error:
        return PlainTextResponse(str(error), status_code=error.status)
    except ValueError:
        return PlainTextResponse("A filter of this export cannot be read.", status_code=422)
    headers = {"Content-Disposition": f'attachment; filename="signoff-{name}"', "Cache-Control": "no-store"}
    return StreamingResponse(chunks, media_type=media_type, headers=headers)


def _filter(request: Request) -> EventFilter:
    asked = request.query_params
    return EventFilter(
        kind=EventKind(asked["kind"]) if asked.get("kind") else None,
        actor=asked.get("actor") or None,
        item_id=UUID(asked["item"]) if asked.get("item") else None,
        since=_moment(asked.get("since")),
        until=_moment(asked.get("until")),
    )


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


async def _verifier(_: Request) -> Response:
    return FileResponse(verify.__file__, media_type="text/x-python; charset=utf-8", filename="verify.py")


def routes() -> list[Route]:
    """Return the routes to mount beside the console; the verifier is for everybody."""
    return [
        Route("/download/verify.py", _verifier, methods=["GET"]),
        Route("/download/{name}", _download, methods=["GET"]),
    ]
