"""The Policy screen: what agents may do alone, edited as a draft, tried on actions, and put in force."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Literal

import streamlit as st
from pydantic import ValidationError
from streamlit.elements.lib.mutable_tab_container import TabContainer

from agents.protocol import DecisionType, Route
from pages import drafts
from pages.drafts import Draft, P, TableColumns
from pages.numbers import UNFIT, Answer, Wanted, ask_number
from pages.rendering import (
    Markup,
    chip,
    draw,
    element,
    facts,
    humanised,
    moment,
    notice,
    said,
    show_refusal,
    span,
    visible,
)
from pages.services import services
from pages.tables import Cell, CellTone, Column, Line, show_empty, show_list
from review.errors import InvalidPolicyError, ReviewError
from review.governance import PolicyInForce
from review.intake import signals_of
from review.items import ReasonCode
from review.people import Permission, Person
from review.policy import (
    FUNCTIONS,
    HOUR,
    VARIABLES,
    Autonomy,
    Part,
    Policy,
    PolicyDocument,
    Preview,
    PreviewRow,
    Queue,
    Rule,
    compiled,
    preview,
    queue_problems,
)
from review.queues import queue_names

TITLE = "Policy"
ICON = ":material/rule:"
PATH = "policy"
PERMISSION = Permission.SEE_POLICY

KEY = "policy"
RECENT_ACTIONS = 200
ROWS_SHOWN = 50

_PRIORITY = Wanted(most=9)
_MINUTES = Wanted(least=0.02, most=30 * 24 * 60, is_whole=False, may_be_empty=True)
_HOURS = Wanted(least=0.001, most=30 * 24, is_whole=False)

_AUTONOMY = {
    Autonomy.SHADOW: "Nothing runs; decisions are only compared.",
    Autonomy.SUPERVISED: "Everything is reviewed.",
    Autonomy.GUARDED: "Below the threshold is reviewed, a slice of the rest is audited.",
    Autonomy.AUTONOMOUS: "Only rules and the slice bring a person in.",
}
_ROUTE_WORDS = {Route.EXECUTE: "runs", Route.REVIEW: "a person looks", Route.DENY: "is stopped"}
_ROUTE_TONES: dict[Route, CellTone] = {Route.EXECUTE: "good", Route.REVIEW: "info", Route.DENY: "bad"}
_RULE_COLUMNS = (
    Column("number", "#", "number"),
    Column("name", "Rule"),
    Column("when", "When", "mono"),
    Column("route", "Then", "chip"),
    Column("asks", "And asks for"),
)
_QUEUE_COLUMNS = (
    Column("name", "Queue"),
    Column("skills", "Training"),
    Column("asks", "Asks for"),
    Column("late", "When it is late"),
)
_VERSION_COLUMNS = (
    Column("number", "Version", "number"),
    Column("comment", "Why"),
    Column("by", "Saved by"),
    Column("at", "When", "ago"),
)
_CHANGE_COLUMNS = (
    Column("action", "Action"),
    Column("answered", "Was answered", "chip"),
    Column("would", "Would be answered", "chip"),
    Column("changes", "What changes"),
    Column("why", "Why"),
)
_HELP = f"""
An expression in CEL, the Common Expression Language, over what is known of the action. It holds or it does
not; the first rule that holds answers. Variables: {", ".join(f"`{name}`" for name in VARIABLES)}.

- `has(impact.amount) && impact.amount >= 500.0` : it moves 500 or more
- `action.name == "publish_copy" && args.channel == "press"` : one argument of one tool
- `grounding != null && grounding < 0.5` : half of its values stand nowhere in the context
- `provenance.nowhere > 0` : a value stands nowhere; `user`, `tool` and `untrusted` are counted, too
- `rejections >= 2` : people rejected this very call twice before

