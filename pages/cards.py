"""A tool's card as it is drawn: its sentence, and its arguments in the order and the form that its author declared.

It arranges and hides nothing. Beside a label stands the argument's own name, beside a value that reads otherwise than
it was sent the value as it was sent, and what the card does not name follows below, as it does where there is no card.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from pydantic import JsonValue

from agents.cards import Card, CardField, Format
from agents.protocol import Args, ContextEntry, Impact
from pages.rendering import (
    CUT_AT,
    ArgsView,
    Markup,
    Place,
    args_view,
    argument_view,
    as_text,
    element,
    marked,
    money,
    place_name,
)
from review.cards import pieces_of, place_of, uncovered, value_at

_HEADLINE_VALUE = 80
_PICTURES_SHOWN = 12
DECIMAL = re.compile(r"-?\d{1,30}(?:\.\d{1,12})?")
_CURRENCY = re.compile(r"[A-Z]{3}")
# ISO 4217: the currencies that are not counted in hundredths.
_MINOR_DIGITS = {
    **dict.fromkeys(
        (
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ),
        0,
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Sheet:
    """What a card is laid over: the arguments, what is at stake, and the addresses of the context's pictures by title.

    The stake lends its currency to an amount that is the very one at stake, where nothing else says it.
    """

    args: Args
    stake: Impact = dataclasses.field(default_factory=Impact)
    pictures: Mapping[str, str] = dataclasses.field(default_factory=dict)


def sentence_of(card: Card | None, sheet: Sheet) -> list[Markup] | None:
    """Return what the card says that the call does; None where it says nothing, or of an argument that is not there."""
    if card is None or card.headline is None:
        return None
    fields = {place_of(field.at): field for field in card.fields}
    parts: list[Markup] = []
    for text, place in pieces_of(card.headline):
        if place is None:
            parts.append(element("span", text, class_="so-plain"))
            continue
        found = value_at(sheet.args, place)
        if not found or found[0] is None:
            return None
        field = fields.get(place)
        told = (written(found[0], field, sheet) if field else None) or _in_line(found[0])
        parts.append(element("span", _cut(told), class_="so-plain so-who"))
    return parts


def _in_line(value: JsonValue) -> str:
    text = ", ".join(map(as_text, value)) if isinstance(value, list) else as_text(value)
    return " ".join(text.split())


def _cut(text: str) -> str:
    return text if len(text) <= _HEADLINE_VALUE else f"{text[:_HEADLINE_VALUE]}…"


def card_view(
    card: Card,
    sheet: Sheet,
    *,
    is_whole: bool = True,
    marks: Mapping[Place, Markup] | None = None,
    names: Sequence[str] = (),
) -> ArgsView:
    """Return the arguments as the card arranges them, then the others; the parameters are those of ``args_view``."""
    rows: list[Markup] = []
    hidden = 0
    for field in card.fields:
        place = place_of(field.at)
        found = value_at(sheet.args, place)
        if not found:
            continue
        shown, left_out = _value(found[0], field, sheet, is_whole=is_whole, marks=marks or {})
        hidden += left_out
        beside = list(_pictures(found[0], sheet.pictures)) if field.format is Format.PICTURE else []
        rows.append(element("tr", element("th", *_heading(field, place), scope="row"), element("td", shown, *beside)))
    parts = [element("table", element("tbody", *rows), class_="so-table so-args so-of-card")] if rows else []
    rest = uncovered(sheet.args, card.fields)
    if rest or not rows:
        others = args_view(rest, is_whole=is_whole, marks=marks, names=names)
        hidden += others.hidden
        parts += [element("p", "Other arguments", class_="so-label so-others")] if rows else []
        parts.append(others.markup)
    return ArgsView(element("div", *parts), hidden)


def _heading(field: CardField, place: Place) -> Iterator[Markup]:
    name = place_name(place)
    if field.label is not None:
        yield element("span", field.label, class_="so-plain so-named")
    yield element("span", name, class_="so-name so-own-name" if field.label else "so-name")


def _value(
    value: JsonValue, field: CardField, sheet: Sheet, *, is_whole: bool, marks: Mapping[Place, Markup]
) -> tuple[Markup, int]:
    place = place_of(field.at)
    told = written(value, field, sheet)
    if told is None:
        shown, left_out = argument_view(value, is_whole=is_whole, marks=marks, at=place)
        look = _LOOKS.get(field.format) if field.format and isinstance(value, str) else None
        return (element("div", shown, class_=look) if look else shown), left_out
    raw = as_text(value)
    parts = [element("span", told, class_="so-value so-written")]
    if raw not in told.replace(",", ""):
        parts += [Markup(" "), element("span", raw, class_="so-plain so-quiet so-small so-mono")]
    return marked(element("span", *parts), marks, place), 0


_LOOKS = {Format.TEXT: "so-prose", Format.CODE: "so-code"}


def _pictures(value: JsonValue, pictures: Mapping[str, str]) -> Iterator[Markup]:
    titles = [title for title in (value if isinstance(value, list) else [value]) if isinstance(title, str)]
    known = [title for title in dict.fromkeys(titles) if title in pictures][:_PICTURES_SHOWN]
    if known:
        tiles = (
            element(
                "figure",
                element("img", src=pictures[title], alt="A picture from the context", class_="so-tile"),
                element("figcaption", title, class_="so-plain"),
            )
            for title in known
        )
        yield element("div", *tiles, class_="so-tiles")


def pictures_of(context: Sequence[ContextEntry], address: Callable[[int], str | None]) -> dict[str, str]:
    """Return the pictures of the context by their titles; ``address`` says where an entry's is served, if it is one."""
    found = ((entry.title, address(number)) for number, entry in enumerate(context))
    return {title: at for title, at in found if title and at}


