"""Races through the use cases and the door: real threads, let go at once."""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Event, Thread
from typing import Any
from uuid import UUID

import httpx2
import pytest

from agents.protocol import Approve, Decision, Execution, Reject, Status
from db.store import SqlStore
from review.audit import SYSTEM, EventKind
from review.desk import Seen
from review.errors import AlreadyConsumedError, AlreadySettledError, InFlightError, ReviewError
from review.governance import KeyRing
from review.intake import Submission
from review.items import CLAIM_DURATION, ReasonCode, ReviewItem
from review.people import AgentKey, Person, Role
from review.sessions import Sessions
from review.store import Writing
from tests.builders import ISSUER, a_request, ada
from tests.clock import MovableClock
from tests.console import Console, served
from tests.review.steps import a_document, all_at_once, caller, claim, decide, items, kept, kinds, submit
from tests.waiting import PATIENCE_SECONDS, eventually

ARGS = a_request().action.args
PEOPLE = [Person(ISSUER, f"p{n}", f"Person {n}", frozenset({Role.REVIEWER})) for n in range(20)]
LONGEST_WAIT = 60  # seconds that the door lets a question stay open
SOON_SECONDS = LONGEST_WAIT / 2


def test_of_fifty_consumers_of_a_receipt_one_wins_twenty_times(either_house: Console) -> None:
    either_house.save_policy(a_document())
    agent = caller(either_house)

    for _ in range(20):
        status = submit(either_house, agent)
        results = all_at_once(
            50,
            lambda _, s=status: either_house.intake.consume(agent, s.id, s.receipt or "", ARGS),  # type: ignore[misc]  # the loop's value is bound early
        )

        lost = [result for result in results if isinstance(result, AlreadyConsumedError)]
        assert len(lost) == 49, Counter(map(type, results))
        assert kinds(either_house, status.id).count(EventKind.RECEIPT_CONSUMED) == 1


def test_twenty_reviewers_decide_each_of_a_hundred_items_once(either_house: Console) -> None:
    agent = caller(either_house)
    ids = [submit(either_house, agent).id for _ in range(100)]

    def work(number: int) -> list[UUID]:
        done: list[UUID] = []
        for _ in range(len(ids) + 1):
            item = either_house.desk.claim(PEOPLE[number])
            if item is None:
                return done
            either_house.desk.decide(item.id, Approve(), PEOPLE[number], seen=Seen.of(item))
            done.append(item.id)
        pytest.fail("the queue has no end")

    results = all_at_once(20, work)

    assert Counter(item for done in results for item in done) == Counter(ids)
    assert {(item.status, item.epoch) for item in items(either_house)} == {(Status.SETTLED, 1)}
    counts = Counter(kinds(either_house))
    assert (counts[EventKind.ITEM_CLAIMED], counts[EventKind.ITEM_DECIDED]) == (100, 100)


def test_twenty_reviewers_who_hold_one_ahead_never_hold_the_same(either_house: Console) -> None:
    agent = caller(either_house)
    ids = [submit(either_house, agent).id for _ in range(100)]
    shown: list[tuple[UUID, int]] = []

    def work(number: int) -> int:
        person, desk, done = PEOPLE[number], either_house.desk, 0
        item = desk.claim(person)
        while item is not None:
            ahead = desk.claim_ahead(person)
            shown.extend((each.id, each.epoch) for each in (item, ahead) if each is not None)
            desk.decide(item.id, Approve(), person, seen=Seen.of(item))
            done += 1
            item = ahead or desk.claim(person)
        return done

    results = all_at_once(20, work)

    assert sum(results) == 100, results
    assert set(shown) == {(item_id, 1) for item_id in ids}
    assert {(item.status, item.epoch) for item in items(either_house)} == {(Status.SETTLED, 1)}
    assert Counter(kinds(either_house))[EventKind.ITEM_CLAIMED] == 100


def test_two_tabs_of_one_person_hold_one_item_ahead_and_no_more(either_house: Console) -> None:
    agent = caller(either_house)
    for _ in range(10):
        submit(either_house, agent)
    claim(either_house)

    results = all_at_once(8, lambda _: either_house.desk.claim_ahead(ada))

    assert len({item.id for item in results}) == 1, results
    assert len(either_house.desk.held(ada)) == 2


def test_twenty_people_take_the_same_item_and_one_has_it(either_house: Console) -> None:
    status = submit(either_house)

    results = all_at_once(20, lambda n: either_house.desk.claim_item(PEOPLE[n], status.id))

    winners = [result for result in results if not isinstance(result, ReviewError)]
    assert len(winners) == 1, Counter(map(type, results))
    assert kept(either_house, status.id) == winners[0]
    assert kinds(either_house, status.id) == [EventKind.ACTION_SUBMITTED, EventKind.ITEM_CLAIMED]


