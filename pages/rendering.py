"""The one way in which text that is not ours reaches the screen: plain, escaped, with nothing hidden in it.

Whatever an agent, a tool's schema or a person wrote goes through `element` (or `plain` and `show_args`, which
use it). It never becomes Markdown, a link, an address to load from, or the label of a widget.
"""

import html
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import SequenceMatcher
from typing import Any, Literal

import streamlit as st
from pydantic import JsonValue

from agents.canonical import is_same
from agents.protocol import Args, DecisionType
from review.alike import reads_like_a_place
from review.errors import ReviewError
from review.legibility import visible as visible  # Text is drawn here, and made visible where it is drawn.

Tone = Literal["quiet", "good", "warn", "bad", "info", "accent"]
Place = tuple[str | int, ...]
Tree = str | list[Any]

# What a person did with an item.
DECISION_WORDS = {
    DecisionType.APPROVE: "approved",
    DecisionType.EDIT: "edited",
    DecisionType.REJECT: "rejected",
    DecisionType.RESPOND: "answered",
}
CUT_AT = 600
ROWS_AT = 40
_LEVELS = 4
_MARK = re.compile(r"(⟨[^⟨⟩]{1,80}⟩)")
_PIECES = re.compile(r"\w+|\s+|[^\w\s]")


class Markup(str):
    """HTML that `element` made: everything in it that is not ours is escaped. It remembers what it was made of."""

    __slots__ = ("made_of",)
    made_of: "tuple[str, dict[str, str], tuple[str, ...]]"


class Literally(str):
    """A JSON number, true, false or null as it was written, to be told from the text that reads the same."""

    __slots__ = ()


def element(tag: str, *children: str, is_open: bool = False, **attributes: str) -> Markup:
    """Return an HTML element; children are text, made visible and escaped, unless `element` made them.

    Attributes are for our own words alone; ``class_`` stands for ``class``, and an underscore for a hyphen.
    """
    given = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items() if value}
    named = "".join(f' {name}="{html.escape(value)}"' for name, value in given.items())
    inner = "".join(child if isinstance(child, Markup) else _text(child) for child in children)
    made = Markup(f"<{tag}{named}{' open' if is_open else ''}>{inner}</{tag}>")
    made.made_of = (tag, {**given, "open": "open"} if is_open else given, children)
    return made


def tree(part: str) -> Tree:
    """Return an element as nested lists of tag, attributes and children, for components that build it node by node.

    Text is made visible, and marked as `element` marks it.
    """
    if not isinstance(part, Markup):
        pieces: list[Tree] = [
            ["span", {"class": "so-mark"}, piece] if number % 2 else piece
            for number, piece in enumerate(_MARK.split(visible(part)))
        ]
        return pieces[0] if len(pieces) == 1 else ["span", {}, *pieces]
    if not hasattr(part, "made_of"):
        return str(part)  # A blank between two elements.
    tag, attributes, children = part.made_of
    return [tag, attributes, *(tree(child) for child in children)]


def _text(text: str) -> str:
    return _MARK.sub(r'<span class="so-mark">\1</span>', html.escape(visible(text)))


def draw(*parts: str, width: Literal["stretch", "content"] = "stretch") -> None:
    """Draw elements and plain text, one below the other."""
    st.html(element("div", *parts), width=width)


def plain(text: str, *, is_quiet: bool = False) -> None:
    """Draw text as plain text, with its line breaks."""
    draw(element("p", text, class_="so-plain so-quiet so-small" if is_quiet else "so-plain"))


def chip(text: str, tone: Tone = "quiet") -> Markup:
    """Return a small mark of a word or two, for `draw` or `element`."""
    return element("span", text, class_="so-chip" if tone == "quiet" else f"so-chip so-chip-{tone}")


def chips(*marks: Markup) -> Markup:
    """Return chips side by side."""
    return element("div", *marks, class_="so-chips")


def notice(text: str, tone: Tone = "info") -> Markup:
    """Return a sentence on a coloured ground; assistive technology reads it out."""
    return element("div", text, class_=f"so-notice so-notice-{tone}", role="alert" if tone == "bad" else "status")


