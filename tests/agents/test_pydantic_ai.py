"""Guarded Pydantic AI toolsets and a running console: the real package, with a model that says what is written down."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pytest
from pydantic import SecretStr, TypeAdapter
from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, ModelMessagesTypeAdapter, ToolApproved
from pydantic_ai.capabilities import HandleDeferredToolCalls
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.run import AgentRunResult
from pydantic_ai.toolsets import FunctionToolset

from agents import (
    Gate,
    ReceiptError,
    RequestInvalidError,
    ServerAwayError,
    ServerRefusedError,
)
from agents.gate import Proposal, succeeded
from agents.protocol import (
    Action,
    ActionRequest,
    ActionStatus,
    Approve,
    Decision,
    Edit,
    Execution,
    Reject,
    Respond,
    Status,
)
from agents.pydantic_ai import GuardedToolset
from review.desk import Seen
from review.items import ReviewItem
from tests.clock import MovableClock
from tests.console import Console
from tests.outside import a_port
from tests.waiting import PATIENCE_SECONDS

CALL = {"order_id": "R-1042", "amount": "49.00", "on": "2026-11-22"}

Output = str | DeferredToolRequests
Shop = Agent[None, Output]
Result = AgentRunResult[Output]
Requests: TypeAdapter[DeferredToolRequests] = TypeAdapter(DeferredToolRequests)


class Till:
    """What the tool of these tests does: it writes down what it was called with."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []

    def refund(self, order_id: str, amount: str, on: date) -> str:
        """Refund an order."""
        self.runs.append({"order_id": order_id, "amount": amount, "on": on})
        return f"Refunded {amount} on {order_id}."


@pytest.fixture
def till() -> Till:
    return Till()


@pytest.fixture
def gate(console: Console, clock: MovableClock) -> Iterator[Gate]:
    with Gate(console.url, console.agent_key(), clock=lambda: clock().timestamp()) as gate:
        yield gate


def proposing(*calls: dict[str, Any], name: str = "refund") -> ModelResponse:
    return ModelResponse([ToolCallPart(name, args, tool_call_id=f"call_{at}") for at, args in enumerate(calls)])


def scripted(*responses: ModelResponse) -> FunctionModel:
    """Return a model that answers with these, one after the other, then says that it is done."""

    def answer(messages: list[ModelMessage], _info: AgentInfo) -> ModelResponse:
        said = sum(isinstance(message, ModelResponse) for message in messages)
        return responses[said] if said < len(responses) else ModelResponse([TextPart("Done.")])

    return FunctionModel(answer)


def a_shop(model: FunctionModel, guarded: GuardedToolset[None], **settings: Any) -> Shop:  # noqa: ANN401 -- any of Agent's
    return Agent(model, toolsets=[guarded], output_type=[str, DeferredToolRequests], **settings)


def guard(gate: Gate, till: Till, **settings: Any) -> GuardedToolset[None]:  # noqa: ANN401 -- any of the toolset's
    return GuardedToolset(FunctionToolset[None]([till.refund]), gate, **{"timeout": PATIENCE_SECONDS, **settings})


def put_off(shop: Shop) -> tuple[Result, DeferredToolRequests]:
    result = asyncio.run(shop.run("Refund R-1042, please."))
    assert isinstance(result.output, DeferredToolRequests)
    return result, result.output


def resumed(shop: Shop, result: Result, decided: DeferredToolResults) -> Result:
    return asyncio.run(shop.run(message_history=result.all_messages(), deferred_tool_results=decided))


def deciding(
    console: Console, guarded: GuardedToolset[None], requests: DeferredToolRequests, *decisions: Decision
) -> DeferredToolResults:
    async def both() -> DeferredToolResults:
        answers, _ = await asyncio.gather(guarded.decided(requests), asyncio.to_thread(decide, console, *decisions))
        return answers

    return asyncio.run(asyncio.wait_for(both(), PATIENCE_SECONDS))


def decide(console: Console, *decisions: Decision) -> None:
    for decision in decisions:
        item = claimed(console)
        console.desk.decide(item.id, decision, console.person, seen=Seen.of(item))


