"""Breaking the glass: what one person may do alone, for how long, who hears of it, and who looks at it afterwards."""

import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from agents.protocol import Approve, Route
from agents.receipts import receipt_keys, verify_receipt
from review.audit import EventKind
from review.desk import Seen
from review.emergencies import LONGEST
from review.errors import (
    EmergencyFault,
    EmergencyNotReviewableError,
    EmergencySignInError,
    EmergencyUnfoundedError,
    NotAllowedError,
    OwnWorkError,
)
from review.items import ReviewItem
from review.people import Emergency, Person, Role
from review.policy import Autonomy, Rule
from tests.builders import ISSUER, a_request, ada, grace, mary, root
from tests.clock import START, MovableClock
from tests.console import Console
from tests.review.steps import a_document, an_edit, decide, events, kept, submit

REASON = "The warehouse burns."
TWO = Rule(name="two", when="true", route=Route.REVIEW, quorum=2)
firefighter = replace(ada, sub="fire", name="Fire Fighter", roles=frozenset({Role.REVIEWER, Role.BREAK_GLASS}))
colleague = replace(firefighter, sub="colleague", name="Colleague")
other_root = Person(ISSUER, "other-root", "Other Root", frozenset({Role.ADMIN}))


@pytest.fixture
def strict(either_house: Console) -> Console:
    """A house in which everything needs two people."""
    either_house.save_policy(a_document(Autonomy.SUPERVISED, TWO))
    return either_house


def broken(house: Console, person: Person = firefighter, minutes: int = 30) -> Emergency:
    return house.emergencies.break_glass(person, reason=REASON, ticket="INC-7", minutes=minutes)


def approved(house: Console, person: Person = firefighter) -> ReviewItem:
    """Return what becomes of a new item that the person approves."""
    item = house.desk.claim_item(person, submit(house).id)
    return house.desk.decide(item.id, Approve(), person, seen=Seen.of(item))


def test_whoever_broke_the_glass_approves_alone_and_the_record_says_so(strict: Console, clock: MovableClock) -> None:
    emergency = broken(strict)

    item = approved(strict)

    assert (item.status, item.execution, item.quorum) == ("settled", "permitted", 2)
    told = events(strict, item.id)[-1]
    assert (told.kind, told.data["emergency"]) == (EventKind.ITEM_DECIDED, str(emergency.id))
    claims = verify_receipt(
        item.receipt or "",
        keys=receipt_keys(strict.receipts.jwks()),
        audience=item.agent,
        item_id=item.id,
        tool="refund_order",
        args=a_request().action.args,
        now=clock().timestamp(),
    )
    # Whoever runs it sees that one person stands for what was to have two.
    assert (claims.reviewers, claims.quorum) == ((firefighter.id,), 2)


def test_without_it_or_after_it_nobody_does(strict: Console, clock: MovableClock) -> None:
    before = approved(strict)
    emergency = broken(strict)
    by_another = approved(strict, colleague)
    clock.advance(timedelta(minutes=30))
    lapsed = approved(strict)
    again = broken(strict)
    strict.emergencies.end(firefighter, again.id)
    ended = approved(strict)

    assert emergency.id != again.id
    assert [item.status for item in (before, by_another, lapsed, ended)] == ["waiting"] * 4


def test_whoever_approved_first_and_then_broke_the_glass_is_enough_alone(strict: Console) -> None:
    first = approved(strict)
    with pytest.raises(OwnWorkError):
        strict.desk.claim_item(firefighter, first.id)
    emergency = broken(strict)

    again = strict.desk.claim_item(firefighter, first.id)
    made = strict.desk.decide(again.id, Approve(), firefighter, seen=Seen.of(again))

    assert (first.status, made.status, made.execution) == ("waiting", "settled", "permitted")
    told = events(strict, made.id)[-1]
    assert (told.kind, told.data["emergency"]) == (EventKind.ITEM_DECIDED, str(emergency.id))


def test_whoever_edited_first_and_then_broke_the_glass_is_not(strict: Console) -> None:
    submit(strict)
    edited = decide(strict, an_edit(order_id="B-2"), firefighter)
    broken(strict)

    with pytest.raises(OwnWorkError):
        strict.desk.claim_item(firefighter, edited.id)


def test_of_another_workspace_it_allows_nothing_here(strict: Console) -> None:
    broken(strict, replace(firefighter, workspace="elsewhere"))

    assert approved(strict).status == "waiting"


