"""What the review needs of storage, as Protocols; `db` implements them, `app.py` introduces the two.

A use case hands the store one piece of work. ``write`` runs it in one transaction and returns only after its commit;
several pieces may share a commit, each all or nothing. Work may be run again after a conflict, so it touches nothing
but its transaction.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

from pydantic import JsonValue

from agents.protocol import DecisionType, Note
from review.audit import Arrival, AuditEvent, Backlog, EventFilter, LogHead, Seal, SealedEvent
from review.figures import Figures
from review.items import (
    DecisionFilter,
    DecisionRecord,
    ItemFilter,
    ItemSummary,
    KnownReviewer,
    NoteRecord,
    Order,
    Page,
    Rejection,
    ReviewItem,
    SettledCall,
    Tool,
    View,
)
from review.labels import LabelCount
from review.people import Agent, AgentKey, Emergency, Member, Pause, Person, Session, SignInLink
from review.policy import Policy

T = TypeVar("T")

COUNT_LIMIT = 1000
REJECTIONS_SEEN = 100


class ClosedItem(NamedTuple):
    """An item that is settled, expired or cancelled: when it closed, and whether its content was erased since."""

    id: UUID
    settled_at: datetime
    is_erased: bool


class ItemWords(NamedTuple):
    """The words that an item is found by, blanks between them."""

    workspace: str
    item_id: UUID
    words: str


class FilingKey(NamedTuple):
    """What a submission is filed under, once: the agent's idempotency key."""

    workspace: str
    agent: str
    idempotency_key: str


