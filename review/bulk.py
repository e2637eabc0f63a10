"""The use case of deciding items together: only such as differ in their arguments, each decided by itself."""

from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

from agents.protocol import Approve, DecisionType, Reject, Status
from review.alike import MOST_TOGETHER, Template, template_of, why_alone
from review.desk import Decided, ReviewDesk, Seen, is_repeat, item_of
from review.errors import (
    ItemChangedError,
    NothingAlikeError,
    ReasonRequiredError,
    ReviewError,
    TooManyTogetherError,
    WantsItsOwnLookError,
)
from review.governance import PolicyBook
from review.items import ItemFilter, Order, Purpose, ReasonCode, ReviewItem
from review.people import Permission, Person
from review.policy import Queue
from review.queues import choices, reasons_asked
from review.store import Reading, Store, Writing
from review.veils import Veils

LOOKED_THROUGH = 100
DECISIONS = (DecisionType.APPROVE, DecisionType.REJECT)


@dataclass(frozen=True, slots=True)
class Kind:
    """What to look for items alike among: one agent's calls of one tool, in one queue."""

    agent: str
    tool: str
    queue: str


@dataclass(frozen=True, slots=True)
class Apart:
    """An item of the kind that is not among those to be decided together, and why: the end of a sentence about it."""

    item: ReviewItem
    why: str


@dataclass(frozen=True, slots=True)
class Alike:
    """Items of one template that wait, the most urgent first; what stands apart; what their queue asks."""

    template: Template
    queue: Queue
    items: tuple[ReviewItem, ...]
    apart: tuple[Apart, ...] = ()

    @property
    def choices(self) -> tuple[DecisionType, ...]:
        """Return the decisions that can be made on all of them."""
        takes = choices(self.queue, tuple(self.template.allowed))
        return tuple(kind for kind in DECISIONS if kind in takes)

    def reasons_asked(self, decision: DecisionType) -> tuple[ReasonCode, ...]:
        """Return the reason codes of which this decision needs one; empty where it needs none."""
        return reasons_asked(self.queue, decision)


@dataclass(frozen=True, slots=True)
class Look:
    """One item of those that were shown together, and how it was shown."""

    item_id: UUID
    seen: Seen

    @classmethod
    def at(cls, item: ReviewItem, *, dwell_ms: int = 0) -> "Look":
        """Return the look that shows the item as it stands."""
        return cls(item.id, Seen.of(item, dwell_ms=dwell_ms))


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one item: it is decided as ``item`` says, or it is as it was, for the reason in ``refusal``."""

    item_id: UUID
    item: ReviewItem | None = None
    refusal: ReviewError | None = None


class Bulk:
    """Decides items together. Each has its own transaction, its own events and its own receipt, or its own refusal."""

    def __init__(self, store: Store, policies: PolicyBook, desk: ReviewDesk) -> None:
        self._store = store
        self._policies = policies
        self._desk = desk

    def alike(self, person: Person, kind: Kind) -> Alike:
        """Return the largest set of items of this kind that the person may decide together, MOST_TOGETHER at the most.

        The most urgent LOOKED_THROUGH of what waits for everybody are looked at. Raises NothingAlikeError.
        """
        person.require(Permission.DECIDE)
        return self._store.read(lambda tx: self._alike(tx, person, kind))

    def decide(
        self,
        person: Person,
        looks: Sequence[Look],
        decision: Approve | Reject,
        *,
        template: Template,
        reason_codes: tuple[ReasonCode, ...] = (),
    ) -> tuple[Made, ...]:
        """Decide each of the items as it was shown, whatever becomes of the others; the same again changes nothing.

        An item that is not as it was shown, is not of the template that all were shown as, or wants its own look by now
        is left as it is, and so is one that `ReviewDesk.claim_item` or `ReviewDesk.decide` would refuse; each says why.
        Raises TooManyTogetherError and ReasonRequiredError, with nothing decided.
        """
        person.require(Permission.DECIDE)
        if len(looks) > MOST_TOGETHER:
            raise TooManyTogetherError(MOST_TOGETHER)
        if isinstance(decision, Reject) and not reason_codes and not decision.message:
            raise ReasonRequiredError

        def work(tx: Writing, *, look: Look) -> Decided:
            # It is decided under the claim that is made for it here.
            seen = replace(look.seen, epoch=look.seen.epoch + 1)
            item = item_of(tx, person, look.item_id)
            if is_repeat(tx, item, decision, person, seen):
                return Decided(item, None)
            self._require_as_shown(tx, item, person, look=look, template=template)
            held = self._desk.taken(tx, item, person, together=len(looks))
            return self._desk.decided(tx, held, decision, person, seen=seen, reason_codes=reason_codes)

        distinct = {look.item_id: look for look in looks}
        begun = {id_: self._store.begin(partial(work, look=look)) for id_, look in distinct.items()}
        wait(begun.values())
        return tuple(self._made(item_id, done) for item_id, done in begun.items())

    def _made(self, item_id: UUID, done: Future[Decided]) -> Made:
        try:
            return Made(item_id, self._desk.told(done.result()))
        except ReviewError as refusal:
            return Made(item_id, refusal=refusal)

    def _require_as_shown(
        self, tx: Reading, item: ReviewItem, person: Person, *, look: Look, template: Template
    ) -> None:
        self._desk.require_takeable(tx, item, person)
        is_as_shown = (item.version, item.epoch) == (look.seen.version, look.seen.epoch)
        if not is_as_shown or template_of(item) != template:
            raise ItemChangedError(item.id)
        why = why_alone(item, self._queue(tx, item.workspace, item.queue), Veils(tx, self._policies).of(item))
        if why is not None:
            raise WantsItsOwnLookError(item.id, why)

    def _alike(self, tx: Reading, person: Person, kind: Kind) -> Alike:
        where = ItemFilter(
            statuses=(Status.WAITING,), purpose=Purpose.GATE, agent=kind.agent, tool=kind.tool, queue=kind.queue
        )
        listed = tx.items(person.workspace, where, order=Order.URGENT, limit=LOOKED_THROUGH).rows
        queue = self._queue(tx, person.workspace, kind.queue)
        veils = Veils(tx, self._policies)
        sets: dict[Template, list[ReviewItem]] = {}
        apart: list[Apart] = []
        for line in listed:
            item = tx.item(person.workspace, line.id)
            if item is None:
                continue
            why = why_alone(item, queue, veils.of(item)) or self._why_not(tx, item, person)
            if why is None:
                sets.setdefault(template_of(item), []).append(item)
            else:
                apart.append(Apart(item, why))
        template, items = max(sets.items(), key=lambda each: len(each[1]), default=(None, []))
        if template is None or len(items) < 2:
            raise NothingAlikeError(kind.tool, kind.agent)
        others = (item for of, each in sets.items() if of != template for item in each)
        apart += [Apart(item, "its arguments or its reasons are of another kind") for item in others]
        return Alike(template, queue, tuple(items[:MOST_TOGETHER]), tuple(apart))

    def _queue(self, tx: Reading, workspace: str, name: str) -> Queue:
        return self._policies.in_force(workspace, within=tx).compiled.queue(name)

    def _why_not(self, tx: Reading, item: ReviewItem, person: Person) -> str | None:
        try:
            self._desk.require_takeable(tx, item, person)
        except ReviewError:
            return f"{person.name} may not decide it"
        return None
