"""The SQL of sealing: which events have no leaf yet, and the leaves, nodes and checkpoints that are kept.

Events are numbered when they are written (``seq``), and a PostgreSQL transaction can commit a lower number after
another has committed a higher one. Nothing is sealed past such a gap before it is known that nobody can fill it.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, func, insert, select, text

from db import tables
from db.engine import Engines
from review.audit import Arrival, Backlog, LogHead, Seal, SealedEvent, Written, openings_of
from review.merkle import HASH_BYTES, Frontier

# Any number, as long as every release takes the same.
_SEALING_LOCK = 7_446_563_102

SETTLE_SECONDS = 2.0
_LOOK_EVERY_S = 0.005

_events = tables.audit_events
_openings = tables.openings
_leaves = tables.audit_leaves
_nodes = tables.audit_nodes
_checkpoints = tables.checkpoints

OPENS = and_(_openings.c.workspace == _events.c.workspace, _openings.c.id == _events.c.id)

_LAST_SEALED = select(func.coalesce(func.max(_leaves.c.seq), 0))
_UNSEALED = (
    select(_events.c.seq, _events.c.workspace, _events.c.leaf)
    .where(_events.c.seq > bindparam("after"))
    .order_by(_events.c.seq)
    .limit(bindparam("limit"))
)
_WAITING = (
    select(_events.c.at)
    .where(_events.c.seq > _LAST_SEALED.scalar_subquery())
    .order_by(_events.c.seq)
    .limit(bindparam("limit"))
)
_HEAD = (
    select(*_checkpoints.c)
    .where(_checkpoints.c.workspace == bindparam("workspace"))
    .order_by(_checkpoints.c.number.desc())
    .limit(1)
)
# One after the other from the index: a DISTINCT would read every checkpoint that was ever signed.
_NEXT_WORKSPACE = select(func.min(_checkpoints.c.workspace)).where(_checkpoints.c.workspace > bindparam("after"))
_LEAF_HASHES = (
    select(_leaves.c.hash)
    .where(
        _leaves.c.workspace == bindparam("workspace"),
        _leaves.c.leaf_index >= bindparam("begin"),
        _leaves.c.leaf_index < bindparam("end"),
    )
    .order_by(_leaves.c.leaf_index)
)
_NODE_HASHES = (
    select(_nodes.c.hash)
    .where(
        _nodes.c.workspace == bindparam("workspace"),
        _nodes.c.level == bindparam("level"),
        _nodes.c.number >= bindparam("begin"),
        _nodes.c.number < bindparam("end"),
    )
    .order_by(_nodes.c.number)
)
_ADD_LEAVES = insert(_leaves)
# A thousand rows as three arrays: the transaction is the writer's, and others wait for it.
_ADD_LEAVES_AT_ONCE = text(
    "INSERT INTO audit_leaves (seq, workspace, leaf_index, hash) "
    "SELECT place.seq, :workspace, place.leaf_index, place.hash FROM "
    "unnest(CAST(:seqs AS bigint[]), CAST(:indexes AS bigint[]), CAST(:hashes AS bytea[])) "
    "AS place (seq, leaf_index, hash)"
)
_ADD_NODES = insert(_nodes)
_ADD_CHECKPOINT = insert(_checkpoints)

_LEADS = text("SELECT pg_try_advisory_xact_lock(:lock)")
_LAST_SEEN = select(func.coalesce(func.max(_events.c.seq), 0))
# An insertion holds this lock from before it takes its number until its transaction ends.
_INSERTING = text(
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted "
    "AND relation = 'audit_events'::regclass "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def last_recorded(connection: Connection) -> int:
    """Return the highest ``seq`` of an event; 0 where there is none."""
    last: int = connection.execute(_LAST_SEEN).scalar_one()
    return last


def last_sealed(connection: Connection) -> int:
    """Return the ``seq`` of the last event that has its leaf; 0 where none has."""
    last: int = connection.execute(_LAST_SEALED).scalar_one()
    return last


def unsealed(engines: Engines, *, limit: int) -> Sequence[Arrival]:
    """Return the oldest committed events without a leaf, by ``seq``, as far as none can be committed before them."""
    found, last = _read_unsealed(engines, limit)
    if not engines.is_postgres:
        return found
    settled = _without_gaps(found, last)
    if settled or not found:
        return settled
    # The very next number is missing: rolled back, or not committed yet.
    horizon = _settled_horizon(engines)
    found, last = _read_unsealed(engines, limit)
    return [arrival for arrival in found if arrival.seq <= horizon]


def _read_unsealed(engines: Engines, limit: int) -> tuple[list[Arrival], int]:
    with _looking(engines) as connection:
        last = last_sealed(connection)
        found = connection.execute(_UNSEALED, {"after": last, "limit": limit})
        return [Arrival(seq, workspace, leaf.encode()) for seq, workspace, leaf in found], last


def _without_gaps(found: Sequence[Arrival], last: int) -> Sequence[Arrival]:
    count = next((at for at, arrival in enumerate(found) if arrival.seq != last + 1 + at), len(found))
    return found[:count]


def _settled_horizon(engines: Engines) -> int:
    """Return a number up to which every event that will ever be there is there; 0 where it takes too long to know.

    Whoever might still fill a gap below the highest number seen is writing now. Once all of these have ended, and
    whatever others have begun since, the gaps below it stay.
    """
    with _looking(engines) as connection:
        horizon = last_recorded(connection)
    writing = _inserting(engines)
    until = time.monotonic() + SETTLE_SECONDS
    while writing:
        if time.monotonic() > until:
            return 0
        time.sleep(_LOOK_EVERY_S)
        writing &= _inserting(engines)
    return horizon


def _inserting(engines: Engines) -> set[str]:
    with _looking(engines) as connection:
        return set(connection.execute(_INSERTING).scalars())


@contextmanager
def _looking(engines: Engines) -> Iterator[Connection]:
    with engines.latch.reading(), engines.reading.begin() as connection:
        yield connection


def backlog(connection: Connection, *, limit: int) -> Backlog:
    """Return how many events have no leaf, counted no further than the limit, and when the oldest was written."""
    waiting = connection.execute(_WAITING, {"limit": limit}).scalars().all()
    return Backlog(len(waiting), waiting[0] if waiting else None)


def head(connection: Connection, workspace: str) -> LogHead | None:
    """Return the workspace's latest checkpoint."""
    row = connection.execute(_HEAD, {"workspace": workspace}).one_or_none()
    return None if row is None else _head_from(row)


