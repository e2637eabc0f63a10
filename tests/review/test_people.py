"""Who may do what: every role asks every use case."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from agents.protocol import Approve
from review.audit import EventFilter
from review.desk import Seen
from review.errors import NotAllowedError
from review.items import EVERY_DECISION, ItemFilter, Order
from review.people import ROLE_PERMISSIONS, Permission, Person, Role
from tests.builders import ISSUER
from tests.console import Console
from tests.review.steps import a_document, all_rows, events, submit

EVERYBODY = set(Role)
DECIDING = {Role.REVIEWER}
SEEING = {Role.REVIEWER, Role.LEAD, Role.AUDITOR}

Ask = Callable[[Console, Person, UUID], object]


def _held(house: Console, person: Person, item: UUID, act: Callable[..., Any]) -> object:
    epoch = house.desk.claim_item(person, item).epoch if person.may(Permission.DECIDE) else 1
    return act(person, item, epoch=epoch)


def _decided(house: Console, person: Person, item: UUID) -> object:
    seen = Seen.of(house.desk.claim_item(person, item)) if person.may(Permission.DECIDE) else Seen("", 1)
    return house.desk.decide(item, Approve(), person, seen=seen)


ALLOWED: dict[str, tuple[Ask, set[Role]]] = {
    "claim": (lambda house, person, _: house.desk.claim(person), DECIDING),
    "claim this one": (lambda house, person, item: house.desk.claim_item(person, item), DECIDING),
    "extend": (lambda house, person, item: _held(house, person, item, house.desk.extend), DECIDING),
    "release": (lambda house, person, item: house.desk.release(person, item, epoch=1), DECIDING),
    "decide": (_decided, DECIDING),
    "ask": (lambda house, person, item: house.desk.ask(person, item, "Why?"), DECIDING),
    "see an item": (lambda house, person, item: house.desk.whole(person, item), SEEING),
    "list items": (lambda house, person, _: house.desk.items(person, ItemFilter(), order=Order.URGENT), SEEING),
    "count items": (lambda house, person, _: house.desk.count(person, ItemFilter()), SEEING),
    "preview labels": (lambda house, person, _: house.records.label_preview(person), SEEING),
    "export labels": (lambda house, person, _: house.records.labels(person), {Role.LEAD, Role.AUDITOR}),
    "see the audit log": (
        lambda house, person, _: house.records.events(person, EventFilter()),
        {Role.LEAD, Role.AUDITOR, Role.ADMIN},
    ),
    "export the audit log": (
        lambda house, person, _: house.records.audit_events(person, EventFilter()),
        {Role.AUDITOR},
    ),
    "export decisions": (lambda house, person, _: house.records.decisions(person), {Role.LEAD, Role.AUDITOR}),
    "count decisions": (
        lambda house, person, _: house.records.count_decisions(person, EVERY_DECISION),
        {Role.LEAD, Role.AUDITOR},
    ),
    "count audit events": (
        lambda house, person, _: house.records.count_events(person, EventFilter()),
        {Role.LEAD, Role.AUDITOR, Role.ADMIN},
    ),
    "see the policy": (lambda house, person, _: house.policies.versions(person), EVERYBODY),
    "see recent actions": (lambda house, person, _: house.policies.recent_items(person), EVERYBODY),
    "save the policy": (lambda house, person, _: house.policies.save(a_document(), person, based_on=0), {Role.LEAD}),
    "see agents": (lambda house, person, _: house.keys.overview(person), {Role.LEAD, Role.AUDITOR, Role.ADMIN}),
    "create a key": (lambda house, person, _: house.keys.create_by(person, "new"), {Role.ADMIN}),
    "revoke a key": (
        lambda house, person, _: house.keys.revoke_by(person, house.keys.keys(person.workspace)[0].prefix),
        {Role.ADMIN},
    ),
}


def cases() -> Iterator[Any]:
    for name, (_, roles) in ALLOWED.items():
        for role in (*Role, None):
            yield pytest.param(name, role, role in roles, id=f"{name}, {role or 'nobody'}")


@pytest.mark.parametrize(("name", "role", "is_allowed"), list(cases()))
def test_a_role_may_do_what_the_table_says_and_no_more(
    house: Console,
    name: str,
    role: Role | None,
    is_allowed: bool,  # noqa: FBT001 -- a column of the table
) -> None:
    item = submit(house).id
    person = Person(ISSUER, "somebody", "Somebody", frozenset({role} if role else ()))
    before = (all_rows(house.store), events(house))  # type: ignore[arg-type]  # the store of a fixture

    if is_allowed:
        ALLOWED[name][0](house, person, item)
        return
    with pytest.raises(NotAllowedError, match="Somebody may not"):
        ALLOWED[name][0](house, person, item)

    assert (all_rows(house.store), events(house)) == before  # type: ignore[arg-type]  # the store of a fixture


def test_several_roles_may_together_what_each_may() -> None:
    person = Person(ISSUER, "both", "Both", frozenset({Role.REVIEWER, Role.ADMIN}))

    allowed = {permission for permission in Permission if person.may(permission)}

    assert allowed == ROLE_PERMISSIONS[Role.REVIEWER] | ROLE_PERMISSIONS[Role.ADMIN]


def test_being_an_admin_decides_nothing() -> None:
    assert Permission.DECIDE not in ROLE_PERMISSIONS[Role.ADMIN]
    assert set().union(*ROLE_PERMISSIONS.values()) == set(Permission)


def test_a_person_is_known_by_issuer_and_subject() -> None:
    assert Person(ISSUER, "ada", "Ada", frozenset()).id == f"{ISSUER}#ada"
