"""How an item moves: each step by itself, and any steps after one another."""

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from agents.canonical import action_digest
from agents.protocol import Approve, Decision, Execution, Outcome, OutcomeStatus, Reject, Respond, Status
from review import lifecycle
from review.items import Purpose, Reconciliation, ReviewItem
from tests.builders import a_claim, a_request, an_action, an_item
from tests.clock import START
from tests.review.steps import TOOL, an_edit

HOUR = timedelta(hours=1)
ARGS = a_request().action.args
JTI = uuid7()
REJECT, RESPOND = Reject(message="No."), Respond(message="Ask first.")


def settle(item: ReviewItem, decision: Decision, permit_for: timedelta = HOUR) -> ReviewItem:
    return lifecycle.settled(item, decision, by="Ada", now=START, jti=JTI, permit_for=permit_for)


def changed(before: ReviewItem, after: ReviewItem) -> dict[str, Any]:
    """Return what is no longer as it was."""
    names = (field.name for field in fields(before))
    return {name: getattr(after, name) for name in names if getattr(after, name) != getattr(before, name)}


@pytest.mark.parametrize(
    ("decision", "digest"),
    [
        (Approve(), action_digest(TOOL, ARGS)),
        (an_edit(order_id="B-2"), action_digest(TOOL, {"order_id": "B-2"})),
        (REJECT, None),
        (RESPOND, None),
    ],
)
def test_settling_permits_what_the_decision_says(decision: Decision, digest: str | None) -> None:
    item = an_item(status=Status.CLAIMED, claim=a_claim(), epoch=1)

    done = settle(item, decision)

    final = {"status": Status.SETTLED, "decision": decision, "settled_by": "Ada", "settled_at": START, "claim": None}
    permission = {
        "execution": Execution.PERMITTED,
        "permitted_digest": digest,
        "permitted_until": START + HOUR,
        "jti": JTI,
    }
    assert changed(item, done) == final | (permission if digest else {})


@pytest.mark.parametrize("decision", [Approve(), an_edit(order_id="B-2"), REJECT, RESPOND])
@pytest.mark.parametrize(
    ("item", "permit_for"), [(an_item(purpose=Purpose.AUDIT), HOUR), (an_item(), timedelta())], ids=["audit", "shadow"]
)
def test_a_look_afterwards_and_shadow_permit_nothing(
    item: ReviewItem, permit_for: timedelta, decision: Decision
) -> None:
    done = settle(item, decision, permit_for)

    assert (done.status, done.execution, done.jti, done.permitted_digest) == (
        Status.SETTLED,
        Execution.NONE,
        None,
        None,
    )


def test_expiring_rejects_and_cancelling_decides_nothing() -> None:
    item = an_item(status=Status.CLAIMED, claim=a_claim())

    over, withdrawn = lifecycle.expired(item, START), lifecycle.cancelled(item, START)

    closed = {"settled_at": START, "claim": None}
    assert changed(item, over) == closed | {
        "status": Status.EXPIRED,
        "decision": Reject(message=lifecycle.EXPIRED_MESSAGE),
        "settled_by": "policy",
    }
    assert changed(item, withdrawn) == closed | {"status": Status.CANCELLED, "settled_by": item.agent}


def test_a_claim_grows_the_epoch_and_neither_release_nor_extension_does() -> None:
    item = an_item(epoch=3)

    taken = lifecycle.claimed(item, a_claim())
    longer = lifecycle.extended(taken, START + HOUR)
    back = lifecycle.released(longer)

    assert changed(item, taken) == {"status": Status.CLAIMED, "claim": a_claim(), "epoch": 4}
    assert changed(taken, longer) == {"claim": a_claim(until=START + HOUR)}
    assert changed(item, back) == {"epoch": 4}


def test_an_edit_before_others_is_a_new_version_to_look_at() -> None:
    item = an_item(status=Status.CLAIMED, claim=a_claim(), epoch=1, quorum=2)

    drafted = lifecycle.redrafted(item, an_action(order_id="B-2"))

    assert changed(item, drafted) == {
        "status": Status.WAITING,
        "claim": None,
        "draft": an_action(order_id="B-2"),
        "version": 2,
    }
    assert lifecycle.shown_digest(item) == item.digest
    assert lifecycle.shown_digest(drafted) == action_digest(TOOL, {"order_id": "B-2"})


@pytest.mark.parametrize("status", list(OutcomeStatus))
def test_what_was_started_ends_as_its_outcome_says(status: OutcomeStatus) -> None:
    permitted = settle(an_item(), Approve())

    begun = lifecycle.started(permitted, START + HOUR, outcome_within=HOUR)
    done = lifecycle.finished(begun, Outcome(status=status))

    assert changed(permitted, begun) == {
        "execution": Execution.STARTED,
        "consumed_at": START + HOUR,
        "outcome_due_at": START + 2 * HOUR,
    }
    assert changed(begun, done) == {"execution": Execution(status.value), "outcome": Outcome(status=status)}


def test_an_outcome_that_nobody_told_is_found_by_a_person() -> None:
    begun = lifecycle.started(settle(an_item(), Approve()), START, outcome_within=HOUR)
    found = Reconciliation(status=OutcomeStatus.FAILED, note="Not in the ledger.", iss="i", sub="s", name="n", at=START)

    lost = lifecycle.unaccounted(begun)
    known = lifecycle.reconciled(lost, found)

    assert changed(begun, lost) == {"execution": Execution.UNKNOWN}
    assert changed(lost, known) == {"execution": Execution.FAILED, "reconciliation": found}


def test_a_hold_is_of_one_person_until_its_moment() -> None:
    claim = a_claim(until=START)

    held = [claim.is_held_by(claim.iss, claim.sub, START + timedelta(microseconds=n)) for n in (-1, 0)]

    assert held == [True, False]
    assert not claim.is_held_by(claim.iss, "another", START - HOUR)
    assert not claim.is_held_by("another", claim.sub, START - HOUR)


steps = st.lists(
    st.sampled_from(
        [
            lambda item: lifecycle.claimed(item, a_claim()),
            lambda item: lifecycle.extended(item, START + HOUR),
            lifecycle.released,
            lambda item: lifecycle.redrafted(item, an_action(order_id="B-2")),
            lambda item: replace(item, notes=item.notes + 1),
        ]
    ),
    max_size=12,
)
ends = st.sampled_from([Approve(), an_edit(order_id="C-3"), REJECT, RESPOND])


@given(taken=steps, decision=ends, purpose=st.sampled_from(Purpose), permit_for=st.sampled_from([timedelta(), HOUR]))
def test_whatever_came_before_a_permission_is_for_the_decided_action_of_a_gate(
    taken: list[Any], decision: Decision, purpose: Purpose, permit_for: timedelta
) -> None:
    item = an_item(purpose=purpose)
    for step in taken:
        item = step(item)

    done = settle(item, decision, permit_for)

    action = lifecycle.permitted_action(item, decision)
    is_permitted = action is not None and purpose is Purpose.GATE and bool(permit_for)
    assert (done.execution is Execution.PERMITTED) == is_permitted
    assert done.permitted_digest == (action_digest(action.name, action.args) if is_permitted and action else None)
    assert (done.request, done.digest, done.epoch >= 0) == (item.request, item.digest, True)