def claimed(console: Console) -> ReviewItem:
    async def soon() -> ReviewItem:
        while (item := console.desk.claim(console.person)) is None:
            await asyncio.sleep(0.01)
        return item

    return asyncio.run(asyncio.wait_for(soon(), PATIENCE_SECONDS))


def edited(**args: Any) -> Edit:  # noqa: ANN401 -- JSON values
    return Edit(edited_action=Action(name="refund", args={**CALL, **args}))


def items(gate: Gate) -> tuple[ActionStatus, ...]:
    return gate.client.send(gate.client.items()).items


def returned(result: Result) -> list[str]:
    """Return what the model was told in place of, or as, the results of its calls."""
    requests = [message for message in result.all_messages() if isinstance(message, ModelRequest)]
    return [str(part.content) for message in requests for part in message.parts if isinstance(part, ToolReturnPart)]


def test_an_approved_call_runs_once_with_its_own_arguments(console: Console, gate: Gate, till: Till) -> None:
    guarded = guard(gate, till, about={"confidence": 0.4})
    shop = a_shop(scripted(proposing(CALL)), guarded)
    result, requests = put_off(shop)
    assert till.runs == []

    answer = resumed(shop, result, deciding(console, guarded, requests, Approve()))

    assert answer.output == "Done."
    assert returned(answer) == ["Refunded 49.00 on R-1042."]
    assert till.runs == [{**CALL, "on": date(2026, 11, 22)}]
    [item] = items(gate)
    request = console.desk.whole(console.person, item.id).item.request
    assert item.execution is Execution.SUCCEEDED
    assert (request.action.args, request.confidence, request.description) == (CALL, 0.4, "Refund an order.")
    assert (request.run.framework, request.run.tool_call_id) == ("pydantic-ai", "call_0")


def test_an_edit_is_handed_on_natively_and_runs_as_edited(console: Console, gate: Gate, till: Till) -> None:
    guarded = guard(gate, till)
    shop = a_shop(scripted(proposing(CALL)), guarded)
    result, requests = put_off(shop)

    decided = deciding(console, guarded, requests, edited(amount="10.00", on="2026-12-01"))
    answer = resumed(shop, result, decided)

    assert decided.approvals == {"call_0": ToolApproved(override_args={**CALL, "amount": "10.00", "on": "2026-12-01"})}
    assert till.runs == [{"order_id": "R-1042", "amount": "10.00", "on": date(2026, 12, 1)}]
    assert returned(answer) == ["Refunded 10.00 on R-1042."]


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (Reject(message="That order was never paid."), "That order was never paid."),
        (Respond(message="It was refunded yesterday."), "a person answered in its place: It was refunded yesterday."),
    ],
)
def test_a_rejection_or_an_answer_reaches_the_model_and_nothing_runs(
    console: Console, gate: Gate, till: Till, decision: Decision, words: str
) -> None:
    guarded = guard(gate, till)
    shop = a_shop(scripted(proposing(CALL)), guarded)
    result, requests = put_off(shop)

    answer = resumed(shop, result, deciding(console, guarded, requests, decision))

    [told] = returned(answer)
    assert words in told
    assert till.runs == []
    assert items(gate)[0].execution is Execution.NONE


def test_several_calls_are_decided_each_for_itself(console: Console, gate: Gate, till: Till) -> None:
    guarded = guard(gate, till)
    shop = a_shop(scripted(proposing(CALL, {**CALL, "order_id": "R-2"}, {**CALL, "order_id": "R-3"})), guarded)
    result, requests = put_off(shop)

    decisions = (Approve(), Reject(message="Not this one."), edited(order_id="R-3", amount="1.00"))
    answer = resumed(shop, result, deciding(console, guarded, requests, *decisions))

    # They run side by side.
    assert {(run["order_id"], run["amount"]) for run in till.runs} == {("R-1042", "49.00"), ("R-3", "1.00")}
    assert len(till.runs) == 2
    assert "Not this one." in returned(answer)[1]
    assert len(items(gate)) == 3


