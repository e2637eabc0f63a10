"""Observed actions: people judge them as they would any other, and nothing ever comes of it but a label."""

from datetime import timedelta

import pytest
from uuid_utils.compat import uuid7

from agents.protocol import (
    Approve,
    Decision,
    DecisionType,
    Execution,
    OnExpiry,
    Outcome,
    OutcomeStatus,
    Reject,
    Respond,
    Route,
    Status,
)
from review.audit import EventKind
from review.errors import ItemNotFoundError, NotPermittedError, NotStartedError
from review.intake import AUDIT_LIFE, OBSERVED_PRIORITY, Intake, Submission
from review.items import Purpose, ReviewItem
from review.lifecycle import settled
from review.policy import Autonomy, Rule
from tests.builders import a_request, ada, an_item, grace
from tests.clock import START, MovableClock
from tests.console import Console
from tests.review.steps import a_document, an_edit, caller, claim, decide, events, items, kept, kinds, submit

ARGS = a_request().action.args
EDIT = an_edit(order_id="A-1001", amount="10.00", reason="arrived broken")
DENY = Rule(name="never", when="true", route=Route.DENY, reason="Refunds are closed.", quorum=2)
POLICIES = {
    Route.EXECUTE: a_document(Autonomy.AUTONOMOUS),
    Route.REVIEW: a_document(Autonomy.SUPERVISED),
    Route.DENY: a_document(Autonomy.AUTONOMOUS, DENY),
}


@pytest.mark.parametrize("route", list(Route))
def test_an_observed_action_waits_whatever_the_policy_would_have_answered(either_house: Console, route: Route) -> None:
    either_house.save_policy(POLICIES[route])

    status = submit(either_house, observed=True)

    item = kept(either_house, status.id)
    assert (status.status, status.route, status.execution, status.receipt) == (
        Status.WAITING,
        route,
        Execution.NONE,
        None,
    )
    assert (item.purpose, item.priority, item.quorum) == (Purpose.SHADOW, OBSERVED_PRIORITY, 1)
    assert item.reasons
    (event,) = events(either_house, item.id)
    assert (event.kind, event.data["observed"], event.data["route"]) == (EventKind.ACTION_SUBMITTED, True, route.value)


def test_a_gated_action_says_nothing_of_being_observed(house: Console) -> None:
    status = submit(house)

    assert kept(house, status.id).purpose is Purpose.GATE
    assert "observed" not in events(house, status.id)[0].data


def test_whoever_waits_goes_before_what_is_only_observed(either_house: Console) -> None:
    observed = submit(either_house, observed=True)
    gated = submit(either_house)

    order = [claim(either_house, person).id for person in (ada, grace)]

    assert order == [gated.id, observed.id]


@pytest.mark.parametrize(
    "decision",
    [Approve(), EDIT, Reject(message="Never paid."), Respond(message="Yesterday.")],
    ids=lambda each: each.type,
)
def test_a_decision_on_an_observed_action_is_a_label_and_no_more(either_house: Console, decision: Decision) -> None:
    agent = caller(either_house)
    status = submit(either_house, agent, observed=True)

    decide(either_house, decision)

    done = kept(either_house, status.id)
    assert (done.status, done.execution, done.jti, done.receipt) == (Status.SETTLED, Execution.NONE, None, None)
    told = either_house.intake.status(agent, status.id)
    assert (told.receipt, told.decision) == (None, decision)
    (label,) = either_house.records.labels(grace)
    assert (label.purpose, label.decision) == (Purpose.SHADOW, DecisionType(decision.type))


def test_nothing_can_be_consumed_or_reported_of_it(either_house: Console) -> None:
    agent = caller(either_house)
    gated = submit(either_house, agent)
    permitted = decide(either_house, Approve())
    observed = submit(either_house, agent, observed=True)
    decide(either_house, Approve())

    with pytest.raises(NotPermittedError):
        either_house.intake.consume(agent, observed.id, permitted.receipt or "", ARGS)
    with pytest.raises(NotStartedError):
        either_house.intake.report_outcome(agent, observed.id, Outcome(status=OutcomeStatus.SUCCEEDED))

    assert kept(either_house, observed.id).execution is Execution.NONE
    assert kept(either_house, gated.id).execution is Execution.PERMITTED


def test_no_receipt_can_be_signed_for_it(house: Console) -> None:
    item: ReviewItem = settled(
        an_item(purpose=Purpose.SHADOW), Approve(), by="Ada", now=START, jti=uuid7(), permit_for=timedelta(hours=1)
    )

    with pytest.raises(NotPermittedError):
        house.receipts.issue(item, reviewers=(), now=START)


def test_it_is_not_approved_when_nobody_looked_at_it(either_house: Console, clock: MovableClock) -> None:
    either_house.save_policy(a_document(Autonomy.SUPERVISED, approve_on_expiry=True))
    agent = caller(either_house)
    observed = submit(either_house, agent, observed=True, on_expiry=OnExpiry.APPROVE)
    gated = submit(either_house, agent, on_expiry=OnExpiry.APPROVE)

    clock.advance(AUDIT_LIFE)
    either_house.intake.sweep()

    over = kept(either_house, observed.id)
    assert (over.status, over.decision, over.execution) == (Status.EXPIRED, None, Execution.NONE)
    assert kept(either_house, gated.id).execution is Execution.PERMITTED
    assert kinds(either_house, observed.id) == [EventKind.ACTION_SUBMITTED, EventKind.ITEM_EXPIRED]


@pytest.mark.parametrize(("expires_in", "life"), [(None, AUDIT_LIFE), (60, timedelta(seconds=60))])
def test_it_waits_for_weeks_unless_the_agent_says_otherwise(
    house: Console, expires_in: int | None, life: timedelta
) -> None:
    item = kept(house, submit(house, observed=True, expires_in=expires_in).id)

    assert item.expires_at - item.submitted_at == life
    assert item.due_at <= item.expires_at


def test_it_is_never_drawn_for_a_look_afterwards(house: Console) -> None:
    house.save_policy(a_document(Autonomy.AUTONOMOUS))
    drawn = Intake(house.store, house.receipts, house.policies, draw=lambda: 0.0)

    drawn.submit(caller(house), Submission(a_request(observed=True), "key", "body"))

    assert [item.purpose for item in items(house)] == [Purpose.SHADOW]


def test_filed_again_under_its_key_it_is_the_same(either_house: Console) -> None:
    agent = caller(either_house)

    answers = [submit(either_house, agent, key="observed-1", observed=True) for _ in range(2)]

    assert answers[0] == answers[1]
    assert len(items(either_house)) == 1


def test_its_agent_may_look_at_it_and_withdraw_it_and_nobody_else(house: Console) -> None:
    agent = caller(house)
    status = submit(house, agent, observed=True)

    with pytest.raises(ItemNotFoundError):
        house.intake.status(caller(house, "somebody-else"), status.id)
    assert house.intake.cancel(agent, status.id).status is Status.CANCELLED
