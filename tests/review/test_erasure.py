"""Erasure: the value is found nowhere any more, what was done stays, and the log verifies as before."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from agents.protocol import (
    Approve,
    ContextEntry,
    ContextKind,
    Execution,
    Impact,
    Outcome,
    OutcomeStatus,
    Reject,
    Respond,
    Route,
    Run,
    Status,
    Usage,
)
from db import engine
from db.store import SqlStore, open_store
from review import lifecycle, verify
from review.audit import EventFilter, EventKind
from review.desk import Seen
from review.erasure import Erased, Retention
from review.errors import (
    AlreadySettledError,
    ItemErasedError,
    ItemNotFoundError,
    NotAllowedError,
    StoreBusyError,
)
from review.exports import audit_csv
from review.intake import Intake, Submission
from review.items import ERASED_DIGEST, ERASED_TEXT, ItemFilter, Order, Purpose, ReviewItem
from review.people import AgentKey
from review.policy import Autonomy, Rule
from tests.builders import (
    AGENT,
    WORKSPACE,
    a_request,
    ada,
    an_action,
    an_item,
    grace,
    keeping,
    lin,
    mary,
    root,
)
from tests.clock import START, MovableClock
from tests.console import Console
from tests.review.steps import a_document, an_edit, caller, claim, decide, events, items, kept, kinds, submit

CANARY = "Kanarienvogel"
SUBJECT = f"customer {CANARY} 4711"
KEEP_FOR = timedelta(days=180)
FOUR_EYES = a_document(Autonomy.SUPERVISED, Rule(name="four eyes", when="true", route=Route.REVIEW, quorum=2))


def told(what: str) -> str:
    return f"{what} of {CANARY}"


def a_telling_request() -> dict[str, Any]:
    """The fields of a request that names the canary wherever an agent may write, but for the schema of its tool."""
    return {
        "action": an_action(order_id=told("order"), notes={told("key"): [told("value")]}),
        "confidence_source": told("source"),
        "description": told("description"),
        "rationale": told("rationale"),
        "context": tuple(
            ContextEntry(kind=kind, role="user", title=told("title"), content=told(kind)) for kind in TEXTS
        ),
        "impact": Impact(amount="49.90", currency="EUR", reversible=True, subject=SUBJECT),
        "usage": Usage(model=told("model"), input_tokens=7, cost="0.02", currency="EUR"),
        "run": Run(framework=told("framework"), thread_id=told("thread"), run_id=told("run")),
        "agent_version": told("agent version"),
        "prompt_version": told("prompt version"),
        "metadata": {told("name"): told("metadata")},
    }


TEXTS = [kind for kind in ContextKind if kind is not ContextKind.IMAGE]


class Story:
    """A house in which the canary is named at every turn."""

    def __init__(self, house: Console) -> None:
        self.house = house
        self.agent: AgentKey = caller(house)
        self.first = submit(house, self.agent).id

    def proposed(self, key: str = "k") -> ReviewItem:
        return kept(self.house, submit(self.house, self.agent, key=key, body=told("body"), **a_telling_request()).id)

    def edited(self) -> ReviewItem:
        """Edited by one and approved by another, run, and reported."""
        self.house.save_policy(FOUR_EYES)
        item = self.proposed("edited")
        self.house.desk.ask(ada, item.id, told("question"))
        self.house.intake.add_note(self.agent, item.id, told("answer"))
        self._decide(item, an_edit(order_id=told("another order")), ada)
        self._decide(item, Approve(), grace)
        self._decide(item, Approve(), lin)
        done = kept(self.house, item.id)
        self.house.intake.consume(self.agent, item.id, done.receipt or "", {"order_id": told("another order")})
        outcome = Outcome(
            status=OutcomeStatus.SUCCEEDED, result={"said": told("result")}, fallback=told("fallback"), attempts=2
        )
        self.house.intake.report_outcome(self.agent, item.id, outcome)
        return kept(self.house, item.id)

    def lost(self, clock: MovableClock) -> ReviewItem:
        """Approved, run, lost sight of, and established by a person."""
        self.house.save_policy(a_document(Autonomy.SUPERVISED))
        item = self.proposed("lost")
        done = self._decide(item, Approve(), ada)
        self.house.intake.consume(self.agent, item.id, done.receipt or "", item.request.action.args)
        clock.advance(timedelta(hours=1))
        self.house.intake.sweep()
        self.house.desk.reconcile(grace, item.id, OutcomeStatus.FAILED, told("finding"))
        return kept(self.house, item.id)

    def answered(self) -> ReviewItem:
        self.house.save_policy(a_document(Autonomy.SUPERVISED))
        return self._decide(self.proposed("answered"), Respond(message=told("respond")), ada)

    def rejected(self) -> ReviewItem:
        self.house.save_policy(a_document(Autonomy.SUPERVISED))
        return self._decide(self.proposed("rejected"), Reject(message=told("reject")), ada)

    def failed(self) -> ReviewItem:
        self.house.save_policy(a_document(Autonomy.SUPERVISED))
        item = self._decide(self.proposed("failed"), Approve(), ada)
        self.house.intake.consume(self.agent, item.id, item.receipt or "", item.request.action.args)
        report = Outcome(status=OutcomeStatus.FAILED, error=told("error"))
        self.house.intake.report_outcome(self.agent, item.id, report)
        return kept(self.house, item.id)

    def waiting(self) -> ReviewItem:
        self.house.save_policy(a_document(Autonomy.SUPERVISED))
        return self.proposed("waiting")

    def _decide(self, item: ReviewItem, decision: Any, person: Any) -> ReviewItem:  # noqa: ANN401 -- any decision, any person
        held = self.house.desk.claim_item(person, item.id)
        return self.house.desk.decide(item.id, decision, person, seen=Seen.of(held))


def erase_subject(house: Console, subject: str = SUBJECT) -> Erased:
    return house.eraser.erase(root, house.eraser.plan_subject(root, subject))


def erase_item(house: Console, item_id: UUID) -> Erased:
    return house.eraser.erase(root, house.eraser.plan_item(root, item_id))


def all_text(store: SqlStore) -> str:
    """Every value of every text or bytes column of every table of the database."""
    with store._engines.reading.begin() as connection:  # noqa: SLF001 -- no question of ours shows every table
        if store._engines.is_postgres:  # noqa: SLF001 -- as above
            tables = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        else:
            tables = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'"))
        rows = [connection.execute(text(f'SELECT * FROM "{name}"')).all() for (name,) in tables]  # noqa: S608 -- our tables
    return repr(rows)


def verified(house: Console, folder: Path) -> tuple[int, str]:
    """Export the whole log and return the verifier's exit status and the first line that it says."""
    path, key = folder / "audit.csv", folder / "signoff.pub"
    path.write_bytes(b"".join(audit_csv(house.sealer.export(WORKSPACE, EventFilter()))))
    key.write_bytes(house.receipts.public_pem())
    said: list[str] = []
    return verify.main([str(path), "--key", str(key)], said.append), said[0].splitlines()[0]


