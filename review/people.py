"""Who sits at the desk: people, their roles, and what each role may do."""

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from review.errors import NotAllowedError

DEFAULT_WORKSPACE = "default"
LOCAL_ISSUER = "signoff:local"
RECENT_SIGN_IN = timedelta(minutes=15)

_log = logging.getLogger("signoff.people")


def hash_of(secret: str) -> str:
    """Return what is kept of a random secret in its place: its SHA-256, in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Role(StrEnum):
    """What a person is here for; one person may have several."""

    REVIEWER = "reviewer"
    LEAD = "lead"
    AUDITOR = "auditor"
    ADMIN = "admin"
    BREAK_GLASS = "break-glass"


class Permission(StrEnum):
    """One thing that a role allows, worded as the end of "may …"."""

    SEE_ITEMS = "see items"
    DECIDE = "decide items"
    ASSIGN = "give items to people"
    RECONCILE = "reconcile unknown outcomes"
    REVEAL = "reveal masked values"
    EDIT_POLICY = "edit the policy"
    SEE_POLICY = "see the policy"
    EXPORT_LABELS = "export labels"
    EXPORT_OWN = "export their own decisions"
    SEE_FIGURES = "see the overview"
    SEE_AUDIT = "see the audit log"
    EXPORT_AUDIT = "export the audit log"
    SEE_AGENTS = "see agents"
    MANAGE_KEYS = "manage agent keys"
    ERASE = "erase content"
    SEE_PEOPLE = "see people and their roles"
    MANAGE_PEOPLE = "manage people and their roles"
    PAUSE = "pause agents and tools"
    RESUME = "resume what is paused"
    BREAK_GLASS = "break the glass"
    SEE_EMERGENCIES = "see emergencies"


ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.REVIEWER: frozenset(
        {
            Permission.SEE_ITEMS,
            Permission.DECIDE,
            Permission.RECONCILE,
            Permission.REVEAL,
            Permission.SEE_POLICY,
            Permission.EXPORT_OWN,
            Permission.PAUSE,
        }
    ),
    Role.LEAD: frozenset(
        {
            Permission.SEE_ITEMS,
            Permission.ASSIGN,
            Permission.RECONCILE,
            Permission.REVEAL,
            Permission.SEE_POLICY,
            Permission.EDIT_POLICY,
            Permission.EXPORT_LABELS,
            Permission.SEE_FIGURES,
            Permission.SEE_AUDIT,
            Permission.SEE_AGENTS,
            Permission.SEE_PEOPLE,
            Permission.SEE_EMERGENCIES,
            Permission.PAUSE,
            Permission.RESUME,
        }
    ),
    Role.AUDITOR: frozenset(
        {
            Permission.SEE_ITEMS,
            Permission.REVEAL,
            Permission.SEE_POLICY,
            Permission.EXPORT_LABELS,
            Permission.SEE_FIGURES,
            Permission.SEE_AUDIT,
            Permission.EXPORT_AUDIT,
            Permission.SEE_AGENTS,
            Permission.SEE_PEOPLE,
            Permission.SEE_EMERGENCIES,
        }
    ),
    Role.ADMIN: frozenset(
        {
            Permission.SEE_POLICY,
            Permission.SEE_AGENTS,
            Permission.MANAGE_KEYS,
            Permission.SEE_AUDIT,
            Permission.ERASE,
            Permission.SEE_PEOPLE,
            Permission.MANAGE_PEOPLE,
            Permission.PAUSE,
            Permission.RESUME,
            Permission.SEE_EMERGENCIES,
        }
    ),
    # Decides nothing by itself: whoever breaks the glass is a reviewer as well.
    Role.BREAK_GLASS: frozenset({Permission.BREAK_GLASS, Permission.SEE_EMERGENCIES, Permission.SEE_POLICY}),
}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who signed in: (iss, sub) is who they are, the name is only shown.

    ``authenticated_at`` is when they last proved who they are, as far as is known. ``skills`` are what they are trained
    for as of now; None where nobody keeps count, and every queue is theirs.
    """

    iss: str
    sub: str
    name: str
    roles: frozenset[Role]
    workspace: str = DEFAULT_WORKSPACE
    authenticated_at: datetime | None = field(default=None, compare=False)
    skills: frozenset[str] | None = None

    @property
    def id(self) -> str:
        """Return who this is as receipts and audit events say it: ``iss#sub``."""
        return f"{self.iss}#{self.sub}"

    def has_just_signed_in(self, now: datetime) -> bool:
        """Tell whether the person proved who they are within the last 15 minutes; what is not known does not count."""
        return self.authenticated_at is not None and now - self.authenticated_at < RECENT_SIGN_IN

    def may(self, permission: Permission) -> bool:
        """Tell whether any of the person's roles includes the permission."""
        return any(permission in ROLE_PERMISSIONS[role] for role in self.roles)

    def require(self, permission: Permission) -> None:
        """Return only when the person has the permission. Raises NotAllowedError."""
        if not self.may(permission):
            _log.warning("%r was refused: they may not %s", self.id, permission)
            raise NotAllowedError(self.name, permission)


# Whoever gives a command on the server's own machine may do everything, and is nobody who signed in.
AT_COMMAND_LINE = Person(LOCAL_ISSUER, "command-line", "Command line", frozenset(Role))


