"""Queues: who may work in one, what a decision there needs, and what the policy has to say for it to hold together."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agents.protocol import ALL_DECISIONS, Approve, DecisionType, Reject, Route
from review.desk import Seen
from review.errors import (
    DecisionNotAllowedError,
    InvalidPolicyError,
    NotTrainedError,
    OwnWorkError,
    ReasonNeededError,
)
from review.items import Aside, Assignment, Claim, ReasonCode
from review.people import Person
from review.policy import Autonomy, PolicyDocument, Queue, Rule, ToolRule, compiled
from review.queues import (
    choices,
    escalated,
    is_reasoned,
    may_work_in,
    narrowed,
    principal_of,
    queue_names,
    reasons_asked,
    reasons_offered,
    workable,
)
from tests.builders import AGENT, a_request, ada, an_item, grace, lin
from tests.clock import START, MovableClock
from tests.console import Console
from tests.review.steps import a_document, an_edit, caller, claim, decide, kept, submit

trained = replace(ada, skills=frozenset({"money", "press"}))
novice = replace(lin, skills=frozenset[str]())
APPROVE, EDIT, REJECT, RESPOND = DecisionType
Kinds = tuple[DecisionType, ...]
TO_MONEY = Rule(name="money", when="true", route=Route.REVIEW, queue="money")


@pytest.mark.parametrize(
    ("person", "skills", "may"),
    [
        (ada, ("money",), True),  # Nobody keeps count of her skills.
        (trained, ("money",), True),
        (trained, ("money", "press"), True),
        (trained, ("money", "french"), False),
        (novice, ("money",), False),
        (novice, (), True),
    ],
)
def test_who_has_every_skill_may_work_in_a_queue(person: Person, skills: tuple[str, ...], *, may: bool) -> None:
    assert may_work_in(Queue(name="q", skills=skills), person) is may


def test_whoever_lacks_a_skill_may_work_in_what_is_named_and_no_more() -> None:
    document = PolicyDocument(
        queues=(Queue(name="money", skills=("money",)), Queue(name="plain")),
        tools=(ToolRule(agent=AGENT, tool="t", queue="plain"),),
    )

    assert workable(document, ada) is None
    assert workable(document, trained) is None
    assert workable(document, novice) == ("general", "plain")
    assert queue_names(document) == ("general", "money", "plain")


@pytest.mark.parametrize(
    ("asked", "open_to", "left"),
    [
        (None, None, None),
        (["a"], None, ["a"]),
        (None, ("a", "b"), ("a", "b")),
        (["b", "c"], ("a", "b"), ("b",)),
        (["c"], ("a",), ()),
    ],
)
def test_what_is_asked_for_is_narrowed_to_what_may_be_worked_in(
    asked: Sequence[str] | None, open_to: tuple[str, ...] | None, left: Sequence[str] | None
) -> None:
    assert narrowed(asked, open_to) == left


@pytest.mark.parametrize(
    ("hides", "allowed", "left"),
    [
        ((), ALL_DECISIONS, ALL_DECISIONS),
        ((RESPOND,), ALL_DECISIONS, (APPROVE, EDIT, REJECT)),
        ((APPROVE, EDIT), (APPROVE, REJECT), (REJECT,)),
    ],
)
def test_what_a_queue_hides_cannot_be_chosen(hides: Kinds, allowed: Kinds, left: Kinds) -> None:
    assert choices(Queue(name="q", hides=hides), allowed) == left


@pytest.mark.parametrize(
    ("queue", "decision", "given", "is_enough"),
    [
        ({}, REJECT, (), True),
        ({"reasons_for": (REJECT,)}, REJECT, (), False),
        ({"reasons_for": (REJECT,)}, REJECT, (ReasonCode.OTHER,), True),
        ({"reasons_for": (REJECT,)}, APPROVE, (), True),
        ({"reasons_for": (REJECT,), "reasons": (ReasonCode.UNSAFE,)}, REJECT, (ReasonCode.OTHER,), False),
        ({"reasons_for": (REJECT,), "reasons": (ReasonCode.UNSAFE,)}, REJECT, tuple(ReasonCode), True),
        ({"reasons_for": (APPROVE, REJECT), "reasons": (ReasonCode.OTHER,)}, APPROVE, (), False),
    ],
)
def test_a_decision_carries_the_reason_that_its_queue_asks_for(
    queue: dict[str, Any], decision: DecisionType, given: tuple[ReasonCode, ...], *, is_enough: bool
) -> None:
    asking = Queue(name="q", **queue)

    assert is_reasoned(asking, decision, given) is is_enough
    assert bool(reasons_asked(asking, decision)) is (decision in asking.reasons_for)


@pytest.mark.parametrize(
    ("priority", "queue", "then"),
    [
        (5, {}, (5, "q")),
        (5, {"raise_to": 2}, (2, "q")),
        (1, {"raise_to": 2}, (1, "q")),
        (5, {"raise_to": 0, "move_to": "late"}, (0, "late")),
    ],
)
def test_what_is_overdue_is_raised_and_moved_as_its_queue_says(
    priority: int, queue: dict[str, Any], then: tuple[int, str]
) -> None:
    item = an_item(priority=priority, queue="q")

    done = escalated(item, Queue(name="q", **queue), START)

    assert (done.priority, done.queue) == then
    assert done == replace(item, breached_at=START, priority=done.priority, queue=done.queue)


def test_what_moves_is_there_for_everybody_and_what_stays_waits_on_for_whom_it_did() -> None:
    item = an_item(queue="q", assignment=Assignment(ada.iss, ada.sub, ada.name, START, "Grace Hopper"))

    stays = escalated(item, Queue(name="q"), START)
    moves = escalated(item, Queue(name="q", move_to="late"), START)

    assert (stays.aside, moves.aside) == (Aside.ASSIGNED, None)


def test_a_claimed_item_is_not_aside() -> None:
    held = an_item(status="claimed", claim=Claim(ada.iss, ada.sub, ada.name, START), assignment=None)

    assert held.aside is None


@pytest.mark.parametrize(
    ("metadata", "principal"),
    [
        ({}, None),
        ({"principal": ada.id}, ada.id),
        ({"principal": "no person"}, None),
        ({"principal": 7}, None),
        ({"principal": "#" * 600}, None),
    ],
)
def test_the_principal_is_a_person_or_nobody(metadata: dict[str, Any], principal: str | None) -> None:
    assert principal_of(a_request(metadata=metadata)) == principal


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"queues": [{"name": "a"}, {"name": "a"}]}, "The queue a stands twice in the policy."),
        (
            {"queues": [{"name": "a", "move_to": "b"}]},
            "The queue a sends to the queue b, which the policy does not have",
        ),
        ({"queues": [{"name": "a", "move_to": "a"}]}, "The queue a moves what is overdue to itself."),
        ({"queues": [{"name": "a", "hides": ["reject"]}]}, "a person must always be able to say no"),
        (
            {
                "queues": [{"name": "a"}],
                "rules": [{"name": "large", "when": "true", "route": "review", "queue": "b"}],
            },
            "The rule large sends to the queue b, which the policy does not have",
        ),
        (
            {"queues": [{"name": "a"}], "tools": [{"agent": "x", "tool": "t", "queue": "b"}]},
            "The tool t of x sends to the queue b, which the policy does not have",
        ),
    ],
)
def test_queues_that_do_not_hold_together_are_refused(document: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidPolicyError, match=problem):
        compiled(PolicyDocument.model_validate(document))


@pytest.mark.parametrize(
    "document",
    [
        {"rules": [{"name": "large", "when": "true", "route": "review", "queue": "b"}]},  # As policies were before.
        {"queues": [{"name": "a", "move_to": "general"}]},  # The default queue needs no words of its own.
    ],
)
def test_policies_that_say_little_of_queues_hold(document: dict[str, Any]) -> None:
    compiled(PolicyDocument.model_validate(document))


@pytest.mark.parametrize(
    ("rule", "tool", "queue", "due_in"),
    [
        (60, 120, 180, 60),
        (None, 120, 180, 120),
        (None, None, 180, 180),
        (None, None, None, 4 * 3600),
    ],
)
def test_the_nearest_word_on_when_it_is_due_counts(
    rule: int | None, tool: int | None, queue: int | None, due_in: int
) -> None:
    document = PolicyDocument(
        rules=(TO_MONEY.model_copy(update={"due_in": rule}),),
        tools=(ToolRule(agent=AGENT, tool="refund_order", due_in=tool),),
        queues=(Queue(name="money", due_in=queue, blind=True),),
    )

    routing = compiled(document).route(a_request(), agent=AGENT, now=START, grounding=None)

    assert (routing.due_in, routing.queue, routing.blind) == (due_in, "money", True)


def test_next_comes_only_from_queues_that_the_person_is_trained_for(either_house: Console) -> None:
    either_house.save_policy(
        a_document(Autonomy.SUPERVISED, TO_MONEY, queues=(Queue(name="money", skills=("money",)),))
    )
    item = submit(either_house)

    assert either_house.desk.claim(novice) is None
    with pytest.raises(NotTrainedError):
        either_house.desk.claim_item(novice, item.id)
    taken = either_house.desk.claim(trained)
    assert taken is not None
    assert taken.id == item.id


@pytest.mark.parametrize(
    ("queue", "decision", "offered"),
    [
        ({}, REJECT, tuple(ReasonCode)),
        ({}, APPROVE, ()),
        ({"reasons": (ReasonCode.OTHER,)}, APPROVE, (ReasonCode.OTHER,)),
        ({"reasons": (ReasonCode.OTHER,)}, REJECT, tuple(ReasonCode)),
        ({"reasons": (ReasonCode.OTHER,), "reasons_for": (REJECT,)}, REJECT, (ReasonCode.OTHER,)),
        ({"reasons_for": (APPROVE,)}, APPROVE, tuple(ReasonCode)),
        ({"reasons_for": (APPROVE,)}, RESPOND, ()),
    ],
)
def test_a_decision_is_offered_the_reasons_that_its_queue_has_for_it(
    queue: dict[str, Any], decision: DecisionType, offered: tuple[ReasonCode, ...]
) -> None:
    assert reasons_offered(Queue(name="q", **queue), decision) == offered


def test_a_queue_asks_for_reasons_and_hides_decisions(house: Console) -> None:
    money = Queue(
        name="money", guidelines="Look twice.", reasons_for=(REJECT,), reasons=(ReasonCode.UNSAFE,), hides=(EDIT,)
    )
    house.save_policy(a_document(Autonomy.SUPERVISED, TO_MONEY, queues=(money,)))
    submit(house)
    item = claim(house)
    whole = house.desk.whole(ada, item.id)

    assert (whole.queue, whole.choices) == (money, (APPROVE, REJECT, RESPOND))
    assert whole.reasons_asked(REJECT) == (ReasonCode.UNSAFE,)
    assert whole.reasons_offered(REJECT) == (ReasonCode.UNSAFE,)
    with pytest.raises(ReasonNeededError, match="needs a reason: unsafe"):
        house.desk.decide(item.id, Reject(message="No."), ada, seen=Seen.of(item), reason_codes=(ReasonCode.OTHER,))
    with pytest.raises(DecisionNotAllowedError, match="approve, reject, respond"):
        house.desk.decide(item.id, an_edit(order_id="A-1001", amount="1.00"), ada, seen=Seen.of(item))
    done = house.desk.decide(item.id, Reject(), ada, seen=Seen.of(item), reason_codes=(ReasonCode.UNSAFE,))
    assert done.status.is_final


def test_nobody_decides_what_is_proposed_in_their_name(either_house: Console) -> None:
    either_house.save_policy(a_document(Autonomy.SUPERVISED))
    item = submit(either_house, metadata={"principal": ada.id})

    assert either_house.desk.claim(ada) is None
    with pytest.raises(OwnWorkError):
        either_house.desk.claim_item(ada, item.id)
    assert claim(either_house, grace).id == item.id


def test_of_a_blind_item_nobody_sees_what_others_decided_until_it_is_settled(house: Console) -> None:
    four_eyes = Rule(name="four eyes", when="true", route=Route.REVIEW, quorum=2, blind=True)
    house.save_policy(a_document(Autonomy.SUPERVISED, four_eyes))
    item = submit(house)
    decide(house, Approve(), ada)

    assert house.desk.whole(grace, item.id).decisions == ()
    assert [made.sub for made in house.desk.whole(ada, item.id).decisions] == [ada.sub]
    decide(house, Approve(), grace)
    assert [made.sub for made in house.desk.whole(lin, item.id).decisions] == [ada.sub, grace.sub]


def test_a_queue_stays_as_long_as_something_in_it_is_undecided(house: Console) -> None:
    house.save_policy(a_document(Autonomy.SUPERVISED, TO_MONEY, queues=(Queue(name="money"), Queue(name="other"))))
    item = submit(house)

    with pytest.raises(InvalidPolicyError, match="The queue money still has 1 undecided item"):
        house.save_policy(a_document(Autonomy.SUPERVISED, queues=(Queue(name="other"),)))
    house.intake.cancel(caller(house), item.id)
    house.save_policy(a_document(Autonomy.SUPERVISED, queues=(Queue(name="other"),)))
    assert kept(house, item.id).queue == "money"


def test_what_is_overdue_is_escalated_once_by_the_sweep(either_house: Console, clock: MovableClock) -> None:
    late = Queue(name="money", due_in=600, raise_to=1, move_to="general")
    either_house.save_policy(a_document(Autonomy.SUPERVISED, TO_MONEY, queues=(late,)))
    item = submit(either_house)
    clock.advance(timedelta(seconds=599))
    assert either_house.intake.sweep() == 0
    clock.advance(timedelta(seconds=1))

    assert [either_house.intake.sweep(), either_house.intake.sweep()] == [1, 0]

    found = kept(either_house, item.id)
    assert (found.queue, found.priority, found.breached_at) == ("general", 1, clock())


def test_what_somebody_holds_is_escalated_when_they_give_it_back(house: Console, clock: MovableClock) -> None:
    house.save_policy(a_document(Autonomy.SUPERVISED, TO_MONEY, queues=(Queue(name="money", due_in=60, raise_to=1),)))
    submit(house)
    item = claim(house)
    clock.advance(timedelta(seconds=60))
    assert house.intake.sweep() == 0

    house.desk.release(ada, item.id, epoch=item.epoch)

    assert house.intake.sweep() == 1
    assert kept(house, item.id).priority == 1
