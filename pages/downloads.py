"""The downloads: exports streamed in constant memory, to people who are signed in and may have them."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from urllib.parse import urlencode
from uuid import UUID

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from agents.protocol import DecisionType, Execution, Status
from pages.requests import secret_of
from pages.services import services
from review import verify
from review.audit import EventFilter, EventKind
from review.errors import ReviewError
from review.exports import audit_csv, decisions_csv, labels_csv, labels_jsonl
from review.items import DecisionFilter, ItemFilter
from review.labels import Label, training_archive
from review.manifests import RowExport
from review.people import Person

Export = Callable[[Person, QueryParams], Iterator[bytes]]


def _audit(person: Person, asked: QueryParams) -> Iterator[bytes]:
    return audit_csv(services().records.audit_events(person, _filter(asked)))


def _decisions(person: Person, asked: QueryParams) -> Iterator[bytes]:
    return decisions_csv(services().records.decisions(person, decision_filter(asked), shows_values=_unmasked(asked)))


def _labels(person: Person, asked: QueryParams) -> RowExport[Label]:
    return services().records.labels(person, decision_filter(asked), shows_values=_unmasked(asked))


def _labels_csv(person: Person, asked: QueryParams) -> Iterator[bytes]:
    return labels_csv(_labels(person, asked))


def _labels_jsonl(person: Person, asked: QueryParams) -> Iterator[bytes]:
    return labels_jsonl(_labels(person, asked))


def _labels_archive(person: Person, asked: QueryParams) -> Iterator[bytes]:
    return training_archive(_labels(person, asked))


def _unmasked(asked: QueryParams) -> bool:
    return asked.get("values") == "shown"


EXPORTS: dict[str, tuple[Export, str]] = {
    "audit.csv": (_audit, "text/csv; charset=utf-8"),
    "decisions.csv": (_decisions, "text/csv; charset=utf-8"),
    "labels.csv": (_labels_csv, "text/csv; charset=utf-8"),
    "labels.jsonl": (_labels_jsonl, "application/x-ndjson"),
    "labels-hf.zip": (_labels_archive, "application/zip"),
}


_UNREADABLE = PlainTextResponse("A filter of this export cannot be read.", status_code=422)


async def _download(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in EXPORTS:
        return PlainTextResponse("There is no such export.", status_code=404)
    secret = secret_of(request)
    person = await run_in_threadpool(services().sessions.person, secret)
    if person is None:
        return PlainTextResponse("Sign in first.", status_code=401)
    # Nothing here holds a NUL, and PostgreSQL does not even take one as a question.
    if any("\0" in value for value in request.query_params.values()):
        return _UNREADABLE
    export, media_type = EXPORTS[name]
    try:
        chunks = await run_in_threadpool(export, person, request.query_params)
    except ReviewError as error:
        return PlainTextResponse(str(error), status_code=error.status)
    except ValueError:
        return _UNREADABLE
    headers = {"Content-Disposition": f'attachment; filename="signoff-{name}"', "Cache-Control": "no-store"}
    return StreamingResponse(chunks, media_type=media_type, headers=headers)


def _filter(asked: QueryParams) -> EventFilter:
    return EventFilter(
        kind=EventKind(asked["kind"]) if asked.get("kind") else None,
        actor=asked.get("actor") or None,
        item_id=UUID(asked["item"]) if asked.get("item") else None,
        since=_moment(asked.get("since")),
        until=_moment(asked.get("until")),
    )


def decisions_address(name: str, where: DecisionFilter, *, shows_values: bool = False) -> str:
    """Return the address of an export of decisions or labels; what is asked of the item alone begins with item_."""
    items = where.items
    told: list[tuple[str, str | datetime | None]] = [
        *(("agent", items.agent), ("tool", items.tool), ("decision", where.decision), ("reviewer", where.reviewer)),
        *(("since", where.since), ("until", where.until)),
        *(("item_status", status) for status in items.statuses),
        *(("item_decision", items.decision), ("item_execution", items.execution), ("item_by", items.settled_by)),
        *(("item_text", items.text), ("item_words", items.words)),
        *(("item_since", items.since), ("item_until", items.until), ("values", "shown" if shows_values else None)),
    ]
    given = [(name, at.isoformat() if isinstance(at, datetime) else at) for name, at in told if at is not None]
    return f"/download/{name}?{urlencode(given)}" if given else f"/download/{name}"


def decision_filter(asked: QueryParams) -> DecisionFilter:
    """Return the filter that an address of ``decisions_address`` says. Raises ValueError for what cannot be read."""
    items = ItemFilter(
        statuses=tuple(Status(status) for status in asked.getlist("item_status")),
        agent=asked.get("agent") or None,
        tool=asked.get("tool") or None,
        decision=DecisionType(asked["item_decision"]) if asked.get("item_decision") else None,
        execution=Execution(asked["item_execution"]) if asked.get("item_execution") else None,
        settled_by=asked.get("item_by") or None,
        text=asked.get("item_text") or None,
        words=asked.get("item_words") or None,
        since=_moment(asked.get("item_since")),
        until=_moment(asked.get("item_until")),
    )
    return DecisionFilter(
        items=items,
        decision=DecisionType(asked["decision"]) if asked.get("decision") else None,
        reviewer=asked.get("reviewer") or None,
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
