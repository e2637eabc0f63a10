"""Guarded LangChain tools and a running console: what was decided runs, exactly so, once, or not at all."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import pytest
from langchain.agents import AgentState, create_agent
from langchain.tools import InjectedState, ToolRuntime
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import (
    BaseTool,
    InjectedToolArg,
    InjectedToolCallId,
    StructuredTool,
    Tool,
    ToolException,
    tool,
)
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import interrupt
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from agents import (
    AlreadyConsumedError,
    Breaker,
    Card,
    CardField,
    EditRefusedError,
    Format,
    Gate,
    GateError,
    KeySetError,
    ReceiptTimeError,
    RequestInvalidError,
    RunPlan,
    ServerAwayError,
    ServerRefusedError,
    StoppedInsideError,
)
from agents.cards import KEYWORD
from agents.gate import told_of_closed
from agents.langchain import args_schema_of
from agents.protocol import (
    Action,
    ActionStatus,
    Approve,
    Args,
    Decision,
    Edit,
    Execution,
    Reject,
    Respond,
    Route,
    Status,
)
from review.desk import Seen
from review.items import ReviewItem
from review.policy import Autonomy, PolicyDocument, Rule, ToolRule
from tests.clock import MovableClock
from tests.console import Console
from tests.outside import a_port
from tests.waiting import PATIENCE_SECONDS, eventually

AGENT = "shopper"


class Till:
    """What the tools of these tests do: they write down what they were called with."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []

    def tool(self) -> BaseTool:
        def refund(order_id: str, amount: str, notify: bool = True) -> str:  # noqa: FBT001, FBT002 -- as a model calls it
            """Refund an order."""
            self.runs.append({"order_id": order_id, "amount": amount, "notify": notify})
            return f"Refunded {amount} on {order_id}."

        return StructuredTool.from_function(refund)


@pytest.fixture
def till() -> Till:
    return Till()