class Reading(Protocol):
    """What can be asked inside a transaction. Lists are keyset pages; a malformed cursor raises InvalidCursorError."""

    @property
    def now(self) -> datetime:
        """Return the time of this transaction, in UTC; the same for all of it."""

    def item(self, workspace: str, item_id: UUID) -> ReviewItem | None:
        """Return the item; inside a write its row stays locked until the end of the transaction."""

    def items_named(self, names: Sequence[tuple[str, UUID]]) -> Sequence[ReviewItem]:
        """Return those of the items (workspace and id) that are there, in no order; none of them is locked."""

    def item_by_key(self, workspace: str, agent: str, idempotency_key: str) -> ReviewItem | None:
        """Return the item that this agent submitted under the key."""

    def items(
        self, workspace: str, where: ItemFilter, *, order: Order, limit: int, cursor: str | None = None
    ) -> Page[ItemSummary]:
        """Return a page of summaries."""

    def whole_items(
        self, workspace: str, where: ItemFilter, *, limit: int, cursor: str | None = None
    ) -> Page[ReviewItem]:
        """Return a page of whole items, newest first."""

    def figures(self, workspace: str, *, since: datetime, limit: int) -> Figures:
        """Return the figures of the items submitted since then, the latest ``limit`` of them."""

    def count_items(self, workspace: str, where: ItemFilter, *, limit: int = COUNT_LIMIT + 1) -> int:
        """Return how many items match, counting no further than ``limit``."""

    def count_in_line(self, workspace: str, agent: str, *, limit: int) -> int:
        """Return how many of the agent's items wait for people to let them run, counting no further than ``limit``."""

    def waiting_queues(self, workspace: str) -> Sequence[str]:
        """Return the queues in which something waits for everybody, by name."""

    def oldest_waiting(self, workspace: str, queue: str) -> datetime | None:
        """Return when the oldest item that waits in the queue for everybody was submitted; None where none waits."""

    def due_by(self, workspace: str, before: datetime) -> Mapping[str, int]:
        """Return how much of each queue waits for everybody, is not overdue, and is due before then.

        Counts no further than COUNT_LIMIT + 1 in all queues together.
        """

    def assigned_queues(self, workspace: str, iss: str, sub: str) -> Sequence[str]:
        """Return the queue of each item that waits for this person alone."""

    def held_by(self, workspace: str, iss: str, sub: str) -> Sequence[ReviewItem]:
        """Return the items that this person holds undecided, by holds that have not lapsed, the most urgent first."""

    def undoable(self, workspace: str, iss: str, sub: str) -> Sequence[ReviewItem]:
        """Return the items on which this person's decision does not count yet, the latest decision first."""

    def due_decisions(self, *, limit: int) -> Sequence[tuple[str, UUID]]:
        """Return workspace and id of items whose decision is to count by now, of every workspace, oldest first."""

    def decisions_of(self, workspace: str, item_id: UUID) -> Sequence[DecisionRecord]:
        """Return people's decisions on the item, oldest first."""

    def rejections(self, workspace: str, agent: str, digest: str) -> Sequence[Rejection]:
        """Return the latest rejections by people of this very call of the agent, newest first, at most REJECTIONS_SEEN.

        Rejected are items that the agent waited for: not what was only looked at afterwards, nor what the policy
        denied or let expire.
        """

    def settled_alike(self, workspace: str, agent: str, tool: str, *, limit: int) -> Sequence[SettledCall]:
        """Return what people settled last of this agent's calls of this tool, latest first; nothing erased."""

    def decided(
        self,
        workspace: str,
        where: DecisionFilter,
        *,
        reviewers: Sequence[KnownReviewer] | None = None,
        limit: int,
        after: UUID | None = None,
    ) -> Sequence[tuple[ReviewItem, DecisionRecord]]:
        """Return up to ``limit`` decisions with their items, in order of decision id, those behind ``after``.

        ``reviewers`` says who is meant by the filter's own word for them, which is not looked at here.
        """

    def count_labels(self, workspace: str, *, limit: int) -> Sequence[LabelCount]:
        """Return how often each decision was made on each tool, as labels say it, of the first ``limit`` decisions."""

    def count_decided(
        self,
        workspace: str,
        where: DecisionFilter,
        *,
        reviewers: Sequence[KnownReviewer] | None = None,
        limit: int | None,
    ) -> int:
        """Return how many decisions match, counting no further than ``limit``."""

    def reviewers(self, workspace: str) -> Sequence[KnownReviewer]:
        """Return everybody who has decided, under every name that they had; it reads all decisions."""

    def decided_by(self, workspace: str, iss: str, sub: str, *, since: datetime) -> Mapping[DecisionType, int]:
        """Return how often the person decided each way since then, of what was settled since then, too."""

    def copies_of(self, workspace: str, item_id: UUID) -> Sequence[UUID]:
        """Return the items that were drawn from this one for a look afterwards."""

    def subjects(self, workspace: str, *, limit: int, after: UUID | None) -> Sequence[tuple[UUID, str | None]]:
        """Return up to ``limit`` items behind ``after``, in order of id, each with whom or what it concerns."""

    def workspaces(self) -> Sequence[str]:
        """Return the workspaces that have items."""

    def closed(
        self, workspace: str, *, before: datetime, after: tuple[datetime, UUID] | None, limit: int
    ) -> Sequence[ClosedItem]:
        """Return up to ``limit`` items that closed before that time, behind ``after``, in order of closing."""

    def draft(self, person: Person, item_id: UUID, version: int) -> Mapping[str, JsonValue] | None:
        """Return what the person has begun to write on this version of the item."""

    def notes_of(self, workspace: str, item_id: UUID) -> Sequence[Note]:
        """Return the item's thread, oldest first."""

    def thread_of(self, workspace: str, item_id: UUID) -> Sequence[NoteRecord]:
        """Return the item's thread with who wrote each note, oldest first."""

    def events(self, workspace: str, where: EventFilter, *, limit: int, cursor: str | None = None) -> Page[AuditEvent]:
        """Return a page of events, newest first."""

    def events_after(
        self, workspace: str, where: EventFilter, *, limit: int, after: UUID | None
    ) -> Sequence[AuditEvent]:
        """Return up to ``limit`` events in order of id, those behind ``after``: for exports."""

    def count_events(self, workspace: str, where: EventFilter, *, limit: int) -> int:
        """Return how many events match, counting no further than ``limit``."""

    def indexed_to(self) -> int:
        """Return the ``seq`` of the event up to which items can be found by what they say."""

    def changed_items(self, *, after: int, limit: int) -> tuple[int, Sequence[tuple[str, UUID]]]:
        """Return what may say something new since the event ``after``, of every workspace, and up to which event.

        No more than ``limit`` events are looked at, and none before which another may still be committed.
        """

    def log_head(self, workspace: str) -> LogHead | None:
        """Return the workspace's log as its latest checkpoint signed it."""

    def log_heads(self) -> Sequence[LogHead]:
        """Return the head of every workspace's log."""

    def last_recorded(self) -> int:
        """Return the ``seq`` of the last event; 0 where there is none."""

    def last_sealed(self) -> int:
        """Return the ``seq`` of the last event that has its leaf; 0 where none has."""

    def backlog(self, *, limit: int) -> Backlog:
        """Return what waits to be sealed, of every workspace, counting no further than ``limit``."""

    def sealed_events(
        self, workspace: str, where: EventFilter, *, begin: int, size: int, limit: int
    ) -> Sequence[SealedEvent]:
        """Return up to ``limit`` events whose leaves stand at ``begin`` or behind it, before ``size``, by index."""

    def log_hashes(self, workspace: str, level: int, begin: int, end: int) -> Sequence[bytes]:
        """Return the kept hashes of one level of the tree, those of leaves (0) or of a multiple of eight."""

    def policy(self, workspace: str) -> Policy | None:
        """Return the policy in force."""

    def policies(self, workspace: str, *, limit: int) -> Sequence[Policy]:
        """Return the latest versions, newest first."""

    def agents(self, workspace: str) -> Sequence[Agent]:
        """Return the workspace's agents by name."""

    def tools(self, workspace: str) -> Sequence[Tool]:
        """Return the workspace's tools by agent and name."""

    def tool(self, workspace: str, agent: str, name: str) -> Tool | None:
        """Return the tool as the agent declared it."""

    def keys(self, workspace: str) -> Sequence[AgentKey]:
        """Return the workspace's keys, newest first."""

    def key(self, prefix: str) -> AgentKey | None:
        """Return the key with this prefix, whatever its workspace; inside a write its row stays locked."""

    def session(self, session_id: str) -> Session | None:
        """Return the session, ended ones included; inside a write its row stays locked."""

    def sessions_of(self, iss: str, *, sub: str | None, sid: str | None) -> Sequence[Session]:
        """Return the sessions that have not ended, of every workspace, of the person or of the provider's session.

        Inside a write their rows stay locked.
        """

    def live_sessions(self, workspace: str, *, seen_after: datetime) -> Sequence[Session]:
        """Return the workspace's sessions that have not ended and were seen after that time."""

    def member(self, workspace: str, iss: str, sub: str) -> Member | None:
        """Return the person as the workspace knows them; inside a write their row stays locked."""

    def members(self, workspace: str) -> Sequence[Member]:
        """Return everybody who has signed in to the workspace, by name; inside a write their rows stay locked."""

    def emergency(self, workspace: str, emergency_id: UUID) -> Emergency | None:
        """Return the emergency; inside a write its row stays locked."""

    def emergencies(self, workspace: str, *, limit: int, until_after: datetime | None = None) -> Sequence[Emergency]:
        """Return the latest emergencies, newest first; with ``until_after`` those that last beyond that time."""

    def view(self, workspace: str, view_id: UUID) -> View | None:
        """Return a view of anybody in the workspace."""

    def views(self, person: Person, screen: str) -> Sequence[View]:
        """Return the person's views of the screen, by name."""

    def pauses(self, workspace: str) -> Sequence[Pause]:
        """Return what is paused in the workspace, the oldest pause first."""


