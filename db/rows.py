"""Values to rows and back. Reading builds the values by position: these are the hot paths of every list and claim."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic import BaseModel, TypeAdapter
from sqlalchemy import Column, Row, RowMapping

from agents.protocol import (
    Action,
    ActionRequest,
    Decision,
    DecisionType,
    Execution,
    Note,
    Outcome,
    Reason,
    Route,
    Status,
)
from db import documents, tables
from review.audit import AuditEvent, Written, event_read, written
from review.items import (
    Aside,
    Assignment,
    Claim,
    DecisionRecord,
    ItemSummary,
    NoteRecord,
    PendingDecision,
    Purpose,
    ReasonCode,
    Reconciliation,
    Rejection,
    ReviewItem,
    SettledCall,
    Tool,
    View,
)
from review.people import Agent, AgentKey, Emergency, Limits, Member, Pause, Person, Role, Session, SignInLink
from review.policy import Policy, PolicyDocument

Values = dict[str, Any]

_DECISION: TypeAdapter[Decision] = TypeAdapter(Decision)

# What never changes once an item is kept; everything else save_item may replace.
_LASTING = frozenset(
    {
        *("workspace", "id", "agent", "purpose", "submitted_at", "parent_id", "idempotency_key"),
        *("repeats_id", "rejections", "blind"),
    }
)

_DOCUMENTS = ("draft", "decision", "outcome", "reconciliation", "pending")
_ASIDE = frozenset(Aside)

SUMMARY_COLUMNS: tuple[Column[Any], ...] = tuple(
    tables.items.c[name]
    for name in (
        "id",
        "agent",
        "tool",
        "purpose",
        "queue",
        "priority",
        "status",
        "route",
        "execution",
        "confidence",
        "subject",
        "amount",
        "currency",
        "submitted_at",
        "due_at",
        "expires_at",
        "claim_iss",
        "claim_sub",
        "claim_name",
        "claim_until",
        "decision_type",
        "settled_by",
        "settled_at",
        "erased_at",
        "assigned_iss",
        "assigned_sub",
        "assigned_name",
        "assigned_until",
        "assigned_by",
        "assigned_note",
        "snoozed_until",
        "breached_at",
    )
)

ITEM_COLUMNS: tuple[Column[Any], ...] = tuple(
    tables.items.c[name]
    for name in (
        "workspace",
        "id",
        "agent",
        "purpose",
        "queue",
        "priority",
        "status",
        "route",
        "execution",
        "submitted_at",
        "due_at",
        "expires_at",
        "claim_name",
        "claim_until",
        "settled_by",
        "settled_at",
        "version",
        "epoch",
        "digest",
        "policy_version",
        "parent_id",
        "idempotency_key",
        "request_hash",
        "claim_iss",
        "claim_sub",
        "permitted_digest",
        "permitted_until",
        "jti",
        "consumed_at",
        "notes",
        "quorum",
        "reasons",
        "draft",
        "decision",
        "outcome",
        "receipt",
        "request",
        "outcome_due_at",
        "reconciliation",
        "repeats_id",
        "rejections",
        "erased_at",
        "pending",
        "assigned_iss",
        "assigned_sub",
        "assigned_name",
        "assigned_until",
        "assigned_by",
        "assigned_note",
        "snoozed_until",
        "breached_at",
        "blind",
        "principal",
    )
)

DECISION_COLUMNS: tuple[Column[Any], ...] = tuple(tables.decisions.c)


def item_values(item: ReviewItem) -> Values:
    """Return the row of a new item."""
    return {
        "workspace": item.workspace,
        "id": item.id,
        "agent": item.agent,
        "purpose": item.purpose.value,
        "submitted_at": item.submitted_at,
        "parent_id": item.parent_id,
        "idempotency_key": item.idempotency_key,
        "repeats_id": item.repeats_id,
        "rejections": item.rejections,
        "blind": item.blind,
        **_scalar_values(item),
        **_request_values(item.request),
        "reasons": _reasons(item.reasons),
        **{name: _document(getattr(item, name)) for name in _DOCUMENTS},
    }


def changed_values(item: ReviewItem, was: ReviewItem) -> Values:
    """Return the columns in which the item differs from what it was. Raises ValueError for one that may not change."""
    for name in _LASTING:
        if getattr(item, name) != getattr(was, name):
            msg = f"The {name} of an item never changes."
            raise ValueError(msg)
    before = _scalar_values(was)
    changed = {name: value for name, value in _scalar_values(item).items() if value != before[name]}
    if item.request is not was.request:
        before |= _request_values(was.request)
        changed |= {name: value for name, value in _request_values(item.request).items() if value != before[name]}
    if item.reasons != was.reasons:
        changed["reasons"] = _reasons(item.reasons)
    for name in _DOCUMENTS:
        now, then = getattr(item, name), getattr(was, name)
        # As they are written, because to Python 1 and true are the same.
        if now is not then and (document := _document(now)) != _document(then):
            changed[name] = document
    return changed


def _scalar_values(item: ReviewItem) -> Values:
    claim, assignment = item.claim, item.assignment
    return {
        "queue": item.queue,
        "priority": item.priority,
        "status": status_kept(item),
        "route": item.route.value,
        "execution": item.execution.value,
        "due_at": item.due_at,
        "expires_at": item.expires_at,
        "claim_iss": claim.iss if claim else None,
        "claim_sub": claim.sub if claim else None,
        "claim_name": claim.name if claim else None,
        "claim_until": claim.until if claim else None,
        "decision_type": item.decision.type if item.decision else None,
        "settled_by": item.settled_by,
        "settled_at": item.settled_at,
        "version": item.version,
        "epoch": item.epoch,
        "digest": item.digest,
        "policy_version": item.policy_version,
        "permitted_digest": item.permitted_digest,
        "permitted_until": item.permitted_until,
        "jti": item.jti,
        "consumed_at": item.consumed_at,
        "outcome_due_at": item.outcome_due_at,
        "notes": item.notes,
        "quorum": item.quorum,
        "receipt": item.receipt,
        "request_hash": item.request_hash,
        "erased_at": item.erased_at,
        "settles_at": item.pending.settles_at if item.pending else None,
        "assigned_iss": assignment.iss if assignment else None,
        "assigned_sub": assignment.sub if assignment else None,
        "assigned_name": assignment.name if assignment else None,
        "assigned_until": assignment.until if assignment else None,
        "assigned_by": assignment.by if assignment else None,
        "assigned_note": assignment.note if assignment else None,
        "snoozed_until": item.snoozed_until,
        "breached_at": item.breached_at,
        "principal": item.principal,
    }


def status_kept(item: ReviewItem) -> str:
    """Return the status as its row has it: what waits and is set aside has one of its own."""
    return (item.aside or item.status).value


def _told(status: str) -> Status:
    return Status.WAITING if status in _ASIDE else Status(status)


def _request_values(request: ActionRequest) -> Values:
    return {
        "tool": request.action.name,
        "confidence": request.confidence,
        "subject": request.impact.subject,
        "amount": request.impact.amount,
        "currency": request.impact.currency,
        "request": documents.written(request),
    }


def _document(value: BaseModel | None) -> str | None:
    return None if value is None else documents.written(value)


def _reasons(reasons: tuple[Reason, ...]) -> str:
    return documents.written_under("reasons", [reason.model_dump() for reason in reasons])


def item_from(row: Sequence[Any]) -> ReviewItem:
    """Return the item in a row of ITEM_COLUMNS."""
    (
        workspace,
        id_,
        agent,
        purpose,
        queue,
        priority,
        status,
        route,
        execution,
        submitted_at,
        due_at,
        expires_at,
        claim_name,
        claim_until,
        settled_by,
        settled_at,
        version,
        epoch,
        digest,
        policy_version,
        parent_id,
        idempotency_key,
        request_hash,
        claim_iss,
        claim_sub,
        permitted_digest,
        permitted_until,
        jti,
        consumed_at,
        notes,
        quorum,
        reasons,
        draft,
        decision,
        outcome,
        receipt,
        request,
        outcome_due_at,
        reconciliation,
        repeats_id,
        rejections,
        erased_at,
        pending,
        assigned_iss,
        assigned_sub,
        assigned_name,
        assigned_until,
        assigned_by,
        assigned_note,
        snoozed_until,
        breached_at,
        blind,
        principal,
    ) = row
    return ReviewItem(
        id=id_,
        workspace=workspace,
        agent=agent,
        purpose=Purpose(purpose),
        request=ActionRequest.model_validate_json(documents.body(request)),
        digest=digest,
        version=version,
        route=Route(route),
        reasons=tuple(Reason(**reason) for reason in documents.read_under("reasons", reasons)),
        policy_version=policy_version,
        queue=queue,
        priority=priority,
        status=_told(status),
        execution=Execution(execution),
        submitted_at=submitted_at,
        due_at=due_at,
        expires_at=expires_at,
        quorum=quorum,
        draft=Action.model_validate_json(documents.body(draft)) if draft else None,
        parent_id=parent_id,
        idempotency_key=idempotency_key,
        request_hash=request_hash,
        epoch=epoch,
        claim=_claim(claim_iss, claim_sub, claim_name, claim_until),
        decision=_DECISION.validate_json(documents.body(decision)) if decision else None,
        settled_by=settled_by,
        settled_at=settled_at,
        permitted_digest=permitted_digest,
        permitted_until=permitted_until,
        jti=jti,
        receipt=receipt,
        consumed_at=consumed_at,
        outcome=Outcome.model_validate_json(documents.body(outcome)) if outcome else None,
        notes=notes,
        outcome_due_at=outcome_due_at,
        reconciliation=(Reconciliation.model_validate_json(documents.body(reconciliation)) if reconciliation else None),
        repeats_id=repeats_id,
        rejections=rejections,
        erased_at=erased_at,
        pending=PendingDecision.model_validate_json(documents.body(pending)) if pending else None,
        assignment=_assignment(assigned_iss, assigned_sub, assigned_name, assigned_until, assigned_by, assigned_note),
        snoozed_until=snoozed_until,
        breached_at=breached_at,
        blind=blind,
        principal=principal,
    )


def summary_from(row: Sequence[Any]) -> ItemSummary:
    """Return the line of a list in a row of SUMMARY_COLUMNS."""
    (
        id_,
        agent,
        tool,
        purpose,
        queue,
        priority,
        status,
        route,
        execution,
        confidence,
        subject,
        amount,
        currency,
        submitted_at,
        due_at,
        expires_at,
        claim_iss,
        claim_sub,
        claim_name,
        claim_until,
        decision_type,
        settled_by,
        settled_at,
        erased_at,
        assigned_iss,
        assigned_sub,
        assigned_name,
        assigned_until,
        assigned_by,
        assigned_note,
        snoozed_until,
        breached_at,
    ) = row
    return ItemSummary(
        id=id_,
        agent=agent,
        tool=tool,
        purpose=Purpose(purpose),
        queue=queue,
        priority=priority,
        status=_told(status),
        route=Route(route),
        execution=Execution(execution),
        confidence=confidence,
        subject=subject,
        amount=amount,
        currency=currency,
        submitted_at=submitted_at,
        due_at=due_at,
        expires_at=expires_at,
        claim=_claim(claim_iss, claim_sub, claim_name, claim_until),
        decision=DecisionType(decision_type) if decision_type else None,
        settled_by=settled_by,
        settled_at=settled_at,
        erased_at=erased_at,
        assignment=_assignment(assigned_iss, assigned_sub, assigned_name, assigned_until, assigned_by, assigned_note),
        snoozed_until=snoozed_until,
        breached_at=breached_at,
        aside=Aside(status) if status in _ASIDE else None,
    )


def _claim(iss: str | None, sub: str, name: str, until: datetime) -> Claim | None:
    return None if iss is None else Claim(iss, sub, name, until)


def _assignment(iss: str | None, sub: str, name: str, until: datetime, by: str, note: str) -> Assignment | None:
    return None if iss is None else Assignment(iss, sub, name, until, by, note)


def decision_values(record: DecisionRecord) -> Values:
    """Return the row of a decision."""
    return {
        "workspace": record.workspace,
        "id": record.id,
        "item_id": record.item_id,
        "item_version": record.item_version,
        "epoch": record.epoch,
        "decision": documents.written(record.decision),
        "reason_codes": documents.written_under("reason_codes", [code.value for code in record.reason_codes]),
        "iss": record.iss,
        "sub": record.sub,
        "name": record.name,
        "digest_seen": record.digest_seen,
        "dwell_ms": record.dwell_ms,
        "policy_version": record.policy_version,
        "decided_at": record.decided_at,
        "counted_at": record.counted_at,
    }


def decision_from(row: Sequence[Any]) -> DecisionRecord:
    """Return the decision in a row of DECISION_COLUMNS."""
    values = dict(zip((column.name for column in DECISION_COLUMNS), row, strict=True))
    values["decision"] = _DECISION.validate_json(documents.body(values["decision"]))
    values["reason_codes"] = tuple(
        ReasonCode(code) for code in documents.read_under("reason_codes", values["reason_codes"])
    )
    # Before decisions could be taken back, each of them counted at once.
    values["counted_at"] = values["counted_at"] or values["decided_at"]
    return DecisionRecord(**values)


def note_values(record: NoteRecord) -> Values:
    """Return the row of a note."""
    return {
        "workspace": record.workspace,
        "id": record.id,
        "item_id": record.item_id,
        "author_name": record.author_name,
        "note": documents.written(record.note),
    }


def note_from(text: str) -> Note:
    """Return the note that was kept."""
    return Note.model_validate_json(documents.body(text))


def note_record_from(row: Row[Any]) -> NoteRecord:
    """Return the note with its place in the store, from a row of all columns."""
    values = row._mapping  # noqa: SLF001 -- SQLAlchemy's public name for it
    return NoteRecord(
        id=values["id"],
        workspace=values["workspace"],
        item_id=values["item_id"],
        author_name=values["author_name"],
        note=note_from(values["note"]),
    )


def settled_call_from(row: Sequence[Any]) -> SettledCall:
    """Return the call in a row of (id, digest, subject, settled_by, request), read no further than that takes."""
    id_, digest, subject, settled_by, request = row
    args = documents.read_under("action", request)["args"]
    return SettledCall(id_, digest, subject, args, settled_by)


def rejection_from(row: Sequence[Any]) -> Rejection:
    """Return the rejection in a row of (id, request)."""
    id_, request = row
    return Rejection(id_, json.loads(documents.body(request))["run"]["thread_id"])


def event_values(event: AuditEvent) -> tuple[Values, Values | None]:
    """Return the row of an audit event, and that of its openings if it has any.

    What a person is called by stands with the openings alone: nothing in the row of the event can ever be removed.
    """
    kept = written(event)
    is_hidden = event.is_by_person
    row = {
        "workspace": event.workspace,
        "id": event.id,
        "at": event.at,
        "kind": event.kind.value,
        "actor_id": "" if is_hidden else event.actor.id,
        "actor_name": "" if is_hidden else event.actor.name,
        "item_id": event.item_id,
        "leaf": kept.leaf,
    }
    if kept.people is None and kept.content is None:
        return row, None
    opening = {
        "workspace": event.workspace,
        "id": event.id,
        "actor_id": event.actor.id if is_hidden else None,
        "actor_name": event.actor.name if is_hidden else None,
        "people": kept.people,
        "content": kept.content,
    }
    return row, opening


def event_from(row: Sequence[Any]) -> AuditEvent:
    """Return the event in a row of (at, leaf, people, content)."""
    at, leaf, people, content = row
    return event_read(Written(leaf, people, content), at)


def policy_values(policy: Policy) -> Values:
    """Return the row of a version of the policy."""
    return {
        "workspace": policy.workspace,
        "number": policy.number,
        "document": policy.document.model_dump_json(),
        "saved_at": policy.saved_at,
        "saved_by": policy.saved_by,
        "comment": policy.comment,
    }


def policy_from(row: Row[Any]) -> Policy:
    """Return the version of the policy in a row of all columns."""
    values = row._mapping  # noqa: SLF001 -- SQLAlchemy's public name for it
    return Policy(
        workspace=values["workspace"],
        number=values["number"],
        document=PolicyDocument.model_validate_json(values["document"]),
        saved_at=values["saved_at"],
        saved_by=values["saved_by"],
        comment=values["comment"],
    )


def agent_values(agent: Agent) -> Values:
    """Return the row of an agent."""
    return {"workspace": agent.workspace, "name": agent.name, "created_at": agent.created_at}


def agent_from(row: Row[Any]) -> Agent:
    """Return the agent in a row of all columns."""
    return Agent(**row._mapping)  # noqa: SLF001 -- SQLAlchemy's public name for it


def tool_values(tool: Tool) -> Values:
    """Return the row of a tool."""
    schema = tool.args_schema
    return {
        "workspace": tool.workspace,
        "agent": tool.agent,
        "name": tool.name,
        "args_schema": None if schema is None else documents.written_under("args_schema", schema),
        "first_seen_at": tool.first_seen_at,
    }


def tool_from(row: Row[Any]) -> Tool:
    """Return the tool in a row of all columns."""
    values = dict(row._mapping)  # noqa: SLF001 -- SQLAlchemy's public name for it
    schema = values["args_schema"]
    values["args_schema"] = None if schema is None else documents.read_under("args_schema", schema)
    return Tool(**values)


def key_values(key: AgentKey) -> Values:
    """Return the row of an agent key."""
    apart = {**limit_values(key.limits), "public_keys": None}
    values = {column.name: getattr(key, column.name) for column in tables.agent_keys.c if column.name not in apart}
    if key.is_public:
        apart["public_keys"] = documents.written_under("keys", [dict(one) for one in key.public_keys])
    return {**values, **apart}


def limit_values(limits: Limits) -> Values:
    """Return the columns that keep a key's limits."""
    return {"per_minute": limits.per_minute, "most_waiting": limits.most_waiting}


