"""Who may submit and under which policy: keys and policy versions."""

from datetime import timedelta
from threading import Event

import pytest

from agents.protocol import Route
from review.audit import SYSTEM, EventKind
from review.errors import (
    InvalidNameError,
    InvalidPolicyError,
    KeyNotFoundError,
    KeyOverError,
    KeyRefusedError,
    PolicyChangedError,
)
from review.governance import CACHE_SECONDS, KEY_LIFE, KEY_OVERLAP, KeyRing, PolicyBook
from review.policy import Autonomy, PolicyDocument, Rule
from tests.builders import WORKSPACE, grace, root
from tests.clock import MovableClock
from tests.console import Console
from tests.review.steps import a_document, all_at_once, events, kinds, submit

SECOND = timedelta(seconds=1)
BAD = PolicyDocument(rules=(Rule(name="broken", when="amount >", route=Route.DENY),))


def test_a_key_is_recognised_by_its_text_which_is_kept_nowhere(either_house: Console, clock: MovableClock) -> None:
    key, text = either_house.keys.create("support", WORKSPACE, SYSTEM)

    known = either_house.keys.recognise(text)

    assert (known.id, known.agent, known.workspace) == (key.id, "support", WORKSPACE)
    assert key.expires_at == clock() + timedelta(days=90)
    start = f"sgn_{key.prefix}_"
    assert text.startswith(start)
    assert text.removeprefix(start) not in repr(either_house.keys.overview(root)) + repr(events(either_house))


def test_a_key_is_good_to_its_last_second(house: Console, clock: MovableClock) -> None:
    _, text = house.keys.create("support", WORKSPACE, SYSTEM)
    clock.advance(KEY_LIFE - SECOND)
    assert KeyRing(house.store).recognise(text).agent == "support"
    clock.advance(SECOND)

    with pytest.raises(KeyRefusedError, match="expired"):
        KeyRing(house.store).recognise(text)


def test_a_revoked_key_is_refused_at_once_here_and_within_a_second_elsewhere(either_house: Console) -> None:
    key, text = either_house.keys.create("support", WORKSPACE, SYSTEM)
    elsewhere = KeyRing(either_house.store)
    for ring in (either_house.keys, elsewhere):
        ring.recognise(text)

    either_house.keys.revoke_by(root, key.prefix)

    with pytest.raises(KeyRefusedError, match="revoked"):
        either_house.keys.recognise(text)
    Event().wait(CACHE_SECONDS + 0.05)
    with pytest.raises(KeyRefusedError, match="revoked"):
        elsewhere.recognise(text)


def test_a_renewed_key_and_its_successor_let_the_agent_in_side_by_side(
    either_house: Console, clock: MovableClock
) -> None:
    key, text = either_house.keys.create("support", WORKSPACE, SYSTEM)
    clock.advance(timedelta(days=60))

    old, new, successor = either_house.keys.renew_by(root, key.prefix)

    assert [KeyRing(either_house.store).recognise(one).agent for one in (text, successor)] == ["support"] * 2
    assert (old.expires_at, new.expires_at) == (clock() + KEY_OVERLAP, clock() + KEY_LIFE)
    clock.advance(KEY_OVERLAP)
    with pytest.raises(KeyRefusedError, match="expired"):
        KeyRing(either_house.store).recognise(text)
    assert KeyRing(either_house.store).recognise(successor).prefix == new.prefix
    assert kinds(either_house) == [EventKind.KEY_CREATED, EventKind.KEY_RENEWED]


def test_renewing_makes_no_key_last_longer(house: Console, clock: MovableClock) -> None:
    key, _ = house.keys.create("support", WORKSPACE, SYSTEM)
    clock.advance(KEY_LIFE - SECOND)

    assert house.keys.renew(key.prefix, WORKSPACE, SYSTEM)[0].expires_at == key.expires_at


def test_what_lets_nobody_in_is_not_renewed(house: Console, clock: MovableClock) -> None:
    revoked, expired = (house.keys.create("support", WORKSPACE, SYSTEM)[0] for _ in range(2))
    elsewhere, _ = house.keys.create("support", "elsewhere", SYSTEM)
    house.keys.revoke(revoked.prefix, WORKSPACE, SYSTEM)
    clock.advance(KEY_LIFE)

    for prefix, error in ((revoked.prefix, KeyOverError), (expired.prefix, KeyOverError)):
        with pytest.raises(error):
            house.keys.renew_by(root, prefix)
    with pytest.raises(KeyNotFoundError):
        house.keys.renew_by(root, elsewhere.prefix)


def test_revoking_again_changes_nothing(house: Console, clock: MovableClock) -> None:
    key, _ = house.keys.create("support", WORKSPACE, SYSTEM)
    first = house.keys.revoke(key.prefix, WORKSPACE, SYSTEM)
    clock.advance(SECOND)

    again = house.keys.revoke(key.prefix, WORKSPACE, SYSTEM)

    assert again == first
    assert kinds(house) == [EventKind.KEY_CREATED, EventKind.KEY_REVOKED]


def test_only_a_key_of_the_workspace_can_be_revoked(house: Console) -> None:
    _, text = house.keys.create("support", "elsewhere", SYSTEM)

    for prefix in (text.split("_")[1], "0123456789ab"):
        with pytest.raises(KeyNotFoundError):
            house.keys.revoke_by(root, prefix)

    assert house.keys.recognise(text).workspace == "elsewhere"