class Writing(Reading, Protocol):
    """What can be told inside a write transaction."""

    def add_item(self, item: ReviewItem) -> None:
        """Keep a new item. Raises DuplicateKeyError where the agent used the idempotency key before."""

    def save_item(self, item: ReviewItem, *, was: ReviewItem) -> None:
        """Replace what can change of an item. Raises StaleItemError where it is no longer as it ``was``."""

    def claim_next(  # noqa: PLR0913 -- who takes what, until when
        self,
        workspace: str,
        *,
        queues: Sequence[str] | None,
        iss: str,
        sub: str,
        name: str,
        until: datetime,
        passing_over: Collection[UUID] = (),
    ) -> ReviewItem | None:
        """Take, in one statement, the most urgent item that the person may decide; its epoch grows.

        What waits for this person alone comes first; what waits for everybody, of these queues, after it.
        """

    def held_and_lapsed(self, workspace: str, iss: str, sub: str) -> tuple[ReviewItem | None, bool]:
        """Return, from one statement, what ``held_by`` does, and whether there are ``lapsed_claims``."""

    def lapsed_claims(self, *, limit: int) -> Sequence[ReviewItem]:
        """Return claimed items whose hold is over, of every workspace, locked; rows others lock are skipped.

        On none of them a decision waits for its time to count, and none is overdue: those are closed as they were held.
        """

    def overdue_items(self, *, limit: int) -> Sequence[ReviewItem]:
        """Return undecided items past ``expires_at``, of every workspace, locked; rows others lock are skipped.

        An item on which a decision waits for its time to count is decided.
        """

    def undecided_in_time(self, *, limit: int) -> Sequence[ReviewItem]:
        """Return items past ``due_at`` that nobody holds, not found so before, of every workspace, locked."""

    def ended_assignments(self, *, limit: int) -> Sequence[ReviewItem]:
        """Return items that waited for one person long enough, of every workspace, locked."""

    def rested_items(self, *, limit: int) -> Sequence[ReviewItem]:
        """Return items that slept until their time, of every workspace, locked."""

    def overdue_outcomes(self, *, limit: int) -> Sequence[ReviewItem]:
        """Return started items past ``outcome_due_at``, of every workspace, locked; rows others lock are skipped."""

    def add_decision(self, record: DecisionRecord) -> None:
        """Keep a person's decision."""

    def add_note(self, note: NoteRecord) -> None:
        """Keep a note."""

    def save_decision(self, record: DecisionRecord) -> None:
        """Replace what was decided and the digest that was seen; the rest of a decision never changes."""

    def remove_notes(self, workspace: str, item_id: UUID) -> int:
        """Remove the item's thread; return how many notes it had."""

    def keep_draft(self, person: Person, item_id: UUID, version: int, written: Mapping[str, JsonValue]) -> None:
        """Keep what the person has begun to write, in place of what was kept."""

    def remove_drafts(self, workspace: str, item_id: UUID, *, of: Person | None = None) -> None:
        """Remove what was begun to be written on the item, by everybody or by one person."""

    def remove_closed_drafts(self, *, limit: int) -> int:
        """Remove the drafts on up to ``limit`` items that are closed, of every workspace; return how many items."""

    def remove_openings(self, workspace: str, item_id: UUID) -> None:
        """Remove what opens the commitments to the item's content, in all of its events up to this transaction."""

    def mark_indexed(self, seq: int, *, was: int) -> bool:
        """Note up to which event items can be found; False where it is no longer what it ``was``."""

    def keep_words(self, found: Sequence[ItemWords]) -> None:
        """Keep the words of items, in place of those they had; of items that were erased meanwhile none."""

    def forget_words(self, workspace: str, item_id: UUID) -> None:
        """Let the item not be found by anything that it said."""

    def record(self, event: AuditEvent) -> None:
        """Append the event to the audit log."""

    def leads_sealing(self) -> bool:
        """Tell whether this transaction alone may seal until it ends; False where another process is at it."""

    def add_seal(self, seal: Seal) -> None:
        """Keep the leaves, the nodes and the checkpoint. The database refuses a leaf, node or number that is there."""

    def add_policy(self, policy: Policy) -> None:
        """Put a new version of the policy in force. Raises StaleItemError where the version exists already."""

    def keep_agent(self, agent: Agent) -> None:
        """Keep the agent unless it is known."""

    def keep_tool(self, tool: Tool) -> None:
        """Keep the tool, or the new schema of a known one."""

    def add_key(self, key: AgentKey) -> None:
        """Keep a new key."""

    def save_key(self, key: AgentKey) -> None:
        """Replace the key's expiry, revocation, last use and limits."""

    def use_assertion(self, key: AgentKey, assertion_id: str, *, until: datetime) -> bool:
        """Keep that the key's agent used the assertion, and forget what has expired; False where it was used before."""

    def add_session(self, session: Session) -> None:
        """Keep a new session."""

    def save_session(self, session: Session) -> None:
        """Replace when the session was seen, signed in and ended, and its ID token."""

    def keep_member(self, member: Member) -> None:
        """Keep the person as they are now."""

    def keep_emergency(self, emergency: Emergency) -> None:
        """Keep an emergency as it is now."""

    def keep_view(self, view: View) -> None:
        """Keep the view as it is now."""

    def remove_view(self, view: View) -> None:
        """Remove the view."""

    def add_pause(self, pause: Pause) -> None:
        """Keep a pause; one of the same agent and tool stands."""

    def remove_pause(self, pause: Pause) -> None:
        """Remove the pause of this agent and tool."""

    def add_link(self, link: SignInLink) -> None:
        """Keep a new sign-in link."""

    def use_link(self, link_id: str) -> SignInLink | None:
        """Mark the link used and return it; None where it is unknown, used already or too old."""

    def wake(self, item_id: UUID) -> None:
        """Wake whoever waits for the item, once the transaction has committed."""


