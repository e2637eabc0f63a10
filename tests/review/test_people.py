"""Who may do what: every role asks every use case, and so does whoever has every role in another workspace."""

import inspect
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from joserfc.jwk import OKPKey

from agents.protocol import Approve, OutcomeStatus
from review.alike import template_of
from review.audit import EventFilter
from review.bulk import Kind, Look
from review.desk import Seen
from review.erasure import ErasurePlan
from review.errors import NotAllowedError, ReviewError
from review.items import EVERY_DECISION, ItemFilter, Order
from review.people import ROLE_PERMISSIONS, Limits, Permission, Person, Role, SignInProof
from review.store import Store
from tests.builders import ISSUER, WORKSPACE, an_item
from tests.clock import START
from tests.console import Console
from tests.review.steps import a_document, all_rows, caller, events, submit

EVERYBODY = set(Role)
DECIDING = {Role.REVIEWER}
SEEING_EMERGENCIES = {Role.LEAD, Role.AUDITOR, Role.ADMIN, Role.BREAK_GLASS}
WATCHING = {Role.LEAD, Role.AUDITOR, Role.ADMIN}
SEEING = {Role.REVIEWER, Role.LEAD, Role.AUDITOR}

Ask = Callable[[Console, Person, UUID], object]


def _held(house: Console, person: Person, item: UUID, act: Callable[..., Any]) -> object:
    epoch = house.desk.claim_item(person, item).epoch if person.may(Permission.DECIDE) else 1
    return act(person, item, epoch=epoch)


def _decided(house: Console, person: Person, item: UUID) -> object:
    seen = Seen.of(house.desk.claim_item(person, item)) if person.may(Permission.DECIDE) else Seen("", 1, 1)
    return house.desk.decide(item, Approve(), person, seen=seen)


PAUSING = {Role.REVIEWER, Role.LEAD, Role.ADMIN}
PUBLIC_KEY = json.dumps(OKPKey.generate_key("Ed25519").as_dict(private=False))
NEWCOMER = Person(ISSUER, "new", "New", frozenset())

