"""Breaking the glass: one person may approve alone for a while; every admin sees it at once, and looks at it later."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

from review import metrics
from review.audit import AuditEvent, EventKind, person_actor
from review.errors import (
    EmergencyFault,
    EmergencyNotFoundError,
    EmergencyNotReviewableError,
    EmergencySignInError,
    EmergencyUnfoundedError,
)
from review.people import Emergency, Permission, Person
from review.store import Reading, Store, Writing

LONGEST = timedelta(minutes=60)
SHOWN = 100
_log = logging.getLogger("signoff.emergencies")


class Emergencies:
    """The emergencies of a workspace; what one allows is asked where a decision counts (`review.settling`)."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def standing(self, person: Person) -> Sequence[Emergency]:
        """Return those in force, for whoever may see them; for anybody else there are none."""
        if not person.may(Permission.SEE_EMERGENCIES):
            return ()
        return self._store.read(lambda tx: _standing(tx, person.workspace))

    def uses(self, person: Person) -> Sequence[Emergency]:
        """Return the latest ones, newest first."""
        person.require(Permission.SEE_EMERGENCIES)
        return self._store.read(lambda tx: tx.emergencies(person.workspace, limit=SHOWN))

    def break_glass(self, person: Person, *, reason: str, ticket: str, minutes: int) -> Emergency:
        """Let the person approve alone from now on, for so many minutes; one that is in force stands.

        Raises EmergencyUnfoundedError, EmergencySignInError.
        """
        person.require(Permission.BREAK_GLASS)
        reason, ticket, lasts = reason.strip(), ticket.strip(), timedelta(minutes=minutes)
        if not reason or not ticket or not timedelta(0) < lasts <= LONGEST:
            raise EmergencyUnfoundedError

        def work(tx: Writing) -> tuple[Emergency, bool]:
            if not person.has_just_signed_in(tx.now):
                raise EmergencySignInError
            tx.member(person.workspace, person.iss, person.sub)  # Locked, so that of two presses one finds the other's.
            standing = of_person(tx, person.workspace, person.iss, person.sub)
            if standing is not None:
                return standing, False
            begun = Emergency(
                id=uuid7(),
                workspace=person.workspace,
                iss=person.iss,
                sub=person.sub,
                name=person.name,
                reason=reason,
                ticket=ticket,
                opened_at=tx.now,
                until=tx.now + lasts,
            )
            tx.keep_emergency(begun)
            tx.record(_event(tx.now, EventKind.GLASS_BROKEN, person, begun, until=begun.until.isoformat()))
            return begun, True

        begun, is_new = self._store.write(work)
        if is_new:
            metrics.EMERGENCIES.inc()
            _log.warning("%s broke the glass until %s", begun.holder, begun.until.isoformat())
        return begun

    def end(self, person: Person, emergency_id: UUID) -> Emergency:
        """End it before its time: its holder may, and every admin; ending one that is over changes nothing.

        Raises EmergencyNotFoundError.
        """
        person.require(Permission.SEE_EMERGENCIES)

        def work(tx: Writing) -> Emergency:
            found = _found(tx, person, emergency_id)
            if found.holder != person.id:
                person.require(Permission.MANAGE_PEOPLE)
            if not found.holds(tx.now):
                return found
            ended = replace(found, ended_at=tx.now)
            tx.keep_emergency(ended)
            tx.record(_event(tx.now, EventKind.EMERGENCY_ENDED, person, ended, whom=ended.holder))
            return ended

        return self._store.write(work)

    def review(self, person: Person, emergency_id: UUID, finding: str) -> Emergency:
        """Say, as another admin, what one found in looking at an emergency that is over.

        Raises EmergencyNotFoundError, EmergencyNotReviewableError.
        """
        person.require(Permission.MANAGE_PEOPLE)
        said = finding.strip()

        def work(tx: Writing) -> Emergency:
            found = _found(tx, person, emergency_id)
            _require_reviewable(found, person, said, tx.now)
            done = replace(found, reviewed_by=person.name, reviewed_at=tx.now, finding=said)
            tx.keep_emergency(done)
            tx.record(_event(tx.now, EventKind.EMERGENCY_REVIEWED, person, done, whom=done.holder))
            return done

        return self._store.write(work)


def of_person(tx: Reading, workspace: str, iss: str, sub: str) -> Emergency | None:
    """Return the person's emergency that is in force."""
    mine = (one for one in _standing(tx, workspace) if (one.iss, one.sub) == (iss, sub))
    return next(mine, None)


def _standing(tx: Reading, workspace: str) -> Sequence[Emergency]:
    return [one for one in tx.emergencies(workspace, limit=SHOWN, until_after=tx.now) if one.holds(tx.now)]


def _found(tx: Writing, person: Person, emergency_id: UUID) -> Emergency:
    found = tx.emergency(person.workspace, emergency_id)
    if found is None:
        raise EmergencyNotFoundError(emergency_id)
    return found


def _require_reviewable(found: Emergency, person: Person, said: str, now: datetime) -> None:
    faults = {
        EmergencyFault.STANDING: found.holds(now),
        EmergencyFault.OWN: found.holder == person.id,
        EmergencyFault.DONE: found.reviewed_at is not None,
        EmergencyFault.WORDLESS: not said,
    }
    for fault, is_so in faults.items():
        if is_so:
            raise EmergencyNotReviewableError(fault)


def _event(now: datetime, kind: EventKind, person: Person, what: Emergency, **data: object) -> AuditEvent:
    told = {"emergency": str(what.id), **data}
    return AuditEvent.at_large(now, kind, person_actor(person), workspace=person.workspace, **told)