Functions: {", ".join(f"`{name}`" for name in FUNCTIONS)}.
A rule that cannot be evaluated brings the action to a person.
"""


def page(person: Person) -> None:
    """Show the policy in force; who may edit it works on a draft, tries it, and saves it."""
    st.title(TITLE, anchor=False)
    show_refusal()
    versions = services().policies.versions(person)
    in_force = services().policies.in_force(person.workspace)
    _show_version(in_force, versions)
    if not person.may(Permission.EDIT_POLICY):
        _show_read_only(in_force.document, versions)
        return
    draft = _kept_draft(in_force)
    _keep(draft)
    bar = st.container()
    tabs = _tabs("Rules", "Tools", "Queues", "Masked", "Defaults", "JSON", "Versions")
    if tabs["Rules"].open:
        with tabs["Rules"]:
            _edit_rules(draft)
    if _is_or_was_open(tabs, "Tools"):
        with tabs["Tools"]:
            draft = _edited_tools(draft, person)
    if tabs["Queues"].open:
        with tabs["Queues"]:
            _edit_queues(draft)
    if _is_or_was_open(tabs, "Masked"):
        with tabs["Masked"]:
            draft = _edited_sensitive(draft)
    with tabs["Defaults"]:
        draft = _edited_defaults(draft)
    if _is_or_was_open(tabs, "JSON"):
        with tabs["JSON"]:
            _edit_json(draft)
    if tabs["Versions"].open:
        with tabs["Versions"]:
            _show_versions(versions, draft)
    _keep(draft)
    with bar:
        _show_bar(draft, in_force, person)


def _tabs(*names: str) -> dict[str, TabContainer]:
    """Return the tabs by their names, of which only what is open is drawn: a page with all of them takes its time."""
    return dict(zip(names, st.tabs(names, key=f"{KEY}.tabs", on_change="rerun"), strict=True))


def _is_or_was_open(tabs: Mapping[str, TabContainer], name: str) -> bool:
    """Tell whether a tab that is typed into is open, or was before: what is typed is kept only where it is drawn."""
    opened: set[str] = st.session_state.setdefault(f"{KEY}.opened", set())
    if tabs[name].open:
        opened.add(name)
    return name in opened


def _show_version(in_force: PolicyInForce, versions: Sequence[Policy]) -> None:
    latest = next((version for version in versions if version.number == in_force.number), None)
    if latest is None:
        draw(notice("No policy has been saved yet: every action goes to a person.", "info"))
        return
    told = [
        ("In force", f"version {latest.number}"),
        ("Saved by", latest.saved_by),
        ("Since", moment(latest.saved_at)),
        ("Why", latest.comment or "–"),
    ]
    draw(facts(told))


def _kept_draft(in_force: PolicyInForce) -> Draft:
    draft = st.session_state.get(f"{KEY}.draft")
    if not isinstance(draft, Draft):
        return Draft.of(in_force.document, in_force.number)
    if draft.based_on != in_force.number and not draft.has_changes:
        return Draft.of(in_force.document, in_force.number, generation=draft.generation + 1)
    return replace(draft, problems=())  # The tables tell their problems anew in each run.


def _keep(draft: Draft) -> None:
    st.session_state[f"{KEY}.draft"] = draft


def _show_bar(draft: Draft, in_force: PolicyInForce, person: Person) -> None:
    """Say how the draft stands, and offer what can be done with it."""
    if draft.based_on != in_force.number:
        behind = f"Your draft began as version {draft.based_on}, and version {in_force.number} is in force by now."
        draw(notice(f"{behind} Keep your changes as JSON, discard the draft, and put them in again.", "warn"))
    with st.container(horizontal=True, vertical_alignment="center", key=f"{KEY}-draft"):
        draw(element("span", "Draft ", _state(draft)))
        can_try = not draft.problems
        validates = st.button("Validate", key=f"{KEY}.validate", icon=":material/spellcheck:", disabled=not can_try)
        previews = st.button("Preview", key=f"{KEY}.preview", icon=":material/compare_arrows:", disabled=not can_try)
        if draft.has_changes:
            st.button("Discard", key=f"{KEY}.discard", type="tertiary", on_click=_discard, args=(draft,))
        comment = st.text_input(
            "Why",
            key=f"{KEY}.comment.{draft.based_on}",
            placeholder="Why this change, for those who read it later",
            label_visibility="collapsed",
            max_chars=500,
            width=320,
        )
        saves = st.button(
            "Put in force",
            key=f"{KEY}.save.{draft.based_on}",
            type="primary",
            disabled=not (draft.has_changes and can_try),
        )
    if validates:
        _show_validity(draft.document)
    if previews:
        _show_preview(draft.document, in_force, person)
    if saves and draft.has_changes:
        _save(draft, person, comment)


def _state(draft: Draft) -> Markup:
    if draft.problems:
        return chip(f"cannot be saved: {len(draft.problems)} to put right", "bad")
    return chip("changes not saved", "warn") if draft.has_changes else chip("as in force", "good")


def _discard(draft: Draft) -> None:
    _keep(draft.begun_anew(draft.base))


def _save(draft: Draft, person: Person, comment: str) -> None:
    try:
        saved = services().policies.save(draft.document, person, based_on=draft.based_on, comment=comment.strip())
    except InvalidPolicyError as error:
        _show_problems(error.problems)
    except ReviewError as error:
        draw(notice(str(error), "bad"))
    else:
        said(f"Version {saved.number} is in force.")
        _keep(Draft.of(saved.document, saved.number, generation=draft.generation + 1))
        st.rerun()


def _show_problems(problems: Sequence[str]) -> None:
    if problems:
        draw(*(notice(problem, "bad") for problem in problems))


def _show_validity(document: PolicyDocument) -> None:
    try:
        compiled(document)
    except InvalidPolicyError as error:
        _show_problems(error.problems)
    else:
        rules, tools = len(document.rules), len(document.tools)
        draw(notice(f"It can be used: {rules} rules compile, and {tools} tools have their autonomy.", "good"))


def _show_preview(document: PolicyDocument, in_force: PolicyInForce, person: Person) -> None:
    try:
        policy = compiled(document)
        items = services().policies.recent_items(person, limit=RECENT_ACTIONS)
    except InvalidPolicyError as error:
        _show_problems(error.problems)
        return
    except ReviewError as error:
        draw(notice(str(error), "bad"))
        return
    if not items:
        draw(notice("There are no actions yet to try it on."))
        return
    found = preview(policy, items, in_force=in_force.compiled, signals=signals_of)
    changed = [row for row in found.rows if row.is_changed]
    with st.container(border=True):
        draw(
            element(
                "h2",
                f"On the last {len(found.rows)} actions this draft would change {len(changed)}",
                class_="so-label",
            ),
            facts(preview_facts(found)),
        )
        if changed:
            lines = [change_line(row) for row in changed[:ROWS_SHOWN]]
            show_list(f"{KEY}.changes", _CHANGE_COLUMNS, lines, caption="Actions for which something changes")
        if len(changed) > ROWS_SHOWN:
            st.caption(f"The first {ROWS_SHOWN} are shown.")


def preview_facts(found: Preview) -> list[tuple[str, str]]:
    """Return how often each answer was given, and how often the draft would give it."""
    before: Counter[Route] = Counter()
    after: Counter[Route] = Counter()
    for (answered, would), times in found.counts.items():
        before[answered] += times
        after[would] += times
    return [
        (f"{humanised(route)} ({words})", f"{before[route]} → {after[route]}") for route, words in _ROUTE_WORDS.items()
    ]


def change_line(row: PreviewRow) -> Line:
    """Return the row of an action that the draft would answer otherwise, or ask something else for."""
    would = row.routing.route
    return Line(
        id=str(row.item_id),
        name=f"{row.tool} of {row.agent}",
        cells={
            "action": Cell(row.tool, under=row.agent, tone="strong"),
            "answered": Cell(humanised(row.answered), tone=_ROUTE_TONES[row.answered]),
            "would": Cell(humanised(would), tone=_ROUTE_TONES[would]),
            "changes": Cell("\n".join(change_words(row))),
            "why": Cell(" ".join(reason.text for reason in row.routing.reasons)),
        },
    )


def change_words(row: PreviewRow) -> list[str]:
    """Return what an answer that stays the same would ask for otherwise, each in words: ``high-value → general``."""
    if row.routing.route is not row.answered:
        return []
    pairs = ((words, getattr(row.asked, name), getattr(row.would_ask, name)) for name, words in _ASKS.items())
    return [f"{words(was)} → {words(would)}" for words, was, would in pairs if was != would]


def _time(seconds: int) -> str:
    return span(timedelta(seconds=seconds))


_ASKS: dict[str, Callable[[Any], str]] = {
    "queue": str,
    "priority": "priority {}".format,
    "quorum": lambda quorum: "1 person" if quorum == 1 else f"{quorum} people",
    "blind": lambda blind: "blind" if blind else "not blind",
    "due_in": lambda seconds: f"due in {_time(seconds)}",
    "expires_in": lambda seconds: f"expires in {_time(seconds)}",
    "audit_rate": lambda rate: f"audit slice {rate * 100:.4g} %",
    "permit_for": lambda seconds: f"permitted for {_time(seconds)}",
}


def _show_read_only(document: PolicyDocument, versions: Sequence[Policy]) -> None:
    parts: dict[str, Callable[[], object]] = {
        "Rules": lambda: _show_rules(document.rules),
        "Tools": lambda: st.dataframe(
            drafts.tool_columns(document.tools), column_config=_tool_config(), hide_index=True
        ),
        "Queues": lambda: _show_queues(document.queues),
        "Masked": lambda: st.dataframe(
            drafts.sensitive_columns(document.sensitive), column_config=_sensitive_config(), hide_index=True
        ),
        "JSON": lambda: st.code(drafts.as_text(document), language=None),
        "Versions": lambda: _show_versions(versions, None),
    }
    for name, tab in _tabs(*parts).items():
        if tab.open:
            with tab:
                parts[name]()


def _show_rules(rules: Sequence[Rule], *, on_press: Callable[[str], None] | None = None) -> None:
    if not rules:
        show_empty("No rules", "Then each tool's autonomy alone decides what an agent may do.")
        return
    lines = [rule_line(number, rule, act="Edit" if on_press else "") for number, rule in enumerate(rules)]
    show_list(f"{KEY}.rules", _RULE_COLUMNS, lines, caption="The rules, in their order", on_press=on_press)


def rule_line(place: int, rule: Rule, *, act: str = "") -> Line:
    """Return the rule's row."""
    asks = [
        f"queue {rule.queue}" if rule.queue else "",
        f"priority {rule.priority}" if rule.priority is not None else "",
        f"{rule.quorum} people" if rule.quorum > 1 else "",
        f"due in {span(timedelta(seconds=rule.due_in))}" if rule.due_in else "",
    ]
    return Line(
        id=str(place),
        name=rule.name,
        act=act,
        cells={
            "number": Cell(str(place + 1), tone="quiet"),
            "name": Cell(rule.name, under=rule.reason or "", tone="strong"),
            "when": Cell(rule.when),
            "route": Cell(humanised(rule.route), tone=_ROUTE_TONES[rule.route]),
            "asks": Cell(", ".join(asked for asked in asks if asked), tone="quiet"),
        },
    )


