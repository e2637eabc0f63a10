"""The spool: what could not be told yet, in order, bounded, and still there after a crash."""

import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from threading import Thread

import pytest

from agents.spool import Spool
from tests.clock import MovableClock
from tests.waiting import PATIENCE_SECONDS

CONSOLE = "http://console.test"
ROOT = Path(__file__).parents[2]

CRASH = """
import os, sys
from agents.spool import Spool

spool = Spool(sys.argv[1], console="http://console.test")
for number in range(20):
    spool.keep(f"/actions/{number}", b"{}", idempotency_key=f"key-{number}")
os._exit(9)
"""


def a_spool(path: Path | None, clock: MovableClock, **bounds: float) -> Spool:
    return Spool(path, console=CONSOLE, clock=lambda: clock().timestamp(), **bounds)  # type: ignore[arg-type]  # bytes are whole


def emptied(spool: Spool) -> list[str]:
    found = []
    while (spooled := spool.oldest()) is not None:
        found.append(spooled.path)
        spool.remove(spooled)
    return found


@pytest.fixture(params=["file", "memory"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "spool.db" if request.param == "file" else None


def test_what_is_kept_comes_out_whole_and_in_order(path: Path | None, clock: MovableClock) -> None:
    spool = a_spool(path, clock)

    spool.keep("/actions", b'{"first":1}', idempotency_key="key-1")
    spool.keep("/actions", b'{"second":2}', idempotency_key="key-2")

    first = spool.oldest()
    assert first is not None
    assert (first.path, first.body, first.idempotency_key) == ("/actions", b'{"first":1}', "key-1")
    assert first == spool.oldest()
    assert emptied(spool) == ["/actions", "/actions"]
    assert (spool.oldest(), len(spool)) == (None, 0)
    spool.close()


def test_the_oldest_give_way_to_what_is_too_much(
    path: Path | None, clock: MovableClock, caplog: pytest.LogCaptureFixture
) -> None:
    spool = a_spool(path, clock, max_bytes=3 * (100 + 256))

    for number in range(5):
        spool.keep(f"/{number}", b"x" * 100)

    assert emptied(spool) == ["/2", "/3", "/4"]
    assert caplog.text.count("dropped 1 of its oldest requests") == 2
    spool.close()


def test_outcomes_come_out_first_and_give_way_last(path: Path | None, clock: MovableClock) -> None:
    spool = a_spool(path, clock, max_bytes=3 * (100 + 256))

    spool.keep("/outcome", b"x" * 100)
    for number in range(4):
        spool.keep(f"/{number}", b"x" * 100, idempotency_key=f"key-{number}")
    spool.keep("/later outcome", b"x" * 100)

    assert emptied(spool) == ["/outcome", "/later outcome", "/3"]
    spool.close()


def test_a_write_that_cannot_be_ended_does_not_end_the_writing(tmp_path: Path, clock: MovableClock) -> None:
    spool = a_spool(tmp_path / "spool.db", clock)
    spool._database.execute("PRAGMA busy_timeout=0")  # noqa: SLF001 -- else it waits for seconds
    with closing(sqlite3.connect(tmp_path / "spool.db", isolation_level=None)) as reader:
        spool.keep("/first", b"{}")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM kept").fetchone()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            spool.keep("/second", b"{}")
        reader.execute("COMMIT")

    spool.keep("/second", b"{}")

    assert emptied(spool) == ["/first", "/second"]
    spool.close()


def test_one_that_is_larger_than_all_room_is_dropped_too(path: Path | None, clock: MovableClock) -> None:
    spool = a_spool(path, clock, max_bytes=1_000)

    spool.keep("/small", b"x")
    spool.keep("/large", b"x" * 2_000)

    assert emptied(spool) == []
    spool.close()


def test_what_is_too_old_is_dropped_and_told(
    path: Path | None, clock: MovableClock, caplog: pytest.LogCaptureFixture
) -> None:
    spool = a_spool(path, clock, max_age_seconds=60.0)
    for number in range(2):
        spool.keep(f"/{number}", b"{}")

    clock.advance(timedelta(seconds=59))
    spool.keep("/young", b"{}")
    clock.advance(timedelta(seconds=2))

    assert emptied(spool) == ["/young"]
    assert "dropped 2 of its oldest requests" in caplog.text
    spool.close()


def test_only_its_owner_may_read_the_file(tmp_path: Path, clock: MovableClock) -> None:
    path = tmp_path / "spool.db"

    a_spool(path, clock).close()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_process_that_dies_leaves_what_it_had_kept(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"

    died = subprocess.run([sys.executable, "-c", CRASH, str(path)], cwd=ROOT, timeout=PATIENCE_SECONDS, check=False)

    spool = Spool(path, console=CONSOLE)
    assert died.returncode == 9
    assert emptied(spool) == [f"/actions/{number}" for number in range(20)]
    spool.close()


def test_what_is_for_another_console_is_left_alone(tmp_path: Path, clock: MovableClock) -> None:
    ours = a_spool(tmp_path / "spool.db", clock)
    theirs = Spool(tmp_path / "spool.db", console="http://elsewhere.test", clock=lambda: clock().timestamp())

    theirs.keep("/theirs", b"{}")
    ours.keep("/ours", b"{}")

    assert (len(ours), len(theirs)) == (1, 1)
    assert (emptied(ours), emptied(theirs)) == (["/ours"], ["/theirs"])
    ours.close()
    theirs.close()


def test_several_writers_lose_nothing(tmp_path: Path, clock: MovableClock) -> None:
    spools = [a_spool(tmp_path / "spool.db", clock) for _ in range(3)]

    def write(name: int, spool: Spool) -> None:
        for number in range(20):
            spool.keep(f"/{name}/{number}", b"{}")

    threads = [Thread(target=write, args=each) for each in enumerate(spools)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)

    assert len(emptied(spools[0])) == 60
    for spool in spools:
        spool.close()


def test_a_spool_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        Spool(tmp_path / "nowhere" / "spool.db", console=CONSOLE)


def test_a_file_that_is_no_spool_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("dear diary, " * 100)

    with pytest.raises(sqlite3.DatabaseError):
        Spool(tmp_path / "notes.txt", console=CONSOLE)


def test_closing_tells_what_is_lost(tmp_path: Path, clock: MovableClock) -> None:
    in_memory, on_disk = a_spool(None, clock), a_spool(tmp_path / "spool.db", clock)
    for spool in (in_memory, on_disk):
        spool.keep("/actions", b"{}")

    assert (in_memory.close(), on_disk.close()) == (1, 0)
