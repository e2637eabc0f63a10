"""The pause: what stops at once, what stays, and who may switch it."""

import re
from collections.abc import Callable
from datetime import timedelta
from threading import Event

import pytest

from agents.protocol import Approve, Execution, Reject, Route, Status
from db.store import SqlStore
from review.audit import EventKind
from review.desk import Seen
from review.errors import PausedError, PauseReasonRequiredError
from review.governance import CACHE_SECONDS
from review.pauses import pause_of
from review.people import Pause
from review.policy import Autonomy, Rule
from tests.builders import AGENT, WORKSPACE, a_request, ada, an_action, grace, root
from tests.clock import START, MovableClock
from tests.console import Console
from tests.review.steps import TOOL, a_document, caller, claim, decide, events, kinds, submit

SCOPES = [(None, None), (AGENT, None), (None, TOOL), (AGENT, TOOL)]
ARGS = a_request().action.args


def a_pause(agent: str | None = None, tool: str | None = None) -> Pause:
    return Pause(WORKSPACE, agent, tool, "Wrong prices.", START, grace.name)


@pytest.mark.parametrize(
    ("agent", "tool", "held"),
    [
        (None, None, [True, True, True, True]),
        (AGENT, None, [True, True, False, False]),
        (None, TOOL, [True, False, True, False]),
        (AGENT, TOOL, [True, False, False, False]),
    ],
)
def test_a_pause_holds_what_it_names(agent: str | None, tool: str | None, held: list[bool]) -> None:
    pause = a_pause(agent, tool)
    calls = [(AGENT, TOOL), (AGENT, "other"), ("other", TOOL), ("other", "other")]

    assert [pause_of([pause], *call) == pause for call in calls] == held


@pytest.mark.parametrize(("agent", "tool"), SCOPES)
def test_a_receipt_cannot_be_used_while_its_action_is_paused(
    either_house: Console, agent: str | None, tool: str | None
) -> None:
    key = caller(either_house)
    item = submit(either_house, key)
    done = decide(either_house, Approve())
    either_house.switch.pause(grace, reason="Wrong prices.", agent=agent, tool=tool)

    with pytest.raises(PausedError, match=r"is paused by Grace Hopper: Wrong prices\."):
        either_house.intake.consume(key, item.id, done.receipt or "", ARGS)

    assert either_house.intake.status(key, item.id).execution is Execution.PERMITTED
    either_house.switch.resume(grace, agent=agent, tool=tool)
    assert either_house.intake.consume(key, item.id, done.receipt or "", ARGS).execution is Execution.STARTED


@pytest.mark.parametrize(("agent", "tool"), SCOPES)
def test_what_could_have_run_alone_waits_for_a_person_and_says_why(
    either_house: Console, agent: str | None, tool: str | None
) -> None:
    either_house.policies.save(a_document(), grace, based_on=0)
    either_house.switch.pause(grace, reason="Wrong prices.", agent=agent, tool=tool)
    Event().wait(CACHE_SECONDS + 0.05)

    item = submit(either_house)

    assert (item.route, item.status, item.reasons[-1].code) == (Route.REVIEW, Status.WAITING, "paused")
    assert item.reasons[-1].text.endswith("is paused by Grace Hopper: Wrong prices.")


def test_what_is_not_named_goes_on(either_house: Console) -> None:
    either_house.policies.save(a_document(), grace, based_on=0)
    for agent, tool in (("other", None), (None, "other"), (AGENT, "other"), ("other", TOOL)):
        either_house.switch.pause(grace, reason="Wrong prices.", agent=agent, tool=tool)
    Event().wait(CACHE_SECONDS + 0.05)
    key = caller(either_house)

    item = submit(either_house, key)

    assert item.route is Route.EXECUTE
    assert either_house.intake.consume(key, item.id, item.receipt or "", ARGS).execution is Execution.STARTED


