"""Grounding: which argument values stand in what the agent was given."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.protocol import ContextEntry, ContextKind
from review.grounding import MAX_VALUES, Grounding, Source, grounding, has_untrusted, provenance, source_of
from tests.builders import a_request, an_action


def seen(content: str, kind: ContextKind = ContextKind.MESSAGE, role: str | None = "user") -> ContextEntry:
    return ContextEntry(kind=kind, role=role, content=content)


def grounded(value: Any, *entries: ContextEntry, schema: dict[str, Any] | None = None) -> Grounding:  # noqa: ANN401 -- any JSON value
    return grounding(a_request(action=an_action(value=value), context=entries, args_schema=schema))


HERE = Grounding(1.0, ())
NOWHERE = Grounding(0.0, (("value",),))
NOT_SOUGHT = Grounding(None, ())


@pytest.mark.parametrize(
    ("value", "content", "found"),
    [
        ("A-1001", "It is about A-1001.", HERE),
        ("A-1001", "it is about a-1001!", HERE),
        ("A-100", "It is about A-1001.", NOWHERE),
        ("1-1001", "It is about A-1001.", NOWHERE),
        ("ada@example.com", "Write to <ada@example.com>, please.", HERE),
        ("Rue de  Rivoli 12", "12, rue de Rivoli; Rue de Rivoli 12", HERE),
        ("\uff26\uff35\uff2c\uff2c width", "full width", HERE),
        ("Café Noir", '{"name": "Caf\\u00e9 Noir"}', HERE),
        ("Hello there", '{"text": "Hi\\nHello there"}', HERE),
        ("49.00", "The price is 49.", HERE),
        (49, "The price is EUR 49.00!", HERE),
        (49.5, "The price is 49,50 €", HERE),
        ("1234.5", "a total of 1,234.50 francs", HERE),
        (1234, "a total of 1’234 francs", HERE),
        (-49, "a refund of 49", HERE),
        (49, "The price is 149.", NOWHERE),
        (49, "The price is 490.", NOWHERE),
        (49, "Order A49", NOWHERE),
        (49.5, "The price is 49.", NOWHERE),
        (0.5, "half: 0.5", HERE),
        (0.5, "a half", NOWHERE),
        (9, "nothing", NOT_SOUGHT),
        (10, "nothing", Grounding(0.0, (("value",),))),
        ("abc", "nothing", NOT_SOUGHT),
        ("abcd", "nothing", NOWHERE),
        ("--- !", "nothing", NOT_SOUGHT),
        (True, "nothing", NOT_SOUGHT),
        (None, "nothing", NOT_SOUGHT),
        ([], "nothing", NOT_SOUGHT),
        ("1" + "0" * 28 + "1", "number 1" + "0" * 28 + "1", HERE),
        ("0012345", "number 0012345", HERE),
        ("0012345", "number 12345", NOWHERE),
    ],
)
def test_a_value_is_looked_for_as_a_person_would(value: object, content: str, found: Grounding) -> None:
    assert grounded(value, seen(content)) == found


@pytest.mark.parametrize(
    ("kind", "role", "found"),
    [
        (ContextKind.MESSAGE, "user", HERE),
        (ContextKind.MESSAGE, "Customer", HERE),
        (ContextKind.MESSAGE, "assistant", NOWHERE),
        (ContextKind.MESSAGE, "system", NOWHERE),
        (ContextKind.MESSAGE, None, NOWHERE),
        (ContextKind.TOOL_RESULT, None, HERE),
        (ContextKind.RECORD, None, HERE),
        (ContextKind.DOCUMENT, None, HERE),
        (ContextKind.LINK, None, HERE),
        (ContextKind.IMAGE, None, NOWHERE),
    ],
)
def test_the_agents_own_words_are_no_source(kind: ContextKind, role: str | None, found: Grounding) -> None:
    assert grounded("A-1001", seen("A-1001", kind, role)) == found


def test_without_a_context_nothing_is_grounded() -> None:
    assert grounded("A-1001") == NOWHERE


def test_the_share_and_the_places_are_told() -> None:
    value = {"ids": ["A-1001", "A-9999"], "who": {"name": "Ada Lovelace"}, "total": 4900}

    found = grounded(value, seen("A-1001 for Ada Lovelace"))

    assert found == Grounding(0.5, (("value", "ids", 1), ("value", "total")))


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": ["standard", "express"]},
        {"const": "standard"},
        {"$ref": "#/$defs/Speed"},
        {"anyOf": [{"$ref": "#/$defs/Speed"}, {"type": "null"}]},
        {"allOf": [{"$ref": "#/$defs/Speed"}]},
    ],
)
def test_a_value_that_the_schema_enumerates_is_not_looked_for(schema: dict[str, Any]) -> None:
    whole = {"properties": {"value": schema}, "$defs": {"Speed": {"enum": ["standard", "express"]}}}

    assert grounded("standard", seen("nothing"), schema=whole) == NOT_SOUGHT


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/properties/value"},
        {"$ref": 3},
        {"$ref": "#/nowhere/x"},
        {"anyOf": [{"type": "null"}]},
        True,
        {"anyOf": 3},
    ],
)
def test_an_odd_schema_hides_no_value(schema: object) -> None:
    assert grounded("A-1001", seen("nothing"), schema={"properties": {"value": schema}}) == NOWHERE


def test_values_behind_the_first_thousand_count_as_standing_nowhere() -> None:
    found = grounded(["A-1001"] * (MAX_VALUES + 1), seen("A-1001"))

    assert found.ungrounded == (("value", MAX_VALUES),)


@pytest.mark.parametrize(
    "content", ["1," * 120_000, "1" * 240_000, "a1 b2 9,999.50 " * 16_000, "\\u00e9" * 40_000, "'1" * 120_000]
)
def test_a_large_context_is_searched_to_its_end(content: str) -> None:
    values = [f"word{number} again" for number in range(1_000)]

    found = grounded(values, seen(content, ContextKind.TOOL_RESULT))

    assert found.share == 0.0


PLAIN = st.characters(exclude_categories=["Cs"], exclude_characters="\\")


@given(text=st.text(PLAIN, max_size=60), around=st.text(PLAIN, max_size=20))
def test_what_stands_in_the_context_is_found(text: str, around: str) -> None:
    found = grounded(text, seen(around), seen(text, ContextKind.RECORD))

    assert found in (HERE, NOT_SOUGHT)


@pytest.mark.parametrize(
    ("kind", "role", "unsaid", "trusted", "untrusted"),
    [
        (ContextKind.MESSAGE, "user", Source.USER, Source.USER, Source.UNTRUSTED),
        (ContextKind.MESSAGE, "Customer", Source.USER, Source.USER, Source.UNTRUSTED),
        (ContextKind.MESSAGE, "assistant", Source.NOWHERE, Source.NOWHERE, Source.UNTRUSTED),
        (ContextKind.MESSAGE, None, Source.NOWHERE, Source.NOWHERE, Source.UNTRUSTED),
        (ContextKind.TOOL_RESULT, None, Source.TOOL, Source.TOOL, Source.UNTRUSTED),
        (ContextKind.RECORD, None, Source.TOOL, Source.TOOL, Source.UNTRUSTED),
        (ContextKind.DOCUMENT, None, Source.UNTRUSTED, Source.TOOL, Source.UNTRUSTED),
        (ContextKind.LINK, None, Source.UNTRUSTED, Source.TOOL, Source.UNTRUSTED),
        (ContextKind.IMAGE, None, Source.NOWHERE, Source.NOWHERE, Source.NOWHERE),
    ],
)
def test_the_agent_may_say_what_it_trusts_and_else_the_kind_says_it(
    kind: ContextKind, role: str | None, unsaid: Source, trusted: Source, untrusted: Source
) -> None:
    entries = [ContextEntry(kind=kind, role=role, content="A-1001", trusted=said) for said in (None, True, False)]

    assert [source_of(entry) for entry in entries] == [unsaid, trusted, untrusted]
    assert [has_untrusted((entry,)) for entry in entries] == [
        source is Source.UNTRUSTED for source in (unsaid, trusted, untrusted)
    ]


USER = seen("Order A-1001, please.")
RECORD = seen('{"order": "A-1001", "client": "C-2002"}', ContextKind.RECORD)
PAGE = seen("A-1001 C-2002 FR76-1234", ContextKind.DOCUMENT)


@pytest.mark.parametrize(
    ("value", "context", "source", "entry"),
    [
        ("A-1001", (PAGE, RECORD, USER), Source.USER, USER),
        ("C-2002", (PAGE, RECORD, USER), Source.TOOL, RECORD),
        ("FR76-1234", (PAGE, RECORD, USER), Source.UNTRUSTED, PAGE),
        ("FR76-9999", (PAGE, RECORD, USER), Source.NOWHERE, None),
        ("A-1001", (), Source.NOWHERE, None),
    ],
)
def test_a_value_comes_from_the_first_that_has_it(
    value: str, context: tuple[ContextEntry, ...], source: Source, entry: ContextEntry | None
) -> None:
    found = provenance(a_request(action=an_action(value=value), context=context))

    assert [(origin.path, origin.source, origin.entry) for origin in found.origins] == [(("value",), source, entry)]


def test_the_origins_are_counted() -> None:
    action = an_action(one="A-1001", two="C-2002", three=["FR76-1234", "FR76-1234"], four="made up", five=True)

    counts = provenance(a_request(action=action, context=(USER, RECORD, PAGE))).counts

    assert counts == {"user": 1, "tool": 1, "untrusted": 2, "nowhere": 1}


def test_an_action_without_values_has_no_origins() -> None:
    assert provenance(a_request(action=an_action(value=True))).counts == dict.fromkeys(Source, 0)


def test_values_behind_the_first_thousand_may_come_from_what_is_untrusted() -> None:
    request = a_request(action=an_action(value=["A-1001"] * MAX_VALUES + ["FR76-1234"]), context=(USER, PAGE))

    counts = provenance(request).counts

    assert counts == {"user": MAX_VALUES, "tool": 0, "untrusted": 1, "nowhere": 0}


def test_many_entries_are_searched_quickly() -> None:
    context = tuple(seen(f"entry {number} " * 90, ContextKind.TOOL_RESULT) for number in range(200))
    values = [f"word{number} again" for number in range(1_000)]

    counts = provenance(a_request(action=an_action(value=values), context=context)).counts

    assert counts["nowhere"] == 1_000


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (5000, "EUR5000"),
        (5000, "x_5000"),
        (5000, "pay 5 000 now"),
        (5000, "pay 5\u202f000 now"),
        (5000, "5.000,00 EUR"),
        (5000, "total,5000"),
        (5000, "50\u200b00"),
        (1234567.5, "1 234 567,5"),
        ("5000.00", "EUR5.000"),
        (1234567890, "account 12 3456 7890"),
        ("DE1234567890", "to DE12 3456 7890, please"),
        ("DE1234567890", "to DE12-3456-7890, please"),
        ("DE12 3456 7890", "to DE1234567890, please"),
        ("FR76-1234", "x_FR761234"),
    ],
)
def test_what_is_untrusted_is_searched_in_loose_forms_and_what_is_trusted_is_not(value: object, content: str) -> None:
    action = an_action(value=value)

    found = [
        provenance(a_request(action=action, context=(seen(content, kind),))).origins[0].source
        for kind in (ContextKind.DOCUMENT, ContextKind.TOOL_RESULT)
    ]

    assert found == [Source.UNTRUSTED, Source.NOWHERE]


@pytest.mark.parametrize(
    ("value", "content"), [(500, "5000"), (5000, "15 000"), (5000, "50001"), ("A-100", "A-1001"), ("A-100", "BA100")]
)
def test_the_loose_forms_are_of_the_whole_value(value: object, content: str) -> None:
    assert grounded(value, seen(content, ContextKind.DOCUMENT)) == NOWHERE


OPEN = {"properties": {"value": {"type": "object", "additionalProperties": {"type": "boolean"}}}}
SHAPE = {"type": "object", "properties": {"FR761234": {"type": "boolean"}}}


@pytest.mark.parametrize(
    ("schema", "counts"),
    [
        (OPEN, (1, 0)),
        (None, (1, 0)),
        ({"properties": {"value": SHAPE}}, (0, 0)),
        (
            {
                "properties": {"value": {"anyOf": [{"$ref": "#/$defs/Shape"}, {"type": "null"}]}},
                "$defs": {"Shape": SHAPE},
            },
            (0, 0),
        ),
        ({"properties": {"value": {"type": "object", "propertyNames": {"enum": ["FR761234"]}}}}, (0, 0)),
        ({"properties": {"other": {}}}, (1, 1)),
    ],
)
def test_a_name_that_the_schema_does_not_know_is_a_value(
    schema: dict[str, Any] | None, counts: tuple[int, int]
) -> None:
    action = an_action(value={"FR761234": True})

    found = provenance(a_request(action=action, context=(PAGE,), args_schema=schema)).counts

    assert (found["untrusted"], found["nowhere"]) == counts


def test_without_a_schema_what_looks_like_the_name_of_a_field_is_none() -> None:
    assert grounded({"first_name": "Ada Lovelace"}, seen("Ada Lovelace")) == HERE


# Where the time grew with the square of the length, it would not end in that time on any machine.
@pytest.mark.timeout(120)
@pytest.mark.parametrize("content", ["1," * 120_000, "1 000 " * 40_000, "a" * 240_000, "a1 b2 9,999.50 " * 16_000])
def test_a_large_untrusted_context_is_searched_to_its_end(content: str) -> None:
    values: list[Any] = [f"word{number} again" for number in range(500)]
    values += [100_000_000 + number for number in range(499)]

    found = grounded([*values, "aaaa"], seen(content, ContextKind.DOCUMENT))

    assert found.share is not None