def heads(connection: Connection) -> Sequence[LogHead]:
    """Return the latest checkpoint of every workspace."""
    found: list[LogHead] = []
    after = ""
    while (workspace := connection.execute(_NEXT_WORKSPACE, {"after": after}).scalar_one()) is not None:
        if (each := head(connection, workspace)) is not None:
            found.append(each)
        after = workspace
    return found


def events(
    connection: Connection,
    conditions: Sequence[ColumnElement[bool]],
    workspace: str,
    *,
    begin: int,
    size: int,
    limit: int,
) -> Sequence[SealedEvent]:
    """Return the events that meet the conditions on `audit_events` and `openings`, by the index of their leaves."""
    statement = (
        select(_leaves.c.leaf_index, _events.c.leaf, _openings.c.people, _openings.c.content)
        .join_from(_leaves, _events, _leaves.c.seq == _events.c.seq)
        .outerjoin(_openings, OPENS)
        .where(
            _leaves.c.workspace == workspace,
            _leaves.c.leaf_index >= begin,
            _leaves.c.leaf_index < size,
            *conditions,
        )
        .order_by(_leaves.c.leaf_index)
        .limit(limit)
    )
    return [
        SealedEvent(index, leaf.encode(), openings_of(Written(leaf, people, content)))
        for index, leaf, people, content in connection.execute(statement)
    ]


def hashes(connection: Connection, workspace: str, level: int, *, begin: int, end: int) -> Sequence[bytes]:
    """Return the kept hashes of a level from ``begin`` up to, not including, ``end``."""
    asked: dict[str, Any] = {"workspace": workspace, "begin": begin, "end": end}
    if level:
        return connection.execute(_NODE_HASHES, asked | {"level": level}).scalars().all()
    return connection.execute(_LEAF_HASHES, asked).scalars().all()


def leads(connection: Connection) -> bool:
    """Tell whether this transaction alone may seal; on SQLite the write lock, which it holds, says so."""
    if connection.dialect.name != "postgresql":
        return True
    alone: bool = connection.execute(_LEADS, {"lock": _SEALING_LOCK}).scalar_one()
    return alone


def add(connection: Connection, seal: Seal) -> None:
    """Keep the leaves, the nodes and the checkpoint."""
    log = seal.head
    if seal.leaves:
        _add_leaves(connection, seal)
    if seal.nodes:
        nodes = [
            {"workspace": log.workspace, "level": node.level, "number": node.number, "hash": node.hash}
            for node in seal.nodes
        ]
        connection.execute(_ADD_NODES, nodes)
    connection.execute(
        _ADD_CHECKPOINT,
        {
            "workspace": log.workspace,
            "number": log.number,
            "size": log.frontier.size,
            "frontier": b"".join(log.frontier.hashes),
            "origin": log.origin,
            "note": log.note,
            "at": log.at,
        },
    )


def _add_leaves(connection: Connection, seal: Seal) -> None:
    workspace = seal.head.workspace
    if connection.dialect.name == "postgresql":
        seqs, indexes, hashes = map(list, zip(*seal.leaves, strict=True))
        asked = {"workspace": workspace, "seqs": seqs, "indexes": indexes, "hashes": hashes}
        connection.execute(_ADD_LEAVES_AT_ONCE, asked)
        return
    rows = [
        {"seq": seq, "workspace": workspace, "leaf_index": index, "hash": hash_} for seq, index, hash_ in seal.leaves
    ]
    connection.execute(_ADD_LEAVES, rows)


def _head_from(row: Row[Any]) -> LogHead:
    edge = row.frontier
    subtrees = tuple(edge[at : at + HASH_BYTES] for at in range(0, len(edge), HASH_BYTES))
    return LogHead(
        workspace=row.workspace,
        number=row.number,
        frontier=Frontier(row.size, subtrees),
        origin=row.origin,
        note=row.note,
        at=row.at,
    )
