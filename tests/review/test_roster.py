"""The people of a workspace: their roles from the provider and from admins, their training, their sessions."""

from dataclasses import replace
from datetime import timedelta

import pytest

from review.audit import SYSTEM, EventKind
from review.errors import LastAdminError, MemberNotFoundError, OwnRolesError
from review.people import Member, Person, Role, SignInProof
from review.sessions import ABSOLUTE_LIMIT, IDLE_LIMIT, LOCAL_OPERATOR
from tests.builders import ISSUER, WORKSPACE, ada, grace, root
from tests.clock import START, MovableClock
from tests.console import Console
from tests.review.steps import all_at_once, events, kinds

other_root = Person(ISSUER, "other-root", "Other Root", frozenset({Role.ADMIN}))


def sign_in(house: Console, *people: Person) -> list[str]:
    return [house.sessions.admit(person, SignInProof(None)) for person in people]


def member(**fields: object) -> Member:
    given: dict[str, object] = {"claimed": frozenset({Role.REVIEWER, Role.LEAD})}
    return Member(WORKSPACE, ISSUER, "ada", "Ada", first_seen_at=START, last_seen_at=START, **given | fields)  # type: ignore[arg-type]  # fields of a member


@pytest.mark.parametrize(
    ("wanted", "given", "taken"),
    [
        ({Role.REVIEWER, Role.LEAD}, set(), set()),
        ({Role.REVIEWER}, set(), {Role.LEAD}),
        ({Role.REVIEWER, Role.LEAD, Role.ADMIN}, {Role.ADMIN}, set()),
        ({Role.AUDITOR}, {Role.AUDITOR}, {Role.REVIEWER, Role.LEAD}),
        (set(), set(), {Role.REVIEWER, Role.LEAD}),
    ],
)
def test_what_admins_change_is_kept_apart_from_what_the_sign_in_brought(
    wanted: set[Role], given: set[Role], taken: set[Role]
) -> None:
    changed = member().in_roles(wanted)

    assert [changed.roles, changed.given, changed.taken] == [wanted, given, taken]
    assert changed.in_roles(member().roles) == member()


def test_a_changed_role_is_felt_in_the_session_that_is_open(either_house: Console) -> None:
    secret, _ = sign_in(either_house, ada, root)

    either_house.roster.change_roles(root, ada.iss, ada.sub, roles=(Role.AUDITOR,))

    person = either_house.sessions.person(secret)
    assert person is not None
    assert person.roles == {Role.AUDITOR}
    changed = events(either_house)[-1]
    assert (changed.kind, changed.actor.id, changed.data) == (
        EventKind.ROLES_CHANGED,
        root.id,
        {"given": ["auditor"], "taken": ["reviewer"], "whom": ada.id},
    )
    assert ada.id.encode() not in changed.leaf


def test_what_was_changed_lasts_beyond_the_next_sign_in(either_house: Console) -> None:
    sign_in(either_house, grace)
    either_house.roster.change_roles(root, grace.iss, grace.sub, roles=(Role.REVIEWER, Role.AUDITOR))

    (secret,) = sign_in(either_house, Person(grace.iss, grace.sub, "Grace", frozenset({Role.LEAD, Role.ADMIN})))

    person = either_house.sessions.person(secret)
    assert person is not None
    assert person == Person(grace.iss, grace.sub, "Grace", frozenset({Role.AUDITOR, Role.ADMIN}), skills=frozenset())


def test_the_same_roles_again_change_nothing(either_house: Console) -> None:
    sign_in(either_house, ada)

    either_house.roster.change_roles(root, ada.iss, ada.sub, roles=ada.roles)

    assert kinds(either_house) == [EventKind.SIGNED_IN]


def test_nobody_changes_what_they_may_do_themselves(house: Console) -> None:
    sign_in(house, root)

    with pytest.raises(OwnRolesError):
        house.roster.change_roles(root, root.iss, root.sub, roles=frozenset(Role))
    with pytest.raises(OwnRolesError):
        house.roster.record_training(root, root.iss, root.sub, trained_until={"high": START})

    assert kinds(house) == [EventKind.SIGNED_IN]


