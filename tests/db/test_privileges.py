"""On PostgreSQL the server's role may be one that adds to the audit log and can change nothing in it."""

from collections.abc import Callable, Iterator
from itertools import product

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import text

from agents.protocol import Approve, Outcome, OutcomeStatus
from db.engine import DatabaseUrlError, open_engines
from db.privileges import AUDIT_TABLES, UnguardedError, refuse_unless_guarded
from db.schema import OldSchemaError
from db.store import SqlStore, open_store
from review.audit import EventFilter
from review.desk import Seen
from review.exports import audit_csv
from review.intake import Submission
from review.sessions import LOCAL_OPERATOR
from tests.builders import WORKSPACE, a_request
from tests.clock import MovableClock
from tests.conftest import TwoRoles
from tests.console import Console

pytestmark = pytest.mark.postgres


@pytest.fixture
def guarded(two_roles: TwoRoles, clock: MovableClock) -> Iterator[SqlStore]:
    """The store of a server whose role is not the owner of the tables."""
    store = open_store(two_roles.server, clock=clock, owner_url=two_roles.owner, is_guarded=True)
    yield store
    store.close()


def with_a_whole_review(store: SqlStore) -> Console:
    """Take an action from its submission to its outcome, seal it, export it and erase it."""
    console = Console(store)
    key = console.keys.recognise(console.agent_key())
    item_id = console.intake.submit(key, Submission(a_request(), "k1", "body"))[0].id
    claimed = console.desk.claim(LOCAL_OPERATOR)
    assert claimed is not None
    console.desk.decide(item_id, Approve(), LOCAL_OPERATOR, seen=Seen.of(claimed))
    receipt = console.intake.status(key, item_id).receipt
    assert receipt is not None
    console.intake.consume(key, item_id, receipt, a_request().action.args)
    console.intake.report_outcome(key, item_id, Outcome(status=OutcomeStatus.SUCCEEDED))
    console.sealer.tick()
    assert b"".join(audit_csv(console.records.audit_events(LOCAL_OPERATOR, EventFilter())))
    console.eraser.erase(LOCAL_OPERATOR, console.eraser.plan_item(LOCAL_OPERATOR, item_id))
    return console


def test_everything_that_the_house_does_is_done_by_a_role_that_cannot_change_the_log(guarded: SqlStore) -> None:
    console = with_a_whole_review(guarded)

    assert guarded.is_ready()
    assert console.sealer.tick() >= 0
    assert guarded.read(lambda tx: tx.events(WORKSPACE, EventFilter(), limit=20)).rows


CHANGES = [
    "UPDATE {table} SET workspace = workspace",
    "DELETE FROM {table}",
    "TRUNCATE {table}",
    "TRUNCATE {table} CASCADE",
    "INSERT INTO {table} SELECT * FROM {table} ON CONFLICT ({key}) DO UPDATE SET workspace = 'x'",
    "MERGE INTO {table} USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE",
    "ALTER TABLE {table} DISABLE TRIGGER ALL",
    "ALTER TABLE {table} DISABLE TRIGGER USER",
    "ALTER TABLE {table} RENAME TO elsewhere",
    "CREATE TRIGGER mine BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE RULE mine AS ON INSERT TO {table} DO INSTEAD NOTHING",
    "DROP TABLE {table} CASCADE",
]
KEYS = {
    "audit_events": "seq",
    "audit_leaves": "seq",
    "audit_nodes": "workspace, level, number",
    "checkpoints": "workspace, number",
}


def test_the_servers_role_cannot_change_the_log_or_take_its_guards_off(
    guarded: SqlStore, two_roles: TwoRoles, subtests: pytest.Subtests
) -> None:
    with_a_whole_review(guarded)
    before = contents(two_roles)

    with psycopg.connect(two_roles.server, autocommit=True) as connection:
        for table, statement in product(AUDIT_TABLES, CHANGES):
            # Refused by the privileges: the triggers are not even asked.
            with subtests.test(statement, table=table), pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.format(table=table, key=KEYS[table]).encode())

    assert contents(two_roles) == before


WAYS_ROUND = [
    "SET session_replication_role = replica",
    "CREATE OR REPLACE FUNCTION refuse_log_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
    "DROP FUNCTION refuse_audit_change() CASCADE",
    "DROP SCHEMA public CASCADE",
    "UPDATE alembic_version SET version_num = '0001'",
    "SELECT setval('audit_events_seq_seq', 1)",
    "SET ROLE postgres",
    "CREATE TABLE mine (x int)",
]


