"""The demo agents at work against a real console: what runs, and how often."""

import json
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic

import pytest

from agents.demo import AGENT_NAMES
from agents.demo.cases import examples, stream
from agents.demo.classifier import trained
from agents.demo.minds import ClassifierMind
from agents.demo.store import HouseStore
from agents.demo.tools import house_tools
from agents.demo.worker import Agent, Worker
from agents.gate import Gate
from agents.protocol import Action, Approve, Decision, Edit, Reject, Respond
from db.store import open_store
from review.desk import Seen
from review.items import ReviewItem
from tests.console import Console, served
from tests.review.steps import items
from tests.waiting import PATIENCE_SECONDS, eventually

NOWHERE = "http://127.0.0.1:9"


class Lines:
    """What the agents said, and a way to wait for the next line."""

    def __init__(self) -> None:
        self._lines: queue.Queue[str] = queue.Queue()

    def say(self, line: str) -> None:
        self._lines.put(line)

    def next(self) -> str:
        return self._lines.get(timeout=PATIENCE_SECONDS)


@pytest.fixture
def house(tmp_path: Path) -> HouseStore:
    return HouseStore(tmp_path / "house.sqlite")


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    store = open_store(f"sqlite:///{tmp_path / 'console.sqlite3'}")
    with served(Console(store)) as running:
        yield running
    store.close()


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("learnt")
    for name in AGENT_NAMES:
        trained(name, examples(name), folder=folder / "demo")
    return folder


@pytest.fixture(scope="module")
def mind_of(learnt: Path) -> Callable[[HouseStore], ClassifierMind]:
    return partial(ClassifierMind, trained("inventory", examples("inventory"), folder=learnt / "demo"))


@pytest.fixture
def data(learnt: Path, tmp_path: Path) -> Path:
    return shutil.copytree(learnt, tmp_path / "data")


def an_agent(house: HouseStore, mind: ClassifierMind, gate: Callable[[], Gate]) -> Agent:
    return Agent("inventory", mind, house_tools("inventory", house), house, gate=gate)


def claimed(console: Console) -> ReviewItem:
    deadline = monotonic() + PATIENCE_SECONDS
    while (item := console.desk.claim(console.person)) is None:
        assert monotonic() < deadline, "the agent put nothing before the reviewers"
        threading.Event().wait(0.05)
    return item


def decide(console: Console, decision: Callable[[ReviewItem], Decision]) -> ReviewItem:
    item = claimed(console)
    return console.desk.decide(item.id, decision(item), console.person, seen=Seen.of(item))


def approve(_: ReviewItem) -> Decision:
    return Approve()


def reject(_: ReviewItem) -> Decision:
    return Reject(message="Not this week.")


def respond(_: ReviewItem) -> Decision:
    return Respond(message="Already done by telephone.")


def reorder_one(item: ReviewItem) -> Decision:
    return Edit(edited_action=Action(name=item.request.action.name, args={**item.request.action.args, "quantity": 1}))


def first_case(tool: str) -> int:
    return next(number for number, case in enumerate(stream("inventory")) if case.tool == tool)


@pytest.mark.parametrize(
    ("decision", "runs", "said"),
    [
        (approve, 1, "ran once as proposed"),
        (reorder_one, 1, "ran once, edited: quantity"),
        (reject, 0, "did not run. A person reviewed this call"),
        (respond, 0, "a person answered in its place: Already done by telephone."),
    ],
)
def test_an_agent_does_exactly_what_was_decided(
    house: HouseStore,
    console: Console,
    mind_of: Callable[[HouseStore], ClassifierMind],
    decision: Callable[[ReviewItem], Decision],
    runs: int,
    said: str,
) -> None:
    lines, stop, key = Lines(), threading.Event(), console.agent_key("inventory")
    house.advance("inventory", first_case("reorder_stock"))
    agent = an_agent(house, mind_of(house), lambda: Gate(console.url, key))
    worker = Worker(agent, seconds_between=0.1, limit=1, say=lines.say, stop=stop)

    worker.start()
    item = decide(console, decision)

    assert said in lines.next()
    worker.close(by=monotonic() + PATIENCE_SECONDS)
    assert not worker.is_at_work()
    assert len(house.runs()) == runs
    assert house.unfinished("inventory") == []
    if runs:
        permitted = item.decision.edited_action.args if isinstance(item.decision, Edit) else item.request.action.args
        assert house.runs()[0].args == permitted