def key_from(row: Row[Any]) -> AgentKey:
    """Return the key in a row of all columns."""
    values = dict(row._mapping)  # noqa: SLF001 -- SQLAlchemy's public name for it
    limits = Limits(values.pop("per_minute"), values.pop("most_waiting"))
    kept = values.pop("public_keys")
    public_keys = () if kept is None else tuple(documents.read_under("keys", kept))
    return AgentKey(**values, limits=limits, public_keys=public_keys)


def session_values(session: Session) -> Values:
    """Return the row of a session."""
    return {
        "id": session.id,
        **_person_values(session.person),
        "created_at": session.created_at,
        "seen_at": session.seen_at,
        "ended_at": session.ended_at,
        "authenticated_at": session.person.authenticated_at,
        "sid": session.sid,
        "id_token": session.id_token,
    }


def session_from(row: Row[Any]) -> Session:
    """Return the session in a row of all columns."""
    values = row._mapping  # noqa: SLF001 -- SQLAlchemy's public name for it
    return Session(
        id=values["id"],
        person=replace(_person(values), authenticated_at=values["authenticated_at"]),
        created_at=values["created_at"],
        seen_at=values["seen_at"],
        ended_at=values["ended_at"],
        sid=values["sid"],
        id_token=values["id_token"],
    )


