"""Views: what was chosen is found again by whoever kept it, and opened by every colleague of the workspace."""

from dataclasses import replace

import pytest
from pydantic import JsonValue
from uuid_utils.compat import uuid7

from review.errors import ViewNotFoundError, ViewRefusedError
from review.views import MAX_CHOSEN_BYTES, MAX_NAME_CHARS, MOST_VIEWS
from tests.builders import ada, grace
from tests.console import Console
from tests.review.steps import events

BIG: dict[str, JsonValue] = {"text": "Größe", "queue": "high-value", "days": ["2026-11-01", "2026-11-28"]}


def test_what_was_chosen_is_found_again_by_name_on_its_screen(either_house: Console) -> None:
    views, before = either_house.views, events(either_house)
    late = views.keep(ada, "queue", " Late ", {"order": "oldest"})
    big = views.keep(ada, "queue", "Big", BIG)
    views.keep(ada, "history", "Big", {})

    assert list(views.mine(ada, "queue")) == [big, late]
    assert (views.view(ada, big.id).chosen, late.name) == (BIG, "Late")
    assert events(either_house) == before


def test_a_colleague_opens_it_and_changes_nothing_of_it(either_house: Console) -> None:
    views = either_house.views
    view = views.keep(ada, "queue", "Big", BIG)
    elsewhere = replace(ada, workspace="elsewhere")

    assert (views.view(grace, view.id), list(views.mine(grace, "queue"))) == (view, [])
    for refused in (
        lambda: views.rename(grace, view.id, "Mine"),
        lambda: views.remove(grace, view.id),
        lambda: views.view(elsewhere, view.id),
        lambda: views.remove(elsewhere, view.id),
        lambda: views.view(ada, uuid7()),
    ):
        with pytest.raises(ViewNotFoundError):
            refused()
    assert list(views.mine(ada, "queue")) == [view]


def test_one_of_the_same_name_is_replaced_and_keeps_its_address(either_house: Console) -> None:
    views = either_house.views
    first = views.keep(ada, "queue", "Big", BIG)

    second = views.keep(ada, "queue", "Big", {"text": "cup"})

    assert (second.id, views.view(grace, first.id).chosen) == (first.id, {"text": "cup"})


def test_it_is_renamed_to_a_name_that_is_free(either_house: Console) -> None:
    views = either_house.views
    big, late = views.keep(ada, "queue", "Big", BIG), views.keep(ada, "queue", "Late", {})

    with pytest.raises(ViewRefusedError, match="another view"):
        views.rename(ada, late.id, "Big")
    views.rename(ada, big.id, "Bigger")
    views.remove(ada, late.id)

    assert [view.name for view in views.mine(ada, "queue")] == ["Bigger"]


@pytest.mark.parametrize(
    ("name", "chosen"),
    [("", {}), (" ", {}), ("x" * (MAX_NAME_CHARS + 1), {}), ("Big", {"text": "x" * MAX_CHOSEN_BYTES})],
    ids=["no name", "blank", "long name", "much"],
)
def test_what_cannot_be_kept_is_refused(house: Console, name: str, chosen: dict[str, str]) -> None:
    with pytest.raises(ViewRefusedError):
        house.views.keep(ada, "queue", name, chosen)

    assert list(house.views.mine(ada, "queue")) == []


def test_there_is_an_end_to_how_many_are_kept(house: Console) -> None:
    for number in range(MOST_VIEWS):
        house.views.keep(ada, "queue", f"{number}", {})

    with pytest.raises(ViewRefusedError, match="remove one first"):
        house.views.keep(ada, "queue", "One more", {})
    house.views.keep(ada, "queue", "0", {"text": "cup"})
