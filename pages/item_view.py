"""The whole of an item, to be read: what would run, why a person must see it, what the agent saw and said."""

import base64
import binascii
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import streamlit as st
from pydantic import JsonValue

from agents.protocol import Action, ContextEntry, ContextKind, DecisionType, Execution, Impact, Reject, Respond, Route
from pages.cards import Sheet, card_view, pictures_of, sentence_of
from pages.presence import act_as
from pages.rendering import (
    ArgsView,
    Markup,
    Place,
    Tone,
    ago,
    args_view,
    as_text,
    changes,
    chip,
    chips,
    diff_view,
    draw,
    element,
    facts,
    fold,
    humanised,
    json_view,
    moment,
    money,
    notice,
    ordinal,
    place_name,
    when,
)
from pages.services import services
from review.cards import card_of
from review.clock import utc_now
from review.desk import WholeItem
from review.grounding import Origin, Source, provenance, source_of
from review.images import UNINSPECTABLE
from review.items import NoteRecord, Purpose, ReviewItem
from review.people import Permission, Person
from review.policy import Queue
from review.precedents import Precedent

_AGENT_ROLES = frozenset({"agent", "ai", "assistant"})
_OPEN_BELOW = 1200
_PROSE_WORDS = 8
_TITLE_SHOWN = 40
_MESSAGE_SHOWN = 160
_VALUE_SHOWN = 60
_PROBLEMS_SHOWN = 3
_WAITING_WORDS = "Waiting for the agent's answer; it appears here by itself."
_VERBS = {Purpose.GATE: "wants to", Purpose.AUDIT: "ran by itself:", Purpose.SHADOW: "chose to"}

Version = tuple[UUID, int]


def revealed_here() -> set[Version]:
    """Return the versions of items of which this browser's session shows the masked values."""
    revealed: set[Version] = st.session_state.setdefault("revealed", set())
    return revealed


def is_revealed(whole: WholeItem, revealed: Collection[Version]) -> bool:
    """Tell whether nothing of the item is masked where these are ``revealed``: it is one of them, or has no masks."""
    return version_of(whole.item) in revealed or not whole.masks


def is_editable(whole: WholeItem, revealed: Collection[Version]) -> bool:
    """Tell whether a form may show the arguments where these are ``revealed``, so that nobody edits what is masked."""
    return is_revealed(whole, revealed) or not whole.has_masked_args


def readable(whole: WholeItem, revealed: Collection[Version]) -> WholeItem:
    """Return the item as it may be read where these are ``revealed``: masked, until it is."""
    return whole if is_revealed(whole, revealed) else whole.masked()


def reveal(item: ReviewItem, person: Person, revealed: set[Version]) -> None:
    """Add the item to what is ``revealed``, once it is on record that the person asked for the values."""
    services().desk.reveal(person, item.id)
    revealed.add(version_of(item))


def show_masks(whole: WholeItem, person: Person) -> None:
    """Say what is masked here, and let whoever may reveal it; that they did is put on record first."""
    if is_revealed(whole, revealed_here()):
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="masks"):
        draw(element("span", masked_words(whole), class_="so-hidden"))
        if person.may(Permission.REVEAL):
            st.button(
                "Reveal",
                key=f"reveal.{whole.item.id}.{whole.item.version}",
                icon=":material/visibility:",
                help="That you saw the values goes into the audit log; the values do not.",
                on_click=_reveal,
                args=(whole.item, person),
            )


def masked_words(whole: WholeItem) -> str:
    """Return what is masked of the item, in a sentence."""
    where = "here" if whole.has_masked_args else "outside the arguments"
    return f"Masked {where}: {', '.join(dict.fromkeys(mask.kind.value for mask in whole.masks))}."


def _reveal(item: ReviewItem, person: Person) -> None:
    act_as(person, lambda here: reveal(item, here, revealed_here()))


