"""Signed-in browsers: single-use links for loopback, and sessions behind an opaque cookie."""

import hashlib
import secrets
from dataclasses import replace
from datetime import datetime, timedelta

from review.audit import AuditEvent, EventKind, person_actor
from review.errors import LinkRefusedError
from review.people import Person, Role, Session, SignInLink
from review.store import Store, Writing

LINK_LIFE = timedelta(minutes=15)
IDLE_LIMIT = timedelta(minutes=30)
ABSOLUTE_LIMIT = timedelta(hours=12)
_SEEN_EVERY = timedelta(minutes=1)

LOCAL_OPERATOR = Person("signoff:local", "operator", "Local operator", frozenset(Role))


class Sessions:
    """Makes links and sessions, and tells at every look who is behind a cookie."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create_link(self, person: Person = LOCAL_OPERATOR) -> str:
        """Return the secret of a fresh link, good once and for 15 minutes."""
        secret = secrets.token_urlsafe(32)

        def work(tx: Writing) -> None:
            tx.add_link(SignInLink(_hash(secret), person, tx.now, tx.now + LINK_LIFE))
            tx.record(_event(tx.now, EventKind.LINK_CREATED, person))

        self._store.write(work)
        return secret

    def sign_in(self, link_secret: str) -> str:
        """Use up a link and return the secret of the new session. Raises LinkRefusedError."""
        secret = secrets.token_urlsafe(32)

        def work(tx: Writing) -> None:
            link = tx.use_link(_hash(link_secret))
            if link is None:
                raise LinkRefusedError
            tx.add_session(Session(_hash(secret), link.person, tx.now, tx.now))
            tx.record(_event(tx.now, EventKind.SIGNED_IN, link.person))

        self._store.write(work)
        return secret

    def person(self, secret: str | None) -> Person | None:
        """Return who is signed in behind the cookie's secret; None where nobody is any more."""
        session, now = self._looked_up(secret)
        if session is not None and now - session.seen_at > _SEEN_EVERY:
            self._touch(session.id)
        return session.person if session else None

    def glance(self, secret: str | None) -> Person | None:
        """Return who is signed in, without counting as their activity: for pages that look again by themselves."""
        session, _ = self._looked_up(secret)
        return session.person if session else None

    def _looked_up(self, secret: str | None) -> tuple[Session | None, datetime]:
        session_id = _hash(secret or "")
        session, now = self._store.read(lambda tx: (tx.session(session_id), tx.now))
        return (session if session and _is_live(session, now) else None), now

    def _touch(self, session_id: str) -> None:
        def work(tx: Writing) -> None:
            session = tx.session(session_id)
            if session and not session.ended_at:
                tx.save_session(replace(session, seen_at=tx.now))

        self._store.write(work)

    def sign_out(self, secret: str) -> None:
        """End the session; ending an ended one changes nothing."""
        session_id = _hash(secret)

        def work(tx: Writing) -> None:
            session = tx.session(session_id)
            if session is None or session.ended_at:
                return
            tx.save_session(replace(session, ended_at=tx.now))
            tx.record(_event(tx.now, EventKind.SIGNED_OUT, session.person))

        self._store.write(work)


def _is_live(session: Session, now: datetime) -> bool:
    if session.ended_at:
        return False
    return now - session.seen_at < IDLE_LIMIT and now - session.created_at < ABSOLUTE_LIMIT


def _event(now: datetime, kind: EventKind, person: Person) -> AuditEvent:
    return AuditEvent.at_large(now, kind, person_actor(person), workspace=person.workspace)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
