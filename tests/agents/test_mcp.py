"""MCP servers of the real package and a running console: one that agents ask, and one that stands before another."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from mcp import Client, StdioServerParameters
from mcp.server.mcpserver import MCPServer
from mcp.types import CallToolResult, TextContent

from agents import Gate
from agents.mcp import approval_server, guarded_server, main
from agents.protocol import Action, ActionStatus, Approve, Decision, Edit, Execution, Reject, Respond, Status
from review.desk import Seen
from tests.clock import MovableClock
from tests.console import Console
from tests.waiting import PATIENCE_SECONDS

CALL = {"order_id": "R-1042", "amount": "49.00"}
CHECKOUT = Path(__file__).parents[2]

T = TypeVar("T")


class Till:
    """The server behind the proxy: it writes down what its tools were called with."""

    def __init__(self) -> None:
        self.runs: list[dict[str, str]] = []
        self.server = MCPServer("till")

        @self.server.tool()
        def refund(order_id: str, amount: str) -> str:
            """Refund an order."""
            self.runs.append({"order_id": order_id, "amount": amount})
            if order_id == "R-0":
                raise KeyError(order_id)
            return f"Refunded {amount} on {order_id}."

        @self.server.tool()
        async def dawdle() -> str:
            """Take longer than anybody waits."""
            await asyncio.sleep(PATIENCE_SECONDS)
            return "At last."

        @self.server.tool()
        def look_up(order_id: str) -> str:
            """Look an order up."""
            return f"{order_id} was paid."


@pytest.fixture
def till() -> Till:
    return Till()


@pytest.fixture
def gate(console: Console, clock: MovableClock) -> Iterator[Gate]:
    with Gate(console.url, console.agent_key(), attempts=2, clock=lambda: clock().timestamp()) as gate:
        yield gate


async def decide(console: Console, *decisions: Decision) -> None:
    for decision in decisions:
        item = console.desk.claim(console.person)
        while item is None:
            await asyncio.sleep(0.01)
            item = console.desk.claim(console.person)
        console.desk.decide(item.id, decision, console.person, seen=Seen.of(item))


def proxied(till: Till, gate: Gate, use: Callable[[Client], Awaitable[T]], **settings: Any) -> T:  # noqa: ANN401 -- any of guarded_server's
    async def within() -> T:
        async with Client(till.server) as behind, Client(guarded_server(behind, gate, **settings)) as client:
            return await use(client)

    return asyncio.run(asyncio.wait_for(within(), PATIENCE_SECONDS))


def asked(gate: Gate, use: Callable[[Client], Awaitable[T]]) -> T:
    async def within() -> T:
        async with Client(approval_server(gate)) as client:
            return await use(client)

    return asyncio.run(asyncio.wait_for(within(), PATIENCE_SECONDS))


def text(result: CallToolResult) -> str:
    return "".join(part.text for part in result.content if isinstance(part, TextContent))


def items(gate: Gate) -> tuple[ActionStatus, ...]:
    return gate.client.send(gate.client.items()).items


def edited(**args: str) -> Edit:
    return Edit(edited_action=Action(name="refund", args={**CALL, **args}))


def test_a_proxy_shows_the_tools_of_the_server_behind_it(till: Till, gate: Gate) -> None:
    async def listed(client: Client) -> dict[str, Any]:
        return {tool.name: tool.input_schema for tool in (await client.list_tools()).tools}

    async def behind() -> dict[str, Any]:
        async with Client(till.server) as client:
            return await listed(client)

    assert proxied(till, gate, listed) == asyncio.run(behind())


@pytest.mark.parametrize(
    ("decision", "ran", "told"),
    [
        (Approve(), [CALL], ("Refunded 49.00 on R-1042.", False)),
        (edited(amount="10.00"), [{**CALL, "amount": "10.00"}], ("Refunded 10.00 on R-1042.", False)),
        (Reject(message="Never paid."), [], ("Never paid.", True)),
        (Respond(message="It was refunded yesterday."), [], ("It was refunded yesterday.", False)),
    ],
)
def test_a_call_through_the_proxy_runs_as_it_was_decided(
    console: Console, till: Till, gate: Gate, decision: Decision, ran: list[dict[str, str]], told: tuple[str, bool]
) -> None:
    async def call(client: Client) -> CallToolResult:
        result, _ = await asyncio.gather(client.call_tool("refund", CALL), decide(console, decision))
        return result

    result = proxied(till, gate, call, confidence=0.3)

    assert told[0] in text(result)
    assert result.is_error is told[1]
    assert till.runs == ran
    request = console.desk.whole(console.person, items(gate)[0].id).item.request
    assert (request.action.args, request.confidence, request.description) == (CALL, 0.3, "Refund an order.")
    assert items(gate)[0].execution is (Execution.SUCCEEDED if ran else Execution.NONE)


def test_a_tool_that_is_not_named_is_passed_on(till: Till, gate: Gate) -> None:
    result = proxied(till, gate, lambda client: client.call_tool("look_up", {"order_id": "R-1042"}), tools=["refund"])

    assert text(result) == "R-1042 was paid."
    assert items(gate) == ()


def test_a_tool_that_does_not_exist_reaches_nobody(till: Till, gate: Gate) -> None:
    result = proxied(till, gate, lambda client: client.call_tool("burn", {}))

    assert result.is_error
    assert items(gate) == ()


def test_an_error_of_the_server_behind_is_reported_as_a_failure(console: Console, till: Till, gate: Gate) -> None:
    async def call(client: Client) -> CallToolResult:
        args = {**CALL, "order_id": "R-0"}
        result, _ = await asyncio.gather(client.call_tool("refund", args), decide(console, Approve()))
        return result

    result = proxied(till, gate, call)

    assert result.is_error
    assert items(gate)[0].execution is Execution.FAILED


def test_a_call_whose_answer_is_lost_is_unknown(console: Console, till: Till, gate: Gate) -> None:
    async def lost() -> CallToolResult:
        async with (
            Client(till.server, read_timeout_seconds=2.0) as behind,
            Client(guarded_server(behind, gate)) as client,
        ):
            result, _ = await asyncio.gather(client.call_tool("dawdle", {}), decide(console, Approve()))
            return result

    result = asyncio.run(asyncio.wait_for(lost(), PATIENCE_SECONDS))

    assert result.is_error
    assert "is not known" in text(result)
    assert items(gate)[0].execution is Execution.UNKNOWN


def test_a_caller_that_comes_back_with_its_call_id_does_not_run_it_twice(
    console: Console, till: Till, gate: Gate
) -> None:
    async def twice(client: Client) -> list[CallToolResult]:
        meta: Any = {"signoff/call_id": "call_1"}  # An open map, which the SDK's type does not say.
        first, _ = await asyncio.gather(client.call_tool("refund", CALL, meta=meta), decide(console, Approve()))
        return [first, await client.call_tool("refund", CALL, meta=meta)]

    first, second = proxied(till, gate, twice)

    assert (first.is_error, second.is_error) == (False, True)
    assert "was used before" in text(second)
    assert till.runs == [CALL]
    assert len(items(gate)) == 1


def test_calls_without_an_id_are_calls_of_their_own(till: Till, gate: Gate) -> None:
    async def twice(client: Client) -> None:
        await client.call_tool("refund", CALL)
        await client.call_tool("refund", CALL)

    proxied(till, gate, twice, timeout=0.1)

    assert [item.status for item in items(gate)] == [Status.CANCELLED, Status.CANCELLED]
    assert till.runs == []


def test_nothing_is_passed_on_while_the_console_is_away(till: Till) -> None:
    with Gate("http://127.0.0.1:9", "sgn_test_key", attempts=1) as away:
        result = proxied(till, away, lambda client: client.call_tool("refund", CALL))

    assert result.is_error
    assert "was not run" in text(result)
    assert till.runs == []


REQUEST = {"action": "refund", "args": CALL, "call_id": "call_1", "rationale": "They asked.", "confidence": 0.6}


async def requested(client: Client, **changes: object) -> str:
    answer = await client.call_tool("request_approval", {**REQUEST, **changes})
    assert not answer.is_error, text(answer)
    return str(answer.structured_content["id"])


async def checked(client: Client, item_id: str, wait: float = 20.0) -> Any:  # noqa: ANN401 -- JSON
    answer = await client.call_tool("check_approval", {"id": item_id, "wait": wait})
    assert not answer.is_error, text(answer)
    return answer.structured_content


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        (Approve(), ("approved", CALL)),
        (edited(amount="10.00"), ("approved", {**CALL, "amount": "10.00"})),
        (Reject(message="Never paid."), ("refused", None)),
        (Respond(message="It was refunded yesterday."), ("answered", None)),
    ],
)
def test_an_agent_that_asks_is_told_what_was_decided(
    console: Console, gate: Gate, decision: Decision, expected: tuple[str, dict[str, str] | None]
) -> None:
    async def ask(client: Client) -> Any:  # noqa: ANN401 -- JSON
        answer, _ = await asyncio.gather(checked(client, await requested(client)), decide(console, decision))
        return answer

    answer = asked(gate, ask)

    assert (answer["status"], answer.get("args")) == expected
    request = console.desk.whole(console.person, items(gate)[0].id).item.request
    assert (request.rationale, request.confidence, request.confidence_source) == (
        "They asked.",
        0.6,
        "stated by the model itself",
    )


def test_an_approval_is_handed_out_once_and_its_outcome_is_kept(console: Console, gate: Gate) -> None:
    async def ask(client: Client) -> tuple[CallToolResult, CallToolResult]:
        item_id = await requested(client)
        await asyncio.gather(checked(client, item_id), decide(console, Approve()))
        again = await client.call_tool("check_approval", {"id": item_id})
        done = {"id": item_id, "status": "succeeded", "text": "Refunded."}
        return again, await client.call_tool("report_outcome", done)

    again, reported = asked(gate, ask)

    assert again.is_error
    assert "was used before" in text(again)
    assert reported.structured_content["status"] == "succeeded"
    assert items(gate)[0].execution is Execution.SUCCEEDED


def test_an_agent_that_asks_again_with_its_call_id_asks_for_the_same(console: Console, gate: Gate) -> None:
    async def first(client: Client) -> str:
        item_id = await requested(client)
        assert (await checked(client, item_id, wait=0.1))["status"] == "waiting"
        return item_id

    async def after_a_restart(client: Client) -> tuple[CallToolResult, str, Any]:
        unknown = await client.call_tool("check_approval", {"id": item_id})
        again = await requested(client)
        await decide(console, Approve())
        return unknown, again, await checked(client, again)

    item_id = asked(gate, first)
    unknown, again, answer = asked(gate, after_a_restart)

    assert "request_approval again" in text(unknown)
    assert (again, answer["status"]) == (item_id, "approved")
    assert len(items(gate)) == 1


@pytest.mark.parametrize("changes", [{"args": {"amount": 2**60}}, {"action": "no such/name!"}, {"confidence": "high"}])
def test_a_request_that_cannot_be_filed_is_told_to_the_model(gate: Gate, changes: dict[str, object]) -> None:
    result = asked(gate, lambda client: client.call_tool("request_approval", {**REQUEST, **changes}))

    assert result.is_error
    assert items(gate) == ()


BEHIND = """
import os
from mcp.server.mcpserver import MCPServer
server = MCPServer("till")
@server.tool()
def refund(order_id: str, amount: str) -> str:
    return f"Refunded {amount} on {order_id}, {os.environ.get('SIGNOFF_KEY')}."
server.run("stdio")
"""


def test_the_command_stands_before_the_server_that_it_starts(console: Console) -> None:
    key = console.agent_key()
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "agents.mcp", "proxy", "--tool", "refund", "--", sys.executable, "-c", BEHIND],
        env={**os.environ, "SIGNOFF_URL": console.url, "SIGNOFF_KEY": key},
        cwd=CHECKOUT,
    )

    async def call() -> CallToolResult:
        async with Client(parameters) as client:
            result, _ = await asyncio.gather(client.call_tool("refund", CALL), decide(console, Reject(message="No.")))
            return result

    result = asyncio.run(asyncio.wait_for(call(), 2 * PATIENCE_SECONDS))

    assert result.is_error
    assert "The reviewer says: No." in text(result)


def test_the_command_asks_for_the_console_and_the_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SIGNOFF_URL", raising=False)

    with pytest.raises(SystemExit):
        main(["approvals"])

    assert "SIGNOFF_URL" in capsys.readouterr().err
