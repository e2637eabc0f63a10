"""The Audit screen: what happened and who did it, one item's story, and the log to take away."""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlencode
from uuid import UUID

import streamlit as st

from pages import history_page
from pages.presence import is_still_here
from pages.rendering import (
    Markup,
    chip,
    draw,
    element,
    facts,
    fold,
    humanised,
    moment,
    notice,
    plain,
    show_refusal,
    table,
    visible,
)
from pages.services import services
from pages.stories import EVENT_COLUMNS, event_cells, story_lines
from pages.tables import (
    Cell,
    Column,
    Line,
    ask_days,
    ask_one,
    page_of,
    rows_words,
    show_empty,
    show_list,
    show_pager,
    switch_to,
)
from review.anchors import Anchor
from review.audit import AuditEvent, EventFilter, EventKind
from review.items import Page
from review.people import Permission, Person
from review.sealer import LEAVES_PER_CHECKPOINT
from review.verification import Verification
from review.verify import url64

TITLE = "Audit"
ICON = ":material/fact_check:"
PATH = "audit"
PERMISSION = Permission.SEE_AUDIT

KEY = "audit"
EVENTS_PER_PAGE = 100
DOWNLOAD = "/download/audit.csv"
WORDS_SHOWN = 200
# How often a long verification shows how far it is, and looks whether the person is still signed in.
SHOW_AGAIN_S = 0.25
LOOK_AGAIN_S = 10.0

_KINDS = {kind: humanised(kind) for kind in EventKind}
_COLUMNS = (*EVENT_COLUMNS[:2], Column("item", "Item", "mono"), *EVENT_COLUMNS[2:])

_VERIFIER = "/download/verify.py"
_CHECKPOINT = "/api/v1/checkpoint"
_VERIFICATION = f"{KEY}.verification"
_VERIFYING = "The log is being exported and verified. Stay on this page."
_NO_ID = (
    "That is not an item's whole id, which has 32 hexadecimal digits, so nothing is listed. Empty the field, and press "
    "“Look” at one of the item's events: it gives the whole id to copy, and can show this item's events alone."
)
_ABOUT = """
Each row of the CSV is one event. Its column `leaf` holds the event's exact bytes (RFC 8785 canonical JSON, in
base64url): **that is the evidence**. Its column `proof` leads from there to the head of the log, which is signed in
the last row, the manifest, together with the filter and the counts. The other columns are a readable rendering of the
leaf, escaped so that no spreadsheet takes a cell for a formula.

People and digests are only committed to in a leaf. The column `openings` holds what opens these commitments, as long as
it is not erased; what was erased reads `[erased]`, and the file still verifies.

Whoever trusts neither this console nor its database verifies the file without them, offline:

    python verify.py signoff-audit.csv --key signoff.pub

The public key comes once, from somebody you trust: `python app.py key public --out signoff.pub`. Keep a checkpoint
outside now and then, and add `--checkpoint FILE`: a log that was rolled back or rewritten since then is found.

Arguments and people's words are never in an event. Digests stand for them.
"""


def page(person: Person) -> None:
    """Show the audit log, newest first, and offer it as a file."""
    _go_to_the_item()
    st.title(TITLE, anchor=False)
    show_refusal()
    _show_log(person)
    where = _ask_filter()
    if where is None:
        return  # What would be listed, and taken away, is not what was asked for.
    found = page_of(
        KEY,
        where,
        lambda cursor: services().records.events(person, where, limit=EVENTS_PER_PAGE, cursor=cursor),
    )
    is_to_be_verified = _show_download(person, where)
    place = st.container()
    _show_events(person, found)
    # Last, so that the page is whole while it lasts. Whatever is pressed meanwhile, and leaving, ends it.
    with place:
        if is_to_be_verified:
            _verify(person)
        _show_verification()


def _posted_cell(anchor: Anchor) -> Markup:
    if anchor.size is None:
        return element("span", "nothing yet", class_="so-quiet")
    events = "1 event" if anchor.size == 1 else f"{anchor.size:,} events"
    return element("div", events, element("p", moment(anchor.at), class_="so-plain so-quiet so-small"))


def _show_events(person: Person, found: Page[AuditEvent]) -> None:
    if not found.rows:
        show_empty("Nothing matches", "Take a filter away, or choose other days.")
        return
    lines = [_line(event) for event in found.rows]
    show_list(f"{KEY}.list", _COLUMNS, lines, caption="The audit log, newest first", on_press=_choose)
    show_pager(KEY, found)
    _show_chosen(person, found.rows)