def written(value: JsonValue, field: CardField, sheet: Sheet) -> str | None:
    """Return the value in its field's format; None where it has none of its own, or the value is not of its kind."""
    writer = _WRITERS.get(field.format) if field.format else None
    if writer is None or isinstance(value, (bool, dict, list)) or value is None:
        return None
    text = value if isinstance(value, str) else as_text(value)
    return writer(text, field, sheet) if len(text) <= CUT_AT else None


def _money(text: str, field: CardField, sheet: Sheet) -> str | None:
    if not DECIMAL.fullmatch(text):
        return None
    lent = sheet.stake.currency if sheet.stake.amount == text else None
    currency = field.currency or _currency_at(field, sheet) or lent
    if not field.minor_units:
        return money(text, currency)
    if currency is None or "." in text:
        return None  # How many of them make one, nobody can say.
    return money(str(Decimal(text).scaleb(-_MINOR_DIGITS.get(currency, 2))), currency)


def _currency_at(field: CardField, sheet: Sheet) -> str | None:
    found = value_at(sheet.args, place_of(field.currency_at)) if field.currency_at else ()
    code = found[0] if found else None
    return code if isinstance(code, str) and _CURRENCY.fullmatch(code) else None


def _number(text: str, _: CardField, __: Sheet) -> str | None:
    return money(text, None) if DECIMAL.fullmatch(text) else None


def _change(text: str, _: CardField, __: Sheet) -> str | None:
    if not DECIMAL.fullmatch(text):
        return None
    sign = "-" if text.startswith("-") else "+" if Decimal(text) else ""
    return f"{sign}{money(text.removeprefix('-'), None)}"


def _percent(text: str, _: CardField, __: Sheet) -> str | None:
    return f"{text} %" if DECIMAL.fullmatch(text) else None


def _date(text: str, _: CardField, __: Sheet) -> str | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return f"{day:%A}, {day.day} {day:%B} {day.year}"


def _date_time(text: str, _: CardField, __: Sheet) -> str | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        return None  # Of a time without its zone nobody can say when it is.
    utc = at.astimezone(UTC)
    return f"{utc:%A}, {utc.day} {utc:%B} {utc.year}, {utc:%H:%M} UTC"


_WRITERS: dict[Format, Callable[[str, CardField, Sheet], str | None]] = {
    Format.MONEY: _money,
    Format.NUMBER: _number,
    Format.CHANGE: _change,
    Format.PERCENT: _percent,
    Format.DATE: _date,
    Format.DATE_TIME: _date_time,
}
