"""Shadow mode: what an agent does or would do is filed for people to judge, and never stands in the agent's way."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain.agents import AgentState, create_agent
from langchain.tools import InjectedState
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool, ToolException, tool
from pydantic import ValidationError

from agents import Gate, IdempotencyKey, courier, idempotency_key
from agents.client import Client
from agents.courier import MAX_QUEUED, Courier, Parcel, observation
from agents.protocol import Action, ActionRequest, Args, DecisionType, Execution, Reject, Route
from agents.spool import Spool
from db.store import SqlStore
from review.items import Purpose, ReviewItem
from review.policy import PolicyDocument, Rule
from tests.agents.desk import AGENT, Ledger, a_gate, decide_each, items, let_run, refunds, scripted
from tests.clock import MovableClock
from tests.console import Console, served
from tests.outside import a_port
from tests.review.steps import items as kept_items
from tests.waiting import PATIENCE_SECONDS, eventually

CALL: Args = {"order_id": "R-1", "amount": "49.00"}
FULL_CALL = {"type": "tool_call", "name": "refund", "args": CALL, "id": "call_1"}


@pytest.fixture
def gate(console: Console, clock: MovableClock) -> Iterator[Gate]:
    with a_gate(console, clock) as gate:
        yield gate


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a gate that is closed take its time; an agent's program would not wait so long for a busy machine."""
    monkeypatch.setattr(courier, "CLOSING_SECONDS", PATIENCE_SECONDS)


def observed(console: Console, count: int = 1) -> list[ReviewItem]:
    """Return the observed items, oldest first, once there are so many."""
    assert eventually(lambda: len(kept_items(console, purpose=Purpose.SHADOW)) >= count), "not all were filed"
    return list(reversed(kept_items(console, purpose=Purpose.SHADOW)))


@pytest.fixture
def port() -> Iterator[int]:
    with a_port() as port:
        yield port


def test_an_observed_tool_looks_like_the_tool_and_runs_at_once_and_once(
    console: Console, gate: Gate, ledger: Ledger
) -> None:
    plain = ledger.tool()
    watched = gate.observe(plain, confidence=0.4, rationale="The client asked.")

    answer = watched.invoke(dict(CALL))

    assert (watched.name, watched.description, watched.args) == (plain.name, plain.description, plain.args)
    assert answer == "Refunded 49.00 on R-1."
    assert ledger.runs == [("R-1", "49.00")]
    (item,) = observed(console)
    assert (item.request.action.args, item.request.confidence, item.request.observed) == (CALL, 0.4, True)
    assert (item.agent, item.request.rationale, item.execution) == (AGENT, "The client asked.", Execution.NONE)
    assert len(ledger.runs) == 1


def test_the_same_holds_without_blocking_the_event_loop(console: Console, gate: Gate, ledger: Ledger) -> None:
    watched = gate.observe(ledger.tool())

    async def agent() -> list[Any]:
        return await asyncio.gather(*(watched.ainvoke({**CALL, "order_id": f"R-{number}"}) for number in range(4)))

    answers = asyncio.run(agent())

    assert answers == [f"Refunded 49.00 on R-{number}." for number in range(4)]
    assert len(observed(console, 4)) == len(ledger.runs) == 4


@pytest.mark.parametrize(
    ("instead", "told"),
    [("Noted.", "Noted."), (lambda args: f"Would refund {args['amount']}.", "Would refund 49.00.")],
    ids=["text", "function"],
)
def test_with_something_instead_the_tool_does_not_run(
    console: Console,
    gate: Gate,
    ledger: Ledger,
    instead: str | Callable[[Args], str],
    told: str,
) -> None:
    watched = gate.observe(ledger.tool(), instead=instead)

    answers = [watched.invoke(dict(CALL)), asyncio.run(watched.ainvoke(dict(CALL)))]
    message = watched.invoke(dict(FULL_CALL))

    assert answers == [told] * 2
    assert isinstance(message, ToolMessage)
    assert (message.content, message.status, message.tool_call_id) == (told, "success", "call_1")
    assert ledger.runs == []
    assert len(observed(console, 3)) == 3


