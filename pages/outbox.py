"""The outbox of the focus view: what its browser asks for, each entry answered once, by a route of our own.

The browser paints the next item at once and says later what was decided. An entry names the item, its version, the
claim's epoch and the digest that was painted, and is sent until it is acknowledged; one that comes twice changes
nothing more. No press costs a run of the page, unless the route leads to another server than the page does. Authority
stays in the use cases: what the browser says is only ever a request, and who sends it is looked up each time.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from agents.protocol import Approve, DecisionType, Reject, Respond
from pages.item_view import hidden_characters, is_editable, readable, reveal
from pages.requests import body_of, secret_of
from pages.services import services
from pages.sitting import Acknowledgement, LookKey, Sitting, Turned, View, done, refusal, sittings
from pages.typed import LONGEST_TEXT
from review.desk import Seen
from review.errors import ReviewError
from review.items import Purpose, ReasonCode, ReviewItem
from review.people import Permission, Person

SETTLING_MS = 300

_MOST_ENTRIES = 50
_MOST_BYTES = 2 * 1024 * 1024
_DONE = {
    DecisionType.APPROVE: "Approved; it may run now.",
    DecisionType.EDIT: "Edited and approved; your version may run now.",
    DecisionType.REJECT: "Rejected; it will not run, and the agent is told why.",
    DecisionType.RESPOND: "Answered; it will not run, and the agent goes on with your answer.",
}
_DONE_AFTERWARDS = "Noted. It had run already; your look is kept as a label."
_DONE_OBSERVED = "Noted. Nothing waited for it; your decision is kept as a label."


class Act(StrEnum):
    """What a reviewer asks for in the focus view."""

    DECIDE = "decide"
    UNDO = "undo"
    ASK = "ask"
    EXTEND = "extend"
    SKIP = "skip"
    EDIT = "edit"
    EARLIER = "earlier"
    PAUSE = "pause"
    RESUME = "resume"
    PLAIN = "plain"
    REVEAL = "reveal"


class Entry(BaseModel):
    """An entry of the outbox: what was asked for, and of which look at which item.

    ``dwell_ms`` is for how long it was painted, in which ``session``; ``is_opened`` whether none of its arguments was
    hidden any more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=8, max_length=64)
    act: Act
    item: UUID | None = None
    version: int = 0
    epoch: int = 0
    digest: str = ""
    decision: Approve | Reject | Respond | None = Field(default=None, discriminator="type")
    codes: tuple[ReasonCode, ...] = ()
    text: str = Field(default="", max_length=LONGEST_TEXT)
    dwell_ms: int = Field(default=0, ge=0, lt=2**53)  # What a browser counts exactly.
    session: str = Field(default="", max_length=64)
    is_opened: bool = False
    tries: int = Field(default=1, ge=0)


