"""The agents' use cases: submitting, learning the decision, consuming the receipt, telling the outcome."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from agents.canonical import action_digest
from agents.protocol import (
    Approve,
    ContextEntry,
    ContextKind,
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
from review.desk import Seen
from review.errors import (
    AlreadyConsumedError,
    AlreadySettledError,
    ClaimLostError,
    DigestMismatchError,
    IdempotencyMismatchError,
    InFlightError,
    InvalidSchemaError,
    ItemNotFoundError,
    NotPermittedError,
    NotStartedError,
    OutcomeStandsError,
    ReceiptRefusedError,
    ReviewError,
)
from review.governance import CACHE_SECONDS
from review.images import UNINSPECTABLE
from review.intake import AUDIT_LIFE, Intake, Submission
from review.items import CLAIM_DURATION, Purpose, ReasonCode
from review.lifecycle import EXPIRED_MESSAGE
from review.policy import DEFAULT_PERMIT_FOR, HOUR, Autonomy, RoutingReason, Rule
from review.signing import RECEIPT_LIFE
from tests.builders import WORKSPACE, a_request, ada, an_action, grace
from tests.clock import MovableClock
from tests.console import Console
from tests.review.steps import TOOL, a_document, an_edit, caller, claim, decide, events, items, kept, kinds, submit
from tests.waiting import PATIENCE_SECONDS

SECOND = timedelta(seconds=1)
ARGS = a_request().action.args
DENY = Rule(name="never", when="true", route=Route.DENY, reason="Not in this house.")


def test_what_the_policy_does_not_know_waits_for_a_person(either_house: Console) -> None:
    status = submit(either_house)

    assert (status.status, status.route, status.execution) == (Status.WAITING, Route.REVIEW, Execution.NONE)
    assert [reason.code for reason in status.reasons] == [RoutingReason.UNKNOWN_TOOL]
    assert (status.receipt, status.decision, status.policy_version) == (None, None, 0)
    assert status.digest == action_digest(TOOL, ARGS)


def test_a_repeat_is_answered_with_the_first_item(either_house: Console) -> None:
    agent = caller(either_house)
    first = either_house.intake.submit(agent, Submission(a_request(), "k", "body"))

    again = either_house.intake.submit(agent, Submission(a_request(), "k", "body"))

    assert (first[1], again) == (False, (first[0], True))
    assert kinds(either_house, first[0].id) == [EventKind.ACTION_SUBMITTED]
    assert len(items(either_house)) == 1


def test_a_repeat_tells_how_the_item_stands_by_now(house: Console) -> None:
    agent = caller(house)
    submit(house, agent, key="k")
    decide(house, Approve())

    again = submit(house, agent, key="k")

    assert (again.status, again.execution) == (Status.SETTLED, Execution.PERMITTED)
    assert again.receipt is not None


def test_a_key_with_another_body_is_refused_and_nothing_is_kept(either_house: Console) -> None:
    agent = caller(either_house)
    submit(either_house, agent, key="k", body="one")
    before = events(either_house)

    with pytest.raises(IdempotencyMismatchError):
        submit(either_house, agent, key="k", body="another")

    assert (len(items(either_house)), events(either_house)) == (1, before)


def test_two_agents_may_use_the_same_key(house: Console) -> None:
    first = submit(house, caller(house, "one"), key="k", body="one")

    second = submit(house, caller(house, "two"), key="k", body="another")

    assert first.id != second.id


def test_a_key_whose_first_request_has_no_answer_yet_is_in_flight(house: Console) -> None:
    is_drawing, may_go_on, answers = Event(), Event(), list[Any]()

    def draw() -> float:
        is_drawing.set()
        assert may_go_on.wait(PATIENCE_SECONDS)
        return 1.0

    house.save_policy(a_document())
    slow = Intake(house.store, house.receipts, house.policies, draw=draw)
    agent, submission = caller(house), Submission(a_request(), "k", "body")
    first = Thread(target=lambda: answers.append(slow.submit(agent, submission)))
    first.start()
    assert is_drawing.wait(PATIENCE_SECONDS)

    with pytest.raises(InFlightError):
        slow.submit(agent, submission)

    may_go_on.set()
    first.join(PATIENCE_SECONDS)
    assert slow.submit(agent, submission) == (answers[0][0], True)
    assert len(items(house)) == 1


def test_a_key_of_a_refused_submission_is_free_again(house: Console) -> None:
    agent = caller(house)
    with pytest.raises(InvalidSchemaError):
        submit(house, agent, key="k", args_schema={"type": "nonsense"})

    status = submit(house, agent, key="k")

    assert status.status is Status.WAITING


def test_what_the_policy_lets_run_is_permitted_at_once(either_house: Console) -> None:
    either_house.save_policy(a_document())
    agent = caller(either_house)

    status = submit(either_house, agent)

    assert (status.route, status.status, status.execution) == (Route.EXECUTE, Status.SETTLED, Execution.PERMITTED)
    assert status.receipt is not None
    assert either_house.intake.consume(agent, status.id, status.receipt, ARGS).execution is Execution.STARTED
    assert either_house.desk.claim(ada) is None
    assert kinds(either_house, status.id) == [EventKind.ACTION_SUBMITTED, EventKind.RECEIPT_CONSUMED]


def test_a_receipt_of_the_policy_names_no_reviewers(house: Console) -> None:
    house.save_policy(a_document())
    agent = caller(house)
    status = submit(house, agent)

    claims = house.receipts.recognise(
        status.receipt or "", workspace="default", agent=agent.agent, item_id=status.id, now=status.submitted_at
    )

    assert (claims.reviewers, claims.quorum, claims.policy_version) == ((), 0, 1)


@pytest.mark.parametrize(
    ("message", "codes", "told"),
    [
        (None, (ReasonCode.NOT_ALLOWED,), "Not allowed."),
        ("", (ReasonCode.WRONG_ARGUMENTS, ReasonCode.TONE), "Wrong arguments, tone."),
        ("Ask first.", (ReasonCode.NOT_ALLOWED,), "Ask first."),
    ],
)
def test_the_agent_is_told_the_reasons_of_a_rejection_without_a_message(
    either_house: Console, message: str | None, codes: tuple[ReasonCode, ...], told: str
) -> None:
    agent = caller(either_house)
    filed = submit(either_house, agent)
    decide(either_house, Reject(message=message), reason_codes=codes)

    status = either_house.intake.status(agent, filed.id)

    assert status.decision == Reject(message=told)
    assert either_house.intake.statuses(agent, status=None, limit=5).items[0].decision == Reject(message=told)
    (record,) = either_house.store.read(lambda tx: tx.decisions_of(WORKSPACE, filed.id))
    assert record.decision == Reject(message=message)


def test_what_the_policy_denies_is_rejected_at_once_and_never_permitted(house: Console) -> None:
    house.save_policy(a_document(Autonomy.AUTONOMOUS, DENY))
    agent = caller(house)

    status = submit(house, agent)

    assert (status.route, status.status, status.execution) == (Route.DENY, Status.SETTLED, Execution.NONE)
    assert (status.decision, status.receipt) == (Reject(message="Not in this house."), None)
    assert house.desk.claim(ada) is None
    with pytest.raises(NotPermittedError):
        house.intake.consume(agent, status.id, "any", ARGS)


def test_what_is_drawn_runs_and_is_also_looked_at(either_house: Console) -> None:
    either_house.save_policy(a_document())
    drawn = Intake(either_house.store, either_house.receipts, either_house.policies, draw=lambda: 0.0499)
    agent = caller(either_house)

    status, _ = drawn.submit(agent, Submission(a_request(), "k", "body"))

    assert (status.execution, status.receipt is None) == (Execution.PERMITTED, False)
    look = claim(either_house)
    assert (look.purpose, look.parent_id, look.execution) == (Purpose.AUDIT, status.id, Execution.NONE)
    assert (look.request, look.digest, look.receipt, look.jti) == (a_request(), status.digest, None, None)
    assert kinds(either_house, look.id) == [EventKind.AUDIT_QUEUED, EventKind.ITEM_CLAIMED]


def test_what_is_not_drawn_is_not_looked_at(house: Console) -> None:
    house.save_policy(a_document())
    at_the_rate = Intake(house.store, house.receipts, house.policies, draw=lambda: 0.05)

    at_the_rate.submit(caller(house), Submission(a_request(), "k", "body"))

    assert house.desk.claim(ada) is None


@pytest.mark.parametrize("decision", [Approve(), an_edit(order_id="B-2"), Reject(message="no"), Respond(message="hm")])
def test_a_look_afterwards_is_labelled_but_never_permits_anything(house: Console, decision: Any) -> None:  # noqa: ANN401 -- any of the four decisions
    house.save_policy(a_document())
    drawn = Intake(house.store, house.receipts, house.policies, draw=lambda: 0.0)
    drawn.submit(caller(house), Submission(a_request(), "k", "body"))

    done = decide(house, decision)

    assert (done.status, done.execution) == (Status.SETTLED, Execution.NONE)
    assert (done.jti, done.receipt, done.permitted_digest) == (None, None, None)
    labels = list(house.records.labels(house.person))
    assert [(label.purpose, label.decision) for label in labels] == [(Purpose.AUDIT, decision.type)]


def test_an_agent_does_not_learn_of_looks_at_its_actions(house: Console) -> None:
    house.save_policy(a_document())
    drawn = Intake(house.store, house.receipts, house.policies, draw=lambda: 0.0)
    agent = caller(house)
    status, _ = drawn.submit(agent, Submission(a_request(), "k", "body"))
    look = claim(house)

    listed = house.intake.statuses(agent, status=None, limit=10)

    assert [item.id for item in listed.items] == [status.id]
    with pytest.raises(ItemNotFoundError):
        house.intake.status(agent, look.id)
    with pytest.raises(ItemNotFoundError):
        house.intake.cancel(agent, look.id)


def test_only_what_runs_unseen_is_drawn(house: Console) -> None:
    drawn = Intake(house.store, house.receipts, house.policies, draw=lambda: 0.0)

    drawn.submit(caller(house), Submission(a_request(), "k", "body"))

    assert [item.purpose for item in items(house)] == [Purpose.GATE]


def test_arguments_that_do_not_fit_the_declared_schema_bring_a_person(house: Console) -> None:
    house.save_policy(a_document())
    schema = {"type": "object", "properties": {"amount": {"type": "number"}}}

    status = submit(house, args_schema=schema)

    assert status.route is Route.REVIEW
    assert [reason.code for reason in status.reasons] == [RoutingReason.INVALID_ARGS]


def test_a_schema_once_declared_holds_for_later_submissions(either_house: Console) -> None:
    either_house.save_policy(a_document())
    agent = caller(either_house)
    submit(either_house, agent, args_schema={"properties": {"amount": {"type": "string"}}})
    restarted = Console(either_house.store)

    answers = [submit(each, agent, action=an_action(amount=3)) for each in (either_house, restarted)]

    assert [[reason.code for reason in answer.reasons] for answer in answers] == [[RoutingReason.INVALID_ARGS]] * 2


def test_a_tool_keeps_the_schema_declared_last(house: Console) -> None:
    agent = caller(house)
    submit(house, agent, args_schema={"required": ["a"]})
    submit(house, agent)
    submit(house, agent, args_schema={"required": ["b"]})

    tools = house.keys.overview(house.person)[2]

    assert [(tool.name, tool.args_schema) for tool in tools] == [(TOOL, {"required": ["b"]})]


def test_a_schema_that_python_takes_for_the_one_before_is_kept(either_house: Console) -> None:
    agent = caller(either_house)
    submit(either_house, agent, args_schema={"properties": {"express": {"const": 1}}})
    submit(either_house, agent, args_schema={"properties": {"express": {"const": True}}})

    tools = either_house.keys.overview(either_house.person)[2]

    assert [str(tool.args_schema) for tool in tools] == ["{'properties': {'express': {'const': True}}}"]


def test_a_replayed_submission_does_not_bring_its_old_schema_back(house: Console) -> None:
    house.save_policy(a_document())
    agent = caller(house)
    submit(house, agent, key="old", args_schema={"required": ["nothing"]})
    submit(house, agent, args_schema={"required": ["order_id"]})

    submit(house, agent, key="old", args_schema={"required": ["nothing"]})
    status = submit(house, agent)

    assert status.route is Route.EXECUTE


def test_a_first_submission_without_a_schema_does_not_hide_the_one_declared_meanwhile(house: Console) -> None:
    house.save_policy(a_document())
    agent, slow = caller(house), Intake(house.store, house.receipts, house.policies, draw=lambda: 1.0)
    overtaken = slow._filing(agent, Submission(a_request(), "slow", "body"))  # noqa: SLF001 -- between its two steps
    submit(house, agent, args_schema={"required": ["nothing"]})
    slow._told(overtaken, house.store.write(overtaken.work))  # noqa: SLF001 -- its second step

    status, _ = slow.submit(agent, Submission(a_request(), "later", "body"))

    assert [reason.code for reason in status.reasons] == [RoutingReason.INVALID_ARGS]


def test_a_schema_declared_through_another_process_is_learnt(house: Console) -> None:
    house.save_policy(a_document())
    agent, other = caller(house), Intake(house.store, house.receipts, house.policies, draw=lambda: 1.0)
    submit(house, agent)
    submit(house, agent)
    other.submit(agent, Submission(a_request(args_schema={"required": ["nothing"]}), "k", "body"))

    Event().wait(CACHE_SECONDS + 0.1)
    status = submit(house, agent)

    assert [reason.code for reason in status.reasons] == [RoutingReason.INVALID_ARGS]


def test_only_so_many_tools_are_remembered(house: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("review.intake._TOOLS_REMEMBERED", 3)
    agent = caller(house)

    for number in range(8):
        for _ in range(2):
            submit(house, agent, action=an_action(f"tool{number}"), args_schema={"required": ["a"]})

    assert 1 <= len(house.intake._tools) <= 3  # noqa: SLF001 -- what is remembered shows nowhere else


def test_a_picture_that_cannot_be_decoded_is_marked_uninspectable(house: Console) -> None:
    picture = ContextEntry(kind=ContextKind.IMAGE, content="bm90IGEgcGljdHVyZQ==", media_type="image/png")

    status = submit(house, context=(picture,))

    assert kept(house, status.id).request.context[0].media_type == UNINSPECTABLE


def test_an_approval_permits_exactly_what_was_proposed(either_house: Console) -> None:
    agent = caller(either_house)
    status = submit(either_house, agent)
    decide(either_house, Approve())

    answer = either_house.intake.status(agent, status.id)

    assert (answer.status, answer.execution, answer.decision) == (Status.SETTLED, Execution.PERMITTED, Approve())
    begun = either_house.intake.consume(agent, status.id, answer.receipt or "", ARGS)
    assert (begun.execution, begun.receipt) == (Execution.STARTED, None)


def test_an_edit_permits_the_edited_arguments_and_not_the_proposed_ones(either_house: Console) -> None:
    agent = caller(either_house)
    status = submit(either_house, agent)
    decide(either_house, an_edit(amount="9.90"))
    receipt = either_house.intake.status(agent, status.id).receipt or ""

    with pytest.raises(DigestMismatchError):
        either_house.intake.consume(agent, status.id, receipt, ARGS)

    assert either_house.intake.consume(agent, status.id, receipt, {"amount": "9.90"}).execution is Execution.STARTED


@pytest.mark.parametrize("decision", [Reject(message="no"), Respond(message="Ask the customer first.")])
def test_what_is_rejected_or_answered_is_never_permitted(house: Console, decision: Any) -> None:  # noqa: ANN401 -- either decision
    agent = caller(house)
    status = submit(house, agent)
    decide(house, decision)

    answer = house.intake.status(agent, status.id)

    assert (answer.status, answer.execution, answer.receipt) == (Status.SETTLED, Execution.NONE, None)
    assert answer.decision == decision
    with pytest.raises(NotPermittedError):
        house.intake.consume(agent, status.id, "any", ARGS)


def test_a_receipt_is_good_once(either_house: Console) -> None:
    agent, status = permitted(either_house)
    either_house.intake.consume(agent, status.id, status.receipt or "", ARGS)
    before = events(either_house)

    with pytest.raises(AlreadyConsumedError):
        either_house.intake.consume(agent, status.id, status.receipt or "", ARGS)

    assert events(either_house) == before


def test_a_receipt_is_renewed_while_the_permission_lasts(house: Console, clock: MovableClock) -> None:
    agent, status = permitted(house)
    clock.advance(RECEIPT_LIFE)
    with pytest.raises(ReceiptRefusedError, match="expired"):
        house.intake.consume(agent, status.id, status.receipt or "", ARGS)

    fresh = house.intake.status(agent, status.id).receipt

    assert fresh not in (None, status.receipt)
    assert house.intake.consume(agent, status.id, fresh or "", ARGS).execution is Execution.STARTED


def test_a_permission_that_is_over_is_neither_renewed_nor_consumed(house: Console, clock: MovableClock) -> None:
    agent, status = permitted(house)
    clock.advance(timedelta(seconds=DEFAULT_PERMIT_FOR) - SECOND)
    last = house.intake.status(agent, status.id).receipt
    clock.advance(SECOND)

    after = house.intake.status(agent, status.id)

    assert last is not None
    assert (after.execution, after.receipt) == (Execution.PERMITTED, None)
    with pytest.raises(ReceiptRefusedError):
        house.intake.consume(agent, status.id, last, ARGS)


def test_both_the_first_and_the_renewed_receipt_together_are_good_once(house: Console, clock: MovableClock) -> None:
    agent, status = permitted(house)
    clock.advance(RECEIPT_LIFE / 2 + SECOND)
    fresh = house.intake.status(agent, status.id).receipt or ""
    house.intake.consume(agent, status.id, status.receipt or "", ARGS)

    with pytest.raises(AlreadyConsumedError):
        house.intake.consume(agent, status.id, fresh, ARGS)


def test_a_receipt_of_another_item_is_refused(house: Console) -> None:
    agent, first = permitted(house)
    _, second = permitted(house, agent)

    with pytest.raises(ReceiptRefusedError, match="another item"):
        house.intake.consume(agent, first.id, second.receipt or "", ARGS)


def test_what_the_policy_permits_counts_when_the_decision_is_made(house: Console) -> None:
    agent = caller(house)
    status = submit(house, agent)
    house.save_policy(a_document(Autonomy.SHADOW))

    decide(house, Approve())

    assert house.intake.status(agent, status.id).execution is Execution.NONE


def test_a_decision_long_after_the_last_look_at_the_policy_stands(either_house: Console) -> None:
    submit(either_house)
    item = claim(either_house)
    Event().wait(CACHE_SECONDS + 0.1)

    done = either_house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))

    assert done.execution is Execution.PERMITTED


OUTCOMES: list[tuple[list[OutcomeStatus], Execution]] = [
    ([OutcomeStatus.SUCCEEDED], Execution.SUCCEEDED),
    ([OutcomeStatus.FAILED], Execution.FAILED),
    ([OutcomeStatus.UNKNOWN], Execution.UNKNOWN),
    ([OutcomeStatus.UNKNOWN, OutcomeStatus.SUCCEEDED], Execution.SUCCEEDED),
    ([OutcomeStatus.UNKNOWN, OutcomeStatus.FAILED], Execution.FAILED),
    ([OutcomeStatus.SUCCEEDED, OutcomeStatus.SUCCEEDED], Execution.SUCCEEDED),
]


@pytest.mark.parametrize(("reports", "execution"), OUTCOMES)
def test_an_outcome_is_kept_once(house: Console, reports: list[OutcomeStatus], execution: Execution) -> None:
    agent, status = started(house)

    for report in reports:
        answer = house.intake.report_outcome(agent, status.id, Outcome(status=report))

    assert answer.execution is execution
    assert kinds(house, status.id).count(EventKind.OUTCOME_REPORTED) == len(set(reports))


@pytest.mark.parametrize("stands", [OutcomeStatus.SUCCEEDED, OutcomeStatus.FAILED])
@pytest.mark.parametrize("told", list(OutcomeStatus))
def test_a_known_outcome_stands(house: Console, stands: OutcomeStatus, told: OutcomeStatus) -> None:
    agent, status = started(house)
    house.intake.report_outcome(agent, status.id, Outcome(status=stands))

    with pytest.raises(OutcomeStandsError):
        house.intake.report_outcome(agent, status.id, Outcome(status=told, result="another"))

    assert kept(house, status.id).outcome == Outcome(status=stands)


def test_what_never_started_has_no_outcome(house: Console) -> None:
    agent, permitted_one = permitted(house)
    waiting = submit(house, agent)

    for status in (permitted_one, waiting):
        with pytest.raises(NotStartedError):
            house.intake.report_outcome(agent, status.id, Outcome(status=OutcomeStatus.SUCCEEDED))


def test_a_withdrawn_item_is_out_of_the_queue_and_stays_withdrawn(either_house: Console) -> None:
    agent = caller(either_house)
    status = submit(either_house, agent)
    first = either_house.intake.cancel(agent, status.id)

    again = either_house.intake.cancel(agent, status.id)

    assert (first.status, again) == (Status.CANCELLED, first)
    assert either_house.desk.claim(ada) is None
    assert kinds(either_house, status.id) == [EventKind.ACTION_SUBMITTED, EventKind.ITEM_CANCELLED]


def test_withdrawing_frees_the_reviewer_whose_decision_is_then_refused(house: Console) -> None:
    agent = caller(house)
    status = submit(house, agent)
    item = claim(house)
    house.intake.cancel(agent, status.id)

    with pytest.raises(AlreadySettledError, match="cancelled"):
        house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))

    assert (house.desk.claim(ada), kept(house, item.id).execution) == (None, Execution.NONE)


def test_what_is_settled_cannot_be_withdrawn_or_noted(house: Console) -> None:
    agent, status = permitted(house)

    with pytest.raises(AlreadySettledError):
        house.intake.cancel(agent, status.id)
    with pytest.raises(AlreadySettledError):
        house.intake.add_note(agent, status.id, "too late")


def test_the_thread_is_told_to_both_sides_in_order(either_house: Console) -> None:
    agent = caller(either_house)
    status = submit(either_house, agent)
    either_house.desk.ask(ada, status.id, "Which order?")

    answer = either_house.intake.add_note(agent, status.id, "Order A-1001.")

    thread = [("reviewer", "Which order?"), ("agent", "Order A-1001.")]
    assert [(note.author, note.text) for note in answer.notes] == thread
    whole = either_house.desk.whole(ada, status.id)
    assert [(kept.note.author, kept.note.text) for kept in whole.notes] == thread
    assert [kept.author_name for kept in whole.notes] == [ada.name, agent.agent]


ON_ANOTHERS: dict[str, Callable[[Console, Any, Any], object]] = {
    "status": lambda house, agent, item: house.intake.status(agent, item),
    "cancel": lambda house, agent, item: house.intake.cancel(agent, item),
    "note": lambda house, agent, item: house.intake.add_note(agent, item, "hello"),
    "consume": lambda house, agent, item: house.intake.consume(agent, item, "any", ARGS),
    "outcome": lambda house, agent, item: house.intake.report_outcome(
        agent, item, Outcome(status=OutcomeStatus.FAILED)
    ),
}


@pytest.mark.parametrize("asked", list(ON_ANOTHERS))
def test_another_agents_item_is_as_unknown_as_none(house: Console, asked: str) -> None:
    status = submit(house, caller(house, "one"))
    other, before = caller(house, "two"), kept(house, status.id)

    for item_id in (status.id, uuid7()):
        with pytest.raises(ItemNotFoundError):
            ON_ANOTHERS[asked](house, other, item_id)

    assert kept(house, status.id) == before


def test_another_workspaces_item_is_unknown(house: Console) -> None:
    agent = caller(house)
    status = submit(house, agent)

    with pytest.raises(ItemNotFoundError):
        house.intake.status(replace(agent, workspace="elsewhere"), status.id)


def test_items_are_listed_newest_first_in_pages(house: Console) -> None:
    agent = caller(house)
    ids = [submit(house, agent).id for _ in range(5)]
    house.intake.cancel(agent, ids[0])
    submit(house, caller(house, "another"))

    first = house.intake.statuses(agent, status=Status.WAITING, limit=3)
    second = house.intake.statuses(agent, status=Status.WAITING, limit=3, cursor=first.next_cursor)

    assert [item.id for item in (*first.items, *second.items)] == ids[:0:-1]
    assert second.next_cursor is None


def test_a_lapsed_claim_is_swept_back_into_the_queue(either_house: Console, clock: MovableClock) -> None:
    status = submit(either_house)
    item = claim(either_house)
    clock.advance(CLAIM_DURATION - SECOND)
    assert either_house.intake.sweep() == 0
    clock.advance(SECOND)

    moved = either_house.intake.sweep()

    assert (moved, kept(either_house, status.id).status) == (1, Status.WAITING)
    assert kinds(either_house, status.id)[-1] is EventKind.CLAIM_LAPSED
    with pytest.raises(ClaimLostError):
        either_house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))


def test_what_nobody_decided_in_time_is_rejected(either_house: Console, clock: MovableClock) -> None:
    agent = caller(either_house)
    status = submit(either_house, agent, expires_in=60)
    clock.advance(timedelta(seconds=59))
    assert either_house.intake.sweep() == 0
    clock.advance(SECOND)

    moved = either_house.intake.sweep()

    answer = either_house.intake.status(agent, status.id)
    assert (moved, answer.status, answer.execution) == (1, Status.EXPIRED, Execution.NONE)
    assert answer.decision == Reject(message=EXPIRED_MESSAGE)
    assert kinds(either_house, status.id) == [EventKind.ACTION_SUBMITTED, EventKind.ITEM_EXPIRED]
    assert either_house.intake.sweep() == 0


def test_what_is_claimed_expires_too(house: Console, clock: MovableClock) -> None:
    submit(house, expires_in=60)
    item = claim(house)
    clock.advance(timedelta(seconds=60))

    house.intake.sweep()

    with pytest.raises(AlreadySettledError, match="expired"):
        house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))
    assert kept(house, item.id).claim is None


def test_a_claim_that_lapsed_on_an_overdue_item_leaves_both_marks(house: Console, clock: MovableClock) -> None:
    status = submit(house, expires_in=60)
    claim(house)
    clock.advance(CLAIM_DURATION)

    house.intake.sweep()

    assert kinds(house, status.id)[-2:] == [EventKind.CLAIM_LAPSED, EventKind.ITEM_EXPIRED]


def test_silence_approves_only_where_policy_and_agent_say_so(either_house: Console, clock: MovableClock) -> None:
    either_house.save_policy(a_document(Autonomy.SUPERVISED, approve_on_expiry=True))
    agent = caller(either_house)
    asked = submit(either_house, agent, on_expiry=OnExpiry.APPROVE)
    not_asked = submit(either_house, agent)
    clock.advance(timedelta(hours=24))

    either_house.intake.sweep()

    approved, rejected = (either_house.intake.status(agent, status.id) for status in (asked, not_asked))
    assert (approved.status, approved.execution, approved.decision) == (
        Status.SETTLED,
        Execution.PERMITTED,
        Approve(),
    )
    assert either_house.intake.consume(agent, approved.id, approved.receipt or "", ARGS)
    assert (rejected.status, rejected.receipt) == (Status.EXPIRED, None)


REFUSED_SILENCE: dict[str, tuple[Any, dict[str, Any]]] = {
    "the policy does not permit it": (a_document(Autonomy.SUPERVISED), {}),
    "the tool is unknown": (a_document(Autonomy.SUPERVISED, approve_on_expiry=True), {"action": an_action("other")}),
    "the tool is in shadow": (a_document(Autonomy.SHADOW, approve_on_expiry=True), {}),
    "a rule wants a person": (
        a_document(Autonomy.SUPERVISED, Rule(name="r", when="true", route=Route.REVIEW), approve_on_expiry=True),
        {},
    ),
    "the arguments do not fit": (
        a_document(Autonomy.SUPERVISED, approve_on_expiry=True),
        {"args_schema": {"required": ["nothing"]}},
    ),
    "people had less than the usual time": (
        a_document(Autonomy.SUPERVISED, approve_on_expiry=True),
        {"expires_in": 24 * HOUR - 1},
    ),
}


@pytest.mark.parametrize("case", list(REFUSED_SILENCE))
def test_silence_does_not_approve_otherwise(house: Console, clock: MovableClock, case: str) -> None:
    document, fields = REFUSED_SILENCE[case]
    house.save_policy(document)
    agent = caller(house)
    status = submit(house, agent, on_expiry=OnExpiry.APPROVE, **fields)
    clock.advance(timedelta(hours=24))

    house.intake.sweep()

    answer = house.intake.status(agent, status.id)
    assert (answer.status, answer.execution) == (Status.EXPIRED, Execution.NONE)


def _asks(house: Console, _: MovableClock) -> None:
    item = claim(house)
    house.desk.ask(ada, item.id, "Is this the right customer?")
    house.desk.release(ada, item.id, epoch=item.epoch)


def _holds(house: Console, clock: MovableClock) -> None:
    clock.advance(timedelta(hours=24) - CLAIM_DURATION / 2)
    claim(house)


@pytest.mark.parametrize("break_silence", [_asks, _holds])
@pytest.mark.parametrize("late", [timedelta(0), timedelta(hours=1)])
def test_what_a_person_held_up_is_not_silence(
    either_house: Console,
    clock: MovableClock,
    break_silence: Callable[[Console, MovableClock], None],
    late: timedelta,
) -> None:
    either_house.save_policy(a_document(Autonomy.SUPERVISED, approve_on_expiry=True))
    status = submit(either_house, on_expiry=OnExpiry.APPROVE)
    break_silence(either_house, clock)
    clock.advance(status.expires_at + late - clock())

    either_house.intake.sweep()

    item = kept(either_house, status.id)
    assert (item.status, item.execution) == (Status.EXPIRED, Execution.NONE)
    assert item.claim is None


def test_what_was_held_to_its_end_is_not_freed_by_who_comes_before_the_sweep(
    either_house: Console, clock: MovableClock
) -> None:
    either_house.save_policy(a_document(Autonomy.SUPERVISED, approve_on_expiry=True))
    status = submit(either_house, on_expiry=OnExpiry.APPROVE)
    _holds(either_house, clock)
    clock.advance(timedelta(hours=1))

    assert either_house.desk.claim(grace) is None
    moved = either_house.intake.sweep()

    assert kept(either_house, status.id).status is Status.EXPIRED
    assert (moved, kinds(either_house, status.id)[-2:]) == (2, [EventKind.CLAIM_LAPSED, EventKind.ITEM_EXPIRED])


def test_an_answered_question_leaves_silence_to_approve(house: Console, clock: MovableClock) -> None:
    house.save_policy(a_document(Autonomy.SUPERVISED, approve_on_expiry=True))
    agent = caller(house)
    status = submit(house, agent, on_expiry=OnExpiry.APPROVE)
    _asks(house, clock)
    house.intake.add_note(agent, status.id, "It is.")
    clock.advance(timedelta(hours=24))

    house.intake.sweep()

    assert kept(house, status.id).execution is Execution.PERMITTED


def test_what_silence_approved_is_drawn_for_a_look_afterwards(either_house: Console, clock: MovableClock) -> None:
    either_house.save_policy(a_document(Autonomy.SUPERVISED, approve_on_expiry=True))
    status = submit(either_house, on_expiry=OnExpiry.APPROVE)
    claim(either_house)
    clock.advance(timedelta(hours=24))

    Intake(either_house.store, either_house.receipts, either_house.policies, draw=lambda: 0.0).sweep()

    look = claim(either_house)
    assert (look.purpose, look.parent_id, look.epoch, look.receipt) == (Purpose.AUDIT, status.id, 1, None)
    assert kept(either_house, status.id).execution is Execution.PERMITTED


def test_a_look_afterwards_that_nobody_takes_says_nothing_of_what_ran(house: Console, clock: MovableClock) -> None:
    two_people = Rule(name="r", when="true", route=Route.EXECUTE, quorum=2)
    house.save_policy(a_document(Autonomy.AUTONOMOUS, two_people))
    drawing = Intake(house.store, house.receipts, house.policies, draw=lambda: 0.0)
    drawing.submit(caller(house), Submission(a_request(), "k", "body"))
    (look,) = items(house, purpose=Purpose.AUDIT)
    clock.advance(AUDIT_LIFE)

    house.intake.sweep()

    assert look.quorum == 1
    assert (kept(house, look.id).status, kept(house, look.id).decision) == (Status.EXPIRED, None)


def test_an_edit_that_awaits_approvals_is_never_approved_by_silence(house: Console, clock: MovableClock) -> None:
    four_eyes = Rule(name="r", when="true", route=Route.REVIEW, quorum=2)
    house.save_policy(a_document(Autonomy.SUPERVISED, four_eyes, approve_on_expiry=True))
    status = submit(house, on_expiry=OnExpiry.APPROVE)
    decide(house, an_edit(amount="1.00"))
    clock.advance(timedelta(hours=24))

    house.intake.sweep()

    assert (kept(house, status.id).status, kept(house, status.id).jti) == (Status.EXPIRED, None)


def test_an_item_lives_as_long_as_the_policy_says_unless_the_agent_says(house: Console) -> None:
    usual, short = submit(house), submit(house, expires_in=90)

    lives = [status.expires_at - status.submitted_at for status in (usual, short)]

    assert lives == [timedelta(hours=24), timedelta(seconds=90)]
    assert kept(house, short.id).due_at == short.expires_at
    assert kept(house, usual.id).due_at - usual.submitted_at == timedelta(seconds=4 * HOUR)


def test_no_refusal_leaves_anything_behind(house: Console) -> None:
    agent, status = permitted(house)
    before, item = events(house), kept(house, status.id)
    refusals: list[Callable[[], object]] = [
        lambda: house.intake.consume(agent, status.id, "not a receipt", ARGS),
        lambda: house.intake.consume(agent, status.id, status.receipt or "", {**ARGS, "amount": "50.00"}),
        lambda: house.intake.cancel(agent, status.id),
        lambda: house.desk.claim_item(grace, status.id),
    ]

    for refusal in refusals:
        with pytest.raises(ReviewError):
            refusal()

    assert (events(house), kept(house, status.id)) == (before, item)


def permitted(house: Console, agent: Any = None) -> tuple[Any, Any]:  # noqa: ANN401 -- an AgentKey or none
    """Return an agent and its item, which Ada approved."""
    agent = agent or caller(house)
    status = submit(house, agent)
    decide(house, Approve())
    return agent, house.intake.status(agent, status.id)


def started(house: Console) -> tuple[Any, Any]:
    """Return an agent and its item, whose receipt is consumed."""
    agent, status = permitted(house)
    return agent, house.intake.consume(agent, status.id, status.receipt or "", ARGS)


@pytest.mark.parametrize(("length", "is_quick"), [(4_096, True), (4_097, False)])
def test_a_long_context_is_not_searched_where_everybody_waits(house: Console, length: int, *, is_quick: bool) -> None:
    agent = caller(house)
    house.save_policy(a_document())
    request = a_request(context=(ContextEntry(kind=ContextKind.DOCUMENT, content="x" * length),))
    submit(house, agent)

    def is_at_hand() -> bool:
        submit(house, agent)
        return house.intake._is_at_hand(agent, request)  # noqa: SLF001 -- on which thread it is done shows nowhere else

    # What the submission looked up is at hand for a second, and a busy machine may take longer to ask.
    assert any(is_at_hand() for _ in range(10)) is is_quick