def version_of(item: ReviewItem) -> Version:
    """Return which item it is, and which version of it."""
    return item.id, item.version


def show_head(whole: WholeItem, person: Person) -> None:
    """Draw what the item is about, in one sentence, and what is at stake."""
    shown = readable(whole, revealed_here())
    draw(headline(shown.item, person, schema=whole.args_schema), facts_view(shown.item, utc_now()))


def show_item(whole: WholeItem, person: Person) -> None:
    """Draw the item as it was proposed, with all that was known of it; nothing in it leads outside.

    Of an item whose content was erased, what is left of it.
    """
    at = utc_now()
    shown = readable(whole, revealed_here())
    if whole.item.erased_at is not None:
        words = f"The content of this item was erased on {moment(whole.item.erased_at)}. What was done with it stays."
        draw(notice(words))
        draw(reasons_card(whole.item))
        return
    left, right = st.columns([7, 5], gap="medium")
    with left:
        draw(args_card(whole, shown))
        show_masks(whole, person)
        draw(*draft_card(shown.item), *repeated_card(shown, at), reasons_card(shown.item))
    with right:
        draw(*own_words_card(shown.item), *notes_card(shown.notes, at))
        draw(context_view(shown.item))


def shown_action(item: ReviewItem) -> Action:
    """Return what an approval would let run: the agent's proposal, or the edit that awaits approvals."""
    return item.draft or item.request.action


def headline(item: ReviewItem, person: Person, *, schema: Mapping[str, object] | None = None) -> Markup:
    """Return in one sentence what will happen, and what kind of look this is.

    The sentence is that of the card in the tool's schema where it has one; the tool's own name stands beside it.
    """
    action = shown_action(item)
    verb = _VERBS[item.purpose]
    sentence = element(
        "h1",
        element("span", humanised(item.agent), class_="so-who so-plain"),
        f" {verb} ",
        *(
            sentence_of(card_of(schema).card, Sheet(action.args, item.request.impact))
            or (element("span", humanised(action.name).lower(), class_="so-plain"), *_stake(item.request.impact))
        ),
        class_="so-sentence",
    )
    marks = [element("span", action.name, class_="so-chip so-mono"), chip(item.queue)]
    if item.purpose is Purpose.AUDIT:
        marks.append(chip("ran already", "info"))
    if item.purpose is Purpose.SHADOW:
        marks.append(chip("observed", "info"))
    if item.quorum > 1:
        marks.append(chip(f"needs {item.quorum} people", "accent"))
    if item.rejections:
        marks.append(chip(f"{ordinal(item.rejections + 1)} time, rejected before", "bad"))
    if item.draft is not None:
        marks.append(chip("edited by a reviewer", "accent"))
    if item.claim is not None and not item.claim.is_held_by(person.iss, person.sub, utc_now()):
        marks.append(chip(f"claimed by {item.claim.name}", "warn"))
    return element("div", sentence, chips(*marks), class_="so-headline")


def _stake(impact: Impact) -> Iterator[str]:
    if impact.amount is not None:
        yield ", "
        yield element("span", money(impact.amount, impact.currency), class_="so-plain")
    if impact.subject is not None:
        yield " for "
        yield element("span", impact.subject, class_="so-plain")


def facts_view(item: ReviewItem, now: datetime, *, approvals: int = 0) -> Markup:
    """Return what is at stake, how sure the agent is, and by when it wants to know."""
    request = item.request
    pairs: list[tuple[str, str]] = [
        ("Confidence, by the agent", _confidence(request.confidence, request.confidence_source))
    ]
    if request.impact.amount is not None:
        pairs.append(("Amount", money(request.impact.amount, request.impact.currency)))
    pairs.append(("Can it be undone?", _undone(request.impact.reversible)))
    if request.impact.subject is not None:
        pairs.append(("Concerns", request.impact.subject))
    if item.quorum > 1:
        pairs.append(("Approvals", f"{approvals} of {item.quorum}"))
    if not item.status.is_final:
        pairs.append(("Due", _until(item.due_at, now)))
        pairs.append(("Expires", _until(item.expires_at, now)))
    pairs.append(("Proposed", when(item.submitted_at, now)))
    return element("div", facts(pairs), class_="so-strip")