def facts(pairs: Sequence[tuple[str, str]]) -> Markup:
    """Return names with their values side by side; a value is text or an element."""
    return element(
        "dl",
        *(element("div", element("dt", name), element("dd", value)) for name, value in pairs),
        class_="so-facts",
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, class_: str = "so-table") -> Markup:
    """Return a table of text or elements."""
    return element(
        "table",
        element("thead", element("tr", *(element("th", name, scope="col") for name in head))),
        element("tbody", *(element("tr", *(element("td", cell) for cell in row)) for row in rows)),
        class_=class_,
    )


def fold(title: str, *body: str, is_open: bool = False, mark: Markup | None = None) -> Markup:
    """Return a part that opens when its title is pressed; a mark stands beside the title."""
    return element(
        "details",
        element("summary", title, *([" ", mark] if mark else [])),
        element("div", *body, class_="so-fold-body"),
        class_="so-fold",
        is_open=is_open,
    )


@dataclass(frozen=True, slots=True)
class ArgsView:
    """Arguments as a table, and how many characters of them it leaves out."""

    markup: Markup
    hidden: int


def args_view(
    args: Mapping[str, JsonValue],
    *,
    is_whole: bool = True,
    marks: Mapping[Place, Markup] | None = None,
    names: Collection[str] = (),
) -> ArgsView:
    """Return the arguments as a table of names and values; unless ``is_whole``, long ones are cut and say so.

    ``marks`` stand beside the value at their place; ``names`` come first, in their order.
    """
    rows: list[Markup] = []
    hidden = 0
    left: list[str] = []
    ordered = {**{name: args[name] for name in names if name in args}, **args}
    for number, (name, value) in enumerate(ordered.items()):
        if not is_whole and number >= ROWS_AT:
            left.append(name + _as_one(value))
            continue
        shown, left_out = argument_view(value, is_whole=is_whole, marks=marks or {}, at=(name,))
        hidden += left_out
        rows.append(_row(name, shown))
    if left:
        hidden += sum(map(len, left))
        note = element("span", _hidden(len(left), "arguments", "".join(left)), class_="so-hidden")
        rows.append(element("tr", element("th", "", scope="row"), element("td", note)))
    if not rows:
        return ArgsView(element("p", "It takes no arguments.", class_="so-quiet"), 0)
    return ArgsView(element("table", element("tbody", *rows), class_="so-table so-args"), hidden)


def places_view(values: Iterable[tuple[Place, JsonValue]]) -> Markup:
    """Return what stands at places in the arguments, whole, as a table with a row for each."""
    rows = (_row(place_name(place), value_view(value)) for place, value in values)
    return element("table", element("tbody", *rows), class_="so-table so-args")


def _row(name: str, shown: Markup) -> Markup:
    return element("tr", element("th", element("span", name, class_="so-name"), scope="row"), element("td", shown))


def show_args(args: Mapping[str, JsonValue]) -> None:
    """Draw the arguments whole, as a table of names and values."""
    draw(args_view(args).markup)


def _as_one(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _hidden(count: int, what: str, text: str) -> str:
    # What looks like a few characters may be many bytes.
    return f"… {count:,} more {what} ({len(text.encode('utf-8', 'surrogatepass')):,} bytes) are hidden"


def argument_view(value: JsonValue, *, is_whole: bool, marks: Mapping[Place, Markup], at: Place) -> tuple[Markup, int]:
    """Return the value at a place in the arguments as an element, and how many characters of it are left out."""
    if is_whole or len(_as_one(value)) <= CUT_AT:
        return value_view(value, marks=marks, at=at), 0
    text = value if isinstance(value, str) else _laid_out(value)
    left = text[CUT_AT:]
    note = element("span", f" {_hidden(len(left), 'characters', left)}", class_="so-hidden")
    cut = element("span", element("span", text[:CUT_AT], class_="so-value"), note)
    return marked(cut, marks, at), len(left)


def marked(shown: Markup, marks: Mapping[Place, Markup], at: Place) -> Markup:
    """Return what is drawn of the value at a place, with the marks of all that is in it beside it."""
    # What is drawn as one piece takes on the marks of all that is in it.
    own = dict.fromkeys(mark for place, mark in marks.items() if place[: len(at)] == at)
    return element("div", shown, chips(*own), class_="so-marked") if own else shown


def value_view(
    value: JsonValue, *, levels: int = _LEVELS, marks: Mapping[Place, Markup] | None = None, at: Place = ()
) -> Markup:
    """Return a JSON value as an element; numbers, true, false and null look other than text.

    ``marks`` stand beside what is at their place; the value itself is ``at`` this one.
    """
    if isinstance(value, dict) and value and levels:
        rows = (
            element(
                "tr",
                element("th", element("span", name, class_="so-name"), scope="row"),
                element("td", value_view(member, levels=levels - 1, marks=marks, at=(*at, name))),
            )
            for name, member in value.items()
        )
        return element("table", element("tbody", *rows), class_="so-table")
    if isinstance(value, list) and value and levels:
        members = (
            element("li", value_view(member, levels=levels - 1, marks=marks, at=(*at, number)))
            for number, member in enumerate(value)
        )
        return element("ol", *members, class_="so-list")
    return marked(_leaf(value), marks, at) if marks else _leaf(value)


def _leaf(value: JsonValue) -> Markup:
    if isinstance(value, Literally):
        return element("span", value, class_="so-value so-literal")
    if isinstance(value, str):
        return _string(value)
    return element("span", _laid_out(value), class_="so-value so-literal")


def _laid_out(value: JsonValue, margin: str = "") -> str:
    if isinstance(value, Literally):
        return value
    inner = margin + "  "
    if isinstance(value, dict) and value:
        members = (f"{inner}{_laid_out(name)}: {_laid_out(member, inner)}" for name, member in value.items())
        return "{\n" + ",\n".join(members) + f"\n{margin}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(inner + _laid_out(member, inner) for member in value) + f"\n{margin}]"
    return json.dumps(value, ensure_ascii=False)


