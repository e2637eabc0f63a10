"""The focus view as the server sees it: what is painted, and what becomes of what the browser's outbox holds."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import streamlit as st
from uuid_utils.compat import uuid7

from agents.protocol import Approve, DecisionType, Reject
from pages import focus
from pages.focus import Acknowledgement, Act, Entry, done, hear, look_of, refusal
from pages.rendering import element, tree
from review.desk import WholeItem
from review.items import ReviewItem
from tests.builders import a_claim, a_note, a_request, ada, an_action, an_item

HOSTILE = "<img src=x onerror=alert(1)>\u202e"


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(st, "session_state", {})


def whole(item: ReviewItem, **fields: Any) -> WholeItem:  # noqa: ANN401 -- whatever the whole item takes
    given: dict[str, Any] = {"item": item, "notes": (), "decisions": (), "args_schema": None}
    return WholeItem(**(given | fields))


def entry(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 -- whatever an entry takes
    return {"id": uuid7().hex, "act": "decide", "item": str(uuid7()), "decision": {"type": "approve"}} | fields


class Answers:
    """Notes what it was asked, and says that it was done."""

    def __init__(self) -> None:
        self.asked: list[Entry] = []

    def __call__(self, entry: Entry) -> Acknowledgement:
        self.asked.append(entry)
        return done(f"Answer {len(self.asked)}")


def acknowledged() -> dict[str, Acknowledgement]:
    kept: dict[str, Acknowledgement] = st.session_state.get("review.focus.acknowledged", {})
    return kept


def test_an_entry_is_answered_once_however_often_it_is_sent() -> None:
    answers, first, second = Answers(), entry(), entry(decision={"type": "reject", "message": "no"})

    hear([first], answers)
    hear([{**first, "tries": 2}], answers)
    hear([{**first, "tries": 3}, second], answers)

    assert [asked.decision for asked in answers.asked] == [Approve(), Reject(message="no")]
    assert acknowledged() == {first["id"]: done("Answer 1"), second["id"]: done("Answer 2")}


def test_what_the_outbox_holds_no_more_is_forgotten() -> None:
    answers, entries = Answers(), [entry() for _ in range(20)]

    for each in entries:
        hear([each], answers)

    assert list(acknowledged()) == [entries[-1]["id"]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"act": "approve everything"},
        {"item": "no id"},
        {"decision": {"type": "edit", "edited_action": {"name": "x", "args": {}}}},
        {"codes": ["because"]},
        {"dwell_ms": -1},
        {"as_person": "grace"},
        {"text": "x" * 20_001},
    ],
)
def test_an_entry_that_cannot_be_read_is_refused_and_holds_up_no_other(wrong: dict[str, Any]) -> None:
    answers, good, bad = Answers(), entry(), entry(**wrong)

    hear([bad, good], answers)

    assert [asked.id for asked in answers.asked] == [good["id"]]
    assert acknowledged()[good["id"]]["ok"]
    assert not acknowledged()[bad["id"]]["ok"]
    assert acknowledged()[bad["id"]]["text"].startswith("Nothing was done: ")


@pytest.mark.parametrize("outbox", [None, "text", {}, [None], ["text"], [{}], [{"id": 7}]])
def test_an_outbox_that_no_browser_sends_does_nothing(outbox: object) -> None:
    answers = Answers()

    hear(outbox, answers)

    assert answers.asked == []
    assert acknowledged() == {}


def test_a_refusal_is_remembered_as_well() -> None:
    asked = entry()

    hear([asked], lambda _: refusal("Gone."))
    hear([asked], Answers())

    assert acknowledged() == {asked["id"]: {"ok": False, "tone": "bad", "text": "Gone."}}


def test_nobody_looked_for_longer_than_the_browser_had_the_item(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Entry.model_validate(entry(version=1, epoch=2, dwell_ms=60_000, session="here"))
    monkeypatch.setattr("pages.focus.time.monotonic", lambda: 100.0)

    st.session_state["review.focus.session"] = "here"
    st.session_state["review.focus.sent"] = {f"{looked.item}.1.2": 99.0}
    elsewhere = looked.model_copy(update={"session": "before the restart"})

    assert focus.looked_for_ms(looked) == 1000
    assert focus.looked_for_ms(looked.model_copy(update={"dwell_ms": 400})) == 400
    assert focus.looked_for_ms(looked.model_copy(update={"epoch": 3})) == 60_000
    assert focus.looked_for_ms(elsewhere) == 60_000


def test_a_look_names_exactly_what_is_decided_on() -> None:
    item = an_item(epoch=3, version=2, claim=a_claim())

    look = look_of(whole(item), ada)

    assert {name: look[name] for name in ("item", "version", "epoch", "digest")} == {
        "item": str(item.id),
        "version": 2,
        "epoch": 3,
        "digest": item.digest,
    }


def test_a_look_offers_what_the_item_allows() -> None:
    request = a_request(allowed_decisions=(DecisionType.REJECT, DecisionType.APPROVE))

    assert look_of(whole(an_item(request=request)), ada)["allows"] == ["approve", "reject"]


def test_arguments_that_are_cut_come_whole_as_well() -> None:
    item = an_item(request=a_request(action=an_action(text="word " * 400 + "the end")))

    look = look_of(whole(item), ada)

    assert look["hidden"] > 0
    assert "the end" not in json.dumps(look["cut"])
    assert "the end" in json.dumps(look["whole"])


def test_what_agents_write_is_text_in_the_tree_and_never_an_element() -> None:
    request = a_request(action=an_action(**{HOSTILE: HOSTILE}), rationale=HOSTILE)
    item = an_item(request=request, notes=1)

    look = look_of(whole(item, notes=(a_note(item, HOSTILE),)), ada)

    tags = set(tags_in(look["cut"])) | {tag for part in look["right"] for tag in tags_in(part)}
    assert "img" not in tags
    assert "onerror" in json.dumps(look["cut"])
    assert "\\u202e" not in json.dumps(look)


def tags_in(node: Any) -> Iterator[str]:  # noqa: ANN401 -- a tree
    if isinstance(node, list):
        yield node[0]
        for child in node[2:]:
            yield from tags_in(child)


def test_a_tree_says_what_the_markup_says() -> None:
    made = element("p", "plain & ", element("b", "bold", class_="so-strong"), " end\u202e", is_open=True, data_x="1")

    assert tree(made) == [
        "p",
        {"data-x": "1", "open": "open"},
        "plain & ",
        ["b", {"class": "so-strong"}, "bold"],
        ["span", {}, " end", ["span", {"class": "so-mark"}, "⟨U+202E⟩"], ""],
    ]


def test_every_act_of_the_browser_has_its_answer() -> None:
    from pages.review_page import _ACTS

    assert set(_ACTS) == set(Act)
