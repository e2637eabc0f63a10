"""Whatever agents, reviewers, clocks and crashes do in whatever order: what ran was permitted, once, and is on record.

Hypothesis drives the real use cases on each database and holds them against the plain model in `model`. Beside it,
`tests.history` says independently of that model what must hold of every item. ``SIGNOFF_NIGHTLY=1`` runs it long.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from joserfc.jwk import OKPKey
from uuid_utils.compat import uuid7

from agents.canonical import action_digest
from agents.errors import ReceiptClaimError, ReceiptDigestError
from agents.protocol import (
    Action,
    ActionRequest,
    ActionStatus,
    Approve,
    Args,
    Decision,
    DecisionType,
    Edit,
    Execution,
    OnExpiry,
    Outcome,
    OutcomeStatus,
    Reject,
    Respond,
    Route,
)
from agents.receipts import receipt_keys, verify_receipt
from db.store import SqlStore, open_store
from db.wakeups import Hub
from review import lifecycle
from review.audit import SYSTEM, Arrival, AuditEvent, EventFilter, EventKind
from review.board import Board
from review.desk import ReviewDesk, Seen
from review.erasure import Erased, Eraser, ErasurePlan
from review.errors import IdempotencyMismatchError, ReviewError
from review.governance import KeyRing, PolicyBook
from review.intake import Intake, Submission
from review.items import CLAIM_DURATION, DecisionRecord, ItemFilter, Purpose, ReviewItem
from review.people import AgentKey, Person, Role
from review.policy import Autonomy, PolicyDocument, Queue, Rule, ToolRule
from review.signing import Receipts
from review.store import Reading, Writing
from tests.builders import EVER_AFTER, ISSUER, a_member, keeping
from tests.clock import MovableClock
from tests.history import check_permission, check_standing
from tests.nightly import IS_NIGHTLY
from tests.review.model import DUE_IN, LATE_PRIORITY, OUTCOME_WITHIN, PERMIT_FOR, Expected, Model, Step
from tests.review.model import LATE as LATE_QUEUE

T = TypeVar("T")

CONSOLE = "http://console.test"
AGENTS = ("shopper", "support")
SIGNING_KEY = OKPKey.generate_key("Ed25519")
# Past the life of everything that can wait, so that what one run leaves behind is closed before the next.
LONG_AFTER = timedelta(days=40)
LOOK_AT_ROWS_EVERY = 4
GRACE = timedelta(seconds=5)
# A crashed process's connections stay open for a while, and PostgreSQL takes only so many.
MOST_WRECKS = 6

LONG = settings(max_examples=5_000, stateful_step_count=100)
SHORT = settings(max_examples=100, stateful_step_count=50)


class Fate(Enum):
    """What becomes of a request: answered, or the process dies before its commit, or after it and before the answer."""

    ANSWERED = auto()
    LOST_BEFORE_COMMIT = auto()
    LOST_AFTER_COMMIT = auto()


PICKS = st.integers(min_value=0, max_value=11)
FATES = st.sampled_from([*[Fate.ANSWERED] * 8, Fate.LOST_BEFORE_COMMIT, Fate.LOST_AFTER_COMMIT])
TOOLS = ("refund", "pay", "reply", "refund", "pay", "reply", "stock", "wipe")
PEOPLE = ("ada", "grace", "mary")
HOLDERS = ("holder", "holder", "holder", "holder", *PEOPLE)
LATE = st.sampled_from([0, 0, 0, 0, 1])
MOSTLY = st.sampled_from([True, True, True, False])
NO_EDIT = (DecisionType.APPROVE, DecisionType.REJECT)
ANSWERS = ("approve", "approve", "edit", "edit", "reject", "respond")
TOKENS = st.sampled_from(["its own", "its own", "its own", "its own", "an old one", "forged"])
ARGS = st.sampled_from(["permitted", "permitted", "permitted", "permitted", "proposed", "other"])


class DiedError(Exception):
    """The process is dead; whoever asked hears nothing."""


class MortalStore:
    """The real store, whose process dies in the next write if its fate is that."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.fate = Fate.ANSWERED

    @property
    def wakeups(self) -> Hub:
        return self.store.wakeups

    def read(self, work: Callable[[Reading], T]) -> T:
        return self.store.read(work)

    def write(self, work: Callable[[Writing], T]) -> T:
        return self.begin(work).result()

    def begin(self, work: Callable[[Writing], T], **known: Any) -> Future[T]:  # noqa: ANN401 -- as Store.begin
        if self.fate is Fate.ANSWERED:
            return self.store.begin(work, **known)
        if self.fate is Fate.LOST_AFTER_COMMIT:
            self.store.begin(work, **known).result()
            raise DiedError

        def unfinished(tx: Writing) -> T:
            work(tx)
            raise DiedError

        return self.store.begin(unfinished, **known)

    def unsealed(self, *, limit: int) -> Sequence[Arrival]:
        return self.store.unsealed(limit=limit)

    def scrub(self) -> None:
        self.store.scrub()

    def is_ready(self) -> bool:
        return self.store.is_ready()