@pytest.mark.parametrize("text", ["", "sgn", "sgn_0123456789ab_short", "sgn_0123456789AB_" + "x" * 43, "\0" * 60])
def test_what_does_not_look_like_a_key_is_refused_unasked(house: Console, text: str) -> None:
    with pytest.raises(KeyRefusedError):
        house.keys.recognise(text)


def test_the_right_prefix_with_another_secret_is_refused(house: Console) -> None:
    _, mine = house.keys.create("mine", WORKSPACE, SYSTEM)
    _, other = house.keys.create("other", WORKSPACE, SYSTEM)
    house.keys.recognise(mine)

    for crossed in (mine[:17] + other[17:], mine[:-1] + ("A" if mine[-1] != "A" else "B")):
        with pytest.raises(KeyRefusedError, match="unknown"):
            house.keys.recognise(crossed)


@pytest.mark.parametrize("name", ["", " ", "a b", "a\n", "a\0", "é", "x" * 129, "<b>", "a\u202eb"])
def test_a_name_that_is_none_gets_no_key(house: Console, name: str) -> None:
    with pytest.raises(InvalidNameError):
        house.keys.create(name, WORKSPACE, SYSTEM)

    assert (house.keys.keys(WORKSPACE), events(house)) == ([], [])


def test_an_agent_may_have_several_keys(house: Console) -> None:
    made = [house.keys.create("support", WORKSPACE, SYSTEM)[0] for _ in range(3)]

    agents, keys, _ = house.keys.overview(root)

    assert [agent.name for agent in agents] == ["support"]
    assert [key.id for key in keys] == [key.id for key in reversed(made)]


def test_when_a_key_was_used_is_kept_every_few_minutes(house: Console, clock: MovableClock) -> None:
    _, text = house.keys.create("support", WORKSPACE, SYSTEM)
    uses = []
    for _ in range(4):
        clock.advance(timedelta(minutes=3))
        KeyRing(house.store).recognise(text)
        uses.append(house.keys.keys(WORKSPACE)[0].last_used_at)

    assert (uses[0] == uses[1], uses[1] != uses[2], uses[2] == uses[3]) == (True, True, True)


def test_without_a_policy_nothing_runs_alone(either_house: Console) -> None:
    in_force = either_house.policies.in_force(WORKSPACE)

    assert (in_force.number, in_force.document) == (0, PolicyDocument())
    assert submit(either_house).route is Route.REVIEW


def test_a_saved_policy_is_in_force_at_once(either_house: Console) -> None:
    before = submit(either_house)

    saved = either_house.policies.save(a_document(), grace, based_on=0, comment="Trust them.")

    after = submit(either_house)
    assert (saved.number, saved.saved_by, saved.comment) == (1, grace.name, "Trust them.")
    assert (before.route, after.route) == (Route.REVIEW, Route.EXECUTE)
    assert (before.policy_version, after.policy_version) == (0, 1)


def test_another_replica_follows_within_a_second(either_house: Console) -> None:
    replica = PolicyBook(either_house.store)
    assert replica.in_force(WORKSPACE).number == 0
    either_house.policies.save(a_document(), grace, based_on=0)

    Event().wait(CACHE_SECONDS + 0.05)

    assert replica.in_force(WORKSPACE).document == a_document()


def test_versions_are_kept_newest_first(house: Console) -> None:
    documents = [a_document(autonomy) for autonomy in Autonomy]
    for number, document in enumerate(documents):
        house.policies.save(document, grace, based_on=number)

    versions = house.policies.versions(grace, limit=3)

    assert [(version.number, version.document) for version in versions] == [
        (number, documents[number - 1]) for number in (4, 3, 2)
    ]


def test_a_policy_that_was_changed_meanwhile_is_not_overwritten(either_house: Console) -> None:
    either_house.policies.save(a_document(), grace, based_on=0)

    with pytest.raises(PolicyChangedError, match="version 1"):
        either_house.policies.save(PolicyDocument(), grace, based_on=0)

    assert either_house.policies.in_force(WORKSPACE).document == a_document()


def test_of_many_who_save_at_once_one_does(either_house: Console) -> None:
    results = all_at_once(8, lambda n: either_house.policies.save(a_document(), grace, based_on=0, comment=f"{n}"))

    assert [isinstance(result, PolicyChangedError) for result in results].count(True) == 7
    assert kinds(either_house) == [EventKind.POLICY_SAVED]


def test_a_broken_policy_is_not_saved(house: Console) -> None:
    with pytest.raises(InvalidPolicyError, match="broken"):
        house.policies.save(BAD, grace, based_on=0)

    assert (house.policies.in_force(WORKSPACE).number, events(house)) == (0, [])


def test_the_first_policy_is_installed_once(house: Console) -> None:
    first = house.policies.install(a_document(), WORKSPACE, SYSTEM)

    again = house.policies.install(PolicyDocument(), WORKSPACE, SYSTEM)

    assert (first and first.number, again) == (1, None)
    assert house.policies.in_force(WORKSPACE).document == a_document()


def test_recent_actions_are_shown_to_preview_a_draft(house: Console) -> None:
    ids = [submit(house).id for _ in range(3)]

    recent = house.policies.recent_items(grace, limit=2)

    assert [item.id for item in recent] == [ids[2], ids[1]]
