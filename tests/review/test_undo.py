"""Undo: a decision is kept at once and counts when its maker cannot take it back any more."""

import asyncio
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from functools import partial

import pytest
from joserfc.jwk import OKPKey

from agents.protocol import Approve, Decision, Edit, Execution, Reject, Route, Status
from db.store import SqlStore, open_store
from review.audit import EventKind
from review.desk import Seen
from review.erasure import Eraser, ErasurePlan
from review.errors import (
    AlreadyDecidedError,
    AlreadySettledError,
    ClaimLostError,
    ItemHeldError,
    ItemNotFoundError,
    PausedError,
    ReviewError,
    UndoTooLateError,
)
from review.exports import is_final
from review.items import CLAIM_DURATION, EVERY_DECISION, PendingDecision, ReasonCode, ReviewItem
from review.people import Person, Role
from review.policy import Autonomy, Rule
from review.settling import Settling
from tests.builders import ISSUER, WORKSPACE, ada, grace, lin
from tests.clock import MovableClock
from tests.console import Console
from tests.history import check_permission, check_standing
from tests.review.steps import (
    a_document,
    all_at_once,
    an_edit,
    caller,
    claim,
    decide,
    events,
    kept,
    kinds,
    submit,
)
from tests.waiting import PATIENCE_SECONDS

GRACE = timedelta(seconds=5)
JUST_BEFORE = GRACE - timedelta(microseconds=1)
FOUR_EYES = a_document(Autonomy.SUPERVISED, Rule(name="four eyes", when="true", route=Route.REVIEW, quorum=2))


@pytest.fixture
def desk_house(store: SqlStore) -> Console:
    """The use cases on each database in turn, with a grace."""
    return Console(store, undo_for=GRACE)


@pytest.fixture
def lite_house(sqlite_store: SqlStore) -> Console:
    return Console(sqlite_store, undo_for=GRACE)


def settle(house: Console, clock: MovableClock) -> int:
    clock.advance(GRACE)
    return house.desk.settling.tick()


def check_history(house: Console, item: ReviewItem) -> None:
    decisions = house.store.read(lambda tx: tx.decisions_of(WORKSPACE, item.id))
    check_standing(item, events(house, item.id), decisions)
    check_permission(item, decisions)


@pytest.mark.parametrize("decision", [Approve(), an_edit(order_id="B-2"), Reject(message="No.")])
def test_a_decision_is_kept_at_once_and_counts_after_the_grace(
    desk_house: Console, clock: MovableClock, decision: Decision
) -> None:
    submit(desk_house)
    pressed_at = clock()

    made = decide(desk_house, decision, reason_codes=(ReasonCode.OTHER,))
    clock.advance(JUST_BEFORE)
    too_early = desk_house.desk.settling.tick()
    waiting = kept(desk_house, made.id)
    clock.advance(GRACE - JUST_BEFORE)
    done = (desk_house.desk.settling.tick(), desk_house.desk.settling.tick())

    settled = kept(desk_house, made.id)
    (record,) = desk_house.store.read(lambda tx: tx.decisions_of(WORKSPACE, made.id))
    assert waiting == made
    assert made.pending == PendingDecision(
        decision=decision,
        reason_codes=(ReasonCode.OTHER,),
        iss=ada.iss,
        sub=ada.sub,
        name=ada.name,
        digest_seen=made.digest,
        dwell_ms=0,
        decided_at=pressed_at,
        settles_at=pressed_at + GRACE,
    )
    assert (too_early, done) == (0, (1, 0))
    assert (settled.status, settled.decision, settled.settled_by) == (Status.SETTLED, decision, ada.name)
    assert (settled.settled_at, settled.pending, settled.claim) == (pressed_at + GRACE, None, None)
    assert (record.decided_at, record.counted_at) == (pressed_at, pressed_at + GRACE)
    assert is_final(settled, record)
    assert kinds(desk_house, made.id)[-2:] == [EventKind.DECISION_MADE, EventKind.ITEM_DECIDED]
    check_history(desk_house, settled)


