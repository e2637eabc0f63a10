"""The house verifies its own log as an outsider does, and ends when it is told to."""

import sqlite3
import tracemalloc
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from review.audit import EventFilter, EventKind
from review.errors import NotAllowedError
from review.people import Role
from review.verification import EXPORT_SHARE, Verification
from tests.builders import WORKSPACE, an_event, keeping, mary
from tests.console import Console

EVENTS = 3_000


class _LeftError(Exception):
    """Whoever asked has gone."""


def verified(house: Console) -> tuple[Verification, list[float]]:
    shares: list[float] = []
    return house.records.verified(mary, told=shares.append), shares


def test_a_log_as_it_was_sealed_is_right(either_house: Console) -> None:
    either_house.store.write(keeping(*(an_event() for _ in range(EVENTS))))

    verification, shares = verified(either_house)

    # The verification is an export, and as such an event.
    assert (verification.is_right, verification.events) == (True, EVENTS + 1)
    assert verification.words[0].startswith(
        f"OK: {EVENTS + 1} events of {EVENTS + 1}, the whole log.\nLog console.test"
    )
    assert shares == sorted(shares)
    assert shares[0] < EXPORT_SHARE / 2
    assert shares[-1] == 1.0


def test_a_log_that_was_tampered_with_is_told_in_the_verifiers_words(house: Console, tmp_path: Path) -> None:
    house.store.write(keeping(*(an_event() for _ in range(10))))
    house.sealer.seal()
    with closing(sqlite3.connect(tmp_path / "signoff.db")) as database:
        triggers = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            database.execute(f"DROP TRIGGER {name}")
        database.execute(
            "UPDATE audit_events SET leaf = replace(leaf, 'action_submitted', 'item_cancelled') WHERE seq = 4"
        )
        database.commit()

    verification, _ = verified(house)

    assert (verification.is_right, verification.events) == (False, 10)
    assert verification.words == (
        "line 5, index 3: edited: the leaf or its proof is not what was sealed at this index",
        "NOT OK: 1 problem, 10 rows genuine.",
    )


@pytest.mark.parametrize("at", [0.0, EXPORT_SHARE])
def test_it_ends_when_whoever_asked_has_gone(house: Console, at: float) -> None:
    house.store.write(keeping(*(an_event() for _ in range(EVENTS))))
    told = []

    def leave(share: float) -> None:
        told.append(share)
        if share > at:
            raise _LeftError

    with pytest.raises(_LeftError):
        house.records.verified(mary, told=leave)

    assert [share for share in told if share > at] == told[-1:]


def test_only_who_may_export_the_log_may_let_it_be_verified(house: Console) -> None:
    lead = replace(mary, roles=frozenset({Role.LEAD}))

    with pytest.raises(NotAllowedError, match="may not export the audit log"):
        house.records.verified(lead, told=lambda _: None)

    exported = EventFilter(kind=EventKind.EXPORT_MADE)
    assert house.store.read(lambda tx: tx.events(WORKSPACE, exported, limit=10)).rows == ()


def test_memory_does_not_grow_with_the_log(house: Console) -> None:
    peaks = []

    for count in (1_000, 8_000):
        house.store.write(keeping(*(an_event() for _ in range(count))))
        house.sealer.seal()
        tracemalloc.start()
        house.records.verified(mary, told=lambda _: None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    # What is read at once: a megabyte of the file, a batch of events, a thousandth of the tree.
    assert peaks[1] < peaks[0] + (1 << 20)