def test_the_last_admin_stays_one(either_house: Console) -> None:
    sign_in(either_house, root, LOCAL_OPERATOR)

    with pytest.raises(LastAdminError, match="Root is the last admin"):
        either_house.roster.change_roles(other_root, root.iss, root.sub, roles=())

    sign_in(either_house, other_root)
    assert either_house.roster.change_roles(other_root, root.iss, root.sub, roles=()).roles == frozenset()


def test_of_two_admins_who_dismiss_each_other_one_stays(either_house: Console) -> None:
    pair = (root, other_root)
    sign_in(either_house, *pair)

    all_at_once(
        2, lambda n: either_house.roster.change_roles(pair[n], pair[1 - n].iss, pair[1 - n].sub, roles=(Role.LEAD,))
    )

    admins = [one.member.sub for one in either_house.roster.people(grace) if Role.ADMIN in one.member.roles]
    assert len(admins) == 1


def test_the_first_admin_is_made_at_the_command_line(house: Console) -> None:
    sign_in(house, ada)

    made = house.roster.give_and_take(
        WORKSPACE, ada.iss, ada.sub, given=frozenset({Role.ADMIN}), taken=frozenset({Role.LEAD}), actor=SYSTEM
    )

    assert made.roles == {Role.REVIEWER, Role.ADMIN}


def test_who_never_signed_in_is_nobody(house: Console) -> None:
    for act in (
        lambda: house.roster.change_roles(root, ISSUER, "nobody", roles=()),
        lambda: house.roster.record_training(root, ISSUER, "nobody", trained_until={}),
        lambda: house.roster.end_sessions(root, ISSUER, "nobody"),
    ):
        with pytest.raises(MemberNotFoundError, match="nobody has signed in"):
            act()


def test_training_counts_to_its_end(either_house: Console, clock: MovableClock) -> None:
    sign_in(either_house, ada)
    until = clock() + timedelta(days=1)

    for _ in range(2):
        kept = either_house.roster.record_training(root, ada.iss, ada.sub, trained_until={"high": until})

    (one,) = either_house.roster.people(root)
    assert one.member == kept
    moments = (until - timedelta(microseconds=1), until)
    assert [kept.is_trained_for("high", moment) for moment in moments] == [True, False]
    assert not kept.is_trained_for("other", clock())
    assert kinds(either_house) == [EventKind.SIGNED_IN, EventKind.TRAINING_CHANGED]


def test_ending_sessions_is_felt_in_all_of_them_and_in_no_others(either_house: Console) -> None:
    secrets = sign_in(either_house, ada, ada, grace)
    elsewhere = Person(ada.iss, ada.sub, ada.name, ada.roles, "elsewhere")
    secrets += sign_in(either_house, elsewhere)

    assert [either_house.roster.end_sessions(root, ada.iss, ada.sub) for _ in range(2)] == [2, 0]

    live = [either_house.sessions.person(secret) for secret in secrets]
    assert live == [None, None, replace(grace, skills=frozenset()), replace(elsewhere, skills=frozenset())]
    assert kinds(either_house).count(EventKind.SESSIONS_ENDED) == 1


@pytest.mark.parametrize("after", [IDLE_LIMIT, ABSOLUTE_LIMIT])
def test_sessions_that_were_over_already_are_not_among_those_that_end(
    either_house: Console, clock: MovableClock, after: timedelta
) -> None:
    sign_in(either_house, ada)
    clock.advance(after)
    sign_in(either_house, ada)

    assert [either_house.roster.end_sessions(root, ada.iss, ada.sub) for _ in range(2)] == [1, 0]

    (ended,) = (event for event in events(either_house) if event.kind is EventKind.SESSIONS_ENDED)
    assert ended.data["sessions"] == 1


def test_people_are_shown_with_the_sessions_that_are_open(either_house: Console, clock: MovableClock) -> None:
    sign_in(either_house, grace)
    clock.advance(IDLE_LIMIT)
    sign_in(either_house, ada)

    shown = [(one.member.name, len(one.sessions)) for one in either_house.roster.people(root)]

    assert shown == [(ada.name, 1), (grace.name, 0)]