def test_the_same_key_from_twenty_threads_files_one_item(either_house: Console) -> None:
    agent = caller(either_house)
    submission = Submission(a_request(), "same", "body")

    results = all_at_once(20, lambda _: either_house.intake.submit(agent, submission))

    answered = [result for result in results if not isinstance(result, InFlightError)]
    assert len({status.id for status, _ in answered}) == 1
    assert [is_repeat for _, is_repeat in answered].count(False) == 1
    assert kinds(either_house).count(EventKind.ACTION_SUBMITTED) == 1


def test_the_same_key_at_two_replicas_files_one_item(either_house: Console) -> None:
    replicas = [either_house, Console(either_house.store)]
    agent = caller(either_house)
    submission = Submission(a_request(), "same", "body")

    results = all_at_once(20, lambda n: replicas[n % 2].intake.submit(agent, submission))

    answered = [result for result in results if not isinstance(result, InFlightError)]
    assert len({status.id for status, _ in answered}) == 1
    assert len(items(either_house)) == 1


def test_a_double_click_decides_once(either_house: Console) -> None:
    submit(either_house)
    item = claim(either_house)

    results = all_at_once(8, lambda _: either_house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item)))

    assert [result == kept(either_house, item.id) for result in results] == [True] * 8
    assert kinds(either_house, item.id).count(EventKind.ITEM_DECIDED) == 1


def test_of_contrary_clicks_the_first_stands(either_house: Console) -> None:
    submit(either_house)
    item = claim(either_house)
    answers: list[Decision] = [Approve(), Reject(message="No.")]

    results = all_at_once(8, lambda n: either_house.desk.decide(item.id, answers[n % 2], ada, seen=Seen.of(item)))

    refused = [result for result in results if isinstance(result, AlreadySettledError)]
    assert len(refused) == 4, Counter(map(type, results))
    assert len(either_house.desk.whole(ada, item.id).decisions) == 1


def test_of_a_decision_and_a_withdrawal_one_stands(either_house: Console) -> None:
    agent = caller(either_house)

    for _ in range(10):
        status = submit(either_house, agent)
        item = claim(either_house)

        results = all_at_once(2, lambda n, item=item: _decided_or_withdrawn(either_house, agent, item, n))  # type: ignore[misc]  # the loop's value is bound early

        assert [isinstance(result, AlreadySettledError) for result in results].count(True) == 1
        done = kept(either_house, status.id)
        permitted = done.execution is Execution.PERMITTED
        assert (done.status is Status.SETTLED, done.receipt is not None) == (permitted, permitted)


def _decided_or_withdrawn(house: Console, agent: AgentKey, item: ReviewItem, number: int) -> object:
    if number:
        return house.intake.cancel(agent, item.id)
    return house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))


def test_a_claim_that_lapses_while_many_look_goes_to_one(either_house: Console, clock: MovableClock) -> None:
    submit(either_house)
    claim(either_house)
    clock.advance(CLAIM_DURATION)

    results = all_at_once(
        20, lambda n: either_house.intake.sweep() if n % 5 == 0 else either_house.desk.claim(PEOPLE[n])
    )

    holders = [result for result in results if result not in (None, 0, 1)]
    assert [holder.epoch for holder in holders] == [2]
    assert kinds(either_house).count(EventKind.CLAIM_LAPSED) == 1


@contextmanager
def a_door(store: SqlStore) -> Iterator[tuple[Console, str, dict[str, str]]]:
    with served(Console(store)) as console:
        yield console, f"{console.url}/api/v1/actions", {"Authorization": f"Bearer {console.agent_key('support')}"}


def waited(url: str, headers: dict[str, str], answers: list[tuple[float, Any]]) -> Thread:
    """Wait for the item on a thread, noting when it was answered and what."""

    def ask() -> None:
        asked = {"wait": LONGEST_WAIT}
        told = httpx2.get(url, params=asked, headers=headers, timeout=LONGEST_WAIT + PATIENCE_SECONDS).json()
        answers.append((time.monotonic(), told))

    thread = Thread(target=ask)
    thread.start()
    return thread


def until_waiting(console: Console, count: int) -> None:
    hub: Any = console.store.wakeups

    def do_wait() -> bool:
        with hub._lock:  # noqa: SLF001 -- the waiters show nowhere else
            return sum(len(waiters) for waiters in hub._waiting.values()) == count  # noqa: SLF001 -- see above

    assert eventually(do_wait), "they do not wait"


def test_a_waiting_agent_is_answered_as_soon_as_its_item_is_decided(store: SqlStore) -> None:
    with a_door(store) as (console, actions, headers):
        agent = console.keys.recognise(headers["Authorization"].removeprefix("Bearer "))
        status = submit(console, agent)
        answers: list[tuple[float, Any]] = []
        thread = waited(f"{actions}/{status.id}", headers, answers)
        until_waiting(console, 1)

        decide(console, Reject(message="No."), reason_codes=(ReasonCode.UNSAFE,))
        decided = time.monotonic()
        thread.join(PATIENCE_SECONDS)

    ((answered, told),) = answers
    assert (told["status"], told["decision"]) == ("settled", {"type": "reject", "message": "No."})
    assert answered - decided < SOON_SECONDS


