"""Loops: a call that is proposed again after people rejected it never runs by itself."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event
from uuid_utils.compat import uuid7

from agents.protocol import ActionStatus, Approve, Reject, Respond, Route, Run, Status
from review.audit import EventKind
from review.errors import IdempotencyMismatchError
from review.intake import Intake, Submission, request_hash, signals_of
from review.items import Purpose
from review.people import AgentKey
from review.policy import Autonomy, PolicyDocument, Rule, compiled, preview
from tests.builders import a_request, ada, an_action
from tests.clock import MovableClock
from tests.console import Console
from tests.review.steps import a_document, an_edit, caller, decide, events, items, kept, submit

NO = Reject(message="Not for this client.")
SUPERVISED = a_document(Autonomy.SUPERVISED)
DENY_THIRD = Rule(name="third time", when="rejections >= 2", route=Route.DENY, reason="Rejected twice already.")


def rejected(house: Console, agent: AgentKey, decision: Any = NO, **fields: Any) -> ActionStatus:  # noqa: ANN401 -- any decision, and the request's fields
    """Have a call come before a person, who decides it."""
    before = house.policies.in_force(ada.workspace).document
    house.save_policy(SUPERVISED)
    status = submit(house, agent, **fields)
    decide(house, decision)
    house.save_policy(before)
    return status


def codes(status: ActionStatus) -> list[str]:
    return [reason.code for reason in status.reasons]


def test_a_call_that_was_rejected_is_reviewed_when_it_comes_again(either_house: Console) -> None:
    either_house.save_policy(a_document())
    agent = caller(either_house)
    first = rejected(either_house, agent)

    again = submit(either_house, agent)

    assert (again.route, again.status, codes(again)) == (Route.REVIEW, Status.WAITING, ["repeated_after_rejection"])
    item = kept(either_house, again.id)
    assert (item.repeats_id, item.rejections) == (first.id, 1)
    assert events(either_house, again.id)[0].data["repeats"] == str(first.id)


def test_the_second_and_third_time_are_counted_and_linked_to_the_latest(
    either_house: Console, clock: MovableClock
) -> None:
    either_house.save_policy(a_document())
    agent = caller(either_house)
    rejected(either_house, agent)
    clock.advance(timedelta(minutes=1))
    second = submit(either_house, agent)
    decide(either_house, NO)

    third = submit(either_house, agent)

    item = kept(either_house, third.id)
    assert (item.repeats_id, item.rejections) == (second.id, 2)
    assert "twice before" in third.reasons[0].text
    assert either_house.desk.whole(ada, third.id).repeated[0].decision == NO


def test_no_rule_lets_a_repeated_call_run(house: Console) -> None:
    agent = caller(house)
    house.save_policy(a_document(Autonomy.AUTONOMOUS, Rule(name="let it", when="true", route=Route.EXECUTE)))
    rejected(house, agent)

    again = submit(house, agent)

    assert (again.route, codes(again)) == (Route.REVIEW, ["repeated_after_rejection"])


def test_a_policy_may_deny_a_call_that_was_rejected_twice(house: Console) -> None:
    agent = caller(house)
    house.save_policy(a_document(Autonomy.AUTONOMOUS, DENY_THIRD))
    rejected(house, agent)
    second = submit(house, agent)
    decide(house, NO)

    third = submit(house, agent)
    fourth = submit(house, agent)

    assert second.route is Route.REVIEW
    assert [(status.route, codes(status)) for status in (third, fourth)] == [
        (Route.DENY, ["rule", "repeated_after_rejection"])
    ] * 2
    # What the policy denies is no rejection by a person, and is not counted as one.
    assert [kept(house, status.id).rejections for status in (third, fourth)] == [2, 2]
    assert kept(house, fourth.id).repeats_id == second.id


@pytest.mark.parametrize(
    "fields",
    [
        {"action": an_action(order_id="A-1002")},
        {"action": an_action("send_letter")},
        {"run": Run(thread_id="another")},
    ],
    ids=["other arguments", "another tool", "another thread"],
)
def test_another_call_is_no_repeat(house: Console, fields: dict[str, Any]) -> None:
    agent = caller(house)
    rejected(house, agent, run=Run(thread_id="one"))

    other = submit(house, agent, **({"run": Run(thread_id="one")} | fields))

    assert (kept(house, other.id).repeats_id, kept(house, other.id).rejections) == (None, 0)


@pytest.mark.parametrize(
    ("was", "comes", "is_repeat"),
    [("one", "one", True), ("one", None, True), (None, None, True), (None, "one", False), ("one", "two", False)],
)
def test_a_call_that_names_its_thread_repeats_only_what_was_rejected_there(
    house: Console,
    was: str | None,
    comes: str | None,
    is_repeat: bool,  # noqa: FBT001 -- a case of the table
) -> None:
    agent = caller(house)
    rejected(house, agent, run=Run(thread_id=was))

    status = submit(house, agent, run=Run(thread_id=comes))

    assert bool(kept(house, status.id).rejections) is is_repeat


def test_another_agents_rejection_is_not_this_agents(house: Console) -> None:
    rejected(house, caller(house, "one"))

    status = submit(house, caller(house, "two"))

    assert kept(house, status.id).rejections == 0


@pytest.mark.parametrize("decision", [Approve(), Respond(message="Done by hand."), an_edit(order_id="B-2")])
def test_what_was_not_rejected_may_come_again(house: Console, decision: Any) -> None:  # noqa: ANN401 -- any decision
    house.save_policy(a_document())
    agent = caller(house)
    rejected(house, agent, decision)

    again = submit(house, agent)

    assert again.route is Route.EXECUTE


def test_neither_the_policys_denials_nor_expired_items_count(house: Console, clock: MovableClock) -> None:
    agent = caller(house)
    submit(house, agent, expires_in=1)
    clock.advance(timedelta(seconds=1))
    house.intake.sweep()
    house.save_policy(a_document(Autonomy.AUTONOMOUS, Rule(name="never", when="true", route=Route.DENY)))
    submit(house, agent)
    house.save_policy(a_document())

    status = submit(house, agent)

    assert status.route is Route.EXECUTE


def test_a_look_afterwards_is_no_rejection_and_its_copy_keeps_working(house: Console) -> None:
    house.save_policy(a_document())
    agent = caller(house)
    drawn = Intake(house.store, house.receipts, house.policies, draw=lambda: 0.0)
    drawn.submit(agent, Submission(a_request(), "k", "body"))
    (look,) = items(house, purpose=Purpose.AUDIT)
    decide(house, NO)

    again = submit(house, agent)

    assert kept(house, look.id).status is Status.SETTLED
    assert again.route is Route.EXECUTE


def test_a_repeat_is_never_drawn_for_the_audit_slice(house: Console) -> None:
    house.save_policy(a_document())
    agent = caller(house)
    rejected(house, agent)
    drawn = Intake(house.store, house.receipts, house.policies, draw=lambda: 0.0)

    status, _ = drawn.submit(agent, Submission(a_request(), "k", "body"))

    assert status.route is Route.REVIEW
    assert items(house, purpose=Purpose.AUDIT) == ()


def test_submissions_that_share_a_transaction_each_hear_of_their_own_rejection(either_house: Console) -> None:
    either_house.save_policy(a_document())
    agent = caller(either_house)
    rejected(either_house, agent)
    orders = ["A-1001", "A-2002", "A-1001", "A-3003"]

    async def submit_together() -> list[ActionStatus]:
        submitted = [
            either_house.intake.submit_soon(
                agent,
                Submission(
                    a_request(action=an_action(order_id=order, amount="49.90", reason="arrived broken")),
                    uuid7().hex,
                    "body",
                ),
            )
            for order in orders
        ]
        return [status for status, _ in await asyncio.gather(*submitted)]

    statuses = asyncio.run(submit_together())

    assert [status.route for status in statuses] == [Route.REVIEW, Route.EXECUTE, Route.REVIEW, Route.EXECUTE]


def test_a_submission_costs_one_question_whatever_was_rejected_otherwise(either_house: Console) -> None:
    either_house.save_policy(a_document())
    agent = caller(either_house)
    submit(either_house, agent)
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:  # noqa: ANN401 -- the driver's
        asked.append(statement.split(maxsplit=1)[0])

    engine = either_house.store._engines.writing  # type: ignore[attr-defined]  # noqa: SLF001 -- seen where it is sent
    event.listen(engine, "before_cursor_execute", note)
    submit(either_house, agent)
    event.remove(engine, "before_cursor_execute", note)

    # What is written with every batch (`db.direct`) is not heard of here.
    assert asked == ["SELECT"]


def test_the_confidence_is_no_part_of_what_a_repeat_must_say_again(house: Console) -> None:
    agent = caller(house)
    said = {"action": {"name": "refund_order", "args": {"order_id": "A-1"}}, "confidence": 0.62}
    sampled_anew = said | {"confidence": 0.4, "confidence_source": "agreement of 3 answers"}
    first = submit(house, agent, key="k", body=request_hash(said), confidence=0.62)

    again = submit(house, agent, key="k", body=request_hash(sampled_anew), confidence=0.4)

    assert again.id == first.id
    assert kept(house, first.id).request.confidence == 0.62
    with pytest.raises(IdempotencyMismatchError):
        submit(house, agent, key="k", body=request_hash(said | {"rationale": "Another."}))


def test_the_preview_of_a_policy_knows_what_was_rejected(house: Console) -> None:
    agent = caller(house)
    rejected(house, agent)
    submit(house, agent)
    draft = PolicyDocument(rules=(Rule(name="second", when="rejections >= 1", route=Route.DENY),))

    in_force = house.policies.in_force(house.person.workspace).compiled

    found = preview(compiled(draft), house.policies.recent_items(house.person), in_force=in_force, signals=signals_of)

    assert [row.routing.route for row in found.rows] == [Route.DENY, Route.REVIEW]


def test_a_submission_event_of_a_first_call_says_nothing_of_rejections(house: Console) -> None:
    status = submit(house)

    (written,) = events(house, status.id)
    assert written.kind is EventKind.ACTION_SUBMITTED
    assert {"repeats", "rejections"} & written.data.keys() == set()
