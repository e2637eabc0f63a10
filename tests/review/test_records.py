"""The records: pages to look at, and streams that hold everything once."""

import json
from datetime import timedelta
from typing import Any

import pytest

from agents.protocol import Approve
from review.audit import AuditEvent, EventFilter, EventKind
from review.errors import InvalidCursorError
from review.items import DecisionRecord, ReviewItem
from review.labels import Verdict
from review.records import EXPORT_BATCH, Records
from review.sealer import AuditExport
from review.store import Writing
from tests.builders import WORKSPACE, a_decision, ada, an_event, an_item, mary
from tests.clock import START, MovableClock
from tests.console import Console
from tests.review.steps import an_edit, caller, decide, events, submit

MANY = 2 * EXPORT_BATCH + 7


@pytest.fixture
def records(either_house: Console) -> Records:
    return either_house.records


def leaves(export: AuditExport) -> list[dict[str, Any]]:
    return [json.loads(event.leaf) for event in export]


def keep(house: Console, item: ReviewItem | None, decisions: list[DecisionRecord], events: list[AuditEvent]) -> None:
    def work(tx: Writing) -> None:
        if item is not None:
            tx.add_item(item)
        for record in decisions:
            tx.add_decision(record)
        for event in events:
            tx.record(event)

    house.store.write(work)


def test_every_event_is_exported_once_and_in_order_and_the_export_itself_is_one(
    records: Records, either_house: Console
) -> None:
    made = [an_event() for _ in range(MANY)]
    keep(either_house, None, [], made)

    exported = list(records.audit_events(mary, EventFilter()))

    assert [json.loads(event.leaf)["id"] for event in exported[:-1]] == [str(event.id) for event in made]
    assert [event.index for event in exported] == list(range(MANY + 1))
    last = json.loads(exported[-1].leaf)
    assert (last["kind"], last["actor"]) == (EventKind.EXPORT_MADE, {"kind": "person"})
    assert json.loads(exported[-1].openings)["actor_id"][1] == mary.id
    assert last["data"] == {"what": "audit", "since": None, "until": None}


def test_every_decision_is_exported_once_and_in_order(records: Records, either_house: Console) -> None:
    item = an_item()
    made = [a_decision(item) for _ in range(MANY)]
    keep(either_house, item, made, [])

    assert [record for _, record in records.decisions(mary)] == made
    assert [label.id for label in records.labels(mary)] == [record.id for record in made]


def test_an_export_between_two_moments_takes_the_first_and_leaves_the_last(
    records: Records, either_house: Console
) -> None:
    item = an_item()
    moments = [START + timedelta(seconds=n) for n in range(4)]
    decisions = [a_decision(item, decided_at=at) for at in moments]
    happened = [an_event(at=at) for at in moments]
    keep(either_house, item, decisions, happened)
    since, until = moments[1], moments[3]

    exported = [
        json.loads(event.leaf)["id"] for event in records.audit_events(mary, EventFilter(since=since, until=until))
    ]

    # The export is itself an event, at the start of the clock, and so before the time that was asked for.
    assert exported == [str(event.id) for event in happened[1:3]]
    assert [record for _, record in records.decisions(mary, since=since, until=until)] == decisions[1:3]
    assert [label.id for label in records.labels(mary, since=since, until=until)] == [r.id for r in decisions[1:3]]


def test_an_export_is_recorded_before_its_first_row_is_read(records: Records, either_house: Console) -> None:
    records.labels(mary)

    assert [event.data["what"] for event in events(either_house)] == ["labels"]


def test_another_workspaces_records_are_not_shown(records: Records, either_house: Console) -> None:
    item = an_item(workspace="elsewhere")
    keep(either_house, item, [a_decision(item)], [an_event(workspace="elsewhere")])

    exported = [*records.decisions(mary), *records.labels(mary)]

    assert (exported, records.label_preview(mary)) == ([], [])
    assert {leaf["workspace"] for leaf in leaves(records.audit_events(mary, EventFilter()))} == {WORKSPACE}


def test_the_log_is_paged_newest_first_and_filtered(records: Records, either_house: Console) -> None:
    made = [an_event(kind=kind) for kind in (EventKind.ITEM_CLAIMED, EventKind.ITEM_DECIDED) for _ in range(5)]
    keep(either_house, None, [], made)
    where = EventFilter(kind=EventKind.ITEM_CLAIMED)

    first = records.events(mary, where, limit=3)
    second = records.events(mary, where, limit=3, cursor=first.next_cursor)

    assert [*first.rows, *second.rows] == made[4::-1]
    assert second.next_cursor is None
    with pytest.raises(InvalidCursorError):
        records.events(mary, where, cursor="nonsense")


def test_a_decision_becomes_a_label(records: Records, either_house: Console, clock: MovableClock) -> None:
    agent = caller(either_house)
    for _ in range(2):
        submit(either_house, agent)
    decide(either_house, Approve())
    clock.advance(timedelta(minutes=1))
    decide(either_house, an_edit(order_id="B-2"))

    labels = list(records.labels(mary))

    assert [(label.verdict, label.agent) for label in labels] == [
        (Verdict.CORRECT, agent.agent),
        (Verdict.WRONG_ARGS, agent.agent),
    ]
    assert ada.name not in repr(labels)
    assert [label.id for label in records.label_preview(mary, limit=1)] == [labels[0].id]
