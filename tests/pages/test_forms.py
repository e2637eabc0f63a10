"""A form edits what is touched, and gives back the very rest."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue
from streamlit.testing.v1 import AppTest

from agents.canonical import action_digest
from pages.form_widgets import label_of
from pages.forms import (
    MISSING,
    Edited,
    Field,
    Kind,
    Schema,
    Shape,
    Standing,
    UnreadableError,
    Value,
    edited,
    field_of,
    form_of,
    initial,
    key_path,
    leaf_value,
    offered,
)
from tests.waiting import PATIENCE_SECONDS

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "order_id": {"type": "string", "pattern": "^R-[0-9]+$", "description": "The order."},
        "amount": {"type": "string"},
        "quantity": {"type": "integer", "minimum": 1},
        "weight": {"type": "number"},
        "gift": {"type": "boolean"},
        "channel": {"enum": ["shop", "web", 3]},
        "on": {"type": "string", "format": "date"},
        "address": {"$ref": "#/$defs/Address"},
        "skus": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "comment": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "coupon": {"type": "string"},
    },
    "required": ["order_id", "amount", "quantity", "address", "skus", "comment"],
    "additionalProperties": False,
    "$defs": {
        "Address": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "lines": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["city"],
        }
    },
}
ARGS: dict[str, JsonValue] = {
    "order_id": "R-1042",
    "amount": "420.00",
    "quantity": 2,
    "weight": 1.25,
    "gift": False,
    "channel": 3,
    "on": "2026-11-22",
    "address": {"city": "Paris", "lines": ["1 rue de la Paix", ""]},
    "skus": ["BAG-HEL-01", "BAG-HEL-02"],
    "comment": None,
}


def a_field(schema: Schema, value: Any, **fields: Any) -> Field:  # noqa: ANN401 -- any JSON value
    return field_of(Shape(schema, schema), value, **fields)


def held(state: dict[str, Any], *, schema: Schema | None = SCHEMA, args: dict[str, JsonValue] = ARGS) -> Edited:
    return edited(schema, args, {f"form.{name}": value for name, value in state.items()}, "form")


@pytest.mark.parametrize(
    ("schema", "value", "kind"),
    [
        ({"type": "string"}, "a", Kind.TEXT),
        ({"type": "string"}, "a\nb", Kind.WORDS),
        ({"type": "string"}, "a" * 60, Kind.TEXT),
        ({"type": "string"}, "a" * 61, Kind.WORDS),
        ({"type": "string", "format": "date"}, "2026-11-22", Kind.DATE),
        ({"type": "string", "format": "date"}, "20261122", Kind.TEXT),
        ({"type": "string", "format": "date"}, "tomorrow", Kind.TEXT),
        ({"type": "string", "format": "date-time"}, "2026-11-22T10:00:00Z", Kind.MOMENT),
        ({"type": "string", "format": "date-time"}, "2026-11-22t10:00:37.250-05:30", Kind.MOMENT),
        ({"type": "string", "format": "date-time"}, MISSING, Kind.MOMENT),
        ({"type": "string", "format": "date-time"}, "2026-11-22T10:00:00", Kind.TEXT),
        ({"type": "string", "format": "date-time"}, "2026-11-31T10:00:00Z", Kind.TEXT),
        ({"type": "string", "format": "date-time"}, "2026-12-31T23:59:60Z", Kind.TEXT),
        ({"type": "string", "format": "date-time"}, "2026-11-22T10:00:00Z\n", Kind.WORDS),
        ({"type": "string", "format": "email"}, "ada@example.com", Kind.EMAIL),
        ({"type": "string", "format": "email"}, "nobody", Kind.EMAIL),
        ({"type": "string", "format": "email"}, "nobody\n", Kind.WORDS),
        ({"type": "string", "format": "uri"}, "https://example.com/" + "a" * 60, Kind.ADDRESS),
        ({"type": "string", "format": "iri"}, MISSING, Kind.ADDRESS),
        ({"type": "string", "format": "hostname"}, "example.com", Kind.TEXT),
        ({"type": "integer"}, 2, Kind.INTEGER),
        ({"type": "integer"}, 2**53 - 1, Kind.INTEGER),
        ({"type": "integer"}, 2**53, Kind.JSON),
        ({"type": "integer"}, "2", Kind.JSON),
        ({"type": "integer"}, True, Kind.JSON),
        ({"type": "number"}, 2, Kind.NUMBER),
        ({"type": "number"}, 2.5, Kind.NUMBER),
        ({"type": "number"}, "2.5", Kind.JSON),
        ({"type": "boolean"}, True, Kind.BOOLEAN),
        ({"type": "boolean"}, 1, Kind.JSON),
        ({"type": "object", "properties": {}}, {}, Kind.OBJECT),
        ({"type": "object"}, {"a": 1}, Kind.OBJECT),
        ({"type": "object"}, [], Kind.JSON),
        ({"type": "array", "items": {"type": "string"}}, ["a"], Kind.LIST),
        ({"type": "array"}, {}, Kind.JSON),
        ({"enum": ["a", "b"]}, "a", Kind.CHOICE),
        ({"const": "a"}, "a", Kind.CHOICE),
        ({"enum": ["a", None]}, "a", Kind.CHOICE),
        ({"type": ["string", "null"]}, None, Kind.TEXT),
        ({"type": ["string", "integer"]}, 3, Kind.INTEGER),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "a", Kind.TEXT),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, 1, Kind.INTEGER),
        ({"oneOf": [{"const": "a"}, {"const": "b"}]}, "b", Kind.CHOICE),
        ({"allOf": [{"type": "integer"}], "description": "x"}, 1, Kind.INTEGER),
        ({"allOf": [{"properties": {"a": {"type": "string"}}}, {"type": "object"}]}, {"a": "b"}, Kind.OBJECT),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "boolean"}}}, True, Kind.BOOLEAN),
        ({"$ref": "https://elsewhere.example/schema"}, "a", Kind.TEXT),
        ({"$ref": "#"}, "a", Kind.TEXT),
        ({}, "a", Kind.TEXT),
        ({}, 1, Kind.INTEGER),
        ({}, 1.5, Kind.NUMBER),
        ({}, True, Kind.BOOLEAN),
        ({}, [1], Kind.LIST),
        ({}, {"a": 1}, Kind.OBJECT),
        ({}, None, Kind.JSON),
    ],
)
def test_each_shape_has_its_kind_of_field(schema: Schema, value: JsonValue, kind: Kind) -> None:
    assert a_field(schema, value).kind is kind


@pytest.mark.parametrize(
    ("schema", "value", "is_required", "standings", "standing"),
    [
        ({"type": "string"}, "a", True, (Standing.VALUE,), Standing.VALUE),
        ({"type": "string"}, MISSING, True, (Standing.VALUE,), Standing.VALUE),
        ({"type": "string"}, MISSING, False, (Standing.VALUE, Standing.ABSENT), Standing.ABSENT),
        ({"type": ["string", "null"]}, None, True, (Standing.VALUE, Standing.NULL), Standing.NULL),
        ({"type": "string"}, None, True, (Standing.VALUE, Standing.NULL), Standing.NULL),
        (
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "a",
            False,
            (Standing.VALUE, Standing.NULL, Standing.ABSENT),
            Standing.VALUE,
        ),
    ],
)
def test_a_field_may_do_without_a_value_where_its_schema_says_so(
    schema: Schema, value: Value, *, is_required: bool, standings: tuple[Standing, ...], standing: Standing
) -> None:
    made = a_field(schema, value, is_required=is_required)

    assert (made.standings, made.standing) == (standings, standing)


def test_what_was_proposed_can_be_chosen_though_the_schema_does_not_know_it() -> None:
    made = a_field({"enum": ["a", "b"]}, "c")

    assert offered(made) == ("c", "a", "b")
    assert leaf_value(made, initial(made)) == "c"


def test_a_choice_that_python_takes_for_the_proposal_is_another() -> None:
    made = a_field({"enum": [[True], [2]]}, [1])

    assert [repr(choice) for choice in offered(made)] == ["[1]", "[True]", "[2]"]
    assert leaf_value(made, 1) == [True]


@pytest.mark.parametrize("name", ["a/b", "a.rows", "a~1b", "a.standing"])
def test_what_a_form_keeps_of_one_field_it_reads_as_no_others(name: str) -> None:
    args: dict[str, JsonValue] = {"a": {"b": "1"}, name: "2"}

    held = edited(None, args, {f"form.0{key_path((name,))}": "3"}, "form")

    assert (held.args, held.errors) == ({"a": {"b": "1"}, name: "3"}, {})


def test_a_list_does_not_take_its_rows_from_a_field_that_is_called_like_them() -> None:
    args: dict[str, JsonValue] = {"a": ["1"], "a.rows": "2"}

    held = edited(None, args, {f"form.0{key_path(('a.rows',))}": "3"}, "form")

    assert (held.args, held.errors) == ({"a": ["1"], "a.rows": "3"}, {})


def test_a_form_with_no_changes_gives_back_the_proposed_arguments() -> None:
    result = held({})

    assert result == Edited(ARGS)
    assert result.args is not None
    assert action_digest("refund", result.args) == action_digest("refund", ARGS)


ON_CARD: dict[str, Any] = {
    "type": "object",
    "properties": {"price": {"type": "string"}, "cents": {"type": "integer"}, "at": {}, "lines": {}},
    "x-signoff-card": {
        "fields": [
            {"at": "price", "format": "money", "currency": "EUR"},
            {"at": "cents", "format": "money", "currency": "JPY", "minor_units": True},
            {"at": "/lines/0/price", "format": "money"},
        ]
    },
}


@pytest.mark.parametrize(
    ("args", "place", "kind"),
    [
        ({"price": "420.00"}, ("price",), Kind.MONEY),
        ({}, ("price",), Kind.MONEY),
        ({"price": "much"}, ("price",), Kind.TEXT),
        ({"price": "420.00\n"}, ("price",), Kind.WORDS),
        ({"cents": 420}, ("cents",), Kind.INTEGER),
        ({"lines": [{"price": "1.00"}, {"price": "2.00"}]}, ("lines", 0, "price"), Kind.MONEY),
        ({"lines": [{"price": "1.00"}, {"price": "2.00"}]}, ("lines", 1, "price"), Kind.TEXT),
    ],
)
def test_an_amount_that_the_card_declares_is_edited_as_one(
    args: dict[str, JsonValue], place: tuple[str | int, ...], kind: Kind
) -> None:
    def fields(made: Field) -> dict[tuple[str | int, ...], Field]:
        return {made.place: made, **{at: one for member in made.members for at, one in fields(member).items()}}

    assert fields(form_of(ON_CARD, args))[place].kind is kind


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("400.00", "400.00"), (" 400 ", "400"), ("-1.50", "-1.50"), ("0420.00", "0420.00")],
)
def test_an_amount_is_kept_in_the_digits_that_were_typed(typed: str, kept: str) -> None:
    assert held({"0/price": typed}, schema=ON_CARD, args={"price": "420.00"}).args == {"price": kept}


@pytest.mark.parametrize("typed", ["", "much", "420,00", "4e2", "1 000"])
def test_what_is_no_amount_is_told_at_its_field(typed: str) -> None:
    result = held({"0/price": typed}, schema=ON_CARD, args={"price": "420.00"})

    assert result == Edited(None, {("price",): "Write an amount, such as 420.00."})


MOMENT: dict[str, Any] = {"type": "string", "format": "date-time"}
MINUTES = st.datetimes().map(lambda at: at.replace(second=0, microsecond=0))
OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@st.composite
def moments(draw: st.DrawFn) -> str:
    at = draw(st.datetimes(timezones=OFFSETS)).isoformat(timespec=draw(st.sampled_from(["seconds", "microseconds"])))
    return draw(st.sampled_from([at, f"{at[:-6]}Z", f"{at[:-6]}z", f"{at[:10]}t{at[11:]}"]))


@given(moments(), MINUTES)
def test_a_moment_keeps_its_offset_and_comes_back_untouched_as_it_was_written(text: str, other: datetime) -> None:
    made = a_field(MOMENT, text)

    untouched, moved = leaf_value(made, initial(made)), leaf_value(made, other)

    assert (made.kind, untouched) == (Kind.MOMENT, text)
    if other != initial(made):
        before, after = datetime.fromisoformat(text.upper()), datetime.fromisoformat(str(moved).upper())
        assert (after.replace(tzinfo=None), after.utcoffset()) == (other, before.utcoffset())
        assert str(moved).endswith(text[-1])


@given(st.text() | moments(), st.sampled_from(["date", "date-time", "email", "uri", "iri", "hostname"]))
def test_a_string_of_any_format_comes_back_untouched(text: str, written_as: str) -> None:
    made = a_field({"type": "string", "format": written_as}, text)

    assert leaf_value(made, initial(made)) == text


def test_a_moment_that_was_not_proposed_is_in_utc() -> None:
    made = a_field(MOMENT, MISSING)

    assert leaf_value(made, datetime(2026, 11, 28, 10, tzinfo=UTC).replace(tzinfo=None)) == "2026-11-28T10:00:00Z"


@pytest.mark.parametrize(
    ("written_as", "typed", "said"),
    [
        ("email", "nobody", "must be an e-mail address"),
        ("uri", "example", "must be a whole address"),
        ("date-time", "tomorrow", "must be a day and a time with its offset"),
        ("uuid", "7", "must be a UUID"),
    ],
)
def test_what_is_not_of_its_format_is_told_at_its_field_and_cannot_be_sent(
    written_as: str, typed: str, said: str
) -> None:
    schema = {"type": "object", "properties": {"one": {"type": "string", "format": written_as}}}

    result = held({"0/one": typed}, schema=schema, args={"one": "x"})

    assert said in result.errors[("one",)]
    assert not result.is_fitting


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)
ANY_OBJECT = st.dictionaries(st.text(st.characters(codec="utf-8")), JSON, max_size=5)


@given(ANY_OBJECT)
def test_whatever_is_proposed_comes_back_untouched(args: dict[str, JsonValue]) -> None:
    result = held({}, schema=None, args=args)

    assert result.args is not None
    assert action_digest("any", result.args) == action_digest("any", args)
    assert json.dumps(result.args) == json.dumps(args)


@given(ANY_OBJECT)
def test_drawn_and_untouched_widgets_change_nothing(args: dict[str, JsonValue]) -> None:
    state: dict[str, Any] = {}

    def draw(made: Field, own: str) -> None:
        if made.kind in (Kind.OBJECT, Kind.LIST):
            for member in made.members:
                draw(member, f"{own}/{member.place[-1]}")
        elif made.standing is Standing.VALUE:
            shown = initial(made)
            state[own] = shown.replace("\r\n", "\n").replace("\r", "\n") if isinstance(shown, str) else shown

    draw(form_of(None, args), "0")
    result = held(state, schema=None, args=args)

    assert json.dumps(result.args) == json.dumps(args)


@pytest.mark.parametrize(
    ("state", "changed"),
    [
        ({"0/order_id": "R-7"}, {"order_id": "R-7"}),
        ({"0/amount": "419.90"}, {"amount": "419.90"}),
        ({"0/quantity": 3}, {"quantity": 3}),
        ({"0/weight": "1.5"}, {"weight": 1.5}),
        ({"0/weight": " 2 "}, {"weight": 2}),
        ({"0/gift": True}, {"gift": True}),
        ({"0/channel": 0}, {"channel": "shop"}),
        ({"0/on": date(2026, 12, 1)}, {"on": "2026-12-01"}),
        ({"0/address/city": "Lyon"}, {"address": {"city": "Lyon", "lines": ["1 rue de la Paix", ""]}}),
        ({"0/address/lines/1": "2e"}, {"address": {"city": "Paris", "lines": ["1 rue de la Paix", "2e"]}}),
        ({"0/address/lines.standing": Standing.ABSENT}, {"address": {"city": "Paris"}}),
        ({"0/skus.rows": [1]}, {"skus": ["BAG-HEL-02"]}),
        ({"0/skus.rows": [1, 2], "0/skus/2": "BAG-NEW-01"}, {"skus": ["BAG-HEL-02", "BAG-NEW-01"]}),
        ({"0/comment.standing": Standing.VALUE, "0/comment": "ok"}, {"comment": "ok"}),
        ({"0/coupon.standing": Standing.VALUE, "0/coupon": "X"}, {"coupon": "X"}),
        ({"view": "JSON"}, {}),
        ({"view": "JSON", "0.json": json.dumps(ARGS | {"amount": "1.00"})}, {"amount": "1.00"}),
    ],
)
def test_an_edit_changes_what_was_touched_and_nothing_else(
    state: dict[str, Any], changed: dict[str, JsonValue]
) -> None:
    assert held(state) == Edited(ARGS | changed)


def test_an_argument_that_is_left_out_is_gone() -> None:
    result = held({"0/weight.standing": Standing.ABSENT})

    assert result.args == {name: value for name, value in ARGS.items() if name != "weight"}


@pytest.mark.parametrize(
    ("state", "place", "said"),
    [
        ({"0/quantity": None}, ("quantity",), "It needs a value."),
        ({"0/weight": "heavy"}, ("weight",), "Write a number"),
        ({"0/weight": ""}, ("weight",), "Write a number"),
        ({"0/weight": "true"}, ("weight",), "Write a number"),
        ({"0/weight": "NaN"}, ("weight",), "send null or a string"),
        ({"0/weight": "9007199254740993"}, ("weight",), "send it as a string"),
        ({"0/on": None}, ("on",), "It needs a value."),
        ({"view": "JSON", "0.json": "{"}, (), "not valid JSON"),
        ({"view": "JSON", "0.json": '{"a": 1, "a": 2}'}, (), "twice"),
        ({"view": "JSON", "0.json": "[]"}, (), "JSON object"),
    ],
)
def test_what_cannot_be_read_is_told_at_its_field(state: dict[str, Any], place: tuple[str, ...], said: str) -> None:
    result = held(state)

    assert result.args is None
    assert list(result.errors) == [place]
    assert said in result.errors[place]


@pytest.mark.parametrize(
    ("state", "place"),
    [
        ({"0/order_id": "1042"}, ("order_id",)),
        ({"0/quantity": 0}, ("quantity",)),
        ({"0/skus.rows": []}, ("skus",)),
        ({"view": "JSON", "0.json": json.dumps(ARGS | {"address": {"city": 1}})}, ("address", "city")),
        ({"view": "JSON", "0.json": json.dumps(ARGS | {"more": 1})}, ()),
    ],
)
def test_what_does_not_fit_the_schema_is_told_at_its_field(state: dict[str, Any], place: tuple[str, ...]) -> None:
    result = held(state)

    assert result.args is not None
    assert list(result.errors) == [place]
    assert not result.is_fitting


def test_what_cannot_be_read_at_one_field_hides_nothing_that_is_wrong_at_another() -> None:
    result = held({"0/weight": "heavy", "0/quantity": 0, "0/address/lines.rows": [0]})

    assert result.args is None
    assert set(result.errors) == {("weight",), ("quantity",)}
    assert "Write a number" in result.errors[("weight",)]


def test_a_number_that_was_not_touched_keeps_its_type() -> None:
    made = a_field({"type": "number"}, 1.0)

    assert isinstance(leaf_value(made, "1.0"), float)
    assert leaf_value(made, "1") == 1


def test_a_missing_value_cannot_be_read_out_of_an_untouched_field() -> None:
    with pytest.raises(UnreadableError):
        leaf_value(a_field({"type": "integer"}, MISSING), None)


def test_a_schema_that_turns_in_circles_ends() -> None:
    circle: dict[str, Any] = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}
    tree: dict[str, Any] = {
        "type": "object",
        "properties": {"child": {"$ref": "#"}},
        "required": ["child"],
    }

    assert a_field(circle, 1).kind in (Kind.JSON, Kind.INTEGER)
    assert form_of(tree, {}).members[0].kind is Kind.OBJECT


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("order_id", "order id"),
        ("![](https://x)", "This argument"),
        (":material/check:", "This argument"),
        ("", "This argument"),
    ],
)
def test_only_plain_words_become_a_label(name: str, label: str) -> None:
    assert label_of(a_field({"type": "string"}, "a", place=(name,))) == label


def _form() -> None:
    import streamlit as st

    from pages.form_widgets import show_form
    from tests.pages.test_forms import ARGS, SCHEMA

    st.session_state.result = show_form(SCHEMA, ARGS, key="form")


def test_a_drawn_form_gives_back_the_proposed_arguments() -> None:
    app = AppTest.from_function(_form, default_timeout=PATIENCE_SECONDS).run()

    assert not app.exception
    assert app.session_state.result == Edited(ARGS)


def test_typing_changes_one_argument() -> None:
    app = AppTest.from_function(_form, default_timeout=PATIENCE_SECONDS).run()

    app.text_input("form.0/amount").set_value("400.00").run()

    assert app.session_state.result == Edited(ARGS | {"amount": "400.00"})


def test_few_plain_choices_lie_open_and_others_in_a_list() -> None:
    app = AppTest.from_function(_choices, default_timeout=PATIENCE_SECONDS).run()

    app.segmented_control("form.0/few").set_value(1).run()
    app.selectbox("form.0/marked").set_value(1).run()

    assert app.session_state.result == Edited({"few": "web", "marked": "**b**"})


def _choices() -> None:
    import streamlit as st

    from pages.form_widgets import show_form

    schema = {"type": "object", "properties": {"few": {"enum": ["shop", "web"]}, "marked": {"enum": ["a", "**b**"]}}}
    st.session_state.result = show_form(schema, {"few": "shop", "marked": "a"}, key="form")


def test_rows_can_be_added_and_removed() -> None:
    app = AppTest.from_function(_form, default_timeout=PATIENCE_SECONDS).run()

    app.button("form.0/skus/0.remove").click().run()
    app.button("form.0/skus.add").click().run()
    app.text_input("form.0/skus/2").set_value("BAG-NEW-01").run()

    assert app.session_state.result == Edited(ARGS | {"skus": ["BAG-HEL-02", "BAG-NEW-01"]})


def test_an_edit_is_carried_into_the_other_view_and_back() -> None:
    app = AppTest.from_function(_form, default_timeout=PATIENCE_SECONDS).run()
    app.text_input("form.0/amount").set_value("400.00").run()

    app.segmented_control("form.view").set_value("JSON").run()
    shown = json.loads(app.text_area("form.1.json").value or "")
    app.text_area("form.1.json").set_value(json.dumps(shown | {"quantity": 9})).run()
    app.segmented_control("form.view").set_value("Form").run()

    assert shown == ARGS | {"amount": "400.00"}
    assert app.session_state.result == Edited(ARGS | {"amount": "400.00", "quantity": 9})