def test_in_the_grace_there_is_no_decision_no_receipt_and_no_label(desk_house: Console, clock: MovableClock) -> None:
    by = caller(desk_house)
    submit(desk_house, by)

    made = decide(desk_house, Approve())

    status = desk_house.intake.status(by, made.id)
    assert (status.status, status.decision, status.receipt, status.execution) == (
        *(Status.CLAIMED, None, None),
        Execution.NONE,
    )
    assert (made.jti, made.receipt, made.permitted_digest, made.settled_at) == (None, None, None, None)
    assert desk_house.store.read(lambda tx: tx.decided(WORKSPACE, EVERY_DECISION, limit=10)) == []
    settle(desk_house, clock)
    assert desk_house.intake.status(by, made.id).receipt is not None


def test_undo_gives_the_item_back_to_be_decided_again(desk_house: Console, clock: MovableClock) -> None:
    submit(desk_house)
    made = decide(desk_house, Approve())
    clock.advance(JUST_BEFORE)

    back = desk_house.desk.undo(ada, made.id, epoch=made.epoch)
    again = desk_house.desk.undo(ada, made.id, epoch=made.epoch)
    desk_house.desk.decide(back.id, Reject(message="No."), ada, seen=Seen.of(back))
    settle(desk_house, clock)

    assert back == again
    assert (back.status, back.pending, back.epoch) == (Status.CLAIMED, None, made.epoch + 1)
    assert back.claim is not None
    assert back.claim.until == clock() - GRACE + CLAIM_DURATION
    settled = kept(desk_house, made.id)
    assert settled.decision == Reject(message="No.")
    assert kinds(desk_house, made.id)[-4:] == [
        EventKind.DECISION_MADE,
        EventKind.DECISION_TAKEN_BACK,
        EventKind.DECISION_MADE,
        EventKind.ITEM_DECIDED,
    ]
    check_history(desk_house, settled)


def test_an_undo_at_the_end_of_the_grace_is_too_late_swept_or_not(desk_house: Console, clock: MovableClock) -> None:
    submit(desk_house)
    made = decide(desk_house, Approve())
    clock.advance(GRACE)

    with pytest.raises(UndoTooLateError):
        desk_house.desk.undo(ada, made.id, epoch=made.epoch)
    desk_house.desk.settling.tick()
    with pytest.raises(AlreadySettledError):
        desk_house.desk.undo(ada, made.id, epoch=made.epoch)

    assert kept(desk_house, made.id).status is Status.SETTLED


def test_a_decision_that_was_undone_and_is_heard_again_is_not_made_again(desk_house: Console) -> None:
    submit(desk_house)
    item = claim(desk_house)
    press = partial(desk_house.desk.decide, item.id, Approve(), ada, seen=Seen.of(item))
    press()
    back = desk_house.desk.undo(ada, item.id, epoch=item.epoch)

    with pytest.raises(ClaimLostError):
        press()

    assert kept(desk_house, item.id) == back


def test_the_same_decision_again_in_the_grace_changes_nothing(desk_house: Console, clock: MovableClock) -> None:
    submit(desk_house)
    item = claim(desk_house)
    press = partial(desk_house.desk.decide, item.id, Approve(), ada, seen=Seen.of(item))
    first = press()
    clock.advance(timedelta(seconds=2))

    second = press()

    assert first == second == kept(desk_house, item.id)
    assert kinds(desk_house, item.id).count(EventKind.DECISION_MADE) == 1


@pytest.mark.parametrize(
    ("touch", "refusal"),
    [
        (lambda desk, item: desk.decide(item.id, Reject(message="No."), ada, seen=Seen.of(item)), AlreadyDecidedError),
        (lambda desk, item: desk.extend(ada, item.id, epoch=item.epoch), AlreadyDecidedError),
        (lambda desk, item: desk.claim_item(ada, item.id), AlreadyDecidedError),
        (lambda desk, item: desk.claim_item(grace, item.id), ItemHeldError),
        (lambda desk, item: desk.decide(item.id, Approve(), grace, seen=Seen.of(item)), ItemHeldError),
        (lambda desk, item: desk.undo(grace, item.id, epoch=item.epoch), ClaimLostError),
        (lambda desk, item: desk.undo(lin, item.id, epoch=item.epoch), ReviewError),
        (lambda desk, item: desk.undo(ada, item.id, epoch=item.epoch - 1), UndoTooLateError),
    ],
)
def test_nobody_touches_an_item_on_which_a_decision_waits(
    lite_house: Console, touch: Callable[..., object], refusal: type[ReviewError]
) -> None:
    submit(lite_house)
    made = decide(lite_house, Approve())

    with pytest.raises(refusal):
        touch(lite_house.desk, made)

    assert kept(lite_house, made.id) == made


