"""The Agents screen: who may submit, with which keys and tools; and how the next agent is connected."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import streamlit as st

from agents.protocol import Status
from pages.numbers import UNFIT, Wanted, ask_number
from pages.onboarding import first_steps, show_first_steps
from pages.pausing import offer_pause
from pages.presence import act_as, act_in_dialog
from pages.rendering import (
    Markup,
    draw,
    element,
    facts,
    fold,
    json_view,
    moment,
    notice,
    plain,
    said,
    show_refusal,
)
from pages.services import services
from pages.tables import Cell, Column, Line, count_words, show_empty, show_list
from review.cards import card_of
from review.governance import KEY_LIFE, KEY_OVERLAP
from review.items import ItemFilter, Tool
from review.people import Agent, AgentKey, Limits, Permission, Person
from review.tokens import TOKEN_LIFE

TITLE = "Agents"
ICON = ":material/smart_toy:"
PATH = "agents"
PERMISSION = Permission.SEE_AGENTS

KEY = "agents"

_MOST_LIMIT = 10_000_000
_UNCHANGED = "The key is as it was."
_AGENT_COLUMNS = (
    Column("name", "Agent"),
    Column("keys", "Live keys", "number"),
    Column("tools", "Tools", "number"),
    Column("waiting", "Waiting", "number"),
    Column("used", "Last seen", "ago"),
    Column("since", "Known since", "ago"),
)
_KEY_COLUMNS = (
    Column("prefix", "Key", "mono"),
    Column("state", "State", "chip"),
    Column("created", "Created", "ago"),
    Column("expires", "Expires", "due"),
    Column("used", "Last used", "ago"),
    Column("limits", "Held to"),
)


@dataclass(frozen=True, slots=True)
class Connected:
    """An agent with the keys that it shows and the tools that it declared."""

    agent: Agent
    keys: tuple[AgentKey, ...]
    tools: tuple[Tool, ...]

    def live_keys(self, now: datetime) -> int:
        """Return how many keys let the agent in."""
        return sum(is_live(key, now) for key in self.keys)

    @property
    def last_used_at(self) -> datetime | None:
        """Return when the agent last showed a key."""
        return max((key.last_used_at for key in self.keys if key.last_used_at), default=None)


def page(person: Person) -> None:
    """Show the agents, their keys and their tools, and make or revoke keys."""
    st.title(TITLE, anchor=False)
    show_refusal()
    everyone = connected(*services().keys.overview(person))
    _show_fresh_key()
    _show_registered()
    steps = first_steps(person)
    with st.container():  # Empty or not, so that what stands below keeps its number and its state.
        if steps is not None:
            show_first_steps(person, steps, partial(_ask_name, person), _show_snippet)
    # The way to a key stands on the page once.
    may_make_keys = person.may(Permission.MANAGE_KEYS) and (steps is None or steps.has_key)
    if not everyone:
        _show_nobody(person, may_make_keys=may_make_keys)
        return
    _show_agents(person, everyone)
    chosen = st.session_state.get(f"{KEY}.chosen")
    shown = next((one for one in everyone if one.agent.name == chosen), everyone[0])
    _show_agent(person, shown)
    if may_make_keys:
        with st.expander("Connect another agent", icon=":material/add_link:"):
            _ask_name(person)
        with st.expander("Let an agent in by its own key pair", icon=":material/verified_user:"):
            _ask_public_key(person)
    _ask_about_key(person, everyone)


def connected(agents: Sequence[Agent], keys: Sequence[AgentKey], tools: Sequence[Tool]) -> list[Connected]:
    """Return each agent with what belongs to it, by name."""
    return [
        Connected(
            agent,
            tuple(key for key in keys if key.agent == agent.name),
            tuple(tool for tool in tools if tool.agent == agent.name),
        )
        for agent in sorted(agents, key=lambda agent: agent.name)
    ]


def is_live(key: AgentKey, now: datetime) -> bool:
    """Tell whether the key still lets its agent in."""
    return key.revoked_at is None and now < key.expires_at


def hook_snippet(url: str) -> str:
    """Return the lines that put an agent's tool behind the desk."""
    return f'''import os

from langchain_core.tools import tool
from signoff import Gate

gate = Gate("{url}", os.environ["SIGNOFF_KEY"])

@tool
def refund_order(order_id: str, amount: str) -> str:
    """Refund an order."""
    return f"refunded {{amount}} on {{order_id}}"  # your own code

guarded = gate.guard(refund_order, confidence=0.62)  # give this one to your agent
'''


