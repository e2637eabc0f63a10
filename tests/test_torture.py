"""The torture in its short form: the promises that must hold whoever is killed and whoever comes at once."""

from collections import Counter
from pathlib import Path

import pytest

from tests.torture.kills import torture
from tests.torture.races import claimers, consumers, consumers_over_http, stopped_deciders

SEED = 20_261_122
KILLS = 25

pytestmark = pytest.mark.long


def test_no_kill_runs_a_call_twice_or_loses_what_was_acknowledged(store_url: str, tmp_path: Path) -> None:
    report = torture(store_url, tmp_path, kills=KILLS, seed=SEED)

    assert report.broken == []
    assert report.kills.total() == KILLS
    assert min(report.kills["agents"], report.kills["servers"], report.counts["runs"]) > 0


def test_of_fifty_consumers_in_two_processes_one_has_each_receipt(store_url: str) -> None:
    winners = consumers(store_url, receipts=40, each=50)

    assert winners == Counter({1: 40})


def test_of_fifty_requests_for_a_receipt_one_is_answered_with_yes(store_url: str) -> None:
    winners = consumers_over_http(store_url, receipts=4, each=50)

    assert winners == Counter({1: 4})


def test_twenty_people_in_two_processes_claim_each_item_once(store_url: str) -> None:
    claims = claimers(store_url, items=100, each=20)

    assert claims == Counter({1: 100})


def test_a_process_that_was_stopped_past_the_end_of_its_claim_decides_nothing(store_url: str) -> None:
    answers = stopped_deciders(store_url, times=12)

    assert answers == Counter(claim_lost=8, already_settled=4)
