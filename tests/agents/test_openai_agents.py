"""OpenAI's Agents SDK and a running console: the real package, in a program where the name ``agents`` is the SDK's."""

import json
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from agents import Gate
from agents.protocol import Action, Approve, Decision, Edit, Execution, Reject, Respond, Status
from review.desk import Seen
from review.items import ReviewItem
from tests.clock import MovableClock
from tests.console import Console
from tests.waiting import PATIENCE_SECONDS

CALL = {"order_id": "R-1042", "amount": "49.00"}
PROGRAM = Path(__file__).with_name("openai_shop.py")
Call = tuple[str, dict[str, Any] | str]
HOOK = Path(__file__).parents[2] / "agents"


class Shop:
    """The agent program, run beside the test that reviews its calls."""

    def __init__(self, console: Console, clock: MovableClock, folder: Path) -> None:
        self.console = console
        self.key = console.agent_key()
        self.now = str(clock().timestamp())
        (folder / "signoff").symlink_to(HOOK, target_is_directory=True)
        self.environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(self, *steps: list[Call], how: str = "decided", url: str = "") -> Any:  # noqa: ANN401 -- JSON
        written = [
            [(call, args if isinstance(args, str) else json.dumps(args)) for call, args in step] for step in steps
        ]
        # Without this the program's own folder comes first, and nothing of the checkout may.
        arguments = [url or self.console.url, self.key, self.now, json.dumps(written), how]
        command = [sys.executable, "-P", str(PROGRAM), *arguments]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def decide(self, decisions: tuple[Decision, ...], answer: "Future[Any]") -> None:
        for decision in decisions:
            item = self._claimed(answer)
            self.console.desk.decide(item.id, decision, self.console.person, seen=Seen.of(item))

    def _claimed(self, answer: "Future[Any]") -> ReviewItem:
        pause = Event()
        for _ in range(int(PATIENCE_SECONDS / 0.02)):
            item = self.console.desk.claim(self.console.person)
            if item is not None:
                return item
            if answer.done():
                pytest.fail(f"the program ended before it was answered: {answer.result()}")
            pause.wait(0.02)
        pytest.fail("nothing came to the desk")

    def both(self, *steps: Any, decisions: tuple[Decision, ...], how: str = "decided") -> Any:  # noqa: ANN401 -- JSON
        with ThreadPoolExecutor(max_workers=1) as pool:
            answer: Future[Any] = pool.submit(self.run, *steps, how=how)
            self.decide(decisions, answer)
            return answer.result(timeout=PATIENCE_SECONDS)

    def items(self) -> list[tuple[Status, Execution]]:
        with Gate(self.console.url, self.key) as gate:
            listed = gate.client.send(gate.client.items()).items
        return [(item.status, item.execution) for item in reversed(listed)]


@pytest.fixture
def shop(console: Console, clock: MovableClock, tmp_path: Path) -> Shop:
    return Shop(console, clock, tmp_path)


def edited(**args: str | bool | int) -> Edit:
    return Edit(edited_action=Action(name="refund", args={**CALL, **args}))


def test_calls_are_approved_rejected_and_answered_each_for_itself(shop: Shop) -> None:
    step = [("call_1", CALL), ("call_2", {**CALL, "order_id": "R-2"}), ("call_3", {**CALL, "order_id": "R-3"})]

    decisions = (Approve(), Reject(message="Never paid."), Respond(message="It was refunded yesterday."))
    seen = shop.both(step, decisions=decisions)

    assert seen["runs"] == [CALL]
    assert seen["output"] == "Done."
    approved, rejected, answered = sorted(seen["told"], key=lambda told: (len(told) > 40, "answered" in told))
    assert approved == "Refunded 49.00 on R-1042."
    assert "Never paid." in rejected
    assert "a person answered in its place: It was refunded yesterday." in answered
    assert shop.items() == [
        (Status.SETTLED, Execution.SUCCEEDED),
        (Status.SETTLED, Execution.NONE),
        (Status.SETTLED, Execution.NONE),
    ]