def key_pair_snippet(url: str, client_id: str) -> str:
    """Return the lines that let an agent in by its own key pair."""
    return f'''import os

from signoff import Gate, PrivateKeyJwt

mine = PrivateKeyJwt("{client_id}", os.environ["PRIVATE_KEY"])  # the PEM of the private half
gate = Gate("{url}", mine)
'''


def _show_nobody(person: Person, *, may_make_keys: bool) -> None:
    show_empty("No agent is connected yet", "With its first key an agent stands here.")
    if not person.may(Permission.MANAGE_KEYS):
        draw(notice("Ask an admin for a key; making one is theirs to do."))
    elif may_make_keys:
        _ask_name(person)


def _show_snippet() -> None:
    st.code(hook_snippet(services().settings.issuer), language=None)


def _ask_name(person: Person) -> None:
    with (
        st.form(f"{KEY}.create", border=False),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        st.text_input(
            "The agent's name",
            placeholder="customer_service",
            key=f"{KEY}.name",
            max_chars=128,
            help="Letters, digits and _ . : / -",
            width=320,
        )
        st.form_submit_button("Make a key", type="primary", icon=":material/key:", on_click=_create, args=(person,))
    st.caption(f"A key belongs to one agent, lets it in for {KEY_LIFE.days} days, and is shown once.")


def _create(person: Person) -> None:
    name = str(st.session_state.get(f"{KEY}.name", "")).strip()

    def create(here: Person) -> None:
        key, secret = services().keys.create_by(here, name)
        st.session_state[f"{KEY}.fresh"] = (key.agent, secret)
        st.session_state[f"{KEY}.chosen"] = key.agent
        st.session_state[f"{KEY}.name"] = ""

    act_as(person, create)


def _ask_public_key(person: Person) -> None:
    with st.form(f"{KEY}.register", border=False):
        st.text_input(
            "Who holds the private half",
            placeholder="customer_service",
            key=f"{KEY}.register.name",
            max_chars=128,
            help="The agent's name: letters, digits and _ . : / -",
        )
        st.text_area(
            "Its public key",
            placeholder="-----BEGIN PUBLIC KEY-----",
            key=f"{KEY}.register.public_key",
            max_chars=20_000,
            help="PEM, JWK or JWK set: Ed25519, P-256, P-384, P-521, or RSA of 3,072 bits and more",
        )
        st.form_submit_button("Register it", type="primary", icon=":material/key:", on_click=_register, args=(person,))
    st.caption(
        f"The agent signs with the private half, which it never shows, and is let in by access tokens of "
        f"{TOKEN_LIFE // timedelta(minutes=1)} minutes. The public key counts for {KEY_LIFE.days} days."
    )


def _register(person: Person) -> None:
    name, public_key = (
        str(st.session_state.get(f"{KEY}.register.{field}", "")).strip() for field in ("name", "public_key")
    )

    def register(here: Person) -> None:
        key = services().keys.register_by(here, name, public_key)
        st.session_state[f"{KEY}.registered"] = (key.agent, key.prefix)
        st.session_state[f"{KEY}.chosen"] = key.agent
        st.session_state[f"{KEY}.register.name"] = st.session_state[f"{KEY}.register.public_key"] = ""

    act_as(person, register)


def _show_registered() -> None:
    registered = st.session_state.get(f"{KEY}.registered")
    place = st.container()  # Empty or not, so that what stands below keeps its number and its state.
    if registered is None:
        return
    agent, client_id = registered
    with place, st.container(border=True):
        draw(element("h2", f"The client id of {agent} is {client_id}", class_="so-label"))
        st.caption("It is no secret. Where the agent runs:")
        st.code(key_pair_snippet(services().settings.issuer, client_id), language=None)
        st.button("Done", key=f"{KEY}.noted", type="primary", on_click=_forget_registered)


def _forget_registered() -> None:
    st.session_state.pop(f"{KEY}.registered", None)


def _show_fresh_key() -> None:
    fresh = st.session_state.get(f"{KEY}.fresh")
    if fresh is not None:
        _fresh_key_dialog(*fresh)


# In view wherever the key was asked for, and not closed by a press beside it.
@st.dialog("The new key", width="medium", dismissible=False)
def _fresh_key_dialog(agent: str, secret: str) -> None:
    draw(facts([("Agent", agent)]))
    draw(notice("Copy it now. It is kept nowhere, and will not be shown again.", "warn"))
    st.code(f"export SIGNOFF_KEY={secret}", language=None, wrap_lines=True)
    st.caption("Run this where the agent runs; then guard a tool:")
    _show_snippet()
    if st.button("I have copied it", key=f"{KEY}.copied", type="primary", on_click=_forget_fresh_key):
        st.rerun()  # A press in a dialog redraws the dialog alone.


def _forget_fresh_key() -> None:
    st.session_state.pop(f"{KEY}.fresh", None)


def _show_agents(person: Person, everyone: Sequence[Connected]) -> None:
    now = datetime.now(UTC)
    chosen = st.session_state.get(f"{KEY}.chosen", everyone[0].agent.name)
    lines = [_agent_line(person, one, now, is_current=one.agent.name == chosen) for one in everyone]
    show_list(f"{KEY}.list", _AGENT_COLUMNS, lines, caption="Agents that may submit", on_press=_choose)


def _agent_line(person: Person, one: Connected, now: datetime, *, is_current: bool) -> Line:
    live = one.live_keys(now)
    return Line(
        id=one.agent.name,
        name=one.agent.name,
        act="Show",
        is_current=is_current,
        cells={
            "name": Cell(one.agent.name, tone="strong"),
            "keys": Cell(str(live), tone="" if live else "warn"),
            "tools": Cell(str(len(one.tools))),
            "waiting": Cell(_waiting(person, one.agent.name)),
            "used": Cell(at=one.last_used_at) if one.last_used_at else Cell("never", tone="quiet"),
            "since": Cell(at=one.agent.created_at),
        },
    )


def _waiting(person: Person, agent: str) -> str:
    if not person.may(Permission.SEE_ITEMS):
        return "–"
    return count_words(services().desk.count(person, ItemFilter(statuses=(Status.WAITING,), agent=agent)))


def _choose(name: str) -> None:
    st.session_state[f"{KEY}.chosen"] = name


def _show_agent(person: Person, one: Connected) -> None:
    draw(element("h2", one.agent.name, class_="so-sentence"))
    offer_pause(person, agent=one.agent.name, place="agent")
    _show_keys(person, one.keys)
    draw(element("p", "Tools that it has used, and the arguments they take", class_="so-label"))
    _show_tools(one.tools)


def _show_keys(person: Person, keys: Sequence[AgentKey]) -> None:
    now = datetime.now(UTC)
    may_change = person.may(Permission.MANAGE_KEYS)
    lines = [key_line(key, now, may_change=may_change) for key in keys]
    show_list(f"{KEY}.keys", _KEY_COLUMNS, lines, caption="The agent's keys", on_press=_choose_key)


def key_line(key: AgentKey, now: datetime, *, may_change: bool) -> Line:
    """Return the key's row; it can be pressed to limit, renew or revoke a key that still lets its agent in."""
    live = is_live(key, now)
    state = Cell("revoked", tone="bad") if key.revoked_at else Cell("live", tone="good")
    if not live and key.revoked_at is None:
        state = Cell("expired", tone="warn")
    return Line(
        id=key.prefix,
        name=key.prefix,
        act="Change" if live and may_change else "",
        cells={
            "prefix": Cell(shown_as(key), under=f"{'public key, ' if key.is_public else ''}by {key.created_by}"),
            "state": state,
            "created": Cell(at=key.created_at),
            "expires": Cell(at=key.expires_at) if live else Cell(),
            "used": Cell(at=key.last_used_at) if key.last_used_at else Cell("never", tone="quiet"),
            "limits": Cell(limits_in_words(key.limits), tone="" if key.limits != Limits() else "quiet"),
        },
    )


def shown_as(key: AgentKey) -> str:
    """Return what a key is known by: how its text begins, or the client id that goes with a public key."""
    return key.prefix if key.is_public else f"sgn_{key.prefix}_…"


def limits_in_words(limits: Limits) -> str:
    """Return what a key is held to, as far as it differs from the installation's own limits."""
    told = []
    if limits.per_minute is not None:
        told.append(f"{limits.per_minute:,} a minute")
    if limits.most_waiting is not None:
        told.append(f"{limits.most_waiting:,} waiting")
    return ", ".join(told) or "the usual"


def _show_tools(tools: Sequence[Tool]) -> None:
    if not tools:
        draw(element("p", "None yet. A tool appears with its first action.", class_="so-quiet"))
        return
    draw(*(_tool_fold(tool) for tool in tools))


def _tool_fold(tool: Tool) -> Markup:
    first_seen = facts([("First seen", moment(tool.first_seen_at))])
    if tool.args_schema is None:
        return fold(tool.name, first_seen, element("p", "It came without a schema.", class_="so-quiet"))
    problems = [notice(f"{each.text} ({each.code})", "warn") for each in card_of(tool.args_schema).problems]
    return fold(tool.name, first_seen, *problems, json_view(json.dumps(tool.args_schema)), is_open=bool(problems))


def _choose_key(prefix: str) -> None:
    st.session_state[f"{KEY}.changing"] = prefix


def _ask_about_key(person: Person, everyone: Sequence[Connected]) -> None:
    prefix = st.session_state.pop(f"{KEY}.changing", None)
    for one in everyone:
        for key in one.keys:
            if key.prefix == prefix:
                _key_dialog(person, key)


@st.dialog("Limit, renew or revoke this key")
def _key_dialog(person: Person, key: AgentKey) -> None:
    # In a row of its own: its letters are looked for one by one, and do not wrap.
    draw(facts([("Key", element("span", shown_as(key), class_="so-mono"))]))
    draw(facts([("Agent", key.agent), ("Last used", moment(key.last_used_at))]))
    _ask_limits(person, key)
    renewing = (
        "For its next key pair register the new public key, then revoke this one. "
        if key.is_public
        else f"Renewed, it stays good for {KEY_OVERLAP // timedelta(hours=1)} hours beside its successor. "
    )
    plain(f"{renewing}Revoked, it turns the agent away from its next call on, and never comes back.")
    with st.container(horizontal=True):
        revokes = st.button("Revoke it", key=f"{KEY}.revoke.{key.prefix}")
        renews = not key.is_public and st.button("Renew it", key=f"{KEY}.renew.{key.prefix}")
        keeps = st.button("Keep it", key=f"{KEY}.keep.{key.prefix}")
    if revokes:
        _revoke(person, key)
    if renews:
        _renew(person, key)
    if keeps:
        st.rerun()  # A press in a dialog redraws the dialog alone.


def _ask_limits(person: Person, key: AgentKey) -> None:
    settings = services().settings
    asked = (
        ("per_minute", "Submissions a minute", key.limits.per_minute, settings.submits_per_minute),
        ("most_waiting", "Items waiting at once", key.limits.most_waiting, settings.most_waiting),
    )
    with st.form(f"{KEY}.limits.{key.prefix}", border=False):
        with st.container(horizontal=True, vertical_alignment="top"):
            answers = {
                name: ask_number(
                    label,
                    value,
                    Wanted(least=1, most=_MOST_LIMIT, may_be_empty=True),
                    placeholder=f"{usual:,}, as usual",
                    key=f"{KEY}.{name}.{key.prefix}",
                    width=200,
                )
                for name, label, value, usual in asked
            }
        if not st.form_submit_button("Hold it to these"):
            return
        if any(answer.problem for answer in answers.values()):
            draw(notice(f"{UNFIT} {_UNCHANGED}", "bad"))
        else:
            held_to = {name: None if each.value is None else int(each.value) for name, each in answers.items()}
            _limit(person, key, Limits(**held_to))


def _limit(person: Person, key: AgentKey, limits: Limits) -> None:
    def limit(here: Person) -> None:
        services().keys.limit_by(here, key.prefix, limits)
        said(f"The key {shown_as(key)} of {key.agent} is held to: {limits_in_words(limits)}.")

    act_in_dialog(person, limit, otherwise=_UNCHANGED)


def _renew(person: Person, key: AgentKey) -> None:
    def renew(here: Person) -> None:
        _, new, secret = services().keys.renew_by(here, key.prefix)
        st.session_state[f"{KEY}.fresh"] = (new.agent, secret)
        said(f"The key {shown_as(key)} of {key.agent} has a successor.")

    act_in_dialog(person, renew, otherwise=_UNCHANGED)


def _revoke(person: Person, key: AgentKey) -> None:
    def revoke(here: Person) -> None:
        services().keys.revoke_by(here, key.prefix)
        said(f"The key {shown_as(key)} of {key.agent} is revoked.")

    act_in_dialog(person, revoke, otherwise=_UNCHANGED)