@dataclass(frozen=True, slots=True)
class Member:
    """A person as their workspace knows them.

    ``claimed`` are the roles that came with the last sign-in; ``given`` and ``taken`` is what admins changed of them.
    ``trained_until`` says until when the person counts as trained, for each queue that they were trained for.
    """

    workspace: str
    iss: str
    sub: str
    name: str
    claimed: frozenset[Role]
    first_seen_at: datetime
    last_seen_at: datetime
    given: frozenset[Role] = frozenset()
    taken: frozenset[Role] = frozenset()
    trained_until: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Return who this is as receipts and audit events say it: ``iss#sub``."""
        return f"{self.iss}#{self.sub}"

    @property
    def roles(self) -> frozenset[Role]:
        """Return the roles that hold."""
        return (self.claimed | self.given) - self.taken

    @property
    def person(self) -> Person:
        """Return the person in the roles that hold."""
        return Person(self.iss, self.sub, self.name, self.roles, self.workspace)

    def as_of(self, now: datetime) -> Person:
        """Return the person in the roles that hold, with the skills for which their training still counts.

        Whoever sits at the machine itself has nobody who could train them, so nobody keeps count there.
        """
        if self.iss == LOCAL_ISSUER:
            return self.person
        skills = frozenset(queue for queue, until in self.trained_until.items() if now < until)
        return replace(self.person, skills=skills)

    def in_roles(self, roles: Iterable[Role]) -> "Member":
        """Return the member so changed that these roles hold, whatever the last sign-in brought."""
        wanted = frozenset(roles)
        return replace(self, given=wanted - self.claimed, taken=self.claimed - wanted)

    def is_trained_for(self, queue: str, now: datetime) -> bool:
        """Tell whether the person's training for the queue still counts."""
        until = self.trained_until.get(queue)
        return until is not None and now < until


@dataclass(frozen=True, slots=True)
class SignInProof:
    """What an identity provider said of a sign-in: when it was, and what its logout is asked for with."""

    authenticated_at: datetime | None
    sid: str | None = None
    id_token: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser; ``id`` is the SHA-256 of the cookie's secret."""

    id: str
    person: Person
    created_at: datetime
    seen_at: datetime
    ended_at: datetime | None = None
    sid: str | None = None
    id_token: str | None = None


@dataclass(frozen=True, slots=True)
class SignInLink:
    """A single-use link; ``id`` is the SHA-256 of its secret."""

    id: str
    person: Person
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How many submissions a key may make in a minute, and how many of its agent's items may wait for people at once.

    None is as the installation says.
    """

    per_minute: int | None = None
    most_waiting: int | None = None


@dataclass(frozen=True, slots=True)
class AgentKey:
    """What an agent is let in by, as stored: of a bearer key the SHA-256 of its secret, never the secret.

    With ``public_keys`` (JWKs, RFC 7517) it has no secret: the agent proves that it holds a private half of one of
    them, under ``prefix`` as its OAuth client id, and is let in by the access token that it gets for that.
    """

    id: UUID
    workspace: str
    agent: str
    prefix: str
    secret_hash: str
    created_at: datetime
    expires_at: datetime
    created_by: str
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    limits: Limits = Limits()
    public_keys: tuple[Mapping[str, str], ...] = ()

    @property
    def is_public(self) -> bool:
        """Tell whether the agent proves itself with a private key of its own, and shows no secret."""
        return bool(self.public_keys)


@dataclass(frozen=True, slots=True)
class Agent:
    """A program that submits actions."""

    workspace: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Emergency:
    """A time in which somebody who broke the glass may approve alone what otherwise needs several people.

    It ends by itself at ``until``, or before. Afterwards another admin looks at it and says what they found.
    """

    id: UUID
    workspace: str
    iss: str
    sub: str
    name: str
    reason: str
    ticket: str
    opened_at: datetime
    until: datetime
    ended_at: datetime | None = None
    reviewed_by: str | None = None
    reviewed_at: datetime | None = None
    finding: str | None = None

    @property
    def holder(self) -> str:
        """Return whose it is: ``iss#sub``."""
        return f"{self.iss}#{self.sub}"

    def holds(self, now: datetime) -> bool:
        """Tell whether it is in force."""
        return self.ended_at is None and self.opened_at <= now < self.until


@dataclass(frozen=True, slots=True)
class Pause:
    """A hold on new permissions: of one agent, of one tool, of one agent's tool, or, with neither, of everything."""

    workspace: str
    agent: str | None
    tool: str | None
    reason: str
    paused_at: datetime
    paused_by: str

    def holds(self, agent: str, tool: str) -> bool:
        """Tell whether the agent's calls of the tool are held."""
        return self.agent in (None, agent) and self.tool in (None, tool)

    @property
    def why(self) -> str:
        """Return the reason as a sentence, which others can follow."""
        return self.reason if self.reason.endswith((".", "!", "?", "…")) else f"{self.reason}."

    @property
    def what(self) -> str:
        """Return what is paused, in words."""
        if self.agent is None:
            return "Everything" if self.tool is None else f"The tool {self.tool}"
        return f"The agent {self.agent}" if self.tool is None else f"The tool {self.tool} of {self.agent}"