@pytest.fixture
def gate(console: Console, clock: MovableClock) -> Iterator[Gate]:
    with a_gate(console, clock) as gate:
        yield gate


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    """Threads for the agents that wait while the test reviews."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        yield pool


def a_gate(console: Console, clock: MovableClock, **settings: Any) -> Gate:  # noqa: ANN401 -- any of the gate's
    usual = {"timeout": PATIENCE_SECONDS, "clock": lambda: clock().timestamp()}
    return Gate(console.url, console.agent_key(AGENT), **{**usual, **settings})


CALL = {"order_id": "R-1042", "amount": "49.00"}
ASKED: dict[str, Any] = {"messages": [HumanMessage("Refund it.")]}
THREAD: RunnableConfig = {"configurable": {"thread_id": "thread-1"}}
TOOL_CALL = {"type": "tool_call", "name": "refund", "args": CALL, "id": "call_1"}


def claimed(console: Console) -> ReviewItem:
    """Return the next item, once there is one."""
    pause = threading.Event()
    for _ in range(int(PATIENCE_SECONDS / 0.01)):
        item = console.desk.claim(console.person)
        if item is not None:
            return item
        pause.wait(0.01)
    pytest.fail("nothing came to the desk")


def decide(console: Console, decision: Decision) -> ReviewItem:
    item = claimed(console)
    return console.desk.decide(item.id, decision, console.person, seen=Seen.of(item))


def edited(**args: Any) -> Edit:  # noqa: ANN401 -- JSON values
    return Edit(edited_action=Action(name="refund", args={"notify": True, **CALL, **args}))


def words_of(error: ToolException) -> str:
    return str(error)


def items(gate: Gate) -> tuple[ActionStatus, ...]:
    return gate.client.send(gate.client.items()).items


def outcome(console: Console, gate: Gate) -> tuple[Execution, Any]:
    item = items(gate)[0]
    whole = console.desk.whole(console.person, item.id).item
    return whole.execution, whole.outcome.result if whole.outcome else None


def let_run(console: Console, *tools: str) -> None:
    rules = tuple(ToolRule(agent=AGENT, tool=name, autonomy=Autonomy.AUTONOMOUS) for name in tools)
    console.save_policy(PolicyDocument(tools=rules, audit_rate=0.0))


def result(future: "Future[Any]") -> Any:  # noqa: ANN401 -- whatever the tool returns
    return future.result(timeout=PATIENCE_SECONDS)


def test_a_guarded_tool_looks_like_the_tool_it_guards(gate: Gate, till: Till) -> None:
    plain = till.tool()

    guarded = gate.guard(plain)

    assert (guarded.name, guarded.description, guarded.args) == (plain.name, plain.description, plain.args)
    assert guarded.args_schema is plain.args_schema
    assert guarded.tool_call_schema.model_json_schema() == plain.tool_call_schema.model_json_schema()  # type: ignore[union-attr]  # a model, made from a function


def test_an_approved_call_runs_once_and_returns_the_tools_result(
    console: Console, gate: Gate, till: Till, beside: ThreadPoolExecutor
) -> None:
    answer = beside.submit(gate.guard(till.tool(), confidence=0.4).invoke, CALL)

    decided = decide(console, Approve())

    assert result(answer) == "Refunded 49.00 on R-1042."
    assert till.runs == [{**CALL, "notify": True}]
    assert decided.request.action.args == {**CALL, "notify": True}
    assert decided.request.confidence == 0.4
    assert outcome(console, gate) == (Execution.SUCCEEDED, "Refunded 49.00 on R-1042.")


def test_an_edited_call_runs_as_it_was_edited(
    console: Console, gate: Gate, till: Till, beside: ThreadPoolExecutor
) -> None:
    answer = beside.submit(gate.guard(till.tool()).invoke, CALL)

    decide(console, edited(amount="10.00", notify=False))

    assert result(answer) == "Refunded 10.00 on R-1042."
    assert till.runs == [{"order_id": "R-1042", "amount": "10.00", "notify": False}]


def test_a_rejection_comes_back_in_words_and_nothing_runs(
    console: Console, gate: Gate, till: Till, beside: ThreadPoolExecutor
) -> None:
    answer = beside.submit(gate.guard(till.tool()).invoke, TOOL_CALL)

    decide(console, Reject(message="That order was never paid."))

    message = result(answer)
    assert isinstance(message, ToolMessage)
    assert (message.status, message.tool_call_id, message.name) == ("error", "call_1", "refund")
    assert "That order was never paid." in message.content
    assert till.runs == []
    assert outcome(console, gate) == (Execution.NONE, None)


def test_an_answer_stands_in_for_the_result_and_nothing_runs(
    console: Console, gate: Gate, till: Till, beside: ThreadPoolExecutor
) -> None:
    answer = beside.submit(gate.guard(till.tool()).invoke, TOOL_CALL)

    decide(console, Respond(message="It was refunded yesterday."))

    message = result(answer)
    assert (message.status, message.tool_call_id) == ("success", "call_1")
    assert "It was refunded yesterday." in message.content
    assert till.runs == []


def test_the_same_holds_without_blocking_the_event_loop(console: Console, gate: Gate, till: Till) -> None:
    guarded = gate.guard(till.tool())

    async def agent() -> list[Any]:
        calls = [guarded.ainvoke({**CALL, "order_id": f"R-{number}"}) for number in range(4)]
        desk = asyncio.to_thread(lambda: [decide(console, Approve()) for _ in range(4)])
        *results, _ = await asyncio.wait_for(asyncio.gather(*calls, desk), PATIENCE_SECONDS)
        return results

    results = asyncio.run(agent())

    assert results == [f"Refunded 49.00 on R-{number}." for number in range(4)]
    assert sorted(run["order_id"] for run in till.runs) == ["R-0", "R-1", "R-2", "R-3"]


def test_an_async_call_runs_as_it_was_edited_or_not_at_all(console: Console, gate: Gate, till: Till) -> None:
    async def agent(decision: Decision) -> Any:  # noqa: ANN401 -- whatever the tool returns
        call = gate.arun(till.tool(), CALL, confidence=0.2)
        answer, _ = await asyncio.gather(call, asyncio.to_thread(decide, console, decision))
        return answer

    first = asyncio.run(agent(edited(amount="10.00")))
    second = asyncio.run(agent(Reject(message="No more.")))

    assert first == "Refunded 10.00 on R-1042."
    assert "No more." in second
    assert [run["amount"] for run in till.runs] == ["10.00"]


def test_a_slow_confidence_does_not_hold_up_the_event_loop(console: Console, gate: Gate, till: Till) -> None:
    let_run(console, "refund")

    async def agent() -> str:
        loop, moved = asyncio.get_running_loop(), threading.Event()

        def confidence(_: Args) -> float:
            loop.call_soon_threadsafe(moved.set)
            return 0.99 if moved.wait(PATIENCE_SECONDS) else 0.98

        return str(await gate.guard(till.tool(), confidence=confidence).ainvoke(dict(CALL)))

    asyncio.run(agent())

    assert console.desk.whole(console.person, items(gate)[0].id).item.request.confidence == 0.99


def test_a_tool_with_a_coroutine_is_awaited(console: Console, gate: Gate) -> None:
    let_run(console, "greet")

    @tool
    async def greet(name: str) -> str:
        """Greet a client."""
        await asyncio.sleep(0)
        return f"Good evening, {name}."

    assert asyncio.run(gate.guard(greet).ainvoke({"name": "Inès"})) == "Good evening, Inès."


def test_an_item_that_expires_is_told_and_nothing_runs(
    console: Console, gate: Gate, till: Till, clock: MovableClock, beside: ThreadPoolExecutor
) -> None:
    answer = beside.submit(gate.guard(till.tool(), expires_in=60).invoke, CALL)
    item = claimed(console)
    console.desk.release(console.person, item.id, epoch=item.epoch)

    clock.advance(timedelta(seconds=61))
    console.intake.sweep()

    assert "before it expired" in result(answer)
    assert till.runs == []
    assert items(gate)[0].status is Status.EXPIRED


def test_a_call_that_nobody_decides_in_time_is_withdrawn(console: Console, gate: Gate, till: Till) -> None:
    answer = gate.guard(till.tool(), timeout=0.3).invoke(CALL)

    assert "withdrawn" in answer
    assert till.runs == []
    assert items(gate)[0].status is Status.CANCELLED
    assert console.desk.claim(console.person) is None


def test_what_the_policy_denies_is_told_with_its_reason(console: Console, gate: Gate, till: Till) -> None:
    rule = Rule(name="cap", when="true", route=Route.DENY, reason="Refunds are closed today.")
    console.save_policy(PolicyDocument(rules=(rule,)))

    answer = gate.run(till.tool(), CALL)

    assert "Refunds are closed today." in answer
    assert till.runs == []


def test_what_the_policy_lets_run_waits_for_nobody(console: Console, gate: Gate, till: Till) -> None:
    let_run(console, "refund")

    answer = gate.run(till.tool(), CALL, confidence=0.99)

    assert answer == "Refunded 49.00 on R-1042."
    assert till.runs == [{**CALL, "notify": True}]


def test_nothing_runs_while_the_console_is_away(till: Till) -> None:
    with a_port() as port, Gate(f"http://127.0.0.1:{port}", "sgn_test_key", attempts=2) as gate:
        with pytest.raises(ServerAwayError):
            gate.run(till.tool(), CALL)
        with pytest.raises(ServerAwayError):
            asyncio.run(gate.arun(till.tool(), CALL))

    assert till.runs == []


def test_nothing_runs_with_a_key_that_the_console_refuses(console: Console, till: Till) -> None:
    with Gate(console.url, "sgn_unknown_key") as gate, pytest.raises(ServerRefusedError) as refused:
        gate.run(till.tool(), CALL)

    assert refused.value.code == "key_refused"
    assert till.runs == []


def test_nothing_runs_where_the_consoles_key_is_not_the_pinned_one(
    console: Console, clock: MovableClock, till: Till
) -> None:
    let_run(console, "refund")
    trusted = ["47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"]

    with a_gate(console, clock, trusted_keys=trusted) as gate, pytest.raises(KeySetError):
        gate.run(till.tool(), CALL)

    assert till.runs == []


def test_the_pinned_thumbprint_of_the_consoles_key_opens_the_gate(
    console: Console, clock: MovableClock, till: Till
) -> None:
    let_run(console, "refund")
    trusted = [console.signing_key.thumbprint()]

    with a_gate(console, clock, trusted_keys=trusted, agent=AGENT) as gate:
        gate.run(till.tool(), CALL)

    assert len(till.runs) == 1


def test_of_many_runs_of_the_same_call_one_executes(
    console: Console, clock: MovableClock, till: Till, beside: ThreadPoolExecutor
) -> None:
    let_run(console, "refund")
    plain, together = till.tool(), threading.Barrier(8)

    def agent() -> str | GateError:
        with a_gate(console, clock) as gate:
            together.wait(PATIENCE_SECONDS)
            try:
                return str(gate.run(plain, CALL, idempotency_key="refund-of-R-1042"))
            except AlreadyConsumedError as error:
                return error

    answers = [result(future) for future in [beside.submit(agent) for _ in range(8)]]

    assert len(till.runs) == 1
    assert [answer for answer in answers if isinstance(answer, str)] == ["Refunded 49.00 on R-1042."]


def test_an_error_of_the_tool_is_raised_on_and_reported(console: Console, gate: Gate) -> None:
    let_run(console, "broken")

    @tool
    def broken(order_id: str) -> str:
        """Fail."""
        raise ToolException(order_id)

    with pytest.raises(ToolException, match="R-1042"):
        gate.run(broken, {"order_id": "R-1042"})

    assert items(gate)[0].execution is Execution.FAILED


def test_an_error_that_the_tool_handles_itself_is_reported_as_failed(console: Console, gate: Gate) -> None:
    let_run(console, "broken")

    def fail(order_id: str) -> str:
        raise ToolException(order_id)

    broken = StructuredTool.from_function(fail, name="broken", description="Fail.", handle_tool_error=True)
    message = gate.run(broken, {"type": "tool_call", "name": "broken", "args": {"order_id": "R-1042"}, "id": "call_1"})

    assert (message.content, message.status) == ("R-1042", "error")
    assert items(gate)[0].execution is Execution.FAILED


@pytest.mark.parametrize("tool_call_id", [None, "call_1"])
@pytest.mark.parametrize("handler", [True, "It failed.", words_of], ids=["its words", "a text", "a function"])
def test_an_error_that_the_tool_handles_itself_counts_as_its_failure(
    console: Console,
    gate: Gate,
    handler: Literal[True] | str | Callable[[ToolException], str],
    tool_call_id: str | None,
) -> None:
    let_run(console, "broken")
    runs: list[str] = []

    def fail(order_id: str) -> str:
        runs.append(order_id)
        raise ToolException(order_id)

    broken = StructuredTool.from_function(fail, name="broken", description="Fail.", handle_tool_error=handler)
    plan = RunPlan(breaker=Breaker(failures=2), attempts=2, idempotent=True, passing=(ToolException,), pause=0.01)
    call: dict[str, Any] = {"order_id": "R-1042"}
    if tool_call_id is not None:
        call = {"type": "tool_call", "name": "broken", "args": call, "id": tool_call_id}
    told = [gate.run(broken, call, plan=plan) for _ in range(3)]

    words = "It failed." if handler == "It failed." else "R-1042"
    texts = [getattr(each, "content", each) for each in told]
    assert texts[:2] == [words, words]
    assert "out of order" in texts[2]
    assert runs == ["R-1042"] * 4
    assert [item.execution for item in items(gate)] == [Execution.FAILED] * 2


def test_an_interrupted_run_is_reported_as_unknown(console: Console, gate: Gate) -> None:
    let_run(console, "slow")

    @tool
    def slow(order_id: str) -> str:
        """Be interrupted."""
        raise KeyboardInterrupt(order_id)

    with pytest.raises(KeyboardInterrupt):
        gate.run(slow, {"order_id": "R-1042"})

    assert eventually(lambda: items(gate)[0].execution is Execution.UNKNOWN)


def test_a_cancelled_run_is_reported_as_unknown(console: Console, gate: Gate) -> None:
    let_run(console, "slow")
    begun = threading.Event()

    @tool
    async def slow(order_id: str) -> str:
        """Wait for something that never comes."""
        begun.set()
        await asyncio.Event().wait()
        return order_id

    async def agent() -> None:
        call = asyncio.create_task(gate.arun(slow, {"order_id": "R-1042"}))
        await asyncio.to_thread(begun.wait, PATIENCE_SECONDS)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(agent())

    assert eventually(lambda: items(gate)[0].execution is Execution.UNKNOWN)


def test_bad_arguments_are_the_models_to_mend_before_anybody_is_asked(gate: Gate, till: Till) -> None:
    with pytest.raises(ValidationError):
        gate.run(till.tool(), {"order_id": "R-1042"})

    assert items(gate) == ()


@pytest.mark.parametrize("args", [{**CALL, "order_id": "\ud800"}, {**CALL, "amount": "9" * 300_000}])
def test_arguments_that_cannot_be_sent_stop_the_call(gate: Gate, till: Till, args: Args) -> None:
    with pytest.raises((RequestInvalidError, ValidationError)):
        gate.run(till.tool(), dict(args))

    assert (items(gate), till.runs) == ((), [])


class Even(BaseModel):
    """Arguments with a rule that their JSON Schema cannot say."""

    amount: str

    @field_validator("amount")
    @classmethod
    def _is_even(cls, amount: str) -> str:
        assert int(amount) % 2 == 0, "only even amounts"
        return amount


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({"amount": "3"}, "only even amounts"),
        ({"amount": "4", "to": "somebody else"}, "no argument to"),
        ({"amount": "4", "account": "somebody's"}, "only the program sets"),
    ],
)
def test_an_edit_that_the_tool_cannot_run_is_not_consumed(
    console: Console, gate: Gate, beside: ThreadPoolExecutor, args: Args, why: str
) -> None:
    runs: list[str] = []

    class Payment(Even):
        account: Annotated[str, InjectedToolArg]

    def pay(amount: str, account: Annotated[str, InjectedToolArg]) -> str:
        runs.append(f"{amount} from {account}")
        return runs[-1]

    plain = StructuredTool.from_function(pay, description="Pay.", args_schema=Payment)
    answer = beside.submit(gate.guard(plain).invoke, {"amount": "2", "account": "ours"})

    decided = decide(console, Edit(edited_action=Action(name="pay", args=args)))

    with pytest.raises(EditRefusedError, match=why):
        result(answer)
    assert runs == []
    assert decided.request.action.args == {"amount": "2"}
    assert items(gate)[0].execution is Execution.PERMITTED


def test_injected_arguments_are_passed_on_and_never_submitted(console: Console, gate: Gate) -> None:
    let_run(console, "pay")

    @tool
    def pay(
        amount: str,
        account: Annotated[str, InjectedToolArg],
        call_id: Annotated[str, InjectedToolCallId],
        config: RunnableConfig,
    ) -> str:
        """Pay."""
        return f"{amount} from {account} by {call_id} for {config['configurable']['user']}"

    call = {"type": "tool_call", "name": "pay", "args": {"amount": "2", "account": "ours"}, "id": "call_1"}
    message = gate.run(pay, call, {"configurable": {"user": "Inès"}})

    assert message.content == "2 from ours by call_1 for Inès"
    assert submitted(console, gate) == {"amount": "2"}


def submitted(console: Console, gate: Gate) -> Args:
    return console.desk.whole(console.person, items(gate)[0].id).item.request.action.args


def test_an_argument_that_is_named_like_langchains_own_machinery_is_submitted(console: Console, gate: Gate) -> None:
    let_run(console, "call_back")
    schema = {"type": "object", "properties": {"callbacks": {"type": "string"}}, "required": ["callbacks"]}

    def call_back(**args: str) -> str:
        return args["callbacks"]

    plain = StructuredTool.from_function(call_back, description="Call back.", args_schema=schema)

    assert gate.run(plain, {"callbacks": "at noon"}) == "at noon"
    assert submitted(console, gate) == {"callbacks": "at noon"}


def test_a_tool_with_content_and_artifact_keeps_both(console: Console, gate: Gate, beside: ThreadPoolExecutor) -> None:
    @tool(response_format="content_and_artifact")
    def look(client_id: str) -> tuple[str, dict[str, str]]:
        """Look a client up."""
        return f"Found {client_id}.", {"id": client_id}

    call = {"type": "tool_call", "name": "look", "args": {"client_id": "C-101"}, "id": "call_1"}
    found = beside.submit(gate.guard(look).invoke, call)
    decide(console, Approve())
    refused = beside.submit(gate.guard(look).invoke, call)
    decide(console, Reject(message="Not this client."))

    assert (result(found).content, result(found).artifact) == ("Found C-101.", {"id": "C-101"})
    assert result(refused).artifact is None
    assert "Not this client." in result(refused).content


def test_a_tool_of_one_text_takes_it_as_it_comes(console: Console, gate: Gate) -> None:
    let_run(console, "shout")
    plain = Tool(name="shout", func=str.upper, description="Shout.")

    guarded = gate.guard(plain)

    assert guarded.invoke("good evening") == "GOOD EVENING"
    assert guarded.args == plain.args
    assert submitted(console, gate) == {"tool_input": "good evening"}


def test_a_tool_that_is_a_class_of_its_own_is_guarded_too(console: Console, gate: Gate) -> None:
    let_run(console, "add")

    class Add(BaseTool):
        name: str = "add"
        description: str = "Add."

        def _run(self, first: int, second: int = 1) -> int:
            return first + second

    guarded = gate.guard(Add())

    assert guarded.invoke({"first": 2}) == 3
    assert set(guarded.args) == {"first", "second"}


def test_the_inner_doors_of_a_guarded_tool_lead_through_the_gate(gate: Gate, till: Till) -> None:
    guarded = gate.guard(till.tool(), timeout=0.2)

    answers = [guarded._run(**CALL), guarded.func(**CALL)]  # type: ignore[attr-defined]  # noqa: SLF001 -- that is the point

    assert all("withdrawn" in answer for answer in answers)
    assert till.runs == []
    assert len(items(gate)) == 2


class Line(BaseModel):
    """One line of an order, which goes by another name in JSON."""

    piece: str = Field(alias="pieceCode")
    count: int = 1


class Order(BaseModel):
    """Arguments that may be given under two names, or left to a default."""

    model_config = ConfigDict(populate_by_name=True)
    order_id: str = Field(alias="orderId")
    lines: list[Line] = Field(default_factory=list)
    attempt: str = Field(default_factory=lambda: str(uuid4()))


class Aliased(BaseModel):
    """Arguments that are taken under their aliases alone."""

    order_id: str = Field(validation_alias=AliasChoices("orderId", AliasPath("ids", 0)))  # type: ignore[pydantic-alias]  # what is tested


class Told(BaseModel):
    """Arguments of which a validator makes others."""

    amount: str

    @model_validator(mode="before")
    @classmethod
    def _from_cents(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {**given, "amount": str(int(given["cents"]) / 100)} if "cents" in given else given


class Open(BaseModel):
    """Arguments that take whatever is given."""

    model_config = ConfigDict(extra="allow")
    order_id: str


@pytest.mark.parametrize(
    ("schema", "given", "shown"),
    [
        (Order, {"orderId": "R-1"}, {"order_id": "R-1", "lines": []}),
        (Order, {"order_id": "R-1"}, {"order_id": "R-1", "lines": []}),
        (Order, {"orderId": "R-1", "order_id": "R-2"}, {"order_id": "R-1", "lines": []}),
        (Order, {"order_id": "R-1", "dry_run": True}, {"order_id": "R-1", "lines": []}),
        (
            Order,
            {"order_id": "R-1", "lines": [{"pieceCode": "LB", "piece": "XX", "dry_run": True}]},
            {"order_id": "R-1", "lines": [{"pieceCode": "LB"}]},
        ),
        (Aliased, {"orderId": "R-1", "order_id": "R-2"}, {"orderId": "R-1"}),
        (Told, {"cents": 4900}, {"cents": 4900, "amount": "49.0"}),
        (Open, {"order_id": "R-1", "reason": "late"}, {"order_id": "R-1", "reason": "late"}),
    ],
)
def test_a_reviewer_is_shown_what_the_tool_would_take_and_nothing_else(
    console: Console, gate: Gate, schema: type[BaseModel], given: Args, shown: Args
) -> None:
    let_run(console, "order")
    runs: list[dict[str, Any]] = []
    plain = StructuredTool.from_function(
        lambda **args: runs.append(args), name="order", description="Order.", args_schema=schema
    )
    plain.invoke(dict(given))

    gate.guard(plain).invoke(dict(given))

    assert submitted(console, gate) == shown
    unguarded, guarded = ({name: value for name, value in run.items() if name != "attempt"} for run in runs)
    assert guarded == unguarded


def test_arguments_that_go_by_an_alias_alone_are_described_by_it(gate: Gate) -> None:
    plain = StructuredTool.from_function(lambda order_id: order_id, name="o", description="O.", args_schema=Aliased)

    schema = args_schema_of(gate.guard(plain)) or {}

    assert (list(schema["properties"]), schema["required"]) == (["orderId"], ["orderId"])


def test_a_call_with_a_default_that_is_another_each_time_is_the_same_request_after_a_restart(
    console: Console, gate: Gate
) -> None:
    let_run(console, "order")
    plain = StructuredTool.from_function(
        lambda **args: str(args["order_id"]), name="order", description="Order.", args_schema=Order
    )
    call = {"type": "tool_call", "name": "order", "args": {"order_id": "R-1"}, "id": "call_1"}

    first, again = (gate.run(plain, dict(call), THREAD) for _ in range(2))

    assert first.content == "R-1"
    assert "was run before and succeeded" in again.content
    assert len(items(gate)) == 1


def test_a_tool_without_arguments_takes_a_text_as_ever(console: Console, gate: Gate) -> None:
    let_run(console, "close_up")

    @tool
    def close_up() -> str:
        """Close the shop."""
        return "Closed."

    assert gate.guard(close_up).invoke("") == "Closed."
    assert submitted(console, gate) == {}


def test_bad_arguments_are_told_as_the_tool_tells_them(gate: Gate, till: Till) -> None:
    plain = till.tool()
    plain.handle_validation_error = "Name the order and the amount."
    call = {"type": "tool_call", "name": "refund", "args": {}, "id": "call_1"}

    answers = [gate.run(plain, {}), asyncio.run(gate.arun(plain, call))]

    assert answers[0] == plain.handle_validation_error
    assert (answers[1].content, answers[1].status) == (plain.handle_validation_error, "error")
    assert items(gate) == ()


class Scripted(GenericFakeChatModel):
    """A model that says what the test wrote down."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> "Scripted":  # noqa: ANN401, ARG002 -- as BaseChatModel
        return self


