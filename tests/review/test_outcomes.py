"""Outcomes that nobody told: found by the sweep, told late by the agent, or established by a person."""

from datetime import timedelta

import pytest

from agents.protocol import Approve, Execution, Outcome, OutcomeStatus
from review.audit import EventKind
from review.errors import (
    ItemNotFoundError,
    NotAllowedError,
    NoteRequiredError,
    OutcomeNotUnknownError,
    OutcomeStandsError,
    ReviewError,
    UnfitOutcomeError,
)
from review.items import ItemFilter, Order, Reconciliation, ReviewItem
from review.people import AgentKey
from review.policy import DEFAULT_OUTCOME_WITHIN
from tests.builders import a_request, ada, an_item, grace, mary, root
from tests.clock import MovableClock
from tests.console import Console
from tests.review.steps import a_document, all_at_once, caller, decide, events, kept, kinds, submit

WITHIN = timedelta(seconds=DEFAULT_OUTCOME_WITHIN)
SECOND = timedelta(seconds=1)
RAN, FAILED = OutcomeStatus.SUCCEEDED, OutcomeStatus.FAILED
NOTE = "The refund stands in the ledger."


def started(house: Console, agent: AgentKey) -> ReviewItem:
    status = submit(house, agent)
    decide(house, Approve())
    receipt = house.intake.status(agent, status.id).receipt or ""
    house.intake.consume(agent, status.id, receipt, a_request().action.args)
    return kept(house, status.id)


def lost(house: Console, clock: MovableClock, agent: AgentKey | None = None) -> ReviewItem:
    item = started(house, agent or caller(house))
    clock.advance(WITHIN)
    assert house.intake.sweep() == 1
    return kept(house, item.id)


def test_an_outcome_that_is_not_told_in_time_becomes_unknown(either_house: Console, clock: MovableClock) -> None:
    item = started(either_house, caller(either_house))
    clock.advance(WITHIN - SECOND)
    early = either_house.intake.sweep()

    clock.advance(SECOND)
    swept = either_house.intake.sweep(), either_house.intake.sweep()

    found = kept(either_house, item.id)
    assert (early, swept) == (0, (1, 0))
    assert (found.execution, found.outcome, found.consumed_at) == (Execution.UNKNOWN, None, item.consumed_at)
    assert kinds(either_house, item.id)[-1] is EventKind.OUTCOME_MISSED
    assert events(either_house, item.id)[-1].data == {"execution": "unknown", "jti": str(item.jti)}


def test_a_tools_rule_says_how_long_it_may_take(house: Console, clock: MovableClock) -> None:
    agent = caller(house)
    house.save_policy(a_document(outcome_within=60))
    status = submit(house, agent)
    house.intake.consume(agent, status.id, status.receipt or "", a_request().action.args)
    house.save_policy(a_document(outcome_within=6_000))
    clock.advance(timedelta(minutes=1))

    house.intake.sweep()

    assert kept(house, status.id).execution is Execution.UNKNOWN


def test_an_outcome_that_was_told_is_not_swept(house: Console, clock: MovableClock) -> None:
    agent = caller(house)
    item = started(house, agent)
    house.intake.report_outcome(agent, item.id, Outcome(status=RAN))
    clock.advance(WITHIN)

    assert house.intake.sweep() == 0


@pytest.mark.parametrize("told", [RAN, FAILED])
def test_a_late_report_of_the_agent_still_counts(
    either_house: Console, clock: MovableClock, told: OutcomeStatus
) -> None:
    agent = caller(either_house)
    item = lost(either_house, clock, agent)

    answer = either_house.intake.report_outcome(agent, item.id, Outcome(status=told, result="late"))

    assert answer.execution.value == told.value
    assert kinds(either_house, item.id)[-2:] == [EventKind.OUTCOME_MISSED, EventKind.OUTCOME_REPORTED]
    with pytest.raises(OutcomeNotUnknownError):
        either_house.desk.reconcile(ada, item.id, FAILED, NOTE)


@pytest.mark.parametrize("status", [RAN, FAILED])
def test_a_person_establishes_what_happened_once_and_for_all(
    either_house: Console, clock: MovableClock, status: OutcomeStatus
) -> None:
    agent = caller(either_house)
    item = lost(either_house, clock, agent)

    done = either_house.desk.reconcile(grace, item.id, status, f"  {NOTE}\n")

    found = Reconciliation(status=status, note=NOTE, iss=grace.iss, sub=grace.sub, name=grace.name, at=clock())
    assert (done.execution.value, done.reconciliation) == (status.value, found)
    assert kept(either_house, item.id) == done
    for told in OutcomeStatus:
        with pytest.raises(OutcomeStandsError):
            either_house.intake.report_outcome(agent, item.id, Outcome(status=told))
    event = events(either_house, item.id)[-1]
    assert (event.kind, event.actor.id) == (EventKind.OUTCOME_RECONCILED, grace.id)
    assert event.data == {"execution": status.value, "length": len(NOTE)}


