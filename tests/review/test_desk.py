"""The reviewers' use cases: claiming, looking, deciding, alone and with others."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from agents.canonical import action_digest
from agents.protocol import (
    ActionStatus,
    Approve,
    Decision,
    DecisionType,
    Edit,
    Execution,
    Impact,
    Reject,
    Respond,
    Route,
    Status,
)
from review.audit import EventKind
from review.desk import Seen
from review.errors import (
    AlreadySettledError,
    ClaimLostError,
    DecisionNotAllowedError,
    InvalidArgsError,
    ItemChangedError,
    ItemHeldError,
    ItemNotFoundError,
    OtherToolError,
    OwnWorkError,
    ReasonRequiredError,
    SignInAgainError,
    ThreadFullError,
)
from review.items import CLAIM_DURATION, MAX_NOTES, Claim, ItemFilter, Order, ReasonCode
from review.people import Person, Role
from review.policy import Autonomy, Rule
from tests.builders import (
    EVER_AFTER,
    ISSUER,
    WORKSPACE,
    a_claim,
    a_decision,
    a_request,
    ada,
    an_action,
    an_item,
    grace,
    keeping,
    lin,
)
from tests.clock import MovableClock
from tests.console import Console
from tests.review.steps import TOOL, a_document, an_edit, caller, claim, decide, events, items, kept, kinds, submit

SECOND = timedelta(seconds=1)
A_QUARTER = timedelta(minutes=15)
ARGS = a_request().action.args
joan = Person(ISSUER, "joan", "Joan Clarke", frozenset({Role.REVIEWER}), authenticated_at=EVER_AFTER)
FOUR_EYES = a_document(Autonomy.SUPERVISED, Rule(name="four eyes", when="true", route=Route.REVIEW, quorum=2))


def test_nothing_to_claim_is_an_answer(either_house: Console) -> None:
    assert either_house.desk.claim(ada) is None
    assert events(either_house) == []


def test_the_most_urgent_is_claimed_first_and_then_the_oldest(either_house: Console) -> None:
    rules = [
        Rule(name=f"p{priority}", when=f'action.name == "p{priority}"', route=Route.REVIEW, priority=priority)
        for priority in (0, 3, 7)
    ]
    either_house.save_policy(a_document(Autonomy.SUPERVISED, *rules))
    for name in ("p7", "p3", "p0", "p3", "p0"):
        submit(either_house, action=an_action(name, place=name))

    taken = [decide(either_house, Approve()) for _ in range(5)]

    assert [item.request.action.name for item in taken] == ["p0", "p0", "p3", "p3", "p7"]
    assert [item.id for item in taken[:2]] == sorted(item.id for item in taken[:2])


def test_only_the_asked_queues_are_claimed_from(house: Console) -> None:
    rule = Rule(name="money", when='action.name == "pay"', route=Route.REVIEW, queue="money", priority=0)
    house.save_policy(a_document(Autonomy.SUPERVISED, rule))
    pay = submit(house, action=an_action("pay"))
    other = submit(house)

    taken = [house.desk.claim(person, queues=queues) for person, queues in ((ada, ["general"]), (grace, ["money"]))]

    assert [item and item.id for item in taken] == [other.id, pay.id]
    assert house.desk.claim(joan, queues=["general", "money"]) is None


def test_claiming_again_gives_the_item_already_held(either_house: Console) -> None:
    submit(either_house)
    submit(either_house)
    first = claim(either_house)

    again = claim(either_house)

    assert again == first
    assert kinds(either_house).count(EventKind.ITEM_CLAIMED) == 1


def test_a_claim_is_a_hold_for_a_while_under_a_new_epoch(either_house: Console, clock: MovableClock) -> None:
    status = submit(either_house)

    item = claim(either_house)

    assert (item.id, item.status, item.epoch) == (status.id, Status.CLAIMED, 1)
    assert item.claim == Claim(ada.iss, ada.sub, ada.name, clock() + CLAIM_DURATION)
    assert kept(either_house, item.id) == item
    assert either_house.desk.claim(grace) is None


def test_a_lapsed_claim_frees_the_item(either_house: Console, clock: MovableClock) -> None:
    submit(either_house)
    held = claim(either_house)
    clock.advance(CLAIM_DURATION)

    taken = claim(either_house, grace)

    assert (taken.id, taken.epoch) == (held.id, 2)
    with pytest.raises(ClaimLostError):
        either_house.desk.decide(held.id, Approve(), ada, seen=Seen.of(held))
    assert either_house.desk.decide(taken.id, Approve(), grace, seen=Seen.of(taken)).settled_by == grace.name


def test_a_claim_lasts_to_its_last_moment(house: Console, clock: MovableClock) -> None:
    submit(house)
    item = claim(house)
    clock.advance(CLAIM_DURATION - timedelta(microseconds=1))

    done = house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))

    assert done.status is Status.SETTLED


def test_a_late_decision_is_refused_even_if_nobody_took_the_item(either_house: Console, clock: MovableClock) -> None:
    submit(either_house)
    item = claim(either_house)
    clock.advance(CLAIM_DURATION)

    with pytest.raises(ClaimLostError):
        either_house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))

    assert kept(either_house, item.id).execution is Execution.NONE


def test_a_stale_epoch_cannot_decide_though_the_same_person_holds_the_item_again(
    either_house: Console, clock: MovableClock
) -> None:
    submit(either_house)
    before = claim(either_house)
    clock.advance(CLAIM_DURATION)
    again = claim(either_house)
    assert (again.id, again.claim is None) == (before.id, False)

    with pytest.raises(ClaimLostError):
        either_house.desk.decide(before.id, Approve(), ada, seen=Seen.of(before))

    assert kept(either_house, before.id) == again


def test_extending_holds_the_item_for_another_full_while(either_house: Console, clock: MovableClock) -> None:
    submit(either_house)
    item = claim(either_house)
    clock.advance(CLAIM_DURATION - SECOND)
    longer = either_house.desk.extend(ada, item.id, epoch=item.epoch)
    clock.advance(CLAIM_DURATION - SECOND)

    done = either_house.desk.decide(item.id, Approve(), ada, seen=Seen.of(longer))

    assert (done.status, longer.epoch) == (Status.SETTLED, item.epoch)


def test_a_lapsed_claim_cannot_be_extended(house: Console, clock: MovableClock) -> None:
    submit(house)
    item = claim(house)
    clock.advance(CLAIM_DURATION)

    with pytest.raises(ClaimLostError):
        house.desk.extend(ada, item.id, epoch=item.epoch)


def test_a_released_item_waits_again(either_house: Console) -> None:
    submit(either_house)
    item = claim(either_house)

    either_house.desk.release(ada, item.id, epoch=item.epoch)

    assert kept(either_house, item.id).status is Status.WAITING
    assert claim(either_house, grace).id == item.id


def test_releasing_what_one_does_not_hold_changes_nothing(house: Console) -> None:
    submit(house)
    item = claim(house)
    before = events(house)

    house.desk.release(grace, item.id, epoch=item.epoch)
    house.desk.release(ada, item.id, epoch=item.epoch - 1)

    assert (kept(house, item.id), events(house)) == (item, before)


def test_this_very_item_can_be_taken_and_the_one_held_goes_back(either_house: Console) -> None:
    first, second = submit(either_house), submit(either_house)
    claim(either_house)

    taken = either_house.desk.claim_item(ada, second.id)

    assert (taken.id, claim(either_house)) == (second.id, taken)
    assert kept(either_house, first.id).status is Status.WAITING
    assert kinds(either_house, first.id)[-1] is EventKind.CLAIM_RELEASED


def test_taking_the_item_one_holds_changes_nothing(house: Console) -> None:
    submit(house)
    item = claim(house)
    before = events(house)

    taken = house.desk.claim_item(ada, item.id)

    assert (taken, events(house)) == (item, before)


def test_an_item_that_another_holds_cannot_be_taken_until_the_hold_is_over(
    either_house: Console, clock: MovableClock
) -> None:
    submit(either_house)
    item = claim(either_house)
    with pytest.raises(ItemHeldError, match=ada.name):
        either_house.desk.claim_item(grace, item.id)
    clock.advance(CLAIM_DURATION)

    taken = either_house.desk.claim_item(grace, item.id)

    assert (taken.epoch, kept(either_house, item.id)) == (2, taken)
    assert kinds(either_house, item.id)[-2:] == [EventKind.CLAIM_LAPSED, EventKind.ITEM_CLAIMED]


def test_what_is_settled_cannot_be_taken(house: Console) -> None:
    submit(house)
    done = decide(house, Approve())

    with pytest.raises(AlreadySettledError):
        house.desk.claim_item(grace, done.id)


SETTLING: dict[str, tuple[Decision, Execution, str | None]] = {
    "approve": (Approve(), Execution.PERMITTED, action_digest(TOOL, ARGS)),
    "edit": (an_edit(order_id="B-2"), Execution.PERMITTED, action_digest(TOOL, {"order_id": "B-2"})),
    "reject": (Reject(message="Not this one."), Execution.NONE, None),
    "respond": (Respond(message="Ask for a photo."), Execution.NONE, None),
}


@pytest.mark.parametrize("decision", list(SETTLING))
def test_a_decision_settles_the_item_as_it_says(either_house: Console, decision: str) -> None:
    answer, execution, digest = SETTLING[decision]
    submit(either_house)

    done = decide(either_house, answer, reason_codes=(ReasonCode.TONE,))

    assert (done.status, done.decision, done.settled_by) == (Status.SETTLED, answer, ada.name)
    assert (done.execution, done.permitted_digest, done.claim) == (execution, digest, None)
    assert (done.receipt is not None, done.jti is not None) == (digest is not None, digest is not None)
    assert kept(either_house, done.id) == done


def test_a_decision_is_kept_with_who_when_and_what_was_shown(either_house: Console, clock: MovableClock) -> None:
    submit(either_house)
    item = claim(either_house)
    clock.advance(timedelta(seconds=42))
    codes = (ReasonCode.WRONG_ARGUMENTS, ReasonCode.OTHER)

    either_house.desk.decide(item.id, Reject(), ada, seen=Seen.of(item, dwell_ms=4_200), reason_codes=codes)

    (record,) = either_house.desk.whole(ada, item.id).decisions
    assert (record.iss, record.sub, record.name) == (ada.iss, ada.sub, ada.name)
    assert (record.decision, record.reason_codes, record.dwell_ms) == (Reject(), codes, 4_200)
    assert (record.digest_seen, record.item_version, record.epoch) == (item.digest, 1, 1)
    assert (record.decided_at, record.policy_version) == (clock(), 0)


def test_the_same_decision_again_changes_nothing(either_house: Console) -> None:
    submit(either_house)
    item = claim(either_house)
    first = either_house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))
    before = events(either_house)

    again = either_house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))

    assert (again, events(either_house)) == (first, before)
    assert len(either_house.desk.whole(ada, item.id).decisions) == 1


@pytest.mark.parametrize("second", [Reject(message="No!"), an_edit(order_id="B-2"), Respond(message="Hm.")])
def test_another_decision_on_a_settled_item_is_refused(house: Console, second: Decision) -> None:
    submit(house)
    item = claim(house)
    done = house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))

    with pytest.raises(AlreadySettledError):
        house.desk.decide(item.id, second, ada, seen=Seen.of(item))

    assert kept(house, item.id) == done


def test_somebody_elses_equal_decision_is_no_repeat(house: Console) -> None:
    submit(house)
    item = claim(house)
    house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))

    with pytest.raises(AlreadySettledError):
        house.desk.decide(item.id, Approve(), grace, seen=Seen.of(item))


def test_a_late_click_does_not_touch_the_reviewers_next_item(either_house: Console) -> None:
    for _ in range(3):
        submit(either_house)
    first = claim(either_house)
    seen = Seen.of(first)
    either_house.desk.decide(first.id, Approve(), ada, seen=seen)
    claim(either_house)
    others = [item for item in items(either_house) if item.id != first.id]

    either_house.desk.decide(first.id, Approve(), ada, seen=seen)
    with pytest.raises(AlreadySettledError):
        either_house.desk.decide(first.id, Reject(message="No!"), ada, seen=seen)

    assert [item for item in items(either_house) if item.id != first.id] == others


def test_nobody_decides_what_another_holds_or_nobody_holds(house: Console) -> None:
    submit(house)
    status = submit(house)
    held = claim(house)

    for item_id, epoch in ((held.id, held.epoch), (status.id, 0)):
        item = kept(house, item_id)
        with pytest.raises(ClaimLostError):
            house.desk.decide(item_id, Approve(), grace, seen=replace(Seen.of(item), epoch=epoch))

    assert [item.execution for item in items(house)] == [Execution.NONE] * 2


@pytest.mark.parametrize("by", [-1, 1])
def test_a_decision_on_another_version_is_refused(either_house: Console, by: int) -> None:
    submit(either_house)
    item = claim(either_house)

    with pytest.raises(ItemChangedError):
        either_house.desk.decide(item.id, Approve(), ada, seen=replace(Seen.of(item), version=item.version + by))

    assert kept(either_house, item.id) == item


def test_a_decision_on_another_digest_is_refused(either_house: Console) -> None:
    submit(either_house)
    item = claim(either_house)
    other = action_digest(TOOL, {**ARGS, "amount": "4990"})

    with pytest.raises(ItemChangedError):
        either_house.desk.decide(item.id, Approve(), ada, seen=replace(Seen.of(item), digest=other))

    assert kept(either_house, item.id) == item


def test_only_the_decisions_that_the_agent_takes_are_taken(house: Console) -> None:
    allowed = (DecisionType.APPROVE, DecisionType.REJECT)
    submit(house, allowed_decisions=allowed)
    item = claim(house)

    for decision in (an_edit(order_id="B"), Respond(message="Hm.")):
        with pytest.raises(DecisionNotAllowedError, match="approve, reject"):
            house.desk.decide(item.id, decision, ada, seen=Seen.of(item))

    assert house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item)).status is Status.SETTLED


SCHEMA = {
    "type": "object",
    "properties": {"order_id": {"type": "string"}, "amount": {"type": "string", "pattern": "^[0-9.]+$"}},
    "required": ["order_id"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (an_edit(amount="1.00"), "order_id: is missing"),
        (an_edit(order_id="A", amount="much"), "amount: must look like"),
        (an_edit(order_id=7), "order_id: must be text"),
        (an_edit(order_id="A", to="me"), "may not hold to"),
        (an_edit(order_id="A", amount=2**60), "above 2"),
    ],
)
def test_an_edit_must_fit_the_tools_schema(house: Console, edit: Edit, complaint: str) -> None:
    submit(house, args_schema=SCHEMA, action=an_action(order_id="A", amount="1.00"))
    item = claim(house)

    with pytest.raises(InvalidArgsError, match=complaint):
        house.desk.decide(item.id, edit, ada, seen=Seen.of(item))

    assert kept(house, item.id) == item


def test_an_edit_must_fit_the_schema_that_was_declared_before(house: Console) -> None:
    agent = caller(house)
    submit(house, agent, args_schema=SCHEMA, action=an_action(order_id="A"))
    decide(house, Approve())
    submit(house, agent, action=an_action(order_id="A"))

    with pytest.raises(InvalidArgsError):
        decide(house, an_edit(order_id=7))

    assert house.desk.whole(ada, claim(house).id).args_schema == SCHEMA


def test_what_does_not_fit_the_schema_cannot_be_approved_as_it_is(house: Console) -> None:
    submit(house, args_schema=SCHEMA, action=an_action(order_id=7))
    item = claim(house)

    with pytest.raises(InvalidArgsError):
        house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))

    done = house.desk.decide(item.id, an_edit(order_id="7"), ada, seen=Seen.of(item))
    assert done.execution is Execution.PERMITTED


def test_an_edit_may_not_switch_to_another_tool(house: Console) -> None:
    submit(house)
    item = claim(house)

    with pytest.raises(OtherToolError):
        house.desk.decide(item.id, an_edit("delete_everything", order_id="A"), ada, seen=Seen.of(item))


@pytest.mark.parametrize("decision", [Reject(), Reject(message="")])
def test_a_rejection_says_why(house: Console, decision: Reject) -> None:
    submit(house)
    item = claim(house)
    with pytest.raises(ReasonRequiredError):
        house.desk.decide(item.id, decision, ada, seen=Seen.of(item))

    codes = (ReasonCode.UNSAFE,)
    done = house.desk.decide(item.id, decision, ada, seen=Seen.of(item), reason_codes=codes)

    assert done.decision == decision


@pytest.mark.parametrize(
    ("ago", "is_let"),
    [(timedelta(), True), (A_QUARTER - SECOND, True), (A_QUARTER, False), (None, False)],
)
@pytest.mark.parametrize("decision", [Approve(), Reject(message="No.")])
def test_what_several_must_approve_is_decided_by_whoever_signed_in_just_now(
    house: Console,
    clock: MovableClock,
    decision: Decision,
    ago: timedelta | None,
    is_let: bool,  # noqa: FBT001 -- a column of the table
) -> None:
    house.save_policy(FOUR_EYES)
    submit(house)
    somebody = replace(ada, authenticated_at=None if ago is None else clock() - ago)
    item = claim(house, somebody)

    if is_let:
        assert house.desk.decide(item.id, decision, somebody, seen=Seen.of(item)).id == item.id
        return
    with pytest.raises(SignInAgainError):
        house.desk.decide(item.id, decision, somebody, seen=Seen.of(item))

    assert kept(house, item.id) == item


def test_what_one_person_approves_asks_for_no_fresh_sign_in(house: Console) -> None:
    submit(house)

    assert decide(house, Approve(), replace(ada, authenticated_at=None)).receipt is not None


def test_two_people_must_approve_where_the_policy_says_so(either_house: Console) -> None:
    either_house.save_policy(FOUR_EYES)
    agent = caller(either_house)
    status = submit(either_house, agent)

    first = decide(either_house, Approve(), ada)
    assert (first.status, first.execution, first.receipt) == (Status.WAITING, Execution.NONE, None)
    assert either_house.intake.status(agent, status.id).decision is None
    second = decide(either_house, Approve(), grace)

    assert (second.status, second.execution) == (Status.SETTLED, Execution.PERMITTED)
    claims = either_house.receipts.recognise(
        second.receipt or "", workspace=WORKSPACE, agent=agent.agent, item_id=status.id, now=status.submitted_at
    )
    assert (claims.reviewers, claims.quorum) == ((ada.id, grace.id), 2)
    assert kinds(either_house, status.id) == [
        EventKind.ACTION_SUBMITTED,
        EventKind.ITEM_CLAIMED,
        EventKind.APPROVAL_GIVEN,
        EventKind.ITEM_CLAIMED,
        EventKind.ITEM_DECIDED,
    ]


def test_nobody_approves_twice(either_house: Console) -> None:
    either_house.save_policy(FOUR_EYES)
    status = submit(either_house)
    decide(either_house, Approve(), ada)

    assert either_house.desk.claim(ada) is None
    with pytest.raises(OwnWorkError):
        either_house.desk.claim_item(ada, status.id)
    assert kept(either_house, status.id).execution is Execution.NONE


def test_whoever_had_a_hand_in_it_does_not_decide_even_what_they_hold(either_house: Console) -> None:
    hold: dict[str, Any] = {"status": Status.CLAIMED, "claim": a_claim(ada), "epoch": 2}
    approved = an_item(quorum=2, **hold)
    edited = an_item(quorum=2, version=2, draft=an_action(order_id="B-2"), **hold)
    proposed = an_item(principal=ada.id, **hold)
    records = (a_decision(approved, epoch=1), a_decision(edited, epoch=1))
    either_house.store.write(keeping(approved, edited, proposed, *records))

    for item in (approved, edited, proposed):
        with pytest.raises(OwnWorkError):
            either_house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))

    assert [kept(either_house, item.id) for item in (approved, edited, proposed)] == [approved, edited, proposed]
    assert either_house.desk.decide(approved.id, Approve(), ada, seen=Seen(approved.digest, 1, 1)) == approved


def test_who_approved_before_an_edit_may_approve_the_edit_and_its_editor_may_not(either_house: Console) -> None:
    either_house.save_policy(FOUR_EYES)
    status = submit(either_house)
    decide(either_house, Approve(), ada)
    edit = an_edit(order_id="A", amount="10.00")
    edited = decide(either_house, edit, grace)

    assert either_house.desk.claim(grace) is None
    with pytest.raises(OwnWorkError):
        either_house.desk.claim_item(grace, status.id)
    approved_again = decide(either_house, Approve(), ada)
    settled = decide(either_house, Approve(), lin)

    assert (edited.version, approved_again.status) == (2, Status.WAITING)
    assert (settled.status, settled.decision) == (Status.SETTLED, edit)


def test_the_same_approval_again_does_not_count_twice(either_house: Console) -> None:
    either_house.save_policy(FOUR_EYES)
    status = submit(either_house)
    item = claim(either_house)
    either_house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))

    again = either_house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))

    assert (again.status, again.execution) == (Status.WAITING, Execution.NONE)
    assert len(either_house.desk.whole(grace, status.id).decisions) == 1


def test_ones_own_work_does_not_hide_the_others(either_house: Console) -> None:
    either_house.save_policy(FOUR_EYES)
    approved, untouched = submit(either_house), submit(either_house)
    decide(either_house, Approve(), ada)

    of_all, of_queues = claim(either_house), either_house.desk.claim(grace, queues=["general", "other"])

    assert (of_all.id, of_queues and of_queues.id) == (untouched.id, approved.id)
    either_house.desk.release(ada, of_all.id, epoch=of_all.epoch)
    assert (item := either_house.desk.claim(ada, queues=["general", "other"])) is not None
    assert item.id == untouched.id


def test_people_with_the_same_name_of_other_issuers_are_others(house: Console) -> None:
    house.save_policy(FOUR_EYES)
    submit(house)
    decide(house, Approve(), ada)

    done = decide(house, Approve(), replace(ada, iss="https://another.example"))

    assert done.execution is Execution.PERMITTED


@pytest.mark.parametrize("denial", [Reject(message="No."), Respond(message="Ask first.")])
def test_any_denial_settles_what_needs_several(either_house: Console, denial: Decision) -> None:
    either_house.save_policy(FOUR_EYES)
    submit(either_house)
    decide(either_house, Approve(), ada)

    done = decide(either_house, denial, grace)

    assert (done.status, done.decision, done.execution) == (Status.SETTLED, denial, Execution.NONE)
    assert either_house.desk.claim(joan) is None


def test_an_edit_voids_the_approvals_before_it_and_its_editor_does_not_approve_it(either_house: Console) -> None:
    either_house.save_policy(FOUR_EYES)
    status = submit(either_house)
    decide(either_house, Approve(), ada)
    drafted = decide(either_house, an_edit(order_id="B-2"), grace)
    assert (drafted.status, drafted.version, drafted.execution) == (Status.WAITING, 2, Execution.NONE)
    assert either_house.desk.claim(grace) is None

    first = decide(either_house, Approve(), joan)
    assert (first.status, first.execution) == (Status.WAITING, Execution.NONE)
    second = decide(either_house, Approve(), replace(joan, sub="dorothy", name="Dorothy Vaughan"))

    assert second.decision == an_edit(order_id="B-2")
    assert second.permitted_digest == action_digest(TOOL, {"order_id": "B-2"})
    assert second.digest == status.digest
    assert kinds(either_house, status.id).count(EventKind.EDIT_PROPOSED) == 1


def test_what_was_shown_before_an_edit_cannot_be_approved_after_it(either_house: Console) -> None:
    either_house.save_policy(FOUR_EYES)
    status = submit(either_house)
    decide(either_house, an_edit(order_id="B-2"), ada)
    item = claim(either_house, grace)

    with pytest.raises(ItemChangedError):
        either_house.desk.decide(item.id, Approve(), grace, seen=replace(Seen.of(item), digest=status.digest))

    assert Seen.of(item).digest == action_digest(TOOL, {"order_id": "B-2"})


def test_a_reviewers_question_reaches_the_agent_and_needs_no_claim(house: Console) -> None:
    agent = caller(house)
    status = submit(house, agent)

    house.desk.ask(grace, status.id, "Which order?")

    assert [note.text for note in house.intake.status(agent, status.id).notes] == ["Which order?"]
    assert kept(house, status.id).status is Status.WAITING


def test_a_question_on_a_settled_item_is_refused(house: Console) -> None:
    submit(house)
    done = decide(house, Approve())

    with pytest.raises(AlreadySettledError):
        house.desk.ask(ada, done.id, "Too late?")


ON_AN_ITEM: dict[str, Callable[[Console, UUID, Person], object]] = {
    "claim_item": lambda house, item, person: house.desk.claim_item(person, item),
    "extend": lambda house, item, person: house.desk.extend(person, item, epoch=1),
    "release": lambda house, item, person: house.desk.release(person, item, epoch=1),
    "decide": lambda house, item, person: house.desk.decide(item, Approve(), person, seen=Seen("", 1, 1)),
    "ask": lambda house, item, person: house.desk.ask(person, item, "Hello?"),
    "whole": lambda house, item, person: house.desk.whole(person, item),
}


@pytest.mark.parametrize("asked", list(ON_AN_ITEM))
def test_an_item_of_nowhere_or_of_another_workspace_is_not_found(house: Console, asked: str) -> None:
    status = submit(house)
    stranger = replace(ada, workspace="elsewhere")

    for item_id, person in ((uuid7(), ada), (status.id, stranger)):
        with pytest.raises(ItemNotFoundError):
            ON_AN_ITEM[asked](house, item_id, person)

    assert house.desk.claim(stranger) is None


def test_the_queue_is_listed_and_counted(house: Console) -> None:
    agent = caller(house)
    statuses: list[ActionStatus] = [submit(house, agent) for _ in range(5)]
    decide(house, Approve())
    where = ItemFilter(statuses=(Status.WAITING,))

    first = house.desk.items(ada, where, order=Order.URGENT, limit=3)
    second = house.desk.items(ada, where, order=Order.URGENT, limit=3, cursor=first.next_cursor)

    assert [line.id for line in (*first.rows, *second.rows)] == [status.id for status in statuses[1:]]
    assert (house.desk.count(ada, where), house.desk.count(ada, ItemFilter())) == (4, 5)


def test_what_is_past_its_time_is_not_decided_before_the_sweep_comes_by(
    either_house: Console, clock: MovableClock
) -> None:
    status = submit(either_house, expires_in=60)
    item = claim(either_house)
    clock.advance(timedelta(seconds=60))

    with pytest.raises(AlreadySettledError, match="already expired"):
        either_house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))

    assert kept(either_house, status.id).execution is Execution.NONE
    assert either_house.intake.sweep() == 1


def test_a_thread_takes_only_so_many_notes_of_both_sides(house: Console) -> None:
    agent = caller(house)
    status = submit(house, agent)
    for number in range(MAX_NOTES // 2):
        house.desk.ask(ada, status.id, f"Question {number}?")
        house.intake.add_note(agent, status.id, f"Answer {number}.")

    with pytest.raises(ThreadFullError, match="takes no more"):
        house.desk.ask(ada, status.id, "One more?")
    with pytest.raises(ThreadFullError, match="takes no more"):
        house.intake.add_note(agent, status.id, "One more.")

    assert kept(house, status.id).notes == MAX_NOTES
    assert decide(house, Approve()).status is Status.SETTLED


def test_the_next_item_is_held_ahead_but_the_last_is_left_for_others(house: Console) -> None:
    ids = [submit(house).id for _ in range(3)]

    current = claim(house)
    ahead = house.desk.claim_ahead(ada)
    again = house.desk.claim_ahead(ada)
    others = house.desk.claim(grace)
    house.desk.decide(current.id, Approve(), ada, seen=Seen.of(current))

    assert ahead is not None
    assert again == ahead
    assert others is not None
    assert [current.id, ahead.id, others.id] == ids
    assert house.desk.claim(ada) == ahead
    assert house.desk.claim_ahead(ada) is None
    assert kinds(house, ahead.id).count(EventKind.ITEM_CLAIMED) == 1


def test_who_holds_nothing_holds_nothing_ahead(house: Console) -> None:
    submit(house)
    submit(house)

    assert house.desk.claim_ahead(ada) is None


def test_what_is_held_ahead_goes_back_when_its_reviewer_leaves(house: Console) -> None:
    for _ in range(3):
        submit(house)
    current = claim(house)
    ahead = house.desk.claim_ahead(ada)
    assert ahead is not None

    house.desk.release_all(ada, but=[current.id])

    assert [item.id for item in house.desk.held(ada)] == [current.id]
    assert kept(house, ahead.id).status is Status.WAITING
    assert kinds(house, ahead.id)[-1] is EventKind.CLAIM_RELEASED
    house.desk.release_all(ada)
    house.desk.release_all(ada)
    assert house.desk.held(ada) == []
    assert kinds(house, current.id).count(EventKind.CLAIM_RELEASED) == 1


def test_what_was_passed_over_is_held_neither_now_nor_ahead(house: Console) -> None:
    ids = [submit(house).id for _ in range(5)]

    current = house.desk.claim(ada, passing_over=ids[:1])
    ahead = house.desk.claim_ahead(ada, passing_over=ids[:1])

    assert current is not None
    assert ahead is not None
    assert [current.id, ahead.id] == ids[1:3]


def test_taking_another_item_gives_back_both_that_were_held(house: Console) -> None:
    ids = [submit(house).id for _ in range(4)]
    claim(house)
    house.desk.claim_ahead(ada)

    house.desk.claim_item(ada, ids[3])

    assert [item.id for item in house.desk.held(ada)] == ids[3:]


def test_what_is_held_ahead_lapses_as_every_hold_does(house: Console, clock: MovableClock) -> None:
    for _ in range(3):
        submit(house)
    claim(house)
    ahead = house.desk.claim_ahead(ada)
    assert ahead is not None
    clock.advance(CLAIM_DURATION)

    taken = [house.desk.claim(grace), house.desk.claim_ahead(grace)]

    assert ahead.id in {item.id for item in taken if item}
    with pytest.raises(ClaimLostError):
        house.desk.decide(ahead.id, Approve(), ada, seen=Seen.of(ahead))


def test_the_same_question_again_is_one_question(house: Console) -> None:
    status = submit(house)

    for _ in range(3):
        house.desk.ask(ada, status.id, "Which order?")
    house.desk.ask(ada, status.id, "Which cup?")
    house.desk.ask(grace, status.id, "Which cup?")

    thread = house.desk.whole(ada, status.id).notes
    assert [(kept.author_name, kept.note.text) for kept in thread] == [
        (ada.name, "Which order?"),
        (ada.name, "Which cup?"),
        (grace.name, "Which cup?"),
    ]
    assert kinds(house, status.id).count(EventKind.NOTE_ADDED) == 3


def test_what_people_decided_before_stands_beside_the_next_of_the_kind(house: Console) -> None:
    other = submit(house, action=an_action(order_id="B-7"), impact=Impact(subject="order B-7"))
    decide(house, Reject(message="No such order."), reason_codes=(ReasonCode.WRONG_ARGUMENTS,))
    same = submit(house)
    decide(house, Approve())
    submit(house, action=an_action("send_letter", text="Dear customer"))
    decide(house, Approve())
    submit(house)
    now = claim(house)

    found = house.desk.precedents(ada, now)

    assert [(past.item.id, past.likeness.is_same_call, past.reason_codes) for past in found] == [
        (same.id, True, ()),
        (other.id, False, (ReasonCode.WRONG_ARGUMENTS,)),
    ]


def test_an_edit_that_python_takes_for_the_one_before_is_kept_and_runs(either_house: Console) -> None:
    either_house.save_policy(FOUR_EYES)
    agent = caller(either_house)
    status = submit(either_house, agent, action=an_action(express=0))
    decide(either_house, an_edit(express=1), ada)

    decide(either_house, an_edit(express=True), grace)
    draft = kept(either_house, status.id).draft
    decide(either_house, Approve(), ada)
    decide(either_house, Approve(), lin)

    done = kept(either_house, status.id)
    assert draft is not None
    assert draft.args["express"] is True
    assert done.permitted_digest == action_digest(TOOL, {"express": True})
    receipt = either_house.intake.status(agent, status.id).receipt or ""
    assert either_house.intake.consume(agent, status.id, receipt, {"express": True})


def test_an_edit_that_python_takes_for_the_one_made_is_another(either_house: Console) -> None:
    submit(either_house, action=an_action(express=0))
    item = claim(either_house)
    either_house.desk.decide(item.id, an_edit(express=1), ada, seen=Seen.of(item))

    with pytest.raises(AlreadySettledError):
        either_house.desk.decide(item.id, an_edit(express=True), ada, seen=Seen.of(item))
    assert either_house.desk.decide(item.id, an_edit(express=1.0), ada, seen=Seen.of(item)).status is Status.SETTLED


def test_what_a_namesake_decided_is_not_counted_as_ones_own(house: Console, clock: MovableClock) -> None:
    namesake = replace(grace, name=ada.name)
    for person, decision in ((ada, Approve()), (namesake, Approve()), (ada, Reject(message="No."))):
        submit(house)
        decide(house, decision, person)

    mine = house.desk.decided_since(ada, clock() - SECOND)

    assert {kind: count for kind, count in mine.items() if count} == {DecisionType.APPROVE: 1, DecisionType.REJECT: 1}
