"""Breaking the glass: how it is done, how every admin sees it at once, and how it is looked at afterwards."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

import streamlit as st

from pages.numbers import UNFIT, Wanted, ask_number
from pages.presence import act_as, act_in_dialog
from pages.rendering import Markup, draw, element, facts, moment, notice, said
from pages.services import services
from pages.sign_in import way_to_sign_in_again
from review.emergencies import LONGEST
from review.people import Emergency, Permission, Person

KEY = "emergency"
_MINUTES = int(LONGEST.total_seconds() // 60)
_REASON_AT_MOST = 500
_TICKET_AT_MOST = 120
_UNBROKEN = "The glass is not broken yet."


def show_emergencies(person: Person, standing: Sequence[Emergency]) -> None:
    """Say who may approve alone now, why and until when; its holder and admins may end it."""
    for one in standing:
        with st.container(horizontal=True, vertical_alignment="center", key=f"{KEY}.banner.{one.id}"):
            draw(alarm_of(one))
            if one.holder == person.id or person.may(Permission.MANAGE_PEOPLE):
                st.button(
                    "End it",
                    key=f"{KEY}.end.{one.id}",
                    icon=":material/lock:",
                    on_click=_end,
                    args=(person, one.id),
                    width="content",
                )


def alarm_of(one: Emergency) -> Markup:
    """Return the banner's words: who broke the glass, why, under which ticket, and until when."""
    return element(
        "div",
        element("strong", f"{one.name} broke the glass. "),
        f"{one.reason} (ticket {one.ticket})",
        element("p", "Approves alone what needs several people, until ", moment(one.until), ".", class_="so-small"),
        class_="so-notice so-notice-bad",
        role="alert",
    )


def offer_break_glass(person: Person, *, on_press: Callable[[], None]) -> None:
    """Offer the glass to whoever may break it, in a dialog."""
    if person.may(Permission.BREAK_GLASS) and st.button(
        "Break the glass…",
        key=f"{KEY}.offer",
        icon=":material/emergency_home:",
        width="content",
        on_click=on_press,
    ):
        _dialog(person)


@st.dialog("Break the glass")
def _dialog(person: Person) -> None:
    if not person.has_just_signed_in(datetime.now(UTC)):
        st.write("Whoever breaks the glass must have signed in within the last 15 minutes.")
        draw(way_to_sign_in_again(person, "/"))
        return
    st.write(
        "Until it is over, your approval alone is enough where the policy asks for several people. Every admin sees it "
        "at once, and one of them looks at what you did with it."
    )
    reason = st.text_area("Why", max_chars=_REASON_AT_MOST, placeholder="What cannot wait for a second person?")
    ticket = st.text_input("Ticket", max_chars=_TICKET_AT_MOST, placeholder="INC-1234")
    minutes = ask_number("For how many minutes", 15, Wanted(least=1, most=_MINUTES))
    if not st.button("Break it", type="primary", key=f"{KEY}.do"):
        return
    if minutes.value is None:
        draw(notice(f"{UNFIT} {_UNBROKEN}", "bad"))
    else:
        _break(person, reason, ticket, int(minutes.value))


def _break(person: Person, reason: str, ticket: str, minutes: int) -> None:
    def act(here: Person) -> None:
        services().emergencies.break_glass(here, reason=reason, ticket=ticket, minutes=minutes)
        said("The glass is broken; every admin sees it.", "warn")

    act_in_dialog(person, act, otherwise=_UNBROKEN)


def _end(person: Person, emergency_id: UUID) -> None:
    def act(here: Person) -> None:
        services().emergencies.end(here, emergency_id)
        said("It is over: approvals need several people again.")

    act_as(person, act)


def show_uses(person: Person) -> None:
    """List when the glass was broken, and let an admin say what they found in looking at it."""
    uses = services().emergencies.uses(person) if person.may(Permission.SEE_EMERGENCIES) else ()
    if not uses:
        return
    draw(element("h2", "When the glass was broken", class_="so-sentence"))
    now = datetime.now(UTC)
    for one in uses:
        with st.container(border=True, key=f"{KEY}.use.{one.id}"):
            draw(use_of(one, now))
            if is_reviewable(one, person, now):
                _ask_finding(person, one)


def use_of(one: Emergency, now: datetime) -> Markup:
    """Return what is known of one: who, why, when, and what was found."""
    over = "in force until " if one.holds(now) else "until "
    found = element("span", one.finding or "", " (", one.reviewed_by or "", ")") if one.reviewed_at else "not yet"
    return facts(
        [
            ("By", one.name),
            ("Why", one.reason),
            ("Ticket", one.ticket),
            ("When", element("span", moment(one.opened_at), ", ", over, moment(one.ended_at or one.until))),
            ("Looked at", found),
        ]
    )


def is_reviewable(one: Emergency, person: Person, now: datetime) -> bool:
    """Tell whether the person is one who may look at it now."""
    is_open = one.reviewed_at is None and not one.holds(now)
    return is_open and person.may(Permission.MANAGE_PEOPLE) and person.id != one.holder


def _ask_finding(person: Person, one: Emergency) -> None:
    key = f"{KEY}.finding.{one.id}"
    with st.form(f"{key}.form", border=False):
        st.text_area("What you found in looking at it", key=key, max_chars=_REASON_AT_MOST)
        st.form_submit_button("Looked at it", icon=":material/fact_check:", on_click=_review, args=(person, one.id))


def _review(person: Person, emergency_id: UUID) -> None:
    finding = str(st.session_state.get(f"{KEY}.finding.{emergency_id}", ""))

    def act(here: Person) -> None:
        services().emergencies.review(here, emergency_id, finding)
        said("What you found is kept.")

    act_as(person, act)