def test_an_unknown_that_the_agent_reported_is_reconciled_beside_its_report(house: Console) -> None:
    agent = caller(house)
    item = started(house, agent)
    report = Outcome(status=OutcomeStatus.UNKNOWN, error="The connection broke.")
    house.intake.report_outcome(agent, item.id, report)

    done = house.desk.reconcile(ada, item.id, RAN, NOTE)

    again = house.intake.report_outcome(agent, item.id, report)
    assert (done.outcome, again.execution) == (report, Execution.SUCCEEDED)


def test_the_same_finding_again_changes_nothing(house: Console, clock: MovableClock) -> None:
    item = lost(house, clock)
    first = house.desk.reconcile(ada, item.id, RAN, NOTE)
    before = events(house)
    clock.advance(SECOND)

    again = house.desk.reconcile(ada, item.id, RAN, NOTE)

    assert again == first
    assert events(house) == before


@pytest.mark.parametrize(
    ("person", "status", "note"),
    [(grace, RAN, NOTE), (ada, FAILED, NOTE), (ada, RAN, "Another note.")],
    ids=["another person", "another status", "another note"],
)
def test_another_finding_is_refused(
    house: Console, clock: MovableClock, person: object, status: OutcomeStatus, note: str
) -> None:
    item = lost(house, clock)
    first = house.desk.reconcile(ada, item.id, RAN, NOTE)

    with pytest.raises(OutcomeNotUnknownError):
        house.desk.reconcile(person, item.id, status, note)  # type: ignore[arg-type]  # the cases name people

    assert kept(house, item.id) == first


def test_what_is_waiting_or_still_running_has_nothing_to_reconcile(house: Console) -> None:
    agent = caller(house)
    running, waiting = started(house, agent), submit(house, agent)

    for item_id in (running.id, waiting.id):
        with pytest.raises(OutcomeNotUnknownError):
            house.desk.reconcile(ada, item_id, RAN, NOTE)


@pytest.mark.parametrize(
    ("status", "note", "refusal"),
    [
        (RAN, "  \n", NoteRequiredError),
        (FAILED, "", NoteRequiredError),
        (OutcomeStatus.UNKNOWN, NOTE, UnfitOutcomeError),
    ],
)
def test_a_finding_says_what_and_how_one_knows(
    house: Console, clock: MovableClock, status: OutcomeStatus, note: str, refusal: type[ReviewError]
) -> None:
    item = lost(house, clock)

    with pytest.raises(refusal):
        house.desk.reconcile(ada, item.id, status, note)

    assert kept(house, item.id) == item


def test_who_may_only_look_cannot_reconcile(house: Console, clock: MovableClock) -> None:
    item = lost(house, clock)

    for person in (mary, root):
        with pytest.raises(NotAllowedError):
            house.desk.reconcile(person, item.id, RAN, NOTE)
    with pytest.raises(ItemNotFoundError):
        house.desk.reconcile(ada, an_item().id, RAN, NOTE)


def test_of_two_people_who_reconcile_at_once_one_does(either_house: Console, clock: MovableClock) -> None:
    item = lost(either_house, clock)
    people = (ada, grace)

    answers = all_at_once(2, lambda number: either_house.desk.reconcile(people[number], item.id, RAN, NOTE))

    assert sorted(type(answer).__name__ for answer in answers) == ["OutcomeNotUnknownError", "ReviewItem"]
    assert kinds(either_house, item.id).count(EventKind.OUTCOME_RECONCILED) == 1


def test_unknown_outcomes_are_listed_and_counted(either_house: Console, clock: MovableClock) -> None:
    item = lost(either_house, clock)
    submit(either_house)
    where = ItemFilter(execution=Execution.UNKNOWN)

    listed = either_house.desk.items(ada, where, order=Order.SETTLED).rows

    assert ([row.id for row in listed], either_house.desk.count(ada, where)) == ([item.id], 1)
    either_house.desk.reconcile(ada, item.id, FAILED, NOTE)
    assert either_house.desk.count(ada, where) == 0


def test_a_result_that_python_takes_for_the_one_reported_is_another(either_house: Console) -> None:
    agent = caller(either_house)
    item = started(either_house, agent)
    either_house.intake.report_outcome(agent, item.id, Outcome(status=RAN, result={"refunded": 1}))

    with pytest.raises(OutcomeStandsError):
        either_house.intake.report_outcome(agent, item.id, Outcome(status=RAN, result={"refunded": True}))
    either_house.intake.report_outcome(agent, item.id, Outcome(status=RAN, result={"refunded": 1}))