def an_agent(
    tools: list[BaseTool],
    *messages: AIMessage,
    **settings: Any,  # noqa: ANN401 -- any of create_agent's
) -> "CompiledStateGraph[Any, Any, Any, Any]":
    return create_agent(Scripted(messages=iter(messages)), tools, **settings)


def calls(*args: dict[str, Any], name: str = "refund") -> AIMessage:
    listed = [{"name": name, "args": each, "id": f"call_{number}"} for number, each in enumerate(args)]
    return AIMessage("", tool_calls=listed)


def test_an_agent_goes_on_with_what_was_decided(
    console: Console, gate: Gate, till: Till, beside: ThreadPoolExecutor
) -> None:
    agent = an_agent([gate.guard(till.tool())], calls(CALL, {**CALL, "order_id": "R-2"}), AIMessage("Done."))
    answer = beside.submit(agent.invoke, {"messages": [HumanMessage("Refund both.")]})

    decisions: dict[str, Decision] = {"R-1042": edited(amount="10.00"), "R-2": Reject(message="Never paid.")}
    for _ in decisions:
        item = claimed(console)
        order = str(item.request.action.args["order_id"])
        console.desk.decide(item.id, decisions[order], console.person, seen=Seen.of(item))

    told = {message.tool_call_id: message for message in result(answer)["messages"] if isinstance(message, ToolMessage)}
    assert str(told["call_0"].content).endswith("Refunded 10.00 on R-1042.")
    assert "Do not make your own call again and do not undo the change." in told["call_0"].content
    assert "Never paid." in told["call_1"].content
    assert [run["amount"] for run in till.runs] == ["10.00"]


