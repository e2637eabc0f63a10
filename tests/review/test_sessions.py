"""Signing in: links that work once, sessions that end."""

from dataclasses import replace
from datetime import timedelta

import pytest

from review.audit import EventKind
from review.errors import LinkRefusedError, SessionsSignInError
from review.people import RECENT_SIGN_IN, Person, SignInProof, hash_of
from review.sessions import ABSOLUTE_LIMIT, IDLE_LIMIT, LINK_LIFE, LOCAL_OPERATOR, Sessions
from tests.builders import ada, grace
from tests.clock import MovableClock
from tests.console import Console
from tests.review.steps import all_at_once, all_rows, events, kinds

SECOND = timedelta(seconds=1)
HALF_AN_HOUR = timedelta(minutes=30)


@pytest.fixture
def sessions(either_house: Console) -> Sessions:
    return Sessions(either_house.store)


def test_a_link_signs_its_person_in(sessions: Sessions, either_house: Console) -> None:
    secret = sessions.sign_in(sessions.create_link(ada))

    person = sessions.person(secret)

    assert person == replace(ada, skills=frozenset())  # Nobody has trained her for a queue.
    assert [(event.kind, event.actor.id) for event in events(either_house)] == [
        (EventKind.LINK_CREATED, ada.id),
        (EventKind.SIGNED_IN, ada.id),
    ]


def test_the_local_operator_may_do_everything(sessions: Sessions) -> None:
    assert sessions.person(sessions.sign_in(sessions.create_link())) == LOCAL_OPERATOR


def test_a_link_works_once(sessions: Sessions) -> None:
    link = sessions.create_link()
    first = sessions.sign_in(link)

    with pytest.raises(LinkRefusedError):
        sessions.sign_in(link)

    assert sessions.person(first) == LOCAL_OPERATOR


def test_of_many_who_follow_a_link_at_once_one_is_let_in(sessions: Sessions, either_house: Console) -> None:
    link = sessions.create_link()

    results = all_at_once(16, lambda _: sessions.sign_in(link))

    assert [isinstance(result, LinkRefusedError) for result in results].count(False) == 1
    assert kinds(either_house).count(EventKind.SIGNED_IN) == 1


def test_a_link_is_good_for_a_quarter_of_an_hour(sessions: Sessions, clock: MovableClock) -> None:
    early, late = sessions.create_link(), sessions.create_link()
    clock.advance(LINK_LIFE - SECOND)
    assert sessions.sign_in(early)
    clock.advance(SECOND)

    with pytest.raises(LinkRefusedError):
        sessions.sign_in(late)


@pytest.mark.parametrize("secret", [None, "", "nonsense", "\0", "é"])
def test_nobody_is_behind_a_secret_that_is_none(sessions: Sessions, secret: str | None) -> None:
    assert sessions.person(secret) is None


def test_no_link_and_no_session_is_a_refusal(sessions: Sessions) -> None:
    with pytest.raises(LinkRefusedError):
        sessions.sign_in("nonsense")


def test_an_idle_session_ends_after_half_an_hour(sessions: Sessions, clock: MovableClock) -> None:
    secret = sessions.sign_in(sessions.create_link())
    clock.advance(HALF_AN_HOUR - SECOND)
    assert sessions.person(secret) == LOCAL_OPERATOR
    clock.advance(HALF_AN_HOUR - SECOND)
    assert sessions.person(secret) == LOCAL_OPERATOR
    clock.advance(HALF_AN_HOUR)

    assert sessions.person(secret) is None
    assert sessions.person(secret) is None


def test_even_a_busy_session_ends_after_twelve_hours(sessions: Sessions, clock: MovableClock) -> None:
    secret = sessions.sign_in(sessions.create_link())
    for _ in range(47):
        clock.advance(timedelta(minutes=15))
        assert sessions.person(secret) == LOCAL_OPERATOR
    clock.advance(timedelta(minutes=15) - SECOND)
    assert sessions.person(secret) == LOCAL_OPERATOR

    clock.advance(SECOND)

    assert sessions.person(secret) is None


def test_signing_out_ends_the_session_at_once_and_no_other(sessions: Sessions, either_house: Console) -> None:
    mine, other = (sessions.sign_in(sessions.create_link()) for _ in range(2))

    for _ in range(2):
        sessions.sign_out(mine)
    sessions.sign_out("nonsense")

    assert [sessions.person(secret) for secret in (mine, other)] == [None, LOCAL_OPERATOR]
    assert kinds(either_house).count(EventKind.SIGNED_OUT) == 1


def test_no_secret_is_kept(sessions: Sessions, either_house: Console) -> None:
    link = sessions.create_link()
    secret = sessions.sign_in(link)

    kept = repr(all_rows(either_house.store)) + repr(events(either_house))  # type: ignore[arg-type]  # the store of a fixture

    assert (link in kept, secret in kept) == (False, False)


