"""Who may submit and under which policy: the use cases around agent keys and the policy's versions."""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Any

from uuid_utils.compat import uuid7

from agents.protocol import Status
from review.assertions import client_of, proven, public_keys, thumbprint
from review.audit import Actor, AuditEvent, EventKind, agent_actor, person_actor
from review.errors import (
    InvalidNameError,
    InvalidPolicyError,
    KeyFault,
    KeyNotFoundError,
    KeyNotRenewableError,
    KeyOverError,
    KeyRefusedError,
    PolicyChangedError,
    TokenFault,
    TokenRefusedError,
)
from review.items import Aside, ItemFilter, Purpose, ReviewItem, Tool
from review.people import Agent, AgentKey, Limits, Pause, Permission, Person, hash_of
from review.policy import CompiledPolicy, Policy, PolicyDocument, compiled, default_policy
from review.queues import queue_names
from review.store import Reading, Store, Writing
from review.tokens import AccessToken, Tokens

KEY_LIFE = timedelta(days=90)
KEY_OVERLAP = timedelta(hours=24)
CACHE_SECONDS = 1.0
_USED_EVERY = timedelta(minutes=5)
_UNDECIDED = (Status.WAITING, Status.CLAIMED, *Aside)
_KEY_FORM = re.compile(r"^sgn_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$")
_PREFIX_FORM = re.compile(r"[0-9a-f]{12}")
_NAME_FORM = re.compile(r"^[A-Za-z0-9_.:/-]{1,128}$")


@dataclass(frozen=True)
class PolicyInForce:
    """A policy that is ready to answer, under its version number; 0 is the built-in one that lets nothing run.

    ``pauses`` are what is paused meanwhile, whatever the policy says.
    """

    number: int
    document: PolicyDocument
    compiled: CompiledPolicy
    pauses: tuple[Pause, ...] = ()

    @cached_property
    def reads_provenance(self) -> bool:
        """Tell whether a rule may ask where values come from, which takes longer to find than all the rest."""
        return any(name in rule.when for rule in self.document.rules for name in ("grounding", "provenance"))


