"""The first steps of an installation: a key, a first action, the policy, a first decision; gone once they are taken."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import streamlit as st

from agents.protocol import Status
from pages import policy_page, review_page
from pages.presence import is_still_here
from pages.rendering import Markup, chip, draw, element
from pages.services import services
from pages.tables import switch_to
from review.clock import utc_now
from review.items import ItemFilter
from review.people import Permission, Person

LOOK_EVERY = timedelta(seconds=2)

_DISMISSED = "onboarding.dismissed"
_OVER = "onboarding.over"  # What was done once is not looked up again.
_POLICY = (
    "What the policy does not know goes to a person, so that nothing runs by an oversight.",
    "Its rules, in their order, stop a call, or send it to the people of a queue, as many as it needs.",
    "A tool may act alone once people's decisions on its calls have shown that it is right often enough.",
)


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """How far an installation has come on its way to the first decision."""

    has_key: bool
    has_acted: bool
    has_decided: bool

    @property
    def is_over(self) -> bool:
        """Tell whether there is nothing left to be led to."""
        return self.has_acted and self.has_decided


def first_steps(person: Person) -> FirstSteps | None:
    """Return how far the installation has come; None where there is nobody to lead, or nowhere to lead to.

    Whoever may not make keys is not led, nor is anybody in the demo, whose agents have theirs.
    """
    is_led = person.may(Permission.MANAGE_KEYS) and person.may(Permission.SEE_AGENTS)
    if not is_led or services().settings.demo or st.session_state.get(_DISMISSED) or st.session_state.get(_OVER):
        return None
    _, keys, tools = services().keys.overview(person)
    now = utc_now()
    has_key = any(key.revoked_at is None and now < key.expires_at for key in keys)
    steps = FirstSteps(has_key, bool(tools), bool(tools) and _has_decided(person))
    if steps.is_over:
        st.session_state[_OVER] = True
        return None
    return steps


def _has_decided(person: Person) -> bool:
    if not person.may(Permission.SEE_ITEMS):
        return True  # Nothing that they could be led to any further.
    return services().desk.count(person, ItemFilter(statuses=(Status.SETTLED,))) > 0


def show_hint(person: Person, connect: Callable[[], None]) -> None:
    """Say on another screen that no agent has come yet, and offer to ``connect`` one."""
    steps = first_steps(person)
    if steps is None or steps.has_acted:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="first-steps-hint"):
        draw(element("span", "No agent has put anything before the desk yet.", class_="so-quiet"))
        if st.button("Connect your first agent", key="onboarding.connect", icon=":material/add_link:"):
            connect()


def show_first_steps(
    person: Person, steps: FirstSteps, ask_name: Callable[[], None], show_snippet: Callable[[], None]
) -> None:
    """Draw the steps as they stand; ``ask_name`` draws what makes a key, ``show_snippet`` how a tool is guarded."""
    with st.container(border=True, key="first-steps", gap="small"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            draw(element("h2", "The way to your first decision", class_="so-sentence"))
            st.button("Hide these steps", key="onboarding.dismiss", type="tertiary", on_click=_dismiss)
        draw(_step("1. Make a key for your agent", is_done=steps.has_key))
        if not steps.has_key:
            ask_name()
        draw(_step("2. Guard a tool where the agent runs, and let it act", is_done=steps.has_acted))
        if steps.has_key and not steps.has_acted:
            st.code("pip install signoff", language=None)
            show_snippet()
            _wait_for_action(person)
        draw(_step("3. Know the policy", is_done=None), *(element("p", each) for each in _POLICY))
        if person.may(Permission.SEE_POLICY) and st.button("Open the policy", key="onboarding.policy"):
            switch_to(policy_page)
        draw(_step("4. Decide", is_done=steps.has_decided))
        draw(element("p", "The call waits on the Review screen. Approve it there, and the tool runs, once."))
        may_decide = steps.has_acted and person.may(Permission.DECIDE)
        if may_decide and st.button("Go to your first decision", key="onboarding.review", type="primary"):
            switch_to(review_page)


def _step(title: str, *, is_done: bool | None) -> Markup:
    marks = [] if is_done is None else [chip("done", "good") if is_done else chip("to do")]
    return element("h3", title, " ", *marks, class_="so-step")


def _dismiss() -> None:
    st.session_state[_DISMISSED] = True


@st.fragment(run_every=LOOK_EVERY)
def _wait_for_action(person: Person) -> None:
    steps = first_steps(person) if is_still_here(person) else None
    if steps is None or steps.has_acted:
        st.rerun()
    draw(element("p", "Waiting for its first action…", class_="so-waiting", role="status"))