_ROLES = ("claimed", "given", "taken")


def member_values(member: Member) -> Values:
    """Return the row of a person as their workspace knows them."""
    until = {queue: moment.isoformat() for queue, moment in sorted(member.trained_until.items())}
    return {
        **{column.name: getattr(member, column.name) for column in tables.members.c},
        **{name: _roles_written(getattr(member, name)) for name in _ROLES},
        "trained_until": documents.written_under("trained_until", until),
    }


def member_from(row: Row[Any]) -> Member:
    """Return the person in a row of all columns."""
    values = dict(row._mapping)  # noqa: SLF001 -- SQLAlchemy's public name for it
    values |= {name: _roles_read(values[name]) for name in _ROLES}
    until = documents.read_under("trained_until", values["trained_until"])
    values["trained_until"] = {queue: datetime.fromisoformat(moment) for queue, moment in until.items()}
    return Member(**values)


def emergency_values(emergency: Emergency) -> Values:
    """Return the row of an emergency."""
    return {column.name: getattr(emergency, column.name) for column in tables.emergencies.c}


def emergency_from(row: Row[Any]) -> Emergency:
    """Return the emergency in a row of all columns."""
    return Emergency(**row._mapping)  # noqa: SLF001 -- SQLAlchemy's public name for it


def view_values(view: View) -> Values:
    """Return the row of a view."""
    values = {column.name: getattr(view, column.name) for column in tables.views.c}
    return {**values, "chosen": documents.written_under("chosen", dict(view.chosen))}


