"""What was typed on an item, carried between this browser's session and the database, so that neither loses it."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Annotated
from uuid import UUID

import streamlit as st
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from agents.canonical import is_same
from pages.requests import body_of, number_of, secret_of
from pages.services import services
from review.clock import utc_now
from review.drafts import MAX_DRAFT_BYTES
from review.errors import DraftTooLargeError, ReviewError
from review.items import ReasonCode
from review.people import Person

LONGEST_TEXT = 20_000

_KEPT = "typed.kept"  # By the item's name in the session: what the database holds.
_TEXTS = ("mode", "rejection", "answer", "question")

Text = Annotated[str, StringConstraints(max_length=LONGEST_TEXT)]


class Typed(BaseModel):
    """What is typed in the focus view, as its browser sends it; ``at`` is when, in milliseconds since 1970."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: int = Field(ge=0, le=2**53 - 1)
    mode: Annotated[str, StringConstraints(pattern=r"^[a-z]{1,16}$")] | None = None
    rejection: Text | None = None
    answer: Text | None = None
    question: Text | None = None
    codes: Annotated[tuple[ReasonCode, ...], Field(max_length=len(ReasonCode))] | None = None


def restore(person: Person, item_id: UUID, version: int, *, key: str) -> None:
    """Put back what the person had typed on this version of the item, where this session shows it for the first time.

    ``key`` is what the names of the item's widgets begin with. What the session holds itself is newer, and stays.
    """
    kept: dict[str, Mapping[str, JsonValue]] = st.session_state.setdefault(_KEPT, {})
    if key in kept:
        return
    kept.clear()
    kept[key] = written = services().desk.drafts.read(person, item_id, version)
    for name in _TEXTS:
        if isinstance(text := written.get(name), str):
            st.session_state.setdefault(f"{key}.{name}", text)
    if isinstance(codes := written.get("codes"), list):
        known = [ReasonCode(code) for code in codes if code in list(ReasonCode)]
        st.session_state.setdefault(f"{key}.codes", known)
    if isinstance(edit := written.get("edit"), dict):
        st.session_state.setdefault(f"{key}.form.base", edit)


def keep(person: Person, item_id: UUID, version: int, *, key: str, edit: Callable[[], JsonValue]) -> None:
    """Keep what is typed on the item by now, if it is not what is kept already: Streamlit tells when a field is left.

    ``edit`` returns the arguments as they are edited, None where they are not, or cannot be read.
    """
    kept: dict[str, Mapping[str, JsonValue]] = st.session_state.setdefault(_KEPT, {})
    before = kept.get(key, {})
    written: dict[str, JsonValue] = {name: st.session_state.get(f"{key}.{name}") or None for name in _TEXTS}
    codes = st.session_state.get(f"{key}.codes") or ()
    written["codes"] = [code.value for code in codes] or None
    # What cannot be read just now is on its way to something; the last that could be read is kept.
    if (args := edit()) is not None:
        written["edit"] = args
    if all(is_same(before.get(name), value) for name, value in written.items()):
        return
    with suppress(DraftTooLargeError):  # It is in the session still, and can be sent.
        now_ms = int(utc_now().timestamp() * 1000)
        services().desk.drafts.keep(person, item_id, version, {**written, "at": now_ms})
    kept[key] = {**before, **written}


def forget_here(key: str) -> None:
    """Let what the session holds of an item's texts be read anew from the database: elsewhere they were typed on."""
    st.session_state.get(_KEPT, {}).pop(key, None)
    for name in (*_TEXTS, "codes"):
        st.session_state.pop(f"{key}.{name}", None)


def routes() -> list[Route]:
    """Return the route to mount beside the console, by which the focus view keeps what is typed without a run."""
    return [Route("/drafts/{item:uuid}/{version}", _written, methods=["PUT"])]


async def _written(request: Request) -> Response:
    body = await body_of(request, at_most=MAX_DRAFT_BYTES)
    if body is None:
        return PlainTextResponse("That is too much to keep.", status_code=413)
    place: tuple[UUID, int | None] = (request.path_params["item"], number_of(request, "version"))
    return await run_in_threadpool(_keep_sent, secret_of(request), place, body)


def _keep_sent(secret: str | None, place: tuple[UUID, int | None], body: bytes) -> Response:
    person = services().sessions.person(secret)
    if person is None:
        return PlainTextResponse("Sign in first.", status_code=401)
    item_id, version = place
    if version is None:
        return PlainTextResponse("There is no such version.", status_code=404)
    try:
        typed = Typed.model_validate_json(body)
        services().desk.drafts.keep(person, item_id, version, typed.model_dump(mode="json"))
    except ValidationError:
        return PlainTextResponse("What was typed cannot be read.", status_code=422)
    except ReviewError as error:
        return PlainTextResponse(str(error), status_code=error.status)
    return Response(status_code=204)