class Wakeups(Protocol):
    """Where a coroutine waits for an item to change, without asking again and again."""

    def expecting(self, item_id: UUID) -> AbstractAsyncContextManager[Callable[[float], Awaitable[bool]]]:
        """Open a subscription; inside, ``await wait(seconds)`` returns True when the item changed, False in vain."""

    def wake_all(self) -> None:
        """Let everyone look again, whether anything changed or not."""


class Store(Protocol):
    """Runs pieces of work against the database."""

    @property
    def wakeups(self) -> Wakeups:
        """Return where to wait for commits."""

    def read(self, work: Callable[[Reading], T]) -> T:
        """Run the work on one consistent view."""

    def write(self, work: Callable[[Writing], T]) -> T:
        """Run the work in one transaction; return after its commit, or raise with nothing kept."""

    def begin(
        self, work: Callable[[Writing], T], *, key: FilingKey | None = None, digest: str | None = None
    ) -> Future[T]:
        """Queue the work of a ``write`` and return at once; the future answers as ``write`` does.

        ``key`` announces what the work will ask ``item_by_key`` for, and ``digest`` of which call of the key's agent
        it will ask ``rejections``, so that many are looked up together.
        """

    def unsealed(self, *, limit: int) -> Sequence[Arrival]:
        """Return the oldest committed events that have no leaf yet, by ``seq``.

        None is returned before an event that may still be committed under a lower ``seq``.
        """

    def is_ready(self) -> bool:
        """Tell whether the database answers and has the schema of this release."""

    def scrub(self) -> None:
        """Write the database's files anew where remains of what was removed could stand in them.

        On SQLite this takes the time of copying the database, and who writes meanwhile waits. Raises StoreBusyError.
        """


class StaleItemError(Exception):
    """A row was no longer as the work had read it; the store runs the work again."""


class DuplicateKeyError(Exception):
    """The agent has used this idempotency key before."""