def _show_log(person: Person) -> None:
    head, beat = services().records.log(person)
    if beat.is_missing:
        draw(
            notice("The audit log has not been sealed for too long. Events are kept, but look after the server.", "bad")
        )
    if head is None:
        draw(notice("Nothing is sealed yet; the first checkpoint is signed within a minute."))
        return
    waiting = f"{beat.backlog.count:,}" + ("+" if beat.backlog.count >= LEAVES_PER_CHECKPOINT else "")
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        draw(
            facts(
                [
                    ("Sealed events", f"{head.frontier.size:,}"),
                    ("Not sealed yet", waiting),
                    ("Last checkpoint", moment(head.at)),
                ]
            )
        )
        with st.popover("The checkpoint", type="tertiary", icon=":material/verified:"):
            st.caption(
                f"The signed head of the log; anybody may fetch it at {_CHECKPOINT}. Keep it outside this house."
            )
            st.code(head.note, language=None, wrap_lines=True)
    _show_anchors(services().records.anchors(person))


def _show_anchors(anchors: Sequence[Anchor]) -> None:
    if not anchors:
        plain("Checkpoints are posted nowhere outside yet; the setting SIGNOFF_ANCHORS names places.", is_quiet=True)
        return
    troubled = sum(anchor.trouble is not None or anchor.is_alarming for anchor in anchors)
    mark = chip(f"{troubled} in trouble", "bad") if troubled else chip("in order", "good")
    places = "1 place" if len(anchors) == 1 else f"{len(anchors)} places"
    body = table(["Anchor", "Last posted"], [(_anchor_cell(anchor), _posted_cell(anchor)) for anchor in anchors])
    draw(fold(f"Anchored at {places}", body, mark=mark, is_open=bool(troubled)))


def _anchor_cell(anchor: Anchor) -> Markup:
    parts = [element("div", anchor.place, class_="so-plain")]
    if anchor.trouble is not None:
        parts.append(element("p", anchor.trouble, class_="so-error"))
    elif anchor.is_alarming:
        parts.append(element("p", "It has not answered for more than two minutes.", class_="so-error"))
    if anchor.due_since is not None and anchor.trouble is not None:
        since = f"A checkpoint waits for it since {moment(anchor.due_since)}."
        parts.append(element("p", since, class_="so-plain so-quiet so-small"))
    return element("div", *parts)


def _ask_filter() -> EventFilter | None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = ask_one("Event", _KINDS, key=f"{KEY}.kind")
        actor = st.text_input(
            "By (id or name)", key=f"{KEY}.actor", persist_state="session", placeholder="Anybody", width=200
        )
        item = st.text_input("Item", key=f"{KEY}.item", persist_state="session", placeholder="An item's id", width=330)
        since, until = ask_days("Between", key=f"{KEY}.days")
    item_id = item_id_in(item)
    if item.strip() and item_id is None:
        draw(notice(_NO_ID, "bad"))
        return None
    return EventFilter(kind=kind, actor=actor.strip() or None, item_id=item_id, since=since, until=until)


def item_id_in(text: str) -> UUID | None:
    """Return the item's id that somebody typed or pasted, or None."""
    try:
        return UUID(text.strip())
    except ValueError:
        return None


def download_address(where: EventFilter) -> str:
    """Return the address of the log as a CSV file, under the same filter as the list."""
    asked: dict[str, str | UUID | datetime | None] = {
        "kind": where.kind.value if where.kind else None,
        "actor": where.actor,
        "item": where.item_id,
        "since": where.since.isoformat() if where.since else None,
        "until": where.until.isoformat() if where.until else None,
    }
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    return f"{DOWNLOAD}?{query}" if query else DOWNLOAD


def _show_download(person: Person, where: EventFilter) -> bool:
    """Offer the log as a file, and its verification; tell whether the latter was asked for."""
    if not person.may(Permission.EXPORT_AUDIT):
        return False
    with st.container(horizontal=True, vertical_alignment="center"):
        is_filtered = where != EventFilter()
        label = "Download what matches (CSV)" if is_filtered else "Download the log (CSV)"
        st.link_button(label, download_address(where), icon=":material/download:")
        is_asked = st.button("Verify the log", key=f"{KEY}.verify", icon=":material/rule:")
        st.link_button("Download the verifier", _VERIFIER, icon=":material/verified:", type="tertiary")
        with st.popover("What is in the file?", type="tertiary"):
            st.markdown(_ABOUT)
        count = services().records.count_events(person, where)
        st.caption(f"What matches now: {rows_words(count, 'event')}.", width="content")
    return is_asked