# Each use case that a person asks for, by where it stands in the house; a new one fails the test until it is here.
ALLOWED: dict[str, tuple[Ask, set[Role]]] = {
    "desk.claim": (lambda house, person, _: house.desk.claim(person), DECIDING),
    "desk.claim_ahead": (lambda house, person, _: house.desk.claim_ahead(person), DECIDING),
    "desk.held": (lambda house, person, _: house.desk.held(person), DECIDING),
    "desk.release_all": (lambda house, person, _: house.desk.release_all(person), DECIDING),
    "desk.precedents": (lambda house, person, _: house.desk.precedents(person, an_item()), SEEING),
    "desk.claim_item": (lambda house, person, item: house.desk.claim_item(person, item), DECIDING),
    "desk.extend": (lambda house, person, item: _held(house, person, item, house.desk.extend), DECIDING),
    "desk.release": (lambda house, person, item: house.desk.release(person, item, epoch=1), DECIDING),
    "desk.decide": (_decided, DECIDING),
    "desk.ask": (lambda house, person, item: house.desk.ask(person, item, "Why?"), DECIDING),
    "desk.undo": (lambda house, person, item: house.desk.undo(person, item, epoch=1), DECIDING),
    "desk.undoable": (lambda house, person, _: house.desk.undoable(person), DECIDING),
    "desk.decided_since": (lambda house, person, _: house.desk.decided_since(person, START), DECIDING),
    "desk.reconcile": (
        lambda house, person, item: house.desk.reconcile(person, item, OutcomeStatus.FAILED, "I looked."),
        {Role.REVIEWER, Role.LEAD},
    ),
    "desk.reveal": (lambda house, person, item: house.desk.reveal(person, item), SEEING),
    "desk.whole": (lambda house, person, item: house.desk.whole(person, item), SEEING),
    "desk.items": (lambda house, person, _: house.desk.items(person, ItemFilter(), order=Order.URGENT), SEEING),
    "desk.count": (lambda house, person, _: house.desk.count(person, ItemFilter()), SEEING),
    "board.standing": (lambda house, person, _: house.board.standing(person), SEEING),
    "board.colleagues": (lambda house, person, _: house.board.colleagues(person), {Role.REVIEWER, Role.LEAD}),
    "board.assign": (lambda house, person, item: house.board.assign(person, item, to=NEWCOMER), {Role.LEAD}),
    "board.hand_over": (
        lambda house, person, item: house.board.hand_over(person, item, epoch=1, to=NEWCOMER),
        DECIDING,
    ),
    "board.snooze": (
        lambda house, person, item: house.board.snooze(person, item, until=START + timedelta(hours=1)),
        {Role.REVIEWER, Role.LEAD},
    ),
    "board.put_back": (lambda house, person, item: house.board.put_back(person, item), {Role.REVIEWER, Role.LEAD}),
    "bulk.alike": (
        lambda house, person, _: house.bulk.alike(person, Kind("shop", "refund_order", "general")),
        DECIDING,
    ),
    "bulk.decide": (
        lambda house, person, item: house.bulk.decide(
            person, [Look(item, Seen("", 1, 0))], Approve(), template=template_of(an_item())
        ),
        DECIDING,
    ),
    "records.label_preview": (lambda house, person, _: house.records.label_preview(person), SEEING),
    "records.label_counts": (lambda house, person, _: house.records.label_counts(person), SEEING),
    "records.labels": (lambda house, person, _: house.records.labels(person), {Role.LEAD, Role.AUDITOR}),
    "records.figures": (
        lambda house, person, _: house.records.figures(person, days=7),
        {Role.LEAD, Role.AUDITOR},
    ),
    "records.events": (lambda house, person, _: house.records.events(person, EventFilter()), WATCHING),
    "records.log": (lambda house, person, _: house.records.log(person), WATCHING),
    "records.anchors": (lambda house, person, _: house.records.anchors(person), WATCHING),
    "records.is_alarming": (lambda house, person, _: house.records.is_alarming(person), WATCHING),
    "records.audit_events": (
        lambda house, person, _: house.records.audit_events(person, EventFilter()),
        {Role.AUDITOR},
    ),
    "records.verified": (lambda house, person, _: house.records.verified(person, told=lambda _: None), {Role.AUDITOR}),
    "records.decisions": (lambda house, person, _: house.records.decisions(person), SEEING),
    "records.count_decisions": (
        lambda house, person, _: house.records.count_decisions(person, EVERY_DECISION),
        {Role.LEAD, Role.AUDITOR},
    ),
    "records.count_events": (lambda house, person, _: house.records.count_events(person, EventFilter()), WATCHING),
    "policies.versions": (lambda house, person, _: house.policies.versions(person), EVERYBODY),
    "policies.recent_items": (lambda house, person, _: house.policies.recent_items(person), SEEING),
    "policies.save": (lambda house, person, _: house.policies.save(a_document(), person, based_on=0), {Role.LEAD}),
    "keys.overview": (lambda house, person, _: house.keys.overview(person), {Role.LEAD, Role.AUDITOR, Role.ADMIN}),
    "keys.create_by": (lambda house, person, _: house.keys.create_by(person, "new"), {Role.ADMIN}),
    "keys.register_by": (
        lambda house, person, _: house.keys.register_by(person, "new", PUBLIC_KEY),
        {Role.ADMIN},
    ),
    "keys.limit_by": (
        lambda house, person, _: house.keys.limit_by(
            person, house.keys.keys(WORKSPACE)[0].prefix, Limits(per_minute=5)
        ),
        {Role.ADMIN},
    ),
    "keys.renew_by": (
        lambda house, person, _: house.keys.renew_by(person, house.keys.keys(WORKSPACE)[0].prefix),
        {Role.ADMIN},
    ),
    "keys.revoke_by": (
        lambda house, person, _: house.keys.revoke_by(person, house.keys.keys(WORKSPACE)[0].prefix),
        {Role.ADMIN},
    ),
    "eraser.plan_item": (lambda house, person, item: house.eraser.plan_item(person, item), {Role.ADMIN}),
    "eraser.plan_subject": (lambda house, person, _: house.eraser.plan_subject(person, "order A-1001"), {Role.ADMIN}),
    "eraser.erase": (lambda house, person, item: house.eraser.erase(person, ErasurePlan((item,))), {Role.ADMIN}),
    "roster.people": (lambda house, person, _: house.roster.people(person), {Role.LEAD, Role.AUDITOR, Role.ADMIN}),
    "roster.change_roles": (
        lambda house, person, _: house.roster.change_roles(person, ISSUER, "new", roles=(Role.LEAD,)),
        {Role.ADMIN},
    ),
    "roster.record_training": (
        lambda house, person, _: house.roster.record_training(person, ISSUER, "new", trained_until={"high": START}),
        {Role.ADMIN},
    ),
    "roster.end_sessions": (lambda house, person, _: house.roster.end_sessions(person, ISSUER, "new"), {Role.ADMIN}),
    "sessions.own": (lambda house, person, _: house.sessions.own(person), {*EVERYBODY}),
    "sessions.end_own": (lambda house, person, _: house.sessions.end_own(person, "another's"), {*EVERYBODY}),
    "sessions.end_others": (lambda house, person, _: house.sessions.end_others(person, kept=""), {*EVERYBODY}),
    "emergencies.uses": (lambda house, person, _: house.emergencies.uses(person), SEEING_EMERGENCIES),
    "emergencies.standing": (lambda house, person, _: house.emergencies.standing(person), {*EVERYBODY}),
    "emergencies.break_glass": (
        lambda house, person, _: house.emergencies.break_glass(person, reason="Fire.", ticket="INC-1", minutes=5),
        {Role.BREAK_GLASS},
    ),
    "emergencies.end": (lambda house, person, item: house.emergencies.end(person, item), SEEING_EMERGENCIES),
    "emergencies.review": (lambda house, person, item: house.emergencies.review(person, item, "Fine."), {Role.ADMIN}),
    "views.mine": (lambda house, person, _: house.views.mine(person, "queue"), SEEING),
    "views.view": (lambda house, person, item: house.views.view(person, item), SEEING),
    "views.keep": (lambda house, person, _: house.views.keep(person, "queue", "Mine", {}), SEEING),
    "views.rename": (lambda house, person, item: house.views.rename(person, item, "Ours"), SEEING),
    "views.remove": (lambda house, person, item: house.views.remove(person, item), SEEING),
    "switch.pauses": (lambda house, person, _: house.switch.pauses(person), {*EVERYBODY}),
    "switch.choices": (lambda house, person, _: house.switch.choices(person), PAUSING),
    "switch.pause": (lambda house, person, _: house.switch.pause(person, reason="Look."), PAUSING),
    "switch.resume": (lambda house, person, _: house.switch.resume(person), {Role.LEAD, Role.ADMIN}),
}
# What everybody may who is signed in at all, in whatever role or none.
OPEN_TO_ALL = {"switch.pauses", "emergencies.standing", "sessions.own", "sessions.end_own", "sessions.end_others"}
# What no person asks for: the routes open sessions with it, behind a link or a provider's word, and other use cases ask
# it inside their own transactions.
NOT_ASKED = {
    "sessions.create_link",
    "sessions.admit",
    "desk.require_fit",
    "desk.require_takeable",
    "desk.taken",
    "desk.decided",
}


