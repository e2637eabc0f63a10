"""The rules of queues: who may work in one, what a decision in it needs, and what becomes of what is overdue."""

from collections.abc import Collection, Sequence
from datetime import datetime

from agents.protocol import ActionRequest, DecisionType
from review import lifecycle
from review.items import ReasonCode, ReviewItem
from review.people import Person
from review.policy import PolicyDocument, Queue

# Where an agent says for whom it acts, as ``iss#sub``: an agent's word that can only keep a person from deciding.
PRINCIPAL = "principal"
_LONGEST_PRINCIPAL = 512


def principal_of(request: ActionRequest) -> str | None:
    """Return the person that the agent says it acts for; None where it names none in that form."""
    named = request.metadata.get(PRINCIPAL)
    is_person = isinstance(named, str) and "#" in named and len(named) <= _LONGEST_PRINCIPAL
    return named if is_person and isinstance(named, str) else None


def may_work_in(queue: Queue, person: Person) -> bool:
    """Tell whether the person has every skill that the queue asks for."""
    return person.skills is None or person.skills.issuperset(queue.skills)


def queue_names(document: PolicyDocument) -> tuple[str, ...]:
    """Return every queue that the policy names, declared or not, in its order, the default one first."""
    sent = [rule.queue for rule in document.rules] + [tool.queue for tool in document.tools]
    declared = [queue.name for queue in document.queues]
    return tuple(dict.fromkeys([document.default_queue, *declared, *(name for name in sent if name)]))


def workable(document: PolicyDocument, person: Person) -> tuple[str, ...] | None:
    """Return the queues that the person may take items from; None where nothing is kept from them.

    Whoever lacks a skill that any queue asks for has what is named here and no more: an item whose queue the policy
    does not name any longer may have asked for that skill, too.
    """
    declared = {queue.name: queue for queue in document.queues}
    if all(may_work_in(queue, person) for queue in document.queues):
        return None
    return tuple(name for name in queue_names(document) if name not in declared or may_work_in(declared[name], person))


def narrowed(asked: Sequence[str] | None, workable: Sequence[str] | None) -> Sequence[str] | None:
    """Return the queues that were asked for and may be worked in; None where that is all of them."""
    if asked is None or workable is None:
        return workable if asked is None else asked
    return tuple(name for name in asked if name in workable)


def choices(queue: Queue, allowed: Sequence[DecisionType]) -> tuple[DecisionType, ...]:
    """Return the decisions that can be made: those that the agent takes and the queue does not hide."""
    return tuple(decision for decision in allowed if decision not in queue.hides)


def reasons_asked(queue: Queue, decision: DecisionType) -> tuple[ReasonCode, ...]:
    """Return the codes of which the decision needs one; empty where it needs none."""
    if decision not in queue.reasons_for:
        return ()
    return queue.reasons or tuple(ReasonCode)


def reasons_offered(queue: Queue, decision: DecisionType) -> tuple[ReasonCode, ...]:
    """Return the codes to choose from: those asked for, the queue's own, and for a rejection at the least all."""
    asked = reasons_asked(queue, decision)
    return asked or (tuple(ReasonCode) if decision is DecisionType.REJECT else queue.reasons)


def is_reasoned(queue: Queue, decision: DecisionType, given: Collection[ReasonCode]) -> bool:
    """Tell whether the decision carries the reason that the queue asks for."""
    asked = reasons_asked(queue, decision)
    return not asked or not set(asked).isdisjoint(given)


def escalated(item: ReviewItem, queue: Queue, now: datetime) -> ReviewItem:
    """Return the overdue item as its queue wants it then: more urgent, elsewhere, and marked in any case.

    One that moves is there for everybody in its new queue; else whom it waits for, and until when it sleeps, stays.
    """
    priority = item.priority if queue.raise_to is None else min(item.priority, queue.raise_to)
    return lifecycle.breached(item, now, queue=queue.move_to or item.queue, priority=priority)