def the_policy(*, shadows_refunds: bool) -> PolicyDocument:
    seconds = int(PERMIT_FOR.total_seconds())
    autonomies = {
        "reply": Autonomy.AUTONOMOUS,
        "refund": Autonomy.SHADOW if shadows_refunds else Autonomy.SUPERVISED,
        "pay": Autonomy.SUPERVISED,
        "stock": Autonomy.SHADOW,
        "wipe": Autonomy.AUTONOMOUS,
    }
    return PolicyDocument(
        rules=(
            Rule(name="two people", when='action.name == "pay"', route=Route.REVIEW, quorum=2),
            Rule(name="never", when='action.name == "wipe"', route=Route.DENY),
        ),
        tools=tuple(
            ToolRule(
                agent=agent,
                tool=tool,
                autonomy=autonomy,
                permit_for=seconds,
                outcome_within=int(OUTCOME_WITHIN.total_seconds()),
                approve_on_expiry=True,
            )
            for agent in AGENTS
            for tool, autonomy in autonomies.items()
        ),
        queues=(
            Queue(name="general", due_in=int(DUE_IN.total_seconds()), raise_to=LATE_PRIORITY, move_to=LATE_QUEUE),
            Queue(name=LATE_QUEUE),
        ),
        audit_rate=0.5,
    )


@dataclass(frozen=True)
class Look:
    """Who decides, under which claim, and what they have before them."""

    person: str
    epoch: int
    shown: Action


@dataclass(frozen=True)
class Answered:
    """What came of a request: its value, or its refusal; nothing where the process died."""

    value: Any = None
    refusal: type[ReviewError] | None = None
    died: bool = False