def asked_by_people() -> set[str]:
    """Return every public method of the house's use cases that takes a person."""
    found = set()
    for place, use_cases in vars(Console(cast("Store", None))).items():
        for name, method in inspect.getmembers(type(use_cases), inspect.isfunction):
            if not name.startswith("_") and type(use_cases).__module__.startswith("review."):
                takes = inspect.signature(method).parameters.values()
                if any(parameter.annotation is Person for parameter in takes):
                    found.add(f"{place}.{name}")
    return found


def test_every_use_case_that_a_person_asks_for_stands_in_the_table() -> None:
    assert asked_by_people() - NOT_ASKED == set(ALLOWED)


def cases() -> Iterator[Any]:
    for name, (_, roles) in ALLOWED.items():
        for role in (*Role, None):
            is_allowed = role in roles or name in OPEN_TO_ALL
            yield pytest.param(name, role, is_allowed, id=f"{name}, {role or 'nobody'}")


def _ask(house: Console, person: Person, item: UUID, name: str) -> object:
    """Return what the use case answers, or its refusal: one for another reason than the role is an answer, too."""
    try:
        return ALLOWED[name][0](house, person, item)
    except ReviewError as error:
        return error


@pytest.mark.parametrize(("name", "role", "is_allowed"), list(cases()))
def test_a_role_may_do_what_the_table_says_and_no_more(
    house: Console,
    name: str,
    role: Role | None,
    is_allowed: bool,  # noqa: FBT001 -- a column of the table
) -> None:
    house.sessions.admit(NEWCOMER, SignInProof(None))
    item = submit(house).id
    person = Person(ISSUER, "somebody", "Somebody", frozenset({role} if role else ()))
    before = (all_rows(house.store), events(house))  # type: ignore[arg-type]  # the store of a fixture

    answer = _ask(house, person, item, name)

    assert isinstance(answer, NotAllowedError) is not is_allowed
    if not is_allowed:
        assert str(answer).startswith("Somebody may not")
        assert (all_rows(house.store), events(house)) == before  # type: ignore[arg-type]  # the store of a fixture