def test_a_release_of_what_is_decided_changes_nothing(lite_house: Console) -> None:
    submit(lite_house)
    made = decide(lite_house, Approve())

    lite_house.desk.release(ada, made.id, epoch=made.epoch)

    assert kept(lite_house, made.id) == made


def test_who_decided_takes_the_next_item_and_gives_it_back_with_an_undo(desk_house: Console) -> None:
    submit(desk_house)
    following = submit(desk_house)
    made = decide(desk_house, Approve())
    held = claim(desk_house)

    back = desk_house.desk.undo(ada, made.id, epoch=made.epoch)

    assert held.id == following.id
    assert claim(desk_house) == back
    assert kept(desk_house, following.id).status is Status.WAITING
    assert kinds(desk_house, following.id)[-1] is EventKind.CLAIM_RELEASED


def test_what_can_be_undone_is_shown_to_its_maker_latest_first(desk_house: Console, clock: MovableClock) -> None:
    for _ in range(3):
        submit(desk_house)
    first = decide(desk_house, Approve())
    clock.advance(timedelta(seconds=2))
    second = decide(desk_house, Approve())
    decide(desk_house, Approve(), grace)

    assert [item.id for item in desk_house.desk.undoable(ada)] == [second.id, first.id]
    clock.advance(timedelta(seconds=3))
    assert desk_house.desk.undoable(ada) == [second]
    settle(desk_house, clock)
    assert desk_house.desk.undoable(ada) == []


def test_the_hold_does_not_lapse_while_a_decision_waits(desk_house: Console, clock: MovableClock) -> None:
    submit(desk_house)
    item = claim(desk_house)
    clock.advance(CLAIM_DURATION - timedelta(seconds=1))
    desk_house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))
    clock.advance(timedelta(seconds=3))

    moved = desk_house.intake.sweep()
    taken = desk_house.desk.claim(grace)
    with pytest.raises(ItemHeldError):
        desk_house.desk.claim_item(grace, item.id)
    back = desk_house.desk.undo(ada, item.id, epoch=item.epoch)

    assert (moved, taken) == (0, None)
    assert back.claim is not None
    assert back.claim.until == clock() + CLAIM_DURATION


def test_a_decision_in_time_counts_when_the_items_own_time_is_up(desk_house: Console, clock: MovableClock) -> None:
    submit(desk_house, expires_in=60)
    item = claim(desk_house)
    clock.advance(timedelta(seconds=58))
    made = desk_house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))
    clock.advance(timedelta(seconds=2))

    with pytest.raises(UndoTooLateError):
        desk_house.desk.undo(ada, item.id, epoch=item.epoch)
    moved = (desk_house.intake.sweep(), desk_house.desk.settling.tick())

    settled = kept(desk_house, item.id)
    assert made.pending is not None
    assert made.pending.settles_at == item.expires_at
    assert moved == (0, 1)
    assert (settled.status, settled.execution) == (Status.SETTLED, Execution.PERMITTED)


def test_a_withdrawal_in_the_grace_wins_over_the_decision(desk_house: Console, clock: MovableClock) -> None:
    by = caller(desk_house)
    submit(desk_house, by)
    made = decide(desk_house, Approve())

    desk_house.intake.cancel(by, made.id)
    settled = settle(desk_house, clock)

    gone = kept(desk_house, made.id)
    assert settled == 0
    assert (gone.status, gone.pending, gone.decision, gone.execution) == (
        *(Status.CANCELLED, None, None),
        Execution.NONE,
    )
    with pytest.raises(AlreadySettledError):
        desk_house.desk.undo(ada, made.id, epoch=made.epoch)
    check_history(desk_house, gone)


def test_each_approval_of_a_quorum_has_its_own_grace(desk_house: Console, clock: MovableClock) -> None:
    desk_house.save_policy(FOUR_EYES)
    submit(desk_house)

    first = decide(desk_house, Approve())
    others_chance = desk_house.desk.claim(grace)
    settle(desk_house, clock)
    with pytest.raises(UndoTooLateError):
        desk_house.desk.undo(ada, first.id, epoch=first.epoch)
    decide(desk_house, Approve(), grace)
    between = kept(desk_house, first.id)
    settle(desk_house, clock)

    settled = kept(desk_house, first.id)
    assert others_chance is None
    assert (between.status, between.execution) == (Status.CLAIMED, Execution.NONE)
    assert (settled.status, settled.execution) == (Status.SETTLED, Execution.PERMITTED)
    assert kinds(desk_house, first.id)[-4:] == [
        EventKind.APPROVAL_GIVEN,
        EventKind.ITEM_CLAIMED,
        EventKind.DECISION_MADE,
        EventKind.ITEM_DECIDED,
    ]
    check_history(desk_house, settled)