def _edit_rules(draft: Draft) -> None:
    st.caption("The first rule that holds answers. Where none holds, the autonomy of the tool does.")
    _show_rules(draft.document.rules, on_press=partial(_choose, "rule"))
    _offer_dialog("rule", _rule_dialog)


def _offer_dialog(part: str, dialog: Callable[[int | None], None]) -> None:
    """Offer to add a part, a rule or a queue, and open the dialog of the one that was chosen."""
    st.button(f"Add a {part}", key=f"{KEY}.add_{part}", icon=":material/add:", on_click=_choose, args=(part, None))
    if f"{KEY}.opened_{part}" in st.session_state:
        dialog(st.session_state.pop(f"{KEY}.opened_{part}"))


def _choose(part: str, place: str | None) -> None:
    st.session_state[f"{KEY}.opened_{part}"] = None if place is None else int(place)


def _at(parts: Sequence[P], place: int | None) -> P | None:
    """Return the part at the place; None where one is to be added, or it is gone by now."""
    return parts[place] if place is not None and place < len(parts) else None


@st.dialog("Rule", width="large")
def _rule_dialog(place: int | None) -> None:
    draft: Draft = st.session_state[f"{KEY}.draft"]
    rules = draft.document.rules
    rule = _at(rules, place)
    with st.form(f"{KEY}.rule.form", border=False):
        values = _ask_rule(rule)
        applies = st.form_submit_button("Apply to the draft", type="primary")
    if applies and values is None:
        _show_unfit()
    elif applies and values is not None and (made := _rule_made(values)) is not None:
        _keep(draft.with_(rules=drafts.put(rules, made, at=place)))
        st.rerun()
    if rule is not None and place is not None:
        _offer_moves(draft, "rules", place)