class Desk(RuleBasedStateMachine):
    """One workspace of one database, asked at random."""

    def __init__(self, url: str, clock: MovableClock, stores: list[SqlStore]) -> None:
        super().__init__()
        self._url = url
        self._clock = clock
        self._stores = stores
        self._workspace = f"w-{uuid7()}"
        roles = frozenset({Role.REVIEWER, Role.LEAD})
        self._people = {name: Person(ISSUER, name, name, roles, self._workspace, EVER_AFTER) for name in PEOPLE}
        self._model = Model(clock())
        self._submissions: dict[UUID, Submission] = {}
        self._receipts_seen: list[str] = []
        self._settled: dict[UUID, tuple[object, ...]] = {}
        self._last_event: UUID | None = None
        self._expected_events: list[tuple[EventKind, UUID | None]] = []
        self._is_sampled = False
        self._time_has_passed = False
        self._looks = 0
        self._start()

    def _start(self) -> None:
        self._store = MortalStore(self._stores[-1])
        self._receipts = Receipts(SIGNING_KEY, issuer=CONSOLE)
        self._policies = PolicyBook(self._store)
        self._intake = Intake(
            self._store,
            self._receipts,
            self._policies,
            draw=lambda: 0.0 if self._is_sampled else 1.0,
            clock=self._clock,
        )
        self._desk = ReviewDesk(self._store, self._receipts, self._policies, undo_for=self._model.undo_for)
        self._board = Board(self._store, self._policies, self._desk)

    @initialize(
        kinds=st.lists(st.sampled_from(TOOLS), min_size=2, max_size=5), undo_for=st.sampled_from([timedelta(0), GRACE])
    )
    def opens(self, kinds: list[str], undo_for: timedelta) -> None:
        self._model.undo_for = undo_for
        self._start()
        keys = KeyRing(self._store)
        self._keys = {agent: keys.create(agent, self._workspace, SYSTEM)[0] for agent in AGENTS}
        self._policies.save(the_policy(shadows_refunds=False), self._people["ada"], based_on=0)
        now = self._clock()
        self._store.write(
            keeping(*(a_member(person, first_seen_at=now, last_seen_at=now) for person in self._people.values()))
        )
        self._expected_events += [(EventKind.KEY_CREATED, None)] * 2 + [(EventKind.POLICY_SAVED, None)]
        for tool in kinds:
            self._submit("shopper", self._request(tool, on_expiry=OnExpiry.APPROVE, expires_in=172_800))

    @rule(
        agent=st.sampled_from(AGENTS),
        tool=st.sampled_from(TOOLS),
        asked=st.fixed_dictionaries(
            {
                "on_expiry": st.sampled_from(OnExpiry),
                "expires_in": st.sampled_from([300, 3_600, 172_800]),
                "observed": st.sampled_from([False, False, False, True]),
                "allowed_decisions": st.sampled_from([tuple(DecisionType), tuple(DecisionType), NO_EDIT]),
            }
        ),
        is_sampled=st.booleans(),
        fate=FATES,
    )
    def submit(self, agent: str, tool: str, asked: dict[str, Any], fate: Fate, *, is_sampled: bool) -> None:
        self._is_sampled = is_sampled
        self._submit(agent, self._request(tool, **asked), fate)

    @rule(which=PICKS, is_same=st.booleans())
    def submit_again(self, which: int, *, is_same: bool) -> None:
        expected = self._picked(which, lambda item: item.id in self._submissions)
        was = self._submissions[expected.id]
        again = was if is_same else Submission(was.request, was.idempotency_key, "another body")

        answer = self._asked(lambda: self._intake.submit(self._keys[expected.agent], again), Fate.ANSWERED)

        if is_same:
            status, is_repeat = answer.value
            assert is_repeat
            self._check_status(status, expected)
        else:
            assert answer.refusal is IdempotencyMismatchError

    @rule(person=st.sampled_from(PEOPLE), fate=FATES)
    def claim(self, person: str, fate: Fate) -> None:
        answer = self._did(self._model.claim(person), lambda: self._desk.claim(self._people[person]), fate)

        if not answer.died:
            held = self._model.held_by(person)
            assert (answer.value.id if answer.value else None) == (held.id if held else None)

    @precondition(lambda self: self._any(_is_claimed))
    @rule(person=st.sampled_from(PEOPLE), fate=FATES)
    def claim_ahead(self, person: str, fate: Fate) -> None:
        answer = self._did(self._model.claim_ahead(person), lambda: self._desk.claim_ahead(self._people[person]), fate)

        if not answer.died:
            held = {item.id for item in self._model.held(person)}
            assert len(held) <= 2
            assert (answer.value is not None) == (len(held) == 2)
            assert answer.value is None or answer.value.id in held

    @precondition(lambda self: self._any(_is_undecided))
    @rule(person=st.sampled_from(PEOPLE), which=PICKS, fate=FATES)
    def claim_item(self, person: str, which: int, fate: Fate) -> None:
        self._claim_item(person, self._picked(which, _is_undecided), fate)

    @precondition(lambda self: self._any(_is_claimed))
    @rule(which=PICKS, by=st.sampled_from(HOLDERS), late=LATE, fate=FATES)
    def extend(self, which: int, by: str, late: int, fate: Fate) -> None:
        expected = self._picked(which, _is_claimed)
        person, epoch = self._person(by, expected), expected.epoch - late
        step = self._model.extend(person, expected, epoch)
        self._did(step, lambda: self._desk.extend(self._people[person], expected.id, epoch=epoch), fate)

    @precondition(lambda self: self._any(_is_claimed))
    @rule(which=PICKS, by=st.sampled_from(HOLDERS), late=LATE, fate=FATES)
    def release(self, which: int, by: str, late: int, fate: Fate) -> None:
        expected = self._picked(which, _is_claimed)
        person, epoch = self._person(by, expected), expected.epoch - late
        step = self._model.release(person, expected, epoch)
        self._did(step, lambda: self._desk.release(self._people[person], expected.id, epoch=epoch), fate)

    @precondition(lambda self: self._any(_is_undecided))
    @rule(which=PICKS, by=st.sampled_from(PEOPLE), to=st.sampled_from(PEOPLE), fate=FATES)
    def assign(self, which: int, by: str, to: str, fate: Fate) -> None:
        expected = self._picked(which, _is_undecided)
        lead, assignee = self._people[by], self._people[to]
        step = self._model.assign(by, expected, to)
        self._did(step, lambda: self._board.assign(lead, expected.id, to=assignee), fate)

    @precondition(lambda self: self._any(_is_claimed))
    @rule(which=PICKS, by=st.sampled_from(HOLDERS), to=st.sampled_from(PEOPLE), late=LATE, fate=FATES)
    def hand_over(self, which: int, by: str, to: str, late: int, fate: Fate) -> None:
        expected = self._picked(which, _is_claimed)
        person, epoch, assignee = self._person(by, expected), expected.epoch - late, self._people[to]
        step = self._model.hand_over(person, expected, epoch, to)
        holder = self._people[person]
        self._did(step, lambda: self._board.hand_over(holder, expected.id, epoch=epoch, to=assignee), fate)

    @precondition(lambda self: self._any(_is_undecided))
    @rule(
        which=PICKS,
        by=st.sampled_from(PEOPLE),
        life=st.sampled_from([timedelta(minutes=3), timedelta(minutes=3), timedelta(hours=5), timedelta(days=3)]),
        fate=FATES,
    )
    def snooze(self, which: int, by: str, life: timedelta, fate: Fate) -> None:
        expected, person, until = self._picked(which, _is_undecided), self._people[by], self._model.now + life
        step = self._model.snooze(by, expected, until)
        self._did(step, lambda: self._board.snooze(person, expected.id, until=until), fate)

    @precondition(lambda self: self._any(_is_undecided))
    @rule(which=PICKS, by=st.sampled_from(PEOPLE), fate=FATES)
    def put_back(self, which: int, by: str, fate: Fate) -> None:
        expected, person = self._picked(which, _is_undecided), self._people[by]
        self._did(self._model.put_back(by, expected), lambda: self._board.put_back(person, expected.id), fate)

    @precondition(lambda self: self._any(_is_claimed))
    @rule(
        which=PICKS,
        by=st.sampled_from(HOLDERS),
        kind=st.sampled_from([*ANSWERS, "other tool"]),
        late=LATE,
        looks_at=st.sampled_from(["it", "it", "it", "it", "the proposal", "something else"]),
        fate=FATES,
    )
    def decide(self, which: int, by: str, kind: str, late: int, looks_at: str, fate: Fate) -> None:
        expected = self._picked(which, _is_claimed)
        shown = {
            "it": expected.shown,
            "the proposal": expected.action,
            "something else": Action(name=expected.action.name, args={"order": "Z-9", "amount": "7"}),
        }[looks_at]
        look = Look(self._person(by, expected), expected.epoch - late, shown)
        self._decide(expected, _decision(kind, expected), look, fate)

    @precondition(lambda self: self._any(_is_undecided))
    @rule(which=PICKS, people=st.permutations(PEOPLE), kinds=st.lists(st.sampled_from(ANSWERS), max_size=2), fate=FATES)
    def one_after_the_other_decides(self, which: int, people: list[str], kinds: list[str], fate: Fate) -> None:
        item = self._picked(which, _is_undecided).id
        for person, kind in zip(people, [*kinds, "approve"], strict=False):
            if not self._claim_item(person, self._model.items[item], Fate.ANSWERED).refusal:
                expected = self._model.items[item]
                self._decide(expected, _decision(kind, expected), Look(person, expected.epoch, expected.shown), fate)
                if self._model.undo_for:
                    self._pass(GRACE)
                    self._settle(Fate.ANSWERED)

    @precondition(lambda self: self._any(_is_begun_on))
    @rule(which=PICKS, of=st.integers(min_value=0, max_value=2))
    def decide_again(self, which: int, of: int) -> None:
        expected = self._picked(which, _is_begun_on)
        made = expected.given[of % len(expected.given)]
        self._decide(expected, made.decision, Look(made.person, made.epoch, expected.shown))

    @precondition(lambda self: self._any(_is_pending))
    @rule(which=PICKS, by=st.sampled_from(HOLDERS), late=LATE, fate=FATES)
    def undo(self, which: int, by: str, late: int, fate: Fate) -> None:
        expected = self._picked(which, _is_pending)
        person, epoch = self._person(by, expected), expected.epoch - late
        step = self._model.undo(person, expected, epoch)
        self._did(step, lambda: self._desk.undo(self._people[person], expected.id, epoch=epoch), fate)

    @precondition(lambda self: self._any(_is_claimed))
    @rule(which=PICKS)
    def undo_again(self, which: int) -> None:
        expected = self._picked(which, _is_claimed)
        person, epoch = self._person("holder", expected), expected.epoch - 1
        step = self._model.undo(person, expected, epoch)
        self._did(step, lambda: self._desk.undo(self._people[person], expected.id, epoch=epoch))

    @precondition(lambda self: self._any(_is_pending))
    @rule(which=PICKS)
    def decide_again_in_the_grace(self, which: int) -> None:
        expected = self._picked(which, _is_pending)
        made = expected.pending
        assert made is not None
        self._decide(expected, made.decision, Look(made.person, made.epoch, expected.shown))

    @precondition(lambda self: self._any(_is_pending))
    @rule(fate=FATES)
    def settle(self, fate: Fate) -> None:
        self._settle(fate)

    @precondition(lambda self: self._any(_is_undecided))
    @rule(which=PICKS, by=st.sampled_from([*PEOPLE, *AGENTS]), fate=FATES)
    def write_a_note(self, which: int, by: str, fate: Fate) -> None:
        self._note(self._picked(which, _is_undecided), by, fate)

    @precondition(lambda self: self._any(_is_undecided))
    @rule(which=PICKS, is_own=MOSTLY, fate=FATES)
    def cancel(self, which: int, fate: Fate, *, is_own: bool) -> None:
        self._cancel(self._picked(which, _is_undecided), fate, is_own=is_own)

    @precondition(lambda self: self._any(_is_permitted))
    @rule(which=PICKS, shown=TOKENS, args=ARGS, is_own=MOSTLY, fate=FATES)
    def consume(self, which: int, shown: str, args: str, fate: Fate, *, is_own: bool) -> None:
        self._consume(self._picked(which, _is_permitted), shown, args, fate, is_own=is_own)

    @precondition(lambda self: self._any(_is_begun))
    @rule(
        which=PICKS,
        status=st.sampled_from(OutcomeStatus),
        error=st.sampled_from([None, None, "It broke."]),
        is_own=MOSTLY,
        fate=FATES,
    )
    def report(self, which: int, status: OutcomeStatus, error: str | None, fate: Fate, *, is_own: bool) -> None:
        self._report(self._picked(which, _is_begun), status, error, fate, is_own=is_own)

    @precondition(lambda self: self._any(_is_begun))
    @rule(
        which=PICKS,
        person=st.sampled_from(["ada", "grace"]),
        status=st.sampled_from([OutcomeStatus.SUCCEEDED, OutcomeStatus.FAILED]),
        fate=FATES,
    )
    def reconcile(self, which: int, person: str, status: OutcomeStatus, fate: Fate) -> None:
        expected = self._picked(which, _is_begun)
        step = self._model.reconcile(person, expected, status, "I asked the bank.")
        by = self._people[person]
        self._did(step, lambda: self._desk.reconcile(by, expected.id, status, "I asked the bank."), fate)

    @rule(which=PICKS, what=st.sampled_from(["consume", "report", "cancel", "note", "claim"]), shown=TOKENS)
    def try_what_may_be_too_late(self, which: int, what: str, shown: str) -> None:
        expected = self._picked(which)
        match what:
            case "consume":
                self._consume(expected, shown, "permitted")
            case "report":
                self._report(expected, OutcomeStatus.SUCCEEDED)
            case "cancel":
                self._cancel(expected, Fate.ANSWERED, is_own=True)
            case "note":
                self._note(expected, "ada", Fate.ANSWERED)
            case "claim":
                self._claim_item("grace", expected, Fate.ANSWERED)

    @precondition(lambda self: self._time_has_passed)
    @rule(fate=FATES)
    def sweep(self, fate: Fate) -> None:
        self._is_sampled = False
        step = self._model.sweep()
        answer = self._asked(self._intake.sweep, fate)
        if answer.died:
            # A sweep is several transactions, of which some may be kept: the next one does the rest.
            answer = self._asked(self._intake.sweep, Fate.ANSWERED)
            assert answer.value <= len(step.events)
        else:
            assert answer.value == len(step.events)
        self._model.accept(step)
        self._expected_events += step.events
        self._time_has_passed = False

    @rule(
        by=st.sampled_from(
            [timedelta(seconds=1), GRACE, timedelta(minutes=4), CLAIM_DURATION, PERMIT_FOR, timedelta(days=1)]
        )
    )
    def time_passes(self, by: timedelta) -> None:
        self._pass(by)

    def _pass(self, by: timedelta) -> None:
        self._clock.advance(by)
        self._model.now = self._clock()
        self._time_has_passed = True

    @rule()
    def refunds_move_in_or_out_of_shadow(self) -> None:
        self._model.in_shadow = not self._model.in_shadow
        number = self._policies.in_force(self._workspace).number
        document = the_policy(shadows_refunds=self._model.in_shadow)
        self._policies.save(document, self._people["grace"], based_on=number)
        self._expected_events.append((EventKind.POLICY_SAVED, None))

    @rule(is_new_store=st.sampled_from([False, False, False, True]))
    def crash(self, *, is_new_store: bool) -> None:
        """Nothing is closed, nothing is kept of what was in memory, and every agent asks how its items stand."""
        if is_new_store:
            self._stores.append(open_store(self._url, clock=self._clock))
            if len(self._stores) > MOST_WRECKS:
                self._stores.pop(0).close()
        self._start()
        for expected in self._model.items.values():
            if expected.purpose is not Purpose.AUDIT:
                self._check_status(self._intake.status(self._keys[expected.agent], expected.id), expected)

    @invariant()
    def every_transition_has_exactly_one_event_and_every_item_is_as_the_model_says(self) -> None:
        # Reading every item costs as much as a step, so most steps are looked at by their events alone.
        self._looks += 1
        rows, new = self._look(with_rows=self._looks % LOOK_AT_ROWS_EVERY == 0)

        assert Counter((event.kind, event.item_id) for event in new) == Counter(self._expected_events)
        self._last_event = new[-1].id if new else self._last_event
        self._expected_events.clear()
        if rows is not None:
            self._check_rows(rows)

    def teardown(self) -> None:
        if not hasattr(self, "_keys"):
            return
        try:
            rows = self._rows()
            self._check_rows(rows)
            for item in rows:
                decisions, events = self._record_of(item.id)
                check_standing(item, events, decisions)
                check_permission(item, decisions)
            self._erase(rows)
        finally:
            self._is_sampled = False  # Or what expires approved would leave looks afterwards behind.
            self._clock.advance(LONG_AFTER)
            while self._desk.settling.tick() + self._intake.sweep():
                pass
        assert all(item.status.is_final for item in self._rows())

    def _erase(self, rows: Sequence[ReviewItem]) -> None:
        """Whatever became of the items, their content can be erased, and what was done to them stays on record."""
        admin = Person(ISSUER, "root", "Root", frozenset({Role.ADMIN}), self._workspace)
        eraser, plan = Eraser(self._store), ErasurePlan(tuple(item.id for item in rows))
        assert eraser.erase(admin, plan).items == len(rows)
        for item in self._rows():
            decisions, events = self._record_of(item.id)
            check_standing(item, events, decisions)
            assert lifecycle.erased(item, self._clock()) is item
            assert all(made == lifecycle.erased_record(made) for made in decisions)
            if item.purpose is not Purpose.AUDIT:
                assert self._intake.status(self._keys[item.agent], item.id).receipt is None
        assert eraser.erase(admin, plan) == Erased()

    def _request(self, tool: str, **asked: Any) -> ActionRequest:  # noqa: ANN401 -- fields of the request
        action = Action(name=tool, args={"order": f"A-{len(self._submissions)}", "amount": "20"})
        return ActionRequest(action=action, **asked)

    def _submit(self, agent: str, request: ActionRequest, fate: Fate = Fate.ANSWERED) -> None:
        submission = Submission(request, f"key-{uuid7()}", "body")

        answer = self._asked(lambda: self._intake.submit(self._keys[agent], submission), fate)
        if answer.died:
            # Who heard nothing asks again under the same key, and gets what would have been the answer.
            assert (self._by_key(agent, submission) is not None) == (fate is Fate.LOST_AFTER_COMMIT)
            answer = self._asked(lambda: self._intake.submit(self._keys[agent], submission), Fate.ANSWERED)
            assert answer.value[1] is (fate is Fate.LOST_AFTER_COMMIT)
        status: ActionStatus = answer.value[0]

        item = self._model.submitted(status.id, agent, request, timedelta(seconds=request.expires_in or 0))
        filed = [item]
        self._expected_events.append((EventKind.ACTION_SUBMITTED, item.id))
        if self._is_sampled and item.route is Route.EXECUTE and not request.observed:
            copy = self._model.looked_at(item, self._audit_copy(item.id))
            filed.append(copy)
            self._expected_events.append((EventKind.AUDIT_QUEUED, copy.id))
        self._model.accept(Step(changed=tuple(filed)))
        self._submissions[item.id] = submission
        self._check_status(status, item)

    def _asked(self, call: Callable[[], object], fate: Fate) -> Answered:
        self._store.fate = fate
        try:
            return Answered(call())
        except DiedError:
            self._start()
            return Answered(died=True)
        except ReviewError as refusal:
            return Answered(refusal=type(refusal))
        finally:
            self._store.fate = Fate.ANSWERED

    def _did(self, step: Step, call: Callable[[], object], fate: Fate = Fate.ANSWERED) -> Answered:
        answer = self._asked(call, fate)
        if answer.died:
            assert step.refusal is None, "what had to be refused was done"
        else:
            assert answer.refusal is step.refusal
        if answer.died and fate is Fate.LOST_BEFORE_COMMIT:
            return answer
        self._model.accept(step)
        self._expected_events += step.events
        return answer

    def _claim_item(self, person: str, expected: Expected, fate: Fate) -> Answered:
        step = self._model.claim_item(person, expected)
        return self._did(step, lambda: self._desk.claim_item(self._people[person], expected.id), fate)

    def _decide(self, expected: Expected, decision: Decision, look: Look, fate: Fate = Fate.ANSWERED) -> None:
        seen = Seen(action_digest(look.shown.name, look.shown.args), expected.version, look.epoch)
        step = self._model.decide(look.person, expected, decision, epoch=look.epoch, shown=look.shown)
        person = self._people[look.person]
        self._did(step, lambda: self._desk.decide(expected.id, decision, person, seen=seen), fate)

    def _settle(self, fate: Fate) -> None:
        step = self._model.settle()
        answer = self._asked(self._desk.settling.tick, fate)
        if answer.died:
            # Each item is a transaction of its own, of which some may be kept: the next tick does the rest.
            answer = self._asked(self._desk.settling.tick, Fate.ANSWERED)
            assert answer.value <= len(step.events)
        else:
            assert answer.value == len(step.events)
        self._model.accept(step)
        self._expected_events += step.events

    def _consume(
        self, expected: Expected, shown: str, args: str, fate: Fate = Fate.ANSWERED, *, is_own: bool = True
    ) -> None:
        caller = self._agent(expected, is_own=is_own)
        token = self._token(expected, shown)
        held: Args = {
            "permitted": (expected.permitted or expected.action).args,
            "proposed": expected.action.args,
            "other": {**expected.action.args, "amount": "1000000"},
        }[args]
        receipt_of, is_fresh = self._signed(token)
        step = self._model.consume(caller.agent, expected, held, receipt_of=receipt_of, is_fresh=is_fresh)

        answer = self._did(step, lambda: self._intake.consume(caller, expected.id, token, held), fate)

        if answer.value is not None:
            assert (answer.value.execution, answer.value.receipt) == (Execution.STARTED, None)

    def _note(self, expected: Expected, by: str, fate: Fate) -> None:
        if by in AGENTS:
            step = self._model.add_note(by, expected)
            self._did(step, lambda: self._intake.add_note(self._keys[by], expected.id, "The second one."), fate)
        else:
            step = self._model.ask(expected, by)
            self._did(step, lambda: self._desk.ask(self._people[by], expected.id, "Which order?"), fate)

    def _cancel(self, expected: Expected, fate: Fate, *, is_own: bool) -> None:
        caller = self._agent(expected, is_own=is_own)
        self._did(self._model.cancel(caller.agent, expected), lambda: self._intake.cancel(caller, expected.id), fate)

    def _report(
        self,
        expected: Expected,
        status: OutcomeStatus,
        error: str | None = None,
        fate: Fate = Fate.ANSWERED,
        *,
        is_own: bool = True,
    ) -> None:
        caller, outcome = self._agent(expected, is_own=is_own), Outcome(status=status, error=error)
        step = self._model.report(caller.agent, expected, outcome)
        self._did(step, lambda: self._intake.report_outcome(caller, expected.id, outcome), fate)

    def _token(self, expected: Expected, shown: str) -> str:
        if shown == "an old one" and self._receipts_seen:
            return self._receipts_seen[len(self._model.items) % len(self._receipts_seen)]
        if shown == "its own" and expected.purpose is not Purpose.AUDIT:
            status = self._intake.status(self._keys[expected.agent], expected.id)
            self._check_status(status, expected)
            if status.receipt is not None:
                return status.receipt
        return "e30.e30.c2lnbmVk"

    def _signed(self, token: str) -> tuple[UUID | None, bool]:
        """Return which item a receipt is for, if it is one of ours, and whether it is still good by its own word."""
        if token not in self._receipts_seen:
            return None, False
        claims = self._receipts._claims(token)  # noqa: SLF001 -- nobody outside has to read a receipt without judging it
        return claims.sub, self._model.now.timestamp() < claims.exp

    def _agent(self, expected: Expected, *, is_own: bool) -> AgentKey:
        other = next(agent for agent in AGENTS if agent != expected.agent)
        return self._keys[expected.agent if is_own else other]

    def _any(self, is_one: Callable[[Expected], bool]) -> bool:
        return any(map(is_one, self._model.items.values()))

    def _picked(self, which: int, is_one: Callable[[Expected], bool] = lambda _: True) -> Expected:
        found = [item for item in self._model.items.values() if is_one(item)]
        return found[which % len(found)]

    def _person(self, by: str, expected: Expected) -> str:
        return expected.holder or "mary" if by == "holder" else by

    def _check_status(self, status: ActionStatus, expected: Expected) -> None:
        """What the agent is told is so, and its receipt permits exactly what was permitted."""
        assert (status.id, status.status, status.execution) == (expected.id, expected.status, expected.execution)
        assert len(status.notes) == expected.notes
        is_good = expected.permitted_until is not None and self._model.now < expected.permitted_until
        assert (status.receipt is not None) == (expected.execution is Execution.PERMITTED and is_good)
        if status.receipt is not None and status.receipt not in self._receipts_seen:
            self._check_receipt(status.receipt, expected)
            self._receipts_seen.append(status.receipt)

    def _check_receipt(self, receipt: str, expected: Expected) -> None:
        permitted = expected.permitted
        assert permitted is not None
        assert expected.permitted_until is not None

        def verify(tool: str, args: Args, item_id: UUID, agent: str) -> int:
            claims = verify_receipt(
                receipt,
                keys=receipt_keys(self._receipts.jwks()),
                audience=agent,
                item_id=item_id,
                tool=tool,
                args=args,
                now=self._model.now.timestamp(),
                issuer=CONSOLE,
            )
            return claims.exp

        expiry = verify(permitted.name, permitted.args, expected.id, expected.agent)
        assert self._model.now.timestamp() - 1 < expiry <= expected.permitted_until.timestamp()
        with pytest.raises(ReceiptDigestError):
            verify(permitted.name, {**permitted.args, "amount": "1000000"}, expected.id, expected.agent)
        for tool, item_id, agent in (
            ("other", expected.id, expected.agent),
            (permitted.name, uuid7(), expected.agent),
            (permitted.name, expected.id, "somebody"),
        ):
            with pytest.raises(ReceiptClaimError):
                verify(tool, permitted.args, item_id, agent)

    def _check_settled(self, item: ReviewItem) -> None:
        if not item.status.is_final:
            return
        stands = (
            *(item.status, item.decision, item.settled_by, item.settled_at, item.version, item.epoch, item.claim),
            *(
                item.draft,
                item.permitted_digest,
                item.permitted_until,
                item.jti,
                item.receipt,
                item.notes,
                item.pending,
            ),
        )
        assert self._settled.setdefault(item.id, stands) == stands, "what was settled changed"

    def _rows(self) -> tuple[ReviewItem, ...]:
        return self._store.read(lambda tx: tx.whole_items(self._workspace, ItemFilter(), limit=500)).rows

    def _check_rows(self, rows: Sequence[ReviewItem]) -> None:
        assert {row.id for row in rows} == set(self._model.items)
        for row in rows:
            _check_item(row, self._model.items[row.id])
            self._check_settled(row)

    def _look(self, *, with_rows: bool) -> tuple[Sequence[ReviewItem] | None, Sequence[AuditEvent]]:
        def work(tx: Reading) -> tuple[Sequence[ReviewItem] | None, Sequence[AuditEvent]]:
            rows = tx.whole_items(self._workspace, ItemFilter(), limit=500).rows if with_rows else None
            return rows, tx.events_after(self._workspace, EventFilter(), limit=10_000, after=self._last_event)

        return self._store.read(work)

    def _record_of(self, item_id: UUID) -> tuple[list[DecisionRecord], list[AuditEvent]]:
        def work(tx: Reading) -> tuple[list[DecisionRecord], list[AuditEvent]]:
            events = tx.events_after(self._workspace, EventFilter(item_id=item_id), limit=10_000, after=None)
            return list(tx.decisions_of(self._workspace, item_id)), list(events)

        return self._store.read(work)

    def _by_key(self, agent: str, submission: Submission) -> ReviewItem | None:
        return self._store.read(lambda tx: tx.item_by_key(self._workspace, agent, submission.idempotency_key))

    def _audit_copy(self, parent: UUID) -> UUID:
        (copy,) = [row.id for row in self._rows() if row.parent_id == parent]
        return copy


