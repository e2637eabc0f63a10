"""Signed-in browsers: by a provider's word or a single-use link, in sessions behind an opaque cookie."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from review.audit import AuditEvent, EventKind, person_actor
from review.errors import LinkRefusedError, SessionsSignInError
from review.people import LOCAL_ISSUER, Member, Person, Role, Session, SignInLink, SignInProof, hash_of
from review.store import Reading, Store, Writing

LINK_LIFE = timedelta(minutes=15)
IDLE_LIMIT = timedelta(minutes=30)
ABSOLUTE_LIMIT = timedelta(hours=12)
_SEEN_EVERY = timedelta(minutes=1)

LOCAL_OPERATOR = Person(LOCAL_ISSUER, "operator", "Local operator", frozenset(Role))


class Sessions:
    """Makes links and sessions, and tells at every look who is behind a cookie."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create_link(self, person: Person = LOCAL_OPERATOR, *, by: Person | None = None) -> str:
        """Return the secret of a fresh link, good once and for 15 minutes; ``by`` makes it, else the person."""
        secret = secrets.token_urlsafe(32)

        def work(tx: Writing) -> None:
            tx.add_link(SignInLink(hash_of(secret), person, tx.now, tx.now + LINK_LIFE))
            maker = replace(by or person, workspace=person.workspace)
            tx.record(_event(tx.now, EventKind.LINK_CREATED, maker))

        self._store.write(work)
        return secret

    def sign_in(self, link_secret: str) -> str:
        """Use up a link and return the secret of the new session. Raises LinkRefusedError."""
        secret = secrets.token_urlsafe(32)

        def work(tx: Writing) -> None:
            link = tx.use_link(hash_of(link_secret))
            if link is None:
                raise LinkRefusedError
            _admit(tx, secret, link.person, SignInProof(tx.now))

        self._store.write(work)
        return secret

    def admit(self, person: Person, proof: SignInProof) -> str:
        """Open a session for somebody whom a provider vouches for, in the roles that it gave, and return its secret."""
        secret = secrets.token_urlsafe(32)
        self._store.write(lambda tx: _admit(tx, secret, person, proof))
        return secret

    def person(self, secret: str | None) -> Person | None:
        """Return who is signed in behind the cookie's secret, in the roles that hold now; None where nobody is."""
        session, person, now = self._looked_up(secret)
        if session is not None and now - session.seen_at > _SEEN_EVERY:
            self._touch(session.id)
        return person

    def glance(self, secret: str | None) -> Person | None:
        """Return who is signed in, without counting as their activity: for pages that look again by themselves."""
        return self._looked_up(secret)[1]

    def _looked_up(self, secret: str | None) -> tuple[Session | None, Person | None, datetime]:
        session_id = hash_of(secret or "")

        def work(tx: Reading) -> tuple[Session | None, Person | None, datetime]:
            session = tx.session(session_id)
            if session is None or not is_live(session, tx.now):
                return None, None, tx.now
            person = session.person
            member = tx.member(person.workspace, person.iss, person.sub)
            if member is not None:
                person = replace(member.as_of(tx.now), authenticated_at=person.authenticated_at)
            return session, person, tx.now

        return self._store.read(work)

    def _touch(self, session_id: str) -> None:
        def work(tx: Writing) -> None:
            session = tx.session(session_id)
            if session and not session.ended_at:
                tx.save_session(replace(session, seen_at=tx.now))

        self._store.write(work)

    def confirm(self, secret: str | None) -> bool:
        """Let a person at this very machine, for whom no provider vouches, say again that it is them.

        Tell whether that counted: of whoever signed in with a provider it does not, nor of a session that is over.
        """
        session_id = hash_of(secret or "")

        def work(tx: Writing) -> bool:
            session = tx.session(session_id)
            if session is None or not is_live(session, tx.now) or session.person.iss != LOCAL_ISSUER:
                return False
            person = replace(session.person, authenticated_at=tx.now)
            tx.save_session(replace(session, person=person, seen_at=tx.now))
            tx.record(_event(tx.now, EventKind.SIGNED_IN, person, again=True))
            return True

        return self._store.write(work)

    def sign_out(self, secret: str) -> Session | None:
        """End the session and return it as it was; ending an ended one changes nothing and returns None."""
        session_id = hash_of(secret)

        def work(tx: Writing) -> Session | None:
            session = tx.session(session_id)
            if session is None or session.ended_at:
                return None
            end(tx, session)
            tx.record(_event(tx.now, EventKind.SIGNED_OUT, session.person))
            return session

        return self._store.write(work)

    def own(self, person: Person) -> Sequence[Session]:
        """Return the sessions in which the person is signed in to this workspace now, the latest first."""
        return self._store.read(lambda tx: _own(tx, person))

    def end_own(self, person: Person, session_id: str) -> int:
        """End this session of the person's own, and return how many ended: one, or none that is theirs and lasts.

        Raises SessionsSignInError.
        """
        return self._end(person, lambda session: session.id == session_id)

    def end_others(self, person: Person, *, kept: str) -> int:
        """End the person's own sessions in this workspace but one, and return how many ended.

        Raises SessionsSignInError.
        """
        return self._end(person, lambda session: session.id != kept)

    def _end(self, person: Person, is_meant: Callable[[Session], bool]) -> int:
        def work(tx: Writing) -> int:
            if not person.has_just_signed_in(tx.now):
                raise SessionsSignInError
            ending = [session for session in _own(tx, person) if is_meant(session)]
            for session in ending:
                end(tx, session)
            if ending:
                told = {"whom": person.id, "sessions": len(ending)}
                tx.record(_event(tx.now, EventKind.SESSIONS_ENDED, person, **told))
            return len(ending)

        return self._store.write(work)

    def sign_out_everywhere(self, iss: str, *, sub: str | None = None, sid: str | None = None) -> int:
        """End what a provider says is over: a person's sessions, or those of one stay at it. Return how many ended.

        With both, those of the stay, and the person's of which no stay is known: they may be of this one. Each is its
        own event: they may be of several people, and of several workspaces.
        """
        if sub is None and sid is None:
            return 0

        def work(tx: Writing) -> int:
            ending = list(tx.sessions_of(iss, sub=None if sid else sub, sid=sid))
            if sub and sid:
                ending += [session for session in tx.sessions_of(iss, sub=sub, sid=None) if session.sid is None]
            for session in ending:
                end(tx, session)
                tx.record(_event(tx.now, EventKind.SIGNED_OUT, session.person, by="provider"))
            return len(ending)

        return self._store.write(work)