def test_whoever_sits_at_this_machine_may_say_again_that_it_is_them(
    sessions: Sessions, either_house: Console, clock: MovableClock
) -> None:
    secret = sessions.sign_in(sessions.create_link())
    clock.advance(RECENT_SIGN_IN)
    before = sessions.person(secret)

    assert sessions.confirm(secret)

    after = sessions.person(secret)
    assert before is not None
    assert after is not None
    assert [before.has_just_signed_in(clock()), after.has_just_signed_in(clock())] == [False, True]
    assert kinds(either_house)[-1] is EventKind.SIGNED_IN


def test_nobody_else_can_say_so_by_themselves(sessions: Sessions, either_house: Console) -> None:
    with_a_provider = sessions.admit(ada, SignInProof(None))
    over = sessions.sign_in(sessions.create_link())
    sessions.sign_out(over)
    told = len(events(either_house))

    assert [sessions.confirm(secret) for secret in (with_a_provider, over, "nonsense", None)] == [False] * 4

    assert len(events(either_house)) == told


def test_a_provider_cannot_vouch_for_the_future(sessions: Sessions, clock: MovableClock) -> None:
    secret = sessions.admit(ada, SignInProof(clock() + ABSOLUTE_LIMIT))
    clock.advance(RECENT_SIGN_IN)

    person = sessions.person(secret)

    assert person is not None
    assert not person.has_just_signed_in(clock())


def test_at_this_machine_nobody_keeps_count_of_training(sessions: Sessions) -> None:
    here, with_a_provider = sessions.sign_in(sessions.create_link()), sessions.admit(ada, SignInProof(None))

    people = [sessions.person(secret) for secret in (here, with_a_provider)]

    assert [person and person.skills for person in people] == [None, frozenset()]


def signed_in(sessions: Sessions, clock: MovableClock, person: Person = ada) -> tuple[str, Person]:
    """Sign the person in anew; return the secret, and who they are there."""
    secret = sessions.admit(person, SignInProof(clock()))
    known = sessions.person(secret)
    assert known is not None
    return secret, known


def test_a_person_sees_where_they_are_signed_in_now_and_nobody_elses(sessions: Sessions, clock: MovableClock) -> None:
    idle, _ = signed_in(sessions, clock)
    clock.advance(IDLE_LIMIT)
    first, _ = signed_in(sessions, clock)
    signed_in(sessions, clock, grace)
    signed_in(sessions, clock, replace(ada, workspace="elsewhere"))
    ended, _ = signed_in(sessions, clock)
    sessions.sign_out(ended)
    clock.advance(2 * 60 * SECOND)
    second, known = signed_in(sessions, clock)

    seen = sessions.own(known)

    assert [session.id for session in seen] == [hash_of(second), hash_of(first)]
    assert hash_of(idle) not in {session.id for session in seen}


def test_a_person_ends_one_of_their_sessions_or_all_but_the_one_at_hand(
    sessions: Sessions, clock: MovableClock, either_house: Console
) -> None:
    secrets = [signed_in(sessions, clock)[0] for _ in range(4)]
    here, known = signed_in(sessions, clock)

    one = sessions.end_own(known, hash_of(secrets[0]))
    again = sessions.end_own(known, hash_of(secrets[0]))
    after_one = [sessions.person(secret) is not None for secret in (*secrets, here)]
    others = sessions.end_others(known, kept=hash_of(here))
    after_all = [sessions.person(secret) is not None for secret in (*secrets, here)]

    assert (one, again, others) == (1, 0, 3)
    assert (after_one, after_all) == ([False, True, True, True, True], [False, False, False, False, True])
    ending = [event for event in events(either_house) if event.kind is EventKind.SESSIONS_ENDED]
    assert [(event.actor.id, event.data) for event in ending] == [
        (ada.id, {"whom": ada.id, "sessions": 1}),
        (ada.id, {"whom": ada.id, "sessions": 3}),
    ]


def test_nobody_ends_a_session_that_is_not_their_own(
    sessions: Sessions, clock: MovableClock, either_house: Console
) -> None:
    theirs, elsewhere = signed_in(sessions, clock, grace)[0], signed_in(sessions, clock, replace(ada, workspace="b"))[0]
    here, known = signed_in(sessions, clock)
    lasting = [secret for secret in (theirs, elsewhere, here) if sessions.person(secret)]
    before = events(either_house)

    ended = [sessions.end_own(known, hash_of(secret)) for secret in (theirs, elsewhere)]
    ended.append(sessions.end_others(known, kept=hash_of(here)))

    assert (ended, events(either_house)) == ([0, 0, 0], before)
    assert [secret for secret in (theirs, elsewhere, here) if sessions.person(secret)] == lasting
    assert len(lasting) == 3


def test_sessions_are_ended_by_whoever_signed_in_just_before(sessions: Sessions, clock: MovableClock) -> None:
    other, _ = signed_in(sessions, clock)
    here, known = signed_in(sessions, clock)
    clock.advance(RECENT_SIGN_IN + SECOND)

    with pytest.raises(SessionsSignInError, match="within the last 15 minutes"):
        sessions.end_own(known, hash_of(other))
    with pytest.raises(SessionsSignInError):
        sessions.end_others(known, kept=hash_of(here))

    assert len(sessions.own(known)) == 2
