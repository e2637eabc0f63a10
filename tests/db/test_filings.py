"""Submissions that share a transaction: their keys are looked up together and their items written together."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from threading import Event

import pytest

from agents.protocol import Impact, Reject, Status
from db.store import SqlStore
from review.audit import Actor, EventFilter
from review.items import DecisionRecord, ItemFilter, Order, Rejection, ReviewItem
from review.store import DuplicateKeyError, FilingKey, Writing
from tests.builders import AGENT, WORKSPACE, a_decision, a_request, an_action, an_event, an_item, keeping
from tests.clock import START
from tests.waiting import PATIENCE_SECONDS

HOSTILE = "NUL \0, quote \", backslash \\0, tab \t, bidi \u202e, emoji 🧵, %s %_!'--"

WAITING = ItemFilter(statuses=(Status.WAITING,))


def key_of(item: ReviewItem) -> FilingKey:
    assert item.idempotency_key is not None
    return FilingKey(item.workspace, item.agent, item.idempotency_key)


def filing(store: SqlStore, item: ReviewItem, *, by: Actor | None = None) -> Future[ReviewItem]:
    def work(tx: Writing) -> ReviewItem:
        known = tx.item_by_key(*key_of(item))
        if known is not None:
            return known
        tx.add_item(item)
        tx.record(an_event(item_id=item.id, **({"actor": by} if by else {})))
        return item

    return store.begin(work, key=key_of(item))


@contextmanager
def held(store: SqlStore) -> Iterator[None]:
    """Keep the writer busy inside the context, so that what is begun there runs together afterwards."""
    busy, free = Event(), Event()

    def hold(_: Writing) -> None:
        busy.set()
        free.wait(PATIENCE_SECONDS)

    holding = store.begin(hold)
    assert busy.wait(PATIENCE_SECONDS)
    try:
        yield
    finally:
        free.set()
        holding.result(PATIENCE_SECONDS)


def keys_kept(store: SqlStore) -> list[str]:
    items = store.read(lambda tx: tx.whole_items(WORKSPACE, ItemFilter(), limit=50)).rows
    return sorted(item.idempotency_key or "" for item in items)


def test_submissions_that_wait_together_are_all_kept(store: SqlStore) -> None:
    items = [an_item(idempotency_key=f"k{number}") for number in range(6)]

    with held(store):
        begun = [filing(store, item) for item in items]
    answers = [each.result(PATIENCE_SECONDS) for each in begun]

    assert answers == items
    assert keys_kept(store) == [f"k{number}" for number in range(6)]
    assert len(store.read(lambda tx: tx.events(WORKSPACE, EventFilter(), limit=50)).rows) == 6


def test_what_is_written_together_reads_back_as_it_was(store: SqlStore) -> None:
    request = a_request(confidence=1e-7, rationale=HOSTILE, impact=Impact(amount="0.1", subject=HOSTILE))
    strange = an_item(idempotency_key="strange", queue=HOSTILE, request=request, parent_id=an_item().id)
    plain = an_item(idempotency_key="plain")

    with held(store):
        begun = [filing(store, item, by=Actor("person", HOSTILE, HOSTILE)) for item in (strange, plain)]
    answers = [each.result(PATIENCE_SECONDS) for each in begun]

    assert answers == [strange, plain]
    assert [store.read(lambda tx, id_=item.id: tx.item(WORKSPACE, id_)) for item in answers] == answers  # type: ignore[misc]  # bound at once
    told = store.read(lambda tx: tx.events(WORKSPACE, EventFilter(actor=HOSTILE), limit=50)).rows
    assert {(event.item_id, event.actor.name) for event in told} == {(item.id, HOSTILE) for item in answers}


def test_a_key_that_comes_twice_in_one_transaction_is_filed_once(store: SqlStore) -> None:
    first, second, other = (an_item(idempotency_key=key) for key in ("same", "same", "other"))

    with held(store):
        begun = [filing(store, item) for item in (first, second, other)]

    assert [each.result(PATIENCE_SECONDS).id for each in begun] == [first.id, first.id, other.id]
    assert keys_kept(store) == ["other", "same"]


def test_a_key_that_was_filed_before_is_found_among_new_ones(store: SqlStore) -> None:
    known = an_item(idempotency_key="known")
    filing(store, known).result(PATIENCE_SECONDS)

    with held(store):
        begun = [filing(store, an_item(idempotency_key=key)) for key in ("new", "known")]

    assert begun[1].result(PATIENCE_SECONDS).id == known.id
    assert keys_kept(store) == ["known", "new"]


def test_a_work_that_fails_after_it_added_an_item_keeps_nothing_and_spares_the_others(store: SqlStore) -> None:
    failed, kept = an_item(idempotency_key="failed"), an_item(idempotency_key="kept")

    def add_and_fail(tx: Writing) -> None:
        tx.add_item(failed)
        raise LookupError

    with held(store):
        failing = store.begin(add_and_fail, key=key_of(failed))
        fine = filing(store, kept)

    assert fine.result(PATIENCE_SECONDS) == kept
    with pytest.raises(LookupError):
        failing.result(PATIENCE_SECONDS)
    assert keys_kept(store) == ["kept"]


def test_a_work_sees_the_items_that_others_added_in_the_same_transaction(store: SqlStore) -> None:
    items = [an_item(idempotency_key=f"k{number}") for number in range(3)]

    with held(store):
        for item in items:
            filing(store, item)
        seen = store.begin(lambda tx: tx.items(WORKSPACE, WAITING, order=Order.URGENT, limit=10))

    assert [row.id for row in seen.result(PATIENCE_SECONDS).rows] == [item.id for item in items]


def test_a_work_sees_the_decisions_that_it_and_others_added_in_the_same_transaction(store: SqlStore) -> None:
    item = an_item()
    store.write(keeping(item))
    records = [a_decision(item), a_decision(item)]

    def add_and_look(tx: Writing, record: DecisionRecord) -> Sequence[DecisionRecord]:
        tx.add_decision(record)
        return tx.decisions_of(item.workspace, item.id)

    with held(store):
        first, second = (store.begin(partial(add_and_look, record=record)) for record in records)

    assert first.result(PATIENCE_SECONDS) == records[:1]
    assert second.result(PATIENCE_SECONDS) == records


def test_a_work_that_is_refused_after_others_were_written_lets_them_stand(store: SqlStore) -> None:
    item = an_item(idempotency_key="kept")
    runs: list[str] = []

    def add(tx: Writing) -> None:
        runs.append("added")
        tx.add_item(item)

    def look_and_refuse(tx: Writing) -> None:
        assert tx.item(item.workspace, item.id) == item
        runs.append("refused")
        raise LookupError

    with held(store):
        added = store.begin(add, key=key_of(item))
        refused = store.begin(look_and_refuse)

    added.result(PATIENCE_SECONDS)
    with pytest.raises(LookupError):
        refused.result(PATIENCE_SECONDS)
    assert runs == ["added", "refused"]
    assert keys_kept(store) == ["kept"]


def test_a_key_that_another_process_takes_after_the_look_up_is_filed_once(
    postgres_url: str, opened: Callable[[str], SqlStore]
) -> None:
    here, there = opened(postgres_url), opened(postgres_url)
    mine, theirs, other = (an_item(idempotency_key=key) for key in ("raced", "raced", "other"))
    looked_up, taken = Event(), Event()

    def work(tx: Writing) -> ReviewItem:
        known = tx.item_by_key(*key_of(mine))
        if known is not None:
            return known
        looked_up.set()
        taken.wait(PATIENCE_SECONDS)
        tx.add_item(mine)
        return mine

    with held(here):
        raced = here.begin(work, key=key_of(mine))
        fine = filing(here, other)
    assert looked_up.wait(PATIENCE_SECONDS)
    filing(there, theirs).result(PATIENCE_SECONDS)
    taken.set()

    assert raced.result(PATIENCE_SECONDS).id == theirs.id
    assert fine.result(PATIENCE_SECONDS) == other
    assert keys_kept(here) == ["other", "raced"]


def test_only_a_call_that_was_rejected_is_asked_for(store: SqlStore) -> None:
    rejected = an_item(status=Status.SETTLED, decision=Reject(message="No."), settled_at=START)
    other = an_item(request=a_request(action=an_action(order_id="B-2")))
    store.write(keeping(rejected))

    def asking(item: ReviewItem) -> Future[list[Rejection]]:
        key = FilingKey(item.workspace, item.agent, item.id.hex)
        return store.begin(lambda tx: list(tx.rejections(*key[:2], item.digest)), key=key, digest=item.digest)

    with held(store):
        begun = [asking(item) for item in (rejected, other)]

    assert [each.result(PATIENCE_SECONDS) for each in begun] == [[Rejection(rejected.id, None)], []]


def test_a_work_that_was_begun_cannot_be_cancelled(store: SqlStore) -> None:
    item = an_item(idempotency_key="k")

    with held(store):
        begun = filing(store, item)
        is_cancelled = begun.cancel()

    assert not is_cancelled
    assert begun.result(PATIENCE_SECONDS) == item


def test_an_unannounced_key_is_refused_when_it_is_taken(store: SqlStore) -> None:
    item = an_item(idempotency_key="k")
    store.write(lambda tx: tx.add_item(item))

    with pytest.raises(DuplicateKeyError):
        store.write(lambda tx: tx.add_item(an_item(agent=AGENT, idempotency_key="k")))