def view_from(row: Row[Any]) -> View:
    """Return the view in a row of all columns."""
    values = dict(row._mapping)  # noqa: SLF001 -- SQLAlchemy's public name for it
    return View(**{**values, "chosen": documents.read_under("chosen", values["chosen"])})


def pause_values(pause: Pause) -> Values:
    """Return the row of a pause."""
    values = {column.name: getattr(pause, column.name) for column in tables.pauses.c}
    return values | {"agent": pause.agent or "", "tool": pause.tool or ""}


def pause_from(row: Row[Any]) -> Pause:
    """Return the pause in a row of all columns."""
    values = dict(row._mapping)  # noqa: SLF001 -- SQLAlchemy's public name for it
    return Pause(**values | {"agent": values["agent"] or None, "tool": values["tool"] or None})


def link_values(link: SignInLink) -> Values:
    """Return the row of a sign-in link."""
    return {
        "id": link.id,
        **_person_values(link.person),
        "created_at": link.created_at,
        "expires_at": link.expires_at,
        "used_at": link.used_at,
    }


def link_from(row: Row[Any]) -> SignInLink:
    """Return the link in a row of all columns."""
    values = row._mapping  # noqa: SLF001 -- SQLAlchemy's public name for it
    return SignInLink(
        id=values["id"],
        person=_person(values),
        created_at=values["created_at"],
        expires_at=values["expires_at"],
        used_at=values["used_at"],
    )


def _person_values(person: Person) -> Values:
    return {
        "workspace": person.workspace,
        "iss": person.iss,
        "sub": person.sub,
        "name": person.name,
        "roles": _roles_written(person.roles),
    }


def _person(values: RowMapping) -> Person:
    return Person(
        iss=values["iss"],
        sub=values["sub"],
        name=values["name"],
        roles=_roles_read(values["roles"]),
        workspace=values["workspace"],
    )


def _roles_written(roles: Iterable[Role]) -> str:
    return documents.written_under("roles", sorted(role.value for role in roles))


def _roles_read(text: str) -> frozenset[Role]:
    return frozenset(Role(role) for role in documents.read_under("roles", text))