def test_a_run_is_answered_within_by_pydantic_ais_own_handler(console: Console, gate: Gate, till: Till) -> None:
    guarded = guard(gate, till)
    handler = HandleDeferredToolCalls[None](handler=lambda _ctx, requests: guarded.decided(requests))
    shop = a_shop(scripted(proposing(CALL)), guarded, capabilities=[handler])

    async def run() -> Result:
        result, _ = await asyncio.gather(shop.run("Refund it."), asyncio.to_thread(decide, console, Approve()))
        return result

    assert asyncio.run(run()).output == "Done."
    assert len(till.runs) == 1


def test_a_process_that_starts_anew_files_nothing_twice(
    console: Console, gate: Gate, till: Till, clock: MovableClock
) -> None:
    shop = a_shop(scripted(proposing(CALL)), guard(gate, till, timeout=None, about={"confidence": another_each_time()}))
    result, requests = put_off(shop)
    kept = (ModelMessagesTypeAdapter.dump_json(result.all_messages()), Requests.dump_json(requests))
    gate.client.send(gate.filed(a_proposal(requests)))

    with Gate(console.url, console.agent_key(), clock=lambda: clock().timestamp()) as second:
        guarded = guard(second, till)
        again = a_shop(scripted(proposing(CALL)), guarded)
        decided = deciding(console, guarded, Requests.validate_json(kept[1]), Approve())
        history = ModelMessagesTypeAdapter.validate_json(kept[0])
        answer = asyncio.run(again.run(message_history=history, deferred_tool_results=decided))

    assert answer.output == "Done."
    assert len(till.runs) == 1
    assert len(items(gate)) == 1


def another_each_time() -> Callable[[Any], float]:
    """A confidence that says something else each time, as a sampled one does."""
    values = iter((0.1, 0.2, 0.3, 0.4))
    return lambda _args: next(values)


def a_proposal(requests: DeferredToolRequests) -> Proposal:
    known = requests.metadata["call_0"]["signoff"]
    request = ActionRequest.model_validate_json(TypeAdapter(Any).dump_json(known["request"]))
    return Proposal(request, known["key"], None, lambda _args: None, succeeded)


def test_a_run_that_is_resumed_twice_runs_its_call_once(console: Console, gate: Gate, till: Till) -> None:
    guarded = guard(gate, till)
    shop = a_shop(scripted(proposing(CALL)), guarded)
    result, requests = put_off(shop)
    decided = deciding(console, guarded, requests, Approve())
    resumed(shop, result, decided)

    again = resumed(shop, result, decided)

    assert "was run before and succeeded" in str(again.all_messages())
    assert again.output == "Done."
    assert len(till.runs) == 1


def test_a_run_that_broke_off_in_a_tool_is_told_so_when_it_is_decided_anew(
    console: Console, gate: Gate, till: Till
) -> None:
    guarded = guard(gate, till)
    shop = a_shop(scripted(proposing(CALL)), guarded)
    result, requests = put_off(shop)
    resumed(shop, result, deciding(console, guarded, requests, Approve()))

    decided = asyncio.run(guarded.decided(requests))

    assert "was run before and succeeded" in str(decided.approvals["call_0"])
    assert resumed(shop, result, decided).output == "Done."
    assert len(till.runs) == 1


def test_an_approval_from_elsewhere_still_waits_for_the_decision(gate: Gate, till: Till) -> None:
    guarded = guard(gate, till, timeout=0.3)
    shop = a_shop(scripted(proposing(CALL)), guarded)
    result, requests = put_off(shop)

    answer = resumed(shop, result, requests.build_results(approve_all=True))

    assert "withdrawn" in returned(answer)[0]
    assert till.runs == []
    assert [item.status for item in items(gate)] == [Status.CANCELLED]


def test_arguments_that_were_slipped_in_do_not_run(console: Console, gate: Gate, till: Till) -> None:
    guarded = guard(gate, till)
    shop = a_shop(scripted(proposing(CALL)), guarded)
    result, requests = put_off(shop)
    decided = deciding(console, guarded, requests, Approve())

    decided.approvals["call_0"] = ToolApproved(override_args={**CALL, "amount": "9999.00"})
    resumed(shop, result, decided)

    assert till.runs == [{**CALL, "on": date(2026, 11, 22)}]


