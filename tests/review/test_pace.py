"""How fast an agent may submit."""

import time

import pytest

from review.audit import EventKind
from review.errors import TooManyRequestsError
from review.pace import Pace
from review.people import AgentKey
from tests.console import Console
from tests.review.steps import all_at_once, caller, events

PER_MINUTE = 5


@pytest.fixture
def pace(house: Console) -> Pace:
    return Pace(house.store, per_minute=PER_MINUTE)


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


def test_who_is_too_fast_leaves_one_event_a_minute(pace: Pace, house: Console) -> None:
    agent = caller(house)
    began = time.time() // 60

    admitted(pace, agent, PER_MINUTE + 20)

    told = [(event.actor.id, event.data) for event in events(house) if event.kind is EventKind.PACE_EXCEEDED]
    minutes = int(time.time() // 60 - began) + 1
    assert 1 <= len(told) <= minutes
    assert told == [(agent.agent, {"prefix": agent.prefix, "per_minute": PER_MINUTE})] * len(told)


def test_who_is_too_fast_is_told_when_to_come_back(pace: Pace, house: Console) -> None:
    agent = caller(house)
    admitted(pace, agent, PER_MINUTE)

    with pytest.raises(TooManyRequestsError) as refused:
        pace.require(agent)

    assert 1 <= refused.value.retry_after <= 120


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
