"""The console's main script: the gate first, then the navigation to the screens that the person may open.

It lies inside `pages/` on purpose. With a `pages/` folder beside the main script, Streamlit would run a page by its
address on a cold start, past the gate; see docs/decisions/console-inside-pages.md.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import streamlit as st

from pages import agents_page, audit_page, queue_page, review_page, together
from pages.above import above, show_above, watch
from pages.components import component
from pages.doorstep import door
from pages.emergencies import offer_break_glass
from pages.onboarding import show_hint
from pages.own_sessions import offer_sessions
from pages.pausing import offer_pause
from pages.presence import person_here
from pages.rendering import draw, element, notice
from pages.screens import SCREENS
from pages.services import services
from pages.sign_in import sign_in_path
from pages.tables import switch_to
from pages.theme import page_style
from review.errors import ReviewError
from review.people import Person

_LOGO = Path(__file__).with_name("logo.svg")
_WORDMARK = Path(__file__).with_name("wordmark.svg")
_MENU = "account.menu"


def _gate() -> None:
    providers = services().settings.oidc_providers
    here = urlsplit(st.context.url or "/")
    to = f"{here.path or '/'}{'?' if here.query else ''}{here.query}"
    ways = (
        [
            element("p", "Sign in, and you come back to where you were."),
            *(
                element(
                    "p",
                    element(
                        "a",
                        f"Sign in with {provider.shown_as}",
                        href=sign_in_path(provider, to),
                        target="_self",
                        class_="so-way-in",
                    ),
                )
                for provider in providers
            ),
        ]
        if providers
        else [
            element("p", "Open the sign-in link that the server printed, or ask for a fresh one on its machine:"),
            element("p", element("code", "python app.py link")),
        ]
    )
    draw(door("You are signed out", *ways))


def _waiting_room(person: Person) -> None:
    draw(
        door(
            "You have no role here yet",
            element("p", "You are signed in. Ask an admin of this desk for a role; they find you under:"),
            element("p", element("code", person.name), " ", element("code", person.sub)),
        )
    )


def _screen(module: ModuleType, person: Person) -> Callable[[], None]:
    def show() -> None:
        try:
            module.page(person)
        except ReviewError as error:
            draw(notice(str(error), "bad"))

    show.__name__ = module.PATH
    return show


def _account(person: Person) -> None:
    menu = partial(st.popover, "Account", icon=":material/account_circle:", type="tertiary")
    with st.container(key="account", gap=None):
        with menu(key=_MENU, on_change="rerun"):
            _show_menu(person)
        component("account", "")(key="account.focus")


def _show_menu(person: Person) -> None:
    draw(element("p", "Signed in as", class_="so-label"), element("p", person.name, class_="so-plain so-strong"))
    offer_pause(person, place="account", on_press=_shut_menu)
    offer_break_glass(person, on_press=_shut_menu)
    offer_sessions(person, on_press=_shut_menu)
    st.html('<form action="/sign-out" method="post"><button class="sign-out">Sign out</button></form>')


def _shut_menu() -> None:
    """Shut the account's menu before a dialog opens over it: else the first Escape would be the menu's."""
    st.session_state[_MENU] = False


def _show_waiting_room(person: Person) -> None:
    # Every screen's address is known here, as at the gate.
    rooms = [
        st.Page(
            partial(_waiting_room, person), title="No role yet", url_path=module.PATH, default=module is review_page
        )
        for module in SCREENS
    ]
    room = st.navigation(rooms, position="hidden")
    _account(person)
    watch(person, above(person), time.monotonic())
    room.run()


def main() -> None:
    """Draw the screen that the address names, for whoever is signed in; what the desk refuses is said in its words."""
    st.set_page_config(page_title="Signoff", page_icon=_LOGO, layout="wide")
    page_style()
    st.logo(_WORDMARK, size="large")
    try:
        _show()
    except ReviewError as error:
        draw(notice(str(error), "bad"))


def _show() -> None:
    person = person_here()
    if person is None:
        # Every screen's address is known here, too: an address that Streamlit does not know gets its own dialog.
        gates = [
            st.Page(_gate, title="Sign in", url_path=module.PATH, default=module is review_page) for module in SCREENS
        ]
        st.navigation(gates, position="hidden").run()
        return
    if not any(person.may(module.PERMISSION) for module in SCREENS):
        _show_waiting_room(person)
        return
    screens = [
        st.Page(
            _screen(module, person),
            title=module.TITLE,
            icon=module.ICON,
            url_path=module.PATH,
            default=module is review_page,
        )
        for module in SCREENS
        if person.may(module.PERMISSION)
    ]
    chosen = st.navigation(screens, position="top")
    _account(person)
    said = above(person)
    watch(person, said, time.monotonic())
    if chosen.title != review_page.TITLE and person.may(review_page.PERMISSION):
        review_page.leave(person)
    if chosen.url_path != queue_page.PATH:
        together.leave_results()
    with st.container():  # Empty or not, so that what stands below keeps its number and its state.
        show_above(person, said, tells_alarm=chosen.url_path != audit_page.PATH)
        if chosen.url_path == "" or chosen.url_path == review_page.PATH:
            show_hint(person, partial(switch_to, agents_page))
    chosen.run()


main()