def _string(text: str) -> Markup:
    if not text:
        return chip("empty text")
    shown = element("span", text, class_="so-value")
    return element("span", shown, " ", chip("space at its edge", "warn")) if text != text.strip() else shown


def json_view(text: str) -> Markup:
    """Return what is probably JSON laid out, every number as it was written; else the text as it is."""
    try:
        value = json.loads(
            text, object_pairs_hook=_once, parse_int=Literally, parse_float=Literally, parse_constant=_refuse
        )
    except (ValueError, RecursionError):
        return element("pre", text, class_="so-plain so-mono")
    if not isinstance(value, (dict, list)):
        return element("pre", text, class_="so-plain so-mono")
    return value_view(value, levels=_LEVELS)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name stands twice in one object")  # noqa: TRY003, EM101 -- caught by json_view
    return members


def _refuse(name: str) -> None:
    raise ValueError(name)


@dataclass(frozen=True, slots=True)
class Change:
    """One place where two sets of arguments differ; a side that has nothing there is None."""

    place: Place
    old: JsonValue | None
    new: JsonValue | None
    is_added: bool = False
    is_removed: bool = False


def changes(old: JsonValue, new: JsonValue, *, at: Place = ()) -> list[Change]:
    """Return every place where the two differ, members of objects each by itself, lists as a whole."""
    if isinstance(old, dict) and isinstance(new, dict):
        found: list[Change] = []
        for name in dict.fromkeys([*old, *new]):
            place = (*at, name)
            if name not in new:
                found.append(Change(place, old[name], None, is_removed=True))
            elif name not in old:
                found.append(Change(place, None, new[name], is_added=True))
            else:
                found += changes(old[name], new[name], at=place)
        return found
    return [] if is_same(old, new) else [Change(at, old, new)]


def diff_view(old: Args, new: Args) -> Markup:
    """Return, place by place, what goes and what comes."""
    found = changes(old, new)
    if not found:
        return element("p", "Nothing is changed.", class_="so-quiet so-small")
    rows = (
        element(
            "tr",
            element("th", element("span", place_name(change.place), class_="so-name"), scope="row"),
            element("td", *_difference(change)),
        )
        for change in found
    )
    return element("table", element("tbody", *rows), class_="so-table so-diff")


def place_name(place: Place) -> str:
    """Return a place in the arguments as a reader would say it: ``address.lines[2]``; no two are said alike.

    A name that reads like a place itself stands in brackets: ``["address.city"]``.
    """
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step + 1}]"
        elif reads_like_a_place(step):
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
        else:
            text += f".{step}" if text else step
    return text or "the arguments"


