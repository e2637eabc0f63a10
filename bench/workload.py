"""What the measurements submit: actions such as a shop's agent proposes, about one and a half kilobytes each."""

import itertools
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from uuid_utils.compat import uuid7

from agents.canonical import action_digest
from agents.protocol import ActionRequest, Execution, Reason, Route, Status
from review.audit import AuditEvent, EventKind, agent_actor
from review.clock import utc_now
from review.items import Purpose, ReviewItem
from review.policy import Autonomy, PolicyDocument, ToolRule
from review.sessions import LOCAL_OPERATOR
from review.store import Store, Writing

AGENT = "bench"
WORKSPACE = LOCAL_OPERATOR.workspace
REFUND = "refund_order"
LOOK_UP = "look_up_order"
SEED_BATCH = 500

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Refund",
    "properties": {
        "order_id": {"type": "string", "description": "The order, as A-1001.", "pattern": "^[A-Z]-[0-9]+$"},
        "amount": {"type": "string", "description": "How much to give back, in the order's currency."},
        "reason": {"type": "string", "description": "Why, in a few words.", "maxLength": 200},
        "notify": {"type": "boolean", "description": "Write to the customer.", "default": True},
    },
    "required": ["order_id", "amount"],
}


def request_document(number: int, *, tool: str = REFUND) -> dict[str, Any]:
    """Return the body of a submission about the order of this number."""
    order = f"A-{number}"
    return {
        "action": {
            "name": tool,
            "args": {"order_id": order, "amount": "49.90", "reason": "arrived broken", "notify": True},
        },
        "confidence": 0.62,
        "confidence_source": "classifier",
        "rationale": f"The customer of {order} sent a photo of the broken cup and asks for the money back.",
        "args_schema": _SCHEMA,
        "context": [
            {"kind": "message", "role": "user", "content": f"My cup arrived broken. The order is {order}."},
            {
                "kind": "tool_result",
                "title": "read_order",
                "content": json.dumps({"order_id": order, "total": "49.90", "currency": "EUR", "state": "delivered"}),
            },
        ],
        "impact": {"amount": "49.90", "currency": "EUR", "reversible": True, "subject": f"order {order}"},
        "run": {"framework": "langchain", "tool_call_id": f"call_{number:024}"},
    }


def policy() -> PolicyDocument:
    """Return a policy that lets looking up run, and has people see the rest."""
    alone = (ToolRule(agent=AGENT, tool=LOOK_UP, autonomy=Autonomy.AUTONOMOUS),)
    return PolicyDocument(tools=alone, audit_rate=0.0)


def waiting_items(count: int, *, first: int = 0) -> Iterator[ReviewItem]:
    """Yield items that wait for a person."""
    now = utc_now()
    for number in range(first, first + count):
        request = ActionRequest.model_validate(request_document(number))
        yield ReviewItem(
            id=uuid7(),
            workspace=WORKSPACE,
            agent=AGENT,
            purpose=Purpose.GATE,
            request=request,
            digest=action_digest(request.action.name, request.action.args),
            version=1,
            route=Route.REVIEW,
            reasons=(Reason(code="below_threshold", text="The agent is less sure than the policy asks for."),),
            policy_version=1,
            queue="general",
            priority=5,
            status=Status.WAITING,
            execution=Execution.NONE,
            submitted_at=now,
            due_at=now + timedelta(hours=4),
            expires_at=now + timedelta(hours=24),
            idempotency_key=f"seed-{number}",
            request_hash="0" * 64,
        )


def seed(store: Store, count: int, *, first: int = 0) -> None:
    """Put waiting items into the store, many to a commit."""
    items = waiting_items(count, first=first)
    while some := list(itertools.islice(items, SEED_BATCH)):
        store.write(lambda tx, some=some: _add(tx, some))  # type: ignore[misc]  # bound at once, for this very call


def submitted(item: ReviewItem) -> AuditEvent:
    """Return what the log says of the item's submission."""
    data = {"tool": item.request.action.name, "digest": item.digest, "route": item.route.value}
    return AuditEvent.of(item, item.submitted_at, EventKind.ACTION_SUBMITTED, agent_actor(item.agent), **data)


def _add(tx: Writing, items: list[ReviewItem]) -> None:
    for item in items:
        tx.add_item(item)
        tx.record(submitted(item))
