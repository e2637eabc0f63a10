"""Races for one thing at a time, over and over: of all that reach for it, one gets it."""

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar
from uuid import UUID

import httpx2
from joserfc.jwk import OKPKey
from uuid_utils.compat import uuid7

from agents.protocol import Action, ActionRequest, Approve, Args, Execution
from db.store import SqlStore, open_store
from review.audit import SYSTEM, EventFilter, EventKind
from review.desk import ReviewDesk, Seen
from review.errors import AlreadyConsumedError, AlreadySettledError, ClaimLostError
from review.governance import KeyRing, PolicyBook
from review.intake import Intake, Submission
from review.items import CLAIM_DURATION, ItemFilter
from review.pace import Shares
from review.people import AgentKey, Person, Role
from review.policy import Autonomy, PolicyDocument, ToolRule
from review.signing import Receipts
from review.store import Reading
from tests.builders import AGENT, ISSUER, WORKSPACE
from tests.clock import START
from tests.console import Console, served

PROCESSES = 2
PATIENCE_SECONDS = 1_800.0
TOOL = "refund"

_processes = multiprocessing.get_context("spawn")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Race:
    """What a process of a race is told: the database, the signing key, who takes part, and over what."""

    url: str
    key: bytes
    caller: AgentKey
    number: int
    threads: int
    receipts: tuple[tuple[UUID, str, Args], ...] = ()


@dataclass(slots=True)
class House:
    """The use cases on a store of this process's own."""

    store: SqlStore
    intake: Intake
    desk: ReviewDesk
    keys: KeyRing
    policies: PolicyBook


@contextmanager
def house(url: str, key: bytes, clock: Callable[[], datetime] | None = None) -> Iterator[House]:
    """Open the database and wire the use cases to it."""
    store = open_store(url, clock=clock)
    try:
        receipts = Receipts(OKPKey.import_key(key), issuer=ISSUER)
        policies = PolicyBook(store)
        shares = Shares(store, most_waiting=1_000_000)
        intake = Intake(store, receipts, policies, draw=lambda: 1.0, shares=shares)
        yield House(store, intake, ReviewDesk(store, receipts, policies), KeyRing(store), policies)
    finally:
        store.close()


def consumers(url: str, *, receipts: int, each: int) -> Counter[int]:
    """Let ``each`` consumers, on threads of two processes, use up every receipt; return how many had how many winners.

    Every other consumer must have been told that it came too late.
    """
    key = _signing_key()
    with house(url, key) as opened:
        caller = _furnished(opened, Autonomy.AUTONOMOUS)
        permitted = tuple(_permitted(opened, caller, number) for number in range(receipts))
        races = [Race(url, key, caller, number, each // PROCESSES, permitted) for number in range(PROCESSES)]
        wins = Counter(item for won in _run(_consume_all, races) for item in won)
        events = _event_counts(opened.store, EventKind.RECEIPT_CONSUMED)
        _check_same(wins, events)
        _check_executions(opened.store, Execution.STARTED)
    return Counter(wins[item] for item, _, _ in permitted)


def consumers_over_http(url: str, *, receipts: int, each: int) -> Counter[int]:
    """Do what ``consumers`` does through the machines' door: a request for each."""
    store = open_store(url)
    try:
        with served(Console(store)) as console:
            console.save_policy(_policy(Autonomy.AUTONOMOUS))
            bearer = console.agent_key(AGENT)
            caller = console.keys.recognise(bearer)
            filed = [console.intake.submit(caller, _submission(number))[0] for number in range(receipts)]
            barrier = threading.Barrier(each)

            def consume_all(_: int) -> list[UUID]:
                won: list[UUID] = []
                with httpx2.Client(headers={"Authorization": f"Bearer {bearer}"}, timeout=60) as client:
                    for number, item in enumerate(filed):
                        barrier.wait(PATIENCE_SECONDS)
                        body = {"receipt": item.receipt, "args": _action(number).args}
                        answer = client.post(f"{console.url}/api/v1/actions/{item.id}/consume", json=body)
                        assert answer.is_success or answer.json()["code"] == "already_consumed", answer.text
                        won += [item.id] if answer.is_success else []
                return won

            wins = Counter(item for won in _threads(each, consume_all) for item in won)
            return Counter(wins[item.id] for item in filed)
    finally:
        store.close()


def claimers(url: str, *, items: int, each: int) -> Counter[int]:
    """Let ``each`` people, on threads of two processes, claim and decide until nothing waits.

    Return how many items were claimed how many times.
    """
    key = _signing_key()
    with house(url, key) as opened:
        caller = _furnished(opened, Autonomy.SUPERVISED)
        filed = [opened.intake.submit(caller, _submission(number))[0].id for number in range(items)]
        races = [Race(url, key, caller, number, each // PROCESSES) for number in range(PROCESSES)]
        claims = Counter(item for taken in _run(_claim_all, races) for item in taken)
        _check_same(claims, _event_counts(opened.store, EventKind.ITEM_CLAIMED))
        _check_same(claims, _event_counts(opened.store, EventKind.ITEM_DECIDED))
        _check_executions(opened.store, Execution.PERMITTED)
    return Counter(claims[item] for item in filed)


def stopped_deciders(url: str, *, times: int) -> Counter[str]:
    """Stop a process (SIGSTOP) between its claim and its decision until its claim is over, so many times.

    Meanwhile the item lapses, goes to somebody else, or is decided by them. Return what the process was told when it
    went on and decided: the codes of its refusals.
    """
    key = _signing_key()
    claims_over = _processes.Value("q", 0)
    orders, told = _processes.SimpleQueue(), _processes.SimpleQueue()
    grace = _person(1)
    with house(url, key, lambda: _moved(claims_over)) as opened:
        caller = _furnished(opened, Autonomy.SUPERVISED)
        process = _processes.Process(target=_claim_stop_decide, args=(url, key, claims_over, orders, told), daemon=True)
        answers: Counter[str] = Counter()
        process.start()
        try:
            for number in range(times):
                item = opened.intake.submit(caller, _submission(number))[0].id
                orders.put(item)
                _await_stop(process)
                claims_over.value += 1
                if number % 3 == 0:
                    opened.intake.sweep()
                else:
                    taken = opened.desk.claim_item(grace, item)
                    if number % 3 == 1:
                        opened.desk.decide(item, Approve(), grace, seen=Seen.of(taken))
                before = opened.store.read(lambda tx, item=item: tx.item(WORKSPACE, item))  # type: ignore[misc]  # the loop's value is bound early
                _continue(process)
                answers[told.get()] += 1
                after = opened.store.read(lambda tx, item=item: tx.item(WORKSPACE, item))  # type: ignore[misc]  # the loop's value is bound early
                assert before == after, f"a late decision changed {before} to {after}"
            orders.put(None)
            process.join(PATIENCE_SECONDS)
        finally:
            if process.is_alive():
                process.kill()
            process.join()
    return answers


def _consume_all(race: Race) -> list[UUID]:
    with house(race.url, race.key) as opened:
        barrier = threading.Barrier(race.threads)

        def consume(_: int) -> list[UUID]:
            won: list[UUID] = []
            for item, receipt, args in race.receipts:
                barrier.wait(PATIENCE_SECONDS)
                try:
                    opened.intake.consume(race.caller, item, receipt, args)
                except AlreadyConsumedError:
                    continue
                won.append(item)
            return won

        return [item for won in _threads(race.threads, consume) for item in won]


def _claim_all(race: Race) -> list[UUID]:
    with house(race.url, race.key) as opened:

        def claim(number: int) -> list[UUID]:
            person = _person(race.number * race.threads + number)
            taken: list[UUID] = []
            while (item := opened.desk.claim(person)) is not None:
                taken.append(item.id)
                opened.desk.decide(item.id, Approve(), person, seen=Seen.of(item))
            return taken

        return [item for taken in _threads(race.threads, claim) for item in taken]


def _claim_stop_decide(url: str, key: bytes, claims_over: Any, orders: Any, told: Any) -> None:  # noqa: ANN401 -- shared by processes
    ada = _person(0)
    with house(url, key, lambda: _moved(claims_over)) as opened:
        while (order := orders.get()) is not None:
            item = opened.desk.claim_item(ada, order)
            os.kill(os.getpid(), signal.SIGSTOP)
            try:
                opened.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))
            except (ClaimLostError, AlreadySettledError) as refusal:
                told.put(refusal.code)
            else:
                told.put("decided")


def _await_stop(process: SpawnProcess) -> None:
    assert process.pid is not None
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), f"the process ended: {status}"


def _continue(process: SpawnProcess) -> None:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGCONT)