def test_the_servers_role_cannot_go_round_the_guards(
    guarded: SqlStore, two_roles: TwoRoles, subtests: pytest.Subtests
) -> None:
    assert guarded.is_ready()

    with psycopg.connect(two_roles.server, autocommit=True) as connection:
        for statement in WAYS_ROUND:
            with subtests.test(statement), pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def contents(roles: TwoRoles) -> list[list[tuple[object, ...]]]:
    with psycopg.connect(roles.superuser) as connection:
        return [
            connection.execute(sql.SQL("SELECT * FROM {} ORDER BY 1, 2, 3").format(sql.Identifier(table))).fetchall()
            for table in AUDIT_TABLES
        ]


WAYS = [
    ("ALTER ROLE {server} SUPERUSER", "it is a superuser"),
    ("ALTER ROLE {server} CREATEROLE", "it may create roles"),
    ("GRANT {owner} TO {server}", "it owns the table audit_events"),
    ("GRANT {owner} TO {server} WITH INHERIT FALSE", "it owns the table checkpoints"),
    ("ALTER TABLE audit_nodes OWNER TO {server}", "it owns the table audit_nodes"),
    ("ALTER FUNCTION refuse_log_change() OWNER TO {server}", "it owns the function refuse_log_change"),
    ("ALTER SCHEMA public OWNER TO {server}", "it owns the schema public"),
    ("GRANT UPDATE ON audit_leaves TO {server}", "it has UPDATE on audit_leaves"),
    ("GRANT DELETE ON audit_events TO PUBLIC", "it has DELETE on audit_events"),
    ("GRANT TRUNCATE ON checkpoints TO {server}", "it has TRUNCATE on checkpoints"),
    ("GRANT TRIGGER ON checkpoints TO {server}", "it has TRIGGER on checkpoints"),
    ("GRANT UPDATE (leaf) ON audit_events TO {server}", "it may update columns of audit_events"),
    ("GRANT pg_write_all_data TO {server}", "it may act as pg_write_all_data"),
]


def test_every_way_in_which_a_role_could_change_the_log_is_found(
    two_roles: TwoRoles, subtests: pytest.Subtests
) -> None:
    open_store(two_roles.server, owner_url=two_roles.owner, is_guarded=True).close()
    owner, server = role_of(two_roles.owner), role_of(two_roles.server)
    engines = open_engines(two_roles.superuser)

    for change, way in WAYS:
        with subtests.test(change), engines.writing.connect() as connection, connection.begin() as undone:
            connection.execute(text(change.format(owner=owner, server=server)))
            connection.execute(text(f"SET LOCAL ROLE {server}"))
            with pytest.raises(UnguardedError, match=way):
                refuse_unless_guarded(connection)
            undone.rollback()

    engines.dispose()


def role_of(url: str) -> str:
    return f'"{conninfo_to_dict(url)["user"]}"'


def test_a_server_whose_role_owns_the_tables_is_refused_only_where_that_is_asked_for(two_roles: TwoRoles) -> None:
    open_store(two_roles.owner).close()

    with pytest.raises(UnguardedError, match=r"it owns the database.*it owns the table audit_events"):
        open_store(two_roles.owner, is_guarded=True)


def test_the_owner_takes_back_what_the_server_was_granted_by_mistake(two_roles: TwoRoles) -> None:
    open_store(two_roles.server, owner_url=two_roles.owner, is_guarded=True).close()
    with psycopg.connect(two_roles.owner, autocommit=True) as connection:
        connection.execute(f"GRANT ALL ON audit_events TO {role_of(two_roles.server)}".encode())

    open_store(two_roles.server, owner_url=two_roles.owner, is_guarded=True).close()

    with psycopg.connect(two_roles.server) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("DELETE FROM audit_events")


def test_a_server_that_may_not_migrate_says_who_has_to(two_roles: TwoRoles) -> None:
    with pytest.raises(OldSchemaError, match=r"python app\.py migrate"):
        open_store(two_roles.server, is_guarded=True)


@pytest.mark.parametrize("asked", [{"is_guarded": True}, {"owner_url": "sqlite:///owner.db"}])
def test_sqlite_has_no_roles(sqlite_url: str, asked: dict[str, object]) -> None:
    opening: Callable[..., SqlStore] = open_store

    with pytest.raises(DatabaseUrlError, match="on PostgreSQL alone"):
        opening(sqlite_url, **asked)