def _confidence(confidence: float | None, source: str | None) -> Markup:
    if confidence is None:
        return chip("not given", "warn")
    meter = element("div", element("span", "", style=f"width:{confidence:.0%}"), class_="so-meter")
    by = element("span", f" {source}", class_="so-quiet so-small") if source else ""
    return element("span", f"{confidence:.0%}", by, meter)


def _undone(reversible: bool | None) -> Markup:  # noqa: FBT001 -- the protocol's own three-valued fact
    if reversible is None:
        return chip("not said", "warn")
    return chip("yes", "good") if reversible else chip("no", "bad")


def _until(at: datetime, now: datetime) -> Markup:
    if at <= now:
        return chip(f"{ago(at, now)}, overdue", "bad")
    return when(at, now)


def args_card(whole: WholeItem, shown: WholeItem, *, is_whole: bool = True) -> Markup:
    """Return the arguments that would run as they are ``shown``, each value marked with where it comes from."""
    return element("section", *_args_parts(whole, shown, is_whole=is_whole), class_="so-card")


def hidden_characters(shown: WholeItem) -> int:
    """Return how many characters of the arguments, as they are shown, the cut view leaves out."""
    return _args_of(shown, is_whole=False).hidden


def _args_of(shown: WholeItem, *, is_whole: bool, marks: Mapping[Place, Markup] | None = None) -> ArgsView:
    """Return the arguments that would run, as the tool's card arranges them where it declares one."""
    item, card, names = shown.item, card_of(shown.args_schema).card, _schema_names(shown)
    args = shown_action(item).args
    if card is None or not card.fields:
        return args_view(args, is_whole=is_whole, marks=marks, names=names)
    pictures = pictures_of(item.request.context, lambda number: picture_address(item, number))
    sheet = Sheet(args, item.request.impact, pictures)
    return card_view(card, sheet, is_whole=is_whole, marks=marks, names=names)


def _args_parts(whole: WholeItem, shown: WholeItem, *, is_whole: bool) -> Iterator[Markup]:
    item = whole.item
    origins = provenance(item.request).origins if item.draft is None else ()
    context = zip(item.request.context, shown.item.request.context, strict=True)
    titles = {id(entry): entry_shown.title for entry, entry_shown in context}
    marks = {
        origin.path: _origin_mark(origin, titles.get(id(origin.entry)))
        # A name in an object and its value share a path: the mark of what is untrusted stays.
        for origin in sorted(origins, key=lambda origin: origin.source is Source.UNTRUSTED)
        if origin.source is not Source.NOWHERE or not _is_prose(item, origin.path)
    }
    heading = [element("span", "Arguments")]
    if origins and all(origin.source in (Source.USER, Source.TOOL) for origin in origins):
        heading.append(chip("all found in the context", "good"))
    yield element("h2", *heading, class_="so-label")
    # Where a value comes from is looked up of the value itself: two that are masked alike may be two.
    yield _args_of(shown, is_whole=is_whole, marks=marks).markup
    problems = card_of(whole.args_schema).problems
    if problems:
        told = "; ".join(f"{problem.text} ({problem.code})" for problem in problems[:_PROBLEMS_SHOWN])
        yield element(
            "p", "Of the card that the tool declares, this cannot be used: ", told, class_="so-quiet so-small"
        )