class PolicyBook:
    """The policies in force, compiled once and looked up again at most every second."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._in_force: dict[str, tuple[float, PolicyInForce]] = {}

    def in_force(self, workspace: str, *, within: Reading | None = None) -> PolicyInForce:
        """Return the workspace's policy, at most a second old.

        A piece of work gives its own transaction as ``within``, because it may not ask the store for another.
        """
        known = self._in_force.get(workspace)
        if known and self.is_fresh(workspace):
            return known[1]

        def look(tx: Reading) -> tuple[Policy | None, tuple[Pause, ...]]:
            return tx.policy(workspace), tuple(tx.pauses(workspace))

        policy, pauses = look(within) if within else self._store.read(look)
        current = self._ready(policy, pauses, known[1] if known else None)
        self._in_force[workspace] = (time.monotonic(), current)
        return current

    def is_fresh(self, workspace: str) -> bool:
        """Tell whether the policy in force is known without a look into the store."""
        known = self._in_force.get(workspace)
        return known is not None and time.monotonic() - known[0] < CACHE_SECONDS

    @staticmethod
    def _ready(policy: Policy | None, pauses: tuple[Pause, ...], known: PolicyInForce | None) -> PolicyInForce:
        number = policy.number if policy else 0
        if known and known.number == number:
            return known if known.pauses == pauses else replace(known, pauses=pauses)
        document = policy.document if policy else default_policy({})
        return PolicyInForce(number, document, compiled(document), pauses)

    def versions(self, person: Person, *, limit: int = 50) -> Sequence[Policy]:
        """Return the latest versions, newest first."""
        person.require(Permission.SEE_POLICY)
        return self._store.read(lambda tx: tx.policies(person.workspace, limit=limit))

    def recent_items(self, person: Person, *, limit: int = 200) -> Sequence[ReviewItem]:
        """Return the latest actions, newest first and unmasked, to preview a draft of the policy against."""
        person.require(Permission.SEE_POLICY)
        person.require(Permission.SEE_ITEMS)
        where = ItemFilter(purpose=Purpose.GATE)
        return self._store.read(lambda tx: tx.whole_items(person.workspace, where, limit=limit)).rows

    def save(self, document: PolicyDocument, person: Person, *, based_on: int, comment: str = "") -> Policy:
        """Put a new version in force. Raises InvalidPolicyError, PolicyChangedError where ``based_on`` is outdated."""
        person.require(Permission.EDIT_POLICY)
        return self._save(document, person.workspace, person_actor(person), based_on=based_on, comment=comment)

    def install(self, document: PolicyDocument, workspace: str, actor: Actor) -> Policy | None:
        """Put a first policy in force where there is none; None where there is one already."""
        if self._store.read(lambda tx: tx.policy(workspace)):
            return None
        return self._save(document, workspace, actor, based_on=0, comment="first policy")

    def _save(self, document: PolicyDocument, workspace: str, actor: Actor, *, based_on: int, comment: str) -> Policy:
        compiled(document)

        def work(tx: Writing) -> Policy:
            current = tx.policy(workspace)
            number = current.number if current else 0
            if number != based_on:
                raise PolicyChangedError(number)
            _require_no_orphans(tx, workspace, current.document if current else PolicyDocument(), document)
            policy = Policy(workspace, number + 1, document, tx.now, actor.name, comment)
            tx.add_policy(policy)
            digest = hashlib.sha256(document.model_dump_json().encode()).hexdigest()
            data = {"number": policy.number, "document_sha256": digest}
            tx.record(AuditEvent.at_large(tx.now, EventKind.POLICY_SAVED, actor, workspace=workspace, **data))
            return policy

        policy = self._store.write(work)
        self._in_force.pop(workspace, None)
        return policy


def _require_no_orphans(tx: Reading, workspace: str, was: PolicyDocument, document: PolicyDocument) -> None:
    """Return only where no queue goes in which something is undecided. Raises InvalidPolicyError."""
    kept = set(queue_names(document))
    gone = [queue.name for queue in was.queues if queue.name not in kept]
    left = {name: tx.count_items(workspace, ItemFilter(statuses=_UNDECIDED, queue=name)) for name in gone}
    problems = [
        f"The queue {name} still has {count:,} undecided {'item' if count == 1 else 'items'}; "
        "it can go once they are decided."
        for name, count in left.items()
        if count
    ]
    if problems:
        raise InvalidPolicyError(problems)


@dataclass(frozen=True, slots=True)
class _Shown:
    """What an agent shows at the door: the secret of a key, or an access token of ours, which ends."""

    prefix: str
    secret: str = ""
    ends_at: int | None = None

    def opens(self, key: AgentKey) -> bool:
        if self.ends_at is not None:
            return key.is_public
        return not key.is_public and hmac.compare_digest(key.secret_hash, hash_of(self.secret))

    def is_over(self, now: datetime) -> bool:
        return self.ends_at is not None and now.timestamp() >= self.ends_at


@dataclass(frozen=True, slots=True)
class _Known:
    """A key as it was found, and when: by this process's clock, and by the database's."""

    at: float
    key: AgentKey
    now: datetime


class KeyRing:
    """The agents' keys: made, registered, listed, revoked, and recognised at the door.

    Without ``tokens`` nobody is let in by an access token.
    """

    def __init__(self, store: Store, tokens: Tokens | None = None) -> None:
        self._store = store
        self._tokens = tokens
        self._known: dict[str, _Known] = {}

    def create(self, agent: str, workspace: str, actor: Actor, *, limits: Limits | None = None) -> tuple[AgentKey, str]:
        """Make a key for the agent and return it with its secret text, which is kept nowhere."""
        secret = secrets.token_urlsafe(32)
        key = self._add(agent, workspace, actor, {"limits": limits or Limits(), "secret_hash": hash_of(secret)})
        return key, f"sgn_{key.prefix}_{secret}"

    def register(
        self, agent: str, workspace: str, actor: Actor, *, public_key: str, limits: Limits | None = None
    ) -> AgentKey:
        """Let the agent in by access tokens that it gets for what a private half of the public key has signed.

        The text is a PEM, a JWK or a JWK set. Raises InvalidNameError, PublicKeyRefusedError.
        """
        return self._add(
            agent, workspace, actor, {"limits": limits or Limits(), "public_keys": public_keys(public_key)}
        )

    def _add(self, agent: str, workspace: str, actor: Actor, given: dict[str, Any]) -> AgentKey:
        if not _NAME_FORM.fullmatch(agent):
            raise InvalidNameError(agent)
        made = partial(_made, workspace=workspace, agent=agent, by=actor.name)

        def work(tx: Writing) -> AgentKey:
            key = replace(made(tx.now), **given)
            tx.keep_agent(Agent(workspace, agent, tx.now))
            tx.add_key(key)
            data: dict[str, Any] = {"agent": agent, "prefix": key.prefix, "expires_at": key.expires_at.isoformat()}
            if key.is_public:
                data["public_keys"] = [thumbprint(one) for one in key.public_keys]
            data |= _told(key.limits)
            tx.record(AuditEvent.at_large(tx.now, EventKind.KEY_CREATED, actor, workspace=workspace, **data))
            return key

        return self._store.write(work)

    def limit(self, prefix: str, workspace: str, actor: Actor, *, limits: Limits) -> AgentKey:
        """Hold the key to these limits from now on; the same again changes nothing. Raises KeyNotFoundError."""

        def work(tx: Writing) -> AgentKey:
            key = tx.key(prefix)
            if key is None or key.workspace != workspace:
                raise KeyNotFoundError(prefix)
            if key.limits == limits:
                return key
            limited = replace(key, limits=limits)
            tx.save_key(limited)
            data = {"agent": key.agent, "prefix": prefix, **_told(limits)}
            tx.record(AuditEvent.at_large(tx.now, EventKind.KEY_LIMITED, actor, workspace=workspace, **data))
            return limited

        limited = self._store.write(work)
        self._known.pop(prefix, None)
        return limited

    def renew(
        self, prefix: str, workspace: str, actor: Actor, *, overlap: timedelta = KEY_OVERLAP
    ) -> tuple[AgentKey, AgentKey, str]:
        """Make the key's successor, while the key stays good for the overlap; return both, and the new secret text.

        A key never lasts longer by it than it would have. Raises KeyNotFoundError, KeyOverError, KeyNotRenewableError.
        """
        secret = secrets.token_urlsafe(32)

        def work(tx: Writing) -> tuple[AgentKey, AgentKey]:
            old = tx.key(prefix)
            if old is None or old.workspace != workspace:
                raise KeyNotFoundError(prefix)
            if old.revoked_at or tx.now >= old.expires_at:
                raise KeyOverError(prefix)
            if old.is_public:
                raise KeyNotRenewableError(prefix)
            new = _made(tx.now, workspace=workspace, agent=old.agent, by=actor.name)
            new = replace(new, secret_hash=hash_of(secret), limits=old.limits)
            ending = replace(old, expires_at=min(old.expires_at, tx.now + overlap))
            tx.add_key(new)
            tx.save_key(ending)
            data = {
                "agent": old.agent,
                "prefix": new.prefix,
                "expires_at": new.expires_at.isoformat(),
                "replaces": prefix,
                "replaces_until": ending.expires_at.isoformat(),
            }
            tx.record(AuditEvent.at_large(tx.now, EventKind.KEY_RENEWED, actor, workspace=workspace, **data))
            return ending, new

        ending, new = self._store.write(work)
        self._known.pop(prefix, None)
        return ending, new, f"sgn_{new.prefix}_{secret}"

    def renew_by(self, person: Person, prefix: str) -> tuple[AgentKey, AgentKey, str]:
        """Renew a key as a person who may manage keys."""
        person.require(Permission.MANAGE_KEYS)
        return self.renew(prefix, person.workspace, person_actor(person))

    def create_by(self, person: Person, agent: str) -> tuple[AgentKey, str]:
        """Make a key as a person who may manage keys."""
        person.require(Permission.MANAGE_KEYS)
        return self.create(agent, person.workspace, person_actor(person))

    def register_by(self, person: Person, agent: str, public_key: str) -> AgentKey:
        """Register an agent's public key as a person who may manage keys."""
        person.require(Permission.MANAGE_KEYS)
        return self.register(agent, person.workspace, person_actor(person), public_key=public_key)

    def limit_by(self, person: Person, prefix: str, limits: Limits) -> AgentKey:
        """Hold a key to limits as a person who may manage keys."""
        person.require(Permission.MANAGE_KEYS)
        return self.limit(prefix, person.workspace, person_actor(person), limits=limits)

    def keys(self, workspace: str) -> Sequence[AgentKey]:
        """Return the workspace's keys, newest first."""
        return self._store.read(lambda tx: tx.keys(workspace))

    def overview(self, person: Person) -> tuple[Sequence[Agent], Sequence[AgentKey], Sequence[Tool]]:
        """Return the workspace's agents, keys and tools."""
        person.require(Permission.SEE_AGENTS)

        def work(tx: Reading) -> tuple[Sequence[Agent], Sequence[AgentKey], Sequence[Tool]]:
            return tx.agents(person.workspace), tx.keys(person.workspace), tx.tools(person.workspace)

        return self._store.read(work)

    def revoke(self, prefix: str, workspace: str, actor: Actor) -> AgentKey:
        """End a key at once; revoking a revoked key changes nothing. Raises KeyNotFoundError."""

        def work(tx: Writing) -> AgentKey:
            key = tx.key(prefix)
            if key is None or key.workspace != workspace:
                raise KeyNotFoundError(prefix)
            if key.revoked_at:
                return key
            revoked = replace(key, revoked_at=tx.now)
            tx.save_key(revoked)
            data = {"agent": key.agent, "prefix": prefix}
            tx.record(AuditEvent.at_large(tx.now, EventKind.KEY_REVOKED, actor, workspace=workspace, **data))
            return revoked

        revoked = self._store.write(work)
        self._known.pop(prefix, None)
        return revoked

    def revoke_by(self, person: Person, prefix: str) -> AgentKey:
        """Revoke a key as a person who may manage keys."""
        person.require(Permission.MANAGE_KEYS)
        return self.revoke(prefix, person.workspace, person_actor(person))

    def exchange(self, assertion: str, *, admit: Callable[[AgentKey], object]) -> AccessToken:
        """Return an access token for an assertion of an agent whose public key is registered (RFC 7523), once.

        ``admit`` is asked before anything is kept, and raises where this agent asks too often. Raises
        TokenRefusedError.
        """
        if self._tokens is None:
            raise TokenRefusedError(TokenFault.GRANT)
        tokens, prefix = self._tokens, client_of(assertion)
        if not _PREFIX_FORM.fullmatch(prefix):
            raise TokenRefusedError(TokenFault.UNVERIFIED)
        known, now = self._store.read(lambda tx: (tx.key(prefix), tx.now))
        if known is None:
            raise TokenRefusedError(TokenFault.UNVERIFIED)
        found = proven(assertion, known.public_keys, client=prefix, audiences=tokens.audiences, now=now)
        _require_in_force(known, now)
        admit(known)

        def work(tx: Writing) -> AccessToken:
            key = tx.key(prefix) or known
            _require_in_force(key, tx.now)
            if not tx.use_assertion(key, hash_of(found.id), until=found.ends_at):
                raise TokenRefusedError(TokenFault.USED)
            answer, claims = tokens.issue(key, tx.now)
            tx.save_key(replace(key, last_used_at=tx.now))
            data = {"prefix": prefix, "kid": found.kid, "jti": str(claims.jti), "expires_in": answer.expires_in}
            actor = agent_actor(key.agent)
            tx.record(AuditEvent.at_large(tx.now, EventKind.TOKEN_ISSUED, actor, workspace=key.workspace, **data))
            return answer

        return self._store.write(work)

    def recognise(self, bearer: str) -> AgentKey:
        """Return the key behind a bearer text, at most a second old. Raises KeyRefusedError."""
        shown = self._shown(bearer)
        return self._at_hand(shown) or self._looked_up(shown)

    def at_hand(self, bearer: str) -> AgentKey | None:
        """Return the key where no look into the store is needed; None where ``recognise`` has to be asked.

        Raises KeyRefusedError.
        """
        return self._at_hand(self._shown(bearer))

    def _shown(self, bearer: str) -> _Shown:
        form = _KEY_FORM.match(bearer)
        if form is not None:
            return _Shown(form[1], secret=form[2])
        if self._tokens is None:
            raise KeyRefusedError(KeyFault.MALFORMED)
        claims = self._tokens.read(bearer)
        return _Shown(claims.client_id, ends_at=claims.exp)

    def _at_hand(self, shown: _Shown) -> AgentKey | None:
        known = self._known.get(shown.prefix)
        if known is None or time.monotonic() - known.at >= CACHE_SECONDS:
            return None
        return known.key if shown.opens(known.key) and not shown.is_over(known.now) else None

    def _looked_up(self, shown: _Shown) -> AgentKey:
        prefix = shown.prefix
        key, now = self._store.read(lambda tx: (tx.key(prefix), tx.now))
        if key is None or not shown.opens(key):
            raise KeyRefusedError(KeyFault.UNKNOWN)
        if key.revoked_at:
            raise KeyRefusedError(KeyFault.REVOKED)
        if now >= key.expires_at or shown.is_over(now):
            raise KeyRefusedError(KeyFault.EXPIRED)
        if key.last_used_at is None or now - key.last_used_at > _USED_EVERY:
            self._touch(prefix)
        self._known[prefix] = _Known(time.monotonic(), key, now)
        return key

    def _touch(self, prefix: str) -> None:
        def work(tx: Writing) -> None:
            key = tx.key(prefix)
            if key:
                tx.save_key(replace(key, last_used_at=tx.now))

        self._store.write(work)


def _made(now: datetime, *, workspace: str, agent: str, by: str) -> AgentKey:
    return AgentKey(
        id=uuid7(),
        workspace=workspace,
        agent=agent,
        prefix=secrets.token_hex(6),
        secret_hash="",
        created_at=now,
        expires_at=now + KEY_LIFE,
        created_by=by,
    )


def _require_in_force(key: AgentKey, now: datetime) -> None:
    if key.revoked_at:
        raise TokenRefusedError(TokenFault.CLIENT_REVOKED)
    if now >= key.expires_at:
        raise TokenRefusedError(TokenFault.CLIENT_EXPIRED)


def _told(limits: Limits) -> dict[str, int]:
    return {name: value for name, value in asdict(limits).items() if value is not None}
