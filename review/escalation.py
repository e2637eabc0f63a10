"""What becomes of items by time alone: sleepers wake, assignments end, and what is overdue is escalated, once."""

from review import lifecycle
from review.audit import POLICY, SYSTEM, AuditEvent, EventKind
from review.governance import PolicyBook
from review.items import ReviewItem
from review.queues import escalated
from review.store import Writing

SWEEP_LIMIT = 200


def wake_sleepers(tx: Writing) -> int:
    """Put the items whose time has come back into their queues; return how many."""
    rested = tx.rested_items(limit=SWEEP_LIMIT)
    for item in rested:
        tx.save_item(lifecycle.released(item), was=item)
        tx.record(AuditEvent.of(item, tx.now, EventKind.ITEM_WOKEN, SYSTEM))
    return len(rested)


def end_assignments(tx: Writing) -> int:
    """Put what its assignee did not take in time back into its queue; return how many items."""
    ended = tx.ended_assignments(limit=SWEEP_LIMIT)
    for item in ended:
        end_assignment(tx, item)
    return len(ended)


def end_assignment(tx: Writing, item: ReviewItem) -> ReviewItem:
    """Put an item whose assignment is over back into its queue, and return it."""
    free = lifecycle.released(item)
    tx.save_item(free, was=item)
    assignee = item.assignment.name if item.assignment else None
    tx.record(AuditEvent.of(item, tx.now, EventKind.ASSIGNMENT_ENDED, SYSTEM, assignee=assignee))
    return free


def escalate(tx: Writing, policies: PolicyBook) -> int:
    """Do with items that were not decided in time what their queues say, once each; return how many.

    An item that somebody holds is left to them; once it is given back, it is escalated as well.
    """
    overdue = tx.undecided_in_time(limit=SWEEP_LIMIT)
    for item in overdue:
        queue = policies.in_force(item.workspace, within=tx).compiled.queue(item.queue)
        done = escalated(item, queue, tx.now)
        tx.save_item(done, was=item)
        data = {"queue": done.queue, "priority": done.priority, "was_queue": item.queue, "was_priority": item.priority}
        tx.record(AuditEvent.of(item, tx.now, EventKind.DEADLINE_BREACHED, POLICY, **data))
    return len(overdue)