def _origin_mark(origin: Origin, title: str | None) -> Markup:
    match origin.source:
        case Source.NOWHERE:
            return chip("stands nowhere", "warn")
        case Source.UNTRUSTED:
            return chip("only in untrusted content", "bad")
    entry = origin.entry
    if entry is None or origin.source is Source.USER:
        return element("span", f"from the {(entry.role if entry else None) or 'user'}".lower(), class_="so-from")
    # The kind is our word; what stands in quotes is the agent's, so that no title can pass for another source.
    quoted = f" “{_cut(title, _TITLE_SHOWN)}”" if title else ""
    return element("span", f"from {_KINDS.get(entry.kind, 'tool result')}{quoted}", class_="so-from")


_KINDS = {
    ContextKind.TOOL_RESULT: "tool result",
    ContextKind.RECORD: "record",
    ContextKind.DOCUMENT: "trusted document",
    ContextKind.LINK: "trusted link",
}


def _cut(text: str, at: int) -> str:
    return text if len(text) <= at else f"{text[:at]}…"


def _is_prose(item: ReviewItem, place: Place) -> bool:
    # What the agent composes stands nowhere word for word; to say so of every text would only blunt the mark.
    value: JsonValue = item.request.action.args
    for step in place:
        value = value[step]  # type: ignore[index]  # the place was found in these arguments
    return isinstance(value, str) and len(value.split()) > _PROSE_WORDS


def _schema_names(whole: WholeItem) -> Sequence[str]:
    properties = (whole.args_schema or {}).get("properties")
    return tuple(properties) if isinstance(properties, dict) else ()


def draft_card(item: ReviewItem) -> Iterator[Markup]:
    """Yield how a reviewer's edit that awaits approvals differs from what the agent proposed."""
    if item.draft is not None:
        yield element(
            "section",
            element("h2", "Edited from what the agent proposed", class_="so-label"),
            diff_view(item.request.action.args, item.draft.args),
            class_="so-card",
        )


def repeated_card(whole: WholeItem, now: datetime) -> Iterator[Markup]:
    """Yield how often this very call was rejected before, and what was said of it the last time."""
    if not whole.item.rejections:
        return
    times = whole.item.rejections
    said = (
        f"It was proposed and rejected {times} times before." if times > 1 else "It was proposed and rejected before."
    )
    parts = [element("p", said, class_="so-plain")]
    for made in whole.repeated:
        if isinstance(made.decision, Reject):
            codes = [chip(humanised(code).lower()) for code in made.reason_codes]
            message = element("p", made.decision.message, class_="so-plain") if made.decision.message else Markup("")
            parts.append(
                _bubble(f"{made.name} rejected it", message, chips(*codes), is_agent=False, at=made.decided_at, now=now)
            )
    yield element(
        "section",
        element("h2", "The same call again", chip(f"{ordinal(times + 1)} time", "bad"), class_="so-label"),
        element("div", *parts, class_="so-talk"),
        class_="so-card",
    )


def guidelines_card(queue: Queue) -> Iterator[Markup]:
    """Yield what is asked of whoever decides in the queue."""
    if queue.guidelines:
        yield element(
            "section",
            element("h2", "How to decide here", chip(queue.name), class_="so-label"),
            element("p", queue.guidelines, class_="so-plain"),
            class_="so-card",
        )


def reasons_card(item: ReviewItem) -> Markup:
    """Return what the policy said."""
    headings = {
        Route.REVIEW: "Why a person must look",
        Route.EXECUTE: "Why the policy let it run",
        Route.DENY: "Why the policy stopped it",
    }
    if item.purpose is Purpose.SHADOW:
        headings = {
            Route.REVIEW: "Why a person would have had to look",
            Route.EXECUTE: "Why the policy would have let it run",
            Route.DENY: "Why the policy would have stopped it",
        }
    reasons = (
        element("li", element("span", reason.text, class_="so-plain"), " ", chip(humanised(reason.code).lower()))
        for reason in item.reasons
    )
    return element(
        "section",
        element("h2", headings[item.route], chip(f"policy {item.policy_version}"), class_="so-label"),
        element("ul", *reasons, class_="so-reasons"),
        class_="so-card",
    )