def test_what_the_policy_denies_stays_denied(house: Console) -> None:
    house.policies.save(
        a_document(Autonomy.AUTONOMOUS, Rule(name="no", when="true", route=Route.DENY)), grace, based_on=0
    )
    house.switch.pause(grace, reason="Wrong prices.")
    Event().wait(CACHE_SECONDS + 0.05)

    assert submit(house).route is Route.DENY


def test_a_paused_item_waits_where_it_was_and_can_be_rejected_but_not_approved(either_house: Console) -> None:
    submit(either_house)
    either_house.switch.pause(grace, reason="Wrong prices.")
    item = claim(either_house)

    with pytest.raises(PausedError):
        either_house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))
    done = either_house.desk.decide(item.id, Reject(message="Not now."), ada, seen=Seen.of(item))

    assert (done.status, done.execution) == (Status.SETTLED, Execution.NONE)


def test_nothing_is_approved_on_expiry_while_it_is_paused(either_house: Console, clock: MovableClock) -> None:
    either_house.policies.save(a_document(Autonomy.SUPERVISED, approve_on_expiry=True), grace, based_on=0)
    item = submit(either_house, on_expiry="approve")
    either_house.switch.pause(grace, reason="Wrong prices.")
    clock.advance(timedelta(days=30))

    either_house.intake.sweep()

    done = either_house.intake.status(caller(either_house), item.id)
    assert (done.status, done.execution) == (Status.EXPIRED, Execution.NONE)


def test_every_replica_follows_within_five_seconds(store_url: str, opened: Callable[[str], SqlStore]) -> None:
    here, there = (Console(opened(store_url)) for _ in range(2))
    there.policies.save(a_document(), grace, based_on=0)
    key = caller(there)
    before = submit(there, key)
    permitted = submit(there, key)

    here.switch.pause(root, reason="Look.")

    # What was permitted stops at once, what is new as soon as the other one reads the pauses again.
    with pytest.raises(PausedError):
        there.intake.consume(key, permitted.id, permitted.receipt or "", ARGS)
    Event().wait(CACHE_SECONDS + 0.05)
    after = submit(there, key)
    assert (before.route, after.route, after.receipt) == (Route.EXECUTE, Route.REVIEW, None)
    assert CACHE_SECONDS <= 4


def test_pausing_and_resuming_are_told_once_each(either_house: Console) -> None:
    for _ in range(2):
        either_house.switch.pause(ada, reason=" Look. ", agent=AGENT)
    for _ in range(2):
        either_house.switch.resume(root, agent=AGENT)

    told = [(event.kind, event.actor.id, event.data) for event in events(either_house)]
    scope = {"agent": AGENT, "tool": None}
    assert told == [(EventKind.PAUSED, ada.id, scope), (EventKind.RESUMED, root.id, scope)]
    assert either_house.switch.pauses(ada) == []


@pytest.mark.parametrize(("reason", "why"), [("Odd", "Odd."), ("Odd.", "Odd."), ("Why?", "Why?"), ("Wait…", "Wait…")])
def test_the_reason_of_a_pause_does_not_run_into_the_next_sentence(house: Console, reason: str, why: str) -> None:
    submit(house)
    house.switch.pause(grace, reason=reason)
    item = claim(house)

    with pytest.raises(PausedError, match=re.escape(f": {why} Nothing new")):
        house.desk.decide(item.id, Approve(), ada, seen=Seen.of(item))


def test_a_pause_needs_a_reason(house: Console) -> None:
    with pytest.raises(PauseReasonRequiredError):
        house.switch.pause(ada, reason=" ")

    assert kinds(house) == []


def test_what_can_be_paused_is_what_is_known(house: Console) -> None:
    submit(house)
    submit(house, action=an_action("send_reply", text="Hello"))

    assert house.switch.choices(ada) == ([AGENT], [(AGENT, TOOL), (AGENT, "send_reply")])