def test_metadata_that_was_tampered_with_opens_nothing(console: Console, gate: Gate, till: Till) -> None:
    guarded = guard(gate, till)
    shop = a_shop(scripted(proposing(CALL)), guarded)
    result, requests = put_off(shop)
    decided = deciding(console, guarded, requests, Approve())

    decided.metadata["call_0"]["signoff"]["request"]["action"]["args"]["amount"] = "9999.00"
    with pytest.raises((ServerRefusedError, ReceiptError)):
        resumed(shop, result, decided)
    decided.metadata["call_0"]["signoff"] = {"request": {}}
    with pytest.raises(RequestInvalidError):
        resumed(shop, result, decided)

    assert till.runs == []


def test_the_permission_of_one_tools_call_does_not_run_another_tool(console: Console, gate: Gate, till: Till) -> None:
    def refund_twice(order_id: str, amount: str, on: date) -> str:
        """Refund an order, and once more."""
        return till.refund(order_id, amount, on) + till.refund(order_id, amount, on)

    guarded = GuardedToolset(FunctionToolset[None]([till.refund, refund_twice]), gate, timeout=PATIENCE_SECONDS)
    calls = [ToolCallPart(name, CALL, tool_call_id=name) for name in ("refund", "refund_twice")]
    shop = a_shop(scripted(ModelResponse(calls)), guarded)
    result, requests = put_off(shop)
    decided = deciding(console, guarded, requests, Approve(), Approve())

    decided.metadata["refund_twice"] = decided.metadata["refund"]
    decided.approvals["refund"] = False

    with pytest.raises(RequestInvalidError, match="a call to 'refund'"):
        resumed(shop, result, decided)
    assert till.runs == []
    assert [item.execution for item in items(gate)] == [Execution.PERMITTED] * 2


def test_an_edit_that_the_tool_cannot_run_is_refused_before_anything_is_consumed(
    console: Console, gate: Gate, till: Till
) -> None:
    guarded = guard(gate, till)
    shop = a_shop(scripted(proposing(CALL)), guarded)
    result, requests = put_off(shop)
    decided = deciding(console, guarded, requests, edited(on="2026-12-01"))

    def refuse(order_id: str, amount: str, on: int) -> str:
        raise AssertionError(order_id, amount, on)

    stricter = GuardedToolset(FunctionToolset[None]([refuse]).renamed({"refund": "refuse"}), gate)
    decided.approvals["call_0"] = ToolApproved(override_args={**CALL, "on": 3})
    answered = resumed(a_shop(scripted(proposing(CALL)), stricter), result, decided)

    assert "edit cannot be run by refund" in str(answered.all_messages())
    assert items(gate)[0].execution is Execution.PERMITTED


def test_nothing_runs_while_the_console_is_away(till: Till) -> None:
    with a_port() as port, Gate(f"http://127.0.0.1:{port}", "sgn_test_key", attempts=1) as away:
        guarded = guard(away, till)
        shop = a_shop(scripted(proposing(CALL)), guarded)
        result, requests = put_off(shop)
        with pytest.raises(ServerAwayError):
            asyncio.run(guarded.decided(requests))
        with pytest.raises(ServerAwayError):
            resumed(shop, result, requests.build_results(approve_all=True))

    assert till.runs == []


def test_arguments_that_json_cannot_carry_are_refused(gate: Gate) -> None:
    def sign_in(password: SecretStr) -> str:
        raise AssertionError(password)

    shop = a_shop(
        scripted(proposing({"password": "opensesame"}, name="sign_in")),
        GuardedToolset(FunctionToolset[None]([sign_in]), gate),
    )

    with pytest.raises(RequestInvalidError, match="do not come back"):
        asyncio.run(shop.run("Sign in."))

    assert items(gate) == ()


def test_calls_that_other_toolsets_put_off_are_left_to_them(gate: Gate, till: Till) -> None:
    plain = FunctionToolset[None]([till.refund]).approval_required()
    shop: Shop = Agent(scripted(proposing(CALL)), toolsets=[plain], output_type=[str, DeferredToolRequests])
    _, requests = put_off(shop)

    decided = asyncio.run(guard(gate, till).decided(requests))

    assert decided.approvals == {}
    assert items(gate) == ()