def _moved(claims_over: Any) -> datetime:  # noqa: ANN401 -- shared by processes
    return START + CLAIM_DURATION * int(claims_over.value)


def _run(work: Callable[[Race], T], races: list[Race]) -> list[T]:
    # Unlike a multiprocessing.Pool it gives up when a process dies.
    with ProcessPoolExecutor(len(races), mp_context=_processes) as pool:
        return list(pool.map(work, races))


def _threads(count: int, run: Callable[[int], T]) -> list[T]:
    with ThreadPoolExecutor(max_workers=count) as pool:
        return [done.result() for done in [pool.submit(run, number) for number in range(count)]]


def _signing_key() -> bytes:
    return OKPKey.generate_key("Ed25519").as_pem(private=True)


def _person(number: int) -> Person:
    return Person(ISSUER, f"p{number}", f"Person {number}", frozenset({Role.REVIEWER}))


def _policy(autonomy: Autonomy) -> PolicyDocument:
    return PolicyDocument(tools=(ToolRule(agent=AGENT, tool=TOOL, autonomy=autonomy),), audit_rate=0.0)


def _furnished(opened: House, autonomy: Autonomy) -> AgentKey:
    opened.policies.install(_policy(autonomy), WORKSPACE, SYSTEM)
    return opened.keys.create(AGENT, WORKSPACE, SYSTEM)[0]


def _action(number: int) -> Action:
    return Action(name=TOOL, args={"order": f"A-{number}", "amount": "20.00"})


def _submission(number: int) -> Submission:
    return Submission(ActionRequest(action=_action(number)), str(uuid7()), "body")


def _permitted(opened: House, caller: AgentKey, number: int) -> tuple[UUID, str, Args]:
    status = opened.intake.submit(caller, _submission(number))[0]
    assert status.receipt is not None
    return status.id, status.receipt, _action(number).args


def _event_counts(store: SqlStore, kind: EventKind) -> Counter[UUID | None]:
    def work(tx: Reading) -> Counter[UUID | None]:
        found = tx.events_after(WORKSPACE, EventFilter(kind=kind), limit=1_000_000, after=None)
        return Counter(event.item_id for event in found)

    return store.read(work)


def _check_same(answered: Counter[UUID], on_record: Counter[UUID | None]) -> None:
    assert dict(answered) == dict(on_record), "what was answered is not what is on record"


def _check_executions(store: SqlStore, execution: Execution) -> None:
    rows = store.read(lambda tx: tx.whole_items(WORKSPACE, ItemFilter(), limit=100_000)).rows
    assert {row.execution for row in rows} == {execution}
