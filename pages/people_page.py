"""The People screen: who has signed in, in which roles, trained for what; and what each role may do."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta

import streamlit as st

from pages.emergencies import show_uses
from pages.presence import act_as
from pages.rendering import draw, element, facts, moment, said, show_refusal, table
from pages.services import services
from pages.tables import Cell, Column, Line, show_empty, show_list
from review.people import ROLE_PERMISSIONS, Permission, Person, Role
from review.roster import Attendance

TITLE = "People"
ICON = ":material/group:"
PATH = "people"
PERMISSION = Permission.SEE_PEOPLE

KEY = "people"

_COLUMNS = (
    Column("name", "Person"),
    Column("roles", "Roles"),
    Column("trained", "Trained for"),
    Column("sessions", "Signed in", "number"),
    Column("seen", "Last sign-in", "ago"),
    Column("since", "Known since", "ago"),
)
ROLE_WORDS = {
    Role.REVIEWER: "Reviewer",
    Role.LEAD: "Lead",
    Role.AUDITOR: "Auditor",
    Role.ADMIN: "Admin",
    Role.BREAK_GLASS: "Break-glass",
}


def page(person: Person) -> None:
    """Show the people of the workspace, and let admins give and take roles, record training and end sessions."""
    st.title(TITLE, anchor=False)
    show_refusal()
    everybody = services().roster.people(person)
    if not everybody:
        show_empty("Nobody has signed in yet", "A person appears here with their first sign-in.")
    else:
        _show_everybody(person, everybody)
    show_uses(person)
    with st.expander("Who may do what", icon=":material/rule:"):
        draw(table(*matrix(), class_="so-table so-matrix"))


def matrix() -> tuple[list[str], list[list[str]]]:
    """Return the permission matrix: what may be done, and who may."""
    head = ["May", *(ROLE_WORDS[role] for role in Role)]
    body = [
        [permission.value, *("yes" if permission in ROLE_PERMISSIONS[role] else "–" for role in Role)]
        for permission in Permission
    ]
    return head, body


def _show_everybody(person: Person, everybody: Sequence[Attendance]) -> None:
    now = datetime.now(UTC)
    chosen = st.session_state.get(f"{KEY}.chosen")
    shown = next((one for one in everybody if one.member.id == chosen), everybody[0])
    lines = [line_of(one, now, is_current=one is shown) for one in everybody]
    show_list(f"{KEY}.list", _COLUMNS, lines, caption="Everybody who has signed in", on_press=_choose)
    _show_one(person, shown)


def line_of(one: Attendance, now: datetime, *, is_current: bool = False) -> Line:
    """Return the person's row."""
    member = one.member
    trained = [queue for queue in sorted(member.trained_until) if member.is_trained_for(queue, now)]
    lapsed = sorted(set(member.trained_until) - set(trained))
    return Line(
        id=member.id,
        name=member.name,
        act="Show",
        is_current=is_current,
        cells={
            "name": Cell(member.name, under=member.sub, tone="strong"),
            "roles": Cell(role_words(member.roles), tone="" if member.roles else "warn"),
            "trained": Cell(", ".join(trained) or "–", under=f"lapsed: {', '.join(lapsed)}" if lapsed else ""),
            "sessions": Cell(str(len(one.sessions))),
            "seen": Cell(at=member.last_seen_at),
            "since": Cell(at=member.first_seen_at),
        },
    )


def role_words(roles: frozenset[Role]) -> str:
    """Return roles as they are read."""
    return ", ".join(ROLE_WORDS[role] for role in Role if role in roles) or "no role"


def _choose(member_id: str) -> None:
    st.session_state[f"{KEY}.chosen"] = member_id


