"""Builders: whole values with sensible contents, so that a test names only what it is about."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from uuid_utils.compat import uuid7

from agents.canonical import action_digest
from agents.protocol import (
    Action,
    ActionRequest,
    Approve,
    ContextEntry,
    ContextKind,
    Execution,
    Impact,
    Note,
    Reason,
    Route,
    Status,
)
from review.audit import Actor, AuditEvent, EventKind
from review.items import Claim, DecisionRecord, NoteRecord, Purpose, ReviewItem, Tool
from review.people import Agent, AgentKey, Member, Person, Role, Session, SignInLink
from review.policy import Policy, PolicyDocument
from review.store import Writing
from tests.clock import START

WORKSPACE = "default"
AGENT = "support"
ISSUER = "https://id.example.com"

# They sign in whenever it matters; a test of signing in again takes somebody else.
EVER_AFTER = START + timedelta(days=36_500)

ada = Person(ISSUER, "ada", "Ada Lovelace", frozenset({Role.REVIEWER}), authenticated_at=EVER_AFTER)
grace = Person(ISSUER, "grace", "Grace Hopper", frozenset({Role.REVIEWER, Role.LEAD}), authenticated_at=EVER_AFTER)
lin = Person(ISSUER, "lin", "Lin Ming", frozenset({Role.REVIEWER}), authenticated_at=EVER_AFTER)
mary = Person(ISSUER, "mary", "Mary Shelley", frozenset({Role.AUDITOR}), authenticated_at=EVER_AFTER)
root = Person(ISSUER, "root", "Root", frozenset({Role.ADMIN}), authenticated_at=EVER_AFTER)


def an_action(name: str = "refund_order", **args: Any) -> Action:  # noqa: ANN401 -- JSON values
    return Action(name=name, args=args or {"order_id": "A-1001", "amount": "49.90", "reason": "arrived broken"})


def a_request(**fields: Any) -> ActionRequest:  # noqa: ANN401 -- whatever the request takes
    given: dict[str, Any] = {
        "action": an_action(),
        "confidence": 0.62,
        "confidence_source": "classifier",
        "rationale": "The customer sent a photo of the broken cup.",
        "context": (ContextEntry(kind=ContextKind.MESSAGE, role="user", content="My cup arrived broken."),),
        "impact": Impact(amount="49.90", currency="EUR", reversible=True, subject="order A-1001"),
    }
    return ActionRequest(**(given | fields))


def an_item(**fields: Any) -> ReviewItem:  # noqa: ANN401 -- whatever the item takes
    request = fields.get("request") or a_request()
    submitted_at = fields.get("submitted_at", START)
    given: dict[str, Any] = {
        "id": uuid7(),
        "workspace": WORKSPACE,
        "agent": AGENT,
        "purpose": Purpose.GATE,
        "request": request,
        "digest": action_digest(request.action.name, request.action.args),
        "version": 1,
        "route": Route.REVIEW,
        "reasons": (Reason(code="below_threshold", text="The agent is less sure than the policy asks for."),),
        "policy_version": 1,
        "queue": "general",
        "priority": 5,
        "status": Status.WAITING,
        "execution": Execution.NONE,
        "submitted_at": submitted_at,
        "due_at": submitted_at + timedelta(hours=4),
        "expires_at": submitted_at + timedelta(hours=24),
    }
    return ReviewItem(**(given | fields))


def a_claim(person: Person = ada, **fields: Any) -> Claim:  # noqa: ANN401 -- whatever the claim takes
    given: dict[str, Any] = {
        "iss": person.iss,
        "sub": person.sub,
        "name": person.name,
        "until": START + timedelta(minutes=10),
    }
    return Claim(**(given | fields))


def a_decision(item: ReviewItem, person: Person = ada, **fields: Any) -> DecisionRecord:  # noqa: ANN401 -- whatever the record takes
    given: dict[str, Any] = {
        "id": uuid7(),
        "workspace": item.workspace,
        "item_id": item.id,
        "item_version": item.version,
        "epoch": item.epoch,
        "decision": Approve(),
        "reason_codes": (),
        "iss": person.iss,
        "sub": person.sub,
        "name": person.name,
        "digest_seen": item.digest,
        "dwell_ms": 5_250,
        "policy_version": item.policy_version,
        "decided_at": START,
    }
    given |= fields
    return DecisionRecord(**({"counted_at": given["decided_at"]} | given))


def a_note(item: ReviewItem, text: str = "Which order?", person: Person = ada) -> NoteRecord:
    note = Note(author="reviewer", text=text, at=START)
    return NoteRecord(uuid7(), item.workspace, item.id, person.name, note)


def an_event(**fields: Any) -> AuditEvent:  # noqa: ANN401 -- whatever the event takes
    given: dict[str, Any] = {
        "id": uuid7(),
        "workspace": WORKSPACE,
        "at": START,
        "kind": EventKind.ACTION_SUBMITTED,
        "actor": Actor("agent", AGENT, AGENT),
        "item_id": None,
        "data": {"digest": "sha256:" + "0" * 64},
    }
    return AuditEvent(**(given | fields))


def a_policy(number: int = 1, **fields: Any) -> Policy:  # noqa: ANN401 -- whatever the policy takes
    given: dict[str, Any] = {
        "workspace": WORKSPACE,
        "number": number,
        "document": PolicyDocument(),
        "saved_at": START,
        "saved_by": grace.name,
        "comment": "First version.",
    }
    return Policy(**(given | fields))


def an_agent(name: str = AGENT, **fields: Any) -> Agent:  # noqa: ANN401 -- whatever the agent takes
    given: dict[str, Any] = {"workspace": WORKSPACE, "name": name, "created_at": START}
    return Agent(**(given | fields))


def a_tool(name: str = "refund_order", **fields: Any) -> Tool:  # noqa: ANN401 -- whatever the tool takes
    given: dict[str, Any] = {
        "workspace": WORKSPACE,
        "agent": AGENT,
        "name": name,
        "args_schema": {"type": "object", "properties": {"order_id": {"type": "string"}}},
        "first_seen_at": START,
    }
    return Tool(**(given | fields))


def a_key(**fields: Any) -> AgentKey:  # noqa: ANN401 -- whatever the key takes
    given: dict[str, Any] = {
        "id": uuid7(),
        "workspace": WORKSPACE,
        "agent": AGENT,
        "prefix": uuid7().hex[-12:],
        "secret_hash": "0" * 64,
        "created_at": START,
        "expires_at": START + timedelta(days=90),
        "created_by": root.name,
    }
    return AgentKey(**(given | fields))


def a_session(person: Person = ada, **fields: Any) -> Session:  # noqa: ANN401 -- whatever the session takes
    given: dict[str, Any] = {"id": uuid7().hex, "person": person, "created_at": START, "seen_at": START}
    return Session(**(given | fields))


def a_member(person: Person = ada, **fields: Any) -> Member:  # noqa: ANN401 -- whatever the member takes
    given: dict[str, Any] = {
        "workspace": person.workspace,
        "iss": person.iss,
        "sub": person.sub,
        "name": person.name,
        "claimed": person.roles,
        "first_seen_at": START,
        "last_seen_at": START,
        "trained_until": {skill: START + timedelta(days=365) for skill in person.skills or ()},
    }
    return Member(**(given | fields))


def a_link(person: Person = ada, **fields: Any) -> SignInLink:  # noqa: ANN401 -- whatever the link takes
    given: dict[str, Any] = {
        "id": uuid7().hex,
        "person": person,
        "created_at": START,
        "expires_at": START + timedelta(minutes=15),
    }
    return SignInLink(**(given | fields))


_KEEPING: dict[type, Callable[[Writing, Any], None]] = {
    ReviewItem: lambda tx, item: tx.add_item(item),
    DecisionRecord: lambda tx, record: tx.add_decision(record),
    NoteRecord: lambda tx, note: tx.add_note(note),
    AuditEvent: lambda tx, event: tx.record(event),
    Policy: lambda tx, policy: tx.add_policy(policy),
    Agent: lambda tx, agent: tx.keep_agent(agent),
    Tool: lambda tx, tool: tx.keep_tool(tool),
    AgentKey: lambda tx, key: tx.add_key(key),
    Member: lambda tx, member: tx.keep_member(member),
    Session: lambda tx, session: tx.add_session(session),
    SignInLink: lambda tx, link: tx.add_link(link),
}


def keeping(*values: object) -> Callable[[Writing], None]:
    """A piece of work that keeps the values, in their order."""

    def work(tx: Writing) -> None:
        for value in values:
            _KEEPING[type(value)](tx, value)

    return work
