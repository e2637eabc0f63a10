"""Search: which words an item is found by, on both databases; what erasure takes away; and that nothing is scanned."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, event, text

from agents.protocol import Approve, ContextEntry, ContextKind, Edit, Reject, Status
from db.store import SqlStore
from review.erasure import Eraser
from review.errors import NotAllowedError
from review.governance import PolicyBook
from review.indexer import Search
from review.items import DecisionFilter, ItemFilter, Order, ReviewItem
from review.people import Role
from review.search import Snippet, asked_terms, search_words, snippet, text_of
from review.store import Reading
from tests.builders import WORKSPACE, a_decision, a_request, ada, an_action, an_event, an_item, keeping
from tests.clock import START

MANY_MORE = (
    "INSERT INTO items SELECT made.* FROM items, generate_series(1, 100) AS n, LATERAL jsonb_populate_record("
    "items, jsonb_build_object('id', md5(items.id::text || n), 'idempotency_key', NULL)) AS made",
    "INSERT INTO item_words (workspace, item_id, words) "
    "SELECT workspace, id, translate(id::text, '-', ' ') FROM items ON CONFLICT DO NOTHING",
    "ANALYZE items, item_words",
)
HOSTILE = "x\" OR words:* NEAR(a b) ' | !:* & <-> () \\ \0 --"


def kept(store: SqlStore, *made: ReviewItem) -> None:
    events = [an_event(workspace=item.workspace, item_id=item.id) for item in made]
    store.write(keeping(*made, *events))
    while Search(store, PolicyBook(store)).tick():
        pass


def found(store: SqlStore, words: str, workspace: str = WORKSPACE, **asked: Any) -> list[UUID]:  # noqa: ANN401 -- a filter's fields
    where = ItemFilter(words=words, **asked)
    return [line.id for line in store.read(lambda tx: tx.items(workspace, where, order=Order.OLDEST, limit=10)).rows]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("R-1042", [("r", "1042")]),
        ("  CRÈME  brûlée ", [("creme",), ("brulee",)]),
        ("refund_order", [("refund", "order")]),
        ("銀座店", [("銀", "座", "店")]),
        ("\uff21\uff22", [("ab",)]),
        ("straße", [("strasse",)]),
        ("ada@example.com", [("ada", "example", "com")]),
        ("%%% -- \0", []),
        (" ".join("abcdefghijklmnop"), [(letter,) for letter in "abcdefghijkl"]),
    ],
)
def test_a_search_asks_for_terms_of_words_in_a_row(words: str, expected: list[tuple[str, ...]]) -> None:
    assert asked_terms(words) == expected


def test_a_snippet_is_the_line_that_says_it_cut_around_what_was_found() -> None:
    told = "order: R-1042\nThe client in Genève wrote: the crème, " + "very " * 40 + "late"

    places = [snippet(told, asked_terms(words)) for words in ("geneve", "r-10", "cream", "late", "client in the")]

    assert places == [
        Snippet("The client in ", "Genève", " wrote: the crème, " + ("very " * 40)[:61] + "…"),
        Snippet("order: ", "R-1042", ""),
        None,
        Snippet("…" + ("very " * 8), "late", ""),
        Snippet("", "The client in", " Genève wrote: the crème, " + ("very " * 40)[:54] + "…"),
    ]


def test_an_item_says_what_was_proposed_what_was_seen_and_what_was_decided_but_no_image() -> None:
    context = [
        ContextEntry(kind=ContextKind.MESSAGE, role="user", content="Where is my urn?"),
        ContextEntry(
            kind=ContextKind.RECORD, title="client C-7", content='{"city": "Lyon", "orders": [{"id": "R-9"}]}'
        ),
    ]
    item = an_item(
        request=a_request(action=an_action(order_id="R-1042"), rationale="She asked.", context=tuple(context)),
        status=Status.SETTLED,
        decision=Edit(edited_action=an_action(order_id="R-1043")),
        settled_by="Ada Lovelace",
        settled_at=START,
    )

    told = text_of(item)

    for words in ("R-1042", "refund_order", "She asked.", "my urn", "C-7", "Lyon", "R-9", "R-1043", "Ada"):
        assert words in told
    assert search_words(replace(item, request=a_request(action=an_action(note="é" * 40_000)))).count(" ") < 10


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("R-77", "ab"),
        ("r-7", "ab"),
        ("77-R", ""),
        ("creme BRUL", "b"),
        ("urn refund", "a"),
        ("urn creme", ""),
        ("pas assez", "c"),
        ("reject", "c"),
        ("座店", "b"),
        ("%", ""),
        (HOSTILE, ""),
        ("nobody said this", ""),
    ],
)
def test_items_are_found_by_the_beginnings_of_their_words(store: SqlStore, words: str, expected: str) -> None:
    made = {
        "a": an_item(request=a_request(action=an_action(order_id="R-77", what="the urn"))),
        "b": an_item(request=a_request(action=an_action(order_id="R-770", dish="Crème Brûlée 銀座店"))),
        "c": an_item(status=Status.SETTLED, decision=Reject(message="Pas assez."), settled_by="Ada", settled_at=START),
    }
    kept(store, *made.values(), replace(made["a"], id=an_item().id, workspace="other"))

    where = ItemFilter(words=words)

    ids = [made[name].id for name in expected]
    assert found(store, words) == ids
    assert store.read(lambda tx: tx.count_items(WORKSPACE, where)) == len(ids)


def test_a_search_keeps_to_the_other_filters_and_to_the_order(store: SqlStore) -> None:
    made = [
        an_item(status=Status.SETTLED, decision=Approve(), settled_by=name, settled_at=START, agent=agent)
        for name, agent in (("Ada", "shopper"), ("Grace", "shopper"), ("Ada", "stock"))
    ]
    kept(store, *made, an_item())

    assert found(store, "approve", settled_by="Ada") == [made[0].id, made[2].id]
    assert found(store, "approve", statuses=(Status.WAITING,)) == []
    assert found(store, "approve", agent="stock") == [made[2].id]
    first = store.read(lambda tx: tx.items(WORKSPACE, ItemFilter(words="approve"), order=Order.SETTLED, limit=2))
    rest = store.read(
        lambda tx: tx.items(
            WORKSPACE, ItemFilter(words="approve"), order=Order.SETTLED, limit=2, cursor=first.next_cursor
        )
    )
    assert [line.id for line in (*first.rows, *rest.rows)] == [item.id for item in reversed(made)]
    assert rest.next_cursor is None


def test_the_decisions_of_what_is_found_are_exported_whole(store: SqlStore) -> None:
    made = [
        an_item(status=Status.SETTLED, decision=Reject(message=message), settled_by="Ada", settled_at=START)
        for message in ("Too dear.", "Too late.")
    ]
    kept(store, *made)
    records = [a_decision(item) for item in made]
    store.write(keeping(*records))

    where = DecisionFilter(items=ItemFilter(words="dear"))

    assert [record.id for _, record in store.read(lambda tx: tx.decided(WORKSPACE, where, limit=9))] == [records[0].id]
    assert store.read(lambda tx: tx.count_decided(WORKSPACE, where, limit=9)) == 1


def test_what_is_decided_is_found_by_its_decision_and_looked_at_once(store: SqlStore) -> None:
    item = an_item(request=a_request(action=an_action(order_id="R-77")))
    kept(store, item)
    settled = replace(
        item, status=Status.SETTLED, decision=Reject(message="Zu teuer"), settled_by="Ada", settled_at=START
    )
    store.write(lambda tx: tx.save_item(settled, was=item))
    kept_event = an_event(item_id=item.id)
    store.write(keeping(kept_event))

    ticks = [Search(store, PolicyBook(store)).tick() for _ in range(2)]

    assert ticks == [1, 0]
    assert found(store, "teuer") == [item.id]


def test_erased_items_are_found_by_nothing_even_where_they_are_indexed_late(store: SqlStore) -> None:
    item, other = (an_item(request=a_request(action=an_action(order_id=order))) for order in ("R-77", "R-78"))
    kept(store, item)
    store.write(keeping(other, an_event(item_id=other.id)))
    eraser = Eraser(store)
    admin = replace(ada, roles=frozenset(Role))

    for each in (item, other):
        eraser.erase(admin, eraser.plan_item(admin, each.id))
    while Search(store, PolicyBook(store)).tick():
        pass

    assert [found(store, words) for words in ("R-77", "R-78", "refund_order")] == [[], [], []]


def test_what_was_erased_stands_nowhere_in_sqlites_file(sqlite_store: SqlStore, sqlite_url: str) -> None:
    mark = "zanzibarquartz"
    kept(sqlite_store, item := an_item(request=a_request(action=an_action(note=mark))))
    path = sqlite_url.removeprefix("sqlite:///")
    with open(path, "rb") as file:
        assert mark.encode() in file.read()
    eraser, admin = Eraser(sqlite_store), replace(ada, roles=frozenset(Role))

    eraser.erase(admin, eraser.plan_item(admin, item.id))

    with open(path, "rb") as file:
        left = file.read()
    assert mark.encode() not in left
    assert mark[:10].encode() not in left


def test_snippets_are_for_those_who_may_see_items_and_of_their_own_workspace(sqlite_store: SqlStore) -> None:
    item = an_item(request=a_request(action=an_action(order_id="R-77")))
    kept(sqlite_store, item, strange := an_item(workspace="other"))
    search = Search(sqlite_store, PolicyBook(sqlite_store))

    places = search.snippets(ada, [item.id, strange.id], "r-77")

    assert places == {item.id: Snippet("order_id: ", "R-77", "")}
    with pytest.raises(NotAllowedError):
        search.snippets(replace(ada, roles=frozenset({Role.ADMIN})), [item.id], "r-77")


def test_a_search_reads_the_index_and_no_table_from_end_to_end(store: SqlStore) -> None:
    kept(store, *(an_item(request=a_request(action=an_action(order_id=f"R-{n}"))) for n in range(60, 100)))
    if store._engines.is_postgres:  # noqa: SLF001 -- its planner looks at how much there is
        with store._engines.writing.begin() as connection:  # noqa: SLF001 -- see above
            for statement in MANY_MORE:
                connection.execute(text(statement))

    plan = planned(store, lambda tx: tx.items(WORKSPACE, ItemFilter(words="R-77"), order=Order.NEWEST, limit=50))

    assert "SCAN item_search VIRTUAL TABLE INDEX" in plan or "Bitmap Index Scan on item_search" in plan, plan
    assert [line for line in plan.splitlines() if line.startswith("SCAN")] in ([], [plan.splitlines()[0]])
    assert "Seq Scan" not in plan


def planned(store: SqlStore, ask: Callable[[Reading], object]) -> str:
    """The plan of the first statement about words that the question runs."""
    told: list[str] = []

    def explain(connection: Connection, clause: object, *_: object) -> None:
        if "item_words" not in str(clause) or told:
            return
        told.append("")
        verb = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
        compiled = clause.compile(connection, compile_kwargs={"literal_binds": True})  # type: ignore[attr-defined]  # a statement
        rows = connection.exec_driver_sql(f"{verb} {compiled}".replace("%", "%%")).all()
        told[:] = ["\n".join(str(row[-1]) for row in rows)]

    engine = store._engines.reading  # noqa: SLF001 -- to look at the plan that the store itself asks for
    event.listen(engine, "before_execute", explain)
    try:
        store.read(ask)
    finally:
        event.remove(engine, "before_execute", explain)
    return told[0]
