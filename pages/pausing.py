"""The pause, as it is seen on every screen and switched from any of them."""

from collections.abc import Callable, Sequence

import streamlit as st

from pages.presence import act_as, act_in_dialog
from pages.rendering import draw, element, moment, said, visible
from pages.services import services
from review.people import Pause, Permission, Person

KEY = "pause"
_EVERYTHING = "Everything"
_REASON_AT_MOST = 500

_Scope = tuple[str | None, str | None]


def show_pauses(person: Person, pauses: Sequence[Pause]) -> None:
    """Say what is paused, by whom and why, and let whoever may resume it."""
    for pause in pauses:
        with st.container(horizontal=True, vertical_alignment="center", key=f"{KEY}.banner.{_number(pause)}"):
            draw(
                notice_of(pause),
            )
            if person.may(Permission.RESUME):
                st.button(
                    "Resume",
                    key=f"{KEY}.resume.{_number(pause)}",
                    icon=":material/play_arrow:",
                    on_click=_resume,
                    args=(person, pause),
                    width="content",
                )


def notice_of(pause: Pause) -> str:
    """Return the banner's words: what is paused, why, by whom, since when, and what that means."""
    return element(
        "div",
        element("strong", f"{pause.what} is paused. "),
        pause.why,
        element("p", f"By {pause.paused_by}, ", moment(pause.paused_at), ". ", _meaning(pause), class_="so-small"),
        class_="so-notice so-notice-warn",
        role="status",
    )


def _meaning(pause: Pause) -> str:
    is_everything = pause.agent is None and pause.tool is None
    whose = "" if is_everything else f" {pause.what[0].lower()}{pause.what[1:]}"
    permitted = f"For{whose} nothing new is permitted" if whose else "Nothing new is permitted"
    return f"{permitted} and no receipt can be used; what waits stays, and can be rejected."


def offer_pause(
    person: Person, *, agent: str | None = None, place: str = "", on_press: Callable[[], None] | None = None
) -> None:
    """Offer the switch to whoever may use it, in a dialog; ``agent`` is what is proposed first."""
    if person.may(Permission.PAUSE) and st.button(
        "Pause agents…",
        key=f"{KEY}.offer.{place}",
        icon=":material/pause_circle:",
        width="content",
        on_click=on_press,
    ):
        _dialog(person, agent)


@st.dialog("Pause new permissions")
def _dialog(person: Person, agent: str | None) -> None:
    st.write("From now on nothing new is permitted, and receipts that were given cannot be used until it is resumed.")
    scopes = scopes_of(*services().switch.choices(person))
    first = scopes.index((agent, None)) if (agent, None) in scopes else 0
    chosen = st.selectbox(
        "What to pause", range(len(scopes)), index=first, format_func=lambda place: visible(_words(scopes[place]))
    )
    reason = st.text_area("Why", max_chars=_REASON_AT_MOST, placeholder="Everybody whose work waits will read it.")
    if st.button("Pause it", type="primary", key=f"{KEY}.do"):
        _pause(person, scopes[chosen], reason)


def scopes_of(agents: Sequence[str], tools: Sequence[tuple[str, str]]) -> list[_Scope]:
    """Return what can be paused: everything, each agent, each tool for all, and each agent's tool."""
    everywhere = sorted({tool for _, tool in tools})
    return [
        (None, None),
        *((agent, None) for agent in sorted(agents)),
        *((None, tool) for tool in everywhere),
        *sorted(tools),
    ]


def _words(scope: _Scope) -> str:
    agent, tool = scope
    if agent is None:
        return _EVERYTHING if tool is None else f"Tool {tool}, whoever calls it"
    return f"Agent {agent}" if tool is None else f"Tool {tool} of {agent}"


def _pause(person: Person, scope: _Scope, reason: str) -> None:
    def pause(here: Person) -> None:
        done = services().switch.pause(here, agent=scope[0], tool=scope[1], reason=reason)
        said(f"{done.what} is paused.")

    act_in_dialog(person, pause, otherwise="Nothing is paused yet.")


def _resume(person: Person, pause: Pause) -> None:
    def resume(here: Person) -> None:
        services().switch.resume(here, agent=pause.agent, tool=pause.tool)
        said(f"{pause.what} is resumed.")

    act_as(person, resume)


def _number(pause: Pause) -> str:
    return f"{pause.paused_at:%Y%m%d%H%M%S%f}"