def _show_unfit() -> None:
    _show_problems([f"{UNFIT} The draft is as it was."])


def _with_numbers(values: Mapping[str, Any], answers: Mapping[str, Answer]) -> dict[str, Any] | None:
    """Return what a form holds with its numbers; None where one of them does not fit."""
    if any(answer.problem for answer in answers.values()):
        return None
    return {**values, **{name: answer.value for name, answer in answers.items()}}


def _ask_rule(rule: Rule | None) -> dict[str, Any] | None:
    first, second = st.columns([2, 1])
    routes = list(Route)
    values: dict[str, Any] = {
        "name": first.text_input("Name", value=rule.name if rule else "", max_chars=64),
        "route": second.selectbox(
            "Then",
            routes,
            index=routes.index(rule.route if rule else Route.REVIEW),
            format_func=lambda route: f"{humanised(route)}: {_ROUTE_WORDS[route]}",
        ),
        "when": _ask_cel(rule),
    }
    with st.popover("What can stand here?", type="tertiary"):
        st.markdown(_HELP)
    values["reason"] = st.text_input(
        "Reason, read by the reviewer and by the agent",
        value=rule.reason or "" if rule else "",
        max_chars=500,
    )
    queue, priority, quorum, due = st.columns(4)
    values["queue"] = queue.text_input("Queue", value=rule.queue or "" if rule else "", placeholder="as the tool says")
    answers: dict[str, Answer] = {}
    with priority:
        wanted = replace(_PRIORITY, may_be_empty=True)
        urgency = rule.priority if rule else None
        answers["priority"] = ask_number("Priority (0 first)", urgency, wanted, placeholder="as usual")
    with quorum:
        wanted = Wanted(least=1, most=9)
        answers["quorum"] = ask_number("People who must approve", rule.quorum if rule else 1, wanted)
    with due:
        minutes = rule.due_in / drafts.MINUTE if rule and rule.due_in else None
        answers["due_in"] = ask_number("Due in (min)", minutes, _MINUTES, placeholder="as the tool says")
    return _with_numbers(values, answers)