def digests_of(item: ReviewItem) -> set[str]:
    return {each for each in (item.digest, item.permitted_digest, item.request_hash, item.receipt) if each}


def test_what_was_erased_is_found_nowhere_and_the_log_verifies(
    either_house: Console, store: SqlStore, clock: MovableClock, tmp_path: Path
) -> None:
    story = Story(either_house)
    concerned = [story.edited(), story.answered(), story.rejected(), story.failed(), story.waiting(), story.lost(clock)]
    assert CANARY in all_text(store)
    other = kept(either_house, story.first)

    done = erase_subject(either_house)

    assert done == Erased(items=6, withdrawn=1, decisions=7, notes=2)
    everything = all_text(store)
    assert CANARY not in everything
    assert [each for item in concerned for each in digests_of(item) if each in everything] == []
    assert kept(either_house, story.first) == other
    status, said = verified(either_house, tmp_path)
    assert (status, said.partition("; ")[2]) == (0, "19 values erased.")


def test_the_files_of_sqlite_hold_nothing_of_what_was_erased(
    house: Console, sqlite_url: str, clock: MovableClock
) -> None:
    story = Story(house)
    for number in range(60):  # Rows that grow move others about, and leave copies of them behind.
        story.proposed(f"{number}")
    for at in range(0, 60, 2):
        held = house.desk.claim_item(ada, items(house)[at].id)
        house.desk.decide(held.id, Reject(message=told("reject")), ada, seen=Seen.of(held))
    story.lost(clock)
    assert CANARY.encode() in contents(sqlite_url)

    erase_subject(house)

    assert CANARY.encode() not in contents(sqlite_url)


