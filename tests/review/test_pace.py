"""How fast an agent may submit, and how many of its items may wait for people."""

from dataclasses import replace
from datetime import timedelta

import pytest

from agents.protocol import Approve
from review.audit import SYSTEM, EventKind
from review.errors import KeyNotFoundError, TooManyRequestsError, TooManyWaitingError
from review.intake import Intake
from review.pace import COUNTED_EVERY, MOST_WAITING, Pace, Shares
from review.people import AgentKey, Limits
from review.policy import Autonomy, PolicyDocument
from tests.builders import WORKSPACE
from tests.console import Console
from tests.review.steps import a_document, all_at_once, caller, claim, decide, events, submit

PER_MINUTE = 5


class Seconds:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def pace(house: Console, seconds: Seconds) -> Pace:
    return Pace(house.store, per_minute=PER_MINUTE, clock=seconds)


def admitted(pace: Pace, agent: AgentKey, times: int) -> list[bool]:
    return [_is_admitted(pace, agent) for _ in range(times)]


def _is_admitted(pace: Pace, agent: AgentKey) -> bool:
    try:
        pace.require(agent)
    except TooManyRequestsError:
        return False
    return True


def test_a_key_may_submit_as_often_as_its_pace_says(pace: Pace, house: Console) -> None:
    agent = caller(house)

    admissions = admitted(pace, agent, PER_MINUTE + 3)

    assert admissions == [True] * PER_MINUTE + [False] * 3


def test_the_pace_comes_back_share_by_share(pace: Pace, house: Console, seconds: Seconds) -> None:
    agent = caller(house)
    admitted(pace, agent, PER_MINUTE)

    seconds.now += 60 / PER_MINUTE
    after_a_share = admitted(pace, agent, 2)
    seconds.now += 60
    after_a_minute = admitted(pace, agent, PER_MINUTE + 1)

    assert after_a_share == [True, False]
    assert after_a_minute == [True] * PER_MINUTE + [False]


def test_who_is_too_fast_leaves_one_event_a_minute(pace: Pace, house: Console, seconds: Seconds) -> None:
    agent = caller(house)

    admitted(pace, agent, PER_MINUTE + 20)
    seconds.now += 60
    admitted(pace, agent, PER_MINUTE + 20)

    told = [(event.actor.id, event.data) for event in events(house) if event.kind is EventKind.PACE_EXCEEDED]
    assert told == [(agent.agent, {"prefix": agent.prefix, "per_minute": PER_MINUTE})] * 2


def test_who_is_too_fast_is_told_when_to_come_back(pace: Pace, house: Console, seconds: Seconds) -> None:
    agent = caller(house)
    admitted(pace, agent, PER_MINUTE)

    with pytest.raises(TooManyRequestsError) as refused:
        pace.require(agent)
    seconds.now += refused.value.retry_after

    assert refused.value.retry_after == 60 / PER_MINUTE
    assert admitted(pace, agent, 1) == [True]


def test_each_key_has_its_own_pace(pace: Pace, house: Console) -> None:
    fast, slow = caller(house, "fast"), caller(house, "slow")
    admitted(pace, fast, PER_MINUTE + 1)

    admissions = admitted(pace, slow, PER_MINUTE)

    assert admissions == [True] * PER_MINUTE


def test_many_threads_together_get_no_more(pace: Pace, house: Console) -> None:
    agent = caller(house)

    results = all_at_once(20, lambda _: pace.require(agent))

    assert [isinstance(result, TooManyRequestsError) for result in results].count(False) == PER_MINUTE
    assert [event.kind for event in events(house)].count(EventKind.PACE_EXCEEDED) == 1


def test_a_key_may_have_a_pace_of_its_own(pace: Pace, house: Console) -> None:
    agent = replace(caller(house), limits=Limits(per_minute=2))

    admissions = admitted(pace, agent, 3)

    assert admissions == [True, True, False]
    assert [event.data for event in events(house) if event.kind is EventKind.PACE_EXCEEDED] == [
        {"prefix": agent.prefix, "per_minute": 2}
    ]


MOST = 5


@pytest.fixture
def crowded(either_house: Console, seconds: Seconds) -> Console:
    """A house in which few of an agent's items may wait at once."""
    house = either_house
    shares = Shares(house.store, most_waiting=MOST, clock=seconds)
    house.intake = Intake(house.store, house.receipts, house.policies, draw=lambda: 1.0, shares=shares)
    return house


def filed(house: Console, agent: AgentKey, times: int) -> list[bool]:
    return [_is_filed(house, agent) for _ in range(times)]