def _ask_cel(rule: Rule | None) -> str:
    with st.container(key="code-cel"):
        return st.text_area("When (CEL)", value=rule.when if rule else "", max_chars=2000, height=110)


def _rule_made(values: Mapping[str, Any]) -> Rule | None:
    due_in = values["due_in"]
    try:
        rule = Rule.model_validate(
            {
                **values,
                "name": values["name"].strip(),
                "when": values["when"].strip(),
                "queue": values["queue"].strip() or None,
                "reason": values["reason"].strip() or None,
                "due_in": None if due_in is None else round(due_in * drafts.MINUTE),
            }
        )
        compiled(PolicyDocument(rules=(rule,)))
    except ValidationError as error:
        _show_problems(drafts.problems_of(error))
    except InvalidPolicyError as error:
        _show_problems(error.problems)
    else:
        return rule
    return None


def _offer_moves(draft: Draft, part: Literal["rules", "queues"], place: int) -> None:
    rows: tuple[Part, ...] = getattr(draft.document, part)
    with st.container(horizontal=True):
        up = st.button("Move up", icon=":material/arrow_upward:", disabled=place == 0)
        down = st.button("Move down", icon=":material/arrow_downward:", disabled=place == len(rows) - 1)
        removes = st.button("Remove", icon=":material/delete:", type="tertiary")
    if up or down:
        _keep(draft.with_(**{part: drafts.moved(rows, place, by=-1 if up else 1)}))
        st.rerun()
    if removes:
        _keep(draft.with_(**{part: drafts.without(rows, place)}))
        st.rerun()


def _show_queues(queues: Sequence[Queue], *, on_press: Callable[[str], None] | None = None) -> None:
    if not queues:
        show_empty("No queues are described", "Rules and tools may send to any name then, and nothing is asked there.")
        return
    lines = [queue_line(number, queue, act="Edit" if on_press else "") for number, queue in enumerate(queues)]
    show_list(f"{KEY}.queues", _QUEUE_COLUMNS, lines, caption="The queues, in their order", on_press=on_press)