def test_the_write_ahead_log_holds_nothing_of_what_was_erased(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "journal_mode", lambda _: "wal")  # One process, so that its bug does no harm here.
    store = open_store(sqlite_url)
    try:
        house = Console(store)
        story = Story(house)
        story.answered()
        assert CANARY.encode() in contents(sqlite_url)

        erase_subject(house)

        assert CANARY.encode() not in contents(sqlite_url)
    finally:
        store.close()


def contents(url: str) -> bytes:
    """The bytes of the database's file, and of its journals."""
    database = Path(url.removeprefix("sqlite:///"))
    return b"".join(path.read_bytes() for path in database.parent.glob(f"{database.name}*"))


def test_what_was_done_stays(house: Console) -> None:
    story = Story(house)
    before = story.edited()
    decisions = house.store.read(lambda tx: tx.decisions_of(WORKSPACE, before.id))

    erase_item(house, before.id)

    after = kept(house, before.id)
    assert after == lifecycle.erased(before, START)
    assert (after.status, after.execution, after.settled_by) == (Status.SETTLED, Execution.SUCCEEDED, lin.name)
    assert (after.request.action.name, after.request.confidence, after.jti) == (
        before.request.action.name,
        before.request.confidence,
        before.jti,
    )
    found = house.store.read(lambda tx: tx.decisions_of(WORKSPACE, before.id))
    assert list(found) == [lifecycle.erased_record(record) for record in decisions]
    assert [(made.name, made.decision.type) for made in found] == [
        (ada.name, "edit"),
        (grace.name, "approve"),
        (lin.name, "approve"),
    ]


def test_events_say_who_and_no_longer_what(house: Console) -> None:
    story = Story(house)
    item = story.answered()

    erase_item(house, item.id)

    decided = next(event for event in events(house, item.id) if event.kind is EventKind.ITEM_DECIDED)
    assert decided.actor.name == ada.name
    assert (decided.data["decision"], decided.data["digest_seen"]) == ("respond", verify.ERASED)
    assert item.digest not in decided.leaf.decode()


def test_an_erasure_is_an_event_of_counts_by_whoever_asked(house: Console) -> None:
    item = Story(house).answered()

    erase_item(house, item.id)

    event = events(house, item.id)[-1]
    assert (event.kind, event.actor.id, event.data) == (
        EventKind.CONTENT_ERASED,
        root.id,
        {"decisions": 1, "notes": 0},
    )


def test_erasing_again_changes_nothing(either_house: Console) -> None:
    item = Story(either_house).answered()
    erase_item(either_house, item.id)
    before = kept(either_house, item.id), kinds(either_house)

    done = erase_item(either_house, item.id)

    assert done == Erased()
    assert (kept(either_house, item.id), kinds(either_house)) == before


def test_what_a_person_finds_of_an_erased_item_is_kept_without_its_words(
    either_house: Console, store: SqlStore, clock: MovableClock
) -> None:
    either_house.save_policy(a_document())
    agent = caller(either_house)
    item = kept(either_house, submit(either_house, agent).id)
    either_house.intake.consume(agent, item.id, item.receipt or "", item.request.action.args)
    clock.advance(timedelta(hours=1))
    either_house.intake.sweep()
    erase_item(either_house, item.id)

    for _ in range(2):
        either_house.desk.reconcile(grace, item.id, OutcomeStatus.FAILED, told("finding"))

    after = kept(either_house, item.id)
    found = after.reconciliation
    assert found is not None
    assert (after.execution, found.note, found.name) == (Execution.FAILED, ERASED_TEXT, grace.name)
    assert CANARY not in all_text(store)
    assert kinds(either_house).count(EventKind.OUTCOME_RECONCILED) == 1
    assert erase_item(either_house, item.id) == Erased()