def test_what_the_policy_would_have_answered_stands_beside_what_a_person_decides(
    console: Console, gate: Gate, ledger: Ledger
) -> None:
    rule = Rule(name="cap", when="true", route=Route.DENY, reason="Refunds are closed today.")
    console.save_policy(PolicyDocument(rules=(rule,)))
    gate.observe(ledger.tool()).invoke(dict(CALL))
    observed(console)

    decided = decide_each(console, {"R-1": Reject(message="Rightly so.")})["R-1"]

    assert (decided.route, [reason.text for reason in decided.reasons]) == (Route.DENY, ["Refunds are closed today."])
    (label,) = console.records.labels(console.person)
    assert (label.purpose, label.decision) == (Purpose.SHADOW, DecisionType.REJECT)
    assert ledger.runs == [("R-1", "49.00")]


def test_an_agent_of_create_agent_is_observed_with_its_state(console: Console, gate: Gate) -> None:
    class State(AgentState[Any]):
        client: str

    @tool
    def refund(order_id: str, amount: str, client: Annotated[str, InjectedState("client")]) -> str:
        """Refund an order."""
        return f"{amount} on {order_id} to {client}"

    agent = create_agent(scripted(refunds("R-1"), AIMessage("Done.")), [gate.observe(refund)], state_schema=State)

    asked: dict[str, Any] = {"messages": [HumanMessage("Refund it.")], "client": "Inès"}

    state = agent.invoke(asked)  # type: ignore[call-overload]  # the state's own members are not declared to it

    assert state["messages"][-2].content == "49.00 on R-1 to Inès"
    assert observed(console)[0].request.action.args == CALL


def test_a_call_that_is_made_again_under_its_key_is_filed_once(console: Console, gate: Gate, ledger: Ledger) -> None:
    watched = gate.observe(ledger.tool(), idempotency_key="refund-of-R-1")
    for _ in range(2):
        watched.invoke(dict(CALL))
    gate.observe(ledger.tool()).invoke({**CALL, "order_id": "R-2"})

    orders = [item.request.action.args["order_id"] for item in observed(console, 2)]

    assert orders == ["R-1", "R-2"]
    assert len(ledger.runs) == 3


def test_an_observed_call_may_be_guarded_later_under_the_same_key(console: Console, gate: Gate, ledger: Ledger) -> None:
    let_run(console, "refund")
    gate.observe(ledger.tool(), idempotency_key="refund-of-R-1").invoke(dict(CALL))
    observed(console)

    answer = gate.guard(ledger.tool(), idempotency_key="refund-of-R-1").invoke(dict(CALL))

    assert answer == "Refunded 49.00 on R-1."
    assert [each.execution for each in items(gate)] == [Execution.SUCCEEDED]


def test_an_observed_tool_has_a_key_for_what_it_calls(console: Console, gate: Gate) -> None:
    seen: list[str | None] = []

    @tool
    def refund(order_id: str, key: Annotated[str, IdempotencyKey]) -> str:
        """Refund an order, once for a key."""
        seen.extend((key, idempotency_key()))
        return order_id

    watched = gate.observe(refund, idempotency_key="refund-of-R-1")
    watched.invoke({"order_id": "R-1"})
    asyncio.run(watched.ainvoke({"order_id": "R-1"}))

    (item,) = observed(console)
    assert seen == [item.idempotency_key] * 4
    assert item.request.action.args == {"order_id": "R-1"}


def test_an_error_of_the_tool_is_the_tools_as_ever(console: Console, gate: Gate) -> None:
    @tool
    def refund(order_id: str) -> str:
        """Fail."""
        raise ToolException(order_id)

    with pytest.raises(ToolException, match="R-1"):
        gate.observe(refund).invoke({"order_id": "R-1"})

    assert len(observed(console)) == 1


@pytest.mark.parametrize("instead", [None, "Noted."])
def test_bad_arguments_are_the_models_to_mend_and_are_not_filed(
    console: Console, gate: Gate, ledger: Ledger, instead: str | None
) -> None:
    with pytest.raises(ValidationError):
        gate.observe(ledger.tool(), instead=instead).invoke({"order_id": "R-1"})

    gate.close()
    assert kept_items(console) == ()