def queue_line(place: int, queue: Queue, *, act: str = "") -> Line:
    """Return the queue's row."""
    asks = [
        f"a reason to {' or '.join(queue.reasons_for)}" if queue.reasons_for else "",
        f"no {' or '.join(queue.hides)}" if queue.hides else "",
        "blind second looks" if queue.blind else "",
        "decisions one by one" if queue.one_by_one else "",
    ]
    late = [
        f"due in {span(timedelta(seconds=queue.due_in))}" if queue.due_in else "",
        f"then priority {queue.raise_to}" if queue.raise_to is not None else "",
        f"then to {queue.move_to}" if queue.move_to else "",
    ]
    return Line(
        id=str(place),
        name=queue.name,
        act=act,
        cells={
            "name": Cell(queue.name, under=queue.guidelines, tone="strong"),
            "skills": Cell(", ".join(queue.skills)),
            "asks": Cell(", ".join(filter(None, asks)), tone="quiet"),
            "late": Cell(", ".join(filter(None, late)), tone="quiet"),
        },
    )


def _edit_queues(draft: Draft) -> None:
    st.caption("What is asked of the people who work in a queue, and what becomes of what they do not get to in time.")
    _show_queues(draft.document.queues, on_press=partial(_choose, "queue"))
    _show_problems(list(queue_problems(draft.document)))
    _offer_dialog("queue", _queue_dialog)


@st.dialog("Queue", width="large")
def _queue_dialog(place: int | None) -> None:
    draft: Draft = st.session_state[f"{KEY}.draft"]
    queues = draft.document.queues
    queue = _at(queues, place)
    with st.form(f"{KEY}.queue.form", border=False):
        values = _ask_queue(queue, draft.document)
        applies = st.form_submit_button("Apply to the draft", type="primary")
    if applies and values is None:
        _show_unfit()
    elif applies and values is not None:
        made, problems = drafts.queue_made(values, others=[each for each in queues if each is not queue])
        _show_problems(problems)
        if made is not None:
            _keep(draft.with_(queues=drafts.put(queues, made, at=place)))
            st.rerun()
    if queue is not None and place is not None:
        _offer_moves(draft, "queues", place)


def _ask_queue(queue: Queue | None, document: PolicyDocument) -> dict[str, Any] | None:
    known = queue or Queue(name="new")
    first, second = st.columns(2)
    values: dict[str, Any] = {
        "name": first.text_input("Name", value=queue.name if queue else "", max_chars=128),
        "skills": second.multiselect(
            "Training that it asks for",
            sorted({skill for each in document.queues for skill in each.skills}),
            default=known.skills,
            format_func=visible,
            accept_new_options=True,
            placeholder="none",
            help="Only people who have every one of these can take its items. Type a new one, and give it to people "
            "on the People screen.",
        ),
        "guidelines": st.text_area(
            "Guidelines, read by whoever decides in it", value=known.guidelines, max_chars=4000, height=110
        ),
    }
    hidable = [each for each in DecisionType if each is not DecisionType.REJECT or each in known.hides]
    left, middle, right = st.columns(3)
    values["reasons_for"] = left.multiselect(
        "Decisions that need a reason",
        list(DecisionType),
        default=known.reasons_for,
        format_func=humanised,
        placeholder="none",
    )
    values["reasons"] = middle.multiselect(
        "Reasons to choose from",
        list(ReasonCode),
        default=known.reasons,
        format_func=humanised,
        placeholder="any",
    )
    values["hides"] = right.multiselect(
        "Decisions that cannot be made here", hidable, default=known.hides, format_func=humanised, placeholder="none"
    )
    targets = [name for name in queue_names(document) if queue is None or name != queue.name or name == queue.move_to]
    if known.move_to and known.move_to not in targets:
        targets.append(known.move_to)
    due, raised, moves_to = st.columns(3)
    answers: dict[str, Answer] = {}
    with due:
        minutes = known.due_in / drafts.MINUTE if known.due_in else None
        answers["due_in"] = ask_number("Due in (min)", minutes, _MINUTES, placeholder="as the defaults say")
    with raised:
        wanted, late = replace(_PRIORITY, may_be_empty=True), "Priority once it is late (0 first)"
        answers["raise_to"] = ask_number(late, known.raise_to, wanted, placeholder="as it was")
    values["move_to"] = moves_to.selectbox(
        "Queue once it is late",
        targets,
        index=targets.index(known.move_to) if known.move_to else None,
        format_func=visible,
        placeholder="stays where it is",
    )
    values["blind"] = st.checkbox("Nobody sees what the others decided before the item is settled", value=known.blind)
    values["one_by_one"] = st.checkbox("Each item is decided by itself, never several at once", value=known.one_by_one)
    return _with_numbers(values, answers)