def test_nothing_is_said_of_an_erased_item_any_more(either_house: Console, store: SqlStore) -> None:
    agent = caller(either_house)
    item = submit(either_house, agent)
    held = claim(either_house)
    erase_item(either_house, item.id)
    until = START + timedelta(hours=1)

    refused: list[Callable[[], object]] = [
        lambda: either_house.desk.ask(ada, item.id, told("question")),
        lambda: either_house.intake.add_note(agent, item.id, told("answer")),
        lambda: either_house.desk.decide(item.id, Respond(message=told("respond")), ada, seen=Seen.of(held)),
        lambda: either_house.board.assign(grace, item.id, to=lin, note=told("assignment")),
        lambda: either_house.board.hand_over(ada, item.id, epoch=held.epoch, to=lin, note=told("hand-over")),
        lambda: either_house.board.snooze(ada, item.id, until=until),
    ]
    for say in refused:
        with pytest.raises(AlreadySettledError):
            say()
    either_house.desk.drafts.keep(ada, item.id, held.version, {"message": told("draft")})

    assert CANARY not in all_text(store)


def test_what_nobody_decided_is_withdrawn_and_its_agent_told(either_house: Console) -> None:
    agent = caller(either_house)
    waiting = submit(either_house, agent)
    held = claim(either_house)

    done = erase_item(either_house, held.id)

    told_agent = either_house.intake.status(agent, waiting.id)
    assert (done.withdrawn, told_agent.status, told_agent.digest) == (1, Status.CANCELLED, ERASED_DIGEST)
    assert kinds(either_house, held.id)[-2:] == [EventKind.ITEM_CANCELLED, EventKind.CONTENT_ERASED]
    assert either_house.desk.claim(ada) is None


def test_an_erased_item_permits_nothing_any_more(house: Console) -> None:
    house.save_policy(a_document())
    agent = caller(house)
    permitted = submit(house, agent, key="k")
    erase_item(house, permitted.id)

    with pytest.raises(ItemErasedError, match="was erased, so it permits nothing any more"):
        house.intake.consume(agent, permitted.id, permitted.receipt or "", a_request().action.args)
    with pytest.raises(ItemErasedError):
        submit(house, agent, key="k")

    assert house.intake.status(agent, permitted.id).receipt is None


def test_an_outcome_that_comes_after_the_erasure_is_kept_without_its_words(house: Console) -> None:
    house.save_policy(a_document())
    agent = caller(house)
    item = kept(house, submit(house, agent).id)
    house.intake.consume(agent, item.id, item.receipt or "", item.request.action.args)
    erase_item(house, item.id)
    report = Outcome(status=OutcomeStatus.SUCCEEDED, result=told("result"), attempts=2)

    house.intake.report_outcome(agent, item.id, report)
    again = house.intake.report_outcome(agent, item.id, report)

    assert again.execution is Execution.SUCCEEDED
    assert kept(house, item.id).outcome == Outcome(status=OutcomeStatus.SUCCEEDED, attempts=2)


def test_the_copies_of_an_item_are_erased_with_it_whichever_is_named(house: Console) -> None:
    house.save_policy(a_document())
    drawn = Intake(house.store, house.receipts, house.policies, draw=lambda: 0.0)
    agent = caller(house)
    drawn.submit(agent, Submission(a_request(), "k", "body"))
    look = next(item for item in items(house) if item.purpose is Purpose.AUDIT)

    done = erase_item(house, look.id)

    assert (done.items, done.withdrawn) == (2, 1)
    assert [item.digest for item in items(house)] == [ERASED_DIGEST] * 2