def _show_one(person: Person, one: Attendance) -> None:
    member = one.member
    draw(element("h2", member.name, class_="so-sentence"))
    changed = [
        ("Brought by the sign-in", role_words(member.claimed)),
        ("Given here", role_words(member.given) if member.given else "–"),
        ("Taken here", role_words(member.taken) if member.taken else "–"),
    ]
    draw(facts([("Issuer", member.iss), ("Subject", member.sub), *changed]))
    if not person.may(Permission.MANAGE_PEOPLE):
        return
    if member.id == person.id:
        draw(element("p", "Your own roles and training are another admin's to change.", class_="so-quiet"))
        return
    left, right = st.columns(2, gap="large")
    with left:
        _ask_roles(person, one)
    with right:
        _ask_training(person, one)
    _ask_sessions(person, one)


def _ask_roles(person: Person, one: Attendance) -> None:
    key = f"{KEY}.roles.{one.member.id}.{'.'.join(sorted(one.member.roles))}"
    with st.form(f"{key}.form", border=False):
        st.multiselect(
            "Roles",
            list(Role),
            default=[role for role in Role if role in one.member.roles],
            format_func=ROLE_WORDS.__getitem__,
            placeholder="no role",
            key=key,
        )
        st.form_submit_button("Save roles", icon=":material/badge:", on_click=_save_roles, args=(person, one, key))


def _save_roles(person: Person, one: Attendance, key: str) -> None:
    roles = frozenset(st.session_state.get(key, ()))

    def save(here: Person) -> None:
        member = services().roster.change_roles(here, one.member.iss, one.member.sub, roles=roles)
        said(f"{member.name} is now: {role_words(member.roles)}.")

    act_as(person, save)


def _ask_training(person: Person, one: Attendance) -> None:
    until = one.member.trained_until
    key = f"{KEY}.training.{one.member.id}.{len(until)}.{max(until.values(), default=None)}"
    rows = [{"queue": queue, "until": last_day(moment)} for queue, moment in sorted(until.items())]
    draw(element("p", "Trained until, for each queue", class_="so-label"))
    edited = st.data_editor(
        rows or [{"queue": "", "until": None}],
        num_rows="dynamic",
        hide_index=True,
        column_config={
            "queue": st.column_config.TextColumn("Queue", max_chars=128),
            "until": st.column_config.DateColumn("Last day", format="YYYY-MM-DD"),
        },
        key=key,
    )
    st.button(
        "Save training",
        icon=":material/school:",
        key=f"{key}.save",
        on_click=_save_training,
        args=(person, one, edited),
    )


def training_of(rows: Sequence[Mapping[str, object]]) -> dict[str, datetime]:
    """Return until when each queue's training counts: to the end, in UTC, of the day that was given."""
    found: dict[str, datetime] = {}
    for row in rows:
        queue, day = str(row.get("queue") or "").strip(), row.get("until")
        if isinstance(day, str):
            day = date.fromisoformat(day[:10])
        if queue and isinstance(day, date):
            found[queue] = datetime.combine(day, time.min, UTC) + timedelta(days=1)
    return found


def last_day(moment: datetime) -> date:
    """Return the last whole day before this moment."""
    return (moment - timedelta(microseconds=1)).date()


def _save_training(person: Person, one: Attendance, rows: Sequence[Mapping[str, object]]) -> None:
    def save(here: Person) -> None:
        until = training_of(rows)
        member = services().roster.record_training(here, one.member.iss, one.member.sub, trained_until=until)
        said(f"The training of {member.name} is kept.")

    act_as(person, save)


def _ask_sessions(person: Person, one: Attendance) -> None:
    draw(element("p", "Signed in", class_="so-label"))
    if not one.sessions:
        draw(element("p", "Nowhere now.", class_="so-quiet"))
        return
    for session in one.sessions:
        draw(facts([("Since", moment(session.created_at)), ("Last active", moment(session.seen_at))]))
    st.button(
        "Sign out everywhere",
        icon=":material/logout:",
        key=f"{KEY}.end.{one.member.id}",
        on_click=_end_sessions,
        args=(person, one),
    )


def _end_sessions(person: Person, one: Attendance) -> None:
    def end(here: Person) -> None:
        services().roster.end_sessions(here, one.member.iss, one.member.sub)
        said(f"{one.member.name} is signed out everywhere.")

    act_as(person, end)
