"""The store suite: every question and every order, the same on SQLite and PostgreSQL."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from agents.protocol import (
    Approve,
    DecisionType,
    Edit,
    Execution,
    Impact,
    Outcome,
    OutcomeStatus,
    Reject,
    Route,
    Run,
    Status,
)
from db.batch import NestedWorkError
from db.store import SqlStore, open_store
from db.writer import StoreClosedError
from review.audit import Actor, AuditEvent, EventFilter, EventKind
from review.errors import InvalidCursorError
from review.items import (
    EVERY_DECISION,
    DecisionFilter,
    ItemFilter,
    KnownReviewer,
    Order,
    Purpose,
    ReasonCode,
    Reconciliation,
    Rejection,
    ReviewItem,
    SettledCall,
)
from review.people import Person, SignInLink
from review.policy import PolicyDocument
from review.store import COUNT_LIMIT, DuplicateKeyError, FilingKey, Reading, StaleItemError, Writing
from tests.builders import (
    AGENT,
    ISSUER,
    WORKSPACE,
    a_claim,
    a_decision,
    a_key,
    a_link,
    a_note,
    a_policy,
    a_request,
    a_session,
    a_tool,
    ada,
    an_action,
    an_agent,
    an_event,
    an_item,
    grace,
    keeping,
)
from tests.clock import START, MovableClock
from tests.waiting import PATIENCE_SECONDS

HOSTILE = "NUL \0, quote \", backslash \\0, tab \t, bidi \u202e, emoji 🧵, %_!'--"


def kept(store: SqlStore, item: ReviewItem) -> ReviewItem:
    store.write(keeping(item))
    return item


def read_back(store: SqlStore, item: ReviewItem) -> ReviewItem | None:
    return store.read(lambda tx: tx.item(item.workspace, item.id))


def using(link_id: str) -> Callable[[Writing], SignInLink | None]:
    return lambda tx: tx.use_link(link_id)


def claim(
    store: SqlStore,
    *,
    queues: list[str] | None = None,
    until: datetime | None = None,
    person: Person = ada,
    passing_over: Sequence[UUID] = (),
) -> ReviewItem | None:
    return store.write(
        lambda tx: tx.claim_next(
            WORKSPACE,
            queues=queues,
            iss=ISSUER,
            sub=person.sub,
            name=person.name,
            until=until or START + timedelta(minutes=10),
            passing_over=passing_over,
        )
    )


def test_an_item_comes_back_as_it_was_kept(store: SqlStore) -> None:
    plain = an_item()
    whole = an_item(
        request=a_request(
            action=an_action(note=HOSTILE, nested={"list": [1, 2.5, None, True, {"deep": HOSTILE}]}),
            confidence=None,
            description=HOSTILE,
            impact=Impact(subject=HOSTILE),
        ),
        quorum=2,
        draft=an_action(order_id="B-2"),
        parent_id=plain.id,
        idempotency_key="key-1",
        request_hash="hash-1",
        epoch=3,
        status=Status.SETTLED,
        execution=Execution.SUCCEEDED,
        decision=Edit(edited_action=an_action(order_id=HOSTILE)),
        settled_by=HOSTILE,
        settled_at=START + timedelta(microseconds=1),
        permitted_digest="sha256:" + "1" * 64,
        permitted_until=START + timedelta(hours=1),
        jti=uuid7(),
        receipt="e30.e30.e30",
        consumed_at=START + timedelta(seconds=2),
        outcome=Outcome(status=OutcomeStatus.SUCCEEDED, result={"said": HOSTILE}),
        notes=4,
        outcome_due_at=START + timedelta(minutes=15),
        reconciliation=Reconciliation(
            status=OutcomeStatus.FAILED, note=HOSTILE, iss=ISSUER, sub=HOSTILE, name=HOSTILE, at=START
        ),
        repeats_id=plain.id,
        rejections=2,
    )

    store.write(keeping(plain, whole))

    assert read_back(store, plain) == plain
    assert read_back(store, whole) == whole


def test_an_unknown_item_and_an_item_of_another_workspace_are_none(store: SqlStore) -> None:
    item = kept(store, an_item(workspace="other"))

    found = store.read(lambda tx: (tx.item(WORKSPACE, item.id), tx.item("other", uuid7())))

    assert found == (None, None)


def test_items_of_several_workspaces_are_found_together_by_their_names(store: SqlStore) -> None:
    ours, theirs, another = an_item(), replace(an_item(), workspace="other"), an_item()
    for item in (ours, theirs, another):
        kept(store, item)

    names = [(WORKSPACE, ours.id), ("other", theirs.id), ("other", another.id), (WORKSPACE, uuid7())]
    found = store.read(lambda tx: tx.items_named(names))

    assert {item.id: item for item in found} == {ours.id: ours, theirs.id: theirs}
    assert store.read(lambda tx: tx.items_named([])) == []


def test_an_item_is_found_by_its_agents_idempotency_key_alone(store: SqlStore) -> None:
    item = kept(store, an_item(idempotency_key="k"))

    found = store.read(
        lambda tx: [
            tx.item_by_key(WORKSPACE, AGENT, "k"),
            tx.item_by_key(WORKSPACE, AGENT, "other"),
            tx.item_by_key(WORKSPACE, "other", "k"),
            tx.item_by_key("other", AGENT, "k"),
        ]
    )

    assert found == [item, None, None, None]


def test_an_idempotency_key_is_good_for_one_item(store: SqlStore) -> None:
    kept(store, an_item(idempotency_key="k"))
    second = an_item(idempotency_key="k")

    with pytest.raises(DuplicateKeyError):
        kept(store, second)

    assert read_back(store, second) is None
    kept(store, an_item(idempotency_key="k", agent="another"))
    kept(store, an_item(idempotency_key=None))
    kept(store, an_item(idempotency_key=None))


def test_a_work_may_look_up_the_first_item_after_its_key_was_refused(store: SqlStore) -> None:
    first = kept(store, an_item(idempotency_key="k"))

    def work(tx: Writing) -> ReviewItem | None:
        with pytest.raises(DuplicateKeyError):
            tx.add_item(an_item(idempotency_key="k"))
        return tx.item_by_key(WORKSPACE, AGENT, "k")

    assert store.write(work) == first


def test_a_saved_item_comes_back_changed(store: SqlStore) -> None:
    item = kept(store, an_item())
    claimed = replace(item, status=Status.CLAIMED, claim=a_claim(name=HOSTILE), epoch=1)
    settled = replace(
        claimed,
        status=Status.SETTLED,
        claim=None,
        decision=Reject(message=HOSTILE),
        settled_by=ada.name,
        settled_at=START,
        request=a_request(confidence=0.1),
        reasons=(),
        version=2,
    )

    store.write(lambda tx: tx.save_item(claimed, was=item))
    after_claim = read_back(store, item)
    store.write(lambda tx: tx.save_item(settled, was=claimed))

    assert after_claim == claimed
    assert read_back(store, item) == settled


@pytest.mark.parametrize(
    "changed",
    [{"version": 2}, {"epoch": 1}, {"status": Status.CANCELLED}, {"execution": Execution.STARTED}],
    ids=["version", "epoch", "status", "execution"],
)
def test_an_item_that_is_no_longer_as_it_was_is_not_saved(store: SqlStore, changed: dict[str, object]) -> None:
    item = kept(store, an_item())
    moved = replace(item, **changed)  # type: ignore[arg-type]  # each case names fields of the item
    store.write(lambda tx: tx.save_item(moved, was=item))

    with pytest.raises(StaleItemError):
        store.write(lambda tx: tx.save_item(replace(item, queue="late"), was=item))

    assert read_back(store, item) == moved


def test_what_never_changes_of_an_item_cannot_be_saved(store: SqlStore) -> None:
    item = kept(store, an_item())

    with pytest.raises(ValueError, match="agent of an item never changes"):
        store.write(lambda tx: tx.save_item(replace(item, agent="another"), was=item))


def test_claim_next_takes_the_most_urgent_and_then_the_oldest(store: SqlStore) -> None:
    late, early, urgent = an_item(priority=5), an_item(priority=5), an_item(priority=1)
    early, late = sorted((early, late), key=lambda item: item.id)
    for item in (late, early, urgent):
        kept(store, item)

    taken = [claim(store) for _ in range(4)]

    assert [item and item.id for item in taken] == [urgent.id, early.id, late.id, None]
    assert taken[0] == replace(urgent, status=Status.CLAIMED, claim=a_claim(), epoch=1)
    assert read_back(store, urgent) == taken[0]


def test_claim_next_keeps_to_the_queues_and_the_workspace(store: SqlStore) -> None:
    refunds = kept(store, an_item(queue="refunds", priority=7))
    stock = kept(store, an_item(queue="stock", priority=3))
    kept(store, an_item(queue="other", priority=0))
    kept(store, an_item(workspace="other", queue="stock", priority=0))

    taken = [
        claim(store, queues=queues) for queues in ([], ["none"], ["refunds", "stock", "none"], ["refunds"], ["stock"])
    ]

    assert [item and item.id for item in taken] == [None, None, stock.id, refunds.id, None]


def test_what_a_person_holds_is_theirs_until_it_lapses(store: SqlStore, clock: MovableClock) -> None:
    kept(store, an_item())
    taken = claim(store, until=clock() + timedelta(minutes=10))

    def holds() -> list[list[ReviewItem]]:
        return store.read(lambda tx: [list(tx.held_by(WORKSPACE, p.iss, p.sub)) for p in (ada, grace)])

    clock.advance(timedelta(minutes=10) - timedelta(microseconds=1))
    just_before = holds()
    clock.advance(timedelta(microseconds=1))

    assert just_before == [[taken], []]
    assert holds() == [[], []]


def test_of_what_a_person_holds_the_most_urgent_comes_first(store: SqlStore) -> None:
    kept(store, an_item(priority=1))
    kept(store, an_item(priority=7))
    first, second = claim(store), claim(store)
    kept(store, an_item(priority=0))
    claim(store, person=grace)

    held = store.read(lambda tx: tx.held_by(WORKSPACE, ada.iss, ada.sub))

    assert list(held) == [first, second]


@pytest.mark.parametrize("queues", [None, ["refunds"], ["refunds", "stock"]])
def test_claim_next_leaves_what_is_passed_over(store: SqlStore, queues: list[str] | None) -> None:
    first = kept(store, an_item(queue="refunds", priority=0))
    second = kept(store, an_item(queue="refunds", priority=1))
    kept(store, an_item(queue="stock", priority=2))

    taken = claim(store, queues=queues, passing_over=[first.id])

    assert taken is not None
    assert taken.id == second.id


def test_what_people_settled_alike_comes_latest_first(store: SqlStore) -> None:
    def settled(minute: int, **fields: Any) -> ReviewItem:  # noqa: ANN401 -- whatever the item takes
        at = START + timedelta(minutes=minute)
        return kept(store, an_item(**{"status": Status.SETTLED, "settled_at": at, "settled_by": "Ada"} | fields))

    earlier, later = settled(1), settled(2)
    settled(3, agent="another")
    settled(3, request=a_request(action=an_action("send_letter")))
    settled(3, workspace="other")
    settled(3, route=Route.EXECUTE)
    settled(3, erased_at=START)
    kept(store, an_item())

    def alike(limit: int) -> list[SettledCall]:
        return store.read(lambda tx: list(tx.settled_alike(WORKSPACE, AGENT, "refund_order", limit=limit)))

    calls = [
        SettledCall(item.id, item.digest, item.request.impact.subject, item.request.action.args, "Ada")
        for item in (later, earlier)
    ]
    assert alike(10) == calls
    assert alike(1) == calls[:1]


def test_lapsed_claims_are_those_whose_time_is_over(store: SqlStore, clock: MovableClock) -> None:
    kept(store, an_item(priority=1))
    kept(store, an_item(priority=2, workspace="other"))
    kept(store, an_item(priority=3))
    first = claim(store, until=START + timedelta(minutes=1))
    claim(store, until=START + timedelta(minutes=3))

    clock.advance(timedelta(minutes=1))
    lapsed = store.write(lambda tx: list(tx.lapsed_claims(limit=10)))

    assert lapsed == [first]


def test_overdue_items_are_the_undecided_past_their_time_in_every_workspace(
    store: SqlStore, clock: MovableClock
) -> None:
    soon, later = START + timedelta(minutes=1), START + timedelta(minutes=2)
    waiting = kept(store, an_item(expires_at=soon))
    other = kept(store, an_item(expires_at=soon - timedelta(seconds=1), workspace="other"))
    kept(store, an_item(expires_at=soon, status=Status.SETTLED))
    kept(store, an_item(expires_at=later))

    before = store.write(lambda tx: list(tx.overdue_items(limit=10)))
    clock.advance(timedelta(minutes=1))

    assert before == []
    assert store.write(lambda tx: list(tx.overdue_items(limit=10))) == [other, waiting]
    assert store.write(lambda tx: list(tx.overdue_items(limit=1))) == [other]


def test_overdue_outcomes_are_those_of_what_was_started_and_not_heard_of_again(
    store: SqlStore, clock: MovableClock
) -> None:
    soon = START + timedelta(minutes=1)
    begun = kept(store, an_item(execution=Execution.STARTED, outcome_due_at=soon))
    other = kept(store, an_item(execution=Execution.STARTED, outcome_due_at=START, workspace="other"))
    kept(store, an_item(execution=Execution.SUCCEEDED, outcome_due_at=soon))
    kept(store, an_item(execution=Execution.STARTED, outcome_due_at=soon + timedelta(seconds=1)))

    before = store.write(lambda tx: list(tx.overdue_outcomes(limit=10)))
    clock.advance(timedelta(minutes=1))

    assert before == [other]
    assert store.write(lambda tx: list(tx.overdue_outcomes(limit=10))) == [other, begun]


def a_rejection(**fields: Any) -> ReviewItem:  # noqa: ANN401 -- whatever the item takes
    given: dict[str, Any] = {"status": Status.SETTLED, "decision": Reject(message="No."), "settled_at": START}
    return an_item(**(given | fields))


def test_rejections_are_peoples_own_of_this_very_call_newest_first(store: SqlStore) -> None:
    first = kept(store, a_rejection(request=a_request(run=Run(thread_id=HOSTILE))))
    second = kept(store, a_rejection(settled_at=START + timedelta(seconds=1)))
    kept(store, a_rejection(route=Route.DENY))
    kept(store, a_rejection(status=Status.EXPIRED))
    kept(store, a_rejection(purpose=Purpose.AUDIT))
    kept(store, a_rejection(decision=Approve()))
    kept(store, a_rejection(agent="stock"))
    kept(store, a_rejection(workspace="other"))
    kept(store, a_rejection(request=a_request(action=an_action(order_id="B-2"))))

    found = store.read(lambda tx: list(tx.rejections(WORKSPACE, AGENT, first.digest)))

    assert found == [Rejection(second.id, None), Rejection(first.id, HOSTILE)]


def test_decisions_come_back_in_order_with_and_without_their_items(store: SqlStore) -> None:
    item = kept(store, an_item(status=Status.SETTLED, decision=Approve(), settled_by=ada.name, settled_at=START))
    first = a_decision(item, decision=Reject(message=HOSTILE), reason_codes=(ReasonCode.UNSAFE, ReasonCode.TONE))
    second = a_decision(item, grace, decided_at=START + timedelta(minutes=1))
    store.write(keeping(second, first))

    def decided(where: DecisionFilter = EVERY_DECISION, *, limit: int = 10, after: UUID | None = None) -> list[object]:
        return store.read(lambda tx: list(tx.decided(WORKSPACE, where, limit=limit, after=after)))

    assert store.read(lambda tx: list(tx.decisions_of(WORKSPACE, item.id))) == [first, second]
    assert decided() == [(item, first), (item, second)]
    assert decided(limit=1) == [(item, first)]
    assert decided(after=first.id) == [(item, second)]
    assert decided(DecisionFilter(since=second.decided_at)) == [(item, second)]
    assert decided(DecisionFilter(until=second.decided_at)) == [(item, first)]


@pytest.mark.parametrize(
    ("where", "reviewers", "found"),
    [
        (EVERY_DECISION, None, [0, 1, 2]),
        (DecisionFilter(decision=DecisionType.APPROVE), None, [0]),
        (DecisionFilter(decision=DecisionType.REJECT), None, [1, 2]),
        (DecisionFilter(decision=DecisionType.EDIT), None, []),
        (DecisionFilter(items=ItemFilter(agent="buyer")), None, [2]),
        (DecisionFilter(items=ItemFilter(tool="order_stock")), None, [2]),
        (DecisionFilter(items=ItemFilter(statuses=(Status.SETTLED, Status.EXPIRED))), None, [0, 1]),
        (DecisionFilter(items=ItemFilter(text="b-77", decision=DecisionType.REJECT)), None, [0, 1]),
        (DecisionFilter(items=ItemFilter(since=START + timedelta(seconds=1))), None, [2]),
        (DecisionFilter(since=START + timedelta(minutes=1), decision=DecisionType.REJECT), None, [1, 2]),
        (EVERY_DECISION, [KnownReviewer(grace.iss, grace.sub, "whatever")], [1]),
        (
            EVERY_DECISION,
            [KnownReviewer(*whom) for whom in ((ada.iss, ada.sub, ""), (grace.iss, grace.sub, ""))],
            [0, 1, 2],
        ),
        (EVERY_DECISION, [KnownReviewer(grace.iss, ada.iss, "crossed")], []),
        (EVERY_DECISION, [], []),
    ],
)
def test_decisions_are_filtered_by_themselves_and_by_their_items(
    store: SqlStore, where: DecisionFilter, reviewers: list[KnownReviewer] | None, found: list[int]
) -> None:
    request = a_request(action=an_action(order_id="B-77"))
    settled = kept(
        store,
        an_item(request=request, status=Status.SETTLED, decision=Reject(), settled_by=grace.name, settled_at=START),
    )
    stock = a_request(action=an_action("order_stock"))
    waiting = kept(store, an_item(agent="buyer", request=stock, submitted_at=START + timedelta(hours=1)))
    late = START + timedelta(minutes=1)
    made = [
        a_decision(settled),
        a_decision(settled, grace, decision=Reject(message="No."), decided_at=late),
        a_decision(waiting, decision=Reject(message='"type":"edit"'), decided_at=late),
    ]
    elsewhere = an_item(workspace="elsewhere")
    store.write(keeping(*made, elsewhere, a_decision(elsewhere)))

    read = store.read(lambda tx: tx.decided(WORKSPACE, where, reviewers=reviewers, limit=10))
    every = store.read(lambda tx: tx.count_decided(WORKSPACE, where, reviewers=reviewers, limit=None))
    one = store.read(lambda tx: tx.count_decided(WORKSPACE, where, reviewers=reviewers, limit=1))

    assert [record for _, record in read] == [made[number] for number in found]
    assert (every, one) == (len(found), min(len(found), 1))


def test_what_a_person_decided_is_theirs_and_no_namesakes(store: SqlStore) -> None:
    settled, earlier = (
        kept(store, an_item(status=Status.SETTLED, decision=Approve(), settled_by=ada.name, settled_at=at))
        for at in (START, START - timedelta(seconds=1))
    )
    waiting = kept(store, an_item())
    namesake = replace(grace, name=ada.name)
    made = [
        a_decision(settled, decided_at=START),
        a_decision(settled, decision=Reject(message='{"type":"edit"}'), decided_at=START),
        a_decision(settled, decided_at=START - timedelta(seconds=1)),
        a_decision(settled, namesake, decision=Edit(edited_action=an_action()), decided_at=START),
        a_decision(earlier, decided_at=START - timedelta(seconds=1)),
        a_decision(waiting, decided_at=START),
    ]
    store.write(keeping(*made))

    found = store.read(lambda tx: tx.decided_by(WORKSPACE, ada.iss, ada.sub, since=START))

    assert found == {
        DecisionType.APPROVE: 1,
        DecisionType.EDIT: 0,
        DecisionType.REJECT: 1,
        DecisionType.RESPOND: 0,
    }


def test_whoever_has_decided_is_known_under_every_name(store: SqlStore) -> None:
    item = kept(store, an_item())
    renamed = replace(ada, name="Ada King")
    store.write(keeping(a_decision(item), a_decision(item), a_decision(item, renamed), a_decision(item, grace)))

    known = store.read(lambda tx: tx.reviewers(WORKSPACE))

    assert sorted(known) == [
        KnownReviewer(ada.iss, "ada", "Ada King"),
        KnownReviewer(ada.iss, "ada", "Ada Lovelace"),
        KnownReviewer(grace.iss, "grace", "Grace Hopper"),
    ]


@pytest.mark.parametrize(("limit", "count"), [(3, 3), (4, 4), (5, 4)])
def test_events_are_counted_no_further_than_asked(store: SqlStore, limit: int, count: int) -> None:
    store.write(keeping(*(an_event() for _ in range(4)), an_event(kind=EventKind.KEY_CREATED)))
    where = EventFilter(kind=EventKind.ACTION_SUBMITTED)

    assert store.read(lambda tx: tx.count_events(WORKSPACE, where, limit=limit)) == count


def test_notes_come_back_oldest_first(store: SqlStore) -> None:
    item = kept(store, an_item())
    first, second = a_note(item, HOSTILE), a_note(item, "Thanks.")

    store.write(keeping(second, first))

    assert store.read(lambda tx: list(tx.notes_of(WORKSPACE, item.id))) == [first.note, second.note]
    assert store.read(lambda tx: list(tx.thread_of(WORKSPACE, item.id))) == [first, second]


def test_events_are_filtered_and_paged_newest_first(store: SqlStore) -> None:
    item = uuid7()
    events = [
        an_event(
            kind=EventKind.ITEM_CLAIMED,
            item_id=item,
            at=START + timedelta(seconds=n),
            data={"n": n, "said": HOSTILE},
        )
        for n in range(4)
    ]
    odd = an_event(actor=Actor("person", ada.id, HOSTILE), at=START + timedelta(seconds=9))
    store.write(keeping(*events, odd, an_event(workspace="other")))

    def listed(where: EventFilter) -> list[object]:
        return list(store.read(lambda tx: tx.events(WORKSPACE, where, limit=10)).rows)

    first = store.read(lambda tx: tx.events(WORKSPACE, EventFilter(), limit=3))
    rest = store.read(lambda tx: tx.events(WORKSPACE, EventFilter(), limit=3, cursor=first.next_cursor))
    assert [*first.rows, *rest.rows] == [odd, *reversed(events)]
    assert rest.next_cursor is None
    assert listed(EventFilter(kind=EventKind.ITEM_CLAIMED)) == events[::-1]
    assert listed(EventFilter(actor=ada.id)) == [odd]
    assert listed(EventFilter(actor=HOSTILE)) == [odd]
    assert listed(EventFilter(item_id=item, since=events[1].at, until=events[3].at)) == [events[2], events[1]]
    after = store.read(lambda tx: list(tx.events_after(WORKSPACE, EventFilter(), limit=2, after=events[1].id)))
    assert after == events[2:]
    assert store.read(lambda tx: list(tx.events_after(WORKSPACE, EventFilter(), limit=1, after=None))) == events[:1]


def test_a_work_sees_the_events_that_it_recorded(store: SqlStore) -> None:
    event, later = an_event(), an_event()

    def work(tx: Writing) -> tuple[Sequence[AuditEvent], Sequence[AuditEvent]]:
        tx.record(event)
        seen = tx.events(WORKSPACE, EventFilter(), limit=5).rows
        tx.record(later)
        return seen, tx.events_after(WORKSPACE, EventFilter(), limit=5, after=None)

    assert store.write(work) == ((event,), [event, later])


def test_the_latest_policy_is_in_force_and_a_number_is_given_once(store: SqlStore) -> None:
    first = a_policy(1, comment=HOSTILE)
    second = a_policy(2, document=PolicyDocument(audit_rate=0.2))
    nothing = store.read(lambda tx: (tx.policy(WORKSPACE), list(tx.policies(WORKSPACE, limit=5))))
    store.write(keeping(first, second, a_policy(1, workspace="other")))

    with pytest.raises(StaleItemError):
        store.write(keeping(a_policy(2)))

    assert nothing == (None, [])
    assert store.read(lambda tx: tx.policy(WORKSPACE)) == second
    assert store.read(lambda tx: list(tx.policies(WORKSPACE, limit=5))) == [second, first]
    assert store.read(lambda tx: list(tx.policies(WORKSPACE, limit=1))) == [second]


def test_an_agent_is_kept_as_it_was_first_seen(store: SqlStore, clock: MovableClock) -> None:
    support, stock = an_agent("support"), an_agent("stock")
    store.write(keeping(support, stock, an_agent("elsewhere", workspace="other")))

    store.write(keeping(an_agent("support", created_at=clock() + timedelta(days=1))))

    assert store.read(lambda tx: list(tx.agents(WORKSPACE))) == [stock, support]


def test_a_tool_keeps_the_schema_last_declared(store: SqlStore) -> None:
    bare = a_tool(args_schema=None)
    store.write(keeping(bare))
    before = store.read(lambda tx: tx.tool(WORKSPACE, AGENT, bare.name))
    declared = a_tool(args_schema={"type": "object", "description": HOSTILE})
    another = a_tool("cancel_order")

    store.write(keeping(declared, replace(bare, first_seen_at=START + timedelta(days=1)), another))

    assert before == bare
    assert store.read(lambda tx: tx.tool(WORKSPACE, AGENT, bare.name)) == declared
    assert store.read(lambda tx: tx.tool(WORKSPACE, AGENT, "unknown")) is None
    assert store.read(lambda tx: list(tx.tools(WORKSPACE))) == [another, declared]


def test_a_key_is_found_by_its_prefix_and_its_life_can_be_changed(store: SqlStore) -> None:
    older, newer, elsewhere = a_key(), a_key(created_by=HOSTILE), a_key(workspace="other")
    store.write(keeping(older, newer, elsewhere))
    revoked = replace(newer, revoked_at=START, last_used_at=START, expires_at=START + timedelta(days=1))

    store.write(lambda tx: tx.save_key(revoked))

    assert store.read(lambda tx: list(tx.keys(WORKSPACE))) == [revoked, older]
    assert store.read(lambda tx: tx.key(elsewhere.prefix)) == elsewhere
    assert store.read(lambda tx: tx.key("unknown")) is None


def test_a_session_is_seen_and_ended(store: SqlStore) -> None:
    session = a_session(replace(grace, name=HOSTILE, workspace="other"))
    store.write(keeping(session))
    before = store.read(lambda tx: tx.session(session.id))
    ended = replace(session, seen_at=START + timedelta(minutes=1), ended_at=START + timedelta(minutes=2))

    store.write(lambda tx: tx.save_session(ended))

    assert before == session
    assert store.read(lambda tx: tx.session(session.id)) == ended
    assert store.read(lambda tx: tx.session("unknown")) is None


def test_a_link_is_good_once_and_in_time(store: SqlStore, clock: MovableClock) -> None:
    link, late = a_link(), a_link(expires_at=START + timedelta(minutes=1))
    store.write(keeping(link, late))
    clock.advance(timedelta(minutes=1))

    uses = [store.write(using(id_)) for id_ in (link.id, link.id, late.id, "unknown")]

    assert uses == [replace(link, used_at=clock()), None, None, None]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (ItemFilter(), "abcde"),
        (ItemFilter(statuses=(Status.WAITING,)), "ac"),
        (ItemFilter(statuses=(Status.WAITING, Status.CLAIMED)), "abc"),
        (ItemFilter(statuses=(Status.SETTLED, Status.WAITING)), "acd"),
        (ItemFilter(statuses=(Status.EXPIRED,)), "e"),
        (ItemFilter(agent="stock"), "be"),
        (ItemFilter(agent="stock", statuses=(Status.CLAIMED,)), "b"),
        (ItemFilter(tool="reorder"), "b"),
        (ItemFilter(queue="stock"), "b"),
        (ItemFilter(decision=DecisionType.APPROVE), "d"),
        (ItemFilter(execution=Execution.UNKNOWN), "e"),
        (ItemFilter(execution=Execution.NONE), "abcd"),
        (ItemFilter(settled_by=HOSTILE), "d"),
        (ItemFilter(since=START + timedelta(seconds=1), until=START + timedelta(seconds=3)), "bc"),
        (ItemFilter(text="CUP-77"), "c"),
        (ItemFilter(text="cup"), "abcde"),
        (ItemFilter(text="100%_sure"), "c"),
        (ItemFilter(text="%"), "c"),
        (ItemFilter(text='said "yes"'), "c"),
        (ItemFilter(text="\0"), "c"),
        (ItemFilter(text="CRÈME brûlée"), "c"),
        (ItemFilter(text="STOC"), "be"),
        (ItemFilter(text="no such words"), ""),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_list_shows_what_the_filter_asks_for(store: SqlStore, where: ItemFilter, expected: str) -> None:
    told = an_action(order="cup-77", sure="100%_sure", said='said "yes"', nul="\0", dish="Crème Brûlée")
    made = {
        "a": an_item(),
        "b": an_item(
            agent="stock",
            queue="stock",
            status=Status.CLAIMED,
            claim=a_claim(),
            request=a_request(action=an_action("reorder")),
        ),
        "c": an_item(request=a_request(action=told)),
        "d": an_item(status=Status.SETTLED, decision=Approve(), settled_by=HOSTILE, settled_at=START),
        "e": an_item(agent="stock", status=Status.EXPIRED, execution=Execution.UNKNOWN),
    }
    for n, (name, item) in enumerate(made.items()):
        made[name] = kept(store, replace(item, submitted_at=START + timedelta(seconds=n)))
    kept(store, an_item(workspace="other"))

    listed = store.read(lambda tx: tx.items(WORKSPACE, where, order=Order.OLDEST, limit=10)).rows
    whole = store.read(lambda tx: tx.whole_items(WORKSPACE, where, limit=10)).rows

    ids = [made[name].id for name in expected]
    assert [line.id for line in listed] == ids
    assert list(whole) == [made[name] for name in reversed(expected)]
    assert store.read(lambda tx: tx.count_items(WORKSPACE, where)) == len(ids)


def test_a_summary_says_what_the_item_says(store: SqlStore) -> None:
    item = an_item(request=a_request(impact=Impact(amount="1.50", currency="EUR", subject=HOSTILE)))
    item = replace(item, status=Status.CLAIMED, claim=a_claim(), epoch=1)
    kept(store, item)

    (line,) = store.read(lambda tx: tx.items(WORKSPACE, ItemFilter(), order=Order.URGENT, limit=10)).rows

    assert (line.tool, line.confidence, line.subject, line.amount, line.currency) == (
        item.request.action.name,
        0.62,
        HOSTILE,
        "1.50",
        "EUR",
    )
    assert line.claim == a_claim()
    assert (line.submitted_at, line.due_at, line.expires_at) == (
        item.submitted_at,
        item.due_at,
        item.expires_at,
    )


def test_a_count_goes_no_further_than_its_limit(store: SqlStore) -> None:
    def work(tx: Writing) -> None:
        for n in range(COUNT_LIMIT + 50):
            tx.add_item(an_item(status=Status.WAITING if n % 2 else Status.SETTLED))

    store.write(work)

    counted = store.read(lambda tx: tx.count_items(WORKSPACE, ItemFilter()))
    waiting = store.read(lambda tx: tx.count_items(WORKSPACE, ItemFilter(statuses=(Status.WAITING, Status.CLAIMED))))
    assert (counted, waiting) == (COUNT_LIMIT + 1, (COUNT_LIMIT + 50) // 2)


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize(
    "cursor",
    ["", "x", "é", "!!!!", "bnVsbA", "W10", "WyJvbGRlc3QiLCAxXQ", "WyJ1cmdlbnQiLCB0cnVlLCAiYSJd", "A" * 300],
)
def test_a_cursor_that_we_did_not_make_is_refused(store: SqlStore, order: Order, cursor: str) -> None:
    with pytest.raises(InvalidCursorError):
        store.read(lambda tx: tx.items(WORKSPACE, ItemFilter(), order=order, limit=5, cursor=cursor))


def test_a_cursor_of_another_order_is_refused(store: SqlStore) -> None:
    for _ in range(2):
        kept(store, an_item())
    page = store.read(lambda tx: tx.items(WORKSPACE, ItemFilter(), order=Order.NEWEST, limit=1))

    with pytest.raises(InvalidCursorError):
        store.read(lambda tx: tx.items(WORKSPACE, ItemFilter(), order=Order.OLDEST, limit=1, cursor=page.next_cursor))


def test_all_of_a_work_is_kept_or_nothing(store: SqlStore) -> None:
    item, event = an_item(), an_event()

    def work(tx: Writing) -> None:
        tx.add_item(item)
        tx.record(event)
        raise LookupError

    with pytest.raises(LookupError):
        store.write(work)

    assert read_back(store, item) is None
    assert store.read(lambda tx: tx.events(WORKSPACE, EventFilter(), limit=5)).rows == ()


def test_the_same_event_twice_fails_the_whole_work(store: SqlStore) -> None:
    event, item = an_event(), an_item()
    store.write(keeping(event))

    with pytest.raises(Exception, match=r"audit events are never|duplicate key"):
        store.write(keeping(item, event))

    assert read_back(store, item) is None


def test_a_work_that_calls_the_store_is_refused(store: SqlStore) -> None:
    for work in (lambda _: store.read(lambda tx: tx.now), lambda _: store.write(lambda tx: tx.now)):
        with pytest.raises(NestedWorkError):
            store.read(work)
        with pytest.raises(NestedWorkError):
            store.write(work)


def test_the_time_is_the_clocks_and_one_for_the_whole_work(store: SqlStore, clock: MovableClock) -> None:
    def work(tx: Writing) -> tuple[datetime, datetime]:
        first = tx.now
        clock.advance(timedelta(seconds=1))
        return first, tx.now

    assert store.write(work) == (START, START)
    assert store.read(lambda tx: tx.now) == START + timedelta(seconds=1)


def test_without_a_clock_time_comes_from_the_database_or_the_host(store_url: str) -> None:
    store = open_store(store_url)

    before, told, after = datetime.now(UTC), store.write(lambda tx: tx.now), datetime.now(UTC)
    # PostgreSQL tells it with what is known of an announced key.
    announced = store.begin(lambda tx: tx.now, key=FilingKey(WORKSPACE, AGENT, "k1")).result(PATIENCE_SECONDS)
    read = store.read(lambda tx: tx.now)
    store.close()

    assert before <= told <= after <= announced <= read
    assert {told.tzinfo, announced.tzinfo} == {UTC}


def test_a_read_sees_one_state_however_long_it_takes(postgres_store: SqlStore) -> None:
    item = kept(postgres_store, an_item())

    def work(tx: Reading) -> tuple[ReviewItem | None, ReviewItem | None]:
        before = tx.item(WORKSPACE, item.id)
        opened_elsewhere.write(lambda other: other.save_item(replace(item, queue="moved"), was=item))
        return before, tx.item(WORKSPACE, item.id)

    opened_elsewhere = postgres_store._writer  # noqa: SLF001 -- the store itself refuses nested work, rightly
    assert postgres_store.read(work) == (item, item)


def test_a_store_opened_again_has_everything(store_url: str, opened: Callable[[str], SqlStore]) -> None:
    first = opened(store_url)
    item = kept(first, an_item())

    second = opened(store_url)

    assert read_back(second, item) == item
    assert first.is_ready()
    assert second.is_ready()


def test_a_store_may_be_closed_twice(store: SqlStore) -> None:
    store.close()

    store.close()

    with pytest.raises(StoreClosedError):
        store.write(lambda tx: tx.now)


def test_a_read_only_view_cannot_write(store: SqlStore) -> None:
    with pytest.raises(Exception, match=r"readonly|read-only"):
        store.read(lambda tx: tx._connection.exec_driver_sql("DELETE FROM agents"))  # type: ignore[attr-defined]  # noqa: SLF001 -- no question writes, so the test must