def test_an_agents_state_and_runtime_reach_the_tool_and_stay_out_of_the_request(console: Console, gate: Gate) -> None:
    let_run(console, "sign")

    class State(AgentState[Any]):
        client: str

    @tool
    def sign(text: str, client: Annotated[str, InjectedState("client")], runtime: ToolRuntime) -> str:
        """Sign a letter."""
        return f"{text}, {client} ({runtime.tool_call_id})"

    agent = an_agent([gate.guard(sign)], calls({"text": "Yours"}, name="sign"), AIMessage("Done."), state_schema=State)
    answer = agent.invoke({"messages": [HumanMessage("Sign.")], "client": "Inès"})

    assert answer["messages"][-2].content == "Yours, Inès (call_0)"
    assert submitted(console, gate) == {"text": "Yours"}


def test_an_async_agent_goes_on_with_what_was_decided(console: Console, gate: Gate, till: Till) -> None:
    agent = an_agent([gate.guard(till.tool())], calls(CALL), AIMessage("Done."))

    async def conversation() -> Any:  # noqa: ANN401 -- the agent's state
        answer, _ = await asyncio.gather(
            agent.ainvoke({"messages": [HumanMessage("Refund it.")]}),
            asyncio.to_thread(decide, console, Approve()),
        )
        return answer

    answer = asyncio.run(conversation())

    assert answer["messages"][-2].content == "Refunded 49.00 on R-1042."
    assert len(till.runs) == 1


