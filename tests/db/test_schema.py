"""The schema: made once, by whoever comes first, and as the models say."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Barrier, Thread

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import insert, text

from agents.protocol import Execution
from db import rows, schema, tables
from db.check import check_migrations, main
from db.engine import open_engines
from db.store import SqlStore, open_store
from db.tables import Base
from tests.builders import an_item
from tests.clock import START

ROOT = Path(__file__).parents[2]


def test_the_migrations_make_what_the_models_say(store_url: str) -> None:
    assert check_migrations(store_url) == []


def test_the_check_tells_a_difference(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    open_store(sqlite_url).close()
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        connection.execute("DROP INDEX ix_items_urgent")

    status = main([sqlite_url])

    assert status == 1
    assert "ix_items_urgent" in capsys.readouterr().err


def test_the_check_runs_as_a_command_from_anywhere(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "db.check"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (run.returncode, run.stderr) == (0, "")


def test_upgrading_again_changes_nothing(store_url: str) -> None:
    engines = open_engines(store_url)
    schema.upgrade(engines.writing)

    schema.upgrade(engines.writing)

    with engines.reading.connect() as connection:
        assert schema.is_current(connection)
        assert schema.differences(connection) == []
    engines.dispose()


def test_an_execution_that_an_earlier_release_started_gets_a_time_for_its_outcome(
    store_url: str, opened: Callable[[str], SqlStore]
) -> None:
    running = an_item(execution=Execution.STARTED, consumed_at=START)
    waiting = an_item()
    later = {
        *("outcome_due_at", "reconciliation", "repeats_id", "rejections", "erased_at", "snoozed_until", "breached_at"),
        *("assigned_iss", "assigned_sub", "assigned_name", "assigned_until", "assigned_by", "assigned_note"),
        *("blind", "principal", "settles_at", "pending"),
    }
    engines = open_engines(store_url)
    with engines.writing.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(schema.MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for item in (running, waiting):
            kept = {name: value for name, value in rows.item_values(item).items() if name not in later}
            connection.execute(insert(tables.items).values(kept))
    engines.dispose()

    store = opened(store_url)

    found = store.read(lambda tx: [tx.item(item.workspace, item.id) for item in (running, waiting)])
    assert found == [replace(running, outcome_due_at=START + timedelta(minutes=15)), waiting]


def test_several_that_start_at_once_upgrade_once(store_url: str) -> None:
    barrier, failures = Barrier(5), list[BaseException]()

    def start() -> None:
        engines = open_engines(store_url)
        barrier.wait()
        try:
            schema.upgrade(engines.writing)
        except Exception as error:  # noqa: BLE001 -- the test looks at whatever it was
            failures.append(error)
        engines.dispose()

    threads = [Thread(target=start) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert check_migrations(store_url) == []


def test_a_database_of_a_later_release_is_refused(store_url: str, opened: Callable[[str], SqlStore]) -> None:
    store = opened(store_url)
    with store._engines.writing.begin() as connection:  # noqa: SLF001 -- as a later release would have left it
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(schema.UnknownSchemaError, match="9999"):
        open_store(store_url)

    assert not store.is_ready()


def test_a_failed_upgrade_leaves_nothing_behind(store_url: str) -> None:
    engines = open_engines(store_url)
    with engines.writing.begin() as connection:
        connection.execute(text("CREATE TABLE links (in_the_way int)"))

    with pytest.raises(Exception, match="links"):
        schema.upgrade(engines.writing)

    with engines.writing.begin() as connection:
        connection.execute(text("DROP TABLE links"))
    schema.upgrade(engines.writing)
    engines.dispose()
    assert check_migrations(store_url) == []


def test_every_table_carries_its_workspace() -> None:
    # The mark is a place among the events of all workspaces.
    assert [name for name, table in Base.metadata.tables.items() if "workspace" not in table.c] == ["index_marks"]