def test_an_edit_before_others_becomes_their_version_after_its_grace(desk_house: Console, clock: MovableClock) -> None:
    desk_house.save_policy(FOUR_EYES)
    submit(desk_house)

    made = decide(desk_house, an_edit(order_id="B-2"))
    settle(desk_house, clock)

    drafted = kept(desk_house, made.id)
    assert (made.version, made.draft) == (1, None)
    assert (drafted.version, drafted.draft, drafted.status) == (
        2,
        an_edit(order_id="B-2").edited_action,
        Status.WAITING,
    )
    check_history(desk_house, drafted)


def test_a_policy_that_permits_no_more_is_heard_in_the_grace(lite_house: Console, clock: MovableClock) -> None:
    submit(lite_house)
    made = decide(lite_house, Approve())

    lite_house.save_policy(a_document(Autonomy.SHADOW))
    settle(lite_house, clock)

    settled = kept(lite_house, made.id)
    assert (settled.status, settled.execution, settled.receipt) == (Status.SETTLED, Execution.NONE, None)


def test_what_is_paused_in_the_grace_is_not_permitted_and_waits_for_people(
    desk_house: Console, clock: MovableClock
) -> None:
    submit(desk_house)
    approved = decide(desk_house, Approve())
    submit(desk_house)
    rejected = decide(desk_house, Reject(message="No."))
    desk_house.switch.pause(grace, reason="Wrong prices.")

    settled = settle(desk_house, clock)

    back = kept(desk_house, approved.id)
    assert settled == 1
    assert kept(desk_house, rejected.id).status is Status.SETTLED
    assert (back.status, back.pending, back.claim, back.execution) == (Status.WAITING, None, None, Execution.NONE)
    check_history(desk_house, back)
    item = claim(desk_house)
    with pytest.raises(PausedError):
        desk_house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))
    assert kept(desk_house, item.id) == item
    desk_house.switch.resume(grace)
    desk_house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))
    settle(desk_house, clock)
    assert kept(desk_house, item.id).execution is Execution.PERMITTED


def test_erasing_in_the_grace_withdraws_and_leaves_nothing(desk_house: Console, clock: MovableClock) -> None:
    submit(desk_house)
    made = decide(desk_house, Reject(message="Never."))
    admin = Person(ISSUER, "root", "Root", frozenset({Role.ADMIN}))

    Eraser(desk_house.store).erase(admin, ErasurePlan((made.id,), 1))

    bare = kept(desk_house, made.id)
    assert (bare.status, bare.pending) == (Status.CANCELLED, None)
    assert settle(desk_house, clock) == 0
    told = next(event for event in events(desk_house, made.id) if event.kind is EventKind.DECISION_MADE)
    assert told.data["digest_seen"] == "[erased]"


def test_without_a_signer_a_decision_waits_and_keeps_no_other_waiting(store: SqlStore, clock: MovableClock) -> None:
    house = Console(store, undo_for=GRACE)
    submit(house)
    approved = decide(house, Approve())
    submit(house)
    rejected = decide(house, Reject(message="No."))
    house.receipts._key = OKPKey.import_key(house.signing_key.as_dict(private=False))  # noqa: SLF001 -- lost while it ran
    clock.advance(GRACE)

    with pytest.raises(Exception, match="sign"):
        house.desk.settling.tick()

    assert kept(house, approved.id) == approved
    assert kept(house, rejected.id).status is Status.SETTLED


def test_a_restarted_server_settles_what_was_decided_before(store_url: str, clock: MovableClock) -> None:
    with closing(open_store(store_url, clock=clock)) as before:
        house = Console(before, undo_for=GRACE)
        submit(house)
        made = decide(house, Approve())
    clock.advance(timedelta(hours=3))

    with closing(open_store(store_url, clock=clock)) as after:
        # One that gives no grace itself settles what another gave one.
        house = Console(after)
        assert house.desk.settling.tick() == 1
        assert kept(house, made.id).status is Status.SETTLED