def test_a_thread_that_is_resumed_after_a_crash_does_not_run_its_call_again(console: Console, gate: Gate) -> None:
    let_run(console, "refund")
    runs: list[str] = []

    @tool
    def refund(order_id: str) -> str:
        """Refund an order, and crash before anybody hears of it."""
        runs.append(order_id)
        raise OSError(order_id)

    agent = an_agent(
        [gate.guard(refund)], calls({"order_id": "R-1042"}), AIMessage("Done."), checkpointer=InMemorySaver()
    )
    with pytest.raises(OSError, match="R-1042"):
        agent.invoke(ASKED, THREAD)

    state = agent.invoke(None, THREAD)

    assert "was run before and failed" in state["messages"][-2].content
    assert state["messages"][-1].content == "Done."
    assert runs == ["R-1042"]
    assert len(items(gate)) == 1


@pytest.mark.parametrize(
    ("execution", "words"),
    [
        (Execution.STARTED, "nobody knows yet whether it took effect"),
        (Execution.UNKNOWN, "nobody knows yet whether it took effect"),
        (Execution.SUCCEEDED, "was run before and succeeded"),
        (Execution.FAILED, "was run before and failed"),
    ],
)
def test_a_model_is_told_how_far_a_lost_process_had_come(execution: Execution, words: str) -> None:
    answer = told_of_closed(AlreadyConsumedError(UUID(int=1), execution), "refund")

    assert words in answer.text
    assert answer.is_error


