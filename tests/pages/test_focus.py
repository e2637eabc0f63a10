"""What the focus view paints of an item."""

import json
from collections.abc import Iterator
from typing import Any

from agents.protocol import DecisionType
from pages.focus import look_of
from pages.rendering import element, tree
from review.desk import WholeItem
from review.items import ReviewItem
from tests.builders import a_claim, a_note, a_request, ada, an_action, an_item

HOSTILE = "<img src=x onerror=alert(1)>\u202e"


def whole(item: ReviewItem, **fields: Any) -> WholeItem:  # noqa: ANN401 -- whatever the whole item takes
    given: dict[str, Any] = {"item": item, "notes": (), "decisions": (), "args_schema": None}
    return WholeItem(**(given | fields))


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