def test_two_replicas_settle_once(store_url: str, clock: MovableClock, opened: Callable[[str], SqlStore]) -> None:
    house = Console(opened(store_url), undo_for=GRACE)
    for _ in range(10):
        submit(house)
        decide(house, Approve())
    replicas = [Settling(one, house.receipts, house.policies) for one in (house.store, opened(store_url))]
    clock.advance(GRACE)

    counted = all_at_once(4, lambda number: replicas[number % 2].tick())

    assert sum(counted) == 10
    assert kinds(house).count(EventKind.ITEM_DECIDED) == 10


def test_of_an_undo_and_the_end_of_the_grace_one_happens(desk_house: Console, clock: MovableClock) -> None:
    submit(desk_house)
    made = decide(desk_house, Approve())
    withdrawn = caller(desk_house)

    def go(number: int) -> object:
        if number == 0:
            return desk_house.desk.undo(ada, made.id, epoch=made.epoch)
        if number == 1:
            return desk_house.intake.cancel(withdrawn, made.id)
        clock.advance(GRACE)
        return desk_house.desk.settling.tick()

    undone, gone, settled = all_at_once(3, go)

    item = kept(desk_house, made.id)
    assert item.pending is None
    assert (item.status is Status.SETTLED) == (settled == 1)
    assert (item.status is Status.CANCELLED) == (not isinstance(gone, ReviewError))
    assert isinstance(undone, ReviewItem | UndoTooLateError | AlreadySettledError)
    check_history(desk_house, item)


def test_a_waiting_agent_is_answered_as_soon_as_the_grace_is_over(sqlite_url: str) -> None:
    with closing(open_store(sqlite_url)) as store:  # Its clock is the host's: what is measured is real time.
        house = Console(store, undo_for=timedelta(seconds=0.3))
        by = caller(house)
        submit(house, by)
        item = claim(house)

        async def wait_for_it() -> tuple[bool, float]:
            async with store.wakeups.expecting(item.id) as wait:
                pressed_at = time.monotonic()
                await asyncio.to_thread(house.desk.decide, item.id, Approve(), ada, seen=Seen.of(item))
                return await wait(PATIENCE_SECONDS), time.monotonic() - pressed_at

        with house.desk.settling.running():
            has_changed, took = asyncio.run(wait_for_it())

        status = house.intake.status(by, item.id)
    assert has_changed
    assert took >= 0.3
    assert (status.status, status.receipt is not None) == (Status.SETTLED, True)


def test_the_alarm_goes_on_after_a_step_that_failed(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with closing(open_store(sqlite_url)) as store:
        house = Console(store, undo_for=timedelta(seconds=0.05))
        by = caller(house)
        submit(house, by)
        submit(house, by)
        signer = house.receipts._key  # noqa: SLF001 -- lost while it ran, and found again
        house.receipts._key = OKPKey.import_key(house.signing_key.as_dict(private=False))  # noqa: SLF001
        with house.desk.settling.running():
            first = decide(house, Approve())
            while not caplog.records:
                time.sleep(0.01)
            house.receipts._key = signer  # noqa: SLF001
            second = decide(house, Approve())
            while kept(house, second.id).status is not Status.SETTLED:
                time.sleep(0.01)

        assert kept(house, first.id).status is Status.SETTLED
    assert caplog.messages == ["decisions could not be settled; the next sweep tries again"]


def test_nobody_undoes_in_another_workspace(lite_house: Console) -> None:
    submit(lite_house)
    made = decide(lite_house, Approve())
    elsewhere = Person(ada.iss, ada.sub, ada.name, ada.roles, "elsewhere")

    with pytest.raises(ItemNotFoundError):
        lite_house.desk.undo(elsewhere, made.id, epoch=made.epoch)

    assert lite_house.desk.undoable(elsewhere) == []


def test_an_edit_that_is_undone_leaves_no_trace_of_its_arguments(lite_house: Console, clock: MovableClock) -> None:
    submit(lite_house)
    made = decide(lite_house, Edit(edited_action=an_edit(order_id="B-2").edited_action))
    back = lite_house.desk.undo(ada, made.id, epoch=made.epoch)

    lite_house.desk.decide(back.id, Approve(), ada, seen=Seen.of(back))
    settle(lite_house, clock)

    records = lite_house.store.read(lambda tx: tx.decisions_of(WORKSPACE, made.id))
    assert [record.decision for record in records] == [Approve()]
