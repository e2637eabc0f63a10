"""How fast an agent may submit."""

import pytest

from review.audit import EventKind
from review.errors import TooManyRequestsError
from review.pace import Pace
from review.people import AgentKey
from tests.console import Console
from tests.review.steps import all_at_once, caller, events

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