def _is_filed(house: Console, agent: AgentKey) -> bool:
    try:
        submit(house, agent)
    except TooManyWaitingError:
        return False
    return True


def test_as_many_items_of_an_agent_wait_as_may_and_then_as_many_as_were_decided(
    crowded: Console, seconds: Seconds
) -> None:
    agent = caller(crowded)

    at_first = filed(crowded, agent, MOST + 3)
    decide(crowded, Approve())
    decide(crowded, Approve())
    seconds.now += 60
    afterwards = filed(crowded, agent, 4)

    assert at_first == [True] * MOST + [False] * 3
    assert afterwards == [True] * 2 + [False] * 2
    told = [(event.actor.id, event.data) for event in events(crowded) if event.kind is EventKind.SHARE_EXCEEDED]
    assert told == [(agent.agent, {"prefix": agent.prefix, "most_waiting": MOST})] * 2


def test_what_another_replica_let_in_counts_within_a_second(crowded: Console, seconds: Seconds) -> None:
    agent = caller(crowded)
    here = crowded.intake
    there = Intake(
        crowded.store,
        crowded.receipts,
        crowded.policies,
        shares=Shares(crowded.store, most_waiting=MOST, clock=seconds),
    )
    assert filed(crowded, agent, 2) == [True] * 2
    crowded.intake = there
    assert filed(crowded, agent, MOST) == [True] * (MOST - 2) + [False] * 2

    crowded.intake = here
    seconds.now += COUNTED_EVERY

    assert filed(crowded, agent, 2) == [False] * 2


def test_what_waited_before_a_start_counts(crowded: Console, seconds: Seconds) -> None:
    agent = caller(crowded)
    filed(crowded, agent, MOST)

    shares = Shares(crowded.store, most_waiting=MOST, clock=seconds)
    crowded.intake = Intake(crowded.store, crowded.receipts, crowded.policies, shares=shares)

    assert filed(crowded, agent, 1) == [False]


def test_what_was_filed_before_is_answered_however_much_waits(crowded: Console) -> None:
    agent = caller(crowded)
    first = submit(crowded, agent, key="first")
    filed(crowded, agent, MOST)

    assert submit(crowded, agent, key="first").id == first.id
    with pytest.raises(TooManyWaitingError, match=r"5 items of support wait .* Try again in 30 s\."):
        submit(crowded, agent, key="another")


def test_what_nobody_has_to_let_run_needs_no_room(crowded: Console) -> None:
    agent = caller(crowded)
    filed(crowded, agent, MOST)
    crowded.save_policy(a_document(Autonomy.AUTONOMOUS))

    assert submit(crowded, agent).route == "execute"
    assert submit(crowded, agent, observed=True).status == "waiting"


def test_an_agent_may_have_a_share_of_its_own(crowded: Console) -> None:
    agent = replace(caller(crowded), limits=Limits(most_waiting=2))

    assert filed(crowded, agent, 3) == [True, True, False]


def test_however_much_one_agent_files_nobody_elses_deadline_is_delayed(crowded: Console) -> None:
    flooding, other = caller(crowded, "flooding"), caller(crowded, "other")
    flood = filed(crowded, flooding, 100)
    item = submit(crowded, other)

    ahead = 0
    while claim(crowded).id != item.id:
        decide(crowded, Approve())
        ahead += 1

    assert (ahead, flood.count(True)) == (MOST, MOST)
    # As many as may wait are decided by one person, at half a minute each, before what comes next is due.
    assert MOST_WAITING * timedelta(seconds=30) < timedelta(seconds=PolicyDocument().default_due_in) * 1.05


def test_a_key_is_held_to_other_limits_at_once_and_its_successor_too(house: Console) -> None:
    key = house.keys.recognise(bearer := house.agent_key())
    limits = Limits(per_minute=10, most_waiting=3)

    house.keys.limit(key.prefix, WORKSPACE, SYSTEM, limits=limits)
    house.keys.limit(key.prefix, WORKSPACE, SYSTEM, limits=limits)
    _, successor, _ = house.keys.renew(key.prefix, WORKSPACE, SYSTEM)

    assert house.keys.recognise(bearer).limits == successor.limits == limits
    told = [event.data for event in events(house) if event.kind is EventKind.KEY_LIMITED]
    assert told == [{"agent": key.agent, "prefix": key.prefix, "per_minute": 10, "most_waiting": 3}]
    with pytest.raises(KeyNotFoundError):
        house.keys.limit(key.prefix, "elsewhere", SYSTEM, limits=limits)