def test_an_edit_carries_the_corrected_call_which_then_runs_by_its_receipt(shop: Shop) -> None:
    corrected = {**CALL, "amount": "10.00"}

    seen = shop.both([("call_1", CALL)], [("call_2", corrected)], decisions=(edited(amount="10.00"),))

    assert seen["runs"] == [corrected]
    assert '{"order_id": "R-1042", "amount": "10.00"}' in seen["told"][0] or json.dumps(corrected) in seen["told"][0]
    assert shop.items() == [(Status.SETTLED, Execution.SUCCEEDED)]


def test_a_correction_is_good_for_one_call_and_for_no_other(shop: Shop) -> None:
    corrected, other = {**CALL, "amount": "10.00"}, {**CALL, "amount": "11.00"}
    steps = ([("call_1", CALL)], [("call_2", other)], [("call_3", corrected)], [("call_4", corrected)])

    decisions = (edited(amount="10.00"), Reject(message="Not that."), Reject(message="Once was enough."))
    seen = shop.both(*steps, decisions=decisions)

    assert seen["runs"] == [corrected]
    assert len(shop.items()) == 3


def test_an_edit_that_differs_to_json_alone_is_an_edit(shop: Shop) -> None:
    said, corrected = {**CALL, "amount": 1}, {**CALL, "amount": True}

    seen = shop.both([("call_1", said)], [("call_2", corrected)], decisions=(edited(amount=True),))

    assert json.dumps(seen["runs"]) == json.dumps([corrected])


def test_an_edit_that_differs_to_json_alone_does_not_run_the_call_as_it_was(shop: Shop) -> None:
    seen = shop.both([("call_1", {**CALL, "amount": 1})], decisions=(edited(amount=True),), how="approved")

    assert (seen["runs"], seen["error"]) == ([], None)
    assert "cannot run other arguments" in seen["told"][0]


def test_a_run_that_is_taken_up_by_another_process_files_nothing_twice(shop: Shop) -> None:
    seen = shop.both([("call_1", CALL)], decisions=(Approve(),), how="restarted")

    assert (seen["runs"], seen["error"], seen["output"]) == ([CALL], None, "Done.")
    assert shop.items() == [(Status.SETTLED, Execution.SUCCEEDED)]


@pytest.mark.parametrize("how", ["twice", "decided twice"])
def test_a_run_that_is_resumed_twice_runs_its_call_once(shop: Shop, how: str) -> None:
    seen = shop.both([("call_1", CALL)], decisions=(Approve(),), how=how)

    assert (seen["runs"], seen["error"], seen["output"]) == ([CALL], None, "Done.")
    assert "was run before and succeeded" in seen["told"][0]


def test_an_approval_without_a_reviewer_still_waits_for_one(shop: Shop) -> None:
    seen = shop.both([("call_1", CALL)], decisions=(Reject(message="Not so fast."),), how="approved")

    assert seen["runs"] == []
    assert "Not so fast." in seen["told"][0]


def test_an_edit_of_a_call_that_was_approved_elsewhere_does_not_run(shop: Shop) -> None:
    seen = shop.both([("call_1", CALL)], decisions=(edited(amount="10.00"),), how="approved")

    assert (seen["runs"], seen["error"]) == ([], None)
    assert "cannot run other arguments" in seen["told"][0]
    assert shop.items() == [(Status.SETTLED, Execution.PERMITTED)]


def test_arguments_that_could_be_read_in_two_ways_are_told_to_the_model(shop: Shop) -> None:
    twice = '{"order_id": "R-1", "order_id": "R-2", "amount": "1"}'
    step: list[Call] = [("call_1", twice), ("call_2", "[1]"), ("call_3", "{")]

    seen = [shop.run(step, how=how) for how in ("decided", "approved")]

    assert [each["runs"] for each in seen] == [[], []]
    assert all("cannot be read" in told for each in seen for told in each["told"])
    assert [len(each["told"]) for each in seen] == [3, 3]
    assert shop.items() == []


def test_nothing_runs_while_the_console_is_away(shop: Shop) -> None:
    seen = [shop.run([("call_1", CALL)], how=how, url="http://127.0.0.1:9") for how in ("decided", "approved")]

    assert [each["runs"] for each in seen] == [[], []]
    assert [each["error"] for each in seen] == ["ServerAwayError", "ServerAwayError"]
