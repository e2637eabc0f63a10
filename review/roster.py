"""Who has signed in, in which roles, trained for what: the use cases of the People screen."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from review.audit import Actor, AuditEvent, EventKind, person_actor
from review.errors import LastAdminError, MemberNotFoundError, OwnRolesError
from review.people import LOCAL_ISSUER, Member, Permission, Person, Role, Session
from review.sessions import IDLE_LIMIT, end, is_live
from review.store import Reading, Store, Writing


@dataclass(frozen=True, slots=True)
class Attendance:
    """A person of the workspace, and the sessions in which they are signed in now."""

    member: Member
    sessions: tuple[Session, ...]


class Roster:
    """The people of a workspace. Nobody changes their own roles, and the last admin stays one."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def people(self, person: Person) -> Sequence[Attendance]:
        """Return everybody who has signed in, by name."""
        person.require(Permission.SEE_PEOPLE)

        def work(tx: Reading) -> Sequence[Attendance]:
            live = [
                session
                for session in tx.live_sessions(person.workspace, seen_after=tx.now - IDLE_LIMIT)
                if is_live(session, tx.now)
            ]
            return [
                Attendance(member, tuple(session for session in live if session.person.id == member.id))
                for member in tx.members(person.workspace)
            ]

        return self._store.read(work)

    def change_roles(self, person: Person, iss: str, sub: str, *, roles: Collection[Role]) -> Member:
        """Let these roles hold for the member from now on; the same again changes nothing.

        Raises OwnRolesError, LastAdminError, MemberNotFoundError.
        """
        person.require(Permission.MANAGE_PEOPLE)
        if (person.iss, person.sub) == (iss, sub):
            raise OwnRolesError

        def work(tx: Writing) -> Member:
            everybody = tx.members(person.workspace)
            return _in_roles(tx, everybody, _among(everybody, iss, sub), frozenset(roles), person_actor(person))

        return self._store.write(work)

    def give_and_take(
        self, workspace: str, iss: str, sub: str, *, given: frozenset[Role], taken: frozenset[Role], actor: Actor
    ) -> Member:
        """Change the member's roles by these, as whoever sits at the server's command line.

        Raises LastAdminError, MemberNotFoundError.
        """

        def work(tx: Writing) -> Member:
            everybody = tx.members(workspace)
            member = _among(everybody, iss, sub)
            return _in_roles(tx, everybody, member, (member.roles | given) - taken, actor)

        return self._store.write(work)

    def record_training(self, person: Person, iss: str, sub: str, *, trained_until: Mapping[str, datetime]) -> Member:
        """Keep until when the member counts as trained for each queue, in place of what was kept before.

        Raises OwnRolesError, MemberNotFoundError.
        """
        person.require(Permission.MANAGE_PEOPLE)
        if (person.iss, person.sub) == (iss, sub):
            raise OwnRolesError

        def work(tx: Writing) -> Member:
            member = _found(tx, person.workspace, iss, sub)
            changed = replace(member, trained_until=dict(trained_until))
            if changed == member:
                return member
            tx.keep_member(changed)
            until = {queue: moment.isoformat() for queue, moment in sorted(changed.trained_until.items())}
            tx.record(_event(tx.now, EventKind.TRAINING_CHANGED, person, whom=member.id, trained_until=until))
            return changed

        return self._store.write(work)

    def end_sessions(self, person: Person, iss: str, sub: str) -> int:
        """Sign the member out of this workspace in every browser, and return of how many."""
        person.require(Permission.MANAGE_PEOPLE)

        def work(tx: Writing) -> int:
            member = _found(tx, person.workspace, iss, sub)
            found = tx.sessions_of(iss, sub=sub, sid=None)
            here = (session for session in found if session.person.workspace == person.workspace)
            ending = [session for session in here if is_live(session, tx.now)]
            for session in ending:
                end(tx, session)
            if ending:
                tx.record(_event(tx.now, EventKind.SESSIONS_ENDED, person, whom=member.id, sessions=len(ending)))
            return len(ending)

        return self._store.write(work)


def _in_roles(tx: Writing, everybody: Sequence[Member], member: Member, roles: frozenset[Role], actor: Actor) -> Member:
    changed = member.in_roles(roles)
    if changed.roles == member.roles:
        return member
    if Role.ADMIN in member.roles - roles and not _other_admins(everybody, member):
        raise LastAdminError(member.name)
    tx.keep_member(changed)
    data = {"whom": member.id, "given": sorted(roles - member.roles), "taken": sorted(member.roles - roles)}
    tx.record(AuditEvent.at_large(tx.now, EventKind.ROLES_CHANGED, actor, workspace=member.workspace, **data))
    return changed


def _found(tx: Reading, workspace: str, iss: str, sub: str) -> Member:
    member = tx.member(workspace, iss, sub)
    if member is None:
        raise MemberNotFoundError(iss, sub)
    return member


def _among(everybody: Sequence[Member], iss: str, sub: str) -> Member:
    for member in everybody:
        if (member.iss, member.sub) == (iss, sub):
            return member
    raise MemberNotFoundError(iss, sub)


def _other_admins(everybody: Sequence[Member], member: Member) -> list[Member]:
    # Whoever sits at the machine itself can always make an admin, but need not be anybody.
    return [
        other
        for other in everybody
        if other.id != member.id and other.iss != LOCAL_ISSUER and Role.ADMIN in other.roles
    ]


def _event(now: datetime, kind: EventKind, person: Person, **data: object) -> AuditEvent:
    return AuditEvent.at_large(now, kind, person_actor(person), workspace=person.workspace, **data)