@pytest.mark.parametrize("name", ALLOWED)
def test_whoever_has_every_role_elsewhere_sees_and_changes_nothing_here(house: Console, name: str) -> None:
    house.sessions.admit(NEWCOMER, SignInProof(None))
    item = submit(house, caller(house, "only_here"), description="Only for the default workspace.").id
    stranger = Person(ISSUER, "somebody", "Somebody", frozenset(Role), "elsewhere")
    before = _of_workspace(all_rows(house.store))  # type: ignore[arg-type]  # the store of a fixture

    answer = _ask(house, stranger, item, name)

    said = repr([*answer] if isinstance(answer, Iterable) else answer)
    told = said.replace(f"There is no item {item} here.", "").replace(f"UUID('{item}')", "")
    assert [
        word for word in (str(item), "Only for the default", NEWCOMER.name + "'", "only_here") if word in told
    ] == []
    assert _of_workspace(all_rows(house.store)) == before  # type: ignore[arg-type]  # the store of a fixture


def _of_workspace(rows: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    # Sealing is of all workspaces, whoever asks for it first.
    sealed = ("audit_leaves", "audit_nodes", "checkpoints")
    return {
        table: [row for row in kept if "elsewhere" not in row] for table, kept in rows.items() if table not in sealed
    }


def test_several_roles_may_together_what_each_may() -> None:
    person = Person(ISSUER, "both", "Both", frozenset({Role.REVIEWER, Role.ADMIN}))

    allowed = {permission for permission in Permission if person.may(permission)}

    assert allowed == ROLE_PERMISSIONS[Role.REVIEWER] | ROLE_PERMISSIONS[Role.ADMIN]


def test_being_an_admin_decides_nothing() -> None:
    assert Permission.DECIDE not in ROLE_PERMISSIONS[Role.ADMIN]
    assert set().union(*ROLE_PERMISSIONS.values()) == set(Permission)


def test_a_person_is_known_by_issuer_and_subject() -> None:
    assert Person(ISSUER, "ada", "Ada", frozenset()).id == f"{ISSUER}#ada"


def test_what_somebody_may_not_stands_in_the_servers_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "signoff.people"), pytest.raises(NotAllowedError):
        NEWCOMER.require(Permission.MANAGE_KEYS)

    assert caplog.messages == [f"{NEWCOMER.id!r} was refused: they may not {Permission.MANAGE_KEYS}"]