def test_what_cannot_be_told_of_a_call_does_not_stop_it(
    console: Console, gate: Gate, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Args) -> str:
        message = "no such record"
        raise LookupError(message)

    answers = [
        gate.observe(ledger.tool(), rationale=broken).invoke(dict(CALL)),
        gate.observe(ledger.tool(), idempotency_key=broken).invoke(dict(CALL)),
        gate.observe(ledger.tool(), metadata={"large": "x" * 300_000}).invoke(dict(CALL)),
    ]
    gate.observe(ledger.tool()).invoke({**CALL, "order_id": "R-2"})

    assert answers == ["Refunded 49.00 on R-1."] * 3
    assert [item.request.action.args["order_id"] for item in observed(console)] == ["R-2"]
    assert "could not be packed" in caplog.text
    assert "could not be observed" in caplog.text


def test_a_slow_thought_does_not_delay_the_call(console: Console, gate: Gate, ledger: Ledger) -> None:
    ran = threading.Event()

    def confidence(_: Args) -> float:
        assert ran.wait(PATIENCE_SECONDS)
        return 0.25

    gate.observe(ledger.tool(), confidence=confidence).invoke(dict(CALL))
    ran.set()

    assert observed(console)[0].request.confidence == 0.25


def test_what_the_console_refuses_does_not_hold_up_the_rest(
    console: Console, gate: Gate, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    watched = gate.observe(ledger.tool(), idempotency_key="the same")
    watched.invoke(dict(CALL))
    watched.invoke({**CALL, "order_id": "R-2"})
    gate.observe(ledger.tool()).invoke({**CALL, "order_id": "R-3"})

    orders = [item.request.action.args["order_id"] for item in observed(console, 2)]

    assert orders == ["R-1", "R-3"]
    assert "does not take what the spool held" in caplog.text


def test_closing_the_gate_delivers_what_was_observed(console: Console, clock: MovableClock, ledger: Ledger) -> None:
    with a_gate(console, clock) as gate:
        for number in range(20):
            gate.observe(ledger.tool()).invoke({**CALL, "order_id": f"R-{number}"})

    assert len(kept_items(console)) == 20


@pytest.mark.parametrize("is_on_disk", [True, False], ids=["disk", "memory"])
def test_while_the_console_is_away_tools_run_and_observations_wait_for_it(
    sqlite_store: SqlStore, clock: MovableClock, ledger: Ledger, tmp_path: Path, port: int, *, is_on_disk: bool
) -> None:
    console = Console(sqlite_store)
    console.url = f"http://127.0.0.1:{port}"
    with a_gate(console, clock, spool=tmp_path / "spool.db" if is_on_disk else None) as gate:
        watched = gate.observe(ledger.tool(), idempotency_key=lambda args: f"refund-of-{args['order_id']}")
        for order in ("R-1", "R-2", "R-1"):
            assert watched.invoke({**CALL, "order_id": order}) == f"Refunded 49.00 on {order}."

        with served(console, port=port):
            orders = [item.request.action.args["order_id"] for item in observed(console, 2)]

    assert orders == ["R-1", "R-2"]
    assert len(ledger.runs) == 3


def test_observations_outlive_the_agents_process(
    sqlite_store: SqlStore, clock: MovableClock, ledger: Ledger, tmp_path: Path, port: int
) -> None:
    console = Console(sqlite_store)
    console.url = f"http://127.0.0.1:{port}"
    with a_gate(console, clock, spool=tmp_path / "spool.db") as gate:
        gate.observe(ledger.tool()).invoke(dict(CALL))

    with served(console, port=port), a_gate(console, clock, spool=tmp_path / "spool.db"):
        (item,) = observed(console)

    assert item.request.action.args == CALL
    assert len(Spool(tmp_path / "spool.db", console=console.url)) == 0


def test_what_is_kept_in_memory_alone_is_told_when_it_is_lost(
    clock: MovableClock, sqlite_store: SqlStore, ledger: Ledger, caplog: pytest.LogCaptureFixture, port: int
) -> None:
    console = Console(sqlite_store)
    console.url = f"http://127.0.0.1:{port}"
    with a_gate(console, clock) as gate:
        gate.observe(ledger.tool()).invoke(dict(CALL))

    gate.observe(ledger.tool()).invoke(dict(CALL))

    assert "1 requests that were kept in memory are lost" in caplog.text
    assert "The gate is closed" in caplog.text
    assert len(ledger.runs) == 2


def test_an_outcome_is_reported_once_the_console_is_back(
    sqlite_store: SqlStore, clock: MovableClock, tmp_path: Path, port: int
) -> None:
    console = Console(sqlite_store)
    let_run(console, "refund")
    going = ExitStack()

    def refund(order_id: str) -> str:
        """Refund an order, and lose the console."""
        going.close()
        return f"Refunded {order_id}."

    plain = StructuredTool.from_function(refund)
    going.enter_context(served(console, port=port))
    with a_gate(console, clock, spool=tmp_path / "spool.db", attempts=1) as gate:
        answer = gate.run(plain, {"order_id": "R-1"})

    (item,) = kept_items(console)
    assert (answer, item.execution) == ("Refunded R-1.", Execution.STARTED)
    with served(console, port=port), a_gate(console, clock, spool=tmp_path / "spool.db"):
        assert eventually(lambda: kept_items(console)[0].execution is Execution.SUCCEEDED)


def test_a_courier_with_too_much_to_pack_gives_up_the_oldest(
    console: Console, caplog: pytest.LogCaptureFixture
) -> None:
    packed: list[int] = []
    busy, go_on = threading.Event(), threading.Event()

    def slow() -> Parcel:
        busy.set()
        assert go_on.wait(PATIENCE_SECONDS)
        message = "nothing in it"
        raise ValueError(message)

    def pack(number: int) -> Callable[[], Parcel]:
        def packing() -> Parcel:
            packed.append(number)
            message = "nothing in it"
            raise ValueError(message)

        return packing

    with Client(console.url, console.agent_key(AGENT)) as client:
        courier = Courier(client, Spool(None, console=client.url))
        courier.post(slow)
        assert busy.wait(PATIENCE_SECONDS)
        for number in range(MAX_QUEUED + 2):
            courier.post(pack(number))
        go_on.set()
        courier.close(PATIENCE_SECONDS)

    assert packed == list(range(2, MAX_QUEUED + 2))
    assert caplog.text.count("will not hear of the oldest") == 2


def test_outcomes_are_packed_before_observations_and_never_given_up_for_them(console: Console) -> None:
    packed: list[str] = []
    busy, go_on = threading.Event(), threading.Event()

    def slow() -> Parcel:
        busy.set()
        assert go_on.wait(PATIENCE_SECONDS)
        raise LookupError

    def pack(name: str) -> Callable[[], Parcel]:
        def packing() -> Parcel:
            packed.append(name)
            raise LookupError

        return packing

    with Client(console.url, console.agent_key(AGENT)) as client:
        courier = Courier(client, Spool(None, console=client.url))
        courier.post(slow)
        assert busy.wait(PATIENCE_SECONDS)
        courier.post(pack("outcome"), is_outcome=True)
        for _ in range(MAX_QUEUED + 1):
            courier.post(pack("observation"))
        courier.post(pack("outcome"), is_outcome=True)
        go_on.set()
        courier.close(PATIENCE_SECONDS)

    assert packed == ["outcome"] * 2 + ["observation"] * (MAX_QUEUED - 2)


def test_what_the_spool_cannot_take_now_is_put_into_it_later(console: Console, tmp_path: Path) -> None:
    with Client(console.url, console.agent_key(AGENT)) as client:
        spool = Spool(tmp_path / "spool.db", console=client.url)
        spool._database.execute("PRAGMA busy_timeout=0")  # noqa: SLF001 -- else it waits for seconds
        courier = Courier(client, spool)
        with closing(sqlite3.connect(tmp_path / "spool.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            packed = threading.Event()

            def pack() -> Parcel:
                packed.set()
                return observation(ActionRequest(action=Action(name="refund", args=CALL), observed=True), "call-1")

            courier.post(pack)
            assert packed.wait(PATIENCE_SECONDS)
            threading.Event().wait(0.2)
            other.execute("ROLLBACK")

        assert observed(console)[0].request.action.args == CALL
        courier.close()


def test_an_observed_tool_of_one_text_takes_it_as_it_comes(console: Console, gate: Gate) -> None:
    def shout(text: str) -> str:
        """Shout."""
        return text.upper()

    plain: BaseTool = StructuredTool.from_function(shout)

    assert gate.observe(plain).run("good evening") == "GOOD EVENING"
    assert observed(console)[0].request.action.args == {"text": "good evening"}