def _tool_config() -> dict[str, Any]:
    config = st.column_config
    return {
        "agent": config.TextColumn("Agent", required=True),
        "tool": config.TextColumn("Tool", required=True),
        "autonomy": config.SelectboxColumn(
            "Autonomy",
            options=[autonomy.value for autonomy in Autonomy],
            required=True,
            default=Autonomy.SUPERVISED.value,
            help=" ".join(f"{autonomy.value}: {words}" for autonomy, words in _AUTONOMY.items()),
        ),
        "threshold": config.NumberColumn("Threshold", min_value=0.0, max_value=1.0, help="Counts where it is guarded."),
        "queue": config.TextColumn("Queue"),
        "due_in": config.NumberColumn("Due in (min)", min_value=0.02),
        "permit_for": config.NumberColumn(
            "Permit for (h)", min_value=0.001, help="How long an approval permits execution."
        ),
        "outcome_within": config.NumberColumn(
            "Outcome within (min)", min_value=0.02, help="A run that has told no outcome by then counts as unknown."
        ),
        "approve_on_expiry": config.CheckboxColumn(
            "Approve on expiry",
            default=False,
            help="What nobody decided is approved, where the agent asks for it and the action waited at least as long "
            "as the policy's “Expires in”; not what somebody holds then, nor while a question to the agent stands "
            "unanswered.",
        ),
    }


def _edited_table(draft: Draft, name: str, columns: TableColumns, config: dict[str, Any]) -> TableColumns:
    """Return the columns as they are edited; a table that is drawn anew, as after another screen, begins with them."""
    key = f"{KEY}.{name}.table.{draft.generation}"
    if key not in st.session_state:
        st.session_state[f"{key}.began"] = columns
    began: TableColumns = st.session_state[f"{key}.began"]
    return st.data_editor(
        began,
        key=key,
        column_config=config,
        num_rows="dynamic",
        placeholder="",
        hide_index=True,
        width="stretch",
    )


def _edited_tools(draft: Draft, person: Person) -> Draft:
    st.caption("What each agent may do with each tool where no rule holds. What is not named here, a person sees.")
    edited = _edited_table(draft, "tools", drafts.tool_columns(draft.document.tools), _tool_config())
    tools, problems = drafts.tool_rules(edited)
    _show_problems(problems)
    _offer_unnamed(draft, person)
    return draft.with_problems(problems) if problems else draft.with_(tools=tools)


def _offer_unnamed(draft: Draft, person: Person) -> None:
    if not person.may(Permission.SEE_AGENTS):
        return
    _, _, seen = services().keys.overview(person)
    unnamed = drafts.unnamed_tools(draft.document, seen)
    if unnamed:
        tools = f"{len(unnamed)} tools" if len(unnamed) > 1 else "1 tool"
        label = f"Add {tools} that agents use and the policy does not name"
        if st.button(label, key=f"{KEY}.unnamed", icon=":material/playlist_add:"):
            document = draft.document
            _keep(draft.begun_anew(document.model_copy(update={"tools": (*document.tools, *unnamed)})))
            st.rerun()


def _sensitive_config() -> dict[str, Any]:
    config = st.column_config
    return {
        "tool": config.TextColumn("Tool", required=True),
        "at": config.TextColumn("Argument", required=True, help="A JSON Pointer: /iban, /client/email, /lines/*/name"),
    }


def _edited_sensitive(draft: Draft) -> Draft:
    st.caption(
        "Arguments that are masked wherever they are shown or exported, until somebody reveals them, whichever agent "
        "calls the tool. An argument goes by its place: /iban, /client/email; * stands for every entry of a list: "
        "/lines/*/name. Secrets, e-mail addresses, card numbers and the like are masked without being named here."
    )
    edited = _edited_table(draft, "sensitive", drafts.sensitive_columns(draft.document.sensitive), _sensitive_config())
    sensitive, problems = drafts.sensitive_parts(edited)
    _show_problems(problems)
    return draft.with_problems(problems) if problems else draft.with_(sensitive=sensitive)