def own_words_card(item: ReviewItem) -> Iterator[Markup]:
    """Yield what the agent says of its action, apart and marked as unverified."""
    said = [text for text in (item.request.description, item.request.rationale) if text]
    if said:
        yield element(
            "section",
            element("h2", "The agent's own words", chip("unverified", "warn"), class_="so-label"),
            element("div", *(element("p", text, class_="so-plain") for text in said), class_="so-own-words"),
            class_="so-card",
        )


def notes_card(notes: Sequence[NoteRecord], now: datetime) -> Iterator[Markup]:
    """Yield the thread between reviewer and agent: who said what, and when."""
    if notes:
        bubbles = (
            _bubble(
                "The agent answered" if kept.note.author == "agent" else f"{kept.author_name} asked",
                element("p", kept.note.text, class_="so-plain"),
                is_agent=kept.note.author == "agent",
                at=kept.note.at,
                now=now,
            )
            for kept in notes
        )
        yield element(
            "section",
            element("h2", "Questions to the agent", class_="so-label"),
            element("div", *bubbles, class_="so-talk"),
            class_="so-card",
        )


def precedents_card(item: ReviewItem, precedents: Sequence[Precedent], now: datetime) -> Iterator[Markup]:
    """Yield what people decided on calls like this one, what came of it, and where those calls differ from this."""
    if precedents:
        yield element(
            "section",
            element("h2", "Similar decisions", class_="so-label"),
            element("ul", *(_precedent(item, past, now) for past in precedents), class_="so-precedents"),
            class_="so-card",
        )


_DECIDED: dict[DecisionType | None, tuple[str, Tone]] = {
    DecisionType.APPROVE: ("approved", "good"),
    DecisionType.EDIT: ("edited", "accent"),
    DecisionType.REJECT: ("rejected", "bad"),
    DecisionType.RESPOND: ("answered", "info"),
}
_CAME_OF_IT = {
    Execution.SUCCEEDED: "it ran",
    Execution.FAILED: "it failed",
    Execution.STARTED: "it is running",
    Execution.UNKNOWN: "nobody knows whether it ran",
}
_DIFFERENCES_SHOWN = 3


def _precedent(item: ReviewItem, past: Precedent, now: datetime) -> Markup:
    decision = past.item.decision
    words, tone = _DECIDED[DecisionType(decision.type) if decision else None]
    came = _CAME_OF_IT.get(past.item.execution)
    about = past.item.request.impact.subject or humanised(past.item.request.action.name)
    head = [chip(words, tone), " ", element("span", about, class_="so-plain so-strong")]
    who = [f"{past.item.settled_by} ", *([when(past.item.settled_at, now)] if past.item.settled_at else [])]
    if came:
        who.append(f", {came}")
    rows = [element("div", *head), element("div", *who, class_="so-quiet so-small")]
    why = [humanised(code).lower() for code in past.reason_codes]
    if isinstance(decision, (Reject, Respond)) and decision.message:
        why.append(f"“{_cut(decision.message, _MESSAGE_SHOWN)}”")
    if why:
        rows.append(element("div", ", ".join(why), class_="so-plain so-small"))
    rows.append(element("div", *_differences(item, past), class_="so-quiet so-small"))
    return element("li", *rows)


def _differences(item: ReviewItem, past: Precedent) -> Iterator[str]:
    if past.likeness.is_same_call:
        yield element("span", "the very same call", class_="so-strong")
        return
    found = changes(item.request.action.args, past.item.request.action.args)
    yield "there: " if found else "the same arguments"
    for number, change in enumerate(found[:_DIFFERENCES_SHOWN]):
        value = "nothing" if change.is_removed else _cut(as_text(change.new), _VALUE_SHOWN)
        yield ", " if number else ""
        yield element("span", f"{place_name(change.place)} {value}", class_="so-plain")
    if len(found) > _DIFFERENCES_SHOWN:
        yield f" and {len(found) - _DIFFERENCES_SHOWN} more"