def test_an_edit_that_the_tool_cannot_run_does_not_end_the_thread(
    console: Console, gate: Gate, beside: ThreadPoolExecutor
) -> None:
    plain = StructuredTool.from_function(lambda amount: amount, name="pay", description="Pay.", args_schema=Even)
    agent = an_agent(
        [gate.guard(plain)], calls({"amount": "2"}, name="pay"), AIMessage("Done."), checkpointer=InMemorySaver()
    )
    answer = beside.submit(agent.invoke, ASKED, THREAD)

    decide(console, Edit(edited_action=Action(name="pay", args={"amount": "3"})))

    state = result(answer)
    assert "only even amounts" in state["messages"][-2].content
    assert state["messages"][-1].content == "Done."
    assert items(gate)[0].execution is Execution.PERMITTED


def test_a_permission_that_ran_out_does_not_end_the_thread(
    console: Console, gate: Gate, clock: MovableClock, till: Till
) -> None:
    let_run(console, "refund")
    memory = InMemorySaver()
    fast = Gate(console.url, console.agent_key(AGENT), clock=lambda: clock().timestamp() + 1e6)
    with fast, pytest.raises(ReceiptTimeError):
        an_agent([fast.guard(till.tool())], calls(CALL), checkpointer=memory).invoke(ASKED, THREAD)

    clock.advance(timedelta(days=2))
    state = an_agent([gate.guard(till.tool())], AIMessage("Done."), checkpointer=memory).invoke(None, THREAD)

    assert "the permission ran out" in state["messages"][-2].content
    assert state["messages"][-1].content == "Done."
    assert till.runs == []
    assert len(items(gate)) == 1