def _edited_defaults(draft: Draft) -> Draft:
    st.caption("What counts where neither a rule nor a tool says otherwise.")
    began = draft.began
    with st.container(horizontal=True, vertical_alignment="top"):
        rate = ask_number(
            "Audit slice (%)",
            began.audit_rate * 100,
            Wanted(most=100, is_whole=False),
            key=f"{KEY}.audit_rate.{draft.generation}",
            help="The random part of what runs alone that a person looks at afterwards.",
            width=180,
        )
        queue = st.text_input("Queue", value=began.default_queue, key=f"{KEY}.queue.{draft.generation}", width=180)
        priority = ask_number(
            "Priority (0 first)",
            began.default_priority,
            _PRIORITY,
            key=f"{KEY}.priority.{draft.generation}",
            width=180,
        )
        due = _ask_hours("Due in (h)", began.default_due_in, key=f"{KEY}.due.{draft.generation}")
        expires = _ask_hours("Expires in (h)", began.default_expires_in, key=f"{KEY}.expires.{draft.generation}")
    if began.agent_versions:
        named = ", ".join(began.agent_versions)
        draw(
            element(
                "p",
                f"Known versions are listed for {named}; they are edited as JSON.",
                class_="so-quiet so-small",
            )
        )
    asked = {
        "audit_rate": rate if rate.value is None else Answer(rate.value / 100),
        "default_priority": priority,
        "default_due_in": due,
        "default_expires_in": expires,
    }
    told = [answer.problem for answer in asked.values() if answer.problem]
    read = {name: answer.value for name, answer in asked.items() if answer.value is not None}
    changed = draft.document.model_dump() | read | {"default_queue": queue.strip()}
    try:
        return replace(draft.with_problems(told), document=PolicyDocument.model_validate(changed))
    except ValidationError as error:
        problems = drafts.problems_of(error, of="Defaults")
        _show_problems(problems)
        return draft.with_problems([*told, *problems])


def _ask_hours(label: str, seconds: int, *, key: str) -> Answer:
    hours = ask_number(label, seconds / HOUR, _HOURS, key=key, width=180)
    return hours if hours.value is None else Answer(round(hours.value * HOUR))


def _edit_json(draft: Draft) -> None:
    st.caption("The whole draft, for those who would rather write it. Applied, it replaces what the other tabs hold.")
    text = drafts.as_text(draft.document)
    place = f"{draft.generation}.{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    with st.form(f"{KEY}.json.{place}", border=False), st.container(key="code-json"):
        written = st.text_area(
            "Policy as JSON", value=text, height=380, key=f"{KEY}.text.{place}", label_visibility="collapsed"
        )
        applies = st.form_submit_button("Apply to the draft")
    if applies:
        document, problems = drafts.document_in(written)
        if document is None:
            _show_problems(problems)
        else:
            _keep(draft.begun_anew(document))
            st.rerun()


def _show_versions(versions: Sequence[Policy], draft: Draft | None) -> None:
    lines = [version_line(version) for version in versions]
    show_list(f"{KEY}.versions", _VERSION_COLUMNS, lines, caption="Versions of the policy", on_press=_choose_version)
    chosen = st.session_state.pop(f"{KEY}.version", None)
    for version in versions:
        if version.number == chosen:
            _version_dialog(version, is_editable=draft is not None)


def version_line(version: Policy) -> Line:
    """Return the version's row."""
    return Line(
        id=str(version.number),
        name=f"version {version.number}",
        act="Look",
        cells={
            "number": Cell(str(version.number)),
            "comment": Cell(version.comment or "–"),
            "by": Cell(version.saved_by),
            "at": Cell(at=version.saved_at),
        },
    )


def _choose_version(number: str) -> None:
    st.session_state[f"{KEY}.version"] = int(number)


@st.dialog("A version of the policy", width="large")
def _version_dialog(version: Policy, *, is_editable: bool) -> None:
    draw(
        facts(
            [
                ("Version", str(version.number)),
                ("Saved by", version.saved_by),
                ("At", moment(version.saved_at)),
            ]
        )
    )
    if is_editable and st.button("Use it as the draft", icon=":material/settings_backup_restore:"):
        draft: Draft = st.session_state[f"{KEY}.draft"]
        _keep(draft.begun_anew(version.document))
        st.rerun()
    st.code(drafts.as_text(version.document), language=None, wrap_lines=True)