def _verify(person: Person) -> None:
    st.session_state.pop(_VERIFICATION, None)
    bar = st.progress(0.0, text=_VERIFYING)
    looked = shown = time.monotonic()

    def told(share: float) -> None:
        nonlocal looked, shown
        now = time.monotonic()
        if now - looked >= LOOK_AGAIN_S:
            looked = now
            if not is_still_here(person):
                st.stop()
        if now - shown >= SHOW_AGAIN_S:
            shown = now
            bar.progress(min(share, 1.0), text=_VERIFYING)

    try:
        st.session_state[_VERIFICATION] = services().records.verified(person, told=told), datetime.now(UTC)
    finally:
        bar.empty()


def _show_verification() -> None:
    kept: tuple[Verification, datetime] | None = st.session_state.get(_VERIFICATION)
    if kept is None:
        return
    verification, at = kept
    if verification.is_right:
        draw(notice(f"All {verification.events:,} events are as they were sealed, and none is missing.", "good"))
    else:
        draw(notice("The log is not as it was sealed. What is wrong with it:", "bad"))
    st.code(visible("\n".join(verification.words[:WORDS_SHOWN])), language=None, wrap_lines=True)
    st.caption(
        f"This server verified its own log at {moment(at)}. Whoever does not trust it downloads the log and the "
        "verifier, and runs it elsewhere."
    )


def _line(event: AuditEvent) -> Line:
    item = Cell(str(event.item_id)[-12:], tone="quiet") if event.item_id else Cell()
    return Line(id=str(event.id), name=_KINDS[event.kind], act="Look", cells={**event_cells(event), "item": item})


def _choose(event_id: str) -> None:
    st.session_state[f"{KEY}.chosen"] = event_id


def _show_chosen(person: Person, shown: Sequence[AuditEvent]) -> None:
    chosen = st.session_state.pop(f"{KEY}.chosen", None)
    for event in shown:
        if str(event.id) == chosen:
            _event_dialog(person, event)


@st.dialog("Event", width="large")
def _event_dialog(person: Person, event: AuditEvent) -> None:
    draw(
        facts(
            [
                ("Event", _KINDS[event.kind]),
                ("When", moment(event.at)),
                ("By", event.actor.name),
                ("Known as", event.actor.id),
            ]
        )
    )
    if event.item_id is not None:
        _show_story(person, event.item_id)
    leaf = event.leaf
    with st.expander("The leaf: what is kept and exported", expanded=event.item_id is None):
        st.caption("Laid out for reading")
        laid_out = json.dumps(json.loads(leaf), indent=2, ensure_ascii=False)
        st.code(visible(laid_out), language=None, wrap_lines=True)
        st.caption("As it stands in the CSV (base64url)")
        st.code(url64(leaf), language=None, wrap_lines=True)


def _show_story(person: Person, item_id: UUID) -> None:
    draw(element("p", "The item's id", class_="so-label"))
    st.code(str(item_id), language=None)
    st.caption("The story of this item, oldest first")
    found = services().records.events(person, EventFilter(item_id=item_id), limit=EVENTS_PER_PAGE)
    show_list(f"{KEY}.story", EVENT_COLUMNS, story_lines(found.rows), caption="What happened to the item")
    with st.container(horizontal=True):
        pressed = st.button("Show only this item", key=f"{KEY}.only", on_click=_only, args=(item_id,))
        if person.may(Permission.SEE_ITEMS):
            pressed = st.button("Open the item", key=f"{KEY}.open", on_click=_open, args=(item_id,)) or pressed
    if pressed:
        st.rerun()  # A press in a dialog redraws the dialog alone.


def _only(item_id: UUID) -> None:
    st.session_state[f"{KEY}.item"] = str(item_id)


def _open(item_id: UUID) -> None:
    st.session_state[f"{KEY}.opened"] = str(item_id)


def _go_to_the_item() -> None:
    # A callback may not switch pages itself; the run that follows it does.
    opened = st.session_state.pop(f"{KEY}.opened", None)
    if opened is not None:
        switch_to(history_page, item=opened)
