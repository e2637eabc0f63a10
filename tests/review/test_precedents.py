"""Precedents: which past decisions say most about an item, told by table."""

from typing import Any

from agents.protocol import Impact, Status
from review.items import ReviewItem, SettledCall
from review.precedents import Likeness, most_alike
from tests.builders import a_request, an_action, an_item


def call(subject: str | None = None, by: str | None = "Ada Lovelace", **args: Any) -> ReviewItem:  # noqa: ANN401 -- JSON values
    request = a_request(action=an_action(**args), impact=Impact(subject=subject))
    return an_item(request=request, status=Status.SETTLED if by else Status.WAITING, settled_by=by)


def settled(item: ReviewItem) -> SettledCall:
    request = item.request
    return SettledCall(item.id, item.digest, request.impact.subject, request.action.args, item.settled_by)


def test_the_same_call_comes_first_then_the_same_subject_then_what_is_most_alike() -> None:
    item = call("order A-1", by=None, order="A-1", amount="5.00", why="broken")
    far = call("order B-1", order="B-1", amount="9.00", why="late")
    near = call("order C-1", order="C-1", amount="5.00", why="broken")
    subject = call("order A-1", order="A-1", amount="7.00", why="late")
    same = call("order A-1", order="A-1", amount="5.00", why="broken")

    found = most_alike(item, [settled(past) for past in (far, near, subject, same)])

    assert found == (
        Likeness(same.id, 1.0, is_same_call=True, is_same_subject=True),
        Likeness(subject.id, 1 / 5, is_same_call=False, is_same_subject=True),
        Likeness(near.id, 2 / 4, is_same_call=False, is_same_subject=False),
        Likeness(far.id, 0.0, is_same_call=False, is_same_subject=False),
    )


def test_of_what_is_equally_alike_the_latest_stays_first_and_few_are_shown() -> None:
    item = call(by=None, order="A-1")
    past = [settled(call(order=f"B-{number}")) for number in range(9)]

    found = most_alike(item, past, limit=3)

    assert [likeness.item_id for likeness in found] == [each.item_id for each in past[:3]]


def test_without_a_subject_nothing_has_the_same_one() -> None:
    (found,) = most_alike(call(by=None, order="A-1"), [settled(call(order="A-2"))])

    assert not found.is_same_subject


def test_neither_the_item_itself_nor_what_the_policy_settled_is_a_precedent() -> None:
    item = call(order="A-1")

    others = [item, call(by="policy", order="A-1"), call(by=None, order="A-1")]
    assert most_alike(item, [settled(other) for other in others]) == ()


def test_arguments_are_compared_through_lists_and_objects_and_by_type() -> None:
    item = call(by=None, lines=[{"sku": "X", "count": 1}], flag=True)
    past = call(lines=[{"sku": "X", "count": "1"}], flag=1)

    (found,) = most_alike(item, [settled(past)])

    assert found.alike == 1 / 5


def test_what_stands_at_another_place_is_not_the_same() -> None:
    item = call(by=None, refund={"amount": "9.90"})

    (found,) = most_alike(item, [settled(call(**{"refund.amount": "9.90"}))])

    assert found.alike == 0.0