def waiting_for_answer() -> Markup:
    """Return that a question is open; drawn by itself, it is read out once and not with every tick of the thread."""
    return element("p", _WAITING_WORDS, class_="so-waiting", role="status")


def context_view(item: ReviewItem) -> Markup:
    """Return what the agent saw as a conversation; pictures come from our own address, links are text."""
    context = item.request.context
    shown = [
        _entry(entry)
        if picture_address(item, number) is None
        else element(
            "figure",
            element("figcaption", _title(entry, "Image"), class_="so-said-by"),
            element(
                "img", src=picture_address(item, number) or "", alt="A picture from the context", class_="so-picture"
            ),
        )
        for number, entry in enumerate(context)
    ]
    return element(
        "section",
        element("h2", "What the agent saw", class_="so-label"),
        *(shown or [element("p", "The agent sent no context.", class_="so-quiet")]),
        class_="so-talk",
    )


def picture(entry: ContextEntry) -> bytes | None:
    """Return the picture that an entry of the context is; None where it is none, or cannot be decoded."""
    if entry.kind is not ContextKind.IMAGE or entry.media_type == UNINSPECTABLE:
        return None
    try:
        return base64.b64decode(entry.content, validate=True)
    except binascii.Error:
        return None


def picture_address(item: ReviewItem, number: int) -> str | None:
    """Return where the picture is served that this entry of the item's context is; None where it is none."""
    return None if picture(item.request.context[number]) is None else f"/pictures/{item.id}/{number}"


def _title(entry: ContextEntry, otherwise: str) -> str:
    return entry.title or _capitalised(entry.role or "") or otherwise


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _entry(entry: ContextEntry) -> Markup:
    match entry.kind:
        case ContextKind.MESSAGE:
            is_agent = (entry.role or "").lower() in _AGENT_ROLES
            by = "The agent" if is_agent else _capitalised(entry.role or "message")
            said = element("p", entry.content, class_="so-plain")
            return _bubble(entry.title or by, said, is_agent=is_agent, mark=_trust_mark(entry) or "")
        case ContextKind.IMAGE:
            return _card(_title(entry, "Image"), chip("uninspectable: this picture cannot be decoded", "bad"))
        case ContextKind.LINK:
            address = element("p", entry.content, class_="so-plain so-mono")
            marks = [mark for mark in (_trust_mark(entry), chip("shown as text, never opened")) if mark]
            return _card(_title(entry, "Link"), address, chips(*marks))
        case ContextKind.DOCUMENT:
            return _folded(
                f"{_title(entry, 'Document')} · document",
                element("p", entry.content, class_="so-plain"),
                entry,
            )
    kind = "tool result" if entry.kind is ContextKind.TOOL_RESULT else "record"
    return _folded(f"{_title(entry, 'A tool')} · {kind}", json_view(entry.content), entry)


def _folded(title: str, body: Markup, entry: ContextEntry) -> Markup:
    return fold(title, body, is_open=len(entry.content) <= _OPEN_BELOW, mark=_trust_mark(entry))


def _trust_mark(entry: ContextEntry) -> Markup | None:
    return chip("untrusted", "warn") if source_of(entry) is Source.UNTRUSTED else None


def _bubble(
    by: str, *body: Markup, is_agent: bool, at: datetime | None = None, now: datetime | None = None, mark: str = ""
) -> Markup:
    told = [" ", when(at, now)] if at and now else []
    return element(
        "div",
        element("p", by, *told, mark, class_="so-said-by"),
        *body,
        class_="so-bubble so-bubble-agent" if is_agent else "so-bubble",
    )


def _card(title: str, *body: Markup) -> Markup:
    return element("div", element("p", title, class_="so-said-by"), *body, class_="so-card")