def test_an_edit_is_approved_by_others_whatever_the_hour(strict: Console) -> None:
    broken(strict)
    broken(strict, colleague)
    submit(strict)

    edited = decide(strict, an_edit(order_id="B-2"), firefighter)
    approved_alone = decide(strict, Approve(), colleague)

    assert [edited.status, approved_alone.status] == ["waiting", "waiting"]


def test_a_decision_made_before_it_does_not_count_by_it(strict: Console, clock: MovableClock) -> None:
    house = Console(strict.store, undo_for=timedelta(seconds=60))
    submit(house)
    made = decide(house, Approve(), firefighter)
    clock.advance(timedelta(seconds=30))
    broken(house)

    clock.advance(timedelta(seconds=31))
    house.desk.settling.tick()

    assert kept(house, made.id).status == "waiting"


@pytest.mark.parametrize(
    ("reason", "ticket", "minutes"), [("", "INC-7", 5), (" ", "INC-7", 5), (REASON, "", 5), (REASON, "INC-7", 0)]
)
def test_it_needs_a_reason_a_ticket_and_a_time(house: Console, reason: str, ticket: str, minutes: int) -> None:
    with pytest.raises(EmergencyUnfoundedError):
        house.emergencies.break_glass(firefighter, reason=reason, ticket=ticket, minutes=minutes)

    assert events(house) == []


def test_it_lasts_an_hour_at_most(house: Console) -> None:
    assert broken(house, minutes=60).until == START + LONGEST == START + timedelta(minutes=60)
    with pytest.raises(EmergencyUnfoundedError):
        broken(house, colleague, minutes=61)


def test_whoever_breaks_it_has_just_signed_in(house: Console) -> None:
    with pytest.raises(EmergencySignInError):
        broken(house, replace(firefighter, authenticated_at=START - timedelta(minutes=15)))


def test_every_admin_sees_it_at_once_and_others_do_not(either_house: Console, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        emergency = broken(either_house)
        again = broken(either_house)

    assert again == emergency
    for person in (root, other_root, mary, firefighter):
        assert either_house.emergencies.standing(person) == [emergency]
    assert either_house.emergencies.standing(ada) == ()
    told = [(event.kind, event.actor.id, event.data["emergency"]) for event in events(either_house)]
    assert told == [(EventKind.GLASS_BROKEN, firefighter.id, str(emergency.id))]
    assert [REASON in record.message for record in caplog.records] == [False]


def test_an_admin_may_end_it_and_no_colleague(either_house: Console) -> None:
    emergency = broken(either_house)

    with pytest.raises(NotAllowedError):
        either_house.emergencies.end(colleague, emergency.id)
    ended = either_house.emergencies.end(root, emergency.id)

    assert either_house.emergencies.end(root, emergency.id) == ended
    assert either_house.emergencies.standing(root) == []
    assert [event.kind for event in events(either_house)] == [EventKind.GLASS_BROKEN, EventKind.EMERGENCY_ENDED]


def test_another_admin_looks_at_it_once_it_is_over(either_house: Console, clock: MovableClock) -> None:
    house, holder = either_house, replace(root, roles=root.roles | {Role.BREAK_GLASS})
    emergency = broken(house, holder)
    faults = []

    def look(person: Person, finding: str) -> None:
        try:
            house.emergencies.review(person, emergency.id, finding)
        except EmergencyNotReviewableError as error:
            faults.append(error.fault)

    look(other_root, "Too early.")
    clock.advance(timedelta(minutes=30))
    look(holder, "My own.")
    look(other_root, " ")
    look(other_root, "Two refunds, both right.")
    look(other_root, "Again.")

    assert faults == [EmergencyFault.STANDING, EmergencyFault.OWN, EmergencyFault.WORDLESS, EmergencyFault.DONE]
    (looked_at,) = house.emergencies.uses(mary)
    assert (looked_at.finding, looked_at.reviewed_by) == ("Two refunds, both right.", "Other Root")
    assert looked_at.reviewed_at == clock()
    assert events(house)[-1].kind is EventKind.EMERGENCY_REVIEWED


def test_a_rule_can_ask_for_two_people_where_much_is_at_stake(house: Console) -> None:
    much = Rule(name="much", when="has(impact.amount) && impact.amount > 40.0", route=Route.REVIEW, quorum=2)
    house.save_policy(a_document(Autonomy.SUPERVISED, much))
    submit(house)

    first = decide(house, Approve(), ada)
    second = decide(house, Approve(), grace)

    assert [first.status, second.status] == ["waiting", "settled"]
