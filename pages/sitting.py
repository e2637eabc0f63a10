"""One tab's sitting at the focus view: what it shows and holds, between the runs of the page and what the tab sends."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from threading import Lock
from typing import Any, NamedTuple, TypedDict
from uuid import UUID, uuid4
from weakref import WeakValueDictionary

import streamlit as st

from agents.protocol import DecisionType, Status
from pages.focus import asks_to_sign_in, look_at
from pages.item_view import Version, revealed_here, version_of
from pages.rendering import DECISION_WORDS, Markup, Tone, element, tree, visible
from pages.services import services
from pages.typed import Typed
from review.clock import utc_now
from review.errors import ItemNotFoundError, ReviewError
from review.items import CLAIM_DURATION, ItemFilter, Order, ReviewItem
from review.people import Person

LOOKED_THROUGH = 50

PAUSING = ("You are pausing", "Nothing is held for you; others can take what waits.")
NOTHING = ("Nothing is waiting for you", "The next item appears here by itself.")

_KEY = "review.sitting"
_WAITING = ItemFilter(statuses=(Status.WAITING,))
DECIDED_WORDS = {
    DecisionType.APPROVE: "Approved",
    DecisionType.EDIT: "Edited and approved",
    DecisionType.REJECT: "Rejected",
    DecisionType.RESPOND: "Answered",
}


class Acknowledgement(TypedDict):
    """What became of an entry, in a sentence for the reviewer; one that was refused changed nothing."""

    ok: bool
    tone: Tone
    text: str


def done(text: str, tone: Tone = "good") -> Acknowledgement:
    """Return that an entry was done."""
    return {"ok": True, "tone": tone, "text": text}


def refusal(text: str, tone: Tone = "bad") -> Acknowledgement:
    """Return that an entry was refused, and why."""
    return {"ok": False, "tone": tone, "text": text}


class View(StrEnum):
    """What the page can draw in place of the focus view."""

    EDIT = "edit"
    PLAIN = "plain"
    EARLIER = "earlier"


class Turned(NamedTuple):
    """To which view a tab was turned, and with which version of which item."""

    view: View
    item: UUID | None = None
    version: int = 0


class LookKey(NamedTuple):
    """Which look it is: at this version of the item, under the claim of this epoch."""

    item: UUID
    version: int
    epoch: int

    def __str__(self) -> str:
        """Return its name in the browser."""
        return f"{self.item}.{self.version}.{self.epoch}"


class Sitting:
    """What one tab of one person shows and holds. The page's runs and the tab's outbox take turns at it.

    ``revealed`` are the versions of items whose masked values are shown here. ``current`` is the item in view,
    ``turned`` tells what the page is to draw in place of the focus view; ``is_away`` while another screen is open.
    """

    def __init__(self, person: Person, revealed: set[Version]) -> None:
        self.id = uuid4().hex
        self.person = person
        self.revealed = revealed
        self.current: UUID | None = None
        self.turned: Turned | None = None
        self.is_pausing = False
        self.is_away = False
        self.turn_taking = Lock()
        self._skipped: frozenset[UUID] = frozenset()  # What was passed over, until nothing else waits.
        self._is_ahead = False  # Whether an item is held ahead for this tab.
        self.acknowledged: dict[str, Acknowledgement] = {}  # What became of each entry of the outbox as it came last.
        self._looks: dict[str, str] = {}  # What was held when the tab was told last, as it looked.
        self._sent: dict[LookKey, float] = {}  # Since when each look is with the browser.
        self._known: frozenset[UUID] | None = None  # What waited then, where any more of it would be news.
        self._number = 0

    def gone_on(self, look: LookKey) -> None:
        """Expect the item to be gone from what is held, and say nothing of it."""
        self._sent.pop(look, None)
        if self.current == look.item:
            self.current = None

    def shown_for_ms(self, look: LookKey) -> int | None:
        """Return for how long the browser has had the look; None where it did not get it from this sitting."""
        since = self._sent.get(look)
        return None if since is None else int((time.monotonic() - since) * 1000)

    def pause(self, person: Person) -> None:
        """Give back what is held, until the person goes on."""
        services().desk.release_all(person)
        self.current = None
        self.is_pausing = True

    def go_on(self) -> None:
        """Take what waits again, after a pause."""
        self.is_pausing = False

    def pass_over(self, item_id: UUID) -> None:
        """Show the item again only when nothing else waits."""
        self._skipped |= {item_id}

    def go_back_to(self, item: ReviewItem) -> None:
        """Show the item, whose decision was taken back; what was held meanwhile is in the queue again."""
        self._sent = {}
        self.current = item.id
        self.is_pausing = False

    def leave(self, person: Person) -> None:
        """Give back the item that is held ahead, when another screen is opened; the one in view stays theirs."""
        with self.turn_taking:
            self.is_away = True
            if self._is_ahead:
                self._is_ahead = False
                services().desk.release_all(person, but=[self.current] if self.current else [])

    def next(self, person: Person) -> ReviewItem | None:
        """Take the most urgent item that was not passed over; when only those are left, they come again."""
        taken = services().desk.claim(person, passing_over=self._skipped)
        if taken is None and self._skipped:
            self._skipped = frozenset()
            taken = services().desk.claim(person)
        return taken

    def has_news(self, person: Person) -> bool:
        """Tell whether what is held has changed since the tab was told last, or something waits that could be held."""
        if self.is_away or self.turned:
            return not self.is_away
        if self._stamped(person, services().desk.held(person)).keys() != self._looks.keys():
            return True
        # What waited already was not for this person; only something new is worth a claim.
        return self._known is not None and not waiting_ids(person) <= self._known

    def told(self, person: Person, *, knows: Sequence[str] = ()) -> dict[str, Any]:
        """Return all that the tab shows by now: the item to look at first and the one that follows, held from now on.

        The looks that the browser ``knows`` are left out. Where another view was asked for, or the tab shows another
        screen, nothing is held for it, and it is told only what became of what it sent.
        """
        self._number += 1
        told = {"session": self.id, "number": self._number, "acknowledged": self.acknowledged}
        if self.is_away or self.turned:
            return {**told, "is_turned": True}
        items, self._known = self._taken(person)
        gone = self._gone(person, items)
        stamped = self._stamped(person, items)
        self._looks = {stamp: self._looks.get(stamp) or self._look(person, item) for stamp, item in stamped.items()}
        now = time.monotonic()
        self._sent = {key: self._sent.get(key, now) for key in map(look_key, items)}
        calmed = None if items else calm(person, *(PAUSING if self.is_pausing else NOTHING))
        return {
            **told,
            "person": sha256(person.id.encode()).hexdigest()[:16],
            "now": utc_now().isoformat(),
            "state": "paused" if self.is_pausing else "open" if items else "empty",
            "calm": tree(calmed) if calmed else None,
            "gone": gone,
            "undo": _undo(person),
            "items": [
                {
                    "key": f"{look_key(item)}",
                    "stamp": stamp,
                    "left_ms": left_ms(item.claim.until) if item.claim else 0,
                    "look": None if stamp in knows else self._looks[stamp],
                }
                for stamp, item in stamped.items()
            ],
            "drafts": _drafts(person, items),
        }

    def _taken(self, person: Person) -> tuple[list[ReviewItem], frozenset[UUID] | None]:
        """Return what is held by now, and, where more of it would be welcome, what else waits."""
        for _ in range(2):
            items = self._held_items(person)
            waiting = None if self.is_pausing or len(items) > 1 else waiting_ids(person)
            if items or not waiting:
                break  # Else it may have come after the first look, and is tried for once more.
        return items, waiting

    def _held_items(self, person: Person) -> list[ReviewItem]:
        """Return the item to look at and the one that follows it, both held by the person from now on."""
        self._is_ahead = False
        if self.is_pausing:
            return []
        desk = services().desk
        items = list(desk.held(person)) or [item for item in (self.next(person),) if item is not None]
        if not items:
            self.current = None
            return []
        if len(items) == 1:
            ahead = desk.claim_ahead(person, passing_over=self._skipped)
            # Another tab may have taken one meanwhile.
            items = items if ahead is None else list(desk.held(person)) if ahead.id == items[0].id else [*items, ahead]
        items.sort(key=lambda item: item.id != self.current)
        if self.current != items[0].id:
            self.current = items[0].id
            items[0] = _renewed(person, items[0])
        self._is_ahead = len(items) > 1
        return items

    def _gone(self, person: Person, items: Sequence[ReviewItem]) -> dict[str, str]:
        """Return why what the browser was given is held no more, though nothing was done with it."""
        held = set(map(look_key, items))
        told: dict[str, str] = {}
        for missing in (look.item for look in self._sent if look not in held):
            try:
                told[str(missing)] = why_gone(services().desk.whole(person, missing).item)
            except ItemNotFoundError as error:
                told[str(missing)] = str(error)
        return told

    def _stamped(self, person: Person, items: Sequence[ReviewItem]) -> dict[str, ReviewItem]:
        """Return the items by all that a look at them depends on."""
        now = utc_now()
        stamped = {}
        for item in items:
            is_revealed, is_asked = version_of(item) in self.revealed, asks_to_sign_in(item, person, now)
            stamped[f"{look_key(item)}.{item.notes}.{is_revealed}.{is_asked}"] = item
        return stamped

    def _look(self, person: Person, item: ReviewItem) -> str:
        whole = services().desk.whole(person, item.id)
        return look_at(person, whole, self.revealed)


# By their ids. They live as long as the sessions of Streamlit that hold them.
sittings: WeakValueDictionary[str, Sitting] = WeakValueDictionary()


def sitting_here(person: Person) -> Sitting:
    """Return the sitting of the person at this tab; a new one where somebody else sat here before."""
    kept: Sitting | None = st.session_state.get(_KEY)
    if kept is None or kept.person.id != person.id:
        kept = st.session_state[_KEY] = Sitting(person, revealed_here())
        sittings[kept.id] = kept
    kept.person = person
    return kept


def look_key(item: ReviewItem) -> LookKey:
    """Return which look at the item this is."""
    return LookKey(item.id, item.version, item.epoch)


def waiting_ids(person: Person) -> frozenset[UUID]:
    """Return what waits, the most urgent of it."""
    rows = services().desk.items(person, _WAITING, order=Order.URGENT, limit=LOOKED_THROUGH).rows
    return frozenset(row.id for row in rows)


def why_gone(item: ReviewItem) -> str:
    """Return why the person does not have the item on their screen any more."""
    if item.pending is not None:
        return f"{item.pending.name} has decided the item that you were looking at."
    match item.status:
        case Status.CANCELLED:
            return "The agent withdrew the item that you were looking at."
        case Status.EXPIRED:
            return "The item that you were looking at expired before it was decided."
        case Status.SETTLED:
            return "The item that you were looking at is settled by now."
    return "Your hold on the item had lapsed. What you typed for it is kept."


def calm(person: Person, title: str, text: str) -> Markup:
    """Return what stands where no item does, with what the person decided today."""
    today = services().desk.decided_since(person, utc_now().replace(hour=0, minute=0, second=0, microsecond=0))
    counts = (
        element("div", element("dd", f"{today[decision]:,}"), element("dt", name))
        for decision, name in DECISION_WORDS.items()
    )
    return element(
        "div",
        element("h2", title),
        element("p", text),
        element("dl", *counts, class_="so-counts"),
        element("p", "By you, today", class_="so-small"),
        class_="so-empty",
    )


def _renewed(person: Person, item: ReviewItem) -> ReviewItem:
    """Hold an item that was held ahead for as long as any other, from when it comes into view."""
    if item.claim is None or item.claim.until - utc_now() > CLAIM_DURATION / 2:
        return item
    try:
        return services().desk.extend(person, item.id, epoch=item.epoch)
    except ReviewError:
        return item  # It lapsed at this moment; the next look says so.


def left_ms(until: datetime) -> int:
    """Return how many milliseconds are left; none once it is over."""
    return max(int((until - utc_now()).total_seconds() * 1000), 0)


def _undo(person: Person) -> Mapping[str, Any] | None:
    """Return what was decided last and can still be taken back, and for how long."""
    item = next(iter(services().desk.undoable(person)), None)
    if item is None or item.pending is None:
        return None
    return {
        "item": str(item.id),
        "version": item.version,
        "epoch": item.epoch,
        "did": DECIDED_WORDS[DecisionType(item.pending.decision.type)],
        "tool": visible(item.request.action.name),
        "left_ms": left_ms(item.pending.settles_at),
    }


def _drafts(person: Person, items: Sequence[ReviewItem]) -> dict[str, dict[str, Any]]:
    written = services().desk.drafts.read_all(person, list(map(version_of, items)))
    return {
        f"{item.id}.{item.version}": {name: kept[name] for name in Typed.model_fields if name in kept}
        for item, kept in zip(items, written, strict=True)
    }