def _own(tx: Reading, person: Person) -> Sequence[Session]:
    found = tx.sessions_of(person.iss, sub=person.sub, sid=None)
    live = [each for each in found if each.person.workspace == person.workspace and is_live(each, tx.now)]
    return sorted(live, key=lambda session: session.created_at, reverse=True)


def end(tx: Writing, session: Session) -> None:
    """End the session; of its provider's nothing is kept."""
    tx.save_session(replace(session, ended_at=tx.now, id_token=None))


def is_live(session: Session, now: datetime) -> bool:
    """Tell whether the session still lets its person in."""
    if session.ended_at:
        return False
    return now - session.seen_at < IDLE_LIMIT and now - session.created_at < ABSOLUTE_LIMIT


def _admit(tx: Writing, secret: str, person: Person, proof: SignInProof) -> None:
    known = tx.member(person.workspace, person.iss, person.sub)
    if known is None:
        known = Member(person.workspace, person.iss, person.sub, person.name, person.roles, tx.now, tx.now)
    member = replace(known, name=person.name, claimed=person.roles, last_seen_at=tx.now)
    tx.keep_member(member)
    # A provider's clock may be ahead of ours; nobody signed in later than now.
    signed_in_at = min(proof.authenticated_at, tx.now) if proof.authenticated_at else None
    person = replace(member.person, authenticated_at=signed_in_at)
    session = Session(hash_of(secret), person, tx.now, tx.now, sid=proof.sid, id_token=proof.id_token)
    tx.add_session(session)
    tx.record(_event(tx.now, EventKind.SIGNED_IN, person, roles=sorted(role.value for role in member.roles)))


def _event(now: datetime, kind: EventKind, person: Person, **data: object) -> AuditEvent:
    return AuditEvent.at_large(now, kind, person_actor(person), workspace=person.workspace, **data)