def _is_undecided(item: Expected) -> bool:
    return not item.status.is_final


def _is_claimed(item: Expected) -> bool:
    return item.holder is not None


def _is_pending(item: Expected) -> bool:
    return item.pending is not None


def _is_begun_on(item: Expected) -> bool:
    return bool(item.given)


def _is_permitted(item: Expected) -> bool:
    return item.execution is Execution.PERMITTED


def _is_begun(item: Expected) -> bool:
    return item.execution not in (Execution.NONE, Execution.PERMITTED)


def _decision(kind: str, expected: Expected) -> Decision:
    """A decision that depends on nothing but the item, so that it can be made again."""
    args: Args = {**expected.action.args, "amount": f"{expected.version + 2}"}
    match kind:
        case "approve":
            return Approve()
        case "edit":
            return Edit(edited_action=Action(name=expected.action.name, args=args))
        case "other tool":
            return Edit(edited_action=Action(name="another", args=args))
        case "respond":
            return Respond(message="I did it by hand.")
    return Reject(message="No.")


def _check_item(item: ReviewItem, expected: Expected) -> None:
    permitted = expected.permitted
    assert (item.purpose, item.status, item.execution) == (expected.purpose, expected.status, expected.execution)
    assert (item.epoch, item.version, item.notes) == (expected.epoch, expected.version, expected.notes)
    assert (
        (item.claim.sub, item.claim.until) == (expected.holder, expected.until) if item.claim else not expected.holder
    )
    made, kept = item.pending, expected.pending
    assert (made and (made.sub, made.decision, made.settles_at)) == (
        kept and (kept.person, kept.decision, expected.settles_at)
    )
    assert (item.aside, item.queue, item.priority) == (expected.aside, expected.queue, expected.priority)
    assert (item.breached_at is not None, item.snoozed_until) == (expected.is_breached, expected.snoozed_until)
    assert (item.assignment.sub if item.assignment else None) == expected.assignee
    assert (item.draft, item.outcome) == (expected.draft, expected.outcome)
    assert expected.decision is None or item.decision == expected.decision
    assert item.permitted_digest == (action_digest(permitted.name, permitted.args) if permitted else None)
    assert item.permitted_until == expected.permitted_until
    assert item.purpose is Purpose.GATE or (item.jti, item.receipt, item.permitted_digest) == (None, None, None)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_whatever_happens_in_whatever_order(store_url: str, clock: MovableClock) -> None:
    stores = [open_store(store_url, clock=clock)]
    chosen = settings(
        LONG if IS_NIGHTLY else SHORT, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
    )
    try:
        run_state_machine_as_test(lambda: Desk(store_url, clock, stores), settings=chosen)  # type: ignore[arg-type]  # any factory does
    finally:
        for one in stores:
            one.close()
