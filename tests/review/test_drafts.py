"""Drafts: what was typed is found again by whoever typed it, and by nobody else, until the item is closed."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from pydantic import JsonValue
from uuid_utils.compat import uuid7

from agents.protocol import Approve
from db.store import SqlStore
from review.drafts import MAX_DRAFT_BYTES, Drafts
from review.erasure import Eraser, ErasurePlan
from review.errors import DraftTooLargeError, ItemNotFoundError, NotAllowedError
from tests.builders import ada, grace, mary, root
from tests.console import Console
from tests.review.steps import all_rows, caller, decide, events, submit

TYPED: dict[str, JsonValue] = {
    "mode": "reject",
    "rejection": "Not her size – “M”.",
    "codes": ["unsafe"],
    "edit": {"items": [1, None]},
}


def test_what_was_typed_is_found_again_by_another_process(store_url: str, opened: Callable[[str], SqlStore]) -> None:
    house = Console(opened(store_url))
    item = submit(house)
    before = events(house)
    house.desk.drafts.keep(ada, item.id, 1, {"mode": "edit"})

    house.desk.drafts.keep(ada, item.id, 1, TYPED)

    assert Drafts(opened(store_url)).read(ada, item.id, 1) == TYPED
    assert events(house) == before


def test_it_is_of_one_person_one_version_and_one_workspace(either_house: Console) -> None:
    drafts, item, other = either_house.desk.drafts, submit(either_house), submit(either_house)
    drafts.keep(ada, item.id, 1, TYPED)

    elsewhere = replace(ada, workspace="elsewhere")
    found = [
        drafts.read(person, item_id, version)
        for person, item_id, version in (
            (grace, item.id, 1),
            (ada, item.id, 2),
            (ada, other.id, 1),
            (elsewhere, item.id, 1),
        )
    ]

    assert found == [{}] * 4
    with pytest.raises(ItemNotFoundError):
        drafts.keep(elsewhere, item.id, 1, TYPED)
    with pytest.raises(ItemNotFoundError):
        drafts.keep(ada, uuid7(), 1, TYPED)
    with pytest.raises(NotAllowedError):
        drafts.read(mary, item.id, 1)


def test_the_newest_counts_in_whatever_order_it_is_heard(either_house: Console) -> None:
    drafts, item = either_house.desk.drafts, submit(either_house)
    drafts.keep(ada, item.id, 1, {"answer": "It is hers, and", "at": 2_000})

    drafts.keep(ada, item.id, 1, {"answer": "It is", "at": 1_999})
    older = drafts.read(ada, item.id, 1)
    drafts.keep(ada, item.id, 1, {"answer": "It is hers, and new.", "at": 2_000})

    assert older == {"answer": "It is hers, and", "at": 2_000}
    assert drafts.read(ada, item.id, 1) == {"answer": "It is hers, and new.", "at": 2_000}


def test_a_clock_that_runs_ahead_keeps_nothing_out(either_house: Console) -> None:
    drafts, item = either_house.desk.drafts, submit(either_house)
    drafts.keep(ada, item.id, 1, {"answer": "Tomorrow", "at": 2**53 - 1})

    drafts.keep(ada, item.id, 1, {"answer": "Today", "at": 2**52})

    assert drafts.read(ada, item.id, 1)["answer"] == "Today"


def test_what_is_not_named_stays_and_what_is_null_goes(either_house: Console) -> None:
    drafts, item = either_house.desk.drafts, submit(either_house)
    drafts.keep(ada, item.id, 1, TYPED)

    drafts.keep(ada, item.id, 1, {"rejection": None, "answer": "It is hers."})
    drafts.keep(ada, item.id, 2, {"answer": "of a version that is not"})

    left = {name: value for name, value in TYPED.items() if name != "rejection"}
    assert drafts.read(ada, item.id, 1) == {**left, "answer": "It is hers."}
    assert drafts.read(ada, item.id, 2) == {}


def test_forgetting_leaves_what_others_typed(either_house: Console) -> None:
    drafts, item = either_house.desk.drafts, submit(either_house)
    drafts.keep(ada, item.id, 1, TYPED)
    drafts.keep(grace, item.id, 1, {"answer": "It is hers."})

    drafts.forget(ada, item.id)
    drafts.forget(ada, item.id)

    assert (drafts.read(ada, item.id, 1), drafts.read(grace, item.id, 1)) == ({}, {"answer": "It is hers."})


def test_it_goes_when_the_item_is_closed_and_does_not_come_back(either_house: Console) -> None:
    drafts, by = either_house.desk.drafts, caller(either_house)
    item, open_item, gone = (submit(either_house, by) for _ in range(3))
    for each in (item, open_item, gone):
        drafts.keep(grace, each.id, 1, TYPED)
    decide(either_house, Approve())
    either_house.intake.cancel(by, gone.id)

    removed = (drafts.tick(), drafts.tick())
    drafts.keep(grace, item.id, 1, TYPED)

    assert removed == (2, 0)
    assert [drafts.read(grace, each.id, 1) for each in (item, open_item, gone)] == [{}, TYPED, {}]


def test_erasure_takes_it_at_once(either_house: Console, store: SqlStore) -> None:
    item = submit(either_house)
    either_house.desk.drafts.keep(ada, item.id, 1, TYPED)

    Eraser(store).erase(root, ErasurePlan((item.id,), 1))

    assert all_rows(store)["drafts"] == []


def test_what_is_too_much_is_refused_and_what_was_kept_stands(house: Console) -> None:
    drafts, item = house.desk.drafts, submit(house)
    most = MAX_DRAFT_BYTES - len('{"answer":""}')
    drafts.keep(ada, item.id, 1, {"answer": "x" * most})

    with pytest.raises(DraftTooLargeError):
        drafts.keep(ada, item.id, 1, {"answer": "x" * (most + 1)})

    assert drafts.read(ada, item.id, 1) == {"answer": "x" * most}