def test_a_tool_that_stops_for_an_interrupt_is_unknown_and_never_begun_again(console: Console, gate: Gate) -> None:
    let_run(console, "refund")
    begun: list[str] = []

    @tool
    def refund(order_id: str) -> str:
        """Refund an order, but ask first."""
        begun.append(order_id)
        return str(interrupt("Really?"))

    agent = an_agent(
        [gate.guard(refund)], calls({"order_id": "R-1042"}), AIMessage("Done."), checkpointer=InMemorySaver()
    )

    with pytest.raises(StoppedInsideError, match="guard the tools inside it"):
        agent.invoke(ASKED, THREAD)

    assert eventually(lambda: items(gate)[0].execution is Execution.UNKNOWN)
    assert "nobody knows yet" in agent.invoke(None, THREAD)["messages"][-2].content
    assert begun == ["R-1042"]


def test_the_same_call_in_a_later_step_of_a_thread_is_another_call(console: Console, gate: Gate, till: Till) -> None:
    let_run(console, "refund")
    agent = an_agent(
        [gate.guard(till.tool())], calls(CALL), calls(CALL), AIMessage("Done."), checkpointer=InMemorySaver()
    )

    agent.invoke({"messages": [HumanMessage("Refund it.")]}, {"configurable": {"thread_id": "thread-1"}})

    assert len(till.runs) == 2
    assert len(items(gate)) == 2