def test_a_withdrawal_wakes_and_others_sleep_on(sqlite_store: SqlStore) -> None:
    with a_door(sqlite_store) as (console, actions, headers):
        agent = console.keys.recognise(headers["Authorization"].removeprefix("Bearer "))
        withdrawn, other = submit(console, agent), submit(console, agent)
        answers: list[tuple[float, Any]] = []
        woken, asleep = (waited(f"{actions}/{item.id}", headers, answers) for item in (withdrawn, other))
        until_waiting(console, 2)

        console.intake.cancel(agent, withdrawn.id)
        cancelled = time.monotonic()
        woken.join(PATIENCE_SECONDS)
        until_waiting(console, 1)
        console.intake.cancel(agent, other.id)
        asleep.join(PATIENCE_SECONDS)

    (first, told), (_, told_other) = answers
    assert (told["id"], told["status"]) == (str(withdrawn.id), "cancelled")
    # Woken by the first, it would have been told that it waits.
    assert (told_other["id"], told_other["status"]) == (str(other.id), "cancelled")
    assert first - cancelled < SOON_SECONDS


@pytest.mark.postgres
def test_a_decision_at_another_replica_wakes_the_waiting(postgres_url: str, opened: Any) -> None:  # noqa: ANN401 -- the fixture that opens stores
    other = Console(opened(postgres_url))
    with a_door(opened(postgres_url)) as (console, actions, headers):
        other.receipts = console.receipts
        agent = console.keys.recognise(headers["Authorization"].removeprefix("Bearer "))
        status = submit(console, agent)
        answers: list[tuple[float, Any]] = []
        thread = waited(f"{actions}/{status.id}", headers, answers)
        until_waiting(console, 1)

        decide(other, Reject(message="No."))
        decided = time.monotonic()
        thread.join(PATIENCE_SECONDS)

    ((answered, told),) = answers
    assert (told["status"], answered - decided < SOON_SECONDS) == ("settled", True)


def test_two_hundred_agents_wait_at_once_and_each_hears_of_its_own(sqlite_store: SqlStore) -> None:
    with a_door(sqlite_store) as (console, actions, headers):
        agent = console.keys.recognise(headers["Authorization"].removeprefix("Bearer "))
        ids = [submit(console, agent).id for _ in range(200)]

        async def wait_for_all() -> list[Any]:
            limits = httpx2.Limits(max_connections=200)
            patience = LONGEST_WAIT + PATIENCE_SECONDS
            async with httpx2.AsyncClient(headers=headers, timeout=patience, limits=limits) as client:
                asking = [client.get(f"{actions}/{item}", params={"wait": LONGEST_WAIT}) for item in ids]
                reviewing = asyncio.to_thread(review)
                *answers, _ = await asyncio.gather(*asking, reviewing)
            return [answer.json() for answer in answers if answer is not None]

        def review() -> None:
            until_waiting(console, 200)
            for _ in ids:
                decide(console, Approve())

        told = asyncio.run(wait_for_all())

    assert [answer["id"] for answer in told] == [str(item) for item in ids]
    assert {answer["execution"] for answer in told} == {"permitted"}


@pytest.mark.postgres
@pytest.mark.parametrize("of", ["key", "session"])
def test_a_use_that_is_noted_meanwhile_undoes_no_revocation_by_another_process(
    postgres_url: str, opened: Callable[[str], SqlStore], of: str
) -> None:
    here, there = opened(postgres_url), opened(postgres_url)
    key, _ = KeyRing(here).create("shopper", ada.workspace, SYSTEM)
    secret = Sessions(here).sign_in(Sessions(here).create_link(ada))
    session_id = hashlib.sha256(secret.encode()).hexdigest()
    is_read, has_ended = Event(), Event()

    def note_use(tx: Writing) -> None:
        known, session = (tx.key(key.prefix), None) if of == "key" else (None, tx.session(session_id))
        is_read.set()
        has_ended.wait(0.5)
        if known:
            tx.save_key(replace(known, last_used_at=tx.now))
        if session:
            tx.save_session(replace(session, seen_at=tx.now))

    noting = Thread(target=here.write, args=(note_use,))
    noting.start()
    assert is_read.wait(PATIENCE_SECONDS)
    if of == "key":
        KeyRing(there).revoke(key.prefix, ada.workspace, SYSTEM)
    else:
        Sessions(there).sign_out(secret)
    has_ended.set()
    noting.join(PATIENCE_SECONDS)

    after, session = here.read(lambda tx: (tx.key(key.prefix), tx.session(session_id)))
    assert after is not None
    assert session is not None
    assert (after.revoked_at if of == "key" else session.ended_at) is not None
