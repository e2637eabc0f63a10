"""Deciding together: only items that differ in their arguments, each by itself, and none that wants its own look."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import JsonValue
from uuid_utils.compat import uuid7

from agents.protocol import (
    Approve,
    ContextEntry,
    ContextKind,
    DecisionType,
    Execution,
    Impact,
    Reason,
    Reject,
    Route,
    Status,
)
from db.store import SqlStore
from review.alike import LONGEST_ARGS, MOST_TOGETHER, differing, template_of, why_alone
from review.audit import EventKind
from review.bulk import Alike, Kind, Look, Made
from review.desk import Seen
from review.errors import (
    AlreadySettledError,
    ItemAssignedError,
    ItemChangedError,
    ItemHeldError,
    ItemNotFoundError,
    NotAllowedError,
    NothingAlikeError,
    NotTrainedError,
    PausedError,
    ReasonNeededError,
    ReasonRequiredError,
    TooManyTogetherError,
    WantsItsOwnLookError,
)
from review.images import UNINSPECTABLE
from review.items import CLAIM_DURATION, DecisionRecord, Purpose, ReasonCode, ReviewItem
from review.masking import Veil
from review.people import Permission
from review.policy import Autonomy, Queue, RoutingReason, Rule
from tests.builders import AGENT, a_member, a_request, ada, an_action, an_item, grace, keeping, lin, mary
from tests.clock import MovableClock
from tests.console import Console
from tests.history import check_permission, check_standing
from tests.review.steps import TOOL, a_document, all_at_once, caller, claim, events, kept, kinds, submit

KIND = Kind(AGENT, TOOL, "general")
GRACE = timedelta(seconds=5)
PLAIN = Queue(name="general")
ORDINARY = (Reason(code=RoutingReason.SUPERVISED, text="Every refund_order of support is reviewed."),)
PICTURE = ContextEntry(kind=ContextKind.IMAGE, content="bm8gcGljdHVyZQ==", media_type=UNINSPECTABLE)


def ready(house: Console, *rules: Rule, queues: tuple[Queue, ...] = (), count: int = 3) -> Console:
    """Return the house with this many refunds waiting that differ in order and amount."""
    house.save_policy(a_document(Autonomy.SUPERVISED, *rules, queues=queues))
    house.store.write(keeping(*map(a_member, (ada, grace, lin))))
    by = caller(house)
    for number in range(count):
        submit(house, by, **a_refund(number))
    return house


def a_refund(number: int = 0, **args: Any) -> dict[str, Any]:  # noqa: ANN401 -- JSON values
    return {"action": an_action(order_id=f"A-{number:04}", amount=f"{number}.50", reason="arrived broken", **args)}


def ordinary(**fields: Any) -> ReviewItem:  # noqa: ANN401 -- whatever the item takes
    return an_item(**({"reasons": ORDINARY} | fields))


def looks(alike: Alike) -> list[Look]:
    return [Look.at(item, dwell_ms=700) for item in alike.items]


def approve(house: Console, alike: Alike, **more: Any) -> tuple[Made, ...]:  # noqa: ANN401 -- whatever decide takes
    return house.bulk.decide(ada, looks(alike), Approve(), template=alike.template, **more)


def decisions_on(house: Console, item: ReviewItem) -> list[DecisionRecord]:
    return list(house.store.read(lambda tx: tx.decisions_of(item.workspace, item.id)))


def refusals(made: tuple[Made, ...]) -> list[type[Exception] | None]:
    return [type(each.refusal) if each.refusal else None for each in made]


@pytest.mark.parametrize(
    ("fields", "queue", "why"),
    [
        ({}, PLAIN, None),
        ({"quorum": 2}, PLAIN, "several people"),
        ({"purpose": Purpose.AUDIT}, PLAIN, "no agent waits"),
        ({"purpose": Purpose.SHADOW}, PLAIN, "no agent waits"),
        ({"draft": an_action(order_id="A-1")}, PLAIN, "edited"),
        ({"notes": 1}, PLAIN, "question"),
        ({"rejections": 1}, PLAIN, "rejected before"),
        ({}, Queue(name="general", one_by_one=True), "one by one"),
        ({}, Queue(name="general", hides=(DecisionType.APPROVE,)), None),
        ({"request": a_request(context=(PICTURE,))}, PLAIN, "picture"),
        ({"request": a_request(context=(PICTURE.model_copy(update={"media_type": "image/png"}),))}, PLAIN, None),
        ({"request": a_request(action=an_action(text="x" * LONGEST_ARGS))}, PLAIN, "too long"),
        ({"request": a_request(action=an_action(text="x" * (LONGEST_ARGS - len('{"text":""}'))))}, PLAIN, None),
        ({"request": a_request(action=an_action(**{f"a{n}": "1" for n in range(21)}))}, PLAIN, "too long"),
        ({"request": a_request(action=an_action(to="ann@example.com"))}, PLAIN, "masked"),
        ({"request": a_request(action=an_action(text="safe\u202etxt"))}, PLAIN, "hide"),
        ({"request": a_request(action=an_action(**{"na\u200bme": "x"}))}, PLAIN, "hide"),
        ({"request": a_request(action=an_action(lines=["one", {"two": "p\u0430ypal"}]))}, PLAIN, "hide"),
        ({"request": a_request(action=an_action(text=" edge"))}, PLAIN, "hide"),
        ({"request": a_request(action=an_action(**{"to.city": "Rome"}))}, PLAIN, "reads like"),
        ({"request": a_request(action=an_action(to={"lines[1]": "Rome"}))}, PLAIN, "reads like"),
        ({"request": a_request(action=an_action(**{"": "Rome"}))}, PLAIN, "reads like"),
        ({"request": a_request(action=an_action(**{"to\ncity": "Rome"}))}, PLAIN, "reads like"),
        ({"request": a_request(action=an_action(to={"city": "Rome"}, to_city="1.5 [m]"))}, PLAIN, None),
        ({"request": a_request(action=an_action(text="two\r\nlines"))}, PLAIN, None),
        ({"request": a_request(impact=Impact(subject="x\u2066y"))}, PLAIN, "hide"),
        ({"request": a_request(impact=Impact(subject="ada@example.com"))}, PLAIN, "masked"),
    ],
)
def test_what_wants_a_look_of_its_own(fields: dict[str, Any], queue: Queue, why: str | None) -> None:
    told = why_alone(ordinary(**fields), queue, Veil(None, (), {}))

    assert (told is None) == (why is None)
    assert (why or "") in (told or "")


@pytest.mark.parametrize("code", list(RoutingReason))
def test_only_what_comes_before_a_person_as_a_matter_of_course_is_decided_together(code: RoutingReason) -> None:
    told = why_alone(ordinary(reasons=(Reason(code=code, text="Why."),)), PLAIN, Veil(None, (), {}))

    assert (told is None) == (code in {"rule", "supervised", "no_threshold", "no_confidence", "below_threshold"})


@pytest.mark.parametrize(
    ("other", "is_alike"),
    [
        ({}, True),
        ({"request": a_request(action=an_action(order_id="B-1", amount="1.00", reason="late"))}, True),
        ({"request": a_request(action=an_action(order_id="B-1", amount="1.00"))}, False),
        ({"request": a_request(action=an_action(order_id="B-1", amount=1, reason="late"))}, False),
        ({"request": a_request(action=an_action("send_letter", order_id="B-1", amount="1.00", reason="x"))}, False),
        ({"request": a_request(allowed_decisions=("reject",))}, False),
        ({"agent": "another"}, False),
        ({"queue": "another"}, False),
        ({"reasons": (Reason(code=RoutingReason.RULE, text="Large."),)}, False),
    ],
)
def test_the_template_is_the_tool_its_argument_names_the_queue_and_the_reason(
    other: dict[str, Any],
    is_alike: bool,  # noqa: FBT001 -- a table of cases
) -> None:
    assert (template_of(ordinary()) == template_of(ordinary(**other))) == is_alike


def test_a_threshold_names_another_confidence_each_time_and_a_rule_says_the_same() -> None:
    low, lower, large, late = (
        template_of(ordinary(reasons=(Reason(code=code, text=text),)))
        for code, text in (
            ("below_threshold", "0.5"),
            ("below_threshold", "0.4"),
            ("rule", "Large."),
            ("rule", "Late."),
        )
    )

    assert low == lower
    assert large != late


def test_what_differs_is_named_by_its_place() -> None:
    items = [
        ordinary(request=a_request(action=an_action(to={"city": city, "land": "IT"}, lines=lines, kind="gift")))
        for city, lines in (("Rome", ["a"]), ("Turin", ["a", "b"]), ("Rome", ["a"]))
    ]

    assert differing(items) == (("to", "city"), ("lines",))


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [([1], [True], True), ([[0]], [[False]], True), ([{"a": 1}], [{"a": True}], True), ([1], [1.0], False)],
)
def test_what_would_run_otherwise_differs(one: JsonValue, other: JsonValue, *, differs: bool) -> None:
    items = [ordinary(request=a_request(action=an_action(to="Rome", flags=flags))) for flags in (one, other)]

    assert differing(items) == ((("flags",),) if differs else ())


def test_items_alike_are_found_and_the_others_stand_apart_with_their_reason(either_house: Console) -> None:
    large = Rule(
        name="large", when='has(args.amount) && args.amount == "900.00"', route=Route.REVIEW, quorum=2, reason="Large."
    )
    house = ready(either_house, large)
    two_people = submit(house, action=an_action(order_id="A-9", amount="900.00", reason="x")).id
    other_names = submit(house, action=an_action(order_id="A-9")).id
    masked = submit(house, **a_refund(7, to="ann@example.com")).id
    held = submit(house, **a_refund(8)).id
    house.desk.claim_item(lin, held)

    found = house.bulk.alike(ada, KIND)

    assert [item.request.action.args["order_id"] for item in found.items] == ["A-0000", "A-0001", "A-0002"]
    assert {apart.item.id: apart.why.split()[0] for apart in found.apart} == {
        two_people: "several",
        masked: "values",
        other_names: "its",
    }
    assert found.choices == (DecisionType.APPROVE, DecisionType.REJECT)


def test_what_holds_a_picture_that_nobody_can_look_at_is_not_decided_together(house: Console) -> None:
    house = ready(house)
    broken = ContextEntry(kind=ContextKind.IMAGE, title="Photo", content="AAAA", media_type="image/png")
    blind = submit(house, **a_refund(7), context=(broken,))

    found = house.bulk.alike(ada, KIND)
    asked = Look(blind.id, Seen(blind.digest, blind.version, 1000))
    (made,) = house.bulk.decide(ada, [asked], Approve(), template=found.template)

    assert {apart.item.id: apart.why for apart in found.apart} == {blind.id: "a picture in it cannot be inspected"}
    assert made.refusal is not None
    assert kept(house, blind.id).status is Status.WAITING


def test_one_alone_is_not_together(house: Console) -> None:
    ready(house, count=1)

    with pytest.raises(NothingAlikeError, match="one by one"):
        house.bulk.alike(ada, KIND)


def test_no_more_are_shown_than_anybody_looks_at_and_the_most_urgent_first(house: Console) -> None:
    ready(house, count=MOST_TOGETHER + 2)

    found = house.bulk.alike(ada, KIND)

    assert [item.request.action.args["order_id"] for item in found.items] == [f"A-{n:04}" for n in range(MOST_TOGETHER)]
    with pytest.raises(TooManyTogetherError):
        house.bulk.decide(
            ada,
            [Look(uuid7(), look.seen) for look in [*looks(found), looks(found)[0]]],
            Approve(),
            template=found.template,
        )


def test_each_is_a_decision_of_its_own_with_its_events_and_its_receipt(either_house: Console) -> None:
    house = ready(either_house)
    found = house.bulk.alike(ada, KIND)

    made = approve(house, found)

    assert refusals(made) == [None] * 3
    items = [kept(house, item.id) for item in found.items]
    assert [(item.status, item.execution) for item in items] == [(Status.SETTLED, Execution.PERMITTED)] * 3
    assert len({item.receipt for item in items}) == len({item.permitted_digest for item in items}) == 3
    for item in items:
        decisions = decisions_on(house, item)
        assert [(each.digest_seen, each.dwell_ms, each.epoch) for each in decisions] == [(item.digest, 700, 1)]
        told = events(house, item.id)
        assert [event.kind for event in told][1:] == [EventKind.ITEM_CLAIMED, EventKind.ITEM_DECIDED]
        assert told[1].data == {"epoch": 1, "together": 3}
        check_standing(item, told, decisions)
        check_permission(item, decisions)


def test_with_a_grace_each_can_be_taken_back_by_itself(store: SqlStore, clock: MovableClock) -> None:
    house = ready(Console(store, undo_for=GRACE))
    found = house.bulk.alike(ada, KIND)
    first, second, third = (item.id for item in found.items)

    made = approve(house, found)
    again = approve(house, found)
    back = house.desk.undo(ada, second, epoch=1)
    late = approve(house, found)
    clock.advance(GRACE)
    house.desk.settling.tick()

    assert refusals(made) == refusals(again) == [None] * 3
    assert (back.status, back.pending) == (Status.CLAIMED, None)
    assert refusals(late) == [None, ItemHeldError, None]
    assert [kept(house, item).status for item in (first, second, third)] == [
        Status.SETTLED,
        Status.CLAIMED,
        Status.SETTLED,
    ]
    assert kinds(house, second)[1:] == [
        EventKind.ITEM_CLAIMED,
        EventKind.DECISION_MADE,
        EventKind.DECISION_TAKEN_BACK,
    ]
    assert kinds(house, first).count(EventKind.DECISION_MADE) == 1


def test_what_is_not_as_it_was_shown_stays_and_the_others_are_decided(
    either_house: Console, clock: MovableClock
) -> None:
    house = ready(either_house, count=8)
    found = house.bulk.alike(ada, KIND)
    settled, held, given, lapsed, asked, gone, fine, also_fine = (item.id for item in found.items)
    taken = house.desk.claim_item(grace, settled)
    house.desk.decide(settled, Reject(message="No."), grace, seen=Seen.of(taken))
    house.desk.claim_item(grace, lapsed)
    clock.advance(CLAIM_DURATION)
    house.desk.claim_item(grace, held)
    house.board.assign(grace, given, to=lin)
    house.desk.ask(grace, asked, "Which order?")
    shown = [replace(look, item_id=uuid7()) if look.item_id == gone else look for look in looks(found)]

    made = house.bulk.decide(ada, shown, Approve(), template=found.template)

    assert refusals(made) == [
        AlreadySettledError,
        ItemHeldError,
        ItemAssignedError,
        ItemChangedError,
        WantsItsOwnLookError,
        ItemNotFoundError,
        None,
        None,
    ]
    assert [kept(house, item).status for item in (asked, gone, fine, also_fine)] == [
        Status.WAITING,
        Status.WAITING,
        Status.SETTLED,
        Status.SETTLED,
    ]


def test_a_forged_look_decides_nothing(house: Console) -> None:
    ready(house)
    found = house.bulk.alike(ada, KIND)
    first, second, third = looks(found)
    forged = [
        replace(first, seen=replace(first.seen, digest=second.seen.digest)),
        replace(second, seen=replace(second.seen, version=2)),
        third,
    ]

    by_digest = house.bulk.decide(ada, forged, Approve(), template=found.template)
    by_template = house.bulk.decide(ada, [first], Approve(), template=replace(found.template, tool="send_letter"))

    assert refusals(by_digest) == [ItemChangedError, ItemChangedError, None]
    assert refusals(by_template) == [ItemChangedError]
    assert kinds(house, first.item_id) == [EventKind.ACTION_SUBMITTED]


def test_what_became_forbidden_since_it_was_shown_is_refused(house: Console) -> None:
    ready(house)
    found = house.bulk.alike(ada, KIND)
    house.save_policy(a_document(Autonomy.SUPERVISED, queues=(Queue(name="general", one_by_one=True),)))

    assert refusals(approve(house, found)) == [WantsItsOwnLookError] * 3


def test_the_queue_asks_for_reasons_and_hides_decisions_here_too(house: Console) -> None:
    queue = Queue(name="general", reasons_for=(DecisionType.REJECT,), reasons=(ReasonCode.UNSAFE,))
    ready(house, queues=(queue,))
    found = house.bulk.alike(ada, KIND)
    asked = house.bulk.decide(ada, looks(found)[:1], Reject(message="No."), template=found.template)
    told = house.bulk.decide(
        ada, looks(found)[:1], Reject(), template=found.template, reason_codes=(ReasonCode.UNSAFE,)
    )

    assert found.reasons_asked(DecisionType.REJECT) == (ReasonCode.UNSAFE,)
    assert (refusals(asked), refusals(told)) == ([ReasonNeededError], [None])
    with pytest.raises(ReasonRequiredError):
        house.bulk.decide(ada, looks(found), Reject(), template=found.template)
    house.save_policy(
        a_document(Autonomy.SUPERVISED, queues=(queue.model_copy(update={"hides": (DecisionType.APPROVE,)}),))
    )
    assert house.bulk.alike(ada, KIND).choices == (DecisionType.REJECT,)


def test_what_is_paused_is_not_approved_together_either(house: Console) -> None:
    ready(house)
    found = house.bulk.alike(ada, KIND)
    house.switch.pause(grace, agent=AGENT, tool=None, reason="Look first.")

    assert refusals(approve(house, found)) == [PausedError] * 3


def test_the_persons_own_hold_stays_theirs(house: Console) -> None:
    ready(house)
    held = claim(house, ada)

    found = house.bulk.alike(ada, KIND)
    made = approve(house, found)

    assert held.id not in {each.item_id for each in made}
    assert [item.id for item in house.desk.held(ada)] == [held.id]


def test_two_people_who_decide_the_same_set_decide_each_item_once(either_house: Console) -> None:
    house = ready(either_house, count=6)
    found = house.bulk.alike(ada, KIND)
    people = (ada, lin)

    made = all_at_once(
        2, lambda number: house.bulk.decide(people[number], looks(found), Approve(), template=found.template)
    )

    done = [each.item_id for of_one in made for each in of_one if each.refusal is None]
    assert sorted(done) == sorted(item.id for item in found.items)
    for item in found.items:
        assert kinds(house, item.id).count(EventKind.ITEM_DECIDED) == 1


@pytest.mark.parametrize(
    "act",
    [
        lambda house: house.bulk.alike(mary, KIND),
        lambda house: house.bulk.decide(mary, [], Approve(), template=template_of(ordinary())),
    ],
)
def test_only_who_may_decide_does_it(house: Console, act: Callable[[Console], object]) -> None:
    assert not mary.may(Permission.DECIDE)
    with pytest.raises(NotAllowedError):
        act(house)


def test_a_queue_that_asks_for_training_is_not_decided_together_by_who_has_none(house: Console) -> None:
    to_money = Rule(name="to money", when="true", route=Route.REVIEW, queue="money")
    ready(house, to_money, queues=(Queue(name="money", skills=("money",)),))
    trained, novice = (replace(lin, skills=skills) for skills in (frozenset({"money"}), frozenset[str]()))
    kind = replace(KIND, queue="money")
    found = house.bulk.alike(trained, kind)

    made = house.bulk.decide(novice, looks(found), Approve(), template=found.template)

    assert refusals(made) == [NotTrainedError] * 3
    with pytest.raises(NothingAlikeError):
        house.bulk.alike(novice, kind)
    assert [kept(house, item.id).status for item in found.items] == [Status.WAITING] * 3
