"""The steps of a review, so that a test of a use case tells only what it is about."""

from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from agents.protocol import Action, ActionStatus, Decision, Edit
from db.store import SqlStore
from db.tables import Base
from review.audit import AuditEvent, EventFilter, EventKind
from review.desk import Seen
from review.intake import Submission
from review.items import ItemFilter, ReviewItem
from review.people import AgentKey, Person
from review.policy import Autonomy, PolicyDocument, Queue, Rule, ToolRule
from tests.builders import AGENT, WORKSPACE, a_request, ada
from tests.console import Console
from tests.waiting import PATIENCE_SECONDS

TOOL = "refund_order"


def caller(house: Console, agent: str = AGENT) -> AgentKey:
    return house.keys.recognise(house.agent_key(agent))


def submit(
    house: Console,
    by: AgentKey | None = None,
    *,
    key: str | None = None,
    body: str = "the body",
    **fields: Any,  # noqa: ANN401 -- whatever the request takes
) -> ActionStatus:
    submission = Submission(a_request(**fields), key or str(uuid7()), body)
    return house.intake.submit(by or caller(house), submission)[0]


def claim(house: Console, person: Person = ada) -> ReviewItem:
    item = house.desk.claim(person)
    assert item is not None, "nothing waits"
    return item


def decide(house: Console, decision: Decision, person: Person = ada, **more: Any) -> ReviewItem:  # noqa: ANN401 -- whatever decide takes
    """Claim the next item and decide it as it was shown."""
    item = claim(house, person)
    return house.desk.decide(item.id, decision, person, seen=Seen.of(item), **more)


def an_edit(name: str = TOOL, **args: Any) -> Edit:  # noqa: ANN401 -- JSON values
    return Edit(edited_action=Action(name=name, args=args))


def a_document(
    autonomy: Autonomy = Autonomy.AUTONOMOUS,
    *rules: Rule,
    queues: tuple[Queue, ...] = (),
    **tool: Any,  # noqa: ANN401 -- whatever the tool's rule takes
) -> PolicyDocument:
    """Return a policy that says this of the builders' agent and tool."""
    known = ToolRule(agent=AGENT, tool=TOOL, autonomy=autonomy, **tool)
    return PolicyDocument(rules=rules, tools=(known,), queues=queues)


def kept(house: Console, item_id: UUID) -> ReviewItem:
    item = house.store.read(lambda tx: tx.item(WORKSPACE, item_id))
    assert item is not None, "the item is gone"
    return item


def items(house: Console, **where: Any) -> tuple[ReviewItem, ...]:  # noqa: ANN401 -- fields of the filter
    return house.store.read(lambda tx: tx.whole_items(WORKSPACE, ItemFilter(**where), limit=500)).rows


def events(house: Console, item_id: UUID | None = None) -> list[AuditEvent]:
    """Return what happened, oldest first."""
    where = EventFilter(item_id=item_id)
    return list(house.store.read(lambda tx: tx.events_after(WORKSPACE, where, limit=10_000, after=None)))


def kinds(house: Console, item_id: UUID | None = None) -> list[EventKind]:
    return [event.kind for event in events(house, item_id)]


def all_at_once(count: int, run: Callable[[int], object]) -> list[Any]:
    """Run the same on so many threads, let go together; return what each returned or raised."""
    barrier = Barrier(count)
    results: list[Any] = [None] * count

    def go(number: int) -> None:
        barrier.wait(PATIENCE_SECONDS)
        try:
            results[number] = run(number)
        except Exception as error:  # noqa: BLE001 -- the test looks at whatever it was
            results[number] = error

    threads = [Thread(target=go, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert not any(thread.is_alive() for thread in threads), "a thread did not end"
    return results


def all_rows(store: SqlStore) -> dict[str, list[tuple[Any, ...]]]:
    """Return all that is kept, but for the audit log."""
    with store._engines.reading.begin() as connection:  # noqa: SLF001 -- no question of ours shows every row
        return {
            name: sorted((tuple(row) for row in connection.execute(table.select())), key=repr)
            for name, table in Base.metadata.tables.items()
            if name != "audit_events"
        }