def test_the_request_tells_where_the_call_comes_from(console: Console, gate: Gate, till: Till) -> None:
    let_run(console, "refund")

    gate.run(till.tool(), TOOL_CALL, {"configurable": {"thread_id": "thread-1"}}, agent_version="2.1")

    request = console.desk.whole(console.person, items(gate)[0].id).item.request
    assert (request.run.framework, request.run.thread_id, request.run.tool_call_id) == (
        "langchain",
        "thread-1",
        "call_1",
    )
    assert request.agent_version == "2.1"
    assert request.description == "Refund an order."
    assert request.args_schema is not None
    assert set(request.args_schema["properties"]) == {"order_id", "amount", "notify"}  # type: ignore[arg-type]  # an object, by its schema


CARD = Card(headline="refund {amount}", fields=(CardField(at="amount", format=Format.MONEY, currency="EUR"),))


class Looking(BaseModel):
    model_config = ConfigDict(json_schema_extra=CARD.keyword())

    amount: str


def test_a_card_travels_in_the_schema_of_the_arguments(
    console: Console, gate: Gate, beside: ThreadPoolExecutor
) -> None:
    def refund(amount: str) -> str:
        """Refund."""
        return amount

    of_model = gate.guard(tool("of_model", args_schema=Looking)(refund))
    of_guard = gate.guard(tool("of_guard")(refund), card={"headline": "pay {amount}"})

    for each in (of_model, of_guard):
        beside.submit(each.invoke, {"amount": "1.00"})
    requests = [decide(console, Reject(message="No.")).request for _ in range(2)]

    schemas = {request.action.name: request.args_schema or {} for request in requests}
    assert schemas["of_model"][KEYWORD] == CARD.keyword()[KEYWORD]
    assert schemas["of_guard"][KEYWORD] == {"headline": "pay {amount}"}
    assert schemas["of_guard"]["properties"] == args_schema_of(of_guard)["properties"]  # type: ignore[index]  # it has one


def test_a_card_that_is_none_is_refused_where_it_is_written(gate: Gate) -> None:
    def refund(amount: str) -> str:
        """Refund."""
        return amount

    guarded = gate.guard(tool(refund), card={"fields": "all"})

    with pytest.raises(RequestInvalidError, match="fields"):
        guarded.invoke({"amount": "1.00"})