def test_an_agent_answers_what_a_reviewer_asks_and_goes_on_waiting(
    house: HouseStore, console: Console, mind_of: Callable[[HouseStore], ClassifierMind]
) -> None:
    lines, key = Lines(), console.agent_key("inventory")
    house.advance("inventory", first_case("reorder_stock"))
    agent = an_agent(house, mind_of(house), lambda: Gate(console.url, key))
    worker = Worker(agent, seconds_between=0.1, limit=1, say=lines.say, stop=threading.Event())
    worker.start()
    item = claimed(console)

    console.desk.ask(console.person, item.id, "Why so many?")

    def authors() -> list[str]:
        return [each.note.author for each in console.desk.whole(console.person, item.id).notes]

    assert eventually(lambda: authors() == ["reviewer", "agent"])
    console.desk.decide(item.id, Approve(), console.person, seen=Seen.of(item))
    assert "ran once as proposed" in lines.next()
    worker.close(by=monotonic() + PATIENCE_SECONDS)


def test_nothing_runs_while_the_console_is_away_and_the_case_is_taken_up_again_later(
    house: HouseStore, console: Console, mind_of: Callable[[HouseStore], ClassifierMind]
) -> None:
    lines, key = Lines(), console.agent_key("inventory")
    house.advance("inventory", first_case("reorder_stock"))
    away = threading.Event()
    lost = an_agent(house, mind_of(house), lambda: Gate(NOWHERE, key, attempts=1))
    first = Worker(lost, seconds_between=0.1, limit=1, say=lines.say, stop=away)

    first.start()
    while_away = lines.next()
    away.set()
    first.close(by=monotonic() + PATIENCE_SECONDS)
    runs_while_away, kept = house.runs(), house.unfinished("inventory")
    agent = an_agent(house, mind_of(house), lambda: Gate(console.url, key))
    second = Worker(agent, seconds_between=0.1, limit=0, say=lines.say, stop=threading.Event())
    second.start()
    decide(console, approve)
    at_last = lines.next()
    second.close(by=monotonic() + PATIENCE_SECONDS)

    assert "not run: Signoff is away" in while_away
    assert (runs_while_away, len(kept)) == ([], 1)
    assert "ran once as proposed" in at_last
    assert (len(house.runs()), house.unfinished("inventory")) == (1, [])


@contextmanager
def program(console: Console, data: Path, *options: str) -> "Iterator[subprocess.Popen[str]]":
    keys = {name: console.agent_key(name) for name in AGENT_NAMES}
    (data / "demo_keys.json").write_text(json.dumps(keys), encoding="utf-8")
    command = [sys.executable, "-m", "agents.demo", "--url", console.url, "--data", str(data), *options]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def test_the_program_ends_cleanly_on_sigterm_while_its_agents_wait(console: Console, data: Path) -> None:
    with program(console, data, "--rate", "600") as agents:
        for _ in range(8):
            decide(console, approve)
        # Its time to end is short; so that nothing is in the middle then, all that was approved has been done.
        assert eventually(lambda: sum(item.outcome is not None for item in items(console)) == 8)
        agents.send_signal(signal.SIGTERM)
        said, _ = agents.communicate(timeout=PATIENCE_SECONDS)

    runs = HouseStore(data / "demo" / "house.sqlite").runs()
    assert agents.returncode == 0
    assert len({run.case_id for run in runs}) == len(runs) == said.count("ran once as proposed")


def test_killed_agents_find_their_item_again_and_run_what_was_approved_once(console: Console, data: Path) -> None:
    with program(console, data, "--cases", "1") as first:
        for _ in AGENT_NAMES[1:]:
            decide(console, reject)
        last = claimed(console)
        first.kill()
        said_first, _ = first.communicate(timeout=PATIENCE_SECONDS)
    console.desk.decide(last.id, Approve(), console.person, seen=Seen.of(last))

    with program(console, data, "--cases", "0") as second:
        said, _ = second.communicate(timeout=PATIENCE_SECONDS)

    house = HouseStore(data / "demo" / "house.sqlite")
    assert (second.returncode, "ran once" in said_first) == (0, False)
    assert said.count("ran once as proposed") + said.count("the house refused") == 1
    assert len(house.runs()) == said.count("ran once as proposed")
    assert [work for name in AGENT_NAMES for work in house.unfinished(name)] == []