class Sent(BaseModel):
    """What the browser sends: its outbox, of which each entry is read by itself, and the looks that it has already.

    Without an outbox it only asks for news.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    outbox: tuple[Any, ...] = Field(default=(), max_length=_MOST_ENTRIES)
    knows: tuple[str, ...] = Field(default=(), max_length=_MOST_ENTRIES)


def hear(sitting: Sitting, person: Person, outbox: Sequence[object]) -> None:
    """Answer what is new in the outbox.

    Only what the outbox still holds is remembered: the browser takes out of it what was acknowledged.
    """
    entries = list(_readable(outbox[:_MOST_ENTRIES]))
    kept = {id_: sitting.acknowledged[id_] for id_, _ in entries if id_ in sitting.acknowledged}
    for id_, entry in entries:
        if id_ not in kept:
            kept[id_] = _answered(sitting, person, entry) if isinstance(entry, Entry) else refusal(entry)
            sitting.acknowledged = dict(kept)
    sitting.acknowledged = kept


def _readable(outbox: Sequence[object]) -> Iterator[tuple[str, Entry | str]]:
    for given in outbox:
        if not isinstance(given, dict) or not isinstance(given.get("id"), str):
            continue  # No browser of ours sends it, and nobody waits for an answer to it.
        try:
            yield given["id"], Entry.model_validate_json(json.dumps(given))
        except ValidationError as error:
            yield given["id"], "Nothing was done: " + "; ".join(found["msg"] for found in error.errors())


def _answered(sitting: Sitting, person: Person, entry: Entry) -> Acknowledgement:
    try:
        return _ACTS[entry.act](sitting, person, entry)
    except ReviewError as error:
        return refusal(str(error))


def _decided(sitting: Sitting, person: Person, entry: Entry) -> Acknowledgement:
    if entry.item is None or entry.decision is None:
        return refusal("Nothing was decided.")
    dwell_ms = _looked_for_ms(sitting, entry)
    if dwell_ms < SETTLING_MS:
        return refusal("That press came as the item was still appearing, so nothing was decided.", "warn")
    if isinstance(entry.decision, Approve) and not entry.is_opened and _hides(sitting, person, entry.item):
        return refusal("Open the hidden characters to approve.", "warn")
    seen = Seen(entry.digest, entry.version, entry.epoch, dwell_ms)
    made = services().desk.decide(entry.item, entry.decision, person, seen=seen, reason_codes=entry.codes)
    sitting.gone_on(LookKey(entry.item, entry.version, entry.epoch))
    if made.pending is not None:
        return done("")  # The offer to undo tells of it.
    if not made.status.is_final:
        sitting.pass_over(made.id)
    return done(what_was_done(made, DecisionType(entry.decision.type)))


def _hides(sitting: Sitting, person: Person, item_id: UUID) -> bool:
    whole = services().desk.whole(person, item_id)
    return hidden_characters(readable(whole, sitting.revealed)) > 0


def _undone(sitting: Sitting, person: Person, entry: Entry) -> Acknowledgement:
    if entry.item is None:
        return refusal("Nothing was taken back.")
    sitting.go_back_to(services().desk.undo(person, entry.item, epoch=entry.epoch))
    return done("Taken back; the item is yours again.")


def _asked(_: Sitting, person: Person, entry: Entry) -> Acknowledgement:
    text = entry.text.strip()
    if entry.item is None or not text:
        return refusal("Write a question first.", "warn")
    services().desk.ask(person, entry.item, text)
    return done("Asked. The answer appears with the notes.")


def _held_longer(_: Sitting, person: Person, entry: Entry) -> Acknowledgement:
    if entry.item is not None:
        services().desk.extend(person, entry.item, epoch=entry.epoch)
    return done("")


def _passed_over(sitting: Sitting, person: Person, entry: Entry) -> Acknowledgement:
    if entry.item is not None:
        services().desk.release(person, entry.item, epoch=entry.epoch)
        sitting.pass_over(entry.item)
        sitting.gone_on(LookKey(entry.item, entry.version, entry.epoch))
    return done("")


def _revealed(sitting: Sitting, person: Person, entry: Entry) -> Acknowledgement:
    if entry.item is not None:
        reveal(services().desk.whole(person, entry.item).item, person, sitting.revealed)
    return done("")


def _turned_to_edit(sitting: Sitting, person: Person, entry: Entry) -> Acknowledgement:
    if entry.item is None:
        return refusal("There is nothing to edit.")
    if not is_editable(services().desk.whole(person, entry.item), sitting.revealed):
        return refusal("A form shows what it changes: reveal the masked values to edit.", "warn")
    sitting.current = entry.item
    sitting.turned = Turned(View.EDIT, entry.item, entry.version)
    return done("")


def _turned_to_earlier(sitting: Sitting, person: Person, entry: Entry) -> Acknowledgement:
    if entry.item is not None:
        earlier = services().desk.whole(person, entry.item).item.repeats_id
        sitting.turned = Turned(View.EARLIER, earlier) if earlier else None
    return done("")


def _turned_plain(sitting: Sitting, _: Person, entry: Entry) -> Acknowledgement:
    sitting.current = entry.item or sitting.current
    sitting.turned = Turned(View.PLAIN, entry.item, entry.version)
    return done("")


def _paused(sitting: Sitting, person: Person, _: Entry) -> Acknowledgement:
    sitting.pause(person)
    return done("")


def _resumed(sitting: Sitting, _: Person, __: Entry) -> Acknowledgement:
    sitting.go_on()
    return done("")


def _looked_for_ms(sitting: Sitting, entry: Entry) -> int:
    """Return for how long the entry's item was looked at: what the browser says, but not since before it had it.

    What was painted before the sitting began, the server cannot say; the browser does.
    """
    most = None
    if entry.item is not None and entry.session == sitting.id:
        most = sitting.shown_for_ms(LookKey(entry.item, entry.version, entry.epoch))
    return entry.dwell_ms if most is None else min(entry.dwell_ms, most)


_ACTS: dict[Act, Callable[[Sitting, Person, Entry], Acknowledgement]] = {
    Act.DECIDE: _decided,
    Act.UNDO: _undone,
    Act.ASK: _asked,
    Act.EXTEND: _held_longer,
    Act.SKIP: _passed_over,
    Act.EDIT: _turned_to_edit,
    Act.EARLIER: _turned_to_earlier,
    Act.PLAIN: _turned_plain,
    Act.PAUSE: _paused,
    Act.RESUME: _resumed,
    Act.REVEAL: _revealed,
}


def what_was_done(made: ReviewItem, decision: DecisionType) -> str:
    """Return what came of the decision, in a sentence."""
    if made.purpose is Purpose.AUDIT:
        return _DONE_AFTERWARDS
    if made.purpose is Purpose.SHADOW:
        return _DONE_OBSERVED
    if made.status.is_final:
        return _DONE[decision]
    if decision is DecisionType.EDIT:
        return "Your edit is kept; it runs once the others have approved it."
    return "Your approval is in; the item needs others, too."


def routes() -> list[Route]:
    """Return the route to mount beside the console, by which a tab hands over its outbox and asks for news."""
    return [Route("/sittings/{sitting}", _sent, methods=["POST"])]


async def _sent(request: Request) -> Response:
    body = await body_of(request, at_most=_MOST_BYTES)
    if body is None:
        return PlainTextResponse("That is too much at once; nothing was done.", status_code=413)
    return await run_in_threadpool(_answer, secret_of(request), request.path_params["sitting"], body)


def _answer(secret: str | None, sitting_id: str, body: bytes) -> Response:
    """Answer with 409 where the page is to be drawn anew for who sits there, with 410 where nobody sits any more."""
    sessions = services().sessions
    try:
        sent = Sent.model_validate_json(body)
        # Who only asks for news does nothing, and is signed out for that in time.
        person = sessions.person(secret) if sent.outbox else sessions.glance(secret)
        if person is None:
            return PlainTextResponse("You are signed out; nothing was done.", status_code=401)
        person.require(Permission.DECIDE)
        sitting = sittings.get(sitting_id)
        if sitting is None or (sitting.person.workspace, sitting.person.id) != (person.workspace, person.id):
            return PlainTextResponse("Nobody sits there any more; nothing was done.", status_code=410)
        with sitting.turn_taking:
            if sent.outbox:
                hear(sitting, person, sent.outbox)
            elif person != sitting.person:
                return PlainTextResponse("Your roles have changed.", status_code=409)
            elif not sitting.has_news(person):
                return Response(status_code=204)
            return JSONResponse(sitting.told(person, knows=sent.knows))
    except ValidationError:
        return PlainTextResponse("What was sent cannot be read; nothing was done.", status_code=400)
    except ReviewError as error:
        return PlainTextResponse(str(error), status_code=error.status)