def ordinal(number: int) -> str:
    """Return a number as a rank: ``1st``, ``2nd``, ``11th``."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def _difference(change: Change) -> Iterator[Markup]:
    if change.is_added:
        yield element("ins", as_text(change.new), class_="so-value")
    elif change.is_removed:
        yield element("del", as_text(change.old), class_="so-value")
        yield chip("left out")
    elif isinstance(change.old, str) and isinstance(change.new, str) and len(change.old) > 40:
        yield from _by_words(change.old, change.new)
    else:
        yield element("del", as_text(change.old), class_="so-value")
        yield Markup(" ")
        yield element("ins", as_text(change.new), class_="so-value")


def as_text(value: JsonValue) -> str:
    """Return a JSON value as it is read: text as it is, all else as JSON writes it."""
    return (value or "(empty text)") if isinstance(value, str) else _laid_out(value)


def _by_words(old: str, new: str) -> Iterator[Markup]:
    olds, news = _PIECES.findall(old), _PIECES.findall(new)
    for kind, start, end, new_start, new_end in SequenceMatcher(None, olds, news, autojunk=False).get_opcodes():
        if kind == "equal":
            yield element("span", "".join(olds[start:end]), class_="so-value")
        if kind in ("delete", "replace"):
            yield element("del", "".join(olds[start:end]), class_="so-value")
        if kind in ("insert", "replace"):
            yield element("ins", "".join(news[new_start:new_end]), class_="so-value")


def humanised(name: str) -> str:
    """Return a name as words: ``refund_order`` and ``refundOrder`` both read "Refund order"."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    words = re.sub(r"[_.:/-]+", " ", words).strip()
    return words[:1].upper() + words[1:].lower() if words else name


def money(amount: str | None, currency: str | None) -> str:
    """Return an amount as written, its thousands set apart: ``1,234.50 EUR``; a dash where there is none."""
    if amount is None:
        return "–"
    sign, digits = ("-", amount[1:]) if amount.startswith("-") else ("", amount)
    whole, point, rest = digits.partition(".")
    grouped = f"{int(whole):,}" if whole.isdigit() else whole
    return f"{sign}{grouped}{point}{rest} {currency or ''}".rstrip()


def ago(at: datetime | None, now: datetime) -> str:
    """Return a moment as seen from now: ``3 min ago``, ``in 2 h``; a dash where there is none."""
    if at is None:
        return "–"
    passed = now - at
    if abs(passed) < timedelta(seconds=10):
        return "just now"
    return f"in {span(-passed)}" if passed < timedelta(0) else f"{span(passed)} ago"


def when(at: datetime, now: datetime) -> Markup:
    """Return a moment as seen from now; components keep it up to date."""
    return element("time", ago(at, now), datetime=at.isoformat(), title=moment(at))


def span(time: timedelta) -> str:
    """Return a length of time in its largest fitting unit: ``45 s``, ``3 min``, ``2 h``, ``5 days``."""
    seconds = max(int(time.total_seconds()), 0)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 48 * 3600:
        hours, minutes = seconds // 3600, seconds % 3600 // 60
        return f"{hours} h {minutes} min" if hours < 10 and minutes else f"{hours} h"
    return f"{seconds // 86400} days"


def moment(at: datetime | None) -> str:
    """Return a moment as a date and a time in UTC; a dash where there is none."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at else "–"


def said(text: str, tone: Tone = "good") -> None:
    """Keep a sentence for the next drawing of the page, so that a callback can be heard."""
    st.session_state.setdefault("_said", []).append((text, tone))


def refused(error: ReviewError) -> None:
    """Keep a refusal for the next drawing of the page: no refusal is ever lost between two runs."""
    said(str(error), "bad")


def times_heard() -> int:
    """Return how often something was said to this person on this tab."""
    return int(st.session_state.get("_heard", 0))


def show_refusal() -> None:
    """Draw what callbacks left to say, at the top of a page: what was done passes by, the rest stays."""
    waiting: list[tuple[str, Tone]] = st.session_state.pop("_said", [])
    # A place of its own, empty or not: what stands below keeps its number, and with it its focus and its state.
    place = st.container()
    if not waiting:
        return
    # A number makes the element a new one, so that the same words appear again.
    number = st.session_state["_heard"] = times_heard() + 1
    done = [text for text, tone in waiting if tone == "good"]
    flash = [element("p", " ".join(done), class_="so-flash", role="status", data_number=str(number))] if done else []
    with place:
        draw(*(notice(text, tone) for text, tone in waiting if tone != "good"), *flash)
