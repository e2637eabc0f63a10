"""The board: items given to people, handed over, put to sleep, and how full the queues are."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from agents.protocol import Approve, Route, Status
from review.audit import EventKind
from review.board import LONGEST_SLEEP, MAX_NOTE_CHARS, PRESENT_FOR
from review.desk import Seen
from review.errors import (
    AlreadySettledError,
    ClaimLostError,
    ItemAssignedError,
    ItemHeldError,
    ItemNotFoundError,
    NobodyThereError,
    NotAllowedError,
    NotAsideError,
    NoteTooLongError,
    NotTrainedError,
    OwnWorkError,
    UnfitTimeError,
)
from review.items import ASSIGNMENT_DURATION, CLAIM_DURATION, Aside, Assignment, ItemFilter, Order
from review.people import Person, Role
from review.policy import Autonomy, Queue, Rule
from tests.builders import a_member, ada, grace, keeping, lin, mary, root
from tests.clock import START, MovableClock
from tests.console import Console
from tests.review.steps import a_document, caller, claim, decide, events, kept, kinds, submit

HOUR = timedelta(hours=1)
TRAINED = {"money": START + timedelta(days=365)}
only_lead = replace(grace, sub="hedy", name="Hedy Lamarr", roles=frozenset({Role.LEAD}))


def ready(house: Console, *rules: Rule, queues: tuple[Queue, ...] = ()) -> Console:
    """Return the house with a policy by which all is reviewed, and people who have signed in."""
    house.save_policy(a_document(Autonomy.SUPERVISED, *rules, queues=queues))
    house.store.write(keeping(*map(a_member, (ada, grace, lin, mary, root, only_lead))))
    return house


def waiting(house: Console) -> UUID:
    return submit(house).id


def test_an_assigned_item_waits_for_its_assignee_and_for_nobody_else(either_house: Console) -> None:
    house = ready(either_house)
    first, other = waiting(house), waiting(house)

    given = house.board.assign(grace, other, to=lin, note=" You know them. ")

    assert given.assignment == Assignment(
        lin.iss, lin.sub, lin.name, START + ASSIGNMENT_DURATION, grace.name, "You know them."
    )
    with pytest.raises(ItemAssignedError, match="waits for Lin Ming"):
        house.desk.claim_item(ada, other)
    assert claim(house, ada).id == first
    assert house.desk.claim(grace) is None
    taken = claim(house, lin)
    assert (taken.id, taken.assignment) == (other, given.assignment)
    assert kinds(house, other)[1:] == [EventKind.ITEM_ASSIGNED, EventKind.ITEM_CLAIMED]
    assert events(house, other)[1].data == {
        "assignee": lin.name,
        "length": 14,
        "until": "2026-11-02T17:30:15.123456+00:00",
    }


def test_what_is_assigned_comes_before_what_is_more_urgent(either_house: Console) -> None:
    urgent = Rule(name="urgent", when="confidence == 0.5", route=Route.REVIEW, priority=0)
    house = ready(either_house, urgent)
    given = waiting(house)
    submit(house, confidence=0.5)
    house.board.assign(grace, given, to=ada)

    assert claim(house, ada).id == given


def test_the_same_assignment_again_changes_nothing_and_another_moves_it(house: Console) -> None:
    ready(house)
    item = waiting(house)

    house.board.assign(grace, item, to=lin)
    house.board.assign(grace, item, to=lin)
    moved = house.board.assign(grace, item, to=ada)

    assert kinds(house, item)[1:] == [EventKind.ITEM_ASSIGNED] * 2
    assert moved.assignment is not None
    assert moved.assignment.name == ada.name


def test_an_assignment_ends_by_itself_and_never_outlives_the_item(either_house: Console, clock: MovableClock) -> None:
    house = ready(either_house)
    item = waiting(house)
    short = submit(house, expires_in=3600).id
    house.board.assign(grace, item, to=lin)
    assert house.board.assign(grace, short, to=lin).assignment.until == START + HOUR  # type: ignore[union-attr]  # it was just assigned
    clock.advance(ASSIGNMENT_DURATION)

    house.intake.sweep()

    assert kept(house, item).aside is None
    assert kinds(house, item)[-2:] == [EventKind.ASSIGNMENT_ENDED, EventKind.DEADLINE_BREACHED]
    assert kept(house, short).status is Status.EXPIRED
    assert claim(house, ada).id == item


def test_whoever_comes_after_the_end_of_an_assignment_takes_the_item_before_any_sweep(
    house: Console, clock: MovableClock
) -> None:
    ready(house)
    item = waiting(house)
    house.board.assign(grace, item, to=lin)
    clock.advance(ASSIGNMENT_DURATION)

    taken = house.desk.claim_item(ada, item)

    assert taken.assignment is None
    assert kinds(house, item)[-2:] == [EventKind.ASSIGNMENT_ENDED, EventKind.ITEM_CLAIMED]


def test_an_assignment_is_taken_back_by_a_lead_or_declined_by_its_assignee(house: Console) -> None:
    ready(house)
    item = waiting(house)

    house.board.assign(grace, item, to=lin)
    with pytest.raises(ItemAssignedError):
        house.board.put_back(ada, item)
    house.board.put_back(grace, item)
    house.board.assign(grace, item, to=lin)
    house.board.put_back(lin, item)

    assert kept(house, item).aside is None
    assert [event.actor.name for event in events(house, item) if event.kind is EventKind.ASSIGNMENT_ENDED] == [
        grace.name,
        lin.name,
    ]
    with pytest.raises(NotAsideError):
        house.board.put_back(lin, item)


def test_only_who_may_decide_the_item_can_be_given_it(house: Console) -> None:
    four_eyes = Rule(name="four eyes", when="true", route=Route.REVIEW, quorum=2, queue="money")
    ready(house, four_eyes, queues=(Queue(name="money", skills=("money",)),))
    novice, trained = (
        replace(lin, sub="novice", skills=frozenset[str]()),
        replace(lin, sub="trained", skills=frozenset({"money"})),
    )
    house.store.write(keeping(a_member(novice), a_member(trained), a_member(ada, trained_until=TRAINED)))
    stranger = replace(lin, sub="stranger")
    item = submit(house, metadata={"principal": lin.id}).id
    decide(house, Approve(), ada)

    refusals = (
        (ada, OwnWorkError),
        (lin, OwnWorkError),
        (mary, NobodyThereError),
        (stranger, NobodyThereError),
        (novice, NotTrainedError),
    )
    for to, refusal in refusals:
        with pytest.raises(refusal):
            house.board.assign(grace, item, to=to)
    assert kept(house, item).aside is None
    with pytest.raises(NotTrainedError):
        house.desk.claim_item(novice, item)
    assert house.board.assign(grace, item, to=trained).aside is Aside.ASSIGNED


def test_who_has_not_signed_in_for_long_is_nobody_to_give_items_to(house: Console, clock: MovableClock) -> None:
    ready(house)
    assert [each.name for each in house.board.colleagues(grace)] == [ada.name, grace.name, lin.name]

    clock.advance(PRESENT_FOR + HOUR)

    assert house.board.colleagues(grace) == []


def test_what_somebody_holds_is_handed_over_by_them_alone(either_house: Console) -> None:
    house = ready(either_house)
    item = waiting(house)
    held = claim(house, ada)
    with pytest.raises(ItemHeldError):
        house.board.assign(grace, item, to=lin)
    for person, epoch in ((grace, held.epoch), (ada, held.epoch - 1)):
        with pytest.raises(ClaimLostError):
            house.board.hand_over(person, item, epoch=epoch, to=lin)
    with pytest.raises(NobodyThereError):
        house.board.hand_over(ada, item, epoch=held.epoch, to=ada)

    house.board.hand_over(ada, item, epoch=held.epoch, to=lin, note="They speak Italian.")

    with pytest.raises(ClaimLostError):
        house.desk.decide(item, Approve(), ada, seen=Seen.of(held))
    taken = claim(house, lin)
    assert taken.assignment is not None
    assert (taken.id, taken.assignment.by, taken.assignment.note) == (item, ada.name, "They speak Italian.")
    assert kinds(house, item)[-2:] == [EventKind.ITEM_HANDED_OVER, EventKind.ITEM_CLAIMED]


def test_what_reviewers_tell_each_other_no_agent_hears(house: Console) -> None:
    ready(house)
    item = waiting(house)

    house.board.assign(grace, item, to=lin, note="Between us.")

    status = house.intake.status(caller(house), item)
    assert "Between us." not in status.model_dump_json()
    assert status.status is Status.WAITING


def test_a_lapsed_hold_is_over_before_the_item_is_assigned(house: Console, clock: MovableClock) -> None:
    ready(house)
    item = waiting(house)
    claim(house, ada)
    clock.advance(CLAIM_DURATION)

    house.board.assign(grace, item, to=lin)

    assert kinds(house, item)[-2:] == [EventKind.CLAIM_LAPSED, EventKind.ITEM_ASSIGNED]


def test_a_snoozed_item_sleeps_until_its_time(either_house: Console, clock: MovableClock) -> None:
    house = ready(either_house)
    item = waiting(house)
    before = house.intake.status(caller(house), item)

    house.board.snooze(ada, item, until=START + HOUR)

    assert house.intake.status(caller(house), item) == before
    assert house.desk.claim(ada) is None
    assert house.desk.count(ada, ItemFilter(statuses=(Status.WAITING,))) == 0
    clock.advance(HOUR - timedelta(seconds=1))
    assert house.intake.sweep() == 0
    clock.advance(timedelta(seconds=1))
    assert house.intake.sweep() == 1
    assert claim(house, ada).id == item
    assert kinds(house, item)[1:] == [EventKind.ITEM_SNOOZED, EventKind.ITEM_WOKEN, EventKind.ITEM_CLAIMED]


def test_a_sleeper_is_woken_by_whoever_takes_it_or_puts_it_back(house: Console) -> None:
    ready(house)
    first, second = waiting(house), waiting(house)
    house.board.snooze(ada, first, until=START + HOUR)
    house.board.snooze(ada, second, until=START + HOUR)
    house.board.snooze(ada, second, until=START + HOUR)

    taken = house.desk.claim_item(lin, first)
    house.board.put_back(lin, second)

    assert (taken.snoozed_until, kept(house, second).aside) == (None, None)
    assert kinds(house, first)[1:] == [EventKind.ITEM_SNOOZED, EventKind.ITEM_CLAIMED]
    assert kinds(house, second)[1:] == [EventKind.ITEM_SNOOZED, EventKind.ITEM_WOKEN]


def test_the_holder_puts_an_item_to_sleep_and_nobody_else_does(house: Console) -> None:
    ready(house)
    item = waiting(house)
    claim(house, ada)
    with pytest.raises(ItemHeldError):
        house.board.snooze(lin, item, until=START + HOUR)

    house.board.snooze(ada, item, until=START + HOUR)

    assert kept(house, item).aside is Aside.SNOOZED


def test_who_may_not_decide_an_item_puts_it_neither_to_sleep_nor_awake(either_house: Console) -> None:
    to_money = Rule(name="money", when="true", route=Route.REVIEW, queue="money", quorum=2)
    house = ready(either_house, to_money, queues=(Queue(name="money", skills=("money",)),))
    item = submit(house, metadata={"principal": only_lead.id}).id
    approver, trained, untrained = (
        replace(person, skills=frozenset(skills)) for person, skills in ((ada, TRAINED), (lin, TRAINED), (lin, ()))
    )
    held = house.desk.claim_item(approver, item)
    house.desk.decide(item, Approve(), approver, seen=Seen.of(held))
    before = kinds(house, item)

    def refused(act: Callable[[Person], object]) -> None:
        for person, error in ((untrained, NotTrainedError), (approver, OwnWorkError), (only_lead, OwnWorkError)):
            with pytest.raises(error):
                act(person)

    refused(lambda person: house.board.snooze(person, item, until=START + HOUR))
    assert kinds(house, item) == before
    house.board.snooze(trained, item, until=START + HOUR)
    refused(lambda person: house.board.put_back(person, item))
    house.board.put_back(trained, item)

    assert kinds(house, item) == [*before, EventKind.ITEM_SNOOZED, EventKind.ITEM_WOKEN]


def test_a_lead_puts_aside_what_only_others_may_decide(house: Console) -> None:
    to_money = Rule(name="money", when="true", route=Route.REVIEW, queue="money")
    ready(house, to_money, queues=(Queue(name="money", skills=("money",)),))
    item = waiting(house)
    lead = replace(only_lead, skills=frozenset[str]())

    house.board.snooze(lead, item, until=START + HOUR)
    house.board.put_back(lead, item)

    assert kinds(house, item)[1:] == [EventKind.ITEM_SNOOZED, EventKind.ITEM_WOKEN]


@pytest.mark.parametrize("after", [timedelta(0), -HOUR, timedelta(hours=24), LONGEST_SLEEP])
def test_no_item_sleeps_past_its_end_or_into_the_past(house: Console, after: timedelta) -> None:
    ready(house)
    item = waiting(house)

    with pytest.raises(UnfitTimeError, match="2026-11-03 09:30 UTC"):
        house.board.snooze(ada, item, until=START + after)


def test_a_sleeper_expires_when_its_time_is_over(house: Console, clock: MovableClock) -> None:
    ready(house)
    item = waiting(house)
    house.board.snooze(ada, item, until=START + timedelta(hours=23))
    clock.advance(timedelta(hours=24))

    house.intake.sweep()

    assert kept(house, item).status is Status.EXPIRED


def test_what_is_closed_or_unknown_is_moved_by_nobody(house: Console) -> None:
    ready(house)
    item = waiting(house)
    decide(house, Approve())

    with pytest.raises(AlreadySettledError):
        house.board.assign(grace, item, to=lin)
    with pytest.raises(AlreadySettledError):
        house.board.snooze(ada, item, until=START + HOUR)
    with pytest.raises(ItemNotFoundError):
        house.board.put_back(ada, uuid7())


def test_each_move_asks_for_its_permission(house: Console) -> None:
    ready(house)
    item = waiting(house)

    with pytest.raises(NotAllowedError, match="give items to people"):
        house.board.assign(ada, item, to=lin)
    for refused in (
        lambda: house.board.hand_over(only_lead, item, epoch=0, to=lin),
        lambda: house.board.snooze(mary, item, until=START + HOUR),
        lambda: house.board.put_back(mary, item),
        lambda: house.board.colleagues(mary),
        lambda: house.board.standing(root),
    ):
        with pytest.raises(NotAllowedError):
            refused()
    house.board.assign(only_lead, item, to=lin)
    house.board.put_back(only_lead, item)


def test_a_note_has_its_limit(house: Console) -> None:
    ready(house)
    item = waiting(house)

    with pytest.raises(NoteTooLongError):
        house.board.assign(grace, item, to=lin, note="x" * (MAX_NOTE_CHARS + 1))


def test_the_standing_tells_what_waits_what_is_overdue_and_since_when(
    either_house: Console, clock: MovableClock
) -> None:
    to_money = Rule(name="money", when="confidence == 0.5", route=Route.REVIEW, queue="money")
    money = Queue(name="money", due_in=600, skills=("money",))
    house = ready(either_house, to_money, queues=(money,))
    late = submit(house, confidence=0.5).id
    clock.advance(timedelta(seconds=600))
    house.intake.sweep()
    submit(house, confidence=0.5)
    given, asleep = waiting(house), waiting(house)
    house.board.assign(grace, given, to=lin)
    house.board.snooze(ada, asleep, until=clock() + HOUR)
    general = waiting(house)

    told = house.board.standing(replace(ada, skills=frozenset[str]()))

    assert [(each.queue.name, each.waiting, each.breached, each.oldest, each.is_open) for each in told.queues] == [
        ("general", 1, 0, clock(), True),
        ("money", 2, 1, START, False),
    ]
    assert (told.held, told.assigned, told.snoozed, told.breached) == (0, 1, 1, 1)
    listed = house.desk.items(ada, ItemFilter(is_breached=True), order=Order.URGENT).rows
    assert [(line.id, line.breached_at) for line in listed] == [(late, START + timedelta(seconds=600))]
    aside = house.desk.items(ada, ItemFilter(statuses=tuple(Aside)), order=Order.URGENT).rows
    assert [(line.id, line.aside, line.assignment and line.assignment.sub, line.snoozed_until) for line in aside] == [
        (given, Aside.ASSIGNED, lin.sub, None),
        (asleep, Aside.SNOOZED, None, clock() + HOUR),
    ]
    assert claim(house, replace(ada, skills=frozenset[str]())).id == general
