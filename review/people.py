"""Who sits at the desk: people, their roles, and what each role may do."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from review.errors import NotAllowedError

DEFAULT_WORKSPACE = "default"


class Role(StrEnum):
    """What a person is here for; one person may have several."""

    REVIEWER = "reviewer"
    LEAD = "lead"
    AUDITOR = "auditor"
    ADMIN = "admin"


class Permission(StrEnum):
    """One thing that a role allows, worded as the end of "may …"."""

    SEE_ITEMS = "see items"
    DECIDE = "decide items"
    RECONCILE = "reconcile unknown outcomes"
    EDIT_POLICY = "edit the policy"
    SEE_POLICY = "see the policy"
    EXPORT_LABELS = "export labels"
    SEE_AUDIT = "see the audit log"
    EXPORT_AUDIT = "export the audit log"
    SEE_AGENTS = "see agents"
    MANAGE_KEYS = "manage agent keys"
    ERASE = "erase content"


ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.REVIEWER: frozenset({Permission.SEE_ITEMS, Permission.DECIDE, Permission.RECONCILE, Permission.SEE_POLICY}),
    Role.LEAD: frozenset(
        {
            Permission.SEE_ITEMS,
            Permission.RECONCILE,
            Permission.SEE_POLICY,
            Permission.EDIT_POLICY,
            Permission.EXPORT_LABELS,
            Permission.SEE_AUDIT,
            Permission.SEE_AGENTS,
        }
    ),
    Role.AUDITOR: frozenset(
        {
            Permission.SEE_ITEMS,
            Permission.SEE_POLICY,
            Permission.EXPORT_LABELS,
            Permission.SEE_AUDIT,
            Permission.EXPORT_AUDIT,
            Permission.SEE_AGENTS,
        }
    ),
    Role.ADMIN: frozenset(
        {
            Permission.SEE_POLICY,
            Permission.SEE_AGENTS,
            Permission.MANAGE_KEYS,
            Permission.SEE_AUDIT,
            Permission.ERASE,
        }
    ),
}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who signed in: (iss, sub) is who they are, the name is only shown."""

    iss: str
    sub: str
    name: str
    roles: frozenset[Role]
    workspace: str = DEFAULT_WORKSPACE

    @property
    def id(self) -> str:
        """Return who this is as receipts and audit events say it: ``iss#sub``."""
        return f"{self.iss}#{self.sub}"

    def may(self, permission: Permission) -> bool:
        """Tell whether any of the person's roles includes the permission."""
        return any(permission in ROLE_PERMISSIONS[role] for role in self.roles)

    def require(self, permission: Permission) -> None:
        """Return only when the person has the permission. Raises NotAllowedError."""
        if not self.may(permission):
            raise NotAllowedError(self.name, permission)


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser; ``id`` is the SHA-256 of the cookie's secret."""

    id: str
    person: Person
    created_at: datetime
    seen_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SignInLink:
    """A single-use link; ``id`` is the SHA-256 of its secret."""

    id: str
    person: Person
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AgentKey:
    """An agent's bearer key as stored: never the secret, only its SHA-256."""

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


@dataclass(frozen=True, slots=True)
class Agent:
    """A program that submits actions."""

    workspace: str
    name: str
    created_at: datetime
