"""Openings stand apart from the events: written with them, found by them, and the one thing that can be removed."""

import json
from threading import Event

import pytest
from sqlalchemy import select, text

from db import tables
from db.store import SqlStore
from review.audit import EventFilter, EventKind, person_actor
from review.store import Writing
from review.verify import ERASED
from tests.builders import WORKSPACE, ada, an_event, an_item, keeping
from tests.waiting import PATIENCE_SECONDS

DIGEST = "sha256:" + "7" * 64
HOSTILE = "NUL \0, quote \", backslash \\0, bidi \u202e, emoji 🧵, ]]:[[ %_!'--"


def digests(store: SqlStore) -> list[str]:
    found = store.read(lambda tx: tx.events_after(WORKSPACE, EventFilter(), limit=100, after=None))
    return [event.data["digest"] for event in found]


def test_no_row_that_is_guarded_holds_what_can_be_erased(store: SqlStore) -> None:
    event = an_event(actor=person_actor(ada), data={"digest": DIGEST, "holder": "Grace", "epoch": 1})

    store.write(keeping(event))

    with store._engines.reading.begin() as connection:  # noqa: SLF001 -- no question of ours shows the bare row
        row = connection.execute(select(tables.audit_events)).one()
    assert [word for word in (ada.sub, ada.name, DIGEST, "Grace") if word in repr(row)] == []
    assert json.loads(row.leaf)["data"] == {"epoch": 1}
    assert store.read(lambda tx: tx.events(WORKSPACE, EventFilter(), limit=5)).rows == (event,)


def test_the_same_value_is_another_commitment_every_time(store: SqlStore) -> None:
    store.write(keeping(*(an_event(data={"digest": DIGEST, "digest_seen": DIGEST}) for _ in range(3))))

    found = store.read(lambda tx: tx.events(WORKSPACE, EventFilter(), limit=5)).rows

    committed = [each for event in found for each in json.loads(event.leaf)["committed"].values()]
    assert len(set(committed)) == 6


def test_whatever_a_person_is_called_is_read_as_it_was_written(store: SqlStore) -> None:
    actor = person_actor(ada)
    event = an_event(actor=type(actor)("person", HOSTILE, HOSTILE), data={"holder": HOSTILE})

    store.write(keeping(event))

    assert store.read(lambda tx: tx.events(WORKSPACE, EventFilter(actor=HOSTILE), limit=5)).rows == (event,)


def test_openings_of_content_are_removed_of_one_item_and_those_of_people_stay(store: SqlStore) -> None:
    item, other = an_item(), an_item()
    happened = [an_event(item_id=each.id, actor=person_actor(ada), data={"digest": DIGEST}) for each in (item, other)]
    store.write(keeping(item, other, *happened))

    store.write(lambda tx: tx.remove_openings(WORKSPACE, item.id))

    assert sorted(digests(store)) == [ERASED, DIGEST]
    found = store.read(lambda tx: tx.events(WORKSPACE, EventFilter(actor=ada.name), limit=5)).rows
    assert len(found) == 2


def test_a_removal_takes_what_the_works_of_the_same_commit_wrote_before_it(store: SqlStore) -> None:
    item = an_item()
    store.write(keeping(item))
    may_go_on = Event()

    def hold_up(_: Writing) -> None:
        assert may_go_on.wait(PATIENCE_SECONDS)

    # While the first work holds the writer up, the others gather for one commit.
    works = [store.begin(hold_up)]
    works.append(store.begin(keeping(an_event(item_id=item.id, data={"digest": DIGEST}))))
    works.append(store.begin(lambda tx: tx.remove_openings(WORKSPACE, item.id)))
    may_go_on.set()
    for work in works:
        work.result(PATIENCE_SECONDS)

    assert digests(store) == [ERASED]


def test_a_removal_in_the_work_that_wrote_the_event_takes_it_too(store: SqlStore) -> None:
    item = an_item()

    def work(tx: Writing) -> None:
        tx.add_item(item)
        tx.remove_openings(WORKSPACE, item.id)
        tx.record(an_event(item_id=item.id, data={"digest": DIGEST}))

    store.write(work)

    assert digests(store) == [ERASED]


@pytest.mark.parametrize("statement", ["UPDATE openings SET content = NULL", "DELETE FROM openings"])
def test_nothing_guards_the_openings(store: SqlStore, statement: str) -> None:
    store.write(keeping(an_event(kind=EventKind.ACTION_SUBMITTED, data={"digest": DIGEST})))

    with store._engines.writing.begin() as connection:  # noqa: SLF001 -- as an administrator would
        connection.execute(text(statement))

    assert digests(store) == [ERASED]