def test_a_subject_is_taken_to_the_letter_and_within_its_workspace(either_house: Console) -> None:
    named = [an_item(request=a_request(impact=Impact(subject=subject))) for subject in ("Ada", "Ada L", "ada")]
    elsewhere = an_item(request=a_request(impact=Impact(subject="Ada")), workspace="other")
    either_house.store.write(keeping(*named, elsewhere))

    done = erase_subject(either_house, "Ada")

    assert done.items == 1
    assert [kept(either_house, item.id).erased_at is not None for item in named] == [True, False, False]
    assert either_house.store.read(lambda tx: tx.item("other", elsewhere.id)) == elsewhere


def test_many_items_are_looked_through_in_slices(house: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("review.erasure.ITEMS_LOOKED_THROUGH", 2)
    wanted = [an_item(request=a_request(impact=Impact(subject="Ada"))) for _ in range(5)]
    house.store.write(keeping(*wanted, an_item()))

    plan = house.eraser.plan_subject(root, "Ada")

    assert sorted(plan.items) == sorted(item.id for item in wanted)


def test_only_an_admin_may_erase(house: Console) -> None:
    item = kept(house, submit(house).id)
    plan = house.eraser.plan_item(root, item.id)

    for person in (ada, grace, mary):
        with pytest.raises(NotAllowedError):
            house.eraser.plan_item(person, item.id)
        with pytest.raises(NotAllowedError):
            house.eraser.plan_subject(person, "Ada")
        with pytest.raises(NotAllowedError):
            house.eraser.erase(person, plan)

    assert kept(house, item.id) == item


def test_an_item_that_is_not_there_cannot_be_erased(house: Console) -> None:
    with pytest.raises(ItemNotFoundError):
        house.eraser.plan_item(root, UUID(int=7))


def test_erased_items_are_in_the_history_and_in_no_export_to_come(house: Console) -> None:
    house.save_policy(a_document(Autonomy.SUPERVISED))
    agent = caller(house)
    submit(house, agent)
    gone = decide(house, Approve())
    submit(house, agent)
    stays = decide(house, Approve())

    erase_item(house, gone.id)

    listed = house.desk.items(ada, ItemFilter(), order=Order.SETTLED).rows
    assert {item.id: item.erased_at for item in listed} == {gone.id: START, stays.id: None}
    assert [item.id for item, _ in house.records.decisions(mary)] == [stays.id]
    assert [label.item_id for label in house.records.labels(mary)] == [stays.id]
    assert len(house.records.label_preview(ada)) == 1


def test_an_erased_rejection_no_longer_counts_against_the_same_call(house: Console) -> None:
    house.save_policy(a_document(Autonomy.SUPERVISED))
    agent = caller(house)
    submit(house, agent)
    rejected = decide(house, Reject(message="no"))
    erase_item(house, rejected.id)

    again = kept(house, submit(house, agent).id)

    assert again.rejections == 0


def test_events_are_found_by_who_did_them_before_and_after_an_erasure(either_house: Console) -> None:
    item = Story(either_house).answered()

    def found(actor: str) -> list[EventKind]:
        where = EventFilter(actor=actor, item_id=item.id)
        return [event.kind for event in either_house.records.events(root, where).rows]

    before = [found(ada.id), found(ada.name), found(AGENT), found("nobody")]
    erase_item(either_house, item.id)

    assert before == [
        [EventKind.ITEM_DECIDED, EventKind.ITEM_CLAIMED],
        [EventKind.ITEM_DECIDED, EventKind.ITEM_CLAIMED],
        [EventKind.ACTION_SUBMITTED],
        [],
    ]
    assert [found(ada.id), found(ada.name), found(AGENT), found("nobody")] == before


def test_content_is_kept_for_its_time_and_not_a_moment_longer(either_house: Console, clock: MovableClock) -> None:
    item = Story(either_house).answered()
    retention = Retention(either_house.store, KEEP_FOR)
    clock.advance(KEEP_FOR)

    early = retention.tick()
    clock.advance(timedelta(microseconds=1))
    due = retention.tick()

    assert (early, due, retention.tick()) == (0, 1, 0)
    assert kept(either_house, item.id).erased_at == clock()
    expired = events(either_house, item.id)[-1]
    assert (expired.kind, expired.actor.kind, expired.data) == (
        EventKind.CONTENT_EXPIRED,
        "system",
        {"decisions": 1, "notes": 0},
    )


def test_what_is_not_decided_or_not_old_enough_is_kept(house: Console, clock: MovableClock) -> None:
    old = an_item(status=Status.SETTLED, settled_at=START)
    waiting = an_item()
    new = an_item(status=Status.SETTLED, settled_at=START + timedelta(days=2))
    house.store.write(keeping(old, waiting, new))
    clock.advance(KEEP_FOR + timedelta(days=1))

    expired = Retention(house.store, KEEP_FOR).tick()

    assert expired == 1
    assert [kept(house, item.id).erased_at for item in (old, waiting, new)] == [clock(), None, None]


def test_old_content_goes_a_little_at_a_time_whatever_was_erased_before(
    either_house: Console, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("review.erasure.ITEMS_EXPIRED_TOGETHER", 3)
    monkeypatch.setattr("review.erasure.ITEMS_LOOKED_THROUGH", 4)
    old = [
        an_item(status=Status.SETTLED, settled_at=START + timedelta(seconds=n // 2), workspace=workspace)
        for n in range(10)
        for workspace in (WORKSPACE, "other")
    ]
    bare = [lifecycle.erased(replace(item, id=UUID(int=n)), START) for n, item in enumerate(old[:9])]
    either_house.store.write(keeping(*old, *bare))
    clock.advance(KEEP_FOR + timedelta(hours=1))
    retention = Retention(either_house.store, KEEP_FOR)

    steps = [retention.tick() for _ in range(6)]

    assert (sum(steps), max(steps), steps[-1]) == (20, 6, 0)
    found = either_house.store.read(lambda tx: [tx.item(item.workspace, item.id) for item in old])
    assert all(item is not None and item.erased_at == clock() for item in found)
    assert Retention(either_house.store, KEEP_FOR).tick() == 0


def test_the_files_are_written_anew_once_a_day_after_content_expired(
    house: Console, sqlite_url: str, clock: MovableClock
) -> None:
    Story(house).answered()
    clock.advance(KEEP_FOR + timedelta(seconds=1))
    retention = Retention(house.store, KEEP_FOR)

    while retention.tick():
        pass

    assert CANARY.encode() not in contents(sqlite_url)


def test_a_database_that_others_read_says_that_remains_may_stand_in_it(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 10)
    store = open_store(sqlite_url)
    try:
        with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM items").fetchone()

            with pytest.raises(StoreBusyError, match="Run the same command again"):
                store.scrub()

        store.scrub()
    finally:
        store.close()


def test_leaves_of_version_1_stay_readable_and_verify(house: Console, tmp_path: Path) -> None:
    leaf = {
        "actor": {"id": ada.id, "kind": "person", "name": ada.name},
        "at": "2026-10-01T08:00:00.000000+00:00",
        "data": {"digest_seen": "sha256:" + "1" * 64, "epoch": 1},
        "id": str(UUID(int=1)),
        "item": None,
        "kind": "item_decided",
        "version": 1,
        "workspace": WORKSPACE,
    }
    with house.store._engines.writing.begin() as connection:  # type: ignore[attr-defined]  # noqa: SLF001 -- as an earlier release wrote it
        connection.execute(
            text(
                "INSERT INTO audit_events (workspace, id, at, kind, actor_id, actor_name, leaf) "
                "VALUES (:workspace, :id, 0, 'item_decided', :actor_id, :actor_name, :leaf)"
            ),
            {
                "workspace": WORKSPACE,
                "id": UUID(int=1).hex,
                "actor_id": ada.id,
                "actor_name": ada.name,
                "leaf": json.dumps(leaf, sort_keys=True, separators=(",", ":")),
            },
        )
    item = Story(house).answered()
    erase_item(house, item.id)

    found = house.records.events(root, EventFilter(actor=ada.name, kind=EventKind.ITEM_DECIDED)).rows

    assert [event.data["epoch"] for event in found] == [1, 1]
    assert (found[-1].actor.id, found[-1].data) == (ada.id, leaf["data"])
    assert verified(house, tmp_path)[0] == 0
